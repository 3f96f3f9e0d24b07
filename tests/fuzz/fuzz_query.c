/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back to the app: the first line is its return_url, the second the error code to be told. Whatever the URL brings along, the app
 * reads each of our parameters once and as we said it, and nothing of its own before the query or behind it is changed.
 */
#include <stdint.h>

#include "base/limits.h"
#include "base/text.h"
#include "web/browser.h"
#include "web/web_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How often a name stands in the query, and its last value. */
static size_t count_of(struct cw_span query, const char *name, struct cw_str *ret_value)
{
    size_t count = 0;
    bool more = query.len > 0;
    while (more) {
        struct cw_span value;
        struct cw_span key;
        CW_AUTO_STR text;
        cw_str_init(&text, CW_URL_MAX * 4);
        more = cw_span_cut(&query, '&', &value);
        (void)cw_span_cut(&value, '=', &key);
        if (cw_percent_decode(key, true, &text) == CW_OK && cw_span_eq_cstr(cw_str_span(&text), name)) {
            count++;
            cw_str_clear(ret_value);
            (void)!cw_percent_decode(value, true, ret_value);
        }
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span error = cw_span_of(data, size);
    struct cw_span url;
    (void)cw_span_cut(&error, '\n', &url);
    if (error.ptr == NULL || url.len > CW_RETURN_URL_MAX || error.len > 64) {
        return 0;
    }
    const struct cw_return_param params[] = {
        { "success", CW_SPAN("false") }, { "error", error }, { "connection_id", { NULL, 0 } }, { NULL, { NULL, 0 } },
    };
    CW_AUTO_STR out;
    CW_AUTO_STR value;
    cw_str_init(&out, CW_RETURN_URL_MAX * 2);
    cw_str_init(&value, CW_URL_MAX * 4);
    if (cw_return_url(url, params, &out) != CW_OK) {
        return 0;
    }
    struct cw_span whole = cw_str_span(&out);
    struct cw_span base;
    struct cw_span query = cw_span_upto(whole, cw_span_find(whole, '#'));
    (void)cw_span_cut(&query, '?', &base);
    size_t successes = count_of(query, "success", &value);
    bool success_ours = cw_span_eq_cstr(cw_str_span(&value), "false");
    size_t errors = count_of(query, "error", &value);
    struct cw_span fragment = cw_span_from(url, cw_span_find(url, '#'));
    if (successes != 1 || !success_ours || errors != 1 || !cw_span_eq(cw_str_span(&value), error) ||
        count_of(query, "connection_id", &value) != 0 || !cw_span_starts(url, base) ||
        !cw_span_eq(cw_span_from(whole, cw_span_find(whole, '#')), fragment)) {
        cw_bug("the app reads something else than was said");
    }
    return 0;
}
