/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audit rows. The queue keeps whole rows of fixed size, so that adding one allocates nothing and cannot fail while there
 * is room; its thread takes what waits, writes it in one transaction, and keeps it when the database is away.
 */
#include "config.h"
#include "model/audit.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"
#include "os/log.h"
#include "os/sys.h"

#define ACTOR_MAX 64u
#define ACTION_MAX 64u
#define DETAIL_MAX 255u
#define REQUEST_ID_MAX 40u
#define QUEUE_MAX 1024u
#define GATHER_US (150 * INT64_C(1000)) /* with the write itself: within 200 ms */
#define AWAY_US CW_SECOND_US

static const struct cw_query q_audit_add = {
    .name = "audit.add",
    .sql = "INSERT INTO audit (id, organization, actor_kind, actor, action, patient, object, detail, request_id, created_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbibbbbbbt",
    .columns = "",
};
static const struct cw_query q_audit_key_used = {
    .name = "audit.key_used",
    .sql = "UPDATE api_key SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
    .params = "tbt",
    .columns = "",
};

#define COLUMNS 10

static struct cw_value id_or_null(const struct cw_ulid *id)
{
    return cw_ulid_is_zero(*id) ? cw_v_null() : cw_v_id(id);
}

/* A text cut to its column; NULL gives the absent span. */
static struct cw_span cut(const char *text, size_t most)
{
    return cw_span_of(text, text == NULL ? 0 : strnlen(text, most));
}

enum cw_code cw_audit_write(struct cw_db *db, const struct cw_actor *actor, const struct cw_audit_row *row,
                            struct cw_err *err)
{
    if (!cw_db_in_tx(db)) {
        cw_bug("an audit row outside of its act's transaction");
    }
    struct cw_ulid id = cw_ulid_new();
    const struct cw_value params[COLUMNS] = {
        cw_v_id(&id),
        id_or_null(&row->org.ulid),
        cw_v_int(actor->kind),
        cw_v_bytes(cut(actor->name, ACTOR_MAX)),
        cw_v_bytes(cut(row->action, ACTION_MAX)),
        id_or_null(&row->patient.ulid),
        id_or_null(&row->object),
        cw_v_bytes(cut(row->detail, DETAIL_MAX)),
        cw_v_bytes(cut(actor->request_id, REQUEST_ID_MAX)),
        cw_v_time(cw_now_us()),
    };
    return cw_db_exec(db, &q_audit_add, params, NULL, err);
}

/* ---- the queue */

/* One act, copied whole. `action` is a literal. */
struct entry {
    struct cw_ulid id;
    struct cw_ulid org, patient, object;
    enum cw_actor_kind kind;
    const char *action;
    int64_t created_us;
    bool has_detail, has_request_id;
    char actor[ACTOR_MAX + 1];
    char detail[DETAIL_MAX + 1];
    char request_id[REQUEST_ID_MAX + 1];
};

struct cw_audit_queue {
    struct cw_db_pool *pool;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopping;
    size_t count;
    struct entry waiting[QUEUE_MAX];
    /* The thread's own: what it took and is writing. */
    size_t taken;
    struct entry batch[QUEUE_MAX];
    struct cw_value values[QUEUE_MAX * COLUMNS];
};

static void copy_cut(char *out, const char *text, size_t most)
{
    struct cw_span part = cut(text, most);
    if (part.len > 0) {
        memcpy(out, part.ptr, part.len);
    }
    out[part.len] = '\0';
}

static void fill_entry(struct entry *entry, const struct cw_actor *actor, const struct cw_audit_row *row)
{
    entry->id = cw_ulid_new();
    entry->org = row->org.ulid;
    entry->patient = row->patient.ulid;
    entry->object = row->object;
    entry->kind = actor->kind;
    entry->action = row->action;
    entry->created_us = cw_now_us();
    entry->has_detail = row->detail != NULL;
    entry->has_request_id = actor->request_id != NULL;
    copy_cut(entry->actor, actor->name, ACTOR_MAX);
    copy_cut(entry->detail, row->detail, DETAIL_MAX);
    copy_cut(entry->request_id, actor->request_id, REQUEST_ID_MAX);
}

static void fill_values(struct cw_value *values, const struct entry *entry)
{
    const struct cw_value row[COLUMNS] = {
        cw_v_id(&entry->id),
        id_or_null(&entry->org),
        cw_v_int(entry->kind),
        cw_v_bytes(cw_span_cstr(entry->actor)),
        cw_v_bytes(cut(entry->action, ACTION_MAX)),
        id_or_null(&entry->patient),
        id_or_null(&entry->object),
        cw_v_bytes(cw_span_cstr(entry->has_detail ? entry->detail : NULL)),
        cw_v_bytes(cw_span_cstr(entry->has_request_id ? entry->request_id : NULL)),
        cw_v_time(entry->created_us),
    };
    memcpy(values, row, sizeof row);
}

static bool key_seen(const struct cw_audit_queue *queue, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (queue->batch[i].kind == CW_ACTOR_API_KEY && strcmp(queue->batch[i].actor, queue->batch[before].actor) == 0) {
            return true;
        }
    }
    return false;
}

