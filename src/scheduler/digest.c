/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digesters: the commit of a good page, and what follows from an answer that is none (scheduler/judge). A page is committed before
 * its task goes on to the next.
 */
#include "config.h"
#include "scheduler/judge.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "fhir/link.h"
#include "fhir/references.h"
#include "fhir/slice.h"
#include "os/log.h"
#include "os/sys.h"

#define EMPTY_PAGES_MAX 3
#define SAME_PAGES_MAX 3
#define YEAR_1000_US (INT64_C(-30610224000) * CW_SECOND_US) /* what DATETIME begins with */

/* ---------------------------------------------------------------------------------------------- a good page */

struct harvest {
    struct cw_record_batch *records;
    struct cw_task_new *found;
    size_t found_count, found_room;
    unsigned received;
};

static void find_task(struct page *page, struct harvest *harvest, const struct cw_task_new *task, struct cw_span type)
{
    if (harvest->found_count == harvest->found_room) {
        size_t room = harvest->found_room == 0 ? 64 : harvest->found_room * 2;
        struct cw_task_new *found = cw_arena_array(page->arena, room, sizeof *found);
        if (found == NULL) {
            return; /* a page with more references than memory: the receipt shows what was not asked */
        }
        if (harvest->found_count > 0) {
            memcpy(found, harvest->found, harvest->found_count * sizeof *found);
        }
        harvest->found = found;
        harvest->found_room = room;
    }
    char *name = cw_arena_text(page->arena, type);
    struct cw_span own = cw_arena_span(page->arena, task->url);
    if (name != NULL && own.ptr != NULL) {
        unsigned level = page->item->ordinal / CW_LEVEL_ORDINAL + 1;
        struct cw_task_new *found = &harvest->found[harvest->found_count++];
        *found = *task;
        found->resource_type = name;
        found->ordinal = level * CW_LEVEL_ORDINAL;
        found->url = own;
    }
}

static void follow_reference(struct page *page, struct harvest *harvest, const struct cw_reference *reference)
{
    if (!cw_reference_followed(reference)) {
        return;
    }
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    cw_str_addf(&url, "%s/%.*s/", page->item->run->pinned.base, (int)reference->type.len, reference->type.ptr);
    cw_percent_encode(reference->id, &url);
    if (cw_str_code(&url) == CW_OK) {
        find_task(page, harvest, &(struct cw_task_new){ .kind = CW_TASK_REFERENCE, .url = cw_str_span(&url) }, reference->type);
    }
}

static void follow_attachment(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry,
                              const struct cw_attachment *attachment)
{
    if (attachment->url.ptr == NULL) {
        return;
    }
    /* Relative to the base with its slash, as FHIR references are; the token goes nowhere else. */
    CW_AUTO_STR with_slash;
    cw_str_init(&with_slash, CW_URL_MAX);
    cw_str_addf(&with_slash, "%s/", page->item->run->pinned.base);
    struct cw_url *base = NULL, *url = NULL;
    struct cw_err err = { 0 };
    if (cw_str_code(&with_slash) == CW_OK && cw_url_parse(cw_str_span(&with_slash), &base, &err) == CW_OK &&
        cw_url_resolve(base, attachment->url, &url, &err) == CW_OK && cw_url_is_under(url, page->item->run->base)) {
        struct cw_reference place = cw_reference_parse(attachment->url, cw_span_cstr(page->item->run->pinned.base));
        struct cw_task_new task = { .kind = CW_TASK_DOCUMENT, .url = cw_span_cstr(cw_url_text(url)), .parent_type = entry->type, .parent_id = entry->id };
        if (place.kind == CW_REF_LOCAL && cw_span_eq_cstr(place.type, "Binary")) {
            task.binary_id = place.id;
        }
        find_task(page, harvest, &task, CW_SPAN("Binary"));
    }
    cw_url_free(url);
    cw_url_free(base);
}

