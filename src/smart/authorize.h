/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization request of a standalone patient app: PKCE, nonce, and the URL that the browser is sent to. */
#ifndef CW_SMART_AUTHORIZE_H
#define CW_SMART_AUTHORIZE_H

#include "base/err.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"
#include "smart/profile.h"

#define CW_PKCE_TEXT 43 /* 32 random bytes in base64url */

/* A fresh code_verifier (also good as a nonce). CW_E_OOM. */
enum cw_code cw_pkce_verifier(struct cw_secret *ret_verifier) CW_NONNULL(1) CW_MUST_USE;
/* Appends BASE64URL(SHA256(verifier)) (RFC 7636 4.2). */
enum cw_code cw_pkce_challenge(struct cw_span verifier, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

struct cw_authorize {
    const struct cw_profile *profile;
    const char *authorization_endpoint; /* may have a query of its own, which is kept (Altera) */
    struct cw_span client_id;
    struct cw_span redirect_uri;
    struct cw_span scope;
    struct cw_span state;
    struct cw_span aud;                 /* the FHIR base as published; its slash by the profile */
    struct cw_span verifier;            /* its S256 challenge is sent, unless the profile says no PKCE */
    struct cw_span nonce;               /* sent when the scope has openid and the profile sends nonces */
};

#define CW_AUTHORIZE_URL_MAX 16384u
/* Appends the URL. Parameters that the endpoint's own query already has are not repeated but replaced. CW_E_SYNTAX (endpoint), CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_smart_authorize_url(const struct cw_authorize *authorize, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

#endif
