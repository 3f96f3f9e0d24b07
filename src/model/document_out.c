/* SPDX-License-Identifier: Apache-2.0 */
/* See document_out.h. A piece is read together with its document's hash: one that was replaced between two pieces is never mixed with its successor. */
#include "config.h"
#include "model/document_out.h"

#include "base/limits.h"
#include "model/keys.h"

#define ORDINAL_LEN 4 /* in front of each chunk, as document.c seals it */

/* The connection's source is that of any connection of the patient that reaches the same endpoint and tenant. */
#define DOCUMENT_COLUMNS                                                                                                \
    "SELECT d.id, (SELECT c.source FROM connection AS c WHERE c.patient = d.patient AND c.endpoint = d.endpoint"        \
    " AND c.tenant_context = d.tenant_context LIMIT 1), d.content_type, d.length, d.created_at, d.updated_at,"          \
    " d.content_hash, d.key_version FROM document AS d "
#define DOCUMENT_KINDS "bbbittbi"

static const struct cw_query q_list = {
    .name = "document.list",
    .sql = DOCUMENT_COLUMNS "WHERE d.patient = ? AND d.id < ? AND d.status = 2 ORDER BY d.id DESC LIMIT ?",
    .params = "bbi",
    .columns = DOCUMENT_KINDS,
};
static const struct cw_query q_open = {
    .name = "document.open",
    .sql = DOCUMENT_COLUMNS "WHERE d.id = ? AND d.patient = ? AND d.status = 2",
    .params = "bb",
    .columns = DOCUMENT_KINDS,
};
static const struct cw_query q_piece = {
    .name = "document.piece",
    .sql = "SELECT k.body_sealed, d.content_hash FROM document AS d JOIN document_chunk AS k ON k.document = d.id"
           " WHERE d.id = ? AND d.patient = ? AND k.ordinal = ?",
    .params = "bbi",
    .columns = "bb",
};

static void document_of_row(const struct cw_value *row, struct cw_document *ret)
{
    *ret = (struct cw_document){
        .id = { cw_value_id(&row[0]) },
        .content_type = row[2].bytes,
        .length = (uint64_t)row[3].number,
        .created_us = row[4].number,
        .updated_us = row[5].number,
        .key_version = (uint32_t)row[7].number,
    };
    if (row[1].kind != CW_V_NULL) {
        ret->source.ulid = cw_value_id(&row[1]);
    }
    if (row[6].bytes.len == CW_HASH_LEN) {
        memcpy(ret->content_hash, row[6].bytes.ptr, CW_HASH_LEN);
    }
}

enum cw_code cw_document_list(struct cw_model *m, struct cw_patient_row patient, struct cw_ulid after, unsigned limit,
                              struct cw_arena *arena, struct cw_document **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_ulid below = after;
    if (cw_ulid_is_zero(after)) {
        memset(below.bytes, 0xff, sizeof below.bytes);
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid), cw_v_id(&below), cw_v_int((int64_t)limit + 1) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_list, params, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_document *documents = cw_arena_array(arena, rows.count + 1, sizeof *documents);
    if (documents == NULL) {
        return cw_err_set(err, CW_E_OOM, "document.list", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        document_of_row(cw_row(&rows, i), &documents[i]);
    }
    *ret = documents;
    *ret_count = rows.count;
    return CW_OK;
}

struct opening {
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_document_id id;
    struct cw_arena *arena;
    struct cw_document document;
};

static enum cw_code open_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct opening *o = arg;
    struct cw_value params[] = { cw_v_id(&o->id.ulid), cw_v_id(&o->patient.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_open, params, o->arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    document_of_row(row, &o->document);
    struct cw_audit_row audit = { .org = o->org, .action = "documents.read", .patient = o->patient, .object = o->id.ulid };
    return cw_audit_write(db, o->actor, &audit, err);
}

enum cw_code cw_document_open(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org, struct cw_patient_row patient,
                              struct cw_document_id id, struct cw_arena *arena, struct cw_document *ret, struct cw_err *err)
{
    struct opening opening = { .actor = actor, .org = org, .patient = patient, .id = id, .arena = arena };
    enum cw_code rc = cw_tx_pool(m->pool, open_tx, &opening, err);
    if (rc == CW_OK) {
        *ret = opening.document;
    }
    return rc;
}

static enum cw_code unseal_piece(const struct cw_data_key *key, const struct cw_document *document, unsigned ordinal,
                                 struct cw_span sealed, struct cw_str *out, struct cw_err *err)
{
    const char head[ORDINAL_LEN] = { (char)(ordinal >> 24), (char)(ordinal >> 16), (char)(ordinal >> 8), (char)ordinal };
    struct cw_aad aad = { .cell = "document_chunk.body", .row = document->id.ulid };
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, CW_DOCUMENT_CHUNK + ORDINAL_LEN);
    enum cw_code rc = cw_unseal(key, aad, sealed, &plain, err);
    if (rc == CW_OK && !cw_span_starts(cw_str_span(&plain), cw_span_of(head, sizeof head))) {
        rc = cw_err_set(err, CW_E_AUTH, "document.piece", "a piece is out of place");
    }
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_str_add_span(out, cw_span_from(cw_str_span(&plain), ORDINAL_LEN));
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "document.piece", "no room for a piece");
}

enum cw_code cw_document_piece(struct cw_model *m, struct cw_patient_row patient, const struct cw_document *document,
                               unsigned ordinal, struct cw_str *out, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(4 * (size_t)CW_DOCUMENT_CHUNK);
    struct cw_db *db = NULL;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_value params[] = { cw_v_id(&document->id.ulid), cw_v_id(&patient.ulid), cw_v_int(ordinal) };
    const struct cw_value *row = NULL;
    enum cw_code rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "document.piece", "out of memory")
                                    : cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_piece, params, arena, &row, err);
        rc = rc == CW_E_NOT_FOUND ? cw_err_set(err, CW_E_AUTH, "document.piece", "a piece is missing") : rc;
    }
    if (rc == CW_OK && !cw_span_eq(row[1].bytes, cw_span_of(document->content_hash, CW_HASH_LEN))) {
        rc = cw_err_set(err, CW_E_CONFLICT, "document.piece", "the document was replaced while it was read");
    }
    if (rc == CW_OK) {
        rc = cw_patient_key(m, db, patient, document->key_version, &key, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        rc = unseal_piece(&key, document, ordinal, row[0].bytes, out, err);
    }
    cw_arena_free(arena);
    return rc;
}
