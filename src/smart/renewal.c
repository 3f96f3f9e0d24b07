/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See renewal.h. A lost answer is asked once more with the same token after 2 to 5 s: its successor, if there is one, is unknown
 * to us, so reuse detection can cost no more than is lost already. What the answers mean is in one table, `outcomes`.
 */
#include "config.h"

#include "smart/renewal.h"

#include <poll.h>

#include "base/time.h"
#include "model/breaker.h"
#include "model/dynamic_client.h"
#include "model/exchange.h"
#include "model/failure.h"
#include "model/refresh.h"
#include "model/source.h"
#include "os/sys.h"
#include "smart/client.h"
#include "smart/pinned.h"
#include "smart/register.h"

#define WAIT_MOST_US (30 * CW_SECOND_US)  /* for another refresher */
#define LOOK_EVERY_MS 500
#define WRITE_PAUSE_MS 250                /* between two tries to write new tokens down; grows to: */
#define WRITE_PAUSE_MOST_MS 5000
#define WRITE_AFTER_STOP_US (60 * CW_SECOND_US)
#define ARENA_MAX ((size_t)1024 * 1024)

bool cw_token_is_due(int64_t obtained_us, int64_t expires_us, int64_t now_us)
{
    int64_t life_us = expires_us - obtained_us;
    int64_t skew_us = life_us / 10;
    skew_us = skew_us < 30 * CW_SECOND_US ? 30 * CW_SECOND_US : skew_us;
    skew_us = skew_us > 300 * CW_SECOND_US ? 300 * CW_SECOND_US : skew_us;
    if (skew_us > life_us / 2) {
        skew_us = life_us / 2; /* a token of less than a minute is still used for half of it */
    }
    return now_us >= expires_us - skew_us;
}

/* Waits, but not longer than a stop is asked. */
static bool pause_ms(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0;
}

struct refreshing {
    const struct cw_renewer *by;
    struct cw_http *http;
    struct cw_renewal *wish;
    struct cw_refresh_lease lease;
    struct cw_grant grant;
    struct cw_connection connection;     /* who is asked, and as whom */
    struct cw_pinned pinned;
    const struct cw_profile *profile;
    const char *redirect_uri;            /* as it was at the authorization */
    struct cw_dynamic_client dynamic;    /* key NULL: the grant has a refresh token */
    struct cw_arena *arena;
    int64_t wait_until_us;               /* for others and pauses */
    bool renewed;                        /* by us: what is there now is good, however short its life */
    bool lost;                           /* the first answer to this token: the pause before the repeat begins */
};

static void tell(const struct refreshing *r, enum cw_renewal_event event, const struct cw_err *fault)
{
    struct cw_renewal_note note = { .event = event, .connection = r->wish->connection,
                                    .registration = r->connection.registration, .outcome = CW_TOKEN__COUNT, .fault = fault };
    r->by->note(&note);
}

/* ---------------------------------------------------------------------------------------------- what an answer means */

/* What no retry helps with: the row is gone, moved on, or cannot hold this. Anything else may pass: a database that is away, a full disk, no memory. */
static bool write_is_final(enum cw_code rc)
{
    return rc == CW_OK || rc == CW_E_CONFLICT || rc == CW_E_NOT_FOUND || rc == CW_E_AUTH || rc == CW_E_TOO_BIG ||
           rc == CW_E_RANGE || rc == CW_E_CONFIG;
}

/* With a rotating server the old token is gone: the new one is written again and again rather than dropped, for a while even after a
 * stop was asked. */
