/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over the tasks, written as they are met: a pull has at most some thousand tasks over some thirty types. */
#include "config.h"

#include "fhir/receipt.h"

#include <string.h>

#include "base/jsonw.h"

/* The tasks that a sum is made of: those of one kind, or of one type among the searches and reads. */
struct choice {
    const char *kind;     /* NULL: searches and reads */
    bool any_kind;
    struct cw_span type;  /* absent: any */
};

static bool is_query(const struct cw_receipt_task *task)
{
    return strcmp(task->kind, "search") == 0 || strcmp(task->kind, "read") == 0;
}

static bool chosen(const struct choice *choice, const struct cw_receipt_task *task)
{
    bool kind = choice->any_kind || (choice->kind == NULL ? is_query(task) : strcmp(task->kind, choice->kind) == 0);
    return kind && (choice->type.ptr == NULL || cw_span_eq(choice->type, task->type));
}

struct sum {
    uint64_t requests, pages, received, stored, created, unchanged, bytes;
    int64_t total;        /* of those that told one; -1: none did */
    int64_t shortfall;    /* promised and not received, search by search: one that brought more makes up for no other */
    bool complete;        /* every task is done or was left out on purpose */
    size_t count, problems, failed;
};

static void add(struct sum *sum, const struct cw_receipt_task *task)
{
    sum->requests += task->requests;
    sum->pages += task->pages;
    sum->received += task->received;
    sum->stored += task->stored;
    sum->created += task->created;
    sum->unchanged += task->unchanged;
    sum->bytes += task->bytes;
    if (task->total >= 0) {
        sum->total = sum->total < 0 ? task->total : sum->total + task->total;
        sum->shortfall += task->total > task->received ? task->total - task->received : 0;
    }
    sum->count++;
    if (strcmp(task->status, "done") != 0) {
        sum->problems++;
        sum->failed += strcmp(task->status, "failed") == 0;
        sum->complete = sum->complete && strcmp(task->status, "skipped") == 0;
    }
}

static struct sum sum_of(const struct cw_receipt *receipt, const struct choice *choice)
{
    struct sum sum = { .total = -1, .complete = true };
    for (size_t i = 0; i < receipt->count; i++) {
        if (chosen(choice, &receipt->tasks[i])) {
            add(&sum, &receipt->tasks[i]);
        }
    }
    return sum;
}

static void emit_counts(struct cw_jsonw *w, const struct sum *sum)
{
    cw_jsonw_key_int(w, "requests", (int64_t)sum->requests);
    cw_jsonw_key_int(w, "pages", (int64_t)sum->pages);
    cw_jsonw_key_int(w, "received", (int64_t)sum->received);
    cw_jsonw_key_int(w, "stored", (int64_t)sum->stored);
    cw_jsonw_key_int(w, "created", (int64_t)sum->created);
    cw_jsonw_key_int(w, "changed", (int64_t)(sum->stored - sum->created));
    cw_jsonw_key_int(w, "unchanged", (int64_t)sum->unchanged);
    cw_jsonw_key_int(w, "bytes", (int64_t)sum->bytes);
}

static bool same_problem(const struct cw_receipt_task *a, const struct cw_receipt_task *b)
{
    return strcmp(a->status, b->status) == 0 && cw_span_eq(a->code, b->code) && a->http_status == b->http_status;
}

/* How many tasks of the choice share this one's problem; 0 when an earlier one has told it already. */
static size_t problem_count(const struct cw_receipt *receipt, const struct choice *choice, size_t at)
{
    size_t count = 0;
    for (size_t i = 0; i < receipt->count; i++) {
        if (chosen(choice, &receipt->tasks[i]) && same_problem(&receipt->tasks[i], &receipt->tasks[at])) {
            if (i < at) {
                return 0;
            }
            count++;
        }
    }
    return count;
}

static void emit_problems(struct cw_jsonw *w, const struct cw_receipt *receipt, const struct choice *choice)
{
    cw_jsonw_key(w, "problems");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < receipt->count; i++) {
        const struct cw_receipt_task *task = &receipt->tasks[i];
        if (!chosen(choice, task) || strcmp(task->status, "done") == 0) {
            continue;
        }
        size_t count = problem_count(receipt, choice, i);
        if (count == 0) {
            continue;
        }
        cw_jsonw_open_object(w);
        cw_jsonw_key_cstr(w, "status", task->status);
        cw_jsonw_key_text(w, "code", task->code);
        if (task->http_status > 0) {
            cw_jsonw_key_int(w, "http_status", task->http_status);
        }
        cw_jsonw_key_int(w, "count", (int64_t)count);
        cw_jsonw_close_object(w);
    }
    cw_jsonw_close_array(w);
}

static void emit_sum(struct cw_jsonw *w, const struct cw_receipt *receipt, const struct choice *choice)
{
    struct sum sum = sum_of(receipt, choice);
    emit_counts(w, &sum);
    if (sum.total >= 0) {
        cw_jsonw_key_int(w, "total", sum.total);
    }
    if (sum.shortfall > 0) {
        cw_jsonw_key_int(w, "shortfall", sum.shortfall);
    }
    cw_jsonw_key_bool(w, "complete", sum.complete);
    if (sum.problems > 0) {
        emit_problems(w, receipt, choice);
    }
}

static bool first_of_type(const struct cw_receipt *receipt, size_t at, bool any_kind)
{
    for (size_t i = 0; i < at; i++) {
        if ((any_kind || is_query(&receipt->tasks[i])) && cw_span_eq(receipt->tasks[i].type, receipt->tasks[at].type)) {
            return false;
        }
    }
    return true;
}

