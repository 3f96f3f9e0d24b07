/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the bodies of request and reply, and the wire that only server.c knows to be libfcgi. */
#ifndef CW_WEB_WEB_INT_H
#define CW_WEB_WEB_INT_H

#include "web/web.h"

#define CW_PATH_VARS_MAX 6u
#define CW_REPLY_HEADERS_MAX 32u
#define CW_METHODS 5u

/* --- server.c: one request on the FastCGI connection --- */
struct cw_wire;
/* A FastCGI parameter, NULL when not sent; lives until the request ends. */
const char *cw_wire_param(struct cw_wire *wire, const char *name) CW_NONNULL(1, 2);
/* Reads a body that was announced as `announced` bytes to its end. CW_E_SYNTAX when it was cut or is longer: libfcgi ends a stream
 * that broke like one that is whole, so both the error and the length are looked at. */
enum cw_code cw_wire_read(struct cw_wire *wire, size_t announced, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;
/* The connection is not used for another request: an unread body would be taken for it. */
void cw_wire_drop(struct cw_wire *wire) CW_NONNULL(1);
/* False once the peer has gone. */
bool cw_wire_write(struct cw_wire *wire, struct cw_span bytes) CW_NONNULL(1);
bool cw_wire_flush(struct cw_wire *wire) CW_NONNULL(1);

/* --- input.c --- */
struct cw_value_in {
    const struct cw_input *input;
    struct cw_span text;
    int64_t number;
};
struct cw_inputs {
    struct cw_value_in *values;
    size_t count;
};
/* What was wrong with the inputs, for the fault. */
struct cw_input_fault {
    const char *param;   /* the table's name of the input, or a copy in the arena; NULL when it has none fit to be shown */
    const char *message; /* a literal */
    bool malformed;      /* bad_request rather than invalid_data */
};
/* Decodes `text` (a query string or an urlencoded form) and checks it against `table` (NULL: none). CW_E_SYNTAX, CW_E_RANGE,
 * CW_E_MISSING, CW_E_TOO_BIG fill *ret_fault; CW_E_OOM does not. */
enum cw_code cw_inputs_parse(struct cw_arena *arena, struct cw_span text, const struct cw_input *table, bool unknown_ok,
                             struct cw_inputs *ret_inputs, struct cw_input_fault *ret_fault)
    CW_NONNULL(1, 5, 6) CW_MUST_USE;
const struct cw_value_in *cw_inputs_find(const struct cw_inputs *inputs, const struct cw_input *table, const char *name)
    CW_NONNULL(1, 3);

/* --- route.c --- */
struct cw_match {
    const struct cw_route *route;          /* NULL: none */
    unsigned allowed;                      /* methods of the routes with this path; 0: no such path */
    size_t count;
    struct cw_span names[CW_PATH_VARS_MAX]; /* borrowed from the route's path */
    struct cw_span values[CW_PATH_VARS_MAX];
};
/* `path` as sent, still percent-coded, without query. CW_E_OOM, else CW_OK with the answer in *ret_match. */
enum cw_code cw_route_find(const struct cw_web_app *app, struct cw_arena *arena, struct cw_span path, unsigned method,
                           struct cw_match *ret_match) CW_NONNULL(1, 2, 5) CW_MUST_USE;
/* Aborts on a table that cannot work (a path variable without end, a form without form body). */
void cw_routes_check(const struct cw_web_app *app) CW_NONNULL(1);
/* "GET", … of one bit. */
const char *cw_method_name(unsigned method) CW_RETURNS_NONNULL;

/* --- cookie.c --- */
struct cw_span cw_cookie_find(struct cw_span header, const char *name) CW_NONNULL(2);

/* --- request.c --- */
struct cw_request {
    const struct cw_web_app *app;
    struct cw_arena *arena;
    struct cw_wire *wire;
    struct cw_match match;
    struct cw_inputs query;
    struct cw_inputs form;
    struct cw_span query_string;
    struct cw_str body;
    json_t *json;
    void *state;
    void *thread;
    unsigned method; /* 0: one that we do not know */
    bool head;
    char id[37];
};

/* --- reply.c --- */
struct cw_header_line {
    const char *name;
    const char *value;
};
struct cw_reply {
    struct cw_request *request;
    struct cw_str body;
    struct cw_header_line headers[CW_REPLY_HEADERS_MAX];
    size_t header_count;
    const char *form_action;
    int status;
    bool html;
    bool streaming;
    bool gone; /* the peer has hung up */
};
void cw_reply_init(struct cw_reply *reply, struct cw_request *request) CW_NONNULL(1, 2);
void cw_reply_release(struct cw_reply *reply) CW_NONNULL(1);
/* Sends what the handler left, unless it streamed. */
void cw_reply_finish(struct cw_reply *reply) CW_NONNULL(1);

/* Where a request is served: `thread` is the program's own part. */
struct cw_place_of_work {
    const struct cw_web_app *app;
    struct cw_arena *arena;
    void *thread;
};
/* Handles one request that is on the wire, from routing to the last byte, and logs it. `busy`: by app->busy alone. */
void cw_request_serve(const struct cw_place_of_work *at, struct cw_wire *wire, bool busy) CW_NONNULL(1, 2);

#endif
