/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token endpoint: code exchange and refresh, with any of the four ways to show who we are. Answers are read leniently
 * (floats, numbers as text, wrong content types, errors in 200 and 500), and each ends in one outcome that says what may
 * be done next; only CW_TOKEN_INVALID_GRANT, well-formed, ends a grant.
 */
#ifndef CW_SMART_TOKEN_H
#define CW_SMART_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/span.h"
#include "base/str.h"
#include "model/exchange.h"
#include "net/http.h"
#include "smart/profile.h"
#include "vault/jose.h"

/* Who we are at one vendor. Borrowed by each call. */
struct cw_smart_client {
    const struct cw_profile *profile;
    enum cw_auth_method auth;
    struct cw_span client_id;
    struct cw_span secret;                 /* for BASIC and POST */
    const struct cw_signing_key *key;      /* for JWT */
    struct cw_span jku;                    /* our JWKS URL, as registered; absent: not sent */
};
/* The way to use when the registration does not say: profile, then JWT if we have a key and it is advertised, basic, post, none. `advertised` is
 * cw_discovery.auth_methods; 0 means client_secret_basic (RFC 8414). */
enum cw_auth_method cw_smart_choose_auth(const struct cw_profile *profile, unsigned advertised, bool have_key,
                                         bool have_secret) CW_NONNULL(1);

enum cw_token_outcome {
    CW_TOKEN_OK,
    CW_TOKEN_INVALID_GRANT,      /* the code or refresh token is no good, said by well-formed JSON */
    CW_TOKEN_INVALID_CLIENT,     /* our credential: concerns every connection of the registration */
    CW_TOKEN_UNAUTHORIZED,       /* unauthorized_client, unsupported_grant_type: not (yet) enabled there */
    CW_TOKEN_INVALID_SCOPE,
    CW_TOKEN_REFUSED,            /* another OAuth error */
    CW_TOKEN_BAD_ANSWER,         /* answered, but HTML, no JSON, or no access_token */
    CW_TOKEN_UNSUPPORTED,        /* token_type is not Bearer (DPoP, mac) */
    CW_TOKEN_BUSY,               /* 408, 429, 5xx without an OAuth error: later works */
    CW_TOKEN_LOST,               /* sent, and no whole answer: the server may have acted */
    CW_TOKEN_NOT_SENT,           /* name, connect or TLS failed before anything was sent: nothing is lost */
    CW_TOKEN_BLOCKED,            /* our own policy or a bad URL */
    CW_TOKEN__COUNT
};
/* "invalid_grant", "bad_answer" …: stable, for logs and rows. */
const char *cw_token_outcome_name(enum cw_token_outcome outcome) CW_RETURNS_NONNULL;

/* An answer. Release it always; secrets are wiped. */
struct cw_smart_grant {
    struct cw_secret access_token;
    struct cw_secret refresh_token;   /* ptr NULL: none came; at refresh: keep the old one */
    struct cw_secret id_token;        /* ptr NULL: none */
    struct cw_str scope;              /* as sent; see scope_told */
    bool scope_told;
    struct cw_str patient;            /* the token's `patient`; "" when not told. An opaque string (Blue Button: "-2014…") */
    int64_t expires_us;               /* wall clock, from the time of sending; never 0 */
    bool expires_assumed;             /* not told: 300 s */
    bool type_assumed;                /* token_type not told: Bearer */
    int64_t ends_us;                  /* the refresh token's or the whole grant's end, as far as told; 0: not told */
    bool ends_fixed;                  /* a refresh does not move it (Blue Button's access_grant_expiration) */
    long retry_after_s;               /* -1: not told */
    int status;                       /* HTTP status, 0 when no answer came */
    bool empty;                       /* an answer without a word in it */
    char error[64];                   /* OAuth error code if it is one of RFC 6749's characters, else "" */
    struct cw_exchange exchange;      /* what was sent and answered, redacted; its kind is NULL where nothing was tried */
    struct cw_str error_text;         /* error_description, or error_uri: foreign, for the operator, encrypted at rest; "" */
};
void cw_smart_grant_init(struct cw_smart_grant *grant) CW_NONNULL(1);
void cw_smart_grant_release(struct cw_smart_grant *grant) CW_NONNULL(1);
#define CW_AUTO_GRANT CW_CLEANUP(cw_smart_grant_release) struct cw_smart_grant

/* A body of the token endpoint, whatever its status; pure. sent_us is the wall clock when the request left. */
enum cw_token_outcome cw_smart_token_parse(long status, struct cw_span body, int64_t sent_us,
                                           struct cw_smart_grant *grant) CW_NONNULL(4);

struct cw_smart_exchange {
    const char *token_endpoint;       /* pinned with the attempt */
    struct cw_span code;              /* decoded once */
    struct cw_span redirect_uri;      /* byte for byte that of the authorization request */
    struct cw_span verifier;          /* absent when the profile has no PKCE */
};
/* One POST, never repeated: a code is good once. */
enum cw_token_outcome cw_smart_exchange(struct cw_http *http, const struct cw_smart_client *client,
                                        const struct cw_smart_exchange *exchange, struct cw_smart_grant *grant,
                                        struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

struct cw_smart_refresh {
    const char *token_endpoint;
    struct cw_span refresh_token;
    struct cw_span scope;             /* the granted scope; sent only where the profile says so */
    struct cw_span redirect_uri;      /* same */
};
/* One POST on a connection of its own, never repeated here: what to do after LOST is the caller's (write-ahead intent). */
enum cw_token_outcome cw_smart_refresh(struct cw_http *http, const struct cw_smart_client *client,
                                       const struct cw_smart_refresh *refresh, struct cw_smart_grant *grant,
                                       struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

#endif
