/* SPDX-License-Identifier: Apache-2.0 */
/* The Session's own page (search, or the one page of Direct mode), the search beside it, and Done. */
#include "config.h"

#include "picker/picker.h"

#include "base/jsonw.h"
#include "os/log.h"

#define SHOWN_MAX 20u

struct found {
    struct cw_source *sources;
    size_t count;
    bool more;        /* there would be more than are shown */
    bool unavailable;
};

/* Hits of a search as rows, best first. A search that does not work is no fault of the page. */
static enum cw_code run_search(struct cw_visit *visit, struct cw_arena *arena, struct cw_span text, struct found *ret,
                               struct cw_err *err)
{
    enum cw_environment environment = visit->page.org.environment;
    struct cw_search_hit hits[SHOWN_MAX + 1];
    struct cw_source_id ids[SHOWN_MAX];
    const struct cw_search_ask ask = { .text = text };
    struct cw_err search_err = { .code = CW_OK };
    size_t count = 0;
    *ret = (struct found){ .count = 0 };
    if (cw_search_run(visit->app->search[environment], &ask, hits, SHOWN_MAX + 1, &count, &search_err) != CW_OK) {
        cw_log(CW_LOG_ERR, "picker.search", CW_ERR(&search_err));
        ret->unavailable = true;
        return CW_OK;
    }
    ret->more = count > SHOWN_MAX;
    count = ret->more ? SHOWN_MAX : count;
    for (size_t i = 0; i < count; i++) {
        ids[i] = hits[i].id;
    }
    return count == 0 ? CW_OK
                      : cw_source_get_many(&visit->app->model, environment, ids, count, arena, &ret->sources,
                                           &ret->count, err);
}

static void add_list(struct cw_request *request, struct cw_page *page, const char *list, const struct found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        cw_picker_source_values(request, cw_page_item(page, list), &found->sources[i]);
    }
}

static const char *summary_of(struct cw_request *request, struct cw_page *page, const char *language,
                              const struct found *found)
{
    cw_page_int(page, "count", (int64_t)found->count);
    const char *key = found->more ? "choose.count_more" : found->count == 1 ? "choose.count_one" : "choose.count_many";
    return cw_picker_text(request, language, key, page);
}

/* What this Session has connected so far, by name; none on a fault, since the page works without. */
static bool add_connected(struct cw_request *request, struct cw_page *page)
{
    struct cw_visit *visit = cw_visit_of(request);
    const struct cw_session *session = &visit->page.session;
    struct cw_source_id ids[SHOWN_MAX];
    size_t count = 0;
    struct found found = { .count = 0 };
    struct cw_err err = { .code = CW_OK };
    for (size_t i = 0; i < session->connection_count && count < SHOWN_MAX; i++) {
        if (session->connections[i].status == CW_CONNECTION_ACTIVE) {
            ids[count++] = session->connections[i].source;
        }
    }
    if (count > 0 && cw_source_get_many(&visit->app->model, visit->page.org.environment, ids, count,
                                        cw_request_arena(request), &found.sources, &found.count, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "picker.connected", CW_ERR(&err));
        return false;
    }
    add_list(request, page, "connected", &found);
    return found.count > 0;
}

