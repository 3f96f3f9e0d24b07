/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging answers. One refused type never stops the others; only a dead grant, or a hospital that is gone, stops a pull. A denial is
 * final: nothing is asked a second time in another way where the server says that it will not show it.
 */
#include "config.h"
#include "scheduler/judge.h"

#include <stdlib.h>
#include <strings.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "fhir/link.h"
#include "fhir/plan.h"
#include "fhir/refusal.h"
#include "model/failure.h"
#include "net/wait.h"
#include "os/sys.h"

#define NEW_CONSENT_US (10 * CW_MINUTE_US) /* how long a portal may take to let a consent through to its Patient */
#define SUSPECT_US CW_HOUR_US              /* a connection all of whose requests are refused, also with a new token, rests so long */
#define DOUBT_AGAIN_US (5 * CW_MINUTE_US)  /* a token that was new so long ago may have ended before its time */
#define REFUSED_IN_ROW_MAX 4u
#define PAGE_HEAD_MAX 16384u              /* how much of an HTML page is looked through */

static void judge(struct page *page, enum verdict verdict, const char *code)
{
    page->verdict = verdict;
    page->code = code;
}

/* Later, by the ladder. It is the whole server's trouble where nothing came at all, or 5xx; a body that is broken or cut may be this one's. */
static void judge_trouble(struct page *page, const char *code)
{
    const struct task_item *item = page->item;
    judge(page, PAGE_RETRY, code);
    page->faulty = item->response.status >= 500 || item->code == CW_E_TIMEOUT || (item->code != CW_OK && item->response.status == 0);
}

/* ---------------------------------------------------------------------------------------------- asking otherwise */

/* Puts another URL into the item, to be asked at once. False when out of memory. */
static bool ask_instead(struct page *page, char *url, const char *code)
{
    if (url == NULL) {
        return false;
    }
    free(page->item->url);
    page->item->url = url;
    judge(page, PAGE_AGAIN, code);
    return true;
}

/* A first page's query made anew by `change` (cw_plan_halve, cw_plan_shrink). False when there is nothing to change. */
static bool ask_changed(struct page *page, bool (*change)(struct cw_span, struct cw_str *), const char *code)
{
    struct task_item *item = page->item;
    if (item->kind != CW_TASK_SEARCH || !item->first_page) {
        return false;
    }
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    bool changed = change(cw_span_cstr(item->url), &url) && cw_str_code(&url) == CW_OK && ask_instead(page, cw_str_take(&url), code);
    item->reshaped |= changed;
    return changed;
}

/* The same with a query that was refused: what it was first is kept, so that what works in its place can be learnt. */
static bool ask_relaxed(struct page *page, char *url)
{
    struct task_item *item = page->item;
    char *first = item->planned_url == NULL ? strdup(item->url) : NULL;
    if (!ask_instead(page, url, "query_relaxed")) {
        free(first);
        return false;
    }
    if (item->planned_url == NULL) {
        item->planned_url = first;
    }
    item->reshaped = true;
    return true;
}

static bool relax(struct page *page, bool (*change)(struct cw_span, struct cw_str *))
{
    struct task_item *item = page->item;
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    return item->kind == CW_TASK_SEARCH && item->first_page && change(cw_span_cstr(item->url), &url) && cw_str_code(&url) == CW_OK &&
           ask_relaxed(page, cw_str_take(&url));
}

/* The same for a search that is past its first page: from the start, in smaller pages, since a next link is the server's own. */
static bool begin_smaller(struct page *page, bool (*change)(struct cw_span, struct cw_str *))
{
    struct task_item *item = page->item;
    if (item->kind != CW_TASK_SEARCH || item->first_page || item->first_url == NULL) {
        return false;
    }
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    if (!change(cw_span_cstr(item->first_url), &url) || cw_str_code(&url) != CW_OK) {
        return false;
    }
    page->new_url = cw_arena_span(page->arena, cw_str_span(&url));
    if (page->new_url.ptr != NULL) {
        judge(page, PAGE_RESTART, "page_shrunk");
    }
    return page->new_url.ptr != NULL;
}

