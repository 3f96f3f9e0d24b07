/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop from outside: a forked responder on a unix socket, asked by tests/lib/fcgi_peer. What the handlers saw is told by what they
 * answer; "never handled" is seen in a counter in shared memory.
 */
#include "config.h"

#include "test_web.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef CW_SANITIZED
#include <sanitizer/lsan_interface.h>
#endif

#include "../lib/fcgi_peer.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "os/log.h"
#include "os/sys.h"
#include "web/web.h"

#define FORM "application/x-www-form-urlencoded"

struct shared {
    atomic_int handled;
    atomic_int released; /* handlers of /hold wait for it */
    atomic_int holding;
    atomic_int stream_ended;
};
static struct shared *shared;
static char socket_path[64];
static pid_t server_pid;

/* --- the responder under test --- */

static void handle_echo(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_jsonw w;
    atomic_fetch_add(&shared->handled, 1);
    cw_reply_json(reply, 200);
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "id", cw_request_path_var(request, "id"));
    cw_jsonw_key_text(&w, "q", cw_query_text(request, "q"));
    cw_jsonw_key_int(&w, "limit", cw_query_int(request, "limit", 10));
    cw_jsonw_key_text(&w, "cookie", cw_request_cookie(request, "c"));
    cw_jsonw_key_text(&w, "agent", cw_request_header(request, "User-Agent"));
    cw_jsonw_key_cstr(&w, "address", cw_request_address(request));
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
}

static void handle_form(struct cw_request *request, struct cw_reply *reply)
{
    atomic_fetch_add(&shared->handled, 1);
    cw_reply_html(reply, 200);
    cw_str_add_span(cw_reply_body(reply), cw_form_text(request, "name"));
}

static void handle_raw(struct cw_request *request, struct cw_reply *reply)
{
    atomic_fetch_add(&shared->handled, 1);
    cw_reply_json(reply, 200);
    cw_str_add_span(cw_reply_body(reply), cw_request_body(request));
}

static void handle_json(struct cw_request *request, struct cw_reply *reply)
{
    atomic_fetch_add(&shared->handled, 1);
    cw_reply_json(reply, 200);
    cw_str_addf(cw_reply_body(reply), "%zu", json_object_size(cw_request_json(request)));
}

static void handle_hold(struct cw_request *request, struct cw_reply *reply)
{
    (void)request;
    atomic_fetch_add(&shared->holding, 1);
    while (atomic_load(&shared->released) == 0) {
        usleep(1000);
    }
    cw_reply_json(reply, 200);
    cw_str_add_cstr(cw_reply_body(reply), "{}");
}

static void handle_stream(struct cw_request *request, struct cw_reply *reply)
{
    (void)request;
    char piece[8192];
    memset(piece, 'x', sizeof piece);
    cw_reply_json(reply, 200);
    bool there = cw_reply_stream_start(reply);
    for (int i = 0; there && i < 4096; i++) {
        there = cw_reply_stream(reply, cw_span_of(piece, sizeof piece));
    }
    atomic_store(&shared->stream_ended, there ? 1 : 2);
}

static void odd_cookie(struct cw_reply *reply)
{
    cw_reply_see_other(reply, "/");
    cw_reply_cookie(reply, &(struct cw_cookie){ .name = "b", .value = CW_SPAN("v"), .secure = true });
    cw_reply_cookie(reply, &(struct cw_cookie){ .name = "old", .value = CW_SPAN(""), .max_age_s = -1 });
}

static void odd_big_head(struct cw_reply *reply)
{
    static char value[20000];
    memset(value, 'a', sizeof value - 1);
    cw_reply_json(reply, 200);
    cw_reply_header(reply, "X-Big", value);
}

static void odd_split(struct cw_reply *reply)
{
    cw_reply_json(reply, 200);
    cw_reply_header(reply, "X-Evil", "a\r\nSet-Cookie: b=c");
    cw_reply_header(reply, "Referrer-Policy", "");
    cw_str_add_cstr(cw_reply_body(reply), "{}");
}

