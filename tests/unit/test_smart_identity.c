/* SPDX-License-Identifier: Apache-2.0 */
/* Who the patient is: id_tokens signed by a key made here, fhirUser values, claims, and what the server says when no token does. */
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
        { "{\"iss\":\"https://i\",\"aud\":[\"me\",\"you\"],\"sub\":\"s\",\"exp\":1700000100,\"iat\":1700000000,\"nonce\":\"n\"}",
          false, false, CW_ID_TOKEN_UNPROVEN, "" }, /* several audiences and nobody named as the one meant */
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1699999941,\"iat\":1699999401,\"nonce\":\"n\"}",
          false, false, CW_ID_TOKEN_GOOD, "" }, /* 59 s past its end, made 599 s ago */
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1699999940,\"iat\":1700000000,\"nonce\":\"n\"}",
          false, false, CW_ID_TOKEN_UNPROVEN, "" },
        { "{\"iss\":\"https://i\",\"aud\":\"me\",\"sub\":\"s\",\"exp\":1700009999,\"iat\":1700000600,\"nonce\":\"n\"}",
          false, false, CW_ID_TOKEN_UNPROVEN, "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR token;
        struct cw_id_token_identity identity;
        struct cw_err err = { 0 };
        cw_str_init(&token, CW_TOKEN_MAX);
        cw_id_token_identity_init(&identity);
        sign(rows[i].claims, rows[i].broken, &token);
        struct cw_id_token_check check = { .client_id = CW_SPAN("me"), .issuer = CW_SPAN("https://i"), .nonce = CW_SPAN("n"),
                                           .jwks = rows[i].no_keys ? NULL : jwks, .now_us = NOW_US };
        enum cw_id_token_verdict verdict = cw_id_token_check(cw_str_span(&token), &check, &identity, &err);
        ck_assert_msg(verdict == rows[i].verdict, "row %zu: %d %s", i, (int)verdict, err.text);
        ck_assert_msg(strcmp(cw_str_cstr(&identity.fhir_user), rows[i].user) == 0, "row %zu", i);
        ck_assert_msg(strcmp(cw_str_cstr(&identity.subject), verdict == CW_ID_TOKEN_GOOD ? "s" : "") == 0, "row %zu", i);
        cw_id_token_identity_release(&identity);
        ck_assert_msg(verdict == CW_ID_TOKEN_GOOD || err.code != CW_OK, "row %zu says no reason", i);
    }
    struct cw_id_token_check check = { .client_id = CW_SPAN("me"), .now_us = NOW_US };
    struct cw_id_token_identity identity;
    cw_id_token_identity_init(&identity);
    ck_assert_int_eq(cw_id_token_check(CW_SPAN("nonsense"), &check, &identity, NULL), CW_ID_TOKEN_UNPROVEN);
    cw_id_token_identity_release(&identity);
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
        { "https://h/fhir/Patient/-20140000000001", "-20140000000001" },
        { "Patient/a%2Fb%20c", "a/b c" }, /* opaque: decoded once, coded again in paths */
        { "Patient/a%0Ab", NULL },
        { "Patient/a%", NULL },
        { "Patient/%C3%28", NULL },
        { "https://h/fhir/Person/abc", NULL },
        { "/Patient/abc", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR id;
        cw_str_init(&id, CW_FHIR_ID_MAX);
        bool found = cw_patient_from_fhir_user(cw_span_cstr(rows[i].user), "https://h/fhir/", &id);
        ck_assert_msg(found == (rows[i].id != NULL), "row %zu", i);
        ck_assert_msg(strcmp(cw_str_cstr(&id), found ? rows[i].id : "") == 0, "row %zu", i);
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
        { "{\"resourceType\":\"Bundle\",\"total\":2,\"entry\":[" PATIENT("1") "]}", CW_E_CONFLICT },
        { "{\"resourceType\":\"Bundle\",\"total\":1,\"link\":[{\"relation\":\"next\",\"url\":\"x\"}],\"entry\":[" PATIENT("1") "]}", CW_OK },
        { "{\"resourceType\":\"Bundle\",\"link\":[{\"relation\":\"self\",\"url\":\"x\"},{\"relation\":\"next\",\"url\":\"x\"}],"
          "\"entry\":[" PATIENT("1") "]}", CW_E_CONFLICT },
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

#define COVERAGE(who) "{\"resource\":{\"resourceType\":\"Coverage\",\"id\":\"c\",\"beneficiary\":{\"reference\":\"" who "\"}}}"
#define BENEFIT(who) "{\"resource\":{\"resourceType\":\"ExplanationOfBenefit\",\"patient\":{\"reference\":\"" who "\"}}}"

START_TEST(insured_people)
{
    static const struct {
        const char *body;
        enum cw_code code;
        const char *id;
    } rows[] = {
        { "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("Patient/-20140000000001") "]}", CW_OK, "-20140000000001" },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" BENEFIT("https://h/fhir/Patient/7") "," BENEFIT("Patient/7") "]}", CW_OK, "7" },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("Patient/7") "," COVERAGE("Patient/8") "]}", CW_E_CONFLICT, "" },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("RelatedPerson/7") "]}", CW_E_NOT_FOUND, "" },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("https://elsewhere/fhir/Patient/7") "]}", CW_E_NOT_FOUND, "" },
        { "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("7") "]}", CW_E_NOT_FOUND, "" },
        { "{\"resourceType\":\"Coverage\"}", CW_E_SYNTAX, "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_FHIR_ID_MAX);
        enum cw_code rc = cw_patient_from_claims_bundle(cw_span_cstr(rows[i].body), "https://h/fhir", &out);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].id);
    }
}
END_TEST

