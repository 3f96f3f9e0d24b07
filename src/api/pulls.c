/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /patients/{id}/pulls: what is fetched, how far that is, what it brought. As in every body of the contract `connection_id` is a source's id; the
 * patient's own connection is `patient_connection_id`.
 */
#include "config.h"

#include "api/api.h"

#include "api/body.h"
#include "api/cursor.h"
#include "base/limits.h"
#include "model/pull_progress.h"
#include "model/pull_receipt.h"
#include "os/log.h"

#define NONE ((struct cw_span){ NULL, 0 })

static const struct cw_field start_fields[] = {
    { .name = "connection_id", .kind = CW_FIELD_TEXT, .min = 1, .max = 64, .nullable = true },
    { .name = NULL },
};

/* ---------------------------------------------------------------------------------------------- how a pull looks */

static void id_member(struct cw_jsonw *w, const char *key, const char *prefix, struct cw_ulid id)
{
    char text[CW_ID_TEXT_MAX];
    cw_id_emit(prefix, id, text);
    cw_jsonw_key_cstr(w, key, cw_ulid_is_zero(id) ? NULL : text);
}

static void time_member(struct cw_jsonw *w, const char *key, int64_t time_us)
{
    if (time_us == 0) {
        cw_jsonw_key_cstr(w, key, NULL);
    } else {
        cw_jsonw_key_time(w, key, time_us);
    }
}

/* Opens the object and leaves it open. */
static void write_pull(struct cw_jsonw *w, const struct cw_patient *patient, const struct cw_pull *pull)
{
    cw_jsonw_open_object(w);
    id_member(w, "id", CW_PREFIX_PULL, pull->id.ulid);
    cw_jsonw_key_cstr(w, "resource_type", "pull");
    cw_jsonw_key_text(w, "patient_id", patient->patient_id);
    id_member(w, "connection_id", CW_PREFIX_SOURCE, pull->source.ulid);
    id_member(w, "patient_connection_id", CW_PREFIX_CONNECTION, pull->connection.ulid);
    cw_jsonw_key_cstr(w, "trigger", cw_pull_trigger_name(pull->trigger));
    cw_jsonw_key_cstr(w, "status", cw_pull_status_name(pull->status));
    cw_jsonw_key_text(w, "failure_code", pull->failure_code.len == 0 ? NONE : pull->failure_code);
    cw_jsonw_key_int(w, "requests", pull->requests);
    cw_jsonw_key_int(w, "received", pull->received);
    cw_jsonw_key_int(w, "stored", pull->stored);
    cw_jsonw_key_int(w, "unchanged", pull->unchanged);
    cw_jsonw_key_int(w, "errors", pull->errors);
    time_member(w, "created_at", pull->created_us);
    time_member(w, "started_at", pull->started_us);
    time_member(w, "ended_at", pull->ended_us);
}

static void write_type(struct cw_jsonw *w, const struct cw_progress_type *type)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_text(w, "type", type->type);
    cw_jsonw_key_int(w, "tasks", type->tasks);
    cw_jsonw_key_int(w, "waiting", type->waiting);
    cw_jsonw_key_int(w, "done", type->done);
    cw_jsonw_key_int(w, "failed", type->failed);
    cw_jsonw_key_int(w, "skipped", type->skipped);
    cw_jsonw_key_int(w, "requests", (int64_t)type->requests);
    cw_jsonw_key_int(w, "pages", (int64_t)type->pages);
    cw_jsonw_key_int(w, "pages_expected", (int64_t)type->pages_expected);
    cw_jsonw_key(w, "total");
    if (type->total < 0) {
        cw_jsonw_null(w);
    } else {
        cw_jsonw_int(w, type->total);
    }
    cw_jsonw_key_int(w, "received", (int64_t)type->received);
    cw_jsonw_key_int(w, "stored", (int64_t)type->stored);
    cw_jsonw_key_int(w, "unchanged", (int64_t)type->unchanged);
    cw_jsonw_key_int(w, "bytes", (int64_t)type->bytes);
    cw_jsonw_close_object(w);
}

static void write_progress(struct cw_jsonw *w, const struct cw_progress *progress)
{
    cw_jsonw_key(w, "progress");
    cw_jsonw_open_object(w);
    cw_jsonw_key_int(w, "percent", progress->percent);
    cw_jsonw_key_int(w, "pages", (int64_t)progress->pages);
    cw_jsonw_key_int(w, "pages_expected", (int64_t)progress->pages_expected);
    time_member(w, "eta_at", progress->eta_us);
    cw_jsonw_close_object(w);
    cw_jsonw_key(w, "types");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < progress->type_count; i++) {
        write_type(w, &progress->types[i]);
    }
    cw_jsonw_close_array(w);
}

static void write_list(struct cw_reply *reply, const struct cw_patient *patient, const struct cw_pull *pulls, size_t count,
                       struct cw_span next)
{
    struct cw_jsonw w;
    cw_api_list_open(&w, reply);
    for (size_t i = 0; i < count; i++) {
        write_pull(&w, patient, &pulls[i]);
        cw_jsonw_close_object(&w);
    }
    cw_api_list_close(&w, reply, next);
}

/* ---------------------------------------------------------------------------------------------- handlers */

