/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher: claims jobs, keeps each pull's next pages at hand, and starts fetches within the caps: per connection, per
 * host over all pulls, in all, and a byte budget for pages in memory. A hospital that hangs holds its own host's share and
 * nobody else's.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "fhir/references.h"
#include "os/log.h"
#include "os/sys.h"

#define CLAIM_EVERY_US (CW_SECOND_US / 5)
#define CLAIM_MOST 16
#define SLEEP_FROM_US (30 * CW_SECOND_US) /* a run that would wait longer is given back meanwhile */
#define WAITS_MOST_US CW_DAY_US           /* a pull for a host that does not answer */
#define AWAY_US CW_SECOND_US /* pause after the database was away */

void scheduler_nudge_locked(struct scheduler *s)
{
    s->nudged = true;
    pthread_cond_signal(&s->changed);
}

void scheduler_nudge(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    scheduler_nudge_locked(s);
    pthread_mutex_unlock(&s->lock);
}

struct host *host_find(struct scheduler *s, const char *name)
{
    for (struct host *host = s->hosts; host != NULL; host = host->next) {
        if (strcmp(host->name, name) == 0) {
            return host;
        }
    }
    struct host *host = calloc(1, sizeof *host);
    if (host != NULL) {
        (void)snprintf(host->name, sizeof host->name, "%s", name);
        host->next = s->hosts;
        s->hosts = host;
    }
    return host;
}

struct tenant *tenant_find(struct scheduler *s, const char *base)
{
    for (struct tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next) {
        if (strcmp(tenant->base, base) == 0) {
            return tenant;
        }
    }
    struct tenant *tenant = calloc(1, sizeof *tenant);
    if (tenant == NULL || (tenant->base = strdup(base)) == NULL) {
        free(tenant);
        return NULL;
    }
    tenant->next = s->tenants;
    s->tenants = tenant;
    return tenant;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When this connection may be asked for: neither host nor tenant wants quiet, the budget has room, and it need not rest. */
static int64_t quiet_until(const struct run *run)
{
    int64_t until_us = later(host_quiet_us(run->host), run->tenant->quiet_until_us);
    return later(later(until_us, run->rest_until_us), budget_free_us(&run->tenant->budget));
}

static bool may_ask(const struct run *run, int64_t now_us)
{
    return quiet_until(run) <= now_us;
}

void task_item_free(struct task_item *item)
{
    if (item == NULL) {
        return;
    }
    cw_secret_release(&item->bearer);
    cw_http_response_release(&item->response);
    free(item->type);
    free(item->url);
    free(item->first_url);
    free(item->own_type);
    free(item->planned_url);
    free(item);
}

void run_free(struct run *run)
{
    if (run == NULL) {
        return;
    }
    for (struct task_item *item = run->ready, *next; item != NULL; item = next) {
        next = item->next;
        task_item_free(item);
    }
    cw_secret_release(&run->token);
    cw_data_key_wipe(&run->key);
    cw_url_free(run->base);
    cw_arena_free(run->arena);
    free(run);
}

void run_give_back(struct run *run, struct task_item *item)
{
    struct task_item **at = &run->ready;
    while (item->refused_version != 0 && item->refused_version == run->token_version && *at != NULL) {
        at = &(*at)->next;
    }
    item->next = *at;
    *at = item;
}

/* ---------------------------------------------------------------------------------------------- claims */

static bool prepare(struct scheduler *s, struct run *run, enum prepare_kind kind, bool doubtful)
{
    struct prepare_item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        return false;
    }
    item->run = run;
    item->kind = kind;
    item->doubtful = doubtful;
    run->busy++;
    queue_put(&s->prepare, &item->node);
    return true;
}