/* A page that cannot be taken as it is: in smaller ones, until they cannot be smaller. */
static void judge_smaller(struct page *page, bool (*change)(struct cw_span, struct cw_str *), const char *code)
{
    if (!ask_changed(page, change, "page_shrunk") && !begin_smaller(page, change)) {
        judge(page, PAGE_FINAL, code);
    }
}

static void judge_transfer(struct page *page)
{
    static const struct {
        enum cw_code code;
        enum verdict verdict;
        const char *name;
    } table[] = {
        { CW_E_BLOCKED, PAGE_FINAL, "url_refused" },
        { CW_E_SYNTAX, PAGE_FINAL, "url_refused" },   { CW_E_STOPPED, PAGE_AGAIN, "stopped" },
    };
    if (page->item->code == CW_E_TOO_BIG) {
        judge_smaller(page, cw_plan_halve, "page_too_big");
        return;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(table); i++) {
        if (table[i].code == page->item->code) {
            judge(page, table[i].verdict, table[i].name);
            return;
        }
    }
    judge_trouble(page, page->item->code == CW_E_TIMEOUT ? "timeout" : "unavailable");
}

/* A Binary is asked for as a resource first, since apps read those (decision 9), any other file as what its attachment says that it is. */
static const char *const *document_forms(const struct task_item *item)
{
    static const char *const binary[] = { "application/fhir+json", "*/*", CW_FORM_OWN, "application/json", NULL };
    static const char *const file[] = { CW_FORM_OWN, "*/*", "application/fhir+json", NULL };
    return item->binary ? binary : file;
}

const char *accept_of_form(const struct task_item *item, const char *form)
{
    return strcmp(form, CW_FORM_OWN) != 0 ? form : item->own_type != NULL ? item->own_type : "*/*";
}

const char *document_form(const struct run *run, const struct task_item *item)
{
    const char *found = item->binary ? run->binary_form : run->file_form;
    return found != NULL ? found : item->binary ? run->profile->accept : document_forms(item)[0];
}

/* The next form that was not asked for yet; false when there is none. */
static bool ask_other_form(struct page *page)
{
    static const char *const forms[] = { "application/fhir+json", "application/json", "application/json+fhir", NULL };
    struct task_item *item = page->item;
    bool document = item->kind == CW_TASK_DOCUMENT;
    const char *const *all = document ? document_forms(item) : forms;
    while (all[item->forms_tried] != NULL) {
        const char *form = all[item->forms_tried++];
        const char *accept = document ? accept_of_form(item, form) : form;
        if (strcmp(accept, item->accept) != 0) {
            item->form = form;
            item->accept = accept;
            judge(page, PAGE_AGAIN, "form_refused");
            return true;
        }
    }
    return false;
}

/* 406 and 415. */
static void judge_accept(struct page *page)
{
    if (!ask_other_form(page)) {
        judge(page, PAGE_FINAL, "form_refused");
    }
}

/* 400 and 404 for a document can mean its form as well, at a server that has given none yet; but a 404 that it explains is its word. */
static bool may_be_form(struct page *page)
{
    const struct task_item *item = page->item;
    struct cw_outcome outcome;
    struct cw_err ignored = { 0 };
    bool explained = item->response.status == 404 &&
                     cw_outcome_read(cw_str_span(&item->response.body), page->arena, &outcome, &ignored) == CW_OK;
    if (item->kind != CW_TASK_DOCUMENT || explained) {
        return false;
    }
    pthread_mutex_lock(&page->s->lock);
    bool known = (item->binary ? item->run->binary_form : item->run->file_form) != NULL;
    pthread_mutex_unlock(&page->s->lock);
    return !known && ask_other_form(page);
}

