/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections. One row a (patient, endpoint, tenant context, upstream patient): two proxied children at one hospital never
 * share one, and a reconnect keeps the id. The upstream patient id is sealed, and found again by its keyed hash.
 */
#include "config.h"
#include "model/connection.h"

#include "base/limits.h"
#include "model/audit.h"
#include "model/connection_int.h"
#include "model/dynamic_client.h"
#include "model/event.h"
#include "model/failure.h"
#include "model/grant_int.h"
#include "model/keys.h"
#include "os/sys.h"

#define LIST_MAX 500

#define COLUMNS \
    "id, organization, patient, endpoint, source, registration, session, status, failure_code, failure_at, scopes," \
    " tenant_context, pinned, one_time, created_at, updated_at, missing_types," \
    " (SELECT g.ends_at FROM token_grant g WHERE g.connection = connection.id)"
#define KINDS "bbbbbbbibtbbbittbt"

static const struct cw_query q_list = {
    .name = "connection.list",
    .sql = "SELECT " COLUMNS " FROM connection WHERE patient = ? ORDER BY created_at DESC, id DESC LIMIT 500",
    .params = "b",
    .columns = KINDS,
};
/* Attempts that never became a connection; a failed reconnect stands here too, the connection stays as it was. */
static const struct cw_query q_failed = {
    .name = "connection.failed_attempts",
    .sql = "SELECT connection, organization, patient, endpoint, source, registration, session, 2, failure_code, ended_at,"
           " '', '', NULL, 0, started_at, ended_at, NULL, NULL FROM attempt WHERE patient = ? AND status = 4"
           " ORDER BY id DESC LIMIT 500",
    .params = "b",
    .columns = KINDS,
};
static const struct cw_query q_get = {
    .name = "connection.get",
    .sql = "SELECT " COLUMNS " FROM connection WHERE id = ?",
    .params = "b",
    .columns = KINDS,
};
static const struct cw_query q_upstream = {
    .name = "connection.upstream",
    .sql = "SELECT patient, upstream_sealed, key_version FROM connection WHERE id = ?",
    .params = "b",
    .columns = "bbi",
};
static const struct cw_query q_find = {
    .name = "connection.find",
    .sql = "SELECT id FROM connection WHERE patient = ? AND endpoint = ? AND tenant_context = ? AND upstream_hash = ?"
           " FOR UPDATE",
    .params = "bbbb",
    .columns = "b",
};
static const struct cw_query q_lives = {
    .name = "connection.lives",
    .sql = "SELECT EXISTS (SELECT 1 FROM connection WHERE patient = ? AND endpoint = ? AND registration = ? AND status = 1)",
    .params = "bbb",
    .columns = "i",
};
static const struct cw_query q_insert = {
    .name = "connection.insert",
    .sql = "INSERT INTO connection (id, organization, patient, endpoint, source, registration, session, tenant_context,"
           " upstream_hash, upstream_sealed, status, scopes, missing_types, one_time, pinned, key_version,"
           " created_at, updated_at, next_pull_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbbbbbbibittt",
    .columns = "",
};
static const struct cw_query q_revive = {
    .name = "connection.revive",
    .sql = "UPDATE connection SET status = 1, failure_code = NULL, failure_at = NULL, source = ?, registration = ?,"
           " session = ?, scopes = ?, missing_types = ?, one_time = ?, pinned = ?, updated_at = ?, next_pull_at = ?, pull_hold = NULL,"
           " full_pulled_at = NULL WHERE id = ?",
    .params = "bbbbbibttb",
    .columns = "",
};
static const struct cw_query q_lock = {
    .name = "connection.lock",
    .sql = "SELECT status, organization, patient FROM connection WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "ibb",
};
static const struct cw_query q_end = {
    .name = "connection.end",
    .sql = "UPDATE connection SET status = ?, failure_code = ?, failure_at = ?, updated_at = ? WHERE id = ?",
    .params = "ibttb",
    .columns = "",
};
static const struct cw_query q_forget_tokens = {
    .name = "connection.forget_tokens",
    .sql = "DELETE FROM token_grant WHERE connection = ?",
    .params = "b",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- reading */

static struct cw_ulid optional_id(const struct cw_value *cell)
{
    return cell->kind == CW_V_NULL ? (struct cw_ulid){ { 0 } } : cw_value_id(cell);
}

static void of_row(const struct cw_value *row, struct cw_connection *ret)
{
    *ret = (struct cw_connection){
        .id = { cw_value_id(&row[0]) },
        .org = { cw_value_id(&row[1]) },
        .patient = { cw_value_id(&row[2]) },
        .endpoint = { cw_value_id(&row[3]) },
        .source = { cw_value_id(&row[4]) },
        .registration = { optional_id(&row[5]) },
        .session = { optional_id(&row[6]) },
        .status = (enum cw_connection_status)row[7].number,
        .failure_code = row[8].bytes,
        .failure_us = row[9].number,
        .scopes = row[10].bytes,
        .tenant_context = row[11].bytes,
        .pinned = row[12].bytes,
        .one_time = row[13].number != 0,
        .created_us = row[14].number,
        .updated_us = row[15].number,
        .missing_types = row[16].bytes,
        .ends_us = row[17].number,
    };
}

/* Both lists come newest first: merged they are too. */
static size_t merge(const struct cw_rows *a, const struct cw_rows *b, struct cw_connection *out)
{
    size_t i = 0, j = 0, count = 0;
    while (count < LIST_MAX && (i < a->count || j < b->count)) {
        bool first = j == b->count || (i < a->count && cw_row(a, i)[14].number >= cw_row(b, j)[14].number);
        of_row(first ? cw_row(a, i++) : cw_row(b, j++), &out[count++]);
    }
    return count;
}

enum cw_code cw_connection_list(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                                struct cw_connection **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid) };
    struct cw_rows connections, failed;
    rc = cw_db_select(db, &q_list, params, arena, &connections, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_failed, params, arena, &failed, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_connection *list = cw_arena_array(arena, LIST_MAX, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_OOM, "connection.list", "out of memory");
    }
    *ret_count = merge(&connections, &failed, list);
    *ret = list;
    return CW_OK;
}

