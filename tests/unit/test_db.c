/* SPDX-License-Identifier: Apache-2.0 */
/* db/ against a real MariaDB: every error code it names, deadlocks, killed connections, long cells, bulks, the pool. */
#include "config.h"

#include "db/db.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/time.h"
#include "db/db_int.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_arena *arena;
static struct cw_db *db;
static struct cw_err err;

#define PARAMS(...) ((const struct cw_value[]){ __VA_ARGS__ })

static const struct cw_query q_put = {
    .name = "test.put",
    .sql = "INSERT INTO thing (id, n, b, t, label) VALUES (?, ?, ?, ?, ?)",
    .params = "iibtb",
    .columns = "",
};
static const struct cw_query q_get = {
    .name = "test.get",
    .sql = "SELECT n, b, t, label FROM thing WHERE id = ?",
    .params = "i",
    .columns = "ibtb",
};
static const struct cw_query q_all = {
    .name = "test.all.walk",
    .sql = "SELECT id, b FROM thing ORDER BY id LIMIT 5000",
    .params = "",
    .columns = "ib",
};
static const struct cw_query q_bump = {
    .name = "test.bump",
    .sql = "UPDATE thing SET n = n + ? WHERE id = ?",
    .params = "ii",
    .columns = "",
};
static const struct cw_query q_same = {
    .name = "test.same",
    .sql = "UPDATE thing SET n = n WHERE id = ?",
    .params = "i",
    .columns = "",
};
static const struct cw_query q_label = {
    .name = "test.label",
    .sql = "SELECT id FROM thing WHERE label = ?",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_connection = {
    .name = "test.connection",
    .sql = "SELECT CONNECTION_ID()",
    .params = "",
    .columns = "i",
};

static enum cw_code put(struct cw_db *on, int64_t id, int64_t n, struct cw_span b)
{
    return cw_db_exec(on, &q_put, PARAMS(cw_v_int(id), cw_v_int(n), cw_v_bytes(b), cw_v_null(), cw_v_null()), NULL, &err);
}

static enum cw_code bump(struct cw_db *on, int64_t id, int64_t by, struct cw_err *ret_err)
{
    return cw_db_exec(on, &q_bump, PARAMS(cw_v_int(by), cw_v_int(id)), NULL, ret_err);
}

static const struct cw_value *get(int64_t id)
{
    const struct cw_value *row = NULL;
    ck_assert_int_eq(cw_db_one(db, &q_get, PARAMS(cw_v_int(id)), arena, &row, &err), CW_OK);
    return row;
}

static int64_t number_of(int64_t id)
{
    return get(id)[0].number;
}

static void borrow(void)
{
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &db, &err), CW_OK);
}

static void setup(void)
{
    cw_test_db_sql(&test, "CREATE OR REPLACE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT UNSIGNED NULL, b LONGBLOB NULL,"
                          " t DATETIME(3) NULL, label VARCHAR(50) NULL, UNIQUE KEY (label))"
                          " CHARSET=utf8mb4 COLLATE=utf8mb4_bin");
    arena = cw_arena_new(64u * 1024u * 1024u);
    borrow();
}

static void teardown(void)
{
    cw_db_put(db);
    db = NULL;
    cw_arena_free(arena);
}

/* ---- values and rows */

START_TEST(values_come_back_as_they_went)
{
    static const char binary[] = { 0, (char)0xff, 'a', (char)0x80, 0 };
    struct cw_span bytes = cw_span_of(binary, sizeof binary);
    int64_t time = INT64_C(1777127400123456);
    uint64_t affected = 0;
    ck_assert_int_eq(cw_db_exec(db, &q_put,
                                PARAMS(cw_v_int(1), cw_v_int(INT64_MAX), cw_v_bytes(bytes), cw_v_time(time),
                                       cw_v_bytes(CW_SPAN("Zürich"))),
                                &affected, &err), CW_OK);
    ck_assert_uint_eq(affected, 1);
    const struct cw_value *row = get(1);
    ck_assert_int_eq(row[0].number, INT64_MAX);
    ck_assert(cw_span_eq(row[1].bytes, bytes));
    ck_assert_int_eq(row[2].kind, CW_V_TIME);
    ck_assert_int_eq(row[2].number, time - time % 1000);
    ck_assert(cw_span_eq(row[3].bytes, CW_SPAN("Zürich")));
    ck_assert_int_eq(cw_db_one(db, &q_label, PARAMS(cw_v_bytes(CW_SPAN("Zürich"))), arena, &row, &err), CW_OK);
    ck_assert_int_eq(row[0].number, 1);
}
END_TEST

