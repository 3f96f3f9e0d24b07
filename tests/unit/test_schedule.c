/* SPDX-License-Identifier: Apache-2.0 */
/* When the next pull is: the hospital's clock over summer and winter, nights that pass midnight, and what each kind of failure means. No database. */
#include "config.h"

#include <check.h>

#include "base/time.h"
#include "model/schedule.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"

static int64_t at(const char *text)
{
    int64_t us = 0;
    ck_assert_msg(cw_time_parse(cw_span_cstr(text), false, &us), "%s", text);
    return us;
}

static void is_at(int64_t us, const char *wanted, size_t row)
{
    char text[CW_TIME_TEXT];
    cw_time_emit(us, text);
    ck_assert_msg(us == at(wanted), "row %zu: %s instead of %s", row, text, wanted);
}

START_TEST(states_have_clocks)
{
    static const struct {
        const char *state, *country;
        int east_min;
        bool summer;
    } rows[] = {
        { "MA", "US", -300, true },      { "Massachusetts", "", -300, true }, { "massachusetts", "usa", -300, true },
        { "TX", "US", -360, true },      { "CO", "US", -420, true },          { "CA", "US", -480, true },
        { "AK", "US", -540, true },      { "AZ", "US", -420, false },         { "HI", "US", -600, false },
        { "PR", "US", -240, false },     { "GU", "US", 600, false },          { "AS", "US", -660, false },
        { "", "", 0, false },            { "Bavaria", "DE", 0, false },       { "CA", "Canada", 0, false },
        { "ZZ", "US", 0, false },        { "DC", "United States", -300, true },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_zone zone = cw_zone_of(cw_span_cstr(rows[i].state), cw_span_cstr(rows[i].country));
        ck_assert_msg(zone.east_min == rows[i].east_min && zone.summer == rows[i].summer, "row %zu", i);
    }
    struct cw_zone none = cw_zone_of((struct cw_span){ NULL, 0 }, (struct cw_span){ NULL, 0 });
    ck_assert(none.east_min == 0 && !none.summer);
}
END_TEST

