/* SPDX-License-Identifier: Apache-2.0 */
/* Vendor profiles: ours as shipped, which one is chosen and why, and files that must stop the start. */
#include "config.h"

#include "smart/profile.h"

#include <unistd.h>

#include "os/sys.h"
#include "test_smart.h"

static struct cw_profiles *shipped(void)
{
    struct cw_profiles *profiles = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &profiles, &err) == CW_OK, "%s", err.text);
    return profiles;
}

static const struct cw_profile *get(const struct cw_profiles *profiles, const char *name)
{
    const struct cw_profile *p = cw_profiles_find(profiles, cw_span_cstr(name));
    ck_assert_msg(p != NULL, "no profile %s", name);
    ck_assert_str_eq(p->name, name);
    return p;
}

START_TEST(shipped_profiles)
{
    static const char *const names[] = {
        "default", "epic", "cerner", "athena", "athena-practice", "ecw", "meditech", "nextgen", "bluebutton", "veradigm", "aetna",
        "uhc", "humana", "cigna", "anthem", "kaiser", "va", "quest", "healthpartners", "qualifacts", "practicefusion",
    };
    struct cw_profiles *profiles = shipped();
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        get(profiles, names[i]);
    }
    const struct cw_profile *p = get(profiles, "epic");
    ck_assert_int_eq(p->scope_dialect, CW_SCOPE_FIXED);
    ck_assert(p->pkce && p->send_aud && p->pull != NULL);
    p = get(profiles, "ecw");
    ck_assert_int_eq(p->aud_slash, CW_AUD_STRIP);
    ck_assert_int_eq(p->rate_per_min, 200);
    ck_assert_int_eq(p->count, 50);
    ck_assert_int_eq(p->scope_wildcard, 0);
    ck_assert_int_eq(p->jwt_alg, CW_ALG_RS384);
    p = get(profiles, "nextgen");
    ck_assert(!p->send_aud && p->patient_search);
    p = get(profiles, "bluebutton");
    ck_assert(p->auth_given && p->auth_method == CW_AUTH_BASIC && p->patient_userinfo);
    ck_assert_uint_eq(p->type_count, 3);
    ck_assert_str_eq(p->types[2], "ExplanationOfBenefit");
    ck_assert_int_eq(p->last_updated, CW_LAST_UPDATED_YES);
    p = get(profiles, "athena");
    ck_assert(p->refresh_scope);
    ck_assert_str_eq(p->tenant_claim, "ah_practice");
    ck_assert(get(profiles, "athena-practice")->state_opaque43);
    ck_assert_str_eq(get(profiles, "veradigm")->patient_claim, "local_patient_id");
    ck_assert_uint_eq(get(profiles, "uhc")->type_count, 10);
    ck_assert(!get(profiles, "qualifacts")->pkce && get(profiles, "anthem")->pkce);
    p = get(profiles, "default");
    ck_assert(p->types == NULL && p->extra_query[0] == '\0' && p->metadata_url[0] == '\0');
    ck_assert_int_eq(p->authorize_via, CW_VIA_AUTO);
    ck_assert_int_eq(p->last_updated, CW_LAST_UPDATED_ADVERTISED);
    ck_assert_ptr_null(cw_profiles_find(profiles, CW_SPAN("unheard-of")));
    ck_assert_str_eq(cw_profiles_get(profiles, CW_SPAN("unheard-of"))->name, "default");
    ck_assert_str_eq(cw_profiles_get(profiles, (struct cw_span){ NULL, 0 })->name, "default");
    cw_profiles_free(profiles);
}
END_TEST

