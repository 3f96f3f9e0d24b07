/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign signatures: RFC 7515's own example, then a corpus of tokens and sets that must be refused, each for its reason. */
#include "config.h"

#include "test_vault.h"

#include <stdarg.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "vault/jose.h"

/* RFC 7515 A.3 */
#define RFC_TOKEN                                                                                                      \
    "eyJhbGciOiJFUzI1NiJ9"                                                                                             \
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"                   \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RFC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define RFC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

enum { RSA_KEY, EC256_KEY, EC384_KEY, KEY_COUNT };
static EVP_PKEY *pkeys[KEY_COUNT];
static char *public_members[KEY_COUNT]; /* "kty":…,… without braces, kid, alg and use */

static void number_add(struct cw_str *out, EVP_PKEY *pkey, const char *param, const char *member, int width)
{
    BIGNUM *number = NULL;
    ck_assert_int_eq(EVP_PKEY_get_bn_param(pkey, param, &number), 1);
    unsigned char bytes[512];
    int len = width == 0 ? BN_num_bytes(number) : width;
    ck_assert_int_eq(BN_bn2binpad(number, bytes, len), len);
    cw_str_addf(out, ",\"%s\":\"", member);
    cw_base64url_encode(cw_span_of(bytes, (size_t)len), out);
    cw_str_add_char(out, '"');
    BN_free(number);
}

static void make_keys(void)
{
    pkeys[RSA_KEY] = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    pkeys[EC256_KEY] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    pkeys[EC384_KEY] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    for (int i = 0; i < KEY_COUNT; i++) {
        struct cw_str text;
        cw_str_init(&text, 4096);
        if (i == RSA_KEY) {
            cw_str_add_cstr(&text, "\"kty\":\"RSA\"");
            number_add(&text, pkeys[i], OSSL_PKEY_PARAM_RSA_N, "n", 0);
            number_add(&text, pkeys[i], OSSL_PKEY_PARAM_RSA_E, "e", 0);
        } else {
            int width = i == EC256_KEY ? 32 : 48;
            cw_str_addf(&text, "\"kty\":\"EC\",\"crv\":\"P-%d\"", width * 8);
            number_add(&text, pkeys[i], OSSL_PKEY_PARAM_EC_PUB_X, "x", width);
            number_add(&text, pkeys[i], OSSL_PKEY_PARAM_EC_PUB_Y, "y", width);
        }
        public_members[i] = cw_str_take(&text);
    }
}

static void free_keys(void)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        EVP_PKEY_free(pkeys[i]);
        free(public_members[i]);
    }
}

static json_t *set_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static json_t *set_of(const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(text, sizeof text, format, args), (int)sizeof text);
    va_end(args);
    json_t *set = json_loads(text, 0, NULL);
    ck_assert_msg(set != NULL, "not JSON: %s", text);
    return set;
}

static void sign_with(int key, const char *digest, const char *header, const char *claims, struct cw_str *out)
{
    cw_str_clear(out);
    cw_base64url_encode(cw_span_cstr(header), out);
    cw_str_add_char(out, '.');
    cw_base64url_encode(cw_span_cstr(claims), out);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[512];
    size_t len = sizeof signature;
    ck_assert_int_eq(EVP_DigestSignInit_ex(context, NULL, digest, NULL, NULL, pkeys[key], NULL), 1);
    ck_assert_int_eq(EVP_DigestSign(context, signature, &len, (unsigned char *)out->buf, out->len), 1);
    EVP_MD_CTX_free(context);
    cw_str_add_char(out, '.');
    if (key == RSA_KEY) {
        cw_base64url_encode(cw_span_of(signature, len), out);
        return;
    }
    int width = key == EC256_KEY ? 32 : 48;
    const unsigned char *at = signature;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);
    unsigned char joined[96];
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), joined, width);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), joined + width, width);
    ECDSA_SIG_free(pair);
    cw_base64url_encode(cw_span_of(joined, 2 * (size_t)width), out);
}

