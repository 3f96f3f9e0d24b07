/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of signing keys. Keys are made before the transaction (an RSA key takes a second); the transaction takes the duty's row first, so
 * that of two nodes the second sees what the first has done, and on Galera one of the two fails certification and runs again.
 */
#include "config.h"

#include "model/signing.h"

#include "model/audit.h"
#include "model/keys.h"
#include "model/signing_int.h"
#include "os/sys.h"

#define ARENA_MAX 65536u
#define DAY_US (24 * CW_HOUR_US)

static const enum cw_jose_alg algs[] = { CW_ALG_RS384, CW_ALG_ES384 };

static const struct cw_query q_turn = {
    .name = "signing.turn",
    .sql = "UPDATE duty SET fence = fence + 1 WHERE name = 'signing-keys'",
    .params = "",
    .columns = "",
};
static const struct cw_query q_state = {
    .name = "signing.state",
    .sql = "SELECT id, stage, stage_since FROM signing_key WHERE stage IN (1, 2, 3) AND alg = ? "
           "ORDER BY id LIMIT 20",
    .params = "b",
    .columns = "bit",
};
static const struct cw_query q_move = {
    .name = "signing.move",
    .sql = "UPDATE signing_key SET stage = ?, stage_since = ? WHERE id = ?",
    .params = "itb",
    .columns = "",
};
static const struct cw_query q_retire = {
    .name = "signing.retire",
    .sql = "UPDATE signing_key SET stage = 4, stage_since = ?, private_sealed = NULL WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_list = {
    .name = "signing.list",
    .sql = "SELECT alg, stage, kid, stage_since, private_sealed IS NOT NULL FROM signing_key WHERE "
           "stage IN (1, 2, 3)"
           " ORDER BY alg, FIELD(stage, 2, 1, 3), id LIMIT 50",
    .params = "",
    .columns = "bibti",
};
static const struct cw_query q_list_retired = {
    .name = "signing.list_retired",
    .sql = "SELECT alg, stage, kid, stage_since, private_sealed IS NOT NULL FROM signing_key WHERE "
           "stage = 4"
           " ORDER BY id DESC LIMIT 50",
    .params = "",
    .columns = "bibti",
};

const char *cw_signing_stage_name(enum cw_signing_stage stage)
{
    switch (stage) {
    case CW_SIGNING_NEXT:
        return "next";
    case CW_SIGNING_CURRENT:
        return "current";
    case CW_SIGNING_PREVIOUS:
        return "previous";
    case CW_SIGNING_RETIRED:
        break;
    }
    return "retired";
}

/* ---- where an algorithm stands */

struct state {
    const struct cw_value *next, *current; /* rows; NULL: none */
    struct cw_rows rows;
    int64_t previous_us; /* the youngest previous key's time; 0: there is none that must stay */
};

static enum cw_code read_state(struct cw_db *db, enum cw_jose_alg alg, int64_t now_us,
                               struct cw_arena *arena, struct state *ret, struct cw_err *err)
{
    const struct cw_value name = cw_v_bytes(cw_span_cstr(cw_jose_alg_name(alg)));
    *ret = (struct state){ .previous_us = 0 };
    enum cw_code rc = cw_db_select(db, &q_state, &name, arena, &ret->rows, err);
    for (size_t i = 0; rc == CW_OK && i < ret->rows.count; i++) {
        const struct cw_value *row = cw_row(&ret->rows, i);
        if (row[1].number == CW_SIGNING_NEXT) {
            ret->next = row;
        } else if (row[1].number == CW_SIGNING_CURRENT) {
            ret->current = row;
        } else if (row[2].number + CW_SIGNING_PREVIOUS_US > now_us &&
                   row[2].number > ret->previous_us) {
            ret->previous_us = row[2].number;
        }
    }
    return rc;
}

static bool is_over(const struct cw_value *row, int64_t now_us)
{
    return row[1].number == CW_SIGNING_PREVIOUS && row[2].number + CW_SIGNING_PREVIOUS_US <= now_us;
}

/* A step, not taken yet. `every_us`: rotate only a key that is that old; 0: whatever its age; negative: never. */
static struct cw_signing_walked decide(const struct state *state, bool emergency, int64_t every_us,
                                       int64_t now_us)
{
    if (emergency) {
        return (struct cw_signing_walked){ .step = CW_SIGNING_REPLACED };
    }
    if (state->next == NULL) {
        return (struct cw_signing_walked){ .step = CW_SIGNING_PUBLISHED,
                                           .until_us = now_us + CW_SIGNING_NEXT_US };
    }
    int64_t ready_us = state->next[2].number + CW_SIGNING_NEXT_US;
    if (every_us < 0 || (state->current != NULL && state->current[2].number + every_us > now_us)) {
        return (struct cw_signing_walked){ .step = CW_SIGNING_NOTHING };
    }
    if (state->previous_us != 0) {
        int64_t until_us = state->previous_us + CW_SIGNING_PREVIOUS_US;
        return (struct cw_signing_walked){ .step = CW_SIGNING_WAITS_PREVIOUS,
                                           .until_us = until_us > ready_us ? until_us : ready_us };
    }
    if (now_us < ready_us) {
        return (struct cw_signing_walked){ .step = CW_SIGNING_WAITS_NEXT, .until_us = ready_us };
    }
    return (struct cw_signing_walked){ .step = CW_SIGNING_PROMOTED,
                                       .until_us = now_us + CW_SIGNING_PREVIOUS_US };
}

