/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an id_token, the ones that end an attempt before those that only take its word away. */
#include "config.h"

#include "smart/id_token.h"

#include "base/limits.h"
#include "base/time.h"
#include "vault/jose.h"

#define EXPIRY_SLACK_S 60
#define ISSUED_SLACK_S 600
#define JWKS_MS 10000 /* a browser waits, and the exchange may have taken its time already */

static enum cw_id_token_verdict unproven(struct cw_err *err, const char *why)
{
    (void)cw_err_set(err, CW_E_AUTH, "id_token", "%s", why);
    return CW_ID_TOKEN_UNPROVEN;
}

static enum cw_id_token_verdict injected(struct cw_err *err, const char *why)
{
    (void)cw_err_set(err, CW_E_AUTH, "id_token", "%s", why);
    return CW_ID_TOKEN_INJECTED;
}

/* aud is a text or an array of texts (RFC 7519 4.1.3). */
static bool audience_has(const json_t *aud, struct cw_span client_id)
{
    size_t at;
    json_t *item;
    if (json_is_string(aud)) {
        return cw_span_eq(cw_span_of(json_string_value(aud), json_string_length(aud)), client_id);
    }
    json_array_foreach(aud, at, item) {
        if (json_is_string(item) && cw_span_eq(cw_span_of(json_string_value(item), json_string_length(item)), client_id)) {
            return true;
        }
    }
    return false;
}

static bool times_are_good(const json_t *claims, int64_t now_us)
{
    double now = (double)(now_us / CW_SECOND_US);
    const json_t *exp = json_object_get(claims, "exp");
    const json_t *iat = json_object_get(claims, "iat");
    return json_is_number(exp) && json_is_number(iat) && json_number_value(exp) > now - EXPIRY_SLACK_S &&
           json_number_value(iat) < now + ISSUED_SLACK_S && json_number_value(iat) > now - ISSUED_SLACK_S;
}

enum cw_id_token_verdict cw_id_token_check(struct cw_span compact, const struct cw_id_token_check *check,
                                           struct cw_str *ret_fhir_user, struct cw_err *err)
{
    CW_AUTO_JSON *peeked = NULL;
    if (cw_jws_peek(compact, &peeked, err) != CW_OK) {
        return unproven(err, "not a signed token");
    }
    struct cw_span azp = cw_json_peek_text(peeked, "azp");
    struct cw_span nonce = cw_json_peek_text(peeked, "nonce");
    if (!audience_has(json_object_get(peeked, "aud"), check->client_id) ||
        (azp.len > 0 && !cw_span_eq(azp, check->client_id))) {
        return injected(err, "made for another client");
    }
    if (check->nonce.ptr != NULL && nonce.ptr != NULL && !cw_span_eq(nonce, check->nonce)) {
        return injected(err, "another nonce");
    }
    if (check->nonce.ptr != NULL && nonce.ptr == NULL) {
        return unproven(err, "no nonce");
    }
    if (check->issuer.len == 0 || !cw_span_eq(cw_json_peek_text(peeked, "iss"), check->issuer)) {
        return unproven(err, "issuer unknown or another");
    }
    struct cw_span sub = cw_json_peek_text(peeked, "sub");
    if (!times_are_good(peeked, check->now_us) || sub.len == 0 || sub.len > 255) {
        return unproven(err, "times or subject out of range");
    }
    CW_AUTO_JSON *claims = NULL;
    if (check->jwks == NULL) {
        return unproven(err, "no keys to check the signature with");
    }
    if (cw_jws_verify(compact, check->jwks, &claims, err) != CW_OK) {
        return CW_ID_TOKEN_UNPROVEN;
    }
    struct cw_span user = cw_json_peek_text(claims, "fhirUser");
    if (user.len == 0) {
        user = cw_json_peek_text(claims, "profile");
    }
    return cw_str_add_span(ret_fhir_user, user) == CW_OK ? CW_ID_TOKEN_GOOD : unproven(err, "fhirUser is too long");
}

enum cw_code cw_smart_jwks(struct cw_http *http, const char *jwks_uri, json_t **ret_jwks, struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = { .url = jwks_uri, .body_max = CW_JWKS_MAX, .redirects = CW_REDIRECTS_MAX,
                                       .total_ms = JWKS_MS };
    enum cw_code rc = cw_http_perform(http, &request, &response, err);
    CW_AUTO_JSON *root = NULL;
    if (rc == CW_OK) {
        struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = CW_JSON_DEPTH_MAX };
        rc = cw_json_parse(cw_str_span(&response.body), limits, &root, err);
        bool is_set = rc == CW_OK && response.status == 200 && json_is_array(json_object_get(root, "keys"));
        if (rc != CW_E_OOM && !is_set) {
            rc = cw_err_set(err, CW_E_UPSTREAM, "jwks", "the answer is no JWK Set");
        }
    }
    if (rc == CW_OK) {
        *ret_jwks = root;
        root = NULL;
    }
    cw_http_response_release(&response);
    return rc;
}
