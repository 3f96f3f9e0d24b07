/* SPDX-License-Identifier: Apache-2.0 */
/* chartwayctl from outside, against a real MariaDB: what it prints, how it ends, what it leaves in the database. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "model/model.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_str out; /* of the last run, stdout alone */

/* Runs chartwayctl with a NULL-ended list of arguments; its exit status, or -1 when it was killed. */
static int run(const char *const *args)
{
    const char *argv[16] = { "chartwayctl" };
    for (size_t i = 0; args[i] != NULL; i++) {
        ck_assert_uint_lt(i + 2, CW_ARRAY_LEN(argv));
        argv[i + 1] = args[i];
    }
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)!freopen("/dev/null", "w", stderr);
        (void)execv("./chartwayctl", (char **)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(ends[1]);
    cw_str_clear(&out);
    char chunk[4096];
    ssize_t got = 0;
    while ((got = read(ends[0], chunk, sizeof chunk)) > 0) {
        (void)cw_str_add(&out, chunk, (size_t)got);
    }
    (void)close(ends[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* The last output without its newline. */
static void keep_line(char *text, size_t size)
{
    struct cw_span line = cw_span_trim(cw_str_span(&out));
    ck_assert_uint_lt(line.len, size);
    memcpy(text, line.ptr, line.len);
    text[line.len] = '\0';
}

static json_t *last_json(void)
{
    json_t *root = NULL;
    struct cw_json_limits limits = { .max_bytes = 1 << 20, .max_depth = 8, .flags = CW_JSON_ARRAY_TOO };
    ck_assert_int_eq(cw_json_parse(cw_str_span(&out), limits, &root, NULL), CW_OK);
    return root;
}

static int64_t audited(const char *action)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM audit WHERE actor_kind = 2 AND action = '%s'", action);
    return cw_test_db_number(&test, sql);
}

START_TEST(every_command_answers_help_and_is_in_the_manual)
{
    CW_AUTO_STR manual;
    CW_AUTO_STR overview;
    cw_str_init(&manual, 1 << 20);
    cw_str_init(&overview, 1 << 20);
    ck_assert_int_eq(cw_file_read(CW_TEST_SRCDIR "/doc/chartwayctl.1", false, &manual, NULL), CW_OK);
    ck_assert_int_eq(RUN("--help"), 0);
    (void)cw_str_add_span(&overview, cw_str_span(&out));
    struct cw_span rest = cw_str_span(&overview);
    struct cw_span line;
    unsigned commands = 0;
    while (cw_span_cut(&rest, '\n', &line)) {
        if (!cw_span_starts(line, CW_SPAN("  "))) {
            continue;
        }
        /* Lower-case words are the name; what comes behind is arguments or the sentence. */
        char name[64] = "";
        const char *words[16] = { NULL };
        char store[3][32];
        size_t count = 0;
        struct cw_span word;
        while (count < 3 && cw_span_word(&line, &word) && word.ptr[0] >= 'a' && word.ptr[0] <= 'z') {
            (void)snprintf(store[count], sizeof store[count], "%.*s", (int)word.len, word.ptr);
            (void)snprintf(name + strlen(name), sizeof name - strlen(name), "%s%s", count == 0 ? "" : " ", store[count]);
            words[count] = store[count];
            count++;
        }
        words[count] = "--help";
        ck_assert_msg(run(words) == 0, "%s --help", name);
        ck_assert(cw_span_starts(cw_str_span(&out), CW_SPAN("usage: chartwayctl ")));
        char manual_name[70] = "";
        for (const char *p = name; *p != '\0'; p++) {
            (void)snprintf(manual_name + strlen(manual_name), sizeof manual_name - strlen(manual_name), "%s%c",
                           *p == '-' ? "\\" : "", *p);
        }
        ck_assert_msg(cw_span_find_span(cw_str_span(&manual), cw_span_cstr(manual_name)) < manual.len,
                      "%s is not in the manual", name);
        commands++;
    }
    ck_assert_uint_ge(commands, 17);
}
END_TEST

START_TEST(wrong_use_ends_with_2)
{
    static const char *const rows[][6] = {
        { NULL },
        { "nope" },
        { "org" },
        { "org", "create" },
        { "org", "create", "A" },
        { "org", "create", "A", "--env", "test" },
        { "org", "create", "A", "--env" },
        { "org", "list", "extra" },
        { "org", "list", "--nope" },
        { "org", "list", "--json=1" },
        { "org", "list", "--json", "--json" },
        { "key", "revoke", "nope" },
        { "pull", "start" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(run(rows[i]) == 2, "row %zu", i);
        ck_assert_msg(out.len == 0, "row %zu", i);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM organization WHERE name = 'A'"), 0);
}
END_TEST

START_TEST(organizations_are_made_listed_and_audited)
{
    char id[64];
    int64_t before = audited("org.create");
    ck_assert_int_eq(RUN("org", "create", "Example Health", "--env", "sandbox"), 0);
    keep_line(id, sizeof id);
    ck_assert_int_eq(strncmp(id, "org_", 4), 0);
    ck_assert_int_eq(RUN("org", "create", "Example Health", "--env", "sandbox"), 1);
    ck_assert_int_eq(RUN("org", "create", "Example Health", "--env=production"), 0);
    ck_assert_int_eq(RUN("org", "create", "", "--env", "sandbox"), 1);
    ck_assert_int_eq(RUN("org", "create", " blank", "--env", "sandbox"), 1);
    ck_assert_int_eq(RUN("org", "create", "a\xff", "--env", "sandbox"), 1);
    ck_assert_int_eq(audited("org.create"), before + 2);

    ck_assert_int_eq(RUN("org", "list", "--json"), 0);
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(json_array_get(list, 1), "environment"), "production"));
    json_decref(list);
    ck_assert_int_eq(audited("org.list"), 1);

    /* A name that is in both environments does not say which. */
    ck_assert_int_eq(RUN("key", "list", "Example Health"), 1);
    static const char *const good[] = { "https://app.example", "https://app.example:8443", "com.example.app:" };
    static const char *const bad[] = { "http://app.example", "https://app.example/", "https://app.example:443",
                                       "https://App.example", "https://a@b", "https://a:", "https://a:0", "javascript:",
                                       "data:", "com.example.app", "https:", "https://", ":", "" };
    for (size_t i = 0; i < CW_ARRAY_LEN(good); i++) {
        ck_assert_msg(RUN("org", "return", "add", id, good[i]) == 0, "row %zu", i);
        ck_assert_msg(RUN("org", "return", "add", id, good[i]) == 0, "row %zu, again", i);
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(RUN("org", "return", "add", id, bad[i]) == 1, "row %zu", i);
    }
    ck_assert_int_eq(RUN("org", "return", "list", id, "--json"), 0);
    list = last_json();
    ck_assert_uint_eq(json_array_size(list), CW_ARRAY_LEN(good));
    json_decref(list);
    ck_assert_int_eq(audited("org.return_add"), CW_ARRAY_LEN(good));
}
END_TEST

START_TEST(a_pull_policy_is_shown_and_set)
{
    ck_assert_int_eq(RUN("org", "create", "Policy Health", "--env", "production"), 0);
    ck_assert_int_eq(RUN("pull", "policy", "Policy Health", "--json"), 0);
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 1);
    json_t *all = json_array_get(list, 0);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(all, "incremental"), "1d") && cw_span_eq_cstr(cw_json_peek_text(all, "full"), "7d"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(all, "window"), "20-6") && json_is_true(json_object_get(all, "enabled")));
    json_decref(list);
    ck_assert_int_eq(audited("pull.policy_set"), 0);

    ck_assert_int_eq(RUN("pull", "policy", "Policy Health", "--incremental", "90m", "--window", "22-24", "--off", "--json"), 0);
    list = last_json();
    all = json_array_get(list, 0);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(all, "incremental"), "90m") && cw_span_eq_cstr(cw_json_peek_text(all, "full"), "7d"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(all, "window"), "22-0") && json_is_false(json_object_get(all, "enabled")));
    json_decref(list);
    ck_assert_int_eq(audited("pull.policy_set"), 1);

    static const char *const bad[][2] = { { "--incremental", "24" }, { "--incremental", "h" },   { "--full", "1w" },     { "--full", "366d" },
                                          { "--window", "20" },      { "--window", "20-25" },    { "--window", "-1-6" }, { "--full", "99999999999999999999d" } };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(RUN("pull", "policy", "Policy Health", bad[i][0], bad[i][1]) == 2, "row %zu", i);
    }
    ck_assert_int_eq(RUN("pull", "policy", "Policy Health", "--on", "--off"), 2);
    ck_assert_int_eq(RUN("pull", "policy", "Policy Health", "--incremental", "14m"), 1);
    ck_assert_int_eq(RUN("pull", "policy", "Policy Health", "--incremental", "8d"), 1); /* full ones would be more frequent */
    ck_assert_int_eq(RUN("pull", "policy", "Nobody"), 1);
    ck_assert_int_eq(audited("pull.policy_set"), 1);
}
END_TEST

