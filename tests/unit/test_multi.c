/* SPDX-License-Identifier: Apache-2.0 */
/* net/multi: many at once, each `done` exactly once, whatever ends them. */
#include "config.h"

#include "net/http.h"

#include <pthread.h>

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"
#include "net_fixture.h"
#include "test_net.h"

struct outcome {
    unsigned calls;
    enum cw_code code;
    long status;
    size_t body_len;
    size_t chunk_bytes;
    size_t stop_after; /* 0: never */
    struct cw_http_multi *multi;
    const char *then;  /* one more request, added from `done` */
    struct outcome *then_outcome;
};

static void on_done(void *arg, enum cw_code code, struct cw_http_response *response, const struct cw_err *err)
{
    struct outcome *o = arg;
    o->calls++;
    o->code = code;
    o->status = response->status;
    o->body_len = response->body.len;
    ck_assert(code == CW_OK || err->code == code);
    if (o->then != NULL) {
        struct cw_http_request request = { .url = o->then, .body_max = 1000 };
        ck_assert_int_eq(cw_http_multi_add(o->multi, &request, NULL, on_done, o->then_outcome, NULL), CW_OK);
    }
}

static bool on_chunk(void *arg, struct cw_span bytes)
{
    struct outcome *o = arg;
    o->chunk_bytes += bytes.len;
    return o->stop_after == 0 || o->chunk_bytes < o->stop_after;
}

static struct cw_http_multi *multi_for(const struct script_server *server)
{
    struct cw_config *config = net_fixture_config(server, "");
    struct cw_http_multi *multi = NULL;
    ck_assert_int_eq(cw_http_multi_new(config, &multi, NULL), CW_OK);
    cw_config_free(config);
    return multi;
}

static void add(struct cw_http_multi *multi, const struct cw_http_request *request, cw_http_chunk_fn *chunk,
                struct outcome *o)
{
    struct cw_err err = { 0 };
    o->multi = multi;
    ck_assert_msg(cw_http_multi_add(multi, request, chunk, on_done, o, &err) == CW_OK, "%s", err.text);
}

START_TEST(many_at_once)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    static struct script_answer script[] = {
        { .path = "/ok", .keep = true, .body = "{\"ok\":true}" },
        { .path = "/big", .keep = true, .body = text, .repeat = 100, .gzip = true },
        { .path = "/cut", .keep = true, .body = text, .cut_at = 10 },
        { .path = "/go", .keep = true, .status = 302, .headers = "Location: /ok\r\n" },
        { .path = "/inside", .keep = true, .status = 302, .headers = "Location: https://10.0.0.1/\r\n" },
        { .path = "/hold", .keep = true, .hold = true },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http_multi *multi = multi_for(server);
    static const struct {
        const char *path;
        unsigned redirects;
        unsigned total_ms;
        bool chunked;
        size_t stop_after;
        enum cw_code code;
        long status;
        size_t body_len;
        size_t chunk_bytes;
    } rows[] = {
        { "/ok", 0, 0, false, 0, CW_OK, 200, 11, 0 },
        { "/big", 0, 0, false, 0, CW_E_TOO_BIG, 200, 0, 0 },
        { "/cut", 0, 0, false, 0, CW_E_UNAVAILABLE, 200, 10, 0 },
        { "/go", 1, 0, false, 0, CW_OK, 200, 11, 0 },
        { "/go", 0, 0, false, 0, CW_OK, 302, 0, 0 },
        { "/inside", 1, 0, false, 0, CW_E_BLOCKED, 0, 0, 0 },
        { "/hold", 0, 150, false, 0, CW_E_TIMEOUT, 0, 0, 0 },
        { "/ok", 0, 0, true, 0, CW_OK, 200, 0, 11 },
        { "/ok", 0, 0, true, 5, CW_E_STOPPED, 200, 0, 11 },
    };
    struct outcome outcomes[CW_ARRAY_LEN(rows)] = { 0 };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_http_request request = { .url = script_server_url(server, rows[i].path), .redirects = rows[i].redirects,
                                           .total_ms = rows[i].total_ms, .body_max = 3000, .bearer = CW_SPAN("tok") };
        outcomes[i].stop_after = rows[i].stop_after;
        add(multi, &request, rows[i].chunked ? on_chunk : NULL, &outcomes[i]);
    }
    while (cw_http_multi_run(multi, 1000) > 0) {
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(outcomes[i].calls == 1, "row %zu", i);
        ck_assert_msg(outcomes[i].code == rows[i].code, "row %zu: %d", i, (int)outcomes[i].code);
        ck_assert_msg(outcomes[i].status == rows[i].status, "row %zu: %ld", i, outcomes[i].status);
        ck_assert_msg(rows[i].code == CW_E_TOO_BIG || outcomes[i].body_len == rows[i].body_len, "row %zu", i);
        ck_assert_msg(outcomes[i].chunk_bytes == rows[i].chunk_bytes, "row %zu", i);
    }
    /* The hop after a redirect went without the token. */
    size_t without = 0;
    for (size_t i = 0; i < script_server_count(server); i++) {
        without += script_request_header(script_server_request(server, i), "Authorization") == NULL ? 1 : 0;
    }
    ck_assert_uint_eq(without, 1);
    cw_http_multi_free(multi);
    script_server_stop(server);
}
END_TEST