/* ---- a step */

struct walk {
    struct cw_model *m;
    const struct cw_actor *actor;
    enum cw_jose_alg alg;
    bool emergency;
    int64_t every_us;
    struct cw_signing_key
        *keys[2]; /* made before; the second is for an emergency without a next key */
    struct cw_arena *arena;
    struct cw_signing_walked done;
};

static enum cw_code move(struct cw_db *db, const struct cw_value *row, enum cw_signing_stage stage,
                         int64_t now_us, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_int(stage), cw_v_time(now_us), row[0] };
    return cw_db_exec(db, &q_move, params, NULL, err);
}

static enum cw_code retire(struct walk *walk, struct cw_db *db, const struct cw_value *row,
                           int64_t now_us, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_time(now_us), row[0] };
    walk->done.retired++;
    return cw_db_exec(db, &q_retire, params, NULL, err);
}

/* What is published too long, or with an emergency everything but next. */
static enum cw_code retire_all(struct walk *walk, struct cw_db *db, const struct state *state,
                               int64_t now_us, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < state->rows.count; i++) {
        const struct cw_value *row = cw_row(&state->rows, i);
        bool gone = walk->emergency ? row[1].number != CW_SIGNING_NEXT : is_over(row, now_us);
        if (gone) {
            rc = retire(walk, db, row, now_us, err);
        }
    }
    return rc;
}

static enum cw_code promote(struct walk *walk, struct cw_db *db, const struct state *state,
                            int64_t now_us, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    if (!walk->emergency && state->current != NULL) {
        rc = move(db, state->current, CW_SIGNING_PREVIOUS, now_us, err);
    }
    if (rc == CW_OK) {
        rc = state->next != NULL
                 ? move(db, state->next, CW_SIGNING_CURRENT, now_us, err)
                 : signing_insert(walk->m, db, walk->keys[1], walk->alg, CW_SIGNING_CURRENT, err);
    }
    return rc == CW_OK ? signing_insert(walk->m, db, walk->keys[0], walk->alg, CW_SIGNING_NEXT, err)
                       : rc;
}

static enum cw_code audit(const struct walk *walk, struct cw_db *db, struct cw_err *err)
{
    static const char *const actions[] = { [CW_SIGNING_NOTHING] = "signing_key.retire",
                                           [CW_SIGNING_PUBLISHED] = "signing_key.publish",
                                           [CW_SIGNING_PROMOTED] = "signing_key.rotate",
                                           [CW_SIGNING_REPLACED] = "signing_key.replace",
                                           [CW_SIGNING_WAITS_NEXT] = "signing_key.retire",
                                           [CW_SIGNING_WAITS_PREVIOUS] = "signing_key.retire" };
    const struct cw_audit_row row = { .action = actions[walk->done.step],
                                      .detail = cw_jose_alg_name(walk->alg) };
    return cw_audit_write(db, walk->actor, &row, err);
}

static bool takes_key(enum cw_signing_step step)
{
    return step == CW_SIGNING_PUBLISHED || step == CW_SIGNING_PROMOTED ||
           step == CW_SIGNING_REPLACED;
}

