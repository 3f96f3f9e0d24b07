/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a token endpoint says. Real ones send lifetimes as floats and texts, errors with 200 and 500, HTML with any status. The rule: an
 * OAuth error in well-formed JSON counts whatever the status; a token counts only with a 2xx.
 */
#include "config.h"

#include <math.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "smart/scope.h"
#include "smart/token.h"

#define LIFETIME_ASSUMED_S 300.0
#define LIFETIME_MAX_S (10.0 * 365 * 86400)

const char *cw_token_outcome_name(enum cw_token_outcome outcome)
{
    static const char *const names[CW_TOKEN__COUNT] = {
        [CW_TOKEN_OK] = "ok",
        [CW_TOKEN_INVALID_GRANT] = "invalid_grant",
        [CW_TOKEN_INVALID_CLIENT] = "invalid_client",
        [CW_TOKEN_UNAUTHORIZED] = "unauthorized_client",
        [CW_TOKEN_INVALID_SCOPE] = "invalid_scope",
        [CW_TOKEN_REFUSED] = "refused",
        [CW_TOKEN_BAD_ANSWER] = "bad_answer",
        [CW_TOKEN_UNSUPPORTED] = "unsupported_token_type",
        [CW_TOKEN_BUSY] = "busy",
        [CW_TOKEN_LOST] = "lost",
        [CW_TOKEN_NOT_SENT] = "not_sent",
        [CW_TOKEN_BLOCKED] = "blocked",
    };
    return names[outcome];
}

void cw_smart_grant_init(struct cw_smart_grant *grant)
{
    *grant = (struct cw_smart_grant){ .retry_after_s = -1 };
    cw_str_init(&grant->scope, CW_SCOPE_MAX);
    cw_str_init(&grant->patient, CW_FHIR_ID_MAX);
    cw_str_init(&grant->error_text, CW_ERROR_TEXT_MAX);
}

void cw_smart_grant_release(struct cw_smart_grant *grant)
{
    cw_secret_release(&grant->access_token);
    cw_secret_release(&grant->refresh_token);
    cw_secret_release(&grant->id_token);
    cw_str_release(&grant->scope);
    cw_str_release(&grant->patient);
    cw_str_release(&grant->error_text);
}

/* --- errors --- */

static const struct {
    const char *error;
    enum cw_token_outcome outcome;
} errors[] = {
    { "invalid_grant", CW_TOKEN_INVALID_GRANT },
    { "invalid_client", CW_TOKEN_INVALID_CLIENT },
    { "unauthorized_client", CW_TOKEN_UNAUTHORIZED },
    { "unsupported_grant_type", CW_TOKEN_UNAUTHORIZED },
    { "invalid_scope", CW_TOKEN_INVALID_SCOPE },
    { "temporarily_unavailable", CW_TOKEN_BUSY },
    { "server_error", CW_TOKEN_BUSY },
};

static bool is_busy(long status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/* RFC 6749 5.2: %x20-21 / %x23-5B / %x5D-7E. */
static bool is_error_text(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

/* At most the string's maximum, cut between characters. */
static void set_text(struct cw_str *out, struct cw_span text)
{
    size_t len = text.len < out->max ? text.len : out->max;
    while (len > 0 && len < text.len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    cw_str_clear(out);
    (void)cw_str_add(out, text.ptr, len);
}

static enum cw_token_outcome read_error(const json_t *root, struct cw_span error, struct cw_smart_grant *grant)
{
    struct cw_span words = cw_json_peek_text(root, "error_description");
    if (words.len == 0) {
        words = cw_json_peek_text(root, "error_uri"); /* Oracle tells no description */
    }
    set_text(&grant->error_text, words);
    if (error.len < sizeof grant->error && is_error_text(error)) {
        memcpy(grant->error, error.ptr, error.len);
        grant->error[error.len] = '\0';
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(errors); i++) {
        if (cw_span_eq_cstr(error, errors[i].error)) {
            return errors[i].outcome;
        }
    }
    return CW_TOKEN_REFUSED;
}

/* --- tokens --- */

/* Visible ASCII only: a token goes into a header. */
static bool token_of(const json_t *root, const char *name, struct cw_span *ret)
{
    struct cw_span text = cw_span_trim(cw_json_peek_text(root, name));
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= 0x20 || text.ptr[i] >= 0x7f) {
            return false;
        }
    }
    *ret = text;
    return text.len > 0 && text.len <= CW_TOKEN_MAX;
}

/* An integer, a float (Blue Button) or either as text; -1 when it is none. */
static double number_of(const json_t *value)
{
    if (json_is_number(value)) {
        return json_number_value(value);
    }
    const char *text = json_string_value(value);
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return -1;
    }
    double number = strtod(text, &end);
    return end != NULL && *end == '\0' ? number : -1;
}

static void set_expiry(const json_t *root, int64_t sent_us, struct cw_smart_grant *grant)
{
    double seconds = number_of(json_object_get(root, "expires_in"));
    if (!(seconds >= 1)) { /* athenaFlex sends 0 */
        CW_AUTO_JSON *claims = NULL;
        seconds = -1;
        if (cw_jws_peek(cw_secret_span(&grant->access_token), &claims, NULL) == CW_OK) {
            seconds = number_of(json_object_get(claims, "exp")) - (double)(sent_us / CW_SECOND_US);
        }
    }
    grant->expires_assumed = !(seconds >= 1);
    seconds = grant->expires_assumed ? LIFETIME_ASSUMED_S : seconds > LIFETIME_MAX_S ? LIFETIME_MAX_S : floor(seconds);
    grant->expires_us = sent_us + (int64_t)seconds * CW_SECOND_US;
}

