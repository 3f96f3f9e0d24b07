/* SPDX-License-Identifier: Apache-2.0 */
/* Matching: walk the parameter's path through the resource's bytes and try each value found there. */
#include "config.h"
#include "sandbox/match.h"

#include <stdio.h>

#include "base/time.h"
#include "sandbox/walk.h"

/* --- dates --- */

static bool first_of_next_month(unsigned year, unsigned month, int64_t *ret_us)
{
    char text[16];
    month++;
    if (month > 12) {
        month = 1;
        year++;
    }
    snprintf(text, sizeof(text), "%04u-%02u-01", year % 10000u, month % 100u);
    return cw_time_parse(cw_span_cstr(text), true, ret_us);
}

bool cw_sbx_range_parse(struct cw_span text, struct cw_sbx_range *ret_range)
{
    uint64_t year = 0, month = 0;
    char full[16];
    if (text.len == 10) {
        if (!cw_time_parse(text, true, &ret_range->from_us)) {
            return false;
        }
        ret_range->to_us = ret_range->from_us + CW_DAY_US;
        return true;
    }
    if (text.len == 4 || text.len == 7) {
        if (!cw_span_u64(cw_span_upto(text, 4), 9998, &year) ||
            (text.len == 7 && (text.ptr[4] != '-' || !cw_span_u64(cw_span_from(text, 5), 12, &month) || month == 0))) {
            return false;
        }
        snprintf(full, sizeof(full), "%04u-%02u-01", (unsigned)year % 10000u, text.len == 7 ? (unsigned)month % 100u : 1u);
        return cw_time_parse(cw_span_cstr(full), true, &ret_range->from_us) &&
               first_of_next_month((unsigned)year, text.len == 7 ? (unsigned)month : 12u, &ret_range->to_us);
    }
    if (!cw_time_parse(text, false, &ret_range->from_us)) {
        return false;
    }
    bool fraction = cw_span_find(text, '.') < text.len;
    ret_range->to_us = ret_range->from_us + (fraction ? CW_SECOND_US / 1000 : CW_SECOND_US);
    return true;
}

static struct cw_span cut_prefix(struct cw_span value, char ret_prefix[3])
{
    if (value.len > 2 && value.ptr[0] >= 'a' && value.ptr[0] <= 'z') {
        ret_prefix[0] = value.ptr[0];
        ret_prefix[1] = value.ptr[1];
        value = cw_span_from(value, 2);
    } else {
        ret_prefix[0] = 'e';
        ret_prefix[1] = 'q';
    }
    ret_prefix[2] = '\0';
    return value;
}

bool cw_sbx_date_valid(struct cw_span value)
{
    static const char *const known[] = { "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap" };
    struct cw_sbx_range range;
    char prefix[3];
    value = cut_prefix(value, prefix);
    for (size_t i = 0; i < CW_ARRAY_LEN(known); i++) {
        if (strcmp(prefix, known[i]) == 0) {
            return cw_sbx_range_parse(value, &range);
        }
    }
    return false;
}

bool cw_sbx_date_fits(struct cw_sbx_range r, struct cw_span value)
{
    struct cw_sbx_range s;
    char prefix[3];
    value = cut_prefix(value, prefix);
    if (!cw_sbx_range_parse(value, &s)) {
        return false;
    }
    bool inside = r.from_us >= s.from_us && r.to_us <= s.to_us;
    bool later = r.to_us > s.to_us, earlier = r.from_us < s.from_us;
    switch (prefix[0] << 8 | prefix[1]) {
    case 'n' << 8 | 'e':
        return !inside;
    case 'g' << 8 | 't':
        return later;
    case 'l' << 8 | 't':
        return earlier;
    case 'g' << 8 | 'e':
        return later || inside;
    case 'l' << 8 | 'e':
        return earlier || inside;
    case 's' << 8 | 'a':
        return r.from_us >= s.to_us;
    case 'e' << 8 | 'b':
        return r.to_us <= s.from_us;
    case 'a' << 8 | 'p':
        return r.from_us < s.to_us && s.from_us < r.to_us;
    default:
        return inside;
    }
}

static bool date_matches(struct cw_span found, struct cw_span value)
{
    struct cw_sbx_range range = { .from_us = INT64_MIN / 2, .to_us = INT64_MAX / 2 };
    struct cw_span text = cw_walk_string(found);
    if (text.ptr != NULL) {
        return cw_sbx_range_parse(text, &range) && cw_sbx_date_fits(range, value);
    }
    struct cw_sbx_range end;
    struct cw_span start_text = cw_walk_member_string(found, "start"), end_text = cw_walk_member_string(found, "end");
    if (start_text.ptr == NULL && end_text.ptr == NULL) {
        return false;
    }
    if (start_text.ptr != NULL) {
        struct cw_sbx_range start;
        if (!cw_sbx_range_parse(start_text, &start)) {
            return false;
        }
        range.from_us = start.from_us;
    }
    if (end_text.ptr != NULL && cw_sbx_range_parse(end_text, &end)) {
        range.to_us = end.to_us;
    }
    return cw_sbx_date_fits(range, value);
}

