/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a FHIR server answered, cut into the bytes of its resources in one pass and without a tree.
 *
 * The whole answer is checked as JSON (RFC 8259, UTF-8, CW_JSON_DEPTH_MAX from the root) and each resource is a span into it, exactly as
 * sent. What one entry lacks is that entry's fault and leaves the others whole; what breaks the JSON breaks the page.
 *
 * Duplicate members: where this reader looks (the Bundle, its entries, search, links) a member that it reads may stand once, else
 * CW_E_CONFLICT, since two readers of such a page would see two truths. In a resource's top level and its meta one that stands twice is that entry's
 * fault. Deeper down duplicates are kept as sent. Member names with escapes are refused at the levels that are read.
 */
#ifndef CW_FHIR_SLICE_H
#define CW_FHIR_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

enum cw_slice_kind {
    CW_SLICE_BUNDLE,
    CW_SLICE_RESOURCE, /* a read: one entry */
    CW_SLICE_OUTCOME   /* an OperationOutcome: one entry; cw_outcome_read */
};

enum cw_slice_bundle { CW_SLICE_TYPE_NONE, CW_SLICE_TYPE_SEARCHSET, CW_SLICE_TYPE_COLLECTION, CW_SLICE_TYPE_OTHER };

enum cw_slice_mode { CW_SLICE_MODE_NONE, CW_SLICE_MODE_MATCH, CW_SLICE_MODE_INCLUDE, CW_SLICE_MODE_OUTCOME };

/* Why an entry cannot be a record. */
enum cw_slice_fault {
    CW_SLICE_GOOD,
    CW_SLICE_NO_RESOURCE,
    CW_SLICE_NOT_OBJECT,  /* `resource` is not an object */
    CW_SLICE_NO_TYPE,
    CW_SLICE_BAD_TYPE,    /* not a type's name: a capital, then letters, at most CW_FHIR_TYPE_MAX */
    CW_SLICE_NO_ID,
    CW_SLICE_BAD_ID,      /* not text of 1 to CW_FHIR_ID_MAX printable bytes without blank, slash, '?' and '#' */
    CW_SLICE_TOO_BIG,     /* over CW_FHIR_RESOURCE_MAX */
    CW_SLICE_AMBIGUOUS    /* a member that is read here stands twice: two readers would see two resources */
};

struct cw_slice_entry {
    struct cw_span resource;     /* its bytes, brackets included; absent when there is none */
    struct cw_span type;         /* resourceType; absent unless good */
    struct cw_span id;           /* absent unless good */
    struct cw_span meta;         /* the bytes of `meta` inside resource; absent when there is none */
    struct cw_span version_id;   /* meta.versionId; absent when not told */
    struct cw_span last_updated; /* meta.lastUpdated as sent; absent when not told */
    struct cw_span full_url;     /* absent when not told */
    enum cw_slice_mode mode;
    enum cw_slice_fault fault;
};

struct cw_slice {
    enum cw_slice_kind kind;
    enum cw_slice_bundle type;
    int64_t total;               /* Bundle.total, -1 when not told; often an estimate */
    struct cw_span self, next, previous; /* link URLs, decoded; absent when not told. `prev` counts as previous */
    struct cw_slice_entry *entries;
    size_t count;
};

/* Reads `body`, which must outlive *ret_slice; entries and decoded texts live in the arena (about 200 bytes an entry).
 * CW_E_UPSTREAM: an empty body, or HTML or XML; CW_E_SYNTAX: not JSON, not UTF-8, or an escaped member name; CW_E_KIND: JSON but not an
 * object, or a member of another type than FHIR's; CW_E_MISSING: an object without resourceType; CW_E_CONFLICT: a member twice; CW_E_TOO_BIG:
 * over CW_FHIR_PAGE_MAX, nested deeper than CW_JSON_DEPTH_MAX, or over CW_FHIR_ENTRIES_MAX entries; CW_E_OOM. A UTF-8 byte order mark is
 * passed over. Any resource type is taken; whether a Bundle is what was asked for is the caller's to say. */
enum cw_code cw_slice_read(struct cw_span body, struct cw_arena *arena, struct cw_slice *ret_slice, struct cw_err *err)
    CW_NONNULL(2, 3) CW_MUST_USE;

/* The rules behind BAD_TYPE and BAD_ID, for whoever reads a type or an id elsewhere. */
bool cw_fhir_type_good(struct cw_span type) CW_PURE;
bool cw_fhir_id_good(struct cw_span id) CW_PURE;

/* The name of a fault for receipts, such as "no_id". */
const char *cw_slice_fault_name(enum cw_slice_fault fault) CW_RETURNS_NONNULL;

/* The bytes of a resource without meta.versionId and meta.lastUpdated (members and their commas; nothing else is left out), as at most
 * CW_SLICE_STABLE_MAX spans in order: what the content hash is made of. The entry must come from cw_slice_read and be good. */
#define CW_SLICE_STABLE_MAX 3
size_t cw_slice_stable(const struct cw_slice_entry *entry, struct cw_span ret_spans[CW_SLICE_STABLE_MAX]) CW_NONNULL(1, 2);

/* --- OperationOutcome --- */
#define CW_OUTCOME_ISSUES_MAX 16
#define CW_OUTCOME_CODES_MAX 4
struct cw_outcome_issue {
    struct cw_span severity;    /* fatal, error, warning, information */
    struct cw_span code;        /* issue type, such as "invalid" */
    struct cw_span details[CW_OUTCOME_CODES_MAX]; /* details.coding[].code: Epic's "59108" */
    size_t details_count;
    struct cw_span text;        /* details.text: for the encrypted error column, never for a log */
    struct cw_span diagnostics; /* the same */
    struct cw_span expression;  /* the first: the element or parameter that it is about; the same */
};
struct cw_outcome {
    struct cw_outcome_issue issues[CW_OUTCOME_ISSUES_MAX];
    size_t count;  /* issues kept; more are passed over */
};
/* Reads an OperationOutcome (an entry's resource or a whole body). Members of a wrong type count as not told. Codes as cw_slice_read;
 * CW_E_KIND when it is another resource. */
enum cw_code cw_outcome_read(struct cw_span resource, struct cw_arena *arena, struct cw_outcome *ret_outcome,
                             struct cw_err *err) CW_NONNULL(2, 3) CW_MUST_USE;
/* True when an issue has this code as its type or among its details. */
bool cw_outcome_has(const struct cw_outcome *outcome, const char *code) CW_NONNULL(1, 2);

#endif
