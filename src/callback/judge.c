/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokens are worth: whether they belong to this sign-in, what they open, and whose records those are. */
#include "config.h"

#include "callback/callback.h"

#include "base/limits.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/id_token.h"
#include "smart/jwks.h"
#include "smart/patient_context.h"
#include "smart/pinned.h"
#include "smart/revoke.h"
#include "smart/scope.h"

void cw_callback_found_init(struct cw_callback_found *found)
{
    cw_str_init(&found->patient, CW_FHIR_ID_MAX);
    cw_str_init(&found->tenant, CW_TENANT_MAX);
}

void cw_callback_found_release(struct cw_callback_found *found)
{
    cw_str_release(&found->patient);
    cw_str_release(&found->tenant);
}

static struct cw_place_hosts hosts_of(const struct cw_callback_case *c)
{
    return (struct cw_place_hosts){ c->identity->registration.hosts, c->identity->registration.host_count };
}

/* ---- the id_token */

/* The issuer's keys, where they may be asked for. Best effort: without them the token proves nothing, which is no fault. */
static json_t *keys(const struct cw_callback_case *c, enum cw_jwks_wish wish)
{
    const struct cw_pinned *pinned = c->pinned;
    const char *const known[] = { pinned->base, pinned->issuer, pinned->authorization_endpoint, pinned->token_endpoint };
    struct cw_err why = { .code = CW_OK };
    json_t *set = NULL;
    if (pinned->jwks_uri[0] == '\0') {
        return NULL;
    }
    enum cw_code rc = CW_E_BLOCKED;
    if (cw_place_may_read(c->http, pinned->jwks_uri, hosts_of(c), known, CW_ARRAY_LEN(known))) {
        rc = cw_jwks_get(c->app->jwks, c->http, pinned->jwks_uri, wish, &set, &why);
    } else {
        (void)cw_err_set(&why, rc, "jwks", "the key set is at an internal place that nobody vouches for");
    }
    if (rc != CW_OK && rc != CW_E_LIMITED) {
        cw_log(CW_LOG_WARNING, "callback.jwks", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id), CW_ERR(&why));
    }
    return set;
}

/* A wrong audience or nonce is told without keys; these are fetched only when the token's word on the patient is needed. */
static enum cw_id_token_verdict check_id_token(const struct cw_callback_case *c, struct cw_id_token_identity *identity,
                                               struct cw_err *err)
{
    bool needed = c->grant->patient.len == 0;
    struct cw_span compact = cw_secret_span(&c->grant->id_token);
    json_t *set = needed ? keys(c, CW_JWKS_ANY) : NULL;
    struct cw_id_token_check check = {
        .client_id = c->identity->client.client_id,
        .issuer = cw_span_cstr(c->pinned->issuer),
        .nonce = c->attempt->nonce,
        .jwks = set,
        .now_us = cw_now_us(),
    };
    enum cw_id_token_verdict verdict = cw_id_token_check(compact, &check, identity, err);
    json_decref(set);
    if (verdict == CW_ID_TOKEN_UNPROVEN && err->code == CW_E_NOT_FOUND && (set = keys(c, CW_JWKS_NEWER)) != NULL) {
        check.jwks = set;
        verdict = cw_id_token_check(compact, &check, identity, err);
        json_decref(set);
    }
    if (verdict == CW_ID_TOKEN_UNPROVEN && needed) {
        struct cw_err why = *err;
        cw_log(CW_LOG_INFO, "callback.id_token_unproven", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id), CW_ERR(&why));
    }
    return verdict;
}

/* ---- the patient */

static const char *find_patient(const struct cw_callback_case *c, const struct cw_id_token_identity *identity,
                                struct cw_callback_found *ret, struct cw_err *err)
{
    const struct cw_profile *profile = c->identity->client.profile;
    const struct cw_smart_grant *grant = c->grant;
    if (!cw_tenant_from_claims(cw_secret_span(&grant->access_token), profile, &ret->tenant) && profile->tenant_claim[0] != '\0') {
        cw_log(CW_LOG_WARNING, "callback.no_tenant", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id));
    }
    const struct cw_patient_ask ask = {
        .profile = profile,
        .base = c->pinned->base,
        .userinfo_endpoint = c->pinned->userinfo_endpoint,
        .hosts = hosts_of(c),
        .grant = grant,
        .scopes = grant->scope.len > 0 ? cw_str_span(&grant->scope) : c->attempt->scopes_asked,
        .fhir_user = cw_str_span(&identity->fhir_user),
        .subject = cw_str_span(&identity->subject),
        .tenant = cw_str_span(&ret->tenant),
    };
    enum cw_patient_from from;
    enum cw_code rc = cw_smart_patient(c->http, &ask, &ret->patient, &from, err);
    if (rc == CW_E_OOM) {
        return CW_FAIL_INTERNAL;
    }
    if (rc != CW_OK) {
        return CW_FAIL_NO_PATIENT;
    }
    if (from != CW_PATIENT_TOKEN) {
        cw_log(CW_LOG_INFO, "callback.patient", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id),
               CW_LIT("from", cw_patient_from_name(from)));
    }
    return NULL;
}