static enum cw_code verify(const struct cw_str *token, const json_t *set)
{
    json_t *claims = NULL;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_jws_verify(cw_str_span(token), set, &claims, &err);
    ck_assert(rc == CW_OK ? claims != NULL : claims == NULL);
    ck_assert_int_eq(rc, err.code);
    json_decref(claims);
    return rc;
}

START_TEST(rfc7515_example)
{
    CW_AUTO_JSON *set = set_of("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}]}", RFC_X, RFC_Y);
    CW_AUTO_JSON *claims = NULL;
    ck_assert_int_eq(cw_jws_verify(CW_SPAN(RFC_TOKEN), set, &claims, NULL), CW_OK);
    ck_assert_str_eq(json_string_value(json_object_get(claims, "iss")), "joe");
    CW_AUTO_STR token;
    cw_str_init(&token, 1024);
    cw_str_add_cstr(&token, RFC_TOKEN);
    for (size_t i = 0; i < token.len; i++) {
        char was = token.buf[i];
        token.buf[i] = was == 'A' ? 'B' : 'A';
        ck_assert_msg(verify(&token, set) != CW_OK, "byte %zu", i);
        token.buf[i] = was;
    }
}
END_TEST

START_TEST(each_algorithm)
{
    static const struct {
        int key;
        const char *alg, *digest;
    } rows[] = {
        { RSA_KEY, "RS256", "SHA256" },
        { RSA_KEY, "RS384", "SHA384" },
        { EC256_KEY, "ES256", "SHA256" },
        { EC384_KEY, "ES384", "SHA384" },
    };
    CW_AUTO_JSON *set = set_of("{\"keys\":[{%s,\"kid\":\"r\"},{%s,\"kid\":\"a\"},{%s,\"kid\":\"b\"}]}",
                               public_members[0], public_members[1], public_members[2]);
    CW_AUTO_STR token;
    cw_str_init(&token, 4096);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%c\"}", rows[i].alg, "rrab"[i]);
        sign_with(rows[i].key, rows[i].digest, header, "{\"sub\":\"x\"}", &token);
        ck_assert_msg(verify(&token, set) == CW_OK, "row %zu", i);
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", rows[i].alg); /* no kid: the only one that fits */
        sign_with(rows[i].key, rows[i].digest, header, "{\"sub\":\"x\"}", &token);
        ck_assert_msg(verify(&token, set) == CW_OK, "row %zu without kid", i);
        token.buf[token.len - 5] ^= 0x03;
        ck_assert_msg(verify(&token, set) != CW_OK, "row %zu changed", i);
    }
}
END_TEST

START_TEST(header_decides_nothing)
{
    static const struct {
        const char *header;
        enum cw_code rc;
    } rows[] = {
        { "{\"alg\":\"RS256\",\"kid\":\"r\"}", CW_OK },
        { "{\"alg\":\"none\",\"kid\":\"r\"}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"HS256\",\"kid\":\"r\"}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"PS256\",\"kid\":\"r\"}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"RS512\",\"kid\":\"r\"}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"rs256\",\"kid\":\"r\"}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"RS384\",\"kid\":\"r\"}", CW_E_AUTH },       /* signed with SHA-256 */
        { "{\"alg\":\"ES256\",\"kid\":\"r\"}", CW_E_NOT_FOUND },  /* the key is RSA */
        { "{\"alg\":\"RS256\",\"kid\":\"other\"}", CW_E_NOT_FOUND },
        { "{\"alg\":\"RS256\",\"kid\":7}", CW_E_SYNTAX },
        { "{\"kid\":\"r\"}", CW_E_SYNTAX },
        { "{\"alg\":[\"RS256\"]}", CW_E_SYNTAX },
        { "{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"RS256\",\"b64\":false}", CW_E_UNSUPPORTED },
        { "{\"alg\":\"RS256\",\"alg\":\"RS256\"}", CW_E_SYNTAX },
        { "[]", CW_E_SYNTAX },
        { "{", CW_E_SYNTAX },
    };
    CW_AUTO_JSON *set = set_of("{\"keys\":[{%s,\"kid\":\"r\"}]}", public_members[RSA_KEY]);
    CW_AUTO_STR token;
    cw_str_init(&token, 4096);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        sign_with(RSA_KEY, "SHA256", rows[i].header, "{\"sub\":\"x\"}", &token);
        enum cw_code rc = verify(&token, set);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s", i, cw_code_name(rc));
    }
    sign_with(RSA_KEY, "SHA256", "{\"alg\":\"RS256\"}", "not json", &token);
    ck_assert_int_eq(verify(&token, set), CW_E_SYNTAX);
}
END_TEST

