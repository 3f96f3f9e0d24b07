/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's manners: whom it believes, when it comes again, and that one hospital's trouble is not another's. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/time.h"
#include "os/sys.h"
#include "scheduler/scheduler.h"
#include "tests/unit/test_scheduler.h"

/* ---------------------------------------------------------------------------------------------- 401 by evidence */

static unsigned asked_for(const char *path)
{
    unsigned count = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        count += strncmp(script_server_request(sched_hospital, i)->target, path, strlen(path)) == 0;
    }
    return count;
}

/* Another hospital and another patient at it in place of the fixture's: what is signed in with, and its script. */
static void begin_anew(const char *refresh, const struct script_answer *answers, size_t count)
{
    script_server_stop(sched_hospital);
    sched_hospital = script_server_start(answers, count);
    cw_test_db_sql(&sched_test, "DELETE FROM job");
    sched_signed_in_with = refresh;
    sched_connect_patient();
}

#define CONNECTION_STATUS "SELECT status FROM connection ORDER BY created_at DESC, id DESC LIMIT 1"

/* A dozen types answered with 401 although the token is good (healthit's test system), to access that nothing renews. */
START_TEST(a_refused_type_ends_no_one_time_access)
{
    sched_temper = REFUSES_TYPES;
    begin_anew(NULL, sched_script, 1);
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    ck_assert_int_eq(ended.status, CW_PULL_COMPLETE);
    ck_assert_uint_eq(ended.received, 2); /* Patient and Goal */
    ck_assert_int_eq(cw_test_db_number(&sched_test, CONNECTION_STATUS), 1);
    ck_assert_int_ge(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM pull_task WHERE failure_code = 'unauthorized' AND http_status = 401 AND status = 3"), 5);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM job"), 0);
    ck_assert_uint_eq(asked_for("/token"), 0);
    sched_stop_daemon(pid);
}
END_TEST

START_TEST(refused_types_cost_one_refresh_at_most)
{
    sched_temper = REFUSES_TYPES;
    begin_anew("refresh-1", sched_script, 1); /* and its first token is refused, so that is the one */
    pid_t pid = sched_start_daemon();
    ck_assert_int_eq(sched_wait_for_end().status, CW_PULL_COMPLETE);
    ck_assert_uint_eq(asked_for("/token"), 1);
    ck_assert_int_eq(cw_test_db_number(&sched_test, CONNECTION_STATUS), 1);
    sched_stop_daemon(pid);
}
END_TEST

/* Everything is refused, and a new token changes nothing: the pull rests for an hour and ends nothing. */
START_TEST(a_hospital_that_refuses_everything_is_left_alone)
{
    sched_temper = REFUSES_ALL;
    begin_anew("refresh-1", sched_script, 1);
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(20, "SELECT COUNT(*) = 1 FROM job WHERE ready_at > UTC_TIMESTAMP(3) + INTERVAL 50 MINUTE AND tries = 0"));
    ck_assert_uint_eq(asked_for("/token"), 1);
    ck_assert_uint_le(asked_for("/fhir/"), 100);
    ck_assert_int_eq(cw_test_db_number(&sched_test, CONNECTION_STATUS), 1);
    sched_stop_daemon(pid);

    /* One-time access that was taken back looks the same, until its token is over. */
    begin_anew(NULL, sched_script, 1);
    pid = sched_start_daemon();
    ck_assert(sched_within(20, "SELECT COUNT(*) = 1 FROM job WHERE ready_at > UTC_TIMESTAMP(3) + INTERVAL 50 MINUTE"));
    ck_assert_int_eq(cw_test_db_number(&sched_test, CONNECTION_STATUS), 1);
    cw_test_db_sql(&sched_test, "UPDATE token_grant SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND");
    cw_test_db_sql(&sched_test, "UPDATE job SET ready_at = UTC_TIMESTAMP(3)");
    struct cw_pull ended = sched_wait_for_end();
    ck_assert_int_eq(ended.status, CW_PULL_FAILED);
    ck_assert(cw_span_eq_cstr(ended.failure_code, "access_ended"));
    ck_assert_int_eq(cw_test_db_number(&sched_test, CONNECTION_STATUS), 3);
    sched_stop_daemon(pid);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- later */

