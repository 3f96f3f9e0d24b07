/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job table: work that waits or runs. A claim takes the row out of the claim index (ready_at NULL), gives it an owner, a lease
 * and a higher fence; every later write of the owner checks the fence, so a worker that lost its lease changes nothing.
 */
#ifndef CW_MODEL_JOB_H
#define CW_MODEL_JOB_H

#include "model/model.h"

enum cw_job_kind { CW_JOB_PULL = 1, CW_JOB_REVOKE = 2 };

/* The lanes of the queue; the value is job.priority. */
enum cw_job_lane { CW_JOB_WAITED_FOR = 50, CW_JOB_BY_THE_CLOCK = 200 };

struct cw_job {
    struct cw_job_id id;
    enum cw_job_kind kind;
    struct cw_ulid subject;
    uint64_t fence;
    unsigned tries;
};

/* In the caller's transaction; one job a (kind, subject): CW_E_CONFLICT when it is there. endpoint zero: none. */
enum cw_code cw_job_add(struct cw_db *db, enum cw_job_kind kind, struct cw_ulid subject, struct cw_endpoint_id endpoint,
                        enum cw_job_lane lane, int64_t ready_us, struct cw_err *err) CW_MUST_USE;
/* Claims up to `most` due pulls in one transaction: those that somebody waits for first, but a quarter is kept for the others, of which there are
 * `most_by_clock` at most. After a race that was lost to another node it begins somewhere else in the queue. */
enum cw_code cw_job_claim_lanes(struct cw_model *m, const char *owner, int64_t lease_us, unsigned most, unsigned most_by_clock,
                                struct cw_job *ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* The same of all lanes alike. */
enum cw_code cw_job_claim(struct cw_model *m, const char *owner, int64_t lease_us, unsigned most, struct cw_job *ret,
                          size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* One due job of another kind. CW_E_NOT_FOUND: there is none. */
enum cw_code cw_job_claim_one(struct cw_model *m, const char *owner, enum cw_job_kind kind, int64_t lease_us,
                              struct cw_job *ret, struct cw_err *err) CW_MUST_USE;
/* Longer lease for what we hold. Those that were lost are CW_E_CONFLICT. */
enum cw_code cw_job_renew(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t lease_us,
                          struct cw_err *err) CW_MUST_USE;
/* In the caller's transaction: locks the row and checks owner and fence. CW_E_CONFLICT: the job is no longer ours; roll back. */
enum cw_code cw_job_hold(struct cw_db *db, const char *owner, const struct cw_job *job, struct cw_err *err) CW_MUST_USE;
/* In the caller's transaction, after cw_job_hold: the work has ended; the row leaves. */
enum cw_code cw_job_finish(struct cw_db *db, const struct cw_job *job, struct cw_err *err) CW_MUST_USE;
/* Gives it back, to be claimed at ready_us, after a failure. */
enum cw_code cw_job_release(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t ready_us,
                            struct cw_err *err) CW_MUST_USE;
/* The same where nothing failed (a stop, a hospital that asked for quiet): this claim was no try. */
enum cw_code cw_job_put_off(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t ready_us,
                            struct cw_err *err) CW_MUST_USE;
/* At start: jobs and duties of other processes of our family ("family/process"; the caller holds its lock file, so they are dead) are free at once. */
enum cw_code cw_job_take_back(struct cw_model *m, const char *owner, unsigned *ret_count, struct cw_err *err) CW_MUST_USE;
/* The janitor: leases that have run out, whoever held them. */
enum cw_code cw_job_free_expired(struct cw_model *m, unsigned *ret_count, struct cw_err *err) CW_MUST_USE;

/* A named duty that one node does at a time ("janitor"): takes or keeps its lease. *ret_mine false: another node has it. */
enum cw_code cw_duty_take(struct cw_model *m, const char *name, const char *owner, int64_t lease_us, bool *ret_mine,
                          struct cw_err *err) CW_MUST_USE;

#endif