START_TEST(keys_are_shown_once_listed_and_revoked)
{
    char org[64];
    char token[1100];
    char key[64];
    ck_assert_int_eq(RUN("org", "create", "Keys", "--env", "production"), 0);
    keep_line(org, sizeof org);
    ck_assert_int_eq(RUN("key", "create", org, "backend", "--scopes", "records:read events:read", "--expires-in", "1d"), 0);
    keep_line(token, sizeof token);
    ck_assert_int_eq(strncmp(token, "cw_sk_live_", 11), 0);
    ck_assert_int_eq(RUN("key", "create", org, "--scopes", "everything"), 1);
    ck_assert_int_eq(RUN("key", "create", org, "--expires-in", "soon"), 2);
    ck_assert_int_eq(RUN("key", "create", "nobody"), 1);
    ck_assert_int_eq(audited("api_key.create"), 1);

    ck_assert_int_eq(RUN("key", "list", "Keys", "--json"), 0);
    ck_assert_uint_eq(cw_span_find_span(cw_str_span(&out), cw_span_cstr(token + 11)), out.len);
    json_t *list = last_json();
    ck_assert_uint_eq(json_array_size(list), 1);
    const json_t *row = json_array_get(list, 0);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(row, "status"), "active"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(row, "name"), "backend"));
    ck_assert_uint_eq(json_array_size(json_object_get(row, "scopes")), 2);
    (void)snprintf(key, sizeof key, "%s", json_string_value(json_object_get(row, "id")));
    json_decref(list);

    ck_assert_int_eq(RUN("key", "revoke", key), 0);
    ck_assert_int_eq(RUN("key", "revoke", key), 0);
    ck_assert_int_eq(audited("api_key.revoke"), 1);
    ck_assert_int_eq(RUN("key", "revoke", "key_01ARYZ6S410000000000000000"), 1);
    ck_assert_int_eq(RUN("key", "list", "Keys"), 0);
    ck_assert_uint_lt(cw_span_find_span(cw_str_span(&out), CW_SPAN("revoked ")), out.len);
}
END_TEST

