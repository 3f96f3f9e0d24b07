/* SPDX-License-Identifier: Apache-2.0 */
/* Whose records a token opens: the readers of each place, then the way through them. */
#include "config.h"

#include "smart/patient_context.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "net/url.h"
#include "os/sys.h"
#include "smart/scope.h"
#include "vault/jose.h"

#define PATIENT_BUNDLE_MAX (1024u * 1024u)
#define ALL_US (15 * CW_SECOND_US) /* a browser waits, and the exchange may have taken its time already */
#define ONE_MS 10000
#define USERINFO_BESIDE "../connect/userinfo" /* Blue Button: beside the base, and not in its SMART configuration */

const char *cw_patient_from_name(enum cw_patient_from from)
{
    static const char *const names[CW_PATIENT__COUNT] = { "token", "fhir_user", "claim", "userinfo", "search", "coverage" };
    return names[from];
}

/* ---- readers */

/* One path segment as it stands in a URL: whatever its characters, it names one thing. */
static bool is_segment(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c == 0x7f || c == '/' || c == '?' || c == '#') {
            return false;
        }
    }
    return text.len > 0;
}

/* An id as it will be sealed and put into paths, percent-coded there. */
static bool is_id(struct cw_span text)
{
    return text.len > 0 && text.len <= CW_FHIR_ID_MAX && cw_utf8_valid(text) && !cw_utf8_has_control(text);
}

bool cw_patient_from_fhir_user(struct cw_span fhir_user, const char *base, struct cw_str *out)
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
    if (!cw_span_starts(rest, CW_SPAN("Patient/")) || !is_segment(cw_span_from(rest, 8))) {
        return false;
    }
    CW_AUTO_STR id;
    cw_str_init(&id, CW_FHIR_ID_MAX);
    enum cw_code rc = cw_percent_decode(cw_span_from(rest, 8), false, &id);
    if (rc == CW_E_OOM) {
        (void)cw_str_fail(out, rc);
    }
    return rc == CW_OK && is_id(cw_str_span(&id)) && cw_str_add_span(out, cw_str_span(&id)) == CW_OK;
}

_Static_assert(CW_TENANT_MAX == CW_FHIR_ID_MAX, "one check of a claim serves both");

/* A text or a whole number. */
static bool id_member(const json_t *object, const char *name, struct cw_str *out)
{
    const json_t *value = json_object_get(object, name);
    struct cw_span text = cw_span_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value)) {
        return cw_str_add_int(out, json_integer_value(value)) == CW_OK;
    }
    return is_id(text) && cw_str_add_span(out, text) == CW_OK;
}

bool cw_patient_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
{
    const char *const names[] = { profile->patient_claim, "patient", "launch_response_patient" };
    CW_AUTO_JSON *claims = NULL;
    if (cw_jws_peek(access_token, &claims, NULL) != CW_OK) {
        return false;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (names[i][0] != '\0' && id_member(claims, names[i], out)) {
            return true;
        }
    }
    return false;
}

bool cw_tenant_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
{
    CW_AUTO_JSON *claims = NULL;
    return profile->tenant_claim[0] != '\0' && cw_jws_peek(access_token, &claims, NULL) == CW_OK &&
           id_member(claims, profile->tenant_claim, out);
}

static enum cw_code parse(struct cw_span body, json_t **ret_root)
{
    struct cw_json_limits limits = { PATIENT_BUNDLE_MAX, CW_JSON_DEPTH_MAX, CW_JSON_DUPLICATES_TOO };
    enum cw_code rc = cw_json_parse(cw_span_trim(body), limits, ret_root, NULL);
    return rc == CW_OK || rc == CW_E_OOM ? rc : CW_E_SYNTAX;
}

/* What a reader found, or why not: a string's fault is told apart from "nothing there". */
static enum cw_code verdict(bool found, const struct cw_str *out)
{
    return found ? CW_OK : cw_str_code(out) == CW_E_OOM ? CW_E_OOM : CW_E_NOT_FOUND;
}

enum cw_code cw_patient_from_userinfo(struct cw_span body, const char *base, struct cw_span subject, struct cw_str *out)
{
    CW_AUTO_JSON *root = NULL;
    enum cw_code rc = parse(body, &root);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span sub = cw_json_peek_text(root, "sub");
    if (subject.len > 0 && !cw_span_eq(sub, subject)) {
        return CW_E_NOT_FOUND;
    }
    bool found = id_member(root, "patient", out) ||
                 cw_patient_from_fhir_user(cw_json_peek_text(root, "fhirUser"), base, out) ||
                 cw_patient_from_fhir_user(cw_json_peek_text(root, "profile"), base, out);
    return verdict(found, out);
}

static bool has_next(const json_t *bundle)
{
    size_t at;
    json_t *link;
    json_array_foreach(json_object_get(bundle, "link"), at, link) {
        if (cw_span_eq_cstr(cw_json_peek_text(link, "relation"), "next")) {
            return true;
        }
    }
    return false;
}

