/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt from the portal's answer to its end. The row is consumed before anything is asked of the network, and no database connection
 * is held over a network call: each step takes one for itself. If this process dies between exchange and commit the attempt stays
 * `exchanging` and the janitor ends it; a code is never sent twice.
 */
#include "config.h"

#include "callback/callback.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/time.h"
#include "fhir/plan.h"
#include "model/breaker.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/authorize.h"
#include "smart/client.h"
#include "smart/pinned.h"
#include "smart/scope.h"
#include "smart/token.h"
#include "smart/trace.h"

#define STORE_PATIENCE_US (10 * CW_SECOND_US)
#define STORE_PAUSE_MS 250
#define MISSING_MAX 1024u /* its column; a list that does not fit is left out, the scopes themselves are kept */

/* What one run carries from step to step. */
struct run {
    struct cw_callback *app;
    const struct cw_callback_input *input;
    struct cw_arena *arena;        /* of the request */
    struct cw_attempt attempt;     /* with verifier and nonce, which are wiped at the end */
    struct cw_actor actor;
    char session[CW_ID_TEXT_MAX];  /* the actor's name */
    struct cw_pinned pinned;
    struct cw_smart_identity identity;
    struct cw_smart_grant grant;
    struct cw_http *http;
    struct cw_callback_found found;
    struct cw_registered registered;
    struct cw_callback_left left;  /* tokens that still live although nobody will use them */
    const char *request_id;
    struct cw_err *err;
};

static const struct {
    const char *error;
    const char *failure;
} portal_errors[] = {
    { "access_denied", CW_FAIL_USER_DENIED },
    { "unauthorized_client", CW_FAIL_NOT_ENABLED },
    { "temporarily_unavailable", CW_FAIL_PORTAL_UNAVAILABLE },
    { "server_error", CW_FAIL_PORTAL_UNAVAILABLE },
};

const char *cw_callback_portal_failure(struct cw_span error)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(portal_errors); i++) {
        if (cw_span_eq_cstr(error, portal_errors[i].error)) {
            return portal_errors[i].failure;
        }
    }
    return CW_FAIL_PORTAL_ERROR;
}

const char *cw_callback_token_failure(enum cw_token_outcome outcome)
{
    static const char *const failures[CW_TOKEN__COUNT] = {
        [CW_TOKEN_INVALID_CLIENT] = CW_FAIL_CLIENT_REJECTED,
        [CW_TOKEN_UNAUTHORIZED] = CW_FAIL_NOT_ENABLED,
        [CW_TOKEN_BAD_ANSWER] = CW_FAIL_TOKEN_ANSWER,
        [CW_TOKEN_UNSUPPORTED] = CW_FAIL_TOKEN_ANSWER,
    };
    return failures[outcome] != NULL ? failures[outcome] : CW_FAIL_TOKEN_EXCHANGE;
}

bool cw_callback_issuer_fits(bool announced, const char *issuer, struct cw_span iss)
{
    if (iss.ptr == NULL) {
        return !announced;
    }
    return (!announced && issuer[0] == '\0') || cw_span_eq_cstr(iss, issuer);
}

/* Their words for the operator: "error: description", cut to what is kept. */
static struct cw_span words_of(struct run *run, struct cw_span error, struct cw_span text)
{
    CW_AUTO_STR words;
    cw_str_init(&words, CW_ERROR_TEXT_MAX);
    size_t room = CW_ERROR_TEXT_MAX - 2;
    error = cw_span_upto(error, room / 2);
    text = cw_span_upto(text, room - error.len);
    (void)cw_str_add_span(&words, error);
    (void)cw_str_add_cstr(&words, error.len > 0 && text.len > 0 ? ": " : "");
    (void)cw_str_add_span(&words, text);
    return words.len == 0 ? (struct cw_span){ NULL, 0 } : cw_arena_span(run->arena, cw_str_span(&words));
}

