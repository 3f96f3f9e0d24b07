/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that a source no longer has. FHIR searches do not show deletions, so what a full pull did not see is asked for by id: only 404
 * and 410 mean that it is gone; 200 is stored, 403 and everything else leaves it as it was. A record that is gone keeps its row and its
 * bytes, gets vanished_at and a new change_seq, and so comes up again in the list of records; one that is seen again loses vanished_at.
 */
#ifndef CW_MODEL_VANISH_H
#define CW_MODEL_VANISH_H

#include "model/pull.h"

/* Over this many and this share of a type missing at once nothing is asked: that is a server's mistake or a narrowed scope, not a patient's. */
#define CW_VANISH_SUSPECT 20u
#define CW_VANISH_SUSPECT_PERCENT 20u

/* In the transaction that stores a page of a full pull: its records. */
enum cw_code vanish_note_seen(struct cw_db *db, struct cw_pull_id pull, const struct cw_ulid *records, size_t count, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;

struct cw_vanish_asked {
    unsigned tasks;                  /* made: the pull goes on */
    unsigned suspected;              /* types of which too many were missing */
};
/* After everything of a full pull came: makes the tasks, once. `base` is that of the FHIR server. CW_E_CONFLICT: the job is no longer ours. */
enum cw_code cw_vanish_ask(struct cw_model *m, const char *owner, const struct cw_job *job, const struct cw_pull *pull,
                           struct cw_span base, struct cw_vanish_asked *ret, struct cw_err *err) CW_NONNULL(1, 2, 3, 4, 6) CW_MUST_USE;
/* Before the receipt: what was answered 404 or 410 is no failure but skipped, "vanished". */
enum cw_code cw_vanish_settle(struct cw_model *m, struct cw_pull_id pull, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;
/* In the transaction that ends the pull: marks what was settled, counts, and forgets what the pull had seen. */
enum cw_code vanish_mark(struct cw_db *db, const struct cw_pull *pull, struct cw_arena *arena, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
