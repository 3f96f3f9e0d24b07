/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resource points at: references to other resources, and attachments. Read from its bytes in one pass.
 *
 * A reference is the text of any member named "reference"; an attachment is an object in a place where FHIR R4 has an Attachment
 * (attachment, presentedForm, photo, …Attachment, and Media.content), with a url or data. Whether something is fetched is the caller's policy: here is only
 * what was said, and whether it can be asked of the source's own server at all.
 */
#ifndef CW_FHIR_REFERENCES_H
#define CW_FHIR_REFERENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

#define CW_REFERENCES_MAX 2000u   /* of one resource; smart-client-rules 7.4 allows so many a sync */
#define CW_ATTACHMENTS_MAX 500u   /* of one resource */

enum cw_reference_kind {
    CW_REF_LOCAL,       /* Type/id on the source's server, relative or under its base */
    CW_REF_CONTAINED,   /* #id */
    CW_REF_ELSEWHERE,   /* an absolute URL that is not under the base */
    CW_REF_CONDITIONAL, /* Type?query: a search, not a resource */
    CW_REF_OTHER        /* urn:, mailto:, or nothing that can be read */
};

struct cw_reference {
    enum cw_reference_kind kind;
    struct cw_span field;  /* the member that holds the Reference, such as "result" or "medicationReference"; in an array, the array's */
    struct cw_span text;   /* as sent, escapes decoded */
    struct cw_span type;   /* LOCAL: both good by the rules of fhir/slice.h; a version (/_history/…) is dropped */
    struct cw_span id;
    bool own;              /* the resource's own member, not one further in */
};

struct cw_attachment {
    struct cw_span field;
    struct cw_span content_type; /* absent when not told, as all below */
    struct cw_span url;
    struct cw_span hash;         /* base64 of SHA-1 */
    struct cw_span data;         /* inline base64, as sent (escapes decoded) */
    int64_t size;                /* -1: not told */
};

struct cw_references {
    struct cw_reference *references;
    size_t reference_count;
    struct cw_attachment *attachments;
    size_t attachment_count;
    bool more;  /* a limit was reached: what stands above is not all */
};

/* Reads one resource (the span of a slice entry). `base` is the source's FHIR base URL, normalised; absent: every absolute URL is elsewhere.
 * Results live in the arena and point into `resource`. CW_E_SYNTAX, CW_E_TOO_BIG (depth), CW_E_OOM. */
enum cw_code cw_references_read(struct cw_span resource, struct cw_span base, struct cw_arena *arena,
                                struct cw_references *ret, struct cw_err *err) CW_NONNULL(3, 4) CW_MUST_USE;

/* What one reference's text says. */
struct cw_reference cw_reference_parse(struct cw_span text, struct cw_span base);

/* True for what a pull follows by reading Type/id: types that searches leave out (smart-client-rules 7.4), never another person's record. */
bool cw_reference_followed(const struct cw_reference *reference) CW_NONNULL(1);

#endif
