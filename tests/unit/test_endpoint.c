/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of endpoints, against a real MariaDB: discovery and its age, software, lessons; and the operator's profile of a source. */
#include "config.h"

#include "base/time.h"
#include "model/lesson.h"
#include "model/search_memory.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static struct cw_err err;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

#define NONE cw_span_of(NULL, 0)
#define OK(call) \
    do { \
        enum cw_code ok_code = (call); \
        ck_assert_msg(ok_code == CW_OK, "%s: %s: %s (%d)", cw_code_name(ok_code), err.where, err.text, err.sys); \
    } while (0)

static void setup(void)
{
    arena = cw_arena_new(16u * 1024u * 1024u);
}

static void teardown(void)
{
    cw_clock_shift_us(0);
    cw_arena_free(arena);
}

/* A new source at an endpoint of its own. */
static struct cw_source fresh_source(void)
{
    static unsigned n;
    char url[64];
    snprintf(url, sizeof url, "https://h%u.test/r4", ++n);
    struct cw_source_row row = {
        .source = { .environment = CW_ENV_SANDBOX, .name = cw_span_cstr(url), .base_url = cw_span_cstr(url), .tenant_context = CW_SPAN("") },
        .normal_base = cw_span_cstr(url),
    };
    uint8_t content[CW_HASH_LEN];
    struct cw_import_counts counts;
    struct cw_source source;
    cw_sha256(cw_span_cstr(url), row.identity_hash);
    cw_sha256(cw_span_cstr(url), content);
    OK(cw_source_import(&m, &actor, CW_ENV_SANDBOX, "test", content, &row, 1, 0, &counts, &err));
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, NONE, row.normal_base, arena, &source, &err));
    return source;
}

static struct cw_endpoint endpoint(struct cw_endpoint_id id)
{
    struct cw_endpoint got;
    OK(cw_endpoint_get(&m, id, arena, &got, &err));
    return got;
}

