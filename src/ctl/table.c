/* SPDX-License-Identifier: Apache-2.0 */
/* Lists for people and for programs from one description. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "base/text.h"
#include "base/time.h"

#define OUTPUT_MAX (64u * 1024u * 1024u)
#define WIDTH_MAX 60u

/* What a person sees: names come from outside, so nothing that could move a terminal's cursor passes. */
static enum cw_code cell_text(enum ctl_kind kind, const struct ctl_cell *cell, struct cw_str *out)
{
    char time_text[CW_TIME_TEXT];
    switch (kind) {
    case CTL_INT:
        return cw_str_add_int(out, cell->number);
    case CTL_BOOL:
        return cw_str_add_cstr(out, cell->number != 0 ? "yes" : "no");
    case CTL_TIME:
        if (cell->number == 0) {
            return cw_str_add_char(out, '-');
        }
        cw_time_emit(cell->number, time_text);
        return cw_str_add_cstr(out, time_text);
    case CTL_TEXT:
    case CTL_LIST:
    case CTL_RAW:
        break;
    }
    if (cell->text.len == 0) {
        return cw_str_add_char(out, '-');
    }
    if (!cw_utf8_has_control(cell->text)) {
        return cw_str_add_span(out, cell->text);
    }
    for (size_t i = 0; i < cell->text.len; i++) {
        unsigned char c = (unsigned char)cell->text.ptr[i];
        (void)cw_str_add_char(out, c < 0x20 || c >= 0x7f ? '?' : (char)c);
    }
    return cw_str_code(out);
}

static void json_list(struct cw_jsonw *w, struct cw_span words)
{
    struct cw_span word;
    cw_jsonw_open_array(w);
    while (cw_span_word(&words, &word)) {
        cw_jsonw_text(w, word);
    }
    cw_jsonw_close_array(w);
}

static void json_cell(struct cw_jsonw *w, enum ctl_kind kind, const struct ctl_cell *cell)
{
    switch (kind) {
    case CTL_INT:
        cw_jsonw_int(w, cell->number);
        break;
    case CTL_BOOL:
        cw_jsonw_bool(w, cell->number != 0);
        break;
    case CTL_TIME:
        if (cell->number == 0) {
            cw_jsonw_null(w);
        } else {
            cw_jsonw_time(w, cell->number);
        }
        break;
    case CTL_LIST:
        json_list(w, cell->text);
        break;
    case CTL_RAW:
        cw_jsonw_raw(w, cell->text);
        break;
    case CTL_TEXT:
        cw_jsonw_text(w, cell->text);
        break;
    }
}

static void json_row(struct cw_jsonw *w, const struct ctl_table *table, size_t row)
{
    cw_jsonw_open_object(w);
    for (size_t at = 0; at < table->width; at++) {
        cw_jsonw_key(w, table->columns[at].key);
        json_cell(w, table->columns[at].kind, &table->cells[row * table->width + at]);
    }
    cw_jsonw_close_object(w);
}