START_TEST(a_server_that_says_when_costs_no_try)
{
#define LATER { .path = "/fhir/Goal", .status = 429, .headers = "Retry-After: 1\r\n", .body = "" }
    static const struct script_answer later[] = { LATER, LATER, LATER, LATER, LATER, LATER, { .keep = true, .make = sched_answer } };
    begin_anew(NULL, later, CW_ARRAY_LEN(later));
    pid_t pid = sched_start_daemon();
    ck_assert_uint_gt(sched_wait_for_end().received, 0);
    ck_assert_uint_eq(asked_for("/fhir/Goal"), 7);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM record WHERE upstream_id = 'goal-1' AND patient = (SELECT patient FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)"), 1);
    sched_stop_daemon(pid);
}
END_TEST

START_TEST(who_waits_long_holds_nothing)
{
    static const struct script_answer words[] = {
        { .path = "/fhir/Goal", .status = 403, .body = "{\"message\":\"Rate limit is exceeded. Try again in 50 minutes.\"}" },
        { .keep = true, .make = sched_answer } };
    begin_anew(NULL, words, CW_ARRAY_LEN(words));
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(30, "SELECT COUNT(*) = 1 FROM job WHERE lease_owner IS NULL AND tries = 0 AND ready_at > UTC_TIMESTAMP(3) + INTERVAL 45 MINUTE"));
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT MAX(tries) FROM pull_task WHERE resource_type = 'Goal' AND status = 1"), 0);
    sched_stop_daemon(pid);
    cw_test_db_sql(&sched_test, "UPDATE job SET ready_at = UTC_TIMESTAMP(3)");
    cw_test_db_sql(&sched_test, "UPDATE pull_task SET ready_at = UTC_TIMESTAMP(3) WHERE status = 1");
    pid = sched_start_daemon();
    ck_assert_int_eq(sched_wait_for_end().status, CW_PULL_PARTIAL); /* as the plain hospital's */
    ck_assert_uint_eq(asked_for("/fhir/Goal"), 2);
    sched_stop_daemon(pid);
}
END_TEST

/* Nor does it wait for a hospital that hangs. */
START_TEST(a_stop_is_no_try)
{
    static const struct script_answer held[] = { { .path = "/fhir/Patient/up-1", .keep = true, .hold = true }, { .keep = true, .make = sched_answer } };
    begin_anew(NULL, held, CW_ARRAY_LEN(held));
    pid_t pid = sched_start_daemon();
    while (asked_for("/fhir/Patient") == 0) {
        (void)poll(NULL, 0, 5);
    }
    sched_stop_daemon(pid);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM job WHERE tries = 0 AND lease_owner IS NULL"), 1);
}
END_TEST

START_TEST(metadata_that_come_later_are_waited_for)
{
    static const struct script_answer later[] = {
        { .path = "/fhir/metadata", .status = 429, .headers = "Retry-After: 3000\r\n", .body = "" }, { .keep = true, .make = sched_answer } };
    begin_anew(NULL, later, CW_ARRAY_LEN(later));
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(30, "SELECT COUNT(*) = 1 FROM job WHERE tries = 0 AND ready_at > UTC_TIMESTAMP(3) + INTERVAL 45 MINUTE"));
    ck_assert_uint_eq(script_server_count(sched_hospital), 1);
    sched_stop_daemon(pid);
}
END_TEST

/* The token endpoint wants quiet: another connection of that host does not ask it. */
START_TEST(quiet_of_a_refresh_holds_for_its_host)
{
    static const struct script_answer later[] = {
        { .path = "/token", .keep = true, .status = 429, .body = "Try again in 50 minutes" }, { .keep = true, .make = sched_answer } };
    begin_anew("refresh-1", later, CW_ARRAY_LEN(later));
    sched_connect_patient();
    cw_test_db_sql(&sched_test, "UPDATE token_grant SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND");
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(30, "SELECT COUNT(*) = SUM(tries = 0 AND ready_at > UTC_TIMESTAMP(3) + INTERVAL 45 MINUTE) FROM job"));
    ck_assert_uint_eq(asked_for("/token"), 1);
    sched_stop_daemon(pid);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- a host's health */

START_TEST(a_host_that_is_new_or_late_has_one_request)
{
    struct host host = { .running = 0 };
    ck_assert_uint_eq(host_room(&host, 8), 1);
    host_hears(&host, HOST_ANSWERED, AT(0));
    ck_assert_uint_eq(host_room(&host, 8), 8);
    host_hears(&host, HOST_FAILED, AT(1));
    ck_assert_uint_eq(host_room(&host, 8), 8);
    host_hears(&host, HOST_TIMED_OUT, AT(2));
    ck_assert_uint_eq(host_room(&host, 8), 1);
    host_hears(&host, HOST_ANSWERED, AT(3));
    ck_assert_uint_eq(host_room(&host, 8), 8);
    ck_assert_int_eq(host_quiet_us(&host), 0);
}
END_TEST

