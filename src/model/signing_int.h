/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between signing.c (first use, key set) and signing_walk.c (rotation). */
#ifndef CW_MODEL_SIGNING_INT_H
#define CW_MODEL_SIGNING_INT_H

#include "base/arena.h"
#include "model/signing.h"

/* A row for a key in memory, in the caller's transaction. */
enum cw_code signing_insert(struct cw_model *m, struct cw_db *db, const struct cw_signing_key *key, enum cw_jose_alg alg,
                            enum cw_signing_stage stage, struct cw_err *err) CW_MUST_USE;

#endif