static void odd_away(struct cw_reply *reply)
{
    struct cw_err err;
    cw_reply_fault_code(reply, cw_err_set(&err, CW_E_UNAVAILABLE, "db", "gone"), &err);
}

static void handle_odd(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span what = cw_request_path_var(request, "what");
    if (cw_span_eq(what, CW_SPAN("split"))) {
        odd_split(reply);
    } else if (cw_span_eq(what, CW_SPAN("redirect"))) {
        cw_reply_see_other(reply, "https://portal.example/authorize?a=b");
    } else if (cw_span_eq(what, CW_SPAN("badredirect"))) {
        cw_reply_see_other(reply, "https://portal.example/\r\nX: y");
    } else if (cw_span_eq(what, CW_SPAN("cookie"))) {
        odd_cookie(reply);
    } else if (cw_span_eq(what, CW_SPAN("away"))) {
        odd_away(reply);
    } else if (cw_span_eq(what, CW_SPAN("bighead"))) {
        odd_big_head(reply);
    } else if (cw_span_eq(what, CW_SPAN("page"))) {
        cw_reply_html(reply, 200);
        cw_reply_form_action(reply, "'self' https:");
    } else if (!cw_span_eq(what, CW_SPAN("silent"))) {
        cw_reply_fault_code(reply, CW_E_NOT_FOUND, NULL);
    }
}

static bool before(struct cw_request *request, struct cw_reply *reply)
{
    if (cw_request_header(request, "X-Refuse").ptr != NULL) {
        cw_reply_fault(reply, "invalid_api_key", NULL, "No.");
        return false;
    }
    return true;
}

static void busy(struct cw_request *request, struct cw_reply *reply)
{
    (void)request;
    cw_reply_html(reply, 503);
    cw_str_add_cstr(cw_reply_body(reply), "please wait");
}

static const struct cw_input echo_query[] = {
    { .name = "q", .kind = CW_IN_TEXT, .max = 20 },
    { .name = "limit", .kind = CW_IN_INT, .min = 1, .max = 100 },
    { .name = NULL },
};
static const struct cw_input name_form[] = {
    { .name = "name", .kind = CW_IN_TEXT, .min = 1, .max = 5, .required = true },
    { .name = "mode", .kind = CW_IN_CHOICE, .choices = "one|two" },
    { .name = NULL },
};
static const struct cw_route routes[] = {
    { .name = "echo", .method = CW_GET, .path = "/echo/{id}", .handler = handle_echo, .query = echo_query },
    { .name = "form", .method = CW_POST, .path = "/form", .handler = handle_form, .form = name_form, .body = CW_BODY_FORM },
    { .name = "raw", .method = CW_POST, .path = "/raw", .handler = handle_raw, .body = CW_BODY_RAW_FORM },
    { .name = "json", .method = CW_POST, .path = "/json", .handler = handle_json, .body = CW_BODY_JSON },
    { .name = "json.put", .method = CW_PUT, .path = "/json", .handler = handle_json, .body = CW_BODY_JSON, .body_max = 30000 },
    { .name = "hold", .method = CW_GET, .path = "/hold", .handler = handle_hold },
    { .name = "stream", .method = CW_GET, .path = "/stream", .handler = handle_stream },
    { .name = "odd", .method = CW_GET, .path = "/odd/{what}", .handler = handle_odd, .unknown_query_ok = true },
};

static void silent(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

/* Check notes each assertion in a file whose offset the child shares: what the child asserts goes to /dev/null instead. */
static void leave_files_of_parent(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int fd = 3; fd < 256; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
            dup2(null, fd);
        }
    }
}

