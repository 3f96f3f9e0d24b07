/* SPDX-License-Identifier: Apache-2.0 */
/* Quirks of the token endpoint and what belongs to it: answers, clients, refreshes, revocation, apps that register themselves. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "os/sys.h"
#include "tests/unit/test_sandbox_http.h"
#include "tests/unit/test_sandbox_quirk.h"

#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

/* --- tokens --- */

/* The answer to a code, as JSON where it is some. */
static struct fcgi_answer tokens(const char *as, struct quirk_change change, const char *more)
{
    CW_AUTO_STR form;
    char uri[128];
    struct fcgi_answer answer = quirk_consent(as, change, SCOPE " patient/*.rs patient/Patient.read");
    const char *code = answer.status == 303 ? strstr(fcgi_header(&answer, "Location"), "code=") : NULL;
    ck_assert_msg(code != NULL, "%s: %d", as, answer.status);
    cw_str_init(&form, 16384);
    cw_str_addf(&form, "grant_type=authorization_code&redirect_uri=" REDIRECT "&code=%.*s%s", (int)strcspn(code + 5, "&"), code + 5, more);
    fcgi_answer_free(&answer);
    snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/token", as);
    return ask("POST", uri, NULL, cw_str_cstr(&form));
}

#define PUBLIC "&client_id=chartway-sandbox&code_verifier=" VERIFIER

static json_t *granted(const char *as)
{
    struct fcgi_answer answer = tokens(as, (struct quirk_change){ "x", NULL }, PUBLIC);
    ck_assert_msg(answer.status == 200, "%s: %d", as, answer.status);
    json_t *root = json_of(&answer);
    fcgi_answer_free(&answer);
    return root;
}

START_TEST(token_answers_differ)
{
    static const struct {
        const char *as, *member;
        int type; /* json_type; -1: not there */
        const char *value;
    } rows[] = {
        { "public-no-refresh", "refresh_token", -1, NULL },
        { "offline-dropped", "refresh_token", -1, NULL },
        { "no-patient", "patient", -1, NULL },
        { "no-id-token", "id_token", -1, NULL },
        { "expires-float", "expires_in", JSON_REAL, NULL },
        { "expires-text", "expires_in", JSON_STRING, "3600" },
        { "expires-missing", "expires_in", -1, NULL },
        { "grant-ends", "access_grant_expiration", JSON_STRING, NULL },
        { "token-type-missing", "token_type", -1, NULL },
        { "token-type-lower", "token_type", JSON_STRING, "bearer" },
        { "token-type-dpop", "token_type", JSON_STRING, "DPoP" },
        { "scope-missing", "scope", -1, NULL },
        { "scope-empty", "scope", JSON_STRING, "" },
        { "scope-in-v1", "scope", JSON_STRING, "openid fhirUser launch/patient offline_access patient/Patient.read" },
        { "offline-unlisted", "scope", JSON_STRING, "openid fhirUser launch/patient patient/Patient.rs" },
        { "offline-unlisted", "refresh_token", JSON_STRING, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        json_t *root = granted(rows[i].as);
        const json_t *member = json_object_get(root, rows[i].member);
        ck_assert_msg((member == NULL ? -1 : (int)json_typeof(member)) == rows[i].type, "row %zu: %s", i, rows[i].as);
        ck_assert_msg(rows[i].value == NULL || strcmp(json_string_value(member), rows[i].value) == 0, "row %zu: %s", i,
                      json_string_value(member));
        json_decref(root);
    }
    json_t *root = granted("expires-zero");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "expires_in")), 0);
    json_decref(root);
    root = granted("short-life");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "expires_in")), 570);
    json_decref(root);
    root = granted("tokens-padded");
    ck_assert_int_eq(text(root, "access_token")[0], ' ');
    json_decref(root);
    struct fcgi_answer answer = tokens("token-as-html", (struct quirk_change){ "x", NULL }, PUBLIC);
    ck_assert_ptr_nonnull(strstr(fcgi_header(&answer, "Content-Type"), "text/html"));
    fcgi_answer_free(&answer);
}
END_TEST

