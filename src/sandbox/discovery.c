/* SPDX-License-Identifier: Apache-2.0 */
/* The SMART configuration: what the hospital says of its authorization server, as far as its personality says it. */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/jsonw.h"

static void texts(struct cw_jsonw *w, const char *key, const char *const *list, size_t count)
{
    cw_jsonw_key(w, key);
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < count; i++) {
        cw_jsonw_cstr(w, list[i]);
    }
    cw_jsonw_close_array(w);
}

static void url_member(struct cw_jsonw *w, const char *key, const struct site *site, const char *path)
{
    CW_AUTO_STR url;
    cw_str_init(&url, 1024);
    cw_str_addf(&url, "%s%s", site->oauth, path);
    cw_jsonw_key_text(w, key, cw_str_span(&url));
}

/* --- scopes --- */

static void scope_text(struct cw_jsonw *w, const char *context, const char *type, const char *permission)
{
    CW_AUTO_STR scope;
    cw_str_init(&scope, 128);
    cw_str_addf(&scope, "%s/%s.%s", context, type, permission);
    cw_jsonw_text(w, cw_str_span(&scope));
}

/* Search and read by scopes of their own; what is not a patient's by user/ only. */
static void scopes_by_permission(struct cw_jsonw *w)
{
    for (size_t i = 0; i < cw_sbx_type_count(); i++) {
        const struct cw_sbx_type *type = &cw_sbx_types[i];
        bool searched = (type->flags & CW_SBX_BY_PATIENT) != 0;
        const char *context = (type->flags & CW_SBX_SHARED) != 0 ? "user" : "patient";
        scope_text(w, context, type->name, searched || (type->flags & CW_SBX_SHARED) != 0 ? "read" : "r");
        if (searched) {
            scope_text(w, context, type->name, "s");
            scope_text(w, context, type->name, "r");
        }
    }
}

static void scopes_member(struct cw_jsonw *w, const struct site *site)
{
    static const char *const fixed[] = { "openid", "fhirUser", "launch/patient", "offline_access" };
    static const char *const bare[] = { "fhirUser", "launch", "openid", "profile" };
    if (site_plays(site, CW_SBX_QUIRK_SCOPES_UNLISTED)) {
        texts(w, "scopes_supported", bare, CW_ARRAY_LEN(bare));
        return;
    }
    bool v1 = site_plays(site, CW_SBX_QUIRK_V1_ONLY);
    cw_jsonw_key(w, "scopes_supported");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < CW_ARRAY_LEN(fixed); i++) {
        cw_jsonw_cstr(w, v1 && i == 1 ? "fhiruser" : fixed[i]);
    }
    if (!site_lists_scopes(site)) {
        scope_text(w, "patient", "*", "read");
        if (!v1) {
            scope_text(w, "patient", "*", "rs");
        }
    }
    if (site_plays(site, CW_SBX_QUIRK_SCOPES_BY_PERMISSION)) {
        scopes_by_permission(w);
    } else if (!site_plays(site, CW_SBX_QUIRK_LITERAL_SCOPE)) {
        for (size_t i = 0; i < cw_sbx_type_count(); i++) {
            scope_text(w, "patient", cw_sbx_types[i].name, v1 ? "read" : "rs");
        }
    }
    cw_jsonw_close_array(w);
}

/* --- the document --- */

static void endpoints(struct cw_jsonw *w, const struct site *site)
{
    bool relative = site_plays(site, CW_SBX_QUIRK_RELATIVE_ENDPOINTS);
    cw_jsonw_key_cstr(w, "authorization_endpoint", relative ? "../oauth/authorize" : site->authorize_url);
    cw_jsonw_key_cstr(w, "token_endpoint", relative ? "../oauth/token" : site->token_url);
    if (!site_plays(site, CW_SBX_QUIRK_NO_REVOCATION)) {
        url_member(w, "revocation_endpoint", site, "/oauth/revoke");
        url_member(w, "introspection_endpoint", site, "/oauth/introspect");
    }
    if (site_plays(site, CW_SBX_QUIRK_USERINFO)) {
        url_member(w, "userinfo_endpoint", site, "/oauth/userinfo");
    }
}

