/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The preparers: what a pull needs besides pages. They may wait on the database or a hospital, so there are many of them and
 * few per host. What may yet come right goes back to the job table with a growing delay; what cannot come right ends the pull.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/failure.h"
#include "model/keys.h"
#include "model/registration.h"
#include "os/log.h"
#include "os/sys.h"

#define FULL_PAUSE_US (20 * CW_SECOND_US)
#define JOB_TRIES_MAX 12 /* with the ladder below: about a day */

/* ---------------------------------------------------------------------------------------------- loading */

static enum cw_code load_key(struct scheduler *s, struct run *run, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(s->model.pool, 5000, &db, err);
    if (rc == CW_OK) {
        rc = cw_patient_key(&s->model, db, run->pull.patient, 0, &run->key, err);
        cw_db_put(db);
    }
    return rc;
}

static struct host *host_of(struct scheduler *s, const struct cw_url *url)
{
    char name[300];
    (void)snprintf(name, sizeof name, "%s:%u", cw_url_host(url), cw_url_port(url));
    return host_find(s, name);
}

/* Where tokens come from; the base's host where that cannot be read (then no request is made there either). Lock held. */
static struct host *token_host(struct scheduler *s, const struct run *run)
{
    struct cw_url *url = NULL;
    struct cw_err ignored = { 0 };
    struct host *host = run->host;
    if (cw_url_parse(cw_span_cstr(run->pinned.token_endpoint), &url, &ignored) == CW_OK) {
        host = host_of(s, url);
    }
    cw_url_free(url);
    return host;
}