START_TEST(an_installation_is_checked_and_set_up)
{
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/new.key", test.folder);
    ck_assert_int_eq(RUN("keyring", "init", path), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(RUN("keyring", "init", path), 1);
    ck_assert_int_eq(RUN("migrate", "--dry-run"), 0);
    ck_assert_str_eq(cw_str_cstr(&out), "0 migrations to run\n");
    ck_assert_int_eq(RUN("migrate"), 0);
    ck_assert_str_eq(cw_str_cstr(&out), "0 migrations run\n");
    CW_AUTO_STR example;
    cw_str_init(&example, 1 << 20);
    ck_assert_int_eq(RUN("check-config", "--example"), 0);
    ck_assert_int_eq(cw_file_read(CW_TEST_SRCDIR "/conf/chartway.conf.example", false, &example, NULL), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), cw_str_cstr(&example));
    ck_assert_int_eq(RUN("pull", "status", "--patient", "nobody"), 2);
    ck_assert_int_eq(RUN("pull", "status", "--patient", "nobody", "--org", "Keys"), 1);
    ck_assert_int_eq(setenv("CHARTWAY_CONF", "/nonexistent", 1), 0);
    ck_assert_int_eq(RUN("org", "list"), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ctl");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, every_command_answers_help_and_is_in_the_manual);
    tcase_add_test(tc, wrong_use_ends_with_2);
    tcase_add_test(tc, organizations_are_made_listed_and_audited);
    tcase_add_test(tc, a_pull_policy_is_shown_and_set);
    tcase_add_test(tc, keys_are_shown_once_listed_and_revoked);
    tcase_add_test(tc, an_installation_is_checked_and_set_up);
    suite_add_tcase(s, tc);
    return s;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    char path[128];
    struct cw_str text;
    cw_str_init(&text, 1 << 20);
    cw_str_init(&out, 1 << 20);
    (void)snprintf(path, sizeof path, "%s/chartway.conf", test.folder);
    if (cw_config_show(test.config, &text) != CW_OK || cw_file_replace(path, 0600, cw_str_span(&text), NULL) != CW_OK
        || setenv("CHARTWAY_CONF", path, 1) != 0) {
        (void)fprintf(stderr, "no configuration\n");
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { suite(), NULL };
    int rc = cw_check_main(suites);
    cw_str_release(&text);
    cw_str_release(&out);
    cw_test_db_release(&test);
    return rc;
}
