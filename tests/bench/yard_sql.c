/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of the callback's bench: what the database alone takes for as many prepared statements and durable transactions as a callback
 * that connects makes, by one bare connection, one statement after the other.
 *
 *   yard_sql DATABASE-SOCKET DATABASE COUNT     prints "p50 p99 max" in microseconds
 */
#include "config.h"

#include <mysql.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 1000, BODY = 200, COUNT_MAX = 100000 };
enum kind { SELECT, UPDATE, INSERT, KINDS };

static const char *const texts[KINDS] = {
    "SELECT id, body FROM yard_sql WHERE id = ?",
    "UPDATE yard_sql SET body = CONCAT(LEFT(body, 190), RAND()) WHERE id = ?",
    "INSERT INTO yard_sql_new (number, body) VALUES (?, REPEAT('x', 200))",
};
static MYSQL *db;
static MYSQL_STMT *statements[KINDS];

static void must(int bad, const char *what)
{
    if (bad) {
        fprintf(stderr, "yard_sql: %s: %s\n", what, mysql_error(db));
        exit(1);
    }
}

static void run_text(const char *text)
{
    must(mysql_real_query(db, text, strlen(text)) != 0, text);
}

static void run(enum kind kind, unsigned times)
{
    char body[BODY + 1];
    unsigned long body_length = 0;
    int number = rand_r(&(unsigned){ (unsigned)time(NULL) + times }) % ROWS;
    MYSQL_BIND in = { .buffer_type = MYSQL_TYPE_LONG, .buffer = &number };
    MYSQL_BIND out[] = { { .buffer_type = MYSQL_TYPE_LONG, .buffer = &number },
                         { .buffer_type = MYSQL_TYPE_BLOB, .buffer = body, .buffer_length = sizeof body, .length = &body_length } };
    for (unsigned i = 0; i < times; i++) {
        MYSQL_STMT *statement = statements[kind];
        must(mysql_stmt_bind_param(statement, &in) != 0 || mysql_stmt_execute(statement) != 0, texts[kind]);
        if (kind == SELECT) {
            must(mysql_stmt_bind_result(statement, out) != 0 || mysql_stmt_store_result(statement) != 0, "result");
            (void)mysql_stmt_fetch(statement);
            mysql_stmt_free_result(statement);
        }
    }
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The statements of one callback: find, consume, read the registration; then in a transaction lock, connect, read the Session and complete it. */
static int64_t one(void)
{
    int64_t since_us = now_us();
    run(SELECT, 1);
    run(UPDATE, 1);
    run(SELECT, 1);
    run_text("START TRANSACTION");
    run(SELECT, 2);
    run(UPDATE, 2);
    run(INSERT, 8);
    run_text("COMMIT");
    return now_us() - since_us;
}

static void furnish(void)
{
    run_text("CREATE OR REPLACE TABLE yard_sql (id INT PRIMARY KEY, body VARBINARY(220)) ENGINE=InnoDB");
    run_text("CREATE OR REPLACE TABLE yard_sql_new (id INT PRIMARY KEY AUTO_INCREMENT, number INT, body VARBINARY(220)) ENGINE=InnoDB");
    run_text("INSERT INTO yard_sql SELECT seq, REPEAT('x', 200) FROM seq_0_to_999");
    for (int kind = 0; kind < KINDS; kind++) {
        statements[kind] = mysql_stmt_init(db);
        must(statements[kind] == NULL || mysql_stmt_prepare(statements[kind], texts[kind], strlen(texts[kind])) != 0, texts[kind]);
    }
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    size_t count = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    int64_t *times = count > 0 && count <= COUNT_MAX ? calloc(count, sizeof *times) : NULL;
    db = mysql_init(NULL);
    if (times == NULL || db == NULL) {
        fprintf(stderr, "usage: yard_sql DATABASE-SOCKET DATABASE COUNT\n");
        return 2;
    }
    must(mysql_real_connect(db, NULL, NULL, NULL, argv[2], 0, argv[1], 0) == NULL, "connect");
    furnish();
    for (size_t i = 0; i < count; i++) {
        times[i] = one();
    }
    qsort(times, count, sizeof *times, by_time);
    printf("%lld %lld %lld 0\n", (long long)times[count / 2], (long long)times[count * 99 / 100], (long long)times[count - 1]);
    mysql_close(db);
    free(times);
    return 0;
}
