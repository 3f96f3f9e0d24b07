/* SPDX-License-Identifier: Apache-2.0 */
/* The FHIR side: searches and reads. Every request is judged by its token, type by type. */
#include "config.h"
#include "sandbox/fhir_quirk.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/jsonw.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
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

/* Into the diary: what was asked behind the base, and how it was answered. */
static void note(const struct visit *visit, const char *path)
{
    struct cw_request *request = visit->request;
    struct cw_span query = cw_request_query_string(request);
    CW_AUTO_STR target;
    cw_str_init(&target, CW_QUERY_MAX + 1024);
    cw_str_add_cstr(&target, path);
    if (query.len > 0) {
        cw_str_add_char(&target, '?');
        cw_str_add_span(&target, query);
    }
    struct cw_sbx_visit noted = { .at_us = cw_now_us(),
                                  .site = visit->site->as.name,
                                  .patient = visit->patient == NULL ? (struct cw_span){ NULL, 0 } : cw_span_cstr(visit->patient->id),
                                  .target = cw_str_span(&target),
                                  .accept = cw_request_header(request, "Accept"),
                                  .status = cw_reply_get_status(visit->reply),
                                  .bearer = cw_request_header(request, "Authorization").ptr != NULL };
    cw_sbx_diary_note(visit->hospital->diary, &noted);
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

/* Reads by `parse`; a merged patient is known by both ids. */
static enum cw_code parse_search(const struct visit *visit, const struct cw_sbx_type *type, struct cw_span text,
                                 struct cw_sbx_search *ret_search)
{
    struct cw_arena *arena = cw_request_arena(visit->request);
    struct cw_err err = { 0 };
    struct cw_span patient = visit->view.patient;
    enum cw_code rc = type == NULL ? cw_sbx_search_resume(text, patient, arena, ret_search, &err)
                                   : cw_sbx_search_parse(type, text, patient, arena, ret_search, &err);
    if (rc == CW_E_DENIED && site_plays(visit->site, CW_SBX_QUIRK_MERGED)) {
        const char *merged = cw_arena_printf(arena, "%.*s" CW_SBX_MERGED_TAIL, (int)patient.len, patient.ptr);
        patient = cw_span_cstr(merged);
        rc = type == NULL ? cw_sbx_search_resume(text, patient, arena, ret_search, &err)
                          : cw_sbx_search_parse(type, text, patient, arena, ret_search, &err);
    }
    if (rc == CW_OK && site_plays(visit->site, CW_SBX_QUIRK_COUNT_50)) {
        ret_search->count = !ret_search->counted ? 10 : ret_search->count > 50 ? 50 : ret_search->count;
    }
    if (rc == CW_OK && site_plays(visit->site, CW_SBX_QUIRK_LAST_UPDATED_IGNORED)) {
        cw_sbx_search_ignore_updated(ret_search);
    }
    return rc;
}

/* What the quirks look at. */
static struct fhir_ask ask_of(const struct visit *visit, const struct cw_sbx_type *type, const struct cw_sbx_params *params)
{
    return (struct fhir_ask){ .site = visit->site, .request = visit->request, .reply = visit->reply, .type = type, .params = params,
                              .patient = visit->view.patient, .first_page = true };
}

static void answer_search(struct visit *visit, const struct fhir_ask *ask, const struct cw_sbx_search *search)
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
                                .faults = &visit->faults,
                                .as = &visit->site->as };
    size_t total = cw_sbx_search_total(search, &page), past = search->offset + search->count;
    bool broken = fhir_quirk_breaks_page(ask, search->offset, past < total ? past : total);
    enum cw_code rc = broken ? CW_OK : cw_sbx_search_page(search, &page, cw_reply_body(visit->reply));
    cw_sbx_chart_drop(visit->chart);
    if (broken) {
        return;
    }
    if (rc == CW_OK) {
        reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
    } else {
        reply_outcome(visit->reply, 500, "exception", "The page could not be written.");
    }
}

