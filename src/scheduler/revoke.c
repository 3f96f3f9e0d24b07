/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving tokens back (RFC 7009): the refresh token first, since that should end what came of it, then the access token while it
 * lives. Only to the endpoint that the connection has pinned, and only where the registration lists its host: the request carries
 * our own credential too. What a server does not answer is asked again for a day.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <poll.h>

#include "base/time.h"
#include "model/failure.h"
#include "model/revocation.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/client.h"
#include "smart/place.h"
#include "smart/revoke.h"

#define IDLE_MS 500
#define AWAY_MS 2000
#define FIRST_PAUSE_S 15
#define LAST_PAUSE_S 3600
#define ARENA_MAX ((size_t)512 * 1024)

struct revoking {
    struct scheduler *s;
    struct cw_http *http;
    const struct cw_job *job;
    struct cw_revocation tokens;
    struct cw_pinned pinned;
    struct cw_smart_identity identity;
    struct cw_arena *arena;
    bool refresh_answered;
    bool supported;          /* at least one of the two was really revoked */
    long retry_after_s;
};

static bool nap(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0 && !cw_stop_asked();
}

static void end(struct revoking *r, enum cw_revocation_status status, const char *code)
{
    struct cw_err err = { 0 };
    cw_log(status == CW_REVOCATION_GIVEN_UP ? CW_LOG_ERR : CW_LOG_INFO, "token.revoke_ended",
           CW_ID("connection", CW_PREFIX_CONNECTION, r->tokens.connection),
           CW_LIT("status", cw_revocation_status_name(status)), CW_LIT("failure", code == NULL ? "none" : code));
    if (cw_revocation_end(&r->s->model, &r->s->actor, r->s->owner, r->job, status, code, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "token.revoke_not_noted", CW_ERR(&err)); /* asked again when the lease has run out */
    }
}

static void later(struct revoking *r, const char *code)
{
    struct cw_err err = { 0 };
    int64_t now_us = cw_now_us();
    unsigned steps = r->job->tries > 8 ? 8 : r->job->tries;
    int64_t pause_s = (int64_t)FIRST_PAUSE_S << (steps > 0 ? steps - 1 : 0);
    pause_s = pause_s > LAST_PAUSE_S ? LAST_PAUSE_S : pause_s;
    pause_s = r->retry_after_s > pause_s ? r->retry_after_s : pause_s;
    if (now_us >= r->tokens.give_up_us || now_us + pause_s * CW_SECOND_US > r->tokens.give_up_us + CW_HOUR_US) {
        end(r, CW_REVOCATION_GIVEN_UP, code);
        return;
    }
    cw_log(CW_LOG_WARNING, "token.revoke_later", CW_ID("connection", CW_PREFIX_CONNECTION, r->tokens.connection),
           CW_LIT("failure", code), CW_INT("try", r->job->tries), CW_INT("pause_s", pause_s));
    enum cw_code rc = cw_revocation_note(&r->s->model, r->tokens.id, code, r->refresh_answered, &err);
    if (rc == CW_OK) {
        rc = cw_job_release(&r->s->model, r->s->owner, r->job, now_us + pause_s * CW_SECOND_US, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "token.revoke_not_noted", CW_ERR(&err));
    }
}

/* One token. CW_OK as soon as no further try is due. */
static enum cw_code give_back(struct revoking *r, struct cw_span token, enum cw_revoke_hint hint, struct cw_err *err)
{
    const struct cw_revoke_wish wish = { r->pinned.revocation_endpoint, token, hint };
    enum cw_code rc = cw_smart_revoke_wish(r->http, &r->identity.client, &wish, &r->retry_after_s, err);
    r->supported |= rc == CW_OK;
    return rc == CW_E_UNSUPPORTED ? CW_OK : rc;
}

static void ask(struct revoking *r)
{
    struct cw_err err = { 0 };
    enum cw_code rc = CW_OK;
    if (r->tokens.refresh.ptr != NULL) {
        rc = give_back(r, r->tokens.refresh, CW_REVOKE_REFRESH_TOKEN, &err);
        r->refresh_answered = rc == CW_OK;
    }
    if (rc == CW_OK && r->tokens.access.ptr != NULL && r->tokens.access_until_us > cw_now_us()) {
        rc = give_back(r, r->tokens.access, CW_REVOKE_ACCESS_TOKEN, &err);
    }
    if (rc == CW_OK) {
        end(r, r->supported ? CW_REVOCATION_DONE : CW_REVOCATION_NOT_OFFERED, NULL);
    } else if (rc == CW_E_BLOCKED || rc == CW_E_SYNTAX) {
        end(r, CW_REVOCATION_GIVEN_UP, cw_code_name(rc)); /* our own policy will say the same tomorrow */
    } else {
        later(r, cw_code_name(rc));
    }
}

