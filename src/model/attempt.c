/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts: the start, the atomic consumption of a state, and the two ends. Each is one transaction; the order of locks is always
 * Session, attempt, connection, so that two tabs of one patient wait for each other instead of dying together.
 */
#include "config.h"
#include "model/attempt.h"

#include "base/limits.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/keys.h"
#include "model/session_int.h"
#include "os/sys.h"

static const struct cw_query q_session_lock = {
    .name = "attempt.session_lock",
    .sql = "SELECT s.status, s.expires_at, s.organization, s.patient, s.direct_source, o.name FROM patient_session s"
           " JOIN organization o ON o.id = s.organization WHERE s.id = ? FOR UPDATE",
    .params = "b",
    .columns = "itbbbb",
};
static const struct cw_query q_in_flight = {
    .name = "attempt.in_flight",
    .sql = "SELECT COUNT(*) FROM attempt WHERE session = ? AND status <= 2 AND state_expires_at > ?",
    .params = "bt",
    .columns = "i",
};
static const struct cw_query q_source_name = {
    .name = "attempt.source_name",
    .sql = "SELECT name FROM source WHERE id = ?",
    .params = "b",
    .columns = "b",
};
static const struct cw_query q_insert = {
    .name = "attempt.insert",
    .sql = "INSERT INTO attempt (id, session, organization, patient, source, endpoint, registration, connection, status,"
           " failure_code, state_hash, state_expires_at, browser_hash, verifier_sealed, nonce_sealed, redirect_uri,"
           " scopes_asked, pinned, key_version, language, started_at, ended_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbbibbtbbbbbbibtt",
    .columns = "",
};
static const struct cw_query q_consent = {
    .name = "attempt.consent",
    .sql = "INSERT INTO consent_receipt (attempt, patient, text_version, language, organization_name, source_name,"
           " scopes, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbt",
    .columns = "",
};

#define COLUMNS \
    "SELECT a.id, a.session, a.organization, a.patient, a.source, a.endpoint, a.registration, a.connection, a.status," \
    " a.failure_code, a.redirect_uri, a.scopes_asked, a.scopes_granted, a.pinned, a.language, a.state_expires_at," \
    " a.started_at, a.ended_at, s.direct_source, s.return_url"
#define JOINS " FROM attempt a JOIN patient_session s ON s.id = a.session "
#define KINDS "bbbbbbbbi" "bbbbbbt" "ttbb"

/* With what opens the secrets: a patient who is being deleted has no key any more, and then there is no such attempt. */
enum { C_PATIENT_ID = 20, C_BROWSER, C_VERIFIER, C_NONCE, C_KEY, C__COUNT = C_KEY + 3 };
static const struct cw_query q_by_state = {
    .name = "attempt.by_state",
    .sql = COLUMNS ", p.patient_id, a.browser_hash, a.verifier_sealed, a.nonce_sealed, k.version, k.wrapped, k.master_key_id" JOINS
           "JOIN patient p ON p.id = a.patient JOIN patient_key k ON k.patient = a.patient AND k.version = a.key_version WHERE a.state_hash = ?",
    .params = "b",
    .columns = KINDS "bbbb" "ibb",
};
_Static_assert(sizeof KINDS "bbbb" "ibb" - 1 == C__COUNT, "a kind for each column");
static const struct cw_query q_of_session = {
    .name = "attempt.of_session",
    .sql = COLUMNS ", src.name" JOINS "LEFT JOIN source src ON src.id = a.source WHERE a.id = ? AND a.session = ?",
    .params = "bb",
    .columns = KINDS "b",
};
/* The one step that uses a state up: of two that bring it one meets status 1. The verifier leaves the row with it. */
static const struct cw_query q_consume = {
    .name = "attempt.consume",
    .sql = "UPDATE attempt SET status = 2, verifier_sealed = NULL, nonce_sealed = NULL WHERE id = ? AND status = 1",
    .params = "b",
    .columns = "",
};

/* ---------------------------------------------------------------------------------------------- the start */