static void judge_redirect(struct page *page)
{
    struct task_item *item = page->item;
    struct cw_span location = cw_http_header_get(&item->response, "Location");
    struct cw_url *from = NULL, *to = NULL;
    struct cw_err err = { 0 };
    judge(page, PAGE_FINAL, "redirected_elsewhere");
    if (location.ptr != NULL && item->redirects++ < CW_REDIRECTS_MAX &&
        cw_url_parse(cw_span_cstr(item->url), &from, &err) == CW_OK &&
        cw_link_follow(from, location, item->run->base, &to, &err) == CW_OK &&
        ask_instead(page, strdup(cw_url_text(to)), "redirected")) {
        item->merged |= cw_refusal_of(cw_str_span(&item->response.body), page->arena) == CW_REFUSAL_MERGED;
    }
    cw_url_free(from);
    cw_url_free(to);
}

/* ---------------------------------------------------------------------------------------------- refusals */

/* The other searches of the type would go around a denial; other documents meet the same limit. What is at hand is not asked any more. */
static void give_up_like(struct page *page, const char *code)
{
    const struct task_item *item = page->item;
    struct run *run = item->run;
    pthread_mutex_lock(&page->s->lock);
    if (item->kind == CW_TASK_DOCUMENT) {
        run->documents_over = true;
    }
    for (struct task_item *other = run->ready; other != NULL && item->kind == CW_TASK_SEARCH; other = other->next) {
        if (other->kind == CW_TASK_SEARCH && strcmp(other->type, item->type) == 0) {
            other->given_up = code;
        }
    }
    pthread_mutex_unlock(&page->s->lock);
}

static void end_run(struct page *page, const char *code)
{
    pthread_mutex_lock(&page->s->lock);
    page->item->run->end_code = code;
    pthread_mutex_unlock(&page->s->lock);
}

/* One retry, since a 500 may still be one; then one resource a page, so that those before the broken one come. */
static void judge_defect(struct page *page)
{
    if (page->item->tries == 0) {
        judge(page, PAGE_RETRY, "data_defect");
    } else {
        judge_smaller(page, cw_plan_shrink, "data_defect");
    }
}

/* What the answer's words say, whatever its status. False when they say nothing that we know. */
static bool judge_words(struct page *page)
{
    switch (cw_refusal_of(cw_str_span(&page->item->response.body), page->arena)) {
    case CW_REFUSAL_PAGING_EXPIRED:
        judge(page, PAGE_RESTART, "paging_expired");
        return true;
    case CW_REFUSAL_DAILY_LIMIT:
        judge(page, PAGE_FINAL, "daily_limit");
        if (page->item->kind == CW_TASK_DOCUMENT) {
            give_up_like(page, "daily_limit");
        }
        return true;
    case CW_REFUSAL_WITHHELD:
        judge(page, PAGE_FINAL, "access_withheld");
        if (page->item->kind == CW_TASK_SEARCH) {
            give_up_like(page, "access_withheld");
        }
        return true;
    case CW_REFUSAL_QUERY:
        judge(page, PAGE_FINAL, "query_refused");
        return true;
    case CW_REFUSAL_MOVED:
        judge(page, PAGE_FINAL, CW_FAIL_ENDPOINT_MOVED);
        end_run(page, CW_FAIL_ENDPOINT_MOVED);
        return true;
    case CW_REFUSAL_DEFECT:
        if (page->item->response.status >= 500) {
            judge_defect(page);
            return true;
        }
        return false;
    case CW_REFUSAL_MERGED:
    case CW_REFUSAL_NONE:
        return false;
    }
    return false;
}

static bool is_html(const struct page *page)
{
    struct cw_span body = cw_span_trim(cw_str_span(&page->item->response.body));
    return body.len > 0 && body.ptr[0] == '<';
}

/* Some portals let a consent through to the Patient minutes after they gave the token. */
static bool may_be_early(const struct page *page)
{
    const struct run *run = page->item->run;
    return page->item->kind == CW_TASK_READ && !json_is_true(json_object_get(run->profile->pull, "patient_withheld")) &&
           cw_now_us() - run->connection.updated_us < NEW_CONSENT_US;
}

static void judge_forbidden(struct page *page)
{
    static const int64_t ladder_s[] = { 2, 10, 60, 180 };
    unsigned tries = page->item->tries;
    if (is_html(page)) {
        judge_trouble(page, "server_error"); /* a firewall's page, not the hospital's word */
    } else if (may_be_early(page) && tries < CW_ARRAY_LEN(ladder_s)) {
        judge(page, PAGE_RETRY, "no_access_yet");
        page->retry_us = cw_now_us() + ladder_s[tries] * CW_SECOND_US;
    } else {
        judge(page, PAGE_FINAL, "no_access");
    }
}

