/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences of the quirks. */
#include "config.h"
#include "sandbox/quirk.h"

static const struct {
    const char *name, *doc;
} quirks[CW_SBX_QUIRK__COUNT] = {
    [CW_SBX_QUIRK_NONE] = { "", "" },
    /* --- discovery --- */
    [CW_SBX_QUIRK_SCOPES_UNLISTED] = { "scopes-unlisted", "scopes_supported names no resource scope." },
    [CW_SBX_QUIRK_SCOPES_BY_PERMISSION] = { "scopes-by-permission",
        "scopes_supported lists search and read apart, some types as user/ only, and no wild card." },
    [CW_SBX_QUIRK_AUTH_UNLISTED] = { "auth-unlisted",
        "The SMART configuration tells neither authentication methods nor PKCE nor capabilities." },
    [CW_SBX_QUIRK_GRANT_TYPES_SHORT] = { "grant-types-short",
        "grant_types_supported leaves refresh_token out, though refresh tokens are given." },
    [CW_SBX_QUIRK_OAUTH_URIS_ONLY] = { "oauth-uris-only",
        "There is no SMART configuration; the CapabilityStatement has the endpoints." },
    [CW_SBX_QUIRK_DISCOVERY_AT_ROOT] = { "discovery-at-root",
        "The SMART configuration is at the root of the host, not under the FHIR base. Needs the other origin." },
    [CW_SBX_QUIRK_DISCOVERY_AS_TEXT] = { "discovery-as-text", "The SMART configuration comes as text/plain." },
    [CW_SBX_QUIRK_RELATIVE_ENDPOINTS] = { "relative-endpoints", "The endpoints are relative to the FHIR base." },
    [CW_SBX_QUIRK_TRAILING_SLASH] = { "trailing-slash",
        "authorize/ and token/ end in a slash; without it a redirect answers, which loses a POST's body." },
    [CW_SBX_QUIRK_AUTHORIZE_SLASH] = { "authorize-slash",
        "The authorization endpoint is told with a slash at its end, but is only there without." },
    [CW_SBX_QUIRK_AUTHORIZE_QUERY] = { "authorize-query",
        "The authorization endpoint has a query of its own, which must come along." },
    [CW_SBX_QUIRK_PUBLISHED_WITH_SLASH] = { "published-with-slash",
        "The list of sources has the FHIR base with a slash at its end." },
    [CW_SBX_QUIRK_OTHER_HOST] = { "other-host", "All of it is on the second host, where budgets of requests are its own. Needs the other origin." },
    [CW_SBX_QUIRK_ISSUER_ELSEWHERE] = { "issuer-elsewhere",
        "The issuer and its keys are on another host than the endpoints. Needs the other origin." },
    [CW_SBX_QUIRK_OAUTH_ELSEWHERE] = { "oauth-elsewhere",
        "Patients sign in on another host than the FHIR base's. Needs the other origin." },
    [CW_SBX_QUIRK_NO_REVOCATION] = { "no-revocation", "There is no revocation and no introspection endpoint." },
    [CW_SBX_QUIRK_HTML_FOR_UNKNOWN] = { "html-for-unknown", "Unknown paths are answered with 200 and a page." },
    [CW_SBX_QUIRK_ISS_SILENT] = { "iss-silent", "The way back has no iss, and none is announced." },
    [CW_SBX_QUIRK_ISS_FORGOTTEN] = { "iss-forgotten", "iss is announced, but the way back has none." },
    [CW_SBX_QUIRK_ISS_FOREIGN] = { "iss-foreign", "The way back names another issuer." },
    /* --- the authorization request --- */
    [CW_SBX_QUIRK_AUD_WITH_SLASH] = { "aud-with-slash", "aud is taken only with a slash at its end." },
    [CW_SBX_QUIRK_AUD_WITHOUT_SLASH] = { "aud-without-slash", "aud is taken only without a slash at its end." },
    [CW_SBX_QUIRK_AUD_REFUSED] = { "aud-refused", "A request with aud is refused." },
    [CW_SBX_QUIRK_PKCE_REFUSED] = { "pkce-refused", "A request with PKCE is refused." },
    [CW_SBX_QUIRK_NONCE_NEEDED] = { "nonce-needed", "A request without nonce is refused." },
    [CW_SBX_QUIRK_STRICT_REQUEST] = { "strict-request",
        "Parameters that a standalone app must not send are refused (launch, max_age, prompt, response_mode, resource)." },
    [CW_SBX_QUIRK_POST_ONLY] = { "authorize-post-only", "The authorization request is taken by POST only." },
    [CW_SBX_QUIRK_WILDCARD_REFUSED] = { "wildcard-refused", "Scopes for all types are refused as invalid_scope." },
    [CW_SBX_QUIRK_UNLISTED_REFUSED] = { "unlisted-refused",
        "Scopes outside of scopes_supported, and wild cards, are refused as invalid_scope." },
    [CW_SBX_QUIRK_LITERAL_SCOPE] = { "literal-scope",
        "Only openid, fhirUser, launch/patient and patient/*.rs are taken, nothing more and nothing less." },
    [CW_SBX_QUIRK_V1_ONLY] = { "v1-only", "SMART v2 scopes, and fhirUser in mixed case, are refused as invalid_scope." },
    [CW_SBX_QUIRK_V1_DROPPED] = { "v1-dropped", "SMART v1 scopes are dropped without a word." },
    [CW_SBX_QUIRK_SCOPES_FIXED] = { "scopes-fixed", "Resource scopes come from the registration, whatever is asked." },
    [CW_SBX_QUIRK_LAUNCH_REFUSED] = { "launch-patient-refused", "The scope launch/patient is refused as invalid_scope." },
    [CW_SBX_QUIRK_FHIR_USER_REFUSED] = { "fhir-user-refused", "The scope fhirUser is refused as invalid_scope." },
    [CW_SBX_QUIRK_OFFLINE_REFUSED] = { "offline-refused", "The scope offline_access is refused as invalid_scope." },
    [CW_SBX_QUIRK_OFFLINE_DROPPED] = { "offline-dropped",
        "offline_access is dropped without a word, and no refresh token comes." },
    [CW_SBX_QUIRK_INTERNAL_NEEDED] = { "internal-scope-needed", "A request without the scope internal is refused." },
    [CW_SBX_QUIRK_SANDBOX_NEEDED] = { "sandbox-scope-needed", "A request without the scope sandbox is refused." },
    [CW_SBX_QUIRK_NOT_ENABLED] = { "client-not-enabled",
        "The portal answers unauthorized_client: the app is not known there yet." },
    [CW_SBX_QUIRK_UNKNOWN_TENANT] = { "unknown-tenant", "The portal answers an error_uri that ends in unknown-tenant." },
    [CW_SBX_QUIRK_PERSONA_MISMATCH] = { "client-persona-mismatch",
        "The portal answers an error_uri that ends in client-persona-mismatch." },
    [CW_SBX_QUIRK_ERRORS_BY_URI] = { "errors-by-uri", "Errors have an error_uri and no description." },
    /* --- the way back --- */
    [CW_SBX_QUIRK_STATE_CUT] = { "state-cut",
        "The state comes back cut off at the first character that is not a letter, a digit, - or _." },
    [CW_SBX_QUIRK_FORM_POST] = { "answer-by-form", "The answer comes by a form that posts itself." },
    [CW_SBX_QUIRK_FRAGMENT] = { "answer-in-fragment", "The answer comes in the fragment of the redirect URI." },
    [CW_SBX_QUIRK_PLUS_UNENCODED] = { "plus-unencoded", "The code has a + that is not percent-encoded." },
    [CW_SBX_QUIRK_LONG_CODE] = { "long-code", "The code has some 2,400 characters, with + / = and % among them." },
    /* --- clients --- */
    [CW_SBX_QUIRK_OWN_CLIENTS] = { "own-clients", "Only apps are known whose registration names this personality." },
    [CW_SBX_QUIRK_CONFIDENTIAL_ONLY] = { "confidential-only", "Apps without a secret or key are refused." },
    [CW_SBX_QUIRK_KEYS_BY_URL] = { "keys-by-url", "Keys of apps are taken from a registered JWKS URL only." },
    [CW_SBX_QUIRK_RS384_ONLY] = { "rs384-only", "Client assertions are taken with RS384 only." },
    [CW_SBX_QUIRK_CLIENT_ID_NEEDED] = { "client-id-needed", "client_id must be in the form, whatever the authentication." },
    [CW_SBX_QUIRK_CLIENT_ID_REFUSED] = { "client-id-refused", "client_id in the form beside HTTP Basic is refused." },
    [CW_SBX_QUIRK_BASIC_RAW] = { "basic-raw", "HTTP Basic is taken as it is, without form-decoding." },
    [CW_SBX_QUIRK_BASIC_ENCODED] = { "basic-encoded", "HTTP Basic is form-decoded, as RFC 6749 wants it." },
    [CW_SBX_QUIRK_REGISTRATION] = { "dynamic-registration",
        "Apps can register at /oauth/register with an access token, though no document says so." },
    [CW_SBX_QUIRK_JWT_BEARER_REFUSED] = { "jwt-bearer-refused", "Assertions of such apps are answered with invalid_grant." },
    /* --- token answers --- */
    [CW_SBX_QUIRK_PUBLIC_NO_REFRESH] = { "public-no-refresh", "Apps without a secret or key get no refresh token." },
    [CW_SBX_QUIRK_REFRESH_ALWAYS] = { "refresh-always", "A refresh token comes, whether offline_access was asked for or not." },
    [CW_SBX_QUIRK_OFFLINE_UNLISTED] = { "offline-unlisted",
        "The refresh token comes, but the answer's scope does not list offline_access." },
    [CW_SBX_QUIRK_NO_PATIENT] = { "no-patient", "The answer has no patient." },
    [CW_SBX_QUIRK_NO_PATIENT_SEARCH] = { "no-patient-search", "GET Patient without parameters is refused." },
    [CW_SBX_QUIRK_NO_FHIR_USER] = { "no-fhir-user", "The id_token has no fhirUser." },
    [CW_SBX_QUIRK_NO_ID_TOKEN] = { "no-id-token", "No id_token comes." },
    [CW_SBX_QUIRK_USERINFO] = { "userinfo", "There is a userinfo endpoint, and it names the patient." },
    [CW_SBX_QUIRK_LOCAL_PATIENT_ID] = { "local-patient-id",
        "The access token is a JWT with the patient in the claim local_patient_id." },
    [CW_SBX_QUIRK_AH_PRACTICE] = { "ah-practice", "The access token is a JWT with the practice in the claim ah_practice." },
    [CW_SBX_QUIRK_PROXY_USER] = { "proxy-user", "Who signs in is a RelatedPerson, the same for all patients." },
    [CW_SBX_QUIRK_EXPIRES_FLOAT] = { "expires-float", "expires_in has a fraction." },
    [CW_SBX_QUIRK_EXPIRES_TEXT] = { "expires-text", "expires_in is a text." },
    [CW_SBX_QUIRK_EXPIRES_MISSING] = { "expires-missing", "There is no expires_in." },
    [CW_SBX_QUIRK_EXPIRES_ZERO] = { "expires-zero", "expires_in is 0." },
    [CW_SBX_QUIRK_SHORT_LIFE] = { "short-life", "Access tokens live 570 seconds." },
    [CW_SBX_QUIRK_GRANT_ENDS] = { "grant-ends", "access_grant_expiration says that the grant ends after ten hours." },
    [CW_SBX_QUIRK_TYPE_MISSING] = { "token-type-missing", "There is no token_type." },
    [CW_SBX_QUIRK_TYPE_LOWER] = { "token-type-lower", "token_type is bearer." },
    [CW_SBX_QUIRK_TYPE_DPOP] = { "token-type-dpop", "token_type is DPoP." },
    [CW_SBX_QUIRK_PADDED] = { "tokens-padded", "Tokens have blanks around them." },
    [CW_SBX_QUIRK_AS_HTML] = { "token-as-html", "The token answer comes as text/html." },
    [CW_SBX_QUIRK_SCOPE_MISSING] = { "scope-missing", "The answer has no scope." },
    [CW_SBX_QUIRK_SCOPE_EMPTY] = { "scope-empty", "The answer's scope is empty." },
    [CW_SBX_QUIRK_SCOPE_V1] = { "scope-in-v1", "The answer names scopes of SMART v2 in those of v1." },
    [CW_SBX_QUIRK_ERRORS_IN_200] = { "errors-in-200", "Errors of the token endpoint come with 200." },
    [CW_SBX_QUIRK_ERRORS_IN_500] = { "errors-in-500", "Errors of the token endpoint come with 500 and expires_in 0." },
    [CW_SBX_QUIRK_ID_BAD_SIGNATURE] = { "id-token-bad-signature", "The signature of the id_token does not hold." },
    [CW_SBX_QUIRK_ID_OTHER_ISSUER] = { "id-token-other-issuer", "The id_token has another issuer." },
    [CW_SBX_QUIRK_ID_OTHER_NONCE] = { "id-token-other-nonce", "The id_token has another nonce." },
    [CW_SBX_QUIRK_ID_OTHER_AUDIENCE] = { "id-token-other-audience", "The id_token is for another app." },
    /* --- refresh and revocation --- */
    [CW_SBX_QUIRK_REFRESH_SCOPE] = { "refresh-wants-scope", "A refresh without scope is refused." },
    [CW_SBX_QUIRK_REFRESH_REDIRECT] = { "refresh-wants-redirect", "A refresh without redirect_uri is refused." },
    [CW_SBX_QUIRK_REFRESH_STABLE] = { "refresh-token-stays", "A refresh brings no new refresh token; the first stays good." },
    [CW_SBX_QUIRK_REFRESH_REFUSED] = { "refresh-refused", "A refresh is answered with unauthorized_client." },
    [CW_SBX_QUIRK_REFRESH_OTHER_PATIENT] = { "refresh-other-patient", "A refresh names another patient." },
    [CW_SBX_QUIRK_REVOKE_ALL] = { "revoke-all", "Revoking any token ends the whole grant." },
};

const char *cw_sbx_quirk_name(enum cw_sbx_quirk quirk)
{
    return quirks[quirk].name;
}

const char *cw_sbx_quirk_doc(enum cw_sbx_quirk quirk)
{
    return quirks[quirk].doc;
}

bool cw_sbx_quirk_find(struct cw_span name, enum cw_sbx_quirk *ret_quirk)
{
    for (unsigned i = CW_SBX_QUIRK_NONE + 1; i < CW_SBX_QUIRK__COUNT; i++) {
        if (cw_span_eq_cstr(name, quirks[i].name)) {
            *ret_quirk = (enum cw_sbx_quirk)i;
            return true;
        }
    }
    return false;
}