START_TEST(nulls_and_empty_values_differ)
{
    ck_assert_int_eq(cw_db_exec(db, &q_put,
                                PARAMS(cw_v_int(2), cw_v_null(), cw_v_bytes(CW_SPAN("")), cw_v_time_opt(0), cw_v_bytes(CW_SPAN(""))),
                                NULL, &err), CW_OK);
    const struct cw_value *row = get(2);
    ck_assert_int_eq(row[0].kind, CW_V_NULL);
    ck_assert_int_eq(row[1].kind, CW_V_BYTES);
    ck_assert_uint_eq(row[1].bytes.len, 0);
    ck_assert_int_eq(row[2].kind, CW_V_NULL);
    ck_assert_int_eq(row[3].kind, CW_V_BYTES);
}
END_TEST

static enum cw_code compare_cell(void *arg, const struct cw_value *row, struct cw_err *ret_err)
{
    (void)ret_err;
    const struct cw_span *expected = arg;
    ck_assert(cw_span_eq(row[1].bytes, cw_span_upto(*expected, (size_t)row[0].number)));
    return CW_OK;
}

/* Around the inline buffer and the size that is kept; by both ways out. */
START_TEST(long_cells_are_never_cut)
{
    static const size_t sizes[] = { 0, 1, 511, 512, 513, 65535, 65536, 65537, 3000000 };
    static char big[3000000];
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (char)((uint32_t)i * 2654435761u >> 13);
    }
    struct cw_span whole = cw_span_of(big, sizeof big);
    for (size_t i = 0; i < CW_ARRAY_LEN(sizes); i++) {
        ck_assert_int_eq(put(db, (int64_t)sizes[i], 0, cw_span_upto(whole, sizes[i])), CW_OK);
    }
    struct cw_rows rows;
    ck_assert_int_eq(cw_db_select(db, &q_all, NULL, arena, &rows, &err), CW_OK);
    ck_assert_uint_eq(rows.count, CW_ARRAY_LEN(sizes));
    for (size_t i = 0; i < rows.count; i++) {
        ck_assert(cw_span_eq(cw_row(&rows, i)[1].bytes, cw_span_upto(whole, sizes[i])));
    }
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(cw_db_each(db, &q_all, NULL, compare_cell, &whole, &err), CW_OK);
    }
}
END_TEST

static enum cw_code stop_at_second(void *arg, const struct cw_value *row, struct cw_err *ret_err)
{
    (void)row;
    int *seen = arg;
    return ++*seen < 2 ? CW_OK : cw_err_set(ret_err, CW_E_STOPPED, "test", "enough");
}

START_TEST(a_walk_can_stop_and_the_connection_goes_on)
{
    for (int64_t i = 0; i < 100; i++) {
        ck_assert_int_eq(put(db, i, i, CW_SPAN("x")), CW_OK);
    }
    int seen = 0;
    ck_assert_int_eq(cw_db_each(db, &q_all, NULL, stop_at_second, &seen, &err), CW_E_STOPPED);
    ck_assert_int_eq(seen, 2);
    ck_assert_int_eq(number_of(7), 7);
    struct cw_arena *small = cw_arena_new(200);
    struct cw_rows rows;
    ck_assert_int_eq(cw_db_select(db, &q_all, NULL, small, &rows, &err), CW_E_TOO_BIG);
    cw_arena_free(small);
    ck_assert_int_eq(number_of(8), 8);
}
END_TEST

