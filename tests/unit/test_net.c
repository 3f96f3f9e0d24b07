/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net/http against a scripted loopback server: what is sent, what is refused before and after resolution, and that every limit
 * holds against answers that are huge, cut, slow or lying.
 */
#include "config.h"

#include "net/http.h"
#include "net/wait.h"

#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "check_main.h"
#include "net_fixture.h"
#include "test_net.h"

static struct cw_http_response response;
static struct cw_err err;

static void fresh(void)
{
    cw_http_response_release(&response);
    cw_http_response_init(&response);
    err = (struct cw_err){ .code = CW_OK };
}

static enum cw_code get(struct cw_http *http, const char *url, size_t body_max)
{
    fresh();
    struct cw_http_request request = { .url = url, .body_max = body_max };
    return cw_http_perform(http, &request, &response, &err);
}

static void done_with(struct cw_http *http, struct script_server *server)
{
    cw_http_free(http);
    script_server_stop(server);
    cw_http_response_release(&response);
    cw_http_response_init(&response);
}

START_TEST(get_and_headers)
{
    static const struct script_answer script[] = {
        { .status = 418, .body = "{\"a\":1}", .headers = "X-One: 1\r\nx-two:  two \r\nRetry-After: 7\r\n" },
        { .headers = "Retry-After: 99999999\r\n" },
        { .headers = "Retry-After: soon\r\n" },
        { .headers = "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n" },
        { .raw = "HTTP/1.1 103 Early\r\nX-One: early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: late\r\n\r\nok" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/p?q=1"), 100), CW_OK);
    ck_assert_int_eq(response.status, 418);
    ck_assert_str_eq(cw_str_cstr(&response.body), "{\"a\":1}");
    ck_assert(cw_span_eq_cstr(cw_http_header_get(&response, "x-ONE"), "1"));
    ck_assert(cw_span_eq_cstr(cw_http_header_get(&response, "X-Two"), "two"));
    ck_assert_ptr_null(cw_http_header_get(&response, "X-Three").ptr);
    ck_assert_int_eq(response.retry_after_s, 7);
    ck_assert(response.request_sent);
    ck_assert_int_ge(response.took_us, 1);
    ck_assert_str_eq(cw_str_cstr(&response.final_url), script_server_url(server, "/p?q=1"));
    const struct script_request *got = script_server_request(server, 0);
    ck_assert_str_eq(got->method, "GET");
    ck_assert_str_eq(got->target, "/p?q=1");
    ck_assert_str_eq(script_request_header(got, "Accept"), "application/json");
    ck_assert_str_eq(script_request_header(got, "Accept-Encoding"), "gzip");
    ck_assert_ptr_null(script_request_header(got, "Authorization"));
    ck_assert_ptr_null(script_request_header(got, "Cookie"));

    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert_int_eq(response.retry_after_s, 86400);
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert_int_eq(response.retry_after_s, -1);
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert_int_eq(response.retry_after_s, 0);
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert(cw_span_eq_cstr(cw_http_header_get(&response, "X-One"), "late"));
    done_with(http, server);
}
END_TEST

START_TEST(post_credentials_and_methods)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_http_header extra[] = { { "X-Extra", CW_SPAN("yes") } };
    struct cw_http_request request = {
        .method = CW_HTTP_POST, .url = script_server_url(server, "/token"), .body = CW_SPAN("a=b&c=%2B"),
        .content_type = "application/x-www-form-urlencoded", .basic = CW_SPAN("id:secret"), .headers = extra,
        .header_count = 1, .accept = "application/fhir+json", .body_max = 10,
    };
    fresh();
    ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_OK);
    const struct script_request *got = script_server_request(server, 0);
    ck_assert_str_eq(got->method, "POST");
    ck_assert_str_eq(got->body, "a=b&c=%2B");
    ck_assert_str_eq(script_request_header(got, "Content-Type"), "application/x-www-form-urlencoded");
    ck_assert_str_eq(script_request_header(got, "Authorization"), "Basic aWQ6c2VjcmV0");
    ck_assert_str_eq(script_request_header(got, "Accept"), "application/fhir+json");
    ck_assert_str_eq(script_request_header(got, "X-Extra"), "yes");
    ck_assert_ptr_null(script_request_header(got, "Expect"));

    static const struct {
        enum cw_http_method method;
        const char *name;
    } methods[] = { { CW_HTTP_PUT, "PUT" }, { CW_HTTP_DELETE, "DELETE" }, { CW_HTTP_HEAD, "HEAD" }, { CW_HTTP_POST, "POST" } };
    for (size_t i = 0; i < CW_ARRAY_LEN(methods); i++) {
        fresh();
        struct cw_http_request plain = { .method = methods[i].method, .url = request.url, .body_max = 10,
                                         .bearer = CW_SPAN("tok") };
        ck_assert_msg(cw_http_perform(http, &plain, &response, &err) == CW_OK, "%s: %s", methods[i].name, err.text);
        got = script_server_request(server, i + 1);
        ck_assert_str_eq(got->method, methods[i].name);
        ck_assert_str_eq(script_request_header(got, "Authorization"), "Bearer tok");
        ck_assert_ptr_null(script_request_header(got, "X-Extra"));
        ck_assert_uint_eq(got->body_len, 0);
    }
    done_with(http, server);
}
END_TEST

