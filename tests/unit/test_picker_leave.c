/* SPDX-License-Identifier: Apache-2.0 */
/* The picker's way out: what is known of the endpoint, which profile, which request, and by link or by form. */
#include "config.h"

#include "base/time.h"
#include "model/lesson.h"
#include "os/sys.h"
#include "test_picker.h"

/* A browser that has just opened a Session and chooses a source: where it is sent. */
static const char *choose(int source)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    return press("/start", ids[source]);
}

static int64_t asked(const char *path)
{
    int64_t count = 0;
    for (size_t i = 0; i < script_server_count(hospital); i++) {
        count += strcmp(script_server_request(hospital, i)->target, path) == 0 ? 1 : 0;
    }
    return count;
}

/* Rules 1.4, and what a server said once is all there while it is down: RFC 9207's flag, scopes, methods. */
START_TEST(rules_1_4_a_discovery_is_kept)
{
#define WELL_KNOWN "/kept/.well-known/smart-configuration"
    static const struct {
        int64_t shift_us;
        int64_t asked;  /* in all, after this start */
        bool leaves;
    } rows[] = {
        { 0, 1, true },
        { 59 * CW_MINUTE_US, 1, true },                    /* fresh */
        { 61 * CW_MINUTE_US, 2, true },                    /* 304 */
        { 119 * CW_MINUTE_US, 2, true },
        { 122 * CW_MINUTE_US, 3, true },                   /* 503: the kept one */
        { 131 * CW_MINUTE_US, 3, true },                   /* not asked again so soon */
        { 133 * CW_MINUTE_US, 4, true },
        { 61 * CW_MINUTE_US + 29 * CW_DAY_US, 5, true },
        { 62 * CW_MINUTE_US + 30 * CW_DAY_US, 6, false },  /* too old */
    };
    const char *authorize = script_server_url(hospital, "/authorize?");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        cw_clock_shift_us(rows[i].shift_us);
        const char *location = choose(KEPT);
        bool left = strncmp(location, authorize, strlen(authorize)) == 0;
        ck_assert_msg(left == rows[i].leaves, "row %zu: %s", i, location);
        ck_assert_msg(asked(WELL_KNOWN) == rows[i].asked, "row %zu: %d", i, (int)asked(WELL_KNOWN));
        ck_assert_msg(!left || strstr(location, "patient%2FPatient.r%20patient%2FObservation.s") != NULL, "row %zu: %s", i, location);
        int64_t flagged = cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"iss_parameter\":true%'");
        ck_assert_int_eq(flagged, (int64_t)i + (left ? 1 : 0));
    }
    cw_clock_shift_us(0);
    for (size_t i = 0, seen = 0; i < script_server_count(hospital); i++) {
        const struct script_request *request = script_server_request(hospital, i);
        const char *etag = script_request_header(request, "If-None-Match");
        if (strcmp(request->target, WELL_KNOWN) == 0) {
            ck_assert_msg(seen++ == 0 ? etag == NULL : strcmp(etag, "\"v1\"") == 0, "request %zu", i);
        }
    }
}
END_TEST

/* Rules 1.1.7. */
START_TEST(rules_1_1_7_only_r4)
{
    char result[512];
    snprintf(result, sizeof result, "%s", choose(OLD));
    expect(200, "GET", result + strlen(base), NULL, "is too old to hand out records");
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE failure_code = 'fhir_version_unsupported'"), 1);
    choose(OLD);
    ck_assert_int_eq(asked("/old/metadata"), 1); /* once */
}
END_TEST

/* Rules 0: chosen by what the CapabilityStatement says, unless the operator says otherwise; the reason is kept. */
START_TEST(rules_0_the_profile_and_its_reason)
{
    struct cw_err err = { .code = CW_OK };
    const char *location = choose(SOFT);
    ck_assert_ptr_nonnull(strstr(location, "scope=openid%20fhirUser%20launch%2Fpatient%20offline_access&"));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"profile\":\"epic\",\"profile_why\":\"software\"%'"), 1);
    must(cw_source_set_profile(&app.model, &operator, sources[SOFT], CW_SPAN("quest"), &err), &err, "profile");
    location = choose(SOFT);
    ck_assert_ptr_nonnull(strstr(location, "scope=offline_access%20launch%2Fpatient%20patient%2F%2A.read&"));
    ck_assert_ptr_null(strstr(location, "aud="));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"profile\":\"quest\",\"profile_why\":\"operator\"%'"), 1);
    ck_assert_int_eq(asked("/soft/metadata"), 1);
}
END_TEST

