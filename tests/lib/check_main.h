/* SPDX-License-Identifier: Apache-2.0 */
/* The main function of a Check program: `suites` is a NULL-ended list. Runs without forking, so that the sanitizers see leaks of the whole run. */
#ifndef CW_TESTS_CHECK_MAIN_H
#define CW_TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdlib.h>

static inline int cw_check_main(Suite *const *suites)
{
    SRunner *runner = srunner_create(suites[0]);
    for (size_t i = 1; suites[i] != NULL; i++) {
        srunner_add_suite(runner, suites[i]);
    }
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
