/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a patient may be sent back to (design 13, "Embedding and return"): https, or an app's private-use scheme, and for
 * sandbox organizations also http on this machine. What a production organization uses must be on its list.
 */
#ifndef CW_API_RETURN_URL_H
#define CW_API_RETURN_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

enum cw_return_kind { CW_RETURN_HTTPS, CW_RETURN_LOOPBACK, CW_RETURN_SCHEME };

/* Checks the form and appends what the organization's list is asked for: "https://app.example[:port]" or
 * "com.example.app:". CW_E_SYNTAX (no URL of a kind that is taken; userinfo; controls), CW_E_TOO_BIG, CW_E_DENIED (http to
 * another machine), CW_E_OOM. */
enum cw_code cw_return_target(struct cw_span url, enum cw_return_kind *ret_kind, struct cw_str *target,
                              struct cw_err *err) CW_NONNULL(2, 3) CW_MUST_USE;

#endif
