/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of deleted patients: ciphertext whose key is gone. They leave table by table, children before what names them, a
 * couple of hundred a transaction; a run that is cut off leaves nothing but more to do. Events keep their row, since their
 * numbers have no gaps, and lose what they say; audit rows stay (ids and acts, for who must answer for them).
 */
#include "config.h"
#include "model/deletion.h"

#include <stdatomic.h>

#include "base/time.h"
#include "os/sys.h"

#define SWEEP_US CW_SECOND_US
#define FINAL_EVERY_US CW_HOUR_US /* it looks at all that is final */

/* Rows that name the patient themselves, and rows that are found by what names them: one parent that has any, then some of its rows. */
struct step {
    struct cw_query parent; /* no name: none */
    struct cw_query remove;
};
#define REMOVE(name_, sql_) { .name = "deletion.purge_" name_, .sql = sql_, .params = "b", .columns = "" }
#define PARENT(name_, sql_) { .name = "deletion.parent_" name_, .sql = sql_ " WHERE p.patient = ? LIMIT 1", .params = "b", .columns = "b" }
#define OWN(name_, sql_) { .remove = REMOVE(name_, sql_) }
#define OF(name_, parent_, sql_) { .parent = PARENT(name_, parent_), .remove = REMOVE(name_, sql_) }

/* In order; each is repeated until it finds nothing. */
static const struct step steps[] = {
    OF("links", "SELECT c.connection FROM connection AS p JOIN record_connection AS c ON c.connection = p.id",
       "DELETE FROM record_connection WHERE connection = ? LIMIT 500"),
    OWN("records", "DELETE FROM record WHERE patient = ? LIMIT 200"),
    OF("chunks", "SELECT c.document FROM document AS p JOIN document_chunk AS c ON c.document = p.id",
       "DELETE FROM document_chunk WHERE document = ? LIMIT 20"),
    OWN("documents", "DELETE FROM document WHERE patient = ? LIMIT 200"),
    OF("pages", "SELECT c.task FROM pull AS p JOIN pull_task AS t ON t.pull = p.id JOIN pull_page AS c ON c.task = t.id",
       "DELETE FROM pull_page WHERE task = ? LIMIT 500"),
    OF("skips", "SELECT c.pull FROM pull AS p JOIN pull_skip AS c ON c.pull = p.id",
       "DELETE FROM pull_skip WHERE pull = ? LIMIT 200"),
    OF("tasks", "SELECT c.pull FROM pull AS p JOIN pull_task AS c ON c.pull = p.id",
       "DELETE FROM pull_task WHERE pull = ? LIMIT 200"),
    OF("seen", "SELECT c.pull FROM pull AS p JOIN pull_seen AS c ON c.pull = p.id", "DELETE FROM pull_seen WHERE pull = ? LIMIT 200"),
    OF("candidates", "SELECT c.pull FROM pull AS p JOIN pull_candidate AS c ON c.pull = p.id",
       "DELETE FROM pull_candidate WHERE pull = ? LIMIT 500"),
    OWN("pulls", "DELETE FROM pull WHERE patient = ? LIMIT 200"),
    OWN("clients", "DELETE FROM dynamic_client WHERE patient = ? LIMIT 200"),
    OWN("exchanges", "DELETE FROM exchange WHERE patient = ? LIMIT 200"),
    OWN("receipts", "DELETE FROM consent_receipt WHERE patient = ? LIMIT 200"),
    OWN("attempts", "DELETE FROM attempt WHERE patient = ? LIMIT 200"),
    OWN("sessions", "DELETE FROM patient_session WHERE patient = ? LIMIT 200"),
    OF("watermarks", "SELECT c.connection FROM connection AS p JOIN pull_watermark AS c ON c.connection = p.id",
       "DELETE FROM pull_watermark WHERE connection = ? LIMIT 200"),
    OF("grants", "SELECT c.connection FROM connection AS p JOIN token_grant AS c ON c.connection = p.id",
       "DELETE FROM token_grant WHERE connection = ?"),
    OF("merged", "SELECT c.connection FROM connection AS p JOIN connection_patient AS c ON c.connection = p.id",
       "DELETE FROM connection_patient WHERE connection = ? LIMIT 200"),
    OWN("disconnections", "DELETE FROM disconnection WHERE patient = ? LIMIT 200"),
    OWN("connections", "DELETE FROM connection WHERE patient = ? LIMIT 200"),
    OWN("events", "UPDATE event SET payload_sealed = NULL, key_version = 0 WHERE patient = ? AND payload_sealed IS NOT NULL"
                  " LIMIT 200"),
    OWN("patients", "DELETE FROM patient WHERE id = ?"),
};

