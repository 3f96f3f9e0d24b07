/* SPDX-License-Identifier: Apache-2.0 */
/* Reading records: a page of them, opened after its rows have arrived, and how many there are. */
#include "config.h"
#include "model/record.h"

#include "base/limits.h"
#include "model/audit.h"
#include "model/codec.h"
#include "model/keys.h"
#include "os/sys.h"

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
