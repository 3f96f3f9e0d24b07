/* SPDX-License-Identifier: Apache-2.0 */
/* See pull_progress.h. The rate comes from a mark, a page count and its time, which a look sets anew when the last one is a minute old. */
#include "config.h"
#include "model/pull_progress.h"

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

#define PAGE_GUESS 50u                /* resources of a page, before one was seen: what we ask for */
#define MARK_OLD_US CW_MINUTE_US      /* a mark is set anew when it is this old */
#define MARK_YOUNG_US (5 * CW_SECOND_US) /* before, too little has happened since: the whole pull's rate is better */

static const struct cw_query q_told = {
    .name = "progress.told",
    .sql = "SELECT progress_told, progress_pages, progress_at FROM pull WHERE id = ?",
    .params = "b",
    .columns = "iit",
};
static const struct cw_query q_tell = {
    .name = "progress.tell",
    .sql = "UPDATE pull SET progress_told = GREATEST(progress_told, ?) WHERE id = ? AND status = 2",
    .params = "ib",
    .columns = "",
};
static const struct cw_query q_mark = {
    .name = "progress.mark",
    .sql = "UPDATE pull SET progress_told = GREATEST(progress_told, ?), progress_pages = ?, progress_at = ?"
           " WHERE id = ? AND status = 2",
    .params = "iitb",
    .columns = "",
};
static const struct cw_query q_past = {
    .name = "progress.past",
    .sql = "SELECT resource_type, CAST(SUM(pages) AS SIGNED) FROM pull_task WHERE kind <= 2 AND pull = (SELECT id FROM pull WHERE connection = ?"
           " AND id < ? AND mode = ? AND status IN (3, 4) ORDER BY id DESC LIMIT 1) GROUP BY resource_type LIMIT 1000",
    .params = "bbi",
    .columns = "bi",
};

/* ---------------------------------------------------------------------------------------------- reckoning */

static struct cw_progress_type *type_of(struct cw_progress *progress, struct cw_span type)
{
    for (size_t i = 0; i < progress->type_count; i++) {
        if (cw_span_eq(progress->types[i].type, type)) {
            return &progress->types[i];
        }
    }
    progress->types[progress->type_count] = (struct cw_progress_type){ .type = type, .total = -1 };
    return &progress->types[progress->type_count++];
}

/* All pages of one task, those taken included. One that ended without a page was still one question. */
static uint64_t pages_of(const struct cw_task *task)
{
    switch (task->status) {
    case CW_TASK_SKIPPED:
        return 0;
    case CW_TASK_DONE:
    case CW_TASK_FAILED:
        return task->pages;
    case CW_TASK_WAITING:
        break;
    }
    uint64_t more = (uint64_t)task->pages + 1;
    if (task->kind != CW_TASK_SEARCH || task->total < 0) {
        return more;
    }
    uint64_t size = task->pages > 0 && task->received >= task->pages ? task->received / task->pages : PAGE_GUESS;
    uint64_t promised = ((uint64_t)task->total + size - 1) / size;
    return promised > more ? promised : more;
}

static void add(struct cw_progress_type *type, const struct cw_task *task)
{
    type->tasks++;
    type->waiting += task->status == CW_TASK_WAITING;
    type->done += task->status == CW_TASK_DONE;
    type->failed += task->status == CW_TASK_FAILED;
    type->skipped += task->status == CW_TASK_SKIPPED;
    type->requests += task->requests;
    type->pages += task->pages;
    type->received += task->received;
    type->stored += task->stored;
    type->created += task->created;
    type->unchanged += task->unchanged;
    type->bytes += task->bytes;
    type->pages_expected += pages_of(task);
    if (task->total >= 0) {
        type->total = type->total < 0 ? task->total : type->total + task->total;
    }
}

/* A type that nothing is promised of takes what it took the last time. */
static void look_back(struct cw_progress *progress, const struct cw_task *tasks, size_t count,
                      const struct cw_progress_past *past, size_t past_count)
{
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].kind > CW_TASK_SEARCH || tasks[i].status != CW_TASK_WAITING || tasks[i].total >= 0) {
            continue;
        }
        struct cw_progress_type *type = type_of(progress, tasks[i].resource_type);
        for (size_t k = 0; k < past_count; k++) {
            if (cw_span_eq(past[k].type, type->type) && past[k].pages > type->pages_expected) {
                type->pages_expected = past[k].pages;
            }
        }
    }
}

