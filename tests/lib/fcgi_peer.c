/* SPDX-License-Identifier: Apache-2.0 */
/* The FastCGI 1.0 records that a web server sends and reads; one request at a time, id 1. */
#include "fcgi_peer.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "web/web.h"

enum { BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, BODY_IN = 5, BODY_OUT = 6 };
#define RECORD_MAX 65535u
#define ANSWER_SECONDS 30 /* a server that says nothing for so long has failed the test */

static void must(bool fine, const char *what)
{
    if (!fine) {
        perror(what);
        abort();
    }
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    must(strlen(path) < sizeof address.sun_path, "socket path");
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

int fcgi_listen(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path);
    cw_web_prepare(); /* what serves the socket may run in a thread of the test, beside Check and its getenv */
    must(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0, "listen");
    return fd;
}

int fcgi_connect(const char *path)
{
    struct sockaddr_un address = address_of(path);
    struct timeval patience = { .tv_sec = ANSWER_SECONDS };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "setsockopt");
    return fd;
}

static bool send_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_record(int fd, unsigned type, const void *content, size_t len)
{
    uint8_t head[8] = { 1, (uint8_t)type, 0, 1, (uint8_t)(len >> 8), (uint8_t)len, 0, 0 };
    must(len <= RECORD_MAX, "record");
    return send_all(fd, head, sizeof head) && send_all(fd, content, len);
}

void fcgi_begin(int fd, bool keep)
{
    uint8_t body[8] = { 0, 1, keep ? 1 : 0 };
    send_record(fd, BEGIN, body, sizeof body);
}

static size_t put_length(uint8_t *out, size_t len)
{
    if (len < 128) {
        out[0] = (uint8_t)len;
        return 1;
    }
    out[0] = (uint8_t)(len >> 24 | 0x80);
    out[1] = (uint8_t)(len >> 16);
    out[2] = (uint8_t)(len >> 8);
    out[3] = (uint8_t)len;
    return 4;
}

static void send_param(int fd, const char *name, const char *value)
{
    static uint8_t buf[RECORD_MAX];
    size_t at = put_length(buf, strlen(name));
    at += put_length(buf + at, strlen(value));
    must(at + strlen(name) + strlen(value) <= sizeof buf, "param");
    memcpy(buf + at, name, strlen(name));
    memcpy(buf + at + strlen(name), value, strlen(value));
    send_record(fd, PARAMS, buf, at + strlen(name) + strlen(value));
}

void fcgi_send_params(int fd, const struct fcgi_request *request, size_t announced)
{
    char length[24];
    const char *query = strchr(request->uri, '?');
    snprintf(length, sizeof length, "%zu", announced);
    send_param(fd, "REQUEST_METHOD", request->method == NULL ? "GET" : request->method);
    send_param(fd, "REQUEST_URI", request->uri);
    send_param(fd, "QUERY_STRING", query == NULL ? "" : query + 1);
    send_param(fd, "CONTENT_LENGTH", request->body == NULL && announced == 0 ? "" : length);
    send_param(fd, "CONTENT_TYPE", request->type == NULL ? "" : request->type);
    send_param(fd, "REMOTE_ADDR", "192.0.2.7");
    for (fcgi_params more = request->more; more != NULL && more[0] != NULL; more += 2) {
        send_param(fd, more[0], more[1]);
    }
    send_record(fd, PARAMS, "", 0);
}

bool fcgi_send_body(int fd, const char *bytes, size_t len)
{
    if (len == 0) {
        return send_record(fd, BODY_IN, "", 0);
    }
    while (len > 0) {
        size_t piece = len < 32768 ? len : 32768;
        if (!send_record(fd, BODY_IN, bytes, piece)) {
            return false;
        }
        bytes += piece;
        len -= piece;
    }
    return true;
}

void fcgi_send_abort(int fd)
{
    send_record(fd, ABORT, "", 0);
}

static bool read_all(int fd, void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t n = recv(fd, at, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        must(n >= 0 || errno == ECONNRESET, "an answer in time");
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static void split(struct fcgi_answer *answer, char *bytes, size_t len)
{
    char *gap = len == 0 ? NULL : strstr(bytes, "\r\n\r\n");
    if (gap == NULL) {
        free(bytes);
        return;
    }
    size_t head_len = (size_t)(gap - bytes) + 2;
    answer->head = strndup(bytes, head_len);
    answer->body_len = len - head_len - 2;
    answer->body = malloc(answer->body_len + 1);
    must(answer->head != NULL && answer->body != NULL, "memory");
    memcpy(answer->body, gap + 4, answer->body_len);
    answer->body[answer->body_len] = '\0';
    const char *status = fcgi_header(answer, "Status");
    answer->status = status == NULL ? 200 : (int)strtol(status, NULL, 10);
    free(bytes);
}

struct fcgi_answer fcgi_read_answer(int fd)
{
    struct fcgi_answer answer = { .ended = false };
    char *bytes = NULL;
    size_t len = 0;
    uint8_t head[8];
    while (!answer.ended && read_all(fd, head, sizeof head)) {
        size_t content = (size_t)head[4] << 8 | head[5];
        static char record[RECORD_MAX + 256];
        if (!read_all(fd, record, content + head[6])) {
            break;
        }
        if (head[1] == BODY_OUT && content > 0) {
            bytes = realloc(bytes, len + content + 1);
            must(bytes != NULL, "memory");
            memcpy(bytes + len, record, content);
            len += content;
            bytes[len] = '\0';
        }
        answer.ended = head[1] == END;
    }
    split(&answer, bytes, len);
    return answer;
}

void fcgi_answer_free(struct fcgi_answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct fcgi_answer){ .ended = false };
}

struct fcgi_answer fcgi_ask(const char *path, int fd, const struct fcgi_request *request)
{
    int own = fd >= 0 ? fd : fcgi_connect(path);
    size_t len = request->body == NULL ? 0 : request->body_len > 0 ? request->body_len : strlen(request->body);
    fcgi_begin(own, request->keep);
    fcgi_send_params(own, request, len);
    if (len > 0) {
        (void)fcgi_send_body(own, request->body, len); /* a server may answer before it has read all */
    }
    (void)fcgi_send_body(own, "", 0);
    struct fcgi_answer answer = fcgi_read_answer(own);
    if (fd < 0) {
        close(own);
    }
    return answer;
}

const char *fcgi_header(const struct fcgi_answer *answer, const char *name)
{
    static char value[16384];
    size_t length = strlen(name);
    for (const char *line = answer->head; line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            const char *from = line + length + 1 + strspn(line + length + 1, " ");
            snprintf(value, sizeof value, "%.*s", (int)(end - from), from);
            return value;
        }
        line = end + 2;
    }
    return NULL;
}