static enum cw_code walk_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct walk *walk = arg;
    struct state state;
    int64_t now_us = cw_now_us();
    cw_arena_clear(walk->arena);
    enum cw_code rc = cw_db_exec(db, &q_turn, NULL, NULL, err);
    if (rc == CW_OK) {
        rc = read_state(db, walk->alg, now_us, walk->arena, &state, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    walk->done = decide(&state, walk->emergency, walk->every_us, now_us);
    if (takes_key(walk->done.step) && walk->keys[0] == NULL) {
        return cw_err_set(err, CW_E_RETRY, "signing", "another step became due meanwhile");
    }
    rc = retire_all(walk, db, &state, now_us, err);
    if (rc == CW_OK && walk->done.step == CW_SIGNING_PUBLISHED) {
        rc = signing_insert(walk->m, db, walk->keys[0], walk->alg, CW_SIGNING_NEXT, err);
    } else if (rc == CW_OK && takes_key(walk->done.step)) {
        rc = promote(walk, db, &state, now_us, err);
    }
    bool changed = takes_key(walk->done.step) || walk->done.retired > 0;
    return rc == CW_OK && changed ? audit(walk, db, err) : rc;
}

/* A look without a lock, so that no key is made for nothing. *ret_exists: the algorithm has keys at all. */
static enum cw_code look(struct walk *walk, bool *ret_due, bool *ret_exists, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct state state = { .previous_us = 0 };
    int64_t now_us = cw_now_us();
    enum cw_code rc = cw_db_get(walk->m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = read_state(db, walk->alg, now_us, walk->arena, &state, err);
    }
    cw_db_put(db);
    walk->done = decide(&state, walk->emergency, walk->every_us, now_us);
    *ret_exists = state.rows.count > 0;
    *ret_due = takes_key(walk->done.step);
    for (size_t i = 0; i < state.rows.count; i++) {
        *ret_due |= is_over(cw_row(&state.rows, i), now_us);
    }
    return rc;
}

static enum cw_code take_step(struct walk *walk, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    size_t wanted = walk->emergency ? 2 : takes_key(walk->done.step) ? 1 : 0;
    for (size_t i = 0; rc == CW_OK && i < wanted; i++) {
        rc = cw_signing_key_make(walk->alg, &walk->keys[i], err);
    }
    return rc == CW_OK ? cw_tx_pool(walk->m->pool, walk_tx, walk, err) : rc;
}

static void walk_release(struct walk *walk)
{
    cw_signing_key_free(walk->keys[0]);
    cw_signing_key_free(walk->keys[1]);
    cw_arena_free(walk->arena);
}

enum cw_code cw_signing_rotate(struct cw_model *m, const struct cw_actor *actor,
                               enum cw_jose_alg alg, bool emergency, struct cw_signing_walked *ret,
                               struct cw_err *err)
{
    struct cw_signing_key *current = NULL;
    struct walk walk = {
        .m = m, .actor = actor, .alg = alg, .emergency = emergency, .arena = cw_arena_new(ARENA_MAX)
    };
    bool due = false, exists = false;
    if (walk.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "signing", "out of memory");
    }
    enum cw_code rc = cw_signing_key_current(m, alg, &current, err); /* makes both at first */
    cw_signing_key_free(current);
    if (rc == CW_OK) {
        rc = look(&walk, &due, &exists, err);
    }
    if (rc == CW_OK && due) {
        rc = take_step(&walk, err);
    }
    walk_release(&walk);
    if (rc == CW_OK) {
        *ret = walk.done;
    }
    return rc;
}

enum cw_code cw_signing_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit,
                              unsigned *ret_count, struct cw_err *err)
{
    int64_t days = cw_config_int(m->config, CW_CONF_SIGNING_KEY_DAYS);
    enum cw_code rc = CW_OK;
    unsigned count = 0;
    (void)limit;
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(algs); i++) {
        struct walk walk = { .m = m,
                             .actor = actor,
                             .alg = algs[i],
                             .every_us = days == 0 ? -1 : days * DAY_US,
                             .arena = cw_arena_new(ARENA_MAX) };
        bool due = false, exists = false;
        rc = walk.arena == NULL ? cw_err_set(err, CW_E_OOM, "signing", "out of memory")
                                : look(&walk, &due, &exists, err);
        if (rc == CW_OK && due && exists) {
            rc = take_step(&walk, err);
            count += rc == CW_OK && (walk.done.retired > 0 || takes_key(walk.done.step));
        }
        walk_release(&walk);
    }
    if (rc == CW_OK) {
        *ret_count = count;
    }
    return rc;
}

/* ---- for an operator */

static void read_line(const struct cw_value *row, struct cw_signing_line *ret)
{
    *ret = (struct cw_signing_line){ .stage = (enum cw_signing_stage)row[1].number,
                                     .kid = row[2].bytes,
                                     .since_us = row[3].number,
                                     .has_private = row[4].number != 0 };
    (void)!cw_jose_alg_parse(row[0].bytes, &ret->alg);
    if (ret->stage == CW_SIGNING_NEXT) {
        ret->until_us = ret->since_us + CW_SIGNING_NEXT_US;
    } else if (ret->stage == CW_SIGNING_PREVIOUS) {
        ret->until_us = ret->since_us + CW_SIGNING_PREVIOUS_US;
    }
}

enum cw_code cw_signing_list(struct cw_model *m, struct cw_arena *arena,
                             struct cw_signing_line **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows published = { .count = 0 }, retired = { .count = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_list, NULL, arena, &published, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_list_retired, NULL, arena, &retired, err);
    }
    cw_db_put(db);
    struct cw_signing_line *lines =
        rc == CW_OK ? cw_arena_array(arena, published.count + retired.count + 1, sizeof *lines)
                    : NULL;
    if (rc == CW_OK && lines == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "signing", "the arena is full");
    }
    for (size_t i = 0; rc == CW_OK && i < published.count + retired.count; i++) {
        read_line(i < published.count ? cw_row(&published, i)
                                      : cw_row(&retired, i - published.count),
                  &lines[i]);
    }
    if (rc == CW_OK) {
        *ret = lines;
        *ret_count = published.count + retired.count;
    }
    return rc;
}
