/* SPDX-License-Identifier: Apache-2.0 */
/* See pull_policy.h. */
#include "config.h"
#include "model/pull_policy.h"

#include <stdio.h>

#include "base/time.h"
#include "model/audit.h"
#include "os/sys.h"

#define BATCH 100 /* connections in one transaction; matches the LIMIT of q_batch */

static const struct cw_query q_list = {
    .name = "pull_policy.list",
    .sql = "SELECT source, incremental_s, full_s, window_from, window_to, enabled, updated_at FROM pull_policy"
           " WHERE organization = ? ORDER BY source LIMIT 1000",
    .params = "b",
    .columns = "biiiiit",
};
static const struct cw_query q_set = {
    .name = "pull_policy.set",
    .sql = "INSERT INTO pull_policy (organization, source, incremental_s, full_s, window_from, window_to, enabled, updated_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE incremental_s = VALUES(incremental_s), full_s = VALUES(full_s),"
           " window_from = VALUES(window_from), window_to = VALUES(window_to), enabled = VALUES(enabled), updated_at = VALUES(updated_at)",
    .params = "bbiiiiit",
    .columns = "",
};
static const struct cw_query q_batch = {
    .name = "pull_policy.batch",
    .sql = "SELECT id, source FROM connection WHERE organization = ? AND id > ? ORDER BY id LIMIT 100 FOR UPDATE",
    .params = "bb",
    .columns = "bb",
};
/* One that has begun goes on, and so does one that was asked for by hand. */
static const struct cw_query q_unplan = {
    .name = "pull_policy.unplan",
    .sql = "DELETE j, u FROM pull AS u JOIN job AS j ON j.kind = 1 AND j.subject = u.id"
           " WHERE u.connection = ? AND u.status = 1 AND u.trigger_kind = 3 AND j.ready_at > ? AND j.tries = 0",
    .params = "bt",
    .columns = "",
};
static const struct cw_query q_release = {
    .name = "pull_policy.release",
    .sql = "UPDATE connection SET next_pull_at = NULL, pull_hold = NULL WHERE id = ? AND status = 1",
    .params = "b",
    .columns = "",
};

static void of_row(const struct cw_value *row, struct cw_pull_policy *ret)
{
    *ret = (struct cw_pull_policy){
        .source = { cw_value_id(&row[0]) },
        .policy = { .incremental_s = (uint32_t)row[1].number,
                    .full_s = (uint32_t)row[2].number,
                    .window_from = (unsigned)row[3].number,
                    .window_to = (unsigned)row[4].number,
                    .enabled = row[5].number != 0 },
        .updated_us = row[6].number,
    };
}

enum cw_code cw_pull_policy_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena,
                                 struct cw_pull_policy **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&org.ulid) };
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
    struct cw_pull_policy *list = cw_arena_array(arena, rows.count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull_policy.list", "out of memory");
    }
    list[0] = (struct cw_pull_policy){ .policy = CW_SCHEDULE_DEFAULT };
    size_t count = 1;
    for (size_t i = 0; i < rows.count; i++) {
        struct cw_pull_policy policy;
        of_row(cw_row(&rows, i), &policy);
        list[cw_ulid_is_zero(policy.source.ulid) ? 0 : count++] = policy;
    }
    *ret = list;
    *ret_count = count;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- setting */

struct setting {
    const struct cw_actor *actor;
    struct cw_org_id org;
    const struct cw_pull_policy *policy;
    struct cw_arena *arena;
    struct cw_ulid after, last; /* of the batch before, of this one: a rerun begins at `after` again */
    bool more;
};

static enum cw_code set_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct setting *set = arg;
    const struct cw_schedule_policy *p = &set->policy->policy;
    const struct cw_value params[] = { cw_v_id(&set->org.ulid),     cw_v_id(&set->policy->source.ulid), cw_v_int(p->incremental_s),
                                       cw_v_int(p->full_s),         cw_v_int(p->window_from),           cw_v_int(p->window_to),
                                       cw_v_int(p->enabled),        cw_v_time(cw_now_us()) };
    char detail[128];
    (void)snprintf(detail, sizeof detail, "incremental=%us full=%us window=%u-%u %s", p->incremental_s, p->full_s, p->window_from,
                   p->window_to, p->enabled ? "on" : "off");
    const struct cw_audit_row audit = { .org = set->org, .action = "pull.policy_set", .object = set->policy->source.ulid, .detail = detail };
    enum cw_code rc = cw_db_exec(db, &q_set, params, NULL, err);
    return rc == CW_OK ? cw_audit_write(db, set->actor, &audit, err) : rc;
}

static enum cw_code release_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct setting *set = arg;
    const struct cw_value params[] = { cw_v_id(&set->org.ulid), cw_v_id(&set->after) };
    struct cw_rows rows;
    cw_arena_clear(set->arena);
    enum cw_code rc = cw_db_select(db, &q_batch, params, set->arena, &rows, err);
    bool all = cw_ulid_is_zero(set->policy->source.ulid);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        set->last = cw_value_id(&row[0]);
        if (!all && !cw_ulid_eq(cw_value_id(&row[1]), set->policy->source.ulid)) {
            continue;
        }
        const struct cw_value unplan[] = { row[0], cw_v_time(cw_now_us()) };
        rc = cw_db_exec(db, &q_unplan, unplan, NULL, err);
        if (rc == CW_OK) {
            rc = cw_db_exec(db, &q_release, row, NULL, err);
        }
    }
    set->more = rc == CW_OK && rows.count == BATCH;
    return rc;
}

static enum cw_code check(const struct cw_schedule_policy *p, struct cw_err *err)
{
    if (p->incremental_s < CW_SCHEDULE_LEAST_S || p->full_s > CW_SCHEDULE_MOST_S || p->full_s < p->incremental_s) {
        return cw_err_set(err, CW_E_RANGE, "pull_policy", "the intervals must be 15 minutes to 365 days, the full one not the shorter");
    }
    if (p->window_from > 23 || p->window_to > 23) {
        return cw_err_set(err, CW_E_RANGE, "pull_policy", "the window's hours are 0 to 23");
    }
    return CW_OK;
}

enum cw_code cw_pull_policy_set(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                const struct cw_pull_policy *policy, struct cw_err *err)
{
    struct setting set = { .actor = actor, .org = org, .policy = policy, .more = true };
    enum cw_code rc = check(&policy->policy, err);
    if (rc != CW_OK) {
        return rc;
    }
    set.arena = cw_arena_new(64 * 1024);
    if (set.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull_policy", "out of memory");
    }
    rc = cw_tx_pool(m->pool, set_tx, &set, err);
    while (rc == CW_OK && set.more) {
        rc = cw_tx_pool(m->pool, release_tx, &set, err);
        set.after = set.last;
    }
    cw_arena_free(set.arena);
    return rc;
}
