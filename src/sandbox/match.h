/* SPDX-License-Identifier: Apache-2.0 */
/* Does a resource fit a search parameter (FHIR R4, 3.1.1.4)? Tokens, dates with prefixes, references; nothing else is advertised. */
#ifndef CW_SANDBOX_MATCH_H
#define CW_SANDBOX_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "sandbox/chart.h"
#include "sandbox/types.h"

/* A stretch of time: a date means its whole day. */
struct cw_sbx_range {
    int64_t from_us, to_us; /* to_us is the first moment after */
};
/* YYYY, YYYY-MM, YYYY-MM-DD or a dateTime. False on anything else. */
bool cw_sbx_range_parse(struct cw_span text, struct cw_sbx_range *ret_range) CW_NONNULL(2) CW_MUST_USE;
/* A value with its prefix (eq ne gt lt ge le sa eb ap). False when the value is not a date: the request is then a 400. */
bool cw_sbx_date_valid(struct cw_span value) CW_MUST_USE;
bool cw_sbx_date_fits(struct cw_sbx_range range, struct cw_span value) CW_MUST_USE;

/* `value` may be a list by commas: any of them. */
bool cw_sbx_match(const struct cw_sbx_resource *resource, const struct cw_sbx_param *param, struct cw_span value)
    CW_NONNULL(1, 2) CW_MUST_USE;

#endif
