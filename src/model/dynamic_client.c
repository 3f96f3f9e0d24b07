/* SPDX-License-Identifier: Apache-2.0 */
/* One row a connection, written with its grant. */
#include "config.h"

#include "model/dynamic_client.h"

#include "base/limits.h"
#include "model/keys.h"
#include "os/sys.h"

static const struct cw_query q_forget = {
    .name = "dynamic_client.forget",
    .sql = "DELETE FROM dynamic_client WHERE connection = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_put = {
    .name = "dynamic_client.put",
    .sql = "INSERT INTO dynamic_client (connection, patient, client_id, alg, private_sealed, key_version, created_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbit",
    .columns = "",
};
static const struct cw_query q_get = {
    .name = "dynamic_client.get",
    .sql = "SELECT patient, client_id, alg, private_sealed, key_version FROM dynamic_client WHERE connection = ?",
    .params = "b",
    .columns = "bbbbi",
};

static struct cw_aad key_cell(struct cw_connection_id id)
{
    return CW_AAD("dynamic_client.private", id);
}

/* RS384 keys alone are made for such clients. */
#define ALG CW_ALG_RS384

enum cw_code dynamic_client_put(struct cw_db *db, const struct cw_data_key *data_key, struct cw_patient_row patient,
                                struct cw_connection_id connection, const struct cw_dynamic_new *client,
                                struct cw_err *err)
{
    struct cw_value id[] = { cw_v_id(&connection.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_forget, id, NULL, err);
    if (rc != CW_OK || client == NULL) {
        return rc;
    }
    CW_AUTO_SECRET der = { NULL, 0 };
    CW_AUTO_STR sealed;
    cw_str_init(&sealed, CW_TOKEN_MAX);
    rc = cw_signing_key_export(client->key, &der, err);
    if (rc == CW_OK) {
        rc = cw_seal(data_key, key_cell(connection), cw_secret_span(&der), &sealed, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = {
        id[0],
        cw_v_id(&patient.ulid),
        cw_v_bytes(client->client_id),
        cw_v_bytes(cw_span_cstr(cw_jose_alg_name(ALG))),
        cw_v_bytes(cw_str_span(&sealed)),
        cw_v_int(data_key->version),
        cw_v_time(cw_now_us()),
    };
    return cw_db_exec(db, &q_put, params, NULL, err);
}

static enum cw_code open_row(struct cw_model *m, struct cw_db *db, struct cw_connection_id connection,
                             const struct cw_value *row, struct cw_secret *ret_der, struct cw_err *err)
{
    CW_AUTO_DATA_KEY data_key = { .version = 0 };
    CW_AUTO_STR der;
    cw_str_init_secret(&der, CW_TOKEN_MAX);
    struct cw_patient_row patient = { cw_value_id(&row[0]) };
    enum cw_code rc = cw_patient_key(m, db, patient, (uint32_t)row[4].number, &data_key, err);
    if (rc == CW_OK) {
        rc = cw_unseal(&data_key, key_cell(connection), row[3].bytes, &der, err);
    }
    return rc == CW_OK ? cw_secret_set(ret_der, cw_str_span(&der)) : rc;
}

enum cw_code cw_dynamic_client_get(struct cw_model *m, struct cw_connection_id connection, struct cw_arena *arena,
                                   struct cw_dynamic_client *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_SECRET der = { NULL, 0 };
    struct cw_value id[] = { cw_v_id(&connection.ulid) };
    const struct cw_value *row;
    rc = cw_db_one(db, &q_get, id, arena, &row, err);
    if (rc == CW_OK) {
        rc = open_row(m, db, connection, row, &der, err);
    }
    cw_db_put(db);
    enum cw_jose_alg alg = ALG;
    if (rc == CW_OK && !cw_jose_alg_parse(row[2].bytes, &alg)) {
        rc = cw_err_set(err, CW_E_UNSUPPORTED, "dynamic_client", "an unknown algorithm");
    }
    struct cw_signing_key *key = NULL;
    if (rc == CW_OK) {
        rc = cw_signing_key_import(alg, cw_secret_span(&der), &key, err);
    }
    if (rc == CW_OK) {
        *ret = (struct cw_dynamic_client){ .client_id = row[1].bytes, .key = key };
    }
    return rc;
}
