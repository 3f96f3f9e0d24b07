/* SPDX-License-Identifier: Apache-2.0 */
/* Our client at one vendor, made ready for the token endpoint from its registration: secret unsealed, signing key loaded. */
#ifndef CW_SMART_CLIENT_H
#define CW_SMART_CLIENT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include "model/registration.h"
#include "smart/profile.h"
#include "smart/token.h"

struct cw_smart_identity {
    struct cw_smart_client client;   /* give &identity.client to cw_smart_exchange, _refresh, _revoke */
    struct cw_registration registration; /* in the arena */
    struct cw_secret secret;
    struct cw_signing_key *key;
};
void cw_smart_identity_release(struct cw_smart_identity *identity) CW_NONNULL(1);
#define CW_AUTO_IDENTITY CW_CLEANUP(cw_smart_identity_release) struct cw_smart_identity

/* Reads the registration and what it needs; touches the database, so call it outside of network calls. No jku is sent: the server knows our key set from
 * the registration, and some refuse a jku that they did not see there. The profile is the
 * one of that name (that the authorization was pinned with), or the registration's where none was; it says which algorithm signs. CW_E_NOT_FOUND, CW_E_UNAVAILABLE, CW_E_AUTH (cannot be unsealed), CW_E_OOM. */
enum cw_code cw_smart_identity_open(struct cw_model *m, const struct cw_profiles *profiles,
                                    struct cw_registration_id registration, struct cw_span profile_name,
                                    struct cw_arena *arena, struct cw_smart_identity *ret_identity, struct cw_err *err)
    CW_NONNULL(1, 2, 5, 6) CW_MUST_USE;

#endif
