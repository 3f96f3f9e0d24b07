/* SPDX-License-Identifier: Apache-2.0 */
/* Links of pages, what refusals say, and a page made small. */
#include "config.h"

#include "fhir/link.h"

#include "base/str.h"
#include "fhir/plan.h"
#include "fhir/refusal.h"
#include "test_fhir.h"

/* --- links --- */

/* `to` NULL: not to be followed. */
static const struct {
    const char *base, *page, *link, *to;
} link_rows[] = {
    /* as they should be */
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation?patient=1", "https://h.test/api/fhir/Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation?patient=1", "https://h.test/api/fhir?_getpages=x",
      "https://h.test/api/fhir?_getpages=x" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation?patient=1", "Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation?patient=1", "/api/fhir/Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation?patient=1", "?p=2", "https://h.test/api/fhir/Observation?p=2" },
    /* http behind a proxy */
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "http://h.test/api/fhir/Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test:8443/fhir", "https://h.test:8443/fhir/Goal", "http://h.test/fhir/Goal?p=2", "https://h.test:8443/fhir/Goal?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "http://h.test/other/Thing?p=2", NULL },
    { "http://h.test/fhir", "http://h.test/fhir/Goal", "https://h.test/fhir/Goal?p=2", "http://h.test/fhir/Goal?p=2" },
    /* an inside name, the same place */
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "http://app-7:8080/fhir/Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://h.test/fhir/Observation?p=2",
      "https://h.test/api/fhir/Observation?p=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "http://app-7:8080/hapi/fhir?_getpages=x&_o=2",
      "https://h.test/api/fhir?_getpages=x&_o=2" },
    { "https://h.test/api/fhir", "https://h.test/api/fhir?_getpages=x", "https://h.test/?_getpages=y", "https://h.test/api/fhir?_getpages=y" },
    { "https://h.test/fhir/", "https://h.test/fhir/Goal/", "http://inside/fhir/Goal?p=2", "https://h.test/fhir/Goal?p=2" },
    /* elsewhere */
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://other.test/pages?p=2", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://other.test/fhir/Goal?p=2", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://other.test/fhir/MyObservation?p=2", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://other.test/notfhir?_getpages=x", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir?_getpages=1", "https://other.test/fhir?page=2", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "//other.test/x?p=2", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "ftp://h.test/api/fhir/Observation", NULL },
    { "https://h.test/api/fhir", "https://h.test/api/fhir/Observation", "https://u:p@h.test/api/fhir/Observation", NULL },
};

START_TEST(link_followed)
{
    struct cw_url *base, *page, *to = NULL;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_url_parse(cw_span_cstr(link_rows[_i].base), &base, &err), CW_OK);
    ck_assert_int_eq(cw_url_parse(cw_span_cstr(link_rows[_i].page), &page, &err), CW_OK);
    enum cw_code rc = cw_link_follow(page, cw_span_cstr(link_rows[_i].link), base, &to, &err);
    if (link_rows[_i].to == NULL) {
        ck_assert_msg(rc != CW_OK && to == NULL, "row %d: %s", _i, to == NULL ? "" : cw_url_text(to));
    } else {
        ck_assert_msg(rc == CW_OK, "row %d: %s", _i, err.text);
        ck_assert_str_eq(cw_url_text(to), link_rows[_i].to);
        ck_assert(cw_url_is_under(to, base));
    }
    cw_url_free(to);
    cw_url_free(page);
    cw_url_free(base);
}
END_TEST

/* --- refusals --- */

#define OUTCOME(severity, code, details) \
    "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"information\",\"code\":\"informational\"},{\"severity\":\"" severity \
    "\",\"code\":\"" code "\",\"details\":{\"coding\":[{\"code\":\"" details "\"}]}}]}"

static const struct {
    const char *body;
    enum cw_refusal refusal;
} refusal_rows[] = {
    { OUTCOME("error", "processing", "4113"), CW_REFUSAL_PAGING_EXPIRED },
    { OUTCOME("error", "processing", "4135"), CW_REFUSAL_DAILY_LIMIT },
    { OUTCOME("fatal", "security", "4118"), CW_REFUSAL_WITHHELD },
    { OUTCOME("fatal", "security", "4130"), CW_REFUSAL_WITHHELD },
    { OUTCOME("fatal", "security", "4131"), CW_REFUSAL_WITHHELD },
    { OUTCOME("fatal", "security", "4134"), CW_REFUSAL_WITHHELD },
    { OUTCOME("fatal", "processing", "4107"), CW_REFUSAL_MERGED },
    { OUTCOME("fatal", "required", "59108"), CW_REFUSAL_QUERY },
    { OUTCOME("fatal", "value", "59111"), CW_REFUSAL_QUERY },
    { OUTCOME("warning", "processing", "4101"), CW_REFUSAL_NONE },
    { OUTCOME("fatal", "required", "x"), CW_REFUSAL_DEFECT },
    { OUTCOME("error", "required", "x"), CW_REFUSAL_NONE },
    { OUTCOME("fatal", "exception", "x"), CW_REFUSAL_NONE },
    { "{\"Message\":\"An error has occurred.\",\"ExceptionMessage\":\"INVALID-MAP-TARGET\"}", CW_REFUSAL_MOVED },
    { "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"security\","
      "\"diagnostics\":\"Tenant not valid or accessible\"}]}", CW_REFUSAL_MOVED },
    { "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"This search requires a Category.\"}]}",
      CW_REFUSAL_QUERY },
    { "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"unknown category\"}]}", CW_REFUSAL_NONE },
    { "{\"error\":\"Missing one of the required parameter combinations: [patient, intent]\"}", CW_REFUSAL_QUERY },
    { "", CW_REFUSAL_NONE },
    { "<html>4135", CW_REFUSAL_NONE },
    { "{\"resourceType\":\"Bundle\",\"id\":\"4135\"}", CW_REFUSAL_NONE },
};

