/* SPDX-License-Identifier: Apache-2.0 */
/* See pull_schedule.h. The connection's row serialises the end of a pull, a start by hand, and the sweep. */
#include "config.h"
#include "model/pull_schedule.h"

#include "base/time.h"
#include "model/failure.h"
#include "model/pull_int.h"
#include "os/sys.h"

#define SWEEP_MAX 200u
#define OVERDUE_US (2 * CW_DAY_US)
#define NEVER_US INT64_C(253370764800000000) /* 9999-01-01: held */
#define FAILURES_MAX 1000

static const struct cw_query q_lock = {
    .name = "pull_schedule.lock",
    .sql = "SELECT status, organization, patient, endpoint, one_time, pull_failures, full_pulled_at, next_pull_at FROM connection"
           " WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "ibbbiitt",
};
enum { L_STATUS, L_ORG, L_PATIENT, L_ENDPOINT, L_ONE_TIME, L_FAILURES, L_FULL, L_NEXT };
static const struct cw_query q_facts = {
    .name = "pull_schedule.facts",
    .sql = "SELECT s.state, s.country, IF(c.one_time OR g.ends_fixed, g.ends_at, NULL), COALESCE(p.incremental_s, o.incremental_s),"
           " COALESCE(p.full_s, o.full_s), COALESCE(p.window_from, o.window_from), COALESCE(p.window_to, o.window_to),"
           " COALESCE(p.enabled, o.enabled) FROM connection c LEFT JOIN source s ON s.id = c.source"
           " LEFT JOIN token_grant g ON g.connection = c.id LEFT JOIN pull_policy p ON p.organization = c.organization AND p.source = c.source"
           " LEFT JOIN pull_policy o ON o.organization = c.organization AND o.source = x'00000000000000000000000000000000' WHERE c.id = ?",
    .params = "b",
    .columns = "bbtiiiii",
};
enum { F_STATE, F_COUNTRY, F_ENDS, F_INCREMENTAL, F_FULL, F_FROM, F_TO, F_ENABLED };
static const struct cw_query q_failed_tasks = {
    .name = "pull_schedule.failed_tasks",
    .sql = "SELECT failure_code FROM pull_task WHERE pull = ? AND status = 3 LIMIT 100",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_unended = {
    .name = "pull_schedule.unended",
    .sql = "SELECT id FROM pull WHERE connection = ? AND status <= 2 ORDER BY id DESC LIMIT 1",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_planned = {
    .name = "pull_schedule.planned",
    .sql = "UPDATE connection SET next_pull_at = ?, pull_hold = ?, pull_failures = ?, full_pulled_at = ? WHERE id = ?",
    .params = "tbitb",
    .columns = "",
};
static const struct cw_query q_unplanned = {
    .name = "pull_schedule.unplanned",
    .sql = "SELECT id FROM connection FORCE INDEX (status) WHERE status = 1 AND (next_pull_at IS NULL OR next_pull_at <= ?)"
           " ORDER BY next_pull_at LIMIT ?",
    .params = "ti",
    .columns = "b",
};
static const struct cw_query q_list = {
    .name = "pull_schedule.list",
    .sql = "SELECT c.id, c.status, j.ready_at, u.mode, c.pull_hold, c.pull_failures, c.full_pulled_at FROM connection c"
           " LEFT JOIN pull u ON u.connection = c.id AND u.status = 1 LEFT JOIN job j ON j.kind = 1 AND j.subject = u.id"
           " WHERE c.patient = ? ORDER BY c.id LIMIT 500",
    .params = "b",
    .columns = "bitibit",
};

/* ---------------------------------------------------------------------------------------------- planning */

struct planning {
    struct cw_db *db;
    struct cw_arena *arena;
    struct cw_connection_id id;
    enum cw_schedule_outcome outcome;
    unsigned failures;
    int64_t full_us, told_us;
};

static struct cw_schedule_policy policy_of(const struct cw_value *facts)
{
    if (facts[F_ENABLED].kind == CW_V_NULL) {
        return CW_SCHEDULE_DEFAULT;
    }
    return (struct cw_schedule_policy){ .enabled = facts[F_ENABLED].number != 0,
                                        .incremental_s = (uint32_t)facts[F_INCREMENTAL].number,
                                        .full_s = (uint32_t)facts[F_FULL].number,
                                        .window_from = (unsigned)facts[F_FROM].number,
                                        .window_to = (unsigned)facts[F_TO].number };
}

static enum cw_code note(struct planning *p, int64_t at_us, const char *hold, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time_opt(at_us), cw_v_bytes(cw_span_cstr(hold)), cw_v_int(p->failures), cw_v_time_opt(p->full_us),
                                 cw_v_id(&p->id.ulid) };
    return cw_db_exec(p->db, &q_planned, params, NULL, err);
}

/* Inserts what comes next and notes it. `locked` is the connection's row. */
static enum cw_code plan(struct planning *p, const struct cw_value *locked, struct cw_err *err)
{
    struct cw_value id_param[] = { cw_v_id(&p->id.ulid) };
    const struct cw_value *facts;
    enum cw_code rc = cw_db_one(p->db, &q_facts, id_param, p->arena, &facts, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_schedule_input in = { .policy = policy_of(facts),
                                          .outcome = p->outcome,
                                          .failures = p->failures,
                                          .now_us = cw_now_us(),
                                          .last_full_us = p->full_us,
                                          .told_us = p->told_us,
                                          .ends_us = facts[F_ENDS].number,
                                          .zone = cw_zone_of(facts[F_STATE].bytes, facts[F_COUNTRY].bytes),
                                          .spread = cw_schedule_spread(p->id.ulid) };
    struct cw_schedule_next next = cw_schedule_next(&in);
    if (next.at_us != 0) {
        const struct cw_connection connection = { .id = p->id,
                                                  .org = { cw_value_id(&locked[L_ORG]) },
                                                  .patient = { cw_value_id(&locked[L_PATIENT]) },
                                                  .endpoint = { cw_value_id(&locked[L_ENDPOINT]) } };
        const struct cw_pull_new pull = { &connection, CW_PULL_SCHEDULE, next.mode, next.at_us };
        struct cw_pull_id id;
        rc = cw_pull_insert(p->db, &pull, &id, err);
    }
    return rc == CW_OK ? note(p, next.hold != NULL ? NEVER_US : next.at_us, next.hold, err) : rc;
}

/* ---------------------------------------------------------------------------------------------- after a pull */

static bool is_denial(struct cw_span code)
{
    static const char *const codes[] = { "no_access",    "no_access_yet", "access_withheld", "not_offered",
                                         "unauthorized", "not_found",     "gone",            "query_refused" };
    for (size_t i = 0; i < CW_ARRAY_LEN(codes); i++) {
        if (cw_span_eq_cstr(code, codes[i])) {
            return true;
        }
    }
    return false;
}

/* Nothing came: was all of it withheld, or was something the matter that passes? */
static enum cw_code nothing_came(struct cw_db *db, struct cw_pull_id id, struct cw_arena *arena, enum cw_schedule_outcome *ret,
                                 struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&id.ulid) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_failed_tasks, params, arena, &rows, err);
    *ret = CW_SCHEDULE_NO_ACCESS;
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        if (!is_denial(cw_row(&rows, i)[0].bytes)) {
            *ret = CW_SCHEDULE_UNREACHABLE;
        }
    }
    return rc;
}

