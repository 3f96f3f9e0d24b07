/* SPDX-License-Identifier: Apache-2.0 */
/* See incremental.h. */
#include "config.h"
#include "scheduler/incremental.h"

#include "base/limits.h"
#include "base/time.h"
#include "fhir/slice.h"
#include "model/source.h"
#include "model/watermark.h"
#include "os/log.h"
#include "os/sys.h"

#define TESTS_MOST 6u         /* types in one pull */
#define ITEMS_MOST 3u         /* searches of one type that are tried */
#define FUTURE_US (365 * CW_DAY_US)
#define LONG_AGO_US (INT64_C(315532800) * CW_SECOND_US) /* 1980-01-01 */
#define BUDGET_KEPT 10u       /* of a minute's requests are left to the pull itself where the budget is small */

struct filtering {
    struct scheduler *s;
    struct cw_http *http;
    struct run *run;
    struct cw_arena *arena;
    struct cw_span software;
    struct cw_watermark *marks;
    size_t mark_count;
    struct cw_filter_memory *memory;
    size_t memory_count;
};

/* "gt2026-04-25T14%3A30%3A00Z": seconds, since some servers read no fractions. */
static void add_time(int64_t time_us, struct cw_str *out)
{
    char text[CW_TIME_TEXT];
    cw_time_emit(time_us, text);
    cw_str_addf(out, "gt%.13s%%3A%.2s%%3A%.2sZ", text, text + 14, text + 17);
}

static const struct cw_watermark *mark_of(const struct filtering *f, struct cw_span type)
{
    for (size_t i = 0; i < f->mark_count; i++) {
        if (cw_span_eq(f->marks[i].type, type)) {
            return &f->marks[i];
        }
    }
    return NULL;
}

static enum cw_filter_test tested(const struct filtering *f, struct cw_span type)
{
    for (size_t i = 0; i < f->memory_count; i++) {
        if (cw_span_eq(f->memory[i].type, type)) {
            return f->memory[i].test;
        }
    }
    return CW_FILTER_UNTESTED;
}

/* ---------------------------------------------------------------------------------------------- the test */

/* A request of our own counts like any other. False: the server has no room for one. */
static bool take_turn(struct filtering *f)
{
    int64_t now_us = cw_now_us();
    struct tenant *tenant = f->run->tenant;
    pthread_mutex_lock(&f->s->lock);
    bool free = tenant->quiet_until_us <= now_us && f->run->host->quiet_until_us <= now_us && budget_free_us(&tenant->budget) <= now_us &&
                (tenant->budget.rate == 0 || tenant->budget.rate > BUDGET_KEPT);
    if (free) {
        budget_take(&tenant->budget, now_us);
    }
    pthread_mutex_unlock(&f->s->lock);
    return free;
}

/* How many resources of the type came; -1: the query was refused; -2: nothing is known. */
static int matches(struct filtering *f, const char *type, const char *url)
{
    if (!take_turn(f)) {
        return -2;
    }
    struct cw_http_response response;
    struct cw_err err = { 0 };
    struct cw_slice slice;
    int count = -2;
    const struct cw_http_request request = { .method = CW_HTTP_GET,
                                             .url = url,
                                             .headers = f->run->headers,
                                             .header_count = f->run->header_count,
                                             .accept = f->run->profile->accept,
                                             .bearer = cw_secret_span(&f->run->token),
                                             .body_max = CW_FHIR_PAGE_MAX };
    cw_http_response_init(&response);
    enum cw_code rc = cw_http_perform(f->http, &request, &response, &err);
    if (rc == CW_OK && response.status >= 400 && response.status < 500 && response.status != 401 && response.status != 408 &&
        response.status != 429) {
        count = -1;
    } else if (rc == CW_OK && response.status == 200 && cw_slice_read(cw_str_span(&response.body), f->arena, &slice, &err) == CW_OK &&
               slice.kind == CW_SLICE_BUNDLE) {
        count = 0;
        for (size_t i = 0; i < slice.count; i++) {
            count += cw_span_eq_cstr(slice.entries[i].type, type);
        }
    }
    cw_http_response_release(&response);
    return count;
}

