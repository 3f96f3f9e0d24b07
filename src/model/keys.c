/* SPDX-License-Identifier: Apache-2.0 */
/* Data keys in the database are wrapped; this file is where a wrapped key meets the vault. */
#include "config.h"

#include "model/keys.h"

#include "os/sys.h"

#define KEY_ARENA_MAX 4096u

static const struct cw_query q_org_current = {
    .name = "keys.org_current",
    .sql = "SELECT version, wrapped, master_key_id FROM data_key WHERE owner = ? ORDER BY version DESC LIMIT 1",
    .params = "b",
    .columns = "ibb",
};
static const struct cw_query q_org_version = {
    .name = "keys.org_version",
    .sql = "SELECT version, wrapped, master_key_id FROM data_key WHERE owner = ? AND version = ?",
    .params = "bi",
    .columns = "ibb",
};
static const struct cw_query q_org_insert = {
    .name = "keys.org_insert",
    .sql = "INSERT INTO data_key (owner, version, wrapped, master_key_id, created_at) VALUES (?, ?, ?, ?, ?)",
    .params = "bibbt",
    .columns = "",
};
static const struct cw_query q_patient_current = {
    .name = "keys.patient_current",
    .sql = "SELECT version, wrapped, master_key_id FROM patient_key WHERE patient = ? ORDER BY version DESC LIMIT 1",
    .params = "b",
    .columns = "ibb",
};
static const struct cw_query q_patient_version = {
    .name = "keys.patient_version",
    .sql = "SELECT version, wrapped, master_key_id FROM patient_key WHERE patient = ? AND version = ?",
    .params = "bi",
    .columns = "ibb",
};
static const struct cw_query q_patient_insert = {
    .name = "keys.patient_insert",
    .sql = "INSERT INTO patient_key (patient, version, wrapped, master_key_id, created_at) VALUES (?, ?, ?, ?, ?)",
    .params = "bibbt",
    .columns = "",
};

struct cw_org_id cw_installation(void)
{
    return (struct cw_org_id){ { { 0 } } };
}

enum cw_code cw_key_open(struct cw_model *m, struct cw_ulid owner, const struct cw_value cells[3],
                         struct cw_data_key *ret, struct cw_err *err)
{
    struct cw_wrapped_key wrapped = { .version = (uint32_t)cells[0].number };
    struct cw_span bytes = cells[1].bytes;
    struct cw_span master = cells[2].bytes;
    if (bytes.len != sizeof wrapped.bytes || master.len >= sizeof wrapped.master_key_id) {
        return cw_err_set(err, CW_E_AUTH, "keys", "a wrapped key of the wrong size");
    }
    memcpy(wrapped.bytes, bytes.ptr, bytes.len);
    memcpy(wrapped.master_key_id, master.ptr, master.len);
    return cw_vault_unwrap(m->vault, owner, &wrapped, ret, err);
}

/* One key by a query that gives its three cells. */
static enum cw_code load(struct cw_model *m, struct cw_db *db, const struct cw_query *query,
                         const struct cw_value *params, struct cw_ulid owner, struct cw_data_key *ret, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(KEY_ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "keys", "no memory");
    }
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, query, params, arena, &row, err);
    if (rc == CW_OK) {
        rc = cw_key_open(m, owner, row, ret, err);
    }
    cw_arena_free(arena);
    return rc;
}

/* Makes and stores a key. CW_E_CONFLICT when somebody else just made this version. */
static enum cw_code make(struct cw_model *m, struct cw_db *db, const struct cw_query *insert, struct cw_ulid owner,
                         uint32_t version, struct cw_data_key *ret, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_wrapped_key wrapped;
    enum cw_code rc = cw_vault_new_key(m->vault, owner, version, &key, &wrapped, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value row[] = { cw_v_id(&owner), cw_v_int(version),
                                    cw_v_bytes(cw_span_of(wrapped.bytes, sizeof wrapped.bytes)),
                                    cw_v_bytes(cw_span_cstr(wrapped.master_key_id)), cw_v_time(cw_now_us()) };
    rc = cw_db_exec(db, insert, row, NULL, err);
    if (rc == CW_OK) {
        *ret = key;
    }
    return rc;
}

enum cw_code cw_org_key_current(struct cw_model *m, struct cw_db *db, struct cw_org_id org, struct cw_data_key *ret,
                                struct cw_err *err)
{
    const struct cw_value owner[] = { cw_v_id(&org.ulid) };
    enum cw_code rc = load(m, db, &q_org_current, owner, org.ulid, ret, err);
    if (rc != CW_E_NOT_FOUND) {
        return rc;
    }
    rc = make(m, db, &q_org_insert, org.ulid, 1, ret, err);
    /* Another node was first; its row is committed, since our INSERT waited for it. */
    return rc == CW_E_CONFLICT ? load(m, db, &q_org_current, owner, org.ulid, ret, err) : rc;
}

enum cw_code cw_org_key_version(struct cw_model *m, struct cw_db *db, struct cw_org_id org, uint32_t version,
                                struct cw_data_key *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_int(version) };
    return load(m, db, &q_org_version, params, org.ulid, ret, err);
}

enum cw_code cw_patient_key(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient, uint32_t version,
                            struct cw_data_key *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&patient.ulid), cw_v_int(version) };
    return load(m, db, version == 0 ? &q_patient_current : &q_patient_version, params, patient.ulid, ret, err);
}

enum cw_code cw_patient_key_make(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient,
                                 struct cw_data_key *ret, struct cw_err *err)
{
    return make(m, db, &q_patient_insert, patient.ulid, 1, ret, err);
}

enum cw_code cw_cell_unseal(const struct cw_data_key *key, struct cw_aad aad, const struct cw_value *cell,
                            struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
{
    if (cell->kind == CW_V_NULL) {
        *ret = cw_span_of(NULL, 0);
        return CW_OK;
    }
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, cell->bytes.len);
    enum cw_code rc = cw_unseal(key, aad, cell->bytes, &plain, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span kept = cw_arena_span(arena, cw_str_span(&plain));
    if (kept.ptr == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "keys", "the arena is full");
    }
    *ret = kept;
    return CW_OK;
}

enum cw_code cw_cell_seal(const struct cw_data_key *key, struct cw_aad aad, struct cw_span plain, struct cw_arena *arena,
                          struct cw_value *ret, struct cw_err *err)
{
    if (plain.ptr == NULL) {
        *ret = cw_v_null();
        return CW_OK;
    }
    CW_AUTO_STR sealed;
    cw_str_init(&sealed, plain.len + CW_SEAL_OVERHEAD);
    enum cw_code rc = cw_seal(key, aad, plain, &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span kept = cw_arena_span(arena, cw_str_span(&sealed));
    if (kept.ptr == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "keys", "the arena is full");
    }
    *ret = cw_v_bytes(kept);
    return CW_OK;
}