/* The exchange that the operator's card shows: the token request, else the redirect where it brought an error. */
static void note_exchange(struct run *run, const char *failure)
{
    struct cw_exchange *exchange = &run->grant.exchange;
    if (exchange->kind == NULL && run->pinned.authorization_endpoint != NULL) {
        const struct cw_callback_input *input = run->input;
        const struct cw_trace_redirect trace = {
            .authorization_endpoint = run->pinned.authorization_endpoint,
            .error = input->error,
            .description = input->error_text,
            .uri = input->error_uri,
            .secret = input->state,
            .has_code = input->code.len > 0,
            .has_state = true,
            .has_iss = input->iss.ptr != NULL,
            .outcome = failure,
            .at_us = cw_now_us(),
        };
        cw_trace_redirect(&trace, exchange);
    }
    if (run->request_id != NULL) {
        (void)snprintf(exchange->request_id, sizeof exchange->request_id, "%s", run->request_id);
    }
}

/* What the scheduler goes on giving back, for a day. */
static struct cw_revocation revocation_of(const struct run *run)
{
    struct cw_span none = { NULL, 0 };
    return (struct cw_revocation){
        .org = run->attempt.org,
        .registration = run->attempt.registration,
        .connection = run->attempt.connection,
        .source = run->attempt.source,
        .pinned = run->attempt.pinned,
        .refresh = run->left.refresh ? cw_secret_span(&run->grant.refresh_token) : none,
        .access = run->left.access ? cw_secret_span(&run->grant.access_token) : none,
        .access_until_us = run->grant.expires_us,
    };
}

/* Where no row of the attempt is left to keep them with: the patient was deleted while the code was exchanged. */
static void keep_tokens(const struct run *run)
{
    struct cw_err why = { .code = CW_OK };
    const struct cw_revocation tokens = revocation_of(run);
    if ((run->left.refresh || run->left.access) && cw_revocation_keep(&run->app->model, &tokens, &why) != CW_OK) {
        cw_log(CW_LOG_ERR, "callback.tokens_not_kept", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id), CW_ERR(&why));
    }
}

static void end_failed(struct run *run, const char *failure, struct cw_span words, struct cw_callback_outcome *ret)
{
    bool refused = strcmp(failure, CW_FAIL_USER_DENIED) == 0; /* their right, not a fault */
    struct cw_err why = *run->err;
    cw_log(refused ? CW_LOG_INFO : CW_LOG_WARNING, "callback.failed", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id),
           CW_LIT("failure", failure), CW_ERR(&why));
    note_exchange(run, failure);
    const struct cw_revocation tokens = revocation_of(run);
    const struct cw_attempt_failure told = { .code = failure, .upstream = words, .exchange = &run->grant.exchange,
                                             .tokens = run->left.refresh || run->left.access ? &tokens : NULL };
    enum cw_code rc = cw_attempt_fail_with(&run->app->model, &run->actor, run->attempt.id, &told, run->err);
    if (rc == CW_E_NOT_FOUND) {
        keep_tokens(run);
    }
    /* CW_E_STATE: another request has the attempt, and will end it. */
    ret->end = rc == CW_OK ? CW_CALLBACK_FAILED : rc == CW_E_STATE ? CW_CALLBACK_NO_STATE : CW_CALLBACK_FAULT;
    ret->failure = failure;
}

/* The attempt that the answer belongs to, by a state that our key signed. The state is bound to the registration in its path: signed ones by aud, opaque ones
 * by the redirect URI in the row. */
static enum cw_code consume(struct run *run, struct cw_str *redirect_uri)
{
    const struct cw_callback_input *input = run->input;
    struct cw_model *m = &run->app->model;
    struct cw_state_token token;
    CW_AUTO_STR slug;
    cw_str_init(&slug, 64);
    (void)cw_str_add_span(&slug, input->slug);
    (void)cw_str_addf(redirect_uri, "%s/callback/", run->app->origin);
    (void)cw_str_add_span(redirect_uri, input->slug);
    if (input->state.len == 0 || cw_str_code(&slug) != CW_OK || cw_str_code(redirect_uri) != CW_OK) {
        return CW_E_NOT_FOUND;
    }
    enum cw_code rc = cw_state_read(m->vault, cw_str_cstr(&slug), input->state, cw_now_us(), &token, run->err);
    if (rc != CW_OK && rc != CW_E_EXPIRED) { /* when it ends, the row says */
        return rc == CW_E_OOM ? CW_E_OOM : CW_E_NOT_FOUND;
    }
    struct cw_attempt_return answer = { .redirect_uri = cw_str_span(redirect_uri), .browser = input->browser };
    memcpy(answer.state_hash, token.jti_hash, sizeof answer.state_hash);
    return cw_attempt_consume(m, &answer, run->arena, &run->attempt, run->err);
}

