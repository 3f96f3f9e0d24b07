/* SPDX-License-Identifier: Apache-2.0 */
/* Planning a pull: what the server says it can do (kept with the endpoint for a day), the plan, and its first tasks. */
#include "config.h"
#include "scheduler/incremental.h"
#include "scheduler/scheduler.h"

#include "base/limits.h"
#include "base/time.h"
#include "fhir/capability.h"
#include "fhir/plan.h"
#include "model/failure.h"
#include "model/search_memory.h"
#include "model/source.h"
#include "net/wait.h"
#include "os/log.h"
#include "os/sys.h"

#define CAPABILITY_FRESH_US CW_DAY_US
#define PATIENCE_US (3 * CW_DAY_US) /* of a pull's job with a server that says "later" for its metadata: then without them */
#define LACK_US (10 * CW_MINUTE_US)
#define PLAN_JSON_MAX (256u * 1024u)

struct planner {
    struct scheduler *s;
    struct cw_http *http;             /* for the questions of an incremental pull (incremental.h) */
    struct run *run;
    struct cw_arena *arena;
    bool known;                       /* what the server can do */
    struct cw_capability capability;
};

static enum cw_code read_and_keep(struct planner *p, struct cw_span body, struct cw_capability *ret, struct cw_err *err)
{
    enum cw_code rc = cw_capability_read(body, p->arena, ret, err);
    CW_AUTO_STR summary;
    cw_str_init(&summary, CW_CAPABILITY_SUMMARY_MAX);
    if (rc != CW_OK || cw_capability_emit(ret, &summary) != CW_OK) {
        return rc; /* without a summary it is read again at the next pull */
    }
    struct cw_err ignored = { 0 };
    if (cw_endpoint_store_capability(&p->s->model, p->run->connection.endpoint, cw_str_span(&summary),
                                     (struct cw_span){ NULL, 0 }, ret->fhir_version, &ignored) != CW_OK) {
        cw_log(CW_LOG_WARNING, "capability.not_kept", CW_ERR(&ignored));
    }
    return CW_OK;
}

/* What is kept of the endpoint. True when there is no more to learn at present: it is fresh, or the server has just failed to tell, or does not answer. */
static bool look_up(struct planner *p)
{
    struct cw_err err = { 0 };
    struct cw_endpoint endpoint;
    if (cw_endpoint_get(&p->s->model, p->run->connection.endpoint, p->arena, &endpoint, &err) != CW_OK) {
        return false;
    }
    int64_t now_us = cw_now_us();
    p->known = endpoint.capability.ptr != NULL && cw_capability_read(endpoint.capability, p->arena, &p->capability, &err) == CW_OK;
    pthread_mutex_lock(&p->s->lock);
    bool away = host_is_open(p->run->host);
    pthread_mutex_unlock(&p->s->lock);
    return (p->known && now_us - endpoint.capability_us < CAPABILITY_FRESH_US) || now_us - endpoint.capability_failed_us < LACK_US || away;
}

/* It did not tell: nobody asks again for a while. */
static void note_lack(struct planner *p, const struct task_item *answer, enum cw_code code)
{
    struct cw_err err = { 0 };
    cw_log(CW_LOG_WARNING, "capability.unknown", CW_INT("status", answer->response.status), CW_LIT("code", cw_code_name(code)));
    enum cw_code rc = cw_endpoint_note_lack(&p->s->model, p->run->connection.endpoint, CW_LACKS_CAPABILITY, &err);
    if (rc != CW_OK && rc != CW_E_NOT_FOUND) {
        cw_log(CW_LOG_WARNING, "capability.not_kept", CW_ERR(&err));
    }
}

