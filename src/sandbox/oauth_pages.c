/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The portal's pages: sign in, consent, and back to the app. They keep no session: the authorization request travels along in
 * the forms and is checked anew at each step; what is granted is decided only by the last one. Synthetic patients have no
 * passwords. A request whose client or redirect URI is wrong is never redirected (RFC 6749 4.1.2.1).
 */
#include "config.h"
#include "sandbox/authorize.h"

#include <stdio.h>

#include "base/text.h"
#include "sandbox/scope.h"

#define REQUEST_TEXT_MAX 16384u

/* An authorization request that may be answered by a redirect. */
struct asked {
    struct hospital *hospital;
    const struct site *site;
    struct cw_request *request;
    struct cw_reply *reply;
    struct cw_span text;          /* the request itself, as a query */
    struct cw_sbx_params params;
    const struct cw_sbx_client *client;
    struct cw_span redirect_uri, state, scope, nonce, challenge;
};

/* ---------------------------------------------------------------------------------------------- pages */

static void render(struct cw_request *request, struct cw_reply *reply, const char *name, const struct cw_page *page,
                   int status)
{
    struct cw_err err = { 0 };
    struct hospital *hospital = hospital_of(request);
    enum cw_code rc = cw_template_render(hospital->templates, name, "en", page, cw_reply_body(reply), &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    cw_reply_html(reply, status);
}

static void say(struct cw_request *request, struct cw_reply *reply, int status, const char *text)
{
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL) {
        cw_reply_status(reply, status);
        return;
    }
    cw_page_cstr(page, "text", text);
    cw_str_clear(cw_reply_body(reply));
    render(request, reply, "sandbox/message", page, status);
}

void page_fault(struct cw_request *request, struct cw_reply *reply, int status, const char *code)
{
    (void)code;
    say(request, reply, status, status == 404 ? "There is nothing here." : "The sandbox hospital cannot answer this.");
}

static void list_patients(const struct site *site, struct cw_page *page)
{
    const struct cw_sbx_store *store = site->hospital->store;
    size_t count = site->recording != NULL ? 1 : cw_sbx_patient_count(store);
    for (size_t i = 0; i < count; i++) {
        const struct cw_sbx_patient *patient =
            site->recording != NULL ? cw_sbx_recording_patient(site->recording) : cw_sbx_patient_at(store, i);
        struct cw_page *item = cw_page_item(page, "patients");
        if (item != NULL) {
            cw_page_bool(item, "first", i == 0);
            cw_page_cstr(item, "id", patient->id);
            cw_page_cstr(item, "name", patient->name);
            cw_page_cstr(item, "birth_date", patient->birth_date);
            cw_page_cstr(item, "note", patient->note);
        }
    }
}

static void list_personality(const struct hospital *hospital, const struct cw_sbx_personality *personality, struct cw_page *page,
                             struct cw_arena *arena)
{
    struct cw_page *item = cw_page_item(page, "personalities");
    const char *base = site_base_of(hospital, personality, arena);
    if (item != NULL && base != NULL) {
        cw_page_cstr(item, "name", personality->name);
        cw_page_cstr(item, "doc", personality->doc);
        cw_page_cstr(item, "base", base);
    }
}

/* The built-in ones and the recorded ones; single quirks are for those who know what they look for. */
static void list_personalities(const struct hospital *hospital, struct cw_page *page, struct cw_arena *arena)
{
    size_t recorded = hospital->recordings == NULL ? 0 : cw_sbx_recordings_count(hospital->recordings);
    for (size_t i = 0; i < cw_sbx_personality_count(); i++) {
        list_personality(hospital, cw_sbx_personality_at(i), page, arena);
    }
    for (size_t i = 0; i < recorded; i++) {
        struct cw_sbx_personality as;
        (void)cw_sbx_recordings_at(hospital->recordings, i, &as);
        list_personality(hospital, &as, page, arena);
    }
}

void home_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_page_cstr(page, "base", site_of(request)->base);
    list_patients(site_of(request), page);
    list_personalities(hospital_of(request), page, cw_request_arena(request));
    render(request, reply, "sandbox/home", page, 200);
}

