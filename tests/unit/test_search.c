/* SPDX-License-Identifier: Apache-2.0 */
/* The search: what is found and in which order, the file's life, and files that are not ours. */
#include "config.h"

#include <pthread.h>
#include <unistd.h>

#include "../lib/check_main.h"
#include "base/str.h"
#include "base/time.h"
#include "catalog/index.h"
#include "catalog/index_int.h"
#include "catalog/match.h"
#include "catalog/search.h"
#include "os/sys.h"

static const struct cw_source table[] = {
    { .name = CW_SPAN("Mayo Clinic"), .city = CW_SPAN("Rochester"), .state = CW_SPAN("MN"),
      .base_url = CW_SPAN("https://fhir.mayo.example/r4"), .vendor = CW_SPAN("epic"), .postal_code = CW_SPAN("55905") },
    { .name = CW_SPAN("Mayo Clinic Health System"), .city = CW_SPAN("Eau Claire"), .state = CW_SPAN("WI"),
      .base_url = CW_SPAN("https://fhir.mayohs.example/r4"), .vendor = CW_SPAN("epic") },
    { .name = CW_SPAN("Saint Josef Hospital"), .city = CW_SPAN("Denver"), .base_url = CW_SPAN("https://ehr.josef.example"),
      .vendor = CW_SPAN("cerner") },
    { .name = CW_SPAN("Josefina Family Practice"), .city = CW_SPAN("Austin"),
      .base_url = CW_SPAN("https://a1.example/fhir"), .vendor = CW_SPAN("athena") },
    { .name = CW_SPAN("Städtisches Klinikum München"), .city = CW_SPAN("München"),
      .base_url = CW_SPAN("https://k.example/fhir") },
    { .name = CW_SPAN("Kaiser Permanente"), .aliases = CW_SPAN("Group Health\nKP Northwest"),
      .base_url = CW_SPAN("https://kp.example/fhir") },
    { .name = CW_SPAN("Rochester Regional"), .city = CW_SPAN("Rochester"), .state = CW_SPAN("NY"),
      .base_url = CW_SPAN("https://rr.example/fhir") },
    { .name = CW_SPAN("大学病院"), .base_url = CW_SPAN("https://u.example/fhir") },
    { .name = CW_SPAN("Clinic of Mayo Street"), .base_url = CW_SPAN("https://ms.example/fhir") },
};

static struct cw_source numbered(size_t at)
{
    struct cw_source source = table[at];
    source.id.ulid.bytes[15] = (uint8_t)(at + 1);
    return source;
}

static void build(struct cw_str *out, size_t count)
{
    struct cw_indexer *indexer = cw_indexer_new();
    for (size_t i = 0; i < count; i++) {
        struct cw_source source = numbered(i);
        ck_assert_int_eq(cw_indexer_add(indexer, &source, NULL), CW_OK);
    }
    cw_str_init(out, CW_INDEX_BYTES_MAX);
    ck_assert_int_eq(cw_indexer_emit(indexer, out, NULL), CW_OK);
    cw_indexer_free(indexer);
}

struct found {
    struct cw_search_hit hits[CW_SEARCH_HITS_MAX];
    size_t count;
};

static struct found ask(const struct cw_index_view *view, const char *text, const char *vendor)
{
    struct found found = { .count = 0 };
    const struct cw_search_ask question = { .text = cw_span_cstr(text), .vendor = cw_span_cstr(vendor) };
    ck_assert_int_eq(cw_match_run(view, &question, found.hits, CW_SEARCH_HITS_MAX, &found.count, NULL), CW_OK);
    for (size_t i = 1; i < found.count; i++) {
        ck_assert_uint_ge(found.hits[i - 1].score, found.hits[i].score);
    }
    return found;
}

static int at(const struct found *found, size_t place)
{
    return place < found->count ? found->hits[place].id.ulid.bytes[15] - 1 : -1;
}

START_TEST(finds_what_is_meant)
{
    static const struct {
        const char *text;
        int first;
    } rows[] = {
        { "mayo clinic", 0 },           /* the whole name before longer ones */
        { "MAYO  CLINIC", 0 },
        { "mayo clinic hea", 1 },
        { "may", 0 },
        { "clinic mayo", 0 },           /* all words; the shortest name */
        { "mayo rochester", 0 },
        { "rochester", 6 },             /* the name before the town */
        { "55905", 0 },
        { "eau claire", 1 },
        { "st josef hosp", 2 },
        { "saint josef", 2 },
        { "josef", 3 },                 /* beginning of a name before a word in it */
        { "munchen", 4 },
        { "münchen", 4 },
        { "klinikum munch", 4 },
        { "group health", 5 },
        { "kp nw", 5 },
        { "mayohs", 1 },                /* by host */
        { "mayp clinic", 0 },           /* a typing error */
        { "rohcester", 6 },             /* swapped neighbours */
        { "permanante", 5 },
        { "kaizer", 5 },
        { "大学", 7 },
        { "mayo zzzzzz", 0 },           /* half of the words */
    };
    CW_AUTO_STR file;
    build(&file, CW_ARRAY_LEN(table));
    struct cw_index_view view;
    ck_assert_int_eq(cw_index_open(cw_str_span(&file), &view, NULL), CW_OK);
    ck_assert_uint_eq(view.source_count, CW_ARRAY_LEN(table));
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct found found = ask(&view, rows[i].text, NULL);
        ck_assert_msg(at(&found, 0) == rows[i].first, "%s: %d, not %d", rows[i].text, at(&found, 0), rows[i].first);
    }
}
END_TEST

