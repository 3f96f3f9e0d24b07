/* SPDX-License-Identifier: Apache-2.0 */
/* The token of a pull: the refresh itself is in smart/renewal, here it is put where the fetcher takes it. */
#include "config.h"
#include "scheduler/scheduler.h"

#include "base/time.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/renewal.h"

#define SLOW_US (8 * CW_SECOND_US) /* a failure that took longer was a time-out */

bool token_is_due(const struct run *run, int64_t now_us)
{
    bool held_off = now_us < run->renew_after_us && now_us < run->token_expires_us;
    return !held_off && cw_token_is_due(run->token_obtained_us, run->token_expires_us, now_us);
}

static void note(const struct cw_renewal_note *note)
{
    switch (note->event) {
    case CW_RENEWAL_ASKED:
        cw_log(note->outcome == CW_TOKEN_OK ? CW_LOG_INFO : CW_LOG_WARNING, "token.refresh",
               CW_ID("connection", CW_PREFIX_CONNECTION, note->connection),
               CW_LIT("outcome", cw_token_outcome_name(note->outcome)), CW_INT("status", note->status));
        break;
    case CW_RENEWAL_NOT_WRITTEN:
        cw_log(CW_LOG_WARNING, "token.refresh_not_written",
               CW_ID("connection", CW_PREFIX_CONNECTION, note->connection), CW_ERR(note->fault));
        break;
    case CW_RENEWAL_CLIENT_REJECTED: /* somebody must act: every connection of the registration waits */
        cw_log(CW_LOG_ERR, "registration.client_rejected",
               CW_ID("registration", CW_PREFIX_REGISTRATION, note->registration));
        break;
    case CW_RENEWAL_CLIENT_ACCEPTED:
        cw_log(CW_LOG_INFO, "registration.client_accepted",
               CW_ID("registration", CW_PREFIX_REGISTRATION, note->registration));
        break;
    case CW_RENEWAL_ENDED:
        cw_log(CW_LOG_INFO, "connection.grant_ended", CW_ID("connection", CW_PREFIX_CONNECTION, note->connection));
        break;
    case CW_RENEWAL_NOT_OFFERED:
        cw_log(CW_LOG_WARNING, "connection.one_time", CW_ID("connection", CW_PREFIX_CONNECTION, note->connection));
        break;
    }
}

struct cw_renewer renewer_of(struct scheduler *s)
{
    return (struct cw_renewer){
        .model = &s->model, .profiles = s->profiles, .actor = &s->actor, .owner = s->owner, .note = note,
        .origin = cw_config_text(s->config, CW_CONF_ORIGIN),
    };
}

/* What the renewal showed of who gives the tokens: a request was made where a token is new, or nobody was there (lock held). */
static void hear(struct run *run, enum cw_code rc, bool new_token, int64_t took_us)
{
    if (new_token || rc == CW_E_AUTH || rc == CW_E_UPSTREAM) {
        host_hears(run->token_host, HOST_ANSWERED, cw_now_us());
    } else if (rc == CW_E_UNAVAILABLE || rc == CW_E_TIMEOUT) {
        host_hears(run->token_host, took_us > SLOW_US ? HOST_TIMED_OUT : HOST_FAILED, cw_now_us());
    }
}

enum cw_code refresh_token(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_err *err)
{
    struct cw_renewer renewer = renewer_of(s);
    struct cw_renewal renewal = { .connection = run->connection.id, .refused_version = run->refused_version };
    struct cw_grant grant = { 0 };
    pthread_mutex_lock(&s->lock);
    renewal.held_until_us = host_quiet_us(run->token_host);
    pthread_mutex_unlock(&s->lock);
    int64_t from_us = cw_now_us();
    enum cw_code rc = cw_renew(&renewer, http, &renewal, &grant, err);
    pthread_mutex_lock(&s->lock);
    run->renew_after_us = renewal.retry_us;
    run->later_us = renewal.retry_us > renewal.quiet_us ? renewal.retry_us : renewal.quiet_us;
    hear(run, rc, rc == CW_OK && grant.obtained_us >= from_us, cw_now_us() - from_us);
    if (renewal.quiet_us > run->token_host->quiet_until_us) {
        run->token_host->quiet_until_us = renewal.quiet_us;
    }
    if (rc != CW_OK) {
        pthread_mutex_unlock(&s->lock);
        return rc;
    }
    rc = cw_secret_set(&run->token, cw_secret_span(&grant.access));
    if (run->refused_version != 0) {
        run->refused_version = 0;
        run->renewed_us = cw_now_us(); /* or there was nothing to renew it with: one try is all there is in any case */
    }
    if (grant.version != run->token_version) {
        run->good_asked = 0;
        run->refused_in_row = 0;
    }
    run->token_version = grant.version;
    run->token_obtained_us = grant.obtained_us;
    run->token_expires_us = grant.expires_us;
    pthread_mutex_unlock(&s->lock);
    cw_grant_release(&grant);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "refresh", "no memory for the token");
}
