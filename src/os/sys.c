/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clock, randomness, files, stopping. A stop is a descriptor that becomes readable and stays so: every loop can poll
 * it beside its own work, and no handler runs in a thread that holds a lock, because one thread waits for the signals.
 */
/* In angle brackets: "config.h" beside this file is the configuration's. */
#include <config.h>

#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/time.h"

static _Atomic int64_t clock_offset_us;

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        cw_bug("clock_gettime refused a clock that every Linux has");
    }
    return (int64_t)now.tv_sec * CW_SECOND_US + now.tv_nsec / 1000;
}

#ifdef CW_SANITIZED
static pthread_once_t offset_once = PTHREAD_ONCE_INIT;

static void read_offset(void)
{
    const char *text = getenv("CHARTWAY_TEST_CLOCK_OFFSET_US");
    int64_t offset = 0;
    if (text != NULL && cw_span_i64(cw_span_cstr(text), INT64_MIN / 4, INT64_MAX / 4, &offset)) {
        atomic_store(&clock_offset_us, offset);
    }
}
#endif

int64_t cw_now_us(void)
{
#ifdef CW_SANITIZED
    (void)pthread_once(&offset_once, read_offset);
#endif
    return read_clock(CLOCK_REALTIME) + atomic_load(&clock_offset_us);
}

int64_t cw_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void cw_clock_shift_us(int64_t offset_us)
{
#ifdef CW_SANITIZED
    (void)pthread_once(&offset_once, read_offset);
#endif
    atomic_store(&clock_offset_us, offset_us);
}

void cw_random(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            cw_bug("the system has no randomness");
        }
        at += got;
        len -= (size_t)got;
    }
}

uint64_t cw_random_below(uint64_t below)
{
    if (below == 0) {
        cw_bug("cw_random_below(0)");
    }
    /* 2^64 mod below: values under it would make the first remainders likelier, so they are drawn again. */
    uint64_t uneven = (0 - below) % below;
    uint64_t value = 0;
    do {
        cw_random(&value, sizeof value);
    } while (value < uneven);
    return value % below;
}

struct cw_ulid cw_ulid_new(void)
{
    uint8_t random[10];
    cw_random(random, sizeof random);
    return cw_ulid_make(cw_now_us(), random);
}

/* ---- files */

static enum cw_code file_fault(struct cw_err *err, const char *path, const char *what)
{
    int sys = errno;
    return cw_err_sys(err, sys == ENOENT ? CW_E_NOT_FOUND : CW_E_IO, sys, "file", "%s: %s: %s", path, what,
                      strerrordesc_np(sys));
}

static enum cw_code read_all(int fd, const char *path, struct cw_str *out, struct cw_err *err)
{
    for (;;) {
        char chunk[16384];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return file_fault(err, path, "read");
        }
        enum cw_code rc = got == 0 ? cw_str_code(out) : cw_str_add(out, chunk, (size_t)got);
        cw_wipe(chunk, (size_t)got); /* it may have been a key */
        if (rc != CW_OK) {
            return cw_err_set(err, rc, "file", "%s: %s", path, rc == CW_E_TOO_BIG ? "too big" : "out of memory");
        }
        if (got == 0) {
            return CW_OK;
        }
    }
}

enum cw_code cw_file_read(const char *path, bool private_only, struct cw_str *out, struct cw_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return file_fault(err, path, "open");
    }
    struct stat st;
    enum cw_code rc = CW_OK;
    if (fstat(fd, &st) != 0) {
        rc = file_fault(err, path, "stat");
    } else if (!S_ISREG(st.st_mode)) {
        rc = cw_err_set(err, CW_E_CONFIG, "file", "%s: not a regular file", path);
    } else if (private_only && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        rc = cw_err_set(err, CW_E_CONFIG, "file", "%s: group or others have rights (mode %03o, wants 0600 or less)", path,
                        (unsigned)(st.st_mode & 0777));
    } else if (private_only && st.st_uid != 0 && st.st_uid != geteuid() && geteuid() != 0) {
        rc = cw_err_set(err, CW_E_CONFIG, "file", "%s: belongs to another user, who could change it", path);
    } else {
        rc = read_all(fd, path, out, err);
    }
    (void)close(fd);
    return rc;
}

static bool write_all(int fd, struct cw_span content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return false;
        }
        content = cw_span_from(content, (size_t)put);
    }
    return true;
}

/* A rename is on disk only when its folder is. */
static bool sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(folder, path, len);
    folder[len] = '\0';
    int fd = open(len == 0 ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool good = fsync(fd) == 0;
    int sys = errno;
    (void)close(fd);
    errno = sys;
    return good;
}

