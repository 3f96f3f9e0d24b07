/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hospital remembers: grants with their codes and tokens, the operator's fault rules and registrations. All of it in
 * memory under one lock, and every change as one line of JSON at the end of a journal, so that a restart in the
 * middle of a login or a pull changes nothing for the app. Secrets are kept as SHA-256 only.
 *
 * A grant is one consent: its code, and the family of refresh tokens that descends from it. Whoever comes with a secret that was
 * spent before takes the whole grant down (RFC 6749 4.1.2, RFC 9700 4.14.2).
 */
#ifndef CW_SANDBOX_STATE_H
#define CW_SANDBOX_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"
#include "base/jsonw.h"
#include "base/span.h"
#include "base/str.h"
#include "sandbox/client.h"
#include "sandbox/fault.h"
#include "sandbox/personality.h"

#define CW_SBX_CODE_SECONDS 60
#define CW_SBX_ACCESS_SECONDS 3600
#define CW_SBX_GRANT_DAYS 90          /* unused for so long, a grant is forgotten */
#define CW_SBX_SECRETS_MAX 200000u    /* codes and tokens at a time */
#define CW_SBX_CLIENTS_MAX 1024u /* those that registered themselves included */
#define CW_SBX_PERSONALITIES_MAX 256u /* made by the operator, replaced ones included */

struct cw_sbx_state;

void cw_sbx_state_free(struct cw_sbx_state *state);
/* Reads the journal in `folder` (made when missing), writes it anew without what is over, and goes on at its end. NULL: memory only, for
 * tests. CW_E_STATE: another process has it; CW_E_IO, CW_E_OOM. A last line that was cut by a crash is passed over. */
enum cw_code cw_sbx_state_open(const char *folder, struct cw_span origin, struct cw_sbx_state **ret_state, struct cw_err *err)
    CW_NONNULL(3) CW_MUST_USE;

/* --- grants --- */

struct cw_sbx_terms {
    struct cw_span site; /* name of the personality that grants; absent or "": the plain hospital */
    struct cw_span client, patient, scope, nonce, redirect_uri, challenge; /* nonce may be absent */
};
/* What is behind a code or token; spans live in the arena that was given. */
struct cw_sbx_view {
    char grant[CW_ULID_TEXT + 1];
    struct cw_span site, client, patient, scope, nonce;
    int64_t until_us;
    int64_t granted_us;
};
struct cw_sbx_tokens {
    bool refresh;        /* with a refresh token */
    int64_t lifetime_us; /* of the access token */
    struct cw_span scope; /* absent: the grant's */
    struct cw_span text;  /* of the access token, unique; absent: random */
};

