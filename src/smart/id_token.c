/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an id_token, the ones that end an attempt before those that only take its word away. */
#include "config.h"

#include "smart/id_token.h"

#include "base/limits.h"
#include "base/time.h"
#include "vault/jose.h"

#define EXPIRY_SLACK_S 60
#define ISSUED_SLACK_S 600
#define SUBJECT_MAX 255u /* OIDC Core 2 */

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

void cw_id_token_identity_init(struct cw_id_token_identity *identity)
{
    cw_str_init(&identity->fhir_user, CW_URL_MAX);
    cw_str_init(&identity->subject, SUBJECT_MAX);
}

void cw_id_token_identity_release(struct cw_id_token_identity *identity)
{
    cw_str_release(&identity->fhir_user);
    cw_str_release(&identity->subject);
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

/* What says that this answer belongs to another client or another sign-in. NULL: nothing does. */
static const char *foreign(const json_t *claims, const struct cw_id_token_check *check)
{
    struct cw_span azp = cw_json_peek_text(claims, "azp");
    struct cw_span nonce = cw_json_peek_text(claims, "nonce");
    if (!audience_has(json_object_get(claims, "aud"), check->client_id) ||
        (azp.len > 0 && !cw_span_eq(azp, check->client_id))) {
        return "made for another client";
    }
    return check->nonce.ptr != NULL && nonce.ptr != NULL && !cw_span_eq(nonce, check->nonce) ? "another nonce" : NULL;
}

/* What takes away the word of a token that is meant for us. NULL: nothing does. */
static const char *weak(const json_t *claims, const struct cw_id_token_check *check)
{
    if (json_array_size(json_object_get(claims, "aud")) > 1 && cw_json_peek_text(claims, "azp").len == 0) {
        return "several audiences and no azp";
    }
    if (check->nonce.ptr != NULL && cw_json_peek_text(claims, "nonce").ptr == NULL) {
        return "no nonce";
    }
    if (check->issuer.len == 0 || !cw_span_eq(cw_json_peek_text(claims, "iss"), check->issuer)) {
        return "issuer unknown or another";
    }
    struct cw_span sub = cw_json_peek_text(claims, "sub");
    if (!times_are_good(claims, check->now_us) || sub.len == 0 || sub.len > SUBJECT_MAX) {
        return "times or subject out of range";
    }
    return check->jwks == NULL ? "no keys to check the signature with" : NULL;
}

static enum cw_code take_identity(const json_t *claims, struct cw_id_token_identity *ret)
{
    struct cw_span user = cw_json_peek_text(claims, "fhirUser");
    (void)cw_str_add_span(&ret->fhir_user, user.len > 0 ? user : cw_json_peek_text(claims, "profile"));
    (void)cw_str_add_span(&ret->subject, cw_json_peek_text(claims, "sub"));
    return cw_str_code(&ret->fhir_user) != CW_OK ? cw_str_code(&ret->fhir_user) : cw_str_code(&ret->subject);
}

enum cw_id_token_verdict cw_id_token_check(struct cw_span compact, const struct cw_id_token_check *check,
                                           struct cw_id_token_identity *ret_identity, struct cw_err *err)
{
    CW_AUTO_JSON *peeked = NULL;
    CW_AUTO_JSON *claims = NULL;
    if (cw_jws_peek(compact, &peeked, err) != CW_OK) {
        return unproven(err, "not a signed token");
    }
    const char *why = foreign(peeked, check);
    if (why != NULL) {
        return injected(err, why);
    }
    why = weak(peeked, check);
    if (why != NULL) {
        return unproven(err, why);
    }
    if (cw_jws_verify(compact, check->jwks, &claims, err) != CW_OK) {
        return CW_ID_TOKEN_UNPROVEN;
    }
    return take_identity(claims, ret_identity) == CW_OK ? CW_ID_TOKEN_GOOD : unproven(err, "fhirUser is too long");
}
