/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox hospital's readers: the first line is a query, the rest a resource that it is asked of. Whatever is found
 * must lie inside what was given. */
#include "config.h"

#include "base/json.h"
#include "sandbox/chart.h"
#include "sandbox/scope.h"
#include "sandbox/search.h"
#include "sandbox/walk.h"

#define ARENA_MAX (1u * 1024u * 1024u)
#define PAGE_MAX (8u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_all(struct cw_span text)
{
    struct cw_walk walk;
    struct cw_span key, value;
    CW_AUTO_STR plain;
    cw_str_init(&plain, text.len + 1);
    if (cw_walk_open(&walk, text)) {
        while (cw_walk_next(&walk, &key, &value)) {
            if (value.ptr < text.ptr || value.ptr + value.len > text.ptr + text.len) {
                __builtin_trap();
            }
            (void)!cw_walk_unescape(cw_walk_string(value), &plain);
            cw_str_clear(&plain);
        }
    }
}

static void ask(const struct cw_sbx_chart *chart, const struct cw_sbx_search *search)
{
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_page page = { .chart = chart, .scopes = CW_SPAN("patient/*.rs"), .base = CW_SPAN("http://h/fhir"), .faults = &faults };
    CW_AUTO_STR out;
    cw_str_init(&out, PAGE_MAX);
    (void)!cw_sbx_search_page(search, &page, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span rest = cw_span_of(data, size), query;
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    struct cw_sbx_search search;
    struct cw_sbx_scope scope;
    if (arena == NULL || chart == NULL) {
        cw_arena_free(arena);
        cw_sbx_chart_drop(chart);
        return 0;
    }
    cw_span_cut(&rest, '\n', &query);
    walk_all(rest);
    (void)!cw_sbx_scope_parse(query, &scope);
    (void)!cw_sbx_chart_add(chart, rest, NULL);
    if (cw_sbx_chart_seal(chart) == CW_OK && cw_sbx_chart_count(chart) == 1) {
        const struct cw_sbx_type *type = cw_sbx_chart_at(chart, 0)->type;
        if (cw_sbx_search_parse(type, query, CW_SPAN("p"), arena, &search, NULL) == CW_OK) {
            ask(chart, &search);
        }
        if (cw_sbx_search_resume(query, CW_SPAN("p"), arena, &search, NULL) == CW_OK) {
            ask(chart, &search);
        }
    }
    cw_sbx_chart_drop(chart);
    cw_arena_free(arena);
    return 0;
}
