/* SPDX-License-Identifier: Apache-2.0 */
/* Personalities: each a hospital of its own under its name, made of quirks, built in or by the operator. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/unit/test_sandbox_http.h"
#include "tests/unit/test_sandbox_quirk.h"

#define SITE ORIGIN "/sandbox/as/epic"
#define REDIRECT ORIGIN "/callback/r1"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" /* RFC 7636, appendix B */
#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

static json_t *get_json(const char *uri, const char *bearer)
{
    struct fcgi_answer answer = ask("GET", uri, bearer, NULL);
    ck_assert_int_eq(answer.status, 200);
    json_t *root = json_of(&answer);
    fcgi_answer_free(&answer);
    return root;
}

static void make(const char *object, int status)
{
    ck_assert_msg(status_of("POST", "/sandbox/operator/personalities", OPERATOR, object) == status, "%s", object);
}

/* Signs in under `path` ("/sandbox" or "/sandbox/as/x") and gives the token's answer; `at` is where the code goes to. */
static json_t *sign_in(const char *path, const char *at, const char *client, int status)
{
    const struct cw_sbx_patient *patient = cw_sbx_patient_at(hospital.store, 0);
    char uri[256];
    CW_AUTO_STR query, form;
    cw_str_init(&query, 4096);
    cw_str_init(&form, 8192);
    cw_str_addf(&query, "response_type=code&client_id=%s&redirect_uri=" REDIRECT "&state=s&scope=openid%%20offline_access%%20"
                        "patient/Patient.rs&code_challenge_method=S256&code_challenge=" CHALLENGE "&aud=" ORIGIN "%s/fhir/", client, path);
    cw_form_add(&form, "request", cw_str_span(&query));
    cw_form_add(&form, "patient", cw_span_cstr(patient->id));
    cw_form_add(&form, "decision", CW_SPAN("allow"));
    static const char *const allowed[] = { "openid", "offline_access", "patient/Patient.rs" };
    for (size_t i = 0; i < CW_ARRAY_LEN(allowed); i++) {
        cw_form_add(&form, "allow", cw_span_cstr(allowed[i]));
    }
    snprintf(uri, sizeof uri, "%s/oauth/consent", path);
    struct fcgi_answer answer = ask("POST", uri, NULL, cw_str_cstr(&form));
    ck_assert_int_eq(answer.status, 303);
    const char *code = strstr(fcgi_header(&answer, "Location"), "code=");
    ck_assert_msg(code != NULL, "%s", fcgi_header(&answer, "Location"));
    cw_str_clear(&form);
    cw_str_addf(&form, "grant_type=authorization_code&redirect_uri=" REDIRECT "&client_id=%s&code_verifier=" VERIFIER "&code=%.*s",
                client, (int)strcspn(code + 5, "&"), code + 5);
    fcgi_answer_free(&answer);
    snprintf(uri, sizeof uri, "%s/oauth/token", at);
    answer = ask("POST", uri, NULL, cw_str_cstr(&form));
    ck_assert_int_eq(answer.status, status);
    json_t *root = json_of(&answer);
    fcgi_answer_free(&answer);
    return root;
}

/* --- tests --- */

START_TEST(a_personality_names_its_own_places)
{
    json_t *root = get_json("/sandbox/as/epic/fhir/.well-known/smart-configuration", NULL);
    ck_assert_str_eq(text(root, "issuer"), SITE "/fhir");
    ck_assert_str_eq(text(root, "token_endpoint"), SITE "/oauth/token");
    ck_assert_str_eq(text(root, "authorization_endpoint"), SITE "/oauth/authorize");
    ck_assert_str_eq(text(root, "jwks_uri"), SITE "/oauth/jwks");
    ck_assert_str_eq(text(root, "revocation_endpoint"), "");
    ck_assert_uint_eq(json_array_size(json_object_get(root, "scopes_supported")), 4);
    json_decref(root);
    root = get_json("/sandbox/as/epic/fhir/metadata", NULL);
    ck_assert_str_eq(text(root, "publisher"), "Epic");
    ck_assert_str_eq(text(json_object_get(root, "software"), "name"), "Epic");
    json_decref(root);
    root = get_json("/sandbox/fhir/.well-known/smart-configuration", NULL);
    ck_assert_str_eq(text(root, "revocation_endpoint"), ORIGIN "/sandbox/oauth/revoke");
    ck_assert_uint_gt(json_array_size(json_object_get(root, "scopes_supported")), 10);
    json_decref(root);
}
END_TEST

