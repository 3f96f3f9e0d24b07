/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a connection is pulled next, and whether whole: a function of what is known, with no clock and no table of its own. By night on the
 * hospital's clock, each connection at a second of its own; after a failure by what failed.
 */
#ifndef CW_MODEL_SCHEDULE_H
#define CW_MODEL_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/id.h"
#include "base/zone.h"

enum cw_pull_mode { CW_PULL_FULL = 1, CW_PULL_INCREMENTAL = 2 };
/* "full", "incremental" */
const char *cw_pull_mode_name(enum cw_pull_mode mode) CW_RETURNS_NONNULL;

#define CW_SCHEDULE_LEAST_S (15u * 60u)
#define CW_SCHEDULE_MOST_S (365u * 86400u)

struct cw_schedule_policy {
    bool enabled;
    uint32_t incremental_s;        /* CW_SCHEDULE_LEAST_S to CW_SCHEDULE_MOST_S, and full_s too */
    uint32_t full_s;
    unsigned window_from, window_to; /* hours, 0 to 23, of the hospital's clock; the same twice: all day */
};
#define CW_SCHEDULE_DEFAULT ((struct cw_schedule_policy){ true, 86400, 7 * 86400, 20, 6 })

/* How the last pull ended, as far as the next depends on it. */
enum cw_schedule_outcome {
    CW_SCHEDULE_ARRIVED,           /* whole or with holes */
    CW_SCHEDULE_UNREACHABLE,       /* 1 hour, 4 hours, then a night at a time */
    CW_SCHEDULE_THROTTLED,         /* when it was told */
    CW_SCHEDULE_NO_ACCESS,         /* all was refused: weekly, since somebody may open it */
    CW_SCHEDULE_GRANT_ENDED,       /* none; who connects again is pulled at once */
    CW_SCHEDULE_OPERATOR           /* moved, or not to be understood: none until somebody acts */
};

/* Why nothing is planned. */
#define CW_HOLD_POLICY "policy_off"
#define CW_HOLD_OPERATOR "operator"
#define CW_HOLD_ENDS "access_ends" /* the access is known to end before */

struct cw_schedule_input {
    struct cw_schedule_policy policy;
    enum cw_schedule_outcome outcome;
    unsigned failures;             /* in a row, with this one; from 1 */
    int64_t now_us;
    int64_t last_full_us;          /* 0: never */
    int64_t told_us;               /* THROTTLED: not before; 0: not told */
    int64_t ends_us;               /* nothing is planned from then on; 0: no such end */
    struct cw_zone zone;
    uint64_t spread;               /* cw_schedule_spread of the connection */
};
struct cw_schedule_next {
    int64_t at_us;                 /* 0: none */
    enum cw_pull_mode mode;
    const char *hold;              /* one of CW_HOLD_… where none is planned for such a reason, else NULL */
};
/*
 * Steps of a day and more are taken to the connection's second of the night that is nearest; shorter ones stand for themselves, and only
 * full pulls of theirs wait for the night (a day at most). A pull is full when that is due within half a step.
 */
struct cw_schedule_next cw_schedule_next(const struct cw_schedule_input *in) CW_NONNULL(1) CW_MUST_USE;
/* Evenly distributed, and always the same for a connection. */
uint64_t cw_schedule_spread(struct cw_ulid connection) CW_MUST_USE;

#endif
