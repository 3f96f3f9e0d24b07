/* SPDX-License-Identifier: Apache-2.0 */
/* Signing keys and assertions. What we sign is verified by libjwt with the public PEM: code that shares nothing with jose.c. */
#include "config.h"

#include "test_vault.h"

#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/jose.h"

#define NOW (INT64_C(1800000000) * CW_SECOND_US)

static struct cw_signing_key *keys[2]; /* RS384, ES384; RSA keys are slow to make, so once for the suite */
static const enum cw_jose_alg key_algs[2] = { CW_ALG_RS384, CW_ALG_ES384 };

static void make_keys(void)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(cw_signing_key_make(key_algs[i], &keys[i], NULL), CW_OK);
    }
}

static void free_keys(void)
{
    for (int i = 0; i < 2; i++) {
        cw_signing_key_free(keys[i]);
        keys[i] = NULL;
    }
    cw_signing_key_free(NULL);
}

static EVP_PKEY *pkey_of(const struct cw_signing_key *key)
{
    CW_AUTO_SECRET der = { 0 };
    ck_assert_int_eq(cw_signing_key_export(key, &der, NULL), CW_OK);
    const unsigned char *at = (const unsigned char *)der.ptr;
    EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    ck_assert_ptr_nonnull(pkey);
    return pkey;
}

/* Verifies by libjwt; the caller frees the result. */
static jwt_t *verify_independently(const struct cw_signing_key *key, const char *compact)
{
    EVP_PKEY *pkey = pkey_of(key);
    BIO *memory = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_PUBKEY(memory, pkey), 1);
    unsigned char *pem = NULL;
    long len = BIO_get_mem_data(memory, (char **)&pem);
    jwt_t *jwt = NULL;
    int rc = jwt_decode(&jwt, compact, pem, (int)len);
    ck_assert_msg(rc == 0, "libjwt refuses: %d", rc);
    BIO_free(memory);
    EVP_PKEY_free(pkey);
    return jwt;
}

static struct cw_assertion plain_assertion(void)
{
    return (struct cw_assertion){
        .client_id = CW_SPAN("client-1"),
        .audience = CW_SPAN("https://ehr.example/oauth2/token"),
        .now_us = NOW,
        .lifetime_us = 240 * CW_SECOND_US,
    };
}

START_TEST(assertion_verifies_elsewhere)
{
    for (int i = 0; i < 2; i++) {
        CW_AUTO_STR text;
        cw_str_init_secret(&text, CW_TOKEN_MAX);
        struct cw_assertion assertion = plain_assertion();
        ck_assert_int_eq(cw_assertion_sign(keys[i], &assertion, &text, NULL), CW_OK);
        jwt_t *jwt = verify_independently(keys[i], cw_str_cstr(&text));
        ck_assert_int_eq(jwt_get_alg(jwt), i == 0 ? JWT_ALG_RS384 : JWT_ALG_ES384);
        ck_assert_str_eq(jwt_get_header(jwt, "typ"), "JWT");
        ck_assert_str_eq(jwt_get_header(jwt, "kid"), cw_signing_key_kid(keys[i]));
        ck_assert_ptr_null(jwt_get_header(jwt, "jku"));
        ck_assert_str_eq(jwt_get_grant(jwt, "iss"), "client-1");
        ck_assert_str_eq(jwt_get_grant(jwt, "sub"), "client-1");
        ck_assert_str_eq(jwt_get_grant(jwt, "aud"), "https://ehr.example/oauth2/token");
        ck_assert_uint_ge(strlen(jwt_get_grant(jwt, "jti")), 22);
        ck_assert_int_eq(jwt_get_grant_int(jwt, "iat"), 1800000000 - 5);
        ck_assert_int_eq(jwt_get_grant_int(jwt, "exp"), 1800000000 + 240);
        jwt_free(jwt);
    }
}
END_TEST

