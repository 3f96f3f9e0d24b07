/* SPDX-License-Identifier: Apache-2.0 */
/* See refresh.h. The row is locked first, everywhere; what is decided from it is written in the same transaction. */
#include "config.h"
#include "model/refresh.h"

#include "model/breaker.h"
#include "model/connection_int.h"
#include "model/grant_int.h"
#include "model/keys.h"
#include "model/refresh_int.h"
#include "os/sys.h"

#define REQUESTS_US (2 * (int64_t)CW_REFRESH_REQUEST_MS * 1000)
#define REFRESH_LEASE_US (REQUESTS_US + 10 * CW_SECOND_US)
#define ARENA_MAX ((size_t)512 * 1024)

/* Due a little after its lease: if everybody dies now, the keep-alive finds it. */
static const struct cw_query q_begin = {
    .name = "refresh.begin",
    .sql = "UPDATE token_grant SET lease_owner = ?, lease_until = ?, fence = fence + 1, refresh_started_at = ?,"
           " refresh_tries = refresh_tries + 1, not_before = NULL, refresh_due_at = ? WHERE connection = ?",
    .params = "btttb",
    .columns = "",
};
static const struct cw_query q_settle = {
    .name = "refresh.settle",
    .sql = "UPDATE token_grant SET lease_owner = NULL, lease_until = NULL, fence = fence + 1, not_before = ?,"
           " refresh_due_at = ? WHERE connection = ?",
    .params = "ttb",
    .columns = "",
};
static const struct cw_query q_commit = {
    .name = "refresh.commit",
    .sql = "UPDATE token_grant SET version = version + 1, access_sealed = ?,"
           " refresh_sealed = COALESCE(?, refresh_sealed), key_version = ?, obtained_at = ?, expires_at = ?, rotates = ?,"
           " answer_fence = ?, refresh_due_at = ?, ends_at = ?, ends_fixed = ?, warn_at = ?, warned_days = ?,"
           " refresh_started_at = NULL, refresh_tries = 0, lease_owner = NULL, lease_until = NULL, refused_at = NULL,"
           " failures = 0, failing_since = NULL, not_before = NULL WHERE connection = ?",
    .params = "bbittiittitib",
    .columns = "",
};
static const struct cw_query q_scopes = {
    .name = "refresh.scopes",
    .sql = "UPDATE connection SET scopes = ?, updated_at = ? WHERE id = ?",
    .params = "btb",
    .columns = "",
};

