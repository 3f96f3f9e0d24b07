/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MariaDB behind five calls: a pool, prepared statements, transactions with rerun, bulk inserts, migrations.
 *
 * Every statement is a static const struct cw_query; its text is prepared once per connection. Values go in and out as
 * cw_value. Errors: 1213 and 1205 are CW_E_RETRY (only cw_tx_run answers them), lost connections CW_E_UNAVAILABLE,
 * duplicate keys CW_E_CONFLICT, a statement over max_statement_time (30 s) CW_E_TIMEOUT, one over max_allowed_packet CW_E_TOO_BIG,
 * anything else CW_E_IO with the MariaDB number in err->sys. SQL values never enter err.
 *
 * Connections: READ COMMITTED, utf8mb4, time_zone +00:00, STRICT_ALL_TABLES, no LOCAL INFILE, TLS verified on TCP.
 */
#ifndef CW_DB_DB_H
#define CW_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"
#include "base/span.h"
#include "os/config.h"

enum cw_value_kind {
    CW_V_NULL,
    CW_V_INT,    /* any integer column; BOOLEAN too */
    CW_V_BYTES,  /* VARBINARY, BLOB, VARCHAR, ids */
    CW_V_TIME    /* DATETIME(3), as microseconds UTC; stored to the millisecond, rounded down */
};

struct cw_value {
    enum cw_value_kind kind;
    int64_t number;
    struct cw_span bytes;
};

static inline struct cw_value cw_v_int(int64_t n) { return (struct cw_value){ .kind = CW_V_INT, .number = n }; }
static inline struct cw_value cw_v_time(int64_t us) { return (struct cw_value){ .kind = CW_V_TIME, .number = us }; }
static inline struct cw_value cw_v_null(void) { return (struct cw_value){ .kind = CW_V_NULL }; }
/* An absent span is NULL. */
static inline struct cw_value cw_v_bytes(struct cw_span s)
{
    return (struct cw_value){ .kind = s.ptr == NULL ? CW_V_NULL : CW_V_BYTES, .bytes = s };
}
/* Borrows *id until the call ends. */
static inline struct cw_value cw_v_id(const struct cw_ulid *id)
{
    return (struct cw_value){ .kind = CW_V_BYTES, .bytes = { (const char *)id->bytes, sizeof id->bytes } };
}
/* 0 is NULL: for optional times. */
static inline struct cw_value cw_v_time_opt(int64_t us) { return us == 0 ? cw_v_null() : cw_v_time(us); }

/* `params` and `columns` are one letter each: i int, b bytes, t time. NULL is allowed everywhere. */
struct cw_query {
    const char *name;    /* for logs and EXPLAIN tests; unique */
    const char *sql;     /* with ? */
    const char *params;
    const char *columns; /* "" when it returns no rows */
};

struct cw_rows {
    size_t count;
    size_t width;
    const struct cw_value *cells; /* row after row; in the arena */
};
static inline const struct cw_value *cw_row(const struct cw_rows *rows, size_t at)
{
    return rows->cells + at * rows->width;
}
/* A 16-byte id column; aborts on another width. */
struct cw_ulid cw_value_id(const struct cw_value *value) CW_NONNULL(1);

#define CW_DB_WAIT_DEFAULT_MS 5000u /* how long callers wait for a connection */

struct cw_db_pool;
struct cw_db;        /* one connection, used by one thread at a time */

void cw_db_pool_free(struct cw_db_pool *pool);
/* Opens nothing yet. `size` 0 takes the configured size. */
enum cw_code cw_db_pool_new(const struct cw_config *config, unsigned size, struct cw_db_pool **ret_pool,
                            struct cw_err *err) CW_MUST_USE;
