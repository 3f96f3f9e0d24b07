/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Cookie header: a value that is found lies within it and is of cookie octets. With our own cookie before or behind whatever else
 * comes, what is found is ours or nothing: no other cookie takes its place.
 */
#include <stdint.h>

#include "base/limits.h"
#include "web/web_int.h"

#define NAME "__Host-cw_browser"
#define OURS "0123456789abcdefghijABCDEFGHIJ-_0123456789a"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void with_ours(struct cw_span other, bool before)
{
    CW_AUTO_STR header;
    cw_str_init(&header, CW_COOKIE_HEADER_MAX * 2);
    (void)cw_str_add_cstr(&header, before ? NAME "=" OURS "; " : "");
    (void)cw_str_add_span(&header, other);
    (void)cw_str_add_cstr(&header, before ? "" : "; " NAME "=" OURS);
    struct cw_span value = cw_cookie_find(cw_str_span(&header), NAME);
    if (value.ptr != NULL && !cw_span_eq_cstr(value, OURS)) {
        cw_bug("another cookie took the place of ours");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span header = cw_span_of(data, size);
    struct cw_span value = cw_cookie_find(header, NAME);
    if (value.ptr != NULL && (value.ptr < header.ptr || value.ptr + value.len > header.ptr + header.len)) {
        cw_bug("a cookie outside of its header");
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.ptr[i] <= 0x20 || strchr("\",;\\\x7f", value.ptr[i]) != NULL) {
            cw_bug("a cookie's value of other than cookie octets");
        }
    }
    with_ours(header, true);
    with_ours(header, false);
    return 0;
}
