/* SPDX-License-Identifier: Apache-2.0 */
/* The FHIR side of a recorded hospital: what was recorded, for whoever has a token of it. The other doors are the sandbox's own. */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

/* What the request is for behind the FHIR base; NULL for the doors that are not FHIR's, and when out of memory. */
static const char *behind_base(struct cw_request *request)
{
    struct cw_arena *arena = cw_request_arena(request);
    cw_handler_fn *handler = cw_request_route(request)->handler;
    if (handler == metadata_get) {
        return "/metadata";
    }
    if (handler == base_get) {
        return "";
    }
    if (handler == type_get || handler == instance_get) {
        struct cw_span type = cw_request_path_var(request, "type");
        struct cw_span id = handler == type_get ? CW_SPAN("") : cw_request_path_var(request, "id");
        return cw_arena_printf(arena, "/%.*s%s%.*s", (int)type.len, type.ptr, handler == type_get ? "" : "/", (int)id.len, id.ptr);
    }
    if (handler == unknown_any) {
        struct cw_span rest = cw_request_path_var(request, "rest");
        return cw_span_starts(rest, CW_SPAN("fhir/")) ? cw_arena_text(arena, cw_span_from(rest, 4)) : NULL;
    }
    return NULL;
}

static struct cw_span method_of(const struct cw_request *request)
{
    return cw_request_method(request) == CW_POST ? CW_SPAN("POST") : CW_SPAN("GET");
}

/* The point at which the operator's faults hit. */
static enum cw_sbx_point point_of(const char *path)
{
    const char *slash = path[0] == '/' ? strchr(path + 1, '/') : NULL;
    return strcmp(path, "/metadata") == 0 ? CW_SBX_AT_METADATA
           : slash == NULL                ? CW_SBX_AT_SEARCH
           : strncmp(path, "/Binary/", 8) == 0 ? CW_SBX_AT_BINARY
                                               : CW_SBX_AT_READ;
}

struct visit {
    const struct site *site;
    struct cw_request *request;
    struct cw_reply *reply;
    struct cw_sbx_view view;
    const char *path;
    bool known, missed;
};

/* A good token of this hospital; /metadata needs none. False when it has answered. */
static bool enter(struct visit *visit)
{
    struct hospital *hospital = visit->site->hospital;
    struct cw_span header = cw_request_header(visit->request, "Authorization");
    visit->known = cw_span_starts(header, CW_SPAN("Bearer ")) &&
                   cw_sbx_access_find(hospital->state, cw_span_from(header, 7), cw_request_arena(visit->request), &visit->view) == CW_OK &&
                   cw_span_eq_cstr(visit->view.site, visit->site->as.name);
    enum cw_sbx_point point = point_of(visit->path);
    if (!visit->known && point != CW_SBX_AT_METADATA) {
        reply_outcome(visit->reply, 401, "login", "A valid bearer token is needed.");
        cw_reply_header(visit->reply, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
        return false;
    }
    struct cw_span type = cw_span_cstr(visit->path[0] == '/' ? visit->path + 1 : "");
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = point,
                                        .site = visit->site->as.name,
                                        .patient = cw_span_cstr(cw_sbx_recording_patient(visit->site->recording)->id),
                                        .type = cw_sbx_type_find(cw_span_upto(type, cw_span_find(type, '/'))),
                                        .persona = -1,
                                        .grant = visit->known ? visit->view.grant : NULL };
    cw_sbx_faults_take(hospital->state, &occasion, &faults);
    return !fault_answers(visit->reply, &faults);
}

struct headers {
    struct visit *visit;
    bool retry_after;
};

static void put_header(const char *name, const char *value, void *arg)
{
    struct headers *headers = arg;
    char *kept = cw_arena_text(cw_request_arena(headers->visit->request), cw_span_cstr(name)); /* the reply borrows names */
    if (kept != NULL) {
        cw_reply_header(headers->visit->reply, kept, value);
        headers->retry_after = headers->retry_after || cw_span_eq_nocase(cw_span_cstr(name), CW_SPAN("Retry-After"));
    }
}

static void play(struct visit *visit)
{
    struct cw_sbx_wish wish = { method_of(visit->request), cw_span_cstr(visit->path), cw_request_query_string(visit->request) };
    struct cw_sbx_recorded recorded;
    struct cw_span base = cw_span_cstr(visit->site->base);
    struct headers headers = { visit, false };
    if (!cw_sbx_recording_play(visit->site->recording, &wish, &recorded)) {
        visit->missed = true;
        reply_outcome(visit->reply, 404, "not-found", "The recording has no answer to this.");
        return;
    }
    cw_reply_status(visit->reply, recorded.status);
    enum cw_code rc = cw_sbx_recorded_headers(visit->site->recording, &recorded, base, put_header, &headers);
    if (rc == CW_OK) {
        rc = cw_sbx_recorded_body(visit->site->recording, &recorded, base, cw_reply_body(visit->reply));
    }
    if (!headers.retry_after) {
        cw_reply_header(visit->reply, "Retry-After", ""); /* none of ours where they had none */
    }
    if (rc != CW_OK) {
        reply_outcome(visit->reply, 500, "exception", "The recorded answer could not be played.");
    }
}

static void note(const struct visit *visit)
{
    struct cw_span query = cw_request_query_string(visit->request);
    CW_AUTO_STR target;
    cw_str_init(&target, CW_QUERY_MAX + CW_SBX_RECORDING_URL_MAX);
    cw_str_add_cstr(&target, visit->path);
    if (query.len > 0) {
        cw_str_add_char(&target, '?');
        cw_str_add_span(&target, query);
    }
    struct cw_sbx_visit noted = { .at_us = cw_now_us(),
                                  .site = visit->site->as.name,
                                  .patient = visit->known ? visit->view.patient : (struct cw_span){ NULL, 0 },
                                  .target = cw_str_span(&target),
                                  .accept = cw_request_header(visit->request, "Accept"),
                                  .status = cw_reply_get_status(visit->reply),
                                  .bearer = cw_request_header(visit->request, "Authorization").ptr != NULL,
                                  .missed = visit->missed };
    cw_sbx_diary_note(visit->site->hospital->diary, &noted);
}

bool recording_answers(struct cw_request *request, struct cw_reply *reply)
{
    struct visit visit = { .site = site_of(request), .request = request, .reply = reply };
    if (visit.site->recording == NULL || (visit.path = behind_base(request)) == NULL) {
        return false;
    }
    if (enter(&visit)) {
        play(&visit);
    }
    note(&visit);
    return true;
}
