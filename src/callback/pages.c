/* SPDX-License-Identifier: Apache-2.0 */
/* What the browser gets: mostly a 303. Pages are the exception, and say one sentence. */
#include "config.h"

#include "callback/callback.h"

#include "base/limits.h"
#include "base/text.h"
#include "os/log.h"
#include "web/browser.h"

static struct cw_callback *app_of(const struct cw_request *request)
{
    return cw_request_context(request);
}

/* --- the way on --- */

static enum cw_code result_path(struct cw_callback *app, struct cw_request *request, const struct cw_attempt *attempt,
                                struct cw_str *out, struct cw_err *err)
{
    char attempt_id[CW_ID_TEXT_MAX];
    struct cw_session session;
    CW_AUTO_STR secret;
    cw_str_init_secret(&secret, 64);
    cw_id_emit(CW_PREFIX_ATTEMPT, attempt->id.ulid, attempt_id);
    enum cw_code rc = cw_session_get(&app->model, attempt->org, attempt->session, cw_request_arena(request), &session, err);
    if (rc == CW_OK) {
        rc = cw_str_add_span(&secret, session.secret);
    }
    return rc != CW_OK ? rc : cw_str_addf(out, CW_RESULT_PATH, cw_str_cstr(&secret), attempt_id);
}

static enum cw_code app_url(const struct cw_callback_outcome *outcome, struct cw_str *out)
{
    const struct cw_attempt *attempt = &outcome->attempt;
    char session_id[CW_ID_TEXT_MAX];
    char source_id[CW_ID_TEXT_MAX];
    bool connected = outcome->end == CW_CALLBACK_CONNECTED;
    struct cw_span none = { NULL, 0 };
    cw_id_emit(CW_PREFIX_SESSION, attempt->session.ulid, session_id);
    cw_id_emit(CW_PREFIX_SOURCE, attempt->direct_source.ulid, source_id);
    const struct cw_return_param params[] = {
        { "patient_id", attempt->patient_id },
        { "patient_session_id", cw_span_cstr(session_id) },
        { "success", connected ? CW_SPAN("true") : CW_SPAN("false") },
        { "connection_id", connected ? cw_span_cstr(source_id) : none },
        { "error", connected ? none : cw_span_cstr(outcome->failure) },
        { "error_description", none },
        { NULL, none },
    };
    return cw_return_url(attempt->return_url, params, out);
}

void cw_callback_go_on(struct cw_callback *app, struct cw_request *request, struct cw_reply *reply,
                       const struct cw_callback_outcome *outcome)
{
    struct cw_err err = { .code = CW_OK };
    CW_AUTO_STR url;
    cw_str_init(&url, CW_LINK_MAX);
    bool direct = !cw_ulid_is_zero(outcome->attempt.direct_source.ulid);
    enum cw_code rc = direct ? app_url(outcome, &url) : result_path(app, request, &outcome->attempt, &url, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, err.code == CW_OK ? NULL : &err);
        return;
    }
    cw_reply_see_other(reply, cw_str_cstr(&url));
}

/* --- pages --- */

static const char *language_of(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_callback *app = app_of(request);
    return cw_browser_language(request, reply, app->templates, (struct cw_span){ NULL, 0 }, app->secure);
}

/* A locale text in the arena; "" when memory has run out. */
static const char *text_of(struct cw_request *request, const char *language, const char *key, const struct cw_page *values)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 4096);
    if (cw_locale_text(app_of(request)->templates, language, key, values, &text) != CW_OK) {
        return "";
    }
    const char *copy = cw_arena_text(cw_request_arena(request), cw_str_span(&text));
    return copy == NULL ? "" : copy;
}

static void render(struct cw_request *request, struct cw_reply *reply, int status, const char *name, const char *language,
                   const struct cw_page *page)
{
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_template_render(app_of(request)->templates, name, language, page, cw_reply_body(reply), &err);
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "callback.page", CW_LIT("template", name), CW_ERR(&err));
    }
    cw_reply_html(reply, rc == CW_OK ? status : 500);
}

