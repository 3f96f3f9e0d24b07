/* SPDX-License-Identifier: Apache-2.0 */
/* The FHIR side: discovery, capabilities, searches, reads. Every request is judged by its token, type by type. */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/text.h"
#include "sandbox/scope.h"
#include "sandbox/search.h"

#define JSON_TYPE "application/fhir+json; charset=utf-8"

static void texts(struct cw_jsonw *w, const char *key, const char *const *list, size_t count)
{
    cw_jsonw_key(w, key);
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < count; i++) {
        cw_jsonw_cstr(w, list[i]);
    }
    cw_jsonw_close_array(w);
}

static void url_member(struct cw_jsonw *w, const char *key, const struct hospital *hospital, const char *path)
{
    CW_AUTO_STR url;
    cw_str_init(&url, 1024);
    cw_str_addf(&url, "%s/sandbox%s", hospital->origin, path);
    cw_jsonw_key_text(w, key, cw_str_span(&url));
}

static void scopes_member(struct cw_jsonw *w)
{
    static const char *const fixed[] = { "openid", "fhirUser", "launch/patient", "offline_access", "patient/*.rs",
                                         "patient/*.read" };
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
    struct hospital *hospital = hospital_of(request);
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_DISCOVERY, .persona = -1 };
    cw_sbx_faults_take(hospital->state, &occasion, &faults);
    if (fault_answers(reply, &faults)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "issuer", hospital->base);
    url_member(&w, "jwks_uri", hospital, "/oauth/jwks");
    url_member(&w, "authorization_endpoint", hospital, "/oauth/authorize");
    url_member(&w, "token_endpoint", hospital, "/oauth/token");
    url_member(&w, "revocation_endpoint", hospital, "/oauth/revoke");
    url_member(&w, "introspection_endpoint", hospital, "/oauth/introspect");
    texts(&w, "token_endpoint_auth_methods_supported", methods, CW_ARRAY_LEN(methods));
    texts(&w, "token_endpoint_auth_signing_alg_values_supported", algs, CW_ARRAY_LEN(algs));
    texts(&w, "grant_types_supported", grants, CW_ARRAY_LEN(grants));
    texts(&w, "response_types_supported", code, 1);
    texts(&w, "code_challenge_methods_supported", s256, 1);
    cw_jsonw_key_bool(&w, "authorization_response_iss_parameter_supported", true);
    texts(&w, "capabilities", capabilities, CW_ARRAY_LEN(capabilities));
    scopes_member(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(reply, &faults, "application/json");
}

/* ---------------------------------------------------------------------------------------------- capabilities */

static void search_param(struct cw_jsonw *w, const char *name, const char *type)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "name", name);
    cw_jsonw_key_cstr(w, "type", type);
    cw_jsonw_close_object(w);
}

static void interaction(struct cw_jsonw *w, const char *code)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "code", code);
    cw_jsonw_close_object(w);
}

static void capability_type(struct cw_jsonw *w, const struct cw_sbx_type *type)
{
    static const char *const kinds[] = { [CW_SBX_TOKEN] = "token", [CW_SBX_DATE] = "date", [CW_SBX_REFERENCE] = "reference" };
    bool searched = (type->flags & CW_SBX_BY_PATIENT) != 0;
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "type", type->name);
    cw_jsonw_key(w, "interaction");
    cw_jsonw_open_array(w);
    interaction(w, "read");
    if (searched) {
        interaction(w, "search-type");
    }
    cw_jsonw_close_array(w);
    if (searched) {
        cw_jsonw_key(w, "searchParam");
        cw_jsonw_open_array(w);
        search_param(w, "_id", "token");
        search_param(w, "patient", "reference");
        if ((type->flags & CW_SBX_LAST_UPDATED) != 0) {
            search_param(w, "_lastUpdated", "date");
        }
        for (size_t i = 0; type->params[i].name != NULL; i++) {
            search_param(w, type->params[i].name, kinds[type->params[i].kind]);
        }
        cw_jsonw_close_array(w);
    }
    cw_jsonw_close_object(w);
}

void metadata_get(struct cw_request *request, struct cw_reply *reply)
{
    struct hospital *hospital = hospital_of(request);
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_METADATA, .persona = -1 };
    cw_sbx_faults_take(hospital->state, &occasion, &faults);
    if (fault_answers(reply, &faults)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resourceType", "CapabilityStatement");
    cw_jsonw_key_cstr(&w, "status", "active");
    cw_jsonw_key_cstr(&w, "kind", "instance");
    cw_jsonw_key_cstr(&w, "publisher", "Chartway");
    cw_jsonw_key(&w, "software");
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "name", "Chartway Sandbox");
    cw_jsonw_key_cstr(&w, "version", PACKAGE_VERSION);
    cw_jsonw_close_object(&w);
    cw_jsonw_key_cstr(&w, "fhirVersion", "4.0.1");
    cw_jsonw_key(&w, "format");
    cw_jsonw_open_array(&w);
    cw_jsonw_cstr(&w, "application/fhir+json");
    cw_jsonw_close_array(&w);
    cw_jsonw_key(&w, "rest");
    cw_jsonw_open_array(&w);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "mode", "server");
    cw_jsonw_key(&w, "resource");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < cw_sbx_type_count(); i++) {
        capability_type(&w, &cw_sbx_types[i]);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(reply, &faults, JSON_TYPE);
}

