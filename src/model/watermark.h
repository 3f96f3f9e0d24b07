/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From when on an incremental pull asks, type by type, and whether a server's _lastUpdated can be believed. A watermark moves only where
 * everything of its type came: one page that failed, and it stays.
 */
#ifndef CW_MODEL_WATERMARK_H
#define CW_MODEL_WATERMARK_H

#include "model/pull.h"

#define CW_WATERMARK_OVERLAP_US (10 * INT64_C(60000000)) /* replicas that lag, clocks that differ within a server farm */

struct cw_watermark {
    struct cw_span type;
    int64_t since_us;                /* by the source's clock */
    bool any;                        /* the patient has records of the type */
};
/* At most 200. */
enum cw_code cw_watermark_list(struct cw_model *m, struct cw_connection_id connection, struct cw_arena *arena,
                               struct cw_watermark **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;

/* min(start, newest) less the overlap. `start_us` is when the pull began by the source's clock; `newest_us` the greatest lastUpdated seen
 * that is not in the source's future; 0: none. */
int64_t cw_watermark_of(int64_t start_us, int64_t newest_us) CW_MUST_USE;

/* In the transaction that ends a pull. `skew_us`: how far the source's clock is ahead of ours, at least. A search that was refused with its filter
 * is asked for whole from then on, and tested anew. */
enum cw_code watermark_advance(struct cw_db *db, const struct cw_pull *pull, int64_t skew_us, struct cw_arena *arena, struct cw_err *err)
    CW_NONNULL(1, 2, 4) CW_MUST_USE;

/* IGNORED: it changes nothing, or takes what it should leave. */
enum cw_filter_test { CW_FILTER_UNTESTED = 0, CW_FILTER_REAL = 1, CW_FILTER_IGNORED = 2, CW_FILTER_REFUSED = 3 };
struct cw_filter_memory {
    struct cw_span type;
    enum cw_filter_test test;
};
/* What was found with this software ("" where it is not told); at most 200. */
enum cw_code cw_filter_memory_list(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_span software, struct cw_arena *arena,
                                   struct cw_filter_memory **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_filter_memory_put(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_span software,
                                  const struct cw_filter_memory *memory, struct cw_err *err) CW_MUST_USE;

#endif
