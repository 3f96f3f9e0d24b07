/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims on a queue that other nodes work on too. Two facts shape the SQL (field/performance 6): a claimed row's old index
 * entry stays at the head, delete-marked, until purge, so a worker goes on from the last row it claimed and looks from the
 * head only now and then; and on Galera SKIP LOCKED does not see other nodes' locks, so the loser hears of it by 1213 and the
 * transaction helper reruns, from another starting point.
 */
#include "config.h"
#include "model/job.h"

#include <stdatomic.h>

#include "base/time.h"
#include "os/sys.h"

static const struct cw_query q_job_add = {
    .name = "job.add",
    .sql = "INSERT INTO job (id, kind, subject, endpoint, priority, ready_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    .params = "bibbitt",
    .columns = "",
};
static const struct cw_query q_job_due = {
    .name = "job.due",
    .sql = "SELECT id, kind, subject, fence, tries, ready_at FROM job FORCE INDEX (lane) WHERE kind = ? AND priority = ? AND ready_at >= ?"
           " AND ready_at <= ?"
           " ORDER BY ready_at, id LIMIT ? FOR UPDATE SKIP LOCKED",
    .params = "iitti",
    .columns = "bibiit",
};
static const struct cw_query q_job_lease = {
    .name = "job.lease",
    .sql = "UPDATE job SET ready_at = NULL, lease_owner = ?, lease_until = ?, fence = fence + 1, tries = tries + 1"
           " WHERE id IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "btbbbbbbbbbbbbbbbb",
    .columns = "",
};
#define LEASE_WIDTH 16u
static const struct cw_query q_job_renew = {
    .name = "job.renew",
    .sql = "UPDATE job SET lease_until = ? WHERE id = ? AND lease_owner = ? AND fence = ?",
    .params = "tbbi",
    .columns = "",
};
static const struct cw_query q_job_hold = {
    .name = "job.hold",
    .sql = "SELECT id FROM job WHERE id = ? AND lease_owner = ? AND fence = ? FOR UPDATE",
    .params = "bbi",
    .columns = "b",
};
static const struct cw_query q_job_finish = {
    .name = "job.finish",
    .sql = "DELETE FROM job WHERE id = ? AND fence = ?",
    .params = "bi",
    .columns = "",
};
static const struct cw_query q_job_release = {
    .name = "job.release",
    .sql = "UPDATE job SET ready_at = ?, lease_owner = NULL, lease_until = NULL, tries = GREATEST(tries, ?) - ?"
           " WHERE id = ? AND lease_owner = ? AND fence = ?",
    .params = "tiibbi",
    .columns = "",
};
/* A crash is no try of its own: what a dead process held starts again with the count it had. */
static const struct cw_query q_job_take_back = {
    .name = "job.take_back",
    .sql = "UPDATE job SET ready_at = ?, lease_owner = NULL, lease_until = NULL, fence = fence + 1,"
           " tries = GREATEST(tries, 1) - 1 WHERE lease_until > '1970-01-01' AND LEFT(lease_owner, ?) = ?"
           " AND lease_owner <> ?",
    .params = "tibb",
    .columns = "",
};
static const struct cw_query q_duty_take_back = {
    .name = "duty.take_back",
    .sql = "UPDATE duty SET lease_owner = NULL, lease_until = NULL, fence = fence + 1"
           " WHERE LEFT(lease_owner, ?) = ? AND lease_owner <> ?",
    .params = "ibb",
    .columns = "",
};
static const struct cw_query q_job_free_expired = {
    .name = "job.free_expired",
    .sql = "UPDATE job SET ready_at = ?, lease_owner = NULL, lease_until = NULL, fence = fence + 1"
           " WHERE lease_until <= ?",
    .params = "tt",
    .columns = "",
};
static const struct cw_query q_duty_take = {
    .name = "duty.take",
    .sql = "UPDATE duty SET fence = fence + IF(lease_owner <=> ?, 0, 1), lease_owner = ?, lease_until = ?"
           " WHERE name = ? AND (lease_owner <=> ? OR lease_until IS NULL OR lease_until <= ?)",
    .params = "bbtbbt",
    .columns = "",
};

