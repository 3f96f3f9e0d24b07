/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of the web room, one file each, run by test_web.c. */
#ifndef CW_TESTS_TEST_WEB_H
#define CW_TESTS_TEST_WEB_H

#include <check.h>

Suite *web_server_suite(void);
Suite *web_template_suite(void);

#endif