/* A consent: makes the grant and appends its code. */
enum cw_code cw_sbx_code_issue(struct cw_sbx_state *state, const struct cw_sbx_terms *terms, struct cw_str *ret_code,
                               struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* Spends a code, whatever the outcome. CW_E_NOT_FOUND, CW_E_EXPIRED, CW_E_CONFLICT (came a second time: the grant is revoked),
 * CW_E_AUTH (another personality, client, redirect URI or verifier). */
struct cw_sbx_exchange {
    struct cw_span site, code, client, redirect_uri, verifier;
};
enum cw_code cw_sbx_code_redeem(struct cw_sbx_state *state, const struct cw_sbx_exchange *exchange, struct cw_arena *arena,
                                struct cw_sbx_view *ret_view, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;
/* Spends a refresh token. Codes as cw_sbx_code_redeem; CW_E_DENIED when the grant was revoked. */
enum cw_code cw_sbx_refresh_redeem(struct cw_sbx_state *state, struct cw_span token, struct cw_span client,
                                   struct cw_arena *arena, struct cw_sbx_view *ret_view, struct cw_err *err)
    CW_NONNULL(1, 4, 5) CW_MUST_USE;
/* Appends new tokens of the grant. CW_E_DENIED when it was revoked meanwhile. */
enum cw_code cw_sbx_tokens_issue(struct cw_sbx_state *state, const char *grant, const struct cw_sbx_tokens *tokens,
                                 struct cw_str *ret_access, struct cw_str *ret_refresh, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;
/* CW_E_NOT_FOUND, CW_E_EXPIRED, CW_E_DENIED (revoked). */
enum cw_code cw_sbx_access_find(struct cw_sbx_state *state, struct cw_span token, struct cw_arena *arena,
                                struct cw_sbx_view *ret_view) CW_NONNULL(1, 3, 4) CW_MUST_USE;
/* A grant by its id. CW_E_NOT_FOUND, CW_E_DENIED (revoked). */
enum cw_code cw_sbx_grant_find(struct cw_sbx_state *state, const char *grant, struct cw_arena *arena, struct cw_sbx_view *ret_view)
    CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;
/* A refresh token without spending it (introspection). */
enum cw_code cw_sbx_refresh_find(struct cw_sbx_state *state, struct cw_span token, struct cw_arena *arena,
                                 struct cw_sbx_view *ret_view) CW_NONNULL(1, 3, 4) CW_MUST_USE;
/* Revokes what `token` is: an access token alone (or with its grant, where `all`), a refresh token with its whole grant. Unknown tokens and other clients' are
 * passed over (RFC 7009 2.2). */
void cw_sbx_token_revoke(struct cw_sbx_state *state, struct cw_span token, struct cw_span client, bool all) CW_NONNULL(1);
/* All grants of a patient, as the patient would do at the portal. Returns how many. */
size_t cw_sbx_patient_revoke(struct cw_sbx_state *state, struct cw_span patient) CW_NONNULL(1);
/* True when this assertion id was not seen before; it is remembered until then. */
bool cw_sbx_jti_fresh(struct cw_sbx_state *state, struct cw_span client, struct cw_span jti, int64_t until_us) CW_NONNULL(1);

/* --- registrations --- */
/* Borrowed for the life of the state: registrations are replaced, never freed before. NULL for an unknown one. */
const struct cw_sbx_client *cw_sbx_client_find(struct cw_sbx_state *state, struct cw_span id) CW_NONNULL(1);
/* Adds or replaces one. Codes of cw_sbx_client_new, CW_E_TOO_BIG. */
enum cw_code cw_sbx_client_put(struct cw_sbx_state *state, const json_t *object, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;

/* --- personalities --- */
/* The operator's, else a built-in one, else that of a single quirk. False for an unknown name. Its texts live as long as the state. */
bool cw_sbx_personality_find(struct cw_sbx_state *state, struct cw_span name, struct cw_sbx_personality *ret)
    CW_NONNULL(1, 3) CW_MUST_USE;
/* Adds or replaces one of the operator's. Codes of cw_sbx_personality_parse, CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_sbx_personality_put(struct cw_sbx_state *state, const json_t *object, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Calls for each by name: built in, the operator's, then one for each quirk. */
typedef void cw_sbx_personality_fn(const struct cw_sbx_personality *personality, void *arg);
void cw_sbx_personalities_each(struct cw_sbx_state *state, cw_sbx_personality_fn *fn, void *arg) CW_NONNULL(1, 2);

/* --- faults --- */
/* CW_E_TOO_BIG over CW_SBX_RULES_MAX rules. */
enum cw_code cw_sbx_rule_put(struct cw_sbx_state *state, const struct cw_sbx_rule *rule, unsigned *ret_number, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
void cw_sbx_rules_emit(struct cw_sbx_state *state, struct cw_jsonw *w) CW_NONNULL(1, 2);
/* One by its number, or all with 0. Returns how many. */
size_t cw_sbx_rules_clear(struct cw_sbx_state *state, unsigned number) CW_NONNULL(1);
/* Collects what hits this request, and counts it. */
void cw_sbx_faults_take(struct cw_sbx_state *state, const struct cw_sbx_occasion *occasion, struct cw_sbx_faults *ret_faults)
    CW_NONNULL(1, 2, 3);

#endif