/* Where this process goes on in each lane of pulls, and when it looks from the head again. */
#define LANES 2
#define HEAD_SHARE 20 /* looks from the head take at most one part in so many of the time */
#define CLOCKS_US (2 * CW_SECOND_US) /* how far the clocks of nodes may be apart, and a commit behind its row's time */
static _Atomic int64_t claim_from_us[LANES];
static _Atomic int64_t head_next_us; /* monotonic */

enum cw_code cw_job_add(struct cw_db *db, enum cw_job_kind kind, struct cw_ulid subject, struct cw_endpoint_id endpoint,
                        enum cw_job_lane lane, int64_t ready_us, struct cw_err *err)
{
    struct cw_ulid id = cw_ulid_new();
    struct cw_value params[] = {
        cw_v_id(&id),
        cw_v_int(kind),
        cw_v_id(&subject),
        cw_ulid_is_zero(endpoint.ulid) ? cw_v_null() : cw_v_id(&endpoint.ulid),
        cw_v_int((int)lane),
        cw_v_time(ready_us),
        cw_v_time(cw_now_us()),
    };
    return cw_db_exec(db, &q_job_add, params, NULL, err);
}

/* One lane's part of a claim. */
struct lane {
    enum cw_job_lane name;
    unsigned most;
    int64_t from_us;
    int64_t head_us, last_us;         /* of what was found: the first and the last */
    bool looked, full;                /* full: there may be more */
};

struct claim {
    const char *owner;
    enum cw_job_kind kind;
    int64_t lease_us, now_us;
    unsigned most;
    unsigned runs;                    /* of the transaction: more than one when a race was lost */
    struct lane lanes[LANES];
    struct cw_arena *arena;
    struct cw_job *jobs;
    size_t count;
};

static struct cw_job job_of_row(const struct cw_value *row)
{
    return (struct cw_job){
        .id = { cw_value_id(&row[0]) },
        .kind = (enum cw_job_kind)row[1].number,
        .subject = cw_value_id(&row[2]),
        .fence = (uint64_t)row[3].number + 1,
        .tries = (unsigned)row[4].number + 1,
    };
}

/* Many in a statement: what a statement costs is most of a claim. */
static enum cw_code lease_all(struct cw_db *db, const struct claim *claim, size_t from, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    for (size_t i = from; rc == CW_OK && i < claim->count; i += LEASE_WIDTH) {
        struct cw_value params[2 + LEASE_WIDTH] = { cw_v_bytes(cw_span_cstr(claim->owner)), cw_v_time(claim->now_us + claim->lease_us) };
        for (size_t j = 0; j < LEASE_WIDTH; j++) {
            params[2 + j] = cw_v_id(&claim->jobs[i + j < claim->count ? i + j : i].id.ulid);
        }
        rc = cw_db_exec(db, &q_job_lease, params, NULL, err);
    }
    return rc;
}

/* Whoever lost a race to another node stands at the same rows as that one: it goes on somewhere else between the head and now. */
static int64_t starting_point(const struct claim *claim, const struct lane *lane)
{
    int64_t span_us = claim->now_us - lane->head_us;
    return claim->runs > 1 && lane->head_us != 0 && span_us > 0 ? lane->head_us + (int64_t)cw_random_below((uint64_t)(span_us / 1000) + 1) * 1000
                                                                 : lane->from_us;
}

static enum cw_code claim_lane(struct cw_db *db, struct claim *claim, struct lane *lane, unsigned most, struct cw_err *err)
{
    unsigned room = claim->most - (unsigned)claim->count;
    most = most > room ? room : most;
    if (most == 0) {
        return CW_OK;
    }
    struct cw_value params[] = { cw_v_int(claim->kind), cw_v_int((int)lane->name), cw_v_time(starting_point(claim, lane)), cw_v_time(claim->now_us),
                                 cw_v_int(most) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_job_due, params, claim->arena, &rows, err);
    size_t before = claim->count;
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        claim->jobs[claim->count++] = job_of_row(row);
        lane->head_us = i == 0 ? row[5].number : lane->head_us;
        lane->last_us = row[5].number;
    }
    lane->looked = true;
    lane->full = rc == CW_OK && rows.count == most;
    return rc == CW_OK ? lease_all(db, claim, before, err) : rc;
}

