/* SPDX-License-Identifier: Apache-2.0 */
/* The token endpoint and what belongs to it: client authentication, exchange, rotating refresh, revocation, introspection. */
#include "config.h"
#include "sandbox/token_int.h"

#include "base/jsonw.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/authorize.h"
#include "sandbox/scope.h"
static bool refuse_client(struct call *call)
{
    token_error(call, 401, "invalid_client", "The app did not prove who it is.");
    cw_reply_header(call->reply, "WWW-Authenticate", "Basic realm=\"sandbox\"");
    return false;
}

static bool bad_request(struct call *call, const char *text)
{
    token_error(call, 400, "invalid_request", text);
    return false;
}

/* What this personality demands of how an app shows itself. False when it has answered. */
static bool auth_fits(struct call *call, struct cw_sbx_credentials *credentials)
{
    bool named = cw_sbx_param(&call->form, "client_id").ptr != NULL, basic = credentials->auth == CW_SBX_AUTH_BASIC;
    if (site_plays(call->site, CW_SBX_QUIRK_CLIENT_ID_NEEDED) && !named) {
        return bad_request(call, "client_id is missing.");
    }
    if (site_plays(call->site, CW_SBX_QUIRK_CLIENT_ID_REFUSED) && named && basic) {
        return bad_request(call, "client_id beside HTTP Basic.");
    }
    if (site_plays(call->site, CW_SBX_QUIRK_CONFIDENTIAL_ONLY) && credentials->auth == CW_SBX_AUTH_NONE) {
        return refuse_client(call);
    }
    if (site_plays(call->site, CW_SBX_QUIRK_RS384_ONLY) && credentials->auth == CW_SBX_AUTH_JWT &&
        !cw_sbx_assertion_is(credentials->assertion, "RS384")) {
        return refuse_client(call);
    }
    if (basic && site_plays(call->site, CW_SBX_QUIRK_BASIC_RAW)) {
        credentials->id = credentials->raw_id;
        credentials->secret = credentials->raw_secret;
    } else if (basic && site_plays(call->site, CW_SBX_QUIRK_BASIC_ENCODED) && !credentials->decodes) {
        return refuse_client(call);
    }
    return true;
}

static bool read_form(struct call *call)
{
    return cw_sbx_params_parse(cw_request_body(call->request), cw_request_arena(call->request), &call->form) == CW_OK ||
           bad_request(call, "The form cannot be read.");
}

/* Fetches the keys that are registered by their URL. False when they cannot be had, or must be but are registered themselves. */
static bool keys_fit(const struct call *call, struct cw_sbx_credentials *credentials, json_t **ret_fetched)
{
    struct cw_err err = { 0 };
    const char *uri = cw_sbx_client_jwks_uri(call->client);
    if (credentials->auth != CW_SBX_AUTH_JWT) {
        return true;
    }
    if (uri == NULL) {
        return !site_plays(call->site, CW_SBX_QUIRK_KEYS_BY_URL);
    }
    if (hospital_fetch_jwks(call->hospital, uri, ret_fetched, &err) != CW_OK) {
        return false;
    }
    credentials->jwks = *ret_fetched;
    return true;
}

/* Who asks. False when it has answered. */
static bool authenticate(struct call *call)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    struct cw_sbx_credentials credentials = { .auth = CW_SBX_AUTH_NONE };
    struct cw_err err = { 0 };
    enum cw_code rc = cw_sbx_credentials_read(cw_request_header(call->request, "Authorization"), &call->form, arena,
                                              &credentials, &err);
    if (rc == CW_E_CONFLICT) {
        return bad_request(call, "Two ways of authentication at once.");
    }
    if (rc == CW_OK && !auth_fits(call, &credentials)) {
        return false;
    }
    call->client = rc == CW_OK ? cw_sbx_client_find(call->hospital->state, credentials.id) : NULL;
    if (call->client == NULL || !site_knows(call->site, call->client) || cw_sbx_client_grant(call->client) != NULL) {
        return refuse_client(call);
    }
    struct cw_span jti = { NULL, 0 };
    int64_t until_us = 0;
    CW_AUTO_JSON *fetched = NULL;
    if (!keys_fit(call, &credentials, &fetched)) {
        return refuse_client(call);
    }
    rc = cw_sbx_client_check(call->client, &credentials, cw_span_cstr(call->site->token_url), arena, &jti, &until_us, &err);
    if (rc != CW_OK || (jti.ptr != NULL && !cw_sbx_jti_fresh(call->hospital->state, credentials.id, jti, until_us))) {
        return refuse_client(call);
    }
    return true;
}

/* Reads form and credentials. False when it has answered. */
static bool open_call(struct call *call)
{
    return read_form(call) && authenticate(call);
}

bool token_pass_faults(struct call *call, enum cw_sbx_point point)
{
    const struct cw_sbx_patient *patient = site_patient(call->site, call->view.patient);
    struct cw_sbx_occasion occasion = { .point = point,
                                        .site = call->site->as.name,
                                        .patient = call->view.patient,
                                        .persona = patient == NULL ? -1 : patient->persona,
                                        .grant = call->view.grant };
    cw_sbx_faults_take(call->hospital->state, &occasion, &call->faults);
    if (cw_sbx_hit(&call->faults, CW_SBX_DEAD_GRANT)) {
        token_error(call, 400, "invalid_grant", "The grant is not valid any more.");
        return false;
    }
    if (cw_sbx_hit(&call->faults, CW_SBX_BARE)) {
        cw_reply_status(call->reply, 400);
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
    tokens.refresh = token_may_refresh(call) && !cw_sbx_hit(&call->faults, CW_SBX_NO_REFRESH);
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
        .code = authorize_code_take(call->site, cw_sbx_param(&call->form, "code")),
        .client = cw_span_cstr(cw_sbx_client_id(call->client)),
        .redirect_uri = cw_sbx_param(&call->form, "redirect_uri"),
        .verifier = cw_sbx_param(&call->form, "code_verifier"),
    };
    struct cw_err err = { 0 };
    if (cw_sbx_code_redeem(call->hospital->state, &exchange, cw_request_arena(call->request), &call->view, &err) != CW_OK) {
        token_error(call, 400, "invalid_grant", "The code is not valid, was used, or belongs to another request.");
        return;
    }
    if (token_pass_faults(call, CW_SBX_AT_TOKEN)) {
        struct cw_sbx_tokens tokens = tokens_of(call);
        token_answer(call, &tokens, TOKEN_FIRST);
    }
}

