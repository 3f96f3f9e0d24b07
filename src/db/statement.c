/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepared statements: found by the address of their cw_query, bound from cw_value, read row by row from the wire.
 *
 * Cells of bytes have a small buffer of their own; when a cell turns out longer, the real length is known and it is
 * fetched again into memory of that size, so that nothing is ever cut.
 */
#include "config.h"

#include "db/db_int.h"

#include <mysqld_error.h>
#include <time.h>

#include "base/text.h"
#include "base/time.h"

#define PARAMS_MAX 64u

/* ---- times */

bool db_time_pack(int64_t us, MYSQL_TIME *ret_time)
{
    int64_t ms = us / 1000 - (us % 1000 < 0 ? 1 : 0);
    time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0 ? 1 : 0));
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year + 1900 < 1000 || tm.tm_year + 1900 > 9999) {
        return false;
    }
    *ret_time = (MYSQL_TIME){
        .year = (unsigned)(tm.tm_year + 1900),
        .month = (unsigned)(tm.tm_mon + 1),
        .day = (unsigned)tm.tm_mday,
        .hour = (unsigned)tm.tm_hour,
        .minute = (unsigned)tm.tm_min,
        .second = (unsigned)tm.tm_sec,
        .second_part = (unsigned long)(ms - (int64_t)seconds * 1000) * 1000,
        .time_type = MYSQL_TIMESTAMP_DATETIME,
    };
    return true;
}

int64_t db_time_unpack(const MYSQL_TIME *time)
{
    struct tm tm = {
        .tm_year = (int)time->year - 1900,
        .tm_mon = (int)time->month - 1,
        .tm_mday = (int)time->day,
        .tm_hour = (int)time->hour,
        .tm_min = (int)time->minute,
        .tm_sec = (int)time->second,
    };
    return (int64_t)timegm(&tm) * CW_SECOND_US + (int64_t)time->second_part;
}

struct cw_ulid cw_value_id(const struct cw_value *value)
{
    struct cw_ulid id;
    if (value->kind != CW_V_BYTES || value->bytes.len != sizeof id.bytes) {
        cw_bug("an id column that does not hold 16 bytes");
    }
    memcpy(id.bytes, value->bytes.ptr, sizeof id.bytes);
    return id;
}

/* ---- the cache */

static void statement_close(struct statement *statement)
{
    if (statement->stmt != NULL) {
        mysql_stmt_close(statement->stmt);
    }
    for (size_t i = 0; i < statement->width && statement->cells != NULL; i++) {
        free(statement->cells[i].buffer);
    }
    free(statement->cells);
    free(statement->binds);
    *statement = (struct statement){ .query = NULL };
}

void db_statements_close(struct cw_db *db)
{
    for (size_t set = 0; set < CW_DB_SETS; set++) {
        for (size_t way = 0; way < CW_DB_WAYS; way++) {
            statement_close(&db->statements[set][way]);
        }
    }
}

/* A broken contract between a query's text and its letters is a fault of the program, not of the database. */
static _Noreturn void query_bug(const struct cw_query *query, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "query %s: %s", query->name, what);
    cw_bug(text);
}

/* Fixed addresses for every column; cells must not move afterwards. */
static bool make_cells(struct statement *statement)
{
    const char *columns = statement->query->columns;
    statement->width = strlen(columns);
    if (statement->width == 0) {
        return true;
    }
    statement->cells = calloc(statement->width, sizeof *statement->cells);
    statement->binds = calloc(statement->width, sizeof *statement->binds);
    if (statement->cells == NULL || statement->binds == NULL) {
        return false;
    }
    for (size_t i = 0; i < statement->width; i++) {
        struct cell *cell = &statement->cells[i];
        MYSQL_BIND *bind = &statement->binds[i];
        bind->length = &cell->length;
        bind->is_null = &cell->is_null;
        bind->error = &cell->error;
        if (columns[i] == 'i') {
            bind->buffer_type = MYSQL_TYPE_LONGLONG;
            bind->buffer = &cell->number;
        } else if (columns[i] == 't') {
            bind->buffer_type = MYSQL_TYPE_DATETIME;
            bind->buffer = &cell->time;
        } else {
            cell->buffer = malloc(CW_DB_INLINE_MAX);
            if (cell->buffer == NULL) {
                return false;
            }
            cell->size = CW_DB_INLINE_MAX;
            bind->buffer_type = MYSQL_TYPE_BLOB;
            bind->buffer = cell->buffer;
            bind->buffer_length = cell->size;
        }
    }
    return true;
}

