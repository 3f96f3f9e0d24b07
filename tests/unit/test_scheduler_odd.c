/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler and answers that are not what they should be: what is lost is told, and nothing is asked for ever. */
#include "config.h"

#include "test_scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"

#define ENTRY(rest) "{\"resource\":{\"resourceType\":\"Goal\"," rest "}}"

static char *odd_goals(const char *target, int *ret_status)
{
    (void)ret_status;
    if (strncmp(target, "/fhir/Observation", 17) == 0) {
        return strdup("{\"resourceType\":\"Bundle\",\"type\":\"searchset\"}");
    }
    if (strncmp(target, "/fhir/Goal", 10) != 0) {
        return NULL;
    }
    size_t big = (size_t)17 * 1024 * 1024;
    char *fill = malloc(big + 1);
    ck_assert_ptr_nonnull(fill);
    memset(fill, 'x', big);
    fill[big] = '\0';
    char *body = sched_text(
        "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[" ENTRY("\"note\":\"no id\"") "," ENTRY("\"id\":\"a b\"") ","
        ENTRY("\"id\":\"big\",\"note\":\"%s\"") "," ENTRY("\"id\":\"two\",\"id\":\"ids\"") "," ENTRY("\"id\":\"ours\",\"subject\":{\"reference\":\"Patient/up-1\"}") ","
        ENTRY("\"id\":\"theirs\",\"subject\":{\"reference\":\"Patient/up-2\"}") ","
        ENTRY("\"id\":\"theirs-too\",\"patient\":{\"reference\":\"%s/Patient/up-2\"}") ","
        ENTRY("\"id\":\"group\",\"subject\":{\"reference\":\"Group/up-2\"}") ","
        ENTRY("\"id\":\"inside\",\"subject\":{\"reference\":\"#p\"},\"contained\":[{\"subject\":{\"reference\":\"Patient/up-2\"}}]") ","
        ENTRY("\"id\":\"logical\",\"subject\":{\"identifier\":{\"value\":\"7\"}}") ","
        ENTRY("\"id\":\"paper\",\"presentedForm\":[{\"url\":\"%s\"},{\"url\":\"%s\"}]") ","
        "{\"search\":{\"mode\":\"match\"}}]}",
        fill, script_server_url(sched_hospital, "/fhir"), script_server_url(sched_stranger, "/file?secret=1"), "urn:uuid:1");
    free(fill);
    return body;
}

static int64_t goals_skipped(const char *reason)
{
    char sql[300];
    (void)snprintf(sql, sizeof sql, "SELECT COALESCE(SUM(count), 0) FROM pull_skip WHERE resource_type = 'Goal' AND reason = '%s'"
                   " AND pull = (SELECT id FROM pull WHERE status > 2 ORDER BY created_at DESC, id DESC LIMIT 1)", reason);
    return cw_test_db_number(&sched_test, sql);
}

START_TEST(what_is_not_taken_is_counted)
{
    sched_odd_answer = odd_goals;
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    static const struct {
        const char *reason;
        int64_t count;
    } rows[] = { { "no_id", 0 }, { "bad_id", 1 }, { "too_big", 1 }, { "ambiguous", 1 }, { "wrong_patient", 2 }, { "no_resource", 1 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(goals_skipped(rows[i].reason) == rows[i].count, "%s: %d", rows[i].reason, (int)goals_skipped(rows[i].reason));
    }
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record r JOIN patient p ON p.id = r.patient WHERE r.resource_type = 'Goal' AND"
                                       " p.id = (SELECT id FROM patient ORDER BY created_at DESC, id DESC LIMIT 1)"), 6);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id LIKE 'hash-%' AND LENGTH(upstream_id) = 37"), 1);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id LIKE 'theirs%'"), 0);
    /* Where an attachment lies elsewhere is told, and not asked. */
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM pull_task WHERE kind = 4 AND status = 4 AND failure_code = 'off_origin'"), 1);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM pull_task WHERE kind = 4 AND status = 4 AND failure_code = 'url_refused'"), 1);
    ck_assert_uint_eq(script_server_count(sched_stranger), 0);
    sched_stop_daemon(pid);
}
END_TEST

static char *another_patient(const char *target, int *ret_status)
{
    (void)ret_status;
    return strcmp(target, "/fhir/Patient/up-1") == 0 ? strdup("{\"resourceType\":\"Patient\",\"id\":\"up-2\"}") : NULL;
}

START_TEST(another_patient_than_ours_is_no_answer)
{
    sched_odd_answer = another_patient;
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count;
    sched_must(cw_pull_tasks(&sched_model, sched_pull, sched_arena, &tasks, &count, &err), &err);
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    const struct cw_task *task = sched_task_of(tasks, count, "wrong_patient");
    ck_assert_ptr_nonnull(task);
    ck_assert_int_eq(task->kind, CW_TASK_READ);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id = 'up-2'"), 0);
    sched_stop_daemon(pid);
}
END_TEST