START_TEST(blocked_addresses)
{
    static const char *const urls[] = {
        "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest",
        "https://100.64.1.1/", "https://10.0.0.1/", "https://192.168.1.1/", "https://172.20.0.1/", "https://0.0.0.0/",
        "https://[fd00::1]/", "https://[fe80::1]/", "https://[64:ff9b::7f00:1]/", "https://224.0.0.1/",
        "https://localhost/", "http://localhost/", "http://8.8.8.8/", "https://8.8.8.8:8443/",
        "https://LOCALHOST/", "https://017700000001/", "https://0x7f.1/",
        "https://0177.1/", "https://127.0.1/", "https://0/", "https://255.255.255.255/", "https://4294967295/", "https://[::]/",
        "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[2002:7f00:1::]/",
        "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "https://[64:ff9b:1::7f00:1]/", "https://[fd00:ec2::254]/",
        "https://[ff02::1]/", "https://[fe80::1]/latest", "https://192.0.0.192/", "https://100.100.100.200/",
    };
    struct cw_http *http = net_fixture_http(NULL, "");
    for (size_t i = 0; i < CW_ARRAY_LEN(urls); i++) {
        enum cw_code rc = get(http, urls[i], 100);
        ck_assert_msg(rc == CW_E_BLOCKED, "row %zu %s: %s", i, urls[i], err.text);
        ck_assert(!response.request_sent);
        ck_assert_int_eq(response.status, 0);
    }
    done_with(http, NULL);
}
END_TEST

START_TEST(only_the_allowed_port)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *listed = script_server_start(script, 1);
    struct script_server *other = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(listed, "");
    ck_assert_int_eq(get(http, script_server_url(listed, "/"), 100), CW_OK);
    ck_assert_int_eq(get(http, script_server_url(other, "/"), 100), CW_E_BLOCKED);
    CW_AUTO_STR by_name;
    cw_str_init(&by_name, 100);
    (void)cw_str_addf(&by_name, "http://localhost:%u/", script_server_port(listed));
    ck_assert_int_eq(get(http, cw_str_cstr(&by_name), 100), CW_E_BLOCKED);
    ck_assert_uint_eq(script_server_count(other), 0);
    ck_assert_uint_eq(script_server_count(listed), 1);
    script_server_stop(other);
    done_with(http, listed);
}
END_TEST

