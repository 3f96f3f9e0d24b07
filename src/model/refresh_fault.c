/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of a refresh that brought no tokens, and what dead processes left. See refresh.h. */
#include "config.h"
#include "model/refresh.h"

#include "model/audit.h"
#include "model/connection_int.h"
#include "model/failure.h"
#include "model/grant_int.h"
#include "model/refresh_int.h"
#include "os/sys.h"

static const struct cw_query q_abandon = {
    .name = "refresh.abandon",
    .sql = "UPDATE token_grant SET lease_owner = NULL, lease_until = NULL, refresh_started_at = ?, refresh_tries = ?,"
           " refused_at = ?, failures = ?, failing_since = ?, not_before = ?, refresh_due_at = ? WHERE connection = ?",
    .params = "tititttb",
    .columns = "",
};
static const struct cw_query q_not_offered = {
    .name = "refresh.not_offered",
    .sql = "UPDATE token_grant SET refresh_sealed = NULL, refresh_due_at = NULL, lease_owner = NULL, lease_until = NULL,"
           " refresh_started_at = NULL, refresh_tries = 0, ends_at = expires_at, ends_fixed = 1, warn_at = ?,"
           " warned_days = NULL WHERE connection = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_one_time = {
    .name = "refresh.one_time",
    .sql = "UPDATE connection SET one_time = 1, updated_at = ? WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_take_back = {
    .name = "refresh.take_back",
    .sql = "UPDATE token_grant SET lease_owner = NULL, lease_until = NULL, fence = fence + 1, not_before = ?, refresh_due_at = ?"
           " WHERE lease_until > '1970-01-01' AND LEFT(lease_owner, ?) = ? AND lease_owner <> ?",
    .params = "ttibb",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- failures */

/* What a failure leaves behind. */
struct aftermath {
    int64_t started_us, refused_us, failing_since_us, not_before_us;
    unsigned tries, failures;
};

static enum cw_code leave(struct refresh_work *work, struct cw_db *db, const struct aftermath *after, struct cw_err *err)
{
    struct cw_value params[] = {
        cw_v_time_opt(after->started_us),
        cw_v_int(after->tries),
        cw_v_time_opt(after->refused_us),
        cw_v_int(after->failures),
        cw_v_time_opt(after->failing_since_us),
        cw_v_time(after->not_before_us),
        cw_v_time(after->not_before_us),
        cw_v_id(&work->lease->connection.ulid),
    };
    return cw_db_exec(db, &q_abandon, params, NULL, err);
}

static struct aftermath aftermath_of(const struct refresh_work *work, const struct cw_value *row, int64_t now_us)
{
    const struct cw_refresh_fault *fault = work->fault;
    unsigned tries = (unsigned)row[G_TRIES].number;
    bool repeat_now = fault->maybe_lost && tries <= 1;
    bool counts = !repeat_now && !fault->ours;
    struct aftermath after = {
        .started_us = fault->maybe_lost ? row[G_STARTED].number : 0,
        .tries = fault->maybe_lost ? tries : tries - (tries > 0),
        .refused_us = row[G_REFUSED].number,
        .failures = (unsigned)row[G_FAILURES].number + counts,
        .failing_since_us = row[G_FAILING_SINCE].number,
    };
    if (counts && after.failing_since_us == 0) {
        after.failing_since_us = now_us;
    }
    after.not_before_us = now_us + (repeat_now ? grant_lost_pause_us() : grant_backoff_us(after.failures));
    if (fault->retry_us > after.not_before_us) {
        after.not_before_us = fault->retry_us;
    }
    return after;
}

static enum cw_code abandon_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    int64_t now_us = cw_now_us();
    const struct cw_value *row;
    enum cw_code rc = refresh_hold(work, db, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_connection_id id = work->lease->connection;
    struct aftermath after = aftermath_of(work, row, now_us);
    rc = leave(work, db, &after, err);
    bool long_enough = after.failing_since_us != 0 && now_us - after.failing_since_us >= GRANT_TROUBLE_US;
    if (rc == CW_OK && long_enough && row[G_TROUBLE_TOLD].kind == CW_V_NULL) {
        struct connection_fact fact = { .kind = CW_EVENT_REFRESH_DELAYED, .status = CW_CONNECTION_ACTIVE,
                                        .failure_us = after.failing_since_us };
        rc = connection_tell(work->m, db, id, &fact, err);
        if (rc == CW_OK) {
            rc = connection_trouble(db, id, now_us, err);
        }
    }
    return rc;
}

enum cw_code cw_refresh_abandon(struct cw_model *m, const struct cw_refresh_lease *lease,
                                const struct cw_refresh_fault *fault, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .lease = lease, .fault = fault };
    return refresh_run(&work, abandon_tx, err);
}

/* ---------------------------------------------------------------------------------------------- the end of a grant */

