/* SPDX-License-Identifier: Apache-2.0 */
/* chartwayctl as a child, for tests: what it printed and how it ended. `make` has built it in the folder that the test runs in. */
#ifndef CW_TESTS_CTL_RUN_H
#define CW_TESTS_CTL_RUN_H

#include <check.h>
#include <jansson.h>

#include "tests/lib/database.h"

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

extern char ctl_out[256 * 1024], ctl_problem[64 * 1024];

/* Writes a configuration of the fixture's database, with 127.0.0.1:port allowed and `more` lines of [net] behind, and has chartwayctl read it.
 * `origin` NULL: https://cw.test. */
void ctl_configure(const struct cw_test_db *test, const char *origin, unsigned port, const char *more);
/* Arguments ended by NULL; keeps stdout and stderr in ctl_out and ctl_problem, and gives the exit status. */
int ctl_run(const struct cw_test_db *test, const char *const *arguments);
/* The output as JSON; the caller releases it. */
json_t *ctl_json(void);

#endif
