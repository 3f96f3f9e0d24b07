/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims of jobs, one worker: with 10,000 and with COUNT (default 1,000,000) that wait, and again while an old read view blocks InnoDB's purge, so that
 * every claimed row's old index entry stays. The rate, and its ratios: size, and a minute's worth of claims behind an old view, should
 * cost next to nothing.
 *
 *   tests/bench/job_claim [COUNT]     starts a MariaDB of its own
 */
#include "config.h"

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/job.h"
#include "os/sys.h"
#include "tests/lib/database.h"

#define BATCH 16u       /* as the dispatcher takes them */
#define FEW 10000u
#define FILL 20000u
#define CLAIMED 50000u  /* at most in one measurement */

static struct cw_test_db test;
static struct cw_model m;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s\n", what);
        exit(EXIT_FAILURE);
    }
}

static void run(MYSQL *mysql, const char *sql)
{
    check(mysql_real_query(mysql, sql, strlen(sql)) == 0, mysql_error(mysql));
}

/* In pieces that are done before a statement's time is over: one in ten is waited for. */
static void fill(unsigned count)
{
    char sql[700];
    cw_test_db_sql(&test, "TRUNCATE TABLE job");
    for (unsigned from = 1; from <= count; from += FILL) {
        unsigned to = from + FILL - 1 < count ? from + FILL - 1 : count;
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO job (id, kind, subject, priority, ready_at, created_at) SELECT UNHEX(CONCAT(LPAD(HEX(seq), 12, '0'), RIGHT(MD5(seq), 20))), 1, UNHEX(MD5(seq)),"
                       " IF(seq MOD 10 = 0, 50, 200), UTC_TIMESTAMP(3) - INTERVAL (seq MOD 86400) SECOND, UTC_TIMESTAMP(3) FROM seq_%u_to_%u",
                       from, to);
        cw_test_db_sql(&test, sql);
    }
}

/* Jobs claimed in a second, over so many. */
static double claim(unsigned most)
{
    struct cw_job jobs[BATCH];
    struct cw_err err = { 0 };
    unsigned claimed = 0;
    size_t got = 1;
    int64_t from_us = cw_monotonic_us();
    while (claimed < most && got > 0) {
        check(cw_job_claim(&m, "bench/1", CW_HOUR_US, BATCH, jobs, &got, &err) == CW_OK, err.text);
        claimed += (unsigned)got;
    }
    check(claimed > 0, "nothing was claimed");
    double rate = claimed * 1e6 / (double)(cw_monotonic_us() - from_us);
    fprintf(stderr, "%u claimed, %.0f/s\n", claimed, rate);
    return rate;
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    MYSQL *old = mysql_init(NULL);
    check(mysql_real_connect(old, NULL, "root", NULL, test.name, 0, getenv("CW_TEST_DB_SOCKET"), 0) != NULL, "no database");
    cw_test_db_sql(&test, "SET GLOBAL innodb_buffer_pool_size = 1073741824"); /* the tests' is smaller than a million jobs */
    fill(FEW);
    double few = claim(FEW);
    fill(count);
    double many = claim(CLAIMED);
    run(old, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    run(old, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    double behind = claim(CLAIMED), later = claim(CLAIMED);
    printf("  %u jobs wait  %8.0f claims/s\n", FEW, few);
    printf("  %u jobs wait  %8.0f claims/s, ratio of the cost %.2f\n", count, many, few / many);
    printf("  an old view    %8.0f claims/s, %.0f after %u more; ratio of the cost %.2f\n", behind, later, CLAIMED, many / later);
    mysql_close(old);
    cw_test_db_release(&test);
    return EXIT_SUCCESS;
}