static enum cw_code claim_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct claim *claim = arg;
    claim->count = 0;
    claim->runs++;
    cw_arena_clear(claim->arena);
    struct lane *waited = &claim->lanes[0], *clock = &claim->lanes[1];
    enum cw_code rc = claim_lane(db, claim, waited, waited->most, err);
    if (rc == CW_OK) {
        rc = claim_lane(db, claim, clock, clock->most, err);
    }
    if (rc == CW_OK && waited->full && claim->count < claim->most) {
        waited->from_us = waited->last_us; /* what was kept for the others is free: there were none */
        rc = claim_lane(db, claim, waited, claim->most, err);
    }
    return rc;
}

static enum cw_code claim_run(struct cw_model *m, struct claim *claim, struct cw_err *err)
{
    claim->lanes[0].name = CW_JOB_WAITED_FOR;
    claim->lanes[1].name = CW_JOB_BY_THE_CLOCK;
    claim->arena = cw_arena_new(64 * 1024 + (size_t)claim->most * 1024);
    if (claim->arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "job.claim", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, claim_tx, claim, err);
    cw_arena_free(claim->arena);
    return rc;
}

enum cw_code cw_job_claim_lanes(struct cw_model *m, const char *owner, int64_t lease_us, unsigned most, unsigned most_by_clock,
                                struct cw_job *ret, size_t *ret_count, struct cw_err *err)
{
    struct claim claim = { .owner = owner, .kind = CW_JOB_PULL, .lease_us = lease_us, .most = most, .jobs = ret, .now_us = cw_now_us() };
    claim.lanes[0].most = most - (most_by_clock > 0 ? most / 4 : 0);
    claim.lanes[1].most = most_by_clock;
    /* Jobs put back with an earlier time stand before the cursor: look from the head once a second; less often where that takes long, which it does
     * while an old read view keeps what has gone in the index. */
    int64_t began_us = cw_monotonic_us();
    bool from_head = began_us >= atomic_load(&head_next_us);
    for (size_t i = 0; i < LANES; i++) {
        claim.lanes[i].from_us = from_head ? 0 : atomic_load(&claim_from_us[i]);
    }
    if (from_head) {
        atomic_store(&head_next_us, began_us + CW_SECOND_US);
    }
    enum cw_code rc = claim_run(m, &claim, err);
    int64_t took_us = cw_monotonic_us() - began_us;
    if (from_head) {
        atomic_store(&head_next_us, began_us + took_us + (took_us * HEAD_SHARE > CW_SECOND_US ? took_us * HEAD_SHARE : CW_SECOND_US));
    }
    for (size_t i = 0; rc == CW_OK && i < LANES; i++) {
        /* Also where a lane is empty: behind the cursor are rows that have gone, and each look from the head walks over all of them. */
        const struct lane *lane = &claim.lanes[i];
        int64_t seen_us = lane->full ? lane->last_us : claim.now_us - CLOCKS_US;
        if (lane->looked) {
            atomic_store(&claim_from_us[i], seen_us);
        }
    }
    if (rc == CW_OK) {
        *ret_count = claim.count;
    }
    return rc;
}

enum cw_code cw_job_claim(struct cw_model *m, const char *owner, int64_t lease_us, unsigned most, struct cw_job *ret,
                          size_t *ret_count, struct cw_err *err)
{
    return cw_job_claim_lanes(m, owner, lease_us, most, most, ret, ret_count, err);
}

enum cw_code cw_job_claim_one(struct cw_model *m, const char *owner, enum cw_job_kind kind, int64_t lease_us,
                              struct cw_job *ret, struct cw_err *err)
{
    struct claim claim = { .owner = owner, .kind = kind, .lease_us = lease_us, .most = 1, .jobs = ret, .now_us = cw_now_us() };
    claim.lanes[0].most = claim.lanes[1].most = 1;
    enum cw_code rc = claim_run(m, &claim, err);
    return rc == CW_OK && claim.count == 0 ? cw_err_set(err, CW_E_NOT_FOUND, "job.claim", "none is due") : rc;
}

