/* SPDX-License-Identifier: Apache-2.0 */
/* See pull_receipt.h. The cell holds "signature LF receipt"; one that begins with '{' was written before receipts were signed. */
#include "config.h"
#include "model/pull_receipt.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/keys.h"
#include "os/sys.h"

#define CLAIMS_MAX 512u
#define JWS_MAX 2048u
#define KEY_MAX 4096u /* one public JWK */

static const struct cw_query q_receipt = {
    .name = "receipt.get",
    .sql = "SELECT patient, receipt_sealed, key_version FROM pull WHERE id = ?",
    .params = "b",
    .columns = "bbi",
};
/* Whatever its stage: what was signed stays checkable here when the key has left the JWKS. */
static const struct cw_query q_key = {
    .name = "receipt.key",
    .sql = "SELECT jwk, stage FROM signing_key WHERE kid = ?",
    .params = "b",
    .columns = "bi",
};
static const struct cw_query q_asked = {
    .name = "receipt.scopes_asked",
    .sql = "SELECT scopes_asked FROM attempt WHERE patient = ? AND connection = ? AND status = 3 ORDER BY id DESC LIMIT 1",
    .params = "bb",
    .columns = "b",
};

/* ---------------------------------------------------------------------------------------------- signing */

void cw_pull_receipt_hash(struct cw_span receipt_json, char ret[CW_SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(receipt_json, hash);
    for (size_t i = 0; i < CW_HASH_LEN; i++) {
        ret[2 * i] = digits[hash[i] >> 4];
        ret[2 * i + 1] = digits[hash[i] & 15];
    }
    ret[CW_SHA256_TEXT - 1] = '\0';
}

enum cw_code cw_pull_receipt_sign(struct cw_model *m, struct cw_pull_id id, struct cw_span receipt_json, struct cw_str *out,
                                  struct cw_err *err)
{
    char pull[CW_ID_TEXT_MAX], sha256[CW_SHA256_TEXT];
    cw_id_emit(CW_PREFIX_PULL, id.ulid, pull);
    cw_pull_receipt_hash(receipt_json, sha256);
    CW_AUTO_STR claims;
    cw_str_init(&claims, CLAIMS_MAX);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &claims);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_int(&w, "iat", cw_now_us() / CW_SECOND_US);
    cw_jsonw_key_cstr(&w, "pull_id", pull);
    cw_jsonw_key_cstr(&w, "receipt_sha256", sha256);
    cw_jsonw_close_object(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "receipt.sign", "no room for the claims");
    }
    struct cw_signing_key *key = NULL;
    rc = cw_signing_key_current(m, CW_ALG_ES384, &key, err);
    if (rc == CW_OK) {
        rc = cw_jws_sign_as(key, CW_RECEIPT_TYP, cw_str_span(&claims), out, err);
    }
    cw_signing_key_free(key);
    /* A key of ours that is missing is the installation's fault, not "no such pull". */
    return rc == CW_E_NOT_FOUND ? cw_err_set(err, CW_E_CONFIG, "receipt.sign", "the signing key cannot be read") : rc;
}

enum cw_code cw_pull_receipt_seal(const struct cw_data_key *key, struct cw_pull_id id, const struct cw_pull_ending *ending,
                                  struct cw_arena *arena, struct cw_value *ret, struct cw_err *err)
{
    struct cw_span plain = ending->receipt_json;
    CW_AUTO_STR both;
    cw_str_init_secret(&both, plain.len + ending->receipt_jws.len + 1);
    if (ending->receipt_jws.ptr != NULL && plain.ptr != NULL) {
        cw_str_add_span(&both, ending->receipt_jws);
        cw_str_add_char(&both, '\n');
        cw_str_add_span(&both, plain);
        if (cw_str_code(&both) != CW_OK) {
            return cw_err_set(err, cw_str_code(&both), "receipt.seal", "no room for the receipt");
        }
        plain = cw_str_span(&both);
    }
    return cw_cell_seal(key, CW_AAD("pull.receipt", id), plain, arena, ret, err);
}

/* ---------------------------------------------------------------------------------------------- reading */

static void split(struct cw_span cell, struct cw_pull_receipt *ret)
{
    struct cw_span line = { NULL, 0 };
    if (!cw_span_starts(cell, CW_SPAN("{")) && cw_span_cut(&cell, '\n', &line)) {
        ret->signature = line;
    }
    ret->json = cell;
    cw_pull_receipt_hash(cell, ret->sha256);
}

static enum cw_code get_in(struct cw_model *m, struct cw_db *db, struct cw_arena *arena, struct cw_pull_receipt *ret,
                           struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(&ret->id.ulid) };
    const struct cw_value *row;
    struct cw_span cell = { NULL, 0 };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_db_one(db, &q_receipt, params, arena, &row, err);
    if (rc == CW_OK && row[1].kind == CW_V_NULL) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "receipt.get", "this pull has no receipt");
    }
    if (rc == CW_OK) {
        struct cw_patient_row patient = { cw_value_id(&row[0]) };
        rc = cw_patient_key(m, db, patient, (uint32_t)row[2].number, &key, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&key, CW_AAD("pull.receipt", ret->id), &row[1], arena, &cell, err);
    }
    if (rc == CW_OK) {
        split(cell, ret);
    }
    return rc;
}

