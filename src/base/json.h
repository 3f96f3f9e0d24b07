/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading small JSON documents of known shape (jansson behind a gate). Clinical resources never pass here: they stay
 * bytes (fhir/slice). Duplicate members, NUL, bad UTF-8 and depth over the limit are refused.
 *
 * Getters borrow: what they return lives as long as the document. Each names its path in err.
 */
#ifndef CW_BASE_JSON_H
#define CW_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

/* From now on jansson wipes what it frees: its trees hold the tokens of token answers. Once, before anything is parsed; cw_process_harden does it. */
void cw_json_wipe_freed(void);

/* Parses `text`, which must be an object (or, with CW_JSON_ARRAY_TOO, an array). On success the caller owns *ret_root
 * (json_decref, or CW_AUTO_JSON). CW_E_TOO_BIG over max_bytes or deeper than max_depth, CW_E_SYNTAX, CW_E_OOM. */
enum cw_json_flags { CW_JSON_ARRAY_TOO = 1u << 0, CW_JSON_DUPLICATES_TOO = 1u << 1 };
struct cw_json_limits {
    size_t max_bytes;
    unsigned max_depth;
    unsigned flags;
};
enum cw_code cw_json_parse(struct cw_span text, struct cw_json_limits limits, json_t **ret_root, struct cw_err *err)
    CW_NONNULL(3) CW_MUST_USE;

/* A required member. CW_E_MISSING, CW_E_KIND; strings with control characters are allowed (they are valid JSON). */
enum cw_code cw_json_text(const json_t *object, const char *name, struct cw_span *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_json_int(const json_t *object, const char *name, int64_t *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_json_bool(const json_t *object, const char *name, bool *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_json_object(const json_t *object, const char *name, json_t **ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_json_array(const json_t *object, const char *name, json_t **ret, struct cw_err *err) CW_MUST_USE;
/* An optional text: absent or null gives the absent span and CW_OK; another type is CW_E_KIND. */
enum cw_code cw_json_text_opt(const json_t *object, const char *name, struct cw_span *ret, struct cw_err *err)
    CW_MUST_USE;
/* For foreign documents where a wrong type means "not told": the text, or the absent span. */
struct cw_span cw_json_peek_text(const json_t *object, const char *name);

/* Appends a document of our own, compact. Never a clinical one: numbers are written anew (98.60 becomes 98.599999999999994). */
enum cw_code cw_json_emit(const json_t *value, struct cw_str *out) CW_NONNULL(1, 2);

void cw_json_auto_release(json_t **root);
#define CW_AUTO_JSON CW_CLEANUP(cw_json_auto_release) json_t

#endif
