/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server says it can do: the parts of its CapabilityStatement that steer a pull. The summary that is kept with the endpoint is
 * itself a small CapabilityStatement, so that one reader reads both.
 *
 * Servers fill these documents carelessly: a member of a wrong type counts as not told, and a plan never takes silence for a refusal
 * where the table of searches says "try".
 */
#ifndef CW_FHIR_CAPABILITY_H
#define CW_FHIR_CAPABILITY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

#define CW_CAPABILITY_TYPES_MAX 256u /* R4 has 148 resource types */
#define CW_CAPABILITY_NAMES_MAX 256u /* search parameters or includes of one type that are kept; the rest is passed over */
#define CW_CAPABILITY_SUMMARY_MAX (256u * 1024u)

enum { CW_CAN_READ = 1u << 0, CW_CAN_SEARCH = 1u << 1 };

struct cw_capability_type {
    struct cw_span type;
    bool interactions_told;  /* false: none listed at all */
    unsigned can;
    struct cw_span *params;  /* search parameter names */
    size_t param_count;
    struct cw_span *includes;
    size_t include_count;
    struct cw_span *revincludes;
    size_t revinclude_count;
};

struct cw_capability {
    struct cw_span fhir_version;                   /* "4.0.1"; absent when not told, as all texts here */
    struct cw_span software_name, software_version, publisher;
    struct cw_capability_type *types;              /* of the first rest with mode server, or of the first at all */
    size_t count;
};

/* Everything is copied into the arena. CW_E_SYNTAX, CW_E_TOO_BIG (CW_CAPABILITY_MAX, depth), CW_E_KIND: not a CapabilityStatement (R4's
 * name, or Conformance of DSTU2), CW_E_OOM. A document without `rest` is good and has no types. */
enum cw_code cw_capability_read(struct cw_span json, struct cw_arena *arena, struct cw_capability *ret, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* Appends the summary, which cw_capability_read reads. The string's fault is returned. */
enum cw_code cw_capability_emit(const struct cw_capability *capability, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

/* NULL when the type is not listed. */
const struct cw_capability_type *cw_capability_find(const struct cw_capability *capability, struct cw_span type) CW_NONNULL(1);
/* Case is ignored: Epic lists "_lastupdated". */
bool cw_capability_has_param(const struct cw_capability_type *type, const char *name) CW_NONNULL(1, 2);
bool cw_capability_includes(const struct cw_capability_type *type, const char *include) CW_NONNULL(1, 2);
bool cw_capability_revincludes(const struct cw_capability_type *type, const char *include) CW_NONNULL(1, 2);

#endif
