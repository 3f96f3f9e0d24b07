/* SPDX-License-Identifier: Apache-2.0 */
/* /patient-sessions: starting one and reading it, and a patient's list of them. */
#include "config.h"

#include "api/api.h"

#include "api/body.h"
#include "api/cursor.h"
#include "api/return_url.h"
#include "base/limits.h"
#include "model/connection.h"
#include "model/session.h"
#include "model/wire.h"
#include "net/url.h"

static const struct cw_field fields[] = {
    { .name = "patient_id", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_PATIENT_ID_CHARS_MAX, .required = true },
    { .name = "patient_email", .kind = CW_FIELD_EMAIL },
    { .name = "patient_name", .kind = CW_FIELD_TEXT, .max = CW_PATIENT_NAME_CHARS_MAX },
    { .name = "connection_id", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_URL_MAX },
    { .name = "recommended_connection_ids", .kind = CW_FIELD_TEXTS, .max = CW_RECOMMENDED_MAX },
    { .name = "reconnect_connection_id", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_ID_TEXT_MAX },
    { .name = "return_url", .kind = CW_FIELD_TEXT, .min = 1, .max = INT32_MAX, .required = true },
    { .name = "return_button_label", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_RETURN_LABEL_CHARS_MAX },
    { .name = "expires_in", .kind = CW_FIELD_INT, .min = CW_SESSION_SECONDS_MIN, .max = CW_SESSION_SECONDS_MAX },
    { .name = "metadata", .kind = CW_FIELD_METADATA },
    { .name = NULL },
};

/* Whether this organization may send patients there; answers by itself when not. */
static bool check_return_url(struct cw_request *request, struct cw_reply *reply, struct cw_span url)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_err err = { 0 };
    enum cw_return_kind kind;
    CW_AUTO_STR target;
    cw_str_init(&target, CW_RETURN_URL_MAX);
    enum cw_code rc = cw_return_target(url, &kind, &target, &err);
    bool production = call->key.environment == CW_ENV_PRODUCTION;
    if (rc == CW_E_OOM) {
        cw_reply_fault_code(reply, rc, &err);
        return false;
    }
    if (rc == CW_E_TOO_BIG) {
        cw_api_invalid(reply, "return_url", "At most 2048 bytes are allowed here.");
        return false;
    }
    if (rc == CW_E_DENIED || (rc == CW_OK && production && kind == CW_RETURN_LOOPBACK)) {
        cw_api_invalid(reply, "return_url", "Use https; http is for loopback addresses of sandbox organizations alone.");
        return false;
    }
    if (rc != CW_OK) {
        cw_api_invalid(reply, "return_url", "This must be an https URL or one of an app's private-use scheme.");
        return false;
    }
    bool allowed = !production;
    if (production) {
        rc = cw_org_return_allowed(&call->api->model, call->key.org, cw_str_span(&target), &allowed, &err);
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    } else if (!allowed) {
        cw_api_invalid(reply, "return_url", "This address is not on the organization's list of return addresses.");
    }
    return rc == CW_OK && allowed;
}

/* The ids of recommended_connection_ids, each once, in the order given. */
static bool resolve_recommended(struct cw_request *request, struct cw_reply *reply, const json_t *asked,
                                struct cw_session_new *input)
{
    size_t count = json_array_size(asked);
    struct cw_source_id *ids = cw_arena_array(cw_request_arena(request), count, sizeof *ids);
    if (count > 0 && ids == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return false;
    }
    input->recommended = ids;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(asked, i);
        struct cw_span text = cw_span_of(json_string_value(item), json_string_length(item));
        struct cw_source source;
        const char *param = cw_arena_printf(cw_request_arena(request), "recommended_connection_ids[%zu]", i);
        if (!cw_api_source(request, reply, text, param, &source)) {
            return false;
        }
        bool twice = false;
        for (size_t k = 0; k < input->recommended_count; k++) {
            twice = twice || cw_ulid_eq(ids[k].ulid, source.id.ulid);
        }
        if (!twice) {
            ids[input->recommended_count++] = source.id;
        }
    }
    return true;
}

static bool no_such_connection(struct cw_reply *reply)
{
    cw_api_not_found(reply, "reconnect_connection_id", "This patient has no such connection.");
    return false;
}

/* A connection of the patient that the body names; Direct mode to its source. */
static bool resolve_reconnect(struct cw_request *request, struct cw_reply *reply, struct cw_span id,
                              struct cw_session_new *input)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_err err = { 0 };
    struct cw_patient patient;
    struct cw_connection connection;
    struct cw_source source;
    if (!cw_id_parse(CW_PREFIX_CONNECTION, id, &input->reconnect.ulid)) {
        return no_such_connection(reply);
    }
    enum cw_code rc = cw_patient_get(&call->api->model, call->key.org, input->patient.patient_id, arena, &patient, &err);
    if (rc == CW_OK) {
        rc = cw_connection_get(&call->api->model, input->reconnect, arena, &connection, &err);
    }
    if (rc == CW_E_NOT_FOUND || (rc == CW_OK && !cw_ulid_eq(connection.patient.ulid, patient.row.ulid))) {
        return no_such_connection(reply);
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return false;
    }
    char text[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_SOURCE, connection.source.ulid, text);
    if (!cw_api_source(request, reply, cw_span_cstr(text), "reconnect_connection_id", &source)) {
        return false;
    }
    input->direct_source = source.id;
    return true;
}

