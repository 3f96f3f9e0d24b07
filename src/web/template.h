/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages. Templates (www/tpl, *.html) are parsed at start; text {{name}} is escaped for its place — element text, quoted attribute, or
 * URL in href/action/src — decided at parse time; there is no raw form. Inline script and style are an error at start. Logic:
 * {{#name}}…{{/name}} (a list's items, or true, or a text that is not empty), {{^name}}…{{/name}} (the opposite; also a name that the page has not),
 * {{>file}} (include, bounded depth), {{! comment }}, {{t.key}} (a string of the page's language): strings with places write {name}
 * inside the locale text and take the value of that name from the page's values, escaped. {{lang}} and {{dir}} are always there.
 * A name or key that no value or locale has fails: unknown keys at start, unknown names at render as a bug in builds with the
 * sanitizers and as an empty text otherwise.
 *
 * Locales: www/locales/<tag>.json, one flat object of texts; "_name" is the language's own name, "_dir" ltr or rtl. Every locale
 * must have exactly the keys of en.json, and each text the same {places}.
 */
#ifndef CW_WEB_TEMPLATE_H
#define CW_WEB_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

struct cw_templates;
void cw_templates_free(struct cw_templates *templates);
/* Loads www_dir/tpl and www_dir/locales. err names file and line. */
enum cw_code cw_templates_load(const char *www_dir, struct cw_templates **ret_templates, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

/* Values of one page, in an arena. Names are literals; text is borrowed until render. */
struct cw_page;
struct cw_page *cw_page_new(struct cw_arena *arena) CW_MUST_USE;
void cw_page_text(struct cw_page *page, const char *name, struct cw_span text);
void cw_page_cstr(struct cw_page *page, const char *name, const char *text);
void cw_page_bool(struct cw_page *page, const char *name, bool value);
void cw_page_int(struct cw_page *page, const char *name, int64_t value);
/* A text or number set before, here or further out; the absent span when there is none. */
struct cw_span cw_page_text_of(const struct cw_page *page, const char *name) CW_NONNULL(2);
/* Adds an item to the list `name` and returns it, to be filled; inner names shadow outer ones. */
struct cw_page *cw_page_item(struct cw_page *page, const char *name);

/* Chooses a language: an explicit tag if we have it, else the best of an Accept-Language header, else "en". Returns our literal tag. */
const char *cw_language_choose(const struct cw_templates *templates, struct cw_span explicit_tag,
                               struct cw_span accept_language) CW_NONNULL(1) CW_RETURNS_NONNULL;
/* One string of a language with its places filled, appended plain (not escaped). */
enum cw_code cw_locale_text(const struct cw_templates *templates, const char *language, const char *key,
                            const struct cw_page *values, struct cw_str *out) CW_NONNULL(1, 2, 3, 5);
/* True when every locale has this key: for tables of codes, checked at start. */
bool cw_locale_has(const struct cw_templates *templates, const char *key) CW_NONNULL(1, 2);
/* Languages for the switch: our tags and own names, en first. */
size_t cw_language_count(const struct cw_templates *templates) CW_NONNULL(1);
const char *cw_language_at(const struct cw_templates *templates, size_t at, const char **ret_name) CW_NONNULL(1);

/* Renders template `name` ("picker/search") in `language`, appending to *out. CW_E_NOT_FOUND for an unknown template. */
enum cw_code cw_template_render(const struct cw_templates *templates, const char *name, const char *language,
                                const struct cw_page *page, struct cw_str *out, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;

#endif
