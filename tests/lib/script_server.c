/* SPDX-License-Identifier: Apache-2.0 */
/* See script_server.h. Everything that can fail here is a broken test machine, so it aborts. */
#include "config.h"

#include "script_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define REQUESTS_MAX 1024
#define CONNECTIONS_MAX 1024

struct script_server {
    int listener;
    int stop_fd;
    unsigned port;
    const struct script_answer *answers;
    size_t answer_count;
    bool *used;
    pthread_mutex_t lock;
    struct script_request *requests[REQUESTS_MAX];
    size_t request_count;
    pthread_t accepter;
    pthread_t threads[CONNECTIONS_MAX];
    size_t thread_count;
};

struct connection {
    struct script_server *server;
    int fd;
    unsigned number;
};

static void must(bool ok)
{
    if (!ok) {
        perror("script_server");
        abort();
    }
}

/* False when the peer has gone or the server stops. */
static bool wait_for(const struct script_server *server, int fd, short events)
{
    struct pollfd fds[2] = { { .fd = fd, .events = events }, { .fd = server->stop_fd, .events = POLLIN } };
    int rc;
    do {
        rc = poll(fds, 2, -1);
    } while (rc < 0 && errno == EINTR);
    return rc > 0 && (fds[1].revents & POLLIN) == 0;
}

