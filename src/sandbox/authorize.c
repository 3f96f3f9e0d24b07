/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an authorization request: rows for what one parameter decides, and the scope texts. */
#include "config.h"
#include "sandbox/authorize.h"

#include "sandbox/scope.h"

/* --- single scopes --- */

static bool is_resource(struct cw_span scope)
{
    return cw_span_find(scope, '/') < scope.len && !cw_span_eq_cstr(scope, "launch/patient");
}

static bool is_v1(struct cw_span scope)
{
    return cw_span_ends(scope, CW_SPAN(".read")) || cw_span_ends(scope, CW_SPAN(".write")) || cw_span_ends(scope, CW_SPAN(".*"));
}

static bool is_wildcard(struct cw_span scope)
{
    return cw_span_find_span(scope, CW_SPAN("/*.")) < scope.len;
}

/* UnitedHealthcare tells ten types and takes no other. */
static bool is_listed(struct cw_span scope)
{
    static const char *const plain[] = { "openid", "fhirUser", "launch/patient", "offline_access" };
    struct cw_sbx_scope read;
    if (!is_resource(scope)) {
        for (size_t i = 0; i < CW_ARRAY_LEN(plain); i++) {
            if (cw_span_eq_cstr(scope, plain[i])) {
                return true;
            }
        }
        return false;
    }
    return cw_sbx_scope_parse(scope, &read) && cw_span_starts(scope, CW_SPAN("patient/")) && !is_wildcard(scope);
}

static bool any_scope(struct cw_span scopes, bool (*is)(struct cw_span scope))
{
    struct cw_span word;
    while (cw_span_word(&scopes, &word)) {
        if (is(word)) {
            return true;
        }
    }
    return false;
}

static bool is_unlisted(struct cw_span scope)
{
    return !is_listed(scope);
}

static bool is_v2(struct cw_span scope)
{
    return is_resource(scope) && !is_v1(scope);
}

static bool is_literal(struct cw_span scopes)
{
    static const char *const all[] = { "openid", "fhirUser", "launch/patient", "patient/*.rs" };
    struct cw_span rest = scopes, word;
    size_t count = 0;
    while (cw_span_word(&rest, &word)) {
        count++;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(all); i++) {
        if (!cw_sbx_scope_has(scopes, all[i])) {
            return false;
        }
    }
    return count == CW_ARRAY_LEN(all);
}

/* --- the request --- */

static bool refuse(struct authorize_refusal *out, const char *error, const char *text)
{
    *out = (struct authorize_refusal){ .error = error, .text = text };
    return false;
}

static bool aud_fits(const struct site *site, struct cw_span aud)
{
    bool slash = cw_span_ends(aud, CW_SPAN("/"));
    if (site_plays(site, CW_SBX_QUIRK_AUD_REFUSED)) {
        return aud.ptr == NULL;
    }
    if ((slash && site_plays(site, CW_SBX_QUIRK_AUD_WITHOUT_SLASH)) || (!slash && site_plays(site, CW_SBX_QUIRK_AUD_WITH_SLASH))) {
        return false;
    }
    return cw_span_eq_cstr(cw_span_upto(aud, aud.len - (slash ? 1 : 0)), site->base);
}

static bool pkce_fits(const struct site *site, const struct cw_sbx_params *params)
{
    struct cw_span challenge = cw_sbx_param(params, "code_challenge"), method = cw_sbx_param(params, "code_challenge_method");
    if (site_plays(site, CW_SBX_QUIRK_PKCE_REFUSED)) {
        return challenge.ptr == NULL && method.ptr == NULL;
    }
    return cw_span_eq_cstr(method, "S256") && challenge.len == AUTHORIZE_CHALLENGE_TEXT;
}

/* What a standalone app must not send, or not to a server that did not say that it knows it. */
static bool has_too_much(const struct cw_sbx_params *params)
{
    static const char *const names[] = { "launch", "max_age", "prompt", "login_hint", "response_mode", "resource" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_sbx_param(params, names[i]).ptr != NULL) {
            return true;
        }
    }
    return false;
}

