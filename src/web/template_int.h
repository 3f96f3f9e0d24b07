/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the template engine share: operations, values, locales. */
#ifndef CW_WEB_TEMPLATE_INT_H
#define CW_WEB_TEMPLATE_INT_H

#include "web/template.h"

/* Where a value stands; decided when the template is parsed. */
enum cw_place {
    CW_PLACE_TEXT,      /* between tags */
    CW_PLACE_ATTR,      /* in a quoted attribute */
    CW_PLACE_URL,       /* begins a URL attribute: http, https or a path of ours, else "#" */
    CW_PLACE_URL_PART   /* further on in a URL attribute: percent-coded */
};

enum cw_op_kind { CW_OP_LITERAL, CW_OP_VALUE, CW_OP_LOCALE, CW_OP_SECTION, CW_OP_INVERTED };

struct cw_op {
    enum cw_op_kind kind;
    enum cw_place place;
    struct cw_span text; /* the literal, or the name */
    size_t index;        /* LOCALE: the key; SECTION and INVERTED: the operation after its end */
};

struct cw_template {
    char *name;   /* "picker/search" */
    char *source; /* operations borrow from it */
    size_t source_len;
    struct cw_op *ops;
    size_t op_count;
    size_t op_room;
};

/* --- page.c --- */
enum cw_page_kind { CW_PAGE_TEXT, CW_PAGE_BOOL, CW_PAGE_LIST };
struct cw_page_value {
    struct cw_page_value *next;
    const char *name;
    enum cw_page_kind kind;
    struct cw_span text;
    bool truth;
    struct cw_page *first_item;
    struct cw_page *last_item;
};
struct cw_page {
    struct cw_arena *arena;
    struct cw_page *parent;    /* NULL: the page itself */
    struct cw_page *next_item;
    struct cw_page_value *values;
    enum cw_code code;         /* CW_E_OOM, kept at the page itself */
};
/* The value of `name` here or further out; NULL when there is none. `page` may be NULL. */
const struct cw_page_value *cw_page_find(const struct cw_page *page, struct cw_span name);
enum cw_code cw_page_code(const struct cw_page *page) CW_NONNULL(1);

/* --- locale.c --- */
struct cw_locales;
void cw_locales_free(struct cw_locales *locales);
enum cw_code cw_locales_load(const char *dir, struct cw_locales **ret_locales, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
size_t cw_locales_count(const struct cw_locales *locales) CW_NONNULL(1);
const char *cw_locales_tag(const struct cw_locales *locales, size_t at) CW_NONNULL(1) CW_RETURNS_NONNULL;
const char *cw_locales_name(const struct cw_locales *locales, size_t at) CW_NONNULL(1) CW_RETURNS_NONNULL;
const char *cw_locales_dir(const struct cw_locales *locales, size_t at) CW_NONNULL(1) CW_RETURNS_NONNULL;
/* The number of a language; 0 ("en") for one that we have not. */
size_t cw_locales_find(const struct cw_locales *locales, const char *tag) CW_NONNULL(1, 2);
/* The number of a key; false when it has none. */
bool cw_locales_key(const struct cw_locales *locales, struct cw_span key, size_t *ret_index) CW_NONNULL(1, 3);
/* One text, with its {places} filled from `values`; plain, not escaped. */
enum cw_code cw_locales_fill(const struct cw_locales *locales, size_t language, size_t key, const struct cw_page *values,
                             struct cw_str *out) CW_NONNULL(1, 5);

/* --- template_parse.c --- */
struct cw_templates {
    struct cw_template *items;
    size_t count;
    struct cw_locales *locales;
};
struct cw_template *cw_templates_find(const struct cw_templates *templates, struct cw_span name) CW_NONNULL(1);
/* Fills template->ops from its source; includes come from `templates`. CW_E_SYNTAX, CW_E_NOT_FOUND, CW_E_OOM; err names file and line. */
enum cw_code cw_template_parse(const struct cw_templates *templates, struct cw_template *template, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

#endif
