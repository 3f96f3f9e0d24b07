/* SPDX-License-Identifier: Apache-2.0 */
/* Who the patient is: id_tokens signed by a key made here, fhirUser values, claims, and the search of last resort. */
#include "config.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "net_fixture.h"
#include "smart/id_token.h"
#include "smart/patient_context.h"
#include "test_smart.h"
#include "vault/jose.h"

#define NOW_S 1700000000
#define NOW_US (NOW_S * CW_SECOND_US)

static struct cw_signing_key *key;
static EVP_PKEY *pkey;
static json_t *jwks;

static void set_up(void)
{
    CW_AUTO_SECRET der = { NULL, 0 };
    CW_AUTO_STR text;
    cw_str_init(&text, 8192);
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &key, NULL), CW_OK);
    ck_assert_int_eq(cw_signing_key_export(key, &der, NULL), CW_OK);
    const unsigned char *at = (const unsigned char *)der.ptr;
    pkey = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    ck_assert_ptr_nonnull(pkey);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &text);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    ck_assert_int_eq(cw_signing_key_jwk(key, &w), CW_OK);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    struct cw_json_limits limits = { .max_bytes = 8192, .max_depth = 8 };
    ck_assert_int_eq(cw_json_parse(cw_str_span(&text), limits, &jwks, NULL), CW_OK);
}

static void tear_down(void)
{
    json_decref(jwks);
    EVP_PKEY_free(pkey);
    cw_signing_key_free(key);
}

/* r and s, 48 bytes each (RFC 7518 3.4), from OpenSSL's DER. */
static void raw_signature(const unsigned char *der, size_t len, unsigned char out[96])
{
    const unsigned char *at = der + 2; /* SEQUENCE, short length: 102..104 bytes */
    ck_assert_uint_le(len, 127);
    memset(out, 0, 96);
    for (unsigned i = 0; i < 2; i++) {
        size_t n = at[1];
        const unsigned char *bytes = at + 2;
        at = bytes + n;
        while (n > 48) {
            bytes++;
            n--;
        }
        memcpy(out + 48 * i + 48 - n, bytes, n);
    }
}

/* A compact JWS over claims, good or with a broken signature. */
static void sign(const char *claims, bool broken, struct cw_str *out)
{
    unsigned char der[256];
    unsigned char raw[96];
    size_t len = sizeof der;
    cw_str_clear(out);
    ck_assert_int_eq(cw_base64url_encode(CW_SPAN("{\"alg\":\"ES384\"}"), out), CW_OK);
    (void)cw_str_add_char(out, '.');
    ck_assert_int_eq(cw_base64url_encode(cw_span_cstr(claims), out), CW_OK);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ck_assert(EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, pkey) == 1);
    ck_assert(EVP_DigestSign(ctx, der, &len, (const unsigned char *)out->buf, out->len) == 1);
    EVP_MD_CTX_free(ctx);
    raw_signature(der, len, raw);
    raw[10] ^= broken ? 1 : 0;
    (void)cw_str_add_char(out, '.');
    ck_assert_int_eq(cw_base64url_encode(cw_span_of(raw, sizeof raw), out), CW_OK);
}

#define GOOD "\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\""

