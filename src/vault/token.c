/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys and state tokens. libjwt makes and checks the HS256 signature and nothing else: it takes alg from the token and
 * treats a missing key as "no check", so everything around the signature is looked at here, before libjwt sees a byte.
 */
#include "config.h"

#include "vault/token.h"

#include <jwt.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "vault/vault_int.h"

#define JTI_LEN 32
#define OPAQUE_TEXT 43      /* base64url of 32 bytes */
#define STATE_TEXT_MAX 512  /* design 13; portals cut longer ones */
#define JWS_MAX 1024
#define HEADER_MAX 256
#define CLAIMS_MAX 768
#define JWT_DEPTH 4
#define API_AUDIENCE "api"

static const struct cw_json_limits header_limits = { .max_bytes = HEADER_MAX, .max_depth = JWT_DEPTH };
static const struct cw_json_limits claims_limits = { .max_bytes = CLAIMS_MAX, .max_depth = JWT_DEPTH };

static void jwt_auto_free(jwt_t **jwt)
{
    jwt_free(*jwt);
}
#define AUTO_JWT CW_CLEANUP(jwt_auto_free) jwt_t

/* A new identifier and its hash. The text is base64url, as it stands in the claim. */
static enum cw_code jti_make(struct cw_str *text, uint8_t ret_hash[CW_HASH_LEN])
{
    uint8_t jti[JTI_LEN];
    cw_random(jti, sizeof jti);
    cw_sha256(cw_span_of(jti, sizeof jti), ret_hash);
    enum cw_code rc = cw_base64url_encode(cw_span_of(jti, sizeof jti), text);
    cw_wipe(jti, sizeof jti);
    return rc;
}

static bool jti_hash(struct cw_span text, uint8_t ret_hash[CW_HASH_LEN])
{
    CW_AUTO_STR jti;
    cw_str_init_secret(&jti, JTI_LEN);
    if (text.len != OPAQUE_TEXT || cw_base64url_decode(text, &jti) != CW_OK || jti.len != JTI_LEN) {
        return false;
    }
    cw_sha256(cw_str_span(&jti), ret_hash);
    return true;
}

/* What goes into a token: `sub` (NULL: none) and `exp` (0: none) beside aud and jti. */
struct claims {
    const char *aud;
    const char *sub;
    const char *jti;
    int64_t exp_s;
};

static bool claims_fill(jwt_t *jwt, const struct claims *claims, const uint8_t *key, const char *kid)
{
    return jwt_set_alg(jwt, JWT_ALG_HS256, key, 32) == 0 && jwt_add_header(jwt, "kid", kid) == 0 &&
           jwt_add_grant(jwt, "aud", claims->aud) == 0 && jwt_add_grant(jwt, "jti", claims->jti) == 0 &&
           (claims->sub == NULL || jwt_add_grant(jwt, "sub", claims->sub) == 0) &&
           (claims->exp_s == 0 || jwt_add_grant_int(jwt, "exp", (long)claims->exp_s) == 0);
}

static enum cw_code jws_sign(const struct cw_vault *vault, enum cw_purpose purpose, const struct claims *claims,
                             struct cw_str *out, struct cw_err *err)
{
    const char *kid;
    const uint8_t *key = cw_purpose_active(vault, purpose, &kid);
    AUTO_JWT *jwt = NULL;
    if (jwt_new(&jwt) != 0 || !claims_fill(jwt, claims, key, kid)) {
        return cw_err_set(err, CW_E_OOM, "token", "libjwt cannot build the token");
    }
    char *text = jwt_encode_str(jwt);
    if (text == NULL) {
        return cw_err_set(err, CW_E_OOM, "token", "libjwt cannot sign the token");
    }
    enum cw_code rc = cw_str_add_cstr(out, text);
    cw_wipe(text, strlen(text));
    free(text);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "token", "no room for the token");
}

/* Exactly alg HS256, typ JWT and a kid of this purpose; anything more or else (crit, jku, x5c …) is refused. */
static const uint8_t *header_key(const struct cw_vault *vault, enum cw_purpose purpose, const json_t *header)
{
    if (json_object_size(header) != 3 || !cw_span_eq_cstr(cw_json_peek_text(header, "alg"), "HS256") ||
        !cw_span_eq_cstr(cw_json_peek_text(header, "typ"), "JWT")) {
        return NULL;
    }
    return cw_purpose_find(vault, purpose, cw_json_peek_text(header, "kid"));
}

