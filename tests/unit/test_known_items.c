/* SPDX-License-Identifier: Apache-2.0 */
/* The search over an invented catalogue of 20,000: known items are found among ten, whatever way they are asked for. */
#include "config.h"

#include "catalog/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/catalogue.h"
#include "../lib/check_main.h"
#include "catalog/index.h"
#include "os/sys.h"

#define SIZE 20000u
#define QUERIES 1000u

static char folder[] = "/tmp/cw-search-XXXXXX";
static char path[64];
static struct cw_search *search;

static struct cw_source_id id_of(uint32_t at)
{
    uint8_t random[10] = { 0 };
    memcpy(random, &at, sizeof(at));
    return (struct cw_source_id){ cw_ulid_make(1, random) };
}

static void add(struct cw_indexer *indexer, struct cw_source_id id, const struct catalogue_entry *e, const char *vendor)
{
    CW_AUTO_STR url;
    cw_str_init(&url, 256);
    cw_str_addf(&url, "https://%s/api/FHIR/R4", e->host);
    const struct cw_source source = {
        .id = id, .environment = CW_ENV_SANDBOX, .name = cw_span_cstr(e->name), .city = cw_span_cstr(e->city), .state = cw_span_cstr(e->state),
        .postal_code = cw_span_cstr(e->zip), .base_url = cw_str_span(&url), .aliases = cw_span_cstr(e->alias[0] == '\0' ? NULL : e->alias),
        .vendor = cw_span_cstr(vendor),
    };
    ck_assert_int_eq(cw_indexer_add(indexer, &source, NULL), CW_OK);
}

static void write_index(struct cw_indexer *indexer)
{
    struct cw_str bytes;
    cw_str_init(&bytes, CW_INDEX_BYTES_MAX);
    ck_assert_int_eq(cw_indexer_emit(indexer, &bytes, NULL), CW_OK);
    ck_assert_int_eq(cw_file_replace(path, 0640, cw_str_span(&bytes), NULL), CW_OK);
    cw_str_release(&bytes);
    cw_indexer_free(indexer);
}

static void setup_catalogue(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/index", folder);
    struct cw_indexer *indexer = cw_indexer_new();
    ck_assert_ptr_nonnull(indexer);
    for (uint32_t i = 0; i < SIZE; i++) {
        struct catalogue_entry e;
        catalogue_entry(i, &e);
        add(indexer, id_of(i), &e, i % 2 == 0 ? "epic" : "cerner");
    }
    static const struct catalogue_entry odd[] = {
        { .name = "H\xc3\xb4pital Sainte-Ang\xc3\xa8le", .city = "Zweibr\xc3\xbc" "cken", .host = "odd1.example" },
        { .name = "Quorvex", .city = "Elsewhere", .host = "odd2.example" },
        { .name = "Quorvex Annex of the North", .city = "Elsewhere", .host = "odd3.example" },
        { .name = "Annex Quorvexley", .city = "Quorvex", .host = "odd4.example" },
        { .name = "Plain Clinic", .city = "Elsewhere", .state = "TX", .host = "odd5.example", .alias = "Vantoberry House" },
    };
    for (uint32_t i = 0; i < CW_ARRAY_LEN(odd); i++) {
        add(indexer, id_of(SIZE + i), &odd[i], "epic");
    }
    write_index(indexer);
    search = cw_search_new(path);
    ck_assert_ptr_nonnull(search);
}

static void teardown_catalogue(void)
{
    cw_search_free(search);
    (void)unlink(path);
    (void)rmdir(folder);
}

static size_t ask(const char *text, struct cw_search_hit *hits, size_t max)
{
    struct cw_search_ask question = { .text = cw_span_cstr(text) };
    size_t count = 99;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_search_run(search, &question, hits, max, &count, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", text, err.text);
    ck_assert_uint_le(count, max);
    return count;
}

static bool found(const char *text, uint32_t at)
{
    struct cw_search_hit hits[10];
    size_t count = ask(text, hits, 10);
    for (size_t i = 0; i < count; i++) {
        if (cw_ulid_eq(hits[i].id.ulid, id_of(at).ulid)) {
            return true;
        }
    }
    return false;
}

START_TEST(known_items)
{
    unsigned hits = 0;
    for (uint32_t i = 0; i < QUERIES; i++) {
        uint32_t at = i * 7919u % SIZE;
        struct catalogue_entry e;
        char query[128];
        catalogue_entry(at, &e);
        catalogue_query(&e, (enum catalogue_query)_i, i, query, sizeof(query));
        bool good = found(query, at);
        hits += good;
        if (!good && getenv("SEARCH_VERBOSE") != NULL) {
            printf("missed: %s (%s, %s)\n", query, e.name, e.city);
        }
    }
    ck_assert_msg(hits * 100 >= QUERIES * 97, "class %d: %u of %u", _i, hits, QUERIES);
}
END_TEST

START_TEST(other_fields)
{
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t at = i * 7u * 131u % SIZE;
        struct catalogue_entry e;
        catalogue_entry(at, &e);
        char url[128];
        (void)snprintf(url, sizeof(url), "https://%s/api/FHIR/R4/", e.host);
        ck_assert_msg(found(e.host, at), "host %s", e.host);
        ck_assert_msg(found(url, at), "url %s", url);
        ck_assert_msg(found(e.zip, at), "zip %s", e.zip);
        ck_assert_msg(e.alias[0] == '\0' || found(e.alias, at), "alias %s", e.alias);
    }
}
END_TEST

