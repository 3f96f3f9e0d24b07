/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap that fails on request. A test program that links faulty_alloc.c with the flags $(FAULTY_HEAP) has malloc,
 * calloc and realloc of its own objects go through here; shared libraries keep theirs, but jansson takes hooks.
 *
 *   for (unsigned n = 1; ; n++) {
 *       faulty_alloc_arm(n);
 *       enum cw_code rc = thing_under_test();
 *       if (!faulty_alloc_disarm()) { ck_assert_int_eq(rc, CW_OK); break; }
 *       ck_assert_int_eq(rc, CW_E_OOM);
 *   }
 */
#ifndef CW_TESTS_FAULTY_ALLOC_H
#define CW_TESTS_FAULTY_ALLOC_H

#include <stdbool.h>

/* The nth allocation from now returns NULL, once. nth >= 1. */
void faulty_alloc_arm(unsigned nth);
/* Back to a sound heap; true when the failure was reached. */
bool faulty_alloc_disarm(void);
/* Sends jansson's allocations through here as well, for the rest of the program. */
void faulty_alloc_hook_jansson(void);

#endif
