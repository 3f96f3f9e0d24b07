/* SPDX-License-Identifier: Apache-2.0 */
/* The key ring as a whole: rotation under load and under kill -9, a lost and a mistaken master key, verification. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "model/api_key.h"
#include "model/keyring.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/sealed.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_config *config;
static struct cw_model m;
static struct cw_org_id org;
static struct cw_arena *arena;
static struct cw_err err;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

#define OK(call) \
    do { \
        enum cw_code ok_code = (call); \
        ck_assert_msg(ok_code == CW_OK, "%s: %s: %s (%d)", cw_code_name(ok_code), err.where, err.text, err.sys); \
    } while (0)
#define NUMBER(sql) cw_test_db_number(&test, sql)

/* The fixture's configuration with other master keys; %1 to %3 stand for key files of the folder. */
static struct cw_config *conf(const char *keys, const char *active)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 8192);
    cw_str_addf(&text, "[server]\norigin = https://cw.test\nsql_dir = " CW_TEST_SRCDIR "/sql\nstate_dir = %s\n[database]\n"
                "socket = %s\nname = %s\nuser = root\npool = 8\n[vault]\nactive = %s\nmaster_keys = ", test.folder,
                cw_config_text(test.config, CW_CONF_DB_SOCKET), test.name, active);
    for (const char *at = keys; *at != '\0'; at++) {
        if (*at == '%') {
            cw_str_addf(&text, "%s/key%c", test.folder, *++at);
        } else {
            cw_str_add_char(&text, *at);
        }
    }
    cw_str_add_char(&text, '\n');
    struct cw_config *made = NULL;
    OK(cw_config_parse(cw_str_span(&text), &made, &err));
    return made;
}

static void close_model(void)
{
    cw_model_release(&m);
    cw_config_free(config);
    config = NULL;
}

static enum cw_code open_model(const char *keys, const char *active)
{
    config = conf(keys, active);
    enum cw_code rc = cw_model_init(&m, config, 0, &err);
    if (rc != CW_OK) {
        cw_config_free(config);
        config = NULL;
    }
    return rc;
}

static void reopen(const char *keys, const char *active)
{
    close_model();
    OK(open_model(keys, active));
}

static void setup(void)
{
    cw_test_db_init(&test, true);
    for (int i = 1; i <= 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/key%d", test.folder, i);
        OK(cw_vault_make_master(path, &err));
    }
    arena = cw_arena_new(64u * 1024u * 1024u);
    OK(open_model("one=%1", "one"));
    OK(cw_org_create(&m, &actor, CW_SPAN("Clinic"), CW_ENV_SANDBOX, &org, &err));
}

static void teardown(void)
{
    cw_db_pool_free(test.pool); /* what the model prepared is what shall be EXPLAINed */
    test.pool = m.pool;
    m.pool = NULL;
    cw_vault_free(m.vault);
    m.vault = NULL;
    cw_test_db_release(&test);
    cw_config_free(config);
    config = NULL;
    cw_arena_free(arena);
}

static void make_patient(const char *id, const char *email)
{
    const struct cw_patient wanted = { .patient_id = cw_span_cstr(id), .email = cw_span_cstr(email), .name = CW_SPAN("Jane") };
    struct cw_patient made;
    OK(cw_patient_create(&m, &actor, org, &wanted, arena, &made, &err));
}

static void make_patients(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char id[24];
        snprintf(id, sizeof id, "p%u", i);
        make_patient(id, "jane@example.com");
    }
}

static size_t found_by_email(void)
{
    struct cw_patient *list;
    size_t count = 0;
    const struct cw_patient_filter filter = { .email = CW_SPAN("Jane@Example.com"), .limit = 50 };
    OK(cw_patient_list(&m, org, &filter, arena, &list, &count, &err));
    return count;
}

static const struct cw_keyring_use *use_of(const char *id)
{
    static struct cw_keyring_use uses[CW_KEYRING_USES_MAX];
    size_t count = 0;
    OK(cw_keyring_status(&m, arena, uses, &count, &err));
    for (size_t i = 0; i < count; i++) {
        if (cw_span_eq_cstr(uses[i].master_key_id, id)) {
            return &uses[i];
        }
    }
    return NULL;
}

static enum cw_code org_key_tx(struct cw_db *db, void *arg, struct cw_err *e)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    (void)arg;
    return cw_org_key_current(&m, db, org, &key, e);
}

