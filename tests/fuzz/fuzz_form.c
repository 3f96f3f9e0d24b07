/* SPDX-License-Identifier: Apache-2.0 */
/* Query strings and forms: whatever comes, an accepted value is clean text that fits its row. */
#include <stdint.h>

#include "base/limits.h"
#include "base/text.h"
#include "web/web_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cw_input table[] = {
        { .name = "q", .kind = CW_IN_TEXT, .max = 20 },
        { .name = "limit", .kind = CW_IN_INT, .min = 1, .max = 100 },
        { .name = "mode", .kind = CW_IN_CHOICE, .choices = "one|two" },
        { .name = NULL },
    };
    struct cw_arena *arena = cw_arena_new(CW_REQUEST_ARENA_MAX);
    struct cw_inputs inputs;
    struct cw_input_fault fault;
    bool unknown_ok = size > 0 && (data[0] & 1) != 0;
    struct cw_span text = cw_span_of(data, size);
    if (arena != NULL && cw_inputs_parse(arena, text, table, unknown_ok, &inputs, &fault) == CW_OK) {
        struct cw_span q = cw_inputs_find(&inputs, table, "q")->text;
        const struct cw_value_in *limit = cw_inputs_find(&inputs, table, "limit");
        if (!cw_utf8_valid(q) || cw_utf8_has_control(q) || cw_utf8_length(q) > 20 ||
            (limit->text.ptr != NULL && (limit->number < 1 || limit->number > 100))) {
            cw_bug("an input that does not fit was accepted");
        }
    }
    cw_arena_free(arena);
    return 0;
}
