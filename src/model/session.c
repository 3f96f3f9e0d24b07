/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a Session: made, completed, expired. Ending is an UPDATE that only an open row meets, so of two that race
 * one wins and writes the event, and the other finds the end already there.
 */
#include "config.h"

#include "model/session.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/audit.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/session_int.h"
#include "model/wire.h"
#include "os/sys.h"

#define END_ARENA_MAX (8u * 1024u * 1024u)
#define EXPIRE_MAX 500u

static const struct cw_query q_insert = {
    .name = "session.insert",
    .sql = "INSERT INTO patient_session (id, organization, patient, status, secret_hash, secret_sealed, direct_source,"
           " reconnect, recommended, return_url, return_label, metadata_sealed, org_key_version, key_version, expires_at,"
           " created_at) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbbbbbiitt",
    .columns = "",
};
static const struct cw_query q_end = {
    .name = "session.end",
    .sql = "UPDATE patient_session SET status = 2, ended_reason = ?, ended_at = ? WHERE id = ? AND status = 1",
    .params = "itb",
    .columns = "",
};
static const struct cw_query q_due = {
    .name = "session.due",
    .sql = "SELECT s.id, s.organization, s.patient, s.expires_at FROM patient_session AS s"
           " WHERE s.status = 1 AND s.expires_at <= ? AND NOT EXISTS (SELECT 1 FROM attempt AS a"
           " WHERE a.session = s.id AND a.status IN (1, 2) AND a.state_expires_at > ?)"
           " ORDER BY s.expires_at LIMIT ?",
    .params = "tti",
    .columns = "bbbt",
};
/* The attempt is looked for again under the row's lock: one that began in time may have committed since. */
static const struct cw_query q_expire = {
    .name = "session.expire",
    .sql = "UPDATE patient_session AS s SET s.status = 3, s.ended_reason = 3, s.ended_at = ?"
           " WHERE s.id = ? AND s.status = 1 AND NOT EXISTS (SELECT 1 FROM attempt AS a"
           " WHERE a.session = s.id AND a.status IN (1, 2) AND a.state_expires_at > ?)",
    .params = "tbt",
    .columns = "",
};
static const struct cw_query q_lock = {
    .name = "session.lock",
    .sql = "SELECT id FROM patient_session WHERE id = ? FOR UPDATE",
    .params = "b",
    .columns = "b",
};

/* ---- the URL's secret */

enum cw_code session_secret_text(struct cw_span bytes, struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, SESSION_SECRET_TEXT);
    enum cw_code rc = cw_base64url_encode(bytes, &text);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "session", "a secret of the wrong size");
    }
    *ret = cw_arena_span(arena, cw_str_span(&text));
    return ret->ptr != NULL ? CW_OK : cw_err_set(err, CW_E_TOO_BIG, "session", "the arena is full");
}

bool session_secret_hash(struct cw_span text, uint8_t ret[CW_HASH_LEN])
{
    CW_AUTO_STR bytes;
    cw_str_init_secret(&bytes, SESSION_SECRET_BYTES);
    if (text.len != SESSION_SECRET_TEXT || cw_base64url_decode(text, &bytes) != CW_OK || bytes.len != SESSION_SECRET_BYTES) {
        return false;
    }
    cw_sha256(cw_str_span(&bytes), ret);
    return true;
}

/* ---- making one */

struct create {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    const struct cw_session_new *input;
    struct cw_arena *arena;
    struct cw_session *ret;
};

static struct cw_value recommended_value(const struct cw_session_new *input)
{
    _Static_assert(sizeof(struct cw_source_id) == 16, "ids lie one after the other, as the column wants them");
    bool direct = !cw_ulid_is_zero(input->direct_source.ulid);
    return direct ? cw_v_null()
                  : cw_v_bytes(cw_span_of(input->recommended_count == 0 ? (const void *)"" : input->recommended,
                                          input->recommended_count * sizeof(struct cw_source_id)));
}

/* The Session as it will be read back. */
static enum cw_code describe(struct create *c, struct cw_patient_row patient, struct cw_span secret, struct cw_err *err)
{
    int64_t now = cw_now_us() / 1000 * 1000; /* as the column keeps it */
    const struct cw_session_new *input = c->input;
    *c->ret = (struct cw_session){
        .id = { cw_ulid_new() },
        .org = c->org,
        .patient = patient,
        .patient_id = input->patient.patient_id,
        .status = CW_SESSION_OPEN,
        .direct_source = input->direct_source,
        .reconnect = input->reconnect,
        .recommended = input->recommended,
        .recommended_count = input->recommended_count,
        .return_url = input->return_url,
        .return_label = input->return_label,
        .metadata = input->metadata.ptr == NULL ? CW_SPAN("{}") : input->metadata,
        .expires_us = now + input->expires_in_s * CW_SECOND_US,
        .created_us = now,
    };
    return session_secret_text(secret, c->arena, &c->ret->secret, err);
}