/* The form leads to the app, wherever it lives, and the app's own redirects lead on from there: Chromium holds form-action against the
 * whole chain, which nobody here knows. */
static void allow_way_back(const struct asked *asked)
{
    cw_reply_form_action(asked->reply, "'self' https: http:");
}

/* ---------------------------------------------------------------------------------------------- back to the app */

struct pair {
    const char *name;
    struct cw_span value;
};
#define BACK_PAIRS_MAX 4u

static void add_pair(struct pair *pairs, size_t *count, const char *name, struct cw_span value)
{
    if (value.ptr != NULL) {
        pairs[(*count)++] = (struct pair){ name, value };
    }
}

/* Up to the first character that some servers do not expect in a state. */
static struct cw_span cut_state(struct cw_span state)
{
    size_t len = 0;
    while (len < state.len && (state.ptr[len] == '-' || state.ptr[len] == '_' || (state.ptr[len] >= '0' && state.ptr[len] <= '9') ||
                               ((state.ptr[len] | 0x20) >= 'a' && (state.ptr[len] | 0x20) <= 'z'))) {
        len++;
    }
    return cw_span_upto(state, len);
}

/* redirect_uri with parameters, or behind a '#' where the personality does so. */
static void redirect_back(struct asked *asked, const struct pair *pairs, size_t count)
{
    CW_AUTO_STR url, query;
    cw_str_init(&url, REQUEST_TEXT_MAX);
    cw_str_init(&query, REQUEST_TEXT_MAX);
    for (size_t i = 0; i < count; i++) {
        bool raw = site_plays(asked->site, CW_SBX_QUIRK_PLUS_UNENCODED) && strcmp(pairs[i].name, "code") == 0;
        if (raw) { /* it comes first */
            cw_str_add_cstr(&query, "code=");
            cw_str_add_span(&query, pairs[i].value);
        } else {
            cw_form_add(&query, pairs[i].name, pairs[i].value);
        }
    }
    struct cw_span target = asked->redirect_uri;
    bool has_query = cw_span_find(target, '?') < target.len;
    cw_str_add_span(&url, target);
    cw_str_add_char(&url, site_plays(asked->site, CW_SBX_QUIRK_FRAGMENT) ? '#' : has_query ? '&' : '?');
    cw_str_add_span(&url, cw_str_span(&query));
    if (cw_str_code(&query) != CW_OK || cw_str_code(&url) != CW_OK) {
        cw_reply_fault_code(asked->reply, CW_E_TOO_BIG, NULL);
        return;
    }
    cw_reply_see_other(asked->reply, cw_str_cstr(&url));
}

static void form_back(struct asked *asked, const struct pair *pairs, size_t count)
{
    struct cw_page *page = cw_page_new(cw_request_arena(asked->request));
    if (page == NULL) {
        cw_reply_fault_code(asked->reply, CW_E_OOM, NULL);
        return;
    }
    cw_page_text(page, "target", asked->redirect_uri);
    for (size_t i = 0; i < count; i++) {
        struct cw_page *item = cw_page_item(page, "fields");
        if (item != NULL) {
            cw_page_cstr(item, "name", pairs[i].name);
            cw_page_text(item, "value", pairs[i].value);
        }
    }
    allow_way_back(asked);
    render(asked->request, asked->reply, "sandbox/answer", page, 200);
}

static void go_back(struct asked *asked, const char *name, struct cw_span value, const struct pair *more)
{
    const struct site *site = asked->site;
    struct pair pairs[BACK_PAIRS_MAX];
    size_t count = 0;
    bool foreign = site_plays(site, CW_SBX_QUIRK_ISS_FOREIGN);
    add_pair(pairs, &count, name, value);
    if (more != NULL) {
        add_pair(pairs, &count, more->name, more->value);
    }
    add_pair(pairs, &count, "state", site_plays(site, CW_SBX_QUIRK_STATE_CUT) ? cut_state(asked->state) : asked->state);
    if (!site_plays(site, CW_SBX_QUIRK_ISS_SILENT) && !site_plays(site, CW_SBX_QUIRK_ISS_FORGOTTEN)) {
        add_pair(pairs, &count, "iss", cw_span_cstr(foreign ? "https://evil.example/fhir" : site->issuer));
    }
    (site_plays(site, CW_SBX_QUIRK_FORM_POST) ? form_back : redirect_back)(asked, pairs, count);
}

