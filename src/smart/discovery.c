/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery. A document is believed by its content alone: it must be a JSON object with two usable endpoints. Endpoints that are
 * absolute are kept letter by letter, since the token endpoint's text is the audience of a client assertion.
 */
#include "config.h"

#include "smart/discovery.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "net/url.h"
#include "smart/profile.h"
#include "smart/scope.h"
#include "vault/jose.h"

#define FOUND_AT "chartway_found_at" /* ours, in what we keep */
#define OAUTH_URIS "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"

const char *cw_discovery_found_name(enum cw_discovery_found found)
{
    static const char *const names[CW_FOUND__COUNT] = { "well_known", "origin", "capability", "metadata_url" };
    return names[found];
}

static enum cw_code oom(struct cw_err *err)
{
    return cw_err_set(err, CW_E_OOM, "discovery", "out of memory");
}

/* The FHIR base with one trailing slash, so that relative URLs of the document resolve below it. */
static enum cw_code parse_base(const char *base, struct cw_url **ret_url, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_LINK_MAX);
    struct cw_span span = cw_span_cstr(base);
    while (cw_span_ends(span, CW_SPAN("/"))) {
        span.len--;
    }
    (void)cw_str_add_span(&text, span);
    (void)cw_str_add_char(&text, '/');
    enum cw_code rc = cw_str_code(&text);
    return rc == CW_OK      ? cw_url_parse(cw_str_span(&text), ret_url, err)
           : rc == CW_E_OOM ? oom(err)
                            : cw_err_set(err, CW_E_SYNTAX, "discovery", "the base is too long");
}

/* An endpoint as absolute URL in the arena; "" when it is missing or no good. http only where the base is http too (the operator's list decides whether it
 * is ever called). NULL when out of memory. */
static const char *endpoint(struct cw_span text, const struct cw_url *base, struct cw_arena *arena)
{
    text = cw_span_trim(text);
    if (text.len == 0 || text.len > CW_URL_MAX) {
        return "";
    }
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_resolve(base, text, &url, NULL);
    if (rc != CW_OK) {
        return rc == CW_E_OOM ? NULL : "";
    }
    bool absolute = cw_span_eq_nocase(cw_span_upto(text, 4), CW_SPAN("http"));
    struct cw_span kept = absolute ? text : cw_span_cstr(cw_url_text(url));
    bool secure = strcmp(cw_url_scheme(url), "https") == 0 || strcmp(cw_url_scheme(base), "http") == 0;
    struct cw_url *again = NULL;
    const char *result = "";
    if (secure && kept.len <= CW_URL_MAX) {
        rc = cw_url_parse(kept, &again, NULL);
        result = rc == CW_OK ? cw_arena_text(arena, kept) : rc == CW_E_OOM ? NULL : "";
    }
    cw_url_free(again);
    cw_url_free(url);
    return result;
}

static const char *plain_text(struct cw_span text, struct cw_arena *arena)
{
    if (text.len == 0 || text.len > CW_URL_MAX || cw_utf8_has_control(text)) {
        return "";
    }
    return cw_arena_text(arena, text);
}