/* Rules 0: operator, registration, catalogue, then what discovery reveals. */
START_TEST(choice_and_its_reason)
{
    static const struct {
        const char *operator_choice, *registration, *vendor, *host, *software, *publisher, *name, *why;
    } rows[] = {
        { "aetna", "epic", "cerner", "x.healow.com", "Epic", "Epic", "aetna", "operator" },
        { NULL, "epic", "cerner", "x.healow.com", "Epic", NULL, "epic", "registration" },
        { NULL, NULL, "cerner", "x.healow.com", "Epic", NULL, "cerner", "catalogue" },
        { NULL, NULL, NULL, "x.healow.com", "Epic", NULL, "ecw", "host" },
        { "gone", "gone", "Some Vendor Inc.", "x.test", "EPIC", "Oracle Health", "epic", "software" },
        { NULL, NULL, NULL, "x.test", "unheard-of", "oracle health", "cerner", "publisher" },
        { NULL, NULL, NULL, "fhir-myrecord.cerner.com", NULL, NULL, "cerner", "host" },
        { NULL, NULL, NULL, "p1.fhirapi.athenahealth.com", "athenahealth", NULL, "athena-practice", "host" },
        { NULL, NULL, NULL, NULL, "Epicurus", NULL, "default", "default" },
        { NULL, NULL, NULL, "cerner.com.evil", NULL, NULL, "default", "default" },
        { NULL, NULL, NULL, "evilcerner.com", NULL, NULL, "default", "default" },
        { NULL, NULL, NULL, NULL, NULL, NULL, "default", "default" },
        { "", "", "", "", "", "", "default", "default" },
    };
    struct cw_profiles *profiles = shipped();
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_profile_facts facts = {
            .operator_choice = cw_span_cstr(rows[i].operator_choice), .registration = cw_span_cstr(rows[i].registration),
            .vendor = cw_span_cstr(rows[i].vendor), .host = cw_span_cstr(rows[i].host),
            .software = cw_span_cstr(rows[i].software), .publisher = cw_span_cstr(rows[i].publisher),
        };
        struct cw_profile_choice got = cw_profiles_choose(profiles, &facts);
        ck_assert_msg(strcmp(got.profile->name, rows[i].name) == 0, "row %zu: %s", i, got.profile->name);
        ck_assert_msg(strcmp(cw_profile_why_name(got.why), rows[i].why) == 0, "row %zu: %s", i, cw_profile_why_name(got.why));
    }
    cw_profiles_free(profiles);
}
END_TEST

/* Rules 9, quirk 41: every search of athenahealth repeats the practice of the token. */
START_TEST(quirk41_extra_query)
{
    static const struct cw_profile athena = { .extra_query = "a=b&ah-practice=Organization/a-1.Practice-{tenant}&c=d" };
    static const struct cw_profile plain = { .extra_query = "_format=json" };
    static const struct cw_profile none = { .extra_query = "" };
    static const struct {
        const struct cw_profile *profile;
        const char *tenant, *query;
    } rows[] = {
        { &athena, "195900", "a=b&ah-practice=Organization/a-1.Practice-195900&c=d" },
        { &athena, "a-1.Practice-195900", "a=b&ah-practice=Organization/a-1.Practice-195900&c=d" },
        { &athena, "Organization/a-1.Practice-195900", "a=b&ah-practice=Organization/a-1.Practice-195900&c=d" },
        { &athena, "7&patient=1#", "a=b&ah-practice=Organization/a-1.Practice-7%26patient%3D1%23&c=d" },
        { &athena, "", "" },
        { &athena, NULL, "" },
        { &plain, NULL, "_format=json" },
        { &plain, "7", "_format=json" },
        { &none, "7", "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_PROFILE_QUERY_MAX);
        ck_assert_int_eq(cw_profile_query(rows[i].profile, cw_span_cstr(rows[i].tenant), &out), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].query) == 0, "row %zu: %s", i, cw_str_cstr(&out));
    }
}
END_TEST

/* ---- files that stop the start */

static void put(const char *dir, const char *file, const char *text)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    (void)cw_str_addf(&path, "%s/%s", dir, file);
    if (text == NULL) {
        ck_assert_int_eq(unlink(cw_str_cstr(&path)), 0);
    } else {
        ck_assert_int_eq(cw_file_replace(cw_str_cstr(&path), 0600, cw_span_cstr(text), NULL), CW_OK);
    }
}

static enum cw_code load(const char *dir, struct cw_err *err)
{
    struct cw_profiles *profiles = NULL;
    enum cw_code rc = cw_profiles_load(dir, &profiles, err);
    cw_profiles_free(profiles);
    return rc;
}