static bool lacks_scope(const struct page *page)
{
    struct cw_span said = cw_http_header_get(&page->item->response, "WWW-Authenticate");
    return cw_span_find_span(said, CW_SPAN("insufficient_scope")) < said.len;
}

/* Nothing shows that the token is good: another is got, once. If that changes nothing, all others have been asked as well, and this connection has brought nothing at all, it is
 * the hospital's trouble and may pass; otherwise it is the type (lock held). */
static void doubt_token(struct page *page)
{
    const struct task_item *item = page->item;
    struct run *run = item->run;
    int64_t now_us = cw_now_us();
    if (run->renewed_us == 0 || now_us - run->renewed_us > DOUBT_AGAIN_US) {
        run->refused_version = item->token_version;
        judge(page, PAGE_AGAIN, "unauthorized");
    } else if (run->any_good || run->pull.received > 0) {
        judge(page, PAGE_FINAL, "unauthorized");
    } else {
        run->rest_until_us = page->retry_us = now_us + SUSPECT_US;
        judge(page, PAGE_RETRY, "unauthorized");
    }
}

/* Many servers answer with 401 for what the patient may not have (Blue Button's demographics, a dozen types of others). Whether it is the token or the
 * type, a later request with the same token shows: so a refused one is asked again after the others, and is the type's if they fared better (lock held). */
static void weigh_refusal(struct page *page)
{
    struct task_item *item = page->item;
    struct run *run = item->run;
    bool first = item->refused_version != item->token_version;
    bool renewed = first && item->refused_version != 0 && run->any_good; /* a fresh token was refused as well */
    uint64_t since = first ? item->asked_as : item->refused_as;
    if (item->token_version != run->token_version) {
        judge(page, PAGE_AGAIN, "unauthorized"); /* that one is gone already */
    } else if (run->good_asked > since || renewed) {
        judge(page, PAGE_FINAL, "unauthorized");
    } else if (first && (++run->refused_in_row < REFUSED_IN_ROW_MAX || run->renewed_us != 0)) {
        judge(page, PAGE_AGAIN, "unauthorized");
    } else {
        doubt_token(page);
    }
    item->refused_version = item->token_version;
    item->refused_as = since;
}

static void judge_unauthorized(struct page *page)
{
    if (lacks_scope(page)) {
        judge(page, PAGE_FINAL, "no_access");
        return;
    }
    pthread_mutex_lock(&page->s->lock);
    weigh_refusal(page);
    pthread_mutex_unlock(&page->s->lock);
}

/* What was asked has come: the token is good. */
static void note_good(struct page *page)
{
    const struct task_item *item = page->item;
    struct run *run = item->run;
    pthread_mutex_lock(&page->s->lock);
    run->any_good = true;
    if (item->token_version == run->token_version) {
        run->refused_in_row = 0;
        run->good_asked = item->asked_as > run->good_asked ? item->asked_as : run->good_asked;
    }
    pthread_mutex_unlock(&page->s->lock);
}

/* ---------------------------------------------------------------------------------------------- by status */

/* "Later": until when the server said, else to the next full minute where it counts requests (eCW says nothing and refuses for the rest of it). One that
 * counts is well. What it counts by is the tenant; a 503 is of the whole host. */
static void judge_throttled(struct page *page, const char *code, bool whole_host)
{
    int64_t now_us = cw_now_us();
    long wait_s = cw_http_wait_s(&page->item->response, now_us);
    judge(page, PAGE_RETRY, code);
    page->throttled = true;
    page->retry_us = wait_s >= 0 ? now_us + wait_s * CW_SECOND_US : (now_us / CW_MINUTE_US + 1) * CW_MINUTE_US;
    *(whole_host ? &page->quiet_us : &page->tenant_quiet_us) = page->retry_us;
}