static bool scope_fits(const struct site *site, struct cw_span scope)
{
    static const struct {
        enum cw_sbx_quirk quirk;
        const char *scope;
        bool wanted;
    } words[] = {
        { CW_SBX_QUIRK_LAUNCH_REFUSED, "launch/patient", false },
        { CW_SBX_QUIRK_FHIR_USER_REFUSED, "fhirUser", false },
        { CW_SBX_QUIRK_OFFLINE_REFUSED, "offline_access", false },
        { CW_SBX_QUIRK_V1_ONLY, "fhirUser", false },
        { CW_SBX_QUIRK_INTERNAL_NEEDED, "internal", true },
        { CW_SBX_QUIRK_SANDBOX_NEEDED, "sandbox", true },
    };
    static const struct {
        enum cw_sbx_quirk quirk;
        bool (*refused)(struct cw_span scope);
    } kinds[] = {
        { CW_SBX_QUIRK_WILDCARD_REFUSED, is_wildcard },
        { CW_SBX_QUIRK_SCOPES_BY_PERMISSION, is_wildcard },
        { CW_SBX_QUIRK_UNLISTED_REFUSED, is_unlisted },
        { CW_SBX_QUIRK_V1_ONLY, is_v2 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(words); i++) {
        if (site_plays(site, words[i].quirk) && cw_sbx_scope_has(scope, words[i].scope) != words[i].wanted) {
            return false;
        }
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(kinds); i++) {
        if (site_plays(site, kinds[i].quirk) && any_scope(scope, kinds[i].refused)) {
            return false;
        }
    }
    return !site_plays(site, CW_SBX_QUIRK_LITERAL_SCOPE) || is_literal(scope);
}

bool authorize_allows(const struct site *site, const struct cw_sbx_params *params, struct authorize_refusal *ret_refusal)
{
    struct cw_span scope = cw_sbx_param(params, "scope");
    if (!cw_span_eq_cstr(cw_sbx_param(params, "response_type"), "code")) {
        return refuse(ret_refusal, "unsupported_response_type", "Only response_type=code.");
    }
    if (cw_sbx_param(params, "state").len == 0) {
        return refuse(ret_refusal, "invalid_request", "state is missing.");
    }
    if (!pkce_fits(site, params)) {
        return refuse(ret_refusal, "invalid_request", "PKCE is not as this server wants it.");
    }
    if (!aud_fits(site, cw_sbx_param(params, "aud"))) {
        return refuse(ret_refusal, "invalid_request", "aud is not as this server wants it.");
    }
    if (site_plays(site, CW_SBX_QUIRK_NONCE_NEEDED) && cw_sbx_param(params, "nonce").len == 0) {
        return refuse(ret_refusal, "invalid_request", "nonce is missing.");
    }
    if (site_plays(site, CW_SBX_QUIRK_STRICT_REQUEST) && has_too_much(params)) {
        return refuse(ret_refusal, "invalid_request", "A parameter is not for standalone apps.");
    }
    if (site_plays(site, CW_SBX_QUIRK_AUTHORIZE_QUERY) && !cw_span_eq_cstr(cw_sbx_param(params, "acr_values"), "portal")) {
        return refuse(ret_refusal, "invalid_request", "acr_values of the endpoint's own query is missing.");
    }
    if (scope.len == 0 || scope.len > CW_SBX_SCOPE_TEXT_MAX || !scope_fits(site, scope)) {
        return refuse(ret_refusal, "invalid_scope", "scope is missing or not as this server wants it.");
    }
    return true;
}

bool authorize_lets_in(const struct site *site, struct authorize_refusal *ret_refusal)
{
    if (site_plays(site, CW_SBX_QUIRK_NOT_ENABLED)) {
        return refuse(ret_refusal, "unauthorized_client", "The app is not known here yet.");
    }
    bool tenant = site_plays(site, CW_SBX_QUIRK_UNKNOWN_TENANT);
    if (!tenant && !site_plays(site, CW_SBX_QUIRK_PERSONA_MISMATCH)) {
        return true;
    }
    (void)refuse(ret_refusal, "invalid_request", "The tenant or the persona is another.");
    ret_refusal->reason = tenant ? "unknown-tenant" : "client-persona-mismatch";
    return false;
}

/* --- scopes --- */

static void add_word(struct cw_str *out, struct cw_span word)
{
    if (out->len > 0) {
        cw_str_add_char(out, ' ');
    }
    cw_str_add_span(out, word);
}

static bool is_dropped(const struct site *site, struct cw_span scope)
{
    return (site_plays(site, CW_SBX_QUIRK_SCOPES_FIXED) && is_resource(scope)) ||
           (site_plays(site, CW_SBX_QUIRK_V1_DROPPED) && is_resource(scope) && is_v1(scope)) ||
           (site_plays(site, CW_SBX_QUIRK_OFFLINE_DROPPED) && cw_span_eq_cstr(scope, "offline_access"));
}

enum cw_code authorize_scope(const struct site *site, struct cw_span asked, struct cw_str *out)
{
    struct cw_span word;
    while (cw_span_word(&asked, &word)) {
        if (!is_dropped(site, word)) {
            add_word(out, word);
        }
    }
    for (size_t i = 0; site_plays(site, CW_SBX_QUIRK_SCOPES_FIXED) && i < cw_sbx_type_count(); i++) {
        CW_AUTO_STR scope;
        cw_str_init(&scope, 128);
        cw_str_addf(&scope, "patient/%s.read", cw_sbx_types[i].name);
        add_word(out, cw_str_span(&scope));
    }
    return cw_str_code(out);
}

/* --- the code --- */

#define TAIL_BYTES 2400u /* encoded, it stays within what servers take as a query */

static char tail_at(size_t i)
{
    static const char letters[] = "~+/=aB%";
    return letters[i % (sizeof(letters) - 1)];
}

static size_t tail_bytes(const struct site *site)
{
    return site_plays(site, CW_SBX_QUIRK_LONG_CODE) ? TAIL_BYTES : site_plays(site, CW_SBX_QUIRK_PLUS_UNENCODED) ? 3 : 0;
}

enum cw_code authorize_code_put(const struct site *site, struct cw_span code, struct cw_str *out)
{
    size_t tail = tail_bytes(site);
    cw_str_add_span(out, code);
    for (size_t i = 0; i < tail; i++) {
        cw_str_add_char(out, tail_at(i));
    }
    return cw_str_code(out);
}

struct cw_span authorize_code_take(const struct site *site, struct cw_span sent)
{
    size_t tail = tail_bytes(site);
    if (sent.len < tail) {
        return (struct cw_span){ NULL, 0 };
    }
    size_t at = sent.len - tail;
    for (size_t i = 0; i < tail; i++) {
        if (sent.ptr[at + i] != tail_at(i)) {
            return (struct cw_span){ NULL, 0 };
        }
    }
    return cw_span_upto(sent, at);
}
