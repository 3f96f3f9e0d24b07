/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of a signing key from next to retired: no wait is skipped, no step is taken twice, no key set is without the key that signs. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "model/signing.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/ctl_run.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_err err;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };
#define OK(call) ck_assert_msg((call) == CW_OK, "%s: %s", err.where, err.text)
#define ctl(...) ctl_run(&test, (const char *const[]){ __VA_ARGS__, NULL })

static void setup(void)
{
    cw_test_db_init(&test, true);
    ctl_configure(&test, NULL, 9, "");
    OK(cw_model_init(&m, test.config, 4, &err));
}

static void teardown(void)
{
    cw_clock_shift_us(0);
    cw_model_release(&m);
    cw_test_db_release(&test);
}

static void later(int64_t us)
{
    static int64_t shift;
    shift = us == 0 ? 0 : shift + us;
    cw_clock_shift_us(shift);
}

static int64_t count_stage(int stage)
{
    char sql[120];
    (void)snprintf(sql, sizeof sql,
                   "SELECT COUNT(*) FROM signing_key WHERE alg = 'ES384' AND stage = %d", stage);
    return cw_test_db_number(&test, sql);
}

/* The kid that signs; the published set must hold it, once, and no private member. */
static void signer(char kid[64])
{
    struct cw_signing_key *key = NULL;
    CW_AUTO_JSON *set = NULL;
    CW_AUTO_STR text;
    cw_str_init(&text, 65536);
    OK(cw_signing_key_current(&m, CW_ALG_ES384, &key, &err));
    (void)snprintf(kid, 64, "%s", cw_signing_key_kid(key));
    cw_signing_key_free(key);
    OK(cw_signing_jwks(&m, &text, &err));
    OK(cw_json_parse(cw_str_span(&text), (struct cw_json_limits){ 65536, 8, 0 }, &set, &err));
    const json_t *keys = json_object_get(set, "keys");
    unsigned found = 0;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        static const char *const private[] = { "d", "p", "q", "dp", "dq", "qi", "k" };
        const json_t *jwk = json_array_get(keys, i);
        for (size_t j = 0; j < CW_ARRAY_LEN(private); j++) {
            ck_assert_ptr_null(json_object_get(jwk, private[j]));
        }
        ck_assert_str_eq(json_string_value(json_object_get(jwk, "use")), "sig");
        ck_assert_str_eq(json_string_value(json_array_get(json_object_get(jwk, "key_ops"), 0)),
                         "verify");
        found += strcmp(json_string_value(json_object_get(jwk, "kid")), kid) == 0;
    }
    ck_assert_uint_eq(found, 1);
}

static struct cw_signing_walked rotate(bool emergency)
{
    struct cw_signing_walked walked = { .step = CW_SIGNING_NOTHING };
    OK(cw_signing_rotate(&m, &actor, CW_ALG_ES384, emergency, &walked, &err));
    return walked;
}

START_TEST(a_rotation_waits_where_it_must)
{
    char first[64], second[64], third[64];
    later(0);
    signer(first);
    struct cw_signing_walked walked = rotate(false);
    ck_assert_int_eq(walked.step, CW_SIGNING_WAITS_NEXT);
    int64_t left_us = walked.until_us - cw_now_us();
    ck_assert(left_us > CW_SIGNING_NEXT_US - CW_MINUTE_US && left_us <= CW_SIGNING_NEXT_US);
    later(CW_SIGNING_NEXT_US - CW_MINUTE_US);
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_WAITS_NEXT); /* a minute short */
    signer(second);
    ck_assert_str_eq(first, second);
    later(CW_MINUTE_US);
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_PROMOTED);
    signer(second);
    ck_assert_str_ne(first, second);
    ck_assert(count_stage(1) == 1 && count_stage(2) == 1 && count_stage(3) == 1);
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_WAITS_PREVIOUS);
    later(CW_SIGNING_PREVIOUS_US - CW_MINUTE_US);
    walked = rotate(false);
    ck_assert(walked.step == CW_SIGNING_WAITS_PREVIOUS && walked.retired == 0 &&
              count_stage(3) == 1);
    later(CW_MINUTE_US);
    walked = rotate(false);
    ck_assert(walked.step == CW_SIGNING_WAITS_NEXT && walked.retired == 1);
    ck_assert(count_stage(3) == 0 && count_stage(4) == 1);
    ck_assert_int_eq(
        cw_test_db_number(
            &test, "SELECT COUNT(*) FROM signing_key WHERE stage = 4 AND private_sealed IS NULL"),
        1);
    later(CW_SIGNING_NEXT_US);
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_PROMOTED);
    signer(third);
    ck_assert_str_ne(second, third);
    ck_assert_int_eq(
        cw_test_db_number(
            &test,
            "SELECT COUNT(*) FROM audit WHERE action = 'signing_key.rotate' AND detail = 'ES384'"),
        2);
    ck_assert_int_eq(
        cw_test_db_number(&test,
                          "SELECT COUNT(*) FROM signing_key WHERE alg = 'RS384' AND stage > 2"),
        0);
}
END_TEST

