/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens on their way back: the real scheduler and a scripted revocation endpoint that is busy, cannot, or must not be asked. */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/disconnect.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/registration.h"
#include "model/revocation.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static struct cw_err err;
static struct cw_org_id org;
static struct script_server *server;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "test" };

#define OK(call) \
    do { \
        enum cw_code ok_code = (call); \
        ck_assert_msg(ok_code == CW_OK, "%s: %s: %s (%d)", cw_code_name(ok_code), err.where, err.text, err.sys); \
    } while (0)
#define NUMBER(sql) cw_test_db_number(&test, sql)

static const char *profile = "default";

struct connecting {
    struct cw_registration_id registration;
    struct cw_connection_id id;
};

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *e)
{
    struct connecting *c = arg;
    const struct cw_patient wanted = { .patient_id = CW_SPAN("p") };
    struct cw_patient_row patient;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, e);
    char *pinned = cw_arena_printf(arena, "{\"base\":\"%s\",\"token_endpoint\":\"%s\",\"revocation_endpoint\":\"%s\",\"profile\":\"%s\"}",
                                   script_server_url(server, "/fhir"), script_server_url(server, "/token"),
                                   script_server_url(server, "/revoke"), profile);
    const struct connection_put put = { .id = { cw_ulid_new() }, .org = org, .patient = patient, .endpoint = { cw_ulid_new() },
                                        .source = { cw_ulid_new() }, .registration = c->registration, .session = { cw_ulid_new() },
                                        .upstream_patient = CW_SPAN("up"), .scopes = CW_SPAN("patient/*.rs"),
                                        .pinned = cw_span_cstr(pinned) };
    const struct grant_put grant = { .access_token = CW_SPAN("access-1"), .refresh_token = CW_SPAN("refresh-1"),
                                     .obtained_us = cw_now_us(), .expires_us = cw_now_us() + CW_HOUR_US };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &c->id, e);
    }
    return rc == CW_OK ? grant_put(db, &key, c->id, &grant, arena, e) : rc;
}

/* A connection under a registration that lists `host`, let go of at once. */
static void let_go(const char *host)
{
    const struct cw_span hosts[] = { cw_span_cstr(host) };
    const struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"), .client_id = CW_SPAN("app"),
                                            .method = CW_AUTH_BASIC, .hosts = hosts, .host_count = 1 };
    struct connecting c = { .id = { { { 0 } } } };
    struct cw_disconnected done;
    OK(cw_registration_add(&m, &actor, &wanted, CW_SPAN("s3cret"), &c.registration, &err));
    OK(cw_tx_pool(m.pool, connect_tx, &c, &err));
    OK(cw_connection_disconnect_any(&m, &actor, c.id, arena, &done, &err));
}