/* Claims of a JWT member, after its signature was checked with the personality's keys; `good` is what that must say. */
static json_t *claims_of(const char *as, const char *member, bool good)
{
    char uri[128];
    json_t *root = granted(as), *claims = NULL, *checked = NULL;
    snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/jwks", as);
    struct fcgi_answer answer = ask("GET", uri, NULL, NULL);
    json_t *jwks = json_of(&answer);
    fcgi_answer_free(&answer);
    ck_assert_int_eq(cw_jws_peek(cw_span_cstr(text(root, member)), &claims, NULL), CW_OK);
    ck_assert_msg((cw_jws_verify(cw_span_cstr(text(root, member)), jwks, &checked, NULL) == CW_OK) == good, "%s", as);
    json_decref(checked);
    json_decref(jwks);
    json_decref(root);
    return claims;
}

START_TEST(jwts_carry_what_the_personality_says)
{
    const char *patient = cw_sbx_patient_at(hospital.store, 0)->id;
    static const struct {
        const char *as, *claim, *value; /* value "": not there */
        bool good;
    } rows[] = {
        { "id-token-other-issuer", "iss", "https://evil.example/fhir", true },
        { "id-token-other-nonce", "nonce", "another-nonce", true },
        { "id-token-other-audience", "aud", "another-app", true },
        { "id-token-bad-signature", "nonce", "no-1", false },
        { "no-fhir-user", "fhirUser", "", true },
        { "proxy-user", "fhirUser", ORIGIN "/sandbox/as/proxy-user/fhir/RelatedPerson/guardian-1", true },
        { "proxy-user", "sub", "guardian-1", true },
        { "issuer-elsewhere", "iss", "http://127.0.0.2:8480/sandbox/as/issuer-elsewhere/oauth/issuer", true },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        json_t *claims = claims_of(rows[i].as, "id_token", rows[i].good);
        ck_assert_msg(strcmp(text(claims, rows[i].claim), rows[i].value) == 0, "row %zu: %s", i, text(claims, rows[i].claim));
        json_decref(claims);
    }
    json_t *claims = claims_of("local-patient-id", "access_token", true);
    ck_assert_str_eq(text(claims, "local_patient_id"), patient);
    json_decref(claims);
    claims = claims_of("ah-practice", "access_token", true);
    ck_assert_str_ne(text(claims, "ah_practice"), "");
    json_decref(claims);

    char uri[256];
    json_t *root = granted("local-patient-id"); /* and it is a token like any other */
    snprintf(uri, sizeof uri, "/sandbox/as/local-patient-id/fhir/Patient/%s", patient);
    ck_assert_int_eq(status_of("GET", uri, text(root, "access_token"), NULL), 200);
    json_decref(root);
}
END_TEST