static enum cw_code write_tokens(struct refreshing *r, const struct cw_refreshed *tokens, struct cw_err *err)
{
    int64_t stop_us = 0;
    int ms = WRITE_PAUSE_MS;
    for (;;) {
        struct cw_err fault = { 0 };
        enum cw_code rc = cw_refresh_commit(r->by->model, &r->lease, tokens, &fault);
        if (rc != CW_OK) {
            tell(r, CW_RENEWAL_NOT_WRITTEN, &fault);
        }
        if (cw_stop_asked() && stop_us == 0) {
            stop_us = cw_monotonic_us();
        }
        bool patience = stop_us == 0 || cw_monotonic_us() - stop_us < WRITE_AFTER_STOP_US;
        if (write_is_final(rc) || !patience) {
            return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "refresh", "the new tokens could not be written");
        }
        if (stop_us == 0) {
            (void)pause_ms(ms);
        } else {
            (void)poll(NULL, 0, ms); /* the stop's descriptor would end each pause at once */
        }
        ms = ms * 2 > WRITE_PAUSE_MOST_MS ? WRITE_PAUSE_MOST_MS : ms * 2;
    }
}

/* The tokens of an answer, as something to give back. */
static struct cw_revocation unused(const struct refreshing *r, const struct cw_smart_grant *answer)
{
    struct cw_span refresh = cw_secret_span(&answer->refresh_token);
    return (struct cw_revocation){
        .org = r->connection.org,
        .registration = r->connection.registration,
        .connection = r->wish->connection,
        .source = r->connection.source,
        .pinned = r->connection.pinned,
        .refresh = refresh.len > 0 ? refresh : (struct cw_span){ NULL, 0 },
        .access = cw_secret_span(&answer->access_token),
        .access_until_us = answer->expires_us,
    };
}

static enum cw_code keep(struct refreshing *r, const struct cw_smart_grant *answer, struct cw_err *err)
{
    struct cw_span sent = cw_secret_span(&r->grant.refresh), came = cw_secret_span(&answer->refresh_token);
    struct cw_refreshed tokens = {
        .access_token = cw_secret_span(&answer->access_token),
        .refresh_token = came,
        .rotated = came.len > 0 && !cw_secret_eq(sent, came),
        .obtained_us = cw_now_us(),
        .expires_us = answer->expires_us,
        .ends_us = answer->ends_us,
        .ends_fixed = answer->ends_fixed,
        .keep_us = r->profile->keep_alive_days * CW_DAY_US,
    };
    const struct cw_revocation back = unused(r, answer);
    tokens.if_gone = &back;
    if (answer->scope_told && answer->scope.len > 0) {
        tokens.scopes = cw_str_span(&answer->scope);
    }
    return write_tokens(r, &tokens, err);
}

/* Another patient than the one who connected: nothing of this answer may be used. */
static enum cw_code same_patient(struct refreshing *r, const struct cw_smart_grant *answer, bool *ret_same,
                                 struct cw_err *err)
{
    struct cw_span known;
    *ret_same = true;
    if (answer->patient.len == 0) {
        return CW_OK;
    }
    enum cw_code rc = cw_connection_upstream(r->by->model, r->wish->connection, r->arena, &known, err);
    if (rc == CW_OK) {
        *ret_same = cw_span_eq(known, cw_str_span(&answer->patient));
    }
    return rc;
}

static enum cw_code accept(struct refreshing *r, const struct cw_smart_grant *answer, struct cw_err *err)
{
    bool same = true;
    struct cw_err ignored = { 0 };
    /* Not to know is no reason to drop tokens: the comparison is made again with the next answer. */
    if (same_patient(r, answer, &same, &ignored) != CW_OK) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &ignored);
    }
    if (same) {
        return keep(r, answer, err);
    }
    const struct cw_revocation back = unused(r, answer);
    enum cw_code rc = cw_refresh_dead(r->by->model, r->by->actor, &r->lease, CW_FAIL_PATIENT_CHANGED, err);
    if (rc == CW_OK) {
        if (cw_revocation_keep(r->by->model, &back, &ignored) != CW_OK) {
            tell(r, CW_RENEWAL_NOT_WRITTEN, &ignored);
        }
        tell(r, CW_RENEWAL_ENDED, NULL);
        rc = cw_err_set(err, CW_E_AUTH, "refresh", "the answer is for another patient");
    }
    return rc;
}

