/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as text. The calendar is computed here (proleptic Gregorian, as RFC 3339 wants), because gmtime and timegm ask
 * the environment and know leap tables; a span cursor reads digits of fixed width, so nothing is guessed.
 */
#include "base/time.h"

#include <stdio.h>
#include <string.h>

#define YEAR_MIN 1
#define YEAR_MAX 9999
#define DAYS_MIN (-719162) /* 0001-01-01 */
#define DAYS_MAX 2932896   /* 9999-12-31 */

struct civil {
    int year, month, day, hour, minute, second, micro;
};

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01. Years start in March, so that the leap day is the last of its year. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct civil *c)
{
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    c->day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    c->month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    c->year = (int)(year_of_era + era * 400 + (c->month <= 2 ? 1 : 0));
}

static int64_t day_of(int64_t time_us)
{
    return time_us / CW_DAY_US - (time_us % CW_DAY_US < 0 ? 1 : 0);
}

int64_t cw_time_days(int year, int month, int day)
{
    return days_from_civil(year, month, day);
}

int cw_time_year(int64_t time_us)
{
    struct civil c = { .year = 0 };
    civil_from_days(day_of(time_us), &c);
    return c.year;
}

static bool is_valid(const struct civil *c)
{
    return c->year >= YEAR_MIN && c->year <= YEAR_MAX && c->month >= 1 && c->month <= 12 && c->day >= 1
        && c->day <= days_in_month(c->year, c->month) && c->hour <= 23 && c->minute <= 59 && c->second <= 60;
}

/* The point in time `east` minutes east of UTC; false outside years 1 to 9999 of UTC. */
static bool to_time(struct civil c, int east, int64_t *ret_time_us)
{
    if (!is_valid(&c)) {
        return false;
    }
    if (c.second == 60) { /* a leap second has no number of its own in POSIX time */
        c.second = 59;
        c.micro = 999000;
    }
    int64_t minutes = (days_from_civil(c.year, c.month, c.day) * 24 + c.hour) * 60 + c.minute - east;
    int64_t time_us = minutes * CW_MINUTE_US + c.second * CW_SECOND_US + c.micro;
    if (time_us < DAYS_MIN * CW_DAY_US || time_us >= (DAYS_MAX + 1) * CW_DAY_US) {
        return false;
    }
    *ret_time_us = time_us;
    return true;
}

void cw_time_emit(int64_t time_us, char out[CW_TIME_TEXT])
{
    int64_t least = DAYS_MIN * CW_DAY_US;
    int64_t most = (DAYS_MAX + 1) * CW_DAY_US - 1;
    int64_t clamped = time_us < least ? least : time_us > most ? most : time_us;
    int64_t days = day_of(clamped);
    int64_t rest = clamped - days * CW_DAY_US;
    struct civil c = { .year = 0 };
    civil_from_days(days, &c);
    int len = snprintf(out, CW_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month, c.day,
                       (int)(rest / CW_HOUR_US), (int)(rest / CW_MINUTE_US % 60), (int)(rest / CW_SECOND_US % 60),
                       (int)(rest / 1000 % 1000));
    if (len != CW_TIME_TEXT - 1) {
        out[0] = '\0'; /* cannot happen: the clamp keeps the year at four digits */
    }
}

/* Exactly `width` digits off the front. */
static bool take_number(struct cw_span *text, size_t width, int *ret)
{
    uint64_t value = 0;
    if (text->len < width || !cw_span_u64(cw_span_upto(*text, width), INT32_MAX, &value)) {
        return false;
    }
    *text = cw_span_from(*text, width);
    *ret = (int)value;
    return true;
}

static bool take_literal(struct cw_span *text, struct cw_span literal)
{
    if (!cw_span_eq_nocase(cw_span_upto(*text, literal.len), literal)) {
        return false;
    }
    *text = cw_span_from(*text, literal.len);
    return true;
}

static bool take_date(struct cw_span *text, struct civil *c)
{
    return take_number(text, 4, &c->year) && take_literal(text, CW_SPAN("-")) && take_number(text, 2, &c->month)
        && take_literal(text, CW_SPAN("-")) && take_number(text, 2, &c->day);
}

static bool take_clock(struct cw_span *text, struct civil *c)
{
    return take_number(text, 2, &c->hour) && take_literal(text, CW_SPAN(":")) && take_number(text, 2, &c->minute)
        && take_literal(text, CW_SPAN(":")) && take_number(text, 2, &c->second);
}

