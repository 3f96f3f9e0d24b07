/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scheduler's worth of refreshers that kills itself: threads that refresh random grants by the same code as the scheduler,
 * and a SIGKILL before or after the n-th call to the database or the network, or after so many milliseconds. Calls are seen
 * by the linker's --wrap. tests/system/murder.mjs starts these, starts them again, and holds the token server.
 *
 *   murder_worker make COUNT TOKEN_URL               connections to refresh; prints their registration
 *   murder_worker work SLOT THREADS REGISTRATION     until it dies; a SLOT is a family of lease owners
 *   murder_worker finish SLOTS REGISTRATION          refreshes each once more, as after a restart, and tells what is lost
 */
#include "config.h"

#include <curl/curl.h>
#include <mysql.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "model/connection_int.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/refresh.h"
#include "model/registration.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/renewal.h"

#define GRANTS_MAX 1000u
#define CALLS_MOST 400u     /* a life, in calls */
#define MILLISECONDS_MOST 1200

/* ---------------------------------------------------------------------------------------------- death */

static atomic_int calls_left = -1; /* below zero: immortal */
static _Thread_local bool dies_after;

static void die(const char *where)
{
    char line[64];
    int len = snprintf(line, sizeof line, "killed %s\n", where);
    (void)!write(STDOUT_FILENO, line, (size_t)len);
    (void)kill(getpid(), SIGKILL);
    for (;;) {
        (void)pause();
    }
}

/* Called around each wrapped call: the last of this life dies before it or after it. */
static void before(const char *where)
{
    dies_after = false;
    if (atomic_load(&calls_left) >= 0 && atomic_fetch_sub(&calls_left, 1) == 0) {
        dies_after = cw_random_below(2) == 1;
        if (!dies_after) {
            die(where);
        }
    }
}

static void after(const char *where)
{
    if (dies_after) {
        die(where);
    }
}

int __real_mysql_stmt_execute(MYSQL_STMT *stmt);
int __wrap_mysql_stmt_execute(MYSQL_STMT *stmt);
int __wrap_mysql_stmt_execute(MYSQL_STMT *stmt)
{
    before("statement");
    int rc = __real_mysql_stmt_execute(stmt);
    after("statement");
    return rc;
}

my_bool __real_mysql_commit(MYSQL *mysql);
my_bool __wrap_mysql_commit(MYSQL *mysql);
my_bool __wrap_mysql_commit(MYSQL *mysql)
{
    before("commit");
    my_bool rc = __real_mysql_commit(mysql);
    after("commit");
    return rc;
}

/* The token server knows each request's process by its User-Agent. */
CURLcode __real_curl_easy_perform(CURL *easy);
CURLcode __wrap_curl_easy_perform(CURL *easy);
CURLcode __wrap_curl_easy_perform(CURL *easy)
{
    char name[32];
    (void)snprintf(name, sizeof name, "murder/%d", (int)getpid());
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, name);
    before("request");
    CURLcode rc = __real_curl_easy_perform(easy);
    after("request");
    return rc;
}

static void *timer(void *arg)
{
    (void)poll(NULL, 0, *(int *)arg);
    die("by the clock");
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- what all share */

static struct cw_config *config;
static struct cw_model model;
static struct cw_profiles *profiles;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "murder" };
static struct cw_connection_id grants[GRANTS_MAX];
static unsigned grant_count;

static void must(enum cw_code rc, const struct cw_err *err, const char *what)
{
    if (rc != CW_OK) {
        fprintf(stderr, "%s: %s: %s: %s\n", what, cw_code_name(rc), err->where, err->text);
        exit(2);
    }
}

static void note(const struct cw_renewal_note *told)
{
    if (told->event == CW_RENEWAL_ENDED) {
        (void)!write(STDOUT_FILENO, "ended\n", 6);
    }
}

static enum cw_code collect(void *arg, const struct cw_value *row, struct cw_err *err)
{
    (void)arg;
    (void)err;
    if (grant_count < GRANTS_MAX) {
        grants[grant_count++].ulid = cw_value_id(&row[0]);
    }
    return CW_OK;
}

