/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of an attempt: connected, failed, or swept by the janitor because nobody came back. */
#include "config.h"
#include "model/attempt.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/connection_int.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/pull_int.h"
#include "model/session_int.h"
#include "os/sys.h"

#define LOST_AFTER_US (5 * CW_MINUTE_US) /* past its state: an exchange that long has died with its process */
#define SWEEP_MAX 200u

/* Session, attempt, patient, patient's key, in this order everywhere; sub-selects take no lock. A patient without a key is being deleted. */
enum { L_STATUS, L_SESSION, L_ORG, L_PATIENT, L_SOURCE, L_ENDPOINT, L_REGISTRATION, L_CONNECTION, L_PINNED, L_DIRECT, L_PATIENT_ID,
       L_RECONNECT, L_KEY };
static const struct cw_query q_lock = {
    .name = "attempt.lock",
    .sql = "SELECT a.status, a.session, a.organization, a.patient, a.source, a.endpoint, a.registration, a.connection,"
           " a.pinned, s.direct_source, p.patient_id, s.reconnect, k.version, k.wrapped, k.master_key_id FROM patient_session s"
           " STRAIGHT_JOIN attempt a ON a.session = s.id AND a.id = ? STRAIGHT_JOIN patient p ON p.id = a.patient"
           " STRAIGHT_JOIN patient_key k ON k.patient = p.id"
           " AND k.version = (SELECT MAX(version) FROM patient_key WHERE patient = p.id)"
           " WHERE s.id = (SELECT session FROM attempt WHERE id = ?) FOR UPDATE",
    .params = "bb",
    .columns = "ibbbbbbbbbbb" "ibb",
};
static const struct cw_query q_failed = {
    .name = "attempt.failed",
    .sql = "UPDATE attempt SET status = 4, failure_code = ?, failure_sealed = ?, key_version = IF(? = 1, ?, key_version),"
           " verifier_sealed = NULL, nonce_sealed = NULL, ended_at = ? WHERE id = ?",
    .params = "bbiitb",
    .columns = "",
};
static const struct cw_query q_connected = {
    .name = "attempt.connected",
    .sql = "UPDATE attempt SET status = 3, connection = ?, scopes_granted = ?, verifier_sealed = NULL,"
           " nonce_sealed = NULL, ended_at = ? WHERE id = ?",
    .params = "bbtb",
    .columns = "",
};
static const struct cw_query q_stale = {
    .name = "attempt.stale",
    .sql = "SELECT id, status FROM attempt WHERE (status = 1 AND state_expires_at <= ?)"
           " OR (status = 2 AND state_expires_at <= ?) LIMIT ?",
    .params = "tti",
    .columns = "bi",
};

static enum cw_code lock(struct cw_db *db, struct cw_attempt_id id, struct cw_arena *arena,
                         const struct cw_value **ret_row, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&id.ulid), cw_v_id(&id.ulid) };
    return cw_db_one(db, &q_lock, params, arena, ret_row, err);
}

/* ---------------------------------------------------------------------------------------------- failed */

struct failing {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_attempt_id id;
    const char *code;
    struct cw_span upstream;
    const struct cw_exchange *exchange;
    const struct cw_revocation *tokens;
    struct cw_arena *arena;
};

