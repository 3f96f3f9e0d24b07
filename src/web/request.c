/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from the wire to the log line: who is asked (route), may they (before), what came (body, inputs), the handler, the
 * answer. Each check answers by itself and ends the way, so a handler runs only on a request that is whole and fits its route.
 */
#include "config.h"

#include "web/web_int.h"

#include <ctype.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/log.h"
#include "os/sys.h"

#define HEADER_NAME_MAX 64u

/* A random UUID (RFC 9562 5.4). */
static void make_id(char out[37])
{
    uint8_t b[16];
    cw_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* The method as a bit; HEAD is a GET whose body stays here. */
static void read_method(struct cw_request *request)
{
    const char *method = cw_wire_param(request->wire, "REQUEST_METHOD");
    request->head = method != NULL && strcmp(method, "HEAD") == 0;
    if (request->head) {
        request->method = CW_GET;
        return;
    }
    for (unsigned bit = 1; bit < 1u << CW_METHODS; bit <<= 1) {
        if (method != NULL && strcmp(method, cw_method_name(bit)) == 0) {
            request->method = bit;
        }
    }
}

static void refuse_method(const struct cw_request *request, struct cw_reply *reply)
{
    char allow[64] = "";
    size_t at = 0;
    for (unsigned bit = 1; bit < 1u << CW_METHODS; bit <<= 1) {
        if ((request->match.allowed & bit) != 0) {
            int n = snprintf(allow + at, sizeof allow - at, "%s%s%s", at == 0 ? "" : ", ", cw_method_name(bit),
                             bit == CW_GET ? ", HEAD" : "");
            at += n > 0 ? (size_t)n : 0;
        }
    }
    cw_reply_fault(reply, "method_not_allowed", NULL, "This method is not offered here.");
    cw_reply_header(reply, "Allow", allow);
}

/* True when a route takes the request; otherwise it is answered. */
static bool find_route(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span uri = cw_span_cstr(cw_wire_param(request->wire, "REQUEST_URI"));
    struct cw_span path;
    cw_span_cut(&uri, '?', &path);
    enum cw_code rc = cw_route_find(request->app, request->arena, path, request->method, &request->match);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, NULL);
    } else if (request->match.allowed == 0) {
        cw_reply_fault(reply, "resource_not_found", NULL, "There is nothing at this address.");
    } else if (request->match.route == NULL) {
        refuse_method(request, reply);
    }
    return rc == CW_OK && request->match.route != NULL;
}

static bool has_type(struct cw_span sent, const char *wanted)
{
    struct cw_span type;
    cw_span_cut(&sent, ';', &type);
    return cw_span_eq_nocase(cw_span_trim(type), cw_span_cstr(wanted));
}

/* A body of a kind that the route does not take is not read at all. */
static bool check_type(const struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span sent = cw_request_header(request, "Content-Type");
    if (request->match.route->body == CW_BODY_JSON) {
        /* curl users forget it; a bearer key guards this door, so nothing hangs on it */
        if (sent.len == 0 || has_type(sent, "application/json")) {
            return true;
        }
        cw_reply_fault(reply, "unsupported_media_type", NULL, "Send the body as application/json.");
        return false;
    }
    if (has_type(sent, "application/x-www-form-urlencoded")) {
        return true;
    }
    cw_reply_fault(reply, "unsupported_media_type", NULL, "Send the form as application/x-www-form-urlencoded.");
    return false;
}

