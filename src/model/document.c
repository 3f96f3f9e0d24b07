/* SPDX-License-Identifier: Apache-2.0 */
/* See document.h. A chunk's AAD is the document's id and its cell name; its order is part of what is sealed. */
#include "config.h"
#include "model/document.h"

#include <openssl/evp.h>

#include "base/limits.h"
#include "base/text.h"
#include "os/sys.h"

static const struct cw_query q_document_find = {
    .name = "document.find",
    .sql = "SELECT id, content_hash FROM document WHERE patient = ? AND endpoint = ? AND tenant_context = ?"
           " AND url_hash = ? FOR UPDATE",
    .params = "bbbb",
    .columns = "bb",
};
static const struct cw_query q_document_insert = {
    .name = "document.insert",
    .sql = "INSERT INTO document (id, patient, endpoint, tenant_context, url_hash, content_hash, content_type, length,"
           " status, key_version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbbbbbbiiitt",
    .columns = "",
};
static const struct cw_query q_document_update = {
    .name = "document.update",
    .sql = "UPDATE document SET content_hash = ?, content_type = ?, length = ?, status = ?, key_version = ?,"
           " updated_at = ? WHERE id = ?",
    .params = "bbiiitb",
    .columns = "",
};
static const struct cw_query q_chunks_drop = {
    .name = "document.chunks_drop",
    .sql = "DELETE FROM document_chunk WHERE document = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_chunk_insert = {
    .name = "document.chunk_insert",
    .sql = "INSERT INTO document_chunk (document, ordinal, body_sealed) VALUES (?, ?, ?)",
    .params = "bib",
    .columns = "",
};
static const struct cw_query q_chunks_read = {
    .name = "document.chunks_read",
    .sql = "SELECT ordinal, body_sealed FROM document_chunk WHERE document = ? ORDER BY ordinal LIMIT 1000",
    .params = "b",
    .columns = "ib",
};

static const struct cw_query q_document_known = {
    .name = "document.known",
    .sql = "SELECT 1 FROM document WHERE patient = ? AND endpoint = ? AND tenant_context = ? AND url_hash = ? AND status IN (2, 4)"
           " UNION ALL SELECT 1 FROM record WHERE patient = ? AND endpoint = ? AND tenant_context = ? AND resource_type = 'Binary'"
           " AND upstream_id = ? LIMIT 1",
    .params = "bbbbbbbb",
    .columns = "i",
};

#define SHA1_LEN 20u
#define ORDINAL_LEN 4 /* in front of each chunk, big-endian: chunks of one document cannot change places */

static struct cw_span clean_type(struct cw_span type)
{
    struct cw_span cut = cw_span_upto(type, 255);
    for (size_t i = 0; i < cut.len; i++) {
        if (cut.ptr[i] < 0x20 || cut.ptr[i] > 0x7e) {
            return (struct cw_span){ NULL, 0 };
        }
    }
    return cut;
}

static enum cw_code store_chunk(struct cw_db *db, const struct cw_data_key *key, const struct cw_ulid *id,
                                unsigned ordinal, struct cw_span bytes, struct cw_err *err)
{
    const char head[ORDINAL_LEN] = { (char)(ordinal >> 24), (char)(ordinal >> 16), (char)(ordinal >> 8), (char)ordinal };
    CW_AUTO_STR plain, sealed;
    cw_str_init_secret(&plain, CW_DOCUMENT_CHUNK + ORDINAL_LEN);
    cw_str_init(&sealed, CW_DOCUMENT_CHUNK + ORDINAL_LEN + CW_SEAL_OVERHEAD);
    cw_str_add(&plain, head, sizeof head);
    cw_str_add_span(&plain, bytes);
    enum cw_code rc = cw_str_code(&plain);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "document.chunk", "no memory for a chunk");
    }
    struct cw_aad aad = { .cell = "document_chunk.body", .row = *id };
    rc = cw_seal(key, aad, cw_str_span(&plain), &sealed, err);
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_id(id), cw_v_int(ordinal), cw_v_bytes(cw_str_span(&sealed)) };
        rc = cw_db_exec(db, &q_chunk_insert, params, NULL, err);
    }
    return rc;
}

