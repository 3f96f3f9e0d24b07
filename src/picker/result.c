/* SPDX-License-Identifier: Apache-2.0 */
/* How one attempt stands: a plain sentence and one next step. */
#include "config.h"

#include "picker/picker.h"

#include "base/time.h"
#include "fhir/plan.h"
#include "model/connection.h"
#include "os/sys.h"
#include "smart/scope.h"

#include "base/json.h"

/* What each state says; a failed attempt's sentence is "failure.<code>". */
static const struct {
    enum cw_attempt_status status;
    const char *title, *heading, *text, *mood, *more;
    bool look_again, retry;
} views[] = {
    { CW_ATTEMPT_STARTED, "result.started_title", "result.started_heading", "result.started_text", "plain",
      "result.choose", true, true },
    { CW_ATTEMPT_EXCHANGING, "result.exchanging_title", "result.exchanging_heading", "result.exchanging_text", "plain",
      NULL, true, false },
    { CW_ATTEMPT_CONNECTED, "result.connected_title", "result.connected_heading", "result.connected_text", "good",
      "result.another", false, false },
    { CW_ATTEMPT_FAILED, "result.failed_title", "result.failed_heading", NULL, "bad", "result.choose", false, true },
};

/* Trying the same source again cannot help now. */
static bool is_final(struct cw_span code)
{
    const struct cw_failure *failure = cw_failure_find(code);
    return failure != NULL && !failure->retry;
}

static const char *sentence(struct cw_request *request, const char *language, const struct cw_attempt *attempt,
                            const struct cw_page *page)
{
    struct cw_visit *visit = cw_visit_of(request);
    const char *key = cw_arena_printf(cw_request_arena(request), "failure.%.*s", (int)attempt->failure_code.len,
                                      attempt->failure_code.ptr == NULL ? "" : attempt->failure_code.ptr);
    if (key == NULL || !cw_locale_has(visit->app->templates, key)) {
        key = "failure." CW_FAIL_INTERNAL;
    }
    return cw_picker_text(request, language, key, page);
}

/* Where the portal itself explains its error: told apart from the rest when the answer came, and safe to link. */
static struct cw_span more_information(struct cw_request *request, const struct cw_attempt *attempt)
{
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_span card = { NULL, 0 };
    struct cw_span none = { NULL, 0 };
    struct cw_err err = { .code = CW_OK };
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { .max_bytes = CW_EXCHANGE_MAX, .max_depth = 3 };
    if (attempt->status != CW_ATTEMPT_FAILED ||
        cw_exchange_get(&cw_visit_of(request)->app->model, attempt->id.ulid, arena, &card, &err) != CW_OK ||
        cw_json_parse(card, limits, &root, &err) != CW_OK) {
        return none;
    }
    struct cw_span uri = cw_json_peek_text(root, "more_uri");
    return uri.len == 0 ? none : cw_arena_span(arena, uri);
}

/* ---- what a connection lacks */

/* Kinds of records that patients know by a name, and that did not come although they were asked for. */
static bool add_missing(struct cw_request *request, struct cw_page *page, const char *language,
                        const struct cw_attempt *attempt)
{
    size_t count;
    bool any = false;
    struct cw_arena *arena = cw_request_arena(request);
    const char *const *types = cw_plan_types(&count);
    for (size_t i = 0; i < count; i++) {
        enum cw_scope_loss loss = cw_scope_loss(attempt->scopes_asked, attempt->scopes_granted, cw_span_cstr(types[i]));
        const char *key = cw_arena_printf(arena, "type.%s", types[i]);
        if (loss == CW_SCOPE_KEPT || key == NULL || !cw_locale_has(cw_visit_of(request)->app->templates, key)) {
            continue;
        }
        struct cw_page *item = cw_page_item(page, "missing");
        cw_page_cstr(item, "type", cw_picker_text(request, language, key, page));
        cw_page_bool(item, "part", loss == CW_SCOPE_PART);
        any = true;
    }
    return any;
}

/* How long one-time access lasts still, in words: a clock time would need the patient's time zone. */
static const char *time_left(struct cw_request *request, struct cw_page *page, const char *language, int64_t left_us)
{
    char count[24];
    bool hours = left_us >= 2 * CW_HOUR_US;
    int64_t minutes = (left_us + CW_MINUTE_US - 1) / CW_MINUTE_US;
    (void)snprintf(count, sizeof count, "%lld", (long long)(hours ? left_us / CW_HOUR_US : minutes < 2 ? 2 : minutes));
    cw_page_text(page, "count", cw_arena_span(cw_request_arena(request), cw_span_cstr(count)));
    const char *key = left_us <= 0 ? "result.once_over" : hours ? "result.once_hours" : "result.once_minutes";
    return cw_picker_text(request, language, key, page);
}

