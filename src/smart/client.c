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

enum cw_jose_alg cw_smart_choose_alg(const struct cw_profile *profile, unsigned advertised)
{
    static const enum cw_jose_alg ours[] = { CW_ALG_RS384, CW_ALG_ES384 };
    if ((advertised & (1u << profile->jwt_alg)) != 0) {
        return profile->jwt_alg;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(ours); i++) {
        if ((advertised & (1u << ours[i])) != 0) {
            return ours[i];
        }
    }
    return profile->jwt_alg;
}

enum cw_code cw_smart_identity_open(struct cw_model *m, const struct cw_profiles *profiles,
                                    const struct cw_identity_wish *wish, struct cw_arena *arena,
                                    struct cw_smart_identity *ret_identity, struct cw_err *err)
{
    struct cw_smart_identity identity = { .key = NULL };
    enum cw_code rc = cw_registration_get(m, wish->registration, arena, &identity.registration, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_registration *row = &identity.registration;
    const struct cw_profile *profile = cw_profiles_get(profiles, wish->profile.len > 0 ? wish->profile : row->profile);
    if (row->method == CW_AUTH_BASIC || row->method == CW_AUTH_POST) {
        rc = cw_registration_secret(m, wish->registration, &identity.secret, err);
    } else if (row->method == CW_AUTH_KEY_JWT) {
        rc = cw_signing_key_current(m, cw_smart_choose_alg(profile, wish->auth_algs), &identity.key, err);
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
