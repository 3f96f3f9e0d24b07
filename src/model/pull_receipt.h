/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt of a pull as a proof: its bytes are kept sealed with the pull together with a signature over their SHA-256, a compact JWS by
 * the same keys that hospitals know us by, so that whoever has receipt and signature can check them with our JWKS alone.
 *
 *   header  {"alg":"ES384","typ":"pull-receipt+jws","kid":…}
 *   claims  {"iat","pull_id","receipt_sha256"}: the hash in lower-case hexadecimal, over the receipt's bytes as served
 *
 * It has no iss, sub, aud or exp, and a typ of its own: no hospital can take it for a client assertion.
 */
#ifndef CW_MODEL_PULL_RECEIPT_H
#define CW_MODEL_PULL_RECEIPT_H

#include "model/pull.h"
#include "model/signing.h"

#define CW_RECEIPT_TYP "pull-receipt+jws"
#define CW_SHA256_TEXT 65 /* hexadecimal and NUL */

void cw_pull_receipt_hash(struct cw_span receipt_json, char ret[CW_SHA256_TEXT]);
/* Appends the JWS, by the current ES384 key. Outside a transaction: the first key of all is made here. */
enum cw_code cw_pull_receipt_sign(struct cw_model *m, struct cw_pull_id id, struct cw_span receipt_json, struct cw_str *out,
                                  struct cw_err *err) CW_MUST_USE;
/* For cw_pull_end: the cell that holds receipt and signature; NULL where the ending has no receipt. */
enum cw_code cw_pull_receipt_seal(const struct cw_data_key *key, struct cw_pull_id id, const struct cw_pull_ending *ending,
                                  struct cw_arena *arena, struct cw_value *ret, struct cw_err *err) CW_MUST_USE;

struct cw_pull_receipt {
    struct cw_pull_id id;
    struct cw_span json;          /* the bytes that are signed */
    char sha256[CW_SHA256_TEXT];
    struct cw_span signature;     /* absent: written before receipts were signed */
};
/* CW_E_NOT_FOUND: no such pull, or none that has ended with a receipt (a cancelled one has none). */
enum cw_code cw_pull_receipt_get(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull_receipt *ret,
                                 struct cw_err *err) CW_MUST_USE;

/* Who signed. `stage` retired: the key is no longer in the JWKS, but it is known here; where it was retired because it had got out, its signature
 * proves nothing from then on. */
struct cw_receipt_check {
    struct cw_span kid;
    enum cw_signing_stage stage;
    int64_t signed_us;
};
/* By the keys of the table, retired ones too. CW_E_AUTH: it is not ours, or not of these bytes or this pull. CW_E_MISSING: there is no signature. */
enum cw_code cw_pull_receipt_verify(struct cw_model *m, const struct cw_pull_receipt *receipt, struct cw_arena *arena,
                                    struct cw_receipt_check *ret, struct cw_err *err) CW_MUST_USE;

/* What the newest attempt asked for that made or renewed this connection; absent when attempts are no longer kept. */
enum cw_code cw_pull_scopes_asked(struct cw_model *m, struct cw_patient_row patient, struct cw_connection_id connection,
                                  struct cw_arena *arena, struct cw_span *ret, struct cw_err *err) CW_MUST_USE;

#endif