START_TEST(assertion_limits)
{
    CW_AUTO_STR text;
    CW_AUTO_STR again;
    cw_str_init_secret(&text, CW_TOKEN_MAX);
    cw_str_init_secret(&again, CW_TOKEN_MAX);
    struct cw_assertion assertion = plain_assertion();
    assertion.lifetime_us = CW_DAY_US;
    assertion.jku = CW_SPAN("https://cw.example/.well-known/jwks.json");
    ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &text, NULL), CW_OK);
    jwt_t *jwt = verify_independently(keys[1], cw_str_cstr(&text));
    ck_assert_int_eq(jwt_get_grant_int(jwt, "exp"), 1800000000 + 300);
    ck_assert_str_eq(jwt_get_header(jwt, "jku"), "https://cw.example/.well-known/jwks.json");
    jwt_t *other = NULL;
    ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &again, NULL), CW_OK);
    other = verify_independently(keys[1], cw_str_cstr(&again));
    ck_assert_str_ne(jwt_get_grant(jwt, "jti"), jwt_get_grant(other, "jti"));
    jwt_free(jwt);
    jwt_free(other);

    assertion.lifetime_us = 0;
    ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &again, NULL), CW_E_RANGE);
    assertion = plain_assertion();
    assertion.client_id = CW_SPAN("");
    ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &again, NULL), CW_E_RANGE);
    assertion = plain_assertion();
    CW_AUTO_STR small;
    cw_str_init(&small, 100);
    ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &small, NULL), CW_E_TOO_BIG);
}
END_TEST

/* 200 ECDSA signatures: about one in 128 has an r or s with a leading zero byte, which must be padded. */
START_TEST(ecdsa_signatures_have_one_length)
{
    struct cw_assertion assertion = plain_assertion();
    for (int i = 0; i < 200; i++) {
        CW_AUTO_STR text;
        cw_str_init_secret(&text, CW_TOKEN_MAX);
        ck_assert_int_eq(cw_assertion_sign(keys[1], &assertion, &text, NULL), CW_OK);
        const char *signature = strrchr(cw_str_cstr(&text), '.') + 1;
        ck_assert_uint_eq(strlen(signature), 128); /* 96 bytes */
    }
}
END_TEST

START_TEST(key_survives_export)
{
    for (int i = 0; i < 2; i++) {
        CW_AUTO_SECRET der = { 0 };
        struct cw_signing_key *again = NULL;
        ck_assert_int_eq(cw_signing_key_export(keys[i], &der, NULL), CW_OK);
        ck_assert_int_eq(cw_signing_key_import(key_algs[i], cw_secret_span(&der), &again, NULL), CW_OK);
        ck_assert_str_eq(cw_signing_key_kid(again), cw_signing_key_kid(keys[i]));
        cw_signing_key_free(again);
        again = NULL;
        ck_assert_int_eq(cw_signing_key_import(key_algs[1 - i], cw_secret_span(&der), &again, NULL), CW_E_KIND);
        ck_assert_int_eq(cw_signing_key_import(CW_ALG_ES256, cw_secret_span(&der), &again, NULL), CW_E_UNSUPPORTED);
        for (size_t len = 0; len < der.len; len += 7) {
            struct cw_span cut = cw_span_upto(cw_secret_span(&der), len);
            ck_assert_int_eq(cw_signing_key_import(key_algs[i], cut, &again, NULL), CW_E_SYNTAX);
        }
        ck_assert_ptr_null(again);
    }
    struct cw_signing_key *none = NULL;
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES256, &none, NULL), CW_E_UNSUPPORTED);
    ck_assert_int_eq(cw_signing_key_import(CW_ALG_ES384, (struct cw_span){ 0 }, &none, NULL), CW_E_SYNTAX);
}
END_TEST

START_TEST(import_refuses_other_curves_and_short_keys)
{
    EVP_PKEY *pkeys[2] = { EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"),
                           EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024) };
    static const enum cw_jose_alg algs[2] = { CW_ALG_ES384, CW_ALG_RS384 };
    for (int i = 0; i < 2; i++) {
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkeys[i]);
        unsigned char *der = NULL;
        int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
        struct cw_signing_key *key = NULL;
        ck_assert_int_eq(cw_signing_key_import(algs[i], cw_span_of(der, (size_t)len), &key, NULL), CW_E_KIND);
        OPENSSL_free(der);
        PKCS8_PRIV_KEY_INFO_free(info);
        EVP_PKEY_free(pkeys[i]);
    }
}
END_TEST