START_TEST(a_host_in_trouble_is_left_alone_and_probed)
{
    struct host host = { .running = 0 };
    host_hears(&host, HOST_ANSWERED, AT(0));
    for (int i = 0; i < 5; i++) {
        ck_assert(!host_is_open(&host));
        host_hears(&host, HOST_FAILED, AT(i));
    }
    ck_assert(host_is_open(&host));
    ck_assert_int_eq(host_quiet_us(&host), AT(64));
    host_hears(&host, HOST_TIMED_OUT, AT(10)); /* it was on its way */
    ck_assert_int_eq(host_quiet_us(&host), AT(64));
    ck_assert_uint_eq(host_room(&host, 8), 1);
    host_hears(&host, HOST_TIMED_OUT, AT(100)); /* the probe */
    ck_assert_int_eq(host_quiet_us(&host), AT(220));
    for (int i = 0; i < 8; i++) {
        host_hears(&host, HOST_FAILED, host_quiet_us(&host));
    }
    ck_assert_int_eq(host.open_pause_us, CW_HOUR_US);
    host.quiet_until_us = AT(9000000); /* its own word holds whatever else is known */
    host_hears(&host, HOST_ANSWERED, AT(100000));
    ck_assert(!host_is_open(&host));
    ck_assert_int_eq(host_quiet_us(&host), AT(9000000));
}
END_TEST

/* ---------------------------------------------------------------------------------------------- many hosts */

#define HOSTS_WELL 12
#define HOSTS_HUNG 30 /* more than there are preparers */

/* Pulls from `well` new hospitals that answer and `hung` that never do, those first; how long until the first have all ended. */
static int64_t pull_from(unsigned well, unsigned hung)
{
    static const struct script_answer never[] = { { .keep = true, .hold = true } };
    struct script_server *servers[HOSTS_WELL + HOSTS_HUNG];
    struct script_server *own = sched_hospital;
    cw_test_db_sql(&sched_test, "DELETE FROM job");
    cw_test_db_sql(&sched_test, "UPDATE pull SET status = 5 WHERE status < 3");
    sched_allowed[0] = '\0';
    for (unsigned i = 0; i < hung + well; i++) {
        servers[i] = i < hung ? script_server_start(never, 1) : script_server_start(sched_script, 1);
        size_t len = strlen(sched_allowed);
        (void)snprintf(sched_allowed + len, sizeof sched_allowed - len, " 127.0.0.1:%u", script_server_port(servers[i]));
        sched_hospital = servers[i];
        sched_connect_patient();
    }
    sched_hospital = own;
    int64_t from_us = cw_monotonic_us();
    pid_t pid = sched_start_daemon();
    while (cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM pull WHERE status < 3") > (int64_t)hung && cw_monotonic_us() - from_us < 100 * CW_SECOND_US) {
        (void)poll(NULL, 0, 50);
    }
    int64_t took_us = cw_monotonic_us() - from_us;
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    sched_killed_daemon();
    sched_allowed[0] = '\0';
    for (unsigned i = 0; i < hung + well; i++) {
        script_server_stop(servers[i]);
    }
    cw_test_db_sql(&sched_test, "DELETE FROM job");
    return took_us;
}

START_TEST(hospitals_that_hang_hold_up_nobody_else)
{
    sched_signed_in_with = NULL;
    int64_t alone_us = pull_from(HOSTS_WELL, 0), beside_us = pull_from(HOSTS_WELL, HOSTS_HUNG);
    fprintf(stderr, "%d hosts alone: %lld ms, beside %d that hang: %lld ms\n", HOSTS_WELL, (long long)alone_us / 1000, HOSTS_HUNG, (long long)beside_us / 1000);
    ck_assert_int_lt(alone_us, 100 * CW_SECOND_US);
    ck_assert_int_lt(beside_us, 2 * alone_us + 5 * CW_SECOND_US); /* generous: the machine has other work */
}
END_TEST

/* ---------------------------------------------------------------------------------------------- who is first */

