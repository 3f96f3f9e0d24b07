/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler from outside: the real daemon, a real MariaDB, and a scripted hospital that answers with what hospitals
 * answer: 401 for an old token, 503 once, a `next` to another host, a `next` to itself, 403, a message instead of an entry.
 */
#include "config.h"

#include "test_scheduler.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/pull.h"
#include "model/registration.h"
#include "os/sys.h"
#include "scheduler/budget.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

struct cw_test_db test;
struct cw_model m;
struct cw_arena *arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "test" };
struct script_server *hospital, *stranger;
static struct cw_registration_id registration;
static struct cw_connection connection;
struct cw_pull_id pull;
static struct cw_org_id org;
static unsigned busy_once; /* 503s already given */
char *(*odd_answer)(const char *target, int *ret_status);
static atomic_bool gate_open = true; /* closed: the hospital's metadata wait */

void must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

/* ---------------------------------------------------------------------------------------------- the hospital */

char *text(const char *format, ...)
{
    char *out = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&out, format, args);
    va_end(args);
    ck_assert_int_ge(n, 0);
    return out;
}

char *bundle(const char *id, const char *next)
{
    char *link = next == NULL ? strdup("") : text("\"link\":[{\"relation\":\"next\",\"url\":\"%s\"}],", next);
    char *body = text("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",%s\"entry\":[{\"resource\":"
                      "{\"resourceType\":\"Observation\",\"id\":\"%s\",\"valueQuantity\":{\"value\":1.10}}}]}",
                      link, id);
    free(link);
    return body;
}

#define CAPABILITY \
    "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"rest\":[{\"mode\":\"server\",\"resource\":[" \
    "{\"type\":\"Patient\",\"interaction\":[{\"code\":\"read\"}]}," \
    "{\"type\":\"Observation\",\"interaction\":[{\"code\":\"search-type\"},{\"code\":\"read\"}]," \
    "\"searchParam\":[{\"name\":\"patient\",\"type\":\"reference\"},{\"name\":\"category\",\"type\":\"token\"}]}," \
    "{\"type\":\"Goal\",\"interaction\":[{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"patient\",\"type\":\"reference\"}]}]}]}"

static char *observations(const char *target, int *ret_status)
{
    if (strstr(target, "page=2") != NULL) {
        return bundle("lab-2", NULL);
    }
    if (strstr(target, "laboratory") != NULL) {
        if (busy_once++ == 0) {
            *ret_status = 503;
            return strdup("later");
        }
        return bundle("lab-1", "Observation?page=2"); /* relative, as some servers send it */
    }
    if (strstr(target, "vital-signs") != NULL) {
        char *next = text("%s", script_server_url(stranger, "/pages?page=3"));
        char *body = bundle("vital-1", next);
        free(next);
        return body;
    }
    if (strstr(target, "social-history") != NULL) {
        return bundle("social-1", script_server_url(hospital, target));
    }
    if (strstr(target, "category=") == NULL) {
        *ret_status = 403;
        return strdup("");
    }
    return strdup("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[{\"resource\":"
                  "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\",\"code\":\"processing\"}]},"
                  "\"search\":{\"mode\":\"outcome\"}}]}");
}

static char *answer(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    const char *bearer = script_request_header(request, "Authorization");
    if (strncmp(request->target, "/token", 6) == 0 || strncmp(request->target, "/new-token", 10) == 0) {
        return strdup("{\"access_token\":\"access-2\",\"refresh_token\":\"refresh-2\",\"token_type\":\"bearer\","
                      "\"expires_in\":3600.5}");
    }
    if (strncmp(request->target, "/fhir/metadata", 14) == 0) {
        while (!gate_open) {
            (void)poll(NULL, 0, 5);
        }
        char *own = odd_answer == NULL ? NULL : odd_answer(request->target, ret_status);
        return own != NULL ? own : strdup(CAPABILITY);
    }
    if (bearer == NULL || strcmp(bearer, "Bearer access-2") != 0) {
        *ret_status = 401;
        return strdup("");
    }
    char *odd = odd_answer == NULL ? NULL : odd_answer(request->target, ret_status);
    if (odd != NULL) {
        return odd;
    }
    if (strcmp(request->target, "/fhir/Patient/up-1") == 0) {
        return strdup("{\"resourceType\":\"Patient\",\"id\":\"up-1\",\"name\":[{\"family\":\"Canary\"}]}");
    }
    if (strncmp(request->target, "/fhir/Observation", 17) == 0) {
        return observations(request->target, ret_status);
    }
    if (strncmp(request->target, "/fhir/Goal", 10) == 0) {
        /* What no column holds: a total beyond 32 bits and a time before DATETIME's first. */
        return strdup("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":5000000000,\"entry\":[{\"resource\":"
                      "{\"resourceType\":\"Goal\",\"id\":\"goal-1\",\"meta\":{\"lastUpdated\":\"0001-01-01T00:00:00Z\"}}}]}");
    }
    *ret_status = 404;
    return strdup("");
}

