/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing records; reading them is record_read.c. A batch is one page: its resources are hashed outside the transaction; inside it, one
 * SELECT per 50 ids finds what is there, and only what is new or changed is compressed, sealed and written, in bulk.
 */
#include "config.h"
#include "model/record.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/codec.h"
#include "model/keys.h"
#include "model/vanish.h"
#include "os/sys.h"

#define FIND_MAX 50 /* ids in one look-up; matches the number of ? in q_record_find */

static const struct cw_query q_counter_lock = {
    .name = "record.counter_lock",
    .sql = "SELECT change_seq FROM patient WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_counter_set = {
    .name = "record.counter_set",
    .sql = "UPDATE patient SET change_seq = ? WHERE id = ?",
    .params = "ib",
    .columns = "",
};
static const struct cw_query q_record_find = {
    .name = "record.find",
    .sql = "SELECT r.upstream_id, r.id, r.content_hash, r.key_version, c.connection, r.upstream_updated_at, r.stored_at,"
           " r.vanished_at FROM record r"
           " LEFT JOIN record_connection c ON c.connection = ? AND c.record = r.id"
           " WHERE r.patient = ? AND r.endpoint = ? AND r.tenant_context = ? AND r.resource_type = ? AND r.upstream_id IN ("
           "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
           "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) LIMIT 50",
    .params = "bbbbb" "bbbbbbbbbbbbbbbbbbbbbbbbb" "bbbbbbbbbbbbbbbbbbbbbbbbb",
    .columns = "bbbibttt",
};
static const struct cw_query q_record_insert = {
    .name = "record.insert",
    .sql = "INSERT INTO record (id, patient, endpoint, tenant_context, source, resource_type, upstream_id, change_seq,"
           " content_hash, body_sealed, body_length, dictionary, key_version, upstream_updated_at, created_at, stored_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbibbiiittt",
    .columns = "",
};
static const struct cw_query q_record_update = {
    .name = "record.update",
    .sql = "UPDATE record SET change_seq = ?, content_hash = ?, body_sealed = ?, body_length = ?, dictionary = ?,"
           " key_version = ?, upstream_updated_at = ?, stored_at = ?, vanished_at = NULL WHERE id = ?",
    .params = "ibbiiittb",
    .columns = "",
};
static const struct cw_query q_record_return = {
    .name = "record.return",
    .sql = "UPDATE record SET change_seq = ?, stored_at = ?, vanished_at = NULL WHERE id = ?",
    .params = "itb",
    .columns = "",
};
static const struct cw_query q_record_link = {
    .name = "record.link",
    .sql = "INSERT IGNORE INTO record_connection (connection, record, first_pull) VALUES (?, ?, ?)",
    .params = "bbb",
    .columns = "",
};
static const struct cw_query q_record_checked = {
    .name = "record.checked",
    .sql = "UPDATE record_connection SET checked_at = ? WHERE connection = ? AND record = ?",
    .params = "tbb",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- the batch */

struct item {
    struct cw_record_in in;
    uint8_t hash[CW_HASH_LEN];
    struct cw_ulid id;          /* of the known record, or fresh */
    bool known, changed, linked, looked;
    bool returned;              /* unchanged, but it had vanished */
    struct cw_str sealed;       /* only where new or changed */
    unsigned dictionary;
};

struct cw_record_batch {
    struct cw_record_target target;
    struct cw_data_key key;
    struct item *items;
    size_t count, capacity;
};

enum cw_code cw_record_batch_new(const struct cw_record_target *target, const struct cw_data_key *key,
                                 struct cw_record_batch **ret, struct cw_err *err)
{
    struct cw_record_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return cw_err_set(err, CW_E_OOM, "record.batch", "out of memory");
    }
    batch->target = *target;
    batch->key = *key;
    *ret = batch;
    return CW_OK;
}

void cw_record_batch_free(struct cw_record_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        cw_str_release(&batch->items[i].sealed);
    }
    free(batch->items);
    cw_data_key_wipe(&batch->key);
    free(batch);
}

bool cw_record_batch_unchanged(const struct cw_record_batch *batch, struct cw_span type, struct cw_span id)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        if (cw_span_eq(item->in.upstream_id, id) && cw_span_eq(item->in.type, type)) {
            return item->known && !item->changed;
        }
    }
    return false;
}

unsigned cw_record_batch_created(const struct cw_record_batch *batch)
{
    unsigned created = 0;
    for (size_t i = 0; i < batch->count; i++) {
        created += !batch->items[i].known;
    }
    return created;
}

size_t cw_record_batch_count(const struct cw_record_batch *batch)
{
    return batch->count;
}

