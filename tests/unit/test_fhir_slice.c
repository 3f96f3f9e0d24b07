/* SPDX-License-Identifier: Apache-2.0 */
/* Pages cut into resources: good and bad files, limits at their edge, the hash's input, what real servers sent where that is there. */
#include "config.h"

#include "fhir/slice.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"
#include "test_fhir.h"

static enum cw_code read_cstr(const char *json, struct cw_slice *ret)
{
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_slice_read(cw_span_cstr(json), fhir_arena, ret, &err);
    ck_assert_int_eq(rc, err.code);
    return rc;
}

static void good_file(const char *name, struct cw_span content)
{
    struct cw_slice slice;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_slice_read(content, fhir_arena, &slice, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", name, err.text);
}

/* The name begins with the code that is expected. */
static void bad_file(const char *name, struct cw_span content)
{
    struct cw_slice slice;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_slice_read(content, fhir_arena, &slice, &err);
    const char *expected = cw_code_name(rc);
    ck_assert_msg(rc != CW_OK, "%s: taken", name);
    ck_assert_msg(strncmp(name, expected, strlen(expected)) == 0 && name[strlen(expected)] == '-', "%s: %s (%s)", name,
                  expected, err.text);
    ck_assert_int_eq(err.code, rc);
}

START_TEST(corpus)
{
    ck_assert_uint_ge(fhir_each_file("tests/fixtures/fhir/good", good_file), 10);
    ck_assert_uint_ge(fhir_each_file("tests/fixtures/fhir/bad", bad_file), 60);
}
END_TEST

START_TEST(bundle)
{
    struct cw_span page = fhir_file("tests/fixtures/fhir/good/searchset.json");
    struct cw_slice slice;
    ck_assert_int_eq(cw_slice_read(page, fhir_arena, &slice, NULL), CW_OK);
    ck_assert_int_eq(slice.kind, CW_SLICE_BUNDLE);
    ck_assert_int_eq(slice.type, CW_SLICE_TYPE_SEARCHSET);
    ck_assert_int_eq(slice.total, 3);
    ck_assert_span_eq(slice.self, "https://ehr.example/fhir/Observation?patient=p1&category=laboratory");
    ck_assert_span_eq(slice.next, "https://ehr.example/fhir?_getpages=abc&_offset=2");
    ck_assert_span_eq(slice.previous, "https://ehr.example/fhir?_getpages=abc&_offset=0");
    ck_assert_uint_eq(slice.count, 3);
    const struct cw_slice_entry *e = slice.entries;
    ck_assert_int_eq(e[0].fault, CW_SLICE_GOOD);
    ck_assert_span_eq(e[0].type, "Observation");
    ck_assert_span_eq(e[0].id, "o1");
    ck_assert_span_eq(e[0].version_id, "3");
    ck_assert_span_eq(e[0].last_updated, "2026-01-02T03:04:05.678+01:00");
    ck_assert_span_eq(e[0].full_url, "https://ehr.example/fhir/Observation/o1");
    ck_assert_int_eq(e[0].mode, CW_SLICE_MODE_MATCH);
    /* The bytes are the page's own: decimals as sent, brackets at both ends. */
    ck_assert(e[0].resource.ptr >= page.ptr);
    ck_assert_uint_lt(cw_span_find_span(e[0].resource, CW_SPAN("98.60")), e[0].resource.len);
    ck_assert_int_eq(e[0].resource.ptr[0], '{');
    ck_assert_int_eq(e[0].resource.ptr[e[0].resource.len - 1], '}');
    ck_assert_span_eq(e[1].resource,
                      "{ \"resourceType\": \"Practitioner\", \"id\": \"dr.1-x\", \"name\": [ { \"text\": \"A \\\"quoted\\\" name\" } ] }");
    ck_assert_int_eq(e[1].mode, CW_SLICE_MODE_INCLUDE);
    ck_assert_ptr_null(e[1].version_id.ptr);
    ck_assert_ptr_null(e[1].full_url.ptr);
    ck_assert_int_eq(e[2].mode, CW_SLICE_MODE_OUTCOME);
    ck_assert_int_eq(e[2].fault, CW_SLICE_NO_ID);
    free((void *)(uintptr_t)page.ptr);
}
END_TEST

START_TEST(single_resources)
{
    struct cw_slice slice;
    ck_assert_int_eq(read_cstr(" {\"entry\":[{\"resource\":1}],\"id\":\"l1\",\"resourceType\":\"List\"} ", &slice), CW_OK);
    ck_assert_int_eq(slice.kind, CW_SLICE_RESOURCE);
    ck_assert_uint_eq(slice.count, 1);
    ck_assert_span_eq(slice.entries[0].id, "l1");
    ck_assert_span_eq(slice.entries[0].resource, "{\"entry\":[{\"resource\":1}],\"id\":\"l1\",\"resourceType\":\"List\"}");
    ck_assert_ptr_null(slice.next.ptr);
    ck_assert_int_eq(slice.total, -1);
    ck_assert_int_eq(read_cstr("{\"resourceType\":\"OperationOutcome\"}", &slice), CW_OK);
    ck_assert_int_eq(slice.kind, CW_SLICE_OUTCOME);
}
END_TEST

START_TEST(entry_faults)
{
    static const enum cw_slice_fault expected[] = {
        CW_SLICE_NO_RESOURCE, CW_SLICE_NOT_OBJECT, CW_SLICE_NO_TYPE, CW_SLICE_BAD_TYPE, CW_SLICE_NO_ID,
        CW_SLICE_BAD_ID,      CW_SLICE_BAD_ID,     CW_SLICE_NO_RESOURCE, CW_SLICE_GOOD,
    };
    struct cw_span page = fhir_file("tests/fixtures/fhir/good/faulty-entries.json");
    struct cw_slice slice;
    ck_assert_int_eq(cw_slice_read(page, fhir_arena, &slice, NULL), CW_OK);
    ck_assert_uint_eq(slice.count, CW_ARRAY_LEN(expected));
    for (size_t i = 0; i < slice.count; i++) {
        ck_assert_msg(slice.entries[i].fault == expected[i], "entry %zu: %s", i,
                      cw_slice_fault_name(slice.entries[i].fault));
    }
    free((void *)(uintptr_t)page.ptr);
}
END_TEST

/* {"resourceType":"Bundle","entry":[{},…]} with `count` entries. */
static enum cw_code read_entries(unsigned count)
{
    struct cw_str page;
    cw_str_init(&page, CW_FHIR_PAGE_MAX);
    cw_str_add_cstr(&page, "{\"entry\":[");
    for (unsigned i = 0; i < count; i++) {
        cw_str_add_cstr(&page, i == 0 ? "{}" : ",{}");
    }
    cw_str_add_cstr(&page, "],\"resourceType\":\"Bundle\"}");
    ck_assert_int_eq(cw_str_code(&page), CW_OK);
    struct cw_slice slice;
    enum cw_code rc = cw_slice_read(cw_str_span(&page), fhir_arena, &slice, NULL);
    if (rc == CW_OK) {
        ck_assert_uint_eq(slice.count, count);
    }
    cw_str_release(&page);
    cw_arena_clear(fhir_arena);
    return rc;
}

/* One resource that two readers would read differently costs itself, not its page. */
START_TEST(ambiguous_entries)
{
    static const char *const twice[] = { "\"id\":\"b\",\"id\":\"c\"", "\"id\":\"b\",\"resourceType\":\"Goal\"",
                                         "\"id\":\"b\",\"meta\":{},\"meta\":{\"versionId\":\"1\"}",
                                         "\"id\":\"b\",\"meta\":{\"lastUpdated\":\"1\",\"lastUpdated\":[{}]}" };
    for (size_t i = 0; i < CW_ARRAY_LEN(twice); i++) {
        struct cw_slice slice;
        CW_AUTO_STR page;
        cw_str_init(&page, 4096);
        cw_str_addf(&page, "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Goal\",%s}},"
                           "{\"resource\":{\"resourceType\":\"Goal\",\"id\":\"good\"}}]}", twice[i]);
        ck_assert_int_eq(read_cstr(cw_str_cstr(&page), &slice), CW_OK);
        ck_assert_uint_eq(slice.count, 2);
        ck_assert_msg(slice.entries[0].fault == CW_SLICE_AMBIGUOUS, "row %zu", i);
        ck_assert_int_eq(slice.entries[1].fault, CW_SLICE_GOOD);
        ck_assert_span_eq(slice.entries[1].id, "good");
    }
    ck_assert_str_eq(cw_slice_fault_name(CW_SLICE_AMBIGUOUS), "ambiguous");
}
END_TEST

START_TEST(entries_limit)
{
    ck_assert_int_eq(read_entries(CW_FHIR_ENTRIES_MAX - 1), CW_OK);
    ck_assert_int_eq(read_entries(CW_FHIR_ENTRIES_MAX), CW_OK);
    ck_assert_int_eq(read_entries(CW_FHIR_ENTRIES_MAX + 1), CW_E_TOO_BIG);
}
END_TEST

/* A Patient of exactly `size` bytes, alone. */
static enum cw_code read_sized(size_t size, enum cw_slice_fault *ret_fault)
{
    static const char head[] = "{\"resourceType\":\"Patient\",\"id\":\"p\",\"x\":\"";
    static const char tail[] = "\"}";
    char *page = malloc(size);
    ck_assert_ptr_nonnull(page);
    memset(page, 'a', size);
    memcpy(page, head, sizeof(head) - 1);
    memcpy(page + size - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
    struct cw_slice slice = { .count = 0 };
    enum cw_code rc = cw_slice_read(cw_span_of(page, size), fhir_arena, &slice, NULL);
    *ret_fault = rc == CW_OK ? slice.entries[0].fault : CW_SLICE_GOOD;
    free(page);
    return rc;
}

START_TEST(size_limits)
{
    enum cw_slice_fault fault;
    ck_assert_int_eq(read_sized(CW_FHIR_RESOURCE_MAX - 1, &fault), CW_OK);
    ck_assert_int_eq(fault, CW_SLICE_GOOD);
    ck_assert_int_eq(read_sized(CW_FHIR_RESOURCE_MAX, &fault), CW_OK);
    ck_assert_int_eq(fault, CW_SLICE_GOOD);
    ck_assert_int_eq(read_sized(CW_FHIR_RESOURCE_MAX + 1, &fault), CW_OK);
    ck_assert_int_eq(fault, CW_SLICE_TOO_BIG);
    ck_assert_int_eq(read_sized(CW_FHIR_PAGE_MAX, &fault), CW_OK);
    ck_assert_int_eq(read_sized(CW_FHIR_PAGE_MAX + 1u, &fault), CW_E_TOO_BIG);
}
END_TEST

START_TEST(name_rules)
{
    char text[CW_FHIR_ID_MAX + 2];
    memset(text, 'A', sizeof(text));
    ck_assert(cw_fhir_id_good(cw_span_of(text, CW_FHIR_ID_MAX - 1)));
    ck_assert(cw_fhir_id_good(cw_span_of(text, CW_FHIR_ID_MAX)));
    ck_assert(!cw_fhir_id_good(cw_span_of(text, CW_FHIR_ID_MAX + 1)));
    ck_assert(!cw_fhir_id_good(CW_SPAN("")));
    ck_assert(!cw_fhir_id_good(CW_SPAN("a b")));
    ck_assert(!cw_fhir_id_good(CW_SPAN("a\x7f")));
    ck_assert(!cw_fhir_id_good(CW_SPAN("\xc3\xa9")));
    ck_assert(cw_fhir_type_good(cw_span_of(text, CW_FHIR_TYPE_MAX)));
    ck_assert(!cw_fhir_type_good(cw_span_of(text, CW_FHIR_TYPE_MAX + 1)));
    ck_assert(!cw_fhir_type_good(CW_SPAN("")));
    ck_assert(!cw_fhir_type_good(CW_SPAN("Pa-tient")));
}
END_TEST

START_TEST(no_memory)
{
    struct cw_arena *small = cw_arena_new(64);
    struct cw_slice slice;
    ck_assert_int_eq(cw_slice_read(CW_SPAN("{\"resourceType\":\"Bundle\",\"entry\":[{}]}"), small, &slice, NULL), CW_E_OOM);
    ck_assert_int_eq(cw_slice_read(CW_SPAN("{\"resourceType\":\"Patient\"}"), small, &slice, NULL), CW_E_OOM);
    cw_arena_free(small);
}
END_TEST

/* --- the hash's input --- */

static const struct {
    const char *resource;
    const char *stable;
} stable_rows[] = {
    { "{\"resourceType\":\"P\",\"id\":\"1\"}", "{\"resourceType\":\"P\",\"id\":\"1\"}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{}}", "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{}}" },
    { "{\"meta\":{\"versionId\":\"1\"},\"resourceType\":\"P\",\"id\":\"1\"}", "{\"meta\":{},\"resourceType\":\"P\",\"id\":\"1\"}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"lastUpdated\":\"2026\",\"versionId\":\"1\"}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{}}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"versionId\":\"1\",\"source\":\"s\"}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"source\":\"s\"}}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"source\":\"s\",\"versionId\":\"1\"}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"source\":\"s\"}}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"versionId\":\"1\",\"source\":\"s\",\"lastUpdated\":\"2026\"}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"source\":\"s\"}}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"a\":1,\"versionId\":\"1\",\"lastUpdated\":\"2026\",\"b\":[2]}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"a\":1,\"b\":[2]}}" },
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"a\":1,\"versionId\":\"1\",\"b\":[2],\"lastUpdated\":\"2026\"}}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"meta\":{\"a\":1,\"b\":[2]}}" },
    /* a member of the same name elsewhere is content */
    { "{\"resourceType\":\"P\",\"id\":\"1\",\"contained\":[{\"meta\":{\"versionId\":\"1\"}}],\"versionId\":\"2\"}",
      "{\"resourceType\":\"P\",\"id\":\"1\",\"contained\":[{\"meta\":{\"versionId\":\"1\"}}],\"versionId\":\"2\"}" },
};

START_TEST(stable_bytes)
{
    struct cw_slice slice;
    ck_assert_int_eq(read_cstr(stable_rows[_i].resource, &slice), CW_OK);
    struct cw_span spans[CW_SLICE_STABLE_MAX];
    size_t count = cw_slice_stable(&slice.entries[0], spans);
    struct cw_str joined;
    cw_str_init(&joined, 4096);
    for (size_t i = 0; i < count; i++) {
        cw_str_add_span(&joined, spans[i]);
    }
    ck_assert_str_eq(cw_str_cstr(&joined), stable_rows[_i].stable);
    cw_str_release(&joined);
}
END_TEST

/* --- OperationOutcome --- */

START_TEST(outcome)
{
    struct cw_span body = fhir_file("tests/fixtures/fhir/good/outcome.json");
    struct cw_outcome found;
    ck_assert_int_eq(cw_outcome_read(body, fhir_arena, &found, NULL), CW_OK);
    ck_assert_uint_eq(found.count, 2);
    ck_assert_span_eq(found.issues[0].severity, "error");
    ck_assert_span_eq(found.issues[0].code, "invalid");
    ck_assert_uint_eq(found.issues[0].details_count, 1);
    ck_assert_span_eq(found.issues[0].details[0], "59108");
    ck_assert_span_eq(found.issues[0].text, "Must have category or code");
    ck_assert_span_eq(found.issues[0].diagnostics, "secret words");
    ck_assert_span_eq(found.issues[1].severity, "fatal");
    ck_assert(cw_outcome_has(&found, "59108"));
    ck_assert(cw_outcome_has(&found, "required"));
    ck_assert(!cw_outcome_has(&found, "4118"));
    free((void *)(uintptr_t)body.ptr);
}
END_TEST

START_TEST(outcome_odd)
{
    struct cw_outcome found;
    struct cw_err err;
    ck_assert_int_eq(cw_outcome_read(CW_SPAN("{\"resourceType\":\"Patient\",\"id\":\"a\"}"), fhir_arena, &found, &err), CW_E_KIND);
    ck_assert_int_eq(cw_outcome_read(CW_SPAN("{\"resourceType\":\"OperationOutcome\",\"issue\":{}}"), fhir_arena, &found, &err),
                     CW_OK);
    ck_assert_uint_eq(found.count, 0);
    ck_assert_int_eq(cw_outcome_read(CW_SPAN("{\"issue\":[1,{\"severity\":2,\"details\":[],\"code\":\"x\"}],"
                                             "\"resourceType\":\"OperationOutcome\"}"),
                                     fhir_arena, &found, &err),
                     CW_OK);
    ck_assert_uint_eq(found.count, 1);
    ck_assert_ptr_null(found.issues[0].severity.ptr);
    ck_assert_span_eq(found.issues[0].code, "x");
}
END_TEST

START_TEST(outcome_many_issues)
{
    struct cw_str body;
    cw_str_init(&body, 65536);
    cw_str_add_cstr(&body, "{\"resourceType\":\"OperationOutcome\",\"issue\":[");
    for (int i = 0; i <= CW_OUTCOME_ISSUES_MAX; i++) {
        cw_str_addf(&body, "%s{\"code\":\"c%d\",\"details\":{\"coding\":[{\"code\":\"1\"},{\"code\":\"2\"},{\"code\":\"3\"},"
                           "{\"code\":\"4\"},{\"code\":\"5\"}]}}", i == 0 ? "" : ",", i);
    }
    cw_str_add_cstr(&body, "]}");
    struct cw_outcome found;
    ck_assert_int_eq(cw_outcome_read(cw_str_span(&body), fhir_arena, &found, NULL), CW_OK);
    ck_assert_uint_eq(found.count, CW_OUTCOME_ISSUES_MAX);
    ck_assert_uint_eq(found.issues[0].details_count, CW_OUTCOME_CODES_MAX);
    cw_str_release(&body);
}
END_TEST

Suite *suite_fhir_slice(void)
{
    Suite *suite = suite_create("fhir/slice");
    TCase *tcase = tcase_create("slice");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_test(tcase, corpus);
    tcase_add_test(tcase, bundle);
    tcase_add_test(tcase, single_resources);
    tcase_add_test(tcase, entry_faults);
    tcase_add_test(tcase, ambiguous_entries);
    tcase_add_test(tcase, entries_limit);
    tcase_add_test(tcase, size_limits);
    tcase_add_test(tcase, name_rules);
    tcase_add_test(tcase, no_memory);
    tcase_add_loop_test(tcase, stable_bytes, 0, (int)CW_ARRAY_LEN(stable_rows));
    tcase_add_test(tcase, outcome);
    tcase_add_test(tcase, outcome_odd);
    tcase_add_test(tcase, outcome_many_issues);
    suite_add_tcase(suite, tcase);
    return suite;
}