/* Rules 2.3.7 and 2.2: what the endpoint has taught goes into the next request, and into what the callback learns from. */
START_TEST(rules_2_3_7_the_next_request)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_source good;
    must(cw_source_get(&app.model, CW_ENV_SANDBOX, sources[GOOD], arena, &good, &err), &err, "source");
    struct cw_endpoint_try tried = { .endpoint = good.endpoint };
    CW_AUTO_STR first;
    cw_str_init(&first, 4096);
    (void)cw_str_add_cstr(&first, choose(GOOD));
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&first), "fhirUser"));
    struct cw_registration *list;
    size_t count = 0;
    must(cw_registration_list(&app.model, arena, &list, &count, &err), &err, "registrations");
    for (size_t i = 0; i < count; i++) {
        tried.registration = cw_ulid_eq(list[i].source.ulid, sources[GOOD].ulid) ? list[i].id : tried.registration;
    }
    tried.scope_step = CW_SCOPE_STEP_LAST - 1;
    must(cw_endpoint_learn(&app.model, &tried, CW_LESSON_SCOPE_REFUSED, &err), &err, "lesson");
    must(cw_endpoint_learn(&app.model, &tried, CW_LESSON_AUD_REFUSED, &err), &err, "lesson");
    const char *location = choose(GOOD);
    ck_assert_ptr_null(strstr(location, "fhirUser"));
    ck_assert_ptr_null(strstr(location, "offline_access"));
    ck_assert_ptr_nonnull(strstr(location, "%2Fgood%2F&code_challenge")); /* aud, published without its slash */
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&first), "%2Fgood&code_challenge"));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"scope_step\":4,\"aud_toggled\":true%'"), 1);
    /* what worked within the hour is pinned as such, so that the callback need not say it again */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"worked_lately\":true%'"), 0);
    tried.scope_step = CW_SCOPE_STEP_LAST;
    tried.aud_toggled = true;
    must(cw_endpoint_learn(&app.model, &tried, CW_LESSON_WORKED, &err), &err, "lesson");
    (void)choose(GOOD);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%\"worked_lately\":true%'"), 1);
    must(cw_endpoint_forget(&app.model, &operator, good.endpoint, &err), &err, "forget");
}
END_TEST

/* Rules 2.1: a request that is too long for a URL is a form of its own page, which needs no script and leads to the portal alone. */
START_TEST(rules_2_1_a_long_request_is_posted)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    char body[256];
    snprintf(body, sizeof body, "token=%s&source=%s", token, ids[LONG]);
    struct fcgi_answer page = ask("POST", "/start", body);
    ck_assert_int_eq(page.status, 200);
    char action[256];
    snprintf(action, sizeof action, "<form method=\"post\" action=\"%s\" data-go>", script_server_url(hospital, "/authorize?acr=1"));
    ck_assert_msg(strstr(page.body, action) != NULL, "%s", page.body);
    static const char *const fields[] = { "name=\"response_type\" value=\"code\"", "name=\"client_id\" value=\"our-client\"",
                                          "name=\"redirect_uri\" value=\"https://cw.test/callback/", "name=\"code_challenge_method\" value=\"S256\"",
                                          "patient/Observation.s patient/Observation.r ", "name=\"state\" value=\"", "<button" };
    for (size_t i = 0; i < CW_ARRAY_LEN(fields); i++) {
        ck_assert_msg(strstr(page.body, fields[i]) != NULL, "no %s in %s", fields[i], page.body);
    }
    ck_assert_ptr_null(strstr(page.body, "name=\"acr\""));
    char policy[128];
    snprintf(policy, sizeof policy, "form-action %s https:;", script_server_url(hospital, ""));
    ck_assert_msg(strstr(fcgi_header(&page, "Content-Security-Policy"), policy) != NULL, "%s", fcgi_header(&page, "Content-Security-Policy"));
    ck_assert_ptr_nonnull(strstr(page.head, "Cache-Control: no-store"));
    fcgi_answer_free(&page);
}
END_TEST

Suite *leave_suite(void)
{
    Suite *suite = suite_create("leave");
    TCase *tcase = tcase_create("leave");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, rules_1_4_a_discovery_is_kept);
    tcase_add_test(tcase, rules_1_1_7_only_r4);
    tcase_add_test(tcase, rules_0_the_profile_and_its_reason);
    tcase_add_test(tcase, rules_2_3_7_the_next_request);
    tcase_add_test(tcase, rules_2_1_a_long_request_is_posted);
    suite_add_tcase(suite, tcase);
    return suite;
}
