/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own signing keys: made, kept as PKCS#8, published as JWK, used for client assertions. A key is const once made;
 * each signature has a context of its own, so threads share keys freely.
 */
#include "config.h"

#include "vault/jose.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/jose_int.h"
#include "vault/vault.h"

#define RSA_BITS 3072
#define ASSERTION_LIFE_MAX (300 * CW_SECOND_US) /* SMART App Launch 2.2: exp no more than five minutes on */
#define CLOCK_SLACK_S 5                         /* hospitals' clocks run behind */
#define PUBLIC_MAX 512                          /* bytes of n, e, x or y */

struct cw_signing_key {
    enum cw_jose_alg alg;
    EVP_PKEY *pkey;
    char kid[64];
};

static const struct cw_jose_alg_info algs[CW_ALG__COUNT] = {
    [CW_ALG_RS256] = { "RS256", "SHA256", NULL, NULL, 0 },
    [CW_ALG_RS384] = { "RS384", "SHA384", NULL, NULL, 0 },
    [CW_ALG_ES256] = { "ES256", "SHA256", "P-256", "prime256v1", 32 },
    [CW_ALG_ES384] = { "ES384", "SHA384", "P-384", "secp384r1", 48 },
};

const struct cw_jose_alg_info *cw_jose_alg_get(enum cw_jose_alg alg)
{
    return &algs[alg];
}

const char *cw_jose_alg_name(enum cw_jose_alg alg)
{
    return algs[alg].name;
}

bool cw_jose_alg_parse(struct cw_span name, enum cw_jose_alg *ret_alg)
{
    for (int i = 0; i < CW_ALG__COUNT; i++) {
        if (cw_span_eq_cstr(name, algs[i].name)) {
            *ret_alg = (enum cw_jose_alg)i;
            return true;
        }
    }
    return false;
}

/* OpenSSL's own words may quote data; its queue is emptied and our literal kept. */
static enum cw_code openssl_failed(struct cw_err *err, enum cw_code code, const char *text)
{
    ERR_clear_error();
    return cw_err_set(err, code, "jose", "%s", text);
}

void cw_signing_key_free(struct cw_signing_key *key)
{
    if (key == NULL) {
        return;
    }
    EVP_PKEY_free(key->pkey); /* wipes the private members */
    free(key);
}

/* --- the public half --- */

/* Appends base64url of one public number; `width` 0 means as short as it is (RSA), else padded (EC, RFC 7518 6.2.1.2). */
static enum cw_code public_number(const EVP_PKEY *pkey, const char *name, size_t width, struct cw_str *out)
{
    BIGNUM *number = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1) {
        ERR_clear_error();
        return CW_E_OOM;
    }
    uint8_t bytes[PUBLIC_MAX];
    int len = width == 0 ? BN_num_bytes(number) : (int)width;
    int written = len > PUBLIC_MAX ? -1 : BN_bn2binpad(number, bytes, len);
    BN_free(number);
    if (written != len) {
        return CW_E_RANGE;
    }
    return cw_base64url_encode(cw_span_of(bytes, (size_t)len), out);
}

struct public_half {
    struct cw_str first;  /* n, or x */
    struct cw_str second; /* e, or y */
};

static void public_half_release(struct public_half *half)
{
    cw_str_release(&half->first);
    cw_str_release(&half->second);
}

static enum cw_code public_half_get(const struct cw_signing_key *key, struct public_half *half)
{
    const struct cw_jose_alg_info *info = &algs[key->alg];
    cw_str_init(&half->first, PUBLIC_MAX * 2);
    cw_str_init(&half->second, PUBLIC_MAX * 2);
    bool ec = info->curve != NULL;
    enum cw_code rc = public_number(key->pkey, ec ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N,
                                    info->coordinate, &half->first);
    if (rc != CW_OK) {
        return rc;
    }
    return public_number(key->pkey, ec ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E, info->coordinate,
                         &half->second);
}

