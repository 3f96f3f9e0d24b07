/* SPDX-License-Identifier: Apache-2.0 */
/* A catalogue file of any format: every row that is taken has a name and an encrypted, normalised base. */
#include "config.h"

#include "catalog/import.h"

#define ARENA_MAX (32u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cw_catalog_options options = { .environment = CW_ENV_SANDBOX };
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_catalog catalog;
    if (arena != NULL && cw_catalog_read(cw_span_of(data, size), &options, arena, &catalog, NULL) == CW_OK) {
        for (size_t i = 0; i < catalog.count; i++) {
            const struct cw_source_row *row = &catalog.rows[i];
            if (row->source.name.len == 0 || !cw_span_starts(row->normal_base, CW_SPAN("https://"))) {
                __builtin_trap();
            }
        }
    }
    cw_arena_free(arena);
    return 0;
}