START_TEST(the_operators_profile)
{
    struct cw_source source = fresh_source();
    ck_assert_ptr_null(source.profile.ptr);
    OK(cw_source_set_profile(&m, &actor, source.id, CW_SPAN("epic"), &err));
    OK(cw_source_get(&m, CW_ENV_SANDBOX, source.id, arena, &source, &err));
    ck_assert(cw_span_eq_cstr(source.profile, "epic"));
    OK(cw_source_set_profile(&m, &actor, source.id, NONE, &err));
    OK(cw_source_get(&m, CW_ENV_SANDBOX, source.id, arena, &source, &err));
    ck_assert_ptr_null(source.profile.ptr);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action LIKE 'source.profile%'"), 2);
    ck_assert_int_eq(cw_source_set_profile(&m, &actor, (struct cw_source_id){ cw_ulid_new() }, CW_SPAN("x"), &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(a_discovery_and_its_age)
{
    struct cw_endpoint_id id = fresh_source().endpoint;
    int64_t now_us = cw_now_us() / 1000 * 1000;
    bool held;
    struct cw_endpoint found = { .id = id, .authorization_url = CW_SPAN("https://a.test/"), .token_url = CW_SPAN("https://a.test/t"),
                                 .discovery = CW_SPAN("{}"), .discovered_us = now_us, .discovery_etag = CW_SPAN("\"v1\""),
                                 .discovery_until_us = now_us + CW_HOUR_US };
    OK(cw_endpoint_note_lack(&m, id, CW_LACKS_DISCOVERY, &err));
    ck_assert_int_ne(endpoint(id).discovery_failed_us, 0);
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    struct cw_endpoint got = endpoint(id);
    ck_assert(cw_span_eq_cstr(got.discovery_etag, "\"v1\""));
    ck_assert_int_eq(got.discovery_until_us, found.discovery_until_us);
    ck_assert_int_eq(got.discovery_failed_us, 0);
    cw_clock_shift_us(2 * CW_HOUR_US);
    OK(cw_endpoint_keep_discovery(&m, id, now_us + 3 * CW_HOUR_US, &err));
    got = endpoint(id);
    ck_assert_int_ge(got.discovered_us, now_us + 2 * CW_HOUR_US);
    ck_assert_int_eq(got.discovery_until_us, now_us + 3 * CW_HOUR_US);
    OK(cw_endpoint_distrust(&m, id, &err));
    got = endpoint(id);
    ck_assert(got.discovery_until_us == 0 && got.discovery_etag.ptr == NULL && cw_span_eq_cstr(got.discovery, "{}"));
    ck_assert_int_eq(cw_endpoint_distrust(&m, (struct cw_endpoint_id){ cw_ulid_new() }, &err), CW_E_NOT_FOUND);
}
END_TEST

static void store_software(struct cw_endpoint_id id, const char *summary)
{
    OK(cw_endpoint_store_capability(&m, id, cw_span_cstr(summary), NONE, CW_SPAN("4.0.1"), &err));
}

START_TEST(software_is_known_by_name_and_version)
{
    struct cw_endpoint_id id = fresh_source().endpoint;
    OK(cw_endpoint_note_lack(&m, id, CW_LACKS_CAPABILITY, &err));
    ck_assert_int_ne(endpoint(id).capability_failed_us, 0);
    store_software(id, "{\"software\":{\"name\":\"Epic\",\"version\":\"May 2026\"}}");
    struct cw_endpoint got = endpoint(id);
    ck_assert(cw_span_eq_cstr(got.software, "Epic May 2026") && cw_span_eq_cstr(got.fhir_version, "4.0.1"));
    ck_assert_int_eq(got.capability_failed_us, 0);
    store_software(id, "{}"); /* a silent answer takes nothing away */
    ck_assert(cw_span_eq_cstr(endpoint(id).software, "Epic May 2026"));
    char big[2048];
    memset(big, 'x', sizeof big);
    snprintf(big, sizeof big, "{\"software\":{\"name\":\"%0900d\",\"version\":\"%0900d\"}}", 7, 8);
    store_software(id, big);
    ck_assert_uint_le(endpoint(id).software.len, 512);
    ck_assert_int_eq(cw_endpoint_store_capability(&m, id, CW_SPAN("{}"), NONE, CW_SPAN("4.0.1-and-much-more-of-it"), &err), CW_OK);
    ck_assert_int_eq(cw_endpoint_store_capability(&m, (struct cw_endpoint_id){ cw_ulid_new() }, CW_SPAN("{}"), NONE, NONE, &err),
                     CW_E_NOT_FOUND);
}
END_TEST

/* ---- lessons (rules 2.3.7 and 2.2) */

static struct cw_endpoint_try new_try(struct cw_endpoint_id id)
{
    return (struct cw_endpoint_try){ .endpoint = id, .registration = { cw_ulid_new() } };
}

static struct cw_endpoint_try next_of(const struct cw_endpoint_try *tried)
{
    struct cw_endpoint_try next;
    OK(cw_endpoint_next_try(&m, tried->endpoint, tried->registration, &next, &err));
    return next;
}

START_TEST(rules_2_3_7_the_ladder_has_an_end)
{
    struct cw_endpoint_try tried = new_try(fresh_source().endpoint);
    struct cw_endpoint_try next = next_of(&tried);
    ck_assert(next.scope_step == 0 && !next.aud_toggled);
    for (unsigned step = 0; step < CW_SCOPE_STEP_LAST; step++) {
        for (int repeat = 0; repeat < 3; repeat++) { /* the same answer again teaches nothing */
            OK(cw_endpoint_learn(&m, &tried, CW_LESSON_SCOPE_REFUSED, &err));
        }
        next = next_of(&tried);
        ck_assert_uint_eq(next.scope_step, step + 1);
        tried = next;
    }
    for (int repeat = 0; repeat < 20; repeat++) { /* a server that refuses for ever */
        OK(cw_endpoint_learn(&m, &tried, CW_LESSON_SCOPE_REFUSED, &err));
        tried = next_of(&tried);
        ck_assert_uint_eq(tried.scope_step, 0);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT MAX(scope_step) FROM endpoint_lesson"), 5);
    tried.scope_step = 4000000000u; /* out of a row that nobody should have written */
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_SCOPE_REFUSED, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT MAX(scope_step) FROM endpoint_lesson"), 5);
}
END_TEST

START_TEST(rules_2_2_the_slash_is_toggled_once)
{
    struct cw_endpoint_try tried = new_try(fresh_source().endpoint);
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_AUD_REFUSED, &err));
    tried = next_of(&tried);
    ck_assert(tried.aud_toggled && tried.scope_step == 0);
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_AUD_REFUSED, &err));
    for (int repeat = 0; repeat < 3; repeat++) {
        tried = next_of(&tried);
        ck_assert(!tried.aud_toggled);
        OK(cw_endpoint_learn(&m, &tried, CW_LESSON_AUD_REFUSED, &err));
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT MAX(aud_step) FROM endpoint_lesson"), 2);
}
END_TEST

/* Rules 9, quirk 28: the other SMART version next, and no further by that. */
START_TEST(quirk28_nothing_granted)
{
    struct cw_endpoint_try tried = new_try(fresh_source().endpoint);
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_NOTHING_GRANTED, &err));
    for (int repeat = 0; repeat < 3; repeat++) {
        tried = next_of(&tried);
        ck_assert_uint_eq(tried.scope_step, CW_SCOPE_STEP_DIALECT);
        OK(cw_endpoint_learn(&m, &tried, CW_LESSON_NOTHING_GRANTED, &err));
    }
}
END_TEST