/* RFC 7638: SHA-256 over the required members alone, in the order of their names, without blanks. */
static enum cw_code kid_set(struct cw_signing_key *key)
{
    CW_CLEANUP(public_half_release) struct public_half half = { 0 };
    CW_AUTO_STR json;
    CW_AUTO_STR kid;
    cw_str_init(&json, PUBLIC_MAX * 4);
    cw_str_init(&kid, sizeof key->kid - 1);
    enum cw_code rc = public_half_get(key, &half);
    if (rc != CW_OK) {
        return rc;
    }
    const char *curve = algs[key->alg].curve;
    if (curve != NULL) {
        rc = cw_str_addf(&json, "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", curve,
                         cw_str_cstr(&half.first), cw_str_cstr(&half.second));
    } else {
        rc = cw_str_addf(&json, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", cw_str_cstr(&half.second),
                         cw_str_cstr(&half.first));
    }
    if (rc != CW_OK) {
        return rc;
    }
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(cw_str_span(&json), hash);
    rc = cw_base64url_encode(cw_span_of(hash, sizeof hash), &kid);
    if (rc != CW_OK) {
        return rc;
    }
    memcpy(key->kid, cw_str_cstr(&kid), kid.len + 1);
    return CW_OK;
}

enum cw_code cw_signing_key_jwk(const struct cw_signing_key *key, struct cw_jsonw *w)
{
    CW_CLEANUP(public_half_release) struct public_half half = { 0 };
    enum cw_code rc = public_half_get(key, &half);
    if (rc != CW_OK) {
        return rc;
    }
    const char *curve = algs[key->alg].curve;
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "kty", curve == NULL ? "RSA" : "EC");
    cw_jsonw_key_cstr(w, "kid", key->kid);
    cw_jsonw_key_cstr(w, "alg", algs[key->alg].name);
    cw_jsonw_key_cstr(w, "use", "sig");
    cw_jsonw_key(w, "key_ops");
    cw_jsonw_open_array(w);
    cw_jsonw_cstr(w, "verify");
    cw_jsonw_close_array(w);
    if (curve == NULL) {
        cw_jsonw_key_text(w, "n", cw_str_span(&half.first));
        cw_jsonw_key_text(w, "e", cw_str_span(&half.second));
    } else {
        cw_jsonw_key_cstr(w, "crv", curve);
        cw_jsonw_key_text(w, "x", cw_str_span(&half.first));
        cw_jsonw_key_text(w, "y", cw_str_span(&half.second));
    }
    cw_jsonw_close_object(w);
    return CW_OK;
}

const char *cw_signing_key_kid(const struct cw_signing_key *key)
{
    return key->kid;
}

/* --- making and keeping --- */

/* Takes pkey over, in failure too. */
static enum cw_code key_new(enum cw_jose_alg alg, EVP_PKEY *pkey, struct cw_signing_key **ret_key, struct cw_err *err)
{
    struct cw_signing_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return cw_err_set(err, CW_E_OOM, "jose", "no memory for a signing key");
    }
    key->alg = alg;
    key->pkey = pkey;
    enum cw_code rc = kid_set(key);
    if (rc != CW_OK) {
        cw_signing_key_free(key);
        return cw_err_set(err, rc, "jose", "cannot take a key's thumbprint");
    }
    *ret_key = key;
    return CW_OK;
}

static bool signs_for_us(enum cw_jose_alg alg)
{
    /* The two that SMART asks a client for, and RS256 for the sandbox's id_tokens. */
    return alg == CW_ALG_RS384 || alg == CW_ALG_ES384 || alg == CW_ALG_RS256;
}