START_TEST(userinfo_answers)
{
    static const struct {
        const char *body, *subject, *id; /* id NULL: none */
    } rows[] = {
        { "{\"sub\":\"s\",\"patient\":\"-1\"}", "s", "-1" },
        { "{\"sub\":\"s\",\"patient\":42}", NULL, "42" },
        { "{\"sub\":\"other\",\"patient\":\"1\"}", "s", NULL },
        { "{\"patient\":\"1\"}", "s", NULL },
        { "{\"sub\":\"s\",\"fhirUser\":\"https://h/fhir/Patient/9\"}", "s", "9" },
        { "{\"sub\":\"s\",\"profile\":\"Patient/8\"}", "s", "8" },
        { "{\"sub\":\"s\",\"fhirUser\":\"https://h/fhir/RelatedPerson/9\"}", "s", NULL },
        { "{\"sub\":\"s\"}", "s", NULL },
        { "eyJhbGciOiJub25lIn0.e30.", "s", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_FHIR_ID_MAX);
        enum cw_code rc = cw_patient_from_userinfo(cw_span_cstr(rows[i].body), "https://h/fhir", cw_span_cstr(rows[i].subject), &out);
        ck_assert_msg((rc == CW_OK) == (rows[i].id != NULL), "row %zu: %d", i, (int)rc);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].id == NULL ? "" : rows[i].id);
    }
}
END_TEST

START_TEST(tenants)
{
    static const struct cw_profile practice = { .tenant_claim = "ah_practice" };
    static const struct cw_profile none = { .tenant_claim = "" };
    /* {"ah_practice":"a-1.Practice-195900"} and {"ah_practice":7} */
    static const char text[] = "eyJhbGciOiJSUzI1NiJ9.eyJhaF9wcmFjdGljZSI6ImEtMS5QcmFjdGljZS0xOTU5MDAifQ.c2ln";
    static const char number[] = "eyJhbGciOiJSUzI1NiJ9.eyJhaF9wcmFjdGljZSI6N30.c2ln";
    const struct {
        const struct cw_profile *profile;
        const char *token, *tenant; /* NULL: none */
    } rows[] = { { &practice, text, "a-1.Practice-195900" }, { &practice, number, "7" }, { &none, text, NULL }, { &practice, "opaque", NULL } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_TENANT_MAX);
        ck_assert_msg(cw_tenant_from_claims(cw_span_cstr(rows[i].token), rows[i].profile, &out) == (rows[i].tenant != NULL), "row %zu", i);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].tenant == NULL ? "" : rows[i].tenant);
    }
}
END_TEST

