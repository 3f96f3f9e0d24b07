/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMART scopes. The grammar of both versions is small enough to read by hand; everything else here is set arithmetic on blank-separated
 * words, since that is the form in which scopes come, go and are stored.
 */
#include "config.h"

#include "smart/scope.h"

#define READ_OR_SEARCH ((unsigned)CW_PERM_READ | (unsigned)CW_PERM_SEARCH)
#define ALL_PERMISSIONS 0x1fu

static bool parse_context(struct cw_span text, enum cw_scope_context *ret)
{
    static const char *const names[] = { "patient", "user", "system" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_span_eq_cstr(text, names[i])) {
            *ret = (enum cw_scope_context)i;
            return true;
        }
    }
    return false;
}

static bool type_is_good(struct cw_span type)
{
    if (cw_span_eq_cstr(type, "*")) {
        return true;
    }
    for (size_t i = 0; i < type.len; i++) {
        char c = type.ptr[i];
        bool upper = c >= 'A' && c <= 'Z';
        if (!upper && (i == 0 || c < 'a' || c > 'z')) {
            return false;
        }
    }
    return type.len > 0;
}

/* v2: a subset of "cruds" in that order (SMART App Launch 2, section 3.0.2). 0 when it is none. */
static unsigned parse_cruds(struct cw_span text)
{
    static const char letters[] = "cruds";
    unsigned permissions = 0;
    size_t at = 0;
    for (unsigned i = 0; i < 5; i++) {
        if (at < text.len && text.ptr[at] == letters[i]) {
            permissions |= 1u << i;
            at++;
        }
    }
    return at == text.len ? permissions : 0;
}

static unsigned parse_permissions(struct cw_span text, bool *ret_v2)
{
    *ret_v2 = false;
    if (cw_span_eq_cstr(text, "read")) {
        return READ_OR_SEARCH;
    }
    if (cw_span_eq_cstr(text, "write")) {
        return ALL_PERMISSIONS & ~READ_OR_SEARCH;
    }
    if (cw_span_eq_cstr(text, "*")) {
        return ALL_PERMISSIONS;
    }
    *ret_v2 = true;
    return parse_cruds(text);
}

bool cw_scope_parse(struct cw_span text, struct cw_scope *ret_scope)
{
    struct cw_scope scope = { .query = { NULL, 0 } };
    struct cw_span word;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false; /* RFC 6749 3.3: scopes are printable ASCII, and a blank ends one */
        }
    }
    if (!cw_span_cut(&text, '/', &word) || !parse_context(word, &scope.context)) {
        return false;
    }
    if (!cw_span_cut(&text, '.', &scope.type) || !type_is_good(scope.type)) {
        return false;
    }
    bool with_query = cw_span_cut(&text, '?', &word);
    if (with_query) {
        scope.query = text;
    }
    scope.permissions = parse_permissions(word, &scope.v2);
    if (scope.permissions == 0 || (with_query && (text.len == 0 || !scope.v2))) {
        return false;
    }
    *ret_scope = scope;
    return true;
}

bool cw_scope_has(struct cw_span scopes, struct cw_span scope)
{
    struct cw_span word;
    while (cw_span_word(&scopes, &word)) {
        if (cw_span_eq(word, scope)) {
            return true;
        }
    }
    return false;
}

unsigned cw_scope_permits(struct cw_span granted, struct cw_span type, bool granular_too)
{
    struct cw_span word;
    struct cw_scope scope;
    unsigned permissions = 0;
    while (cw_span_word(&granted, &word)) {
        if (cw_scope_parse(word, &scope) && scope.context != CW_SCOPE_SYSTEM &&
            (granular_too || scope.query.ptr == NULL) &&
            (cw_span_eq_cstr(scope.type, "*") || cw_span_eq(scope.type, type))) {
            permissions |= scope.permissions;
        }
    }
    return permissions;
}