static enum cw_code give_up(struct refreshing *r, const struct cw_refresh_fault *fault, enum cw_code code,
                            const char *why, struct cw_err *err)
{
    struct cw_err failed = { 0 };
    if (cw_refresh_abandon(r->by->model, &r->lease, fault, &failed) != CW_OK) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &failed); /* the lease runs out, then the intent is met as a lost answer */
    }
    return cw_err_set(err, code, "refresh", "%s", why);
}

/* A client of this connection alone was refused: the patient has taken the permission back, or the organization the client. There is no
 * token whose rotation could have been missed. */
static enum cw_code end_dynamic(struct refreshing *r, struct cw_err *err)
{
    enum cw_code rc = cw_refresh_dead(r->by->model, r->by->actor, &r->lease, CW_FAIL_REFRESH_REFUSED, err);
    if (rc == CW_OK) {
        tell(r, CW_RENEWAL_ENDED, NULL);
        rc = cw_err_set(err, CW_E_AUTH, "refresh", "the client of this connection was refused");
    }
    return rc;
}

static enum cw_code refuse(struct refreshing *r, struct cw_err *err)
{
    bool ended = false;
    enum cw_code rc = cw_refresh_refused(r->by->model, r->by->actor, &r->lease, &ended, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (!ended) {
        return cw_err_set(err, CW_E_LIMITED, "refresh", "refused once; asked again in ten minutes");
    }
    tell(r, CW_RENEWAL_ENDED, NULL);
    return cw_err_set(err, CW_E_AUTH, "refresh", "the grant has ended");
}

static enum cw_code reject(struct refreshing *r, struct cw_err *err)
{
    struct cw_err failed = { 0 };
    bool edge = false;
    enum cw_code rc = cw_breaker_open(r->by->model, r->connection.registration, r->lease.probe, &edge, &failed);
    if (rc != CW_OK) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &failed);
    } else if (edge) {
        tell(r, CW_RENEWAL_CLIENT_REJECTED, NULL);
    }
    struct cw_refresh_fault fault = { .ours = true };
    return give_up(r, &fault, CW_E_CONFIG, "our client was rejected", err);
}

static enum cw_code stop_offering(struct refreshing *r, struct cw_err *err)
{
    enum cw_code rc = cw_refresh_not_offered(r->by->model, r->by->actor, &r->lease, err);
    if (rc == CW_OK) {
        tell(r, CW_RENEWAL_NOT_OFFERED, NULL);
        rc = cw_err_set(err, CW_E_UNSUPPORTED, "refresh", "no refresh for clients of our kind");
    }
    return rc;
}

/* 404, 405, or a page instead of JSON: what we know of this server's endpoints may be old. */
static void doubt_endpoint(struct refreshing *r, int status)
{
    struct cw_err fault = { 0 };
    bool gone = status == 404 || status == 405 || (status >= 200 && status <= 299);
    if (gone && cw_endpoint_distrust(r->by->model, r->connection.endpoint, &fault) != CW_OK &&
        fault.code != CW_E_NOT_FOUND) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &fault);
    }
}

static enum cw_code conclude(struct refreshing *r, enum cw_token_outcome outcome, const struct cw_smart_grant *answer,
                             struct cw_err *err)
{
    struct cw_refresh_fault fault = { .maybe_lost = outcome == CW_TOKEN_LOST };
    r->lost = fault.maybe_lost && r->grant.refresh_tries <= 1;
    if (answer->retry_after_s >= 0) {
        fault.retry_us = cw_now_us() + answer->retry_after_s * CW_SECOND_US;
        r->wish->quiet_us = fault.retry_us;
    }
    switch (outcome) {
    case CW_TOKEN_OK:
        return accept(r, answer, err);
    case CW_TOKEN_INVALID_GRANT:
        return r->dynamic.key != NULL ? end_dynamic(r, err) : refuse(r, err);
    case CW_TOKEN_INVALID_CLIENT:
        return r->dynamic.key != NULL ? refuse(r, err) : reject(r, err);
    case CW_TOKEN_UNAUTHORIZED:
        return r->dynamic.key != NULL ? refuse(r, err) : stop_offering(r, err);
    case CW_TOKEN_BAD_ANSWER:
        doubt_endpoint(r, answer->status);
        break;
    case CW_TOKEN_LOST:
    case CW_TOKEN_NOT_SENT:
    case CW_TOKEN_BUSY:
    case CW_TOKEN_BLOCKED:
        return give_up(r, &fault, CW_E_UNAVAILABLE, cw_token_outcome_name(outcome), err);
    case CW_TOKEN_INVALID_SCOPE:
    case CW_TOKEN_REFUSED:
    case CW_TOKEN_UNSUPPORTED:
    case CW_TOKEN__COUNT:
        break;
    }
    return give_up(r, &fault, CW_E_UPSTREAM, cw_token_outcome_name(outcome), err);
}

