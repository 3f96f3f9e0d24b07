/* SPDX-License-Identifier: Apache-2.0 */
/* See vanish.h. What a pull saw is a blob of record ids a page; they are sorted once, and the connection's records walked beside them. */
#include "config.h"
#include "model/vanish.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/keys.h"
#include "model/pull_int.h"
#include "os/sys.h"

#define ID_LEN 16u
#define CANDIDATES_MAX 1000u   /* asked for in one pull; the next full one asks for the rest */
#define TYPES_MAX 128u
#define VERIFY_ORDINAL 900000u /* behind everything else, and too deep for references to be followed */

static const struct cw_query q_asked = {
    .name = "vanish.asked",
    .sql = "UPDATE pull SET vanish_asked = TRUE, vanish_suspected = ? WHERE id = ? AND vanish_asked = FALSE",
    .params = "ib",
    .columns = "",
};
static const struct cw_query q_is_asked = {
    .name = "vanish.is_asked",
    .sql = "SELECT vanish_asked FROM pull WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_note_seen = {
    .name = "vanish.note_seen",
    .sql = "INSERT INTO pull_seen (pull, id, records) VALUES (?, ?, ?)",
    .params = "bbb",
    .columns = "",
};
static const struct cw_query q_seen = {
    .name = "vanish.seen",
    .sql = "SELECT records FROM pull_seen WHERE pull = ? LIMIT 100000",
    .params = "b",
    .columns = "b",
};
/* Types that were searched for, whole. */
static const struct cw_query q_types = {
    .name = "vanish.types",
    .sql = "SELECT resource_type FROM pull_task WHERE pull = ? AND kind = 2 AND status <> 4 GROUP BY resource_type HAVING SUM(status <> 2) = 0"
           " LIMIT 128",
    .params = "b",
    .columns = "b",
};
/* What another connection holds too is not this one's to judge. */
static const struct cw_query q_held = {
    .name = "vanish.held",
    .sql = "SELECT r.id, r.resource_type, r.upstream_id FROM record_connection c JOIN record r ON r.id = c.record WHERE c.connection = ?"
           " AND r.vanished_at IS NULL AND NOT EXISTS (SELECT 1 FROM record_connection o WHERE o.record = c.record AND o.connection <> c.connection)"
           " LIMIT 1000000",
    .params = "b",
    .columns = "bbb",
};
static const struct cw_query q_task = {
    .name = "vanish.task",
    .sql = "INSERT INTO pull_task (id, pull, kind, status, resource_type, ordinal, target_hash, url_sealed, key_version, ready_at, updated_at)"
           " VALUES (?, ?, 3, 1, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbibbitt",
    .columns = "",
};
static const struct cw_query q_candidate = {
    .name = "vanish.candidate",
    .sql = "INSERT INTO pull_candidate (pull, task, record) VALUES (?, ?, ?)",
    .params = "bbb",
    .columns = "",
};
static const struct cw_query q_settle = {
    .name = "vanish.settle",
    .sql = "UPDATE pull_candidate c JOIN pull_task t ON t.id = c.task SET t.status = 4, t.failure_code = 'vanished'"
           " WHERE c.pull = ? AND t.status = 3 AND t.failure_code IN ('not_found', 'gone')",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_no_errors = {
    .name = "vanish.no_errors",
    .sql = "UPDATE pull SET errors = GREATEST(errors, ?) - ? WHERE id = ?",
    .params = "iib",
    .columns = "",
};
static const struct cw_query q_gone = {
    .name = "vanish.gone",
    .sql = "SELECT c.record FROM pull_candidate c JOIN pull_task t ON t.id = c.task WHERE c.pull = ? AND t.status = 4"
           " AND t.failure_code = 'vanished' ORDER BY c.record LIMIT 1000",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_counter = {
    .name = "vanish.counter",
    .sql = "SELECT change_seq FROM patient WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_counter_set = {
    .name = "vanish.counter_set",
    .sql = "UPDATE patient SET change_seq = ? WHERE id = ?",
    .params = "ib",
    .columns = "",
};
static const struct cw_query q_mark = {
    .name = "vanish.mark",
    .sql = "UPDATE record SET vanished_at = ?, stored_at = ?, change_seq = ? WHERE id = ? AND vanished_at IS NULL",
    .params = "ttib",
    .columns = "",
};
static const struct cw_query q_created = {
    .name = "vanish.created",
    .sql = "SELECT COUNT(*) FROM pull u JOIN record r ON r.patient = u.patient AND r.change_seq > u.seq_before"
           " JOIN record_connection c ON c.connection = u.connection AND c.record = r.id AND c.first_pull = u.id"
           " WHERE u.id = ? AND r.created_at >= u.created_at",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_counts = {
    .name = "vanish.counts",
    .sql = "UPDATE pull SET vanished = ?, created = ? WHERE id = ?",
    .params = "iib",
    .columns = "",
};
static const struct cw_query q_forget_seen = {
    .name = "vanish.forget_seen",
    .sql = "DELETE FROM pull_seen WHERE pull = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_forget_candidates = {
    .name = "vanish.forget_candidates",
    .sql = "DELETE FROM pull_candidate WHERE pull = ?",
    .params = "b",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- who is missing */

struct missing {
    struct cw_ulid record;
    size_t type;                     /* index into types */
    struct cw_span upstream_id;
};

struct asking {
    struct cw_model *m;
    const char *owner;
    const struct cw_job *job;
    const struct cw_pull *pull;
    struct cw_span base;
    struct cw_arena *arena;
    struct cw_vanish_asked result;
    uint8_t *seen;                   /* ids, sorted */
    size_t seen_count;
    struct {
        struct cw_span name;
        unsigned held, missing;
    } types[TYPES_MAX];
    size_t type_count;
    struct missing *missing;
    size_t missing_count;
};

enum cw_code vanish_note_seen(struct cw_db *db, struct cw_pull_id pull, const struct cw_ulid *records, size_t count, struct cw_err *err)
{
    struct cw_ulid id = cw_ulid_new();
    struct cw_value params[] = { cw_v_id(&pull.ulid), cw_v_id(&id), cw_v_bytes(cw_span_of(records, count * ID_LEN)) };
    return cw_db_exec(db, &q_note_seen, params, NULL, err);
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, ID_LEN);
}

static enum cw_code read_seen(struct asking *a, struct cw_db *db, struct cw_err *err)
{
    struct cw_value pull[] = { cw_v_id(&a->pull->id.ulid) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_seen, pull, a->arena, &rows, err);
    size_t bytes = 0;
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        bytes += cw_row(&rows, i)[0].bytes.len;
    }
    a->seen = rc == CW_OK ? cw_arena_alloc(a->arena, bytes + 1) : NULL;
    if (a->seen == NULL) {
        return rc == CW_OK ? cw_err_set(err, CW_E_OOM, "vanish", "out of memory") : rc;
    }
    size_t at = 0;
    for (size_t i = 0; i < rows.count; i++) {
        struct cw_span ids = cw_row(&rows, i)[0].bytes;
        memcpy(a->seen + at, ids.ptr, ids.len);
        at += ids.len;
    }
    a->seen_count = at / ID_LEN;
    qsort(a->seen, a->seen_count, ID_LEN, by_id);
    return CW_OK;
}

static enum cw_code read_types(struct asking *a, struct cw_db *db, struct cw_err *err)
{
    struct cw_value pull[] = { cw_v_id(&a->pull->id.ulid) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_types, pull, a->arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count && i < TYPES_MAX; i++) {
        a->types[a->type_count++].name = cw_row(&rows, i)[0].bytes;
    }
    return rc;
}

static enum cw_code look_at(void *arg, const struct cw_value *row, struct cw_err *err)
{
    struct asking *a = arg;
    size_t type = 0;
    while (type < a->type_count && !cw_span_eq(a->types[type].name, row[1].bytes)) {
        type++;
    }
    if (type == a->type_count) {
        return CW_OK; /* not searched for: come by reference, or refused */
    }
    a->types[type].held++;
    if (bsearch(row[0].bytes.ptr, a->seen, a->seen_count, ID_LEN, by_id) != NULL) {
        return CW_OK;
    }
    a->types[type].missing++;
    if (a->missing_count < CANDIDATES_MAX) {
        struct missing *missing = &a->missing[a->missing_count++];
        *missing = (struct missing){ cw_value_id(&row[0]), type, cw_arena_span(a->arena, row[2].bytes) };
        if (missing->upstream_id.ptr == NULL) {
            return cw_err_set(err, CW_E_OOM, "vanish", "out of memory");
        }
    }
    return CW_OK;
}

static bool is_suspect(const struct asking *a, size_t type)
{
    unsigned missing = a->types[type].missing;
    return missing > CW_VANISH_SUSPECT && (uint64_t)missing * 100 > (uint64_t)a->types[type].held * CW_VANISH_SUSPECT_PERCENT;
}

/* ---------------------------------------------------------------------------------------------- asking */

static enum cw_code add_task(const struct asking *a, struct cw_db *db, const struct cw_data_key *key, const struct missing *missing,
                             struct cw_err *err)
{
    struct cw_task_id id = { cw_ulid_new() };
    struct cw_span type = a->types[missing->type].name;
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    cw_str_addf(&url, "%.*s/%.*s/", (int)a->base.len, a->base.ptr, (int)type.len, type.ptr);
    cw_percent_encode(missing->upstream_id, &url);
    uint8_t hash[CW_HASH_LEN];
    struct cw_value sealed;
    enum cw_code rc = cw_str_code(&url);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "vanish", "a URL does not fit");
    }
    cw_data_hash(key, "pull.verify", cw_str_span(&url), hash);
    rc = cw_cell_seal(key, CW_AAD("pull_task.url", id), cw_str_span(&url), a->arena, &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t now_us = cw_now_us();
    struct cw_value task[] = { cw_v_id(&id.ulid), cw_v_id(&a->pull->id.ulid), cw_v_bytes(type), cw_v_int(VERIFY_ORDINAL),
                               cw_v_bytes(cw_span_of(hash, CW_HASH_LEN)), sealed, cw_v_int(key->version), cw_v_time(now_us),
                               cw_v_time(now_us) };
    struct cw_value candidate[] = { cw_v_id(&a->pull->id.ulid), cw_v_id(&id.ulid), cw_v_id(&missing->record) };
    rc = cw_db_exec(db, &q_task, task, NULL, err);
    return rc == CW_OK ? cw_db_exec(db, &q_candidate, candidate, NULL, err) : rc;
}

static enum cw_code add_tasks(struct asking *a, struct cw_db *db, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_patient_key(a->m, db, a->pull->patient, 0, &key, err);
    for (size_t i = 0; rc == CW_OK && i < a->type_count; i++) {
        a->result.suspected += is_suspect(a, i);
    }
    for (size_t i = 0; rc == CW_OK && i < a->missing_count; i++) {
        if (!is_suspect(a, a->missing[i].type)) {
            rc = add_task(a, db, &key, &a->missing[i], err);
            a->result.tasks++;
        }
    }
    return rc;
}

static enum cw_code ask_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct asking *a = arg;
    struct cw_value pull[] = { cw_v_id(&a->pull->id.ulid) };
    struct cw_value connection[] = { cw_v_id(&a->pull->connection.ulid) };
    const struct cw_value *asked;
    cw_arena_clear(a->arena);
    a->result = (struct cw_vanish_asked){ 0 };
    a->type_count = a->missing_count = 0;
    memset(a->types, 0, sizeof a->types);
    enum cw_code rc = cw_job_hold(db, a->owner, a->job, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_is_asked, pull, a->arena, &asked, err);
    }
    if (rc != CW_OK || asked[0].number != 0) {
        return rc;
    }
    a->missing = cw_arena_array(a->arena, CANDIDATES_MAX, sizeof *a->missing);
    rc = a->missing == NULL ? cw_err_set(err, CW_E_OOM, "vanish", "out of memory") : read_seen(a, db, err);
    if (rc == CW_OK) {
        rc = read_types(a, db, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_each(db, &q_held, connection, look_at, a, err);
    }
    if (rc == CW_OK) {
        rc = add_tasks(a, db, err);
    }
    if (rc == CW_OK) {
        struct cw_value done[] = { cw_v_int(a->result.suspected), pull[0] };
        rc = cw_db_exec(db, &q_asked, done, NULL, err);
    }
    return rc;
}

