/* SPDX-License-Identifier: Apache-2.0 */
/* The routes, and what stands before them: limits by address and by Session, then the Session itself. */
#include "config.h"

#include "picker/picker.h"

#include "base/text.h"
#include "os/log.h"

#define FLAG_SEARCH 1u /* counts against the search's own limit */

static const struct cw_input page_query[] = {
    { .name = "lang", .kind = CW_IN_TEXT, .max = 35 },
    { .name = "q", .kind = CW_IN_TEXT, .max = 100 },
    { .name = NULL },
};
static const struct cw_input search_query[] = {
    { .name = "q", .kind = CW_IN_TEXT, .max = 100 },
    { .name = NULL },
};
static const struct cw_input start_form[] = {
    { .name = "token", .kind = CW_IN_TEXT, .min = 1, .max = 64, .required = true },
    { .name = "source", .kind = CW_IN_TEXT, .min = 1, .max = 64 },
    { .name = NULL },
};
static const struct cw_input done_form[] = {
    { .name = "token", .kind = CW_IN_TEXT, .min = 1, .max = 64, .required = true },
    { .name = NULL },
};

const struct cw_route cw_picker_routes[] = {
    { .name = "session", .method = CW_GET, .path = "/c/{secret}", .handler = cw_picker_get, .query = page_query,
      .unknown_query_ok = true, .doc = "The Session's page: search, or the one page of Direct mode." },
    { .name = "session.search", .method = CW_GET, .path = "/c/{secret}/search", .handler = cw_picker_search,
      .query = search_query, .unknown_query_ok = true, .flags = FLAG_SEARCH, .doc = "Search as you type, as JSON." },
    { .name = "session.start", .method = CW_POST, .path = "/c/{secret}/start", .handler = cw_picker_start,
      .form = start_form, .body = CW_BODY_FORM, .doc = "Makes an attempt and sends the browser to the portal." },
    { .name = "session.result", .method = CW_GET, .path = "/c/{secret}/attempt/{attempt}", .handler = cw_picker_result,
      .query = page_query, .unknown_query_ok = true, .doc = "How one attempt stands." },
    { .name = "session.done", .method = CW_POST, .path = "/c/{secret}/done", .handler = cw_picker_done,
      .form = done_form, .body = CW_BODY_FORM, .doc = "Completes the Session and sends the browser back to the app." },
};
const size_t cw_picker_route_count = CW_ARRAY_LEN(cw_picker_routes);

static bool within(struct cw_request *request, struct cw_reply *reply, const char *kind, struct cw_span key,
                   enum cw_config_key limit)
{
    struct cw_picker *app = cw_request_context(request);
    unsigned wait_s = 0;
    if (cw_limiter_take(app->limiter, kind, key, (unsigned)cw_config_int(app->config, limit), &wait_s)) {
        return true;
    }
    const char *wait = cw_arena_printf(cw_request_arena(request), "%u", wait_s);
    if (wait != NULL) {
        cw_reply_header(reply, "Retry-After", wait);
    }
    cw_picker_notice(request, reply, &(struct cw_notice){ .status = 429, .title_key = "ended.limited_title",
                                                          .text_key = "ended.limited_text" });
    return false;
}

/* The Session behind the secret. One answer for all that is not one: no oracle. */
static struct cw_visit *open_visit(struct cw_request *request, struct cw_reply *reply, struct cw_span secret)
{
    struct cw_picker *app = cw_request_context(request);
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_visit *visit = cw_arena_alloc(arena, sizeof *visit);
    char id[CW_ID_TEXT_MAX];
    struct cw_err err = { .code = CW_OK };
    if (visit == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return NULL;
    }
    enum cw_code rc = cw_session_open_page(&app->model, secret, arena, &visit->page, &err);
    if (rc == CW_E_NOT_FOUND) {
        cw_picker_notice(request, reply, &(struct cw_notice){ .status = 404, .title_key = "ended.unknown_title",
                                                              .text_key = "ended.unknown_text" });
        return NULL;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return NULL;
    }
    visit->app = app;
    visit->base = cw_arena_printf(arena, "/c/%.*s", (int)secret.len, secret.ptr);
    cw_id_emit(CW_PREFIX_SESSION, visit->page.session.id.ulid, id);
    visit->actor = (struct cw_actor){ .kind = CW_ACTOR_BROWSER, .name = cw_arena_text(arena, cw_span_cstr(id)),
                                      .request_id = cw_request_id(request) };
    if (visit->base == NULL || visit->actor.name == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return NULL;
    }
    return visit;
}

bool cw_picker_admit(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span secret = cw_request_path_var(request, "secret");
    bool searches = (cw_request_route(request)->flags & FLAG_SEARCH) != 0;
    if (!within(request, reply, "address", cw_span_cstr(cw_request_address(request)), CW_CONF_LIMIT_PAGES_PER_ADDRESS) ||
        !within(request, reply, searches ? "search" : "session", secret,
                searches ? CW_CONF_LIMIT_SEARCH_PER_SESSION : CW_CONF_LIMIT_PAGES_PER_SESSION)) {
        return false;
    }
    struct cw_visit *visit = open_visit(request, reply, secret);
    cw_request_set_state(request, visit);
    return visit != NULL;
}

void cw_picker_fault_page(struct cw_request *request, struct cw_reply *reply, int status, const char *code)
{
    (void)code;
    static const struct {
        int status;
        const char *title, *text;
    } rows[] = {
        { 404, "wrong.not_found_title", "wrong.not_found_text" },
        { 405, "wrong.not_found_title", "wrong.not_found_text" },
        { 429, "ended.limited_title", "ended.limited_text" },
    };
    struct cw_notice notice = { .status = status, .title_key = status < 500 ? "wrong.bad_title" : "wrong.title",
                                .text_key = status < 500 ? "wrong.bad_text" : "wrong.text" };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        if (rows[i].status == status) {
            notice.title_key = rows[i].title;
            notice.text_key = rows[i].text;
        }
    }
    cw_picker_notice(request, reply, &notice);
}

void cw_picker_busy(struct cw_request *request, struct cw_reply *reply)
{
    cw_reply_header(reply, "Retry-After", "4");
    cw_picker_notice(request, reply, &(struct cw_notice){ .status = 503, .title_key = "wrong.busy_title",
                                                          .text_key = "wrong.busy_text", .refresh = true });
}
