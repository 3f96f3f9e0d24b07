/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of others: a compact JWS checked with a foreign JWK Set. The algorithm is what the key allows, never what
 * the token asks for: a token's alg must be one of four, and only keys whose kty, crv, use, key_ops and own alg agree
 * with it are tried. No HMAC exists here, so a public key cannot be taken for a shared secret.
 */
#include "config.h"

#include "vault/jose_int.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "base/limits.h"
#include "base/text.h"

#define KEYS_MAX 64   /* in one set; the rest is not looked at */
#define HEADER_MAX 4096
#define RSA_BYTES_MAX (CW_RSA_BITS_MAX / 8)
#define EXPONENT_BYTES_MAX 8

static const struct cw_json_limits part_limits = { .max_bytes = CW_TOKEN_MAX, .max_depth = CW_JSON_DEPTH_MAX };

/* --- ECDSA forms --- */

bool cw_ecdsa_join(const uint8_t *der, size_t len, size_t width, uint8_t *ret_joined)
{
    const uint8_t *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)len);
    bool ok = signature != NULL &&
              BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_joined, (int)width) == (int)width &&
              BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_joined + width, (int)width) == (int)width;
    ECDSA_SIG_free(signature);
    ERR_clear_error();
    return ok;
}

size_t cw_ecdsa_split(const uint8_t *joined, size_t width, uint8_t ret_der[CW_ECDSA_DER_MAX])
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(joined, (int)width, NULL);
    BIGNUM *s = BN_bin2bn(joined + width, (int)width, NULL);
    if (signature == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(signature);
        ERR_clear_error();
        return 0;
    }
    int len = i2d_ECDSA_SIG(signature, NULL);
    uint8_t *at = ret_der;
    if (len > 0 && len <= CW_ECDSA_DER_MAX) {
        len = i2d_ECDSA_SIG(signature, &at);
    } else {
        len = 0;
    }
    ECDSA_SIG_free(signature);
    return len > 0 ? (size_t)len : 0;
}

/* --- one compact JWS --- */

struct compact {
    struct cw_span signed_part; /* header.payload */
    struct cw_str header;
    struct cw_str claims;
    struct cw_str signature;
};

static void compact_release(struct compact *compact)
{
    cw_str_release(&compact->header);
    cw_str_release(&compact->claims);
    cw_str_release(&compact->signature);
}
#define AUTO_COMPACT CW_CLEANUP(compact_release) struct compact

static enum cw_code compact_parse(struct cw_span text, struct compact *compact, struct cw_err *err)
{
    cw_str_init(&compact->header, HEADER_MAX);
    cw_str_init_secret(&compact->claims, CW_TOKEN_MAX);
    cw_str_init(&compact->signature, RSA_BYTES_MAX);
    struct cw_span rest = text;
    struct cw_span header;
    struct cw_span claims;
    if (text.len > CW_TOKEN_MAX || !cw_span_cut(&rest, '.', &header) || !cw_span_cut(&rest, '.', &claims)) {
        return cw_err_set(err, CW_E_SYNTAX, "jws", "not a compact JWS");
    }
    compact->signed_part = cw_span_upto(text, header.len + 1 + claims.len);
    if (cw_base64url_decode(header, &compact->header) != CW_OK ||
        cw_base64url_decode(claims, &compact->claims) != CW_OK) {
        return cw_err_set(err, CW_E_SYNTAX, "jws", "a part is not base64url or too long");
    }
    return CW_OK;
}

/* --- the header --- */

struct wanted {
    enum cw_jose_alg alg;
    struct cw_span kid; /* absent: the only key that fits */
};

