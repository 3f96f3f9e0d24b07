/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the refresh share one database, one connection fresh for each test, and a scripted token endpoint. */
#ifndef CW_TESTS_TEST_REFRESH_H
#define CW_TESTS_TEST_REFRESH_H

#include <check.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/dynamic_client.h"
#include "model/grant_int.h"
#include "model/refresh.h"
#include "os/sys.h"
#include "smart/renewal.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

extern struct cw_test_db refresh_test;
extern struct cw_model refresh_model;
extern struct cw_connection_id refresh_connection;
extern struct cw_registration_id refresh_registration;
extern const struct cw_actor refresh_actor;
extern struct cw_profiles *refresh_profiles;
extern unsigned refresh_notes[CW_RENEWAL_NOT_OFFERED + 1]; /* how often each was told */

void refresh_must(enum cw_code rc, const struct cw_err *err);

/* What the connection begins with. Absent texts: access-1, refresh-1. */
struct refresh_start {
    const char *profile;         /* NULL: default */
    const char *token_endpoint;  /* NULL: one that nobody asks */
    int64_t expires_in_us;       /* 0: an hour */
    int64_t ends_in_us;          /* 0: not known */
    bool ends_fixed;
    bool one_time;
    const struct cw_dynamic_new *dynamic; /* a client of its own in place of a refresh token */
};
void refresh_connect(struct refresh_start start);

void refresh_setup(void);
void refresh_teardown(void);

/* A number of the connection's own grant or row; `what` is an SQL expression over g and c. */
int64_t refresh_number(const char *what);
int64_t refresh_events(enum cw_event_kind kind);
void refresh_forget_events(void);

/* The lease of a refresher of this name; the grant is released. */
enum cw_code refresh_begin(const char *owner, uint32_t seen, struct cw_refresh_lease *ret);

Suite *refresh_state_suite(void);
Suite *refresh_answer_suite(void);

#endif
