/* SPDX-License-Identifier: Apache-2.0 */
/* A small tree by base/json, read once and copied into the arena. */
#include "config.h"

#include "fhir/capability.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "fhir/slice.h"

#define WHERE "capability"

/* A text of the document, kept; absent when it is not one. False: out of memory. */
static bool keep(struct cw_arena *arena, struct cw_span text, struct cw_span *ret)
{
    *ret = text.ptr == NULL ? text : cw_arena_span(arena, text);
    return text.ptr == NULL || ret->ptr != NULL;
}

/* The texts of an array: its own elements, or the member `name` of each element when name is not NULL. */
static bool keep_list(struct cw_arena *arena, const json_t *array, const char *name, struct cw_span **ret, size_t *ret_count)
{
    size_t size = json_is_array(array) ? json_array_size(array) : 0;
    size = size > CW_CAPABILITY_NAMES_MAX ? CW_CAPABILITY_NAMES_MAX : size;
    *ret_count = 0;
    *ret = NULL;
    if (size == 0) {
        return true;
    }
    *ret = cw_arena_array(arena, size, sizeof(**ret));
    if (*ret == NULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *element = json_array_get(array, i);
        struct cw_span text = { NULL, 0 };
        if (name != NULL) {
            text = cw_json_peek_text(element, name);
        } else if (json_is_string(element)) {
            text = cw_span_of(json_string_value(element), json_string_length(element));
        }
        if (text.len > 0 && !keep(arena, text, &(*ret)[(*ret_count)++])) {
            return false;
        }
    }
    return true;
}

static void read_interactions(const json_t *array, struct cw_capability_type *type)
{
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
    {
        struct cw_span code = cw_json_peek_text(element, "code");
        type->interactions_told = true;
        type->can |= cw_span_eq_cstr(code, "read") ? CW_CAN_READ : cw_span_eq_cstr(code, "search-type") ? CW_CAN_SEARCH : 0u;
    }
}

static bool read_type(struct cw_arena *arena, const json_t *resource, struct cw_span name, struct cw_capability_type *type)
{
    read_interactions(json_object_get(resource, "interaction"), type);
    return keep(arena, name, &type->type) &&
           keep_list(arena, json_object_get(resource, "searchParam"), "name", &type->params, &type->param_count) &&
           keep_list(arena, json_object_get(resource, "searchInclude"), NULL, &type->includes, &type->include_count) &&
           keep_list(arena, json_object_get(resource, "searchRevInclude"), NULL, &type->revincludes, &type->revinclude_count);
}

static bool read_types(struct cw_arena *arena, const json_t *resources, struct cw_capability *capability)
{
    size_t size = json_is_array(resources) ? json_array_size(resources) : 0;
    size = size > CW_CAPABILITY_TYPES_MAX ? CW_CAPABILITY_TYPES_MAX : size;
    if (size == 0) {
        return true;
    }
    capability->types = cw_arena_array(arena, size, sizeof(*capability->types));
    if (capability->types == NULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *resource = json_array_get(resources, i);
        struct cw_span name = cw_json_peek_text(resource, "type");
        if (!cw_fhir_type_good(name) || cw_capability_find(capability, name) != NULL) {
            continue;
        }
        if (!read_type(arena, resource, name, &capability->types[capability->count++])) {
            return false;
        }
    }
    return true;
}

static const json_t *server_rest(const json_t *root)
{
    const json_t *rests = json_object_get(root, "rest");
    size_t index;
    const json_t *rest;
    json_array_foreach(rests, index, rest)
    {
        if (cw_span_eq_cstr(cw_json_peek_text(rest, "mode"), "server")) {
            return rest;
        }
    }
    return json_array_get(rests, 0);
}

static enum cw_code read_root(const json_t *root, struct cw_arena *arena, struct cw_capability *ret, struct cw_err *err)
{
    struct cw_span kind = cw_json_peek_text(root, "resourceType");
    if (!cw_span_eq_cstr(kind, "CapabilityStatement") && !cw_span_eq_cstr(kind, "Conformance")) {
        return cw_err_set(err, CW_E_KIND, WHERE, "not a CapabilityStatement");
    }
    struct cw_capability found = { .count = 0 };
    const json_t *software = json_object_get(root, "software");
    bool kept = keep(arena, cw_json_peek_text(root, "fhirVersion"), &found.fhir_version) &&
                keep(arena, cw_json_peek_text(root, "publisher"), &found.publisher) &&
                keep(arena, cw_json_peek_text(software, "name"), &found.software_name) &&
                keep(arena, cw_json_peek_text(software, "version"), &found.software_version) &&
                read_types(arena, json_object_get(server_rest(root), "resource"), &found);
    if (!kept) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory for the capabilities");
    }
    *ret = found;
    return CW_OK;
}

