/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a pull: whether it is complete, and the receipt that proves it. What the server does not let us have (403, 404, 405, 410, 401
 * with a fresh token) stands in the receipt and makes no pull partial: nothing that could be obtained is missing. A query that it does not
 * understand (400) does, unless another search of the type brought it (Epic refuses a bare Observation search and answers by category).
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include "base/time.h"
#include "fhir/receipt.h"
#include "model/failure.h"
#include "model/vanish.h"
#include "os/log.h"
#include "os/sys.h"

/* The server's last word: no other question would bring it. */
static bool is_denial(struct cw_span code)
{
    static const char *const codes[] = { "no_access", "access_withheld", "not_offered", "not_found", "unauthorized", "gone" };
    for (size_t i = 0; i < CW_ARRAY_LEN(codes); i++) {
        if (cw_span_eq_cstr(code, codes[i])) {
            return true;
        }
    }
    return false;
}

static bool type_arrived(const struct cw_task *tasks, size_t count, struct cw_span type)
{
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].kind <= CW_TASK_SEARCH && tasks[i].status == CW_TASK_DONE &&
            cw_span_eq(tasks[i].resource_type, type)) {
            return true;
        }
    }
    return false;
}

static bool is_hole(const struct cw_task *tasks, size_t count, const struct cw_task *task)
{
    if (task->status != CW_TASK_FAILED) {
        return task->status == CW_TASK_WAITING;
    }
    if (is_denial(task->failure_code) && task->pages == 0) {
        return false;
    }
    bool refused = cw_span_eq_cstr(task->failure_code, "query_refused");
    return !refused || (task->kind <= CW_TASK_SEARCH && !type_arrived(tasks, count, task->resource_type));
}

static enum cw_pull_status status_of(const struct run *run, const struct cw_task *tasks, size_t count)
{
    bool any = false, hole = false, failed = false;
    for (size_t i = 0; i < count; i++) {
        any |= tasks[i].status == CW_TASK_DONE || tasks[i].pages > 0;
        hole |= is_hole(tasks, count, &tasks[i]);
        failed |= tasks[i].status == CW_TASK_FAILED;
    }
    if (run->end_code != NULL || (failed && !any)) {
        return CW_PULL_FAILED;
    }
    return hole ? CW_PULL_PARTIAL : CW_PULL_COMPLETE;
}

/* A day's limit was reached: the rest comes on another day, and a full day later is one in every time zone. 0: nothing waits for that. */
static int64_t again_at(const struct run *run, const struct cw_task *tasks, size_t count)
{
    for (size_t i = 0; i < count && run->end_code == NULL; i++) {
        if (tasks[i].status == CW_TASK_FAILED && cw_span_eq_cstr(tasks[i].failure_code, "daily_limit")) {
            return cw_now_us() + CW_DAY_US + (int64_t)cw_random_below(CW_HOUR_US);
        }
    }
    return 0;
}

static void receipt_task(const struct cw_task *task, struct cw_receipt_task *ret)
{
    static const char *const kinds[] = { "", "read", "search", "reference", "document" };
    static const char *const states[] = { "", "waiting", "done", "failed", "skipped" };
    *ret = (struct cw_receipt_task){
        .type = task->resource_type,
        .kind = kinds[task->kind],
        .status = states[task->status],
        .code = task->status == CW_TASK_DONE ? (struct cw_span){ NULL, 0 } : task->failure_code,
        .http_status = task->http_status,
        .pages = task->pages,
        .requests = task->pages + task->tries,
        .received = task->received,
        .stored = task->stored,
        .unchanged = task->unchanged,
        .total = task->total,
        .bytes = task->bytes,
    };
}

static enum cw_code emit(struct run *run, const struct cw_task *tasks, size_t count, enum cw_pull_status status,
                         struct cw_span failure, struct cw_arena *arena, struct cw_str *out, struct cw_err *err)
{
    struct cw_receipt_task *lines = cw_arena_array(arena, count + 1, sizeof *lines);
    if (lines == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.receipt", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        receipt_task(&tasks[i], &lines[i]);
    }
    struct cw_receipt receipt = {
        .status = cw_pull_status_name(status),
        .failure = failure,
        .started_us = run->pull.started_us != 0 ? run->pull.started_us : run->pull.created_us,
        .ended_us = cw_now_us(),
        .asked = run->connection.scopes,
        .granted = run->connection.scopes,
        .tasks = lines,
        .count = count,
    };
    enum cw_code rc = cw_receipt_emit(&receipt, out);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "pull.receipt", "the receipt could not be written");
}

/* All came: what was here before and did not come is asked for by its id, once. */
static enum cw_code ask_for_missing(struct scheduler *s, struct run *run, bool *ret_more, struct cw_err *err)
{
    struct cw_vanish_asked asked;
    enum cw_code rc = cw_vanish_ask(&s->model, s->owner, &run->job, &run->pull, cw_span_cstr(run->pinned.base), &asked, err);
    if (rc == CW_OK && asked.suspected > 0) {
        cw_log(CW_LOG_WARNING, "pull.vanish_suspected", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_INT("types", asked.suspected));
    }
    *ret_more = rc == CW_OK && asked.tasks > 0;
    return rc;
}

static enum cw_code end_in(struct scheduler *s, struct run *run, struct cw_arena *arena, bool *ret_more, struct cw_err *err)
{
    struct cw_task *tasks;
    size_t count;
    bool full = run->pull.mode == CW_PULL_FULL && run->end_code == NULL;
    enum cw_code rc = full ? cw_vanish_settle(&s->model, run->pull.id, err) : CW_OK;
    if (rc == CW_OK) {
        rc = cw_pull_tasks(&s->model, run->pull.id, arena, &tasks, &count, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_get(&s->model, run->pull.id, arena, &run->pull, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    enum cw_pull_status status = status_of(run, tasks, count);
    if (full && status == CW_PULL_COMPLETE) {
        rc = ask_for_missing(s, run, ret_more, err);
        if (rc != CW_OK || *ret_more) {
            return rc;
        }
    }
    const char *failure = status != CW_PULL_FAILED ? NULL : run->end_code != NULL ? run->end_code : CW_FAIL_NOTHING_ARRIVED;
    CW_AUTO_STR receipt;
    cw_str_init(&receipt, CW_RECEIPT_MAX);
    rc = emit(run, tasks, count, status, cw_span_cstr(failure), arena, &receipt, err);
    if (rc == CW_OK) {
        struct cw_pull_ending ending = { .status = status,
                                         .failure_code = failure,
                                         .receipt_json = cw_str_span(&receipt),
                                         .again_us = again_at(run, tasks, count),
                                         .skew_us = run->skew_us };
        rc = cw_pull_end(&s->model, s->owner, &run->job, run->pull.id, &ending, err);
    }
    return rc;
}

enum cw_code end_pull(struct scheduler *s, struct run *run, bool *ret_more, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new((size_t)16 * 1024 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.end", "out of memory");
    }
    *ret_more = false;
    enum cw_code rc = end_in(s, run, arena, ret_more, err);
    /* Its texts lived in the arena. */
    run->pull.failure_code = run->pull.plan = (struct cw_span){ NULL, 0 };
    cw_arena_free(arena);
    return rc;
}