static void make_api_key(struct cw_str *token)
{
    const struct cw_api_key wanted = { .name = CW_SPAN("app"), .scopes = CW_SCOPES_ALL };
    struct cw_api_key_id id;
    OK(cw_api_key_create(&m, &actor, org, &wanted, token, &id, &err));
}

static enum cw_code sign_in(const struct cw_str *token)
{
    struct cw_api_token parsed;
    struct cw_api_key found;
    enum cw_code rc = cw_api_token_read(m.vault, cw_str_span(token), &parsed, &err);
    return rc == CW_OK ? cw_api_key_authenticate(&m, &parsed, arena, &found, &err) : rc;
}

/* ---- rotation */

START_TEST(a_rotation_moves_every_key)
{
    make_patients(450); /* more than two transactions */
    OK(cw_tx_pool(m.pool, org_key_tx, NULL, &err));
    ck_assert_ptr_nonnull(use_of("one"));
    ck_assert_uint_eq(use_of("one")->keys[CW_KEYS_PATIENT], 450);
    ck_assert_uint_eq(use_of("one")->keys[CW_KEYS_DATA], 1);
    reopen("one=%1 two=%2", "two");
    struct cw_keyring_walk walk = { 0 };
    OK(cw_keyring_rotate(&m, &walk, &err));
    ck_assert_uint_eq(walk.done[CW_KEYS_PATIENT], 450);
    ck_assert_uint_eq(walk.done[CW_KEYS_DATA], 1);
    ck_assert_uint_eq(walk.done[CW_KEYS_PURPOSE], 2);
    ck_assert_uint_eq(walk.faults, 0);
    ck_assert_ptr_null(use_of("one"));
    ck_assert_uint_eq(use_of("two")->keys[CW_KEYS_PATIENT], 450);
    ck_assert_int_ne(use_of("two")->oldest_us[CW_KEYS_PATIENT], 0);
    struct cw_keyring_walk again = { 0 };
    OK(cw_keyring_rotate(&m, &again, &err));
    ck_assert_uint_eq(again.done[CW_KEYS_PATIENT] + again.done[CW_KEYS_DATA] + again.done[CW_KEYS_PURPOSE], 0);
    reopen("two=%2", ""); /* the old key is not needed any more */
    ck_assert_uint_eq(found_by_email(), 50 + 1);
    struct cw_keyring_walk verified = { 0 };
    OK(cw_keyring_verify(&m, &verified, &err));
    ck_assert_uint_eq(verified.done[CW_KEYS_PATIENT], 450);
    ck_assert_uint_eq(verified.faults, 0);
}
END_TEST

/* The index hangs on one search key for ever, and API keys outlive the master key that their signing key came from. */
START_TEST(search_and_api_keys_outlive_their_master_key)
{
    CW_AUTO_STR first, second;
    cw_str_init_secret(&first, 1024);
    cw_str_init_secret(&second, 1024);
    make_patient("old", "jane@example.com");
    make_api_key(&first);
    reopen("one=%1 two=%2", "two");
    ck_assert_uint_eq(found_by_email(), 1); /* before the rotation as well */
    make_patient("new", "jane@example.com");
    make_api_key(&second);
    struct cw_keyring_walk walk = { 0 };
    OK(cw_keyring_rotate(&m, &walk, &err));
    reopen("two=%2 three=%3", "three");
    OK(cw_keyring_rotate(&m, &walk, &err));
    reopen("three=%3", "");
    ck_assert_uint_eq(found_by_email(), 2);
    OK(sign_in(&first));
    OK(sign_in(&second));
    /* and no other key is good */
    second.buf[second.len - 3] = second.buf[second.len - 3] == 'A' ? 'B' : 'A';
    ck_assert_int_eq(sign_in(&second), CW_E_AUTH);
}
END_TEST

