/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE of a patient and of a connection. Both answer a repeated call like the first one: a client that lost the answer asks again. */
#include "config.h"

#include "api/api.h"

#include "model/deletion.h"
#include "model/disconnect.h"
#include "os/log.h"
#include "smart/pinned.h"
#include "smart/removal.h"

void cw_api_patient_delete(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_span patient_id = cw_request_path_var(request, "id");
    struct cw_deletion deletion;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_patient_delete(&call->api->model, &call->actor, call->key.org, patient_id, &deletion, &err);
    if (rc == CW_E_NOT_FOUND || rc == CW_E_TOO_BIG) {
        cw_api_not_found(reply, "id", "There is no patient with this id.");
        return;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    if (!deletion.journaled) {
        cw_log(CW_LOG_ERR, "tombstone.not_journaled", CW_ERR(&err)); /* the janitor tries on */
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "id", patient_id);
    cw_jsonw_key_cstr(&w, "resource_type", "patient");
    cw_jsonw_key_bool(&w, "deleted", true);
    cw_jsonw_key_time(&w, "final_at", deletion.tombstone.final_us);
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
}

/* How the patient ends it at the portal, where the source takes no revocation; absent where it does, and where that is not known. */
static struct cw_span way_of(struct cw_call *call, const struct cw_connection *connection, struct cw_arena *arena)
{
    struct cw_span none = { NULL, 0 };
    struct cw_err err = { 0 };
    struct cw_pinned pinned;
    struct cw_source source = { .name = none };
    struct cw_endpoint endpoint = { .discovery = none };
    if (cw_pinned_parse(connection->pinned, arena, &pinned, &err) != CW_OK || pinned.revocation_endpoint[0] != '\0') {
        return none;
    }
    if (cw_source_get(&call->api->model, call->key.environment, connection->source, arena, &source, &err) != CW_OK ||
        cw_endpoint_get(&call->api->model, connection->endpoint, arena, &endpoint, &err) != CW_OK) {
        endpoint.discovery = none; /* the sentence is less exact then */
    }
    return cw_removal_way(&pinned, endpoint.discovery, source.portal_name.ptr != NULL ? source.portal_name : source.name, arena);
}

void cw_api_connection_disconnect(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_span text = cw_request_path_var(request, "connection_id");
    struct cw_connection_id id;
    struct cw_disconnected done;
    struct cw_err err = { 0 };
    enum cw_code rc = CW_E_NOT_FOUND;
    if (cw_id_parse(CW_PREFIX_CONNECTION, text, &id.ulid)) {
        rc = cw_connection_disconnect(&call->api->model, &call->actor, call->key.org, cw_request_path_var(request, "id"), id,
                                      arena, &done, &err);
    }
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, "connection_id", "This patient has no such connection; the id is the conn_ id.");
        return;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    struct cw_span way = way_of(call, &done.connection, arena);
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "id", text);
    cw_jsonw_key_cstr(&w, "resource_type", "connection");
    cw_jsonw_key_bool(&w, "disconnected", true);
    cw_jsonw_key_cstr(&w, "revocation", way.ptr == NULL ? "requested" : "not_offered");
    cw_jsonw_key_text(&w, "message", way);
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
}
