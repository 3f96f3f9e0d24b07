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
#include "model/pull_receipt.h"
#include "model/registration.h"
#include "os/sys.h"
#include "scheduler/budget.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"
#include "tests/unit/test_scheduler.h"

struct cw_test_db sched_test;
struct cw_model sched_model;
struct cw_arena *sched_arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "test" };
struct script_server *sched_hospital;
struct script_server *sched_stranger;
static struct cw_registration_id registration;
static struct cw_connection connection;
struct cw_pull_id sched_pull;
static struct cw_org_id org;
static unsigned busy_once; /* 503s already given */
char *(*sched_odd_answer)(const char *target, int *ret_status);
enum sched_temper sched_temper;
const char *sched_signed_in_with = "refresh-1";
static atomic_bool gate_open = true; /* closed: the hospital's metadata wait */

void sched_must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

/* ---------------------------------------------------------------------------------------------- the hospital */

char *sched_text(const char *format, ...)
{
    char *out = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&out, format, args);
    va_end(args);
    ck_assert_int_ge(n, 0);
    return out;
}

char *sched_bundle(const char *id, const char *next)
{
    char *link = next == NULL ? strdup("") : sched_text("\"link\":[{\"relation\":\"next\",\"url\":\"%s\"}],", next);
    char *body = sched_text("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",%s\"entry\":[{\"resource\":"
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
        return sched_bundle("lab-2", NULL);
    }
    if (strstr(target, "laboratory") != NULL) {
        if (busy_once++ == 0) {
            *ret_status = 503;
            return strdup("later");
        }
        return sched_bundle("lab-1", "Observation?page=2"); /* relative, as some servers send it */
    }
    if (strstr(target, "vital-signs") != NULL) {
        char *next = sched_text("%s", script_server_url(sched_stranger, "/pages?page=3"));
        char *body = sched_bundle("vital-1", next);
        free(next);
        return body;
    }
    if (strstr(target, "social-history") != NULL) {
        return sched_bundle("social-1", script_server_url(sched_hospital, target));
    }
    if (strstr(target, "category=") == NULL) {
        *ret_status = 403;
        return strdup("");
    }
    return strdup("{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[{\"resource\":"
                  "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\",\"code\":\"processing\"}]},"
                  "\"search\":{\"mode\":\"outcome\"}}]}");
}

char *sched_answer(void *arg, const struct script_request *request, int *ret_status)
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
        char *own = sched_odd_answer == NULL ? NULL : sched_odd_answer(request->target, ret_status);
        return own != NULL ? own : strdup(CAPABILITY);
    }
    bool known = bearer != NULL && strcmp(bearer, "Bearer access-2") == 0;
    if (!known || sched_temper == REFUSES_ALL || (sched_temper == REFUSES_TYPES && strncmp(request->target, "/fhir/Observation", 17) == 0)) {
        *ret_status = 401;
        return strdup("<html>Unauthorized</html>");
    }
    char *odd = sched_odd_answer == NULL ? NULL : sched_odd_answer(request->target, ret_status);
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

const struct script_answer sched_script[1] = { { .keep = true, .make = sched_answer } };
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

/* With files of its own, for the odd ones. */
static const struct script_answer with_files[] = {
    { .path = "/fhir/Binary/b1", .keep = true, .type = "application/pdf", .make = binary_as_pdf },
    { .path = "/fhir/files/good", .keep = true, .type = "application/pdf", .make = only_as_pdf },
    { .path = "/fhir/files/other", .keep = true, .type = "application/pdf", .body = "%PDF-2" },
    { .path = "/fhir/files/login", .keep = true, .type = "text/html; charset=utf-8", .body = "<html><form>Sign in</form></html>" },
    { .path = "/fhir/files/page", .keep = true, .type = "text/html", .body = "<html>A note</html>" },
    { .path = "/fhir/files/page-login", .keep = true, .type = "text/html", .body = "<html><input TYPE=\"Password\"></html>" },
    { .keep = true, .make = sched_answer },
};
static const struct script_answer nobody[] = { { .keep = true, .body = "{}" } };

