/* SPDX-License-Identifier: Apache-2.0 */
/* Types sorted by insertion: 32 at most. */
#include "config.h"

#include "api/record_filter.h"

#include "base/limits.h"

static bool is_type(struct cw_span name)
{
    if (name.len == 0 || name.len > CW_FHIR_TYPE_MAX || name.ptr[0] < 'A' || name.ptr[0] > 'Z') {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            return false;
        }
    }
    return true;
}

static int compare(struct cw_span a, struct cw_span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool insert(struct cw_record_filter *filter, struct cw_span type)
{
    size_t at = 0;
    while (at < filter->type_count && compare(filter->types[at], type) < 0) {
        at++;
    }
    if (at < filter->type_count && cw_span_eq(filter->types[at], type)) {
        return true;
    }
    if (filter->type_count == CW_RECORD_TYPES_MAX) {
        return false;
    }
    memmove(&filter->types[at + 1], &filter->types[at], (filter->type_count - at) * sizeof filter->types[0]);
    filter->types[at] = type;
    filter->type_count++;
    return true;
}

bool cw_record_types_parse(struct cw_span text, struct cw_record_filter *filter)
{
    filter->type_count = 0;
    if (text.len == 0) {
        return true;
    }
    bool more = true;
    while (more) {
        struct cw_span word;
        more = cw_span_cut(&text, ',', &word);
        struct cw_span type = cw_span_trim(word);
        if (!is_type(type) || !insert(filter, type)) {
            return false;
        }
    }
    return true;
}
