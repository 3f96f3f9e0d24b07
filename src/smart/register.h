/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynamic registration of a client for one grant (Epic): a public app that has just got an access token posts a fresh public key with it, and
 * gets a client id that may ask for further access tokens by assertions of that key (RFC 7523). It stands in for the refresh token that
 * a public app is not given.
 */
#ifndef CW_SMART_REGISTER_H
#define CW_SMART_REGISTER_H

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "net/http.h"
#include "smart/pinned.h"
#include "smart/place.h"
#include "smart/token.h"
#include "vault/jose.h"

struct cw_register_ask {
    const struct cw_pinned *pinned;
    struct cw_place_hosts hosts;     /* of the registration: the access token goes nowhere else */
    struct cw_span software_id;      /* our public client id */
    struct cw_span access_token;
};
struct cw_registered {
    struct cw_str client_id;
    struct cw_signing_key *key;      /* its private key; NULL: not registered */
};
void cw_registered_init(struct cw_registered *registered) CW_NONNULL(1);
void cw_registered_release(struct cw_registered *registered) CW_NONNULL(1);

/* Appends where to register: the discovered endpoint, else "register" beside the token endpoint. CW_E_BLOCKED: a host that the registration
 * does not list; CW_E_SYNTAX, CW_E_OOM. */
enum cw_code cw_register_url(const struct cw_pinned *pinned, struct cw_place_hosts hosts, struct cw_str *out,
                             struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;
/* Pure: the answer's client_id. CW_E_UNSUPPORTED (401, 403, 404, 405: not offered there), CW_E_UNAVAILABLE (408, 429, 5xx), CW_E_UPSTREAM, CW_E_OOM. */
enum cw_code cw_register_answer(long status, struct cw_span body, struct cw_str *ret_client_id, struct cw_err *err)
    CW_NONNULL(3) CW_MUST_USE;
/* Makes a key pair and registers it; once more where no answer came or the server is busy, with the same key. Codes of both above, and of cw_http_perform. */
enum cw_code cw_smart_register(struct cw_http *http, const struct cw_register_ask *ask, struct cw_registered *ret,
                               struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

struct cw_smart_bearer {
    const char *token_endpoint;
    struct cw_span client_id;        /* the dynamic one */
    const struct cw_signing_key *key;
};
/* An access token for such a client: one POST, with an assertion of its own. */
enum cw_token_outcome cw_smart_bearer(struct cw_http *http, const struct cw_profile *profile,
                                      const struct cw_smart_bearer *bearer, struct cw_smart_grant *grant, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

#endif
