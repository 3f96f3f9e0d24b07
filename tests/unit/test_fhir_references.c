/* SPDX-License-Identifier: Apache-2.0 */
/* References and attachments read from a resource's bytes. */
#include "config.h"

#include "fhir/references.h"

#include <stdlib.h>

#include "base/str.h"
#include "test_fhir.h"

#define BASE CW_SPAN("https://ehr.example/fhir/r4")

static const struct {
    const char *text;
    enum cw_reference_kind kind;
    const char *type, *id;
} parse_rows[] = {
    { "Patient/p1", CW_REF_LOCAL, "Patient", "p1" },
    { "Medication/m.1-2/_history/3", CW_REF_LOCAL, "Medication", "m.1-2" },
    { "https://ehr.example/fhir/r4/Patient/p1", CW_REF_LOCAL, "Patient", "p1" },
    { "https://ehr.example/fhir/r4evil/Patient/p1", CW_REF_ELSEWHERE, NULL, NULL },
    { "https://ehr.example/fhir/r4/../Patient/p1", CW_REF_ELSEWHERE, NULL, NULL },
    { "https://other.example/fhir/r4/Patient/p1", CW_REF_ELSEWHERE, NULL, NULL },
    { "http://ehr.example/fhir/r4/Patient/p1", CW_REF_ELSEWHERE, NULL, NULL },
    { "#med1", CW_REF_CONTAINED, NULL, NULL },
    { "urn:uuid:7d0a8a3e-0000-0000-0000-000000000000", CW_REF_OTHER, NULL, NULL },
    { "mailto:a@b.example", CW_REF_OTHER, NULL, NULL },
    { "javascript:alert(1)", CW_REF_OTHER, NULL, NULL },
    { "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|123", CW_REF_CONDITIONAL, NULL, NULL },
    { "Patient", CW_REF_OTHER, NULL, NULL },
    { "Patient/", CW_REF_OTHER, NULL, NULL },
    { "Patient/a/b", CW_REF_OTHER, NULL, NULL },
    { "/Patient/a", CW_REF_OTHER, NULL, NULL },
    { "../Patient/a", CW_REF_OTHER, NULL, NULL },
    { "patient/a", CW_REF_OTHER, NULL, NULL },
    { "", CW_REF_OTHER, NULL, NULL },
};

START_TEST(parse)
{
    struct cw_reference ref = cw_reference_parse(cw_span_cstr(parse_rows[_i].text), BASE);
    ck_assert_msg(ref.kind == parse_rows[_i].kind, "%s: kind %d", parse_rows[_i].text, (int)ref.kind);
    ck_assert(parse_rows[_i].type == NULL ? ref.type.ptr == NULL : cw_span_eq_cstr(ref.type, parse_rows[_i].type));
    ck_assert(parse_rows[_i].id == NULL ? ref.id.ptr == NULL : cw_span_eq_cstr(ref.id, parse_rows[_i].id));
}
END_TEST

START_TEST(base_slash)
{
    struct cw_span text = CW_SPAN("https://ehr.example/fhir/r4/Location/l1");
    ck_assert_int_eq(cw_reference_parse(text, CW_SPAN("https://ehr.example/fhir/r4/")).kind, CW_REF_LOCAL);
    ck_assert_int_eq(cw_reference_parse(text, cw_span_cstr(NULL)).kind, CW_REF_ELSEWHERE);
}
END_TEST

START_TEST(followed)
{
    struct cw_reference ref = cw_reference_parse(CW_SPAN("Medication/m1"), BASE);
    ck_assert(cw_reference_followed(&ref));
    ref = cw_reference_parse(CW_SPAN("Patient/p2"), BASE);
    ck_assert(!cw_reference_followed(&ref));
    ref = cw_reference_parse(CW_SPAN("Binary/b2"), BASE);
    ck_assert(!cw_reference_followed(&ref));
    ref = cw_reference_parse(CW_SPAN("https://other.example/Medication/m1"), BASE);
    ck_assert(!cw_reference_followed(&ref));
}
END_TEST

/* A resource's own subject is told from that of what it contains. */
START_TEST(own_members)
{
    static const char text[] = "{\"subject\":{\"reference\":\"Patient/a\"},\"contained\":[{\"subject\":{\"reference\":\"Patient/b\"}}],"
                               "\"performer\":[{\"reference\":\"Practitioner/c\"}],\"x\":{\"subject\":{\"reference\":\"Patient/d\"}}}";
    static const bool own[] = { true, false, false, false };
    struct cw_references found;
    ck_assert_int_eq(cw_references_read(cw_span_cstr(text), BASE, fhir_arena, &found, NULL), CW_OK);
    ck_assert_uint_eq(found.reference_count, CW_ARRAY_LEN(own));
    for (size_t i = 0; i < CW_ARRAY_LEN(own); i++) {
        ck_assert_msg(found.references[i].own == own[i], "row %zu", i);
    }
}
END_TEST

static const char document[] =
    "{\"resourceType\":\"DocumentReference\",\"id\":\"d1\",\"subject\":{\"reference\":\"Patient\\/p1\"},"
    "\"author\":[{\"display\":\"x\"},{\"reference\":\"Practitioner/a\"},{\"reference\":7}],"
    "\"contained\":[{\"resourceType\":\"Organization\",\"partOf\":{\"reference\":\"#o\"}}],"
    "\"content\":[{\"attachment\":{\"contentType\":\"text/html\",\"url\":\"Binary/b1\",\"size\":1234,\"hash\":\"aGFzaA==\"},"
    "\"format\":{\"code\":\"x\"}},{\"attachment\":{\"contentType\":\"application/pdf\",\"data\":\"QUJD\",\"size\":-2}},"
    "{\"attachment\":{\"title\":\"nothing to fetch\"}}],"
    "\"context\":{\"encounter\":[{\"reference\":\"Encounter/e1\"}],\"related\":[[{\"reference\":\"List/l\"}]]}}";

