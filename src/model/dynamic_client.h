/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that were registered for one connection alone (Epic): a client id and a private key in place of a refresh token. The key is
 * sealed under the patient's key, bound to its row; the row goes with the connection's grant.
 */
#ifndef CW_MODEL_DYNAMIC_CLIENT_H
#define CW_MODEL_DYNAMIC_CLIENT_H

#include "model/connection.h"
#include "vault/jose.h"

#define CW_CLIENT_ID_MAX 512u /* its column */

/* What a registration brought; borrowed. */
struct cw_dynamic_new {
    struct cw_span client_id;
    const struct cw_signing_key *key;
};
/* In the caller's transaction: the connection has this client from now on, or none (NULL). `data_key` is the patient's current one. */
enum cw_code dynamic_client_put(struct cw_db *db, const struct cw_data_key *data_key, struct cw_patient_row patient,
                                struct cw_connection_id connection, const struct cw_dynamic_new *client,
                                struct cw_err *err) CW_MUST_USE;

struct cw_dynamic_client {
    struct cw_span client_id;      /* in the arena */
    struct cw_signing_key *key;    /* the caller frees it */
};
/* CW_E_NOT_FOUND: the connection has none. */
enum cw_code cw_dynamic_client_get(struct cw_model *m, struct cw_connection_id connection, struct cw_arena *arena,
                                   struct cw_dynamic_client *ret, struct cw_err *err) CW_NONNULL(1, 3, 4) CW_MUST_USE;

#endif
