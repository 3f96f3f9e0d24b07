/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vendor profile may say. One table gives each knob's name, kind and place; a file is walked against it, so that a misspelt
 * knob stops the start instead of being ignored, and so do knobs that make no sense together. Texts are borrowed from the parsed file.
 */
#include "config.h"

#include "smart/profile_int.h"

#include <stddef.h>

#include "smart/scope.h"

enum knob_kind { KNOB_TEXT, KNOB_URL, KNOB_QUERY, KNOB_BOOL, KNOB_INT, KNOB_CHOICE, KNOB_STATE, KNOB_AUTH, KNOB_ALG, KNOB_ACCEPT,
                 KNOB_HEADERS, KNOB_TYPES, KNOB_MATCH, KNOB_PULL, KNOB_DOC };

struct choice {
    const char *const *names;
    int count;
    int first; /* the value of the first name */
};

struct knob {
    const char *name;
    enum knob_kind kind;
    size_t at;
    int max;                     /* of an INT, least 0 */
    const struct choice *choice; /* of a CHOICE */
};

#define NAMES(...) (const char *const[]){ __VA_ARGS__ }
static const struct choice dialects = { NAMES("negotiated", "v2", "v1", "fixed", "literal"), 5, CW_SCOPE_NEGOTIATED };
static const struct choice wildcards = { NAMES("advertised", "no", "yes"), 3, -1 };
static const struct choice slashes = { NAMES("as_published", "strip", "add"), 3, CW_AUD_AS_PUBLISHED };
static const struct choice vias = { NAMES("auto", "GET", "POST"), 3, CW_VIA_AUTO };
static const struct choice beliefs = { NAMES("advertised", "no", "yes"), 3, CW_LAST_UPDATED_ADVERTISED };

#define AT(member) offsetof(struct cw_profile, member)
static const struct knob knobs[] = {
    { "doc", KNOB_DOC, 0, 0, NULL },
    { "match", KNOB_MATCH, 0, 0, NULL },
    { "scope_dialect", KNOB_CHOICE, AT(scope_dialect), 0, &dialects },
    { "scope_wildcard", KNOB_CHOICE, AT(scope_wildcard), 0, &wildcards },
    { "scope_literal", KNOB_TEXT, AT(scope_literal), 0, NULL },
    { "scope_extra", KNOB_TEXT, AT(scope_extra), 0, NULL },
    { "scope_drop", KNOB_TEXT, AT(scope_drop), 0, NULL },
    { "send_aud", KNOB_BOOL, AT(send_aud), 0, NULL },
    { "aud_slash", KNOB_CHOICE, AT(aud_slash), 0, &slashes },
    { "pkce", KNOB_BOOL, AT(pkce), 0, NULL },
    { "send_nonce", KNOB_BOOL, AT(send_nonce), 0, NULL },
    { "authorize_via", KNOB_CHOICE, AT(authorize_via), 0, &vias },
    { "strip_authorize_slash", KNOB_BOOL, AT(strip_authorize_slash), 0, NULL },
    { "state_format", KNOB_STATE, AT(state_opaque43), 0, NULL },
    { "metadata_url", KNOB_URL, AT(metadata_url), 0, NULL },
    { "auth_method", KNOB_AUTH, AT(auth_method), 0, NULL },
    { "jwt_alg", KNOB_ALG, AT(jwt_alg), 0, NULL },
    { "basic_encoded", KNOB_BOOL, AT(basic_encoded), 0, NULL },
    { "client_id_always", KNOB_BOOL, AT(client_id_always), 0, NULL },
    { "refresh_scope", KNOB_BOOL, AT(refresh_scope), 0, NULL },
    { "refresh_redirect_uri", KNOB_BOOL, AT(refresh_redirect_uri), 0, NULL },
    { "keep_alive_days", KNOB_INT, AT(keep_alive_days), 30, NULL },
    { "revoke_ends_all", KNOB_BOOL, AT(revoke_ends_all), 0, NULL },
    { "patient_claim", KNOB_TEXT, AT(patient_claim), 0, NULL },
    { "patient_userinfo", KNOB_BOOL, AT(patient_userinfo), 0, NULL },
    { "patient_search", KNOB_BOOL, AT(patient_search), 0, NULL },
    { "dynamic_registration", KNOB_BOOL, AT(dynamic_registration), 0, NULL },
    { "tenant_claim", KNOB_TEXT, AT(tenant_claim), 0, NULL },
    { "accept", KNOB_ACCEPT, AT(accept), 0, NULL },
    { "extra_query", KNOB_QUERY, AT(extra_query), 0, NULL },
    { "extra_headers", KNOB_HEADERS, 0, 0, NULL },
    { "types", KNOB_TYPES, 0, 0, NULL },
    { "last_updated", KNOB_CHOICE, AT(last_updated), 0, &beliefs },
    { "count", KNOB_INT, AT(count), 1000, NULL },
    { "max_conn", KNOB_INT, AT(max_conn), 64, NULL },
    { "rate_per_min", KNOB_INT, AT(rate_per_min), 6000, NULL },
    { "everything", KNOB_BOOL, AT(everything), 0, NULL },
    { "pull", KNOB_PULL, 0, 0, NULL },
};