static enum cw_code prepare(struct cw_db *db, const struct cw_query *query, struct statement *slot, struct cw_err *err)
{
    if (strspn(query->params, "ibt") != strlen(query->params) || strlen(query->params) > PARAMS_MAX ||
        strspn(query->columns, "ibt") != strlen(query->columns) || strlen(query->columns) > CW_DB_COLUMNS_MAX) {
        query_bug(query, "params and columns are letters of i, b, t");
    }
    slot->query = query;
    slot->stmt = mysql_stmt_init(db->mysql);
    if (slot->stmt == NULL || !make_cells(slot)) {
        statement_close(slot);
        return cw_err_set(err, CW_E_OOM, query->name, "no memory for a statement");
    }
    if (mysql_stmt_prepare(slot->stmt, query->sql, strlen(query->sql)) != 0) {
        unsigned number = mysql_stmt_errno(slot->stmt);
        statement_close(slot);
        return db_fail(db, number, query->name, err);
    }
    if (mysql_stmt_param_count(slot->stmt) != strlen(query->params)) {
        query_bug(query, "the number of ? differs from params");
    }
    /* INSERT … RETURNING tells its columns at the first execution only, so more are looked at again there. */
    unsigned fields = mysql_stmt_field_count(slot->stmt);
    if (fields != 0 && fields != slot->width) {
        query_bug(query, "the number of columns differs from columns");
    }
    return CW_OK;
}

enum cw_code db_statement(struct cw_db *db, const struct cw_query *query, struct statement **ret_statement,
                          struct cw_err *err)
{
    struct statement *set = db->statements[((uintptr_t)query >> 3) * 0x9E3779B97F4A7C15u >> 57];
    struct statement *oldest = &set[0];
    for (size_t way = 0; way < CW_DB_WAYS; way++) {
        if (set[way].query == query) {
            set[way].used = ++db->clock;
            *ret_statement = &set[way];
            return CW_OK;
        }
        if (set[way].used < oldest->used) {
            oldest = &set[way];
        }
    }
    statement_close(oldest);
    enum cw_code rc = prepare(db, query, oldest, err);
    if (rc == CW_OK) {
        oldest->used = ++db->clock;
        *ret_statement = oldest;
    }
    return rc;
}
_Static_assert(CW_DB_SETS == 1u << (64 - 57), "the hash above gives one of CW_DB_SETS sets");

enum cw_code db_statement_fail(struct cw_db *db, struct statement *statement, struct cw_err *err)
{
    /* An error in the middle of an unbuffered result is told by the connection alone (Connector/C 3.3). */
    unsigned number = mysql_stmt_errno(statement->stmt);
    number = number != 0 ? number : mysql_errno(db->mysql);
    enum cw_code code = db_fail(db, number, statement->query->name, err);
    mysql_stmt_free_result(statement->stmt);
    /* 1615: DDL changed the table under the statement. It is prepared anew at the next use. */
    if (number == ER_NEED_REPREPARE) {
        statement_close(statement);
    }
    return code;
}

/* ---- parameters */

struct bound {
    MYSQL_BIND binds[PARAMS_MAX];
    MYSQL_TIME times[PARAMS_MAX];
};

static bool value_fits(const struct cw_value *value, char letter)
{
    switch (value->kind) {
    case CW_V_NULL:
        return true;
    case CW_V_INT:
        return letter == 'i';
    case CW_V_BYTES:
        return letter == 'b';
    case CW_V_TIME:
        return letter == 't';
    }
    return false;
}

static bool bind_value(const struct cw_value *value, MYSQL_BIND *bind, MYSQL_TIME *time)
{
    static char none[1]; /* an empty value still needs an address */
    switch (value->kind) {
    case CW_V_NULL:
        bind->buffer_type = MYSQL_TYPE_NULL;
        return true;
    case CW_V_INT:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = (void *)(uintptr_t)&value->number;
        return true;
    case CW_V_BYTES:
        bind->buffer_type = db_bytes_type(cw_utf8_valid(value->bytes));
        bind->buffer = value->bytes.len == 0 ? none : (void *)(uintptr_t)value->bytes.ptr;
        bind->buffer_length = value->bytes.len;
        return true;
    case CW_V_TIME:
        bind->buffer_type = MYSQL_TYPE_DATETIME;
        bind->buffer = time;
        return db_time_pack(value->number, time);
    }
    return false;
}