static bool back_with_error(struct asked *asked, const struct authorize_refusal *refusal)
{
    CW_AUTO_STR uri;
    cw_str_init(&uri, 1024);
    struct pair more = { "error_description", cw_span_cstr(refusal->text) };
    if (refusal->reason != NULL || site_plays(asked->site, CW_SBX_QUIRK_ERRORS_BY_URI)) {
        cw_str_addf(&uri, "%s/errors/urn%%3Asandbox%%3Aerror%%3A%s", asked->site->oauth,
                    refusal->reason != NULL ? refusal->reason : refusal->error);
        more = (struct pair){ "error_uri", cw_str_span(&uri) };
    }
    go_back(asked, "error", cw_span_cstr(refusal->error), &more);
    return false;
}

/* ---------------------------------------------------------------------------------------------- checks */

static bool check_rest(struct asked *asked)
{
    struct authorize_refusal refusal;
    if (!authorize_allows(asked->site, &asked->params, &refusal)) {
        return back_with_error(asked, &refusal);
    }
    CW_AUTO_STR scope;
    cw_str_init(&scope, CW_SBX_SCOPE_TEXT_MAX);
    if (authorize_scope(asked->site, asked->scope, &scope) != CW_OK) {
        return back_with_error(asked, &(struct authorize_refusal){ .error = "invalid_scope", .text = "scope is too long." });
    }
    asked->scope = cw_arena_span(cw_request_arena(asked->request), cw_str_span(&scope));
    return true;
}

/* Reads and checks a request. False when it has answered. */
static bool read_asked(struct asked *asked, struct cw_span text)
{
    asked->text = text;
    if (text.len > REQUEST_TEXT_MAX ||
        cw_sbx_params_parse(text, cw_request_arena(asked->request), &asked->params) != CW_OK) {
        say(asked->request, asked->reply, 400, "The app's request cannot be read.");
        return false;
    }
    const struct cw_sbx_params *params = &asked->params;
    static const char *const once[] = { "client_id", "redirect_uri", "response_type", "state", "scope", "aud",
                                        "code_challenge", "code_challenge_method", "nonce" };
    for (size_t i = 0; i < CW_ARRAY_LEN(once); i++) {
        if (cw_sbx_param_times(params, once[i]) > 1) {
            say(asked->request, asked->reply, 400, "The app's request names something twice.");
            return false;
        }
    }
    asked->redirect_uri = cw_sbx_param(params, "redirect_uri");
    asked->state = cw_sbx_param(params, "state");
    asked->scope = cw_sbx_param(params, "scope");
    asked->nonce = cw_sbx_param(params, "nonce");
    asked->challenge = cw_sbx_param(params, "code_challenge");
    asked->client = cw_sbx_client_find(asked->hospital->state, cw_sbx_param(params, "client_id"));
    if (asked->client == NULL || !site_knows(asked->site, asked->client) ||
        !cw_sbx_client_redirects_to(asked->client, asked->redirect_uri)) {
        say(asked->request, asked->reply, 400, "This app, or the address it wants you back at, is not known here.");
        return false;
    }
    return check_rest(asked);
}

/* ---------------------------------------------------------------------------------------------- sign in */

static void show_login(struct asked *asked, const char *problem, int status)
{
    struct cw_page *page = cw_page_new(cw_request_arena(asked->request));
    if (page == NULL) {
        cw_reply_fault_code(asked->reply, CW_E_OOM, NULL);
        return;
    }
    cw_page_text(page, "request", asked->text);
    cw_page_cstr(page, "path", asked->site->path);
    cw_page_cstr(page, "client", cw_sbx_client_name(asked->client));
    cw_page_cstr(page, "problem", problem);
    list_patients(asked->site, page);
    allow_way_back(asked);
    render(asked->request, asked->reply, "sandbox/login", page, status);
}

