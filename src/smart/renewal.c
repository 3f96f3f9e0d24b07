/* SPDX-License-Identifier: Apache-2.0 */
/* See renewal.h. A lost answer is asked once more with the same token: its successor, if there is one, is unknown to us, so
 * reuse detection can cost no more than is lost already. */
#include "config.h"

#include "smart/renewal.h"

#include <poll.h>

#include "base/time.h"
#include "model/failure.h"
#include "os/sys.h"
#include "smart/client.h"
#include "smart/pinned.h"

#define OTHERS_TRIES 60     /* half-seconds to wait for another refresher */
#define LOST_PAUSE_MS 2500  /* before the one repeat of a lost answer */
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
    struct cw_connection_id id;
    struct cw_refresh_lease lease;
    struct cw_grant grant;
    struct cw_arena *arena;
    bool again;               /* the answer was lost: once more */
    bool renewed;             /* by us: what is there now is good, however short its life */
};

/* Who is asked, and as whom. */
struct party {
    struct cw_connection connection;
    struct cw_pinned pinned;
};

static void note(const struct refreshing *r, const struct party *party, enum cw_token_outcome outcome, int status)
{
    struct cw_renewal_note note = { .connection = r->id, .registration = party->connection.registration,
                                    .outcome = outcome, .status = status };
    r->by->note(&note);
}

static enum cw_code give_up(struct refreshing *r, bool maybe_lost, enum cw_code code, const char *why,
                            struct cw_err *err)
{
    struct cw_err fault = { 0 };
    if (cw_refresh_abandon(r->by->model, &r->lease, maybe_lost, &fault) != CW_OK) {
        struct cw_renewal_note note = { .connection = r->id, .outcome = CW_TOKEN__COUNT, .fault = &fault };
        r->by->note(&note);
    }
    return cw_err_set(err, code, "refresh", "%s", why);
}

static enum cw_code keep(struct refreshing *r, const struct cw_smart_grant *answer, struct cw_err *err)
{
    struct cw_refreshed tokens = {
        .access_token = cw_secret_span(&answer->access_token),
        .refresh_token = cw_secret_span(&answer->refresh_token),
        .obtained_us = cw_now_us(),
        .expires_us = answer->expires_us,
    };
    if (answer->scope_told && answer->scope.len > 0) {
        tokens.scopes = cw_str_span(&answer->scope);
    }
    /* With a rotating server the old token is gone: the new one is written again and again rather than dropped. */
    enum cw_code rc = cw_refresh_commit(r->by->model, &r->lease, &tokens, err);
    for (int i = 0; i < 20 && (rc == CW_E_UNAVAILABLE || rc == CW_E_RETRY); i++) {
        (void)pause_ms(500);
        rc = cw_refresh_commit(r->by->model, &r->lease, &tokens, err);
    }
    return rc;
}

static enum cw_code bury(struct refreshing *r, struct cw_err *err)
{
    const char *code = r->grant.refresh_tries > 1 ? CW_FAIL_LOST_ROTATION : CW_FAIL_REFRESH_REFUSED;
    enum cw_code rc = cw_refresh_dead(r->by->model, r->by->actor, &r->lease, code, err);
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

/* The connection as it is now: the patient may have signed in again since the pull began, at another endpoint or under
 * another registration, and a token goes only where it came from. */
static enum cw_code read_party(struct refreshing *r, struct party *ret, struct cw_err *err)
{
    enum cw_code rc = cw_connection_get(r->by->model, r->id, r->arena, &ret->connection, err);
    return rc == CW_OK ? cw_pinned_parse(ret->connection.pinned, r->arena, &ret->pinned, err) : rc;
}

/* For the operator; what cannot be written down stops nothing. */
static void keep_exchange(struct refreshing *r, const struct cw_exchange *exchange)
{
    struct cw_err fault = { 0 };
    if (cw_exchange_of_connection(r->by->model, r->id, exchange, &fault) != CW_OK) {
        struct cw_renewal_note note = { .connection = r->id, .outcome = CW_TOKEN__COUNT, .fault = &fault };
        r->by->note(&note);
    }
}

/* With the lease held: asks the server and keeps what came. */
static enum cw_code ask(struct refreshing *r, struct cw_err *err)
{
    CW_AUTO_IDENTITY identity = { 0 };
    struct party party;
    enum cw_code rc = read_party(r, &party, err);
    if (rc == CW_OK) {
        rc = cw_smart_identity_open(r->by->model, r->by->profiles, party.connection.registration,
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
    note(r, &party, outcome, answer.status);
    if (outcome != CW_TOKEN_OK) {
        keep_exchange(r, &answer.exchange);
    }
    return conclude(r, outcome, &answer, err);
}

static enum cw_code refresh_locked(struct refreshing *r, uint32_t seen, struct cw_err *err)
{
    enum cw_code rc = cw_refresh_begin(r->by->model, r->by->owner, r->id, seen, &r->lease, &r->grant, err);
    if (rc == CW_OK) {
        rc = ask(r, err);
        cw_grant_release(&r->grant);
    }
    return rc;
}

static enum cw_code one_time_over(const struct refreshing *r, struct cw_err *err)
{
    enum cw_code rc = cw_connection_end_one_time(r->by->model, r->by->actor, r->id, err);
    return rc == CW_OK ? cw_err_set(err, CW_E_EXPIRED, "refresh", "one-time access has ended") : rc;
}

/* One look at the grant, and a refresh where it needs one. *ret_done: the answer is final. */
static enum cw_code look(struct refreshing *r, uint32_t refused_version, struct cw_grant *ret_grant, bool *ret_done,
                         struct cw_err *err)
{
    struct cw_grant grant = { 0 };
    enum cw_code rc = cw_grant_get(r->by->model, r->id, &grant, err);
    *ret_done = true;
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    uint32_t version = grant.version;
    bool renewable = grant.refresh.len > 0;
    bool refused = refused_version == version && version != 0;
    bool over = refused || now_us >= grant.expires_us;
    bool due = refused || cw_token_is_due(grant.obtained_us, grant.expires_us, now_us);
    if (!due || r->renewed || (!renewable && !over)) {
        *ret_grant = grant;
        return CW_OK;
    }
    cw_grant_release(&grant);
    if (!renewable) {
        return one_time_over(r, err);
    }
    rc = refresh_locked(r, version, err);
    r->renewed = rc == CW_OK;
    *ret_done = !r->again && rc != CW_OK && rc != CW_E_CONFLICT && rc != CW_E_STATE;
    return rc;
}

enum cw_code cw_renew(const struct cw_renewer *renewer, struct cw_http *http, const struct cw_renewal *renewal,
                      struct cw_grant *ret_grant, struct cw_err *err)
{
    struct refreshing r = { .by = renewer, .http = http, .id = renewal->connection };
    r.arena = cw_arena_new(ARENA_MAX);
    if (r.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "refresh", "out of memory");
    }
    enum cw_code rc = CW_E_UNAVAILABLE;
    bool done = false, stopped = false;
    for (int tries = 0; tries < OTHERS_TRIES && !done && !stopped; tries++) {
        r.again = false;
        cw_arena_clear(r.arena);
        rc = look(&r, renewal->refused_version, ret_grant, &done, err);
        if (!done && rc != CW_OK) {
            stopped = !pause_ms(r.again ? LOST_PAUSE_MS : 500);
        }
    }
    cw_arena_free(r.arena);
    return rc;
}