struct cw_scope_verdict cw_scope_compare(struct cw_span asked, struct cw_span granted)
{
    struct cw_scope_verdict verdict = { .assumed = cw_span_trim(granted).len == 0 };
    struct cw_span effective = verdict.assumed ? asked : granted;
    struct cw_span word;
    struct cw_scope scope;
    verdict.offline = cw_scope_has(effective, CW_SPAN("offline_access"));
    verdict.any_resource = verdict.assumed; /* not told: the pull will find out */
    struct cw_span rest = effective;
    while (cw_span_word(&rest, &word)) {
        if (cw_scope_parse(word, &scope) && scope.context != CW_SCOPE_SYSTEM &&
            (scope.permissions & READ_OR_SEARCH) != 0) {
            verdict.any_resource = true;
        }
    }
    while (cw_span_word(&asked, &word)) {
        if (cw_scope_parse(word, &scope)) {
            unsigned wanted = scope.permissions & READ_OR_SEARCH;
            unsigned got = cw_scope_permits(effective, scope.type, true);
            verdict.narrower = verdict.narrower || (got & wanted) != wanted;
        }
    }
    return verdict;
}

/* What a pull of the type stands on: a search, or for the one Patient a read. */
static unsigned needed_of(struct cw_span type, unsigned wanted)
{
    bool patient = cw_span_eq_cstr(type, "Patient");
    if (patient && (wanted & CW_PERM_READ) != 0) {
        return CW_PERM_READ;
    }
    return (wanted & CW_PERM_SEARCH) != 0 ? CW_PERM_SEARCH : wanted & READ_OR_SEARCH;
}

enum cw_scope_loss cw_scope_loss(struct cw_span asked, struct cw_span granted, struct cw_span type)
{
    unsigned needed = needed_of(type, cw_scope_permits(asked, type, true));
    if (needed == 0 || cw_span_trim(granted).len == 0 || (cw_scope_permits(granted, type, false) & needed) == needed) {
        return CW_SCOPE_KEPT;
    }
    if ((cw_scope_permits(granted, type, true) & needed) != needed) {
        return CW_SCOPE_LOST;
    }
    bool asked_whole = (cw_scope_permits(asked, type, false) & needed) == needed;
    return asked_whole ? CW_SCOPE_PART : CW_SCOPE_KEPT;
}

enum cw_code cw_scope_lost_types(struct cw_span asked, struct cw_span granted, const char *const *types, size_t count,
                                 struct cw_str *out)
{
    for (size_t i = 0; i < count; i++) {
        if (cw_scope_loss(asked, granted, cw_span_cstr(types[i])) == CW_SCOPE_LOST) {
            (void)cw_str_add_cstr(out, out->len > 0 ? " " : "");
            (void)cw_str_add_cstr(out, types[i]);
        }
    }
    return cw_str_code(out);
}

/* --- what to ask --- */

static void add_scope(const struct cw_scope_wish *wish, struct cw_span scope, struct cw_str *out)
{
    bool dropped = (wish->step >= CW_SCOPE_NO_FHIR_USER && cw_span_eq_nocase(scope, CW_SPAN("fhirUser"))) ||
                   (wish->step >= CW_SCOPE_NO_OFFLINE && cw_span_eq_cstr(scope, "offline_access"));
    if (dropped || cw_scope_has(cw_span_cstr(wish->profile->scope_drop), scope) || cw_scope_has(cw_str_span(out), scope)) {
        return;
    }
    if (out->len > 0) {
        (void)cw_str_add_char(out, ' ');
    }
    (void)cw_str_add_span(out, scope);
}

static void add_all(const struct cw_scope_wish *wish, struct cw_span scopes, struct cw_str *out)
{
    struct cw_span word;
    while (cw_span_word(&scopes, &word)) {
        add_scope(wish, word, out);
    }
}

/* What the server advertises, looked at once. */
struct advertised {
    bool any;             /* at least one resource scope */
    bool v2;              /* in the v2 spelling */
    struct cw_span star;  /* every type of the patient, read and search and nothing more; absent when not there */
};