/* The same with a filter. */
static int filtered_matches(struct filtering *f, const char *type, struct cw_span url, int64_t since_us)
{
    CW_AUTO_STR filtered;
    cw_str_init(&filtered, CW_URL_MAX);
    cw_str_add_span(&filtered, url);
    cw_str_add_cstr(&filtered, "&_lastUpdated=");
    add_time(since_us, &filtered);
    return cw_str_code(&filtered) == CW_OK ? matches(f, type, cw_str_cstr(&filtered)) : -2;
}

/* One search without a filter brings something; with a time of next year nothing, and with one of long ago something again: resources
 * without a lastUpdated, and servers that answer an empty page to what they cannot read, are no ground to believe in. */
static enum cw_filter_test test_item(struct filtering *f, const struct cw_plan_item *item)
{
    CW_AUTO_STR whole;
    CW_AUTO_STR one;
    cw_str_init(&whole, CW_URL_MAX);
    cw_str_init(&one, CW_URL_MAX);
    if (cw_plan_url(item, cw_span_cstr(f->run->pinned.base), f->run->upstream_patient, &whole) != CW_OK) {
        return CW_FILTER_UNTESTED;
    }
    if (!cw_plan_shrink(cw_str_span(&whole), &one)) {
        cw_str_add_span(&one, cw_str_span(&whole));
    }
    if (cw_str_code(&one) != CW_OK || matches(f, item->type, cw_str_cstr(&one)) <= 0) {
        return CW_FILTER_UNTESTED; /* an empty answer with the filter would prove nothing */
    }
    int later = filtered_matches(f, item->type, cw_str_span(&one), cw_now_us() + FUTURE_US);
    if (later != 0) {
        return later == -2 ? CW_FILTER_UNTESTED : later == -1 ? CW_FILTER_REFUSED : CW_FILTER_IGNORED;
    }
    int earlier = filtered_matches(f, item->type, cw_str_span(&one), LONG_AGO_US);
    return earlier == -2 ? CW_FILTER_UNTESTED : earlier == -1 ? CW_FILTER_REFUSED : earlier == 0 ? CW_FILTER_IGNORED : CW_FILTER_REAL;
}

static bool is_search(const struct cw_plan_item *item)
{
    return item->kind == CW_PLAN_SEARCH && item->skip == NULL;
}

static enum cw_filter_test test_type(struct filtering *f, const struct cw_plan *plan, const char *type)
{
    enum cw_filter_test test = CW_FILTER_UNTESTED;
    unsigned tried = 0;
    for (size_t i = 0; i < plan->count && test == CW_FILTER_UNTESTED && tried < ITEMS_MOST; i++) {
        if (is_search(&plan->items[i]) && strcmp(plan->items[i].type, type) == 0) {
            test = test_item(f, &plan->items[i]);
            tried++;
        }
    }
    return test;
}

static void remember(struct filtering *f, const char *type, enum cw_filter_test test)
{
    struct cw_err err = { 0 };
    const struct cw_filter_memory found = { cw_span_cstr(type), test };
    cw_log(CW_LOG_INFO, "filter.tested", CW_ID("endpoint", CW_PREFIX_ENDPOINT, f->run->connection.endpoint), CW_INT("result", test));
    f->memory[f->memory_count++] = found;
    if (cw_filter_memory_put(&f->s->model, f->run->connection.endpoint, f->software, &found, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "filter.not_kept", CW_ERR(&err));
    }
}