static enum cw_code emit_json(const struct ctl_table *table, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_array(&w);
    for (size_t row = 0; row < table->count; row++) {
        json_row(&w, table, row);
    }
    cw_jsonw_close_array(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    return rc == CW_OK ? cw_str_add_char(out, '\n') : rc;
}

/* One cell and the blanks behind it; the last of a line has none. */
static void add_padded(struct cw_str *out, struct cw_span text, size_t width, bool last)
{
    size_t length = cw_utf8_length(text);
    (void)cw_str_add_span(out, text);
    for (size_t i = length; !last && i < width + 2; i++) {
        (void)cw_str_add_char(out, ' ');
    }
}

static enum cw_code column_width(const struct ctl_table *table, size_t at, struct cw_str *text, size_t *ret)
{
    size_t width = strlen(table->columns[at].key);
    for (size_t row = 0; row < table->count; row++) {
        cw_str_clear(text);
        enum cw_code rc = cell_text(table->columns[at].kind, &table->cells[row * table->width + at], text);
        if (rc != CW_OK) {
            return rc;
        }
        size_t length = cw_utf8_length(cw_str_span(text));
        width = length > width ? length : width;
    }
    *ret = width < WIDTH_MAX ? width : WIDTH_MAX;
    return CW_OK;
}

#define COLUMNS_MAX 24u

static enum cw_code emit_text(const struct ctl_table *table, struct cw_str *out)
{
    size_t widths[COLUMNS_MAX] = { 0 };
    CW_AUTO_STR text;
    cw_str_init(&text, OUTPUT_MAX);
    if (table->width > COLUMNS_MAX) {
        cw_bug("a table with too many columns");
    }
    for (size_t at = 0; at < table->width; at++) {
        enum cw_code rc = column_width(table, at, &text, &widths[at]);
        if (rc != CW_OK) {
            return rc;
        }
        add_padded(out, cw_span_cstr(table->columns[at].key), widths[at], at + 1 == table->width);
    }
    (void)cw_str_add_char(out, '\n');
    for (size_t row = 0; row < table->count; row++) {
        for (size_t at = 0; at < table->width; at++) {
            cw_str_clear(&text);
            enum cw_code rc = cell_text(table->columns[at].kind, &table->cells[row * table->width + at], &text);
            if (rc != CW_OK) {
                return rc;
            }
            add_padded(out, cw_str_span(&text), widths[at], at + 1 == table->width);
        }
        (void)cw_str_add_char(out, '\n');
    }
    return cw_str_code(out);
}

enum cw_code ctl_table_emit(const struct ctl_table *table, bool json, struct cw_str *out)
{
    return json ? emit_json(table, out) : emit_text(table, out);
}

enum cw_code ctl_table_print(const struct ctl *ctl, const struct ctl_table *table, struct cw_err *err)
{
    CW_AUTO_STR out;
    cw_str_init(&out, OUTPUT_MAX);
    enum cw_code rc = ctl_table_emit(table, ctl_switch(ctl, "--json"), &out);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "print", "the list is too long to print");
    }
    (void)fwrite(cw_str_cstr(&out), 1, out.len, stdout); /* main checks stdout once, at the end */
    return CW_OK;
}

enum cw_code ctl_made_print(const struct ctl *ctl, const struct ctl_table *table, struct cw_err *err)
{
    CW_AUTO_STR out;
    cw_str_init_secret(&out, OUTPUT_MAX); /* it may be a key */
    enum cw_code rc = CW_OK;
    if (ctl_switch(ctl, "--json")) {
        struct cw_jsonw w;
        cw_jsonw_init(&w, &out);
        json_row(&w, table, 0);
        rc = cw_jsonw_end(&w);
    } else {
        rc = cell_text(table->columns[0].kind, &table->cells[0], &out);
    }
    if (rc == CW_OK) {
        rc = cw_str_add_char(&out, '\n');
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "print", "out of memory");
    }
    (void)fwrite(cw_str_cstr(&out), 1, out.len, stdout);
    return CW_OK;
}

struct cw_span ctl_id(const struct ctl *ctl, const char *prefix, struct cw_ulid id)
{
    char text[CW_ID_TEXT_MAX];
    cw_id_emit(prefix, id, text);
    return cw_arena_span(ctl->arena, cw_span_cstr(text));
}

struct ctl_cell *ctl_cells(const struct ctl *ctl, size_t count, size_t width, struct cw_err *err)
{
    size_t cells = 0;
    struct ctl_cell *out = __builtin_mul_overflow(count, width, &cells)
        ? NULL : cw_arena_array(ctl->arena, cells, sizeof *out);
    if (out == NULL) {
        (void)cw_err_set(err, CW_E_TOO_BIG, "print", "the list is too long to print");
    }
    return out;
}