static char *only_as_pdf(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    const char *accept = script_request_header(request, "Accept");
    *ret_status = accept != NULL && strcmp(accept, "application/pdf") == 0 ? 200 : 406;
    return strdup("%PDF-1");
}

/* Knows its Binary by its type alone, and has no word for anything else. */
static char *binary_as_pdf(void *arg, const struct script_request *request, int *ret_status)
{
    char *body = only_as_pdf(arg, request, ret_status);
    *ret_status = *ret_status == 406 ? 404 : *ret_status;
    return body;
}

static const struct script_answer script[] = {
    { .path = "/fhir/Binary/b1", .keep = true, .type = "application/pdf", .make = binary_as_pdf },
    { .path = "/fhir/files/good", .keep = true, .type = "application/pdf", .make = only_as_pdf },
    { .path = "/fhir/files/other", .keep = true, .type = "application/pdf", .body = "%PDF-2" },
    { .path = "/fhir/files/login", .keep = true, .type = "text/html; charset=utf-8", .body = "<html><form>Sign in</form></html>" },
    { .path = "/fhir/files/page", .keep = true, .type = "text/html", .body = "<html>A note</html>" },
    { .path = "/fhir/files/page-login", .keep = true, .type = "text/html", .body = "<html><input TYPE=\"Password\"></html>" },
    { .keep = true, .make = answer },
};
static const struct script_answer nobody[] = { { .keep = true, .body = "{}" } };

/* ---------------------------------------------------------------------------------------------- the connection */

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const char *pinned = arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient;
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },
                                  .org = org,
                                  .patient = patient,
                                  .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },
                                  .registration = registration,
                                  .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/Patient.rs patient/Observation.rs patient/Goal.rs"),
                                  .pinned = cw_span_cstr(pinned) };
    connection = (struct cw_connection){ .org = org, .patient = patient, .endpoint = put.endpoint, .source = put.source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &connection.id, err);
    }
    struct grant_put grant = { .access_token = CW_SPAN("access-1"),
                               .refresh_token = CW_SPAN("refresh-1"),
                               .obtained_us = cw_now_us(),
                               .expires_us = cw_now_us() + CW_HOUR_US };
    if (rc == CW_OK) {
        rc = grant_put(db, &key, connection.id, &grant, arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&m, db, &connection, CW_PULL_CONNECTED, &pull, err) : rc;
}

