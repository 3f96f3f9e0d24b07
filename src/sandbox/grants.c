/* SPDX-License-Identifier: Apache-2.0 */
/* Grants and their secrets: two hash tables, changed by the same functions whether a request or the journal asks. */
#include "config.h"
#include "sandbox/state.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/state_int.h"

#define SECRET_BYTES 32

static const char *const kind_names[] = { "code", "access", "refresh", "jti" };

/* --- tables --- */

static size_t bucket_of(const uint8_t hash[CW_HASH_LEN], size_t buckets)
{
    return ((size_t)hash[0] | (size_t)hash[1] << 8) % buckets;
}

static size_t grant_bucket(struct cw_span id)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(id, hash);
    return bucket_of(hash, GRANT_BUCKETS);
}

struct grant *grant_find(const struct cw_sbx_state *state, struct cw_span id)
{
    struct grant *grant = state->grants[grant_bucket(id)];
    while (grant != NULL && !cw_span_eq_cstr(id, grant->id)) {
        grant = grant->next;
    }
    return grant;
}

static struct secret *secret_find(const struct cw_sbx_state *state, const uint8_t hash[CW_HASH_LEN])
{
    struct secret *secret = state->secrets[bucket_of(hash, SECRET_BUCKETS)];
    while (secret != NULL && memcmp(secret->hash, hash, CW_HASH_LEN) != 0) {
        secret = secret->next;
    }
    return secret;
}

static struct secret *secret_of(const struct cw_sbx_state *state, enum secret_kind kind, struct cw_span text)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(text, hash);
    struct secret *secret = secret_find(state, hash);
    return secret != NULL && secret->kind == kind ? secret : NULL;
}

static void grant_free(struct grant *grant)
{
    free(grant->site);
    free(grant->client);
    free(grant->patient);
    free(grant->scope);
    free(grant->nonce);
    free(grant);
}

static void secret_free(struct secret *secret)
{
    free(secret->redirect_uri);
    free(secret->challenge);
    free(secret->scope);
    free(secret);
}

static char *dup_span(struct cw_span text)
{
    return cw_span_dup(text);
}

/* NULL for an absent span; *ret_ok turns false when out of memory. */
static char *dup_opt(struct cw_span text, bool *ret_ok)
{
    if (text.ptr == NULL) {
        return NULL;
    }
    char *copy = dup_span(text);
    *ret_ok = *ret_ok && copy != NULL;
    return copy;
}

/* --- sweeping --- */

static bool is_over(const struct secret *secret, int64_t now_us)
{
    if (secret->grant != NULL && secret->grant->used_us + (int64_t)CW_SBX_GRANT_DAYS * CW_DAY_US < now_us) {
        return true;
    }
    /* A spent refresh token, and a spent code for a while, are kept: their return is what revokes. */
    int64_t kept_us = secret->kind == SECRET_CODE ? CW_HOUR_US : CW_MINUTE_US;
    return secret->kind != SECRET_REFRESH && secret->until_us + kept_us < now_us;
}

void grants_sweep(struct cw_sbx_state *state, int64_t now_us)
{
    for (size_t i = 0; i < SECRET_BUCKETS; i++) {
        struct secret **at = &state->secrets[i];
        while (*at != NULL) {
            struct secret *secret = *at;
            if (is_over(secret, now_us)) {
                *at = secret->next;
                secret_free(secret);
                state->secret_count--;
            } else {
                at = &secret->next;
            }
        }
    }
    for (size_t i = 0; i < GRANT_BUCKETS; i++) {
        struct grant **at = &state->grants[i];
        while (*at != NULL) {
            struct grant *grant = *at;
            if (grant->used_us + (int64_t)CW_SBX_GRANT_DAYS * CW_DAY_US < now_us) {
                *at = grant->next; /* its secrets went above, by the same rule */
                grant_free(grant);
            } else {
                at = &grant->next;
            }
        }
    }
}

void grants_release(struct cw_sbx_state *state)
{
    grants_sweep(state, INT64_MAX);
}

/* --- changes and their lines --- */