/* Runs one statement that needs no transaction of several, on a borrowed connection. */
static enum cw_code run(struct cw_model *m, const struct cw_query *query, const struct cw_value *params,
                        uint64_t *ret_affected, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, query, params, ret_affected, err);
        cw_db_put(db);
    }
    return rc;
}

static enum cw_code lost(struct cw_err *err)
{
    return cw_err_set(err, CW_E_CONFLICT, "job", "the lease was lost");
}

enum cw_code cw_job_renew(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t lease_us,
                          struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(cw_now_us() + lease_us), cw_v_id(&job->id.ulid),
                                 cw_v_bytes(cw_span_cstr(owner)), cw_v_int((int64_t)job->fence) };
    uint64_t affected = 0;
    enum cw_code rc = run(m, &q_job_renew, params, &affected, err);
    return rc == CW_OK && affected == 0 ? lost(err) : rc;
}

enum cw_code cw_job_hold(struct cw_db *db, const char *owner, const struct cw_job *job, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(4096);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "job.hold", "out of memory");
    }
    struct cw_value params[] = { cw_v_id(&job->id.ulid), cw_v_bytes(cw_span_cstr(owner)),
                                 cw_v_int((int64_t)job->fence) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_job_hold, params, arena, &row, err);
    cw_arena_free(arena);
    return rc == CW_E_NOT_FOUND ? lost(err) : rc;
}

enum cw_code cw_job_finish(struct cw_db *db, const struct cw_job *job, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&job->id.ulid), cw_v_int((int64_t)job->fence) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(db, &q_job_finish, params, &affected, err);
    return rc == CW_OK && affected == 0 ? lost(err) : rc;
}

static enum cw_code give_back(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t ready_us, int uncounted,
                              struct cw_err *err)
{
    struct cw_value params[] = { cw_v_time(ready_us),       cw_v_int(uncounted),
                                 cw_v_int(uncounted),       cw_v_id(&job->id.ulid),
                                 cw_v_bytes(cw_span_cstr(owner)), cw_v_int((int64_t)job->fence) };
    uint64_t affected = 0;
    enum cw_code rc = run(m, &q_job_release, params, &affected, err);
    return rc == CW_OK && affected == 0 ? lost(err) : rc;
}

enum cw_code cw_job_release(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t ready_us,
                            struct cw_err *err)
{
    return give_back(m, owner, job, ready_us, 0, err);
}

enum cw_code cw_job_put_off(struct cw_model *m, const char *owner, const struct cw_job *job, int64_t ready_us,
                            struct cw_err *err)
{
    return give_back(m, owner, job, ready_us, 1, err);
}

enum cw_code cw_job_take_back(struct cw_model *m, const char *owner, unsigned *ret_count, struct cw_err *err)
{
    struct cw_span name = cw_span_cstr(owner);
    struct cw_span family = cw_span_upto(name, cw_span_find(name, '/') + 1);
    struct cw_value params[] = { cw_v_time(cw_now_us()), cw_v_int((int64_t)family.len), cw_v_bytes(family),
                                 cw_v_bytes(name) };
    uint64_t affected = 0;
    enum cw_code rc = run(m, &q_job_take_back, params, &affected, err);
    *ret_count = (unsigned)affected;
    return rc == CW_OK ? run(m, &q_duty_take_back, params + 1, NULL, err) : rc;
}

enum cw_code cw_job_free_expired(struct cw_model *m, unsigned *ret_count, struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_value params[] = { cw_v_time(now_us), cw_v_time(now_us) };
    uint64_t affected = 0;
    enum cw_code rc = run(m, &q_job_free_expired, params, &affected, err);
    *ret_count = (unsigned)affected;
    return rc;
}

enum cw_code cw_duty_take(struct cw_model *m, const char *name, const char *owner, int64_t lease_us, bool *ret_mine,
                          struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_value who = cw_v_bytes(cw_span_cstr(owner));
    struct cw_value params[] = { who, who, cw_v_time(now_us + lease_us), cw_v_bytes(cw_span_cstr(name)),
                                 who, cw_v_time(now_us) };
    uint64_t affected = 0;
    enum cw_code rc = run(m, &q_duty_take, params, &affected, err);
    if (rc == CW_OK) {
        *ret_mine = affected > 0;
    }
    return rc;
}
