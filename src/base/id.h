/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identifiers. Our own are ULIDs: 48 bits of milliseconds, 80 random bits, 16 bytes in the database, 26 characters of
 * Crockford base32 on the wire behind a typed prefix. Each kind has its own struct, so that a patient's id cannot be
 * passed where a Session's is meant; all wrap the same 16 bytes.
 */
#ifndef CW_BASE_ID_H
#define CW_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

struct cw_ulid {
    uint8_t bytes[16];
};

#define CW_ULID_TEXT 26
#define CW_ID_TEXT_MAX 40 /* longest prefix + 26 + NUL */

/* Prefixes on the wire. */
#define CW_PREFIX_ORGANIZATION "org_"
#define CW_PREFIX_API_KEY "key_"
#define CW_PREFIX_SESSION "ps_"
#define CW_PREFIX_CONNECTION "conn_"
#define CW_PREFIX_SOURCE "fhirsrc_"
#define CW_PREFIX_ENDPOINT "ep_"
#define CW_PREFIX_REGISTRATION "reg_"
#define CW_PREFIX_ATTEMPT "att_"
#define CW_PREFIX_PULL "pull_"
#define CW_PREFIX_DOCUMENT "doc_"
#define CW_PREFIX_FACT "fact_"
#define CW_PREFIX_EVENT "evt_"
#define CW_PREFIX_WEBHOOK "wh_"

struct cw_org_id { struct cw_ulid ulid; };
struct cw_api_key_id { struct cw_ulid ulid; };
struct cw_patient_row { struct cw_ulid ulid; };   /* our own id of a patient; never on the wire */
struct cw_session_id { struct cw_ulid ulid; };
struct cw_attempt_id { struct cw_ulid ulid; };
struct cw_connection_id { struct cw_ulid ulid; };
struct cw_source_id { struct cw_ulid ulid; };
struct cw_endpoint_id { struct cw_ulid ulid; };
struct cw_registration_id { struct cw_ulid ulid; };
struct cw_pull_id { struct cw_ulid ulid; };
struct cw_task_id { struct cw_ulid ulid; };
struct cw_document_id { struct cw_ulid ulid; };
struct cw_record_id { struct cw_ulid ulid; };
struct cw_event_id { struct cw_ulid ulid; };
struct cw_job_id { struct cw_ulid ulid; };
struct cw_revocation_id { struct cw_ulid ulid; };

bool cw_ulid_eq(struct cw_ulid a, struct cw_ulid b) CW_PURE;
bool cw_ulid_is_zero(struct cw_ulid a) CW_PURE;
/* Puts time (microseconds UTC) and 10 random bytes together. Randomness comes from os/random. */
struct cw_ulid cw_ulid_make(int64_t time_us, const uint8_t random[10]) CW_NONNULL(2);
/* The time in it, to the millisecond. */
int64_t cw_ulid_time_us(struct cw_ulid id) CW_PURE;
/* Writes prefix + 26 characters + NUL. `prefix` is one of CW_PREFIX_…. */
void cw_id_emit(const char *prefix, struct cw_ulid id, char out[CW_ID_TEXT_MAX]) CW_NONNULL(1, 3);
/* Strict: the exact prefix, 26 upper-case Crockford characters, first at most '7'. */
bool cw_id_parse(const char *prefix, struct cw_span text, struct cw_ulid *ret_id) CW_NONNULL(1, 3) CW_MUST_USE;

#endif
