/* SPDX-License-Identifier: Apache-2.0 */
/* Probes and turns. One node walks (duty "probe"), so no row is fought over; a walk that dies is had again. */
#include "config.h"

#include "model/probe.h"

#include "base/time.h"
#include "os/sys.h"

#define DETAIL_MAX 512u
#define LIST_MAX 500
#define STALE_US (90 * CW_DAY_US) /* what was not looked at for so long says nothing any more */

static const struct cw_query q_before = {
    .name = "probe.before",
    .sql = "SELECT result, cause FROM probe WHERE subject = ? AND name = ? FOR UPDATE",
    .params = "bb",
    .columns = "ib",
};
static const struct cw_query q_insert = {
    .name = "probe.insert",
    .sql = "INSERT INTO probe (subject, name, kind, result, cause, detail, since, checked_at) "
           "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbiibbtt",
    .columns = "",
};
static const struct cw_query q_update = {
    .name = "probe.update",
    .sql = "UPDATE probe SET since = IF(? = 1, ?, since), result = ?, cause = ?, detail = ?, "
           "checked_at = ?"
           " WHERE subject = ? AND name = ?",
    .params = "itibbtbb",
    .columns = "",
};
static const struct cw_query q_list = {
    .name = "probe.list",
    .sql = "SELECT subject, kind, name, result, cause, detail, since, checked_at FROM probe WHERE "
           "result >= ?"
           " ORDER BY result DESC, since LIMIT ?",
    .params = "ii",
    .columns = "bibibbtt",
};

static const struct cw_query q_worst = {
    .name = "probe.worst",
    .sql = "SELECT subject, kind, name, result, cause, detail, since, checked_at FROM probe"
           " WHERE subject = ? ORDER BY result DESC LIMIT 1",
    .params = "b",
    .columns = "bibibbtt",
};
static const struct cw_query q_old = {
    .name = "probe.old",
    .sql = "DELETE FROM probe WHERE result IN (1, 2, 3, 4) AND checked_at < ? LIMIT 500",
    .params = "t",
    .columns = "",
};

struct keeping {
    const struct cw_probe *probe;
    struct cw_arena *arena;
    int before;
    bool changed;
};

static enum cw_code keep_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct keeping *k = arg;
    const struct cw_probe *p = k->probe;
    const struct cw_value key[] = { cw_v_id(&p->subject), cw_v_bytes(p->name) };
    const struct cw_value *row = NULL;
    cw_arena_clear(k->arena);
    struct cw_value detail =
        cw_v_bytes(p->detail.ptr == NULL ? CW_SPAN("") : cw_span_upto(p->detail, DETAIL_MAX));
    struct cw_value now = cw_v_time(cw_now_us());
    enum cw_code rc = cw_db_one(db, &q_before, key, k->arena, &row, err);
    if (rc == CW_E_NOT_FOUND) {
        const struct cw_value values[] = {
            key[0], key[1], cw_v_int(p->kind), cw_v_int(p->result), cw_v_bytes(p->cause), detail,
            now,    now
        };
        k->before = 0;
        k->changed = true;
        return cw_db_exec(db, &q_insert, values, NULL, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    k->before = (int)row[0].number;
    k->changed = k->before != p->result || !cw_span_eq(row[1].bytes, p->cause);
    const struct cw_value values[] = { cw_v_int(k->changed),
                                       now,
                                       cw_v_int(p->result),
                                       cw_v_bytes(p->cause),
                                       detail,
                                       now,
                                       key[0],
                                       key[1] };
    return cw_db_exec(db, &q_update, values, NULL, err);
}

enum cw_code cw_probe_keep(struct cw_model *m, const struct cw_probe *probe, int *ret_before,
                           bool *ret_changed, struct cw_err *err)
{
    struct keeping keeping = { .probe = probe, .arena = cw_arena_new(4096) };
    if (keeping.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "probe", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, keep_tx, &keeping, err);
    cw_arena_free(keeping.arena);
    if (rc == CW_OK) {
        *ret_before = keeping.before;
        *ret_changed = keeping.changed;
    }
    return rc;
}

static void read_row(const struct cw_value *row, struct cw_probe *ret)
{
    *ret = (struct cw_probe){ .subject = cw_value_id(&row[0]),
                              .kind = (enum cw_probe_kind)row[1].number,
                              .name = row[2].bytes,
                              .result = (int)row[3].number,
                              .cause = row[4].bytes,
                              .detail = row[5].bytes,
                              .since_us = row[6].number,
                              .checked_us = row[7].number };
}

enum cw_code cw_probe_list(struct cw_model *m, int least, struct cw_arena *arena,
                           struct cw_probe **ret, size_t *ret_count, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_int(least), cw_v_int(LIST_MAX) };
    struct cw_db *db = NULL;
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_list, params, arena, &rows, err);
    }
    cw_db_put(db);
    struct cw_probe *list =
        rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (rc == CW_OK && list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "probe", "the arena is full");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        read_row(cw_row(&rows, i), &list[i]);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = rows.count;
    }
    return rc;
}

enum cw_code cw_probe_worst(struct cw_model *m, struct cw_ulid subject, struct cw_arena *arena,
                            struct cw_probe *ret, struct cw_err *err)
{
    const struct cw_value id = cw_v_id(&subject);
    const struct cw_value *row = NULL;
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_worst, &id, arena, &row, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        read_row(row, ret);
    }
    return rc;
}