static const struct {
    const char *query;
    uint32_t at;
} odd_rows[] = {
    { "hopital sainte angele", 0 }, { "HOPITAL", 0 }, { "H\xc3\xb4pital", 0 }, { "zweibrucken", 0 }, { "hopitl angele", 0 },
    { "vantoberry", 4 }, { "vantobery house", 4 }, { "quorvex annex", 2 }, { "annex quorvexley", 3 },
    { "qan", 2 }, { "plain clinic texas", 4 }, { "plain clinic tx", 4 }, { "odd3.example", 2 },
};

START_TEST(odd_names)
{
    ck_assert_msg(found(odd_rows[_i].query, SIZE + odd_rows[_i].at), "%s", odd_rows[_i].query);
}
END_TEST

/* Whole name before beginning of a name before all words. */
START_TEST(order)
{
    struct cw_search_hit hits[10];
    ck_assert_uint_ge(ask("quorvex", hits, 10), 3);
    ck_assert(cw_ulid_eq(hits[0].id.ulid, id_of(SIZE + 1).ulid));
    ck_assert(cw_ulid_eq(hits[1].id.ulid, id_of(SIZE + 2).ulid));
    ck_assert(cw_ulid_eq(hits[2].id.ulid, id_of(SIZE + 3).ulid));
    ck_assert_uint_ge(hits[0].score, hits[1].score);
    ck_assert_uint_ge(hits[1].score, hits[2].score);
}
END_TEST

START_TEST(vendor_filter)
{
    struct cw_search_hit hits[50];
    size_t count;
    const struct cw_search_ask question = { .text = CW_SPAN("memorial hospital"), .vendor = CW_SPAN("cerner") };
    ck_assert_int_eq(cw_search_run(search, &question, hits, 50, &count, NULL), CW_OK);
    for (size_t i = 0; i < count; i++) {
        uint32_t at;
        memcpy(&at, hits[i].id.ulid.bytes + 6, sizeof(at));
        ck_assert_uint_eq(at % 2, 1);
    }
    const struct cw_search_ask nobody = { .text = CW_SPAN("memorial hospital"), .vendor = CW_SPAN("nobody") };
    ck_assert_int_eq(cw_search_run(search, &nobody, hits, 50, &count, NULL), CW_OK);
    ck_assert_uint_eq(count, 0);
}
END_TEST

static const char *const nothing[] = { "", "   ", "---", "\xff\xfe", "\xf0\x9f\x8f\xa5", "qqqqzzzzxxxx", "'; drop table source" };

START_TEST(finds_nothing)
{
    struct cw_search_hit hits[10];
    ck_assert_uint_eq(ask(nothing[_i], hits, 10), 0);
}
END_TEST

START_TEST(long_queries)
{
    char text[CW_SEARCH_TEXT_MAX + 2];
    struct cw_search_hit hits[CW_SEARCH_HITS_MAX];
    for (size_t len = CW_SEARCH_TEXT_MAX - 1; len <= CW_SEARCH_TEXT_MAX + 1; len++) {
        memset(text, 'a', len);
        text[len] = '\0';
        (void)ask(text, hits, CW_SEARCH_HITS_MAX);
        for (size_t i = 1; i < len; i += 2) {
            text[i] = ' ';
        }
        (void)ask(text, hits, CW_SEARCH_HITS_MAX);
    }
    ck_assert_uint_eq(ask("hospital", hits, CW_SEARCH_HITS_MAX), CW_SEARCH_HITS_MAX);
    ck_assert_uint_eq(cw_search_count(search), SIZE + 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalog/known items");
    TCase *tcase = tcase_create("search");
    tcase_set_timeout(tcase, 300);
    tcase_add_unchecked_fixture(tcase, setup_catalogue, teardown_catalogue);
    tcase_add_loop_test(tcase, known_items, 0, CATALOGUE__COUNT);
    tcase_add_test(tcase, other_fields);
    tcase_add_loop_test(tcase, odd_names, 0, (int)CW_ARRAY_LEN(odd_rows));
    tcase_add_test(tcase, order);
    tcase_add_test(tcase, vendor_filter);
    tcase_add_loop_test(tcase, finds_nothing, 0, (int)CW_ARRAY_LEN(nothing));
    tcase_add_test(tcase, long_queries);
    suite_add_tcase(suite, tcase);
    Suite *const suites[] = { suite, NULL };
    return cw_check_main(suites);
}
