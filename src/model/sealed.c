/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row of the table a sealed column. Its query gives, in the order of the primary key: row id, patient, organization (the
 * owner of the key is the first of them that is not NULL, or the installation), key version, the cell, and an ordinal where
 * one row id has several cells.
 */
#include "config.h"
#include "model/sealed.h"

#include "model/keys.h"
#include "os/sys.h"

#define BATCH 500
#define NOBODY "NULL"
#define ONE_CELL "0 + 0" /* a bare 0 behind ORDER BY would be a column's position */

enum { S_ROW, S_PATIENT, S_ORG, S_VERSION, S_CELL, S_ORDINAL };

#define CELL(table_, name_, column_, id_, patient_, org_, version_, join_, ordinal_)                                            \
    {                                                                                                                  \
        .cell = table_ "." name_, .table = table_, .column = column_,                                          \
        .next = {                                                                                                      \
            .name = "sealed." table_ "_" name_,                                                                        \
            .sql = "SELECT STRAIGHT_JOIN t." id_ ", " patient_ ", " org_ ", " version_ ", t." column_ ", "        \
                   ordinal_ " FROM " table_ " AS t " join_ " WHERE t." column_ " IS NOT NULL AND t." id_ " >= ?"  \
                   " AND (t." id_ " > ? OR " ordinal_ " > ?) ORDER BY t." id_ ", " ordinal_ " LIMIT ?",                \
            .params = "bbii",                                                                                          \
            .columns = "bbbibi",                                                                                       \
        },                                                                                                             \
    }
#define SEALED(table_, name_, id_, patient_, org_, version_, join_, ordinal_)                                            \
    CELL(table_, name_, name_ "_sealed", id_, patient_, org_, version_, join_, ordinal_)
/* The row names its patient itself. */
#define OF_PATIENT(table_, name_) SEALED(table_, name_, "id", "t.patient", NOBODY, "t.key_version", "", ONE_CELL)