/* What the answer says of the host, and of when to come again. True when it is now that nothing can be asked. */
static bool wants_quiet(struct planner *p, const struct task_item *answer)
{
    long status = answer->response.status;
    int64_t now_us = cw_now_us();
    long wait_s = answer->code == CW_OK && (status == 429 || status == 503) ? cw_http_wait_s(&answer->response, now_us) : -1;
    bool told = wait_s > 0;
    bool well = answer->code == CW_OK && (status < 500 || told);
    pthread_mutex_lock(&p->s->lock);
    if (answer->code == CW_OK || answer->code == CW_E_TIMEOUT || answer->code == CW_E_UNAVAILABLE) {
        host_hears(p->run->host, well ? HOST_ANSWERED : answer->code == CW_E_TIMEOUT ? HOST_TIMED_OUT : HOST_FAILED, now_us);
    }
    if (told) {
        int64_t *quiet_us = status == 429 ? &p->run->tenant->quiet_until_us : &p->run->host->quiet_until_us;
        p->run->later_us = now_us + wait_s * CW_SECOND_US;
        *quiet_us = *quiet_us > p->run->later_us ? *quiet_us : p->run->later_us;
    }
    pthread_mutex_unlock(&p->s->lock);
    return told;
}

/* The item's first URL, by what this server was found to take. */
static enum cw_code url_of(struct planner *p, const struct cw_search_memory *memory, const struct cw_plan_item *item, struct cw_str *url)
{
    struct cw_plan_item asked = *item;
    if (item->kind == CW_PLAN_SEARCH) {
        struct cw_search_form planned = { cw_span_cstr(item->type), cw_span_cstr(item->param), cw_span_cstr(item->query) };
        const char *query = cw_arena_text(p->arena, cw_search_instead(memory, &planned));
        asked.query = query == NULL ? item->query : query;
    }
    return cw_plan_url(&asked, cw_span_cstr(p->run->pinned.base), p->run->upstream_patient, url);
}

static enum cw_code tasks_of_plan(struct planner *p, const struct cw_plan *plan, struct cw_task_new *tasks,
                                  struct cw_err *err)
{
    struct cw_search_memory *memory = NULL;
    struct cw_err forgotten = { 0 };
    if (cw_search_recall(&p->s->model, p->run->connection.endpoint, p->arena, &memory, &forgotten) != CW_OK) {
        cw_log(CW_LOG_WARNING, "plan.searches_not_recalled", CW_ERR(&forgotten));
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct cw_plan_item *item = &plan->items[i];
        struct cw_task_new *task = &tasks[i];
        *task = (struct cw_task_new){
            .kind = item->kind == CW_PLAN_READ ? CW_TASK_READ : CW_TASK_SEARCH,
            .resource_type = item->type,
            .ordinal = (unsigned)i,
            .skip_code = item->skip,
        };
        if (item->skip != NULL) {
            continue;
        }
        CW_AUTO_STR url;
        cw_str_init(&url, CW_URL_MAX);
        enum cw_code rc = url_of(p, memory, item, &url);
        if (rc == CW_OK) {
            task->url = cw_arena_span(p->arena, cw_str_span(&url));
        }
        if (rc == CW_E_TOO_BIG) {
            task->skip_code = CW_PLAN_SKIP_TOO_LONG; /* the other searches can be asked all the same */
        } else if (task->url.ptr == NULL) {
            return cw_err_set(err, rc == CW_OK ? CW_E_OOM : rc, "plan.url", "a task's URL could not be made");
        }
    }
    return CW_OK;
}

/* R4 and R4B. Silence is taken for R4: the catalogue's list said so. */
static bool is_readable_version(struct cw_span version)
{
    return version.len == 0 || cw_span_starts(version, CW_SPAN("4."));
}