START_TEST(clients_show_themselves_as_the_personality_wants)
{
    static const struct {
        const char *as, *more;
        int status;
    } rows[] = {
        { "confidential-only", PUBLIC, 401 },
        { "client-id-needed", PUBLIC, 200 },
        { "errors-in-200", "&client_id=nobody&code_verifier=" VERIFIER, 200 },
        { "errors-in-500", "&client_id=nobody&code_verifier=" VERIFIER, 500 },
        { "errors-by-uri", "&client_id=nobody&code_verifier=" VERIFIER, 401 },
        { "pkce-refused", PUBLIC, 400 }, /* asked without, a verifier has no challenge to fit */
        { "trailing-slash", PUBLIC, 301 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct quirk_change change = { strcmp(rows[i].as, "pkce-refused") == 0 ? "code_challenge" : "x", NULL };
        struct fcgi_answer answer = tokens(rows[i].as, change, rows[i].more);
        ck_assert_msg(answer.status == rows[i].status, "row %zu: %d", i, answer.status);
        if (i >= 2 && i <= 4) {
            json_t *root = json_of(&answer);
            ck_assert_str_eq(text(root, "error"), "invalid_client");
            ck_assert_int_eq(text(root, "error_uri")[0] != '\0', i == 4);
            ck_assert_int_eq(json_object_get(root, "expires_in") != NULL, i == 3);
            json_decref(root);
        }
        fcgi_answer_free(&answer);
    }
    struct fcgi_answer answer = tokens("pkce-refused", (struct quirk_change){ "code_challenge", NULL }, "&client_id=chartway-sandbox");
    ck_assert_int_eq(answer.status, 200);
    fcgi_answer_free(&answer);
    answer = tokens("long-code", (struct quirk_change){ "x", NULL }, PUBLIC);
    ck_assert_int_eq(answer.status, 200);
    fcgi_answer_free(&answer);
}
END_TEST

/* --- Basic and assertions --- */

static int token_status(const char *as, const char *authorization, const char *form)
{
    char uri[128];
    snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/token", as);
    struct fcgi_request request = { .method = "POST", .uri = uri, .body = form, .type = "application/x-www-form-urlencoded",
                                    .more = (const char *const[]){ authorization == NULL ? NULL : "HTTP_AUTHORIZATION", authorization, NULL } };
    struct fcgi_answer answer = fcgi_ask(hospital_socket(), -1, &request);
    int status = answer.status;
    fcgi_answer_free(&answer);
    return status;
}

static int basic_status(const char *as, const char *pair, const char *more)
{
    CW_AUTO_STR header, form;
    cw_str_init(&header, 512);
    cw_str_init(&form, 512);
    cw_str_add_cstr(&header, "Basic ");
    cw_base64_encode(cw_span_cstr(pair), &header);
    cw_str_addf(&form, "grant_type=refresh_token&refresh_token=x%s", more);
    return token_status(as, cw_str_cstr(&header), cw_str_cstr(&form));
}

START_TEST(basic_is_read_in_one_way_or_the_other)
{
    static const char *const registration =
        "{\"client_id\":\"odd\",\"auth\":\"client_secret_basic\",\"secret\":\"a%41+/=\",\"redirect_folder\":\"{origin}/callback/\"}";
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/clients", OPERATOR, registration), 200);
    /* 400 is invalid_grant: the app was known, the token is not */
    ck_assert_int_eq(basic_status("basic-raw", "odd:a%41+/=", ""), 400);
    ck_assert_int_eq(basic_status("basic-raw", "odd:a%2541%2B%2F%3D", ""), 401);
    ck_assert_int_eq(basic_status("basic-encoded", "odd:a%2541%2B%2F%3D", ""), 400);
    ck_assert_int_eq(basic_status("basic-encoded", "odd:a%41+/=", ""), 401);
    ck_assert_int_eq(basic_status("client-id-refused", "odd:a%2541%2B%2F%3D", "&client_id=odd"), 400);
    ck_assert_int_eq(basic_status("client-id-needed", "odd:a%2541%2B%2F%3D", ""), 400);
    ck_assert_int_eq(basic_status("confidential-only", "odd:a%2541%2B%2F%3D", ""), 400);
}
END_TEST

static int asserted_status(const char *as, const struct cw_signing_key *key)
{
    char url[128];
    CW_AUTO_STR jwt, form;
    cw_str_init(&jwt, 4096);
    cw_str_init(&form, 8192);
    snprintf(url, sizeof url, ORIGIN "/sandbox/as/%s/oauth/token", as);
    struct cw_assertion assertion = { .client_id = CW_SPAN("keyed"), .audience = cw_span_cstr(url), .now_us = cw_now_us(),
                                      .lifetime_us = 60 * INT64_C(1000000) };
    ck_assert_int_eq(cw_assertion_sign(key, &assertion, &jwt, NULL), CW_OK);
    cw_str_addf(&form, "grant_type=refresh_token&refresh_token=x&client_assertion_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Aclient-assertion-type"
                       "%%3Ajwt-bearer&client_assertion=%s", cw_str_cstr(&jwt));
    return token_status(as, NULL, cw_str_cstr(&form));
}

/* A registration with these keys, and `more` members. */
static void register_keys(struct cw_signing_key *const keys[2], const char *more)
{
    CW_AUTO_STR object;
    struct cw_jsonw w;
    cw_str_init(&object, 16384);
    cw_str_addf(&object, "{\"client_id\":\"keyed\",\"auth\":\"private_key_jwt\",\"redirect_folder\":\"{origin}/callback/\"%s,\"jwks\":", more);
    cw_jsonw_init(&w, &object);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(cw_signing_key_jwk(keys[i], &w), CW_OK);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    cw_str_add_char(&object, '}');
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/clients", OPERATOR, cw_str_cstr(&object)), 200);
}

START_TEST(assertions_of_the_wrong_algorithm)
{
    struct cw_signing_key *keys[2] = { NULL, NULL };
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_RS384, &keys[0], NULL), CW_OK);
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &keys[1], NULL), CW_OK);
    register_keys(keys, "");
    ck_assert_int_eq(asserted_status("rs384-only", keys[0]), 400);
    ck_assert_int_eq(asserted_status("rs384-only", keys[1]), 401);
    ck_assert_int_eq(asserted_status("no-patient", keys[1]), 400);
    register_keys(keys, ",\"alg\":\"ES384\"");
    ck_assert_int_eq(asserted_status("no-patient", keys[0]), 401);
    ck_assert_int_eq(asserted_status("no-patient", keys[1]), 400);
    cw_signing_key_free(keys[0]);
    cw_signing_key_free(keys[1]);
}
END_TEST

