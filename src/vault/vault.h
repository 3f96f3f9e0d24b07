/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring and envelope encryption. Master keys come from files; they wrap data keys (one a patient, one an
 * organization, one of the installation); data keys seal values by AES-256-GCM with a random 96-bit nonce. The room
 * never reads the database: model/ hands it wrapped keys and stores what it returns.
 *
 * Wrapped key:  1 byte format (1) | 12 nonce | 32 ciphertext | 16 tag        AAD "key" | owner id | version
 * Sealed value: 1 byte format (1) | 12 nonce | ciphertext | 16 tag           AAD "table.column" | row id (CW_AAD)
 * Which key version and master key apply stands in the row.
 */
#ifndef CW_VAULT_VAULT_H
#define CW_VAULT_VAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"
#include "os/config.h"

#define CW_WRAPPED_KEY_LEN 61
#define CW_SEAL_OVERHEAD 29
#define CW_MASTER_KEY_ID_MAX 32
#define CW_HASH_LEN 32

struct cw_vault;

/* An unwrapped data key with what is derived from it. Opaque in use; lives on the stack or in a cache and is wiped by
 * cw_data_key_wipe. Never stored, logged or sent. */
struct cw_data_key {
    uint8_t seal[32];     /* AES-256-GCM key */
    uint8_t hash[32];     /* HMAC key for content hashes and blind indexes, derived by HKDF */
    uint32_t version;
};

struct cw_wrapped_key {
    uint8_t bytes[CW_WRAPPED_KEY_LEN];
    char master_key_id[CW_MASTER_KEY_ID_MAX + 1];
    uint32_t version;
};

void cw_vault_free(struct cw_vault *vault);
/* Reads the master keys (files of 32 random bytes as 64 hex characters, private to the user) and derives the purpose keys. A missing, short or
 * readable-by-others file is CW_E_CONFIG: fails closed and loudly. */
enum cw_code cw_vault_new(const struct cw_config *config, struct cw_vault **ret_vault, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Writes a new master key file, mode 0600; refuses to replace one. */
enum cw_code cw_vault_make_master(const char *path, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

/* A fresh data key for owner, and its wrapped form under the active master key. */
enum cw_code cw_vault_new_key(struct cw_vault *vault, struct cw_ulid owner, uint32_t version,
                              struct cw_data_key *ret_key, struct cw_wrapped_key *ret_wrapped, struct cw_err *err)
    CW_NONNULL(1, 4, 5) CW_MUST_USE;
/* CW_E_AUTH when it was not wrapped for this owner and version; CW_E_CONFIG when the master key is not on the ring. */
enum cw_code cw_vault_unwrap(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                             struct cw_data_key *ret_key, struct cw_err *err) CW_NONNULL(1, 3, 4) CW_MUST_USE;
/* The same key under the active master key (rotation). */
enum cw_code cw_vault_rewrap(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                             struct cw_wrapped_key *ret_wrapped, struct cw_err *err) CW_NONNULL(1, 3, 4) CW_MUST_USE;
const char *cw_vault_active_id(const struct cw_vault *vault) CW_RETURNS_NONNULL;
/* Whether a master key of this id is on the ring. */
bool cw_vault_has(const struct cw_vault *vault, const char *id) CW_NONNULL(1, 2);
void cw_data_key_wipe(struct cw_data_key *key) CW_NONNULL(1);
#define CW_AUTO_DATA_KEY CW_CLEANUP(cw_data_key_wipe) struct cw_data_key

/* Names the cell that a ciphertext belongs to: a literal "table.column" and the row's id. */
struct cw_aad {
    const char *cell;
    struct cw_ulid row;
};
#define CW_AAD(literal, id) ((struct cw_aad){ .cell = "" literal, .row = (id).ulid })

/* Appends the sealed form of plain to *out. An absent span is a bug (store NULL instead). */
enum cw_code cw_seal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span plain, struct cw_str *out,
                     struct cw_err *err) CW_NONNULL(1, 4) CW_MUST_USE;
/* Appends the plain bytes to *out. CW_E_AUTH when key, cell, row or bytes differ from what was sealed. */
enum cw_code cw_unseal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span sealed, struct cw_str *out,
                       struct cw_err *err) CW_NONNULL(1, 4) CW_MUST_USE;

void cw_sha256(struct cw_span bytes, uint8_t out[CW_HASH_LEN]) CW_NONNULL(2);
/* HMAC-SHA-256 under the data key's hash key, with a literal that separates uses ("record.content", "connection.upstream" …). */
void cw_data_hash(const struct cw_data_key *key, const char *use, struct cw_span bytes, uint8_t out[CW_HASH_LEN])
    CW_NONNULL(1, 2, 4);

/* Purpose keys, derived by HKDF from the active master key; each has a kid. */
enum cw_purpose { CW_PURPOSE_API, CW_PURPOSE_STATE, CW_PURPOSE_SEARCH, CW_PURPOSE_LOG, CW_PURPOSE_FORM, CW_PURPOSE__COUNT };
void cw_vault_hmac(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span bytes,
                   uint8_t out[CW_HASH_LEN]) CW_NONNULL(1, 4);
/* The log key, for cw_log_set_key (mixed with the current month). */
void cw_vault_log_key(const struct cw_vault *vault, uint8_t out[32]) CW_NONNULL(1, 2);

/* What outlives the master key that it came from: the search key, since an index cannot be read with another, and the key of each API key that is
 * out there. Both are kept wrapped like data keys and given back to the vault at every start, before there is a second thread. State, form and log keys
 * live for minutes or a month and go with their master key. */
/* Under which owner the active master key's key of this purpose (API or SEARCH) is kept; SEARCH has one owner for ever. */
struct cw_ulid cw_purpose_owner(const struct cw_vault *vault, enum cw_purpose purpose) CW_NONNULL(1);
/* It, wrapped, version 1. */
enum cw_code cw_purpose_wrap(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_wrapped_key *ret_wrapped,
                             struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;
/* Takes one in: API to check with, SEARCH instead of the derived one. CW_E_CONFIG, CW_E_AUTH as cw_vault_unwrap; CW_E_KIND: another owner;
 * CW_E_TOO_BIG: the vault has no room (64). */
enum cw_code cw_purpose_adopt(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                              struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;

#endif