static void message(struct cw_request *request, struct cw_reply *reply, int status, const char *title_key,
                    const char *text_key, bool refresh)
{
    const char *language = language_of(request, reply);
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL) {
        cw_reply_status(reply, 503);
        return;
    }
    cw_page_cstr(page, "reference", cw_request_id(request));
    cw_page_cstr(page, "title", text_of(request, language, title_key, page));
    cw_page_cstr(page, "text", text_of(request, language, text_key, page));
    cw_page_cstr(page, "mood", "bad");
    cw_page_bool(page, "refresh", refresh);
    render(request, reply, status, "patient/message", language, page);
}

void cw_callback_message(struct cw_request *request, struct cw_reply *reply, int status, const char *title_key,
                         const char *text_key)
{
    message(request, reply, status, title_key, text_key, false);
}

static void add_parameter(struct cw_str *query, const char *name, struct cw_span value)
{
    if (value.ptr != NULL) {
        (void)cw_form_add(query, name, value);
    }
}

/* A link that follows itself by the Refresh header, not a form: the way on ends at return_url, and Chromium holds form-action
 * against the redirects after a form. */
void cw_callback_resubmit(struct cw_request *request, struct cw_reply *reply, const struct cw_callback_input *input)
{
    CW_AUTO_STR query;
    CW_AUTO_STR link;
    CW_AUTO_STR refresh;
    cw_str_init_secret(&query, 2 * CW_FORM_BODY_MAX);
    cw_str_init_secret(&link, 2 * CW_FORM_BODY_MAX);
    cw_str_init_secret(&refresh, 2 * CW_FORM_BODY_MAX);
    add_parameter(&query, "state", input->state);
    add_parameter(&query, "code", input->code);
    add_parameter(&query, "iss", input->iss);
    add_parameter(&query, "error", input->error);
    add_parameter(&query, "error_description", input->error_text);
    add_parameter(&query, "error_uri", input->error_uri);
    (void)cw_str_add_cstr(&link, "/callback/");
    (void)cw_percent_encode(input->slug, &link);
    (void)cw_str_add_char(&link, '?');
    (void)cw_str_add_span(&link, cw_str_span(&query));
    (void)cw_str_addf(&refresh, "0; url=%s", cw_str_cstr(&link));
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL || query.len > CW_QUERY_MAX || cw_str_code(&query) != CW_OK || cw_str_code(&refresh) != CW_OK) {
        cw_callback_fault_page(request, reply, page == NULL ? 503 : 400, "invalid_request");
        return;
    }
    const char *language = language_of(request, reply);
    cw_page_cstr(page, "title", text_of(request, language, "callback.continue_title", page));
    cw_page_cstr(page, "text", text_of(request, language, "callback.continue_text", page));
    cw_page_cstr(page, "link", cw_str_cstr(&link));
    cw_page_cstr(page, "link_text", text_of(request, language, "callback.continue_button", page));
    cw_page_cstr(page, "mood", "good");
    cw_reply_header(reply, "Refresh", cw_str_cstr(&refresh));
    render(request, reply, 200, "patient/message", language, page);
}

void cw_callback_fault_page(struct cw_request *request, struct cw_reply *reply, int status, const char *code)
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
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        if (rows[i].status == status) {
            cw_callback_message(request, reply, status, rows[i].title, rows[i].text);
            return;
        }
    }
    bool theirs = status < 500;
    cw_callback_message(request, reply, status, theirs ? "wrong.bad_title" : "wrong.title",
                        theirs ? "wrong.bad_text" : "wrong.text");
}

/* Nothing was consumed yet, so the browser may ask the very same URL again. */
void cw_callback_busy(struct cw_request *request, struct cw_reply *reply)
{
    cw_reply_header(reply, "Retry-After", "4");
    message(request, reply, 503, "wrong.busy_title", "wrong.busy_text", true);
}
