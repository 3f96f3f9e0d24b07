/* SPDX-License-Identifier: Apache-2.0 */
/* What the token endpoint says: tokens and what comes with them, and errors, each as the personality writes them. */
#include "config.h"
#include "sandbox/token_int.h"

#include <stdio.h>

#include "base/id.h"
#include "base/jsonw.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/scope.h"

#define SHORT_LIFE_S 570
#define GUARDIAN "guardian-1"
#define PRACTICE "a-1.Practice-195900"

static bool plays(const struct call *call, enum cw_sbx_quirk quirk)
{
    return site_plays(call->site, quirk);
}

void token_error(struct call *call, int status, const char *error, const char *text)
{
    struct cw_jsonw w;
    bool broken = plays(call, CW_SBX_QUIRK_ERRORS_IN_500);
    cw_str_clear(cw_reply_body(call->reply));
    cw_jsonw_init(&w, cw_reply_body(call->reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "error", error);
    if (plays(call, CW_SBX_QUIRK_ERRORS_BY_URI)) {
        CW_AUTO_STR uri;
        cw_str_init(&uri, 1024);
        cw_str_addf(&uri, "%s/errors/urn%%3Asandbox%%3Aerror%%3A%s", call->site->oauth, error);
        cw_jsonw_key_text(&w, "error_uri", cw_str_span(&uri));
    } else {
        cw_jsonw_key_cstr(&w, "error_description", text);
    }
    if (broken) {
        cw_jsonw_key_int(&w, "expires_in", 0);
    }
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(call->reply, broken ? 500 : plays(call, CW_SBX_QUIRK_ERRORS_IN_200) ? 200 : status);
}

bool token_may_refresh(const struct call *call)
{
    bool open = cw_sbx_client_auth(call->client) == CW_SBX_AUTH_NONE;
    bool asked = plays(call, CW_SBX_QUIRK_REFRESH_ALWAYS) || cw_sbx_scope_has(call->view.scope, "offline_access");
    return asked && !(open && plays(call, CW_SBX_QUIRK_PUBLIC_NO_REFRESH));
}

/* --- JWTs --- */

/* Signs what `claims` holds; false when it cannot. */
static bool sign(const struct call *call, struct cw_jsonw *c, const struct cw_str *claims, struct cw_str *out)
{
    struct cw_err err = { 0 };
    return cw_jsonw_end(c) == CW_OK && cw_jws_sign(call->hospital->id_key, cw_str_span(claims), out, &err) == CW_OK;
}

static void fhir_user(const struct call *call, struct cw_jsonw *c)
{
    CW_AUTO_STR user;
    cw_str_init(&user, 1024);
    if (plays(call, CW_SBX_QUIRK_PROXY_USER)) {
        cw_str_addf(&user, "%s/RelatedPerson/" GUARDIAN, call->site->base);
    } else {
        cw_str_addf(&user, "%s/Patient/%.*s", call->site->base, (int)call->view.patient.len, call->view.patient.ptr);
    }
    cw_jsonw_key_text(c, "fhirUser", cw_str_span(&user));
}

static void id_claims(const struct call *call, struct cw_jsonw *c)
{
    const struct cw_sbx_view *view = &call->view;
    int64_t now_s = cw_now_us() / CW_SECOND_US;
    cw_jsonw_open_object(c);
    cw_jsonw_key_cstr(c, "iss", plays(call, CW_SBX_QUIRK_ID_OTHER_ISSUER) ? "https://evil.example/fhir" : call->site->issuer);
    cw_jsonw_key_text(c, "sub", plays(call, CW_SBX_QUIRK_PROXY_USER) ? CW_SPAN(GUARDIAN) : view->patient);
    cw_jsonw_key_text(c, "aud", plays(call, CW_SBX_QUIRK_ID_OTHER_AUDIENCE) ? CW_SPAN("another-app") : view->client);
    cw_jsonw_key_int(c, "iat", now_s);
    cw_jsonw_key_int(c, "exp", now_s + 300);
    if (view->nonce.ptr != NULL) {
        cw_jsonw_key_text(c, "nonce", plays(call, CW_SBX_QUIRK_ID_OTHER_NONCE) ? CW_SPAN("another-nonce") : view->nonce);
    }
    bool asked = cw_sbx_scope_has(view->scope, "fhirUser") || cw_sbx_scope_has(view->scope, "fhiruser");
    if (asked && !plays(call, CW_SBX_QUIRK_NO_FHIR_USER)) {
        fhir_user(call, c);
    }
    cw_jsonw_close_object(c);
}

static void id_token(const struct call *call, struct cw_jsonw *w)
{
    CW_AUTO_STR claims, jws;
    cw_str_init(&claims, 4096);
    cw_str_init(&jws, 8192);
    struct cw_jsonw c;
    cw_jsonw_init(&c, &claims);
    id_claims(call, &c);
    if (!sign(call, &c, &claims, &jws)) {
        return;
    }
    if (plays(call, CW_SBX_QUIRK_ID_BAD_SIGNATURE)) {
        char *at = jws.buf + jws.len - 20; /* well inside the signature, where every bit counts */
        *at = *at == 'A' ? 'B' : 'A';
    }
    cw_jsonw_key_text(w, "id_token", cw_str_span(&jws));
}

/* The access token as a JWT, where the personality's claims are in it. Absent: a random text will do. */
static struct cw_span access_text(const struct call *call, const struct cw_sbx_tokens *tokens)
{
    bool local = plays(call, CW_SBX_QUIRK_LOCAL_PATIENT_ID), practice = plays(call, CW_SBX_QUIRK_AH_PRACTICE);
    char jti[CW_ID_TEXT_MAX];
    CW_AUTO_STR claims, jws;
    cw_str_init(&claims, 4096);
    cw_str_init_secret(&jws, 8192);
    if (!local && !practice) {
        return (struct cw_span){ NULL, 0 };
    }
    int64_t now_s = cw_now_us() / CW_SECOND_US;
    struct cw_jsonw c;
    cw_id_emit("", cw_ulid_new(), jti);
    cw_jsonw_init(&c, &claims);
    cw_jsonw_open_object(&c);
    cw_jsonw_key_cstr(&c, "iss", call->site->issuer);
    cw_jsonw_key_cstr(&c, "aud", call->site->base);
    cw_jsonw_key_cstr(&c, "jti", jti);
    cw_jsonw_key_int(&c, "exp", now_s + tokens->lifetime_us / CW_SECOND_US);
    if (local) {
        cw_jsonw_key_text(&c, "local_patient_id", call->view.patient);
    }
    if (practice) {
        cw_jsonw_key_cstr(&c, "ah_practice", PRACTICE);
    }
    cw_jsonw_close_object(&c);
    return sign(call, &c, &claims, &jws) ? cw_arena_span(cw_request_arena(call->request), cw_str_span(&jws))
                                         : (struct cw_span){ NULL, 0 };
}

/* --- members --- */

static void lifetime(const struct call *call, struct cw_jsonw *w, int64_t seconds)
{
    char text[32];
    if (plays(call, CW_SBX_QUIRK_EXPIRES_FLOAT)) {
        int len = snprintf(text, sizeof text, "%lld.523842", (long long)seconds);
        cw_jsonw_key(w, "expires_in");
        cw_jsonw_raw(w, cw_span_of(text, (size_t)len));
    } else if (plays(call, CW_SBX_QUIRK_EXPIRES_TEXT)) {
        (void)snprintf(text, sizeof text, "%lld", (long long)seconds);
        cw_jsonw_key_cstr(w, "expires_in", text);
    } else if (!plays(call, CW_SBX_QUIRK_EXPIRES_MISSING)) {
        cw_jsonw_key_int(w, "expires_in", plays(call, CW_SBX_QUIRK_EXPIRES_ZERO) ? 0 : seconds);
    }
}

static void token_type(const struct call *call, struct cw_jsonw *w)
{
    if (!plays(call, CW_SBX_QUIRK_TYPE_MISSING)) {
        cw_jsonw_key_cstr(w, "token_type", plays(call, CW_SBX_QUIRK_TYPE_DPOP)    ? "DPoP"
                                           : plays(call, CW_SBX_QUIRK_TYPE_LOWER) ? "bearer"
                                                                                  : "Bearer");
    }
}

/* "patient/Goal.rs" → "patient/Goal.read"; others as they are. */
static void add_scope(struct cw_str *out, struct cw_span scope, bool v1)
{
    bool changed = v1 && cw_span_ends(scope, CW_SPAN(".rs"));
    if (out->len > 0) {
        cw_str_add_char(out, ' ');
    }
    cw_str_add_span(out, cw_span_upto(scope, scope.len - (changed ? 2 : 0)));
    if (changed) {
        cw_str_add_cstr(out, "read");
    }
}

static void scope(const struct call *call, struct cw_jsonw *w, struct cw_span granted)
{
    CW_AUTO_STR told;
    struct cw_span word;
    cw_str_init(&told, 2 * CW_SBX_SCOPE_TEXT_MAX);
    if (plays(call, CW_SBX_QUIRK_SCOPE_MISSING)) {
        return;
    }
    while (!plays(call, CW_SBX_QUIRK_SCOPE_EMPTY) && cw_span_word(&granted, &word)) {
        if (!plays(call, CW_SBX_QUIRK_OFFLINE_UNLISTED) || !cw_span_eq_cstr(word, "offline_access")) {
            add_scope(&told, word, plays(call, CW_SBX_QUIRK_SCOPE_V1));
        }
    }
    cw_jsonw_key_cstr(w, "scope", cw_str_cstr(&told));
}

static void token_member(const struct call *call, struct cw_jsonw *w, const char *name, struct cw_span token)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, 16384);
    bool padded = plays(call, CW_SBX_QUIRK_PADDED);
    cw_str_add_cstr(&text, padded ? " " : "");
    cw_str_add_span(&text, token);
    cw_str_add_cstr(&text, padded ? " \n" : "");
    cw_jsonw_key_text(w, name, cw_str_span(&text));
}

