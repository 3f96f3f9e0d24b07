/* SPDX-License-Identifier: Apache-2.0 */
/* What all pages share: language, head, form token, masking, the way back, and the plain page of one sentence. */
#include "config.h"

#include "picker/picker.h"

#include "base/limits.h"
#include "base/text.h"
#include "net/url.h"
#include "os/log.h"

#define TEXT_MAX 4096u
#define MASK_WORDS_MAX 3u
#define TOKEN_USE "picker"

struct cw_visit *cw_visit_of(const struct cw_request *request)
{
    struct cw_visit *visit = cw_request_state(request);
    if (visit == NULL) {
        cw_bug("a handler without admission");
    }
    return visit;
}

static struct cw_picker *app_of(const struct cw_request *request)
{
    return cw_request_context(request);
}

/* True when this request's query was read and has an input `lang`. */
static bool has_language_input(const struct cw_request *request)
{
    const struct cw_route *route = cw_request_route(request);
    return cw_request_state(request) != NULL && route != NULL && route->query != NULL &&
           strcmp(route->query[0].name, "lang") == 0;
}

const char *cw_picker_language(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_picker *app = app_of(request);
    struct cw_span asked = has_language_input(request) ? cw_query_text(request, "lang") : (struct cw_span){ NULL, 0 };
    return cw_browser_language(request, reply, app->templates, asked, app->secure);
}

/* The switch stands only on pages that a GET brings: its links are the same page with ?lang=. */
static void add_languages(struct cw_request *request, struct cw_page *page, const char *language)
{
    const struct cw_templates *templates = app_of(request)->templates;
    size_t count = cw_language_count(templates);
    for (size_t i = 0; i < count && has_language_input(request); i++) {
        const char *name;
        const char *tag = cw_language_at(templates, i, &name);
        struct cw_page *item = cw_page_item(page, "languages");
        cw_page_cstr(item, "tag", tag);
        cw_page_cstr(item, "name", name);
        cw_page_bool(item, "current", strcmp(tag, language) == 0);
        cw_page_bool(item, "first", i == 0);
        cw_page_bool(item, "last", i + 1 == count);
    }
}

struct cw_page *cw_picker_page(struct cw_request *request, struct cw_reply *reply, const char *language)
{
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL) {
        cw_reply_status(reply, 503);
        return NULL;
    }
    const struct cw_visit *visit = cw_request_state(request);
    if (visit != NULL) {
        cw_page_text(page, "org", visit->page.org.name);
        cw_page_cstr(page, "base", visit->base);
    }
    cw_page_cstr(page, "reference", cw_request_id(request));
    add_languages(request, page, language);
    return page;
}

const char *cw_picker_text(struct cw_request *request, const char *language, const char *key,
                           const struct cw_page *values)
{
    CW_AUTO_STR text;
    cw_str_init(&text, TEXT_MAX);
    if (cw_locale_text(app_of(request)->templates, language, key, values, &text) != CW_OK) {
        return "";
    }
    const char *copy = cw_arena_text(cw_request_arena(request), cw_str_span(&text));
    return copy == NULL ? "" : copy;
}

/* A form here ends in a 303 to some portal or to return_url, and Chromium holds form-action against that redirect too. Portals cannot be
 * named beforehand (their host comes from discovery), so https as a whole is allowed, http only where this site itself is on
 * http (development), and the app's own return address. */
static void allow_forms(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_visit *visit = cw_request_state(request);
    CW_AUTO_STR sources;
    cw_str_init(&sources, CW_URL_MAX + 64);
    cw_str_add_cstr(&sources, app_of(request)->secure ? "'self' https:" : "'self' https: http:");
    if (visit != NULL) {
        cw_str_add_char(&sources, ' ');
        (void)!cw_return_form_action(visit->page.session.return_url, &sources);
    }
    if (cw_str_code(&sources) == CW_OK) {
        cw_reply_form_action(reply, cw_str_cstr(&sources));
    }
}

void cw_picker_render(struct cw_request *request, struct cw_reply *reply, int status, const char *template,
                      const char *language, const struct cw_page *page)
{
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_template_render(app_of(request)->templates, template, language, page, cw_reply_body(reply), &err);
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "picker.page", CW_LIT("template", template), CW_ERR(&err));
    }
    cw_reply_html(reply, rc == CW_OK ? status : 500);
    allow_forms(request, reply);
}