START_TEST(order_filter_and_nothing)
{
    CW_AUTO_STR file;
    build(&file, CW_ARRAY_LEN(table));
    struct cw_index_view view;
    ck_assert_int_eq(cw_index_open(cw_str_span(&file), &view, NULL), CW_OK);
    struct found found = ask(&view, "mayo clinic", NULL);
    ck_assert_uint_eq(found.count, 3);
    ck_assert_int_eq(at(&found, 1), 1);
    ck_assert_int_eq(at(&found, 2), 8);
    found = ask(&view, "josef", "cerner");
    ck_assert_uint_eq(found.count, 1);
    ck_assert_int_eq(at(&found, 0), 2);
    static const char *const nothing[] = { "", "   ", "!?*", "zzzzzz", "\xff\xfe", "q" };
    for (size_t i = 0; i < CW_ARRAY_LEN(nothing); i++) {
        found = ask(&view, nothing[i], NULL);
        ck_assert_msg(found.count == 0, "row %zu: %zu", i, found.count);
    }
    struct cw_search_hit one;
    size_t count;
    const struct cw_search_ask question = { .text = CW_SPAN("mayo clinic") };
    ck_assert_int_eq(cw_match_run(&view, &question, &one, 1, &count, NULL), CW_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(one.id.ulid.bytes[15], 1);
}
END_TEST

START_TEST(long_texts_are_bounded)
{
    CW_AUTO_STR file;
    build(&file, CW_ARRAY_LEN(table));
    struct cw_index_view view;
    ck_assert_int_eq(cw_index_open(cw_str_span(&file), &view, NULL), CW_OK);
    static char text[4096];
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] = i % 5 == 4 ? ' ' : 'm';
    }
    (void)ask(&view, text, NULL);
    memset(text, 'm', sizeof text - 1);
    (void)ask(&view, text, NULL);
    memcpy(text, "mayo clinic", 11);
    memset(text + 11, ' ', sizeof text - 12);
    struct found found = ask(&view, text, NULL);
    ck_assert_int_eq(at(&found, 0), 0);
}
END_TEST

START_TEST(errors_counted)
{
    static const struct {
        const char *typed, *word;
        unsigned errors;
    } rows[] = {
        { "mayo", "mayo", 0 },  { "may", "mayo", 0 },    { "mayp", "mayo", 1 },     { "maayo", "mayo", 1 },
        { "myo", "mayo", 1 },   { "amyo", "mayo", 1 },   { "mayor", "mayo", 1 },    { "hospitle", "hospital", 2 },
        { "abcd", "wxyz", 3 },  { "", "mayo", 0 },       { "hsopitla", "hospital", 2 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        unsigned errors = cw_match_errors(cw_span_cstr(rows[i].typed), cw_span_cstr(rows[i].word), 2);
        ck_assert_msg(rows[i].errors > 2 ? errors > 2 : errors == rows[i].errors, "%s/%s: %u", rows[i].typed,
                      rows[i].word, errors);
    }
}
END_TEST

START_TEST(an_empty_catalogue)
{
    CW_AUTO_STR file;
    build(&file, 0);
    struct cw_index_view view;
    ck_assert_int_eq(cw_index_open(cw_str_span(&file), &view, NULL), CW_OK);
    ck_assert_uint_eq(ask(&view, "mayo", NULL).count, 0);
}
END_TEST

/* Puts a fitting hash under changed bytes, so that the tables themselves are what is judged. */
static enum cw_code open_rehashed(struct cw_str *file)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(cw_span_upto(cw_str_span(file), file->len - CW_HASH_LEN), hash);
    memcpy(file->buf + file->len - CW_HASH_LEN, hash, sizeof hash);
    struct cw_index_view view;
    enum cw_code rc = cw_index_open(cw_str_span(file), &view, NULL);
    if (rc == CW_OK) {
        (void)ask(&view, "mayo clinic rochester", NULL); /* the sanitizer watches */
    }
    return rc;
}

