/* SPDX-License-Identifier: Apache-2.0 */
/* API keys and states, and the forgeries that libjwt alone would let through. Forgeries are signed with the true purpose key. */
#include "config.h"

#include "test_vault.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/jose.h"
#include "vault/token.h"
#include "vault/vault_int.h"

#define NOW (INT64_C(1800000000) * CW_SECOND_US)

static struct vault_fixture fixture;
static struct cw_vault *vault;

static void setup(void)
{
    vault_fixture_init(&fixture);
    vault = vault_fixture_vault(&fixture);
}

static void teardown(void)
{
    cw_vault_free(vault);
    vault_fixture_release(&fixture);
}

/* header.claims.HMAC, with whatever digest and key the forger likes. */
static void forge(struct cw_str *out, const char *header, const char *claims, const EVP_MD *digest, const void *key,
                  size_t key_len)
{
    CW_AUTO_STR jws;
    cw_str_init(&jws, 8192);
    cw_base64url_encode(cw_span_cstr(header), &jws);
    cw_str_add_char(&jws, '.');
    cw_base64url_encode(cw_span_cstr(claims), &jws);
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    if (digest != NULL) {
        HMAC(digest, key, (int)key_len, (const unsigned char *)jws.buf, jws.len, mac, &mac_len);
    }
    cw_str_add_char(&jws, '.');
    cw_base64url_encode(cw_span_of(mac, mac_len), &jws);
    ck_assert_int_eq(cw_str_code(&jws), CW_OK);
    cw_str_add_span(out, cw_str_span(&jws));
}

static const char *header_of(struct cw_str *out, const char *alg, const char *typ, const char *kid)
{
    cw_str_clear(out);
    cw_str_addf(out, "{\"alg\":\"%s\",\"typ\":\"%s\",\"kid\":\"%s\"}", alg, typ, kid);
    return cw_str_cstr(out);
}

#define JTI "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define GOOD_CLAIMS "{\"aud\":\"api\",\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"" JTI "\"}"

START_TEST(api_token_reads_what_it_made)
{
    for (int production = 0; production < 2; production++) {
        CW_AUTO_STR text;
        cw_str_init_secret(&text, CW_API_KEY_MAX);
        struct cw_api_key_id id = { cw_ulid_new() };
        struct cw_api_token made, read;
        ck_assert_int_eq(cw_api_token_make(vault, id, production, &made, &text, NULL), CW_OK);
        ck_assert(cw_span_starts(cw_str_span(&text), production ? CW_SPAN("cw_sk_live_") : CW_SPAN("cw_sk_sbx_")));
        ck_assert_uint_lt(text.len, 400);
        ck_assert_int_eq(cw_api_token_read(vault, cw_str_span(&text), &read, NULL), CW_OK);
        ck_assert(cw_ulid_eq(read.key.ulid, id.ulid));
        ck_assert_mem_eq(read.jti_hash, made.jti_hash, CW_HASH_LEN);
        ck_assert_int_eq(read.production, production);
    }
}
END_TEST

START_TEST(api_tokens_differ)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, CW_API_KEY_MAX);
    struct cw_api_key_id id = { cw_ulid_new() };
    struct cw_api_token first, second;
    ck_assert_int_eq(cw_api_token_make(vault, id, true, &first, &text, NULL), CW_OK);
    cw_str_clear(&text);
    ck_assert_int_eq(cw_api_token_make(vault, id, true, &second, &text, NULL), CW_OK);
    ck_assert_mem_ne(first.jti_hash, second.jti_hash, CW_HASH_LEN);
}
END_TEST

/* Each byte changed in turn: never CW_OK. */
START_TEST(api_token_every_byte_counts)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, CW_API_KEY_MAX);
    struct cw_api_key_id id = { cw_ulid_new() };
    struct cw_api_token token;
    ck_assert_int_eq(cw_api_token_make(vault, id, true, &token, &text, NULL), CW_OK);
    for (size_t i = 0; i < text.len; i++) {
        char was = text.buf[i];
        text.buf[i] = was == 'A' ? 'B' : 'A';
        enum cw_code rc = cw_api_token_read(vault, cw_str_span(&text), &token, NULL);
        ck_assert_msg(rc == CW_E_AUTH || rc == CW_E_SYNTAX, "byte %zu: %s", i, cw_code_name(rc));
        text.buf[i] = was;
    }
    for (size_t len = 0; len < text.len; len++) {
        ck_assert_int_ne(cw_api_token_read(vault, cw_span_upto(cw_str_span(&text), len), &token, NULL), CW_OK);
    }
}
END_TEST

