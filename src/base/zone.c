/* SPDX-License-Identifier: Apache-2.0 */
/* See zone.h. Summer time begins and ends at 02:00 of the clock that is then on the wall: 02:00 winter time, and 01:00 of the winter's clock. */
#include "base/zone.h"

#include <stddef.h>

#include "base/time.h"

#define EASTERN { -300, true }
#define CENTRAL { -360, true }
#define MOUNTAIN { -420, true }
#define PACIFIC { -480, true }

static const struct {
    const char *code, *name;
    struct cw_zone zone;
} states[] = {
    { "AL", "Alabama", CENTRAL },
    { "AK", "Alaska", { -540, true } },
    { "AZ", "Arizona", { -420, false } },
    { "AR", "Arkansas", CENTRAL },
    { "CA", "California", PACIFIC },
    { "CO", "Colorado", MOUNTAIN },
    { "CT", "Connecticut", EASTERN },
    { "DE", "Delaware", EASTERN },
    { "DC", "District of Columbia", EASTERN },
    { "FL", "Florida", EASTERN },
    { "GA", "Georgia", EASTERN },
    { "HI", "Hawaii", { -600, false } },
    { "ID", "Idaho", MOUNTAIN },
    { "IL", "Illinois", CENTRAL },
    { "IN", "Indiana", EASTERN },
    { "IA", "Iowa", CENTRAL },
    { "KS", "Kansas", CENTRAL },
    { "KY", "Kentucky", EASTERN },
    { "LA", "Louisiana", CENTRAL },
    { "ME", "Maine", EASTERN },
    { "MD", "Maryland", EASTERN },
    { "MA", "Massachusetts", EASTERN },
    { "MI", "Michigan", EASTERN },
    { "MN", "Minnesota", CENTRAL },
    { "MS", "Mississippi", CENTRAL },
    { "MO", "Missouri", CENTRAL },
    { "MT", "Montana", MOUNTAIN },
    { "NE", "Nebraska", CENTRAL },
    { "NV", "Nevada", PACIFIC },
    { "NH", "New Hampshire", EASTERN },
    { "NJ", "New Jersey", EASTERN },
    { "NM", "New Mexico", MOUNTAIN },
    { "NY", "New York", EASTERN },
    { "NC", "North Carolina", EASTERN },
    { "ND", "North Dakota", CENTRAL },
    { "OH", "Ohio", EASTERN },
    { "OK", "Oklahoma", CENTRAL },
    { "OR", "Oregon", PACIFIC },
    { "PA", "Pennsylvania", EASTERN },
    { "RI", "Rhode Island", EASTERN },
    { "SC", "South Carolina", EASTERN },
    { "SD", "South Dakota", CENTRAL },
    { "TN", "Tennessee", CENTRAL },
    { "TX", "Texas", CENTRAL },
    { "UT", "Utah", MOUNTAIN },
    { "VT", "Vermont", EASTERN },
    { "VA", "Virginia", EASTERN },
    { "WA", "Washington", PACIFIC },
    { "WV", "West Virginia", EASTERN },
    { "WI", "Wisconsin", CENTRAL },
    { "WY", "Wyoming", MOUNTAIN },
    { "AS", "American Samoa", { -660, false } },
    { "GU", "Guam", { 600, false } },
    { "MP", "Northern Mariana Islands", { 600, false } },
    { "PR", "Puerto Rico", { -240, false } },
    { "VI", "Virgin Islands", { -240, false } },
};

static bool is_here(struct cw_span country)
{
    static const char *const names[] = { "", "US", "USA", "United States", "United States of America" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_span_eq_nocase(country, cw_span_cstr(names[i]))) {
            return true;
        }
    }
    return false;
}

struct cw_zone cw_zone_of(struct cw_span state, struct cw_span country)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(states) && state.len > 0 && is_here(country); i++) {
        if (cw_span_eq_nocase(state, cw_span_cstr(states[i].code)) || cw_span_eq_nocase(state, cw_span_cstr(states[i].name))) {
            return states[i].zone;
        }
    }
    return (struct cw_zone){ 0, false };
}

/* Day number of the nth Sunday of a month. Day 0, 1970-01-01, was a Thursday. */
static int64_t sunday(int year, int month, int nth)
{
    int64_t first = cw_time_days(year, month, 1);
    return first + (3 - first % 7 + 7) % 7 + (int64_t)(nth - 1) * 7;
}

/* By the winter's clock. */
static bool is_summer(int64_t winter_us)
{
    int year = cw_time_year(winter_us);
    int64_t from_us = sunday(year, 3, 2) * CW_DAY_US + 2 * CW_HOUR_US, to_us = sunday(year, 11, 1) * CW_DAY_US + CW_HOUR_US;
    return winter_us >= from_us && winter_us < to_us;
}

int64_t cw_zone_local(struct cw_zone zone, int64_t time_us)
{
    int64_t winter_us = time_us + zone.east_min * CW_MINUTE_US;
    return zone.summer && is_summer(winter_us) ? winter_us + CW_HOUR_US : winter_us;
}

int64_t cw_zone_utc(struct cw_zone zone, int64_t local_us)
{
    /* A summer's clock is an hour ahead: what it calls 02:30 on the first day was 01:30 in winter, which is no summer yet. */
    bool summer = zone.summer && is_summer(local_us - CW_HOUR_US);
    return local_us - zone.east_min * CW_MINUTE_US - (summer ? CW_HOUR_US : 0);
}