START_TEST(unknown_paths_and_names)
{
    struct fcgi_answer answer = ask("GET", "/sandbox/as/epic/whatever/there?is=1", NULL, NULL);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_nonnull(strstr(answer.body, "<!doctype html>"));
    fcgi_answer_free(&answer);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/scopes-unlisted/whatever", NULL, NULL), 404);
    ck_assert_int_eq(status_of("POST", "/sandbox/as/epic/oauth/revoke", NULL, "token=x"), 200); /* a page, not RFC 7009 */
    ck_assert_int_eq(status_of("POST", "/sandbox/as/no-revocation/oauth/introspect", NULL, "token=x"), 404);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/nobody/fhir/metadata", NULL, NULL), 404);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/epic/operator/personalities", OPERATOR, NULL), 200); /* a page again */
    ck_assert_int_eq(status_of("GET", "/sandbox/as/no-revocation/operator/personalities", OPERATOR, NULL), 404);
}
END_TEST

START_TEST(tokens_are_good_where_they_were_given)
{
    char uri[256];
    snprintf(uri, sizeof uri, "/sandbox/as/no-revocation/fhir/Patient/%s", cw_sbx_patient_at(hospital.store, 0)->id);
    json_t *first = sign_in("/sandbox/as/no-revocation", "/sandbox/as/no-revocation", "chartway-sandbox", 200);
    ck_assert_int_eq(status_of("GET", uri, text(first, "access_token"), NULL), 200);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/Patient?_id=x", text(first, "access_token"), NULL), 401);
    json_t *plain = sign_in("/sandbox", "/sandbox", "chartway-sandbox", 200);
    ck_assert_int_eq(status_of("GET", uri, text(plain, "access_token"), NULL), 401);
    json_t *mixed = sign_in("/sandbox/as/no-revocation", "/sandbox", "chartway-sandbox", 400);
    ck_assert_str_eq(text(mixed, "error"), "invalid_grant");

    CW_AUTO_STR form;
    cw_str_init(&form, 1024);
    cw_str_addf(&form, "grant_type=refresh_token&client_id=chartway-sandbox&refresh_token=%s", text(first, "refresh_token"));
    ck_assert_int_eq(status_of("POST", "/sandbox/oauth/token", NULL, cw_str_cstr(&form)), 400);
    ck_assert_int_eq(status_of("POST", "/sandbox/as/no-revocation/oauth/token", NULL, cw_str_cstr(&form)), 200); /* it was not spent above */

    cw_str_clear(&form);
    cw_str_addf(&form, "client_id=chartway-sandbox&token=%s", text(plain, "refresh_token"));
    ck_assert_int_eq(status_of("POST", "/sandbox/as/scopes-unlisted/oauth/revoke", NULL, cw_str_cstr(&form)), 200);
    cw_str_clear(&form);
    cw_str_addf(&form, "grant_type=refresh_token&client_id=chartway-sandbox&refresh_token=%s", text(plain, "refresh_token"));
    ck_assert_int_eq(status_of("POST", "/sandbox/oauth/token", NULL, cw_str_cstr(&form)), 200); /* revoked elsewhere is not revoked here */
    json_decref(first);
    json_decref(plain);
    json_decref(mixed);
}
END_TEST

START_TEST(the_operator_makes_personalities)
{
    make("{\"name\":\"mine\",\"software\":\"Mine 1\",\"publisher\":\"Me\",\"quirks\":[\"no-revocation\",\"scopes-unlisted\"]}", 200);
    json_t *root = get_json("/sandbox/as/mine/fhir/.well-known/smart-configuration", NULL);
    ck_assert_str_eq(text(root, "revocation_endpoint"), "");
    json_decref(root);
    make("{\"name\":\"mine\",\"quirks\":[]}", 200); /* the later of equal names counts */
    root = get_json("/sandbox/as/mine/fhir/.well-known/smart-configuration", NULL);
    ck_assert_str_ne(text(root, "revocation_endpoint"), "");
    json_decref(root);
    make("{\"name\":\"epic\",\"quirks\":[]}", 400);
    make("{\"name\":\"no-revocation\",\"quirks\":[]}", 400);
    make("{\"name\":\"Mine\",\"quirks\":[]}", 400);
    make("{\"name\":\"a/b\",\"quirks\":[]}", 400);
    make("{\"name\":\"mine\",\"quirks\":[\"no-such\"]}", 400);
    make("{\"name\":\"mine\",\"quirks\":[\"\"]}", 400);
    make("{\"name\":\"mine\",\"quirks\":[],\"software\":7}", 400);
    make("{\"name\":\"mine\"}", 400);
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/personalities", "guess", "{\"name\":\"x\",\"quirks\":[]}"), 401);
}
END_TEST

static const json_t *named(const json_t *list, const char *key, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strstr(text(json_array_get(list, i), key), name) != NULL) {
            return json_array_get(list, i);
        }
    }
    return NULL;
}