/* Work that may wait on who gives the tokens: a few at a time for each, so that one that hangs holds few preparers (lock held). */
static void prepare_at_host(struct scheduler *s, struct run *run, enum prepare_kind kind, enum run_phase phase,
                            int64_t now_us)
{
    struct host *host = run->token_host;
    bool doubtful = host->timed_out && host_room(host, 2) == 1;
    if (host->preparing < host_room(host, CW_PREPARE_PER_HOST) && (!doubtful || s->doubtful < CW_PREPARE_DOUBTFUL) &&
        may_ask(run, now_us) && prepare(s, run, kind, doubtful)) {
        host->preparing++;
        s->doubtful += doubtful;
        budget_take(&run->tenant->budget, now_us); /* a refresh */
        run->phase = phase;
    }
}

static void take_on(struct scheduler *s, const struct cw_job *job)
{
    struct run *run = calloc(1, sizeof *run);
    if (run != NULL) {
        run->arena = cw_arena_new((size_t)32 * 1024 * 1024);
    }
    if (run == NULL || run->arena == NULL) {
        run_free(run);
        struct cw_err err = { 0 };
        if (cw_job_release(&s->model, s->owner, job, cw_now_us() + CW_MINUTE_US, &err) != CW_OK) {
            cw_log(CW_LOG_WARNING, "job.release_failed", CW_ERR(&err));
        }
        return;
    }
    run->job = *job;
    run->pull.id.ulid = job->subject;
    run->phase = RUN_LOADING;
    pthread_mutex_lock(&s->lock);
    run->next = s->runs;
    s->runs = run;
    s->run_count++;
    if (!prepare(s, run, PREPARE_LOAD, false)) {
        run->phase = RUN_GONE; /* its lease runs out and somebody else has it */
    }
    pthread_mutex_unlock(&s->lock);
}

/* Claims what is due. False when the database is away. */
static bool claim(struct scheduler *s)
{
    if (s->run_count >= CW_RUNS_MAX) {
        return true;
    }
    struct cw_job jobs[CLAIM_MOST];
    unsigned room = CW_RUNS_MAX - s->run_count;
    size_t count = 0;
    struct cw_err err = { 0 };
    unsigned by_clock = s->run_count < CW_RUNS_MAX - CW_RUNS_MAX / 8 ? CLAIM_MOST : 0; /* the rest is for those that somebody waits for */
    enum cw_code rc = cw_job_claim_lanes(&s->model, s->owner, s->lease_us, room < CLAIM_MOST ? room : CLAIM_MOST, by_clock, jobs, &count, &err);
    if (rc != CW_OK && rc != CW_E_RETRY) {
        cw_log(CW_LOG_WARNING, "job.claim_failed", CW_ERR(&err));
        return false;
    }
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        take_on(s, &jobs[i]);
    }
    if (count == CLAIM_MOST) {
        scheduler_nudge(s);
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- sleep */

/* When a run with nothing under way can go on; at most now_us when it can, or when it is not known (lock held). */
static int64_t goes_on_us(const struct run *run)
{
    bool waits = run->phase == RUN_LOADED || run->phase == RUN_ASKING || (run->phase == RUN_GOING && run->end_code == NULL);
    if (!waits || run->busy > 0 || run->in_flight > 0) {
        return 0;
    }
    bool at_hand = run->phase != RUN_GOING || run->ready != NULL || run->stale || run->next_due_us == 0;
    return later(quiet_until(run), at_hand ? 0 : run->next_due_us);
}

/* A pull that waits holds no lease, no memory and no place: its job is due again when it can go on. */
static void put_to_sleep(struct scheduler *s, struct run *run, int64_t until_us)
{
    struct cw_err err = { 0 };
    until_us += (int64_t)cw_random_below(CW_SECOND_US);
    if (cw_job_put_off(&s->model, s->owner, &run->job, until_us, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "job.release_failed", CW_ERR(&err));
    }
    cw_log(CW_LOG_DEBUG, "pull.sleeps", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_INT("seconds", (until_us - cw_now_us()) / CW_SECOND_US));
}

/* ---------------------------------------------------------------------------------------------- waiting tasks */

static struct task_item *item_new(struct run *run, const struct cw_task *task)
{
    struct task_item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        return NULL;
    }
    item->run = run;
    item->id = task->id;
    item->kind = task->kind;
    item->ordinal = task->ordinal;
    item->tries = task->tries;
    item->restarts = task->restarts;
    item->first_page = task->first_page;
    item->type = cw_span_dup(task->resource_type);
    item->url = cw_span_dup(task->url);
    item->first_url = task->first_url.ptr == NULL ? NULL : cw_span_dup(task->first_url);
    item->own_type = task->accept.ptr == NULL ? NULL : cw_span_dup(task->accept);
    item->expects_hash = task->expect_hash.len == CW_HASH_LEN;
    if (item->expects_hash) {
        memcpy(item->expect_hash, task->expect_hash.ptr, CW_HASH_LEN);
    }
    item->expect_size = task->expect_size;
    struct cw_reference place = cw_reference_parse(task->url, cw_span_cstr(run->pinned.base));
    item->binary = place.kind == CW_REF_LOCAL && cw_span_eq_cstr(place.type, "Binary");
    cw_http_response_init(&item->response);
    if (item->type == NULL || item->url == NULL) {
        task_item_free(item);
        return NULL;
    }
    return item;
}

