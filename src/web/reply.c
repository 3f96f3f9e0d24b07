/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers. A handler fills status, headers and a bounded body; nothing is on the wire before it returns, so a fault that it meets late
 * still becomes a whole answer. Streaming gives that up. Every answer carries the security headers, whatever it is.
 */
#include "config.h"

#include "web/web_int.h"

#include <strings.h>

#include "base/limits.h"
#include "os/log.h"

/* The head must fit fastcgi_buffer_size of the web server (16 KiB in our conf/), else it answers 502. */
#define HEAD_MAX 15360u

void cw_reply_init(struct cw_reply *reply, struct cw_request *request)
{
    *reply = (struct cw_reply){ .request = request };
    cw_str_init(&reply->body, CW_RESPONSE_MAX);
}

void cw_reply_release(struct cw_reply *reply)
{
    cw_str_release(&reply->body);
}

void cw_reply_status(struct cw_reply *reply, int status)
{
    reply->status = status;
}

int cw_reply_get_status(const struct cw_reply *reply)
{
    return reply->status;
}

struct cw_str *cw_reply_body(struct cw_reply *reply)
{
    return &reply->body;
}

static bool is_header_value(const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 ? *c != '\t' : *c == 0x7f) {
            return false;
        }
    }
    return true;
}

void cw_reply_header(struct cw_reply *reply, const char *name, const char *value)
{
    if (name[strcspn(name, ":\r\n \t")] != '\0') {
        cw_bug("not a header's name");
    }
    if (!is_header_value(value)) {
        cw_log(CW_LOG_ERR, "reply.header_refused", CW_LIT("header", name));
        return;
    }
    const char *copy = cw_arena_text(reply->request->arena, cw_span_cstr(value));
    if (copy == NULL) {
        reply->body.code = CW_E_OOM; /* an answer without one of its headers is not sent */
        return;
    }
    size_t at = reply->header_count;
    if (strcasecmp(name, "Set-Cookie") != 0) {
        for (at = 0; at < reply->header_count && strcasecmp(reply->headers[at].name, name) != 0; at++) {
        }
    }
    if (at == CW_REPLY_HEADERS_MAX) {
        cw_bug("too many headers in one answer");
    }
    reply->headers[at] = (struct cw_header_line){ name, copy };
    if (at == reply->header_count) {
        reply->header_count++;
    }
}

void cw_reply_json(struct cw_reply *reply, int status)
{
    reply->status = status;
    reply->html = false;
    cw_reply_header(reply, "Content-Type", "application/json");
}

void cw_reply_html(struct cw_reply *reply, int status)
{
    reply->status = status;
    reply->html = true;
    cw_reply_header(reply, "Content-Type", "text/html; charset=utf-8");
}

void cw_reply_form_action(struct cw_reply *reply, const char *sources)
{
    const char *copy = is_header_value(sources) ? cw_arena_text(reply->request->arena, cw_span_cstr(sources)) : NULL;
    if (copy == NULL) {
        reply->body.code = CW_E_OOM; /* a page without its policy is not sent */
        return;
    }
    reply->form_action = copy;
}

/* Visible ASCII only; what else a target must be is for whoever built it. */
static bool is_location(const char *url)
{
    for (const char *c = url; *c != '\0'; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f) {
            return false;
        }
    }
    return url[0] != '\0';
}