START_TEST(damaged_files_are_refused)
{
    CW_AUTO_STR file;
    build(&file, CW_ARRAY_LEN(table));
    struct cw_index_view view;
    for (size_t i = 0; i < file.len; i += 3) {
        file.buf[i] ^= 0x10;
        ck_assert_int_eq(cw_index_open(cw_str_span(&file), &view, NULL), CW_E_CONFIG);
        file.buf[i] ^= 0x10;
    }
    for (size_t len = 0; len < file.len; len += 7) {
        ck_assert_int_eq(cw_index_open(cw_span_upto(cw_str_span(&file), len), &view, NULL), CW_E_CONFIG);
    }
    unsigned refused = 0;
    for (size_t i = 0; i < file.len - CW_HASH_LEN; i++) {
        char was = file.buf[i];
        file.buf[i] = (char)0xff;
        refused += open_rehashed(&file) == CW_OK ? 0 : 1;
        file.buf[i] = was;
    }
    ck_assert_uint_gt(refused, 100);
    ck_assert_int_eq(open_rehashed(&file), CW_OK);
}
END_TEST

/* --- the file --- */

struct place {
    char folder[32];
    char path[64];
};

static void place_init(struct place *place)
{
    memcpy(place->folder, "/tmp/cw-search-XXXXXX", 22);
    ck_assert_ptr_nonnull(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/index", place->folder);
}

static void place_release(struct place *place)
{
    (void)unlink(place->path);
    (void)rmdir(place->folder);
}

static void put(const struct place *place, size_t count)
{
    CW_AUTO_STR file;
    build(&file, count);
    ck_assert_int_eq(cw_file_replace(place->path, 0640, cw_str_span(&file), NULL), CW_OK);
}

static enum cw_code run(struct cw_search *search, size_t *ret_count)
{
    struct cw_search_hit hits[8];
    const struct cw_search_ask question = { .text = CW_SPAN("mayo clinic") };
    return cw_search_run(search, &question, hits, 8, ret_count, NULL);
}

START_TEST(file_comes_and_is_bad)
{
    struct place place;
    size_t count = 7;
    place_init(&place);
    struct cw_search *search = cw_search_new(place.path);
    ck_assert_int_eq(run(search, &count), CW_E_NOT_FOUND);
    ck_assert_int_eq(run(search, &count), CW_E_NOT_FOUND); /* within the pause between looks */
    ck_assert_uint_eq(cw_search_count(search), 0);
    cw_search_free(search);

    ck_assert_int_eq(cw_file_replace(place.path, 0640, CW_SPAN("not an index"), NULL), CW_OK);
    search = cw_search_new(place.path);
    ck_assert_int_eq(run(search, &count), CW_E_CONFIG);
    ck_assert_int_eq(run(search, &count), CW_E_CONFIG);
    cw_search_free(search);
    ck_assert_int_eq(cw_file_replace(place.path, 0640, CW_SPAN(""), NULL), CW_OK);
    search = cw_search_new(place.path);
    ck_assert_int_eq(run(search, &count), CW_E_CONFIG);
    cw_search_free(search);

    put(&place, 1);
    search = cw_search_new(place.path);
    ck_assert_int_eq(run(search, &count), CW_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(cw_search_count(search), 1);
    /* The file goes: what is mapped stays in use. */
    ck_assert_int_eq(unlink(place.path), 0);
    ck_assert_int_eq(run(search, &count), CW_OK);
    cw_search_free(search);
    cw_search_free(NULL);
    place_release(&place);
}
END_TEST

struct racer {
    struct cw_search *search;
    unsigned wrong;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    for (int i = 0; i < 500; i++) {
        size_t count = 0;
        racer->wrong += run(racer->search, &count) == CW_OK && count >= 1 ? 0 : 1;
    }
    return NULL;
}

START_TEST(threads_share_one_search)
{
    struct place place;
    place_init(&place);
    put(&place, CW_ARRAY_LEN(table));
    struct racer racers[3];
    pthread_t threads[3];
    struct cw_search *search = cw_search_new(place.path);
    for (int i = 0; i < 3; i++) {
        racers[i] = (struct racer){ .search = search };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(racers[i].wrong, 0);
    }
    cw_search_free(search);
    place_release(&place);
}
END_TEST

START_TEST(path_by_environment)
{
    struct cw_config *config = NULL;
    ck_assert_int_eq(cw_config_parse(CW_SPAN("[server]\norigin = https://cw.test\nstate_dir = /var/x\n"
                                             "[vault]\nmaster_keys = a=/k\n"), &config, NULL), CW_OK);
    CW_AUTO_STR text;
    cw_str_init(&text, 256);
    ck_assert_int_eq(cw_index_path(config, CW_ENV_PRODUCTION, &text), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&text), "/var/x/search-production.index");
    cw_config_free(config);
}
END_TEST

static Suite *search_suite(void)
{
    Suite *suite = suite_create("search");
    TCase *tc = tcase_create("search");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, finds_what_is_meant);
    tcase_add_test(tc, order_filter_and_nothing);
    tcase_add_test(tc, long_texts_are_bounded);
    tcase_add_test(tc, errors_counted);
    tcase_add_test(tc, an_empty_catalogue);
    tcase_add_test(tc, damaged_files_are_refused);
    tcase_add_test(tc, file_comes_and_is_bad);
    tcase_add_test(tc, threads_share_one_search);
    tcase_add_test(tc, path_by_environment);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    Suite *suites[] = { search_suite(), NULL };
    return cw_check_main(suites);
}
