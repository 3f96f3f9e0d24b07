/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing under a data key, hashes, and the EVP primitives below them. A random 96-bit nonce is safe for 2^32 messages
 * under one key (NIST SP 800-38D 8.3); a patient's key stays far below that.
 */
#include "config.h"

#include "vault/vault_int.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>

#include "os/sys.h"

#define SEAL_FORMAT 1
#define CELL_MAX 64

/* Written once, before any reader, by fetch_all; const from then on. */
static struct {
    EVP_CIPHER *gcm;
    EVP_MD *sha256;
    EVP_MAC *hmac;
    EVP_KDF *hkdf;
} algorithms;
static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;

static void fetch_all(void)
{
    algorithms.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    algorithms.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    algorithms.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    algorithms.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    if (algorithms.gcm == NULL || algorithms.sha256 == NULL || algorithms.hmac == NULL || algorithms.hkdf == NULL) {
        cw_bug("OpenSSL lacks AES-256-GCM, SHA-256, HMAC or HKDF");
    }
}

static void fetch_once(void)
{
    if (pthread_once(&algorithms_once, fetch_all) != 0) {
        cw_bug("pthread_once");
    }
}

/* Whatever OpenSSL put on this thread's error queue belongs to the call that failed; left there it would grow. */
static enum cw_code cipher_failed(EVP_CIPHER_CTX *context, enum cw_code code)
{
    EVP_CIPHER_CTX_free(context);
    ERR_clear_error();
    return code;
}

enum cw_code cw_gcm_encrypt(const uint8_t key[32], const uint8_t nonce[CW_GCM_NONCE], struct cw_span aad,
                            struct cw_span plain, uint8_t *cipher, uint8_t tag[CW_GCM_TAG])
{
    if (plain.len > INT_MAX || aad.len > INT_MAX) {
        return CW_E_TOO_BIG;
    }
    fetch_once();
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL) {
        return CW_E_OOM;
    }
    int written = 0;
    if (EVP_EncryptInit_ex2(context, algorithms.gcm, key, nonce, NULL) != 1 ||
        EVP_EncryptUpdate(context, NULL, &written, (const uint8_t *)aad.ptr, (int)aad.len) != 1 ||
        (plain.len > 0 &&
         EVP_EncryptUpdate(context, cipher, &written, (const uint8_t *)plain.ptr, (int)plain.len) != 1) ||
        EVP_EncryptFinal_ex(context, cipher + plain.len, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CW_GCM_TAG, tag) != 1) {
        return cipher_failed(context, CW_E_OOM);
    }
    EVP_CIPHER_CTX_free(context);
    return CW_OK;
}

enum cw_code cw_gcm_decrypt(const uint8_t key[32], const uint8_t nonce[CW_GCM_NONCE], struct cw_span aad,
                            struct cw_span cipher, const uint8_t tag[CW_GCM_TAG], uint8_t *plain)
{
    if (cipher.len > INT_MAX || aad.len > INT_MAX) {
        return CW_E_TOO_BIG;
    }
    fetch_once();
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL) {
        return CW_E_OOM;
    }
    uint8_t tag_copy[CW_GCM_TAG]; /* the ctrl takes a writable pointer */
    memcpy(tag_copy, tag, sizeof tag_copy);
    int written = 0;
    if (EVP_DecryptInit_ex2(context, algorithms.gcm, key, nonce, NULL) != 1 ||
        EVP_DecryptUpdate(context, NULL, &written, (const uint8_t *)aad.ptr, (int)aad.len) != 1 ||
        (cipher.len > 0 &&
         EVP_DecryptUpdate(context, plain, &written, (const uint8_t *)cipher.ptr, (int)cipher.len) != 1) ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CW_GCM_TAG, tag_copy) != 1) {
        cw_wipe(plain, cipher.len);
        return cipher_failed(context, CW_E_OOM);
    }
    if (EVP_DecryptFinal_ex(context, plain + cipher.len, &written) != 1) {
        cw_wipe(plain, cipher.len);
        return cipher_failed(context, CW_E_AUTH);
    }
    EVP_CIPHER_CTX_free(context);
    return CW_OK;
}

void cw_hkdf(const uint8_t key[32], struct cw_span info, uint8_t *out, size_t len)
{
    fetch_once();
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(algorithms.hkdf);
    /* OSSL_PARAM has no const form; the library only reads these. */
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, 32),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.ptr, info.len),
        OSSL_PARAM_construct_end(),
    };
    if (context == NULL || EVP_KDF_derive(context, out, len, params) != 1) {
        cw_bug("HKDF failed");
    }
    EVP_KDF_CTX_free(context);
}