/* What default.json leaves out; where it must say something, it does. */
static const struct cw_profile built_in = {
    .scope_wildcard = -1,
    .scope_literal = "",
    .scope_extra = "",
    .scope_drop = "",
    .send_aud = true,
    .pkce = true,
    .send_nonce = true,
    .metadata_url = "",
    .jwt_alg = CW_ALG_RS384,
    .patient_claim = "",
    .tenant_claim = "",
    .accept = "application/fhir+json",
    .extra_query = "",
    .count = 50,
};

/* ---- one value */

static struct cw_span text_of(const json_t *value)
{
    return json_is_string(value) ? cw_span_of(json_string_value(value), json_string_length(value)) : (struct cw_span){ NULL, 0 };
}

static bool is_printable(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.ptr != NULL;
}

static bool set_text(const json_t *value, char *place)
{
    const char *text = json_string_value(value);
    memcpy(place, &text, sizeof text);
    return true;
}

/* Characters that may stand in a query as they are, and at most one "{tenant}". */
static bool query_is_good(struct cw_span text)
{
    size_t at = cw_span_find_span(text, CW_SPAN("{tenant}"));
    struct cw_span parts[] = { cw_span_upto(text, at), cw_span_from(text, at + strlen("{tenant}")) };
    for (size_t i = 0; i < CW_ARRAY_LEN(parts); i++) {
        for (size_t k = 0; k < parts[i].len; k++) {
            if (strchr(" \"#<>?[]\\^`{|}", parts[i].ptr[k]) != NULL) {
                return false;
            }
        }
    }
    return is_printable(text) && text.len < CW_PROFILE_QUERY_MAX && (text.len == 0 || cw_span_find(text, '=') < text.len);
}

static bool set_int(const struct knob *knob, const json_t *value, char *place)
{
    json_int_t number = json_integer_value(value);
    int small = (int)number;
    if (!json_is_integer(value) || number < 0 || number > knob->max) {
        return false;
    }
    memcpy(place, &small, sizeof small);
    return true;
}

static bool set_choice(const struct choice *choice, const json_t *value, char *place)
{
    for (int i = 0; i < choice->count; i++) {
        int number = choice->first + i;
        if (cw_span_eq_cstr(text_of(value), choice->names[i])) {
            memcpy(place, &number, sizeof number);
            return true;
        }
    }
    return false;
}

static bool set_alg(const json_t *value, struct cw_profile *profile)
{
    enum cw_jose_alg alg;
    if (!cw_jose_alg_parse(text_of(value), &alg) || (alg != CW_ALG_RS384 && alg != CW_ALG_ES384)) {
        return false;
    }
    profile->jwt_alg = alg;
    return true;
}

static bool one_of(struct cw_span text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cw_span_eq_nocase(text, cw_span_cstr(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool set_accept(const json_t *value, char *place)
{
    static const char *const types[] = { "application/fhir+json", "application/json+fhir", "application/json" };
    return one_of(text_of(value), types, CW_ARRAY_LEN(types)) && set_text(value, place);
}

/* ---- lists and objects */

/* A header that the client sets itself, or that carries credentials, is none of a profile's. */
static bool header_is_good(struct cw_span name, struct cw_span value)
{
    static const char *const ours[] = { "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type",
                                        "cookie", "host", "proxy-authorization", "transfer-encoding", "user-agent" };
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && c != '-' && (c < '0' || c > '9')) {
            return false;
        }
    }
    return name.len > 0 && !one_of(name, ours, CW_ARRAY_LEN(ours)) && is_printable(value);
}

static bool set_headers(const json_t *value, struct cw_profile_entry *entry)
{
    void *at = json_object_iter((json_t *)(uintptr_t)value);
    if (!json_is_object(value) || json_object_size(value) > CW_PROFILE_HEADERS_MAX) {
        return false;
    }
    entry->profile.extra_header_count = 0;
    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *text = json_object_iter_value(at);
        if (!header_is_good(cw_span_cstr(name), text_of(text))) {
            return false;
        }
        entry->headers[entry->profile.extra_header_count++] = (struct cw_profile_header){ name, json_string_value(text) };
    }
    entry->profile.extra_headers = entry->headers;
    return true;
}

