/* SPDX-License-Identifier: Apache-2.0 */
/* id and time: round trips, known answers, and texts that must be refused. */
#include "test_base.h"

#include <stdint.h>

#include "base/id.h"
#include "base/time.h"

START_TEST(ids_go_to_text_and_back)
{
    static const uint8_t random[10] = { 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 0xfe };
    struct cw_ulid id = cw_ulid_make(INT64_C(1469918176385) * 1000, random);
    char text[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_SOURCE, id, text);
    /* The first ten characters are the time of the ULID specification's own example. */
    ck_assert_int_eq(strncmp(text, "fhirsrc_01ARYZ6S41", 18), 0);
    ck_assert_uint_eq(strlen(text), 8 + CW_ULID_TEXT);
    struct cw_ulid back;
    ck_assert(cw_id_parse(CW_PREFIX_SOURCE, cw_span_cstr(text), &back));
    ck_assert(cw_ulid_eq(id, back));
    ck_assert(!cw_ulid_is_zero(back));

    struct cw_ulid most;
    memset(&most, 0xff, sizeof most);
    cw_id_emit("", most, text);
    ck_assert_str_eq(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    ck_assert(cw_id_parse("", cw_span_cstr(text), &back));
    ck_assert(cw_ulid_eq(most, back));
    struct cw_ulid zero = { { 0 } };
    cw_id_emit("", zero, text);
    ck_assert_str_eq(text, "00000000000000000000000000");
    ck_assert(cw_ulid_is_zero(zero));
}
END_TEST

START_TEST(ids_of_another_form_are_refused)
{
    static const char *const bad[] = {
        "",
        "ps_",
        "ps_01ARYZ6S410000000000000000",
        "ps_01ARYZ6S4100000000000000000X",
        "conn_01ARYZ6S4100000000000000",
        "conn_01ARYZ6S41000000000000000",
        "conn_01ARYZ6S4100000000000000000",
        "conn_81ARYZ6S410000000000000000",
        "conn_01aryz6s410000000000000000",
        "conn_01ARYZ6S41000000000000000I",
        "conn_01ARYZ6S41000000000000000L",
        "conn_01ARYZ6S41000000000000000O",
        "conn_01ARYZ6S41000000000000000U",
        "conn_01ARYZ6S41000000000000000 ",
        "CONN_01ARYZ6S410000000000000000",
    };
    struct cw_ulid id;
    ck_assert(cw_id_parse(CW_PREFIX_CONNECTION, CW_SPAN("conn_01ARYZ6S410000000000000000"), &id));
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(!cw_id_parse(CW_PREFIX_CONNECTION, cw_span_cstr(bad[i]), &id), "row %zu", i);
    }
    ck_assert(!cw_id_parse(CW_PREFIX_CONNECTION, CW_SPAN("conn_01ARYZ6S41000000000000000\0"), &id));
}
END_TEST