static enum cw_code write_failure(struct failing *fail, struct cw_db *db, const struct cw_value *row,
                                  struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient = { cw_value_id(&row[L_PATIENT]) };
    struct cw_value sealed = cw_v_null();
    enum cw_code rc = cw_key_open(fail->m, patient.ulid, &row[L_KEY], &key, err);
    if (rc == CW_OK && fail->upstream.ptr != NULL) {
        struct cw_span words = cw_span_upto(fail->upstream, CW_ERROR_TEXT_MAX);
        rc = cw_cell_seal(&key, CW_AAD("attempt.failure", fail->id), words, fail->arena, &sealed, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_bytes(cw_span_cstr(fail->code)), sealed,
                                 cw_v_int(sealed.kind != CW_V_NULL),   cw_v_int(key.version),
                                 cw_v_time(cw_now_us()),               cw_v_id(&fail->id.ulid) };
    rc = cw_db_exec(db, &q_failed, params, NULL, err);
    if (rc == CW_OK && fail->exchange != NULL) {
        const struct cw_exchange_owner owner = {
            .kind = CW_EXCHANGE_ATTEMPT, .object = fail->id.ulid, .org = { cw_value_id(&row[L_ORG]) }, .patient = patient
        };
        rc = cw_exchange_put(fail->m, db, &owner, fail->exchange, err);
    }
    if (rc == CW_OK && fail->tokens != NULL) {
        rc = cw_revocation_add(fail->m, db, fail->tokens, fail->arena, err);
    }
    if (rc == CW_OK) {
        struct cw_audit_row audit = { .org = { cw_value_id(&row[L_ORG]) },
                                      .action = "attempt.fail",
                                      .patient = patient,
                                      .object = fail->id.ulid,
                                      .detail = fail->code };
        rc = cw_audit_write(db, fail->actor, &audit, err);
    }
    return rc;
}

/* What is found before a code is exchanged ends no attempt whose code is being exchanged: another request has the right state and cookie. */
static bool only_before_exchange(const char *code)
{
    return strcmp(code, CW_FAIL_NOT_RETURNED) == 0 || strcmp(code, CW_FAIL_BROWSER_MISMATCH) == 0 ||
           strcmp(code, CW_FAIL_STATE_EXPIRED) == 0;
}

static enum cw_code fail_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct failing *fail = arg;
    const struct cw_value *row;
    cw_arena_clear(fail->arena);
    enum cw_code rc = lock(db, fail->id, fail->arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (row[L_STATUS].number == CW_ATTEMPT_FAILED) {
        return fail->tokens == NULL ? CW_OK : cw_revocation_add(fail->m, db, fail->tokens, fail->arena, err);
    }
    if (row[L_STATUS].number == CW_ATTEMPT_CONNECTED) {
        return cw_err_set(err, CW_E_STATE, "attempt.fail", "the attempt is connected");
    }
    if (row[L_STATUS].number == CW_ATTEMPT_EXCHANGING && only_before_exchange(fail->code)) {
        return cw_err_set(err, CW_E_STATE, "attempt.fail", "the patient came back in the last moment");
    }
    rc = write_failure(fail, db, row, err);
    if (rc == CW_OK && row[L_DIRECT].kind != CW_V_NULL) {
        struct cw_session_id session = { cw_value_id(&row[L_SESSION]) };
        rc = session_return(fail->m, db, fail->actor, session, NULL, err);
    }
    return rc;
}

enum cw_code cw_attempt_fail_with(struct cw_model *m, const struct cw_actor *actor, struct cw_attempt_id id,
                                  const struct cw_attempt_failure *failure, struct cw_err *err)
{
    struct failing fail = { .m = m,
                            .actor = actor,
                            .id = id,
                            .code = cw_failure_known(failure->code, CW_FAILS_ATTEMPT),
                            .upstream = failure->upstream,
                            .exchange = failure->exchange,
                            .tokens = failure->tokens };
    fail.arena = cw_arena_new((size_t)256 * 1024);
    if (fail.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "attempt.fail", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, fail_tx, &fail, err);
    cw_arena_free(fail.arena);
    return rc;
}

enum cw_code cw_attempt_fail(struct cw_model *m, const struct cw_actor *actor, struct cw_attempt_id id,
                             const char *failure_code, struct cw_span upstream, struct cw_err *err)
{
    const struct cw_attempt_failure failure = { .code = failure_code, .upstream = upstream };
    return cw_attempt_fail_with(m, actor, id, &failure, err);
}

/* ---------------------------------------------------------------------------------------------- connected */

struct connecting {
    struct cw_model *m;
    const struct cw_actor *actor;
    const struct cw_attempt_success *success;
    struct cw_arena *arena;
    struct cw_data_key key;
    struct cw_connection_id connection;
    const struct cw_value *row;
};

/* An attempt's own connection id is used for a connection that was not there yet, and then there is nothing to take back. */
static bool is_new(const struct connecting *c)
{
    return cw_ulid_eq(c->connection.ulid, cw_value_id(&c->row[L_CONNECTION]));
}

static enum cw_code put_connection(struct connecting *c, struct cw_db *db, struct cw_err *err)
{
    const struct cw_value *row = c->row;
    const struct cw_attempt_success *success = c->success;
    struct connection_put put = {
        .id = { cw_value_id(&row[L_CONNECTION]) },
        .org = { cw_value_id(&row[L_ORG]) },
        .patient = { cw_value_id(&row[L_PATIENT]) },
        .endpoint = { cw_value_id(&row[L_ENDPOINT]) },
        .source = { cw_value_id(&row[L_SOURCE]) },
        .registration = { cw_value_id(&row[L_REGISTRATION]) },
        .session = { cw_value_id(&row[L_SESSION]) },
        .tenant_context = success->tenant_context,
        .upstream_patient = success->upstream_patient,
        .scopes = success->scopes_granted,
        .missing_types = success->missing_types,
        .pinned = row[L_PINNED].bytes,
        .one_time = success->refresh_token.ptr == NULL && success->dynamic == NULL,
    };
    if (row[L_RECONNECT].kind != CW_V_NULL) {
        put.only.ulid = cw_value_id(&row[L_RECONNECT]);
    }
    struct grant_put grant = {
        .access_token = success->access_token,
        .refresh_token = success->refresh_token,
        .token_type = success->token_type,
        .dynamic = success->dynamic != NULL,
        .obtained_us = success->obtained_us,
        .expires_us = success->expires_us,
        .ends_us = success->ends_us,
        .ends_fixed = success->ends_fixed,
        .keep_us = success->keep_us,
    };
    enum cw_code rc = connection_put(db, &c->key, &put, c->arena, &c->connection, err);
    if (rc == CW_OK) {
        rc = grant_put(db, &c->key, c->connection, &grant, c->arena, err);
    }
    if (rc == CW_OK && (!is_new(c) || success->dynamic != NULL)) {
        rc = dynamic_client_put(db, &c->key, put.patient, c->connection, success->dynamic, err);
    }
    if (rc == CW_OK && !is_new(c)) {
        rc = connection_recover(c->m, db, c->connection, err);
    }
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_id(&c->connection.ulid), cw_v_bytes(success->scopes_granted),
                                     cw_v_time(cw_now_us()), cw_v_id(&success->attempt.ulid) };
        rc = cw_db_exec(db, &q_connected, params, NULL, err);
    }
    return rc;
}

