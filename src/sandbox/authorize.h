/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An authorization request as this personality judges it, apart from pages and redirects: what it refuses, and which scopes it takes the
 * request to ask for. Pure, so that each step of the sign-in asks again and cannot disagree with the one before.
 */
#ifndef CW_SANDBOX_AUTHORIZE_H
#define CW_SANDBOX_AUTHORIZE_H

#include "sandbox/hospital.h"

#define AUTHORIZE_CHALLENGE_TEXT 43u /* S256, base64url */

/* RFC 6749 4.1.2.1; literals. */
struct authorize_refusal {
    const char *error, *text;
    const char *reason; /* last part of error_uri where the personality answers by one; NULL: the error */
};

/* True when the request, whose client and redirect URI are known to be good, may be answered by the login page. */
bool authorize_allows(const struct site *site, const struct cw_sbx_params *params, struct authorize_refusal *ret_refusal)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* Once the patient has signed in: what the portal itself says. */
bool authorize_lets_in(const struct site *site, struct authorize_refusal *ret_refusal) CW_NONNULL(1, 2) CW_MUST_USE;
/* Appends the scopes that count as asked. */
enum cw_code authorize_scope(const struct site *site, struct cw_span asked, struct cw_str *out) CW_NONNULL(1, 3) CW_MUST_USE;

/* The code as it travels: itself, or with a long tail of characters that must be encoded. `take` gives the absent span when the tail is not
 * what was put there. */
enum cw_code authorize_code_put(const struct site *site, struct cw_span code, struct cw_str *out) CW_NONNULL(1, 3) CW_MUST_USE;
struct cw_span authorize_code_take(const struct site *site, struct cw_span sent) CW_NONNULL(1);

#endif
