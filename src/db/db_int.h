/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of db/ share: the pool, a connection with its prepared statements, and the one place that reads errors. */
#ifndef CW_DB_DB_INT_H
#define CW_DB_DB_INT_H

#include <mysql.h>
#include <pthread.h>

#include "base/secret.h"
#include "db/db.h"

/* Prepared statements a connection keeps: sets of four, found by the query's address, the longest unused of a set makes
 * room. Enough for every query of a program, and a bound on what the server keeps (max_prepared_stmt_count). */
#define CW_DB_SETS 128u
#define CW_DB_WAYS 4u
#define CW_DB_COLUMNS_MAX 64u
#define CW_DB_INLINE_MAX 512u          /* bytes of a cell that are fetched without a second look */
#define CW_DB_KEEP_MAX (64u * 1024u)   /* a larger cell buffer is given back after the walk */
#define CW_DB_BATCH_MAX (8u * 1024u * 1024u) /* bytes of one bulk request; the server's default packet is 16 MiB */
#define CW_DB_BATCH_ROWS_MAX 2000u
#define CW_DB_IDLE_CHECK_US (60 * CW_SECOND_US)

/* Where one column of the row in hand lands. */
struct cell {
    char *buffer;        /* b: CW_DB_INLINE_MAX bytes or more */
    size_t size;
    int64_t number;
    MYSQL_TIME time;
    unsigned long length;
    my_bool is_null;
    my_bool error;
};

struct statement {
    const struct cw_query *query; /* NULL: the slot is free */
    MYSQL_STMT *stmt;
    uint64_t used;                /* the connection's clock at the last use */
    size_t width;
    struct cell *cells;
    MYSQL_BIND *binds;
};

struct cw_db {
    MYSQL *mysql;
    struct cw_db_pool *pool;
    struct cw_db *next;           /* in the idle list */
    int64_t idle_since_us;
    unsigned era;                 /* of the pool, when this connection was last known to work */
    bool broken;                  /* lost or out of step: closed instead of kept */
    bool in_tx;
    bool walking;                 /* a result is being read: nothing else may be sent */
    struct cw_err doom;           /* the first error inside the transaction; code CW_OK when none */
    uint64_t clock;
    struct statement statements[CW_DB_SETS][CW_DB_WAYS];
};

struct cw_db_pool {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct cw_db *idle;           /* last used first */
    unsigned open;                /* idle or borrowed */
    unsigned size;
    unsigned era;                 /* grows when a connection was lost: idle ones are checked before use */
    char *socket;                 /* NULL: TCP */
    char *host;
    unsigned port;
    char *name;
    char *user;
    char *tls_ca;                 /* NULL: loopback or socket */
    struct cw_secret password;
};

/* Fills err from MariaDB's error number, marks a lost connection broken and a transaction doomed. `where` is a literal
 * or a query's name. */
enum cw_code db_fail(struct cw_db *db, unsigned number, const char *where, struct cw_err *err) CW_NONNULL(1, 3) CW_COLD;
/* Says no when the transaction is doomed or the connection lost: after 1213 the server has rolled back, and the next
 * statement would run outside of any transaction. */
enum cw_code db_ready(struct cw_db *db, const char *where, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;

/* Connects db->mysql. Without `limits` no statement or read time-out, for migrations. */
enum cw_code db_connect(struct cw_db *db, bool limits, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;
/* Closes statements and connection; db->mysql is NULL afterwards. */
void db_disconnect(struct cw_db *db) CW_NONNULL(1);
/* A literal statement through the text protocol, for what cannot be prepared or is run once: BEGIN, migrations. */
enum cw_code db_text(struct cw_db *db, const char *where, struct cw_span sql, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

/* The prepared statement of query on this connection. */
enum cw_code db_statement(struct cw_db *db, const struct cw_query *query, struct statement **ret_statement,
                          struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;
void db_statements_close(struct cw_db *db) CW_NONNULL(1);
/* db_fail with the statement's own error; resets the statement. */
enum cw_code db_statement_fail(struct cw_db *db, struct statement *statement, struct cw_err *err)
    CW_NONNULL(1, 2) CW_COLD;

/* Microseconds to MariaDB's broken-down time, to the millisecond, down. False outside the years 1000 to 9999. */
bool db_time_pack(int64_t us, MYSQL_TIME *ret_time) CW_NONNULL(2) CW_MUST_USE;
int64_t db_time_unpack(const MYSQL_TIME *time) CW_NONNULL(1);
/* VARCHAR columns compare by their collation only with text, and a binary log keeps only valid text intact: bytes that
 * are UTF-8 are sent as text, others as binary. */
static inline enum enum_field_types db_bytes_type(bool utf8)
{
    return utf8 ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
}

#endif