static char *expiring_pages(const char *target, int *ret_status)
{
    if (strncmp(target, "/fhir/Goal", 10) != 0) {
        return NULL;
    }
    if (strstr(target, "page=2") != NULL) {
        *ret_status = 410;
        return strdup("");
    }
    return sched_bundle("first", "Goal?page=2");
}

START_TEST(paging_that_always_expires_ends)
{
    sched_odd_answer = expiring_pages;
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count;
    sched_must(cw_pull_tasks(&sched_model, sched_pull, sched_arena, &tasks, &count, &err), &err);
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    ck_assert_ptr_nonnull(sched_task_of(tasks, count, "paging_expired"));
    unsigned firsts = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        const char *target = script_server_request(sched_hospital, i)->target;
        firsts += strncmp(target, "/fhir/Goal", 10) == 0 && strstr(target, "page=2") == NULL;
    }
    ck_assert_uint_eq(firsts, 4); /* once, and three times anew */
    sched_stop_daemon(pid);
}
END_TEST

/* The second page is too big (more entries than we take) until it is asked for in tens. */
static char *big_pages(const char *target, int *ret_status)
{
    (void)ret_status;
    if (strncmp(target, "/fhir/Goal", 10) != 0) {
        return NULL;
    }
    const char *count = strstr(target, "_count=");
    unsigned per_page = count == NULL ? 50 : (unsigned)strtoul(count + 7, NULL, 10);
    if (strstr(target, "page=2") == NULL) {
        char next[64];
        (void)snprintf(next, sizeof next, "Goal?page=2&_count=%u", per_page);
        return sched_bundle("first", next);
    }
    if (per_page <= 12) {
        return sched_bundle("second", NULL);
    }
    CW_AUTO_STR body;
    cw_str_init(&body, (size_t)1024 * 1024);
    cw_str_add_cstr(&body, "{\"resourceType\":\"Bundle\",\"entry\":[{}");
    for (unsigned i = 0; i < CW_FHIR_ENTRIES_MAX; i++) {
        cw_str_add_cstr(&body, ",{}");
    }
    cw_str_add_cstr(&body, "]}");
    return cw_str_take(&body);
}

START_TEST(pages_that_are_too_big_are_asked_for_smaller)
{
    sched_odd_answer = big_pages;
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count;
    sched_must(cw_pull_tasks(&sched_model, sched_pull, sched_arena, &tasks, &count, &err), &err);
    (void)ended;
    for (size_t i = 0; i < count; i++) {
        ck_assert(!cw_span_eq_cstr(tasks[i].resource_type, "Goal") || tasks[i].status == CW_TASK_DONE);
    }
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id IN ('first', 'second') AND patient ="
                                       " (SELECT id FROM patient ORDER BY created_at DESC, id DESC LIMIT 1)"), 2);
    sched_stop_daemon(pid);
}
END_TEST

/* A page with a byte that is no text, a warning in it, and in the next search JSON that breaks off at its second entry. */
static char *broken_pages(const char *target, int *ret_status)
{
    (void)ret_status;
    if (strncmp(target, "/fhir/Goal", 10) == 0) {
        return strdup("{\"resourceType\":\"Bundle\",\"entry\":[" ENTRY("\"id\":\"latin\",\"note\":\"caf\xe9\"") "," ENTRY("\"id\":\"good\"") ","
                      "{\"resource\":{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\",\"code\":\"suppressed\",\"details\":"
                      "{\"coding\":[{\"code\":\"59204\"},{\"code\":\"4101\"}]}}]},\"search\":{\"mode\":\"outcome\"}}]}");
    }
    if (strncmp(target, "/fhir/Observation", 17) != 0 || strstr(target, "category") != NULL) {
        return strncmp(target, "/fhir/Observation", 17) == 0 ? strdup("{\"resourceType\":\"Bundle\"}") : NULL;
    }
    if (strstr(target, "_count=1") != NULL && strstr(target, "page=2") == NULL) {
        return sched_bundle("before", "Observation?page=2&_count=1");
    }
    return strdup("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"broken\",}}]}");
}

START_TEST(one_broken_entry_costs_no_page)
{
    sched_odd_answer = broken_pages;
    pid_t pid = sched_start_daemon();
    ck_assert_int_eq(sched_wait_for_end().status, CW_PULL_PARTIAL); /* the broken Observation and what may come behind it */
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id IN ('latin', 'good', 'before') AND patient ="
                                       " (SELECT id FROM patient ORDER BY created_at DESC, id DESC LIMIT 1)"), 3);
    ck_assert_int_eq(goals_skipped("text_repaired"), 1);
    ck_assert_int_eq(goals_skipped("said_59204"), 1);
    ck_assert_int_eq(goals_skipped("said_4101"), 0);
    sched_stop_daemon(pid);
}
END_TEST

