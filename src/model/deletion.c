/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See deletion.h. What would work on for the patient is ended inside the transaction: jobs (a page in flight cannot commit), grants,
 * open Sessions and attempts under way. What is left is ciphertext without a key, and is deletion_purge.c's.
 */
#include "config.h"
#include "model/deletion.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/revocation.h"
#include "os/sys.h"

#define GRANTS_MAX 500

static const struct cw_query q_find = {
    .name = "deletion.find",
    .sql = "SELECT id FROM patient WHERE organization = ? AND patient_id = ?",
    .params = "bb",
    .columns = "b",
};
static const struct cw_query q_repeated = {
    .name = "deletion.repeated",
    .sql = "SELECT patient, deleted_at, final_at FROM tombstone WHERE organization = ? AND patient_id_hash = ?"
           " ORDER BY deleted_at DESC LIMIT 1",
    .params = "bb",
    .columns = "btt",
};
static const struct cw_query q_jobs = {
    .name = "deletion.jobs",
    .sql = "DELETE j FROM pull AS u JOIN job AS j ON j.kind = 1 AND j.subject = u.id WHERE u.patient = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_lock = {
    .name = "deletion.lock",
    .sql = "SELECT organization, patient_id FROM patient WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "bb",
};
static const struct cw_query q_grants = {
    .name = "deletion.grants",
    .sql = "SELECT c.id FROM connection AS c JOIN token_grant AS g ON g.connection = c.id WHERE c.patient = ?"
           " ORDER BY c.id LIMIT 500",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_connections = {
    .name = "deletion.connections",
    .sql = "UPDATE connection SET status = 5, next_pull_at = NULL, updated_at = ? WHERE patient = ? AND status <> 5",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_attempts = {
    .name = "deletion.attempts",
    .sql = "DELETE FROM attempt WHERE patient = ? AND status <= 2",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_sessions = {
    .name = "deletion.sessions",
    .sql = "DELETE FROM patient_session WHERE patient = ? AND status = 1",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_tombstone = {
    .name = "deletion.tombstone",
    .sql = "INSERT INTO tombstone (patient, organization, deleted_at, final_at, patient_id_hash, journaled_at)"
           " VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE purged_at = NULL",
    .params = "bbttbt",
    .columns = "",
};
static const struct cw_query q_key = {
    .name = "deletion.key",
    .sql = "DELETE FROM patient_key WHERE patient = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_patient = {
    .name = "deletion.patient",
    .sql = "DELETE FROM patient WHERE id = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_keys_left = {
    .name = "deletion.keys_left.walk",
    .sql = "DELETE k FROM tombstone AS t JOIN patient_key AS k ON k.patient = t.patient",
    .params = "",
    .columns = "",
};

struct deleting {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_span patient_id;            /* absent: by the tombstone's row */
    struct cw_tombstone tombstone;
    bool repeated, was_back, restored;
    struct cw_arena *arena;
};

/* Keyed, so that the table does not say who was here. */
static enum cw_code hash_id(struct cw_model *m, struct cw_org_id org, struct cw_span patient_id, uint8_t out[CW_HASH_LEN],
                            struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 1024);
    (void)cw_str_add_cstr(&text, "tombstone");
    (void)cw_str_add(&text, org.ulid.bytes, sizeof org.ulid.bytes);
    (void)cw_str_add_span(&text, patient_id);
    if (cw_str_code(&text) != CW_OK) {
        return cw_err_set(err, cw_str_code(&text), "deletion", "the id cannot be hashed");
    }
    cw_vault_hmac(m->vault, CW_PURPOSE_SEARCH, cw_str_span(&text), out);
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- the transaction */

static enum cw_code give_tokens_back(struct deleting *d, struct cw_db *db, struct cw_err *err)
{
    struct cw_rows rows = { .count = 0 };
    const struct cw_value patient[] = { cw_v_id(&d->tombstone.patient.ulid) };
    enum cw_code rc = cw_db_select(db, &q_grants, patient, d->arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        struct cw_connection_id id = { cw_value_id(&cw_row(&rows, i)[0]) };
        rc = cw_revocation_of_grant(d->m, db, id, d->arena, err);
    }
    return rc;
}

static enum cw_code end_work(struct deleting *d, struct cw_db *db, struct cw_err *err)
{
    static const struct cw_query *const steps[] = { &q_jobs, &q_attempts, &q_sessions };
    const struct cw_value patient[] = { cw_v_id(&d->tombstone.patient.ulid) };
    const struct cw_value connections[] = { cw_v_time(cw_now_us()), patient[0] };
    enum cw_code rc = give_tokens_back(d, db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_connections, connections, NULL, err);
    }
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(steps); i++) {
        rc = cw_db_exec(db, steps[i], patient, NULL, err);
    }
    return rc;
}

static enum cw_code write_tombstone(struct deleting *d, struct cw_db *db, struct cw_span patient_id, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    const struct cw_tombstone *t = &d->tombstone;
    enum cw_code rc = hash_id(d->m, d->org, patient_id, hash, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value row[] = {
        cw_v_id(&t->patient.ulid), cw_v_id(&t->org.ulid),
        cw_v_time(t->deleted_us),  cw_v_time(t->final_us),
        cw_v_bytes(cw_span_of(hash, sizeof hash)),
        d->restored ? cw_v_time(cw_now_us()) : cw_v_null(), /* it came from a journal */
    };
    return cw_db_exec(db, &q_tombstone, row, NULL, err);
}

/* The contract's tombstone, and when it is final. Under the organization's key: the patient's ends here. */
static enum cw_code tell(struct deleting *d, struct cw_db *db, struct cw_span patient_id, struct cw_err *err)
{
    CW_AUTO_STR payload;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    cw_str_init(&payload, 4096);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &payload);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "id", patient_id);
    cw_jsonw_key_cstr(&w, "resource_type", "patient");
    cw_jsonw_key_bool(&w, "deleted", true);
    cw_jsonw_key_time(&w, "deleted_at", d->tombstone.deleted_us);
    cw_jsonw_key_time(&w, "final_at", d->tombstone.final_us);
    cw_jsonw_close_object(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "deletion", "the event could not be written");
    }
    rc = cw_org_key_current(d->m, db, d->org, &key, err);
    if (rc == CW_OK) {
        rc = cw_event_write_org(db, d->org, &key, CW_EVENT_PATIENT_DELETED, d->tombstone.patient.ulid,
                                cw_str_span(&payload), err);
    }
    if (rc == CW_OK) {
        const struct cw_audit_row audit = { .org = d->org, .action = "patient.delete", .patient = d->tombstone.patient };
        rc = cw_audit_write(db, d->actor, &audit, err);
    }
    return rc;
}

