/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors over borrowed bytes. Every loop is bounded by the span's length; nothing looks for a NUL. */
#include "base/span.h"

#include <stdlib.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* tolower() asks the locale; protocol words are ASCII. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* memcmp with NULL is undefined even for no bytes. */
static bool same(const char *a, const char *b, size_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}

bool cw_span_eq(struct cw_span a, struct cw_span b)
{
    return a.len == b.len && same(a.ptr, b.ptr, a.len);
}

bool cw_span_eq_cstr(struct cw_span a, const char *text)
{
    return cw_span_eq(a, cw_span_cstr(text));
}

bool cw_span_eq_nocase(struct cw_span a, struct cw_span b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool cw_span_starts(struct cw_span a, struct cw_span prefix)
{
    return a.len >= prefix.len && same(a.ptr, prefix.ptr, prefix.len);
}

bool cw_span_ends(struct cw_span a, struct cw_span suffix)
{
    return a.len >= suffix.len && cw_span_eq(cw_span_from(a, a.len - suffix.len), suffix);
}

size_t cw_span_find(struct cw_span a, char c)
{
    const char *at = a.len == 0 ? NULL : memchr(a.ptr, c, a.len);
    return at == NULL ? a.len : (size_t)(at - a.ptr);
}

size_t cw_span_find_span(struct cw_span a, struct cw_span needle)
{
    if (needle.len == 0) {
        return 0;
    }
    const char *at = a.len < needle.len ? NULL : memmem(a.ptr, a.len, needle.ptr, needle.len);
    return at == NULL ? a.len : (size_t)(at - a.ptr);
}

struct cw_span cw_span_from(struct cw_span a, size_t at)
{
    size_t skip = at < a.len ? at : a.len;
    /* Adding 0 to NULL is undefined in C17. */
    return skip == 0 ? a : cw_span_of(a.ptr + skip, a.len - skip);
}

struct cw_span cw_span_upto(struct cw_span a, size_t len)
{
    return cw_span_of(a.ptr, len < a.len ? len : a.len);
}

struct cw_span cw_span_trim(struct cw_span a)
{
    while (a.len > 0 && is_blank(a.ptr[0])) {
        a = cw_span_from(a, 1);
    }
    while (a.len > 0 && is_blank(a.ptr[a.len - 1])) {
        a.len--;
    }
    return a;
}

bool cw_span_cut(struct cw_span *a, char c, struct cw_span *ret_word)
{
    size_t at = cw_span_find(*a, c);
    bool found = at < a->len;
    *ret_word = cw_span_upto(*a, at);
    *a = cw_span_from(*a, found ? at + 1 : at);
    return found;
}

bool cw_span_word(struct cw_span *a, struct cw_span *ret_word)
{
    size_t start = 0;
    while (start < a->len && is_blank(a->ptr[start])) {
        start++;
    }
    size_t end = start;
    while (end < a->len && !is_blank(a->ptr[end])) {
        end++;
    }
    if (end == start) {
        *a = cw_span_from(*a, a->len);
        return false;
    }
    *ret_word = cw_span_of(a->ptr + start, end - start);
    *a = cw_span_from(*a, end);
    return true;
}

bool cw_span_u64(struct cw_span a, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < a.len; i++) {
        if (a.ptr[i] < '0' || a.ptr[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(a.ptr[i] - '0');
        if (value > max / 10 || value * 10 > max - digit || digit > max) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (a.len == 0) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool cw_span_i64(struct cw_span a, int64_t min, int64_t max, int64_t *ret_value)
{
    bool negative = a.len > 0 && a.ptr[0] == '-';
    uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t magnitude = 0;
    if (!cw_span_u64(cw_span_from(a, negative ? 1 : 0), most, &magnitude)) {
        return false;
    }
    /* 0 - magnitude wraps to the two's complement pattern, INT64_MIN included. */
    int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

char *cw_span_dup(struct cw_span a)
{
    char *copy = malloc(a.len + 1);
    if (copy != NULL) {
        if (a.len > 0) {
            memcpy(copy, a.ptr, a.len);
        }
        copy[a.len] = '\0';
    }
    return copy;
}
