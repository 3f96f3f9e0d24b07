/* SPDX-License-Identifier: Apache-2.0 */
/* What single quirks demand and say, from the outside: each is seen to bite, and to let through what it should. */
#include "config.h"

#include "tests/unit/test_sandbox_quirk.h"

#include <stdio.h>

#include "base/text.h"
#include "tests/unit/test_sandbox_http.h"

#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" /* RFC 7636, appendix B */
#define ALL "openid fhirUser launch/patient patient/*.rs"

void quirk_request(const char *as, struct quirk_change change, struct cw_str *out)
{
    char aud[128];
    snprintf(aud, sizeof aud, ORIGIN "/sandbox/as/%s/fhir", as);
    struct quirk_change pairs[] = { { "response_type", "code" }, { "client_id", "chartway-sandbox" }, { "redirect_uri", REDIRECT },
                              { "state", "st_a-1.rest" }, { "scope", SCOPE }, { "aud", aud }, { "nonce", "no-1" },
                              { "code_challenge_method", "S256" }, { "code_challenge", CHALLENGE }, { "", NULL } };
    bool there = false;
    for (size_t i = 0; i < CW_ARRAY_LEN(pairs) - 1; i++) {
        bool hit = strcmp(pairs[i].name, change.name) == 0;
        there |= hit;
        pairs[i].value = hit ? change.value : pairs[i].value;
        if (strcmp(change.name, "code_challenge") == 0 && change.value == NULL && strcmp(pairs[i].name, "code_challenge_method") == 0) {
            pairs[i].value = NULL; /* PKCE goes as a whole */
        }
    }
    if (!there) {
        pairs[CW_ARRAY_LEN(pairs) - 1] = change;
    }
    cw_str_init(out, 8192);
    for (size_t i = 0; i < CW_ARRAY_LEN(pairs); i++) {
        if (pairs[i].value != NULL) {
            cw_form_add(out, pairs[i].name, cw_span_cstr(pairs[i].value));
        }
    }
}

struct fcgi_answer quirk_consent(const char *as, struct quirk_change change, const char *scope)
{
    CW_AUTO_STR query, form;
    char uri[128];
    struct cw_span words = cw_span_cstr(scope), word;
    quirk_request(as, change, &query);
    cw_str_init(&form, 32768);
    cw_form_add(&form, "request", cw_str_span(&query));
    cw_form_add(&form, "patient", cw_span_cstr(cw_sbx_patient_at(hospital.store, 0)->id));
    cw_form_add(&form, "decision", CW_SPAN("allow"));
    while (cw_span_word(&words, &word)) {
        cw_form_add(&form, "allow", word);
    }
    snprintf(uri, sizeof uri, "/sandbox/as/%s/oauth/consent", as);
    return ask("POST", uri, NULL, cw_str_cstr(&form));
}

static void expect_location(const char *as, struct quirk_change change, const char *part)
{
    struct fcgi_answer answer = quirk_consent(as, change, SCOPE);
    const char *location = answer.status == 303 ? fcgi_header(&answer, "Location") : "";
    ck_assert_msg(strstr(location, part) != NULL, "%s %s=%s: %d %s", as, change.name, change.value == NULL ? "(none)" : change.value,
                  answer.status, location);
    fcgi_answer_free(&answer);
}

