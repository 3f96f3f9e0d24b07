/* SPDX-License-Identifier: Apache-2.0 */
/* The daily probes: a secret that dies is told once, before any patient; what heals is told once too; one node walks, gently. */
#include "config.h"

#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "model/probe.h"
#include "os/log.h"
#include "os/sys.h"
#include "scheduler/scheduler.h"
#include "tests/lib/check_main.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/script_server.h"

static struct cw_test_db test;
static struct scheduler s;
static struct cw_config *config;
static struct cw_http *http;
static struct script_server *server;
static struct cw_err err;
static const char *token_body;
static unsigned found, recovered; /* log lines */
#define OK(call) ck_assert_msg((call) == CW_OK, "%s: %s", err.where, err.text)
#define ctl(...) ctl_run(&test, (const char *const[]){ __VA_ARGS__, NULL })

static char *say_token(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    (void)request;
    *ret_status = 400;
    return strdup(token_body);
}

static const struct script_answer hospital[] = {
    { .path = "/fhir/.well-known/smart-configuration",
      .keep = true,
      .body =
          "{\"authorization_endpoint\":\"/oauth/authorize\",\"token_endpoint\":\"/oauth/token\"}" },
    { .path = "/fhir/metadata",
      .keep = true,
      .body = "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"rest\":[{"
              "\"mode\":\"server\"}]}" },
    { .path = "/oauth/token", .keep = true, .make = say_token },
    { .keep = true, .status = 404, .body = "{}" },
};

static void count_lines(void *arg, const char *line)
{
    (void)arg;
    found += strstr(line, "probe.found") != NULL;
    recovered += strstr(line, "probe.recovered") != NULL;
    if (strstr(line, "canary") != NULL) {
        abort();
    }
}

static void setup(void)
{
    char text[256];
    cw_test_db_init(&test, true);
    server = script_server_start(hospital, CW_ARRAY_LEN(hospital));
    ctl_configure(&test, NULL, script_server_port(server), "");
    (void)snprintf(text, sizeof text,
                   "[server]\norigin = https://cw.test\n[vault]\nmaster_keys = a=/x\n[net]\nallow "
                   "= 127.0.0.1:%u\n",
                   script_server_port(server));
    OK(cw_config_parse(cw_span_cstr(text), &config, &err));
    s = (struct scheduler){ .config = config,
                            .owner = "node/1",
                            .actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node" } };
    OK(cw_model_init(&s.model, test.config, 3, &err));
    OK(cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &s.profiles, &err));
    OK(cw_http_new(config, &http, &err));
    token_body = "{\"error\":\"invalid_grant\"}";
    found = recovered = 0;
    cw_log_set_sink(count_lines, NULL);
}

static void teardown(void)
{
    cw_clock_shift_us(0);
    cw_log_set_sink(NULL, NULL);
    cw_http_free(http);
    cw_profiles_free(s.profiles);
    cw_model_release(&s.model);
    cw_config_free(config);
    script_server_stop(server);
    cw_test_db_release(&test);
}

static void register_hospital(void)
{
    char path[128], secret[128];
    (void)snprintf(path, sizeof path, "%s/list", test.folder);
    (void)snprintf(secret, sizeof secret, "%s/secret", test.folder);
    ck_assert_int_eq(
        cw_file_replace(path, 0600, cw_span_cstr(script_server_url(server, "/fhir")), NULL), CW_OK);
    ck_assert_int_eq(cw_file_replace(secret, 0600, CW_SPAN("canary-secret"), NULL), CW_OK);
    ck_assert_int_eq(ctl("source", "import", path, "--name", "Lakeside"), CTL_DONE);
    ck_assert_int_eq(ctl("client", "add", "--source", script_server_url(server, "/fhir"),
                         "--client-id", "app", "--auth", "client_secret_basic", "--secret-file",
                         secret),
                     CTL_DONE);
    OK(cw_turn_prepare(&s.model, &err));
}

/* All that is due, without pauses; how many turns that was. */
static unsigned run_due(void)
{
    unsigned turns = 0;
    bool did = true;
    while (did) {
        OK(probe_due(&s, http, 0, &did, &err));
        turns += did;
    }
    return turns;
}

static void make_due(void)
{
    cw_test_db_sql(&test, "UPDATE probe_turn SET due_at = '2020-01-01'");
}

static int64_t result_of(const char *check)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT COALESCE(MAX(result), 0) FROM probe WHERE name = '%s'",
                   check);
    return cw_test_db_number(&test, sql);
}

START_TEST(a_dying_secret_is_told_once)
{
    register_hospital();
    ck_assert_uint_eq(run_due(), 0); /* nothing is due at once */
    make_due();
    ck_assert_uint_eq(run_due(), 4); /* registration, two walks, installation */
    ck_assert(result_of("token_probe") == 1 && result_of("discovery") == 1 &&
              result_of("fhir_version") == 1);
    ck_assert_uint_eq(found, 0);
    ck_assert_int_eq(ctl("status"), CTL_DONE);
    token_body = "{\"error\":\"invalid_client\"}";
    make_due();
    (void)run_due();
    ck_assert_int_eq(result_of("token_probe"), 4);
    ck_assert_uint_eq(found, 1);
    make_due();
    (void)run_due();
    ck_assert_uint_eq(found, 1); /* it stands: no second word */
    ck_assert_int_eq(ctl("status", "--json"), CTL_FAILED);
    ck_assert_ptr_nonnull(strstr(ctl_out, "secret_rejected"));
    ck_assert_int_eq(ctl("client", "list", "--json"), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "secret_rejected"));
    token_body = "{\"error\":\"invalid_grant\"}";
    make_due();
    (void)run_due();
    ck_assert(found == 1 && recovered == 1);
    ck_assert_int_eq(ctl("status"), CTL_DONE);
    ck_assert_int_eq(ctl("status", "--all", "--json"), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "token_probe"));
    ck_assert_ptr_null(strstr(ctl_out, "canary"));
}
END_TEST

