/* SPDX-License-Identifier: Apache-2.0 */
/* The migration runner over folders of its own, and the real sql/ over an empty database. */
#include "config.h"

#include "db/db.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_db *db;
static struct cw_err err;

static void write_sql(const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", test.folder, name);
    ck_assert_int_eq(cw_file_replace(path, 0600, cw_span_cstr(content), &err), CW_OK);
}

static enum cw_code migrate(bool dry_run, unsigned *ret_ran)
{
    return cw_db_migrate(db, test.folder, dry_run, ret_ran, &err);
}

static void setup(void)
{
    cw_test_db_init(&test, false);
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &db, &err), CW_OK);
}

static void teardown(void)
{
    cw_db_put(db);
    cw_test_db_release(&test);
}

START_TEST(files_run_once_in_order)
{
    unsigned ran = 99;
    ck_assert_int_eq(migrate(false, &ran), CW_E_CONFIG); /* an empty folder is a mistake in sql_dir */
    write_sql("0002_two.sql", "INSERT INTO a VALUES (2);\nINSERT INTO a VALUES (3)\n;\n");
    write_sql("0001_one.sql", "-- a comment; with a semicolon;\n\nCREATE TABLE a (\n  n INT, -- first;second\n  m INT DEFAULT 0\n);\nALTER TABLE a DROP COLUMN m;\n");
    write_sql("README", "not SQL");
    ck_assert_int_eq(migrate(true, &ran), CW_OK);
    ck_assert_uint_eq(ran, 2);
    ck_assert_int_eq(cw_db_check_schema(db, test.folder, &err), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "chartwayctl migrate"));
    ran = 99;
    enum cw_code rc = migrate(false, &ran);
    ck_assert_msg(rc == CW_OK, "%s (%d)", err.text, err.sys);
    ck_assert_uint_eq(ran, 2);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT SUM(n) FROM a"), 5);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT SUM(statements_done) FROM schema_migration WHERE finished_at IS NOT NULL"), 4);
}
END_TEST

START_TEST(a_repaired_database_goes_on_where_it_stopped)
{
    unsigned ran = 0;
    write_sql("0001_one.sql", "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1);\nINSERT INTO missing VALUES (1);\nINSERT INTO a VALUES (2);\n");
    ck_assert_int_eq(migrate(false, &ran), CW_E_IO);
    ck_assert_int_eq(err.sys, 1146);
    ck_assert_ptr_nonnull(strstr(err.text, "0001, statement 3"));
    ck_assert_int_eq(cw_db_check_schema(db, test.folder, &err), CW_E_CONFIG);
    cw_test_db_sql(&test, "CREATE TABLE missing (n INT)");
    ck_assert_int_eq(migrate(false, &ran), CW_OK);
    ck_assert_uint_eq(ran, 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT SUM(n) FROM a"), 3);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM missing"), 1);
    ck_assert_int_eq(cw_db_check_schema(db, test.folder, &err), CW_OK);
    ck_assert_int_eq(migrate(false, &ran), CW_OK);
    ck_assert_uint_eq(ran, 0);
}
END_TEST

START_TEST(changed_and_foreign_files_stop_it)
{
    unsigned ran = 0;
    write_sql("0001_one.sql", "CREATE TABLE a (n INT);\n");
    ck_assert_int_eq(migrate(false, &ran), CW_OK);
    write_sql("0001_one.sql", "CREATE TABLE a (n BIGINT);\n");
    ck_assert_int_eq(migrate(false, &ran), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "changed"));
    write_sql("0001_one.sql", "CREATE TABLE a (n INT);\n");
    write_sql("0001_twin.sql", "SELECT 1;\n");
    ck_assert_int_eq(migrate(false, &ran), CW_E_CONFIG);
    write_sql("0001_twin.sql", "SELECT 1;\n");
    cw_test_db_sql(&test, "UPDATE schema_migration SET version = 7");
    char path[128];
    snprintf(path, sizeof path, "%s/0001_twin.sql", test.folder);
    unlink(path);
    ck_assert_int_eq(cw_db_check_schema(db, test.folder, &err), CW_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "newer"));
}
END_TEST

START_TEST(a_file_without_its_last_semicolon_is_refused)
{
    unsigned ran = 0;
    write_sql("0001_one.sql", "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1)\n");
    ck_assert_int_eq(migrate(false, &ran), CW_E_CONFIG);
    ck_assert_int_eq(cw_db_check_schema(db, test.folder, &err), CW_E_CONFIG);
}
END_TEST

struct runner {
    enum cw_code rc;
    unsigned ran;
};

static void *run_migrate(void *arg)
{
    struct runner *runner = arg;
    struct cw_db *own = NULL;
    runner->rc = cw_db_get(test.pool, 1000, &own, NULL);
    if (runner->rc == CW_OK) {
        runner->rc = cw_db_migrate(own, test.folder, false, &runner->ran, NULL);
    }
    cw_db_put(own);
    return NULL;
}

START_TEST(two_nodes_do_not_race)
{
    write_sql("0001_one.sql", "CREATE TABLE a (n INT);\nINSERT INTO a SELECT 1 + SLEEP(0.1);\n");
    struct runner runners[3] = { { .rc = CW_OK } };
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_migrate, &runners[i]), 0);
    }
    unsigned ran = 0;
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(runners[i].rc, CW_OK);
        ran += runners[i].ran;
    }
    ck_assert_uint_eq(ran, 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM a"), 1);
}
END_TEST

START_TEST(the_real_schema_runs_and_is_checked)
{
    const char *dir = cw_config_text(test.config, CW_CONF_SQL_DIR);
    unsigned ran = 0;
    ck_assert_int_eq(cw_db_check_schema(db, dir, &err), CW_E_CONFIG);
    enum cw_code rc = cw_db_migrate(db, dir, false, &ran, &err);
    ck_assert_msg(rc == CW_OK, "%s (%d)", err.text, err.sys);
    ck_assert_uint_ge(ran, 1);
    ck_assert_int_eq(cw_db_check_schema(db, dir, &err), CW_OK);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("migrate");
    TCase *tcase = tcase_create("migrate");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, files_run_once_in_order);
    tcase_add_test(tcase, a_repaired_database_goes_on_where_it_stopped);
    tcase_add_test(tcase, changed_and_foreign_files_stop_it);
    tcase_add_test(tcase, a_file_without_its_last_semicolon_is_refused);
    tcase_add_test(tcase, two_nodes_do_not_race);
    tcase_add_test(tcase, the_real_schema_runs_and_is_checked);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *[]){ suite, NULL });
}
