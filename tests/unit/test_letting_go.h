/* SPDX-License-Identifier: Apache-2.0 */
/* A patient with everything that a patient can have, for the suites of deletion, disconnect and sealed cells. */
#ifndef CW_TESTS_TEST_LETTING_GO_H
#define CW_TESTS_TEST_LETTING_GO_H

#include <check.h>

#include "model/connection_int.h"
#include "model/job.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/pull.h"
#include "model/registration.h"
#include "model/session.h"
#include "tests/lib/database.h"

extern struct cw_test_db lg_test;
extern struct cw_model lg_model;
extern struct cw_org_id lg_org;
extern struct cw_arena *lg_arena;
extern struct cw_err lg_err;
extern const struct cw_actor lg_actor;

#define OK(call) \
    do { \
        enum cw_code ok_code = (call); \
        ck_assert_msg(ok_code == CW_OK, "%s: %s: %s (%d)", cw_code_name(ok_code), lg_err.where, lg_err.text, lg_err.sys); \
    } while (0)
#define NUMBER(sql) cw_test_db_number(&lg_test, sql)
#define SQL(sql) cw_test_db_sql(&lg_test, sql)

/* One connection with its tokens, a pull that has brought a page and waits for the next, and the job in hand. */
struct lg_connection {
    struct cw_connection connection;
    struct cw_pull_id pull;
    struct cw_job job;
    struct cw_task_id task;
};
/* Connects `patient_id` (made when new) as `upstream` at the one endpoint of this test; records "shared" and "of <upstream>" and a document arrive. */
struct lg_connection lg_connect(const char *patient_id, const char *upstream);
/* Another page of it: what the scheduler gets to hear. */
enum cw_code lg_page(const struct lg_connection *connected, const char *record);
/* A Session with one attempt under way and one that failed. */
struct cw_session lg_session(const char *patient_id);
struct cw_patient lg_patient(const char *patient_id);

void lg_setup(void);
void lg_teardown(void);

Suite *lg_deletion_suite(void);
Suite *lg_sealed_suite(void);
Suite *lg_wiped_suite(void);

#endif
