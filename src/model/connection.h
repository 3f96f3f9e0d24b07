/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and their grants (always sealed, versioned). Refreshing a grant is in refresh.h. */
#ifndef CW_MODEL_CONNECTION_H
#define CW_MODEL_CONNECTION_H

#include "base/secret.h"
#include "model/session.h"

struct cw_connection {
    struct cw_connection_id id;
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_endpoint_id endpoint;
    struct cw_source_id source;
    struct cw_registration_id registration;
    struct cw_session_id session;        /* zero: none */
    enum cw_connection_status status;
    struct cw_span failure_code;
    int64_t failure_us;
    struct cw_span scopes;               /* blank separated */
    struct cw_span missing_types;        /* asked for and not granted, blank separated; absent: none */
    int64_t ends_us;                     /* the known end of its access; 0: not known */
    struct cw_span tenant_context;
    struct cw_span pinned;               /* JSON text */
    bool one_time;
    int64_t created_us, updated_us;
};

/* Most recent first; failed attempts without a connection are among them, with their own conn_ id and status failed. At most 500. */
enum cw_code cw_connection_list(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                                struct cw_connection **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_connection_get(struct cw_model *m, struct cw_connection_id id, struct cw_arena *arena,
                               struct cw_connection *ret, struct cw_err *err) CW_MUST_USE;
/* The upstream patient id in the clear, into the arena. */
enum cw_code cw_connection_upstream(struct cw_model *m, struct cw_connection_id id, struct cw_arena *arena,
                                    struct cw_span *ret, struct cw_err *err) CW_MUST_USE;

/* The source merged its patient into another: from the next pull on that id is asked for. Without effect where this patient has the other one
 * connected as well. Writes the audit row "connection.patient_merged". CW_E_NOT_FOUND; CW_E_RANGE: the id is empty or over CW_FHIR_ID_MAX. */
enum cw_code cw_connection_merged(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                  struct cw_span upstream_patient, struct cw_err *err) CW_MUST_USE;

/* Tokens in the clear; release wipes. */
struct cw_grant {
    uint32_t version;
    struct cw_secret access, refresh;    /* refresh empty: none */
    int64_t obtained_us, expires_us;
    int64_t refresh_started_us;          /* a refresh may be under way or lost */
    unsigned refresh_tries;
    bool dynamic;                        /* renewed by a client of its own (model/dynamic_client.h), without a refresh token */
    int64_t not_before_us;               /* after a failure: nobody asks before; 0: at once */
};
void cw_grant_release(struct cw_grant *grant) CW_NONNULL(1);
enum cw_code cw_grant_get(struct cw_model *m, struct cw_connection_id id, struct cw_grant *ret, struct cw_err *err)
    CW_MUST_USE;

/* Whether the patient of `like` has an active connection at its endpoint by its registration (these three are read): what a revocation there would end, where
 * one token stands for all. */
enum cw_code cw_connection_lives(struct cw_model *m, const struct cw_connection *like, bool *ret, struct cw_err *err)
    CW_MUST_USE;

/* A one-time connection whose token, of that version, has ended: active → expired, tokens destroyed, event once. CW_E_STATE: the patient has signed in again
 * meanwhile, and what there is now has not ended. CW_E_NOT_FOUND: there is no grant any more. */
enum cw_code cw_connection_end_one_time(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                        uint32_t version, struct cw_err *err) CW_MUST_USE;

#endif