/* --- tokens and references --- */

static bool token_is(struct cw_span system, struct cw_span code, struct cw_span value)
{
    size_t bar = cw_span_find(value, '|');
    if (bar == value.len) {
        return cw_span_eq(code, value);
    }
    struct cw_span want_system = cw_span_upto(value, bar), want_code = cw_span_from(value, bar + 1);
    if (want_system.len == 0) {
        return system.len == 0 && cw_span_eq(code, want_code);
    }
    return cw_span_eq(system, want_system) && (want_code.len == 0 || cw_span_eq(code, want_code));
}

static bool coding_matches(struct cw_span coding, struct cw_span value)
{
    struct cw_span code = cw_walk_member_string(coding, "code");
    if (code.ptr == NULL) {
        code = cw_walk_member_string(coding, "value"); /* an Identifier */
    }
    return code.ptr != NULL && token_is(cw_walk_member_string(coding, "system"), code, value);
}

static bool token_matches(struct cw_span found, struct cw_span value)
{
    struct cw_span plain = cw_walk_string(found);
    if (plain.ptr != NULL) {
        size_t bar = cw_span_find(value, '|'); /* a bare code has the system of its element: any will do */
        return cw_span_eq(plain, bar == value.len ? value : cw_span_from(value, bar + 1));
    }
    struct cw_walk codings;
    struct cw_span key, coding;
    if (!cw_walk_open(&codings, cw_walk_member(found, "coding"))) {
        return coding_matches(found, value);
    }
    while (cw_walk_next(&codings, &key, &coding)) {
        if (coding_matches(coding, value)) {
            return true;
        }
    }
    return false;
}

static bool reference_matches(struct cw_span found, struct cw_span value)
{
    struct cw_span reference = cw_walk_member_string(found, "reference");
    if (reference.ptr == NULL) {
        return false;
    }
    if (cw_span_eq(reference, value)) {
        return true;
    }
    size_t slash = cw_span_find(reference, '/');
    return slash < reference.len && cw_span_eq(cw_span_from(reference, slash + 1), value);
}

static bool value_matches(const struct cw_sbx_param *param, struct cw_span found, struct cw_span value)
{
    switch (param->kind) {
    case CW_SBX_TOKEN:
        return token_matches(found, value);
    case CW_SBX_DATE:
        return date_matches(found, value);
    case CW_SBX_REFERENCE:
        return reference_matches(found, value);
    }
    return false;
}

static bool any_value_matches(const struct cw_sbx_param *param, struct cw_span found, struct cw_span values)
{
    struct cw_span value;
    bool more;
    do {
        more = cw_span_cut(&values, ',', &value);
        if (value.len > 0 && value_matches(param, found, value)) {
            return true;
        }
    } while (more);
    return false;
}

/* Follows one alternative of the path. Recursion goes as deep as the path has names (three) and once more for each
 * array between them; arrays directly in arrays do not occur in FHIR and are not entered. */
static bool walk(const struct cw_sbx_param *param, struct cw_span at, struct cw_span path, struct cw_span values)
{
    if (at.ptr == NULL) {
        return false;
    }
    if (at.len > 0 && *at.ptr == '[') {
        struct cw_walk elements;
        struct cw_span key, element;
        if (cw_walk_open(&elements, at)) {
            while (cw_walk_next(&elements, &key, &element)) {
                if (*element.ptr != '[' && walk(param, element, path, values)) {
                    return true;
                }
            }
        }
        return false;
    }
    if (path.len == 0) {
        return any_value_matches(param, at, values);
    }
    struct cw_span name;
    char member[64];
    cw_span_cut(&path, '.', &name);
    if (name.len >= sizeof(member)) {
        cw_bug("a search path with an over-long name");
    }
    memcpy(member, name.ptr, name.len);
    member[name.len] = '\0';
    return walk(param, cw_walk_member(at, member), path, values);
}

bool cw_sbx_match(const struct cw_sbx_resource *resource, const struct cw_sbx_param *param, struct cw_span value)
{
    struct cw_span paths = cw_span_cstr(param->path), path;
    bool more;
    do {
        more = cw_span_cut(&paths, '|', &path);
        if (walk(param, resource->bytes, path, value)) {
            return true;
        }
    } while (more);
    return false;
}
