/* SPDX-License-Identifier: Apache-2.0 */
/* See breaker.h. A row means open. */
#include "config.h"
#include "model/breaker.h"

#include "model/grant_int.h"
#include "os/sys.h"

static const struct cw_query q_lock = {
    .name = "breaker.lock",
    .sql = "SELECT probe_at, rejections FROM registration_breaker WHERE registration = ? FOR UPDATE",
    .params = "b",
    .columns = "ti",
};
static const struct cw_query q_probe = {
    .name = "breaker.probe",
    .sql = "UPDATE registration_breaker SET probe_at = ? WHERE registration = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_open = {
    .name = "breaker.open",
    .sql = "INSERT IGNORE INTO registration_breaker (registration, opened_at, probe_at, rejections) VALUES (?, ?, ?, 1)",
    .params = "btt",
    .columns = "",
};
static const struct cw_query q_again = {
    .name = "breaker.again",
    .sql = "UPDATE registration_breaker SET rejections = rejections + 1 WHERE registration = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_close = {
    .name = "breaker.close",
    .sql = "DELETE FROM registration_breaker WHERE registration = ?",
    .params = "b",
    .columns = "",
};

enum cw_code breaker_pass(struct cw_db *db, struct cw_registration_id registration, int64_t now_us,
                          struct cw_arena *arena, struct cw_refresh_lease *lease, struct cw_err *err)
{
    struct cw_value id[] = { cw_v_id(&registration.ulid) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_lock, id, arena, &rows, err);
    if (rc != CW_OK || rows.count == 0) {
        return rc;
    }
    const struct cw_value *row = cw_row(&rows, 0);
    if (row[0].number > now_us) {
        lease->wait_until_us = row[0].number;
        return CW_OK;
    }
    lease->probe = true;
    struct cw_value params[] = { cw_v_time(now_us + grant_backoff_us((unsigned)row[1].number + 1)),
                                 cw_v_id(&registration.ulid) };
    return cw_db_exec(db, &q_probe, params, NULL, err);
}

enum cw_code cw_breaker_open(struct cw_model *m, struct cw_registration_id registration, bool probe, bool *ret_edge,
                             struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    uint64_t made = 0;
    struct cw_value params[] = { cw_v_id(&registration.ulid), cw_v_time(now_us),
                                 cw_v_time(now_us + grant_backoff_us(1)) };
    enum cw_code rc = cw_tx_single(m->pool, &q_open, params, &made, err);
    if (rc == CW_OK && made == 0 && probe) {
        rc = cw_tx_single(m->pool, &q_again, params, NULL, err);
    }
    if (rc == CW_OK) {
        *ret_edge = made > 0;
    }
    return rc;
}

enum cw_code cw_breaker_close(struct cw_model *m, struct cw_registration_id registration, bool *ret_edge,
                              struct cw_err *err)
{
    uint64_t affected = 0;
    struct cw_value params[] = { cw_v_id(&registration.ulid) };
    enum cw_code rc = cw_tx_single(m->pool, &q_close, params, &affected, err);
    if (rc == CW_OK) {
        *ret_edge = affected > 0;
    }
    return rc;
}