static void write_grant(const struct grant *grant, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "op", "grant");
    cw_jsonw_key_cstr(&w, "id", grant->id);
    cw_jsonw_key_cstr(&w, "site", grant->site);
    cw_jsonw_key_cstr(&w, "client", grant->client);
    cw_jsonw_key_cstr(&w, "patient", grant->patient);
    cw_jsonw_key_cstr(&w, "scope", grant->scope);
    if (grant->nonce != NULL) {
        cw_jsonw_key_cstr(&w, "nonce", grant->nonce);
    }
    cw_jsonw_key_int(&w, "made", grant->made_us);
    cw_jsonw_key_int(&w, "used", grant->used_us);
    cw_jsonw_key_bool(&w, "revoked", grant->revoked);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
}

static void write_secret(const struct secret *secret, struct cw_str *out)
{
    CW_AUTO_STR hex;
    cw_str_init(&hex, 2 * CW_HASH_LEN);
    cw_hex_encode(cw_span_of(secret->hash, CW_HASH_LEN), &hex);
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "op", kind_names[secret->kind]);
    cw_jsonw_key_text(&w, "hash", cw_str_span(&hex));
    if (secret->grant != NULL) {
        cw_jsonw_key_cstr(&w, "grant", secret->grant->id);
    }
    cw_jsonw_key_int(&w, "until", secret->until_us);
    cw_jsonw_key_bool(&w, "spent", secret->spent);
    if (secret->redirect_uri != NULL) {
        cw_jsonw_key_cstr(&w, "redirect", secret->redirect_uri);
        cw_jsonw_key_cstr(&w, "challenge", secret->challenge);
    }
    if (secret->scope != NULL) {
        cw_jsonw_key_cstr(&w, "scope", secret->scope);
    }
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
}

static void journal_secret(struct cw_sbx_state *state, const struct secret *secret)
{
    CW_AUTO_STR line;
    cw_str_init(&line, STATE_LINE_MAX);
    write_secret(secret, &line);
    state_journal(state, cw_str_span(&line));
}

static void journal_grant(struct cw_sbx_state *state, const struct grant *grant)
{
    CW_AUTO_STR line;
    cw_str_init(&line, STATE_LINE_MAX);
    write_grant(grant, &line);
    state_journal(state, cw_str_span(&line));
}

void grants_snapshot(const struct cw_sbx_state *state, struct cw_str *out)
{
    for (size_t i = 0; i < GRANT_BUCKETS; i++) {
        for (const struct grant *grant = state->grants[i]; grant != NULL; grant = grant->next) {
            write_grant(grant, out);
            cw_str_add_char(out, '\n');
        }
    }
    for (size_t i = 0; i < SECRET_BUCKETS; i++) {
        for (const struct secret *secret = state->secrets[i]; secret != NULL; secret = secret->next) {
            write_secret(secret, out);
            cw_str_add_char(out, '\n');
        }
    }
}

struct grant_terms {
    struct cw_span id, site, client, patient, scope, nonce;
};

static struct grant *grant_add(struct cw_sbx_state *state, const struct grant_terms *terms)
{
    struct grant *grant = calloc(1, sizeof(*grant));
    if (grant == NULL || terms->id.len != CW_ULID_TEXT) {
        free(grant);
        return NULL;
    }
    bool ok = true;
    memcpy(grant->id, terms->id.ptr, CW_ULID_TEXT);
    grant->site = dup_span(terms->site);
    grant->client = dup_span(terms->client);
    grant->patient = dup_span(terms->patient);
    grant->scope = dup_span(terms->scope);
    grant->nonce = dup_opt(terms->nonce, &ok);
    if (!ok || grant->site == NULL || grant->client == NULL || grant->patient == NULL || grant->scope == NULL) {
        grant_free(grant);
        return NULL;
    }
    size_t bucket = grant_bucket(terms->id);
    grant->next = state->grants[bucket];
    state->grants[bucket] = grant;
    return grant;
}

struct secret_terms {
    enum secret_kind kind;
    struct grant *grant;
    int64_t until_us;
    struct cw_span redirect_uri, challenge, scope;
    struct cw_span text; /* of the secret; absent: random */
};