static bool type_is_good(struct cw_span type)
{
    struct cw_scope scope;
    char text[128];
    int len = snprintf(text, sizeof text, "patient/%.*s.read", (int)type.len, type.ptr == NULL ? "" : type.ptr);
    return type.len > 0 && !cw_span_eq_cstr(type, "*") && len > 0 && (size_t)len < sizeof text &&
           cw_scope_parse(cw_span_of(text, (size_t)len), &scope);
}

static bool types_are_good(const json_t *list)
{
    size_t at;
    const json_t *item;
    json_array_foreach(list, at, item)
    {
        if (!type_is_good(text_of(item))) {
            return false;
        }
    }
    return json_is_array(list);
}

static bool set_types(const json_t *value, struct cw_profile_entry *entry)
{
    if (!types_are_good(value) || json_array_size(value) == 0 || json_array_size(value) > CW_PROFILE_TYPES_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        entry->types[i] = json_string_value(json_array_get(value, i));
    }
    entry->profile.types = entry->types;
    entry->profile.type_count = json_array_size(value);
    return true;
}

static bool texts_are_good(const json_t *list)
{
    size_t at;
    const json_t *item;
    json_array_foreach(list, at, item)
    {
        if (!is_printable(text_of(item)) || text_of(item).len == 0) {
            return false;
        }
    }
    return json_is_array(list);
}

static bool match_is_good(const json_t *match)
{
    static const char *const names[] = { "software", "publisher", "host_suffix" };
    size_t known = 0;
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        const json_t *list = json_object_get(match, names[i]);
        known += list != NULL ? 1 : 0;
        if (list != NULL && !texts_are_good(list)) {
            return false;
        }
    }
    return json_is_object(match) && known == json_object_size(match);
}

/* The searches of one type: ["query"…], {"add": "query"} or {"each": {"param": ["value"…]}}. */
static bool rule_is_good(const json_t *rule)
{
    if (json_is_array(rule)) {
        return json_array_size(rule) == 0 || texts_are_good(rule);
    }
    const json_t *each = json_object_get(rule, "each");
    if (each == NULL) {
        return json_object_size(rule) == 1 && json_is_string(json_object_get(rule, "add"));
    }
    const char *name;
    json_t *list;
    json_object_foreach((json_t *)(uintptr_t)each, name, list)
    {
        if (!texts_are_good(list)) {
            return false;
        }
    }
    return json_is_object(each) && json_object_size(rule) == 1;
}

static bool searches_are_good(const json_t *searches)
{
    const char *type;
    json_t *rule;
    json_object_foreach((json_t *)(uintptr_t)searches, type, rule)
    {
        if (!type_is_good(cw_span_cstr(type)) || !rule_is_good(rule)) {
            return false;
        }
    }
    return json_is_object(searches);
}

/* fhir/plan reads it; what it may hold is checked here, at the start, and not at a patient's first pull. */
static bool pull_is_good(const json_t *pull)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)pull, name, value)
    {
        bool good = strcmp(name, "searches") == 0     ? searches_are_good(value)
                    : strcmp(name, "skip") == 0       ? types_are_good(value)
                    : strcmp(name, "revinclude") == 0 ? json_is_boolean(value)
                    : strcmp(name, "patient_withheld") == 0 ? json_is_boolean(value)
                                                      : false;
        if (!good) {
            return false;
        }
    }
    return json_is_object(pull);
}

/* ---- a file */

static bool set_plain(const struct knob *knob, const json_t *value, char *place)
{
    switch ((int)knob->kind) {
    case KNOB_TEXT:
        return is_printable(text_of(value)) && set_text(value, place);
    case KNOB_URL:
        return cw_span_starts(text_of(value), CW_SPAN("https://")) && is_printable(text_of(value)) && set_text(value, place);
    case KNOB_QUERY:
        return query_is_good(text_of(value)) && set_text(value, place);
    case KNOB_BOOL: {
        bool flag = json_is_true(value);
        memcpy(place, &flag, sizeof flag);
        return json_is_boolean(value);
    }
    case KNOB_INT:
        return set_int(knob, value, place);
    case KNOB_CHOICE:
        return set_choice(knob->choice, value, place);
    default:
        return set_accept(value, place);
    }
}

