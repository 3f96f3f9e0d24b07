/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the fhir room, and what they share: fixture files and an arena for each test. */
#ifndef CW_TESTS_TEST_FHIR_H
#define CW_TESTS_TEST_FHIR_H

#include <check.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/span.h"

Suite *suite_fhir_slice(void);
Suite *suite_fhir_references(void);
Suite *suite_fhir_identifier(void);
Suite *suite_fhir_link(void);
Suite *suite_fhir_plan(void);
Suite *suite_fhir_recorded(void);
Suite *suite_catalog_import(void);

/* A new arena in fhir_arena for each test of a case that uses these as its checked fixture. */
extern struct cw_arena *fhir_arena;
void fhir_setup(void);
void fhir_teardown(void);

/* A whole file, absolute or under the source folder; free() its ptr. Fails the test when it cannot be read. */
struct cw_span fhir_file(const char *path);
/* Calls fn with path and content of each file of a folder under the source folder, in order of name; returns how many. */
typedef void fhir_file_fn(const char *name, struct cw_span content);
size_t fhir_each_file(const char *folder, fhir_file_fn *fn);

#define ck_assert_span_eq(span, literal)                                                                               \
    do {                                                                                                               \
        struct cw_span got_ = (span);                                                                                  \
        ck_assert_msg(cw_span_eq_cstr(got_, (literal)), "%s is \"%.*s\", not \"%s\"", #span, (int)got_.len,            \
                      got_.ptr == NULL ? "" : got_.ptr, (literal));                                                    \
    } while (0)

#endif
