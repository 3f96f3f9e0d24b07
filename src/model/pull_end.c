/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a pull: status, receipt, exactly one terminal event, and the job's row, in one transaction. */
#include "config.h"
#include "model/pull_int.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/event.h"
#include "model/failure.h"
#include "model/keys.h"
#include "model/pull_receipt.h"
#include "model/pull_schedule.h"
#include "model/vanish.h"
#include "model/watermark.h"
#include "os/sys.h"

static const struct cw_query q_pull_ended = {
    .name = "pull.ended",
    .sql = "UPDATE pull SET status = ?, failure_code = ?, receipt_sealed = ?, key_version = ?, ended_at = ? WHERE id = ?",
    .params = "ibbitb",
    .columns = "",
};
static const struct cw_query q_pages_forget = {
    .name = "pull.pages_forget",
    .sql = "DELETE p FROM pull_page p JOIN pull_task t ON t.id = p.task WHERE t.pull = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_end_facts = {
    .name = "pull.end_facts",
    .sql = "SELECT p.patient_id, c.source, u.organization, u.received, u.errors, u.created_at, u.patient, u.connection,"
           " u.mode, u.endpoint, u.started_at FROM pull u JOIN patient p ON p.id = u.patient JOIN connection c ON c.id = u.connection WHERE u.id = ?",
    .params = "b",
    .columns = "bbbiitbbibt",
};

#define EVENT_MAX (64u * 1024u) /* counts of some hundred types at most */

struct ending {
    struct cw_model *m;
    const char *owner;
    const struct cw_job *job;
    struct cw_pull_id id;
    enum cw_pull_status status;
    const char *failure_code;
    const struct cw_pull_ending *told; /* NULL: cancelled, there is no more to tell */
    int64_t again_us, skew_us;
};

/* data.object of records.sync.completed and .failed, as the contract's app expects it. */
static enum cw_code end_event(struct ending *end, struct cw_db *db, const struct cw_data_key *key,
                              const struct cw_value *facts, int64_t now_us, struct cw_err *err)
{
    bool failed = end->status == CW_PULL_FAILED;
    char source[CW_ID_TEXT_MAX], pull[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_SOURCE, cw_value_id(&facts[1]), source);
    cw_id_emit(CW_PREFIX_PULL, end->id.ulid, pull);
    CW_AUTO_STR payload;
    cw_str_init(&payload, EVENT_MAX);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &payload);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resource_type", "records_sync");
    cw_jsonw_key_text(&w, "patient_id", facts[0].bytes);
    cw_jsonw_key_cstr(&w, "connection_id", source);
    if (failed) {
        cw_jsonw_key_cstr(&w, "error_message", end->failure_code);
    } else {
        cw_jsonw_key_int(&w, "total", facts[3].number);
        cw_jsonw_key_int(&w, "errors", facts[4].number);
        cw_jsonw_key_int(&w, "duration_ms", (now_us - facts[5].number) / 1000);
    }
    cw_jsonw_key_cstr(&w, "pull_id", pull);
    cw_jsonw_key_cstr(&w, "status", cw_pull_status_name(end->status));
    if (end->told != NULL && end->told->types_json.ptr != NULL) {
        cw_jsonw_key(&w, "types");
        cw_jsonw_raw(&w, end->told->types_json);
    }
    if (end->told != NULL && end->told->receipt_sha256 != NULL) {
        cw_jsonw_key_cstr(&w, "receipt_sha256", end->told->receipt_sha256);
    }
    cw_jsonw_close_object(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "pull.end", "the event could not be written");
    }
    struct cw_org_id org = { cw_value_id(&facts[2]) };
    struct cw_patient_row patient = { cw_value_id(&facts[6]) };
    return cw_event_write(db, org, patient, key, failed ? CW_EVENT_SYNC_FAILED : CW_EVENT_SYNC_COMPLETED, end->id.ulid,
                          cw_str_span(&payload), err);
}