START_TEST(api_token_refuses_forgeries)
{
    const char *kid, *state_kid;
    const uint8_t *key = cw_purpose_active(vault, CW_PURPOSE_API, &kid);
    const uint8_t *state_key = cw_purpose_active(vault, CW_PURPOSE_STATE, &state_kid);
    static const uint8_t wrong[32] = { 1 };
    const struct {
        const char *alg, *typ, *kid, *claims;
        const EVP_MD *digest;
        const uint8_t *key;
        enum cw_code rc;
    } rows[] = {
        { "HS256", "JWT", kid, GOOD_CLAIMS, EVP_sha256(), key, CW_OK },
        { "HS256", "JWT", kid, GOOD_CLAIMS, EVP_sha256(), wrong, CW_E_AUTH },
        { "none", "JWT", kid, GOOD_CLAIMS, NULL, key, CW_E_AUTH },
        { "HS256", "JWT", kid, GOOD_CLAIMS, NULL, key, CW_E_AUTH },
        { "HS512", "JWT", kid, GOOD_CLAIMS, EVP_sha512(), key, CW_E_AUTH },
        { "HS384", "JWT", kid, GOOD_CLAIMS, EVP_sha384(), key, CW_E_AUTH },
        { "RS256", "JWT", kid, GOOD_CLAIMS, EVP_sha256(), key, CW_E_AUTH },
        { "hs256", "JWT", kid, GOOD_CLAIMS, EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "at+jwt", kid, GOOD_CLAIMS, EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", "0000000000000000", GOOD_CLAIMS, EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", state_kid, GOOD_CLAIMS, EVP_sha256(), state_key, CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"aud\":\"state\",\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"" JTI "\"}",
          EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"aud\":[\"api\"],\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"" JTI "\"}",
          EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"" JTI "\"}", EVP_sha256(), key,
          CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"aud\":\"api\",\"sub\":\"ps_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"" JTI "\"}",
          EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"aud\":\"api\",\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\",\"jti\":\"AAAA\"}",
          EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", kid, "{\"aud\":\"api\",\"aud\":\"api\",\"sub\":\"key_01J9YQ8M2X4VZ6P2K5RH7M3KQT\"}",
          EVP_sha256(), key, CW_E_AUTH },
        { "HS256", "JWT", kid, "not json", EVP_sha256(), key, CW_E_AUTH },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR header;
        CW_AUTO_STR text;
        cw_str_init(&header, 512);
        cw_str_init(&text, 4096);
        cw_str_add_cstr(&text, "cw_sk_sbx_");
        forge(&text, header_of(&header, rows[i].alg, rows[i].typ, rows[i].kid), rows[i].claims, rows[i].digest,
              rows[i].key, 32);
        struct cw_api_token token;
        struct cw_err err = { 0 };
        enum cw_code rc = cw_api_token_read(vault, cw_str_span(&text), &token, &err);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s (%s)", i, cw_code_name(rc), err.text);
    }
}
END_TEST

/* libjwt takes HS256 "signed" with our public PEM for good when it is handed that PEM; and any header member it does not know. */
START_TEST(api_token_refuses_confusion_and_extra_headers)
{
    struct cw_signing_key *signing = NULL;
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &signing, NULL), CW_OK);
    CW_AUTO_SECRET der = { 0 };
    ck_assert_int_eq(cw_signing_key_export(signing, &der, NULL), CW_OK);
    const unsigned char *at = (const unsigned char *)der.ptr;
    EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    BIO *memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(memory, pkey);
    char *pem = NULL;
    long pem_len = BIO_get_mem_data(memory, &pem);

    const char *kid;
    const uint8_t *key = cw_purpose_active(vault, CW_PURPOSE_API, &kid);
    static const char *const extras[] = { "", ",\"crit\":[\"b64\"]", ",\"jku\":\"https://evil.example/keys\"",
                                          ",\"jwk\":{}" };
    for (size_t i = 0; i < CW_ARRAY_LEN(extras); i++) {
        CW_AUTO_STR header;
        CW_AUTO_STR text;
        cw_str_init(&header, 512);
        cw_str_init(&text, 4096);
        cw_str_add_cstr(&text, "cw_sk_live_");
        cw_str_addf(&header, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"%s}", kid, extras[i]);
        bool confused = i == 0;
        forge(&text, cw_str_cstr(&header), GOOD_CLAIMS, EVP_sha256(), confused ? (const void *)pem : key,
              confused ? (size_t)pem_len : 32);
        struct cw_api_token token;
        ck_assert_int_eq(cw_api_token_read(vault, cw_str_span(&text), &token, NULL), CW_E_AUTH);
    }
    BIO_free(memory);
    EVP_PKEY_free(pkey);
    cw_signing_key_free(signing);
}
END_TEST

