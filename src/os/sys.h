/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, randomness, files and the process itself. */
#ifndef CW_OS_SYS_H
#define CW_OS_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

int64_t cw_now_us(void);        /* wall clock, UTC */
int64_t cw_monotonic_us(void);  /* for durations and deadlines within one process */
/* Tests move the wall clock by this offset (0 in production; read from CHARTWAY_TEST_CLOCK_OFFSET_US only in builds with --enable-asan). */
void cw_clock_shift_us(int64_t offset_us);

/* Fills from getrandom(2); aborts when the system has no randomness. */
void cw_random(void *out, size_t len) CW_NONNULL(1);
/* A uniform number in [0, below), below > 0. */
uint64_t cw_random_below(uint64_t below);
struct cw_ulid cw_ulid_new(void);

/* Appends a whole file to *out; over out->max is CW_E_TOO_BIG. With `private_only`, a file on which group or others
 * have any right, or that belongs to a user other than root and this process's, is refused (CW_E_CONFIG); root itself may read any user's. */
enum cw_code cw_file_read(const char *path, bool private_only, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;
/* Writes by temporary file, fsync, rename and fsync of the folder: afterwards it is there whole or not at all. */
enum cw_code cw_file_replace(const char *path, unsigned mode, struct cw_span content, struct cw_err *err)
    CW_NONNULL(1) CW_MUST_USE;

/* Appends one line ("\n" is added) that is on disk when this returns; writers of several processes take turns. The file is made with mode 0600. A line that
 * a crash cut short is ended first. */
enum cw_code cw_file_append_line(const char *path, struct cw_span line, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

/* As many open files as the system lets this process have. */
void cw_process_many_files(void);
/* No core dumps, no ptrace by the same user (RLIMIT_CORE 0, PR_SET_DUMPABLE 0), umask 027, SIGPIPE ignored; variables by which the
 * environment would choose proxies, trust or a TLS key log are taken out. Before any other thread. */
void cw_process_harden(void);

/* Stopping. cw_stop_init blocks SIGTERM, SIGINT, SIGUSR1 and SIGHUP in the calling thread (call it before any other
 * thread) and starts a thread that waits for them. cw_stop_fd becomes readable, for ever, once a stop was asked. */
void cw_stop_init(void);
bool cw_stop_asked(void);
int cw_stop_fd(void);
/* Asks by hand (tests, fatal errors). */
void cw_stop_ask(void);
/* True once for each SIGHUP since the last call. */
bool cw_reload_asked(void);

#endif
