/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets of issuers: how long they are kept, how often they are asked for, and from where. */
#include "config.h"

#include "base/time.h"
#include "net_fixture.h"
#include "smart/jwks.h"
#include "smart/place.h"
#include "test_smart.h"

static int64_t clock_us;

static int64_t tell_time(void)
{
    return clock_us;
}

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
        struct script_answer script[] = { { .status = rows[i].status, .body = rows[i].body, .keep = true } };
        struct script_server *server = script_server_start(script, 1);
        struct cw_http *http = net_fixture_http(server, "");
        struct cw_jwks_cache *cache = cw_jwks_cache_new(tell_time);
        json_t *set = NULL;
        clock_us = 0;
        ck_assert_msg(cw_jwks_get(cache, http, script_server_url(server, "/keys"), CW_JWKS_ANY, &set, NULL) == rows[i].code, "row %zu", i);
        ck_assert((set != NULL) == (rows[i].code == CW_OK));
        json_decref(set);
        /* A server that has none to give is left in peace for a minute. */
        clock_us = 59 * CW_SECOND_US;
        set = NULL;
        ck_assert_int_eq(cw_jwks_get(cache, http, script_server_url(server, "/keys"), CW_JWKS_ANY, &set, NULL),
                         rows[i].code == CW_OK ? CW_OK : CW_E_LIMITED);
        json_decref(set);
        ck_assert_uint_eq(script_server_count(server), 1);
        cw_jwks_cache_free(cache);
        cw_http_free(http);
        script_server_stop(server);
    }
}
END_TEST

/* Asks at a time; true when the server was asked too. */
static bool asked_at(struct cw_jwks_cache *cache, struct cw_http *http, struct script_server *server, int64_t at_s,
                     enum cw_jwks_wish wish, enum cw_code expected)
{
    size_t before = script_server_count(server);
    json_t *set = NULL;
    clock_us = at_s * CW_SECOND_US;
    enum cw_code rc = cw_jwks_get(cache, http, script_server_url(server, "/keys"), wish, &set, NULL);
    ck_assert_msg(rc == expected, "at %lld s: %d", (long long)at_s, (int)rc);
    json_decref(set);
    return script_server_count(server) > before;
}

