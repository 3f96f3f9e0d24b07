/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See disconnect.h. Locks are taken in the order of a page's commit: the job's row, then the connection's and the patient's,
 * so that a busy pull does not make the two wait for each other.
 */
#include "config.h"
#include "model/disconnect.h"

#include "base/time.h"
#include "model/audit.h"
#include "model/connection_int.h"
#include "model/failure.h"
#include "model/pull.h"
#include "model/revocation.h"
#include "os/sys.h"

#define SWEEP_US CW_SECOND_US  /* of each call; the janitor has other duties */
#define SWEEP_BATCH 200

static const struct cw_query q_of_patient = {
    .name = "disconnect.of_patient",
    .sql = "SELECT c.id FROM patient AS p JOIN connection AS c ON c.patient = p.id"
           " WHERE p.organization = ? AND p.patient_id = ? AND c.id = ?",
    .params = "bbb",
    .columns = "b",
};
static const struct cw_query q_lock = {
    .name = "disconnect.lock",
    .sql = "SELECT c.status FROM connection AS c JOIN patient AS p ON p.id = c.patient WHERE c.id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_end = {
    .name = "disconnect.end",
    .sql = "UPDATE connection SET status = 5, failure_code = NULL, failure_at = NULL, next_pull_at = NULL, updated_at = ?"
           " WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_client = {
    .name = "disconnect.client",
    .sql = "DELETE FROM dynamic_client WHERE connection = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_jobs = {
    .name = "disconnect.jobs",
    .sql = "DELETE j FROM pull AS u JOIN job AS j ON j.kind = 1 AND j.subject = u.id WHERE u.connection = ? AND u.status <= 2",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_pulls = {
    .name = "disconnect.pulls",
    .sql = "SELECT id FROM pull WHERE connection = ? AND status <= 2 ORDER BY id LIMIT 100",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_leave = {
    .name = "disconnect.leave",
    .sql = "INSERT IGNORE INTO disconnection (connection, patient, created_at) VALUES (?, ?, ?)",
    .params = "bbt",
    .columns = "",
};
static const struct cw_query q_left = {
    .name = "disconnect.left",
    .sql = "SELECT d.connection, c.status FROM disconnection AS d FORCE INDEX (PRIMARY) LEFT JOIN connection AS c ON c.id = d.connection"
           " WHERE d.connection > ? ORDER BY d.connection LIMIT 1",
    .params = "b",
    .columns = "bi",
};
static const struct cw_query q_status = {
    .name = "disconnect.status",
    .sql = "SELECT status FROM connection WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_held = {
    .name = "disconnect.held",
    .sql = "SELECT record FROM record_connection WHERE connection = ? ORDER BY record LIMIT ?",
    .params = "bi",
    .columns = "b",
};
static const struct cw_query q_let_go = {
    .name = "disconnect.let_go",
    .sql = "DELETE FROM record_connection WHERE connection = ? AND record = ?",
    .params = "bb",
    .columns = "",
};
static const struct cw_query q_orphan = {
    .name = "disconnect.orphan",
    .sql = "DELETE FROM record WHERE id = ? AND NOT EXISTS"
           " (SELECT 1 FROM record_connection AS o WHERE o.record = record.id)",
    .params = "b",
    .columns = "",
};
/* Documents belong to a place of the patient, not to a connection: they go with the last connection to that place. */
static const struct cw_query q_documents = {
    .name = "disconnect.documents",
    .sql = "SELECT d.id FROM connection AS c JOIN document AS d ON d.patient = c.patient AND d.endpoint = c.endpoint"
           " AND d.tenant_context = c.tenant_context WHERE c.id = ? AND NOT EXISTS (SELECT 1 FROM connection AS o"
           " WHERE o.patient = c.patient AND o.endpoint = c.endpoint AND o.tenant_context = c.tenant_context AND o.status <> 5)"
           " LIMIT 10",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_chunks_away = {
    .name = "disconnect.chunks_away",
    .sql = "DELETE FROM document_chunk WHERE document = ? LIMIT 50",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_document_away = {
    .name = "disconnect.document_away",
    .sql = "DELETE FROM document WHERE id = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_done = {
    .name = "disconnect.done",
    .sql = "DELETE FROM disconnection WHERE connection = ?",
    .params = "b",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- the act */

struct disconnecting {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_connection connection;
    bool repeated;
    struct cw_arena *arena;
};

enum cw_code cw_disconnect_pulls(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(16384);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "disconnect", "out of memory");
    }
    const struct cw_value params[] = { cw_v_id(&id.ulid) };
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_exec(db, &q_jobs, params, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_pulls, params, arena, &rows, err);
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        struct cw_pull_id pull = { cw_value_id(&cw_row(&rows, i)[0]) };
        rc = cw_pull_cancel_in(m, db, pull, CW_FAIL_CONNECTION_NOT_ACTIVE, err);
    }
    cw_arena_free(arena);
    return rc;
}

static enum cw_code end_locked(struct disconnecting *d, struct cw_db *db, struct cw_err *err)
{
    struct cw_connection_id id = d->connection.id;
    int64_t now_us = cw_now_us();
    const struct cw_value end[] = { cw_v_time(now_us), cw_v_id(&id.ulid) };
    const struct cw_value leave[] = { cw_v_id(&id.ulid), cw_v_id(&d->connection.patient.ulid), cw_v_time(now_us) };
    const struct connection_fact fact = { .kind = CW_EVENT_CONNECTION_DISCONNECTED, .status = CW_CONNECTION_DISCONNECTED };
    enum cw_code rc = cw_disconnect_pulls(d->m, db, id, err);
    if (rc == CW_OK) {
        rc = cw_revocation_of_grant(d->m, db, id, d->arena, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_client, leave, NULL, err); /* a client of its own, of no use without the grant */
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_end, end, NULL, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_leave, leave, NULL, err);
    }
    if (rc == CW_OK) {
        rc = connection_tell(d->m, db, id, &fact, err);
    }
    if (rc == CW_OK) {
        const struct cw_audit_row audit = { .org = d->connection.org,
                                            .action = "connection.disconnect",
                                            .patient = d->connection.patient,
                                            .object = id.ulid };
        rc = cw_audit_write(db, d->actor, &audit, err);
    }
    return rc;
}

static enum cw_code disconnect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct disconnecting *d = arg;
    cw_arena_clear(d->arena);
    const struct cw_value params[] = { cw_v_id(&d->connection.id.ulid) };
    const struct cw_value *row;
    /* The job's row before the connection's; what starts between the two is ended below. */
    enum cw_code rc = cw_db_exec(db, &q_jobs, params, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_lock, params, d->arena, &row, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    d->repeated = row[0].number == CW_CONNECTION_DISCONNECTED;
    return d->repeated ? CW_OK : end_locked(d, db, err);
}

enum cw_code cw_connection_disconnect_any(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                          struct cw_arena *arena, struct cw_disconnected *ret, struct cw_err *err)
{
    struct disconnecting d = { .m = m, .actor = actor };
    enum cw_code rc = cw_connection_get(m, id, arena, &d.connection, err);
    if (rc != CW_OK) {
        return rc;
    }
    d.arena = cw_arena_new((size_t)512 * 1024);
    if (d.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "disconnect", "out of memory");
    }
    rc = cw_tx_pool(m->pool, disconnect_tx, &d, err);
    cw_arena_free(d.arena);
    *ret = (struct cw_disconnected){ .connection = d.connection, .repeated = d.repeated };
    return rc;
}

