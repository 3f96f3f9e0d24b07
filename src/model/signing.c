/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing keys behind private_key_jwt. An algorithm's first two keys (current and next) are made when one is first asked
 * for. Two nodes may do so at once: a row of `duty` with the algorithm's name goes into the same transaction, so one of
 * them meets a duplicate key (or, on Galera, fails certification) and takes the other's keys.
 */
#include "config.h"

#include "model/signing.h"

#include <stdio.h>

#include "model/keys.h"
#include "model/signing_int.h"
#include "os/sys.h"

#define KEY_ARENA_MAX 65536u

static const struct cw_query q_current = {
    .name = "signing.current",
    .sql = "SELECT id, private_sealed, key_version FROM signing_key WHERE stage = 2 AND alg = ? ORDER BY id DESC LIMIT 1",
    .params = "b",
    .columns = "bbi",
};
static const struct cw_query q_first = {
    .name = "signing.first",
    .sql = "INSERT INTO duty (name) VALUES (?)",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_insert = {
    .name = "signing.insert",
    .sql = "INSERT INTO signing_key (id, alg, stage, kid, jwk, private_sealed, key_version, created_at, stage_since)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbibbbitt",
    .columns = "",
};
static const struct cw_query q_published = {
    .name = "signing.published",
    .sql = "SELECT jwk FROM signing_key WHERE stage IN (1, 2, 3) ORDER BY FIELD(stage, 2, 1, 3), alg, id LIMIT 20",
    .params = "",
    .columns = "b",
};

struct pair {
    struct cw_model *m;
    enum cw_jose_alg alg;
    struct cw_signing_key *keys[2]; /* made before the transaction: an RSA key takes a second */
};

/* What a row holds of a key. */
struct halves {
    struct cw_str jwk;
    struct cw_secret der;
};

static enum cw_code split(const struct cw_signing_key *key, struct halves *ret, struct cw_err *err)
{
    struct cw_jsonw w;
    cw_str_init(&ret->jwk, 2048);
    cw_jsonw_init(&w, &ret->jwk);
    enum cw_code rc = cw_signing_key_jwk(key, &w);
    if (rc == CW_OK) {
        rc = cw_jsonw_end(&w);
    }
    return rc == CW_OK ? cw_signing_key_export(key, &ret->der, err) : rc;
}

enum cw_code signing_insert(struct cw_model *m, struct cw_db *db, const struct cw_signing_key *key, enum cw_jose_alg alg,
                            enum cw_signing_stage stage, struct cw_err *err)
{
    struct cw_ulid id = cw_ulid_new();
    struct cw_registration_id owner = { id }; /* any id struct names the row in the AAD */
    struct halves halves = { .der = { .ptr = NULL } };
    struct cw_value sealed = cw_v_null();
    CW_AUTO_DATA_KEY data_key = { .version = 0 };
    struct cw_arena *arena = cw_arena_new(KEY_ARENA_MAX);
    enum cw_code rc = arena == NULL ? CW_E_OOM : split(key, &halves, err);
    if (rc == CW_OK) {
        rc = cw_org_key_current(m, db, cw_installation(), &data_key, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&data_key, CW_AAD("signing_key.private", owner), cw_secret_span(&halves.der), arena, &sealed, err);
    }
    if (rc == CW_OK) {
        struct cw_value now = cw_v_time(cw_now_us());
        const struct cw_value values[] = {
            cw_v_id(&id), cw_v_bytes(cw_span_cstr(cw_jose_alg_name(alg))), cw_v_int(stage),
            cw_v_bytes(cw_span_cstr(cw_signing_key_kid(key))), cw_v_bytes(cw_str_span(&halves.jwk)), sealed,
            cw_v_int(data_key.version), now, now,
        };
        rc = cw_db_exec(db, &q_insert, values, NULL, err);
    } else if (rc != CW_E_RETRY) {
        rc = cw_err_set(err, rc, "signing", "a new key cannot be stored");
    }
    cw_str_release(&halves.jwk);
    cw_secret_release(&halves.der);
    cw_arena_free(arena);
    return rc;
}

static enum cw_code store_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct pair *pair = arg;
    char duty[32];
    snprintf(duty, sizeof duty, "signing-key.%s", cw_jose_alg_name(pair->alg));
    enum cw_code rc = cw_db_exec(db, &q_first, (const struct cw_value[]){ cw_v_bytes(cw_span_cstr(duty)) }, NULL, err);
    if (rc == CW_OK) {
        rc = signing_insert(pair->m, db, pair->keys[0], pair->alg, CW_SIGNING_CURRENT, err);
    }
    if (rc == CW_OK) {
        rc = signing_insert(pair->m, db, pair->keys[1], pair->alg, CW_SIGNING_NEXT, err);
    }
    return rc;
}

