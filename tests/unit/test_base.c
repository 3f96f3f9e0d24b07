/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the suites of src/base. */
#include "test_base.h"

#include "../lib/check_main.h"
#include "../lib/faulty_alloc.h"

int main(void)
{
    faulty_alloc_hook_jansson();
    Suite *const suites[] = { base_memory_suite(), base_text_suite(), base_value_suite(), base_json_suite(), NULL };
    return cw_check_main(suites);
}