const struct cw_sealed_column cw_sealed_columns[] = {
    SEALED("client_registration", "secret", "id", NOBODY, NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("signing_key", "private", "id", NOBODY, NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("patient", "name", "id", "t.id", NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("patient", "email", "id", "t.id", NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("patient", "metadata", "id", "t.id", NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("patient_session", "secret", "id", NOBODY, "t.organization", "t.org_key_version", "", ONE_CELL),
    OF_PATIENT("patient_session", "metadata"),
    OF_PATIENT("attempt", "failure"),
    OF_PATIENT("attempt", "verifier"),
    OF_PATIENT("attempt", "nonce"),
    OF_PATIENT("connection", "upstream"),
    SEALED("token_grant", "access", "connection", "c.patient", NOBODY, "t.key_version",
           "JOIN connection AS c ON c.id = t.connection", ONE_CELL),
    SEALED("token_grant", "refresh", "connection", "c.patient", NOBODY, "t.key_version",
           "JOIN connection AS c ON c.id = t.connection", ONE_CELL),
    OF_PATIENT("pull", "receipt"),
    SEALED("pull_task", "url", "id", "u.patient", NOBODY, "t.key_version", "JOIN pull AS u ON u.id = t.pull", ONE_CELL),
    SEALED("pull_task", "next", "id", "u.patient", NOBODY, "t.key_version", "JOIN pull AS u ON u.id = t.pull", ONE_CELL),
    OF_PATIENT("record", "body"),
    SEALED("document_chunk", "body", "document", "d.patient", NOBODY, "d.key_version",
           "JOIN document AS d ON d.id = t.document", "t.ordinal"),
    SEALED("event", "payload", "id", "t.patient", "t.organization", "t.key_version", "", ONE_CELL),
    SEALED("dynamic_client", "private", "connection", "t.patient", NOBODY, "t.key_version", "", ONE_CELL),
    CELL("exchange", "sealed", "sealed", "object", "t.patient", NOBODY, "t.key_version", "", ONE_CELL),
    SEALED("revocation", "refresh", "id", NOBODY, "t.organization", "t.key_version", "", ONE_CELL),
    SEALED("revocation", "access", "id", NOBODY, "t.organization", "t.key_version", "", ONE_CELL),
};
const size_t cw_sealed_column_count = CW_ARRAY_LEN(cw_sealed_columns);

/* One walk over one column. Keys come over a connection of their own: the other one is busy with the rows. */
struct walking {
    struct cw_model *m;
    struct cw_db *keys;
    struct cw_sealed_walk *walk;
    const struct cw_sealed_column *column;
    struct cw_ulid row;
    int64_t ordinal;
    struct cw_ulid start;
    bool wrapped, over;
    uint64_t seen;
    struct cw_data_key key;
    struct cw_ulid owner;   /* of the key; rows of one owner often follow each other */
    bool has_key;
};

static enum cw_code key_of(struct walking *w, const struct cw_value *row, struct cw_err *err)
{
    uint32_t version = (uint32_t)row[S_VERSION].number;
    bool patient = row[S_PATIENT].kind != CW_V_NULL;
    struct cw_ulid owner = patient                              ? cw_value_id(&row[S_PATIENT])
                           : row[S_ORG].kind != CW_V_NULL ? cw_value_id(&row[S_ORG])
                                                                : cw_installation().ulid;
    if (w->has_key && cw_ulid_eq(w->owner, owner) && w->key.version == version) {
        return CW_OK;
    }
    w->has_key = false;
    enum cw_code rc = patient ? cw_patient_key(w->m, w->keys, (struct cw_patient_row){ owner }, version, &w->key, err)
                              : cw_org_key_version(w->m, w->keys, (struct cw_org_id){ owner }, version, &w->key, err);
    w->owner = owner;
    w->has_key = rc == CW_OK;
    return rc;
}

static enum cw_code open_cell(struct walking *w, const struct cw_value *row, struct cw_err *err)
{
    enum cw_code rc = key_of(w, row, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, row[S_CELL].bytes.len);
    struct cw_aad aad = { .cell = w->column->cell, .row = w->row };
    return cw_unseal(&w->key, aad, row[S_CELL].bytes, &plain, err);
}

static enum cw_code each_cell(void *arg, const struct cw_value *row, struct cw_err *err)
{
    struct walking *w = arg;
    w->row = cw_value_id(&row[S_ROW]);
    w->over |= w->walk->most != 0 && w->wrapped && memcmp(w->row.bytes, w->start.bytes, sizeof w->row.bytes) >= 0;
    if (w->over) {
        return CW_OK;
    }
    w->ordinal = row[S_ORDINAL].number;
    w->seen++;
    enum cw_code rc = open_cell(w, row, err);
    if (rc == CW_E_NOT_FOUND && row[S_PATIENT].kind != CW_V_NULL) {
        w->walk->shredded++;
        return CW_OK;
    }
    if (rc == CW_E_AUTH || rc == CW_E_CONFIG || rc == CW_E_NOT_FOUND) {
        w->walk->faults++;
        if (w->walk->fault != NULL) {
            w->walk->fault(w->walk->arg, w->column, w->row, rc);
        }
        return CW_OK;
    }
    w->walk->good += rc == CW_OK;
    return rc;
}

/* Ids begin with their time: other low bytes of it are another moment of these months. */
static struct cw_ulid random_place(void)
{
    struct cw_ulid place = cw_ulid_new();
    cw_random(place.bytes + 2, 4);
    return place;
}

/* A sample begins anywhere and goes on from the first row when it meets the end, up to where it began. */
static enum cw_code walk_column(struct walking *w, struct cw_db *db, struct cw_err *err)
{
    uint64_t most = w->walk->most;
    w->row = most == 0 ? (struct cw_ulid){ { 0 } } : random_place();
    w->ordinal = -1;
    w->start = w->row;
    w->wrapped = most == 0;
    w->over = false;
    for (uint64_t total = 0;;) {
        uint64_t room = most == 0 || most - total > BATCH ? BATCH : most - total;
        const struct cw_value from[] = { cw_v_id(&w->row), cw_v_id(&w->row), cw_v_int(w->ordinal), cw_v_int((int64_t)room) };
        w->seen = 0;
        enum cw_code rc = cw_db_each(db, &w->column->next, from, each_cell, w, err);
        total += w->seen;
        if (rc != CW_OK || w->over || (most != 0 && total >= most) || (w->seen < room && w->wrapped)) {
            return rc;
        }
        if (w->seen < room) {
            w->wrapped = true;
            w->row = (struct cw_ulid){ { 0 } };
            w->ordinal = -1;
        }
    }
}

enum cw_code cw_sealed_verify(struct cw_model *m, struct cw_sealed_walk *walk, struct cw_err *err)
{
    struct walking w = { .m = m, .walk = walk };
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &w.keys, err);
    }
    for (size_t i = 0; rc == CW_OK && i < cw_sealed_column_count; i++) {
        w.column = &cw_sealed_columns[i];
        rc = walk_column(&w, db, err);
    }
    cw_db_put(w.keys);
    cw_db_put(db);
    cw_data_key_wipe(&w.key);
    return rc;
}
