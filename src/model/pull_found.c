/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page names and is still to be fetched: references and documents. Most of what is named is there already or comes by a search of
 * the same pull, so a task is made only for the rest; what is beyond the budgets is counted, never forgotten.
 */
#include "config.h"
#include "model/pull_int.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

#define FIND_MAX 50               /* matches the number of ? below */
#define FIFTY "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, " \
              "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define FIFTY_KINDS "bbbbbbbbbbbbbbbbbbbbbbbbb" "bbbbbbbbbbbbbbbbbbbbbbbbb"
#define TYPES_MAX 100             /* types of one pull's tasks */
#define CHECKED_US (30 * CW_DAY_US) /* how long a record that only references bring is good without being read again */

static const struct cw_query q_known_tasks = {
    .name = "found.known_tasks",
    .sql = "SELECT target_hash FROM pull_task WHERE pull = ? AND target_hash IN (" FIFTY ") LIMIT 50",
    .params = "b" FIFTY_KINDS,
    .columns = "b",
};
/* Searches that wait or are done bring the newest of their type themselves. */
static const struct cw_query q_covered = {
    .name = "found.covered",
    .sql = "SELECT DISTINCT resource_type FROM pull_task WHERE pull = ? AND kind = 2 AND status <= 2 LIMIT ?",
    .params = "bi",
    .columns = "b",
};
static const struct cw_query q_stored = {
    .name = "found.stored",
    .sql = "SELECT r.upstream_id FROM record r JOIN record_connection c ON c.connection = ? AND c.record = r.id"
           " WHERE r.patient = ? AND r.endpoint = ? AND r.tenant_context = ? AND r.resource_type = ? AND r.vanished_at IS NULL"
           " AND (? = 1 OR GREATEST(r.stored_at, COALESCE(c.checked_at, r.stored_at)) > ?) AND r.upstream_id IN (" FIFTY ") LIMIT 50",
    .params = "bbbbbit" FIFTY_KINDS,
    .columns = "b",
};
static const struct cw_query q_counts = {
    .name = "found.counts",
    .sql = "SELECT kind, resource_type, COUNT(*) FROM pull_task WHERE pull = ? AND kind >= 3 GROUP BY kind, resource_type LIMIT ?",
    .params = "bi",
    .columns = "ibi",
};
/* Named by a page before the search of its type brought it. */
static const struct cw_query q_drop_stored = {
    .name = "found.drop_stored",
    .sql = "DELETE t FROM pull_task t JOIN connection k ON k.id = ? JOIN record r ON r.patient = k.patient AND r.endpoint = k.endpoint"
           " AND r.tenant_context = k.tenant_context AND r.resource_type = t.resource_type AND r.upstream_id = t.target_id"
           " AND r.vanished_at IS NULL JOIN record_connection c ON c.connection = k.id AND c.record = r.id"
           " JOIN (SELECT DISTINCT resource_type FROM pull_task WHERE pull = ? AND kind = 2 AND status <= 2) s"
           " ON s.resource_type = t.resource_type WHERE t.pull = ? AND t.status = 1 AND t.kind = 3 AND t.pages = 0",
    .params = "bbb",
    .columns = "",
};

struct found {
    struct cw_task_new own;
    uint8_t hash[CW_HASH_LEN];
    bool dropped;
};

struct finding {
    struct cw_db *db;
    const struct cw_page_commit *page;
    const struct cw_data_key *key;
    struct cw_patient_row patient;
    struct cw_arena *arena;
    struct cw_err *err;
    struct found *found;        /* as the page names them */
    struct found **by_hash;
    size_t count;
    const char *types[TYPES_MAX]; /* of the references, each once */
    size_t type_count;
    struct cw_rows covered;
};

static bool is_covered(const struct finding *f, struct cw_span type)
{
    for (size_t i = 0; i < f->covered.count; i++) {
        if (cw_span_eq(cw_row(&f->covered, i)[0].bytes, type)) {
            return true;
        }
    }
    return false;
}

static int by_hash(const void *a, const void *b)
{
    const struct found *const *x = a, *const *y = b;
    int order = memcmp((*x)->hash, (*y)->hash, CW_HASH_LEN);
    return order != 0 ? order : (*x > *y) - (*x < *y);
}

/* The same thing twice in this page: the first stays. A page can name a hundred thousand. */
static void drop_twins(struct finding *f)
{
    for (size_t i = 0; i < f->count; i++) {
        f->by_hash[i] = &f->found[i];
    }
    qsort(f->by_hash, f->count, sizeof(struct found *), by_hash);
    for (size_t i = 1; i < f->count; i++) {
        f->by_hash[i]->dropped = memcmp(f->by_hash[i]->hash, f->by_hash[i - 1]->hash, CW_HASH_LEN) == 0;
    }
}

