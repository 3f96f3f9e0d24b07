/* SPDX-License-Identifier: Apache-2.0 */
/* A resource: what counts as local is a good type and id, whatever was sent. */
#include "config.h"

#include "fhir/references.h"
#include "fhir/slice.h"

#define ARENA_MAX (8u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_references found;
    if (arena != NULL &&
        cw_references_read(cw_span_of(data, size), CW_SPAN("https://ehr.example/fhir/r4"), arena, &found, NULL) == CW_OK) {
        for (size_t i = 0; i < found.reference_count; i++) {
            const struct cw_reference *ref = &found.references[i];
            if (ref->kind == CW_REF_LOCAL && (!cw_fhir_type_good(ref->type) || !cw_fhir_id_good(ref->id))) {
                __builtin_trap();
            }
        }
    }
    cw_arena_free(arena);
    return 0;
}