static enum cw_callback_end find_and_consume(struct run *run, struct cw_callback_outcome *ret)
{
    CW_AUTO_STR redirect_uri;
    cw_str_init(&redirect_uri, CW_URL_MAX);
    enum cw_code rc = consume(run, &redirect_uri);
    cw_id_emit(CW_PREFIX_SESSION, run->attempt.session.ulid, run->session);
    ret->attempt = run->attempt;
    ret->attempt.verifier = ret->attempt.nonce = (struct cw_span){ NULL, 0 };
    switch ((int)rc) {
    case CW_OK:
        return CW_CALLBACK_CONNECTED;
    case CW_E_DENIED:
        if (run->attempt.status != CW_ATTEMPT_STARTED) {
            return CW_CALLBACK_FOREIGN_BROWSER; /* a copied state must not end what the right browser has begun */
        }
        end_failed(run, CW_FAIL_BROWSER_MISMATCH, (struct cw_span){ NULL, 0 }, ret);
        return ret->end == CW_CALLBACK_FAULT ? CW_CALLBACK_FAULT : CW_CALLBACK_FOREIGN_BROWSER;
    case CW_E_EXPIRED:
        end_failed(run, CW_FAIL_STATE_EXPIRED, (struct cw_span){ NULL, 0 }, ret);
        return ret->end;
    case CW_E_STATE:
    case CW_E_NOT_FOUND:
        return CW_CALLBACK_NO_STATE;
    default:
        return CW_CALLBACK_FAULT;
    }
}

/* What this answer teaches about the next request to the endpoint (model/lesson.h). The attempt ends as it does whether it can be kept or not. */
static void learn(struct run *run, enum cw_lesson lesson)
{
    struct cw_err err = { .code = CW_OK };
    const struct cw_endpoint_try tried = { .endpoint = run->attempt.endpoint, .registration = run->attempt.registration,
                                           .scope_step = run->pinned.scope_step, .aud_toggled = run->pinned.aud_toggled };
    if (cw_endpoint_learn(&run->app->model, &tried, lesson, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "callback.lesson", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id), CW_ERR(&err));
    }
}

/* Everything that can be judged without the network; NULL when the code may be exchanged. */
static const char *judge_answer(struct run *run, struct cw_span *ret_words)
{
    const struct cw_callback_input *input = run->input;
    if (cw_pinned_parse(run->attempt.pinned, run->arena, &run->pinned, run->err) != CW_OK) {
        return CW_FAIL_INTERNAL;
    }
    if (!cw_callback_issuer_fits(run->pinned.iss_parameter, run->pinned.issuer, input->iss)) {
        (void)cw_err_set(run->err, CW_E_AUTH, "callback", "iss is missing or not the pinned issuer");
        return CW_FAIL_ISSUER_MISMATCH;
    }
    if (input->error.ptr != NULL) {
        (void)cw_err_set(run->err, CW_E_UPSTREAM, "callback", "the portal redirected with an error");
        *ret_words = words_of(run, input->error, input->error_text);
        enum cw_lesson lesson;
        if (cw_authorize_lesson(input->error, input->error_text, &lesson)) {
            learn(run, lesson);
        }
        return cw_callback_portal_failure(input->error);
    }
    if (input->code.len == 0) {
        (void)cw_err_set(run->err, CW_E_UPSTREAM, "callback", "the portal redirected without code and error");
        return CW_FAIL_PORTAL_ERROR;
    }
    const struct cw_identity_wish wish = { run->attempt.registration, cw_span_cstr(run->pinned.profile), run->pinned.auth_algs };
    if (cw_smart_identity_open(&run->app->model, run->app->profiles, &wish, run->arena, &run->identity, run->err) != CW_OK ||
        cw_http_pool_take(run->app->https, &run->http, run->err) != CW_OK) {
        return CW_FAIL_INTERNAL;
    }
    return NULL;
}

