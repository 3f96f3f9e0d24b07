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
#include "base/str.h"
#include "model/registration.h"
#include "vault/jose.h"

enum cw_scope_dialect {
    CW_SCOPE_NEGOTIATED,  /* from the discovery document */
    CW_SCOPE_V2,          /* patient/Observation.rs */
    CW_SCOPE_V1,          /* patient/Observation.read */
    CW_SCOPE_FIXED,       /* scopes come from the app's registration at the vendor (Epic): only the launch ones are sent */
    CW_SCOPE_LITERAL      /* exactly the profile's scope_literal */
};

enum cw_aud_slash { CW_AUD_AS_PUBLISHED, CW_AUD_STRIP, CW_AUD_ADD };
enum cw_authorize_via { CW_VIA_AUTO, CW_VIA_GET, CW_VIA_POST }; /* auto: POST when the URL is long and the server says that it takes it */
enum cw_last_updated { CW_LAST_UPDATED_ADVERTISED, CW_LAST_UPDATED_NO, CW_LAST_UPDATED_YES };

#define CW_PROFILE_HEADERS_MAX 8u
#define CW_PROFILE_TYPES_MAX 64u
#define CW_PROFILE_QUERY_MAX 1024u

/* A header of FHIR requests. "{client_id}" in the value stands for ours (Epic-Client-ID). */
struct cw_profile_header {
    const char *name;
    const char *value;
};

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
    enum cw_authorize_via authorize_via;
    bool strip_authorize_slash;      /* Veradigm */
    bool state_opaque43;             /* knob state_format: opaque43 (design 13) */
    const char *metadata_url;        /* RFC 8414 or openid-configuration document, tried last; "" */
    bool auth_given;                 /* auth_method says which method wins over the advertised ones */
    enum cw_auth_method auth_method;
    enum cw_jose_alg jwt_alg;        /* of client assertions */
    bool basic_encoded;              /* form-encode id and secret before base64 (RFC 6749 2.3.1); SMART says raw */
    bool client_id_always;           /* client_id in the body even with Basic or a JWT */
    bool refresh_scope;              /* athenahealth */
    bool refresh_redirect_uri;       /* athenaPractice/Flex */
    int keep_alive_days;             /* refreshed at least so often; 0: 30 */
    bool revoke_ends_all;            /* revoking a token ends all that the patient has granted our client there (Blue Button) */
    const char *patient_claim;       /* access-token claim with the patient id besides the usual ones; "" */
    bool patient_userinfo;           /* there is a userinfo endpoint beside the base although discovery names none (Blue Button) */
    bool patient_search;             /* may ask for Patient, then Coverage and ExplanationOfBenefit, when nothing names the patient */
    bool dynamic_registration;       /* a public client registers itself anew for each connection (Epic) */
    const char *tenant_claim;        /* access-token claim that is the connection's tenant context (athenahealth ah_practice); "" */
    /* The pull (fhir/plan and the fetcher read these). */
    const char *accept;              /* of FHIR requests */
    const char *extra_query;         /* of FHIR searches, with "{tenant}" for the tenant context: cw_profile_query; "" */
    const struct cw_profile_header *extra_headers;
    size_t extra_header_count;
    const char *const *types;        /* resource types to ask for, instead of all; NULL: all */
    size_t type_count;
    enum cw_last_updated last_updated; /* may _lastUpdated be believed: where the CapabilityStatement lists it, never, always */
    int count;                       /* _count; 0: leave out */
    int max_conn;                    /* parallel requests of a connection; 0: the configured number */
    int rate_per_min;                /* per host; 0: no budget of its own */
    bool everything;                 /* Patient/{id}/$everything is good here */
    const json_t *pull;              /* the file's "pull" object: per-type searches; NULL when none. Borrowed. */
};

struct cw_profiles;
void cw_profiles_free(struct cw_profiles *profiles);
/* Reads every *.json of the folder. CW_E_CONFIG (unknown or wrong member, members that do not go together, two profiles that
 * claim the same server, no default.json; err names file and member), CW_E_IO, CW_E_OOM. */
enum cw_code cw_profiles_load(const char *dir, struct cw_profiles **ret_profiles, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* By name; "default" for an unknown one or an absent span. Never NULL; borrowed. */
const struct cw_profile *cw_profiles_get(const struct cw_profiles *profiles, struct cw_span name)
    CW_NONNULL(1) CW_RETURNS_NONNULL;
/* NULL where there is no such profile. */
const struct cw_profile *cw_profiles_find(const struct cw_profiles *profiles, struct cw_span name) CW_NONNULL(1);

/* Why a profile was chosen, in order of weight. */
enum cw_profile_why {
    CW_PROFILE_BY_OPERATOR,     /* set for the source */
    CW_PROFILE_BY_REGISTRATION,
    CW_PROFILE_BY_CATALOGUE,    /* the vendor of the list that the source came from */
    CW_PROFILE_BY_HOST,         /* the base's host, the longest suffix that fits */
    CW_PROFILE_BY_SOFTWARE,     /* CapabilityStatement.software.name */
    CW_PROFILE_BY_PUBLISHER,
    CW_PROFILE_BY_DEFAULT,
    CW_PROFILE_WHY__COUNT
};
const char *cw_profile_why_name(enum cw_profile_why why) CW_RETURNS_NONNULL; /* "operator" … */

/* What is known of an endpoint; each may be absent, and a name without a profile counts as not told. */
struct cw_profile_facts {
    struct cw_span operator_choice, registration, vendor;
    struct cw_span host, software, publisher;
};
struct cw_profile_choice {
    const struct cw_profile *profile; /* never NULL; borrowed */
    enum cw_profile_why why;
};
struct cw_profile_choice cw_profiles_choose(const struct cw_profiles *profiles, const struct cw_profile_facts *facts)
    CW_NONNULL(1, 2);

/* Appends the profile's extra query with the tenant context put in, percent-encoded; nothing when the profile has none or wants a tenant context
 * that is not known. What the text before the placeholder already says is not repeated: "Practice-{tenant}" takes "7" and "Practice-7".
 * The string's fault is returned. */
enum cw_code cw_profile_query(const struct cw_profile *profile, struct cw_span tenant, struct cw_str *out)
    CW_NONNULL(1, 3) CW_MUST_USE;

#endif