/* ---------------------------------------------------------------------------------------------- asking */

static void close_breaker(struct refreshing *r, enum cw_token_outcome outcome)
{
    bool known = outcome == CW_TOKEN_OK || outcome == CW_TOKEN_INVALID_GRANT || outcome == CW_TOKEN_INVALID_SCOPE ||
                 outcome == CW_TOKEN_UNAUTHORIZED;
    bool edge = false;
    struct cw_err fault = { 0 };
    if (!r->lease.probe || !known) {
        return;
    }
    if (cw_breaker_close(r->by->model, r->connection.registration, &edge, &fault) != CW_OK) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &fault); /* the next probe closes it */
    } else if (edge) {
        tell(r, CW_RENEWAL_CLIENT_ACCEPTED, NULL);
    }
}

/* For the operator; what cannot be written down stops nothing. */
static void keep_exchange(struct refreshing *r, const struct cw_exchange *exchange)
{
    struct cw_err fault = { 0 };
    if (cw_exchange_of_connection(r->by->model, r->wish->connection, exchange, &fault) != CW_OK) {
        tell(r, CW_RENEWAL_NOT_WRITTEN, &fault);
    }
}

static enum cw_token_outcome send(struct refreshing *r, const struct cw_smart_client *client, bool with_scope,
                                  struct cw_smart_grant *answer)
{
    struct cw_smart_refresh request = {
        .token_endpoint = r->pinned.token_endpoint,
        .refresh_token = cw_secret_span(&r->grant.refresh),
        .scope = with_scope ? r->connection.scopes : CW_SPAN(""),
        .redirect_uri = cw_span_cstr(r->redirect_uri),
    };
    const struct cw_smart_bearer bearer = { .token_endpoint = r->pinned.token_endpoint, .client_id = r->dynamic.client_id,
                                            .key = r->dynamic.key };
    struct cw_err fault = { 0 };
    enum cw_token_outcome outcome = r->dynamic.key != NULL
                                        ? cw_smart_bearer(r->http, client->profile, &bearer, answer, &fault)
                                        : cw_smart_refresh(r->http, client, &request, answer, &fault);
    struct cw_renewal_note note = { .event = CW_RENEWAL_ASKED, .connection = r->wish->connection,
                                    .registration = r->connection.registration, .outcome = outcome,
                                    .status = answer->status, .fault = &fault };
    r->by->note(&note);
    if (outcome != CW_TOKEN_OK) {
        keep_exchange(r, &answer->exchange);
    }
    return outcome;
}

/* The connection as it is now: the patient may have signed in again since the pull began, at another endpoint or under another
 * registration, and a token goes only where it came from. So the last look is at the lease: CW_E_CONFLICT, it is no longer ours. */