void cw_picker_forms_to(struct cw_request *request, struct cw_reply *reply, const char *action)
{
    CW_AUTO_STR sources;
    cw_str_init(&sources, CW_URL_MAX + 64);
    (void)!cw_return_form_action(cw_span_cstr(action), &sources);
    (void)cw_str_add_cstr(&sources, app_of(request)->secure ? " https:" : " https: http:");
    if (cw_str_code(&sources) == CW_OK) {
        cw_reply_form_action(reply, cw_str_cstr(&sources));
    }
}

void cw_picker_notice(struct cw_request *request, struct cw_reply *reply, const struct cw_notice *notice)
{
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    if (page == NULL) {
        return;
    }
    cw_page_cstr(page, "title", cw_picker_text(request, language, notice->title_key, page));
    cw_page_cstr(page, "text", cw_picker_text(request, language, notice->text_key, page));
    cw_page_cstr(page, "mood", "plain");
    cw_page_bool(page, "refresh", notice->refresh);
    if (notice->link != NULL) {
        cw_page_cstr(page, "link", notice->link);
        cw_page_cstr(page, "link_text", cw_picker_text(request, language, notice->link_key, page));
    }
    cw_picker_render(request, reply, notice->status, "patient/message", language, page);
}

bool cw_picker_ended(struct cw_request *request, struct cw_reply *reply)
{
    switch (cw_visit_of(request)->page.session.status) {
    case CW_SESSION_OPEN:
        return false;
    case CW_SESSION_COMPLETE:
        cw_picker_notice(request, reply, &(struct cw_notice){ .status = 410, .title_key = "ended.complete_title",
                                                              .text_key = "ended.complete_text" });
        return true;
    case CW_SESSION_EXPIRED:
        break;
    }
    cw_picker_notice(request, reply, &(struct cw_notice){ .status = 410, .title_key = "ended.expired_title",
                                                          .text_key = "ended.expired_text" });
    return true;
}

/* --- the form token: HMAC over Session and browser, so that another site's form or another browser cannot post --- */

static const char *make_token(struct cw_request *request, struct cw_span browser)
{
    const struct cw_visit *visit = cw_visit_of(request);
    uint8_t mac[CW_HASH_LEN];
    CW_AUTO_STR input;
    CW_AUTO_STR text;
    cw_str_init_secret(&input, 256);
    cw_str_init_secret(&text, 64);
    cw_str_add_cstr(&input, TOKEN_USE ":");
    cw_str_add(&input, visit->page.session.id.ulid.bytes, sizeof visit->page.session.id.ulid.bytes);
    cw_str_add_span(&input, browser);
    if (browser.ptr == NULL || cw_str_code(&input) != CW_OK) {
        return NULL;
    }
    cw_vault_hmac(visit->app->model.vault, CW_PURPOSE_FORM, cw_str_span(&input), mac);
    if (cw_base64url_encode(cw_span_of(mac, sizeof mac), &text) != CW_OK) {
        return NULL;
    }
    return cw_arena_text(cw_request_arena(request), cw_str_span(&text));
}

const char *cw_picker_token(struct cw_request *request, struct cw_reply *reply)
{
    return make_token(request, cw_browser_cookie_ensure(request, reply, app_of(request)->secure));
}

bool cw_picker_check(struct cw_request *request, struct cw_reply *reply, struct cw_span *ret_browser)
{
    struct cw_span browser = cw_browser_cookie(request, app_of(request)->secure);
    const char *wanted = make_token(request, browser);
    if (wanted != NULL && cw_secret_eq(cw_span_cstr(wanted), cw_form_text(request, "token"))) {
        *ret_browser = browser;
        return true;
    }
    cw_picker_notice(request, reply,
                     &(struct cw_notice){ .status = 403, .title_key = "ended.form_title", .text_key = "ended.form_text",
                                          .link = cw_visit_of(request)->base, .link_key = "ended.form_link" });
    return false;
}

/* --- pieces --- */

