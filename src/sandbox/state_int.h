/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of the state, for state.c (lock, journal), grants.c and rules.c. Everything is called with the lock held. */
#ifndef CW_SANDBOX_STATE_INT_H
#define CW_SANDBOX_STATE_INT_H

#include <pthread.h>

#include "sandbox/state.h"
#include "vault/vault.h"

enum secret_kind { SECRET_CODE, SECRET_ACCESS, SECRET_REFRESH, SECRET_JTI };

struct grant {
    struct grant *next;
    char id[CW_ULID_TEXT + 1];
    char *site; /* name of the personality */
    char *client, *patient, *scope, *nonce; /* nonce may be NULL */
    int64_t made_us, used_us;
    bool revoked;
    uint8_t hits[CW_SBX_NATURES_MAX];
};

/* A personality of the operator's, with the object that its texts live in. */
struct made {
    json_t *object;
    struct cw_sbx_personality personality;
};

struct secret {
    struct secret *next; /* in its bucket */
    uint8_t hash[CW_HASH_LEN];
    enum secret_kind kind;
    bool spent;
    struct grant *grant;            /* NULL for a jti */
    int64_t until_us;
    char *redirect_uri, *challenge; /* of a code */
    char *scope;                    /* of an access token narrower than its grant; or NULL */
};

#define SECRET_BUCKETS 8192u
#define GRANT_BUCKETS 1024u

struct cw_sbx_state {
    pthread_mutex_t lock;
    struct secret *secrets[SECRET_BUCKETS];
    struct grant *grants[GRANT_BUCKETS];
    size_t secret_count;
    struct cw_sbx_rule rules[CW_SBX_RULES_MAX];
    size_t rule_count;
    unsigned last_rule;
    struct cw_sbx_client *clients[CW_SBX_CLIENTS_MAX]; /* the later of equal ids counts */
    size_t client_count, fixed_clients;
    struct made *made[CW_SBX_PERSONALITIES_MAX]; /* the operator's; the later of equal names counts */
    size_t made_count;
    char *origin;
    char *path;  /* of the journal; NULL: memory only */
    int fd, lock_fd;
    size_t journal_bytes, snapshot_bytes;
    bool quiet;  /* while the journal is read: nothing is written */
};

#define STATE_LINE_MAX (128u * 1024u)

/* --- state.c --- */
/* Appends a line; a fault of the disk is logged by the caller of the journal and does not undo the change. */
void state_journal(struct cw_sbx_state *state, struct cw_span line);

/* --- grants.c --- */
enum cw_code grants_apply(struct cw_sbx_state *state, const char *op, const json_t *line);
void grants_snapshot(const struct cw_sbx_state *state, struct cw_str *out);
void grants_sweep(struct cw_sbx_state *state, int64_t now_us);
void grants_release(struct cw_sbx_state *state);
struct grant *grant_find(const struct cw_sbx_state *state, struct cw_span id);

/* --- personalities.c --- */
enum cw_code personalities_apply(struct cw_sbx_state *state, const char *op, const json_t *line);
void personalities_snapshot(const struct cw_sbx_state *state, struct cw_str *out);
void personalities_release(struct cw_sbx_state *state);

/* --- rules.c --- */
enum cw_code rules_apply(struct cw_sbx_state *state, const char *op, const json_t *line);
void rules_snapshot(const struct cw_sbx_state *state, struct cw_str *out);

#endif
