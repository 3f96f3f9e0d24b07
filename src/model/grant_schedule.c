/* SPDX-License-Identifier: Apache-2.0 */
/* When a grant is due, how long a failure waits, and when its end is told. Pure but for the dice. */
#include "config.h"

#include "model/grant_int.h"

#include "os/sys.h"

static const int thresholds[] = { 14, 7, 1 }; /* days */

/* The random half of a ULID is spread well already. */
static uint64_t hash_of(struct cw_connection_id id)
{
    uint64_t hash;
    memcpy(&hash, id.ulid.bytes + sizeof id.ulid.bytes - sizeof hash, sizeof hash);
    return hash;
}

int64_t grant_due_us(struct cw_connection_id id, int64_t now_us, int64_t keep_us, struct grant_end end)
{
    int64_t period_us = keep_us > 0 && keep_us < GRANT_KEEP_ALIVE_US ? keep_us : GRANT_KEEP_ALIVE_US;
    bool rolling = end.ends_us != 0 && !end.fixed;
    if (rolling && (end.ends_us - now_us) / 2 < period_us) {
        period_us = (end.ends_us - now_us) / 2;
    }
    period_us = period_us < CW_MINUTE_US ? CW_MINUTE_US : period_us;
    int64_t due_us = now_us + period_us / 5 * 4 + (int64_t)(hash_of(id) % (uint64_t)(period_us / 5));
    return end.fixed && end.ends_us > now_us && end.ends_us < due_us ? end.ends_us : due_us;
}

int64_t grant_backoff_us(unsigned failures)
{
    static const int64_t ladder[] = { 1, 5, 15, 60 };
    size_t step = failures == 0 ? 0 : failures - 1;
    int64_t us = ladder[step < CW_ARRAY_LEN(ladder) ? step : CW_ARRAY_LEN(ladder) - 1] * CW_MINUTE_US;
    return us - us / 5 + (int64_t)cw_random_below((uint64_t)(us / 5 * 2));
}

int64_t grant_lost_pause_us(void)
{
    return 2 * CW_SECOND_US + (int64_t)cw_random_below(3 * CW_SECOND_US);
}

/* The nearest threshold that has passed with so much left; 0: none has. */
static int passed(int64_t left_us)
{
    int nearest = 0;
    for (size_t i = 0; i < CW_ARRAY_LEN(thresholds); i++) {
        if (left_us <= thresholds[i] * CW_DAY_US) {
            nearest = thresholds[i];
        }
    }
    return nearest;
}

/* The largest threshold below `warned_days` (-1: the largest of all); 0: none is left. */
static int next_after(int warned_days)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(thresholds); i++) {
        if (warned_days < 0 || thresholds[i] < warned_days) {
            return thresholds[i];
        }
    }
    return 0;
}

/* When to look again; a one-time grant's end is the last look. */
static int64_t look_us(int64_t now_us, int64_t ends_us, bool one_time, int warned_days)
{
    int next = next_after(warned_days);
    if (next == 0) {
        return one_time ? ends_us : 0;
    }
    int64_t at_us = ends_us - next * CW_DAY_US;
    return at_us > now_us ? at_us : now_us;
}

struct grant_warning grant_warning_new(int64_t now_us, struct grant_end end, bool one_time, int before)
{
    struct grant_warning warning = { .warned_days = -1 };
    if (end.ends_us == 0) {
        return warning;
    }
    int64_t left_us = end.ends_us - now_us;
    if (before >= 0 && passed(left_us) != 0) {
        warning.warned_days = passed(left_us) > before ? passed(left_us) : before;
    }
    for (size_t i = 0; !end.fixed && !one_time && i < CW_ARRAY_LEN(thresholds); i++) {
        if (thresholds[i] * CW_DAY_US > left_us / 2 && (warning.warned_days < 0 || thresholds[i] < warning.warned_days)) {
            warning.warned_days = thresholds[i];
        }
    }
    warning.at_us = look_us(now_us, end.ends_us, one_time, warning.warned_days);
    return warning;
}

struct grant_warning grant_warning_step(int64_t now_us, int64_t ends_us, bool one_time, int warned_days, int *ret_tell)
{
    struct grant_warning warning = { .warned_days = warned_days };
    int64_t left_us = ends_us - now_us;
    int nearest = passed(left_us);
    *ret_tell = 0;
    if (left_us <= 0) {
        warning.warned_days = 0; /* too late for a warning */
    } else if (nearest != 0 && (warned_days < 0 || nearest < warned_days)) {
        *ret_tell = nearest;
        warning.warned_days = nearest;
    }
    warning.at_us = look_us(now_us, ends_us, one_time, warning.warned_days);
    return warning;
}
