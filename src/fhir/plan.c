/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan is made type by type: the searches of a type come from the profile, else from granular scopes, else from the table; then what the
 * server offers and what was granted decide whether they are asked.
 */
#include "config.h"

#include "fhir/plan.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "fhir/plan_table.h"
#include "fhir/slice.h"
#include "smart/scope.h"

#define WHERE "plan"
#define CW_PARAMETER_MAX 64u
#define COUNT_UNTOLD 10u /* asked for where a server's own page is too big */

struct maker {
    const struct cw_plan_input *input;
    const json_t *searches;   /* the profile's, or NULL */
    bool revinclude;
    struct cw_arena *arena;
    struct cw_plan *plan;
    struct cw_err *err;
};

/* One search on its way into the plan. */
struct candidate {
    const char *type;
    const char *query;
    const char *param;    /* NULL: patient */
    unsigned flags;
    const char *skip;
    int fallback_of;
};

/* --- what is granted --- */

struct grant {
    bool read;            /* without a filter */
    bool search;
    bool filtered;        /* searching only by the queries of granular scopes */
};

/* Does one scope concern the type, for the patient's own data? */
static bool concerns(const struct cw_scope *scope, struct cw_span type)
{
    return scope->context != CW_SCOPE_SYSTEM && (cw_span_eq(scope->type, CW_SPAN("*")) || cw_span_eq(scope->type, type));
}

static struct grant grant_of(struct cw_span granted, struct cw_span type)
{
    struct grant grant = { .read = false };
    struct cw_span word;
    while (cw_span_word(&granted, &word)) {
        struct cw_scope scope;
        if (!cw_scope_parse(word, &scope) || !concerns(&scope, type)) {
            continue;
        }
        bool whole = scope.query.ptr == NULL;
        grant.read = grant.read || (whole && (scope.permissions & CW_PERM_READ) != 0);
        grant.search = grant.search || (whole && (scope.permissions & CW_PERM_SEARCH) != 0);
        grant.filtered = grant.filtered || (!whole && (scope.permissions & CW_PERM_SEARCH) != 0);
    }
    return grant;
}

bool cw_plan_may_read(struct cw_span granted, struct cw_span type)
{
    struct cw_span word;
    while (cw_span_word(&granted, &word)) {
        struct cw_scope scope;
        if (cw_scope_parse(word, &scope) && concerns(&scope, type) && (scope.permissions & CW_PERM_READ) != 0) {
            return true;
        }
    }
    return false;
}

/* --- what is offered --- */

static const struct cw_capability_type *offered_type(const struct maker *m, struct cw_span type)
{
    return m->input->capability == NULL ? NULL : cw_capability_find(m->input->capability, type);
}

/* NULL when the search may be asked. A listed type without interactions or parameters told is tried. */
static const char *why_not_offered(const struct maker *m, const struct candidate *c)
{
    if (m->input->capability == NULL || m->input->capability->count == 0) {
        return (c->flags & ROW_ADVERTISED) != 0 ? CW_PLAN_SKIP_NOT_OFFERED : NULL;
    }
    const struct cw_capability_type *type = offered_type(m, cw_span_cstr(c->type));
    if (type == NULL || (type->interactions_told && (type->can & CW_CAN_SEARCH) == 0)) {
        return CW_PLAN_SKIP_NOT_OFFERED;
    }
    const char *param = c->param == NULL ? "patient" : c->param;
    bool listed = cw_capability_has_param(type, param);
    if (listed || (type->param_count == 0 && (c->flags & ROW_ADVERTISED) == 0)) {
        return NULL;
    }
    return CW_PLAN_SKIP_NO_PATIENT;
}

/* --- putting items in --- */

static struct cw_plan_item *add_item(struct maker *m, enum cw_plan_kind kind, const char *type, const char *skip)
{
    if (m->plan->count == CW_PLAN_ITEMS_MAX) {
        (void)cw_err_set(m->err, CW_E_TOO_BIG, WHERE, "more than %u searches", CW_PLAN_ITEMS_MAX);
        return NULL;
    }
    struct cw_plan_item *item = &m->plan->items[m->plan->count++];
    *item = (struct cw_plan_item){
        .kind = kind, .type = type, .variant = "base", .param = "patient", .query = "", .skip = skip, .fallback_of = -1,
    };
    return item;
}

