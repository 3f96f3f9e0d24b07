/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, the query plan and the receipt. */
#include "config.h"

#include "fhir/plan.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"
#include "fhir/receipt.h"
#include "test_fhir.h"

/* --- capability --- */

static const char statement[] =
    "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"publisher\":\"Example\",\"software\":{\"name\":\"EHR\",\"version\":7},"
    "\"rest\":[{\"mode\":\"client\",\"resource\":[{\"type\":\"Basic\"}]},{\"mode\":\"server\",\"resource\":["
    "{\"type\":\"Patient\",\"interaction\":[{\"code\":\"read\"}]},"
    "{\"type\":\"Condition\",\"interaction\":[{\"code\":\"read\"},{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"patient\"},"
    "{\"name\":\"_lastupdated\"},{\"type\":\"x\"}],\"searchRevInclude\":[\"Provenance:target\",7]},"
    "{\"type\":\"Condition\",\"interaction\":[]},{\"type\":\"not a type\"},"
    "{\"type\":\"MedicationRequest\",\"searchInclude\":[\"MedicationRequest:medication\"]},"
    "{\"type\":\"Goal\",\"interaction\":[{\"code\":\"read\"}]},"
    "{\"type\":\"Device\",\"interaction\":[{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"type\"}]},"
    "{\"type\":\"Observation\",\"interaction\":[{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"patient\"}]},"
    "{\"type\":\"Flag\",\"interaction\":[{\"code\":\"search-type\"}],\"searchParam\":[{\"name\":\"patient\"}]},"
    "{\"type\":\"Media\",\"interaction\":[{\"code\":\"search-type\"}]}]}]}";

static void check_statement(const struct cw_capability *c)
{
    ck_assert_span_eq(c->fhir_version, "4.0.1");
    ck_assert_span_eq(c->software_name, "EHR");
    ck_assert_ptr_null(c->software_version.ptr);
    ck_assert_span_eq(c->publisher, "Example");
    ck_assert_uint_eq(c->count, 8);
    ck_assert_ptr_null(cw_capability_find(c, CW_SPAN("Basic")));
    const struct cw_capability_type *condition = cw_capability_find(c, CW_SPAN("Condition"));
    ck_assert_ptr_nonnull(condition);
    ck_assert_uint_eq(condition->can, CW_CAN_READ | CW_CAN_SEARCH);
    ck_assert_uint_eq(condition->param_count, 2);
    ck_assert(cw_capability_has_param(condition, "_lastUpdated"));
    ck_assert(!cw_capability_has_param(condition, "date"));
    ck_assert(cw_capability_revincludes(condition, "Provenance:target"));
    ck_assert(!cw_capability_includes(condition, "Condition:subject"));
    ck_assert(!cw_capability_find(c, CW_SPAN("MedicationRequest"))->interactions_told);
}

START_TEST(capability_read)
{
    struct cw_capability found, again;
    ck_assert_int_eq(cw_capability_read(cw_span_cstr(statement), fhir_arena, &found, NULL), CW_OK);
    check_statement(&found);
    struct cw_str summary;
    cw_str_init(&summary, CW_CAPABILITY_SUMMARY_MAX);
    ck_assert_int_eq(cw_capability_emit(&found, &summary), CW_OK);
    ck_assert_int_eq(cw_capability_read(cw_str_span(&summary), fhir_arena, &again, NULL), CW_OK);
    cw_str_release(&summary);
    check_statement(&again);
}
END_TEST

