/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants: sealed tokens, and the refresher's lease. Beginning a refresh commits owner, fence and intent before the request
 * leaves; its end is a compare-and-swap on fence and version, so of two refreshers only one can win, and a late one changes
 * nothing. A grant is never deleted by a failure path other than a well-formed refusal (peers 26).
 */
#include "config.h"
#include "model/connection.h"

#include "base/limits.h"
#include "base/time.h"
#include "model/connection_int.h"
#include "model/keys.h"
#include "os/sys.h"

#define REFRESH_LEASE_US (60 * CW_SECOND_US) /* longer than a token request may take */

static const struct cw_query q_put = {
    .name = "grant.put",
    .sql = "INSERT INTO token_grant (connection, version, access_sealed, refresh_sealed, key_version, token_type,"
           " obtained_at, expires_at) VALUES (?, 1, ?, ?, ?, ?, ?, ?)"
           " ON DUPLICATE KEY UPDATE version = version + 1, access_sealed = VALUES(access_sealed),"
           " refresh_sealed = VALUES(refresh_sealed), key_version = VALUES(key_version),"
           " token_type = VALUES(token_type), obtained_at = VALUES(obtained_at), expires_at = VALUES(expires_at),"
           " refresh_started_at = NULL, refresh_tries = 0, lease_owner = NULL, lease_until = NULL, fence = fence + 1",
    .params = "bbbibtt",
    .columns = "",
};

#define COLUMNS \
    "SELECT g.version, g.access_sealed, g.refresh_sealed, g.key_version, g.obtained_at, g.expires_at," \
    " g.refresh_started_at, g.refresh_tries, c.patient, c.status, g.lease_owner, g.lease_until, g.fence" \
    " FROM token_grant g JOIN connection c ON c.id = g.connection WHERE g.connection = ?"
#define KINDS "ibbittti" "bibti"

static const struct cw_query q_get = { .name = "grant.get", .sql = COLUMNS, .params = "b", .columns = KINDS };
static const struct cw_query q_lock = {
    .name = "grant.lock",
    .sql = COLUMNS " FOR UPDATE",
    .params = "b",
    .columns = KINDS,
};
static const struct cw_query q_begin = {
    .name = "grant.begin",
    .sql = "UPDATE token_grant SET lease_owner = ?, lease_until = ?, fence = fence + 1, refresh_started_at = ?,"
           " refresh_tries = refresh_tries + 1 WHERE connection = ?",
    .params = "bttb",
    .columns = "",
};
static const struct cw_query q_commit = {
    .name = "grant.commit",
    .sql = "UPDATE token_grant SET version = version + 1, access_sealed = ?,"
           " refresh_sealed = COALESCE(?, refresh_sealed), key_version = ?, obtained_at = ?, expires_at = ?,"
           " refresh_started_at = NULL, refresh_tries = 0, lease_owner = NULL, lease_until = NULL"
           " WHERE connection = ? AND version = ? AND fence = ?",
    .params = "bbittbii",
    .columns = "",
};
static const struct cw_query q_scopes = {
    .name = "grant.scopes",
    .sql = "UPDATE connection SET scopes = ?, updated_at = ? WHERE id = ?",
    .params = "btb",
    .columns = "",
};
static const struct cw_query q_abandon = {
    .name = "grant.abandon",
    .sql = "UPDATE token_grant SET lease_owner = NULL, lease_until = NULL,"
           " refresh_started_at = IF(? = 1, refresh_started_at, NULL),"
           " refresh_tries = IF(? = 1, refresh_tries, GREATEST(refresh_tries, 1) - 1)"
           " WHERE connection = ? AND version = ? AND fence = ?",
    .params = "iibii",
    .columns = "",
};

static struct cw_aad access_cell(struct cw_connection_id id)
{
    return CW_AAD("token_grant.access", id);
}
static struct cw_aad refresh_cell(struct cw_connection_id id)
{
    return CW_AAD("token_grant.refresh", id);
}

