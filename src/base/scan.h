/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict JSON tokenizer over bytes in memory: RFC 8259 grammar, RFC 3629 UTF-8, bounded depth, no allocation, no recursion.
 *
 * It exists beside base/json because clinical resources are bytes (design 5): a tree costs thirty times the time and changes decimals.
 * Readers pull tokens; what they do not care about they pass by cw_scan_skip(), which validates all the same. A fault is sticky.
 */
#ifndef CW_BASE_SCAN_H
#define CW_BASE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

enum cw_token {
    CW_T_FAULT,  /* scan.code and scan.why say what */
    CW_T_END,    /* the one value is over and nothing but blanks follows */
    CW_T_OBJECT, /* { */
    CW_T_ARRAY,  /* [ */
    CW_T_CLOSE,  /* } or ] */
    CW_T_KEY,    /* a member's name, its colon consumed; the next token is its value */
    CW_T_STRING,
    CW_T_NUMBER,
    CW_T_TRUE,
    CW_T_FALSE,
    CW_T_NULL
};

struct cw_scan {
    const char *start;
    const char *at;
    const char *end;
    const char *token;   /* first byte of the last token */
    struct cw_span text; /* KEY, STRING: between the quotes, escapes as sent; NUMBER: its digits */
    bool escaped;        /* text holds at least one backslash */
    bool after_value;    /* the next thing must be a comma or a close */
    bool after_comma;    /* a close is not allowed now */
    bool want_value;     /* a name has been read */
    unsigned depth;
    uint64_t objects;    /* bit d-1: the bracket at depth d is an object */
    enum cw_code code;   /* CW_E_SYNTAX, CW_E_TOO_BIG (depth) */
    const char *why;     /* a literal */
};

/* Starts at `json`, which stays the caller's. Depth is limited to CW_JSON_DEPTH_MAX. */
void cw_scan_init(struct cw_scan *scan, struct cw_span json) CW_NONNULL(1);
/* The next token. */
enum cw_token cw_scan_next(struct cw_scan *scan) CW_NONNULL(1);
/* `first` is the token just read, which starts a value: consumes that value whole and gives its bytes (quotes and brackets included).
 * False on a fault. */
bool cw_scan_skip(struct cw_scan *scan, enum cw_token first, struct cw_span *ret_value) CW_NONNULL(1) CW_MUST_USE;
/* Next member of the object that is open: true with its name in scan->text; false at its end or on a fault (then scan->code is set). A name
 * with an escape is a fault: no FHIR element has one, and "\u0069d" must not be a second "id". */
bool cw_scan_member(struct cw_scan *scan) CW_NONNULL(1) CW_MUST_USE;
/* Reads the member's value and skips it whole. */
bool cw_scan_skip_value(struct cw_scan *scan, struct cw_span *ret_value) CW_NONNULL(1) CW_MUST_USE;
/* Makes the fault a cw_err with the byte offset (never the bytes) and returns its code. */
enum cw_code cw_scan_err(const struct cw_scan *scan, struct cw_err *err, const char *where) CW_NONNULL(1, 3) CW_COLD;
/* Records a fault found by a reader. */
void cw_scan_fail(struct cw_scan *scan, enum cw_code code, const char *why) CW_NONNULL(1, 3) CW_COLD;

static inline bool cw_scan_is(const struct cw_scan *scan, struct cw_span name)
{
    return scan->text.len == name.len && memcmp(scan->text.ptr, name.ptr, name.len) == 0;
}

/* The meaning of the string token just read: its own bytes when it holds no escape, else decoded into the arena. Absent when an escape
 * stands for no character (half a surrogate pair). False: out of memory, a fault of the scan. */
bool cw_scan_text(struct cw_scan *scan, struct cw_arena *arena, struct cw_span *ret_text) CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
