/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: the latest stored version of each resource, as the bytes that the source sent. Same (patient, endpoint, tenant
 * context, type, id) = same record. An unchanged one (same content hash) costs no write and takes no change_seq; one that had vanished at the source and is there again
 * is listed anew.
 */
#ifndef CW_MODEL_RECORD_H
#define CW_MODEL_RECORD_H

#include "model/model.h"

/* One resource on its way in: made by the digest, outside any transaction. */
struct cw_record_in {
    struct cw_span type, upstream_id;
    struct cw_span body;                /* plain bytes, borrowed */
    int64_t upstream_updated_us;        /* 0: not told */
};
struct cw_record_batch;
void cw_record_batch_free(struct cw_record_batch *batch);
/* Starts a batch for one page of one connection. `key` is copied. */
struct cw_record_target {
    struct cw_patient_row patient;
    struct cw_endpoint_id endpoint;
    struct cw_connection_id connection;
    struct cw_source_id source;
    struct cw_span tenant_context;
    struct cw_pull_id pull;
    bool named;                         /* read since a reference names it: when that was is kept, so that the next pull need not */
    int64_t since_us;                   /* when the pull began; 0: not told. What it brought is not replaced by an older version (lastUpdated)
                                           on a later page of the same pull: servers page over moving data */
    bool keep_seen;                     /* the page's ids are kept until the pull ends, to know what did not come */
};
enum cw_code cw_record_batch_new(const struct cw_record_target *target, const struct cw_data_key *key,
                                 struct cw_record_batch **ret, struct cw_err *err) CW_MUST_USE;
/* Adds one resource and hashes it. `volatile_free` are the spans of the body without volatile meta (fhir/slice). The same
 * (type, id) twice in a page keeps the later lastUpdated, or the later one. The body is borrowed: the page outlives the
 * batch. CW_E_RANGE: type or id over its limit or empty. */
enum cw_code cw_record_batch_add(struct cw_record_batch *batch, const struct cw_record_in *record,
                                 const struct cw_span *volatile_free, size_t span_count, struct cw_err *err) CW_MUST_USE;
/* The id of a resource that has none: a keyed hash of its stable bytes, so that the same one keeps it. */
#define CW_RECORD_HASH_ID_MAX 40
enum cw_code cw_record_hash_id(const struct cw_data_key *key, const struct cw_span *stable, size_t count,
                               char ret[CW_RECORD_HASH_ID_MAX], struct cw_err *err) CW_MUST_USE;
/* After cw_record_store: was this resource there before, with the same content? False for one that is not in the batch. */
bool cw_record_batch_unchanged(const struct cw_record_batch *batch, struct cw_span type, struct cw_span id);
/* After cw_record_store: how many of the stored ones are new; the others are changed. */
unsigned cw_record_batch_created(const struct cw_record_batch *batch);
size_t cw_record_batch_count(const struct cw_record_batch *batch);
/* In the caller's transaction: locks the patient's counter, finds what is there, compresses and seals what is new or
 * changed, inserts and updates in bulk, numbers the changes. May run again with the same batch. CW_E_NOT_FOUND: the patient is gone. */
enum cw_code cw_record_store(struct cw_db *db, struct cw_record_batch *batch, unsigned *ret_stored,
                             unsigned *ret_unchanged, struct cw_err *err) CW_MUST_USE;

/* --- reading --- */
struct cw_record {
    struct cw_record_id id;
    struct cw_source_id source;         /* zero: null on the wire */
    struct cw_span type, upstream_id;
    uint64_t change_seq;
    int64_t stored_us;
    struct cw_span body;                /* plain bytes as the source sent them */
};
#define CW_RECORD_TYPES_MAX 32
struct cw_record_filter {
    struct cw_span types[CW_RECORD_TYPES_MAX];
    size_t type_count;                  /* 0: any */
    int64_t since_us;                   /* changed after this; 0: from the start */
    uint64_t after_seq;                 /* forwards: change_seq > after_seq */
    uint64_t before_seq;                /* backwards: change_seq < before_seq; 0: forwards */
    unsigned limit;
};
/* Ascending by change_seq in both directions; *ret_more says whether there is more in the direction walked. Writes the audit row "records.read" in the same
 * transaction. Stops early (more = true) before the arena would be full, but brings at least one. */
enum cw_code cw_record_list(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                            struct cw_patient_row patient, const struct cw_record_filter *filter,
                            struct cw_arena *arena, struct cw_record **ret, size_t *ret_count, bool *ret_more,
                            struct cw_err *err) CW_MUST_USE;
/* Counts by type for a patient, for pull status: type names in the arena. */
struct cw_record_count { struct cw_span type; uint64_t count; };
enum cw_code cw_record_census(struct cw_model *m, struct cw_patient_row patient, struct cw_arena *arena,
                              struct cw_record_count **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;

#endif