static bool set_knob(const struct knob *knob, const json_t *value, struct cw_profile_entry *entry)
{
    struct cw_profile *profile = &entry->profile;
    switch ((int)knob->kind) {
    case KNOB_DOC:
        return json_is_string(value);
    case KNOB_MATCH:
        entry->match = value;
        return match_is_good(value);
    case KNOB_PULL:
        profile->pull = value;
        return pull_is_good(value);
    case KNOB_HEADERS:
        return set_headers(value, entry);
    case KNOB_TYPES:
        return set_types(value, entry);
    case KNOB_STATE:
        profile->state_opaque43 = cw_span_eq_cstr(text_of(value), "opaque43");
        return profile->state_opaque43 || cw_span_eq_cstr(text_of(value), "signed");
    case KNOB_AUTH:
        profile->auth_given = true;
        return cw_auth_method_parse(text_of(value), &profile->auth_method);
    case KNOB_ALG:
        return set_alg(value, profile);
    default:
        return set_plain(knob, value, (char *)profile + knob->at);
    }
}

static const struct knob *find_knob(const char *name)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(knobs); i++) {
        if (strcmp(knobs[i].name, name) == 0) {
            return &knobs[i];
        }
    }
    return NULL;
}

static bool share_a_word(struct cw_span words, struct cw_span others)
{
    struct cw_span word;
    while (cw_span_word(&words, &word)) {
        if (cw_scope_has(others, word)) {
            return true;
        }
    }
    return false;
}

/* A search of a type that is not among the profile's types would never be made. */
static bool searches_fit_types(const struct cw_profile *p)
{
    const char *type;
    json_t *rule;
    json_object_foreach(json_object_get(p->pull, "searches"), type, rule)
    {
        bool listed = p->types == NULL;
        for (size_t i = 0; i < p->type_count; i++) {
            listed = listed || strcmp(p->types[i], type) == 0;
        }
        if (!listed) {
            return false;
        }
    }
    return true;
}

/* Which member does not go together with the others; NULL: none. */
static const char *misfit(const struct cw_profile_entry *entry)
{
    const struct cw_profile *p = &entry->profile;
    bool basic = !p->auth_given || p->auth_method == CW_AUTH_BASIC;
    bool signs = !p->auth_given || p->auth_method == CW_AUTH_KEY_JWT;
    bool literal = p->scope_dialect == CW_SCOPE_LITERAL;
    bool placeholder = strstr(p->extra_query, "{tenant}") != NULL;
    const struct {
        const char *member;
        bool bad;
    } rows[] = {
        { "scope_literal", literal != (p->scope_literal[0] != '\0') },
        { "scope_drop", share_a_word(cw_span_cstr(p->scope_drop), cw_span_cstr(p->scope_extra)) },
        { "aud_slash", !p->send_aud && p->aud_slash != CW_AUD_AS_PUBLISHED },
        { "pkce", !p->pkce && p->auth_given && p->auth_method == CW_AUTH_NONE }, /* nothing would bind the code to us */
        { "basic_encoded", p->basic_encoded && !basic },
        { "jwt_alg", json_object_get(entry->root, "jwt_alg") != NULL && !signs },
        { "dynamic_registration", p->dynamic_registration && p->auth_given && p->auth_method != CW_AUTH_NONE },
        { "extra_query", placeholder && p->tenant_claim[0] == '\0' },
        { "pull", !searches_fit_types(p) },
        { "match", entry->match != NULL && strcmp(entry->name, "default") == 0 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        if (rows[i].bad) {
            return rows[i].member;
        }
    }
    return NULL;
}

enum cw_code cw_profile_read(struct cw_profile_entry *entry, const struct cw_profile *base, struct cw_err *err)
{
    const char *name;
    json_t *value;
    entry->profile = base == NULL ? built_in : *base;
    entry->profile.name = entry->name;
    json_object_foreach(entry->root, name, value)
    {
        const struct knob *knob = find_knob(name);
        if (knob == NULL || !set_knob(knob, value, entry)) {
            return cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profile %.40s: member %.40s is %s", entry->name, name,
                              knob == NULL ? "unknown" : "wrong");
        }
    }
    name = misfit(entry);
    if (name != NULL) {
        return cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profile %.40s: member %s does not go with the others", entry->name, name);
    }
    return CW_OK;
}