static void start_server(unsigned threads, bool with_busy)
{
    snprintf(socket_path, sizeof socket_path, "/tmp/cw-test-web-%d.sock", (int)getpid());
    int fd = fcgi_listen(socket_path);
    memset(shared, 0, sizeof *shared);
    server_pid = fork(); /* no assertion before the child has left the file: see above */
    if (server_pid == 0) {
        struct cw_web_app app = { .program = "test", .mount = "/m", .routes = routes, .route_count = CW_ARRAY_LEN(routes),
                                  .threads = threads, .listen_fd = fd, .doc_url = "https://x.example/errors",
                                  .before = before, .busy = with_busy ? busy : NULL };
        struct cw_err err;
        leave_files_of_parent();
        cw_log_set_sink(silent, NULL);
        cw_process_harden();
        cw_stop_init();
        int status = cw_web_run(&app, &err) == CW_OK ? 0 : 1;
#ifdef CW_SANITIZED
        status |= __lsan_do_recoverable_leak_check() != 0;
#endif
        /* exit() would flush, and move the offset of, the file that Check keeps its messages in: it is shared with the parent. */
        _exit(status);
    }
    ck_assert_int_gt(server_pid, 0);
    close(fd);
}

/* It ends by itself, and well: the sanitizers would make the status another. */
static void await_server(void)
{
    int status = -1;
    while (waitpid(server_pid, &status, 0) < 0 && errno == EINTR) {
    }
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the responder ended with %x", (unsigned)status);
    unlink(socket_path);
}

static void stop_server(void)
{
    ck_assert_int_eq(kill(server_pid, SIGTERM), 0);
    await_server();
}

static void start_default(void)
{
    start_server(3, false);
}

static struct fcgi_answer ask(struct fcgi_request request)
{
    return fcgi_ask(socket_path, -1, &request);
}

/* One request whose status (and, when given, a piece of its body) is as said. */
static void expect(struct fcgi_request request, int status, const char *piece)
{
    struct fcgi_answer answer = ask(request);
    ck_assert_msg(answer.status == status, "%s: %d, not %d: %s", request.uri, answer.status, status, answer.body);
    if (piece != NULL) {
        ck_assert_msg(strstr(answer.body, piece) != NULL, "%s: no '%s' in %s", request.uri, piece, answer.body);
    }
    fcgi_answer_free(&answer);
}

static int begin(const struct fcgi_request *request, size_t announced)
{
    int fd = fcgi_connect(socket_path);
    fcgi_begin(fd, request->keep);
    fcgi_send_params(fd, request, announced);
    return fd;
}

/* --- tests --- */

START_TEST(routes_and_inputs)
{
    static const char *const params[] = { "HTTP_COOKIE", "a=1; c=yes; d=", "HTTP_USER_AGENT", "t", NULL };
    struct fcgi_answer a = ask((struct fcgi_request){ .uri = "/m/echo/a%2Fb?q=caf%C3%A9+1&limit=7", .more = params });
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"id\":\"a/b\",\"q\":\"caf\xc3\xa9 1\",\"limit\":7,\"cookie\":\"yes\",\"agent\":\"t\","
                             "\"address\":\"192.0.2.7\"}");
    ck_assert_str_eq(fcgi_header(&a, "Cache-Control"), "no-store");
    ck_assert_str_eq(fcgi_header(&a, "X-Content-Type-Options"), "nosniff");
    ck_assert_str_eq(fcgi_header(&a, "Referrer-Policy"), "no-referrer");
    ck_assert_str_eq(fcgi_header(&a, "Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'");
    ck_assert_uint_eq(strlen(fcgi_header(&a, "X-Request-Id")), 36);
    fcgi_answer_free(&a);
    expect((struct fcgi_request){ .uri = "/m/echo/x?q=&limit=" }, 200, "\"q\":null,\"limit\":10");
    static const char *const nowhere[] = { "/m/nothing", "/echo/x",       "/m/echo/",    "/m/echo/x/",
                                           "/m/echo/%ff", "/m/echo/%00", "/m/echo/%zz", "/m/../m/echo/x" };
    for (size_t i = 0; i < CW_ARRAY_LEN(nowhere); i++) {
        expect((struct fcgi_request){ .uri = nowhere[i] }, 404, "\"resource_not_found\"");
    }
}
END_TEST

