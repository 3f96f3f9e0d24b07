/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token of a pull. One refresher per connection over all nodes: lease and write-ahead intent are committed before the
 * request leaves, the new tokens are committed before anybody uses them, and only a well-formed invalid_grant ends a
 * connection (smart-client-rules section 5). A lost answer is asked once more with the same token: its successor, if there
 * is one, is unknown to us, so reuse detection can cost no more than is lost already.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <poll.h>

#include "base/time.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/client.h"
#include "smart/token.h"

#define OTHERS_TRIES 60     /* half-seconds to wait for another refresher */
#define LOST_PAUSE_MS 2500  /* before the one repeat of a lost answer */

/* A tenth of its life, at least 30 s and at most 300 s, before it ends (smart-client-rules 5.2). */
bool token_is_due(const struct run *run, int64_t now_us)
{
    int64_t life_us = run->token_expires_us - run->token_obtained_us;
    int64_t skew_us = life_us / 10;
    skew_us = skew_us < 30 * CW_SECOND_US ? 30 * CW_SECOND_US : skew_us;
    skew_us = skew_us > 300 * CW_SECOND_US ? 300 * CW_SECOND_US : skew_us;
    if (skew_us > life_us / 2) {
        skew_us = life_us / 2; /* a token of less than a minute is still used for half of it */
    }
    return now_us >= run->token_expires_us - skew_us;
}

/* Waits, but not longer than a stop is asked. */
static bool pause_ms(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0;
}

static enum cw_code use_token(struct scheduler *s, struct run *run, uint32_t version, struct cw_span token,
                              int64_t obtained_us, int64_t expires_us, struct cw_err *err)
{
    pthread_mutex_lock(&s->lock);
    enum cw_code rc = cw_secret_set(&run->token, token);
    run->token_version = version;
    run->token_obtained_us = obtained_us;
    run->token_expires_us = expires_us;
    pthread_mutex_unlock(&s->lock);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "refresh", "no memory for the token");
}

struct refreshing {
    struct scheduler *s;
    struct cw_http *http;
    struct run *run;
    struct cw_refresh_lease lease;
    struct cw_grant grant;
    struct cw_arena *arena;
    bool again;               /* the answer was lost: once more */
};

/* Who is asked, and as whom. */
struct party {
    struct cw_connection connection;
    struct cw_pinned pinned;
};

static enum cw_code give_up(struct refreshing *r, bool maybe_lost, enum cw_code code, const char *why,
                            struct cw_err *err)
{
    struct cw_err ignored = { 0 };
    if (cw_refresh_abandon(&r->s->model, &r->lease, maybe_lost, &ignored) != CW_OK) {
        cw_log(CW_LOG_WARNING, "refresh.abandon_failed", CW_ERR(&ignored));
    }
    return cw_err_set(err, code, "refresh", "%s", why);
}

