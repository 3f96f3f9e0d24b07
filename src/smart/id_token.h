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
#include "net/http.h"

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

/* Pure. On GOOD appends fhirUser (else profile) to *ret_fhir_user, "" when not told; err says why not. */
enum cw_id_token_verdict cw_id_token_check(struct cw_span compact, const struct cw_id_token_check *check,
                                           struct cw_str *ret_fhir_user, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* Fetches jwks_uri. CW_E_UPSTREAM when it is no JWK Set. */
enum cw_code cw_smart_jwks(struct cw_http *http, const char *jwks_uri, json_t **ret_jwks, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