static struct advertised look(const struct cw_discovery *discovery, bool v2)
{
    struct advertised seen = { .star = { NULL, 0 } };
    struct cw_scope scope;
    for (size_t i = 0; i < discovery->scope_count; i++) {
        if (!cw_scope_parse(discovery->scopes[i], &scope) || scope.context == CW_SCOPE_SYSTEM) {
            continue;
        }
        seen.any = true;
        seen.v2 = seen.v2 || (scope.v2 && (scope.permissions & READ_OR_SEARCH) != 0);
        bool star = scope.context == CW_SCOPE_PATIENT && cw_span_eq_cstr(scope.type, "*") && scope.query.ptr == NULL;
        if (star && scope.v2 == v2 && scope.permissions == READ_OR_SEARCH) {
            seen.star = discovery->scopes[i];
        }
    }
    return seen;
}

/* "v1" or "v2" alone as a registration's scopes: the app is registered for that version, and the scopes are as usual in its dialect. */
static bool names_dialect(struct cw_span registered)
{
    registered = cw_span_trim(registered);
    return cw_span_eq_cstr(registered, "v1") || cw_span_eq_cstr(registered, "v2");
}

static bool wants_v2(const struct cw_scope_wish *wish)
{
    if (names_dialect(wish->registered)) {
        return cw_span_eq_cstr(cw_span_trim(wish->registered), "v2");
    }
    if (wish->profile->scope_dialect != CW_SCOPE_NEGOTIATED) {
        return wish->profile->scope_dialect == CW_SCOPE_V2;
    }
    return (wish->discovery->capabilities & CW_CAP_PERMISSION_V2) != 0 || look(wish->discovery, true).v2;
}

/* Read and search of a type in the server's own spelling: Oracle has Observation.s beside Observation.read and no .rs, and
 * Practitioner only as user/. False when the server advertises neither. */
static bool add_advertised(const struct cw_scope_wish *wish, struct cw_span type, enum cw_scope_context context, bool v2,
                           struct cw_str *out)
{
    const struct cw_discovery *discovery = wish->discovery;
    struct cw_scope scope;
    unsigned got = 0;
    /* First what fits wholly in our dialect, then parts of it, then the other dialect. */
    for (unsigned round = 0; round < 3 && got != READ_OR_SEARCH; round++) {
        for (size_t i = 0; i < discovery->scope_count && got != READ_OR_SEARCH; i++) {
            if (!cw_scope_parse(discovery->scopes[i], &scope) || scope.context != context || scope.query.ptr != NULL ||
                !cw_span_eq(scope.type, type) || (scope.permissions & ~READ_OR_SEARCH) != 0) {
                continue;
            }
            bool whole = scope.permissions == READ_OR_SEARCH;
            bool fits = round == 0 ? whole && scope.v2 == v2 : round == 1 ? scope.v2 == v2 : true;
            if (fits && (scope.permissions & ~got) != 0) {
                add_scope(wish, discovery->scopes[i], out);
                got |= scope.permissions;
            }
        }
    }
    return got != 0;
}

static void add_types(const struct cw_scope_wish *wish, bool v2, bool any_advertised, struct cw_str *out)
{
    for (size_t i = 0; i < wish->type_count; i++) {
        struct cw_span type = cw_span_cstr(wish->types[i]);
        if (any_advertised) {
            if (!add_advertised(wish, type, CW_SCOPE_PATIENT, v2, out)) {
                (void)add_advertised(wish, type, CW_SCOPE_USER, v2, out);
            }
            continue;
        }
        char text[128];
        int len = snprintf(text, sizeof text, "patient/%s.%s", wish->types[i], v2 ? "rs" : "read");
        if (len > 0 && (size_t)len < sizeof text) {
            add_scope(wish, cw_span_of(text, (size_t)len), out);
        }
    }
}

static struct cw_span star_of(bool v2)
{
    return v2 ? CW_SPAN("patient/*.rs") : CW_SPAN("patient/*.read");
}

