/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: the row is the only authority for organization, environment, scopes and end. */
#ifndef CW_MODEL_API_KEY_H
#define CW_MODEL_API_KEY_H

#include "base/str.h"
#include "model/org.h"
#include "vault/token.h"

/* Scopes of a key, as bits; on the command line and in the row by name. */
enum cw_key_scope {
    CW_SCOPE_PATIENTS_READ = 1u << 0,   /* patients:read */
    CW_SCOPE_PATIENTS_WRITE = 1u << 1,  /* patients:write */
    CW_SCOPE_SESSIONS_READ = 1u << 2,   /* patient_sessions:read */
    CW_SCOPE_SESSIONS_WRITE = 1u << 3,  /* patient_sessions:write */
    CW_SCOPE_RECORDS_READ = 1u << 4,    /* records:read */
    CW_SCOPE_CONNECTIONS_READ = 1u << 5, /* connections:read (the catalogue) */
    CW_SCOPE_WEBHOOKS = 1u << 6,        /* webhooks:manage */
    CW_SCOPE_EVENTS_READ = 1u << 7      /* events:read */
};
#define CW_SCOPES_ALL 0xffu
/* "all" or names; CW_E_RANGE names the unknown one. */
enum cw_code cw_key_scopes_parse(struct cw_span text, unsigned *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_key_scopes_emit(unsigned scopes, struct cw_str *out);

#define CW_API_KEYS_LIVE_MAX 20 /* active keys of one organization; CW_E_LIMITED beyond */

struct cw_api_key {
    struct cw_api_key_id id;
    struct cw_org_id org;
    enum cw_environment environment;
    struct cw_span org_name;           /* for pages and logs of the operator */
    struct cw_span identifier_system;  /* in effect */
    struct cw_span name;
    unsigned scopes;
    int64_t created_us, expires_us, revoked_us, last_used_us; /* 0: none */
};

/* Makes a key and appends its text to *out_token: shown once, stored nowhere. expires_us 0: no end. */
enum cw_code cw_api_key_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_api_key *wanted, struct cw_str *out_token, struct cw_api_key_id *ret,
                               struct cw_err *err) CW_MUST_USE;
/* The hot path: one SELECT by SHA-256(jti). CW_E_AUTH: unknown, revoked, or its environment does not fit the prefix; CW_E_EXPIRED. Cells live in the arena. */
enum cw_code cw_api_key_authenticate(struct cw_model *m, const struct cw_api_token *token, struct cw_arena *arena,
                                     struct cw_api_key *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_api_key_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena, struct cw_api_key **ret,
                             size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* Takes effect at once on every node. Repeating it is CW_OK. */
enum cw_code cw_api_key_revoke(struct cw_model *m, const struct cw_actor *actor, struct cw_api_key_id id,
                               struct cw_err *err) CW_MUST_USE;

#endif
