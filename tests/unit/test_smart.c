/* SPDX-License-Identifier: Apache-2.0 */
/* The room smart/: scopes here, the other suites in their own files. */
#include "config.h"

#include "model/lesson.h"
#include "smart/scope.h"

#include <signal.h>

#include "check_main.h"
#include "test_smart.h"

#define RS ((unsigned)CW_PERM_READ | (unsigned)CW_PERM_SEARCH)

START_TEST(grammar)
{
    static const struct {
        const char *text;
        enum cw_scope_context context;
        const char *type;
        unsigned permissions; /* 0: refused */
        const char *query;
        bool v2;
    } rows[] = {
        { "patient/Observation.read", CW_SCOPE_PATIENT, "Observation", RS, NULL, false },
        { "patient/*.read", CW_SCOPE_PATIENT, "*", RS, NULL, false },
        { "user/Practitioner.write", CW_SCOPE_USER, "Practitioner", 0x1f & ~RS, NULL, false },
        { "system/*.*", CW_SCOPE_SYSTEM, "*", 0x1f, NULL, false },
        { "patient/Observation.rs", CW_SCOPE_PATIENT, "Observation", RS, NULL, true },
        { "patient/Observation.s", CW_SCOPE_PATIENT, "Observation", CW_PERM_SEARCH, NULL, true },
        { "patient/Binary.r", CW_SCOPE_PATIENT, "Binary", CW_PERM_READ, NULL, true },
        { "patient/*.cruds", CW_SCOPE_PATIENT, "*", 0x1f, NULL, true },
        { "patient/Observation.rs?category=http://x|laboratory", CW_SCOPE_PATIENT, "Observation", RS,
          "category=http://x|laboratory", true },
        { "patient/Observation.sr", 0, NULL, 0, NULL, false },
        { "patient/Observation.rr", 0, NULL, 0, NULL, false },
        { "patient/Observation.", 0, NULL, 0, NULL, false },
        { "patient/Observation", 0, NULL, 0, NULL, false },
        { "patient/observation.read", 0, NULL, 0, NULL, false },
        { "patient/Obs1.read", 0, NULL, 0, NULL, false },
        { "patient/.read", 0, NULL, 0, NULL, false },
        { "patient/**.read", 0, NULL, 0, NULL, false },
        { "patient/Observation.rs?", 0, NULL, 0, NULL, false },
        { "patient/Observation.read?category=x", 0, NULL, 0, NULL, false },
        { "Patient/Observation.read", 0, NULL, 0, NULL, false },
        { "launch/patient", 0, NULL, 0, NULL, false },
        { "openid", 0, NULL, 0, NULL, false },
        { "", 0, NULL, 0, NULL, false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_scope scope;
        bool good = cw_scope_parse(cw_span_cstr(rows[i].text), &scope);
        ck_assert_msg(good == (rows[i].permissions != 0), "row %zu", i);
        if (good) {
            ck_assert_msg(scope.context == rows[i].context && scope.v2 == rows[i].v2, "row %zu", i);
            ck_assert_msg(cw_span_eq_cstr(scope.type, rows[i].type), "row %zu", i);
            ck_assert_msg(scope.permissions == rows[i].permissions, "row %zu", i);
            ck_assert_msg(rows[i].query == NULL ? scope.query.ptr == NULL : cw_span_eq_cstr(scope.query, rows[i].query),
                          "row %zu", i);
        }
    }
}
END_TEST

START_TEST(permits)
{
    struct cw_span granted = CW_SPAN("openid patient/Observation.s patient/Observation.read user/Practitioner.r "
                                     "system/Device.rs patient/Condition.rs?category=a patient/Goal.cud");
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Observation"), false), RS);
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Practitioner"), false), CW_PERM_READ);
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Device"), true), 0);
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Condition"), false), 0);
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Condition"), true), RS);
    ck_assert_uint_eq(cw_scope_permits(granted, CW_SPAN("Goal"), true) & RS, 0);
    ck_assert_uint_eq(cw_scope_permits(CW_SPAN("patient/*.rs"), CW_SPAN("Anything"), false), RS);
    ck_assert_uint_eq(cw_scope_permits(CW_SPAN(""), CW_SPAN("Anything"), true), 0);
    ck_assert(cw_scope_has(CW_SPAN("a openid b"), CW_SPAN("openid")));
    ck_assert(!cw_scope_has(CW_SPAN("openidx"), CW_SPAN("openid")));
}
END_TEST

START_TEST(compare)
{
    static const struct {
        const char *asked, *granted; /* granted NULL: not told */
        bool assumed, any, narrower, offline;
    } rows[] = {
        { "patient/*.read offline_access", "patient/*.read offline_access", false, true, false, true },
        { "patient/*.read", "patient/Condition.rs patient/*.rs", false, true, false, false },
        { "patient/Condition.read patient/Goal.read", "patient/Condition.rs", false, true, true, false },
        { "patient/*.rs", "patient/Condition.rs", false, true, true, false },
        { "patient/Observation.rs", "patient/Observation.r", false, true, true, false },
        { "patient/Condition.read", "fhirUser launch/patient openid", false, false, true, false },
        { "patient/Condition.read", "patient/Condition.write", false, false, true, false },
        { "patient/Condition.read", "system/Condition.read", false, false, true, false },
        { "patient/Condition.read offline_access", NULL, true, true, false, true },
        { "patient/Condition.read", " ", true, true, false, false },
        { "openid fhirUser launch/patient", NULL, true, true, false, false },
        { "openid fhirUser", "openid fhirUser patient/Condition.read", false, true, false, false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_scope_verdict v = cw_scope_compare(cw_span_cstr(rows[i].asked), cw_span_cstr(rows[i].granted));
        ck_assert_msg(v.assumed == rows[i].assumed && v.any_resource == rows[i].any && v.narrower == rows[i].narrower &&
                          v.offline == rows[i].offline,
                      "row %zu: %d %d %d %d", i, v.assumed, v.any_resource, v.narrower, v.offline);
    }
}
END_TEST

START_TEST(losses)
{
    static const struct {
        const char *asked, *granted, *type;
        enum cw_scope_loss loss;
    } rows[] = {
        { "patient/Observation.rs", "patient/Observation.rs", "Observation", CW_SCOPE_KEPT },
        { "patient/Observation.read", "patient/Observation.rs", "Observation", CW_SCOPE_KEPT },
        { "patient/Observation.rs", "patient/*.read", "Observation", CW_SCOPE_KEPT },
        { "patient/*.rs", "patient/Condition.rs", "Condition", CW_SCOPE_KEPT },
        { "patient/*.rs", "patient/Condition.rs", "Observation", CW_SCOPE_LOST },
        { "patient/Observation.rs", "openid patient/Condition.rs", "Observation", CW_SCOPE_LOST },
        { "patient/Observation.rs", "patient/Observation.r", "Observation", CW_SCOPE_LOST },
        { "patient/Observation.rs", "patient/Observation.s", "Observation", CW_SCOPE_KEPT },
        { "patient/Patient.rs", "patient/Patient.r", "Patient", CW_SCOPE_KEPT },
        { "patient/Patient.rs", "patient/Patient.s", "Patient", CW_SCOPE_LOST },
        { "patient/Observation.rs", "patient/Observation.rs?category=laboratory", "Observation", CW_SCOPE_PART },
        { "patient/Observation.rs?category=laboratory", "patient/Observation.rs?category=laboratory", "Observation", CW_SCOPE_KEPT },
        { "patient/Observation.rs", "system/Observation.rs", "Observation", CW_SCOPE_LOST },
        { "user/Practitioner.read", "user/Practitioner.r", "Practitioner", CW_SCOPE_LOST },
        { "patient/Observation.rs", "", "Observation", CW_SCOPE_KEPT },
        { "openid fhirUser", "patient/Condition.rs", "Observation", CW_SCOPE_KEPT },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_scope_loss loss = cw_scope_loss(cw_span_cstr(rows[i].asked), cw_span_cstr(rows[i].granted), cw_span_cstr(rows[i].type));
        ck_assert_msg(loss == rows[i].loss, "row %zu: %d", i, (int)loss);
    }
    static const char *const types[] = { "Patient", "Observation", "Goal" };
    CW_AUTO_STR out;
    cw_str_init(&out, 16);
    ck_assert_int_eq(cw_scope_lost_types(CW_SPAN("patient/*.rs"), CW_SPAN("patient/Patient.rs"), types, 3, &out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), "Observation Goal");
    ck_assert_int_eq(cw_scope_lost_types(CW_SPAN("patient/*.rs"), CW_SPAN("openid"), types, 3, &out), CW_E_TOO_BIG);
}
END_TEST

START_TEST(request)
{
    static const char *const types[] = { "Patient", "Observation", "Practitioner", "Goal" };
    static const struct cw_span oracle[] = { CW_SPAN("patient/Patient.read"), CW_SPAN("patient/Observation.s"),
                                             CW_SPAN("patient/Observation.read"), CW_SPAN("user/Practitioner.read"),
                                             CW_SPAN("patient/Patient.write"), CW_SPAN("openid") };
    static const struct cw_span both[] = { CW_SPAN("patient/*.cruds"), CW_SPAN("patient/*.rs"), CW_SPAN("patient/*.read") };
    static const struct cw_span split[] = { CW_SPAN("patient/Observation.s"), CW_SPAN("patient/Observation.r"),
                                            CW_SPAN("patient/Goal.rs?x=y") };
    static const struct cw_profile plain = { .scope_wildcard = -1, .scope_literal = "", .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile wild = { .scope_wildcard = 1, .scope_literal = "", .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile no_wild = { .scope_dialect = CW_SCOPE_V1, .scope_literal = "", .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile fixed = { .scope_dialect = CW_SCOPE_FIXED, .scope_wildcard = -1, .scope_literal = "",
                                             .scope_extra = "sandbox", .scope_drop = "offline_access" };
    static const struct cw_profile literal = { .scope_dialect = CW_SCOPE_LITERAL, .scope_literal = "openid x/y  z",
                                               .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile veradigm = { .scope_dialect = CW_SCOPE_V1, .scope_wildcard = 1, .scope_literal = "",
                                                .scope_extra = "fhiruser", .scope_drop = "fhirUser" };
#define LAUNCH "openid fhirUser launch/patient offline_access "
    const struct {
        const struct cw_profile *profile;
        const struct cw_span *scopes;
        size_t count;
        unsigned capabilities;
        const char *registered;
        const char *expected;
    } rows[] = {
        { &plain, NULL, 0, 0, NULL,
          LAUNCH "patient/Patient.read patient/Observation.read patient/Practitioner.read patient/Goal.read" },
        { &plain, NULL, 0, CW_CAP_PERMISSION_V2, NULL,
          LAUNCH "patient/Patient.rs patient/Observation.rs patient/Practitioner.rs patient/Goal.rs" },
        { &plain, both, 3, 0, NULL, LAUNCH "patient/*.rs" },
        { &no_wild, both, 3, 0, NULL, /* a wild card is all that is advertised: it says nothing against single types */
          LAUNCH "patient/Patient.read patient/Observation.read patient/Practitioner.read patient/Goal.read" },
        { &no_wild, oracle, 6, 0, "v2", LAUNCH "patient/Patient.read patient/Observation.s patient/Observation.read user/Practitioner.read" },
        { &plain, both, 3, 0, " v1 ", LAUNCH "patient/*.read" },
        { &plain, NULL, 0, 0, "v2", LAUNCH "patient/Patient.rs patient/Observation.rs patient/Practitioner.rs patient/Goal.rs" },
        { &wild, NULL, 0, 0, NULL, LAUNCH "patient/*.read" },
        { &wild, NULL, 0, CW_CAP_PERMISSION_V2, NULL, LAUNCH "patient/*.rs" },
        { &no_wild, oracle, 6, 0, NULL, LAUNCH "patient/Patient.read patient/Observation.read user/Practitioner.read" },
        { &plain, split, 3, 0, NULL, LAUNCH "patient/Observation.s patient/Observation.r" },
        { &fixed, both, 3, 0, NULL, "openid fhirUser launch/patient sandbox" },
        { &literal, both, 3, 0, NULL, "openid x/y z" },
        { &veradigm, NULL, 0, 0, NULL, "openid launch/patient offline_access patient/*.read fhiruser" },
        { &veradigm, NULL, 0, 0, " patient/*.rs  fhirUser ", "patient/*.rs fhirUser" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_discovery d = { .scopes = rows[i].scopes, .scope_count = rows[i].count, .capabilities = rows[i].capabilities };
        struct cw_scope_wish wish = { rows[i].profile, &d, cw_span_cstr(rows[i].registered), types, CW_ARRAY_LEN(types) };
        CW_AUTO_STR out;
        cw_str_init(&out, CW_SCOPE_MAX);
        ck_assert_int_eq(cw_scope_request(&wish, &out), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].expected) == 0, "row %zu: %s", i, cw_str_cstr(&out));
    }
    static char longest[CW_SCOPE_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    struct cw_discovery none = { .scopes = NULL };
    for (size_t len = CW_SCOPE_MAX - 1; len <= CW_SCOPE_MAX + 1; len++) {
        struct cw_scope_wish wish = { &plain, &none, cw_span_of(longest, len), types, 0 };
        CW_AUTO_STR out;
        cw_str_init(&out, 2 * CW_SCOPE_MAX);
        ck_assert_int_eq(cw_scope_request(&wish, &out), len > CW_SCOPE_MAX ? CW_E_TOO_BIG : CW_OK);
    }
}
END_TEST

/* Rules 2.3.7: what is asked after invalid_scope, step by step; a step that would ask for the same is passed over. */
START_TEST(rules_2_3_7_ladder)
{
    static const char *const types[] = { "Patient", "Goal" };
    static const struct cw_span star[] = { CW_SPAN("patient/*.rs") };
    static const struct cw_span single[] = { CW_SPAN("patient/Patient.rs"), CW_SPAN("patient/Goal.s"), CW_SPAN("patient/Goal.r") };
    static const struct cw_profile plain = { .scope_wildcard = -1, .scope_literal = "", .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile fixed = { .scope_dialect = CW_SCOPE_FIXED, .scope_literal = "", .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile literal = { .scope_dialect = CW_SCOPE_LITERAL, .scope_literal = "openid fhirUser offline_access",
                                               .scope_extra = "", .scope_drop = "" };
    static const struct cw_profile veradigm = { .scope_dialect = CW_SCOPE_V1, .scope_wildcard = 1, .scope_literal = "",
                                                .scope_extra = "fhiruser", .scope_drop = "fhirUser" };
    const struct {
        const struct cw_profile *profile;
        const struct cw_span *scopes;
        size_t count;
        const char *registered;
        unsigned wanted, step;
        const char *expected;
    } rows[] = {
        { &plain, star, 1, NULL, 0, 0, LAUNCH "patient/*.rs" },
        { &plain, star, 1, NULL, 1, 1, LAUNCH "patient/Patient.rs patient/Goal.rs" },
        { &plain, star, 1, NULL, 2, 2, LAUNCH "patient/*.read" },
        { &plain, star, 1, NULL, 3, 3, "openid launch/patient offline_access patient/*.rs" },
        { &plain, star, 1, NULL, 4, 4, "openid launch/patient patient/*.rs" },
        { &plain, star, 1, NULL, 5, 0, LAUNCH "patient/*.rs" },
        { &plain, single, 3, NULL, 0, 0, LAUNCH "patient/Patient.rs patient/Goal.s patient/Goal.r" },
        { &plain, single, 3, NULL, 1, 1, LAUNCH "patient/*.rs" },
        { &plain, single, 3, NULL, 2, 2, LAUNCH "patient/Patient.read patient/Goal.read" },
        { &plain, NULL, 0, "v1", 2, 3, "openid launch/patient offline_access patient/Patient.read patient/Goal.read" },
        { &fixed, NULL, 0, NULL, 1, 3, "openid launch/patient offline_access" },
        { &fixed, NULL, 0, NULL, 4, 4, "openid launch/patient" },
        { &literal, NULL, 0, NULL, 1, 0, "openid fhirUser offline_access" },
        { &plain, star, 1, "openid fhirUser x", 3, 0, "openid fhirUser x" },
        { &veradigm, NULL, 0, NULL, 3, 3, "openid launch/patient offline_access patient/*.read" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_discovery d = { .scopes = rows[i].scopes, .scope_count = rows[i].count };
        struct cw_scope_wish wish = { .profile = rows[i].profile, .discovery = &d, .registered = cw_span_cstr(rows[i].registered),
                                      .types = types, .type_count = CW_ARRAY_LEN(types), .step = rows[i].wanted };
        unsigned step = 99;
        CW_AUTO_STR out;
        cw_str_init(&out, CW_SCOPE_MAX);
        ck_assert_int_eq(cw_scope_climb(&wish, &step, &out), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].expected) == 0, "row %zu: %s", i, cw_str_cstr(&out));
        ck_assert_msg(step == rows[i].step, "row %zu: %u", i, step);
    }
    ck_assert_uint_eq(CW_SCOPE_STEP__COUNT, CW_SCOPE_STEP_LAST + 1u); /* model/lesson.h counts the same steps */
    ck_assert_uint_eq(CW_SCOPE_OTHER_DIALECT, CW_SCOPE_STEP_DIALECT);
}
END_TEST

Suite *scope_suite(void)
{
    Suite *suite = suite_create("scope");
    TCase *tcase = tcase_create("scope");
    tcase_add_test(tcase, grammar);
    tcase_add_test(tcase, permits);
    tcase_add_test(tcase, compare);
    tcase_add_test(tcase, losses);
    tcase_add_test(tcase, request);
    tcase_add_test(tcase, rules_2_3_7_ladder);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    return cw_check_main((Suite *const[]){ scope_suite(), discovery_suite(), authorize_suite(), token_suite(),
                                           identity_suite(), jwks_suite(), register_suite(), profile_suite(), smart_oom_suite(), NULL });
}
