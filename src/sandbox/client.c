/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations and the four ways in which an app proves to be one of them. */
#include "config.h"
#include "sandbox/client.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/jose.h"

#define CLIENT_TEXT_MAX 256u
#define REDIRECTS_MAX 16u
#define REGISTRATION_MAX 65536u
#define ASSERTION_SECONDS_MAX 300 /* SMART asymmetric: exp no more than five minutes ahead */
#define CLOCK_SLACK_S 60

struct cw_sbx_client {
    json_t *object;
    const char *id, *name, *secret, *jwks_file, *jwks_uri, *alg, *grant;
    enum cw_sbx_auth auth;
    json_t *jwks; /* borrowed from object; NULL */
    char *redirects[REDIRECTS_MAX];
    size_t redirect_count;
    char *folder;
};

static const char *const auth_names[CW_SBX_AUTH__COUNT] = {
    [CW_SBX_AUTH_NONE] = "none",
    [CW_SBX_AUTH_BASIC] = "client_secret_basic",
    [CW_SBX_AUTH_POST] = "client_secret_post",
    [CW_SBX_AUTH_JWT] = "private_key_jwt",
};

static const char defaults[] =
    "[{\"client_id\":\"chartway-sandbox\",\"auth\":\"none\",\"name\":\"Chartway\",\"redirect_folder\":\"{origin}/callback/\"},"
    "{\"client_id\":\"chartway-sandbox-basic\",\"auth\":\"client_secret_basic\",\"name\":\"Chartway (basic)\",\"secret\":"
    "\"sandbox-basic-secret\",\"redirect_folder\":\"{origin}/callback/\"},"
    "{\"client_id\":\"chartway-sandbox-post\",\"auth\":\"client_secret_post\",\"name\":\"Chartway (post)\",\"secret\":"
    "\"sandbox-post-secret\",\"redirect_folder\":\"{origin}/callback/\"}]";

void cw_sbx_client_free(struct cw_sbx_client *client)
{
    if (client == NULL) {
        return;
    }
    for (size_t i = 0; i < client->redirect_count; i++) {
        free(client->redirects[i]);
    }
    free(client->folder);
    json_decref(client->object);
    free(client);
}

static enum cw_code wrong(struct cw_err *err, enum cw_code code, const char *text)
{
    return cw_err_set(err, code, "sandbox.client", "%s", text);
}

/* "{origin}/x" with the origin put in. NULL when out of memory or over-long. */
static char *with_origin(struct cw_span uri, struct cw_span origin)
{
    static const struct cw_span place = { "{origin}", 8 };
    CW_AUTO_STR out;
    cw_str_init(&out, CW_URL_MAX);
    if (cw_span_starts(uri, place)) {
        cw_str_add_span(&out, origin);
        uri = cw_span_from(uri, place.len);
    }
    cw_str_add_span(&out, uri);
    return cw_str_code(&out) == CW_OK ? cw_str_take(&out) : NULL;
}

static enum cw_code take_redirects(struct cw_sbx_client *client, struct cw_span origin, struct cw_err *err)
{
    const json_t *list = json_object_get(client->object, "redirect_uris");
    struct cw_span folder = cw_json_peek_text(client->object, "redirect_folder");
    if (list != NULL && (!json_is_array(list) || json_array_size(list) > REDIRECTS_MAX)) {
        return wrong(err, CW_E_KIND, "redirect_uris is not a short array");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *uri = json_string_value(json_array_get(list, i));
        if (uri == NULL) {
            return wrong(err, CW_E_KIND, "a redirect URI is not a text");
        }
        char *copy = with_origin(cw_span_cstr(uri), origin);
        if (copy == NULL) {
            return wrong(err, CW_E_TOO_BIG, "a redirect URI is too long");
        }
        client->redirects[client->redirect_count++] = copy;
    }
    if (folder.ptr != NULL) {
        client->folder = with_origin(folder, origin);
        if (client->folder == NULL || !cw_span_ends(cw_span_cstr(client->folder), CW_SPAN("/"))) {
            return wrong(err, CW_E_RANGE, "redirect_folder does not end in a slash");
        }
    }
    return client->redirect_count == 0 && client->folder == NULL && client->grant == NULL ? wrong(err, CW_E_MISSING, "no redirect URI") : CW_OK;
}

