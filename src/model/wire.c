/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as the contract shows them, member by member in its order. */
#include "config.h"

#include "model/wire.h"

#include "base/text.h"

static void id_member(struct cw_jsonw *w, const char *key, const char *prefix, struct cw_ulid id)
{
    char text[CW_ID_TEXT_MAX];
    cw_jsonw_key(w, key);
    if (cw_ulid_is_zero(id)) {
        cw_jsonw_null(w);
        return;
    }
    cw_id_emit(prefix, id, text);
    cw_jsonw_cstr(w, text);
}

static void time_member(struct cw_jsonw *w, const char *key, int64_t time_us)
{
    cw_jsonw_key(w, key);
    if (time_us == 0) {
        cw_jsonw_null(w);
        return;
    }
    cw_jsonw_time(w, time_us);
}

static void session_connection(struct cw_jsonw *w, const struct cw_session_connection *connection)
{
    bool failed = connection->status == CW_CONNECTION_FAILED;
    cw_jsonw_open_object(w);
    id_member(w, "id", CW_PREFIX_CONNECTION, connection->id.ulid);
    id_member(w, "connection_id", CW_PREFIX_SOURCE, connection->source.ulid);
    cw_jsonw_key_cstr(w, "status", cw_connection_status_name(connection->status));
    cw_jsonw_key_text(w, "failure_code", failed ? connection->failure_code : cw_span_of(NULL, 0));
    time_member(w, "failure_at", failed ? connection->failure_us : 0);
    time_member(w, "created_at", connection->created_us);
    cw_jsonw_close_object(w);
}

static void recommended_member(struct cw_jsonw *w, const struct cw_session *session)
{
    cw_jsonw_key(w, "recommended_connection_ids");
    if (!cw_ulid_is_zero(session->direct_source.ulid)) {
        cw_jsonw_null(w);
        return;
    }
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < session->recommended_count; i++) {
        char text[CW_ID_TEXT_MAX];
        cw_id_emit(CW_PREFIX_SOURCE, session->recommended[i].ulid, text);
        cw_jsonw_cstr(w, text);
    }
    cw_jsonw_close_array(w);
}

static void url_member(struct cw_jsonw *w, const struct cw_session *session, const char *origin)
{
    CW_AUTO_STR url;
    cw_str_init_secret(&url, 4096);
    cw_str_add_cstr(&url, origin);
    cw_str_add_cstr(&url, "/c/");
    cw_str_add_span(&url, session->secret);
    cw_jsonw_key_text(w, "url", cw_str_span(&url));
}

void cw_wire_session(struct cw_jsonw *w, const struct cw_session *session, const char *origin)
{
    cw_jsonw_open_object(w);
    id_member(w, "id", CW_PREFIX_SESSION, session->id.ulid);
    cw_jsonw_key_cstr(w, "resource_type", "patient_session");
    cw_jsonw_key_cstr(w, "status", cw_session_status_name(session->status));
    url_member(w, session, origin);
    cw_jsonw_key_text(w, "patient_id", session->patient_id);
    id_member(w, "connection_id", CW_PREFIX_SOURCE, session->direct_source.ulid);
    recommended_member(w, session);
    cw_jsonw_key_text(w, "return_url", session->return_url);
    cw_jsonw_key_text(w, "return_button_label", session->return_label);
    cw_jsonw_key(w, "connections");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < session->connection_count; i++) {
        session_connection(w, &session->connections[i]);
    }
    cw_jsonw_close_array(w);
    cw_jsonw_key_time(w, "expires_at", session->expires_us);
    cw_jsonw_key(w, "metadata");
    cw_jsonw_raw(w, session->metadata);
    cw_jsonw_key_time(w, "created_at", session->created_us);
    if (!cw_ulid_is_zero(session->reconnect.ulid)) {
        id_member(w, "reconnect_connection_id", CW_PREFIX_CONNECTION, session->reconnect.ulid);
    }
    if (session->ended != CW_ENDED_NOT) {
        cw_jsonw_key_cstr(w, "ended_reason", cw_session_ended_name(session->ended));
    }
    cw_jsonw_close_object(w);
}

static void patient_members(struct cw_jsonw *w, const struct cw_patient *patient)
{
    cw_jsonw_key_text(w, "id", patient->patient_id);
    cw_jsonw_key_cstr(w, "resource_type", "patient");
    cw_jsonw_key_text(w, "email", patient->email);
    cw_jsonw_key_text(w, "name", patient->name);
    cw_jsonw_key(w, "metadata");
    cw_jsonw_raw(w, patient->metadata);
    cw_jsonw_key_time(w, "created_at", patient->created_us);
}

void cw_wire_patient(struct cw_jsonw *w, const struct cw_patient *patient)
{
    cw_jsonw_open_object(w);
    patient_members(w, patient);
    cw_jsonw_close_object(w);
}

void cw_wire_patient_detail(struct cw_jsonw *w, const struct cw_patient *patient,
                            const struct cw_connection *connections, size_t count)
{
    cw_jsonw_open_object(w);
    patient_members(w, patient);
    cw_jsonw_key(w, "connections");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < count; i++) {
        cw_wire_connection(w, &connections[i]);
    }
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
}

static void words_member(struct cw_jsonw *w, const char *key, struct cw_span words)
{
    struct cw_span word;
    cw_jsonw_key(w, key);
    cw_jsonw_open_array(w);
    while (cw_span_word(&words, &word)) {
        cw_jsonw_text(w, word);
    }
    cw_jsonw_close_array(w);
}

/* Extension members, each only where there is something to say. */
static void connection_facts(struct cw_jsonw *w, const struct cw_connection *connection)
{
    if (connection->missing_types.len > 0) {
        words_member(w, "missing_types", connection->missing_types);
    }
    if (connection->one_time) {
        cw_jsonw_key_bool(w, "one_time", true);
    }
    if (connection->status == CW_CONNECTION_ACTIVE && connection->ends_us != 0) {
        cw_jsonw_key_time(w, "access_ends_at", connection->ends_us);
    }
}

void cw_wire_connection(struct cw_jsonw *w, const struct cw_connection *connection)
{
    cw_jsonw_open_object(w);
    id_member(w, "id", CW_PREFIX_CONNECTION, connection->id.ulid);
    cw_jsonw_key_cstr(w, "resource_type", "connection");
    id_member(w, "patient_session_id", CW_PREFIX_SESSION, connection->session.ulid);
    id_member(w, "connection_id", CW_PREFIX_SOURCE, connection->source.ulid);
    cw_jsonw_key_cstr(w, "status", cw_connection_status_name(connection->status));
    words_member(w, "scopes", connection->scopes);
    cw_jsonw_key_text(w, "failure_code", connection->failure_code);
    time_member(w, "failure_at", connection->failure_us);
    cw_jsonw_key_time(w, "created_at", connection->created_us);
    cw_jsonw_key_time(w, "updated_at", connection->updated_us);
    connection_facts(w, connection);
    cw_jsonw_close_object(w);
}

void cw_wire_source(struct cw_jsonw *w, const struct cw_source *source)
{
    cw_jsonw_open_object(w);
    id_member(w, "id", CW_PREFIX_SOURCE, source->id.ulid);
    cw_jsonw_key_cstr(w, "resource_type", "fhir_source");
    cw_jsonw_key_text(w, "name", source->name);
    cw_jsonw_key_text(w, "type", source->vendor);
    cw_jsonw_key_text(w, "fhir_base_url", source->base_url);
    cw_jsonw_key_text(w, "logo_url", source->logo_url);
    cw_jsonw_key_text(w, "portal_url", source->portal_url);
    cw_jsonw_close_object(w);
}
