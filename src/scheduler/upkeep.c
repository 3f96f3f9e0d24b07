/* SPDX-License-Identifier: Apache-2.0 */
/* What runs by the clock: numbering events (design 13: within 200 ms), keeping our leases, and the janitor's sweeps. */
#include "config.h"
#include "scheduler/scheduler.h"

#include <poll.h>

#include "base/time.h"
#include "catalog/index.h"
#include "model/attempt.h"
#include "model/deletion.h"
#include "model/disconnect.h"
#include "model/event.h"
#include "model/signing.h"
#include "model/keep_alive.h"
#include "model/pull_schedule.h"
#include "model/revocation.h"
#include "os/log.h"
#include "os/sys.h"

#define SEQUENCE_MOST 500u
#define SWEEP_MOST 200u
#define JANITOR_LEASE_US (30 * CW_SECOND_US)
#define INDEX_EVERY_US (20 * CW_SECOND_US) /* a new source is found within a minute */

static bool nap(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0 && !cw_stop_asked();
}

void *sequencer_main(void *arg)
{
    struct scheduler *s = arg;
    int pause_ms = 100;
    while (nap(pause_ms)) {
        unsigned count = 0;
        struct cw_err err = { 0 };
        enum cw_code rc = cw_event_sequence(&s->model, s->owner, SEQUENCE_MOST, &count, &err);
        if (rc != CW_OK && rc != CW_E_CONFLICT && rc != CW_E_RETRY) {
            cw_log(CW_LOG_WARNING, "sequencer.failed", CW_ERR(&err));
        }
        pause_ms = rc == CW_OK && count == SEQUENCE_MOST ? 0 : rc == CW_E_UNAVAILABLE ? 1000 : 100;
    }
    return NULL;
}

/* The jobs in hand, copied, so that the lock is not held over the database. */
static size_t jobs_in_hand(struct scheduler *s, struct cw_job *jobs, struct run **runs, size_t room)
{
    size_t count = 0;
    pthread_mutex_lock(&s->lock);
    for (struct run *run = s->runs; run != NULL && count < room; run = run->next) {
        if (run->phase != RUN_GONE) {
            jobs[count] = run->job;
            runs[count++] = run;
            run->busy++;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

static void keep_leases(struct scheduler *s)
{
    static struct cw_job jobs[CW_RUNS_MAX]; /* one thread calls this */
    static struct run *runs[CW_RUNS_MAX];
    size_t count = jobs_in_hand(s, jobs, runs, CW_RUNS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct cw_err err = { 0 };
        enum cw_code rc = cw_job_renew(&s->model, s->owner, &jobs[i], s->lease_us, &err);
        pthread_mutex_lock(&s->lock);
        /* An ended pull has no job either; what is lost is only dropped while it would go on. */
        if (rc == CW_E_CONFLICT && runs[i]->phase != RUN_ENDING) {
            runs[i]->phase = RUN_GONE;
        }
        runs[i]->busy--;
        pthread_mutex_unlock(&s->lock);
    }
}

typedef enum cw_code sweep_fn(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                              struct cw_err *err);

static enum cw_code free_expired(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                                 struct cw_err *err)
{
    (void)actor;
    (void)limit;
    return cw_job_free_expired(m, ret_count, err);
}

static void sweep(struct scheduler *s)
{
    static const struct {
        const char *name;
        sweep_fn *fn;
    } sweeps[] = {
        { "attempts", cw_attempt_sweep },
        { "sessions", cw_session_expire_due },
        { "ends", cw_ends_sweep },
        { "schedule", cw_pull_schedule_sweep },
        { "leases", free_expired },
        { "disconnections", cw_disconnection_sweep },
        { "deletions", cw_deletion_sweep },
        { "revocations", cw_revocation_sweep },
        { "signing_keys", cw_signing_sweep },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(sweeps); i++) {
        unsigned count = 0;
        struct cw_err err = { 0 };
        enum cw_code rc = sweeps[i].fn(&s->model, &s->actor, SWEEP_MOST, &count, &err);
        if (rc != CW_OK) {
            cw_log(CW_LOG_WARNING, "janitor.failed", CW_LIT("sweep", sweeps[i].name), CW_ERR(&err));
        } else if (count > 0) {
            cw_log(CW_LOG_INFO, "janitor.swept", CW_LIT("sweep", sweeps[i].name), CW_INT("count", count));
        }
    }
}

/* Every node searches in a file of its own, so every node keeps it: the import may have run elsewhere. */
static void keep_index(struct scheduler *s, struct cw_index_keeper *keeper)
{
    unsigned written = 0;
    struct cw_err err = { 0 };
    if (cw_index_keep(&s->model, keeper, &written, &err) != CW_OK) {
        cw_log(CW_LOG_WARNING, "index.failed", CW_ERR(&err));
    } else if (written > 0) {
        cw_log(CW_LOG_INFO, "index.written", CW_INT("files", written));
    }
}

void *upkeep_main(void *arg)
{
    struct scheduler *s = arg;
    struct cw_index_keeper keeper = { 0 };
    int64_t sweep_us = 0;
    int64_t index_us = 0;
    while (nap((int)(s->lease_us / 3 / 1000))) {
        keep_leases(s);
        if (cw_monotonic_us() >= index_us) {
            keep_index(s, &keeper);
            index_us = cw_monotonic_us() + INDEX_EVERY_US;
        }
        if (cw_monotonic_us() < sweep_us) {
            continue;
        }
        bool mine = false;
        struct cw_err err = { 0 };
        enum cw_code rc = cw_duty_take(&s->model, "janitor", s->owner, JANITOR_LEASE_US, &mine, &err);
        if (rc == CW_OK && mine) {
            sweep(s);
        }
        sweep_us = cw_monotonic_us() + 5 * CW_SECOND_US;
    }
    return NULL;
}
