/* SPDX-License-Identifier: Apache-2.0 */
/* A Patient served: putting our identifier in is good JSON again, and putting it in twice changes nothing more. */
#include "config.h"

#include "fhir/identifier.h"

#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CW_AUTO_STR once;
    CW_AUTO_STR twice;
    cw_str_init(&once, CW_FHIR_RESOURCE_MAX);
    cw_str_init(&twice, CW_FHIR_RESOURCE_MAX);
    if (cw_identifier_put(cw_span_of(data, size), CW_SPAN("urn:x"), CW_SPAN("1"), &once, NULL) != CW_OK) {
        return 0;
    }
    if (cw_identifier_put(cw_str_span(&once), CW_SPAN("urn:x"), CW_SPAN("1"), &twice, NULL) != CW_OK ||
        !cw_span_eq(cw_str_span(&once), cw_str_span(&twice))) {
        __builtin_trap();
    }
    return 0;
}
