/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as microseconds since 1970 UTC; text forms. Reading the clock is os/clock. */
#ifndef CW_BASE_TIME_H
#define CW_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/span.h"

#define CW_SECOND_US INT64_C(1000000)
#define CW_MINUTE_US (60 * CW_SECOND_US)
#define CW_HOUR_US (60 * CW_MINUTE_US)
#define CW_DAY_US (24 * CW_HOUR_US)
#define CW_TIME_TEXT 25 /* "2026-04-25T14:30:00.000Z" + NUL */

/* Milliseconds, as on our wire. */
void cw_time_emit(int64_t time_us, char out[CW_TIME_TEXT]) CW_NONNULL(2);
/* RFC 3339 date-time with offset, any number of fraction digits, or (with date_allowed) a bare date as 00:00 UTC.
 * Years 1 to 9999; second 60 counts as 59.999. */
bool cw_time_parse(struct cw_span text, bool date_allowed, int64_t *ret_time_us) CW_NONNULL(3) CW_MUST_USE;
/* HTTP-date (RFC 9110 5.6.7, all three forms). */
bool cw_time_parse_http(struct cw_span text, int64_t *ret_time_us) CW_NONNULL(2) CW_MUST_USE;

/* The calendar: days since 1970-01-01 of a date, and the year of a point in time. */
int64_t cw_time_days(int year, int month, int day) CW_MUST_USE;
int cw_time_year(int64_t time_us) CW_MUST_USE;

#endif
