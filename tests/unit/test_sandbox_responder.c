/* SPDX-License-Identifier: Apache-2.0 */
/* The hospital over FastCGI: a whole login by its pages, tokens, searches, reads, faults and the operator's calls. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "sandbox/persona.h"
#include "tests/lib/check_main.h"
#include "tests/unit/test_sandbox_http.h"
#include "vault/vault.h"

#define VERIFIER "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI"

static void authorize_query(const char *extra, struct cw_str *out)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR challenge;
    cw_str_init(&challenge, 64);
    cw_sha256(CW_SPAN(VERIFIER), hash);
    cw_base64url_encode(cw_span_of(hash, sizeof(hash)), &challenge);
    cw_str_init(out, 4096);
    cw_form_add(out, "response_type", CW_SPAN("code"));
    cw_form_add(out, "client_id", CW_SPAN("chartway-sandbox"));
    cw_form_add(out, "redirect_uri", CW_SPAN(ORIGIN "/callback/r1"));
    cw_form_add(out, "scope", CW_SPAN("openid fhirUser offline_access patient/Patient.rs patient/Goal.rs"));
    cw_form_add(out, "state", CW_SPAN("st-1"));
    cw_form_add(out, "aud", CW_SPAN(ORIGIN "/sandbox/fhir/"));
    cw_form_add(out, "nonce", CW_SPAN("no-1"));
    cw_form_add(out, "code_challenge_method", CW_SPAN("S256"));
    cw_form_add(out, "code_challenge", cw_str_span(&challenge));
    cw_str_add_cstr(out, extra);
}

/* The Location of the consent of that patient, with Goal ticked or not. "" when the login page answered with something else. */
static void consent(const char *name, bool with_goal, const char *decision, char ret_location[1024])
{
    CW_AUTO_STR query, form;
    authorize_query("", &query);
    cw_str_init(&form, 8192);
    cw_form_add(&form, "request", cw_str_span(&query));
    cw_form_add(&form, "name", cw_span_cstr(name));
    struct fcgi_answer answer = ask("POST", "/sandbox/oauth/login", NULL, cw_str_cstr(&form));
    if (answer.status == 200) {
        ck_assert_ptr_nonnull(strstr(answer.body, "patient/Goal.rs"));
        fcgi_answer_free(&answer);
        const struct cw_sbx_patient *patient = cw_sbx_patient_named(hospital.store, cw_span_cstr(name));
        ck_assert_ptr_nonnull(patient);
        cw_str_clear(&form);
        cw_form_add(&form, "request", cw_str_span(&query));
        cw_form_add(&form, "patient", cw_span_cstr(patient->id));
        cw_form_add(&form, "decision", cw_span_cstr(decision));
        static const char *const always[] = { "openid", "fhirUser", "offline_access", "patient/Patient.rs" };
        for (size_t i = 0; i < CW_ARRAY_LEN(always); i++) {
            cw_form_add(&form, "allow", cw_span_cstr(always[i]));
        }
        if (with_goal) {
            cw_form_add(&form, "allow", CW_SPAN("patient/Goal.rs"));
        }
        cw_form_add(&form, "allow", CW_SPAN("patient/Observation.rs")); /* was never asked for */
        answer = ask("POST", "/sandbox/oauth/consent", NULL, cw_str_cstr(&form));
    }
    ck_assert_int_eq(answer.status, 303);
    snprintf(ret_location, 1024, "%s", fcgi_header(&answer, "Location"));
    fcgi_answer_free(&answer);
}

/* The token endpoint's answer to the code in a Location. */
static json_t *exchange(const char *location, int status)
{
    CW_AUTO_STR form;
    const char *code = strstr(location, "code=");
    ck_assert_msg(code != NULL, "%s", location);
    cw_str_init(&form, 4096);
    cw_form_add(&form, "grant_type", CW_SPAN("authorization_code"));
    cw_form_add(&form, "code", cw_span_of(code + 5, strcspn(code + 5, "&")));
    cw_form_add(&form, "redirect_uri", CW_SPAN(ORIGIN "/callback/r1"));
    cw_form_add(&form, "client_id", CW_SPAN("chartway-sandbox"));
    cw_form_add(&form, "code_verifier", CW_SPAN(VERIFIER));
    struct fcgi_answer answer = ask("POST", "/sandbox/oauth/token", NULL, cw_str_cstr(&form));
    ck_assert_int_eq(answer.status, status);
    json_t *root = json_of(&answer);
    fcgi_answer_free(&answer);
    return root;
}

/* --- tests --- */