/* ---- turns */

static const struct cw_query q_missing = {
    .name = "turn.missing",
    .sql = "SELECT r.id FROM client_registration r WHERE r.disabled_at IS NULL"
           " AND NOT EXISTS (SELECT 1 FROM probe_turn t WHERE t.subject = r.id) ORDER BY r.id "
           "LIMIT 500",
    .params = "",
    .columns = "b",
};
static const struct cw_query q_gone = {
    .name = "turn.gone",
    .sql = "DELETE FROM probe_turn WHERE kind = 1 AND NOT EXISTS (SELECT 1 FROM "
           "client_registration r WHERE r.id = probe_turn.subject"
           " AND r.disabled_at IS NULL)",
    .params = "",
    .columns = "",
};
static const struct cw_query q_kinds = {
    .name = "turn.kinds",
    .sql = "SELECT DISTINCT kind FROM probe_turn WHERE kind <> 1 LIMIT 10",
    .params = "",
    .columns = "i",
};
static const struct cw_query q_add = {
    .name = "turn.add",
    .sql = "INSERT IGNORE INTO probe_turn (subject, kind, due_at) VALUES (?, ?, ?)",
    .params = "bit",
    .columns = "",
};
static const struct cw_query q_due = {
    .name = "turn.due",
    .sql = "SELECT subject, kind FROM probe_turn WHERE due_at <= ? ORDER BY due_at LIMIT 1",
    .params = "t",
    .columns = "bi",
};
static const struct cw_query q_done = {
    .name = "turn.done",
    .sql = "UPDATE probe_turn SET subject = ?, due_at = ? WHERE subject = ? AND kind = ?",
    .params = "btbi",
    .columns = "",
};

int64_t cw_turn_next(struct cw_ulid subject, int64_t now_us)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(cw_span_of(subject.bytes, sizeof subject.bytes), hash);
    uint32_t number =
        (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
    int64_t slot_us = (int64_t)(number % 86400u) * CW_SECOND_US;
    int64_t due_us = now_us - now_us % CW_DAY_US + slot_us;
    while (due_us < now_us + CW_HOUR_US) {
        due_us += CW_DAY_US;
    }
    return due_us;
}

static enum cw_code add(struct cw_db *db, struct cw_ulid subject, enum cw_turn_kind kind,
                        int64_t due_us, struct cw_err *err)
{
    const struct cw_value values[] = { cw_v_id(&subject), cw_v_int(kind), cw_v_time(due_us) };
    return cw_db_exec(db, &q_add, values, NULL, err);
}

/* Subjects of the three that are no registration: a walk begins before all sources, and two rows cannot have one key. */
static struct cw_ulid start_of(enum cw_turn_kind kind)
{
    struct cw_ulid id = { { 0 } };
    id.bytes[15] = (uint8_t)kind;
    return id;
}

static enum cw_code prepare_in(struct cw_db *db, struct cw_arena *arena, struct cw_err *err)
{
    static const enum cw_turn_kind others[] = { CW_TURN_SANDBOX, CW_TURN_INSTALLATION,
                                                CW_TURN_PRODUCTION };
    struct cw_rows missing = { .count = 0 }, kinds = { .count = 0 };
    int64_t now_us = cw_now_us();
    enum cw_code rc = cw_db_select(db, &q_missing, NULL, arena, &missing, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_kinds, NULL, arena, &kinds, err);
    }
    for (size_t i = 0; rc == CW_OK && i < missing.count; i++) {
        struct cw_ulid id = cw_value_id(cw_row(&missing, i));
        rc = add(db, id, CW_TURN_REGISTRATION, cw_turn_next(id, now_us), err);
    }
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(others); i++) {
        bool there = false;
        for (size_t k = 0; k < kinds.count; k++) {
            there |= cw_row(&kinds, k)[0].number == (int64_t)others[i];
        }
        if (!there) {
            rc = add(db, start_of(others[i]), others[i], now_us + CW_HOUR_US, err);
        }
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_gone, NULL, NULL, err);
    }
    const struct cw_value before = cw_v_time(now_us - STALE_US);
    return rc == CW_OK ? cw_db_exec(db, &q_old, &before, NULL, err) : rc;
}

enum cw_code cw_turn_prepare(struct cw_model *m, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_arena *arena = cw_arena_new(65536);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "turn", "out of memory");
    }
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = prepare_in(db, arena, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_turn_due(struct cw_model *m, struct cw_turn *ret, struct cw_err *err)
{
    const struct cw_value now = cw_v_time(cw_now_us());
    const struct cw_value *row = NULL;
    struct cw_db *db = NULL;
    struct cw_arena *arena = cw_arena_new(4096);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "turn", "out of memory");
    }
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_due, &now, arena, &row, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = (struct cw_turn){ .subject = cw_value_id(&row[0]),
                                 .kind = (enum cw_turn_kind)row[1].number };
    }
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_turn_done(struct cw_model *m, const struct cw_turn *turn, struct cw_ulid subject,
                          int64_t due_us, struct cw_err *err)
{
    const struct cw_value values[] = { cw_v_id(&subject), cw_v_time(due_us),
                                       cw_v_id(&turn->subject), cw_v_int(turn->kind) };
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_done, values, NULL, err);
    }
    cw_db_put(db);
    return rc;
}
