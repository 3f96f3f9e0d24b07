/* SPDX-License-Identifier: Apache-2.0 */
/* See watermark.h. */
#include "config.h"
#include "model/watermark.h"

#include "base/time.h"
#include "os/sys.h"

static const struct cw_query q_list = {
    .name = "watermark.list",
    .sql = "SELECT w.resource_type, w.since, EXISTS (SELECT 1 FROM record r WHERE r.patient = c.patient AND r.resource_type = w.resource_type)"
           " FROM pull_watermark w JOIN connection c ON c.id = w.connection WHERE w.connection = ? ORDER BY w.resource_type LIMIT 200",
    .params = "b",
    .columns = "bti",
};
static const struct cw_query q_set = {
    .name = "watermark.set",
    .sql = "INSERT INTO pull_watermark (connection, resource_type, since, newest) VALUES (?, ?, ?, ?)"
           " ON DUPLICATE KEY UPDATE since = VALUES(since), newest = VALUES(newest)",
    .params = "bbtt",
    .columns = "",
};
static const struct cw_query q_forget = {
    .name = "watermark.forget",
    .sql = "DELETE FROM pull_watermark WHERE connection = ? AND resource_type = ?",
    .params = "bb",
    .columns = "",
};
/* Of each type: searches that came whole, those that did not, and those that were refused. */
static const struct cw_query q_types = {
    .name = "watermark.types",
    .sql = "SELECT resource_type, SUM(status = 2), SUM(status IN (1, 3)), SUM(status = 3 AND failure_code = 'query_refused') FROM pull_task"
           " WHERE pull = ? AND kind = 2 GROUP BY resource_type LIMIT 200",
    .params = "b",
    .columns = "biii",
};
/* Documents that may come another day: what names them must come again then. */
static const struct cw_query q_documents = {
    .name = "watermark.documents",
    .sql = "SELECT COUNT(*) FROM pull_task WHERE pull = ? AND kind = 4 AND (status = 1 OR (status = 3 AND failure_code NOT IN"
           " ('not_found', 'gone', 'no_access', 'access_withheld', 'not_offered')))",
    .params = "b",
    .columns = "i",
};
/* An incremental pull looks at what it changed, and at what was the newest before; a full one at everything. */
static const struct cw_query q_newest_changed = {
    .name = "watermark.newest_changed",
    .sql = "SELECT r.resource_type, MAX(IF(r.upstream_updated_at <= ?, r.upstream_updated_at, NULL)) FROM pull u"
           " JOIN record r ON r.patient = u.patient AND r.change_seq > u.seq_before"
           " JOIN record_connection c ON c.connection = u.connection AND c.record = r.id WHERE u.id = ? GROUP BY r.resource_type LIMIT 500",
    .params = "tb",
    .columns = "bt",
};
static const struct cw_query q_newest_before = {
    .name = "watermark.newest_before",
    .sql = "SELECT resource_type, newest FROM pull_watermark WHERE connection = ? LIMIT 500",
    .params = "b",
    .columns = "bt",
};
static const struct cw_query q_newest = {
    .name = "watermark.newest",
    .sql = "SELECT r.resource_type, MAX(IF(r.upstream_updated_at <= ?, r.upstream_updated_at, NULL)) FROM record_connection c"
           " JOIN record r ON r.id = c.record WHERE c.connection = ? GROUP BY r.resource_type LIMIT 500",
    .params = "tb",
    .columns = "bt",
};
static const struct cw_query q_memory = {
    .name = "search_memory.list",
    .sql = "SELECT resource_type, last_updated FROM endpoint_search_memory WHERE endpoint = ? AND software = ? ORDER BY resource_type LIMIT 200",
    .params = "bb",
    .columns = "bi",
};
static const struct cw_query q_remember = {
    .name = "search_memory.put",
    .sql = "INSERT INTO endpoint_search_memory (endpoint, resource_type, last_updated, software, tested_at) VALUES (?, ?, ?, ?, ?)"
           " ON DUPLICATE KEY UPDATE last_updated = VALUES(last_updated), software = VALUES(software), tested_at = VALUES(tested_at)",
    .params = "bbibt",
    .columns = "",
};
static const struct cw_query q_doubt = {
    .name = "search_memory.doubt",
    .sql = "DELETE FROM endpoint_search_memory WHERE endpoint = ? AND resource_type = ?",
    .params = "bb",
    .columns = "",
};

/* Rows of one statement on a borrowed connection. */
static enum cw_code rows_of(struct cw_model *m, const struct cw_query *query, const struct cw_value *params, struct cw_arena *arena,
                            struct cw_rows *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, query, params, arena, ret, err);
        cw_db_put(db);
    }
    return rc;
}

enum cw_code cw_watermark_list(struct cw_model *m, struct cw_connection_id connection, struct cw_arena *arena,
                               struct cw_watermark **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&connection.ulid) };
    struct cw_rows rows;
    enum cw_code rc = rows_of(m, &q_list, params, arena, &rows, err);
    struct cw_watermark *list = rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (list == NULL) {
        return rc == CW_OK ? cw_err_set(err, CW_E_OOM, "watermark.list", "out of memory") : rc;
    }
    for (size_t i = 0; i < rows.count; i++) {
        list[i] = (struct cw_watermark){ cw_row(&rows, i)[0].bytes, cw_row(&rows, i)[1].number, cw_row(&rows, i)[2].number != 0 };
    }
    *ret = list;
    *ret_count = rows.count;
    return CW_OK;
}

