/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incoming requests: the FastCGI loop, routes with typed inputs, responses, cookies, the error envelope.
 *
 * A program has one const table of routes and calls cw_web_run. For each request the loop finds the route, checks
 * method, size and content type, reads the body once, decodes and validates the inputs that the route names (unknown
 * ones are refused where the route says so), and calls the handler with an arena that lives until the answer is sent.
 * A handler reads inputs, calls a service function, chooses a response: at most 50 lines.
 */
#ifndef CW_WEB_WEB_H
#define CW_WEB_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/span.h"
#include "base/str.h"
#include "os/config.h"

/* Bits, so that a route may take several. HEAD is served from GET. */
enum cw_method { CW_GET = 1u << 0, CW_POST = 1u << 1, CW_PUT = 1u << 2, CW_PATCH = 1u << 3, CW_DELETE = 1u << 4 };

enum cw_input_kind {
    CW_IN_TEXT,      /* UTF-8 without control characters, min..max code points */
    CW_IN_INT,       /* decimal, min..max */
    CW_IN_CHOICE     /* one of `choices`, a literal "a|b|c" */
};
/* One named input of a query or urlencoded form. Repeating a name, or a value that does not fit, is a 400 that names it. An empty
 * value of an input that is not required counts as not sent, as browsers send fields that nobody filled in. */
struct cw_input {
    const char *name;
    enum cw_input_kind kind;
    int64_t min, max;
    bool required;
    const char *choices;
};

/* CW_BODY_RAW_FORM: an urlencoded form whose names no table can know (OAuth, FHIR's _search); the handler reads cw_request_body. */
enum cw_body_kind { CW_BODY_NONE, CW_BODY_FORM, CW_BODY_JSON, CW_BODY_RAW_FORM };

struct cw_request;
struct cw_reply;
typedef void cw_handler_fn(struct cw_request *request, struct cw_reply *reply);

/* path: literal segments and {name} for one segment (percent-decoded, so it may hold a slash), e.g. "/patients/{id}/records".
 * A trailing "{rest...}" takes all that is left. */
struct cw_route {
    const char *name;            /* for logs and tests, e.g. "session.get" */
    unsigned method;             /* one bit */
    const char *path;
    cw_handler_fn *handler;
    const struct cw_input *query;  /* ends with name NULL; NULL: no query inputs */
    const struct cw_input *form;
    enum cw_body_kind body;
    size_t body_max;             /* 0: the default of the body's kind */
    bool unknown_query_ok;       /* pages: browsers and mail programs add parameters */
    bool unknown_form_ok;        /* forms that others send: portals add fields */
    unsigned flags;              /* for the program (key scopes, …) */
    const char *doc;             /* one line */
};

enum cw_fault_style { CW_FAULT_JSON, CW_FAULT_PAGE };

/* What a program gives the loop. */
struct cw_web_app {
    const char *program;                 /* "chartway-api" */
    const char *mount;                   /* path prefix that is cut off: "/api", "" … */
    const struct cw_route *routes;
    size_t route_count;
    enum cw_fault_style faults;          /* how the loop's own 4xx and 5xx look */
    unsigned threads;
    int listen_fd;                       /* 0, where spawn-fcgi and systemd put it; tests use others */
    const char *address_param;           /* FastCGI parameter with the browser's address; NULL: REMOTE_ADDR */
    const char *doc_url;                 /* page about error codes; the code follows after '#' */
    void *context;                       /* handed out by cw_request_context */
    /* What each thread keeps for itself (an HTTP handle): made at its start from `context`, handed out by cw_request_thread. Both
     * may be NULL; NULL from thread_new stops the program. */
    void *(*thread_new)(void *context);
    void (*thread_free)(void *thread);
    /* Runs after routing and before body and inputs are looked at: keys, sessions, limits. It sees path variables, headers and
     * cookies only. Returns false when it has answered itself. May be NULL. */
    bool (*before)(struct cw_request *request, struct cw_reply *reply);
    /* Writes an error page (CW_FAULT_PAGE). */
    void (*fault_page)(struct cw_request *request, struct cw_reply *reply, int status, const char *code);
    /* Sees each answer before it is sent: extra headers. May be NULL. */
    void (*after)(struct cw_request *request, struct cw_reply *reply);
    /* Called when all threads are busy for more than a moment, from the accepting thread, to answer by a waiting page. May be NULL. */
    void (*busy)(struct cw_request *request, struct cw_reply *reply);
};

/* Tells libfcgi by the environment, where it looks, how long to wait for a silent peer. Before any other thread runs: a
 * setenv moves the environment from under a getenv elsewhere. */
void cw_web_prepare(void);
/* Serves the listening socket on fd 0 until a stop is asked (os/sys), then finishes what is in hand. One line of log per request:
 * route name, method, status, time, request id; never path, query, address or cookie. */
