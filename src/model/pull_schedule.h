/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next pull of a connection: planned where the last one ends, by the policy (schedule.h), as a pull that waits with its job. So nothing
 * has to look through millions of connections; the sweep only takes up those that nobody has planned, by an index.
 */
#ifndef CW_MODEL_PULL_SCHEDULE_H
#define CW_MODEL_PULL_SCHEDULE_H

#include "model/pull.h"
#include "model/schedule.h"

/* What has just ended. */
struct cw_pull_ended {
    struct cw_pull_id id;
    struct cw_connection_id connection;
    enum cw_pull_mode mode;
    enum cw_pull_status status;
    const char *failure_code;        /* NULL unless failed */
    int64_t told_us;                 /* not before, as the source said; 0: nothing of that */
};
/* In the transaction that ends a pull, after its job has left. */
enum cw_code pull_schedule_next(struct cw_db *db, const struct cw_pull_ended *ended, struct cw_arena *arena, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* The janitor: plans for active connections that have no pull, up to limit: from before there was a schedule, released by a new policy,
 * working again after a failure, and those whose time was two days ago. *ret_count: how many were planned. */
enum cw_code cw_pull_schedule_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                    struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;

/* For the operator: how each of a patient's connections stands; at most 500. */
struct cw_pull_plan_row {
    struct cw_connection_id connection;
    enum cw_connection_status status;
    int64_t at_us;                   /* of the pull that waits; 0: none waits (or one runs) */
    enum cw_pull_mode mode;
    struct cw_span hold;             /* CW_HOLD_…; absent: none */
    unsigned failures;
    int64_t full_us;                 /* the last full pull that brought something; 0: none */
};
enum cw_code cw_pull_schedule_list(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                                   struct cw_pull_plan_row **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;

#endif
