/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Body tables. Metadata is handed on as the bytes that came: a tree written out again would change the app's decimals
 * (98.6 becomes 98.599999999999994), and the contract says that it is echoed.
 */
#include "config.h"

#include "api/body.h"

#include "base/limits.h"
#include "base/scan.h"
#include "base/text.h"

#define PARAM_MAX 64 /* bytes of an unknown name that are told back */

static size_t field_find(const struct cw_field *table, const char *name)
{
    size_t i = 0;
    while (table[i].name != NULL && strcmp(table[i].name, name) != 0) {
        i++;
    }
    return i;
}

static bool fault(struct cw_body_fault *ret_fault, const char *code, const char *param, const char *message)
{
    *ret_fault = (struct cw_body_fault){ code, param, message };
    return false;
}

static bool invalid(struct cw_body_fault *ret_fault, const struct cw_field *field, const char *message)
{
    return fault(ret_fault, "invalid_data", field->name, message);
}

/* --- kinds --- */

static struct cw_span text_of(const json_t *value)
{
    return cw_span_of(json_string_value(value), json_string_length(value));
}

static bool take_text(const json_t *value, const struct cw_field *field, struct cw_span *ret,
                      struct cw_body_fault *ret_fault)
{
    if (!json_is_string(value)) {
        return invalid(ret_fault, field, "This must be a text.");
    }
    struct cw_span text = text_of(value);
    if (cw_utf8_has_control(text)) {
        return invalid(ret_fault, field, "Control characters are not allowed here.");
    }
    size_t length = cw_utf8_length(text);
    if (length < (size_t)field->min) {
        return invalid(ret_fault, field, "This is too short.");
    }
    if (length > (size_t)field->max) {
        return invalid(ret_fault, field, "This is too long.");
    }
    *ret = text;
    return true;
}

/* Labels of letters, digits, hyphens or non-ASCII (RFC 6532), none empty, at least one. */
static bool is_mail_domain(struct cw_span domain)
{
    bool label = false;
    for (size_t i = 0; i < domain.len; i++) {
        unsigned char c = (unsigned char)domain.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c >= 0x80;
        if (!letter && (c != '.' || !label)) {
            return false;
        }
        label = letter;
    }
    return label;
}

/* local@domain without quoting, blanks or comments: what forms and mail clients call an address. */
static bool is_email(struct cw_span text)
{
    struct cw_span domain = text;
    struct cw_span local;
    if (text.len > CW_EMAIL_MAX || !cw_span_cut(&domain, '@', &local) || local.len == 0 || local.len > 64) {
        return false;
    }
    bool dot = true; /* none at the start, none twice, none at the end */
    for (size_t i = 0; i < local.len; i++) {
        unsigned char c = (unsigned char)local.ptr[i];
        if (c <= 0x20 || c == 0x7f || strchr("\"(),:;<>[\\]", c) != NULL || (c == '.' && dot)) {
            return false;
        }
        dot = c == '.';
    }
    return !dot && is_mail_domain(domain);
}

static bool take_int(const json_t *value, const struct cw_field *field, int64_t *ret, struct cw_body_fault *ret_fault)
{
    int64_t number = json_integer_value(value);
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real < -1e15 || real > 1e15 || real != (double)(int64_t)real) {
            return invalid(ret_fault, field, "This must be a whole number.");
        }
        number = (int64_t)real;
    } else if (!json_is_integer(value)) {
        return invalid(ret_fault, field, "This must be a whole number.");
    }
    if (number < field->min || number > field->max) {
        return invalid(ret_fault, field, "This is out of range.");
    }
    *ret = number;
    return true;
}

static bool take_texts(const json_t *value, const struct cw_field *field, struct cw_body_fault *ret_fault)
{
    if (!json_is_array(value)) {
        return invalid(ret_fault, field, "This must be a list of texts.");
    }
    if (json_array_size(value) > (size_t)field->max) {
        return invalid(ret_fault, field, "This list is too long.");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        struct cw_span text = text_of(item);
        if (!json_is_string(item) || text.len == 0 || text.len > CW_URL_MAX || cw_utf8_has_control(text)) {
            return invalid(ret_fault, field, "An item of this list is not a text of fitting length.");
        }
    }
    return true;
}

