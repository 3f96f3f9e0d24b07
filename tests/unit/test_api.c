/* SPDX-License-Identifier: Apache-2.0 */
/* What the API takes: bodies, cursors, type filters, return addresses; and that the two published files agree with the code. */
#include "config.h"

#include "../lib/check_main.h"

#include "api/api.h"
#include "api/body.h"
#include "api/cursor.h"
#include "api/record_filter.h"
#include "api/return_url.h"
#include "base/limits.h"
#include "os/sys.h"

/* --- bodies --- */

static const struct cw_field table[] = {
    { .name = "id", .kind = CW_FIELD_TEXT, .min = 1, .max = 5, .required = true },
    { .name = "email", .kind = CW_FIELD_EMAIL, .nullable = true },
    { .name = "count", .kind = CW_FIELD_INT, .min = 60, .max = 86400 },
    { .name = "list", .kind = CW_FIELD_TEXTS, .max = 2 },
    { .name = "metadata", .kind = CW_FIELD_METADATA },
    { .name = NULL },
};

struct checked {
    json_t *json;
    struct cw_arena *arena;
    struct cw_body body;
    struct cw_body_fault fault;
    bool ok;
};

static struct checked check_body(const char *text, bool strict)
{
    struct checked c = { .arena = cw_arena_new(1u << 20) };
    struct cw_json_limits limits = { .max_bytes = 1u << 20, .max_depth = CW_JSON_DEPTH_MAX };
    ck_assert_msg(cw_json_parse(cw_span_cstr(text), limits, &c.json, NULL) == CW_OK, "not JSON: %s", text);
    c.ok = cw_body_check(c.json, cw_span_cstr(text), table, strict, c.arena, &c.body, &c.fault);
    return c;
}

static void release_body(struct checked *c)
{
    json_decref(c->json);
    cw_arena_free(c->arena);
}

START_TEST(body_refuses_and_names)
{
    static const struct {
        const char *text, *code, *param;
    } rows[] = {
        { "{\"id\":\"a\"}", NULL, NULL },
        { "{\"id\":\"abcde\"}", NULL, NULL },
        { "{\"id\":\"äöüßé\"}", NULL, NULL }, /* five code points, ten bytes */
        { "{\"id\":\"abcdef\"}", "invalid_data", "id" },
        { "{\"id\":\"\"}", "invalid_data", "id" },
        { "{\"id\":\"a\\nb\"}", "invalid_data", "id" },
        { "{\"id\":\"a\\u0085\"}", "invalid_data", "id" },
        { "{\"id\":7}", "invalid_data", "id" },
        { "{\"id\":null}", "invalid_data", "id" },
        { "{}", "bad_request", "id" },
        { "{\"id\":\"a\",\"other\":1}", "invalid_data", "other" },
        { "{\"id\":\"a\",\"an unknown name that is much longer than what is told back to anybody, really\":1}",
          "invalid_data", NULL },
        { "{\"id\":\"a\",\"email\":null}", NULL, NULL },
        { "{\"id\":\"a\",\"count\":null}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"count\":59}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"count\":60}", NULL, NULL },
        { "{\"id\":\"a\",\"count\":86400}", NULL, NULL },
        { "{\"id\":\"a\",\"count\":86401}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"count\":1800.0}", NULL, NULL },
        { "{\"id\":\"a\",\"count\":1800.5}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"count\":1e300}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"count\":\"1800\"}", "invalid_data", "count" },
        { "{\"id\":\"a\",\"list\":[]}", NULL, NULL },
        { "{\"id\":\"a\",\"list\":[\"x\",\"y\"]}", NULL, NULL },
        { "{\"id\":\"a\",\"list\":[\"x\",\"y\",\"z\"]}", "invalid_data", "list" },
        { "{\"id\":\"a\",\"list\":[\"\"]}", "invalid_data", "list" },
        { "{\"id\":\"a\",\"list\":[1]}", "invalid_data", "list" },
        { "{\"id\":\"a\",\"list\":\"x\"}", "invalid_data", "list" },
        { "{\"id\":\"a\",\"metadata\":[]}", "invalid_data", "metadata" },
        { "{\"id\":\"a\",\"meta\\u0064ata\":{}}", "bad_request", "metadata" },
        { "{\"id\":\"a\",\"metadata\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}", NULL, NULL },
        { "{\"id\":\"a\",\"metadata\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":[]}}}}}}}}", NULL, NULL },
        { "{\"id\":\"a\",\"metadata\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":[[]]}}}}}}}}", "invalid_data",
          "metadata" },
        { "{\"id\":\"a\",\"metadata\":{\"a\":\"}}}{{{[[[[[[[[[[\\\"[[[[\"}}", NULL, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct checked c = check_body(rows[i].text, true);
        ck_assert_msg(c.ok == (rows[i].code == NULL), "row %zu: %s", i, c.ok ? "taken" : c.fault.message);
        if (!c.ok) {
            ck_assert_str_eq(c.fault.code, rows[i].code);
            ck_assert_msg((c.fault.param == NULL) == (rows[i].param == NULL), "row %zu: param", i);
            ck_assert(c.fault.param == NULL || strcmp(c.fault.param, rows[i].param) == 0);
        }
        release_body(&c);
    }
    struct checked lenient = check_body("{\"id\":\"a\",\"other\":1}", false);
    ck_assert(lenient.ok);
    release_body(&lenient);
}
END_TEST

