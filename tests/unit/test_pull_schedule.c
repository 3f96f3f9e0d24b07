/* SPDX-License-Identifier: Apache-2.0 */
/* The next pull against a real MariaDB: planned where one ends, by the policy and by what failed; what the sweep takes up; what a new policy changes. */
#include "config.h"

#include <check.h>
#include <stdio.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/failure.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/pull_policy.h"
#include "model/pull_schedule.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node/1" };
static struct cw_org_id org;
static struct cw_patient_row patient;
static struct cw_connection connection;
static struct cw_pull_id pull;
static struct cw_job job;
static bool one_time;

#define NUMBER(sql) cw_test_db_number(&test, sql)
#define PLANNED "SELECT COUNT(*) FROM job j JOIN pull u ON u.id = j.subject WHERE u.status = 1 AND u.trigger_kind = 3"

static void must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    (void)arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },       .org = org,
                                  .patient = patient,            .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },   .registration = { cw_ulid_new() },
                                  .session = { cw_ulid_new() },  .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/*.rs"), .pinned = CW_SPAN("{}"),
                                  .one_time = one_time };
    connection = (struct cw_connection){ .org = org, .patient = patient, .endpoint = put.endpoint, .source = put.source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &connection.id, err);
    }
    struct grant_put grant = { .access_token = CW_SPAN("access-1"), .obtained_us = cw_now_us(), .expires_us = cw_now_us() + CW_HOUR_US };
    if (!one_time) {
        grant.refresh_token = CW_SPAN("refresh-1");
    }
    if (rc == CW_OK) {
        rc = grant_put(db, &key, connection.id, &grant, arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&m, db, &connection, CW_PULL_CONNECTED, &pull, err) : rc;
}

static void claim(void)
{
    struct cw_err err = { 0 };
    size_t count = 0;
    must(cw_job_claim(&m, "node/1", 15 * CW_SECOND_US, 1, &job, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    pull.ulid = job.subject;
}

static void connect_anew(void)
{
    static unsigned n;
    char name[32];
    struct cw_err err = { 0 };
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    cw_test_db_sql(&test, "DELETE FROM job");
    cw_test_db_sql(&test, "UPDATE connection SET status = 5");
    cw_test_db_sql(&test, "UPDATE pull SET status = 5 WHERE status <= 2");
    must(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    must(cw_tx_pool(m.pool, connect_tx, NULL, &err), &err);
    claim();
}

static void setup(void)
{
    arena = cw_arena_new((size_t)32 * 1024 * 1024);
    one_time = false;
    connect_anew();
}

static void teardown(void)
{
    cw_arena_free(arena);
}

static void end(enum cw_pull_status status, const char *failure, int64_t told_us)
{
    struct cw_err err = { 0 };
    struct cw_pull_ending ending = { .status = status, .failure_code = failure, .receipt_json = CW_SPAN("{}"), .again_us = told_us };
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
}

/* The planned one's time has come. */
static void claim_planned(void)
{
    cw_test_db_sql(&test, "UPDATE job SET ready_at = UTC_TIMESTAMP(3) WHERE ready_at IS NOT NULL");
    claim();
}