static bool has_word(const json_t *list, const char *word)
{
    size_t at;
    json_t *item;
    json_array_foreach(list, at, item) {
        if (json_is_string(item) && strcmp(json_string_value(item), word) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_scopes(const json_t *list, struct cw_arena *arena, struct cw_discovery *d)
{
    size_t count = json_array_size(list);
    count = count > CW_SCOPES_MAX ? CW_SCOPES_MAX : count;
    struct cw_span *scopes = cw_arena_array(arena, count + 1, sizeof *scopes);
    if (scopes == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        struct cw_span text = cw_span_of(json_string_value(item), json_string_length(item));
        if (text.ptr == NULL || text.len == 0 || cw_span_find(text, ' ') < text.len || cw_utf8_has_control(text)) {
            continue;
        }
        scopes[d->scope_count] = cw_arena_span(arena, text);
        if (scopes[d->scope_count].ptr == NULL) {
            return false;
        }
        d->scope_count++;
    }
    d->scopes = scopes;
    return true;
}

/* In the order of enum cw_discovery_capability. */
static const char *const capability_names[] = { "launch-standalone", "context-standalone-patient", "permission-patient",
                                                "permission-offline", "permission-v1", "permission-v2", "authorize-post",
                                                "sso-openid-connect" };

/* Bases beside ours; what is no good is left out. False: out of memory. */
static bool read_associated(const json_t *list, const struct cw_url *base, struct cw_arena *arena, struct cw_discovery *d)
{
    size_t count = json_is_array(list) ? json_array_size(list) : 0;
    count = count > CW_ASSOCIATED_MAX ? CW_ASSOCIATED_MAX : count;
    const char **urls = cw_arena_array(arena, count + 1, sizeof *urls);
    if (urls == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *url = endpoint(cw_json_peek_text(json_array_get(list, i), "url"), base, arena);
        if (url == NULL) {
            return false;
        }
        urls[d->associated_count] = url;
        d->associated_count += url[0] != '\0' ? 1 : 0;
    }
    d->associated = urls;
    return true;
}

static void read_found(const json_t *root, struct cw_discovery *d)
{
    for (unsigned i = 0; i < CW_FOUND__COUNT; i++) {
        if (cw_span_eq_cstr(cw_json_peek_text(root, FOUND_AT), cw_discovery_found_name((enum cw_discovery_found)i))) {
            d->found = (enum cw_discovery_found)i;
        }
    }
}

static void read_lists(const json_t *root, struct cw_discovery *d)
{
    const json_t *list = json_object_get(root, "capabilities");
    for (unsigned i = 0; i < CW_ARRAY_LEN(capability_names); i++) {
        d->capabilities |= has_word(list, capability_names[i]) ? 1u << i : 0;
    }
    static const enum cw_auth_method methods[] = { CW_AUTH_NONE, CW_AUTH_BASIC, CW_AUTH_POST, CW_AUTH_KEY_JWT };
    list = json_object_get(root, "token_endpoint_auth_methods_supported");
    for (size_t i = 0; i < CW_ARRAY_LEN(methods); i++) {
        d->auth_methods |= has_word(list, cw_auth_method_name(methods[i])) ? 1u << methods[i] : 0;
    }
    list = json_object_get(root, "token_endpoint_auth_signing_alg_values_supported");
    for (unsigned alg = 0; alg < CW_ALG__COUNT; alg++) {
        d->auth_algs |= has_word(list, cw_jose_alg_name((enum cw_jose_alg)alg)) ? 1u << alg : 0;
    }
    list = json_object_get(root, "code_challenge_methods_supported");
    d->pkce_told = json_is_array(list);
    d->pkce_s256 = has_word(list, "S256");
    d->iss_parameter = json_is_true(json_object_get(root, "authorization_response_iss_parameter_supported"));
}

static enum cw_code check(const struct cw_discovery *d, struct cw_err *err)
{
    const char *const all[] = { d->issuer, d->authorization_endpoint, d->token_endpoint, d->revocation_endpoint,
                                d->introspection_endpoint, d->registration_endpoint, d->management_endpoint, d->jwks_uri,
                                d->userinfo_endpoint };
    for (size_t i = 0; i < CW_ARRAY_LEN(all); i++) {
        if (all[i] == NULL) {
            return oom(err);
        }
    }
    if (d->authorization_endpoint[0] == '\0' || d->token_endpoint[0] == '\0') {
        return cw_err_set(err, CW_E_MISSING, "discovery", "no usable authorization_endpoint and token_endpoint");
    }
    return CW_OK;
}

/* Of a member that stands twice the last one counts, as most readers have it; it is told, since two readers may disagree. */
static enum cw_code parse_json(struct cw_span body, json_t **ret_root, bool *ret_duplicates, struct cw_err *err)
{
    struct cw_json_limits limits = { CW_DISCOVERY_MAX, CW_JSON_DEPTH_MAX, 0 };
    enum cw_code rc = cw_json_parse(body, limits, ret_root, err);
    if (rc != CW_E_SYNTAX) {
        return rc;
    }
    limits.flags = CW_JSON_DUPLICATES_TOO;
    *ret_duplicates = true;
    return cw_json_parse(body, limits, ret_root, err);
}

struct from {
    const char *base;
    bool ours; /* cw_discovery_emit has written it */
};

static enum cw_code parse(struct cw_span body, struct from from, struct cw_arena *arena, struct cw_discovery *ret, struct cw_err *err)
{
    struct cw_url *url = NULL;
    bool duplicates = false;
    CW_AUTO_JSON *root = NULL;
    enum cw_code rc = parse_base(from.base, &url, err);
    if (rc == CW_OK) {
        rc = parse_json(cw_span_trim(body), &root, &duplicates, err);
    }
    if (rc != CW_OK) {
        cw_url_free(url);
        return rc;
    }
    struct cw_discovery d = {
        .found = CW_FOUND_WELL_KNOWN,
        .duplicates = duplicates,
        .issuer = plain_text(cw_json_peek_text(root, "issuer"), arena),
        .authorization_endpoint = endpoint(cw_json_peek_text(root, "authorization_endpoint"), url, arena),
        .token_endpoint = endpoint(cw_json_peek_text(root, "token_endpoint"), url, arena),
        .revocation_endpoint = endpoint(cw_json_peek_text(root, "revocation_endpoint"), url, arena),
        .introspection_endpoint = endpoint(cw_json_peek_text(root, "introspection_endpoint"), url, arena),
        .registration_endpoint = endpoint(cw_json_peek_text(root, "registration_endpoint"), url, arena),
        .management_endpoint = endpoint(cw_json_peek_text(root, "management_endpoint"), url, arena),
        .jwks_uri = endpoint(cw_json_peek_text(root, "jwks_uri"), url, arena),
        .userinfo_endpoint = endpoint(cw_json_peek_text(root, "userinfo_endpoint"), url, arena),
    };
    bool kept = read_associated(json_object_get(root, "associated_endpoints"), url, arena, &d) &&
                read_scopes(json_object_get(root, "scopes_supported"), arena, &d);
    cw_url_free(url);
    read_lists(root, &d);
    if (from.ours) {
        read_found(root, &d);
    }
    rc = kept ? check(&d, err) : oom(err);
    if (rc == CW_OK) {
        *ret = d;
    }
    return rc;
}

enum cw_code cw_discovery_parse(struct cw_span body, const char *base, struct cw_arena *arena,
                                struct cw_discovery *ret_discovery, struct cw_err *err)
{
    return parse(body, (struct from){ base, false }, arena, ret_discovery, err);
}

/* The first element of `list` whose member `name` is `value`. */
static const json_t *find_by(const json_t *list, const char *name, const char *value)
{
    size_t at;
    json_t *item;
    json_array_foreach(list, at, item) {
        if (cw_span_eq_cstr(cw_json_peek_text(item, name), value)) {
            return item;
        }
    }
    return NULL;
}

static const char *oauth_uri(const json_t *extension, const char *name, const struct cw_url *base, struct cw_arena *arena)
{
    const json_t *part = find_by(json_object_get(extension, "extension"), "url", name);
    return endpoint(cw_json_peek_text(part, "valueUri"), base, arena);
}

enum cw_code cw_discovery_parse_capability(struct cw_span body, const char *base, struct cw_arena *arena,
                                           struct cw_discovery *ret_discovery, struct cw_err *err)
{
    struct cw_url *url = NULL;
    CW_AUTO_JSON *root = NULL;
    enum cw_code rc = parse_base(base, &url, err);
    if (rc == CW_OK) {
        struct cw_json_limits limits = { CW_CAPABILITY_MAX, CW_JSON_DEPTH_MAX, CW_JSON_DUPLICATES_TOO };
        rc = cw_json_parse(cw_span_trim(body), limits, &root, err);
    }
    if (rc != CW_OK) {
        cw_url_free(url);
        return rc;
    }
    const json_t *rest = find_by(json_object_get(root, "rest"), "mode", "server");
    const json_t *security = json_object_get(rest, "security");
    const json_t *uris = find_by(json_object_get(security, "extension"), "url", OAUTH_URIS);
    struct cw_discovery d = {
        .found = CW_FOUND_CAPABILITY,
        .issuer = "",
        .jwks_uri = "",
        .authorization_endpoint = oauth_uri(uris, "authorize", url, arena),
        .token_endpoint = oauth_uri(uris, "token", url, arena),
        .revocation_endpoint = oauth_uri(uris, "revoke", url, arena),
        .introspection_endpoint = oauth_uri(uris, "introspect", url, arena),
        .registration_endpoint = oauth_uri(uris, "register", url, arena),
        .management_endpoint = oauth_uri(uris, "manage", url, arena),
        .userinfo_endpoint = "",
    };
    cw_url_free(url);
    rc = check(&d, err);
    if (rc == CW_OK) {
        *ret_discovery = d;
    }
    return rc;
}

/* --- kept --- */

static void emit_list(struct cw_jsonw *w, const char *key, const char *const *names, size_t count, unsigned bits)
{
    cw_jsonw_key(w, key);
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < count; i++) {
        if ((bits & 1u << i) != 0) {
            cw_jsonw_text(w, cw_span_cstr(names[i]));
        }
    }
    cw_jsonw_close_array(w);
}

static void emit_methods(struct cw_jsonw *w, const struct cw_discovery *d)
{
    const char *methods[CW_AUTH_KEY_JWT + 1] = { "" };
    const char *algs[CW_ALG__COUNT];
    for (unsigned m = CW_AUTH_NONE; m <= CW_AUTH_KEY_JWT; m++) {
        methods[m] = cw_auth_method_name((enum cw_auth_method)m);
    }
    for (unsigned alg = 0; alg < CW_ALG__COUNT; alg++) {
        algs[alg] = cw_jose_alg_name((enum cw_jose_alg)alg);
    }
    emit_list(w, "token_endpoint_auth_methods_supported", methods, CW_ARRAY_LEN(methods), d->auth_methods);
    emit_list(w, "token_endpoint_auth_signing_alg_values_supported", algs, CW_ARRAY_LEN(algs), d->auth_algs);
    if (d->pkce_told) {
        static const char *const s256[] = { "S256" };
        emit_list(w, "code_challenge_methods_supported", s256, 1, d->pkce_s256 ? 1 : 0);
    }
}

static void emit_texts(struct cw_jsonw *w, const struct cw_discovery *d)
{
    const struct {
        const char *key, *text;
    } rows[] = {
        { "issuer", d->issuer },
        { "authorization_endpoint", d->authorization_endpoint },
        { "token_endpoint", d->token_endpoint },
        { "revocation_endpoint", d->revocation_endpoint },
        { "introspection_endpoint", d->introspection_endpoint },
        { "registration_endpoint", d->registration_endpoint },
        { "management_endpoint", d->management_endpoint },
        { "jwks_uri", d->jwks_uri },
        { "userinfo_endpoint", d->userinfo_endpoint },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        if (rows[i].text[0] != '\0') {
            cw_jsonw_key_cstr(w, rows[i].key, rows[i].text);
        }
    }
}

enum cw_code cw_discovery_emit(const struct cw_discovery *d, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, FOUND_AT, cw_discovery_found_name(d->found));
    emit_texts(&w, d);
    emit_methods(&w, d);
    emit_list(&w, "capabilities", capability_names, CW_ARRAY_LEN(capability_names), d->capabilities);
    cw_jsonw_key_bool(&w, "authorization_response_iss_parameter_supported", d->iss_parameter);
    cw_jsonw_key(&w, "associated_endpoints");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < d->associated_count; i++) {
        cw_jsonw_open_object(&w);
        cw_jsonw_key_cstr(&w, "url", d->associated[i]);
        cw_jsonw_close_object(&w);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_key(&w, "scopes_supported");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < d->scope_count; i++) {
        cw_jsonw_text(&w, d->scopes[i]);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

enum cw_code cw_discovery_stored(struct cw_span text, const char *base, struct cw_arena *arena,
                                 struct cw_discovery *ret_discovery, struct cw_err *err)
{
    return parse(text, (struct from){ base, true }, arena, ret_discovery, err);
}

/* --- hosts --- */

static bool same_host(const char *a, const char *b)
{
    if (a[0] == '\0' || b[0] == '\0') {
        return a[0] == b[0];
    }
    struct cw_url *left = NULL;
    struct cw_url *right = NULL;
    bool parsed = cw_url_parse(cw_span_cstr(a), &left, NULL) == CW_OK && cw_url_parse(cw_span_cstr(b), &right, NULL) == CW_OK;
    bool same = parsed ? strcmp(cw_url_host(left), cw_url_host(right)) == 0 && cw_url_port(left) == cw_url_port(right)
                       : strcmp(a, b) == 0;
    cw_url_free(left);
    cw_url_free(right);
    return same;
}

bool cw_discovery_same_hosts(const struct cw_discovery *pinned, const struct cw_discovery *now)
{
    return strcmp(pinned->issuer, now->issuer) == 0 &&
           same_host(pinned->authorization_endpoint, now->authorization_endpoint) &&
           same_host(pinned->token_endpoint, now->token_endpoint);
}
