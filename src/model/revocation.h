/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that nobody uses any more and that the source does not know of yet. They leave the grant in the transaction that ends
 * it, sealed under the organization's key (the patient's may be destroyed in the same transaction), and are kept until the source has
 * answered or a day has passed. The rows stay a while without tokens, for the operator.
 */
#ifndef CW_MODEL_REVOCATION_H
#define CW_MODEL_REVOCATION_H

#include "base/secret.h"
#include "model/connection.h"
#include "model/job.h"

enum cw_revocation_status {
    CW_REVOCATION_WAITING = 1, CW_REVOCATION_DONE = 2, CW_REVOCATION_NOT_OFFERED = 3, CW_REVOCATION_GIVEN_UP = 4
};
const char *cw_revocation_status_name(enum cw_revocation_status status) CW_RETURNS_NONNULL;

struct cw_revocation {
    struct cw_revocation_id id;
    struct cw_org_id org;
    struct cw_registration_id registration;
    struct cw_connection_id connection;
    struct cw_source_id source;
    enum cw_revocation_status status;
    struct cw_span failure_code;       /* of the last try; absent: none */
    struct cw_span pinned;             /* JSON text */
    struct cw_span refresh, access;    /* in the clear, in the arena; absent: none, or answered */
    int64_t access_until_us;           /* dead by itself after that */
    int64_t give_up_us, created_us, ended_us;
};

/* In the caller's transaction, with the connection's row locked: its tokens become a revocation with its job, and the grant is gone. A connection without
 * a grant is CW_OK. Tokens that do not open (a broken cell) are dropped: they must not keep anything from ending. */
enum cw_code cw_revocation_of_grant(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_arena *arena,
                                    struct cw_err *err) CW_MUST_USE;
/* The same for tokens that never became a grant; org, registration, connection, source, pinned, tokens and access_until_us are given. */
enum cw_code cw_revocation_add(struct cw_model *m, struct cw_db *db, const struct cw_revocation *tokens,
                               struct cw_arena *arena, struct cw_err *err) CW_MUST_USE;
/* The same in a transaction of its own: for tokens whose attempt has gone, since its patient was deleted meanwhile. */
enum cw_code cw_revocation_keep(struct cw_model *m, const struct cw_revocation *tokens, struct cw_err *err) CW_MUST_USE;

/* For the worker that holds the job: everything, tokens in the clear. CW_E_STATE: ended already. */
enum cw_code cw_revocation_get(struct cw_model *m, struct cw_revocation_id id, struct cw_arena *arena,
                               struct cw_revocation *ret, struct cw_err *err) CW_MUST_USE;
/* A try that did not end it: why, and that the refresh token needs no further one. */
enum cw_code cw_revocation_note(struct cw_model *m, struct cw_revocation_id id, const char *failure_code,
                                bool refresh_answered, struct cw_err *err) CW_MUST_USE;
/* The end: tokens destroyed, job gone, audit row. CW_E_CONFLICT: the job is another's now. */
enum cw_code cw_revocation_end(struct cw_model *m, const struct cw_actor *actor, const char *owner,
                               const struct cw_job *job, enum cw_revocation_status status, const char *failure_code,
                               struct cw_err *err) CW_MUST_USE;
/* Of one organization, newest first, without tokens; at most limit. */
enum cw_code cw_revocation_list(struct cw_model *m, struct cw_org_id org, unsigned limit, struct cw_arena *arena,
                                struct cw_revocation **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* The janitor: rows that ended a month ago leave. */
enum cw_code cw_revocation_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                 struct cw_err *err) CW_MUST_USE;

#endif