START_TEST(a_killed_rotation_is_finished_by_the_next)
{
    make_patients(1500);
    close_model();
    pid_t pid = fork();
    if (pid == 0) {
        struct cw_keyring_walk walk = { 0 };
        _exit(open_model("one=%1 two=%2", "two") == CW_OK && cw_keyring_rotate(&m, &walk, &err) == CW_OK ? 0 : 1);
    }
    ck_assert_int_gt(pid, 0); /* not in the child: Check's file of messages is shared with it */
    int64_t until = cw_monotonic_us() + 20 * CW_SECOND_US;
    while (NUMBER("SELECT COUNT(*) FROM patient_key WHERE master_key_id = 'two'") == 0) {
        ck_assert_int_lt(cw_monotonic_us(), until);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    int64_t moved = NUMBER("SELECT COUNT(*) FROM patient_key WHERE master_key_id = 'two'");
    ck_assert_msg(WIFSIGNALED(status) && moved < 1500, "the rotation was over before it could be killed");
    OK(open_model("one=%1 two=%2", "two"));
    ck_assert_uint_gt(found_by_email(), 0); /* under either key */
    struct cw_keyring_walk walk = { 0 };
    OK(cw_keyring_rotate(&m, &walk, &err));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key WHERE master_key_id <> 'two'"), 0);
    struct cw_keyring_walk verified = { 0 };
    OK(cw_keyring_verify(&m, &verified, &err));
    ck_assert_uint_eq(verified.done[CW_KEYS_PATIENT], 1500);
    ck_assert_uint_eq(verified.faults, 0);
}
END_TEST

/* ---- under load */

static atomic_bool stop;
static _Atomic unsigned served;

/* What requests do, on a model of their own: patients made, read and replaced. */
static void *serve(void *arg)
{
    struct cw_model *own = arg;
    struct cw_arena *mine = cw_arena_new(8u * 1024u * 1024u);
    struct cw_err e = { 0 };
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        char id[40];
        snprintf(id, sizeof id, "load-%p-%u", (void *)mine, i);
        const struct cw_patient wanted = { .patient_id = cw_span_cstr(id), .name = CW_SPAN("Load"), .email = CW_SPAN("l@x.test") };
        struct cw_patient got;
        enum cw_code rc = cw_patient_create(own, &actor, org, &wanted, mine, &got, &e);
        if (rc == CW_OK) {
            rc = cw_patient_get(own, org, CW_SPAN("p7"), mine, &got, &e);
        }
        if (rc == CW_OK) {
            rc = cw_patient_replace(own, &actor, org, &wanted, mine, &got, &e);
        }
        ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), e.where, e.text);
        cw_arena_clear(mine);
        atomic_fetch_add(&served, 1);
    }
    cw_arena_free(mine);
    return NULL;
}

START_TEST(requests_go_on_while_keys_move)
{
    make_patients(600);
    reopen("one=%1 two=%2", "one");
    struct cw_config *other = conf("one=%1 two=%2", "two");
    struct cw_model newer = { 0 };
    OK(cw_model_init(&newer, other, 4, &err));
    pthread_t threads[2];
    atomic_store(&stop, false);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, serve, &m), 0);     /* started before the switch: wraps with one */
    ck_assert_int_eq(pthread_create(&threads[1], NULL, serve, &newer), 0); /* and after it */
    while (atomic_load(&served) < 20) {
        usleep(1000);
    }
    unsigned before = atomic_load(&served);
    struct cw_keyring_walk walk = { 0 };
    OK(cw_keyring_rotate(&newer, &walk, &err));
    while (atomic_load(&served) < before + 20) {
        usleep(1000);
    }
    atomic_store(&stop, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    ck_assert_uint_ge(walk.done[CW_KEYS_PATIENT], 600);
    OK(cw_keyring_rotate(&newer, &walk, &err)); /* what the older program made since */
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key WHERE master_key_id = 'one'"), 0);
    cw_model_release(&newer);
    cw_config_free(other);
    struct cw_keyring_walk verified = { 0 };
    OK(cw_keyring_verify(&m, &verified, &err));
    ck_assert_uint_eq(verified.faults, 0);
}
END_TEST

/* ---- a master key that is lost, and one that is another's */

START_TEST(a_lost_master_key_stops_the_start_by_name)
{
    make_patient("p", "jane@example.com");
    close_model();
    ck_assert_int_eq(open_model("two=%2", "two"), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "'one'"));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM purpose_key WHERE master_key_id = 'two'"), 0); /* nothing was written */
    ck_assert_int_eq(open_model("one=%9", "one"), CW_E_CONFIG); /* the file is missing */
    ck_assert_ptr_nonnull(strstr(err.text, "'one'"));
    ck_assert_int_eq(open_model("one=%2", "one"), CW_E_CONFIG); /* another key under its name */
    ck_assert_ptr_nonnull(strstr(err.text, "'one'"));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM purpose_key"), 2);
    OK(open_model("one=%1", "one"));
    struct cw_patient got;
    OK(cw_patient_get(&m, org, CW_SPAN("p"), arena, &got, &err));
}
END_TEST

START_TEST(one_broken_key_does_not_stop_the_start)
{
    make_patients(5);
    cw_test_db_sql(&test, "UPDATE patient_key SET wrapped = REPEAT('x', 61) ORDER BY created_at, patient LIMIT 1");
    reopen("one=%1", "one");
}
END_TEST

