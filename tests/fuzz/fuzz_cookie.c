/* SPDX-License-Identifier: Apache-2.0 */
/* The Cookie header: a value that is found lies within it. */
#include <stdint.h>

#include "web/web_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span header = cw_span_of(data, size);
    struct cw_span value = cw_cookie_find(header, "cw_browser");
    if (value.ptr != NULL && (value.ptr < header.ptr || value.ptr + value.len > header.ptr + header.len)) {
        cw_bug("a cookie outside of its header");
    }
    return 0;
}
