/* SPDX-License-Identifier: Apache-2.0 */
/* return_url: form first, by the parser that everybody else here uses; the organization's list is the caller's to ask. */
#include "config.h"

#include "api/return_url.h"

#include "base/limits.h"
#include "net/url.h"

#define SCHEME_MAX 128

/* The scheme of a URL, its colon left out; absent when there is none (RFC 3986 3.1). */
static struct cw_span scheme_of(struct cw_span url)
{
    size_t len = cw_span_find(url, ':');
    if (len == url.len || len == 0 || len > SCHEME_MAX) {
        return (struct cw_span){ 0 };
    }
    for (size_t i = 0; i < len; i++) {
        char c = url.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!letter && (i == 0 || !other)) {
            return (struct cw_span){ 0 };
        }
    }
    return cw_span_upto(url, len);
}

static bool is_loopback(const char *host)
{
    struct cw_span text = cw_span_cstr(host);
    return cw_span_eq_cstr(text, "localhost") || cw_span_eq_cstr(text, "[::1]") || cw_span_eq_cstr(text, "::1") ||
           cw_span_eq_cstr(text, "127.0.0.1");
}

static enum cw_code web_target(struct cw_span text, enum cw_return_kind *ret_kind, struct cw_str *target,
                               struct cw_err *err)
{
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_parse(text, &url, err);
    if (rc != CW_OK) {
        return rc;
    }
    bool https = strcmp(cw_url_scheme(url), "https") == 0;
    if (!https && !is_loopback(cw_url_host(url))) {
        rc = cw_err_set(err, CW_E_DENIED, "return_url", "http to another machine");
    } else {
        rc = cw_url_origin(url, target);
        *ret_kind = https ? CW_RETURN_HTTPS : CW_RETURN_LOOPBACK;
    }
    cw_url_free(url);
    return rc;
}

/* A private-use scheme has a dot, being a domain in reverse (RFC 8252 7.1): that leaves out javascript:, data:, mailto: … */
static enum cw_code app_target(struct cw_span text, struct cw_span scheme, enum cw_return_kind *ret_kind,
                               struct cw_str *target, struct cw_err *err)
{
    if (cw_span_find(scheme, '.') == scheme.len || text.len == scheme.len + 1) {
        return cw_err_set(err, CW_E_SYNTAX, "return_url", "neither https nor a private-use scheme");
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\') {
            return cw_err_set(err, CW_E_SYNTAX, "return_url", "a byte that no URL has");
        }
    }
    for (size_t i = 0; i < scheme.len; i++) {
        char c = scheme.ptr[i];
        cw_str_add_char(target, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    *ret_kind = CW_RETURN_SCHEME;
    return cw_str_add_char(target, ':');
}

enum cw_code cw_return_target(struct cw_span url, enum cw_return_kind *ret_kind, struct cw_str *target,
                              struct cw_err *err)
{
    if (url.len > CW_RETURN_URL_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "return_url", "longer than %u bytes", CW_RETURN_URL_MAX);
    }
    struct cw_span scheme = scheme_of(url);
    if (scheme.ptr == NULL) {
        return cw_err_set(err, CW_E_SYNTAX, "return_url", "not an absolute URL");
    }
    if (cw_span_eq_nocase(scheme, CW_SPAN("https")) || cw_span_eq_nocase(scheme, CW_SPAN("http"))) {
        return web_target(url, ret_kind, target, err);
    }
    return app_target(url, scheme, ret_kind, target, err);
}
