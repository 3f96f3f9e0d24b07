/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting a patient: one transaction destroys the patient's key and row, writes tombstone and event, and sends the tokens on
 * their way back; from its commit on nothing of the patient can be read. The janitor removes the remaining rows.
 */
#ifndef CW_MODEL_DELETION_H
#define CW_MODEL_DELETION_H

#include "model/patient.h"
#include "model/tombstone.h"

struct cw_deletion {
    struct cw_tombstone tombstone;
    bool repeated;      /* deleted before: nothing was changed */
    bool journaled;     /* false: the journal could not be written; the janitor tries on */
};
/* Repeating it, until the deletion is final, is CW_OK. CW_E_NOT_FOUND: no such patient. `err` also says why a deletion was not journaled. */
enum cw_code cw_patient_delete(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               struct cw_span patient_id, struct cw_deletion *ret, struct cw_err *err) CW_MUST_USE;
/* After a restore: deletes the patient of a tombstone if it is back; its key, if that is back. *ret_was_back says so. */
enum cw_code cw_patient_delete_again(struct cw_model *m, const struct cw_actor *actor, const struct cw_tombstone *tombstone,
                                     bool *ret_was_back, struct cw_err *err) CW_MUST_USE;
/* After a restore of the keys alone: the keys of all tombstones of the database. */
enum cw_code cw_deleted_keys_destroy(struct cw_model *m, unsigned *ret_count, struct cw_err *err) CW_MUST_USE;

/* The janitor: journals what is not journaled, removes rows of deleted patients in small transactions for at most about a second, and forgets the repeated
 * call's hash when a deletion is final. *ret_count: rows removed. */
enum cw_code cw_deletion_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                               struct cw_err *err) CW_MUST_USE;

#endif
