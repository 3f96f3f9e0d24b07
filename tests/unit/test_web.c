/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web room. Compiled twice: the pages and pieces (test_web), and the loop over a socket (test_web_loop, TEST_WEB_LOOP).
 * Apart, since the loop's tests fork, and Check keeps the messages of all suites of a program in one file that a child shares.
 */
#include "test_web.h"

#include "../lib/check_main.h"

int main(void)
{
#ifdef TEST_WEB_LOOP
    Suite *const suites[] = { web_server_suite(), NULL };
#else
    Suite *const suites[] = { web_template_suite(), NULL };
#endif
    return cw_check_main(suites);
}
