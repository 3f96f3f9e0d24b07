/* SPDX-License-Identifier: Apache-2.0 */
/* Events: facts, stored in the transaction that made them true, then numbered by the sequencer, per organization without gaps. */
#ifndef CW_MODEL_EVENT_H
#define CW_MODEL_EVENT_H

#include "model/model.h"

enum cw_event_kind {
    CW_EVENT_SESSION_COMPLETED = 1,       /* patient_session.completed */
    CW_EVENT_TOKEN_REFRESH_FAILED = 2,    /* connection.token_refresh_failed */
    CW_EVENT_SYNC_COMPLETED = 3,          /* records.sync.completed */
    CW_EVENT_SYNC_FAILED = 4,             /* records.sync.failed */
    CW_EVENT_CONNECTION_ACTIVATED = 5,    /* connection.activated (extension) */
    CW_EVENT_CONNECTION_EXPIRED = 6,      /* connection.expired (extension) */
    CW_EVENT_CONNECTION_RECOVERED = 7,    /* connection.recovered (extension): works again after a failure that was told */
    CW_EVENT_CONNECTION_EXPIRING = 8,     /* connection.expiring (extension): 14, 7 and 1 days before a known end */
    CW_EVENT_REFRESH_DELAYED = 9,         /* connection.refresh_delayed (extension): failing for a day, and still active */
    CW_EVENT_CONNECTION_DISCONNECTED = 10, /* connection.disconnected (extension) */
    CW_EVENT_PATIENT_DELETED = 11,        /* patient.deleted (extension): under the organization's key */
    CW_EVENT__COUNT
};
const char *cw_event_name(enum cw_event_kind kind) CW_RETURNS_NONNULL;

/* In the caller's transaction. payload is the JSON text of data.object, sealed under the patient's key. */
enum cw_code cw_event_write(struct cw_db *db, struct cw_org_id org, struct cw_patient_row patient,
                            const struct cw_data_key *key, enum cw_event_kind kind, struct cw_ulid subject,
                            struct cw_span payload, struct cw_err *err) CW_MUST_USE;

/* The same for what outlives the patient's key: about no patient in the row, sealed under the organization's key. */
enum cw_code cw_event_write_org(struct cw_db *db, struct cw_org_id org, const struct cw_data_key *key,
                                enum cw_event_kind kind, struct cw_ulid subject, struct cw_span payload,
                                struct cw_err *err) CW_MUST_USE;

/* The sequencer's one small transaction: numbers up to `limit` committed events, in id order; CW_E_CONFLICT when another node holds the duty (design 13). */
enum cw_code cw_event_sequence(struct cw_model *m, const char *owner, unsigned limit, unsigned *ret_count,
                               struct cw_err *err) CW_MUST_USE;

#endif
