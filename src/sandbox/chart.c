/* SPDX-License-Identifier: Apache-2.0 */
/* A chart: an arena of bytes, an array of resources in table order, and an index by type and id. */
#include "config.h"
#include "sandbox/chart.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/time.h"
#include "sandbox/walk.h"

struct cw_sbx_chart {
    atomic_uint refs;
    struct cw_arena *arena;
    struct cw_sbx_resource *all;
    size_t count, cap;
    const struct cw_sbx_resource **by_id; /* sorted by type and id; NULL until sealed */
};

struct cw_sbx_chart *cw_sbx_chart_new(void)
{
    struct cw_sbx_chart *chart = calloc(1, sizeof(*chart));
    if (chart == NULL) {
        return NULL;
    }
    atomic_init(&chart->refs, 1);
    chart->arena = cw_arena_new(CW_SBX_CHART_MAX);
    if (chart->arena == NULL) {
        free(chart);
        return NULL;
    }
    return chart;
}

struct cw_sbx_chart *cw_sbx_chart_hold(struct cw_sbx_chart *chart)
{
    atomic_fetch_add(&chart->refs, 1);
    return chart;
}

void cw_sbx_chart_drop(struct cw_sbx_chart *chart)
{
    if (chart == NULL || atomic_fetch_sub(&chart->refs, 1) != 1) {
        return;
    }
    cw_arena_free(chart->arena);
    free(chart->all);
    free(chart->by_id);
    free(chart);
}

static bool make_room(struct cw_sbx_chart *chart)
{
    if (chart->count < chart->cap) {
        return true;
    }
    size_t cap = chart->cap == 0 ? 64 : chart->cap * 2;
    struct cw_sbx_resource *all = reallocarray(chart->all, cap, sizeof(*all));
    if (all == NULL) {
        return false;
    }
    chart->all = all;
    chart->cap = cap;
    return true;
}

static int64_t last_updated(struct cw_span resource)
{
    struct cw_span text = cw_walk_member_string(cw_walk_member(resource, "meta"), "lastUpdated");
    int64_t time_us;
    return text.ptr != NULL && cw_time_parse(text, false, &time_us) ? time_us : CW_SBX_NO_TIME;
}

enum cw_code cw_sbx_chart_add(struct cw_sbx_chart *chart, struct cw_span bytes, struct cw_err *err)
{
    if (chart->by_id != NULL) {
        cw_bug("a sealed chart takes no more resources");
    }
    struct cw_span name = cw_walk_member_string(bytes, "resourceType");
    struct cw_span id = cw_walk_member_string(bytes, "id");
    if (name.ptr == NULL || id.len == 0 || id.len > CW_FHIR_ID_MAX) {
        return cw_err_set(err, CW_E_SYNTAX, "sandbox.chart", "a resource without resourceType or id");
    }
    const struct cw_sbx_type *type = cw_sbx_type_find(name);
    if (type == NULL) {
        return cw_err_set(err, CW_E_UNSUPPORTED, "sandbox.chart", "a resource type that is not served");
    }
    if (bytes.len > CW_SBX_CHART_MAX - cw_arena_used(chart->arena)) {
        return cw_err_set(err, CW_E_TOO_BIG, "sandbox.chart", "one patient's resources go over the limit");
    }
    struct cw_span copy = cw_arena_span(chart->arena, bytes);
    if (copy.ptr == NULL || !make_room(chart)) {
        return cw_err_set(err, CW_E_OOM, "sandbox.chart", "out of memory");
    }
    chart->all[chart->count++] = (struct cw_sbx_resource){
        .type = type,
        .bytes = copy,
        .id = cw_span_of(copy.ptr + (id.ptr - bytes.ptr), id.len),
        .updated_us = last_updated(copy),
    };
    return CW_OK;
}

