/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts: one try at making a connection. started → exchanging → connected | failed, and started → failed. The row is
 * written before the browser leaves, so nothing fails silently; failed ones stay, with a code of model/failure.h.
 */
#ifndef CW_MODEL_ATTEMPT_H
#define CW_MODEL_ATTEMPT_H

#include "model/dynamic_client.h"
#include "model/exchange.h"
#include "model/failure.h"
#include "model/registration.h"
#include "model/revocation.h"
#include "model/session.h"
#include "model/source.h"
#include "vault/token.h"

enum cw_attempt_status { CW_ATTEMPT_STARTED = 1, CW_ATTEMPT_EXCHANGING = 2, CW_ATTEMPT_CONNECTED = 3, CW_ATTEMPT_FAILED = 4 };

struct cw_attempt {
    struct cw_attempt_id id;
    struct cw_session_id session;
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_source_id source;
    struct cw_endpoint_id endpoint;
    struct cw_registration_id registration;
    struct cw_connection_id connection;
    enum cw_attempt_status status;
    struct cw_span failure_code;
    struct cw_span redirect_uri;
    struct cw_span scopes_asked, scopes_granted;
    struct cw_span pinned;           /* JSON text */
    struct cw_span verifier, nonce;  /* in the clear, from cw_attempt_consume only */
    struct cw_span language;
    struct cw_span source_name;      /* from cw_attempt_get only */
    struct cw_source_id direct_source; /* its Session is in Direct mode; zero: in Picker mode */
    struct cw_span return_url;       /* of its Session */
    struct cw_span patient_id;       /* from cw_attempt_consume only */
    int64_t state_expires_us, started_us, ended_us;
};

/* What a start needs. Everything that asks the network was done before. */
struct cw_attempt_new {
    struct cw_session_id session;
    struct cw_source_id source;
    struct cw_endpoint_id endpoint;
    struct cw_registration_id registration;   /* zero when it fails at once */
    struct cw_span browser;                   /* the cookie's value */
    struct cw_span verifier, nonce;           /* nonce absent: none */
    struct cw_span redirect_uri, scopes_asked, pinned, language;
    uint8_t state_hash[CW_HASH_LEN];          /* all zero: it never left (failure_code is set) */
    int64_t state_expires_us;
    const char *failure_code;                 /* NULL, or why it cannot start */
    struct cw_span consent_version;           /* hash of the shown text */
};
/* One transaction: checks that the Session is open and not past its time (CW_E_STATE), at most CW_SESSION_OPEN_ATTEMPTS_MAX attempts in flight
 * (CW_E_LIMITED); writes attempt, consent receipt, audit row. In Direct mode with a failure code also completes the Session. */
enum cw_code cw_attempt_start(struct cw_model *m, const struct cw_actor *actor, const struct cw_attempt_new *input,
                              struct cw_attempt_id *ret, struct cw_err *err) CW_MUST_USE;

/* One of this Session, for its result page. */
enum cw_code cw_attempt_get(struct cw_model *m, struct cw_session_id session, struct cw_attempt_id id,
                            struct cw_arena *arena, struct cw_attempt *ret, struct cw_err *err) CW_MUST_USE;
/* What a browser brings back from a portal. */
struct cw_attempt_return {
    uint8_t state_hash[CW_HASH_LEN];          /* SHA-256 of the state's jti */
    struct cw_span redirect_uri;              /* where it came: the state is bound to the registration in its path */
    struct cw_span browser;                   /* the cookie's value; absent: none */
};
/* The atomic step before any network call: started → exchanging. CW_OK: *ret holds verifier and nonce in the clear, in `arena`, for the caller to wipe.
 * CW_E_NOT_FOUND: no such state, or it came to another path; *ret is untouched. Otherwise *ret is the attempt as it stands, without secrets, and nothing was changed:
 * CW_E_DENIED: the cookie is absent or not the one that started it. CW_E_STATE: already used. CW_E_EXPIRED: too late. */
enum cw_code cw_attempt_consume(struct cw_model *m, const struct cw_attempt_return *answer, struct cw_arena *arena,
                                struct cw_attempt *ret, struct cw_err *err) CW_MUST_USE;
