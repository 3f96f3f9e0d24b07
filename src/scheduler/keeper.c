/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keep-alive: grants that nobody pulls with are refreshed before they die of idleness, lost answers are asked again, failures
 * retried. Which are due stands in the database; a thread claims a few, and what a host does not take now is put off to
 * a time slot of that host, so that a million due grants cost no memory here and no more requests there than it takes.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <poll.h>
#include <stdio.h>

#include "base/time.h"
#include "model/keep_alive.h"
#include "os/log.h"
#include "os/sys.h"

#define CLAIM_MOST 8
#define CLAIM_LEASE_US (5 * CW_MINUTE_US) /* CLAIM_MOST token requests that all hang, and then some */
#define IDLE_US CW_SECOND_US
#define FAULT_PAUSE_US (5 * CW_SECOND_US) /* after one failure of a host; doubles with each in a row */
#define FAULT_PAUSE_MOST_US (10 * CW_MINUTE_US)
#define NAME_MAX_LEN 300

/* Sleeps unless a stop is asked. */
static bool nap(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0 && !cw_stop_asked();
}

/* Which host is asked, and how often it may be. */
static enum cw_code party_of(struct scheduler *s, struct cw_connection_id id, char name[NAME_MAX_LEN],
                             int64_t *ret_interval_us, struct cw_err *err)
{
    struct cw_connection connection;
    struct cw_pinned pinned;
    struct cw_url *url = NULL;
    struct cw_arena *arena = cw_arena_new(256 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "keeper", "out of memory");
    }
    enum cw_code rc = cw_connection_get(&s->model, id, arena, &connection, err);
    if (rc == CW_OK) {
        rc = cw_pinned_parse(connection.pinned, arena, &pinned, err);
    }
    if (rc == CW_OK) {
        rc = cw_url_parse(cw_span_cstr(pinned.token_endpoint), &url, err);
    }
    if (rc == CW_OK) {
        int64_t rate = cw_config_int(s->config, CW_CONF_KEEP_PER_MINUTE);
        const struct cw_profile *profile = cw_profiles_get(s->profiles, cw_span_cstr(pinned.profile));
        rate = profile->rate_per_min > 0 && profile->rate_per_min < rate ? profile->rate_per_min : rate;
        *ret_interval_us = CW_MINUTE_US / rate;
        (void)snprintf(name, NAME_MAX_LEN, "%s:%u", cw_url_host(url), cw_url_port(url));
    }
    cw_url_free(url);
    cw_arena_free(arena);
    return rc;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Whether a request may start now; if not, when (lock held). */
static bool pass_locked(const struct scheduler *s, struct host *host, int64_t interval_us, int64_t *ret_until_us)
{
    int64_t now_us = cw_now_us();
    if (host_quiet_us(host) <= now_us && host->keep_next_us <= now_us &&
        host->keeping < (unsigned)cw_config_int(s->config, CW_CONF_KEEP_PER_HOST)) {
        host->keeping++;
        host->keep_next_us = now_us + interval_us;
        return true;
    }
    int64_t from_us = later(later(host->keep_next_us, host_quiet_us(host)), later(host->keep_slot_us, now_us));
    host->keep_slot_us = from_us + interval_us;
    *ret_until_us = host->keep_slot_us;
    return false;
}

/* A host that does not answer is left alone for a while, and longer each time (lock held). */
static void done_locked(struct host *host, enum cw_code rc, int64_t quiet_us)
{
    int64_t now_us = cw_now_us();
    host->keeping--;
    bool down = rc == CW_E_UNAVAILABLE || rc == CW_E_TIMEOUT;
    host->keep_faults = down ? host->keep_faults + (host->keep_faults < 10) : 0;
    if (down) {
        int64_t pause_us = FAULT_PAUSE_US << (host->keep_faults - 1);
        host->keep_next_us = now_us + (pause_us > FAULT_PAUSE_MOST_US ? FAULT_PAUSE_MOST_US : pause_us);
    }
    host->quiet_until_us = later(host->quiet_until_us, quiet_us);
}

static void put_off(struct scheduler *s, const struct cw_due *due, int64_t until_us)
{
    struct cw_err err = { 0 };
    if (cw_due_defer(&s->model, due, until_us, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "keeper.defer_failed", CW_ID("connection", CW_PREFIX_CONNECTION, due->connection),
               CW_ERR(&err)); /* the claim runs out */
    }
}