START_TEST(discovery_names_the_endpoints)
{
    struct fcgi_answer answer = ask("GET", "/sandbox/fhir/.well-known/smart-configuration", NULL, NULL);
    json_t *root = json_of(&answer);
    ck_assert_str_eq(text(root, "token_endpoint"), ORIGIN "/sandbox/oauth/token");
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(root, "code_challenge_methods_supported"), 0)), "S256");
    json_decref(root);
    fcgi_answer_free(&answer);
    answer = ask("GET", "/sandbox/fhir/metadata", NULL, NULL);
    root = json_of(&answer);
    ck_assert_str_eq(text(root, "fhirVersion"), "4.0.1");
    json_decref(root);
    fcgi_answer_free(&answer);
}
END_TEST

START_TEST(a_login_ends_in_a_token_that_reads)
{
    char location[1024], uri[256];
    consent("Amara Okonjo", true, "allow", location);
    ck_assert_ptr_nonnull(strstr(location, "state=st-1"));
    ck_assert_ptr_nonnull(strstr(location, "iss="));
    json_t *tokens = exchange(location, 200);
    const char *access = text(tokens, "access_token");
    ck_assert_str_eq(text(tokens, "scope"), "openid fhirUser offline_access patient/Patient.rs patient/Goal.rs");
    ck_assert_str_ne(text(tokens, "refresh_token"), "");
    struct fcgi_answer answer = ask("GET", "/sandbox/oauth/jwks", NULL, NULL);
    json_t *keys = json_of(&answer), *claims = NULL;
    ck_assert_int_eq(cw_jws_verify(cw_span_cstr(text(tokens, "id_token")), keys, &claims, NULL), CW_OK);
    ck_assert_str_eq(text(claims, "nonce"), "no-1");
    ck_assert_str_eq(text(claims, "aud"), "chartway-sandbox");
    json_decref(claims);
    json_decref(keys);
    fcgi_answer_free(&answer);
    snprintf(uri, sizeof(uri), "/sandbox/fhir/Patient/%s", text(tokens, "patient"));
    ck_assert_int_eq(status_of("GET", uri, access, NULL), 200);
    ck_assert_int_eq(status_of("GET", uri, NULL, NULL), 401);
    ck_assert_int_eq(status_of("GET", uri, "wrong", NULL), 401);
    snprintf(uri, sizeof(uri), "/sandbox/fhir/Goal?patient=%s", text(tokens, "patient"));
    ck_assert_int_eq(status_of("GET", uri, access, NULL), 200);
    snprintf(uri, sizeof(uri), "/sandbox/fhir/Observation?patient=%s", text(tokens, "patient"));
    ck_assert_int_eq(status_of("GET", uri, access, NULL), 403);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/Goal?patient=other", access, NULL), 403);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/Goal", access, NULL), 400);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/Goal/none", access, NULL), 404);
    json_decref(tokens);
    tokens = exchange(location, 400); /* the code again */
    ck_assert_str_eq(text(tokens, "error"), "invalid_grant");
    json_decref(tokens);
}
END_TEST

START_TEST(what_is_not_ticked_is_not_granted)
{
    char location[1024], uri[256];
    consent("Amara Okonjo", false, "allow", location);
    json_t *tokens = exchange(location, 200);
    ck_assert_str_eq(text(tokens, "scope"), "openid fhirUser offline_access patient/Patient.rs");
    snprintf(uri, sizeof(uri), "/sandbox/fhir/Goal?patient=%s", text(tokens, "patient"));
    ck_assert_int_eq(status_of("GET", uri, text(tokens, "access_token"), NULL), 403);
    json_decref(tokens);
}
END_TEST

START_TEST(refusals_go_back_to_the_app)
{
    char location[1024];
    consent("Amara Okonjo", true, "refuse", location);
    ck_assert_ptr_nonnull(strstr(location, "error=access_denied"));
    consent("Rhea Fuse", true, "allow", location); /* refused by nature */
    ck_assert_ptr_nonnull(strstr(location, "error=access_denied"));
    ck_assert_ptr_null(strstr(location, "code="));
}
END_TEST

START_TEST(a_wrong_redirect_is_never_followed)
{
    CW_AUTO_STR query, uri;
    cw_str_init(&uri, 8192);
    authorize_query("", &query);
    cw_str_addf(&uri, "/sandbox/oauth/authorize?%s", cw_str_cstr(&query));
    ck_assert_int_eq(status_of("GET", cw_str_cstr(&uri), NULL, NULL), 200);
    cw_str_add_cstr(&uri, "&redirect_uri=http%3A%2F%2Fevil.example%2F");
    ck_assert_int_eq(status_of("GET", cw_str_cstr(&uri), NULL, NULL), 400);
    ck_assert_int_eq(status_of("GET", "/sandbox/oauth/authorize?client_id=chartway-sandbox&redirect_uri=http%3A%2F%2Fevil.example%2F",
                               NULL, NULL), 400);
    ck_assert_int_eq(status_of("GET", "/sandbox/oauth/authorize", NULL, NULL), 400);
}
END_TEST