/* What this personality demands of a refresh. False when it has answered. */
static bool refresh_fits(struct call *call)
{
    if (site_plays(call->site, CW_SBX_QUIRK_REFRESH_REFUSED)) {
        token_error(call, 400, "unauthorized_client", "This app may not refresh.");
        return false;
    }
    if (site_plays(call->site, CW_SBX_QUIRK_GRANT_ENDS) && call->view.granted_us + CW_SBX_GRANT_HOURS * CW_HOUR_US < cw_now_us()) {
        token_error(call, 400, "invalid_grant", "The patient allowed this for ten hours.");
        return false;
    }
    if (site_plays(call->site, CW_SBX_QUIRK_REFRESH_SCOPE) && cw_sbx_param(&call->form, "scope").len == 0) {
        return bad_request(call, "scope is missing.");
    }
    if (site_plays(call->site, CW_SBX_QUIRK_REFRESH_REDIRECT) &&
        !cw_sbx_client_redirects_to(call->client, cw_sbx_param(&call->form, "redirect_uri"))) {
        return bad_request(call, "redirect_uri is missing.");
    }
    return true;
}

/* Neither a fault that is no answer about the grant, nor a demand that is not met, nor another hospital spends the token: first it is
 * looked at only. A token that was spent comes to redeem_refresh, which sees the reuse. False when it has answered. */
static bool look_at_refresh(struct call *call, struct cw_span token)
{
    if (cw_sbx_refresh_find(call->hospital->state, token, cw_request_arena(call->request), &call->view) != CW_OK) {
        return true;
    }
    if (!is_ours(call)) {
        token_error(call, 400, "invalid_grant", "The refresh token is not of this hospital.");
        return false;
    }
    return refresh_fits(call) && token_pass_faults(call, CW_SBX_AT_REFRESH);
}

/* Spends the token, or where tokens stay only checks it. */
static enum cw_code redeem_refresh(struct call *call, struct cw_span token)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    struct cw_span client = cw_span_cstr(cw_sbx_client_id(call->client));
    struct cw_err err = { 0 };
    if (!site_plays(call->site, CW_SBX_QUIRK_REFRESH_STABLE)) {
        return cw_sbx_refresh_redeem(call->hospital->state, token, client, arena, &call->view, &err);
    }
    enum cw_code rc = cw_sbx_refresh_find(call->hospital->state, token, arena, &call->view);
    return rc == CW_OK && !cw_span_eq(client, call->view.client) ? CW_E_AUTH : rc;
}

static void refresh(struct call *call)
{
    struct cw_span token = cw_sbx_param(&call->form, "refresh_token");
    if (!look_at_refresh(call, token)) {
        return;
    }
    if (redeem_refresh(call, token) != CW_OK) {
        token_error(call, 400, "invalid_grant", "The refresh token is not valid any more.");
        return;
    }
    struct cw_sbx_tokens tokens = tokens_of(call);
    tokens.refresh = !site_plays(call->site, CW_SBX_QUIRK_REFRESH_STABLE); /* rotation: every refresh brings the next */
    CW_AUTO_STR narrowed;
    cw_str_init(&narrowed, CW_SBX_SCOPE_TEXT_MAX);
    struct cw_span wanted = cw_sbx_param(&call->form, "scope");
    if (wanted.ptr != NULL && cw_sbx_scope_narrow(call->view.scope, wanted, &narrowed) == CW_OK) {
        tokens.scope = cw_str_span(&narrowed);
    }
    token_answer(call, &tokens, TOKEN_AGAIN);
}

static void serve_token(struct call *call)
{
    if (!read_form(call)) {
        return;
    }
    struct cw_span grant = cw_sbx_param(&call->form, "grant_type");
    if (cw_span_eq_cstr(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer")) {
        token_jwt_bearer(call);
        return;
    }
    if (!authenticate(call)) {
        return;
    }
    if (cw_span_eq_cstr(grant, "authorization_code")) {
        exchange(call);
    } else if (cw_span_eq_cstr(grant, "refresh_token")) {
        refresh(call);
    } else {
        token_error(call, 400, "unsupported_grant_type", "authorization_code or refresh_token.");
    }
}

void token_post(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (site_plays(call.site, CW_SBX_QUIRK_TRAILING_SLASH)) {
        site_redirect_slash(call.site, "/oauth/token", reply); /* whoever follows has lost the body */
        return;
    }
    serve_token(&call);
}

void token_slash(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (!site_plays(call.site, CW_SBX_QUIRK_TRAILING_SLASH)) {
        unknown_any(request, reply);
        return;
    }
    serve_token(&call);
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
    struct cw_span client = cw_span_cstr(cw_sbx_client_id(call.client));
    if (find_token(&call, token)) {
        cw_sbx_token_revoke(call.hospital->state, token, client, site_plays(call.site, CW_SBX_QUIRK_REVOKE_ALL));
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
