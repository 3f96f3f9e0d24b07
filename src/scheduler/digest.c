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
#include "fhir/plan.h"
#include "model/search_memory.h"
#include "os/log.h"
#include "os/sys.h"
#include "scheduler/harvest.h"
#include "scheduler/incremental.h"


/* ---------------------------------------------------------------------------------------------- a good page */

/* Where the search goes on: always under our base. Absent at the end; *ret_code when it must not be followed. */
static struct cw_span next_of(struct page *page, const char **ret_code)
{
    struct task_item *item = page->item;
    struct cw_span none = { NULL, 0 };
    *ret_code = page->end_code;
    if (item->kind != CW_TASK_SEARCH || page->raw || page->slice.next.ptr == NULL || page->end_code != NULL) {
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
                                       .bytes = body,
                                       .expect_hash = item->expects_hash ? cw_span_of((const char *)item->expect_hash, CW_HASH_LEN)
                                                                         : (struct cw_span){ NULL, 0 },
                                       .expect_size = item->expect_size };
    struct cw_page_commit done = {
        .owner = page->s->owner,
        .job = &run->job,
        .pull = run->pull.id,
        .task = item->id,
        .records = harvest->records,
        .page_url = cw_span_cstr(item->url),
        .first_url = item->first_page && item->reshaped ? cw_span_cstr(item->url) : (struct cw_span){ NULL, 0 },
        .total = page->raw || page->slice.total > UINT32_MAX ? -1 : page->slice.total,
        .received = harvest->received,
        .requests = item->asked,
        .bytes = body.len,
        .found = harvest->found,
        .found_count = harvest->found_count,
        .skips = harvest->skips,
        .skip_count = harvest->skip_count,
        .ids = item->kind != CW_TASK_SEARCH ? (struct cw_span){ NULL, 0 } : harvest->ids.len == 0 ? CW_SPAN("") : cw_str_span(&harvest->ids),
        .connection = run->connection.id,
        .endpoint = run->target.endpoint,
        .tenant_context = run->target.tenant_context,
        .document = page->raw ? &document : NULL,
    };
    done.next_url = next_of(page, &done.end_code);
    struct cw_page_result result;
    enum cw_code rc = cw_pull_commit_page(&page->s->model, &done, &result, err);
    if (rc == CW_OK) {
        item->asked = 0;
        *ret_next = result.ended ? (struct cw_span){ NULL, 0 } : done.next_url;
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
    /* A server that always expires the second page would be asked for the first for ever: good pages take no restart back. */
    bool worn = page->verdict == PAGE_RESTART && page->new_url.ptr == NULL && item->restarts >= CW_TASK_RESTARTS;
    bool no_try = is_free(page);
    bool last = page->verdict == PAGE_FINAL || worn || (!no_try && item->tries + 1 >= CW_TASK_TRIES);
    struct cw_task_failure failure = {
        .owner = page->s->owner,
        .job = &run->job,
        .pull = run->pull.id,
        .task = item->id,
        .code = page->code,
        .http_status = (int)item->response.status,
        .retry_at_us = last ? 0 : retry_time(page),
        .restart = page->verdict == PAGE_RESTART && !last,
        .requests = item->asked,
        .new_url = page->new_url,
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
    if (item->kind == CW_TASK_DOCUMENT && item->binary) {
        run->binary_form = item->form;
    } else if (item->kind == CW_TASK_DOCUMENT) {
        run->file_form = item->form;
    } else if (item->forms_tried > 0) {
        run->accept = item->accept;
    }
    pthread_mutex_unlock(&page->s->lock);
    const struct cw_slice_entry *entry = page->slice.count == 1 ? &page->slice.entries[0] : NULL;
    if (entry == NULL || !item->merged || cw_span_eq(entry->id, run->upstream_patient) ||
        !harvest_is_merged_patient(item, entry)) {
        return;
    }
    struct cw_err err = { 0 };
    enum cw_code rc = cw_connection_merged(&page->s->model, &page->s->actor, run->connection.id, entry->id, &err);
    cw_log(rc == CW_OK ? CW_LOG_INFO : CW_LOG_WARNING, "pull.patient_merged", CW_ID("connection", CW_PREFIX_CONNECTION, run->connection.id),
           CW_ERR(&err));
}

/* A first page that came once its query was changed: the next pull begins with what was taken. */
static void learn_search(struct page *page)
{
    const struct task_item *item = page->item;
    struct run *run = item->run;
    struct cw_search_form planned = { .type = cw_span_cstr(item->type) };
    struct cw_span param, worked, base = cw_span_cstr(run->pinned.base);
    struct cw_err err = { 0 };
    if (item->planned_url == NULL || !item->first_page ||
        !cw_plan_url_query(cw_span_cstr(item->planned_url), base, item->type, &planned.param, &planned.query) ||
        !cw_plan_url_query(cw_span_cstr(item->url), base, item->type, &param, &worked)) {
        return;
    }
    CW_AUTO_STR planned_shape;
    CW_AUTO_STR worked_shape;
    cw_str_init(&planned_shape, CW_URL_MAX);
    cw_str_init(&worked_shape, CW_URL_MAX);
    cw_plan_unfiltered(planned.query, &planned_shape);
    cw_plan_unfiltered(worked, &worked_shape);
    planned.query = cw_str_span(&planned_shape);
    if (cw_str_code(&planned_shape) != CW_OK || cw_str_code(&worked_shape) != CW_OK || cw_span_eq(planned.query, cw_str_span(&worked_shape))) {
        return; /* only this pull's time was left out */
    }
    if (cw_search_learn(&page->s->model, run->connection.endpoint, &planned, cw_str_span(&worked_shape), &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "pull.search_not_learnt", CW_ERR(&err)); /* the next pull finds it out anew */
    }
}

static void go_on(struct page *page)
{
    struct harvest harvest;
    struct cw_span next = { NULL, 0 };
    struct cw_err err = { 0 };
    enum cw_code rc = harvest_gather(page, &harvest, &err);
    if (rc == CW_OK && (harvest.retry != NULL || harvest.end != NULL)) {
        harvest_release(&harvest);
        page->verdict = harvest.retry != NULL ? PAGE_RETRY : PAGE_FINAL;
        page->code = harvest.retry != NULL ? harvest.retry : harvest.end;
        put_off(page);
        return;
    }
    if (rc == CW_OK) {
        rc = commit(page, &harvest, &next, &err);
    }
    harvest_release(&harvest);
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
    learn_search(page);
    struct task_item *item = page->item;
    char *url = next.ptr == NULL ? NULL : cw_span_dup(next);
    if (url != NULL) {
        if (item->first_page) {
            item->first_url = item->url;
        } else {
            free(item->url);
        }
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
    incremental_note_clock(s, item->run, &item->response);
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
