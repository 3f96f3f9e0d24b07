/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over JSON bytes: a cursor that knows strings and brackets and trusts nothing else. */
#include "config.h"
#include "sandbox/walk.h"

#include <stdint.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct cw_span *rest)
{
    while (rest->len > 0 && is_blank(*rest->ptr)) {
        rest->ptr++;
        rest->len--;
    }
}

static void advance(struct cw_span *rest, size_t by)
{
    rest->ptr += by;
    rest->len -= by;
}

/* Length of the string literal at the front, quotes included; 0 when it does not end. */
static size_t string_length(struct cw_span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\') {
            i++;
        } else if (text.ptr[i] == '"') {
            return i + 1;
        }
    }
    return 0;
}

/* Length of the object or array at the front; 0 when it is broken or too deep. One bit a level: object or array. */
static size_t bracket_length(struct cw_span text)
{
    uint64_t objects = 0;
    unsigned depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"') {
            size_t len = string_length(cw_span_from(text, i));
            if (len == 0) {
                return 0;
            }
            i += len - 1;
        } else if (c == '{' || c == '[') {
            if (depth == CW_WALK_DEPTH_MAX) {
                return 0;
            }
            objects = objects << 1 | (c == '{' ? 1u : 0u);
            depth++;
        } else if (c == '}' || c == ']') {
            if ((objects & 1u) != (c == '}' ? 1u : 0u)) {
                return 0;
            }
            objects >>= 1;
            if (--depth == 0) {
                return i + 1;
            }
        }
    }
    return 0;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

static size_t word_length(struct cw_span text)
{
    size_t len = 0;
    while (len < text.len && is_word(text.ptr[len])) {
        len++;
    }
    return len;
}

bool cw_walk_value(struct cw_span *rest, struct cw_span *ret_value)
{
    skip_blanks(rest);
    if (rest->len == 0) {
        return false;
    }
    char c = *rest->ptr;
    size_t len = c == '"'               ? string_length(*rest)
                 : c == '{' || c == '[' ? bracket_length(*rest)
                                        : word_length(*rest);
    if (len == 0) {
        return false;
    }
    *ret_value = cw_span_upto(*rest, len);
    advance(rest, len);
    return true;
}

bool cw_walk_open(struct cw_walk *walk, struct cw_span value)
{
    skip_blanks(&value);
    if (value.len < 2 || (*value.ptr != '{' && *value.ptr != '[')) {
        return false;
    }
    *walk = (struct cw_walk){ .rest = cw_span_from(value, 1), .object = *value.ptr == '{', .first = true };
    return true;
}

static bool broken(struct cw_walk *walk)
{
    walk->bad = true;
    return false;
}

bool cw_walk_next(struct cw_walk *walk, struct cw_span *ret_key, struct cw_span *ret_value)
{
    if (walk->bad) {
        return false;
    }
    skip_blanks(&walk->rest);
    if (walk->rest.len == 0) {
        return broken(walk);
    }
    if (*walk->rest.ptr == (walk->object ? '}' : ']')) {
        return false;
    }
    if (!walk->first) {
        if (*walk->rest.ptr != ',') {
            return broken(walk);
        }
        advance(&walk->rest, 1);
    }
    walk->first = false;
    *ret_key = (struct cw_span){ NULL, 0 };
    if (walk->object) {
        struct cw_span quoted;
        if (!cw_walk_value(&walk->rest, &quoted) || *quoted.ptr != '"') {
            return broken(walk);
        }
        *ret_key = cw_walk_string(quoted);
        skip_blanks(&walk->rest);
        if (walk->rest.len == 0 || *walk->rest.ptr != ':') {
            return broken(walk);
        }
        advance(&walk->rest, 1);
    }
    return cw_walk_value(&walk->rest, ret_value) || broken(walk);
}

struct cw_span cw_walk_member(struct cw_span object, const char *name)
{
    struct cw_walk walk;
    struct cw_span key, value;
    if (cw_walk_open(&walk, object) && walk.object) {
        while (cw_walk_next(&walk, &key, &value)) {
            if (cw_span_eq_cstr(key, name)) {
                return value;
            }
        }
    }
    return (struct cw_span){ NULL, 0 };
}

struct cw_span cw_walk_string(struct cw_span value)
{
    if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"') {
        return (struct cw_span){ NULL, 0 };
    }
    return cw_span_of(value.ptr + 1, value.len - 2);
}

struct cw_span cw_walk_member_string(struct cw_span object, const char *name)
{
    return cw_walk_string(cw_walk_member(object, name));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits behind \u at text[at]; -1 when they are not there. */
static int32_t code_unit(struct cw_span text, size_t at)
{
    int32_t unit = 0;
    for (size_t i = at; i < at + 4; i++) {
        int digit = i < text.len ? hex_digit(text.ptr[i]) : -1;
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static void add_utf8(uint32_t c, struct cw_str *out)
{
    char bytes[4];
    size_t len;
    if (c < 0x80) {
        bytes[0] = (char)c;
        len = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        len = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        len = 3;
    } else {
        bytes[0] = (char)(0xf0 | c >> 18);
        len = 4;
    }
    for (size_t i = 1; i < len; i++) {
        bytes[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3f));
    }
    cw_str_add(out, bytes, len);
}

/* One \uXXXX, or two that make a surrogate pair; *at stands behind the 'u' and is moved on. */
static bool unescape_unicode(struct cw_span raw, size_t *at, struct cw_str *out)
{
    int32_t unit = code_unit(raw, *at);
    if (unit < 0 || (unit >= 0xdc00 && unit < 0xe000)) {
        return false;
    }
    *at += 4;
    if (unit < 0xd800 || unit >= 0xe000) {
        add_utf8((uint32_t)unit, out);
        return true;
    }
    if (*at + 6 > raw.len || raw.ptr[*at] != '\\' || raw.ptr[*at + 1] != 'u') {
        return false;
    }
    int32_t low = code_unit(raw, *at + 2);
    if (low < 0xdc00 || low >= 0xe000) {
        return false;
    }
    *at += 6;
    add_utf8(0x10000u + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00), out);
    return true;
}

enum cw_code cw_walk_unescape(struct cw_span raw, struct cw_str *out)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < raw.len;) {
        if (raw.ptr[i] != '\\') {
            cw_str_add_char(out, raw.ptr[i++]);
            continue;
        }
        if (i + 1 >= raw.len) {
            return CW_E_SYNTAX;
        }
        char c = raw.ptr[i + 1];
        i += 2;
        if (c == 'u') {
            if (!unescape_unicode(raw, &i, out)) {
                return CW_E_SYNTAX;
            }
            continue;
        }
        const char *hit = c == '\0' ? NULL : strchr(letters, c);
        if (hit == NULL) {
            return CW_E_SYNTAX;
        }
        cw_str_add_char(out, meaning[hit - letters]);
    }
    return cw_str_code(out);
}

enum cw_code cw_walk_escape(struct cw_span text, struct cw_str *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"' || c == '\\') {
            cw_str_add_char(out, '\\');
            cw_str_add_char(out, c);
        } else if (c == '\n') {
            cw_str_add_cstr(out, "\\n");
        } else if ((unsigned char)c < 0x20) {
            cw_str_addf(out, "\\u%04x", (unsigned)(unsigned char)c);
        } else {
            cw_str_add_char(out, c);
        }
    }
    return out->code;
}
