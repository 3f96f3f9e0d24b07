/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange behind a failure, fit to be shown to an operator: what was sent (names of parameters, never values) and what was
 * answered (status, kinds of members, the OAuth error). It is filled where the request is made, redacted once more against what we
 * know of the patient, and kept sealed under the patient's key. One for each attempt or connection, the newest.
 */
#ifndef CW_MODEL_EXCHANGE_H
#define CW_MODEL_EXCHANGE_H

#include "base/limits.h"
#include "model/keys.h"

#define CW_EXCHANGE_MAX 8000u           /* as JSON; sealed it fits its column */
#define CW_EXCHANGE_STRUCTURE_MAX 1024u /* of the answer's body */

/* Texts end with NUL; "" is "not told". */
struct cw_exchange {
    const char *kind;                   /* a literal: "authorization", "token", "refresh"; NULL: nothing was exchanged */
    const char *method;                 /* a literal: "POST", "GET" */
    const char *authentication;         /* a literal: "client_secret_basic" …; NULL: none */
    const char *outcome;                /* a literal, as our logs say it */
    char host[272];                     /* with its port */
    char path[512];                     /* without the query */
    char parameters[512];               /* names of what was sent, blank separated */
    char content_type[96];              /* of the answer */
    char request_id[64];
    char error[64];
    char description[CW_ERROR_TEXT_MAX + 1]; /* redacted by cw_exchange_redact */
    char uri[CW_ERROR_TEXT_MAX + 1];    /* the same of error_uri */
    char more[CW_ERROR_TEXT_MAX + 1];   /* error_uri as it came, where a patient may be sent there: https, at the authorization server */
    char scope[1024];                   /* as granted; cut at a word */
    char structure[CW_EXCHANGE_STRUCTURE_MAX + 1]; /* "{error: text, x: number}" or "HTML, 512 bytes" */
    long status;                        /* 0: no answer */
    int64_t sent_us, took_us;
};

/* Copies `text` to `out` (room bytes, NUL included), cut between characters: each occurrence of a known secret becomes "[...]", whatever its case, and so does all that looks
 * like a token or number of a person: sixteen characters or more with both letters and digits, or six digits. Control characters become blanks.
 * Known texts shorter than three bytes are left alone. True when something was taken out. */
bool cw_exchange_redact(struct cw_span text, const struct cw_span *known, size_t count, char *out, size_t room);

enum cw_exchange_of { CW_EXCHANGE_ATTEMPT = 1, CW_EXCHANGE_CONNECTION = 2 };
struct cw_exchange_owner {
    enum cw_exchange_of kind;
    struct cw_ulid object;
    struct cw_org_id org;
    struct cw_patient_row patient;
};
/* Replaces what is kept of the owner, in the caller's transaction. The patient's id and name are taken out of all texts. An exchange without a kind
 * is CW_OK and writes nothing. */
enum cw_code cw_exchange_put(struct cw_model *m, struct cw_db *db, const struct cw_exchange_owner *owner,
                             const struct cw_exchange *exchange, struct cw_err *err) CW_MUST_USE;
/* The same for a connection, in a transaction of its own: the last refresh that failed. */
enum cw_code cw_exchange_of_connection(struct cw_model *m, struct cw_connection_id id, const struct cw_exchange *exchange,
                                       struct cw_err *err) CW_MUST_USE;
/* The JSON object, into the arena; an attempt's holds "more_uri" where there is one. CW_E_NOT_FOUND. */
enum cw_code cw_exchange_get(struct cw_model *m, struct cw_ulid object, struct cw_arena *arena, struct cw_span *ret_json,
                             struct cw_err *err) CW_MUST_USE;

#endif
