/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMART discovery: where a FHIR base sends its patients to sign in. {base}/.well-known/smart-configuration, then the same
 * at the origin's root (MEDITECH), then the oauth-uris extension of {base}/metadata. Answers are judged by their body:
 * fhir.epic.com answers 200 with HTML for any path. Parsing is apart from fetching, so that it can be fuzzed.
 */
#ifndef CW_SMART_DISCOVERY_H
#define CW_SMART_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "net/http.h"

enum cw_discovery_found { CW_FOUND_WELL_KNOWN, CW_FOUND_ORIGIN, CW_FOUND_CAPABILITY };
const char *cw_discovery_found_name(enum cw_discovery_found found) CW_RETURNS_NONNULL;

enum cw_discovery_capability {
    CW_CAP_LAUNCH_STANDALONE = 1u << 0,
    CW_CAP_CONTEXT_PATIENT = 1u << 1,      /* context-standalone-patient */
    CW_CAP_PERMISSION_PATIENT = 1u << 2,
    CW_CAP_PERMISSION_OFFLINE = 1u << 3,
    CW_CAP_PERMISSION_V1 = 1u << 4,
    CW_CAP_PERMISSION_V2 = 1u << 5,
    CW_CAP_AUTHORIZE_POST = 1u << 6,
    CW_CAP_OPENID = 1u << 7                /* sso-openid-connect */
};

/* Text members are "" when the server does not tell them. All live in the arena given. */
struct cw_discovery {
    enum cw_discovery_found found;
    const char *issuer;
    const char *authorization_endpoint;    /* absolute https (or an allow-listed http), never "" */
    const char *token_endpoint;            /* same */
    const char *revocation_endpoint;
    const char *introspection_endpoint;
    const char *registration_endpoint;
    const char *management_endpoint;
    const char *jwks_uri;
    const struct cw_span *scopes;          /* scopes_supported: advertised, not exhaustive */
    size_t scope_count;
    unsigned capabilities;                 /* bits of cw_discovery_capability: hints, servers under-report */
    unsigned auth_methods;                 /* 1u << enum cw_auth_method; 0: not told */
    unsigned auth_algs;                    /* 1u << enum cw_jose_alg for assertions; 0: not told */
    bool pkce_told;                        /* code_challenge_methods_supported was there … */
    bool pkce_s256;                        /* … and named S256 */
    bool iss_parameter;                    /* authorization_response_iss_parameter_supported (RFC 9207) */
};

/* One document. `base` is the FHIR base that relative URLs are resolved against. CW_E_SYNTAX (no JSON object), CW_E_MISSING (no usable endpoint),
 * CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_discovery_parse(struct cw_span body, const char *base, struct cw_arena *arena,
                                struct cw_discovery *ret_discovery, struct cw_err *err) CW_NONNULL(2, 3, 4) CW_MUST_USE;
/* The same from a CapabilityStatement. */
enum cw_code cw_discovery_parse_capability(struct cw_span body, const char *base, struct cw_arena *arena,
                                           struct cw_discovery *ret_discovery, struct cw_err *err)
    CW_NONNULL(2, 3, 4) CW_MUST_USE;

/* Asks the server, in the order above. `base` in the catalogue's form (cw_url_normal_base). Fails with the code of the first try that says most: CW_E_BLOCKED,
 * CW_E_UNAVAILABLE, CW_E_TIMEOUT (none answered), CW_E_UPSTREAM (answered, but nothing usable), CW_E_SYNTAX (bad base). */
enum cw_code cw_smart_discover(struct cw_http *http, const char *base, struct cw_arena *arena,
                               struct cw_discovery *ret_discovery, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

/* The same, telling what each place said: CW_OK, or why it is of no use. For who examines a source. */
typedef void cw_discovery_told_fn(void *arg, const char *url, enum cw_code rc, const struct cw_err *err);
struct cw_discovery_search {
    struct cw_http *http;
    const char *base;
    struct cw_arena *arena;
    cw_discovery_told_fn *told;            /* NULL: nobody listens */
    void *arg;
};
enum cw_code cw_smart_discover_told(const struct cw_discovery_search *search, struct cw_discovery *ret_discovery,
                                    struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;

/* True when issuer, authorization and token hosts of `now` are those of `pinned`: otherwise the change is held for the operator (design 13). */
bool cw_discovery_same_hosts(const struct cw_discovery *pinned, const struct cw_discovery *now) CW_NONNULL(1, 2);

#endif
