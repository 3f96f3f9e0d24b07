/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading Sessions. One SELECT brings a Session's row once for each of its attempts, with the keys that open its sealed
 * columns; rows of one Session stand together and are folded into one object.
 */
#include "config.h"

#include "model/session_int.h"

#include "base/limits.h"
#include "base/text.h"
#include "model/attempt.h"
#include "model/keys.h"
#include "os/sys.h"

/* Attempts of one Session that are looked at: a patient's day of trying, and a bound. */
#define COLUMNS \
    "SELECT s.id, s.organization, s.patient, p.patient_id, s.status, s.ended_reason, s.secret_sealed, s.direct_source," \
    " s.recommended, s.return_url, s.return_label, s.metadata_sealed, s.expires_at, s.created_at, s.ended_at," \
    " s.reconnect," \
    " o.version, o.wrapped, o.master_key_id, k.version, k.wrapped, k.master_key_id," \
    " a.connection, a.source, a.status, a.failure_code, a.started_at, a.ended_at, a.state_expires_at," \
    " c.status, c.failure_code, c.failure_at, c.created_at"
#define JOINS \
    " JOIN patient AS p ON p.id = s.patient" \
    " JOIN data_key AS o ON o.owner = s.organization AND o.version = s.org_key_version" \
    " JOIN patient_key AS k ON k.patient = s.patient AND k.version = s.key_version" \
    " LEFT JOIN attempt AS a ON a.session = s.id" \
    " LEFT JOIN connection AS c ON c.id = a.connection AND a.status = 3"
#define COLUMN_KINDS "bbbb" "iibb" "bbbb" "tttb" "ibb" "ibb" "bbib" "ttt" "ibtt"
enum {
    C_ID, C_ORG, C_PATIENT, C_PATIENT_ID, C_STATUS, C_ENDED, C_SECRET, C_DIRECT, C_RECOMMENDED, C_RETURN_URL, C_LABEL,
    C_METADATA, C_EXPIRES, C_CREATED, C_ENDED_AT, C_RECONNECT, C_ORG_KEY, C_PATIENT_KEY = C_ORG_KEY + 3,
    C_A_CONNECTION = C_PATIENT_KEY + 3, C_A_SOURCE, C_A_STATUS, C_A_FAILURE, C_A_STARTED, C_A_ENDED, C_A_STATE_EXPIRES,
    C_C_STATUS, C_C_FAILURE, C_C_FAILURE_AT, C_C_CREATED
};

/* What a list shows is the status as it is now (see reads_as). */
#define EFFECTIVE_STATUS \
    " CASE WHEN s.status <> 1 THEN s.status WHEN s.expires_at > ? THEN 1" \
    " WHEN EXISTS (SELECT 1 FROM attempt AS f WHERE f.session = s.id AND f.status IN (1, 2) AND f.state_expires_at > ?)" \
    " THEN 1 ELSE 3 END"

