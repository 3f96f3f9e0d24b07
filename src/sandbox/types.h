/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resource types that the sandbox hospital serves, and how each can be searched. One table drives the
 * CapabilityStatement, the search itself, the scopes on the consent page and the grouping of imported resources, so
 * that what is advertised is what is done.
 */
#ifndef CW_SANDBOX_TYPES_H
#define CW_SANDBOX_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/span.h"

enum cw_sbx_param_kind { CW_SBX_TOKEN, CW_SBX_DATE, CW_SBX_REFERENCE };

/* `path` is member names joined by dots; arrays on the way are walked; alternatives are joined by '|'. A token's end may be
 * a code, a Coding, a CodeableConcept or an Identifier; a date's may be a date, a dateTime, an instant or a Period. */
struct cw_sbx_param {
    const char *name;
    enum cw_sbx_param_kind kind;
    const char *path;
};

enum cw_sbx_type_flag {
    CW_SBX_BY_PATIENT = 1u << 0,   /* has a search by patient; the others are read by reference */
    CW_SBX_LAST_UPDATED = 1u << 1, /* carries meta.lastUpdated and has _lastUpdated */
    CW_SBX_SHARED = 1u << 2        /* belongs to the hospital, not to a patient */
};

#define CW_SBX_PARAMS_MAX 7

struct cw_sbx_type {
    const char *name;
    unsigned flags;
    struct cw_sbx_param params[CW_SBX_PARAMS_MAX]; /* beside _id, patient and _lastUpdated; ends with name NULL */
};

extern const struct cw_sbx_type cw_sbx_types[];
size_t cw_sbx_type_count(void);
/* NULL for a type that is not served. */
const struct cw_sbx_type *cw_sbx_type_find(struct cw_span name);
/* Its place in the table. */
size_t cw_sbx_type_index(const struct cw_sbx_type *type) CW_NONNULL(1);
/* NULL when the type has no such parameter of its own. */
const struct cw_sbx_param *cw_sbx_param_find(const struct cw_sbx_type *type, struct cw_span name) CW_NONNULL(1);

#endif
