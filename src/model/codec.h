/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of stored resources: zstd with a shipped, versioned dictionary, trained on generated data only (design 13).
 * Each row names its dictionary; version 0 is none. Dictionaries are digested once per process (loading one at each record
 * costs ten times the compression itself, field/performance 3). Contexts are per thread.
 */
#ifndef CW_MODEL_CODEC_H
#define CW_MODEL_CODEC_H

#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

/* Appends the packed form of plain to *out and says which dictionary unpacks it. CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_codec_pack(struct cw_span plain, struct cw_str *out, unsigned *ret_dictionary, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* Fills exactly `length` bytes at out. CW_E_SYNTAX: not packed by us, or of another length; CW_E_CONFIG: this build lacks the dictionary. */
enum cw_code cw_codec_unpack(struct cw_span packed, unsigned dictionary, char *out, size_t length, struct cw_err *err)
    CW_NONNULL(3) CW_MUST_USE;

#endif
