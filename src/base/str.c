/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing string. Its one idea: the maximum is part of the object, and the first fault sticks, so that a run of
 * appends needs one check at its end and outside data can never grow memory without a name in limits.h.
 */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define FIRST_CAP 64u

void cw_str_init(struct cw_str *s, size_t max)
{
    /* Half the address space keeps `len + extra + 1` from wrapping, whatever the caller asks for. */
    *s = (struct cw_str){ .max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2 };
}

void cw_str_init_secret(struct cw_str *s, size_t max)
{
    cw_str_init(s, max);
    s->secret = true;
}

static void drop_buffer(struct cw_str *s)
{
    if (s->secret) {
        cw_wipe(s->buf, s->cap);
    }
    free(s->buf);
    s->buf = NULL;
    s->len = 0;
    s->cap = 0;
}

void cw_str_release(struct cw_str *s)
{
    drop_buffer(s);
    s->code = CW_OK;
}

void cw_str_clear(struct cw_str *s)
{
    if (s->buf != NULL) {
        if (s->secret) {
            cw_wipe(s->buf, s->cap);
        }
        s->buf[0] = '\0';
    }
    s->len = 0;
    s->code = CW_OK;
}

enum cw_code cw_str_fail(struct cw_str *s, enum cw_code code)
{
    drop_buffer(s);
    s->code = code;
    return code;
}

/* realloc would leave the old bytes of a secret behind in the heap. */
static char *grow_buffer(struct cw_str *s, size_t cap)
{
    if (!s->secret) {
        return realloc(s->buf, cap);
    }
    char *fresh = malloc(cap);
    if (fresh == NULL) {
        return NULL;
    }
    if (s->buf != NULL) {
        memcpy(fresh, s->buf, s->len + 1);
        cw_wipe(s->buf, s->cap);
        free(s->buf);
    }
    return fresh;
}

char *cw_str_reserve(struct cw_str *s, size_t extra)
{
    if (s->code != CW_OK) {
        return NULL;
    }
    if (extra > s->max - s->len) {
        (void)cw_str_fail(s, CW_E_TOO_BIG);
        return NULL;
    }
    size_t need = s->len + extra + 1;
    if (need > s->cap) {
        size_t cap = s->cap < FIRST_CAP ? FIRST_CAP : s->cap * 2;
        cap = cap > s->max + 1 ? s->max + 1 : cap;
        cap = cap < need ? need : cap;
        char *buf = grow_buffer(s, cap);
        if (buf == NULL) {
            (void)cw_str_fail(s, CW_E_OOM);
            return NULL;
        }
        s->buf = buf;
        s->cap = cap;
        s->buf[s->len] = '\0';
    }
    return s->buf + s->len;
}

void cw_str_grow_by(struct cw_str *s, size_t written)
{
    if (s->buf == NULL || written > s->cap - 1 - s->len) {
        cw_bug("cw_str_grow_by over what was reserved");
    }
    s->len += written;
    s->buf[s->len] = '\0';
}

void cw_str_cut(struct cw_str *s, size_t len)
{
    if (len >= s->len) {
        return;
    }
    if (s->secret) {
        cw_wipe(s->buf + len, s->len - len);
    }
    s->len = len;
    s->buf[len] = '\0';
}

enum cw_code cw_str_add(struct cw_str *s, const void *bytes, size_t len)
{
    char *at = cw_str_reserve(s, len);
    if (at == NULL) {
        return s->code;
    }
    if (len > 0) {
        memcpy(at, bytes, len);
        cw_str_grow_by(s, len);
    }
    return CW_OK;
}

enum cw_code cw_str_add_cstr(struct cw_str *s, const char *text)
{
    return cw_str_add(s, text, strlen(text));
}

enum cw_code cw_str_add_span(struct cw_str *s, struct cw_span span)
{
    return cw_str_add(s, span.ptr, span.len);
}

enum cw_code cw_str_add_char(struct cw_str *s, char c)
{
    return cw_str_add(s, &c, 1);
}

enum cw_code cw_str_add_int(struct cw_str *s, int64_t value)
{
    char digits[sizeof "-9223372036854775808"];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)value);
    return cw_str_add(s, digits, (size_t)len);
}

enum cw_code cw_str_addf(struct cw_str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        return cw_str_fail(s, CW_E_TOO_BIG);
    }
    char *at = cw_str_reserve(s, (size_t)len);
    if (at == NULL) {
        return s->code;
    }
    va_start(args, format);
    (void)vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    cw_str_grow_by(s, (size_t)len);
    return CW_OK;
}

enum cw_code cw_str_code(const struct cw_str *s)
{
    return s->code;
}

const char *cw_str_cstr(const struct cw_str *s)
{
    return s->buf == NULL ? "" : s->buf;
}

struct cw_span cw_str_span(const struct cw_str *s)
{
    return cw_span_of(cw_str_cstr(s), s->len);
}

char *cw_str_take(struct cw_str *s)
{
    if (cw_str_reserve(s, 0) == NULL) {
        return NULL;
    }
    char *buf = s->buf;
    s->buf = NULL;
    s->len = 0;
    s->cap = 0;
    return buf;
}
