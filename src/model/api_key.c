/* SPDX-License-Identifier: Apache-2.0 */
/* API keys. The token's signature is a cheap first filter (vault/token.h); what a key may do is what its row says now. */
#include "config.h"
#include "model/api_key.h"

#include "base/limits.h"
#include "base/text.h"
#include "model/audit.h"
#include "os/sys.h"

#define NAME_CHARS_MAX 200u
#define SCOPES_TEXT_MAX 1024u

static const struct cw_query q_key_org_lock = {
    .name = "api_key.org_lock",
    .sql = "SELECT environment FROM organization WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_key_count = {
    .name = "api_key.count",
    .sql = "SELECT COUNT(*) FROM api_key WHERE organization = ? AND revoked_at IS NULL"
           " AND (expires_at IS NULL OR expires_at > ?)",
    .params = "bt",
    .columns = "i",
};
static const struct cw_query q_key_add = {
    .name = "api_key.add",
    .sql = "INSERT INTO api_key (id, organization, jti_hash, name, scopes, created_at, expires_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbtt",
    .columns = "",
};
#define KEY_COLUMNS                                                                                                    \
    "k.id, k.organization, o.environment, o.name, o.identifier_system, k.name, k.scopes, k.created_at, k.expires_at,"  \
    " k.revoked_at, k.last_used_at FROM api_key k JOIN organization o ON o.id = k.organization"
#define KEY_KINDS "bbibbbbtttt"
static const struct cw_query q_key_by_jti = {
    .name = "api_key.by_jti",
    .sql = "SELECT " KEY_COLUMNS " WHERE k.jti_hash = ?",
    .params = "b",
    .columns = KEY_KINDS,
};
static const struct cw_query q_key_list = {
    .name = "api_key.list",
    .sql = "SELECT " KEY_COLUMNS " WHERE k.organization = ? ORDER BY k.created_at, k.id LIMIT 1000",
    .params = "b",
    .columns = KEY_KINDS,
};
static const struct cw_query q_key_lock = {
    .name = "api_key.lock",
    .sql = "SELECT organization, revoked_at FROM api_key WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "bt",
};
static const struct cw_query q_key_revoke = {
    .name = "api_key.revoke",
    .sql = "UPDATE api_key SET revoked_at = ? WHERE id = ?",
    .params = "tb",
    .columns = "",
};

/* ---- scopes */

static const struct {
    enum cw_key_scope bit;
    const char *name;
} scope_table[] = {
    { CW_SCOPE_PATIENTS_READ, "patients:read" },
    { CW_SCOPE_PATIENTS_WRITE, "patients:write" },
    { CW_SCOPE_SESSIONS_READ, "patient_sessions:read" },
    { CW_SCOPE_SESSIONS_WRITE, "patient_sessions:write" },
    { CW_SCOPE_RECORDS_READ, "records:read" },
    { CW_SCOPE_CONNECTIONS_READ, "connections:read" },
    { CW_SCOPE_WEBHOOKS, "webhooks:manage" },
    { CW_SCOPE_EVENTS_READ, "events:read" },
};

static unsigned scope_of(struct cw_span word)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(scope_table); i++) {
        if (cw_span_eq_cstr(word, scope_table[i].name)) {
            return scope_table[i].bit;
        }
    }
    return cw_span_eq_cstr(word, "all") ? CW_SCOPES_ALL : 0;
}

enum cw_code cw_key_scopes_parse(struct cw_span text, unsigned *ret, struct cw_err *err)
{
    unsigned scopes = 0;
    struct cw_span word;
    for (unsigned number = 1; cw_span_word(&text, &word); number++) {
        unsigned bits = scope_of(word);
        if (bits == 0) {
            /* A name is shown where it looks like one; it came from the operator's own command line. */
            bool plain = word.len <= 40 && cw_utf8_valid(word) && !cw_utf8_has_control(word);
            return cw_err_set(err, CW_E_RANGE, "api_key", "unknown scope %.*s (word %u)", plain ? (int)word.len : 0,
                              word.ptr, number);
        }
        scopes |= bits;
    }
    if (scopes == 0) {
        return cw_err_set(err, CW_E_RANGE, "api_key", "no scope given");
    }
    *ret = scopes;
    return CW_OK;
}

enum cw_code cw_key_scopes_emit(unsigned scopes, struct cw_str *out)
{
    const char *gap = "";
    for (size_t i = 0; i < CW_ARRAY_LEN(scope_table); i++) {
        if ((scopes & scope_table[i].bit) != 0) {
            (void)cw_str_addf(out, "%s%s", gap, scope_table[i].name);
            gap = " ";
        }
    }
    return cw_str_code(out);
}