START_TEST(all_are_listed)
{
    make("{\"name\":\"listed\",\"quirks\":[\"own-clients\"]}", 200);
    json_t *root = get_json("/sandbox/operator/personalities", OPERATOR);
    const json_t *list = json_object_get(root, "personalities");
    static const char *const names[] = { "epic", "listed", "own-clients" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        const json_t *one = named(list, "name", names[i]);
        ck_assert_msg(one != NULL && text(one, "doc")[0] != '\0', "%s", names[i]);
        ck_assert_uint_ge(json_array_size(json_object_get(one, "quirks")), 1);
    }
    ck_assert_uint_eq(json_array_size(list), cw_sbx_personality_count() + CW_SBX_QUIRK__COUNT - 1 + 2); /* "mine", "listed" */
    json_decref(root);
    root = get_json("/sandbox/operator/census", OPERATOR);
    ck_assert_ptr_nonnull(named(json_object_get(root, "personalities"), "name", "listed"));
    json_decref(root);
    struct fcgi_answer home = ask("GET", "/sandbox/", NULL, NULL);
    ck_assert_int_eq(home.status, 200);
    ck_assert_ptr_nonnull(strstr(home.body, ORIGIN "/sandbox/as/epic/fhir/"));
    fcgi_answer_free(&home);
    root = get_json("/sandbox/sources.json", NULL);
    ck_assert_ptr_nonnull(named(json_object_get(root, "Endpoints"), "URL", "/sandbox/as/listed/fhir"));
    ck_assert_ptr_nonnull(named(json_object_get(root, "Endpoints"), "URL", "http://127.0.0.2:8480/sandbox/as/meditech/fhir"));
    json_decref(root);
}
END_TEST

START_TEST(apps_can_be_registered_with_one_only)
{
    static const char *const row = "{\"client_id\":\"%s\",\"auth\":\"none\",\"redirect_folder\":\"{origin}/callback/\"%s}";
    char object[256];
    snprintf(object, sizeof object, row, "epic-only", ",\"personalities\":[\"epic\",\"own-clients\"]");
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/clients", OPERATOR, object), 200);
    snprintf(object, sizeof object, row, "wrong", ",\"personalities\":\"epic\"");
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/clients", OPERATOR, object), 400);

    json_decref(sign_in("/sandbox/as/epic", "/sandbox/as/epic", "epic-only", 200));
    json_decref(sign_in("/sandbox/as/own-clients", "/sandbox/as/own-clients", "epic-only", 200));
    char uri[512];
    for (size_t i = 0; i < 2; i++) {
        static const char *const refused[2][2] = { { "", "epic-only" }, { "/as/own-clients", "chartway-sandbox" } };
        snprintf(uri, sizeof uri, "/sandbox%s/oauth/authorize?response_type=code&redirect_uri=" REDIRECT "&client_id=%s",
                 refused[i][0], refused[i][1]);
        ck_assert_msg(status_of("GET", uri, NULL, NULL) == 400, "row %zu", i);
        snprintf(uri, sizeof uri, "/sandbox%s/oauth/token", refused[i][0]);
        snprintf(object, sizeof object, "grant_type=refresh_token&refresh_token=x&client_id=%s", refused[i][1]);
        ck_assert_msg(status_of("POST", uri, NULL, object) == 401, "row %zu", i);
    }
}
END_TEST

START_TEST(faults_can_be_of_one_personality)
{
    ck_assert_int_eq(status_of("POST", "/sandbox/operator/faults", OPERATOR,
                               "{\"point\":\"metadata\",\"fault\":\"error\",\"personality\":\"epic\"}"), 200);
    ck_assert_int_eq(status_of("GET", "/sandbox/fhir/metadata", NULL, NULL), 200);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/own-clients/fhir/metadata", NULL, NULL), 200);
    ck_assert_int_eq(status_of("GET", "/sandbox/as/epic/fhir/metadata", NULL, NULL), 500);
    json_t *root = get_json("/sandbox/operator/faults", OPERATOR);
    ck_assert_str_eq(text(json_array_get(json_object_get(root, "faults"), 0), "personality"), "epic");
    json_decref(root);
    ck_assert_int_eq(status_of("DELETE", "/sandbox/operator/faults", OPERATOR, NULL), 200);
}
END_TEST

