/* SPDX-License-Identifier: Apache-2.0 */
/* Watermarks, what a server's filter was found to do, and records that a source no longer has, against a real MariaDB. */
#include "config.h"

#include <check.h>
#include <stdio.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/vanish.h"
#include "model/watermark.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

#define MOST 3000

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node/1" };
static struct cw_org_id org;
static struct cw_patient_row patient;
static struct cw_connection connection;
static struct cw_data_key key;
static struct cw_pull_id pull;
static struct cw_job job;

#define NUMBER(sql) cw_test_db_number(&test, sql)
#define VANISHED "SELECT COUNT(*) FROM record WHERE vanished_at IS NOT NULL"

static void must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    (void)arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },           .org = org,
                                  .patient = patient,                .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },       .registration = { cw_ulid_new() },
                                  .session = { cw_ulid_new() },      .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/*.rs"), .pinned = CW_SPAN("{}") };
    connection = (struct cw_connection){ .org = org, .patient = patient, .endpoint = put.endpoint, .source = put.source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &connection.id, err);
    }
    struct grant_put grant = { .access_token = CW_SPAN("access-1"), .refresh_token = CW_SPAN("refresh-1"), .obtained_us = cw_now_us(),
                               .expires_us = cw_now_us() + CW_HOUR_US };
    if (rc == CW_OK) {
        rc = grant_put(db, &key, connection.id, &grant, arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&m, db, &connection, CW_PULL_CONNECTED, &pull, err) : rc;
}

static void claim(void)
{
    struct cw_err err = { 0 };
    size_t count = 0;
    must(cw_job_claim(&m, "node/1", 60 * CW_SECOND_US, 1, &job, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    pull.ulid = job.subject;
}

static void setup(void)
{
    static unsigned n;
    char name[32];
    struct cw_err err = { 0 };
    arena = cw_arena_new((size_t)256 * 1024 * 1024);
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    cw_test_db_sql(&test, "DELETE FROM job");
    cw_test_db_sql(&test, "DELETE FROM record");
    must(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    must(cw_tx_pool(m.pool, connect_tx, NULL, &err), &err);
    claim();
}

static void teardown(void)
{
    cw_data_key_wipe(&key);
    cw_arena_free(arena);
}

/* ---------------------------------------------------------------------------------------------- a pull by hand */

static struct cw_pull whole(void)
{
    struct cw_err err = { 0 };
    struct cw_pull ret;
    must(cw_pull_get(&m, pull, arena, &ret, &err), &err);
    return ret;
}

static struct cw_task first_waiting(unsigned *ret_left)
{
    struct cw_err err = { 0 };
    struct cw_pull row = whole();
    struct cw_waiting waiting;
    must(cw_pull_waiting(&m, &row, 100, arena, &waiting, &err), &err);
    *ret_left = waiting.left;
    return waiting.count > 0 ? waiting.tasks[0] : (struct cw_task){ .ordinal = 0 };
}

static void plan(void)
{
    static const struct cw_task_new tasks[] = {
        { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .url = CW_SPAN("https://h.test/fhir/Observation?patient=up-1") },
        { .kind = CW_TASK_SEARCH, .resource_type = "Condition", .ordinal = 1, .url = CW_SPAN("https://h.test/fhir/Condition?patient=up-1") },
    };
    struct cw_err err = { 0 };
    must(cw_pull_plan(&m, "node/1", &job, pull, CW_SPAN("[]"), tasks, 2, &err), &err);
}

/* Commits the next waiting task as one page of Observations from..to, all last updated at a time. */
static struct cw_page_result page_of(unsigned from, unsigned to, int64_t updated_us)
{
    struct cw_err err = { 0 };
    struct cw_record_batch *batch;
    struct cw_record_target target = { .patient = patient, .endpoint = connection.endpoint, .connection = connection.id,
                                       .source = connection.source, .pull = pull, .keep_seen = whole().mode == CW_PULL_FULL };
    unsigned left;
    must(cw_record_batch_new(&target, &key, &batch, &err), &err);
    for (unsigned i = from; i < to; i++) {
        struct cw_record_in in = { .type = CW_SPAN("Observation"),
                                   .upstream_id = cw_span_cstr(cw_arena_printf(arena, "o%u", i)),
                                   .body = cw_span_cstr(cw_arena_printf(arena, "{\"resourceType\":\"Observation\",\"id\":\"o%u\"}", i)),
                                   .upstream_updated_us = updated_us };
        must(cw_record_batch_add(batch, &in, &in.body, 1, &err), &err);
    }
    struct cw_task task = first_waiting(&left);
    ck_assert_uint_gt(left, 0);
    struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = task.id, .records = batch,
                                   .page_url = task.url, .total = -1, .received = to - from };
    struct cw_page_result result;
    must(cw_pull_commit_page(&m, &page, &result, &err), &err);
    cw_record_batch_free(batch);
    return result;
}