static enum cw_code outcome_of(struct cw_db *db, const struct cw_pull_ended *ended, struct cw_arena *arena,
                               enum cw_schedule_outcome *ret, struct cw_err *err)
{
    static const struct {
        const char *code;
        enum cw_schedule_outcome outcome;
    } table[] = {
        { CW_FAIL_GAVE_UP, CW_SCHEDULE_UNREACHABLE },
        { CW_FAIL_FHIR_VERSION, CW_SCHEDULE_NO_ACCESS }, /* servers are replaced one day */
        { CW_FAIL_ENDPOINT_MOVED, CW_SCHEDULE_OPERATOR },
        { CW_FAIL_CONNECTION_UNREADABLE, CW_SCHEDULE_OPERATOR },
        { CW_FAIL_GRANT_ENDED, CW_SCHEDULE_GRANT_ENDED },
        { CW_FAIL_ACCESS_ENDED, CW_SCHEDULE_GRANT_ENDED },
        { CW_FAIL_CONNECTION_NOT_ACTIVE, CW_SCHEDULE_GRANT_ENDED },
    };
    *ret = ended->told_us != 0 ? CW_SCHEDULE_THROTTLED : CW_SCHEDULE_ARRIVED;
    if (ended->status != CW_PULL_FAILED || ended->told_us != 0) {
        return CW_OK;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(table); i++) {
        if (cw_span_eq_cstr(cw_span_cstr(ended->failure_code), table[i].code)) {
            *ret = table[i].outcome;
            return CW_OK;
        }
    }
    return nothing_came(db, ended->id, arena, ret, err);
}