START_TEST(body_emails)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        { "jane@example.com", true },
        { "jane.doe+x@sub.example.co.uk", true },
        { "o'neil@example.com", true },
        { "jürgen@müller.example", true },
        { "a@localhost", true },
        { "", false },
        { "@example.com", false },
        { "jane@", false },
        { "jane", false },
        { "jane@a@b", false },
        { ".jane@example.com", false },
        { "jane.@example.com", false },
        { "ja..ne@example.com", false },
        { "jane@example..com", false },
        { "jane@.example.com", false },
        { "jane@example.com.", false },
        { "ja ne@example.com", false },
        { "Jane <jane@example.com>", false },
        { "jane@exa mple.com", false },
        { "12345678901234567890123456789012345678901234567890123456789012345@example.com", false }, /* 65 */
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"id\":\"a\",\"email\":\"%s\"}", rows[i].text);
        struct checked c = check_body(text, true);
        ck_assert_msg(c.ok == rows[i].ok, "row %zu: %s", i, rows[i].text);
        release_body(&c);
    }
}
END_TEST

START_TEST(body_keeps_metadata_bytes)
{
    struct checked c = check_body("{\"metadata\": { \"v\" : 98.60, \"n\":12345678901234567} ,\"id\":\"a\"}", true);
    ck_assert(c.ok);
    ck_assert(cw_span_eq_cstr(cw_body_text(&c.body, "metadata"), "{ \"v\" : 98.60, \"n\":12345678901234567}"));
    ck_assert(cw_span_eq_cstr(cw_body_text(&c.body, "id"), "a"));
    ck_assert(!cw_body_sent(&c.body, "email"));
    ck_assert_ptr_null(cw_body_text(&c.body, "email").ptr);
    ck_assert_int_eq(cw_body_int(&c.body, "count", 5), 5);
    ck_assert_ptr_null(cw_body_array(&c.body, "list"));
    release_body(&c);
}
END_TEST

START_TEST(body_metadata_limits)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 1u << 20);
    for (unsigned keys = CW_METADATA_KEYS_MAX - 1; keys <= CW_METADATA_KEYS_MAX + 1; keys++) {
        cw_str_clear(&text);
        cw_str_add_cstr(&text, "{\"id\":\"a\",\"metadata\":{");
        for (unsigned i = 0; i < keys; i++) {
            cw_str_addf(&text, "%s\"k%u\":1", i == 0 ? "" : ",", i);
        }
        cw_str_add_cstr(&text, "}}");
        struct checked c = check_body(cw_str_cstr(&text), true);
        ck_assert_msg(c.ok == (keys <= CW_METADATA_KEYS_MAX), "%u keys", keys);
        release_body(&c);
    }
    for (size_t size = CW_METADATA_MAX - 1; size <= CW_METADATA_MAX + 1; size++) {
        cw_str_clear(&text);
        cw_str_add_cstr(&text, "{\"id\":\"a\",\"metadata\":{\"k\":\"");
        for (size_t i = 0; i < size - 8; i++) {
            cw_str_add_char(&text, 'x');
        }
        cw_str_add_cstr(&text, "\"}}");
        struct checked c = check_body(cw_str_cstr(&text), true);
        ck_assert_msg(c.ok == (size <= CW_METADATA_MAX), "%zu bytes", size);
        release_body(&c);
    }
}
END_TEST

