/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vendors' public test systems really answered, one exchange a line. The recordings are no part of the project; where they are not,
 * this suite has nothing to do.
 */
#include "config.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "fhir/capability.h"
#include "fhir/identifier.h"
#include "fhir/references.h"
#include "fhir/slice.h"
#include "test_fhir.h"

#define RECORDINGS CW_TEST_SRCDIR "/../shared/data/recordings" /* beside the checkout */

static size_t bodies, resources, pointers;

/* The same resource by another reader: the slice must be one JSON value that says the same type and id. */
static void check_entry(const struct cw_slice_entry *entry)
{
    json_t *tree = json_loadb(entry->resource.ptr, entry->resource.len, 0, NULL);
    ck_assert_ptr_nonnull(tree);
    ck_assert_span_eq(entry->type, json_string_value(json_object_get(tree, "resourceType")));
    ck_assert_span_eq(entry->id, json_string_value(json_object_get(tree, "id")));
    json_decref(tree);
    struct cw_references found;
    ck_assert_int_eq(cw_references_read(entry->resource, CW_SPAN("https://ehr.example"), fhir_arena, &found, NULL), CW_OK);
    pointers += found.reference_count + found.attachment_count;
    if (cw_span_eq_cstr(entry->type, "Patient")) {
        struct cw_str served;
        cw_str_init(&served, 1u << 20);
        ck_assert_int_eq(cw_identifier_put(entry->resource, CW_SPAN("urn:x"), CW_SPAN("1"), &served, NULL), CW_OK);
        tree = json_loadb(served.buf, served.len, 0, NULL);
        ck_assert_ptr_nonnull(tree);
        json_decref(tree);
        cw_str_release(&served);
    }
    resources++;
}

static void check_body(const char *name, size_t line, struct cw_span body)
{
    struct cw_slice slice;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_slice_read(body, fhir_arena, &slice, &err);
    struct cw_span start = cw_span_trim(body);
    if (start.len == 0 || start.ptr[0] == '<') {
        ck_assert_int_eq(rc, CW_E_UPSTREAM);
        return;
    }
    if (start.ptr[0] != '{') {
        return; /* a document */
    }
    ck_assert_msg(rc == CW_OK, "%s:%zu: %s", name, line, err.text);
    for (size_t i = 0; i < slice.count; i++) {
        const struct cw_slice_entry *entry = &slice.entries[i];
        bool record = entry->type.ptr != NULL && !cw_span_eq_cstr(entry->type, "OperationOutcome") &&
                      !cw_span_eq_cstr(entry->type, "CapabilityStatement");
        ck_assert_msg(!record || entry->fault == CW_SLICE_GOOD, "%s:%zu entry %zu: %s", name, line, i, cw_slice_fault_name(entry->fault));
        if (record) {
            check_entry(entry);
        }
        struct cw_capability found;
        if (entry->type.ptr != NULL && cw_span_eq_cstr(entry->type, "CapabilityStatement")) {
            ck_assert_int_eq(cw_capability_read(body, fhir_arena, &found, NULL), CW_OK);
            ck_assert_uint_gt(found.count, 0);
        }
    }
}

static void recorded_file(const char *name, struct cw_span content)
{
    struct cw_span line;
    bool more = true;
    for (size_t number = 1; more; number++) {
        more = cw_span_cut(&content, '\n', &line);
        if (line.len == 0) {
            continue;
        }
        json_t *exchange = json_loadb(line.ptr, line.len, 0, NULL);
        ck_assert_ptr_nonnull(exchange);
        const json_t *body = json_object_get(exchange, "body");
        if (json_is_string(body)) {
            check_body(name, number, cw_span_of(json_string_value(body), json_string_length(body)));
            bodies++;
        }
        json_decref(exchange);
        cw_arena_clear(fhir_arena);
    }
}

START_TEST(recorded_bodies)
{
    if (access(RECORDINGS, R_OK) != 0) {
        return;
    }
    ck_assert_uint_gt(fhir_each_file(RECORDINGS, recorded_file), 0);
    ck_assert_uint_gt(bodies, 100);
    ck_assert_uint_gt(resources, 300);
    ck_assert_uint_gt(pointers, resources);
}
END_TEST

Suite *suite_fhir_recorded(void)
{
    Suite *suite = suite_create("fhir/recorded");
    TCase *tcase = tcase_create("recorded");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_test(tcase, recorded_bodies);
    suite_add_tcase(suite, tcase);
    return suite;
}