/* What the server says of our client concerns everybody who is connected by it (model/breaker.h), so a sign-in tells it to the refreshers. */
static void judge_client(struct run *run, enum cw_token_outcome outcome)
{
    const struct cw_registration *registration = &run->identity.registration;
    struct cw_err err = { .code = CW_OK };
    bool edge = false;
    enum cw_code rc = CW_OK;
    /* A client that many hospitals know may be unknown to one of them: that is for the refreshes of its own patients to find. */
    bool one_place = !cw_ulid_is_zero(registration->source.ulid) || registration->host_count == 1;
    if (outcome == CW_TOKEN_INVALID_CLIENT && one_place) {
        rc = cw_breaker_open(&run->app->model, registration->id, false, &edge, &err);
    } else if (outcome == CW_TOKEN_OK && registration->rejected_us != 0) {
        rc = cw_breaker_close(&run->app->model, registration->id, &edge, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "callback.breaker", CW_ID("registration", CW_PREFIX_REGISTRATION, registration->id), CW_ERR(&err));
    } else if (edge) {
        if (outcome == CW_TOKEN_INVALID_CLIENT) { /* somebody must act: every connection of the registration waits */
            cw_log(CW_LOG_ERR, "registration.client_rejected", CW_ID("registration", CW_PREFIX_REGISTRATION, registration->id));
        } else {
            cw_log(CW_LOG_INFO, "registration.client_accepted", CW_ID("registration", CW_PREFIX_REGISTRATION, registration->id));
        }
    }
}

static const char *exchange(struct run *run, struct cw_span *ret_words)
{
    struct cw_smart_exchange wanted = {
        .token_endpoint = run->pinned.token_endpoint,
        .code = run->input->code,
        .redirect_uri = run->attempt.redirect_uri,
        .verifier = run->attempt.verifier,
    };
    enum cw_token_outcome outcome = CW_TOKEN_NOT_SENT;
    for (unsigned tries = 0; tries < 2 && outcome == CW_TOKEN_NOT_SENT; tries++) {
        outcome = cw_smart_exchange(run->http, &run->identity.client, &wanted, &run->grant, run->err);
    }
    judge_client(run, outcome);
    if (outcome == CW_TOKEN_OK) {
        if (run->grant.type_assumed) {
            cw_log(CW_LOG_INFO, "callback.token_type_assumed", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id));
        }
        return NULL;
    }
    struct cw_err ignored = { .code = CW_OK };
    if (outcome == CW_TOKEN_BAD_ANSWER && /* 404, 405 or HTML: the endpoint may have moved */
        cw_endpoint_distrust(&run->app->model, run->attempt.endpoint, &ignored) != CW_OK) {
        cw_log(CW_LOG_WARNING, "callback.distrust", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id), CW_ERR(&ignored));
    }
    *ret_words = words_of(run, cw_span_cstr(run->grant.error), cw_str_span(&run->grant.error_text));
    return cw_callback_token_failure(outcome);
}

static struct cw_callback_case case_of(struct run *run)
{
    return (struct cw_callback_case){ .app = run->app, .http = run->http, .attempt = &run->attempt, .pinned = &run->pinned,
                                      .identity = &run->identity, .grant = &run->grant };
}

/* The code is spent and the tokens are in our hand alone: a database that goes away for a moment, or takes the answer to our commit with it, is asked again. */
static enum cw_code connect(struct run *run, const struct cw_attempt_success *success)
{
    struct cw_connection_id connection;
    int64_t until_us = cw_monotonic_us() + STORE_PATIENCE_US;
    struct timespec pause = { .tv_nsec = STORE_PAUSE_MS * 1000000 };
    for (;;) {
        enum cw_code rc = cw_attempt_connect(&run->app->model, &run->actor, success, &connection, run->err);
        bool passing = rc == CW_E_UNAVAILABLE || rc == CW_E_RETRY || rc == CW_E_TIMEOUT;
        if (!passing || cw_monotonic_us() >= until_us) {
            return rc;
        }
        cw_log(CW_LOG_WARNING, "callback.store_again", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id), CW_ERR(run->err));
        (void)nanosleep(&pause, NULL);
    }
}