START_TEST(api_token_form)
{
    static const char *const bad[] = {
        "", "cw_sk_live_", "cw_sk_live_a.b", "cw_sk_live_..", "cw_sk_live_!!.e30.AAAA", "mb_sk_live_e30.e30.AAAA",
        "cw_sk_sbx_e30", "cw_sk_live_e30.e30.AAAA.AAAA", "Bearer x", "cw_sk_live_bm8.e30.AAAA",
    };
    struct cw_api_token token;
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        enum cw_code rc = cw_api_token_read(vault, cw_span_cstr(bad[i]), &token, NULL);
        ck_assert_msg(rc == CW_E_SYNTAX || (rc == CW_E_AUTH && i == 7), "row %zu: %s", i, cw_code_name(rc));
    }
    CW_AUTO_STR text;
    cw_str_init(&text, 4096);
    cw_str_add_cstr(&text, "cw_sk_live_");
    while (text.len <= CW_API_KEY_MAX) {
        cw_str_add_char(&text, 'A');
    }
    ck_assert_int_eq(cw_api_token_read(vault, cw_str_span(&text), &token, NULL), CW_E_SYNTAX);
}
END_TEST

START_TEST(rotation_keeps_old_keys_readable)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, CW_API_KEY_MAX);
    struct cw_api_key_id id = { cw_ulid_new() };
    struct cw_api_token token;
    ck_assert_int_eq(cw_api_token_make(vault, id, true, &token, &text, NULL), CW_OK);
    struct cw_vault *rotated = NULL;
    struct cw_vault *without = NULL;
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%1 two=%2", "two", &rotated, NULL), CW_OK);
    ck_assert_int_eq(vault_fixture_open(&fixture, "two=%2", "", &without, NULL), CW_OK);
    ck_assert_int_eq(cw_api_token_read(rotated, cw_str_span(&text), &token, NULL), CW_OK);
    ck_assert_int_eq(cw_api_token_read(without, cw_str_span(&text), &token, NULL), CW_E_AUTH);
    cw_str_clear(&text);
    ck_assert_int_eq(cw_api_token_make(rotated, id, true, &token, &text, NULL), CW_OK); /* signed by the new one */
    ck_assert_int_eq(cw_api_token_read(without, cw_str_span(&text), &token, NULL), CW_OK);
    cw_vault_free(rotated);
    cw_vault_free(without);
}
END_TEST

START_TEST(state_round_trip)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 512);
    struct cw_state_token made, read;
    int64_t until = NOW + CW_STATE_SECONDS * CW_SECOND_US;
    ck_assert_int_eq(cw_state_make(vault, "reg-a", until, &made, &text, NULL), CW_OK);
    ck_assert_int_eq(made.expires_us, until);
    ck_assert_uint_le(text.len, 512);
    ck_assert_ptr_null(strchr(cw_str_cstr(&text), '.'));
    ck_assert_int_eq(cw_state_read(vault, "reg-a", cw_str_span(&text), NOW, &read, NULL), CW_OK);
    ck_assert_mem_eq(read.jti_hash, made.jti_hash, CW_HASH_LEN);
    ck_assert_int_eq(read.expires_us, until);
    ck_assert_int_eq(cw_state_read(vault, "reg-a", cw_str_span(&text), until - 1, &read, NULL), CW_OK);
    ck_assert_int_eq(cw_state_read(vault, "reg-b", cw_str_span(&text), NOW, &read, NULL), CW_E_AUTH);

    /* Too late, but the attempt can still be found. */
    memset(&read, 0, sizeof read);
    ck_assert_int_eq(cw_state_read(vault, "reg-a", cw_str_span(&text), until, &read, NULL), CW_E_EXPIRED);
    ck_assert_mem_eq(read.jti_hash, made.jti_hash, CW_HASH_LEN);

    for (size_t i = 0; i < text.len; i++) {
        char was = text.buf[i];
        text.buf[i] = was == 'A' ? 'B' : 'A';
        ck_assert_int_ne(cw_state_read(vault, "reg-a", cw_str_span(&text), NOW, &read, NULL), CW_OK);
        text.buf[i] = was;
    }
}
END_TEST