enum cw_code cw_capability_read(struct cw_span json, struct cw_arena *arena, struct cw_capability *ret, struct cw_err *err)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = {
        .max_bytes = CW_CAPABILITY_MAX,
        .max_depth = CW_JSON_DEPTH_MAX,
        .flags = CW_JSON_DUPLICATES_TOO,
    };
    enum cw_code rc = cw_json_parse(json, limits, &root, err);
    return rc == CW_OK ? read_root(root, arena, ret, err) : rc;
}

static void emit_list(struct cw_jsonw *w, const struct cw_span *names, size_t count)
{
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < count; i++) {
        cw_jsonw_text(w, names[i]);
    }
    cw_jsonw_close_array(w);
}

static void emit_interactions(struct cw_jsonw *w, unsigned can)
{
    static const struct {
        unsigned bit;
        const char *code;
    } codes[] = { { CW_CAN_READ, "read" }, { CW_CAN_SEARCH, "search-type" } };
    cw_jsonw_key(w, "interaction");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < CW_ARRAY_LEN(codes); i++) {
        if ((can & codes[i].bit) != 0) {
            cw_jsonw_open_object(w);
            cw_jsonw_key_cstr(w, "code", codes[i].code);
            cw_jsonw_close_object(w);
        }
    }
    if (can == 0) { /* told, but nothing that we use */
        cw_jsonw_open_object(w);
        cw_jsonw_close_object(w);
    }
    cw_jsonw_close_array(w);
}

static void emit_type(struct cw_jsonw *w, const struct cw_capability_type *type)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_text(w, "type", type->type);
    if (type->interactions_told) {
        emit_interactions(w, type->can);
    }
    if (type->param_count > 0) {
        cw_jsonw_key(w, "searchParam");
        cw_jsonw_open_array(w);
        for (size_t i = 0; i < type->param_count; i++) {
            cw_jsonw_open_object(w);
            cw_jsonw_key_text(w, "name", type->params[i]);
            cw_jsonw_close_object(w);
        }
        cw_jsonw_close_array(w);
    }
    if (type->include_count > 0) {
        cw_jsonw_key(w, "searchInclude");
        emit_list(w, type->includes, type->include_count);
    }
    if (type->revinclude_count > 0) {
        cw_jsonw_key(w, "searchRevInclude");
        emit_list(w, type->revincludes, type->revinclude_count);
    }
    cw_jsonw_close_object(w);
}

enum cw_code cw_capability_emit(const struct cw_capability *capability, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resourceType", "CapabilityStatement");
    cw_jsonw_key_text(&w, "fhirVersion", capability->fhir_version);
    cw_jsonw_key_text(&w, "publisher", capability->publisher);
    cw_jsonw_key(&w, "software");
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "name", capability->software_name);
    cw_jsonw_key_text(&w, "version", capability->software_version);
    cw_jsonw_close_object(&w);
    cw_jsonw_key(&w, "rest");
    cw_jsonw_open_array(&w);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "mode", "server");
    cw_jsonw_key(&w, "resource");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < capability->count; i++) {
        emit_type(&w, &capability->types[i]);
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

const struct cw_capability_type *cw_capability_find(const struct cw_capability *capability, struct cw_span type)
{
    for (size_t i = 0; i < capability->count; i++) {
        if (cw_span_eq(capability->types[i].type, type)) {
            return &capability->types[i];
        }
    }
    return NULL;
}

static bool holds(const struct cw_span *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (cw_span_eq_nocase(names[i], cw_span_cstr(name))) {
            return true;
        }
    }
    return false;
}

bool cw_capability_has_param(const struct cw_capability_type *type, const char *name)
{
    return holds(type->params, type->param_count, name);
}

bool cw_capability_includes(const struct cw_capability_type *type, const char *include)
{
    return holds(type->includes, type->include_count, include);
}

bool cw_capability_revincludes(const struct cw_capability_type *type, const char *include)
{
    return holds(type->revincludes, type->revinclude_count, include);
}