/* The content hash: SHA-256 over the pieces, then the keyed hash, so that the table is no guessing oracle. */
static bool content_hash(const struct cw_data_key *key, const struct cw_span *pieces, size_t count,
                         uint8_t out[CW_HASH_LEN])
{
    uint8_t digest[CW_HASH_LEN];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < count; i++) {
        ok = EVP_DigestUpdate(context, pieces[i].ptr, pieces[i].len) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (ok) {
        cw_data_hash(key, "record.content", cw_span_of(digest, sizeof digest), out);
    }
    return ok;
}

enum cw_code cw_record_hash_id(const struct cw_data_key *key, const struct cw_span *stable, size_t count,
                               char ret[CW_RECORD_HASH_ID_MAX], struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR text;
    cw_str_init(&text, CW_RECORD_HASH_ID_MAX);
    cw_str_add_cstr(&text, "hash-");
    if (!content_hash(key, stable, count, hash) || cw_hex_encode(cw_span_of(hash, 16), &text) != CW_OK) {
        return cw_err_set(err, CW_E_OOM, "record.hash_id", "the hash could not be made");
    }
    memcpy(ret, cw_str_cstr(&text), text.len + 1);
    return CW_OK;
}

static bool same_resource(const struct item *item, const struct cw_record_in *record)
{
    return cw_span_eq(item->in.upstream_id, record->upstream_id) && cw_span_eq(item->in.type, record->type);
}

enum cw_code cw_record_batch_add(struct cw_record_batch *batch, const struct cw_record_in *record,
                                 const struct cw_span *volatile_free, size_t span_count, struct cw_err *err)
{
    if (record->type.len == 0 || record->type.len > CW_FHIR_TYPE_MAX || record->upstream_id.len == 0 ||
        record->upstream_id.len > CW_FHIR_ID_MAX) {
        return cw_err_set(err, CW_E_RANGE, "record.add", "a resource's type or id is empty or too long");
    }
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        struct item *items = reallocarray(batch->items, capacity, sizeof *items);
        if (items == NULL) {
            return cw_err_set(err, CW_E_OOM, "record.add", "out of memory");
        }
        batch->items = items;
        batch->capacity = capacity;
    }
    struct item fresh = { .in = *record };
    if (!content_hash(&batch->key, volatile_free, span_count, fresh.hash)) {
        return cw_err_set(err, CW_E_OOM, "record.add", "the hash could not be made");
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct item *old = &batch->items[i];
        if (!same_resource(old, record)) {
            continue;
        }
        if (record->upstream_updated_us >= old->in.upstream_updated_us) {
            old->in = *record;
            memcpy(old->hash, fresh.hash, sizeof fresh.hash);
        }
        return CW_OK;
    }
    batch->items[batch->count++] = fresh;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- storing */

struct store {
    struct cw_db *db;
    struct cw_record_batch *batch;
    struct cw_arena *arena;
    struct cw_err *err;
    uint64_t seq;
    int64_t now_us;
};

/* The row is a newer version that this very pull has brought. Columns hold milliseconds. */
static bool comes_late(const struct store *store, const struct item *item, const struct cw_value *row)
{
    int64_t since_us = store->batch->target.since_us;
    int64_t updated_us = item->in.upstream_updated_us / 1000 * 1000;
    return since_us != 0 && updated_us != 0 && row[5].kind != CW_V_NULL && row[6].kind != CW_V_NULL &&
           row[6].number >= since_us / 1000 * 1000 && updated_us < row[5].number;
}

static void match_row(struct store *store, struct cw_span type, const struct cw_value *row)
{
    for (size_t i = 0; i < store->batch->count; i++) {
        struct item *item = &store->batch->items[i];
        if (!cw_span_eq(item->in.type, type) || !cw_span_eq(item->in.upstream_id, row[0].bytes)) {
            continue;
        }
        item->known = true;
        item->id = cw_value_id(&row[1]);
        item->changed = row[2].bytes.len != CW_HASH_LEN || memcmp(row[2].bytes.ptr, item->hash, CW_HASH_LEN) != 0;
        item->changed = item->changed && !comes_late(store, item, row);
        item->linked = row[4].kind != CW_V_NULL;
        item->returned = !item->changed && row[7].kind != CW_V_NULL;
        return;
    }
}

