/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the room net/. */
#ifndef CW_TESTS_TEST_NET_H
#define CW_TESTS_TEST_NET_H

#include <check.h>

Suite *url_suite(void);
Suite *policy_suite(void);
Suite *http_suite(void);
Suite *multi_suite(void);
Suite *tls_suite(void);

#endif