enum cw_code refresh_run(struct refresh_work *work, cw_tx_fn *fn, struct cw_err *err)
{
    work->arena = cw_arena_new(ARENA_MAX);
    if (work->arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "refresh", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(work->m->pool, fn, work, err);
    cw_arena_free(work->arena);
    return rc;
}

enum cw_code refresh_lost(struct cw_err *err)
{
    return cw_err_set(err, CW_E_CONFLICT, "refresh", "the refresher's lease was lost");
}

enum cw_code refresh_lock(struct refresh_work *work, struct cw_db *db, const struct cw_value **ret_row,
                          struct cw_err *err)
{
    cw_arena_clear(work->arena);
    enum cw_code rc = grant_lock(db, work->lease->connection, work->arena, ret_row, err);
    return rc == CW_E_NOT_FOUND ? refresh_lost(err) : rc;
}

/* Locks the grant and checks that it is still ours. */
enum cw_code refresh_hold(struct refresh_work *work, struct cw_db *db, const struct cw_value **ret_row, struct cw_err *err)
{
    enum cw_code rc = refresh_lock(work, db, ret_row, err);
    if (rc == CW_OK && ((uint64_t)(*ret_row)[G_FENCE].number != work->lease->fence ||
                        (uint32_t)(*ret_row)[G_VERSION].number != work->lease->version)) {
        rc = refresh_lost(err);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- beginning */

static enum cw_code may_begin(const struct refresh_work *work, const struct cw_value *row, int64_t now_us, struct cw_err *err)
{
    if (row[G_STATUS].number != CW_CONNECTION_ACTIVE) {
        return cw_err_set(err, CW_E_STATE, "refresh.begin", "the connection is not active");
    }
    if ((uint32_t)row[G_VERSION].number != work->ask->seen_version) {
        return cw_err_set(err, CW_E_STATE, "refresh.begin", "somebody has refreshed meanwhile");
    }
    /* Our own name too: another thread of this process has it. A dead predecessor had another name. */
    bool leased = row[G_LEASE_OWNER].kind != CW_V_NULL && row[G_LEASE_UNTIL].number > now_us;
    return leased ? cw_err_set(err, CW_E_CONFLICT, "refresh.begin", "somebody is refreshing") : CW_OK;
}

/* A refresher is gone and its request may be out. What it got may still arrive (a database that comes back, and a process that holds
 * the answer): everybody keeps off for the pause of a lost answer. */
static enum cw_code settle(struct refresh_work *work, struct cw_db *db, int64_t now_us, struct cw_err *err)
{
    work->held_up = CW_E_LIMITED;
    work->taken.wait_until_us = now_us + grant_lost_pause_us();
    struct cw_value until = cw_v_time(work->taken.wait_until_us);
    struct cw_value params[] = { until, until, cw_v_id(&work->ask->connection.ulid) };
    return cw_db_exec(db, &q_settle, params, NULL, err);
}

static enum cw_code take_lease(struct refresh_work *work, struct cw_db *db, const struct cw_value *row, int64_t now_us,
                               struct cw_err *err)
{
    int64_t until_us = now_us + REFRESH_LEASE_US;
    struct cw_value params[] = { cw_v_bytes(cw_span_cstr(work->ask->owner)), cw_v_time(until_us), cw_v_time(now_us),
                                 cw_v_time(until_us + CW_SECOND_US), cw_v_id(&work->ask->connection.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_begin, params, NULL, err);
    if (rc == CW_OK) {
        rc = grant_open(work->m, db, work->ask->connection, row, &work->grant, err);
    }
    if (rc == CW_OK) {
        work->grant.refresh_tries++;
        work->taken.connection = work->ask->connection;
        work->taken.fence = (uint64_t)row[G_FENCE].number + 1;
        work->taken.version = work->grant.version;
    }
    return rc;
}

static enum cw_code begin_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    int64_t now_us = cw_now_us();
    const struct cw_value *row;
    cw_arena_clear(work->arena);
    cw_grant_release(&work->grant);
    work->held_up = CW_OK;
    work->taken = (struct cw_refresh_lease){ .fence = 0 };
    enum cw_code rc = grant_lock(db, work->ask->connection, work->arena, &row, err);
    if (rc == CW_OK) {
        rc = may_begin(work, row, now_us, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (row[G_STARTED].kind != CW_V_NULL && row[G_NOT_BEFORE].kind == CW_V_NULL) {
        return settle(work, db, now_us, err);
    }
    if (row[G_NOT_BEFORE].number > now_us) {
        work->held_up = CW_E_LIMITED;
        work->taken.wait_until_us = row[G_NOT_BEFORE].number;
        return CW_OK;
    }
    struct cw_registration_id registration = { cw_value_id(&row[G_REGISTRATION]) };
    rc = breaker_pass(db, registration, now_us, work->arena, &work->taken, err);
    if (rc == CW_OK && work->taken.wait_until_us != 0) {
        work->held_up = CW_E_CONFIG;
        return CW_OK;
    }
    return rc == CW_OK ? take_lease(work, db, row, now_us, err) : rc;
}

enum cw_code cw_refresh_begin(struct cw_model *m, const struct cw_refresh_ask *ask, struct cw_refresh_lease *ret_lease,
                              struct cw_grant *ret_grant, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .ask = ask };
    enum cw_code rc = refresh_run(&work, begin_tx, err);
    if (rc != CW_OK) {
        cw_grant_release(&work.grant);
        return rc;
    }
    *ret_lease = work.taken;
    if (work.held_up != CW_OK) {
        return cw_err_set(err, work.held_up, "refresh.begin",
                          work.held_up == CW_E_CONFIG ? "our client was rejected" : "not before a pause has passed");
    }
    *ret_grant = work.grant;
    return CW_OK;
}

static enum cw_code held_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct cw_value *row;
    enum cw_code rc = refresh_hold(arg, db, &row, err);
    if (rc == CW_OK && (row[G_LEASE_UNTIL].kind == CW_V_NULL || row[G_LEASE_UNTIL].number - cw_now_us() < REQUESTS_US)) {
        rc = refresh_lost(err);
    }
    return rc;
}

enum cw_code cw_refresh_held(struct cw_model *m, const struct cw_refresh_lease *lease, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .lease = lease };
    return refresh_run(&work, held_tx, err);
}

/* ---------------------------------------------------------------------------------------------- committing */

/* Whether an answer of this lease is in already. */
static bool is_in(const struct refresh_work *work, const struct cw_value *row)
{
    return row[G_ANSWER_FENCE].kind != CW_V_NULL && (uint64_t)row[G_ANSWER_FENCE].number == work->lease->fence;
}

static bool is_successor(const struct refresh_work *work, const struct cw_value *row)
{
    uint32_t version = (uint32_t)row[G_VERSION].number;
    bool overtaken = row[G_ANSWER_FENCE].kind != CW_V_NULL && (uint64_t)row[G_ANSWER_FENCE].number < work->lease->fence;
    return version == work->lease->version || (version == work->lease->version + 1 && overtaken);
}

/* What is known of the end now. An end that a refresh does not move away is fixed, whatever its name. */
static struct grant_end end_of(const struct cw_value *row, const struct cw_refreshed *tokens)
{
    struct grant_end before = { row[G_ENDS].number, row[G_ENDS_FIXED].number != 0 };
    if (tokens->ends_us != 0) {
        bool stays = before.ends_us != 0 && tokens->ends_us <= before.ends_us + CW_MINUTE_US;
        return (struct grant_end){ tokens->ends_us, tokens->ends_fixed || stays };
    }
    return before.fixed || !tokens->rotated ? before : (struct grant_end){ .ends_us = 0 };
}

struct sealed {
    struct cw_value access, refresh;
    uint32_t key_version;
};

static enum cw_code seal(struct refresh_work *work, struct cw_db *db, const struct cw_value *row, struct sealed *ret,
                         struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_connection_id id = work->lease->connection;
    struct cw_patient_row patient = { cw_value_id(&row[G_PATIENT]) };
    /* The version of the row: a kept refresh token stays sealed under it. */
    enum cw_code rc = cw_patient_key(work->m, db, patient, (uint32_t)row[G_KEY_VERSION].number, &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, grant_access_cell(id), work->tokens->access_token, work->arena, &ret->access, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, grant_refresh_cell(id), work->tokens->refresh_token, work->arena, &ret->refresh, err);
    }
    ret->key_version = key.version;
    return rc;
}

static enum cw_code store(struct refresh_work *work, struct cw_db *db, const struct cw_value *row, struct cw_err *err)
{
    const struct cw_refreshed *tokens = work->tokens;
    struct cw_connection_id id = work->lease->connection;
    int64_t now_us = cw_now_us();
    struct sealed sealed;
    enum cw_code rc = seal(work, db, row, &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct grant_end end = end_of(row, tokens);
    struct grant_warning warning = { row[G_WARN].number, row[G_WARNED].kind == CW_V_NULL ? -1 : (int)row[G_WARNED].number };
    if (end.ends_us != row[G_ENDS].number) {
        warning = grant_warning_new(now_us, end, false, warning.warned_days);
    }
    struct cw_value params[] = {
        sealed.access,
        sealed.refresh,
        cw_v_int(sealed.key_version),
        cw_v_time(tokens->obtained_us),
        cw_v_time(tokens->expires_us),
        cw_v_int(tokens->rotated),
        cw_v_int((int64_t)work->lease->fence),
        cw_v_time(grant_due_us(id, now_us, tokens->keep_us, end)),
        cw_v_time_opt(end.ends_us),
        cw_v_int(end.fixed),
        cw_v_time_opt(warning.at_us),
        warning.warned_days < 0 ? cw_v_null() : cw_v_int(warning.warned_days),
        cw_v_id(&id.ulid),
    };
    return cw_db_exec(db, &q_commit, params, NULL, err);
}

static enum cw_code commit_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    struct cw_connection_id id = work->lease->connection;
    const struct cw_value *row;
    cw_arena_clear(work->arena);
    enum cw_code rc = grant_lock(db, id, work->arena, &row, err);
    work->gone = rc == CW_E_NOT_FOUND;
    if (work->gone) {
        const struct cw_revocation *tokens = work->tokens->if_gone;
        return tokens == NULL ? CW_OK : cw_revocation_add(work->m, db, tokens, work->arena, err);
    }
    if (rc != CW_OK || is_in(work, row)) {
        return rc;
    }
    rc = is_successor(work, row) ? store(work, db, row, err) : refresh_lost(err);
    if (rc == CW_OK && work->tokens->scopes.ptr != NULL) {
        struct cw_value scopes[] = { cw_v_bytes(work->tokens->scopes), cw_v_time(cw_now_us()), cw_v_id(&id.ulid) };
        rc = cw_db_exec(db, &q_scopes, scopes, NULL, err);
    }
    return rc == CW_OK ? connection_recover(work->m, db, id, err) : rc;
}

enum cw_code cw_refresh_commit(struct cw_model *m, const struct cw_refresh_lease *lease,
                               const struct cw_refreshed *tokens, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .lease = lease, .tokens = tokens };
    enum cw_code rc = refresh_run(&work, commit_tx, err);
    return rc == CW_OK && work.gone ? refresh_lost(err) : rc;
}