START_TEST(the_operator_makes_things_go_wrong)
{
    static const char rule[] = "{\"point\":\"metadata\",\"fault\":\"throttle\",\"count\":1,\"seconds\":7}";
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", NULL, rule), 401);
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", "wrong", rule), 401);
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", OPERATOR, "{\"point\":\"moon\",\"fault\":\"throttle\"}"), 400);
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", OPERATOR, rule), 200);
    struct fcgi_answer answer = ask("GET", "/sandbox/fhir/metadata", NULL, NULL);
    ck_assert_int_eq(answer.status, 429);
    ck_assert_str_eq(fcgi_header(&answer, "Retry-After"), "7");
    fcgi_answer_free(&answer);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/metadata", NULL, NULL), 200);
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", OPERATOR, "{\"point\":\"metadata\",\"fault\":\"truncated\"}"), 200);
    answer = ask("GET", "/sandbox/fhir/metadata", NULL, NULL);
    const char *announced = fcgi_header(&answer, "Content-Length");
    ck_assert_ptr_nonnull(announced);
    ck_assert_uint_eq(strtoul(announced, NULL, 10) / 2, answer.body_len);
    fcgi_answer_free(&answer);
    ck_assert_int_eq(status_of("DELETE", "/sandbox/operator/faults", OPERATOR, NULL), 200);
}
END_TEST

START_TEST(the_census_counts_everyone)
{
    struct fcgi_answer answer = ask("GET", "/sandbox/operator/census", OPERATOR, NULL);
    json_t *root = json_of(&answer);
    const json_t *patients = json_object_get(root, "patients");
    ck_assert_uint_eq(json_array_size(patients), cw_sbx_persona_count());
    ck_assert_int_ge(json_integer_value(json_object_get(json_array_get(patients, 1), "total")), 3000);
    json_decref(root);
    fcgi_answer_free(&answer);
}
END_TEST

/* --- recordings --- */

#define RECORDED "https://ehr.example.org/r4"
#define AS "/sandbox/as/recorded-vendor"

static struct cw_sbx_recordings *open_recordings(void)
{
    char folder[] = "/tmp/cw-recorded-XXXXXX", path[64];
    struct cw_sbx_recordings *recordings = NULL;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/vendor.ndjson", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("{\"url\":\"" RECORDED "/Patient/r-1\",\"status\":200,\"headers\":{\"content-type\":\"application/fhir+json\",\"etag\":\"W/5\"},"
          "\"body\":{\"resourceType\":\"Patient\",\"id\":\"r-1\",\"name\":[{\"text\":\"Rita Recorded\"}],\"x\":\"" RECORDED "/Goal/1\"}}\n"
          "{\"url\":\"" RECORDED "/Goal?patient=r-1\",\"status\":429,\"body\":\"slower\"}\n"
          "{\"url\":\"" RECORDED "/Goal?patient=r-1\",\"status\":200,\"body\":\"{}\"}\n"
          "{\"url\":\"" RECORDED "/Patient/r-1/$everything?x=1\",\"status\":403,\"headers\":{\"retry-after\":\"7\"}}\n", file);
    fclose(file);
    ck_assert_int_eq(cw_sbx_recordings_open(folder, &recordings, NULL), CW_OK);
    unlink(path);
    rmdir(folder);
    return recordings;
}

static void recorded_token(struct cw_str *out)
{
    struct cw_sbx_terms terms = { .site = CW_SPAN("recorded-vendor"), .client = CW_SPAN("chartway-sandbox"), .patient = CW_SPAN("r-1"),
                                  .scope = CW_SPAN("patient/*.rs"), .redirect_uri = CW_SPAN("u"), .challenge = CW_SPAN("") };
    struct cw_sbx_tokens tokens = { .lifetime_us = 60000000 };
    struct cw_sbx_view view;
    struct cw_arena *arena = cw_arena_new(65536);
    CW_AUTO_STR code, refresh;
    cw_str_init(&code, 512);
    cw_str_init(&refresh, 512);
    ck_assert_int_eq(cw_sbx_code_issue(hospital.state, &terms, &code, NULL), CW_OK);
    struct cw_sbx_exchange exchange = { terms.site, cw_str_span(&code), terms.client, terms.redirect_uri, { NULL, 0 } };
    ck_assert_int_eq(cw_sbx_code_redeem(hospital.state, &exchange, arena, &view, NULL), CW_OK);
    ck_assert_int_eq(cw_sbx_tokens_issue(hospital.state, view.grant, &tokens, out, &refresh, NULL), CW_OK);
    cw_arena_free(arena);
}

