/* SPDX-License-Identifier: Apache-2.0 */
/* What the hospital remembers, what a token may see, how searches page, and real input from a folder. */
#include "config.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/check_main.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/gen.h"
#include "sandbox/scope.h"
#include "sandbox/search.h"
#include "sandbox/state.h"
#include "sandbox/store.h"
#include "test_sandbox.h"
#include "vault/jose.h"
#include "vault/vault.h"

#define ORIGIN "http://127.0.0.1:8480"
#define CALLBACK ORIGIN "/callback/reg1"
#define VERIFIER "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI"

static char folder[] = "/tmp/cw-sandbox-XXXXXX";
static struct cw_arena *arena;
static struct cw_sbx_state *state;

static void reopen(void)
{
    struct cw_err err;
    cw_sbx_state_free(state);
    state = NULL;
    ck_assert_int_eq(cw_sbx_state_open(folder, CW_SPAN(ORIGIN), &state, &err), CW_OK);
}

static void set_up(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    arena = cw_arena_new(1 << 20);
    ck_assert_ptr_nonnull(arena);
    reopen();
}

static void remove_in_folder(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static void tear_down(void)
{
    cw_clock_shift_us(0);
    cw_sbx_state_free(state);
    state = NULL;
    cw_arena_free(arena);
    remove_in_folder("journal");
    remove_in_folder("lock");
    remove_in_folder("a.json");
    remove_in_folder("b.ndjson");
    rmdir(folder);
}

static void issue_code(struct cw_str *code)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR challenge;
    cw_str_init(&challenge, 64);
    cw_sha256(CW_SPAN(VERIFIER), hash);
    cw_base64url_encode(cw_span_of(hash, sizeof(hash)), &challenge);
    struct cw_sbx_terms terms = { .client = CW_SPAN("chartway-sandbox"), .patient = CW_SPAN("p1"),
                                  .scope = CW_SPAN("openid offline_access patient/*.rs"), .nonce = CW_SPAN("n1"),
                                  .redirect_uri = CW_SPAN(CALLBACK), .challenge = cw_str_span(&challenge) };
    cw_str_init(code, 128);
    ck_assert_int_eq(cw_sbx_code_issue(state, &terms, code, NULL), CW_OK);
}

static enum cw_code redeem(const struct cw_str *code, struct cw_sbx_view *view)
{
    struct cw_sbx_exchange exchange = { .code = cw_str_span(code), .client = CW_SPAN("chartway-sandbox"),
                                        .redirect_uri = CW_SPAN(CALLBACK), .verifier = CW_SPAN(VERIFIER) };
    return cw_sbx_code_redeem(state, &exchange, arena, view, NULL);
}

static enum cw_code tokens(const struct cw_sbx_view *view, struct cw_str *access, struct cw_str *refresh)
{
    struct cw_sbx_tokens wanted = { .refresh = true, .lifetime_us = CW_HOUR_US };
    cw_str_init(access, 128);
    cw_str_init(refresh, 128);
    return cw_sbx_tokens_issue(state, view->grant, &wanted, access, refresh, NULL);
}

START_TEST(a_code_is_good_once_and_its_replay_revokes)
{
    CW_AUTO_STR code, access, refresh;
    struct cw_sbx_view view, seen;
    issue_code(&code);
    ck_assert_int_eq(redeem(&code, &view), CW_OK);
    ck_assert(cw_span_eq_cstr(view.patient, "p1") && cw_span_eq_cstr(view.nonce, "n1"));
    ck_assert_int_eq(tokens(&view, &access, &refresh), CW_OK);
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access), arena, &seen), CW_OK);
    ck_assert_int_eq(redeem(&code, &view), CW_E_CONFLICT);
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access), arena, &seen), CW_E_DENIED);
    ck_assert_int_eq(cw_sbx_refresh_redeem(state, cw_str_span(&refresh), CW_SPAN("chartway-sandbox"), arena, &seen, NULL),
                     CW_E_DENIED);
}
END_TEST

