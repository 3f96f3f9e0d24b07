/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of a pull, and the commit of one page: records, next link, counts and newly found tasks together or not at all. */
#include "config.h"
#include "model/pull.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/time.h"
#include "model/keys.h"
#include "model/pull_int.h"
#include "os/sys.h"

static const struct cw_query q_task_add = {
    .name = "task.add",
    .sql = "INSERT IGNORE INTO pull_task (id, pull, kind, status, resource_type, ordinal, target_hash, target_id, accept, expect_hash,"
           " expect_size, url_sealed, key_version, failure_code, ready_at, updated_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbiibibbbbibibtt",
    .columns = "",
};

#define TASK_COLUMNS \
    "SELECT id, kind, status, resource_type, ordinal, pages, received, stored, unchanged, tries, total, failure_code," \
    " http_status, bytes, ready_at, restarts, next_sealed IS NULL, key_version, accept, expect_hash, expect_size, requests, created, "
#define TASK_KINDS "biibiiiiiiibiitiiibbiiibb"

static const struct cw_query q_task_waiting = {
    .name = "task.waiting",
    .sql = TASK_COLUMNS "url_sealed, next_sealed FROM pull_task WHERE pull = ? AND status = 1 AND ready_at <= ? ORDER BY ordinal, id LIMIT ?",
    .params = "bti",
    .columns = TASK_KINDS,
};
static const struct cw_query q_task_left = {
    .name = "task.left",
    .sql = "SELECT COUNT(*), MIN(IF(ready_at > ?, ready_at, NULL)) FROM pull_task WHERE pull = ? AND status = 1",
    .params = "tb",
    .columns = "it",
};
static const struct cw_query q_task_all = {
    .name = "task.all",
    .sql = TASK_COLUMNS "NULL, NULL FROM pull_task WHERE pull = ? ORDER BY ordinal, id LIMIT ?",
    .params = "bi",
    .columns = TASK_KINDS,
};
static const struct cw_query q_task_lock = {
    .name = "task.lock",
    .sql = "SELECT status, pages, received, empty_pages, known_pages FROM pull_task WHERE id = ? AND pull = ? FOR UPDATE",
    .params = "bb",
    .columns = "iiiii",
};
static const struct cw_query q_task_page = {
    .name = "task.page",
    .sql = "UPDATE pull_task SET status = ?, next_sealed = ?, key_version = ?, failure_code = ?, http_status = 200,"
           " total = COALESCE(?, total), pages = pages + 1, received = received + ?, stored = stored + ?,"
           " created = created + ?, unchanged = unchanged + ?, bytes = bytes + ?, requests = requests + ?, tries = 0,"
           " empty_pages = ?, known_pages = ?, updated_at = ? WHERE id = ?",
    .params = "ibibiiiiiiiiitb",
    .columns = "",
};
static const struct cw_query q_task_failed = {
    .name = "task.failed",
    .sql = "UPDATE pull_task SET status = ?, failure_code = ?, http_status = ?, tries = tries + ?, requests = requests + ?, ready_at = ?,"
           " restarts = restarts + ?, next_sealed = IF(? = 1, NULL, next_sealed), empty_pages = IF(? = 1, 0, empty_pages),"
           " known_pages = IF(? = 1, 0, known_pages), updated_at = ? WHERE id = ? AND status = 1",
    .params = "ibiiitiiiitb",
    .columns = "",
};
static const struct cw_query q_page_seen = {
    .name = "task.page_seen",
    .sql = "INSERT IGNORE INTO pull_page (task, url_hash) VALUES (?, ?)",
    .params = "bb",
    .columns = "",
};
static const struct cw_query q_page_find = {
    .name = "task.page_find",
    .sql = "SELECT task FROM pull_page WHERE task = ? AND url_hash = ?",
    .params = "bb",
    .columns = "b",
};
static const struct cw_query q_pages_restart = {
    .name = "task.pages_restart",
    .sql = "DELETE FROM pull_page WHERE task = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_pull_counts = {
    .name = "pull.counts",
    .sql = "UPDATE pull SET requests = requests + ?, received = received + ?, stored = stored + ?,"
           " unchanged = unchanged + ?, errors = errors + ? WHERE id = ?",
    .params = "iiiiib",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- adding */

#define ADD_WIDTH 16
#define EMPTY_PAGES_MAX 3 /* in a row: so many are legal, one more is no end */
#define KNOWN_PAGES_MAX 3 /* in a row, each with the ids of a page before */

void cw_pull_target_hash(const struct cw_data_key *key, const struct cw_task_new *task, struct cw_arena *arena,
                         uint8_t out[CW_HASH_LEN])
{
    char *text = task->url.ptr != NULL
                     ? cw_arena_printf(arena, "%d %.*s", (int)task->kind, (int)task->url.len, task->url.ptr)
                     : cw_arena_printf(arena, "%d %s %s %u", (int)task->kind, task->resource_type, task->skip_code,
                                       task->ordinal);
    cw_data_hash(key, "pull.target", text == NULL ? CW_SPAN("") : cw_span_cstr(text), out);
}

struct task_row {
    struct cw_ulid id;
    uint8_t hash[CW_HASH_LEN], expect[CW_HASH_LEN];
};

static enum cw_code fill_task(struct cw_pull_id *pull, const struct cw_data_key *key, const struct cw_task_new *task,
                              struct cw_arena *arena, struct cw_value *row, struct cw_err *err)
{
    struct task_row *own = cw_arena_alloc(arena, sizeof *own);
    if (own == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.add", "out of memory");
    }
    own->id = cw_ulid_new();
    cw_pull_target_hash(key, task, arena, own->hash);
    struct cw_value url;
    struct cw_aad aad = { .cell = "pull_task.url", .row = own->id };
    enum cw_code rc = cw_cell_seal(key, aad, task->url.ptr == NULL ? CW_SPAN("") : task->url, arena, &url, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    bool expects = cw_document_expect_hash(key, task->sha1, own->expect);
    const struct cw_value values[ADD_WIDTH] = {
        cw_v_id(&own->id),
        cw_v_id(&pull->ulid),
        cw_v_int(task->kind),
        cw_v_int(task->skip_code == NULL ? CW_TASK_WAITING : CW_TASK_SKIPPED),
        cw_v_bytes(cw_span_cstr(task->resource_type)),
        cw_v_int(task->ordinal),
        cw_v_bytes(cw_span_of(own->hash, CW_HASH_LEN)),
        cw_v_bytes(task->target_id),
        cw_v_bytes(task->accept),
        expects ? cw_v_bytes(cw_span_of((const char *)own->expect, CW_HASH_LEN)) : cw_v_null(),
        task->size > 0 ? cw_v_int(task->size) : cw_v_null(),
        url,
        cw_v_int(key->version),
        cw_v_bytes(cw_span_cstr(task->skip_code)),
        cw_v_time(now_us),
        cw_v_time(now_us),
    };
    memcpy(row, values, sizeof values);
    return CW_OK;
}

enum cw_code cw_pull_tasks_add(struct cw_db *db, struct cw_pull_id pull, const struct cw_data_key *key,
                               const struct cw_task_new *tasks, size_t count, struct cw_arena *arena,
                               struct cw_err *err)
{
    if (count == 0) {
        return CW_OK;
    }
    struct cw_value *params = cw_arena_array(arena, count * ADD_WIDTH, sizeof *params);
    struct cw_pull_id *own_pull = cw_arena_alloc(arena, sizeof *own_pull);
    if (params == NULL || own_pull == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.add", "out of memory");
    }
    *own_pull = pull;
    for (size_t i = 0; i < count; i++) {
        enum cw_code rc = fill_task(own_pull, key, &tasks[i], arena, params + i * ADD_WIDTH, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return cw_db_bulk(db, &q_task_add, params, count, NULL, err);
}

/* ---------------------------------------------------------------------------------------------- reading */

static void task_of_row(const struct cw_value *row, struct cw_task *ret)
{
    *ret = (struct cw_task){
        .id = { cw_value_id(&row[0]) },
        .kind = (enum cw_task_kind)row[1].number,
        .status = (enum cw_task_status)row[2].number,
        .resource_type = row[3].bytes,
        .ordinal = (unsigned)row[4].number,
        .pages = (unsigned)row[5].number,
        .received = (unsigned)row[6].number,
        .stored = (unsigned)row[7].number,
        .unchanged = (unsigned)row[8].number,
        .tries = (unsigned)row[9].number,
        .requests = (unsigned)row[21].number,
        .created = (unsigned)row[22].number,
        .total = row[10].kind == CW_V_NULL ? -1 : row[10].number,
        .failure_code = row[11].bytes,
        .http_status = (int)row[12].number,
        .bytes = (uint64_t)row[13].number,
        .ready_us = row[14].number,
        .restarts = (unsigned)row[15].number,
        .first_page = row[16].number == 1,
        .accept = row[18].bytes,
        .expect_hash = row[19].bytes,
        .expect_size = row[20].kind == CW_V_NULL ? 0 : row[20].number,
    };
}

static enum cw_code tasks_of_rows(const struct cw_rows *rows, struct cw_arena *arena, struct cw_task **ret,
                                  struct cw_err *err)
{
    struct cw_task *tasks = cw_arena_array(arena, rows->count + 1, sizeof *tasks);
    if (tasks == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.list", "out of memory");
    }
    for (size_t i = 0; i < rows->count; i++) {
        task_of_row(cw_row(rows, i), &tasks[i]);
    }
    *ret = tasks;
    return CW_OK;
}

enum cw_code cw_pull_tasks(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_task **ret,
                           size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&id.ulid), cw_v_int(CW_PULL_TASKS_MAX) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_task_all, params, arena, &rows, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        rc = tasks_of_rows(&rows, arena, ret, err);
    }
    if (rc == CW_OK) {
        *ret_count = rows.count;
    }
    return rc;
}

/* The URLs of waiting tasks, in the clear. */
static enum cw_code open_urls(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient,
                              const struct cw_rows *rows, struct cw_arena *arena, struct cw_task *tasks,
                              struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < rows->count; i++) {
        const struct cw_value *row = cw_row(rows, i);
        if (key.version != (uint32_t)row[17].number) {
            cw_data_key_wipe(&key);
            rc = cw_patient_key(m, db, patient, (uint32_t)row[17].number, &key, err);
        }
        bool later = row[24].kind != CW_V_NULL;
        if (rc == CW_OK && later) {
            rc = cw_cell_unseal(&key, CW_AAD("pull_task.next", tasks[i].id), &row[24], arena, &tasks[i].url, err);
        }
        if (rc == CW_OK && !later) {
            rc = cw_cell_unseal(&key, CW_AAD("pull_task.url", tasks[i].id), &row[23], arena, &tasks[i].url, err);
        } else if (rc == CW_OK && cw_cell_unseal(&key, CW_AAD("pull_task.url", tasks[i].id), &row[23], arena, &tasks[i].first_url, NULL) != CW_OK) {
            tasks[i].first_url = (struct cw_span){ NULL, 0 }; /* sealed before the key was changed: nothing but a smaller page needs it */
        }
    }
    return rc;
}

enum cw_code cw_pull_waiting(struct cw_model *m, const struct cw_pull *pull, unsigned most, struct cw_arena *arena,
                             struct cw_waiting *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_waiting waiting = { 0 };
    int64_t now_us = cw_now_us();
    struct cw_value due[] = { cw_v_id(&pull->id.ulid), cw_v_time(now_us), cw_v_int(most) };
    struct cw_value left[] = { cw_v_time(now_us), cw_v_id(&pull->id.ulid) };
    struct cw_rows rows;
    const struct cw_value *row;
    rc = cw_db_select(db, &q_task_waiting, due, arena, &rows, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_task_left, left, arena, &row, err);
    }
    if (rc == CW_OK) {
        waiting.left = (unsigned)row[0].number;
        waiting.next_us = row[1].kind == CW_V_NULL ? 0 : row[1].number;
        waiting.count = rows.count;
        rc = tasks_of_rows(&rows, arena, &waiting.tasks, err);
    }
    if (rc == CW_OK) {
        rc = open_urls(m, db, pull->patient, &rows, arena, waiting.tasks, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = waiting;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- a page */

struct committing {
    struct cw_model *m;
    const struct cw_page_commit *page;
    struct cw_page_result result;
    struct cw_db *db;
    struct cw_arena *arena;
    struct cw_data_key key;
    unsigned pages, received;       /* before this page */
    unsigned empty, known;          /* in a row, this page counted */
    struct cw_err *err;
};

static enum cw_code lock_task(struct committing *c)
{
    struct cw_value params[] = { cw_v_id(&c->page->task.ulid), cw_v_id(&c->page->pull.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(c->db, &q_task_lock, params, c->arena, &row, c->err);
    if (rc == CW_OK && row[0].number != CW_TASK_WAITING) {
        rc = cw_err_set(c->err, CW_E_CONFLICT, "task.page", "the task has ended");
    }
    if (rc == CW_OK) {
        c->pages = (unsigned)row[1].number;
        c->received = (unsigned)row[2].number;
        c->empty = (unsigned)row[3].number;
        c->known = (unsigned)row[4].number;
    }
    return rc;
}

/* Remembers a hash in this task; *ret_known whether it was there. */
static enum cw_code remember(struct committing *c, const char *use, struct cw_span text, bool *ret_known)
{
    uint8_t hash[CW_HASH_LEN];
    cw_data_hash(&c->key, use, text, hash);
    struct cw_value seen[] = { cw_v_id(&c->page->task.ulid), cw_v_bytes(cw_span_of(hash, CW_HASH_LEN)) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(c->db, &q_page_seen, seen, &affected, c->err);
    *ret_known = rc == CW_OK && affected == 0;
    return rc;
}

/* Servers whose `next` never ends send the same entries under ever new URLs, or the same few pages in turn. */
static enum cw_code guard_ids(struct committing *c)
{
    struct cw_span ids = c->page->ids;
    if (ids.ptr == NULL) {
        return CW_OK;
    }
    bool known = false;
    enum cw_code rc = ids.len == 0 ? CW_OK : remember(c, "pull.page_ids", ids, &known);
    c->empty = ids.len == 0 ? c->empty + 1 : 0;
    c->known = known ? c->known + 1 : ids.len == 0 ? c->known : 0;
    return rc;
}

/* Remembers this page's URL and says whether `next` was seen before in this task. */
static enum cw_code guard_loop(struct committing *c, bool *ret_loop)
{
    uint8_t next_page[CW_HASH_LEN];
    bool again;
    enum cw_code rc = remember(c, "pull.page", c->page->page_url, &again);
    *ret_loop = false;
    if (rc != CW_OK || c->page->next_url.ptr == NULL) {
        return rc;
    }
    cw_data_hash(&c->key, "pull.page", c->page->next_url, next_page);
    struct cw_value find[] = { cw_v_id(&c->page->task.ulid), cw_v_bytes(cw_span_of(next_page, CW_HASH_LEN)) };
    struct cw_rows rows;
    rc = cw_db_select(c->db, &q_page_find, find, c->arena, &rows, c->err);
    *ret_loop = rc == CW_OK && (rows.count > 0 || c->known >= KNOWN_PAGES_MAX);
    return rc;
}

static const struct cw_query q_task_url = {
    .name = "task.url",
    .sql = "UPDATE pull_task SET url_sealed = ?, key_version = ? WHERE id = ? AND pull = ? AND status = 1",
    .params = "bibb",
    .columns = "",
};

/* What the search begins with from now on. The row's other sealed cell is empty, or is sealed under the same key in this transaction. */
static enum cw_code put_first_url(struct cw_db *db, const struct cw_data_key *key, struct cw_pull_id pull, struct cw_task_id task,
                                  struct cw_span url, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(4 * CW_LINK_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.url", "out of memory");
    }
    struct cw_value sealed = cw_v_null();
    enum cw_code rc = cw_cell_seal(key, CW_AAD("pull_task.url", task), url, arena, &sealed, err);
    if (rc == CW_OK) {
        struct cw_value params[] = { sealed, cw_v_int(key->version), cw_v_id(&task.ulid), cw_v_id(&pull.ulid) };
        rc = cw_db_exec(db, &q_task_url, params, NULL, err);
    }
    cw_arena_free(arena);
    return rc;
}

static enum cw_code move_task(struct committing *c, const char *failure, struct cw_span next)
{
    const struct cw_page_commit *page = c->page;
    struct cw_value sealed = cw_v_null();
    enum cw_code rc = cw_cell_seal(&c->key, CW_AAD("pull_task.next", page->task), next, c->arena, &sealed, c->err);
    if (rc != CW_OK) {
        return rc;
    }
    int status = failure != NULL ? CW_TASK_FAILED : next.ptr == NULL ? CW_TASK_DONE : CW_TASK_WAITING;
    struct cw_value params[] = {
        cw_v_int(status),
        sealed,
        cw_v_int(c->key.version),
        cw_v_bytes(cw_span_cstr(failure)),
        page->total < 0 ? cw_v_null() : cw_v_int(page->total),
        cw_v_int(page->received),
        cw_v_int(c->result.stored),
        cw_v_int(cw_record_batch_created(page->records)),
        cw_v_int(c->result.unchanged),
        cw_v_int((int64_t)page->bytes),
        cw_v_int(page->requests),
        cw_v_int(c->empty),
        cw_v_int(c->known),
        cw_v_time(cw_now_us()),
        cw_v_id(&page->task.ulid),
    };
    c->result.ended = status != CW_TASK_WAITING;
    rc = cw_db_exec(c->db, &q_task_page, params, NULL, c->err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value counts[] = { cw_v_int(page->requests), cw_v_int(page->received), cw_v_int(c->result.stored), cw_v_int(c->result.unchanged),
                                 cw_v_int(failure != NULL), cw_v_id(&page->pull.ulid) };
    return cw_db_exec(c->db, &q_pull_counts, counts, NULL, c->err);
}

/* Why the search must not go on although the server says so; NULL: it may. */
static const char *why_over(const struct committing *c)
{
    if (c->result.loop) {
        return "paging_loop";
    }
    if (c->page->end_code != NULL || c->page->next_url.ptr == NULL) {
        return c->page->end_code;
    }
    if (c->empty > EMPTY_PAGES_MAX) {
        return "paging_empty";
    }
    bool over = c->pages + 1 >= CW_PAGES_MAX || c->received + c->page->received >= CW_SEARCH_ENTRIES_MAX;
    return over ? "paging_limit" : NULL;
}

static enum cw_code store_page(struct committing *c, struct cw_patient_row patient)
{
    const struct cw_page_commit *page = c->page;
    enum cw_code rc = cw_record_store(c->db, page->records, &c->result.stored, &c->result.unchanged, c->err);
    if (rc == CW_OK && page->document != NULL) {
        struct cw_pull_skip differs = { .resource_type = CW_SPAN("Binary"), .reason = CW_SPAN("content_differs"), .count = 1 };
        rc = cw_document_store(c->db, &c->key, patient, page->document, c->arena, c->err);
        if (rc == CW_OK && cw_document_differs(&c->key, page->document)) {
            rc = cw_pull_skips_add(c->db, page->pull, &differs, 1, c->err);
        }
    }
    if (rc == CW_OK) {
        rc = cw_pull_skips_add(c->db, page->pull, page->skips, page->skip_count, c->err);
    }
    return rc;
}

static enum cw_code commit_locked(struct committing *c)
{
    enum cw_pull_status status;
    struct cw_patient_row patient;
    enum cw_code rc = cw_pull_lock(c->db, c->page->pull, c->arena, &status, &patient, c->err);
    if (rc == CW_OK) {
        rc = lock_task(c);
    }
    if (rc == CW_OK) {
        rc = cw_patient_key(c->m, c->db, patient, 0, &c->key, c->err);
    }
    if (rc == CW_OK) {
        rc = store_page(c, patient);
    }
    if (rc == CW_OK) {
        rc = guard_ids(c);
    }
    if (rc == CW_OK) {
        rc = guard_loop(c, &c->result.loop);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (c->page->first_url.ptr != NULL) {
        rc = put_first_url(c->db, &c->key, c->page->pull, c->page->task, c->page->first_url, c->err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    const char *failure = why_over(c);
    rc = move_task(c, failure, failure == NULL ? c->page->next_url : (struct cw_span){ NULL, 0 });
    return rc == CW_OK ? cw_pull_found_add(c->db, c->page, &c->key, patient, c->arena, c->err) : rc;
}

static enum cw_code commit_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct committing *c = arg;
    c->db = db;
    c->err = err;
    c->result = (struct cw_page_result){ 0 };
    cw_arena_clear(c->arena);
    enum cw_code rc = cw_job_hold(db, c->page->owner, c->page->job, err);
    return rc == CW_OK ? commit_locked(c) : rc;
}

enum cw_code cw_pull_commit_page(struct cw_model *m, const struct cw_page_commit *page, struct cw_page_result *ret,
                                 struct cw_err *err)
{
    struct committing c = { .m = m, .page = page };
    c.arena = cw_arena_new((size_t)96 * 1024 * 1024); /* a document's sealed chunks */
    if (c.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.page", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, commit_tx, &c, err);
    cw_data_key_wipe(&c.key);
    cw_arena_free(c.arena);
    if (rc == CW_OK) {
        *ret = c.result;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- whose it is */

static const struct cw_query q_is_patient = {
    .name = "pull.is_patient",
    .sql = "SELECT EXISTS (SELECT 1 FROM connection WHERE id = ? AND upstream_hash = ?)"
           " OR EXISTS (SELECT 1 FROM connection_patient WHERE connection = ? AND upstream_hash = ?),"
           " NOT EXISTS (SELECT 1 FROM pull_task WHERE pull = ? AND kind = 1 AND status = 1)",
    .params = "bbbbb",
    .columns = "ii",
};

enum cw_code cw_pull_is_patient(struct cw_model *m, const struct cw_pull *pull, const struct cw_data_key *key, struct cw_span upstream,
                                bool *ret_ours, bool *ret_sure, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, 5000, &db, err);
    struct cw_arena *arena = rc == CW_OK ? cw_arena_new(8192) : NULL;
    if (rc != CW_OK) {
        return rc;
    }
    uint8_t hash[CW_HASH_LEN];
    cw_data_hash(key, "connection.upstream", upstream, hash);
    struct cw_value same = cw_v_bytes(cw_span_of(hash, CW_HASH_LEN));
    struct cw_value params[] = { cw_v_id(&pull->connection.ulid), same, cw_v_id(&pull->connection.ulid), same, cw_v_id(&pull->id.ulid) };
    const struct cw_value *row;
    rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "pull.is_patient", "out of memory")
                       : cw_db_one(db, &q_is_patient, params, arena, &row, err);
    if (rc == CW_OK) {
        *ret_ours = row[0].number != 0;
        *ret_sure = row[1].number != 0;
    }
    cw_arena_free(arena);
    cw_db_put(db);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- a failure */

struct failing {
    struct cw_model *m;
    const struct cw_task_failure *failure;
    struct cw_arena *arena;
};

/* Begins anew: what was seen is forgotten, and what is asked may be another. The caller has set next_sealed to NULL, so one key version is enough. */
static enum cw_code begin_anew(struct failing *f, struct cw_db *db, struct cw_err *err)
{
    const struct cw_task_failure *failure = f->failure;
    struct cw_value task[] = { cw_v_id(&failure->task.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_pages_restart, task, NULL, err);
    if (rc != CW_OK || failure->new_url.ptr == NULL) {
        return rc;
    }
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_pull_status status;
    struct cw_patient_row patient;
    rc = cw_pull_lock(db, failure->pull, f->arena, &status, &patient, err);
    if (rc == CW_OK) {
        rc = cw_patient_key(f->m, db, patient, 0, &key, err);
    }
    return rc == CW_OK ? put_first_url(db, &key, failure->pull, failure->task, failure->new_url, err) : rc;
}

static enum cw_code failed_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct failing *f = arg;
    const struct cw_task_failure *failure = f->failure;
    bool final = failure->retry_at_us == 0;
    cw_arena_clear(f->arena);
    enum cw_code rc = cw_job_hold(db, failure->owner, failure->job, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    struct cw_value params[] = {
        cw_v_int(final ? CW_TASK_FAILED : CW_TASK_WAITING),
        cw_v_bytes(cw_span_cstr(failure->code)),
        failure->http_status == 0 ? cw_v_null() : cw_v_int(failure->http_status),
        cw_v_int(!failure->not_asked && !failure->no_try),
        cw_v_int(failure->requests),
        cw_v_time(final ? now_us : failure->retry_at_us),
        cw_v_int(failure->restart && failure->new_url.ptr == NULL),
        cw_v_int(failure->restart),
        cw_v_int(failure->restart),
        cw_v_int(failure->restart),
        cw_v_time(now_us),
        cw_v_id(&failure->task.ulid),
    };
    uint64_t affected = 0;
    rc = cw_db_exec(db, &q_task_failed, params, &affected, err);
    if (rc == CW_OK && failure->restart) {
        rc = begin_anew(f, db, err);
    }
    if (rc == CW_OK && affected > 0) {
        struct cw_value counts[] = { cw_v_int(failure->requests), cw_v_int(0), cw_v_int(0), cw_v_int(0), cw_v_int(final),
                                     cw_v_id(&failure->pull.ulid) };
        rc = cw_db_exec(db, &q_pull_counts, counts, NULL, err);
    }
    return rc;
}

enum cw_code cw_pull_task_failed(struct cw_model *m, const struct cw_task_failure *failure, struct cw_err *err)
{
    struct failing f = { .m = m, .failure = failure, .arena = cw_arena_new((size_t)256 * 1024) };
    if (f.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "task.failed", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, failed_tx, &f, err);
    cw_arena_free(f.arena);
    return rc;
}
