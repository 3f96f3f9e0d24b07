/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three tables of wrapped keys of one shape, worked on by the same code. A rotation needs no notes of its own: what still
 * names another master key is what is left to do, found by the index on (master_key_id, created_at).
 */
#include "config.h"
#include "model/keyring.h"

#include "model/keys.h"
#include "os/sys.h"

#define BATCH_MAX 200          /* keys a transaction: some 10 ms of locks */
#define WALK_BATCH 1000
#define ARENA_MAX (2u * 1024u * 1024u)
#define PROBES 3               /* one broken row shall not stop a service */
#define PASSES_MAX 5           /* programs that still wrap with the old key bring new work meanwhile */

struct key_table {
    const char *name;
    struct cw_query next_master, count, batch, lock, move, walk;
};

#define COLUMNS(owner_) "SELECT " owner_ ", version, wrapped, master_key_id, created_at FROM "
#define KINDS "bibbt"
enum { K_OWNER, K_VERSION, K_WRAPPED, K_MASTER, K_CREATED };

#define KEY_TABLE(table_, owner_)                                                                                       \
    {                                                                                                                  \
        .name = table_,                                                                                                \
        .next_master = { .name = "keyring." table_ "_next_master",                                                     \
                         .sql = "SELECT master_key_id FROM " table_ " FORCE INDEX (master) WHERE master_key_id > ?"    \
                                " ORDER BY master_key_id LIMIT 1",                                                     \
                         .params = "b",                                                                                \
                         .columns = "b" },                                                                             \
        .count = { .name = "keyring." table_ "_count",                                                                 \
                   .sql = "SELECT COUNT(*), MIN(created_at) FROM " table_ " WHERE master_key_id = ?",                  \
                   .params = "b",                                                                                      \
                   .columns = "it" },                                                                                  \
        .batch = { .name = "keyring." table_ "_batch",                                                                 \
                   .sql = COLUMNS(owner_) table_ " WHERE master_key_id = ? ORDER BY created_at LIMIT ?",               \
                   .params = "bi",                                                                                     \
                   .columns = KINDS },                                                                                 \
        .lock = { .name = "keyring." table_ "_lock",                                                                   \
                  .sql = COLUMNS(owner_) table_ " WHERE master_key_id = ? AND created_at >= ? AND (created_at > ?"     \
                         " OR " owner_ " > ? OR (" owner_ " = ? AND version > ?))"                                     \
                         " ORDER BY created_at, " owner_ ", version LIMIT ? FOR UPDATE",                               \
                  .params = "bttbbii",                                                                                 \
                  .columns = KINDS },                                                                                  \
        .move = { .name = "keyring." table_ "_move",                                                                   \
                  .sql = "UPDATE " table_ " SET wrapped = ?, master_key_id = ? WHERE " owner_ " = ? AND version = ?",  \
                  .params = "bbbi",                                                                                    \
                  .columns = "" },                                                                                     \
        .walk = { .name = "keyring." table_ "_next",                                                                   \
                  .sql = COLUMNS(owner_) table_ " WHERE " owner_ " >= ? AND (" owner_ " > ? OR version > ?)"           \
                         " ORDER BY " owner_ ", version LIMIT ?",                                                      \
                  .params = "bbii",                                                                                    \
                  .columns = KINDS },                                                                                  \
    }

static const struct key_table tables[CW_KEYS__COUNT] = {
    [CW_KEYS_DATA] = KEY_TABLE("data_key", "owner"),
    [CW_KEYS_PATIENT] = KEY_TABLE("patient_key", "patient"),
    [CW_KEYS_PURPOSE] = KEY_TABLE("purpose_key", "owner"),
};
static const struct cw_query q_purpose_keep = {
    .name = "keyring.purpose_keep",
    .sql = "INSERT IGNORE INTO purpose_key (owner, version, wrapped, master_key_id, created_at) VALUES (?, ?, ?, ?, ?)",
    .params = "bibbt",
    .columns = "",
};
/* The newest: what does not fit into a vault belongs to master keys of long ago. */
static const struct cw_query q_purpose_kept = {
    .name = "keyring.purpose_kept.walk",
    .sql = "SELECT owner, version, wrapped, master_key_id, created_at FROM purpose_key ORDER BY created_at DESC LIMIT 64",
    .params = "",
    .columns = KINDS,
};

