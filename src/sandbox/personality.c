/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in personalities, and reading those of the operator. */
#include "config.h"
#include "sandbox/personality.h"

#define SOFTWARE "Chartway Sandbox"
#define PUBLISHER "Chartway"
#define OTHER_SOFTWARE "Nobody's EHR" /* has no vendor profile */
#define TEXT_MAX 200u

const struct cw_sbx_personality cw_sbx_plain = { .name = "", .doc = "The hospital without quirks.", .software = SOFTWARE,
                                                 .publisher = PUBLISHER };

/* What single quirks and the operator's own start from. */
static const struct cw_sbx_personality nameless = { .software = OTHER_SOFTWARE, .publisher = "Nobody" };

static const struct cw_sbx_personality builtin[] = {
    { "epic", "Epic: scopes fixed at registration, refresh tokens for confidential apps only, no revocation, pages for unknown paths.",
      "Epic", "Epic",
      { CW_SBX_QUIRK_SCOPES_UNLISTED, CW_SBX_QUIRK_REFRESH_ALWAYS, CW_SBX_QUIRK_SCOPES_FIXED,
        CW_SBX_QUIRK_OFFLINE_UNLISTED, CW_SBX_QUIRK_KEYS_BY_URL, CW_SBX_QUIRK_PUBLIC_NO_REFRESH,
        CW_SBX_QUIRK_NO_REVOCATION, CW_SBX_QUIRK_HTML_FOR_UNKNOWN, CW_SBX_QUIRK_PUBLISHED_WITH_SLASH,
        CW_SBX_QUIRK_AUD_WITH_SLASH } },
    { "epic-registering", "Epic where a public app can register itself for lasting access.",
      "Epic", "Epic",
      { CW_SBX_QUIRK_SCOPES_UNLISTED, CW_SBX_QUIRK_REFRESH_ALWAYS, CW_SBX_QUIRK_SCOPES_FIXED,
        CW_SBX_QUIRK_OFFLINE_UNLISTED, CW_SBX_QUIRK_KEYS_BY_URL, CW_SBX_QUIRK_PUBLIC_NO_REFRESH,
        CW_SBX_QUIRK_NO_REVOCATION, CW_SBX_QUIRK_HTML_FOR_UNKNOWN, CW_SBX_QUIRK_PUBLISHED_WITH_SLASH,
        CW_SBX_QUIRK_AUD_WITH_SLASH, CW_SBX_QUIRK_REGISTRATION } },
    { "epic-unregistering", "Epic where apps can register themselves, but their assertions are refused.",
      "Epic", "Epic",
      { CW_SBX_QUIRK_SCOPES_UNLISTED, CW_SBX_QUIRK_REFRESH_ALWAYS, CW_SBX_QUIRK_SCOPES_FIXED,
        CW_SBX_QUIRK_OFFLINE_UNLISTED, CW_SBX_QUIRK_KEYS_BY_URL, CW_SBX_QUIRK_PUBLIC_NO_REFRESH,
        CW_SBX_QUIRK_NO_REVOCATION, CW_SBX_QUIRK_HTML_FOR_UNKNOWN, CW_SBX_QUIRK_PUBLISHED_WITH_SLASH,
        CW_SBX_QUIRK_AUD_WITH_SLASH, CW_SBX_QUIRK_REGISTRATION, CW_SBX_QUIRK_JWT_BEARER_REFUSED } },
    { "epic-new-client", "Epic that has not heard of the app yet.",
      "Epic", "Epic",
      { CW_SBX_QUIRK_SCOPES_UNLISTED, CW_SBX_QUIRK_REFRESH_ALWAYS, CW_SBX_QUIRK_SCOPES_FIXED,
        CW_SBX_QUIRK_OFFLINE_UNLISTED, CW_SBX_QUIRK_KEYS_BY_URL, CW_SBX_QUIRK_PUBLIC_NO_REFRESH,
        CW_SBX_QUIRK_NO_REVOCATION, CW_SBX_QUIRK_HTML_FOR_UNKNOWN, CW_SBX_QUIRK_PUBLISHED_WITH_SLASH,
        CW_SBX_QUIRK_AUD_WITH_SLASH, CW_SBX_QUIRK_NOT_ENABLED } },
    { "oracle", "Oracle Health with a SMART v2 registration: explicit scopes, v1 dropped, tokens of 570 s, errors by URI.",
      "Oracle Health Millennium", "Oracle Health",
      { CW_SBX_QUIRK_SCOPES_BY_PERMISSION, CW_SBX_QUIRK_V1_DROPPED, CW_SBX_QUIRK_SHORT_LIFE,
        CW_SBX_QUIRK_ERRORS_BY_URI, CW_SBX_QUIRK_GRANT_TYPES_SHORT, CW_SBX_QUIRK_REFRESH_STABLE } },
    { "oracle-online", "Oracle Health with an app that is not registered for offline access.",
      "Oracle Health Millennium", "Oracle Health",
      { CW_SBX_QUIRK_SCOPES_BY_PERMISSION, CW_SBX_QUIRK_V1_DROPPED, CW_SBX_QUIRK_SHORT_LIFE,
        CW_SBX_QUIRK_ERRORS_BY_URI, CW_SBX_QUIRK_GRANT_TYPES_SHORT, CW_SBX_QUIRK_REFRESH_STABLE,
        CW_SBX_QUIRK_OFFLINE_DROPPED } },
    { "oracle-tenant", "Oracle Health asked with a profile of the other SMART version.",
      "Oracle Health Millennium", "Oracle Health",
      { CW_SBX_QUIRK_SCOPES_BY_PERMISSION, CW_SBX_QUIRK_V1_DROPPED, CW_SBX_QUIRK_SHORT_LIFE,
        CW_SBX_QUIRK_ERRORS_BY_URI, CW_SBX_QUIRK_GRANT_TYPES_SHORT, CW_SBX_QUIRK_REFRESH_STABLE,
        CW_SBX_QUIRK_UNKNOWN_TENANT } },
    { "oracle-provider", "Oracle Health at its providers' base.",
      "Oracle Health Millennium", "Oracle Health",
      { CW_SBX_QUIRK_SCOPES_BY_PERMISSION, CW_SBX_QUIRK_V1_DROPPED, CW_SBX_QUIRK_SHORT_LIFE,
        CW_SBX_QUIRK_ERRORS_BY_URI, CW_SBX_QUIRK_GRANT_TYPES_SHORT, CW_SBX_QUIRK_REFRESH_STABLE,
        CW_SBX_QUIRK_PERSONA_MISMATCH } },
    { "athena", "athenahealth: one base for all practices, issuer on another host, the scope is wanted again at refresh.",
      "athenahealth", "athenahealth",
      { CW_SBX_QUIRK_WILDCARD_REFUSED, CW_SBX_QUIRK_ISSUER_ELSEWHERE, CW_SBX_QUIRK_AH_PRACTICE,
        CW_SBX_QUIRK_NONCE_NEEDED, CW_SBX_QUIRK_REFRESH_SCOPE } },
    { "ecw", "eClinicalWorks: confidential apps, RS384 only, no patient in the token answer, aud without slash.",
      "eClinicalWorks", "eClinicalWorks LLC",
      { CW_SBX_QUIRK_WILDCARD_REFUSED, CW_SBX_QUIRK_CONFIDENTIAL_ONLY, CW_SBX_QUIRK_RS384_ONLY,
        CW_SBX_QUIRK_NO_PATIENT, CW_SBX_QUIRK_OTHER_HOST, CW_SBX_QUIRK_AUD_WITHOUT_SLASH } },
    { "meditech", "MEDITECH: discovery at the host's root, an app for each hospital.",
      "MEDITECH Expanse", "MEDITECH",
      { CW_SBX_QUIRK_DISCOVERY_AT_ROOT, CW_SBX_QUIRK_WILDCARD_REFUSED, CW_SBX_QUIRK_OWN_CLIENTS } },
    { "blue-button", "CMS Blue Button: expires_in with a fraction, the patient at userinfo, slashes at the ends, grants that end.",
      "Blue Button", "Centers for Medicare & Medicaid Services",
      { CW_SBX_QUIRK_CONFIDENTIAL_ONLY, CW_SBX_QUIRK_TRAILING_SLASH, CW_SBX_QUIRK_EXPIRES_FLOAT,
        CW_SBX_QUIRK_NO_PATIENT, CW_SBX_QUIRK_NO_ID_TOKEN, CW_SBX_QUIRK_USERINFO, CW_SBX_QUIRK_FHIR_USER_REFUSED,
        CW_SBX_QUIRK_OFFLINE_REFUSED, CW_SBX_QUIRK_WILDCARD_REFUSED, CW_SBX_QUIRK_GRANT_ENDS,
        CW_SBX_QUIRK_REFRESH_ALWAYS, CW_SBX_QUIRK_REVOKE_ALL } },
    { "uhc", "UnitedHealthcare: listed scopes only.",
      "UnitedHealthcare", "UnitedHealthcare",
      { CW_SBX_QUIRK_UNLISTED_REFUSED } },
    { "healthpartners", "HealthPartners: one literal scope text.",
      "HealthPartners", "HealthPartners",
      { CW_SBX_QUIRK_LITERAL_SCOPE, CW_SBX_QUIRK_OFFLINE_UNLISTED } },
    { "nextgen", "NextGen: no aud, no launch/patient, no patient in any token.",
      "NextGen", "NextGen Healthcare",
      { CW_SBX_QUIRK_AUD_REFUSED, CW_SBX_QUIRK_LAUNCH_REFUSED, CW_SBX_QUIRK_NO_PATIENT, CW_SBX_QUIRK_NO_FHIR_USER } },
    { "veradigm", "Veradigm: SMART v1, fhiruser in lower case, the patient in a claim of the access token.",
      "Veradigm", "Veradigm",
      { CW_SBX_QUIRK_V1_ONLY, CW_SBX_QUIRK_AUTHORIZE_SLASH, CW_SBX_QUIRK_NO_PATIENT, CW_SBX_QUIRK_LOCAL_PATIENT_ID } },
    { "altera", "Altera: the authorization endpoint has a query of its own.",
      "Sunrise", "Altera Digital Health",
      { CW_SBX_QUIRK_V1_ONLY, CW_SBX_QUIRK_AUTHORIZE_QUERY } },
    { "athenapractice", "athenaPractice: cut states, redirect_uri wanted at refresh, errors as 500.",
      "athenaPractice", "athenahealth",
      { CW_SBX_QUIRK_STATE_CUT, CW_SBX_QUIRK_REFRESH_REDIRECT, CW_SBX_QUIRK_ERRORS_IN_500 } },
    { "qualifacts", "Qualifacts CareLogic: PKCE is refused.",
      "CareLogic", "Qualifacts",
      { CW_SBX_QUIRK_PKCE_REFUSED, CW_SBX_QUIRK_AUD_WITHOUT_SLASH } },
    { "va", "Department of Veterans Affairs: no aud.",
      "VA Lighthouse", "Department of Veterans Affairs",
      { CW_SBX_QUIRK_AUD_REFUSED, CW_SBX_QUIRK_OTHER_HOST } },
    { "cigna", "Cigna: no aud, no launch/patient.",
      "Cigna", "Cigna",
      { CW_SBX_QUIRK_AUD_REFUSED, CW_SBX_QUIRK_LAUNCH_REFUSED } },
    { "humana", "Humana: wants the scope internal.",
      "Humana", "Humana",
      { CW_SBX_QUIRK_INTERNAL_NEEDED, CW_SBX_QUIRK_WILDCARD_REFUSED } },
    { "kaiser", "Kaiser Permanente: wants the scope sandbox.",
      "Kaiser Permanente", "Kaiser Permanente",
      { CW_SBX_QUIRK_SANDBOX_NEEDED } },
    { "medent", "MEDENT: the patient is in fhirUser only.",
      "MEDENT", "Community Computer Service, Inc.",
      { CW_SBX_QUIRK_NO_PATIENT } },
};