/* ---------------------------------------------------------------------------------------------- the connection */

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const char *pinned = arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient;
    enum cw_code rc = cw_patient_upsert(&sched_model, db, org, &wanted, sched_arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },
                                  .org = org,
                                  .patient = patient,
                                  .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },
                                  .registration = registration,
                                  .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/Patient.rs patient/Observation.rs patient/Goal.rs"),
                                  .pinned = cw_span_cstr(pinned),
                                  .one_time = sched_signed_in_with == NULL };
    connection = (struct cw_connection){ .org = org, .patient = patient, .endpoint = put.endpoint, .source = put.source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, sched_arena, &connection.id, err);
    }
    struct grant_put grant = { .access_token = cw_span_cstr(sched_signed_in_with == NULL ? "access-2" : "access-1"),
                               .refresh_token = cw_span_cstr(sched_signed_in_with),
                               .obtained_us = cw_now_us(),
                               .expires_us = cw_now_us() + CW_HOUR_US };
    if (rc == CW_OK) {
        rc = grant_put(db, &key, connection.id, &grant, sched_arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&sched_model, db, &connection, CW_PULL_CONNECTED, &sched_pull, err) : rc;
}

void sched_connect_patient(void)
{
    struct cw_err err = { 0 };
    char pinned[600];
    (void)snprintf(pinned, sizeof pinned, "{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}",
                   script_server_url(sched_hospital, "/fhir"), script_server_url(sched_hospital, "/token"));
    sched_must(cw_tx_pool(sched_model.pool, connect_tx, pinned, &err), &err);
}

void sched_setup(void)
{
    struct cw_err err = { 0 };
    sched_arena = cw_arena_new((size_t)32 * 1024 * 1024);
    sched_hospital = script_server_start(with_files, CW_ARRAY_LEN(with_files));
    sched_stranger = script_server_start(nobody, 1);
    static unsigned n;
    char name[32];
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    busy_once = 0;
    sched_odd_answer = NULL;
    cw_test_db_sql(&sched_test, "DELETE FROM event");
    sched_must(cw_org_create(&sched_model, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    static const struct cw_span hosts[] = { CW_SPAN("127.0.0.1") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"),
                                      .client_id = CW_SPAN("app"), .method = CW_AUTH_NONE, .hosts = hosts,
                                      .host_count = 1 };
    sched_must(cw_registration_add(&sched_model, &actor, &wanted, (struct cw_span){ NULL, 0 }, &registration, &err), &err);
    sched_connect_patient();
}

/* ---------------------------------------------------------------------------------------------- the daemon */

char sched_allowed[2000];
static pid_t daemon_pid; /* 0: none runs */

pid_t sched_start_daemon(void)
{
    struct cw_err err = { 0 };
    char path[200], conf[4000];
    (void)snprintf(path, sizeof path, "%s/scheduler.conf", sched_test.folder);
    (void)snprintf(conf, sizeof conf,
                   "[server]\norigin = https://cw.test\nsql_dir = %s/sql\nstate_dir = %s\nvendors_dir = %s/conf/vendors\n"
                   "[database]\nsocket = %s\nname = %s\nuser = root\n[vault]\nmaster_keys = test=%s/master.key\n"
                   "[net]\nallow = 127.0.0.1:%u 127.0.0.1:%u%s\n",
                   CW_TEST_SRCDIR, sched_test.folder, CW_TEST_SRCDIR, getenv("CW_TEST_DB_SOCKET"), sched_test.name, sched_test.folder,
                   script_server_port(sched_hospital), script_server_port(sched_stranger), sched_allowed);
    sched_must(cw_file_replace(path, 0600, cw_span_cstr(conf), &err), &err);
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
    daemon_pid = pid;
    ck_assert_int_gt(pid, 0); /* not in the child: Check's file of messages is shared with it */
    return pid;
}

void sched_stop_daemon(pid_t pid)
{
    int status = 0;
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    daemon_pid = 0;
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

void sched_teardown(void)
{
    if (daemon_pid > 0) { /* of a test that failed */
        (void)kill(daemon_pid, SIGKILL);
        (void)waitpid(daemon_pid, NULL, 0);
        daemon_pid = 0;
    }
    sched_temper = PLAIN;
    sched_signed_in_with = "refresh-1";
    script_server_stop(sched_hospital);
    script_server_stop(sched_stranger);
    cw_arena_free(sched_arena);
}

struct cw_pull sched_wait_for_end(void)
{
    struct cw_pull ret = { 0 };
    for (int i = 0; i < 1200 && ret.status < CW_PULL_COMPLETE; i++) {
        struct cw_err err = { 0 };
        cw_arena_clear(sched_arena);
        sched_must(cw_pull_get(&sched_model, sched_pull, sched_arena, &ret, &err), &err);
        (void)poll(NULL, 0, ret.status < CW_PULL_COMPLETE ? 50 : 0);
    }
    ck_assert_int_ge(ret.status, CW_PULL_COMPLETE);
    return ret;
}

void sched_killed_daemon(void)
{
    daemon_pid = 0;
}

const struct cw_task *sched_task_of(const struct cw_task *tasks, size_t count, const char *code)
{
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].failure_code.ptr != NULL && cw_span_eq_cstr(tasks[i].failure_code, code) &&
            tasks[i].status == CW_TASK_FAILED) {
            return &tasks[i];
        }
    }
    return NULL;
}

