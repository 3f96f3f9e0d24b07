/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents: the bytes of attachments that a server sends raw, not as a Binary resource. Kept in sealed chunks, so that reading one
 * never needs more memory than a chunk.
 */
#ifndef CW_MODEL_DOCUMENT_H
#define CW_MODEL_DOCUMENT_H

#include "model/model.h"

#define CW_DOCUMENT_CHUNK (1024u * 1024u)

enum cw_document_status {
    CW_DOCUMENT_WHOLE = 2,
    CW_DOCUMENT_DIFFERS = 4        /* kept as it came, but not of the size or hash that its attachment tells */
};

struct cw_document_in {
    struct cw_endpoint_id endpoint;
    struct cw_span tenant_context;
    struct cw_span url;            /* what was asked: hashed only */
    struct cw_span content_type;   /* as answered; absent when not told. Cut to 255 bytes of printable ASCII */
    struct cw_span bytes;
    struct cw_span expect_hash;    /* cw_document_expect_hash of what its attachment tells; absent: nothing told, as below */
    int64_t expect_size;           /* 0: not told */
};
/* The form in which an attachment's hash (base64 of SHA-1) is kept. False when it is none. */
bool cw_document_expect_hash(const struct cw_data_key *key, struct cw_span base64, uint8_t out[CW_HASH_LEN]) CW_MUST_USE;
/* Are the bytes others than what was told? */
bool cw_document_differs(const struct cw_data_key *key, const struct cw_document_in *document) CW_MUST_USE;
/* In the caller's transaction: stores or, when its content changed, replaces the document of (patient, endpoint, tenant context, URL). */
enum cw_code cw_document_store(struct cw_db *db, const struct cw_data_key *key, struct cw_patient_row patient,
                               const struct cw_document_in *document, struct cw_arena *arena, struct cw_err *err)
    CW_MUST_USE;

/* Is it there: as raw bytes under its URL, or as a Binary record of this id? */
struct cw_document_at {
    struct cw_endpoint_id endpoint;
    struct cw_span tenant_context;
    struct cw_span url;
    struct cw_span binary_id;      /* absent: by its URL alone */
};
enum cw_code cw_document_known(struct cw_db *db, const struct cw_data_key *key, struct cw_patient_row patient,
                               const struct cw_document_at *at, struct cw_arena *arena, bool *ret_known, struct cw_err *err)
    CW_MUST_USE;

/* Row by row through fn, in order, in the clear; for the API and for tests. CW_E_NOT_FOUND. */
typedef enum cw_code cw_document_chunk_fn(void *arg, struct cw_span bytes, struct cw_err *err);
enum cw_code cw_document_read(struct cw_db *db, const struct cw_data_key *key, struct cw_ulid document,
                              cw_document_chunk_fn *fn, void *arg, struct cw_err *err) CW_MUST_USE;

#endif
