/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox and its sequencer. Writers insert events without a number, in the transaction that made them true; one node
 * at a time gives committed events the next numbers of their organization, in small transactions with the counter, so that
 * numbers have no gaps and nobody who has read up to n ever finds a smaller one later.
 */
#include "config.h"

#include "model/event.h"

#include "base/time.h"
#include "model/keys.h"
#include "os/sys.h"

#define SEQUENCER_LEASE_US (5 * CW_SECOND_US)
#define SEQUENCE_BATCH_MAX 500u
#define SEQUENCE_ARENA_MAX (1024u * 1024u)

static const struct cw_query q_insert = {
    .name = "event.insert",
    .sql = "INSERT INTO event (id, organization, patient, kind, subject, payload_sealed, key_version, created_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbibbit",
    .columns = "",
};
/* Takes or keeps the duty. The row exists since the first migration. */
static const struct cw_query q_duty = {
    .name = "event.duty",
    .sql = "UPDATE duty SET fence = fence + (lease_owner IS NULL OR lease_owner <> ?), lease_owner = ?, lease_until = ?"
           " WHERE name = 'sequencer' AND (lease_owner = ? OR lease_owner IS NULL OR lease_until < ?)",
    .params = "bbtbt",
    .columns = "",
};
static const struct cw_query q_unnumbered = {
    .name = "event.unnumbered",
    .sql = "SELECT id, organization FROM event WHERE sequence IS NULL ORDER BY id LIMIT ?",
    .params = "i",
    .columns = "bb",
};
static const struct cw_query q_counter_make = {
    .name = "event.counter_make",
    .sql = "INSERT IGNORE INTO event_counter (organization, last_sequence) VALUES (?, 0)",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_counter_lock = {
    .name = "event.counter_lock",
    .sql = "SELECT last_sequence FROM event_counter WHERE organization = ? FOR UPDATE",
    .params = "b",
    .columns = "i",
};
static const struct cw_query q_counter_set = {
    .name = "event.counter_set",
    .sql = "UPDATE event_counter SET last_sequence = ? WHERE organization = ?",
    .params = "ib",
    .columns = "",
};
static const struct cw_query q_number = {
    .name = "event.number",
    .sql = "UPDATE event SET sequence = ? WHERE id = ? AND sequence IS NULL",
    .params = "ib",
    .columns = "",
};

const char *cw_event_name(enum cw_event_kind kind)
{
    switch (kind) {
    case CW_EVENT_SESSION_COMPLETED:
        return "patient_session.completed";
    case CW_EVENT_TOKEN_REFRESH_FAILED:
        return "connection.token_refresh_failed";
    case CW_EVENT_SYNC_COMPLETED:
        return "records.sync.completed";
    case CW_EVENT_SYNC_FAILED:
        return "records.sync.failed";
    case CW_EVENT_CONNECTION_ACTIVATED:
        return "connection.activated";
    case CW_EVENT_CONNECTION_EXPIRED:
        return "connection.expired";
    case CW_EVENT_CONNECTION_RECOVERED:
        return "connection.recovered";
    case CW_EVENT_CONNECTION_EXPIRING:
        return "connection.expiring";
    case CW_EVENT_REFRESH_DELAYED:
        return "connection.refresh_delayed";
    case CW_EVENT_CONNECTION_DISCONNECTED:
        return "connection.disconnected";
    case CW_EVENT_PATIENT_DELETED:
        return "patient.deleted";
    case CW_EVENT__COUNT:
        break;
    }
    cw_bug("an event kind that does not exist");
}

static enum cw_code write_event(struct cw_db *db, struct cw_org_id org, const struct cw_value *patient,
                                const struct cw_data_key *key, const struct cw_value fact[3], struct cw_err *err)
{
    if (!cw_db_in_tx(db)) {
        cw_bug("an event needs the transaction that makes it true");
    }
    struct cw_event_id id = { cw_ulid_new() };
    CW_AUTO_STR sealed;
    cw_str_init(&sealed, fact[2].bytes.len + CW_SEAL_OVERHEAD);
    enum cw_code rc = cw_seal(key, CW_AAD("event.payload", id), fact[2].bytes, &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value values[] = {
        cw_v_id(&id.ulid), cw_v_id(&org.ulid),               *patient,               fact[0],
        fact[1],           cw_v_bytes(cw_str_span(&sealed)), cw_v_int(key->version), cw_v_time(cw_now_us()),
    };
    return cw_db_exec(db, &q_insert, values, NULL, err);
}

enum cw_code cw_event_write(struct cw_db *db, struct cw_org_id org, struct cw_patient_row patient,
                            const struct cw_data_key *key, enum cw_event_kind kind, struct cw_ulid subject,
                            struct cw_span payload, struct cw_err *err)
{
    const struct cw_value about = cw_v_id(&patient.ulid);
    const struct cw_value fact[3] = { cw_v_int(kind), cw_v_id(&subject), cw_v_bytes(payload) };
    return write_event(db, org, &about, key, fact, err);
}

enum cw_code cw_event_write_org(struct cw_db *db, struct cw_org_id org, const struct cw_data_key *key,
                                enum cw_event_kind kind, struct cw_ulid subject, struct cw_span payload,
                                struct cw_err *err)
{
    const struct cw_value nobody = cw_v_null();
    const struct cw_value fact[3] = { cw_v_int(kind), cw_v_id(&subject), cw_v_bytes(payload) };
    return write_event(db, org, &nobody, key, fact, err);
}

/* ---- the sequencer */

struct sequencing {
    const char *owner;
    unsigned limit;
    struct cw_arena *arena;
    unsigned count;
};

/* The events of one organization get the numbers behind its counter. */
static enum cw_code number_organization(struct cw_db *db, const struct cw_rows *events, size_t first,
                                        struct cw_arena *arena, bool *done, struct cw_err *err)
{
    struct cw_ulid organization = cw_value_id(&cw_row(events, first)[1]);
    const struct cw_value *counter = NULL;
    enum cw_code rc = cw_db_exec(db, &q_counter_make, (const struct cw_value[]){ cw_v_id(&organization) }, NULL, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_counter_lock, (const struct cw_value[]){ cw_v_id(&organization) }, arena, &counter, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    int64_t sequence = counter[0].number;
    for (size_t i = first; rc == CW_OK && i < events->count; i++) {
        const struct cw_value *event = cw_row(events, i);
        if (done[i] || !cw_ulid_eq(cw_value_id(&event[1]), organization)) {
            continue;
        }
        done[i] = true;
        uint64_t affected = 0;
        rc = cw_db_exec(db, &q_number, (const struct cw_value[]){ cw_v_int(sequence + 1), event[0] }, &affected, err);
        sequence += affected == 1;
    }
    if (rc == CW_OK) {
        const struct cw_value set[] = { cw_v_int(sequence), cw_v_id(&organization) };
        rc = cw_db_exec(db, &q_counter_set, set, NULL, err);
    }
    return rc;
}

static enum cw_code take_duty(struct cw_db *db, const char *owner, struct cw_err *err)
{
    int64_t now = cw_now_us();
    struct cw_value name = cw_v_bytes(cw_span_cstr(owner));
    const struct cw_value params[] = { name, name, cw_v_time(now + SEQUENCER_LEASE_US), name, cw_v_time(now) };
    uint64_t affected = 0;
    enum cw_code rc = cw_db_exec(db, &q_duty, params, &affected, err);
    return rc == CW_OK && affected == 0 ? cw_err_set(err, CW_E_CONFLICT, "event", "another node numbers the events") : rc;
}

/* The lease is taken in the same transaction as the numbers: whoever lost it cannot commit any. */
static enum cw_code sequence_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct sequencing *s = arg;
    cw_arena_clear(s->arena);
    s->count = 0;
    struct cw_rows events;
    enum cw_code rc = take_duty(db, s->owner, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_unnumbered, (const struct cw_value[]){ cw_v_int(s->limit) }, s->arena, &events, err);
    }
    if (rc != CW_OK || events.count == 0) {
        return rc;
    }
    bool *done = cw_arena_array(s->arena, events.count, sizeof *done);
    if (done == NULL) {
        return cw_err_set(err, CW_E_OOM, "event", "no memory");
    }
    for (size_t i = 0; rc == CW_OK && i < events.count; i++) {
        if (!done[i]) {
            rc = number_organization(db, &events, i, s->arena, done, err);
        }
    }
    s->count = (unsigned)events.count;
    return rc;
}

/* A look without a lock, so that idle nodes do not write the lease five times a second. */
static enum cw_code any_unnumbered(struct cw_model *m, struct cw_arena *arena, bool *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_rows rows = { .count = 0 };
    rc = cw_db_select(db, &q_unnumbered, (const struct cw_value[]){ cw_v_int(1) }, arena, &rows, err);
    cw_db_put(db);
    *ret = rows.count != 0;
    return rc;
}

enum cw_code cw_event_sequence(struct cw_model *m, const char *owner, unsigned limit, unsigned *ret_count,
                               struct cw_err *err)
{
    struct sequencing s = { .owner = owner, .limit = limit < SEQUENCE_BATCH_MAX ? limit : SEQUENCE_BATCH_MAX };
    s.arena = cw_arena_new(SEQUENCE_ARENA_MAX);
    if (s.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "event", "no memory");
    }
    bool any = false;
    enum cw_code rc = any_unnumbered(m, s.arena, &any, err);
    if (rc == CW_OK && any) {
        rc = cw_tx_pool(m->pool, sequence_tx, &s, err);
    }
    cw_arena_free(s.arena);
    if (rc == CW_OK) {
        *ret_count = s.count;
    }
    return rc;
}
