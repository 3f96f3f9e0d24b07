/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt's good end writes: the connection and its grant, inside the attempt's transaction. */
#ifndef CW_MODEL_CONNECTION_INT_H
#define CW_MODEL_CONNECTION_INT_H

#include "model/connection.h"
#include "model/event.h"

struct connection_put {
    struct cw_connection_id id;          /* used when this upstream patient is not connected yet */
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_endpoint_id endpoint;
    struct cw_source_id source;
    struct cw_registration_id registration;
    struct cw_session_id session;
    struct cw_span tenant_context;       /* absent: "" */
    struct cw_span upstream_patient;
    struct cw_span scopes;
    struct cw_span missing_types;        /* empty: none */
    struct cw_span pinned;
    bool one_time;
    struct cw_connection_id only;        /* a reconnect: this one or none; zero: any */
};
/* Makes the connection, or makes the existing one of (patient, endpoint, tenant context, upstream patient) active again: its id is *ret_id. `key` is the
 * patient's current key. CW_E_RANGE: the upstream id is empty or over CW_FHIR_ID_MAX. CW_E_DENIED: `only` is
 * another one, so somebody else signed in; nothing was changed. */
enum cw_code connection_put(struct cw_db *db, const struct cw_data_key *key, const struct connection_put *put,
                            struct cw_arena *arena, struct cw_connection_id *ret_id, struct cw_err *err) CW_MUST_USE;

struct grant_put {
    struct cw_span access_token, refresh_token; /* refresh absent: none */
    struct cw_span token_type;
    bool dynamic;                               /* a client of its own renews it, without a refresh token */
    int64_t obtained_us, expires_us;
    int64_t ends_us;                            /* the refresh token's known end; 0: not known. Without one the access token's end counts */
    bool ends_fixed;                            /* refreshing does not move it */
    int64_t keep_us;                            /* the keep-alive's period; 0: 30 days */
};
/* Replaces whatever grant the connection has: version + 1, no lease, no intent, no failures. */
enum cw_code grant_put(struct cw_db *db, const struct cw_data_key *key, struct cw_connection_id connection,
                       const struct grant_put *put, struct cw_arena *arena, struct cw_err *err) CW_MUST_USE;

/* What an app is told of a connection, in the caller's transaction. */
struct connection_fact {
    enum cw_event_kind kind;
    enum cw_connection_status status;
    const char *failure_code;            /* NULL: none */
    int64_t failure_us;                  /* 0: none */
    int64_t ends_us;                     /* expiring: when; 0: not told */
    int days;                            /* expiring: the threshold */
};
enum cw_code connection_tell(struct cw_model *m, struct cw_db *db, struct cw_connection_id id,
                             const struct connection_fact *fact, struct cw_err *err) CW_MUST_USE;
/* It works again: connection.recovered, if a failure was told; in the caller's transaction, with the connection's row locked. */
enum cw_code connection_recover(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_err *err)
    CW_MUST_USE;
/* A failure that is not the end was told now. */
enum cw_code connection_trouble(struct cw_db *db, struct cw_connection_id id, int64_t now_us, struct cw_err *err)
    CW_MUST_USE;

/* active → another state, tokens destroyed, event once; a connection that is not active any more is CW_OK without an event. */
enum cw_code connection_end(struct cw_model *m, struct cw_db *db, const struct cw_actor *actor,
                            struct cw_connection_id id, enum cw_connection_status status, const char *failure_code,
                            struct cw_err *err) CW_MUST_USE;

#endif