static struct cw_pull_plan_row standing(void)
{
    struct cw_err err = { 0 };
    struct cw_pull_plan_row *list;
    size_t count;
    must(cw_pull_schedule_list(&m, patient, arena, &list, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    return list[0];
}

static unsigned sweep(void)
{
    struct cw_err err = { 0 };
    unsigned count = 0;
    must(cw_pull_schedule_sweep(&m, &actor, 200, &count, &err), &err);
    return count;
}

static void fail_a_task(const char *code)
{
    struct cw_err err = { 0 };
    const struct cw_task_new task = { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .url = CW_SPAN("https://h.test/x") };
    struct cw_pull whole;
    struct cw_waiting waiting;
    must(cw_pull_plan(&m, "node/1", &job, pull, CW_SPAN("[]"), &task, 1, &err), &err);
    must(cw_pull_get(&m, pull, arena, &whole, &err), &err);
    must(cw_pull_waiting(&m, &whole, 10, arena, &waiting, &err), &err);
    const struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting.tasks[0].id, .code = code };
    must(cw_pull_task_failed(&m, &failure, &err), &err);
}

START_TEST(the_end_of_one_plans_the_next)
{
    end(CW_PULL_COMPLETE, NULL, 0);
    struct cw_pull_plan_row row = standing();
    ck_assert_int_eq(NUMBER(PLANNED), 1);
    ck_assert_int_eq(NUMBER("SELECT priority FROM job"), 200);
    ck_assert(row.at_us > cw_now_us() + 11 * CW_HOUR_US && row.at_us < cw_now_us() + 37 * CW_HOUR_US);
    ck_assert_int_eq(row.mode, CW_PULL_INCREMENTAL); /* all came just now */
    ck_assert(row.full_us != 0 && row.hold.ptr == NULL && row.failures == 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM connection c JOIN job j ON j.ready_at = c.next_pull_at"), 1);
    /* A week later it is a full one. */
    cw_test_db_sql(&test, "UPDATE connection SET full_pulled_at = full_pulled_at - INTERVAL 7 DAY WHERE status = 1");
    claim_planned();
    struct cw_err err = { 0 };
    struct cw_pull whole;
    must(cw_pull_get(&m, pull, arena, &whole, &err), &err);
    ck_assert_int_eq(whole.mode, CW_PULL_INCREMENTAL);
    end(CW_PULL_PARTIAL, NULL, 0);
    ck_assert_int_eq(standing().mode, CW_PULL_FULL);
    ck_assert_int_eq(sweep(), 0);
}
END_TEST

START_TEST(each_kind_of_failure_has_its_time)
{
    static const struct {
        const char *failure, *task;
        int64_t from_us, to_us; /* 0: none */
        const char *hold;
    } rows[] = {
        { CW_FAIL_GAVE_UP, NULL, CW_HOUR_US, 2 * CW_HOUR_US, NULL },
        { CW_FAIL_NOTHING_ARRIVED, "timeout", 4 * CW_HOUR_US, 5 * CW_HOUR_US, NULL }, /* the second in a row */
        { CW_FAIL_NOTHING_ARRIVED, "unavailable", 11 * CW_HOUR_US, 37 * CW_HOUR_US, NULL },
        { CW_FAIL_NOTHING_ARRIVED, "no_access", 6 * CW_DAY_US, 8 * CW_DAY_US, NULL },
        { CW_FAIL_NOTHING_ARRIVED, "page_not_storable", 11 * CW_HOUR_US, 37 * CW_HOUR_US, NULL }, /* whatever it is, it may pass */
        { CW_FAIL_FHIR_VERSION, NULL, 6 * CW_DAY_US, 8 * CW_DAY_US, NULL },
        { CW_FAIL_ENDPOINT_MOVED, NULL, 0, 0, CW_HOLD_OPERATOR },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        int64_t now_us = cw_now_us();
        if (rows[i].task != NULL) {
            fail_a_task(rows[i].task);
        }
        end(CW_PULL_FAILED, rows[i].failure, 0);
        struct cw_pull_plan_row row = standing();
        ck_assert_msg(row.failures == i + 1, "row %zu: %u in a row", i, row.failures);
        if (rows[i].from_us == 0) {
            ck_assert_msg(row.at_us == 0 && cw_span_eq_cstr(row.hold, rows[i].hold), "row %zu", i);
            continue;
        }
        ck_assert_msg(row.at_us >= now_us + rows[i].from_us - 1000 && row.at_us <= now_us + rows[i].to_us, "row %zu", i);
        ck_assert_msg(row.mode == CW_PULL_FULL, "row %zu: none was whole yet", i);
        claim_planned();
    }
    ck_assert_uint_eq(sweep(), 0); /* held is held */
    /* Somebody starts one by hand, and it works. */
    struct cw_err err = { 0 };
    unsigned started = 0;
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &started, &err), &err);
    ck_assert_uint_eq(started, 1);
    claim();
    end(CW_PULL_COMPLETE, NULL, 0);
    struct cw_pull_plan_row row = standing();
    ck_assert(row.at_us != 0 && row.hold.ptr == NULL && row.failures == 0);
}
END_TEST

