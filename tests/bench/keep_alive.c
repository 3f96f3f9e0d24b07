/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keep-alive's claims beside the bare statements: COUNT grants are due at once (default 100,000). Both take eight at a time
 * in one transaction, in turns, from the same table; what is claimed is due again in an hour, and one claim in two is put off as
 * a busy host would. Ratios are what to read: the rate of claims, and the peak of memory against that after a hundred claims.
 *
 *   tests/bench/keep_alive [COUNT]     starts a MariaDB of its own
 */
#include "config.h"

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/keep_alive.h"
#include "os/sys.h"
#include "tests/lib/database.h"

#define BATCH 8
#define FILL 20000u
#define TURN 500 /* claims of one side, then of the other */

static struct cw_test_db test;
static struct cw_model m;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s\n", what);
        exit(EXIT_FAILURE);
    }
}

/* VmHWM or VmRSS in KiB. */
static long memory(const char *name)
{
    char line[256];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            found = strtoul(line + strlen(name) + 1, NULL, 10) > 0 ? (long)strtoul(line + strlen(name) + 1, NULL, 10) : 0;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

static unsigned claim_ours(void)
{
    struct cw_due due[BATCH];
    struct cw_err err = { 0 };
    unsigned count = 0;
    check(cw_due_claim(&m, CW_HOUR_US, BATCH, due, &count, &err) == CW_OK, err.text);
    for (unsigned i = 0; i < count; i += 2) {
        check(cw_due_defer(&m, &due[i], due[i].claimed_us + CW_HOUR_US, &err) == CW_OK, err.text);
    }
    return count;
}

static void run(MYSQL *mysql, const char *sql)
{
    check(mysql_real_query(mysql, sql, strlen(sql)) == 0, mysql_error(mysql));
}

/* The same by text statements on a bare connection, without a pool, ids or errors to care for. */
static unsigned claim_bare(MYSQL *mysql)
{
    static const char due[] = "SELECT HEX(connection) FROM token_grant FORCE INDEX (refresh_due) WHERE refresh_due_at <= UTC_TIMESTAMP(3)"
                              " ORDER BY refresh_due_at LIMIT 8 FOR UPDATE SKIP LOCKED";
    char sql[1024], ids[BATCH][33];
    unsigned count = 0;
    size_t at = (size_t)snprintf(sql, sizeof sql, "UPDATE token_grant SET refresh_due_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR"
                                                  " WHERE connection IN (''");
    run(mysql, "BEGIN");
    run(mysql, due);
    MYSQL_RES *rows = mysql_store_result(mysql);
    for (MYSQL_ROW row; rows != NULL && (row = mysql_fetch_row(rows)) != NULL; count++) {
        (void)snprintf(ids[count], sizeof ids[count], "%s", row[0]);
        at += (size_t)snprintf(sql + at, sizeof sql - at, ", x'%s'", row[0]);
    }
    mysql_free_result(rows);
    (void)snprintf(sql + at, sizeof sql - at, ")");
    run(mysql, sql);
    run(mysql, "COMMIT");
    for (unsigned i = 0; i < count; i += 2) {
        (void)snprintf(sql, sizeof sql, "UPDATE token_grant SET refresh_due_at = UTC_TIMESTAMP(3) + INTERVAL 2 HOUR WHERE connection = x'%s'",
                       ids[i]);
        run(mysql, sql);
    }
    return count;
}

/* In pieces that are done before a statement's time is over. */
static void fill(unsigned count)
{
    char sql[600];
    for (unsigned from = 1; from <= count; from += FILL) {
        unsigned to = from + FILL - 1 < count ? from + FILL - 1 : count;
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO token_grant (connection, version, access_sealed, key_version, token_type, obtained_at, expires_at,"
                       " refresh_due_at) SELECT UNHEX(MD5(seq)), 1, 'x', 1, 'Bearer', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),"
                       " UTC_TIMESTAMP(3) - INTERVAL (seq MOD 86400) SECOND FROM seq_%u_to_%u", from, to);
        cw_test_db_sql(&test, sql);
    }
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    MYSQL *mysql = mysql_init(NULL);
    check(mysql_real_connect(mysql, NULL, "root", NULL, test.name, 0, getenv("CW_TEST_DB_SOCKET"), 0) != NULL, "no database");
    run(mysql, "SET time_zone = '+00:00'");
    run(mysql, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    fill(count);
    int64_t us[2] = { 0, 0 };
    unsigned claimed[2] = { 0, 0 }, got = 1;
    long early = 0;
    for (unsigned i = 0; got > 0; i++) {
        unsigned side = i / TURN % 2;
        int64_t from_us = cw_monotonic_us();
        got = side == 0 ? claim_ours() : claim_bare(mysql);
        us[side] += cw_monotonic_us() - from_us;
        claimed[side] += got;
        early = i == 100 ? memory("VmHWM") : early;
    }
    check(claimed[0] + claimed[1] == count, "not every due grant was claimed once");
    double ours = claimed[0] * 1e6 / (double)us[0], bare = claimed[1] == 0 ? ours : claimed[1] * 1e6 / (double)us[1];
    printf("  %u grants due, claimed %d at a time, half of them put off\n", count, BATCH);
    printf("  claims        %8.0f/s, the bare statements %8.0f/s, ratio %.2f\n", ours, bare, ours / bare);
    printf("  peak memory   %8ld KiB, after 100 claims %8ld KiB, ratio %.2f\n", memory("VmHWM"), early,
           early == 0 ? 1.0 : (double)memory("VmHWM") / (double)early);
    mysql_close(mysql);
    cw_test_db_release(&test);
    return EXIT_SUCCESS;
}
