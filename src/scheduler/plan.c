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
#include "os/log.h"
#include "os/sys.h"

#define CAPABILITY_FRESH_US CW_DAY_US
#define PLAN_JSON_MAX (256u * 1024u)

struct planner {
    struct scheduler *s;
    struct cw_http *http;
    struct run *run;
    struct cw_arena *arena;
};

/* One GET of metadata; with the token where the server wants one. */
static enum cw_code fetch(struct planner *p, bool with_token, struct cw_http_response *response, struct cw_err *err)
{
    const char *url = cw_arena_printf(p->arena, "%s/metadata", p->run->pinned.base);
    if (url == NULL) {
        return cw_err_set(err, CW_E_OOM, "plan.capability", "out of memory");
    }
    struct cw_http_request request = { .method = CW_HTTP_GET,
                                       .url = url,
                                       .accept = p->run->profile->accept,
                                       .body_max = CW_CAPABILITY_MAX,
                                       .redirects = with_token ? 0 : CW_REDIRECTS_MAX };
    if (with_token) {
        request.bearer = cw_secret_span(&p->run->token);
    }
    return cw_http_perform(p->http, &request, response, err);
}

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

/* False when it is not known: then the plan takes the table and learns from errors. */
static bool capability_of(struct planner *p, struct cw_capability *ret)
{
    struct cw_err err = { 0 };
    struct cw_endpoint endpoint;
    if (cw_endpoint_get(&p->s->model, p->run->connection.endpoint, p->arena, &endpoint, &err) == CW_OK &&
        endpoint.capability.ptr != NULL && cw_now_us() - endpoint.capability_us < CAPABILITY_FRESH_US &&
        cw_capability_read(endpoint.capability, p->arena, ret, &err) == CW_OK) {
        return true;
    }
    struct cw_http_response response;
    cw_http_response_init(&response);
    enum cw_code rc = fetch(p, false, &response, &err);
    if (rc == CW_OK && (response.status == 401 || response.status == 403)) {
        cw_http_response_release(&response);
        cw_http_response_init(&response);
        rc = fetch(p, true, &response, &err);
    }
    if (rc == CW_OK) {
        rc = response.status == 200 ? read_and_keep(p, cw_str_span(&response.body), ret, &err) : CW_E_UPSTREAM;
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "capability.unknown", CW_INT("status", response.status), CW_ERR(&err));
    }
    cw_http_response_release(&response);
    return rc == CW_OK;
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
    struct cw_capability capability;
    bool known = capability_of(p, &capability);
    const struct cw_profile *profile = p->run->profile;
    if (known && !is_readable_version(capability.fhir_version)) {
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
        .capability = known ? &capability : NULL,
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

enum cw_code plan_pull(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_err *err)
{
    struct planner p = { .s = s, .http = http, .run = run };
    p.arena = cw_arena_new((size_t)32 * 1024 * 1024);
    if (p.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "plan", "out of memory");
    }
    enum cw_code rc = make(&p, err);
    cw_arena_free(p.arena);
    return rc;
}