enum cw_code grant_put(struct cw_db *db, const struct cw_data_key *key, struct cw_connection_id connection,
                       const struct grant_put *put, struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value access, refresh;
    enum cw_code rc = cw_cell_seal(key, access_cell(connection), put->access_token, arena, &access, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(key, refresh_cell(connection), put->refresh_token, arena, &refresh, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = {
        cw_v_id(&connection.ulid),
        access,
        refresh,
        cw_v_int(key->version),
        cw_v_bytes(put->token_type.ptr == NULL ? CW_SPAN("Bearer") : put->token_type),
        cw_v_time(put->obtained_us),
        cw_v_time(put->expires_us),
    };
    return cw_db_exec(db, &q_put, params, NULL, err);
}

void cw_grant_release(struct cw_grant *grant)
{
    cw_secret_release(&grant->access);
    cw_secret_release(&grant->refresh);
    *grant = (struct cw_grant){ 0 };
}

static enum cw_code open_token(const struct cw_data_key *key, struct cw_aad cell, const struct cw_value *sealed,
                               struct cw_secret *ret, struct cw_err *err)
{
    if (sealed->kind == CW_V_NULL) {
        return CW_OK;
    }
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, CW_TOKEN_MAX);
    enum cw_code rc = cw_unseal(key, cell, sealed->bytes, &plain, err);
    return rc == CW_OK ? cw_secret_set(ret, cw_str_span(&plain)) : rc;
}

static enum cw_code open_grant(struct cw_model *m, struct cw_db *db, struct cw_connection_id id,
                               const struct cw_value *row, struct cw_grant *ret, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient = { cw_value_id(&row[8]) };
    struct cw_grant grant = {
        .version = (uint32_t)row[0].number,
        .obtained_us = row[4].number,
        .expires_us = row[5].number,
        .refresh_started_us = row[6].number,
        .refresh_tries = (unsigned)row[7].number,
    };
    enum cw_code rc = cw_patient_key(m, db, patient, (uint32_t)row[3].number, &key, err);
    if (rc == CW_OK) {
        rc = open_token(&key, access_cell(id), &row[1], &grant.access, err);
    }
    if (rc == CW_OK) {
        rc = open_token(&key, refresh_cell(id), &row[2], &grant.refresh, err);
    }
    if (rc != CW_OK) {
        cw_grant_release(&grant);
        return rc;
    }
    *ret = grant;
    return CW_OK;
}

/* What each call here needs, so that they share one arena and one shape. */
struct work {
    struct cw_model *m;
    const struct cw_actor *actor;
    const char *owner;
    struct cw_connection_id id;
    uint32_t seen_version;
    const struct cw_refresh_lease *lease;
    const struct cw_refreshed *tokens;
    const char *failure_code;
    bool maybe_lost;
    struct cw_refresh_lease taken;
    struct cw_grant grant;
    struct cw_arena *arena;
};

static enum cw_code with_arena(struct work *work, cw_tx_fn *fn, struct cw_err *err)
{
    work->arena = cw_arena_new(512 * 1024);
    if (work->arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "grant", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(work->m->pool, fn, work, err);
    cw_arena_free(work->arena);
    return rc;
}

static enum cw_code get_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct work *work = arg;
    struct cw_value params[] = { cw_v_id(&work->id.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_get, params, work->arena, &row, err);
    if (rc == CW_OK && row[9].number != CW_CONNECTION_ACTIVE) {
        rc = cw_err_set(err, CW_E_STATE, "grant", "the connection is not active");
    }
    cw_grant_release(&work->grant);
    return rc == CW_OK ? open_grant(work->m, db, work->id, row, &work->grant, err) : rc;
}

enum cw_code cw_grant_get(struct cw_model *m, struct cw_connection_id id, struct cw_grant *ret, struct cw_err *err)
{
    struct work work = { .m = m, .id = id };
    enum cw_code rc = with_arena(&work, get_tx, err);
    if (rc != CW_OK) {
        cw_grant_release(&work.grant);
        return rc;
    }
    *ret = work.grant;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- refreshing */

static enum cw_code may_begin(const struct work *work, const struct cw_value *row, int64_t now_us, struct cw_err *err)
{
    if (row[9].number != CW_CONNECTION_ACTIVE) {
        return cw_err_set(err, CW_E_STATE, "grant.begin", "the connection is not active");
    }
    if ((uint32_t)row[0].number != work->seen_version) {
        return cw_err_set(err, CW_E_STATE, "grant.begin", "somebody has refreshed meanwhile");
    }
    /* A lease in our own name is a dead predecessor's: a process refreshes a connection from one place only, its pull. */
    bool ours = row[10].kind != CW_V_NULL && cw_span_eq_cstr(row[10].bytes, work->owner);
    bool leased = row[10].kind != CW_V_NULL && !ours && row[11].number > now_us;
    return leased ? cw_err_set(err, CW_E_CONFLICT, "grant.begin", "somebody else is refreshing") : CW_OK;
}

static enum cw_code begin_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct work *work = arg;
    int64_t now_us = cw_now_us();
    struct cw_value id[] = { cw_v_id(&work->id.ulid) };
    const struct cw_value *row;
    cw_grant_release(&work->grant);
    enum cw_code rc = cw_db_one(db, &q_lock, id, work->arena, &row, err);
    if (rc == CW_OK) {
        rc = may_begin(work, row, now_us, err);
    }
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_bytes(cw_span_cstr(work->owner)), cw_v_time(now_us + REFRESH_LEASE_US),
                                     cw_v_time(now_us), cw_v_id(&work->id.ulid) };
        rc = cw_db_exec(db, &q_begin, params, NULL, err);
    }
    if (rc == CW_OK) {
        rc = open_grant(work->m, db, work->id, row, &work->grant, err);
    }
    if (rc == CW_OK) {
        work->grant.refresh_tries++;
        work->taken = (struct cw_refresh_lease){ work->id, (uint64_t)row[12].number + 1, work->grant.version };
    }
    return rc;
}