/* Reads alg and kid; borrowed from `header`. */
static enum cw_code header_read(const json_t *header, struct wanted *ret_wanted, struct cw_err *err)
{
    struct cw_span alg = { 0 };
    if (cw_json_text(header, "alg", &alg, NULL) != CW_OK) {
        return cw_err_set(err, CW_E_SYNTAX, "jws", "no alg");
    }
    if (!cw_jose_alg_parse(alg, &ret_wanted->alg)) {
        return cw_err_set(err, CW_E_UNSUPPORTED, "jws", "alg is none of RS256, RS384, ES256, ES384");
    }
    if (json_object_get(header, "crit") != NULL || json_object_get(header, "b64") != NULL) {
        return cw_err_set(err, CW_E_UNSUPPORTED, "jws", "critical extensions are not understood");
    }
    if (cw_json_text_opt(header, "kid", &ret_wanted->kid, NULL) != CW_OK) {
        return cw_err_set(err, CW_E_SYNTAX, "jws", "kid is not a text");
    }
    return CW_OK;
}

/* --- keys of the set --- */

static bool member_is_or_absent(const json_t *jwk, const char *name, const char *value)
{
    return json_object_get(jwk, name) == NULL || cw_span_eq_cstr(cw_json_peek_text(jwk, name), value);
}

static bool may_verify(const json_t *jwk)
{
    const json_t *operations = json_object_get(jwk, "key_ops");
    if (operations == NULL) {
        return true;
    }
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *operation = json_string_value(json_array_get(operations, i));
        if (operation != NULL && strcmp(operation, "verify") == 0) {
            return true;
        }
    }
    return false;
}

static bool jwk_fits(const json_t *jwk, const struct wanted *wanted)
{
    const struct cw_jose_alg_info *info = cw_jose_alg_get(wanted->alg);
    bool kty_fits = cw_span_eq_cstr(cw_json_peek_text(jwk, "kty"), info->curve == NULL ? "RSA" : "EC");
    bool curve_fits = info->curve == NULL || cw_span_eq_cstr(cw_json_peek_text(jwk, "crv"), info->curve);
    bool kid_fits = wanted->kid.ptr == NULL || cw_span_eq(cw_json_peek_text(jwk, "kid"), wanted->kid);
    return kty_fits && curve_fits && kid_fits && member_is_or_absent(jwk, "use", "sig") &&
           member_is_or_absent(jwk, "alg", info->name) && may_verify(jwk);
}

static bool member_bytes(const json_t *jwk, const char *name, size_t max, struct cw_str *out)
{
    cw_str_init(out, max);
    struct cw_span text = cw_json_peek_text(jwk, name);
    return text.len > 0 && cw_base64url_decode(text, out) == CW_OK && out->len > 0;
}

