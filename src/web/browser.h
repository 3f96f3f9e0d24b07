/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the patient's pages of all responders (picker, callback) have in common: the cookie that tells one browser from another, the page's
 * language, and the way back to the app.
 */
#ifndef CW_WEB_BROWSER_H
#define CW_WEB_BROWSER_H

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "web/template.h"
#include "web/web.h"

/* --- the browser's cookie: 32 random bytes; an attempt is bound to it (design 13) --- */
#define CW_BROWSER_COOKIE "cw_browser"
#define CW_BROWSER_COOKIE_TEXT 43
#define CW_BROWSER_COOKIE_SECONDS 86400
/* Its value, or the absent span when the browser sent none of our form. `secure`: the site is on https. */
struct cw_span cw_browser_cookie(const struct cw_request *request, bool secure) CW_NONNULL(1);
/* The same, but gives a new one to a browser without, and renews the time of one that it has. Absent span when memory has run out. */
struct cw_span cw_browser_cookie_ensure(struct cw_request *request, struct cw_reply *reply, bool secure) CW_NONNULL(1, 2);

/* --- language: ?lang=xx, else the cookie cw_lang, else Accept-Language, else en --- */
#define CW_LANGUAGE_COOKIE "cw_lang"
/* `asked` is the query's, absent where there is none; then it is also kept in the cookie. */
const char *cw_browser_language(struct cw_request *request, struct cw_reply *reply,
                                const struct cw_templates *templates, struct cw_span asked, bool secure)
    CW_NONNULL(1, 2, 3) CW_RETURNS_NONNULL;

/* --- the result page of one attempt, which callback and picker share --- */
#define CW_RESULT_PATH "/c/%s/attempt/%s" /* secret of the Session, att_ id */

/* --- the way back --- */
struct cw_return_param {
    const char *name;      /* NULL ends the list */
    struct cw_span value;  /* absent: this one is only removed */
};
/* Appends return_url with the parameters before its fragment; ones of the same name are replaced, all else stays as it is. */
enum cw_code cw_return_url(struct cw_span return_url, const struct cw_return_param *params, struct cw_str *out)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* Appends what form-action must name so that Chromium follows a 303 to this URL after a form: its origin, or "scheme:" of a private one. Appends
 * nothing where the URL has no scheme. */
enum cw_code cw_return_form_action(struct cw_span return_url, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

#endif
