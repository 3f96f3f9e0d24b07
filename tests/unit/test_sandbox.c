/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox hospital without a web server: walking JSON, the generated records, search. */
#include "config.h"

#include <jansson.h>

#include "../lib/check_main.h"
#include "sandbox/chart.h"
#include "sandbox/gen.h"
#include "sandbox/match.h"
#include "sandbox/walk.h"
#include "test_sandbox.h"

static struct cw_sbx_chart *chart_of(size_t persona)
{
    struct cw_err err;
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    ck_assert_ptr_nonnull(chart);
    ck_assert_int_eq(cw_sbx_generate(persona, chart, &err), CW_OK);
    ck_assert_int_eq(cw_sbx_chart_seal(chart), CW_OK);
    return chart;
}

static size_t persona_named(const char *family)
{
    for (size_t i = 0; i < cw_sbx_persona_count(); i++) {
        if (strcmp(cw_sbx_persona_at(i)->family, family) == 0) {
            return i;
        }
    }
    ck_abort_msg("no persona %s", family);
}

/* --- walk --- */

START_TEST(walk_takes_values_apart)
{
    static const struct {
        const char *json, *member, *value;
    } rows[] = {
        { "{\"a\":1.10,\"b\":2}", "a", "1.10" },
        { " { \"x\" : { \"a\" : 3 } , \"a\" : [ 1 , { } ] } ", "a", "[ 1 , { } ]" },
        { "{\"a\\\"\":1,\"a\":\"q\\\"}\"}", "a", "\"q\\\"}\"" },
        { "{\"a\":true}", "b", NULL },
        { "{\"a\":true", "b", NULL },
        { "{\"a\" true}", "a", NULL },
        { "{\"a\":[}]}", "a", NULL },
        { "[1]", "a", NULL },
        { "", "a", NULL },
        { "{\"a\":\"never ends", "a", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_span value = cw_walk_member(cw_span_cstr(rows[i].json), rows[i].member);
        if (rows[i].value == NULL) {
            ck_assert_msg(value.ptr == NULL, "row %zu", i);
        } else {
            ck_assert_msg(cw_span_eq_cstr(value, rows[i].value), "row %zu: %.*s", i, (int)value.len, value.ptr);
        }
    }
}
END_TEST

START_TEST(walk_bounds_depth)
{
    for (int depth = CW_WALK_DEPTH_MAX - 1; depth <= CW_WALK_DEPTH_MAX + 1; depth++) {
        char text[2 * CW_WALK_DEPTH_MAX + 8];
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        struct cw_span rest = cw_span_of(text, 2 * (size_t)depth), value;
        ck_assert_msg(cw_walk_value(&rest, &value) == (depth <= CW_WALK_DEPTH_MAX), "depth %d", depth);
    }
}
END_TEST

START_TEST(walk_undoes_escapes)
{
    static const struct {
        const char *raw, *text; /* NULL: refused */
    } rows[] = {
        { "a\\u00e9\\/\\n", "a\xc3\xa9/\n" }, { "\\ud83d\\ude00", "\xf0\x9f\x98\x80" },
        { "\\ud83d", NULL }, { "\\ude00", NULL }, { "\\u12", NULL }, { "\\x", NULL }, { "\\", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 64);
        enum cw_code rc = cw_walk_unescape(cw_span_cstr(rows[i].raw), &out);
        ck_assert_msg(rc == (rows[i].text == NULL ? CW_E_SYNTAX : CW_OK), "row %zu", i);
        if (rows[i].text != NULL) {
            ck_assert_str_eq(cw_str_cstr(&out), rows[i].text);
        }
    }
}
END_TEST

/* --- generated records --- */

START_TEST(same_bytes_each_time)
{
    struct cw_sbx_chart *a = chart_of(0), *b = chart_of(0);
    ck_assert_uint_eq(cw_sbx_chart_count(a), cw_sbx_chart_count(b));
    for (size_t i = 0; i < cw_sbx_chart_count(a); i++) {
        ck_assert(cw_span_eq(cw_sbx_chart_at(a, i)->bytes, cw_sbx_chart_at(b, i)->bytes));
    }
    cw_sbx_chart_drop(a);
    cw_sbx_chart_drop(b);
}
END_TEST

START_TEST(every_resource_is_json)
{
    for (size_t p = 0; p < cw_sbx_persona_count(); p++) {
        struct cw_sbx_chart *chart = chart_of(p);
        for (size_t i = 0; i < cw_sbx_chart_count(chart); i++) {
            const struct cw_sbx_resource *r = cw_sbx_chart_at(chart, i);
            json_error_t error;
            json_t *root = json_loadb(r->bytes.ptr, r->bytes.len, JSON_REJECT_DUPLICATES, &error);
            ck_assert_msg(root != NULL, "persona %zu: %s: %.*s", p, error.text, (int)r->bytes.len, r->bytes.ptr);
            ck_assert_str_eq(json_string_value(json_object_get(root, "resourceType")), r->type->name);
            json_decref(root);
        }
        cw_sbx_chart_drop(chart);
    }
}
END_TEST

START_TEST(the_long_life_is_long)
{
    struct cw_sbx_chart *chart = chart_of(persona_named("Brandvold"));
    size_t types = 0, documents = 0, count;
    for (size_t t = 0; t < cw_sbx_type_count(); t++) {
        cw_sbx_chart_of_type(chart, &cw_sbx_types[t], &count);
        types += count > 0 ? 1 : 0;
    }
    const struct cw_sbx_resource *binary = cw_sbx_chart_of_type(chart, cw_sbx_type_find(CW_SPAN("Binary")), &count);
    for (size_t i = 0; i < count; i++) {
        documents += binary[i].bytes.len;
    }
    ck_assert_uint_ge(cw_sbx_chart_count(chart), 3000);
    ck_assert_uint_ge(types, 15);
    ck_assert_uint_ge(documents, 300 * 1024);
    cw_sbx_chart_drop(chart);
}
END_TEST

/* Every relative reference and attachment leads to something in the same chart. */
static void check_references(const struct cw_sbx_chart *chart, struct cw_span bytes, const char *key)
{
    size_t at;
    while ((at = cw_span_find_span(bytes, cw_span_cstr(key))) < bytes.len) {
        bytes = cw_span_from(bytes, at + strlen(key));
        struct cw_span text = cw_span_upto(bytes, cw_span_find(bytes, '"'));
        size_t slash = cw_span_find(text, '/');
        if (*text.ptr == '#' || cw_span_starts(text, CW_SPAN("http"))) {
            continue;
        }
        const struct cw_sbx_type *type = cw_sbx_type_find(cw_span_upto(text, slash));
        ck_assert_msg(type != NULL && cw_sbx_chart_find(chart, type, cw_span_from(text, slash + 1)) != NULL, "%.*s",
                      (int)text.len, text.ptr);
    }
}

START_TEST(references_lead_somewhere)
{
    for (size_t p = 0; p < cw_sbx_persona_count(); p++) {
        struct cw_sbx_chart *chart = chart_of(p);
        for (size_t i = 0; i < cw_sbx_chart_count(chart); i++) {
            check_references(chart, cw_sbx_chart_at(chart, i)->bytes, "\"reference\":\"");
            check_references(chart, cw_sbx_chart_at(chart, i)->bytes, "\"url\":\"");
        }
        cw_sbx_chart_drop(chart);
    }
}
END_TEST

static bool any_has(const struct cw_sbx_chart *chart, const char *text)
{
    for (size_t i = 0; i < cw_sbx_chart_count(chart); i++) {
        struct cw_span bytes = cw_sbx_chart_at(chart, i)->bytes;
        if (cw_span_find_span(bytes, cw_span_cstr(text)) < bytes.len) {
            return true;
        }
    }
    return false;
}

START_TEST(records_have_the_hard_parts)
{
    struct cw_sbx_chart *chart = chart_of(persona_named("Okonjo")), *longer = chart_of(persona_named("李"));
    ck_assert(any_has(chart, "\"contained\":["));
    ck_assert(any_has(chart, "0.50"));
    ck_assert(any_has(chart, "\\u2014"));
    ck_assert(any_has(chart, "<\\/p>"));
    size_t count;
    const struct cw_sbx_resource *documents =
        cw_sbx_chart_of_type(longer, cw_sbx_type_find(CW_SPAN("DocumentReference")), &count);
    ck_assert_uint_gt(count, 0);
    ck_assert_uint_eq(documents[0].id.len, 88);
    ck_assert_int_ne(documents[0].updated_us, CW_SBX_NO_TIME);
    const struct cw_sbx_resource *goals = cw_sbx_chart_of_type(longer, cw_sbx_type_find(CW_SPAN("Goal")), &count);
    ck_assert_uint_gt(count, 0);
    ck_assert_int_eq(goals[0].updated_us, CW_SBX_NO_TIME);
    cw_sbx_chart_drop(chart);
    cw_sbx_chart_drop(longer);
}
END_TEST

/* --- charts --- */

START_TEST(chart_refuses_what_is_not_a_resource)
{
    static const struct {
        const char *json;
        enum cw_code rc;
    } rows[] = {
        { "{\"resourceType\":\"Goal\",\"id\":\"g1\"}", CW_OK },
        { "{\"resourceType\":\"Goal\"}", CW_E_SYNTAX },
        { "{\"id\":\"g1\"}", CW_E_SYNTAX },
        { "[]", CW_E_SYNTAX },
        { "{\"resourceType\":\"Spaceship\",\"id\":\"g1\"}", CW_E_UNSUPPORTED },
    };
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_err err;
        ck_assert_msg(cw_sbx_chart_add(chart, cw_span_cstr(rows[i].json), &err) == rows[i].rc, "row %zu", i);
    }
    cw_sbx_chart_drop(chart);
}
END_TEST

