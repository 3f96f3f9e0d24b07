/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an authorization holds fast from its start: the endpoints as discovered then, kept with the attempt and the connection
 * (columns `pinned`). Code exchange, refresh and revocation use these, never a fresh document (mix-up, RFC 9700 4.4).
 */
#ifndef CW_SMART_PINNED_H
#define CW_SMART_PINNED_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "smart/discovery.h"

#define CW_PINNED_MAX 16384u

/* Text members are "" when not told. */
struct cw_pinned {
    const char *base;                   /* FHIR base without trailing slash, as requests join it */
    const char *issuer;
    const char *authorization_endpoint;
    const char *token_endpoint;
    const char *revocation_endpoint;
    const char *jwks_uri;
    const char *userinfo_endpoint;
    const char *registration_endpoint;  /* dynamic registration */
    const char *management_endpoint;    /* where patients take access back at the portal */
    const char *profile;                /* vendor profile */
    const char *profile_why;            /* cw_profile_why_name: why this one */
    unsigned auth_methods;              /* 1u << enum cw_auth_method, as advertised; 0: not told */
    unsigned auth_algs;                 /* 1u << enum cw_jose_alg for assertions; 0: not told */
    bool iss_parameter;                 /* RFC 9207: iss must come back */
    unsigned scope_step;                /* of enum cw_scope_step: how the request was bent to what the endpoint has taught (model/lesson.h) */
    bool aud_toggled;
    bool worked_lately;                 /* this very request worked within the hour before: its success is no news */
};

/* Borrows the texts of discovery. `base` is cut of trailing slashes by cw_pinned_emit. */
struct cw_pinned cw_pinned_of(const struct cw_discovery *discovery, const char *base, const char *profile)
    CW_NONNULL(1, 2, 3);
/* Appends the JSON text. */
enum cw_code cw_pinned_emit(const struct cw_pinned *pinned, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;
/* CW_E_SYNTAX, CW_E_MISSING (base or token_endpoint), CW_E_OOM. */
enum cw_code cw_pinned_parse(struct cw_span text, struct cw_arena *arena, struct cw_pinned *ret_pinned,
                             struct cw_err *err) CW_NONNULL(2, 3) CW_MUST_USE;

#endif