START_TEST(who_is_no_longer_active_is_not_planned)
{
    cw_test_db_sql(&test, "UPDATE connection SET status = 4 WHERE status = 1");
    end(CW_PULL_FAILED, CW_FAIL_GRANT_ENDED, 0);
    ck_assert_int_eq(NUMBER(PLANNED), 0);
    ck_assert_uint_eq(sweep(), 0);
    /* Working again it is the janitor's. */
    cw_test_db_sql(&test, "UPDATE connection SET status = 1 WHERE status = 4");
    ck_assert_uint_eq(sweep(), 1);
    ck_assert_int_eq(NUMBER(PLANNED), 1);
    ck_assert_uint_eq(sweep(), 0);
}
END_TEST

START_TEST(one_time_access_is_not_planned_past_its_end)
{
    one_time = true;
    connect_anew();
    cw_test_db_sql(&test, "UPDATE token_grant SET ends_at = UTC_TIMESTAMP() + INTERVAL 1 HOUR");
    end(CW_PULL_COMPLETE, NULL, 0);
    ck_assert_int_eq(NUMBER(PLANNED), 0);
    ck_assert(cw_span_eq_cstr(standing().hold, CW_HOLD_ENDS));
    ck_assert_uint_eq(sweep(), 0);
}
END_TEST