/* Reads the waiting tasks of a run that has nothing in flight and nothing at hand, so that none is taken twice. */
static bool read_waiting(struct scheduler *s, struct run *run)
{
    struct cw_arena *arena = cw_arena_new((size_t)4 * 1024 * 1024);
    if (arena == NULL) {
        return false;
    }
    struct cw_err err = { 0 };
    struct cw_waiting waiting;
    enum cw_code rc = cw_pull_drop_stored(&s->model, s->owner, &run->job, &run->pull, &err);
    if (rc != CW_OK) { /* no harm: what is there already is asked for once more */
        cw_log(CW_LOG_WARNING, "pull.drop_stored_failed", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_ERR(&err));
    }
    rc = cw_pull_waiting(&s->model, &run->pull, 200, arena, &waiting, &err);
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "pull.waiting_failed", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_ERR(&err));
        cw_arena_free(arena);
        return rc != CW_E_UNAVAILABLE;
    }
    pthread_mutex_lock(&s->lock);
    struct task_item **tail = &run->ready;
    for (size_t i = 0; i < waiting.count; i++) {
        struct task_item *item = item_new(run, &waiting.tasks[i]);
        if (item == NULL) {
            break;
        }
        *tail = item;
        tail = &item->next;
    }
    run->stale = false;
    run->next_due_us = waiting.next_us;
    if (waiting.left == 0 && run->phase == RUN_GOING) {
        run->phase = RUN_ENDING;
        if (!prepare(s, run, PREPARE_END, false)) {
            run->phase = RUN_GONE;
        }
    }
    pthread_mutex_unlock(&s->lock);
    cw_arena_free(arena);
    return true;
}

/* ---------------------------------------------------------------------------------------------- starting fetches */

static bool may_start(const struct scheduler *s, const struct run *run, size_t reserve, int64_t now_us)
{
    return run->in_flight < run->cap && run->host->running < host_room(run->host, s->per_host) && s->fetching < s->total &&
           may_ask(run, now_us) && (s->bytes == 0 || s->bytes + reserve <= s->byte_budget);
}

/* What the item is asked with. */
static const char *accept_of(const struct run *run, struct task_item *item)
{
    if (item->kind == CW_TASK_DOCUMENT) {
        item->form = document_form(run, item);
        return accept_of_form(item, item->form);
    }
    return run->accept != NULL ? run->accept : run->profile->accept;
}

/* No request for what is not to be asked any more: straight to the digesters, who end it. */
static void pass_by(struct scheduler *s, struct task_item *item)
{
    item->code = CW_E_DENIED;
    queue_put(&s->digest, &item->node);
}

