/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every sealed column of the schema in one table: what verification walks, and what a test holds against the schema, so
 * that no column is sealed in a way that nobody checks.
 */
#ifndef CW_MODEL_SEALED_H
#define CW_MODEL_SEALED_H

#include "model/model.h"

struct cw_sealed_column {
    const char *cell;    /* "patient.name", as in the AAD */
    const char *table;
    const char *column;
    struct cw_query next;
};
extern const struct cw_sealed_column cw_sealed_columns[];
extern const size_t cw_sealed_column_count;

/* A cell that does not open. `code` CW_E_AUTH: not what was sealed there; CW_E_CONFIG: its key's master key is not on the ring. */
typedef void cw_cell_fault_fn(void *arg, const struct cw_sealed_column *column, struct cw_ulid row, enum cw_code code);
struct cw_sealed_walk {
    cw_cell_fault_fn *fault;
    void *arg;
    uint64_t most;       /* cells of each column, from a random row on; 0: all of them */
    uint64_t good;
    uint64_t shredded;   /* whose key is destroyed: rows of a deleted patient that the janitor has not removed yet */
    uint64_t faults;
};
/* Opens cells, each with the key that its row names, and forgets what was in them. In constant memory. */
enum cw_code cw_sealed_verify(struct cw_model *m, struct cw_sealed_walk *walk, struct cw_err *err) CW_MUST_USE;

#endif