/* Blue Button: "2027-12-24 10:00:00Z"; a blank where RFC 3339 has a T. */
static int64_t fixed_end(const json_t *root)
{
    struct cw_span told = cw_span_trim(cw_json_peek_text(root, "access_grant_expiration"));
    char text[32];
    int64_t ends_us = 0;
    if (told.len == 0 || told.len > sizeof text) {
        return 0;
    }
    for (size_t i = 0; i < told.len; i++) {
        text[i] = told.ptr[i] == ' ' ? 'T' : told.ptr[i];
    }
    return cw_time_parse(cw_span_of(text, told.len), true, &ends_us) ? ends_us : 0;
}

/* How long the refresh token is good, where a server tells. 0 is "for ever" to those that send it (Keycloak). */
static void set_end(const json_t *root, int64_t sent_us, struct cw_smart_grant *grant)
{
    double seconds = number_of(json_object_get(root, "refresh_expires_in"));
    if (!(seconds > 0)) {
        seconds = number_of(json_object_get(root, "refresh_token_expires_in"));
    }
    grant->ends_us = fixed_end(root);
    grant->ends_fixed = grant->ends_us != 0;
    if (grant->ends_us == 0 && seconds > 0 && seconds < LIFETIME_MAX_S) {
        grant->ends_us = sent_us + (int64_t)floor(seconds) * CW_SECOND_US;
    }
}

/* MEDITECH grants more text than a row keeps; what cannot read or search is left out first, then what no longer fits. */
static void set_scope(struct cw_span text, struct cw_smart_grant *grant)
{
    struct cw_span word;
    bool all = text.len <= CW_SCOPE_MAX;
    while (cw_span_word(&text, &word)) {
        struct cw_scope scope;
        bool useless = cw_scope_parse(word, &scope) && (scope.permissions & (CW_PERM_READ | CW_PERM_SEARCH)) == 0;
        if ((all || !useless) && grant->scope.len + word.len + 1 <= CW_SCOPE_MAX) {
            (void)cw_str_add_cstr(&grant->scope, grant->scope.len > 0 ? " " : "");
            (void)cw_str_add_span(&grant->scope, word);
        }
    }
}

static void set_patient(const json_t *value, struct cw_smart_grant *grant)
{
    struct cw_span text = cw_span_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value)) {
        (void)cw_str_add_int(&grant->patient, json_integer_value(value));
    } else if (text.ptr != NULL && text.len <= CW_FHIR_ID_MAX && !cw_utf8_has_control(text)) {
        (void)cw_str_add_span(&grant->patient, cw_span_trim(text));
    }
}

static enum cw_token_outcome read_tokens(const json_t *root, int64_t sent_us, struct cw_smart_grant *grant)
{
    struct cw_span access;
    struct cw_span other;
    struct cw_span type = cw_json_peek_text(root, "token_type");
    if (!token_of(root, "access_token", &access)) {
        return CW_TOKEN_BAD_ANSWER;
    }
    if (type.len > 0 && !cw_span_eq_nocase(cw_span_trim(type), CW_SPAN("bearer"))) {
        return CW_TOKEN_UNSUPPORTED;
    }
    grant->type_assumed = type.len == 0;
    bool ok = cw_secret_set(&grant->access_token, access) == CW_OK;
    if (token_of(root, "refresh_token", &other)) {
        ok = ok && cw_secret_set(&grant->refresh_token, other) == CW_OK;
    }
    if (token_of(root, "id_token", &other)) {
        ok = ok && cw_secret_set(&grant->id_token, other) == CW_OK;
    }
    struct cw_span scope = cw_json_peek_text(root, "scope");
    grant->scope_told = scope.ptr != NULL;
    set_scope(scope, grant);
    set_patient(json_object_get(root, "patient"), grant);
    set_expiry(root, sent_us, grant);
    set_end(root, sent_us, grant);
    ok = ok && cw_str_code(&grant->scope) == CW_OK && cw_str_code(&grant->patient) == CW_OK;
    return ok ? CW_TOKEN_OK : CW_TOKEN_LOST; /* out of memory: the answer is gone */
}

enum cw_token_outcome cw_smart_token_parse(long status, struct cw_span body, int64_t sent_us,
                                           struct cw_smart_grant *grant)
{
    CW_AUTO_JSON *root = NULL;
    grant->status = (int)status;
    grant->empty = cw_span_trim(body).len == 0;
    struct cw_json_limits limits = { CW_TOKEN_ANSWER_MAX, CW_JSON_DEPTH_MAX, CW_JSON_DUPLICATES_TOO };
    enum cw_code rc = cw_json_parse(cw_span_trim(body), limits, &root, NULL);
    if (rc == CW_E_OOM) {
        return CW_TOKEN_LOST;
    }
    if (rc != CW_OK) {
        return is_busy(status) ? CW_TOKEN_BUSY : CW_TOKEN_BAD_ANSWER;
    }
    const json_t *fault = json_object_get(root, "error");
    struct cw_span error = cw_json_peek_text(root, "error");
    if (error.len > 0) {
        return read_error(root, error, grant);
    }
    if (fault != NULL && !json_is_string(fault) && !json_is_null(fault) && !json_is_false(fault)) {
        return is_busy(status) ? CW_TOKEN_BUSY : CW_TOKEN_REFUSED; /* an error of another kind than OAuth's ("error":{"code":…}) */
    }
    if (status < 200 || status > 299) {
        return is_busy(status) ? CW_TOKEN_BUSY : CW_TOKEN_BAD_ANSWER;
    }
    return read_tokens(root, sent_us, grant);
}