enum cw_code cw_vanish_ask(struct cw_model *m, const char *owner, const struct cw_job *job, const struct cw_pull *pull,
                           struct cw_span base, struct cw_vanish_asked *ret, struct cw_err *err)
{
    struct asking *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return cw_err_set(err, CW_E_OOM, "vanish", "out of memory");
    }
    *a = (struct asking){ .m = m, .owner = owner, .job = job, .pull = pull, .base = base };
    a->arena = cw_arena_new((size_t)64 * 1024 * 1024);
    enum cw_code rc = a->arena == NULL ? cw_err_set(err, CW_E_OOM, "vanish", "out of memory") : cw_tx_pool(m->pool, ask_tx, a, err);
    if (rc == CW_OK) {
        *ret = a->result;
    }
    cw_arena_free(a->arena);
    free(a);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- what came of it */

static enum cw_code settle_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct cw_pull_id *pull = arg;
    struct cw_value id[] = { cw_v_id(&pull->ulid) };
    uint64_t count = 0;
    enum cw_code rc = cw_db_exec(db, &q_settle, id, &count, err);
    if (rc == CW_OK && count > 0) {
        struct cw_value errors[] = { cw_v_int((int64_t)count), cw_v_int((int64_t)count), id[0] };
        rc = cw_db_exec(db, &q_no_errors, errors, NULL, err);
    }
    return rc;
}

