/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text from outside. UTF-8 is checked by one stepper that knows RFC 3629's table of well-formed sequences; decoders of
 * percent, base64 and hex leave *out as it was when the input is broken, so that nothing half-read is used.
 */
#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <utf8proc.h>

/* The length of the sequence at ptr[0], with *ret_good; of a bad one, that of its maximal subpart (Unicode 3.9), which
 * is what one U+FFFD stands for. len > 0. */
static size_t utf8_step(const char *ptr, size_t len, bool *ret_good)
{
    const uint8_t *p = (const uint8_t *)ptr;
    size_t need = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    *ret_good = false;
    if (p[0] < 0x80) {
        *ret_good = true;
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        need = 1;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        need = 2;
        low = p[0] == 0xe0 ? 0xa0 : low;    /* overlong */
        high = p[0] == 0xed ? 0x9f : high;  /* surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        need = 3;
        low = p[0] == 0xf0 ? 0x90 : low;    /* overlong */
        high = p[0] == 0xf4 ? 0x8f : high;  /* above U+10FFFF */
    } else {
        return 1;
    }
    for (size_t i = 1; i <= need; i++) {
        if (i >= len || p[i] < low || p[i] > high) {
            return i;
        }
        low = 0x80;
        high = 0xbf;
    }
    *ret_good = true;
    return need + 1;
}

bool cw_utf8_valid(struct cw_span text)
{
    bool good = true;
    for (size_t at = 0; at < text.len && good;) {
        at += utf8_step(text.ptr + at, text.len - at, &good);
    }
    return good;
}

size_t cw_utf8_length(struct cw_span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

bool cw_utf8_has_control(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        /* C1 is U+0080 to U+009F: 0xc2 and then 0x80 to 0x9f. */
        bool c1 = c == 0xc2 && i + 1 < text.len && (uint8_t)text.ptr[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || c1) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_utf8_repair(struct cw_span bytes, struct cw_str *out)
{
    size_t start = 0; /* of the run of good bytes not yet written */
    for (size_t at = 0; at < bytes.len;) {
        bool good = false;
        size_t len = utf8_step(bytes.ptr + at, bytes.len - at, &good);
        if (!good) {
            (void)cw_str_add(out, bytes.ptr + start, at - start);
            (void)cw_str_add_cstr(out, "\xef\xbf\xbd");
            start = at + len;
        }
        at += len;
    }
    return cw_str_add_span(out, cw_span_from(bytes, start));
}

static utf8proc_int32_t to_lower(utf8proc_int32_t point, void *arg)
{
    (void)arg;
    return utf8proc_tolower(point);
}

static enum cw_code unicode_fault(utf8proc_ssize_t rc)
{
    switch (rc) {
    case UTF8PROC_ERROR_NOMEM:
        return CW_E_OOM;
    case UTF8PROC_ERROR_OVERFLOW:
        return CW_E_TOO_BIG;
    default:
        return CW_E_SYNTAX;
    }
}

enum cw_code cw_text_lower_nfc(struct cw_span text, struct cw_str *out)
{
    if (!cw_utf8_valid(text)) {
        return CW_E_SYNTAX;
    }
    if (text.len == 0) {
        return cw_str_code(out);
    }
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t len = utf8proc_map_custom((const utf8proc_uint8_t *)text.ptr, (utf8proc_ssize_t)text.len, &mapped,
                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE, to_lower, NULL);
    if (len < 0) {
        return unicode_fault(len);
    }
    enum cw_code rc = cw_str_add(out, mapped, (size_t)len);
    free(mapped);
    return rc;
}

/* Letters that Unicode does not take apart but people type without their stroke. */
static const char *unstroke(utf8proc_int32_t point)
{
    switch (point) {
    case 0x00e6:
        return "ae";
    case 0x00f8:
        return "o";
    case 0x0111:
        return "d";
    case 0x0142:
        return "l";
    case 0x0153:
        return "oe";
    default:
        return NULL;
    }
}

static bool is_word(utf8proc_int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO)
        || (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

/* Copies words with one blank between them; none before the first or after the last. */
static enum cw_code add_words(const utf8proc_uint8_t *text, utf8proc_ssize_t len, struct cw_str *out)
{
    bool gap = false;
    bool any = false;
    for (utf8proc_ssize_t at = 0; at < len;) {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t step = utf8proc_iterate(text + at, len - at, &point);
        if (step <= 0) {
            return CW_E_SYNTAX;
        }
        if (!is_word(point)) {
            gap = any;
        } else {
            if (gap) {
                (void)cw_str_add_char(out, ' ');
            }
            const char *plain = unstroke(point);
            (void)(plain != NULL ? cw_str_add_cstr(out, plain) : cw_str_add(out, text + at, (size_t)step));
            gap = false;
            any = true;
        }
        at += step;
    }
    return cw_str_code(out);
}

enum cw_code cw_text_fold(struct cw_span text, struct cw_str *out)
{
    if (!cw_utf8_valid(text)) {
        return CW_E_SYNTAX;
    }
    if (text.len == 0) {
        return cw_str_code(out);
    }
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text.ptr, (utf8proc_ssize_t)text.len, &mapped,
                                        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD
                                            | UTF8PROC_STRIPMARK | UTF8PROC_IGNORE);
    if (len < 0) {
        return unicode_fault(len);
    }
    enum cw_code rc = add_words(mapped, len, out);
    free(mapped);
    return rc;
}

/* 0 to 15, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'
        || c == '_' || c == '~';
}

enum cw_code cw_percent_encode(struct cw_span text, struct cw_str *out)
{
    static const char upper[] = "0123456789ABCDEF"; /* RFC 3986 2.1: upper case is the normal form */
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (is_unreserved(text.ptr[i])) {
            (void)cw_str_add_char(out, text.ptr[i]);
        } else {
            (void)cw_str_add(out, (char[]){ '%', upper[c >> 4], upper[c & 15] }, 3);
        }
    }
    return cw_str_code(out);
}