/* The attempt that made the connection, and a later one that failed: it changed nothing. */
static void insert_attempts(void)
{
    static const char *const asked[] = { "openid patient/Patient.rs patient/Observation.read patient/Condition.read", "openid" };
    for (int i = 0; i < 2; i++) {
        char sql[1200];
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO attempt (id, session, organization, patient, source, endpoint, connection, status, state_expires_at,"
                       " browser_hash, scopes_asked, key_version, language, started_at) SELECT CONCAT(SUBSTR(id, 1, 15), '%d'), id, organization, patient,"
                       " source, endpoint, id, %d, NOW(3), RPAD('', 32, 'x'), '%s', 1, 'en', NOW(3) FROM connection ORDER BY created_at DESC, id DESC LIMIT 1",
                       i, i == 0 ? 3 : 4, asked[i]);
        cw_test_db_sql(&sched_test, sql);
    }
}

/* Every request for data that the hospital has seen stands in the receipt: those that a stale token, a 503 and a redirect cost, too. */
static void check_receipt(const struct cw_pull *ended)
{
    struct cw_err err = { 0 };
    struct cw_pull_receipt receipt;
    struct cw_receipt_check check;
    sched_must(cw_pull_receipt_get(&sched_model, sched_pull, sched_arena, &receipt, &err), &err);
    sched_must(cw_pull_receipt_verify(&sched_model, &receipt, sched_arena, &check, &err), &err);
    ck_assert_int_eq(check.stage, CW_SIGNING_CURRENT);
    json_t *json = json_loadb(receipt.json.ptr, receipt.json.len, 0, NULL);
    const json_t *totals = json_object_get(json, "totals");
    unsigned asked = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        const char *target = script_server_request(sched_hospital, i)->target;
        asked += strncmp(target, "/fhir/", 6) == 0 && strncmp(target, "/fhir/metadata", 14) != 0;
    }
    ck_assert_int_eq(json_integer_value(json_object_get(totals, "requests")), asked);
    ck_assert_uint_eq(ended->requests, asked);
    ck_assert_int_gt(asked, json_integer_value(json_object_get(totals, "pages")));
    ck_assert_int_eq(json_integer_value(json_object_get(totals, "created")), 6);
    char *lost = json_dumps(json_object_get(json_object_get(json, "scopes"), "lost"), JSON_COMPACT);
    ck_assert_str_eq(lost, "[\"openid\",\"patient/Condition.read\"]"); /* Observation came in the other dialect */
    free(lost);
    json_decref(json);
}

START_TEST(a_pull_gets_what_there_is_and_tells_the_rest)
{
    insert_attempts();
    pid_t pid = sched_start_daemon();
    struct cw_pull ended = sched_wait_for_end();
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count, types;
    struct cw_record_count *census;
    sched_must(cw_pull_tasks(&sched_model, sched_pull, sched_arena, &tasks, &count, &err), &err);
    sched_must(cw_record_census(&sched_model, connection.patient, sched_arena, &census, &types, &err), &err);
    ck_assert_int_eq(ended.status, CW_PULL_PARTIAL);
    ck_assert_uint_eq(types, 3);
    ck_assert_uint_eq(census[0].count, 1); /* the Goal of no known time */
    ck_assert_uint_eq(census[1].count, 4); /* lab-1, lab-2, vital-1, social-1 */
    ck_assert_uint_eq(census[2].count, 1); /* the Patient */
    ck_assert_ptr_nonnull(sched_task_of(tasks, count, "next_off_origin"));
    ck_assert_ptr_nonnull(sched_task_of(tasks, count, "paging_loop"));
    ck_assert_uint_eq(script_server_count(sched_stranger), 0);

    unsigned refreshes = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        const struct script_request *request = script_server_request(sched_hospital, i);
        refreshes += strncmp(request->target, "/token", 6) == 0;
        if (strncmp(request->target, "/token", 6) == 0) {
            ck_assert_ptr_nonnull(strstr(request->body, "refresh_token=refresh-1"));
        }
    }
    ck_assert_uint_eq(refreshes, 1);
    check_receipt(&ended);
    struct cw_grant grant = { 0 };
    sched_must(cw_grant_get(&sched_model, connection.id, &grant, &err), &err);
    ck_assert(cw_span_eq_cstr(cw_secret_span(&grant.refresh), "refresh-2"));
    cw_grant_release(&grant);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM event WHERE kind IN (3, 4)"), 1);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM job WHERE ready_at IS NULL OR ready_at <= UTC_TIMESTAMP()"), 0);
    /* Numbered by the sequencer. */
    for (int i = 0; i < 200 && cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM event WHERE sequence IS NULL") > 0; i++) {
        (void)poll(NULL, 0, 10);
    }
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM event WHERE sequence = 1"), 1);
    sched_stop_daemon(pid);
}
END_TEST

