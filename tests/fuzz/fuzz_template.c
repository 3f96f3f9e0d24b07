/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: the parser ends on any bytes, and what it accepts can be rendered. */
#include <stdint.h>

#include "web/template_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_template item = { .name = (char[]){ "page" }, .source_len = size };
    item.source = malloc(size + 1);
    if (item.source == NULL) {
        return 0;
    }
    memcpy(item.source, data, size);
    struct cw_templates templates = { .items = &item, .count = 1 };
    /* texts of a language need files: such keys are refused here by their being none */
    if (cw_span_find_span(cw_span_of(data, size), CW_SPAN("t.")) == size) {
        (void)!cw_template_parse(&templates, &item, NULL);
    }
    free(item.ops);
    free(item.source);
    return 0;
}