START_TEST(done_may_add)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http_multi *multi = multi_for(server);
    struct outcome second = { 0 };
    struct outcome first = { .then = script_server_url(server, "/2"), .then_outcome = &second };
    struct cw_http_request request = { .url = script_server_url(server, "/1"), .body_max = 10 };
    add(multi, &request, NULL, &first);
    while (cw_http_multi_run(multi, 1000) > 0) {
    }
    ck_assert_uint_eq(first.calls, 1);
    ck_assert_uint_eq(second.calls, 1);
    cw_http_multi_free(multi);
    script_server_stop(server);
}
END_TEST

START_TEST(refused_at_once)
{
    struct cw_http_multi *multi = multi_for(NULL);
    struct outcome o = { 0 };
    struct cw_http_request blocked = { .url = "http://127.0.0.1:1/", .body_max = 10 };
    ck_assert_int_eq(cw_http_multi_add(multi, &blocked, NULL, on_done, &o, NULL), CW_E_BLOCKED);
    struct cw_http_request bad = { .url = "nonsense", .body_max = 10 };
    ck_assert_int_eq(cw_http_multi_add(multi, &bad, NULL, on_done, &o, NULL), CW_E_SYNTAX);
    struct cw_http_request late = { .url = "https://localhost/", .body_max = 10 };
    add(multi, &late, NULL, &o);
    while (cw_http_multi_run(multi, 1000) > 0) {
    }
    ck_assert_uint_eq(o.calls, 1);
    ck_assert_int_eq(o.code, CW_E_BLOCKED);
    cw_http_multi_free(multi);
}
END_TEST

START_TEST(end_stops_what_runs)
{
    static const struct script_answer script[] = { { .keep = true, .hold = true } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http_multi *multi = multi_for(server);
    struct outcome a = { 0 };
    struct outcome b = { 0 };
    struct cw_http_request request = { .url = script_server_url(server, "/"), .body_max = 10 };
    add(multi, &request, NULL, &a);
    add(multi, &request, NULL, &b);
    ck_assert_uint_eq(cw_http_multi_run(multi, 20), 2);
    cw_http_multi_free(multi);
    ck_assert_uint_eq(a.calls, 1);
    ck_assert_int_eq(a.code, CW_E_STOPPED);
    ck_assert_uint_eq(b.calls, 1);
    script_server_stop(server);
}
END_TEST

static void *wake(void *arg)
{
    cw_http_multi_wake(arg);
    return NULL;
}

START_TEST(wake_from_another_thread)
{
    struct cw_http_multi *multi = multi_for(NULL);
    pthread_t thread;
    int64_t before = cw_monotonic_us();
    ck_assert_int_eq(pthread_create(&thread, NULL, wake, multi), 0);
    ck_assert_uint_eq(cw_http_multi_run(multi, 20000), 0);
    ck_assert_int_lt(cw_monotonic_us() - before, 10 * CW_SECOND_US);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(cw_http_multi_run(multi, 1), 0);
    cw_http_multi_free(multi);
}
END_TEST

Suite *multi_suite(void)
{
    Suite *suite = suite_create("multi");
    TCase *tcase = tcase_create("multi");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, many_at_once);
    tcase_add_test(tcase, done_may_add);
    tcase_add_test(tcase, refused_at_once);
    tcase_add_test(tcase, end_stops_what_runs);
    tcase_add_test(tcase, wake_from_another_thread);
    suite_add_tcase(suite, tcase);
    return suite;
}
