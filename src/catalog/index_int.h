/* SPDX-License-Identifier: Apache-2.0 */
/* The index file as structs, shared by its writer (index.c) and its readers (index_open.c, search.c). Little-endian on disk. */
#ifndef CW_CATALOG_INDEX_INT_H
#define CW_CATALOG_INDEX_INT_H

#include <endian.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "vault/vault.h"

#define CW_INDEX_MAGIC "CWINDX01"
#define CW_INDEX_WORD_MAX 64u /* bytes of a word that count; what follows is cut */

struct cw_index_header {
    char magic[8];
    uint32_t sources, words, postings, text; /* counts; text in bytes, padded to 4 */
};
struct cw_index_source {
    uint8_t id[16];
    uint32_t name_at, name_len;     /* folded */
    uint32_t vendor_at, vendor_len; /* as stored */
};
struct cw_index_word {
    uint32_t at, len;
    uint32_t letters;               /* cw_index_letters */
    uint32_t first, count;          /* postings */
};
/* A posting: number of the source << 8 | fields that hold the word. */
#define CW_INDEX_FIELD_BITS 8
enum cw_index_field {
    CW_INDEX_NAME = 1u << 0,
    CW_INDEX_OTHER_NAME = 1u << 1,  /* brand, portal, aliases */
    CW_INDEX_PLACE = 1u << 2,       /* town, state, ZIP code */
    CW_INDEX_HOST = 1u << 3
};
#define CW_INDEX_FIELDS 0x0fu

/* One bit for each letter or digit (folded onto 32), for a quick "cannot be within one error". */
static inline uint32_t cw_index_letters(struct cw_span word)
{
    uint32_t letters = 0;
    for (size_t i = 0; i < word.len; i++) {
        letters |= 1u << ((unsigned char)word.ptr[i] & 31u);
    }
    return letters;
}

/* The parts of a file in memory. */
struct cw_index_view {
    const struct cw_index_source *sources;
    const struct cw_index_word *words;
    const uint32_t *postings;
    const char *text;
    uint32_t source_count, word_count, posting_count, text_len;
};
/* Checks every offset, order and number of a whole file, and its hash at the end; `bytes` is 4-aligned and stays the caller's. CW_E_CONFIG. */
enum cw_code cw_index_open(struct cw_span bytes, struct cw_index_view *ret_view, struct cw_err *err)
    CW_NONNULL(2) CW_MUST_USE;

static inline struct cw_span cw_index_text(const struct cw_index_view *view, uint32_t at, uint32_t len)
{
    return cw_span_of(view->text + le32toh(at), le32toh(len));
}
/* "https://fhir.clinic.example:443/r4" → "fhir.clinic": nobody looks for "example" or "com". */
struct cw_span cw_index_host(struct cw_span url) CW_PURE;
/* Order of words: by bytes, the shorter first. */
int cw_index_compare(struct cw_span a, struct cw_span b) CW_PURE;

#endif