START_TEST(kept_key_sets)
{
    static const struct script_answer script[] = {
        { .path = "/keys", .body = "{\"keys\":[]}" },
        { .path = "/keys", .body = "{\"keys\":[]}", .headers = "Cache-Control: public, max-age=600\r\n" },
        { .path = "/keys", .body = "{\"keys\":[]}" },
        { .path = "/keys", .status = 500, .body = "", .keep = true },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_jwks_cache *cache = cw_jwks_cache_new(tell_time);
    ck_assert(asked_at(cache, http, server, 0, CW_JWKS_ANY, CW_OK));
    ck_assert(!asked_at(cache, http, server, 3599, CW_JWKS_ANY, CW_OK)); /* an hour where nothing is said */
    ck_assert(asked_at(cache, http, server, 3600, CW_JWKS_ANY, CW_OK));
    ck_assert(!asked_at(cache, http, server, 4199, CW_JWKS_ANY, CW_OK)); /* ten minutes where that is said */
    ck_assert(asked_at(cache, http, server, 4200, CW_JWKS_ANY, CW_OK));
    /* An unknown key: anew at most every five minutes. */
    ck_assert(!asked_at(cache, http, server, 4499, CW_JWKS_NEWER, CW_E_LIMITED));
    ck_assert(asked_at(cache, http, server, 4500, CW_JWKS_NEWER, CW_E_UPSTREAM));
    ck_assert(!asked_at(cache, http, server, 4799, CW_JWKS_NEWER, CW_E_LIMITED));
    /* The server is away: the old set serves on, until it is a day old. */
    ck_assert(asked_at(cache, http, server, 7800, CW_JWKS_ANY, CW_OK));
    ck_assert(!asked_at(cache, http, server, 7859, CW_JWKS_ANY, CW_OK));
    ck_assert(asked_at(cache, http, server, 4200 + 86399, CW_JWKS_ANY, CW_OK));
    ck_assert(asked_at(cache, http, server, 4200 + 86399 + 60, CW_JWKS_ANY, CW_E_UPSTREAM));
    cw_jwks_cache_free(cache);
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

START_TEST(bounded_key_sets)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{\"keys\":[]}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_jwks_cache *cache = cw_jwks_cache_new(tell_time);
    char path[32];
    json_t *set;
    for (unsigned i = 0; i <= CW_JWKS_CACHED_MAX; i++) { /* one more than there is room for */
        clock_us = i;
        (void)snprintf(path, sizeof path, "/%u", i);
        ck_assert_int_eq(cw_jwks_get(cache, http, script_server_url(server, path), CW_JWKS_ANY, &set, NULL), CW_OK);
        json_decref(set);
    }
    size_t before = script_server_count(server);
    ck_assert_int_eq(cw_jwks_get(cache, http, script_server_url(server, "/1"), CW_JWKS_ANY, &set, NULL), CW_OK);
    json_decref(set);
    ck_assert_uint_eq(script_server_count(server), before);
    ck_assert_int_eq(cw_jwks_get(cache, http, script_server_url(server, "/0"), CW_JWKS_ANY, &set, NULL), CW_OK); /* made room */
    json_decref(set);
    ck_assert_uint_eq(script_server_count(server), before + 1);
    cw_jwks_cache_free(cache);
    cw_http_free(http);
    script_server_stop(server);

    static const struct {
        const char *header;
        int64_t seconds;
    } rows[] = { { "", 3600 }, { "public", 3600 }, { "max-age=300", 300 }, { "max-age=0", 300 }, { "MAX-AGE = 7200", 7200 },
                 { "max-age=86401", 86400 }, { "max-age=99999999999999999999", 3600 }, { "no-store", 300 },
                 { "private, no-cache, max-age=9000", 300 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_jwks_good_for_s(cw_span_cstr(rows[i].header)) == rows[i].seconds, "row %zu", i);
    }
}
END_TEST

START_TEST(places_to_read_from)
{
    static const struct script_answer script[] = { { .body = "" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, ""); /* [net] allow: this server */
    struct cw_span pattern = CW_SPAN("*.clinic.example");
    const char *inside = script_server_url(server, "/keys");
    const char *same[] = { "", script_server_url(server, "/token") };
    const char *other[] = { "", "https://clinic.example/token" };
    struct cw_place_hosts none = { NULL, 0 };
    char host[64];
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", script_server_port(server));
    struct cw_span listed = cw_span_cstr(host);
    ck_assert(cw_place_may_read(http, "https://anywhere.example/keys", none, other, 2));
    ck_assert(!cw_place_may_read(http, inside, (struct cw_place_hosts){ &pattern, 1 }, other, 2));
    ck_assert(cw_place_may_read(http, inside, (struct cw_place_hosts){ &listed, 1 }, other, 2));
    ck_assert(cw_place_may_read(http, inside, none, same, 2));
    ck_assert(!cw_place_may_read(http, "ftp://x/", none, same, 2));
    ck_assert(cw_place_listed("https://a.clinic.example/x", (struct cw_place_hosts){ &pattern, 1 }));
    ck_assert(!cw_place_listed("https://clinic.example.evil/x", (struct cw_place_hosts){ &pattern, 1 }));
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

Suite *jwks_suite(void)
{
    Suite *suite = suite_create("jwks");
    TCase *tcase = tcase_create("jwks");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, key_sets);
    tcase_add_test(tcase, kept_key_sets);
    tcase_add_test(tcase, bounded_key_sets);
    tcase_add_test(tcase, places_to_read_from);
    suite_add_tcase(suite, tcase);
    return suite;
}