void setup(void)
{
    struct cw_err err = { 0 };
    arena = cw_arena_new((size_t)32 * 1024 * 1024);
    hospital = script_server_start(script, CW_ARRAY_LEN(script));
    stranger = script_server_start(nobody, 1);
    static unsigned n;
    char name[32];
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    busy_once = 0;
    odd_answer = NULL;
    cw_test_db_sql(&test, "DELETE FROM event");
    must(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    static const struct cw_span hosts[] = { CW_SPAN("127.0.0.1") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"),
                                      .client_id = CW_SPAN("app"), .method = CW_AUTH_NONE, .hosts = hosts,
                                      .host_count = 1 };
    must(cw_registration_add(&m, &actor, &wanted, (struct cw_span){ NULL, 0 }, &registration, &err), &err);
    char pinned[600];
    (void)snprintf(pinned, sizeof pinned, "{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}",
                   script_server_url(hospital, "/fhir"), script_server_url(hospital, "/token"));
    must(cw_tx_pool(m.pool, connect_tx, pinned, &err), &err);
}

void teardown(void)
{
    script_server_stop(hospital);
    script_server_stop(stranger);
    cw_arena_free(arena);
}

/* ---------------------------------------------------------------------------------------------- the daemon */

pid_t start_daemon(void)
{
    struct cw_err err = { 0 };
    char path[200], conf[2000];
    (void)snprintf(path, sizeof path, "%s/scheduler.conf", test.folder);
    (void)snprintf(conf, sizeof conf,
                   "[server]\norigin = https://cw.test\nsql_dir = %s/sql\nstate_dir = %s\nvendors_dir = %s/conf/vendors\n"
                   "[database]\nsocket = %s\nname = %s\nuser = root\n[vault]\nmaster_keys = test=%s/master.key\n"
                   "[net]\nallow = 127.0.0.1:%u 127.0.0.1:%u\n",
                   CW_TEST_SRCDIR, test.folder, CW_TEST_SRCDIR, getenv("CW_TEST_DB_SOCKET"), test.name, test.folder,
                   script_server_port(hospital), script_server_port(stranger));
    must(cw_file_replace(path, 0600, cw_span_cstr(conf), &err), &err);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives a failed test */
        setenv("CHARTWAY_CONF", path, 1);
        execl("./chartway-scheduler", "chartway-scheduler", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0); /* not in the child: Check's file of messages is shared with it */
    return pid;
}

void stop_daemon(pid_t pid)
{
    int status = 0;
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

struct cw_pull wait_for_end(void)
{
    struct cw_pull ret = { 0 };
    for (int i = 0; i < 1200 && ret.status < CW_PULL_COMPLETE; i++) {
        struct cw_err err = { 0 };
        cw_arena_clear(arena);
        must(cw_pull_get(&m, pull, arena, &ret, &err), &err);
        (void)poll(NULL, 0, ret.status < CW_PULL_COMPLETE ? 50 : 0);
    }
    ck_assert_int_ge(ret.status, CW_PULL_COMPLETE);
    return ret;
}

const struct cw_task *task_of(const struct cw_task *tasks, size_t count, const char *code)
{
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].failure_code.ptr != NULL && cw_span_eq_cstr(tasks[i].failure_code, code) &&
            tasks[i].status == CW_TASK_FAILED) {
            return &tasks[i];
        }
    }
    return NULL;
}

START_TEST(a_pull_gets_what_there_is_and_tells_the_rest)
{
    pid_t pid = start_daemon();
    struct cw_pull ended = wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count, types;
    struct cw_record_count *census;
    must(cw_pull_tasks(&m, pull, arena, &tasks, &count, &err), &err);
    must(cw_record_census(&m, connection.patient, arena, &census, &types, &err), &err);
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    ck_assert_uint_eq(types, 3);
    ck_assert_uint_eq(census[0].count, 1); /* the Goal of no known time */
    ck_assert_uint_eq(census[1].count, 4); /* lab-1, lab-2, vital-1, social-1 */
    ck_assert_uint_eq(census[2].count, 1); /* the Patient */
    ck_assert_ptr_nonnull(task_of(tasks, count, "next_off_origin"));
    ck_assert_ptr_nonnull(task_of(tasks, count, "paging_loop"));
    ck_assert_uint_eq(script_server_count(stranger), 0);

    unsigned refreshes = 0;
    for (size_t i = 0; i < script_server_count(hospital); i++) {
        const struct script_request *request = script_server_request(hospital, i);
        refreshes += strncmp(request->target, "/token", 6) == 0;
        if (strncmp(request->target, "/token", 6) == 0) {
            ck_assert_ptr_nonnull(strstr(request->body, "refresh_token=refresh-1"));
        }
    }
    ck_assert_uint_eq(refreshes, 1);
    struct cw_grant grant = { 0 };
    must(cw_grant_get(&m, connection.id, &grant, &err), &err);
    ck_assert(cw_span_eq_cstr(cw_secret_span(&grant.refresh), "refresh-2"));
    cw_grant_release(&grant);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event WHERE kind IN (3, 4)"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job"), 0);
    /* Numbered by the sequencer. */
    for (int i = 0; i < 200 && cw_test_db_number(&test, "SELECT COUNT(*) FROM event WHERE sequence IS NULL") > 0; i++) {
        (void)poll(NULL, 0, 10);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event WHERE sequence = 1"), 1);
    stop_daemon(pid);
}
END_TEST

