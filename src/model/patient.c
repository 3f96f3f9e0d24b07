/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patients. A patient's key is made in the transaction that makes the row, so that neither is ever without the other;
 * all sealed columns of a row are under the version that its key_version names.
 */
#include "config.h"

#include "model/patient.h"

#include "base/limits.h"
#include "base/text.h"
#include "model/audit.h"
#include "model/keys.h"
#include "os/sys.h"

#define COLUMNS \
    "SELECT p.id, p.organization, p.patient_id, p.name_sealed, p.email_sealed, p.metadata_sealed," \
    " p.created_at, p.updated_at, k.version, k.wrapped, k.master_key_id" \
    " FROM patient AS p JOIN patient_key AS k ON k.patient = p.id AND k.version = p.key_version"
#define COLUMN_KINDS "bbbbbbttibb"
enum { C_ID, C_ORG, C_PATIENT_ID, C_NAME, C_EMAIL, C_METADATA, C_CREATED, C_UPDATED, C_KEY };

static const struct cw_query q_get = {
    .name = "patient.get",
    .sql = COLUMNS " WHERE p.organization = ? AND p.patient_id = ?",
    .params = "bb",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_lock = {
    .name = "patient.lock",
    .sql = COLUMNS " WHERE p.organization = ? AND p.patient_id = ? FOR UPDATE",
    .params = "bb",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list = {
    .name = "patient.list",
    .sql = COLUMNS " WHERE p.organization = ? AND p.id > ? ORDER BY p.id LIMIT ?",
    .params = "bbi",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list_email = {
    .name = "patient.list_email",
    .sql = COLUMNS " WHERE p.organization = ? AND p.email_index = ? AND p.id > ? ORDER BY p.id LIMIT ?",
    .params = "bbbi",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list_id = {
    .name = "patient.list_id",
    .sql = COLUMNS " WHERE p.organization = ? AND p.patient_id = ? AND p.id > ?"
                   " AND (? IS NULL OR p.email_index = ?) LIMIT 1",
    .params = "bbbbb",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_insert = {
    .name = "patient.insert",
    .sql = "INSERT INTO patient (id, organization, patient_id, name_sealed, email_sealed, email_index, metadata_sealed,"
           " key_version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbitt",
    .columns = "",
};
static const struct cw_query q_replace = {
    .name = "patient.replace",
    .sql = "UPDATE patient SET name_sealed = ?, email_sealed = ?, email_index = ?, metadata_sealed = ?, updated_at = ?"
           " WHERE id = ?",
    .params = "bbbbtb",
    .columns = "",
};

/* ---- checks */

static const char *const PREFIXES[] = { CW_PREFIX_ORGANIZATION, CW_PREFIX_API_KEY, CW_PREFIX_SESSION, CW_PREFIX_CONNECTION,
                                        CW_PREFIX_SOURCE, CW_PREFIX_ENDPOINT, CW_PREFIX_REGISTRATION, CW_PREFIX_ATTEMPT,
                                        CW_PREFIX_PULL, CW_PREFIX_FACT, CW_PREFIX_EVENT, CW_PREFIX_WEBHOOK };

enum cw_code cw_patient_id_check(struct cw_span patient_id, struct cw_err *err)
{
    if (!cw_utf8_valid(patient_id)) {
        return cw_err_set(err, CW_E_RANGE, "patient", "patient_id is not UTF-8");
    }
    size_t characters = cw_utf8_length(patient_id);
    if (characters == 0 || characters > CW_PATIENT_ID_CHARS_MAX) {
        return cw_err_set(err, CW_E_RANGE, "patient", "patient_id must have 1 to %u characters", CW_PATIENT_ID_CHARS_MAX);
    }
    if (cw_utf8_has_control(patient_id)) {
        return cw_err_set(err, CW_E_RANGE, "patient", "patient_id must not hold control characters");
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(PREFIXES); i++) {
        if (cw_span_starts(patient_id, cw_span_cstr(PREFIXES[i]))) {
            return cw_err_set(err, CW_E_RANGE, "patient", "patient_id must not start with %s, which marks an id of ours",
                              PREFIXES[i]);
        }
    }
    return CW_OK;
}

/* ---- sealed columns */

/* What a row of patient holds beside its ids, sealed. */
struct sealed {
    struct cw_value name, email, email_index, metadata;
    uint8_t index[CW_HASH_LEN];
};

/* HMAC(search key, organization + lower-cased NFC), so that look-up by e-mail needs no clear text. */
static enum cw_code email_index(struct cw_model *m, struct cw_org_id org, struct cw_span email, uint8_t out[CW_HASH_LEN],
                                struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, sizeof org.ulid.bytes + 4 * CW_EMAIL_MAX);
    cw_str_add(&text, org.ulid.bytes, sizeof org.ulid.bytes);
    enum cw_code rc = cw_text_lower_nfc(email, &text);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "patient", "the e-mail address cannot be normalised");
    }
    cw_vault_hmac(m->vault, CW_PURPOSE_SEARCH, cw_str_span(&text), out);
    return CW_OK;
}

static bool is_empty_object(struct cw_span metadata)
{
    return metadata.ptr == NULL || cw_span_eq(cw_span_trim(metadata), CW_SPAN("{}"));
}

static enum cw_code seal_columns(struct cw_model *m, const struct cw_data_key *key, const struct cw_patient *patient,
                                 struct cw_arena *arena, struct sealed *ret, struct cw_err *err)
{
    struct cw_span metadata = is_empty_object(patient->metadata) ? cw_span_of(NULL, 0) : patient->metadata;
    enum cw_code rc = cw_cell_seal(key, CW_AAD("patient.name", patient->row), patient->name, arena, &ret->name, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(key, CW_AAD("patient.email", patient->row), patient->email, arena, &ret->email, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(key, CW_AAD("patient.metadata", patient->row), metadata, arena, &ret->metadata, err);
    }
    ret->email_index = cw_v_null();
    if (rc == CW_OK && patient->email.ptr != NULL) {
        rc = email_index(m, patient->org, patient->email, ret->index, err);
        ret->email_index = cw_v_bytes(cw_span_of(ret->index, sizeof ret->index));
    }
    return rc;
}

static enum cw_code read_row(struct cw_model *m, const struct cw_value *row, struct cw_arena *arena,
                             struct cw_patient *ret, struct cw_data_key *ret_key, struct cw_err *err)
{
    *ret = (struct cw_patient){
        .row = { cw_value_id(&row[C_ID]) },
        .org = { cw_value_id(&row[C_ORG]) },
        .patient_id = row[C_PATIENT_ID].bytes,
        .created_us = row[C_CREATED].number,
        .updated_us = row[C_UPDATED].number,
    };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_key_open(m, ret->row.ulid, &row[C_KEY], &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("patient.name", ret->row), &row[C_NAME], arena, &ret->name, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("patient.email", ret->row), &row[C_EMAIL], arena, &ret->email, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("patient.metadata", ret->row), &row[C_METADATA], arena, &ret->metadata, err);
    }
    if (rc == CW_OK && ret->metadata.ptr == NULL) {
        ret->metadata = CW_SPAN("{}");
    }
    if (rc == CW_OK && ret_key != NULL) {
        *ret_key = key;
    }
    return rc;
}

static enum cw_code find(struct cw_model *m, struct cw_db *db, const struct cw_query *query, struct cw_org_id org,
                         struct cw_span patient_id, struct cw_arena *arena, struct cw_patient *ret,
                         struct cw_data_key *ret_key, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_bytes(patient_id) };
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, query, params, arena, &row, err);
    return rc == CW_OK ? read_row(m, row, arena, ret, ret_key, err) : rc;
}