/* Faults on what it brings along, and refuses _count by its name. */
static char *picky(const char *target, int *ret_status)
{
    if (strncmp(target, "/fhir/metadata", 14) == 0) {
        return strdup("{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"rest\":[{\"mode\":\"server\",\"resource\":["
                      "{\"type\":\"Goal\",\"interaction\":[{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"patient\"}],"
                      "\"searchRevInclude\":[\"Provenance:target\"]}]}]}");
    }
    if (strncmp(target, "/fhir/Goal", 10) != 0) {
        return NULL;
    }
    if (strstr(target, "_revinclude") != NULL) {
        *ret_status = 500;
        return strdup("");
    }
    if (strstr(target, "_count") != NULL) {
        *ret_status = 400;
        return strdup("{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"_count?\"}]}");
    }
    return sched_bundle("after-all", NULL);
}

START_TEST(what_breaks_a_search_is_left_out)
{
    sched_odd_answer = picky;
    pid_t pid = sched_start_daemon();
    (void)sched_wait_for_end();
    unsigned asked = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        const struct script_request *request = script_server_request(sched_hospital, i);
        const char *bearer = script_request_header(request, "Authorization"); /* the first may come with the old token */
        asked += strncmp(request->target, "/fhir/Goal", 10) == 0 && bearer != NULL && strcmp(bearer, "Bearer access-2") == 0;
    }
    ck_assert_uint_eq(asked, 4); /* twice whole, without what it brings along, without _count */
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id = 'after-all'"), 1);
    sched_stop_daemon(pid);
}
END_TEST

static char *papers(const char *target, int *ret_status)
{
    (void)ret_status;
    if (strncmp(target, "/fhir/Goal", 10) != 0) {
        return NULL;
    }
    return strdup("{\"resourceType\":\"Bundle\",\"entry\":[" ENTRY("\"id\":\"papers\",\"presentedForm\":["
        "{\"url\":\"files/good\",\"contentType\":\"application/pdf; v=1\",\"size\":6,\"hash\":\"TBji7B0ebZ5T9XSZpmrraR1oc3A=\"},"
        "{\"url\":\"files/other\",\"contentType\":\"application/pdf\",\"size\":6,\"hash\":\"TBji7B0ebZ5T9XSZpmrraR1oc3A=\"},"
        "{\"url\":\"files/login\",\"contentType\":\"application/pdf\"},{\"url\":\"files/page\",\"contentType\":\"text/html\"},"
        "{\"url\":\"files/page-login\"},{\"url\":\"Binary/b1\",\"contentType\":\"application/pdf\"}]") "]}");
}

static int64_t documents_of_status(int status)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM document WHERE status = %d AND patient = (SELECT id FROM patient ORDER BY created_at DESC, id DESC LIMIT 1)", status);
    return cw_test_db_number(&sched_test, sql);
}

START_TEST(files_are_what_their_attachments_say)
{
    sched_odd_answer = papers;
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count;
    unsigned wrong = 0;
    sched_must(cw_pull_tasks(&sched_model, sched_pull, sched_arena, &tasks, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        wrong += tasks[i].kind == CW_TASK_DOCUMENT && tasks[i].failure_code.ptr != NULL && cw_span_eq_cstr(tasks[i].failure_code, "wrong_content");
    }
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    ck_assert_uint_eq(wrong, 2); /* a sign-in page where a PDF should be, and one that nothing was said of */
    ck_assert_int_eq(documents_of_status(CW_DOCUMENT_WHOLE), 3); /* the good one, the page that is a document, and the Binary in its own form */
    ck_assert_int_eq(documents_of_status(CW_DOCUMENT_DIFFERS), 1);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT SUM(count) FROM pull_skip WHERE reason = 'content_differs'"), 1);
    sched_stop_daemon(pid);
}
END_TEST

TCase *scheduler_odd_tcase(void)
{
    TCase *t = tcase_create("odd answers");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, sched_setup, sched_teardown);
    tcase_add_test(t, what_is_not_taken_is_counted);
    tcase_add_test(t, another_patient_than_ours_is_no_answer);
    tcase_add_test(t, paging_that_always_expires_ends);
    tcase_add_test(t, pages_that_are_too_big_are_asked_for_smaller);
    tcase_add_test(t, one_broken_entry_costs_no_page);
    tcase_add_test(t, what_breaks_a_search_is_left_out);
    tcase_add_test(t, files_are_what_their_attachments_say);
    return t;
}
