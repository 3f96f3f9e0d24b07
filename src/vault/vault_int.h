/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared inside vault/ only: the primitives over OpenSSL's EVP, and the purpose keys with their kids.
 *
 * Algorithms are fetched once per process and kept (a fetch costs more than sealing a record); contexts are made per
 * call, so that every function here may run in any thread at any time.
 */
#ifndef CW_VAULT_VAULT_INT_H
#define CW_VAULT_VAULT_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "vault/vault.h"

#define CW_GCM_NONCE 12
#define CW_GCM_TAG 16
#define CW_KID_TEXT 16 /* hexadecimal characters */

#define CW_RING_MAX 16
#define CW_PURPOSES_KEPT_MAX 64

struct cw_purpose_key {
    uint8_t key[32];
    char kid[CW_KID_TEXT + 1];
};

struct cw_master_key {
    char id[CW_MASTER_KEY_ID_MAX + 1];
    uint8_t key[32];
    struct cw_purpose_key purposes[CW_PURPOSE__COUNT];
};

/* Written by cw_vault_new and cw_purpose_adopt, at a program's start; const from then on. */
struct cw_vault {
    struct cw_master_key ring[CW_RING_MAX];
    size_t count;
    size_t active;
    struct cw_purpose_key kept[CW_PURPOSES_KEPT_MAX]; /* keys for API keys: checked with, never signed with */
    size_t kept_count;
    struct cw_purpose_key search;                     /* the index's own key, once there is one */
    bool has_search;
};

/* Fills master->purposes from master->key. */
void cw_purposes_derive(struct cw_master_key *master) CW_NONNULL(1);
/* Wraps key->seal under the active master key. */
enum cw_code cw_ring_wrap(const struct cw_vault *vault, struct cw_ulid owner, const struct cw_data_key *key,
                          struct cw_wrapped_key *ret_wrapped, struct cw_err *err) CW_NONNULL(1, 3, 4) CW_MUST_USE;

/* Encrypts plain into cipher (same length) and writes the tag. CW_E_OOM, CW_E_TOO_BIG over INT_MAX. */
enum cw_code cw_gcm_encrypt(const uint8_t key[32], const uint8_t nonce[CW_GCM_NONCE], struct cw_span aad,
                            struct cw_span plain, uint8_t *cipher, uint8_t tag[CW_GCM_TAG])
    CW_NONNULL(1, 2, 5, 6) CW_MUST_USE;
/* The inverse; CW_E_AUTH when the tag does not fit, and `plain` is then wiped. */
enum cw_code cw_gcm_decrypt(const uint8_t key[32], const uint8_t nonce[CW_GCM_NONCE], struct cw_span aad,
                            struct cw_span cipher, const uint8_t tag[CW_GCM_TAG], uint8_t *plain)
    CW_NONNULL(1, 2, 5, 6) CW_MUST_USE;
/* HKDF-SHA-256 (RFC 5869) with an empty salt; `info` is a literal that names the use. */
void cw_hkdf(const uint8_t key[32], struct cw_span info, uint8_t *out, size_t len) CW_NONNULL(1, 3);
/* HMAC-SHA-256 over two pieces, the second of which may be empty. */
void cw_hmac2(const uint8_t key[32], struct cw_span first, struct cw_span second, uint8_t out[CW_HASH_LEN])
    CW_NONNULL(1, 4);

/* The key that signs for this purpose now; *ret_kid is borrowed from the vault. */
const uint8_t *cw_purpose_active(const struct cw_vault *vault, enum cw_purpose purpose, const char **ret_kid)
    CW_NONNULL(1, 3) CW_RETURNS_NONNULL;
/* The key of that kid, of any master key on the ring or kept; NULL when there is none. */
const uint8_t *cw_purpose_find(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span kid)
    CW_NONNULL(1);

#endif
