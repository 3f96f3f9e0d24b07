/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a catalogue file: read, stored in one transaction, indexed, found; and the same again without a change. */
#include "config.h"

#include <check.h>
#include <stdio.h>

#include "catalog/import.h"
#include "catalog/index.h"
#include "catalog/search.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

static void must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

static void setup(void)
{
    arena = cw_arena_new((size_t)256 * 1024 * 1024);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    cw_arena_free(arena);
}

static struct cw_import_counts import(enum cw_environment environment, const char *file)
{
    struct cw_err err = { 0 };
    struct cw_catalog catalog;
    struct cw_import_counts counts = { 0 };
    const struct cw_catalog_options options = { .environment = environment };
    must(cw_catalog_read(cw_span_cstr(file), &options, arena, &catalog, &err), &err);
    must(cw_catalog_import(&m, &actor, environment, cw_span_cstr(file), &catalog, &counts, &err), &err);
    return counts;
}

/* By a searcher of its own, which looks at the file at once. */
static size_t find(enum cw_environment environment, const char *text, struct cw_source_id *ret_first)
{
    struct cw_err err = { 0 };
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    ck_assert_int_eq(cw_index_path(m.config, environment, &path), CW_OK);
    struct cw_search *search = cw_search_new(cw_str_cstr(&path));
    struct cw_search_ask ask = { .text = cw_span_cstr(text) };
    struct cw_search_hit hits[10];
    size_t count = 0;
    must(cw_search_run(search, &ask, hits, 10, &count, &err), &err);
    cw_search_free(search);
    if (count > 0) {
        *ret_first = hits[0].id;
    }
    return count;
}

#define ROW(name, zip) "{\"URL\":\"https://fhir.clinic.example/r4/\",\"OrganizationName\":\"" name "\",\"OrganizationZipCode\":\"" zip "\"}"

START_TEST(imported_and_found)
{
    static const char first[] = "{\"Endpoints\":[" ROW("Talvenbrook Clinic", "53703") "," ROW("Quorvex Clinic", "53704") "," ROW("", "1") "]}";
    static const char second[] = "{\"Endpoints\":[" ROW("TALVENBROOK clinic", "53703") "," ROW("Zelmiton Clinic", "53705") "]}";
    struct cw_err err = { 0 };
    struct cw_import_counts counts = import(CW_ENV_SANDBOX, first);
    ck_assert_uint_eq(counts.created, 2);
    struct cw_source_id id, again;
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "talvenbrok", &id), 1);
    struct cw_source source;
    must(cw_source_get(&m, CW_ENV_SANDBOX, id, arena, &source, &err), &err);
    ck_assert(cw_span_eq_cstr(source.name, "Talvenbrook Clinic"));
    ck_assert(cw_span_eq_cstr(source.base_url, "https://fhir.clinic.example/r4/"));
    /* the same file changes nothing */
    counts = import(CW_ENV_SANDBOX, first);
    ck_assert_uint_eq(counts.created + counts.changed, 0);
    ck_assert_uint_eq(counts.unchanged, 2);
    /* another list: a known clinic keeps its id under a new spelling, nothing is lost by absence */
    counts = import(CW_ENV_SANDBOX, second);
    ck_assert_uint_eq(counts.created, 1);
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "talvenbrook", &again), 1);
    ck_assert(cw_ulid_eq(id.ulid, again.ulid));
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "quorvex", &again), 1);
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "zelmiton", &again), 1);
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "clinic", &again), 3);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM endpoint WHERE environment = 1"), 1);
}
END_TEST

START_TEST(environments_are_apart)
{
    struct cw_source_id id;
    (void)import(CW_ENV_PRODUCTION, "{\"Endpoints\":[" ROW("Ulberport Clinic", "1") "]}");
    ck_assert_uint_eq(find(CW_ENV_PRODUCTION, "ulberport", &id), 1);
    struct cw_source source;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_source_get(&m, CW_ENV_SANDBOX, id, arena, &source, &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(index_is_kept)
{
    struct cw_err err = { 0 };
    struct cw_index_keeper keeper = { 0 };
    struct cw_source_id id;
    unsigned written = 0;
    must(cw_index_keep(&m, &keeper, &written, &err), &err);
    ck_assert_uint_eq(written, 2);
    must(cw_index_keep(&m, &keeper, &written, &err), &err);
    ck_assert_uint_eq(written, 0);
    /* imported elsewhere: the generation tells it */
    (void)import(CW_ENV_SANDBOX, "{\"Endpoints\":[" ROW("Brendaford Clinic", "1") "]}");
    must(cw_index_keep(&m, &keeper, &written, &err), &err);
    ck_assert_uint_eq(written, 1);
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "brendaford", &id), 1);
    /* the file is lost */
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    ck_assert_int_eq(cw_index_path(m.config, CW_ENV_SANDBOX, &path), CW_OK);
    ck_assert_int_eq(remove(cw_str_cstr(&path)), 0);
    must(cw_index_keep(&m, &keeper, &written, &err), &err);
    ck_assert_uint_eq(written, 1);
    ck_assert_uint_eq(find(CW_ENV_SANDBOX, "brendaford", &id), 1);
}
END_TEST

/* athenahealth publishes one base for all practices: each stays choosable by its name. */
START_TEST(many_names_on_one_base)
{
    enum { NAMES = 3000 };
    CW_AUTO_STR file;
    cw_str_init(&file, 1u << 20);
    cw_str_add_cstr(&file, "{\"Endpoints\":[");
    for (unsigned i = 0; i < NAMES; i++) {
        cw_str_addf(&file, "%s{\"URL\":\"https://one.example/fhir/r4\",\"OrganizationName\":\"Practice Q%uX\"}", i == 0 ? "" : ",", i);
    }
    cw_str_add_cstr(&file, "]}");
    ck_assert_int_eq(cw_str_code(&file), CW_OK);
    ck_assert_uint_eq(import(CW_ENV_PRODUCTION, cw_str_cstr(&file)).created, NAMES);
    struct cw_source_id id;
    ck_assert_uint_ge(find(CW_ENV_PRODUCTION, "practice q2718x", &id), 1);
    struct cw_source source;
    struct cw_err err = { 0 };
    must(cw_source_get(&m, CW_ENV_PRODUCTION, id, arena, &source, &err), &err);
    ck_assert(cw_span_eq_cstr(source.name, "Practice Q2718X"));
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    struct cw_err err = { 0 };
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    if (cw_vault_new(test.config, &m.vault, &err) != CW_OK) {
        (void)fprintf(stderr, "vault: %s\n", err.text);
        return 1;
    }
    Suite *suite = suite_create("catalog in the database");
    TCase *tcase = tcase_create("catalog");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, imported_and_found);
    tcase_add_test(tcase, environments_are_apart);
    tcase_add_test(tcase, index_is_kept);
    tcase_add_test(tcase, many_names_on_one_base);
    suite_add_tcase(suite, tcase);
    Suite *const suites[] = { suite, NULL };
    int failed = cw_check_main(suites);
    cw_vault_free(m.vault);
    cw_test_db_release(&test);
    return failed;
}
