/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that mean harm, and an environment that does: what has no end, what grows when it is unpacked, what asks the client to remember
 * something or to go elsewhere. Every row ends within its limits.
 */
#include "config.h"

#include "net/http.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"
#include "net_fixture.h"
#include "test_net.h"

static struct cw_http_response response;
static struct cw_err err;

static enum cw_code get(struct cw_http *http, const char *url, size_t body_max, unsigned total_ms)
{
    cw_http_response_release(&response);
    cw_http_response_init(&response);
    err = (struct cw_err){ .code = CW_OK };
    struct cw_http_request request = { .url = url, .body_max = body_max, .total_ms = total_ms };
    return cw_http_perform(http, &request, &response, &err);
}

static void done_with(struct cw_http *http, struct script_server *server)
{
    cw_http_free(http);
    script_server_stop(server);
    cw_http_response_release(&response);
    cw_http_response_init(&response);
}

/* A gzip member's head, and a deflate block that holds nothing and is not the last. */
#define GZIP_HEAD "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"
#define EMPTY_BLOCK "\x00\x00\x00\xff\xff"
#define GZIP_ANSWER "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" GZIP_HEAD

START_TEST(no_end)
{
    static const struct script_answer script[] = {
        { .path = "/early", .raw = "", .endless = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" },
        { .path = "/headers", .raw = "HTTP/1.1 200 OK\r\n", .endless = "X-A: b\r\n" },
        { .path = "/line", .raw = "HTTP/1.1 200 OK\r\nX-A: ", .endless = "bbbbbbbbbbbbbbbb" },
        { .path = "/status", .raw = "HTTP/1.1 200 ", .endless = "OKOKOKOKOKOKOKOK" },
        { .path = "/body", .raw = "HTTP/1.1 200 OK\r\n\r\n", .endless = "0123456789abcdef" },
        { .path = "/trailers", .raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", .endless = "X-A: b\r\n" },
        { .path = "/blocks", .raw = GZIP_ANSWER, .raw_len = sizeof GZIP_ANSWER - 1, .endless = EMPTY_BLOCK,
          .endless_len = sizeof EMPTY_BLOCK - 1 },
        { .path = "/slow-headers", .raw = "HTTP/1.1 200 OK\r\n", .endless = "X-A: b\r\n", .drip_ms = 20 },
        { .path = "/slow-body", .raw = "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", .endless = "x", .drip_ms = 20 },
    };
    static const struct {
        const char *path;
        enum cw_code code;
    } rows[] = {
        { "/early", CW_E_TOO_BIG },        { "/headers", CW_E_TOO_BIG },     { "/line", CW_E_TOO_BIG },
        { "/status", CW_E_TOO_BIG },       { "/body", CW_E_TOO_BIG },        { "/trailers", CW_E_TOO_BIG },
        { "/blocks", CW_E_TOO_BIG },       { "/slow-headers", CW_E_TIMEOUT }, { "/slow-body", CW_E_TIMEOUT },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        int64_t before = cw_monotonic_us();
        unsigned total_ms = rows[i].code == CW_E_TIMEOUT ? 400 : 20000;
        enum cw_code rc = get(http, script_server_url(server, rows[i].path), 100000, total_ms);
        ck_assert_msg(rc == rows[i].code, "row %zu %s: %d %s", i, rows[i].path, (int)rc, err.text);
        ck_assert_int_lt(cw_monotonic_us() - before, 10 * CW_SECOND_US);
        ck_assert_uint_le(response.headers.len, CW_HTTP_HEADERS_MAX);
    }
    done_with(http, server);
}
END_TEST

/* gzip of "{}"; the same again around it; brotli of "{}". */
#define GZIP_OBJECT "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00"
#define BROTLI_OBJECT "\x8b\x00\x80{}\x03"

START_TEST(codings)
{
    static const struct script_answer script[] = {
        { .path = "/gzip", .body = GZIP_OBJECT, .body_len = sizeof GZIP_OBJECT - 1, .headers = "Content-Encoding: gzip\r\n" },
        { .path = "/x-gzip", .body = GZIP_OBJECT, .body_len = sizeof GZIP_OBJECT - 1, .headers = "content-encoding: X-GZIP\r\n" },
        { .path = "/identity", .body = "{}", .headers = "Content-Encoding: identity\r\n" },
        { .path = "/list", .body = GZIP_OBJECT, .body_len = sizeof GZIP_OBJECT - 1, .gzip = true, .headers = "Content-Encoding: gzip\r\n" },
        { .path = "/comma", .body = GZIP_OBJECT, .body_len = sizeof GZIP_OBJECT - 1, .headers = "Content-Encoding: identity, gzip\r\n" },
        { .path = "/br", .body = BROTLI_OBJECT, .body_len = sizeof BROTLI_OBJECT - 1, .headers = "Content-Encoding: br\r\n" },
        { .path = "/unknown", .body = "{}", .headers = "Content-Encoding: rot13\r\n" },
        { .path = "/unlabelled", .body = GZIP_OBJECT, .body_len = sizeof GZIP_OBJECT - 1 },
    };
    static const struct {
        const char *path;
        enum cw_code code;
        size_t len;
    } rows[] = {
        { "/gzip", CW_OK, 2 },          { "/x-gzip", CW_OK, 2 },        { "/identity", CW_OK, 2 },
        { "/list", CW_E_UPSTREAM, 0 },  { "/comma", CW_E_UPSTREAM, 0 }, { "/br", CW_E_UPSTREAM, 0 },
        { "/unknown", CW_E_UPSTREAM, 0 }, { "/unlabelled", CW_OK, sizeof GZIP_OBJECT - 1 },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_code rc = get(http, script_server_url(server, rows[i].path), 1000, 0);
        ck_assert_msg(rc == rows[i].code, "row %zu %s: %d %s", i, rows[i].path, (int)rc, err.text);
        ck_assert_msg(response.body.len == rows[i].len, "row %zu: %zu", i, response.body.len);
    }
    done_with(http, server);
}
END_TEST

/* A thousand to one is a bomb though its end would still fit; forty to one is a page of a hospital. */
START_TEST(ratio)
{
    static char zeros[65536];
    memset(zeros, '0', sizeof zeros);
    static char page[65536];
    for (size_t i = 0; i < sizeof page; i++) {
        page[i] = (char)('0' + (i % 64 == 0 ? (i / 64 * 2654435761u) >> 16 & 7 : i % 7));
    }
    static struct script_answer script[] = {
        { .path = "/bomb", .body = zeros, .body_len = sizeof zeros, .repeat = 600, .gzip = true },
        { .path = "/page", .body = page, .body_len = sizeof page, .repeat = 300, .gzip = true },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/bomb"), CW_FHIR_PAGE_MAX, 0), CW_E_TOO_BIG);
    ck_assert_uint_lt(response.body.len, (size_t)32 << 20);
    ck_assert_int_eq(get(http, script_server_url(server, "/page"), CW_FHIR_PAGE_MAX, 0), CW_OK);
    ck_assert_uint_eq(response.body.len, sizeof page * 301);
    done_with(http, server);
}
END_TEST

/* Cookies, strict transport security and alternative services are for browsers: nothing of an answer reaches the next request. */
START_TEST(answers_leave_nothing_behind)
{
    static const struct script_answer script[] = {
        { .keep = true, .body = "{}",
          .headers = "Set-Cookie: session=1; Path=/\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
                     "Alt-Svc: h2=\"127.0.0.1:9\"; ma=86400\r\nRefresh: 0; url=https://evil.example/\r\n"
                     "WWW-Authenticate: Basic realm=\"x\"\r\n" },
    };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(get(http, script_server_url(server, "/"), 100, 0), CW_OK);
        ck_assert_ptr_null(script_request_header(script_server_request(server, i), "Cookie"));
        ck_assert_ptr_null(script_request_header(script_server_request(server, i), "Authorization"));
    }
    ck_assert_uint_eq(script_server_count(server), 3);
    done_with(http, server);
}
END_TEST

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(cw_file_replace(path, 0600, cw_span_cstr(text), NULL), CW_OK);
}

/* Files that the curl program, or a library on its own, would read from the home of whoever starts us. */
START_TEST(home_is_not_read)
{
    char home[] = "/tmp/cw-home-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(home));
    write_file(home, ".netrc", "machine 127.0.0.1 login user password secret\ndefault login user password secret\n");
    write_file(home, ".curlrc", "user = user:secret\nproxy = http://127.0.0.1:9\n");
    static const char *const names[] = { "HOME", "CURL_HOME", "XDG_CONFIG_HOME" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        ck_assert_int_eq(setenv(names[i], home, 1), 0);
    }
    static const struct script_answer script[] = { { .status = 401, .keep = true, .headers = "WWW-Authenticate: Basic\r\n" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100, 0), CW_OK);
    ck_assert_int_eq(response.status, 401);
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_ptr_null(script_request_header(script_server_request(server, 0), "Authorization"));
    done_with(http, server);
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", home, i == 0 ? ".netrc" : ".curlrc");
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_int_eq(rmdir(home), 0);
}
END_TEST

Suite *hostile_suite(void)
{
    Suite *suite = suite_create("hostile");
    TCase *tcase = tcase_create("hostile");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, no_end);
    tcase_add_test(tcase, codings);
    tcase_add_test(tcase, ratio);
    tcase_add_test(tcase, answers_leave_nothing_behind);
    tcase_add_test(tcase, home_is_not_read);
    suite_add_tcase(suite, tcase);
    return suite;
}
