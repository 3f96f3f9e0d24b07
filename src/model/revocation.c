/* SPDX-License-Identifier: Apache-2.0 */
/* See revocation.h. A row's tokens are NULL from the moment that it has ended; nothing else clears them. */
#include "config.h"
#include "model/revocation.h"

#include "base/time.h"
#include "model/audit.h"
#include "model/keys.h"
#include "os/sys.h"

#define KEEP_TRYING_US CW_DAY_US
#define KEPT_US (30 * CW_DAY_US)

static const struct cw_query q_grant = {
    .name = "revocation.grant",
    .sql = "SELECT c.organization, c.registration, c.source, c.pinned, c.patient, g.refresh_sealed, g.access_sealed,"
           " g.key_version, g.expires_at FROM connection AS c JOIN token_grant AS g ON g.connection = c.id"
           " WHERE c.id = ? FOR UPDATE",
    .params = "b",
    .columns = "bbbbbbbit",
};
static const struct cw_query q_forget = {
    .name = "revocation.forget_grant",
    .sql = "DELETE FROM token_grant WHERE connection = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_insert = {
    .name = "revocation.insert",
    .sql = "INSERT INTO revocation (id, organization, registration, connection, source, status, pinned, refresh_sealed,"
           " access_sealed, key_version, access_until, give_up_at, created_at) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbbittt",
    .columns = "",
};
static const struct cw_query q_get = {
    .name = "revocation.get",
    .sql = "SELECT id, organization, registration, connection, source, status, failure_code, access_until, give_up_at,"
           " created_at, ended_at, pinned, refresh_sealed, access_sealed, key_version FROM revocation WHERE id = ?",
    .params = "b",
    .columns = "bbbbbibttttbbbi",
};
static const struct cw_query q_list = {
    .name = "revocation.list",
    .sql = "SELECT id, organization, registration, connection, source, status, failure_code, access_until, give_up_at,"
           " created_at, ended_at FROM revocation WHERE organization = ? ORDER BY created_at DESC LIMIT ?",
    .params = "bi",
    .columns = "bbbbbibtttt",
};
static const struct cw_query q_note = {
    .name = "revocation.note",
    .sql = "UPDATE revocation SET failure_code = ?, refresh_sealed = IF(? = 1, NULL, refresh_sealed)"
           " WHERE id = ? AND status = 1",
    .params = "bib",
    .columns = "",
};
static const struct cw_query q_end = {
    .name = "revocation.end",
    .sql = "UPDATE revocation SET status = ?, failure_code = ?, refresh_sealed = NULL, access_sealed = NULL, ended_at = ?"
           " WHERE id = ? AND status = 1",
    .params = "ibtb",
    .columns = "",
};
static const struct cw_query q_sweep = {
    .name = "revocation.sweep",
    .sql = "DELETE FROM revocation WHERE status >= 2 AND status <= 4 AND created_at < ? LIMIT ?",
    .params = "ti",
    .columns = "",
};

const char *cw_revocation_status_name(enum cw_revocation_status status)
{
    static const char *const names[] = { "?", "waiting", "done", "not_offered", "given_up" };
    return (size_t)status < CW_ARRAY_LEN(names) ? names[status] : names[0];
}

enum cw_code cw_revocation_add(struct cw_model *m, struct cw_db *db, const struct cw_revocation *tokens,
                               struct cw_arena *arena, struct cw_err *err)
{
    struct cw_revocation_id id = { cw_ulid_new() };
    struct cw_value refresh, access;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_org_key_current(m, db, tokens->org, &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, CW_AAD("revocation.refresh", id), tokens->refresh, arena, &refresh, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, CW_AAD("revocation.access", id), tokens->access, arena, &access, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    const struct cw_value params[] = {
        cw_v_id(&id.ulid),
        cw_v_id(&tokens->org.ulid),
        cw_v_id(&tokens->registration.ulid),
        cw_v_id(&tokens->connection.ulid),
        cw_v_id(&tokens->source.ulid),
        cw_v_bytes(tokens->pinned),
        refresh,
        access,
        cw_v_int(key.version),
        cw_v_time_opt(tokens->access_until_us),
        cw_v_time(now_us + KEEP_TRYING_US),
        cw_v_time(now_us),
    };
    rc = cw_db_exec(db, &q_insert, params, NULL, err);
    return rc == CW_OK ? cw_job_add(db, CW_JOB_REVOKE, id.ulid, (struct cw_endpoint_id){ { { 0 } } }, CW_JOB_BY_THE_CLOCK, now_us, err)
                       : rc;
}

struct keeping {
    struct cw_model *m;
    const struct cw_revocation *tokens;
    struct cw_arena *arena;
};

static enum cw_code keep_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct keeping *keep = arg;
    cw_arena_clear(keep->arena);
    return cw_revocation_add(keep->m, db, keep->tokens, keep->arena, err);
}