START_TEST(a_killed_scheduler_is_taken_over_at_once)
{
    pid_t pid = sched_start_daemon();
    while (script_server_count(sched_hospital) < 3) {
        (void)poll(NULL, 0, 5);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    pid = sched_start_daemon();
    ck_assert_int_eq(sched_wait_for_end().status, CW_PULL_PARTIAL);
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM job WHERE ready_at IS NULL OR ready_at <= UTC_TIMESTAMP()"), 0);
    sched_stop_daemon(pid);
}
END_TEST

/* The patient signs in again, at another endpoint, while a pull runs: the new tokens go nowhere else. */
START_TEST(a_refresh_asks_where_the_patient_signed_in_last)
{
    gate_open = false;
    pid_t pid = sched_start_daemon();
    while (script_server_count(sched_hospital) == 0) {
        (void)poll(NULL, 0, 5);
    }
    char sql[800];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE connection SET pinned = '{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}'"
                   " ORDER BY created_at DESC LIMIT 1",
                   script_server_url(sched_hospital, "/fhir"), script_server_url(sched_hospital, "/new-token"));
    cw_test_db_sql(&sched_test, sql);
    gate_open = true;
    (void)sched_wait_for_end();
    unsigned old = 0, new = 0;
    for (size_t i = 0; i < script_server_count(sched_hospital); i++) {
        const char *target = script_server_request(sched_hospital, i)->target;
        old += strncmp(target, "/token", 6) == 0;
        new += strncmp(target, "/new-token", 10) == 0;
    }
    ck_assert_uint_eq(old, 0);
    ck_assert_uint_eq(new, 1);
    sched_stop_daemon(pid);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- the budget of a minute */


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

bool sched_within(int seconds, const char *sql)
{
    for (int i = 0; i < seconds * 20 && cw_test_db_number(&sched_test, sql) != 1; i++) {
        (void)poll(NULL, 0, 50);
    }
    return cw_test_db_number(&sched_test, sql) == 1;
}

/* No pull waits, and the grant has idled for a month; its token endpoint is the stranger, with this script. */
static void idle_at_stranger(const struct script_answer *answers, size_t count)
{
    char sql[400];
    script_server_stop(sched_stranger);
    sched_stranger = script_server_start(answers, count);
    cw_test_db_sql(&sched_test, "DELETE FROM job");
    (void)snprintf(sql, sizeof sql, "UPDATE connection SET pinned = REPLACE(pinned, '%s', '%s')",
                   script_server_url(sched_hospital, "/token"), script_server_url(sched_stranger, "/token"));
    cw_test_db_sql(&sched_test, sql);
    cw_test_db_sql(&sched_test, "UPDATE token_grant SET refresh_due_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY");
}

#define OURS "g.connection = (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)"
#define NEW_TOKENS "{\"access_token\":\"access-2\",\"refresh_token\":\"refresh-2\",\"expires_in\":3600}"

START_TEST(an_idle_grant_is_refreshed_without_a_pull)
{
    static const struct script_answer tokens[] = { { .body = NEW_TOKENS } };
    cw_test_db_sql(&sched_test, "DELETE FROM token_grant WHERE connection <> (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)");
    idle_at_stranger(tokens, 1);
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(20, "SELECT version = 2 FROM token_grant g WHERE " OURS));
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT refresh_due_at > UTC_TIMESTAMP(3) + INTERVAL 23 DAY FROM token_grant g WHERE " OURS), 1);
    (void)poll(NULL, 0, 1500);
    ck_assert_uint_eq(script_server_count(sched_stranger), 1);
    ck_assert_uint_eq(script_server_count(sched_hospital), 0);
    sched_stop_daemon(pid);
}
END_TEST