START_TEST(capability_odd)
{
    struct cw_capability found;
    struct cw_err err;
    ck_assert_int_eq(cw_capability_read(CW_SPAN("{\"resourceType\":\"OperationOutcome\"}"), fhir_arena, &found, &err), CW_E_KIND);
    ck_assert_int_eq(cw_capability_read(CW_SPAN("<html>"), fhir_arena, &found, &err), CW_E_SYNTAX);
    ck_assert_int_eq(cw_capability_read(CW_SPAN("{\"resourceType\":\"Conformance\"}"), fhir_arena, &found, &err), CW_OK);
    ck_assert_uint_eq(found.count, 0);
    ck_assert_int_eq(cw_capability_read(CW_SPAN("{\"resourceType\":\"CapabilityStatement\",\"rest\":{\"mode\":3},\"software\":[]}"),
                                        fhir_arena, &found, &err),
                     CW_OK);
    ck_assert_int_eq(cw_capability_read(CW_SPAN("{\"resourceType\":\"CapabilityStatement\",\"rest\":[{\"resource\":[7,{\"type\":null}]}]}"),
                                        fhir_arena, &found, &err),
                     CW_OK);
    ck_assert_uint_eq(found.count, 0);
    struct cw_arena *small = cw_arena_new(32);
    ck_assert_int_eq(cw_capability_read(cw_span_cstr(statement), small, &found, &err), CW_E_OOM);
    cw_arena_free(small);
    char *big = calloc(1, CW_CAPABILITY_MAX + 1u);
    ck_assert_ptr_nonnull(big);
    memset(big, ' ', CW_CAPABILITY_MAX + 1u);
    memcpy(big, "{\"resourceType\":\"CapabilityStatement\"}", 38);
    ck_assert_int_eq(cw_capability_read(cw_span_of(big, CW_CAPABILITY_MAX), fhir_arena, &found, &err), CW_OK);
    ck_assert_int_eq(cw_capability_read(cw_span_of(big, CW_CAPABILITY_MAX + 1u), fhir_arena, &found, &err), CW_E_TOO_BIG);
    free(big);
}
END_TEST

/* --- plan --- */

static struct cw_plan make(const char *granted, const struct cw_capability *capability, const char *pull_json)
{
    json_t *pull = pull_json == NULL ? NULL : json_loads(pull_json, 0, NULL);
    ck_assert(pull_json == NULL || pull != NULL);
    struct cw_plan_input input = { .granted = cw_span_cstr(granted), .capability = capability, .pull = pull, .count = 50 };
    struct cw_plan plan = { .count = 0 };
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_plan_make(&input, fhir_arena, &plan, &err);
    ck_assert_msg(rc == CW_OK, "%s", err.text);
    json_decref(pull);
    return plan;
}

/* The n-th item of a type, or NULL. */
static const struct cw_plan_item *item_of(const struct cw_plan *plan, const char *type, size_t nth)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (strcmp(plan->items[i].type, type) == 0 && nth-- == 0) {
            return &plan->items[i];
        }
    }
    return NULL;
}

static const char *skip_of(const struct cw_plan *plan, const char *type)
{
    const struct cw_plan_item *item = item_of(plan, type, 0);
    ck_assert_msg(item != NULL, "%s is not in the plan", type);
    return item->skip == NULL ? "asked" : item->skip;
}

static void check_url(const struct cw_plan_item *item, const char *expected)
{
    struct cw_str url;
    cw_str_init(&url, CW_URL_MAX);
    ck_assert_int_eq(cw_plan_url(item, CW_SPAN("https://ehr.example/r4/"), CW_SPAN("p/1"), &url), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&url), expected);
    cw_str_release(&url);
}

