/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and signatures towards hospitals: client assertions (RFC 7523, SMART asymmetric: RS384 and ES384), our JWKS, and
 * the signature of an id_token. On OpenSSL directly: libjwt parses a PEM at every call and takes alg from the token.
 */
#ifndef CW_VAULT_JOSE_H
#define CW_VAULT_JOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"

enum cw_jose_alg { CW_ALG_RS256, CW_ALG_RS384, CW_ALG_ES256, CW_ALG_ES384, CW_ALG__COUNT };
const char *cw_jose_alg_name(enum cw_jose_alg alg) CW_RETURNS_NONNULL;
bool cw_jose_alg_parse(struct cw_span name, enum cw_jose_alg *ret_alg) CW_NONNULL(2) CW_MUST_USE;

struct cw_signing_key; /* a private key in memory */
void cw_signing_key_free(struct cw_signing_key *key);
/* RS384 or RS256 (RSA 3072), or ES384 (P-384). kid is the RFC 7638 thumbprint. Others: CW_E_UNSUPPORTED. */
enum cw_code cw_signing_key_make(enum cw_jose_alg alg, struct cw_signing_key **ret_key, struct cw_err *err)
    CW_NONNULL(2) CW_MUST_USE;
/* PKCS#8 DER, for sealing into the database; and back. */
enum cw_code cw_signing_key_export(const struct cw_signing_key *key, struct cw_secret *ret_der, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
enum cw_code cw_signing_key_import(enum cw_jose_alg alg, struct cw_span der, struct cw_signing_key **ret_key,
                                   struct cw_err *err) CW_NONNULL(3) CW_MUST_USE;
/* One JWK object, public members only: kty, kid, alg, use, key_ops and n,e or crv,x,y. */
enum cw_code cw_signing_key_jwk(const struct cw_signing_key *key, struct cw_jsonw *w) CW_NONNULL(1, 2);
const char *cw_signing_key_kid(const struct cw_signing_key *key) CW_RETURNS_NONNULL;

/* Appends a client assertion: iss = sub = client_id, aud = token endpoint, random jti, iat now-5 s, exp now+lifetime (at most 300 s). jku optional. */
struct cw_assertion {
    struct cw_span client_id;
    struct cw_span audience;
    struct cw_span jku;        /* absent: leave out */
    int64_t now_us;
    int64_t lifetime_us;
};
enum cw_code cw_assertion_sign(const struct cw_signing_key *key, const struct cw_assertion *assertion,
                               struct cw_str *out, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* Appends a compact JWS of claims that the caller wrote as a JSON object (the sandbox's id_token). CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_jws_sign(const struct cw_signing_key *key, struct cw_span claims, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;

/* The same with a `typ` of its own (RFC 8725 3.11), a literal, so that one kind of token cannot pass for another. */
enum cw_code cw_jws_sign_as(const struct cw_signing_key *key, const char *typ, struct cw_span claims, struct cw_str *out,
                            struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;

/* Checks the signature of a compact JWS with a JWK Set from outside: alg must be one of RS256, RS384, ES256, ES384 and fit the
 * key's kty, crv and own alg; the key by kid, or the only one that fits. Fills *ret_claims (caller owns) on success.
 * CW_E_SYNTAX, CW_E_AUTH, CW_E_NOT_FOUND (no such key: fetch the set anew), CW_E_UNSUPPORTED (none, HS…, PS…). */
enum cw_code cw_jws_verify(struct cw_span compact, const json_t *jwks, json_t **ret_claims, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* The claims without any check of the signature, for hints only (patient context in an access token). */
enum cw_code cw_jws_peek(struct cw_span compact, json_t **ret_claims, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;

#endif