enum cw_code cw_percent_decode(struct cw_span text, bool plus, struct cw_str *out)
{
    size_t before = out->len;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                cw_str_cut(out, before);
                return CW_E_SYNTAX;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        (void)cw_str_add_char(out, c);
    }
    return cw_str_code(out);
}

enum cw_code cw_form_add(struct cw_str *out, const char *name, struct cw_span value)
{
    if (out->len > 0) {
        (void)cw_str_add_char(out, '&');
    }
    (void)cw_percent_encode(cw_span_cstr(name), out);
    (void)cw_str_add_char(out, '=');
    return cw_percent_encode(value, out);
}

static const char alphabet_plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static enum cw_code base64_encode(struct cw_span bytes, const char *alphabet, bool pad, struct cw_str *out)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    for (size_t at = 0; at < bytes.len; at += 3) {
        size_t have = bytes.len - at < 3 ? bytes.len - at : 3;
        uint32_t group = (uint32_t)p[at] << 16;
        group |= have > 1 ? (uint32_t)p[at + 1] << 8 : 0;
        group |= have > 2 ? (uint32_t)p[at + 2] : 0;
        char text[4] = { alphabet[group >> 18], alphabet[(group >> 12) & 63], alphabet[(group >> 6) & 63],
                         alphabet[group & 63] };
        (void)cw_str_add(out, text, have + 1);
        if (pad && have < 3) {
            (void)cw_str_add(out, "==", 3 - have);
        }
    }
    return cw_str_code(out);
}

/* 0 to 63, or -1. */
static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    return c == (url ? '_' : '/') ? 63 : -1;
}

static size_t padding_of(struct cw_span text)
{
    size_t count = 0;
    while (count < 2 && count < text.len && text.ptr[text.len - 1 - count] == '=') {
        count++;
    }
    return count;
}

static enum cw_code base64_decode(struct cw_span text, bool url, struct cw_str *out)
{
    size_t padding = padding_of(text);
    if (text.len % 4 != 0 && (!url || padding != 0)) {
        return CW_E_SYNTAX;
    }
    text.len -= padding;
    if (text.len % 4 == 1) {
        return CW_E_SYNTAX;
    }
    size_t before = out->len;
    uint32_t window = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.ptr[i], url);
        if (value < 0) {
            cw_str_cut(out, before);
            return CW_E_SYNTAX;
        }
        window = ((window << 6) | (uint32_t)value) & 0xffffu;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            (void)cw_str_add_char(out, (char)(window >> bits));
        }
    }
    /* Left-over bits that are not zero: two texts for the same bytes, which a signature check must never meet. */
    if ((window & ((1u << bits) - 1u)) != 0) {
        cw_str_cut(out, before);
        return CW_E_SYNTAX;
    }
    return cw_str_code(out);
}

enum cw_code cw_base64url_encode(struct cw_span bytes, struct cw_str *out)
{
    return base64_encode(bytes, alphabet_url, false, out);
}

enum cw_code cw_base64_encode(struct cw_span bytes, struct cw_str *out)
{
    return base64_encode(bytes, alphabet_plain, true, out);
}

enum cw_code cw_base64url_decode(struct cw_span text, struct cw_str *out)
{
    return base64_decode(text, true, out);
}

enum cw_code cw_base64_decode(struct cw_span text, struct cw_str *out)
{
    return base64_decode(text, false, out);
}

enum cw_code cw_hex_encode(struct cw_span bytes, struct cw_str *out)
{
    static const char lower[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = (uint8_t)bytes.ptr[i];
        (void)cw_str_add(out, (char[]){ lower[c >> 4], lower[c & 15] }, 2);
    }
    return cw_str_code(out);
}

enum cw_code cw_hex_decode(struct cw_span text, struct cw_str *out)
{
    size_t before = out->len;
    if (text.len % 2 != 0) {
        return CW_E_SYNTAX;
    }
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_value(text.ptr[i]);
        int low = hex_value(text.ptr[i + 1]);
        if (high < 0 || low < 0) {
            cw_str_cut(out, before);
            return CW_E_SYNTAX;
        }
        (void)cw_str_add_char(out, (char)(high * 16 + low));
    }
    return cw_str_code(out);
}
