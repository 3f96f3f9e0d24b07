/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which a connection can fail, told three ways: a stable code for the app, a sentence for the patient, a card for the
 * operator. The table in failure.c is the only list of codes; attempts, connections and pulls end with nothing else.
 *
 * To add a code: 1. its CW_FAIL_ name below; 2. its row in failure.c; 3. in every www/locales/<tag>.json the texts "failure.<code>" (what
 * happened and exactly one next step, as the row's `step` says it) and "operator.<code>.title", ".cause" and ".next" (what is wrong in a few words,
 * how that comes about, what to do, with the command where there is one); 4. doc/failures.md, written anew by
 * `CW_UPDATE_DOC=1 tests/unit/test_failure`. The same test fails where a part is missing, where a code stands in the sources as a
 * literal, and where nothing in src/ uses it.
 */
#ifndef CW_MODEL_FAILURE_H
#define CW_MODEL_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/span.h"

/* An attempt's end. */
#define CW_FAIL_USER_DENIED "user_denied"
#define CW_FAIL_BROWSER_MISMATCH "browser_mismatch"
#define CW_FAIL_STATE_EXPIRED "oauth_state_expired"             /* the patient came back too late */
#define CW_FAIL_NOT_RETURNED "not_returned"                     /* never came back */
#define CW_FAIL_PORTAL_ERROR "oauth_callback_failed"            /* error=… other than a refusal, or no code */
#define CW_FAIL_PORTAL_UNAVAILABLE "portal_unavailable"         /* temporarily_unavailable, server_error */
#define CW_FAIL_NOT_ENABLED "organization_not_enabled"          /* unauthorized_client: not enabled there yet */
#define CW_FAIL_ISSUER_MISMATCH "issuer_mismatch"               /* RFC 9207 */
#define CW_FAIL_TOKEN_EXCHANGE "token_exchange_failed"
#define CW_FAIL_TOKEN_LOST "token_exchange_lost"                /* we died between exchange and commit */
#define CW_FAIL_TOKEN_ANSWER "token_answer_invalid"             /* HTML, not JSON, no access_token */
#define CW_FAIL_CLIENT_REJECTED "client_rejected"               /* invalid_client: the operator must act */
#define CW_FAIL_ID_TOKEN "id_token_invalid"                     /* wrong nonce or audience */
#define CW_FAIL_NO_PATIENT "no_patient_context"
#define CW_FAIL_IDENTITY_MISMATCH "identity_mismatch"           /* a reconnect that came back as another patient */
#define CW_FAIL_SCOPE "scope_insufficient"                      /* no readable patient scope was granted */
#define CW_FAIL_DISCOVERY "discovery_failed"
#define CW_FAIL_NOT_REGISTERED "source_not_registered"          /* no client registration fits this source */
#define CW_FAIL_SOURCE_HELD "source_held"                       /* discovery changed hosts: waits for the operator */
#define CW_FAIL_INTERNAL "internal_error"
/* A connection's end. */
#define CW_FAIL_REFRESH_REFUSED "refresh_refused"               /* a well-formed invalid_grant */
#define CW_FAIL_LOST_ROTATION "lost_rotation"                   /* the same, after an answer that never came */
#define CW_FAIL_PATIENT_CHANGED "patient_changed"               /* a refresh answered for another patient */
#define CW_FAIL_ACCESS_ENDED "access_ended"                     /* one-time access: no refresh token came */
/* A pull's end. */
#define CW_FAIL_GRANT_ENDED "grant_ended"
#define CW_FAIL_CONNECTION_NOT_ACTIVE "connection_not_active"
#define CW_FAIL_CONNECTION_UNREADABLE "connection_unreadable"
#define CW_FAIL_GAVE_UP "gave_up"
#define CW_FAIL_NOTHING_ARRIVED "nothing_arrived"
#define CW_FAIL_ENDPOINT_MOVED "endpoint_moved"                 /* the base answers, but says that this hospital is not there any more */
#define CW_FAIL_FHIR_VERSION "fhir_version_unsupported"         /* neither R4 nor R4B */

/* What may end with the code; several at once. */
enum cw_failure_of { CW_FAILS_ATTEMPT = 1u << 0, CW_FAILS_CONNECTION = 1u << 1, CW_FAILS_PULL = 1u << 2 };

/* The patient's one next step. */
enum cw_failure_step {
    CW_STEP_TRY_AGAIN,
    CW_STEP_OTHER_BROWSER,    /* start again, and stay in this browser */
    CW_STEP_LATER,
    CW_STEP_ASK,              /* the organization (hospital, health plan), or choose another source */
    CW_STEP_NONE,             /* nothing for the patient to do */
    CW_STEP__COUNT
};
enum cw_failure_severity {
    CW_SEVERITY_INFO,         /* as it should be: the patient's own choice */
    CW_SEVERITY_WARNING,      /* one patient is stuck; look when it is frequent */
    CW_SEVERITY_ERROR,        /* nobody gets through until somebody acts */
    CW_SEVERITY__COUNT
};
enum cw_failure_who { CW_WHO_PATIENT, CW_WHO_OPERATOR, CW_WHO_VENDOR, CW_WHO_NOBODY, CW_WHO__COUNT };

struct cw_failure {
    const char *code;
    unsigned of;                       /* enum cw_failure_of */
    enum cw_failure_step step;
    enum cw_failure_severity severity;
    enum cw_failure_who who;           /* must act */
    bool retry;                        /* the same again, at once, may work */
};

const struct cw_failure *cw_failure_table(size_t *ret_count) CW_NONNULL(1) CW_RETURNS_NONNULL;
/* NULL for a code that is not in the table: a row of an older or newer version. */
const struct cw_failure *cw_failure_find(struct cw_span code) CW_MUST_USE;
/* The code itself, from the table. One that is not there, or that this thing cannot end with, is a bug and aborts. */
const char *cw_failure_known(const char *code, enum cw_failure_of of) CW_NONNULL(1) CW_RETURNS_NONNULL;

/* "try_again", "info", "operator" …: stable. */
const char *cw_failure_step_name(enum cw_failure_step step) CW_RETURNS_NONNULL;
const char *cw_failure_severity_name(enum cw_failure_severity severity) CW_RETURNS_NONNULL;
const char *cw_failure_who_name(enum cw_failure_who who) CW_RETURNS_NONNULL;

#endif