/* --- refresh and revocation --- */

static struct fcgi_answer refresh(const char *as, const char *token, const char *more)
{
    CW_AUTO_STR form;
    char uri[128];
    cw_str_init(&form, 4096);
    cw_str_addf(&form, "grant_type=refresh_token&client_id=chartway-sandbox&refresh_token=%s%s", token, more);
    snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/token", as);
    return ask("POST", uri, NULL, cw_str_cstr(&form));
}

START_TEST(refreshes_are_as_the_personality_wants)
{
    static const struct {
        const char *as, *more;
        int status;
        const char *error;
    } rows[] = {
        { "refresh-wants-scope", "", 400, "invalid_request" },
        { "refresh-wants-scope", "&scope=openid", 200, "" },
        { "refresh-wants-redirect", "", 400, "invalid_request" },
        { "refresh-wants-redirect", "&redirect_uri=" REDIRECT, 200, "" },
        { "refresh-refused", "", 400, "unauthorized_client" },
        { "grant-ends", "", 200, "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        json_t *root = granted(rows[i].as);
        struct fcgi_answer answer = refresh(rows[i].as, text(root, "refresh_token"), rows[i].more);
        ck_assert_msg(answer.status == rows[i].status, "row %zu: %d", i, answer.status);
        json_t *said = json_of(&answer);
        ck_assert_msg(strcmp(text(said, "error"), rows[i].error) == 0, "row %zu: %s", i, text(said, "error"));
        fcgi_answer_free(&answer);
        json_decref(said);
        json_decref(root);
    }
    json_t *root = granted("refresh-token-stays");
    for (unsigned i = 0; i < 2; i++) {
        struct fcgi_answer answer = refresh("refresh-token-stays", text(root, "refresh_token"), "");
        json_t *said = json_of(&answer);
        ck_assert_int_eq(answer.status, 200);
        ck_assert_ptr_null(json_object_get(said, "refresh_token"));
        fcgi_answer_free(&answer);
        json_decref(said);
    }
    json_decref(root);
    root = granted("refresh-other-patient");
    struct fcgi_answer answer = refresh("refresh-other-patient", text(root, "refresh_token"), "");
    json_t *said = json_of(&answer);
    ck_assert_str_eq(text(said, "patient"), "somebody-else");
    fcgi_answer_free(&answer);
    json_decref(said);
    json_decref(root);
}
END_TEST

START_TEST(revoking_a_token_or_the_whole_grant)
{
    static const char *const as[] = { "revoke-all", "no-patient" };
    for (size_t i = 0; i < 2; i++) {
        char uri[128], form[512];
        json_t *root = granted(as[i]);
        snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/revoke", as[i]);
        snprintf(form, sizeof form, "client_id=chartway-sandbox&token=%s", text(root, "access_token"));
        ck_assert_int_eq(status_of("POST", uri, NULL, form), 200);
        struct fcgi_answer answer = refresh(as[i], text(root, "refresh_token"), "");
        ck_assert_msg(answer.status == (i == 0 ? 400 : 200), "%s: %d", as[i], answer.status);
        fcgi_answer_free(&answer);
        json_decref(root);
    }
}
END_TEST

START_TEST(a_bare_400_spends_nothing)
{
    json_t *root = granted("no-patient");
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", OPERATOR,
                               "{\"point\":\"refresh\",\"fault\":\"bare\",\"count\":1,\"personality\":\"no-patient\"}"), 200);
    struct fcgi_answer answer = refresh("no-patient", text(root, "refresh_token"), "");
    ck_assert_int_eq(answer.status, 400);
    ck_assert_uint_eq(answer.body_len, 0);
    fcgi_answer_free(&answer);
    answer = refresh("no-patient", text(root, "refresh_token"), "");
    ck_assert_int_eq(answer.status, 200);
    fcgi_answer_free(&answer);
    json_decref(root);
}
END_TEST

