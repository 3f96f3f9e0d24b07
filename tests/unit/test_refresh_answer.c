/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of answer that a token endpoint gives to a refresh, and what comes of it. */
#include "config.h"

#include "tests/unit/test_refresh.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "model/disconnect.h"
#include "tests/lib/faulty_alloc.h"
#include "tests/lib/net_fixture.h"

#define m (&refresh_model)

static struct script_server *server;
static struct cw_http *http;
static struct cw_err err;

static void note(const struct cw_renewal_note *told)
{
    __atomic_add_fetch(&refresh_notes[told->event], 1, __ATOMIC_RELAXED);
}

static const struct cw_renewer *renewer(void)
{
    static struct cw_renewer by;
    by = (struct cw_renewer){ .model = m, .profiles = refresh_profiles, .actor = &refresh_actor, .owner = "test/1",
                              .note = note, .origin = "https://records.example.org" };
    return &by;
}

/* A token endpoint with this script, and a connection whose access token is over. */
static void begin_with(const struct script_answer *answers, size_t count, struct refresh_start start)
{
    server = script_server_start(answers, count);
    http = net_fixture_http(server, "");
    start.token_endpoint = script_server_url(server, "/token");
    start.expires_in_us = start.expires_in_us == 0 ? -CW_SECOND_US : start.expires_in_us;
    refresh_connect(start);
}

static void teardown(void)
{
    cw_http_free(http);
    script_server_stop(server);
    refresh_teardown();
}

/* Renews, and gives the access token that a request would use in `ret_access`. */
static enum cw_code renew(struct cw_renewal wish, char ret_access[32])
{
    struct cw_grant grant = { 0 };
    wish.connection = refresh_connection;
    enum cw_code rc = cw_renew(renewer(), http, &wish, &grant, &err);
    struct cw_span access = cw_secret_span(&grant.access);
    (void)snprintf(ret_access, 32, "%.*s", (int)access.len, access.ptr == NULL ? "" : access.ptr);
    cw_grant_release(&grant);
    return rc;
}

#define NEW_TOKENS(n) "{\"access_token\":\"access-" n "\",\"refresh_token\":\"refresh-" n "\",\"expires_in\":3600}"