START_TEST(id_tokens)
{
    static const struct {
        const char *claims;
        bool broken, no_keys;
        enum cw_id_token_verdict verdict;
        const char *user;
    } rows[] = {
        { "{" GOOD ",\"fhirUser\":\"Patient/1\"}", false, false, CW_ID_TOKEN_GOOD, "Patient/1" },
        { "{" GOOD ",\"profile\":\"Patient/2\"}", false, false, CW_ID_TOKEN_GOOD, "Patient/2" },
        { "{" GOOD "}", false, false, CW_ID_TOKEN_GOOD, "" },
        { "{\"iss\":\"https://i\",\"aud\":[\"x\",\"me\"],\"azp\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000.5,\"nonce\":\"n\"}",
          false, false, CW_ID_TOKEN_GOOD, "" },
        { "{" GOOD ",\"fhirUser\":\"Patient/1\"}", true, false, CW_ID_TOKEN_UNPROVEN, "" },
        { "{" GOOD ",\"fhirUser\":\"Patient/1\"}", false, true, CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://j\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\"}", false, false,
          CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1699999900,\"iat\":1700000000,\"nonce\":\"n\"}", false, false,
          CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1600000000,\"nonce\":\"n\"}", false, false,
          CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\"}", false, false,
          CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000}", false, false, CW_ID_TOKEN_UNPROVEN,
          "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"m\"}", false, false,
          CW_ID_TOKEN_INJECTED, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"you\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\"}", false, false,
          CW_ID_TOKEN_INJECTED, "" },
        { "{\"iss\":\"https://i\",\"aud\":[\"me\",\"you\"],\"azp\":\"you\",\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\"}",
          true, true, CW_ID_TOKEN_INJECTED, "" },
        { "{\"sub\":\"s\"}", false, false, CW_ID_TOKEN_INJECTED, "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR token;
        CW_AUTO_STR user;
        struct cw_err err = { 0 };
        cw_str_init(&token, CW_TOKEN_MAX);
        cw_str_init(&user, CW_URL_MAX);
        sign(rows[i].claims, rows[i].broken, &token);
        struct cw_id_token_check check = { .client_id = CW_SPAN("me"), .issuer = CW_SPAN("https://i"), .nonce = CW_SPAN("n"),
                                           .jwks = rows[i].no_keys ? NULL : jwks, .now_us = NOW_US };
        enum cw_id_token_verdict verdict = cw_id_token_check(cw_str_span(&token), &check, &user, &err);
        ck_assert_msg(verdict == rows[i].verdict, "row %zu: %d %s", i, (int)verdict, err.text);
        ck_assert_msg(strcmp(cw_str_cstr(&user), rows[i].user) == 0, "row %zu", i);
        ck_assert_msg(verdict == CW_ID_TOKEN_GOOD || err.code != CW_OK, "row %zu says no reason", i);
    }
    struct cw_id_token_check check = { .client_id = CW_SPAN("me"), .now_us = NOW_US };
    CW_AUTO_STR user;
    cw_str_init(&user, CW_URL_MAX);
    ck_assert_int_eq(cw_id_token_check(CW_SPAN("nonsense"), &check, &user, NULL), CW_ID_TOKEN_UNPROVEN);
}
END_TEST

START_TEST(fhir_users)
{
    static const struct {
        const char *user, *id; /* NULL: none */
    } rows[] = {
        { "Patient/abc-1.2", "abc-1.2" },
        { "https://h/fhir/Patient/abc", "abc" },
        { "https://h/fhir/Practitioner/abc", NULL },
        { "RelatedPerson/abc", NULL },
        { "https://evil/fhir/Patient/abc", NULL },
        { "https://h/fhirx/Patient/abc", NULL },
        { "https://h/fhir/Patient/", NULL },
        { "https://h/fhir/Patient/a/b", NULL },
        { "https://h/fhir/Patient/a?b", NULL },
        { "/Patient/abc", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_span id = { NULL, 0 };
        bool found = cw_patient_from_fhir_user(cw_span_cstr(rows[i].user), "https://h/fhir/", &id);
        ck_assert_msg(found == (rows[i].id != NULL), "row %zu", i);
        ck_assert_msg(!found || cw_span_eq_cstr(id, rows[i].id), "row %zu", i);
    }
}
END_TEST

START_TEST(bundles)
{
#define PATIENT(id) "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"" id "\"}}"
    static const struct {
        const char *body;
        enum cw_code code;
    } rows[] = {
        { "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("1") "]}", CW_OK },
        { "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"OperationOutcome\",\"id\":\"x\"}}," PATIENT("1") "]}",
          CW_OK },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("1") "," PATIENT("1") "]}", CW_OK },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("1") "," PATIENT("2") "]}", CW_E_CONFLICT },
        { "{\"resourceType\":\"Bundle\",\"entry\":[]}", CW_E_NOT_FOUND },
        { "{\"resourceType\":\"Bundle\"}", CW_E_NOT_FOUND },
        { "{\"resourceType\":\"Patient\",\"id\":\"1\"}", CW_E_SYNTAX },
        { "<html>", CW_E_SYNTAX },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_FHIR_ID_MAX);
        ck_assert_msg(cw_patient_from_bundle(cw_span_cstr(rows[i].body), &out) == rows[i].code, "row %zu", i);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].code == CW_OK ? "1" : "");
    }
}
END_TEST