enum cw_code cw_connection_get(struct cw_model *m, struct cw_connection_id id, struct cw_arena *arena,
                               struct cw_connection *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    rc = cw_db_one(db, &q_get, params, arena, &row, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        of_row(row, ret);
    }
    return rc;
}

enum cw_code cw_connection_upstream(struct cw_model *m, struct cw_connection_id id, struct cw_arena *arena,
                                    struct cw_span *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    rc = cw_db_one(db, &q_upstream, params, arena, &row, err);
    if (rc == CW_OK) {
        struct cw_patient_row patient = { cw_value_id(&row[0]) };
        rc = cw_patient_key(m, db, patient, (uint32_t)row[2].number, &key, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("connection.upstream", id), &row[1], arena, ret, err);
    }
    return rc;
}

enum cw_code cw_connection_lives(struct cw_model *m, const struct cw_connection *like, bool *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&like->patient.ulid), cw_v_id(&like->endpoint.ulid),
                                       cw_v_id(&like->registration.ulid) };
    struct cw_arena *arena = cw_arena_new(4096);
    const struct cw_value *row;
    struct cw_db *db = NULL;
    enum cw_code rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "connection.lives", "out of memory")
                                    : cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_lives, params, arena, &row, err);
    }
    if (rc == CW_OK) {
        *ret = row[0].number != 0;
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- making */

struct putting {
    struct cw_db *db;
    const struct cw_data_key *key;
    const struct connection_put *put;
    struct cw_arena *arena;
    struct cw_span tenant;
    uint8_t hash[CW_HASH_LEN];
};

static struct cw_value missing_value(const struct connection_put *put)
{
    return put->missing_types.len == 0 ? cw_v_null() : cw_v_bytes(put->missing_types);
}

static enum cw_code insert(struct putting *p, struct cw_err *err)
{
    const struct connection_put *put = p->put;
    struct cw_value sealed;
    enum cw_code rc = cw_cell_seal(p->key, CW_AAD("connection.upstream", put->id), put->upstream_patient, p->arena,
                                   &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    struct cw_value params[] = {
        cw_v_id(&put->id.ulid),
        cw_v_id(&put->org.ulid),
        cw_v_id(&put->patient.ulid),
        cw_v_id(&put->endpoint.ulid),
        cw_v_id(&put->source.ulid),
        cw_v_id(&put->registration.ulid),
        cw_v_id(&put->session.ulid),
        cw_v_bytes(p->tenant),
        cw_v_bytes(cw_span_of(p->hash, CW_HASH_LEN)),
        sealed,
        cw_v_bytes(put->scopes),
        missing_value(put),
        cw_v_int(put->one_time),
        cw_v_bytes(put->pinned),
        cw_v_int(p->key->version),
        cw_v_time(now_us),
        cw_v_time(now_us),
        cw_v_time(now_us), /* whoever connects is pulled at once */
    };
    return cw_db_exec(p->db, &q_insert, params, NULL, err);
}

/* The one that is there already. */
static enum cw_code revive(struct putting *p, struct cw_connection_id *ret_id, struct cw_err *err)
{
    const struct connection_put *put = p->put;
    const struct cw_value find[] = { cw_v_id(&put->patient.ulid), cw_v_id(&put->endpoint.ulid), cw_v_bytes(p->tenant),
                                     cw_v_bytes(cw_span_of(p->hash, CW_HASH_LEN)) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(p->db, &q_find, find, p->arena, &rows, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (rows.count == 0) {
        return cw_ulid_is_zero(put->only.ulid)
                   ? cw_err_set(err, CW_E_RETRY, "connection.put", "another attempt has made it but not yet committed")
                   : cw_err_set(err, CW_E_DENIED, "connection.put", "another upstream patient than the one to reconnect");
    }
    struct cw_connection_id id = { cw_value_id(&cw_row(&rows, 0)[0]) };
    if (!cw_ulid_is_zero(put->only.ulid) && !cw_ulid_eq(id.ulid, put->only.ulid)) {
        return cw_err_set(err, CW_E_DENIED, "connection.put", "another upstream patient than the one to reconnect");
    }
    int64_t now_us = cw_now_us();
    const struct cw_value params[] = {
        cw_v_id(&put->source.ulid), cw_v_id(&put->registration.ulid), cw_v_id(&put->session.ulid),
        cw_v_bytes(put->scopes),    missing_value(put),               cw_v_int(put->one_time),
        cw_v_bytes(put->pinned),    cw_v_time(now_us),                cw_v_time(now_us),
        cw_v_id(&id.ulid),
    };
    rc = cw_db_exec(p->db, &q_revive, params, NULL, err);
    if (rc == CW_OK) {
        *ret_id = id;
    }
    return rc;
}

enum cw_code connection_put(struct cw_db *db, const struct cw_data_key *key, const struct connection_put *put,
                            struct cw_arena *arena, struct cw_connection_id *ret_id, struct cw_err *err)
{
    if (put->upstream_patient.len == 0 || put->upstream_patient.len > CW_FHIR_ID_MAX) {
        return cw_err_set(err, CW_E_RANGE, "connection.put", "the upstream patient id is empty or too long");
    }
    struct putting p = { .db = db, .key = key, .put = put, .arena = arena };
    p.tenant = put->tenant_context.ptr == NULL ? CW_SPAN("") : put->tenant_context;
    cw_data_hash(key, "connection.upstream", put->upstream_patient, p.hash);
    bool any = cw_ulid_is_zero(put->only.ulid);
    enum cw_code rc = any ? insert(&p, err) : CW_E_CONFLICT;
    if (rc == CW_OK) {
        *ret_id = put->id;
    }
    return rc == CW_E_CONFLICT ? revive(&p, ret_id, err) : rc;
}

/* ---------------------------------------------------------------------------------------------- ending */

static enum cw_code end_locked(struct cw_model *m, struct cw_db *db, const struct cw_actor *actor,
                               const struct cw_value *row, struct cw_connection_id id,
                               enum cw_connection_status status, const char *failure_code, struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_value params[] = { cw_v_int(status), cw_v_bytes(cw_span_cstr(failure_code)), cw_v_time(now_us),
                                 cw_v_time(now_us), cw_v_id(&id.ulid) };
    struct cw_value id_param[] = { cw_v_id(&id.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_end, params, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_forget_tokens, id_param, NULL, err);
    }
    if (rc == CW_OK) {
        rc = dynamic_client_put(db, NULL, (struct cw_patient_row){ 0 }, id, NULL, err);
    }
    if (rc == CW_OK) {
        struct connection_fact fact = {
            .kind = status == CW_CONNECTION_EXPIRED ? CW_EVENT_CONNECTION_EXPIRED : CW_EVENT_TOKEN_REFRESH_FAILED,
            .status = status,
            .failure_code = failure_code,
            .failure_us = now_us,
        };
        rc = connection_tell(m, db, id, &fact, err);
    }
    if (rc == CW_OK && status == CW_CONNECTION_REFRESH_FAILED) {
        rc = connection_trouble(db, id, now_us, err);
    }
    if (rc == CW_OK) {
        struct cw_audit_row audit = { .org = { cw_value_id(&row[1]) },
                                      .action = "connection.end",
                                      .patient = { cw_value_id(&row[2]) },
                                      .object = id.ulid,
                                      .detail = failure_code };
        rc = cw_audit_write(db, actor, &audit, err);
    }
    return rc;
}

enum cw_code connection_end(struct cw_model *m, struct cw_db *db, const struct cw_actor *actor,
                            struct cw_connection_id id, enum cw_connection_status status, const char *failure_code,
                            struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(16384);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "connection.end", "out of memory");
    }
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_lock, params, arena, &row, err);
    if (rc == CW_OK && row[0].number == CW_CONNECTION_ACTIVE) {
        rc = end_locked(m, db, actor, row, id, status, cw_failure_known(failure_code, CW_FAILS_CONNECTION), err);
    }
    cw_arena_free(arena);
    return rc;
}

struct one_time {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_connection_id id;
    uint32_t version;
    struct cw_arena *arena;
};

static enum cw_code one_time_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct one_time *end = arg;
    const struct cw_value *row;
    cw_arena_clear(end->arena);
    enum cw_code rc = grant_lock(db, end->id, end->arena, &row, err);
    bool renewable = rc == CW_OK && (row[G_REFRESH].kind != CW_V_NULL || row[G_DYNAMIC].number != 0);
    if (rc == CW_OK && ((uint32_t)row[G_VERSION].number != end->version || renewable)) {
        rc = cw_err_set(err, CW_E_STATE, "connection.end", "the patient has signed in again");
    }
    return rc == CW_OK ? connection_end(end->m, db, end->actor, end->id, CW_CONNECTION_EXPIRED, CW_FAIL_ACCESS_ENDED, err) : rc;
}

enum cw_code cw_connection_end_one_time(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                        uint32_t version, struct cw_err *err)
{
    struct one_time end = { m, actor, id, version, cw_arena_new((size_t)512 * 1024) };
    if (end.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "connection.end", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, one_time_tx, &end, err);
    cw_arena_free(end.arena);
    return rc;
}