START_TEST(a_killed_scheduler_is_taken_over_at_once)
{
    pid_t pid = start_daemon();
    while (script_server_count(hospital) < 3) {
        (void)poll(NULL, 0, 5);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    pid = start_daemon();
    ck_assert_int_eq(wait_for_end().status, CW_PULL_PARTIAL);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job"), 0);
    stop_daemon(pid);
}
END_TEST

/* The patient signs in again, at another endpoint, while a pull runs: the new tokens go nowhere else. */
START_TEST(a_refresh_asks_where_the_patient_signed_in_last)
{
    gate_open = false;
    pid_t pid = start_daemon();
    while (script_server_count(hospital) == 0) {
        (void)poll(NULL, 0, 5);
    }
    char sql[800];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE connection SET pinned = '{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}'"
                   " ORDER BY created_at DESC LIMIT 1",
                   script_server_url(hospital, "/fhir"), script_server_url(hospital, "/new-token"));
    cw_test_db_sql(&test, sql);
    gate_open = true;
    (void)wait_for_end();
    unsigned old = 0, new = 0;
    for (size_t i = 0; i < script_server_count(hospital); i++) {
        const char *target = script_server_request(hospital, i)->target;
        old += strncmp(target, "/token", 6) == 0;
        new += strncmp(target, "/new-token", 10) == 0;
    }
    ck_assert_uint_eq(old, 0);
    ck_assert_uint_eq(new, 1);
    stop_daemon(pid);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- the budget of a minute */

#define AT(second) (INT64_C(1700000000) * CW_SECOND_US + (second) * CW_SECOND_US)

START_TEST(a_budget_holds_in_any_minute)
{
    struct budget budget = { 0 };
    ck_assert_int_eq(budget_free_us(&budget), 0);
    budget_take(&budget, AT(0)); /* no limit: nothing to remember */
    ck_assert(budget_limit(&budget, 3));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(budget_free_us(&budget), AT(i * 20));
        budget_take(&budget, AT(i * 20)); /* 0, 20, 40 */
    }
    ck_assert_int_eq(budget_free_us(&budget), AT(60));
    budget_take(&budget, AT(60));
    ck_assert_int_eq(budget_free_us(&budget), AT(80));
    budget_take(&budget, AT(90));
    ck_assert_int_eq(budget_free_us(&budget), AT(100));
    budget_release(&budget);
}
END_TEST