/* Deepest nesting of brackets; the text is valid JSON, so only strings need care. */
static unsigned depth_of(struct cw_span json)
{
    unsigned depth = 0;
    unsigned deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (quoted) {
            i += c == '\\' ? 1 : 0;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

/* The bytes of one member of the body. */
static bool raw_member(struct cw_span body, const char *name, struct cw_span *ret)
{
    struct cw_scan scan;
    cw_scan_init(&scan, body);
    if (cw_scan_next(&scan) != CW_T_OBJECT) {
        return false;
    }
    while (cw_scan_member(&scan)) {
        bool found = cw_scan_is(&scan, cw_span_cstr(name));
        struct cw_span value;
        if (!cw_scan_skip_value(&scan, &value)) {
            return false;
        }
        if (found) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_metadata(const json_t *value, struct cw_span body, const struct cw_field *field, struct cw_span *ret,
                          struct cw_body_fault *ret_fault)
{
    if (!json_is_object(value)) {
        return invalid(ret_fault, field, "This must be an object.");
    }
    if (json_object_size(value) > CW_METADATA_KEYS_MAX) {
        return invalid(ret_fault, field, "An object of at most 50 keys is allowed here.");
    }
    struct cw_span raw;
    if (!raw_member(body, field->name, &raw)) {
        return fault(ret_fault, "bad_request", field->name, "Member names must be written without escapes.");
    }
    if (raw.len > CW_METADATA_MAX) {
        return invalid(ret_fault, field, "This object is larger than 16 KiB.");
    }
    if (depth_of(raw) > CW_METADATA_DEPTH_MAX) {
        return invalid(ret_fault, field, "This object is nested deeper than 8 levels.");
    }
    *ret = raw;
    return true;
}

/* --- the table --- */

static bool take(const json_t *value, struct cw_span text, struct cw_body *body, size_t at,
                 struct cw_body_fault *ret_fault)
{
    const struct cw_field *field = &body->table[at];
    body->values[at].sent = true;
    if (json_is_null(value) && field->nullable) {
        return true;
    }
    switch (field->kind) {
    case CW_FIELD_TEXT:
        return take_text(value, field, &body->values[at].text, ret_fault);
    case CW_FIELD_EMAIL:
        if (!json_is_string(value) || !is_email(text_of(value)) || cw_utf8_has_control(text_of(value))) {
            return invalid(ret_fault, field, "This is not an e-mail address.");
        }
        body->values[at].text = text_of(value);
        return true;
    case CW_FIELD_INT:
        return take_int(value, field, &body->values[at].number, ret_fault);
    case CW_FIELD_TEXTS:
        body->values[at].array = value;
        return take_texts(value, field, ret_fault);
    case CW_FIELD_METADATA:
        return take_metadata(value, text, field, &body->values[at].text, ret_fault);
    }
    return false;
}

static bool refuse_unknown(const json_t *json, const struct cw_field *table, struct cw_arena *arena,
                           struct cw_body_fault *ret_fault)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value) {
        if (table[field_find(table, name)].name == NULL) {
            struct cw_span text = cw_span_cstr(name);
            bool shown = text.len <= PARAM_MAX && !cw_utf8_has_control(text);
            return fault(ret_fault, "invalid_data", shown ? cw_arena_text(arena, text) : NULL,
                         "This field is not known here.");
        }
    }
    return true;
}

bool cw_body_check(const json_t *json, struct cw_span text, const struct cw_field *table, bool strict,
                   struct cw_arena *arena, struct cw_body *ret_body, struct cw_body_fault *ret_fault)
{
    struct cw_body body = { .table = table };
    if (strict && !refuse_unknown(json, table, arena, ret_fault)) {
        return false;
    }
    for (size_t i = 0; table[i].name != NULL; i++) {
        const json_t *value = json_object_get(json, table[i].name);
        if (value != NULL && !take(value, text, &body, i, ret_fault)) {
            return false;
        }
        if (value == NULL && table[i].required) {
            return fault(ret_fault, "bad_request", table[i].name, "This field is required.");
        }
    }
    *ret_body = body;
    return true;
}

bool cw_body_read(struct cw_request *request, struct cw_reply *reply, const struct cw_field *table, bool strict,
                  struct cw_body *ret_body)
{
    struct cw_body_fault found;
    if (!cw_body_check(cw_request_json(request), cw_request_body(request), table, strict, cw_request_arena(request),
                       ret_body, &found)) {
        cw_reply_fault(reply, found.code, found.param, found.message);
        return false;
    }
    return true;
}

static size_t known(const struct cw_body *body, const char *name)
{
    size_t at = field_find(body->table, name);
    if (body->table[at].name == NULL) {
        cw_bug("no such field in the table");
    }
    return at;
}

struct cw_span cw_body_text(const struct cw_body *body, const char *name)
{
    return body->values[known(body, name)].text;
}

int64_t cw_body_int(const struct cw_body *body, const char *name, int64_t fallback)
{
    size_t at = known(body, name);
    return body->values[at].sent ? body->values[at].number : fallback;
}

const json_t *cw_body_array(const struct cw_body *body, const char *name)
{
    return body->values[known(body, name)].array;
}

bool cw_body_sent(const struct cw_body *body, const char *name)
{
    return body->values[known(body, name)].sent;
}
