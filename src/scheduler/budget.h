/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a server may be asked: at most so many requests in any 60 seconds, over all pulls of this process. Exact, not on average:
 * eCW counts 250 a practice and minute, refreshes included, and then refuses for the rest of it. Each start is remembered for a
 * minute; the oldest of the last `rate` starts says when the next may be. Values only, no clock of its own: the callers' lock guards it.
 */
#ifndef CW_SCHEDULER_BUDGET_H
#define CW_SCHEDULER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

#define CW_BUDGET_RATE_MAX 6000u

struct budget {
    unsigned rate;        /* requests in 60 seconds; 0: no limit */
    unsigned next;        /* where the next start is written: the oldest one stands there */
    int64_t *starts_us;   /* `rate` of them; 0: none yet */
};

void budget_release(struct budget *budget) CW_NONNULL(1);
/* Holds to `rate` from now on, where that is stricter than before; over CW_BUDGET_RATE_MAX and 0 it changes nothing. What was started before counts
 * on. False when out of memory: then nothing has changed. */
bool budget_limit(struct budget *budget, unsigned rate) CW_NONNULL(1) CW_MUST_USE;
/* When the next request may start: at most now_us when it may at once. */
int64_t budget_free_us(const struct budget *budget) CW_NONNULL(1) CW_PURE;
/* One request starts. */
void budget_take(struct budget *budget, int64_t now_us) CW_NONNULL(1);

#endif
