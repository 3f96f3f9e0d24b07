/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: one browser flow of one patient. open → complete, open → expired; both final. At expires_at no new attempt
 * starts; one in flight keeps the Session open until its state ends.
 */
#ifndef CW_MODEL_SESSION_H
#define CW_MODEL_SESSION_H

#include "model/org.h"
#include "model/patient.h"

enum cw_session_status { CW_SESSION_OPEN = 1, CW_SESSION_COMPLETE = 2, CW_SESSION_EXPIRED = 3 };
enum cw_session_ended {
    CW_ENDED_NOT = 0, CW_ENDED_DONE = 1, CW_ENDED_RETURNED = 2, CW_ENDED_TIMED_OUT = 3, CW_ENDED_CANCELLED = 4
};
const char *cw_session_status_name(enum cw_session_status status) CW_RETURNS_NONNULL;
const char *cw_session_ended_name(enum cw_session_ended ended); /* NULL for CW_ENDED_NOT */

enum cw_connection_status {
    CW_CONNECTION_ACTIVE = 1, CW_CONNECTION_FAILED = 2, CW_CONNECTION_EXPIRED = 3,
    CW_CONNECTION_REFRESH_FAILED = 4, CW_CONNECTION_DISCONNECTED = 5
};
const char *cw_connection_status_name(enum cw_connection_status status) CW_RETURNS_NONNULL;

/* One row of connections[] of a Session: its attempts that ended; conn_ id zero where it failed. */
struct cw_session_connection {
    struct cw_connection_id id;
    struct cw_source_id source;
    enum cw_connection_status status;  /* the connection's present one, or failed */
    struct cw_span failure_code;
    int64_t failure_us;
    int64_t created_us;
};

struct cw_session {
    struct cw_session_id id;
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_span patient_id;
    enum cw_session_status status;       /* as it is now: an open one whose time has passed and that has nothing in flight reads as expired */
    enum cw_session_ended ended;
    struct cw_span secret;               /* base64url of 16 bytes: the last segment of `url` */
    struct cw_source_id direct_source;   /* zero: Picker mode */
    struct cw_connection_id reconnect;   /* what it is to reconnect, and nothing else; zero: none */
    const struct cw_source_id *recommended;
    size_t recommended_count;
    struct cw_span return_url;
    struct cw_span return_label;
    struct cw_span metadata;             /* JSON object text */
    const struct cw_session_connection *connections;
    size_t connection_count;
    int64_t expires_us, created_us, ended_us;
};

struct cw_session_new {
    struct cw_patient patient;           /* patient_id, email, name */
    struct cw_source_id direct_source;
    struct cw_connection_id reconnect;   /* of this patient, and direct_source is its source: checked by the caller; zero: none */
    const struct cw_source_id *recommended;
    size_t recommended_count;
    struct cw_span return_url;           /* checked by the caller */
    struct cw_span return_label;
    struct cw_span metadata;             /* absent: {} */
    int64_t expires_in_s;
};

/* One transaction: patient upsert, Session row, audit. */
enum cw_code cw_session_create(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               const struct cw_session_new *input, struct cw_arena *arena, struct cw_session *ret,
                               struct cw_err *err) CW_MUST_USE;
/* One SELECT brings Session, patient, keys and attempts. CW_E_NOT_FOUND in another organization as well. */
enum cw_code cw_session_get(struct cw_model *m, struct cw_org_id org, struct cw_session_id id, struct cw_arena *arena,
                            struct cw_session *ret, struct cw_err *err) CW_MUST_USE;
/* Newest first, before `after` (zero: from the newest); status 0: any. Brings up to limit + 1. */
enum cw_code cw_session_list(struct cw_model *m, struct cw_org_id org, struct cw_span patient_id,
                             enum cw_session_status status, struct cw_ulid after, unsigned limit,
                             struct cw_arena *arena, struct cw_session **ret, size_t *ret_count, struct cw_err *err)
    CW_MUST_USE;

/* What a page needs, by the URL's secret (its text, checked here). CW_E_NOT_FOUND: no such Session (or not of its form). Whole Session with attempts,
 * organization, and the patient's name for masking. */
struct cw_session_page {
    struct cw_session session;
    struct cw_org org;
    struct cw_span patient_name; /* absent when none */
};
enum cw_code cw_session_open_page(struct cw_model *m, struct cw_span secret, struct cw_arena *arena,
                                  struct cw_session_page *ret, struct cw_err *err) CW_MUST_USE;
/* open → complete with patient_session.completed, once: a repeat finds CW_OK with *ret_first false; CW_E_STATE when expired. */
enum cw_code cw_session_complete(struct cw_model *m, const struct cw_actor *actor, struct cw_session_id id,
                                 enum cw_session_ended how, bool *ret_first, struct cw_err *err) CW_MUST_USE;
/* Janitor: open ones whose time has passed with no attempt in flight → expired; at most `limit`; *ret_count how many. */
enum cw_code cw_session_expire_due(struct cw_model *m, const struct cw_actor *actor, unsigned limit,
                                   unsigned *ret_count, struct cw_err *err) CW_MUST_USE;

#endif
