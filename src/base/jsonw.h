/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON writer into a cw_str. It keeps a stack of open brackets and puts the commas; misuse (a value without a key in an object, a
 * bracket left open) is a bug and aborts. Keys are literals. Output is compact. Check once, at the end, by cw_jsonw_end().
 * Text is escaped; bytes that are not UTF-8 become U+FFFD, so the output is always valid.
 */
#ifndef CW_BASE_JSONW_H
#define CW_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

#define CW_JSONW_DEPTH_MAX 32

struct cw_jsonw {
    struct cw_str *out;
    unsigned depth;
    char open[CW_JSONW_DEPTH_MAX]; /* '{' or '[' */
    bool comma;                    /* something stands before on this level */
    bool keyed;                    /* a key waits for its value */
};

/* Appends to *out, which stays the caller's. */
void cw_jsonw_init(struct cw_jsonw *w, struct cw_str *out) CW_NONNULL(1, 2);
/* Aborts when brackets are open; returns the fault of the string. */
enum cw_code cw_jsonw_end(struct cw_jsonw *w) CW_NONNULL(1) CW_MUST_USE;

void cw_jsonw_key(struct cw_jsonw *w, const char *literal) CW_NONNULL(1, 2);
void cw_jsonw_open_object(struct cw_jsonw *w) CW_NONNULL(1);
void cw_jsonw_close_object(struct cw_jsonw *w) CW_NONNULL(1);
void cw_jsonw_open_array(struct cw_jsonw *w) CW_NONNULL(1);
void cw_jsonw_close_array(struct cw_jsonw *w) CW_NONNULL(1);
void cw_jsonw_text(struct cw_jsonw *w, struct cw_span text) CW_NONNULL(1); /* an absent span writes null */
void cw_jsonw_cstr(struct cw_jsonw *w, const char *text) CW_NONNULL(1);    /* NULL writes null */
void cw_jsonw_int(struct cw_jsonw *w, int64_t value) CW_NONNULL(1);
void cw_jsonw_bool(struct cw_jsonw *w, bool value) CW_NONNULL(1);
void cw_jsonw_null(struct cw_jsonw *w) CW_NONNULL(1);
void cw_jsonw_time(struct cw_jsonw *w, int64_t time_us) CW_NONNULL(1);
/* Bytes that are one valid JSON value already (a stored resource, stored metadata). */
void cw_jsonw_raw(struct cw_jsonw *w, struct cw_span json) CW_NONNULL(1);

/* Key and value in one call, for the common case. */
void cw_jsonw_key_text(struct cw_jsonw *w, const char *literal, struct cw_span text) CW_NONNULL(1, 2);
void cw_jsonw_key_cstr(struct cw_jsonw *w, const char *literal, const char *text) CW_NONNULL(1, 2);
void cw_jsonw_key_int(struct cw_jsonw *w, const char *literal, int64_t value) CW_NONNULL(1, 2);
void cw_jsonw_key_bool(struct cw_jsonw *w, const char *literal, bool value) CW_NONNULL(1, 2);
void cw_jsonw_key_time(struct cw_jsonw *w, const char *literal, int64_t time_us) CW_NONNULL(1, 2);

#endif
