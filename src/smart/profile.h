/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vendor profiles: how one kind of EHR departs from the rules, as data (conf/vendors/<name>.json), never as code. A
 * profile chooses quirks only; it never chooses credentials (design 13). "default.json" must be there; what another file
 * leaves out is taken from it. Loaded once at start, read-only afterwards, so shared between threads.
 */
#ifndef CW_SMART_PROFILE_H
#define CW_SMART_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/span.h"
#include "model/registration.h"

enum cw_scope_dialect {
    CW_SCOPE_NEGOTIATED,  /* from the discovery document */
    CW_SCOPE_V2,          /* patient/Observation.rs */
    CW_SCOPE_V1,          /* patient/Observation.read */
    CW_SCOPE_FIXED,       /* scopes come from the app's registration at the vendor (Epic): only the launch ones are sent */
    CW_SCOPE_LITERAL      /* exactly the profile's scope_literal */
};

enum cw_aud_slash { CW_AUD_AS_PUBLISHED, CW_AUD_STRIP, CW_AUD_ADD };

struct cw_profile {
    const char *name;                /* "epic"; the file's name */
    enum cw_scope_dialect scope_dialect;
    int scope_wildcard;              /* 1 may, 0 must not, -1 only where it is advertised */
    const char *scope_literal;       /* "" unless the dialect is literal */
    const char *scope_extra;         /* added, separated by blanks */
    const char *scope_drop;          /* never asked */
    bool send_aud;
    enum cw_aud_slash aud_slash;
    bool pkce;                       /* false only for servers that refuse S256 */
    bool send_nonce;                 /* with openid */
    bool strip_authorize_slash;      /* Veradigm */
    bool state_opaque43;             /* knob state_format: opaque43 (design 13) */
    bool auth_given;                 /* auth_method says which method wins over the advertised ones */
    enum cw_auth_method auth_method;
    bool basic_encoded;              /* form-encode id and secret before base64 (RFC 6749 2.3.1); SMART says raw */
    bool client_id_always;           /* client_id in the body even with Basic or a JWT */
    bool refresh_scope;              /* athenahealth */
    bool refresh_redirect_uri;       /* athenaPractice/Flex */
    const char *patient_claim;       /* access-token claim with the patient id besides the usual ones; "" */
    bool patient_search;             /* may ask GET {base}/Patient when the token names none (NextGen) */
    /* The pull (fhir/plan reads these). */
    const char *accept;              /* of FHIR requests */
    int count;                       /* _count; 0: leave out */
    int max_conn;                    /* parallel requests of a connection; 0: the configured number */
    int rate_per_min;                /* per host; 0: no budget of its own */
    bool everything;                 /* Patient/{id}/$everything is good here */
    const json_t *pull;              /* the file's "pull" object: per-type searches; NULL when none. Borrowed. */
};

struct cw_profiles;
void cw_profiles_free(struct cw_profiles *profiles);
/* Reads every *.json of the folder. CW_E_CONFIG (unknown or wrong member, no default.json; err names file and member), CW_E_IO, CW_E_OOM. */
enum cw_code cw_profiles_load(const char *dir, struct cw_profiles **ret_profiles, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* By name; "default" for an unknown one or an absent span. Never NULL; borrowed. */
const struct cw_profile *cw_profiles_get(const struct cw_profiles *profiles, struct cw_span name)
    CW_NONNULL(1) CW_RETURNS_NONNULL;
/* By what a server says of itself: CapabilityStatement.software.name, publisher, and the base's host suffix, each may be absent.
 * The first profile (files in order of name) whose "match" fits; "default" otherwise. */
const struct cw_profile *cw_profiles_detect(const struct cw_profiles *profiles, struct cw_span software,
                                            struct cw_span publisher, struct cw_span host)
    CW_NONNULL(1) CW_RETURNS_NONNULL;

#endif