static void search_type(struct visit *visit)
{
    const struct cw_sbx_type *type = cw_sbx_type_find(cw_request_path_var(visit->request, "type"));
    if (type == NULL || (type->flags & CW_SBX_BY_PATIENT) == 0) {
        reply_outcome(visit->reply, 404, "not-supported", "This type cannot be searched here.");
        return;
    }
    if (!enter(visit, CW_SBX_AT_SEARCH, type)) {
        return;
    }
    if (cw_request_query_string(visit->request).len == 0 && site_plays(visit->site, CW_SBX_QUIRK_NO_PATIENT_SEARCH)) {
        refuse_search(visit->reply, CW_E_MISSING);
        return;
    }
    struct cw_sbx_search search;
    struct cw_sbx_params params = { .count = 0 };
    enum cw_code rc = cw_sbx_params_parse(cw_request_query_string(visit->request), cw_request_arena(visit->request), &params);
    struct fhir_ask ask = ask_of(visit, type, &params);
    if (rc == CW_OK && fhir_quirk_answers(&ask)) {
        return;
    }
    rc = parse_search(visit, type, cw_request_query_string(visit->request), &search);
    if (rc != CW_OK) {
        refuse_search(visit->reply, rc);
        return;
    }
    answer_search(visit, &ask, &search);
}

void type_get(struct cw_request *request, struct cw_reply *reply)
{
    if (recording_answers(request, reply)) {
        return;
    }
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    struct cw_span type = cw_request_path_var(request, "type");
    const char *path = cw_arena_printf(cw_request_arena(request), "/%.*s", (int)type.len, type.ptr);
    search_type(&visit);
    note(&visit, path == NULL ? "/" : path);
}

/* {base}?_getpages=…: where next links lead. */
static void next_page(struct visit *visit)
{
    struct cw_request *request = visit->request;
    struct cw_sbx_params params, first = { .count = 0 };
    struct cw_sbx_search search;
    struct cw_span page = { NULL, 0 };
    if (cw_sbx_params_parse(cw_request_query_string(request), cw_request_arena(request), &params) == CW_OK) {
        page = cw_sbx_param(&params, "_getpages");
    }
    if (page.ptr == NULL) {
        reply_outcome(visit->reply, 404, "not-found", "There is nothing at the base itself.");
        return;
    }
    /* The type decides which faults hit, the token which patient it may be: read once without, once with. */
    struct cw_span header = cw_request_header(request, "Authorization");
    if (!cw_span_starts(header, CW_SPAN("Bearer ")) ||
        cw_sbx_access_find(visit->hospital->state, cw_span_from(header, 7), cw_request_arena(request), &visit->view) != CW_OK) {
        not_signed_in(visit->reply);
        return;
    }
    enum cw_code rc = parse_search(visit, NULL, page, &search);
    if (rc == CW_OK) {
        rc = cw_sbx_params_parse(search.query, cw_request_arena(request), &first);
    }
    if (rc != CW_OK) {
        refuse_search(visit->reply, rc);
        return;
    }
    if (!enter(visit, CW_SBX_AT_SEARCH, search.type)) {
        return;
    }
    struct fhir_ask ask = ask_of(visit, search.type, &first);
    ask.first_page = false;
    if (!fhir_quirk_answers(&ask)) {
        answer_search(visit, &ask, &search);
    }
}