START_TEST(redirects)
{
    static struct script_answer script[] = {
        { .path = "/go", .keep = true, .status = 302, .headers = "Location: /end?x=1\r\n" },
        { .path = "/end", .keep = true, .body = "{\"end\":true}" },
        { .path = "/in", .keep = true, .status = 307, .headers = "Location: https://127.0.0.1/x\r\n" },
        { .path = "/meta", .keep = true, .status = 301, .headers = "Location: http://169.254.169.254/latest\r\n" },
        { .path = "/loop", .keep = true, .status = 308, .headers = "Location: /loop\r\n" },
        { .path = "/file", .keep = true, .status = 302, .headers = "Location: file:///etc/passwd\r\n" },
        { .path = "/user", .keep = true, .status = 302, .headers = "Location: http://u:p@127.0.0.1/\r\n" },
        { .path = "/nowhere", .keep = true, .status = 302 },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_http_header extra[] = { { "X-Extra", CW_SPAN("yes") } };
    struct cw_http_request request = { .url = script_server_url(server, "/go"), .body_max = 100, .redirects = 3,
                                       .bearer = CW_SPAN("token"), .headers = extra, .header_count = 1 };
    fresh();
    ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_OK);
    ck_assert_int_eq(response.status, 200);
    ck_assert_str_eq(cw_str_cstr(&response.body), "{\"end\":true}");
    ck_assert_str_eq(cw_str_cstr(&response.final_url), script_server_url(server, "/end?x=1"));
    ck_assert_str_eq(script_request_header(script_server_request(server, 0), "Authorization"), "Bearer token");
    ck_assert_ptr_null(script_request_header(script_server_request(server, 1), "Authorization"));
    ck_assert_ptr_null(script_request_header(script_server_request(server, 1), "X-Extra"));
    ck_assert_str_eq(script_request_header(script_server_request(server, 1), "Accept"), "application/json");

    static const struct {
        const char *path;
        unsigned redirects;
        enum cw_code code;
        long status;
        size_t requests;
    } rows[] = {
        { "/go", 0, CW_OK, 302, 1 },
        { "/in", 3, CW_E_BLOCKED, 0, 1 },
        { "/meta", 3, CW_E_BLOCKED, 0, 1 },
        { "/loop", 2, CW_OK, 308, 3 },
        { "/loop", 100, CW_OK, 308, 1 + CW_REDIRECTS_MAX },
        { "/file", 3, CW_E_SYNTAX, 302, 1 },
        { "/user", 3, CW_E_SYNTAX, 302, 1 },
        { "/nowhere", 3, CW_OK, 302, 1 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        size_t before = script_server_count(server);
        fresh();
        struct cw_http_request row = { .url = script_server_url(server, rows[i].path), .body_max = 100,
                                       .redirects = rows[i].redirects };
        ck_assert_msg(cw_http_perform(http, &row, &response, &err) == rows[i].code, "row %zu: %s", i, err.text);
        ck_assert_msg(response.status == rows[i].status, "row %zu: %ld", i, response.status);
        ck_assert_msg(script_server_count(server) - before == rows[i].requests, "row %zu", i);
    }
    fresh();
    struct cw_http_request post = { .method = CW_HTTP_POST, .url = script_server_url(server, "/go"), .body_max = 100,
                                    .redirects = 3 };
    ck_assert_int_eq(cw_http_perform(http, &post, &response, &err), CW_OK);
    ck_assert_int_eq(response.status, 302);
    done_with(http, server);
}
END_TEST

/* What [net] allow lists is allowed for itself, not as the place that another server leads to. */
START_TEST(a_redirect_leads_to_no_listed_place)
{
    static const struct script_answer script[] = { { .keep = true, .status = 302, .headers = "Location: https://127.0.0.9:8443/x\r\n" } };
    struct script_server *server = script_server_start(script, 1);
    char text[256];
    struct cw_config *config = NULL;
    struct cw_http *http = NULL;
    snprintf(text, sizeof text, "[server]\norigin = https://chartway.example\n[vault]\nmaster_keys = a=/x\n[net]\nallow = 127.0.0.1:%u 127.0.0.9:8443\n",
             script_server_port(server));
    ck_assert_int_eq(cw_config_parse(cw_span_cstr(text), &config, &err), CW_OK);
    ck_assert_int_eq(cw_http_new(config, &http, &err), CW_OK);
    cw_config_free(config);
    struct cw_http_request request = { .url = script_server_url(server, "/"), .body_max = 100, .redirects = 3 };
    fresh();
    ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_E_BLOCKED);
    ck_assert_ptr_nonnull(strstr(err.text, "internal place"));
    ck_assert_uint_eq(script_server_count(server), 1);
    done_with(http, server);
}
END_TEST