/* The query as sent: what the search says, then what the server offers to bring along, then the page size. */
static char *whole_query(const struct maker *m, const struct candidate *c)
{
    const struct cw_capability_type *type = offered_type(m, cw_span_cstr(c->type));
    bool include = (c->flags & ROW_MEDICATION) != 0 && type != NULL && cw_capability_includes(type, "MedicationRequest:medication");
    bool claims = type != NULL && strcmp(c->type, "ExplanationOfBenefit") == 0 && cw_capability_includes(type, "ExplanationOfBenefit:*");
    bool revinclude = m->revinclude && type != NULL && cw_capability_revincludes(type, "Provenance:target");
    struct cw_str query;
    cw_str_init(&query, CW_URL_MAX);
    cw_str_add_cstr(&query, c->query);
    if (include) {
        cw_str_addf(&query, "%s_include=MedicationRequest:medication", query.len > 0 ? "&" : "");
    }
    if (claims) { /* CARIN Blue Button: payer, provider and coverage come along */
        cw_str_addf(&query, "%s_include=ExplanationOfBenefit:*", query.len > 0 ? "&" : "");
    }
    if (revinclude) {
        cw_str_addf(&query, "%s_revinclude=Provenance:target", query.len > 0 ? "&" : "");
    }
    if (m->input->extra_query != NULL && m->input->extra_query[0] != '\0') {
        cw_str_addf(&query, "%s%s", query.len > 0 ? "&" : "", m->input->extra_query);
    }
    if (m->input->count > 0) {
        cw_str_addf(&query, "%s_count=%d", query.len > 0 ? "&" : "", m->input->count);
    }
    char *text = cw_str_code(&query) == CW_OK ? cw_arena_text(m->arena, cw_str_span(&query)) : NULL;
    if (text == NULL) {
        (void)cw_err_set(m->err, cw_str_code(&query) == CW_OK ? CW_E_OOM : cw_str_code(&query), WHERE, "a query does not fit");
    }
    cw_str_release(&query);
    return text;
}

static struct cw_plan_item *add_search(struct maker *m, const struct candidate *c)
{
    struct cw_plan_item *item = add_item(m, CW_PLAN_SEARCH, c->type, c->skip);
    if (item == NULL) {
        return NULL;
    }
    item->param = c->param == NULL ? "patient" : c->param;
    item->variant = c->query[0] != '\0' ? c->query : c->param == NULL ? "base" : c->param;
    item->fallback_of = c->fallback_of;
    item->query = whole_query(m, c);
    return item->query == NULL ? NULL : item;
}

/* --- the searches of one type --- */

static enum cw_code wrong(struct maker *m)
{
    return cw_err_set(m->err, CW_E_KIND, WHERE, "pull.searches: a list of queries, {\"add\": query} or {\"each\": {param: [value]}}");
}

/* One search of the profile: `name=value`, or the query `value` when name is NULL. */
static enum cw_code add_profile_search(struct maker *m, const char *type, const char *name, const json_t *value)
{
    if (!json_is_string(value)) {
        return wrong(m);
    }
    struct candidate c = { .type = type, .flags = ROW_MEDICATION, .fallback_of = -1 };
    c.query = cw_arena_printf(m->arena, "%s%s%s", name == NULL ? "" : name, name == NULL ? "" : "=", json_string_value(value));
    if (c.query == NULL) {
        return cw_err_set(m->err, CW_E_OOM, WHERE, "no memory for a search");
    }
    return add_search(m, &c) == NULL ? m->err->code : CW_OK;
}

static enum cw_code add_profile_list(struct maker *m, const char *type, const char *name, const json_t *list)
{
    if (!json_is_array(list)) {
        return wrong(m);
    }
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < json_array_size(list); i++) {
        rc = add_profile_search(m, type, name, json_array_get(list, i));
    }
    return rc;
}