enum cw_code cw_signing_key_make(enum cw_jose_alg alg, struct cw_signing_key **ret_key, struct cw_err *err)
{
    if (!signs_for_us(alg)) {
        return cw_err_set(err, CW_E_UNSUPPORTED, "jose", "our keys are RS256, RS384 or ES384");
    }
    EVP_PKEY *pkey = algs[alg].curve == NULL ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS)
                                             : EVP_PKEY_Q_keygen(NULL, NULL, "EC", algs[alg].curve);
    if (pkey == NULL) {
        return openssl_failed(err, CW_E_OOM, "cannot make a key");
    }
    return key_new(alg, pkey, ret_key, err);
}

enum cw_code cw_signing_key_export(const struct cw_signing_key *key, struct cw_secret *ret_der, struct cw_err *err)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->pkey);
    uint8_t *der = NULL;
    int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    PKCS8_PRIV_KEY_INFO_free(info);
    if (len <= 0) {
        return openssl_failed(err, CW_E_OOM, "cannot write a key as PKCS#8");
    }
    enum cw_code rc = cw_secret_set(ret_der, cw_span_of(der, (size_t)len));
    OPENSSL_clear_free(der, (size_t)len);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "jose", "no memory for a key");
}

static bool pkey_fits(const EVP_PKEY *pkey, enum cw_jose_alg alg)
{
    if (algs[alg].curve == NULL) {
        int bits = EVP_PKEY_get_bits(pkey);
        return EVP_PKEY_is_a(pkey, "RSA") && bits >= CW_RSA_BITS_MIN && bits <= PUBLIC_MAX * 8;
    }
    char group[64];
    size_t len = 0;
    return EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) == 1 &&
           strcmp(group, algs[alg].group) == 0;
}

enum cw_code cw_signing_key_import(enum cw_jose_alg alg, struct cw_span der, struct cw_signing_key **ret_key,
                                   struct cw_err *err)
{
    if (!signs_for_us(alg)) {
        return cw_err_set(err, CW_E_UNSUPPORTED, "jose", "our keys are RS256, RS384 or ES384");
    }
    if (der.ptr == NULL || der.len > CW_TOKEN_MAX) {
        return cw_err_set(err, CW_E_SYNTAX, "jose", "not a PKCS#8 key");
    }
    const uint8_t *at = (const uint8_t *)der.ptr;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
    bool whole = info != NULL && at == (const uint8_t *)der.ptr + der.len;
    EVP_PKEY *pkey = whole ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (pkey == NULL) {
        return openssl_failed(err, CW_E_SYNTAX, "not a PKCS#8 key");
    }
    if (!pkey_fits(pkey, alg)) {
        EVP_PKEY_free(pkey);
        return openssl_failed(err, CW_E_KIND, "the key does not fit its algorithm");
    }
    return key_new(alg, pkey, ret_key, err);
}

/* --- signing --- */

static enum cw_code sign_bytes(const struct cw_signing_key *key, struct cw_span bytes, struct cw_str *out)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[PUBLIC_MAX];
    size_t len = sizeof signature;
    bool ok = context != NULL &&
              EVP_DigestSignInit_ex(context, NULL, algs[key->alg].digest, NULL, NULL, key->pkey, NULL) == 1 &&
              EVP_DigestSign(context, signature, &len, (const uint8_t *)bytes.ptr, bytes.len) == 1;
    EVP_MD_CTX_free(context);
    if (!ok) {
        ERR_clear_error();
        return CW_E_OOM;
    }
    if (algs[key->alg].curve == NULL) {
        return cw_base64url_encode(cw_span_of(signature, len), out);
    }
    uint8_t joined[2 * CW_COORDINATE_MAX];
    size_t width = algs[key->alg].coordinate;
    if (!cw_ecdsa_join(signature, len, width, joined)) {
        return CW_E_OOM;
    }
    return cw_base64url_encode(cw_span_of(joined, 2 * width), out);
}

static enum cw_code header_emit(const struct cw_signing_key *key, const char *typ, struct cw_span jku, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "alg", algs[key->alg].name);
    cw_jsonw_key_cstr(&w, "typ", typ);
    cw_jsonw_key_cstr(&w, "kid", key->kid);
    if (jku.ptr != NULL) {
        cw_jsonw_key_text(&w, "jku", jku);
    }
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