static enum cw_code part_decode(struct cw_span part, size_t max, struct cw_str *out)
{
    cw_str_init_secret(out, max);
    return part.len == 0 ? CW_E_SYNTAX : cw_base64url_decode(part, out);
}

/* Form, header and kid, by our own code. On success *ret_key is the key that the signature must be of. */
static enum cw_code jws_admit(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span jws,
                              const uint8_t **ret_key, struct cw_err *err)
{
    struct cw_span rest = jws;
    struct cw_span head;
    struct cw_span claims;
    if (jws.len > JWS_MAX || !cw_span_cut(&rest, '.', &head) || !cw_span_cut(&rest, '.', &claims)) {
        return cw_err_set(err, CW_E_SYNTAX, "token", "not three parts");
    }
    CW_AUTO_STR head_text;
    CW_AUTO_STR claims_text;
    CW_AUTO_STR signature;
    enum cw_code rc_head = part_decode(head, HEADER_MAX, &head_text);
    enum cw_code rc_claims = part_decode(claims, CLAIMS_MAX, &claims_text);
    enum cw_code rc_signature = part_decode(rest, JWS_MAX, &signature);
    if (rc_head != CW_OK || rc_claims != CW_OK || rc_signature == CW_E_OOM) {
        return cw_err_set(err, CW_E_SYNTAX, "token", "a part is not base64url");
    }
    CW_AUTO_JSON *header = NULL;
    enum cw_code rc = cw_json_parse(cw_str_span(&head_text), header_limits, &header, err);
    if (rc != CW_OK) {
        return rc == CW_E_OOM ? rc : cw_err_set(err, CW_E_SYNTAX, "token", "the header is not JSON");
    }
    const uint8_t *key = header_key(vault, purpose, header);
    if (key == NULL) {
        return cw_err_set(err, CW_E_AUTH, "token", "header is not of a token of ours");
    }
    if (rc_signature != CW_OK || signature.len != CW_HASH_LEN) {
        return cw_err_set(err, CW_E_AUTH, "token", "no HS256 signature");
    }
    *ret_key = key;
    return CW_OK;
}

/* Checks the signature and aud; the caller owns *ret_claims. */
static enum cw_code jws_read(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span jws,
                             const char *audience, json_t **ret_claims, struct cw_err *err)
{
    const uint8_t *key;
    enum cw_code rc = jws_admit(vault, purpose, jws, &key, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_STR text;
    cw_str_init_secret(&text, JWS_MAX);
    if (cw_str_add_span(&text, jws) != CW_OK) {
        return cw_err_set(err, CW_E_OOM, "token", "no memory for the token");
    }
    AUTO_JWT *jwt = NULL;
    if (jwt_decode(&jwt, cw_str_cstr(&text), key, 32) != 0 || jwt_get_alg(jwt) != JWT_ALG_HS256) {
        return cw_err_set(err, CW_E_AUTH, "token", "wrong signature");
    }
    char *json = jwt_get_grants_json(jwt, NULL);
    if (json == NULL) {
        return cw_err_set(err, CW_E_OOM, "token", "no memory for the claims");
    }
    CW_AUTO_JSON *claims = NULL;
    rc = cw_json_parse(cw_span_cstr(json), claims_limits, &claims, NULL);
    cw_wipe(json, strlen(json));
    free(json);
    if (rc != CW_OK || !cw_span_eq_cstr(cw_json_peek_text(claims, "aud"), audience)) {
        return cw_err_set(err, rc == CW_E_OOM ? rc : CW_E_AUTH, "token", "signed for another use");
    }
    *ret_claims = claims;
    claims = NULL;
    return CW_OK;
}

/* --- API keys --- */

enum cw_code cw_api_token_make(struct cw_vault *vault, struct cw_api_key_id key, bool production,
                               struct cw_api_token *ret_token, struct cw_str *out, struct cw_err *err)
{
    struct cw_api_token token = { .key = key, .production = production };
    CW_AUTO_STR jti;
    cw_str_init_secret(&jti, OPAQUE_TEXT);
    enum cw_code rc = jti_make(&jti, token.jti_hash);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "token", "no memory for the identifier");
    }
    char sub[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_API_KEY, key.ulid, sub);
    const struct claims claims = { .aud = API_AUDIENCE, .sub = sub, .jti = cw_str_cstr(&jti) };
    rc = cw_str_add_cstr(out, production ? CW_KEY_PREFIX_LIVE : CW_KEY_PREFIX_SANDBOX);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "token", "no room for the key");
    }
    rc = jws_sign(vault, CW_PURPOSE_API, &claims, out, err);
    if (rc != CW_OK) {
        return rc;
    }
    *ret_token = token;
    return CW_OK;
}