START_TEST(new_tokens_are_kept)
{
    static const struct script_answer script[] = { { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_str_eq(access, "access-2");
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_uint_eq(script_server_count(server), 1); /* it is good for a while */
    ck_assert_ptr_nonnull(strstr(script_server_request(server, 0)->body, "refresh_token=refresh-1"));
    ck_assert_int_eq(refresh_number("g.rotates"), 1);
}
END_TEST

/* What each answer leaves of a connection whose access token is over. */
static const struct row {
    const char *name;
    struct script_answer answer;
    enum cw_code rc;
    int status;                  /* of the connection afterwards */
    bool counts;                 /* as a failure of the grant */
    int64_t wait_least_s;        /* before anybody asks again; 0: nothing is said */
    unsigned asked;              /* how often; 0: once */
} rows[] = {
    { "400 invalid_grant", { .status = 400, .body = "{\"error\":\"invalid_grant\"}" }, CW_E_LIMITED, 1, true, 600 },
    { "401 invalid_grant", { .status = 401, .body = "{\"error\":\"invalid_grant\"}" }, CW_E_LIMITED, 1, true, 600 },
    { "invalid_grant in 200", { .status = 200, .body = "{\"error\":\"invalid_grant\"}" }, CW_E_LIMITED, 1, true, 600 },
    { "invalid_grant in HTML", { .status = 400, .type = "text/html", .body = "<p>invalid_grant</p>" }, CW_E_UPSTREAM, 1, true, 48 },
    { "half of invalid_grant", { .status = 400, .body = "{\"error\":\"invalid_grant\"" }, CW_E_UPSTREAM, 1, true, 48 },
    { "invalid_client", { .status = 401, .body = "{\"error\":\"invalid_client\"}" }, CW_E_CONFIG, 1, false, 0 },
    { "unauthorized_client", { .status = 400, .body = "{\"error\":\"unauthorized_client\"}" }, CW_E_EXPIRED, 3, false, 0 },
    { "unsupported_grant_type", { .status = 400, .body = "{\"error\":\"unsupported_grant_type\"}" }, CW_E_EXPIRED, 3, false, 0 },
    { "invalid_scope without a scope", { .status = 400, .body = "{\"error\":\"invalid_scope\"}" }, CW_E_UPSTREAM, 1, true, 48 },
    { "another OAuth error", { .status = 400, .body = "{\"error\":\"invalid_request\"}" }, CW_E_UPSTREAM, 1, true, 48 },
    { "bare 400", { .status = 400, .body = "" }, CW_E_UPSTREAM, 1, true, 48, 2 },
    { "403 of a firewall", { .status = 403, .type = "text/html", .body = "<html>no</html>" }, CW_E_UPSTREAM, 1, true, 48 },
    { "408", { .status = 408, .body = "" }, CW_E_UNAVAILABLE, 1, true, 48 },
    { "429 with Retry-After", { .status = 429, .headers = "Retry-After: 1800\r\n", .body = "" }, CW_E_UNAVAILABLE, 1, true, 1790 },
    { "500", { .status = 500, .body = "oops" }, CW_E_UNAVAILABLE, 1, true, 48 },
    { "503 with Retry-After", { .status = 503, .headers = "Retry-After: 300\r\n", .body = "" }, CW_E_UNAVAILABLE, 1, true, 290 },
    { "server_error in 500", { .status = 500, .body = "{\"error\":\"server_error\"}" }, CW_E_UNAVAILABLE, 1, true, 48 },
    { "DPoP", { .body = "{\"access_token\":\"a\",\"token_type\":\"DPoP\"}" }, CW_E_UPSTREAM, 1, true, 48 },
    { "no access token", { .body = "{\"refresh_token\":\"r\"}" }, CW_E_UPSTREAM, 1, true, 48 },
    { "another patient", { .body = "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"patient\":\"up-2\"}" }, CW_E_AUTH, 4, false, 0 },
    { "the same patient", { .body = "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"patient\":\"up-1\"}" }, CW_OK, 1, false, 0 },
};

START_TEST(every_answer_has_its_consequence)
{
    const struct row *row = &rows[_i];
    char access[32];
    begin_with(&row->answer, 1, (struct refresh_start){ 0 });
    enum cw_code rc = renew((struct cw_renewal){ 0 }, access);
    ck_assert_msg(rc == row->rc, "%s: %s, not %s", row->name, cw_code_name(rc), cw_code_name(row->rc));
    ck_assert_msg(refresh_number("c.status") == row->status, "%s: status %d", row->name, (int)refresh_number("c.status"));
    ck_assert_msg(script_server_count(server) == (row->asked == 0 ? 1 : row->asked), "%s: %zu", row->name, script_server_count(server));
    if (row->status != CW_CONNECTION_ACTIVE) {
        ck_assert_int_eq(refresh_number("g.version"), -1);
        return;
    }
    ck_assert_msg(refresh_number("g.failures") == row->counts, "%s: %d failures", row->name, (int)refresh_number("g.failures"));
    ck_assert_int_eq(refresh_number("g.lease_owner IS NULL AND g.refresh_started_at IS NULL AND g.refresh_tries = 0"), 1);
    if (row->wait_least_s > 0) {
        struct cw_refresh_lease lease;
        ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
        int64_t wait_us = lease.wait_until_us - cw_now_us();
        ck_assert_msg(wait_us >= (row->wait_least_s - 2) * CW_SECOND_US, "%s: %lld", row->name, (long long)wait_us);
    }
}
END_TEST

/* --- a client of the connection's own in place of a refresh token --- */

static struct cw_signing_key *own_key;

static void begin_dynamic(const struct script_answer *answers, size_t count)
{
    cw_test_db_sql(&refresh_test, "DELETE FROM dynamic_client");
    refresh_must(cw_signing_key_make(CW_ALG_RS384, &own_key, &err), &err);
    const struct cw_dynamic_new client = { CW_SPAN("dyn-1"), own_key };
    begin_with(answers, count, (struct refresh_start){ .dynamic = &client });
}

START_TEST(assertions_in_place_of_a_refresh_token)
{
    static const struct script_answer script[] = { { .body = "{\"access_token\":\"access-2\",\"token_type\":\"Bearer\",\"expires_in\":3600}" } };
    char access[32];
    begin_dynamic(script, 1);
    ck_assert_int_eq(refresh_number("c.one_time"), 0);
    ck_assert_int_eq(refresh_number("g.refresh_sealed IS NULL AND g.refresh_due_at IS NOT NULL AND g.ends_at IS NULL"), 1);
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_str_eq(access, "access-2");
    const char *body = script_server_request(server, 0)->body;
    ck_assert_ptr_nonnull(strstr(body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="));
    ck_assert_ptr_nonnull(strstr(body, "&client_id=dyn-1"));
    ck_assert_ptr_null(strstr(body, "refresh_token"));
    ck_assert_ptr_null(strstr(body, "client_assertion"));
    /* The assertion is signed with the key that was registered, for this endpoint and by this client. */
    CW_AUTO_STR set;
    cw_str_init(&set, 8192);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &set);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    ck_assert_int_eq(cw_signing_key_jwk(own_key, &w), CW_OK);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    CW_AUTO_JSON *jwks = NULL;
    CW_AUTO_JSON *claims = NULL;
    struct cw_json_limits limits = { .max_bytes = 8192, .max_depth = 8 };
    ck_assert_int_eq(cw_json_parse(cw_str_span(&set), limits, &jwks, NULL), CW_OK);
    const char *assertion = strstr(body, "assertion=") + strlen("assertion=");
    ck_assert_int_eq(cw_jws_verify(cw_span_of(assertion, strcspn(assertion, "&")), jwks, &claims, &err), CW_OK);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(claims, "iss"), "dyn-1") && cw_span_eq_cstr(cw_json_peek_text(claims, "sub"), "dyn-1"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(claims, "aud"), script_server_url(server, "/token")));
    cw_signing_key_free(own_key);
}
END_TEST

static const struct {
    struct script_answer answers[2];
    enum cw_code rc;
    int status;
    size_t requests;
} dynamic_rows[] = {
    /* The permission was taken back: the end, at once; there is no token whose rotation was missed. */
    { { { .status = 400, .body = "{\"error\":\"invalid_grant\"}" } }, CW_E_AUTH, 4, 1 },
    /* One client was removed, not the registration of all: no breaker, and a second refusal decides. */
    { { { .status = 401, .body = "{\"error\":\"invalid_client\"}" } }, CW_E_LIMITED, 1, 1 },
    /* A 400 without a word is asked again with a fresh assertion. */
    { { { .status = 400, .body = "" }, { .body = "{\"access_token\":\"b\",\"expires_in\":3600}" } }, CW_OK, 1, 2 },
    { { { .status = 400, .body = "" }, { .status = 400, .body = "" } }, CW_E_UPSTREAM, 1, 2 },
};

START_TEST(answers_to_assertions)
{
    char access[32];
    begin_dynamic(dynamic_rows[_i].answers, 2);
    enum cw_code rc = renew((struct cw_renewal){ 0 }, access);
    ck_assert_msg(rc == dynamic_rows[_i].rc, "%s", cw_code_name(rc));
    ck_assert_int_eq(refresh_number("c.status"), dynamic_rows[_i].status);
    ck_assert_uint_eq(script_server_count(server), dynamic_rows[_i].requests);
    ck_assert_int_eq(cw_test_db_number(&refresh_test, "SELECT COUNT(*) FROM registration_breaker"), 0);
    ck_assert_int_eq(refresh_number("(SELECT COUNT(*) FROM dynamic_client d WHERE d.connection = c.id)"),
                     dynamic_rows[_i].status == CW_CONNECTION_ACTIVE);
    if (dynamic_rows[_i].requests == 2) { /* two requests, two assertions */
        ck_assert_str_ne(script_server_request(server, 0)->body, script_server_request(server, 1)->body);
    }
    cw_signing_key_free(own_key);
}
END_TEST

/* The key is bound to its connection: in another row it does not open. */
START_TEST(a_key_moved_to_another_row)
{
    static const struct script_answer script[] = { { .body = "" } };
    begin_dynamic(script, 1);
    struct cw_arena *arena = cw_arena_new(1u << 20);
    struct cw_dynamic_client client;
    refresh_must(cw_dynamic_client_get(m, refresh_connection, arena, &client, &err), &err);
    ck_assert_str_eq(cw_signing_key_kid(client.key), cw_signing_key_kid(own_key));
    ck_assert(cw_span_eq_cstr(client.client_id, "dyn-1"));
    cw_signing_key_free(client.key);
    cw_test_db_sql(&refresh_test, "UPDATE dynamic_client SET connection = UNHEX('000102030405060708090a0b0c0d0e0f')");
    struct cw_connection_id moved = { { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } } };
    ck_assert_int_eq(cw_dynamic_client_get(m, moved, arena, &client, &err), CW_E_AUTH);
    ck_assert_int_eq(cw_dynamic_client_get(m, refresh_connection, arena, &client, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_test_db_number(&refresh_test, "SELECT COUNT(*) FROM dynamic_client WHERE private_sealed LIKE '%RSA%'"), 0);
    cw_arena_free(arena);
    cw_signing_key_free(own_key);
}
END_TEST

/* As soon as the lease is committed the patient has signed in again, and the connection names another endpoint. */
START_TEST(an_old_token_never_goes_to_a_new_endpoint)
{
    static const struct script_answer script[] = { { .keep = true, .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    cw_test_db_sql(&refresh_test,
                   "CREATE OR REPLACE TRIGGER signed_in_again BEFORE UPDATE ON token_grant FOR EACH ROW BEGIN"
                   " SET NEW.version = OLD.version + 1, NEW.fence = NEW.fence + 1, NEW.expires_at = '2040-01-01',"
                   " NEW.lease_owner = NULL, NEW.lease_until = NULL, NEW.refresh_started_at = NULL, NEW.refresh_tries = 0;"
                   " UPDATE connection SET pinned = REPLACE(pinned, '/token', '/elsewhere') WHERE id = NEW.connection; END");
    enum cw_code rc = renew((struct cw_renewal){ 0 }, access);
    cw_test_db_sql(&refresh_test, "DROP TRIGGER signed_in_again");
    ck_assert_uint_eq(script_server_count(server), 0);
    ck_assert_int_eq(refresh_number("g.version"), 2);
    ck_assert_msg(rc == CW_OK, "%s", cw_code_name(rc)); /* looked at again: the new sign-in's token is good */
    ck_assert_str_eq(access, "access-1");
    ck_assert_uint_eq(refresh_notes[CW_RENEWAL_NOT_WRITTEN], 0);
}
END_TEST

START_TEST(a_changed_patient_has_a_code_of_its_own)
{
    static const struct script_answer script[] = { { .body = "{\"access_token\":\"a\",\"patient\":\"somebody-else\"}" } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_AUTH);
    ck_assert_str_eq(access, "");
    ck_assert_int_eq(refresh_number("c.failure_code = 'patient_changed'"), 1);
    ck_assert_int_eq(refresh_events(CW_EVENT_TOKEN_REFRESH_FAILED), 1);
}
END_TEST

START_TEST(a_lost_answer_is_asked_once_more)
{
    static const struct script_answer script[] = { { .cut_at = -1 }, { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 2, (struct refresh_start){ 0 });
    int64_t from_us = cw_monotonic_us();
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    int64_t took_us = cw_monotonic_us() - from_us;
    ck_assert_str_eq(access, "access-2");
    ck_assert(took_us >= 2 * CW_SECOND_US && took_us < 7 * CW_SECOND_US);
    ck_assert_uint_eq(script_server_count(server), 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(strstr(script_server_request(server, i)->body, "refresh_token=refresh-1"));
    }
}
END_TEST

START_TEST(a_lost_answer_and_a_refusal_are_a_lost_rotation)
{
    static const struct script_answer script[] = { { .cut_at = -1 }, { .status = 400, .body = "{\"error\":\"invalid_grant\"}" } };
    char access[32];
    begin_with(script, 2, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_AUTH);
    ck_assert_int_eq(refresh_number("c.failure_code = 'lost_rotation'"), 1);
    ck_assert_uint_eq(script_server_count(server), 2);
}
END_TEST

START_TEST(what_was_not_sent_is_not_lost)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    cw_test_db_sql(&refresh_test, "UPDATE connection SET pinned = REPLACE(pinned, '/token', '/elsewhere') WHERE 1");
    script_server_stop(server);
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_UNAVAILABLE);
    ck_assert_int_eq(refresh_number("g.refresh_started_at IS NULL AND g.refresh_tries = 0 AND g.failures = 1"), 1);
    server = script_server_start(script, 1);
}
END_TEST

START_TEST(the_scope_is_left_out_once_it_is_refused)
{
    static const struct script_answer script[] = { { .status = 400, .body = "{\"error\":\"invalid_scope\"}" },
                                                   { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 2, (struct refresh_start){ .profile = "athena" });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_str_eq(access, "access-2");
    ck_assert_ptr_nonnull(strstr(script_server_request(server, 0)->body, "scope=patient"));
    ck_assert_ptr_null(strstr(script_server_request(server, 1)->body, "scope="));
}
END_TEST

START_TEST(the_redirect_uri_is_sent_again_where_it_is_wanted)
{
    static const struct script_answer script[] = { { .body = NEW_TOKENS("2") }, { .body = NEW_TOKENS("3") } };
    char access[32];
    begin_with(script, 2, (struct refresh_start){ .profile = "athena-practice" });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_ptr_nonnull(strstr(script_server_request(server, 0)->body,
                                 "redirect_uri=https%3A%2F%2Frecords.example.org%2Fcallback%2F"));
    refresh_connect((struct refresh_start){ .expires_in_us = -CW_SECOND_US, .token_endpoint = script_server_url(server, "/token") });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_ptr_null(strstr(script_server_request(server, 1)->body, "redirect_uri="));
}
END_TEST

START_TEST(a_bare_400_is_asked_once_more)
{
    static const struct script_answer script[] = { { .status = 400, .body = "" }, { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 2, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_str_eq(access, "access-2");
    ck_assert_int_eq(refresh_number("g.failures"), 0);
}
END_TEST

START_TEST(a_rejected_client_concerns_no_grant_and_everybody)
{
    static const struct script_answer script[] = { { .status = 401, .body = "{\"error\":\"invalid_client\"}" },
                                                   { .status = 401, .body = "{\"error\":\"invalid_client\"}" },
                                                   { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 3, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_CONFIG);
    ck_assert_uint_eq(refresh_notes[CW_RENEWAL_CLIENT_REJECTED], 1);
    struct cw_connection_id first = refresh_connection;
    refresh_connect((struct refresh_start){ .expires_in_us = -CW_SECOND_US, .token_endpoint = script_server_url(server, "/token") });
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_CONFIG); /* another connection of the registration */
    ck_assert_uint_eq(script_server_count(server), 1);
    cw_clock_shift_us(2 * CW_MINUTE_US);
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_CONFIG); /* the probe */
    ck_assert_uint_eq(script_server_count(server), 2);
    ck_assert_uint_eq(refresh_notes[CW_RENEWAL_CLIENT_REJECTED], 1); /* told at the edge */
    cw_clock_shift_us(20 * CW_MINUTE_US);
    refresh_connection = first;
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_uint_eq(refresh_notes[CW_RENEWAL_CLIENT_ACCEPTED], 1);
    ck_assert_int_eq(cw_test_db_number(&refresh_test, "SELECT COUNT(*) FROM registration_breaker"), 0);
    ck_assert_int_eq(cw_test_db_number(&refresh_test, "SELECT COUNT(*) FROM event"), 0);
}
END_TEST

START_TEST(an_old_token_is_used_while_it_lives)
{
    static const struct script_answer script[] = { { .keep = true, .status = 503, .body = "" } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ .expires_in_us = 20 * CW_SECOND_US });
    cw_clock_shift_us(12 * CW_SECOND_US); /* due, not over */
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_str_eq(access, "access-1");
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_int_eq(renew((struct cw_renewal){ .refused_version = 1 }, access), CW_E_LIMITED); /* but not after a 401 */
}
END_TEST

START_TEST(the_keep_alive_refreshes_what_is_good)
{
    static const struct script_answer script[] = { { .body = NEW_TOKENS("2") } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ .expires_in_us = CW_HOUR_US });
    ck_assert_int_eq(renew((struct cw_renewal){ .aging_version = 1, .no_wait = true }, access), CW_OK);
    ck_assert_str_eq(access, "access-2");
    ck_assert_int_eq(renew((struct cw_renewal){ .aging_version = 1, .no_wait = true }, access), CW_OK); /* somebody was faster */
    ck_assert_uint_eq(script_server_count(server), 1);
}
END_TEST

START_TEST(a_gone_endpoint_is_to_be_discovered_again)
{
    static const struct script_answer script[] = { { .status = 404, .type = "text/html", .body = "<p>gone</p>" } };
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    cw_test_db_sql(&refresh_test, "INSERT INTO endpoint (id, environment, url, url_hash, created_at, discovery_until)"
                                  " SELECT endpoint, 1, HEX(id), SUBSTRING(SHA2(id, 256), 1, 32), created_at, '2040-01-01' FROM connection"
                                  " ORDER BY created_at DESC, id DESC LIMIT 1");
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_E_UPSTREAM);
    ck_assert_int_eq(refresh_number("(SELECT discovery_until IS NULL FROM endpoint e WHERE e.id = c.endpoint)"), 1);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
}
END_TEST

START_TEST(known_ends_are_read_from_the_answer)
{
    static const struct script_answer script[] = {
        { .body = "{\"access_token\":\"a2\",\"refresh_token\":\"r2\",\"refresh_expires_in\":864000}" },
        { .body = "{\"access_token\":\"a3\",\"refresh_token\":\"r3\",\"refresh_token_expires_in\":\"1728000\"}" },
        { .body = "{\"access_token\":\"a4\",\"refresh_token\":\"r4\",\"access_grant_expiration\":\"2031-01-02 03:04:05Z\"}" },
    };
    char access[32];
    begin_with(script, 3, (struct refresh_start){ 0 });
    ck_assert_int_eq(renew((struct cw_renewal){ .refused_version = 1 }, access), CW_OK);
    ck_assert_int_eq(refresh_number("ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), g.ends_at) / 86400)"), 10);
    ck_assert_int_eq(refresh_number("g.ends_fixed"), 0);
    ck_assert_int_eq(refresh_number("g.refresh_due_at < UTC_TIMESTAMP(3) + INTERVAL 5 DAY"), 1);
    ck_assert_int_eq(renew((struct cw_renewal){ .refused_version = 2 }, access), CW_OK);
    ck_assert_int_eq(refresh_number("ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), g.ends_at) / 86400)"), 20);
    ck_assert_int_eq(renew((struct cw_renewal){ .refused_version = 3 }, access), CW_OK);
    ck_assert_int_eq(refresh_number("g.ends_at = '2031-01-02 03:04:05'"), 1);
    ck_assert_int_eq(refresh_number("g.ends_fixed"), 1);
}
END_TEST

struct racer {
    struct cw_http *http;
    enum cw_code rc;
    char access[32];
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct cw_err ignored = { 0 };
    struct cw_grant grant = { 0 };
    struct cw_renewal wish = { .connection = refresh_connection };
    racer->rc = cw_renew(renewer(), racer->http, &wish, &grant, &ignored);
    struct cw_span access = cw_secret_span(&grant.access);
    (void)snprintf(racer->access, sizeof racer->access, "%.*s", (int)access.len, access.ptr == NULL ? "" : access.ptr);
    cw_grant_release(&grant);
    return NULL;
}

START_TEST(of_many_that_need_a_token_one_asks)
{
    static const struct script_answer script[] = { { .body = NEW_TOKENS("2") }, { .keep = true, .status = 400, .body = "{\"error\":\"invalid_grant\"}" } };
    struct racer racers[6];
    pthread_t threads[6];
    begin_with(script, 2, (struct refresh_start){ 0 });
    (void)renewer();
    for (unsigned i = 0; i < 6; i++) {
        racers[i].http = net_fixture_http(server, "");
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        cw_http_free(racers[i].http);
        ck_assert_msg(racers[i].rc == CW_OK, "%s", cw_code_name(racers[i].rc));
        ck_assert_str_eq(racers[i].access, "access-2");
    }
    ck_assert_uint_eq(script_server_count(server), 1);
}
END_TEST

/* The row cannot be written for a while: nothing of the answer is dropped. */
static char *answer_and_lock(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    (void)request;
    (void)ret_status;
    cw_test_db_sql(&refresh_test, "RENAME TABLE token_grant TO token_grant_away");
    return strdup(NEW_TOKENS("2"));
}

static void *bring_back(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&refresh_notes[CW_RENEWAL_NOT_WRITTEN], __ATOMIC_RELAXED) < 3) {
        struct timespec pause = { .tv_nsec = 20000000 };
        (void)nanosleep(&pause, NULL);
    }
    cw_test_db_sql(&refresh_test, "RENAME TABLE token_grant_away TO token_grant");
    return NULL;
}