static enum cw_code load_base(struct scheduler *s, struct run *run, struct cw_err *err)
{
    enum cw_code rc = cw_pinned_parse(run->connection.pinned, run->arena, &run->pinned, err);
    if (rc == CW_OK) {
        rc = cw_url_parse(cw_span_cstr(run->pinned.base), &run->base, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    run->profile = cw_profiles_get(s->profiles, cw_span_cstr(run->pinned.profile));
    pthread_mutex_lock(&s->lock);
    run->host = host_of(s, run->base);
    run->token_host = run->host == NULL ? NULL : token_host(s, run);
    run->tenant = tenant_find(s, run->pinned.base);
    run->cap = s->per_connection;
    if (run->profile->max_conn > 0 && (unsigned)run->profile->max_conn < run->cap) {
        run->cap = (unsigned)run->profile->max_conn;
    }
    int rate = run->profile->rate_per_min;
    bool full = run->host != NULL && run->host->runs >= CW_RUNS_PER_HOST;
    run->at_host = run->host != NULL && !full;
    if (run->at_host) {
        run->host->runs++;
    }
    bool known = run->token_host != NULL && run->tenant != NULL && (rate <= 0 || budget_limit(&run->tenant->budget, (unsigned)rate));
    pthread_mutex_unlock(&s->lock);
    if (full) {
        run->later_us = cw_now_us() + FULL_PAUSE_US + (int64_t)cw_random_below(FULL_PAUSE_US);
        return cw_err_set(err, CW_E_LIMITED, "pull.load", "enough pulls of this host are in hand");
    }
    return known ? CW_OK : cw_err_set(err, CW_E_OOM, "pull.load", "out of memory");
}

/* "{client_id}" in a header's value is ours at this source (Epic-Client-ID). */
static enum cw_code load_headers(struct scheduler *s, struct run *run, struct cw_err *err)
{
    static const char mark[] = "{client_id}";
    const struct cw_profile *profile = run->profile;
    struct cw_registration registration;
    if (profile->extra_header_count == 0) {
        return CW_OK;
    }
    enum cw_code rc = cw_registration_get(&s->model, run->connection.registration, run->arena, &registration, err);
    if (rc != CW_OK) {
        return rc;
    }
    run->headers = cw_arena_array(run->arena, profile->extra_header_count, sizeof *run->headers);
    for (size_t i = 0; run->headers != NULL && i < profile->extra_header_count; i++) {
        const char *value = profile->extra_headers[i].value, *at = strstr(value, mark);
        char *text = at == NULL ? cw_arena_text(run->arena, cw_span_cstr(value))
                                : cw_arena_printf(run->arena, "%.*s%.*s%s", (int)(at - value), value, (int)registration.client_id.len,
                                                  registration.client_id.ptr, at + sizeof mark - 1);
        if (text == NULL) {
            return cw_err_set(err, CW_E_OOM, "pull.load", "out of memory");
        }
        run->headers[run->header_count++] = (struct cw_http_header){ profile->extra_headers[i].name, cw_span_cstr(text) };
    }
    return run->headers == NULL ? cw_err_set(err, CW_E_OOM, "pull.load", "out of memory") : CW_OK;
}

static enum cw_code load(struct scheduler *s, struct run *run, struct cw_err *err)
{
    enum cw_code rc = cw_pull_get(&s->model, run->pull.id, run->arena, &run->pull, err);
    if (rc == CW_OK) {
        rc = cw_connection_get(&s->model, run->pull.connection, run->arena, &run->connection, err);
    }
    if (rc == CW_OK && run->connection.status != CW_CONNECTION_ACTIVE) {
        rc = cw_err_set(err, CW_E_STATE, "pull.load", "the connection is not active");
    }
    if (rc == CW_OK) {
        rc = load_base(s, run, err);
    }
    if (rc == CW_OK) {
        rc = load_key(s, run, err);
    }
    if (rc == CW_OK) {
        rc = cw_connection_upstream(&s->model, run->connection.id, run->arena, &run->upstream_patient, err);
    }
    if (rc == CW_OK) {
        rc = load_headers(s, run, err);
    }
    run->target = (struct cw_record_target){
        .patient = run->pull.patient,
        .endpoint = run->pull.endpoint,
        .connection = run->pull.connection,
        .source = run->connection.source,
        .tenant_context = run->connection.tenant_context,
        .pull = run->pull.id,
        .since_us = run->pull.started_us != 0 ? run->pull.started_us : run->pull.created_us,
        .keep_seen = run->pull.mode == CW_PULL_FULL,
    };
    return rc;
}

static enum cw_code plan(struct scheduler *s, struct cw_http *http, struct run *run, bool *ret_ask, struct cw_err *err)
{
    enum cw_code rc = refresh_token(s, http, run, err);
    if (rc == CW_OK && run->pull.status == CW_PULL_WAITING) {
        rc = plan_pull(s, http, run, ret_ask, err);
    }
    return rc;
}

/* The metadata have come, or what came instead. */
static enum cw_code take_metadata(struct scheduler *s, struct cw_http *http, struct run *run, struct task_item *answer, bool *ret_ask,
                                  struct cw_err *err)
{
    enum cw_code rc = plan_told(s, http, run, answer, ret_ask, err);
    pthread_mutex_lock(&s->lock);
    task_item_leave(s, answer, 0);
    run->tenant->asking = false;
    pthread_mutex_unlock(&s->lock);
    task_item_free(answer);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- what follows */

static void set_phase(struct scheduler *s, struct run *run, enum run_phase phase)
{
    pthread_mutex_lock(&s->lock);
    if (run->phase != RUN_GONE) {
        run->phase = phase;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Why a pull cannot go on for good, or NULL. */
static const char *final_code(enum cw_code rc)
{
    static const struct {
        enum cw_code code;
        const char *name;
    } table[] = {
        { CW_E_AUTH, CW_FAIL_GRANT_ENDED },
        { CW_E_EXPIRED, CW_FAIL_ACCESS_ENDED },
        { CW_E_STATE, CW_FAIL_CONNECTION_NOT_ACTIVE },
        { CW_E_SYNTAX, CW_FAIL_CONNECTION_UNREADABLE },
        { CW_E_MISSING, CW_FAIL_CONNECTION_UNREADABLE },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(table); i++) {
        if (table[i].code == rc) {
            return table[i].name;
        }
    }
    return NULL;
}

/* Nothing failed, it is only not the time yet. */
static void give_back_until(struct scheduler *s, struct run *run, int64_t ready_us)
{
    struct cw_err err = { 0 };
    if (cw_job_put_off(&s->model, s->owner, &run->job, ready_us + (int64_t)cw_random_below(CW_SECOND_US), &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "job.release_failed", CW_ERR(&err));
    }
    set_phase(s, run, RUN_GONE);
}

static void give_back(struct scheduler *s, struct run *run)
{
    int64_t delay_s = run->job.tries >= 10 ? 3600 : INT64_C(5) << run->job.tries;
    int64_t ready_us = cw_now_us() + (delay_s > 3600 ? 3600 : delay_s) * CW_SECOND_US;
    struct cw_err err = { 0 };
    if (cw_job_release(&s->model, s->owner, &run->job, ready_us, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "job.release_failed", CW_ERR(&err));
    }
    set_phase(s, run, RUN_GONE);
}

static void end(struct scheduler *s, struct run *run)
{
    struct cw_err err = { 0 };
    bool more = false;
    enum cw_code rc = end_pull(s, run, &more, &err);
    if (rc == CW_OK && more) {
        pthread_mutex_lock(&s->lock);
        run->stale = true;
        run->phase = run->phase == RUN_GONE ? RUN_GONE : RUN_GOING;
        pthread_mutex_unlock(&s->lock);
        return;
    }
    if (rc == CW_OK) {
        cw_log(CW_LOG_INFO, "pull.ended", CW_ID("pull", CW_PREFIX_PULL, run->pull.id),
               CW_LIT("failure", run->end_code == NULL ? "none" : run->end_code));
        set_phase(s, run, RUN_GONE);
        return;
    }
    cw_log(CW_LOG_WARNING, "pull.end_failed", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_ERR(&err));
    if (rc == CW_E_CONFLICT || rc == CW_E_NOT_FOUND) {
        set_phase(s, run, RUN_GONE);
    } else {
        give_back(s, run);
    }
}

static void failed(struct scheduler *s, struct run *run, enum cw_code rc, const struct cw_err *err)
{
    cw_log(CW_LOG_WARNING, "pull.held_up", CW_ID("pull", CW_PREFIX_PULL, run->pull.id), CW_INT("try", run->job.tries),
           CW_ERR(err));
    const char *code = run->end_code != NULL ? run->end_code : final_code(rc);
    if (code == NULL && run->job.tries >= JOB_TRIES_MAX) {
        code = CW_FAIL_GAVE_UP;
    }
    if (rc == CW_E_CONFLICT || rc == CW_E_NOT_FOUND) {
        set_phase(s, run, RUN_GONE); /* not ours any more, or its patient is gone */
    } else if (cw_stop_asked()) {
        give_back_until(s, run, cw_now_us());
    } else if (code == NULL && run->later_us > cw_now_us()) {
        give_back_until(s, run, run->later_us);
    } else if (code == NULL) {
        give_back(s, run);
    } else {
        run->end_code = code;
        if (run->in_flight == 0) {
            end(s, run);
        } else {
            set_phase(s, run, RUN_GOING); /* pages in flight settle first; the dispatcher then ends it */
        }
    }
}

static void run_prepare(struct scheduler *s, struct cw_http *http, const struct prepare_item *item)
{
    struct run *run = item->run;
    struct cw_err err = { 0 };
    enum cw_code rc = CW_OK;
    bool ask = false;
    run->later_us = 0;
    switch (item->kind) {
    case PREPARE_LOAD:
        rc = load(s, run, &err);
        break;
    case PREPARE_PLAN:
        rc = plan(s, http, run, &ask, &err);
        break;
    case PREPARE_METADATA:
        rc = take_metadata(s, http, run, item->answer, &ask, &err);
        break;
    case PREPARE_REFRESH:
        rc = refresh_token(s, http, run, &err);
        break;
    case PREPARE_END:
        end(s, run);
        return;
    }
    if (rc != CW_OK) {
        failed(s, run, rc, &err);
        return;
    }
    pthread_mutex_lock(&s->lock);
    run->stale = true;
    if (run->phase != RUN_GONE) {
        run->phase = item->kind == PREPARE_LOAD ? RUN_LOADED : ask ? RUN_ASKING : RUN_GOING;
    }
    pthread_mutex_unlock(&s->lock);
}

void *preparer_main(void *arg)
{
    struct scheduler *s = arg;
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    if (cw_http_new(s->config, &http, &err) != CW_OK) {
        cw_log(CW_LOG_ERR, "http.not_ready", CW_ERR(&err));
        cw_stop_ask();
        return NULL;
    }
    struct queue_node *node;
    while ((node = queue_take(&s->prepare)) != NULL) {
        struct prepare_item *item = (struct prepare_item *)node;
        run_prepare(s, http, item);
        pthread_mutex_lock(&s->lock);
        if (item->kind == PREPARE_PLAN || item->kind == PREPARE_REFRESH) {
            item->run->token_host->preparing--;
            s->doubtful -= item->doubtful;
        }
        item->run->busy--;
        scheduler_nudge_locked(s);
        pthread_mutex_unlock(&s->lock);
        free(item);
    }
    cw_http_free(http);
    return NULL;
}
