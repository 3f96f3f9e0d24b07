/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing and reading records. A batch is one page: its resources are hashed outside the transaction; inside it, one
 * SELECT per 50 ids finds what is there, and only what is new or changed is compressed, sealed and written, in bulk.
 */
#include "config.h"
#include "model/record.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/audit.h"
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

#define LIST_COLUMNS \
    "SELECT id, source, resource_type, upstream_id, change_seq, stored_at, body_sealed, body_length, dictionary," \
    " key_version FROM record WHERE patient = ? AND stored_at > ? AND change_seq "
#define LIST_TYPES \
    " AND resource_type IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?," \
    " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define LIST_TYPE_PARAMS "bbbbbbbbbbbbbbbb" "bbbbbbbbbbbbbbbb"
#define LIST_KINDS "bbbbitbiii"

static const struct cw_query q_list_after = {
    .name = "record.list_after",
    .sql = LIST_COLUMNS "> ? ORDER BY change_seq LIMIT ?",
    .params = "btii",
    .columns = LIST_KINDS,
};
static const struct cw_query q_list_before = {
    .name = "record.list_before",
    .sql = LIST_COLUMNS "< ? ORDER BY change_seq DESC LIMIT ?",
    .params = "btii",
    .columns = LIST_KINDS,
};
static const struct cw_query q_list_types_after = {
    .name = "record.list_types_after",
    .sql = LIST_COLUMNS "> ?" LIST_TYPES " ORDER BY change_seq LIMIT ?",
    .params = "bti" LIST_TYPE_PARAMS "i",
    .columns = LIST_KINDS,
};
static const struct cw_query q_list_types_before = {
    .name = "record.list_types_before",
    .sql = LIST_COLUMNS "< ?" LIST_TYPES " ORDER BY change_seq DESC LIMIT ?",
    .params = "bti" LIST_TYPE_PARAMS "i",
    .columns = LIST_KINDS,
};
static const struct cw_query q_census = {
    .name = "record.census",
    .sql = "SELECT resource_type, COUNT(*) FROM record WHERE patient = ? GROUP BY resource_type ORDER BY resource_type"
           " LIMIT 500",
    .params = "b",
    .columns = "bi",
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

/* ---------------------------------------------------------------------------------------------- reading */

/* Bodies of one answer; a page of the largest resources is cut short instead of failing. */
#define LIST_BYTES_MAX ((size_t)12 * 1024 * 1024)

/* A row as it came, its body still sealed: other statements cannot run while rows arrive, and a body may need another key. */
struct sealed_row {
    struct cw_span body;
    size_t length;
    unsigned dictionary;
    uint32_t key_version;
};

struct listing {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_patient_row patient;
    const struct cw_record_filter *filter;
    struct cw_arena *arena;
    struct cw_data_key key;
    struct cw_record *records;
    struct sealed_row *sealed;
    size_t count, bytes;
    bool more;
};

static enum cw_code list_row(void *arg, const struct cw_value *row, struct cw_err *err)
{
    struct listing *list = arg;
    size_t length = (size_t)row[7].number;
    if (list->count == list->filter->limit || (list->count > 0 && list->bytes + length > LIST_BYTES_MAX)) {
        list->more = true;
        return CW_E_STOPPED;
    }
    struct cw_record *record = &list->records[list->count];
    *record = (struct cw_record){
        .id = { cw_value_id(&row[0]) },
        .type = cw_arena_span(list->arena, row[2].bytes),
        .upstream_id = cw_arena_span(list->arena, row[3].bytes),
        .change_seq = (uint64_t)row[4].number,
        .stored_us = row[5].number,
    };
    if (row[1].kind != CW_V_NULL) {
        record->source.ulid = cw_value_id(&row[1]);
    }
    list->sealed[list->count] = (struct sealed_row){
        .body = cw_arena_span(list->arena, row[6].bytes),
        .length = length,
        .dictionary = (unsigned)row[8].number,
        .key_version = (uint32_t)row[9].number,
    };
    if (record->type.ptr == NULL || record->upstream_id.ptr == NULL || list->sealed[list->count].body.ptr == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "record.list", "the page is over its memory");
    }
    list->bytes += length;
    list->count++;
    return CW_OK;
}