START_TEST(errors_have_their_codes)
{
    const struct cw_value *row = NULL;
    ck_assert_int_eq(cw_db_one(db, &q_get, PARAMS(cw_v_int(404)), arena, &row, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(put(db, 1, 1, CW_SPAN("a")), CW_OK);
    ck_assert_int_eq(put(db, 1, 1, CW_SPAN("a")), CW_E_CONFLICT);
    ck_assert_int_eq(err.sys, 1062);
    ck_assert_int_eq(put(db, 2, -1, CW_SPAN("a")), CW_E_IO); /* outside the column's range */
    ck_assert_int_eq(err.sys, 1264);
    ck_assert_str_eq(err.where, "test.put");
    char label[51];
    memset(label, 'l', sizeof label);
    ck_assert_int_eq(cw_db_exec(db, &q_put,
                                PARAMS(cw_v_int(3), cw_v_int(0), cw_v_null(), cw_v_null(), cw_v_bytes(cw_span_of(label, 51))),
                                NULL, &err), CW_E_IO); /* strict mode: never cut */
    ck_assert_int_eq(err.sys, 1406);
    static const struct cw_query q_wrong = { .name = "test.wrong", .sql = "SELECT nope FROM thing", .params = "", .columns = "i" };
    ck_assert_int_eq(cw_db_one(db, &q_wrong, NULL, arena, &row, &err), CW_E_IO);
    ck_assert_int_eq(err.sys, 1054);
    static const struct cw_query q_slow = { .name = "test.slow", .params = "", .columns = "i",
                                            .sql = "SELECT SLEEP(5) FROM thing" };
    cw_db_put(db);
    cw_test_db_sql(&test, "SET max_statement_time = 0.05");
    borrow(); /* the last one given back */
    enum cw_code slow = cw_db_one(db, &q_slow, NULL, arena, &row, &err);
    ck_assert_msg(slow == CW_E_TIMEOUT, "%d %d %s", slow, err.sys, err.text);
    cw_db_put(db);
    cw_test_db_sql(&test, "SET max_statement_time = 30");
    borrow();
    ck_assert_int_eq(cw_db_exec(db, &q_put,
                                PARAMS(cw_v_int(4), cw_v_int(0), cw_v_null(), cw_v_time(INT64_MIN), cw_v_null()), NULL, &err),
                     CW_E_RANGE);
    ck_assert_int_eq(number_of(1), 1);
}
END_TEST

START_TEST(affected_counts_rows_that_match)
{
    ck_assert_int_eq(put(db, 1, 5, CW_SPAN("")), CW_OK);
    uint64_t affected = 9;
    ck_assert_int_eq(cw_db_exec(db, &q_same, PARAMS(cw_v_int(1)), &affected, &err), CW_OK);
    ck_assert_uint_eq(affected, 1);
    ck_assert_int_eq(cw_db_exec(db, &q_same, PARAMS(cw_v_int(2)), &affected, &err), CW_OK);
    ck_assert_uint_eq(affected, 0);
}
END_TEST

START_TEST(times_cover_the_years)
{
    static const int64_t good[] = { 1, 999, 1000, -1, INT64_C(-30610224000000000), /* 1000-01-01 */
                                    INT64_C(253402300799999999), INT64_C(951782399999000) };
    MYSQL_TIME packed;
    for (size_t i = 0; i < CW_ARRAY_LEN(good); i++) {
        int64_t ms = good[i] / 1000 - (good[i] % 1000 < 0 ? 1 : 0);
        ck_assert(db_time_pack(good[i], &packed));
        ck_assert_int_eq(db_time_unpack(&packed), ms * 1000);
    }
    ck_assert(!db_time_pack(INT64_C(253402300800000000), &packed));
    ck_assert(!db_time_pack(INT64_C(-30610224000000001), &packed));
}
END_TEST

START_TEST(more_queries_than_slots_still_work)
{
    static struct cw_query many[CW_DB_SETS * CW_DB_WAYS * 2];
    for (size_t i = 0; i < CW_ARRAY_LEN(many); i++) {
        many[i] = q_connection;
    }
    const struct cw_value *row = NULL;
    for (size_t i = 0; i < CW_ARRAY_LEN(many); i++) {
        cw_arena_clear(arena);
        ck_assert_int_eq(cw_db_one(db, &many[i], NULL, arena, &row, &err), CW_OK);
    }
    unsigned kept = 0;
    for (size_t i = 0; i < CW_DB_SETS * CW_DB_WAYS; i++) {
        kept += db->statements[i / CW_DB_WAYS][i % CW_DB_WAYS].query != NULL;
    }
    ck_assert_uint_gt(kept, CW_DB_SETS * CW_DB_WAYS / 2); /* the hash spreads neighbours */
    db_statements_close(db);
}
END_TEST

/* ---- bulk */

static struct cw_value *make_rows(size_t count, struct cw_span b)
{
    struct cw_value *rows = cw_arena_array(arena, count * 5, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i * 5] = cw_v_int((int64_t)i);
        rows[i * 5 + 1] = i % 3 == 0 ? cw_v_null() : cw_v_int((int64_t)i * 2);
        rows[i * 5 + 2] = i % 5 == 0 ? cw_v_null() : cw_v_bytes(cw_span_upto(b, b.len - i % 7));
        rows[i * 5 + 3] = i % 2 == 0 ? cw_v_null() : cw_v_time((int64_t)i * CW_DAY_US + 5000);
        rows[i * 5 + 4] = cw_v_null();
    }
    return rows;
}

START_TEST(bulk_brings_every_row)
{
    static const char binary[] = "bin\xff\0ary-value";
    struct cw_span b = cw_span_of(binary, sizeof binary);
    const struct cw_value *rows = make_rows(1000, b);
    uint64_t affected = 0;
    ck_assert_int_eq(cw_db_bulk(db, &q_put, rows, 1000, &affected, &err), CW_OK);
    ck_assert_uint_eq(affected, 1000);
    for (size_t i = 0; i < 1000; i += 37) {
        const struct cw_value *row = get((int64_t)i);
        for (size_t c = 0; c < 4; c++) {
            const struct cw_value *want = &rows[i * 5 + c + 1];
            ck_assert_int_eq(row[c].kind, want->kind);
            ck_assert_int_eq(row[c].number, want->number);
            ck_assert(row[c].kind != CW_V_BYTES || cw_span_eq(row[c].bytes, want->bytes));
        }
    }
    ck_assert_int_eq(put(db, 5000, 1, b), CW_OK); /* the same statement, one row, after a bulk */
    ck_assert_int_eq(cw_db_bulk(db, &q_put, rows, 0, &affected, &err), CW_OK);
    ck_assert_uint_eq(affected, 0);
}
END_TEST

START_TEST(a_duplicate_in_a_bulk_leaves_no_row)
{
    struct cw_value *rows = make_rows(50, CW_SPAN("0123456789"));
    rows[30 * 5] = cw_v_int(3);
    ck_assert_int_eq(cw_db_bulk(db, &q_put, rows, 50, NULL, &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM thing"), 0);
}
END_TEST

static enum cw_code bulk_in_tx(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    struct cw_value *rows = arg;
    enum cw_code rc = cw_db_bulk(on, &q_put, rows, 4500, NULL, ret_err);
    return rc == CW_E_CONFLICT ? CW_OK : rc; /* a caller that believes it knows better */
}

START_TEST(a_large_bulk_needs_a_transaction_and_is_whole_in_it)
{
    struct cw_value *rows = make_rows(4500, CW_SPAN("0123456789"));
    ck_assert_int_eq(cw_db_bulk(db, &q_put, rows, 4500, NULL, &err), CW_E_TOO_BIG);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM thing"), 0);
    ck_assert_int_eq(cw_tx_run(db, bulk_in_tx, rows, &err), CW_OK);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM thing"), 4500);
    cw_test_db_sql(&test, "DELETE FROM thing");
    rows[4000 * 5] = cw_v_int(3);
    ck_assert_int_eq(cw_tx_run(db, bulk_in_tx, rows, &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM thing"), 0);
}
END_TEST

/* ---- transactions */

struct race {
    pthread_barrier_t *met; /* both hold their first row */
    int64_t first, second;
    unsigned runs;
    enum cw_code rc;
};

static enum cw_code cross(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    struct race *race = arg;
    race->runs++;
    enum cw_code rc = bump(on, race->first, 1, ret_err);
    if (rc == CW_OK && race->runs == 1) {
        pthread_barrier_wait(race->met);
    }
    return rc == CW_OK ? bump(on, race->second, 10, ret_err) : rc;
}

static void *race_thread(void *arg)
{
    struct race *race = arg;
    race->rc = cw_tx_pool(test.pool, cross, race, NULL);
    return NULL;
}

START_TEST(a_deadlock_is_run_again)
{
    ck_assert_int_eq(put(db, 1, 0, CW_SPAN("")), CW_OK);
    ck_assert_int_eq(put(db, 2, 0, CW_SPAN("")), CW_OK);
    pthread_barrier_t met;
    pthread_barrier_init(&met, NULL, 2);
    struct race a = { .met = &met, .first = 1, .second = 2 };
    struct race b = { .met = &met, .first = 2, .second = 1 };
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, race_thread, &a), 0);
    race_thread(&b);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&met);
    ck_assert_int_eq(a.rc, CW_OK);
    ck_assert_int_eq(b.rc, CW_OK);
    ck_assert_uint_eq(a.runs + b.runs, 3);
    ck_assert_int_eq(number_of(1), 11);
    ck_assert_int_eq(number_of(2), 11);
}
END_TEST

/* Ignores what its first statement says, as a careless caller would. */
static enum cw_code careless(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    unsigned *runs = arg;
    ++*runs;
    ck_assert_int_eq(bump(on, 1, -100, ret_err), CW_E_IO);
    return bump(on, 2, 1, ret_err) == CW_OK ? CW_E_STATE : CW_OK;
}

static enum cw_code duplicate_then_go_on(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    (void)arg;
    return put(on, 1, 1, CW_SPAN("")) == CW_E_CONFLICT ? bump(on, 1, 7, ret_err) : CW_E_STATE;
}

static enum cw_code refuse(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    (void)arg;
    ck_assert(cw_db_in_tx(on));
    enum cw_code rc = bump(on, 1, 50, ret_err);
    return rc != CW_OK ? rc : cw_err_set(ret_err, CW_E_DENIED, "test", "no");
}

static enum cw_code always_retry(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    (void)on;
    unsigned *runs = arg;
    ++*runs;
    return cw_err_set(ret_err, CW_E_RETRY, "test", "again");
}

START_TEST(a_doomed_transaction_cannot_commit)
{
    ck_assert_int_eq(put(db, 1, 5, CW_SPAN("")), CW_OK);
    ck_assert_int_eq(put(db, 2, 5, CW_SPAN("")), CW_OK);
    unsigned runs = 0;
    ck_assert_int_eq(cw_tx_run(db, careless, &runs, &err), CW_E_IO);
    ck_assert_int_eq(err.sys, 1690);
    ck_assert_uint_eq(runs, 1);
    ck_assert(!cw_db_in_tx(db));
    ck_assert_int_eq(number_of(2), 5);
    ck_assert_int_eq(cw_tx_run(db, duplicate_then_go_on, NULL, &err), CW_OK);
    ck_assert_int_eq(number_of(1), 12);
    ck_assert_int_eq(cw_tx_run(db, refuse, NULL, &err), CW_E_DENIED);
    ck_assert_int_eq(number_of(1), 12);
    runs = 0;
    ck_assert_int_eq(cw_tx_run(db, always_retry, &runs, &err), CW_E_RETRY);
    ck_assert_uint_eq(runs, 4);
}
END_TEST

/* ---- lost connections and the pool */

static void kill_connection(struct cw_db *victim)
{
    char sql[64];
    snprintf(sql, sizeof sql, "KILL CONNECTION %lu", mysql_thread_id(victim->mysql));
    cw_test_db_sql(&test, sql);
}

static enum cw_code killed_inside(struct cw_db *on, void *arg, struct cw_err *ret_err)
{
    (void)arg;
    ck_assert_int_eq(bump(on, 1, 1, ret_err), CW_OK);
    kill_connection(on);
    ck_assert_int_eq(bump(on, 1, 1, ret_err), CW_E_UNAVAILABLE);
    return CW_OK;
}

START_TEST(a_killed_connection_is_unavailable_and_the_pool_heals)
{
    ck_assert_int_eq(put(db, 1, 0, CW_SPAN("")), CW_OK);
    kill_connection(db);
    ck_assert_int_eq(put(db, 2, 0, CW_SPAN("")), CW_E_UNAVAILABLE);
    ck_assert_int_eq(put(db, 2, 0, CW_SPAN("")), CW_E_UNAVAILABLE);
    cw_db_put(db);
    borrow();
    ck_assert_int_eq(number_of(1), 0);
    ck_assert_int_eq(cw_tx_run(db, killed_inside, NULL, &err), CW_E_UNAVAILABLE);
    cw_db_put(db);
    borrow();
    ck_assert_int_eq(number_of(1), 0);
    /* Killed before the transaction began: nobody hears of it. */
    kill_connection(db);
    ck_assert_int_eq(cw_tx_run(db, refuse, NULL, &err), CW_E_DENIED);
    ck_assert_int_eq(number_of(1), 0);
}
END_TEST

START_TEST(one_loss_makes_the_pool_look_at_idle_connections)
{
    struct cw_db *other = NULL;
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &other, &err), CW_OK);
    ck_assert_int_eq(put(other, 1, 0, CW_SPAN("")), CW_OK);
    kill_connection(db);
    kill_connection(other);
    ck_assert_int_eq(put(db, 2, 0, CW_SPAN("")), CW_E_UNAVAILABLE);
    cw_db_put(db);
    cw_db_put(other); /* looks healthy, is not */
    borrow();
    ck_assert_int_eq(put(db, 2, 0, CW_SPAN("")), CW_OK);
}
END_TEST