START_TEST(what_worked_is_kept_until_the_software_changes)
{
    struct cw_endpoint_id id = fresh_source().endpoint;
    store_software(id, "{\"software\":{\"name\":\"X\",\"version\":\"1\"}}");
    struct cw_endpoint_try tried = new_try(id);
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_SCOPE_REFUSED, &err));
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_AUD_REFUSED, &err));
    struct cw_endpoint_try learnt = next_of(&tried);
    ck_assert(learnt.scope_step == 1 && learnt.aud_toggled);
    ck_assert(!learnt.worked_lately);
    OK(cw_endpoint_learn(&m, &learnt, CW_LESSON_WORKED, &err));
    ck_assert(next_of(&tried).worked_lately);
    cw_clock_shift_us(CW_HOUR_US + CW_MINUTE_US);
    ck_assert(!next_of(&tried).worked_lately);
    struct cw_lesson_row *rows;
    size_t count;
    OK(cw_endpoint_lessons(&m, id, arena, &rows, &count, &err));
    ck_assert_uint_eq(count, 1);
    ck_assert(rows[0].scope_step == 1 && rows[0].aud_step == 1 && rows[0].worked_us != 0 && cw_span_eq_cstr(rows[0].software, "X 1"));
    struct cw_endpoint_try other = new_try(id);
    ck_assert_uint_eq(next_of(&other).scope_step, 0); /* another client's scopes are its own */
    store_software(id, "{\"software\":{\"name\":\"X\",\"version\":\"1\"}}");
    ck_assert_uint_eq(next_of(&tried).scope_step, 1);
    store_software(id, "{\"software\":{\"name\":\"X\",\"version\":\"2\"}}");
    ck_assert_uint_eq(next_of(&tried).scope_step, 0);
}
END_TEST

/* A browser brings back what it likes: while a request works for others, its refusals change nothing for them. */
START_TEST(a_refusal_teaches_nothing_while_others_get_through)
{
    struct cw_endpoint_try usual = new_try(fresh_source().endpoint);
    OK(cw_endpoint_learn(&m, &usual, CW_LESSON_WORKED, &err));
    struct cw_endpoint_try tried = usual;
    for (int repeat = 0; repeat < 6; repeat++) {
        OK(cw_endpoint_learn(&m, &tried, repeat % 2 == 0 ? CW_LESSON_SCOPE_REFUSED : CW_LESSON_NOTHING_GRANTED, &err));
        OK(cw_endpoint_learn(&m, &tried, CW_LESSON_AUD_REFUSED, &err));
        tried = next_of(&usual);
        ck_assert(tried.scope_step == 0 && !tried.aud_toggled);
    }
    cw_test_db_sql(&test, "UPDATE endpoint_lesson SET worked_at = worked_at - INTERVAL 73 HOUR");
    OK(cw_endpoint_learn(&m, &usual, CW_LESSON_SCOPE_REFUSED, &err)); /* nobody has got through for days */
    ck_assert_uint_eq(next_of(&usual).scope_step, 1);
}
END_TEST

static struct cw_span asked_with(struct cw_endpoint_id id, const struct cw_search_form *planned)
{
    struct cw_search_memory *memory;
    OK(cw_search_recall(&m, id, arena, &memory, &err));
    return cw_search_instead(memory, planned);
}

