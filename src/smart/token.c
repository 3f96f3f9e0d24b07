/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the token endpoint. Each goes out once, on a fresh connection: libcurl repeats a request on a kept connection that turns out
 * dead, and a code or a rotating refresh token must never be sent twice unknowingly. Reading the answers is in token_answer.c.
 */
#include "config.h"

#include "smart/token.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/refresh.h"
#include "net/wait.h"
#include "os/sys.h"
#include "smart/token_int.h"
#include "smart/trace.h"

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

enum cw_auth_method cw_smart_choose_auth(const struct cw_profile *profile, unsigned advertised, bool have_key,
                                         bool have_secret)
{
    if (profile->auth_given) {
        return profile->auth_method;
    }
    if (have_key && (advertised & (1u << CW_AUTH_KEY_JWT)) != 0) {
        return CW_AUTH_KEY_JWT;
    }
    if (!have_secret) {
        return have_key ? CW_AUTH_KEY_JWT : CW_AUTH_NONE;
    }
    bool basic = advertised == 0 || (advertised & (1u << CW_AUTH_BASIC)) != 0; /* RFC 8414: basic when not told */
    bool post = (advertised & (1u << CW_AUTH_POST)) != 0;
    return !basic && post ? CW_AUTH_POST : CW_AUTH_BASIC;
}

static enum cw_code add_assertion(const struct cw_smart_client *client, const char *endpoint, struct cw_str *form,
                                  struct cw_err *err)
{
    if (client->key == NULL) {
        return cw_err_set(err, CW_E_CONFIG, "token", "private_key_jwt without a key");
    }
    struct cw_assertion assertion = {
        .client_id = client->client_id,
        .audience = cw_span_cstr(endpoint),
        .jku = client->jku,
        .now_us = cw_now_us(),
        .lifetime_us = CW_ASSERTION_LIFETIME_US,
    };
    CW_AUTO_STR jwt;
    cw_str_init_secret(&jwt, CW_TOKEN_MAX);
    enum cw_code rc = cw_assertion_sign(client->key, &assertion, &jwt, err);
    if (rc == CW_OK) {
        (void)cw_form_add(form, "client_assertion_type", CW_SPAN(ASSERTION_TYPE));
        (void)cw_form_add(form, "client_assertion", cw_str_span(&jwt));
    }
    return rc;
}

/* "id:secret". SMART shows it raw; RFC 6749 2.3.1 codes both first, which some servers insist on. */
static void add_basic(const struct cw_smart_client *client, struct cw_str *out)
{
    if (client->profile->basic_encoded) {
        (void)cw_percent_encode(client->client_id, out);
        (void)cw_str_add_char(out, ':');
        (void)cw_percent_encode(client->secret, out);
    } else {
        (void)cw_str_add_span(out, client->client_id);
        (void)cw_str_add_char(out, ':');
        (void)cw_str_add_span(out, client->secret);
    }
}

static enum cw_code add_identity(const struct cw_smart_client *client, const char *endpoint, struct cw_str *form,
                                 struct cw_str *basic, struct cw_err *err)
{
    bool id_in_body = client->profile->client_id_always;
    enum cw_code rc = CW_OK;
    switch (client->auth) {
    case CW_AUTH_NONE:
        id_in_body = true;
        break;
    case CW_AUTH_BASIC:
        add_basic(client, basic);
        break;
    case CW_AUTH_POST:
        id_in_body = true;
        (void)cw_form_add(form, "client_secret", client->secret);
        break;
    case CW_AUTH_KEY_JWT:
        rc = add_assertion(client, endpoint, form, err);
        break;
    }
    if (rc == CW_OK && id_in_body) {
        (void)cw_form_add(form, "client_id", client->client_id);
    }
    return rc;
}

enum cw_code cw_token_post(struct cw_http *http, const struct cw_smart_client *client, const struct cw_token_place *place,
                           struct cw_str *form, struct cw_http_response *response, struct cw_err *err)
{
    CW_AUTO_STR basic;
    cw_str_init_secret(&basic, 8192);
    enum cw_code rc = add_identity(client, place->endpoint, form, &basic, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_str_code(form) != CW_OK ? cw_str_code(form) : cw_str_code(&basic);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "token", "the request cannot be built");
    }
    struct cw_http_request request = {
        .method = CW_HTTP_POST,
        .url = place->endpoint,
        .most_ms = place->most_ms,
        .body = cw_str_span(form),
        .content_type = "application/x-www-form-urlencoded",
        .body_max = CW_TOKEN_ANSWER_MAX,
        .fresh_connection = true,
    };
    if (client->auth == CW_AUTH_BASIC) {
        request.basic = cw_str_span(&basic);
    }
    cw_str_init_secret(&response->body, CW_TOKEN_ANSWER_MAX);
    return cw_http_perform(http, &request, response, err);
}