enum cw_code cw_file_replace(const char *path, unsigned mode, struct cw_span content, struct cw_err *err)
{
    char aside[PATH_MAX];
    int len = snprintf(aside, sizeof aside, "%s.XXXXXX", path);
    if (len < 0 || (size_t)len >= sizeof aside) {
        return cw_err_set(err, CW_E_TOO_BIG, "file", "path too long");
    }
    int fd = mkostemp(aside, O_CLOEXEC);
    if (fd < 0) {
        return file_fault(err, path, "create beside");
    }
    const char *step = NULL;
    if (fchmod(fd, (mode_t)mode) != 0) {
        step = "chmod";
    } else if (!write_all(fd, content)) {
        step = "write";
    } else if (fsync(fd) != 0) {
        step = "fsync";
    } else if (rename(aside, path) != 0) {
        step = "rename";
    } else if (!sync_folder(path)) {
        step = "fsync of the folder";
    }
    enum cw_code rc = step == NULL ? CW_OK : file_fault(err, path, step);
    (void)close(fd);
    if (rc != CW_OK) {
        (void)unlink(aside);
    }
    return rc;
}

/* ---- the process */

/* What the libraries under us read from the environment about our connections: proxies, whom to trust, where to write the keys of every
 * TLS session down, other names for hosts. Only the configuration says such things. */
static void clear_environment(void)
{
    static const char *const names[] = {
        "SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "CURL_HOME", "NETRC", "HOSTALIASES",
        "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (unsetenv(names[i]) != 0) {
            cw_bug("unsetenv refuses a name");
        }
    }
}

/* The file's last byte, or a line's end where it has none. */
static char last_byte(int fd)
{
    char last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    return size > 0 && pread(fd, &last, 1, size - 1) != 1 ? '\0' : last;
}

enum cw_code cw_file_append_line(const char *path, struct cw_span line, struct cw_err *err)
{
    bool fresh = access(path, F_OK) != 0;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return file_fault(err, path, "open");
    }
    const char *step = NULL;
    if (flock(fd, LOCK_EX) != 0) {
        step = "lock";
    } else if (last_byte(fd) != '\n' && !write_all(fd, CW_SPAN("\n"))) {
        step = "write";
    } else if (!write_all(fd, line) || !write_all(fd, CW_SPAN("\n"))) {
        step = "write";
    } else if (fsync(fd) != 0) {
        step = "fsync";
    } else if (fresh && !sync_folder(path)) {
        step = "fsync of the folder";
    }
    enum cw_code rc = step == NULL ? CW_OK : file_fault(err, path, step);
    (void)close(fd);
    return rc;
}

void cw_process_many_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer connections then */
    }
}

void cw_process_harden(void)
{
    clear_environment();
    cw_json_wipe_freed();
    struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        cw_bug("setrlimit cannot lower the core size");
    }
#ifndef CW_SANITIZED /* LeakSanitizer attaches to the process as a debugger does */
    if (prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) {
        cw_bug("prctl cannot forbid dumps");
    }
#endif
    (void)umask(027);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int stop_pipe[2] = { -1, -1 };
static atomic_bool stop_flag;
static atomic_bool reload_flag;

static void stop_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGUSR1);
    (void)sigaddset(set, SIGHUP);
}

static void *wait_for_signals(void *arg)
{
    (void)arg;
    sigset_t set;
    stop_signals(&set);
    for (;;) {
        int signal_number = 0;
        if (sigwait(&set, &signal_number) != 0) {
            continue;
        }
        if (signal_number == SIGHUP) {
            atomic_store(&reload_flag, true);
        } else {
            cw_stop_ask();
        }
    }
    return NULL;
}

void cw_stop_init(void)
{
    if (stop_pipe[0] >= 0) {
        return;
    }
    sigset_t set;
    stop_signals(&set);
    pthread_t thread;
    pthread_attr_t attr;
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0 || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0
        || pthread_attr_init(&attr) != 0 || pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) != 0
        || pthread_create(&thread, &attr, wait_for_signals, NULL) != 0) {
        cw_bug("cannot set up the stop signals");
    }
    (void)pthread_attr_destroy(&attr);
}

bool cw_stop_asked(void)
{
    return atomic_load(&stop_flag);
}

int cw_stop_fd(void)
{
    return stop_pipe[0];
}

void cw_stop_ask(void)
{
    if (!atomic_exchange(&stop_flag, true) && stop_pipe[1] >= 0) {
        /* One byte that nobody reads: the descriptor stays readable for every poller. */
        (void)!write(stop_pipe[1], "", 1);
    }
}

bool cw_reload_asked(void)
{
    return atomic_exchange(&reload_flag, false);
}