START_TEST(the_wall_clock_follows_summer_time)
{
    static const struct {
        const char *state, *utc, *local;
        bool one_way; /* an hour that autumn has twice: back it is the first of the two */
    } rows[] = {
        { "NY", "2026-01-15T12:00:00Z", "2026-01-15T07:00:00Z", false },
        { "NY", "2026-07-15T12:00:00Z", "2026-07-15T08:00:00Z", false },
        { "NY", "2026-03-08T06:59:59Z", "2026-03-08T01:59:59Z", false },
        { "NY", "2026-03-08T07:00:00Z", "2026-03-08T03:00:00Z", false },
        { "NY", "2026-11-01T05:59:59Z", "2026-11-01T01:59:59Z", false },
        { "NY", "2026-11-01T06:00:00Z", "2026-11-01T01:00:00Z", true },
        { "NY", "2026-11-01T07:00:00Z", "2026-11-01T02:00:00Z", false },
        { "CA", "2027-03-14T10:00:00Z", "2027-03-14T03:00:00Z", false },
        { "CA", "2027-11-07T08:59:59Z", "2027-11-07T01:59:59Z", false },
        { "AZ", "2026-07-15T12:00:00Z", "2026-07-15T05:00:00Z", false },
        { "GU", "2026-12-31T20:00:00Z", "2027-01-01T06:00:00Z", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_zone zone = cw_zone_of(cw_span_cstr(rows[i].state), CW_SPAN("US"));
        is_at(cw_zone_local(zone, at(rows[i].utc)), rows[i].local, i);
        if (!rows[i].one_way) {
            is_at(cw_zone_utc(zone, at(rows[i].local)), rows[i].utc, i);
        }
    }
    struct cw_zone ny = cw_zone_of(CW_SPAN("NY"), CW_SPAN("US"));
    is_at(cw_zone_utc(ny, at("2026-03-08T02:30:00Z")), "2026-03-08T07:30:00Z", 90); /* an hour that there is not */
}
END_TEST

static struct cw_schedule_input input(const char *now, const char *state, uint64_t spread)
{
    return (struct cw_schedule_input){ .policy = CW_SCHEDULE_DEFAULT,
                                       .outcome = CW_SCHEDULE_ARRIVED,
                                       .now_us = at(now),
                                       .last_full_us = at(now),
                                       .zone = cw_zone_of(cw_span_cstr(state), CW_SPAN("US")),
                                       .spread = spread };
}

/* The default window is ten hours: a spread of 3 hours is 23:00. */
START_TEST(daily_is_at_ones_own_second_of_the_night)
{
    static const struct {
        const char *now, *state;
        uint64_t spread;
        const char *next;
    } rows[] = {
        { "2026-01-15T15:00:00Z", "NY", 3 * 3600, "2026-01-16T04:00:00Z" },      /* 10:00, tonight at 23:00 */
        { "2026-01-16T04:00:30Z", "NY", 3 * 3600, "2026-01-17T04:00:00Z" },      /* the night after, at the same second */
        { "2026-01-15T15:00:00Z", "NY", 5 * 3600, "2026-01-16T06:00:00Z" },      /* behind midnight */
        { "2026-01-15T15:00:00Z", "NY", 0, "2026-01-17T01:00:00Z" },             /* tonight would be ten hours from the last */
        { "2026-01-15T15:00:00Z", "NY", 10 * 3600 + 60, "2026-01-17T01:01:00Z" },/* hashes go round */
        { "2026-01-15T15:00:00Z", "", 3 * 3600, "2026-01-16T23:00:00Z" },
        { "2026-01-15T15:00:00Z", "GU", 3 * 3600, "2026-01-16T13:00:00Z" },
        { "2026-03-07T15:00:00Z", "NY", 6 * 3600 + 1800, "2026-03-08T07:30:00Z" },/* 02:30, which is not that night */
        { "2026-03-08T15:00:00Z", "NY", 3 * 3600, "2026-03-09T03:00:00Z" },      /* 23:00 of summer */
        { "2026-10-31T15:00:00Z", "NY", 5 * 3600, "2026-11-01T05:00:00Z" },
        { "2026-11-01T15:00:00Z", "NY", 5 * 3600, "2026-11-02T06:00:00Z" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_schedule_input in = input(rows[i].now, rows[i].state, rows[i].spread);
        struct cw_schedule_next next = cw_schedule_next(&in);
        is_at(next.at_us, rows[i].next, i);
        ck_assert_msg(next.mode == CW_PULL_INCREMENTAL && next.hold == NULL, "row %zu", i);
    }
}
END_TEST

START_TEST(windows_of_any_shape)
{
    static const struct {
        unsigned from, to;
        uint64_t spread;
        const char *next;
    } rows[] = {
        { 1, 5, 3600, "2026-01-16T07:00:00Z" },        /* 02:00, all behind midnight */
        { 22, 23, 3599, "2026-01-16T03:59:59Z" },
        { 0, 0, 23 * 3600, "2026-01-16T04:00:00Z" },   /* all day, from midnight */
        { 0, 0, 25 * 3600, "2026-01-16T06:00:00Z" },
        { 23, 22, 22 * 3600, "2026-01-17T02:00:00Z" }, /* 21:00 of the day after the window began */
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_schedule_input in = input("2026-01-15T15:00:00Z", "NY", rows[i].spread);
        in.policy.window_from = rows[i].from;
        in.policy.window_to = rows[i].to;
        is_at(cw_schedule_next(&in).at_us, rows[i].next, i);
    }
}
END_TEST

START_TEST(a_week_has_one_full_pull)
{
    struct cw_schedule_input in = input("2026-01-15T15:00:00Z", "NY", 3 * 3600);
    unsigned full = 0, pulls = 0;
    for (int64_t end_us = in.now_us + 70 * CW_DAY_US; in.now_us < end_us; pulls++) {
        struct cw_schedule_next next = cw_schedule_next(&in);
        ck_assert(next.at_us > in.now_us);
        in.now_us = next.at_us + 7 * CW_MINUTE_US; /* a pull takes time, and the next is at the same second all the same */
        in.last_full_us = next.mode == CW_PULL_FULL ? in.now_us : in.last_full_us;
        full += next.mode == CW_PULL_FULL;
    }
    ck_assert_uint_ge(pulls, 70);
    ck_assert_uint_le(pulls, 72);
    ck_assert_uint_ge(full, 9);
    ck_assert_uint_le(full, 10);
    in.last_full_us = 0;
    ck_assert_int_eq(cw_schedule_next(&in).mode, CW_PULL_FULL);
}
END_TEST

START_TEST(short_steps_stand_for_themselves)
{
    struct cw_schedule_input in = input("2026-01-15T15:00:00Z", "NY", 3 * 3600);
    in.policy.incremental_s = 6 * 3600;
    is_at(cw_schedule_next(&in).at_us, "2026-01-15T21:00:00Z", 0);
    /* Full ones wait for the night, a day at most. */
    in.last_full_us = in.now_us - 7 * CW_DAY_US;
    ck_assert_int_eq(cw_schedule_next(&in).mode, CW_PULL_INCREMENTAL); /* 16:00 there */
    in.now_us = at("2026-01-15T20:00:00Z");
    ck_assert_int_eq(cw_schedule_next(&in).mode, CW_PULL_FULL); /* 21:00 */
    in.now_us = at("2026-01-15T15:00:00Z");
    in.last_full_us = in.now_us - 8 * CW_DAY_US;
    ck_assert_int_eq(cw_schedule_next(&in).mode, CW_PULL_FULL);
    in.policy.full_s = in.policy.incremental_s;
    in.last_full_us = in.now_us;
    ck_assert_int_eq(cw_schedule_next(&in).mode, CW_PULL_FULL);
}
END_TEST

START_TEST(failures_back_off_by_their_kind)
{
    static const struct {
        enum cw_schedule_outcome outcome;
        unsigned failures;
        const char *told, *next; /* NULL: none */
        const char *hold;
    } rows[] = {
        { CW_SCHEDULE_UNREACHABLE, 1, NULL, "2026-01-15T16:00:00Z", NULL },
        { CW_SCHEDULE_UNREACHABLE, 2, NULL, "2026-01-15T19:00:00Z", NULL },
        { CW_SCHEDULE_UNREACHABLE, 3, NULL, "2026-01-16T04:00:00Z", NULL },
        { CW_SCHEDULE_UNREACHABLE, 999, NULL, "2026-01-16T04:00:00Z", NULL },
        { CW_SCHEDULE_THROTTLED, 0, "2026-01-15T15:10:00Z", "2026-01-15T15:10:00Z", NULL },
        { CW_SCHEDULE_THROTTLED, 1, NULL, "2026-01-15T16:00:00Z", NULL },
        { CW_SCHEDULE_NO_ACCESS, 1, NULL, "2026-01-22T04:00:00Z", NULL },
        { CW_SCHEDULE_NO_ACCESS, 50, NULL, "2026-01-22T04:00:00Z", NULL },
        { CW_SCHEDULE_GRANT_ENDED, 1, NULL, NULL, NULL },
        { CW_SCHEDULE_OPERATOR, 1, NULL, NULL, CW_HOLD_OPERATOR },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_schedule_input in = input("2026-01-15T15:00:00Z", "NY", 3 * 3600);
        in.outcome = rows[i].outcome;
        in.failures = rows[i].failures;
        in.told_us = rows[i].told == NULL ? 0 : at(rows[i].told);
        struct cw_schedule_next next = cw_schedule_next(&in);
        if (rows[i].next == NULL) {
            ck_assert_msg(next.at_us == 0, "row %zu", i);
        } else if (in.outcome == CW_SCHEDULE_UNREACHABLE && in.failures < 3) {
            /* spread over a quarter of the pause */
            ck_assert_msg(next.at_us >= at(rows[i].next) && next.at_us < at(rows[i].next) + CW_HOUR_US, "row %zu", i);
        } else if (rows[i].told == NULL && in.outcome == CW_SCHEDULE_THROTTLED) {
            ck_assert_msg(next.at_us >= at(rows[i].next), "row %zu", i);
        } else {
            is_at(next.at_us, rows[i].next, i);
        }
        ck_assert_msg(next.hold == rows[i].hold || strcmp(next.hold, rows[i].hold) == 0, "row %zu", i);
        ck_assert_msg(in.outcome != CW_SCHEDULE_THROTTLED || next.mode == CW_PULL_FULL, "row %zu", i);
    }
}
END_TEST

START_TEST(nothing_is_planned_where_it_should_not_be)
{
    struct cw_schedule_input in = input("2026-01-15T15:00:00Z", "NY", 3 * 3600);
    in.policy.enabled = false;
    struct cw_schedule_next next = cw_schedule_next(&in);
    ck_assert(next.at_us == 0);
    ck_assert_str_eq(next.hold, CW_HOLD_POLICY);
    in.policy.enabled = true;
    in.ends_us = at("2026-01-16T04:00:00Z"); /* the very second */
    next = cw_schedule_next(&in);
    ck_assert(next.at_us == 0);
    ck_assert_str_eq(next.hold, CW_HOLD_ENDS);
    in.ends_us += 1;
    next = cw_schedule_next(&in);
    is_at(next.at_us, "2026-01-16T04:00:00Z", 0);
    ck_assert(next.hold == NULL);
}
END_TEST

/* 10,000 connections over ten hours of 40 quarters: every quarter has its part, within a quarter of it. */
START_TEST(the_night_is_filled_evenly)
{
    unsigned quarters[40] = { 0 };
    int64_t begin_us = at("2026-01-16T01:00:00Z");
    for (unsigned i = 0; i < 10000; i++) {
        struct cw_ulid id = cw_ulid_new();
        struct cw_schedule_input in = input("2026-01-15T13:00:00Z", "NY", cw_schedule_spread(id));
        int64_t into_us = cw_schedule_next(&in).at_us - begin_us;
        ck_assert(into_us >= 0 && into_us < 10 * CW_HOUR_US);
        quarters[into_us / (15 * CW_MINUTE_US)]++;
        ck_assert(cw_schedule_spread(id) == cw_schedule_spread(id));
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(quarters); i++) {
        ck_assert_msg(quarters[i] > 180 && quarters[i] < 320, "quarter %zu has %u of 250", i, quarters[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("schedule");
    TCase *t = tcase_create("schedule");
    tcase_add_test(t, states_have_clocks);
    tcase_add_test(t, the_wall_clock_follows_summer_time);
    tcase_add_test(t, daily_is_at_ones_own_second_of_the_night);
    tcase_add_test(t, windows_of_any_shape);
    tcase_add_test(t, a_week_has_one_full_pull);
    tcase_add_test(t, short_steps_stand_for_themselves);
    tcase_add_test(t, failures_back_off_by_their_kind);
    tcase_add_test(t, nothing_is_planned_where_it_should_not_be);
    tcase_add_test(t, the_night_is_filled_evenly);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    Suite *const suites[] = { suite(), NULL };
    return cw_check_main(suites);
}
