/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of chartway-api: what a program of it holds, what a request carries once its key is known, and the
 * handlers, one file a resource. Handlers see checked values only; each either writes its answer or leaves a fault.
 */
#ifndef CW_API_API_H
#define CW_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/jsonw.h"
#include "catalog/search.h"
#include "model/api_key.h"
#include "model/audit.h"
#include "model/model.h"
#include "model/patient.h"
#include "model/source.h"
#include "web/web.h"

#define CW_API_VERSION "2026-04-25" /* the only date of the contract */
#define CW_API_PATIENT_ID_RULE                                                                                         \
    "A patient_id has 1 to 200 characters, no control characters, and none of this API's own prefixes (pat_, ps_, "    \
    "conn_, fhirsrc_, wh_, evt_ and the like)."
#define CW_LIST_LIMIT_DEFAULT 10
#define CW_LIST_LIMIT_MAX 100

struct cw_api {
    struct cw_model model;
    struct cw_audit_queue *audit;
    struct cw_search *search[CW_ENV_PRODUCTION + 1]; /* by environment */
    const char *origin;
    struct cw_str document;                          /* www/openapi.json */
    struct cw_str errors;                            /* www/errors.html: where doc_url leads */
};

/* Route flags: the low byte is what the key must be allowed (enum cw_key_scope), above it how the route is treated. */
enum { CW_API_SCOPES = 0xff, CW_API_OPEN = 1u << 8, CW_API_MODEL_AUDITS = 1u << 9 };

/* One authenticated request. */
struct cw_call {
    struct cw_api *api;
    struct cw_api_key key;
    struct cw_actor actor;
    char actor_name[CW_ID_TEXT_MAX];
    struct cw_patient_row patient;  /* for the audit row; zero: none */
    struct cw_ulid object;
};
struct cw_call *cw_call_of(struct cw_request *request) CW_NONNULL(1) CW_RETURNS_NONNULL;

/* auth.c: key, version, scope, before any input is looked at; and the audit row of what the model does not audit itself. */
bool cw_api_admit(struct cw_request *request, struct cw_reply *reply);
void cw_api_after(struct cw_request *request, struct cw_reply *reply);

/* routes.c */
extern const struct cw_route cw_api_routes[];
extern const size_t cw_api_route_count;

/* reply.c: answers that several resources give */
void cw_api_finish(struct cw_reply *reply, struct cw_jsonw *w) CW_NONNULL(1, 2);
void cw_api_not_found(struct cw_reply *reply, const char *param, const char *message) CW_NONNULL(1, 3);
void cw_api_invalid(struct cw_reply *reply, const char *param, const char *message) CW_NONNULL(1, 2, 3);
/* {"resource_type":"list","data":[ … the caller's items … */
void cw_api_list_open(struct cw_jsonw *w, struct cw_reply *reply) CW_NONNULL(1, 2);
/* … ],"has_more":…,"next_cursor":…}; next absent: null. */
void cw_api_list_close(struct cw_jsonw *w, struct cw_reply *reply, struct cw_span next) CW_NONNULL(1, 2);
/* The patient of a path or the 404 of it; sets the audit row's patient. */
bool cw_api_patient(struct cw_request *request, struct cw_reply *reply, struct cw_patient *ret_patient)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* A source by fhirsrc_ id or FHIR base URL in the key's environment, or its 404 with `param`. */
bool cw_api_source(struct cw_request *request, struct cw_reply *reply, struct cw_span id_or_url, const char *param,
                   struct cw_source *ret_source) CW_NONNULL(1, 2, 5) CW_MUST_USE;

/* handlers */
cw_handler_fn cw_api_health;
cw_handler_fn cw_api_document;
cw_handler_fn cw_api_errors;
cw_handler_fn cw_api_session_create;
cw_handler_fn cw_api_session_get;
cw_handler_fn cw_api_session_list;
cw_handler_fn cw_api_patient_create;
cw_handler_fn cw_api_patient_get;
cw_handler_fn cw_api_patient_list;
cw_handler_fn cw_api_patient_replace;
cw_handler_fn cw_api_patient_delete;
cw_handler_fn cw_api_connection_disconnect;
cw_handler_fn cw_api_records;
cw_handler_fn cw_api_pull_list;
cw_handler_fn cw_api_pull_start;
cw_handler_fn cw_api_pull_get;
cw_handler_fn cw_api_pull_receipt;
cw_handler_fn cw_api_document_list;
cw_handler_fn cw_api_document_get;
cw_handler_fn cw_api_source_get;
cw_handler_fn cw_api_source_list;

#endif
