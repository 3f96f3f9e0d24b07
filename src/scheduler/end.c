/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a pull: whether it is complete, and the receipt that proves it. What the server does not let us have (403, 404, 405, 410, 401
 * with a fresh token) stands in the receipt and makes no pull partial: nothing that could be obtained is missing. A query that it does not
 * understand (400) does, unless another search of the type brought it (Epic refuses a bare Observation search and answers by category).
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include "base/limits.h"
#include "base/time.h"
#include "fhir/receipt.h"
#include "model/failure.h"
#include "model/pull_receipt.h"
#include "model/vanish.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/scope.h"

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

/* What was met and could not be taken though it was there. */
static bool lost_any(const struct cw_pull_skip *skips, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cw_pull_skip_is_loss(skips[i].reason)) {
            return true;
        }
    }
    return false;
}

static enum cw_pull_status status_of(const struct run *run, const struct cw_task *tasks, size_t count, bool lost)
{
    bool any = false, hole = lost, failed = false;
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
        .requests = task->requests,
        .created = task->created,
        .received = task->received,
        .stored = task->stored,
        .unchanged = task->unchanged,
        .total = task->total,
        .bytes = task->bytes,
    };
}

/* Is what one scope was asked for not permitted by those granted? Of resource scopes only the permission counts: servers answer in the other
 * dialect, or with the types of a wild card one by one (then the wild card is lost, and "granted" tells what is there). */
static bool is_lost(struct cw_span asked, struct cw_span granted)
{
    struct cw_scope scope;
    if (cw_scope_has(granted, asked)) {
        return false;
    }
    return !cw_scope_parse(asked, &scope) || scope.query.ptr != NULL ||
           (cw_scope_permits(granted, scope.type, false) & scope.permissions) != scope.permissions;
}

static enum cw_code scopes_of(struct scheduler *s, const struct run *run, struct cw_arena *arena, struct cw_receipt *receipt,
                              struct cw_err *err)
{
    receipt->granted = run->connection.scopes;
    enum cw_code rc = cw_pull_scopes_asked(&s->model, run->connection.patient, run->connection.id, arena, &receipt->asked, err);
    CW_AUTO_STR lost;
    cw_str_init(&lost, CW_SCOPE_MAX + 1);
    struct cw_span left = receipt->asked, word;
    while (rc == CW_OK && cw_span_word(&left, &word)) {
        if (is_lost(word, receipt->granted)) {
            cw_str_add_span(&lost, word);
            cw_str_add_char(&lost, ' ');
        }
    }
    if (rc == CW_OK) {
        receipt->lost = cw_arena_span(arena, cw_str_span(&lost));
        rc = cw_str_code(&lost) == CW_OK ? CW_OK : cw_err_set(err, cw_str_code(&lost), "pull.receipt", "no room for scopes");
    }
    return rc;
}

/* Everything that goes into an ending besides its status. */
struct paper {
    struct cw_str json, jws, types;
    char sha256[CW_SHA256_TEXT];
};

static void paper_release(struct paper *paper)
{
    cw_str_release(&paper->json);
    cw_str_release(&paper->jws);
    cw_str_release(&paper->types);
}

static enum cw_code write_paper(struct scheduler *s, struct run *run, const struct cw_receipt *receipt, struct paper *paper,
                                struct cw_err *err)
{
    cw_str_init(&paper->json, CW_RECEIPT_MAX);
    cw_str_init(&paper->jws, CW_TOKEN_MAX);
    cw_str_init(&paper->types, CW_RECEIPT_TYPES_MAX);
    enum cw_code rc = cw_receipt_emit(receipt, &paper->json);
    if (rc == CW_OK) {
        rc = cw_receipt_emit_types(receipt, &paper->types);
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "pull.receipt", "the receipt could not be written");
    }
    cw_pull_receipt_hash(cw_str_span(&paper->json), paper->sha256);
    return cw_pull_receipt_sign(&s->model, run->pull.id, cw_str_span(&paper->json), &paper->jws, err);
}