enum cw_code cw_connection_disconnect(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                      struct cw_span patient_id, struct cw_connection_id id, struct cw_arena *arena,
                                      struct cw_disconnected *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    const struct cw_value *row;
    const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_bytes(patient_id), cw_v_id(&id.ulid) };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_of_patient, params, arena, &row, err);
    }
    cw_db_put(db);
    return rc == CW_OK ? cw_connection_disconnect_any(m, actor, id, arena, ret, err) : rc;
}

/* ---------------------------------------------------------------------------------------------- the janitor */

struct sweeping {
    struct cw_connection_id id;
    struct cw_arena *arena;
    unsigned removed;
    bool over;       /* nothing is left, or it is connected again */
};

static enum cw_code remove_records(struct sweeping *s, struct cw_db *db, const struct cw_rows *rows, struct cw_err *err)
{
    struct cw_value *pairs = cw_arena_array(s->arena, 2 * rows->count, sizeof *pairs);
    struct cw_value *records = cw_arena_array(s->arena, rows->count, sizeof *records);
    if (pairs == NULL || records == NULL) {
        return cw_err_set(err, CW_E_OOM, "disconnect", "out of memory");
    }
    for (size_t i = 0; i < rows->count; i++) {
        pairs[2 * i] = cw_v_id(&s->id.ulid);
        pairs[2 * i + 1] = records[i] = cw_row(rows, i)[0];
    }
    uint64_t removed = 0;
    enum cw_code rc = cw_db_bulk(db, &q_let_go, pairs, rows->count, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_bulk(db, &q_orphan, records, rows->count, &removed, err);
    }
    s->removed = (unsigned)removed;
    return rc;
}

