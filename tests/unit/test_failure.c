/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of failures against everything that must follow it: the locales, the sources, the operator's page. A code without a part,
 * a code that nothing uses and a code that went around the table all fail here.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/failure.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "web/template.h"

#define SOURCES_MAX (8u * 1024u * 1024u)

static struct cw_templates *templates;
static struct cw_str
    sources; /* src/, but the table itself, the wire's own codes in web/ and the hospital's in sandbox/ */

static void read_sources(const char *folder)
{
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        struct cw_span name = cw_span_cstr(entry->d_name);
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            strcmp(entry->d_name, "web") != 0 && strcmp(entry->d_name, "sandbox") != 0) {
            read_sources(path);
        } else if ((cw_span_ends(name, CW_SPAN(".c")) || cw_span_ends(name, CW_SPAN(".h"))) &&
                   !cw_span_starts(name, CW_SPAN("failure."))) {
            CW_AUTO_STR text;
            cw_str_init(&text, 1u << 20);
            ck_assert_int_eq(cw_file_read(path, false, &text, NULL), CW_OK);
            ck_assert_int_eq(cw_str_add_span(&sources, cw_str_span(&text)), CW_OK);
        }
    }
    (void)closedir(dir);
}

static void text_of(const char *language, const char *prefix, const char *code, const char *suffix,
                    struct cw_str *out)
{
    char key[160];
    (void)snprintf(key, sizeof key, "%s.%s%s", prefix, code, suffix);
    ck_assert_msg(cw_locale_has(templates, key), "no locale text \"%s\"", key);
    ck_assert_int_eq(cw_locale_text(templates, language, key, NULL, out), CW_OK);
    ck_assert_msg(out->len >= 10, "%s: \"%s\" says nothing", language, key);
}

static const char *const card[] = { ".title", ".cause", ".next" };

START_TEST(each_code_has_all_its_parts_in_all_languages)
{
    size_t count;
    const struct cw_failure *table = cw_failure_table(&count);
    ck_assert_uint_ge(cw_language_count(templates), 2);
    for (size_t l = 0; l < cw_language_count(templates); l++) {
        const char *language = cw_language_at(templates, l, NULL);
        for (size_t i = 0; i < count; i++) {
            CW_AUTO_STR text;
            cw_str_init(&text, 1024);
            text_of(language, "failure", table[i].code, "", &text);
            for (size_t part = 0; part < CW_ARRAY_LEN(card); part++) {
                cw_str_clear(&text);
                text_of(language, "operator", table[i].code, card[part], &text);
                ck_assert_msg(part > 0 || text.len <= 60, "%s: the title of %s is too long",
                              language, table[i].code);
            }
        }
    }
}
END_TEST

START_TEST(rows_are_sound)
{
    size_t count;
    const struct cw_failure *table = cw_failure_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct cw_failure *f = &table[i];
        ck_assert_msg(f->of != 0, "%s ends nothing", f->code);
        ck_assert_msg(f->who != CW_WHO_PATIENT || f->step != CW_STEP_NONE,
                      "%s: the patient must act, but how?", f->code);
        ck_assert_msg(f->severity != CW_SEVERITY_ERROR || f->who != CW_WHO_NOBODY,
                      "%s: an error that nobody mends", f->code);
        ck_assert_msg(f->step != CW_STEP_NONE || !f->retry, "%s: a retry without a step", f->code);
        ck_assert_ptr_eq(cw_failure_find(cw_span_cstr(f->code)), f);
    }
    ck_assert_ptr_null(cw_failure_find(CW_SPAN("user_denie")));
    ck_assert_ptr_null(cw_failure_find((struct cw_span){ NULL, 0 }));
    ck_assert_str_eq(cw_failure_known("user_denied", CW_FAILS_ATTEMPT), CW_FAIL_USER_DENIED);
}
END_TEST

/* "CW_FAIL_X" in the sources, as a whole word. */
static bool uses(const char *name)
{
    struct cw_span all = cw_str_span(&sources);
    size_t len = strlen(name);
    for (const char *at = all.ptr;
         (at = memmem(at, (size_t)(all.ptr + all.len - at), name, len)) != NULL; at += len) {
        char after = at + len < all.ptr + all.len ? at[len] : ' ';
        if (after != '_' && (after < 'A' || after > 'Z')) {
            return true;
        }
    }
    return false;
}

/* Each "#define CW_FAIL_…" of the header has a row, and is used; the table has no row besides. */
START_TEST(the_header_the_table_and_the_sources_agree)
{
    CW_AUTO_STR header;
    cw_str_init(&header, 65536);
    ck_assert_int_eq(cw_file_read(CW_TEST_SRCDIR "/src/model/failure.h", false, &header, NULL),
                     CW_OK);
    static const char begin[] = "#define CW_FAIL_";
    size_t defined = 0, rows = 0;
    (void)cw_failure_table(&rows);
    for (const char *at = cw_str_cstr(&header); (at = strstr(at, begin)) != NULL; defined++) {
        char name[64] = "", code[64] = "";
        at += strlen("#define ");
        size_t len = strcspn(at, " \n");
        ck_assert_uint_lt(len, sizeof name);
        memcpy(name, at, len);
        const char *quote = strchr(at, '"');
        ck_assert_ptr_nonnull(quote);
        size_t code_len = strcspn(quote + 1, "\"");
        ck_assert_uint_lt(code_len, sizeof code);
        memcpy(code, quote + 1, code_len);
        ck_assert_msg(cw_failure_find(cw_span_cstr(code)) != NULL, "%s has no row in failure.c",
                      name);
        ck_assert_msg(uses(name), "nothing in src/ uses %s", name);
    }
    ck_assert_uint_eq(defined, rows);
}
END_TEST