START_TEST(a_code_dies_after_a_minute)
{
    CW_AUTO_STR code, unknown;
    struct cw_sbx_view view;
    issue_code(&code);
    cw_clock_shift_us((CW_SBX_CODE_SECONDS + 1) * CW_SECOND_US);
    ck_assert_int_eq(redeem(&code, &view), CW_E_EXPIRED);
    cw_str_init(&unknown, 64);
    cw_str_add_cstr(&unknown, "never-issued");
    ck_assert_int_eq(redeem(&unknown, &view), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(a_code_is_bound)
{
    static const struct {
        const char *client, *redirect_uri, *verifier;
    } rows[] = {
        { "chartway-sandbox-basic", CALLBACK, VERIFIER },
        { "chartway-sandbox", CALLBACK "x", VERIFIER },
        { "chartway-sandbox", CALLBACK, VERIFIER "x" },
        { "chartway-sandbox", CALLBACK, "short" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR code;
        struct cw_sbx_view view;
        issue_code(&code);
        struct cw_sbx_exchange exchange = { .code = cw_str_span(&code), .client = cw_span_cstr(rows[i].client),
                                            .redirect_uri = cw_span_cstr(rows[i].redirect_uri),
                                            .verifier = cw_span_cstr(rows[i].verifier) };
        ck_assert_msg(cw_sbx_code_redeem(state, &exchange, arena, &view, NULL) == CW_E_AUTH, "row %zu", i);
        ck_assert_msg(redeem(&code, &view) == CW_E_CONFLICT, "row %zu: spent by the try", i);
    }
}
END_TEST

START_TEST(refresh_rotates_and_survives_a_restart)
{
    CW_AUTO_STR code, access, first, access2, second;
    struct cw_sbx_view view;
    struct cw_span client = CW_SPAN("chartway-sandbox");
    issue_code(&code);
    reopen();
    ck_assert_int_eq(redeem(&code, &view), CW_OK);
    ck_assert_int_eq(tokens(&view, &access, &first), CW_OK);
    reopen();
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access), arena, &view), CW_OK);
    ck_assert(cw_span_eq_cstr(view.scope, "openid offline_access patient/*.rs"));
    ck_assert_int_eq(cw_sbx_refresh_redeem(state, cw_str_span(&first), CW_SPAN("other"), arena, &view, NULL), CW_E_AUTH);
    ck_assert_int_eq(cw_sbx_refresh_redeem(state, cw_str_span(&first), client, arena, &view, NULL), CW_OK);
    ck_assert_int_eq(tokens(&view, &access2, &second), CW_OK);
    reopen();
    ck_assert_int_eq(cw_sbx_refresh_redeem(state, cw_str_span(&first), client, arena, &view, NULL), CW_E_CONFLICT);
    ck_assert_int_eq(cw_sbx_refresh_redeem(state, cw_str_span(&second), client, arena, &view, NULL), CW_E_DENIED);
    reopen();
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access2), arena, &view), CW_E_DENIED);
}
END_TEST