/* --- cursors --- */

START_TEST(list_cursor)
{
    struct cw_cursor_scope scope = { .list = "patients", .org = { cw_ulid_new() } };
    struct cw_ulid place = cw_ulid_new();
    struct cw_ulid again;
    char text[CW_CURSOR_TEXT_MAX];
    cw_cursor_emit(&scope, place, text);
    ck_assert_uint_eq(strlen(text), 24);
    ck_assert(cw_cursor_parse(&scope, cw_span_cstr(text), &again));
    ck_assert(cw_ulid_eq(place, again));

    struct cw_cursor_scope other = scope;
    other.filters[1] = CW_SPAN("jane@example.com");
    ck_assert(!cw_cursor_parse(&other, cw_span_cstr(text), &again));
    struct cw_cursor_scope moved = scope; /* the same text as another filter is another filter */
    moved.filters[0] = CW_SPAN("jane@example.com");
    char moved_text[CW_CURSOR_TEXT_MAX];
    cw_cursor_emit(&moved, place, moved_text);
    ck_assert(!cw_cursor_parse(&other, cw_span_cstr(moved_text), &again));
    other = scope;
    other.list = "sessions";
    ck_assert(!cw_cursor_parse(&other, cw_span_cstr(text), &again));
    other = scope;
    other.org.ulid = cw_ulid_new();
    ck_assert(!cw_cursor_parse(&other, cw_span_cstr(text), &again));

    static const char *const bad[] = { "", "x", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAA",
                                       "!!!!!!!!!!!!!!!!!!!!!!!!" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        ck_assert(!cw_cursor_parse(&scope, cw_span_cstr(bad[i]), &again));
    }
}
END_TEST

START_TEST(record_cursor)
{
    struct cw_patient_row patient = { cw_ulid_new() };
    struct cw_record_filter filter = { 0 };
    ck_assert(cw_record_types_parse(CW_SPAN("Observation,Condition"), &filter));
    static const uint64_t places[] = { 0, 1, 255, 256, UINT64_C(1) << 40, UINT64_MAX };
    for (size_t i = 0; i < CW_ARRAY_LEN(places); i++) {
        char text[CW_CURSOR_TEXT_MAX];
        uint64_t again = 7;
        cw_record_cursor_emit(patient, &filter, places[i], text);
        ck_assert_uint_eq(strlen(text), CW_CURSOR_TEXT);
        ck_assert(cw_record_cursor_parse(patient, &filter, cw_span_cstr(text), &again));
        ck_assert_uint_eq(again, places[i]);
    }
    static const char *const bad[] = { "", "AAAAAAAAAAA", "AAAAAAAAAAAAA", "AAAAAAAAAAA!", "aB3xK9mQp2L=" };
    for (size_t i = 0; i < CW_ARRAY_LEN(bad); i++) {
        uint64_t again;
        ck_assert(!cw_record_cursor_parse(patient, &filter, cw_span_cstr(bad[i]), &again));
    }
}
END_TEST