START_TEST(new_tokens_are_written_again_and_again)
{
    static const struct script_answer script[] = { { .make = answer_and_lock } };
    pthread_t thread;
    char access[32];
    begin_with(script, 1, (struct refresh_start){ 0 });
    ck_assert_int_eq(pthread_create(&thread, NULL, bring_back, NULL), 0);
    ck_assert_int_eq(renew((struct cw_renewal){ 0 }, access), CW_OK);
    pthread_join(thread, NULL);
    ck_assert_str_eq(access, "access-2");
    ck_assert_uint_ge(refresh_notes[CW_RENEWAL_NOT_WRITTEN], 3);
    ck_assert_int_eq(refresh_number("g.version"), 2);
}
END_TEST

/* The patient lets go of the hospital while its answer is on the way: the old tokens are given back, and so are the new ones, which nobody else knows. */
static char *answer_and_disconnect(void *arg, const struct script_request *request, int *ret_status)
{
    struct cw_disconnected ignored;
    struct cw_err own = { .code = CW_OK };
    struct cw_arena *arena = cw_arena_new(65536);
    (void)arg;
    (void)request;
    (void)ret_status;
    refresh_must(cw_connection_disconnect_any(&refresh_model, &refresh_actor, refresh_connection, arena, &ignored, &own), &own);
    cw_arena_free(arena);
    return strdup(NEW_TOKENS("2"));
}