static struct secret *secret_add(struct cw_sbx_state *state, const uint8_t hash[CW_HASH_LEN], const struct secret_terms *terms)
{
    if (state->secret_count >= CW_SBX_SECRETS_MAX) {
        grants_sweep(state, cw_now_us());
    }
    if (state->secret_count >= CW_SBX_SECRETS_MAX) {
        return NULL;
    }
    struct secret *secret = calloc(1, sizeof(*secret));
    if (secret == NULL) {
        return NULL;
    }
    bool ok = true;
    memcpy(secret->hash, hash, CW_HASH_LEN);
    secret->kind = terms->kind;
    secret->grant = terms->grant;
    secret->until_us = terms->until_us;
    secret->redirect_uri = dup_opt(terms->redirect_uri, &ok);
    secret->challenge = dup_opt(terms->challenge, &ok);
    secret->scope = dup_opt(terms->scope, &ok);
    if (!ok) {
        secret_free(secret);
        return NULL;
    }
    size_t bucket = bucket_of(hash, SECRET_BUCKETS);
    secret->next = state->secrets[bucket];
    state->secrets[bucket] = secret;
    state->secret_count++;
    return secret;
}

static void spend(struct cw_sbx_state *state, struct secret *secret)
{
    secret->spent = true;
    journal_secret(state, secret);
}

static void revoke_grant(struct cw_sbx_state *state, struct grant *grant)
{
    if (!grant->revoked) {
        grant->revoked = true;
        journal_grant(state, grant);
    }
}

/* --- reading the journal --- */

static enum cw_code apply_grant(struct cw_sbx_state *state, const json_t *line)
{
    struct grant_terms terms = {
        .id = cw_json_peek_text(line, "id"), .site = cw_json_peek_text(line, "site"), .client = cw_json_peek_text(line, "client"),
        .patient = cw_json_peek_text(line, "patient"), .scope = cw_json_peek_text(line, "scope"),
        .nonce = cw_json_peek_text(line, "nonce"),
    };
    if (terms.id.len != CW_ULID_TEXT) {
        return CW_E_SYNTAX;
    }
    struct grant *grant = grant_find(state, terms.id);
    if (grant == NULL) {
        grant = grant_add(state, &terms);
    }
    if (grant == NULL) {
        return CW_E_OOM;
    }
    grant->made_us = json_integer_value(json_object_get(line, "made"));
    grant->used_us = json_integer_value(json_object_get(line, "used"));
    grant->revoked = json_is_true(json_object_get(line, "revoked"));
    return CW_OK;
}

static enum cw_code apply_secret(struct cw_sbx_state *state, enum secret_kind kind, const json_t *line)
{
    CW_AUTO_STR hash;
    cw_str_init(&hash, CW_HASH_LEN);
    struct cw_span id = cw_json_peek_text(line, "grant");
    struct secret_terms terms = {
        .kind = kind, .until_us = json_integer_value(json_object_get(line, "until")),
        .grant = id.ptr == NULL ? NULL : grant_find(state, id),
        .redirect_uri = cw_json_peek_text(line, "redirect"), .challenge = cw_json_peek_text(line, "challenge"),
        .scope = cw_json_peek_text(line, "scope"),
    };
    if (cw_hex_decode(cw_json_peek_text(line, "hash"), &hash) != CW_OK || hash.len != CW_HASH_LEN ||
        (kind != SECRET_JTI && terms.grant == NULL) ||
        (kind == SECRET_CODE && (terms.redirect_uri.ptr == NULL || terms.challenge.ptr == NULL))) {
        return CW_E_SYNTAX;
    }
    struct secret *secret = secret_find(state, (const uint8_t *)hash.buf);
    if (secret == NULL) {
        secret = secret_add(state, (const uint8_t *)hash.buf, &terms);
    }
    if (secret == NULL) {
        return CW_E_OOM;
    }
    secret->spent = json_is_true(json_object_get(line, "spent"));
    return CW_OK;
}

enum cw_code grants_apply(struct cw_sbx_state *state, const char *op, const json_t *line)
{
    if (strcmp(op, "grant") == 0) {
        return apply_grant(state, line);
    }
    for (unsigned kind = 0; kind < CW_ARRAY_LEN(kind_names); kind++) {
        if (strcmp(op, kind_names[kind]) == 0) {
            return apply_secret(state, (enum secret_kind)kind, line);
        }
    }
    return CW_E_UNSUPPORTED;
}

/* --- what requests ask --- */

