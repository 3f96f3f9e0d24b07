/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between attempt.c (start, consume) and attempt_end.c (the two ends, the sweep). */
#ifndef CW_MODEL_ATTEMPT_INT_H
#define CW_MODEL_ATTEMPT_INT_H

#include "model/attempt.h"

/* The code itself, from the table; a code that is not in it is a bug. */
const char *failure_code_known(const char *code) CW_RETURNS_NONNULL;

#endif