static enum cw_code claims_emit(const struct cw_assertion *assertion, struct cw_str *out)
{
    uint8_t random[16];
    CW_AUTO_STR jti;
    cw_str_init(&jti, 2 * sizeof random);
    cw_random(random, sizeof random);
    enum cw_code rc = cw_hex_encode(cw_span_of(random, sizeof random), &jti);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t life_us = assertion->lifetime_us > ASSERTION_LIFE_MAX ? ASSERTION_LIFE_MAX : assertion->lifetime_us;
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "iss", assertion->client_id);
    cw_jsonw_key_text(&w, "sub", assertion->client_id);
    cw_jsonw_key_text(&w, "aud", assertion->audience);
    cw_jsonw_key_text(&w, "jti", cw_str_span(&jti));
    cw_jsonw_key_int(&w, "iat", assertion->now_us / CW_SECOND_US - CLOCK_SLACK_S);
    cw_jsonw_key_int(&w, "exp", (assertion->now_us + life_us) / CW_SECOND_US);
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

/* Appends the compact JWS of header and claims. */
static enum cw_code compact_sign(const struct cw_signing_key *key, struct cw_span header, struct cw_span claims,
                                 struct cw_str *out, struct cw_err *err)
{
    CW_AUTO_STR jws;
    CW_AUTO_STR signature;
    cw_str_init_secret(&jws, CW_TOKEN_MAX);
    cw_str_init(&signature, 2 * PUBLIC_MAX);
    (void)cw_base64url_encode(header, &jws);
    (void)cw_str_add_char(&jws, '.');
    (void)cw_base64url_encode(claims, &jws);
    enum cw_code rc = cw_str_code(&jws);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "jose", "no room for a token");
    }
    rc = sign_bytes(key, cw_str_span(&jws), &signature);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "jose", "cannot sign a token");
    }
    (void)cw_str_add_span(out, cw_str_span(&jws));
    (void)cw_str_add_char(out, '.');
    (void)cw_str_add_span(out, cw_str_span(&signature));
    rc = cw_str_code(out);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "jose", "no room for a token");
}

enum cw_code cw_jws_sign_as(const struct cw_signing_key *key, const char *typ, struct cw_span claims, struct cw_str *out,
                            struct cw_err *err)
{
    CW_AUTO_STR header;
    cw_str_init(&header, CW_TOKEN_MAX);
    enum cw_code rc = header_emit(key, typ, (struct cw_span){ NULL, 0 }, &header);
    return rc == CW_OK ? compact_sign(key, cw_str_span(&header), claims, out, err)
                       : cw_err_set(err, rc, "jose", "no room for a token");
}

enum cw_code cw_jws_sign(const struct cw_signing_key *key, struct cw_span claims, struct cw_str *out, struct cw_err *err)
{
    return cw_jws_sign_as(key, "JWT", claims, out, err);
}

enum cw_code cw_assertion_sign(const struct cw_signing_key *key, const struct cw_assertion *assertion,
                               struct cw_str *out, struct cw_err *err)
{
    CW_AUTO_STR header;
    CW_AUTO_STR claims;
    cw_str_init(&header, CW_TOKEN_MAX);
    cw_str_init(&claims, CW_TOKEN_MAX);
    if (assertion->client_id.len == 0 || assertion->audience.len == 0 || assertion->lifetime_us <= 0) {
        return cw_err_set(err, CW_E_RANGE, "jose", "an assertion without client, audience or lifetime");
    }
    enum cw_code rc = header_emit(key, "JWT", assertion->jku, &header);
    if (rc == CW_OK) {
        rc = claims_emit(assertion, &claims);
    }
    return rc == CW_OK ? compact_sign(key, cw_str_span(&header), cw_str_span(&claims), out, err)
                       : cw_err_set(err, rc, "jose", "no room for an assertion");
}
