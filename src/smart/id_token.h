/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The id_token of the code flow (OIDC Core 3.1.3.7). It came over TLS from the pinned token endpoint, so a signature that cannot
 * be checked only means that nothing is taken from it; a wrong aud or nonce means an injected code and ends the attempt.
 */
#ifndef CW_SMART_ID_TOKEN_H
#define CW_SMART_ID_TOKEN_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/span.h"
#include "base/str.h"

enum cw_id_token_verdict {
    CW_ID_TOKEN_GOOD,      /* signature and claims hold */
    CW_ID_TOKEN_UNPROVEN,  /* signature, issuer, time or key not as they must be: use no identity of it, go on */
    CW_ID_TOKEN_INJECTED   /* aud or nonce is not ours: abort */
};

struct cw_id_token_check {
    struct cw_span client_id;
    struct cw_span issuer;    /* pinned; absent or "": not known */
    struct cw_span nonce;     /* absent: none was sent */
    const json_t *jwks;       /* NULL: no keys to be had */
    int64_t now_us;
};

/* What a good one says. */
struct cw_id_token_identity {
    struct cw_str fhir_user;  /* fhirUser, else profile; "" when not told */
    struct cw_str subject;
};
void cw_id_token_identity_init(struct cw_id_token_identity *identity) CW_NONNULL(1);
void cw_id_token_identity_release(struct cw_id_token_identity *identity) CW_NONNULL(1);

/* Pure. Fills *ret_identity on GOOD; otherwise err says why not: CW_E_NOT_FOUND where only the key is missing, so that a newer set may have it. */
enum cw_id_token_verdict cw_id_token_check(struct cw_span compact, const struct cw_id_token_check *check,
                                           struct cw_id_token_identity *ret_identity, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;

#endif
