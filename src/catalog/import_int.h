/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the importers: drafts of rows go in, rows and rejects come out. Private to catalog/. */
#ifndef CW_CATALOG_IMPORT_INT_H
#define CW_CATALOG_IMPORT_INT_H

#include <stdint.h>

#include "base/json.h"
#include "base/scan.h"
#include "catalog/import.h"

struct importer {
    const struct cw_catalog_options *options;
    struct cw_arena *arena;
    struct cw_catalog *catalog;
    size_t row_room, reject_room;
    uint32_t *seen;      /* hash table over the rows' identity: row + 1, 0 free; heap */
    size_t seen_room;    /* a power of two */
    struct cw_err *err;  /* never NULL */
};

/* What a format says about one row; spans are borrowed until cw_importer_add returns. Absent: not told. */
struct draft {
    size_t position;
    struct cw_span name, brand, aliases;   /* aliases: one a line */
    struct cw_span portal_name, portal_url, logo_url;
    struct cw_span line, city, state, postal_code, country;
    struct cw_span url, fhir_version;
};

/* Takes the draft as a row or puts it to the rejects. False: memory or a limit, err is set. */
bool cw_importer_add(struct importer *im, const struct draft *draft) CW_MUST_USE;
bool cw_importer_reject(struct importer *im, size_t position, const char *reason, struct cw_span name, struct cw_span url)
    CW_MUST_USE;
/* One element of a file as a small tree; *ret NULL with success when it was put to the rejects. */
bool cw_importer_element(struct importer *im, size_t position, struct cw_span json, json_t **ret) CW_MUST_USE;

/* Entries of a Bundle: the bytes of the array. */
bool cw_importer_bundle(struct importer *im, struct cw_span entries) CW_MUST_USE;

#endif
