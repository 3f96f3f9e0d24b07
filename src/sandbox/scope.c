/* SPDX-License-Identifier: Apache-2.0 */
/* Scopes: one parser, and questions that walk over the words of the text. */
#include "config.h"
#include "sandbox/scope.h"

#include "sandbox/match.h"

static bool is_plain_scope(struct cw_span text)
{
    static const char *const known[] = { "openid", "fhirUser", "profile", "launch/patient", "offline_access", "online_access" };
    for (size_t i = 0; i < CW_ARRAY_LEN(known); i++) {
        if (cw_span_eq_cstr(text, known[i])) {
            return true;
        }
    }
    return false;
}

/* v1's words, or v2's letters in their order c r u d s. False on anything else. */
static bool parse_permissions(struct cw_span text, unsigned *ret_permissions)
{
    static const char order[] = "cruds";
    *ret_permissions = 0;
    if (cw_span_eq_cstr(text, "read") || cw_span_eq_cstr(text, "*")) {
        *ret_permissions = CW_SBX_READ | CW_SBX_SEARCH;
        return true;
    }
    if (cw_span_eq_cstr(text, "write")) {
        return true;
    }
    const char *from = order;
    for (size_t i = 0; i < text.len; i++) {
        const char *hit = text.ptr[i] == '\0' ? NULL : strchr(from, text.ptr[i]);
        if (hit == NULL) {
            return false;
        }
        *ret_permissions |= *hit == 'r' ? CW_SBX_READ : *hit == 's' ? CW_SBX_SEARCH : 0u;
        from = hit + 1;
    }
    return text.len > 0;
}

bool cw_sbx_scope_parse(struct cw_span text, struct cw_sbx_scope *ret_scope)
{
    *ret_scope = (struct cw_sbx_scope){ .permissions = 0 };
    if (is_plain_scope(text)) {
        return true;
    }
    struct cw_span context, rest = text, type, permissions;
    if (!cw_span_cut(&rest, '/', &context) ||
        !(cw_span_eq_cstr(context, "patient") || cw_span_eq_cstr(context, "user")) || !cw_span_cut(&rest, '.', &type)) {
        return false;
    }
    bool granular = cw_span_cut(&rest, '?', &permissions);
    if (!cw_span_eq_cstr(type, "*") && cw_sbx_type_find(type) == NULL) {
        return false;
    }
    ret_scope->type = type;
    if (granular) {
        ret_scope->query = rest;
    }
    return parse_permissions(permissions, &ret_scope->permissions);
}

bool cw_sbx_scope_has(struct cw_span scopes, const char *scope)
{
    struct cw_span word;
    while (cw_span_word(&scopes, &word)) {
        if (cw_span_eq_cstr(word, scope)) {
            return true;
        }
    }
    return false;
}

/* The next scope that gives `permission` on `type`. */
static bool next_for(struct cw_span *scopes, const struct cw_sbx_type *type, unsigned permission, struct cw_sbx_scope *ret_scope)
{
    struct cw_span word;
    while (cw_span_word(scopes, &word)) {
        if (cw_sbx_scope_parse(word, ret_scope) && ret_scope->type.ptr != NULL && (ret_scope->permissions & permission) != 0 &&
            (cw_span_eq_cstr(ret_scope->type, "*") || cw_span_eq_cstr(ret_scope->type, type->name))) {
            return true;
        }
    }
    return false;
}

bool cw_sbx_scope_may(struct cw_span scopes, const struct cw_sbx_type *type, unsigned permission)
{
    struct cw_sbx_scope scope;
    return next_for(&scopes, type, permission, &scope);
}

static bool fits_query(const struct cw_sbx_resource *resource, struct cw_span query)
{
    struct cw_span pair, name;
    bool more;
    do {
        more = cw_span_cut(&query, '&', &pair);
        if (!cw_span_cut(&pair, '=', &name)) {
            return false;
        }
        const struct cw_sbx_param *param = cw_sbx_param_find(resource->type, name);
        if (param == NULL || !cw_sbx_match(resource, param, pair)) {
            return false;
        }
    } while (more);
    return true;
}

bool cw_sbx_scope_allows(struct cw_span scopes, const struct cw_sbx_resource *resource, unsigned permission)
{
    struct cw_sbx_scope scope;
    while (next_for(&scopes, resource->type, permission, &scope)) {
        if (scope.query.ptr == NULL || fits_query(resource, scope.query)) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_sbx_scope_narrow(struct cw_span allowed, struct cw_span wanted, struct cw_str *out)
{
    struct cw_span want, have;
    while (cw_span_word(&wanted, &want)) {
        struct cw_span rest = allowed;
        while (cw_span_word(&rest, &have)) {
            if (cw_span_eq(want, have)) {
                if (out->len > 0) {
                    cw_str_add_char(out, ' ');
                }
                cw_str_add_span(out, want);
                break;
            }
        }
    }
    return out->code;
}
