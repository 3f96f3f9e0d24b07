/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts as an operator looks at them: lists, newest first, and one with its words. */
#include "config.h"
#include "model/attempt.h"

#include "model/keys.h"

#define COLUMNS                                                                                    \
    "SELECT a.id, a.session, a.source, a.connection, a.status, a.failure_code, a.scopes_asked, "   \
    "a.started_at, a.ended_at,"                                                                    \
    " s.name, p.patient_id FROM attempt a JOIN patient p ON p.id = a.patient LEFT JOIN source s "  \
    "ON s.id = a.source "
#define KINDS "bbbbibbttbb"

/* `failed` is 1 to see failed ones alone. */
static const struct cw_query q_of_org = {
    .name = "attempt.list",
    .sql =
        COLUMNS "WHERE a.organization = ? AND (? = 0 OR a.status = 4) ORDER BY a.id DESC LIMIT ?",
    .params = "bii",
    .columns = KINDS,
};
static const struct cw_query q_of_source = {
    .name = "attempt.list_source",
    .sql = COLUMNS "WHERE a.source = ? AND a.organization = ? AND (? = 0 OR a.status = 4) ORDER BY "
                   "a.id DESC LIMIT ?",
    .params = "bbii",
    .columns = KINDS,
};
static const struct cw_query q_of_patient = {
    .name = "attempt.list_patient",
    .sql = COLUMNS "WHERE p.organization = ? AND p.patient_id = ? AND (? = 0 OR a.status = 4) "
                   "ORDER BY a.id DESC LIMIT ?",
    .params = "bbii",
    .columns = KINDS,
};
static const struct cw_query q_one = {
    .name = "attempt.look",
    .sql = COLUMNS "WHERE a.id = ?",
    .params = "b",
    .columns = KINDS,
};

const char *cw_attempt_status_name(enum cw_attempt_status status)
{
    switch (status) {
    case CW_ATTEMPT_STARTED:
        return "started";
    case CW_ATTEMPT_EXCHANGING:
        return "exchanging";
    case CW_ATTEMPT_CONNECTED:
        return "connected";
    case CW_ATTEMPT_FAILED:
        break;
    }
    return "failed";
}

static void read_row(const struct cw_value *row, struct cw_attempt_line *ret)
{
    *ret = (struct cw_attempt_line){
        .id = { cw_value_id(&row[0]) },
        .session = { cw_value_id(&row[1]) },
        .source = { cw_value_id(&row[2]) },
        .connection = { cw_value_id(&row[3]) },
        .status = (enum cw_attempt_status)row[4].number,
        .failure_code = row[5].bytes,
        .scopes_asked = row[6].bytes,
        .started_us = row[7].number,
        .ended_us = row[8].kind == CW_V_NULL ? 0 : row[8].number,
        .source_name = row[9].bytes,
        .patient_id = row[10].bytes,
    };
}

static enum cw_code select_list(struct cw_db *db, const struct cw_attempt_filter *filter,
                                struct cw_arena *arena, struct cw_rows *ret, struct cw_err *err)
{
    struct cw_value org = cw_v_id(&filter->org.ulid);
    struct cw_value failed = cw_v_int(filter->failed);
    struct cw_value limit = cw_v_int(filter->limit);
    if (filter->patient_id.ptr != NULL) {
        const struct cw_value params[] = { org, cw_v_bytes(filter->patient_id), failed, limit };
        return cw_db_select(db, &q_of_patient, params, arena, ret, err);
    }
    if (!cw_ulid_is_zero(filter->source.ulid)) {
        const struct cw_value params[] = { cw_v_id(&filter->source.ulid), org, failed, limit };
        return cw_db_select(db, &q_of_source, params, arena, ret, err);
    }
    const struct cw_value params[] = { org, failed, limit };
    return cw_db_select(db, &q_of_org, params, arena, ret, err);
}

enum cw_code cw_attempt_list(struct cw_model *m, const struct cw_attempt_filter *filter,
                             struct cw_arena *arena, struct cw_attempt_line **ret,
                             size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = select_list(db, filter, arena, &rows, err);
    }
    cw_db_put(db);
    struct cw_attempt_line *list =
        rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (rc == CW_OK && list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "attempt.list", "the arena is full");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        read_row(cw_row(&rows, i), &list[i]);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = rows.count;
    }
    return rc;
}

enum cw_code cw_attempt_look(struct cw_model *m, struct cw_attempt_id id, struct cw_arena *arena,
                             struct cw_attempt_line *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row = NULL;
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_one, params, arena, &row, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        read_row(row, ret);
    }
    return rc;
}