static enum cw_code insert(struct create *c, struct cw_db *db, const struct cw_data_key *org_key,
                           const struct cw_data_key *patient_key, struct cw_span secret, struct cw_err *err)
{
    struct cw_session *s = c->ret;
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(secret, hash);
    struct cw_value sealed_secret;
    struct cw_value sealed_metadata;
    enum cw_code rc = cw_cell_seal(org_key, CW_AAD("patient_session.secret", s->id), secret, c->arena, &sealed_secret, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(patient_key, CW_AAD("patient_session.metadata", s->id), c->input->metadata, c->arena,
                          &sealed_metadata, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    bool direct = !cw_ulid_is_zero(s->direct_source.ulid);
    const struct cw_value values[] = {
        cw_v_id(&s->id.ulid),
        cw_v_id(&s->org.ulid),
        cw_v_id(&s->patient.ulid),
        cw_v_bytes(cw_span_of(hash, sizeof hash)),
        sealed_secret,
        direct ? cw_v_id(&s->direct_source.ulid) : cw_v_null(),
        cw_ulid_is_zero(s->reconnect.ulid) ? cw_v_null() : cw_v_id(&s->reconnect.ulid),
        recommended_value(c->input),
        cw_v_bytes(s->return_url),
        cw_v_bytes(s->return_label),
        sealed_metadata,
        cw_v_int(org_key->version),
        cw_v_int(patient_key->version),
        cw_v_time(s->expires_us),
        cw_v_time(s->created_us),
    };
    return cw_db_exec(db, &q_insert, values, NULL, err);
}

static enum cw_code create_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct create *c = arg;
    CW_AUTO_DATA_KEY org_key = { .version = 0 };
    CW_AUTO_DATA_KEY patient_key = { .version = 0 };
    struct cw_patient_row patient;
    uint8_t bytes[SESSION_SECRET_BYTES];
    cw_random(bytes, sizeof bytes);
    struct cw_span secret = cw_span_of(bytes, sizeof bytes);
    enum cw_code rc = cw_org_key_current(c->m, db, c->org, &org_key, err);
    if (rc == CW_OK) {
        rc = cw_patient_upsert(c->m, db, c->org, &c->input->patient, c->arena, &patient, &patient_key, err);
    }
    if (rc == CW_OK) {
        rc = describe(c, patient, secret, err);
    }
    if (rc == CW_OK) {
        rc = insert(c, db, &org_key, &patient_key, secret, err);
    }
    if (rc == CW_OK) {
        const struct cw_audit_row row = { .org = c->org, .action = "session.create", .patient = patient, .object = c->ret->id.ulid };
        rc = cw_audit_write(db, c->actor, &row, err);
    }
    cw_wipe(bytes, sizeof bytes);
    return rc;
}

enum cw_code cw_session_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_session_new *input, struct cw_arena *arena, struct cw_session *ret,
                               struct cw_err *err)
{
    if (input->expires_in_s < CW_SESSION_SECONDS_MIN || input->expires_in_s > CW_SESSION_SECONDS_MAX) {
        return cw_err_set(err, CW_E_RANGE, "session", "expires_in is out of its range");
    }
    if (input->recommended_count > CW_RECOMMENDED_MAX) {
        return cw_err_set(err, CW_E_RANGE, "session", "too many recommended sources");
    }
    struct create create = { .m = m, .actor = actor, .org = org, .input = input, .arena = arena, .ret = ret };
    return cw_tx_pool(m->pool, create_tx, &create, err);
}

/* ---- ending one */

/* The event's object is the Session as the API shows it. */
static enum cw_code write_completed(struct cw_model *m, struct cw_db *db, const struct cw_session *session,
                                    const struct cw_data_key *key, struct cw_err *err)
{
    CW_AUTO_DATA_KEY own = { .version = 0 };
    CW_AUTO_STR payload;
    cw_str_init(&payload, END_ARENA_MAX);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &payload);
    cw_wire_session(&w, session, cw_config_text(m->config, CW_CONF_ORIGIN));
    enum cw_code rc = cw_jsonw_end(&w);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "session", "the event's payload");
    }
    if (key == NULL) {
        rc = cw_patient_key(m, db, session->patient, 0, &own, err);
    }
    if (rc == CW_OK) {
        rc = cw_event_write(db, session->org, session->patient, key == NULL ? &own : key, CW_EVENT_SESSION_COMPLETED,
                            session->id.ulid, cw_str_span(&payload), err);
    }
    return rc;
}

struct complete {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_session_id id;
    enum cw_session_ended how;
    const struct cw_data_key *key; /* the patient's current one; NULL: to be read */
    bool first;
};

