/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between pull.c (pulls) and pull_task.c (tasks and pages). */
#ifndef CW_MODEL_PULL_INT_H
#define CW_MODEL_PULL_INT_H

#include "model/pull.h"

/* A waiting pull and its job, in the caller's transaction, ready at a time; whatever else this connection has. */
struct cw_pull_new {
    const struct cw_connection *connection; /* its ids alone */
    enum cw_pull_trigger trigger;
    enum cw_pull_mode mode;
    int64_t ready_us;
};
enum cw_code cw_pull_insert(struct cw_db *db, const struct cw_pull_new *pull, struct cw_pull_id *ret, struct cw_err *err) CW_MUST_USE;
/* One that waits for another time begins now, whole, and before scheduled ones, since somebody waits for it. *ret_sooner false: it runs already. */
enum cw_code cw_pull_begin_now(struct cw_db *db, struct cw_pull_id id, enum cw_pull_trigger trigger, bool *ret_sooner,
                               struct cw_err *err) CW_MUST_USE;
/* Locks the pull's row in the caller's transaction. */
enum cw_code cw_pull_lock(struct cw_db *db, struct cw_pull_id id, struct cw_arena *arena,
                          enum cw_pull_status *ret_status, struct cw_patient_row *ret_patient, struct cw_err *err)
    CW_MUST_USE;
/* Inserts tasks in bulk; one that this pull has already (same kind and target) is left as it is. */
enum cw_code cw_pull_tasks_add(struct cw_db *db, struct cw_pull_id pull, const struct cw_data_key *key,
                               const struct cw_task_new *tasks, size_t count, struct cw_arena *arena,
                               struct cw_err *err) CW_MUST_USE;

/* What makes a task the same task: its kind and its URL, or, for one without, its type and reason. */
void cw_pull_target_hash(const struct cw_data_key *key, const struct cw_task_new *task, struct cw_arena *arena,
                         uint8_t out[CW_HASH_LEN]);
/* pull_found.c: makes tasks of what a page names, in its transaction and after its records. */
enum cw_code cw_pull_found_add(struct cw_db *db, const struct cw_page_commit *page, const struct cw_data_key *key,
                               struct cw_patient_row patient, struct cw_arena *arena, struct cw_err *err) CW_MUST_USE;
/* pull_skip.c: adds to the counts. */
enum cw_code cw_pull_skips_add(struct cw_db *db, struct cw_pull_id pull, const struct cw_pull_skip *skips, size_t count,
                               struct cw_err *err) CW_MUST_USE;

#endif