START_TEST(a_search_is_asked_as_it_worked)
{
    struct cw_endpoint_id id = fresh_source().endpoint, other = fresh_source().endpoint;
    const struct cw_search_form goals = { CW_SPAN("Goal"), CW_SPAN("patient"), CW_SPAN("_revinclude=Provenance:target&_count=50") };
    const struct cw_search_form theirs = { CW_SPAN("Goal"), CW_SPAN("beneficiary"), CW_SPAN("_revinclude=Provenance:target&_count=50") };
    store_software(id, "{\"resourceType\":\"CapabilityStatement\",\"software\":{\"name\":\"A\",\"version\":\"1\"}}");
    ck_assert(cw_span_eq(asked_with(id, &goals), goals.query));
    OK(cw_search_learn(&m, id, &goals, CW_SPAN("_count=50"), &err));
    OK(cw_search_learn(&m, id, &goals, CW_SPAN(""), &err)); /* the newest */
    ck_assert_uint_eq(asked_with(id, &goals).len, 0);
    ck_assert(cw_span_eq(asked_with(id, &theirs), theirs.query));
    ck_assert(cw_span_eq(asked_with(other, &goals), goals.query));
    ck_assert(cw_span_eq(cw_search_instead(NULL, &goals), goals.query));
    /* A month later, and in other software, it is asked as planned. */
    cw_clock_shift_us(31 * CW_DAY_US);
    ck_assert(cw_span_eq(asked_with(id, &goals), goals.query));
    cw_clock_shift_us(0);
    store_software(id, "{\"resourceType\":\"CapabilityStatement\",\"software\":{\"name\":\"A\",\"version\":\"2\"}}");
    ck_assert(cw_span_eq(asked_with(id, &goals), goals.query));
    OK(cw_search_learn(&m, (struct cw_endpoint_id){ cw_ulid_new() }, &goals, CW_SPAN("x"), &err)); /* nobody's: nothing is kept */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM endpoint_search"), 1);
    char *huge = cw_arena_alloc(arena, 3000);
    memset(huge, 'x', 3000);
    ck_assert_int_eq(cw_search_learn(&m, id, &goals, cw_span_of(huge, 3000), &err), CW_E_TOO_BIG);
}
END_TEST

START_TEST(the_operator_makes_it_forget)
{
    struct cw_endpoint_try tried = new_try(fresh_source().endpoint);
    OK(cw_endpoint_learn(&m, &tried, CW_LESSON_SCOPE_REFUSED, &err));
    OK(cw_endpoint_note_lack(&m, tried.endpoint, CW_LACKS_DISCOVERY, &err));
    OK(cw_endpoint_forget(&m, &actor, tried.endpoint, &err));
    ck_assert_uint_eq(next_of(&tried).scope_step, 0);
    ck_assert_int_eq(endpoint(tried.endpoint).discovery_failed_us, 0);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'endpoint.forget'"), 1);
    OK(cw_endpoint_learn(&m, &(struct cw_endpoint_try){ .endpoint = { cw_ulid_new() } }, CW_LESSON_SCOPE_REFUSED, &err)); /* gone */
}
END_TEST

static Suite *endpoint_suite(void)
{
    Suite *suite = suite_create("endpoint");
    TCase *tcase = tcase_create("endpoint");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_operators_profile);
    tcase_add_test(tcase, a_discovery_and_its_age);
    tcase_add_test(tcase, software_is_known_by_name_and_version);
    tcase_add_test(tcase, rules_2_3_7_the_ladder_has_an_end);
    tcase_add_test(tcase, rules_2_2_the_slash_is_toggled_once);
    tcase_add_test(tcase, quirk28_nothing_granted);
    tcase_add_test(tcase, what_worked_is_kept_until_the_software_changes);
    tcase_add_test(tcase, a_refusal_teaches_nothing_while_others_get_through);
    tcase_add_test(tcase, a_search_is_asked_as_it_worked);
    tcase_add_test(tcase, the_operator_makes_it_forget);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    if (cw_vault_new(test.config, &m.vault, &err) != CW_OK) {
        abort();
    }
    Suite *suites[] = { endpoint_suite(), NULL };
    int rc = cw_check_main(suites);
    cw_vault_free(m.vault);
    cw_test_db_release(&test);
    return rc;
}
