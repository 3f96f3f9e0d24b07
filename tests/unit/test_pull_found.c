/* SPDX-License-Identifier: Apache-2.0 */
/* What a page names and what it leaves out: which references become tasks, what is counted, and where a search that goes round ends. */
#include "config.h"

#include "test_pull.h"

#include <stdio.h>

#include "base/time.h"
#include "os/sys.h"

/* Commits one page of one record of a type, which names what is in `found`; gives how many tasks wait then. */
static unsigned names(const char *type, const char *id, bool named, const struct cw_task_new *found, size_t count)
{
    static unsigned n;
    struct cw_err err = { 0 };
    struct cw_record_batch *batch;
    struct cw_record_target target = { .patient = patient, .endpoint = connection.endpoint, .connection = connection.id,
                                       .source = connection.source, .pull = pull, .named = named };
    must(cw_record_batch_new(&target, &key, &batch, &err), &err);
    struct cw_record_in in = { .type = cw_span_cstr(type), .upstream_id = cw_span_cstr(id), .body = CW_SPAN("{}") };
    must(cw_record_batch_add(batch, &in, &in.body, 1, &err), &err);
    char url[64], next[64];
    (void)snprintf(url, sizeof url, "https://h.test/n/%u", n);
    (void)snprintf(next, sizeof next, "https://h.test/n/%u", ++n);
    struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id, .records = batch,
                                   .page_url = cw_span_cstr(url), .next_url = cw_span_cstr(next), .total = -1, .connection = connection.id,
                                   .endpoint = connection.endpoint, .found = found, .found_count = count };
    struct cw_page_result result;
    must(cw_pull_commit_page(&m, &page, &result, &err), &err);
    ck_assert(!result.ended);
    cw_record_batch_free(batch);
    return waiting().left;
}

#define REFERENCE(type, id) \
    { .kind = CW_TASK_REFERENCE, .resource_type = type, .ordinal = 100000, .url = CW_SPAN("https://h.test/fhir/" type "/" id), .target_id = CW_SPAN(id) }

START_TEST(references_to_what_is_there_make_no_task)
{
    plan(); /* Observations are searched, Goals and Practitioners are not */
    struct cw_err err = { 0 };
    struct cw_pull full;
    static const struct cw_task_new observations[] = { REFERENCE("Observation", "a"), REFERENCE("Observation", "later") };
    static const struct cw_task_new who[] = { REFERENCE("Practitioner", "p1") };
    ck_assert_uint_eq(names("Observation", "a", false, observations, 2), 2); /* "a" came with this page */
    ck_assert_uint_eq(names("Observation", "b", false, who, 1), 3);
    /* The search brings what waits. */
    ck_assert_uint_eq(names("Observation", "later", false, NULL, 0), 3);
    must(cw_pull_get(&m, pull, arena, &full, &err), &err);
    must(cw_pull_drop_stored(&m, "node/1", &job, &full, &err), &err);
    ck_assert_uint_eq(waiting().left, 2);
    /* What no search brings is good for a month after it was read. */
    ck_assert_uint_eq(names("Practitioner", "p1", true, NULL, 0), 2);
    must(cw_pull_drop_stored(&m, "node/1", &job, &full, &err), &err);
    ck_assert_uint_eq(waiting().left, 2);
    cw_test_db_sql(&test, "DELETE FROM pull_task WHERE kind = 3");
    ck_assert_uint_eq(names("Observation", "c", false, who, 1), 1);
    cw_test_db_sql(&test, "UPDATE record SET stored_at = UTC_TIMESTAMP(3) - INTERVAL 40 DAY");
    ck_assert_uint_eq(names("Observation", "d", false, who, 1), 1); /* looked at lately, and unchanged */
    cw_test_db_sql(&test, "UPDATE record_connection SET checked_at = UTC_TIMESTAMP(3) - INTERVAL 31 DAY");
    ck_assert_uint_eq(names("Observation", "e", false, who, 1), 2);
    /* A search that failed brings nothing: what it would have is asked one by one, when it is old. */
    cw_test_db_sql(&test, "UPDATE pull_task SET status = 3 WHERE kind = 2 AND resource_type = 'Goal'");
    static const struct cw_task_new goal[] = { REFERENCE("Goal", "g") };
    ck_assert_uint_eq(names("Goal", "g", false, goal, 1), 2);
    cw_test_db_sql(&test, "UPDATE record SET stored_at = UTC_TIMESTAMP(3) - INTERVAL 40 DAY");
    ck_assert_uint_eq(names("Observation", "f", false, goal, 1), 3);
    ck_assert_int_eq(cw_pull_drop_stored(&m, "other", &job, &full, &err), CW_E_CONFLICT);
}
END_TEST