/* Of a stored row: a scope that this build does not know permits nothing. */
static unsigned stored_scopes(struct cw_span text)
{
    unsigned scopes = 0;
    struct cw_span word;
    while (cw_span_word(&text, &word)) {
        scopes |= scope_of(word);
    }
    return scopes;
}

static void read_key(const struct cw_model *m, const struct cw_value *row, struct cw_api_key *ret)
{
    struct cw_span configured = cw_span_cstr(cw_config_text(m->config, CW_CONF_IDENTIFIER_SYSTEM));
    *ret = (struct cw_api_key){
        .id = { cw_value_id(&row[0]) },
        .org = { cw_value_id(&row[1]) },
        .environment = (enum cw_environment)row[2].number,
        .org_name = row[3].bytes,
        .identifier_system = row[4].kind == CW_V_NULL ? configured : row[4].bytes,
        .name = row[5].bytes,
        .scopes = stored_scopes(row[6].bytes),
        .created_us = row[7].number,
        .expires_us = row[8].kind == CW_V_NULL ? 0 : row[8].number,
        .revoked_us = row[9].kind == CW_V_NULL ? 0 : row[9].number,
        .last_used_us = row[10].kind == CW_V_NULL ? 0 : row[10].number,
    };
}

/* ---- making one */

struct create {
    struct cw_model *m;
    const struct cw_actor *actor;
    const struct cw_api_key *wanted;
    struct cw_org_id org;
    struct cw_api_key_id id;
    struct cw_arena *arena;
    struct cw_str *token;
    struct cw_span scopes;
};

static enum cw_code check_room(struct cw_db *db, struct create *create, enum cw_environment *ret_environment,
                               struct cw_err *err)
{
    const struct cw_value *row = NULL;
    struct cw_value org[] = { cw_v_id(&create->org.ulid), cw_v_time(cw_now_us()) };
    enum cw_code rc = cw_db_one(db, &q_key_org_lock, org, create->arena, &row, err);
    if (rc == CW_E_NOT_FOUND) {
        return cw_err_set(err, rc, "api_key", "no such organization");
    }
    if (rc != CW_OK) {
        return rc;
    }
    *ret_environment = (enum cw_environment)row[0].number;
    rc = cw_db_one(db, &q_key_count, org, create->arena, &row, err);
    if (rc == CW_OK && row[0].number >= CW_API_KEYS_LIVE_MAX) {
        return cw_err_set(err, CW_E_LIMITED, "api_key", "the organization has %d active keys: revoke one first",
                          CW_API_KEYS_LIVE_MAX);
    }
    return rc;
}