START_TEST(chart_keeps_the_first_of_twins)
{
    struct cw_err err;
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    const char *rows[] = { "{\"resourceType\":\"Goal\",\"id\":\"b\"}", "{\"resourceType\":\"Patient\",\"id\":\"a\"}",
                           "{\"resourceType\":\"Goal\",\"id\":\"a\"}", "{\"resourceType\":\"Goal\",\"id\":\"b\",\"x\":1}" };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_int_eq(cw_sbx_chart_add(chart, cw_span_cstr(rows[i]), &err), CW_OK);
    }
    ck_assert_int_eq(cw_sbx_chart_seal(chart), CW_OK);
    ck_assert_uint_eq(cw_sbx_chart_count(chart), 3);
    const struct cw_sbx_type *goal = cw_sbx_type_find(CW_SPAN("Goal"));
    size_t count;
    const struct cw_sbx_resource *goals = cw_sbx_chart_of_type(chart, goal, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(cw_span_eq_cstr(goals[0].bytes, rows[0]));
    ck_assert(cw_span_eq_cstr(goals[1].bytes, rows[2]));
    ck_assert_ptr_eq(cw_sbx_chart_find(chart, goal, CW_SPAN("a")), &goals[1]);
    ck_assert_ptr_null(cw_sbx_chart_find(chart, goal, CW_SPAN("ab")));
    cw_sbx_chart_drop(chart);
}
END_TEST

