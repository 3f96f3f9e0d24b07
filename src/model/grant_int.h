/* SPDX-License-Identifier: Apache-2.0 */
/* The row of a grant, as its files share it: one list of columns, and the arithmetic of when something is due. */
#ifndef CW_MODEL_GRANT_INT_H
#define CW_MODEL_GRANT_INT_H

#include "base/time.h"
#include "db/db.h"
#include "model/connection.h"

#define GRANT_COLUMNS \
    "SELECT g.version, g.access_sealed, g.refresh_sealed, g.key_version, g.obtained_at, g.expires_at," \
    " g.refresh_started_at, g.refresh_tries, c.patient, c.status, g.lease_owner, g.lease_until, g.fence, g.rotates," \
    " g.answer_fence, g.refused_at, g.failures, g.failing_since, g.not_before, g.ends_at, g.ends_fixed, g.warned_days," \
    " c.registration, c.trouble_told_at, g.warn_at, c.one_time," \
    " EXISTS (SELECT 1 FROM dynamic_client d WHERE d.connection = g.connection)" \
    " FROM token_grant g JOIN connection c ON c.id = g.connection WHERE g.connection = ?"
#define GRANT_KINDS "ibbitt" "tibibt" "iiitit" "ttii" "bttii"
enum grant_column {
    G_VERSION, G_ACCESS, G_REFRESH, G_KEY_VERSION, G_OBTAINED, G_EXPIRES,
    G_STARTED, G_TRIES, G_PATIENT, G_STATUS, G_LEASE_OWNER, G_LEASE_UNTIL,
    G_FENCE, G_ROTATES, G_ANSWER_FENCE, G_REFUSED, G_FAILURES, G_FAILING_SINCE,
    G_NOT_BEFORE, G_ENDS, G_ENDS_FIXED, G_WARNED,
    G_REGISTRATION, G_TROUBLE_TOLD, G_WARN, G_ONE_TIME, G_DYNAMIC,
    G__COUNT
};
/* Reads the row and locks it until the transaction's end. CW_E_NOT_FOUND: there is no grant. */
enum cw_code grant_lock(struct cw_db *db, struct cw_connection_id id, struct cw_arena *arena,
                        const struct cw_value **ret_row, struct cw_err *err) CW_MUST_USE;
/* The tokens in the clear. */
enum cw_code grant_open(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, const struct cw_value *row,
                        struct cw_grant *ret, struct cw_err *err) CW_MUST_USE;
struct cw_aad grant_access_cell(struct cw_connection_id id);
struct cw_aad grant_refresh_cell(struct cw_connection_id id);

/* ---- grant_schedule.c: pure */

#define GRANT_KEEP_ALIVE_US (30 * CW_DAY_US) /* ONC: a refresh token is good for 3 months, anew with each use */
#define GRANT_REFUSED_PAUSE_US (10 * CW_MINUTE_US) /* between the two refusals that end a token which does not rotate */
#define GRANT_TROUBLE_US CW_DAY_US /* failing for so long is told; it is still not the end */

/* What is known of a grant's end. */
struct grant_end {
    int64_t ends_us;       /* 0: not known */
    bool fixed;            /* refreshing does not move it */
};
/* When the keep-alive refreshes: in the last fifth of the period, at a point that the id gives, so that grants that were made together are not
 * due together. `keep_us` 0: GRANT_KEEP_ALIVE_US. A rolling end is met half way; a fixed one is looked at when it has come. */
int64_t grant_due_us(struct cw_connection_id id, int64_t now_us, int64_t keep_us, struct grant_end end);

/* After `failures` in a row, the first being 1: 1, 5, 15, 60 minutes, give or take a fifth. */
int64_t grant_backoff_us(unsigned failures);
/* Before the one repeat of a lost answer: 2 to 5 seconds. */
int64_t grant_lost_pause_us(void);

/* The warnings of an end: 14, 7 and 1 days before it. */
struct grant_warning {
    int64_t at_us;         /* the next look; 0: none */
    int warned_days;       /* the last threshold that was told or let pass; -1: none */
};
/* For a new end. A rolling end's thresholds in the half in which the keep-alive works are let pass. `before`: what was told of the end that this one
 * replaces (-1: nothing): thresholds that the new end has behind it too are not told again. */
struct grant_warning grant_warning_new(int64_t now_us, struct grant_end end, bool one_time, int before);
/* At a look: *ret_tell is the threshold to tell now, 0 for none; of several that have passed only the nearest. */
struct grant_warning grant_warning_step(int64_t now_us, int64_t ends_us, bool one_time, int warned_days, int *ret_tell);

#endif