START_TEST(tokens_expire_and_can_be_revoked)
{
    CW_AUTO_STR code, access, refresh;
    struct cw_sbx_view view;
    issue_code(&code);
    ck_assert_int_eq(redeem(&code, &view), CW_OK);
    ck_assert_int_eq(tokens(&view, &access, &refresh), CW_OK);
    cw_sbx_token_revoke(state, cw_str_span(&refresh), CW_SPAN("other"), false);
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access), arena, &view), CW_OK);
    cw_clock_shift_us(CW_HOUR_US + CW_SECOND_US);
    ck_assert_int_eq(cw_sbx_access_find(state, cw_str_span(&access), arena, &view), CW_E_EXPIRED);
    ck_assert_int_eq(cw_sbx_refresh_find(state, cw_str_span(&refresh), arena, &view), CW_OK);
    cw_sbx_token_revoke(state, cw_str_span(&refresh), CW_SPAN("chartway-sandbox"), false);
    ck_assert_int_eq(cw_sbx_refresh_find(state, cw_str_span(&refresh), arena, &view), CW_E_DENIED);
    ck_assert_int_eq(cw_sbx_access_find(state, CW_SPAN("nothing"), arena, &view), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(a_second_process_is_refused)
{
    struct cw_err err;
    struct cw_sbx_state *other = NULL;
    ck_assert_int_eq(cw_sbx_state_open(folder, CW_SPAN(ORIGIN), &other, &err), CW_E_STATE);
}
END_TEST

START_TEST(a_cut_journal_line_is_passed_over)
{
    CW_AUTO_STR code;
    struct cw_sbx_view view;
    char path[128];
    issue_code(&code);
    snprintf(path, sizeof(path), "%s/journal", folder);
    FILE *journal = fopen(path, "a");
    ck_assert_ptr_nonnull(journal);
    fputs("{\"op\":\"code\",\"hash\":\"00", journal);
    fclose(journal);
    reopen();
    ck_assert_int_eq(redeem(&code, &view), CW_OK);
}
END_TEST

START_TEST(assertion_ids_come_once)
{
    int64_t until_us = cw_now_us() + CW_MINUTE_US;
    ck_assert(cw_sbx_jti_fresh(state, CW_SPAN("a"), CW_SPAN("1"), until_us));
    ck_assert(!cw_sbx_jti_fresh(state, CW_SPAN("a"), CW_SPAN("1"), until_us));
    ck_assert(cw_sbx_jti_fresh(state, CW_SPAN("b"), CW_SPAN("1"), until_us));
    reopen();
    ck_assert(!cw_sbx_jti_fresh(state, CW_SPAN("a"), CW_SPAN("1"), until_us));
}
END_TEST

/* --- faults --- */

static enum cw_code put_rule(const char *json, unsigned *number)
{
    struct cw_sbx_rule rule;
    json_t *object = json_loads(json, 0, NULL);
    enum cw_code rc = cw_sbx_rule_parse(object, &rule, NULL);
    json_decref(object);
    return rc == CW_OK ? cw_sbx_rule_put(state, &rule, number, NULL) : rc;
}

static uint32_t hit_at(enum cw_sbx_point point, const char *patient, const char *type)
{
    struct cw_sbx_faults faults;
    struct cw_sbx_occasion occasion = { .point = point, .patient = cw_span_cstr(patient), .persona = -1,
                                        .type = type == NULL ? NULL : cw_sbx_type_find(cw_span_cstr(type)) };
    cw_sbx_faults_take(state, &occasion, &faults);
    return faults.kinds;
}

START_TEST(rules_hit_whom_they_name_as_often_as_they_say)
{
    unsigned number = 0;
    ck_assert_int_eq(put_rule("{\"patient\":\"p1\",\"type\":\"Goal\",\"point\":\"search\",\"fault\":\"error\",\"count\":2}", &number),
                     CW_OK);
    ck_assert_uint_eq(number, 1);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p2", "Goal"), 0);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p1", "Device"), 0);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_READ, "p1", "Goal"), 0);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p1", "Goal"), 1u << CW_SBX_ERROR);
    reopen();
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p1", "Goal"), 1u << CW_SBX_ERROR);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p1", "Goal"), 0);
    ck_assert_int_eq(put_rule("{\"point\":\"search\",\"fault\":\"throttle\"}", &number), CW_OK);
    ck_assert_int_eq(put_rule("{\"point\":\"search\",\"fault\":\"slow\",\"seconds\":1}", &number), CW_OK);
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p9", NULL), 1u << CW_SBX_THROTTLE | 1u << CW_SBX_SLOW);
    ck_assert_uint_eq(cw_sbx_rules_clear(state, 0), 2);
    reopen();
    ck_assert_uint_eq(hit_at(CW_SBX_AT_SEARCH, "p9", NULL), 0);
}
END_TEST

START_TEST(rules_that_make_no_sense_are_refused)
{
    static const struct {
        const char *json;
        enum cw_code rc;
    } rows[] = {
        { "{\"fault\":\"error\"}", CW_E_MISSING },
        { "{\"point\":\"search\"}", CW_E_MISSING },
        { "{\"point\":7,\"fault\":\"error\"}", CW_E_KIND },
        { "{\"point\":\"nowhere\",\"fault\":\"error\"}", CW_E_RANGE },
        { "{\"point\":\"search\",\"fault\":\"nothing\"}", CW_E_RANGE },
        { "{\"point\":\"read\",\"fault\":\"endless\"}", CW_E_RANGE },
        { "{\"point\":\"search\",\"fault\":\"error\",\"type\":\"Spaceship\"}", CW_E_RANGE },
        { "{\"point\":\"search\",\"fault\":\"slow\",\"seconds\":601}", CW_E_RANGE },
        { "{\"point\":\"search\",\"fault\":\"slow\",\"seconds\":600}", CW_OK },
        { "{\"point\":\"search\",\"fault\":\"slow\",\"seconds\":-1}", CW_E_RANGE },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        unsigned number;
        ck_assert_msg(put_rule(rows[i].json, &number) == rows[i].rc, "row %zu", i);
    }
}
END_TEST

/* --- registrations --- */

