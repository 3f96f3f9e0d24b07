/* SPDX-License-Identifier: Apache-2.0 */
/* Output goes through files, so that neither side waits for the other. */
#include "config.h"

#include "tests/lib/ctl_run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "os/sys.h"

char ctl_out[256 * 1024], ctl_problem[64 * 1024];

static const char *path_of(const struct cw_test_db *test, const char *name)
{
    static char ring[4][128];
    static unsigned at;
    char *path = ring[at++ % 4];
    (void)snprintf(path, sizeof ring[0], "%s/%s", test->folder, name);
    return path;
}

static void slurp(const char *path, char *into, size_t size)
{
    CW_AUTO_STR text;
    cw_str_init(&text, size - 1);
    ck_assert_int_eq(cw_file_read(path, false, &text, NULL), CW_OK);
    memcpy(into, cw_str_cstr(&text), text.len);
    into[text.len] = '\0';
}

static void redirect(const char *path, int to)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, to) < 0) {
        _exit(126);
    }
}

void ctl_configure(const struct cw_test_db *test, const char *origin, unsigned port,
                   const char *more)
{
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "[server]\norigin = %s\nsql_dir = " CW_TEST_SRCDIR "/sql\nstate_dir = %s\n"
        "www_dir = " CW_TEST_SRCDIR "/www\nvendors_dir = " CW_TEST_SRCDIR "/conf/vendors\n"
        "[database]\nsocket = %s\nname = %s\nuser = root\n[vault]\nmaster_keys = "
        "test=%s/master.key\n"
        "[net]\nallow = 127.0.0.1:%u\ntotal_timeout_ms = 3000\n%s",
        origin == NULL ? "https://cw.test" : origin, test->folder,
        cw_config_text(test->config, CW_CONF_DB_SOCKET), test->name, test->folder, port, more);
    ck_assert_int_eq(
        cw_file_replace(path_of(test, "chartway.conf"), 0600, cw_span_cstr(text), NULL), CW_OK);
    ck_assert_int_eq(setenv("CHARTWAY_CONF", path_of(test, "chartway.conf"), 1), 0);
}

int ctl_run(const struct cw_test_db *test, const char *const *arguments)
{
    char *argv[32] = { (char[]){ "chartwayctl" } };
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ck_assert_uint_lt(i, CW_ARRAY_LEN(argv) - 2);
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    pid_t pid = fork();
    if (pid == 0) {
        redirect(path_of(test, "stdout"), STDOUT_FILENO);
        redirect(path_of(test, "stderr"), STDERR_FILENO);
        execv("./chartwayctl", argv);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0); /* not in the child: Check's file of messages is shared with it */
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    slurp(path_of(test, "stdout"), ctl_out, sizeof ctl_out);
    slurp(path_of(test, "stderr"), ctl_problem, sizeof ctl_problem);
    ck_assert_msg(WIFEXITED(status), "%s", ctl_problem);
    return WEXITSTATUS(status);
}

json_t *ctl_json(void)
{
    json_t *tree = NULL;
    struct cw_err err = { 0 };
    const struct cw_json_limits limits = { sizeof ctl_out, 8, CW_JSON_ARRAY_TOO };
    enum cw_code rc = cw_json_parse(cw_span_cstr(ctl_out), limits, &tree, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", err.text, ctl_out);
    return tree;
}
