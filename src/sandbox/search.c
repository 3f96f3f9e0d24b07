/* SPDX-License-Identifier: Apache-2.0 */
/* Searching: filters in a row, one walk over the resources of the type, entries pasted as they are. */
#include "config.h"
#include "sandbox/search.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "sandbox/match.h"
#include "sandbox/scope.h"
#include "sandbox/walk.h"

#define NEXT_NUMBERS_MAX 100000000u

static enum cw_code wrong(struct cw_err *err, enum cw_code code, const char *text)
{
    return cw_err_set(err, code, "sandbox.search", "%s", text);
}

/* "Patient/x", ".../Patient/x" or "x". */
static struct cw_span bare_id(struct cw_span value)
{
    for (size_t i = value.len; i-- > 0;) {
        if (value.ptr[i] == '/') {
            return cw_span_from(value, i + 1);
        }
    }
    return value;
}

static bool names_patient(struct cw_span name)
{
    static const char *const names[] = { "patient", "subject", "beneficiary" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_span_eq_cstr(name, names[i])) {
            return true;
        }
    }
    return false;
}

static enum cw_code add_filter(struct cw_sbx_search *search, struct cw_sbx_filter filter, struct cw_err *err)
{
    if (search->filter_count == CW_SBX_FILTERS_MAX) {
        return wrong(err, CW_E_TOO_BIG, "too many search parameters");
    }
    search->filters[search->filter_count++] = filter;
    return CW_OK;
}

static enum cw_code take_param(struct cw_sbx_search *search, struct cw_span name, struct cw_span value, struct cw_err *err)
{
    uint64_t count;
    if (cw_span_eq_cstr(name, "_count")) {
        if (!cw_span_u64(value, 1000000, &count)) {
            return wrong(err, CW_E_RANGE, "_count is not a number");
        }
        search->count = count > CW_SBX_COUNT_MAX ? CW_SBX_COUNT_MAX : (size_t)count;
        search->counted = true;
        return CW_OK;
    }
    if (cw_span_eq_cstr(name, "startIndex")) {
        if (!cw_span_u64(value, NEXT_NUMBERS_MAX, &count)) {
            return wrong(err, CW_E_RANGE, "startIndex is not a number");
        }
        search->offset = (size_t)count;
        return CW_OK;
    }
    if (cw_span_eq_cstr(name, "_id")) {
        return add_filter(search, (struct cw_sbx_filter){ .how = CW_SBX_BY_ID, .value = value }, err);
    }
    bool updated = cw_span_eq_cstr(name, "_lastUpdated") && (search->type->flags & CW_SBX_LAST_UPDATED) != 0;
    const struct cw_sbx_param *param = updated ? NULL : cw_sbx_param_find(search->type, name);
    if (!updated && param == NULL) {
        return CW_OK;
    }
    if ((updated || param->kind == CW_SBX_DATE) && !cw_sbx_date_valid(value)) {
        return wrong(err, CW_E_RANGE, "a date parameter is not a date");
    }
    return add_filter(search, (struct cw_sbx_filter){ .how = updated ? CW_SBX_BY_UPDATED : CW_SBX_BY_PARAM, .param = param,
                                                      .value = value }, err);
}

void cw_sbx_search_ignore_updated(struct cw_sbx_search *search)
{
    size_t kept = 0;
    for (size_t i = 0; i < search->filter_count; i++) {
        if (search->filters[i].how != CW_SBX_BY_UPDATED) {
            search->filters[kept++] = search->filters[i];
        }
    }
    search->filter_count = kept;
}