/* Why a refusal is the end, or NULL: a token that does not rotate is asked twice, since some servers refuse sporadically. */
static const char *final_code(const struct cw_value *row, int64_t now_us)
{
    bool may_rotate = row[G_ROTATES].kind == CW_V_NULL || row[G_ROTATES].number != 0;
    bool rotates = row[G_ROTATES].kind != CW_V_NULL && row[G_ROTATES].number != 0;
    if (row[G_TRIES].number > 1 && may_rotate) {
        return CW_FAIL_LOST_ROTATION;
    }
    bool second = row[G_REFUSED].kind != CW_V_NULL && now_us - row[G_REFUSED].number >= GRANT_REFUSED_PAUSE_US;
    return rotates || second ? CW_FAIL_REFRESH_REFUSED : NULL;
}

static enum cw_code refused_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    int64_t now_us = cw_now_us();
    const struct cw_value *row;
    work->ended = false;
    enum cw_code rc = refresh_hold(work, db, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    const char *code = final_code(row, now_us);
    if (code != NULL) {
        work->ended = true;
        return connection_end(work->m, db, work->actor, work->lease->connection, CW_CONNECTION_REFRESH_FAILED, code, err);
    }
    unsigned tries = (unsigned)row[G_TRIES].number;
    int64_t first_us = row[G_REFUSED].kind == CW_V_NULL ? now_us : row[G_REFUSED].number;
    struct aftermath after = {
        .tries = tries - (tries > 0),
        .refused_us = first_us,
        .failures = (unsigned)row[G_FAILURES].number + 1,
        .failing_since_us = row[G_FAILING_SINCE].kind == CW_V_NULL ? now_us : row[G_FAILING_SINCE].number,
        .not_before_us = first_us + GRANT_REFUSED_PAUSE_US + CW_SECOND_US,
    };
    return leave(work, db, &after, err);
}

enum cw_code cw_refresh_refused(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                                bool *ret_ended, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .actor = actor, .lease = lease };
    enum cw_code rc = refresh_run(&work, refused_tx, err);
    if (rc == CW_OK) {
        *ret_ended = work.ended;
    }
    return rc;
}

static enum cw_code dead_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    const struct cw_value *row;
    enum cw_code rc = refresh_hold(work, db, &row, err);
    if (rc == CW_OK) {
        rc = connection_end(work->m, db, work->actor, work->lease->connection, CW_CONNECTION_REFRESH_FAILED,
                            work->failure_code, err);
    }
    return rc;
}

enum cw_code cw_refresh_dead(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                             const char *failure_code, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .actor = actor, .lease = lease, .failure_code = failure_code };
    return refresh_run(&work, dead_tx, err);
}

static enum cw_code not_offered_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct refresh_work *work = arg;
    struct cw_connection_id id = work->lease->connection;
    const struct cw_value *row;
    enum cw_code rc = refresh_hold(work, db, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    struct grant_end end = { .ends_us = row[G_EXPIRES].number, .fixed = true };
    struct grant_warning warning = grant_warning_new(now_us, end, true, -1);
    struct cw_value grant[] = { cw_v_time_opt(warning.at_us), cw_v_id(&id.ulid) };
    struct cw_value connection[] = { cw_v_time(now_us), cw_v_id(&id.ulid) };
    rc = cw_db_exec(db, &q_not_offered, grant, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_one_time, connection, NULL, err);
    }
    if (rc == CW_OK) {
        struct cw_audit_row audit = { .action = "connection.one_time", .patient = { cw_value_id(&row[G_PATIENT]) },
                                      .object = id.ulid, .detail = "refresh_not_offered" };
        rc = cw_audit_write(db, work->actor, &audit, err);
    }
    return rc;
}

enum cw_code cw_refresh_not_offered(struct cw_model *m, const struct cw_actor *actor,
                                    const struct cw_refresh_lease *lease, struct cw_err *err)
{
    struct refresh_work work = { .m = m, .actor = actor, .lease = lease };
    return refresh_run(&work, not_offered_tx, err);
}

struct take_back {
    const struct cw_value *params;
    uint64_t affected;
};

static enum cw_code take_back_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct take_back *work = arg;
    return cw_db_exec(db, &q_take_back, work->params, &work->affected, err);
}

enum cw_code cw_refresh_take_back(struct cw_model *m, const char *owner, unsigned *ret_count, struct cw_err *err)
{
    struct cw_span name = cw_span_cstr(owner);
    struct cw_span family = cw_span_upto(name, cw_span_find(name, '/') + 1);
    struct cw_value until = cw_v_time(cw_now_us() + grant_lost_pause_us());
    struct cw_value params[] = { until, until, cw_v_int((int64_t)family.len), cw_v_bytes(family), cw_v_bytes(name) };
    struct take_back work = { .params = params };
    /* It reads many rows that refreshers lock one by one: a deadlock is no rarity, and the helper runs it again. */
    enum cw_code rc = cw_tx_pool(m->pool, take_back_tx, &work, err);
    *ret_count = (unsigned)work.affected;
    return rc;
}
