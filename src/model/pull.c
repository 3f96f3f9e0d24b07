/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls: the plan, the pages, the end. Every write checks the job's fence first (cw_job_hold), inside its transaction, so a
 * scheduler that lost its lease changes nothing; and a page commits whole, so kill -9 loses none and stores none twice.
 */
#include "config.h"
#include "model/pull.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/event.h"
#include "model/failure.h"
#include "model/keys.h"
#include "model/pull_int.h"
#include "os/sys.h"

static const struct cw_query q_connection_lock = {
    .name = "pull.connection_lock",
    .sql = "SELECT status FROM connection WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_pull_unended = {
    .name = "pull.unended",
    .sql = "SELECT id FROM pull WHERE connection = ? AND status <= 2 ORDER BY id DESC LIMIT 1",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_pull_insert = {
    .name = "pull.insert",
    .sql = "INSERT INTO pull (id, organization, patient, connection, endpoint, trigger_kind, mode, status, key_version,"
           " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, ?)",
    .params = "bbbbbiit",
    .columns = "",
};
static const struct cw_query q_patient_connections = {
    .name = "pull.patient_connections",
    .sql = "SELECT c.id, c.patient, c.endpoint FROM patient p JOIN connection c ON c.patient = p.id"
           " WHERE p.organization = ? AND p.patient_id = ? AND c.status = 1 ORDER BY c.id LIMIT 500",
    .params = "bb",
    .columns = "bbb",
};

static const struct cw_query q_some_connections = {
    .name = "pull.some_connections",
    .sql = "SELECT id, patient, endpoint, status FROM connection WHERE patient = ? AND (? = 1 OR id = ? OR source = ?)"
           " ORDER BY id LIMIT 500",
    .params = "bibb",
    .columns = "bbbi",
};

#define PULL_COLUMNS \
    "SELECT id, organization, patient, connection, endpoint, trigger_kind, status, failure_code, plan, requests," \
    " received, stored, unchanged, errors, created_at, started_at, ended_at," \
    " (SELECT source FROM connection WHERE connection.id = pull.connection), mode, created, vanished, vanish_suspected FROM pull "
#define PULL_KINDS "bbbbbiibbiiiiitttb" "iiii"

static const struct cw_query q_pull_get = {
    .name = "pull.get",
    .sql = PULL_COLUMNS "WHERE id = ?",
    .params = "b",
    .columns = PULL_KINDS,
};
static const struct cw_query q_pull_list = {
    .name = "pull.list",
    .sql = PULL_COLUMNS "WHERE patient = ? AND id < ? AND (status <> 1 OR trigger_kind <> 3 OR NOT EXISTS (SELECT 1 FROM job j"
                         " WHERE j.kind = 1 AND j.subject = pull.id AND j.tries = 0 AND j.ready_at > ?)) ORDER BY id DESC LIMIT ?",
    .params = "bbti",
    .columns = PULL_KINDS,
};
static const struct cw_query q_pull_lock = {
    .name = "pull.lock",
    .sql = "SELECT status, patient FROM pull WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "ib",
};
static const struct cw_query q_pull_planned = {
    .name = "pull.planned",
    .sql = "UPDATE pull SET status = 2, plan = ?, started_at = ?,"
           " seq_before = (SELECT p.change_seq FROM patient p WHERE p.id = pull.patient) WHERE id = ?",
    .params = "btb",
    .columns = "",
};
/* A full pull begins from nothing: what of it does not come is asked for whole the next time too. */
static const struct cw_query q_no_watermarks = {
    .name = "pull.no_watermarks",
    .sql = "DELETE w FROM pull u JOIN pull_watermark w ON w.connection = u.connection WHERE u.id = ? AND u.mode = 1",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_job_sooner = {
    .name = "pull.job_sooner",
    .sql = "UPDATE job SET ready_at = ?, priority = ? WHERE kind = 1 AND subject = ? AND ready_at > ?",
    .params = "tibt",
    .columns = "",
};
static const struct cw_query q_whole = {
    .name = "pull.whole",
    .sql = "UPDATE pull SET trigger_kind = ?, mode = 1 WHERE id = ? AND status = 1",
    .params = "ib",
    .columns = "",
};

const char *cw_pull_status_name(enum cw_pull_status status)
{
    static const char *const names[] = { "?", "waiting", "running", "complete", "partial", "failed" };
    return (size_t)status < CW_ARRAY_LEN(names) ? names[status] : names[0];
}

const char *cw_pull_trigger_name(enum cw_pull_trigger trigger)
{
    static const char *const names[] = { "?", "connected", "manual", "schedule" };
    return (size_t)trigger < CW_ARRAY_LEN(names) ? names[trigger] : names[0];
}

/* ---------------------------------------------------------------------------------------------- starting */

enum cw_code cw_pull_insert(struct cw_db *db, const struct cw_pull_new *pull, struct cw_pull_id *ret, struct cw_err *err)
{
    const struct cw_connection *connection = pull->connection;
    struct cw_pull_id id = { cw_ulid_new() };
    struct cw_value params[] = {
        cw_v_id(&id.ulid),
        cw_v_id(&connection->org.ulid),
        cw_v_id(&connection->patient.ulid),
        cw_v_id(&connection->id.ulid),
        cw_v_id(&connection->endpoint.ulid),
        cw_v_int(pull->trigger),
        cw_v_int(pull->mode),
        cw_v_time(cw_now_us()),
    };
    enum cw_code rc = cw_db_exec(db, &q_pull_insert, params, NULL, err);
    if (rc == CW_OK) {
        /* A patient who has just connected waits for it; a scheduled pull does not. */
        enum cw_job_lane lane = pull->trigger == CW_PULL_SCHEDULE ? CW_JOB_BY_THE_CLOCK : CW_JOB_WAITED_FOR;
        rc = cw_job_add(db, CW_JOB_PULL, id.ulid, connection->endpoint, lane, pull->ready_us, err);
    }
    if (rc == CW_OK) {
        *ret = id;
    }
    return rc;
}

enum cw_code cw_pull_begin_now(struct cw_db *db, struct cw_pull_id id, enum cw_pull_trigger trigger, bool *ret_sooner,
                               struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_value job[] = { cw_v_time(now_us), cw_v_int(CW_JOB_WAITED_FOR), cw_v_id(&id.ulid), cw_v_time(now_us) };
    struct cw_value pull[] = { cw_v_int(trigger), cw_v_id(&id.ulid) };
    uint64_t sooner = 0;
    enum cw_code rc = cw_db_exec(db, &q_job_sooner, job, &sooner, err);
    if (rc == CW_OK && sooner > 0) {
        rc = cw_db_exec(db, &q_whole, pull, NULL, err);
    }
    if (rc == CW_OK) {
        *ret_sooner = sooner > 0;
    }
    return rc;
}

enum cw_code cw_pull_start_in(struct cw_model *m, struct cw_db *db, const struct cw_connection *connection,
                              enum cw_pull_trigger trigger, struct cw_pull_id *ret, struct cw_err *err)
{
    (void)m;
    if (!cw_db_in_tx(db)) {
        cw_bug("cw_pull_start_in outside a transaction");
    }
    struct cw_arena *arena = cw_arena_new(8192);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.start", "out of memory");
    }
    struct cw_value id_param[] = { cw_v_id(&connection->id.ulid) };
    const struct cw_value *row;
    struct cw_rows rows = { 0 };
    /* The connection's row serialises two starts of the same pull. */
    enum cw_code rc = cw_db_one(db, &q_connection_lock, id_param, arena, &row, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_pull_unended, id_param, arena, &rows, err);
    }
    if (rc == CW_OK && rows.count > 0) {
        ret->ulid = cw_value_id(&cw_row(&rows, 0)[0]);
        rc = cw_err_set(err, CW_E_CONFLICT, "pull.start", "a pull of this connection waits or runs already");
    }
    cw_arena_free(arena);
    const struct cw_pull_new pull = { connection, trigger, CW_PULL_FULL, cw_now_us() };
    return rc == CW_OK ? cw_pull_insert(db, &pull, ret, err) : rc;
}

