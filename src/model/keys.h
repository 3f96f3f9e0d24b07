/* SPDX-License-Identifier: Apache-2.0 */
/* Data keys: fetched wrapped, unwrapped by the vault, made on first need. All calls run on the caller's connection. */
#ifndef CW_MODEL_KEYS_H
#define CW_MODEL_KEYS_H

#include "model/model.h"

/* The newest key of an organization (or of the installation: the zero id), made when there is none (then inside a transaction). */
enum cw_code cw_org_key_current(struct cw_model *m, struct cw_db *db, struct cw_org_id org, struct cw_data_key *ret,
                                struct cw_err *err) CW_MUST_USE;
/* A given version. CW_E_NOT_FOUND. */
enum cw_code cw_org_key_version(struct cw_model *m, struct cw_db *db, struct cw_org_id org, uint32_t version,
                                struct cw_data_key *ret, struct cw_err *err) CW_MUST_USE;
/* A patient's key: `version` 0 is the newest. CW_E_NOT_FOUND after deletion. */
enum cw_code cw_patient_key(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient, uint32_t version,
                            struct cw_data_key *ret, struct cw_err *err) CW_MUST_USE;
/* Makes version 1 for a new patient, in the caller's transaction. */
enum cw_code cw_patient_key_make(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient,
                                 struct cw_data_key *ret, struct cw_err *err) CW_MUST_USE;
/* From the three cells (version, wrapped, master_key_id) that a query joined, saving a round trip. */
enum cw_code cw_key_open(struct cw_model *m, struct cw_ulid owner, const struct cw_value cells[3],
                         struct cw_data_key *ret, struct cw_err *err) CW_MUST_USE;
/* The zero id that stands for the installation itself. */
struct cw_org_id cw_installation(void);

/* Unseals a nullable cell into the arena; an absent or NULL cell gives the absent span. */
enum cw_code cw_cell_unseal(const struct cw_data_key *key, struct cw_aad aad, const struct cw_value *cell,
                            struct cw_arena *arena, struct cw_span *ret, struct cw_err *err) CW_MUST_USE;
/* Seals into the arena; an absent span gives a NULL value. */
enum cw_code cw_cell_seal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span plain, struct cw_arena *arena,
                          struct cw_value *ret, struct cw_err *err) CW_MUST_USE;

#endif
