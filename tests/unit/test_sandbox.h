/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of test_sandbox that live in files of their own. */
#ifndef CW_TESTS_TEST_SANDBOX_H
#define CW_TESTS_TEST_SANDBOX_H

#include <check.h>

Suite *sandbox_state_suite(void);
Suite *sandbox_recording_suite(void);

#endif