START_TEST(order_of_places)
{
    static const struct script_answer script[] = {
        { .path = "/fhir/Patient", .keep = true, .body = "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("searched") "]}" },
    };
    static const struct cw_profile quiet = { .patient_claim = "local_patient_id", .accept = "application/fhir+json" };
    static const struct cw_profile asks = { .patient_claim = "", .patient_search = true, .accept = "application/fhir+json" };
    /* {"local_patient_id":"claimed"} */
    static const char jwt[] = "eyJhbGciOiJSUzI1NiJ9.eyJsb2NhbF9wYXRpZW50X2lkIjoiY2xhaW1lZCJ9.c2ln";
    static const struct {
        const struct cw_profile *profile;
        const char *token, *patient, *user, *found;
        enum cw_patient_from from;
    } rows[] = {
        { &quiet, jwt, "told", "Patient/user", "told", CW_PATIENT_TOKEN },
        { &quiet, jwt, "", "Patient/user", "user", CW_PATIENT_FHIR_USER },
        { &quiet, jwt, "", "RelatedPerson/user", "claimed", CW_PATIENT_CLAIM },
        { &asks, jwt, "", "", "searched", CW_PATIENT_SEARCH },
        { &quiet, "opaque", "", "", NULL, CW_PATIENT_TOKEN },
    };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_GRANT grant;
        CW_AUTO_STR out;
        cw_smart_grant_init(&grant);
        cw_str_init(&out, CW_FHIR_ID_MAX);
        ck_assert_int_eq(cw_secret_set(&grant.access_token, cw_span_cstr(rows[i].token)), CW_OK);
        (void)cw_str_add_cstr(&grant.patient, rows[i].patient);
        enum cw_patient_from from = CW_PATIENT_TOKEN;
        enum cw_code rc = cw_smart_patient(http, rows[i].profile, script_server_url(server, "/fhir/"), &grant,
                                           cw_span_cstr(rows[i].user), &out, &from, NULL);
        ck_assert_msg(rc == (rows[i].found == NULL ? CW_E_NOT_FOUND : CW_OK), "row %zu", i);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].found == NULL ? "" : rows[i].found);
        ck_assert_msg(from == rows[i].from, "row %zu", i);
    }
    ck_assert_uint_eq(script_server_count(server), 1);
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

START_TEST(key_sets)
{
    static const struct {
        int status;
        const char *body;
        enum cw_code code;
    } rows[] = { { 200, "{\"keys\":[]}", CW_OK },
                 { 404, "{\"keys\":[]}", CW_E_UPSTREAM },
                 { 200, "{\"keys\":{}}", CW_E_UPSTREAM },
                 { 200, "<html>", CW_E_UPSTREAM } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct script_answer script[] = { { .status = rows[i].status, .body = rows[i].body } };
        struct script_server *server = script_server_start(script, 1);
        struct cw_http *http = net_fixture_http(server, "");
        json_t *set = NULL;
        ck_assert_msg(cw_smart_jwks(http, script_server_url(server, "/keys"), &set, NULL) == rows[i].code, "row %zu", i);
        ck_assert((set != NULL) == (rows[i].code == CW_OK));
        json_decref(set);
        cw_http_free(http);
        script_server_stop(server);
    }
}
END_TEST

Suite *identity_suite(void)
{
    Suite *suite = suite_create("identity");
    TCase *tcase = tcase_create("identity");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, id_tokens);
    tcase_add_test(tcase, fhir_users);
    tcase_add_test(tcase, bundles);
    tcase_add_test(tcase, order_of_places);
    tcase_add_test(tcase, key_sets);
    suite_add_tcase(suite, tcase);
    return suite;
}
