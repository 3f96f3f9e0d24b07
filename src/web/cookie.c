/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cookies, in and out. Going out they are always HttpOnly, SameSite=Lax and for the whole host; where the site is on TLS their name
 * starts with __Host-, so that no sibling host and no plain-http page can set one (RFC 6265bis 4.1.3.2).
 */
#include "config.h"

#include "web/web_int.h"

#include "base/limits.h"

void cw_cookie_name(const char *name, bool secure, char out[64])
{
    int n = snprintf(out, 64, "%s%s", secure ? "__Host-" : "", name);
    if (n < 0 || n >= 64) {
        cw_bug("a cookie's name is too long");
    }
}

/* cookie-octet of RFC 6265 4.1.1. */
static bool is_value(struct cw_span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\') {
            return false;
        }
    }
    return true;
}

struct cw_span cw_cookie_find(struct cw_span header, const char *name)
{
    struct cw_span found = { NULL, 0 };
    if (header.len > CW_COOKIE_HEADER_MAX) {
        return found;
    }
    bool more = header.len > 0;
    while (more) {
        struct cw_span value;
        struct cw_span pair_name;
        more = cw_span_cut(&header, ';', &value);
        if (!cw_span_cut(&value, '=', &pair_name) || !cw_span_eq_cstr(cw_span_trim(pair_name), name)) {
            continue;
        }
        value = cw_span_trim(value);
        if (!is_value(value) || (found.ptr != NULL && !cw_span_eq(found, value))) {
            return (struct cw_span){ NULL, 0 }; /* two different ones: nobody can tell whose is ours */
        }
        found = value;
    }
    return found;
}

void cw_reply_cookie(struct cw_reply *reply, const struct cw_cookie *cookie)
{
    char name[64];
    char age[32] = "";
    cw_cookie_name(cookie->name, cookie->secure, name);
    if (!is_value(cookie->value)) {
        cw_bug("a cookie's value must be of cookie octets");
    }
    if (cookie->max_age_s != 0) {
        snprintf(age, sizeof age, "; Max-Age=%lld", (long long)(cookie->max_age_s < 0 ? 0 : cookie->max_age_s));
    }
    const char *line = cw_arena_printf(reply->request->arena, "%s=%.*s; Path=/; HttpOnly; SameSite=Lax%s%s", name,
                                       (int)cookie->value.len, cookie->value.ptr == NULL ? "" : cookie->value.ptr,
                                       cookie->secure ? "; Secure" : "", age);
    if (line == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_reply_header(reply, "Set-Cookie", line);
}