/* Looks up to FIND_MAX items of the type at `from`. Items of other types are left for their turn (`looked` marks who had it). */
static enum cw_code find_some(struct store *store, size_t from)
{
    const struct cw_record_target *target = &store->batch->target;
    struct cw_span type = store->batch->items[from].in.type;
    struct cw_value params[5 + FIND_MAX] = {
        cw_v_id(&target->connection.ulid), cw_v_id(&target->patient.ulid), cw_v_id(&target->endpoint.ulid),
        cw_v_bytes(target->tenant_context.ptr == NULL ? CW_SPAN("") : target->tenant_context), cw_v_bytes(type),
    };
    size_t taken = 0;
    for (size_t i = from; i < store->batch->count && taken < FIND_MAX; i++) {
        struct item *item = &store->batch->items[i];
        if (!item->looked && cw_span_eq(item->in.type, type)) {
            item->looked = true;
            params[5 + taken++] = cw_v_bytes(item->in.upstream_id);
        }
    }
    for (size_t i = taken; i < FIND_MAX; i++) {
        params[5 + i] = params[5];
    }
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(store->db, &q_record_find, params, store->arena, &rows, store->err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        match_row(store, type, cw_row(&rows, i));
    }
    return rc;
}

static enum cw_code find_known(struct store *store)
{
    struct cw_record_batch *batch = store->batch;
    for (size_t i = 0; i < batch->count; i++) {
        batch->items[i].looked = batch->items[i].known = batch->items[i].linked = batch->items[i].returned = false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->items[i].looked) {
            enum cw_code rc = find_some(store, i);
            if (rc != CW_OK) {
                return rc;
            }
        }
    }
    return CW_OK;
}

static bool is_write(const struct item *item)
{
    return !item->known || item->changed;
}

static enum cw_code seal_item(struct store *store, struct item *item)
{
    if (!item->known) {
        item->id = cw_ulid_new();
    }
    cw_str_release(&item->sealed);
    cw_str_init(&item->sealed, CW_FHIR_RESOURCE_MAX + 4096);
    CW_AUTO_STR packed;
    cw_str_init(&packed, CW_FHIR_RESOURCE_MAX + 2048);
    enum cw_code rc = cw_codec_pack(item->in.body, &packed, &item->dictionary, store->err);
    if (rc == CW_OK) {
        struct cw_aad aad = { .cell = "record.body", .row = item->id };
        rc = cw_seal(&store->batch->key, aad, cw_str_span(&packed), &item->sealed, store->err);
    }
    return rc;
}

static size_t fill_insert(struct store *store, const struct item *item, struct cw_value *row)
{
    const struct cw_record_target *target = &store->batch->target;
    const struct cw_value values[] = {
        cw_v_id(&item->id),
        cw_v_id(&target->patient.ulid),
        cw_v_id(&target->endpoint.ulid),
        cw_v_bytes(target->tenant_context.ptr == NULL ? CW_SPAN("") : target->tenant_context),
        cw_ulid_is_zero(target->source.ulid) ? cw_v_null() : cw_v_id(&target->source.ulid),
        cw_v_bytes(item->in.type),
        cw_v_bytes(item->in.upstream_id),
        cw_v_int((int64_t)++store->seq),
        cw_v_bytes(cw_span_of(item->hash, CW_HASH_LEN)),
        cw_v_bytes(cw_str_span(&item->sealed)),
        cw_v_int((int64_t)item->in.body.len),
        cw_v_int(item->dictionary),
        cw_v_int(store->batch->key.version),
        cw_v_time_opt(item->in.upstream_updated_us),
        cw_v_time(store->now_us),
        cw_v_time(store->now_us),
    };
    memcpy(row, values, sizeof values);
    return CW_ARRAY_LEN(values);
}

static size_t fill_update(struct store *store, const struct item *item, struct cw_value *row)
{
    const struct cw_value values[] = {
        cw_v_int((int64_t)++store->seq),
        cw_v_bytes(cw_span_of(item->hash, CW_HASH_LEN)),
        cw_v_bytes(cw_str_span(&item->sealed)),
        cw_v_int((int64_t)item->in.body.len),
        cw_v_int(item->dictionary),
        cw_v_int(store->batch->key.version),
        cw_v_time_opt(item->in.upstream_updated_us),
        cw_v_time(store->now_us),
        cw_v_id(&item->id),
    };
    memcpy(row, values, sizeof values);
    return CW_ARRAY_LEN(values);
}

static size_t fill_return(struct store *store, const struct item *item, struct cw_value *row)
{
    const struct cw_value values[] = { cw_v_int((int64_t)++store->seq), cw_v_time(store->now_us), cw_v_id(&item->id) };
    memcpy(row, values, sizeof values);
    return CW_ARRAY_LEN(values);
}

static size_t fill_link(struct store *store, const struct item *item, struct cw_value *row)
{
    const struct cw_record_target *target = &store->batch->target;
    const struct cw_value values[] = { cw_v_id(&target->connection.ulid), cw_v_id(&item->id),
                                       cw_v_id(&target->pull.ulid) };
    memcpy(row, values, sizeof values);
    return CW_ARRAY_LEN(values);
}