/* The pull of the path, of this patient, or its 404. */
static bool pull_of(struct cw_request *request, struct cw_reply *reply, struct cw_patient *ret_patient, struct cw_pull *ret_pull)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_pull_id id;
    struct cw_err err = { 0 };
    if (!cw_api_patient(request, reply, ret_patient)) {
        return false;
    }
    enum cw_code rc = CW_E_NOT_FOUND;
    if (cw_id_parse(CW_PREFIX_PULL, cw_request_path_var(request, "pull_id"), &id.ulid)) {
        rc = cw_pull_get(&call->api->model, id, cw_request_arena(request), ret_pull, &err);
    }
    if (rc == CW_E_NOT_FOUND || (rc == CW_OK && !cw_ulid_eq(ret_pull->patient.ulid, ret_patient->row.ulid))) {
        cw_api_not_found(reply, "pull_id", "This patient has no such pull.");
        return false;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return false;
    }
    call->object = id.ulid;
    return true;
}

void cw_api_pull_list(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    if (!cw_api_patient(request, reply, &patient)) {
        return;
    }
    struct cw_span after = cw_query_text(request, "starting_after");
    unsigned limit = (unsigned)cw_query_int(request, "limit", CW_LIST_LIMIT_DEFAULT);
    const struct cw_cursor_scope scope = {
        .list = "pulls",
        .org = call->key.org,
        .filters = { cw_span_of(patient.row.ulid.bytes, sizeof patient.row.ulid.bytes) },
    };
    struct cw_ulid place = { 0 };
    if (after.len > 0 && !cw_cursor_parse(&scope, after, &place)) {
        cw_api_invalid(reply, "starting_after", "This cursor is not one of this list.");
        return;
    }
    struct cw_pull *pulls = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    enum cw_code rc =
        cw_pull_page(&call->api->model, patient.row, place, limit, cw_request_arena(request), &pulls, &count, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    char next[CW_CURSOR_TEXT_MAX] = "";
    size_t shown = count > limit ? limit : count;
    if (count > shown) {
        cw_cursor_emit(&scope, pulls[shown - 1].id.ulid, next);
    }
    write_list(reply, &patient, pulls, shown, count > shown ? cw_span_cstr(next) : NONE);
}

/* A conn_ id, or a source's; zero where none was sent. */
static bool read_only(struct cw_span text, struct cw_ulid *ret)
{
    *ret = (struct cw_ulid){ 0 };
    return text.ptr == NULL || cw_id_parse(CW_PREFIX_CONNECTION, text, ret) || cw_id_parse(CW_PREFIX_SOURCE, text, ret);
}

void cw_api_pull_start(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    struct cw_body body;
    struct cw_ulid only;
    struct cw_pull *pulls = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    if (!cw_body_read(request, reply, start_fields, false, &body) || !cw_api_patient(request, reply, &patient)) {
        return;
    }
    enum cw_code rc = CW_E_NOT_FOUND;
    if (read_only(cw_body_text(&body, "connection_id"), &only)) {
        rc = cw_pull_start_some(&call->api->model, &call->actor, call->key.org, patient.row, only, cw_request_arena(request),
                                &pulls, &count, &err);
    }
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "connection_id", "This patient has no such connection.");
    } else if (rc == CW_E_STATE) {
        cw_reply_fault(reply, "no_active_connection", NULL, "None of these connections is active; the patient has to connect again.");
    } else if (rc == CW_E_CONFLICT) {
        cw_reply_fault(reply, "pull_in_progress", NULL, "A pull of each of these connections waits or runs already.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    } else {
        write_list(reply, &patient, pulls, count, NONE);
    }
}

void cw_api_pull_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    struct cw_pull pull;
    struct cw_progress progress;
    struct cw_err err = { 0 };
    if (!pull_of(request, reply, &patient, &pull)) {
        return;
    }
    enum cw_code rc = cw_pull_progress(&call->api->model, &pull, cw_request_arena(request), &progress, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    write_pull(&w, &patient, &pull);
    write_progress(&w, &progress);
    cw_jsonw_key(&w, "plan");
    if (pull.plan.len == 0) {
        cw_jsonw_null(&w);
    } else {
        cw_jsonw_raw(&w, pull.plan);
    }
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
}

void cw_api_pull_receipt(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    struct cw_pull pull;
    struct cw_pull_receipt receipt;
    struct cw_err err = { 0 };
    if (!pull_of(request, reply, &patient, &pull)) {
        return;
    }
    enum cw_code rc = cw_pull_receipt_get(&call->api->model, pull.id, cw_request_arena(request), &receipt, &err);
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "pull_id", pull.status < CW_PULL_COMPLETE ? "This pull has not ended; its receipt comes with its end."
                                                                          : "This pull was cancelled and has no receipt.");
        return;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resource_type", "pull_receipt");
    id_member(&w, "pull_id", CW_PREFIX_PULL, pull.id.ulid);
    cw_jsonw_key_cstr(&w, "receipt_sha256", receipt.sha256);
    cw_jsonw_key_text(&w, "signature", receipt.signature);
    cw_jsonw_key(&w, "receipt");
    cw_jsonw_raw(&w, receipt.json); /* the bytes that are signed */
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
}