static void renew(struct scheduler *s, struct cw_http *http, const struct cw_due *due, struct host *host)
{
    struct cw_renewer renewer = renewer_of(s);
    struct cw_renewal renewal = { .connection = due->connection, .aging_version = due->version, .no_wait = true };
    struct cw_grant grant = { 0 };
    struct cw_err err = { 0 };
    enum cw_code rc = cw_renew(&renewer, http, &renewal, &grant, &err);
    cw_grant_release(&grant);
    pthread_mutex_lock(&s->lock);
    done_locked(host, rc, renewal.quiet_us);
    pthread_mutex_unlock(&s->lock);
    if (rc == CW_E_CONFIG && renewal.retry_us != 0) {
        /* The breaker: whoever comes first after its time is the probe, the others come in their turn. */
        put_off(s, due, renewal.retry_us + (int64_t)cw_random_below(5 * CW_MINUTE_US));
    } else if (rc == CW_E_LIMITED && renewal.retry_us != 0) {
        put_off(s, due, renewal.retry_us);
    } else if (rc != CW_OK && rc != CW_E_CONFLICT && rc != CW_E_LIMITED && rc != CW_E_STATE && rc != CW_E_NOT_FOUND) {
        cw_log(CW_LOG_INFO, "keeper.not_refreshed", CW_ID("connection", CW_PREFIX_CONNECTION, due->connection),
               CW_ERR(&err));
    }
}

static void keep(struct scheduler *s, struct cw_http *http, const struct cw_due *due)
{
    char name[NAME_MAX_LEN];
    int64_t interval_us = 0, until_us = 0;
    struct cw_err err = { 0 };
    enum cw_code rc = party_of(s, due->connection, name, &interval_us, &err);
    if (rc != CW_OK) {
        if (rc != CW_E_NOT_FOUND) {
            cw_log(CW_LOG_WARNING, "keeper.unreadable", CW_ID("connection", CW_PREFIX_CONNECTION, due->connection),
                   CW_ERR(&err));
        }
        return;
    }
    pthread_mutex_lock(&s->lock);
    struct host *host = host_find(s, name);
    bool go = host != NULL && pass_locked(s, host, interval_us, &until_us);
    pthread_mutex_unlock(&s->lock);
    if (go) {
        renew(s, http, due, host);
    } else if (until_us != 0) {
        put_off(s, due, until_us);
    }
}

/* What is due now; none while a look of another thread found nothing. */
static unsigned claim(struct scheduler *s, struct cw_due *due)
{
    pthread_mutex_lock(&s->lock);
    bool idle = cw_monotonic_us() < s->keep_idle_until_us;
    if (!idle) {
        s->keep_idle_until_us = cw_monotonic_us() + IDLE_US; /* others wait for what this look finds */
    }
    pthread_mutex_unlock(&s->lock);
    unsigned count = 0;
    struct cw_err err = { 0 };
    if (idle) {
        return 0;
    }
    enum cw_code rc = cw_due_claim(&s->model, CLAIM_LEASE_US, CLAIM_MOST, due, &count, &err);
    if (rc != CW_OK && rc != CW_E_RETRY) {
        cw_log(CW_LOG_WARNING, "keeper.claim_failed", CW_ERR(&err));
    }
    if (count == CLAIM_MOST) {
        pthread_mutex_lock(&s->lock);
        s->keep_idle_until_us = 0; /* there may be more */
        pthread_mutex_unlock(&s->lock);
    }
    return count;
}

void *keeper_main(void *arg)
{
    struct scheduler *s = arg;
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    if (cw_http_new(s->config, &http, &err) != CW_OK) {
        cw_log(CW_LOG_ERR, "http.not_ready", CW_ERR(&err));
        cw_stop_ask();
        return NULL;
    }
    while (!cw_stop_asked()) {
        struct cw_due due[CLAIM_MOST];
        unsigned count = claim(s, due);
        for (unsigned i = 0; i < count && !cw_stop_asked(); i++) {
            keep(s, http, &due[i]);
        }
        if (count == 0 && !nap((int)(200 + cw_random_below(200)))) {
            break;
        }
    }
    cw_http_free(http);
    return NULL;
}
