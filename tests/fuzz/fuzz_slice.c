/* SPDX-License-Identifier: Apache-2.0 */
/* A server's answer: what is sliced lies inside it, reads alone as the same resource, and gives its hash input in order. */
#include "config.h"

#include "fhir/slice.h"

#define ARENA_MAX (8u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct cw_slice_entry *entry, struct cw_span page, struct cw_arena *arena)
{
    if (entry->fault != CW_SLICE_GOOD) {
        return;
    }
    const char *at = entry->resource.ptr;
    const char *end = at + entry->resource.len;
    if (at < page.ptr || end > page.ptr + page.len) {
        __builtin_trap();
    }
    struct cw_slice alone;
    if (cw_slice_read(entry->resource, arena, &alone, NULL) != CW_OK) {
        __builtin_trap();
    }
    if (alone.kind != CW_SLICE_BUNDLE && (!cw_span_eq(alone.entries[0].type, entry->type) || !cw_span_eq(alone.entries[0].id, entry->id))) {
        __builtin_trap();
    }
    struct cw_span spans[CW_SLICE_STABLE_MAX];
    size_t count = cw_slice_stable(entry, spans);
    for (size_t i = 0; i < count; i++) {
        if (spans[i].ptr < at || spans[i].ptr + spans[i].len > end) {
            __builtin_trap();
        }
        at = spans[i].ptr + spans[i].len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_span page = cw_span_of(data, size);
    struct cw_slice slice;
    if (arena != NULL && cw_slice_read(page, arena, &slice, NULL) == CW_OK) {
        for (size_t i = 0; i < slice.count && i < 100; i++) {
            check_entry(&slice.entries[i], page, arena);
        }
        struct cw_outcome outcome;
        if (cw_outcome_read(page, arena, &outcome, NULL) == CW_OK && outcome.count > CW_OUTCOME_ISSUES_MAX) {
            __builtin_trap();
        }
    }
    cw_arena_free(arena);
    return 0;
}