START_TEST(tokens_of_a_grant_that_has_gone_are_given_back)
{
    static const struct script_answer script[] = { { .make = answer_and_disconnect } };
    char access[32];
    struct cw_revocation *list;
    struct cw_arena *arena = cw_arena_new((size_t)1024 * 1024);
    size_t count = 0, found = 0;
    begin_with(script, 1, (struct refresh_start){ 0 });
    ck_assert_int_ne(renew((struct cw_renewal){ 0 }, access), CW_OK);
    struct cw_connection connection;
    refresh_must(cw_connection_get(&refresh_model, refresh_connection, arena, &connection, &err), &err);
    refresh_must(cw_revocation_list(&refresh_model, connection.org, 10, arena, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        struct cw_revocation one;
        refresh_must(cw_revocation_get(&refresh_model, list[i].id, arena, &one, &err), &err);
        bool this = cw_ulid_eq(one.connection.ulid, refresh_connection.ulid);
        found += this && cw_span_eq(one.refresh, CW_SPAN("refresh-2")) && cw_span_eq(one.access, CW_SPAN("access-2"));
    }
    ck_assert_uint_eq(found, 1);
    cw_arena_free(arena);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- no memory */

static unsigned rotation;

static char *rotating_answer(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    (void)request;
    (void)ret_status;
    char *body = NULL;
    rotation++;
    ck_assert_int_ge(asprintf(&body, "{\"access_token\":\"access-%u\",\"refresh_token\":\"refresh-%u\",\"expires_in\":3600}",
                              rotation, rotation), 0);
    return body;
}

/* Whichever allocation fails: the new tokens are in the row, or the intent still says that an answer may be lost; and nothing ends. */
START_TEST(no_failing_allocation_loses_a_grant)
{
    static const struct script_answer script[] = { { .keep = true, .make = rotating_answer } };
    char access[32], stored[32];
    unsigned failed = 0, written = 0;
    begin_with(script, 1, (struct refresh_start){ 0 });
    rotation = 1;
    for (unsigned n = 1;; n++) {
        cw_test_db_sql(&refresh_test, "UPDATE token_grant SET refresh_started_at = NULL, refresh_tries = 0, not_before = NULL,"
                                      " lease_owner = NULL, lease_until = NULL, failures = 0, failing_since = NULL");
        unsigned asked = rotation;
        uint32_t version = (uint32_t)refresh_number("g.version");
        faulty_alloc_arm(n);
        enum cw_code rc = renew((struct cw_renewal){ .refused_version = version, .no_wait = true }, access);
        bool reached = faulty_alloc_disarm();
        ck_assert_msg(refresh_number("c.status") == CW_CONNECTION_ACTIVE, "allocation %u ended it", n);
        bool moved = refresh_number("g.version") != version;
        ck_assert_msg(asked == rotation || moved || refresh_number("g.refresh_started_at IS NOT NULL") == 1,
                      "allocation %u: an answer is gone, and nobody knows", n);
        ck_assert_msg(rc != CW_OK || moved, "allocation %u: the refused token was given again", n);
        if (moved) {
            struct cw_grant grant = { 0 };
            refresh_must(cw_grant_get(m, refresh_connection, &grant, &err), &err);
            struct cw_span kept = cw_secret_span(&grant.refresh);
            (void)snprintf(stored, sizeof stored, "refresh-%u", rotation);
            ck_assert_msg(cw_span_eq_cstr(kept, stored), "allocation %u: not the last tokens", n);
            cw_grant_release(&grant);
        }
        failed += rc != CW_OK;
        written += moved && reached;
        if (!reached) {
            ck_assert_int_eq(rc, CW_OK);
            break;
        }
    }
    ck_assert_uint_gt(failed, 10);
    ck_assert_uint_gt(written, 3); /* the commit was tried again */
}
END_TEST

Suite *refresh_answer_suite(void)
{
    Suite *s = suite_create("refresh_answer");
    TCase *t = tcase_create("answer");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, refresh_setup, teardown);
    tcase_add_test(t, assertions_in_place_of_a_refresh_token);
    tcase_add_loop_test(t, answers_to_assertions, 0, (int)CW_ARRAY_LEN(dynamic_rows));
    tcase_add_test(t, a_key_moved_to_another_row);
    tcase_add_test(t, new_tokens_are_kept);
    tcase_add_loop_test(t, every_answer_has_its_consequence, 0, (int)CW_ARRAY_LEN(rows));
    tcase_add_test(t, an_old_token_never_goes_to_a_new_endpoint);
    tcase_add_test(t, a_changed_patient_has_a_code_of_its_own);
    tcase_add_test(t, a_lost_answer_is_asked_once_more);
    tcase_add_test(t, a_lost_answer_and_a_refusal_are_a_lost_rotation);
    tcase_add_test(t, what_was_not_sent_is_not_lost);
    tcase_add_test(t, the_scope_is_left_out_once_it_is_refused);
    tcase_add_test(t, the_redirect_uri_is_sent_again_where_it_is_wanted);
    tcase_add_test(t, a_bare_400_is_asked_once_more);
    tcase_add_test(t, a_rejected_client_concerns_no_grant_and_everybody);
    tcase_add_test(t, an_old_token_is_used_while_it_lives);
    tcase_add_test(t, the_keep_alive_refreshes_what_is_good);
    tcase_add_test(t, a_gone_endpoint_is_to_be_discovered_again);
    tcase_add_test(t, known_ends_are_read_from_the_answer);
    tcase_add_test(t, of_many_that_need_a_token_one_asks);
    tcase_add_test(t, new_tokens_are_written_again_and_again);
    tcase_add_test(t, tokens_of_a_grant_that_has_gone_are_given_back);
    tcase_add_test(t, no_failing_allocation_loses_a_grant);
    suite_add_tcase(s, t);
    return s;
}