/* More than what this page shows: by its total, else by a link to a next page. */
static bool goes_on(const json_t *bundle, size_t shown)
{
    const json_t *total = json_object_get(bundle, "total");
    return json_is_integer(total) ? json_integer_value(total) > (json_int_t)shown : has_next(bundle);
}

static enum cw_code open_bundle(struct cw_span body, json_t **ret_root)
{
    enum cw_code rc = parse(body, ret_root);
    bool bundle = rc == CW_OK && cw_span_eq_cstr(cw_json_peek_text(*ret_root, "resourceType"), "Bundle");
    return rc == CW_OK && !bundle ? CW_E_SYNTAX : rc;
}

enum cw_code cw_patient_from_bundle(struct cw_span body, struct cw_str *out)
{
    CW_AUTO_JSON *root = NULL;
    enum cw_code rc = open_bundle(body, &root);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span found = { NULL, 0 };
    size_t shown = 0;
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
        shown++;
    }
    if (found.ptr != NULL && goes_on(root, shown)) {
        return CW_E_CONFLICT;
    }
    return verdict(is_id(found) && cw_str_add_span(out, found) == CW_OK, out);
}

/* The reference to the person that a financial resource is about; absent for others. */
static struct cw_span person_of(const json_t *resource)
{
    struct cw_span type = cw_json_peek_text(resource, "resourceType");
    const char *member = cw_span_eq_cstr(type, "Coverage")               ? "beneficiary"
                         : cw_span_eq_cstr(type, "ExplanationOfBenefit") ? "patient"
                                                                         : NULL;
    return member == NULL ? (struct cw_span){ NULL, 0 }
                          : cw_json_peek_text(json_object_get(resource, member), "reference");
}

enum cw_code cw_patient_from_claims_bundle(struct cw_span body, const char *base, struct cw_str *out)
{
    CW_AUTO_JSON *root = NULL;
    CW_AUTO_STR first;
    cw_str_init(&first, CW_FHIR_ID_MAX);
    enum cw_code rc = open_bundle(body, &root);
    size_t at;
    json_t *entry;
    json_array_foreach(json_object_get(root, "entry"), at, entry) {
        CW_AUTO_STR id;
        cw_str_init(&id, CW_FHIR_ID_MAX);
        if (!cw_patient_from_fhir_user(person_of(json_object_get(entry, "resource")), base, &id)) {
            if (cw_str_code(&id) == CW_E_OOM) {
                return CW_E_OOM;
            }
            continue;
        }
        if (first.len > 0 && !cw_span_eq(cw_str_span(&first), cw_str_span(&id))) {
            return CW_E_CONFLICT;
        }
        if (first.len == 0 && cw_str_add_span(&first, cw_str_span(&id)) != CW_OK) {
            return cw_str_code(&first);
        }
    }
    return rc != CW_OK ? rc : verdict(first.len > 0 && cw_str_add_span(out, cw_str_span(&first)) == CW_OK, out);
}

/* ---- asking the server */

struct asking {
    struct cw_http *http;
    const struct cw_patient_ask *ask;
    int64_t until_us;   /* monotonic */
    struct cw_str *out;
};

static enum cw_code get(struct asking *a, const char *url, const char *accept, struct cw_http_response *response)
{
    int64_t left_ms = (a->until_us - cw_monotonic_us()) / 1000;
    if (left_ms <= 0) {
        return CW_E_TIMEOUT;
    }
    struct cw_http_request request = {
        .url = url,
        .accept = accept,
        .bearer = cw_secret_span(&a->ask->grant->access_token),
        .body_max = PATIENT_BUNDLE_MAX,
        .total_ms = left_ms > ONE_MS ? ONE_MS : (unsigned)left_ms,
    };
    enum cw_code rc = cw_http_perform(a->http, &request, response, NULL);
    return rc == CW_OK && response->status != 200 ? CW_E_NOT_FOUND : rc;
}

/* Where discovery names none, a profile may say that there is one all the same. */
static bool userinfo_url(const struct cw_patient_ask *ask, struct cw_str *out)
{
    if (ask->userinfo_endpoint[0] != '\0') {
        return cw_str_add_cstr(out, ask->userinfo_endpoint) == CW_OK;
    }
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    struct cw_url *url = NULL;
    struct cw_url *beside = NULL;
    bool slash = cw_span_ends(cw_span_cstr(ask->base), CW_SPAN("/"));
    (void)cw_str_addf(&base, "%s%s", ask->base, slash ? "" : "/");
    bool ok = ask->profile->patient_userinfo && cw_str_code(&base) == CW_OK &&
              cw_url_parse(cw_str_span(&base), &url, NULL) == CW_OK &&
              cw_url_resolve(url, CW_SPAN(USERINFO_BESIDE), &beside, NULL) == CW_OK &&
              cw_str_add_cstr(out, cw_url_text(beside)) == CW_OK;
    cw_url_free(url);
    cw_url_free(beside);
    return ok;
}