/* Bytes of the first code point; the text is valid UTF-8. */
static size_t first_length(struct cw_span text)
{
    size_t length = text.len > 0 ? 1 : 0;
    while (length < text.len && ((unsigned char)text.ptr[length] & 0xc0) == 0x80) {
        length++;
    }
    return length;
}

struct cw_span cw_picker_mask(struct cw_arena *arena, struct cw_span name)
{
    struct cw_span none = { NULL, 0 };
    struct cw_span word;
    CW_AUTO_STR masked;
    cw_str_init(&masked, 128);
    for (size_t i = 0; i < MASK_WORDS_MAX && cw_span_word(&name, &word); i++) {
        cw_str_add_cstr(&masked, i == 0 ? "" : " ");
        cw_str_add_span(&masked, cw_span_upto(word, first_length(word)));
        cw_str_add_cstr(&masked, "\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2");
    }
    return masked.len == 0 || cw_str_code(&masked) != CW_OK ? none : cw_arena_span(arena, cw_str_span(&masked));
}

void cw_picker_done_values(struct cw_request *request, struct cw_page *page, const char *language, bool connected)
{
    struct cw_span label = cw_visit_of(request)->page.session.return_label;
    cw_page_text(page, "label", label);
    const char *key = label.len > 0 ? "choose.finish_to" : connected ? "choose.finish" : "choose.leave";
    cw_page_cstr(page, "done_label", cw_picker_text(request, language, key, page));
    cw_page_cstr(page, "done_class", connected ? "primary" : "quiet");
}

/* "Madison, WI" from what there is of it. */
static struct cw_span place_of(struct cw_arena *arena, const struct cw_source *source)
{
    const struct cw_span parts[] = { source->city, source->state };
    CW_AUTO_STR place;
    cw_str_init(&place, 2 * CW_SOURCE_NAME_MAX);
    for (size_t i = 0; i < CW_ARRAY_LEN(parts); i++) {
        if (parts[i].len > 0) {
            cw_str_add_cstr(&place, place.len == 0 ? "" : ", ");
            cw_str_add_span(&place, parts[i]);
        }
    }
    return cw_arena_span(arena, cw_str_span(&place));
}

/* Where the patient will sign in, as far as the catalogue knows. */
static struct cw_span host_of(struct cw_arena *arena, const struct cw_source *source)
{
    struct cw_url *url = NULL;
    struct cw_span text = source->portal_url.len > 0 ? source->portal_url : source->base_url;
    struct cw_span host = { NULL, 0 };
    if (cw_url_parse(text, &url, NULL) == CW_OK) {
        host = cw_arena_span(arena, cw_span_cstr(cw_url_host(url)));
    }
    cw_url_free(url);
    return host;
}

void cw_picker_source_values(struct cw_request *request, struct cw_page *page, const struct cw_source *source)
{
    struct cw_arena *arena = cw_request_arena(request);
    char id[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_SOURCE, source->id.ulid, id);
    cw_page_text(page, "id", cw_arena_span(arena, cw_span_cstr(id)));
    cw_page_text(page, "name", source->name);
    cw_page_text(page, "place", place_of(arena, source));
    cw_page_text(page, "host", host_of(arena, source));
}

void cw_picker_return(struct cw_request *request, struct cw_reply *reply, const char *failure)
{
    const struct cw_session *session = &cw_visit_of(request)->page.session;
    char id[CW_ID_TEXT_MAX];
    CW_AUTO_STR url;
    cw_str_init(&url, 2 * CW_URL_MAX + 4 * CW_PATIENT_ID_BYTES_MAX);
    cw_id_emit(CW_PREFIX_SESSION, session->id.ulid, id);
    const struct cw_return_param params[] = {
        { "patient_id", session->patient_id },
        { "patient_session_id", cw_span_cstr(id) },
        { "success", cw_span_cstr(failure == NULL ? NULL : "false") },
        { "connection_id", { NULL, 0 } },
        { "error", cw_span_cstr(failure) },
        { "error_description", { NULL, 0 } },
        { NULL, { NULL, 0 } },
    };
    enum cw_code rc = cw_return_url(session->return_url, params, &url);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, NULL);
        return;
    }
    cw_reply_see_other(reply, cw_str_cstr(&url));
}