struct start {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_span patient_id;
    struct cw_patient_row patient;
    struct cw_ulid only;
    struct cw_pull_id *ids; /* room for 500; NULL: only counted */
    unsigned count;
};

/* One connection's: a row of id, patient and endpoint. */
static enum cw_code start_one(struct start *start, struct cw_db *db, const struct cw_value *row, struct cw_err *err)
{
    struct cw_connection connection = { .id = { cw_value_id(&row[0]) },
                                        .org = start->org,
                                        .patient = { cw_value_id(&row[1]) },
                                        .endpoint = { cw_value_id(&row[2]) } };
    struct cw_pull_id pull;
    enum cw_code rc = cw_pull_start_in(start->m, db, &connection, CW_PULL_MANUAL, &pull, err);
    if (rc == CW_E_CONFLICT) {
        bool sooner = false;
        rc = cw_pull_begin_now(db, pull, CW_PULL_MANUAL, &sooner, err);
        if (rc == CW_OK && !sooner) {
            return CW_OK; /* one that runs is what was asked for */
        }
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_audit_row audit = { .org = start->org,
                                  .action = "pull.start",
                                  .patient = connection.patient,
                                  .object = pull.ulid };
    rc = cw_audit_write(db, start->actor, &audit, err);
    if (rc == CW_OK && start->ids != NULL) {
        start->ids[start->count] = pull;
    }
    start->count += rc == CW_OK;
    return rc;
}

static enum cw_code start_each(struct start *start, struct cw_db *db, const struct cw_rows *rows, struct cw_err *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        enum cw_code rc = start_one(start, db, cw_row(rows, i), err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

static enum cw_code start_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct start *start = arg;
    start->count = 0;
    struct cw_arena *arena = cw_arena_new(256 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.start", "out of memory");
    }
    struct cw_value params[] = { cw_v_id(&start->org.ulid), cw_v_bytes(start->patient_id) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_patient_connections, params, arena, &rows, err);
    if (rc == CW_OK && rows.count == 0) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "pull.start", "no such patient, or none of its connections is active");
    }
    if (rc == CW_OK) {
        rc = start_each(start, db, &rows, err);
    }
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_pull_start_patient(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                   struct cw_span patient_id, unsigned *ret_count, struct cw_err *err)
{
    struct start start = { .m = m, .actor = actor, .org = org, .patient_id = patient_id };
    enum cw_code rc = cw_tx_pool(m->pool, start_tx, &start, err);
    if (rc == CW_OK) {
        *ret_count = start.count;
    }
    return rc;
}

/* Those of the patient's connections that are named and active. */
static enum cw_code some_each(struct start *start, struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&start->patient.ulid), cw_v_int(cw_ulid_is_zero(start->only)), cw_v_id(&start->only),
                                 cw_v_id(&start->only) };
    struct cw_rows rows;
    unsigned active = 0;
    enum cw_code rc = cw_db_select(db, &q_some_connections, params, arena, &rows, err);
    if (rc == CW_OK && rows.count == 0 && !cw_ulid_is_zero(start->only)) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "pull.start", "the patient has no such connection");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        if (cw_row(&rows, i)[3].number == CW_CONNECTION_ACTIVE) {
            active++;
            rc = start_one(start, db, cw_row(&rows, i), err);
        }
    }
    if (rc == CW_OK && active == 0) {
        rc = cw_err_set(err, CW_E_STATE, "pull.start", "no connection is active");
    }
    return rc == CW_OK && start->count == 0 ? cw_err_set(err, CW_E_CONFLICT, "pull.start", "they all wait or run already") : rc;
}