static enum cw_code take_auth(struct cw_sbx_client *client, struct cw_err *err)
{
    struct cw_span auth;
    enum cw_code rc = cw_json_text(client->object, "auth", &auth, err);
    if (rc != CW_OK) {
        return rc;
    }
    unsigned at = 0;
    while (at < CW_SBX_AUTH__COUNT && !cw_span_eq_cstr(auth, auth_names[at])) {
        at++;
    }
    if (at == CW_SBX_AUTH__COUNT) {
        return wrong(err, CW_E_RANGE, "an unknown way of client authentication");
    }
    client->auth = (enum cw_sbx_auth)at;
    client->secret = json_string_value(json_object_get(client->object, "secret"));
    client->jwks = json_object_get(client->object, "jwks");
    client->jwks_file = json_string_value(json_object_get(client->object, "jwks_file"));
    client->jwks_uri = json_string_value(json_object_get(client->object, "jwks_uri"));
    client->grant = json_string_value(json_object_get(client->object, "grant"));
    client->alg = json_string_value(json_object_get(client->object, "alg"));
    const json_t *personalities = json_object_get(client->object, "personalities");
    if (personalities != NULL && !json_is_array(personalities)) {
        return wrong(err, CW_E_KIND, "personalities is not an array");
    }
    bool needs_secret = client->auth == CW_SBX_AUTH_BASIC || client->auth == CW_SBX_AUTH_POST;
    if (needs_secret && (client->secret == NULL || client->secret[0] == '\0')) {
        return wrong(err, CW_E_MISSING, "a client with a secret needs one");
    }
    if (client->auth == CW_SBX_AUTH_JWT && !json_is_object(client->jwks) && client->jwks_file == NULL && client->jwks_uri == NULL) {
        return wrong(err, CW_E_MISSING, "private_key_jwt needs jwks, jwks_file or jwks_uri");
    }
    return CW_OK;
}

enum cw_code cw_sbx_client_new(const json_t *object, struct cw_span origin, struct cw_sbx_client **ret_client, struct cw_err *err)
{
    struct cw_sbx_client *client = calloc(1, sizeof(*client));
    if (client == NULL || (client->object = json_deep_copy(object)) == NULL) {
        free(client);
        return wrong(err, CW_E_OOM, "out of memory");
    }
    struct cw_span id;
    enum cw_code rc = cw_json_text(client->object, "client_id", &id, err);
    if (rc == CW_OK && (id.len == 0 || id.len > CLIENT_TEXT_MAX || cw_span_find(id, ':') < id.len)) {
        rc = wrong(err, CW_E_RANGE, "a client_id is empty, too long or has a colon");
    }
    if (rc == CW_OK) {
        rc = take_auth(client, err);
    }
    if (rc == CW_OK) {
        rc = take_redirects(client, origin, err);
    }
    if (rc != CW_OK) {
        cw_sbx_client_free(client);
        return rc;
    }
    const char *name = json_string_value(json_object_get(client->object, "name"));
    client->id = json_string_value(json_object_get(client->object, "client_id"));
    client->name = name == NULL ? client->id : name;
    *ret_client = client;
    return CW_OK;
}

enum cw_code cw_sbx_clients_default(json_t **ret_array, struct cw_err *err)
{
    struct cw_json_limits limits = { .max_bytes = REGISTRATION_MAX, .max_depth = 8, .flags = CW_JSON_ARRAY_TOO };
    return cw_json_parse(cw_span_of(defaults, sizeof(defaults) - 1), limits, ret_array, err);
}

const char *cw_sbx_client_id(const struct cw_sbx_client *client)
{
    return client->id;
}

const char *cw_sbx_client_name(const struct cw_sbx_client *client)
{
    return client->name;
}

enum cw_sbx_auth cw_sbx_client_auth(const struct cw_sbx_client *client)
{
    return client->auth;
}

const char *cw_sbx_client_jwks_uri(const struct cw_sbx_client *client)
{
    return client->jwks_uri;
}

const char *cw_sbx_client_grant(const struct cw_sbx_client *client)
{
    return client->grant;
}

const json_t *cw_sbx_client_json(const struct cw_sbx_client *client)
{
    return client->object;
}

bool cw_sbx_client_known_to(const struct cw_sbx_client *client, const char *personality, bool own)
{
    const json_t *list = json_object_get(client->object, "personalities");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && strcmp(name, personality) == 0) {
            return true;
        }
    }
    return list == NULL && !own;
}

static bool is_one_segment(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_')) {
            return false;
        }
    }
    return text.len > 0;
}

