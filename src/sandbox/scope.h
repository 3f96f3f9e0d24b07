/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a token allows, by the grammar of SMART v1 (patient/Observation.read) and v2 (patient/Observation.rs?category=lab), on
 * the server's side. Scopes are kept as text and read when needed: the text is what was consented to and what is answered.
 */
#ifndef CW_SANDBOX_SCOPE_H
#define CW_SANDBOX_SCOPE_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"
#include "sandbox/chart.h"

#define CW_SBX_SCOPES_MAX 240u     /* on one consent page */
#define CW_SBX_SCOPE_TEXT_MAX 8192u

enum cw_sbx_permission { CW_SBX_READ = 1u << 0, CW_SBX_SEARCH = 1u << 1 };

struct cw_sbx_scope {
    struct cw_span type;  /* "Observation" or "*"; absent when it is not a resource scope */
    unsigned permissions; /* of those that this server knows */
    struct cw_span query; /* "category=…"; absent when none */
};
/* False for a scope that this server does not know: it is dropped from the request without a word, as servers do. */
bool cw_sbx_scope_parse(struct cw_span text, struct cw_sbx_scope *ret_scope) CW_NONNULL(2) CW_MUST_USE;
/* The scope is in the list, word for word. */
bool cw_sbx_scope_has(struct cw_span scopes, const char *scope) CW_NONNULL(2);
/* Something of this type may be done. */
bool cw_sbx_scope_may(struct cw_span scopes, const struct cw_sbx_type *type, unsigned permission) CW_NONNULL(2);
/* It may be done with this resource: granular scopes count only where it fits them. */
bool cw_sbx_scope_allows(struct cw_span scopes, const struct cw_sbx_resource *resource, unsigned permission) CW_NONNULL(2);
/* The words of `wanted` that stand in `allowed` too; appended with blanks between them. */
enum cw_code cw_sbx_scope_narrow(struct cw_span allowed, struct cw_span wanted, struct cw_str *out) CW_NONNULL(3);

#endif