void cw_hmac2(const uint8_t key[32], struct cw_span first, struct cw_span second, uint8_t out[CW_HASH_LEN])
{
    fetch_once();
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(algorithms.hmac);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    size_t written = 0;
    if (context == NULL || EVP_MAC_init(context, key, 32, params) != 1 ||
        EVP_MAC_update(context, (const uint8_t *)first.ptr, first.len) != 1 ||
        EVP_MAC_update(context, (const uint8_t *)second.ptr, second.len) != 1 ||
        EVP_MAC_final(context, out, &written, CW_HASH_LEN) != 1 || written != CW_HASH_LEN) {
        cw_bug("HMAC failed");
    }
    EVP_MAC_CTX_free(context);
}

void cw_sha256(struct cw_span bytes, uint8_t out[CW_HASH_LEN])
{
    fetch_once();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned written = 0;
    if (context == NULL || EVP_DigestInit_ex2(context, algorithms.sha256, NULL) != 1 ||
        EVP_DigestUpdate(context, bytes.ptr, bytes.len) != 1 || EVP_DigestFinal_ex(context, out, &written) != 1) {
        cw_bug("SHA-256 failed");
    }
    EVP_MD_CTX_free(context);
}

void cw_data_hash(const struct cw_data_key *key, const char *use, struct cw_span bytes, uint8_t out[CW_HASH_LEN])
{
    /* The NUL of the literal parts use from bytes: no use with bytes can equal another use with other bytes. */
    cw_hmac2(key->hash, cw_span_of(use, strlen(use) + 1), bytes, out);
}

/* "table.column" then the row's 16 bytes: unambiguous, since the second part has one length. */
struct aad_bytes {
    char bytes[CELL_MAX + sizeof(struct cw_ulid)];
    size_t len;
};

static void aad_emit(struct cw_aad aad, struct aad_bytes *out)
{
    size_t cell_len = strlen(aad.cell);
    if (cell_len == 0 || cell_len > CELL_MAX) {
        cw_bug("the AAD names no cell");
    }
    memcpy(out->bytes, aad.cell, cell_len);
    memcpy(out->bytes + cell_len, aad.row.bytes, sizeof aad.row.bytes);
    out->len = cell_len + sizeof aad.row.bytes;
}

enum cw_code cw_seal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span plain, struct cw_str *out,
                     struct cw_err *err)
{
    if (plain.ptr == NULL) {
        cw_bug("an absent value is stored as NULL, not sealed");
    }
    struct aad_bytes bound;
    aad_emit(aad, &bound);
    if (plain.len > INT_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "seal", "value of %zu bytes", plain.len);
    }
    uint8_t *at = (uint8_t *)cw_str_reserve(out, plain.len + CW_SEAL_OVERHEAD);
    if (at == NULL) {
        return cw_err_set(err, cw_str_code(out), "seal", "no room for the sealed value");
    }
    at[0] = SEAL_FORMAT;
    cw_random(at + 1, CW_GCM_NONCE);
    uint8_t *cipher = at + 1 + CW_GCM_NONCE;
    enum cw_code rc = cw_gcm_encrypt(key->seal, at + 1, cw_span_of(bound.bytes, bound.len), plain, cipher,
                                     cipher + plain.len);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "seal", "encryption failed");
    }
    cw_str_grow_by(out, plain.len + CW_SEAL_OVERHEAD);
    return CW_OK;
}

enum cw_code cw_unseal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span sealed, struct cw_str *out,
                       struct cw_err *err)
{
    struct aad_bytes bound;
    aad_emit(aad, &bound);
    if (sealed.len < CW_SEAL_OVERHEAD || sealed.ptr[0] != SEAL_FORMAT) {
        return cw_err_set(err, CW_E_AUTH, "unseal", "%s: not a sealed value", aad.cell);
    }
    size_t len = sealed.len - CW_SEAL_OVERHEAD;
    const uint8_t *nonce = (const uint8_t *)sealed.ptr + 1;
    const uint8_t *cipher = nonce + CW_GCM_NONCE;
    uint8_t *at = (uint8_t *)cw_str_reserve(out, len);
    if (at == NULL) {
        return cw_err_set(err, cw_str_code(out), "unseal", "no room for the value");
    }
    enum cw_code rc = cw_gcm_decrypt(key->seal, nonce, cw_span_of(bound.bytes, bound.len), cw_span_of(cipher, len),
                                     cipher + len, at);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "unseal", "%s: wrong key, cell, row or bytes", aad.cell);
    }
    cw_str_grow_by(out, len);
    return CW_OK;
}