void cw_reply_see_other(struct cw_reply *reply, const char *url)
{
    cw_str_clear(&reply->body);
    if (!is_location(url)) {
        cw_log(CW_LOG_ERR, "reply.location_refused");
        cw_reply_fault_code(reply, CW_E__LAST, NULL);
        return;
    }
    reply->status = 303;
    reply->html = false;
    cw_reply_header(reply, "Location", url);
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 302, "Found" },
        { 303, "See Other" }, { 304, "Not Modified" }, { 400, "Bad Request" }, { 401, "Unauthorized" },
        { 402, "Payment Required" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
        { 409, "Conflict" }, { 410, "Gone" }, { 413, "Content Too Large" }, { 415, "Unsupported Media Type" },
        { 429, "Too Many Requests" }, { 500, "Internal Server Error" }, { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Other";
}

static bool has_header(const struct cw_reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->header_count; i++) {
        if (strcasecmp(reply->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_default(const struct cw_reply *reply, struct cw_str *head, const char *name, const char *value)
{
    if (!has_header(reply, name)) {
        cw_str_addf(head, "%s: %s\r\n", name, value);
    }
}

/* JSON is never a document, so its policy allows nothing at all. */
static void add_policy(const struct cw_reply *reply, struct cw_str *head)
{
    if (!reply->html) {
        add_default(reply, head, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        return;
    }
    cw_str_addf(head,
                "Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
                "font-src 'self'; connect-src 'self'; form-action %s; frame-ancestors 'none'; base-uri 'none'\r\n",
                reply->form_action == NULL ? "'self'" : reply->form_action);
}

static enum cw_code write_head(const struct cw_reply *reply, bool with_length, struct cw_str *head)
{
    cw_str_addf(head, "Status: %d %s\r\n", reply->status, reason(reply->status));
    for (size_t i = 0; i < reply->header_count; i++) {
        if (reply->headers[i].value[0] != '\0') {
            cw_str_addf(head, "%s: %s\r\n", reply->headers[i].name, reply->headers[i].value);
        }
    }
    if (with_length) {
        cw_str_addf(head, "Content-Length: %zu\r\n", reply->body.len);
    }
    add_policy(reply, head);
    add_default(reply, head, "X-Content-Type-Options", "nosniff");
    add_default(reply, head, "Referrer-Policy", "no-referrer");
    add_default(reply, head, "Cache-Control", "no-store");
    if (reply->status == 503 || reply->status == 429) {
        add_default(reply, head, "Retry-After", reply->status == 503 ? "5" : "60");
    }
    cw_str_addf(head, "X-Request-Id: %s\r\n\r\n", reply->request->id);
    return cw_str_code(head);
}

static bool send_head(struct cw_reply *reply, bool with_length)
{
    CW_AUTO_STR head;
    cw_str_init(&head, HEAD_MAX);
    if (write_head(reply, with_length, &head) != CW_OK) {
        cw_log(CW_LOG_ERR, "reply.head_refused", CW_INT("status", reply->status));
        cw_str_clear(&head);
        cw_str_clear(&reply->body);
        reply->status = 500;
        reply->header_count = 0;
        reply->html = false;
        (void)write_head(reply, true, &head); /* short, unless memory has run out: then the peer sees an empty answer */
    }
    reply->gone = !cw_wire_write(reply->request->wire, cw_str_span(&head));
    return !reply->gone;
}

bool cw_reply_stream_start(struct cw_reply *reply)
{
    reply->streaming = true;
    send_head(reply, false);
    if (!reply->gone && reply->body.len > 0 && !reply->request->head) {
        reply->gone = !cw_wire_write(reply->request->wire, cw_str_span(&reply->body));
    }
    return !reply->gone;
}

bool cw_reply_stream(struct cw_reply *reply, struct cw_span piece)
{
    if (!reply->streaming) {
        cw_bug("a piece of a stream that was not started");
    }
    if (reply->request->head) {
        return false; /* nobody wants the rest */
    }
    if (!reply->gone && piece.len > 0) {
        reply->gone = !cw_wire_write(reply->request->wire, piece);
    }
    return !reply->gone;
}

void cw_reply_finish(struct cw_reply *reply)
{
    struct cw_request *request = reply->request;
    if (reply->streaming) {
        return;
    }
    enum cw_code code = cw_str_code(&reply->body);
    if (reply->status == 0 || code != CW_OK) {
        struct cw_err err;
        cw_err_set(&err, code == CW_OK ? CW_E_STATE : code, "reply",
                   code == CW_OK ? "the handler gave no answer" : "the answer did not fit its memory");
        reply->header_count = 0;
        cw_reply_fault_code(reply, CW_E__LAST, NULL);
        cw_log(CW_LOG_ERR, "reply.lost", CW_ERR(&err));
    }
    if (request->app->after != NULL) {
        request->app->after(request, reply);
    }
    bool bodiless = reply->status == 204 || reply->status == 304;
    if (send_head(reply, !bodiless) && !request->head && !bodiless && reply->body.len > 0) {
        reply->gone = !cw_wire_write(request->wire, cw_str_span(&reply->body));
    }
    if (!reply->gone) {
        reply->gone = !cw_wire_flush(request->wire);
    }
}