static void queue_up(unsigned count, int lane, unsigned minutes_ago)
{
    char sql[400];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO job (id, kind, subject, priority, ready_at, created_at) SELECT UNHEX(MD5(CONCAT(seq, '/%d'))), 1, UNHEX(MD5(CONCAT(seq, '/%d'))),"
                   " %d, UTC_TIMESTAMP(3) - INTERVAL %u MINUTE + INTERVAL seq SECOND, UTC_TIMESTAMP(3) FROM seq_1_to_%u", lane, lane, lane, minutes_ago, count);
    cw_test_db_sql(&sched_test, sql);
}

static int64_t leased(int lane)
{
    return cw_test_db_number(&sched_test, lane == CW_JOB_WAITED_FOR ? "SELECT COUNT(*) FROM job WHERE priority = 50 AND ready_at IS NULL"
                                                              : "SELECT COUNT(*) FROM job WHERE priority = 200 AND ready_at IS NULL");
}

START_TEST(who_waits_goes_before_a_nights_backlog)
{
    struct cw_err err = { 0 };
    struct cw_job jobs[8];
    size_t count = 0;
    cw_test_db_sql(&sched_test, "DELETE FROM job");
    queue_up(100, CW_JOB_BY_THE_CLOCK, 600);
    queue_up(1, CW_JOB_WAITED_FOR, 1);
    sched_must(cw_job_claim(&sched_model, "node/1", CW_HOUR_US, 8, jobs, &count, &err), &err);
    ck_assert_uint_eq(count, 8);
    ck_assert_int_eq(leased(CW_JOB_WAITED_FOR), 1);
    ck_assert_int_eq(leased(CW_JOB_BY_THE_CLOCK), 7);
    queue_up(40, CW_JOB_WAITED_FOR + 1, 1);
    cw_test_db_sql(&sched_test, "UPDATE job SET priority = 50 WHERE priority = 51");
    (void)poll(NULL, 0, 1100); /* rows with an older time than what was claimed are found by the look from the head */
    sched_must(cw_job_claim(&sched_model, "node/1", CW_HOUR_US, 8, jobs, &count, &err), &err);
    ck_assert_uint_eq(count, 8);
    ck_assert_int_eq(leased(CW_JOB_WAITED_FOR), 1 + 6);
    ck_assert_int_eq(leased(CW_JOB_BY_THE_CLOCK), 7 + 2);
    sched_must(cw_job_claim_lanes(&sched_model, "node/1", CW_HOUR_US, 8, 0, jobs, &count, &err), &err);
    ck_assert_int_eq(leased(CW_JOB_WAITED_FOR), 1 + 6 + 8);
    cw_test_db_sql(&sched_test, "DELETE FROM job WHERE priority = 200");
    sched_must(cw_job_claim(&sched_model, "node/1", CW_HOUR_US, 8, jobs, &count, &err), &err);
    ck_assert_uint_eq(count, 8); /* what is kept for the others is theirs only while there are any */
    cw_test_db_sql(&sched_test, "DELETE FROM job");
}
END_TEST

Suite *scheduler_manners_suite(void)
{
    Suite *s = suite_create("scheduler_manners");
    TCase *u = tcase_create("unauthorized");
    tcase_set_timeout(u, 120);
    tcase_add_checked_fixture(u, sched_setup, sched_teardown);
    tcase_add_test(u, a_refused_type_ends_no_one_time_access);
    tcase_add_test(u, refused_types_cost_one_refresh_at_most);
    tcase_add_test(u, a_hospital_that_refuses_everything_is_left_alone);
    suite_add_tcase(s, u);
    TCase *h = tcase_create("health");
    tcase_add_test(h, a_host_that_is_new_or_late_has_one_request);
    tcase_add_test(h, a_host_in_trouble_is_left_alone_and_probed);
    suite_add_tcase(s, h);
    TCase *l = tcase_create("later");
    tcase_set_timeout(l, 120);
    tcase_add_checked_fixture(l, sched_setup, sched_teardown);
    tcase_add_test(l, a_server_that_says_when_costs_no_try);
    tcase_add_test(l, who_waits_long_holds_nothing);
    tcase_add_test(l, a_stop_is_no_try);
    tcase_add_test(l, metadata_that_come_later_are_waited_for);
    tcase_add_test(l, quiet_of_a_refresh_holds_for_its_host);
    tcase_add_test(l, hospitals_that_hang_hold_up_nobody_else);
    tcase_add_test(l, who_waits_goes_before_a_nights_backlog);
    suite_add_tcase(s, l);
    return s;
}