START_TEST(requests_are_judged_by_personality)
{
    static const struct {
        const char *as;
        struct quirk_change change;
        const char *part; /* of the Location */
    } rows[] = {
        { "aud-with-slash", { "x", NULL }, "error=invalid_request" },
        { "aud-with-slash", { "aud", ORIGIN "/sandbox/as/aud-with-slash/fhir/" }, "code=" },
        { "aud-without-slash", { "x", NULL }, "code=" },
        { "aud-without-slash", { "aud", ORIGIN "/sandbox/as/aud-without-slash/fhir/" }, "error=invalid_request" },
        { "aud-refused", { "x", NULL }, "error=invalid_request" },
        { "aud-refused", { "aud", NULL }, "code=" },
        { "own-state", { "aud", ORIGIN "/sandbox/fhir" }, "error=invalid_request" },
        { "pkce-refused", { "x", NULL }, "error=invalid_request" },
        { "pkce-refused", { "code_challenge", NULL }, "code=" },
        { "own-state", { "code_challenge", NULL }, "error=invalid_request" },
        { "nonce-needed", { "nonce", NULL }, "error=invalid_request" },
        { "nonce-needed", { "x", NULL }, "code=" },
        { "strict-request", { "resource", "x" }, "error=invalid_request" },
        { "strict-request", { "launch", "x" }, "error=invalid_request" },
        { "strict-request", { "x", NULL }, "code=" },
        { "authorize-query", { "x", NULL }, "error=invalid_request" },
        { "authorize-query", { "acr_values", "portal" }, "code=" },
        { "wildcard-refused", { "scope", ALL }, "error=invalid_scope" },
        { "wildcard-refused", { "x", NULL }, "code=" },
        { "scopes-by-permission", { "scope", ALL }, "error=invalid_scope" },
        { "unlisted-refused", { "scope", SCOPE " profile" }, "error=invalid_scope" },
        { "unlisted-refused", { "scope", ALL }, "error=invalid_scope" },
        { "unlisted-refused", { "x", NULL }, "code=" },
        { "literal-scope", { "x", NULL }, "error=invalid_scope" },
        { "literal-scope", { "scope", ALL }, "code=" },
        { "literal-scope", { "scope", ALL " offline_access" }, "error=invalid_scope" },
        { "v1-only", { "x", NULL }, "error=invalid_scope" },
        { "v1-only", { "scope", "openid fhirUser patient/Patient.read" }, "error=invalid_scope" },
        { "v1-only", { "scope", "openid fhiruser patient/Patient.read" }, "code=" },
        { "launch-patient-refused", { "x", NULL }, "error=invalid_scope" },
        { "launch-patient-refused", { "scope", "openid patient/Patient.rs" }, "code=" },
        { "fhir-user-refused", { "x", NULL }, "error=invalid_scope" },
        { "offline-refused", { "x", NULL }, "error=invalid_scope" },
        { "offline-refused", { "scope", ALL }, "code=" },
        { "internal-scope-needed", { "x", NULL }, "error=invalid_scope" },
        { "internal-scope-needed", { "scope", SCOPE " internal" }, "code=" },
        { "sandbox-scope-needed", { "x", NULL }, "error=invalid_scope" },
        { "sandbox-scope-needed", { "scope", SCOPE " sandbox" }, "code=" },
        { "client-not-enabled", { "x", NULL }, "error=unauthorized_client" },
        { "unknown-tenant", { "x", NULL }, "unknown-tenant" },
        { "client-persona-mismatch", { "x", NULL }, "error_uri=" },
        { "errors-by-uri", { "scope", "" }, "error_uri=" },
        { "state-cut", { "x", NULL }, "&state=st_a-1&" },
        { "own-state", { "x", NULL }, "&state=st_a-1.rest&" },
        { "answer-in-fragment", { "x", NULL }, REDIRECT "#code=" },
        { "iss-foreign", { "x", NULL }, "&iss=https%3A%2F%2Fevil.example" },
    };
    json_t *made = json_pack("{s:s,s:[]}", "name", "own-state", "quirks");
    ck_assert_int_eq(cw_sbx_personality_put(hospital.state, made, NULL), CW_OK);
    json_decref(made);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        expect_location(rows[i].as, rows[i].change, rows[i].part);
    }
    struct fcgi_answer answer = quirk_consent("iss-forgotten", (struct quirk_change){ "x", NULL }, SCOPE);
    ck_assert_ptr_null(strstr(fcgi_header(&answer, "Location"), "iss="));
    fcgi_answer_free(&answer);
    answer = quirk_consent("errors-by-uri", (struct quirk_change){ "scope", "" }, SCOPE);
    ck_assert_ptr_null(strstr(fcgi_header(&answer, "Location"), "error_description"));
    fcgi_answer_free(&answer);
}
END_TEST