/* A server that was started anew: who borrows next hears nothing of it. */
START_TEST(a_connection_that_died_in_the_pool_is_replaced)
{
    struct cw_db *lower = NULL, *upper = NULL;
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &lower, &err), CW_OK);
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &upper, &err), CW_OK);
    unsigned long victim = mysql_thread_id(lower->mysql);
    struct pollfd ended = { .fd = mysql_get_socket(lower->mysql), .events = POLLIN };
    cw_db_put(lower);
    cw_db_put(upper);
    kill_connection(lower); /* through the upper one: the last that was given back goes out first */
    ck_assert_int_eq(poll(&ended, 1, 5000), 1);
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &upper, &err), CW_OK);
    ck_assert_int_eq(cw_db_get(test.pool, 1000, &lower, &err), CW_OK);
    ck_assert_uint_ne(mysql_thread_id(lower->mysql), victim);
    ck_assert_int_eq(put(lower, 1, 0, CW_SPAN("")), CW_OK);
    cw_db_put(lower);
    cw_db_put(upper);
}
END_TEST

START_TEST(a_full_pool_waits_and_says_no)
{
    struct cw_db_pool *pool = NULL;
    ck_assert_int_eq(cw_db_pool_new(test.config, 1, &pool, &err), CW_OK);
    struct cw_db *only = NULL;
    struct cw_db *more = NULL;
    ck_assert_int_eq(cw_db_get(pool, 0, &only, &err), CW_OK);
    int64_t before = cw_monotonic_us();
    ck_assert_int_eq(cw_db_get(pool, 30, &more, &err), CW_E_UNAVAILABLE);
    ck_assert_int_ge(cw_monotonic_us() - before, 30000);
    cw_db_put(only);
    ck_assert_int_eq(cw_db_get(pool, 0, &more, &err), CW_OK);
    ck_assert_ptr_eq(only, more);
    cw_db_put(more);
    cw_db_put(NULL);
    cw_db_pool_free(pool);
}
END_TEST