static const struct cw_query q_by_id = {
    .name = "session.by_id",
    .sql = COLUMNS " FROM patient_session AS s" JOINS " WHERE s.id = ? ORDER BY a.id LIMIT 1000",
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_by_secret = {
    .name = "session.by_secret",
    .sql = COLUMNS " FROM patient_session AS s" JOINS " WHERE s.secret_hash = ? ORDER BY a.id LIMIT 1000",
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list = {
    .name = "session.list",
    .sql = COLUMNS " FROM (SELECT s.id FROM patient_session AS s WHERE s.organization = ? AND s.id < ?"
                   " AND (? = 0 OR" EFFECTIVE_STATUS " = ?) ORDER BY s.id DESC LIMIT ?) AS page"
                   " JOIN patient_session AS s ON s.id = page.id" JOINS " ORDER BY s.id DESC, a.id LIMIT 20000",
    .params = "bbittii",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list_patient = {
    .name = "session.list_patient",
    .sql = COLUMNS " FROM (SELECT s.id FROM patient AS q JOIN patient_session AS s ON s.patient = q.id"
                   " WHERE q.organization = ? AND q.patient_id = ? AND s.id < ?"
                   " AND (? = 0 OR" EFFECTIVE_STATUS " = ?) ORDER BY s.id DESC LIMIT ?) AS page"
                   " JOIN patient_session AS s ON s.id = page.id" JOINS " ORDER BY s.id DESC, a.id LIMIT 20000",
    .params = "bbbittii",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_name = {
    .name = "session.patient_name",
    .sql = "SELECT p.name_sealed, k.version, k.wrapped, k.master_key_id FROM patient AS p"
           " JOIN patient_key AS k ON k.patient = p.id AND k.version = p.key_version WHERE p.id = ?",
    .params = "b",
    .columns = "bibb",
};

const char *cw_session_status_name(enum cw_session_status status)
{
    switch (status) {
    case CW_SESSION_OPEN:
        return "open";
    case CW_SESSION_COMPLETE:
        return "complete";
    case CW_SESSION_EXPIRED:
        return "expired";
    }
    cw_bug("a Session status that does not exist");
}

const char *cw_session_ended_name(enum cw_session_ended ended)
{
    switch (ended) {
    case CW_ENDED_NOT:
        return NULL;
    case CW_ENDED_DONE:
        return "done";
    case CW_ENDED_RETURNED:
        return "returned";
    case CW_ENDED_TIMED_OUT:
        return "timed_out";
    case CW_ENDED_CANCELLED:
        return "cancelled";
    }
    cw_bug("an end of a Session that does not exist");
}

const char *cw_connection_status_name(enum cw_connection_status status)
{
    switch (status) {
    case CW_CONNECTION_ACTIVE:
        return "active";
    case CW_CONNECTION_FAILED:
        return "failed";
    case CW_CONNECTION_EXPIRED:
        return "expired";
    case CW_CONNECTION_REFRESH_FAILED:
        return "refresh_failed";
    case CW_CONNECTION_DISCONNECTED:
        return "disconnected";
    }
    cw_bug("a connection status that does not exist");
}

/* ---- one row */

static struct cw_source_id source_or_zero(const struct cw_value *cell)
{
    return cell->kind == CW_V_NULL ? (struct cw_source_id){ { { 0 } } } : (struct cw_source_id){ cw_value_id(cell) };
}

static enum cw_code read_recommended(const struct cw_value *cell, struct cw_arena *arena, struct cw_session *ret,
                                     struct cw_err *err)
{
    size_t count = cell->kind == CW_V_NULL ? 0 : cell->bytes.len / sizeof(struct cw_ulid);
    struct cw_source_id *ids = cw_arena_array(arena, count + 1, sizeof *ids);
    if (ids == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "session", "the arena is full");
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(ids[i].ulid.bytes, cell->bytes.ptr + i * sizeof(struct cw_ulid), sizeof(struct cw_ulid));
    }
    ret->recommended = ids;
    ret->recommended_count = count;
    return CW_OK;
}

/* The URL's secret comes out as its text. */
static enum cw_code read_secret(struct cw_model *m, const struct cw_value *row, struct cw_arena *arena,
                                struct cw_session *ret, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_span secret;
    enum cw_code rc = cw_key_open(m, ret->org.ulid, &row[C_ORG_KEY], &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("patient_session.secret", ret->id), &row[C_SECRET], arena, &secret, err);
    }
    return rc == CW_OK ? session_secret_text(secret, arena, &ret->secret, err) : rc;
}

static enum cw_code read_session(struct cw_model *m, const struct cw_value *row, struct cw_arena *arena,
                                 struct cw_session *ret, struct cw_err *err)
{
    *ret = (struct cw_session){
        .id = { cw_value_id(&row[C_ID]) },
        .org = { cw_value_id(&row[C_ORG]) },
        .patient = { cw_value_id(&row[C_PATIENT]) },
        .patient_id = row[C_PATIENT_ID].bytes,
        .status = (enum cw_session_status)row[C_STATUS].number,
        .ended = (enum cw_session_ended)row[C_ENDED].number,
        .direct_source = source_or_zero(&row[C_DIRECT]),
        .reconnect = { source_or_zero(&row[C_RECONNECT]).ulid },
        .return_url = row[C_RETURN_URL].bytes,
        .return_label = row[C_LABEL].bytes,
        .expires_us = row[C_EXPIRES].number,
        .created_us = row[C_CREATED].number,
        .ended_us = row[C_ENDED_AT].number,
    };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = read_recommended(&row[C_RECOMMENDED], arena, ret, err);
    if (rc == CW_OK) {
        rc = read_secret(m, row, arena, ret, err);
    }
    if (rc == CW_OK && row[C_METADATA].kind == CW_V_NULL) {
        ret->metadata = CW_SPAN("{}");
        return CW_OK;
    }
    if (rc == CW_OK) {
        rc = cw_key_open(m, ret->patient.ulid, &row[C_PATIENT_KEY], &key, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("patient_session.metadata", ret->id), &row[C_METADATA], arena, &ret->metadata, err);
    }
    return rc;
}

/* ---- its attempts */

static bool in_flight(const struct cw_value *row, int64_t now)
{
    int64_t status = row[C_A_STATUS].number;
    return row[C_A_STATUS].kind != CW_V_NULL && (status == CW_ATTEMPT_STARTED || status == CW_ATTEMPT_EXCHANGING) &&
           row[C_A_STATE_EXPIRES].number > now;
}

/* A connection that a later attempt of the same Session made active again is shown once, at its last place. */
static void drop_earlier(struct cw_session_connection *list, size_t *count, struct cw_connection_id id)
{
    for (size_t i = 0; i < *count; i++) {
        if (cw_ulid_eq(list[i].id.ulid, id.ulid)) {
            memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof *list);
            --*count;
            return;
        }
    }
}

static void add_connection(const struct cw_value *row, struct cw_session_connection *list, size_t *count)
{
    struct cw_source_id source = source_or_zero(&row[C_A_SOURCE]);
    if (row[C_A_STATUS].number == CW_ATTEMPT_FAILED) {
        list[(*count)++] = (struct cw_session_connection){
            .source = source,
            .status = CW_CONNECTION_FAILED,
            .failure_code = row[C_A_FAILURE].bytes,
            .failure_us = row[C_A_ENDED].number,
            .created_us = row[C_A_STARTED].number,
        };
    } else if (row[C_A_STATUS].number == CW_ATTEMPT_CONNECTED && row[C_C_STATUS].kind != CW_V_NULL) {
        struct cw_connection_id id = { cw_value_id(&row[C_A_CONNECTION]) };
        drop_earlier(list, count, id);
        list[(*count)++] = (struct cw_session_connection){
            .id = id,
            .source = source,
            .status = (enum cw_connection_status)row[C_C_STATUS].number,
            .failure_code = row[C_C_FAILURE].bytes,
            .failure_us = row[C_C_FAILURE_AT].number,
            .created_us = row[C_C_CREATED].number,
        };
    }
}

/* Folds the rows [first, end) of one Session. */
static enum cw_code fold(struct cw_model *m, const struct cw_rows *rows, size_t first, size_t end, struct cw_arena *arena,
                         struct cw_session *ret, struct cw_err *err)
{
    enum cw_code rc = read_session(m, cw_row(rows, first), arena, ret, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_session_connection *list = cw_arena_array(arena, end - first, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "session", "the arena is full");
    }
    size_t count = 0;
    bool waiting = false;
    int64_t now = cw_now_us();
    for (size_t i = first; i < end; i++) {
        const struct cw_value *row = cw_row(rows, i);
        waiting = waiting || in_flight(row, now);
        if (row[C_A_STATUS].kind != CW_V_NULL) {
            add_connection(row, list, &count);
        }
    }
    ret->connections = list;
    ret->connection_count = count;
    /* The janitor will write this; readers do not wait for it. */
    if (ret->status == CW_SESSION_OPEN && ret->expires_us <= now && !waiting) {
        ret->status = CW_SESSION_EXPIRED;
        ret->ended = CW_ENDED_TIMED_OUT;
        ret->ended_us = ret->expires_us;
    }
    return CW_OK;
}

static enum cw_code fold_only(struct cw_model *m, struct cw_db *db, const struct cw_query *query, struct cw_value key,
                              struct cw_arena *arena, struct cw_session *ret, struct cw_err *err)
{
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, query, &key, arena, &rows, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (rows.count == 0) {
        return cw_err_set(err, CW_E_NOT_FOUND, "session", "no such Session");
    }
    return fold(m, &rows, 0, rows.count, arena, ret, err);
}

enum cw_code session_load(struct cw_model *m, struct cw_db *db, struct cw_session_id id, struct cw_arena *arena,
                          struct cw_session *ret, struct cw_err *err)
{
    return fold_only(m, db, &q_by_id, cw_v_id(&id.ulid), arena, ret, err);
}

/* ---- the public readers */

enum cw_code cw_session_get(struct cw_model *m, struct cw_org_id org, struct cw_session_id id, struct cw_arena *arena,
                            struct cw_session *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = session_load(m, db, id, arena, ret, err);
    cw_db_put(db);
    if (rc == CW_OK && !cw_ulid_eq(ret->org.ulid, org.ulid)) {
        return cw_err_set(err, CW_E_NOT_FOUND, "session", "no such Session in this organization");
    }
    return rc;
}

static enum cw_code select_list(struct cw_db *db, struct cw_org_id org, struct cw_span patient_id,
                                enum cw_session_status status, struct cw_ulid after, unsigned limit,
                                struct cw_arena *arena, struct cw_rows *ret, struct cw_err *err)
{
    struct cw_ulid newest;
    memset(newest.bytes, 0xff, sizeof newest.bytes);
    struct cw_ulid before = cw_ulid_is_zero(after) ? newest : after;
    struct cw_value now = cw_v_time(cw_now_us());
    struct cw_value wanted = cw_v_int(status);
    struct cw_value most = cw_v_int((int64_t)limit + 1);
    if (patient_id.ptr != NULL) {
        const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_bytes(patient_id), cw_v_id(&before), wanted, now, now,
                                           wanted, most };
        return cw_db_select(db, &q_list_patient, params, arena, ret, err);
    }
    const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_id(&before), wanted, now, now, wanted, most };
    return cw_db_select(db, &q_list, params, arena, ret, err);
}