static void judge_busy(struct page *page, long status)
{
    bool told = cw_http_wait_s(&page->item->response, cw_now_us()) >= 0;
    if (status == 429) {
        judge_throttled(page, "rate_limited", false);
    } else if (status == 503 && told) {
        judge_throttled(page, "server_error", true);
    } else {
        judge_trouble(page, "server_error");
    }
}

/* Some servers count requests and say so with another status. */
static bool is_throttle(const struct page *page)
{
    return (page->item->response.status == 403 || page->item->response.status == 400) &&
           cw_http_wait_s(&page->item->response, cw_now_us()) > 0;
}

static void judge_gone(struct page *page)
{
    bool first = page->item->first_page;
    judge(page, first ? PAGE_FINAL : PAGE_RESTART, first ? "gone" : "paging_expired");
}

/* Some servers refuse a parameter that others need: ask again without the one that the answer names, else without the next of them. */
static void judge_query(struct page *page)
{
    struct task_item *item = page->item;
    struct cw_span url = cw_span_cstr(item->url);
    struct cw_span query = cw_span_from(url, cw_span_find(url, '?') + 1);
    struct cw_span named = cw_refusal_parameter(cw_str_span(&item->response.body), query, page->arena);
    CW_AUTO_STR changed;
    cw_str_init(&changed, CW_URL_MAX);
    bool search = item->kind == CW_TASK_SEARCH && item->first_page;
    if (search && named.ptr != NULL && cw_plan_drop(url, named, &changed) && ask_relaxed(page, cw_str_take(&changed))) {
        return;
    }
    if (!relax(page, cw_plan_relax)) {
        judge(page, PAGE_FINAL, "query_refused");
    }
}

/* A second fault of the server itself may be what it brings along that breaks it. */
static void judge_fault(struct page *page, long status)
{
    judge_busy(page, status);
    if (status == 500 && page->item->tries > 0) {
        (void)relax(page, cw_plan_drop_includes);
    }
}

static void judge_status(struct page *page)
{
    long status = page->item->response.status;
    if (status == 401) {
        judge_unauthorized(page);
    } else if (status >= 300 && status < 400) {
        judge_redirect(page);
    } else if (judge_words(page)) {
        return;
    } else if (is_throttle(page)) {
        judge_throttled(page, "rate_limited", false);
    } else if (status == 403) {
        judge_forbidden(page);
    } else if ((status == 404 || status == 400) && may_be_form(page)) {
        return;
    } else if (status == 404) {
        judge(page, PAGE_FINAL, "not_found");
    } else if (status == 405 || status == 501) {
        judge(page, PAGE_FINAL, "not_offered"); /* an interaction that the server does not have */
    } else if (status == 406 || status == 415) {
        judge_accept(page);
    } else if (status == 410) {
        judge_gone(page);
    } else if (status == 408 || status == 425 || status == 429 || status >= 500) {
        judge_fault(page, status);
    } else {
        judge_query(page);
    }
}

/* ---------------------------------------------------------------------------------------------- by body */

static bool is_json_type(struct cw_span content_type)
{
    return content_type.ptr == NULL || cw_span_find_span(content_type, CW_SPAN("json")) < content_type.len;
}

/* 200 and an OperationOutcome instead of what was asked. */
static void judge_outcome(struct page *page)
{
    if (!judge_words(page)) {
        judge(page, PAGE_FINAL, page->item->kind == CW_TASK_SEARCH ? "query_refused" : "not_the_resource");
    }
}

/* Epic puts what ends a paging session or a day's documents into an entry as well as into an answer of its own. */
static void judge_entries(struct page *page)
{
    for (size_t i = 0; i < page->slice.count; i++) {
        const struct cw_slice_entry *entry = &page->slice.entries[i];
        if (!cw_span_eq_cstr(entry->type, "OperationOutcome")) {
            continue;
        }
        enum cw_refusal refusal = cw_refusal_of(entry->resource, page->arena);
        if (refusal == CW_REFUSAL_PAGING_EXPIRED) {
            judge(page, PAGE_RESTART, "paging_expired");
        } else if (refusal == CW_REFUSAL_DAILY_LIMIT) {
            page->end_code = "daily_limit";
        }
    }
}