static int compare_id(struct cw_span a, struct cw_span b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_type(const struct cw_sbx_type *a, const struct cw_sbx_type *b)
{
    return (a > b) - (a < b); /* both point into the one table */
}

/* By type, then by order of adding: both pointers lead into chart->all, which is in that order. */
static int by_type_and_place(const void *a, const void *b)
{
    const struct cw_sbx_resource *const *x = a, *const *y = b;
    int order = compare_type((*x)->type, (*y)->type);
    return order != 0 ? order : (*x > *y) - (*x < *y);
}

static int by_type_and_id(const void *a, const void *b)
{
    const struct cw_sbx_resource *const *x = a, *const *y = b;
    int order = compare_type((*x)->type, (*y)->type);
    order = order != 0 ? order : compare_id((*x)->id, (*y)->id);
    return order != 0 ? order : (*x > *y) - (*x < *y);
}

/* Marks the later ones of equal type and id by type NULL. */
static void drop_twins(struct cw_sbx_chart *chart, const struct cw_sbx_resource **order)
{
    qsort(order, chart->count, sizeof(*order), by_type_and_id);
    const struct cw_sbx_resource *kept = NULL;
    for (size_t i = 0; i < chart->count; i++) {
        if (kept != NULL && kept->type == order[i]->type && compare_id(kept->id, order[i]->id) == 0) {
            chart->all[order[i] - chart->all].type = NULL;
        } else {
            kept = order[i];
        }
    }
    size_t left = 0;
    for (size_t i = 0; i < chart->count; i++) {
        if (chart->all[i].type != NULL) {
            chart->all[left++] = chart->all[i];
        }
    }
    chart->count = left;
}

static void point_at_all(struct cw_sbx_chart *chart, const struct cw_sbx_resource **order)
{
    for (size_t i = 0; i < chart->count; i++) {
        order[i] = &chart->all[i];
    }
}

enum cw_code cw_sbx_chart_seal(struct cw_sbx_chart *chart)
{
    size_t room = chart->count + 1;
    const struct cw_sbx_resource **order = calloc(room, sizeof(*order));
    struct cw_sbx_resource *sorted = calloc(room, sizeof(*sorted));
    if (order == NULL || sorted == NULL) {
        free(order);
        free(sorted);
        return CW_E_OOM;
    }
    point_at_all(chart, order);
    drop_twins(chart, order);
    point_at_all(chart, order);
    qsort(order, chart->count, sizeof(*order), by_type_and_place);
    for (size_t i = 0; i < chart->count; i++) {
        sorted[i] = *order[i];
    }
    free(chart->all);
    chart->all = sorted;
    chart->cap = room;
    point_at_all(chart, order);
    qsort(order, chart->count, sizeof(*order), by_type_and_id);
    chart->by_id = order;
    return CW_OK;
}

const struct cw_sbx_resource *cw_sbx_chart_find(const struct cw_sbx_chart *chart, const struct cw_sbx_type *type,
                                                struct cw_span id)
{
    if (id.ptr == NULL) {
        return NULL;
    }
    size_t low = 0, high = chart->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct cw_sbx_resource *at = chart->by_id[middle];
        int order = compare_type(at->type, type);
        order = order != 0 ? order : compare_id(at->id, id);
        if (order == 0) {
            return at;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct cw_sbx_resource *cw_sbx_chart_of_type(const struct cw_sbx_chart *chart, const struct cw_sbx_type *type,
                                                   size_t *ret_count)
{
    size_t low = 0, high = chart->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (chart->all[middle].type < type) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t end = low;
    while (end < chart->count && chart->all[end].type == type) {
        end++;
    }
    *ret_count = end - low;
    return &chart->all[low];
}

size_t cw_sbx_chart_count(const struct cw_sbx_chart *chart)
{
    return chart->count;
}

const struct cw_sbx_resource *cw_sbx_chart_at(const struct cw_sbx_chart *chart, size_t at)
{
    return &chart->all[at];
}

size_t cw_sbx_chart_bytes(const struct cw_sbx_chart *chart)
{
    return cw_arena_used(chart->arena) + chart->cap * (sizeof(*chart->all) + sizeof(void *));
}