static enum cw_code tell(struct connecting *c, struct cw_db *db, struct cw_err *err)
{
    const struct cw_value *row = c->row;
    char connection[CW_ID_TEXT_MAX], source[CW_ID_TEXT_MAX], session[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_CONNECTION, c->connection.ulid, connection);
    cw_id_emit(CW_PREFIX_SOURCE, cw_value_id(&row[L_SOURCE]), source);
    cw_id_emit(CW_PREFIX_SESSION, cw_value_id(&row[L_SESSION]), session);
    CW_AUTO_STR payload;
    cw_str_init(&payload, 8192);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &payload);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "id", connection);
    cw_jsonw_key_cstr(&w, "resource_type", "connection");
    cw_jsonw_key_cstr(&w, "connection_id", source);
    cw_jsonw_key_cstr(&w, "status", cw_connection_status_name(CW_CONNECTION_ACTIVE));
    cw_jsonw_key_text(&w, "patient_id", row[L_PATIENT_ID].bytes);
    cw_jsonw_key_cstr(&w, "patient_session_id", session);
    cw_jsonw_close_object(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "attempt.connect", "the event could not be written");
    }
    struct cw_org_id org = { cw_value_id(&row[L_ORG]) };
    struct cw_patient_row patient = { cw_value_id(&row[L_PATIENT]) };
    rc = cw_event_write(db, org, patient, &c->key, CW_EVENT_CONNECTION_ACTIVATED, c->connection.ulid,
                        cw_str_span(&payload), err);
    if (rc == CW_OK) {
        struct cw_audit_row audit = {
            .org = org, .action = "connection.activate", .patient = patient, .object = c->connection.ulid
        };
        rc = cw_audit_write(db, c->actor, &audit, err);
    }
    return rc;
}