static void emit_types(struct cw_jsonw *w, const struct cw_receipt *receipt)
{
    cw_jsonw_key(w, "types");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < receipt->count; i++) {
        if (is_query(&receipt->tasks[i]) && first_of_type(receipt, i, false)) {
            cw_jsonw_open_object(w);
            cw_jsonw_key_text(w, "type", receipt->tasks[i].type);
            emit_sum(w, receipt, &(struct choice){ .type = receipt->tasks[i].type });
            cw_jsonw_close_object(w);
        }
    }
    cw_jsonw_close_array(w);
}

/* The words of a list as an array; null for what is not known. */
static void emit_words(struct cw_jsonw *w, const char *key, struct cw_span words, bool known)
{
    cw_jsonw_key(w, key);
    if (!known) {
        cw_jsonw_null(w);
        return;
    }
    cw_jsonw_open_array(w);
    struct cw_span word;
    while (cw_span_word(&words, &word)) {
        cw_jsonw_text(w, word);
    }
    cw_jsonw_close_array(w);
}

static void emit_scopes(struct cw_jsonw *w, const struct cw_receipt *receipt)
{
    bool known = receipt->asked.ptr != NULL;
    cw_jsonw_key(w, "scopes");
    cw_jsonw_open_object(w);
    emit_words(w, "asked", receipt->asked, known);
    emit_words(w, "granted", receipt->granted, true);
    emit_words(w, "lost", receipt->lost, known);
    cw_jsonw_close_object(w);
}

static void emit_documents(struct cw_jsonw *w, const struct cw_receipt *receipt)
{
    const struct choice documents = { .kind = "document" };
    struct sum sum = sum_of(receipt, &documents);
    cw_jsonw_key(w, "documents");
    cw_jsonw_open_object(w);
    emit_sum(w, receipt, &documents);
    cw_jsonw_key_int(w, "count", (int64_t)sum.count);
    cw_jsonw_key(w, "items");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < receipt->count; i++) {
        const struct cw_receipt_task *task = &receipt->tasks[i];
        if (!chosen(&documents, task)) {
            continue;
        }
        cw_jsonw_open_object(w);
        cw_jsonw_key_cstr(w, "status", task->status);
        if (task->code.ptr != NULL) {
            cw_jsonw_key_text(w, "code", task->code);
        }
        if (task->http_status > 0 && strcmp(task->status, "failed") == 0) {
            cw_jsonw_key_int(w, "http_status", task->http_status);
        }
        cw_jsonw_key_int(w, "bytes", (int64_t)task->bytes);
        cw_jsonw_close_object(w);
    }
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
}

static void emit_skips(struct cw_jsonw *w, const struct cw_receipt *receipt)
{
    cw_jsonw_key(w, "left_out");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < receipt->skip_count; i++) {
        cw_jsonw_open_object(w);
        cw_jsonw_key_text(w, "type", receipt->skips[i].type);
        cw_jsonw_key_text(w, "reason", receipt->skips[i].reason);
        cw_jsonw_key_int(w, "count", receipt->skips[i].count);
        cw_jsonw_close_object(w);
    }
    cw_jsonw_close_array(w);
}

enum cw_code cw_receipt_emit(const struct cw_receipt *receipt, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_int(&w, "version", CW_RECEIPT_VERSION);
    cw_jsonw_key_cstr(&w, "pull_id", receipt->pull);
    cw_jsonw_key_cstr(&w, "status", receipt->status);
    if (receipt->failure.ptr != NULL) {
        cw_jsonw_key_text(&w, "failure_code", receipt->failure);
    }
    cw_jsonw_key_time(&w, "started_at", receipt->started_us);
    cw_jsonw_key_time(&w, "ended_at", receipt->ended_us);
    emit_scopes(&w, receipt);
    struct sum totals = { .total = -1 };
    for (size_t i = 0; i < receipt->count; i++) {
        add(&totals, &receipt->tasks[i]);
    }
    cw_jsonw_key(&w, "totals");
    cw_jsonw_open_object(&w);
    emit_counts(&w, &totals);
    cw_jsonw_close_object(&w);
    emit_types(&w, receipt);
    emit_documents(&w, receipt);
    cw_jsonw_key(&w, "references");
    cw_jsonw_open_object(&w);
    emit_sum(&w, receipt, &(struct choice){ .kind = "reference" });
    cw_jsonw_close_object(&w);
    if (receipt->skip_count > 0) {
        emit_skips(&w, receipt);
    }
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

enum cw_code cw_receipt_emit_types(const struct cw_receipt *receipt, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < receipt->count; i++) {
        if (!first_of_type(receipt, i, true)) {
            continue;
        }
        struct sum sum = sum_of(receipt, &(struct choice){ .any_kind = true, .type = receipt->tasks[i].type });
        cw_jsonw_open_object(&w);
        cw_jsonw_key_text(&w, "type", receipt->tasks[i].type);
        cw_jsonw_key_int(&w, "received", (int64_t)sum.received);
        cw_jsonw_key_int(&w, "stored", (int64_t)sum.stored);
        cw_jsonw_key_int(&w, "unchanged", (int64_t)sum.unchanged);
        cw_jsonw_key_int(&w, "failed", (int64_t)sum.failed);
        cw_jsonw_close_object(&w);
    }
    cw_jsonw_close_array(&w);
    return cw_jsonw_end(&w);
}