static enum cw_code view_of(const struct grant *grant, const struct secret *secret, struct cw_arena *arena,
                            struct cw_sbx_view *ret_view)
{
    memcpy(ret_view->grant, grant->id, sizeof(ret_view->grant));
    ret_view->site = cw_arena_span(arena, cw_span_cstr(grant->site));
    ret_view->client = cw_arena_span(arena, cw_span_cstr(grant->client));
    ret_view->patient = cw_arena_span(arena, cw_span_cstr(grant->patient));
    ret_view->scope = cw_arena_span(arena, cw_span_cstr(secret->scope != NULL ? secret->scope : grant->scope));
    ret_view->nonce = (struct cw_span){ NULL, 0 };
    if (grant->nonce != NULL) {
        ret_view->nonce = cw_arena_span(arena, cw_span_cstr(grant->nonce));
    }
    ret_view->until_us = secret->until_us;
    ret_view->granted_us = grant->made_us;
    bool ok = ret_view->site.ptr != NULL && ret_view->client.ptr != NULL && ret_view->patient.ptr != NULL && ret_view->scope.ptr != NULL &&
              (grant->nonce == NULL || ret_view->nonce.ptr != NULL);
    return ok ? CW_OK : CW_E_OOM;
}

/* A new secret of the grant: its text to *out, its hash into the table and the journal. */
static enum cw_code issue(struct cw_sbx_state *state, const struct secret_terms *terms, struct cw_str *out)
{
    uint8_t random[SECRET_BYTES], hash[CW_HASH_LEN];
    CW_AUTO_STR text;
    cw_str_init_secret(&text, 8192);
    if (terms->text.ptr != NULL) {
        cw_str_add_span(&text, terms->text);
    } else {
        cw_random(random, sizeof(random));
        cw_base64url_encode(cw_span_of(random, sizeof(random)), &text);
        cw_wipe(random, sizeof(random));
    }
    cw_str_add_span(out, cw_str_span(&text));
    if (cw_str_code(&text) != CW_OK || cw_str_code(out) != CW_OK) {
        return CW_E_OOM;
    }
    cw_sha256(cw_str_span(&text), hash);
    struct secret *secret = secret_add(state, hash, terms);
    if (secret == NULL) {
        return CW_E_OOM;
    }
    journal_secret(state, secret);
    return CW_OK;
}

enum cw_code cw_sbx_code_issue(struct cw_sbx_state *state, const struct cw_sbx_terms *terms, struct cw_str *ret_code,
                               struct cw_err *err)
{
    char id[CW_ID_TEXT_MAX];
    int64_t now_us = cw_now_us();
    cw_id_emit("", cw_ulid_new(), id);
    pthread_mutex_lock(&state->lock);
    enum cw_code rc = CW_E_OOM;
    struct grant *grant = grant_add(state, &(struct grant_terms){ .id = cw_span_cstr(id), .site = terms->site, .client = terms->client,
                                                                  .patient = terms->patient, .scope = terms->scope,
                                                                  .nonce = terms->nonce });
    if (grant != NULL) {
        grant->made_us = grant->used_us = now_us;
        journal_grant(state, grant);
        rc = issue(state, &(struct secret_terms){ .kind = SECRET_CODE, .grant = grant,
                                                  .until_us = now_us + CW_SBX_CODE_SECONDS * CW_SECOND_US,
                                                  .redirect_uri = terms->redirect_uri, .challenge = terms->challenge },
                   ret_code);
    }
    pthread_mutex_unlock(&state->lock);
    return rc == CW_OK ? rc : cw_err_set(err, rc, "sandbox.grants", "no room for a code");
}

/* RFC 7636 4.6: BASE64URL(SHA256(verifier)) == challenge; 43 to 128 characters. */
static bool verifier_fits(struct cw_span verifier, const char *challenge)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR text;
    cw_str_init(&text, 64);
    if (challenge[0] == '\0') { /* asked without PKCE, where a personality refuses it */
        return verifier.ptr == NULL;
    }
    if (verifier.len < 43 || verifier.len > 128) {
        return false;
    }
    cw_sha256(verifier, hash);
    cw_base64url_encode(cw_span_of(hash, sizeof(hash)), &text);
    return cw_secret_eq(cw_str_span(&text), cw_span_cstr(challenge));
}