/* Last use, to the minute: one UPDATE a key and batch, and none that changes a row twice a minute. */
static enum cw_code touch_keys(struct cw_db *db, const struct cw_audit_queue *queue, struct cw_err *err)
{
    for (size_t i = 0; i < queue->taken; i++) {
        const struct entry *entry = &queue->batch[i];
        struct cw_ulid key;
        if (entry->kind != CW_ACTOR_API_KEY || key_seen(queue, i)
            || !cw_id_parse(CW_PREFIX_API_KEY, cw_span_cstr(entry->actor), &key)) {
            continue;
        }
        int64_t minute = entry->created_us - entry->created_us % CW_MINUTE_US;
        struct cw_value params[] = { cw_v_time(minute), cw_v_id(&key), cw_v_time(minute) };
        enum cw_code rc = cw_db_exec(db, &q_audit_key_used, params, NULL, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

static enum cw_code write_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct cw_audit_queue *queue = arg;
    for (size_t i = 0; i < queue->taken; i++) {
        fill_values(queue->values + i * COLUMNS, &queue->batch[i]);
    }
    enum cw_code rc = cw_db_bulk(db, &q_audit_add, queue->values, queue->taken, NULL, err);
    return rc == CW_OK ? touch_keys(db, queue, err) : rc;
}

/* With the mutex held: sleeps until the monotonic time, until `enough` rows wait, or until a stop. */
static void sleep_until(struct cw_audit_queue *queue, int64_t until_us, size_t enough)
{
    struct timespec until = { .tv_sec = until_us / CW_SECOND_US, .tv_nsec = until_us % CW_SECOND_US * 1000 };
    while (!queue->stopping && queue->count < enough && cw_monotonic_us() < until_us) {
        (void)pthread_cond_timedwait(&queue->changed, &queue->mutex, &until);
    }
}

/* With the mutex held: moves what waits into the batch, after a moment for more to gather. False when stopped and empty. */
static bool take_batch(struct cw_audit_queue *queue)
{
    while (queue->count == 0 && !queue->stopping) {
        (void)pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    sleep_until(queue, cw_monotonic_us() + GATHER_US, QUEUE_MAX / 2);
    queue->taken = queue->count;
    memcpy(queue->batch, queue->waiting, queue->count * sizeof queue->waiting[0]);
    queue->count = 0;
    return queue->taken > 0;
}

static void *run(void *arg)
{
    struct cw_audit_queue *queue = arg;
    (void)pthread_mutex_lock(&queue->mutex);
    while (take_batch(queue)) {
        struct cw_err err = { 0 };
        (void)pthread_mutex_unlock(&queue->mutex);
        enum cw_code rc = cw_tx_pool(queue->pool, write_tx, queue, &err);
        (void)pthread_mutex_lock(&queue->mutex);
        while (rc != CW_OK && !queue->stopping) {
            /* The batch stays as it is; its ids make a repeat of a commit that did happen a conflict, not a double. */
            sleep_until(queue, cw_monotonic_us() + AWAY_US, SIZE_MAX);
            (void)pthread_mutex_unlock(&queue->mutex);
            rc = cw_tx_pool(queue->pool, write_tx, queue, &err);
            rc = rc == CW_E_CONFLICT ? CW_OK : rc;
            (void)pthread_mutex_lock(&queue->mutex);
        }
        if (rc != CW_OK) {
            cw_log(CW_LOG_ERR, "audit.lost", CW_INT("rows", (int64_t)queue->taken), CW_ERR(&err));
        }
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return NULL;
}

void cw_audit_queue_free(struct cw_audit_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&queue->mutex);
    queue->stopping = true;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->mutex);
    (void)pthread_join(queue->thread, NULL);
    (void)pthread_cond_destroy(&queue->changed);
    (void)pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

enum cw_code cw_audit_queue_new(struct cw_model *m, struct cw_audit_queue **ret, struct cw_err *err)
{
    struct cw_audit_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return cw_err_set(err, CW_E_OOM, "audit.queue", "out of memory");
    }
    queue->pool = m->pool;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&queue->mutex, NULL);
    (void)pthread_cond_init(&queue->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    int sys = pthread_create(&queue->thread, NULL, run, queue);
    if (sys != 0) {
        (void)pthread_cond_destroy(&queue->changed);
        (void)pthread_mutex_destroy(&queue->mutex);
        free(queue);
        return cw_err_sys(err, CW_E_IO, sys, "audit.queue", "no thread");
    }
    *ret = queue;
    return CW_OK;
}

struct single {
    const struct cw_actor *actor;
    const struct cw_audit_row *row;
};

static enum cw_code single_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct single *single = arg;
    return cw_audit_write(db, single->actor, single->row, err);
}

enum cw_code cw_audit_queue_add(struct cw_audit_queue *queue, const struct cw_actor *actor,
                                const struct cw_audit_row *row, struct cw_err *err)
{
    (void)pthread_mutex_lock(&queue->mutex);
    bool room = queue->count < QUEUE_MAX;
    if (room) {
        fill_entry(&queue->waiting[queue->count], actor, row);
        queue->count++;
        (void)pthread_cond_signal(&queue->changed);
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    if (room) {
        return CW_OK;
    }
    struct single single = { actor, row };
    return cw_tx_pool(queue->pool, single_tx, &single, err);
}