/* "2027-01-31 10:00:00Z" */
static void grant_end(const struct call *call, struct cw_jsonw *w)
{
    char text[CW_TIME_TEXT];
    if (!plays(call, CW_SBX_QUIRK_GRANT_ENDS)) {
        return;
    }
    cw_time_emit(call->view.granted_us + CW_SBX_GRANT_HOURS * CW_HOUR_US, text);
    text[10] = ' ';
    text[19] = 'Z'; /* whole seconds */
    text[20] = '\0';
    cw_jsonw_key_cstr(w, "access_grant_expiration", text);
}

static void who(const struct call *call, struct cw_jsonw *w, enum token_occasion occasion)
{
    if (occasion == TOKEN_AGAIN && plays(call, CW_SBX_QUIRK_REFRESH_OTHER_PATIENT)) {
        cw_jsonw_key_cstr(w, "patient", "somebody-else");
    }
    if (occasion != TOKEN_FIRST) {
        return;
    }
    if (!plays(call, CW_SBX_QUIRK_NO_PATIENT)) {
        cw_jsonw_key_text(w, "patient", call->view.patient);
    }
    cw_jsonw_key_bool(w, "need_patient_banner", true);
    if (cw_sbx_scope_has(call->view.scope, "openid") && !plays(call, CW_SBX_QUIRK_NO_ID_TOKEN)) {
        id_token(call, w);
    }
}

