/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization URL. */
#include "config.h"

#include "smart/authorize.h"

#include "base/limits.h"
#include "base/text.h"
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

/* Rules 2.2: as published or by the profile, and the other way round once it was refused. */
START_TEST(rules_2_2_slash_of_aud)
{
    static const struct {
        enum cw_aud_slash slash;
        bool toggled;
        const char *published, *sent;
    } rows[] = {
        { CW_AUD_AS_PUBLISHED, false, "https://h/r4", "https://h/r4" },    { CW_AUD_AS_PUBLISHED, false, "https://h/r4/", "https://h/r4/" },
        { CW_AUD_AS_PUBLISHED, true, "https://h/r4", "https://h/r4/" },    { CW_AUD_AS_PUBLISHED, true, "https://h/r4/", "https://h/r4" },
        { CW_AUD_STRIP, false, "https://h/r4//", "https://h/r4" },         { CW_AUD_STRIP, true, "https://h/r4/", "https://h/r4/" },
        { CW_AUD_ADD, false, "https://h/r4", "https://h/r4/" },            { CW_AUD_ADD, true, "https://h/r4", "https://h/r4" },
        { CW_AUD_ADD, true, "https://h/r4/", "https://h/r4" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_profile profile = { .send_aud = true, .aud_slash = rows[i].slash };
        const struct cw_authorize a = { .profile = &profile, .authorization_endpoint = "https://a/", .client_id = CW_SPAN("c"),
                                        .aud = cw_span_cstr(rows[i].published), .aud_toggled = rows[i].toggled };
        CW_AUTO_STR url;
        CW_AUTO_STR wanted;
        cw_str_init(&url, CW_AUTHORIZE_URL_MAX);
        cw_str_init(&wanted, 200);
        ck_assert_int_eq(cw_form_add(&wanted, "aud", cw_span_cstr(rows[i].sent)), CW_OK);
        ck_assert_int_eq(cw_smart_authorize_url(&a, &url, NULL), CW_OK);
        ck_assert_msg(cw_span_ends(cw_str_span(&url), cw_str_span(&wanted)), "row %zu: %s", i, cw_str_cstr(&url));
    }
}
END_TEST

/* Rules 2.1: POST when the URL passes 1,900 bytes and the server says that it takes it, or when the profile says so. */
START_TEST(rules_2_1_get_or_post)
{
    static char longer[CW_AUTHORIZE_GET_MAX];
    static const struct {
        enum cw_authorize_via via;
        bool advertised;
        size_t over; /* bytes of the URL beyond the limit; 0: just at it */
        bool post;
    } rows[] = {
        { CW_VIA_AUTO, true, 0, false }, { CW_VIA_AUTO, true, 1, true },  { CW_VIA_AUTO, false, 1, false },
        { CW_VIA_GET, true, 1, false },  { CW_VIA_POST, false, 0, true },
    };
    memset(longer, 'a', sizeof longer);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_profile profile = { .authorize_via = rows[i].via };
        struct cw_authorize a = { .profile = &profile, .authorization_endpoint = "https://a/auth?acr=1", .client_id = CW_SPAN("c&"),
                                  .redirect_uri = CW_SPAN("https://r"), .state = CW_SPAN("st"), .scope = CW_SPAN("") };
        struct cw_authorize_form form;
        CW_AUTO_STR url;
        cw_str_init(&url, CW_AUTHORIZE_URL_MAX);
        ck_assert_int_eq(cw_smart_authorize_url(&a, &url, NULL), CW_OK);
        a.scope = cw_span_of(longer, CW_AUTHORIZE_GET_MAX + rows[i].over - url.len);
        cw_authorize_form_init(&form);
        ck_assert_int_eq(cw_smart_authorize_form(&a, rows[i].advertised, &form, NULL), CW_OK);
        ck_assert_msg((form.body.len > 0) == rows[i].post, "row %zu", i);
        if (rows[i].post) {
            ck_assert_str_eq(cw_str_cstr(&form.action), "https://a/auth?acr=1"); /* its own query stays */
            ck_assert_ptr_nonnull(strstr(cw_str_cstr(&form.body), "response_type=code&client_id=c%26&"));
        } else {
            ck_assert_uint_eq(form.action.len, CW_AUTHORIZE_GET_MAX + rows[i].over);
        }
        cw_authorize_form_release(&form);
    }
}
END_TEST

START_TEST(what_an_error_teaches)
{
    static const struct {
        const char *error, *text;
        int lesson; /* -1: none */
    } rows[] = {
        { "invalid_scope", NULL, CW_LESSON_SCOPE_REFUSED },
        { "invalid_scope", "aud", CW_LESSON_SCOPE_REFUSED },
        { "invalid_request", "Invalid \"aud\" parameter", CW_LESSON_AUD_REFUSED },
        { "invalid_request", "bad Audience", CW_LESSON_AUD_REFUSED },
        { "invalid_request", "fraud", -1 },
        { "invalid_request", "auditing is off", -1 },
        { "invalid_request", NULL, -1 },
        { "invalid_request", "", -1 },
        { "access_denied", "aud", -1 },
        { "server_error", "scope", -1 },
        { NULL, "aud", -1 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_lesson lesson = CW_LESSON_WORKED;
        bool taught = cw_authorize_lesson(cw_span_cstr(rows[i].error), cw_span_cstr(rows[i].text), &lesson);
        ck_assert_msg(taught == (rows[i].lesson >= 0) && (!taught || (int)lesson == rows[i].lesson), "row %zu", i);
    }
}
END_TEST

Suite *authorize_suite(void)
{
    Suite *suite = suite_create("authorize");
    TCase *tcase = tcase_create("authorize");
    tcase_add_test(tcase, pkce);
    tcase_add_test(tcase, urls);
    tcase_add_test(tcase, rules_2_2_slash_of_aud);
    tcase_add_test(tcase, rules_2_1_get_or_post);
    tcase_add_test(tcase, what_an_error_teaches);
    suite_add_tcase(suite, tcase);
    return suite;
}