static void fail_task(const char *code)
{
    struct cw_err err = { 0 };
    unsigned left;
    struct cw_task task = first_waiting(&left);
    const struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = task.id, .code = code };
    must(cw_pull_task_failed(&m, &failure, &err), &err);
}

static struct cw_vanish_asked ask(void)
{
    struct cw_err err = { 0 };
    struct cw_pull row = whole();
    struct cw_vanish_asked asked;
    must(cw_vanish_ask(&m, "node/1", &job, &row, CW_SPAN("https://h.test/fhir"), &asked, &err), &err);
    return asked;
}

static void end(void)
{
    struct cw_err err = { 0 };
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{}") };
    must(cw_vanish_settle(&m, pull, &err), &err);
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM pull_seen") + NUMBER("SELECT COUNT(*) FROM pull_candidate"), 0);
}

static void next_pull(enum cw_pull_mode mode)
{
    cw_test_db_sql(&test, mode == CW_PULL_FULL ? "UPDATE pull SET mode = 1 WHERE status = 1" : "UPDATE pull SET mode = 2 WHERE status = 1");
    cw_test_db_sql(&test, "UPDATE job SET ready_at = UTC_TIMESTAMP(3) WHERE ready_at IS NOT NULL");
    claim();
    plan();
}

/* A full pull of Observations 0..count and no Conditions. */
static void first_pull(unsigned count, int64_t updated_us)
{
    plan();
    (void)page_of(0, count, updated_us);
    (void)page_of(0, 0, 0);
    ck_assert_uint_eq(ask().tasks, 0);
    end();
}