static unsigned skipped(const char *type, const char *reason)
{
    struct cw_err err = { 0 };
    struct cw_pull_skip *skips;
    size_t count;
    must(cw_pull_skips(&m, pull, arena, &skips, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (cw_span_eq_cstr(skips[i].resource_type, type) && cw_span_eq_cstr(skips[i].reason, reason)) {
            return skips[i].count;
        }
    }
    return 0;
}

/* Budgets are of what is asked: what was named before takes none, references leave documents theirs, and what is over is counted. */
START_TEST(what_is_over_the_budgets_is_counted)
{
    plan();
    char sql[600];
    cw_test_db_sql(&test, "DELETE FROM pull_task WHERE kind = 3"); /* of other tests */
    static const struct cw_task_new first[] = { REFERENCE("Practitioner", "p1") };
    ck_assert_uint_eq(names("Observation", "a", false, first, 1), 2);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO pull_task (id, pull, kind, status, resource_type, ordinal, target_hash, url_sealed, key_version, ready_at, updated_at)"
                   " SELECT UNHEX(MD5(CONCAT('x', seq))), pull, 3, 2, 'Practitioner', 1, UNHEX(SHA2(seq, 256)), '', 1, ready_at, updated_at"
                   " FROM pull_task JOIN seq_1_to_%d WHERE kind = 3", CW_PULL_REFERENCES_MAX - 2);
    cw_test_db_sql(&test, sql);
    static const struct cw_task_new more[] = {
        REFERENCE("Practitioner", "p1"), REFERENCE("Practitioner", "p2"), REFERENCE("Practitioner", "p1"), REFERENCE("Organization", "o1"),
        REFERENCE("Practitioner", "p3"), REFERENCE("Practitioner", "p4"), REFERENCE("Observation", "covered"),
        { .kind = CW_TASK_DOCUMENT, .resource_type = "Binary", .ordinal = 100000, .url = CW_SPAN("https://h.test/fhir/Binary/b1") },
    };
    ck_assert_uint_eq(names("Observation", "b", false, more, CW_ARRAY_LEN(more)), 5); /* p2, the covered one and the document */
    ck_assert_uint_eq(skipped("Practitioner", CW_SKIP_OVER_LIMIT), 2);
    ck_assert_uint_eq(skipped("Organization", CW_SKIP_OVER_LIMIT), 1);
    ck_assert_uint_eq(skipped("Binary", CW_SKIP_OVER_LIMIT), 0);
    ck_assert(cw_pull_skip_is_loss(CW_SPAN(CW_SKIP_OVER_LIMIT)) && cw_pull_skip_is_loss(CW_SPAN(CW_SKIP_TOO_BIG)));
    ck_assert(!cw_pull_skip_is_loss(CW_SPAN(CW_SKIP_WRONG_PATIENT)));
}
END_TEST

START_TEST(skips_add_up_with_their_page)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_page_result result;
    const struct cw_pull_skip skips[] = { { CW_SPAN("Goal"), CW_SPAN(CW_SKIP_TOO_BIG), 2 }, { CW_SPAN("Goal"), CW_SPAN(CW_SKIP_BAD_ID), 1 } };
    for (int i = 0; i < 2; i++) {
        struct cw_record_batch *batch = batch_of(bodies, ids, 0);
        struct cw_page_commit page = { .owner = i == 0 ? "node/1" : "lost", .job = &job, .pull = pull, .task = waiting().tasks[0].id,
                                       .records = batch, .page_url = CW_SPAN("https://h.test/1"), .next_url = CW_SPAN("https://h.test/2"),
                                       .total = -1, .skips = skips, .skip_count = 2 };
        ck_assert_int_eq(cw_pull_commit_page(&m, &page, &result, &err), i == 0 ? CW_OK : CW_E_CONFLICT);
        cw_record_batch_free(batch);
    }
    ck_assert_uint_eq(skipped("Goal", CW_SKIP_TOO_BIG), 2);
    ck_assert_uint_eq(skipped("Goal", CW_SKIP_BAD_ID), 1);
    ck_assert_uint_eq(skipped("Goal", CW_SKIP_WRONG_PATIENT), 0);
}
END_TEST

