/* SPDX-License-Identifier: Apache-2.0 */
/* Whose records a token opens: five places to look, from the most to the least direct. */
#include "config.h"

#include "smart/patient_context.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "net/url.h"

#define PATIENT_BUNDLE_MAX (1024u * 1024u)
#define SEARCH_MS 10000 /* a browser waits, and the exchange may have taken its time already */

/* FHIR ids, with the lengths that servers really use (Epic: 88). */
static bool is_id(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                    c == '_';
        if (!good) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CW_FHIR_ID_MAX;
}

bool cw_patient_from_fhir_user(struct cw_span fhir_user, const char *base, struct cw_span *ret_id)
{
    struct cw_span prefix = cw_span_cstr(base);
    while (cw_span_ends(prefix, CW_SPAN("/"))) {
        prefix.len--;
    }
    struct cw_span rest = fhir_user;
    if (prefix.len > 0 && cw_span_starts(rest, prefix)) {
        rest = cw_span_from(rest, prefix.len);
        if (!cw_span_starts(rest, CW_SPAN("/"))) {
            return false;
        }
        rest = cw_span_from(rest, 1);
    }
    if (!cw_span_starts(rest, CW_SPAN("Patient/")) || !is_id(cw_span_from(rest, 8))) {
        return false;
    }
    *ret_id = cw_span_from(rest, 8);
    return true;
}

bool cw_patient_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
{
    const char *const names[] = { profile->patient_claim, "patient", "launch_response_patient" };
    CW_AUTO_JSON *claims = NULL;
    if (cw_jws_peek(access_token, &claims, NULL) != CW_OK) {
        return false;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        const json_t *claim = names[i][0] == '\0' ? NULL : json_object_get(claims, names[i]);
        struct cw_span text = cw_span_of(json_string_value(claim), json_string_length(claim));
        if (json_is_integer(claim)) {
            return cw_str_add_int(out, json_integer_value(claim)) == CW_OK;
        }
        if (text.len > 0 && text.len <= CW_FHIR_ID_MAX && !cw_utf8_has_control(text)) {
            return cw_str_add_span(out, text) == CW_OK;
        }
    }
    return false;
}

enum cw_code cw_patient_from_bundle(struct cw_span body, struct cw_str *out)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { PATIENT_BUNDLE_MAX, CW_JSON_DEPTH_MAX, CW_JSON_DUPLICATES_TOO };
    enum cw_code rc = cw_json_parse(cw_span_trim(body), limits, &root, NULL);
    if (rc != CW_OK) {
        return rc == CW_E_OOM ? rc : CW_E_SYNTAX;
    }
    if (!cw_span_eq_cstr(cw_json_peek_text(root, "resourceType"), "Bundle")) {
        return CW_E_SYNTAX;
    }
    struct cw_span found = { NULL, 0 };
    size_t at;
    json_t *entry;
    json_array_foreach(json_object_get(root, "entry"), at, entry) {
        const json_t *resource = json_object_get(entry, "resource");
        struct cw_span id = cw_json_peek_text(resource, "id");
        if (!cw_span_eq_cstr(cw_json_peek_text(resource, "resourceType"), "Patient") || id.len == 0) {
            continue;
        }
        if (found.ptr != NULL && !cw_span_eq(found, id)) {
            return CW_E_CONFLICT;
        }
        found = id;
    }
    if (found.ptr == NULL || found.len > CW_FHIR_ID_MAX || cw_utf8_has_control(found)) {
        return CW_E_NOT_FOUND;
    }
    return cw_str_add_span(out, found);
}

/* NextGen: a patient's token sees only that patient. */
static enum cw_code search(struct cw_http *http, const struct cw_profile *profile, const char *base,
                           const struct cw_smart_grant *grant, struct cw_str *out, struct cw_err *err)
{
    CW_AUTO_STR url;
    cw_str_init(&url, CW_LINK_MAX);
    struct cw_span place = cw_span_cstr(base);
    while (cw_span_ends(place, CW_SPAN("/"))) {
        place.len--;
    }
    (void)cw_str_add_span(&url, place);
    if (cw_str_add_cstr(&url, "/Patient") != CW_OK) {
        return cw_err_set(err, CW_E_TOO_BIG, "patient_context", "the base is too long");
    }
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = {
        .url = cw_str_cstr(&url),
        .accept = profile->accept,
        .bearer = cw_secret_span(&grant->access_token),
        .body_max = PATIENT_BUNDLE_MAX,
        .total_ms = SEARCH_MS,
    };
    enum cw_code rc = cw_http_perform(http, &request, &response, err);
    if (rc == CW_OK) {
        rc = response.status == 200 ? cw_patient_from_bundle(cw_str_span(&response.body), out) : CW_E_NOT_FOUND;
        if (rc != CW_OK) {
            (void)cw_err_sys(err, rc, (int)response.status, "patient_context", "the search names no single Patient");
        }
    }
    cw_http_response_release(&response);
    return rc;
}

enum cw_code cw_smart_patient(struct cw_http *http, const struct cw_profile *profile, const char *base,
                              const struct cw_smart_grant *grant, struct cw_span fhir_user, struct cw_str *out,
                              enum cw_patient_from *ret_from, struct cw_err *err)
{
    struct cw_span id;
    if (grant->patient.len > 0) {
        *ret_from = CW_PATIENT_TOKEN;
        return cw_str_add_span(out, cw_str_span(&grant->patient));
    }
    if (cw_patient_from_fhir_user(fhir_user, base, &id)) {
        *ret_from = CW_PATIENT_FHIR_USER;
        return cw_str_add_span(out, id);
    }
    if (cw_patient_from_claims(cw_secret_span(&grant->access_token), profile, out)) {
        *ret_from = CW_PATIENT_CLAIM;
        return CW_OK;
    }
    if (profile->patient_search) {
        *ret_from = CW_PATIENT_SEARCH;
        enum cw_code rc = search(http, profile, base, grant, out, err);
        return rc == CW_OK || rc == CW_E_CONFLICT || rc == CW_E_OOM ? rc : CW_E_NOT_FOUND;
    }
    return cw_err_set(err, CW_E_NOT_FOUND, "patient_context", "neither token answer, id_token nor access token names a patient");
}