enum cw_code cw_sbx_search_parse(const struct cw_sbx_type *type, struct cw_span query, struct cw_span patient,
                                 struct cw_arena *arena, struct cw_sbx_search *ret_search, struct cw_err *err)
{
    struct cw_sbx_params params;
    struct cw_sbx_search search = { .type = type, .query = query, .count = CW_SBX_COUNT_DEFAULT };
    enum cw_code rc = cw_sbx_params_parse(query, arena, &params);
    if (rc != CW_OK) {
        return wrong(err, rc, "the query cannot be read");
    }
    bool whose = strcmp(type->name, "Patient") == 0 || cw_sbx_param(&params, "_id").ptr != NULL;
    for (size_t i = 0; i < params.count; i++) {
        if (names_patient(params.pairs[i].name)) {
            if (!cw_span_eq(bare_id(params.pairs[i].value), patient)) {
                return wrong(err, CW_E_DENIED, "the token is for another patient");
            }
            whose = true;
            continue;
        }
        rc = take_param(&search, params.pairs[i].name, params.pairs[i].value, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    if (!whose) {
        return wrong(err, CW_E_MISSING, "a search needs patient or _id");
    }
    *ret_search = search;
    return CW_OK;
}

/* The text behind a next link: "page.offset.Type?query". */
enum cw_code cw_sbx_search_resume(struct cw_span token, struct cw_span patient, struct cw_arena *arena,
                                  struct cw_sbx_search *ret_search, struct cw_err *err)
{
    CW_AUTO_STR plain;
    struct cw_span number, name;
    uint64_t page, offset;
    cw_str_init(&plain, CW_QUERY_MAX);
    if (cw_base64url_decode(token, &plain) != CW_OK) {
        return wrong(err, CW_E_SYNTAX, "not a page of ours");
    }
    struct cw_span rest = cw_arena_span(arena, cw_str_span(&plain));
    if (!cw_span_cut(&rest, '.', &number) || !cw_span_u64(number, NEXT_NUMBERS_MAX, &page) ||
        !cw_span_cut(&rest, '.', &number) || !cw_span_u64(number, NEXT_NUMBERS_MAX, &offset) || !cw_span_cut(&rest, '?', &name)) {
        return wrong(err, CW_E_SYNTAX, "not a page of ours");
    }
    const struct cw_sbx_type *type = cw_sbx_type_find(name);
    if (type == NULL) {
        return wrong(err, CW_E_SYNTAX, "not a page of ours");
    }
    enum cw_code rc = cw_sbx_search_parse(type, rest, patient, arena, ret_search, err);
    ret_search->page = (unsigned)page;
    ret_search->offset = (size_t)offset;
    return rc;
}

/* --- one page --- */

static bool id_is_listed(struct cw_span id, struct cw_span list)
{
    struct cw_span one;
    bool more;
    do {
        more = cw_span_cut(&list, ',', &one);
        if (cw_span_eq(id, one)) {
            return true;
        }
    } while (more);
    return false;
}

static bool fits(const struct cw_sbx_search *search, const struct cw_sbx_resource *resource)
{
    for (size_t i = 0; i < search->filter_count; i++) {
        const struct cw_sbx_filter *f = &search->filters[i];
        bool ok = false;
        switch (f->how) {
        case CW_SBX_BY_ID:
            ok = id_is_listed(resource->id, f->value);
            break;
        case CW_SBX_BY_UPDATED:
            ok = resource->updated_us != CW_SBX_NO_TIME &&
                 cw_sbx_date_fits((struct cw_sbx_range){ resource->updated_us, resource->updated_us + CW_SECOND_US / 1000 }, f->value);
            break;
        case CW_SBX_BY_PARAM:
            ok = cw_sbx_match(resource, f->param, f->value);
            break;
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void add_entry(const struct cw_sbx_page *page, const struct cw_sbx_resource *resource, bool first, struct cw_str *out)
{
    cw_str_add_cstr(out, first ? "{\"fullUrl\":\"" : ",{\"fullUrl\":\"");
    cw_str_add_span(out, page->base);
    cw_str_addf(out, "/%s/", resource->type->name);
    cw_str_add_span(out, resource->id);
    cw_str_add_cstr(out, "\",\"resource\":");
    cw_str_add_span(out, resource->bytes);
    cw_str_add_cstr(out, ",\"search\":{\"mode\":\"match\"}}");
}

static void add_page_url(const struct cw_sbx_search *search, struct cw_span base, struct cw_str *out)
{
    CW_AUTO_STR plain;
    cw_str_init(&plain, CW_QUERY_MAX);
    cw_str_addf(&plain, "%u.%zu.%s?", search->page, search->offset, search->type->name);
    cw_str_add_span(&plain, search->query);
    cw_str_add_span(out, base);
    cw_str_add_cstr(out, "?_getpages=");
    cw_base64url_encode(cw_str_span(&plain), out);
}

static void add_self_url(const struct cw_sbx_search *search, const struct cw_sbx_page *page, struct cw_str *out)
{
    if (search->page > 0) {
        add_page_url(search, page->base, out);
        return;
    }
    cw_str_add_span(out, page->base);
    cw_str_addf(out, "/%s?", search->type->name);
    cw_walk_escape(search->query, out);
}

static bool plays(const struct cw_sbx_page *page, enum cw_sbx_quirk quirk)
{
    return page->as != NULL && cw_sbx_personality_has(page->as, quirk);
}

/* "https://host" of the base, and how long that is. */
static size_t origin_length(struct cw_span base)
{
    size_t slashes = 0, at = 0;
    while (at < base.len && (slashes += base.ptr[at] == '/') < 3) {
        at++;
    }
    return at;
}

/* {base}/Type?…&startIndex=10 */
static void add_index_url(const struct cw_sbx_search *next, const struct cw_sbx_page *page, struct cw_str *out)
{
    struct cw_span query = next->query, one;
    cw_str_add_span(out, page->base);
    cw_str_addf(out, "/%s?", next->type->name);
    bool more;
    do {
        more = cw_span_cut(&query, '&', &one);
        if (!cw_span_starts(one, CW_SPAN("startIndex="))) {
            cw_walk_escape(one, out);
            cw_str_add_char(out, '&');
        }
    } while (more);
    cw_str_addf(out, "startIndex=%zu", next->offset);
}

/* The next link as the personality writes it; `first` is whether this page is at a type and not at the base. */
static void add_next_url(const struct cw_sbx_search *next, const struct cw_sbx_page *page, bool first, struct cw_str *out)
{
    size_t origin = origin_length(page->base);
    struct cw_span at = page->base;
    if (cw_sbx_hit(page->faults, CW_SBX_OFF_ORIGIN)) {
        at = CW_SPAN("https://elsewhere.invalid/pages");
    } else if (plays(page, CW_SBX_QUIRK_COUNT_50)) {
        add_index_url(next, page, out);
        return;
    } else if (plays(page, CW_SBX_QUIRK_LINKS_RELATIVE)) {
        at = first ? CW_SPAN("../fhir") : CW_SPAN("fhir");
    } else if (plays(page, CW_SBX_QUIRK_LINKS_ROOT_RELATIVE)) {
        at = cw_span_from(page->base, origin);
    } else if (plays(page, CW_SBX_QUIRK_LINKS_INSIDE)) {
        at = CW_SPAN("http://app-7.inside:8080/fhir");
    } else if (plays(page, CW_SBX_QUIRK_LINKS_AT_ROOT)) {
        at = cw_span_upto(page->base, origin + 1);
    }
    add_page_url(next, at, out);
}

/* Where the next page starts; false when there is none. `past` is the place behind this page, `total` that of the end. */
static bool next_place(const struct cw_sbx_search *search, const struct cw_sbx_faults *faults, size_t past, size_t total,
                       struct cw_sbx_search *ret_next)
{
    *ret_next = *search;
    ret_next->page++;
    ret_next->offset = past;
    if (cw_sbx_hit(faults, CW_SBX_EMPTY_PAGE) && search->page == 0) {
        ret_next->offset = 0;
        return true;
    }
    if (cw_sbx_hit(faults, CW_SBX_ENDLESS)) {
        ret_next->offset = past < total ? past : 0;
        return true;
    }
    if (cw_sbx_hit(faults, CW_SBX_DUPLICATES) && past < total && past > search->offset + 1) {
        ret_next->offset = past - 1;
    }
    return past < total;
}

static void add_links(const struct cw_sbx_search *search, const struct cw_sbx_page *page, size_t past, size_t total,
                      struct cw_str *out)
{
    struct cw_sbx_search next;
    cw_str_add_cstr(out, ",\"link\":[{\"relation\":\"self\",\"url\":\"");
    add_self_url(search, page, out);
    cw_str_add_cstr(out, "\"}");
    if (plays(page, CW_SBX_QUIRK_LINKS_PREV) && search->page > 0) {
        struct cw_sbx_search before = *search;
        before.page--;
        before.offset = search->offset > search->count ? search->offset - search->count : 0;
        cw_str_add_cstr(out, ",{\"relation\":\"prev\",\"url\":\"");
        add_page_url(&before, page->base, out);
        cw_str_add_cstr(out, "\"}");
    }
    if (cw_sbx_hit(page->faults, CW_SBX_LOOP) || plays(page, CW_SBX_QUIRK_LINKS_SELF)) {
        cw_str_add_cstr(out, ",{\"relation\":\"next\",\"url\":\"");
        add_self_url(search, page, out);
        cw_str_add_cstr(out, "\"}");
    } else if (next_place(search, page->faults, past, total, &next)) {
        cw_str_add_cstr(out, ",{\"relation\":\"next\",\"url\":\"");
        add_next_url(&next, page, search->page == 0, out);
        cw_str_add_cstr(out, "\"}");
    }
    cw_str_add_char(out, ']');
}

/* What Epic adds to nearly every answer for a patient. */
static void add_warning(const struct cw_sbx_page *page, bool found, bool first, struct cw_str *out)
{
    if (plays(page, CW_SBX_QUIRK_WARNINGS)) {
        cw_str_addf(out, "%s{\"resource\":{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\",\"code\":"
                         "\"processing\",\"details\":{\"coding\":[{\"code\":\"%s\"}]}}]},\"search\":{\"mode\":\"outcome\"}}",
                    first ? "" : ",", found ? "4119" : "4101");
    }
}

/* The last one of the page before once more, as it was a long time ago. */
static void add_old_version(const struct cw_sbx_page *page, const struct cw_sbx_resource *resource, struct cw_str *out)
{
    struct cw_span mark = CW_SPAN("\"lastUpdated\":\""), bytes = resource->bytes;
    size_t at = cw_span_find_span(bytes, mark);
    if (!plays(page, CW_SBX_QUIRK_VERSIONS) || at == bytes.len) {
        return;
    }
    CW_AUTO_STR old;
    cw_str_init(&old, CW_RESPONSE_MAX);
    cw_str_add_cstr(&old, "{\"language\":\"tlh\",");
    cw_str_add_span(&old, cw_span_from(cw_span_upto(bytes, at + mark.len), 1));
    cw_str_add_cstr(&old, "2001-01-01T00:00:00Z");
    struct cw_span rest = cw_span_from(bytes, at + mark.len);
    cw_str_add_span(&old, cw_span_from(rest, cw_span_find(rest, '"')));
    struct cw_sbx_resource before = *resource;
    before.bytes = cw_str_span(&old);
    cw_str_add_char(out, ',');
    add_entry(page, &before, true, out);
}

/* Another patient's, as a server that mixes up its charts gives it away. */
static void add_stranger(const struct cw_sbx_search *search, const struct cw_sbx_page *page, struct cw_str *out)
{
    if (cw_sbx_hit(page->faults, CW_SBX_WRONG_PATIENT)) {
        cw_str_addf(out, "%s{\"resource\":{\"resourceType\":\"%s\",\"id\":\"stranger-%s\",\"subject\":{\"reference\":\"Patient/stranger\"}}}",
                    out->len > 0 ? "," : "", search->type->name, search->type->name);
    }
}

size_t cw_sbx_search_total(const struct cw_sbx_search *search, const struct cw_sbx_page *page)
{
    size_t count, total = 0;
    const struct cw_sbx_resource *all = cw_sbx_chart_of_type(page->chart, search->type, &count);
    for (size_t i = 0; i < count; i++) {
        total += fits(search, &all[i]) && cw_sbx_scope_allows(page->scopes, &all[i], CW_SBX_SEARCH);
    }
    return total;
}

enum cw_code cw_sbx_search_page(const struct cw_sbx_search *search, const struct cw_sbx_page *page, struct cw_str *out)
{
    size_t count, total = 0, put = 0;
    const struct cw_sbx_resource *before = NULL;
    const struct cw_sbx_resource *all = cw_sbx_chart_of_type(page->chart, search->type, &count);
    bool empty = search->count == 0 || (search->page == 0 && cw_sbx_hit(page->faults, CW_SBX_EMPTY_PAGE));
    CW_AUTO_STR entries;
    cw_str_init(&entries, CW_RESPONSE_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!fits(search, &all[i]) || !cw_sbx_scope_allows(page->scopes, &all[i], CW_SBX_SEARCH)) {
            continue;
        }
        if (!empty && total >= search->offset && total < search->offset + search->count) {
            add_entry(page, &all[i], put++ == 0, &entries);
            if (cw_sbx_hit(page->faults, CW_SBX_DUPLICATES) && put == 1) {
                add_entry(page, &all[i], false, &entries);
            }
        }
        before = total + 1 == search->offset ? &all[i] : before;
        total++;
    }
    if (before != NULL && put > 0) {
        add_old_version(page, before, &entries);
    }
    add_warning(page, put > 0, put == 0, &entries);
    add_stranger(search, page, &entries);
    if (cw_str_code(&entries) != CW_OK) {
        return entries.code;
    }
    cw_str_addf(out, "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":%zu", total);
    add_links(search, page, search->count == 0 ? total : search->offset + put, total, out);
    if (entries.len > 0) {
        cw_str_add_cstr(out, ",\"entry\":[");
        cw_str_add_span(out, cw_str_span(&entries));
        cw_str_add_char(out, ']');
    }
    cw_str_add_char(out, '}');
    return cw_str_code(out);
}