START_TEST(document_reference)
{
    struct cw_references found;
    ck_assert_int_eq(cw_references_read(cw_span_cstr(document), BASE, fhir_arena, &found, NULL), CW_OK);
    ck_assert_uint_eq(found.reference_count, 5);
    ck_assert_span_eq(found.references[0].field, "subject");
    ck_assert_span_eq(found.references[0].text, "Patient/p1");
    ck_assert_span_eq(found.references[0].id, "p1");
    ck_assert_span_eq(found.references[1].field, "author");
    ck_assert_span_eq(found.references[1].id, "a");
    ck_assert_int_eq(found.references[2].kind, CW_REF_CONTAINED);
    ck_assert_span_eq(found.references[2].field, "partOf");
    ck_assert_span_eq(found.references[3].field, "encounter");
    ck_assert_span_eq(found.references[4].field, "related");
    ck_assert_uint_eq(found.attachment_count, 2);
    ck_assert_span_eq(found.attachments[0].field, "attachment");
    ck_assert_span_eq(found.attachments[0].content_type, "text/html");
    ck_assert_span_eq(found.attachments[0].url, "Binary/b1");
    ck_assert_span_eq(found.attachments[0].hash, "aGFzaA==");
    ck_assert_int_eq(found.attachments[0].size, 1234);
    ck_assert_ptr_null(found.attachments[0].data.ptr);
    ck_assert_span_eq(found.attachments[1].data, "QUJD");
    ck_assert_int_eq(found.attachments[1].size, -1);
    ck_assert(!found.more);
}
END_TEST

START_TEST(attachment_places)
{
    struct cw_references found;
    ck_assert_int_eq(cw_references_read(CW_SPAN("{\"content\":{\"url\":\"Binary/1\"},\"resourceType\":\"Media\","
                                                "\"presentedForm\":[{\"url\":\"Binary/2\"}],\"valueAttachment\":{\"data\":\"QQ==\"},"
                                                "\"photo\":[{\"url\":\"Binary/3\"}],\"telecom\":[{\"url\":\"x\"}]}"),
                                        BASE, fhir_arena, &found, NULL),
                     CW_OK);
    ck_assert_uint_eq(found.attachment_count, 4);
}
END_TEST

/* A resource with `count` references and as many attachments. */
static void read_many(unsigned count, struct cw_references *ret)
{
    struct cw_str body;
    cw_str_init(&body, 4u << 20);
    cw_str_add_cstr(&body, "{\"a\":[0");
    for (unsigned i = 0; i < count; i++) {
        cw_str_addf(&body, ",{\"reference\":\"Observation/o%u\"},{\"photo\":{\"url\":\"b%u\"}}", i, i);
    }
    cw_str_add_cstr(&body, "]}");
    struct cw_span copy = cw_arena_span(fhir_arena, cw_str_span(&body));
    ck_assert_int_eq(cw_references_read(copy, BASE, fhir_arena, ret, NULL), CW_OK);
    cw_str_release(&body);
}

START_TEST(limits)
{
    struct cw_references found;
    read_many(CW_ATTACHMENTS_MAX, &found);
    ck_assert_uint_eq(found.attachment_count, CW_ATTACHMENTS_MAX);
    ck_assert(!found.more);
    read_many(CW_ATTACHMENTS_MAX + 1, &found);
    ck_assert_uint_eq(found.attachment_count, CW_ATTACHMENTS_MAX);
    ck_assert_uint_eq(found.reference_count, CW_ATTACHMENTS_MAX + 1);
    ck_assert(found.more);
    read_many(CW_REFERENCES_MAX + 1, &found);
    ck_assert_uint_eq(found.reference_count, CW_REFERENCES_MAX);
    ck_assert_span_eq(found.references[CW_REFERENCES_MAX - 1].id, "o1999");
}
END_TEST

START_TEST(faults)
{
    struct cw_references found;
    struct cw_err err;
    ck_assert_int_eq(cw_references_read(CW_SPAN("{\"a\":[}"), BASE, fhir_arena, &found, &err), CW_E_SYNTAX);
    ck_assert_int_eq(cw_references_read(CW_SPAN(""), BASE, fhir_arena, &found, &err), CW_E_SYNTAX);
    char deep[65];
    memset(deep, '[', sizeof(deep));
    ck_assert_int_eq(cw_references_read(cw_span_of(deep, 65), BASE, fhir_arena, &found, &err), CW_E_TOO_BIG);
    struct cw_arena *small = cw_arena_new(16);
    ck_assert_int_eq(cw_references_read(CW_SPAN("{\"a\":{\"reference\":\"A/b\"}}"), BASE, small, &found, &err), CW_E_OOM);
    cw_arena_free(small);
}
END_TEST

Suite *suite_fhir_references(void)
{
    Suite *suite = suite_create("fhir/references");
    TCase *tcase = tcase_create("references");
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_loop_test(tcase, parse, 0, (int)CW_ARRAY_LEN(parse_rows));
    tcase_add_test(tcase, base_slash);
    tcase_add_test(tcase, followed);
    tcase_add_test(tcase, own_members);
    tcase_add_test(tcase, document_reference);
    tcase_add_test(tcase, attachment_places);
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, faults);
    suite_add_tcase(suite, tcase);
    return suite;
}
