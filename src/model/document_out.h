/* SPDX-License-Identifier: Apache-2.0 */
/* Documents on their way out: a patient's list, and one document piece by piece, so that no connection to the database is held while a client reads. */
#ifndef CW_MODEL_DOCUMENT_OUT_H
#define CW_MODEL_DOCUMENT_OUT_H

#include "model/audit.h"
#include "model/document.h"

struct cw_document {
    struct cw_document_id id;
    struct cw_source_id source;    /* zero: the connection that brought it has gone */
    struct cw_span content_type;   /* as its server told; absent: it did not */
    uint64_t length;
    int64_t created_us, updated_us;
    uint8_t content_hash[CW_HASH_LEN]; /* keyed: tells whether it changed while it was read */
    uint32_t key_version;
};

/* Whole ones, newest first, at most `limit` + 1, behind `after` (zero: from the start). */
enum cw_code cw_document_list(struct cw_model *m, struct cw_patient_row patient, struct cw_ulid after, unsigned limit,
                              struct cw_arena *arena, struct cw_document **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* One, to be read: writes the audit row "documents.read" in the same transaction. CW_E_NOT_FOUND: this patient has none such, or not whole. */
enum cw_code cw_document_open(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org, struct cw_patient_row patient,
                              struct cw_document_id id, struct cw_arena *arena, struct cw_document *ret, struct cw_err *err) CW_MUST_USE;
/* Appends one piece (CW_DOCUMENT_CHUNK bytes, the last one fewer) in the clear, from 0 on. CW_E_CONFLICT: the document is another now. CW_E_AUTH: a
 * piece is missing or out of place. */
enum cw_code cw_document_piece(struct cw_model *m, struct cw_patient_row patient, const struct cw_document *document,
                               unsigned ordinal, struct cw_str *out, struct cw_err *err) CW_MUST_USE;

#endif
