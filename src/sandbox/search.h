/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches over one chart, a page at a time. The `next` link is opaque: it holds the search and the place, base64url-coded, and
 * what a token may see is checked again when it comes back. Here also live the faults of paging.
 */
#ifndef CW_SANDBOX_SEARCH_H
#define CW_SANDBOX_SEARCH_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "sandbox/chart.h"
#include "sandbox/fault.h"
#include "sandbox/params.h"

#define CW_SBX_COUNT_DEFAULT 20u
#define CW_SBX_COUNT_MAX 200u
#define CW_SBX_FILTERS_MAX 24u

struct cw_sbx_filter {
    enum { CW_SBX_BY_PARAM, CW_SBX_BY_ID, CW_SBX_BY_UPDATED } how;
    const struct cw_sbx_param *param; /* CW_SBX_BY_PARAM */
    struct cw_span value;
};

struct cw_sbx_search {
    const struct cw_sbx_type *type;
    struct cw_span query;             /* as asked, for the links */
    struct cw_sbx_filter filters[CW_SBX_FILTERS_MAX];
    size_t filter_count;
    size_t count, offset;
    bool counted;                     /* _count was asked */
    unsigned page;                    /* how many pages came before */
};

/* Forgets its filters by _lastUpdated. */
void cw_sbx_search_ignore_updated(struct cw_sbx_search *search) CW_NONNULL(1);
/* Reads a query on `type` for a token of `patient`. Unknown parameters are ignored, as the FHIR default is. CW_E_MISSING: neither patient
 * nor _id; CW_E_DENIED: another patient; CW_E_RANGE: a bad date or _count; CW_E_SYNTAX, CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_sbx_search_parse(const struct cw_sbx_type *type, struct cw_span query, struct cw_span patient,
                                 struct cw_arena *arena, struct cw_sbx_search *ret_search, struct cw_err *err)
    CW_NONNULL(1, 4, 5) CW_MUST_USE;
/* The same from the text of a next link. */
enum cw_code cw_sbx_search_resume(struct cw_span token, struct cw_span patient, struct cw_arena *arena,
                                  struct cw_sbx_search *ret_search, struct cw_err *err) CW_NONNULL(3, 4) CW_MUST_USE;

struct cw_sbx_page {
    const struct cw_sbx_chart *chart;
    struct cw_span scopes;
    struct cw_span base;            /* FHIR base URL without slash at its end */
    const struct cw_sbx_faults *faults;
    const struct cw_sbx_personality *as;
};
/* How many resources the search finds in all. */
size_t cw_sbx_search_total(const struct cw_sbx_search *search, const struct cw_sbx_page *page) CW_NONNULL(1, 2);
/* Appends the page as a searchset Bundle. */
enum cw_code cw_sbx_search_page(const struct cw_sbx_search *search, const struct cw_sbx_page *page, struct cw_str *out)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