static const struct {
    const char *text;
    const char *member; /* NULL: good */
} files[] = {
    { "{}", NULL },
    { "{\"count\":0,\"pkce\":false,\"state_format\":\"opaque43\"}", NULL },
    { "{\"scope_dialect\":\"literal\",\"scope_literal\":\"a b\"}", NULL },
    { "{\"jwt_alg\":\"ES384\",\"auth_method\":\"private_key_jwt\",\"authorize_via\":\"POST\"}", NULL },
    { "{\"extra_query\":\"p=Org/{tenant}\",\"tenant_claim\":\"c\",\"extra_headers\":{\"Epic-Client-ID\":\"{client_id}\"}}", NULL },
    { "{\"types\":[\"Patient\",\"Observation\"],\"last_updated\":\"no\",\"accept\":\"application/json\"}", NULL },
    { "{\"pull\":{\"skip\":[\"Device\"],\"revinclude\":false,\"searches\":{\"A\":[],\"B\":[\"x=1\"],\"C\":{\"add\":\"x=1\"},"
      "\"D\":{\"each\":{\"category\":[\"a\",\"b\"]}}}}}", NULL },
    { "{\"metadata_url\":\"https://as.test/.well-known/openid-configuration\"}", NULL },
    /* unknown or of the wrong kind */
    { "{\"pkcee\":true}", "pkcee" },
    { "{\"pkce\":\"yes\"}", "pkce" },
    { "{\"count\":-1}", "count" },
    { "{\"count\":1001}", "count" },
    { "{\"count\":1.5}", "count" },
    { "{\"aud_slash\":\"maybe\"}", "aud_slash" },
    { "{\"authorize_via\":\"PUT\"}", "authorize_via" },
    { "{\"scope_wildcard\":true}", "scope_wildcard" },
    { "{\"auth_method\":\"tls_client_auth\"}", "auth_method" },
    { "{\"jwt_alg\":\"RS256\"}", "jwt_alg" },
    { "{\"jwt_alg\":\"none\"}", "jwt_alg" },
    { "{\"accept\":7}", "accept" },
    { "{\"accept\":\"text/html\"}", "accept" },
    { "{\"state_format\":\"short\"}", "state_format" },
    { "{\"metadata_url\":\"http://as.test/\"}", "metadata_url" },
    { "{\"extra_query\":\"a=1#b\"}", "extra_query" },
    { "{\"extra_query\":\"a={x}\"}", "extra_query" },
    { "{\"extra_query\":\"word\"}", "extra_query" },
    { "{\"extra_headers\":{\"Authorization\":\"Basic x\"}}", "extra_headers" },
    { "{\"extra_headers\":{\"X-A\":\"a\\r\\nX-B: b\"}}", "extra_headers" },
    { "{\"extra_headers\":{\"X A\":\"a\"}}", "extra_headers" },
    { "{\"extra_headers\":{\"X-A\":1}}", "extra_headers" },
    { "{\"types\":[]}", "types" },
    { "{\"types\":[\"*\"]}", "types" },
    { "{\"types\":[\"patient\"]}", "types" },
    { "{\"last_updated\":true}", "last_updated" },
    { "{\"scope_extra\":\"caf\\u00e9\"}", "scope_extra" },
    { "{\"pull\":[]}", "pull" },
    { "{\"pull\":{\"any\":1}}", "pull" },
    { "{\"pull\":{\"searches\":{\"Observation\":\"category=a\"}}}", "pull" },
    { "{\"pull\":{\"searches\":{\"Observation\":[7]}}}", "pull" },
    { "{\"pull\":{\"searches\":{\"Observation\":{\"each\":[]}}}}", "pull" },
    { "{\"pull\":{\"searches\":{\"observation\":[]}}}", "pull" },
    { "{\"match\":{\"software\":\"Epic\"}}", "match" },
    { "{\"match\":{\"name\":[\"Epic\"]}}", "match" },
    { "{\"match\":{\"software\":[7]}}", "match" },
    /* of the right kind, but not together */
    { "{\"scope_dialect\":\"literal\"}", "scope_literal" },
    { "{\"scope_literal\":\"a\"}", "scope_literal" },
    { "{\"scope_extra\":\"a b\",\"scope_drop\":\"b\"}", "scope_drop" },
    { "{\"send_aud\":false,\"aud_slash\":\"strip\"}", "aud_slash" },
    { "{\"pkce\":false,\"auth_method\":\"none\"}", "pkce" },
    { "{\"basic_encoded\":true,\"auth_method\":\"client_secret_post\"}", "basic_encoded" },
    { "{\"jwt_alg\":\"ES384\",\"auth_method\":\"client_secret_basic\"}", "jwt_alg" },
    { "{\"extra_query\":\"p={tenant}\"}", "extra_query" },
    { "{\"types\":[\"Patient\"],\"pull\":{\"searches\":{\"Observation\":[]}}}", "pull" },
    { "{\"pkce\":true,\"pkce\":false}", "" },
    { "[]", "" },
    { "{", "" },
};