struct starting {
    struct cw_model *m;
    const struct cw_actor *actor;
    const struct cw_attempt_new *in;
    struct cw_arena *arena;
    struct cw_attempt_id id;
    struct cw_connection_id connection;
    struct cw_org_id org;
    struct cw_patient_row patient;
    bool direct;
    struct cw_span org_name, source_name;
    struct cw_data_key key;
};

static enum cw_code check_session(struct starting *start, struct cw_db *db, int64_t now_us, struct cw_err *err)
{
    struct cw_value id[] = { cw_v_id(&start->in->session.ulid) };
    struct cw_value flight[] = { cw_v_id(&start->in->session.ulid), cw_v_time(now_us) };
    const struct cw_value *session, *count;
    enum cw_code rc = cw_db_one(db, &q_session_lock, id, start->arena, &session, err);
    if (rc == CW_OK && (session[0].number != CW_SESSION_OPEN || session[1].number <= now_us)) {
        rc = cw_err_set(err, CW_E_STATE, "attempt.start", "the Session is not open any more");
    }
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_in_flight, flight, start->arena, &count, err);
    }
    if (rc == CW_OK && count[0].number >= CW_SESSION_OPEN_ATTEMPTS_MAX) {
        rc = cw_err_set(err, CW_E_LIMITED, "attempt.start", "too many attempts in flight");
    }
    if (rc == CW_OK) {
        start->org.ulid = cw_value_id(&session[2]);
        start->patient.ulid = cw_value_id(&session[3]);
        start->direct = session[4].kind != CW_V_NULL;
        start->org_name = session[5].bytes;
    }
    return rc;
}

static bool is_zero_hash(const uint8_t hash[CW_HASH_LEN])
{
    static const uint8_t zero[CW_HASH_LEN];
    return memcmp(hash, zero, CW_HASH_LEN) == 0;
}