/* started|exchanging → failed with its code; `upstream` (their words, at most CW_ERROR_TEXT_MAX, absent allowed) is sealed. Completes a Direct Session with its
 * event. Repeats are CW_OK; an attempt that is connected is CW_E_STATE, and so is one whose code is being exchanged for the codes that are found before
 * that (not_returned, browser_mismatch, state_expired). */
enum cw_code cw_attempt_fail(struct cw_model *m, const struct cw_actor *actor, struct cw_attempt_id id,
                             const char *failure_code, struct cw_span upstream, struct cw_err *err) CW_MUST_USE;

/* The same with all that is known. */
struct cw_attempt_failure {
    const char *code;
    struct cw_span upstream;
    const struct cw_exchange *exchange;       /* kept for the operator in the same transaction; NULL: there was none */
    const struct cw_revocation *tokens;       /* nobody will use them and they still live: revoked later; NULL: none */
};
enum cw_code cw_attempt_fail_with(struct cw_model *m, const struct cw_actor *actor, struct cw_attempt_id id,
                                  const struct cw_attempt_failure *failure, struct cw_err *err) CW_MUST_USE;

/* The good end, one transaction: grant sealed, connection made (or the existing one of the same upstream patient made active again: its id then
 * stands in the attempt), attempt connected, event connection.activated, first pull and its job, audit; Direct mode: Session complete with its event. CW_E_DENIED: the
 * Session is to reconnect a connection, and this is another upstream patient (or tenant context); nothing was changed. CW_E_UNAVAILABLE: whether it happened is
 * not known; asked again it is CW_OK where it did. */
struct cw_attempt_success {
    struct cw_attempt_id attempt;
    struct cw_span upstream_patient;
    struct cw_span tenant_context;
    struct cw_span scopes_granted;
    struct cw_span missing_types;                /* asked for and not granted, blank separated; empty: none */
    struct cw_span access_token, refresh_token;  /* refresh and dynamic absent: one-time connection */
    const struct cw_dynamic_new *dynamic;        /* a client of its own in place of a refresh token; NULL: none */
    struct cw_span token_type;
    int64_t obtained_us, expires_us;
    int64_t ends_us;                             /* known end of the refresh token or of the whole grant; 0: not known */
    bool ends_fixed;                             /* refreshing does not move it */
    int64_t keep_us;                             /* the keep-alive's period; 0: 30 days */
};
enum cw_code cw_attempt_connect(struct cw_model *m, const struct cw_actor *actor,
                                const struct cw_attempt_success *success, struct cw_connection_id *ret,
                                struct cw_err *err) CW_MUST_USE;

/* ---- for an operator (attempt_read.c) */
struct cw_attempt_line {
    struct cw_attempt_id id;
    struct cw_session_id session;
    struct cw_source_id source;
    struct cw_connection_id connection;
    enum cw_attempt_status status;
    struct cw_span failure_code, scopes_asked, source_name, patient_id;
    int64_t started_us, ended_us;    /* ended 0: not yet */
};
struct cw_attempt_filter {
    struct cw_org_id org;
    struct cw_span patient_id;       /* absent: anybody's; given: `source` is not looked at */
    struct cw_source_id source;      /* zero: any */
    bool failed;                     /* failed ones alone */
    unsigned limit;
};
/* Newest first. */
enum cw_code cw_attempt_list(struct cw_model *m, const struct cw_attempt_filter *filter, struct cw_arena *arena,
                             struct cw_attempt_line **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* CW_E_NOT_FOUND. The exchange behind its failure: cw_exchange_get. */
enum cw_code cw_attempt_look(struct cw_model *m, struct cw_attempt_id id, struct cw_arena *arena, struct cw_attempt_line *ret,
                             struct cw_err *err) CW_MUST_USE;
const char *cw_attempt_status_name(enum cw_attempt_status status) CW_RETURNS_NONNULL;

/* Janitor: started ones past their state → failed not_returned; exchanging ones 5 minutes past it → failed token_exchange_lost. One that cannot be ended
 * (CW_E_NOT_FOUND, CW_E_AUTH: its patient's key) keeps none of the others; its code is returned at the end, with *ret_count set. */
enum cw_code cw_attempt_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                              struct cw_err *err) CW_MUST_USE;

#endif
