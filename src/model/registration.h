/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client registrations: our client id (and secret or key) at a vendor or one source; and the signing keys behind
 * private_key_jwt. A registration is used only where FHIR base, authorization and token hosts all match its patterns:
 * a self-declared vendor name chooses quirks, never credentials (design 13).
 */
#ifndef CW_MODEL_REGISTRATION_H
#define CW_MODEL_REGISTRATION_H

#include "base/secret.h"
#include "base/str.h"
#include "model/model.h"
#include "vault/jose.h"

enum cw_auth_method { CW_AUTH_NONE = 1, CW_AUTH_BASIC = 2, CW_AUTH_POST = 3, CW_AUTH_KEY_JWT = 4 };
const char *cw_auth_method_name(enum cw_auth_method method) CW_RETURNS_NONNULL; /* "client_secret_basic" … */
bool cw_auth_method_parse(struct cw_span name, enum cw_auth_method *ret) CW_NONNULL(2) CW_MUST_USE;

struct cw_registration {
    struct cw_registration_id id;
    enum cw_environment environment;
    struct cw_span slug;           /* [a-z0-9-]{1,32}: /callback/{slug} */
    struct cw_span vendor;         /* absent when for one source */
    struct cw_source_id source;    /* zero when for a vendor */
    struct cw_span client_id;
    enum cw_auth_method method;
    struct cw_span scopes;         /* absent: by profile */
    struct cw_span profile;        /* absent: by vendor */
    const struct cw_span *hosts;
    size_t host_count;
    int64_t created_us;
    int64_t rejected_us;           /* the server rejects our client since then, and nobody asks with it (model/breaker.h); 0: it does not */
    int64_t probe_us;              /* the next probe of it */
};

/* Checks everything, seals the secret, makes a slug of its own when none is given. CW_E_RANGE names what is wrong; CW_E_CONFLICT: slug taken. */
enum cw_code cw_registration_add(struct cw_model *m, const struct cw_actor *actor, const struct cw_registration *wanted,
                                 struct cw_span secret, struct cw_registration_id *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_registration_list(struct cw_model *m, struct cw_arena *arena, struct cw_registration **ret,
                                  size_t *ret_count, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_registration_by_slug(struct cw_model *m, struct cw_span slug, struct cw_arena *arena,
                                     struct cw_registration *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_registration_get(struct cw_model *m, struct cw_registration_id id, struct cw_arena *arena,
                                 struct cw_registration *ret, struct cw_err *err) CW_MUST_USE;
/* The one for a source: its own first, else its vendor's; every host given ("host" or "host:port") must match. CW_E_NOT_FOUND: none fits. */
enum cw_code cw_registration_choose(struct cw_model *m, enum cw_environment environment, struct cw_source_id source,
                                    struct cw_span vendor, const struct cw_span *hosts, size_t host_count,
                                    struct cw_arena *arena, struct cw_registration *ret, struct cw_err *err) CW_MUST_USE;
/* True when one of the patterns ("host", "host:port", "*.suffix") matches; a pattern without port means 443 or an allow-listed port. */
bool cw_host_matches(struct cw_span host_port, const struct cw_span *patterns, size_t count);
/* The secret in the clear; empty for none and private_key_jwt. */
enum cw_code cw_registration_secret(struct cw_model *m, struct cw_registration_id id, struct cw_secret *ret,
                                    struct cw_err *err) CW_MUST_USE;

#endif
