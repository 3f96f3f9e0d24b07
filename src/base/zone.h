/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock on a hospital's wall, from its state: the offset from UTC and the United States' rule for summer time, as a table here, so that no
 * time zone files are needed. Good for choosing a time of night, not for dating a record.
 */
#ifndef CW_BASE_ZONE_H
#define CW_BASE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/span.h"

struct cw_zone {
    int east_min;      /* minutes east of UTC, in winter */
    bool summer;       /* one hour more from the second Sunday of March, 02:00, to the first Sunday of November, 02:00 */
};

/* By postal abbreviation or name of a state or territory, in any case. A state with two zones has that of most of its people. UTC where the
 * state is not known or the country is told and another. */
struct cw_zone cw_zone_of(struct cw_span state, struct cw_span country) CW_MUST_USE;
/* Microseconds since 1970 as the wall clock counts them, and back. An hour that spring leaves out is that of the winter's clock; of an hour
 * that autumn has twice it is the first. */
int64_t cw_zone_local(struct cw_zone zone, int64_t time_us) CW_MUST_USE;
int64_t cw_zone_utc(struct cw_zone zone, int64_t local_us) CW_MUST_USE;

#endif
