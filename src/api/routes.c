/* SPDX-License-Identifier: Apache-2.0 */
/* The table that everything follows from: dispatch, 405, inputs, scopes and audit. www/openapi.json is checked against it. */
#include "config.h"

#include "api/api.h"

#include "base/limits.h"

#define LIMIT { .name = "limit", .kind = CW_IN_INT, .min = 1, .max = CW_LIST_LIMIT_MAX }
#define AFTER { .name = "starting_after", .kind = CW_IN_TEXT, .max = 64 }
#define END { .name = NULL }

static const struct cw_input patient_list_query[] = {
    LIMIT,
    AFTER,
    { .name = "patient_id", .kind = CW_IN_TEXT, .max = CW_PATIENT_ID_CHARS_MAX },
    { .name = "email", .kind = CW_IN_TEXT, .max = CW_EMAIL_MAX },
    END,
};
static const struct cw_input session_list_query[] = {
    LIMIT,
    AFTER,
    { .name = "status", .kind = CW_IN_CHOICE, .choices = "open|complete|expired" },
    END,
};
static const struct cw_input records_query[] = {
    { .name = "type", .kind = CW_IN_TEXT, .max = CW_QUERY_MAX },
    { .name = "since", .kind = CW_IN_TEXT, .max = 64 },
    { .name = "count", .kind = CW_IN_INT, .min = 1, .max = CW_LIST_LIMIT_MAX },
    AFTER,
    { .name = "ending_before", .kind = CW_IN_TEXT, .max = 64 },
    END,
};
static const struct cw_input page_query[] = { LIMIT, AFTER, END };
static const struct cw_input source_list_query[] = {
    LIMIT,
    AFTER,
    { .name = "q", .kind = CW_IN_TEXT, .max = CW_SEARCH_TEXT_MAX },
    { .name = "type", .kind = CW_IN_TEXT, .max = 64 },
    END,
};

const struct cw_route cw_api_routes[] = {
    { .name = "health", .method = CW_GET, .path = "/health", .handler = cw_api_health, .flags = CW_API_OPEN,
      .doc = "Liveness, without a key." },
    { .name = "openapi", .method = CW_GET, .path = "/openapi.json", .handler = cw_api_document, .flags = CW_API_OPEN,
      .doc = "This API as an OpenAPI document, without a key." },
    { .name = "errors", .method = CW_GET, .path = "/errors", .handler = cw_api_errors, .flags = CW_API_OPEN,
      .doc = "What each error code means, without a key." },
    { .name = "session.create", .method = CW_POST, .path = "/patient-sessions", .handler = cw_api_session_create,
      .body = CW_BODY_JSON, .flags = CW_SCOPE_SESSIONS_WRITE | CW_API_MODEL_AUDITS, .doc = "Start a Session." },
    { .name = "session.get", .method = CW_GET, .path = "/patient-sessions/{id}", .handler = cw_api_session_get,
      .flags = CW_SCOPE_SESSIONS_READ, .doc = "One Session with its attempts." },
    { .name = "patient.create", .method = CW_POST, .path = "/patients", .handler = cw_api_patient_create,
      .body = CW_BODY_JSON, .flags = CW_SCOPE_PATIENTS_WRITE | CW_API_MODEL_AUDITS, .doc = "Make a patient." },
    { .name = "patient.list", .method = CW_GET, .path = "/patients", .handler = cw_api_patient_list,
      .query = patient_list_query, .flags = CW_SCOPE_PATIENTS_READ, .doc = "List patients." },
    { .name = "patient.get", .method = CW_GET, .path = "/patients/{id}", .handler = cw_api_patient_get,
      .flags = CW_SCOPE_PATIENTS_READ, .doc = "One patient with all connections." },
    { .name = "patient.replace", .method = CW_PUT, .path = "/patients/{id}", .handler = cw_api_patient_replace,
      .body = CW_BODY_JSON, .flags = CW_SCOPE_PATIENTS_WRITE | CW_API_MODEL_AUDITS, .doc = "Replace a patient." },
    { .name = "patient.delete", .method = CW_DELETE, .path = "/patients/{id}", .handler = cw_api_patient_delete,
      .flags = CW_SCOPE_PATIENTS_WRITE | CW_API_MODEL_AUDITS, .doc = "Delete a patient with everything of theirs." },
    { .name = "connection.disconnect", .method = CW_DELETE, .path = "/patients/{id}/connections/{connection_id}",
      .handler = cw_api_connection_disconnect, .flags = CW_SCOPE_PATIENTS_WRITE | CW_API_MODEL_AUDITS,
      .doc = "Let go of one connection." },
    { .name = "session.list", .method = CW_GET, .path = "/patients/{id}/patient-sessions",
      .handler = cw_api_session_list, .query = session_list_query, .flags = CW_SCOPE_SESSIONS_READ,
      .doc = "A patient's Sessions, newest first." },
    { .name = "records.list", .method = CW_GET, .path = "/patients/{id}/records", .handler = cw_api_records,
      .query = records_query, .flags = CW_SCOPE_RECORDS_READ | CW_API_MODEL_AUDITS,
      .doc = "A patient's stored resources." },
    { .name = "pull.list", .method = CW_GET, .path = "/patients/{id}/pulls", .handler = cw_api_pull_list,
      .query = page_query, .flags = CW_SCOPE_RECORDS_READ, .doc = "A patient's pulls, newest first." },
    { .name = "pull.start", .method = CW_POST, .path = "/patients/{id}/pulls", .handler = cw_api_pull_start,
      .body = CW_BODY_JSON, .flags = CW_SCOPE_PATIENTS_WRITE | CW_API_MODEL_AUDITS, .doc = "Fetch a patient's records now." },
    { .name = "pull.get", .method = CW_GET, .path = "/patients/{id}/pulls/{pull_id}", .handler = cw_api_pull_get,
      .flags = CW_SCOPE_RECORDS_READ, .doc = "One pull: how far it is, by type, and its plan." },
    { .name = "pull.receipt", .method = CW_GET, .path = "/patients/{id}/pulls/{pull_id}/receipt",
      .handler = cw_api_pull_receipt, .flags = CW_SCOPE_RECORDS_READ, .doc = "The signed receipt of a pull that has ended." },
    { .name = "document.list", .method = CW_GET, .path = "/patients/{id}/documents", .handler = cw_api_document_list,
      .query = page_query, .flags = CW_SCOPE_RECORDS_READ, .doc = "A patient's stored documents, newest first." },
    { .name = "document.get", .method = CW_GET, .path = "/patients/{id}/documents/{document_id}",
      .handler = cw_api_document_get, .flags = CW_SCOPE_RECORDS_READ | CW_API_MODEL_AUDITS,
      .doc = "The bytes of one stored document." },
    { .name = "source.list", .method = CW_GET, .path = "/connections", .handler = cw_api_source_list,
      .query = source_list_query, .flags = CW_SCOPE_CONNECTIONS_READ, .doc = "Search the catalogue." },
    { .name = "source.get", .method = CW_GET, .path = "/connections/{id}", .handler = cw_api_source_get,
      .flags = CW_SCOPE_CONNECTIONS_READ, .doc = "One source, by id or FHIR base URL." },
};
const size_t cw_api_route_count = CW_ARRAY_LEN(cw_api_routes);
