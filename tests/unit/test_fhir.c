/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the suites of the fhir room. */
#include "config.h"

#include "test_fhir.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "../lib/check_main.h"

struct cw_arena *fhir_arena;

void fhir_setup(void)
{
    fhir_arena = cw_arena_new(64u * 1024u * 1024u);
    ck_assert_ptr_nonnull(fhir_arena);
}

void fhir_teardown(void)
{
    cw_arena_free(fhir_arena);
    fhir_arena = NULL;
}

static void source_path(const char *path, char out[PATH_MAX])
{
    const char *srcdir = getenv("srcdir");
    ck_assert_int_lt(path[0] == '/' ? snprintf(out, PATH_MAX, "%s", path)
                                    : snprintf(out, PATH_MAX, "%s/%s", srcdir == NULL ? "." : srcdir, path),
                     PATH_MAX);
}

struct cw_span fhir_file(const char *path)
{
    char full[PATH_MAX];
    source_path(path, full);
    FILE *file = fopen(full, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", full);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    ck_assert_int_ge(size, 0);
    rewind(file);
    char *bytes = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    return cw_span_of(bytes, (size_t)size);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

size_t fhir_each_file(const char *folder, fhir_file_fn *fn)
{
    char full[PATH_MAX];
    source_path(folder, full);
    struct dirent **entries;
    int count = scandir(full, &entries, visible, alphasort);
    ck_assert_msg(count >= 0, "cannot read %s", full);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        ck_assert_int_lt(snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name), PATH_MAX);
        struct cw_span content = fhir_file(path);
        fn(entries[i]->d_name, content);
        free((void *)(uintptr_t)content.ptr);
        free(entries[i]);
    }
    free(entries);
    return (size_t)count;
}

int main(void)
{
    Suite *const suites[] = { suite_fhir_slice(), suite_fhir_references(), suite_fhir_identifier(), suite_fhir_plan(), suite_fhir_link(),
                              suite_fhir_recorded(), suite_catalog_import(), NULL };
    return cw_check_main(suites);
}
