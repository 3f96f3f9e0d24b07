/* SPDX-License-Identifier: Apache-2.0 */
/* See schedule.h. */
#include "config.h"

#include "model/schedule.h"

#include "base/time.h"

#define HALF_DAY_US (CW_DAY_US / 2)

const char *cw_pull_mode_name(enum cw_pull_mode mode)
{
    return mode == CW_PULL_INCREMENTAL ? "incremental" : "full";
}

/* FNV-1a, stirred once more so that the low bits are as good as the high ones. */
uint64_t cw_schedule_spread(struct cw_ulid connection)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof connection.bytes; i++) {
        hash = (hash ^ connection.bytes[i]) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ (hash >> 33);
}

static int64_t window_us(const struct cw_schedule_policy *policy)
{
    unsigned hours = (policy->window_to + 24 - policy->window_from) % 24;
    return (hours == 0 ? 24 : hours) * CW_HOUR_US;
}

static int64_t day_of(int64_t local_us)
{
    return local_us / CW_DAY_US - (local_us % CW_DAY_US < 0 ? 1 : 0);
}

/* The connection's second in the first night that has it at or after a time. A night may have begun on the day before. */
static int64_t slot_from(const struct cw_schedule_input *in, int64_t earliest_us)
{
    int64_t into_us = (int64_t)(in->spread % (uint64_t)(window_us(&in->policy) / CW_SECOND_US)) * CW_SECOND_US;
    int64_t day = day_of(cw_zone_local(in->zone, earliest_us)) - 1;
    int64_t at_us;
    do {
        at_us = cw_zone_utc(in->zone, day++ * CW_DAY_US + in->policy.window_from * CW_HOUR_US + into_us);
    } while (at_us < earliest_us);
    return at_us;
}

static int64_t nearest_slot(const struct cw_schedule_input *in, int64_t step_us)
{
    return slot_from(in, in->now_us + step_us - HALF_DAY_US);
}

static bool in_window(const struct cw_schedule_input *in, int64_t at_us)
{
    int64_t local_us = cw_zone_local(in->zone, at_us);
    int64_t since_us = local_us - day_of(local_us) * CW_DAY_US - in->policy.window_from * CW_HOUR_US;
    return (since_us < 0 ? since_us + CW_DAY_US : since_us) < window_us(&in->policy);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static enum cw_pull_mode mode_at(const struct cw_schedule_input *in, int64_t at_us)
{
    int64_t full_us = in->policy.full_s * CW_SECOND_US, step_us = in->policy.incremental_s * CW_SECOND_US;
    int64_t since_us = at_us - in->last_full_us;
    if (in->last_full_us == 0 || full_us <= step_us) {
        return CW_PULL_FULL;
    }
    bool due = since_us >= full_us - least(step_us / 2, HALF_DAY_US);
    /* Whole pulls belong into the night, where there is a night to wait for. */
    return due && (full_us < CW_DAY_US || since_us >= full_us + CW_DAY_US || in_window(in, at_us)) ? CW_PULL_FULL : CW_PULL_INCREMENTAL;
}

static int64_t by_policy(const struct cw_schedule_input *in)
{
    int64_t step_us = least(in->policy.incremental_s, in->policy.full_s) * CW_SECOND_US;
    return step_us < CW_DAY_US ? in->now_us + step_us : nearest_slot(in, step_us);
}

/* A host that was away comes back to those who wait for it, and not to all of them at once. */
static int64_t after_outage(const struct cw_schedule_input *in)
{
    static const int64_t steps_us[] = { CW_HOUR_US, 4 * CW_HOUR_US };
    unsigned failures = in->failures == 0 ? 1 : in->failures;
    if (failures > CW_ARRAY_LEN(steps_us)) {
        return nearest_slot(in, CW_DAY_US);
    }
    int64_t step_us = steps_us[failures - 1];
    return in->now_us + step_us + (int64_t)(in->spread % (uint64_t)(step_us / 4));
}

static int64_t time_of(const struct cw_schedule_input *in)
{
    switch (in->outcome) {
    case CW_SCHEDULE_ARRIVED:
        return by_policy(in);
    case CW_SCHEDULE_UNREACHABLE:
        return after_outage(in);
    case CW_SCHEDULE_THROTTLED:
        return in->told_us != 0 ? in->told_us : after_outage(in);
    case CW_SCHEDULE_NO_ACCESS:
        return nearest_slot(in, 7 * CW_DAY_US);
    case CW_SCHEDULE_GRANT_ENDED:
    case CW_SCHEDULE_OPERATOR:
        break;
    }
    return 0;
}

struct cw_schedule_next cw_schedule_next(const struct cw_schedule_input *in)
{
    struct cw_schedule_next next = { .mode = CW_PULL_FULL };
    if (in->outcome == CW_SCHEDULE_OPERATOR) {
        next.hold = CW_HOLD_OPERATOR;
        return next;
    }
    if (!in->policy.enabled && in->outcome != CW_SCHEDULE_GRANT_ENDED) {
        next.hold = CW_HOLD_POLICY;
        return next;
    }
    next.at_us = time_of(in);
    if (next.at_us != 0 && in->ends_us != 0 && next.at_us >= in->ends_us) {
        next.at_us = 0;
        next.hold = CW_HOLD_ENDS;
        return next;
    }
    /* What a limit cut off is not newer than what came before it: only a full pull asks for it again. */
    next.mode = in->outcome == CW_SCHEDULE_THROTTLED ? CW_PULL_FULL : mode_at(in, next.at_us);
    return next;
}