static enum cw_code open_party(struct refreshing *r, struct cw_smart_identity *identity, struct cw_err *err)
{
    enum cw_code rc = cw_connection_get(r->by->model, r->wish->connection, r->arena, &r->connection, err);
    if (rc == CW_OK) {
        rc = cw_pinned_parse(r->connection.pinned, r->arena, &r->pinned, err);
    }
    if (rc == CW_OK) {
        const struct cw_identity_wish wish = { r->connection.registration, cw_span_cstr(r->pinned.profile), r->pinned.auth_algs };
        rc = cw_smart_identity_open(r->by->model, r->by->profiles, &wish, r->arena, identity, err);
    }
    if (rc == CW_OK) {
        struct cw_span slug = identity->registration.slug;
        r->redirect_uri = cw_arena_printf(r->arena, "%s/callback/%.*s", r->by->origin, (int)slug.len, slug.ptr);
        rc = r->redirect_uri == NULL ? cw_err_set(err, CW_E_OOM, "refresh", "out of memory") : CW_OK;
    }
    if (rc == CW_OK && r->grant.dynamic && r->grant.refresh.len == 0) {
        rc = cw_dynamic_client_get(r->by->model, r->wish->connection, r->arena, &r->dynamic, err);
    }
    return rc == CW_OK ? cw_refresh_held(r->by->model, &r->lease, err) : rc;
}

/* With the lease held: asks the server and keeps what came. */
static enum cw_code ask(struct refreshing *r, struct cw_err *err)
{
    CW_AUTO_IDENTITY identity = { 0 };
    enum cw_code rc = open_party(r, &identity, err);
    if (rc == CW_E_CONFLICT) {
        return rc; /* nothing to give back */
    }
    if (rc != CW_OK) {
        struct cw_refresh_fault fault = { .ours = true };
        (void)give_up(r, &fault, rc, "our client could not be opened", NULL);
        return rc;
    }
    r->profile = identity.client.profile;
    CW_AUTO_GRANT answer, again;
    cw_smart_grant_init(&answer);
    cw_smart_grant_init(&again);
    bool with_scope = r->profile->refresh_scope && r->connection.scopes.len > 0;
    enum cw_token_outcome outcome = send(r, &identity.client, with_scope, &answer);
    close_breaker(r, outcome);
    bool bad_scope = outcome == CW_TOKEN_INVALID_SCOPE && with_scope;
    bool bare = answer.status == 400 && answer.empty; /* Epic does so now and then, and takes the next */
    if (bad_scope || bare) {
        /* The server refused to look at the token: it is as good as before. */
        outcome = send(r, &identity.client, with_scope && !bad_scope, &again);
        return conclude(r, outcome, &again, err);
    }
    return conclude(r, outcome, &answer, err);
}

static enum cw_code refresh_locked(struct refreshing *r, uint32_t seen, struct cw_err *err)
{
    struct cw_refresh_ask begin = { .owner = r->by->owner, .connection = r->wish->connection, .seen_version = seen };
    enum cw_code rc = cw_refresh_begin(r->by->model, &begin, &r->lease, &r->grant, err);
    if (rc == CW_OK) {
        rc = ask(r, err);
        cw_grant_release(&r->grant);
        cw_signing_key_free(r->dynamic.key);
        r->dynamic = (struct cw_dynamic_client){ .key = NULL };
    } else if (rc == CW_E_LIMITED || rc == CW_E_CONFIG) {
        r->wish->retry_us = r->lease.wait_until_us;
    }
    r->renewed = rc == CW_OK;
    return rc;
}

static enum cw_code one_time_over(const struct refreshing *r, uint32_t version, struct cw_err *err)
{
    enum cw_code rc = cw_connection_end_one_time(r->by->model, r->by->actor, r->wish->connection, version, err);
    return rc == CW_OK ? cw_err_set(err, CW_E_EXPIRED, "refresh", "one-time access has ended") : rc;
}

/* What is known of the token in hand. Where nothing can renew it, a refusal ends nothing: a 401 may be the type's, and time tells of the token. */
struct sight {
    bool renewable;
    bool over;               /* no request would succeed with it */
    bool due;
};

