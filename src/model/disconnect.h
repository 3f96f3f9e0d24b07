/* SPDX-License-Identifier: Apache-2.0 */
/* Letting go of one connection, and what the janitor removes behind it. */
#ifndef CW_MODEL_DISCONNECT_H
#define CW_MODEL_DISCONNECT_H

#include "model/connection.h"

struct cw_disconnected {
    struct cw_connection connection;  /* as it was; texts in the arena */
    bool repeated;                    /* it was disconnected before: nothing was changed */
};
/* Any state → disconnected, in one transaction: its pull ends, its tokens go into a revocation, the event is written. Its records leave with the janitor, as far
 * as no other connection holds them. CW_E_NOT_FOUND: the patient has no such connection (a try that failed never was one). */
enum cw_code cw_connection_disconnect(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                      struct cw_span patient_id, struct cw_connection_id id, struct cw_arena *arena,
                                      struct cw_disconnected *ret, struct cw_err *err) CW_MUST_USE;
/* One that an operator names by its id alone. */
enum cw_code cw_connection_disconnect_any(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                          struct cw_arena *arena, struct cw_disconnected *ret, struct cw_err *err) CW_MUST_USE;

/* Ends what waits or runs for a connection, in the caller's transaction: job away first, so that a page in flight cannot commit any more. */
enum cw_code cw_disconnect_pulls(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_err *err)
    CW_MUST_USE;

/* The janitor: removes records of disconnected connections in small transactions, for at most about a second; a connection that was connected again
 * keeps what is left. *ret_count: records removed. */
enum cw_code cw_disconnection_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                    struct cw_err *err) CW_MUST_USE;

#endif
