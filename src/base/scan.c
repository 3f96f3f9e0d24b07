/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokenizer. Three flags (after_value, after_comma, want_value) and a bit per open bracket are all its state. Strings, most of a
 * FHIR page, are walked eight bytes at a time.
 */
#include "config.h"

#include "base/scan.h"

#include <endian.h>

#include "base/limits.h"

_Static_assert(CW_JSON_DEPTH_MAX <= 64, "one bit a level");

void cw_scan_init(struct cw_scan *scan, struct cw_span json)
{
    *scan = (struct cw_scan){ .start = json.ptr, .at = json.ptr, .end = json.ptr + json.len, .token = json.ptr };
    if (json.ptr == NULL) {
        *scan = (struct cw_scan){ .start = "", .at = "", .end = "", .token = "" };
    }
}

void cw_scan_fail(struct cw_scan *scan, enum cw_code code, const char *why)
{
    if (scan->code == CW_OK) {
        scan->code = code;
        scan->why = why;
    }
}

static CW_COLD enum cw_token fault(struct cw_scan *scan, enum cw_code code, const char *why)
{
    cw_scan_fail(scan, code, why);
    return CW_T_FAULT;
}

enum cw_code cw_scan_err(const struct cw_scan *scan, struct cw_err *err, const char *where)
{
    enum cw_code code = scan->code == CW_OK ? CW_E_SYNTAX : scan->code;
    return cw_err_set(err, code, where, "%s at byte %zu", scan->why == NULL ? "unexpected value" : scan->why,
                      (size_t)(scan->at - scan->start));
}

static inline const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

/* Length of the well-formed UTF-8 sequence at p (a byte of 0x80 or more), or 0. RFC 3629 section 4. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if ((p[0] & 0xf0) == 0xe0) {
        unsigned char low = p[0] == 0xe0 ? 0xa0 : 0x80;
        unsigned char high = p[0] == 0xed ? 0x9f : 0xbf; /* surrogates */
        return left >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        unsigned char low = p[0] == 0xf0 ? 0x90 : 0x80;
        unsigned char high = p[0] == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* The lowest set bit marks the first of eight bytes that needs a look: a quote, a backslash, a control character or a byte over 0x7f. (The
 * subtractions may also mark bytes above a true one; only the lowest is used.) */
static inline uint64_t special_bytes(uint64_t x)
{
    uint64_t quote = x ^ EACH_BYTE('"');
    uint64_t slash = x ^ EACH_BYTE('\\');
    uint64_t marks = (quote - EACH_BYTE(1)) & ~quote;
    marks |= (slash - EACH_BYTE(1)) & ~slash;
    marks |= (x - EACH_BYTE(0x20)) & ~x;
    return (marks | x) & EACH_BYTE(0x80);
}

static inline const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t x;
        memcpy(&x, p, sizeof(x));
        uint64_t marks = special_bytes(le64toh(x));
        if (marks != 0) {
            return p + (__builtin_ctzll(marks) >> 3);
        }
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape at p (a backslash): its length, or 0 when it is none. Half a surrogate pair is grammatical (RFC 8259 section 8.2) but stands
 * for no character; it passes here and is refused where the text is read. */
static size_t escape_length(const char *p, size_t left)
{
    if (left < 2) {
        return 0;
    }
    if (p[1] != 'u') {
        return memchr("\"\\/bfnrt", p[1], 8) != NULL ? 2 : 0;
    }
    if (left < 6) {
        return 0;
    }
    for (int i = 2; i < 6; i++) {
        if (hex_value(p[i]) < 0) {
            return 0;
        }
    }
    return 6;
}

