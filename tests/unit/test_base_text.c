/* SPDX-License-Identifier: Apache-2.0 */
/* span and text: tables of good and bad, each row with the answer that a standard gives. */
#include "test_base.h"

#include <stdint.h>

#include "base/span.h"
#include "base/str.h"
#include "base/text.h"

START_TEST(spans_compare_and_find)
{
    struct cw_span absent = cw_span_cstr(NULL);
    ck_assert_ptr_null(absent.ptr);
    ck_assert(cw_span_eq(absent, CW_SPAN("")));
    ck_assert(cw_span_eq_cstr(CW_SPAN("ab"), "ab"));
    ck_assert(!cw_span_eq_cstr(CW_SPAN("ab"), "abc"));
    ck_assert(cw_span_eq_nocase(CW_SPAN("Content-TYPE"), CW_SPAN("content-type")));
    ck_assert(!cw_span_eq_nocase(CW_SPAN("a["), CW_SPAN("a{")));
    ck_assert(cw_span_starts(CW_SPAN("abc"), CW_SPAN("ab")));
    ck_assert(!cw_span_starts(CW_SPAN("a"), CW_SPAN("ab")));
    ck_assert(cw_span_ends(CW_SPAN("abc"), CW_SPAN("bc")));
    ck_assert(!cw_span_ends(CW_SPAN("c"), CW_SPAN("bc")));
    ck_assert_uint_eq(cw_span_find(CW_SPAN("abc"), 'c'), 2);
    ck_assert_uint_eq(cw_span_find(CW_SPAN("abc"), 'x'), 3);
    ck_assert_uint_eq(cw_span_find(absent, 'x'), 0);
    ck_assert_uint_eq(cw_span_find_span(CW_SPAN("abcabd"), CW_SPAN("abd")), 3);
    ck_assert_uint_eq(cw_span_find_span(CW_SPAN("ab"), CW_SPAN("abd")), 2);
    ck_assert_uint_eq(cw_span_find_span(CW_SPAN("ab"), absent), 0);
    ck_span_eq(cw_span_from(CW_SPAN("abc"), 1), "bc");
    ck_span_eq(cw_span_from(CW_SPAN("abc"), 9), "");
    ck_span_eq(cw_span_upto(CW_SPAN("abc"), 2), "ab");
    ck_span_eq(cw_span_upto(CW_SPAN("abc"), 9), "abc");
    ck_span_eq(cw_span_trim(CW_SPAN(" \t a b\r\n")), "a b");
    ck_span_eq(cw_span_trim(CW_SPAN(" \t ")), "");
}
END_TEST

START_TEST(spans_are_cut_from_the_front)
{
    struct cw_span rest = CW_SPAN("a=b=c");
    struct cw_span word;
    ck_assert(cw_span_cut(&rest, '=', &word));
    ck_span_eq(word, "a");
    ck_assert(cw_span_cut(&rest, '=', &word));
    ck_span_eq(word, "b");
    ck_assert(!cw_span_cut(&rest, '=', &word));
    ck_span_eq(word, "c");
    ck_assert_uint_eq(rest.len, 0);
    rest = CW_SPAN("a=");
    ck_assert(cw_span_cut(&rest, '=', &word));
    ck_assert_uint_eq(rest.len, 0);

    rest = CW_SPAN("  openid\tfhirUser \n launch/patient ");
    static const char *const words[] = { "openid", "fhirUser", "launch/patient" };
    for (size_t i = 0; i < CW_ARRAY_LEN(words); i++) {
        ck_assert(cw_span_word(&rest, &word));
        ck_span_eq(word, words[i]);
    }
    ck_assert(!cw_span_word(&rest, &word));
    ck_assert_uint_eq(rest.len, 0);
}
END_TEST

