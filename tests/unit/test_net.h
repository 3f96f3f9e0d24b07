/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the room net/. */
#ifndef CW_TESTS_TEST_NET_H
#define CW_TESTS_TEST_NET_H

#include <check.h>

/* The file that SSLKEYLOGFILE named when this program started. */
extern char test_net_keylog[];

Suite *url_suite(void);
Suite *policy_suite(void);
Suite *http_suite(void);
Suite *multi_suite(void);
Suite *tls_suite(void);
Suite *hostile_suite(void);
Suite *resolver_suite(void);

#endif