static bool read_body(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_route *route = request->match.route;
    size_t most = route->body_max;
    if (most == 0) {
        most = route->body == CW_BODY_JSON ? CW_API_BODY_MAX : CW_FORM_BODY_MAX;
    }
    struct cw_span text = cw_request_header(request, "Content-Length");
    uint64_t length = 0;
    if (text.len > 0 && !cw_span_u64(text, UINT64_MAX, &length)) {
        cw_reply_fault(reply, "bad_request", NULL, "The length of the body is not a number.");
        return false;
    }
    if (length > most) {
        cw_reply_fault(reply, "payload_too_large", NULL, "The body is larger than allowed here.");
        return false;
    }
    if (length > 0 && !check_type(request, reply)) {
        return false;
    }
    struct cw_err err;
    cw_str_init(&request->body, most);
    enum cw_code rc = cw_wire_read(request->wire, (size_t)length, &request->body, &err);
    if (rc == CW_E_SYNTAX) {
        cw_reply_fault(reply, "bad_request", NULL, "The body ended before its announced length.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    }
    return rc == CW_OK;
}

/* Nothing is expected. What came all the same is not read, and the connection is not used again; with nothing there, the end mark of the
 * empty stream is read, so that keep-alive works. */
static void skip_body(struct cw_request *request)
{
    struct cw_span length = cw_request_header(request, "Content-Length");
    cw_str_init(&request->body, 0);
    if ((length.len > 0 && !cw_span_eq_cstr(length, "0")) ||
        cw_wire_read(request->wire, 0, &request->body, NULL) != CW_OK) {
        cw_wire_drop(request->wire);
    }
}

static bool parse_inputs(struct cw_request *request, struct cw_reply *reply, struct cw_span text,
                         const struct cw_input *table, struct cw_inputs *inputs)
{
    const struct cw_route *route = request->match.route;
    bool unknown_ok = inputs == &request->query ? route->unknown_query_ok : route->unknown_form_ok;
    struct cw_input_fault fault;
    enum cw_code rc = cw_inputs_parse(request->arena, text, table, unknown_ok, inputs, &fault);
    if (rc == CW_E_OOM) {
        cw_reply_fault_code(reply, rc, NULL);
    } else if (rc != CW_OK) {
        cw_reply_fault(reply, fault.malformed ? "bad_request" : "invalid_data", fault.param, fault.message);
    }
    return rc == CW_OK;
}

static bool parse_json(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_json_limits limits = { .max_bytes = request->body.max, .max_depth = CW_JSON_DEPTH_MAX };
    enum cw_code rc = cw_json_parse(cw_str_span(&request->body), limits, &request->json, NULL);
    if (rc == CW_E_OOM) {
        cw_reply_fault_code(reply, rc, NULL);
    } else if (rc != CW_OK) {
        cw_reply_fault(reply, "bad_request", NULL, "The body is not a JSON object.");
    }
    return rc == CW_OK;
}

static bool read_inputs(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_route *route = request->match.route;
    request->query_string = cw_span_cstr(cw_wire_param(request->wire, "QUERY_STRING"));
    if (request->query_string.len > CW_QUERY_MAX) {
        cw_reply_fault(reply, "bad_request", NULL, "The query is longer than allowed.");
        return false;
    }
    if (route->body == CW_BODY_NONE) {
        skip_body(request);
    } else if (!read_body(request, reply)) {
        return false;
    }
    if (!parse_inputs(request, reply, request->query_string, route->query, &request->query)) {
        return false;
    }
    if (route->body == CW_BODY_FORM) {
        return parse_inputs(request, reply, cw_str_span(&request->body), route->form, &request->form);
    }
    return route->body != CW_BODY_JSON || parse_json(request, reply);
}

static void handle(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_web_app *app = request->app;
    if (!find_route(request, reply)) {
        cw_wire_drop(request->wire);
    } else if (app->before != NULL && !app->before(request, reply)) {
        cw_wire_drop(request->wire);
    } else if (!read_inputs(request, reply)) {
        cw_wire_drop(request->wire);
    } else {
        request->match.route->handler(request, reply);
    }
}

void cw_request_serve(const struct cw_place_of_work *at, struct cw_wire *wire, bool busy)
{
    int64_t started_us = cw_monotonic_us();
    struct cw_request request = { .app = at->app, .arena = at->arena, .wire = wire, .thread = at->thread };
    struct cw_reply reply;
    cw_reply_init(&reply, &request);
    make_id(request.id);
    cw_log_context(request.id);
    read_method(&request);
    if (busy) {
        cw_wire_drop(wire);
        at->app->busy(&request, &reply);
    } else {
        handle(&request, &reply);
    }
    cw_reply_finish(&reply);
    cw_log(CW_LOG_INFO, "request.done",
           CW_LIT("route", busy ? "busy" : request.match.route == NULL ? "none" : request.match.route->name),
           CW_LIT("method", request.head ? "HEAD" : cw_method_name(request.method)), CW_INT("status", reply.status),
           CW_INT("gone", reply.gone), CW_US("took", cw_monotonic_us() - started_us));
    cw_log_context(NULL);
    cw_reply_release(&reply);
    cw_str_release(&request.body);
    json_decref(request.json);
}

/* --- what handlers ask --- */

const struct cw_route *cw_request_route(const struct cw_request *request)
{
    return request->match.route;
}

void *cw_request_context(const struct cw_request *request)
{
    return request->app->context;
}

void *cw_request_thread(const struct cw_request *request)
{
    return request->thread;
}

struct cw_arena *cw_request_arena(struct cw_request *request)
{
    return request->arena;
}

unsigned cw_request_method(const struct cw_request *request)
{
    return request->method;
}

const char *cw_request_id(const struct cw_request *request)
{
    return request->id;
}

struct cw_span cw_request_path_var(const struct cw_request *request, const char *name)
{
    for (size_t i = 0; i < request->match.count; i++) {
        if (cw_span_eq_cstr(request->match.names[i], name)) {
            return request->match.values[i];
        }
    }
    cw_bug("a path variable that the route does not have was asked for");
}

struct cw_span cw_request_header(const struct cw_request *request, const char *name)
{
    bool plain = strcmp(name, "Content-Type") == 0 || strcmp(name, "Content-Length") == 0;
    char param[HEADER_NAME_MAX + 6];
    int n = snprintf(param, sizeof param, "%s%s", plain ? "" : "HTTP_", name);
    if (n < 0 || (size_t)n >= sizeof param) {
        cw_bug("a header's name is too long");
    }
    for (char *c = param; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
    return cw_span_cstr(cw_wire_param(request->wire, param));
}

struct cw_span cw_request_cookie(const struct cw_request *request, const char *name)
{
    return cw_cookie_find(cw_span_cstr(cw_wire_param(request->wire, "HTTP_COOKIE")), name);
}

struct cw_span cw_query_text(const struct cw_request *request, const char *name)
{
    return cw_inputs_find(&request->query, request->match.route->query, name)->text;
}

int64_t cw_query_int(const struct cw_request *request, const char *name, int64_t fallback)
{
    const struct cw_value_in *value = cw_inputs_find(&request->query, request->match.route->query, name);
    return value->text.ptr == NULL ? fallback : value->number;
}

struct cw_span cw_form_text(const struct cw_request *request, const char *name)
{
    return cw_inputs_find(&request->form, request->match.route->form, name)->text;
}

int64_t cw_form_int(const struct cw_request *request, const char *name, int64_t fallback)
{
    const struct cw_value_in *value = cw_inputs_find(&request->form, request->match.route->form, name);
    return value->text.ptr == NULL ? fallback : value->number;
}

const json_t *cw_request_json(const struct cw_request *request)
{
    return request->json;
}

struct cw_span cw_request_body(const struct cw_request *request)
{
    return cw_str_span(&request->body);
}

struct cw_span cw_request_query_string(const struct cw_request *request)
{
    return request->query_string;
}

const char *cw_request_address(const struct cw_request *request)
{
    const char *param = request->app->address_param;
    const char *address = cw_wire_param(request->wire, param == NULL ? "REMOTE_ADDR" : param);
    return address == NULL ? "" : address;
}

void cw_request_set_state(struct cw_request *request, void *state)
{
    request->state = state;
}

void *cw_request_state(const struct cw_request *request)
{
    return request->state;
}
