/* SPDX-License-Identifier: Apache-2.0 */
/* A connection whose patient got another id at the source. */
#include "config.h"
#include "model/connection.h"

#include "base/limits.h"
#include "model/audit.h"
#include "model/keys.h"

static const struct cw_query q_lock = {
    .name = "connection.merge_lock",
    .sql = "SELECT patient, organization, key_version FROM connection WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "bbi",
};
static const struct cw_query q_keep_old = {
    .name = "connection.merge_keep_old",
    .sql = "INSERT IGNORE INTO connection_patient (connection, upstream_hash) SELECT id, upstream_hash FROM connection WHERE id = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_merge = {
    .name = "connection.merge",
    .sql = "UPDATE IGNORE connection SET upstream_hash = ?, upstream_sealed = ? WHERE id = ?",
    .params = "bbb",
    .columns = "",
};

struct merging {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_connection_id id;
    struct cw_span upstream;
    struct cw_arena *arena;
};

/* Seals the id under the key that the row's other cells have. */
static enum cw_code put(struct merging *merging, struct cw_db *db, const struct cw_value *row, uint64_t *ret_affected,
                        struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient = { cw_value_id(&row[0]) };
    uint8_t hash[CW_HASH_LEN];
    struct cw_value sealed = cw_v_null();
    enum cw_code rc = cw_patient_key(merging->m, db, patient, (uint32_t)row[2].number, &key, err);
    if (rc == CW_OK) {
        cw_data_hash(&key, "connection.upstream", merging->upstream, hash);
        rc = cw_cell_seal(&key, CW_AAD("connection.upstream", merging->id), merging->upstream, merging->arena, &sealed, err);
    }
    if (rc == CW_OK) {
        struct cw_value old[] = { cw_v_id(&merging->id.ulid) };
        rc = cw_db_exec(db, &q_keep_old, old, NULL, err); /* what was written before the merge names the old id */
    }
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_bytes(cw_span_of(hash, CW_HASH_LEN)), sealed, cw_v_id(&merging->id.ulid) };
        rc = cw_db_exec(db, &q_merge, params, ret_affected, err);
    }
    return rc;
}

static enum cw_code merge_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct merging *merging = arg;
    struct cw_value params[] = { cw_v_id(&merging->id.ulid) };
    const struct cw_value *row;
    uint64_t affected = 0;
    cw_arena_clear(merging->arena);
    enum cw_code rc = cw_db_one(db, &q_lock, params, merging->arena, &row, err);
    if (rc == CW_OK) {
        rc = put(merging, db, row, &affected, err);
    }
    if (rc != CW_OK || affected == 0) {
        return rc;
    }
    struct cw_audit_row audit = { .org = { cw_value_id(&row[1]) },
                                  .action = "connection.patient_merged",
                                  .patient = { cw_value_id(&row[0]) },
                                  .object = merging->id.ulid };
    return cw_audit_write(db, merging->actor, &audit, err);
}

enum cw_code cw_connection_merged(struct cw_model *m, const struct cw_actor *actor, struct cw_connection_id id,
                                  struct cw_span upstream_patient, struct cw_err *err)
{
    if (upstream_patient.len == 0 || upstream_patient.len > CW_FHIR_ID_MAX) {
        return cw_err_set(err, CW_E_RANGE, "connection.merge", "the upstream patient id is empty or too long");
    }
    struct merging merging = { .m = m, .actor = actor, .id = id, .upstream = upstream_patient, .arena = cw_arena_new((size_t)64 * 1024) };
    if (merging.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "connection.merge", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, merge_tx, &merging, err);
    cw_arena_free(merging.arena);
    return rc;
}