START_TEST(an_emergency_waits_for_nothing)
{
    char first[64], second[64], third[64];
    later(0);
    signer(first);
    ck_assert_int_eq(rotate(true).step, CW_SIGNING_REPLACED);
    signer(second);
    ck_assert_str_ne(first, second);
    ck_assert(count_stage(1) == 1 && count_stage(2) == 1 && count_stage(3) == 0 &&
              count_stage(4) == 1);
    ck_assert_int_eq(
        cw_test_db_number(
            &test,
            "SELECT COUNT(*) FROM signing_key WHERE stage = 4 AND private_sealed IS NOT NULL"),
        0);
    cw_test_db_sql(
        &test,
        "DELETE FROM signing_key WHERE alg = 'ES384' AND stage = 1"); /* even without a next key */
    ck_assert_int_eq(rotate(true).step, CW_SIGNING_REPLACED);
    signer(third);
    ck_assert_str_ne(second, third);
    cw_test_db_sql(&test, "DELETE FROM signing_key WHERE alg = 'ES384' AND stage = 1");
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_PUBLISHED);
    ck_assert_int_eq(rotate(false).step, CW_SIGNING_WAITS_NEXT);
}
END_TEST

static void *rotate_once(void *arg)
{
    struct cw_signing_walked *walked = arg;
    struct cw_err ignored = { 0 };
    if (cw_signing_rotate(&m, &actor, CW_ALG_ES384, false, walked, &ignored) != CW_OK) {
        walked->step = CW_SIGNING_NOTHING;
    }
    return NULL;
}

START_TEST(two_nodes_take_one_step)
{
    enum { NODES = 4 };
    pthread_t threads[NODES];
    struct cw_signing_walked walked[NODES];
    char kid[64];
    unsigned promoted = 0;
    later(0);
    signer(kid);
    later(CW_SIGNING_NEXT_US);
    for (size_t i = 0; i < NODES; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, rotate_once, &walked[i]), 0);
    }
    for (size_t i = 0; i < NODES; i++) {
        (void)pthread_join(threads[i], NULL);
        promoted += walked[i].step == CW_SIGNING_PROMOTED;
    }
    ck_assert_uint_eq(promoted, 1);
    ck_assert(count_stage(1) == 1 && count_stage(2) == 1 && count_stage(3) == 1);
    signer(kid);
}
END_TEST

START_TEST(upkeep_walks_by_the_clock)
{
    unsigned count = 9;
    char first[64], second[64];
    later(0);
    OK(cw_signing_sweep(&m, &actor, 0, &count, &err));
    ck_assert_uint_eq(count, 0); /* nobody has asked for a key */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM signing_key"), 0);
    signer(first); /* of both algorithms, with the key set */
    later(364 * CW_DAY_US);
    OK(cw_signing_sweep(&m, &actor, 0, &count, &err));
    ck_assert_uint_eq(count, 0);
    later(CW_DAY_US);
    OK(cw_signing_sweep(&m, &actor, 0, &count, &err));
    ck_assert_uint_eq(count, 2);
    signer(second);
    ck_assert_str_ne(first, second);
    OK(cw_signing_sweep(&m, &actor, 0, &count, &err));
    ck_assert_uint_eq(count, 0);
    later(CW_DAY_US);
    OK(cw_signing_sweep(&m, &actor, 0, &count, &err));
    ck_assert_uint_eq(count, 2); /* retired */
    ck_assert(count_stage(3) == 0 && count_stage(4) == 1);
}
END_TEST

/* A process that dies somewhere in a step leaves all of it or nothing. */
START_TEST(a_death_between_stages_loses_no_key)
{
    char kid[64];
    later(0);
    signer(kid);
    for (unsigned round = 0; round < 12; round++) {
        later(CW_SIGNING_NEXT_US + CW_SIGNING_PREVIOUS_US);
        pid_t child = fork();
        if (child == 0) {
            struct cw_model own = { 0 };
            struct cw_signing_walked walked;
            struct cw_err ignored = { 0 };
            if (cw_model_init(&own, test.config, 1, &ignored) == CW_OK) {
                (void)!cw_signing_rotate(&own, &actor, CW_ALG_ES384, false, &walked, &ignored);
            }
            _exit(0);
        }
        (void)usleep(2000 + round * 3000);
        (void)kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        ck_assert_int_eq(count_stage(2), 1);
        ck_assert_int_eq(count_stage(1), 1);
        signer(kid);
    }
    (void)rotate(false);
    signer(kid);
}
END_TEST

START_TEST(the_command_says_what_it_waits_for)
{
    later(0);
    ck_assert_int_eq(ctl("signing-key", "status", "--json"), CTL_DONE);
    ck_assert_str_eq(ctl_out, "[]\n");
    ck_assert_int_eq(ctl("signing-key", "rotate"), CTL_FAILED);
    ck_assert_ptr_nonnull(strstr(ctl_out, "may not know the next key"));
    ck_assert_ptr_nonnull(strstr(ctl_problem, "--emergency"));
    ck_assert_int_eq(ctl("signing-key", "status"), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "signs"));
    cw_test_db_sql(&test, "UPDATE signing_key SET stage_since = stage_since - INTERVAL 26 HOUR");
    ck_assert_int_eq(ctl("signing-key", "rotate", "--alg", "ES384", "--json"), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "\"promoted\""));
    ck_assert_int_eq(ctl("signing-key", "rotate", "--alg", "ES384"), CTL_FAILED);
    ck_assert_int_eq(ctl("signing-key", "rotate", "--alg", "ES384", "--emergency"), CTL_DONE);
    ck_assert_int_eq(ctl("signing-key", "status", "--json"), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "private half destroyed"));
    ck_assert_int_eq(ctl("signing-key", "rotate", "--alg", "HS256"), CTL_USAGE);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("signing key");
    TCase *tcase = tcase_create("signing key");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_rotation_waits_where_it_must);
    tcase_add_test(tcase, an_emergency_waits_for_nothing);
    tcase_add_test(tcase, two_nodes_take_one_step);
    tcase_add_test(tcase, upkeep_walks_by_the_clock);
    tcase_add_test(tcase, a_death_between_stages_loses_no_key);
    tcase_add_test(tcase, the_command_says_what_it_waits_for);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