/* One walk through the places: what the tokens say, what the server says, and who comes out after how many requests. */
struct way {
    const struct cw_profile *profile;
    const char *token, *patient, *user, *userinfo; /* userinfo: path; "": none */
    const char *found;                             /* NULL: nobody */
    enum cw_patient_from from;
    size_t requests;
    bool foreign;                                  /* the registration lists another host */
};

static void walk(struct script_server *server, const struct way *way, size_t row)
{
    struct cw_http *http = net_fixture_http(server, "");
    char host[64];
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", way->foreign ? 1 : script_server_port(server));
    struct cw_span pattern = cw_span_cstr(host);
    CW_AUTO_GRANT grant;
    CW_AUTO_STR out;
    cw_smart_grant_init(&grant);
    cw_str_init(&out, CW_FHIR_ID_MAX);
    ck_assert_int_eq(cw_secret_set(&grant.access_token, cw_span_cstr(way->token)), CW_OK);
    (void)cw_str_add_cstr(&grant.patient, way->patient);
    size_t before = script_server_count(server);
    struct cw_patient_ask ask = {
        .profile = way->profile,
        .base = script_server_url(server, "/v2/fhir"),
        .userinfo_endpoint = way->userinfo[0] == '\0' ? "" : script_server_url(server, way->userinfo),
        .hosts = { &pattern, 1 },
        .grant = &grant,
        .scopes = CW_SPAN("patient/Patient.read patient/Coverage.read"),
        .fhir_user = cw_span_cstr(way->user),
    };
    enum cw_patient_from from = CW_PATIENT_TOKEN;
    enum cw_code rc = cw_smart_patient(http, &ask, &out, &from, NULL);
    ck_assert_msg(rc == (way->found == NULL ? CW_E_NOT_FOUND : CW_OK), "row %zu: %d", row, (int)rc);
    ck_assert_str_eq(cw_str_cstr(&out), way->found == NULL ? "" : way->found);
    ck_assert_msg(way->found == NULL || from == way->from, "row %zu: %s", row, cw_patient_from_name(from));
    size_t requests = script_server_count(server) - before;
    ck_assert_msg(requests == way->requests, "row %zu: %zu requests", row, requests);
    for (size_t i = before; i < before + requests; i++) {
        ck_assert_str_eq(script_request_header(script_server_request(server, i), "Authorization"), "Bearer opaque");
    }
    cw_http_free(http);
}

#define PLACE .tenant_claim = "", .extra_query = "", .accept = "application/fhir+json"