enum cw_code cw_api_token_read(struct cw_vault *vault, struct cw_span text, struct cw_api_token *ret_token,
                               struct cw_err *err)
{
    struct cw_api_token token = { .production = cw_span_starts(text, CW_SPAN(CW_KEY_PREFIX_LIVE)) };
    struct cw_span prefix = token.production ? CW_SPAN(CW_KEY_PREFIX_LIVE) : CW_SPAN(CW_KEY_PREFIX_SANDBOX);
    if (text.len > CW_API_KEY_MAX || !cw_span_starts(text, prefix)) {
        return cw_err_set(err, CW_E_SYNTAX, "token", "not an API key by its prefix or length");
    }
    CW_AUTO_JSON *claims = NULL;
    enum cw_code rc =
        jws_read(vault, CW_PURPOSE_API, cw_span_from(text, prefix.len), API_AUDIENCE, &claims, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (!cw_id_parse(CW_PREFIX_API_KEY, cw_json_peek_text(claims, "sub"), &token.key.ulid) ||
        !jti_hash(cw_json_peek_text(claims, "jti"), token.jti_hash)) {
        return cw_err_set(err, CW_E_AUTH, "token", "claims are not of an API key");
    }
    *ret_token = token;
    return CW_OK;
}

/* --- state --- */

enum cw_code cw_state_make(struct cw_vault *vault, const char *registration_slug, int64_t expires_us,
                           struct cw_state_token *ret_state, struct cw_str *out, struct cw_err *err)
{
    int64_t exp_s = expires_us / CW_SECOND_US;
    if (exp_s <= 0) {
        return cw_err_set(err, CW_E_RANGE, "state", "no time of expiry");
    }
    struct cw_state_token state = { .expires_us = exp_s * CW_SECOND_US };
    CW_AUTO_STR jti;
    CW_AUTO_STR jws;
    cw_str_init_secret(&jti, OPAQUE_TEXT);
    cw_str_init_secret(&jws, STATE_TEXT_MAX * 3 / 4);
    enum cw_code rc = jti_make(&jti, state.jti_hash);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "state", "no memory for the identifier");
    }
    const struct claims claims = { .aud = registration_slug, .jti = cw_str_cstr(&jti), .exp_s = exp_s };
    rc = jws_sign(vault, CW_PURPOSE_STATE, &claims, &jws, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_base64url_encode(cw_str_span(&jws), out);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "state", "no room for the state");
    }
    *ret_state = state;
    return CW_OK;
}

enum cw_code cw_state_make_opaque(struct cw_state_token *ret_state, struct cw_str *out, struct cw_err *err)
{
    struct cw_state_token state = { 0 };
    enum cw_code rc = jti_make(out, state.jti_hash);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "state", "no room for the state");
    }
    *ret_state = state;
    return CW_OK;
}

enum cw_code cw_state_read(struct cw_vault *vault, const char *registration_slug, struct cw_span text, int64_t now_us,
                           struct cw_state_token *ret_state, struct cw_err *err)
{
    struct cw_state_token state = { 0 };
    if (text.len == OPAQUE_TEXT) {
        if (!jti_hash(text, state.jti_hash)) {
            return cw_err_set(err, CW_E_SYNTAX, "state", "not base64url");
        }
        *ret_state = state;
        return CW_OK;
    }
    CW_AUTO_STR jws;
    cw_str_init_secret(&jws, STATE_TEXT_MAX * 3 / 4);
    if (text.len > STATE_TEXT_MAX || cw_base64url_decode(text, &jws) != CW_OK) {
        return cw_err_set(err, CW_E_SYNTAX, "state", "not base64url, or too long");
    }
    CW_AUTO_JSON *claims = NULL;
    enum cw_code rc = jws_read(vault, CW_PURPOSE_STATE, cw_str_span(&jws), registration_slug, &claims, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t exp_s = 0;
    if (cw_json_int(claims, "exp", &exp_s, NULL) != CW_OK || exp_s <= 0 || exp_s > INT64_MAX / CW_SECOND_US ||
        !jti_hash(cw_json_peek_text(claims, "jti"), state.jti_hash)) {
        return cw_err_set(err, CW_E_AUTH, "state", "claims are not of a state");
    }
    state.expires_us = exp_s * CW_SECOND_US;
    *ret_state = state; /* the attempt of an expired state is still to be found and told */
    if (now_us >= state.expires_us) {
        return cw_err_set(err, CW_E_EXPIRED, "state", "expired");
    }
    return CW_OK;
}
