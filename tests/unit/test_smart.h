/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the room smart/. */
#ifndef CW_TESTS_TEST_SMART_H
#define CW_TESTS_TEST_SMART_H

#include <check.h>

Suite *scope_suite(void);
Suite *discovery_suite(void);
Suite *authorize_suite(void);
Suite *token_suite(void);
Suite *identity_suite(void);
Suite *jwks_suite(void);
Suite *register_suite(void);
Suite *profile_suite(void);
Suite *smart_oom_suite(void);

#endif
