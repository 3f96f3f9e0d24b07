/* SPDX-License-Identifier: Apache-2.0 */
/* From a registration's row to a client that can speak to a token endpoint. */
#include "config.h"

#include "smart/client.h"

#include "model/signing.h"

void cw_smart_identity_release(struct cw_smart_identity *identity)
{
    cw_secret_release(&identity->secret);
    cw_signing_key_free(identity->key);
    identity->key = NULL;
}

enum cw_code cw_smart_identity_open(struct cw_model *m, const struct cw_profiles *profiles,
                                    struct cw_registration_id registration, struct cw_span profile_name,
                                    struct cw_arena *arena, struct cw_smart_identity *ret_identity, struct cw_err *err)
{
    struct cw_smart_identity identity = { .key = NULL };
    enum cw_code rc = cw_registration_get(m, registration, arena, &identity.registration, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_registration *row = &identity.registration;
    const struct cw_profile *profile = cw_profiles_get(profiles, profile_name.len > 0 ? profile_name : row->profile);
    if (row->method == CW_AUTH_BASIC || row->method == CW_AUTH_POST) {
        rc = cw_registration_secret(m, registration, &identity.secret, err);
    } else if (row->method == CW_AUTH_KEY_JWT) {
        rc = cw_signing_key_current(m, profile->jwt_alg, &identity.key, err);
    }
    if (rc != CW_OK) {
        cw_smart_identity_release(&identity);
        return rc;
    }
    identity.client = (struct cw_smart_client){
        .profile = profile,
        .auth = row->method,
        .client_id = row->client_id,
        .secret = cw_secret_span(&identity.secret),
        .key = identity.key,
    };
    *ret_identity = identity;
    return CW_OK;
}