static enum cw_code collect_references(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry,
                                       struct cw_err *err)
{
    struct cw_references references;
    enum cw_code rc =
        cw_references_read(entry->resource, cw_span_cstr(page->item->run->pinned.base), page->arena, &references, err);
    if (rc != CW_OK) {
        return rc;
    }
    bool deep = page->item->ordinal / CW_LEVEL_ORDINAL >= CW_REFERENCE_LEVELS;
    for (size_t i = 0; i < references.reference_count && !deep; i++) {
        follow_reference(page, harvest, &references.references[i]);
    }
    for (size_t i = 0; i < references.attachment_count; i++) {
        follow_attachment(page, harvest, entry, &references.attachments[i]);
    }
    return CW_OK;
}

/* The server read our Patient under another id, said that the two were merged, and this is the one that its redirect led to. */
static bool is_merged_patient(const struct task_item *item, const struct cw_slice_entry *entry)
{
    CW_AUTO_STR id;
    cw_str_init(&id, CW_URL_MAX);
    cw_str_add_cstr(&id, "/Patient/");
    cw_percent_encode(entry->id, &id);
    return item->merged && item->kind == CW_TASK_READ && cw_str_code(&id) == CW_OK &&
           cw_span_ends(cw_span_cstr(item->url), cw_str_span(&id));
}

/* OperationOutcomes are messages; another Patient than ours is nobody's business. */
static bool is_wanted(const struct task_item *item, const struct cw_slice_entry *entry)
{
    if (entry->fault != CW_SLICE_GOOD || entry->mode == CW_SLICE_MODE_OUTCOME ||
        cw_span_eq_cstr(entry->type, "OperationOutcome")) {
        return false;
    }
    return !cw_span_eq_cstr(entry->type, "Patient") || cw_span_eq(entry->id, item->run->upstream_patient) ||
           is_merged_patient(item, entry);
}

static enum cw_code gather_entry(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry,
                                 struct cw_err *err)
{
    struct cw_record_in in = { .type = entry->type, .upstream_id = entry->id, .body = entry->resource };
    if (entry->last_updated.ptr == NULL || !cw_time_parse(entry->last_updated, true, &in.upstream_updated_us) ||
        in.upstream_updated_us < YEAR_1000_US) {
        in.upstream_updated_us = 0; /* "0001-01-01" is how some servers say that they do not know */
    }
    struct cw_span stable[CW_SLICE_STABLE_MAX];
    size_t count = cw_slice_stable(entry, stable);
    enum cw_code rc = cw_record_batch_add(harvest->records, &in, stable, count, err);
    harvest->received++;
    return rc == CW_OK ? collect_references(page, harvest, entry, err) : rc;
}

static enum cw_code gather(struct page *page, struct harvest *harvest, struct cw_err *err)
{
    enum cw_code rc = cw_record_batch_new(&page->item->run->target, &page->item->run->key, &harvest->records, err);
    for (size_t i = 0; rc == CW_OK && !page->raw && i < page->slice.count; i++) {
        if (is_wanted(page->item, &page->slice.entries[i])) {
            rc = gather_entry(page, harvest, &page->slice.entries[i], err);
        }
    }
    return rc;
}

/* Servers whose `next` never ends send the same entries under ever new URLs. */
static bool brings_the_same(struct page *page)
{
    struct task_item *item = page->item;
    CW_AUTO_STR ids;
    cw_str_init(&ids, CW_FHIR_PAGE_MAX);
    uint8_t hash[CW_HASH_LEN];
    for (size_t i = 0; i < page->slice.count; i++) {
        cw_str_addf(&ids, "%.*s/", (int)page->slice.entries[i].type.len, page->slice.entries[i].type.ptr);
        cw_str_add_span(&ids, page->slice.entries[i].id);
        cw_str_add_char(&ids, '\n');
    }
    cw_sha256(cw_str_span(&ids), hash);
    bool same = !item->first_page && page->slice.count > 0 && memcmp(hash, item->page_ids, sizeof hash) == 0;
    memcpy(item->page_ids, hash, sizeof hash);
    item->same_pages = same ? item->same_pages + 1 : 0;
    return item->same_pages >= SAME_PAGES_MAX;
}

