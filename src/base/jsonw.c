/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer. It remembers the open brackets, so that a program which forgets one stops at once, in tests. */
#include "base/jsonw.h"

#include "base/text.h"
#include "base/time.h"

void cw_jsonw_init(struct cw_jsonw *w, struct cw_str *out)
{
    *w = (struct cw_jsonw){ .out = out };
}

enum cw_code cw_jsonw_end(struct cw_jsonw *w)
{
    if (w->depth != 0 || w->keyed) {
        cw_bug("JSON ended with a bracket or a key open");
    }
    return cw_str_code(w->out);
}

static bool in_object(const struct cw_jsonw *w)
{
    return w->depth > 0 && w->open[w->depth - 1] == '{';
}

/* What must stand before a value. */
static void begin_value(struct cw_jsonw *w)
{
    if (in_object(w) != w->keyed) {
        cw_bug("a JSON value in an object needs a key");
    }
    if (w->depth == 0 && w->comma) {
        cw_bug("a second JSON value at the root");
    }
    if (w->comma && !w->keyed) {
        (void)cw_str_add_char(w->out, ',');
    }
    w->keyed = false;
    w->comma = true;
}

static void open_bracket(struct cw_jsonw *w, char bracket)
{
    begin_value(w);
    if (w->depth == CW_JSONW_DEPTH_MAX) {
        cw_bug("JSON written too deep");
    }
    w->open[w->depth++] = bracket;
    w->comma = false;
    (void)cw_str_add_char(w->out, bracket);
}

static void close_bracket(struct cw_jsonw *w, char bracket, char closing)
{
    if (w->depth == 0 || w->open[w->depth - 1] != bracket || w->keyed) {
        cw_bug("a JSON bracket closed that is not open");
    }
    w->depth--;
    w->comma = true;
    (void)cw_str_add_char(w->out, closing);
}

static void add_escaped(struct cw_str *out, struct cw_span text)
{
    size_t start = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        (void)cw_str_add(out, text.ptr + start, i - start);
        start = i + 1;
        if (c == '"' || c == '\\') {
            (void)cw_str_add(out, (char[]){ '\\', (char)c }, 2);
        } else if (c == '\n') {
            (void)cw_str_add_cstr(out, "\\n");
        } else {
            (void)cw_str_addf(out, "\\u%04x", (unsigned)c);
        }
    }
    (void)cw_str_add_span(out, cw_span_from(text, start));
}

static void add_quoted(struct cw_str *out, struct cw_span text)
{
    (void)cw_str_add_char(out, '"');
    if (cw_utf8_valid(text)) {
        add_escaped(out, text);
    } else {
        CW_AUTO_STR good;
        cw_str_init(&good, out->max);
        if (cw_utf8_repair(text, &good) == CW_OK) {
            add_escaped(out, cw_str_span(&good));
        } else {
            (void)cw_str_fail(out, cw_str_code(&good));
        }
    }
    (void)cw_str_add_char(out, '"');
}

void cw_jsonw_key(struct cw_jsonw *w, const char *literal)
{
    if (!in_object(w) || w->keyed) {
        cw_bug("a JSON key where none can stand");
    }
    if (w->comma) {
        (void)cw_str_add_char(w->out, ',');
    }
    add_quoted(w->out, cw_span_cstr(literal));
    (void)cw_str_add_char(w->out, ':');
    w->keyed = true;
}

void cw_jsonw_open_object(struct cw_jsonw *w)
{
    open_bracket(w, '{');
}

void cw_jsonw_close_object(struct cw_jsonw *w)
{
    close_bracket(w, '{', '}');
}

void cw_jsonw_open_array(struct cw_jsonw *w)
{
    open_bracket(w, '[');
}

void cw_jsonw_close_array(struct cw_jsonw *w)
{
    close_bracket(w, '[', ']');
}

void cw_jsonw_text(struct cw_jsonw *w, struct cw_span text)
{
    if (text.ptr == NULL) {
        cw_jsonw_null(w);
        return;
    }
    begin_value(w);
    add_quoted(w->out, text);
}

void cw_jsonw_cstr(struct cw_jsonw *w, const char *text)
{
    cw_jsonw_text(w, cw_span_cstr(text));
}

void cw_jsonw_int(struct cw_jsonw *w, int64_t value)
{
    begin_value(w);
    (void)cw_str_add_int(w->out, value);
}

void cw_jsonw_bool(struct cw_jsonw *w, bool value)
{
    cw_jsonw_raw(w, value ? CW_SPAN("true") : CW_SPAN("false"));
}

void cw_jsonw_null(struct cw_jsonw *w)
{
    cw_jsonw_raw(w, CW_SPAN("null"));
}

void cw_jsonw_time(struct cw_jsonw *w, int64_t time_us)
{
    char text[CW_TIME_TEXT];
    cw_time_emit(time_us, text);
    cw_jsonw_cstr(w, text);
}

void cw_jsonw_raw(struct cw_jsonw *w, struct cw_span json)
{
    if (json.len == 0) {
        cw_bug("an empty JSON value");
    }
    begin_value(w);
    (void)cw_str_add_span(w->out, json);
}

void cw_jsonw_key_text(struct cw_jsonw *w, const char *literal, struct cw_span text)
{
    cw_jsonw_key(w, literal);
    cw_jsonw_text(w, text);
}

void cw_jsonw_key_cstr(struct cw_jsonw *w, const char *literal, const char *text)
{
    cw_jsonw_key(w, literal);
    cw_jsonw_cstr(w, text);
}

void cw_jsonw_key_int(struct cw_jsonw *w, const char *literal, int64_t value)
{
    cw_jsonw_key(w, literal);
    cw_jsonw_int(w, value);
}

void cw_jsonw_key_bool(struct cw_jsonw *w, const char *literal, bool value)
{
    cw_jsonw_key(w, literal);
    cw_jsonw_bool(w, value);
}

void cw_jsonw_key_time(struct cw_jsonw *w, const char *literal, int64_t time_us)
{
    cw_jsonw_key(w, literal);
    cw_jsonw_time(w, time_us);
}
