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
    .sql = "INSERT INTO pull (id, organization, patient, connection, endpoint, trigger_kind, status, key_version,"
           " created_at) VALUES (?, ?, ?, ?, ?, ?, 1, 0, ?)",
    .params = "bbbbbit",
    .columns = "",
};
static const struct cw_query q_patient_connections = {
    .name = "pull.patient_connections",
    .sql = "SELECT c.id, c.patient, c.endpoint FROM patient p JOIN connection c ON c.patient = p.id"
           " WHERE p.organization = ? AND p.patient_id = ? AND c.status = 1 ORDER BY c.id LIMIT 500",
    .params = "bb",
    .columns = "bbb",
};

#define PULL_COLUMNS \
    "SELECT id, organization, patient, connection, endpoint, trigger_kind, status, failure_code, plan, requests," \
    " received, stored, unchanged, errors, created_at, started_at, ended_at FROM pull "
#define PULL_KINDS "bbbbbiibbiiiiittt"

static const struct cw_query q_pull_get = {
    .name = "pull.get",
    .sql = PULL_COLUMNS "WHERE id = ?",
    .params = "b",
    .columns = PULL_KINDS,
};
static const struct cw_query q_pull_list = {
    .name = "pull.list",
    .sql = PULL_COLUMNS "WHERE patient = ? ORDER BY id DESC LIMIT ?",
    .params = "bi",
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
    .sql = "UPDATE pull SET status = 2, plan = ?, started_at = ? WHERE id = ?",
    .params = "btb",
    .columns = "",
};
static const struct cw_query q_job_sooner = {
    .name = "pull.job_sooner",
    .sql = "UPDATE job SET ready_at = ? WHERE kind = 1 AND subject = ? AND ready_at > ?",
    .params = "tbt",
    .columns = "",
};

const char *cw_pull_status_name(enum cw_pull_status status)
{
    static const char *const names[] = { "?", "waiting", "running", "complete", "partial", "failed" };
    return (size_t)status < CW_ARRAY_LEN(names) ? names[status] : names[0];
}

/* ---------------------------------------------------------------------------------------------- starting */

/* The rows of pull and job, whatever else this connection has. */
enum cw_code cw_pull_insert(struct cw_db *db, const struct cw_connection *connection, enum cw_pull_trigger trigger,
                             int64_t ready_us, struct cw_pull_id *ret, struct cw_err *err)
{
    struct cw_pull_id id = { cw_ulid_new() };
    struct cw_value params[] = {
        cw_v_id(&id.ulid),
        cw_v_id(&connection->org.ulid),
        cw_v_id(&connection->patient.ulid),
        cw_v_id(&connection->id.ulid),
        cw_v_id(&connection->endpoint.ulid),
        cw_v_int(trigger),
        cw_v_time(cw_now_us()),
    };
    enum cw_code rc = cw_db_exec(db, &q_pull_insert, params, NULL, err);
    if (rc == CW_OK) {
        /* A patient who has just connected waits for it; a scheduled pull does not. */
        enum cw_job_lane lane = trigger == CW_PULL_SCHEDULE ? CW_JOB_BY_THE_CLOCK : CW_JOB_WAITED_FOR;
        rc = cw_job_add(db, CW_JOB_PULL, id.ulid, connection->endpoint, lane, ready_us, err);
    }
    if (rc == CW_OK) {
        *ret = id;
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
    return rc == CW_OK ? cw_pull_insert(db, connection, trigger, cw_now_us(), ret, err) : rc;
}

struct start {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_span patient_id;
    unsigned count;
};

static enum cw_code start_each(struct start *start, struct cw_db *db, const struct cw_rows *rows, struct cw_err *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct cw_value *row = cw_row(rows, i);
        struct cw_connection connection = { .id = { cw_value_id(&row[0]) },
                                            .org = start->org,
                                            .patient = { cw_value_id(&row[1]) },
                                            .endpoint = { cw_value_id(&row[2]) } };
        struct cw_pull_id pull;
        enum cw_code rc = cw_pull_start_in(start->m, db, &connection, CW_PULL_MANUAL, &pull, err);
        uint64_t sooner = 0;
        if (rc == CW_E_CONFLICT) {
            /* One that waits for another day begins now; one that runs is what was asked for. */
            int64_t now_us = cw_now_us();
            struct cw_value params[] = { cw_v_time(now_us), cw_v_id(&pull.ulid), cw_v_time(now_us) };
            rc = cw_db_exec(db, &q_job_sooner, params, &sooner, err);
            if (rc == CW_OK && sooner == 0) {
                continue;
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
        if (rc != CW_OK) {
            return rc;
        }
        start->count++;
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
    };
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

enum cw_code cw_pull_list(struct cw_model *m, struct cw_patient_row patient, unsigned limit, struct cw_arena *arena,
                          struct cw_pull **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid), cw_v_int(limit) };
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