const char *cw_key_table_name(enum cw_key_table table)
{
    return tables[table].name;
}

/* The next master key id after `after` that wraps keys of this table. CW_E_NOT_FOUND at the end. */
static enum cw_code next_master(struct cw_db *db, const struct key_table *table, struct cw_span after,
                                struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
{
    const struct cw_value *row;
    const struct cw_value params[] = { cw_v_bytes(after) };
    enum cw_code rc = cw_db_one(db, &table->next_master, params, arena, &row, err);
    if (rc == CW_OK) {
        *ret = row[0].bytes;
    }
    return rc;
}

static enum cw_code wrapped_of(const struct cw_value *row, struct cw_wrapped_key *ret)
{
    *ret = (struct cw_wrapped_key){ .version = (uint32_t)row[K_VERSION].number };
    struct cw_span bytes = row[K_WRAPPED].bytes;
    struct cw_span master = row[K_MASTER].bytes;
    if (bytes.len != sizeof ret->bytes || master.len >= sizeof ret->master_key_id) {
        return CW_E_AUTH;
    }
    memcpy(ret->bytes, bytes.ptr, bytes.len);
    memcpy(ret->master_key_id, master.ptr, master.len);
    return CW_OK;
}

static enum cw_code try_key(struct cw_model *m, const struct cw_value *row)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_wrapped_key wrapped;
    enum cw_code rc = wrapped_of(row, &wrapped);
    return rc == CW_OK ? cw_vault_unwrap(m->vault, cw_value_id(&row[K_OWNER]), &wrapped, &key, NULL) : rc;
}

/* ---------------------------------------------------------------------------------------------- the start */

static enum cw_code probe(struct cw_model *m, struct cw_db *db, const struct key_table *table, struct cw_span master,
                          struct cw_arena *arena, struct cw_err *err)
{
    const char *id = cw_arena_text(arena, master);
    if (id == NULL) {
        return cw_err_set(err, CW_E_OOM, "keyring", "no memory");
    }
    if (!cw_vault_has(m->vault, id)) {
        return cw_err_set(err, CW_E_CONFIG, "keyring", "the database needs master key '%s' (%s), and [vault] master_keys"
                          " does not name it", id, table->name);
    }
    struct cw_rows rows = { .count = 0 };
    const struct cw_value params[] = { cw_v_bytes(master), cw_v_int(PROBES) };
    enum cw_code rc = cw_db_select(db, &table->batch, params, arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        if (try_key(m, cw_row(&rows, i)) == CW_OK) {
            return CW_OK;
        }
    }
    if (rc == CW_OK && rows.count > 0) {
        rc = cw_err_set(err, CW_E_CONFIG, "keyring", "the file of master key '%s' does not open the %ss that name it: it is"
                        " another key's", id, table->name);
    }
    return rc;
}

static enum cw_code probe_all(struct cw_model *m, struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    for (int t = 0; t < CW_KEYS__COUNT; t++) {
        struct cw_span master = CW_SPAN("");
        enum cw_code rc = CW_OK;
        while (rc == CW_OK) {
            rc = next_master(db, &tables[t], master, arena, &master, err);
            if (rc == CW_OK) {
                rc = probe(m, db, &tables[t], master, arena, err);
            }
        }
        if (rc != CW_E_NOT_FOUND) {
            return rc;
        }
    }
    return CW_OK;
}