/* What it means that no whole answer came. */
static enum cw_token_outcome without_answer(enum cw_code rc, bool request_sent)
{
    switch ((int)rc) {
    case CW_E_TOO_BIG:
    case CW_E_UPSTREAM:
        return request_sent ? CW_TOKEN_BAD_ANSWER : CW_TOKEN_BLOCKED;
    case CW_E_BLOCKED:
    case CW_E_SYNTAX:
    case CW_E_RANGE:
    case CW_E_CONFIG:
        return CW_TOKEN_BLOCKED;
    default:
        return request_sent ? CW_TOKEN_LOST : CW_TOKEN_NOT_SENT;
    }
}

enum cw_token_outcome cw_token_ask(struct cw_http *http, const struct cw_smart_client *client,
                                   const struct cw_token_place *place, struct cw_str *form, struct cw_smart_grant *grant,
                                   struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    int64_t sent_us = cw_now_us();
    enum cw_code rc = cw_token_post(http, client, place, form, &response, err);
    enum cw_token_outcome outcome;
    if (rc == CW_OK) {
        outcome = cw_smart_token_parse(response.status, cw_str_span(&response.body), sent_us, grant);
        grant->retry_after_s = outcome == CW_TOKEN_OK ? -1 : cw_http_wait_s(&response, cw_now_us());
    } else {
        outcome = without_answer(rc, response.request_sent);
    }
    if (rc == CW_OK && outcome != CW_TOKEN_OK) {
        (void)cw_err_sys(err, CW_E_UPSTREAM, (int)response.status, "token", "the token endpoint answered %s (status %ld)",
                         cw_token_outcome_name(outcome), response.status);
    }
    struct cw_trace trace = {
        .kind = place->kind,
        .authentication = client->auth == CW_AUTH_NONE ? NULL : cw_auth_method_name(client->auth),
        .outcome = cw_token_outcome_name(outcome),
        .endpoint = place->endpoint,
        .form = cw_str_span(form),
        .secret = client->secret,
        .scope = cw_str_span(&grant->scope),
        .response = &response,
        .sent_us = sent_us,
    };
    cw_trace_post(&trace, &grant->exchange);
    cw_http_response_release(&response);
    return outcome;
}

enum cw_token_outcome cw_smart_exchange(struct cw_http *http, const struct cw_smart_client *client,
                                        const struct cw_smart_exchange *exchange, struct cw_smart_grant *grant,
                                        struct cw_err *err)
{
    CW_AUTO_STR form;
    cw_str_init_secret(&form, CW_TOKEN_BODY_MAX);
    (void)cw_form_add(&form, "grant_type", CW_SPAN("authorization_code"));
    (void)cw_form_add(&form, "code", exchange->code);
    (void)cw_form_add(&form, "redirect_uri", exchange->redirect_uri);
    if (exchange->verifier.ptr != NULL && client->profile->pkce) {
        (void)cw_form_add(&form, "code_verifier", exchange->verifier);
    }
    const struct cw_token_place place = { "token", exchange->token_endpoint };
    return cw_token_ask(http, client, &place, &form, grant, err);
}

enum cw_token_outcome cw_smart_refresh(struct cw_http *http, const struct cw_smart_client *client,
                                       const struct cw_smart_refresh *refresh, struct cw_smart_grant *grant,
                                       struct cw_err *err)
{
    CW_AUTO_STR form;
    cw_str_init_secret(&form, CW_TOKEN_BODY_MAX);
    (void)cw_form_add(&form, "grant_type", CW_SPAN("refresh_token"));
    (void)cw_form_add(&form, "refresh_token", refresh->refresh_token);
    if (client->profile->refresh_scope && refresh->scope.len > 0) {
        (void)cw_form_add(&form, "scope", refresh->scope);
    }
    if (client->profile->refresh_redirect_uri && refresh->redirect_uri.len > 0) {
        (void)cw_form_add(&form, "redirect_uri", refresh->redirect_uri);
    }
    const struct cw_token_place place = { "refresh", refresh->token_endpoint, CW_REFRESH_REQUEST_MS };
    return cw_token_ask(http, client, &place, &form, grant, err);
}
