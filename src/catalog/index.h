/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search index as a file: built from all live sources of one environment, written whole, replaced by rename. catalog/search.h reads it.
 *
 * Layout, all numbers little-endian and all offsets from the start of the file: a header, the table of sources (id, vendor, folded name),
 * the sorted vocabulary, its postings, and the texts that both point to; a SHA-256 over all of it stands at the end, so that a damaged
 * file is refused when it is opened and never while a patient types.
 */
#ifndef CW_CATALOG_INDEX_H
#define CW_CATALOG_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "model/source.h"

/* Appends "{state_dir}/search-{environment}.index". */
enum cw_code cw_index_path(const struct cw_config *config, enum cw_environment environment, struct cw_str *out)
    CW_NONNULL(1, 3);

/* Reads every live source of the environment and replaces the index file at cw_index_path. Part of each
 * import. *ret_count: sources in it. */
enum cw_code cw_index_refresh(struct cw_model *model, enum cw_environment environment, size_t *ret_count,
                              struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;

/* Keeps this node's index files fresh, called every now and then by a daemon: writes the file of an environment when its catalogue has changed
 * since the last call, at the first call, and when the file is gone. A zeroed keeper starts. *ret_written: files written; set on success alone.
 * An environment that fails is tried again at the next call. */
struct cw_index_keeper {
    struct {
        bool known;
        uint64_t generation;
    } at[CW_ENV_PRODUCTION + 1];
};
enum cw_code cw_index_keep(struct cw_model *model, struct cw_index_keeper *keeper, unsigned *ret_written, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* The same in steps, for tests: sources are copied as needed. */
struct cw_indexer;
void cw_indexer_free(struct cw_indexer *indexer);
struct cw_indexer *cw_indexer_new(void) CW_MUST_USE CW_MALLOC(cw_indexer_free);
/* CW_E_OOM, CW_E_TOO_BIG (over CW_INDEX_SOURCES_MAX). */
enum cw_code cw_indexer_add(struct cw_indexer *indexer, const struct cw_source *source, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Appends the bytes of the file. */
enum cw_code cw_indexer_emit(struct cw_indexer *indexer, struct cw_str *out, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;

#define CW_INDEX_SOURCES_MAX 1000000u
#define CW_INDEX_BYTES_MAX ((size_t)1u << 30)

#endif