/* ---------------------------------------------------------------------------------------------- who asks */

struct visit {
    struct hospital *hospital;
    struct cw_request *request;
    struct cw_reply *reply;
    struct cw_sbx_view view;
    const struct cw_sbx_patient *patient;
    struct cw_sbx_chart *chart;
    struct cw_sbx_faults faults;
};

static void not_signed_in(struct cw_reply *reply)
{
    reply_outcome(reply, 401, "login", "A valid bearer token is needed.");
    cw_reply_header(reply, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
}

/* Token, patient and the faults that hit here. False when it has answered. */
static bool enter(struct visit *visit, enum cw_sbx_point point, const struct cw_sbx_type *type)
{
    struct hospital *hospital = visit->hospital;
    struct cw_span header = cw_request_header(visit->request, "Authorization");
    if (!cw_span_starts(header, CW_SPAN("Bearer ")) ||
        cw_sbx_access_find(hospital->state, cw_span_from(header, 7), cw_request_arena(visit->request), &visit->view) != CW_OK) {
        not_signed_in(visit->reply);
        return false;
    }
    visit->patient = cw_sbx_patient_find(hospital->store, visit->view.patient);
    if (visit->patient == NULL) {
        reply_outcome(visit->reply, 404, "not-found", "The patient is not here any more.");
        return false;
    }
    struct cw_sbx_occasion occasion = { .point = point,
                                        .patient = visit->view.patient,
                                        .type = type,
                                        .persona = visit->patient->persona,
                                        .grant = visit->view.grant };
    cw_sbx_faults_take(hospital->state, &occasion, &visit->faults);
    return !fault_answers(visit->reply, &visit->faults);
}

static bool open_chart(struct visit *visit)
{
    struct cw_err err = { 0 };
    if (cw_sbx_store_chart(visit->hospital->store, visit->patient, &visit->chart, &err) != CW_OK) {
        reply_outcome(visit->reply, 500, "exception", "The chart could not be opened.");
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- searches */

static void refuse_search(struct cw_reply *reply, enum cw_code rc)
{
    static const struct {
        enum cw_code code;
        int status;
        const char *issue, *text;
    } table[] = {
        { CW_E_MISSING, 400, "required", "A search needs patient or _id." },
        { CW_E_DENIED, 403, "forbidden", "The token is for another patient." },
        { CW_E_RANGE, 400, "value", "A parameter has a value that cannot be." },
        { CW_E_SYNTAX, 400, "invalid", "The query cannot be read." },
        { CW_E_TOO_BIG, 400, "too-long", "The query is too long." },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(table); i++) {
        if (table[i].code == rc) {
            reply_outcome(reply, table[i].status, table[i].issue, table[i].text);
            return;
        }
    }
    reply_outcome(reply, 500, "exception", "The search failed.");
}

static void answer_search(struct visit *visit, const struct cw_sbx_search *search)
{
    if (!cw_sbx_scope_may(visit->view.scope, search->type, CW_SBX_SEARCH)) {
        reply_outcome(visit->reply, 403, "forbidden", "The token has no scope for this type.");
        return;
    }
    if (cw_sbx_hit(&visit->faults, CW_SBX_GONE) && search->page > 0) {
        reply_outcome(visit->reply, 410, "deleted", "The paging session has expired.");
        return;
    }
    if (!open_chart(visit)) {
        return;
    }
    struct cw_sbx_page page = { .chart = visit->chart,
                                .scopes = visit->view.scope,
                                .base = cw_span_cstr(visit->hospital->base),
                                .faults = &visit->faults };
    enum cw_code rc = cw_sbx_search_page(search, &page, cw_reply_body(visit->reply));
    cw_sbx_chart_drop(visit->chart);
    if (rc == CW_OK) {
        reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
    } else {
        reply_outcome(visit->reply, 500, "exception", "The page could not be written.");
    }
}

void type_get(struct cw_request *request, struct cw_reply *reply)
{
    struct visit visit = { .hospital = hospital_of(request), .request = request, .reply = reply };
    const struct cw_sbx_type *type = cw_sbx_type_find(cw_request_path_var(request, "type"));
    if (type == NULL || (type->flags & CW_SBX_BY_PATIENT) == 0) {
        reply_outcome(reply, 404, "not-supported", "This type cannot be searched here.");
        return;
    }
    if (!enter(&visit, CW_SBX_AT_SEARCH, type)) {
        return;
    }
    struct cw_sbx_search search;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_sbx_search_parse(type, cw_request_query_string(request), visit.view.patient,
                                          cw_request_arena(request), &search, &err);
    if (rc != CW_OK) {
        refuse_search(reply, rc);
        return;
    }
    answer_search(&visit, &search);
}

/* {base}?_getpages=…: where next links lead. */
void base_get(struct cw_request *request, struct cw_reply *reply)
{
    struct visit visit = { .hospital = hospital_of(request), .request = request, .reply = reply };
    struct cw_sbx_params params;
    struct cw_sbx_search search;
    struct cw_err err = { 0 };
    struct cw_span page = { NULL, 0 };
    if (cw_sbx_params_parse(cw_request_query_string(request), cw_request_arena(request), &params) == CW_OK) {
        page = cw_sbx_param(&params, "_getpages");
    }
    if (page.ptr == NULL) {
        reply_outcome(reply, 404, "not-found", "There is nothing at the base itself.");
        return;
    }
    /* The type decides which faults hit, the token which patient it may be: read once without, once with. */
    struct cw_span header = cw_request_header(request, "Authorization");
    if (!cw_span_starts(header, CW_SPAN("Bearer ")) ||
        cw_sbx_access_find(visit.hospital->state, cw_span_from(header, 7), cw_request_arena(request), &visit.view) != CW_OK) {
        not_signed_in(reply);
        return;
    }
    enum cw_code rc = cw_sbx_search_resume(page, visit.view.patient, cw_request_arena(request), &search, &err);
    if (rc != CW_OK) {
        refuse_search(reply, rc);
        return;
    }
    if (enter(&visit, CW_SBX_AT_SEARCH, search.type)) {
        answer_search(&visit, &search);
    }
}

/* ---------------------------------------------------------------------------------------------- reads */

static bool wants_raw(struct cw_request *request)
{
    struct cw_span accept = cw_request_header(request, "Accept");
    return accept.len > 0 && cw_span_find_span(accept, CW_SPAN("json")) == accept.len &&
           cw_span_find_span(accept, CW_SPAN("*/*")) == accept.len;
}

/* A Binary's own bytes (FHIR R4 binary.html#rest). */
static void answer_raw(struct visit *visit, const struct cw_sbx_resource *resource)
{
    json_t *root = NULL;
    struct cw_err err = { 0 };
    struct cw_json_limits limits = { .max_bytes = CW_SBX_CHART_MAX, .max_depth = 16 };
    if (cw_json_parse(resource->bytes, limits, &root, &err) != CW_OK ||
        cw_base64_decode(cw_json_peek_text(root, "data"), cw_reply_body(visit->reply)) != CW_OK) {
        reply_outcome(visit->reply, 500, "exception", "The document could not be read.");
        json_decref(root);
        return;
    }
    struct cw_span type = cw_json_peek_text(root, "contentType");
    char *text = cw_arena_text(cw_request_arena(visit->request), type.ptr == NULL ? CW_SPAN("application/octet-stream") : type);
    reply_fhir(visit->reply, &visit->faults, text == NULL ? "application/octet-stream" : text);
    json_decref(root);
}

static void answer_read(struct visit *visit, const struct cw_sbx_type *type, struct cw_span id)
{
    const struct cw_sbx_resource *resource = cw_sbx_chart_find(visit->chart, type, id);
    if (resource == NULL) {
        reply_outcome(visit->reply, 404, "not-found", "There is no such resource in this chart.");
    } else if (!cw_sbx_scope_allows(visit->view.scope, resource, CW_SBX_READ)) {
        reply_outcome(visit->reply, 403, "forbidden", "The token has no scope for this resource.");
    } else if (strcmp(type->name, "Binary") == 0 && wants_raw(visit->request)) {
        answer_raw(visit, resource);
    } else {
        (void)cw_str_add_span(cw_reply_body(visit->reply), resource->bytes);
        reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
    }
}

void instance_get(struct cw_request *request, struct cw_reply *reply)
{
    struct visit visit = { .hospital = hospital_of(request), .request = request, .reply = reply };
    const struct cw_sbx_type *type = cw_sbx_type_find(cw_request_path_var(request, "type"));
    if (type == NULL) {
        reply_outcome(reply, 404, "not-supported", "This type is not served here.");
        return;
    }
    bool binary = strcmp(type->name, "Binary") == 0;
    if (enter(&visit, binary ? CW_SBX_AT_BINARY : CW_SBX_AT_READ, type) && open_chart(&visit)) {
        answer_read(&visit, type, cw_request_path_var(request, "id"));
        cw_sbx_chart_drop(visit.chart);
    }
}
