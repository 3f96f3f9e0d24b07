/* SPDX-License-Identifier: Apache-2.0 */
/* One search in one open index: what search.c does once it holds the file. */
#ifndef CW_CATALOG_MATCH_H
#define CW_CATALOG_MATCH_H

#include "catalog/index_int.h"
#include "catalog/search.h"

/* As cw_search_run. CW_E_OOM. */
enum cw_code cw_match_run(const struct cw_index_view *view, const struct cw_search_ask *ask, struct cw_search_hit *hits,
                          size_t max, size_t *ret_count, struct cw_err *err) CW_NONNULL(1, 2, 3, 5) CW_MUST_USE;

/* Fewest edits (insert, delete, replace, swap neighbours) that make `typed` a beginning of `word`, or more than `most`. */
unsigned cw_match_errors(struct cw_span typed, struct cw_span word, unsigned most) CW_PURE;

#endif
