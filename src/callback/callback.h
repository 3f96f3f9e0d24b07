/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-callback: the OAuth redirect URI. One request carries one attempt from the portal's answer to a stored connection, in the order
 * that smart-client-rules 3.1 gives: state, row, cookie, consume, iss, error, code, exchange, scopes, patient, one transaction.
 * Private to this program.
 */
#ifndef CW_CALLBACK_CALLBACK_H
#define CW_CALLBACK_CALLBACK_H

#include <pthread.h>

#include "model/attempt.h"
#include "net/http.h"
#include "os/config.h"
#include "smart/client.h"
#include "smart/pinned.h"
#include "smart/profile.h"
#include "smart/register.h"
#include "smart/token.h"
#include "web/template.h"
#include "web/web.h"

struct cw_http_pool;
struct cw_jwks_cache;

struct cw_callback {
    const struct cw_config *config;
    const char *origin;
    bool secure;                   /* the site is on https: cookies have the __Host- prefix */
    struct cw_model model;
    struct cw_profiles *profiles;
    struct cw_templates *templates;
    struct cw_http_pool *https;
    struct cw_jwks_cache *jwks;
    struct cw_limiter *limiter;
};

/* --- pool.c: clients for outgoing requests. A client keeps the parsed CA bundle (about 1 MB and 22 ms), so there are as many as were ever
 * needed at once, not one a thread; the last one given back is the first to go out again. --- */
void cw_http_pool_free(struct cw_http_pool *pool);
struct cw_http_pool *cw_http_pool_new(const struct cw_config *config, unsigned most) CW_MUST_USE
    CW_MALLOC(cw_http_pool_free);
enum cw_code cw_http_pool_take(struct cw_http_pool *pool, struct cw_http **ret_http, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
void cw_http_pool_give(struct cw_http_pool *pool, struct cw_http *http) CW_NONNULL(1);

/* --- what came back from the portal; spans borrow from the request --- */
struct cw_callback_input {
    struct cw_span slug;           /* of the registration, from the path */
    struct cw_span state, code, iss, error, error_text;
    struct cw_span error_uri;      /* as it came, for the operator's card and a link */
    struct cw_span browser;        /* the cookie's value; absent: none */
};

enum cw_callback_end {
    CW_CALLBACK_CONNECTED,
    CW_CALLBACK_FAILED,            /* attempt failed with `failure`; the browser is the right one */
    CW_CALLBACK_FOREIGN_BROWSER,   /* attempt failed with browser_mismatch: tell this browser nothing of the Session */
    CW_CALLBACK_NO_STATE,          /* unknown, used or foreign state: there is nothing to go back to */
    CW_CALLBACK_FAULT              /* of our own (database away …): code in *err */
};

struct cw_callback_outcome {
    enum cw_callback_end end;
    const char *failure;           /* one of CW_FAIL_…, for CW_CALLBACK_FAILED */
    struct cw_attempt attempt;     /* for CONNECTED and FAILED, without secrets */
};

/* --- finish.c: the whole way; touches no reply. Logs a failed attempt once. --- */
void cw_callback_finish(struct cw_callback *app, const struct cw_callback_input *input, const char *request_id,
                        struct cw_arena *arena, struct cw_callback_outcome *ret, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 5, 6);
/* The failure code of an OAuth error that the portal redirected with, and of a token endpoint's outcome. */
const char *cw_callback_portal_failure(struct cw_span error) CW_RETURNS_NONNULL;
const char *cw_callback_token_failure(enum cw_token_outcome outcome) CW_RETURNS_NONNULL;
/* RFC 9207 against what was pinned; false: mixed up. */
bool cw_callback_issuer_fits(bool announced, const char *issuer, struct cw_span iss) CW_NONNULL(2);

/* --- judge.c: what the tokens are worth --- */
struct cw_callback_case {          /* all borrowed */
    struct cw_callback *app;
    struct cw_http *http;
    const struct cw_attempt *attempt;
    const struct cw_pinned *pinned;
    const struct cw_smart_identity *identity;
    const struct cw_smart_grant *grant;
};
struct cw_callback_found {
    struct cw_str patient;         /* upstream id */
    struct cw_str tenant;          /* tenant context; "" where the vendor has none */
};
void cw_callback_found_init(struct cw_callback_found *found) CW_NONNULL(1);
void cw_callback_found_release(struct cw_callback_found *found) CW_NONNULL(1);
/* NULL: good, and *ret says whose records they open. Otherwise one of CW_FAIL_…, and err says why. Asks the network. */
const char *cw_callback_judge(const struct cw_callback_case *c, struct cw_callback_found *ret, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* Registers a client for this grant alone where the profile says so, our client is public and no refresh token came; otherwise, or where
 * that is not to be had, *ret stays empty: one-time access. */
void cw_callback_register(const struct cw_callback_case *c, struct cw_registered *ret) CW_NONNULL(1, 2);
/* Revokes the tokens: what nobody will use does not stay behind at the hospital. What still lives after this one try is in *ret_left, to be tried
 * again later; nothing where the hospital does not revoke. */
struct cw_callback_left {
    bool refresh, access;
};
void cw_callback_give_back(const struct cw_callback_case *c, struct cw_callback_left *ret_left) CW_NONNULL(1, 2);

/* --- pages.c --- */
/* Sends the browser on: to the result page (Picker mode) or to return_url (Direct mode). */
void cw_callback_go_on(struct cw_callback *app, struct cw_request *request, struct cw_reply *reply,
                       const struct cw_callback_outcome *outcome) CW_NONNULL(1, 2, 3, 4);
/* A plain page of two locale texts, such as "callback.state". */
void cw_callback_message(struct cw_request *request, struct cw_reply *reply, int status, const char *title_key,
                         const char *text_key) CW_NONNULL(1, 2, 4, 5);
/* The page that sends a form_post answer again from our own origin, as a GET, so that the Lax cookie comes along. */
void cw_callback_resubmit(struct cw_request *request, struct cw_reply *reply, const struct cw_callback_input *input)
    CW_NONNULL(1, 2, 3);
void cw_callback_fault_page(struct cw_request *request, struct cw_reply *reply, int status, const char *code);
void cw_callback_busy(struct cw_request *request, struct cw_reply *reply);

/* --- routes.c --- */
extern const struct cw_route cw_callback_routes[];
extern const size_t cw_callback_route_count;
bool cw_callback_admit(struct cw_request *request, struct cw_reply *reply);

#endif