enum cw_code cw_refresh_begin(struct cw_model *m, const char *owner, struct cw_connection_id id, uint32_t seen_version,
                              struct cw_refresh_lease *ret_lease, struct cw_grant *ret_grant, struct cw_err *err)
{
    struct work work = { .m = m, .owner = owner, .id = id, .seen_version = seen_version };
    enum cw_code rc = with_arena(&work, begin_tx, err);
    if (rc != CW_OK) {
        cw_grant_release(&work.grant);
        return rc;
    }
    *ret_lease = work.taken;
    *ret_grant = work.grant;
    return CW_OK;
}

static enum cw_code lost(struct cw_err *err)
{
    return cw_err_set(err, CW_E_CONFLICT, "grant", "the refresher's lease was lost");
}

/* Locks the grant and checks that it is still ours. */
static enum cw_code hold(struct work *work, struct cw_db *db, const struct cw_value **ret_row, struct cw_err *err)
{
    struct cw_value id[] = { cw_v_id(&work->lease->connection.ulid) };
    enum cw_code rc = cw_db_one(db, &q_lock, id, work->arena, ret_row, err);
    if (rc == CW_E_NOT_FOUND) {
        return lost(err);
    }
    if (rc == CW_OK && ((uint64_t)(*ret_row)[12].number != work->lease->fence ||
                        (uint32_t)(*ret_row)[0].number != work->lease->version)) {
        rc = lost(err);
    }
    return rc;
}

static enum cw_code commit_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct work *work = arg;
    const struct cw_refreshed *tokens = work->tokens;
    struct cw_connection_id id = work->lease->connection;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    const struct cw_value *row;
    struct cw_value access, refresh;
    enum cw_code rc = hold(work, db, &row, err);
    if (rc == CW_OK) {
        /* The version of the row: a kept refresh token stays sealed under it. */
        struct cw_patient_row patient = { cw_value_id(&row[8]) };
        rc = cw_patient_key(work->m, db, patient, (uint32_t)row[3].number, &key, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, access_cell(id), tokens->access_token, work->arena, &access, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, refresh_cell(id), tokens->refresh_token, work->arena, &refresh, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = {
        access,
        refresh,
        cw_v_int(key.version),
        cw_v_time(tokens->obtained_us),
        cw_v_time(tokens->expires_us),
        cw_v_id(&id.ulid),
        cw_v_int(work->lease->version),
        cw_v_int((int64_t)work->lease->fence),
    };
    rc = cw_db_exec(db, &q_commit, params, NULL, err);
    if (rc == CW_OK && tokens->scopes.ptr != NULL) {
        struct cw_value scopes[] = { cw_v_bytes(tokens->scopes), cw_v_time(cw_now_us()), cw_v_id(&id.ulid) };
        rc = cw_db_exec(db, &q_scopes, scopes, NULL, err);
    }
    return rc;
}

enum cw_code cw_refresh_commit(struct cw_model *m, const struct cw_refresh_lease *lease,
                               const struct cw_refreshed *tokens, struct cw_err *err)
{
    struct work work = { .m = m, .lease = lease, .tokens = tokens };
    return with_arena(&work, commit_tx, err);
}

static enum cw_code abandon_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct work *work = arg;
    struct cw_value params[] = { cw_v_int(work->maybe_lost), cw_v_int(work->maybe_lost),
                                 cw_v_id(&work->lease->connection.ulid), cw_v_int(work->lease->version),
                                 cw_v_int((int64_t)work->lease->fence) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(db, &q_abandon, params, &affected, err);
    return rc == CW_OK && affected == 0 ? lost(err) : rc;
}

enum cw_code cw_refresh_abandon(struct cw_model *m, const struct cw_refresh_lease *lease, bool maybe_lost,
                                struct cw_err *err)
{
    struct work work = { .m = m, .lease = lease, .maybe_lost = maybe_lost };
    return with_arena(&work, abandon_tx, err);
}

static enum cw_code dead_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct work *work = arg;
    const struct cw_value *row;
    enum cw_code rc = hold(work, db, &row, err);
    if (rc == CW_OK) {
        rc = connection_end(work->m, db, work->actor, work->lease->connection, CW_CONNECTION_REFRESH_FAILED,
                            work->failure_code, err);
    }
    return rc;
}

enum cw_code cw_refresh_dead(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                             const char *failure_code, struct cw_err *err)
{
    struct work work = { .m = m, .actor = actor, .lease = lease, .failure_code = failure_code };
    return with_arena(&work, dead_tx, err);
}
