/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking over JSON bytes without a tree. The sandbox serves resources as the bytes that they are, so it only ever looks
 * into them: every answer is a span of the text that was given. Nothing here allocates, and nothing recurses. It shares no
 * code with base/scan on purpose: a hospital that reads with the reader under test would agree with its faults.
 */
#ifndef CW_SANDBOX_WALK_H
#define CW_SANDBOX_WALK_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

#define CW_WALK_DEPTH_MAX 64

/* Cuts one value (with no blanks around it) from the front of *rest. False when it is malformed, cut off or deeper than
 * CW_WALK_DEPTH_MAX; *rest is then unspecified. Numbers and words are taken by their letters only. */
bool cw_walk_value(struct cw_span *rest, struct cw_span *ret_value) CW_NONNULL(1, 2) CW_MUST_USE;

/* The members of an object or the elements of an array, one after the other. */
struct cw_walk {
    struct cw_span rest;
    bool object;
    bool first;
    bool bad; /* set when the walk ended in malformed text */
};
/* False when `value` is neither an object nor an array. */
bool cw_walk_open(struct cw_walk *walk, struct cw_span value) CW_NONNULL(1) CW_MUST_USE;
/* False at the end, and on malformed text (walk->bad). *ret_key is the name between its quotes, absent in an array. */
bool cw_walk_next(struct cw_walk *walk, struct cw_span *ret_key, struct cw_span *ret_value) CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* The first member of that name; the absent span when there is none, or `object` is not an object. */
struct cw_span cw_walk_member(struct cw_span object, const char *name) CW_NONNULL(2);
/* What stands between the quotes of a string, escapes as they are; the absent span when it is not a string. */
struct cw_span cw_walk_string(struct cw_span value);
/* Both in one: the raw text of a string member, or the absent span. */
struct cw_span cw_walk_member_string(struct cw_span object, const char *name) CW_NONNULL(2);
/* Appends the text of a raw string with its escapes undone. CW_E_SYNTAX on a broken escape. */
enum cw_code cw_walk_unescape(struct cw_span raw, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;
/* Appends text as it must stand between the quotes of a JSON string. The text is UTF-8. */
enum cw_code cw_walk_escape(struct cw_span text, struct cw_str *out) CW_NONNULL(2);

#endif