/* --- dynamic registration, userinfo, search --- */

static char *registration_of(const struct cw_signing_key *key, const char *software)
{
    CW_AUTO_STR object;
    struct cw_jsonw w;
    cw_str_init(&object, 8192);
    cw_jsonw_init(&w, &object);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "software_id", software);
    cw_jsonw_key(&w, "jwks");
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    ck_assert_int_eq(cw_signing_key_jwk(key, &w), CW_OK);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    return cw_str_take(&object);
}

static int asserted_grant(const char *as, const char *client, const struct cw_signing_key *key, json_t **ret)
{
    char url[128];
    CW_AUTO_STR jwt, form;
    cw_str_init(&jwt, 4096);
    cw_str_init(&form, 8192);
    snprintf(url, sizeof url, ORIGIN "/sandbox/as/%s/oauth/token", as);
    struct cw_assertion assertion = { .client_id = cw_span_cstr(client), .audience = cw_span_cstr(url), .now_us = cw_now_us(),
                                      .lifetime_us = 60 * INT64_C(1000000) };
    ck_assert_int_eq(cw_assertion_sign(key, &assertion, &jwt, NULL), CW_OK);
    cw_str_addf(&form, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&client_id=%s&assertion=%s", client,
                cw_str_cstr(&jwt));
    struct fcgi_answer answer = ask("POST", url + strlen(ORIGIN), NULL, cw_str_cstr(&form));
    *ret = json_of(&answer);
    int status = answer.status;
    fcgi_answer_free(&answer);
    return status;
}