START_TEST(the_sweep_takes_up_what_nobody_planned)
{
    end(CW_PULL_COMPLETE, NULL, 0);
    /* From before there was a schedule. */
    cw_test_db_sql(&test, "DELETE FROM job");
    cw_test_db_sql(&test, "DELETE FROM pull WHERE status = 1");
    cw_test_db_sql(&test, "UPDATE connection SET next_pull_at = NULL WHERE status = 1");
    ck_assert_uint_eq(sweep(), 1);
    ck_assert_int_eq(NUMBER(PLANNED), 1);
    /* One whose time was long ago, and which has a pull: it is looked at, and left as it is. */
    cw_test_db_sql(&test, "UPDATE connection SET next_pull_at = UTC_TIMESTAMP() - INTERVAL 3 DAY WHERE status = 1");
    ck_assert_uint_eq(sweep(), 0);
    ck_assert_int_eq(NUMBER(PLANNED), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM connection WHERE status = 1 AND next_pull_at > UTC_TIMESTAMP() - INTERVAL 1 DAY"), 1);
    /* The same without one. */
    cw_test_db_sql(&test, "DELETE FROM job");
    cw_test_db_sql(&test, "DELETE FROM pull WHERE status = 1");
    cw_test_db_sql(&test, "UPDATE connection SET next_pull_at = UTC_TIMESTAMP() - INTERVAL 3 DAY WHERE status = 1");
    ck_assert_uint_eq(sweep(), 1);
    ck_assert_int_eq(NUMBER(PLANNED), 1);
}
END_TEST

START_TEST(a_policy_holds_for_what_waits_already)
{
    struct cw_err err = { 0 };
    end(CW_PULL_COMPLETE, NULL, 0);
    struct cw_pull_policy policy = { .policy = CW_SCHEDULE_DEFAULT };
    policy.policy.enabled = false;
    must(cw_pull_policy_set(&m, &actor, org, &policy, &err), &err);
    ck_assert_int_eq(NUMBER(PLANNED), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM pull WHERE status = 1"), 0);
    ck_assert_uint_eq(sweep(), 1);
    ck_assert_int_eq(NUMBER(PLANNED), 0);
    ck_assert(cw_span_eq_cstr(standing().hold, CW_HOLD_POLICY));
    ck_assert_uint_eq(sweep(), 0);
    /* The source has a policy of its own. */
    policy.source = connection.source;
    policy.policy = (struct cw_schedule_policy){ true, 6 * 3600, 86400, 1, 5 };
    must(cw_pull_policy_set(&m, &actor, org, &policy, &err), &err);
    ck_assert_uint_eq(sweep(), 1);
    struct cw_pull_plan_row row = standing();
    ck_assert(row.hold.ptr == NULL && row.at_us > cw_now_us() + 5 * CW_HOUR_US && row.at_us <= cw_now_us() + 6 * CW_HOUR_US);
    struct cw_pull_policy *list;
    size_t count;
    must(cw_pull_policy_list(&m, org, arena, &list, &count, &err), &err);
    ck_assert_uint_eq(count, 2);
    ck_assert(!list[0].policy.enabled && list[0].updated_us != 0);
    ck_assert(cw_ulid_eq(list[1].source.ulid, connection.source.ulid) && list[1].policy.incremental_s == 6 * 3600);
    /* A policy of another source leaves it alone. */
    policy.source = (struct cw_source_id){ cw_ulid_new() };
    must(cw_pull_policy_set(&m, &actor, org, &policy, &err), &err);
    ck_assert(standing().at_us == row.at_us);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM audit WHERE action = 'pull.policy_set'"), 3);
}
END_TEST

/* What runs, and what was asked for by hand, is not the policy's. */
START_TEST(a_policy_leaves_what_was_asked_for)
{
    struct cw_err err = { 0 };
    struct cw_pull_policy policy = { .policy = CW_SCHEDULE_DEFAULT };
    policy.policy.enabled = false;
    must(cw_pull_policy_set(&m, &actor, org, &policy, &err), &err);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM pull WHERE status <= 2 AND trigger_kind = 1"), NUMBER("SELECT COUNT(*) FROM pull WHERE status <= 2"));
    end(CW_PULL_COMPLETE, NULL, cw_now_us() + CW_HOUR_US);
    ck_assert_int_eq(NUMBER(PLANNED), 0);
    unsigned started = 0;
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &started, &err), &err);
    must(cw_pull_policy_set(&m, &actor, org, &policy, &err), &err);
    claim();
}
END_TEST

START_TEST(bad_policies_are_refused)
{
    static const struct cw_schedule_policy rows[] = {
        { true, 15 * 60 - 1, 86400, 20, 6 },
        { true, 86400, 86399, 20, 6 },
        { true, 86400, 365 * 86400 + 1, 20, 6 },
        { true, 86400, 86400, 24, 6 },
        { true, 86400, 86400, 20, 24 },
    };
    struct cw_err err = { 0 };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_pull_policy policy = { .policy = rows[i] };
        ck_assert_msg(cw_pull_policy_set(&m, &actor, org, &policy, &err) == CW_E_RANGE, "row %zu", i);
    }
    struct cw_pull_policy least = { .policy = { true, 15 * 60, 365 * 86400, 0, 23 } };
    must(cw_pull_policy_set(&m, &actor, org, &least, &err), &err);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("pull_schedule");
    TCase *t = tcase_create("pull_schedule");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_end_of_one_plans_the_next);
    tcase_add_test(t, each_kind_of_failure_has_its_time);
    tcase_add_test(t, who_is_no_longer_active_is_not_planned);
    tcase_add_test(t, one_time_access_is_not_planned_past_its_end);
    tcase_add_test(t, the_sweep_takes_up_what_nobody_planned);
    tcase_add_test(t, a_policy_holds_for_what_waits_already);
    tcase_add_test(t, a_policy_leaves_what_was_asked_for);
    tcase_add_test(t, bad_policies_are_refused);
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