size_t cw_sbx_personality_count(void)
{
    return CW_ARRAY_LEN(builtin);
}

const struct cw_sbx_personality *cw_sbx_personality_at(size_t at)
{
    return &builtin[at];
}

bool cw_sbx_personality_builtin(struct cw_span name, struct cw_sbx_personality *ret)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(builtin); i++) {
        if (cw_span_eq_cstr(name, builtin[i].name)) {
            *ret = builtin[i];
            return true;
        }
    }
    enum cw_sbx_quirk quirk;
    if (!cw_sbx_quirk_find(name, &quirk)) {
        return false;
    }
    *ret = nameless;
    ret->name = cw_sbx_quirk_name(quirk);
    ret->doc = cw_sbx_quirk_doc(quirk);
    ret->quirks[0] = quirk;
    return true;
}

bool cw_sbx_personality_has(const struct cw_sbx_personality *personality, enum cw_sbx_quirk quirk)
{
    const enum cw_sbx_quirk *at = personality->quirks;
    while (*at != CW_SBX_QUIRK_NONE && *at != quirk) {
        at++;
    }
    return *at == quirk && quirk != CW_SBX_QUIRK_NONE;
}

/* --- the operator's --- */

static enum cw_code wrong(struct cw_err *err, enum cw_code code, const char *text)
{
    return cw_err_set(err, code, "sandbox.personality", "%s", text);
}