static struct cw_config *config_with(const char *database_lines)
{
    char text[400];
    snprintf(text, sizeof text, "[server]\norigin = https://cw.test\n[database]\n%s\n[vault]\nmaster_keys = a=/nonexistent\n",
             database_lines);
    struct cw_config *config = NULL;
    ck_assert_int_eq(cw_config_parse(cw_span_cstr(text), &config, &err), CW_OK);
    return config;
}

START_TEST(an_absent_server_is_unavailable)
{
    struct cw_config *config = config_with("socket = /nonexistent/socket");
    struct cw_db_pool *pool = NULL;
    ck_assert_int_eq(cw_db_pool_new(config, 2, &pool, &err), CW_OK);
    struct cw_db *none = NULL;
    for (int i = 0; i < 4; i++) { /* each failure gives its slot back */
        ck_assert_int_eq(cw_db_get(pool, 0, &none, &err), CW_E_UNAVAILABLE);
    }
    cw_db_pool_free(pool);
    cw_config_free(config);
}
END_TEST

START_TEST(a_distant_host_needs_tls)
{
    struct cw_config *config = config_with("host = db.example");
    struct cw_db_pool *pool = NULL;
    ck_assert_int_eq(cw_db_pool_new(config, 2, &pool, &err), CW_E_CONFIG);
    cw_config_free(config);
}
END_TEST

