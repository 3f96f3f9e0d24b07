/* SPDX-License-Identifier: Apache-2.0 */
/* See search_memory.h. Rows are found by a hash, since a planned query can be as long as a URL. */
#include "config.h"
#include "model/search_memory.h"

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/vault.h"

#define GOOD_FOR_US (30 * CW_DAY_US)
#define ROWS_MAX 500 /* more than a plan has searches */

static const struct cw_query q_learn = {
    .name = "search.learn",
    .sql = "INSERT INTO endpoint_search (endpoint, resource_type, planned_hash, worked, software, learnt_at)"
           " SELECT id, ?, ?, ?, LEFT(COALESCE(software, ''), 255), ? FROM endpoint WHERE id = ?"
           " ON DUPLICATE KEY UPDATE worked = VALUES(worked), software = VALUES(software), learnt_at = VALUES(learnt_at)",
    .params = "bbbtb",
    .columns = "",
};
static const struct cw_query q_recall = {
    .name = "search.recall",
    .sql = "SELECT s.resource_type, s.planned_hash, s.worked FROM endpoint_search s JOIN endpoint e ON e.id = s.endpoint"
           " WHERE s.endpoint = ? AND s.software = LEFT(COALESCE(e.software, ''), 255) AND s.learnt_at > ? LIMIT ?",
    .params = "bti",
    .columns = "bbb",
};

struct cw_search_memory {
    struct cw_rows rows;
};

static bool hash_of(const struct cw_search_form *form, uint8_t out[CW_HASH_LEN])
{
    CW_AUTO_STR text;
    cw_str_init(&text, 2 * CW_URL_MAX);
    cw_str_add_span(&text, form->param);
    cw_str_add_char(&text, '?');
    cw_str_add_span(&text, form->query);
    if (cw_str_code(&text) != CW_OK) {
        return false;
    }
    cw_sha256(cw_str_span(&text), out);
    return true;
}

enum cw_code cw_search_learn(struct cw_model *m, struct cw_endpoint_id endpoint, const struct cw_search_form *planned,
                             struct cw_span worked, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    if (worked.len > CW_URL_MAX || !hash_of(planned, hash)) {
        return cw_err_set(err, CW_E_TOO_BIG, "search.learn", "the query does not fit");
    }
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_bytes(planned->type), cw_v_bytes(cw_span_of(hash, CW_HASH_LEN)),
                                 cw_v_bytes(worked.ptr == NULL ? CW_SPAN("") : worked), cw_v_time(cw_now_us()), cw_v_id(&endpoint.ulid) };
    rc = cw_db_exec(db, &q_learn, params, NULL, err);
    cw_db_put(db);
    return rc;
}

enum cw_code cw_search_recall(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_arena *arena,
                              struct cw_search_memory **ret, struct cw_err *err)
{
    struct cw_search_memory *memory = cw_arena_alloc(arena, sizeof *memory);
    struct cw_db *db;
    if (memory == NULL) {
        return cw_err_set(err, CW_E_OOM, "search.recall", "out of memory");
    }
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&endpoint.ulid), cw_v_time(cw_now_us() - GOOD_FOR_US), cw_v_int(ROWS_MAX) };
    rc = cw_db_select(db, &q_recall, params, arena, &memory->rows, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = memory;
    }
    return rc;
}

struct cw_span cw_search_instead(const struct cw_search_memory *memory, const struct cw_search_form *planned)
{
    uint8_t hash[CW_HASH_LEN];
    if (memory == NULL || !hash_of(planned, hash)) {
        return planned->query;
    }
    for (size_t i = 0; i < memory->rows.count; i++) {
        const struct cw_value *row = cw_row(&memory->rows, i);
        if (cw_span_eq(row[0].bytes, planned->type) && cw_span_eq(row[1].bytes, cw_span_of(hash, CW_HASH_LEN))) {
            return row[2].bytes;
        }
    }
    return planned->query;
}