/* A program that was started before the new key was named: it serves nothing of what it cannot open, and loses nothing. */
START_TEST(a_running_program_without_the_key_fails_closed)
{
    make_patient("p", "jane@example.com");
    struct cw_config *other = conf("one=%1 two=%2", "two");
    struct cw_model newer = { 0 };
    OK(cw_model_init(&newer, other, 2, &err));
    struct cw_keyring_walk walk = { 0 };
    OK(cw_keyring_rotate(&newer, &walk, &err));
    cw_model_release(&newer);
    cw_config_free(other);
    struct cw_patient got;
    const struct cw_patient wanted = { .patient_id = CW_SPAN("p"), .name = CW_SPAN("X") };
    ck_assert_int_eq(cw_patient_get(&m, org, CW_SPAN("p"), arena, &got, &err), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "'two'"));
    ck_assert_int_eq(cw_patient_replace(&m, &actor, org, &wanted, arena, &got, &err), CW_E_CONFIG);
    struct cw_keyring_walk verified = { 0 };
    OK(cw_keyring_verify(&m, &verified, &err));
    ck_assert_uint_gt(verified.faults, 0);
    reopen("one=%1 two=%2", "two");
    OK(cw_patient_get(&m, org, CW_SPAN("p"), arena, &got, &err));
    ck_assert(cw_span_eq_cstr(got.name, "Jane"));
}
END_TEST

/* ---- verification */

static struct cw_key_fault last_fault;

static void note_fault(void *arg, const struct cw_key_fault *fault)
{
    (void)arg;
    last_fault = *fault;
}

START_TEST(a_broken_key_is_named_and_left_alone)
{
    make_patients(250);
    cw_test_db_sql(&test, "UPDATE patient_key SET wrapped = REPEAT('x', 61) ORDER BY created_at DESC, patient DESC LIMIT 1");
    struct cw_keyring_walk walk = { .fault = note_fault };
    OK(cw_keyring_verify(&m, &walk, &err));
    ck_assert_uint_eq(walk.faults, 1);
    ck_assert_uint_eq(walk.done[CW_KEYS_PATIENT], 249);
    ck_assert(last_fault.table == CW_KEYS_PATIENT && last_fault.code == CW_E_AUTH);
    reopen("one=%1 two=%2", "two");
    walk = (struct cw_keyring_walk){ .fault = note_fault };
    OK(cw_keyring_rotate(&m, &walk, &err));
    ck_assert_uint_eq(walk.faults, 1);
    ck_assert_uint_eq(walk.done[CW_KEYS_PATIENT], 249);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key WHERE master_key_id = 'one' AND wrapped = REPEAT('x', 61)"), 1);
}
END_TEST

START_TEST(a_sample_is_bounded_and_all_is_all)
{
    make_patients(300);
    struct cw_sealed_walk sample = { .most = 100 };
    OK(cw_sealed_verify(&m, &sample, &err));
    ck_assert_uint_eq(sample.good, 200); /* names and e-mail addresses */
    struct cw_sealed_walk all = { .most = 0 };
    OK(cw_sealed_verify(&m, &all, &err));
    ck_assert_uint_eq(all.good, 600);
    cw_test_db_sql(&test, "DELETE FROM patient_key ORDER BY patient LIMIT 1");
    cw_test_db_sql(&test, "UPDATE patient SET name_sealed = REVERSE(name_sealed) ORDER BY id DESC LIMIT 1");
    all = (struct cw_sealed_walk){ .most = 0 };
    OK(cw_sealed_verify(&m, &all, &err));
    ck_assert_uint_eq(all.shredded, 2);
    ck_assert_uint_eq(all.faults, 1);
    ck_assert_uint_eq(all.good, 597);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("keyring");
    TCase *tcase = tcase_create("keyring");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_rotation_moves_every_key);
    tcase_add_test(tcase, search_and_api_keys_outlive_their_master_key);
    tcase_add_test(tcase, a_killed_rotation_is_finished_by_the_next);
    tcase_add_test(tcase, requests_go_on_while_keys_move);
    tcase_add_test(tcase, a_lost_master_key_stops_the_start_by_name);
    tcase_add_test(tcase, one_broken_key_does_not_stop_the_start);
    tcase_add_test(tcase, a_running_program_without_the_key_fails_closed);
    tcase_add_test(tcase, a_broken_key_is_named_and_left_alone);
    tcase_add_test(tcase, a_sample_is_bounded_and_all_is_all);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *[]){ suite, NULL });
}