START_TEST(registrations_are_exact)
{
    const struct cw_sbx_client *client = cw_sbx_client_find(state, CW_SPAN("chartway-sandbox"));
    ck_assert_ptr_nonnull(client);
    ck_assert(cw_sbx_client_redirects_to(client, CW_SPAN(CALLBACK)));
    static const char *const bad[] = { ORIGIN "/callback/", ORIGIN "/callback/a/b", ORIGIN "/callback/a?x", ORIGIN "/callback/..",
                                       "http://127.0.0.1:8481/callback/reg1", ORIGIN "/callbackx", "" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(!cw_sbx_client_redirects_to(client, cw_span_cstr(bad[i])), "row %zu", i);
    }
    json_t *object = json_loads("{\"client_id\":\"mine\",\"auth\":\"client_secret_post\",\"secret\":\"s\",\"redirect_uris\":"
                                "[\"https://app.example/back\"]}", 0, NULL);
    ck_assert_int_eq(cw_sbx_client_put(state, object, NULL), CW_OK);
    json_decref(object);
    reopen();
    client = cw_sbx_client_find(state, CW_SPAN("mine"));
    ck_assert_ptr_nonnull(client);
    ck_assert(cw_sbx_client_redirects_to(client, CW_SPAN("https://app.example/back")));
    ck_assert(!cw_sbx_client_redirects_to(client, CW_SPAN("https://app.example/back/")));
    ck_assert_ptr_null(cw_sbx_client_find(state, CW_SPAN("nobody")));
}
END_TEST

static enum cw_code prove(const char *header, const char *form_text)
{
    struct cw_sbx_params form;
    struct cw_sbx_credentials credentials;
    struct cw_span jti;
    int64_t until_us;
    ck_assert_int_eq(cw_sbx_params_parse(cw_span_cstr(form_text), arena, &form), CW_OK);
    enum cw_code rc = cw_sbx_credentials_read(cw_span_cstr(header), &form, arena, &credentials, NULL);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_sbx_client *client = cw_sbx_client_find(state, credentials.id);
    return client == NULL ? CW_E_NOT_FOUND
                          : cw_sbx_client_check(client, &credentials, CW_SPAN(ORIGIN "/sandbox/oauth/token"), arena, &jti, &until_us, NULL);
}

START_TEST(clients_prove_who_they_are)
{
    static const struct {
        const char *header, *form;
        enum cw_code rc;
    } rows[] = {
        { NULL, "client_id=chartway-sandbox", CW_OK },
        { NULL, "", CW_E_MISSING },
        { NULL, "client_id=nobody", CW_E_NOT_FOUND },
        { NULL, "client_id=chartway-sandbox-post&client_secret=sandbox-post-secret", CW_OK },
        { NULL, "client_id=chartway-sandbox-post&client_secret=wrong", CW_E_AUTH },
        { NULL, "client_id=chartway-sandbox-post", CW_E_AUTH },
        { NULL, "client_id=chartway-sandbox-basic&client_secret=sandbox-basic-secret", CW_E_AUTH },
        /* chartway-sandbox-basic:sandbox-basic-secret, and with another secret */
        { "Basic Y2hhcnR3YXktc2FuZGJveC1iYXNpYzpzYW5kYm94LWJhc2ljLXNlY3JldA==", "", CW_OK },
        { "Basic Y2hhcnR3YXktc2FuZGJveC1iYXNpYzp3cm9uZw==", "", CW_E_AUTH },
        { "Basic Y2hhcnR3YXktc2FuZGJveC1iYXNpYzpzYW5kYm94LWJhc2ljLXNlY3JldA==", "client_secret=x", CW_E_CONFLICT },
        { "Basic ???", "", CW_E_SYNTAX },
        { "Bearer x", "", CW_E_SYNTAX },
        { NULL, "client_assertion=x", CW_E_SYNTAX },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_code rc = prove(rows[i].header, rows[i].form);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s", i, cw_code_name(rc));
    }
}
END_TEST

static enum cw_code prove_by_key(const struct cw_signing_key *key, const char *client, const char *audience)
{
    CW_AUTO_STR form;
    struct cw_assertion assertion = { .client_id = cw_span_cstr(client), .audience = cw_span_cstr(audience), .now_us = cw_now_us(),
                                      .lifetime_us = 4 * CW_MINUTE_US };
    cw_str_init(&form, 1 << 14);
    cw_str_add_cstr(&form, "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=");
    ck_assert_int_eq(cw_assertion_sign(key, &assertion, &form, NULL), CW_OK);
    return prove(NULL, cw_str_cstr(&form));
}

