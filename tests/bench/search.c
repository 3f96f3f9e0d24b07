/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a search takes: an invented catalogue of N sources (100,000 unless told), 1,000 queries of each kind, in this process and thread.
 * Prints the time to build the index, its size, and per kind: found among ten, median and 99th percentile.
 *
 *   make search_bench && ./search_bench [N]
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/catalogue.h"
#include "catalog/index.h"
#include "catalog/search.h"
#include "os/sys.h"

#define QUERIES 1000u

static struct cw_source_id id_of(uint32_t at)
{
    uint8_t random[10] = { 0 };
    memcpy(random, &at, sizeof at);
    return (struct cw_source_id){ cw_ulid_make(1, random) };
}

static enum cw_code add(struct cw_indexer *indexer, uint32_t at)
{
    struct catalogue_entry e;
    catalogue_entry(at, &e);
    const struct cw_source source = {
        .id = id_of(at), .name = cw_span_cstr(e.name), .city = cw_span_cstr(e.city), .state = cw_span_cstr(e.state),
        .postal_code = cw_span_cstr(e.zip), .base_url = cw_span_cstr(e.host), .aliases = cw_span_cstr(e.alias),
    };
    return cw_indexer_add(indexer, &source, NULL);
}

static enum cw_code build(const char *path, uint32_t sources)
{
    int64_t begin = cw_monotonic_us();
    struct cw_str bytes;
    cw_str_init(&bytes, CW_INDEX_BYTES_MAX);
    struct cw_indexer *indexer = cw_indexer_new();
    enum cw_code rc = indexer == NULL ? CW_E_OOM : CW_OK;
    for (uint32_t i = 0; i < sources && rc == CW_OK; i++) {
        rc = add(indexer, i);
    }
    if (rc == CW_OK) {
        rc = cw_indexer_emit(indexer, &bytes, NULL);
    }
    if (rc == CW_OK) {
        rc = cw_file_replace(path, 0600, cw_str_span(&bytes), NULL);
        printf("%u sources: built in %.2f s, %.1f MB\n", (unsigned)sources, (double)(cw_monotonic_us() - begin) / 1e6,
               (double)bytes.len / 1e6);
    }
    cw_indexer_free(indexer);
    cw_str_release(&bytes);
    return rc;
}

static int by_time(const void *left, const void *right)
{
    const int64_t *a = left;
    const int64_t *b = right;
    return (*a > *b) - (*a < *b);
}

static enum cw_code run_kind(struct cw_search *search, uint32_t sources, enum catalogue_query kind, const char *name)
{
    static int64_t took[QUERIES];
    unsigned found = 0;
    for (uint32_t i = 0; i < QUERIES; i++) {
        uint32_t at = (uint32_t)((uint64_t)i * 7919u % sources);
        struct catalogue_entry e;
        char query[128];
        catalogue_entry(at, &e);
        catalogue_query(&e, kind, i, query, sizeof query);
        const struct cw_search_ask ask = { .text = cw_span_cstr(query) };
        struct cw_search_hit hits[10];
        size_t count = 0;
        int64_t begin = cw_monotonic_us();
        enum cw_code rc = cw_search_run(search, &ask, hits, 10, &count, NULL);
        took[i] = cw_monotonic_us() - begin;
        if (rc != CW_OK) {
            return rc;
        }
        for (size_t h = 0; h < count; h++) {
            found += cw_ulid_eq(hits[h].id.ulid, id_of(at).ulid);
        }
    }
    qsort(took, QUERIES, sizeof took[0], by_time);
    printf("  %-13s found %.1f %%  p50 %.2f ms  p99 %.2f ms\n", name, 100.0 * found / QUERIES, (double)took[QUERIES / 2] / 1e3,
           (double)took[QUERIES * 99 / 100] / 1e3);
    return CW_OK;
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "prefix", "typo", "abbreviation", "city" };
    uint64_t sources = 100000;
    char path[] = "/tmp/search_bench-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0 || (argc > 1 && !cw_span_u64(cw_span_cstr(argv[1]), CW_INDEX_SOURCES_MAX, &sources)) || sources == 0) {
        fputs("usage: search_bench [SOURCES]\n", stderr);
        return EXIT_FAILURE;
    }
    enum cw_code rc = build(path, (uint32_t)sources);
    struct cw_search *search = cw_search_new(path);
    for (unsigned kind = 0; kind < CATALOGUE__COUNT && rc == CW_OK && search != NULL; kind++) {
        rc = run_kind(search, (uint32_t)sources, (enum catalogue_query)kind, names[kind]);
    }
    cw_search_free(search);
    (void)unlink(path);
    return rc == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