/* With the patient's row locked. */
static enum cw_code delete_locked(struct deleting *d, struct cw_db *db, struct cw_span patient_id, struct cw_err *err)
{
    const struct cw_value patient[] = { cw_v_id(&d->tombstone.patient.ulid) };
    d->tombstone.org = d->org;
    if (!d->restored) {
        int64_t days = cw_config_int(d->m->config, CW_CONF_KEY_BACKUP_DAYS);
        d->tombstone.deleted_us = cw_now_us() / 1000 * 1000;
        d->tombstone.final_us = d->tombstone.deleted_us + days * CW_DAY_US;
    }
    enum cw_code rc = end_work(d, db, err);
    if (rc == CW_OK) {
        rc = write_tombstone(d, db, patient_id, err);
    }
    if (rc == CW_OK) {
        rc = tell(d, db, patient_id, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_key, patient, NULL, err);
    }
    return rc == CW_OK ? cw_db_exec(db, &q_patient, patient, NULL, err) : rc;
}

/* Jobs first: a page's commit takes the job's row before the patient's, and so do we. */
static enum cw_code delete_row(struct deleting *d, struct cw_db *db, struct cw_err *err)
{
    const struct cw_value patient[] = { cw_v_id(&d->tombstone.patient.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_exec(db, &q_jobs, patient, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_lock, patient, d->arena, &row, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    d->org.ulid = cw_value_id(&row[0]);
    return delete_locked(d, db, row[1].bytes, err);
}

static enum cw_code look_for_tombstone(struct deleting *d, struct cw_db *db, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    const struct cw_value *row;
    enum cw_code rc = hash_id(d->m, d->org, d->patient_id, hash, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value params[] = { cw_v_id(&d->org.ulid), cw_v_bytes(cw_span_of(hash, sizeof hash)) };
    rc = cw_db_one(db, &q_repeated, params, d->arena, &row, err);
    if (rc == CW_OK) {
        d->repeated = true;
        d->tombstone = (struct cw_tombstone){ .patient = { cw_value_id(&row[0]) }, .org = d->org,
                                              .deleted_us = row[1].number, .final_us = row[2].number };
    }
    return rc;
}

static enum cw_code delete_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct deleting *d = arg;
    cw_arena_clear(d->arena);
    d->repeated = false;
    const struct cw_value params[] = { cw_v_id(&d->org.ulid), cw_v_bytes(d->patient_id) };
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_select(db, &q_find, params, d->arena, &rows, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (rows.count == 0) {
        return look_for_tombstone(d, db, err);
    }
    d->tombstone.patient.ulid = cw_value_id(&cw_row(&rows, 0)[0]);
    rc = delete_row(d, db, err);
    return rc == CW_E_NOT_FOUND ? look_for_tombstone(d, db, err) : rc; /* another call was faster */
}

enum cw_code cw_patient_delete(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               struct cw_span patient_id, struct cw_deletion *ret, struct cw_err *err)
{
    struct deleting d = { .m = m, .actor = actor, .org = org, .patient_id = patient_id };
    unsigned journaled = 0;
    d.arena = cw_arena_new((size_t)64 * 1024 * 1024);
    if (d.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "deletion", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, delete_tx, &d, err);
    cw_arena_free(d.arena);
    if (rc != CW_OK) {
        return rc;
    }
    *ret = (struct cw_deletion){ .tombstone = d.tombstone, .repeated = d.repeated };
    ret->journaled = cw_tombstone_journal(m, GRANTS_MAX, &journaled, err) == CW_OK;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- after a restore */

static enum cw_code again_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct deleting *d = arg;
    cw_arena_clear(d->arena);
    const struct cw_value patient[] = { cw_v_id(&d->tombstone.patient.ulid) };
    const struct cw_value row[] = { patient[0], cw_v_id(&d->tombstone.org.ulid), cw_v_time(d->tombstone.deleted_us),
                                    cw_v_time(d->tombstone.final_us), cw_v_null(), cw_v_time(cw_now_us()) };
    uint64_t keys = 0;
    enum cw_code rc = delete_row(d, db, err);
    d->was_back = rc == CW_OK;
    if (rc == CW_E_NOT_FOUND) {
        /* Not restored, or only its key: the tombstone is restored, so that its rows are looked for. */
        rc = cw_db_exec(db, &q_tombstone, row, NULL, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_key, patient, &keys, err);
        d->was_back |= keys > 0;
    }
    return rc;
}

enum cw_code cw_patient_delete_again(struct cw_model *m, const struct cw_actor *actor, const struct cw_tombstone *tombstone,
                                     bool *ret_was_back, struct cw_err *err)
{
    struct deleting d = { .m = m, .actor = actor, .org = tombstone->org, .tombstone = *tombstone, .restored = true };
    d.arena = cw_arena_new((size_t)64 * 1024 * 1024);
    if (d.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "deletion", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, again_tx, &d, err);
    cw_arena_free(d.arena);
    if (rc == CW_OK) {
        *ret_was_back = d.was_back;
    }
    return rc;
}

enum cw_code cw_deleted_keys_destroy(struct cw_model *m, unsigned *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    uint64_t affected = 0;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_keys_left, NULL, &affected, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret_count = (unsigned)affected;
    }
    return rc;
}