static void authorize(struct cw_request *request, struct cw_reply *reply, struct cw_span text)
{
    struct asked asked = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (read_asked(&asked, text)) {
        show_login(&asked, NULL, 200);
    }
}

void authorize_get(struct cw_request *request, struct cw_reply *reply)
{
    const struct site *site = site_of(request);
    if (site_plays(site, CW_SBX_QUIRK_POST_ONLY)) {
        say(request, reply, 405, "Sign in from your app: this page takes POST only.");
    } else if (site_plays(site, CW_SBX_QUIRK_TRAILING_SLASH)) {
        site_redirect_slash(site, "/oauth/authorize", reply); /* and the query is lost */
    } else {
        authorize(request, reply, cw_request_query_string(request));
    }
}

void authorize_slash(struct cw_request *request, struct cw_reply *reply)
{
    if (!site_plays(site_of(request), CW_SBX_QUIRK_TRAILING_SLASH)) {
        unknown_any(request, reply);
        return;
    }
    authorize(request, reply, cw_request_query_string(request));
}

/* The endpoint's own query comes along where it has one, in the URL as in a GET. */
void authorize_post(struct cw_request *request, struct cw_reply *reply)
{
    CW_AUTO_STR all;
    cw_str_init(&all, REQUEST_TEXT_MAX);
    struct cw_span query = cw_request_query_string(request);
    cw_str_add_span(&all, cw_request_body(request));
    if (query.len > 0) {
        cw_str_add_char(&all, '&');
        cw_str_add_span(&all, query);
    }
    struct cw_span text = cw_str_code(&all) == CW_OK ? cw_arena_span(cw_request_arena(request), cw_str_span(&all)) : CW_SPAN("");
    authorize(request, reply, text);
}

/* The form of a step: the original request inside, and what the patient did. False when it has answered. */
static bool read_step(struct asked *asked, struct cw_sbx_params *ret_form)
{
    if (cw_sbx_params_parse(cw_request_body(asked->request), cw_request_arena(asked->request), ret_form) != CW_OK) {
        say(asked->request, asked->reply, 400, "The form cannot be read.");
        return false;
    }
    return read_asked(asked, cw_sbx_param(ret_form, "request"));
}

static const struct cw_sbx_patient *patient_of(const struct site *site, const struct cw_sbx_params *form)
{
    struct cw_span typed = cw_span_trim(cw_sbx_param(form, "name"));
    const struct cw_sbx_patient *patient = typed.len > 0 ? site_patient_named(site, typed) : NULL;
    return patient != NULL || typed.len > 0 ? patient : site_patient(site, cw_sbx_param(form, "patient"));
}

/* Faults at the door. False when it has answered. */
static bool pass_faults(struct asked *asked, const struct cw_sbx_patient *patient)
{
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_AUTHORIZE,
                                        .site = asked->site->as.name,
                                        .patient = cw_span_cstr(patient->id),
                                        .persona = patient->persona };
    cw_sbx_faults_take(asked->hospital->state, &occasion, &faults);
    if (cw_sbx_hit(&faults, CW_SBX_REFUSE)) {
        return back_with_error(asked, &(struct authorize_refusal){ .error = "access_denied", .text = "The portal refused." });
    }
    if (fault_answers(asked->reply, &faults)) {
        return false;
    }
    struct authorize_refusal refusal;
    return authorize_lets_in(asked->site, &refusal) || back_with_error(asked, &refusal);
}

static void list_scopes(struct asked *asked, struct cw_page *page)
{
    struct cw_span rest = asked->scope, word;
    unsigned shown = 0;
    while (shown < CW_SBX_SCOPES_MAX && cw_span_word(&rest, &word)) {
        struct cw_sbx_scope scope;
        bool known = cw_sbx_scope_parse(word, &scope);
        struct cw_page *item = known ? cw_page_item(page, "scopes") : NULL;
        if (item != NULL) {
            shown++;
            cw_page_text(item, "scope", word);
            cw_page_bool(item, "records", scope.type.ptr != NULL);
        }
    }
}

