/* SPDX-License-Identifier: Apache-2.0 */
/* The web room: the loop and its answers over a socket, the pieces, and the pages. */
#include "test_web.h"

#include "../lib/check_main.h"

int main(void)
{
    Suite *const suites[] = { web_template_suite(), web_server_suite(), NULL };
    return cw_check_main(suites);
}