/* scan->at stands on the opening quote. */
static bool read_string(struct cw_scan *scan)
{
    const char *p = scan->at + 1;
    const char *end = scan->end;
    const char *begin = p;
    scan->escaped = false;
    for (;;) {
        p = skip_plain(p, end);
        if (p == end) {
            fault(scan, CW_E_SYNTAX, "the text ends inside a string");
            return false;
        }
        size_t step;
        if (*p == '"') {
            break;
        }
        if (*p == '\\') {
            step = escape_length(p, (size_t)(end - p));
            scan->escaped = true;
        } else {
            step = utf8_sequence((const unsigned char *)p, (size_t)(end - p));
        }
        if (step == 0) {
            scan->at = p;
            fault(scan, CW_E_SYNTAX,
                  *p == '\\' ? "bad escape" : ((unsigned char)*p < 0x20 ? "control character in a string" : "not UTF-8"));
            return false;
        }
        p += step;
    }
    scan->text = cw_span_of(begin, (size_t)(p - begin));
    scan->at = p + 1;
    return true;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

static bool read_number(struct cw_scan *scan)
{
    const char *p = scan->at;
    const char *end = scan->end;
    if (*p == '-') {
        p++;
    }
    const char *digits = p;
    p = skip_digits(p, end);
    bool good = p > digits && (*digits != '0' || p == digits + 1);
    if (good && p < end && *p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p, end);
        good = p > fraction;
    }
    if (good && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }
        const char *exponent = p;
        p = skip_digits(p, end);
        good = p > exponent;
    }
    if (!good) {
        fault(scan, CW_E_SYNTAX, "bad number");
        return false;
    }
    scan->text = cw_span_of(scan->at, (size_t)(p - scan->at));
    scan->at = p;
    return true;
}

static bool read_word(struct cw_scan *scan, struct cw_span word)
{
    if ((size_t)(scan->end - scan->at) < word.len || memcmp(scan->at, word.ptr, word.len) != 0) {
        fault(scan, CW_E_SYNTAX, "not a JSON value");
        return false;
    }
    scan->at += word.len;
    return true;
}

static inline bool in_object(const struct cw_scan *scan)
{
    return scan->depth > 0 && ((scan->objects >> (scan->depth - 1)) & 1u) != 0;
}

static enum cw_token open_bracket(struct cw_scan *scan, bool object)
{
    if (scan->depth == CW_JSON_DEPTH_MAX) {
        return fault(scan, CW_E_TOO_BIG, "nested too deeply");
    }
    uint64_t bit = UINT64_C(1) << scan->depth;
    scan->objects = object ? scan->objects | bit : scan->objects & ~bit;
    scan->depth++;
    scan->at++;
    scan->after_value = false;
    return object ? CW_T_OBJECT : CW_T_ARRAY;
}

static inline enum cw_token close_bracket(struct cw_scan *scan)
{
    if (scan->after_comma || *scan->at != (in_object(scan) ? '}' : ']')) {
        return fault(scan, CW_E_SYNTAX, "a bracket closes that is not open");
    }
    scan->depth--;
    scan->at++;
    scan->after_value = true;
    return CW_T_CLOSE;
}

static enum cw_token read_value(struct cw_scan *scan)
{
    scan->after_comma = false;
    scan->want_value = false;
    scan->after_value = true;
    switch (*scan->at) {
    case '"':
        return read_string(scan) ? CW_T_STRING : CW_T_FAULT;
    case '{':
        return open_bracket(scan, true);
    case '[':
        return open_bracket(scan, false);
    case 't':
        return read_word(scan, CW_SPAN("true")) ? CW_T_TRUE : CW_T_FAULT;
    case 'f':
        return read_word(scan, CW_SPAN("false")) ? CW_T_FALSE : CW_T_FAULT;
    case 'n':
        return read_word(scan, CW_SPAN("null")) ? CW_T_NULL : CW_T_FAULT;
    default:
        if (*scan->at != '-' && (*scan->at < '0' || *scan->at > '9')) {
            return fault(scan, CW_E_SYNTAX, "not a JSON value");
        }
        return read_number(scan) ? CW_T_NUMBER : CW_T_FAULT;
    }
}

static enum cw_token read_key(struct cw_scan *scan)
{
    if (*scan->at != '"') {
        return fault(scan, CW_E_SYNTAX, "a member without a name");
    }
    if (!read_string(scan)) {
        return CW_T_FAULT;
    }
    scan->at = skip_blanks(scan->at, scan->end);
    if (scan->at == scan->end || *scan->at != ':') {
        return fault(scan, CW_E_SYNTAX, "a name without a colon");
    }
    scan->at++;
    scan->after_comma = false;
    scan->want_value = true;
    return CW_T_KEY;
}

