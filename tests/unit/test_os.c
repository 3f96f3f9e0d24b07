/* SPDX-License-Identifier: Apache-2.0 */
/* src/os: files and the process, the log's form and what never gets into it, the configuration's table. */
#include <check.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/check_main.h"
#include "../lib/faulty_alloc.h"
#include "base/text.h"
#include "base/time.h"
#include "os/config.h"
#include "os/log.h"
#include "os/sys.h"

static char folder[64];

static const char *path_in(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void folder_setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/cw-test-os-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void folder_teardown(void)
{
    (void)unlink(path_in("file"));
    (void)unlink(path_in("link"));
    ck_assert_int_eq(rmdir(folder), 0);
}

START_TEST(files_are_replaced_whole_and_read_back)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 100000);
    struct cw_err err = { 0 };
    CW_AUTO_STR big;
    cw_str_init(&big, 100000);
    for (int i = 0; i < 10000; i++) {
        (void)cw_str_addf(&big, "%06d\n", i);
    }
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN("old"), &err), CW_OK);
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0640, cw_str_span(&big), &err), CW_OK);
    struct stat st;
    ck_assert_int_eq(stat(path_in("file"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(cw_file_read(path_in("file"), false, &text, &err), CW_OK);
    ck_assert(cw_span_eq(cw_str_span(&text), cw_str_span(&big)));
    ck_assert_int_eq(cw_file_replace("/nonexistent/x", 0600, CW_SPAN(""), &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(err.sys, ENOENT);
    char long_path[5000];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_int_eq(cw_file_replace(long_path, 0600, CW_SPAN(""), &err), CW_E_TOO_BIG);
}
END_TEST

START_TEST(files_are_read_up_to_their_limit)
{
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN("0123456789"), &err), CW_OK);
    for (size_t max = 9; max <= 11; max++) {
        CW_AUTO_STR text;
        cw_str_init(&text, max);
        ck_assert_int_eq(cw_file_read(path_in("file"), true, &text, &err), max >= 10 ? CW_OK : CW_E_TOO_BIG);
    }
    CW_AUTO_STR text;
    cw_str_init(&text, 100);
    ck_assert_int_eq(cw_file_read(path_in("none"), true, &text, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_file_read(folder, false, &text, &err), CW_E_CONFIG);
    faulty_alloc_arm(1);
    ck_assert_int_eq(cw_file_read(path_in("file"), true, &text, &err), CW_E_OOM);
    ck_assert(faulty_alloc_disarm());
}
END_TEST

START_TEST(a_private_file_is_private)
{
    static const struct {
        mode_t mode;
        enum cw_code rc;
    } rows[] = { { 0600, CW_OK }, { 0400, CW_OK }, { 0640, CW_E_CONFIG }, { 0604, CW_E_CONFIG }, { 0620, CW_E_CONFIG } };
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN("key"), NULL), CW_OK);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR text;
        cw_str_init(&text, 100);
        ck_assert_int_eq(chmod(path_in("file"), rows[i].mode), 0);
        ck_assert_msg(cw_file_read(path_in("file"), true, &text, NULL) == rows[i].rc, "row %zu", i);
    }
}
END_TEST

/* A service that may read all files (CAP_DAC_OVERRIDE) is the only one that could open another user's private file. */
START_TEST(a_private_file_is_our_own)
{
    if (geteuid() != 0) {
        return;
    }
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN("key"), NULL), CW_OK);
    const uid_t owners[] = { 4000, 4001, 0 };
    const enum cw_code wanted[] = { CW_OK, CW_E_CONFIG, CW_OK };
    for (size_t i = 0; i < CW_ARRAY_LEN(owners); i++) {
        ck_assert_int_eq(chown(path_in("file"), owners[i], 0), 0);
        ck_assert_int_eq(chmod(folder, 0755), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
            struct __user_cap_data_struct data[2] = { { 0 } };
            data[0].effective = data[0].permitted = 1u << CAP_DAC_OVERRIDE;
            CW_AUTO_STR text;
            cw_str_init(&text, 100);
            if (prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) != 0 || setuid(4000) != 0 || syscall(SYS_capset, &head, data) != 0) {
                _exit(99);
            }
            enum cw_code rc = cw_file_read(path_in("file"), true, &text, NULL);
            cw_str_release(&text);
            _exit(rc == wanted[i] ? 0 : 1);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "owner %u: %d", (unsigned)owners[i], WEXITSTATUS(status));
    }
}
END_TEST

