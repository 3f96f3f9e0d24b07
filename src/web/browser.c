/* SPDX-License-Identifier: Apache-2.0 */
/* The browser's cookie, the page's language, and return URLs, which are edited as text: an app's own bytes must come back as it sent them. */
#include "config.h"

#include "web/browser.h"

#include "base/limits.h"
#include "base/text.h"
#include "os/sys.h"

#define COOKIE_BYTES 32u
#define LANGUAGE_SECONDS (365 * 86400)

struct cw_span cw_browser_cookie(const struct cw_request *request, bool secure)
{
    char name[64];
    uint8_t room[COOKIE_BYTES + 1];
    cw_cookie_name(CW_BROWSER_COOKIE, secure, name);
    struct cw_span value = cw_request_cookie(request, name);
    CW_AUTO_STR bytes;
    cw_str_init(&bytes, sizeof room);
    if (value.len != CW_BROWSER_COOKIE_TEXT || cw_base64url_decode(value, &bytes) != CW_OK || bytes.len != COOKIE_BYTES) {
        return (struct cw_span){ NULL, 0 };
    }
    return value;
}

/* A fresh value in the arena; absent span when memory has run out. */
static struct cw_span make_value(struct cw_arena *arena)
{
    struct cw_span none = { NULL, 0 };
    uint8_t random[COOKIE_BYTES];
    CW_AUTO_STR text;
    cw_random(random, sizeof random);
    cw_str_init_secret(&text, 64);
    return cw_base64url_encode(cw_span_of(random, sizeof random), &text) == CW_OK
               ? cw_arena_span(arena, cw_str_span(&text))
               : none;
}

struct cw_span cw_browser_cookie_ensure(struct cw_request *request, struct cw_reply *reply, bool secure)
{
    struct cw_span value = cw_browser_cookie(request, secure);
    if (value.ptr == NULL) {
        value = make_value(cw_request_arena(request));
    }
    if (value.ptr != NULL) { /* sent again each time, so that it does not run out while the patient is at a portal */
        cw_reply_cookie(reply, &(struct cw_cookie){ .name = CW_BROWSER_COOKIE, .value = value, .secure = secure,
                                                    .max_age_s = CW_BROWSER_COOKIE_SECONDS });
    }
    return value;
}

const char *cw_browser_language(struct cw_request *request, struct cw_reply *reply,
                                const struct cw_templates *templates, struct cw_span asked, bool secure)
{
    char name[64];
    cw_cookie_name(CW_LANGUAGE_COOKIE, secure, name);
    struct cw_span wanted = asked.len > 0 ? asked : cw_request_cookie(request, name);
    const char *language = cw_language_choose(templates, wanted, cw_request_header(request, "Accept-Language"));
    if (asked.len > 0) {
        cw_reply_cookie(reply, &(struct cw_cookie){ .name = CW_LANGUAGE_COOKIE, .value = cw_span_cstr(language),
                                                    .secure = secure, .max_age_s = LANGUAGE_SECONDS });
    }
    return language;
}

/* True when the pair "name=…" is one that we set. Compared after decoding, as the app will read it. */
static bool is_ours(struct cw_span pair, const struct cw_return_param *params)
{
    struct cw_span name;
    CW_AUTO_STR decoded;
    cw_str_init(&decoded, CW_URL_MAX);
    cw_span_cut(&pair, '=', &name);
    if (cw_percent_decode(name, true, &decoded) != CW_OK) {
        return false;
    }
    for (const struct cw_return_param *param = params; param->name != NULL; param++) {
        if (cw_span_eq_cstr(cw_str_span(&decoded), param->name)) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_return_url(struct cw_span return_url, const struct cw_return_param *params, struct cw_str *out)
{
    size_t hash = cw_span_find(return_url, '#');
    struct cw_span fragment = cw_span_from(return_url, hash);
    struct cw_span query = cw_span_upto(return_url, hash);
    struct cw_span base;
    bool more = cw_span_cut(&query, '?', &base) && query.len > 0;
    char joint = '?';
    cw_str_add_span(out, base);
    while (more) {
        struct cw_span pair;
        more = cw_span_cut(&query, '&', &pair);
        if (pair.len > 0 && !is_ours(pair, params)) {
            cw_str_add_char(out, joint);
            cw_str_add_span(out, pair);
            joint = '&';
        }
    }
    for (const struct cw_return_param *param = params; param->name != NULL; param++) {
        if (param->value.ptr != NULL) {
            cw_str_add_char(out, joint);
            cw_str_add_cstr(out, param->name);
            cw_str_add_char(out, '=');
            cw_percent_encode(param->value, out);
            joint = '&';
        }
    }
    return cw_str_add_span(out, fragment);
}

enum cw_code cw_return_form_action(struct cw_span return_url, struct cw_str *out)
{
    size_t colon = cw_span_find(return_url, ':');
    struct cw_span rest = cw_span_from(return_url, colon);
    if (rest.len == 0) {
        return CW_OK;
    }
    if (!cw_span_starts(return_url, CW_SPAN("http:")) && !cw_span_starts(return_url, CW_SPAN("https:"))) {
        return cw_str_add_span(out, cw_span_upto(return_url, colon + 1));
    }
    size_t host_end = colon + 3;
    while (host_end < return_url.len && strchr("/?#;, '", return_url.ptr[host_end]) == NULL) {
        host_end++;
    }
    return cw_str_add_span(out, cw_span_upto(return_url, host_end));
}
