/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One patient's resources as the bytes that are served, and all that a token for that patient can reach: the patient's
 * own, and the hospital's (practitioners, places, medications) that they refer to. Filled once, sealed, then only
 * read, by any number of threads; counted references keep it while the store's cache lets go of it.
 */
#ifndef CW_SANDBOX_CHART_H
#define CW_SANDBOX_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "sandbox/types.h"

#define CW_SBX_CHART_MAX (96u * 1024u * 1024u) /* bytes of one patient's resources */
#define CW_SBX_NO_TIME INT64_MIN

struct cw_sbx_resource {
    const struct cw_sbx_type *type;
    struct cw_span id;
    struct cw_span bytes;
    int64_t updated_us; /* meta.lastUpdated, or CW_SBX_NO_TIME */
};

struct cw_sbx_chart;

/* With one reference. NULL when out of memory. */
struct cw_sbx_chart *cw_sbx_chart_new(void) CW_MUST_USE;
struct cw_sbx_chart *cw_sbx_chart_hold(struct cw_sbx_chart *chart) CW_NONNULL(1) CW_RETURNS_NONNULL;
/* Gives one reference back; the last one frees. NULL is allowed. */
void cw_sbx_chart_drop(struct cw_sbx_chart *chart);

/* Copies one resource in. CW_E_SYNTAX: not an object with resourceType and id; CW_E_UNSUPPORTED: a type that is not in the
 * table; CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_sbx_chart_add(struct cw_sbx_chart *chart, struct cw_span bytes, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;
/* Puts the resources in the order of the table (and of adding within a type); of two with the same type and id the first
 * stays. Nothing can be added after. CW_E_OOM. */
enum cw_code cw_sbx_chart_seal(struct cw_sbx_chart *chart) CW_NONNULL(1) CW_MUST_USE;

/* On a sealed chart. NULL when there is none. */
const struct cw_sbx_resource *cw_sbx_chart_find(const struct cw_sbx_chart *chart, const struct cw_sbx_type *type,
                                                struct cw_span id) CW_NONNULL(1, 2);
/* All of one type, one after the other; *ret_count may be 0. */
const struct cw_sbx_resource *cw_sbx_chart_of_type(const struct cw_sbx_chart *chart, const struct cw_sbx_type *type,
                                                   size_t *ret_count) CW_NONNULL(1, 2, 3);
size_t cw_sbx_chart_count(const struct cw_sbx_chart *chart) CW_NONNULL(1);
const struct cw_sbx_resource *cw_sbx_chart_at(const struct cw_sbx_chart *chart, size_t at) CW_NONNULL(1);
/* Memory that it holds, about. */
size_t cw_sbx_chart_bytes(const struct cw_sbx_chart *chart) CW_NONNULL(1);

#endif
