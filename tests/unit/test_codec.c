/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking of stored resources: exact bytes back, bounds, foreign input, several threads. */
#include "config.h"

#include "model/codec.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/limits.h"
#include "model/codec_dict.h"
#include "../lib/check_main.h"

static const char resource[] =
    "{\"resourceType\":\"Observation\",\"id\":\"o1\",\"status\":\"final\",\"category\":[{\"coding\":[{\"system\":"
    "\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"laboratory\"}]}],\"code\":{\"coding\":[{\"system\":"
    "\"http://loinc.org\",\"code\":\"718-7\"}]},\"subject\":{\"reference\":\"Patient/p1\"},\"valueQuantity\":{\"value\":13.20}}";

static void check_round(struct cw_span plain)
{
    struct cw_str packed;
    cw_str_init(&packed, CW_FHIR_RESOURCE_MAX + 2048u);
    unsigned dictionary = 99;
    ck_assert_int_eq(cw_codec_pack(plain, &packed, &dictionary, NULL), CW_OK);
    ck_assert_uint_eq(dictionary, CW_CODEC_DICTIONARIES);
    char *out = malloc(plain.len + 1);
    ck_assert_ptr_nonnull(out);
    struct cw_err err;
    ck_assert_int_eq(cw_codec_unpack(cw_str_span(&packed), dictionary, out, plain.len, &err), CW_OK);
    ck_assert(plain.len == 0 || memcmp(out, plain.ptr, plain.len) == 0);
    /* another length than the row names is damage */
    ck_assert_int_eq(cw_codec_unpack(cw_str_span(&packed), dictionary, out, plain.len + 1, &err), CW_E_SYNTAX);
    if (plain.len > 0) {
        ck_assert_int_eq(cw_codec_unpack(cw_str_span(&packed), dictionary, out, plain.len - 1, &err), CW_E_SYNTAX);
    }
    free(out);
    cw_str_release(&packed);
}

START_TEST(round_trip)
{
    check_round(CW_SPAN(""));
    check_round(CW_SPAN("{}"));
    check_round(cw_span_cstr(resource));
}
END_TEST

/* Noise does not shrink; its packed form must fit all the same up to the largest resource. */
START_TEST(size_limits)
{
    size_t size = CW_FHIR_RESOURCE_MAX + 1u;
    unsigned char *noise = malloc(size);
    ck_assert_ptr_nonnull(noise);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise[i] = (unsigned char)x;
    }
    check_round(cw_span_of(noise, CW_FHIR_RESOURCE_MAX - 1));
    check_round(cw_span_of(noise, CW_FHIR_RESOURCE_MAX));
    struct cw_str packed;
    cw_str_init(&packed, 2u * CW_FHIR_RESOURCE_MAX);
    unsigned dictionary;
    ck_assert_int_eq(cw_codec_pack(cw_span_of(noise, size), &packed, &dictionary, NULL), CW_E_TOO_BIG);
    cw_str_release(&packed);
    cw_str_init(&packed, 100);
    ck_assert_int_eq(cw_codec_pack(cw_span_of(noise, 4096), &packed, &dictionary, NULL), CW_E_TOO_BIG);
    cw_str_release(&packed);
    free(noise);
}
END_TEST

START_TEST(dictionary_helps)
{
    struct cw_str packed;
    cw_str_init(&packed, 4096);
    unsigned dictionary;
    ck_assert_int_eq(cw_codec_pack(cw_span_cstr(resource), &packed, &dictionary, NULL), CW_OK);
    ck_assert_uint_lt(packed.len * 3, strlen(resource));
    ck_assert_uint_gt(cw_codec_dictionary(CW_CODEC_DICTIONARIES).len, 1024);
    ck_assert_ptr_null(cw_codec_dictionary(0).ptr);
    ck_assert_ptr_null(cw_codec_dictionary(CW_CODEC_DICTIONARIES + 1).ptr);
    cw_str_release(&packed);
}
END_TEST

START_TEST(foreign_bytes)
{
    char out[64];
    struct cw_err err;
    ck_assert_int_eq(cw_codec_unpack(CW_SPAN("not zstd at all"), 1, out, sizeof(out), &err), CW_E_SYNTAX);
    ck_assert_int_eq(cw_codec_unpack(CW_SPAN(""), 1, out, sizeof(out), &err), CW_E_SYNTAX);
    ck_assert_int_eq(cw_codec_unpack(CW_SPAN("x"), CW_CODEC_DICTIONARIES + 1, out, sizeof(out), &err), CW_E_CONFIG);
    /* a good frame, cut anywhere, is refused and never written past the end */
    struct cw_str packed;
    cw_str_init(&packed, 4096);
    unsigned dictionary;
    ck_assert_int_eq(cw_codec_pack(CW_SPAN("{\"resourceType\":\"Basic\",\"id\":\"1\"}"), &packed, &dictionary, NULL), CW_OK);
    for (size_t len = 0; len < packed.len; len++) {
        ck_assert_int_eq(cw_codec_unpack(cw_span_upto(cw_str_span(&packed), len), dictionary, out, 33, &err), CW_E_SYNTAX);
    }
    cw_str_release(&packed);
}
END_TEST

/* Version 0 is a frame without a dictionary: what the first rows of an installation may hold. */
START_TEST(version_zero)
{
    static const unsigned char frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x11, 0x00, 0x00, '{', '}' };
    char out[2];
    ck_assert_int_eq(cw_codec_unpack(cw_span_of(frame, sizeof(frame)), 0, out, 2, NULL), CW_OK);
    ck_assert_int_eq(memcmp(out, "{}", 2), 0);
}
END_TEST

static void *rounds(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        check_round(cw_span_cstr(resource));
    }
    return NULL;
}

START_TEST(threads)
{
    pthread_t ids[4];
    for (size_t i = 0; i < CW_ARRAY_LEN(ids); i++) {
        ck_assert_int_eq(pthread_create(&ids[i], NULL, rounds, NULL), 0);
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(ids); i++) {
        ck_assert_int_eq(pthread_join(ids[i], NULL), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model/codec");
    TCase *tcase = tcase_create("codec");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, round_trip);
    tcase_add_test(tcase, size_limits);
    tcase_add_test(tcase, dictionary_helps);
    tcase_add_test(tcase, foreign_bytes);
    tcase_add_test(tcase, version_zero);
    tcase_add_test(tcase, threads);
    suite_add_tcase(suite, tcase);
    Suite *const suites[] = { suite, NULL };
    return cw_check_main(suites);
}
