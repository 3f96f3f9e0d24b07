/* SPDX-License-Identifier: Apache-2.0 */
/* See keep_alive.h. */
#include "config.h"
#include "model/keep_alive.h"

#include "model/connection_int.h"
#include "model/failure.h"
#include "model/grant_int.h"
#include "os/sys.h"

#define SWEEP_MAX 200u

static const struct cw_query q_due = {
    .name = "keep_alive.due",
    .sql = "SELECT connection, version FROM token_grant FORCE INDEX (refresh_due) WHERE refresh_due_at <= ?"
           " ORDER BY refresh_due_at LIMIT ? FOR UPDATE SKIP LOCKED",
    .params = "ti",
    .columns = "bi",
};
static const struct cw_query q_claim = {
    .name = "keep_alive.claim",
    .sql = "UPDATE token_grant SET refresh_due_at = ? WHERE connection = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_defer = {
    .name = "keep_alive.defer",
    .sql = "UPDATE token_grant SET refresh_due_at = ? WHERE connection = ? AND refresh_due_at = ?",
    .params = "tbt",
    .columns = "",
};
static const struct cw_query q_near_end = {
    .name = "keep_alive.near_end",
    .sql = "SELECT connection FROM token_grant FORCE INDEX (warn) WHERE warn_at <= ? ORDER BY warn_at LIMIT ?",
    .params = "ti",
    .columns = "b",
};
static const struct cw_query q_warned = {
    .name = "keep_alive.warned",
    .sql = "UPDATE token_grant SET warn_at = ?, warned_days = ? WHERE connection = ?",
    .params = "tib",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- due */

struct claiming {
    int64_t lease_us;
    unsigned most, count;
    struct cw_due *due;
    struct cw_arena *arena;
};

static enum cw_code claim_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct claiming *claim = arg;
    /* As the column keeps it, for the comparison of a deferral. */
    int64_t now_us = cw_now_us() / 1000 * 1000;
    struct cw_value params[] = { cw_v_time(now_us), cw_v_int(claim->most) };
    struct cw_value claims[CW_DUE_MAX * 2];
    struct cw_rows rows;
    claim->count = 0;
    cw_arena_clear(claim->arena);
    enum cw_code rc = cw_db_select(db, &q_due, params, claim->arena, &rows, err);
    if (rc != CW_OK || rows.count == 0) {
        return rc;
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        claim->due[i] = (struct cw_due){ { cw_value_id(&row[0]) }, (uint32_t)row[1].number, now_us + claim->lease_us };
        claims[2 * i] = cw_v_time(claim->due[i].claimed_us);
        claims[2 * i + 1] = row[0];
    }
    rc = cw_db_bulk(db, &q_claim, claims, rows.count, NULL, err);
    claim->count = (unsigned)rows.count;
    return rc;
}

enum cw_code cw_due_claim(struct cw_model *m, int64_t lease_us, unsigned most, struct cw_due *ret, unsigned *ret_count,
                          struct cw_err *err)
{
    struct claiming claim = { .lease_us = lease_us / 1000 * 1000, .most = most < CW_DUE_MAX ? most : CW_DUE_MAX, .due = ret };
    claim.arena = cw_arena_new(64 * 1024);
    if (claim.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "keep_alive", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, claim_tx, &claim, err);
    cw_arena_free(claim.arena);
    if (rc == CW_OK) {
        *ret_count = claim.count;
    }
    return rc;
}

enum cw_code cw_due_defer(struct cw_model *m, const struct cw_due *due, int64_t until_us, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(until_us), cw_v_id(&due->connection.ulid), cw_v_time(due->claimed_us) };
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_defer, params, NULL, err);
        cw_db_put(db);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- ends */

struct looking {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_connection_id id;
    struct cw_arena *arena;
};

static enum cw_code tell_end(struct looking *look, struct cw_db *db, const struct cw_value *row, int64_t now_us,
                             struct cw_err *err)
{
    bool one_time = row[G_ONE_TIME].number != 0;
    int64_t ends_us = row[G_ENDS].number;
    int warned = row[G_WARNED].kind == CW_V_NULL ? -1 : (int)row[G_WARNED].number, tell;
    struct grant_warning warning = grant_warning_step(now_us, ends_us, one_time, warned, &tell);
    struct cw_value params[] = { cw_v_time_opt(warning.at_us), cw_v_int(warning.warned_days), cw_v_id(&look->id.ulid) };
    if (warning.warned_days < 0) {
        params[1] = cw_v_null();
    }
    enum cw_code rc = cw_db_exec(db, &q_warned, params, NULL, err);
    if (rc == CW_OK && tell != 0) {
        struct connection_fact fact = { .kind = CW_EVENT_CONNECTION_EXPIRING, .status = CW_CONNECTION_ACTIVE,
                                        .ends_us = ends_us, .days = tell };
        rc = connection_tell(look->m, db, look->id, &fact, err);
    }
    return rc;
}

/* Locked and looked at again: of two nodes that saw the same row the second finds nothing to do. */
static enum cw_code look_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct looking *look = arg;
    int64_t now_us = cw_now_us();
    const struct cw_value *row;
    cw_arena_clear(look->arena);
    enum cw_code rc = grant_lock(db, look->id, look->arena, &row, err);
    if (rc == CW_E_NOT_FOUND) {
        return CW_OK; /* ended meanwhile */
    }
    if (rc != CW_OK || row[G_WARN].kind == CW_V_NULL || row[G_WARN].number > now_us) {
        return rc;
    }
    if (row[G_ONE_TIME].number != 0 && row[G_ENDS].number <= now_us && row[G_STATUS].number == CW_CONNECTION_ACTIVE) {
        return connection_end(look->m, db, look->actor, look->id, CW_CONNECTION_EXPIRED, CW_FAIL_ACCESS_ENDED, err);
    }
    return tell_end(look, db, row, now_us, err);
}

static enum cw_code near_end(struct cw_model *m, unsigned limit, struct cw_arena *arena, struct cw_rows *ret,
                             struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(cw_now_us()), cw_v_int(limit < SWEEP_MAX ? limit : SWEEP_MAX) };
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_near_end, params, arena, ret, err);
        cw_db_put(db);
    }
    return rc;
}

enum cw_code cw_ends_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                           struct cw_err *err)
{
    struct cw_arena *list = cw_arena_new(64 * 1024);
    struct looking look = { .m = m, .actor = actor, .arena = cw_arena_new(512 * 1024) };
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = CW_E_OOM;
    if (list == NULL || look.arena == NULL) {
        (void)cw_err_set(err, rc, "keep_alive", "out of memory");
        goto out;
    }
    rc = near_end(m, limit, list, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        look.id.ulid = cw_value_id(&cw_row(&rows, i)[0]);
        rc = cw_tx_pool(m->pool, look_tx, &look, err);
    }
    if (rc == CW_OK) {
        *ret_count = (unsigned)rows.count;
    }
out:
    cw_arena_free(list);
    cw_arena_free(look.arena);
    return rc;
}
