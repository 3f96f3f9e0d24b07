/* SPDX-License-Identifier: Apache-2.0 */
/* An index file (without its hash, which is put under it here) behind one line of search text. Whatever opens must be searchable. */
#include "config.h"

#include "base/str.h"
#include "catalog/index.h"
#include "catalog/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span bytes = cw_span_of(data, size);
    struct cw_search_ask ask = { .vendor = { NULL, 0 } };
    if (!cw_span_cut(&bytes, '\n', &ask.text)) {
        return 0;
    }
    CW_AUTO_STR file; /* its own allocation: aligned, and ended by the sanitizer's red zone */
    cw_str_init(&file, CW_INDEX_BYTES_MAX);
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(bytes, hash);
    cw_str_add_span(&file, bytes);
    cw_str_add(&file, hash, sizeof hash);
    struct cw_index_view view;
    if (cw_str_code(&file) != CW_OK || cw_index_open(cw_str_span(&file), &view, NULL) != CW_OK) {
        return 0;
    }
    struct cw_search_hit hits[8];
    size_t count = 0;
    if (cw_match_run(&view, &ask, hits, 8, &count, NULL) == CW_OK && count > 8) {
        cw_bug("more hits than room");
    }
    return 0;
}