static enum cw_code make(struct planner *p, struct cw_err *err)
{
    const struct cw_profile *profile = p->run->profile;
    if (p->known && !is_readable_version(p->capability.fhir_version)) {
        p->run->end_code = CW_FAIL_FHIR_VERSION;
        return cw_err_set(err, CW_E_UNSUPPORTED, "plan", "the server speaks another version of FHIR than R4");
    }
    CW_AUTO_STR extra;
    cw_str_init(&extra, CW_PROFILE_QUERY_MAX);
    enum cw_code rc = cw_profile_query(profile, p->run->connection.tenant_context, &extra);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "plan", "the profile's extra query does not fit");
    }
    struct cw_plan_input input = {
        .granted = p->run->connection.scopes,
        .capability = p->known ? &p->capability : NULL,
        .pull = profile->pull,
        .types = profile->types,
        .type_count = profile->type_count,
        .extra_query = cw_str_cstr(&extra),
        .count = profile->count > 0 ? p->s->page_size : 0,
        .everything = profile->everything,
    };
    if (profile->count > 0 && profile->count < input.count) {
        input.count = profile->count;
    }
    struct cw_plan plan;
    CW_AUTO_STR json;
    cw_str_init(&json, PLAN_JSON_MAX);
    rc = cw_plan_make(&input, p->arena, &plan, err);
    if (rc == CW_OK) {
        rc = incremental_apply(p->s, p->http, p->run, &plan, p->arena, err);
    }
    if (rc == CW_OK) {
        rc = cw_plan_emit(&plan, &json);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_task_new *tasks = cw_arena_array(p->arena, plan.count + 1, sizeof *tasks);
    if (tasks == NULL) {
        return cw_err_set(err, CW_E_OOM, "plan", "out of memory");
    }
    rc = tasks_of_plan(p, &plan, tasks, err);
    if (rc == CW_OK) {
        rc = cw_pull_plan(&p->s->model, p->s->owner, &p->run->job, p->run->pull.id, cw_str_span(&json), tasks,
                          plan.count, err);
    }
    return rc;
}

static enum cw_code begin(struct planner *p, struct scheduler *s, struct cw_http *http, struct run *run, struct cw_err *err)
{
    *p = (struct planner){ .s = s, .http = http, .run = run, .arena = cw_arena_new((size_t)32 * 1024 * 1024) };
    return p->arena == NULL ? cw_err_set(err, CW_E_OOM, "plan", "out of memory") : CW_OK;
}

enum cw_code plan_pull(struct scheduler *s, struct cw_http *http, struct run *run, bool *ret_ask, struct cw_err *err)
{
    struct planner p;
    enum cw_code rc = begin(&p, s, http, run, err);
    if (rc == CW_OK) {
        *ret_ask = !look_up(&p);
        rc = *ret_ask ? CW_OK : make(&p, err);
    }
    cw_arena_free(p.arena);
    return rc;
}

static enum cw_code told(struct planner *p, const struct task_item *answer, bool *ret_ask, struct cw_err *err)
{
    long status = answer->response.status;
    enum cw_code rc = answer->code;
    if (rc == CW_E_STOPPED) {
        return cw_err_set(err, CW_E_STOPPED, "plan", "a stop was asked");
    }
    if (wants_quiet(p, answer) && cw_now_us() - cw_ulid_time_us(p->run->job.id.ulid) < PATIENCE_US) {
        return cw_err_set(err, CW_E_LIMITED, "plan", "the server wants quiet");
    }
    if (rc == CW_OK && (status == 401 || status == 403) && !p->run->metadata_with_token) {
        p->run->metadata_with_token = *ret_ask = true;
        return CW_OK;
    }
    if (rc == CW_OK) {
        rc = status == 200 ? read_and_keep(p, cw_str_span(&answer->response.body), &p->capability, err) : CW_E_UPSTREAM;
    }
    p->known = rc == CW_OK;
    if (rc != CW_OK) {
        note_lack(p, answer, rc);
        (void)look_up(p); /* what it said another day is better than nothing */
    }
    return make(p, err);
}

enum cw_code plan_told(struct scheduler *s, struct cw_http *http, struct run *run, const struct task_item *answer, bool *ret_ask, struct cw_err *err)
{
    struct planner p;
    enum cw_code rc = begin(&p, s, http, run, err);
    if (rc == CW_OK) {
        rc = told(&p, answer, ret_ask, err);
    }
    cw_arena_free(p.arena);
    return rc;
}