static enum cw_code from_profile(struct maker *m, const char *type, const json_t *rule)
{
    if (json_is_array(rule)) {
        return add_profile_list(m, type, NULL, rule);
    }
    const json_t *add = json_object_get(rule, "add");
    if (add != NULL) {
        return add_profile_search(m, type, NULL, add);
    }
    json_t *each = json_object_get(rule, "each");
    if (!json_is_object(each)) {
        return wrong(m);
    }
    enum cw_code rc = CW_OK;
    for (void *at = json_object_iter(each); rc == CW_OK && at != NULL; at = json_object_iter_next(each, at)) {
        rc = add_profile_list(m, type, json_object_iter_key(at), json_object_iter_value(at));
    }
    return rc;
}

/* The profile names the types that this vendor has, and this is none of them. */
static bool is_left_out(const struct maker *m, const char *type)
{
    for (size_t i = 0; i < m->input->type_count; i++) {
        if (strcmp(m->input->types[i], type) == 0) {
            return false;
        }
    }
    return m->input->types != NULL;
}

static bool vendor_skips(const struct maker *m, const char *type)
{
    if (is_left_out(m, type)) {
        return true;
    }
    size_t index;
    const json_t *name;
    json_array_foreach(json_object_get(m->input->pull, "skip"), index, name)
    {
        if (cw_span_eq_cstr(cw_span_cstr(json_string_value(name)), type)) {
            return true;
        }
    }
    return false;
}

static enum cw_code add_skipped(struct maker *m, const char *type, const char *skip)
{
    return add_item(m, CW_PLAN_SEARCH, type, skip) == NULL ? m->err->code : CW_OK;
}

/* A scope's query as it goes into a URL: '|' and blanks percent-coded, what is coded already left alone. */
static char *scope_query(struct maker *m, struct cw_span query)
{
    struct cw_str text;
    cw_str_init(&text, CW_URL_MAX);
    for (size_t i = 0; i < query.len; i++) {
        unsigned char c = (unsigned char)query.ptr[i];
        if (c <= ' ' || c > '~' || strchr("|\"<>\\^`{}#+", (char)c) != NULL) {
            cw_str_addf(&text, "%%%02X", c);
        } else {
            cw_str_add_char(&text, (char)c);
        }
    }
    char *out = cw_str_code(&text) == CW_OK ? cw_arena_text(m->arena, cw_str_span(&text)) : NULL;
    cw_str_release(&text);
    return out;
}

/* patient/Observation.rs?category=…|laboratory grants that search and no other (SMART 2 granular scopes). */
static enum cw_code from_scopes(struct maker *m, const char *type)
{
    struct cw_span granted = m->input->granted;
    struct cw_span word;
    while (cw_span_word(&granted, &word)) {
        struct cw_scope scope;
        if (!cw_scope_parse(word, &scope) || !concerns(&scope, cw_span_cstr(type)) || scope.query.ptr == NULL ||
            (scope.permissions & CW_PERM_SEARCH) == 0) {
            continue;
        }
        struct candidate c = { .type = type, .query = scope_query(m, scope.query), .fallback_of = -1 };
        if (c.query == NULL) {
            return cw_err_set(m->err, CW_E_OOM, WHERE, "no memory for a search");
        }
        if (add_search(m, &c) == NULL) {
            return m->err->code;
        }
    }
    return CW_OK;
}

/* All rows of the type that begins at `first`; *ret_next is the row after them. */
static enum cw_code from_table(struct maker *m, size_t first, bool granted, size_t *ret_next)
{
    int leader = -1;
    bool leads = false; /* the row before the fallbacks is asked */
    size_t i = first;
    for (; i < cw_plan_row_count && strcmp(cw_plan_rows[i].type, cw_plan_rows[first].type) == 0; i++) {
        const struct search_row *row = &cw_plan_rows[i];
        struct candidate c = {
            .type = row->type, .query = row->query, .param = row->param, .flags = row->flags, .fallback_of = -1,
        };
        const char *not_offered = why_not_offered(m, &c);
        c.skip = granted ? not_offered : CW_PLAN_SKIP_SCOPE;
        bool second = (row->flags & ROW_FALLBACK) != 0;
        if (second && (c.skip != NULL || !granted)) {
            continue; /* said once a type is enough */
        }
        c.fallback_of = second && leads ? leader : -1;
        if (add_search(m, &c) == NULL) {
            return m->err->code;
        }
        if (!second) {
            leader = (int)m->plan->count - 1;
            leads = c.skip == NULL;
        }
    }
    *ret_next = i;
    return CW_OK;
}

