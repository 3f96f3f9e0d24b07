/* SPDX-License-Identifier: Apache-2.0 */
/* What a pull met and did not take, counted by type and reason. */
#include "config.h"
#include "model/pull_int.h"

#include "base/limits.h"

static const struct cw_query q_skip_add = {
    .name = "pull.skip_add",
    .sql = "INSERT INTO pull_skip (pull, resource_type, reason, count) VALUES (?, ?, ?, ?)"
           " ON DUPLICATE KEY UPDATE count = count + VALUES(count)",
    .params = "bbbi",
    .columns = "",
};
static const struct cw_query q_skip_list = {
    .name = "pull.skip_list",
    .sql = "SELECT resource_type, reason, count FROM pull_skip WHERE pull = ? ORDER BY resource_type, reason LIMIT ?",
    .params = "bi",
    .columns = "bbi",
};

bool cw_pull_skip_is_loss(struct cw_span reason)
{
    /* Whose record is another's, what is no resource and what the server says in passing are no loss. */
    static const char *const losses[] = { CW_SKIP_BAD_ID, CW_SKIP_TOO_BIG, CW_SKIP_OVER_LIMIT, "not_object", "no_type", "bad_type", "ambiguous" };
    for (size_t i = 0; i < CW_ARRAY_LEN(losses); i++) {
        if (cw_span_eq_cstr(reason, losses[i])) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_pull_skips_add(struct cw_db *db, struct cw_pull_id pull, const struct cw_pull_skip *skips, size_t count,
                               struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        struct cw_value params[] = { cw_v_id(&pull.ulid), cw_v_bytes(cw_span_upto(skips[i].resource_type, CW_FHIR_TYPE_MAX)),
                                     cw_v_bytes(skips[i].reason), cw_v_int(skips[i].count) };
        rc = skips[i].count == 0 ? CW_OK : cw_db_exec(db, &q_skip_add, params, NULL, err);
    }
    return rc;
}

enum cw_code cw_pull_skips(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull_skip **ret,
                           size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&id.ulid), cw_v_int(CW_PULL_SKIPS_MAX) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_skip_list, params, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_pull_skip *skips = cw_arena_array(arena, rows.count + 1, sizeof *skips);
    if (skips == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.skips", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        skips[i] = (struct cw_pull_skip){ .resource_type = row[0].bytes, .reason = row[1].bytes, .count = (unsigned)row[2].number };
    }
    *ret = skips;
    *ret_count = rows.count;
    return CW_OK;
}