static void send_out(struct scheduler *s, struct task_item *item, int64_t now_us)
{
    struct run *run = item->run;
    if (item->forms_tried == 0) {
        item->accept = accept_of(run, item);
    }
    if (item->kind == CW_TASK_DOCUMENT && run->documents_over) {
        item->given_up = "daily_limit";
    }
    if (item->given_up != NULL) {
        pass_by(s, item);
        return;
    }
    budget_take(&run->tenant->budget, now_us);
    queue_put(&s->fetch, &item->node);
}

/* What task_item_leave takes back. */
static void count_in(struct scheduler *s, struct task_item *item, size_t reserve)
{
    item->reserved = reserve;
    s->bytes += reserve;
    s->fetching++;
    item->run->host->running++;
    item->run->in_flight++;
    item->run->busy++;
}

/* A request for the server's metadata, whose answer a preparer takes. NULL out of memory. */
static struct task_item *metadata_item(struct run *run)
{
    struct task_item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        return NULL;
    }
    item->run = run;
    item->kind = CW_TASK_READ;
    item->accept = run->profile->accept;
    cw_http_response_init(&item->response);
    item->then = calloc(1, sizeof *item->then);
    bool known = !run->metadata_with_token || cw_secret_set(&item->bearer, cw_secret_span(&run->token)) == CW_OK;
    if (item->then == NULL || !known || asprintf(&item->url, "%s/metadata", run->pinned.base) < 0) {
        free(item->then);
        item->url = NULL;
        task_item_free(item);
        return NULL;
    }
    *item->then = (struct prepare_item){ .run = run, .kind = PREPARE_METADATA, .answer = item };
    return item;
}

/* One run asks for all of its base; what came of that the others find when they plan anew (lock held). True when it was sent. */
static bool ask_metadata(struct scheduler *s, struct run *run, int64_t now_us)
{
    if (run->tenant->asking && !run->metadata_with_token) {
        run->phase = RUN_LOADED;
        return false;
    }
    struct task_item *item = may_start(s, run, CW_PAGE_GUESS, now_us) ? metadata_item(run) : NULL;
    if (item == NULL) {
        return false;
    }
    count_in(s, item, CW_PAGE_GUESS);
    run->busy++; /* for item->then */
    run->phase = RUN_ASKED;
    run->tenant->asking = true;
    budget_take(&run->tenant->budget, now_us);
    queue_put(&s->fetch, &item->node);
    return true;
}

/* Starts what may start of one run (lock held). True when something did. */
static bool start_pages(struct scheduler *s, struct run *run, int64_t now_us)
{
    bool started = false;
    size_t reserve = run->page_size == 0 ? CW_PAGE_GUESS : run->page_size;
    while (run->ready != NULL && (run->ready->given_up != NULL || may_start(s, run, reserve, now_us))) {
        struct task_item *item = run->ready;
        if (cw_secret_set(&item->bearer, cw_secret_span(&run->token)) != CW_OK) {
            return started;
        }
        run->ready = item->next;
        item->next = NULL;
        item->token_version = run->token_version;
        item->asked_as = ++run->asked;
        count_in(s, item, reserve);
        send_out(s, item, now_us);
        started = true;
    }
    return started;
}

/* A server that has been away for so long: the receipt says so, and the next pull begins anew (lock held). */
static void give_up_all(struct run *run)
{
    for (struct task_item *item = run->ready; item != NULL; item = item->next) {
        item->given_up = item->given_up != NULL ? item->given_up : "unavailable";
    }
}

/* What one run needs next (lock held). True when fetches were started. */
static bool step_locked(struct scheduler *s, struct run *run, int64_t now_us, bool *ret_read)
{
    if (run->phase == RUN_ASKING) {
        return ask_metadata(s, run, now_us);
    }
    if (run->phase == RUN_LOADED && !run->tenant->asking) {
        prepare_at_host(s, run, PREPARE_PLAN, RUN_PLANNING, now_us);
    }
    if (run->phase != RUN_GOING) {
        return false;
    }
    if (run->end_code != NULL) {
        if (run->in_flight == 0) {
            run->phase = prepare(s, run, PREPARE_END, false) ? RUN_ENDING : RUN_GONE;
        }
        return false;
    }
    if (run->refused_version != 0 || token_is_due(run, now_us)) {
        prepare_at_host(s, run, PREPARE_REFRESH, RUN_REFRESHING, now_us);
        return false;
    }
    bool due = run->next_due_us != 0 && run->next_due_us <= now_us;
    if (run->ready == NULL && run->in_flight == 0 && (run->stale || due)) {
        *ret_read = true;
        return false;
    }
    if (host_is_open(run->host) && run->pull.started_us != 0 && now_us - run->pull.started_us > WAITS_MOST_US) {
        give_up_all(run);
    }
    return start_pages(s, run, now_us);
}