START_TEST(keys_prove_who_they_are)
{
    struct cw_signing_key *key = NULL, *other = NULL;
    struct cw_jsonw w;
    CW_AUTO_STR text;
    cw_str_init(&text, 8192);
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &key, NULL), CW_OK);
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &other, NULL), CW_OK);
    cw_str_add_cstr(&text, "{\"client_id\":\"keyed\",\"auth\":\"private_key_jwt\",\"redirect_folder\":\"{origin}/callback/\",\"jwks\":{\"keys\":[");
    cw_jsonw_init(&w, &text);
    ck_assert_int_eq(cw_signing_key_jwk(key, &w), CW_OK);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    cw_str_add_cstr(&text, "]}}");
    json_t *object = json_loads(cw_str_cstr(&text), 0, NULL);
    ck_assert_ptr_nonnull(object);
    ck_assert_int_eq(cw_sbx_client_put(state, object, NULL), CW_OK);
    json_decref(object);
    ck_assert_int_eq(prove_by_key(key, "keyed", ORIGIN "/sandbox/oauth/token"), CW_OK);
    ck_assert_int_eq(prove_by_key(key, "keyed", ORIGIN "/elsewhere"), CW_E_AUTH);
    ck_assert_int_eq(prove_by_key(other, "keyed", ORIGIN "/sandbox/oauth/token"), CW_E_AUTH);
    ck_assert_int_eq(prove_by_key(key, "chartway-sandbox", ORIGIN "/sandbox/oauth/token"), CW_E_AUTH);
    cw_signing_key_free(key);
    cw_signing_key_free(other);
}
END_TEST

/* --- scopes --- */

