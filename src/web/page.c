/* SPDX-License-Identifier: Apache-2.0 */
/* The values of one page: small lists in an arena. A fault of memory is kept at the page and told when it is rendered. */
#include "config.h"

#include "web/template_int.h"

static struct cw_page *root_of(struct cw_page *page)
{
    while (page->parent != NULL) {
        page = page->parent;
    }
    return page;
}

struct cw_page *cw_page_new(struct cw_arena *arena)
{
    struct cw_page *page = cw_arena_alloc(arena, sizeof *page);
    if (page != NULL) {
        page->arena = arena;
    }
    return page;
}

enum cw_code cw_page_code(const struct cw_page *page)
{
    while (page->parent != NULL) {
        page = page->parent;
    }
    return page->code;
}

static struct cw_page_value *find_here(const struct cw_page *page, struct cw_span name)
{
    for (struct cw_page_value *value = page->values; value != NULL; value = value->next) {
        if (cw_span_eq_cstr(name, value->name)) {
            return value;
        }
    }
    return NULL;
}

const struct cw_page_value *cw_page_find(const struct cw_page *page, struct cw_span name)
{
    for (; page != NULL; page = page->parent) {
        const struct cw_page_value *value = find_here(page, name);
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

/* The value `name` of this very page, made if need be; NULL when memory has run out. */
static struct cw_page_value *set(struct cw_page *page, const char *name, enum cw_page_kind kind)
{
    if (page == NULL) {
        return NULL; /* an item that could not be made */
    }
    struct cw_page_value *value = find_here(page, cw_span_cstr(name));
    if (value == NULL) {
        value = cw_arena_alloc(page->arena, sizeof *value);
        if (value == NULL) {
            root_of(page)->code = CW_E_OOM;
            return NULL;
        }
        value->name = name;
        value->next = page->values;
        page->values = value;
    }
    value->kind = kind;
    return value;
}

void cw_page_text(struct cw_page *page, const char *name, struct cw_span text)
{
    struct cw_page_value *value = set(page, name, CW_PAGE_TEXT);
    if (value != NULL) {
        value->text = text;
        value->truth = text.len > 0;
    }
}

void cw_page_cstr(struct cw_page *page, const char *name, const char *text)
{
    cw_page_text(page, name, cw_span_cstr(text));
}

void cw_page_bool(struct cw_page *page, const char *name, bool truth)
{
    struct cw_page_value *value = set(page, name, CW_PAGE_BOOL);
    if (value != NULL) {
        value->truth = truth;
    }
}

void cw_page_int(struct cw_page *page, const char *name, int64_t number)
{
    struct cw_page_value *value = set(page, name, CW_PAGE_TEXT);
    char *text = value == NULL ? NULL : cw_arena_printf(page->arena, "%lld", (long long)number);
    if (text != NULL) {
        value->text = cw_span_cstr(text);
        value->truth = number != 0;
    } else if (value != NULL) {
        root_of(page)->code = CW_E_OOM;
    }
}

struct cw_span cw_page_text_of(const struct cw_page *page, const char *name)
{
    const struct cw_page_value *value = cw_page_find(page, cw_span_cstr(name));
    return value == NULL ? (struct cw_span){ NULL, 0 } : value->text;
}

struct cw_page *cw_page_item(struct cw_page *page, const char *name)
{
    struct cw_page_value *list = set(page, name, CW_PAGE_LIST);
    if (list == NULL) {
        return NULL;
    }
    struct cw_page *item = cw_page_new(page->arena);
    if (item == NULL) {
        root_of(page)->code = CW_E_OOM;
        return NULL;
    }
    item->parent = page;
    if (list->last_item == NULL) {
        list->first_item = item;
    } else {
        list->last_item->next_item = item;
    }
    list->last_item = item;
    list->truth = true;
    return item;
}
