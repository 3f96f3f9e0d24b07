/* SPDX-License-Identifier: Apache-2.0 */
/* /patients: the people an app knows, under its own ids. */
#include "config.h"

#include "api/api.h"

#include "api/body.h"
#include "api/cursor.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/connection.h"
#include "model/wire.h"

/* Create refuses null, as its schema does; replace takes it for "none". */
static const struct cw_field create_fields[] = {
    { .name = "patient_id", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_PATIENT_ID_CHARS_MAX, .required = true },
    { .name = "email", .kind = CW_FIELD_EMAIL },
    { .name = "name", .kind = CW_FIELD_TEXT, .max = CW_PATIENT_NAME_CHARS_MAX },
    { .name = "metadata", .kind = CW_FIELD_METADATA },
    { .name = NULL },
};
static const struct cw_field replace_fields[] = {
    { .name = "patient_id", .kind = CW_FIELD_TEXT, .min = 1, .max = CW_PATIENT_ID_CHARS_MAX, .required = true },
    { .name = "email", .kind = CW_FIELD_EMAIL, .nullable = true },
    { .name = "name", .kind = CW_FIELD_TEXT, .max = CW_PATIENT_NAME_CHARS_MAX, .nullable = true },
    { .name = "metadata", .kind = CW_FIELD_METADATA },
    { .name = NULL },
};

static struct cw_patient wanted_of(const struct cw_body *body)
{
    struct cw_span name = cw_body_text(body, "name");
    return (struct cw_patient){
        .patient_id = cw_body_text(body, "patient_id"),
        .email = cw_body_text(body, "email"),
        .name = name.len == 0 ? (struct cw_span){ 0 } : name,
        .metadata = cw_body_text(body, "metadata"),
    };
}

static void write_patient(struct cw_reply *reply, const struct cw_patient *patient)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_wire_patient(&w, patient);
    cw_api_finish(reply, &w);
}

void cw_api_patient_create(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_body body;
    if (!cw_body_read(request, reply, create_fields, false, &body)) {
        return;
    }
    struct cw_patient wanted = wanted_of(&body);
    if (cw_patient_id_check(wanted.patient_id, NULL) != CW_OK) {
        cw_api_invalid(reply, "patient_id", CW_API_PATIENT_ID_RULE);
        return;
    }
    struct cw_patient patient;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_patient_create(&call->api->model, &call->actor, call->key.org, &wanted,
                                        cw_request_arena(request), &patient, &err);
    if (rc == CW_E_CONFLICT) {
        cw_reply_fault(reply, "external_id_already_exists", "patient_id", "There is a patient with this id already.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    } else {
        write_patient(reply, &patient);
    }
}

void cw_api_patient_replace(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_body body;
    if (!cw_body_read(request, reply, replace_fields, false, &body)) {
        return;
    }
    struct cw_patient wanted = wanted_of(&body);
    if (!cw_span_eq(wanted.patient_id, cw_request_path_var(request, "id"))) {
        cw_api_invalid(reply, "patient_id", "This must equal the id in the path; ids do not change.");
        return;
    }
    struct cw_patient patient;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_patient_replace(&call->api->model, &call->actor, call->key.org, &wanted,
                                         cw_request_arena(request), &patient, &err);
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "id", "There is no patient with this id.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    } else {
        write_patient(reply, &patient);
    }
}

void cw_api_patient_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    if (!cw_api_patient(request, reply, &patient)) {
        return;
    }
    struct cw_connection *connections = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_connection_list(&call->api->model, patient.row, cw_request_arena(request), &connections,
                                         &count, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_wire_patient_detail(&w, &patient, connections, count);
    cw_api_finish(reply, &w);
}

void cw_api_patient_list(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient_filter filter = {
        .patient_id = cw_query_text(request, "patient_id"),
        .email = cw_query_text(request, "email"),
        .limit = (unsigned)cw_query_int(request, "limit", CW_LIST_LIMIT_DEFAULT),
    };
    const struct cw_cursor_scope scope = {
        .list = "patients",
        .org = call->key.org,
        .filters = { filter.patient_id, filter.email },
    };
    struct cw_span after = cw_query_text(request, "starting_after");
    if (after.len > 0 && !cw_cursor_parse(&scope, after, &filter.after)) {
        cw_api_invalid(reply, "starting_after", "This cursor is not one of this list with these filters.");
        return;
    }
    struct cw_patient *patients = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_patient_list(&call->api->model, call->key.org, &filter, cw_request_arena(request), &patients,
                                      &count, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    char next[CW_CURSOR_TEXT_MAX] = "";
    size_t shown = count > filter.limit ? filter.limit : count;
    if (count > shown) {
        cw_cursor_emit(&scope, patients[shown - 1].row.ulid, next);
    }
    struct cw_jsonw w;
    cw_api_list_open(&w, reply);
    for (size_t i = 0; i < shown; i++) {
        cw_wire_patient(&w, &patients[i]);
    }
    cw_api_list_close(&w, reply, count > shown ? cw_span_cstr(next) : (struct cw_span){ 0 });
}
