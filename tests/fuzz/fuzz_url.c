/* SPDX-License-Identifier: Apache-2.0 */
/* net/url: the input's first line is a base, the second a reference. What parses must parse to itself again, and what is under a base
 * must have its origin. */
#include "config.h"

#include <stdint.h>

#include "base/limits.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fixed_point(const struct cw_url *url)
{
    struct cw_url *again = NULL;
    if (cw_url_parse(cw_span_cstr(cw_url_text(url)), &again, NULL) != CW_OK ||
        strcmp(cw_url_text(again), cw_url_text(url)) != 0) {
        abort();
    }
    cw_url_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span reference = cw_span_of(data, size);
    struct cw_span text;
    (void)cw_span_cut(&reference, '\n', &text);
    CW_AUTO_STR normal;
    cw_str_init(&normal, CW_URL_MAX);
    (void)!cw_url_normal_base(text, &normal, NULL);
    struct cw_url *base = NULL;
    struct cw_url *url = NULL;
    if (cw_url_parse(text, &base, NULL) == CW_OK) {
        check_fixed_point(base);
        if (cw_url_resolve(base, reference, &url, NULL) == CW_OK) {
            check_fixed_point(url);
            if (cw_url_is_under(url, base) && strcmp(cw_url_host(url), cw_url_host(base)) != 0) {
                abort();
            }
        }
    }
    cw_url_free(url);
    cw_url_free(base);
    return 0;
}