/* Prepares, binds and executes; the result, if any, is still on the wire afterwards. */
static enum cw_code execute(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                            struct statement **ret_statement, struct cw_err *err)
{
    struct statement *statement = NULL;
    enum cw_code rc = db_ready(db, query->name, err);
    if (rc == CW_OK) {
        rc = db_statement(db, query, &statement, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    size_t count = strlen(query->params);
    struct bound bound;
    memset(bound.binds, 0, count * sizeof bound.binds[0]);
    for (size_t i = 0; i < count; i++) {
        if (!value_fits(&params[i], query->params[i])) {
            query_bug(query, "a value is not of the kind that params says");
        }
        if (!bind_value(&params[i], &bound.binds[i], &bound.times[i])) {
            return cw_err_set(err, CW_E_RANGE, query->name, "a time is outside the years 1000 to 9999");
        }
    }
    unsigned one_row = 0;
    mysql_stmt_attr_set(statement->stmt, STMT_ATTR_ARRAY_SIZE, &one_row); /* a bulk may have gone before */
    if ((count != 0 && mysql_stmt_bind_param(statement->stmt, bound.binds) != 0) ||
        mysql_stmt_execute(statement->stmt) != 0) {
        return db_statement_fail(db, statement, err);
    }
    if (mysql_stmt_field_count(statement->stmt) != statement->width) {
        query_bug(query, "the number of columns differs from columns");
    }
    *ret_statement = statement;
    return CW_OK;
}

enum cw_code cw_db_exec(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                        uint64_t *ret_affected, struct cw_err *err)
{
    if (query->columns[0] != '\0') {
        query_bug(query, "cw_db_exec is for statements without rows");
    }
    struct statement *statement = NULL;
    enum cw_code rc = execute(db, query, params, &statement, err);
    if (rc == CW_OK && ret_affected != NULL) {
        *ret_affected = mysql_stmt_affected_rows(statement->stmt);
    }
    return rc;
}

/* ---- rows */

/* Where long cells go: an arena (rows that stay) or the cell's own buffer (a row in hand). */
static enum cw_code read_bytes(struct cw_db *db, struct statement *statement, size_t at, struct cw_arena *arena,
                               struct cw_span *ret_bytes, struct cw_err *err)
{
    struct cell *cell = &statement->cells[at];
    size_t length = cell->length;
    char *to = cell->buffer;
    if (arena != NULL) {
        to = cw_arena_alloc(arena, length + 1);
        if (to == NULL) {
            return cw_err_set(err, CW_E_TOO_BIG, statement->query->name, "the arena is full");
        }
    } else if (length > cell->size) {
        to = realloc(cell->buffer, length);
        if (to == NULL) {
            return cw_err_set(err, CW_E_OOM, statement->query->name, "no memory for a cell");
        }
        cell->buffer = to;
        cell->size = length;
    }
    if (length > statement->binds[at].buffer_length) {
        my_bool is_null = 0;
        my_bool error = 0;
        unsigned long real = 0;
        MYSQL_BIND again = { .buffer_type = MYSQL_TYPE_BLOB, .buffer = to, .buffer_length = length,
                             .length = &real, .is_null = &is_null, .error = &error };
        if (mysql_stmt_fetch_column(statement->stmt, &again, (unsigned)at, 0) != 0) {
            return db_statement_fail(db, statement, err);
        }
    } else if (to != cell->buffer) {
        memcpy(to, cell->buffer, length);
    }
    *ret_bytes = cw_span_of(to, length);
    return CW_OK;
}

static enum cw_code read_row(struct cw_db *db, struct statement *statement, struct cw_arena *arena,
                             struct cw_value *row, struct cw_err *err)
{
    const char *columns = statement->query->columns;
    for (size_t i = 0; i < statement->width; i++) {
        const struct cell *cell = &statement->cells[i];
        if (cell->is_null) {
            row[i] = cw_v_null();
        } else if (columns[i] == 'b') {
            row[i] = (struct cw_value){ .kind = CW_V_BYTES };
            enum cw_code rc = read_bytes(db, statement, i, arena, &row[i].bytes, err);
            if (rc != CW_OK) {
                return rc;
            }
        } else if (cell->error) {
            return cw_err_set(err, CW_E_IO, statement->query->name, "column %zu does not fit its kind", i);
        } else if (columns[i] == 'i') {
            row[i] = cw_v_int(cell->number);
        } else {
            row[i] = cw_v_time(db_time_unpack(&cell->time));
        }
    }
    return CW_OK;
}

typedef enum cw_code take_row_fn(void *arg, const struct cw_value *row, struct cw_err *err);

/* Gives back what large cells took, and binds the buffers again at their small size. */
static void shrink_cells(struct statement *statement)
{
    for (size_t i = 0; i < statement->width; i++) {
        struct cell *cell = &statement->cells[i];
        if (cell->size > CW_DB_KEEP_MAX) {
            char *smaller = realloc(cell->buffer, CW_DB_INLINE_MAX);
            cell->buffer = smaller != NULL ? smaller : cell->buffer;
            cell->size = CW_DB_INLINE_MAX;
        }
    }
}

static bool bind_cells(struct statement *statement)
{
    for (size_t i = 0; i < statement->width; i++) {
        if (statement->cells[i].buffer != NULL) {
            statement->binds[i].buffer = statement->cells[i].buffer;
            statement->binds[i].buffer_length = statement->cells[i].size;
        }
    }
    return mysql_stmt_bind_result(statement->stmt, statement->binds) == 0;
}

static enum cw_code fetch_rows(struct cw_db *db, struct statement *statement, struct cw_arena *arena,
                               take_row_fn *take, void *arg, struct cw_err *err)
{
    struct cw_value row[CW_DB_COLUMNS_MAX];
    enum cw_code rc = CW_OK;
    for (bool moved = true; rc == CW_OK; moved = arena == NULL) {
        /* Without an arena, a cell that grew in the last row has a new address. */
        if (moved && !bind_cells(statement)) {
            return db_statement_fail(db, statement, err);
        }
        int fetched = mysql_stmt_fetch(statement->stmt);
        if (fetched == MYSQL_NO_DATA) {
            return CW_OK;
        }
        if (fetched != 0 && fetched != MYSQL_DATA_TRUNCATED) {
            return db_statement_fail(db, statement, err);
        }
        rc = read_row(db, statement, arena, row, err);
        if (rc == CW_OK) {
            rc = take(arg, row, err);
        }
    }
    return rc;
}

/* Executes and hands every row to take. Rows that nobody wants any more are read and dropped, so that the connection
 * stays in step. */
static enum cw_code walk(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                         struct cw_arena *arena, take_row_fn *take, void *arg, struct cw_err *err)
{
    if (query->columns[0] == '\0') {
        query_bug(query, "a statement without rows");
    }
    struct statement *statement = NULL;
    enum cw_code rc = execute(db, query, params, &statement, err);
    if (rc != CW_OK) {
        return rc;
    }
    db->walking = true;
    rc = fetch_rows(db, statement, arena, take, arg, err);
    db->walking = false;
    if (statement->stmt != NULL) {
        mysql_stmt_free_result(statement->stmt);
        shrink_cells(statement);
    }
    return rc;
}

enum cw_code cw_db_each(struct cw_db *db, const struct cw_query *query, const struct cw_value *params, cw_db_row_fn *fn,
                        void *arg, struct cw_err *err)
{
    return walk(db, query, params, NULL, fn, arg, err);
}

/* Rows gathered in an arena: the array doubles, and the old one stays behind until the arena is cleared. */
struct gather {
    const struct cw_query *query;
    struct cw_arena *arena;
    struct cw_value *cells;
    size_t width;
    size_t count;
    size_t room;
};

static enum cw_code gather_row(void *arg, const struct cw_value *row, struct cw_err *err)
{
    struct gather *gather = arg;
    if (gather->count == gather->room) {
        size_t room = gather->room == 0 ? 1 : gather->room * 2;
        struct cw_value *cells = cw_arena_array(gather->arena, room * gather->width, sizeof *cells);
        if (cells == NULL) {
            return cw_err_set(err, CW_E_TOO_BIG, gather->query->name, "the arena is full");
        }
        if (gather->count != 0) {
            memcpy(cells, gather->cells, gather->count * gather->width * sizeof *cells);
        }
        gather->cells = cells;
        gather->room = room;
    }
    memcpy(gather->cells + gather->count * gather->width, row, gather->width * sizeof *row);
    gather->count++;
    return CW_OK;
}

enum cw_code cw_db_select(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                          struct cw_arena *arena, struct cw_rows *ret_rows, struct cw_err *err)
{
    struct gather gather = { .query = query, .arena = arena, .width = strlen(query->columns) };
    enum cw_code rc = walk(db, query, params, arena, gather_row, &gather, err);
    if (rc == CW_OK) {
        *ret_rows = (struct cw_rows){ .count = gather.count, .width = gather.width, .cells = gather.cells };
    }
    return rc;
}

enum cw_code cw_db_one(struct cw_db *db, const struct cw_query *query, const struct cw_value *params,
                       struct cw_arena *arena, const struct cw_value **ret_row, struct cw_err *err)
{
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, query, params, arena, &rows, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (rows.count == 0) {
        return cw_err_set(err, CW_E_NOT_FOUND, query->name, "no such row");
    }
    if (rows.count > 1) {
        query_bug(query, "cw_db_one met more than one row");
    }
    *ret_row = rows.cells;
    return CW_OK;
}