/* Commits pages with these ids one after the other (NULL ends them, "" is an empty page), each with a next. Gives what the search ended with. */
static const char *ends_with(const char *const *pages)
{
    struct cw_err err = { 0 };
    struct cw_page_result result = { .ended = false };
    char url[64], next[64];
    plan();
    for (unsigned i = 0; pages[i] != NULL; i++) {
        ck_assert_msg(!result.ended, "ended before page %u", i);
        struct cw_record_batch *batch = batch_of(bodies, ids, 0);
        (void)snprintf(url, sizeof url, "https://h.test/e/%u", i);
        (void)snprintf(next, sizeof next, "https://h.test/e/%u", i + 1);
        struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id, .records = batch,
                                       .page_url = cw_span_cstr(url), .next_url = cw_span_cstr(next), .total = -1,
                                       .ids = cw_span_cstr(pages[i]) };
        must(cw_pull_commit_page(&m, &page, &result, &err), &err);
        cw_record_batch_free(batch);
    }
    struct cw_task *tasks;
    size_t count;
    must(cw_pull_tasks(&m, pull, arena, &tasks, &count, &err), &err);
    const char *code = cw_arena_text(arena, tasks[0].failure_code);
    ck_assert_int_eq(tasks[0].status, code == NULL || code[0] == '\0' ? CW_TASK_WAITING : CW_TASK_FAILED);
    return code == NULL ? "" : code;
}

START_TEST(pages_that_go_round_end_the_search)
{
    static const struct {
        const char *pages[9];
        const char *code;
    } rows[] = {
        { { "a", "b", "a", "b", "a" }, "paging_loop" }, /* under ever new URLs */
        { { "a", "a", "a", "a" }, "paging_loop" },
        { { "a", "b", "a", "b", "c", "a", "b" }, "" },
        { { "a", "", "", "", "b" }, "" },               /* three empty pages are legal */
        { { "a", "", "", "", "" }, "paging_empty" },
    };
    ck_assert_str_eq(ends_with(rows[_i].pages), rows[_i].code);
}
END_TEST

START_TEST(restarts_are_counted_and_stay)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_page_result result;
    for (unsigned i = 1; i <= 2; i++) {
        struct cw_record_batch *batch = batch_of(bodies, ids, 1);
        ck_assert_int_eq(commit(batch, "https://h.test/1", "https://h.test/2", "node/1", &result), CW_OK);
        cw_record_batch_free(batch);
        struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id,
                                           .code = "paging_expired", .http_status = 410, .retry_at_us = cw_now_us() - CW_SECOND_US,
                                           .restart = true };
        must(cw_pull_task_failed(&m, &failure, &err), &err);
        ck_assert_uint_eq(waiting().tasks[0].restarts, i);
    }
    /* Smaller pages are no restart of an expired session, and stay. */
    struct cw_task_failure smaller = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id, .code = "page_shrunk",
                                       .retry_at_us = cw_now_us() - CW_SECOND_US, .restart = true, .new_url = CW_SPAN("https://h.test/O?_count=1") };
    must(cw_pull_task_failed(&m, &smaller, &err), &err);
    struct cw_task task = waiting().tasks[0];
    ck_assert(task.first_page && task.restarts == 2 && cw_span_eq(task.url, smaller.new_url) && task.first_url.ptr == NULL);
    struct cw_record_batch *batch = batch_of(bodies, ids, 1);
    struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = task.id, .records = batch, .total = -1,
                                   .page_url = CW_SPAN("https://h.test/O"), .next_url = CW_SPAN("https://h.test/O?p=2"),
                                   .first_url = CW_SPAN("https://h.test/O") };
    must(cw_pull_commit_page(&m, &page, &result, &err), &err);
    cw_record_batch_free(batch);
    task = waiting().tasks[0];
    ck_assert(cw_span_eq(task.url, page.next_url) && cw_span_eq(task.first_url, page.first_url));
}
END_TEST

START_TEST(a_merged_patient_keeps_both_ids)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_pull full;
    bool ours, sure;
    must(cw_pull_get(&m, pull, arena, &full, &err), &err);
    must(cw_connection_merged(&m, &actor, connection.id, CW_SPAN("up-2"), &err), &err);
    static const struct {
        const char *id;
        bool ours;
    } rows[] = { { "up-1", true }, { "up-2", true }, { "up-3", false } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        must(cw_pull_is_patient(&m, &full, &key, cw_span_cstr(rows[i].id), &ours, &sure, &err), &err);
        ck_assert_msg(ours == rows[i].ours && sure, "%s", rows[i].id);
    }
    cw_test_db_sql(&test, "UPDATE pull_task SET kind = 1 WHERE status = 1");
    must(cw_pull_is_patient(&m, &full, &key, CW_SPAN("up-3"), &ours, &sure, &err), &err);
    ck_assert(!ours && !sure); /* the Patient is still to be read */
}
END_TEST

TCase *tcase_found(void)
{
    TCase *t = tcase_create("found");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, references_to_what_is_there_make_no_task);
    tcase_add_test(t, what_is_over_the_budgets_is_counted);
    tcase_add_test(t, skips_add_up_with_their_page);
    tcase_add_loop_test(t, pages_that_go_round_end_the_search, 0, 5);
    tcase_add_test(t, restarts_are_counted_and_stay);
    tcase_add_test(t, a_merged_patient_keeps_both_ids);
    return t;
}