/* An HMAC made with our public PEM as its key: the classic confusion. */
START_TEST(hmac_with_the_public_key)
{
    CW_AUTO_JSON *set = set_of("{\"keys\":[{%s,\"kid\":\"r\"},{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"o\"}]}",
                               public_members[RSA_KEY]);
    BIO *memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(memory, pkeys[RSA_KEY]);
    char *pem = NULL;
    long pem_len = BIO_get_mem_data(memory, &pem);
    static const char *const headers[] = { "{\"alg\":\"HS256\",\"kid\":\"r\"}", "{\"alg\":\"HS256\",\"kid\":\"o\"}",
                                           "{\"alg\":\"RS256\",\"kid\":\"r\"}" };
    for (size_t i = 0; i < CW_ARRAY_LEN(headers); i++) {
        CW_AUTO_STR token;
        cw_str_init(&token, 4096);
        cw_base64url_encode(cw_span_cstr(headers[i]), &token);
        cw_str_add_cstr(&token, ".e30");
        unsigned char mac[32];
        unsigned len = 0;
        HMAC(EVP_sha256(), pem, (int)pem_len, (unsigned char *)token.buf, token.len, mac, &len);
        cw_str_add_char(&token, '.');
        cw_base64url_encode(cw_span_of(mac, len), &token);
        ck_assert_int_eq(verify(&token, set), i < 2 ? CW_E_UNSUPPORTED : CW_E_AUTH);
    }
    BIO_free(memory);
}
END_TEST

START_TEST(key_must_agree)
{
    static const struct {
        const char *extra;
        enum cw_code rc;
    } rows[] = {
        { "\"use\":\"sig\",\"alg\":\"RS256\",\"key_ops\":[\"verify\"]", CW_OK },
        { "\"use\":\"enc\"", CW_E_NOT_FOUND },
        { "\"use\":1", CW_E_NOT_FOUND },
        { "\"alg\":\"RS384\"", CW_E_NOT_FOUND },
        { "\"alg\":\"PS256\"", CW_E_NOT_FOUND },
        { "\"key_ops\":[\"encrypt\"]", CW_E_NOT_FOUND },
        { "\"key_ops\":[]", CW_E_NOT_FOUND },
    };
    CW_AUTO_STR token;
    cw_str_init(&token, 4096);
    sign_with(RSA_KEY, "SHA256", "{\"alg\":\"RS256\",\"kid\":\"r\"}", "{}", &token);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_JSON *set = set_of("{\"keys\":[{%s,\"kid\":\"r\",%s}]}", public_members[RSA_KEY], rows[i].extra);
        enum cw_code rc = verify(&token, set);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s", i, cw_code_name(rc));
    }
}
END_TEST