START_TEST(body_limits)
{
    static char text[2001];
    memset(text, 'x', 2000);
    static struct script_answer script[] = {
        { .path = "/plain", .keep = true, .body = text, .body_len = 1000 },
        { .path = "/chunked", .keep = true, .body = text, .body_len = 1000, .chunked = true },
        { .path = "/gzip", .keep = true, .body = text, .body_len = 1000, .gzip = true },
        { .path = "/bomb", .keep = true, .body = text, .body_len = 2000, .repeat = 20000, .gzip = true, .chunked = true },
        { .path = "/notgzip", .keep = true, .body = "plain", .headers = "Content-Encoding: gzip\r\n" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    static const char *const paths[] = { "/plain", "/chunked", "/gzip" };
    for (size_t i = 0; i < CW_ARRAY_LEN(paths); i++) {
        ck_assert_int_eq(get(http, script_server_url(server, paths[i]), 1001), CW_OK);
        ck_assert_uint_eq(response.body.len, 1000);
        ck_assert_int_eq(get(http, script_server_url(server, paths[i]), 1000), CW_OK);
        ck_assert_uint_eq(response.body.len, 1000);
        ck_assert_int_eq(get(http, script_server_url(server, paths[i]), 999), CW_E_TOO_BIG);
        ck_assert_uint_le(response.body.cap, 4096);
    }
    ck_assert_int_eq(get(http, script_server_url(server, "/bomb"), 100000), CW_E_TOO_BIG); /* 40 MB in 40 kB */
    ck_assert_uint_le(response.body.len, 100000);
    ck_assert_int_eq(get(http, script_server_url(server, "/notgzip"), 100), CW_E_UPSTREAM);
    done_with(http, server);
}
END_TEST

START_TEST(header_limits)
{
    static char headers[CW_HTTP_HEADERS_MAX + 100];
    size_t len = 0;
    while (len < CW_HTTP_HEADERS_MAX) {
        memcpy(headers + len, "X-Pad: 0123456789012345678901234567890\r\n", 40);
        len += 40;
    }
    headers[len] = '\0';
    static char half[CW_HTTP_HEADERS_MAX / 2];
    memcpy(half, headers, 30000);
    static struct script_answer script[] = {
        { .path = "/big", .headers = headers, .body = "{}" },
        { .path = "/ok", .headers = half, .body = "{}" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/big"), 100), CW_E_TOO_BIG);
    ck_assert_int_eq(get(http, script_server_url(server, "/ok"), 100), CW_OK);
    done_with(http, server);
}
END_TEST

START_TEST(header_values_are_clean)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    static const struct cw_span bad[] = { { "a\r\nX-Evil: 1", 12 }, { "a\nb", 3 }, { "a\rb", 3 }, { "a\0b", 3 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        struct cw_http_header header = { "X-Data", bad[i] };
        struct cw_http_request request = { .url = script_server_url(server, "/"), .body_max = 10, .headers = &header,
                                           .header_count = 1 };
        fresh();
        ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_E_RANGE);
        struct cw_http_request bearer = { .url = request.url, .body_max = 10, .bearer = bad[i] };
        fresh();
        ck_assert_int_eq(cw_http_perform(http, &bearer, &response, &err), CW_E_RANGE);
    }
    ck_assert_uint_eq(script_server_count(server), 0);
    done_with(http, server);
}
END_TEST

START_TEST(broken_answers)
{
    static const struct script_answer script[] = {
        { .path = "/cut", .keep = true, .body = "0123456789", .cut_at = 5 },
        { .path = "/cutchunk", .keep = true, .body = "0123456789", .cut_at = 5, .chunked = true },
        { .path = "/nothing", .keep = true, .cut_at = -1 },
        { .path = "/garbage", .keep = true, .raw = "SSH-2.0-OpenSSH_9.2\r\n" },
        { .path = "/hold", .keep = true, .hold = true },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/cut"), 100), CW_E_UNAVAILABLE);
    ck_assert(response.request_sent);
    ck_assert_int_eq(get(http, script_server_url(server, "/cutchunk"), 100), CW_E_UNAVAILABLE);
    ck_assert_int_eq(get(http, script_server_url(server, "/nothing"), 100), CW_E_UNAVAILABLE);
    ck_assert(response.request_sent);
    ck_assert_int_eq(get(http, script_server_url(server, "/garbage"), 100), CW_E_UPSTREAM);
    struct cw_http_request request = { .url = script_server_url(server, "/hold"), .body_max = 10, .total_ms = 150 };
    fresh();
    ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_E_TIMEOUT);
    ck_assert(response.request_sent);
    ck_assert_int_lt(response.took_us, 5 * CW_SECOND_US);
    ck_assert_ptr_nonnull(strstr(err.text, "127.0.0.1"));
    ck_assert_ptr_null(strstr(err.text, "hold"));
    done_with(http, server);
}
END_TEST

START_TEST(nobody_listens)
{
    static const struct script_answer script[] = { { .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    const char *url = script_server_url(server, "/secret?token=x");
    script_server_stop(server);
    ck_assert_int_eq(get(http, url, 100), CW_E_UNAVAILABLE);
    ck_assert(!response.request_sent);
    ck_assert_ptr_null(strstr(err.text, "secret"));
    ck_assert_int_eq(get(http, "no url", 100), CW_E_SYNTAX);
    done_with(http, NULL);
}
END_TEST

START_TEST(environment_is_ignored)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct script_server *proxy = script_server_start(script, 1);
    static const char *const names[] = { "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        ck_assert_int_eq(setenv(names[i], script_server_url(proxy, ""), 1), 0);
    }
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_uint_eq(script_server_count(proxy), 0);
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        ck_assert_int_eq(unsetenv(names[i]), 0);
    }
    script_server_stop(proxy);
    done_with(http, server);
}
END_TEST

START_TEST(connections_are_kept_unless_asked)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{}" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    static const struct {
        bool fresh;
        unsigned connection;
    } rows[] = { { false, 1 }, { false, 1 }, { true, 2 }, { false, 1 }, { true, 3 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        fresh();
        struct cw_http_request request = { .url = script_server_url(server, "/"), .body_max = 10,
                                           .fresh_connection = rows[i].fresh };
        ck_assert_int_eq(cw_http_perform(http, &request, &response, &err), CW_OK);
        ck_assert_msg(script_server_request(server, i)->connection == rows[i].connection, "row %zu", i);
    }
    done_with(http, server);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- when to come again */

START_TEST(later_as_a_date)
{
    char headers[80];
    time_t at = time(NULL) + 90;
    struct tm parts;
    (void)strftime(headers, sizeof headers, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&at, &parts));
    const struct script_answer script[] = { { .status = 503, .headers = headers, .body = "" } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "");
    ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
    ck_assert_int_ge(response.retry_after_s, 85);
    ck_assert_int_le(response.retry_after_s, 90);
    ck_assert_int_eq(cw_http_wait_s(&response, cw_now_us()), response.retry_after_s);
    done_with(http, server);
}
END_TEST

#define NOW_US (INT64_C(1800000000) * CW_SECOND_US)

static const struct {
    const char *text;
    long seconds;
} said[] = {
    { "Rate limit is exceeded. Try again in 53 seconds.", 53 },
    { "{\"statusCode\":429,\"message\":\"Rate limit exceeded, TRY AGAIN IN 2 minutes\"}", 120 },
    { "Please wait 30s", 30 },
    { "wait for another 1 hour", 3600 },
    { "retry after: 12", 12 },
    { "{\"retryAfter\":7}", 7 },
    { "Quota resets in 1.5 s", 2 },
    { "quota will be replenished in 00:10", 0 },
    { "again in 1500 ms", 2 },
    { "try again in 99999999999999999999999 seconds", 86400 },
    { "try again in 999999 hours", 86400 },
    { "try again in 5 days", -1 },
    { "try again later. 53 seconds", -1 },
    { "try again in <b>5</b>", -1 },
    { "again in", -1 },
    { "again in 5", 5 },
    { "53 seconds", -1 },
    { "", -1 },
};

START_TEST(later_in_words)
{
    ck_assert_msg(cw_wait_of_words(cw_span_cstr(said[_i].text)) == said[_i].seconds, "%s: %ld", said[_i].text, cw_wait_of_words(cw_span_cstr(said[_i].text)));
}
END_TEST

static const struct {
    const char *value;
    long seconds;
} resets[] = {
    { "50", 50 },
    { " 1800000060 ", 60 },
    { "1800000060000", 60 },
    { "1799999000", 0 },
    { "9000000000", 86400 },
    { "99999999999999999999999", 86400 },
    { "limit=100, remaining=0, reset=17", 17 },
    { "\"default\";r=0;t=9", 9 },
    { "1.5", 1 },
    { "2026-01-01T00:00:00Z", -1 },
    { "soon", -1 },
    { "", -1 },
};

START_TEST(later_in_a_reset)
{
    ck_assert_msg(cw_wait_of_reset(cw_span_cstr(resets[_i].value), NOW_US) == resets[_i].seconds, "%s: %ld", resets[_i].value,
                  cw_wait_of_reset(cw_span_cstr(resets[_i].value), NOW_US));
}
END_TEST

START_TEST(a_reset_counts_where_a_limit_was_met)
{
    static const struct script_answer script[] = {
        { .status = 429, .headers = "X-RateLimit-Reset: 5\r\n", .body = "try again in 9 seconds" },
        { .status = 403, .headers = "X-RateLimit-Reset: 5\r\n", .body = "try again in 9 seconds" },
        { .status = 403, .headers = "X-RateLimit-Reset: 5\r\n", .body = "no" },
    };
    static const long waits[] = { 5, 9, -1 };
    struct script_server *server = script_server_start(script, 3);
    struct cw_http *http = net_fixture_http(server, "");
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(get(http, script_server_url(server, "/"), 100), CW_OK);
        ck_assert_int_eq(cw_http_wait_s(&response, cw_now_us()), waits[i]);
    }
    done_with(http, server);
}
END_TEST

Suite *http_suite(void)
{
    Suite *suite = suite_create("http");
    TCase *tcase = tcase_create("http");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, get_and_headers);
    tcase_add_test(tcase, post_credentials_and_methods);
    tcase_add_test(tcase, blocked_addresses);
    tcase_add_test(tcase, only_the_allowed_port);
    tcase_add_test(tcase, redirects);
    tcase_add_test(tcase, a_redirect_leads_to_no_listed_place);
    tcase_add_test(tcase, body_limits);
    tcase_add_test(tcase, header_limits);
    tcase_add_test(tcase, header_values_are_clean);
    tcase_add_test(tcase, broken_answers);
    tcase_add_test(tcase, nobody_listens);
    tcase_add_test(tcase, environment_is_ignored);
    tcase_add_test(tcase, connections_are_kept_unless_asked);
    tcase_add_test(tcase, later_as_a_date);
    tcase_add_loop_test(tcase, later_in_words, 0, (int)CW_ARRAY_LEN(said));
    tcase_add_loop_test(tcase, later_in_a_reset, 0, (int)CW_ARRAY_LEN(resets));
    tcase_add_test(tcase, a_reset_counts_where_a_limit_was_met);
    suite_add_tcase(suite, tcase);
    return suite;
}

char test_net_keylog[] = "/tmp/cw-keylog-XXXXXX";

int main(void)
{
    int fd = mkstemp(test_net_keylog);
    if (fd < 0 || close(fd) != 0 || setenv("SSLKEYLOGFILE", test_net_keylog, 1) != 0) {
        return EXIT_FAILURE;
    }
    cw_process_harden(); /* as every program does first: the environment, SIGPIPE */
    int rc = cw_check_main((Suite *const[]){ url_suite(), policy_suite(), http_suite(), multi_suite(), tls_suite(),
                                             hostile_suite(), resolver_suite(), NULL });
    (void)unlink(test_net_keylog);
    return rc;
}