START_TEST(bad_inputs_are_named)
{
    static const struct {
        const char *query;
        const char *piece;
    } rows[] = {
        { "q=1&q=1", "\"param\":\"q\"" },
        { "q=&q=", "\"param\":\"q\"" },
        { "q=%ff", "\"param\":\"q\"" },
        { "q=a%00b", "\"param\":\"q\"" },
        { "q=%4", "\"param\":\"q\"" },
        { "limit=0", "\"param\":\"limit\"" },
        { "limit=101", "\"code\":\"invalid_data\"" },
        { "limit=1e1", "\"param\":\"limit\"" },
        { "nope=1", "\"param\":\"nope\"" },
        { "q=123456789012345678901", "\"param\":\"q\"" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char uri[256];
        snprintf(uri, sizeof uri, "/m/echo/x?%s", rows[i].query);
        expect((struct fcgi_request){ .uri = uri }, 400, rows[i].piece);
    }
    ck_assert_int_eq(atomic_load(&shared->handled), 0);
    expect((struct fcgi_request){ .uri = "/m/echo/x?q=12345678901234567890" }, 200, NULL);
    expect((struct fcgi_request){ .uri = "/m/odd/none?utm_source=%ff&utm_source=2" }, 404, NULL);
}
END_TEST

START_TEST(forms)
{
    static const struct {
        const char *type;
        const char *body;
        int status;
        const char *piece;
    } rows[] = {
        { FORM, "name=J%C3%B6rg&mode=two", 200, "J\xc3\xb6rg" },
        { FORM "; charset=UTF-8", "name=a", 200, "a" },
        { FORM, "", 400, "\"param\":\"name\"" },
        { FORM, "name=", 400, "\"param\":\"name\"" },
        { FORM, "name=abcdef", 400, "\"param\":\"name\"" },
        { FORM, "name=a&name=b", 400, "\"param\":\"name\"" },
        { FORM, "name=a&mode=three", 400, "\"param\":\"mode\"" },
        { FORM, "name=a&other=1", 400, "\"param\":\"other\"" },
        { "application/json", "{}", 415, NULL },
        { "text/plain", "name=a", 415, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        expect((struct fcgi_request){ .method = "POST", .uri = "/m/form", .type = rows[i].type, .body = rows[i].body },
               rows[i].status, rows[i].piece);
    }
}
END_TEST

START_TEST(raw_forms_are_the_handlers)
{
    struct fcgi_request request = { .method = "POST", .uri = "/m/raw", .type = FORM, .body = "a=%zz&a=2" };
    expect(request, 200, "a=%zz&a=2");
    request.type = "text/plain";
    expect(request, 415, NULL);
    request.type = NULL;
    request.body = NULL;
    expect(request, 200, NULL);
}
END_TEST

START_TEST(json_bodies)
{
    static const struct {
        const char *type;
        const char *body;
        int status;
        const char *piece;
    } rows[] = {
        { "application/json", "{\"a\":1}", 200, "1" },
        { "Application/JSON; charset=utf-8", "{}", 200, "0" },
        { NULL, "{}", 200, "0" },
        { NULL, NULL, 400, "\"bad_request\"" },
        { NULL, "[]", 400, NULL },
        { NULL, "{\"a\":1,\"a\":2}", 400, NULL },
        { NULL, "{\"a\":\"\xff\"}", 400, NULL },
        { NULL, "{} x", 400, NULL },
        { FORM, "a=b", 415, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        expect((struct fcgi_request){ .method = "POST", .uri = "/m/json", .type = rows[i].type, .body = rows[i].body },
               rows[i].status, rows[i].piece);
    }
}
END_TEST

START_TEST(methods)
{
    struct fcgi_answer a = ask((struct fcgi_request){ .method = "DELETE", .uri = "/m/json" });
    ck_assert_int_eq(a.status, 405);
    ck_assert_str_eq(fcgi_header(&a, "Allow"), "POST, PUT");
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .method = "BREW", .uri = "/m/echo/x" });
    ck_assert_int_eq(a.status, 405);
    ck_assert_str_eq(fcgi_header(&a, "Allow"), "GET, HEAD");
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .method = "HEAD", .uri = "/m/echo/x" });
    ck_assert_int_eq(a.status, 200);
    ck_assert_uint_eq(a.body_len, 0);
    ck_assert_str_ne(fcgi_header(&a, "Content-Length"), "0");
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .method = "HEAD", .uri = "/m/stream" });
    ck_assert_int_eq(a.status, 200);
    ck_assert_uint_eq(a.body_len, 0);
    fcgi_answer_free(&a);
}
END_TEST