START_TEST(order_of_places)
{
    static const struct script_answer script[] = {
        { .path = "/v2/fhir/Patient", .keep = true, .body = "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("searched") "]}" },
        { .path = "/told", .keep = true, .body = "{\"sub\":\"s\",\"patient\":\"informed\"}" },
        { .path = "/v2/connect/userinfo", .keep = true, .body = "{\"sub\":\"s\",\"patient\":\"-beside\"}" },
        { .path = "/broken", .keep = true, .status = 500, .body = "no" },
    };
    static const struct cw_profile quiet = { .patient_claim = "local_patient_id", PLACE };
    static const struct cw_profile asks = { .patient_claim = "", .patient_search = true, PLACE };
    static const struct cw_profile beside = { .patient_claim = "", .patient_userinfo = true, PLACE };
    /* {"local_patient_id":"claimed"} */
    static const char jwt[] = "eyJhbGciOiJSUzI1NiJ9.eyJsb2NhbF9wYXRpZW50X2lkIjoiY2xhaW1lZCJ9.c2ln";
    static const struct way rows[] = {
        { &quiet, jwt, "told", "Patient/user", "/told", "told", CW_PATIENT_TOKEN, 0, false },
        { &quiet, jwt, "", "Patient/user", "/told", "user", CW_PATIENT_FHIR_USER, 0, false },
        { &quiet, jwt, "", "RelatedPerson/user", "/told", "claimed", CW_PATIENT_CLAIM, 0, false },
        { &asks, "opaque", "", "Practitioner/user", "/told", "informed", CW_PATIENT_USERINFO, 1, false },
        { &beside, "opaque", "", "", "", "-beside", CW_PATIENT_USERINFO, 1, false },
        { &asks, "opaque", "", "", "", "searched", CW_PATIENT_SEARCH, 1, false },
        { &asks, "opaque", "", "", "/broken", "searched", CW_PATIENT_SEARCH, 2, false },
        { &asks, "opaque", "", "", "/told", "searched", CW_PATIENT_SEARCH, 1, true }, /* no token to a host that is not listed */
        { &beside, "opaque", "", "", "", NULL, CW_PATIENT_TOKEN, 0, true },
        { &quiet, "opaque", "", "", "", NULL, CW_PATIENT_TOKEN, 0, false },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        walk(server, &rows[i], i);
    }
    script_server_stop(server);
}
END_TEST

START_TEST(places_of_last_resort)
{
    /* Demographics are held back: the person is named by what is not. ExplanationOfBenefit is not among the scopes. */
    static const struct script_answer payer[] = {
        { .path = "/v2/fhir/Patient", .keep = true, .status = 403, .body = "{}" },
        { .path = "/v2/fhir/Coverage", .keep = true, .body = "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("Patient/-7") "]}" },
    };
    static const struct script_answer crowd[] = {
        { .path = "/v2/fhir/Patient", .keep = true, .body = "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("1") "," PATIENT("2") "]}" },
        { .path = "/v2/fhir/Coverage", .keep = true, .body = "{\"resourceType\":\"Bundle\",\"entry\":[" COVERAGE("Patient/1") "]}" },
    };
    static const struct cw_profile asks = { .patient_claim = "", .patient_search = true, PLACE };
    static const struct way person = { &asks, "opaque", "", "", "", "-7", CW_PATIENT_COVERAGE, 2, false };
    struct script_server *server = script_server_start(payer, CW_ARRAY_LEN(payer));
    walk(server, &person, 0);
    script_server_stop(server);

    /* Of several people none is guessed at. */
    server = script_server_start(crowd, CW_ARRAY_LEN(crowd));
    struct cw_http *http = net_fixture_http(server, "");
    CW_AUTO_GRANT grant;
    CW_AUTO_STR out;
    cw_smart_grant_init(&grant);
    cw_str_init(&out, CW_FHIR_ID_MAX);
    ck_assert_int_eq(cw_secret_set(&grant.access_token, CW_SPAN("opaque")), CW_OK);
    struct cw_patient_ask ask = { .profile = &asks, .base = script_server_url(server, "/v2/fhir"), .userinfo_endpoint = "",
                                  .grant = &grant, .scopes = CW_SPAN("patient/*.read") };
    enum cw_patient_from from;
    ck_assert_int_eq(cw_smart_patient(http, &ask, &out, &from, NULL), CW_E_CONFLICT);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_eq(script_server_count(server), 1);
    cw_http_free(http);
    script_server_stop(server);
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
    tcase_add_test(tcase, insured_people);
    tcase_add_test(tcase, userinfo_answers);
    tcase_add_test(tcase, tenants);
    tcase_add_test(tcase, places_of_last_resort);
    suite_add_tcase(suite, tcase);
    return suite;
}
