/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate in front of jansson. Size and depth are judged on the bytes, before any tree is built: a tree costs eleven
 * times its text, and jansson's own depth limit (2048) is fixed when it is compiled.
 */
#include "base/json.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/secret.h"

static void free_wiped(void *block)
{
    cw_wipe(block, malloc_usable_size(block));
    free(block);
}

void cw_json_wipe_freed(void)
{
    json_set_alloc_funcs(malloc, free_wiped);
}

/* True when no bracket stands deeper than `most`. Text that is not JSON may pass; jansson then refuses it. */
static bool is_shallow(struct cw_span text, unsigned most)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (depth == most) {
                return false;
            }
            depth++;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

enum cw_code cw_json_parse(struct cw_span text, struct cw_json_limits limits, json_t **ret_root, struct cw_err *err)
{
    if (text.len > limits.max_bytes) {
        return cw_err_set(err, CW_E_TOO_BIG, "json", "%zu bytes, at most %zu", text.len, limits.max_bytes);
    }
    if (!is_shallow(text, limits.max_depth)) {
        return cw_err_set(err, CW_E_TOO_BIG, "json", "deeper than %u", limits.max_depth);
    }
    size_t flags = (limits.flags & CW_JSON_DUPLICATES_TOO) != 0 ? 0 : JSON_REJECT_DUPLICATES;
    json_error_t fault;
    json_t *root = json_loadb(text.len == 0 ? "" : text.ptr, text.len, flags, &fault);
    if (root == NULL) {
        if (json_error_code(&fault) == json_error_out_of_memory) {
            return cw_err_set(err, CW_E_OOM, "json", "out of memory");
        }
        /* Place and kind only: jansson's own text quotes the document. */
        return cw_err_set(err, CW_E_SYNTAX, "json", "not JSON at line %d column %d (jansson code %d)", fault.line,
                          fault.column, (int)json_error_code(&fault));
    }
    if (!json_is_object(root) && !(json_is_array(root) && (limits.flags & CW_JSON_ARRAY_TOO) != 0)) {
        json_decref(root);
        return cw_err_set(err, CW_E_SYNTAX, "json", "the root is not an object");
    }
    *ret_root = root;
    return CW_OK;
}

static enum cw_code missing(const char *name, struct cw_err *err)
{
    return cw_err_set(err, CW_E_MISSING, "json", "%s is missing", name);
}

static enum cw_code wrong_kind(const char *name, const char *wanted, struct cw_err *err)
{
    return cw_err_set(err, CW_E_KIND, "json", "%s is not %s", name, wanted);
}

static struct cw_span text_of(const json_t *string)
{
    return cw_span_of(json_string_value(string), json_string_length(string));
}

enum cw_code cw_json_text(const json_t *object, const char *name, struct cw_span *ret, struct cw_err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return missing(name, err);
    }
    if (!json_is_string(value)) {
        return wrong_kind(name, "a string", err);
    }
    *ret = text_of(value);
    return CW_OK;
}

enum cw_code cw_json_text_opt(const json_t *object, const char *name, struct cw_span *ret, struct cw_err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL || json_is_null(value)) {
        *ret = cw_span_of(NULL, 0);
        return CW_OK;
    }
    return cw_json_text(object, name, ret, err);
}

struct cw_span cw_json_peek_text(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? text_of(value) : cw_span_of(NULL, 0);
}

enum cw_code cw_json_int(const json_t *object, const char *name, int64_t *ret, struct cw_err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return missing(name, err);
    }
    if (!json_is_integer(value)) {
        return wrong_kind(name, "an integer", err);
    }
    *ret = json_integer_value(value);
    return CW_OK;
}

enum cw_code cw_json_bool(const json_t *object, const char *name, bool *ret, struct cw_err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return missing(name, err);
    }
    if (!json_is_boolean(value)) {
        return wrong_kind(name, "true or false", err);
    }
    *ret = json_is_true(value);
    return CW_OK;
}

enum cw_code cw_json_object(const json_t *object, const char *name, json_t **ret, struct cw_err *err)
{
    json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return missing(name, err);
    }
    if (!json_is_object(value)) {
        return wrong_kind(name, "an object", err);
    }
    *ret = value;
    return CW_OK;
}

enum cw_code cw_json_array(const json_t *object, const char *name, json_t **ret, struct cw_err *err)
{
    json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return missing(name, err);
    }
    if (!json_is_array(value)) {
        return wrong_kind(name, "an array", err);
    }
    *ret = value;
    return CW_OK;
}

static int append(const char *bytes, size_t len, void *out)
{
    return cw_str_add(out, bytes, len) == CW_OK ? 0 : -1;
}

enum cw_code cw_json_emit(const json_t *value, struct cw_str *out)
{
    if (json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0 && out->code == CW_OK) {
        out->code = CW_E_OOM; /* jansson ran out of memory on its own side */
    }
    return cw_str_code(out);
}

void cw_json_auto_release(json_t **root)
{
    json_decref(*root);
}
