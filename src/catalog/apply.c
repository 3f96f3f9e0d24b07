/* SPDX-License-Identifier: Apache-2.0 */
/* What was read goes to the model, with the hash that the import is remembered by; then the search index is made anew. */
#include "config.h"

#include "catalog/import.h"

#include "catalog/index.h"
#include "vault/vault.h"

enum cw_code cw_catalog_import(struct cw_model *model, const struct cw_actor *actor, enum cw_environment environment,
                               struct cw_span file, const struct cw_catalog *catalog, struct cw_import_counts *ret,
                               struct cw_err *err)
{
    uint8_t content_hash[CW_HASH_LEN];
    cw_sha256(file, content_hash);
    enum cw_code rc = cw_source_import(model, actor, environment, catalog->format, content_hash, catalog->rows,
                                       catalog->count, (unsigned)catalog->reject_count, ret, err);
    if (rc != CW_OK) {
        return rc;
    }
    /* Also when nothing changed: the file may have been lost since, and an import must bring it back. */
    size_t indexed;
    rc = cw_index_refresh(model, environment, &indexed, err);
    return rc == CW_OK ? CW_OK : cw_err_wrap(err, "imported, but the search index was not written");
}