static enum cw_code write_attempt(struct starting *start, struct cw_db *db, int64_t now_us, struct cw_err *err)
{
    const struct cw_attempt_new *in = start->in;
    bool failed = in->failure_code != NULL;
    uint8_t browser[CW_HASH_LEN];
    cw_sha256(in->browser, browser);
    struct cw_value verifier, nonce;
    enum cw_code rc = cw_cell_seal(&start->key, CW_AAD("attempt.verifier", start->id),
                                   failed ? (struct cw_span){ NULL, 0 } : in->verifier, start->arena, &verifier, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(&start->key, CW_AAD("attempt.nonce", start->id),
                          failed ? (struct cw_span){ NULL, 0 } : in->nonce, start->arena, &nonce, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span hash = cw_span_of(in->state_hash, CW_HASH_LEN);
    struct cw_value params[] = {
        cw_v_id(&start->id.ulid),
        cw_v_id(&in->session.ulid),
        cw_v_id(&start->org.ulid),
        cw_v_id(&start->patient.ulid),
        cw_v_id(&in->source.ulid),
        cw_v_id(&in->endpoint.ulid),
        cw_ulid_is_zero(in->registration.ulid) ? cw_v_null() : cw_v_id(&in->registration.ulid),
        cw_v_id(&start->connection.ulid),
        cw_v_int(failed ? CW_ATTEMPT_FAILED : CW_ATTEMPT_STARTED),
        cw_v_bytes(cw_span_cstr(in->failure_code)),
        is_zero_hash(in->state_hash) ? cw_v_null() : cw_v_bytes(hash),
        cw_v_time(failed ? now_us : in->state_expires_us),
        cw_v_bytes(cw_span_of(browser, CW_HASH_LEN)),
        verifier,
        nonce,
        cw_v_bytes(in->redirect_uri),
        cw_v_bytes(in->scopes_asked),
        cw_v_bytes(in->pinned),
        cw_v_int(start->key.version),
        cw_v_bytes(in->language.ptr == NULL ? CW_SPAN("en") : in->language),
        cw_v_time(now_us),
        failed ? cw_v_time(now_us) : cw_v_null(),
    };
    return cw_db_exec(db, &q_insert, params, NULL, err);
}

static enum cw_code write_consent(struct starting *start, struct cw_db *db, int64_t now_us, struct cw_err *err)
{
    const struct cw_attempt_new *in = start->in;
    struct cw_value params[] = {
        cw_v_id(&start->id.ulid),
        cw_v_id(&start->patient.ulid),
        cw_v_bytes(in->consent_version.ptr == NULL ? CW_SPAN("none") : in->consent_version),
        cw_v_bytes(in->language.ptr == NULL ? CW_SPAN("en") : in->language),
        cw_v_bytes(start->org_name),
        cw_v_bytes(start->source_name),
        cw_v_bytes(in->scopes_asked.ptr == NULL ? CW_SPAN("") : in->scopes_asked),
        cw_v_time(now_us),
    };
    return cw_db_exec(db, &q_consent, params, NULL, err);
}

static enum cw_code write_start(struct starting *start, struct cw_db *db, int64_t now_us, struct cw_err *err)
{
    const struct cw_attempt_new *in = start->in;
    struct cw_value source[] = { cw_v_id(&in->source.ulid) };
    const struct cw_value *row;
    enum cw_code rc = cw_db_one(db, &q_source_name, source, start->arena, &row, err);
    if (rc == CW_OK) {
        start->source_name = row[0].bytes;
        rc = cw_patient_key(start->m, db, start->patient, 0, &start->key, err);
    }
    if (rc == CW_OK) {
        rc = write_attempt(start, db, now_us, err);
    }
    if (rc == CW_OK) {
        rc = write_consent(start, db, now_us, err);
    }
    if (rc == CW_OK) {
        struct cw_audit_row audit = { .org = start->org,
                                      .action = in->failure_code == NULL ? "attempt.start" : "attempt.fail",
                                      .patient = start->patient,
                                      .object = start->id.ulid,
                                      .detail = in->failure_code };
        rc = cw_audit_write(db, start->actor, &audit, err);
    }
    if (rc == CW_OK && in->failure_code != NULL && start->direct) {
        rc = session_return(start->m, db, start->actor, in->session, NULL, err);
    }
    return rc;
}

static enum cw_code start_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct starting *start = arg;
    cw_arena_clear(start->arena);
    start->id.ulid = cw_ulid_new();
    start->connection.ulid = cw_ulid_new();
    int64_t now_us = cw_now_us();
    enum cw_code rc = check_session(start, db, now_us, err);
    return rc == CW_OK ? write_start(start, db, now_us, err) : rc;
}

enum cw_code cw_attempt_start(struct cw_model *m, const struct cw_actor *actor, const struct cw_attempt_new *input,
                              struct cw_attempt_id *ret, struct cw_err *err)
{
    struct starting start = { .m = m, .actor = actor, .in = input };
    if (input->failure_code != NULL) {
        (void)cw_failure_known(input->failure_code, CW_FAILS_ATTEMPT);
    }
    start.arena = cw_arena_new((size_t)1024 * 1024);
    if (start.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "attempt.start", "out of memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, start_tx, &start, err);
    cw_data_key_wipe(&start.key);
    cw_arena_free(start.arena);
    if (rc == CW_OK) {
        *ret = start.id;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- reading */

static struct cw_ulid optional_id(const struct cw_value *cell)
{
    return cell->kind == CW_V_NULL ? (struct cw_ulid){ { 0 } } : cw_value_id(cell);
}

static void of_row(const struct cw_value *row, struct cw_attempt *ret)
{
    *ret = (struct cw_attempt){
        .id = { cw_value_id(&row[0]) },
        .session = { cw_value_id(&row[1]) },
        .org = { cw_value_id(&row[2]) },
        .patient = { cw_value_id(&row[3]) },
        .source = { cw_value_id(&row[4]) },
        .endpoint = { cw_value_id(&row[5]) },
        .registration = { optional_id(&row[6]) },
        .connection = { cw_value_id(&row[7]) },
        .status = (enum cw_attempt_status)row[8].number,
        .failure_code = row[9].bytes,
        .redirect_uri = row[10].bytes,
        .scopes_asked = row[11].bytes,
        .scopes_granted = row[12].bytes,
        .pinned = row[13].bytes,
        .language = row[14].bytes,
        .state_expires_us = row[15].number,
        .started_us = row[16].number,
        .ended_us = row[17].number,
        .direct_source = { optional_id(&row[18]) },
        .return_url = row[19].bytes,
    };
}

enum cw_code cw_attempt_get(struct cw_model *m, struct cw_session_id session, struct cw_attempt_id id,
                            struct cw_arena *arena, struct cw_attempt *ret, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&id.ulid), cw_v_id(&session.ulid) };
    struct cw_db *db;
    const struct cw_value *row;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_of_session, params, arena, &row, err);
        cw_db_put(db);
    }
    if (rc == CW_OK) {
        of_row(row, ret);
        ret->source_name = row[sizeof KINDS - 1].bytes;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- consuming */

static enum cw_code may_consume(const struct cw_attempt_return *answer, const struct cw_value *row, struct cw_err *err)
{
    uint8_t browser[CW_HASH_LEN];
    cw_sha256(answer->browser, browser);
    /* The cookie first: a stranger learns nothing about the state of the attempt. */
    if (answer->browser.ptr == NULL || !cw_secret_eq(row[C_BROWSER].bytes, cw_span_of(browser, CW_HASH_LEN))) {
        return cw_err_set(err, CW_E_DENIED, "attempt.consume", "another browser started this attempt");
    }
    if (row[8].number != CW_ATTEMPT_STARTED) {
        return cw_err_set(err, CW_E_STATE, "attempt.consume", "the state was used already");
    }
    if (row[15].number <= cw_now_us()) {
        return cw_err_set(err, CW_E_EXPIRED, "attempt.consume", "the state has expired");
    }
    return CW_OK;
}

static enum cw_code open_secrets(struct cw_model *m, const struct cw_value *row, struct cw_arena *arena,
                                 struct cw_attempt *attempt, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_key_open(m, attempt->patient.ulid, &row[C_KEY], &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("attempt.verifier", attempt->id), &row[C_VERIFIER], arena, &attempt->verifier, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("attempt.nonce", attempt->id), &row[C_NONCE], arena, &attempt->nonce, err);
    }
    return rc;
}

static enum cw_code use_up(struct cw_model *m, struct cw_attempt_id id, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&id.ulid) };
    uint64_t met = 0;
    enum cw_code rc = cw_tx_single(m->pool, &q_consume, params, &met, err);
    return rc == CW_OK && met == 0 ? cw_err_set(err, CW_E_STATE, "attempt.consume", "the state was used meanwhile") : rc;
}

enum cw_code cw_attempt_consume(struct cw_model *m, const struct cw_attempt_return *answer, struct cw_arena *arena,
                                struct cw_attempt *ret, struct cw_err *err)
{
    const struct cw_value state[] = { cw_v_bytes(cw_span_of(answer->state_hash, CW_HASH_LEN)) };
    const struct cw_value *row;
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_by_state, state, arena, &row, err);
        cw_db_put(db);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_attempt attempt;
    of_row(row, &attempt);
    attempt.patient_id = row[C_PATIENT_ID].bytes;
    if (!cw_span_eq(attempt.redirect_uri, answer->redirect_uri)) {
        return cw_err_set(err, CW_E_NOT_FOUND, "attempt.consume", "the state came to the path of another registration");
    }
    *ret = attempt;
    rc = may_consume(answer, row, err);
    if (rc == CW_OK) {
        rc = open_secrets(m, row, arena, &attempt, err);
    }
    if (rc == CW_OK) {
        rc = use_up(m, attempt.id, err);
    }
    if (rc == CW_OK) {
        attempt.status = CW_ATTEMPT_EXCHANGING;
        *ret = attempt;
    }
    return rc;
}