START_TEST(state_length_and_limits)
{
    struct cw_state_token state;
    char slug[128];
    bool refused = false;
    for (size_t len = 26; len < sizeof slug; len++) {
        memset(slug, 'a', len);
        slug[len] = '\0';
        CW_AUTO_STR text;
        cw_str_init(&text, 512);
        enum cw_code rc = cw_state_make(vault, slug, NOW, &state, &text, NULL);
        ck_assert_msg(rc == CW_OK || rc == CW_E_TOO_BIG, "%zu: %s", len, cw_code_name(rc));
        ck_assert_msg(rc == CW_OK || len > 64, "a slug of %zu does not fit", len);
        ck_assert_msg(rc != CW_OK || !refused, "a longer slug fits again");
        refused = rc != CW_OK;
        ck_assert(rc != CW_OK || cw_state_read(vault, slug, cw_str_span(&text), NOW - 1, &state, NULL) == CW_OK);
    }
    ck_assert(refused);
    CW_AUTO_STR text;
    cw_str_init(&text, 512);
    ck_assert_int_eq(cw_state_make(vault, "a", 0, &state, &text, NULL), CW_E_RANGE);
}
END_TEST

START_TEST(state_refuses_other_forms)
{
    struct cw_state_token state;
    static const char *const bad[] = {
        "", "a", "a.b.c", "%%%", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 42 */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",                        /* 44 */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!",                         /* 43, not base64url */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",                         /* 43 with stray bits */
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        enum cw_code rc = cw_state_read(vault, "reg-a", cw_span_cstr(bad[i]), NOW, &state, NULL);
        ck_assert_msg(rc == CW_E_SYNTAX, "row %zu: %s", i, cw_code_name(rc));
    }
    CW_AUTO_STR text;
    cw_str_init(&text, 1024);
    while (text.len < 513) {
        cw_str_add_char(&text, 'A');
    }
    ck_assert_int_eq(cw_state_read(vault, "reg-a", cw_str_span(&text), NOW, &state, NULL), CW_E_SYNTAX);

    /* An API key is no state, and a state without exp is none either. */
    const char *kid;
    const uint8_t *key = cw_purpose_active(vault, CW_PURPOSE_STATE, &kid);
    static const char *const claims[] = {
        "{\"aud\":\"reg-a\",\"jti\":\"" JTI "\"}",
        "{\"aud\":\"reg-a\",\"exp\":1900000000.5,\"jti\":\"" JTI "\"}",
        "{\"aud\":\"reg-a\",\"exp\":\"1900000000\",\"jti\":\"" JTI "\"}",
        "{\"aud\":\"reg-a\",\"exp\":9223372036854775807,\"jti\":\"" JTI "\"}",
        "{\"aud\":\"reg-a\",\"exp\":-1,\"jti\":\"" JTI "\"}",
        "{\"aud\":\"reg-a\",\"exp\":1900000000}",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(claims); i++) {
        CW_AUTO_STR header;
        CW_AUTO_STR jws;
        cw_str_init(&header, 512);
        cw_str_init(&jws, 1024);
        cw_str_clear(&text);
        forge(&jws, header_of(&header, "HS256", "JWT", kid), claims[i], EVP_sha256(), key, 32);
        cw_base64url_encode(cw_str_span(&jws), &text);
        enum cw_code rc = cw_state_read(vault, "reg-a", cw_str_span(&text), NOW, &state, NULL);
        ck_assert_msg(rc == CW_E_AUTH, "claims %zu: %s", i, cw_code_name(rc));
    }
}
END_TEST

START_TEST(state_opaque)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 512);
    struct cw_state_token made, read;
    ck_assert_int_eq(cw_state_make_opaque(&made, &text, NULL), CW_OK);
    ck_assert_uint_eq(text.len, 43);
    ck_assert_int_eq(cw_state_read(vault, "any", cw_str_span(&text), NOW, &read, NULL), CW_OK);
    ck_assert_mem_eq(read.jti_hash, made.jti_hash, CW_HASH_LEN);
    ck_assert_int_eq(read.expires_us, 0);
}
END_TEST

Suite *vault_token_suite(void)
{
    Suite *suite = suite_create("vault/token");
    TCase *tc = tcase_create("token");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, api_token_reads_what_it_made);
    tcase_add_test(tc, api_tokens_differ);
    tcase_add_test(tc, api_token_every_byte_counts);
    tcase_add_test(tc, api_token_refuses_forgeries);
    tcase_add_test(tc, api_token_refuses_confusion_and_extra_headers);
    tcase_add_test(tc, api_token_form);
    tcase_add_test(tc, rotation_keeps_old_keys_readable);
    tcase_add_test(tc, state_round_trip);
    tcase_add_test(tc, state_length_and_limits);
    tcase_add_test(tc, state_refuses_other_forms);
    tcase_add_test(tc, state_opaque);
    suite_add_tcase(suite, tc);
    return suite;
}
