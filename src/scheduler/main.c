/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-scheduler: the daemon that pulls records and keeps the house. One process a node; a lock file in the state folder
 * makes sure of that, so that what a dead predecessor of the same name held is free at once.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <unistd.h>

#include "os/log.h"
#include "os/sys.h"

#define SMALL_STACK (512u * 1024u)
#define DIGESTERS_MAX 64
#define POOL_BESIDE 6u /* connections to the database beside the digesters' */
#define POOL_MOST 10u  /* of a scheduler; many nodes share one database */
#define THREADS_MAX (CW_REVOKERS + CW_PREPARERS + CW_KEEPERS + DIGESTERS_MAX + 4)

struct threads {
    pthread_t ids[THREADS_MAX];
    size_t count;
};

static bool spawn(struct threads *threads, void *(*fn)(void *), struct scheduler *s)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SMALL_STACK);
    int error = pthread_create(&threads->ids[threads->count], &attr, fn, s);
    pthread_attr_destroy(&attr);
    threads->count += error == 0;
    return error == 0;
}

static unsigned digesters(const struct cw_config *config)
{
    int64_t wanted = cw_config_int(config, CW_CONF_DIGEST_THREADS);
    if (wanted == 0) {
        wanted = sysconf(_SC_NPROCESSORS_ONLN);
    }
    return wanted < 1 ? 1 : wanted > DIGESTERS_MAX ? DIGESTERS_MAX : (unsigned)wanted;
}

static void init_sync(struct scheduler *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    queue_init(&s->prepare);
    queue_init(&s->fetch);
    queue_init(&s->digest);
}

static enum cw_code open_all(struct scheduler *s, struct cw_err *err)
{
    const struct cw_config *config = s->config;
    s->node = cw_config_text(config, CW_CONF_NODE);
    s->actor = (struct cw_actor){ .kind = CW_ACTOR_SCHEDULER, .name = s->node };
    s->lease_us = cw_config_int(config, CW_CONF_LEASE_MS) * 1000;
    s->per_connection = (unsigned)cw_config_int(config, CW_CONF_PULL_PER_CONNECTION);
    s->per_host = (unsigned)cw_config_int(config, CW_CONF_PULL_PER_HOST);
    s->total = (unsigned)cw_config_int(config, CW_CONF_PULL_TOTAL);
    s->byte_budget = (uint64_t)cw_config_int(config, CW_CONF_PULL_BYTES);
    s->page_size = (int)cw_config_int(config, CW_CONF_PULL_COUNT);
    enum cw_code rc = owner_take(cw_config_text(config, CW_CONF_STATE_DIR), s->node, s->owner, err);
    if (rc == CW_OK) {
        /* A digester holds one connection for a page, all others now and then: who finds none waits a moment. */
        unsigned pool = digesters(config) + POOL_BESIDE;
        rc = cw_model_init(&s->model, config, pool > POOL_MOST ? POOL_MOST : pool, err);
    }
    if (rc == CW_OK) {
        rc = cw_profiles_load(cw_config_text(config, CW_CONF_VENDORS_DIR), &s->profiles, err);
    }
    if (rc == CW_OK) {
        rc = cw_http_multi_new(config, &s->multi, err);
    }
    unsigned freed = 0, refreshes = 0;
    if (rc == CW_OK) {
        rc = cw_job_take_back(&s->model, s->owner, &freed, err);
    }
    if (rc == CW_OK) {
        rc = cw_refresh_take_back(&s->model, s->owner, &refreshes, err);
    }
    if (rc == CW_OK) {
        cw_log(CW_LOG_INFO, "scheduler.started", CW_INT("resumed", freed), CW_INT("refreshes", refreshes),
               CW_INT("digesters", digesters(config)));
    }
    return rc;
}

static void join_all(struct threads *threads)
{
    for (size_t i = 0; i < threads->count; i++) {
        pthread_join(threads->ids[i], NULL);
    }
    threads->count = 0;
}

static void work(struct scheduler *s)
{
    struct threads fetcher = { .count = 0 }, others = { .count = 0 }, digest = { .count = 0 };
    bool up = spawn(&fetcher, fetcher_main, s) && spawn(&others, sequencer_main, s) && spawn(&others, upkeep_main, s) &&
              spawn(&others, prober_main, s);
    for (int i = 0; up && i < CW_PREPARERS; i++) {
        up = spawn(&others, preparer_main, s);
    }
    for (int i = 0; up && i < CW_REVOKERS; i++) {
        up = spawn(&others, revoker_main, s);
    }
    for (int i = 0; up && i < CW_KEEPERS; i++) {
        up = spawn(&others, keeper_main, s);
    }
    for (unsigned i = 0; up && i < digesters(s->config); i++) {
        up = spawn(&digest, digester_main, s);
    }
    if (!up) {
        cw_log(CW_LOG_ERR, "scheduler.no_threads");
        cw_stop_ask();
    }
    dispatcher_run(s);
    queue_close(&s->fetch);
    cw_http_multi_wake(s->multi);
    join_all(&fetcher);
    /* The dispatcher has waited long enough: what a hospital still owes comes again with the next claim. */
    cw_http_multi_free(s->multi);
    s->multi = NULL;
    queue_close(&s->prepare);
    queue_close(&s->digest);
    join_all(&digest);
    join_all(&others);
}

static void close_all(struct scheduler *s)
{
    for (struct run *run = s->runs, *next; run != NULL; run = next) {
        next = run->next;
        run_free(run);
    }
    for (struct host *host = s->hosts, *next; host != NULL; host = next) {
        next = host->next;
        free(host);
    }
    for (struct tenant *tenant = s->tenants, *next; tenant != NULL; tenant = next) {
        next = tenant->next;
        budget_release(&tenant->budget);
        free(tenant->base);
        free(tenant);
    }
    cw_http_multi_free(s->multi);
    cw_profiles_free(s->profiles);
    cw_model_release(&s->model);
    queue_release(&s->prepare);
    queue_release(&s->fetch);
    queue_release(&s->digest);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

int main(void)
{
    struct scheduler *s = calloc(1, sizeof *s);
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    cw_process_harden();
    cw_process_many_files();
    cw_log_init("chartway-scheduler", CW_LOG_INFO);
    cw_stop_init();
    enum cw_code rc = s == NULL ? CW_E_OOM : cw_config_load(NULL, &config, &err);
    if (rc == CW_OK) {
        s->config = config;
        init_sync(s);
        rc = open_all(s, &err);
        if (rc == CW_OK) {
            work(s);
            cw_log(CW_LOG_INFO, "scheduler.stopped");
        }
        close_all(s);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "scheduler.cannot_start", CW_ERR(&err));
    }
    cw_config_free(config);
    free(s);
    return rc == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