static void read_grants(const char *registration)
{
    static const struct cw_query all = { .name = "murder.grants", .sql = "SELECT id FROM connection WHERE registration = ? ORDER BY id",
                                         .params = "b", .columns = "b" };
    struct cw_ulid id;
    struct cw_err err = { 0 };
    struct cw_db *db;
    if (!cw_id_parse(CW_PREFIX_REGISTRATION, cw_span_cstr(registration), &id)) {
        exit(2);
    }
    must(cw_db_get(model.pool, 5000, &db, &err), &err, "connect");
    must(cw_db_each(db, &all, (struct cw_value[]){ cw_v_id(&id) }, collect, NULL, &err), &err, "grants");
    cw_db_put(db);
}

static struct cw_renewer renewer_of(const char *owner)
{
    return (struct cw_renewer){ .model = &model, .profiles = profiles, .actor = &actor, .owner = owner, .note = note };
}

/* ---------------------------------------------------------------------------------------------- make */

struct making {
    struct cw_org_id org;
    struct cw_registration_id registration;
    const char *token_url;
    unsigned number;
    struct cw_arena *arena;
};

static enum cw_code make_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct making *make = arg;
    cw_arena_clear(make->arena);
    char *name = cw_arena_printf(make->arena, "murder_%u", make->number);
    char *pinned = cw_arena_printf(make->arena, "{\"base\":\"https://murder.test/fhir\",\"token_endpoint\":\"%s\",\"profile\":\"default\"}",
                                   make->token_url);
    char *refresh = cw_arena_printf(make->arena, "r-%u-0", make->number);
    struct cw_patient wanted = { .patient_id = cw_span_cstr(name) };
    struct cw_patient_row patient;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_connection_id id;
    enum cw_code rc = cw_patient_upsert(&model, db, make->org, &wanted, make->arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() }, .org = make->org, .patient = patient, .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() }, .registration = make->registration, .session = { cw_ulid_new() },
                                  .upstream_patient = cw_span_cstr(name), .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = cw_span_cstr(pinned) };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, make->arena, &id, err);
    }
    int64_t now_us = cw_now_us();
    struct grant_put grant = { .access_token = CW_SPAN("a"), .refresh_token = cw_span_cstr(refresh), .obtained_us = now_us,
                               .expires_us = now_us + CW_HOUR_US };
    return rc == CW_OK ? grant_put(db, &key, id, &grant, make->arena, err) : rc;
}

static int make(unsigned count, const char *token_url)
{
    static const struct cw_span hosts[] = { CW_SPAN("127.0.0.1") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"), .client_id = CW_SPAN("murder"),
                                      .method = CW_AUTH_NONE, .hosts = hosts, .host_count = 1 };
    struct making making = { .token_url = token_url, .arena = cw_arena_new(1u << 20) };
    struct cw_err err = { 0 };
    char name[64], id[CW_ID_TEXT_MAX];
    (void)snprintf(name, sizeof name, "Murder %lld", (long long)cw_now_us());
    must(cw_org_create(&model, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &making.org, &err), &err, "organization");
    must(cw_registration_add(&model, &actor, &wanted, (struct cw_span){ NULL, 0 }, &making.registration, &err), &err, "registration");
    for (making.number = 0; making.number < count; making.number++) {
        must(cw_tx_pool(model.pool, make_tx, &making, &err), &err, "connection");
    }
    cw_arena_free(making.arena);
    cw_id_emit(CW_PREFIX_REGISTRATION, making.registration.ulid, id);
    printf("%s\n", id);
    return EXIT_SUCCESS;
}

/* ---------------------------------------------------------------------------------------------- work */

static char owner[CW_OWNER_MAX + 1];

