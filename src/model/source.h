/* SPDX-License-Identifier: Apache-2.0 */
/* Sources (what a patient chooses) and endpoints (where the data is). */
#ifndef CW_MODEL_SOURCE_H
#define CW_MODEL_SOURCE_H

#include "model/model.h"

struct cw_source {
    struct cw_source_id id;
    struct cw_endpoint_id endpoint;
    enum cw_environment environment;
    struct cw_span tenant_context;
    struct cw_span name, brand, portal_name, portal_url, logo_url, vendor;
    struct cw_span address_line, city, state, postal_code, country;
    struct cw_span aliases;       /* one a line */
    struct cw_span base_url;      /* the endpoint's, as published */
    struct cw_span profile;       /* the operator's choice of vendor profile; absent: none */
    bool retired;
    int64_t updated_us;
};

/* By id; a retired one resolves to its successor (at most 8 steps). CW_E_NOT_FOUND, also in another environment. */
enum cw_code cw_source_get(struct cw_model *m, enum cw_environment environment, struct cw_source_id id,
                           struct cw_arena *arena, struct cw_source *ret, struct cw_err *err) CW_MUST_USE;
/* fhirsrc_… id or a raw FHIR base URL (normalised by the caller into `normal_base` when it is one, else absent). */
enum cw_code cw_source_resolve(struct cw_model *m, enum cw_environment environment, struct cw_span id_or_url,
                               struct cw_span normal_base, struct cw_arena *arena, struct cw_source *ret,
                               struct cw_err *err) CW_MUST_USE;
/* Several by id, in the order asked; unknown ones are left out. */
enum cw_code cw_source_get_many(struct cw_model *m, enum cw_environment environment, const struct cw_source_id *ids,
                                size_t count, struct cw_arena *arena, struct cw_source **ret, size_t *ret_count,
                                struct cw_err *err) CW_MUST_USE;
/* In id order after `after`; vendor absent: any. Up to limit + 1, without retired ones. */
enum cw_code cw_source_list(struct cw_model *m, enum cw_environment environment, struct cw_span vendor,
                            struct cw_ulid after, unsigned limit, struct cw_arena *arena, struct cw_source **ret,
                            size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* Every live source, one by one, for the search index; and the generation that it belongs to. */
typedef enum cw_code cw_source_fn(void *arg, const struct cw_source *source, struct cw_err *err);
enum cw_code cw_source_each(struct cw_model *m, enum cw_environment environment, cw_source_fn *fn, void *arg,
                            uint64_t *ret_generation, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_catalog_generation(struct cw_model *m, enum cw_environment environment, uint64_t *ret,
                                   struct cw_err *err) CW_MUST_USE;

/* One row of an import. identity_hash = SHA-256 of what makes it the same source at the next import (normal base, name, place). */
struct cw_source_row {
    struct cw_source source;      /* id ignored */
    struct cw_span normal_base;
    struct cw_span fhir_version;
    uint8_t identity_hash[CW_HASH_LEN];
};
struct cw_import_counts { unsigned created, changed, unchanged; };
/* Applies all rows in one transaction, with an audit row and a new generation when anything changed. Rows that are there keep their id.
 * Nothing is retired by absence. `format` is a literal. */
enum cw_code cw_source_import(struct cw_model *m, const struct cw_actor *actor, enum cw_environment environment,
                              const char *format, const uint8_t content_hash[CW_HASH_LEN],
                              const struct cw_source_row *rows, size_t count, unsigned quarantined,
                              struct cw_import_counts *ret, struct cw_err *err) CW_MUST_USE;

/* Sets the vendor profile of a source, or clears it (absent). The caller knows that there is such a profile. With its audit row. CW_E_NOT_FOUND. */
enum cw_code cw_source_set_profile(struct cw_model *m, const struct cw_actor *actor, struct cw_source_id id,
                                   struct cw_span profile, struct cw_err *err) CW_MUST_USE;

/* --- endpoints --- */
struct cw_endpoint {
    struct cw_endpoint_id id;
    enum cw_environment environment;
    struct cw_span url;            /* as published */
    struct cw_span vendor;         /* profile name, or absent */
    struct cw_span issuer, authorization_url, token_url, revocation_url, jwks_url;
    struct cw_span discovery;      /* the document as JSON text (cw_discovery_emit), or absent */
    int64_t discovered_us;
    struct cw_span discovery_etag; /* absent: none came */
    int64_t discovery_until_us;    /* good until then; 0: ask again */
    int64_t discovery_failed_us;   /* 0: the last try was good */
    struct cw_span capability;     /* summary JSON, or absent */
    int64_t capability_us, capability_failed_us;
    struct cw_span fhir_version;   /* by its CapabilityStatement, else by the catalogue; absent: not known */
    struct cw_span software;       /* "name version"; absent: not known */
    bool held;                     /* a changed discovery waits for the operator */
    int64_t retry_after_us;
};
enum cw_code cw_endpoint_get(struct cw_model *m, struct cw_endpoint_id id, struct cw_arena *arena,
                             struct cw_endpoint *ret, struct cw_err *err) CW_MUST_USE;
/* Stores a discovery. When issuer, authorization or token host changed against a stored one, the new one is held instead and *ret_held set (design 13). */
enum cw_code cw_endpoint_store_discovery(struct cw_model *m, const struct cw_actor *actor,
                                         const struct cw_endpoint *found, bool *ret_held, struct cw_err *err)
    CW_MUST_USE;
/* The same document as before, as the server said (304): good until then. */
enum cw_code cw_endpoint_keep_discovery(struct cw_model *m, struct cw_endpoint_id id, int64_t until_us, struct cw_err *err)
    CW_MUST_USE;
/* What could not be had now, so that the next patient need not wait for it again. */
enum cw_endpoint_lack { CW_LACKS_DISCOVERY, CW_LACKS_CAPABILITY };
enum cw_code cw_endpoint_note_lack(struct cw_model *m, struct cw_endpoint_id id, enum cw_endpoint_lack lack, struct cw_err *err)
    CW_MUST_USE;
/* The pinned token endpoint answered as if it were not there (404, 405, HTML): the next authorization asks for a fresh document. */
enum cw_code cw_endpoint_distrust(struct cw_model *m, struct cw_endpoint_id id, struct cw_err *err) CW_MUST_USE;
/* `summary` is a small CapabilityStatement. Other software than before: what was learnt of the endpoint (model/lesson.h) is forgotten with it. */
enum cw_code cw_endpoint_store_capability(struct cw_model *m, struct cw_endpoint_id id, struct cw_span summary,
                                          struct cw_span vendor, struct cw_span fhir_version, struct cw_err *err)
    CW_MUST_USE;
/* `source approve`: the held discovery becomes the one in use. CW_E_STATE when none is held. */
enum cw_code cw_endpoint_approve(struct cw_model *m, const struct cw_actor *actor, struct cw_endpoint_id id,
                                 struct cw_err *err) CW_MUST_USE;
enum cw_code cw_endpoint_set_quiet(struct cw_model *m, struct cw_endpoint_id id, int64_t until_us, struct cw_err *err)
    CW_MUST_USE;

#endif
