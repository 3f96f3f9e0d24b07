/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMART discovery: where a FHIR base sends its patients to sign in. {base}/.well-known/smart-configuration, then the same
 * at the origin's root (MEDITECH), then the oauth-uris extension of {base}/metadata, then, only where a vendor profile names it, a metadata
 * document of the authorization server (RFC 8414). Answers are judged by their body: fhir.epic.com answers 200 with HTML for any path.
 * Parsing is apart from fetching, so that it can be fuzzed.
 */
#ifndef CW_SMART_DISCOVERY_H
#define CW_SMART_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "net/http.h"

enum cw_discovery_found { CW_FOUND_WELL_KNOWN, CW_FOUND_ORIGIN, CW_FOUND_CAPABILITY, CW_FOUND_METADATA, CW_FOUND__COUNT };
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
    const char *userinfo_endpoint;
    const char *const *associated;         /* bases that share this authorization (SMART 2.2 associated_endpoints) */
    size_t associated_count;
    const struct cw_span *scopes;          /* scopes_supported: advertised, not exhaustive */
    size_t scope_count;
    unsigned capabilities;                 /* bits of cw_discovery_capability: hints, servers under-report */
    unsigned auth_methods;                 /* 1u << enum cw_auth_method; 0: not told */
    unsigned auth_algs;                    /* 1u << enum cw_jose_alg for assertions; 0: not told */
    bool pkce_told;                        /* code_challenge_methods_supported was there … */
    bool pkce_s256;                        /* … and named S256 */
    bool duplicates;                       /* a member stood twice; the last one counts */
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

/* Appends what is known as a document that cw_discovery_stored reads, so that nothing is lost while a server is down. The string's fault. */
enum cw_code cw_discovery_emit(const struct cw_discovery *discovery, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;
/* Codes as cw_discovery_parse. */
enum cw_code cw_discovery_stored(struct cw_span text, const char *base, struct cw_arena *arena,
                                 struct cw_discovery *ret_discovery, struct cw_err *err) CW_NONNULL(2, 3, 4) CW_MUST_USE;

#define CW_DISCOVERY_GOOD_MIN_S (5 * 60)
#define CW_DISCOVERY_GOOD_MAX_S (24 * 60 * 60) /* also where the server says nothing */
#define CW_ETAG_MAX 255u
#define CW_ASSOCIATED_MAX 32u

/* How long a document is good by its Cache-Control: max-age within the two bounds, the lower one for no-store and no-cache. */
int64_t cw_discovery_good_for_s(struct cw_span cache_control);

/* What one place said: CW_OK, or why it is of no use. */
typedef void cw_discovery_told_fn(void *arg, const char *url, enum cw_code rc, const struct cw_err *err);

/* One question. */
struct cw_discovery_ask {
    const char *base;            /* in the catalogue's form (cw_url_normal_base) */
    const char *metadata_url;    /* tried last; NULL or "": none */
    struct cw_span etag;         /* of the document from {base}/.well-known that is at hand; absent: none */
    cw_discovery_told_fn *told;  /* NULL: nobody listens */
    void *arg;
};
struct cw_discovery_facts {
    bool unchanged;              /* 304: the document at hand is still the one, and *ret_discovery was not touched */
    const char *etag;            /* "" when none came, or from another place than {base}/.well-known */
    int64_t good_for_s;
};
/* Asks the server, in the order above. Fails with the code of the first try that says most: CW_E_BLOCKED,
 * CW_E_UNAVAILABLE, CW_E_TIMEOUT (none answered), CW_E_UPSTREAM (answered, but nothing usable), CW_E_SYNTAX (bad base). */
enum cw_code cw_smart_discover_again(struct cw_http *http, const struct cw_discovery_ask *ask, struct cw_arena *arena,
                                     struct cw_discovery *ret_discovery, struct cw_discovery_facts *ret_facts, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;
/* The same without anything at hand. */
enum cw_code cw_smart_discover(struct cw_http *http, const char *base, struct cw_arena *arena,
                               struct cw_discovery *ret_discovery, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

/* The same, telling what each place said: CW_OK, or why it is of no use. For who examines a source. */
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