/* Text that is not UTF-8 spoils a character, not a page (smart-client-rules 7.9). */
static enum cw_code slice_repaired(struct page *page, struct cw_span body, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_FHIR_PAGE_MAX);
    if (cw_utf8_valid(body) || cw_utf8_repair(body, &text) != CW_OK) {
        return CW_E_SYNTAX;
    }
    struct cw_span repaired = cw_arena_span(page->arena, cw_str_span(&text));
    page->repaired = repaired.ptr != NULL;
    return page->repaired ? cw_slice_read(repaired, page->arena, &page->slice, err) : CW_E_SYNTAX;
}

/* One retry, since the line may be to blame; then smaller pages, so that those before the broken resource come. */
static void judge_unreadable(struct page *page, enum cw_code rc)
{
    bool json = rc == CW_E_SYNTAX || rc == CW_E_KIND || rc == CW_E_CONFLICT;
    judge_trouble(page, "answer_unreadable");
    if (json && page->item->kind == CW_TASK_SEARCH && page->item->tries > 0) {
        judge_smaller(page, cw_plan_shrink, "answer_unreadable");
    }
}

/* Does the text hold the word, whatever its case? */
static bool holds(struct cw_span text, struct cw_span word)
{
    for (size_t at = 0; at + word.len <= text.len; at++) {
        if (strncasecmp(text.ptr + at, word.ptr, word.len) == 0) {
            return true;
        }
    }
    return false;
}

/* A portal's sign-in page, or one that says sorry, in place of a file: with 200, and no document. */
static bool is_wrong_content(const struct page *page)
{
    const struct task_item *item = page->item;
    struct cw_span type = cw_http_header_get(&item->response, "Content-Type");
    struct cw_span head = cw_span_upto(cw_str_span(&item->response.body), PAGE_HEAD_MAX);
    if (!holds(type, CW_SPAN("html"))) {
        return false;
    }
    bool told = item->own_type != NULL && !holds(cw_span_cstr(item->own_type), CW_SPAN("html"));
    return told || holds(head, CW_SPAN("type=\"password\"")) || holds(head, CW_SPAN("type='password'"));
}

static void judge_body(struct page *page)
{
    struct task_item *item = page->item;
    struct cw_span body = cw_str_span(&item->response.body);
    struct cw_err err = { 0 };
    if (item->kind == CW_TASK_DOCUMENT && !is_json_type(cw_http_header_get(&item->response, "Content-Type"))) {
        page->raw = true;
        if (is_wrong_content(page)) {
            judge(page, PAGE_FINAL, "wrong_content");
        }
        return;
    }
    enum cw_code rc = cw_slice_read(body, page->arena, &page->slice, &err);
    rc = rc == CW_E_SYNTAX ? slice_repaired(page, body, &err) : rc;
    if (rc == CW_E_TOO_BIG) {
        judge_smaller(page, cw_plan_halve, "page_too_big");
    } else if (rc != CW_OK) {
        judge_unreadable(page, rc);
    } else if (page->slice.kind == CW_SLICE_OUTCOME) {
        judge_outcome(page);
    } else if (item->kind == CW_TASK_SEARCH && page->slice.kind != CW_SLICE_BUNDLE) {
        judge_trouble(page, "not_a_bundle");
    } else if (item->kind != CW_TASK_SEARCH && page->slice.kind != CW_SLICE_RESOURCE) {
        judge(page, PAGE_FINAL, "not_the_resource");
    } else {
        judge_entries(page);
    }
}

void judge_page(struct page *page)
{
    judge(page, PAGE_GOOD, NULL);
    if (page->item->given_up != NULL) {
        judge(page, PAGE_FINAL, page->item->given_up);
    } else if (page->item->code != CW_OK) {
        judge_transfer(page);
    } else if (page->item->response.status != 200) {
        judge_status(page);
    } else {
        judge_body(page);
    }
    if (page->verdict == PAGE_GOOD) {
        note_good(page);
    }
}
