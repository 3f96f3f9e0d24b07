/* SPDX-License-Identifier: Apache-2.0 */
/* What session.c, session_read.c and the attempts share. */
#ifndef CW_MODEL_SESSION_INT_H
#define CW_MODEL_SESSION_INT_H

#include "model/session.h"
#include "vault/vault.h"

#define SESSION_SECRET_BYTES 16u
#define SESSION_SECRET_TEXT 22u /* base64url of 16 bytes */

/* Base64url text of the secret's bytes, in the arena. */
enum cw_code session_secret_text(struct cw_span bytes, struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* SHA-256 of the secret's bytes, from its text; false when it is not of its form. */
bool session_secret_hash(struct cw_span text, uint8_t ret[CW_HASH_LEN]) CW_NONNULL(2) CW_MUST_USE;
/* A whole Session on the caller's connection, of any organization. CW_E_NOT_FOUND. */
enum cw_code session_load(struct cw_model *m, struct cw_db *db, struct cw_session_id id, struct cw_arena *arena,
                          struct cw_session *ret, struct cw_err *err) CW_NONNULL(1, 2, 4, 5) CW_MUST_USE;
/* A Direct Session's one attempt has ended: open → complete with its event, in the caller's transaction, which holds the Session's row. The attempt that returns was in
 * flight and kept the Session open, whatever the clock says; one that was expired meanwhile stays so, which is CW_OK. `key`: the patient's current one; NULL: to be read. */
enum cw_code session_return(struct cw_model *m, struct cw_db *db, const struct cw_actor *actor, struct cw_session_id id,
                            const struct cw_data_key *key, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