START_TEST(jwk_is_public_only)
{
    static const char *const allowed[2][7] = {
        { "kty", "kid", "alg", "use", "key_ops", "n", "e" },
        { "kty", "kid", "alg", "use", "key_ops", "crv", "x" },
    };
    for (int i = 0; i < 2; i++) {
        CW_AUTO_STR text;
        cw_str_init(&text, 4096);
        struct cw_jsonw w;
        cw_jsonw_init(&w, &text);
        ck_assert_int_eq(cw_signing_key_jwk(keys[i], &w), CW_OK);
        ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
        CW_AUTO_JSON *jwk = json_loadb(text.buf, text.len, 0, NULL);
        ck_assert_uint_eq(json_object_size(jwk), i == 0 ? 7 : 8); /* EC has y as well */
        for (size_t k = 0; k < 7; k++) {
            ck_assert_ptr_nonnull(json_object_get(jwk, allowed[i][k]));
        }
        ck_assert_str_eq(json_string_value(json_object_get(jwk, "alg")), i == 0 ? "RS384" : "ES384");
        ck_assert_str_eq(json_string_value(json_object_get(jwk, "kid")), cw_signing_key_kid(keys[i]));
        const char *length_of = json_string_value(json_object_get(jwk, i == 0 ? "n" : "x"));
        ck_assert_uint_eq(strlen(length_of), i == 0 ? 512 : 64);
    }
}
END_TEST

/* RFC 7638, by hand: SHA-256 over crv, kty, x, y in that order. */
START_TEST(kid_is_the_thumbprint)
{
    CW_AUTO_STR text;
    CW_AUTO_STR canonical;
    CW_AUTO_STR expected;
    cw_str_init(&text, 4096);
    cw_str_init(&canonical, 4096);
    cw_str_init(&expected, 64);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &text);
    ck_assert_int_eq(cw_signing_key_jwk(keys[1], &w), CW_OK);
    CW_AUTO_JSON *jwk = json_loadb(text.buf, text.len, 0, NULL);
    cw_str_addf(&canonical, "{\"crv\":\"P-384\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                json_string_value(json_object_get(jwk, "x")), json_string_value(json_object_get(jwk, "y")));
    unsigned char hash[32];
    unsigned len = 0;
    EVP_Digest(canonical.buf, canonical.len, hash, &len, EVP_sha256(), NULL);
    cw_base64url_encode(cw_span_of(hash, 32), &expected);
    ck_assert_str_eq(cw_signing_key_kid(keys[1]), cw_str_cstr(&expected));
}
END_TEST

START_TEST(alg_names)
{
    static const char *const names[] = { "RS256", "RS384", "ES256", "ES384" };
    for (int i = 0; i < CW_ALG__COUNT; i++) {
        enum cw_jose_alg alg;
        ck_assert_str_eq(cw_jose_alg_name((enum cw_jose_alg)i), names[i]);
        ck_assert(cw_jose_alg_parse(cw_span_cstr(names[i]), &alg));
        ck_assert_int_eq(alg, i);
    }
    static const char *const others[] = { "", "none", "HS256", "PS384", "rs384", "RS512", "ES384 " };
    for (size_t i = 0; i < CW_ARRAY_LEN(others); i++) {
        enum cw_jose_alg alg;
        ck_assert(!cw_jose_alg_parse(cw_span_cstr(others[i]), &alg));
    }
}
END_TEST

Suite *vault_jose_suite(void)
{
    Suite *suite = suite_create("vault/jose");
    TCase *tc = tcase_create("jose");
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, make_keys, free_keys);
    tcase_add_test(tc, assertion_verifies_elsewhere);
    tcase_add_test(tc, assertion_limits);
    tcase_add_test(tc, ecdsa_signatures_have_one_length);
    tcase_add_test(tc, key_survives_export);
    tcase_add_test(tc, import_refuses_other_curves_and_short_keys);
    tcase_add_test(tc, jwk_is_public_only);
    tcase_add_test(tc, kid_is_the_thumbprint);
    tcase_add_test(tc, alg_names);
    suite_add_tcase(suite, tc);
    return suite;
}