static enum cw_code redeem_code(struct cw_sbx_state *state, const struct cw_sbx_exchange *exchange, struct cw_arena *arena,
                                struct cw_sbx_view *ret_view, struct cw_err *err)
{
    struct secret *code = secret_of(state, SECRET_CODE, exchange->code);
    if (code == NULL) {
        return cw_err_set(err, CW_E_NOT_FOUND, "sandbox.grants", "an unknown code");
    }
    if (code->spent) {
        revoke_grant(state, code->grant);
        return cw_err_set(err, CW_E_CONFLICT, "sandbox.grants", "a code came a second time");
    }
    spend(state, code);
    if (code->until_us < cw_now_us()) {
        return cw_err_set(err, CW_E_EXPIRED, "sandbox.grants", "a code came too late");
    }
    if (!cw_span_eq_cstr(exchange->site, code->grant->site) || !cw_span_eq_cstr(exchange->client, code->grant->client) ||
        !cw_span_eq_cstr(exchange->redirect_uri, code->redirect_uri) || !verifier_fits(exchange->verifier, code->challenge)) {
        return cw_err_set(err, CW_E_AUTH, "sandbox.grants", "a code of another hospital, client, redirect URI or verifier");
    }
    return view_of(code->grant, code, arena, ret_view);
}

enum cw_code cw_sbx_code_redeem(struct cw_sbx_state *state, const struct cw_sbx_exchange *exchange, struct cw_arena *arena,
                                struct cw_sbx_view *ret_view, struct cw_err *err)
{
    pthread_mutex_lock(&state->lock);
    enum cw_code rc = redeem_code(state, exchange, arena, ret_view, err);
    pthread_mutex_unlock(&state->lock);
    return rc;
}

static enum cw_code redeem_refresh(struct cw_sbx_state *state, struct cw_span token, struct cw_span client,
                                   struct cw_arena *arena, struct cw_sbx_view *ret_view, struct cw_err *err)
{
    struct secret *refresh = secret_of(state, SECRET_REFRESH, token);
    if (refresh == NULL) {
        return cw_err_set(err, CW_E_NOT_FOUND, "sandbox.grants", "an unknown refresh token");
    }
    if (!cw_span_eq_cstr(client, refresh->grant->client)) {
        return cw_err_set(err, CW_E_AUTH, "sandbox.grants", "another client's refresh token");
    }
    if (refresh->spent) {
        revoke_grant(state, refresh->grant);
        return cw_err_set(err, CW_E_CONFLICT, "sandbox.grants", "a refresh token came a second time");
    }
    if (refresh->grant->revoked) {
        return cw_err_set(err, CW_E_DENIED, "sandbox.grants", "the grant was revoked");
    }
    spend(state, refresh);
    return view_of(refresh->grant, refresh, arena, ret_view);
}

enum cw_code cw_sbx_refresh_redeem(struct cw_sbx_state *state, struct cw_span token, struct cw_span client,
                                   struct cw_arena *arena, struct cw_sbx_view *ret_view, struct cw_err *err)
{
    pthread_mutex_lock(&state->lock);
    enum cw_code rc = redeem_refresh(state, token, client, arena, ret_view, err);
    pthread_mutex_unlock(&state->lock);
    return rc;
}

enum cw_code cw_sbx_tokens_issue(struct cw_sbx_state *state, const char *grant_id, const struct cw_sbx_tokens *tokens,
                                 struct cw_str *ret_access, struct cw_str *ret_refresh, struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    pthread_mutex_lock(&state->lock);
    struct grant *grant = grant_find(state, cw_span_cstr(grant_id));
    enum cw_code rc = grant == NULL || grant->revoked ? CW_E_DENIED : CW_OK;
    if (rc == CW_OK) {
        grant->used_us = now_us;
        rc = issue(state, &(struct secret_terms){ .kind = SECRET_ACCESS, .grant = grant, .scope = tokens->scope, .text = tokens->text,
                                                  .until_us = now_us + tokens->lifetime_us }, ret_access);
    }
    if (rc == CW_OK && tokens->refresh) {
        rc = issue(state, &(struct secret_terms){ .kind = SECRET_REFRESH, .grant = grant }, ret_refresh);
    }
    if (rc == CW_OK) {
        journal_grant(state, grant);
    }
    pthread_mutex_unlock(&state->lock);
    return rc == CW_OK ? rc : cw_err_set(err, rc, "sandbox.grants", "no tokens for this grant");
}