START_TEST(clock_and_randomness)
{
    int64_t before = cw_now_us();
    ck_assert_int_gt(before, INT64_C(1700000000) * CW_SECOND_US);
    cw_clock_shift_us(CW_DAY_US);
    ck_assert_int_ge(cw_now_us(), before + CW_DAY_US);
    cw_clock_shift_us(0);
    ck_assert_int_lt(cw_now_us(), before + CW_HOUR_US);
    int64_t first = cw_monotonic_us();
    ck_assert_int_ge(cw_monotonic_us(), first);
    struct cw_ulid a = cw_ulid_new();
    ck_assert(!cw_ulid_eq(a, cw_ulid_new()));
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = cw_random_below(5);
        ck_assert_uint_lt(value, 5);
        seen |= 1u << value;
    }
    ck_assert_uint_eq(seen, 31u);
    ck_assert_uint_eq(cw_random_below(1), 0);
}
END_TEST

/* In a child, because a stop is for the life of a process. Its exit status is the number of the step that failed. */
static int stop_steps(void)
{
    cw_process_harden();
    cw_stop_init();
    cw_stop_init();
    struct pollfd fd = { .fd = cw_stop_fd(), .events = POLLIN };
    if (cw_stop_asked() || poll(&fd, 1, 0) != 0 || cw_reload_asked()) {
        return 1;
    }
    if (kill(getpid(), SIGHUP) != 0) {
        return 2;
    }
    while (!cw_reload_asked()) {
        (void)sched_yield();
    }
    if (cw_reload_asked() || cw_stop_asked() || kill(getpid(), SIGTERM) != 0) {
        return 3;
    }
    if (poll(&fd, 1, 10000) != 1 || !cw_stop_asked()) {
        return 4;
    }
    cw_stop_ask();
    return poll(&fd, 1, 0) == 1 ? 0 : 5;
}

START_TEST(a_stop_stays_readable)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(stop_steps());
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* ---- log */

static char logged[4096];

static void keep_line(void *arg, const char *line)
{
    (void)arg;
    (void)snprintf(logged, sizeof logged, "%s", line);
}

static void log_setup(void)
{
    logged[0] = '\0';
    cw_log_init("test", CW_LOG_INFO);
    cw_log_set_sink(keep_line, NULL);
}

static void log_teardown(void)
{
    cw_log_set_sink(NULL, NULL);
    cw_log_context(NULL);
}

START_TEST(a_line_has_its_fields)
{
    struct cw_err err = { 0 };
    (void)cw_err_sys(&err, CW_E_IO, 13, "file", "a \"b\"\nc");
    struct cw_session_id session = { .ulid = { { 1 } } };
    cw_log_context("req_1");
    cw_log(CW_LOG_INFO, "request.done", CW_LIT("route", "GET /x"), CW_INT("status", -2), CW_US("took", 15),
           CW_HOST("host", "fhir.example.org:8443"), CW_ID("session", CW_PREFIX_SESSION, session), CW_ERR(&err));
    const char *fields = strstr(logged, " level=");
    ck_assert_ptr_nonnull(fields);
    ck_assert_int_eq(strncmp(logged, "time=2", 6), 0);
    ck_assert_str_eq(fields, " level=info program=test event=request.done request=req_1 route=\"GET /x\" status=-2 took=15us "
                             "host=fhir.example.org:8443 session=ps_01000000000000000000000000 error=io sys=13 "
                             "where=file text=\"a 'b'?c\"");
}
END_TEST