START_TEST(before_stands_ahead_of_the_body)
{
    static const char *const params[] = { "HTTP_X_REFUSE", "1", NULL };
    expect((struct fcgi_request){ .method = "POST", .uri = "/m/form", .type = FORM, .body = "broken=%", .more = params },
           401, "\"authentication_error\"");
    ck_assert_int_eq(atomic_load(&shared->handled), 0);
}
END_TEST

START_TEST(body_limits)
{
    static char body[CW_FORM_BODY_MAX + 2];
    memset(body, '&', sizeof body);
    memcpy(body, "name=abc", 8);
    struct fcgi_request request = { .method = "POST", .uri = "/m/form", .type = FORM, .body = body };
    for (size_t over = 0; over < 3; over++) {
        request.body_len = CW_FORM_BODY_MAX - 1 + over;
        expect(request, over < 2 ? 200 : 413, over < 2 ? "abc" : "\"payload_too_large\"");
    }
    ck_assert_int_eq(atomic_load(&shared->handled), 2);
}
END_TEST

START_TEST(a_cut_body_is_never_handled)
{
    enum { ENDS_EARLY, ABORTED, HANGS_UP, TOO_LONG };
    struct fcgi_request request = { .method = "POST", .uri = "/m/form", .type = FORM, .body = "name=a" };
    for (int way = ENDS_EARLY; way <= TOO_LONG; way++) {
        int fd = begin(&request, way == TOO_LONG ? 3 : 20);
        fcgi_send_body(fd, "name=a", 6);
        if (way == ABORTED) {
            fcgi_send_abort(fd);
        } else if (way == HANGS_UP) {
            shutdown(fd, SHUT_WR);
        } else {
            fcgi_send_body(fd, "", 0);
        }
        struct fcgi_answer a = fcgi_read_answer(fd);
        ck_assert_msg(a.status == 400 || (way != ENDS_EARLY && a.status == 0), "way %d: %d", way, a.status);
        fcgi_answer_free(&a);
        close(fd);
    }
    ck_assert_int_eq(atomic_load(&shared->handled), 0);
    expect(request, 200, "a");
}
END_TEST

START_TEST(odd_parameters_do_no_harm)
{
    int fd = fcgi_connect(socket_path);
    fcgi_begin(fd, false);
    shutdown(fd, SHUT_WR); /* no parameters at all */
    struct fcgi_answer a = fcgi_read_answer(fd);
    fcgi_answer_free(&a);
    close(fd);
    fd = fcgi_connect(socket_path);
    ck_assert_int_eq(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18); /* not FastCGI */
    shutdown(fd, SHUT_WR);
    a = fcgi_read_answer(fd);
    fcgi_answer_free(&a);
    close(fd);
    static char path[9000] = "/m/echo/";
    memset(path + 8, 'a', sizeof path - 9);
    expect((struct fcgi_request){ .uri = path }, 404, NULL);
    memcpy(path, "/m/echo/x?q=", 12);
    expect((struct fcgi_request){ .uri = path }, 400, NULL);
    static const char *const cookies[] = { "HTTP_COOKIE", "c=1; c=2", NULL };
    expect((struct fcgi_request){ .uri = "/m/echo/y", .more = cookies }, 200, "\"cookie\":null");
}
END_TEST