/* --- matching --- */

START_TEST(dates_fit_by_prefix)
{
    static const struct {
        const char *have, *want;
        bool fits;
    } rows[] = {
        { "2024-05-06", "2024-05-06", true },  { "2024-05-06", "2024", true },     { "2024", "2024-05-06", false },
        { "2024-05-06", "gt2024-05-05", true }, { "2024-05-06", "gt2024-05-06", false }, { "2024-05-06", "ge2024-05-06", true },
        { "2024-05-06", "lt2024-05-06", false }, { "2024-05-06", "le2024-05-06", true }, { "2024-05-06", "ne2024-05-06", false },
        { "2024-05-06T23:30:00-05:00", "2024-05-07", true }, { "2024-12-31", "2024-12", true }, { "2024-12-31", "sa2024-11", true },
        { "2024-12-31", "eb2025", true },      { "2024-12-31", "ap2024", true },   { "2024-05-06", "2024-13", false },
        { "2024-05-06", "xx2024-05-06", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_sbx_range range;
        ck_assert(cw_sbx_range_parse(cw_span_cstr(rows[i].have), &range));
        bool fits = cw_sbx_date_valid(cw_span_cstr(rows[i].want)) && cw_sbx_date_fits(range, cw_span_cstr(rows[i].want));
        ck_assert_msg(fits == rows[i].fits, "row %zu", i);
    }
}
END_TEST

START_TEST(tokens_and_references_match)
{
    static const char json[] =
        "{\"resourceType\":\"Observation\",\"id\":\"o\",\"status\":\"final\",\"category\":[{\"coding\":[{\"system\":\"s1\",\"code\":"
        "\"lab\"}]},{\"coding\":[{\"code\":\"bare\"}]}],\"encounter\":{\"reference\":\"Encounter/e1\"},\"effectivePeriod\":{\"start\":"
        "\"2020-01-01\",\"end\":\"2020-02-01\"}}";
    static const struct {
        const char *param, *value;
        bool fits;
    } rows[] = {
        { "category", "lab", true },        { "category", "s1|lab", true },    { "category", "s2|lab", false },
        { "category", "s1|", true },        { "category", "|bare", true },     { "category", "|lab", false },
        { "category", "x,lab", true },      { "category", "x,y", false },      { "status", "final", true },
        { "status", "amended", false },     { "encounter", "Encounter/e1", true }, { "encounter", "e1", true },
        { "encounter", "e2", false },       { "date", "ge2020-01-15", true },  { "date", "gt2020-02-01", false },
        { "code", "x", false },
    };
    struct cw_sbx_resource resource = { .type = cw_sbx_type_find(CW_SPAN("Observation")), .bytes = cw_span_cstr(json) };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_sbx_param *param = cw_sbx_param_find(resource.type, cw_span_cstr(rows[i].param));
        ck_assert_ptr_nonnull(param);
        ck_assert_msg(cw_sbx_match(&resource, param, cw_span_cstr(rows[i].value)) == rows[i].fits, "row %zu", i);
    }
}
END_TEST

static Suite *data_suite(void)
{
    Suite *suite = suite_create("sandbox data");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, walk_takes_values_apart);
    tcase_add_test(tcase, walk_bounds_depth);
    tcase_add_test(tcase, walk_undoes_escapes);
    tcase_add_test(tcase, same_bytes_each_time);
    tcase_add_test(tcase, every_resource_is_json);
    tcase_add_test(tcase, the_long_life_is_long);
    tcase_add_test(tcase, references_lead_somewhere);
    tcase_add_test(tcase, records_have_the_hard_parts);
    tcase_add_test(tcase, chart_refuses_what_is_not_a_resource);
    tcase_add_test(tcase, chart_keeps_the_first_of_twins);
    tcase_add_test(tcase, dates_fit_by_prefix);
    tcase_add_test(tcase, tokens_and_references_match);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return cw_check_main((Suite *const[]){ data_suite(), sandbox_state_suite(), sandbox_recording_suite(), NULL });
}