static void test_some(struct filtering *f, const struct cw_plan *plan)
{
    unsigned tests = 0;
    for (size_t i = 0; i < plan->count && tests < TESTS_MOST; i++) {
        const struct cw_plan_item *item = &plan->items[i];
        struct cw_span type = cw_span_cstr(item->type);
        bool first = i == 0 || strcmp(plan->items[i - 1].type, item->type) != 0;
        const struct cw_watermark *mark = mark_of(f, type);
        if (!first || mark == NULL || !mark->any || tested(f, type) != CW_FILTER_UNTESTED) {
            continue; /* of a type without records an empty answer would say nothing */
        }
        enum cw_filter_test test = test_type(f, plan, item->type);
        tests++;
        if (test != CW_FILTER_UNTESTED) {
            remember(f, item->type, test);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- the filter */

static enum cw_code load(struct filtering *f, size_t plan_count, struct cw_err *err)
{
    struct cw_endpoint endpoint;
    struct cw_filter_memory *known = NULL;
    enum cw_code rc = cw_watermark_list(&f->s->model, f->run->connection.id, f->arena, &f->marks, &f->mark_count, err);
    if (rc == CW_OK && cw_endpoint_get(&f->s->model, f->run->connection.endpoint, f->arena, &endpoint, NULL) == CW_OK) {
        f->software = endpoint.software;
    }
    if (rc == CW_OK) {
        rc = cw_filter_memory_list(&f->s->model, f->run->connection.endpoint, f->software, f->arena, &known, &f->memory_count, err);
    }
    f->memory = rc == CW_OK ? cw_arena_array(f->arena, f->memory_count + plan_count + 1, sizeof *f->memory) : NULL;
    if (f->memory == NULL) {
        return rc == CW_OK ? cw_err_set(err, CW_E_OOM, "incremental", "out of memory") : rc;
    }
    if (f->memory_count > 0) {
        memcpy(f->memory, known, f->memory_count * sizeof *known);
    }
    return CW_OK;
}

static enum cw_code filter_item(struct filtering *f, struct cw_plan_item *item, int64_t since_us, struct cw_err *err)
{
    CW_AUTO_STR query;
    cw_str_init(&query, CW_URL_MAX);
    cw_str_add_cstr(&query, "_lastUpdated=");
    add_time(since_us, &query);
    char *own = cw_str_code(&query) == CW_OK ? cw_arena_text(f->arena, cw_str_span(&query)) : NULL;
    if (own == NULL) {
        return cw_err_set(err, CW_E_OOM, "incremental", "a filter does not fit");
    }
    item->filter = own;
    return CW_OK;
}

enum cw_code incremental_apply(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_plan *plan, struct cw_arena *arena,
                               struct cw_err *err)
{
    struct filtering f = { .s = s, .http = http, .run = run, .arena = arena };
    enum cw_last_updated belief = run->profile->last_updated;
    if (run->pull.mode != CW_PULL_INCREMENTAL || belief == CW_LAST_UPDATED_NO) {
        return CW_OK;
    }
    enum cw_code rc = load(&f, plan->count, err);
    if (rc == CW_OK && belief != CW_LAST_UPDATED_YES) {
        test_some(&f, plan);
    }
    for (size_t i = 0; rc == CW_OK && i < plan->count; i++) {
        struct cw_plan_item *item = &plan->items[i];
        struct cw_span type = cw_span_cstr(item->type);
        const struct cw_watermark *mark = mark_of(&f, type);
        if (is_search(item) && mark != NULL && (belief == CW_LAST_UPDATED_YES || tested(&f, type) == CW_FILTER_REAL)) {
            rc = filter_item(&f, item, mark->since_us, err);
        }
    }
    return rc;
}

void incremental_note_clock(struct scheduler *s, struct run *run, const struct cw_http_response *response)
{
    int64_t date_us;
    if (!cw_time_parse_http(cw_http_header_get(response, "Date"), &date_us)) {
        return;
    }
    int64_t skew_us = date_us - cw_now_us();
    pthread_mutex_lock(&s->lock);
    run->skew_us = skew_us < run->skew_us ? skew_us : run->skew_us;
    pthread_mutex_unlock(&s->lock);
}