/* All types by one scope, or each by its own, in the dialect and form of the step. */
static void add_resources(const struct cw_scope_wish *wish, struct cw_str *out)
{
    const struct cw_profile *profile = wish->profile;
    bool v2 = wants_v2(wish);
    struct advertised seen = look(wish->discovery, v2);
    bool star = profile->scope_wildcard == 1 || (profile->scope_wildcard != 0 && seen.star.ptr != NULL);
    if (wish->step == CW_SCOPE_OTHER_FORM) {
        star = !star;
    } else if (wish->step == CW_SCOPE_OTHER_DIALECT && !names_dialect(wish->registered)) {
        v2 = !v2;
        seen = look(wish->discovery, v2);
        seen.any = false; /* what is advertised is what was refused: spell it ourselves */
    }
    if (star) {
        add_scope(wish, seen.star.ptr != NULL ? seen.star : star_of(v2), out);
        return;
    }
    /* Where the wild card is all that is advertised, it says nothing against single types. */
    size_t before = out->len;
    add_types(wish, v2, seen.any, out);
    if (out->len == before) {
        add_types(wish, v2, false, out);
    }
}

enum cw_code cw_scope_request(const struct cw_scope_wish *wish, struct cw_str *out)
{
    const struct cw_profile *profile = wish->profile;
    CW_AUTO_STR set;
    cw_str_init(&set, CW_SCOPE_MAX);
    if (cw_span_trim(wish->registered).len > 0 && !names_dialect(wish->registered)) {
        static const struct cw_profile keeps_all = { .scope_drop = "" };
        struct cw_scope_wish plain = *wish;
        plain.profile = &keeps_all;
        plain.step = CW_SCOPE_AS_USUAL;
        add_all(&plain, wish->registered, &set);
    } else if (profile->scope_dialect == CW_SCOPE_LITERAL) {
        struct cw_scope_wish plain = *wish;
        plain.step = CW_SCOPE_AS_USUAL;
        add_all(&plain, cw_span_cstr(profile->scope_literal), &set);
    } else {
        add_all(wish, CW_SPAN("openid fhirUser launch/patient offline_access"), &set);
        if (profile->scope_dialect != CW_SCOPE_FIXED) {
            add_resources(wish, &set);
        }
        add_all(wish, cw_span_cstr(profile->scope_extra), &set);
    }
    enum cw_code rc = cw_str_code(&set);
    return rc == CW_OK ? cw_str_add_span(out, cw_str_span(&set)) : rc;
}

/* True when no step below asks for the same. */
static enum cw_code is_new(const struct cw_scope_wish *wish, struct cw_span text, bool *ret_new)
{
    struct cw_scope_wish lower = *wish;
    *ret_new = true;
    for (lower.step = CW_SCOPE_AS_USUAL; *ret_new && lower.step < wish->step; lower.step++) {
        CW_AUTO_STR other;
        cw_str_init(&other, CW_SCOPE_MAX);
        enum cw_code rc = cw_scope_request(&lower, &other);
        if (rc != CW_OK) {
            return rc;
        }
        *ret_new = !cw_span_eq(cw_str_span(&other), text);
    }
    return CW_OK;
}

enum cw_code cw_scope_climb(const struct cw_scope_wish *wish, unsigned *ret_step, struct cw_str *out)
{
    struct cw_scope_wish now = *wish;
    for (; now.step < CW_SCOPE_STEP__COUNT; now.step++) {
        CW_AUTO_STR text;
        bool fresh = false;
        cw_str_init(&text, CW_SCOPE_MAX);
        enum cw_code rc = cw_scope_request(&now, &text);
        if (rc == CW_OK) {
            rc = is_new(&now, cw_str_span(&text), &fresh);
        }
        if (rc != CW_OK) {
            return rc;
        }
        if (fresh) {
            *ret_step = now.step;
            return cw_str_add_span(out, cw_str_span(&text));
        }
    }
    now.step = CW_SCOPE_AS_USUAL;
    *ret_step = CW_SCOPE_AS_USUAL;
    return cw_scope_request(&now, out);
}