/* ".123…": digits after the sixth are dropped, never rounded (a rounded time could be in the future). */
static bool take_fraction(struct cw_span *text, int *ret_micro)
{
    int micro = 0;
    if (take_literal(text, CW_SPAN("."))) {
        size_t count = 0;
        int digit = 0;
        while (take_number(text, 1, &digit)) {
            micro = count < 6 ? micro * 10 + digit : micro;
            count++;
        }
        if (count == 0) {
            return false;
        }
        for (; count < 6; count++) {
            micro *= 10;
        }
    }
    *ret_micro = micro;
    return true;
}

/* "Z" or ±hh:mm, to minutes east of UTC. */
static bool take_offset(struct cw_span *text, int *ret_east)
{
    *ret_east = 0;
    if (take_literal(text, CW_SPAN("Z"))) {
        return true;
    }
    int sign = text->len > 0 && text->ptr[0] == '-' ? -1 : 1;
    if (!take_literal(text, CW_SPAN("+")) && !take_literal(text, CW_SPAN("-"))) {
        return false;
    }
    int hours = 0;
    int minutes = 0;
    if (!take_number(text, 2, &hours) || !take_literal(text, CW_SPAN(":")) || !take_number(text, 2, &minutes)
        || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_east = sign * (hours * 60 + minutes);
    return true;
}

bool cw_time_parse(struct cw_span text, bool date_allowed, int64_t *ret_time_us)
{
    struct civil c = { .year = 0 };
    int east = 0;
    if (!take_date(&text, &c)) {
        return false;
    }
    if (text.len == 0) {
        return date_allowed && to_time(c, 0, ret_time_us);
    }
    return take_literal(&text, CW_SPAN("T")) && take_clock(&text, &c) && take_fraction(&text, &c.micro)
        && take_offset(&text, &east) && text.len == 0 && to_time(c, east, ret_time_us);
}

static bool take_month(struct cw_span *text, int *ret_month)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; i < 12; i++) {
        if (take_literal(text, cw_span_of(names + (size_t)i * 3, 3))) {
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

/* A day's name up to `end`. It says nothing that the date does not, so it is read and not compared with it. */
static bool take_weekday(struct cw_span *text, struct cw_span end)
{
    static const char *const names[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        struct cw_span whole = cw_span_cstr(names[i]);
        if (take_literal(text, cw_span_upto(whole, 3))) {
            (void)take_literal(text, cw_span_from(whole, 3));
            return take_literal(text, end);
        }
    }
    return false;
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool parse_fixdate(struct cw_span text, struct civil *c)
{
    return take_weekday(&text, CW_SPAN(", ")) && take_number(&text, 2, &c->day) && take_literal(&text, CW_SPAN(" "))
        && take_month(&text, &c->month) && take_literal(&text, CW_SPAN(" ")) && take_number(&text, 4, &c->year)
        && take_literal(&text, CW_SPAN(" ")) && take_clock(&text, c) && take_literal(&text, CW_SPAN(" GMT"))
        && text.len == 0;
}

/* Sunday, 06-Nov-94 08:49:37 GMT. RFC 9110 turns on "50 years from now"; base knows no now, and POSIX's fixed turn
 * at 69 agrees with it until 2019 + 50 for every date that a server of today sends. */
static bool parse_rfc850(struct cw_span text, struct civil *c)
{
    if (!take_weekday(&text, CW_SPAN(", ")) || !take_number(&text, 2, &c->day) || !take_literal(&text, CW_SPAN("-"))
        || !take_month(&text, &c->month) || !take_literal(&text, CW_SPAN("-")) || !take_number(&text, 2, &c->year)) {
        return false;
    }
    c->year += c->year < 69 ? 2000 : 1900;
    return take_literal(&text, CW_SPAN(" ")) && take_clock(&text, c) && take_literal(&text, CW_SPAN(" GMT"))
        && text.len == 0;
}

/* Sun Nov  6 08:49:37 1994 */
static bool parse_asctime(struct cw_span text, struct civil *c)
{
    if (!take_weekday(&text, CW_SPAN(" ")) || !take_month(&text, &c->month) || !take_literal(&text, CW_SPAN(" "))) {
        return false;
    }
    size_t width = take_literal(&text, CW_SPAN(" ")) ? 1 : 2;
    return take_number(&text, width, &c->day) && take_literal(&text, CW_SPAN(" ")) && take_clock(&text, c)
        && take_literal(&text, CW_SPAN(" ")) && take_number(&text, 4, &c->year) && text.len == 0;
}

bool cw_time_parse_http(struct cw_span text, int64_t *ret_time_us)
{
    static bool (*const forms[])(struct cw_span, struct civil *) = { parse_fixdate, parse_rfc850, parse_asctime };
    for (size_t i = 0; i < CW_ARRAY_LEN(forms); i++) {
        struct civil c = { .year = 0 };
        if (forms[i](text, &c)) {
            return to_time(c, 0, ret_time_us);
        }
    }
    return false;
}