/* One document and its chunks; true in *ret_any while there may be more. */
static enum cw_code remove_documents(struct sweeping *s, struct cw_db *db, bool *ret_any, struct cw_err *err)
{
    struct cw_rows rows = { .count = 0 };
    const struct cw_value id[] = { cw_v_id(&s->id.ulid) };
    enum cw_code rc = cw_db_select(db, &q_documents, id, s->arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value document[] = { cw_row(&rows, i)[0] };
        uint64_t chunks = 0;
        rc = cw_db_exec(db, &q_chunks_away, document, &chunks, err);
        if (rc == CW_OK && chunks == 0) {
            rc = cw_db_exec(db, &q_document_away, document, NULL, err);
        }
    }
    *ret_any = rows.count > 0;
    return rc;
}

static enum cw_code sweep_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct sweeping *s = arg;
    cw_arena_clear(s->arena);
    s->removed = 0;
    s->over = false;
    const struct cw_value id[] = { cw_v_id(&s->id.ulid) };
    const struct cw_value held[] = { cw_v_id(&s->id.ulid), cw_v_int(SWEEP_BATCH) };
    struct cw_rows rows = { .count = 0 }, records = { .count = 0 };
    bool any = false;
    enum cw_code rc = cw_db_select(db, &q_status, id, s->arena, &rows, err);
    bool ended = rc == CW_OK && rows.count > 0 && cw_row(&rows, 0)[0].number == CW_CONNECTION_DISCONNECTED;
    if (ended) {
        rc = cw_db_select(db, &q_held, held, s->arena, &records, err);
        if (rc == CW_OK && records.count > 0) {
            return remove_records(s, db, &records, err);
        }
        if (rc == CW_OK) {
            rc = remove_documents(s, db, &any, err);
        }
    }
    if (rc == CW_OK && !any) {
        s->over = true;
        rc = cw_db_exec(db, &q_done, id, NULL, err);
    }
    return rc;
}

static enum cw_code next_left(struct cw_model *m, struct sweeping *s, bool *ret_any, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { .count = 0 };
    const struct cw_value after[] = { cw_v_id(&s->id.ulid) };
    cw_arena_clear(s->arena);
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_left, after, s->arena, &rows, err);
    }
    cw_db_put(db);
    *ret_any = rc == CW_OK && rows.count > 0;
    if (*ret_any) {
        s->id.ulid = cw_value_id(&cw_row(&rows, 0)[0]);
    }
    return rc;
}

enum cw_code cw_disconnection_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                    struct cw_err *err)
{
    (void)actor;
    (void)limit;
    int64_t until_us = cw_monotonic_us() + SWEEP_US;
    unsigned count = 0;
    bool any = true;
    struct sweeping s = { .over = true };
    s.arena = cw_arena_new((size_t)256 * 1024);
    if (s.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "disconnect", "out of memory");
    }
    enum cw_code rc = CW_OK;
    while (rc == CW_OK && any && cw_monotonic_us() < until_us) {
        rc = s.over ? next_left(m, &s, &any, err) : CW_OK;
        if (rc == CW_OK && any) {
            rc = cw_tx_pool(m->pool, sweep_tx, &s, err);
            count += rc == CW_OK ? s.removed : 0;
        }
    }
    cw_arena_free(s.arena);
    *ret_count = count;
    return rc;
}