static enum cw_code start_pull(struct connecting *c, struct cw_db *db, struct cw_err *err)
{
    struct cw_connection connection = { .id = c->connection,
                                        .org = { cw_value_id(&c->row[L_ORG]) },
                                        .patient = { cw_value_id(&c->row[L_PATIENT]) },
                                        .endpoint = { cw_value_id(&c->row[L_ENDPOINT]) } };
    struct cw_pull_id pull;
    if (is_new(c)) {
        const struct cw_pull_new first = { &connection, CW_PULL_CONNECTED, CW_PULL_FULL, cw_now_us() };
        return cw_pull_insert(db, &first, &pull, err);
    }
    enum cw_code rc = cw_pull_start_in(c->m, db, &connection, CW_PULL_CONNECTED, &pull, err);
    bool sooner;
    /* A reconnect while a pull runs: that one goes on with the new grant. One that waits for its night does not: the patient waits. */
    return rc == CW_E_CONFLICT ? cw_pull_begin_now(db, pull, CW_PULL_CONNECTED, &sooner, err) : rc;
}

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct connecting *c = arg;
    cw_arena_clear(c->arena);
    enum cw_code rc = lock(db, c->success->attempt, c->arena, &c->row, err);
    if (rc == CW_OK && c->row[L_STATUS].number == CW_ATTEMPT_CONNECTED) {
        c->connection.ulid = cw_value_id(&c->row[L_CONNECTION]);
        return CW_OK; /* the answer of our first commit was lost: nobody else has this code's tokens */
    }
    if (rc == CW_OK && c->row[L_STATUS].number != CW_ATTEMPT_EXCHANGING) {
        rc = cw_err_set(err, CW_E_STATE, "attempt.connect", "the attempt has ended already");
    }
    if (rc == CW_OK) {
        struct cw_patient_row patient = { cw_value_id(&c->row[L_PATIENT]) };
        rc = cw_key_open(c->m, patient.ulid, &c->row[L_KEY], &c->key, err);
    }
    if (rc == CW_OK) {
        rc = put_connection(c, db, err);
    }
    if (rc == CW_OK) {
        rc = tell(c, db, err);
    }
    if (rc == CW_OK) {
        rc = start_pull(c, db, err);
    }
    if (rc == CW_OK && c->row[L_DIRECT].kind != CW_V_NULL) {
        struct cw_session_id session = { cw_value_id(&c->row[L_SESSION]) };
        rc = session_return(c->m, db, c->actor, session, &c->key, err);
    }
    return rc;
}

enum cw_code cw_attempt_connect(struct cw_model *m, const struct cw_actor *actor,
                                const struct cw_attempt_success *success, struct cw_connection_id *ret,
                                struct cw_err *err)
{
    struct connecting c = { .m = m, .actor = actor, .success = success };
    c.arena = cw_arena_new((size_t)2 * 1024 * 1024);
    if (c.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "attempt.connect", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, connect_tx, &c, err);
    cw_data_key_wipe(&c.key);
    cw_arena_free(c.arena);
    if (rc == CW_OK) {
        *ret = c.connection;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- the sweep */

enum cw_code cw_attempt_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                              struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new((size_t)256 * 1024);
    struct cw_db *db = NULL;
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "attempt.sweep", "out of memory");
    }
    int64_t now_us = cw_now_us();
    struct cw_value params[] = { cw_v_time(now_us), cw_v_time(now_us - LOST_AFTER_US),
                                 cw_v_int(limit < SWEEP_MAX ? limit : SWEEP_MAX) };
    struct cw_rows rows = { .count = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_stale, params, arena, &rows, err);
    }
    cw_db_put(db);
    unsigned count = 0;
    enum cw_code bad = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        const struct cw_value *row = cw_row(&rows, i);
        struct cw_attempt_id id = { cw_value_id(&row[0]) };
        bool exchanging = row[1].number == CW_ATTEMPT_EXCHANGING;
        rc = cw_attempt_fail(m, actor, id, exchanging ? CW_FAIL_TOKEN_LOST : CW_FAIL_NOT_RETURNED,
                             (struct cw_span){ NULL, 0 }, err);
        count += rc == CW_OK;
        if (rc == CW_E_NOT_FOUND || rc == CW_E_AUTH) {
            bad = rc; /* its patient's key is not there or does not open: the others end all the same */
            rc = CW_OK;
        } else if (rc == CW_E_STATE) {
            rc = CW_OK; /* connected between our look and now */
        }
    }
    cw_arena_free(arena);
    if (rc == CW_OK) {
        *ret_count = count;
    }
    return rc == CW_OK ? bad : rc;
}