enum cw_code cw_web_run(const struct cw_web_app *app, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

/* --- the request --- */
const struct cw_route *cw_request_route(const struct cw_request *request);
void *cw_request_context(const struct cw_request *request);          /* app->context */
void *cw_request_thread(const struct cw_request *request);           /* what app->thread_new gave; NULL in busy() */
struct cw_arena *cw_request_arena(struct cw_request *request);
unsigned cw_request_method(const struct cw_request *request);
/* Our id of this request, a UUID; also the X-Request-Id header of the answer. */
const char *cw_request_id(const struct cw_request *request) CW_RETURNS_NONNULL;
/* A path variable, decoded, valid UTF-8 without controls. Asking for one that the route has not is a bug. */
struct cw_span cw_request_path_var(const struct cw_request *request, const char *name);
/* A header by its usual name ("Authorization"); absent span when not sent. Bytes are as sent. */
struct cw_span cw_request_header(const struct cw_request *request, const char *name);
/* A cookie's value, or the absent span (also when it is sent twice with different values). */
struct cw_span cw_request_cookie(const struct cw_request *request, const char *name);
/* Validated inputs; absent span or `fallback` when not sent, and on a fault page that comes before they were read. */
struct cw_span cw_query_text(const struct cw_request *request, const char *name);
int64_t cw_query_int(const struct cw_request *request, const char *name, int64_t fallback);
struct cw_span cw_form_text(const struct cw_request *request, const char *name);
int64_t cw_form_int(const struct cw_request *request, const char *name, int64_t fallback);
/* The JSON body: an object, within the limits; NULL when the route has none. Borrowed. */
const json_t *cw_request_json(const struct cw_request *request);
struct cw_span cw_request_body(const struct cw_request *request);
struct cw_span cw_request_query_string(const struct cw_request *request); /* raw */
/* The browser's address in text form ("" when unknown), for limits only; never logged. */
const char *cw_request_address(const struct cw_request *request) CW_RETURNS_NONNULL;
/* A place for the program's own per-request state (the key, the Session). */
void cw_request_set_state(struct cw_request *request, void *state);
void *cw_request_state(const struct cw_request *request);

/* --- the answer; nothing is sent before the handler returns, unless streaming --- */
void cw_reply_status(struct cw_reply *reply, int status);
/* Refuses CR, LF, NUL (bug for literals, dropped and logged for data). Replaces one of the same name, but Set-Cookie adds. An empty value: none of that name is
 * sent, not the one that answers have by default either. */
void cw_reply_header(struct cw_reply *reply, const char *name, const char *value);
/* The body's buffer, bounded by CW_RESPONSE_MAX. A fault of it becomes a 500. */
struct cw_str *cw_reply_body(struct cw_reply *reply) CW_RETURNS_NONNULL;
void cw_reply_json(struct cw_reply *reply, int status);    /* content type; body was or will be written by the caller */
void cw_reply_html(struct cw_reply *reply, int status);
/* Where forms of this page may lead, as CSP form-action sources (copied); 'self' when not called. Chromium enforces form-action on the
 * redirects that follow a submission too, so a page whose form ends in a 303 to a portal or to return_url must name those. */
void cw_reply_form_action(struct cw_reply *reply, const char *sources);
/* 303 with an empty body. `url` is a validated absolute URL or a path of ours. */
void cw_reply_see_other(struct cw_reply *reply, const char *url);
/* The error envelope of the contract {"error":{type,code,message,param,doc_url,request_id}}, or the app's fault page. `message` is a
 * literal or built from literals; param NULL for null. The table in web/fault.c gives type and status of each code. */
void cw_reply_fault(struct cw_reply *reply, const char *code, const char *param, const char *message);
/* HTTP status of a code of the table; 0 for a code that it has not. */
int cw_fault_status(const char *code) CW_NONNULL(1);
/* The same from a code of ours: CW_E_UNAVAILABLE → 503 with Retry-After, CW_E_NOT_FOUND → resource_not_found … Logs err once. */
void cw_reply_fault_code(struct cw_reply *reply, enum cw_code code, const struct cw_err *err);
int cw_reply_get_status(const struct cw_reply *reply);
/* Writes status and headers now; then pieces by cw_reply_stream; false once the peer has gone. */
bool cw_reply_stream_start(struct cw_reply *reply);
bool cw_reply_stream(struct cw_reply *reply, struct cw_span piece);

struct cw_cookie {
    const char *name;        /* "__Host-" is put in front where `secure` */
    struct cw_span value;
    int64_t max_age_s;       /* 0: for the browser's session; negative: delete */
    bool secure;
};
/* HttpOnly, SameSite=Lax, Path=/. */
void cw_reply_cookie(struct cw_reply *reply, const struct cw_cookie *cookie);
/* The name as it stands in the request: with "__Host-" where secure. Writes into out (64 bytes). */
void cw_cookie_name(const char *name, bool secure, char out[64]);

/* --- limits: token buckets by key in this process, a fixed table (oldest go) --- */
struct cw_limiter;
void cw_limiter_free(struct cw_limiter *limiter);
struct cw_limiter *cw_limiter_new(size_t slots) CW_MUST_USE CW_MALLOC(cw_limiter_free);
/* Takes one token of `key` (hashed) from a bucket of `per_minute` (also its size). False when empty; *ret_wait_s then says when to come back. Thread-safe. */
bool cw_limiter_take(struct cw_limiter *limiter, const char *kind, struct cw_span key, unsigned per_minute,
                     unsigned *ret_wait_s) CW_NONNULL(1, 2, 5);

#endif
