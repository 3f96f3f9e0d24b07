/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions. The first statement error dooms the transaction: later statements are refused with that error, and it
 * is rolled back even when fn returns CW_OK. This matters most on a Galera cluster, where the loser of a conflict
 * hears 1213 once and a COMMIT that follows unchecked succeeds empty.
 */
#include "config.h"

#include "db/db_int.h"

#include <time.h>

#include "os/sys.h"

#define RERUNS_MAX 3u

bool cw_db_in_tx(const struct cw_db *db)
{
    return db->in_tx;
}

/* Nothing has run yet, so a connection that died while idle is replaced and nobody hears of it. */
static enum cw_code begin(struct cw_db *db, struct cw_err *err)
{
    enum cw_code rc = db_ready(db, "tx.begin", err);
    if (rc == CW_OK) {
        rc = db_text(db, "tx.begin", CW_SPAN("START TRANSACTION"), err);
    }
    if (rc == CW_E_UNAVAILABLE) {
        db_disconnect(db);
        rc = db_connect(db, true, err);
        if (rc == CW_OK) {
            rc = db_text(db, "tx.begin", CW_SPAN("START TRANSACTION"), err);
        } else {
            db->broken = true;
        }
    }
    if (rc == CW_OK) {
        db->in_tx = true;
        db->doom = (struct cw_err){ .code = CW_OK };
    }
    return rc;
}

static void roll_back(struct cw_db *db)
{
    db->in_tx = false;
    db->doom = (struct cw_err){ .code = CW_OK };
    if (!db->broken && mysql_rollback(db->mysql) != 0) {
        db->broken = true; /* its state is unknown: closing it rolls back as well */
    }
}

static enum cw_code run_once(struct cw_db *db, cw_tx_fn *fn, void *arg, struct cw_err *err)
{
    enum cw_code rc = begin(db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = fn(db, arg, err);
    bool lost_race = db->doom.code == CW_E_RETRY; /* also when fn made another code of it */
    if (db->doom.code != CW_OK && (rc == CW_OK || lost_race)) {
        if (err != NULL) {
            *err = db->doom;
        }
        rc = db->doom.code;
    }
    if (rc == CW_OK && mysql_commit(db->mysql) != 0) {
        rc = db_fail(db, mysql_errno(db->mysql), "tx.commit", err);
    }
    if (rc != CW_OK) {
        roll_back(db);
        return rc;
    }
    db->in_tx = false;
    return CW_OK;
}

static void pause_before(unsigned rerun)
{
    struct timespec pause = { .tv_nsec = (long)(1 + cw_random_below(10u * rerun)) * 1000000 };
    nanosleep(&pause, NULL);
}

enum cw_code cw_tx_run(struct cw_db *db, cw_tx_fn *fn, void *arg, struct cw_err *err)
{
    if (db->in_tx) {
        cw_bug("cw_tx_run inside cw_tx_run");
    }
    enum cw_code rc = run_once(db, fn, arg, err);
    for (unsigned rerun = 1; rerun <= RERUNS_MAX && rc == CW_E_RETRY; rerun++) {
        pause_before(rerun);
        rc = run_once(db, fn, arg, err);
    }
    return rc;
}

enum cw_code cw_tx_pool(struct cw_db_pool *pool, cw_tx_fn *fn, void *arg, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_tx_run(db, fn, arg, err);
    cw_db_put(db);
    return rc;
}

enum cw_code cw_tx_single(struct cw_db_pool *pool, const struct cw_query *query, const struct cw_value *params,
                          uint64_t *ret_affected, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_db_exec(db, query, params, ret_affected, err);
    for (unsigned rerun = 1; rerun <= RERUNS_MAX && rc == CW_E_RETRY; rerun++) {
        pause_before(rerun);
        rc = cw_db_exec(db, query, params, ret_affected, err);
    }
    cw_db_put(db);
    return rc;
}