START_TEST(times_go_to_text_and_back)
{
    static const struct {
        const char *text;
        int64_t time_us;
        const char *emitted;
    } rows[] = {
        { "1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z" },
        { "1970-01-01", 0, "1970-01-01T00:00:00.000Z" },
        { "2026-04-25T14:30:00.000Z", INT64_C(1777127400000000), "2026-04-25T14:30:00.000Z" },
        { "2026-04-25T14:30:00.123456789Z", INT64_C(1777127400123456), "2026-04-25T14:30:00.123Z" },
        { "2026-04-25T16:30:00.5+02:00", INT64_C(1777127400500000), "2026-04-25T14:30:00.500Z" },
        { "2026-04-25t09:00:00-05:30", INT64_C(1777127400000000), "2026-04-25T14:30:00.000Z" },
        { "2000-02-29", INT64_C(951782400000000), "2000-02-29T00:00:00.000Z" },
        { "1969-12-31T23:59:59.999Z", -1000, "1969-12-31T23:59:59.999Z" },
        { "2016-12-31T23:59:60Z", INT64_C(1483228799999000), "2016-12-31T23:59:59.999Z" },
        { "0001-01-01", INT64_C(-62135596800000000), "0001-01-01T00:00:00.000Z" },
        { "9999-12-31T23:59:59.999Z", INT64_C(253402300799999000), "9999-12-31T23:59:59.999Z" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        int64_t time_us = 7;
        char text[CW_TIME_TEXT];
        ck_assert_msg(cw_time_parse(cw_span_cstr(rows[i].text), true, &time_us), "row %zu", i);
        ck_assert_msg(time_us == rows[i].time_us, "row %zu: %lld", i, (long long)time_us);
        cw_time_emit(time_us, text);
        ck_assert_str_eq(text, rows[i].emitted);
    }
    char text[CW_TIME_TEXT];
    cw_time_emit(INT64_MAX, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
    cw_time_emit(INT64_MIN, text);
    ck_assert_str_eq(text, "0001-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(every_day_of_the_calendar_goes_round)
{
    int64_t time_us = 0;
    ck_assert(cw_time_parse(CW_SPAN("0001-01-01"), true, &time_us));
    int64_t end = 0;
    ck_assert(cw_time_parse(CW_SPAN("9999-12-31"), true, &end));
    int64_t days = 0;
    /* A step of 29 days meets every month's end in some year. */
    for (; time_us <= end; time_us += 29 * CW_DAY_US, days++) {
        char text[CW_TIME_TEXT];
        int64_t back = 0;
        cw_time_emit(time_us, text);
        ck_assert(cw_time_parse(cw_span_cstr(text), false, &back));
        ck_assert_int_eq(back, time_us);
    }
    ck_assert_int_gt(days, 125000);
}
END_TEST

START_TEST(times_of_another_form_are_refused)
{
    static const char *const bad[] = {
        "", "2026", "2026-04", "2026-4-25", "2026-04-25T14:30Z", "2026-04-25T14:30:00", "2026-04-25 14:30:00Z",
        "2026-04-25T14:30:00.Z", "2026-04-25T24:00:00Z", "2026-04-25T23:60:00Z", "2026-04-25T23:59:61Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
        "2026-04-31", "2026-04-00", "0000-01-01", "10000-01-01", "2026-04-25T14:30:00+2:00", "2026-04-25T14:30:00+0200",
        "2026-04-25T14:30:00+24:00", "2026-04-25T14:30:00+02:60", "2026-04-25T14:30:00ZZ", " 2026-04-25", "2026-04-25 ",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "+026-04-25", "2026-04-25T14:30:00.1",
    };
    int64_t time_us = 7;
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(!cw_time_parse(cw_span_cstr(bad[i]), true, &time_us), "row %zu", i);
    }
    ck_assert(!cw_time_parse(CW_SPAN("2026-04-25"), false, &time_us));
    ck_assert_int_eq(time_us, 7);
}
END_TEST

START_TEST(http_dates_are_read_in_three_forms)
{
    static const char *const good[] = { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < CW_ARRAY_LEN(good); i++) {
        int64_t time_us = 0;
        ck_assert_msg(cw_time_parse_http(cw_span_cstr(good[i]), &time_us), "row %zu", i);
        ck_assert_int_eq(time_us, INT64_C(784111777) * CW_SECOND_US);
    }
    int64_t time_us = 0;
    ck_assert(cw_time_parse_http(CW_SPAN("Wednesday, 25-Nov-26 00:00:00 GMT"), &time_us));
    ck_assert_int_eq(time_us, INT64_C(1795564800) * CW_SECOND_US);
    ck_assert(cw_time_parse_http(CW_SPAN("Fri Nov 25 00:00:00 2026"), &time_us));
    static const char *const bad[] = {
        "", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Xyz, 06 Nov 1994 08:49:37 GMT", "120",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(!cw_time_parse_http(cw_span_cstr(bad[i]), &time_us), "row %zu", i);
    }
}
END_TEST

Suite *base_value_suite(void)
{
    Suite *suite = suite_create("base: values");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, ids_go_to_text_and_back);
    tcase_add_test(tc, ids_of_another_form_are_refused);
    tcase_add_test(tc, times_go_to_text_and_back);
    tcase_add_test(tc, every_day_of_the_calendar_goes_round);
    tcase_add_test(tc, times_of_another_form_are_refused);
    tcase_add_test(tc, http_dates_are_read_in_three_forms);
    suite_add_tcase(suite, tc);
    return suite;
}