/* Keeps the active master key's key of a purpose, unless that is done. The search key is the first that was ever kept. */
static enum cw_code keep(struct cw_model *m, struct cw_db *db, enum cw_purpose purpose, struct cw_err *err)
{
    struct cw_wrapped_key wrapped;
    enum cw_code rc = cw_purpose_wrap(m->vault, purpose, &wrapped, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_ulid owner = cw_purpose_owner(m->vault, purpose);
    const struct cw_value row[] = { cw_v_id(&owner), cw_v_int(wrapped.version),
                                    cw_v_bytes(cw_span_of(wrapped.bytes, sizeof wrapped.bytes)),
                                    cw_v_bytes(cw_span_cstr(wrapped.master_key_id)), cw_v_time(cw_now_us()) };
    return cw_db_exec(db, &q_purpose_keep, row, NULL, err);
}

static enum cw_code adopt_all(struct cw_model *m, struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_select(db, &q_purpose_kept, NULL, arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        struct cw_wrapped_key wrapped;
        rc = wrapped_of(cw_row(&rows, i), &wrapped);
        if (rc == CW_OK) {
            rc = cw_purpose_adopt(m->vault, cw_value_id(&cw_row(&rows, i)[K_OWNER]), &wrapped, err);
        }
    }
    return rc;
}

enum cw_code cw_keyring_open(struct cw_model *m, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_db *db = NULL;
    enum cw_code rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "keyring", "no memory")
                                    : cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = probe_all(m, db, arena, err);
    }
    if (rc == CW_OK) {
        rc = keep(m, db, CW_PURPOSE_SEARCH, err);
    }
    if (rc == CW_OK) {
        rc = keep(m, db, CW_PURPOSE_API, err);
    }
    if (rc == CW_OK) {
        rc = adopt_all(m, db, arena, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- status */

static bool is_before(struct cw_span a, struct cw_span b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order < 0 || (order == 0 && a.len < b.len);
}

static struct cw_keyring_use *use_of(struct cw_keyring_use *uses, size_t *count, struct cw_span id)
{
    size_t at = 0;
    while (at < *count && is_before(uses[at].master_key_id, id)) {
        at++;
    }
    if (at < *count && cw_span_eq(uses[at].master_key_id, id)) {
        return &uses[at];
    }
    if (*count == CW_KEYRING_USES_MAX) {
        return NULL;
    }
    memmove(&uses[at + 1], &uses[at], (*count - at) * sizeof *uses);
    uses[at] = (struct cw_keyring_use){ .master_key_id = id };
    ++*count;
    return &uses[at];
}

static enum cw_code count_table(struct cw_db *db, int table, struct cw_arena *arena, struct cw_keyring_use *uses,
                                size_t *count, struct cw_err *err)
{
    struct cw_span master = CW_SPAN("");
    enum cw_code rc = CW_OK;
    while ((rc = next_master(db, &tables[table], master, arena, &master, err)) == CW_OK) {
        const struct cw_value *row;
        const struct cw_value params[] = { cw_v_bytes(master) };
        struct cw_keyring_use *use = use_of(uses, count, master);
        rc = use == NULL ? cw_err_set(err, CW_E_TOO_BIG, "keyring", "more than %d master keys", CW_KEYRING_USES_MAX)
                         : cw_db_one(db, &tables[table].count, params, arena, &row, err);
        if (rc != CW_OK) {
            return rc;
        }
        use->keys[table] = (uint64_t)row[0].number;
        use->oldest_us[table] = row[1].kind == CW_V_NULL ? 0 : row[1].number;
    }
    return rc == CW_E_NOT_FOUND ? CW_OK : rc;
}

enum cw_code cw_keyring_status(struct cw_model *m, struct cw_arena *arena, struct cw_keyring_use *ret, size_t *ret_count,
                               struct cw_err *err)
{
    struct cw_db *db = NULL;
    size_t count = 0;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    for (int t = 0; rc == CW_OK && t < CW_KEYS__COUNT; t++) {
        rc = count_table(db, t, arena, ret, &count, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret_count = count;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- rotation */

struct rotation {
    struct cw_model *m;
    const struct key_table *table;
    struct cw_span master;
    struct cw_arena *arena;
    /* behind which key the next batch begins: keys that do not open stay where they are */
    int64_t created_us;
    struct cw_ulid owner;
    int64_t version;
    struct cw_rows rows;
    enum cw_code codes[BATCH_MAX];
    size_t moved;
};

/* Wraps one row anew; its four parameters of `move` into *params. */
static enum cw_code rewrap(struct rotation *r, const struct cw_value *row, struct cw_value params[4])
{
    struct cw_wrapped_key wrapped;
    struct cw_wrapped_key *fresh = cw_arena_alloc(r->arena, sizeof *fresh);
    enum cw_code rc = fresh == NULL ? CW_E_OOM : wrapped_of(row, &wrapped);
    if (rc == CW_OK) {
        rc = cw_vault_rewrap(r->m->vault, cw_value_id(&row[K_OWNER]), &wrapped, fresh, NULL);
    }
    if (rc == CW_OK) {
        params[0] = cw_v_bytes(cw_span_of(fresh->bytes, sizeof fresh->bytes));
        params[1] = cw_v_bytes(cw_span_cstr(fresh->master_key_id));
        params[2] = row[K_OWNER];
        params[3] = row[K_VERSION];
    }
    return rc;
}

static enum cw_code rotate_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct rotation *r = arg;
    cw_arena_clear(r->arena);
    r->moved = 0;
    const struct cw_value from[] = { cw_v_bytes(r->master), cw_v_time(r->created_us), cw_v_time(r->created_us),
                                     cw_v_id(&r->owner),    cw_v_id(&r->owner),       cw_v_int(r->version),
                                     cw_v_int(BATCH_MAX) };
    enum cw_code rc = cw_db_select(db, &r->table->lock, from, r->arena, &r->rows, err);
    if (rc != CW_OK || r->rows.count == 0) {
        return rc;
    }
    struct cw_value *params = cw_arena_array(r->arena, 4 * r->rows.count, sizeof *params);
    if (params == NULL) {
        return cw_err_set(err, CW_E_OOM, "keyring", "no memory");
    }
    for (size_t i = 0; i < r->rows.count; i++) {
        r->codes[i] = rewrap(r, cw_row(&r->rows, i), params + 4 * r->moved);
        if (r->codes[i] == CW_E_OOM) {
            return cw_err_set(err, CW_E_OOM, "keyring", "no memory");
        }
        r->moved += r->codes[i] == CW_OK;
    }
    return r->moved == 0 ? CW_OK : cw_db_bulk(db, &r->table->move, params, r->moved, NULL, err);
}

static void tell_fault(struct cw_keyring_walk *walk, int table, const struct cw_value *row, enum cw_code code)
{
    const struct cw_key_fault fault = {
        .table = (enum cw_key_table)table,
        .owner = cw_value_id(&row[K_OWNER]),
        .version = (uint32_t)row[K_VERSION].number,
        .master_key_id = row[K_MASTER].bytes,
        .code = code,
    };
    walk->faults++;
    if (walk->fault != NULL) {
        walk->fault(walk->arg, &fault);
    }
}

/* All keys of one table that hang on one master key. */
static enum cw_code rotate_master(struct rotation *r, int table, struct cw_keyring_walk *walk, struct cw_err *err)
{
    r->created_us = 0;
    r->owner = (struct cw_ulid){ { 0 } };
    r->version = -1;
    for (;;) {
        enum cw_code rc = cw_tx_pool(r->m->pool, rotate_tx, r, err);
        if (rc != CW_OK || r->rows.count == 0) {
            return rc;
        }
        walk->done[table] += r->moved;
        for (size_t i = 0; i < r->rows.count; i++) {
            if (r->codes[i] != CW_OK) {
                tell_fault(walk, table, cw_row(&r->rows, i), r->codes[i]);
            }
        }
        const struct cw_value *last = cw_row(&r->rows, r->rows.count - 1);
        r->created_us = last[K_CREATED].number;
        r->owner = cw_value_id(&last[K_OWNER]);
        r->version = last[K_VERSION].number;
    }
}

/* The next master key but the active one; its id is kept in `ids`, since the batches clear the other arena. */
static enum cw_code next_other(struct cw_model *m, int table, struct cw_span after, struct cw_arena *ids,
                               struct cw_span *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = next_master(db, &tables[table], after, ids, ret, err);
    }
    if (rc == CW_OK && cw_span_eq_cstr(*ret, cw_vault_active_id(m->vault))) {
        rc = next_master(db, &tables[table], *ret, ids, ret, err);
    }
    cw_db_put(db);
    return rc;
}

static enum cw_code rotate_table(struct rotation *r, int table, struct cw_keyring_walk *walk, struct cw_err *err)
{
    struct cw_arena *ids = cw_arena_new(65536);
    if (ids == NULL) {
        return cw_err_set(err, CW_E_OOM, "keyring", "no memory");
    }
    r->table = &tables[table];
    r->master = CW_SPAN("");
    enum cw_code rc = CW_OK;
    while (rc == CW_OK) {
        rc = next_other(r->m, table, r->master, ids, &r->master, err);
        if (rc == CW_OK) {
            rc = rotate_master(r, table, walk, err);
        }
    }
    cw_arena_free(ids);
    return rc == CW_E_NOT_FOUND ? CW_OK : rc;
}

static uint64_t done_in_all(const struct cw_keyring_walk *walk)
{
    uint64_t done = 0;
    for (int t = 0; t < CW_KEYS__COUNT; t++) {
        done += walk->done[t];
    }
    return done;
}

enum cw_code cw_keyring_rotate(struct cw_model *m, struct cw_keyring_walk *walk, struct cw_err *err)
{
    struct rotation r = { .m = m };
    r.arena = cw_arena_new(ARENA_MAX);
    if (r.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "keyring", "no memory");
    }
    enum cw_code rc = CW_OK;
    cw_key_fault_fn *fault = walk->fault;
    for (int pass = 0; rc == CW_OK && pass < PASSES_MAX; pass++) {
        uint64_t before = done_in_all(walk);
        walk->fault = pass == 0 ? fault : NULL; /* every pass meets them again */
        walk->faults = 0;
        for (int t = 0; rc == CW_OK && t < CW_KEYS__COUNT; t++) {
            rc = rotate_table(&r, t, walk, err);
        }
        if (done_in_all(walk) == before) {
            break;
        }
    }
    walk->fault = fault;
    cw_arena_free(r.arena);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- verification */

static enum cw_code verify_table(struct cw_model *m, struct cw_db *db, int table, struct cw_keyring_walk *walk,
                                 struct cw_arena *arena, struct cw_err *err)
{
    struct cw_ulid owner = { { 0 } };
    int64_t version = -1;
    for (;;) {
        cw_arena_clear(arena);
        struct cw_rows rows = { .count = 0 };
        const struct cw_value params[] = { cw_v_id(&owner), cw_v_id(&owner), cw_v_int(version), cw_v_int(WALK_BATCH) };
        enum cw_code rc = cw_db_select(db, &tables[table].walk, params, arena, &rows, err);
        if (rc != CW_OK || rows.count == 0) {
            return rc;
        }
        for (size_t i = 0; i < rows.count; i++) {
            enum cw_code code = try_key(m, cw_row(&rows, i));
            if (code != CW_OK) {
                tell_fault(walk, table, cw_row(&rows, i), code);
            }
            walk->done[table] += code == CW_OK;
        }
        const struct cw_value *last = cw_row(&rows, rows.count - 1);
        owner = cw_value_id(&last[K_OWNER]);
        version = last[K_VERSION].number;
    }
}

enum cw_code cw_keyring_verify(struct cw_model *m, struct cw_keyring_walk *walk, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    struct cw_db *db = NULL;
    enum cw_code rc = arena == NULL ? cw_err_set(err, CW_E_OOM, "keyring", "no memory")
                                    : cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    for (int t = 0; rc == CW_OK && t < CW_KEYS__COUNT; t++) {
        rc = verify_table(m, db, t, walk, arena, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}