/* Borrows a working connection, waiting up to wait_ms for a free one. Give it back with cw_db_put, never across a network call. */
enum cw_code cw_db_get(struct cw_db_pool *pool, unsigned wait_ms, struct cw_db **ret_db, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;
/* NULL allowed. A broken connection is closed instead of kept; one inside a transaction or a result is a bug. */
void cw_db_put(struct cw_db *db);

/* Runs a statement without rows. *ret_affected (NULL allowed) counts the rows that an UPDATE's WHERE met, changed or not
 * (CLIENT_FOUND_ROWS), so that 0 always means "no such row". */
enum cw_code cw_db_exec(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                        uint64_t *ret_affected, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
/* Runs a statement and brings all its rows into the arena; the SQL has a LIMIT. CW_E_TOO_BIG when the arena is full. No rows is CW_OK with count 0. */
enum cw_code cw_db_select(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                          struct cw_arena *arena, struct cw_rows *ret_rows, struct cw_err *err)
    CW_NONNULL(1, 2, 4, 5) CW_MUST_USE;
/* The same for exactly one row: CW_E_NOT_FOUND when there is none. */
enum cw_code cw_db_one(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                       struct cw_arena *arena, const struct cw_value **ret_row, struct cw_err *err)
    CW_NONNULL(1, 2, 4, 5) CW_MUST_USE;
/* Row by row, in constant memory: cells live until fn returns; fn must not use the same connection. fn ends the walk by another code than CW_OK, which is returned. */
typedef enum cw_code cw_db_row_fn(void *arg, const struct cw_value *row, struct cw_err *err);
enum cw_code cw_db_each(struct cw_db *db, const struct cw_query *query, const struct cw_value *params, cw_db_row_fn *fn,
                        void *arg, struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;
/* One statement for `count` rows of parameters (Connector/C array binding), params row after row. All or nothing: over 2,000 rows or 8 MiB
 * it takes several requests and needs a transaction (CW_E_TOO_BIG outside of one). */
enum cw_code cw_db_bulk(struct cw_db *db, const struct cw_query *query, const struct cw_value *params, size_t count,
                        uint64_t *ret_affected, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* Runs fn inside a transaction: commits on CW_OK, rolls back on anything else, and runs fn again from its start, up to
 * 3 times with a short random pause, on CW_E_RETRY (deadlock, lock wait; also at commit). fn must have no effect outside the database, and must return
 * the first error it sees: any statement error but CW_E_CONFLICT (that statement alone is undone) dooms the transaction, later statements are refused, and
 * nothing can commit. Not nested. CW_E_UNAVAILABLE at commit: whether it happened is not known. */
typedef enum cw_code cw_tx_fn(struct cw_db *db, void *arg, struct cw_err *err);
enum cw_code cw_tx_run(struct cw_db *db, cw_tx_fn *fn, void *arg, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
/* Borrows a connection for one cw_tx_run; the usual way in. */
enum cw_code cw_tx_pool(struct cw_db_pool *pool, cw_tx_fn *fn, void *arg, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* A unit of work that is one statement: its transaction is the statement's own (autocommit), so that it costs one round trip instead of three. Rerun
 * like cw_tx_run's. CW_E_UNAVAILABLE: whether it happened is not known. */
enum cw_code cw_tx_single(struct cw_db_pool *pool, const struct cw_query *query, const struct cw_value *params,
                          uint64_t *ret_affected, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
/* True while fn of cw_tx_run runs: model functions that need one check it (cw_bug otherwise). */
bool cw_db_in_tx(const struct cw_db *db) CW_NONNULL(1);

/* Runs the files NNNN_name.sql of `dir` that the table schema_migration does not list, in order, under a named lock, so that two nodes do not race. A file
 * whose recorded SHA-256 differs stops it (CW_E_CONFIG). Forward only. *ret_ran: how many ran. `dry_run` only counts. */
enum cw_code cw_db_migrate(struct cw_db *db, const char *dir, bool dry_run, unsigned *ret_ran, struct cw_err *err)
    CW_NONNULL(1, 2, 4) CW_MUST_USE;
/* CW_OK when the schema is the one that this build was made for, CW_E_CONFIG with a text that says what to run otherwise. Programs call it at start. */
enum cw_code cw_db_check_schema(struct cw_db *db, const char *dir, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;

#endif