START_TEST(a_server_that_goes_away_and_comes_back)
{
    register_hospital();
    make_due();
    (void)run_due();
    unsigned port = script_server_port(server);
    cw_test_db_sql(
        &test,
        "UPDATE endpoint SET url = 'http://127.0.0.1:1/fhir'"); /* blocked: not on the list */
    make_due();
    (void)run_due();
    ck_assert(result_of("reach") == 4 && found == 1);
    char sql[160];
    (void)snprintf(sql, sizeof sql, "UPDATE endpoint SET url = 'http://127.0.0.1:%u/fhir'", port);
    cw_test_db_sql(&test, sql);
    make_due();
    (void)run_due();
    ck_assert(result_of("reach") == 1 && recovered == 1);
}
END_TEST

START_TEST(one_node_walks)
{
    bool did = true;
    register_hospital();
    make_due();
    cw_test_db_sql(&test, "UPDATE duty SET lease_owner = 'other/1', lease_until = UTC_TIMESTAMP(3) "
                          "+ INTERVAL 1 MINUTE WHERE name = 'probe'");
    size_t before = script_server_count(server);
    OK(probe_due(&s, http, 0, &did, &err));
    ck_assert(!did && script_server_count(server) == before);
    cw_test_db_sql(&test, "UPDATE duty SET lease_until = '2020-01-01' WHERE name = 'probe'");
    OK(probe_due(&s, http, 0, &did, &err));
    ck_assert(did);
}
END_TEST

START_TEST(requests_to_a_host_keep_their_distance)
{
    bool did = false;
    register_hospital();
    cw_test_db_sql(&test, "UPDATE probe_turn SET due_at = '2020-01-01' WHERE kind = 1");
    size_t before = script_server_count(server);
    int64_t start_us = cw_monotonic_us();
    OK(probe_due(&s, http, 300, &did, &err));
    int64_t took_us = cw_monotonic_us() - start_us;
    size_t requests = script_server_count(server) - before;
    ck_assert_uint_eq(requests, 3); /* discovery, metadata, token */
    ck_assert_int_ge(took_us, (int64_t)(requests - 1) * 300 * 1000);
}
END_TEST

START_TEST(turns_are_spread_over_the_day)
{
    unsigned hours[24] = { 0 };
    int64_t now_us = cw_now_us();
    for (unsigned i = 0; i < 2400; i++) {
        int64_t due_us = cw_turn_next(cw_ulid_new(), now_us);
        ck_assert(due_us >= now_us + CW_HOUR_US && due_us < now_us + CW_HOUR_US + CW_DAY_US);
        hours[due_us % CW_DAY_US / CW_HOUR_US]++;
    }
    for (unsigned i = 0; i < 24; i++) {
        ck_assert_msg(hours[i] > 40 && hours[i] < 200, "hour %u has %u", i, hours[i]);
    }
    struct cw_ulid id = cw_ulid_new();
    int64_t first_us = cw_turn_next(id, now_us);
    ck_assert_int_eq(cw_turn_next(id, first_us), first_us + CW_DAY_US);
}
END_TEST

START_TEST(what_is_stale_goes)
{
    register_hospital();
    make_due();
    (void)run_due();
    ck_assert_int_ge(cw_test_db_number(&test, "SELECT COUNT(*) FROM probe"), 5);
    cw_test_db_sql(&test, "UPDATE probe SET checked_at = UTC_TIMESTAMP(3) - INTERVAL 89 DAY");
    OK(cw_turn_prepare(&s.model, &err));
    ck_assert_int_ge(cw_test_db_number(&test, "SELECT COUNT(*) FROM probe"), 5);
    cw_test_db_sql(&test, "UPDATE probe SET checked_at = UTC_TIMESTAMP(3) - INTERVAL 91 DAY");
    OK(cw_turn_prepare(&s.model, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM probe"), 0);
}
END_TEST

START_TEST(turns_come_and_go_with_registrations)
{
    register_hospital();
    OK(cw_turn_prepare(&s.model, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM probe_turn"), 4);
    ck_assert_int_eq(
        cw_test_db_number(
            &test,
            "SELECT COUNT(*) FROM probe_turn WHERE due_at < UTC_TIMESTAMP(3) + INTERVAL 50 MINUTE"),
        0);
    cw_test_db_sql(&test, "UPDATE client_registration SET disabled_at = UTC_TIMESTAMP(3)");
    OK(cw_turn_prepare(&s.model, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM probe_turn"), 3);
    make_due();
    (void)run_due();
    ck_assert_int_eq(
        cw_test_db_number(&test,
                          "SELECT COUNT(*) FROM probe_turn t JOIN source s ON s.id = t.subject"),
        1); /* the walk goes on from there */
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_stop_init();
    cw_log_init("test-probe", CW_LOG_INFO);
    Suite *suite = suite_create("probe");
    TCase *tcase = tcase_create("probe");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_dying_secret_is_told_once);
    tcase_add_test(tcase, a_server_that_goes_away_and_comes_back);
    tcase_add_test(tcase, one_node_walks);
    tcase_add_test(tcase, requests_to_a_host_keep_their_distance);
    tcase_add_test(tcase, turns_are_spread_over_the_day);
    tcase_add_test(tcase, what_is_stale_goes);
    tcase_add_test(tcase, turns_come_and_go_with_registrations);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
