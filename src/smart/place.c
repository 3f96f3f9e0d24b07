/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts of URLs against hosts that somebody vouches for. */
#include "config.h"

#include "smart/place.h"

#include "base/limits.h"
#include "model/registration.h"
#include "net/url.h"

enum cw_code cw_place_of(const char *text, struct cw_str *out)
{
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_parse(cw_span_cstr(text), &url, NULL);
    if (rc != CW_OK) {
        return rc == CW_E_OOM ? rc : CW_E_SYNTAX;
    }
    bool usual = strcmp(cw_url_scheme(url), "https") == 0 && cw_url_port(url) == 443;
    (void)cw_str_add_cstr(out, cw_url_host(url));
    if (!usual) {
        (void)cw_str_addf(out, ":%u", cw_url_port(url));
    }
    cw_url_free(url);
    return cw_str_code(out);
}

bool cw_place_listed(const char *url, struct cw_place_hosts hosts)
{
    CW_AUTO_STR place;
    cw_str_init(&place, CW_URL_MAX);
    return cw_place_of(url, &place) == CW_OK && cw_host_matches(cw_str_span(&place), hosts.patterns, hosts.count);
}

static bool same_place(struct cw_span place, const char *url)
{
    CW_AUTO_STR other;
    cw_str_init(&other, CW_URL_MAX);
    return url[0] != '\0' && cw_place_of(url, &other) == CW_OK && cw_span_eq(place, cw_str_span(&other));
}

bool cw_place_may_read(const struct cw_http *http, const char *url, struct cw_place_hosts hosts,
                       const char *const *known, size_t count)
{
    CW_AUTO_STR place;
    cw_str_init(&place, CW_URL_MAX);
    if (cw_place_of(url, &place) != CW_OK) {
        return false;
    }
    if (!cw_http_is_exception(http, url) || cw_host_matches(cw_str_span(&place), hosts.patterns, hosts.count)) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (same_place(cw_str_span(&place), known[i])) {
            return true;
        }
    }
    return false;
}