/* Where the search goes on: always under our base. Absent at the end; *ret_code when it must not be followed. */
static struct cw_span next_of(struct page *page, const char **ret_code)
{
    struct task_item *item = page->item;
    struct cw_span none = { NULL, 0 };
    *ret_code = page->end_code;
    if (item->kind != CW_TASK_SEARCH || page->raw || page->slice.next.ptr == NULL || page->end_code != NULL) {
        return none;
    }
    item->empty_pages = page->slice.count == 0 ? item->empty_pages + 1 : 0;
    if (item->empty_pages >= EMPTY_PAGES_MAX) {
        *ret_code = "paging_empty";
        return none;
    }
    if (brings_the_same(page)) {
        *ret_code = "paging_loop";
        return none;
    }
    struct cw_url *from = NULL, *to = NULL;
    struct cw_err err = { 0 };
    struct cw_span next = none;
    enum cw_code rc = cw_url_parse(cw_span_cstr(item->url), &from, &err);
    if (rc == CW_OK) {
        rc = cw_link_follow(from, page->slice.next, item->run->base, &to, &err);
    }
    if (rc == CW_OK) {
        next = cw_arena_span(page->arena, cw_span_cstr(cw_url_text(to)));
    }
    *ret_code = rc == CW_E_DENIED ? "next_off_origin" : next.ptr == NULL ? "next_unreadable" : NULL;
    cw_url_free(to);
    cw_url_free(from);
    return next;
}