START_TEST(odd_answers)
{
    expect((struct fcgi_request){ .uri = "/m/odd/silent" }, 500, "\"internal_error\"");
    expect((struct fcgi_request){ .uri = "/m/odd/bighead" }, 500, NULL);
    expect((struct fcgi_request){ .uri = "/m/odd/badredirect" }, 500, NULL);
    struct fcgi_answer a = ask((struct fcgi_request){ .uri = "/m/odd/split" });
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_null(fcgi_header(&a, "Set-Cookie"));
    ck_assert_ptr_null(fcgi_header(&a, "X-Evil"));
    ck_assert_ptr_null(fcgi_header(&a, "Referrer-Policy")); /* an empty value: not the default one either */
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .uri = "/m/odd/page" });
    ck_assert_str_eq(fcgi_header(&a, "Content-Security-Policy"),
                     "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
                     "connect-src 'self'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'");
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .uri = "/m/odd/redirect" });
    ck_assert_int_eq(a.status, 303);
    ck_assert_str_eq(fcgi_header(&a, "Location"), "https://portal.example/authorize?a=b");
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .uri = "/m/odd/cookie" });
    ck_assert_str_eq(fcgi_header(&a, "Set-Cookie"), "__Host-b=v; Path=/; HttpOnly; SameSite=Lax; Secure");
    ck_assert_ptr_nonnull(strstr(a.head, "old=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0\r\n"));
    fcgi_answer_free(&a);
    a = ask((struct fcgi_request){ .uri = "/m/odd/away" });
    ck_assert_int_eq(a.status, 503);
    ck_assert_str_eq(fcgi_header(&a, "Retry-After"), "5");
    ck_assert_ptr_nonnull(strstr(a.body, "\"doc_url\":\"https://x.example/errors#service_unavailable\""));
    ck_assert_ptr_nonnull(strstr(a.body, fcgi_header(&a, "X-Request-Id")));
    fcgi_answer_free(&a);
}
END_TEST

START_TEST(a_peer_that_leaves_ends_the_stream)
{
    struct fcgi_request request = { .uri = "/m/stream" };
    int fd = begin(&request, 0);
    fcgi_send_body(fd, "", 0);
    char some[1000];
    ck_assert_int_gt(recv(fd, some, sizeof some, 0), 0);
    close(fd);
    while (atomic_load(&shared->stream_ended) == 0) {
        usleep(1000);
    }
    ck_assert_int_eq(atomic_load(&shared->stream_ended), 2);
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL);
}
END_TEST

START_TEST(kept_connections_serve_and_do_not_starve)
{
    int kept[3];
    for (size_t i = 0; i < 3; i++) {
        kept[i] = fcgi_connect(socket_path);
        for (int round = 0; round < 3; round++) {
            struct fcgi_request get = { .uri = "/m/echo/x", .keep = true };
            struct fcgi_request post = { .method = "POST", .uri = "/m/form", .type = FORM, .body = "name=a", .keep = true };
            struct fcgi_answer a = fcgi_ask(socket_path, kept[i], round == 1 ? &post : &get);
            ck_assert(a.ended && a.status == 200);
            fcgi_answer_free(&a);
        }
    }
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL); /* all three threads have a kept connection */
    for (size_t i = 0; i < 3; i++) {
        close(kept[i]);
    }
}
END_TEST

START_TEST(a_stop_finishes_the_body_in_hand)
{
    static char body[20001];
    struct fcgi_request request = { .method = "PUT", .uri = "/m/json", .body = body, .body_len = 20000 };
    memset(body, ' ', 20000);
    body[0] = '{';
    body[19999] = '}';
    int fd = begin(&request, 20000);
    fcgi_send_body(fd, body, 10000);
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL); /* came later, so the body's thread has it by now */
    ck_assert_int_eq(kill(server_pid, SIGTERM), 0);
    usleep(50 * 1000);
    fcgi_send_body(fd, body + 10000, 10000);
    fcgi_send_body(fd, "", 0);
    struct fcgi_answer a = fcgi_read_answer(fd);
    ck_assert_int_eq(a.status, 200);
    fcgi_answer_free(&a);
    close(fd);
    await_server();
}
END_TEST

START_TEST(when_all_are_busy_the_waiting_page_answers)
{
    start_server(2, true);
    struct fcgi_request hold = { .uri = "/m/hold" };
    int fds[2];
    for (size_t i = 0; i < 2; i++) {
        fds[i] = begin(&hold, 0);
        fcgi_send_body(fds[i], "", 0);
    }
    while (atomic_load(&shared->holding) < 2) {
        usleep(1000);
    }
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 503, "please wait");
    atomic_store(&shared->released, 1);
    for (size_t i = 0; i < 2; i++) {
        struct fcgi_answer a = fcgi_read_answer(fds[i]);
        ck_assert_int_eq(a.status, 200);
        fcgi_answer_free(&a);
        close(fds[i]);
    }
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL);
    stop_server();
}
END_TEST

