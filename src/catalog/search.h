/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a source by what a patient types: the name on the building, an old name, a town, a ZIP code, a host, misspelt or half typed.
 *
 * The index is one immutable file per environment (catalog/index.h builds it), mapped into memory and shared by all threads. A new file
 * replaces it by rename; every search looks at most once in CW_SEARCH_LOOK_US whether that has happened, so that a change of the
 * catalogue is found within a minute without a restart. Nothing here reads the database: the answer is ids, best first, and the caller
 * loads the rows (and drops those that have been retired since).
 */
#ifndef CW_CATALOG_SEARCH_H
#define CW_CATALOG_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

#define CW_SEARCH_TEXT_MAX 200u             /* bytes of a query that are looked at; the rest is ignored */
#define CW_SEARCH_WORDS_MAX 12u             /* words of a query that are looked at */
#define CW_SEARCH_HITS_MAX 200u
#define CW_SEARCH_LOOK_US INT64_C(5000000)  /* how often the file is looked at */

struct cw_search;

struct cw_search_hit {
    struct cw_source_id id;
    uint32_t score; /* higher is better; comparable within one answer only */
};

struct cw_search_ask {
    struct cw_span text;   /* as typed: any bytes; what is not UTF-8 is repaired */
    struct cw_span vendor; /* only sources of this vendor, as in source.vendor; absent for all */
};

void cw_search_free(struct cw_search *search);
/* Never touches the file: a searcher may be made before the first index exists. `path` is copied. NULL when out of memory. */
struct cw_search *cw_search_new(const char *path) CW_NONNULL(1) CW_MUST_USE CW_MALLOC(cw_search_free);

/* Fills at most `max` hits, best first: whole name before beginning of a name before all words before words with a typing error.
 * Text without a letter or digit finds nothing. Any number of threads may call this at once.
 * CW_E_NOT_FOUND: there is no index file yet; CW_E_CONFIG: it is not one of ours, of another version, or damaged (an index that was good
 * stays in use when its replacement is not); CW_E_IO, CW_E_OOM. */
enum cw_code cw_search_run(struct cw_search *search, const struct cw_search_ask *ask, struct cw_search_hit *hits, size_t max,
                           size_t *ret_count, struct cw_err *err) CW_NONNULL(1, 2, 3, 5) CW_MUST_USE;

/* Number of sources in the index in use; 0 when there is none. */
size_t cw_search_count(struct cw_search *search) CW_NONNULL(1);

#endif