START_TEST(apps_register_themselves)
{
    struct cw_signing_key *key = NULL;
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_RS384, &key, NULL), CW_OK);
    char *object = registration_of(key, "chartway-sandbox"), *foreign = registration_of(key, "another");
    json_t *root = granted("dynamic-registration"), *said, *other = granted("no-patient");
    const char *token = text(root, "access_token");
    ck_assert_int_eq(status_of("POST", "/sandbox/as/no-patient/oauth/register", text(other, "access_token"), object), 404);
    ck_assert_int_eq(status_of("POST", "/sandbox/as/dynamic-registration/oauth/register", "guess", object), 401);
    ck_assert_int_eq(status_of("POST", "/sandbox/as/dynamic-registration/oauth/register", token, foreign), 400);
    ck_assert_int_eq(status_of("POST", "/sandbox/as/dynamic-registration/oauth/register", token, "{\"software_id\":\"chartway-sandbox\"}"), 400);
    struct fcgi_answer answer = ask("POST", "/sandbox/as/dynamic-registration/oauth/register", token, object);
    ck_assert_int_eq(answer.status, 201);
    json_t *made = json_of(&answer);
    fcgi_answer_free(&answer);
    const char *client = text(made, "client_id");
    ck_assert_int_eq(asserted_grant("dynamic-registration", client, key, &said), 200);
    ck_assert_str_eq(text(said, "patient"), "");
    ck_assert_str_eq(text(said, "refresh_token"), "");
    char uri[256];
    snprintf(uri, sizeof uri, "/sandbox/as/dynamic-registration/fhir/Patient/%s", cw_sbx_patient_at(hospital.store, 0)->id);
    ck_assert_int_eq(status_of("GET", uri, text(said, "access_token"), NULL), 200);
    json_decref(said);
    ck_assert_int_eq(asserted_grant("dynamic-registration", "chartway-sandbox", key, &said), 400);
    json_decref(said);
    snprintf(uri, sizeof uri, "/sandbox/operator/patients/%s/revoke", cw_sbx_patient_at(hospital.store, 0)->id);
    ck_assert_int_eq(status_of("POST", uri, OPERATOR, ""), 200);
    ck_assert_int_eq(asserted_grant("dynamic-registration", client, key, &said), 400); /* the patient took it back */
    ck_assert_str_eq(text(said, "error"), "invalid_grant");
    json_decref(said);
    json_decref(made);
    json_decref(root);
    json_decref(other);
    free(object);
    free(foreign);
    cw_signing_key_free(key);
}
END_TEST

START_TEST(who_the_patient_is_told_elsewhere)
{
    const char *patient = cw_sbx_patient_at(hospital.store, 0)->id;
    json_t *root = granted("userinfo");
    struct fcgi_answer answer = ask("GET", "/sandbox/as/userinfo/oauth/userinfo", text(root, "access_token"), NULL);
    json_t *said = json_of(&answer);
    ck_assert_str_eq(text(said, "patient"), patient);
    fcgi_answer_free(&answer);
    json_decref(said);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/userinfo/oauth/userinfo", "guess", NULL), 401);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/no-patient/oauth/userinfo", text(root, "access_token"), NULL), 404);
    json_decref(root);
    root = granted("no-patient-search");
    ck_assert_int_eq(status_of("GET", "/sandbox/as/no-patient-search/fhir/Patient", text(root, "access_token"), NULL), 400);
    json_decref(root);
    root = granted("no-patient");
    ck_assert_int_eq(status_of("GET", "/sandbox/as/no-patient/fhir/Patient", text(root, "access_token"), NULL), 200);
    json_decref(root);
}
END_TEST

TCase *sandbox_quirk_token_case(void)
{
    TCase *tcase = tcase_create("quirks of tokens");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, token_answers_differ);
    tcase_add_test(tcase, jwts_carry_what_the_personality_says);
    tcase_add_test(tcase, clients_show_themselves_as_the_personality_wants);
    tcase_add_test(tcase, basic_is_read_in_one_way_or_the_other);
    tcase_add_test(tcase, assertions_of_the_wrong_algorithm);
    tcase_add_test(tcase, refreshes_are_as_the_personality_wants);
    tcase_add_test(tcase, revoking_a_token_or_the_whole_grant);
    tcase_add_test(tcase, a_bare_400_spends_nothing);
    tcase_add_test(tcase, apps_register_themselves);
    tcase_add_test(tcase, who_the_patient_is_told_elsewhere);
    return tcase;
}
