/* SPDX-License-Identifier: Apache-2.0 */
/* net/url, by tables: what parses and how it reads afterwards, what is refused, resolution, and the token-leak rule. */
#include "config.h"

#include "net/url.h"

#include "base/limits.h"
#include "test_net.h"

START_TEST(parses)
{
    static const struct {
        const char *text, *whole, *host, *path;
        unsigned port;
    } rows[] = {
        { "https://Example.ORG/FHIR/R4", "https://example.org/FHIR/R4", "example.org", "/FHIR/R4", 443 },
        { "HTTPS://h", "https://h/", "h", "/", 443 },
        { "https://h:443/a", "https://h/a", "h", "/a", 443 },
        { "http://h:80", "http://h/", "h", "/", 80 },
        { "http://h:8480/x?y=%2F&z=a+b", "http://h:8480/x?y=%2F&z=a+b", "h", "/x", 8480 },
        { "https://h/a#frag", "https://h/a", "h", "/a", 443 },
        { "https://h?q=1", "https://h/?q=1", "h", "/", 443 },
        { "https://h/a/../b/./c", "https://h/b/c", "h", "/b/c", 443 },
        { "https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/", "[2001:db8::1]", "/", 8443 },
        { "https://2130706433/", "https://127.0.0.1/", "127.0.0.1", "/", 443 },
        { "https://0x7f.1/", "https://127.0.0.1/", "127.0.0.1", "/", 443 },
        { "https://h/%7Euser/%2e%2e/x", "https://h/%7Euser/%2e%2e/x", "h", "/%7Euser/%2e%2e/x", 443 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *url = NULL;
        ck_assert_msg(cw_url_parse(cw_span_cstr(rows[i].text), &url, NULL) == CW_OK, "row %zu", i);
        ck_assert_msg(strcmp(cw_url_text(url), rows[i].whole) == 0, "row %zu: %s", i, cw_url_text(url));
        ck_assert_msg(strcmp(cw_url_host(url), rows[i].host) == 0, "row %zu: %s", i, cw_url_host(url));
        ck_assert_msg(strcmp(cw_url_path(url), rows[i].path) == 0, "row %zu: %s", i, cw_url_path(url));
        ck_assert_uint_eq(cw_url_port(url), rows[i].port);
        cw_url_free(url);
    }
}
END_TEST

START_TEST(refuses)
{
    static const char *const rows[] = {
        "", "h", "/path", "//h/x", "https:", "https:h", "https:/h", "https:///x", "https://", "https://?x",
        "ftp://h/", "file:///etc/passwd", "javascript:alert(1)", "gopher://h/", "https+x://h/",
        "https://user@h/", "https://user:pw@h/", "https://@h/", "https://h@evil/", "https://h\\@evil/",
        "https://h/a b", "https://h/\ta", "https://h/\r\nX: y", "https://h\n/", "https://h/\x7f", "https://h/\xc3\xa9",
        "https://h/a\\b", "https://%68/", "https://h%2f/", "https://[::1%25eth0]/", "https://h:0/", "https://h:65536/",
        "https://h:x/", "https://h:-1/", "https://h:80:80/", "https://[::1/", "https://[gg::]/", "https://h ost/",
        " https://h/", "https://h/ ",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *url = NULL;
        struct cw_err err = { 0 };
        ck_assert_msg(cw_url_parse(cw_span_cstr(rows[i]), &url, &err) == CW_E_SYNTAX, "row %zu: %s", i, rows[i]);
        ck_assert_ptr_null(url);
        ck_assert_int_eq(err.code, CW_E_SYNTAX);
    }
    struct cw_url *url = NULL;
    ck_assert_int_eq(cw_url_parse(cw_span_of("https://h/\0x", 12), &url, NULL), CW_E_SYNTAX);
}
END_TEST

START_TEST(length_limits)
{
    static char text[CW_LINK_MAX + 2];
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "https://h/", 10);
    struct cw_url *url = NULL;
    for (size_t len = CW_LINK_MAX - 1; len <= CW_LINK_MAX; len++) {
        ck_assert_int_eq(cw_url_parse(cw_span_of(text, len), &url, NULL), CW_OK);
        ck_assert_uint_eq(strlen(cw_url_text(url)), len);
        cw_url_free(url);
    }
    ck_assert_int_eq(cw_url_parse(cw_span_of(text, CW_LINK_MAX + 1), &url, NULL), CW_E_TOO_BIG);

    CW_AUTO_STR out;
    cw_str_init(&out, CW_LINK_MAX);
    ck_assert_int_eq(cw_url_normal_base(cw_span_of(text, CW_URL_MAX - 1), &out, NULL), CW_OK);
    ck_assert_uint_eq(out.len, CW_URL_MAX - 1);
    cw_str_clear(&out);
    ck_assert_int_eq(cw_url_normal_base(cw_span_of(text, CW_URL_MAX), &out, NULL), CW_OK);
    ck_assert_uint_eq(out.len, CW_URL_MAX);
    cw_str_clear(&out);
    ck_assert_int_eq(cw_url_normal_base(cw_span_of(text, CW_URL_MAX + 1), &out, NULL), CW_E_TOO_BIG);
}
END_TEST