START_TEST(bad_sets)
{
    static const struct {
        const char *set;
        enum cw_code rc;
    } rows[] = {
        { "{}", CW_E_NOT_FOUND },
        { "[]", CW_E_NOT_FOUND },
        { "{\"keys\":{}}", CW_E_NOT_FOUND },
        { "{\"keys\":[]}", CW_E_NOT_FOUND },
        { "{\"keys\":[null,1,\"x\",[]]}", CW_E_NOT_FOUND },
        { "{\"keys\":[{\"kty\":\"RSA\"}]}", CW_E_AUTH },
        { "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}]}", CW_E_AUTH },
        { "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", CW_E_AUTH },  /* 17 bits */
        { "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!!\",\"e\":\"AQAB\"}]}", CW_E_AUTH },
    };
    CW_AUTO_STR token;
    cw_str_init(&token, 4096);
    sign_with(RSA_KEY, "SHA256", "{\"alg\":\"RS256\"}", "{}", &token);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_JSON *set = set_of("%s", rows[i].set);
        enum cw_code rc = verify(&token, set);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s", i, cw_code_name(rc));
    }
    /* Off the curve; short coordinate. */
    sign_with(EC256_KEY, "SHA256", "{\"alg\":\"ES256\"}", "{}", &token);
    static const char *const points[] = {
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
        "\"x\":\"AAAA\",\"y\":\"AAAA\"",
        "\"x\":\"" RFC_X "\"",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(points); i++) {
        CW_AUTO_JSON *set = set_of("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",%s}]}", points[i]);
        ck_assert_int_eq(verify(&token, set), CW_E_AUTH);
    }
    /* Two keys fit and no kid says which. */
    CW_AUTO_JSON *two = set_of("{\"keys\":[{%s},{%s}]}", public_members[EC256_KEY], public_members[EC256_KEY]);
    ck_assert_int_eq(verify(&token, two), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(bad_forms)
{
    static const char *const rows[] = { "", ".", "..", "a.b", "e30.e30", "!.e30.AA", "eyJhbGciOiJSUzI1NiJ9.!.AA",
                                        "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJhbGciOiJSUzI1NiJ9.e30.!",
                                        "eyJhbGciOiJSUzI1NiJ9.e30.AA.AA" };
    CW_AUTO_JSON *set = set_of("{\"keys\":[{%s}]}", public_members[RSA_KEY]);
    CW_AUTO_STR token;
    cw_str_init(&token, CW_TOKEN_MAX * 2);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        cw_str_clear(&token);
        cw_str_add_cstr(&token, rows[i]);
        enum cw_code rc = verify(&token, set);
        ck_assert_msg(rc == CW_E_SYNTAX, "row %zu: %s", i, cw_code_name(rc));
    }
    cw_str_clear(&token);
    cw_str_add_cstr(&token, RFC_TOKEN);
    while (token.len < CW_TOKEN_MAX + 1) {
        cw_str_add_char(&token, 'A');
    }
    ck_assert_int_eq(verify(&token, set), CW_E_SYNTAX);
}
END_TEST

START_TEST(peek_reads_without_checking)
{
    CW_AUTO_JSON *claims = NULL;
    ck_assert_int_eq(cw_jws_peek(CW_SPAN(RFC_TOKEN), &claims, NULL), CW_OK);
    ck_assert_int_eq(json_integer_value(json_object_get(claims, "exp")), 1300819380);
    static const char *const bad[] = { "", "opaque-token", "a.b", "e30.bm8.AA", "e30.!.AA" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        json_t *none = NULL;
        ck_assert_int_eq(cw_jws_peek(cw_span_cstr(bad[i]), &none, NULL), CW_E_SYNTAX);
        ck_assert_ptr_null(none);
    }
}
END_TEST

Suite *vault_jws_suite(void)
{
    Suite *suite = suite_create("vault/jws");
    TCase *tc = tcase_create("jws");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_keys, free_keys);
    tcase_add_test(tc, rfc7515_example);
    tcase_add_test(tc, each_algorithm);
    tcase_add_test(tc, header_decides_nothing);
    tcase_add_test(tc, hmac_with_the_public_key);
    tcase_add_test(tc, key_must_agree);
    tcase_add_test(tc, bad_sets);
    tcase_add_test(tc, bad_forms);
    tcase_add_test(tc, peek_reads_without_checking);
    suite_add_tcase(suite, tc);
    return suite;
}