/* ---- writing */

/* Key and row of a new patient. CW_E_CONFLICT when the id is taken: the caller's transaction must not commit then, or a
 * key would stay behind without a patient. */
static enum cw_code insert(struct cw_model *m, struct cw_db *db, struct cw_org_id org, const struct cw_patient *wanted,
                           struct cw_arena *arena, struct cw_patient *ret, struct cw_data_key *ret_key, struct cw_err *err)
{
    int64_t now = cw_now_us() / 1000 * 1000; /* as the column keeps it */
    *ret = *wanted;
    ret->row = (struct cw_patient_row){ cw_ulid_new() };
    ret->org = org;
    ret->created_us = now;
    ret->updated_us = now;
    ret->metadata = is_empty_object(wanted->metadata) ? CW_SPAN("{}") : wanted->metadata;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct sealed sealed;
    enum cw_code rc = cw_patient_key_make(m, db, ret->row, &key, err);
    if (rc == CW_OK) {
        rc = seal_columns(m, &key, ret, arena, &sealed, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value values[] = {
        cw_v_id(&ret->row.ulid), cw_v_id(&org.ulid),      cw_v_bytes(ret->patient_id), sealed.name,
        sealed.email,            sealed.email_index,      sealed.metadata,             cw_v_int(key.version),
        cw_v_time(now),          cw_v_time(now),
    };
    rc = cw_db_exec(db, &q_insert, values, NULL, err);
    if (rc == CW_OK) {
        *ret_key = key;
    }
    return rc;
}

static enum cw_code update(struct cw_model *m, struct cw_db *db, const struct cw_data_key *key,
                           const struct cw_patient *patient, struct cw_arena *arena, struct cw_err *err)
{
    struct sealed sealed;
    enum cw_code rc = seal_columns(m, key, patient, arena, &sealed, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value values[] = { sealed.name, sealed.email, sealed.email_index, sealed.metadata,
                                       cw_v_time(patient->updated_us), cw_v_id(&patient->row.ulid) };
    return cw_db_exec(db, &q_replace, values, NULL, err);
}

/* Arguments of the transactions below. */
struct change {
    struct cw_model *m;
    const struct cw_actor *actor;
    struct cw_org_id org;
    const struct cw_patient *wanted;
    struct cw_arena *arena;
    struct cw_patient *ret;
};

static enum cw_code audit(struct cw_db *db, const struct change *change, const char *action, struct cw_err *err)
{
    const struct cw_audit_row row = { .org = change->org, .action = action, .patient = change->ret->row };
    return cw_audit_write(db, change->actor, &row, err);
}

static enum cw_code create_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct change *change = arg;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = insert(change->m, db, change->org, change->wanted, change->arena, change->ret, &key, err);
    return rc == CW_OK ? audit(db, change, "patient.create", err) : rc;
}

enum cw_code cw_patient_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient *ret,
                               struct cw_err *err)
{
    enum cw_code rc = cw_patient_id_check(wanted->patient_id, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct change change = { .m = m, .actor = actor, .org = org, .wanted = wanted, .arena = arena, .ret = ret };
    return cw_tx_pool(m->pool, create_tx, &change, err);
}

static enum cw_code replace_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct change *change = arg;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient *patient = change->ret;
    enum cw_code rc = find(change->m, db, &q_lock, change->org, change->wanted->patient_id, change->arena, patient, &key, err);
    if (rc != CW_OK) {
        return rc;
    }
    patient->email = change->wanted->email;
    patient->name = change->wanted->name;
    patient->metadata = is_empty_object(change->wanted->metadata) ? CW_SPAN("{}") : change->wanted->metadata;
    patient->updated_us = cw_now_us() / 1000 * 1000;
    rc = update(change->m, db, &key, patient, change->arena, err);
    return rc == CW_OK ? audit(db, change, "patient.replace", err) : rc;
}

enum cw_code cw_patient_replace(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient *ret,
                                struct cw_err *err)
{
    struct change change = { .m = m, .actor = actor, .org = org, .wanted = wanted, .arena = arena, .ret = ret };
    return cw_tx_pool(m->pool, replace_tx, &change, err);
}

/* Stores what was given and differs; a Session start that tells nothing new writes nothing. */
static enum cw_code refresh(struct cw_model *m, struct cw_db *db, const struct cw_data_key *key,
                            const struct cw_patient *wanted, struct cw_patient *patient, struct cw_arena *arena,
                            struct cw_err *err)
{
    bool new_email = wanted->email.ptr != NULL && (patient->email.ptr == NULL || !cw_span_eq(wanted->email, patient->email));
    bool new_name = wanted->name.ptr != NULL && (patient->name.ptr == NULL || !cw_span_eq(wanted->name, patient->name));
    if (!new_email && !new_name) {
        return CW_OK;
    }
    patient->email = new_email ? wanted->email : patient->email;
    patient->name = new_name ? wanted->name : patient->name;
    patient->updated_us = cw_now_us() / 1000 * 1000;
    return update(m, db, key, patient, arena, err);
}

enum cw_code cw_patient_upsert(struct cw_model *m, struct cw_db *db, struct cw_org_id org,
                               const struct cw_patient *wanted, struct cw_arena *arena, struct cw_patient_row *ret_row,
                               struct cw_data_key *ret_key, struct cw_err *err)
{
    if (!cw_db_in_tx(db)) {
        cw_bug("cw_patient_upsert needs a transaction");
    }
    enum cw_code rc = cw_patient_id_check(wanted->patient_id, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_patient patient;
    rc = find(m, db, &q_lock, org, wanted->patient_id, arena, &patient, ret_key, err);
    if (rc == CW_OK) {
        rc = refresh(m, db, ret_key, wanted, &patient, arena, err);
    } else if (rc == CW_E_NOT_FOUND) {
        rc = insert(m, db, org, wanted, arena, &patient, ret_key, err);
        /* Another transaction made the patient first. Ours has a key row without a patient now: run it again. */
        rc = rc == CW_E_CONFLICT ? cw_err_set(err, CW_E_RETRY, "patient", "made by another transaction") : rc;
    }
    if (rc == CW_OK) {
        *ret_row = patient.row;
    }
    return rc;
}

/* ---- reading */

enum cw_code cw_patient_get(struct cw_model *m, struct cw_org_id org, struct cw_span patient_id, struct cw_arena *arena,
                            struct cw_patient *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = find(m, db, &q_get, org, patient_id, arena, ret, NULL, err);
    cw_db_put(db);
    return rc;
}

static enum cw_code select_list(struct cw_model *m, struct cw_db *db, struct cw_org_id org,
                                const struct cw_patient_filter *filter, struct cw_arena *arena, struct cw_rows *ret,
                                struct cw_err *err)
{
    struct cw_value organization = cw_v_id(&org.ulid);
    struct cw_value after = cw_v_id(&filter->after);
    struct cw_value limit = cw_v_int((int64_t)filter->limit + 1);
    uint8_t index[CW_HASH_LEN];
    struct cw_value email = cw_v_null();
    if (filter->email.ptr != NULL) {
        enum cw_code rc = email_index(m, org, filter->email, index, err);
        if (rc != CW_OK) {
            return rc;
        }
        email = cw_v_bytes(cw_span_of(index, sizeof index));
    }
    if (filter->patient_id.ptr != NULL) {
        const struct cw_value params[] = { organization, cw_v_bytes(filter->patient_id), after, email, email };
        return cw_db_select(db, &q_list_id, params, arena, ret, err);
    }
    if (filter->email.ptr != NULL) {
        const struct cw_value params[] = { organization, email, after, limit };
        return cw_db_select(db, &q_list_email, params, arena, ret, err);
    }
    const struct cw_value params[] = { organization, after, limit };
    return cw_db_select(db, &q_list, params, arena, ret, err);
}

enum cw_code cw_patient_list(struct cw_model *m, struct cw_org_id org, const struct cw_patient_filter *filter,
                             struct cw_arena *arena, struct cw_patient **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_rows rows;
    rc = select_list(m, db, org, filter, arena, &rows, err);
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_patient *list = cw_arena_array(arena, rows.count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "patient", "the arena is full");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        rc = read_row(m, cw_row(&rows, i), arena, &list[i], NULL, err);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = rows.count;
    }
    return rc;
}