enum cw_code cw_progress_reckon(const struct cw_task *tasks, size_t count, const struct cw_progress_past *past, size_t past_count,
                                struct cw_arena *arena, struct cw_progress *ret, struct cw_err *err)
{
    struct cw_progress progress = { .percent = 0 };
    progress.types = cw_arena_array(arena, count + 1, sizeof *progress.types);
    if (progress.types == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.progress", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        add(type_of(&progress, tasks[i].resource_type), &tasks[i]);
    }
    look_back(&progress, tasks, count, past, past_count);
    for (size_t i = 0; i < progress.type_count; i++) {
        progress.pages += progress.types[i].pages;
        progress.pages_expected += progress.types[i].pages_expected;
    }
    if (progress.pages_expected > 0) {
        progress.percent = (unsigned)(progress.pages * 100 / progress.pages_expected);
    }
    *ret = progress;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- a pull as it stands */

struct look {
    struct cw_model *m;
    const struct cw_pull *pull;
    struct cw_arena *arena;
    struct cw_db *db;
    struct cw_progress *progress;
    struct cw_err *err;
};

static enum cw_code past_of(struct look *l, struct cw_progress_past **ret, size_t *ret_count)
{
    struct cw_value params[] = { cw_v_id(&l->pull->connection.ulid), cw_v_id(&l->pull->id.ulid), cw_v_int(l->pull->mode) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(l->db, &q_past, params, l->arena, &rows, l->err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_progress_past *past = cw_arena_array(l->arena, rows.count + 1, sizeof *past);
    if (past == NULL) {
        return cw_err_set(l->err, CW_E_OOM, "pull.progress", "out of memory");
    }
    for (size_t i = 0; i < rows.count; i++) {
        past[i] = (struct cw_progress_past){ cw_row(&rows, i)[0].bytes, (uint64_t)cw_row(&rows, i)[1].number };
    }
    *ret = past;
    *ret_count = rows.count;
    return CW_OK;
}

/* By the pages since the mark, or since the start where the mark is too young; never before the last task that must wait may start. */
static int64_t eta_of(const struct look *l, const struct cw_value *told, const struct cw_task *tasks, size_t count, int64_t now_us)
{
    const struct cw_progress *progress = l->progress;
    int64_t from_us = l->pull->started_us;
    uint64_t from_pages = 0;
    if (told[2].kind != CW_V_NULL && now_us - told[2].number >= MARK_YOUNG_US) {
        from_us = told[2].number;
        from_pages = (uint64_t)told[1].number;
    }
    if (from_us == 0 || now_us <= from_us || progress->pages <= from_pages) {
        return 0;
    }
    double rate = (double)(progress->pages - from_pages) / (double)(now_us - from_us);
    int64_t eta_us = now_us + (int64_t)((double)(progress->pages_expected - progress->pages) / rate);
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].status == CW_TASK_WAITING && tasks[i].ready_us > eta_us) {
            eta_us = tasks[i].ready_us;
        }
    }
    return eta_us;
}

/* Writes what is told, and the mark when the last one is old. */
static enum cw_code tell(struct look *l, const struct cw_value *told, unsigned percent, int64_t now_us)
{
    bool mark = told[2].kind == CW_V_NULL || now_us - told[2].number >= MARK_OLD_US;
    if (mark) {
        struct cw_value params[] = { cw_v_int(percent), cw_v_int((int64_t)l->progress->pages), cw_v_time(now_us),
                                     cw_v_id(&l->pull->id.ulid) };
        return cw_db_exec(l->db, &q_mark, params, NULL, l->err);
    }
    struct cw_value params[] = { cw_v_int(percent), cw_v_id(&l->pull->id.ulid) };
    return percent <= (unsigned)told[0].number ? CW_OK : cw_db_exec(l->db, &q_tell, params, NULL, l->err);
}

static enum cw_code running(struct look *l, const struct cw_task *tasks, size_t count)
{
    int64_t now_us = cw_now_us();
    unsigned percent = l->progress->percent > 99 ? 99 : l->progress->percent;
    struct cw_value id[] = { cw_v_id(&l->pull->id.ulid) };
    const struct cw_value *told;
    enum cw_code rc = cw_db_one(l->db, &q_told, id, l->arena, &told, l->err);
    if (rc == CW_OK) {
        l->progress->eta_us = eta_of(l, told, tasks, count, now_us);
        rc = tell(l, told, percent, now_us);
    }
    if (rc == CW_OK) {
        rc = cw_db_one(l->db, &q_told, id, l->arena, &told, l->err); /* another look may have told more meanwhile */
    }
    if (rc == CW_OK) {
        l->progress->percent = (unsigned)told[0].number > percent ? (unsigned)told[0].number : percent;
    }
    return rc;
}

enum cw_code cw_pull_progress(struct cw_model *m, const struct cw_pull *pull, struct cw_arena *arena, struct cw_progress *ret,
                              struct cw_err *err)
{
    struct cw_progress progress = { .percent = 0 };
    struct look l = { .m = m, .pull = pull, .arena = arena, .progress = &progress, .err = err };
    struct cw_task *tasks = NULL;
    struct cw_progress_past *past = NULL;
    size_t count = 0, past_count = 0;
    enum cw_code rc = cw_pull_tasks(m, pull->id, arena, &tasks, &count, err);
    if (rc == CW_OK) {
        rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &l.db, err);
    }
    if (rc == CW_OK && pull->status == CW_PULL_RUNNING) {
        rc = past_of(&l, &past, &past_count);
    }
    if (rc == CW_OK) {
        rc = cw_progress_reckon(tasks, count, past, past_count, arena, &progress, err);
    }
    if (rc == CW_OK && pull->status == CW_PULL_RUNNING) {
        rc = running(&l, tasks, count);
    } else {
        progress.percent = pull->status >= CW_PULL_COMPLETE ? 100 : 0;
    }
    cw_db_put(l.db);
    if (rc == CW_OK) {
        *ret = progress;
    }
    return rc;
}
