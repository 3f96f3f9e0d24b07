/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: sealed tokens, put by a sign-in and read by whoever needs an access token. Refreshing them is in refresh.c. */
#include "config.h"
#include "model/connection.h"

#include "base/limits.h"
#include "model/connection_int.h"
#include "model/grant_int.h"
#include "model/keys.h"
#include "os/sys.h"

static const struct cw_query q_put = {
    .name = "grant.put",
    .sql = "INSERT INTO token_grant (connection, version, access_sealed, refresh_sealed, key_version, token_type,"
           " obtained_at, expires_at, refresh_due_at, ends_at, ends_fixed, warn_at, warned_days)"
           " VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
           " ON DUPLICATE KEY UPDATE version = version + 1, access_sealed = VALUES(access_sealed),"
           " refresh_sealed = VALUES(refresh_sealed), key_version = VALUES(key_version),"
           " token_type = VALUES(token_type), obtained_at = VALUES(obtained_at), expires_at = VALUES(expires_at),"
           " refresh_due_at = VALUES(refresh_due_at), ends_at = VALUES(ends_at), ends_fixed = VALUES(ends_fixed),"
           " warn_at = VALUES(warn_at), warned_days = VALUES(warned_days), refresh_started_at = NULL, refresh_tries = 0,"
           " lease_owner = NULL, lease_until = NULL, fence = fence + 1, rotates = NULL, answer_fence = NULL,"
           " refused_at = NULL, failures = 0, failing_since = NULL, not_before = NULL",
    .params = "bbbibttttiti",
    .columns = "",
};
static const struct cw_query q_get = {
    .name = "grant.get", .sql = GRANT_COLUMNS, .params = "b", .columns = GRANT_KINDS
};
static const struct cw_query q_lock = {
    .name = "grant.lock", .sql = GRANT_COLUMNS " FOR UPDATE", .params = "b", .columns = GRANT_KINDS
};

_Static_assert(sizeof GRANT_KINDS - 1 == G__COUNT, "a kind for each column");

struct cw_aad grant_access_cell(struct cw_connection_id id)
{
    return CW_AAD("token_grant.access", id);
}
struct cw_aad grant_refresh_cell(struct cw_connection_id id)
{
    return CW_AAD("token_grant.refresh", id);
}

enum cw_code grant_put(struct cw_db *db, const struct cw_data_key *key, struct cw_connection_id connection,
                       const struct grant_put *put, struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value access, refresh;
    enum cw_code rc = cw_cell_seal(key, grant_access_cell(connection), put->access_token, arena, &access, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(key, grant_refresh_cell(connection), put->refresh_token, arena, &refresh, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    bool one_time = put->refresh_token.ptr == NULL && !put->dynamic;
    struct grant_end end = { .ends_us = one_time ? put->expires_us : put->ends_us, .fixed = one_time || put->ends_fixed };
    struct grant_warning warning = grant_warning_new(now_us, end, one_time, -1);
    struct cw_value params[] = {
        cw_v_id(&connection.ulid),
        access,
        refresh,
        cw_v_int(key->version),
        cw_v_bytes(put->token_type.ptr == NULL ? CW_SPAN("Bearer") : put->token_type),
        cw_v_time(put->obtained_us),
        cw_v_time(put->expires_us),
        cw_v_time_opt(one_time ? 0 : grant_due_us(connection, now_us, put->keep_us, end)),
        cw_v_time_opt(end.ends_us),
        cw_v_int(end.fixed),
        cw_v_time_opt(warning.at_us),
        warning.warned_days < 0 ? cw_v_null() : cw_v_int(warning.warned_days),
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

enum cw_code grant_lock(struct cw_db *db, struct cw_connection_id id, struct cw_arena *arena,
                        const struct cw_value **ret_row, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    return cw_db_one(db, &q_lock, params, arena, ret_row, err);
}

enum cw_code grant_open(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, const struct cw_value *row,
                        struct cw_grant *ret, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient = { cw_value_id(&row[G_PATIENT]) };
    struct cw_grant grant = {
        .version = (uint32_t)row[G_VERSION].number,
        .obtained_us = row[G_OBTAINED].number,
        .expires_us = row[G_EXPIRES].number,
        .refresh_started_us = row[G_STARTED].number,
        .refresh_tries = (unsigned)row[G_TRIES].number,
        .not_before_us = row[G_NOT_BEFORE].number,
        .dynamic = row[G_DYNAMIC].number != 0,
    };
    enum cw_code rc = cw_patient_key(m, db, patient, (uint32_t)row[G_KEY_VERSION].number, &key, err);
    if (rc == CW_OK) {
        rc = open_token(&key, grant_access_cell(id), &row[G_ACCESS], &grant.access, err);
    }
    if (rc == CW_OK) {
        rc = open_token(&key, grant_refresh_cell(id), &row[G_REFRESH], &grant.refresh, err);
    }
    if (rc != CW_OK) {
        cw_grant_release(&grant);
        return rc;
    }
    *ret = grant;
    return CW_OK;
}

struct getting {
    struct cw_model *m;
    struct cw_connection_id id;
    struct cw_grant grant;
    struct cw_arena *arena;
};

static enum cw_code get_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct getting *get = arg;
    struct cw_value params[] = { cw_v_id(&get->id.ulid) };
    const struct cw_value *row;
    cw_arena_clear(get->arena);
    enum cw_code rc = cw_db_one(db, &q_get, params, get->arena, &row, err);
    if (rc == CW_OK && row[G_STATUS].number != CW_CONNECTION_ACTIVE) {
        rc = cw_err_set(err, CW_E_STATE, "grant", "the connection is not active");
    }
    cw_grant_release(&get->grant);
    return rc == CW_OK ? grant_open(get->m, db, get->id, row, &get->grant, err) : rc;
}

enum cw_code cw_grant_get(struct cw_model *m, struct cw_connection_id id, struct cw_grant *ret, struct cw_err *err)
{
    struct getting get = { .m = m, .id = id, .arena = cw_arena_new(512 * 1024) };
    if (get.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "grant", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, get_tx, &get, err);
    cw_arena_free(get.arena);
    if (rc != CW_OK) {
        cw_grant_release(&get.grant);
        return rc;
    }
    *ret = get.grant;
    return CW_OK;
}