static EVP_PKEY *pkey_from(const char *kind, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *pkey = NULL;
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *rsa_key(const json_t *jwk)
{
    CW_AUTO_STR n_bytes;
    CW_AUTO_STR e_bytes;
    bool have_n = member_bytes(jwk, "n", RSA_BYTES_MAX, &n_bytes);
    bool have_e = member_bytes(jwk, "e", EXPONENT_BYTES_MAX, &e_bytes);
    if (!have_n || !have_e) {
        return NULL;
    }
    BIGNUM *n = BN_bin2bn((const uint8_t *)n_bytes.buf, (int)n_bytes.len, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)e_bytes.buf, (int)e_bytes.len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (n != NULL && e != NULL && build != NULL && BN_num_bits(n) >= CW_RSA_BITS_MIN && BN_is_odd(n) && BN_is_odd(e) &&
        !BN_is_one(e) && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        pkey = pkey_from("RSA", build);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static EVP_PKEY *ec_key(const json_t *jwk, const struct cw_jose_alg_info *info)
{
    CW_AUTO_STR x;
    CW_AUTO_STR y;
    bool have_x = member_bytes(jwk, "x", info->coordinate, &x);
    bool have_y = member_bytes(jwk, "y", info->coordinate, &y);
    if (!have_x || !have_y || x.len != info->coordinate || y.len != info->coordinate) {
        return NULL; /* RFC 7518 6.2.1.2: full length, leading zeros included */
    }
    uint8_t point[1 + 2 * CW_COORDINATE_MAX] = { 4 }; /* uncompressed; OpenSSL refuses one off the curve */
    memcpy(point + 1, x.buf, x.len);
    memcpy(point + 1 + x.len, y.buf, y.len);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (build != NULL && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, info->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + x.len + y.len) == 1) {
        pkey = pkey_from("EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

/* --- the check --- */

static bool signature_holds(EVP_PKEY *pkey, const struct cw_jose_alg_info *info, const struct compact *compact)
{
    const uint8_t *signature = (const uint8_t *)compact->signature.buf;
    size_t len = compact->signature.len;
    uint8_t der[CW_ECDSA_DER_MAX];
    if (info->curve != NULL) {
        if (len != 2 * info->coordinate) {
            return false;
        }
        len = cw_ecdsa_split(signature, info->coordinate, der);
        signature = der;
    }
    if (len == 0) {
        return false;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestVerifyInit_ex(context, NULL, info->digest, NULL, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(context, signature, len, (const uint8_t *)compact->signed_part.ptr,
                               compact->signed_part.len) == 1;
    EVP_MD_CTX_free(context);
    return ok;
}

static bool jwk_verifies(const json_t *jwk, const struct wanted *wanted, const struct compact *compact)
{
    const struct cw_jose_alg_info *info = cw_jose_alg_get(wanted->alg);
    EVP_PKEY *pkey = info->curve == NULL ? rsa_key(jwk) : ec_key(jwk, info);
    bool ok = pkey != NULL && signature_holds(pkey, info, compact);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}

static enum cw_code keys_try(const json_t *jwks, const struct wanted *wanted, const struct compact *compact,
                             struct cw_err *err)
{
    const json_t *keys = json_object_get(jwks, "keys");
    size_t count = json_array_size(keys) > KEYS_MAX ? KEYS_MAX : json_array_size(keys);
    size_t fitting = 0;
    bool holds = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *jwk = json_array_get(keys, i);
        if (json_is_object(jwk) && jwk_fits(jwk, wanted)) {
            fitting++;
            holds = holds || jwk_verifies(jwk, wanted, compact);
        }
    }
    if (fitting == 0 || (wanted->kid.ptr == NULL && fitting > 1)) {
        return cw_err_set(err, CW_E_NOT_FOUND, "jws", "%zu keys of the set fit", fitting);
    }
    return holds ? CW_OK : cw_err_set(err, CW_E_AUTH, "jws", "wrong signature");
}

enum cw_code cw_jws_verify(struct cw_span compact_text, const json_t *jwks, json_t **ret_claims, struct cw_err *err)
{
    AUTO_COMPACT compact = { 0 };
    CW_AUTO_JSON *header = NULL;
    struct wanted wanted = { 0 };
    enum cw_code rc = compact_parse(compact_text, &compact, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_json_parse(cw_str_span(&compact.header), part_limits, &header, err);
    if (rc != CW_OK) {
        return rc == CW_E_OOM ? rc : cw_err_set(err, CW_E_SYNTAX, "jws", "the header is not JSON");
    }
    rc = header_read(header, &wanted, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span rest = cw_span_from(compact_text, compact.signed_part.len + 1);
    if (rest.len == 0 || cw_base64url_decode(rest, &compact.signature) != CW_OK) {
        return cw_err_set(err, CW_E_SYNTAX, "jws", "the signature is not base64url");
    }
    rc = keys_try(jwks, &wanted, &compact, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_json_parse(cw_str_span(&compact.claims), part_limits, ret_claims, err);
    return rc == CW_OK || rc == CW_E_OOM ? rc : cw_err_set(err, CW_E_SYNTAX, "jws", "the claims are not JSON");
}

enum cw_code cw_jws_peek(struct cw_span compact_text, json_t **ret_claims, struct cw_err *err)
{
    AUTO_COMPACT compact = { 0 };
    enum cw_code rc = compact_parse(compact_text, &compact, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_json_parse(cw_str_span(&compact.claims), part_limits, ret_claims, err);
    return rc == CW_OK || rc == CW_E_OOM ? rc : cw_err_set(err, CW_E_SYNTAX, "jws", "the claims are not JSON");
}
