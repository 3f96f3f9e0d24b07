/* SPDX-License-Identifier: Apache-2.0 */
/* smart/scope: the first line is what was asked, the rest what was granted. Comparing a text with itself finds nothing missing. */
#include "config.h"

#include <stdint.h>

#include "smart/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span granted = cw_span_of(data, size);
    struct cw_span asked;
    (void)cw_span_cut(&granted, '\n', &asked);
    struct cw_scope_verdict v = cw_scope_compare(asked, granted);
    if (v.assumed && !v.any_resource) {
        abort();
    }
    struct cw_scope scope;
    if (cw_scope_parse(asked, &scope) && scope.context != CW_SCOPE_SYSTEM && cw_scope_compare(asked, asked).narrower) {
        abort();
    }
    return 0;
}