static void reap(struct scheduler *s)
{
    for (struct run **at = &s->runs; *at != NULL;) {
        struct run *run = *at;
        if (run->phase == RUN_GONE && run->busy == 0) {
            *at = run->next;
            s->run_count--;
            if (run->at_host) {
                run->host->runs--;
            }
            run_free(run);
        } else {
            at = &run->next;
        }
    }
}

/* One look at every run. False when the database is away. */
static bool step(struct scheduler *s)
{
    bool wake = false, here = true;
    int64_t now_us = cw_now_us();
    pthread_mutex_lock(&s->lock);
    reap(s);
    for (struct run *run = s->runs; run != NULL && here; run = run->next) {
        bool read = false;
        wake |= step_locked(s, run, now_us, &read);
        if (read) {
            /* Only this thread frees runs or gives a run with nothing in flight something to do: safe without the lock. */
            pthread_mutex_unlock(&s->lock);
            here = read_waiting(s, run);
            pthread_mutex_lock(&s->lock);
            bool ignored = false;
            wake |= step_locked(s, run, now_us, &ignored);
        }
        int64_t until_us = goes_on_us(run);
        if (until_us > now_us + SLEEP_FROM_US) {
            pthread_mutex_unlock(&s->lock);
            put_to_sleep(s, run, until_us);
            pthread_mutex_lock(&s->lock);
            run->phase = RUN_GONE;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (wake) {
        cw_http_multi_wake(s->multi);
    }
    return here;
}

static void wait_for_change(struct scheduler *s, int64_t most_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + most_us * 1000;
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_mutex_lock(&s->lock);
    while (!s->nudged && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0) {
    }
    s->nudged = false;
    pthread_mutex_unlock(&s->lock);
}

/* The stop: no new claims and no new pages; what is in flight is finished, the rest given back to be claimed at once. */
static void give_all_back(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t until_us = cw_monotonic_us() + 20 * CW_SECOND_US;
    for (;;) {
        unsigned busy = 0;
        for (struct run *run = s->runs; run != NULL; run = run->next) {
            busy += run->busy;
        }
        if (busy == 0 || cw_monotonic_us() > until_us) {
            break;
        }
        pthread_mutex_unlock(&s->lock);
        wait_for_change(s, CLAIM_EVERY_US);
        pthread_mutex_lock(&s->lock);
    }
    for (struct run *run = s->runs; run != NULL; run = run->next) {
        struct cw_err err = { 0 };
        if (run->phase != RUN_GONE && cw_job_put_off(&s->model, s->owner, &run->job, cw_now_us(), &err) != CW_OK) {
            cw_log(CW_LOG_WARNING, "job.release_failed", CW_ERR(&err));
        }
        run->phase = RUN_GONE;
    }
    pthread_mutex_unlock(&s->lock);
}

void dispatcher_run(struct scheduler *s)
{
    int64_t claim_us = 0;
    while (!cw_stop_asked()) {
        bool here = true;
        if (cw_monotonic_us() >= claim_us) {
            here = claim(s);
            claim_us = cw_monotonic_us() + CLAIM_EVERY_US;
        }
        here = here && step(s);
        if (!here) {
            claim_us = cw_monotonic_us() + AWAY_US;
        }
        wait_for_change(s, here ? CLAIM_EVERY_US : AWAY_US);
    }
    give_all_back(s);
}
