/* SPDX-License-Identifier: Apache-2.0 */
/* Token revocation (RFC 7009), with the client authentication of the token endpoint. Revoke the refresh token first. */
#ifndef CW_SMART_REVOKE_H
#define CW_SMART_REVOKE_H

#include "base/err.h"
#include "base/span.h"
#include "net/http.h"
#include "smart/token.h"

enum cw_revoke_hint { CW_REVOKE_REFRESH_TOKEN, CW_REVOKE_ACCESS_TOKEN };

/* CW_OK: gone (200 also for unknown tokens). CW_E_UNSUPPORTED: the server does not revoke this kind (unsupported_token_type, 404, 405): do not repeat.
 * CW_E_AUTH: our credential was refused. CW_E_UNAVAILABLE, CW_E_TIMEOUT, CW_E_LIMITED: the token still lives, repeat later. CW_E_UPSTREAM: another answer.
 * CW_E_BLOCKED, CW_E_SYNTAX as cw_http_perform. */
enum cw_code cw_smart_revoke(struct cw_http *http, const struct cw_smart_client *client, const char *revocation_endpoint,
                             struct cw_span token, enum cw_revoke_hint hint, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* The same, with what Retry-After said: seconds, -1 for nothing. */
struct cw_revoke_wish {
    const char *endpoint;
    struct cw_span token;
    enum cw_revoke_hint hint;
};
enum cw_code cw_smart_revoke_wish(struct cw_http *http, const struct cw_smart_client *client,
                                  const struct cw_revoke_wish *wish, long *ret_retry_after_s, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

#endif
