/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered apps. Some are there from the start (their secrets open synthetic data and are no secrets); the operator adds others.
 * A redirect URI is compared whole. Since an app's callback may have one path a registration, a registration can also name a
 * folder: one more path segment, of unreserved characters, is then allowed behind it.
 */
#ifndef CW_SANDBOX_CLIENT_H
#define CW_SANDBOX_CLIENT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/span.h"
#include "sandbox/params.h"

enum cw_sbx_auth { CW_SBX_AUTH_NONE, CW_SBX_AUTH_BASIC, CW_SBX_AUTH_POST, CW_SBX_AUTH_JWT, CW_SBX_AUTH__COUNT };

struct cw_sbx_client;

void cw_sbx_client_free(struct cw_sbx_client *client);
/* From {client_id, auth, name?, secret?, redirect_uris?: [], redirect_folder?, jwks?, jwks_file?, jwks_uri?, alg?, personalities?: [], grant?}; grant: made by
 * dynamic registration, for this one grant, without redirect URIs; alg: the one
 * algorithm of assertions; personalities: the only ones that know this app. "{origin}" at the start of a URI
 * stands for `origin`. CW_E_MISSING, CW_E_KIND, CW_E_RANGE, CW_E_OOM. The object is copied. */
enum cw_code cw_sbx_client_new(const json_t *object, struct cw_span origin, struct cw_sbx_client **ret_client, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;
/* The registrations that are always there, as a JSON array; the caller owns it. */
enum cw_code cw_sbx_clients_default(json_t **ret_array, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

const char *cw_sbx_client_id(const struct cw_sbx_client *client) CW_RETURNS_NONNULL;
const char *cw_sbx_client_name(const struct cw_sbx_client *client) CW_RETURNS_NONNULL;
enum cw_sbx_auth cw_sbx_client_auth(const struct cw_sbx_client *client);
/* Where its keys are published; NULL when they are registered themselves. */
const char *cw_sbx_client_jwks_uri(const struct cw_sbx_client *client);
/* Id of the grant that an app of dynamic registration stands for; NULL for others. */
const char *cw_sbx_client_grant(const struct cw_sbx_client *client);
/* The object that it was made from. Borrowed. */
const json_t *cw_sbx_client_json(const struct cw_sbx_client *client);
/* True when the app is known under the personality of that name ("": the plain hospital). `own`: only where it is named. */
bool cw_sbx_client_known_to(const struct cw_sbx_client *client, const char *personality, bool own) CW_NONNULL(1, 2);
bool cw_sbx_client_redirects_to(const struct cw_sbx_client *client, struct cw_span uri) CW_NONNULL(1);

/* What came with a request to the token endpoint. */
struct cw_sbx_credentials {
    enum cw_sbx_auth auth;
    struct cw_span id, secret, assertion;
    struct cw_span raw_id, raw_secret; /* of HTTP Basic, as they came */
    const json_t *jwks;                /* fetched from the registered URL; NULL: the registration's own */
    bool decodes;                      /* and what they are once form-decoded is not nonsense */
};
/* The header of an assertion names that algorithm. */
bool cw_sbx_assertion_is(struct cw_span assertion, const char *alg) CW_NONNULL(2);
/* Reads the Authorization header (absent span: none) and the form. CW_E_SYNTAX: broken; CW_E_CONFLICT: two methods at once
 * (RFC 6749 2.3); CW_E_MISSING: no client named; CW_E_OOM. */
enum cw_code cw_sbx_credentials_read(struct cw_span authorization, const struct cw_sbx_params *form, struct cw_arena *arena,
                                     struct cw_sbx_credentials *ret, struct cw_err *err) CW_NONNULL(2, 3, 4) CW_MUST_USE;
/* Secret or assertion against the registration. For an assertion *ret_jti (in the arena) and *ret_until_us are what must not come
 * twice. CW_E_AUTH when it does not hold. */
enum cw_code cw_sbx_client_check(const struct cw_sbx_client *client, const struct cw_sbx_credentials *credentials,
                                 struct cw_span audience, struct cw_arena *arena, struct cw_span *ret_jti,
                                 int64_t *ret_until_us, struct cw_err *err) CW_NONNULL(1, 2, 4, 5, 6) CW_MUST_USE;

#endif
