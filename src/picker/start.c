/* SPDX-License-Identifier: Apache-2.0 */
/* POST start: the patient has chosen. Answers 303 to the portal, or to the page that says why not. */
#include "config.h"

#include "picker/picker.h"

#include "base/text.h"
#include "os/log.h"

void *cw_picker_thread_new(void *context)
{
    const struct cw_picker *app = context;
    struct cw_picker_thread *thread = calloc(1, sizeof *thread);
    if (thread != NULL) {
        thread->config = app->config;
    }
    return thread;
}

void cw_picker_thread_free(void *state)
{
    struct cw_picker_thread *thread = state;
    cw_http_free(thread->http);
    free(thread);
}

static enum cw_code http_of(struct cw_request *request, struct cw_http **ret_http, struct cw_err *err)
{
    struct cw_picker_thread *thread = cw_request_thread(request);
    enum cw_code rc = thread->http == NULL ? cw_http_new(thread->config, &thread->http, err) : CW_OK;
    *ret_http = thread->http;
    return rc;
}

/* The chosen source; Direct mode has one, whatever the form says. */
static enum cw_code find_source(struct cw_request *request, struct cw_source *ret, struct cw_err *err)
{
    struct cw_visit *visit = cw_visit_of(request);
    struct cw_source_id id = visit->page.session.direct_source;
    if (cw_ulid_is_zero(id.ulid) && !cw_id_parse(CW_PREFIX_SOURCE, cw_form_text(request, "source"), &id.ulid)) {
        return CW_E_NOT_FOUND;
    }
    return cw_source_get(&visit->app->model, visit->page.org.environment, id, cw_request_arena(request), ret, err);
}

/* Which words the patient agreed to: a hash over language and text, hex, for the consent receipt. */
static struct cw_span consent_version(struct cw_request *request, const char *language)
{
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_page *values = cw_page_new(arena);
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR hex;
    cw_str_init(&hex, 2 * CW_HASH_LEN);
    if (values == NULL) {
        return (struct cw_span){ NULL, 0 };
    }
    cw_page_text(values, "org", cw_visit_of(request)->page.org.name);
    const char *text = cw_picker_text(request, language, "choose.consent", values);
    const char *whole = cw_arena_printf(arena, "%s\n%s", language, text);
    cw_sha256(cw_span_cstr(whole), hash);
    return cw_hex_encode(cw_span_of(hash, sizeof hash), &hex) == CW_OK ? cw_arena_span(arena, cw_str_span(&hex))
                                                                       : (struct cw_span){ NULL, 0 };
}

/* One hidden field a parameter. False: no memory, or a body that is none of ours. */
static bool add_fields(struct cw_request *request, struct cw_page *page, struct cw_span body)
{
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_span pair;
    bool more = body.len > 0;
    while (more) {
        more = cw_span_cut(&body, '&', &pair);
        struct cw_span name;
        CW_AUTO_STR value;
        cw_str_init_secret(&value, CW_AUTHORIZE_URL_MAX);
        (void)cw_span_cut(&pair, '=', &name);
        if (cw_percent_decode(pair, false, &value) != CW_OK) {
            return false;
        }
        struct cw_page *field = cw_page_item(page, "fields");
        cw_page_text(field, "field", cw_arena_span(arena, name));
        cw_page_text(field, "value", cw_arena_span(arena, cw_str_span(&value)));
    }
    return true;
}

/* A request too long for a URL leaves as a form of its own page, by script or by a press. */
static void leave_by_form(struct cw_request *request, struct cw_reply *reply, const struct cw_leave *leave)
{
    const char *language = cw_picker_language(request, reply);
    struct cw_page *page = cw_picker_page(request, reply, language);
    if (page == NULL) {
        return;
    }
    cw_picker_source_values(request, page, &leave->source);
    cw_page_cstr(page, "title", cw_picker_text(request, language, "direct.title", page));
    cw_page_text(page, "action", cw_arena_span(cw_request_arena(request), cw_str_span(&leave->form.action)));
    if (!add_fields(request, page, cw_str_span(&leave->form.body))) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_picker_render(request, reply, 200, "patient/leave", language, page);
    cw_picker_forms_to(request, reply, cw_str_cstr(&leave->form.action));
}

static void go(struct cw_request *request, struct cw_reply *reply, const struct cw_leave *leave)
{
    struct cw_visit *visit = cw_visit_of(request);
    if (leave->failure == NULL) {
        if (leave->form.body.len > 0) {
            leave_by_form(request, reply, leave);
        } else {
            cw_reply_see_other(reply, cw_str_cstr(&leave->form.action));
        }
        return;
    }
    cw_log(CW_LOG_WARNING, "picker.cannot_start", CW_ID("attempt", CW_PREFIX_ATTEMPT, leave->attempt),
           CW_ID("source", CW_PREFIX_SOURCE, leave->source.id), CW_LIT("reason", leave->failure));
    if (!cw_ulid_is_zero(visit->page.session.direct_source.ulid)) {
        cw_picker_return(request, reply, leave->failure);
        return;
    }
    char id[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_ATTEMPT, leave->attempt.ulid, id);
    const char *path = cw_arena_printf(cw_request_arena(request), "%s/attempt/%s", visit->base, id);
    if (path == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_reply_see_other(reply, path);
}

static void refuse(struct cw_request *request, struct cw_reply *reply, enum cw_code rc, const struct cw_err *err)
{
    struct cw_visit *visit = cw_visit_of(request);
    if (rc == CW_E_LIMITED) {
        cw_picker_notice(request, reply, &(struct cw_notice){ .status = 429, .title_key = "ended.open_title",
                                                              .text_key = "ended.open_text", .link = visit->base,
                                                              .link_key = "ended.back" });
    } else if (rc == CW_E_STATE) {
        visit->page.session.status = CW_SESSION_EXPIRED; /* it ended while the server was asked */
        (void)cw_picker_ended(request, reply);
    } else {
        cw_reply_fault_code(reply, rc, err);
    }
}

void cw_picker_start(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_leave leave = { .failure = NULL };
    struct cw_http *http = NULL;
    if (cw_picker_ended(request, reply) || !cw_picker_check(request, reply, &leave.browser)) {
        return;
    }
    enum cw_code rc = find_source(request, &leave.source, &err);
    if (rc == CW_E_NOT_FOUND) {
        cw_picker_notice(request, reply, &(struct cw_notice){ .status = 404, .title_key = "ended.gone_title",
                                                              .text_key = "ended.gone_text",
                                                              .link = cw_visit_of(request)->base,
                                                              .link_key = "ended.back" });
        return;
    }
    const char *language = cw_picker_language(request, reply);
    leave.language = cw_span_cstr(language);
    if (rc == CW_OK) {
        rc = http_of(request, &http, &err);
    }
    if (rc == CW_OK) {
        rc = cw_leave_prepare(cw_visit_of(request), http, consent_version(request, language), cw_request_arena(request),
                              &leave, &err);
    }
    if (rc == CW_OK) {
        go(request, reply, &leave);
    } else {
        refuse(request, reply, rc, err.code == CW_OK ? NULL : &err);
    }
    cw_leave_release(&leave);
}
