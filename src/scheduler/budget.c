/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of starts. */
#include "config.h"
#include "scheduler/budget.h"

#include <stdlib.h>

#include "base/time.h"

void budget_release(struct budget *budget)
{
    free(budget->starts_us);
    *budget = (struct budget){ 0 };
}

bool budget_limit(struct budget *budget, unsigned rate)
{
    if (rate == 0 || rate > CW_BUDGET_RATE_MAX || (budget->rate != 0 && budget->rate <= rate)) {
        return true;
    }
    int64_t *starts_us = calloc(rate, sizeof *starts_us);
    if (starts_us == NULL) {
        return false;
    }
    /* The youngest starts go on, oldest first. */
    for (unsigned i = 0; budget->rate != 0 && i < rate; i++) {
        starts_us[i] = budget->starts_us[(budget->next + budget->rate - rate + i) % budget->rate];
    }
    free(budget->starts_us);
    *budget = (struct budget){ .rate = rate, .starts_us = starts_us };
    return true;
}

int64_t budget_free_us(const struct budget *budget)
{
    if (budget->rate == 0 || budget->starts_us[budget->next] == 0) {
        return 0;
    }
    return budget->starts_us[budget->next] + CW_MINUTE_US;
}

void budget_take(struct budget *budget, int64_t now_us)
{
    if (budget->rate != 0) {
        budget->starts_us[budget->next] = now_us;
        budget->next = (budget->next + 1) % budget->rate;
    }
}