void login_post(struct cw_request *request, struct cw_reply *reply)
{
    struct asked asked = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    struct cw_sbx_params form;
    if (!read_step(&asked, &form)) {
        return;
    }
    const struct cw_sbx_patient *patient = patient_of(asked.site, &form);
    if (patient == NULL) {
        show_login(&asked, "Nobody of that name is a patient here.", 200);
        return;
    }
    if (!pass_faults(&asked, patient)) {
        return;
    }
    struct cw_page *page = cw_page_new(cw_request_arena(request));
    if (page == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_page_text(page, "request", asked.text);
    cw_page_cstr(page, "path", asked.site->path);
    cw_page_cstr(page, "client", cw_sbx_client_name(asked.client));
    cw_page_cstr(page, "patient", patient->id);
    cw_page_cstr(page, "name", patient->name);
    list_scopes(&asked, page);
    allow_way_back(&asked);
    render(request, reply, "sandbox/consent", page, 200);
}

/* ---------------------------------------------------------------------------------------------- consent */

/* The boxes that are ticked, of those that were asked. */
static enum cw_code ticked(const struct asked *asked, const struct cw_sbx_params *form, struct cw_str *out)
{
    CW_AUTO_STR all;
    cw_str_init(&all, CW_SBX_SCOPE_TEXT_MAX);
    for (size_t i = 0; i < form->count; i++) {
        if (cw_span_eq_cstr(form->pairs[i].name, "allow")) {
            cw_str_add_span(&all, form->pairs[i].value);
            cw_str_add_char(&all, ' ');
        }
    }
    enum cw_code rc = cw_str_code(&all);
    return rc == CW_OK ? cw_sbx_scope_narrow(asked->scope, cw_str_span(&all), out) : rc;
}

static void grant(struct asked *asked, const struct cw_sbx_params *form, const struct cw_sbx_patient *patient)
{
    CW_AUTO_STR scope, code, sent;
    cw_str_init(&scope, CW_SBX_SCOPE_TEXT_MAX);
    cw_str_init_secret(&code, 256);
    cw_str_init_secret(&sent, 8192);
    struct cw_err err = { 0 };
    enum cw_code rc = ticked(asked, form, &scope);
    struct cw_sbx_terms terms = {
        .site = cw_span_cstr(asked->site->as.name),
        .client = cw_span_cstr(cw_sbx_client_id(asked->client)),
        .patient = cw_span_cstr(patient->id),
        .scope = cw_str_span(&scope),
        .nonce = asked->nonce,
        .redirect_uri = asked->redirect_uri,
        .challenge = asked->challenge.ptr == NULL ? CW_SPAN("") : asked->challenge, /* a personality may refuse PKCE */
    };
    if (terms.scope.ptr == NULL) {
        terms.scope = CW_SPAN("");
    }
    if (rc == CW_OK) {
        rc = cw_sbx_code_issue(asked->hospital->state, &terms, &code, &err);
    }
    if (rc == CW_OK) {
        rc = authorize_code_put(asked->site, cw_str_span(&code), &sent);
    }
    if (rc != CW_OK) {
        (void)back_with_error(asked, &(struct authorize_refusal){ .error = "server_error", .text = "The consent could not be kept." });
        return;
    }
    go_back(asked, "code", cw_str_span(&sent), NULL);
}

void consent_post(struct cw_request *request, struct cw_reply *reply)
{
    struct asked asked = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    struct cw_sbx_params form;
    if (!read_step(&asked, &form)) {
        return;
    }
    const struct cw_sbx_patient *patient = site_patient(asked.site, cw_sbx_param(&form, "patient"));
    if (patient == NULL) {
        show_login(&asked, "Please sign in again.", 400);
        return;
    }
    if (!cw_span_eq_cstr(cw_sbx_param(&form, "decision"), "allow")) {
        (void)back_with_error(&asked, &(struct authorize_refusal){ .error = "access_denied", .text = "The patient refused." });
        return;
    }
    if (pass_faults(&asked, patient)) {
        grant(&asked, &form, patient);
    }
}