static enum cw_code some_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct start *start = arg;
    start->count = 0;
    struct cw_arena *arena = cw_arena_new(256 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.start", "out of memory");
    }
    enum cw_code rc = some_each(start, db, arena, err);
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_pull_start_some(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org, struct cw_patient_row patient,
                                struct cw_ulid only, struct cw_arena *arena, struct cw_pull **ret, size_t *ret_count,
                                struct cw_err *err)
{
    struct start start = { .m = m, .actor = actor, .org = org, .patient = patient, .only = only };
    start.ids = cw_arena_array(arena, 500, sizeof *start.ids);
    if (start.ids == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.start", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, some_tx, &start, err);
    struct cw_pull *pulls = rc == CW_OK ? cw_arena_array(arena, start.count, sizeof *pulls) : NULL;
    if (rc == CW_OK && pulls == NULL) {
        rc = cw_err_set(err, CW_E_OOM, "pull.start", "out of memory");
    }
    for (unsigned i = 0; rc == CW_OK && i < start.count; i++) {
        rc = cw_pull_get(m, start.ids[i], arena, &pulls[i], err);
    }
    if (rc == CW_OK) {
        *ret = pulls;
        *ret_count = start.count;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- reading */

static void pull_of_row(const struct cw_value *row, struct cw_pull *ret)
{
    *ret = (struct cw_pull){
        .id = { cw_value_id(&row[0]) },
        .org = { cw_value_id(&row[1]) },
        .patient = { cw_value_id(&row[2]) },
        .connection = { cw_value_id(&row[3]) },
        .endpoint = { cw_value_id(&row[4]) },
        .trigger = (enum cw_pull_trigger)row[5].number,
        .status = (enum cw_pull_status)row[6].number,
        .failure_code = row[7].bytes,
        .plan = row[8].bytes,
        .requests = (unsigned)row[9].number,
        .received = (unsigned)row[10].number,
        .stored = (unsigned)row[11].number,
        .unchanged = (unsigned)row[12].number,
        .errors = (unsigned)row[13].number,
        .created_us = row[14].number,
        .started_us = row[15].number,
        .ended_us = row[16].number,
        .mode = (enum cw_pull_mode)row[18].number,
        .created = (unsigned)row[19].number,
        .vanished = (unsigned)row[20].number,
        .vanish_suspected = (unsigned)row[21].number,
    };
    if (row[17].kind != CW_V_NULL) {
        ret->source.ulid = cw_value_id(&row[17]);
    }
}

enum cw_code cw_pull_get(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull *ret,
                         struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    rc = cw_db_one(db, &q_pull_get, params, arena, &row, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        pull_of_row(row, ret);
    }
    return rc;
}

static enum cw_code list(struct cw_model *m, struct cw_patient_row patient, struct cw_ulid after, int64_t most, struct cw_arena *arena,
                         struct cw_pull **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_ulid below = after;
    if (cw_ulid_is_zero(after)) {
        memset(below.bytes, 0xff, sizeof below.bytes);
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid), cw_v_id(&below), cw_v_time(cw_now_us()), cw_v_int(most) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_pull_list, params, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_pull *pulls = cw_arena_array(arena, rows.count + 1, sizeof *pulls);
    if (pulls == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.list", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        pull_of_row(cw_row(&rows, i), &pulls[i]);
    }
    *ret = pulls;
    *ret_count = rows.count;
    return CW_OK;
}

enum cw_code cw_pull_list(struct cw_model *m, struct cw_patient_row patient, unsigned limit, struct cw_arena *arena,
                          struct cw_pull **ret, size_t *ret_count, struct cw_err *err)
{
    return list(m, patient, (struct cw_ulid){ 0 }, limit, arena, ret, ret_count, err);
}

enum cw_code cw_pull_page(struct cw_model *m, struct cw_patient_row patient, struct cw_ulid after, unsigned limit, struct cw_arena *arena,
                          struct cw_pull **ret, size_t *ret_count, struct cw_err *err)
{
    return list(m, patient, after, (int64_t)limit + 1, arena, ret, ret_count, err);
}

/* ---------------------------------------------------------------------------------------------- planning */

enum cw_code cw_pull_lock(struct cw_db *db, struct cw_pull_id id, struct cw_arena *arena,
                          enum cw_pull_status *ret_status, struct cw_patient_row *ret_patient, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_pull_lock, params, arena, &row, err);
    if (rc == CW_OK) {
        *ret_status = (enum cw_pull_status)row[0].number;
        ret_patient->ulid = cw_value_id(&row[1]);
    }
    return rc;
}

struct planning {
    struct cw_model *m;
    const char *owner;
    const struct cw_job *job;
    struct cw_pull_id id;
    struct cw_span plan;
    const struct cw_task_new *tasks;
    size_t count;
};

static enum cw_code plan_locked(struct planning *plan, struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    enum cw_pull_status status;
    struct cw_patient_row patient;
    enum cw_code rc = cw_pull_lock(db, plan->id, arena, &status, &patient, err);
    if (rc != CW_OK || status != CW_PULL_WAITING) {
        return rc; /* planned before: the tasks are there */
    }
    CW_AUTO_DATA_KEY key;
    rc = cw_patient_key(plan->m, db, patient, 0, &key, err);
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_bytes(plan->plan), cw_v_time(cw_now_us()), cw_v_id(&plan->id.ulid) };
        rc = cw_db_exec(db, &q_pull_planned, params, NULL, err);
    }
    if (rc == CW_OK) {
        struct cw_value id[] = { cw_v_id(&plan->id.ulid) };
        rc = cw_db_exec(db, &q_no_watermarks, id, NULL, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_tasks_add(db, plan->id, &key, plan->tasks, plan->count, arena, err);
    }
    return rc;
}

static enum cw_code plan_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct planning *plan = arg;
    enum cw_code rc = cw_job_hold(db, plan->owner, plan->job, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_arena *arena = cw_arena_new((size_t)8 * 1024 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.plan", "out of memory");
    }
    rc = plan_locked(plan, db, arena, err);
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_pull_plan(struct cw_model *m, const char *owner, const struct cw_job *job, struct cw_pull_id id,
                          struct cw_span plan_json, const struct cw_task_new *tasks, size_t count, struct cw_err *err)
{
    struct planning plan = { m, owner, job, id, plan_json, tasks, count };
    return cw_tx_pool(m->pool, plan_tx, &plan, err);
}