static enum cw_code complete_loaded(struct cw_db *db, struct complete *c, struct cw_session *session, struct cw_err *err)
{
    int64_t now = cw_now_us() / 1000 * 1000;
    const struct cw_value params[] = { cw_v_int(c->how), cw_v_time(now), cw_v_id(&session->id.ulid) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(db, &q_end, params, &affected, err);
    if (rc != CW_OK) {
        return rc;
    }
    c->first = affected == 1;
    if (affected == 0) {
        return session->status == CW_SESSION_COMPLETE ? CW_OK : cw_err_set(err, CW_E_STATE, "session", "the Session has expired");
    }
    session->status = CW_SESSION_COMPLETE;
    session->ended = c->how;
    session->ended_us = now;
    rc = write_completed(c->m, db, session, c->key, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row row = { .org = session->org, .action = "session.complete", .patient = session->patient,
                                      .object = session->id.ulid, .detail = cw_session_ended_name(c->how) };
    return cw_audit_write(db, c->actor, &row, err);
}

/* Locks the row before it is read, so that what the event says is what the commit makes true. */
static enum cw_code lock_and_load(struct cw_model *m, struct cw_db *db, struct cw_session_id id, struct cw_arena *arena,
                                  struct cw_session *ret, struct cw_err *err)
{
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_lock, (const struct cw_value[]){ cw_v_id(&id.ulid) }, arena, &row, err);
    return rc == CW_OK ? session_load(m, db, id, arena, ret, err) : rc;
}

static enum cw_code complete_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct complete *c = arg;
    struct cw_session session;
    struct cw_arena *arena = cw_arena_new(END_ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "session", "no memory");
    }
    enum cw_code rc = lock_and_load(c->m, db, c->id, arena, &session, err);
    if (rc == CW_OK && session.status == CW_SESSION_EXPIRED) {
        rc = cw_err_set(err, CW_E_STATE, "session", "the Session has expired");
    }
    if (rc == CW_OK) {
        rc = complete_loaded(db, c, &session, err);
    }
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_session_complete(struct cw_model *m, const struct cw_actor *actor, struct cw_session_id id,
                                 enum cw_session_ended how, bool *ret_first, struct cw_err *err)
{
    struct complete c = { .m = m, .actor = actor, .id = id, .how = how };
    enum cw_code rc = cw_tx_pool(m->pool, complete_tx, &c, err);
    if (rc == CW_OK) {
        *ret_first = c.first;
    }
    return rc;
}

enum cw_code session_return(struct cw_model *m, struct cw_db *db, const struct cw_actor *actor, struct cw_session_id id,
                            const struct cw_data_key *key, struct cw_err *err)
{
    if (!cw_db_in_tx(db)) {
        cw_bug("session_return needs a transaction");
    }
    struct cw_arena *arena = cw_arena_new(END_ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "session", "no memory");
    }
    struct complete c = { .m = m, .actor = actor, .id = id, .how = CW_ENDED_RETURNED, .key = key };
    struct cw_session session;
    enum cw_code rc = session_load(m, db, id, arena, &session, err);
    if (rc == CW_OK) {
        rc = complete_loaded(db, &c, &session, err);
    }
    cw_arena_free(arena);
    return rc == CW_E_STATE ? CW_OK : rc;
}

/* ---- the janitor */

struct expire {
    const struct cw_actor *actor;
    unsigned limit;
    struct cw_arena *arena;
    unsigned count;
};

static enum cw_code expire_one(struct cw_db *db, struct expire *e, const struct cw_value *due, struct cw_err *err)
{
    const struct cw_value params[] = { due[3], due[0], cw_v_time(cw_now_us()) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(db, &q_expire, params, &affected, err);
    if (rc != CW_OK || affected == 0) {
        return rc; /* completed meanwhile, or another janitor was first */
    }
    e->count++;
    const struct cw_audit_row row = { .org = { cw_value_id(&due[1]) }, .action = "session.expire",
                                      .patient = { cw_value_id(&due[2]) }, .object = cw_value_id(&due[0]) };
    return cw_audit_write(db, e->actor, &row, err);
}

static enum cw_code expire_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct expire *e = arg;
    cw_arena_clear(e->arena);
    e->count = 0;
    struct cw_value now = cw_v_time(cw_now_us());
    struct cw_rows due;
    enum cw_code rc = cw_db_select(db, &q_due, (const struct cw_value[]){ now, now, cw_v_int(e->limit) }, e->arena, &due, err);
    for (size_t i = 0; rc == CW_OK && i < due.count; i++) {
        rc = expire_one(db, e, cw_row(&due, i), err);
    }
    return rc;
}

enum cw_code cw_session_expire_due(struct cw_model *m, const struct cw_actor *actor, unsigned limit,
                                   unsigned *ret_count, struct cw_err *err)
{
    struct expire e = { .actor = actor, .limit = limit < EXPIRE_MAX ? limit : EXPIRE_MAX };
    e.arena = cw_arena_new(EXPIRE_MAX * 1024u);
    if (e.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "session", "no memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, expire_tx, &e, err);
    cw_arena_free(e.arena);
    if (rc == CW_OK) {
        *ret_count = e.count;
    }
    return rc;
}