START_TEST(scopes_allow_by_type_and_category)
{
    static const char json[] = "{\"resourceType\":\"Observation\",\"id\":\"o\",\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}]}";
    struct cw_sbx_resource resource = { .type = cw_sbx_type_find(CW_SPAN("Observation")), .bytes = cw_span_cstr(json) };
    static const struct {
        const char *scopes;
        unsigned permission;
        bool may, allows;
    } rows[] = {
        { "patient/*.read", CW_SBX_SEARCH, true, true },
        { "patient/Observation.r", CW_SBX_SEARCH, false, false },
        { "patient/Observation.r", CW_SBX_READ, true, true },
        { "patient/Observation.rs?category=laboratory", CW_SBX_SEARCH, true, true },
        { "patient/Observation.rs?category=vital-signs", CW_SBX_SEARCH, true, false },
        { "user/Observation.rs", CW_SBX_SEARCH, true, true },
        { "system/Observation.rs", CW_SBX_SEARCH, false, false },
        { "patient/Observation.sr", CW_SBX_SEARCH, false, false },
        { "patient/Condition.rs openid", CW_SBX_SEARCH, false, false },
        { "patient/Observation.write", CW_SBX_READ, false, false },
        { "", CW_SBX_READ, false, false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_span scopes = cw_span_cstr(rows[i].scopes);
        ck_assert_msg(cw_sbx_scope_may(scopes, resource.type, rows[i].permission) == rows[i].may, "row %zu", i);
        ck_assert_msg(cw_sbx_scope_allows(scopes, &resource, rows[i].permission) == rows[i].allows, "row %zu", i);
    }
    CW_AUTO_STR out;
    cw_str_init(&out, 256);
    ck_assert_int_eq(cw_sbx_scope_narrow(CW_SPAN("a b c"), CW_SPAN("c x a"), &out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), "c a");
}
END_TEST

/* --- searches --- */

struct walk_result {
    size_t pages, entries, loops;
};

/* Follows next links to the end, or to 200 pages. */
static struct walk_result walk_search(const struct cw_sbx_chart *chart, const char *type, const char *query, uint32_t kinds)
{
    struct walk_result result = { 0 };
    struct cw_sbx_faults faults = { .kinds = kinds };
    struct cw_sbx_search search;
    ck_assert_int_eq(cw_sbx_search_parse(cw_sbx_type_find(cw_span_cstr(type)), cw_span_cstr(query), CW_SPAN("p"), arena, &search, NULL),
                     CW_OK);
    struct cw_sbx_page page = { .chart = chart, .scopes = CW_SPAN("patient/*.rs"), .base = CW_SPAN("http://h/fhir"), .faults = &faults,
                                .as = &cw_sbx_plain };
    while (result.pages < 200) {
        json_error_t error;
        CW_AUTO_STR out;
        cw_str_init(&out, 1 << 24);
        ck_assert_int_eq(cw_sbx_search_page(&search, &page, &out), CW_OK);
        json_t *bundle = json_loadb(out.buf, out.len, JSON_REJECT_DUPLICATES, &error);
        ck_assert_msg(bundle != NULL, "%s", error.text);
        result.pages++;
        result.entries += json_array_size(json_object_get(bundle, "entry"));
        const char *next = json_string_value(json_object_get(json_array_get(json_object_get(bundle, "link"), 1), "url"));
        const char *token = next == NULL ? NULL : strstr(next, "_getpages=");
        if (token != NULL && strncmp(next, "http://h/fhir?", 14) == 0) {
            ck_assert_int_eq(cw_sbx_search_resume(cw_span_cstr(token + 10), CW_SPAN("p"), arena, &search, NULL), CW_OK);
        }
        bool more = token != NULL && strncmp(next, "http://h/fhir?", 14) == 0;
        result.loops += next != NULL && !more ? 1 : 0;
        json_decref(bundle);
        if (!more) {
            break;
        }
    }
    return result;
}

START_TEST(pages_give_every_resource_once)
{
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    size_t count;
    ck_assert_int_eq(cw_sbx_generate(0, chart, NULL), CW_OK);
    ck_assert_int_eq(cw_sbx_chart_seal(chart), CW_OK);
    (void)cw_sbx_chart_of_type(chart, cw_sbx_type_find(CW_SPAN("Observation")), &count);
    ck_assert_uint_gt(count, 60);
    struct walk_result all = walk_search(chart, "Observation", "patient=p&_count=7", 0);
    ck_assert_uint_eq(all.entries, count);
    ck_assert_uint_eq(all.pages, (count + 6) / 7);
    size_t parts = walk_search(chart, "Observation", "patient=p&category=laboratory", 0).entries +
                   walk_search(chart, "Observation", "patient=p&category=vital-signs", 0).entries +
                   walk_search(chart, "Observation", "patient=p&category=social-history,survey", 0).entries;
    ck_assert_uint_eq(parts, count);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p&_lastUpdated=gt2030-01-01", 0).entries, 0);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p&_count=0", 0).entries, 0);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p&unknown=1&_count=200", 0).entries, count);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p", 1u << CW_SBX_ENDLESS).pages, 200);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p", 1u << CW_SBX_LOOP).loops, 1);
    ck_assert_uint_eq(walk_search(chart, "Observation", "patient=p", 1u << CW_SBX_OFF_ORIGIN).loops, 1);
    ck_assert_uint_gt(walk_search(chart, "Observation", "patient=p", 1u << CW_SBX_DUPLICATES).entries, count);
    struct walk_result empty = walk_search(chart, "Observation", "patient=p&_count=200", 1u << CW_SBX_EMPTY_PAGE);
    ck_assert_uint_eq(empty.entries, count);
    ck_assert_uint_ge(empty.pages, 2);
    cw_sbx_chart_drop(chart);
}
END_TEST

START_TEST(searches_that_cannot_be_are_refused)
{
    static const struct {
        const char *query;
        enum cw_code rc;
    } rows[] = {
        { "patient=p", CW_OK },                   { "patient=Patient/p", CW_OK },     { "_id=x", CW_OK },
        { "", CW_E_MISSING },                     { "patient=q", CW_E_DENIED },       { "patient=p&patient=q", CW_E_DENIED },
        { "patient=p&date=yesterday", CW_E_RANGE }, { "patient=p&_count=many", CW_E_RANGE }, { "patient=%zz", CW_E_SYNTAX },
    };
    struct cw_sbx_search search;
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_sbx_search_parse(cw_sbx_type_find(CW_SPAN("Observation")), cw_span_cstr(rows[i].query), CW_SPAN("p"), arena,
                                          &search, NULL) == rows[i].rc, "row %zu", i);
    }
    ck_assert_int_eq(cw_sbx_search_resume(CW_SPAN("bm90IGEgcGFnZQ"), CW_SPAN("p"), arena, &search, NULL), CW_E_SYNTAX);
    ck_assert_int_eq(cw_sbx_search_resume(CW_SPAN("***"), CW_SPAN("p"), arena, &search, NULL), CW_E_SYNTAX);
}
END_TEST