int64_t cw_watermark_of(int64_t start_us, int64_t newest_us)
{
    int64_t safe_us = newest_us != 0 && newest_us < start_us ? newest_us : start_us;
    return safe_us - CW_WATERMARK_OVERLAP_US;
}

/* ---------------------------------------------------------------------------------------------- at the end of a pull */

struct advancing {
    struct cw_db *db;
    const struct cw_pull *pull;
    int64_t start_us;
    struct cw_rows newest, before;
    bool documents_missing;
};

static bool names_documents(struct cw_span type)
{
    static const char *const types[] = { "DocumentReference", "DiagnosticReport", "Media", "Communication", "Patient" };
    for (size_t i = 0; i < CW_ARRAY_LEN(types); i++) {
        if (cw_span_eq_cstr(type, types[i])) {
            return true;
        }
    }
    return false;
}

static int64_t time_of(const struct cw_rows *rows, struct cw_span type)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (cw_span_eq(cw_row(rows, i)[0].bytes, type)) {
            return cw_row(rows, i)[1].number;
        }
    }
    return 0;
}

static int64_t newest_of(const struct advancing *a, struct cw_span type)
{
    int64_t newest_us = time_of(&a->newest, type), before_us = time_of(&a->before, type);
    return newest_us > before_us ? newest_us : before_us;
}

static enum cw_code read_newest(struct advancing *a, int64_t skew_us, struct cw_arena *arena, struct cw_err *err)
{
    bool full = a->pull->mode == CW_PULL_FULL;
    struct cw_value connection[] = { cw_v_id(&a->pull->connection.ulid) };
    struct cw_value params[] = { cw_v_time(cw_now_us() + skew_us), full ? connection[0] : cw_v_id(&a->pull->id.ulid) };
    enum cw_code rc = cw_db_select(a->db, full ? &q_newest : &q_newest_changed, params, arena, &a->newest, err);
    return rc == CW_OK && !full ? cw_db_select(a->db, &q_newest_before, connection, arena, &a->before, err) : rc;
}

static enum cw_code advance_type(const struct advancing *a, const struct cw_value *row, struct cw_err *err)
{
    struct cw_span type = row[0].bytes;
    bool whole = row[1].number > 0 && row[2].number == 0 && !(a->documents_missing && names_documents(type));
    int64_t newest_us = newest_of(a, type);
    struct cw_value set[] = { cw_v_id(&a->pull->connection.ulid), cw_v_bytes(type), cw_v_time(cw_watermark_of(a->start_us, newest_us)),
                              cw_v_time_opt(newest_us) };
    if (whole) {
        return cw_db_exec(a->db, &q_set, set, NULL, err);
    }
    if (a->pull->mode != CW_PULL_INCREMENTAL || row[3].number == 0) {
        return CW_OK;
    }
    struct cw_value doubt[] = { cw_v_id(&a->pull->endpoint.ulid), cw_v_bytes(type) };
    enum cw_code rc = cw_db_exec(a->db, &q_forget, set, NULL, err);
    return rc == CW_OK ? cw_db_exec(a->db, &q_doubt, doubt, NULL, err) : rc;
}

enum cw_code watermark_advance(struct cw_db *db, const struct cw_pull *pull, int64_t skew_us, struct cw_arena *arena, struct cw_err *err)
{
    if (pull->started_us == 0) {
        return CW_OK; /* it was never planned */
    }
    struct advancing a = { .db = db, .pull = pull, .start_us = pull->started_us + skew_us };
    struct cw_value pull_id[] = { cw_v_id(&pull->id.ulid) };
    const struct cw_value *documents;
    struct cw_rows types;
    enum cw_code rc = cw_db_select(db, &q_types, pull_id, arena, &types, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_documents, pull_id, arena, &documents, err);
    }
    if (rc == CW_OK) {
        a.documents_missing = documents[0].number > 0;
        rc = read_newest(&a, skew_us, arena, err);
    }
    for (size_t i = 0; rc == CW_OK && i < types.count; i++) {
        rc = advance_type(&a, cw_row(&types, i), err);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- what servers do with the filter */

enum cw_code cw_filter_memory_list(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_span software, struct cw_arena *arena,
                                   struct cw_filter_memory **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&endpoint.ulid), cw_v_bytes(software.ptr == NULL ? CW_SPAN("") : software) };
    struct cw_rows rows;
    enum cw_code rc = rows_of(m, &q_memory, params, arena, &rows, err);
    struct cw_filter_memory *list = rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (list == NULL) {
        return rc == CW_OK ? cw_err_set(err, CW_E_OOM, "search_memory.list", "out of memory") : rc;
    }
    for (size_t i = 0; i < rows.count; i++) {
        list[i] = (struct cw_filter_memory){ cw_row(&rows, i)[0].bytes, (enum cw_filter_test)cw_row(&rows, i)[1].number };
    }
    *ret = list;
    *ret_count = rows.count;
    return CW_OK;
}

enum cw_code cw_filter_memory_put(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_span software,
                                  const struct cw_filter_memory *memory, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&endpoint.ulid), cw_v_bytes(memory->type), cw_v_int(memory->test),
                                 cw_v_bytes(software.ptr == NULL ? CW_SPAN("") : software), cw_v_time(cw_now_us()) };
    return cw_tx_single(m->pool, &q_remember, params, NULL, err);
}
