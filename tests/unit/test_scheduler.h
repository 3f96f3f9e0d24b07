/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler's tests share: a scripted hospital, a patient who has connected, and the real daemon. */
#ifndef CW_TESTS_TEST_SCHEDULER_H
#define CW_TESTS_TEST_SCHEDULER_H

#include <check.h>
#include <stdbool.h>
#include <sys/types.h>

#include "model/pull.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

#define AT(second) (INT64_C(1700000000) * CW_SECOND_US + (second) * CW_SECOND_US)

extern struct cw_test_db sched_test;
extern struct cw_model sched_model;
extern struct script_server *sched_hospital;
extern char sched_allowed[2000];            /* " host:port" of more hospitals */
extern const char *sched_signed_in_with;    /* the refresh token; NULL: one-time access, with the good token from the start */
extern enum sched_temper { PLAIN, REFUSES_TYPES, REFUSES_ALL } sched_temper; /* what the hospital does with a good token */
extern const struct script_answer sched_script[1]; /* of the plain hospital */

void sched_setup(void);
void sched_teardown(void);
void sched_must(enum cw_code rc, const struct cw_err *err);
char *sched_answer(void *arg, const struct script_request *request, int *ret_status); /* of the plain hospital */
/* A patient at sched_hospital, with a pull that waits: which sched_wait_for_end then looks at. */
void sched_connect_patient(void);
pid_t sched_start_daemon(void);
void sched_stop_daemon(pid_t pid);
void sched_killed_daemon(void);             /* the test has ended it itself */
struct cw_pull sched_wait_for_end(void);
/* Whether a statement's number is 1 before so many seconds have passed. */
bool sched_within(int seconds, const char *sql);

/* Pieces of the plain hospital's answers, and what test_scheduler_odd.c puts before them: NULL from it is "as always"; sched_setup takes it away. */
extern struct cw_arena *sched_arena;
extern struct script_server *sched_stranger;
extern struct cw_pull_id sched_pull;
extern char *(*sched_odd_answer)(const char *target, int *ret_status);
char *sched_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *sched_bundle(const char *id, const char *next); /* one Observation */
const struct cw_task *sched_task_of(const struct cw_task *tasks, size_t count, const char *code); /* one that failed with it; NULL */

Suite *scheduler_manners_suite(void);
TCase *scheduler_odd_tcase(void);

#endif
