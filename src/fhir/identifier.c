/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edit is a copy with one place changed: everything before the identifiers, those that stay, ours, everything after. Between the
 * elements that stay the bytes are the source's own, blanks included.
 */
#include "config.h"

#include "fhir/identifier.h"

#include "base/arena.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "base/scan.h"

#define WHERE "identifier"

struct edit {
    struct cw_span patient;
    struct cw_span identifiers;  /* the value of `identifier`; absent when there is none */
    const char *end;             /* after the last member */
    bool empty;                  /* no member at all */
    struct cw_arena *arena;
    struct cw_span system;
};

static enum cw_code find_identifiers(struct edit *edit, struct cw_err *err)
{
    struct cw_scan scan;
    cw_scan_init(&scan, edit->patient);
    enum cw_token token = cw_scan_next(&scan);
    if (token != CW_T_OBJECT) {
        return token == CW_T_FAULT ? cw_scan_err(&scan, err, WHERE)
                                   : cw_err_set(err, CW_E_KIND, WHERE, "not an object");
    }
    edit->empty = true;
    edit->end = scan.at;
    while (cw_scan_member(&scan)) {
        bool ours = cw_scan_is(&scan, CW_SPAN("identifier"));
        struct cw_span found;
        if (!cw_scan_skip_value(&scan, &found)) {
            return cw_scan_err(&scan, err, WHERE);
        }
        if (ours && edit->identifiers.ptr != NULL) {
            return cw_err_set(err, CW_E_CONFLICT, WHERE, "identifier stands twice");
        }
        edit->identifiers = ours ? found : edit->identifiers;
        edit->end = scan.at;
        edit->empty = false;
    }
    if (scan.code != CW_OK || cw_scan_next(&scan) != CW_T_END) {
        return cw_scan_err(&scan, err, WHERE);
    }
    return CW_OK;
}

/* The object whose brace has just been read: does it carry our system? Any of several members of that name counts. */
static bool has_our_system(struct cw_scan *scan, const struct edit *edit, bool *ret_ours)
{
    *ret_ours = false;
    cw_arena_clear(edit->arena);
    enum cw_token token;
    while ((token = cw_scan_next(scan)) == CW_T_KEY) {
        struct cw_span name;
        if (!cw_scan_text(scan, edit->arena, &name)) {
            return false;
        }
        token = cw_scan_next(scan);
        if (token == CW_T_STRING && cw_span_eq_cstr(name, "system")) {
            struct cw_span system;
            if (!cw_scan_text(scan, edit->arena, &system)) {
                return false;
            }
            *ret_ours = *ret_ours || cw_span_eq(system, edit->system);
        }
        if (!cw_scan_skip(scan, token, NULL)) {
            return false;
        }
    }
    return token == CW_T_CLOSE;
}

/* The string's fault is sticky and read once, in emit(). */
static void put_ours(const struct edit *edit, struct cw_span value, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "system", edit->system);
    cw_jsonw_key_text(&w, "value", value);
    cw_jsonw_close_object(&w);
    enum cw_code sticky = cw_jsonw_end(&w);
    (void)sticky;
}

/* Copies the list without our elements, and puts ours last. What stands between two elements goes with the second. */
static enum cw_code put_list(const struct edit *edit, struct cw_span value, struct cw_str *out, struct cw_err *err)
{
    struct cw_scan scan;
    cw_scan_init(&scan, edit->identifiers);
    (void)cw_scan_next(&scan);
    cw_str_add_char(out, '[');
    const char *from = scan.at; /* after the bracket or the element before */
    bool first = true;
    bool dropped = false;
    enum cw_token token;
    while ((token = cw_scan_next(&scan)) != CW_T_CLOSE) {
        bool ours = false;
        const char *element = scan.token;
        if (!(token == CW_T_OBJECT ? has_our_system(&scan, edit, &ours) : cw_scan_skip(&scan, token, NULL))) {
            return cw_scan_err(&scan, err, WHERE);
        }
        if (!ours) {
            /* The first to stay must not begin with the comma that followed one that went. */
            const char *begin = first && dropped ? element : from;
            cw_str_add(out, begin, (size_t)(scan.at - begin));
            first = false;
        }
        dropped = dropped || ours;
        from = scan.at;
    }
    if (!first) {
        cw_str_add_char(out, ',');
    }
    put_ours(edit, value, out);
    cw_str_add(out, from, (size_t)(scan.at - from)); /* blanks and the bracket */
    return CW_OK;
}

/* The value of `identifier` as it is served. */
static enum cw_code put_value(const struct edit *edit, struct cw_span value, struct cw_str *out, struct cw_err *err)
{
    struct cw_span found = edit->identifiers;
    if (found.ptr != NULL && found.ptr[0] == '[') {
        return put_list(edit, value, out, err);
    }
    if (found.ptr != NULL && found.ptr[0] != '{' && found.ptr[0] != 'n') {
        return cw_err_set(err, CW_E_KIND, WHERE, "identifier is not a list");
    }
    cw_str_add_char(out, '[');
    if (found.ptr != NULL && found.ptr[0] == '{') {
        struct cw_scan scan;
        bool ours = false;
        cw_scan_init(&scan, found);
        (void)cw_scan_next(&scan);
        if (!has_our_system(&scan, edit, &ours)) {
            return cw_scan_err(&scan, err, WHERE);
        }
        if (!ours) {
            cw_str_add_span(out, found);
            cw_str_add_char(out, ',');
        }
    }
    put_ours(edit, value, out);
    cw_str_add_char(out, ']');
    return CW_OK;
}

static enum cw_code emit(const struct edit *edit, struct cw_span value, struct cw_str *out, struct cw_err *err)
{
    const char *begin = edit->patient.ptr;
    const char *end = begin + edit->patient.len;
    const char *from = edit->identifiers.ptr == NULL ? edit->end : edit->identifiers.ptr;
    const char *to = from + edit->identifiers.len;
    cw_str_add(out, begin, (size_t)(from - begin));
    if (edit->identifiers.ptr == NULL) {
        cw_str_add_cstr(out, edit->empty ? "\"identifier\":" : ",\"identifier\":");
    }
    enum cw_code rc = put_value(edit, value, out, err);
    if (rc != CW_OK) {
        return rc;
    }
    cw_str_add(out, to, (size_t)(end - to));
    rc = cw_str_code(out);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, WHERE, "the Patient does not fit");
}

enum cw_code cw_identifier_put(struct cw_span patient, struct cw_span system, struct cw_span value, struct cw_str *out,
                               struct cw_err *err)
{
    struct edit edit = { .patient = patient, .system = system, .arena = cw_arena_new(CW_FHIR_RESOURCE_MAX) };
    if (edit.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory");
    }
    enum cw_code rc = find_identifiers(&edit, err);
    if (rc == CW_OK) {
        rc = emit(&edit, value, out, err);
    }
    cw_arena_free(edit.arena);
    return rc;
}