static bool is_name(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CW_SBX_PERSONALITY_NAME_MAX;
}

static enum cw_code take_text(const json_t *object, const char *key, const char **out, struct cw_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL) {
        return CW_OK;
    }
    if (!json_is_string(value) || json_string_length(value) > TEXT_MAX) {
        return wrong(err, CW_E_KIND, "doc, software and publisher are short texts");
    }
    *out = json_string_value(value);
    return CW_OK;
}

static enum cw_code take_quirks(const json_t *object, struct cw_sbx_personality *out, struct cw_err *err)
{
    const json_t *list = json_object_get(object, "quirks");
    if (!json_is_array(list) || json_array_size(list) > CW_SBX_PERSONALITY_QUIRKS_MAX) {
        return wrong(err, CW_E_KIND, "quirks is not a short array");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (!cw_sbx_quirk_find(cw_span_of(json_string_value(one), json_string_length(one)), &out->quirks[i])) {
            return wrong(err, CW_E_RANGE, "quirks names one that does not exist");
        }
    }
    return CW_OK;
}

enum cw_code cw_sbx_personality_parse(const json_t *object, struct cw_sbx_personality *ret, struct cw_err *err)
{
    struct cw_sbx_personality made = nameless, taken;
    struct cw_span name;
    enum cw_code rc = cw_json_text(object, "name", &name, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (!is_name(name) || cw_sbx_personality_builtin(name, &taken)) {
        return wrong(err, CW_E_RANGE, "name is of a-z, 0-9 and '-', and not taken");
    }
    made.name = name.ptr;
    made.doc = "Made by the operator.";
    rc = take_quirks(object, &made, err);
    if (rc == CW_OK) {
        rc = take_text(object, "doc", &made.doc, err);
    }
    if (rc == CW_OK) {
        rc = take_text(object, "software", &made.software, err);
    }
    if (rc == CW_OK) {
        rc = take_text(object, "publisher", &made.publisher, err);
    }
    if (rc == CW_OK) {
        *ret = made;
    }
    return rc;
}

void cw_sbx_personality_emit(const struct cw_sbx_personality *personality, struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "name", personality->name);
    cw_jsonw_key_cstr(w, "doc", personality->doc);
    cw_jsonw_key_cstr(w, "software", personality->software);
    cw_jsonw_key_cstr(w, "publisher", personality->publisher);
    cw_jsonw_key(w, "quirks");
    cw_jsonw_open_array(w);
    for (const enum cw_sbx_quirk *quirk = personality->quirks; *quirk != CW_SBX_QUIRK_NONE; quirk++) {
        cw_jsonw_cstr(w, cw_sbx_quirk_name(*quirk));
    }
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
}
