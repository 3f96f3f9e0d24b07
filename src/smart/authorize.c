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
    bool slash = a->profile->aud_slash == CW_AUD_ADD || cw_span_ends(text, CW_SPAN("/"));
    while (cw_span_ends(text, CW_SPAN("/")) && (a->aud_toggled || a->profile->aud_slash == CW_AUD_ADD)) {
        text.len--;
    }
    slash = slash != a->aud_toggled;
    (void)cw_str_add_span(&aud, text);
    if (slash && !cw_span_ends(text, CW_SPAN("/"))) {
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

/* The endpoint without fragment and query, and its own query as far as it is kept. */
static enum cw_code take_apart(const struct cw_authorize *authorize, struct cw_span *ret_place, struct cw_str *kept, struct cw_err *err)
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
    *ret_place = place;
    keep_query(cw_span_from(text, mark + 1), kept);
    return CW_OK;
}

static void join(struct cw_span place, const struct cw_str *kept, const struct cw_str *query, struct cw_str *url)
{
    (void)cw_str_add_span(url, place);
    (void)cw_str_add_cstr(url, kept->len > 0 || query->len > 0 ? "?" : "");
    (void)cw_str_add_span(url, cw_str_span(kept));
    (void)cw_str_add_cstr(url, kept->len > 0 && query->len > 0 ? "&" : "");
    (void)cw_str_add_span(url, cw_str_span(query));
}

void cw_authorize_form_init(struct cw_authorize_form *form)
{
    cw_str_init_secret(&form->action, CW_AUTHORIZE_URL_MAX);
    cw_str_init_secret(&form->body, CW_AUTHORIZE_URL_MAX);
}

void cw_authorize_form_release(struct cw_authorize_form *form)
{
    cw_str_release(&form->action);
    cw_str_release(&form->body);
}

static bool by_post(enum cw_authorize_via via, bool advertised, size_t url_len)
{
    return via == CW_VIA_POST || (via == CW_VIA_AUTO && advertised && url_len > CW_AUTHORIZE_GET_MAX);
}

enum cw_code cw_smart_authorize_form(const struct cw_authorize *authorize, bool post_advertised, struct cw_authorize_form *ret_form,
                                     struct cw_err *err)
{
    struct cw_span place;
    CW_AUTO_STR kept;
    CW_AUTO_STR query;
    CW_AUTO_STR none;
    cw_str_init(&kept, CW_AUTHORIZE_URL_MAX);
    cw_str_init_secret(&query, CW_AUTHORIZE_URL_MAX);
    cw_str_init(&none, 1);
    enum cw_code rc = take_apart(authorize, &place, &kept, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = add_parameters(authorize, &query);
    bool post = by_post(authorize->profile->authorize_via, post_advertised, place.len + kept.len + query.len + 2);
    cw_str_clear(&ret_form->action);
    cw_str_clear(&ret_form->body);
    join(place, &kept, post ? &none : &query, &ret_form->action);
    if (post) {
        (void)cw_str_add_span(&ret_form->body, cw_str_span(&query));
    }
    rc = rc != CW_OK ? rc : cw_str_code(&kept) != CW_OK ? cw_str_code(&kept) : cw_str_code(&ret_form->action);
    rc = rc != CW_OK ? rc : cw_str_code(&ret_form->body);
    return rc == CW_OK ? rc : cw_err_set(err, rc, "authorize", "the authorization request cannot be built");
}

enum cw_code cw_smart_authorize_url(const struct cw_authorize *authorize, struct cw_str *out, struct cw_err *err)
{
    struct cw_profile by_get = *authorize->profile;
    struct cw_authorize plain = *authorize;
    struct cw_authorize_form form;
    by_get.authorize_via = CW_VIA_GET;
    plain.profile = &by_get;
    cw_authorize_form_init(&form);
    enum cw_code rc = cw_smart_authorize_form(&plain, false, &form, err);
    if (rc == CW_OK) {
        rc = cw_str_add_span(out, cw_str_span(&form.action));
    }
    cw_authorize_form_release(&form);
    return rc;
}

/* ---- on the way back */

/* "aud" or "audience" as a word of its own; "fraud" is none. */
static bool speaks_of_aud(struct cw_span text)
{
    static const char *const words[] = { "aud", "audience" };
    for (size_t at = 0; at < text.len;) {
        size_t end = at;
        while (end < text.len && ((text.ptr[end] | 0x20) >= 'a' && (text.ptr[end] | 0x20) <= 'z')) {
            end++;
        }
        struct cw_span word = cw_span_of(text.ptr + at, end - at);
        for (size_t i = 0; i < CW_ARRAY_LEN(words); i++) {
            if (cw_span_eq_nocase(word, cw_span_cstr(words[i]))) {
                return true;
            }
        }
        at = end == at ? at + 1 : end;
    }
    return false;
}

bool cw_authorize_lesson(struct cw_span error, struct cw_span description, enum cw_lesson *ret_lesson)
{
    if (cw_span_eq_cstr(error, "invalid_scope")) {
        *ret_lesson = CW_LESSON_SCOPE_REFUSED;
        return true;
    }
    if (cw_span_eq_cstr(error, "invalid_request") && speaks_of_aud(description)) {
        *ret_lesson = CW_LESSON_AUD_REFUSED;
        return true;
    }
    return false;
}