static enum cw_code commit(struct page *page, struct harvest *harvest, struct cw_span *ret_next, struct cw_err *err)
{
    struct task_item *item = page->item;
    struct run *run = item->run;
    struct cw_span body = cw_str_span(&item->response.body);
    struct cw_document_in document = { .endpoint = run->target.endpoint,
                                       .tenant_context = run->target.tenant_context,
                                       .url = cw_span_cstr(item->url),
                                       .content_type = cw_http_header_get(&item->response, "Content-Type"),
                                       .bytes = body };
    struct cw_page_commit done = {
        .owner = page->s->owner,
        .job = &run->job,
        .pull = run->pull.id,
        .task = item->id,
        .records = harvest->records,
        .page_url = cw_span_cstr(item->url),
        .total = page->raw || page->slice.total > UINT32_MAX ? -1 : page->slice.total,
        .received = harvest->received,
        .bytes = body.len,
        .found = harvest->found,
        .found_count = harvest->found_count,
        .endpoint = run->target.endpoint,
        .tenant_context = run->target.tenant_context,
        .document = page->raw ? &document : NULL,
    };
    done.next_url = next_of(page, &done.end_code);
    struct cw_page_result result;
    enum cw_code rc = cw_pull_commit_page(&page->s->model, &done, &result, err);
    if (rc == CW_OK) {
        *ret_next = result.loop ? (struct cw_span){ NULL, 0 } : done.next_url;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- moving on */

void task_item_leave(struct scheduler *s, struct task_item *item, size_t size)
{
    struct run *run = item->run;
    s->bytes -= item->reserved;
    item->reserved = 0;
    s->fetching--;
    run->host->running--;
    run->in_flight--;
    run->busy--;
    if (size > run->page_size) {
        run->page_size = size;
    }
}

/* Gives the task back to its run (to be asked again or further) or frees it. */
static void settle(struct scheduler *s, struct task_item *item, bool goes_on)
{
    struct run *run = item->run;
    size_t size = item->response.body.len;
    cw_http_response_release(&item->response);
    cw_http_response_init(&item->response);
    item->code = CW_OK;
    pthread_mutex_lock(&s->lock);
    task_item_leave(s, item, size);
    if (goes_on && run->phase != RUN_GONE) {
        run_give_back(run, item);
        item = NULL;
    }
    run->stale = true;
    scheduler_nudge_locked(s);
    pthread_mutex_unlock(&s->lock);
    task_item_free(item);
}

static void lose_run(struct scheduler *s, struct run *run)
{
    pthread_mutex_lock(&s->lock);
    run->phase = RUN_GONE;
    pthread_mutex_unlock(&s->lock);
}

/* A database that says no: lost leases end the run here, anything else is asked again, so no page is dropped. */
static void not_stored(struct page *page, enum cw_code rc, const struct cw_err *err)
{
    struct run *run = page->item->run;
    cw_log(CW_LOG_WARNING, "pull.page_not_stored", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_ERR(err));
    if (rc == CW_E_CONFLICT || rc == CW_E_NOT_FOUND) {
        lose_run(page->s, run);
    } else {
        pthread_mutex_lock(&page->s->lock);
        run->host->quiet_until_us = cw_now_us() + CW_SECOND_US;
        pthread_mutex_unlock(&page->s->lock);
    }
    settle(page->s, page->item, true);
}

static void note_host(struct page *page)
{
    const struct task_item *item = page->item;
    bool heard = item->code == CW_OK || item->code == CW_E_TIMEOUT || item->code == CW_E_UNAVAILABLE;
    if (item->given_up != NULL || !heard) {
        return; /* it was not asked, or the fault is ours */
    }
    pthread_mutex_lock(&page->s->lock);
    struct host *host = item->run->host;
    struct tenant *tenant = item->run->tenant;
    host_hears(host, !page->faulty ? HOST_ANSWERED : item->code == CW_E_TIMEOUT ? HOST_TIMED_OUT : HOST_FAILED, cw_now_us());
    if (page->quiet_us > host->quiet_until_us) {
        host->quiet_until_us = page->quiet_us;
    }
    if (page->tenant_quiet_us > tenant->quiet_until_us) {
        tenant->quiet_until_us = page->tenant_quiet_us;
    }
    pthread_mutex_unlock(&page->s->lock);
}

static int64_t retry_time(const struct page *page)
{
    static const int64_t ladder_s[CW_TASK_TRIES] = { 1, 3, 10, 30, 60 };
    unsigned tries = page->item->tries < CW_TASK_TRIES ? page->item->tries : CW_TASK_TRIES - 1;
    int64_t jitter_us = (int64_t)cw_random_below(CW_SECOND_US / 2);
    int64_t ladder_us = cw_now_us() + ladder_s[tries] * CW_SECOND_US + jitter_us;
    return page->retry_us > ladder_us ? page->retry_us + jitter_us : ladder_us;
}

/* For a day a server may say "later" as often as it likes: what it would give is not lost by that. A task is made with its pull or its page. */
static bool is_free(const struct page *page)
{
    return page->throttled && cw_now_us() - cw_ulid_time_us(page->item->id.ulid) < CW_DAY_US;
}

static void put_off(struct page *page)
{
    struct task_item *item = page->item;
    struct run *run = item->run;
    bool no_try = is_free(page);
    bool last = page->verdict == PAGE_FINAL || (!no_try && item->tries + 1 >= CW_TASK_TRIES);
    struct cw_task_failure failure = {
        .owner = page->s->owner,
        .job = &run->job,
        .pull = run->pull.id,
        .task = item->id,
        .code = page->code,
        .http_status = (int)item->response.status,
        .retry_at_us = last ? 0 : retry_time(page),
        .restart = page->verdict == PAGE_RESTART,
        .no_try = no_try,
        .not_asked = item->given_up != NULL,
    };
    struct cw_err err = { 0 };
    enum cw_code rc = cw_pull_task_failed(&page->s->model, &failure, &err);
    if (rc != CW_OK) {
        not_stored(page, rc, &err);
        return;
    }
    cw_log(last ? CW_LOG_WARNING : CW_LOG_INFO, "pull.task_put_off", CW_ID("pull", CW_PREFIX_PULL, run->pull.id),
           CW_LIT("code", page->code), CW_INT("status", item->response.status), CW_INT("try", item->tries + 1),
           CW_LIT("final", last ? "yes" : "no"));
    settle(page->s, item, false);
}

/* What the page itself is to blame for: it would fail again for ever, so it uses up its tries. Anything else is the
 * database's or another node's doing. */
static bool is_not_storable(enum cw_code rc)
{
    return rc == CW_E_RANGE || rc == CW_E_TOO_BIG || rc == CW_E_SYNTAX || rc == CW_E_KIND || rc == CW_E_MISSING ||
           rc == CW_E_OOM || rc == CW_E_IO;
}

/* What the rest of the pull, and the pulls after it, are to know. */
static void learn(struct page *page)
{
    struct task_item *item = page->item;
    struct run *run = item->run;
    pthread_mutex_lock(&page->s->lock);
    if (item->forms_tried > 0 && item->kind == CW_TASK_DOCUMENT) {
        run->document_accept = item->accept;
    } else if (item->forms_tried > 0) {
        run->accept = item->accept;
    }
    pthread_mutex_unlock(&page->s->lock);
    const struct cw_slice_entry *entry = page->slice.count == 1 ? &page->slice.entries[0] : NULL;
    if (entry == NULL || !item->merged || cw_span_eq(entry->id, run->upstream_patient) || !is_merged_patient(item, entry)) {
        return;
    }
    struct cw_err err = { 0 };
    enum cw_code rc = cw_connection_merged(&page->s->model, &page->s->actor, run->connection.id, entry->id, &err);
    cw_log(rc == CW_OK ? CW_LOG_INFO : CW_LOG_WARNING, "pull.patient_merged", CW_ID("connection", CW_PREFIX_CONNECTION, run->connection.id),
           CW_ERR(&err));
}

static void go_on(struct page *page)
{
    struct harvest harvest = { 0 };
    struct cw_span next = { NULL, 0 };
    struct cw_err err = { 0 };
    enum cw_code rc = gather(page, &harvest, &err);
    if (rc == CW_OK) {
        rc = commit(page, &harvest, &next, &err);
    }
    cw_record_batch_free(harvest.records);
    if (is_not_storable(rc)) {
        cw_log(CW_LOG_ERR, "pull.page_not_storable", CW_ID("pull", CW_PREFIX_PULL, page->item->run->pull.id), CW_ERR(&err));
        page->verdict = PAGE_RETRY;
        page->code = "page_not_storable";
        put_off(page);
        return;
    }
    if (rc != CW_OK) {
        not_stored(page, rc, &err);
        return;
    }
    learn(page);
    struct task_item *item = page->item;
    char *url = next.ptr == NULL ? NULL : cw_span_dup(next);
    if (url != NULL) {
        free(item->url);
        item->url = url;
        item->first_page = false;
        item->tries = item->redirects = item->forms_tried = 0;
        item->refused_version = 0;
    }
    /* Without memory for the next URL the task is read again from its row, which has it. */
    settle(page->s, item, url != NULL);
}

static void digest(struct scheduler *s, struct task_item *item)
{
    struct page page = { .s = s, .item = item };
    page.arena = cw_arena_new((size_t)64 * 1024 * 1024);
    if (page.arena == NULL) {
        settle(s, item, true);
        return;
    }
    judge_page(&page);
    note_host(&page);
    switch (page.verdict) {
    case PAGE_GOOD:
        go_on(&page);
        break;
    case PAGE_AGAIN:
        settle(s, item, true);
        break;
    case PAGE_RETRY:
    case PAGE_RESTART:
    case PAGE_FINAL:
        put_off(&page);
        break;
    }
    cw_arena_free(page.arena);
}

void *digester_main(void *arg)
{
    struct scheduler *s = arg;
    struct queue_node *node;
    while ((node = queue_take(&s->digest)) != NULL) {
        digest(s, (struct task_item *)node);
    }
    return NULL;
}
