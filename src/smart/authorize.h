/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization request of a standalone patient app: PKCE, nonce, and the URL that the browser is sent to. */
#ifndef CW_SMART_AUTHORIZE_H
#define CW_SMART_AUTHORIZE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"
#include "model/lesson.h"
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
    bool aud_toggled;                   /* the slash at the end of aud the other way round, after the usual one was refused */
    struct cw_span nonce;               /* sent when the scope has openid and the profile sends nonces */
};

#define CW_AUTHORIZE_URL_MAX 16384u
/* Appends the URL. Parameters that the endpoint's own query already has are not repeated but replaced. CW_E_SYNTAX (endpoint), CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_smart_authorize_url(const struct cw_authorize *authorize, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

#define CW_AUTHORIZE_GET_MAX 1900u /* bytes of a URL that every server and proxy takes */
#define CW_AUTHORIZE_FIELDS_MAX 16u

/* How the browser gets there. */
struct cw_authorize_form {
    struct cw_str action;               /* whole URL for GET; the endpoint with its own query for POST */
    struct cw_str body;                 /* POST: the parameters as a form; empty: GET */
};
void cw_authorize_form_init(struct cw_authorize_form *form) CW_NONNULL(1);
void cw_authorize_form_release(struct cw_authorize_form *form) CW_NONNULL(1);
/* POST where the profile says so, or where the URL would be over CW_AUTHORIZE_GET_MAX and the server says that it takes POST (`post_advertised`).
 * Codes as cw_smart_authorize_url. */
enum cw_code cw_smart_authorize_form(const struct cw_authorize *authorize, bool post_advertised, struct cw_authorize_form *ret_form,
                                     struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;

/* What an error on the way back teaches about the next request (model/lesson.h). False: nothing. */
bool cw_authorize_lesson(struct cw_span error, struct cw_span description, enum cw_lesson *ret_lesson) CW_NONNULL(3);

#endif