bool cw_sbx_client_redirects_to(const struct cw_sbx_client *client, struct cw_span uri)
{
    for (size_t i = 0; i < client->redirect_count; i++) {
        if (cw_span_eq_cstr(uri, client->redirects[i])) {
            return true;
        }
    }
    struct cw_span folder = cw_span_cstr(client->folder);
    return folder.len > 0 && cw_span_starts(uri, folder) && is_one_segment(cw_span_from(uri, folder.len));
}

/* --- proof --- */

/* A form-encoder would not have let these through. */
static bool has_unencoded(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("!\"#$&'(),/:;<=>?@[]^`{|}~", text.ptr[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static enum cw_code read_basic(struct cw_span header, struct cw_arena *arena, struct cw_sbx_credentials *ret)
{
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, 4096);
    if (cw_base64_decode(cw_span_trim(cw_span_from(header, 6)), &plain) != CW_OK) {
        return CW_E_SYNTAX;
    }
    struct cw_span both = cw_arena_span(arena, cw_str_span(&plain)), raw[2];
    if (both.ptr == NULL) {
        return CW_E_OOM;
    }
    raw[1] = both;
    if (!cw_span_cut(&raw[1], ':', &raw[0])) {
        return CW_E_SYNTAX;
    }
    struct cw_span *fields[2] = { &ret->id, &ret->secret };
    ret->raw_id = raw[0];
    ret->raw_secret = raw[1];
    ret->decodes = true;
    for (size_t i = 0; i < 2; i++) { /* RFC 6749 2.3.1: each form-encoded first; SMART's plain form has nothing to decode */
        CW_AUTO_STR text;
        cw_str_init_secret(&text, 4096);
        bool good = cw_percent_decode(raw[i], true, &text) == CW_OK;
        bool decoded = good && cw_span_find(raw[i], '%') < raw[i].len;
        ret->decodes = ret->decodes && good && !has_unencoded(raw[i]);
        *fields[i] = decoded ? cw_arena_span(arena, cw_str_span(&text)) : raw[i];
    }
    ret->auth = CW_SBX_AUTH_BASIC;
    return CW_OK;
}

enum cw_code cw_sbx_credentials_read(struct cw_span authorization, const struct cw_sbx_params *form, struct cw_arena *arena,
                                     struct cw_sbx_credentials *ret, struct cw_err *err)
{
    struct cw_sbx_credentials c = { .auth = CW_SBX_AUTH_NONE, .id = cw_sbx_param(form, "client_id") };
    struct cw_span secret = cw_sbx_param(form, "client_secret"), assertion = cw_sbx_param(form, "client_assertion");
    unsigned ways = (authorization.len > 0 ? 1u : 0u) + (secret.ptr != NULL ? 1u : 0u) + (assertion.ptr != NULL ? 1u : 0u);
    if (ways > 1) {
        return wrong(err, CW_E_CONFLICT, "two ways of client authentication at once");
    }
    if (authorization.len > 0) {
        if (!cw_span_eq_nocase(cw_span_upto(authorization, 6), CW_SPAN("Basic ")) ||
            read_basic(authorization, arena, &c) != CW_OK) {
            return wrong(err, CW_E_SYNTAX, "a broken Authorization header");
        }
    } else if (secret.ptr != NULL) {
        c.auth = CW_SBX_AUTH_POST;
        c.secret = secret;
    } else if (assertion.ptr != NULL) {
        json_t *claims = NULL;
        if (!cw_span_eq_cstr(cw_sbx_param(form, "client_assertion_type"),
                             "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") ||
            cw_jws_peek(assertion, &claims, NULL) != CW_OK) {
            return wrong(err, CW_E_SYNTAX, "a broken client assertion");
        }
        c.auth = CW_SBX_AUTH_JWT;
        c.assertion = assertion;
        c.id = cw_arena_span(arena, cw_json_peek_text(claims, "sub"));
        json_decref(claims);
    }
    if (c.id.len == 0) {
        return wrong(err, CW_E_MISSING, "no client named");
    }
    *ret = c;
    return CW_OK;
}

static bool audience_is(const json_t *claims, struct cw_span audience)
{
    const json_t *aud = json_object_get(claims, "aud");
    if (json_is_string(aud)) {
        return cw_span_eq_cstr(audience, json_string_value(aud));
    }
    for (size_t i = 0; i < json_array_size(aud); i++) {
        const char *one = json_string_value(json_array_get(aud, i));
        if (one != NULL && cw_span_eq_cstr(audience, one)) {
            return true;
        }
    }
    return false;
}

static enum cw_code check_claims(const struct cw_sbx_client *client, const json_t *claims, struct cw_span audience,
                                 struct cw_arena *arena, struct cw_span *ret_jti, int64_t *ret_until_us, struct cw_err *err)
{
    struct cw_span iss = cw_json_peek_text(claims, "iss"), sub = cw_json_peek_text(claims, "sub");
    struct cw_span jti = cw_json_peek_text(claims, "jti");
    const json_t *exp = json_object_get(claims, "exp");
    int64_t now_s = cw_now_us() / CW_SECOND_US, exp_s = json_is_integer(exp) ? json_integer_value(exp) : 0;
    if (!cw_span_eq_cstr(iss, client->id) || !cw_span_eq_cstr(sub, client->id) || !audience_is(claims, audience)) {
        return wrong(err, CW_E_AUTH, "an assertion with another iss, sub or aud");
    }
    if (exp_s <= now_s - CLOCK_SLACK_S || exp_s > now_s + ASSERTION_SECONDS_MAX + CLOCK_SLACK_S) {
        return wrong(err, CW_E_AUTH, "an assertion that has expired or lives too long");
    }
    if (jti.len == 0 || jti.len > CLIENT_TEXT_MAX) {
        return wrong(err, CW_E_AUTH, "an assertion without a fitting jti");
    }
    *ret_jti = cw_arena_span(arena, jti);
    *ret_until_us = (exp_s + CLOCK_SLACK_S) * CW_SECOND_US;
    return ret_jti->ptr == NULL ? wrong(err, CW_E_OOM, "out of memory") : CW_OK;
}

bool cw_sbx_assertion_is(struct cw_span assertion, const char *alg)
{
    CW_AUTO_STR header;
    CW_AUTO_JSON *root = NULL;
    struct cw_span head;
    struct cw_json_limits limits = { .max_bytes = 4096, .max_depth = 4 };
    cw_str_init(&header, 4096);
    return cw_span_cut(&assertion, '.', &head) && cw_base64url_decode(head, &header) == CW_OK &&
           cw_json_parse(cw_str_span(&header), limits, &root, NULL) == CW_OK &&
           cw_span_eq_cstr(cw_json_peek_text(root, "alg"), alg);
}

static enum cw_code check_assertion(const struct cw_sbx_client *client, const struct cw_sbx_credentials *credentials, struct cw_span audience,
                                    struct cw_arena *arena, struct cw_span *ret_jti, int64_t *ret_until_us, struct cw_err *err)
{
    CW_AUTO_STR file;
    CW_AUTO_JSON *read = NULL, *claims = NULL;
    cw_str_init(&file, CW_JWKS_MAX);
    struct cw_span assertion = credentials->assertion;
    const json_t *jwks = credentials->jwks != NULL ? credentials->jwks : client->jwks;
    enum cw_code rc = CW_OK;
    if (client->jwks_file != NULL) { /* read anew each time: the app may have turned its keys over */
        struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = 8 };
        rc = cw_file_read(client->jwks_file, false, &file, err);
        rc = rc == CW_OK ? cw_json_parse(cw_str_span(&file), limits, &read, err) : rc;
        jwks = read;
    }
    if (rc == CW_OK && client->alg != NULL && !cw_sbx_assertion_is(assertion, client->alg)) {
        return wrong(err, CW_E_AUTH, "an assertion of another algorithm than registered");
    }
    if (rc == CW_OK) {
        rc = cw_jws_verify(assertion, jwks, &claims, err);
    }
    return rc == CW_OK ? check_claims(client, claims, audience, arena, ret_jti, ret_until_us, err) : CW_E_AUTH;
}

enum cw_code cw_sbx_client_check(const struct cw_sbx_client *client, const struct cw_sbx_credentials *credentials,
                                 struct cw_span audience, struct cw_arena *arena, struct cw_span *ret_jti,
                                 int64_t *ret_until_us, struct cw_err *err)
{
    *ret_jti = (struct cw_span){ NULL, 0 };
    *ret_until_us = 0;
    if (credentials->auth != client->auth) {
        return wrong(err, CW_E_AUTH, "another way of client authentication than registered");
    }
    switch (client->auth) {
    case CW_SBX_AUTH_BASIC:
    case CW_SBX_AUTH_POST:
        return cw_secret_eq(credentials->secret, cw_span_cstr(client->secret)) ? CW_OK : wrong(err, CW_E_AUTH, "a wrong secret");
    case CW_SBX_AUTH_JWT:
        return check_assertion(client, credentials, audience, arena, ret_jti, ret_until_us, err);
    case CW_SBX_AUTH_NONE:
    case CW_SBX_AUTH__COUNT:
        break;
    }
    return CW_OK;
}
