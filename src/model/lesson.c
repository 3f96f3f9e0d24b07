/* SPDX-License-Identifier: Apache-2.0 */
/* Lessons are upserts whose SQL keeps the greatest step, so that answers may come in any order and from any node. */
#include "config.h"

#include "model/lesson.h"

#include "base/time.h"
#include "model/audit.h"
#include "os/sys.h"

#define SCOPE_STEPS_END (CW_SCOPE_STEP_LAST + 1u)
#define AUD_STEPS_END 2u

/* What has worked lately is not doubted: any browser can bring its own state back with any error, and must not teach others by it. */
static const struct cw_query q_refused = {
    .name = "lesson.refused",
    .sql = "INSERT INTO endpoint_lesson (endpoint, registration, scope_step, aud_step, software, learnt_at)"
           " SELECT id, ?, ?, ?, software, ? FROM endpoint WHERE id = ?"
           " ON DUPLICATE KEY UPDATE"
           " scope_step = IF(worked_at > ?, scope_step, GREATEST(scope_step, VALUES(scope_step))),"
           " aud_step = IF(worked_at > ?, aud_step, GREATEST(aud_step, VALUES(aud_step))),"
           " learnt_at = IF(worked_at > ?, learnt_at, VALUES(learnt_at)),"
           " worked_at = IF(worked_at > ?, worked_at, NULL)",
    .params = "biitbtttt",
    .columns = "",
};
/* The last aud step stays, since toggling was no help. The time moves by the hour, so that a busy endpoint's row is seldom written. */
static const struct cw_query q_worked = {
    .name = "lesson.worked",
    .sql = "INSERT INTO endpoint_lesson (endpoint, registration, scope_step, aud_step, worked_at, software, learnt_at)"
           " SELECT id, ?, ?, ?, ?, software, ? FROM endpoint WHERE id = ?"
           " ON DUPLICATE KEY UPDATE scope_step = VALUES(scope_step), aud_step = IF(aud_step = 2, 2, VALUES(aud_step)),"
           " worked_at = IF(worked_at > ?, worked_at, VALUES(worked_at))",
    .params = "biittbt",
    .columns = "",
};
static const struct cw_query q_next = {
    .name = "lesson.next",
    .sql = "SELECT scope_step, aud_step, worked_at FROM endpoint_lesson WHERE endpoint = ? AND registration = ?",
    .params = "bb",
    .columns = "iit",
};
static const struct cw_query q_list = {
    .name = "lesson.list",
    .sql = "SELECT registration, scope_step, aud_step, worked_at, learnt_at, software FROM endpoint_lesson WHERE endpoint = ?"
           " ORDER BY registration LIMIT 100",
    .params = "b",
    .columns = "biittb",
};
static const struct cw_query q_forget = {
    .name = "lesson.forget",
    .sql = "DELETE FROM endpoint_lesson WHERE endpoint = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_ask_again = {
    .name = "lesson.ask_again",
    .sql = "UPDATE endpoint SET discovery_until = NULL, discovery_etag = NULL, discovery_failed_at = NULL, capability_failed_at = NULL"
           " WHERE id = ?",
    .params = "b",
    .columns = "",
};

enum cw_code cw_endpoint_learn(struct cw_model *m, const struct cw_endpoint_try *tried, enum cw_lesson lesson,
                               struct cw_err *err)
{
    unsigned scope = tried->scope_step > CW_SCOPE_STEP_LAST ? 0 : tried->scope_step;
    unsigned aud = tried->aud_toggled ? 1 : 0;
    int64_t now_us = cw_now_us();
    const struct cw_value now = cw_v_time(now_us);
    if (lesson == CW_LESSON_WORKED) {
        const struct cw_value values[] = { cw_v_id(&tried->registration.ulid), cw_v_int(scope), cw_v_int(aud), now, now,
                                           cw_v_id(&tried->endpoint.ulid), cw_v_time(now_us - CW_HOUR_US) };
        return cw_tx_single(m->pool, &q_worked, values, NULL, err);
    }
    scope += lesson == CW_LESSON_SCOPE_REFUSED ? 1 : 0;
    if (lesson == CW_LESSON_NOTHING_GRANTED && scope < CW_SCOPE_STEP_DIALECT) {
        scope = CW_SCOPE_STEP_DIALECT;
    }
    aud += lesson == CW_LESSON_AUD_REFUSED ? 1 : 0;
    const struct cw_value trusted = cw_v_time(now_us - CW_LESSON_TRUST_US);
    const struct cw_value values[] = { cw_v_id(&tried->registration.ulid), cw_v_int(scope), cw_v_int(aud), now,
                                       cw_v_id(&tried->endpoint.ulid), trusted, trusted, trusted, trusted };
    return cw_tx_single(m->pool, &q_refused, values, NULL, err);
}

enum cw_code cw_endpoint_next_try(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_registration_id registration,
                                  struct cw_endpoint_try *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_endpoint_try next = { .endpoint = endpoint, .registration = registration };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_arena *arena = cw_arena_new(64u * 1024u);
    const struct cw_value *row = NULL;
    rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "lesson", "no memory")
                       : cw_db_one(db, &q_next, (const struct cw_value[]){ cw_v_id(&endpoint.ulid), cw_v_id(&registration.ulid) },
                                   arena, &row, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        next.scope_step = row[0].number >= (int64_t)SCOPE_STEPS_END ? 0 : (unsigned)row[0].number;
        next.aud_toggled = row[1].number == 1;
        next.worked_lately = row[2].kind != CW_V_NULL && row[2].number > cw_now_us() - CW_HOUR_US;
    }
    cw_arena_free(arena);
    if (rc == CW_OK || rc == CW_E_NOT_FOUND) {
        *ret = next;
        return CW_OK;
    }
    return rc;
}

enum cw_code cw_endpoint_lessons(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_arena *arena,
                                 struct cw_lesson_row **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_list, (const struct cw_value[]){ cw_v_id(&endpoint.ulid) }, arena, &rows, err);
    }
    cw_db_put(db);
    struct cw_lesson_row *list = rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (rc == CW_OK && list == NULL) {
        rc = cw_err_set(err, CW_E_OOM, "lesson", "no memory");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        list[i] = (struct cw_lesson_row){
            .registration = { cw_value_id(&row[0]) },
            .scope_step = (unsigned)row[1].number,
            .aud_step = (unsigned)row[2].number,
            .worked_us = row[3].number,
            .learnt_us = row[4].number,
            .software = row[5].bytes,
        };
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = rows.count;
    }
    return rc;
}

struct forget {
    const struct cw_actor *actor;
    struct cw_endpoint_id endpoint;
};

static enum cw_code forget_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct forget *forget = arg;
    const struct cw_value id = cw_v_id(&forget->endpoint.ulid);
    const struct cw_audit_row audit = { .action = "endpoint.forget", .object = forget->endpoint.ulid };
    enum cw_code rc = cw_db_exec(db, &q_forget, &id, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_ask_again, &id, NULL, err);
    }
    return rc == CW_OK ? cw_audit_write(db, forget->actor, &audit, err) : rc;
}

enum cw_code cw_endpoint_forget(struct cw_model *m, const struct cw_actor *actor, struct cw_endpoint_id endpoint,
                                struct cw_err *err)
{
    struct forget forget = { .actor = actor, .endpoint = endpoint };
    return cw_tx_pool(m->pool, forget_tx, &forget, err);
}