void token_answer(struct call *call, struct cw_sbx_tokens *tokens, enum token_occasion occasion)
{
    CW_AUTO_STR access, refresh;
    cw_str_init_secret(&access, 8192);
    cw_str_init_secret(&refresh, 512);
    struct cw_err err = { 0 };
    if (plays(call, CW_SBX_QUIRK_SHORT_LIFE) && tokens->lifetime_us > SHORT_LIFE_S * CW_SECOND_US) {
        tokens->lifetime_us = SHORT_LIFE_S * CW_SECOND_US;
    }
    tokens->text = access_text(call, tokens);
    if (cw_sbx_tokens_issue(call->hospital->state, call->view.grant, tokens, &access, &refresh, &err) != CW_OK) {
        token_error(call, 400, "invalid_grant", "The grant is not valid any more.");
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(call->reply));
    cw_jsonw_open_object(&w);
    token_member(call, &w, "access_token", cw_str_span(&access));
    token_type(call, &w);
    lifetime(call, &w, tokens->lifetime_us / CW_SECOND_US);
    scope(call, &w, tokens->scope.ptr == NULL ? call->view.scope : tokens->scope);
    if (refresh.len > 0) {
        token_member(call, &w, "refresh_token", cw_str_span(&refresh));
    }
    grant_end(call, &w);
    who(call, &w, occasion);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(call->reply, &call->faults, plays(call, CW_SBX_QUIRK_AS_HTML) ? "text/html; charset=utf-8" : "application/json");
}