static void *work_thread(void *arg)
{
    (void)arg;
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    struct cw_renewer renewer = renewer_of(owner);
    must(cw_http_new(config, &http, &err), &err, "http");
    for (;;) {
        struct cw_connection_id id = grants[cw_random_below(grant_count)];
        struct cw_grant grant = { 0 };
        enum cw_code rc = cw_grant_get(&model, id, &grant, &err);
        struct cw_renewal renewal = { .connection = id, .refused_version = grant.version, .no_wait = true };
        cw_grant_release(&grant);
        if (rc == CW_OK) {
            rc = cw_renew(&renewer, http, &renewal, &grant, &err);
            cw_grant_release(&grant);
        }
        if (rc != CW_OK) {
            (void)poll(NULL, 0, 5); /* somebody else's, or paused: another one */
        }
    }
    return NULL;
}

static int work(unsigned slot, unsigned threads)
{
    static int life_ms;
    struct cw_err err = { 0 };
    unsigned count;
    pthread_t thread;
    (void)snprintf(owner, sizeof owner, "murder%u/%d", slot, (int)getpid());
    if (cw_random_below(4) == 0) {
        life_ms = 1 + (int)cw_random_below(MILLISECONDS_MOST);
        (void)pthread_create(&thread, NULL, timer, &life_ms);
    } else {
        atomic_store(&calls_left, (int)cw_random_below(CALLS_MOST));
    }
    must(cw_refresh_take_back(&model, owner, &count, &err), &err, "take back");
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&thread, NULL, work_thread, NULL) != 0) {
            return EXIT_FAILURE;
        }
    }
    for (;;) {
        (void)pause();
    }
}

/* ---------------------------------------------------------------------------------------------- finish */

static bool refresh_once(const struct cw_renewer *renewer, struct cw_http *http, struct cw_connection_id id)
{
    struct cw_grant grant = { 0 };
    struct cw_err err = { 0 };
    enum cw_code rc = cw_grant_get(&model, id, &grant, &err);
    struct cw_renewal renewal = { .connection = id, .refused_version = grant.version };
    for (int i = 0; i < 3 && rc == CW_OK; i++) {
        cw_grant_release(&grant);
        rc = cw_renew(renewer, http, &renewal, &grant, &err);
        if (rc == CW_OK || rc == CW_E_AUTH) {
            break;
        }
        /* A back-off that the murders led to, or an answer that the server dropped twice: an operator's patience is not tested here. */
        int64_t wait_us = renewal.retry_us == 0 ? CW_SECOND_US : renewal.retry_us - cw_now_us();
        (void)poll(NULL, 0, wait_us > 0 ? (int)(wait_us / 1000) + 1 : 1);
        rc = CW_OK;
    }
    cw_grant_release(&grant);
    if (rc != CW_OK) {
        fprintf(stderr, "lost: %s: %s: %s\n", cw_code_name(rc), err.where, err.text);
    }
    return rc == CW_OK;
}

static int finish(unsigned slots)
{
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    unsigned lost = 0, count;
    for (unsigned slot = 0; slot < slots; slot++) {
        (void)snprintf(owner, sizeof owner, "murder%u/finish", slot);
        must(cw_refresh_take_back(&model, owner, &count, &err), &err, "take back");
    }
    struct cw_renewer renewer = renewer_of(owner);
    must(cw_http_new(config, &http, &err), &err, "http");
    for (unsigned i = 0; i < grant_count; i++) {
        lost += !refresh_once(&renewer, http, grants[i]);
    }
    cw_http_free(http);
    printf("grants %u lost %u\n", grant_count, lost);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct cw_err err = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    cw_log_init("murder", CW_LOG_ERR);
    must(cw_config_load(NULL, &config, &err), &err, "configuration");
    must(cw_model_init(&model, config, 8, &err), &err, "model");
    must(cw_profiles_load(cw_config_text(config, CW_CONF_VENDORS_DIR), &profiles, &err), &err, "profiles");
    if (argc == 4 && strcmp(argv[1], "make") == 0) {
        return make((unsigned)strtoul(argv[2], NULL, 10), argv[3]);
    }
    if (argc >= 4) {
        read_grants(argv[argc - 1]);
    }
    if (argc == 5 && strcmp(argv[1], "work") == 0) {
        return work((unsigned)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10));
    }
    return argc == 4 && strcmp(argv[1], "finish") == 0 ? finish((unsigned)strtoul(argv[2], NULL, 10)) : EXIT_FAILURE;
}