START_TEST(ways_to_the_login_page)
{
    CW_AUTO_STR query, uri;
    static const struct {
        const char *as, *tail;
        int get, post;
    } rows[] = { { "trailing-slash", "", 301, 200 }, { "trailing-slash", "/", 200, 404 }, { "authorize-slash", "/", 404, 404 },
                 { "authorize-slash", "", 200, 200 }, { "authorize-post-only", "", 405, 200 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char path[128];
        quirk_request(rows[i].as, (struct quirk_change){ "x", NULL }, &query);
        cw_str_init(&uri, 8192);
        snprintf(path, sizeof path, "/sandbox/as/%s/oauth/authorize%s", rows[i].as, rows[i].tail);
        cw_str_addf(&uri, "%s?%s", path, cw_str_cstr(&query));
        ck_assert_msg(status_of("GET", cw_str_cstr(&uri), NULL, NULL) == rows[i].get, "row %zu", i);
        ck_assert_msg(status_of("POST", path, NULL, cw_str_cstr(&query)) == rows[i].post, "row %zu", i);
        cw_str_release(&query);
        cw_str_release(&uri);
    }
    struct fcgi_answer answer = quirk_consent("answer-by-form", (struct quirk_change){ "x", NULL }, SCOPE);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_nonnull(strstr(answer.body, "action=\"" REDIRECT "\""));
    ck_assert_ptr_nonnull(strstr(answer.body, "name=\"code\""));
    fcgi_answer_free(&answer);
}
END_TEST

/* --- discovery --- */

static json_t *discovery(const char *as, const char *place)
{
    char uri[128];
    snprintf(uri, sizeof uri, "/sandbox/as/%s%s/.well-known/smart-configuration", as, place);
    struct fcgi_answer answer = ask("GET", uri, NULL, NULL);
    ck_assert_msg(answer.status == 200, "%s: %d", as, answer.status);
    json_t *root = json_of(&answer);
    fcgi_answer_free(&answer);
    return root;
}

START_TEST(discovery_documents_differ)
{
    static const struct {
        const char *as, *member, *value; /* "": not there */
    } rows[] = {
        { "relative-endpoints", "token_endpoint", "../oauth/token" },
        { "trailing-slash", "token_endpoint", ORIGIN "/sandbox/as/trailing-slash/oauth/token/" },
        { "authorize-slash", "authorization_endpoint", ORIGIN "/sandbox/as/authorize-slash/oauth/authorize/" },
        { "authorize-query", "authorization_endpoint", ORIGIN "/sandbox/as/authorize-query/oauth/authorize?acr_values=portal" },
        { "oauth-elsewhere", "token_endpoint", "http://127.0.0.2:8480/sandbox/as/oauth-elsewhere/oauth/token" },
        { "oauth-elsewhere", "issuer", ORIGIN "/sandbox/as/oauth-elsewhere/fhir" },
        { "issuer-elsewhere", "jwks_uri", "http://127.0.0.2:8480/sandbox/as/issuer-elsewhere/oauth/jwks" },
        { "userinfo", "userinfo_endpoint", ORIGIN "/sandbox/as/userinfo/oauth/userinfo" },
        { "no-patient", "userinfo_endpoint", "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        json_t *root = discovery(rows[i].as, "/fhir");
        ck_assert_msg(strcmp(text(root, rows[i].member), rows[i].value) == 0, "row %zu: %s", i, text(root, rows[i].member));
        json_decref(root);
    }
    static const struct {
        const char *as, *member;
        size_t count;
    } lists[] = { { "grant-types-short", "grant_types_supported", 1 }, { "auth-unlisted", "capabilities", 0 },
                  { "auth-unlisted", "token_endpoint_auth_methods_supported", 0 }, { "rs384-only", "token_endpoint_auth_signing_alg_values_supported", 1 },
                  { "confidential-only", "token_endpoint_auth_methods_supported", 3 }, { "scopes-unlisted", "scopes_supported", 4 },
                  { "pkce-refused", "code_challenge_methods_supported", 0 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(lists); i++) {
        json_t *root = discovery(lists[i].as, "/fhir");
        ck_assert_msg(json_array_size(json_object_get(root, lists[i].member)) == lists[i].count, "row %zu", i);
        json_decref(root);
    }
    json_t *root = discovery("discovery-at-root", "");
    ck_assert_str_eq(text(root, "token_endpoint"), "http://127.0.0.2:8480/sandbox/as/discovery-at-root/oauth/token");
    json_decref(root);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/discovery-at-root/fhir/.well-known/smart-configuration", NULL, NULL), 404);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/no-patient/.well-known/smart-configuration", NULL, NULL), 404);
    root = discovery("iss-silent", "/fhir");
    ck_assert_ptr_null(json_object_get(root, "authorization_response_iss_parameter_supported"));
    json_decref(root);
}
END_TEST

START_TEST(endpoints_in_metadata_alone)
{
    ck_assert_int_eq(status_of("GET", "/sandbox/as/oauth-uris-only/fhir/.well-known/smart-configuration", NULL, NULL), 404);
    struct fcgi_answer answer = ask("GET", "/sandbox/as/oauth-uris-only/fhir/metadata", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(answer.body, "oauth-uris"));
    ck_assert_ptr_nonnull(strstr(answer.body, ORIGIN "/sandbox/as/oauth-uris-only/oauth/token"));
    fcgi_answer_free(&answer);
}
END_TEST

TCase *sandbox_quirk_case(void)
{
    TCase *tcase = tcase_create("quirks");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, requests_are_judged_by_personality);
    tcase_add_test(tcase, ways_to_the_login_page);
    tcase_add_test(tcase, discovery_documents_differ);
    tcase_add_test(tcase, endpoints_in_metadata_alone);
    return tcase;
}