START_TEST(levels_are_kept_back)
{
    cw_log(CW_LOG_DEBUG, "quiet");
    ck_assert_str_eq(logged, "");
    cw_log(CW_LOG_ERR, "loud");
    ck_assert_ptr_nonnull(strstr(logged, "level=err program=test event=loud"));
    ck_assert_ptr_null(strstr(logged, "request="));
    cw_log_set_level("debug");
    cw_log(CW_LOG_DEBUG, "asked.for");
    ck_assert_ptr_nonnull(strstr(logged, "level=debug program=test event=asked.for"));
    logged[0] = '\0';
    cw_log_set_level("err");
    cw_log(CW_LOG_WARNING, "quiet");
    ck_assert_str_eq(logged, "");
}
END_TEST

START_TEST(nothing_foreign_gets_into_a_line)
{
    cw_log(CW_LOG_INFO, "x", CW_REF("patient", CW_SPAN("canary-person")));
    ck_assert_ptr_nonnull(strstr(logged, "patient=-"));
    static const uint8_t key[32] = { 7 };
    cw_log_set_key(key);
    cw_log(CW_LOG_INFO, "x", CW_REF("patient", CW_SPAN("canary-person")), CW_HOST("host", "evil host\ncanary"));
    ck_assert_ptr_null(strstr(logged, "canary"));
    ck_assert_ptr_nonnull(strstr(logged, " host=?"));
    const char *ref = strstr(logged, "patient=");
    ck_assert_ptr_nonnull(ref);
    ck_assert_uint_eq(strspn(ref + 8, "0123456789abcdef"), 16);
    char first[sizeof logged];
    (void)snprintf(first, sizeof first, "%s", ref);
    cw_log(CW_LOG_INFO, "x", CW_REF("patient", CW_SPAN("canary-person")), CW_HOST("host", ""));
    ck_assert_int_eq(strncmp(strstr(logged, "patient="), first, 24), 0);
    cw_log(CW_LOG_INFO, "x", CW_REF("patient", CW_SPAN("another")));
    ck_assert_int_ne(strncmp(strstr(logged, "patient="), first, 24), 0);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    char text[3000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cw_log(CW_LOG_INFO, "x", CW_LIT("a", text), CW_LIT("b", text));
    ck_assert_uint_eq(strlen(logged), 1022);
    cw_log_context(text);
    cw_log(CW_LOG_INFO, "x");
    ck_assert_uint_eq(strspn(strstr(logged, "request=") + 8, "a"), 40);
}
END_TEST

/* ---- configuration */

#define LEAST "[server]\norigin = https://cw.test\n[vault]\nmaster_keys = a=/k\n"

START_TEST(defaults_are_applied)
{
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(cw_config_parse(CW_SPAN(LEAST), &config, &err) == CW_OK, "%s", err.text);
    ck_assert_str_eq(cw_config_text(config, CW_CONF_ORIGIN), "https://cw.test");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_WWW_DIR), CW_PKGDATADIR "/www");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_TOMBSTONE_JOURNAL),
                     CW_LOCALSTATEDIR "/lib/chartway/tombstones.journal");
    ck_assert_str_ne(cw_config_text(config, CW_CONF_NODE), "");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_DB_SOCKET), "");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_LOG_LEVEL), "info");
    ck_assert_int_eq(cw_config_int(config, CW_CONF_LOG_LEVEL), CW_LOG_INFO);
    ck_assert_int_eq(cw_config_int(config, CW_CONF_DB_PORT), 3306);
    ck_assert_int_eq(cw_config_int(config, CW_CONF_PULL_BYTES), 256 * 1024 * 1024);
    ck_assert(!cw_config_bool(config, CW_CONF_SANDBOX_ENABLED));
    cw_config_free(config);
    cw_config_free(NULL);
}
END_TEST