/* --- real input --- */

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_int_eq(cw_file_replace(path, 0600, cw_span_cstr(text), NULL), CW_OK);
}

static const struct cw_sbx_resource *find(struct cw_sbx_chart *chart, const char *type, const char *id)
{
    return cw_sbx_chart_find(chart, cw_sbx_type_find(cw_span_cstr(type)), cw_span_cstr(id));
}

START_TEST(a_folder_is_grouped_by_patient)
{
    struct cw_sbx_store *store = NULL;
    struct cw_sbx_chart *chart = NULL;
    write_file("a.json",
               "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":["
               "{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Patient\",\"id\":\"one\",\"name\":[{\"given\":[\"Ann\"],"
               "\"family\":\"\\u00d8st\"}]}},"
               "{\"fullUrl\":\"urn:uuid:2\",\"resource\":{\"resourceType\":\"Observation\",\"subject\": {\"reference\": \"urn:uuid:1\"},"
               "\"valueQuantity\":{\"value\": 1.10},\"performer\":[{\"reference\":\"urn:uuid:3\"}]}},"
               "{\"fullUrl\":\"urn:uuid:3\",\"resource\":{\"resourceType\":\"Practitioner\",\"id\":\"dr\"}},"
               "{\"fullUrl\":\"urn:uuid:4\",\"resource\":{\"resourceType\":\"Practitioner\",\"id\":\"stranger\"}}]}");
    write_file("b.ndjson",
               "{\"resourceType\":\"Patient\",\"id\":\"two\"}\n\n"
               "{\"resourceType\":\"Coverage\",\"id\":\"c\",\"beneficiary\":{\"reference\":\"Patient/two\"}}\r\n"
               "{\"resourceType\":\"Provenance\",\"id\":\"v\",\"target\":[{\"reference\":\"Coverage/c\"}]}");
    ck_assert_int_eq(cw_sbx_store_open(folder, &store, NULL), CW_OK);
    ck_assert_uint_eq(cw_sbx_patient_count(store), cw_sbx_persona_count() + 2);
    const struct cw_sbx_patient *one = cw_sbx_patient_find(store, CW_SPAN("one"));
    ck_assert_ptr_nonnull(one);
    ck_assert_str_eq(one->name, "Ann \xc3\x98st");
    ck_assert_ptr_eq(cw_sbx_patient_named(store, CW_SPAN(" ann \xc3\x98st ")), one);
    ck_assert_int_eq(cw_sbx_store_chart(store, one, &chart, NULL), CW_OK);
    ck_assert_uint_eq(cw_sbx_chart_count(chart), 3);
    const struct cw_sbx_resource *observation = find(chart, "Observation", "2");
    ck_assert_ptr_nonnull(observation);
    ck_assert(cw_span_eq_cstr(observation->bytes,
                              "{\"id\":\"2\",\"resourceType\":\"Observation\",\"subject\": {\"reference\": \"Patient/one\"},"
                              "\"valueQuantity\":{\"value\": 1.10},\"performer\":[{\"reference\":\"Practitioner/dr\"}]}"));
    ck_assert_ptr_nonnull(find(chart, "Practitioner", "dr"));
    ck_assert_ptr_null(find(chart, "Practitioner", "stranger"));
    cw_sbx_chart_drop(chart);
    ck_assert_int_eq(cw_sbx_store_chart(store, cw_sbx_patient_find(store, CW_SPAN("two")), &chart, NULL), CW_OK);
    ck_assert_uint_eq(cw_sbx_chart_count(chart), 3);
    cw_sbx_chart_drop(chart);
    cw_sbx_store_free(store);
}
END_TEST

START_TEST(a_folder_that_cannot_be_read_is_refused)
{
    static const char *const bad[] = { "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"id\":\"x\"}}]}",
                                       "{\"resourceType\":\"Patient\",\"id\":\"x\"}", "{\"resourceType\":\"Bundle\"", "" };
    struct cw_sbx_store *store = NULL;
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        write_file("a.json", bad[i]);
        ck_assert_msg(cw_sbx_store_open(folder, &store, NULL) == CW_E_SYNTAX, "row %zu", i);
    }
    write_file("a.json", "{\"resourceType\":\"Bundle\"}");
    write_file("b.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"x\"} trailing");
    ck_assert_int_eq(cw_sbx_store_open(folder, &store, NULL), CW_E_SYNTAX);
    ck_assert_int_eq(cw_sbx_store_open("/nowhere/at/all", &store, NULL), CW_E_IO);
}
END_TEST