START_TEST(the_explain_check_fires)
{
    static const struct cw_query q_scan = { .name = "test.scan", .sql = "SELECT id FROM thing WHERE n = ?", .params = "i", .columns = "i" };
    struct cw_rows rows;
    ck_assert_int_eq(put(db, 1, 0, CW_SPAN("")), CW_OK);
    ck_assert_int_eq(number_of(1), 0);
    cw_db_put(db);
    ck_assert_uint_eq(cw_test_db_full_scans(&test), 0);
    borrow();
    ck_assert_int_eq(cw_db_select(db, &q_scan, PARAMS(cw_v_int(1)), arena, &rows, &err), CW_OK);
    cw_db_put(db);
    ck_assert_uint_eq(cw_test_db_full_scans(&test), 1);
    borrow();
    db_statements_close(db);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, false);
    Suite *suite = suite_create("db");
    TCase *tcase = tcase_create("db");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, values_come_back_as_they_went);
    tcase_add_test(tcase, nulls_and_empty_values_differ);
    tcase_add_test(tcase, long_cells_are_never_cut);
    tcase_add_test(tcase, a_walk_can_stop_and_the_connection_goes_on);
    tcase_add_test(tcase, errors_have_their_codes);
    tcase_add_test(tcase, affected_counts_rows_that_match);
    tcase_add_test(tcase, times_cover_the_years);
    tcase_add_test(tcase, more_queries_than_slots_still_work);
    tcase_add_test(tcase, bulk_brings_every_row);
    tcase_add_test(tcase, a_duplicate_in_a_bulk_leaves_no_row);
    tcase_add_test(tcase, a_large_bulk_needs_a_transaction_and_is_whole_in_it);
    tcase_add_test(tcase, a_deadlock_is_run_again);
    tcase_add_test(tcase, a_doomed_transaction_cannot_commit);
    tcase_add_test(tcase, a_killed_connection_is_unavailable_and_the_pool_heals);
    tcase_add_test(tcase, one_loss_makes_the_pool_look_at_idle_connections);
    tcase_add_test(tcase, a_connection_that_died_in_the_pool_is_replaced);
    tcase_add_test(tcase, a_full_pool_waits_and_says_no);
    tcase_add_test(tcase, an_absent_server_is_unavailable);
    tcase_add_test(tcase, a_distant_host_needs_tls);
    tcase_add_test(tcase, the_explain_check_fires);
    suite_add_tcase(suite, tcase);
    int result = cw_check_main((Suite *[]){ suite, NULL });
    cw_test_db_release(&test);
    return result;
}