static enum cw_code store_chunks(struct cw_db *db, const struct cw_data_key *key, const struct cw_ulid *id,
                                 struct cw_span bytes, struct cw_err *err)
{
    struct cw_value params[] = { cw_v_id(id) };
    enum cw_code rc = cw_db_exec(db, &q_chunks_drop, params, NULL, err);
    unsigned ordinal = 0;
    for (size_t at = 0; rc == CW_OK && at < bytes.len; at += CW_DOCUMENT_CHUNK) {
        rc = store_chunk(db, key, id, ordinal++, cw_span_upto(cw_span_from(bytes, at), CW_DOCUMENT_CHUNK), err);
    }
    return rc;
}

bool cw_document_expect_hash(const struct cw_data_key *key, struct cw_span base64, uint8_t out[CW_HASH_LEN])
{
    CW_AUTO_STR sha1;
    cw_str_init(&sha1, 64);
    if (base64.len == 0 || cw_base64_decode(base64, &sha1) != CW_OK || sha1.len != SHA1_LEN) {
        return false;
    }
    cw_data_hash(key, "document.sha1", cw_str_span(&sha1), out);
    return true;
}

bool cw_document_differs(const struct cw_data_key *key, const struct cw_document_in *document)
{
    if (document->expect_size > 0 && (uint64_t)document->expect_size != document->bytes.len) {
        return true;
    }
    if (document->expect_hash.len != CW_HASH_LEN) {
        return false;
    }
    unsigned char sha1[SHA1_LEN];
    unsigned length = 0;
    uint8_t got[CW_HASH_LEN];
    if (EVP_Digest(document->bytes.ptr, document->bytes.len, sha1, &length, EVP_sha1(), NULL) != 1) {
        return false; /* not to be told here */
    }
    cw_data_hash(key, "document.sha1", cw_span_of((const char *)sha1, length), got);
    return memcmp(got, document->expect_hash.ptr, CW_HASH_LEN) != 0;
}

static int status_of(const struct cw_data_key *key, const struct cw_document_in *in)
{
    return cw_document_differs(key, in) ? CW_DOCUMENT_DIFFERS : CW_DOCUMENT_WHOLE;
}

static enum cw_code insert(struct cw_db *db, const struct cw_data_key *key, const struct cw_ulid *id,
                           struct cw_patient_row patient, const struct cw_document_in *in, struct cw_span url_hash,
                           struct cw_span content_hash, struct cw_err *err)
{
    int64_t now_us = cw_now_us();
    struct cw_value params[] = {
        cw_v_id(id),
        cw_v_id(&patient.ulid),
        cw_v_id(&in->endpoint.ulid),
        cw_v_bytes(in->tenant_context.ptr == NULL ? CW_SPAN("") : in->tenant_context),
        cw_v_bytes(url_hash),
        cw_v_bytes(content_hash),
        cw_v_bytes(clean_type(in->content_type)),
        cw_v_int((int64_t)in->bytes.len),
        cw_v_int(status_of(key, in)),
        cw_v_int(key->version),
        cw_v_time(now_us),
        cw_v_time(now_us),
    };
    return cw_db_exec(db, &q_document_insert, params, NULL, err);
}

static enum cw_code update(struct cw_db *db, const struct cw_data_key *key, const struct cw_ulid *id,
                           const struct cw_document_in *in, struct cw_span content_hash, struct cw_err *err)
{
    struct cw_value params[] = {
        cw_v_bytes(content_hash),
        cw_v_bytes(clean_type(in->content_type)),
        cw_v_int((int64_t)in->bytes.len),
        cw_v_int(status_of(key, in)),
        cw_v_int(key->version),
        cw_v_time(cw_now_us()),
        cw_v_id(id),
    };
    return cw_db_exec(db, &q_document_update, params, NULL, err);
}

