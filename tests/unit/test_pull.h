/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of pulls share: a connected patient whose pull is claimed, and pages to commit. */
#ifndef CW_TEST_PULL_H
#define CW_TEST_PULL_H

#include <check.h>

#include "model/pull.h"
#include "tests/lib/database.h"

extern struct cw_test_db test;
extern struct cw_model m;
extern struct cw_arena *arena;
extern const struct cw_actor actor;
extern struct cw_patient_row patient;
extern struct cw_connection connection;
extern struct cw_data_key key;
extern struct cw_pull_id pull;
extern struct cw_job job;
extern const char *const bodies[3], *const ids[3]; /* of Observations */

void must(enum cw_code rc, const struct cw_err *err);
void setup(void);
void teardown(void);
void plan(void);                     /* a search of Observations, and Goals that are skipped */
struct cw_waiting waiting(void);
struct cw_record_batch *batch_of(const char *const *bodies_of, const char *const *ids_of, size_t count);
enum cw_code commit(struct cw_record_batch *batch, const char *url, const char *next, const char *owner, struct cw_page_result *ret);

/* test_pull_found.c */
TCase *tcase_found(void);

#endif