enum cw_code cw_pull_receipt_get(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull_receipt *ret,
                                 struct cw_err *err)
{
    struct cw_pull_receipt receipt = { .id = id };
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = get_in(m, db, arena, &receipt, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = receipt;
    }
    return rc;
}

enum cw_code cw_pull_scopes_asked(struct cw_model *m, struct cw_patient_row patient, struct cw_connection_id connection,
                                  struct cw_arena *arena, struct cw_span *ret, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_id(&patient.ulid), cw_v_id(&connection.ulid) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_asked, params, arena, &rows, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = rows.count > 0 ? cw_row(&rows, 0)[0].bytes : (struct cw_span){ NULL, 0 };
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- checking */

static const struct cw_json_limits header_limits = { .max_bytes = JWS_MAX, .max_depth = 4 };
static const struct cw_json_limits key_limits = { .max_bytes = KEY_MAX, .max_depth = 8 };

/* The header's kid, into the arena. CW_E_AUTH: the signature is of another kind. */
static enum cw_code read_header(struct cw_span jws, struct cw_arena *arena, struct cw_span *ret_kid, struct cw_err *err)
{
    struct cw_span part;
    CW_AUTO_STR text;
    CW_AUTO_JSON *header = NULL;
    cw_str_init(&text, JWS_MAX);
    if (!cw_span_cut(&jws, '.', &part) || cw_base64url_decode(part, &text) != CW_OK ||
        cw_json_parse(cw_str_span(&text), header_limits, &header, NULL) != CW_OK ||
        !cw_span_eq_cstr(cw_json_peek_text(header, "typ"), CW_RECEIPT_TYP)) {
        return cw_err_set(err, CW_E_AUTH, "receipt.verify", "the signature is none of a receipt");
    }
    *ret_kid = cw_arena_span(arena, cw_json_peek_text(header, "kid"));
    return ret_kid->ptr != NULL ? CW_OK : cw_err_set(err, CW_E_AUTH, "receipt.verify", "the signature names no key");
}

static enum cw_code key_of(struct cw_model *m, struct cw_span kid, struct cw_arena *arena, json_t **ret_set,
                           enum cw_signing_stage *ret_stage, struct cw_err *err)
{
    struct cw_db *db;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_value params[] = { cw_v_bytes(kid) };
    struct cw_rows rows;
    rc = cw_db_select(db, &q_key, params, arena, &rows, err);
    cw_db_put(db);
    if (rc == CW_OK && rows.count == 0) {
        rc = cw_err_set(err, CW_E_AUTH, "receipt.verify", "it was signed by a key that is not ours");
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value *row = cw_row(&rows, 0);
    CW_AUTO_STR text;
    cw_str_init(&text, KEY_MAX);
    cw_str_addf(&text, "{\"keys\":[%.*s]}", (int)row[0].bytes.len, row[0].bytes.ptr);
    *ret_stage = (enum cw_signing_stage)row[1].number;
    rc = cw_str_code(&text);
    return rc == CW_OK ? cw_json_parse(cw_str_span(&text), key_limits, ret_set, err)
                       : cw_err_set(err, rc, "receipt.verify", "the key is too long");
}

enum cw_code cw_pull_receipt_verify(struct cw_model *m, const struct cw_pull_receipt *receipt, struct cw_arena *arena,
                                    struct cw_receipt_check *ret, struct cw_err *err)
{
    if (receipt->signature.ptr == NULL) {
        return cw_err_set(err, CW_E_MISSING, "receipt.verify", "it was written before receipts were signed");
    }
    struct cw_receipt_check check = { .signed_us = 0 };
    CW_AUTO_JSON *set = NULL;
    CW_AUTO_JSON *claims = NULL;
    enum cw_code rc = read_header(receipt->signature, arena, &check.kid, err);
    if (rc == CW_OK) {
        rc = key_of(m, check.kid, arena, &set, &check.stage, err);
    }
    if (rc == CW_OK) {
        rc = cw_jws_verify(receipt->signature, set, &claims, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    char pull[CW_ID_TEXT_MAX], sha256[CW_SHA256_TEXT];
    cw_id_emit(CW_PREFIX_PULL, receipt->id.ulid, pull);
    cw_pull_receipt_hash(receipt->json, sha256);
    if (!cw_span_eq_cstr(cw_json_peek_text(claims, "pull_id"), pull) ||
        !cw_span_eq_cstr(cw_json_peek_text(claims, "receipt_sha256"), sha256)) {
        return cw_err_set(err, CW_E_AUTH, "receipt.verify", "the signature is of another receipt");
    }
    check.signed_us = json_integer_value(json_object_get(claims, "iat")) * CW_SECOND_US;
    *ret = check;
    return CW_OK;
}
