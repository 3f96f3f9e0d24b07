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

/* The algorithm of our assertions: the profile's, unless the server advertises others that we have and not this one. `advertised` is
 * cw_discovery.auth_algs; 0: not told. */
enum cw_jose_alg cw_smart_choose_alg(const struct cw_profile *profile, unsigned advertised) CW_NONNULL(1);

struct cw_identity_wish {
    struct cw_registration_id registration;
    struct cw_span profile;          /* name; absent: the registration's */
    unsigned auth_algs;              /* as advertised and pinned */
};
/* Reads the registration and what it needs; touches the database, so call it outside of network calls. No jku is sent: the server knows our key set from
 * the registration, and some refuse a jku that they did not see there. How to authenticate is the
 * registration's word alone, whatever a server advertises; the profile and the advertised algorithms only say which of our keys signs. CW_E_NOT_FOUND, CW_E_UNAVAILABLE, CW_E_AUTH (cannot be unsealed), CW_E_OOM. */
enum cw_code cw_smart_identity_open(struct cw_model *m, const struct cw_profiles *profiles,
                                    const struct cw_identity_wish *wish, struct cw_arena *arena,
                                    struct cw_smart_identity *ret_identity, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;

#endif