static bool resolve_sources(struct cw_request *request, struct cw_reply *reply, const struct cw_body *body,
                            struct cw_session_new *input)
{
    bool direct = cw_body_sent(body, "connection_id");
    if (cw_body_sent(body, "reconnect_connection_id")) {
        if (direct || cw_body_sent(body, "recommended_connection_ids")) {
            cw_reply_fault(reply, "bad_request", "reconnect_connection_id",
                           "A connection that is to be reconnected names its source: send no other.");
            return false;
        }
        return resolve_reconnect(request, reply, cw_body_text(body, "reconnect_connection_id"), input);
    }
    if (!direct) {
        const json_t *asked = cw_body_array(body, "recommended_connection_ids");
        return asked == NULL || resolve_recommended(request, reply, asked, input);
    }
    if (cw_body_sent(body, "recommended_connection_ids")) {
        cw_reply_fault(reply, "bad_request", "recommended_connection_ids",
                       "Send either connection_id or recommended_connection_ids, not both.");
        return false;
    }
    struct cw_source source;
    if (!cw_api_source(request, reply, cw_body_text(body, "connection_id"), "connection_id", &source)) {
        return false;
    }
    input->direct_source = source.id;
    return true;
}

/* An empty text says no more than none. */
static struct cw_span some(struct cw_span text)
{
    return text.len == 0 ? (struct cw_span){ 0 } : text;
}

static void write_session(struct cw_request *request, struct cw_reply *reply, const struct cw_session *session)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_wire_session(&w, session, cw_call_of(request)->api->origin);
    cw_api_finish(reply, &w);
}

void cw_api_session_create(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_body body;
    if (!cw_body_read(request, reply, fields, true, &body)) {
        return;
    }
    struct cw_session_new input = {
        .patient = { .patient_id = cw_body_text(&body, "patient_id"),
                     .email = cw_body_text(&body, "patient_email"),
                     .name = some(cw_body_text(&body, "patient_name")) },
        .return_url = cw_body_text(&body, "return_url"),
        .return_label = cw_body_text(&body, "return_button_label"),
        .metadata = cw_body_text(&body, "metadata"),
        .expires_in_s = cw_body_int(&body, "expires_in", CW_SESSION_SECONDS_DEFAULT),
    };
    if (cw_patient_id_check(input.patient.patient_id, NULL) != CW_OK) {
        cw_api_invalid(reply, "patient_id", CW_API_PATIENT_ID_RULE);
        return;
    }
    if (!check_return_url(request, reply, input.return_url) || !resolve_sources(request, reply, &body, &input)) {
        return;
    }
    struct cw_session session;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_session_create(&call->api->model, &call->actor, call->key.org, &input,
                                        cw_request_arena(request), &session, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    write_session(request, reply, &session);
}

void cw_api_session_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_session_id id;
    struct cw_session session;
    struct cw_err err = { 0 };
    enum cw_code rc = CW_E_NOT_FOUND;
    if (cw_id_parse(CW_PREFIX_SESSION, cw_request_path_var(request, "id"), &id.ulid)) {
        rc = cw_session_get(&call->api->model, call->key.org, id, cw_request_arena(request), &session, &err);
    }
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "id", "There is no Session with this id.");
        return;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    call->patient = session.patient;
    call->object = session.id.ulid;
    write_session(request, reply, &session);
}

static enum cw_session_status status_of(struct cw_span name)
{
    static const enum cw_session_status all[] = { CW_SESSION_OPEN, CW_SESSION_COMPLETE, CW_SESSION_EXPIRED };
    for (size_t i = 0; i < CW_ARRAY_LEN(all); i++) {
        if (cw_span_eq_cstr(name, cw_session_status_name(all[i]))) {
            return all[i];
        }
    }
    return (enum cw_session_status)0;
}

void cw_api_session_list(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    if (!cw_api_patient(request, reply, &patient)) {
        return;
    }
    struct cw_span status = cw_query_text(request, "status");
    struct cw_span after = cw_query_text(request, "starting_after");
    unsigned limit = (unsigned)cw_query_int(request, "limit", CW_LIST_LIMIT_DEFAULT);
    const struct cw_cursor_scope scope = {
        .list = "sessions",
        .org = call->key.org,
        .filters = { cw_span_of(patient.row.ulid.bytes, sizeof patient.row.ulid.bytes), status },
    };
    struct cw_ulid place = { 0 };
    if (after.len > 0 && !cw_cursor_parse(&scope, after, &place)) {
        cw_api_invalid(reply, "starting_after", "This cursor is not one of this list with these filters.");
        return;
    }
    struct cw_session *sessions = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_session_list(&call->api->model, call->key.org, patient.patient_id, status_of(status), place,
                                      limit, cw_request_arena(request), &sessions, &count, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    char next[CW_CURSOR_TEXT_MAX] = "";
    size_t shown = count > limit ? limit : count;
    if (count > shown) {
        cw_cursor_emit(&scope, sessions[shown - 1].id.ulid, next);
    }
    struct cw_jsonw w;
    cw_api_list_open(&w, reply);
    for (size_t i = 0; i < shown; i++) {
        cw_wire_session(&w, &sessions[i], call->api->origin);
    }
    cw_api_list_close(&w, reply, count > shown ? cw_span_cstr(next) : (struct cw_span){ 0 });
}
