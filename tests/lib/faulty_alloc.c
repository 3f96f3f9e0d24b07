/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapped allocators; the linker's --wrap gives them their names. Only the thread that armed them fails: a server of the test goes on. */
#include "faulty_alloc.h"

#include <jansson.h>
#include <stdlib.h>

static _Thread_local unsigned left; /* allocations until the failure; 0 = none armed */
static _Thread_local bool fired;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static bool must_fail(void)
{
    if (left == 0 || --left > 0) {
        return false;
    }
    fired = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : __real_realloc(ptr, size);
}

void faulty_alloc_arm(unsigned nth)
{
    left = nth;
    fired = false;
}

bool faulty_alloc_disarm(void)
{
    left = 0;
    return fired;
}

void faulty_alloc_hook_jansson(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
}
