/* SPDX-License-Identifier: Apache-2.0 */
/* Query strings and forms as FHIR and OAuth need them: any names, in order, repeated names kept. */
#ifndef CW_SANDBOX_PARAMS_H
#define CW_SANDBOX_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

#define CW_SBX_PARAMS_PAIRS_MAX 256u /* a consent page with CW_SBX_SCOPES_MAX boxes, and the rest */

struct cw_sbx_params {
    struct {
        struct cw_span name, value;
    } pairs[CW_SBX_PARAMS_PAIRS_MAX];
    size_t count;
};

/* Decodes `text` into the arena. CW_E_SYNTAX on broken percent coding, bytes that are not UTF-8, or control characters other than line
 * ends; CW_E_TOO_BIG for too many pairs; CW_E_OOM. */
enum cw_code cw_sbx_params_parse(struct cw_span text, struct cw_arena *arena, struct cw_sbx_params *ret_params)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* The first of that name, or the absent span. */
struct cw_span cw_sbx_param(const struct cw_sbx_params *params, const char *name) CW_NONNULL(1, 2);
/* How often the name stands there. */
size_t cw_sbx_param_times(const struct cw_sbx_params *params, const char *name) CW_NONNULL(1, 2);

#endif