START_TEST(charts_can_be_edited)
{
    struct cw_sbx_store *store = NULL;
    struct cw_sbx_chart *before = NULL, *after = NULL;
    ck_assert_int_eq(cw_sbx_store_open(NULL, &store, NULL), CW_OK);
    const struct cw_sbx_patient *patient = cw_sbx_patient_at(store, 0);
    const struct cw_sbx_type *type = cw_sbx_type_find(CW_SPAN("Observation"));
    ck_assert_int_eq(cw_sbx_store_chart(store, patient, &before, NULL), CW_OK);
    size_t held = cw_sbx_chart_count(before), count;
    struct cw_span known = cw_sbx_chart_of_type(before, type, &count)->id;

    struct cw_sbx_edit edit = { .bytes = CW_SPAN("{\"resourceType\":\"Observation\",\"id\":\"new-1\"}") };
    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &edit, NULL), CW_OK);
    ck_assert_int_eq(cw_sbx_store_chart(store, patient, &after, NULL), CW_OK);
    ck_assert_uint_eq(cw_sbx_chart_count(after), held + 1);
    ck_assert(cw_span_eq(find(after, "Observation", "new-1")->bytes, edit.bytes));
    ck_assert_ptr_null(find(before, "Observation", "new-1")); /* who reads the old one reads on */
    cw_sbx_chart_drop(after);

    edit.bytes = CW_SPAN("{\"resourceType\":\"Observation\",\"id\":\"new-1\",\"status\":\"final\"}");
    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &edit, NULL), CW_OK);
    const struct cw_sbx_edit out = { .type = CW_SPAN("Observation"), .id = known };
    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &out, NULL), CW_OK);
    ck_assert_int_eq(cw_sbx_store_chart(store, patient, &after, NULL), CW_OK);
    ck_assert_uint_eq(cw_sbx_chart_count(after), held);
    ck_assert(cw_span_eq(find(after, "Observation", "new-1")->bytes, edit.bytes));
    ck_assert_ptr_null(cw_sbx_chart_find(after, type, known));
    cw_sbx_chart_drop(after);

    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &out, NULL), CW_E_NOT_FOUND);
    const struct cw_sbx_edit list = { .bytes = CW_SPAN("[]") }, ship = { .bytes = CW_SPAN("{\"resourceType\":\"Starship\",\"id\":\"1\"}") };
    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &list, NULL), CW_E_SYNTAX);
    ck_assert_int_eq(cw_sbx_store_edit(store, patient, &ship, NULL), CW_E_UNSUPPORTED);
    cw_sbx_chart_drop(before);
    cw_sbx_store_free(store);
}
END_TEST

Suite *sandbox_state_suite(void)
{
    Suite *suite = suite_create("sandbox state");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_code_is_good_once_and_its_replay_revokes);
    tcase_add_test(tcase, a_code_dies_after_a_minute);
    tcase_add_test(tcase, a_code_is_bound);
    tcase_add_test(tcase, refresh_rotates_and_survives_a_restart);
    tcase_add_test(tcase, tokens_expire_and_can_be_revoked);
    tcase_add_test(tcase, a_second_process_is_refused);
    tcase_add_test(tcase, a_cut_journal_line_is_passed_over);
    tcase_add_test(tcase, assertion_ids_come_once);
    tcase_add_test(tcase, rules_hit_whom_they_name_as_often_as_they_say);
    tcase_add_test(tcase, rules_that_make_no_sense_are_refused);
    tcase_add_test(tcase, registrations_are_exact);
    tcase_add_test(tcase, clients_prove_who_they_are);
    tcase_add_test(tcase, keys_prove_who_they_are);
    tcase_add_test(tcase, scopes_allow_by_type_and_category);
    tcase_add_test(tcase, pages_give_every_resource_once);
    tcase_add_test(tcase, searches_that_cannot_be_are_refused);
    tcase_add_test(tcase, a_folder_is_grouped_by_patient);
    tcase_add_test(tcase, a_folder_that_cannot_be_read_is_refused);
    tcase_add_test(tcase, charts_can_be_edited);
    suite_add_tcase(suite, tcase);
    return suite;
}
