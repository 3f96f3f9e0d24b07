/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler's tests share: a scripted hospital, a connected patient with a pull that waits, and the daemon. */
#ifndef CW_TEST_SCHEDULER_H
#define CW_TEST_SCHEDULER_H

#include <check.h>
#include <sys/types.h>

#include "model/pull.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

extern struct cw_test_db test;
extern struct cw_model m;
extern struct cw_arena *arena;
extern struct script_server *hospital, *stranger;
extern struct cw_pull_id pull;
/* Asked before the hospital's own script; NULL from it: as always. setup() sets it to NULL. */
extern char *(*odd_answer)(const char *target, int *ret_status);

void must(enum cw_code rc, const struct cw_err *err);
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *bundle(const char *id, const char *next); /* one Observation */
void setup(void);
void teardown(void);
pid_t start_daemon(void);
void stop_daemon(pid_t pid);
struct cw_pull wait_for_end(void);
const struct cw_task *task_of(const struct cw_task *tasks, size_t count, const char *code); /* one that failed with it; NULL */

/* test_scheduler_odd.c */
TCase *tcase_odd(void);

#endif