enum cw_code cw_vanish_settle(struct cw_model *m, struct cw_pull_id pull, struct cw_err *err)
{
    return cw_tx_pool(m->pool, settle_tx, &pull, err);
}

static enum cw_code mark_rows(struct cw_db *db, const struct cw_pull *pull, const struct cw_rows *gone, struct cw_arena *arena,
                              struct cw_err *err)
{
    struct cw_value patient[] = { cw_v_id(&pull->patient.ulid) };
    const struct cw_value *counter;
    enum cw_code rc = cw_db_one(db, &q_counter, patient, arena, &counter, err);
    if (rc != CW_OK) {
        return rc;
    }
    int64_t seq = counter[0].number, now_us = cw_now_us();
    for (size_t i = 0; rc == CW_OK && i < gone->count; i++) {
        struct cw_value mark[] = { cw_v_time(now_us), cw_v_time(now_us), cw_v_int(++seq), cw_row(gone, i)[0] };
        rc = cw_db_exec(db, &q_mark, mark, NULL, err);
    }
    struct cw_value set[] = { cw_v_int(seq), patient[0] };
    return rc == CW_OK ? cw_db_exec(db, &q_counter_set, set, NULL, err) : rc;
}

enum cw_code vanish_mark(struct cw_db *db, const struct cw_pull *pull, struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value id[] = { cw_v_id(&pull->id.ulid) };
    const struct cw_value *created;
    struct cw_rows gone;
    enum cw_code rc = cw_db_select(db, &q_gone, id, arena, &gone, err);
    if (rc == CW_OK && gone.count > 0) {
        rc = mark_rows(db, pull, &gone, arena, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_created, id, arena, &created, err);
    }
    if (rc == CW_OK) {
        struct cw_value counts[] = { cw_v_int((int64_t)gone.count), cw_v_int(created[0].number), id[0] };
        rc = cw_db_exec(db, &q_counts, counts, NULL, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_forget_seen, id, NULL, err);
    }
    return rc == CW_OK ? cw_db_exec(db, &q_forget_candidates, id, NULL, err) : rc;
}