static size_t rows_end(size_t first)
{
    size_t i = first;
    while (i < cw_plan_row_count && strcmp(cw_plan_rows[i].type, cw_plan_rows[first].type) == 0) {
        i++;
    }
    return i;
}

static enum cw_code plan_table_type(struct maker *m, size_t first, size_t *ret_next)
{
    const char *type = cw_plan_rows[first].type;
    struct grant grant = grant_of(m->input->granted, cw_span_cstr(type));
    const json_t *rule = json_object_get(m->searches, type);
    *ret_next = rows_end(first);
    if (vendor_skips(m, type)) {
        return add_skipped(m, type, CW_PLAN_SKIP_VENDOR);
    }
    if (rule != NULL && grant.search) {
        return from_profile(m, type, rule);
    }
    struct candidate plain = { .type = type, .query = "", .flags = cw_plan_rows[first].flags };
    if (!grant.search && grant.filtered && why_not_offered(m, &plain) == NULL) {
        return from_scopes(m, type);
    }
    return from_table(m, first, grant.search, ret_next);
}

static bool in_table(const char *type)
{
    for (size_t i = 0; i < cw_plan_row_count; i++) {
        if (strcmp(cw_plan_rows[i].type, type) == 0) {
            return true;
        }
    }
    return false;
}

/* Types that only the profile knows. */
static enum cw_code plan_profile_types(struct maker *m)
{
    void *at;
    for (at = json_object_iter((json_t *)(uintptr_t)m->searches); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)m->searches, at)) {
        const char *name = json_object_iter_key(at);
        if (in_table(name)) {
            continue;
        }
        const char *type = cw_arena_text(m->arena, cw_span_cstr(name));
        if (type == NULL) {
            return cw_err_set(m->err, CW_E_OOM, WHERE, "no memory for a type");
        }
        if (!cw_fhir_type_good(cw_span_cstr(type))) {
            return cw_err_set(m->err, CW_E_KIND, WHERE, "pull.searches names what is no type");
        }
        struct grant grant = grant_of(m->input->granted, cw_span_cstr(type));
        enum cw_code rc = grant.search ? from_profile(m, type, json_object_iter_value(at))
                                       : add_skipped(m, type, CW_PLAN_SKIP_SCOPE);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

/* The Patient is read, never searched (Epic refuses Patient?patient=), first, and even where the statement forgets to list it. */
static enum cw_code plan_patient(struct maker *m)
{
    struct grant grant = grant_of(m->input->granted, CW_SPAN("Patient"));
    const char *skip = grant.read ? NULL : CW_PLAN_SKIP_SCOPE;
    if (add_item(m, CW_PLAN_READ, "Patient", skip) == NULL) {
        return m->err->code;
    }
    if (m->input->everything && grant.read) {
        struct cw_plan_item *item = add_item(m, CW_PLAN_EVERYTHING, "Patient", NULL);
        if (item == NULL) {
            return m->err->code;
        }
        item->variant = "$everything";
    }
    return CW_OK;
}

static enum cw_code open_profile(struct maker *m)
{
    const json_t *revinclude = json_object_get(m->input->pull, "revinclude");
    m->searches = json_object_get(m->input->pull, "searches");
    m->revinclude = revinclude == NULL || json_is_true(revinclude);
    if (m->searches != NULL && !json_is_object(m->searches)) {
        return cw_err_set(m->err, CW_E_KIND, WHERE, "pull.searches must be an object");
    }
    return CW_OK;
}

enum cw_code cw_plan_make(const struct cw_plan_input *input, struct cw_arena *arena, struct cw_plan *ret, struct cw_err *err)
{
    struct cw_err own;
    struct cw_plan plan = { .items = cw_arena_array(arena, CW_PLAN_ITEMS_MAX, sizeof(*plan.items)) };
    struct maker m = { .input = input, .arena = arena, .plan = &plan, .err = err == NULL ? &own : err };
    if (plan.items == NULL) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory for a plan");
    }
    enum cw_code rc = open_profile(&m);
    if (rc == CW_OK) {
        rc = plan_patient(&m);
    }
    for (size_t i = 0; rc == CW_OK && i < cw_plan_row_count;) {
        rc = plan_table_type(&m, i, &i);
    }
    if (rc == CW_OK) {
        rc = plan_profile_types(&m);
    }
    if (rc == CW_OK) {
        *ret = plan;
    }
    return rc;
}