void base_get(struct cw_request *request, struct cw_reply *reply)
{
    if (recording_answers(request, reply)) {
        return;
    }
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    next_page(&visit);
    note(&visit, "");
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

/* The same Patient under the id that it was merged into. */
static void answer_merged(struct visit *visit, const struct cw_sbx_type *type)
{
    const struct cw_sbx_resource *resource = cw_sbx_chart_find(visit->chart, type, visit->view.patient);
    struct cw_span mark = CW_SPAN("\"id\":\"");
    if (resource == NULL || cw_span_find_span(resource->bytes, mark) == resource->bytes.len) {
        reply_outcome(visit->reply, 404, "not-found", "There is no such resource in this chart.");
        return;
    }
    size_t at = cw_span_find_span(resource->bytes, mark) + mark.len + resource->id.len;
    struct cw_str *body = cw_reply_body(visit->reply);
    cw_str_add_span(body, cw_span_upto(resource->bytes, at));
    cw_str_add_cstr(body, CW_SBX_MERGED_TAIL);
    cw_str_add_span(body, cw_span_from(resource->bytes, at));
    reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
}

/* {patient}-merged, where the personality has it so. */
static bool is_merged_read(const struct visit *visit, const struct cw_sbx_type *type, struct cw_span id)
{
    return site_plays(visit->site, CW_SBX_QUIRK_MERGED) && strcmp(type->name, "Patient") == 0 &&
           cw_span_ends(id, CW_SPAN(CW_SBX_MERGED_TAIL)) &&
           cw_span_eq(cw_span_upto(id, id.len - strlen(CW_SBX_MERGED_TAIL)), visit->view.patient);
}

static void answer_read(struct visit *visit, const struct cw_sbx_type *type, struct cw_span id)
{
    const struct cw_sbx_resource *resource = cw_sbx_chart_find(visit->chart, type, id);
    if (is_merged_read(visit, type, id)) {
        answer_merged(visit, type);
    } else if (resource == NULL) {
        reply_outcome(visit->reply, 404, "not-found", "There is no such resource in this chart.");
    } else if (!cw_sbx_scope_allows(visit->view.scope, resource, CW_SBX_READ)) {
        reply_outcome(visit->reply, 403, "forbidden", "The token has no scope for this resource.");
    } else if (strcmp(type->name, "Binary") == 0 && (wants_raw(visit->request) || site_plays(visit->site, CW_SBX_QUIRK_BINARY_RAW))) {
        answer_raw(visit, resource);
    } else if (strcmp(type->name, "Patient") == 0 && cw_sbx_hit(&visit->faults, CW_SBX_WRONG_PATIENT)) {
        cw_str_add_cstr(cw_reply_body(visit->reply), "{\"resourceType\":\"Patient\",\"id\":\"stranger\"}");
        reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
    } else {
        (void)cw_str_add_span(cw_reply_body(visit->reply), resource->bytes);
        reply_fhir(visit->reply, &visit->faults, JSON_TYPE);
    }
}

static void read_instance(struct visit *visit, const struct cw_sbx_type *type, struct cw_span id)
{
    bool binary = strcmp(type->name, "Binary") == 0;
    if (!enter(visit, binary ? CW_SBX_AT_BINARY : CW_SBX_AT_READ, type)) {
        return;
    }
    struct fhir_ask ask = ask_of(visit, type, NULL);
    ask.id = id;
    if (!fhir_quirk_answers(&ask) && open_chart(visit)) {
        answer_read(visit, type, id);
        cw_sbx_chart_drop(visit->chart);
    }
}

void instance_get(struct cw_request *request, struct cw_reply *reply)
{
    if (recording_answers(request, reply)) {
        return;
    }
    struct visit visit = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    struct cw_span id = cw_request_path_var(request, "id");
    const struct cw_sbx_type *type = cw_sbx_type_find(cw_request_path_var(request, "type"));
    if (type == NULL) {
        reply_outcome(reply, 404, "not-supported", "This type is not served here.");
        return;
    }
    const char *path = cw_arena_printf(cw_request_arena(request), "/%s/%.*s", type->name, (int)id.len, id.ptr);
    bool counted = strcmp(type->name, "Binary") == 0 &&
                   (site_plays(visit.site, CW_SBX_QUIRK_DOCUMENTS_A_DAY) || site_plays(visit.site, CW_SBX_QUIRK_DOCUMENTS_403));
    if (counted) {
        (void)pthread_mutex_lock(&visit.hospital->counter);
    }
    read_instance(&visit, type, id);
    note(&visit, path == NULL ? "/" : path);
    if (counted) {
        (void)pthread_mutex_unlock(&visit.hospital->counter);
    }
}