/* A connection wakes one idle thread or a few, not all: told by how often the responder's threads slept in its life. */
START_TEST(one_thread_wakes_for_a_connection)
{
    struct rusage before, after;
    ck_assert_int_eq(getrusage(RUSAGE_CHILDREN, &before), 0);
    start_server(100, false);
    for (int i = 0; i < 50; i++) {
        expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL);
    }
    stop_server();
    ck_assert_int_eq(getrusage(RUSAGE_CHILDREN, &after), 0);
    ck_assert_int_lt(after.ru_nvcsw - before.ru_nvcsw, 50 * 40);
}
END_TEST

START_TEST(without_descriptors_it_waits_and_goes_on)
{
    start_server(1, false);
    expect((struct fcgi_request){ .uri = "/m/echo/x" }, 200, NULL);
    struct rlimit old;
    ck_assert_int_eq(prlimit(server_pid, RLIMIT_NOFILE, NULL, &old), 0);
    struct rlimit few = { .rlim_cur = 3, .rlim_max = old.rlim_max };
    ck_assert_int_eq(prlimit(server_pid, RLIMIT_NOFILE, &few, NULL), 0);
    struct fcgi_request request = { .uri = "/m/echo/x" };
    int fd = begin(&request, 0);
    fcgi_send_body(fd, "", 0);
    usleep(150 * 1000);
    ck_assert_int_eq(prlimit(server_pid, RLIMIT_NOFILE, &old, NULL), 0);
    struct fcgi_answer a = fcgi_read_answer(fd);
    ck_assert_int_eq(a.status, 200);
    fcgi_answer_free(&a);
    close(fd);
    stop_server();
}
END_TEST

START_TEST(refuses_to_start_without_a_listener)
{
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    struct cw_web_app app = { .program = "test", .mount = "", .routes = routes, .route_count = 1, .threads = 1,
                              .listen_fd = pipes[0] };
    struct cw_err err = { .code = CW_OK };
    ck_assert_int_eq(cw_web_run(&app, &err), CW_E_CONFIG);
    app.threads = 0;
    ck_assert_int_eq(cw_web_run(&app, &err), CW_E_CONFIG);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

Suite *web_server_suite(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Suite *suite = suite_create("web: server");
    TCase *served = tcase_create("served");
    tcase_add_checked_fixture(served, start_default, stop_server);
    tcase_add_test(served, routes_and_inputs);
    tcase_add_test(served, bad_inputs_are_named);
    tcase_add_test(served, forms);
    tcase_add_test(served, raw_forms_are_the_handlers);
    tcase_add_test(served, json_bodies);
    tcase_add_test(served, methods);
    tcase_add_test(served, before_stands_ahead_of_the_body);
    tcase_add_test(served, body_limits);
    tcase_add_test(served, a_cut_body_is_never_handled);
    tcase_add_test(served, odd_parameters_do_no_harm);
    tcase_add_test(served, odd_answers);
    tcase_add_test(served, a_peer_that_leaves_ends_the_stream);
    tcase_add_test(served, kept_connections_serve_and_do_not_starve);
    suite_add_tcase(suite, served);
    TCase *stopped = tcase_create("stopped");
    tcase_add_checked_fixture(stopped, start_default, NULL);
    tcase_add_test(stopped, a_stop_finishes_the_body_in_hand);
    suite_add_tcase(suite, stopped);
    TCase *alone = tcase_create("alone");
    tcase_add_test(alone, when_all_are_busy_the_waiting_page_answers);
    tcase_add_test(alone, one_thread_wakes_for_a_connection);
    tcase_add_test(alone, without_descriptors_it_waits_and_goes_on);
    tcase_add_test(alone, refuses_to_start_without_a_listener);
    suite_add_tcase(suite, alone);
    return suite;
}