/* --- forms --- */

static const char *const kind_names[] = {
    [CW_PLAN_READ] = "read", [CW_PLAN_SEARCH] = "search", [CW_PLAN_EVERYTHING] = "everything",
};

enum cw_code cw_plan_emit(const struct cw_plan *plan, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < plan->count; i++) {
        const struct cw_plan_item *item = &plan->items[i];
        cw_jsonw_open_object(&w);
        cw_jsonw_key_cstr(&w, "kind", kind_names[item->kind]);
        cw_jsonw_key_cstr(&w, "type", item->type);
        cw_jsonw_key_cstr(&w, "variant", item->variant);
        cw_jsonw_key_cstr(&w, "query", item->query);
        if (item->filter != NULL) {
            cw_jsonw_key_cstr(&w, "filter", item->filter);
        }
        if (item->skip != NULL) {
            cw_jsonw_key_cstr(&w, "skip", item->skip);
        }
        if (item->fallback_of >= 0) {
            cw_jsonw_key_int(&w, "fallback_of", item->fallback_of);
        }
        cw_jsonw_close_object(&w);
    }
    cw_jsonw_close_array(&w);
    return cw_jsonw_end(&w);
}

enum cw_code cw_plan_url(const struct cw_plan_item *item, struct cw_span base, struct cw_span patient_id, struct cw_str *out)
{
    while (base.len > 0 && base.ptr[base.len - 1] == '/') {
        base.len--;
    }
    cw_str_add_span(out, base);
    if (item->kind == CW_PLAN_SEARCH) {
        cw_str_addf(out, "/%s?%s=", item->type, item->param);
        cw_percent_encode(patient_id, out);
        cw_str_addf(out, "%s%s", item->query[0] == '\0' ? "" : "&", item->query);
        cw_str_addf(out, "%s%s", item->filter == NULL ? "" : "&", item->filter == NULL ? "" : item->filter);
    } else {
        cw_str_add_cstr(out, "/Patient/");
        cw_percent_encode(patient_id, out);
        cw_str_add_cstr(out, item->kind == CW_PLAN_EVERYTHING ? "/$everything" : "");
    }
    return cw_str_code(out);
}

/* Is this parameter one of the names (NULL-ended)? */
static bool named(struct cw_span parameter, const char *const *names)
{
    struct cw_span name = cw_span_upto(parameter, cw_span_find(parameter, '='));
    for (; *names != NULL; names++) {
        if (cw_span_eq_cstr(name, *names)) {
            return true;
        }
    }
    return false;
}

void cw_plan_unfiltered(struct cw_span query, struct cw_str *out)
{
    static const char *const names[] = { "_lastUpdated", NULL };
    const char *between = "";
    for (bool more = query.len > 0; more;) {
        struct cw_span parameter;
        more = cw_span_cut(&query, '&', &parameter);
        if (!named(parameter, names)) {
            cw_str_add_cstr(out, between);
            cw_str_add_span(out, parameter);
            between = "&";
        }
    }
}

/* Appends the parameters but those named; true when one was left out. */
static bool without(struct cw_span query, const char *const *names, struct cw_str *out)
{
    bool dropped = false;
    bool first = true;
    struct cw_span parameter;
    bool more;
    do {
        more = cw_span_cut(&query, '&', &parameter);
        if (named(parameter, names)) {
            dropped = true;
        } else if (parameter.len > 0) {
            cw_str_add_char(out, first ? '?' : '&');
            cw_str_add_span(out, parameter);
            first = false;
        }
    } while (more);
    return dropped;
}

/* Appends `url` without the parameters named; false, with nothing appended, when it has none of them. */
static bool dropped(struct cw_span url, const char *const *names, struct cw_str *out)
{
    size_t mark = cw_span_find(url, '?');
    if (mark == url.len) {
        return false;
    }
    struct cw_str relaxed;
    cw_str_init(&relaxed, CW_URL_MAX);
    cw_str_add_span(&relaxed, cw_span_upto(url, mark));
    bool done = without(cw_span_from(url, mark + 1), names, &relaxed) && cw_str_code(&relaxed) == CW_OK;
    done = done && cw_str_add_span(out, cw_str_span(&relaxed)) == CW_OK;
    cw_str_release(&relaxed);
    return done;
}

