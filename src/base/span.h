/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view of bytes that somebody else owns, and cursors that parse by cutting from its front.
 * No function here allocates, and none reads past ptr + len; spans need no NUL.
 */
#ifndef CW_BASE_SPAN_H
#define CW_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"

struct cw_span {
    const char *ptr; /* NULL only when len is 0; NULL means "absent" where a contract says so */
    size_t len;
};

/* A span over a string literal. */
#define CW_SPAN(literal) ((struct cw_span){ "" literal, sizeof(literal) - 1 })

static inline struct cw_span cw_span_of(const void *bytes, size_t len)
{
    return (struct cw_span){ bytes, len };
}

/* NULL gives the absent span. */
static inline struct cw_span cw_span_cstr(const char *text)
{
    return (struct cw_span){ text, text == NULL ? 0 : strlen(text) };
}

bool cw_span_eq(struct cw_span a, struct cw_span b) CW_PURE;
bool cw_span_eq_cstr(struct cw_span a, const char *text) CW_PURE CW_NONNULL(2);
/* ASCII case is ignored. */
bool cw_span_eq_nocase(struct cw_span a, struct cw_span b) CW_PURE;
bool cw_span_starts(struct cw_span a, struct cw_span prefix) CW_PURE;
bool cw_span_ends(struct cw_span a, struct cw_span suffix) CW_PURE;
/* Index of the first `c`, or a.len when there is none. */
size_t cw_span_find(struct cw_span a, char c) CW_PURE;
/* Index of the first occurrence of needle, or a.len when there is none. */
size_t cw_span_find_span(struct cw_span a, struct cw_span needle) CW_PURE;
struct cw_span cw_span_from(struct cw_span a, size_t at);          /* at > len gives the empty end */
struct cw_span cw_span_upto(struct cw_span a, size_t len);
/* Without ASCII blanks, tabs, CR and LF at both ends. */
struct cw_span cw_span_trim(struct cw_span a);

/* A NUL-terminated copy, for free(); "" for the absent span; NULL when out of memory. strndup looks for a NUL that spans do not have. */
char *cw_span_dup(struct cw_span a) CW_MUST_USE;

/* Cuts everything before the first `c` into *ret_word and drops `c`; without a `c` takes all that is left and returns false. */
bool cw_span_cut(struct cw_span *a, char c, struct cw_span *ret_word) CW_NONNULL(1, 3);
/* The next word between blanks; false at the end. */
bool cw_span_word(struct cw_span *a, struct cw_span *ret_word) CW_NONNULL(1, 2);
/* The whole span as an unsigned decimal of at most `max`; false on anything else, "" and leading '+' included. */
bool cw_span_u64(struct cw_span a, uint64_t max, uint64_t *ret_value) CW_NONNULL(3) CW_MUST_USE;
/* The whole span as a signed decimal within [min, max]. */
bool cw_span_i64(struct cw_span a, int64_t min, int64_t max, int64_t *ret_value) CW_NONNULL(4) CW_MUST_USE;

#endif
