/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apps that register themselves (Epic): a public app posts its public key with an access token, and gets a client_id that stands for this
 * one grant. From then on it asks for access tokens by assertions of its own (RFC 7523 2.1). No refresh token and no patient come along.
 */
#include "config.h"
#include "sandbox/token_int.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

bool token_bearer(struct call *call)
{
    struct cw_span header = cw_request_header(call->request, "Authorization");
    struct cw_arena *arena = cw_request_arena(call->request);
    if (cw_span_starts(header, CW_SPAN("Bearer ")) &&
        cw_sbx_access_find(call->hospital->state, cw_span_from(header, 7), arena, &call->view) == CW_OK &&
        cw_span_eq_cstr(call->view.site, call->site->as.name)) {
        return true;
    }
    token_error(call, 401, "invalid_token", "A valid bearer token is needed.");
    cw_reply_header(call->reply, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return false;
}

/* --- registration --- */

/* The registration as an object; the caller owns it. NULL when out of memory or the body is not one. */
static json_t *registration(const struct call *call, const char *id)
{
    json_t *jwks = json_object_get(cw_request_json(call->request), "jwks");
    json_t *made = json_object();
    bool ok = made != NULL && json_is_object(jwks) && json_object_set_new(made, "client_id", json_string(id)) == 0 &&
              json_object_set_new(made, "auth", json_string("private_key_jwt")) == 0 &&
              json_object_set_new(made, "grant", json_string(call->view.grant)) == 0 &&
              json_object_set(made, "jwks", jwks) == 0;
    if (!ok) {
        json_decref(made);
        return NULL;
    }
    return made;
}

static void register_app(struct call *call)
{
    char id[CW_ID_TEXT_MAX];
    struct cw_err err = { 0 };
    cw_id_emit("dyn_", cw_ulid_new(), id);
    json_t *made = registration(call, id);
    enum cw_code rc = made == NULL ? CW_E_MISSING : cw_sbx_client_put(call->hospital->state, made, &err);
    json_decref(made);
    if (rc != CW_OK) {
        token_error(call, 400, "invalid_client_metadata", "software_id and jwks are needed.");
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(call->reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "client_id", id);
    cw_jsonw_key_text(&w, "software_id", call->view.client);
    cw_jsonw_key_cstr(&w, "token_endpoint_auth_method", "none");
    cw_jsonw_key(&w, "grant_types");
    cw_jsonw_open_array(&w);
    cw_jsonw_cstr(&w, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(call->reply, 201);
}

void register_post(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (!site_plays(call.site, CW_SBX_QUIRK_REGISTRATION)) {
        cw_reply_fault(reply, "resource_not_found", NULL, "There is nothing here.");
        return;
    }
    if (!token_bearer(&call)) {
        return;
    }
    if (!cw_span_eq(cw_json_peek_text(cw_request_json(request), "software_id"), call.view.client)) {
        token_error(&call, 400, "invalid_client_metadata", "software_id is not the app that the token was given to.");
        return;
    }
    register_app(&call);
}

/* --- assertions --- */

/* The app that the assertion is of. False when it does not hold. */
static bool asserted(struct call *call)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    struct cw_sbx_credentials credentials = { .auth = CW_SBX_AUTH_JWT, .id = cw_sbx_param(&call->form, "client_id"),
                                              .assertion = cw_sbx_param(&call->form, "assertion") };
    struct cw_span jti;
    int64_t until_us;
    struct cw_err err = { 0 };
    call->client = cw_sbx_client_find(call->hospital->state, credentials.id);
    return call->client != NULL && cw_sbx_client_grant(call->client) != NULL &&
           cw_sbx_client_check(call->client, &credentials, cw_span_cstr(call->site->token_url), arena, &jti, &until_us, &err) == CW_OK &&
           cw_sbx_jti_fresh(call->hospital->state, credentials.id, jti, until_us);
}

void token_jwt_bearer(struct call *call)
{
    struct cw_arena *arena = cw_request_arena(call->request);
    if (!site_plays(call->site, CW_SBX_QUIRK_REGISTRATION)) {
        token_error(call, 400, "unsupported_grant_type", "authorization_code or refresh_token.");
        return;
    }
    if (site_plays(call->site, CW_SBX_QUIRK_JWT_BEARER_REFUSED) || !asserted(call) ||
        cw_sbx_grant_find(call->hospital->state, cw_sbx_client_grant(call->client), arena, &call->view) != CW_OK ||
        !cw_span_eq_cstr(call->view.site, call->site->as.name)) {
        token_error(call, 400, "invalid_grant", "The assertion is not good for anything here.");
        return;
    }
    if (token_pass_faults(call, CW_SBX_AT_REFRESH)) {
        struct cw_sbx_tokens tokens = { .lifetime_us = CW_SBX_ACCESS_SECONDS * CW_SECOND_US };
        if (cw_sbx_hit(&call->faults, CW_SBX_SHORT_TOKEN)) {
            tokens.lifetime_us = (int64_t)call->faults.seconds[CW_SBX_SHORT_TOKEN] * CW_SECOND_US;
        }
        token_answer(call, &tokens, TOKEN_ASSERTED);
    }
}

/* --- userinfo --- */

void userinfo_get(struct cw_request *request, struct cw_reply *reply)
{
    struct call call = { .hospital = hospital_of(request), .site = site_of(request), .request = request, .reply = reply };
    if (!site_plays(call.site, CW_SBX_QUIRK_USERINFO)) {
        unknown_any(request, reply);
        return;
    }
    if (!token_bearer(&call)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "sub", call.view.patient);
    cw_jsonw_key_text(&w, "patient", call.view.patient);
    cw_jsonw_key_cstr(&w, "iss", call.site->issuer);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}