static enum cw_code make_pair(struct cw_model *m, enum cw_jose_alg alg, struct cw_err *err)
{
    struct pair pair = { .m = m, .alg = alg };
    enum cw_code rc = cw_signing_key_make(alg, &pair.keys[0], err);
    if (rc == CW_OK) {
        rc = cw_signing_key_make(alg, &pair.keys[1], err);
    }
    if (rc == CW_OK) {
        rc = cw_tx_pool(m->pool, store_tx, &pair, err);
    }
    cw_signing_key_free(pair.keys[0]);
    cw_signing_key_free(pair.keys[1]);
    return rc == CW_E_CONFLICT ? CW_OK : rc; /* another node was first */
}

static enum cw_code load(struct cw_model *m, struct cw_db *db, enum cw_jose_alg alg, struct cw_arena *arena,
                         struct cw_signing_key **ret, struct cw_err *err)
{
    const struct cw_value name = cw_v_bytes(cw_span_cstr(cw_jose_alg_name(alg)));
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_current, &name, arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_DATA_KEY key = { .version = 0 };
    CW_AUTO_STR der;
    cw_str_init_secret(&der, row[1].bytes.len);
    struct cw_registration_id owner = { cw_value_id(&row[0]) };
    rc = cw_org_key_version(m, db, cw_installation(), (uint32_t)row[2].number, &key, err);
    if (rc == CW_OK) {
        rc = cw_unseal(&key, CW_AAD("signing_key.private", owner), row[1].bytes, &der, err);
    }
    return rc == CW_OK ? cw_signing_key_import(alg, cw_str_span(&der), ret, err) : rc;
}

static enum cw_code try_load(struct cw_model *m, enum cw_jose_alg alg, struct cw_signing_key **ret, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(KEY_ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "signing", "no memory");
    }
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = load(m, db, alg, arena, ret, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_signing_key_current(struct cw_model *m, enum cw_jose_alg alg, struct cw_signing_key **ret,
                                    struct cw_err *err)
{
    enum cw_code rc = try_load(m, alg, ret, err);
    if (rc != CW_E_NOT_FOUND) {
        return rc;
    }
    rc = make_pair(m, alg, err);
    return rc == CW_OK ? try_load(m, alg, ret, err) : rc;
}

static enum cw_code emit_jwk(void *arg, const struct cw_value *row, struct cw_err *err)
{
    (void)err;
    cw_jsonw_raw(arg, row[0].bytes);
    return CW_OK;
}

/* The address is given to hospitals before the first assertion is signed, so both algorithms are there from the first look. */
static enum cw_code ensure_both(struct cw_model *m, struct cw_err *err)
{
    static const enum cw_jose_alg algs[] = { CW_ALG_RS384, CW_ALG_ES384 };
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(algs); i++) {
        struct cw_signing_key *key = NULL;
        rc = cw_signing_key_current(m, algs[i], &key, err);
        cw_signing_key_free(key);
    }
    return rc;
}

enum cw_code cw_signing_jwks(struct cw_model *m, struct cw_str *out, struct cw_err *err)
{
    enum cw_code rc = ensure_both(m, err);
    struct cw_db *db = NULL;
    if (rc == CW_OK) {
        rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    rc = cw_db_each(db, &q_published, NULL, emit_jwk, &w, err);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_db_put(db);
    enum cw_code written = cw_jsonw_end(&w);
    return rc != CW_OK ? rc : written == CW_OK ? CW_OK : cw_err_set(err, written, "signing", "the key set is too big");
}
