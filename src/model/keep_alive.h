/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants by the clock: which are due for a refresh without a pull, and which are to end. Both are columns of the grant with
 * an index; any node claims a few at a time, so a million due ones cost no memory.
 */
#ifndef CW_MODEL_KEEP_ALIVE_H
#define CW_MODEL_KEEP_ALIVE_H

#include "model/connection.h"

#define CW_DUE_MAX 64u

struct cw_due {
    struct cw_connection_id connection;
    uint32_t version;
    int64_t claimed_us;      /* of this claim */
};
/* Claims up to `most` (at most CW_DUE_MAX) grants that are due, those due longest first: until lease_us have passed nobody else does. Whatever ends the
 * refresh says when it is due again; a claim of a process that died is due again by itself. */
enum cw_code cw_due_claim(struct cw_model *m, int64_t lease_us, unsigned most, struct cw_due *ret, unsigned *ret_count,
                          struct cw_err *err) CW_NONNULL(1, 4, 5) CW_MUST_USE;
/* Not now: due again at until_us, unless somebody has refreshed it since the claim. */
enum cw_code cw_due_defer(struct cw_model *m, const struct cw_due *due, int64_t until_us, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

/* One look at up to `limit` grants whose end comes near: connection.expiring at 14, 7 and 1 days before it, each once, and of several that have passed
 * only the nearest; and a one-time connection whose time is over ends (active → expired). *ret_count: grants looked at. */
enum cw_code cw_ends_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                           struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;

#endif