START_TEST(values_are_read)
{
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_config_parse(
        CW_SPAN("; a comment\r\n# another\n\n [ server ] \n\torigin =  http://localhost:8480 \r\nstate_dir=/s\n"
                "log_level = debug\n[net]\nallow = 127.0.0.1:81  [::1]:82 ehr.test:443\n[vault]\nmaster_keys = a=/k b=/l\n"
                "[scheduler]\npage_bytes = 1G\n[sandbox]\nenabled = true\n[server]\nclient_address_param = X_REAL_IP"),
        &config, &err);
    ck_assert_msg(rc == CW_OK, "%s", err.text);
    ck_assert_str_eq(cw_config_text(config, CW_CONF_ORIGIN), "http://localhost:8480");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_TOMBSTONE_JOURNAL), "/s/tombstones.journal");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_NET_ALLOW), "127.0.0.1:81  [::1]:82 ehr.test:443");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_MASTER_KEYS), "a=/k b=/l");
    ck_assert_str_eq(cw_config_text(config, CW_CONF_TRUSTED_PROXY_HEADER), "X_REAL_IP");
    ck_assert_int_eq(cw_config_int(config, CW_CONF_LOG_LEVEL), CW_LOG_DEBUG);
    ck_assert_int_eq(cw_config_int(config, CW_CONF_PULL_BYTES), INT64_C(1) << 30);
    ck_assert(cw_config_bool(config, CW_CONF_SANDBOX_ENABLED));
    cw_config_free(config);
}
END_TEST

