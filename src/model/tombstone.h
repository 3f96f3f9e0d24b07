/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What deletion leaves, and its journal outside the database: a file to which each deletion adds a line, so that a restore
 * from a backup can apply it again. A line holds internal ids and times and a check sum, nothing of the person.
 */
#ifndef CW_MODEL_TOMBSTONE_H
#define CW_MODEL_TOMBSTONE_H

#include "base/str.h"
#include "model/model.h"

struct cw_tombstone {
    struct cw_patient_row patient;
    struct cw_org_id org;
    int64_t deleted_us, final_us;
};

#define CW_TOMBSTONE_LINE_MAX 256u
/* Without the line's end. */
enum cw_code cw_tombstone_emit(const struct cw_tombstone *tombstone, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;
/* CW_E_SYNTAX: not a whole line of ours. */
enum cw_code cw_tombstone_parse(struct cw_span line, struct cw_tombstone *ret) CW_NONNULL(2) CW_MUST_USE;

/* Appends those that are not in the journal yet, durable before the row says so: after a crash between the two a line may stand twice. */
enum cw_code cw_tombstone_journal(struct cw_model *m, unsigned limit, unsigned *ret_count, struct cw_err *err) CW_MUST_USE;

#endif