/* The first of its twins, which is the one that is left. */
static void drop_hash(struct finding *f, struct cw_span hash)
{
    size_t low = 0, high = f->count;
    while (hash.len == CW_HASH_LEN && low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(f->by_hash[middle]->hash, hash.ptr, CW_HASH_LEN) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (hash.len == CW_HASH_LEN && low < f->count && memcmp(f->by_hash[low]->hash, hash.ptr, CW_HASH_LEN) == 0) {
        f->by_hash[low]->dropped = true;
    }
}

/* What an earlier page of this pull named already. */
static enum cw_code drop_known(struct finding *f)
{
    enum cw_code rc = CW_OK;
    for (size_t at = 0; rc == CW_OK && at < f->count;) {
        struct cw_value params[1 + FIND_MAX] = { cw_v_id(&f->page->pull.ulid) };
        size_t taken = 0;
        for (; at < f->count && taken < FIND_MAX; at++) {
            if (!f->found[at].dropped) {
                params[1 + taken++] = cw_v_bytes(cw_span_of(f->found[at].hash, CW_HASH_LEN));
            }
        }
        for (size_t i = taken; taken > 0 && i < FIND_MAX; i++) {
            params[1 + i] = params[1];
        }
        struct cw_rows rows = { 0 };
        rc = taken == 0 ? CW_OK : cw_db_select(f->db, &q_known_tasks, params, f->arena, &rows, f->err);
        for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
            drop_hash(f, cw_row(&rows, i)[0].bytes);
        }
    }
    return rc;
}

static bool is_reference_to(const struct found *found, const char *type)
{
    return !found->dropped && found->own.kind == CW_TASK_REFERENCE && found->own.target_id.ptr != NULL &&
           strcmp(found->own.resource_type, type) == 0;
}

/* Up to FIND_MAX references to the type from *at on, which moves behind them. */
static enum cw_code drop_stored_some(struct finding *f, const char *type, size_t *at)
{
    struct cw_value params[7 + FIND_MAX] = {
        cw_v_id(&f->page->connection.ulid), cw_v_id(&f->patient.ulid), cw_v_id(&f->page->endpoint.ulid),
        cw_v_bytes(f->page->tenant_context.ptr == NULL ? CW_SPAN("") : f->page->tenant_context), cw_v_bytes(cw_span_cstr(type)),
        cw_v_int(is_covered(f, cw_span_cstr(type))), cw_v_time(cw_now_us() - CHECKED_US),
    };
    size_t from = *at, taken = 0;
    for (; *at < f->count && taken < FIND_MAX; (*at)++) {
        if (is_reference_to(&f->found[*at], type)) {
            params[7 + taken++] = cw_v_bytes(f->found[*at].own.target_id);
        }
    }
    for (size_t i = taken; taken > 0 && i < FIND_MAX; i++) {
        params[7 + i] = params[7];
    }
    struct cw_rows rows = { 0 };
    enum cw_code rc = taken == 0 ? CW_OK : cw_db_select(f->db, &q_stored, params, f->arena, &rows, f->err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        for (size_t j = from; j < *at; j++) {
            if (is_reference_to(&f->found[j], type) && cw_span_eq(f->found[j].own.target_id, cw_row(&rows, i)[0].bytes)) {
                f->found[j].dropped = true;
            }
        }
    }
    return rc;
}

/* References to what this connection has brought: by a search of this pull, or lately. */
static enum cw_code drop_stored(struct finding *f)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < f->type_count; i++) {
        for (size_t at = 0; rc == CW_OK && at < f->count;) {
            rc = drop_stored_some(f, f->types[i], &at);
        }
    }
    return rc;
}

static void note_type(struct finding *f, const struct cw_task_new *task)
{
    for (size_t i = 0; i < f->type_count; i++) {
        if (strcmp(f->types[i], task->resource_type) == 0) {
            return;
        }
    }
    if (f->type_count < TYPES_MAX) {
        f->types[f->type_count++] = task->resource_type;
    }
}

/* Documents cost a server much (Epic allows so many a day): one that we have is not fetched again while what names it is unchanged. */
static enum cw_code skip_known_documents(struct finding *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct cw_task_new *own = &f->found[i].own;
        if (f->found[i].dropped || own->kind != CW_TASK_DOCUMENT || own->skip_code != NULL ||
            !cw_record_batch_unchanged(f->page->records, own->parent_type, own->parent_id)) {
            continue;
        }
        struct cw_document_at at = { .endpoint = f->page->endpoint,
                                     .tenant_context = f->page->tenant_context,
                                     .url = own->url,
                                     .binary_id = own->binary_id };
        bool known = false;
        enum cw_code rc = cw_document_known(f->db, f->key, f->patient, &at, f->arena, &known, f->err);
        if (rc != CW_OK) {
            return rc;
        }
        own->skip_code = known ? "unchanged" : NULL;
    }
    return CW_OK;
}

/* How many tasks of each budget there may still be. */
struct room {
    int64_t references, covered, documents;
};