/* Each line is put behind the least configuration; `section` opens it. */
START_TEST(values_are_accepted_or_refused)
{
    static const struct {
        const char *section;
        const char *line;
        bool good;
    } rows[] = {
        { "database", "pool = 1", true },
        { "database", "pool = 512", true },
        { "database", "pool = 0", false },
        { "database", "pool = 513", false },
        { "database", "pool = 1x", false },
        { "database", "pool =", false },
        { "database", "pool = 1\npool = 2", false },
        { "database", "port = 65535", true },
        { "database", "port = 65536", false },
        { "database", "port = 0", false },
        { "database", "socket = /run/x", true },
        { "database", "socket = run/x", false },
        { "database", "socket =", true },
        { "database", "name =", false },
        { "database", "nope = 1", false },
        { "database", "origin = https://x", false },
        { "database", "pool", false },
        { "database", "= 1", false },
        { "nope", "", false },
        { "server", "log_level = loud", false },
        { "server", "log_level = warning", true },
        { "server", "client_address_param = remote", false },
        { "server", "client_address_param = HTTP_X_FORWARDED_FOR", true },
        { "server", "www_dir =", false },
        { "scheduler", "page_bytes = 64M", true },
        { "scheduler", "page_bytes = 65535k", false },
        { "scheduler", "page_bytes = 65536k", true },
        { "scheduler", "page_bytes = 64G", true },
        { "scheduler", "page_bytes = 65G", false },
        { "scheduler", "page_bytes = 99999999999999999999G", false },
        { "scheduler", "page_bytes = M", false },
        { "scheduler", "page_bytes = 64m", false },
        { "scheduler", "page_bytes = -64M", false },
        { "sandbox", "enabled = yes", false },
        { "sandbox", "enabled = false", true },
        { "net", "allow = a:1 b", false },
        { "net", "allow = a:0", false },
        { "net", "allow = a:65536", false },
        { "net", "allow = http://a:1", false },
        { "net", "allow = :1", false },
        { "net", "allow = [::1:1", false },
        { "net", "allow = a:1", true },
        { "net", "allow =", true },
        { "privacy", "identifier_system = a\x01" "b", false },
        { "privacy", "identifier_system = urn:\xc3\xa9", true },
        { "privacy", "identifier_system = \xc3", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char text[512];
        struct cw_config *config = NULL;
        struct cw_err err = { 0 };
        (void)snprintf(text, sizeof text, LEAST "[%s]\n%s\n", rows[i].section, rows[i].line);
        enum cw_code rc = cw_config_parse(cw_span_cstr(text), &config, &err);
        ck_assert_msg(rc == (rows[i].good ? CW_OK : CW_E_CONFIG), "row %zu (%s): %s", i, rows[i].line, err.text);
        cw_config_free(config);
    }
}
END_TEST

START_TEST(the_origin_is_as_a_browser_writes_it)
{
    static const struct {
        const char *origin;
        bool good;
    } rows[] = {
        { "https://cw.test", true },
        { "https://cw.test:8443", true },
        { "https://192.0.2.1", true },
        { "https://[2001:db8::1]:8443", true },
        { "http://localhost", true },
        { "http://127.0.0.1:8480", true },
        { "http://127.9.9.9", true },
        { "http://[::1]:8480", true },
        { "http://a.localhost:1", true },
        { "http://cw.test", false },
        { "http://127.0.0.1.evil.test", false },
        { "http://127.evil.test", false },
        { "http://localhost.evil.test", false },
        { "https://cw.test/", false },
        { "https://cw.test/path", false },
        { "https://user@cw.test", false },
        { "https://cw.test?x", false },
        { "https://cw.test:", false },
        { "https://cw.test:0", false },
        { "https://cw.test:65536", false },
        { "https://cw.test:443", false },
        { "http://localhost:80", false },
        { "https://CW.test", false },
        { "https://", false },
        { "https://[::1", false },
        { "ftp://cw.test", false },
        { "cw.test", false },
        { "", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char text[512];
        struct cw_config *config = NULL;
        (void)snprintf(text, sizeof text, "[vault]\nmaster_keys = a=/k\n[server]\norigin = %s\n", rows[i].origin);
        enum cw_code rc = cw_config_parse(cw_span_cstr(text), &config, NULL);
        ck_assert_msg(rc == (rows[i].good ? CW_OK : CW_E_CONFIG), "row %zu: %s", i, rows[i].origin);
        cw_config_free(config);
    }
}
END_TEST

START_TEST(reasons_name_line_and_key_not_the_value)
{
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_config_parse(CW_SPAN(LEAST "[database]\npool = canary\n"), &config, &err), CW_E_CONFIG);
    ck_assert_str_eq(err.text, "line 6: [database] pool must be a whole number within its limits");
    ck_assert_int_eq(cw_config_parse(CW_SPAN(LEAST "password = canary\n"), &config, &err), CW_E_CONFIG);
    ck_assert_str_eq(err.text, "line 5: unknown key password in [vault]");
    ck_assert_int_eq(cw_config_parse(CW_SPAN("[vault]\nmaster_keys = a=/k"), &config, &err), CW_E_CONFIG);
    ck_assert_str_eq(err.text, "[server] origin is required");
    ck_assert_int_eq(cw_config_parse(CW_SPAN("[server]\norigin = https://a"), &config, &err), CW_E_CONFIG);
    ck_assert_str_eq(err.text, "[vault] master_keys is required");
}
END_TEST

START_TEST(the_file_is_bounded)
{
    size_t most = 64 * 1024;
    char *text = malloc(most + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', most + 1);
    memcpy(text, LEAST, sizeof LEAST - 1);
    for (size_t len = most - 1; len <= most + 1; len++) {
        struct cw_config *config = NULL;
        ck_assert_int_eq(cw_config_parse(cw_span_of(text, len), &config, NULL), len <= most ? CW_OK : CW_E_CONFIG);
        cw_config_free(config);
    }
    free(text);
}
END_TEST

START_TEST(loading_finds_the_file)
{
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_config_load(path_in("none"), &config, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN("[nope]\n"), NULL), CW_OK);
    ck_assert_int_eq(cw_config_load(path_in("file"), &config, &err), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "/file: line 1"));
    ck_assert_int_eq(cw_file_replace(path_in("file"), 0600, CW_SPAN(LEAST), NULL), CW_OK);
    ck_assert_int_eq(setenv("CHARTWAY_CONF", path_in("file"), 1), 0);
    ck_assert_int_eq(cw_config_load(NULL, &config, &err), CW_OK);
    ck_assert_int_eq(unsetenv("CHARTWAY_CONF"), 0);
    cw_config_free(config);
}
END_TEST