/* What the pull left behind, read once. */
struct outcome {
    struct cw_task *tasks;
    size_t count;
    struct cw_pull_skip *skips;
    size_t skip_count;
};

static enum cw_code receipt_of(struct scheduler *s, struct run *run, const struct outcome *outcome,
                               struct cw_arena *arena, struct cw_receipt *ret, struct cw_err *err)
{
    size_t count = outcome->count;
    struct cw_receipt_task *lines = cw_arena_array(arena, count + 1, sizeof *lines);
    struct cw_receipt_skip *skips = cw_arena_array(arena, outcome->skip_count + 1, sizeof *skips);
    char *pull = cw_arena_alloc(arena, CW_ID_TEXT_MAX);
    if (lines == NULL || skips == NULL || pull == NULL) {
        return cw_err_set(err, CW_E_OOM, "pull.receipt", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        receipt_task(&outcome->tasks[i], &lines[i]);
    }
    for (size_t i = 0; i < outcome->skip_count; i++) {
        const struct cw_pull_skip *skip = &outcome->skips[i];
        skips[i] = (struct cw_receipt_skip){ .type = skip->resource_type, .reason = skip->reason, .count = skip->count };
    }
    cw_id_emit(CW_PREFIX_PULL, run->pull.id.ulid, pull);
    *ret = (struct cw_receipt){
        .pull = pull,
        .started_us = run->pull.started_us != 0 ? run->pull.started_us : run->pull.created_us,
        .ended_us = cw_now_us(),
        .tasks = lines,
        .count = count,
        .skips = skips,
        .skip_count = outcome->skip_count,
    };
    return scopes_of(s, run, arena, ret, err);
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
    struct outcome outcome = { .count = 0 };
    struct cw_receipt receipt;
    bool full = run->pull.mode == CW_PULL_FULL && run->end_code == NULL;
    enum cw_code rc = full ? cw_vanish_settle(&s->model, run->pull.id, err) : CW_OK;
    if (rc == CW_OK) {
        rc = cw_pull_tasks(&s->model, run->pull.id, arena, &outcome.tasks, &outcome.count, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_skips(&s->model, run->pull.id, arena, &outcome.skips, &outcome.skip_count, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_get(&s->model, run->pull.id, arena, &run->pull, err);
    }
    if (rc == CW_OK) {
        rc = receipt_of(s, run, &outcome, arena, &receipt, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    enum cw_pull_status status = status_of(run, outcome.tasks, outcome.count, lost_any(outcome.skips, outcome.skip_count));
    if (full && status == CW_PULL_COMPLETE) {
        rc = ask_for_missing(s, run, ret_more, err);
        if (rc != CW_OK || *ret_more) {
            return rc;
        }
    }
    const char *failure = status != CW_PULL_FAILED ? NULL : run->end_code != NULL ? run->end_code : CW_FAIL_NOTHING_ARRIVED;
    receipt.status = cw_pull_status_name(status);
    receipt.failure = cw_span_cstr(failure);
    struct paper paper;
    rc = write_paper(s, run, &receipt, &paper, err);
    if (rc == CW_OK) {
        struct cw_pull_ending ending = { .status = status,
                                         .failure_code = failure,
                                         .receipt_json = cw_str_span(&paper.json),
                                         .receipt_jws = cw_str_span(&paper.jws),
                                         .receipt_sha256 = paper.sha256,
                                         .types_json = cw_str_span(&paper.types),
                                         .again_us = again_at(run, outcome.tasks, outcome.count),
                                         .skew_us = run->skew_us };
        rc = cw_pull_end(&s->model, s->owner, &run->job, run->pull.id, &ending, err);
    }
    paper_release(&paper);
    return rc;
}

enum cw_code end_pull(struct scheduler *s, struct run *run, bool *ret_more, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new((size_t)32 * 1024 * 1024);
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