START_TEST(plan_plain)
{
    struct cw_plan plan = make("launch/patient openid patient/*.read", NULL, NULL);
    ck_assert_int_eq(plan.items[0].kind, CW_PLAN_READ);
    check_url(&plan.items[0], "https://ehr.example/r4/Patient/p%2F1");
    ck_assert_str_eq(skip_of(&plan, "Condition"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Flag"), CW_PLAN_SKIP_NOT_OFFERED);
    const struct cw_plan_item *bare = item_of(&plan, "Observation", 0);
    ck_assert_str_eq(bare->variant, "base");
    check_url(bare, "https://ehr.example/r4/Observation?patient=p%2F1&_count=50");
    const struct cw_plan_item *laboratory = item_of(&plan, "Observation", 1);
    ck_assert_str_eq(laboratory->variant, "category=laboratory");
    ck_assert_ptr_eq(&plan.items[laboratory->fallback_of], bare);
    check_url(laboratory, "https://ehr.example/r4/Observation?patient=p%2F1&category=laboratory&_count=50");
    check_url(item_of(&plan, "Coverage", 1), "https://ehr.example/r4/Coverage?beneficiary=p%2F1&_count=50");
}
END_TEST

START_TEST(plan_brings_along_what_claims_name)
{
    static const char *const texts[] = {
        "{\"resourceType\":\"CapabilityStatement\",\"rest\":[{\"mode\":\"server\",\"resource\":[{\"type\":\"ExplanationOfBenefit\","
        "\"searchInclude\":[\"ExplanationOfBenefit:patient\",\"ExplanationOfBenefit:*\"],\"searchParam\":[{\"name\":\"patient\"}]}]}]}",
        "{\"resourceType\":\"CapabilityStatement\",\"rest\":[{\"mode\":\"server\",\"resource\":[{\"type\":\"ExplanationOfBenefit\","
        "\"searchInclude\":[\"ExplanationOfBenefit:patient\"],\"searchParam\":[{\"name\":\"patient\"}]}]}]}",
    };
    static const char *const queries[] = { "_include=ExplanationOfBenefit:*&_count=50", "_count=50" };
    for (size_t i = 0; i < CW_ARRAY_LEN(texts); i++) {
        struct cw_capability capability;
        ck_assert_int_eq(cw_capability_read(cw_span_cstr(texts[i]), fhir_arena, &capability, NULL), CW_OK);
        struct cw_plan plan = make("patient/*.rs", &capability, NULL);
        ck_assert_str_eq(item_of(&plan, "ExplanationOfBenefit", 0)->query, queries[i]);
    }
}
END_TEST

START_TEST(plan_offered)
{
    struct cw_capability capability;
    ck_assert_int_eq(cw_capability_read(cw_span_cstr(statement), fhir_arena, &capability, NULL), CW_OK);
    struct cw_plan plan = make("patient/*.rs", &capability, NULL);
    ck_assert_str_eq(skip_of(&plan, "Condition"), "asked");
    ck_assert_str_eq(item_of(&plan, "Condition", 0)->query, "_revinclude=Provenance:target&_count=50");
    ck_assert_str_eq(item_of(&plan, "MedicationRequest", 0)->query, "_include=MedicationRequest:medication&_count=50");
    ck_assert_str_eq(skip_of(&plan, "Immunization"), CW_PLAN_SKIP_NOT_OFFERED);
    ck_assert_str_eq(skip_of(&plan, "Goal"), CW_PLAN_SKIP_NOT_OFFERED);
    ck_assert_str_eq(skip_of(&plan, "Device"), CW_PLAN_SKIP_NO_PATIENT);
    ck_assert_str_eq(skip_of(&plan, "Flag"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Media"), CW_PLAN_SKIP_NO_PATIENT);
}
END_TEST

START_TEST(plan_scopes)
{
    struct cw_plan plan = make("patient/Condition.rs patient/Goal.r user/Immunization.read system/Device.rs "
                               "patient/Observation.rs?category=http://example.org/c|laboratory",
                               NULL, NULL);
    ck_assert_str_eq(skip_of(&plan, "Patient"), CW_PLAN_SKIP_SCOPE);
    ck_assert_str_eq(skip_of(&plan, "Condition"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Goal"), CW_PLAN_SKIP_SCOPE);
    ck_assert_str_eq(skip_of(&plan, "Immunization"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Device"), CW_PLAN_SKIP_SCOPE);
    ck_assert_str_eq(item_of(&plan, "Observation", 0)->query, "category=http://example.org/c%7Claboratory&_count=50");
    ck_assert_ptr_null(item_of(&plan, "Observation", 1));
    plan = make("openid", NULL, NULL);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_str_eq(plan.items[i].skip, CW_PLAN_SKIP_SCOPE);
    }
}
END_TEST

START_TEST(plan_profile)
{
    struct cw_plan plan = make("patient/*.read", NULL,
                               "{\"skip\":[\"Goal\"],\"revinclude\":false,\"searches\":{\"Observation\":{\"each\":{\"category\":[\"a\",\"b\"]}},"
                               "\"CareTeam\":{\"add\":\"status=active\"},\"Condition\":[\"category=x\",\"category=y\"],\"List\":[\"code=problems\"]}}");
    ck_assert_str_eq(skip_of(&plan, "Goal"), CW_PLAN_SKIP_VENDOR);
    ck_assert_str_eq(item_of(&plan, "Observation", 0)->variant, "category=a");
    ck_assert_int_eq(item_of(&plan, "Observation", 1)->fallback_of, -1);
    ck_assert_ptr_null(item_of(&plan, "Observation", 2));
    ck_assert_str_eq(item_of(&plan, "CareTeam", 0)->query, "status=active&_count=50");
    ck_assert_ptr_null(item_of(&plan, "CareTeam", 1));
    ck_assert_str_eq(item_of(&plan, "Condition", 1)->variant, "category=y");
    ck_assert_str_eq(item_of(&plan, "List", 0)->query, "code=problems&_count=50");
    struct cw_str json;
    cw_str_init(&json, 1u << 20);
    ck_assert_int_eq(cw_plan_emit(&plan, &json), CW_OK);
    json_t *tree = json_loads(cw_str_cstr(&json), 0, NULL);
    ck_assert_uint_eq(json_array_size(tree), plan.count);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(tree, 0), "kind")), "read");
    json_decref(tree);
    cw_str_release(&json);
}
END_TEST

/* athenahealth's practice goes into every search and not into the read; UnitedHealthcare is asked for its types alone. */
START_TEST(plan_extra_query_and_types)
{
    static const char *const types[] = { "Patient", "Condition" };
    struct cw_plan_input input = { .granted = CW_SPAN("patient/*.rs"), .types = types, .type_count = 2, .count = 50,
                                   .extra_query = "ah-practice=Organization%2Fa-1.Practice-7" };
    struct cw_plan plan;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_plan_make(&input, fhir_arena, &plan, &err), CW_OK);
    check_url(item_of(&plan, "Patient", 0), "https://ehr.example/r4/Patient/p%2F1");
    check_url(item_of(&plan, "Condition", 0),
              "https://ehr.example/r4/Condition?patient=p%2F1&ah-practice=Organization%2Fa-1.Practice-7&_count=50");
    ck_assert_str_eq(item_of(&plan, "Condition", 0)->variant, "base");
    ck_assert_str_eq(skip_of(&plan, "Goal"), CW_PLAN_SKIP_VENDOR);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_msg(plan.items[i].skip != NULL || strcmp(plan.items[i].type, "Patient") == 0 || strcmp(plan.items[i].type, "Condition") == 0, "%s is asked", plan.items[i].type);
    }
}
END_TEST

/* Oracle's scopes: searching without reading, reading without searching, practitioners as the user. */
START_TEST(plan_search_without_read)
{
    struct cw_plan plan = make("patient/Patient.r patient/Observation.s patient/Binary.r user/Practitioner.read patient/Goal.r", NULL, NULL);
    ck_assert_str_eq(skip_of(&plan, "Patient"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Observation"), "asked");
    ck_assert_str_eq(skip_of(&plan, "Goal"), CW_PLAN_SKIP_SCOPE);
}
END_TEST

static const char *const bad_profiles[] = {
    "{\"searches\":[]}", "{\"searches\":{\"Condition\":\"x\"}}", "{\"searches\":{\"Condition\":[1]}}", "{\"searches\":{\"Condition\":{}}}",
    "{\"searches\":{\"Condition\":{\"each\":{\"category\":\"x\"}}}}", "{\"searches\":{\"not a type\":[]}}",
};

START_TEST(plan_bad_profile)
{
    json_t *pull = json_loads(bad_profiles[_i], 0, NULL);
    struct cw_plan_input input = { .granted = CW_SPAN("patient/*.read"), .pull = pull };
    struct cw_plan plan;
    ck_assert_int_eq(cw_plan_make(&input, fhir_arena, &plan, NULL), CW_E_KIND);
    json_decref(pull);
}
END_TEST

static const struct {
    const char *url, *relaxed;
} relax_rows[] = {
    { "https://a.example/Condition?patient=1&_revinclude=Provenance:target&_count=50", "https://a.example/Condition?patient=1&_count=50" },
    { "https://a.example/C?_include=C:x&patient=1&_revinclude=P:t", "https://a.example/C?patient=1" },
    { "https://a.example/C?patient=1&_count=50&status=active", "https://a.example/C?patient=1&status=active" },
    { "https://a.example/C?patient=1&status=active", "https://a.example/C?patient=1" },
    { "https://a.example/C?_count=50", "https://a.example/C" },
    { "https://a.example/C?patient=1", NULL },
    { "https://a.example/C", NULL },
};

START_TEST(relax_url)
{
    struct cw_str out;
    cw_str_init(&out, CW_URL_MAX);
    bool relaxed = cw_plan_relax(cw_span_cstr(relax_rows[_i].url), &out);
    ck_assert_int_eq(relaxed, relax_rows[_i].relaxed != NULL);
    ck_assert_str_eq(cw_str_cstr(&out), relaxed ? relax_rows[_i].relaxed : "");
    cw_str_release(&out);
}
END_TEST

/* A filter is of one pull: it stands in the URL, and not in what is remembered of the search. */
START_TEST(a_filter_is_no_part_of_the_search)
{
    static const struct {
        const char *query, *shape;
    } rows[] = {
        { "_count=50&_lastUpdated=gt2026-01-01T00%3A00%3A00Z", "_count=50" },
        { "_lastUpdated=gt2026-01-01", "" },
        { "a=b&_lastUpdated=gt2026-01-01&_count=50", "a=b&_count=50" },
        { "a=b&_lastUpdatedBy=me", "a=b&_lastUpdatedBy=me" },
        { "", "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR shape;
        cw_str_init(&shape, 1000);
        cw_plan_unfiltered(cw_span_cstr(rows[i].query), &shape);
        ck_assert_msg(cw_span_eq_cstr(cw_str_span(&shape), rows[i].shape), "row %zu: %.*s", i, (int)shape.len, cw_str_cstr(&shape));
    }
    struct cw_plan_item item = { .kind = CW_PLAN_SEARCH, .type = "Goal", .variant = "base", .param = "patient", .query = "_count=50",
                                 .fallback_of = -1, .filter = "_lastUpdated=gt2026" };
    const struct cw_plan plan = { &item, 1 };
    CW_AUTO_STR url;
    CW_AUTO_STR json;
    cw_str_init(&url, 1000);
    cw_str_init(&json, 1000);
    ck_assert_int_eq(cw_plan_url(&item, CW_SPAN("https://a.example"), CW_SPAN("7"), &url), CW_OK);
    ck_assert_span_eq(cw_str_span(&url), "https://a.example/Goal?patient=7&_count=50&_lastUpdated=gt2026");
    ck_assert_int_eq(cw_plan_emit(&plan, &json), CW_OK);
    ck_assert(cw_span_find_span(cw_str_span(&json), CW_SPAN("\"filter\":\"_lastUpdated=gt2026\"")) < json.len);
    item.filter = NULL;
    cw_str_clear(&json);
    ck_assert_int_eq(cw_plan_emit(&plan, &json), CW_OK);
    ck_assert(cw_span_find_span(cw_str_span(&json), CW_SPAN("filter")) == json.len);
}
END_TEST

START_TEST(smaller_pages)
{
    static const struct {
        const char *url, *halved, *shrunk;
    } rows[] = {
        { "https://a.example/C?patient=1&_count=50", "https://a.example/C?patient=1&_count=25", "https://a.example/C?patient=1&_count=1" },
        { "https://a.example/C?_count=3&patient=1", "https://a.example/C?patient=1&_count=1", "https://a.example/C?patient=1&_count=1" },
        { "https://a.example/C?patient=1", "https://a.example/C?patient=1&_count=10", "https://a.example/C?patient=1&_count=1" },
        { "https://a.example/C?patient=1&_count=1", NULL, NULL },
        { "https://a.example/C?patient=1&_count=x", NULL, "https://a.example/C?patient=1&_count=1" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR halved, shrunk;
        cw_str_init(&halved, CW_URL_MAX);
        cw_str_init(&shrunk, CW_URL_MAX);
        ck_assert_msg(cw_plan_halve(cw_span_cstr(rows[i].url), &halved) == (rows[i].halved != NULL), "row %zu", i);
        ck_assert_msg(cw_plan_shrink(cw_span_cstr(rows[i].url), &shrunk) == (rows[i].shrunk != NULL), "row %zu", i);
        ck_assert_str_eq(cw_str_cstr(&halved), rows[i].halved == NULL ? "" : rows[i].halved);
        ck_assert_str_eq(cw_str_cstr(&shrunk), rows[i].shrunk == NULL ? "" : rows[i].shrunk);
    }
}
END_TEST

START_TEST(dropped_parameters)
{
    struct cw_span param, query, base = CW_SPAN("https://a.example/r4");
    CW_AUTO_STR out;
    cw_str_init(&out, CW_URL_MAX);
    ck_assert(cw_plan_drop(CW_SPAN("https://a.example/r4/C?patient=1&_count=50&status=a"), CW_SPAN("status"), &out));
    ck_assert_str_eq(cw_str_cstr(&out), "https://a.example/r4/C?patient=1&_count=50");
    ck_assert(!cw_plan_drop(CW_SPAN("https://a.example/r4/C?patient=1"), CW_SPAN("status"), &out));
    ck_assert(!cw_plan_drop(CW_SPAN("https://a.example/r4/C?patient=1"), CW_SPAN(""), &out));
    ck_assert(!cw_plan_drop_includes(CW_SPAN("https://a.example/r4/C?patient=1&_count=50"), &out));
    cw_str_clear(&out);
    ck_assert(cw_plan_drop_includes(CW_SPAN("https://a.example/r4/C?patient=1&_revinclude=a&_count=50"), &out));
    ck_assert_str_eq(cw_str_cstr(&out), "https://a.example/r4/C?patient=1&_count=50");
    ck_assert(cw_plan_url_query(CW_SPAN("https://a.example/r4/Goal?patient=7&a=b&c=d"), base, "Goal", &param, &query));
    ck_assert_span_eq(param, "patient");
    ck_assert_span_eq(query, "a=b&c=d");
    ck_assert(cw_plan_url_query(CW_SPAN("https://a.example/r4/Goal?patient=7"), base, "Goal", &param, &query));
    ck_assert_uint_eq(query.len, 0);
    static const char *const others[] = { "https://a.example/r4/Goals?patient=7", "https://a.example/r4/Goal", "https://a.example/r4?_getpages=1",
                                          "https://b.example/r4/Goal?patient=7", "https://a.example/r4/Patient/7/$everything?_count=1" };
    for (size_t i = 0; i < CW_ARRAY_LEN(others); i++) {
        ck_assert_msg(!cw_plan_url_query(cw_span_cstr(others[i]), base, "Goal", &param, &query), "%s", others[i]);
    }
}
END_TEST

START_TEST(what_may_be_read)
{
    static const struct {
        const char *granted, *type;
        bool may;
    } rows[] = {
        { "patient/*.read", "Encounter", true },
        { "patient/Encounter.rs", "Encounter", true },
        { "patient/Encounter.r?x=1", "Encounter", true },
        { "patient/Encounter.s", "Encounter", false },
        { "patient/Encounter.rs", "Medication", false },
        { "system/*.read", "Encounter", false },
        { "openid launch/patient", "Encounter", false },
        { "", "Encounter", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_plan_may_read(cw_span_cstr(rows[i].granted), cw_span_cstr(rows[i].type)) == rows[i].may, "row %zu", i);
    }
}
END_TEST

/* --- receipt --- */

static const struct cw_receipt_task receipt_tasks[] = {
    { .type = CW_SPAN("Patient"), .kind = "read", .status = "done", .pages = 1, .requests = 1, .received = 1, .stored = 1, .created = 1, .total = -1,
      .bytes = 100 },
    { .type = CW_SPAN("Observation"), .kind = "search", .status = "done", .pages = 2, .requests = 3, .received = 70, .stored = 60, .created = 40,
      .unchanged = 10, .total = 80, .bytes = 9000 },
    { .type = CW_SPAN("Observation"), .kind = "search", .status = "failed", .code = CW_SPAN("http_error"), .http_status = 500, .requests = 3, .total = -1 },
    { .type = CW_SPAN("Observation"), .kind = "search", .status = "done", .received = 7, .total = 2 }, /* more than promised: no credit */
    { .type = CW_SPAN("Goal"), .kind = "search", .status = "skipped", .code = CW_SPAN("no_scope"), .total = -1 },
    { .type = CW_SPAN("Binary"), .kind = "document", .status = "failed", .code = CW_SPAN("gone"), .http_status = 404, .requests = 1, .total = -1 },
    { .type = CW_SPAN("Binary"), .kind = "document", .status = "failed", .code = CW_SPAN("gone"), .http_status = 404, .requests = 1, .total = -1 },
    { .type = CW_SPAN("Binary"), .kind = "document", .status = "done", .http_status = 200, .requests = 1, .pages = 1, .total = -1, .bytes = 12 },
    { .type = CW_SPAN("Observation"), .kind = "reference", .status = "done", .requests = 1, .pages = 1, .received = 1, .unchanged = 1, .total = -1 },
};

START_TEST(receipt_text)
{
    struct cw_receipt r = {
        .pull = "pull_1", .status = "partial", .started_us = 0, .ended_us = 1500000, .asked = CW_SPAN("openid patient/*.rs x"),
        .granted = CW_SPAN("openid patient/*.rs"), .lost = CW_SPAN("x "), .tasks = receipt_tasks, .count = CW_ARRAY_LEN(receipt_tasks),
    };
    struct cw_str json;
    cw_str_init(&json, CW_RECEIPT_MAX);
    ck_assert_int_eq(cw_receipt_emit(&r, &json), CW_OK);
    ck_assert_str_eq(
        cw_str_cstr(&json),
        "{\"version\":1,\"pull_id\":\"pull_1\",\"status\":\"partial\",\"started_at\":\"1970-01-01T00:00:00.000Z\","
        "\"ended_at\":\"1970-01-01T00:00:01.500Z\","
        "\"scopes\":{\"asked\":[\"openid\",\"patient/*.rs\",\"x\"],\"granted\":[\"openid\",\"patient/*.rs\"],\"lost\":[\"x\"]},"
        "\"totals\":{\"requests\":11,\"pages\":5,\"received\":79,\"stored\":61,\"created\":41,\"changed\":20,\"unchanged\":11,\"bytes\":9112},"
        "\"types\":["
        "{\"type\":\"Patient\",\"requests\":1,\"pages\":1,\"received\":1,\"stored\":1,\"created\":1,\"changed\":0,\"unchanged\":0,\"bytes\":100,"
        "\"complete\":true},"
        "{\"type\":\"Observation\",\"requests\":6,\"pages\":2,\"received\":77,\"stored\":60,\"created\":40,\"changed\":20,\"unchanged\":10,"
        "\"bytes\":9000,\"total\":82,\"shortfall\":10,\"complete\":false,"
        "\"problems\":[{\"status\":\"failed\",\"code\":\"http_error\",\"http_status\":500,\"count\":1}]},"
        "{\"type\":\"Goal\",\"requests\":0,\"pages\":0,\"received\":0,\"stored\":0,\"created\":0,\"changed\":0,\"unchanged\":0,\"bytes\":0,"
        "\"complete\":true,\"problems\":[{\"status\":\"skipped\",\"code\":\"no_scope\",\"count\":1}]}],"
        "\"documents\":{\"requests\":3,\"pages\":1,\"received\":0,\"stored\":0,\"created\":0,\"changed\":0,\"unchanged\":0,\"bytes\":12,"
        "\"complete\":false,\"problems\":[{\"status\":\"failed\",\"code\":\"gone\",\"http_status\":404,\"count\":2}],\"count\":3,\"items\":["
        "{\"status\":\"failed\",\"code\":\"gone\",\"http_status\":404,\"bytes\":0},{\"status\":\"failed\",\"code\":\"gone\",\"http_status\":404,"
        "\"bytes\":0},{\"status\":\"done\",\"bytes\":12}]},"
        "\"references\":{\"requests\":1,\"pages\":1,\"received\":1,\"stored\":0,\"created\":0,\"changed\":0,\"unchanged\":1,\"bytes\":0,"
        "\"complete\":true}}");
    /* What was asked is not kept any more: then nobody can say what was lost. */
    cw_str_clear(&json);
    r.asked = r.lost = (struct cw_span){ NULL, 0 };
    ck_assert_int_eq(cw_receipt_emit(&r, &json), CW_OK);
    const struct cw_receipt_skip skips[] = { { CW_SPAN("Goal"), CW_SPAN("bad_id"), 2 }, { CW_SPAN("Binary"), CW_SPAN("over_limit"), 1 } };
    struct cw_receipt some = { .status = "partial", .pull = "pull_1", .skips = skips, .skip_count = 2 };
    struct cw_str left;
    cw_str_init(&left, CW_RECEIPT_MAX);
    ck_assert_int_eq(cw_receipt_emit(&some, &left), CW_OK);
    ck_assert(cw_span_ends(cw_str_span(&left), CW_SPAN(",\"left_out\":[{\"type\":\"Goal\",\"reason\":\"bad_id\",\"count\":2},"
                                                       "{\"type\":\"Binary\",\"reason\":\"over_limit\",\"count\":1}]}")));
    cw_str_release(&left);
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&json), "\"scopes\":{\"asked\":null,\"granted\":[\"openid\",\"patient/*.rs\"],\"lost\":null}"));
    cw_str_release(&json);
}
END_TEST

START_TEST(receipt_types)
{
    struct cw_receipt r = { .tasks = receipt_tasks, .count = CW_ARRAY_LEN(receipt_tasks) };
    struct cw_str json;
    cw_str_init(&json, CW_RECEIPT_TYPES_MAX);
    ck_assert_int_eq(cw_receipt_emit_types(&r, &json), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&json),
                     "[{\"type\":\"Patient\",\"received\":1,\"stored\":1,\"unchanged\":0,\"failed\":0},"
                     "{\"type\":\"Observation\",\"received\":78,\"stored\":60,\"unchanged\":11,\"failed\":1},"
                     "{\"type\":\"Goal\",\"received\":0,\"stored\":0,\"unchanged\":0,\"failed\":0},"
                     "{\"type\":\"Binary\",\"received\":0,\"stored\":0,\"unchanged\":0,\"failed\":2}]");
    cw_str_release(&json);
}
END_TEST

Suite *suite_fhir_plan(void)
{
    Suite *suite = suite_create("fhir/plan");
    TCase *tcase = tcase_create("plan");
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_test(tcase, capability_read);
    tcase_add_test(tcase, capability_odd);
    tcase_add_test(tcase, plan_plain);
    tcase_add_test(tcase, plan_offered);
    tcase_add_test(tcase, plan_brings_along_what_claims_name);
    tcase_add_test(tcase, plan_scopes);
    tcase_add_test(tcase, plan_profile);
    tcase_add_test(tcase, plan_extra_query_and_types);
    tcase_add_test(tcase, plan_search_without_read);
    tcase_add_loop_test(tcase, plan_bad_profile, 0, (int)CW_ARRAY_LEN(bad_profiles));
    tcase_add_loop_test(tcase, relax_url, 0, (int)CW_ARRAY_LEN(relax_rows));
    tcase_add_test(tcase, smaller_pages);
    tcase_add_test(tcase, a_filter_is_no_part_of_the_search);
    tcase_add_test(tcase, dropped_parameters);
    tcase_add_test(tcase, what_may_be_read);
    tcase_add_test(tcase, receipt_text);
    tcase_add_test(tcase, receipt_types);
    suite_add_tcase(suite, tcase);
    return suite;
}