static void methods(struct cw_jsonw *w, const struct site *site)
{
    static const char *const all[] = { "client_secret_basic", "client_secret_post", "private_key_jwt", "none" };
    static const char *const algs[] = { "RS384", "ES384" };
    bool confidential = site_plays(site, CW_SBX_QUIRK_CONFIDENTIAL_ONLY);
    texts(w, "token_endpoint_auth_methods_supported", all, CW_ARRAY_LEN(all) - (confidential ? 1 : 0));
    texts(w, "token_endpoint_auth_signing_alg_values_supported", algs, site_plays(site, CW_SBX_QUIRK_RS384_ONLY) ? 1 : 2);
}

static void abilities(struct cw_jsonw *w, const struct site *site)
{
    static const char *const all[] = { "permission-v2", "launch-standalone", "client-public", "client-confidential-symmetric",
                                       "client-confidential-asymmetric", "context-standalone-patient",
                                       "permission-patient", "permission-offline", "permission-v1",
                                       "authorize-post", "sso-openid-connect" };
    static const char *const s256[] = { "S256" };
    size_t from = site_plays(site, CW_SBX_QUIRK_V1_ONLY) ? 1 : 0;
    if (site_plays(site, CW_SBX_QUIRK_AUTH_UNLISTED)) {
        texts(w, "capabilities", all, 0);
        return;
    }
    methods(w, site);
    texts(w, "code_challenge_methods_supported", s256, site_plays(site, CW_SBX_QUIRK_PKCE_REFUSED) ? 0 : 1);
    texts(w, "capabilities", all + from, CW_ARRAY_LEN(all) - from);
}

static void document(const struct site *site, struct cw_jsonw *w)
{
    static const char *const grants[] = { "authorization_code", "refresh_token" };
    static const char *const code[] = { "code" };
    bool silent = site_plays(site, CW_SBX_QUIRK_ISS_SILENT);
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "issuer", site->issuer);
    cw_jsonw_key_cstr(w, "jwks_uri", site->jwks_url);
    endpoints(w, site);
    texts(w, "grant_types_supported", grants, site_plays(site, CW_SBX_QUIRK_GRANT_TYPES_SHORT) ? 1 : 2);
    texts(w, "response_types_supported", code, 1);
    if (!silent) {
        cw_jsonw_key_bool(w, "authorization_response_iss_parameter_supported", true);
    }
    abilities(w, site);
    scopes_member(w, site);
    cw_jsonw_close_object(w);
}

static void answer(const struct site *site, struct cw_reply *reply)
{
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_DISCOVERY, .site = site->as.name, .persona = -1 };
    cw_sbx_faults_take(site->hospital->state, &occasion, &faults);
    if (fault_answers(reply, &faults)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    document(site, &w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(reply, &faults, site_plays(site, CW_SBX_QUIRK_DISCOVERY_AS_TEXT) ? "text/plain" : "application/json");
}

void discovery_get(struct cw_request *request, struct cw_reply *reply)
{
    const struct site *site = site_of(request);
    if (site_plays(site, CW_SBX_QUIRK_OAUTH_URIS_ONLY) || site_plays(site, CW_SBX_QUIRK_DISCOVERY_AT_ROOT)) {
        unknown_any(request, reply);
        return;
    }
    answer(site, reply);
}

void discovery_root_get(struct cw_request *request, struct cw_reply *reply)
{
    const struct site *site = site_of(request);
    if (!site_plays(site, CW_SBX_QUIRK_DISCOVERY_AT_ROOT)) {
        unknown_any(request, reply);
        return;
    }
    answer(site, reply);
}