/* The check has 8 bits: of 64 other filters nearly all must be refused, and the same filter written otherwise none. */
START_TEST(record_cursor_knows_its_filter)
{
    struct cw_patient_row patient = { cw_ulid_new() };
    struct cw_record_filter filter = { 0 };
    struct cw_record_filter same = { 0 };
    ck_assert(cw_record_types_parse(CW_SPAN("Observation,Condition"), &filter));
    ck_assert(cw_record_types_parse(CW_SPAN("Condition, Observation,Condition"), &same));
    char text[CW_CURSOR_TEXT_MAX];
    uint64_t again;
    cw_record_cursor_emit(patient, &filter, 42, text);
    ck_assert(cw_record_cursor_parse(patient, &same, cw_span_cstr(text), &again));
    unsigned refused = 0;
    for (int64_t i = 1; i <= 64; i++) {
        struct cw_record_filter other = filter;
        other.since_us = i;
        refused += cw_record_cursor_parse(patient, &other, cw_span_cstr(text), &again) ? 0 : 1;
    }
    ck_assert_uint_ge(refused, 58);
}
END_TEST

START_TEST(record_types)
{
    static const struct {
        const char *text;
        bool ok;
        size_t count;
    } rows[] = {
        { "", true, 0 },          { "Patient", true, 1 },  { "Patient,Observation", true, 2 },
        { "A,A,A", true, 1 },     { " A , B ", true, 2 },  { "A,", false, 0 },
        { ",A", false, 0 },       { "patient", false, 0 }, { "Pat1ent", false, 0 },
        { "Patient;A", false, 0 }, { "*", false, 0 },      { "Ä", false, 0 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_record_filter filter = { 0 };
        bool ok = cw_record_types_parse(cw_span_cstr(rows[i].text), &filter);
        ck_assert_msg(ok == rows[i].ok, "row %zu", i);
        ck_assert(!ok || filter.type_count == rows[i].count);
    }
    CW_AUTO_STR many;
    cw_str_init(&many, 4096);
    for (int i = 0; i < CW_RECORD_TYPES_MAX + 1; i++) {
        struct cw_record_filter filter = { 0 };
        cw_str_addf(&many, "%sT%c%c", i == 0 ? "" : ",", 'a' + i / 26, 'a' + i % 26);
        ck_assert(cw_record_types_parse(cw_str_span(&many), &filter) == (i < CW_RECORD_TYPES_MAX));
    }
    CW_AUTO_STR name;
    cw_str_init(&name, 128);
    for (size_t len = 1; len <= CW_FHIR_TYPE_MAX + 1; len++) {
        struct cw_record_filter filter = { 0 };
        cw_str_add_char(&name, 'A');
        ck_assert(cw_record_types_parse(cw_str_span(&name), &filter) == (len <= CW_FHIR_TYPE_MAX));
    }
}
END_TEST

/* --- return addresses --- */

START_TEST(return_targets)
{
    static const struct {
        const char *url;
        enum cw_code rc;
        enum cw_return_kind kind;
        const char *target;
    } rows[] = {
        { "https://app.example/connected", CW_OK, CW_RETURN_HTTPS, "https://app.example" },
        { "HTTPS://App.Example:443/x?y=1#z", CW_OK, CW_RETURN_HTTPS, "https://app.example" },
        { "https://app.example:8443", CW_OK, CW_RETURN_HTTPS, "https://app.example:8443" },
        { "http://localhost:3000/back", CW_OK, CW_RETURN_LOOPBACK, "http://localhost:3000" },
        { "http://127.0.0.1/back", CW_OK, CW_RETURN_LOOPBACK, "http://127.0.0.1" },
        { "http://[::1]:9/back", CW_OK, CW_RETURN_LOOPBACK, "http://[::1]:9" },
        { "http://app.example/back", CW_E_DENIED, 0, NULL },
        { "http://localhost.evil.example/", CW_E_DENIED, 0, NULL },
        { "com.example.app:/done", CW_OK, CW_RETURN_SCHEME, "com.example.app:" },
        { "Com.Example.App:done", CW_OK, CW_RETURN_SCHEME, "com.example.app:" },
        { "com.example.app:", CW_E_SYNTAX, 0, NULL },
        { "myapp://done", CW_E_SYNTAX, 0, NULL },
        { "javascript:alert(1)", CW_E_SYNTAX, 0, NULL },
        { "JaVaScRiPt:alert(1)", CW_E_SYNTAX, 0, NULL },
        { "data:text/html,x", CW_E_SYNTAX, 0, NULL },
        { "com.example.app:a b", CW_E_SYNTAX, 0, NULL },
        { "com.example.app:\"x", CW_E_SYNTAX, 0, NULL },
        { "https://user@app.example/", CW_E_SYNTAX, 0, NULL },
        { "https://user:pw@app.example/", CW_E_SYNTAX, 0, NULL },
        { "https://", CW_E_SYNTAX, 0, NULL },
        { "//app.example/x", CW_E_SYNTAX, 0, NULL },
        { "/connected", CW_E_SYNTAX, 0, NULL },
        { "app.example", CW_E_SYNTAX, 0, NULL },
        { "", CW_E_SYNTAX, 0, NULL },
        { "https://app.example/a b", CW_E_SYNTAX, 0, NULL },
        { "https://app.exämple/", CW_E_SYNTAX, 0, NULL },
        { "ftp://app.example/", CW_E_SYNTAX, 0, NULL },
        { "9a.b:x", CW_E_SYNTAX, 0, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR target;
        cw_str_init(&target, CW_RETURN_URL_MAX);
        enum cw_return_kind kind = CW_RETURN_HTTPS;
        enum cw_code rc = cw_return_target(cw_span_cstr(rows[i].url), &kind, &target, NULL);
        ck_assert_msg(rc == rows[i].rc, "row %zu %s: %s", i, rows[i].url, cw_code_name(rc));
        if (rc == CW_OK) {
            ck_assert_int_eq(kind, rows[i].kind);
            ck_assert_str_eq(cw_str_cstr(&target), rows[i].target);
        }
    }
    CW_AUTO_STR url;
    cw_str_init(&url, 4096);
    cw_str_add_cstr(&url, "https://app.example/");
    while (url.len < CW_RETURN_URL_MAX + 1) {
        CW_AUTO_STR target;
        cw_str_init(&target, CW_RETURN_URL_MAX);
        enum cw_return_kind kind;
        cw_str_add_char(&url, 'a');
        if (url.len >= CW_RETURN_URL_MAX - 1) {
            enum cw_code rc = cw_return_target(cw_str_span(&url), &kind, &target, NULL);
            ck_assert_int_eq(rc, url.len <= CW_RETURN_URL_MAX ? CW_OK : CW_E_TOO_BIG);
        }
    }
}
END_TEST

/* --- what is published --- */

static void read_www(const char *name, struct cw_str *out)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/www/%s", CW_TEST_SRCDIR, name);
    cw_str_init(out, 1u << 20);
    ck_assert_int_eq(cw_file_read(path, false, out, NULL), CW_OK);
}

/* Every code that the page explains exists; a code that is answered but not explained would be a broken doc_url. */
START_TEST(errors_page_knows_the_codes)
{
    CW_AUTO_STR page;
    read_www("errors.html", &page);
    unsigned found = 0;
    for (const char *at = cw_str_cstr(&page); (at = strstr(at, "<dt id=\"")) != NULL;) {
        at += strlen("<dt id=\"");
        char code[64];
        size_t len = strcspn(at, "\"");
        ck_assert_uint_lt(len, sizeof code);
        memcpy(code, at, len);
        code[len] = '\0';
        ck_assert_msg(cw_fault_status(code) != 0, "%s is no code", code);
        found++;
    }
    ck_assert_uint_ge(found, 36);
}
END_TEST

static Suite *api_suite(void)
{
    Suite *suite = suite_create("api");
    TCase *tc = tcase_create("api");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, body_refuses_and_names);
    tcase_add_test(tc, body_emails);
    tcase_add_test(tc, body_keeps_metadata_bytes);
    tcase_add_test(tc, body_metadata_limits);
    tcase_add_test(tc, list_cursor);
    tcase_add_test(tc, record_cursor);
    tcase_add_test(tc, record_cursor_knows_its_filter);
    tcase_add_test(tc, record_types);
    tcase_add_test(tc, return_targets);
    tcase_add_test(tc, errors_page_knows_the_codes);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    Suite *suites[] = { api_suite(), NULL };
    return cw_check_main(suites);
}
