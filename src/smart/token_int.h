/* SPDX-License-Identifier: Apache-2.0 */
/* What token and revocation requests share. Private to smart/. */
#ifndef CW_SMART_TOKEN_INT_H
#define CW_SMART_TOKEN_INT_H

#include "smart/token.h"

#define CW_TOKEN_BODY_MAX (96u * 1024u) /* a code or token, both coded to three times their size, and an assertion */

/* Where to, and what the operator's card calls it. */
struct cw_token_place {
    const char *kind;
    const char *endpoint;
    unsigned most_ms;          /* the answer must have come by then, whatever the operator allows; 0: no such bound */
};
/* Adds who we are to `form` and POSTs it, on a connection of its own. `response` must be initialised; its body is made a secret. Codes of cw_http_perform. */
enum cw_code cw_token_post(struct cw_http *http, const struct cw_smart_client *client, const struct cw_token_place *place,
                           struct cw_str *form, struct cw_http_response *response, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;

/* Posts the form as this client, reads the answer into *grant, and notes the exchange there. */
enum cw_token_outcome cw_token_ask(struct cw_http *http, const struct cw_smart_client *client,
                                   const struct cw_token_place *place, struct cw_str *form, struct cw_smart_grant *grant,
                                   struct cw_err *err) CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;

#define CW_ASSERTION_LIFETIME_US (300 * CW_SECOND_US)

#endif