enum cw_code pull_schedule_next(struct cw_db *db, const struct cw_pull_ended *ended, struct cw_arena *arena, struct cw_err *err)
{
    struct planning p = { .db = db, .arena = arena, .id = ended->connection, .told_us = ended->told_us };
    struct cw_value id_param[] = { cw_v_id(&p.id.ulid) };
    const struct cw_value *locked;
    enum cw_code rc = cw_db_one(db, &q_lock, id_param, arena, &locked, err);
    if (rc == CW_OK) {
        rc = outcome_of(db, ended, arena, &p.outcome, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    bool failed = ended->status == CW_PULL_FAILED;
    int64_t before = locked[L_FAILURES].number;
    p.failures = !failed ? 0 : before < FAILURES_MAX ? (unsigned)before + 1 : FAILURES_MAX;
    p.full_us = !failed && ended->mode == CW_PULL_FULL ? cw_now_us() : locked[L_FULL].number;
    /* One that is no longer active plans nothing; made active again it is not planned, and so the janitor's. */
    return locked[L_STATUS].number == CW_CONNECTION_ACTIVE ? plan(&p, locked, err) : note(&p, 0, NULL, err);
}

/* ---------------------------------------------------------------------------------------------- the sweep */

struct looking {
    struct cw_connection_id id;
    struct cw_arena *arena;
    bool planned;
};

/* Locked and looked at again: of two nodes that saw the same row the second finds nothing to do. */
static enum cw_code look_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct looking *look = arg;
    struct planning p = { .db = db, .arena = look->arena, .id = look->id, .outcome = CW_SCHEDULE_ARRIVED };
    struct cw_value id_param[] = { cw_v_id(&p.id.ulid) };
    const struct cw_value *locked;
    struct cw_rows rows;
    int64_t now_us = cw_now_us();
    look->planned = false;
    cw_arena_clear(look->arena);
    enum cw_code rc = cw_db_one(db, &q_lock, id_param, look->arena, &locked, err);
    if (rc == CW_E_NOT_FOUND) {
        return CW_OK; /* its patient was deleted meanwhile */
    }
    if (rc != CW_OK || locked[L_STATUS].number != CW_CONNECTION_ACTIVE ||
        (locked[L_NEXT].kind != CW_V_NULL && locked[L_NEXT].number > now_us - OVERDUE_US)) {
        return rc;
    }
    p.failures = (unsigned)locked[L_FAILURES].number;
    p.full_us = locked[L_FULL].number;
    rc = cw_db_select(db, &q_unended, id_param, look->arena, &rows, err);
    if (rc == CW_OK && rows.count > 0) {
        return note(&p, now_us, NULL, err); /* it has one: looked at again in two days */
    }
    if (rc == CW_OK) {
        rc = plan(&p, locked, err);
    }
    look->planned = rc == CW_OK;
    return rc;
}

static enum cw_code unplanned(struct cw_model *m, unsigned limit, struct cw_arena *arena, struct cw_rows *ret, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(cw_now_us() - OVERDUE_US), cw_v_int(limit < SWEEP_MAX ? limit : SWEEP_MAX) };
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_unplanned, params, arena, ret, err);
        cw_db_put(db);
    }
    return rc;
}

enum cw_code cw_pull_schedule_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                    struct cw_err *err)
{
    (void)actor;
    struct cw_arena *list = cw_arena_new(64 * 1024);
    struct looking look = { .arena = cw_arena_new(64 * 1024) };
    struct cw_rows rows = { .count = 0 };
    unsigned count = 0;
    enum cw_code rc = CW_E_OOM;
    if (list == NULL || look.arena == NULL) {
        (void)cw_err_set(err, rc, "pull_schedule", "out of memory");
        goto out;
    }
    rc = unplanned(m, limit, list, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        look.id.ulid = cw_value_id(&cw_row(&rows, i)[0]);
        rc = cw_tx_pool(m->pool, look_tx, &look, err);
        count += rc == CW_OK && look.planned;
    }
    if (rc == CW_OK) {
        *ret_count = count;
    }
out:
    cw_arena_free(list);
    cw_arena_free(look.arena);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- for the operator */

enum cw_code cw_pull_schedule_list(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                                   struct cw_pull_plan_row **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&patient.ulid) };
    struct cw_rows rows;
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_db_select(db, &q_list, params, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_pull_plan_row *list = cw_arena_array(arena, rows.count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull_schedule.list", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        list[i] = (struct cw_pull_plan_row){ .connection = { cw_value_id(&row[0]) },
                                             .status = (enum cw_connection_status)row[1].number,
                                             .at_us = row[2].number,
                                             .mode = (enum cw_pull_mode)row[3].number,
                                             .hold = row[4].bytes,
                                             .failures = (unsigned)row[5].number,
                                             .full_us = row[6].number };
    }
    *ret = list;
    *ret_count = rows.count;
    return CW_OK;
}