START_TEST(parsing_survives_every_failing_allocation)
{
    for (unsigned n = 1;; n++) {
        struct cw_config *config = NULL;
        faulty_alloc_arm(n);
        enum cw_code rc = cw_config_parse(CW_SPAN(LEAST), &config, NULL);
        bool fired = faulty_alloc_disarm();
        cw_config_free(config);
        if (!fired) {
            ck_assert_int_eq(rc, CW_OK);
            ck_assert_uint_gt(n, CW_CONF__COUNT);
            return;
        }
        ck_assert_int_eq(rc, CW_E_OOM);
    }
}
END_TEST

START_TEST(the_example_is_the_table)
{
    CW_AUTO_STR want;
    CW_AUTO_STR have;
    cw_str_init(&want, 100000);
    cw_str_init(&have, 100000);
    struct cw_err err = { 0 };
    struct cw_config *config = NULL;
    ck_assert_int_eq(cw_config_example(&want), CW_OK);
    ck_assert_msg(cw_file_read(CW_TEST_SRCDIR "/conf/chartway.conf.example", false, &have, &err) == CW_OK, "%s", err.text);
    ck_assert_str_eq(cw_str_cstr(&have), cw_str_cstr(&want));
    ck_assert_msg(cw_config_parse(cw_str_span(&have), &config, &err) == CW_OK, "%s", err.text);
    /* What is shown can be read again and shows the same. */
    struct cw_config *again = NULL;
    cw_str_clear(&want);
    cw_str_clear(&have);
    ck_assert_int_eq(cw_config_show(config, &want), CW_OK);
    ck_assert_msg(cw_config_parse(cw_str_span(&want), &again, &err) == CW_OK, "%s", err.text);
    ck_assert_int_eq(cw_config_show(again, &have), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&have), cw_str_cstr(&want));
    cw_config_free(config);
    cw_config_free(again);
}
END_TEST

static Suite *sys_suite(void)
{
    Suite *suite = suite_create("os: sys");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, files_are_replaced_whole_and_read_back);
    tcase_add_test(tc, files_are_read_up_to_their_limit);
    tcase_add_test(tc, a_private_file_is_private);
    tcase_add_test(tc, a_private_file_is_our_own);
    tcase_add_test(tc, clock_and_randomness);
    tcase_add_test(tc, a_stop_stays_readable);
    suite_add_tcase(suite, tc);
    return suite;
}

static Suite *log_suite(void)
{
    Suite *suite = suite_create("os: log");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, log_setup, log_teardown);
    tcase_add_test(tc, a_line_has_its_fields);
    tcase_add_test(tc, levels_are_kept_back);
    tcase_add_test(tc, nothing_foreign_gets_into_a_line);
    tcase_add_test(tc, a_long_line_is_cut);
    suite_add_tcase(suite, tc);
    return suite;
}

static Suite *config_suite(void)
{
    Suite *suite = suite_create("os: configuration");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, defaults_are_applied);
    tcase_add_test(tc, values_are_read);
    tcase_add_test(tc, values_are_accepted_or_refused);
    tcase_add_test(tc, the_origin_is_as_a_browser_writes_it);
    tcase_add_test(tc, reasons_name_line_and_key_not_the_value);
    tcase_add_test(tc, the_file_is_bounded);
    tcase_add_test(tc, loading_finds_the_file);
    tcase_add_test(tc, parsing_survives_every_failing_allocation);
    tcase_add_test(tc, the_example_is_the_table);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    Suite *const suites[] = { sys_suite(), log_suite(), config_suite(), NULL };
    return cw_check_main(suites);
}
