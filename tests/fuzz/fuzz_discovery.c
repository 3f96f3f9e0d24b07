/* SPDX-License-Identifier: Apache-2.0 */
/* smart/discovery: both kinds of document. What is accepted has two endpoints that a URL parser takes. */
#include "config.h"

#include <stdint.h>

#include "net/url.h"
#include "smart/discovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_endpoint(const char *text)
{
    struct cw_url *url = NULL;
    if (cw_url_parse(cw_span_cstr(text), &url, NULL) != CW_OK || strcmp(cw_url_scheme(url), "https") != 0) {
        abort();
    }
    cw_url_free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span body = cw_span_of(data, size);
    struct cw_arena *arena = cw_arena_new((size_t)4 << 20);
    struct cw_discovery d;
    if (arena == NULL) {
        return 0;
    }
    if (cw_discovery_parse(body, "https://h/fhir", arena, &d, NULL) == CW_OK) {
        check_endpoint(d.authorization_endpoint);
        check_endpoint(d.token_endpoint);
    }
    if (cw_discovery_parse_capability(body, "https://h/fhir", arena, &d, NULL) == CW_OK) {
        check_endpoint(d.authorization_endpoint);
        check_endpoint(d.token_endpoint);
    }
    cw_arena_free(arena);
    return 0;
}
