/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What apps are told of a connection. Told once per edge: a failure when it begins, the recovery when it is over and the failure
 * was told; connection.trouble_told_at is the memory of that.
 */
#include "config.h"
#include "model/connection_int.h"

#include "base/jsonw.h"
#include "model/keys.h"
#include "os/sys.h"

static const struct cw_query q_about = {
    .name = "connection.about",
    .sql = "SELECT c.organization, c.patient, c.source, c.created_at, p.patient_id FROM connection c"
           " JOIN patient p ON p.id = c.patient WHERE c.id = ?",
    .params = "b",
    .columns = "bbbtb",
};
static const struct cw_query q_trouble = {
    .name = "connection.trouble",
    .sql = "UPDATE connection SET trouble_told_at = ? WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_recovered = {
    .name = "connection.recovered",
    .sql = "UPDATE connection SET trouble_told_at = NULL WHERE id = ? AND trouble_told_at IS NOT NULL",
    .params = "b",
    .columns = "",
};

/* data.object: the contract's session-style connection, and who it is, which the contract's own event leaves out. */
static enum cw_code payload_of(const struct cw_value *row, struct cw_connection_id id, const struct connection_fact *fact,
                               struct cw_str *out)
{
    char connection[CW_ID_TEXT_MAX], source[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_CONNECTION, id.ulid, connection);
    cw_id_emit(CW_PREFIX_SOURCE, cw_value_id(&row[2]), source);
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "id", connection);
    cw_jsonw_key_cstr(&w, "connection_id", source);
    cw_jsonw_key_cstr(&w, "status", cw_connection_status_name(fact->status));
    cw_jsonw_key_cstr(&w, "failure_code", fact->failure_code);
    if (fact->failure_us != 0) {
        cw_jsonw_key_time(&w, "failure_at", fact->failure_us);
    } else {
        cw_jsonw_key_cstr(&w, "failure_at", NULL);
    }
    cw_jsonw_key_time(&w, "created_at", row[3].number);
    cw_jsonw_key_text(&w, "patient_id", row[4].bytes);
    if (fact->ends_us != 0) {
        cw_jsonw_key_time(&w, "expires_at", fact->ends_us);
        cw_jsonw_key_int(&w, "days", fact->days);
    }
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

static enum cw_code tell(struct cw_model *m, struct cw_db *db, struct cw_connection_id id,
                         const struct connection_fact *fact, struct cw_arena *arena, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    CW_AUTO_STR payload;
    cw_str_init(&payload, 8192);
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_about, params, arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = payload_of(row, id, fact, &payload);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "connection.tell", "the event could not be written");
    }
    struct cw_org_id org = { cw_value_id(&row[0]) };
    struct cw_patient_row patient = { cw_value_id(&row[1]) };
    rc = cw_patient_key(m, db, patient, 0, &key, err);
    return rc == CW_OK ? cw_event_write(db, org, patient, &key, fact->kind, id.ulid, cw_str_span(&payload), err) : rc;
}

enum cw_code connection_tell(struct cw_model *m, struct cw_db *db, struct cw_connection_id id,
                             const struct connection_fact *fact, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(16384);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "connection.tell", "out of memory");
    }
    enum cw_code rc = tell(m, db, id, fact, arena, err);
    cw_arena_free(arena);
    return rc;
}

enum cw_code connection_trouble(struct cw_db *db, struct cw_connection_id id, int64_t now_us, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(now_us), cw_v_id(&id.ulid) };
    return cw_db_exec(db, &q_trouble, params, NULL, err);
}

enum cw_code connection_recover(struct cw_model *m, struct cw_db *db, struct cw_connection_id id, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    uint64_t told = 0;
    enum cw_code rc = cw_db_exec(db, &q_recovered, params, &told, err);
    struct connection_fact fact = { .kind = CW_EVENT_CONNECTION_RECOVERED, .status = CW_CONNECTION_ACTIVE };
    return rc == CW_OK && told > 0 ? connection_tell(m, db, id, &fact, err) : rc;
}