START_TEST(refusal_read)
{
    ck_assert_int_eq(cw_refusal_of(cw_span_cstr(refusal_rows[_i].body), fhir_arena), refusal_rows[_i].refusal);
}
END_TEST

#define SAYS(member) "{\"resourceType\":\"OperationOutcome\",\"text\":{\"status\":\"generated\"},\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\"," member "}]}"

START_TEST(refused_parameter)
{
    static const struct {
        const char *body, *query, *name;
    } rows[] = {
        { SAYS("\"diagnostics\":\"Unknown parameter: _count\""), "patient=1&_count=50", "_count" },
        { SAYS("\"expression\":[\"http._revinclude\"]"), "patient=1&_include=a&_revinclude=b", "_revinclude" },
        { SAYS("\"location\":[{},\"STATUS\"]"), "patient=1&status=active", "status" },
        { SAYS("\"details\":{\"text\":\"no _counting\"}"), "patient=1&_count=50", NULL },
        { SAYS("\"diagnostics\":\"bad patient, category\""), "patient=1&category=x&_count=50", NULL },
        { SAYS("\"diagnostics\":\"no\""), "patient=1&status=active", NULL }, /* the narrative's status is no parameter's */
        { "no status", "status=active", NULL },
        { SAYS("\"diagnostics\":\"status\""), "", NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_span name = cw_refusal_parameter(cw_span_cstr(rows[i].body), cw_span_cstr(rows[i].query), fhir_arena);
        ck_assert_msg(rows[i].name == NULL ? name.ptr == NULL : cw_span_eq_cstr(name, rows[i].name), "row %zu", i);
    }
}
END_TEST

START_TEST(refusal_far_down_is_not_looked_for)
{
    CW_AUTO_STR body;
    cw_str_init(&body, 2 * CW_REFUSAL_TEXT_MAX);
    for (size_t i = 0; i < CW_REFUSAL_TEXT_MAX; i++) {
        cw_str_add_char(&body, ' ');
    }
    cw_str_add_cstr(&body, "INVALID-MAP-TARGET");
    ck_assert_int_eq(cw_refusal_of(cw_str_span(&body), fhir_arena), CW_REFUSAL_NONE);
    ck_assert_int_eq(cw_refusal_of(cw_span_from(cw_str_span(&body), 18), fhir_arena), CW_REFUSAL_MOVED);
    struct cw_arena *small = cw_arena_new(16);
    ck_assert_int_eq(cw_refusal_of(cw_span_cstr(refusal_rows[0].body), small), CW_REFUSAL_NONE);
    cw_arena_free(small);
}
END_TEST

/* --- small pages --- */

static const struct {
    const char *url, *shrunk;
} shrink_rows[] = {
    { "https://h.test/Goal?patient=1&_count=50", "https://h.test/Goal?patient=1&_count=1" },
    { "https://h.test/Goal?_count=50&patient=1", "https://h.test/Goal?patient=1&_count=1" },
    { "https://h.test/Goal?patient=1", "https://h.test/Goal?patient=1&_count=1" },
    { "https://h.test/Goal", "https://h.test/Goal?_count=1" },
    { "https://h.test/Goal?patient=1&_count=1", NULL },
};

START_TEST(shrink_url)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 200);
    bool shrunk = cw_plan_shrink(cw_span_cstr(shrink_rows[_i].url), &out);
    ck_assert_int_eq(shrunk, shrink_rows[_i].shrunk != NULL);
    ck_assert_str_eq(cw_str_cstr(&out), shrunk ? shrink_rows[_i].shrunk : "");
}
END_TEST

Suite *suite_fhir_link(void)
{
    Suite *suite = suite_create("fhir/link");
    TCase *tcase = tcase_create("link");
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_loop_test(tcase, link_followed, 0, (int)CW_ARRAY_LEN(link_rows));
    tcase_add_loop_test(tcase, refusal_read, 0, (int)CW_ARRAY_LEN(refusal_rows));
    tcase_add_test(tcase, refused_parameter);
    tcase_add_test(tcase, refusal_far_down_is_not_looked_for);
    tcase_add_loop_test(tcase, shrink_url, 0, (int)CW_ARRAY_LEN(shrink_rows));
    suite_add_tcase(suite, tcase);
    return suite;
}
