/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization URL. */
#include "config.h"

#include "smart/authorize.h"

#include "base/limits.h"
#include "smart/profile.h"
#include "test_smart.h"

/* RFC 7636 appendix B. */
#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

START_TEST(pkce)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_pkce_challenge(CW_SPAN(VERIFIER), &out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), CHALLENGE);
    CW_AUTO_SECRET a = { NULL, 0 };
    CW_AUTO_SECRET b = { NULL, 0 };
    ck_assert_int_eq(cw_pkce_verifier(&a), CW_OK);
    ck_assert_int_eq(cw_pkce_verifier(&b), CW_OK);
    ck_assert_uint_eq(a.len, CW_PKCE_TEXT);
    ck_assert_uint_eq(strspn(a.ptr, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), CW_PKCE_TEXT);
    ck_assert_str_ne(a.ptr, b.ptr);
}
END_TEST

START_TEST(urls)
{
    static const struct cw_profile rules = { .send_aud = true, .pkce = true, .send_nonce = true };
    static const struct cw_profile bare = { .aud_slash = CW_AUD_ADD };
    static const struct cw_profile strip = { .send_aud = true, .aud_slash = CW_AUD_STRIP, .strip_authorize_slash = true };
    static const struct cw_profile add = { .send_aud = true, .aud_slash = CW_AUD_ADD };
#define COMMON "response_type=code&client_id=c%20%26&redirect_uri=https%3A%2F%2Fcw%2Fcallback%2Fx&scope=openid%20patient%2F%2A.rs&state=st-_"
    static const struct {
        const struct cw_profile *profile;
        const char *endpoint, *aud, *expected;
    } rows[] = {
        { &rules, "https://a/auth", "https://h/fhir/",
          "https://a/auth?" COMMON "&aud=https%3A%2F%2Fh%2Ffhir%2F&code_challenge=" CHALLENGE "&code_challenge_method=S256&nonce=n" },
        { &bare, "https://a/o/authorize/?acr_values=x%2Fy&state=theirs&client_id=theirs&flag", "https://h",
          "https://a/o/authorize/?acr_values=x%2Fy&flag&" COMMON },
        { &bare, "https://a/auth?#frag", "https://h", "https://a/auth?" COMMON },
        { &strip, "https://a/auth/", "https://h/fhir//", "https://a/auth?" COMMON "&aud=https%3A%2F%2Fh%2Ffhir" },
        { &add, "https://a/auth/", "https://h/fhir", "https://a/auth/?" COMMON "&aud=https%3A%2F%2Fh%2Ffhir%2F" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_authorize a = {
            .profile = rows[i].profile, .authorization_endpoint = rows[i].endpoint, .client_id = CW_SPAN("c &"),
            .redirect_uri = CW_SPAN("https://cw/callback/x"), .scope = CW_SPAN("openid patient/*.rs"), .state = CW_SPAN("st-_"),
            .aud = cw_span_cstr(rows[i].aud), .verifier = CW_SPAN(VERIFIER), .nonce = CW_SPAN("n"),
        };
        CW_AUTO_STR out;
        cw_str_init(&out, CW_AUTHORIZE_URL_MAX);
        ck_assert_int_eq(cw_smart_authorize_url(&a, &out, NULL), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].expected) == 0, "row %zu: %s", i, cw_str_cstr(&out));
        a.scope = CW_SPAN("launch/patient");
        cw_str_clear(&out);
        ck_assert_int_eq(cw_smart_authorize_url(&a, &out, NULL), CW_OK);
        ck_assert_ptr_null(strstr(cw_str_cstr(&out), "nonce="));
    }
    struct cw_authorize bad = { .profile = &rules, .authorization_endpoint = "javascript:x" };
    CW_AUTO_STR out;
    cw_str_init(&out, CW_AUTHORIZE_URL_MAX);
    ck_assert_int_eq(cw_smart_authorize_url(&bad, &out, NULL), CW_E_SYNTAX);
    static char huge[CW_AUTHORIZE_URL_MAX];
    memset(huge, 'a', sizeof huge);
    bad.authorization_endpoint = "https://a/";
    bad.scope = cw_span_of(huge, sizeof huge);
    ck_assert_int_eq(cw_smart_authorize_url(&bad, &out, NULL), CW_E_TOO_BIG);
}
END_TEST

Suite *authorize_suite(void)
{
    Suite *suite = suite_create("authorize");
    TCase *tcase = tcase_create("authorize");
    tcase_add_test(tcase, pkce);
    tcase_add_test(tcase, urls);
    suite_add_tcase(suite, tcase);
    return suite;
}