static const char *judge_scopes(const struct cw_callback_case *c, struct cw_err *err)
{
    const struct cw_smart_grant *grant = c->grant;
    struct cw_span granted = grant->scope_told ? cw_str_span(&grant->scope) : (struct cw_span){ NULL, 0 };
    if (cw_scope_compare(c->attempt->scopes_asked, granted).any_resource) {
        return NULL;
    }
    (void)cw_err_set(err, CW_E_UPSTREAM, "callback", "no scope that reads anything was granted");
    return CW_FAIL_SCOPE;
}

const char *cw_callback_judge(const struct cw_callback_case *c, struct cw_callback_found *ret, struct cw_err *err)
{
    struct cw_id_token_identity identity;
    cw_id_token_identity_init(&identity);
    bool foreign = c->grant->id_token.ptr != NULL && check_id_token(c, &identity, err) == CW_ID_TOKEN_INJECTED;
    const char *failure = foreign ? CW_FAIL_ID_TOKEN : judge_scopes(c, err);
    if (failure == NULL) {
        failure = find_patient(c, &identity, ret, err);
    }
    cw_id_token_identity_release(&identity);
    return failure;
}

/* ---- lasting access without a refresh token */

void cw_callback_register(const struct cw_callback_case *c, struct cw_registered *ret)
{
    const struct cw_smart_client *client = &c->identity->client;
    if (!client->profile->dynamic_registration || client->auth != CW_AUTH_NONE || c->grant->refresh_token.ptr != NULL) {
        return;
    }
    const struct cw_register_ask ask = { .pinned = c->pinned, .hosts = hosts_of(c), .software_id = client->client_id,
                                         .access_token = cw_secret_span(&c->grant->access_token) };
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_smart_register(c->http, &ask, ret, &err);
    if (rc == CW_OK) {
        cw_log(CW_LOG_INFO, "callback.registered", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id));
    } else {
        cw_log(rc == CW_E_UNSUPPORTED ? CW_LOG_INFO : CW_LOG_WARNING, "callback.not_registered",
               CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id), CW_ERR(&err));
    }
}

/* ---- the way back of what nobody will use */

/* True when the token still lives and the hospital would take it back. */
static bool revoke(const struct cw_callback_case *c, const struct cw_secret *token, enum cw_revoke_hint hint)
{
    struct cw_err err = { .code = CW_OK };
    if (token->ptr == NULL || c->pinned->revocation_endpoint[0] == '\0') {
        return false;
    }
    enum cw_code rc = cw_smart_revoke(c->http, &c->identity->client, c->pinned->revocation_endpoint, cw_secret_span(token),
                                      hint, &err);
    if (rc == CW_OK || rc == CW_E_UNSUPPORTED) {
        return false;
    }
    cw_log(CW_LOG_WARNING, "callback.revoke", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id), CW_ERR(&err));
    return true;
}

/* Where one token stands for all, tokens that nobody will use are not given back over a connection that works. */
static bool would_end_another(const struct cw_callback_case *c)
{
    const struct cw_connection like = { .patient = c->attempt->patient, .endpoint = c->attempt->endpoint,
                                        .registration = c->attempt->registration };
    struct cw_err err = { .code = CW_OK };
    bool lives = false;
    if (!c->identity->client.profile->revoke_ends_all) {
        return false;
    }
    enum cw_code rc = cw_connection_lives(&c->app->model, &like, &lives, &err);
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "callback.revoke", CW_ID("attempt", CW_PREFIX_ATTEMPT, c->attempt->id), CW_ERR(&err));
    }
    return lives || rc != CW_OK;
}

void cw_callback_give_back(const struct cw_callback_case *c, struct cw_callback_left *ret_left)
{
    if (would_end_another(c)) {
        return;
    }
    ret_left->refresh = revoke(c, &c->grant->refresh_token, CW_REVOKE_REFRESH_TOKEN);
    /* A browser waits: a server that just failed is not asked a second time. */
    ret_left->access = ret_left->refresh || revoke(c, &c->grant->access_token, CW_REVOKE_ACCESS_TOKEN);
}
