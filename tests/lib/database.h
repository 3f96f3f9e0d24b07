/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fresh database for one test program. Without CW_TEST_DB_SOCKET the program starts itself again under
 * tests/lib/with-mariadb, so that it also runs by hand and in a debugger.
 */
#ifndef CW_TESTS_DATABASE_H
#define CW_TESTS_DATABASE_H

#include "db/db.h"
#include "os/config.h"

struct cw_test_db {
    struct cw_config *config; /* origin https://cw.test, one master key, this database, pool of 8 */
    struct cw_db_pool *pool;
    char name[64];
    char folder[64];          /* for files of the test; removed at the end with what lies flat in it */
};

/* First line of main: may not return (execs). */
void cw_test_db_need(char **argv);
/* Makes the database; with `migrated` runs sql/. Fails the program when it cannot. */
void cw_test_db_init(struct cw_test_db *test, bool migrated);
/* Drops the database. First EXPLAINs every statement that pooled connections prepared, and fails the program on a full
 * scan of a table that grows. */
void cw_test_db_release(struct cw_test_db *test);
/* Statements separated by nothing: one at a time, on a connection of the pool. Aborts on an error. */
void cw_test_db_sql(struct cw_test_db *test, const char *sql);
/* The first column of the only row as a number. Aborts on an error. */
int64_t cw_test_db_number(struct cw_test_db *test, const char *sql);
/* How many of the pooled connections' statements scan a whole table that grows; their names go to stderr. */
unsigned cw_test_db_full_scans(struct cw_test_db *test);

#endif