START_TEST(a_host_that_wants_quiet_has_it_from_all_grants)
{
    static const struct script_answer busy[] = { { .keep = true, .status = 429, .headers = "Retry-After: 600\r\n", .body = "" } };
    struct cw_err err = { 0 };
    char pinned[600];
    cw_test_db_sql(&sched_test, "DELETE FROM token_grant");
    (void)snprintf(pinned, sizeof pinned, "{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}",
                   script_server_url(sched_hospital, "/fhir"), script_server_url(sched_hospital, "/token"));
    for (int i = 0; i < 5; i++) {
        sched_must(cw_tx_pool(sched_model.pool, connect_tx, pinned, &err), &err);
    }
    idle_at_stranger(busy, 1);
    pid_t pid = sched_start_daemon();
    ck_assert(sched_within(20, "SELECT COUNT(*) = 0 FROM token_grant WHERE refresh_due_at < UTC_TIMESTAMP(3)"));
    (void)poll(NULL, 0, 2500);
    ck_assert_uint_ge(script_server_count(sched_stranger), 1);
    ck_assert_uint_le(script_server_count(sched_stranger), 2); /* as many as may be under way at once */
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT COUNT(*) FROM connection c JOIN token_grant g ON g.connection = c.id WHERE c.status = 1"), 5);
    sched_stop_daemon(pid);
}
END_TEST

START_TEST(what_a_killed_scheduler_asked_is_asked_again)
{
    static const struct script_answer script_held[] = { { .hold = true }, { .body = NEW_TOKENS } };
    cw_test_db_sql(&sched_test, "DELETE FROM token_grant WHERE connection <> (SELECT id FROM connection ORDER BY created_at DESC, id DESC LIMIT 1)");
    idle_at_stranger(script_held, 2);
    pid_t pid = sched_start_daemon();
    while (script_server_count(sched_stranger) == 0) {
        (void)poll(NULL, 0, 5);
    }
    ck_assert_int_eq(cw_test_db_number(&sched_test, "SELECT lease_owner REGEXP '^.+[.][a-z2-7]{16}[.][0-9a-f]{8}/[a-z2-7]{8}$' FROM token_grant g WHERE " OURS), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    int64_t from_us = cw_monotonic_us();
    pid = sched_start_daemon();
    ck_assert(sched_within(30, "SELECT version = 2 FROM token_grant g WHERE " OURS));
    int64_t took_us = cw_monotonic_us() - from_us;
    ck_assert(took_us > 2 * CW_SECOND_US); /* the pause of a lost answer */
    ck_assert(took_us < 40 * CW_SECOND_US); /* and not the dead one's lease */
    ck_assert_uint_eq(script_server_count(sched_stranger), 2);
    ck_assert_ptr_nonnull(strstr(script_server_request(sched_stranger, 1)->body, "refresh_token=refresh-1"));
    sched_stop_daemon(pid);
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
    tcase_add_checked_fixture(t, sched_setup, sched_teardown);
    tcase_add_test(t, a_pull_gets_what_there_is_and_tells_the_rest);
    tcase_add_test(t, a_killed_scheduler_is_taken_over_at_once);
    tcase_add_test(t, a_refresh_asks_where_the_patient_signed_in_last);
    tcase_add_test(t, an_idle_grant_is_refreshed_without_a_pull);
    tcase_add_test(t, a_host_that_wants_quiet_has_it_from_all_grants);
    tcase_add_test(t, what_a_killed_scheduler_asked_is_asked_again);
    suite_add_tcase(s, t);
    suite_add_tcase(s, scheduler_odd_tcase());
    return s;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&sched_test, true);
    struct cw_err err = { 0 };
    sched_model = (struct cw_model){ .pool = sched_test.pool, .config = sched_test.config };
    if (cw_vault_new(sched_test.config, &sched_model.vault, &err) != CW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { suite(), scheduler_manners_suite(), NULL };
    int rc = cw_check_main(suites);
    cw_vault_free(sched_model.vault);
    cw_test_db_release(&sched_test);
    return rc;
}