static enum cw_code create_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct create *create = arg;
    cw_str_clear(create->token);
    enum cw_environment environment = CW_ENV_SANDBOX;
    struct cw_api_token token;
    enum cw_code rc = check_room(db, create, &environment, err);
    if (rc == CW_OK) {
        rc = cw_api_token_make(create->m->vault, create->id, environment == CW_ENV_PRODUCTION, &token, create->token,
                               err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = {
        cw_v_id(&create->id.ulid),
        cw_v_id(&create->org.ulid),
        cw_v_bytes(cw_span_of(token.jti_hash, sizeof token.jti_hash)),
        cw_v_bytes(create->wanted->name.ptr == NULL ? CW_SPAN("") : create->wanted->name),
        cw_v_bytes(create->scopes),
        cw_v_time(cw_now_us()),
        cw_v_time_opt(create->wanted->expires_us),
    };
    rc = cw_db_exec(db, &q_key_add, params, NULL, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row row = { .org = create->org, .action = "api_key.create", .object = create->id.ulid };
    return cw_audit_write(db, create->actor, &row, err);
}

static enum cw_code check_wanted(const struct cw_api_key *wanted, struct cw_err *err)
{
    if (!cw_utf8_valid(wanted->name) || cw_utf8_has_control(wanted->name)
        || cw_utf8_length(wanted->name) > NAME_CHARS_MAX) {
        return cw_err_set(err, CW_E_RANGE, "api_key", "the name must be UTF-8 of at most %u characters", NAME_CHARS_MAX);
    }
    if (wanted->scopes == 0 || (wanted->scopes & ~CW_SCOPES_ALL) != 0) {
        return cw_err_set(err, CW_E_RANGE, "api_key", "unknown scopes, or none");
    }
    if (wanted->expires_us != 0 && wanted->expires_us <= cw_now_us()) {
        return cw_err_set(err, CW_E_RANGE, "api_key", "the key would have ended already");
    }
    return CW_OK;
}

enum cw_code cw_api_key_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_api_key *wanted, struct cw_str *out_token, struct cw_api_key_id *ret,
                               struct cw_err *err)
{
    enum cw_code rc = check_wanted(wanted, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_STR scopes;
    CW_AUTO_STR token;
    cw_str_init(&scopes, SCOPES_TEXT_MAX);
    cw_str_init_secret(&token, CW_API_KEY_MAX);
    struct cw_arena *arena = cw_arena_new(64 * 1024);
    if (arena == NULL || cw_key_scopes_emit(wanted->scopes, &scopes) != CW_OK) {
        cw_arena_free(arena);
        return cw_err_set(err, CW_E_OOM, "api_key", "out of memory");
    }
    struct create create = { .m = m, .actor = actor, .wanted = wanted, .org = org, .id = { cw_ulid_new() },
                             .arena = arena, .token = &token, .scopes = cw_str_span(&scopes) };
    rc = cw_tx_pool(m->pool, create_tx, &create, err);
    cw_arena_free(arena);
    if (rc == CW_OK) {
        /* Only now: a token that was shown has a row. */
        rc = cw_str_add_span(out_token, cw_str_span(&token));
        *ret = create.id;
    }
    return rc;
}

/* ---- using, listing, ending */

enum cw_code cw_api_key_authenticate(struct cw_model *m, const struct cw_api_token *token, struct cw_arena *arena,
                                     struct cw_api_key *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_bytes(cw_span_of(token->jti_hash, sizeof token->jti_hash)) };
        rc = cw_db_select(db, &q_key_by_jti, params, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_api_key key = { 0 };
    if (rows.count == 1) {
        read_key(m, cw_row(&rows, 0), &key);
    }
    if (rows.count != 1 || !cw_ulid_eq(key.id.ulid, token->key.ulid)) {
        return cw_err_set(err, CW_E_AUTH, "api_key", "unknown key");
    }
    if (key.revoked_us != 0) {
        return cw_err_set(err, CW_E_AUTH, "api_key", "revoked key");
    }
    if ((key.environment == CW_ENV_PRODUCTION) != token->production) {
        return cw_err_set(err, CW_E_AUTH, "api_key", "the key's prefix is of the other environment");
    }
    if (key.expires_us != 0 && key.expires_us <= cw_now_us()) {
        return cw_err_set(err, CW_E_EXPIRED, "api_key", "expired key");
    }
    *ret = key;
    return CW_OK;
}

enum cw_code cw_api_key_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena, struct cw_api_key **ret,
                             size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_key_list, (struct cw_value[]){ cw_v_id(&org.ulid) }, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_api_key *keys = cw_arena_array(arena, rows.count, sizeof *keys);
    if (keys == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "api_key", "too many keys for the arena");
    }
    for (size_t i = 0; i < rows.count; i++) {
        read_key(m, cw_row(&rows, i), &keys[i]);
    }
    *ret = keys;
    *ret_count = rows.count;
    return CW_OK;
}

struct revoke {
    const struct cw_actor *actor;
    struct cw_api_key_id id;
    struct cw_arena *arena;
};

static enum cw_code revoke_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct revoke *revoke = arg;
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_key_lock, (struct cw_value[]){ cw_v_id(&revoke->id.ulid) }, revoke->arena, &row,
                                err);
    if (rc == CW_E_NOT_FOUND) {
        return cw_err_set(err, rc, "api_key", "no such key");
    }
    if (rc != CW_OK || row[1].kind != CW_V_NULL) {
        return rc; /* an ended key keeps the time of its end */
    }
    struct cw_value params[] = { cw_v_time(cw_now_us()), cw_v_id(&revoke->id.ulid) };
    rc = cw_db_exec(db, &q_key_revoke, params, NULL, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row audit = { .org = { cw_value_id(&row[0]) }, .action = "api_key.revoke",
                                        .object = revoke->id.ulid };
    return cw_audit_write(db, revoke->actor, &audit, err);
}

enum cw_code cw_api_key_revoke(struct cw_model *m, const struct cw_actor *actor, struct cw_api_key_id id,
                               struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(64 * 1024);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "api_key", "out of memory");
    }
    struct revoke revoke = { actor, id, arena };
    enum cw_code rc = cw_tx_pool(m->pool, revoke_tx, &revoke, err);
    cw_arena_free(arena);
    return rc;
}