static enum cw_code store(struct run *run, int64_t obtained_us)
{
    size_t type_count;
    const char *const *types = cw_plan_types(&type_count);
    CW_AUTO_STR missing;
    cw_str_init(&missing, MISSING_MAX);
    (void)!cw_scope_lost_types(run->attempt.scopes_asked, cw_str_span(&run->grant.scope), types, type_count, &missing);
    struct cw_span asked_or_granted =
        run->grant.scope.len > 0 ? cw_str_span(&run->grant.scope) : run->attempt.scopes_asked;
    const struct cw_dynamic_new dynamic = { cw_str_span(&run->registered.client_id), run->registered.key };
    struct cw_attempt_success success = {
        .attempt = run->attempt.id,
        .upstream_patient = cw_str_span(&run->found.patient),
        .tenant_context = cw_str_span(&run->found.tenant),
        .scopes_granted = asked_or_granted,
        .missing_types = cw_str_span(&missing),
        .access_token = cw_secret_span(&run->grant.access_token),
        .refresh_token = cw_secret_span(&run->grant.refresh_token),
        .dynamic = run->registered.key == NULL ? NULL : &dynamic,
        .token_type = CW_SPAN("Bearer"),
        .obtained_us = obtained_us,
        .expires_us = run->grant.expires_us,
        .ends_us = run->grant.ends_us,
        .ends_fixed = run->grant.ends_fixed,
        .keep_us = run->identity.client.profile->keep_alive_days * CW_DAY_US,
    };
    return connect(run, &success);
}

static void go(struct run *run, struct cw_callback_outcome *ret)
{
    struct cw_span words = { NULL, 0 };
    const char *failure = judge_answer(run, &words);
    int64_t obtained_us = cw_now_us();
    if (failure == NULL) {
        failure = exchange(run, &words);
    }
    const struct cw_callback_case this = case_of(run);
    if (failure == NULL && (failure = cw_callback_judge(&this, &run->found, run->err)) != NULL) {
        cw_callback_give_back(&this, &run->left);
        struct cw_span asked = run->attempt.scopes_asked;
        if (strcmp(failure, CW_FAIL_SCOPE) == 0 && cw_scope_compare(asked, asked).any_resource) {
            learn(run, CW_LESSON_NOTHING_GRANTED);
        }
    }
    if (failure != NULL) {
        end_failed(run, failure, words, ret);
        return;
    }
    cw_callback_register(&this, &run->registered);
    enum cw_code rc = store(run, obtained_us);
    if (rc == CW_OK) {
        if (!run->pinned.worked_lately) {
            learn(run, CW_LESSON_WORKED);
        }
        cw_log(CW_LOG_INFO, "callback.connected", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id));
        ret->end = CW_CALLBACK_CONNECTED;
        return;
    }
    if (rc == CW_E_UNAVAILABLE) { /* it may have happened: tokens of a connection that stands must live */
        cw_log(CW_LOG_ERR, "callback.store_unknown", CW_ID("attempt", CW_PREFIX_ATTEMPT, run->attempt.id), CW_ERR(run->err));
        ret->end = CW_CALLBACK_FAULT;
        return;
    }
    cw_callback_give_back(&this, &run->left);
    if (rc == CW_E_DENIED) {
        end_failed(run, CW_FAIL_IDENTITY_MISMATCH, words, ret);
        return;
    }
    keep_tokens(run);
    ret->end = CW_CALLBACK_FAULT;
}

/* The arena is ours, so its bytes may be written. */
static void wipe_text(struct cw_span text)
{
    cw_wipe((void *)(uintptr_t)text.ptr, text.len);
}

void cw_callback_finish(struct cw_callback *app, const struct cw_callback_input *input, const char *request_id,
                        struct cw_arena *arena, struct cw_callback_outcome *ret, struct cw_err *err)
{
    struct run run = {
        .app = app,
        .input = input,
        .arena = arena,
        .actor = { .kind = CW_ACTOR_BROWSER, .request_id = request_id },
        .err = err,
    };
    run.actor.name = run.session;
    run.request_id = request_id;
    cw_smart_grant_init(&run.grant);
    cw_callback_found_init(&run.found);
    cw_registered_init(&run.registered);
    *ret = (struct cw_callback_outcome){ .end = CW_CALLBACK_FAULT };
    ret->end = find_and_consume(&run, ret);
    if (ret->end == CW_CALLBACK_CONNECTED) {
        go(&run, ret);
    }
    if (run.http != NULL) {
        cw_http_pool_give(app->https, run.http);
    }
    cw_smart_identity_release(&run.identity);
    cw_smart_grant_release(&run.grant);
    cw_callback_found_release(&run.found);
    cw_registered_release(&run.registered);
    wipe_text(run.attempt.verifier);
    wipe_text(run.attempt.nonce);
}