START_TEST(a_stricter_budget_counts_what_was_before)
{
    struct budget budget = { 0 };
    ck_assert(budget_limit(&budget, 4));
    for (int i = 0; i < 5; i++) {
        budget_take(&budget, AT(i)); /* the ring went round once */
    }
    ck_assert(budget_limit(&budget, 9)); /* looser: as it was */
    ck_assert_uint_eq(budget.rate, 4);
    ck_assert(budget_limit(&budget, 0));
    ck_assert(budget_limit(&budget, CW_BUDGET_RATE_MAX + 1));
    ck_assert_int_eq(budget_free_us(&budget), AT(61));
    ck_assert(budget_limit(&budget, 2));
    ck_assert_int_eq(budget_free_us(&budget), AT(63)); /* of 3 and 4 */
    budget_take(&budget, AT(63));
    ck_assert_int_eq(budget_free_us(&budget), AT(64));
    ck_assert(budget_limit(&budget, 1));
    ck_assert_int_eq(budget_free_us(&budget), AT(123));
    budget_release(&budget);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- without a pull */

/* No pull waits, and the grant has idled for a month; its token endpoint is the stranger, with this script. */
static void idle_at_stranger(const struct script_answer *answers, size_t count)
{
    char sql[400];
    script_server_stop(stranger);
    stranger = script_server_start(answers, count);
    cw_test_db_sql(&test, "DELETE FROM job");
    (void)snprintf(sql, sizeof sql, "UPDATE connection SET pinned = REPLACE(pinned, '%s', '%s')",
                   script_server_url(hospital, "/token"), script_server_url(stranger, "/token"));
    cw_test_db_sql(&test, sql);
    cw_test_db_sql(&test, "UPDATE token_grant SET refresh_due_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY");
}

static bool within(int seconds, const char *sql)
{
    for (int i = 0; i < seconds * 20 && cw_test_db_number(&test, sql) != 1; i++) {
        (void)poll(NULL, 0, 50);
    }
    return cw_test_db_number(&test, sql) == 1;
}

#define OURS "g.connection = (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)"
#define NEW_TOKENS "{\"access_token\":\"access-2\",\"refresh_token\":\"refresh-2\",\"expires_in\":3600}"

START_TEST(an_idle_grant_is_refreshed_without_a_pull)
{
    static const struct script_answer tokens[] = { { .body = NEW_TOKENS } };
    cw_test_db_sql(&test, "DELETE FROM token_grant WHERE connection <> (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)");
    idle_at_stranger(tokens, 1);
    pid_t pid = start_daemon();
    ck_assert(within(20, "SELECT version = 2 FROM token_grant g WHERE " OURS));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT refresh_due_at > UTC_TIMESTAMP(3) + INTERVAL 23 DAY FROM token_grant g WHERE " OURS), 1);
    (void)poll(NULL, 0, 1500);
    ck_assert_uint_eq(script_server_count(stranger), 1);
    ck_assert_uint_eq(script_server_count(hospital), 0);
    stop_daemon(pid);
}
END_TEST

START_TEST(a_host_that_wants_quiet_has_it_from_all_grants)
{
    static const struct script_answer busy[] = { { .keep = true, .status = 429, .headers = "Retry-After: 600\r\n", .body = "" } };
    struct cw_err err = { 0 };
    char pinned[600];
    cw_test_db_sql(&test, "DELETE FROM token_grant");
    (void)snprintf(pinned, sizeof pinned, "{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}",
                   script_server_url(hospital, "/fhir"), script_server_url(hospital, "/token"));
    for (int i = 0; i < 5; i++) {
        must(cw_tx_pool(m.pool, connect_tx, pinned, &err), &err);
    }
    idle_at_stranger(busy, 1);
    pid_t pid = start_daemon();
    ck_assert(within(20, "SELECT COUNT(*) = 0 FROM token_grant WHERE refresh_due_at < UTC_TIMESTAMP(3)"));
    (void)poll(NULL, 0, 2500);
    ck_assert_uint_ge(script_server_count(stranger), 1);
    ck_assert_uint_le(script_server_count(stranger), 2); /* as many as may be under way at once */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection c JOIN token_grant g ON g.connection = c.id WHERE c.status = 1"), 5);
    stop_daemon(pid);
}
END_TEST

START_TEST(what_a_killed_scheduler_asked_is_asked_again)
{
    static const struct script_answer script_held[] = { { .hold = true }, { .body = NEW_TOKENS } };
    cw_test_db_sql(&test, "DELETE FROM token_grant WHERE connection <> (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)");
    idle_at_stranger(script_held, 2);
    pid_t pid = start_daemon();
    while (script_server_count(stranger) == 0) {
        (void)poll(NULL, 0, 5);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT lease_owner REGEXP '^.+[.][a-z2-7]{16}[.][0-9a-f]{8}/[a-z2-7]{8}$' FROM token_grant g WHERE " OURS), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    int64_t from_us = cw_monotonic_us();
    pid = start_daemon();
    ck_assert(within(30, "SELECT version = 2 FROM token_grant g WHERE " OURS));
    int64_t took_us = cw_monotonic_us() - from_us;
    ck_assert(took_us > 2 * CW_SECOND_US); /* the pause of a lost answer */
    ck_assert(took_us < 40 * CW_SECOND_US); /* and not the dead one's lease */
    ck_assert_uint_eq(script_server_count(stranger), 2);
    ck_assert_ptr_nonnull(strstr(script_server_request(stranger, 1)->body, "refresh_token=refresh-1"));
    stop_daemon(pid);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("scheduler");
    TCase *b = tcase_create("budget");
    tcase_add_test(b, a_budget_holds_in_any_minute);
    tcase_add_test(b, a_stricter_budget_counts_what_was_before);
    suite_add_tcase(s, b);
    TCase *t = tcase_create("pulls");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_pull_gets_what_there_is_and_tells_the_rest);
    tcase_add_test(t, a_killed_scheduler_is_taken_over_at_once);
    tcase_add_test(t, a_refresh_asks_where_the_patient_signed_in_last);
    tcase_add_test(t, an_idle_grant_is_refreshed_without_a_pull);
    tcase_add_test(t, a_host_that_wants_quiet_has_it_from_all_grants);
    tcase_add_test(t, what_a_killed_scheduler_asked_is_asked_again);
    suite_add_tcase(s, t);
    suite_add_tcase(s, tcase_odd());
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
