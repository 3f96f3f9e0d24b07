/* SPDX-License-Identifier: Apache-2.0 */
/* Patients, under the id that the app chose. Name, e-mail and metadata are sealed under the patient's own key. */
#ifndef CW_MODEL_PATIENT_H
#define CW_MODEL_PATIENT_H

#include "model/model.h"

struct cw_patient {
    struct cw_patient_row row;
    struct cw_org_id org;
    struct cw_span patient_id;
    struct cw_span email;      /* absent: null */
    struct cw_span name;
    struct cw_span metadata;   /* JSON object text; "{}" when none */
    int64_t created_us, updated_us;
};

/* 1..200 code points of UTF-8, no control characters, not starting with one of our prefixes. CW_E_RANGE says why. */
enum cw_code cw_patient_id_check(struct cw_span patient_id, struct cw_err *err) CW_MUST_USE;

/* New ones; CW_E_CONFLICT when the id is taken. Absent members are stored as NULL. */
enum cw_code cw_patient_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient *ret,
                               struct cw_err *err) CW_MUST_USE;
/* CW_E_NOT_FOUND in another organization as well. */
enum cw_code cw_patient_get(struct cw_model *m, struct cw_org_id org, struct cw_span patient_id, struct cw_arena *arena,
                            struct cw_patient *ret, struct cw_err *err) CW_MUST_USE;
/* PUT: all three optional members are replaced, absent ones cleared. */
enum cw_code cw_patient_replace(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient *ret,
                                struct cw_err *err) CW_MUST_USE;
/* In ascending row order after `after` (zero: from the start); filters by exact id or e-mail when given. Brings up to limit + 1 rows. */
struct cw_patient_filter {
    struct cw_span patient_id;
    struct cw_span email;
    struct cw_ulid after;
    unsigned limit;
};
enum cw_code cw_patient_list(struct cw_model *m, struct cw_org_id org, const struct cw_patient_filter *filter,
                             struct cw_arena *arena, struct cw_patient **ret, size_t *ret_count, struct cw_err *err)
    CW_MUST_USE;

/* Session start, in its transaction: finds or makes the patient; given e-mail and name are stored, absent ones kept. *ret_key is the patient's key (caller wipes). */
enum cw_code cw_patient_upsert(struct cw_model *m, struct cw_db *db, struct cw_org_id org,
                               const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient_row *ret_row,
                               struct cw_data_key *ret_key, struct cw_err *err) CW_MUST_USE;

#endif