static pid_t start_daemon(void)
{
    char path[200], conf[2000];
    (void)snprintf(path, sizeof path, "%s/scheduler.conf", test.folder);
    (void)snprintf(conf, sizeof conf,
                   "[server]\norigin = https://cw.test\nsql_dir = %s/sql\nstate_dir = %s\nvendors_dir = %s/conf/vendors\n"
                   "[database]\nsocket = %s\nname = %s\nuser = root\n[vault]\nmaster_keys = test=%s/master.key\n"
                   "[net]\nallow = 127.0.0.1:%u\n",
                   CW_TEST_SRCDIR, test.folder, CW_TEST_SRCDIR, getenv("CW_TEST_DB_SOCKET"), test.name, test.folder,
                   script_server_port(server));
    OK(cw_file_replace(path, 0600, cw_span_cstr(conf), &err));
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives a failed test */
        setenv("CHARTWAY_CONF", path, 1);
        execl("./chartway-scheduler", "chartway-scheduler", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static void stop_daemon(pid_t pid)
{
    int status = 0;
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void wait_for(const char *sql, int64_t wanted)
{
    int64_t until_us = cw_monotonic_us() + 30 * CW_SECOND_US;
    while (NUMBER(sql) != wanted) {
        ck_assert_msg(cw_monotonic_us() < until_us, "%s is %lld", sql, (long long)NUMBER(sql));
        usleep(20000);
    }
}

static void begin(const struct script_answer *answers, size_t count)
{
    cw_test_db_init(&test, true);
    arena = cw_arena_new((size_t)4 * 1024 * 1024);
    OK(cw_model_init(&m, test.config, 4, &err));
    OK(cw_org_create(&m, &actor, CW_SPAN("Clinic"), CW_ENV_SANDBOX, &org, &err));
    server = script_server_start(answers, count);
}

static void end(void)
{
    script_server_stop(server);
    cw_model_release(&m);
    cw_arena_free(arena);
    cw_test_db_release(&test);
}

static bool asked(size_t at, const char *needle)
{
    return at < script_server_count(server) && strstr(script_server_request(server, at)->body, needle) != NULL;
}

#define STATUS "SELECT CAST(status AS SIGNED) FROM revocation"
#define EMPTY "SELECT COUNT(*) FROM revocation WHERE refresh_sealed IS NULL AND access_sealed IS NULL AND ended_at IS NOT NULL"

/* Busy at first (RFC 7009 2.2.1: the token still lives), then the refresh token before the access token. */
START_TEST(a_busy_server_is_asked_again)
{
    static const struct script_answer answers[] = {
        { .path = "/revoke", .status = 503, .headers = "Retry-After: 40\r\n", .body = "" },
        { .path = "/revoke", .keep = true, .body = "" },
    };
    begin(answers, CW_ARRAY_LEN(answers));
    let_go("127.0.0.1");
    pid_t pid = start_daemon();
    wait_for("SELECT COUNT(*) FROM revocation WHERE status = 1 AND failure_code IS NOT NULL", 1);
    wait_for("SELECT COUNT(*) FROM job WHERE ready_at IS NOT NULL", 1);
    ck_assert_int_ge(NUMBER("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), ready_at) FROM job"), 30); /* as the server asked */
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation WHERE refresh_sealed IS NOT NULL"), 1);
    cw_test_db_sql(&test, "UPDATE job SET ready_at = UTC_TIMESTAMP(3)");
    wait_for(STATUS, CW_REVOCATION_DONE);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 3);
    ck_assert(asked(0, "token=refresh-1") && asked(1, "token=refresh-1") && asked(1, "token_type_hint=refresh_token"));
    ck_assert(asked(2, "token=access-1") && asked(2, "token_type_hint=access_token"));
    ck_assert_ptr_nonnull(script_request_header(script_server_request(server, 1), "Authorization")); /* as at the token endpoint */
    ck_assert_int_eq(NUMBER(EMPTY), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM job"), 0);
    end();
}
END_TEST

START_TEST(a_kind_that_is_not_revoked_is_left)
{
    static const struct script_answer answers[] = {
        { .path = "/revoke", .keep = true, .status = 400, .body = "{\"error\":\"unsupported_token_type\"}" },
    };
    begin(answers, CW_ARRAY_LEN(answers));
    let_go("127.0.0.1");
    pid_t pid = start_daemon();
    wait_for(STATUS, CW_REVOCATION_NOT_OFFERED);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 2);
    ck_assert_int_eq(NUMBER(EMPTY), 1);
    end();
}
END_TEST

/* The registration is another host's now: neither token nor secret goes there. */
START_TEST(a_host_that_is_not_listed_is_never_asked)
{
    static const struct script_answer answers[] = { { .keep = true, .body = "" } };
    begin(answers, CW_ARRAY_LEN(answers));
    let_go("elsewhere.test");
    pid_t pid = start_daemon();
    wait_for(STATUS, CW_REVOCATION_GIVEN_UP);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation WHERE failure_code = 'host_not_listed'"), 1);
    ck_assert_int_eq(NUMBER(EMPTY), 1);
    end();
}
END_TEST

START_TEST(after_a_day_it_is_given_up)
{
    static const struct script_answer answers[] = { { .path = "/revoke", .keep = true, .status = 503, .body = "" } };
    begin(answers, CW_ARRAY_LEN(answers));
    let_go("127.0.0.1");
    cw_test_db_sql(&test, "UPDATE revocation SET give_up_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND");
    pid_t pid = start_daemon();
    wait_for(STATUS, CW_REVOCATION_GIVEN_UP);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_int_eq(NUMBER(EMPTY), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM audit WHERE action = 'token.revoke' AND detail = 'given_up'"), 1);
    end();
}
END_TEST

/* Blue Button: one token stands for all, so old tokens are not given back over a connection that the patient has made since; once that has ended they are. */
START_TEST(where_one_token_stands_for_all_what_lives_is_spared)
{
    static const struct script_answer answers[] = { { .path = "/revoke", .keep = true, .body = "" } };
    begin(answers, CW_ARRAY_LEN(answers));
    profile = "bluebutton";
    let_go("127.0.0.1");
    cw_test_db_sql(&test, "UPDATE connection SET status = 1"); /* signed in again, before the revoker came */
    pid_t pid = start_daemon();
    wait_for(STATUS, CW_REVOCATION_NOT_OFFERED);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation WHERE failure_code = 'ends_all_access'"), 1);
    cw_test_db_sql(&test, "DELETE FROM revocation");
    let_go("127.0.0.1"); /* another registration, by which nothing lives */
    pid = start_daemon();
    wait_for(STATUS, CW_REVOCATION_DONE);
    stop_daemon(pid);
    ck_assert_uint_eq(script_server_count(server), 2);
    profile = "default";
    end();
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("revocation");
    TCase *tcase = tcase_create("revocation");
    tcase_set_timeout(tcase, 90);
    tcase_add_test(tcase, a_busy_server_is_asked_again);
    tcase_add_test(tcase, a_kind_that_is_not_revoked_is_left);
    tcase_add_test(tcase, a_host_that_is_not_listed_is_never_asked);
    tcase_add_test(tcase, after_a_day_it_is_given_up);
    tcase_add_test(tcase, where_one_token_stands_for_all_what_lives_is_spared);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *[]){ suite, NULL });
}