static const char *const includes[] = { "_include", "_revinclude", NULL };

bool cw_plan_relax(struct cw_span url, struct cw_str *out)
{
    static const char *const count[] = { "_count", NULL };
    static const char *const status[] = { "status", NULL };
    return dropped(url, includes, out) || dropped(url, count, out) || dropped(url, status, out);
}

bool cw_plan_drop_includes(struct cw_span url, struct cw_str *out)
{
    return dropped(url, includes, out);
}

bool cw_plan_drop(struct cw_span url, struct cw_span name, struct cw_str *out)
{
    char text[CW_PARAMETER_MAX + 1];
    if (name.len == 0 || name.len > CW_PARAMETER_MAX) {
        return false;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    const char *const names[] = { text, NULL };
    return dropped(url, names, out);
}

bool cw_plan_url_query(struct cw_span url, struct cw_span base, const char *type, struct cw_span *ret_param, struct cw_span *ret_query)
{
    size_t mark = cw_span_find(url, '?');
    struct cw_span path = cw_span_upto(url, mark);
    if (mark == url.len || !cw_span_starts(path, base) || path.len != base.len + 1 + strlen(type) || path.ptr[base.len] != '/' ||
        !cw_span_ends(path, cw_span_cstr(type))) {
        return false;
    }
    struct cw_span rest = cw_span_from(url, mark + 1), whose;
    (void)cw_span_cut(&rest, '&', &whose);
    *ret_param = cw_span_upto(whose, cw_span_find(whose, '='));
    *ret_query = rest;
    return true;
}

/* `url` with this _count; false when that is what it is, or it does not fit. */
static bool with_count(struct cw_span url, uint64_t wanted, struct cw_str *out)
{
    static const char *const count[] = { "_count", NULL };
    size_t mark = cw_span_find(url, '?');
    struct cw_str shrunk;
    cw_str_init(&shrunk, CW_URL_MAX);
    cw_str_add_span(&shrunk, cw_span_upto(url, mark));
    (void)without(cw_span_from(url, mark + 1), count, &shrunk);
    cw_str_addf(&shrunk, "%c_count=%u", cw_span_find(cw_str_span(&shrunk), '?') < shrunk.len ? '&' : '?', (unsigned)wanted);
    bool changed = cw_str_code(&shrunk) == CW_OK && !cw_span_eq(cw_str_span(&shrunk), url) &&
                   cw_str_add_span(out, cw_str_span(&shrunk)) == CW_OK;
    cw_str_release(&shrunk);
    return changed;
}

bool cw_plan_shrink(struct cw_span url, struct cw_str *out)
{
    return with_count(url, 1, out);
}

bool cw_plan_halve(struct cw_span url, struct cw_str *out)
{
    uint64_t now = 2 * COUNT_UNTOLD;
    struct cw_span query = cw_span_from(url, cw_span_find(url, '?') + 1), parameter;
    bool more;
    do {
        more = cw_span_cut(&query, '&', &parameter);
        if (cw_span_starts(parameter, CW_SPAN("_count=")) && !cw_span_u64(cw_span_from(parameter, 7), 100000, &now)) {
            return false;
        }
    } while (more);
    return now > 1 && with_count(url, now / 2, out);
}

const char *const *cw_plan_types(size_t *ret_count)
{
    static const char *const types[] = {
        "Patient",         "Coverage",           "AllergyIntolerance",   "Condition",     "MedicationRequest", "Immunization",
        "DocumentReference", "Observation",      "DiagnosticReport",     "Encounter",     "Procedure",         "CarePlan",
        "CareTeam",        "Goal",               "Device",               "ExplanationOfBenefit", "FamilyMemberHistory",
        "MedicationDispense", "QuestionnaireResponse", "RelatedPerson",  "ServiceRequest", "Specimen",
        /* read by reference or with others */
        "Binary",          "Location",           "Media",                "Medication",    "Organization",      "Practitioner",
        "PractitionerRole", "Provenance",
    };
    *ret_count = CW_ARRAY_LEN(types);
    return types;
}