static int64_t mark_of(const char *type)
{
    struct cw_err err = { 0 };
    struct cw_watermark *list;
    size_t count;
    must(cw_watermark_list(&m, connection.id, arena, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (cw_span_eq_cstr(list[i].type, type)) {
            ck_assert(list[i].any == (strcmp(type, "Observation") == 0));
            return list[i].since_us;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the tests */

START_TEST(a_watermark_is_the_safe_one)
{
    static const struct {
        int64_t start_s, newest_s, wanted_s;
    } rows[] = {
        { 10000, 5000, 4400 },   /* what was seen last, less ten minutes */
        { 10000, 0, 9400 },      /* nothing told when */
        { 10000, 10000, 9400 },
        { 10000, 20000, 9400 },  /* changed while we pulled */
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_watermark_of(rows[i].start_s * CW_SECOND_US, rows[i].newest_s * CW_SECOND_US) == rows[i].wanted_s * CW_SECOND_US, "row %zu", i);
    }
}
END_TEST

START_TEST(watermarks_move_where_everything_came)
{
    int64_t then_us = (cw_now_us() - 3 * CW_DAY_US) / 1000 * 1000;
    first_pull(3, then_us);
    ck_assert(mark_of("Observation") == then_us - CW_WATERMARK_OVERLAP_US);
    int64_t empty_us = mark_of("Condition"), now_us = cw_now_us();
    ck_assert(empty_us > now_us - CW_WATERMARK_OVERLAP_US - CW_MINUTE_US && empty_us <= now_us - CW_WATERMARK_OVERLAP_US);
    /* One type comes, the other does not; a time in the future is nobody's. */
    next_pull(CW_PULL_INCREMENTAL);
    (void)page_of(3, 5, then_us + CW_DAY_US);
    fail_task("unavailable");
    end();
    ck_assert(mark_of("Observation") == then_us + CW_DAY_US - CW_WATERMARK_OVERLAP_US);
    ck_assert(mark_of("Condition") == empty_us);
    next_pull(CW_PULL_INCREMENTAL);
    (void)page_of(5, 6, cw_now_us() + 400 * CW_DAY_US);
    fail_task("query_refused");
    end();
    ck_assert(mark_of("Observation") == then_us + CW_DAY_US - CW_WATERMARK_OVERLAP_US);
    ck_assert(mark_of("Condition") == 0); /* refused with its filter: asked for whole */
    ck_assert_int_eq(NUMBER("SELECT created FROM pull ORDER BY ended_at DESC LIMIT 1"), 1);
    /* A full pull begins from nothing, so that what fails in it is asked for whole. */
    next_pull(CW_PULL_FULL);
    ck_assert(mark_of("Observation") == 0);
    fail_task("unavailable");
    (void)page_of(0, 0, 0);
    end();
    ck_assert(mark_of("Observation") == 0);
    ck_assert(mark_of("Condition") != 0);
}
END_TEST

START_TEST(a_clock_behind_ours_is_allowed_for)
{
    plan();
    (void)page_of(0, 0, 0);
    (void)page_of(0, 0, 0);
    struct cw_err err = { 0 };
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{}"), .skew_us = -CW_HOUR_US };
    int64_t started_us = whole().started_us;
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
    ck_assert(mark_of("Condition") == started_us - CW_HOUR_US - CW_WATERMARK_OVERLAP_US);
}
END_TEST

START_TEST(what_a_filter_does_is_remembered_by_software)
{
    struct cw_err err = { 0 };
    struct cw_filter_memory *list;
    size_t count;
    const struct cw_filter_memory real = { CW_SPAN("Observation"), CW_FILTER_REAL }, ignored = { CW_SPAN("Observation"), CW_FILTER_IGNORED };
    must(cw_filter_memory_put(&m, connection.endpoint, CW_SPAN("Server 1"), &real, &err), &err);
    must(cw_filter_memory_list(&m, connection.endpoint, CW_SPAN("Server 1"), arena, &list, &count, &err), &err);
    ck_assert(count == 1 && list[0].test == CW_FILTER_REAL && cw_span_eq_cstr(list[0].type, "Observation"));
    must(cw_filter_memory_list(&m, connection.endpoint, CW_SPAN("Server 2"), arena, &list, &count, &err), &err);
    ck_assert_uint_eq(count, 0);
    must(cw_filter_memory_put(&m, connection.endpoint, (struct cw_span){ NULL, 0 }, &ignored, &err), &err);
    must(cw_filter_memory_list(&m, connection.endpoint, (struct cw_span){ NULL, 0 }, arena, &list, &count, &err), &err);
    ck_assert(count == 1 && list[0].test == CW_FILTER_IGNORED);
}
END_TEST

START_TEST(what_has_gone_is_asked_for_and_marked)
{
    first_pull(30, 0);
    next_pull(CW_PULL_FULL);
    ck_assert_uint_eq(page_of(0, 26, 0).unchanged, 26);
    (void)page_of(0, 0, 0);
    struct cw_vanish_asked asked = ask();
    ck_assert(asked.tasks == 4 && asked.suspected == 0);
    ck_assert_uint_eq(ask().tasks, 0); /* once */
    unsigned left;
    struct cw_task task = first_waiting(&left);
    ck_assert_uint_eq(left, 4);
    ck_assert(task.kind == CW_TASK_REFERENCE && cw_span_eq_cstr(task.resource_type, "Observation"));
    ck_assert(cw_span_starts(task.url, CW_SPAN("https://h.test/fhir/Observation/o2")));
    fail_task("not_found");
    fail_task("gone");
    fail_task("no_access");
    ck_assert_uint_eq(page_of(29, 30, 0).unchanged, 1); /* there after all */
    int64_t last = NUMBER("SELECT MAX(change_seq) FROM record");
    end();
    ck_assert_int_eq(NUMBER(VANISHED), 2);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record WHERE vanished_at IS NOT NULL AND stored_at = vanished_at"), 2);
    ck_assert_int_eq(NUMBER("SELECT MAX(change_seq) FROM record"), last + 2);
    ck_assert_int_eq(NUMBER("SELECT MAX(change_seq) FROM patient"), last + 2);
    struct cw_pull row = whole();
    ck_assert(row.vanished == 2 && row.errors == 1 && row.created == 0 && row.vanish_suspected == 0);
    /* Seen again, and as it was: it loses the mark, in an incremental pull too, and is listed anew. */
    next_pull(CW_PULL_INCREMENTAL);
    ck_assert_uint_eq(page_of(0, 30, 0).stored, 2);
    ck_assert_int_eq(NUMBER(VANISHED), 0);
    ck_assert_int_eq(NUMBER("SELECT MAX(change_seq) FROM record"), last + 4);
}
END_TEST

START_TEST(too_many_are_not_believed)
{
    static const struct {
        unsigned held, left, tasks, suspected;
    } rows[] = {
        { 100, 80, 20, 0 },  /* no more than twenty */
        { 100, 79, 0, 1 },
        { 105, 84, 21, 0 },  /* no more than a fifth */
        { 30, 9, 0, 1 },
        { 30, 10, 20, 0 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        if (i > 0) {
            teardown();
            setup();
        }
        first_pull(rows[i].held, 0);
        next_pull(CW_PULL_FULL);
        (void)page_of(0, rows[i].left, 0);
        (void)page_of(0, 0, 0);
        struct cw_vanish_asked asked = ask();
        ck_assert_msg(asked.tasks == rows[i].tasks && asked.suspected == rows[i].suspected, "row %zu: %u tasks, %u suspected", i, asked.tasks, asked.suspected);
        ck_assert_msg(whole().vanish_suspected == rows[i].suspected, "row %zu", i);
        for (unsigned n = 0; n < asked.tasks; n++) {
            fail_task("not_found");
        }
        end();
        ck_assert_int_eq(NUMBER(VANISHED), rows[i].tasks);
    }
}
END_TEST

/* A scheduler that lost its lease makes no tasks; a pull that is asked to go on by the next is asked once all the same. */
START_TEST(a_lost_lease_asks_for_nothing)
{
    first_pull(5, 0);
    next_pull(CW_PULL_FULL);
    (void)page_of(0, 4, 0);
    (void)page_of(0, 0, 0);
    struct cw_err err = { 0 };
    struct cw_pull row = whole();
    struct cw_vanish_asked asked;
    unsigned left;
    ck_assert_int_eq(cw_vanish_ask(&m, "node/2", &job, &row, CW_SPAN("https://h.test/fhir"), &asked, &err), CW_E_CONFLICT);
    (void)first_waiting(&left);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(ask().tasks, 1);
    /* The next scheduler finds the task, and once that has ended nothing more. */
    fail_task("not_found");
    must(cw_vanish_settle(&m, pull, &err), &err);
    ck_assert_uint_eq(ask().tasks, 0);
    end();
    ck_assert_int_eq(NUMBER(VANISHED), 1);
    ck_assert_uint_eq(whole().errors, 0);
}
END_TEST

/* What did not come because its search failed is not missing, nor what another connection holds. */
START_TEST(who_cannot_be_judged_is_left)
{
    first_pull(5, 0);
    next_pull(CW_PULL_FULL);
    fail_task("no_access");
    (void)page_of(0, 0, 0);
    ck_assert_uint_eq(ask().tasks, 0);
    end();
    next_pull(CW_PULL_FULL);
    (void)page_of(0, 4, 0);
    (void)page_of(0, 0, 0);
    cw_test_db_sql(&test, "INSERT INTO record_connection (connection, record, first_pull) SELECT RANDOM_BYTES(16), id, RANDOM_BYTES(16) FROM record");
    ck_assert_uint_eq(ask().tasks, 0);
    end();
    ck_assert_int_eq(NUMBER(VANISHED), 0);
}
END_TEST

/* Triggers count every row that is touched. */
START_TEST(an_unchanged_pull_writes_no_record)
{
    first_pull(MOST, 0);
    cw_test_db_sql(&test, "CREATE TABLE touched (n INT) ENGINE=InnoDB");
    static const char *const triggers[] = { "record", "record_connection" };
    for (size_t i = 0; i < CW_ARRAY_LEN(triggers); i++) {
        static const char *const acts[] = { "INSERT", "UPDATE", "DELETE" };
        for (size_t n = 0; n < CW_ARRAY_LEN(acts); n++) {
            char sql[200];
            (void)snprintf(sql, sizeof sql, "CREATE TRIGGER touch_%zu_%zu AFTER %s ON %s FOR EACH ROW INSERT INTO touched VALUES (1)", i, n, acts[n], triggers[i]);
            cw_test_db_sql(&test, sql);
        }
    }
    int64_t seq = NUMBER("SELECT MAX(change_seq) FROM patient");
    next_pull(CW_PULL_FULL);
    struct cw_page_result result = page_of(0, MOST, 0);
    ck_assert(result.stored == 0 && result.unchanged == MOST);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM pull_seen"), 1); /* a row a page */
    (void)page_of(0, 0, 0);
    ck_assert_uint_eq(ask().tasks, 0);
    end();
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM touched"), 0);
    ck_assert_int_eq(NUMBER("SELECT MAX(change_seq) FROM patient"), seq);
    /* It would have been seen. */
    next_pull(CW_PULL_FULL);
    (void)page_of(MOST, MOST + 1, 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM touched"), 2);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("incremental");
    TCase *t = tcase_create("incremental");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_watermark_is_the_safe_one);
    tcase_add_test(t, watermarks_move_where_everything_came);
    tcase_add_test(t, a_clock_behind_ours_is_allowed_for);
    tcase_add_test(t, what_a_filter_does_is_remembered_by_software);
    tcase_add_test(t, what_has_gone_is_asked_for_and_marked);
    tcase_add_test(t, too_many_are_not_believed);
    tcase_add_test(t, a_lost_lease_asks_for_nothing);
    tcase_add_test(t, who_cannot_be_judged_is_left);
    tcase_add_test(t, an_unchanged_pull_writes_no_record);
    suite_add_tcase(s, t);
    return s;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    struct cw_err err = { 0 };
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    if (cw_vault_new(test.config, &m.vault, &err) != CW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { suite(), NULL };
    int rc = cw_check_main(suites);
    cw_vault_free(m.vault);
    cw_test_db_release(&test);
    return rc;
}