START_TEST(numbers_are_whole_and_bounded)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool good;
        uint64_t value;
    } rows[] = {
        { "0", 0, true, 0 },
        { "1", 0, false, 0 },
        { "9", 10, true, 9 },
        { "10", 10, true, 10 },
        { "11", 10, false, 0 },
        { "5", 3, false, 0 },
        { "007", 10, true, 7 },
        { "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
        { "18446744073709551616", UINT64_MAX, false, 0 },
        { "99999999999999999999999", UINT64_MAX, false, 0 },
        { "", 9, false, 0 },
        { "+1", 9, false, 0 },
        { "-1", 9, false, 0 },
        { " 1", 9, false, 0 },
        { "1 ", 9, false, 0 },
        { "0x1", 9, false, 0 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        uint64_t value = 77;
        bool good = cw_span_u64(cw_span_cstr(rows[i].text), rows[i].max, &value);
        ck_assert_msg(good == rows[i].good, "row %zu", i);
        ck_assert_msg(value == (good ? rows[i].value : 77), "row %zu", i);
    }
    int64_t value = 0;
    ck_assert(cw_span_i64(CW_SPAN("-9223372036854775808"), INT64_MIN, INT64_MAX, &value));
    ck_assert_int_eq(value, INT64_MIN);
    ck_assert(cw_span_i64(CW_SPAN("9223372036854775807"), INT64_MIN, INT64_MAX, &value));
    ck_assert(!cw_span_i64(CW_SPAN("9223372036854775808"), INT64_MIN, INT64_MAX, &value));
    ck_assert(!cw_span_i64(CW_SPAN("-9223372036854775809"), INT64_MIN, INT64_MAX, &value));
    ck_assert(cw_span_i64(CW_SPAN("-5"), -5, 5, &value));
    ck_assert(!cw_span_i64(CW_SPAN("-6"), -5, 5, &value));
    ck_assert(!cw_span_i64(CW_SPAN("6"), -5, 5, &value));
    ck_assert(!cw_span_i64(CW_SPAN("-"), -5, 5, &value));
    ck_assert(!cw_span_i64(CW_SPAN("--1"), -5, 5, &value));
    ck_assert_int_eq(value, -5);
}
END_TEST

START_TEST(utf8_is_judged_as_rfc_3629_does)
{
    static const struct {
        const char *bytes;
        bool good;
        const char *repaired; /* U+FFFD for each maximal subpart, Unicode 3.9 table 3-8 */
    } rows[] = {
        { "", true, "" },
        { "plain", true, "plain" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\xf4\x8f\xbf\xbf", true, "\xf4\x8f\xbf\xbf" },
        { "\xed\x9f\xbf\xee\x80\x80", true, "\xed\x9f\xbf\xee\x80\x80" },
        { "a\x80z", false, "a\xef\xbf\xbdz" },
        { "\xc0\xaf", false, "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xe0\x80\xaf", false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf0\x80\x80\x80", false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf4\x90\x80\x80", false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf5", false, "\xef\xbf\xbd" },
        { "\xff\xfe", false, "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xe2\x82", false, "\xef\xbf\xbd" },
        { "\xe2\x82z", false, "\xef\xbf\xbdz" },
        { "\xf0\x9f\x98", false, "\xef\xbf\xbd" },
        { "a\xf1\x80\x80\xe1\x80\xc2z", false, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 100);
        ck_assert_msg(cw_utf8_valid(cw_span_cstr(rows[i].bytes)) == rows[i].good, "row %zu", i);
        ck_assert_int_eq(cw_utf8_repair(cw_span_cstr(rows[i].bytes), &out), CW_OK);
        ck_assert_msg(cw_span_eq_cstr(cw_str_span(&out), rows[i].repaired), "row %zu", i);
    }
    ck_assert_uint_eq(cw_utf8_length(CW_SPAN("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
}
END_TEST

START_TEST(control_characters_are_seen)
{
    ck_assert(!cw_utf8_has_control(CW_SPAN("a b \xc3\xa9\xc2\xa0\xc3\x80")));
    ck_assert(cw_utf8_has_control(CW_SPAN("a\nb")));
    ck_assert(cw_utf8_has_control(CW_SPAN("a\0b")));
    ck_assert(cw_utf8_has_control(CW_SPAN("\x7f")));
    ck_assert(cw_utf8_has_control(CW_SPAN("x\xc2\x80")));
    ck_assert(cw_utf8_has_control(CW_SPAN("\xc2\x9f")));
    ck_assert(!cw_utf8_has_control(CW_SPAN("")));
}
END_TEST

START_TEST(text_is_folded_for_search)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "Stra\xc3\x9f" "e", "strasse" },
        { "H\xc3\xb4pital de l'\xc3\x8ele", "hopital de l ile" },
        { "St. Mary\xe2\x80\x99s  Medical-Center!", "st mary s medical center" },
        { "\xc3\x98rsted \xc3\x86r\xc3\xb8", "orsted aero" },
        { "\xc5\x81\xc3\xb3" "d\xc5\xba \xc4\x90" "akovo \xc5\x92uvre", "lodz dakovo oeuvre" },
        { "e\xcc\x81", "e" },
        { "\xef\xbc\xa1\xef\xbc\xa2\xef\xbc\xa3 \xe2\x84\x8b", "abc h" },
        { "\xef\xac\x81x", "fix" },
        { "\xe6\x9d\xb1\xe4\xba\xac 24", "\xe6\x9d\xb1\xe4\xba\xac 24" },
        { " - ", "" },
        { "  a  ", "a" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 100);
        ck_assert_int_eq(cw_text_fold(cw_span_cstr(rows[i][0]), &out), CW_OK);
        ck_span_eq(cw_str_span(&out), rows[i][1]);
    }
    CW_AUTO_STR out;
    cw_str_init(&out, 3);
    ck_assert_int_eq(cw_text_fold(CW_SPAN("a\xff"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_text_fold(CW_SPAN("abc"), &out), CW_OK);
    ck_assert_int_eq(cw_text_fold(CW_SPAN("d"), &out), CW_E_TOO_BIG);
}
END_TEST

START_TEST(mail_addresses_are_lowered_and_composed)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_text_lower_nfc(CW_SPAN("ZoE\xcc\x88.B@Example.ORG"), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "zo\xc3\xab.b@example.org");
    cw_str_clear(&out);
    ck_assert_int_eq(cw_text_lower_nfc(CW_SPAN("\xc3\x89\xce\xa9"), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "\xc3\xa9\xcf\x89");
    ck_assert_int_eq(cw_text_lower_nfc(CW_SPAN(""), &out), CW_OK);
    ck_assert_int_eq(cw_text_lower_nfc(CW_SPAN("\xc3"), &out), CW_E_SYNTAX);
    ck_span_eq(cw_str_span(&out), "\xc3\xa9\xcf\x89");
}
END_TEST

START_TEST(percent_coding_goes_both_ways)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_percent_encode(CW_SPAN("a b/\xc3\xa9~-._%"), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "a%20b%2F%C3%A9~-._%25");
    struct cw_str back;
    cw_str_init(&back, 100);
    ck_assert_int_eq(cw_percent_decode(cw_str_span(&out), false, &back), CW_OK);
    ck_span_eq(cw_str_span(&back), "a b/\xc3\xa9~-._%");
    cw_str_clear(&back);
    ck_assert_int_eq(cw_percent_decode(CW_SPAN("a+b%2b%2B"), true, &back), CW_OK);
    ck_span_eq(cw_str_span(&back), "a b++");
    cw_str_clear(&back);
    ck_assert_int_eq(cw_percent_decode(CW_SPAN("a+b"), false, &back), CW_OK);
    ck_span_eq(cw_str_span(&back), "a+b");
    static const char *const bad[] = { "%", "%4", "%zz", "x%4", "%4g", "abc%", "%%20" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert_msg(cw_percent_decode(cw_span_cstr(bad[i]), false, &back) == CW_E_SYNTAX, "row %zu", i);
        ck_span_eq(cw_str_span(&back), "a+b");
    }
    cw_str_release(&back);
    cw_str_clear(&out);
    ck_assert_int_eq(cw_form_add(&out, "scope", CW_SPAN("openid fhirUser")), CW_OK);
    ck_assert_int_eq(cw_form_add(&out, "x", CW_SPAN("")), CW_OK);
    ck_span_eq(cw_str_span(&out), "scope=openid%20fhirUser&x=");
}
END_TEST

START_TEST(base64_is_strict)
{
    static const char *const vectors[][3] = { /* RFC 4648 section 10 */
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" },
        { "fooba", "Zm9vYmE=", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
        { "\xfb\xff\xfe", "+//+", "-__-" },
    };
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    for (size_t i = 0; i < CW_ARRAY_LEN(vectors); i++) {
        cw_str_clear(&out);
        ck_assert_int_eq(cw_base64_encode(cw_span_cstr(vectors[i][0]), &out), CW_OK);
        ck_span_eq(cw_str_span(&out), vectors[i][1]);
        cw_str_clear(&out);
        ck_assert_int_eq(cw_base64_decode(cw_span_cstr(vectors[i][1]), &out), CW_OK);
        ck_span_eq(cw_str_span(&out), vectors[i][0]);
        cw_str_clear(&out);
        ck_assert_int_eq(cw_base64url_encode(cw_span_cstr(vectors[i][0]), &out), CW_OK);
        ck_span_eq(cw_str_span(&out), vectors[i][2]);
        cw_str_clear(&out);
        ck_assert_int_eq(cw_base64url_decode(cw_span_cstr(vectors[i][2]), &out), CW_OK);
        ck_span_eq(cw_str_span(&out), vectors[i][0]);
    }
    cw_str_clear(&out);
    ck_assert_int_eq(cw_base64url_decode(CW_SPAN("Zg=="), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "f");
    static const char *const bad_both[] = { "A", "Zh==", "Zm9=", "Zg=", "Z===", "====", "=", "Zm 9", "Zm9v\n", "Zg==Zg==" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad_both); i++) {
        ck_assert_msg(cw_base64_decode(cw_span_cstr(bad_both[i]), &out) == CW_E_SYNTAX, "row %zu", i);
        ck_assert_msg(cw_base64url_decode(cw_span_cstr(bad_both[i]), &out) == CW_E_SYNTAX, "url row %zu", i);
    }
    ck_assert_int_eq(cw_base64_decode(CW_SPAN("Zg"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_base64_decode(CW_SPAN("-__-"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_base64url_decode(CW_SPAN("+//+"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_base64url_decode(CW_SPAN("Zh"), &out), CW_E_SYNTAX);
    ck_span_eq(cw_str_span(&out), "f");
}
END_TEST

START_TEST(hex_is_strict)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_hex_encode(CW_SPAN("\x00\xff\x1a"), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "00ff1a");
    cw_str_clear(&out);
    ck_assert_int_eq(cw_hex_decode(CW_SPAN("414243fF"), &out), CW_OK);
    ck_span_eq(cw_str_span(&out), "ABC\xff");
    ck_assert_int_eq(cw_hex_decode(CW_SPAN("4"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_hex_decode(CW_SPAN("41 2"), &out), CW_E_SYNTAX);
    ck_assert_int_eq(cw_hex_decode(CW_SPAN("0x"), &out), CW_E_SYNTAX);
    ck_span_eq(cw_str_span(&out), "ABC\xff");
}
END_TEST

START_TEST(coders_stop_at_the_string_maximum)
{
    for (size_t max = 3; max <= 5; max++) {
        CW_AUTO_STR out;
        cw_str_init(&out, max);
        ck_assert_int_eq(cw_base64_encode(CW_SPAN("foo"), &out), max >= 4 ? CW_OK : CW_E_TOO_BIG);
        cw_str_clear(&out);
        ck_assert_int_eq(cw_hex_encode(CW_SPAN("fo"), &out), max >= 4 ? CW_OK : CW_E_TOO_BIG);
        cw_str_clear(&out);
        ck_assert_int_eq(cw_percent_decode(CW_SPAN("%61bcd"), false, &out), max >= 4 ? CW_OK : CW_E_TOO_BIG);
    }
}
END_TEST

Suite *base_text_suite(void)
{
    Suite *suite = suite_create("base: text");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, spans_compare_and_find);
    tcase_add_test(tc, spans_are_cut_from_the_front);
    tcase_add_test(tc, numbers_are_whole_and_bounded);
    tcase_add_test(tc, utf8_is_judged_as_rfc_3629_does);
    tcase_add_test(tc, control_characters_are_seen);
    tcase_add_test(tc, text_is_folded_for_search);
    tcase_add_test(tc, mail_addresses_are_lowered_and_composed);
    tcase_add_test(tc, percent_coding_goes_both_ways);
    tcase_add_test(tc, base64_is_strict);
    tcase_add_test(tc, hex_is_strict);
    tcase_add_test(tc, coders_stop_at_the_string_maximum);
    suite_add_tcase(suite, tc);
    return suite;
}