static enum cw_code open_body(struct listing *list, const struct sealed_row *sealed, struct cw_record *record,
                              struct cw_err *err)
{
    CW_AUTO_STR packed;
    cw_str_init(&packed, CW_FHIR_RESOURCE_MAX + 4096);
    struct cw_aad aad = { .cell = "record.body", .row = record->id.ulid };
    enum cw_code rc = cw_unseal(&list->key, aad, sealed->body, &packed, err);
    if (rc != CW_OK) {
        return rc;
    }
    char *body = cw_arena_alloc(list->arena, sealed->length + 1);
    if (body == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "record.list", "the page is over its memory");
    }
    record->body = cw_span_of(body, sealed->length);
    return cw_codec_unpack(cw_str_span(&packed), sealed->dictionary, body, sealed->length, err);
}

static enum cw_code open_bodies(struct listing *list, struct cw_db *db, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < list->count; i++) {
        const struct sealed_row *sealed = &list->sealed[i];
        if (list->key.version != sealed->key_version) {
            cw_data_key_wipe(&list->key);
            rc = cw_patient_key(list->m, db, list->patient, sealed->key_version, &list->key, err);
        }
        if (rc == CW_OK) {
            rc = open_body(list, sealed, &list->records[i], err);
        }
    }
    return rc;
}

static enum cw_code list_rows(struct listing *list, struct cw_db *db, struct cw_err *err)
{
    const struct cw_record_filter *filter = list->filter;
    bool back = filter->before_seq != 0;
    struct cw_value params[4 + CW_RECORD_TYPES_MAX];
    size_t at = 0;
    params[at++] = cw_v_id(&list->patient.ulid);
    params[at++] = cw_v_time(filter->since_us);
    params[at++] = cw_v_int((int64_t)(back ? filter->before_seq : filter->after_seq));
    for (size_t i = 0; filter->type_count > 0 && i < CW_RECORD_TYPES_MAX; i++) {
        params[at++] = cw_v_bytes(filter->types[i < filter->type_count ? i : 0]);
    }
    params[at++] = cw_v_int((int64_t)filter->limit + 1);
    const struct cw_query *query = filter->type_count > 0 ? (back ? &q_list_types_before : &q_list_types_after)
                                                          : (back ? &q_list_before : &q_list_after);
    enum cw_code rc = cw_db_each(db, query, params, list_row, list, err);
    return rc == CW_E_STOPPED && list->more ? CW_OK : rc;
}

static void reverse(struct cw_record *records, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct cw_record swap = records[i];
        records[i] = records[count - 1 - i];
        records[count - 1 - i] = swap;
    }
}

static enum cw_code list_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct listing *list = arg;
    list->count = list->bytes = 0;
    list->more = false;
    enum cw_code rc = list_rows(list, db, err);
    if (rc == CW_OK) {
        rc = open_bodies(list, db, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    char detail[64];
    (void)snprintf(detail, sizeof detail, "records=%zu", list->count);
    struct cw_audit_row row = {
        .org = list->org, .action = "records.read", .patient = list->patient, .detail = detail
    };
    return cw_audit_write(db, list->actor, &row, err);
}

enum cw_code cw_record_list(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                            struct cw_patient_row patient, const struct cw_record_filter *filter,
                            struct cw_arena *arena, struct cw_record **ret, size_t *ret_count, bool *ret_more,
                            struct cw_err *err)
{
    struct listing list = { .m = m, .actor = actor, .org = org, .patient = patient, .filter = filter, .arena = arena };
    list.records = cw_arena_array(arena, filter->limit, sizeof *list.records);
    list.sealed = cw_arena_array(arena, filter->limit, sizeof *list.sealed);
    if (list.records == NULL || list.sealed == NULL) {
        return cw_err_set(err, CW_E_OOM, "record.list", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, list_tx, &list, err);
    cw_data_key_wipe(&list.key);
    if (rc != CW_OK) {
        return rc;
    }
    if (filter->before_seq != 0) {
        reverse(list.records, list.count);
    }
    *ret = list.records;
    *ret_count = list.count;
    *ret_more = list.more;
    return CW_OK;
}

enum cw_code cw_record_census(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                              struct cw_record_count **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_census, params, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_record_count *counts = cw_arena_array(arena, rows.count + 1, sizeof *counts);
    if (counts == NULL) {
        return cw_err_set(err, CW_E_OOM, "record.census", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        counts[i] = (struct cw_record_count){ cw_row(&rows, i)[0].bytes, (uint64_t)cw_row(&rows, i)[1].number };
    }
    *ret = counts;
    *ret_count = rows.count;
    return CW_OK;
}