/* Where any token stands for all of them, giving an old one back would end what the patient has made since. A patient or connection that
 * has gone has nothing to lose; what cannot be read now is asked again. */
static bool would_end_another(const struct revoking *r, enum cw_code *ret_rc, struct cw_err *err)
{
    struct cw_connection connection;
    bool lives = false;
    *ret_rc = CW_OK;
    if (!r->identity.client.profile->revoke_ends_all) {
        return false;
    }
    enum cw_code rc = cw_connection_get(&r->s->model, r->tokens.connection, r->arena, &connection, err);
    if (rc == CW_OK) {
        connection.registration = r->tokens.registration;
        rc = cw_connection_lives(&r->s->model, &connection, &lives, err);
    }
    *ret_rc = rc == CW_E_NOT_FOUND ? CW_OK : rc;
    return lives;
}

static void work_on(struct revoking *r)
{
    struct cw_err err = { 0 };
    enum cw_code rc = cw_pinned_parse(r->tokens.pinned, r->arena, &r->pinned, &err);
    if (rc != CW_OK) {
        end(r, CW_REVOCATION_GIVEN_UP, CW_FAIL_CONNECTION_UNREADABLE);
        return;
    }
    if (r->pinned.revocation_endpoint[0] == '\0') {
        end(r, CW_REVOCATION_NOT_OFFERED, NULL);
        return;
    }
    const struct cw_identity_wish wish = { r->tokens.registration, cw_span_cstr(r->pinned.profile), r->pinned.auth_algs };
    rc = cw_smart_identity_open(&r->s->model, r->s->profiles, &wish, r->arena, &r->identity, &err);
    if (rc == CW_E_NOT_FOUND) {
        end(r, CW_REVOCATION_GIVEN_UP, "registration_gone");
        return;
    }
    if (rc != CW_OK) {
        later(r, cw_code_name(rc));
        return;
    }
    const struct cw_registration *registration = &r->identity.registration;
    if (!cw_place_listed(r->pinned.revocation_endpoint,
                         (struct cw_place_hosts){ registration->hosts, registration->host_count })) {
        end(r, CW_REVOCATION_GIVEN_UP, "host_not_listed");
        return;
    }
    if (would_end_another(r, &rc, &err)) {
        end(r, CW_REVOCATION_NOT_OFFERED, "ends_all_access");
    } else if (rc != CW_OK) {
        later(r, cw_code_name(rc));
    } else {
        ask(r);
    }
}

static void take_on(struct scheduler *s, struct cw_http *http, const struct cw_job *job)
{
    struct cw_err err = { 0 };
    struct revoking r = { .s = s, .http = http, .job = job, .retry_after_s = -1 };
    struct cw_revocation_id id = { job->subject };
    r.arena = cw_arena_new(ARENA_MAX);
    if (r.arena == NULL) {
        return; /* the lease runs out, and it is tried again */
    }
    enum cw_code rc = cw_revocation_get(&s->model, id, r.arena, &r.tokens, &err);
    if (rc == CW_OK) {
        work_on(&r);
    } else if (rc == CW_E_NOT_FOUND || rc == CW_E_STATE || rc == CW_E_AUTH) {
        end(&r, CW_REVOCATION_GIVEN_UP, cw_code_name(rc));
    } else {
        cw_log(CW_LOG_WARNING, "token.revoke_unread", CW_ERR(&err));
    }
    cw_smart_identity_release(&r.identity);
    cw_arena_free(r.arena);
}

void *revoker_main(void *arg)
{
    struct scheduler *s = arg;
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    if (cw_http_new(s->config, &http, &err) != CW_OK) {
        cw_log(CW_LOG_ERR, "http.not_ready", CW_ERR(&err));
        cw_stop_ask();
        return NULL;
    }
    /* Two requests that hang to their end, and then some. */
    int64_t lease_us = 2 * cw_config_int(s->config, CW_CONF_NET_TOTAL_MS) * 1000 + CW_MINUTE_US;
    int pause_ms = IDLE_MS;
    while (nap(pause_ms)) {
        struct cw_job job;
        enum cw_code rc = cw_job_claim_one(&s->model, s->owner, CW_JOB_REVOKE, lease_us, &job, &err);
        if (rc == CW_OK) {
            take_on(s, http, &job);
        } else if (rc != CW_E_NOT_FOUND && rc != CW_E_RETRY) {
            cw_log(CW_LOG_WARNING, "job.claim_failed", CW_ERR(&err));
        }
        pause_ms = rc == CW_OK ? 0 : rc == CW_E_NOT_FOUND ? IDLE_MS : AWAY_MS;
    }
    cw_http_free(http);
    return NULL;
}