START_TEST(resolves)
{
    static const struct {
        const char *base, *reference, *whole; /* NULL: refused */
    } rows[] = {
        { "https://h/fhir/Patient?x=1", "https://other/y", "https://other/y" },
        { "https://h/fhir/Patient?x=1", "/app/FHIR/r4/Patient?_x=2", "https://h/app/FHIR/r4/Patient?_x=2" },
        { "https://h/fhir/Patient?x=1", "Binary/1", "https://h/fhir/Binary/1" },
        { "https://h/fhir/", "Binary/1", "https://h/fhir/Binary/1" },
        { "https://h/fhir", "?_getpages=abc&_n=2", "https://h/fhir?_getpages=abc&_n=2" },
        { "https://h/a/b/c", "../d", "https://h/a/d" },
        { "https://h/a", "//evil/x", "https://evil/x" },
        { "https://h/a?x=1", "", "https://h/a?x=1" },
        { "https://h/a?x=1", "#top", "https://h/a?x=1" },
        { "https://h/a", "b?date=2020-01-01T00:00:00+00:00", "https://h/b?date=2020-01-01T00:00:00%2B00:00" },
        { "https://h/a", "b+c", "https://h/b+c" },
        { "https://h/a", "b?code=sys|1 2\"", "https://h/b?code=sys%7C1%202%22" },
        { "https://h/a", "b?x=%2b%20%7c", "https://h/b?x=%2b%20%7c" },
        { "https://h:8443/a", "b", "https://h:8443/b" },
        { "https://h/a", "  b\n", "https://h/b" },
        { "https://h/a", "b?u=http://x/y", "https://h/b?u=http://x/y" },
        { "https://h/a", "./x:y", "https://h/x:y" },
        { "https://h/a", "mailto:x@y", NULL },
        { "https://h/a", "javascript:alert(1)", NULL },
        { "https://h/a", "urn:uuid:1", NULL },
        { "https://h/a", "https://u@h/", NULL },
        { "https://h/a", "//u@h/", NULL },
        { "https://h/a", "b\\c", NULL },
        { "https://h/a", "b\x01", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *base = NULL;
        struct cw_url *url = NULL;
        ck_assert_int_eq(cw_url_parse(cw_span_cstr(rows[i].base), &base, NULL), CW_OK);
        enum cw_code rc = cw_url_resolve(base, cw_span_cstr(rows[i].reference), &url, NULL);
        if (rows[i].whole == NULL) {
            ck_assert_msg(rc == CW_E_SYNTAX, "row %zu", i);
        } else {
            ck_assert_msg(rc == CW_OK, "row %zu", i);
            ck_assert_msg(strcmp(cw_url_text(url), rows[i].whole) == 0, "row %zu: %s", i, cw_url_text(url));
        }
        cw_url_free(url);
        cw_url_free(base);
    }
}
END_TEST

START_TEST(token_leak_rule)
{
    static const struct {
        const char *base, *url;
        bool under;
    } rows[] = {
        { "https://h/fhir", "https://h/fhir", true },
        { "https://h/fhir", "https://h/fhir/", true },
        { "https://h/fhir/", "https://h/fhir", true },
        { "https://h/fhir", "https://h/fhir?_getpages=1", true },
        { "https://h/fhir", "https://h/fhir/Patient/1", true },
        { "https://h/fhir", "https://H:443/fhir/Patient?a=%2e%2e%2f", true },
        { "https://h", "https://h/any", true },
        { "https://h/fhir", "https://h/fhir/Patient/a.b..c", true },
        { "https://h/fhir", "https://h/fhir/...", true },
        { "https://h/%2Ftenant", "https://h/%2Ftenant/Patient", true },
        { "https://h/fhir", "https://h/fhirx", false },
        { "https://h/fhir", "https://h/FHIR/Patient", false },
        { "https://h/fhir", "https://h/", false },
        { "https://h/fhir", "http://h/fhir/Patient", false },
        { "https://h/fhir", "https://h:8443/fhir/Patient", false },
        { "https://h/fhir", "https://h.evil/fhir/Patient", false },
        { "https://h/fhir", "https://evil/fhir/Patient", false },
        { "https://h/fhir", "https://h./fhir/Patient", false },
        { "https://h/fhir", "https://h/fhir/../x", false },
        { "https://h/fhir", "https://h/fhir/%2e%2e/x", false },
        { "https://h/fhir", "https://h/fhir/%2E./x", false },
        { "https://h/fhir", "https://h/fhir/.%2e", false },
        { "https://h/fhir", "https://h/fhir/%2e/x", false },
        { "https://h/fhir", "https://h/fhir/..;a=b/x", false },
        { "https://h/fhir", "https://h/fhir/..%2fx", false },
        { "https://h/fhir", "https://h/fhir%2f..%2fx", false },
        { "https://h/fhir", "https://h/fhir/a%2Fb", false },
        { "https://h/fhir", "https://h/fhir/%5c..%5cx", false },
        { "https://h/fhir", "https://h/fhir/%252e%252e/x", false },
        { "https://h/fhir", "https://h/fhir/%00", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *base = NULL;
        struct cw_url *url = NULL;
        ck_assert_int_eq(cw_url_parse(cw_span_cstr(rows[i].base), &base, NULL), CW_OK);
        ck_assert_int_eq(cw_url_parse(cw_span_cstr(rows[i].url), &url, NULL), CW_OK);
        ck_assert_msg(cw_url_is_under(url, base) == rows[i].under, "row %zu: %s", i, rows[i].url);
        cw_url_free(url);
        cw_url_free(base);
    }
}
END_TEST

START_TEST(normal_base)
{
    static const struct {
        const char *text, *normal;
        enum cw_code code;
    } rows[] = {
        { "https://FHIR.Example.org:443/FHIR/api/FHIR/R4/", "https://fhir.example.org/FHIR/api/FHIR/R4", CW_OK },
        { " https://h/ \r\n", "https://h", CW_OK },
        { "https://h//", "https://h", CW_OK },
        { "http://h:8080/r4#x", "http://h:8080/r4", CW_OK },
        { "https://h/-KzIoYV6gk/%2F", "https://h/-KzIoYV6gk/%2F", CW_OK },
        { ": https://h/r4", NULL, CW_E_SYNTAX },
        { "h/r4", NULL, CW_E_SYNTAX },
        { "https://h/r4?cust=1", NULL, CW_E_SYNTAX },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, CW_URL_MAX);
        ck_assert_msg(cw_url_normal_base(cw_span_cstr(rows[i].text), &out, NULL) == rows[i].code, "row %zu", i);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].normal == NULL ? "" : rows[i].normal);
    }
}
END_TEST

Suite *url_suite(void)
{
    Suite *suite = suite_create("url");
    TCase *tcase = tcase_create("url");
    tcase_add_test(tcase, parses);
    tcase_add_test(tcase, refuses);
    tcase_add_test(tcase, length_limits);
    tcase_add_test(tcase, resolves);
    tcase_add_test(tcase, token_leak_rule);
    tcase_add_test(tcase, normal_base);
    suite_add_tcase(suite, tcase);
    return suite;
}
