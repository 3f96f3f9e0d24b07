/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who did what. An act's row is written in the act's own transaction. Reads that change nothing and show no record (a
 * Session looked up, the catalogue searched) would pay a durable commit each: their rows go through a bounded queue that
 * a thread writes within 200 ms; a full queue writes at once in the caller (doc/decisions.md).
 */
#ifndef CW_MODEL_AUDIT_H
#define CW_MODEL_AUDIT_H

#include "model/model.h"

struct cw_audit_row {
    struct cw_org_id org;            /* zero: none */
    const char *action;              /* a literal: "session.create", "records.read" … */
    struct cw_patient_row patient;   /* zero: none */
    struct cw_ulid object;           /* zero: none */
    const char *detail;              /* counts and codes, or NULL; at most 255 bytes, never foreign text */
};
/* In the caller's transaction. */
enum cw_code cw_audit_write(struct cw_db *db, const struct cw_actor *actor, const struct cw_audit_row *row,
                            struct cw_err *err) CW_MUST_USE;

struct cw_audit_queue;
/* Stops its thread after writing what waits. */
void cw_audit_queue_free(struct cw_audit_queue *queue);
enum cw_code cw_audit_queue_new(struct cw_model *m, struct cw_audit_queue **ret, struct cw_err *err) CW_MUST_USE;
/* Copies the row. Also moves api_key.last_used_at, to the minute. Fails only when the queue is full and the database is away. */
enum cw_code cw_audit_queue_add(struct cw_audit_queue *queue, const struct cw_actor *actor,
                                const struct cw_audit_row *row, struct cw_err *err) CW_MUST_USE;

#endif
