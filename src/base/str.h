/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte string with a required maximum.
 *
 * Invariants after cw_str_init: `buf` is NULL or NUL-terminated at `len`; `len <= max`. On any failed append the
 * string frees itself and is empty, and every later append returns the same code (the fault is sticky), so that a
 * run of appends may be checked once, at its end, by cw_str_code(). cw_str_clear() makes it usable again.
 */
#ifndef CW_BASE_STR_H
#define CW_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

struct cw_str {
    char *buf;
    size_t len;
    size_t cap;
    size_t max;          /* most bytes of content, from base/limits.h */
    enum cw_code code;   /* CW_OK, CW_E_TOO_BIG or CW_E_OOM */
    bool secret;         /* wiped before memory is returned */
};

/* Starts an empty string of at most `max` bytes. Allocates nothing. */
void cw_str_init(struct cw_str *s, size_t max) CW_NONNULL(1);
/* As cw_str_init, for tokens and keys: memory is wiped on growth, clear and release. */
void cw_str_init_secret(struct cw_str *s, size_t max) CW_NONNULL(1);
/* Frees the memory; the string may be initialised again. Accepts a zeroed struct. */
void cw_str_release(struct cw_str *s) CW_NONNULL(1);
/* Empties it, keeps the memory, forgets the fault. */
void cw_str_clear(struct cw_str *s) CW_NONNULL(1);

enum cw_code cw_str_add(struct cw_str *s, const void *bytes, size_t len) CW_NONNULL(1);
enum cw_code cw_str_add_cstr(struct cw_str *s, const char *text) CW_NONNULL(1, 2);
enum cw_code cw_str_add_span(struct cw_str *s, struct cw_span span) CW_NONNULL(1);
enum cw_code cw_str_add_char(struct cw_str *s, char c) CW_NONNULL(1);
enum cw_code cw_str_add_int(struct cw_str *s, int64_t value) CW_NONNULL(1);
enum cw_code cw_str_addf(struct cw_str *s, const char *format, ...) CW_NONNULL(1, 2) CW_PRINTF(2, 3);

/* Makes room for `extra` more bytes and returns where to write them; NULL on a fault. Follow with cw_str_grow_by. */
char *cw_str_reserve(struct cw_str *s, size_t extra) CW_NONNULL(1) CW_MUST_USE;
void cw_str_grow_by(struct cw_str *s, size_t written) CW_NONNULL(1);
/* Shortens the content to its first `len` bytes; nothing when it is that short already. */
void cw_str_cut(struct cw_str *s, size_t len) CW_NONNULL(1);

/* Frees the content and makes `code` the sticky fault; for builders whose own fault is the string's. Returns the code. */
enum cw_code cw_str_fail(struct cw_str *s, enum cw_code code) CW_NONNULL(1);
/* The fault so far, CW_OK when none. */
enum cw_code cw_str_code(const struct cw_str *s) CW_NONNULL(1) CW_MUST_USE;
/* Content as a C string; "" when empty. Valid until the next change. */
const char *cw_str_cstr(const struct cw_str *s) CW_NONNULL(1) CW_RETURNS_NONNULL;
struct cw_span cw_str_span(const struct cw_str *s) CW_NONNULL(1);
/* Hands the buffer to the caller (free() it) and leaves the string empty; NULL after a fault. "" is allocated when empty. */
char *cw_str_take(struct cw_str *s) CW_NONNULL(1) CW_MUST_USE;

#define CW_AUTO_STR CW_CLEANUP(cw_str_release) struct cw_str

#endif
