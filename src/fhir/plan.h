/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query plan of a pull: scopes granted ∩ what the server says it offers ∩ our table of searches, changed by the vendor profile. What is
 * not asked stands in the plan too, with its reason, so that the receipt can tell it.
 */
#ifndef CW_FHIR_PLAN_H
#define CW_FHIR_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/span.h"
#include "base/str.h"
#include "fhir/capability.h"

#define CW_PLAN_ITEMS_MAX 512u

enum cw_plan_kind {
    CW_PLAN_READ,       /* {base}/Patient/{id} */
    CW_PLAN_SEARCH,     /* {base}/{type}?{param}={id}&{query} */
    CW_PLAN_EVERYTHING  /* {base}/Patient/{id}/$everything */
};

/* Why a search is not made. */
#define CW_PLAN_SKIP_SCOPE "no_scope"              /* not granted */
#define CW_PLAN_SKIP_NOT_OFFERED "not_offered"     /* the CapabilityStatement does not list it, or not for searching */
#define CW_PLAN_SKIP_NO_PATIENT "no_patient_param" /* it cannot be searched by patient */
#define CW_PLAN_SKIP_VENDOR "vendor_profile"       /* the profile says not to ask */
#define CW_PLAN_SKIP_TOO_LONG "url_too_long"       /* its URL would be over CW_URL_MAX */

struct cw_plan_item {
    enum cw_plan_kind kind;
    const char *type;    /* NUL-terminated, in the arena or static */
    const char *variant; /* "base", or the query that tells it from others of its type, such as "category=laboratory" */
    const char *param;   /* "patient" or "beneficiary" */
    const char *query;   /* without the patient; percent-encoded; may be empty */
    const char *skip;    /* NULL: ask; else one of CW_PLAN_SKIP_… */
    int fallback_of;     /* index of the item of which this is the second way: to be asked only when that one was refused (400, 403, 404, 422) or
                            brought nothing. Asking it all the same brings no wrong result, only the same records again. -1: always asked. */
    const char *filter;  /* NULL: none; one more parameter behind the query, of this pull alone (_lastUpdated=gt…), percent-encoded */
};

struct cw_plan {
    struct cw_plan_item *items; /* in the order in which they are to be asked */
    size_t count;
};

struct cw_plan_input {
    struct cw_span granted;                 /* scopes, separated by blanks */
    const struct cw_capability *capability; /* NULL: not known, take the table and learn from errors */
    /* The profile's "pull" object (smart/profile.h), or NULL: {"skip": [TYPE…], "revinclude": false, "patient_withheld": true, "searches": {TYPE: RULE}}. A rule replaces the
     * table's searches of its type: ["query"…]; {"add": "query"}, one search; {"each": {"param": ["value"…]}}, one search a value. Types that the
     * table lacks are added. */
    const json_t *pull;
    const char *const *types;               /* ask for these alone; NULL: for all */
    size_t type_count;
    const char *extra_query;                /* goes into every search, percent-encoded (ah-practice=…); NULL or "": none */
    int count;                              /* _count of a page; 0: leave out */
    bool everything;                        /* ask Patient/$everything as well */
};

/* CW_E_TOO_BIG: over CW_PLAN_ITEMS_MAX; CW_E_KIND: `pull` is not what is said above; CW_E_OOM. */
enum cw_code cw_plan_make(const struct cw_plan_input *input, struct cw_arena *arena, struct cw_plan *ret, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* Appends the plan as JSON: [{"kind","type","variant","query","skip"?,"fallback_of"?}…]. It names no patient. */
enum cw_code cw_plan_emit(const struct cw_plan *plan, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

/* Appends the first URL of an item that is asked. `base` may end in a slash or not. */
enum cw_code cw_plan_url(const struct cw_plan_item *item, struct cw_span base, struct cw_span patient_id, struct cw_str *out)
    CW_NONNULL(1, 4) CW_MUST_USE;

/* Appends a query without its _lastUpdated: what is to be remembered of a search holds at any time. */
void cw_plan_unfiltered(struct cw_span query, struct cw_str *out) CW_NONNULL(2);

/* The ladder after a refusal (smart-client-rules 7.2): appends `url` without the next thing that some servers refuse: first _include and _revinclude,
 * then _count, then status. False, with nothing appended, when nothing is left to take away. */
bool cw_plan_relax(struct cw_span url, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* The same where it is known what was refused: without the parameter of this name, or without _include and _revinclude. */
bool cw_plan_drop(struct cw_span url, struct cw_span name, struct cw_str *out) CW_NONNULL(3) CW_MUST_USE;
bool cw_plan_drop_includes(struct cw_span url, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* What a search's URL asks beside whose it is: "patient" of "{base}/Goal?patient=7&status=x" and "status=x". False for a URL that is none of the type. */
bool cw_plan_url_query(struct cw_span url, struct cw_span base, const char *type, struct cw_span *ret_param, struct cw_span *ret_query)
    CW_NONNULL(3, 4, 5) CW_MUST_USE;

/* After a page that is too big to be taken: appends `url` with half its _count (10 where it has none). False, with nothing appended, when that was 1. */
bool cw_plan_halve(struct cw_span url, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* After a page that the server cannot build because one record of it is broken: appends `url` with _count=1, so that the records before it come. False,
 * with nothing appended, when that is what was asked already. */
bool cw_plan_shrink(struct cw_span url, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* Does a granted scope let one resource of the type be read, be it under a filter? */
bool cw_plan_may_read(struct cw_span granted, struct cw_span type) CW_MUST_USE;

/* The types that the plan can ask for, for the scopes to request. */
const char *const *cw_plan_types(size_t *ret_count) CW_NONNULL(1) CW_RETURNS_NONNULL;

#endif