static enum cw_code keep(struct refreshing *r, const struct cw_smart_grant *answer, struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_refreshed tokens = {
        .access_token = cw_secret_span(&answer->access_token),
        .refresh_token = cw_secret_span(&answer->refresh_token),
        .obtained_us = now_us,
        .expires_us = answer->expires_us,
    };
    if (answer->scope_told && answer->scope.len > 0) {
        tokens.scopes = cw_str_span(&answer->scope);
    }
    /* With a rotating server the old token is gone: the new one is written again and again rather than dropped. */
    enum cw_code rc = cw_refresh_commit(&r->s->model, &r->lease, &tokens, err);
    for (int i = 0; i < 20 && (rc == CW_E_UNAVAILABLE || rc == CW_E_RETRY); i++) {
        (void)pause_ms(500);
        rc = cw_refresh_commit(&r->s->model, &r->lease, &tokens, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    return use_token(r->s, r->run, r->lease.version + 1, tokens.access_token, now_us, answer->expires_us, err);
}

static enum cw_code bury(struct refreshing *r, struct cw_err *err)
{
    const char *code = r->grant.refresh_tries > 1 ? "lost_rotation" : "refresh_refused";
    enum cw_code rc = cw_refresh_dead(&r->s->model, &r->s->actor, &r->lease, code, err);
    return rc == CW_OK ? cw_err_set(err, CW_E_AUTH, "refresh", "the grant has ended") : rc;
}

static enum cw_code conclude(struct refreshing *r, enum cw_token_outcome outcome, const struct cw_smart_grant *answer,
                             struct cw_err *err)
{
    switch (outcome) {
    case CW_TOKEN_OK:
        return keep(r, answer, err);
    case CW_TOKEN_INVALID_GRANT:
        return bury(r, err);
    case CW_TOKEN_LOST:
        r->again = r->grant.refresh_tries <= 1;
        return give_up(r, true, CW_E_UNAVAILABLE, "the answer was lost", err);
    case CW_TOKEN_INVALID_CLIENT:
        cw_log(CW_LOG_ERR, "registration.client_rejected",
               CW_ID("registration", CW_PREFIX_REGISTRATION, r->run->connection.registration));
        return give_up(r, false, CW_E_CONFIG, "our client was rejected", err);
    case CW_TOKEN_NOT_SENT:
    case CW_TOKEN_BUSY:
    case CW_TOKEN_BLOCKED:
        return give_up(r, false, CW_E_UNAVAILABLE, cw_token_outcome_name(outcome), err);
    case CW_TOKEN_UNAUTHORIZED:
    case CW_TOKEN_INVALID_SCOPE:
    case CW_TOKEN_REFUSED:
    case CW_TOKEN_BAD_ANSWER:
    case CW_TOKEN_UNSUPPORTED:
    case CW_TOKEN__COUNT:
        break;
    }
    return give_up(r, false, CW_E_UPSTREAM, cw_token_outcome_name(outcome), err);
}

/* The connection as it is now: the patient may have signed in again since the run began, at another endpoint or under
 * another registration, and a token goes only where it came from. */
static enum cw_code read_party(struct refreshing *r, struct party *ret, struct cw_err *err)
{
    enum cw_code rc = cw_connection_get(&r->s->model, r->run->connection.id, r->arena, &ret->connection, err);
    return rc == CW_OK ? cw_pinned_parse(ret->connection.pinned, r->arena, &ret->pinned, err) : rc;
}

/* With the lease held: asks the server and keeps what came. */
static enum cw_code ask(struct refreshing *r, struct cw_err *err)
{
    CW_AUTO_IDENTITY identity = { 0 };
    struct run *run = r->run;
    struct party party;
    enum cw_code rc = read_party(r, &party, err);
    if (rc == CW_OK) {
        rc = cw_smart_identity_open(&r->s->model, r->s->profiles, party.connection.registration,
                                    cw_span_cstr(party.pinned.profile), r->arena, &identity, err);
    }
    if (rc != CW_OK) {
        (void)give_up(r, false, rc, "our client could not be opened", NULL);
        return rc;
    }
    struct cw_smart_refresh request = {
        .token_endpoint = party.pinned.token_endpoint,
        .refresh_token = cw_secret_span(&r->grant.refresh),
        .scope = party.connection.scopes,
    };
    CW_AUTO_GRANT answer;
    cw_smart_grant_init(&answer);
    struct cw_err told = { 0 };
    enum cw_token_outcome outcome = cw_smart_refresh(r->http, &identity.client, &request, &answer, &told);
    cw_log(outcome == CW_TOKEN_OK ? CW_LOG_INFO : CW_LOG_WARNING, "token.refresh",
           CW_ID("connection", CW_PREFIX_CONNECTION, run->connection.id),
           CW_LIT("outcome", cw_token_outcome_name(outcome)), CW_INT("status", answer.status));
    return conclude(r, outcome, &answer, err);
}

static enum cw_code refresh_locked(struct refreshing *r, uint32_t seen, struct cw_err *err)
{
    enum cw_code rc = cw_refresh_begin(&r->s->model, r->s->owner, r->run->connection.id, seen, &r->lease, &r->grant, err);
    if (rc == CW_OK) {
        rc = ask(r, err);
        cw_grant_release(&r->grant);
    }
    return rc;
}

static enum cw_code one_time_over(struct scheduler *s, struct run *run, struct cw_err *err)
{
    enum cw_code rc = cw_connection_end_one_time(&s->model, &s->actor, run->connection.id, err);
    return rc == CW_OK ? cw_err_set(err, CW_E_EXPIRED, "refresh", "one-time access has ended") : rc;
}

enum cw_code refresh_token(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_err *err)
{
    struct refreshing r = { .s = s, .http = http, .run = run };
    r.arena = cw_arena_new((size_t)1024 * 1024);
    if (r.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "refresh", "out of memory");
    }
    enum cw_code rc = CW_E_UNAVAILABLE;
    for (int tries = 0; tries < OTHERS_TRIES; tries++) {
        struct cw_grant grant = { 0 };
        rc = cw_grant_get(&s->model, run->connection.id, &grant, err);
        if (rc != CW_OK) {
            break;
        }
        uint32_t version = grant.version;
        bool renewable = grant.refresh.len > 0;
        rc = use_token(s, run, version, cw_secret_span(&grant.access), grant.obtained_us, grant.expires_us, err);
        cw_grant_release(&grant);
        int64_t now_us = cw_now_us();
        bool refused = run->refused_version == version && version != 0;
        if (rc != CW_OK || (!refused && !token_is_due(run, now_us))) {
            break;
        }
        if (!renewable) {
            rc = refused || now_us >= run->token_expires_us ? one_time_over(s, run, err) : CW_OK;
            break;
        }
        rc = refresh_locked(&r, version, err);
        if (r.again) {
            r.again = false;
            if (!pause_ms(LOST_PAUSE_MS)) {
                break;
            }
        } else if (rc != CW_E_CONFLICT && rc != CW_E_STATE) {
            break;
        } else if (!pause_ms(500)) {
            break;
        }
    }
    cw_arena_free(r.arena);
    return rc;
}