/* What the next incremental pull goes on from, and what has gone at the source. */
static enum cw_code end_increment(struct ending *end, struct cw_db *db, const struct cw_value *facts, struct cw_arena *arena,
                                  struct cw_err *err)
{
    const struct cw_pull pull = { .id = end->id,
                                  .patient = { cw_value_id(&facts[6]) },
                                  .connection = { cw_value_id(&facts[7]) },
                                  .mode = (enum cw_pull_mode)facts[8].number,
                                  .endpoint = { cw_value_id(&facts[9]) },
                                  .created_us = facts[5].number,
                                  .started_us = facts[10].number };
    enum cw_code rc = end->job == NULL ? CW_OK : watermark_advance(db, &pull, end->skew_us, arena, err);
    return rc == CW_OK ? vanish_mark(db, &pull, arena, err) : rc;
}

/* A pull that was cancelled has no job any more. */
static enum cw_code finish_job(struct ending *end, struct cw_db *db, struct cw_err *err)
{
    return end->job == NULL ? CW_OK : cw_job_finish(db, end->job, err);
}

static enum cw_code end_locked(struct ending *end, struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    enum cw_pull_status status;
    struct cw_patient_row patient;
    enum cw_code rc = cw_pull_lock(db, end->id, arena, &status, &patient, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (status >= CW_PULL_COMPLETE) {
        return finish_job(end, db, err); /* ended before: one terminal event only */
    }
    CW_AUTO_DATA_KEY key = { .version = 0 };
    rc = cw_patient_key(end->m, db, patient, 0, &key, err);
    struct cw_value receipt = cw_v_null();
    if (rc == CW_OK && end->told != NULL) {
        rc = cw_pull_receipt_seal(&key, end->id, end->told, arena, &receipt, err);
    }
    int64_t now_us = cw_now_us();
    struct cw_value id_param[] = { cw_v_id(&end->id.ulid) };
    const struct cw_value *facts;
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_end_facts, id_param, arena, &facts, err);
    }
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_int(end->status), cw_v_bytes(cw_span_cstr(end->failure_code)), receipt,
                                     cw_v_int(key.version), cw_v_time(now_us), cw_v_id(&end->id.ulid) };
        rc = cw_db_exec(db, &q_pull_ended, params, NULL, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_pages_forget, id_param, NULL, err);
    }
    if (rc == CW_OK) {
        rc = end_event(end, db, &key, facts, now_us, err);
    }
    if (rc == CW_OK) {
        rc = finish_job(end, db, err);
    }
    if (rc == CW_OK) {
        rc = end_increment(end, db, facts, arena, err);
    }
    if (rc == CW_OK && end->job != NULL) {
        const struct cw_pull_ended ended = { .id = end->id,
                                             .connection = { cw_value_id(&facts[7]) },
                                             .mode = (enum cw_pull_mode)facts[8].number,
                                             .status = end->status,
                                             .failure_code = end->failure_code,
                                             .told_us = end->again_us };
        rc = pull_schedule_next(db, &ended, arena, err);
    }
    return rc;
}

enum cw_code cw_pull_cancel_in(struct cw_model *m, struct cw_db *db, struct cw_pull_id id, const char *failure_code,
                               struct cw_err *err)
{
    struct ending end = {
        .m = m, .id = id, .status = CW_PULL_FAILED, .failure_code = cw_failure_known(failure_code, CW_FAILS_PULL)
    };
    struct cw_arena *arena = cw_arena_new((size_t)64 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.cancel", "out of memory");
    }
    enum cw_code rc = end_locked(&end, db, arena, err);
    cw_arena_free(arena);
    return rc;
}

static enum cw_code end_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct ending *end = arg;
    enum cw_code rc = cw_job_hold(db, end->owner, end->job, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_arena *arena = cw_arena_new((size_t)8 * 1024 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.end", "out of memory");
    }
    rc = end_locked(end, db, arena, err);
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_pull_end(struct cw_model *m, const char *owner, const struct cw_job *job, struct cw_pull_id id,
                         const struct cw_pull_ending *ending, struct cw_err *err)
{
    const char *code = ending->failure_code == NULL ? NULL : cw_failure_known(ending->failure_code, CW_FAILS_PULL);
    struct ending end = { m, owner, job, id, ending->status, code, ending, ending->again_us, ending->skew_us };
    return cw_tx_pool(m->pool, end_tx, &end, err);
}
