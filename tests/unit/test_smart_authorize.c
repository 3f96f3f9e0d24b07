/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization URL, and the vendor profiles that bend it: ours as shipped, and files that must stop the start. */
#include "config.h"

#include "smart/authorize.h"

#include <unistd.h>

#include "base/limits.h"
#include "os/sys.h"
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

/* --- profiles --- */

START_TEST(shipped_profiles)
{
    struct cw_profiles *profiles = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &profiles, &err) == CW_OK, "%s", err.text);
    const struct cw_profile *p = cw_profiles_get(profiles, CW_SPAN("epic"));
    ck_assert_str_eq(p->name, "epic");
    ck_assert_int_eq(p->scope_dialect, CW_SCOPE_FIXED);
    ck_assert(p->pkce && p->send_aud && p->pull != NULL);
    p = cw_profiles_get(profiles, CW_SPAN("ecw"));
    ck_assert_int_eq(p->aud_slash, CW_AUD_STRIP);
    ck_assert_int_eq(p->rate_per_min, 200);
    ck_assert_int_eq(p->count, 50);
    ck_assert_int_eq(p->scope_wildcard, 0);
    p = cw_profiles_get(profiles, CW_SPAN("nextgen"));
    ck_assert(!p->send_aud && p->patient_search);
    p = cw_profiles_get(profiles, CW_SPAN("bluebutton"));
    ck_assert(p->auth_given && p->auth_method == CW_AUTH_BASIC);
    ck_assert(cw_profiles_get(profiles, CW_SPAN("athena"))->refresh_scope);
    ck_assert(cw_profiles_get(profiles, CW_SPAN("athena-practice"))->state_opaque43);
    ck_assert_str_eq(cw_profiles_get(profiles, CW_SPAN("veradigm"))->patient_claim, "local_patient_id");
    ck_assert_str_eq(cw_profiles_get(profiles, CW_SPAN("unheard-of"))->name, "default");
    ck_assert_str_eq(cw_profiles_get(profiles, (struct cw_span){ NULL, 0 })->name, "default");

    struct cw_span none = { NULL, 0 };
    static const struct {
        const char *software, *publisher, *host, *name;
    } rows[] = {
        { "Epic", NULL, NULL, "epic" },
        { "epic", NULL, NULL, "epic" },
        { "Epicurus", NULL, NULL, "default" },
        { NULL, "Oracle Health", NULL, "cerner" },
        { NULL, NULL, "fhir-myrecord.cerner.com", "cerner" },
        { NULL, NULL, "cerner.com.evil", "default" },
        { NULL, NULL, "evilcerner.com", "default" },
        { NULL, NULL, NULL, "default" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        p = cw_profiles_detect(profiles, cw_span_cstr(rows[i].software), cw_span_cstr(rows[i].publisher), cw_span_cstr(rows[i].host));
        ck_assert_msg(strcmp(p->name, rows[i].name) == 0, "row %zu: %s", i, p->name);
    }
    ck_assert_str_eq(cw_profiles_detect(profiles, none, none, none)->name, "default");
    cw_profiles_free(profiles);
}
END_TEST

static enum cw_code load_with(const char *dir, const char *file, const char *text)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    (void)cw_str_addf(&path, "%s/%s", dir, file);
    ck_assert_int_eq(cw_file_replace(cw_str_cstr(&path), 0600, cw_span_cstr(text), NULL), CW_OK);
    struct cw_profiles *profiles = NULL;
    enum cw_code rc = cw_profiles_load(dir, &profiles, NULL);
    cw_profiles_free(profiles);
    ck_assert_int_eq(unlink(cw_str_cstr(&path)), 0);
    return rc;
}

START_TEST(bad_profiles)
{
    char dir[] = "/tmp/cw-profiles-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct cw_profiles *profiles = NULL;
    ck_assert_int_eq(cw_profiles_load(dir, &profiles, NULL), CW_E_CONFIG); /* no default.json */
    ck_assert_int_eq(load_with(dir, "epic.json", "{}"), CW_E_CONFIG);
    static const struct {
        const char *text;
        enum cw_code code;
    } rows[] = {
        { "{}", CW_OK },
        { "{\"count\":0,\"pkce\":false,\"state_format\":\"opaque43\",\"pull\":{\"any\":1}}", CW_OK },
        { "{\"scope_dialect\":\"literal\",\"scope_literal\":\"a b\"}", CW_OK },
        { "{\"scope_dialect\":\"literal\"}", CW_E_CONFIG },
        { "{\"scope_literal\":\"a\"}", CW_E_CONFIG },
        { "{\"pkcee\":true}", CW_E_CONFIG },
        { "{\"pkce\":\"yes\"}", CW_E_CONFIG },
        { "{\"count\":-1}", CW_E_CONFIG },
        { "{\"count\":1001}", CW_E_CONFIG },
        { "{\"count\":1.5}", CW_E_CONFIG },
        { "{\"aud_slash\":\"maybe\"}", CW_E_CONFIG },
        { "{\"scope_wildcard\":true}", CW_E_CONFIG },
        { "{\"auth_method\":\"tls_client_auth\"}", CW_E_CONFIG },
        { "{\"accept\":7}", CW_E_CONFIG },
        { "{\"pull\":[]}", CW_E_CONFIG },
        { "{\"match\":{\"software\":\"Epic\"}}", CW_E_CONFIG },
        { "{\"match\":{\"name\":[\"Epic\"]}}", CW_E_CONFIG },
        { "{\"match\":{\"software\":[7]}}", CW_E_CONFIG },
        { "[]", CW_E_CONFIG },
        { "{", CW_E_CONFIG },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(load_with(dir, "default.json", rows[i].text) == rows[i].code, "row %zu", i);
    }
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(cw_profiles_load(dir, &profiles, NULL), CW_E_IO);
}
END_TEST

Suite *profile_suite(void)
{
    Suite *suite = suite_create("profile");
    TCase *tcase = tcase_create("profile");
    tcase_add_test(tcase, shipped_profiles);
    tcase_add_test(tcase, bad_profiles);
    suite_add_tcase(suite, tcase);
    return suite;
}
