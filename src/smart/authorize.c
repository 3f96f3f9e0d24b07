/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization URL. The endpoint's own query is kept pair by pair, except where it names a parameter that is ours. */
#include "config.h"

#include "smart/authorize.h"

#include "base/limits.h"
#include "base/text.h"
#include "net/url.h"
#include "os/sys.h"
#include "smart/scope.h"
#include "vault/vault.h"

enum cw_code cw_pkce_verifier(struct cw_secret *ret_verifier)
{
    uint8_t random[32];
    cw_random(random, sizeof random);
    CW_AUTO_STR text;
    cw_str_init_secret(&text, CW_PKCE_TEXT);
    enum cw_code rc = cw_base64url_encode(cw_span_of(random, sizeof random), &text);
    cw_wipe(random, sizeof random);
    return rc == CW_OK ? cw_secret_set(ret_verifier, cw_str_span(&text)) : rc;
}

enum cw_code cw_pkce_challenge(struct cw_span verifier, struct cw_str *out)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(verifier, hash);
    return cw_base64url_encode(cw_span_of(hash, sizeof hash), out);
}

static bool is_ours(struct cw_span name)
{
    static const char *const names[] = { "response_type", "client_id", "redirect_uri", "scope", "state", "aud",
                                         "code_challenge", "code_challenge_method", "nonce" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_span_eq_cstr(name, names[i])) {
            return true;
        }
    }
    return false;
}

static void keep_query(struct cw_span query, struct cw_str *out)
{
    struct cw_span pair;
    bool more = query.len > 0;
    while (more) {
        more = cw_span_cut(&query, '&', &pair);
        struct cw_span name = cw_span_upto(pair, cw_span_find(pair, '='));
        if (pair.len > 0 && !is_ours(name)) {
            (void)cw_str_add_cstr(out, out->len > 0 ? "&" : "");
            (void)cw_str_add_span(out, pair);
        }
    }
}

static enum cw_code add_aud(const struct cw_authorize *a, struct cw_str *query)
{
    CW_AUTO_STR aud;
    cw_str_init(&aud, CW_URL_MAX + 1);
    struct cw_span text = a->aud;
    while (a->profile->aud_slash == CW_AUD_STRIP && cw_span_ends(text, CW_SPAN("/"))) {
        text.len--;
    }
    (void)cw_str_add_span(&aud, text);
    if (a->profile->aud_slash == CW_AUD_ADD && !cw_span_ends(text, CW_SPAN("/"))) {
        (void)cw_str_add_char(&aud, '/');
    }
    enum cw_code rc = cw_str_code(&aud);
    return rc == CW_OK ? cw_form_add(query, "aud", cw_str_span(&aud)) : rc;
}

static enum cw_code add_parameters(const struct cw_authorize *a, struct cw_str *query)
{
    (void)cw_form_add(query, "response_type", CW_SPAN("code"));
    (void)cw_form_add(query, "client_id", a->client_id);
    (void)cw_form_add(query, "redirect_uri", a->redirect_uri);
    (void)cw_form_add(query, "scope", a->scope);
    (void)cw_form_add(query, "state", a->state);
    enum cw_code rc = a->profile->send_aud ? add_aud(a, query) : CW_OK;
    if (rc != CW_OK) {
        return rc;
    }
    if (a->profile->pkce) {
        CW_AUTO_STR challenge;
        cw_str_init(&challenge, CW_PKCE_TEXT);
        rc = cw_pkce_challenge(a->verifier, &challenge);
        if (rc != CW_OK) {
            return rc;
        }
        (void)cw_form_add(query, "code_challenge", cw_str_span(&challenge));
        (void)cw_form_add(query, "code_challenge_method", CW_SPAN("S256"));
    }
    if (a->profile->send_nonce && a->nonce.ptr != NULL && cw_scope_has(a->scope, CW_SPAN("openid"))) {
        (void)cw_form_add(query, "nonce", a->nonce);
    }
    return cw_str_code(query);
}

enum cw_code cw_smart_authorize_url(const struct cw_authorize *authorize, struct cw_str *out, struct cw_err *err)
{
    struct cw_url *checked = NULL;
    struct cw_span text = cw_span_cstr(authorize->authorization_endpoint);
    enum cw_code rc = cw_url_parse(text, &checked, err);
    if (rc != CW_OK) {
        return rc;
    }
    cw_url_free(checked);
    text = cw_span_upto(text, cw_span_find(text, '#'));
    size_t mark = cw_span_find(text, '?');
    struct cw_span place = cw_span_upto(text, mark);
    if (authorize->profile->strip_authorize_slash && cw_span_ends(place, CW_SPAN("/"))) {
        place.len--;
    }
    CW_AUTO_STR query;
    cw_str_init(&query, CW_AUTHORIZE_URL_MAX);
    keep_query(cw_span_from(text, mark + 1), &query);
    rc = add_parameters(authorize, &query);
    CW_AUTO_STR url;
    cw_str_init(&url, CW_AUTHORIZE_URL_MAX);
    (void)cw_str_add_span(&url, place);
    (void)cw_str_add_char(&url, '?');
    if (rc == CW_OK) {
        rc = cw_str_add_span(&url, cw_str_span(&query));
    }
    if (rc == CW_OK) {
        rc = cw_str_add_span(out, cw_str_span(&url));
    }
    return rc == CW_OK ? rc : cw_err_set(err, rc, "authorize", "the authorization URL cannot be built");
}
