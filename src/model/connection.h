/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and their grants (always sealed, versioned). */
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
};
void cw_grant_release(struct cw_grant *grant) CW_NONNULL(1);
enum cw_code cw_grant_get(struct cw_model *m, struct cw_connection_id id, struct cw_grant *ret, struct cw_err *err)
    CW_MUST_USE;

/* One refresher per connection over all nodes. Takes the lease and writes the intent (refresh_started_at, tries + 1) in one transaction, and gives the grant.
 * CW_E_CONFLICT: another owner holds the lease (wait and read again); CW_E_STATE: version is no longer `seen_version` (somebody has refreshed: read again)
 * or the connection is not active. */
struct cw_refresh_lease { struct cw_connection_id connection; uint64_t fence; uint32_t version; };
enum cw_code cw_refresh_begin(struct cw_model *m, const char *owner, struct cw_connection_id id, uint32_t seen_version,
                              struct cw_refresh_lease *ret_lease, struct cw_grant *ret_grant, struct cw_err *err)
    CW_MUST_USE;
struct cw_refreshed {
    struct cw_span access_token, refresh_token;  /* refresh absent: keep the old one (RFC 6749 section 6) */
    struct cw_span scopes;                       /* absent: unchanged */
    int64_t obtained_us, expires_us;
};
/* Commits the new tokens before anybody uses them: compare-and-swap on version and fence. CW_E_CONFLICT when the lease was lost. */
enum cw_code cw_refresh_commit(struct cw_model *m, const struct cw_refresh_lease *lease,
                               const struct cw_refreshed *tokens, struct cw_err *err) CW_MUST_USE;
/* Nothing changed at the server as far as we know: clears intent (unless `maybe_lost`) and lease. */
enum cw_code cw_refresh_abandon(struct cw_model *m, const struct cw_refresh_lease *lease, bool maybe_lost,
                                struct cw_err *err) CW_MUST_USE;
/* A well-formed invalid_grant: active → refresh_failed (or expired for a one-time connection), tokens destroyed, event once. */
enum cw_code cw_refresh_dead(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                             const char *failure_code, struct cw_err *err) CW_MUST_USE;
/* A one-time connection whose token has ended: active → expired, tokens destroyed, event once. */
enum cw_code cw_connection_end_one_time(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                        struct cw_err *err) CW_MUST_USE;

#endif
