/* SPDX-License-Identifier: Apache-2.0 */
/* The registration of a client for one grant, and the grant by its assertions. */
#include "config.h"

#include "smart/register.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/dynamic_client.h"
#include "model/refresh.h"
#include "net/url.h"
#include "os/sys.h"
#include "smart/token_int.h"

#define REGISTER_MS 15000 /* a browser waits */
#define ANSWER_MAX 65536u
#define TRIES 2u
#define GRANT_TYPE "urn:ietf:params:oauth:grant-type:jwt-bearer"

void cw_registered_init(struct cw_registered *registered)
{
    registered->key = NULL;
    cw_str_init(&registered->client_id, CW_CLIENT_ID_MAX);
}

void cw_registered_release(struct cw_registered *registered)
{
    cw_signing_key_free(registered->key);
    registered->key = NULL;
    cw_str_release(&registered->client_id);
}

/* ---- where */

/* "…/oauth2/token" → "…/oauth2/register": Epic names it in no document. */
static void add_sibling(const char *token_endpoint, struct cw_str *out)
{
    struct cw_span url = cw_span_upto(cw_span_cstr(token_endpoint), strcspn(token_endpoint, "?#"));
    while (cw_span_ends(url, CW_SPAN("/"))) {
        url.len--;
    }
    while (url.len > 0 && !cw_span_ends(url, CW_SPAN("/"))) {
        url.len--;
    }
    (void)cw_str_add_span(out, url);
    (void)cw_str_add_cstr(out, "register");
}

enum cw_code cw_register_url(const struct cw_pinned *pinned, struct cw_place_hosts hosts, struct cw_str *out,
                             struct cw_err *err)
{
    if (pinned->registration_endpoint[0] != '\0') {
        (void)cw_str_add_cstr(out, pinned->registration_endpoint);
    } else {
        add_sibling(pinned->token_endpoint, out);
    }
    enum cw_code rc = cw_str_code(out);
    if (rc != CW_OK) {
        return cw_err_set(err, rc == CW_E_OOM ? rc : CW_E_SYNTAX, "register", "no URL to register at");
    }
    return cw_place_listed(cw_str_cstr(out), hosts)
               ? CW_OK
               : cw_err_set(err, CW_E_BLOCKED, "register", "the client registration does not list the host to register at");
}

/* ---- registering */

static enum cw_code write_body(const struct cw_register_ask *ask, const struct cw_signing_key *key, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "software_id", ask->software_id);
    cw_jsonw_key(&w, "jwks");
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    (void)cw_signing_key_jwk(key, &w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

enum cw_code cw_register_answer(long status, struct cw_span body, struct cw_str *ret_client_id, struct cw_err *err)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { ANSWER_MAX, CW_JSON_DEPTH_MAX, CW_JSON_DUPLICATES_TOO };
    if (status == 401 || status == 403 || status == 404 || status == 405) {
        return cw_err_sys(err, CW_E_UNSUPPORTED, (int)status, "register", "not offered (status %ld)", status);
    }
    if (status == 408 || status == 429 || status >= 500) {
        return cw_err_sys(err, CW_E_UNAVAILABLE, (int)status, "register", "busy (status %ld)", status);
    }
    enum cw_code rc = cw_json_parse(cw_span_trim(body), limits, &root, NULL);
    if (rc == CW_E_OOM) {
        return cw_err_set(err, rc, "register", "out of memory");
    }
    struct cw_span id = cw_json_peek_text(root, "client_id");
    bool good = status >= 200 && status <= 299 && id.len > 0 && id.len <= CW_CLIENT_ID_MAX && !cw_utf8_has_control(id);
    if (!good) {
        return cw_err_sys(err, CW_E_UPSTREAM, (int)status, "register", "no client_id (status %ld)", status);
    }
    cw_str_clear(ret_client_id);
    return cw_str_add_span(ret_client_id, id);
}

static enum cw_code post(struct cw_http *http, const char *url, const struct cw_register_ask *ask, struct cw_span body,
                         struct cw_str *ret_client_id, struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = {
        .method = CW_HTTP_POST,
        .url = url,
        .body = body,
        .content_type = "application/json",
        .bearer = ask->access_token,
        .body_max = ANSWER_MAX,
        .total_ms = REGISTER_MS,
    };
    enum cw_code rc = cw_http_perform(http, &request, &response, err);
    if (rc == CW_OK) {
        rc = cw_register_answer(response.status, cw_str_span(&response.body), ret_client_id, err);
    }
    cw_http_response_release(&response);
    return rc;
}

enum cw_code cw_smart_register(struct cw_http *http, const struct cw_register_ask *ask, struct cw_registered *ret,
                               struct cw_err *err)
{
    CW_AUTO_STR url;
    CW_AUTO_STR body;
    cw_str_init(&url, CW_URL_MAX);
    cw_str_init(&body, CW_TOKEN_MAX);
    struct cw_signing_key *key = NULL;
    enum cw_code rc = cw_register_url(ask->pinned, ask->hosts, &url, err);
    if (rc == CW_OK) {
        rc = cw_signing_key_make(CW_ALG_RS384, &key, err);
    }
    if (rc == CW_OK) {
        rc = write_body(ask, key, &body);
    }
    bool again = rc == CW_OK;
    for (unsigned i = 0; again && i < TRIES; i++) {
        rc = post(http, cw_str_cstr(&url), ask, cw_str_span(&body), &ret->client_id, err);
        again = rc == CW_E_UNAVAILABLE || rc == CW_E_TIMEOUT;
    }
    if (rc != CW_OK) {
        cw_signing_key_free(key);
        return rc;
    }
    ret->key = key;
    return CW_OK;
}

/* ---- the grant by assertion */

static enum cw_code write_form(const struct cw_smart_bearer *bearer, struct cw_str *form, struct cw_err *err)
{
    struct cw_assertion assertion = {
        .client_id = bearer->client_id,
        .audience = cw_span_cstr(bearer->token_endpoint),
        .now_us = cw_now_us(),
        .lifetime_us = CW_ASSERTION_LIFETIME_US,
    };
    CW_AUTO_STR jwt;
    cw_str_init_secret(&jwt, CW_TOKEN_MAX);
    enum cw_code rc = cw_assertion_sign(bearer->key, &assertion, &jwt, err);
    if (rc == CW_OK) {
        (void)cw_form_add(form, "grant_type", CW_SPAN(GRANT_TYPE));
        (void)cw_form_add(form, "assertion", cw_str_span(&jwt));
        rc = cw_str_code(form);
    }
    return rc;
}

enum cw_token_outcome cw_smart_bearer(struct cw_http *http, const struct cw_profile *profile,
                                      const struct cw_smart_bearer *bearer, struct cw_smart_grant *grant, struct cw_err *err)
{
    const struct cw_smart_client client = { .profile = profile, .auth = CW_AUTH_NONE, .client_id = bearer->client_id };
    const struct cw_token_place place = { "assertion", bearer->token_endpoint, CW_REFRESH_REQUEST_MS };
    CW_AUTO_STR form;
    cw_str_init_secret(&form, CW_TOKEN_BODY_MAX);
    return write_form(bearer, &form, err) == CW_OK ? cw_token_ask(http, &client, &place, &form, grant, err)
                                                   : CW_TOKEN_NOT_SENT;
}