/* The two things that a patient should know of a connection that is not whole. */
static void add_shortcomings(struct cw_request *request, struct cw_page *page, const char *language,
                             const struct cw_attempt *attempt)
{
    struct cw_model *m = &cw_visit_of(request)->app->model;
    struct cw_connection connection;
    bool connected = attempt->status == CW_ATTEMPT_CONNECTED;
    cw_page_bool(page, "has_missing", connected && add_missing(request, page, language, attempt));
    if (connected && cw_connection_get(m, attempt->connection, cw_request_arena(request), &connection, NULL) == CW_OK &&
        connection.one_time) {
        bool active = connection.status == CW_CONNECTION_ACTIVE;
        int64_t left_us = active ? connection.ends_us - cw_now_us() : 0;
        cw_page_cstr(page, "once", time_left(request, page, language, left_us));
    }
}

static void show(struct cw_request *request, struct cw_reply *reply, const struct cw_attempt *attempt, const char *token)
{
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    struct cw_arena *arena = cw_request_arena(request);
    size_t at = 0;
    char id[CW_ID_TEXT_MAX];
    while (at + 1 < CW_ARRAY_LEN(views) && views[at].status != attempt->status) {
        at++;
    }
    if (page == NULL) {
        return;
    }
    cw_id_emit(CW_PREFIX_SOURCE, attempt->source.ulid, id);
    cw_page_text(page, "id", cw_arena_span(arena, cw_span_cstr(id)));
    cw_page_text(page, "name", attempt->source_name);
    cw_page_cstr(page, "token", token);
    cw_page_cstr(page, "mood", views[at].mood);
    cw_page_cstr(page, "title", cw_picker_text(request, language, views[at].title, page));
    cw_page_cstr(page, "heading", cw_picker_text(request, language, views[at].heading, page));
    cw_page_cstr(page, "text", views[at].text == NULL ? sentence(request, language, attempt, page)
                                                      : cw_picker_text(request, language, views[at].text, page));
    cw_page_cstr(page, "more", views[at].more == NULL || !cw_ulid_is_zero(attempt->direct_source.ulid) ? NULL : cw_picker_text(request, language, views[at].more, page));
    cw_page_text(page, "info", more_information(request, attempt));
    cw_page_bool(page, "retry", views[at].retry && !is_final(attempt->failure_code));
    cw_page_bool(page, "look_again", views[at].look_again);
    cw_page_bool(page, "refresh", attempt->status == CW_ATTEMPT_EXCHANGING);
    cw_id_emit(CW_PREFIX_ATTEMPT, attempt->id.ulid, id);
    cw_page_cstr(page, "here", cw_arena_printf(arena, "%s/attempt/%s", cw_visit_of(request)->base, id));
    cw_page_text(page, "reference", attempt->status == CW_ATTEMPT_FAILED ? cw_arena_span(arena, cw_span_cstr(id))
                                                                         : (struct cw_span){ NULL, 0 });
    add_shortcomings(request, page, language, attempt);
    cw_page_bool(page, "show_done", attempt->status == CW_ATTEMPT_CONNECTED);
    cw_picker_done_values(request, page, language, attempt->status == CW_ATTEMPT_CONNECTED);
    cw_picker_render(request, reply, 200, "patient/result", language, page);
}

void cw_picker_result(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_visit *visit = cw_visit_of(request);
    struct cw_attempt_id id;
    struct cw_attempt attempt;
    struct cw_err err = { .code = CW_OK };
    if (cw_picker_ended(request, reply)) {
        return;
    }
    enum cw_code rc = CW_E_NOT_FOUND;
    if (cw_id_parse(CW_PREFIX_ATTEMPT, cw_request_path_var(request, "attempt"), &id.ulid)) {
        rc = cw_attempt_get(&visit->app->model, visit->page.session.id, id, cw_request_arena(request), &attempt, &err);
    }
    const char *token = rc == CW_OK ? cw_picker_token(request, reply) : NULL;
    if (rc == CW_OK && token == NULL) {
        rc = CW_E_OOM;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, err.code == CW_OK ? NULL : &err);
        return;
    }
    show(request, reply, &attempt, token);
}