enum cw_code cw_revocation_keep(struct cw_model *m, const struct cw_revocation *tokens, struct cw_err *err)
{
    struct keeping keep = { .m = m, .tokens = tokens, .arena = cw_arena_new((size_t)512 * 1024) };
    if (keep.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "revocation", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, keep_tx, &keep, err);
    cw_arena_free(keep.arena);
    return rc;
}

/* The tokens of the row; those that do not open are absent. */
static enum cw_code open_tokens(struct cw_model *m, struct cw_db *db, const struct cw_value *row,
                                struct cw_revocation *tokens, struct cw_arena *arena, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient = { cw_value_id(&row[4]) };
    struct cw_err broken = { 0 };
    enum cw_code rc = cw_patient_key(m, db, patient, (uint32_t)row[7].number, &key, err);
    if (rc == CW_OK) {
        struct cw_aad cell = CW_AAD("token_grant.refresh", tokens->connection);
        rc = cw_cell_unseal(&key, cell, &row[5], arena, &tokens->refresh, &broken);
    }
    if (rc == CW_OK) {
        struct cw_aad cell = CW_AAD("token_grant.access", tokens->connection);
        rc = cw_cell_unseal(&key, cell, &row[6], arena, &tokens->access, &broken);
    }
    return rc == CW_E_AUTH || rc == CW_E_NOT_FOUND ? CW_OK : rc;
}

enum cw_code cw_revocation_of_grant(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_arena *arena,
                                    struct cw_err *err)
{
    struct cw_rows rows;
    const struct cw_value params[] = { cw_v_id(&id.ulid) };
    enum cw_code rc = cw_db_select(db, &q_grant, params, arena, &rows, err);
    if (rc != CW_OK || rows.count == 0) {
        return rc;
    }
    const struct cw_value *row = cw_row(&rows, 0);
    struct cw_revocation tokens = {
        .org = { cw_value_id(&row[0]) },
        .registration = { cw_value_id(&row[1]) },
        .connection = id,
        .source = { cw_value_id(&row[2]) },
        .pinned = row[3].bytes,
        .access_until_us = row[8].number,
    };
    rc = open_tokens(m, db, row, &tokens, arena, err);
    if (rc == CW_OK && (tokens.refresh.ptr != NULL || tokens.access.ptr != NULL)) {
        rc = cw_revocation_add(m, db, &tokens, arena, err);
    }
    return rc == CW_OK ? cw_db_exec(db, &q_forget, params, NULL, err) : rc;
}

/* ---------------------------------------------------------------------------------------------- the worker's side */

static void of_row(const struct cw_value *row, struct cw_revocation *ret)
{
    *ret = (struct cw_revocation){
        .id = { cw_value_id(&row[0]) },
        .org = { cw_value_id(&row[1]) },
        .registration = { cw_value_id(&row[2]) },
        .connection = { cw_value_id(&row[3]) },
        .source = { cw_value_id(&row[4]) },
        .status = (enum cw_revocation_status)row[5].number,
        .failure_code = row[6].bytes,
        .access_until_us = row[7].number,
        .give_up_us = row[8].number,
        .created_us = row[9].number,
        .ended_us = row[10].number,
    };
}

