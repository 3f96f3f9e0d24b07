/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of src/base, run by test_base.c. */
#ifndef CW_TESTS_TEST_BASE_H
#define CW_TESTS_TEST_BASE_H

#include <check.h>

Suite *base_memory_suite(void);
Suite *base_text_suite(void);
Suite *base_value_suite(void);
Suite *base_json_suite(void);

/* Compares a span with a C string and shows both. */
#define ck_span_eq(span_, text_) \
    do { \
        struct cw_span got_ = (span_); \
        const char *want_ = (text_); \
        ck_assert_msg(cw_span_eq_cstr(got_, want_), "got \"%.*s\", want \"%s\"", (int)got_.len, got_.len ? got_.ptr : "", \
                      want_); \
    } while (0)

#endif
