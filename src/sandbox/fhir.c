/* SPDX-License-Identifier: Apache-2.0 */
/* The FHIR side: searches and reads. Every request is judged by its token, type by type. */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/text.h"
#include "sandbox/scope.h"
#include "sandbox/search.h"

#define JSON_TYPE "application/fhir+json; charset=utf-8"

/* ---------------------------------------------------------------------------------------------- who asks */

struct visit {
    struct hospital *hospital;
    const struct site *site;
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
        cw_sbx_access_find(hospital->state, cw_span_from(header, 7), cw_request_arena(visit->request), &visit->view) != CW_OK ||
        !cw_span_eq_cstr(visit->view.site, visit->site->as.name)) {
        not_signed_in(visit->reply);
        return false;
    }
    visit->patient = cw_sbx_patient_find(hospital->store, visit->view.patient);
    if (visit->patient == NULL) {
        reply_outcome(visit->reply, 404, "not-found", "The patient is not here any more.");
        return false;
    }
    struct cw_sbx_occasion occasion = { .point = point,
                                        .site = visit->site->as.name,
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
                                .base = cw_span_cstr(visit->site->base),
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
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    const struct cw_sbx_type *type = cw_sbx_type_find(cw_request_path_var(request, "type"));
    if (type == NULL || (type->flags & CW_SBX_BY_PATIENT) == 0) {
        reply_outcome(reply, 404, "not-supported", "This type cannot be searched here.");
        return;
    }
    if (!enter(&visit, CW_SBX_AT_SEARCH, type)) {
        return;
    }
    if (cw_request_query_string(request).len == 0 && site_plays(visit.site, CW_SBX_QUIRK_NO_PATIENT_SEARCH)) {
        refuse_search(reply, CW_E_MISSING);
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
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
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
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
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
