/* SPDX-License-Identifier: Apache-2.0 */
/* Every URL that leaves here has been through cw_url_is_under. */
#include "config.h"

#include "fhir/link.h"

#include "base/limits.h"
#include "base/str.h"

#define WHERE "link"

static struct cw_span without_slash(struct cw_span path)
{
    while (path.len > 0 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    return path;
}

/* "/fhir" of "/hapi/fhir". */
static struct cw_span last_segment(struct cw_span path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') {
        at--;
    }
    return cw_span_from(path, at == 0 ? 0 : at - 1);
}

static bool says_page(const struct cw_url *url)
{
    struct cw_span query = cw_url_query(url);
    return cw_span_find_span(query, CW_SPAN("_getpages=")) < query.len;
}

/* The part of the link's path that goes behind the base; false when the link does not plainly mean the base's server. */
static bool tail_of(const struct cw_url *page, const struct cw_url *link, const struct cw_url *base, struct cw_span *ret)
{
    struct cw_span base_path = without_slash(cw_span_cstr(cw_url_path(base)));
    struct cw_span link_path = without_slash(cw_span_cstr(cw_url_path(link)));
    struct cw_span behind = cw_span_from(without_slash(cw_span_cstr(cw_url_path(page))), base_path.len);
    if (behind.len > 1 && cw_span_ends(link_path, behind)) {
        *ret = behind;
        return true;
    }
    *ret = CW_SPAN("");
    return says_page(link) && (link_path.len == 0 || cw_span_eq(last_segment(link_path), last_segment(base_path)));
}

static enum cw_code put_on_base(const struct cw_url *base, struct cw_span tail, struct cw_span query, struct cw_url **ret_url,
                                struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_LINK_MAX);
    cw_url_origin(base, &text);
    cw_str_add_span(&text, without_slash(cw_span_cstr(cw_url_path(base))));
    cw_str_add_span(&text, tail);
    if (query.ptr != NULL) {
        cw_str_add_char(&text, '?');
        cw_str_add_span(&text, query);
    }
    if (cw_str_code(&text) != CW_OK) {
        return cw_err_set(err, cw_str_code(&text), WHERE, "the link does not fit");
    }
    return cw_url_parse(cw_str_span(&text), ret_url, err);
}

/* http://hospital/fhir/x where https://hospital/fhir is the base: TLS ended before the server. */
static enum cw_code upgrade(const struct cw_url *link, const struct cw_url *base, struct cw_url **ret_url, struct cw_err *err)
{
    bool explicit_port = cw_url_port(link) != 80;
    if (strcmp(cw_url_scheme(link), "http") != 0 || strcmp(cw_url_scheme(base), "https") != 0 ||
        strcmp(cw_url_host(link), cw_url_host(base)) != 0 || (explicit_port && cw_url_port(link) != cw_url_port(base))) {
        return cw_err_set(err, CW_E_DENIED, WHERE, "another place");
    }
    CW_AUTO_STR text;
    cw_str_init(&text, CW_LINK_MAX);
    cw_url_origin(base, &text);
    cw_str_add_cstr(&text, cw_url_path(link));
    struct cw_span query = cw_url_query(link);
    if (query.ptr != NULL) {
        cw_str_add_char(&text, '?');
        cw_str_add_span(&text, query);
    }
    enum cw_code rc = cw_str_code(&text);
    return rc != CW_OK ? cw_err_set(err, rc, WHERE, "the link does not fit") : cw_url_parse(cw_str_span(&text), ret_url, err);
}

/* Gives `*url` when it is under the base, and frees it when not. */
static enum cw_code only_under(struct cw_url *url, const struct cw_url *base, struct cw_url **ret_url, struct cw_err *err)
{
    if (cw_url_is_under(url, base)) {
        *ret_url = url;
        return CW_OK;
    }
    cw_url_free(url);
    return cw_err_set(err, CW_E_DENIED, WHERE, "another place");
}

enum cw_code cw_link_follow(const struct cw_url *page, struct cw_span link, const struct cw_url *base, struct cw_url **ret_url,
                            struct cw_err *err)
{
    struct cw_url *to = NULL, *found = NULL;
    enum cw_code rc = cw_url_resolve(page, link, &to, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (cw_url_is_under(to, base)) {
        *ret_url = to;
        return CW_OK;
    }
    struct cw_span tail;
    rc = upgrade(to, base, &found, err);
    if (rc == CW_OK) {
        rc = only_under(found, base, ret_url, err);
    }
    if (rc == CW_E_DENIED && tail_of(page, to, base, &tail)) {
        rc = put_on_base(base, tail, cw_url_query(to), &found, err);
        rc = rc == CW_OK ? only_under(found, base, ret_url, err) : rc;
    }
    cw_url_free(to);
    return rc;
}