static size_t fill_checked(struct store *store, const struct item *item, struct cw_value *row)
{
    const struct cw_value values[] = { cw_v_time(store->now_us), cw_v_id(&store->batch->target.connection.ulid),
                                       cw_v_id(&item->id) };
    memcpy(row, values, sizeof values);
    return CW_ARRAY_LEN(values);
}

static bool is_new(const struct item *item)
{
    return !item->known;
}
static bool is_changed(const struct item *item)
{
    return item->known && item->changed;
}
static bool is_returned(const struct item *item)
{
    return item->returned;
}
static bool is_unlinked(const struct item *item)
{
    return !item->linked;
}

/* One bulk statement over the items that `want` picks. */
static enum cw_code bulk(struct store *store, const struct cw_query *query, bool (*want)(const struct item *),
                         size_t (*fill)(struct store *, const struct item *, struct cw_value *))
{
    struct cw_record_batch *batch = store->batch;
    struct cw_value *params = cw_arena_array(store->arena, batch->count * strlen(query->params), sizeof *params);
    if (params == NULL) {
        return cw_err_set(store->err, CW_E_OOM, query->name, "out of memory");
    }
    size_t rows = 0, at = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (want(&batch->items[i])) {
            at += fill(store, &batch->items[i], params + at);
            rows++;
        }
    }
    return rows == 0 ? CW_OK : cw_db_bulk(store->db, query, params, rows, NULL, store->err);
}

static bool is_any(const struct item *item)
{
    return item != NULL;
}

/* One row a page, whatever is in it. */
static enum cw_code note_seen(struct store *store)
{
    const struct cw_record_batch *batch = store->batch;
    struct cw_ulid *ids = cw_arena_array(store->arena, batch->count, sizeof *ids);
    if (ids == NULL) {
        return cw_err_set(store->err, CW_E_OOM, "record.seen", "out of memory");
    }
    for (size_t i = 0; i < batch->count; i++) {
        ids[i] = batch->items[i].id;
    }
    return vanish_note_seen(store->db, batch->target.pull, ids, batch->count, store->err);
}

static enum cw_code lock_counter(struct store *store)
{
    struct cw_value params[] = { cw_v_id(&store->batch->target.patient.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(store->db, &q_counter_lock, params, store->arena, &row, store->err);
    if (rc == CW_OK) {
        store->seq = (uint64_t)row[0].number;
    }
    return rc;
}

static enum cw_code store_all(struct store *store)
{
    uint64_t first_seq = store->seq;
    enum cw_code rc = find_known(store);
    for (size_t i = 0; rc == CW_OK && i < store->batch->count; i++) {
        if (is_write(&store->batch->items[i])) {
            rc = seal_item(store, &store->batch->items[i]);
        }
    }
    if (rc == CW_OK) {
        rc = bulk(store, &q_record_insert, is_new, fill_insert);
    }
    if (rc == CW_OK) {
        rc = bulk(store, &q_record_update, is_changed, fill_update);
    }
    if (rc == CW_OK) {
        rc = bulk(store, &q_record_return, is_returned, fill_return);
    }
    if (rc == CW_OK) {
        rc = bulk(store, &q_record_link, is_unlinked, fill_link);
    }
    if (rc == CW_OK && store->batch->target.named) {
        rc = bulk(store, &q_record_checked, is_any, fill_checked);
    }
    if (rc == CW_OK && store->batch->target.keep_seen) {
        rc = note_seen(store);
    }
    if (rc == CW_OK && store->seq != first_seq) {
        struct cw_value params[] = { cw_v_int((int64_t)store->seq), cw_v_id(&store->batch->target.patient.ulid) };
        rc = cw_db_exec(store->db, &q_counter_set, params, NULL, store->err);
    }
    return rc;
}

enum cw_code cw_record_store(struct cw_db *db, struct cw_record_batch *batch, unsigned *ret_stored,
                             unsigned *ret_unchanged, struct cw_err *err)
{
    if (!cw_db_in_tx(db)) {
        cw_bug("cw_record_store outside a transaction");
    }
    struct store store = { .db = db, .batch = batch, .err = err, .now_us = cw_now_us() };
    store.arena = cw_arena_new((size_t)64 * 1024 * 1024);
    if (store.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "record.store", "out of memory");
    }
    enum cw_code rc = lock_counter(&store);
    uint64_t first_seq = store.seq;
    if (rc == CW_OK && batch->count > 0) {
        rc = store_all(&store);
    }
    if (rc == CW_OK) {
        *ret_stored = (unsigned)(store.seq - first_seq);
        *ret_unchanged = (unsigned)batch->count - *ret_stored;
    }
    cw_arena_free(store.arena);
    return rc;
}