START_TEST(the_operators_survive_a_restart)
{
    char folder[] = "/tmp/cw-personality-XXXXXX", path[64];
    struct cw_sbx_state *state = NULL;
    struct cw_sbx_personality found;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(cw_sbx_state_open(folder, CW_SPAN(ORIGIN), &state, NULL), CW_OK);
    json_t *object = json_pack("{s:s,s:s,s:[s]}", "name", "kept", "software", "First", "quirks", "no-revocation");
    ck_assert_int_eq(cw_sbx_personality_put(state, object, NULL), CW_OK);
    json_object_set_new(object, "software", json_string("Second"));
    ck_assert_int_eq(cw_sbx_personality_put(state, object, NULL), CW_OK);
    json_decref(object);
    for (unsigned i = 0; i < 2; i++) { /* from the journal, then from the snapshot that it was made into */
        cw_sbx_state_free(state);
        ck_assert_int_eq(cw_sbx_state_open(folder, CW_SPAN(ORIGIN), &state, NULL), CW_OK);
        ck_assert(cw_sbx_personality_find(state, CW_SPAN("kept"), &found));
        ck_assert_str_eq(found.software, "Second");
        ck_assert(cw_sbx_personality_has(&found, CW_SBX_QUIRK_NO_REVOCATION));
        ck_assert(!cw_sbx_personality_has(&found, CW_SBX_QUIRK_OWN_CLIENTS));
    }
    cw_sbx_state_free(state);
    static const char *const files[] = { "journal", "lock" };
    for (size_t i = 0; i < CW_ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(every_quirk_and_personality_has_its_words)
{
    for (unsigned i = CW_SBX_QUIRK_NONE + 1; i < CW_SBX_QUIRK__COUNT; i++) {
        enum cw_sbx_quirk found = CW_SBX_QUIRK_NONE;
        const char *name = cw_sbx_quirk_name((enum cw_sbx_quirk)i);
        ck_assert_msg(cw_sbx_quirk_find(cw_span_cstr(name), &found) && found == i, "quirk %u: %s", i, name);
        ck_assert_msg(cw_sbx_quirk_doc(found)[0] != '\0', "%s", name);
    }
    enum cw_sbx_quirk none;
    ck_assert(!cw_sbx_quirk_find(CW_SPAN(""), &none));
    for (size_t i = 0; i < cw_sbx_personality_count(); i++) {
        const struct cw_sbx_personality *one = cw_sbx_personality_at(i);
        enum cw_sbx_quirk quirk;
        ck_assert_msg(!cw_sbx_quirk_find(cw_span_cstr(one->name), &quirk), "%s is also a quirk", one->name);
        ck_assert_msg(one->doc[0] != '\0' && one->software[0] != '\0' && one->publisher[0] != '\0', "%s", one->name);
        ck_assert_msg(one->quirks[0] != CW_SBX_QUIRK_NONE, "%s has none", one->name);
        ck_assert_int_eq(one->quirks[CW_SBX_PERSONALITY_QUIRKS_MAX], CW_SBX_QUIRK_NONE);
    }
}
END_TEST

static void expect_row(struct cw_span page, const char *name)
{
    CW_AUTO_STR row;
    cw_str_init(&row, 128);
    cw_str_addf(&row, "\n| `%s` | ", name);
    ck_assert_msg(cw_span_find_span(page, cw_str_span(&row)) < page.len, "%s is not in doc/sandbox.md", name);
}

START_TEST(the_page_lists_them_all)
{
    CW_AUTO_STR page;
    cw_str_init(&page, 1u << 20);
    ck_assert_int_eq(cw_file_read(CW_TEST_SRCDIR "/doc/sandbox.md", false, &page, NULL), CW_OK);
    for (size_t i = 0; i < cw_sbx_personality_count(); i++) {
        expect_row(cw_str_span(&page), cw_sbx_personality_at(i)->name);
    }
    for (unsigned i = CW_SBX_QUIRK_NONE + 1; i < CW_SBX_QUIRK__COUNT; i++) {
        expect_row(cw_str_span(&page), cw_sbx_quirk_name((enum cw_sbx_quirk)i));
    }
}
END_TEST

static Suite *personality_suite(void)
{
    Suite *suite = suite_create("sandbox personality");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_quirk_and_personality_has_its_words);
    tcase_add_test(tcase, the_page_lists_them_all);
    tcase_add_test(tcase, a_personality_names_its_own_places);
    tcase_add_test(tcase, unknown_paths_and_names);
    tcase_add_test(tcase, tokens_are_good_where_they_were_given);
    tcase_add_test(tcase, the_operator_makes_personalities);
    tcase_add_test(tcase, all_are_listed);
    tcase_add_test(tcase, apps_can_be_registered_with_one_only);
    tcase_add_test(tcase, faults_can_be_of_one_personality);
    tcase_add_test(tcase, the_operators_survive_a_restart);
    suite_add_tcase(suite, tcase);
    suite_add_tcase(suite, sandbox_quirk_case());
    suite_add_tcase(suite, sandbox_quirk_token_case());
    return suite;
}

int main(void)
{
    hospital_open();
    int rc = cw_check_main((Suite *const[]){ personality_suite(), NULL });
    hospital_close();
    return rc;
}