START_TEST(a_recorded_hospital_answers_as_recorded)
{
    CW_AUTO_STR token;
    cw_str_init(&token, 512);
    hospital.recordings = open_recordings();
    recorded_token(&token);
    const char *bearer = cw_str_cstr(&token);
    struct fcgi_answer answer = ask("GET", AS "/fhir/Patient/r-1", bearer, NULL);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(answer.body, "{\"resourceType\":\"Patient\",\"id\":\"r-1\",\"name\":[{\"text\":\"Rita Recorded\"}],\"x\":\"" ORIGIN AS "/fhir/Goal/1\"}");
    ck_assert_str_eq(fcgi_header(&answer, "etag"), "W/5");
    fcgi_answer_free(&answer);
    answer = ask("GET", AS "/fhir/Goal?patient=r-1&_count=50", bearer, NULL);
    ck_assert_int_eq(answer.status, 429);
    ck_assert_str_eq(answer.body, "slower");
    ck_assert_ptr_null(fcgi_header(&answer, "Retry-After"));
    fcgi_answer_free(&answer);
    ck_assert_int_eq(status_of("GET", AS "/fhir/Goal?patient=r-1", bearer, NULL), 200);
    answer = ask("GET", AS "/fhir/Patient/r-1/$everything?x=1", bearer, NULL);
    ck_assert_int_eq(answer.status, 403);
    ck_assert_str_eq(fcgi_header(&answer, "retry-after"), "7");
    fcgi_answer_free(&answer);
    answer = ask("GET", AS "/fhir/metadata", NULL, NULL);
    ck_assert_int_eq(answer.status, 404);
    ck_assert_ptr_nonnull(strstr(answer.body, "OperationOutcome"));
    fcgi_answer_free(&answer);
    ck_assert_int_eq(status_of("GET", AS "/fhir/Patient/r-1", "another", NULL), 401);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/Patient/r-1", bearer, NULL), 401);
    ck_assert_int_eq(status_of("GET", AS "/fhir/.well-known/smart-configuration", NULL, NULL), 200);
}
END_TEST

START_TEST(the_diary_marks_what_was_not_recorded)
{
    static const char *const targets[] = { "/Patient/r-1", "/Goal?patient=r-1&_count=50", "/Goal?patient=r-1", "/Patient/r-1/$everything?x=1", "/metadata" };
    struct fcgi_answer answer = ask("GET", "/sandbox/operator/requests?personality=recorded-vendor", OPERATOR, NULL);
    json_t *root = json_of(&answer), *requests = json_object_get(root, "requests");
    for (size_t i = 0; i < CW_ARRAY_LEN(targets); i++) {
        const json_t *one = json_array_get(requests, i);
        ck_assert_str_eq(text(one, "target"), targets[i]);
        ck_assert_int_eq(json_is_true(json_object_get(one, "missed")), i == 4);
    }
    json_decref(root);
    fcgi_answer_free(&answer);
    CW_AUTO_STR token;
    cw_str_init(&token, 512);
    recorded_token(&token);
    ck_assert_int_eq(status_of("DELETE", "/sandbox/operator/requests?personality=recorded-vendor", OPERATOR, NULL), 200);
    ck_assert_int_eq(status_of("GET", AS "/fhir/Goal?patient=r-1", cw_str_cstr(&token), NULL), 429);
    answer = ask("GET", "/sandbox/", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(answer.body, AS "/fhir"));
    fcgi_answer_free(&answer);
    answer = ask("GET", "/sandbox/sources.json", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(answer.body, AS "/fhir\""));
    fcgi_answer_free(&answer);
    cw_sbx_recordings_free(hospital.recordings);
    hospital.recordings = NULL;
}
END_TEST

static Suite *responder_suite(void)
{
    Suite *suite = suite_create("sandbox responder");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, discovery_names_the_endpoints);
    tcase_add_test(tcase, a_login_ends_in_a_token_that_reads);
    tcase_add_test(tcase, what_is_not_ticked_is_not_granted);
    tcase_add_test(tcase, refusals_go_back_to_the_app);
    tcase_add_test(tcase, a_wrong_redirect_is_never_followed);
    tcase_add_test(tcase, the_operator_makes_things_go_wrong);
    tcase_add_test(tcase, the_census_counts_everyone);
    tcase_add_test(tcase, a_recorded_hospital_answers_as_recorded);
    tcase_add_test(tcase, the_diary_marks_what_was_not_recorded);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    hospital_open();
    int rc = cw_check_main((Suite *const[]){ responder_suite(), NULL });
    hospital_close();
    return rc;
}