enum cw_token cw_scan_next(struct cw_scan *scan)
{
    if (scan->code != CW_OK) {
        return CW_T_FAULT;
    }
    scan->at = skip_blanks(scan->at, scan->end);
    if (scan->after_value && scan->depth > 0 && scan->at < scan->end && *scan->at == ',') {
        scan->at = skip_blanks(scan->at + 1, scan->end);
        scan->after_value = false;
        scan->after_comma = true;
    }
    scan->token = scan->at;
    if (scan->at == scan->end) {
        if (scan->after_value && scan->depth == 0) {
            return CW_T_END;
        }
        return fault(scan, CW_E_SYNTAX, "the text ends too early");
    }
    if (scan->after_value && scan->depth == 0) {
        return fault(scan, CW_E_SYNTAX, "something follows the value");
    }
    if (scan->depth > 0 && !scan->want_value && (*scan->at == '}' || *scan->at == ']')) {
        return close_bracket(scan);
    }
    if (scan->after_value) {
        return fault(scan, CW_E_SYNTAX, "a comma is missing");
    }
    if (in_object(scan) && !scan->want_value) {
        return read_key(scan);
    }
    return read_value(scan);
}

bool cw_scan_skip(struct cw_scan *scan, enum cw_token first, struct cw_span *ret_value)
{
    const char *begin = scan->token;
    if (first == CW_T_FAULT || first == CW_T_END || first == CW_T_CLOSE || first == CW_T_KEY) {
        cw_scan_fail(scan, CW_E_SYNTAX, "a value is missing");
        return false;
    }
    if (first == CW_T_OBJECT || first == CW_T_ARRAY) {
        unsigned outer = scan->depth - 1;
        do {
            if (cw_scan_next(scan) == CW_T_FAULT) {
                return false;
            }
        } while (scan->depth > outer);
    }
    if (ret_value != NULL) {
        *ret_value = cw_span_of(begin, (size_t)(scan->at - begin));
    }
    return true;
}

bool cw_scan_skip_value(struct cw_scan *scan, struct cw_span *ret_value)
{
    return cw_scan_skip(scan, cw_scan_next(scan), ret_value);
}

bool cw_scan_member(struct cw_scan *scan)
{
    if (cw_scan_next(scan) != CW_T_KEY) {
        return false;
    }
    if (scan->escaped) {
        cw_scan_fail(scan, CW_E_SYNTAX, "a member's name with an escape");
        return false;
    }
    return true;
}

static unsigned hex4(const char *p)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        value = value << 4 | (unsigned)hex_value(p[i]);
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Decodes the \uXXXX (or pair of them) at p, already known to be grammatical; bytes consumed, 0 for half a pair. */
static size_t unescape_unicode(const char *p, size_t left, uint32_t *ret_char)
{
    uint32_t c = hex4(p + 2);
    if (c < 0xd800 || c > 0xdfff) {
        *ret_char = c;
        return 6;
    }
    if (c > 0xdbff || left < 12 || p[6] != '\\' || p[7] != 'u') {
        return 0;
    }
    uint32_t low = hex4(p + 8);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    *ret_char = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

/* One escape at p; the bytes it takes, 0 when it stands for no character. */
static size_t unescape(const char *p, size_t left, char *out, size_t *len)
{
    if (p[1] == 'u') {
        uint32_t c = 0;
        size_t used = unescape_unicode(p, left, &c);
        *len += used == 0 ? 0 : put_utf8(out + *len, c);
        return used;
    }
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *found = memchr(from, p[1], sizeof(from) - 1);
    if (found == NULL) {
        return 0;
    }
    out[(*len)++] = to[found - from];
    return 2;
}

bool cw_scan_text(struct cw_scan *scan, struct cw_arena *arena, struct cw_span *ret_text)
{
    struct cw_span text = scan->text;
    *ret_text = text;
    if (!scan->escaped) {
        return true;
    }
    char *out = cw_arena_alloc(arena, text.len);
    if (out == NULL) {
        cw_scan_fail(scan, CW_E_OOM, "no memory for a text");
        return false;
    }
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        if (text.ptr[i] != '\\') {
            out[len++] = text.ptr[i++];
            continue;
        }
        size_t used = unescape(text.ptr + i, text.len - i, out, &len);
        if (used == 0) {
            *ret_text = (struct cw_span){ NULL, 0 };
            return true;
        }
        i += used;
    }
    *ret_text = cw_span_of(out, len);
    return true;
}