enum cw_code cw_document_store(struct cw_db *db, const struct cw_data_key *key, struct cw_patient_row patient,
                               const struct cw_document_in *in, struct cw_arena *arena, struct cw_err *err)
{
    if (in->bytes.len > CW_DOCUMENT_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "document.store", "the document is over its limit");
    }
    uint8_t url_hash[CW_HASH_LEN], content_hash[CW_HASH_LEN];
    cw_data_hash(key, "document.url", in->url, url_hash);
    cw_data_hash(key, "document.content", in->bytes, content_hash);
    struct cw_span url = cw_span_of(url_hash, CW_HASH_LEN), content = cw_span_of(content_hash, CW_HASH_LEN);
    struct cw_value find[] = { cw_v_id(&patient.ulid), cw_v_id(&in->endpoint.ulid),
                               cw_v_bytes(in->tenant_context.ptr == NULL ? CW_SPAN("") : in->tenant_context),
                               cw_v_bytes(url) };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_document_find, find, arena, &rows, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_ulid id = rows.count > 0 ? cw_value_id(&cw_row(&rows, 0)[0]) : cw_ulid_new();
    if (rows.count > 0 && cw_span_eq(cw_row(&rows, 0)[1].bytes, content)) {
        return CW_OK; /* unchanged */
    }
    rc = rows.count > 0 ? update(db, key, &id, in, content, err) : insert(db, key, &id, patient, in, url, content, err);
    return rc == CW_OK ? store_chunks(db, key, &id, in->bytes, err) : rc;
}

enum cw_code cw_document_known(struct cw_db *db, const struct cw_data_key *key, struct cw_patient_row patient,
                               const struct cw_document_at *at, struct cw_arena *arena, bool *ret_known, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    cw_data_hash(key, "document.url", at->url, hash);
    struct cw_span tenant = at->tenant_context.ptr == NULL ? CW_SPAN("") : at->tenant_context;
    struct cw_span id = at->binary_id.ptr == NULL ? CW_SPAN("") : at->binary_id;
    struct cw_value params[] = {
        cw_v_id(&patient.ulid), cw_v_id(&at->endpoint.ulid), cw_v_bytes(tenant), cw_v_bytes(cw_span_of(hash, CW_HASH_LEN)),
        cw_v_id(&patient.ulid), cw_v_id(&at->endpoint.ulid), cw_v_bytes(tenant), cw_v_bytes(id),
    };
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_document_known, params, arena, &rows, err);
    *ret_known = rc == CW_OK && rows.count > 0;
    return rc;
}

struct reading {
    const struct cw_data_key *key;
    struct cw_ulid document;
    unsigned next;
    cw_document_chunk_fn *fn;
    void *arg;
};

static enum cw_code read_chunk(void *arg, const struct cw_value *row, struct cw_err *err)
{
    struct reading *reading = arg;
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, CW_DOCUMENT_CHUNK + ORDINAL_LEN);
    struct cw_aad aad = { .cell = "document_chunk.body", .row = reading->document };
    enum cw_code rc = cw_unseal(reading->key, aad, row[1].bytes, &plain, err);
    if (rc != CW_OK) {
        return rc;
    }
    unsigned ordinal = reading->next++;
    const char head[ORDINAL_LEN] = { (char)(ordinal >> 24), (char)(ordinal >> 16), (char)(ordinal >> 8), (char)ordinal };
    if (!cw_span_starts(cw_str_span(&plain), cw_span_of(head, sizeof head))) {
        return cw_err_set(err, CW_E_AUTH, "document.read", "a chunk is missing or out of place");
    }
    return reading->fn(reading->arg, cw_span_from(cw_str_span(&plain), ORDINAL_LEN), err);
}

enum cw_code cw_document_read(struct cw_db *db, const struct cw_data_key *key, struct cw_ulid document,
                              cw_document_chunk_fn *fn, void *arg, struct cw_err *err)
{
    struct reading reading = { .key = key, .document = document, .fn = fn, .arg = arg };
    struct cw_value params[] = { cw_v_id(&document) };
    enum cw_code rc = cw_db_each(db, &q_chunks_read, params, read_chunk, &reading, err);
    if (rc == CW_OK && reading.next == 0) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "document.read", "no such document");
    }
    return rc;
}