static enum cw_code read_room(struct finding *f, struct room *room)
{
    *room = (struct room){ CW_PULL_REFERENCES_MAX, CW_PULL_COVERED_MAX, CW_PULL_DOCUMENTS_MAX };
    struct cw_value params[] = { cw_v_id(&f->page->pull.ulid), cw_v_int(TYPES_MAX) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(f->db, &q_counts, params, f->arena, &rows, f->err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        int64_t *left = row[0].number == CW_TASK_DOCUMENT ? &room->documents
                        : is_covered(f, row[1].bytes)     ? &room->covered
                                                          : &room->references;
        *left -= row[2].number;
    }
    return rc;
}

static void count_over(struct cw_pull_skip *over, size_t *count, struct cw_span type)
{
    for (size_t i = 0; i < *count; i++) {
        if (cw_span_eq(over[i].resource_type, type) || i == TYPES_MAX - 1) {
            over[i].count++;
            return;
        }
    }
    over[(*count)++] = (struct cw_pull_skip){ .resource_type = type, .reason = CW_SPAN(CW_SKIP_OVER_LIMIT), .count = 1 };
}

/* Takes what there is room for to the front of `tasks` and counts the rest. */
static enum cw_code within_room(struct finding *f, struct cw_task_new *tasks, size_t *ret_count)
{
    struct room room;
    struct cw_pull_skip over[TYPES_MAX];
    enum cw_code rc = read_room(f, &room);
    size_t count = 0, over_count = 0;
    for (size_t i = 0; rc == CW_OK && i < f->count; i++) {
        const struct found *found = &f->found[i];
        if (found->dropped) {
            continue;
        }
        struct cw_span type = cw_span_cstr(found->own.resource_type);
        int64_t *left = found->own.kind == CW_TASK_DOCUMENT ? &room.documents
                        : is_covered(f, type)               ? &room.covered
                                                            : &room.references;
        if (*left > 0) {
            (*left)--;
            tasks[count++] = found->own;
        } else {
            count_over(over, &over_count, type);
        }
    }
    *ret_count = count;
    return rc == CW_OK ? cw_pull_skips_add(f->db, f->page->pull, over, over_count, f->err) : rc;
}

static bool any_left(const struct finding *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (!f->found[i].dropped) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_pull_found_add(struct cw_db *db, const struct cw_page_commit *page, const struct cw_data_key *key,
                               struct cw_patient_row patient, struct cw_arena *arena, struct cw_err *err)
{
    if (page->found_count == 0) {
        return CW_OK;
    }
    struct finding f = { .db = db, .page = page, .key = key, .patient = patient, .arena = arena, .err = err,
                         .count = page->found_count };
    f.found = cw_arena_array(arena, f.count, sizeof *f.found);
    f.by_hash = cw_arena_array(arena, f.count, sizeof(struct found *));
    struct cw_task_new *tasks = cw_arena_array(arena, f.count, sizeof *tasks);
    if (f.found == NULL || f.by_hash == NULL || tasks == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.found", "out of memory");
    }
    for (size_t i = 0; i < f.count; i++) {
        f.found[i] = (struct found){ .own = page->found[i] };
        cw_pull_target_hash(key, &f.found[i].own, arena, f.found[i].hash);
        if (f.found[i].own.kind == CW_TASK_REFERENCE) {
            note_type(&f, &f.found[i].own);
        }
    }
    struct cw_value params[] = { cw_v_id(&page->pull.ulid), cw_v_int(TYPES_MAX) };
    drop_twins(&f);
    enum cw_code rc = drop_known(&f);
    if (rc == CW_OK && any_left(&f)) {
        rc = cw_db_select(db, &q_covered, params, arena, &f.covered, err);
        rc = rc == CW_OK ? drop_stored(&f) : rc;
    }
    rc = rc == CW_OK ? skip_known_documents(&f) : rc;
    if (rc != CW_OK || !any_left(&f)) {
        return rc;
    }
    size_t count = 0;
    rc = within_room(&f, tasks, &count);
    return rc == CW_OK ? cw_pull_tasks_add(db, page->pull, key, tasks, count, arena, err) : rc;
}

struct dropping {
    const char *owner;
    const struct cw_job *job;
    const struct cw_pull *pull;
};

static enum cw_code drop_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct dropping *d = arg;
    enum cw_code rc = cw_job_hold(db, d->owner, d->job, err);
    struct cw_value params[] = { cw_v_id(&d->pull->connection.ulid), cw_v_id(&d->pull->id.ulid), cw_v_id(&d->pull->id.ulid) };
    return rc == CW_OK ? cw_db_exec(db, &q_drop_stored, params, NULL, err) : rc;
}

enum cw_code cw_pull_drop_stored(struct cw_model *m, const char *owner, const struct cw_job *job, const struct cw_pull *pull,
                                 struct cw_err *err)
{
    struct dropping d = { owner, job, pull };
    return cw_tx_pool(m->pool, drop_tx, &d, err);
}
