/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every model function works with: pool, vault and configuration; and who is acting, for the audit rows.
 *
 * Functions that change state run one transaction of their own (cw_tx_pool) with the event and audit rows in it, unless
 * they take a `struct cw_db *db`: those run inside the caller's. Results live in the caller's arena. Absent optional
 * text is a span with ptr NULL. Sealed columns come out in the clear only through these functions.
 */
#ifndef CW_MODEL_MODEL_H
#define CW_MODEL_MODEL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"
#include "base/span.h"
#include "db/db.h"
#include "os/config.h"
#include "vault/vault.h"

/* How long a function of its own connection waits for a free one. */
#define CW_DB_WAIT_MS 5000u

struct cw_model {
    struct cw_db_pool *pool;
    struct cw_vault *vault;
    const struct cw_config *config;
};
/* Log level, pool, vault, schema check and log key, and cw_keyring_open, for a program's start. `pool_size` 0: as configured. Release in reverse with cw_model_release. */
enum cw_code cw_model_init(struct cw_model *model, const struct cw_config *config, unsigned pool_size,
                           struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
/* The same without a look at the keys: for the commands that mend them. */
enum cw_code cw_model_open(struct cw_model *model, const struct cw_config *config, unsigned pool_size,
                           struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
void cw_model_release(struct cw_model *model) CW_NONNULL(1);

enum cw_environment { CW_ENV_SANDBOX = 1, CW_ENV_PRODUCTION = 2 };
const char *cw_environment_name(enum cw_environment environment) CW_RETURNS_NONNULL;
bool cw_environment_parse(struct cw_span name, enum cw_environment *ret) CW_NONNULL(2) CW_MUST_USE;

enum cw_actor_kind { CW_ACTOR_API_KEY = 1, CW_ACTOR_OPERATOR = 2, CW_ACTOR_BROWSER = 3, CW_ACTOR_SCHEDULER = 4 };
struct cw_actor {
    enum cw_actor_kind kind;
    const char *name;        /* key_…, user name, ps_…, node: at most 64 bytes, never a person's name */
    const char *request_id;  /* or NULL */
};

#endif