enum cw_code cw_revocation_get(struct cw_model *m, struct cw_revocation_id id, struct cw_arena *arena,
                               struct cw_revocation *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    const struct cw_value *row;
    const struct cw_value params[] = { cw_v_id(&id.ulid) };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_get, params, arena, &row, err);
    }
    if (rc == CW_OK && row[5].number != CW_REVOCATION_WAITING) {
        rc = cw_err_set(err, CW_E_STATE, "revocation", "it has ended already");
    }
    if (rc == CW_OK) {
        of_row(row, ret);
        ret->pinned = row[11].bytes;
        rc = cw_org_key_version(m, db, ret->org, (uint32_t)row[14].number, &key, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("revocation.refresh", id), &row[12], arena, &ret->refresh, err);
    }
    return rc == CW_OK ? cw_cell_unseal(&key, CW_AAD("revocation.access", id), &row[13], arena, &ret->access, err) : rc;
}

enum cw_code cw_revocation_note(struct cw_model *m, struct cw_revocation_id id, const char *failure_code,
                                bool refresh_answered, struct cw_err *err)
{
    struct cw_db *db = NULL;
    const struct cw_value params[] = { cw_v_bytes(cw_span_cstr(failure_code)), cw_v_int(refresh_answered),
                                       cw_v_id(&id.ulid) };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_note, params, NULL, err);
    }
    cw_db_put(db);
    return rc;
}

struct ending {
    struct cw_model *m;
    const struct cw_actor *actor;
    const char *owner;
    const struct cw_job *job;
    enum cw_revocation_status status;
    const char *failure_code;
    struct cw_arena *arena;
};

static enum cw_code end_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct ending *end = arg;
    cw_arena_clear(end->arena);
    const struct cw_value id[] = { cw_v_id(&end->job->subject) };
    const struct cw_value *row;
    enum cw_code rc = cw_job_hold(db, end->owner, end->job, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_get, id, end->arena, &row, err);
        if (rc == CW_E_NOT_FOUND) {
            return cw_job_finish(db, end->job, err); /* a job about nothing */
        }
    }
    if (rc == CW_OK) {
        const struct cw_value params[] = { cw_v_int(end->status), cw_v_bytes(cw_span_cstr(end->failure_code)),
                                           cw_v_time(cw_now_us()), cw_v_id(&end->job->subject) };
        rc = cw_db_exec(db, &q_end, params, NULL, err);
    }
    if (rc == CW_OK) {
        const struct cw_audit_row audit = { .org = { cw_value_id(&row[1]) },
                                            .action = "token.revoke",
                                            .object = cw_value_id(&row[3]),
                                            .detail = cw_revocation_status_name(end->status) };
        rc = cw_audit_write(db, end->actor, &audit, err);
    }
    return rc == CW_OK ? cw_job_finish(db, end->job, err) : rc;
}

enum cw_code cw_revocation_end(struct cw_model *m, const struct cw_actor *actor, const char *owner,
                               const struct cw_job *job, enum cw_revocation_status status, const char *failure_code,
                               struct cw_err *err)
{
    struct ending end = {
        .m = m, .actor = actor, .owner = owner, .job = job, .status = status, .failure_code = failure_code
    };
    end.arena = cw_arena_new((size_t)128 * 1024);
    if (end.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "revocation", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, end_tx, &end, err);
    cw_arena_free(end.arena);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- for the operator */

enum cw_code cw_revocation_list(struct cw_model *m, struct cw_org_id org, unsigned limit, struct cw_arena *arena,
                                struct cw_revocation **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows;
    const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_int(limit) };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_list, params, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_revocation *list = cw_arena_array(arena, rows.count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_OOM, "revocation", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        of_row(cw_row(&rows, i), &list[i]);
    }
    *ret = list;
    *ret_count = rows.count;
    return CW_OK;
}

enum cw_code cw_revocation_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                 struct cw_err *err)
{
    (void)actor;
    struct cw_db *db = NULL;
    uint64_t affected = 0;
    const struct cw_value params[] = { cw_v_time(cw_now_us() - KEPT_US), cw_v_int(limit) };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_sweep, params, &affected, err);
    }
    cw_db_put(db);
    *ret_count = (unsigned)affected;
    return rc;
}
