/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of `./dev bench` for the API: libfcgi, threads, one prepared statement a request, and nothing else. A GET selects one
 * row by its key, a POST inserts one row in a transaction of its own; both answer 556 bytes of JSON. What Chartway costs over this is
 * its own.
 *
 *   yard_web THREADS DATABASE-SOCKET DATABASE    with the listening socket on fd 0
 */
#include "config.h"

#include <fcgiapp.h>
#include <mysql.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { KEY_LEN = 16, BODY_LEN = 556, ROWS = 1000 };

static const char *database_socket, *database;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "yard_web: %s: %s\n", what, why);
    exit(1);
}

static MYSQL *yard_connect(void)
{
    MYSQL *db = mysql_init(NULL);
    if (db == NULL || mysql_real_connect(db, NULL, NULL, NULL, database, 0, database_socket, 0) == NULL) {
        fail("connect", db == NULL ? "out of memory" : mysql_error(db));
    }
    return db;
}

static MYSQL_STMT *yard_prepare(MYSQL *db, const char *text)
{
    MYSQL_STMT *statement = mysql_stmt_init(db);
    if (statement == NULL || mysql_stmt_prepare(statement, text, strlen(text)) != 0) {
        fail("prepare", mysql_error(db));
    }
    return statement;
}

static MYSQL_BIND yard_blob(void *bytes, unsigned long room, unsigned long *length)
{
    return (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_BLOB, .buffer = bytes, .buffer_length = room, .length = length };
}

static bool yard_select(MYSQL_STMT *statement, unsigned number, char body[BODY_LEN])
{
    uint8_t key[KEY_LEN] = { 0 };
    unsigned long key_length = KEY_LEN, body_length = 0;
    memcpy(key, &number, sizeof number);
    MYSQL_BIND in = yard_blob(key, KEY_LEN, &key_length);
    MYSQL_BIND out = yard_blob(body, BODY_LEN, &body_length);
    bool good = mysql_stmt_bind_param(statement, &in) == 0 && mysql_stmt_execute(statement) == 0 &&
                mysql_stmt_bind_result(statement, &out) == 0 && mysql_stmt_fetch(statement) == 0;
    mysql_stmt_free_result(statement);
    return good && body_length == BODY_LEN;
}

static bool yard_insert(MYSQL_STMT *statement, char body[BODY_LEN])
{
    uint8_t key[KEY_LEN];
    unsigned long key_length = KEY_LEN, body_length = BODY_LEN;
    if (getrandom(key, KEY_LEN, 0) != KEY_LEN) {
        return false;
    }
    MYSQL_BIND in[] = { yard_blob(key, KEY_LEN, &key_length), yard_blob(body, BODY_LEN, &body_length) };
    return mysql_stmt_bind_param(statement, in) == 0 && mysql_stmt_execute(statement) == 0;
}

static void *yard_worker(void *seed)
{
    MYSQL *db = yard_connect();
    MYSQL_STMT *select = yard_prepare(db, "SELECT body FROM yard WHERE id = ?");
    MYSQL_STMT *insert = yard_prepare(db, "INSERT INTO yard (id, body, created_at) VALUES (?, ?, NOW(3))");
    unsigned number = (unsigned)(uintptr_t)seed;
    FCGX_Request request;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        char body[BODY_LEN];
        char read[4096];
        memset(body, ' ', sizeof body);
        number = (number * 16807u + 1) % ROWS;
        const char *method = FCGX_GetParam("REQUEST_METHOD", request.envp);
        while (FCGX_GetStr(read, sizeof read, request.in) > 0) {
        }
        bool good = method != NULL && method[0] == 'P' ? yard_insert(insert, body) : yard_select(select, number, body);
        char head[128];
        int length = snprintf(head, sizeof head, "Status: %d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                              good ? 200 : 500, BODY_LEN);
        FCGX_PutStr(head, length, request.out);
        FCGX_PutStr(body, BODY_LEN, request.out);
    }
    return NULL;
}

static void yard_fill(void)
{
    MYSQL *db = yard_connect();
    static const char *const texts[] = {
        "CREATE TABLE IF NOT EXISTS yard (id BINARY(16) NOT NULL PRIMARY KEY, body VARBINARY(1024) NOT NULL, "
        "created_at DATETIME(3) NOT NULL) ENGINE=InnoDB",
        "TRUNCATE TABLE yard",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (mysql_real_query(db, texts[i], strlen(texts[i])) != 0) {
            fail("table", mysql_error(db));
        }
    }
    MYSQL_STMT *insert = yard_prepare(db, "INSERT INTO yard (id, body, created_at) VALUES (?, ?, NOW(3))");
    char body[BODY_LEN];
    memset(body, 'x', sizeof body);
    mysql_autocommit(db, 0);
    for (unsigned number = 0; number < ROWS; number++) {
        uint8_t key[KEY_LEN] = { 0 };
        unsigned long key_length = KEY_LEN, body_length = BODY_LEN;
        memcpy(key, &number, sizeof number);
        MYSQL_BIND in[] = { yard_blob(key, KEY_LEN, &key_length), yard_blob(body, BODY_LEN, &body_length) };
        if (mysql_stmt_bind_param(insert, in) != 0 || mysql_stmt_execute(insert) != 0) {
            fail("fill", mysql_stmt_error(insert));
        }
    }
    mysql_commit(db);
    mysql_stmt_close(insert);
    mysql_close(db);
}

int main(int argc, char **argv)
{
    long threads = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    if (threads < 1 || threads > 256) {
        fail("usage", "yard_web THREADS DATABASE-SOCKET DATABASE");
    }
    database_socket = argv[2];
    database = argv[3];
    mysql_library_init(0, NULL, NULL);
    FCGX_Init();
    yard_fill();
    for (long i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, yard_worker, (void *)(uintptr_t)(i + 1)) != 0) {
            fail("thread", "cannot start");
        }
    }
    pause();
    return 0;
}
