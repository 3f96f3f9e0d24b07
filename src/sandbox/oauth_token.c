/* SPDX-License-Identifier: Apache-2.0 */
/* The token endpoint and what belongs to it: client authentication, exchange, rotating refresh, revocation, introspection. */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/jsonw.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/scope.h"


struct call {
    struct hospital *hospital;
    const struct site *site;
    struct cw_request *request;
    struct cw_reply *reply;
    struct cw_sbx_params form;
    const struct cw_sbx_client *client;
    struct cw_sbx_view view;
    struct cw_sbx_faults faults;
};

static bool refuse_client(struct call *call)
{
    reply_oauth_error(call->reply, 401, "invalid_client", "The app did not prove who it is.");
    cw_reply_header(call->reply, "WWW-Authenticate", "Basic realm=\"sandbox\"");
    return false;
}

/* Reads form and credentials. False when it has answered. */
static bool open_call(struct call *call)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    if (cw_sbx_params_parse(cw_request_body(call->request), arena, &call->form) != CW_OK) {
        reply_oauth_error(call->reply, 400, "invalid_request", "The form cannot be read.");
        return false;
    }
    struct cw_sbx_credentials credentials;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_sbx_credentials_read(cw_request_header(call->request, "Authorization"), &call->form, arena,
                                              &credentials, &err);
    if (rc == CW_E_CONFLICT) {
        reply_oauth_error(call->reply, 400, "invalid_request", "Two ways of authentication at once.");
        return false;
    }
    call->client = rc == CW_OK ? cw_sbx_client_find(call->hospital->state, credentials.id) : NULL;
    if (call->client == NULL || !site_knows(call->site, call->client)) {
        return refuse_client(call);
    }
    struct cw_span jti = { NULL, 0 };
    int64_t until_us = 0;
    rc = cw_sbx_client_check(call->client, &credentials, cw_span_cstr(call->site->token_url), arena, &jti, &until_us, &err);
    if (rc != CW_OK || (jti.ptr != NULL && !cw_sbx_jti_fresh(call->hospital->state, credentials.id, jti, until_us))) {
        return refuse_client(call);
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- the answer */

static void id_token(struct call *call, struct cw_jsonw *w)
{
    struct hospital *hospital = call->hospital;
    CW_AUTO_STR claims, jws, user;
    cw_str_init(&claims, 4096);
    cw_str_init(&jws, 8192);
    cw_str_init(&user, 1024);
    cw_str_addf(&user, "%s/Patient/%.*s", call->site->base, (int)call->view.patient.len, call->view.patient.ptr);
    int64_t now_s = cw_now_us() / CW_SECOND_US;
    struct cw_jsonw c;
    cw_jsonw_init(&c, &claims);
    cw_jsonw_open_object(&c);
    cw_jsonw_key_cstr(&c, "iss", call->site->issuer);
    cw_jsonw_key_text(&c, "sub", call->view.patient);
    cw_jsonw_key_text(&c, "aud", call->view.client);
    cw_jsonw_key_int(&c, "iat", now_s);
    cw_jsonw_key_int(&c, "exp", now_s + 300);
    if (call->view.nonce.ptr != NULL) {
        cw_jsonw_key_text(&c, "nonce", call->view.nonce);
    }
    if (cw_sbx_scope_has(call->view.scope, "fhirUser")) {
        cw_jsonw_key_text(&c, "fhirUser", cw_str_span(&user));
    }
    cw_jsonw_close_object(&c);
    struct cw_err err = { 0 };
    if (cw_jsonw_end(&c) == CW_OK && cw_jws_sign(hospital->id_key, cw_str_span(&claims), &jws, &err) == CW_OK) {
        cw_jsonw_key_text(w, "id_token", cw_str_span(&jws));
    }
}

static void answer(struct call *call, const struct cw_sbx_tokens *tokens, bool first)
{
    CW_AUTO_STR access, refresh;
    cw_str_init_secret(&access, 512);
    cw_str_init_secret(&refresh, 512);
    struct cw_err err = { 0 };
    enum cw_code rc = cw_sbx_tokens_issue(call->hospital->state, call->view.grant, tokens, &access, &refresh, &err);
    if (rc != CW_OK) {
        reply_oauth_error(call->reply, 400, "invalid_grant", "The grant is not valid any more.");
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(call->reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "access_token", cw_str_span(&access));
    cw_jsonw_key_cstr(&w, "token_type", "Bearer");
    cw_jsonw_key_int(&w, "expires_in", tokens->lifetime_us / CW_SECOND_US);
    cw_jsonw_key_text(&w, "scope", tokens->scope.ptr == NULL ? call->view.scope : tokens->scope);
    if (refresh.len > 0) {
        cw_jsonw_key_text(&w, "refresh_token", cw_str_span(&refresh));
    }
    if (first) {
        cw_jsonw_key_text(&w, "patient", call->view.patient);
        cw_jsonw_key_bool(&w, "need_patient_banner", true);
        if (cw_sbx_scope_has(call->view.scope, "openid")) {
            id_token(call, &w);
        }
    }
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(call->reply, &call->faults, "application/json");
}

/* Faults that hit this grant. False when it has answered. */
static bool pass_faults(struct call *call, enum cw_sbx_point point)
{
    const struct cw_sbx_patient *patient = cw_sbx_patient_find(call->hospital->store, call->view.patient);
    struct cw_sbx_occasion occasion = { .point = point,
                                        .site = call->site->as.name,
                                        .patient = call->view.patient,
                                        .persona = patient == NULL ? -1 : patient->persona,
                                        .grant = call->view.grant };
    cw_sbx_faults_take(call->hospital->state, &occasion, &call->faults);
    if (cw_sbx_hit(&call->faults, CW_SBX_DEAD_GRANT)) {
        reply_oauth_error(call->reply, 400, "invalid_grant", "The grant is not valid any more.");
        return false;
    }
    return !fault_answers(call->reply, &call->faults);
}

static struct cw_sbx_tokens tokens_of(const struct call *call)
{
    struct cw_sbx_tokens tokens = { .lifetime_us = CW_SBX_ACCESS_SECONDS * CW_SECOND_US };
    if (cw_sbx_hit(&call->faults, CW_SBX_SHORT_TOKEN)) {
        tokens.lifetime_us = (int64_t)call->faults.seconds[CW_SBX_SHORT_TOKEN] * CW_SECOND_US;
    }
    tokens.refresh = cw_sbx_scope_has(call->view.scope, "offline_access") && !cw_sbx_hit(&call->faults, CW_SBX_NO_REFRESH);
    return tokens;
}

/* Tokens are good under the personality that gave them, as if each were a server of its own. */
static bool is_ours(const struct call *call)
{
    return cw_span_eq_cstr(call->view.site, call->site->as.name);
}

static void exchange(struct call *call)
{
    struct cw_sbx_exchange exchange = {
        .site = cw_span_cstr(call->site->as.name),
        .code = cw_sbx_param(&call->form, "code"),
        .client = cw_span_cstr(cw_sbx_client_id(call->client)),
        .redirect_uri = cw_sbx_param(&call->form, "redirect_uri"),
        .verifier = cw_sbx_param(&call->form, "code_verifier"),
    };
    struct cw_err err = { 0 };
    if (cw_sbx_code_redeem(call->hospital->state, &exchange, cw_request_arena(call->request), &call->view, &err) != CW_OK) {
        reply_oauth_error(call->reply, 400, "invalid_grant", "The code is not valid, was used, or belongs to another request.");
        return;
    }
    if (pass_faults(call, CW_SBX_AT_TOKEN)) {
        struct cw_sbx_tokens tokens = tokens_of(call);
        answer(call, &tokens, true);
    }
}

static void refresh(struct call *call)
{
    struct cw_span token = cw_sbx_param(&call->form, "refresh_token");
    struct cw_arena *arena = cw_request_arena(call->request);
    struct cw_err err = { 0 };
    /* Neither a fault that is no answer about the grant nor another hospital spends the token. */
    if (cw_sbx_refresh_find(call->hospital->state, token, arena, &call->view) == CW_OK) {
        if (!is_ours(call)) {
            reply_oauth_error(call->reply, 400, "invalid_grant", "The refresh token is not of this hospital.");
            return;
        }
        if (!pass_faults(call, CW_SBX_AT_REFRESH)) {
            return;
        }
    }
    struct cw_span client = cw_span_cstr(cw_sbx_client_id(call->client));
    if (cw_sbx_refresh_redeem(call->hospital->state, token, client, arena, &call->view, &err) != CW_OK) {
        reply_oauth_error(call->reply, 400, "invalid_grant", "The refresh token is not valid any more.");
        return;
    }
    struct cw_sbx_tokens tokens = tokens_of(call);
    tokens.refresh = true; /* rotation: every refresh brings the next */
    CW_AUTO_STR narrowed;
    cw_str_init(&narrowed, CW_SBX_SCOPE_TEXT_MAX);
    struct cw_span wanted = cw_sbx_param(&call->form, "scope");
    if (wanted.ptr != NULL && cw_sbx_scope_narrow(call->view.scope, wanted, &narrowed) == CW_OK) {
        tokens.scope = cw_str_span(&narrowed);
    }
    answer(call, &tokens, false);
}

void token_post(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (!open_call(&call)) {
        return;
    }
    struct cw_span grant = cw_sbx_param(&call.form, "grant_type");
    if (cw_span_eq_cstr(grant, "authorization_code")) {
        exchange(&call);
    } else if (cw_span_eq_cstr(grant, "refresh_token")) {
        refresh(&call);
    } else {
        reply_oauth_error(reply, 400, "unsupported_grant_type", "authorization_code or refresh_token.");
    }
}

/* ---------------------------------------------------------------------------------------------- the others */

/* A token that is good here, of either kind, into the view. */
static bool find_token(struct call *call, struct cw_span token)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    struct cw_sbx_state *state = call->hospital->state;
    return (cw_sbx_access_find(state, token, arena, &call->view) == CW_OK ||
            cw_sbx_refresh_find(state, token, arena, &call->view) == CW_OK) &&
           is_ours(call);
}

void revoke_post(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (site_plays(call.site, CW_SBX_QUIRK_NO_REVOCATION)) {
        unknown_any(request, reply);
        return;
    }
    if (!open_call(&call)) {
        return;
    }
    struct cw_span token = cw_sbx_param(&call.form, "token");
    if (find_token(&call, token)) {
        cw_sbx_token_revoke(call.hospital->state, token, cw_span_cstr(cw_sbx_client_id(call.client)));
    }
    cw_reply_json(reply, 200);
}

void introspect_post(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (site_plays(call.site, CW_SBX_QUIRK_NO_REVOCATION)) {
        unknown_any(request, reply);
        return;
    }
    if (!open_call(&call)) {
        return;
    }
    bool active = find_token(&call, cw_sbx_param(&call.form, "token"));
    active = active && cw_span_eq_cstr(call.view.client, cw_sbx_client_id(call.client));
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_bool(&w, "active", active);
    if (active) {
        cw_jsonw_key_text(&w, "client_id", call.view.client);
        cw_jsonw_key_text(&w, "scope", call.view.scope);
        cw_jsonw_key_text(&w, "patient", call.view.patient);
        cw_jsonw_key_int(&w, "exp", call.view.until_us / CW_SECOND_US);
    }
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

void jwks_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    (void)cw_signing_key_jwk(hospital_of(request)->id_key, &w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}
