/* SPDX-License-Identifier: Apache-2.0 */
/* A CapabilityStatement: its summary reads as the same, and a plan can be made of whatever it says. */
#include "config.h"

#include "fhir/capability.h"

#include "fhir/plan.h"

#define ARENA_MAX (32u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct cw_capability *found, struct cw_arena *arena)
{
    CW_AUTO_STR summary;
    cw_str_init(&summary, 8u * 1024u * 1024u);
    struct cw_capability again;
    if (cw_capability_emit(found, &summary) != CW_OK || cw_capability_read(cw_str_span(&summary), arena, &again, NULL) != CW_OK ||
        again.count != found->count) {
        __builtin_trap();
    }
    struct cw_plan_input input = { .granted = CW_SPAN("patient/*.read"), .capability = found, .count = 50 };
    struct cw_plan plan;
    if (cw_plan_make(&input, arena, &plan, NULL) != CW_OK) {
        __builtin_trap();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_capability found;
    if (arena != NULL && size < 200000 && cw_capability_read(cw_span_of(data, size), arena, &found, NULL) == CW_OK) {
        check(&found, arena);
    }
    cw_arena_free(arena);
    return 0;
}