static enum cw_code find(struct cw_sbx_state *state, enum secret_kind kind, struct cw_span token, struct cw_arena *arena,
                         struct cw_sbx_view *ret_view)
{
    pthread_mutex_lock(&state->lock);
    const struct secret *secret = secret_of(state, kind, token);
    enum cw_code rc = secret == NULL                                                  ? CW_E_NOT_FOUND
                      : secret->spent || secret->grant->revoked                       ? CW_E_DENIED
                      : secret->kind == SECRET_ACCESS && secret->until_us < cw_now_us() ? CW_E_EXPIRED
                                                                                      : view_of(secret->grant, secret, arena, ret_view);
    pthread_mutex_unlock(&state->lock);
    return rc;
}

enum cw_code cw_sbx_grant_find(struct cw_sbx_state *state, const char *grant_id, struct cw_arena *arena, struct cw_sbx_view *ret_view)
{
    static const struct secret none = { .kind = SECRET_CODE };
    pthread_mutex_lock(&state->lock);
    const struct grant *grant = grant_find(state, cw_span_cstr(grant_id));
    enum cw_code rc = grant == NULL ? CW_E_NOT_FOUND : grant->revoked ? CW_E_DENIED : view_of(grant, &none, arena, ret_view);
    pthread_mutex_unlock(&state->lock);
    return rc;
}

enum cw_code cw_sbx_access_find(struct cw_sbx_state *state, struct cw_span token, struct cw_arena *arena, struct cw_sbx_view *ret_view)
{
    return find(state, SECRET_ACCESS, token, arena, ret_view);
}

enum cw_code cw_sbx_refresh_find(struct cw_sbx_state *state, struct cw_span token, struct cw_arena *arena, struct cw_sbx_view *ret_view)
{
    return find(state, SECRET_REFRESH, token, arena, ret_view);
}

void cw_sbx_token_revoke(struct cw_sbx_state *state, struct cw_span token, struct cw_span client, bool all)
{
    pthread_mutex_lock(&state->lock);
    struct secret *access = secret_of(state, SECRET_ACCESS, token);
    struct secret *refresh = secret_of(state, SECRET_REFRESH, token);
    if (access != NULL && cw_span_eq_cstr(client, access->grant->client)) {
        spend(state, access);
        if (all) {
            revoke_grant(state, access->grant);
        }
    }
    if (refresh != NULL && cw_span_eq_cstr(client, refresh->grant->client)) {
        revoke_grant(state, refresh->grant);
    }
    pthread_mutex_unlock(&state->lock);
}

size_t cw_sbx_patient_revoke(struct cw_sbx_state *state, struct cw_span patient)
{
    size_t revoked = 0;
    pthread_mutex_lock(&state->lock);
    for (size_t i = 0; i < GRANT_BUCKETS; i++) {
        for (struct grant *grant = state->grants[i]; grant != NULL; grant = grant->next) {
            if (!grant->revoked && cw_span_eq_cstr(patient, grant->patient)) {
                revoke_grant(state, grant);
                revoked++;
            }
        }
    }
    pthread_mutex_unlock(&state->lock);
    return revoked;
}

bool cw_sbx_jti_fresh(struct cw_sbx_state *state, struct cw_span client, struct cw_span jti, int64_t until_us)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR both;
    cw_str_init(&both, 1024);
    cw_str_add_span(&both, client);
    cw_str_add_char(&both, '\n');
    cw_str_add_span(&both, jti);
    cw_sha256(cw_str_span(&both), hash);
    pthread_mutex_lock(&state->lock);
    bool fresh = secret_find(state, hash) == NULL;
    if (fresh) {
        struct secret *secret = secret_add(state, hash, &(struct secret_terms){ .kind = SECRET_JTI, .until_us = until_us });
        fresh = secret != NULL;
        if (fresh) {
            journal_secret(state, secret);
        }
    }
    pthread_mutex_unlock(&state->lock);
    return fresh;
}