START_TEST(bad_profiles_stop_the_start)
{
    char dir[] = "/tmp/cw-profiles-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(load(dir, NULL), CW_E_CONFIG); /* no default.json */
    put(dir, "default.json", "{}");
    for (size_t i = 0; i < CW_ARRAY_LEN(files); i++) {
        struct cw_err err = { 0 };
        put(dir, "spelt.json", files[i].text);
        enum cw_code rc = load(dir, &err);
        ck_assert_msg(rc == (files[i].member == NULL ? CW_OK : CW_E_CONFIG), "row %zu: %s", i, err.text);
        ck_assert_msg(files[i].member == NULL || (strstr(err.text, "spelt") != NULL && strstr(err.text, files[i].member) != NULL),
                      "row %zu: %s", i, err.text);
    }
    put(dir, "spelt.json", NULL);
    put(dir, "default.json", "{\"match\":{\"software\":[\"x\"]}}");
    ck_assert_int_eq(load(dir, NULL), CW_E_CONFIG);
    put(dir, "default.json", NULL);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(load(dir, NULL), CW_E_IO);
}
END_TEST

/* Two profiles that claim one server by the same word stop the start; of two suffixes the longer one decides. */
START_TEST(two_profiles_that_fit)
{
    char dir[] = "/tmp/cw-profiles-XXXXXX";
    struct cw_err err = { 0 };
    ck_assert_ptr_nonnull(mkdtemp(dir));
    put(dir, "default.json", "{\"count\":7,\"scope_extra\":\"theirs\"}");
    put(dir, "a.json", "{\"match\":{\"software\":[\"X\"],\"host_suffix\":[\".x.test\"]}}");
    put(dir, "b.json", "{\"match\":{\"software\":[\"x\"]}}");
    ck_assert_int_eq(load(dir, &err), CW_E_CONFIG);
    ck_assert_msg(strstr(err.text, "a and b") != NULL && strstr(err.text, "software") != NULL, "%s", err.text);
    put(dir, "b.json", "{\"match\":{\"host_suffix\":[\".b.x.test\",\"whole.test\"]},\"count\":9}");
    struct cw_profiles *profiles = NULL;
    ck_assert_int_eq(cw_profiles_load(dir, &profiles, &err), CW_OK);
    static const struct {
        const char *host, *name;
    } rows[] = { { "h.b.x.test", "b" }, { "h.x.test", "a" }, { "whole.test", "b" }, { "a.whole.test", "default" }, { "x.test", "default" } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_profile_facts facts = { .host = cw_span_cstr(rows[i].host) };
        ck_assert_str_eq(cw_profiles_choose(profiles, &facts).profile->name, rows[i].name);
    }
    ck_assert_int_eq(get(profiles, "a")->count, 7); /* what a file leaves out comes from default.json */
    ck_assert_int_eq(get(profiles, "b")->count, 9);
    ck_assert_str_eq(get(profiles, "b")->scope_extra, "theirs");
    cw_profiles_free(profiles);
    put(dir, "a.json", NULL);
    put(dir, "b.json", NULL);
    put(dir, "default.json", NULL);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

Suite *profile_suite(void)
{
    Suite *suite = suite_create("profile");
    TCase *tcase = tcase_create("profile");
    tcase_add_test(tcase, shipped_profiles);
    tcase_add_test(tcase, choice_and_its_reason);
    tcase_add_test(tcase, quirk41_extra_query);
    tcase_add_test(tcase, bad_profiles_stop_the_start);
    tcase_add_test(tcase, two_profiles_that_fit);
    suite_add_tcase(suite, tcase);
    return suite;
}