static const struct cw_query q_waiting = {
    .name = "deletion.waiting",
    .sql = "SELECT patient FROM tombstone WHERE purged_at IS NULL ORDER BY deleted_at LIMIT 1",
    .params = "",
    .columns = "b",
};
static const struct cw_query q_purged = {
    .name = "deletion.purged",
    .sql = "UPDATE tombstone SET purged_at = ? WHERE patient = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_final = {
    .name = "deletion.final",
    .sql = "UPDATE tombstone SET patient_id_hash = NULL WHERE final_at <= ? AND patient_id_hash IS NOT NULL LIMIT ?",
    .params = "ti",
    .columns = "",
};

static _Atomic int64_t final_looked_us;

struct purge {
    struct cw_ulid patient;
    size_t step;
    uint64_t removed;
};

static enum cw_code step_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct purge *p = arg;
    const struct step *step = &steps[p->step];
    struct cw_ulid of = p->patient;
    const struct cw_value params[] = { cw_v_id(&of) };
    struct cw_rows rows = { .count = 1 };
    enum cw_code rc = CW_OK;
    p->removed = 0;
    if (step->parent.name != NULL) {
        struct cw_arena *arena = cw_arena_new(4096);
        if (arena == NULL) {
            return cw_err_set(err, CW_E_OOM, "deletion", "out of memory");
        }
        rc = cw_db_select(db, &step->parent, params, arena, &rows, err);
        if (rc == CW_OK && rows.count > 0) {
            of = cw_value_id(&cw_row(&rows, 0)[0]);
        }
        cw_arena_free(arena);
    }
    return rc == CW_OK && rows.count > 0 ? cw_db_exec(db, &step->remove, params, &p->removed, err) : rc;
}

/* One patient, as far as the time allows; true in *ret_done when nothing is left. */
static enum cw_code purge_patient(struct cw_model *m, struct purge *p, int64_t until_us, bool *ret_done, unsigned *count,
                                  struct cw_err *err)
{
    *ret_done = false;
    for (p->step = 0; p->step < CW_ARRAY_LEN(steps);) {
        enum cw_code rc = cw_tx_pool(m->pool, step_tx, p, err);
        if (rc != CW_OK) {
            return rc;
        }
        *count += (unsigned)p->removed;
        p->step += p->removed == 0;
        if (cw_monotonic_us() >= until_us) {
            return CW_OK;
        }
    }
    *ret_done = true;
    return CW_OK;
}

static enum cw_code run(struct cw_model *m, const struct cw_query *query, const struct cw_value *params, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, query, params, NULL, err);
    }
    cw_db_put(db);
    return rc;
}

static enum cw_code next_waiting(struct cw_model *m, struct cw_arena *arena, struct cw_rows *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    cw_arena_clear(arena);
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_waiting, NULL, arena, ret, err);
    }
    cw_db_put(db);
    return rc;
}

static enum cw_code purge(struct cw_model *m, struct cw_arena *arena, unsigned *count, struct cw_err *err)
{
    int64_t until_us = cw_monotonic_us() + SWEEP_US;
    while (cw_monotonic_us() < until_us) {
        struct cw_rows rows = { .count = 0 };
        enum cw_code rc = next_waiting(m, arena, &rows, err);
        if (rc != CW_OK || rows.count == 0) {
            return rc;
        }
        struct purge p = { .patient = cw_value_id(&cw_row(&rows, 0)[0]) };
        bool done = false;
        rc = purge_patient(m, &p, until_us, &done, count, err);
        if (rc == CW_OK && done) {
            const struct cw_value params[] = { cw_v_time(cw_now_us()), cw_v_id(&p.patient) };
            rc = run(m, &q_purged, params, err);
        }
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

enum cw_code cw_deletion_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                               struct cw_err *err)
{
    (void)actor;
    unsigned journaled = 0, count = 0;
    const struct cw_value final[] = { cw_v_time(cw_now_us()), cw_v_int(limit) };
    struct cw_arena *arena = cw_arena_new(16384);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "deletion", "out of memory");
    }
    enum cw_code rc = purge(m, arena, &count, err);
    if (rc == CW_OK && (atomic_load(&final_looked_us) == 0 || cw_monotonic_us() - atomic_load(&final_looked_us) > FINAL_EVERY_US)) {
        atomic_store(&final_looked_us, cw_monotonic_us());
        rc = run(m, &q_final, final, err);
    }
    if (rc == CW_OK) {
        rc = cw_tombstone_journal(m, limit, &journaled, err); /* last: a full disk must not keep the rows */
    }
    cw_arena_free(arena);
    *ret_count = count;
    return rc;
}