static bool send_all(const struct script_server *server, int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(server, fd, POLLOUT)) {
                return false;
            }
        } else if (n < 0) {
            return false;
        } else {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* Appends what arrives to *in; false at the end of the stream. */
static bool receive_more(const struct script_server *server, int fd, struct cw_str *in)
{
    if (!wait_for(server, fd, POLLIN)) {
        return false;
    }
    char piece[16384];
    ssize_t n = recv(fd, piece, sizeof piece, 0);
    return n > 0 && cw_str_add(in, piece, (size_t)n) == CW_OK;
}

const char *script_request_header(const struct script_request *request, const char *name)
{
    static char value[65536];
    struct cw_span rest = cw_span_cstr(request->headers);
    struct cw_span line;
    bool more = true;
    while (more) {
        more = cw_span_cut(&rest, '\n', &line);
        struct cw_span field;
        if (cw_span_cut(&line, ':', &field) && cw_span_eq_nocase(field, cw_span_cstr(name))) {
            line = cw_span_trim(line);
            must(line.len < sizeof value);
            memcpy(value, line.ptr, line.len);
            value[line.len] = '\0';
            return value;
        }
    }
    return NULL;
}

static char *copy(struct cw_span text)
{
    char *out = malloc(text.len + 1);
    must(out != NULL);
    if (text.len > 0) {
        memcpy(out, text.ptr, text.len);
    }
    out[text.len] = '\0';
    return out;
}

/* Reads one request; *in keeps what came after it. NULL at the end of the connection. */
static struct script_request *read_request(const struct connection *c, struct cw_str *in)
{
    size_t head;
    while ((head = cw_span_find_span(cw_str_span(in), CW_SPAN("\r\n\r\n"))) == in->len) {
        if (!receive_more(c->server, c->fd, in)) {
            return NULL;
        }
    }
    struct script_request *request = calloc(1, sizeof *request);
    must(request != NULL);
    request->connection = c->number;
    struct cw_span text = cw_span_upto(cw_str_span(in), head + 2);
    struct cw_span line;
    struct cw_span word;
    (void)cw_span_cut(&text, '\n', &line);
    (void)cw_span_word(&line, &word);
    must(word.len < sizeof request->method);
    memcpy(request->method, word.ptr, word.len);
    (void)cw_span_word(&line, &word);
    request->target = copy(word);
    request->headers = copy(text);
    const char *length = script_request_header(request, "Content-Length");
    uint64_t body = 0;
    must(length == NULL || cw_span_u64(cw_span_cstr(length), 1u << 30, &body));
    while (in->len < head + 4 + body) {
        if (!receive_more(c->server, c->fd, in)) {
            free(request->target);
            free(request->headers);
            free(request);
            return NULL;
        }
    }
    request->body = copy(cw_span_of(in->buf + head + 4, body));
    request->body_len = body;
    struct cw_span rest = cw_span_from(cw_str_span(in), head + 4 + body);
    char *left = copy(rest);
    size_t left_len = rest.len;
    cw_str_clear(in);
    (void)cw_str_add(in, left, left_len);
    free(left);
    return request;
}

/* Called under the lock. */
static const struct script_answer *choose(struct script_server *server, const struct script_request *request)
{
    struct cw_span rest = cw_span_cstr(request->target);
    struct cw_span path;
    (void)cw_span_cut(&rest, '?', &path);
    for (size_t i = 0; i < server->answer_count; i++) {
        const struct script_answer *a = &server->answers[i];
        if (!server->used[i] && (a->path == NULL || cw_span_eq_cstr(path, a->path)) &&
            (a->method == NULL || strcmp(a->method, request->method) == 0)) {
            server->used[i] = !a->keep;
            return a;
        }
    }
    return NULL;
}

static void gzip(const char *bytes, size_t len, size_t times, struct cw_str *out)
{
    z_stream z = { 0 };
    must(deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    for (size_t i = 0; i < times; i++) {
        z.next_in = (Bytef *)(uintptr_t)bytes;
        z.avail_in = (uInt)len;
        int rc;
        do {
            char *room = cw_str_reserve(out, 65536);
            must(room != NULL);
            z.next_out = (Bytef *)room;
            z.avail_out = 65536;
            rc = deflate(&z, i + 1 == times ? Z_FINISH : Z_NO_FLUSH);
            cw_str_grow_by(out, 65536 - z.avail_out);
        } while (z.avail_out == 0 || (i + 1 == times && rc != Z_STREAM_END));
    }
    (void)deflateEnd(&z);
}

/* False when the server stops. */
static bool pause_for(const struct script_server *server, unsigned ms)
{
    struct pollfd stop = { .fd = server->stop_fd, .events = POLLIN };
    return poll(&stop, 1, (int)ms) == 0;
}

static void send_endless(const struct script_server *server, int fd, const struct script_answer *a)
{
    size_t len = a->endless_len != 0 ? a->endless_len : strlen(a->endless);
    bool ok = true;
    for (size_t i = 0; ok; i = (i + 1) % len) {
        if (a->drip_ms == 0) {
            ok = send_all(server, fd, a->endless, len);
        } else {
            ok = pause_for(server, a->drip_ms) && send_all(server, fd, a->endless + i, 1);
        }
    }
}

/* False when the connection is to be closed. */
static bool answer(const struct connection *c, const struct script_answer *a, const struct script_request *request)
{
    const struct script_server *server = c->server;
    if (a->hold) {
        (void)wait_for(server, -1, 0);
        return false;
    }
    if (a->raw != NULL) {
        bool sent = send_all(server, c->fd, a->raw, a->raw_len != 0 ? a->raw_len : strlen(a->raw));
        if (sent && a->endless != NULL) {
            send_endless(server, c->fd, a);
        }
        return false;
    }
    if (a->cut_at < 0) {
        return false;
    }
    int status = a->status == 0 ? 200 : a->status;
    char *made = a->make == NULL ? NULL : a->make(a->arg, request, &status);
    const char *bytes = made != NULL ? made : a->body == NULL ? "" : a->body;
    size_t len = made == NULL && a->body_len != 0 ? a->body_len : strlen(bytes);
    CW_AUTO_STR body;
    cw_str_init(&body, 512u << 20);
    if (a->gzip) {
        gzip(bytes, len, a->repeat + 1, &body);
    } else {
        for (size_t i = 0; i <= a->repeat; i++) {
            (void)cw_str_add(&body, bytes, len);
        }
    }
    must(cw_str_code(&body) == CW_OK);
    free(made);
    CW_AUTO_STR head;
    cw_str_init(&head, 1u << 20);
    (void)cw_str_addf(&head, "HTTP/1.1 %d Scripted\r\n", status);
    (void)cw_str_addf(&head, "Content-Type: %s\r\n", a->type == NULL ? "application/json" : a->type);
    (void)cw_str_add_cstr(&head, a->gzip ? "Content-Encoding: gzip\r\n" : "");
    (void)cw_str_add_cstr(&head, a->headers == NULL ? "" : a->headers);
    if (a->chunked) {
        (void)cw_str_addf(&head, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", body.len);
    } else {
        (void)cw_str_addf(&head, "Content-Length: %zu\r\n\r\n", body.len);
    }
    must(cw_str_code(&head) == CW_OK);
    bool cut = a->cut_at > 0 && (size_t)a->cut_at < body.len;
    size_t send_len = cut ? (size_t)a->cut_at : body.len;
    if (strcmp(request->method, "HEAD") == 0) {
        send_len = 0;
    }
    bool ok = send_all(server, c->fd, head.buf, head.len) && send_all(server, c->fd, cw_str_cstr(&body), send_len);
    if (ok && a->chunked && !cut) {
        ok = send_all(server, c->fd, "\r\n0\r\n\r\n", 7);
    }
    return ok && !cut;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct script_server *server = c->server;
    struct cw_str in;
    cw_str_init(&in, 64u << 20);
    bool open = true;
    while (open) {
        struct script_request *request = read_request(c, &in);
        if (request == NULL) {
            break;
        }
        (void)pthread_mutex_lock(&server->lock);
        must(server->request_count < REQUESTS_MAX);
        server->requests[server->request_count++] = request;
        const struct script_answer *a = choose(server, request);
        (void)pthread_mutex_unlock(&server->lock);
        static const struct script_answer none = { .status = 404, .body = "{\"script\":\"no answer left\"}" };
        open = answer(c, a == NULL ? &none : a, request);
    }
    (void)close(c->fd);
    cw_str_release(&in);
    free(c);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct script_server *server = arg;
    while (wait_for(server, server->listener, POLLIN)) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        struct connection *c = calloc(1, sizeof *c);
        must(c != NULL && server->thread_count < CONNECTIONS_MAX);
        *c = (struct connection){ .server = server, .fd = fd, .number = (unsigned)server->thread_count + 1 };
        must(pthread_create(&server->threads[server->thread_count++], NULL, serve, c) == 0);
    }
    return NULL;
}

struct script_server *script_server_start(const struct script_answer *answers, size_t count)
{
    struct script_server *server = calloc(1, sizeof *server);
    must(server != NULL);
    server->answers = answers;
    server->answer_count = count;
    server->used = calloc(count + 1, sizeof *server->used);
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    must(server->used != NULL && server->stop_fd >= 0 && server->listener >= 0);
    must(bind(server->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(server->listener, 64) == 0);
    must(getsockname(server->listener, (struct sockaddr *)&at, &len) == 0);
    server->port = ntohs(at.sin_port);
    must(pthread_mutex_init(&server->lock, NULL) == 0);
    must(pthread_create(&server->accepter, NULL, accept_all, server) == 0);
    return server;
}

void script_server_stop(struct script_server *server)
{
    if (server == NULL) {
        return;
    }
    must(eventfd_write(server->stop_fd, 1) == 0);
    (void)pthread_join(server->accepter, NULL);
    for (size_t i = 0; i < server->thread_count; i++) {
        (void)pthread_join(server->threads[i], NULL);
    }
    for (size_t i = 0; i < server->request_count; i++) {
        free(server->requests[i]->target);
        free(server->requests[i]->headers);
        free(server->requests[i]->body);
        free(server->requests[i]);
    }
    (void)close(server->listener);
    (void)close(server->stop_fd);
    (void)pthread_mutex_destroy(&server->lock);
    free(server->used);
    free(server);
}

unsigned script_server_port(const struct script_server *server)
{
    return server->port;
}

size_t script_server_count(struct script_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t count = server->request_count;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}

const struct script_request *script_server_request(struct script_server *server, size_t at)
{
    (void)pthread_mutex_lock(&server->lock);
    must(at < server->request_count);
    const struct script_request *request = server->requests[at];
    (void)pthread_mutex_unlock(&server->lock);
    return request;
}

const char *script_server_url(const struct script_server *server, const char *path)
{
    static char ring[8][1024];
    static unsigned next;
    char *out = ring[next++ % 8];
    (void)snprintf(out, sizeof ring[0], "http://127.0.0.1:%u%s", server->port, path);
    return out;
}