static struct sight sight_of(const struct refreshing *r, const struct cw_grant *grant)
{
    int64_t now_us = cw_now_us();
    bool refused = r->wish->refused_version == grant->version;
    bool aging = r->wish->aging_version == grant->version;
    struct sight sight = { .renewable = grant->refresh.len > 0 || grant->dynamic };
    sight.over = (refused && sight.renewable) || now_us >= grant->expires_us;
    sight.due = refused || aging || cw_token_is_due(grant->obtained_us, grant->expires_us, now_us);
    return sight;
}

/* When to look again, or 0: this is the answer. */
static int64_t look_again_us(const struct refreshing *r, enum cw_code rc, const struct sight *sight)
{
    int64_t now_us = cw_now_us(), at_us = now_us + LOOK_EVERY_MS * 1000;
    if (r->lost && sight->over && !r->wish->no_wait) {
        return now_us;
    }
    switch ((int)rc) {
    case CW_OK:
        return r->renewed ? now_us : 0;
    case CW_E_STATE:
        return now_us;                    /* the version has moved: what is there now? */
    case CW_E_CONFLICT:
        break;
    case CW_E_LIMITED:
        at_us = r->wish->retry_us;
        break;
    case CW_E_UNSUPPORTED:
        return sight->over ? now_us : 0;  /* one-time now */
    default:
        return 0;
    }
    bool may_wait = !r->wish->no_wait && sight->over && at_us != 0 && at_us <= r->wait_until_us;
    return may_wait ? at_us : 0;
}

/* One look at the grant, and a refresh where it needs one. *ret_again_us: when to look again; 0: the result is final. */
static enum cw_code look(struct refreshing *r, struct cw_grant *ret_grant, int64_t *ret_again_us, struct cw_err *err)
{
    struct cw_grant grant = { 0 };
    *ret_again_us = 0;
    r->wish->retry_us = 0;
    r->lost = false;
    enum cw_code rc = cw_grant_get(r->by->model, r->wish->connection, &grant, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct sight sight = sight_of(r, &grant);
    if (!sight.due || r->renewed || (!sight.renewable && !sight.over)) {
        *ret_grant = grant;
        return CW_OK;
    }
    if (!sight.renewable) {
        uint32_t version = grant.version;
        cw_grant_release(&grant);
        rc = one_time_over(r, version, err);
        *ret_again_us = rc == CW_E_STATE ? cw_now_us() : 0;
        return rc;
    }
    if (r->wish->held_until_us > cw_now_us()) {
        r->wish->retry_us = r->wish->held_until_us;
        rc = cw_err_set(err, CW_E_LIMITED, "refresh", "the host wants quiet");
    } else {
        rc = refresh_locked(r, grant.version, err);
    }
    *ret_again_us = look_again_us(r, rc, &sight);
    bool gone = rc == CW_E_AUTH || rc == CW_E_STATE || rc == CW_E_NOT_FOUND;
    if (rc != CW_OK && !gone && !sight.over && *ret_again_us == 0 && r->wish->aging_version == 0) {
        *ret_grant = grant; /* it lives for a while yet */
        return CW_OK;
    }
    cw_grant_release(&grant);
    return rc;
}

enum cw_code cw_renew(const struct cw_renewer *renewer, struct cw_http *http, struct cw_renewal *renewal,
                      struct cw_grant *ret_grant, struct cw_err *err)
{
    struct refreshing r = { .by = renewer, .http = http, .wish = renewal, .wait_until_us = cw_now_us() + WAIT_MOST_US };
    r.arena = cw_arena_new(ARENA_MAX);
    if (r.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "refresh", "out of memory");
    }
    enum cw_code rc;
    int64_t again_us = 0;
    for (bool stopped = false;;) {
        cw_arena_clear(r.arena);
        rc = look(&r, ret_grant, &again_us, err);
        int64_t now_us = cw_now_us();
        if (again_us == 0 || stopped || again_us > r.wait_until_us) {
            break;
        }
        stopped = again_us > now_us && !pause_ms((int)((again_us - now_us) / 1000) + 1);
    }
    cw_arena_free(r.arena);
    return rc;
}