enum cw_code cw_session_list(struct cw_model *m, struct cw_org_id org, struct cw_span patient_id,
                             enum cw_session_status status, struct cw_ulid after, unsigned limit,
                             struct cw_arena *arena, struct cw_session **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_rows rows;
    rc = select_list(db, org, patient_id, status, after, limit, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_session *list = cw_arena_array(arena, (size_t)limit + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "session", "the arena is full");
    }
    size_t count = 0;
    for (size_t first = 0, end = 0; rc == CW_OK && first < rows.count; first = end) {
        struct cw_span id = cw_row(&rows, first)[C_ID].bytes;
        for (end = first; end < rows.count && cw_span_eq(cw_row(&rows, end)[C_ID].bytes, id);) {
            end++;
        }
        rc = fold(m, &rows, first, end, arena, &list[count++], err);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = count;
    }
    return rc;
}

static enum cw_code patient_name(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient,
                                 struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
{
    const struct cw_value *row = NULL;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_db_one(db, &q_name, (const struct cw_value[]){ cw_v_id(&patient.ulid) }, arena, &row, err);
    if (rc == CW_OK) {
        rc = cw_key_open(m, patient.ulid, &row[1], &key, err);
    }
    return rc == CW_OK ? cw_cell_unseal(&key, CW_AAD("patient.name", patient), &row[0], arena, ret, err) : rc;
}

enum cw_code cw_session_open_page(struct cw_model *m, struct cw_span secret, struct cw_arena *arena,
                                  struct cw_session_page *ret, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    if (!session_secret_hash(secret, hash)) {
        return cw_err_set(err, CW_E_NOT_FOUND, "session", "not the form of a Session's secret");
    }
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = fold_only(m, db, &q_by_secret, cw_v_bytes(cw_span_of(hash, sizeof hash)), arena, &ret->session, err);
    if (rc == CW_OK) {
        rc = patient_name(m, db, ret->session.patient, arena, &ret->patient_name, err);
    }
    cw_db_put(db);
    return rc == CW_OK ? cw_org_get(m, ret->session.org, arena, &ret->org, err) : rc;
}
