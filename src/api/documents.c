/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /patients/{id}/documents: the bytes of attachments that sources sent raw. They are foreign: always a download, always octets, whatever their source said
 * of them, so that no browser runs on our origin what a hospital's document holds.
 */
#include "config.h"

#include "api/api.h"

#include "api/cursor.h"
#include "base/limits.h"
#include "model/document_out.h"
#include "os/log.h"

static void write_document(struct cw_jsonw *w, const struct cw_patient *patient, const struct cw_document *document)
{
    char id[CW_ID_TEXT_MAX], source[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_DOCUMENT, document->id.ulid, id);
    cw_id_emit(CW_PREFIX_SOURCE, document->source.ulid, source);
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "id", id);
    cw_jsonw_key_cstr(w, "resource_type", "document");
    cw_jsonw_key_text(w, "patient_id", patient->patient_id);
    cw_jsonw_key_cstr(w, "connection_id", cw_ulid_is_zero(document->source.ulid) ? NULL : source);
    cw_jsonw_key_text(w, "content_type", document->content_type);
    cw_jsonw_key_int(w, "length", (int64_t)document->length);
    cw_jsonw_key_time(w, "created_at", document->created_us);
    cw_jsonw_key_time(w, "updated_at", document->updated_us);
    cw_jsonw_close_object(w);
}

void cw_api_document_list(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    if (!cw_api_patient(request, reply, &patient)) {
        return;
    }
    struct cw_span after = cw_query_text(request, "starting_after");
    unsigned limit = (unsigned)cw_query_int(request, "limit", CW_LIST_LIMIT_DEFAULT);
    const struct cw_cursor_scope scope = {
        .list = "documents",
        .org = call->key.org,
        .filters = { cw_span_of(patient.row.ulid.bytes, sizeof patient.row.ulid.bytes) },
    };
    struct cw_ulid place = { 0 };
    if (after.len > 0 && !cw_cursor_parse(&scope, after, &place)) {
        cw_api_invalid(reply, "starting_after", "This cursor is not one of this list.");
        return;
    }
    struct cw_document *documents = NULL;
    size_t count = 0;
    struct cw_err err = { 0 };
    enum cw_code rc =
        cw_document_list(&call->api->model, patient.row, place, limit, cw_request_arena(request), &documents, &count, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    char next[CW_CURSOR_TEXT_MAX] = "";
    size_t shown = count > limit ? limit : count;
    if (count > shown) {
        cw_cursor_emit(&scope, documents[shown - 1].id.ulid, next);
    }
    struct cw_jsonw w;
    cw_api_list_open(&w, reply);
    for (size_t i = 0; i < shown; i++) {
        write_document(&w, &patient, &documents[i]);
    }
    cw_api_list_close(&w, reply, count > shown ? cw_span_cstr(next) : (struct cw_span){ NULL, 0 });
}

static bool document_of(struct cw_request *request, struct cw_reply *reply, struct cw_patient *ret_patient,
                        struct cw_document *ret_document)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_document_id id;
    struct cw_err err = { 0 };
    if (!cw_api_patient(request, reply, ret_patient)) {
        return false;
    }
    enum cw_code rc = CW_E_NOT_FOUND;
    if (cw_id_parse(CW_PREFIX_DOCUMENT, cw_request_path_var(request, "document_id"), &id.ulid)) {
        rc = cw_document_open(&call->api->model, &call->actor, call->key.org, ret_patient->row, id, cw_request_arena(request),
                              ret_document, &err);
    }
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "document_id", "This patient has no such document.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    }
    return rc == CW_OK;
}

static void write_head(struct cw_reply *reply, const struct cw_document *document)
{
    char id[CW_ID_TEXT_MAX], disposition[CW_ID_TEXT_MAX + 40], length[24];
    cw_id_emit(CW_PREFIX_DOCUMENT, document->id.ulid, id);
    snprintf(disposition, sizeof disposition, "attachment; filename=\"%s\"", id);
    snprintf(length, sizeof length, "%llu", (unsigned long long)document->length);
    cw_reply_status(reply, 200);
    cw_reply_header(reply, "Content-Type", "application/octet-stream");
    cw_reply_header(reply, "Content-Disposition", disposition);
    cw_reply_header(reply, "X-Content-Type-Options", "nosniff");
    cw_reply_header(reply, "Content-Length", length);
}

/* The first piece is read before anything is sent, so that what is wrong with it is still told as a fault; what is wrong later cuts the answer short of its
 * Content-Length, which no client takes for whole. */
void cw_api_document_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    struct cw_document document;
    struct cw_err err = { 0 };
    if (!document_of(request, reply, &patient, &document)) {
        return;
    }
    unsigned pieces = (unsigned)((document.length + CW_DOCUMENT_CHUNK - 1) / CW_DOCUMENT_CHUNK);
    CW_AUTO_STR piece;
    cw_str_init_secret(&piece, CW_DOCUMENT_CHUNK);
    bool started = false;
    for (unsigned i = 0; i < pieces; i++) {
        cw_str_clear(&piece);
        enum cw_code rc = cw_document_piece(&call->api->model, patient.row, &document, i, &piece, &err);
        if (rc != CW_OK && started) {
            cw_log(CW_LOG_ERR, "document.cut", CW_ID("document", CW_PREFIX_DOCUMENT, document.id), CW_ERR(&err));
            return;
        }
        if (rc != CW_OK) {
            cw_reply_fault_code(reply, rc, &err);
            return;
        }
        if (!started) {
            write_head(reply, &document);
            started = cw_reply_stream_start(reply);
        }
        if (!started || !cw_reply_stream(reply, cw_str_span(&piece))) {
            return; /* the client has gone, or wants the head alone */
        }
    }
    if (pieces == 0) {
        write_head(reply, &document);
        (void)cw_reply_stream_start(reply);
    }
}