/* What stands below the search box: hits, or what the app recommends. */
static enum cw_code add_results(struct cw_request *request, struct cw_page *page, const char *language,
                                struct cw_span text, struct cw_err *err)
{
    struct cw_visit *visit = cw_visit_of(request);
    const struct cw_session *session = &visit->page.session;
    struct found found = { .count = 0 };
    enum cw_code rc = CW_OK;
    if (text.len > 0) {
        rc = run_search(visit, cw_request_arena(request), text, &found, err);
    } else if (session->recommended_count > 0) {
        rc = cw_source_get_many(&visit->app->model, visit->page.org.environment, session->recommended,
                                session->recommended_count, cw_request_arena(request), &found.sources, &found.count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    add_list(request, page, "results", &found);
    cw_page_text(page, "q", text);
    cw_page_cstr(page, "heading", cw_picker_text(request, language, text.len > 0 ? "choose.results" : "choose.recommended", page));
    cw_page_cstr(page, "summary", text.len > 0 ? summary_of(request, page, language, &found) : "");
    cw_page_bool(page, "has_results", found.count > 0);
    cw_page_bool(page, "nothing", text.len > 0 && found.count == 0 && !found.unavailable);
    cw_page_bool(page, "unavailable", found.unavailable);
    return CW_OK;
}

static void show_choose(struct cw_request *request, struct cw_reply *reply)
{
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    const char *token = cw_picker_token(request, reply);
    struct cw_err err = { .code = CW_OK };
    if (page == NULL || token == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    struct cw_span text = cw_query_text(request, "q");
    enum cw_code rc = add_results(request, page, language, text, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    bool connected = add_connected(request, page);
    cw_page_bool(page, "has_connected", connected);
    cw_page_bool(page, "show_steps", !connected && text.len == 0);
    cw_page_cstr(page, "title", cw_picker_text(request, language, "choose.title", page));
    cw_page_cstr(page, "token", token);
    cw_page_text(page, "patient", cw_picker_mask(cw_request_arena(request), cw_visit_of(request)->page.patient_name));
    cw_picker_done_values(request, page, language, connected);
    cw_picker_render(request, reply, 200, "patient/choose", language, page);
}

static void show_direct(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_visit *visit = cw_visit_of(request);
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    const char *token = cw_picker_token(request, reply);
    struct cw_source source;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = page == NULL || token == NULL ? CW_E_OOM : CW_OK;
    if (rc == CW_OK) {
        rc = cw_source_get(&visit->app->model, visit->page.org.environment, visit->page.session.direct_source,
                           cw_request_arena(request), &source, &err);
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, err.code == CW_OK ? NULL : &err);
        return;
    }
    cw_picker_source_values(request, page, &source);
    cw_page_cstr(page, "title", cw_picker_text(request, language, "direct.title", page));
    cw_page_cstr(page, "token", token);
    cw_page_text(page, "patient", cw_picker_mask(cw_request_arena(request), visit->page.patient_name));
    cw_page_bool(page, "auto", !visit->page.org.direct_press);
    cw_picker_render(request, reply, 200, "patient/direct", language, page);
}

void cw_picker_get(struct cw_request *request, struct cw_reply *reply)
{
    if (cw_picker_ended(request, reply)) {
        return;
    }
    if (cw_ulid_is_zero(cw_visit_of(request)->page.session.direct_source.ulid)) {
        show_choose(request, reply);
    } else {
        show_direct(request, reply);
    }
}

/* One hit for the script; texts come filled in the page's language, so the script holds none. */
static void write_hit(struct cw_request *request, struct cw_jsonw *w, const char *language, struct cw_page *page,
                      const struct cw_source *source)
{
    static const char *const copied[] = { "id", "name", "place" };
    cw_picker_source_values(request, page, source);
    cw_jsonw_open_object(w);
    cw_jsonw_key_text(w, copied[0], cw_page_text_of(page, copied[0]));
    cw_jsonw_key_text(w, copied[1], cw_page_text_of(page, copied[1]));
    cw_jsonw_key_text(w, copied[2], cw_page_text_of(page, copied[2]));
    cw_jsonw_key_cstr(w, "host", cw_page_text_of(page, "host").len == 0 ? "" : cw_picker_text(request, language, "choose.portal", page));
    cw_jsonw_key_cstr(w, "go_on", cw_picker_text(request, language, "choose.go_on", page));
    cw_jsonw_close_object(w);
}

void cw_picker_search(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_visit *visit = cw_visit_of(request);
    struct found found;
    struct cw_err err = { .code = CW_OK };
    if (cw_picker_ended(request, reply)) {
        return;
    }
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    struct cw_span text = cw_query_text(request, "q");
    enum cw_code rc = page == NULL ? CW_E_OOM : run_search(visit, cw_request_arena(request), text, &found, &err);
    if (rc == CW_OK && found.unavailable) {
        rc = CW_E_UNAVAILABLE;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, err.code == CW_OK ? NULL : &err);
        return;
    }
    struct cw_jsonw w;
    cw_page_text(page, "q", text);
    cw_reply_json(reply, 200);
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "summary", found.count == 0 ? cw_picker_text(request, language, "choose.none", page)
                                                      : summary_of(request, page, language, &found));
    cw_jsonw_key(&w, "results");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < found.count; i++) {
        write_hit(request, &w, language, page, &found.sources[i]);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    if (cw_jsonw_end(&w) != CW_OK) {
        cw_log(CW_LOG_WARNING, "picker.search_lost"); /* the body keeps the fault; it becomes a 500 */
    }
}

void cw_picker_done(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_visit *visit = cw_visit_of(request);
    struct cw_span browser;
    struct cw_err err = { .code = CW_OK };
    bool first;
    if (!cw_picker_check(request, reply, &browser)) {
        return;
    }
    enum cw_code rc = cw_session_complete(&visit->app->model, &visit->actor, visit->page.session.id, CW_ENDED_DONE, &first, &err);
    if (rc == CW_E_STATE) {
        visit->page.session.status = CW_SESSION_EXPIRED;
        (void)cw_picker_ended(request, reply);
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    } else {
        cw_picker_return(request, reply, NULL);
    }
}
