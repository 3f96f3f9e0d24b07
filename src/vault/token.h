/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that we sign for ourselves (libjwt, HS256): API keys and the OAuth state. Header {alg, typ, kid}; algorithm, typ,
 * aud and kid are checked by our own code around libjwt, which takes alg from the token. Verification accepts any key
 * of the ring, signing uses the active one.
 */
#ifndef CW_VAULT_TOKEN_H
#define CW_VAULT_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"
#include "vault/vault.h"

#define CW_KEY_PREFIX_LIVE "cw_sk_live_"
#define CW_KEY_PREFIX_SANDBOX "cw_sk_sbx_"

/* An API key: prefix + JWS {aud:"api", kid (row id), jti: 256 random bits}. Its row holds SHA-256(jti). */
struct cw_api_token {
    struct cw_api_key_id key;
    uint8_t jti_hash[CW_HASH_LEN];
    bool production;               /* by prefix; the row is the authority */
};
/* Appends the key's text to *out (init_secret it). */
enum cw_code cw_api_token_make(struct cw_vault *vault, struct cw_api_key_id key, bool production,
                               struct cw_api_token *ret_token, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 4, 5) CW_MUST_USE;
/* CW_E_SYNTAX: not one of ours by form; CW_E_AUTH: wrong signature, alg, typ or aud. */
enum cw_code cw_api_token_read(struct cw_vault *vault, struct cw_span text, struct cw_api_token *ret_token,
                               struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;

/* The state of one authorization: base64url of the compact JWS {jti, exp, aud = registration slug}, at most 512 characters, no dots. */
struct cw_state_token {
    uint8_t jti_hash[CW_HASH_LEN];
    int64_t expires_us;
};
enum cw_code cw_state_make(struct cw_vault *vault, const char *registration_slug, int64_t expires_us,
                           struct cw_state_token *ret_state, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 2, 4, 5) CW_MUST_USE;
/* For the profile knob state_format opaque43: 32 random bytes alone. */
enum cw_code cw_state_make_opaque(struct cw_state_token *ret_state, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Either form. For the signed one also CW_E_AUTH (signature, aud) and CW_E_EXPIRED (by now_us; the hash is filled all the same, so that
 * the attempt can be found and told). For the opaque one expires_us is 0 and the row decides. */
enum cw_code cw_state_read(struct cw_vault *vault, const char *registration_slug, struct cw_span text, int64_t now_us,
                           struct cw_state_token *ret_state, struct cw_err *err) CW_NONNULL(1, 2, 5) CW_MUST_USE;

#endif