static enum cw_code ask_userinfo(struct asking *a)
{
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    if (!userinfo_url(a->ask, &url) || !cw_place_listed(cw_str_cstr(&url), a->ask->hosts)) {
        return CW_E_NOT_FOUND;
    }
    struct cw_http_response response;
    cw_http_response_init(&response);
    enum cw_code rc = get(a, cw_str_cstr(&url), NULL, &response);
    if (rc == CW_OK) {
        rc = cw_patient_from_userinfo(cw_str_span(&response.body), a->ask->base, a->ask->subject, a->out);
    }
    cw_http_response_release(&response);
    return rc;
}

/* {base}/{type}, with what the profile adds to all searches (athenahealth's practice). */
static enum cw_code search_url(const struct cw_patient_ask *ask, const char *type, struct cw_str *out)
{
    struct cw_span base = cw_span_cstr(ask->base);
    CW_AUTO_STR query;
    cw_str_init(&query, CW_LINK_MAX);
    while (cw_span_ends(base, CW_SPAN("/"))) {
        base.len--;
    }
    (void)cw_str_add_span(out, base);
    (void)cw_str_addf(out, "/%s", type);
    enum cw_code rc = cw_profile_query(ask->profile, ask->tenant, &query);
    if (rc == CW_OK && query.len > 0) {
        (void)cw_str_addf(out, "?%s", cw_str_cstr(&query));
    }
    return rc == CW_OK ? cw_str_code(out) : rc;
}

static enum cw_code search(struct asking *a, const char *type)
{
    CW_AUTO_STR url;
    cw_str_init(&url, CW_LINK_MAX);
    enum cw_code rc = search_url(a->ask, type, &url);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_http_response response;
    cw_http_response_init(&response);
    rc = get(a, cw_str_cstr(&url), a->ask->profile->accept, &response);
    if (rc == CW_OK) {
        struct cw_span body = cw_str_span(&response.body);
        rc = strcmp(type, "Patient") == 0 ? cw_patient_from_bundle(body, a->out)
                                          : cw_patient_from_claims_bundle(body, a->ask->base, a->out);
    }
    cw_http_response_release(&response);
    return rc;
}

/* Payers whose members may hold back their demographics: the person is named by what is not held back. */
static enum cw_code ask_coverage(struct asking *a)
{
    static const char *const types[] = { "Coverage", "ExplanationOfBenefit" };
    enum cw_code rc = CW_E_NOT_FOUND;
    for (size_t i = 0; i < CW_ARRAY_LEN(types) && rc != CW_OK && rc != CW_E_CONFLICT && rc != CW_E_OOM; i++) {
        unsigned permitted = cw_scope_permits(a->ask->scopes, cw_span_cstr(types[i]), true);
        rc = (permitted & CW_PERM_SEARCH) != 0 ? search(a, types[i]) : CW_E_NOT_FOUND;
    }
    return rc;
}

static bool is_final(enum cw_code rc)
{
    return rc == CW_OK || rc == CW_E_CONFLICT || rc == CW_E_OOM;
}

/* What costs no request. */
static bool told(const struct cw_patient_ask *ask, struct cw_str *out, enum cw_patient_from *ret_from)
{
    if (ask->grant->patient.len > 0) {
        *ret_from = CW_PATIENT_TOKEN;
        return cw_str_add_span(out, cw_str_span(&ask->grant->patient)) == CW_OK;
    }
    *ret_from = CW_PATIENT_FHIR_USER;
    if (cw_patient_from_fhir_user(ask->fhir_user, ask->base, out)) {
        return true;
    }
    *ret_from = CW_PATIENT_CLAIM;
    return cw_patient_from_claims(cw_secret_span(&ask->grant->access_token), ask->profile, out);
}

enum cw_code cw_smart_patient(struct cw_http *http, const struct cw_patient_ask *ask, struct cw_str *out,
                              enum cw_patient_from *ret_from, struct cw_err *err)
{
    struct asking a = { .http = http, .ask = ask, .until_us = cw_monotonic_us() + ALL_US, .out = out };
    if (told(ask, out, ret_from)) {
        return CW_OK;
    }
    enum cw_code rc = cw_str_code(out) == CW_E_OOM ? CW_E_OOM : ask_userinfo(&a);
    *ret_from = CW_PATIENT_USERINFO;
    if (!is_final(rc) && ask->profile->patient_search) {
        *ret_from = CW_PATIENT_SEARCH;
        rc = search(&a, "Patient");
        if (!is_final(rc)) {
            *ret_from = CW_PATIENT_COVERAGE;
            rc = ask_coverage(&a);
        }
    }
    if (rc == CW_E_CONFLICT) {
        return cw_err_set(err, rc, "patient_context", "the token shows several people");
    }
    if (rc == CW_OK || rc == CW_E_OOM) {
        return rc == CW_OK ? rc : cw_err_set(err, rc, "patient_context", "out of memory");
    }
    return cw_err_set(err, CW_E_NOT_FOUND, "patient_context", "neither a token nor the server names a patient");
}
