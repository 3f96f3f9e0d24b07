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
    cw_str_addf(&url, "%s%s", site->root, path);
    cw_jsonw_key_text(w, key, cw_str_span(&url));
}

static void scopes_member(struct cw_jsonw *w, const struct site *site)
{
    static const char *const fixed[] = { "openid", "fhirUser", "launch/patient", "offline_access", "patient/*.rs",
                                         "patient/*.read" };
    static const char *const bare[] = { "fhirUser", "launch", "openid", "profile" };
    if (site_plays(site, CW_SBX_QUIRK_SCOPES_UNLISTED)) {
        texts(w, "scopes_supported", bare, CW_ARRAY_LEN(bare));
        return;
    }
    cw_jsonw_key(w, "scopes_supported");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < CW_ARRAY_LEN(fixed); i++) {
        cw_jsonw_cstr(w, fixed[i]);
    }
    for (size_t i = 0; i < cw_sbx_type_count(); i++) {
        CW_AUTO_STR scope;
        cw_str_init(&scope, 128);
        cw_str_addf(&scope, "patient/%s.rs", cw_sbx_types[i].name);
        cw_jsonw_text(w, cw_str_span(&scope));
    }
    cw_jsonw_close_array(w);
}

void discovery_get(struct cw_request *request, struct cw_reply *reply)
{
    static const char *const methods[] = { "none", "client_secret_basic", "client_secret_post", "private_key_jwt" };
    static const char *const algs[] = { "RS384", "ES384" };
    static const char *const grants[] = { "authorization_code", "refresh_token" };
    static const char *const capabilities[] = { "launch-standalone", "client-public", "client-confidential-symmetric",
                                                "client-confidential-asymmetric", "context-standalone-patient",
                                                "permission-patient", "permission-offline", "permission-v1",
                                                "permission-v2", "authorize-post", "sso-openid-connect" };
    static const char *const code[] = { "code" }, *const s256[] = { "S256" };
    const struct site *site = site_of(request);
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_DISCOVERY, .site = site->as.name, .persona = -1 };
    cw_sbx_faults_take(site->hospital->state, &occasion, &faults);
    if (fault_answers(reply, &faults)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "issuer", site->issuer);
    url_member(&w, "jwks_uri", site, "/oauth/jwks");
    url_member(&w, "authorization_endpoint", site, "/oauth/authorize");
    url_member(&w, "token_endpoint", site, "/oauth/token");
    if (!site_plays(site, CW_SBX_QUIRK_NO_REVOCATION)) {
        url_member(&w, "revocation_endpoint", site, "/oauth/revoke");
        url_member(&w, "introspection_endpoint", site, "/oauth/introspect");
    }
    texts(&w, "token_endpoint_auth_methods_supported", methods, CW_ARRAY_LEN(methods));
    texts(&w, "token_endpoint_auth_signing_alg_values_supported", algs, CW_ARRAY_LEN(algs));
    texts(&w, "grant_types_supported", grants, CW_ARRAY_LEN(grants));
    texts(&w, "response_types_supported", code, 1);
    texts(&w, "code_challenge_methods_supported", s256, 1);
    cw_jsonw_key_bool(&w, "authorization_response_iss_parameter_supported", true);
    texts(&w, "capabilities", capabilities, CW_ARRAY_LEN(capabilities));
    scopes_member(&w, site);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(reply, &faults, "application/json");
}