START_TEST(no_source_goes_around_the_table)
{
    size_t count;
    const struct cw_failure *table = cw_failure_table(&count);
    for (size_t i = 0; i < count; i++) {
        char literal[80];
        (void)snprintf(literal, sizeof literal, "\"%s\"", table[i].code);
        ck_assert_msg(memmem(cw_str_cstr(&sources), sources.len, literal, strlen(literal)) == NULL,
                      "%s stands in the sources as a literal: write its CW_FAIL_ name", literal);
    }
}
END_TEST

static void of_names(unsigned of, struct cw_str *out)
{
    static const char *const names[] = { "attempt", "connection", "pull" };
    const char *between = "";
    for (unsigned bit = 0; bit < CW_ARRAY_LEN(names); bit++) {
        if ((of & 1u << bit) != 0) {
            (void)cw_str_addf(out, "%s%s", between, names[bit]);
            between = ", ";
        }
    }
}

static void document(struct cw_str *out)
{
    size_t count;
    const struct cw_failure *table = cw_failure_table(&count);
    (void)cw_str_add_cstr(out,
                          "# Failures\n\n"
                          "Every way in which a connection can fail: the code that the app gets, "
                          "what the patient reads, and the card that the\n"
                          "operator gets (`chartwayctl attempt show`). Written by `CW_UPDATE_DOC=1 "
                          "tests/unit/test_failure` from `src/model/failure.c`\n"
                          "and `www/locales/en.json`; the test compares.\n");
    for (size_t i = 0; i < count; i++) {
        const struct cw_failure *f = &table[i];
        (void)cw_str_addf(out, "\n## `%s`\n\n**", f->code);
        text_of("en", "operator", f->code, ".title", out);
        (void)cw_str_add_cstr(out, "** (");
        of_names(f->of, out);
        (void)cw_str_addf(out, "; %s; to act: %s; retry: %s; patient's step: %s)\n\n> ",
                          cw_failure_severity_name(f->severity), cw_failure_who_name(f->who),
                          f->retry ? "yes" : "no", cw_failure_step_name(f->step));
        text_of("en", "failure", f->code, "", out);
        (void)cw_str_add_cstr(out, "\n\nCause: ");
        text_of("en", "operator", f->code, ".cause", out);
        (void)cw_str_add_cstr(out, "\nNext: ");
        text_of("en", "operator", f->code, ".next", out);
        (void)cw_str_add_char(out, '\n');
    }
}

START_TEST(the_page_in_doc_is_the_table)
{
    static const char path[] = CW_TEST_SRCDIR "/doc/failures.md";
    CW_AUTO_STR want;
    CW_AUTO_STR have;
    cw_str_init(&want, 1u << 20);
    cw_str_init(&have, 1u << 20);
    document(&want);
    ck_assert_int_eq(cw_str_code(&want), CW_OK);
    if (getenv("CW_UPDATE_DOC") != NULL) {
        FILE *file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fwrite(cw_str_cstr(&want), 1, want.len, file), want.len);
        ck_assert_int_eq(fclose(file), 0);
    }
    ck_assert_int_eq(cw_file_read(path, false, &have, NULL), CW_OK);
    ck_assert_msg(cw_span_eq(cw_str_span(&want), cw_str_span(&have)),
                  "doc/failures.md differs: CW_UPDATE_DOC=1 tests/unit/test_failure");
}
END_TEST

static void load(void)
{
    struct cw_err err = { .code = CW_OK };
    ck_assert_msg(cw_templates_load(CW_TEST_SRCDIR "/www", &templates, &err) == CW_OK, "%s",
                  err.text);
    cw_str_init(&sources, SOURCES_MAX);
    read_sources(CW_TEST_SRCDIR "/src");
}

static void unload(void)
{
    cw_str_release(&sources);
    cw_templates_free(templates);
}

int main(void)
{
    Suite *suite = suite_create("failure");
    TCase *tcase = tcase_create("failure");
    tcase_add_unchecked_fixture(tcase, load, unload);
    tcase_add_test(tcase, each_code_has_all_its_parts_in_all_languages);
    tcase_add_test(tcase, rows_are_sound);
    tcase_add_test(tcase, the_header_the_table_and_the_sources_agree);
    tcase_add_test(tcase, no_source_goes_around_the_table);
    tcase_add_test(tcase, the_page_in_doc_is_the_table);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
