/* SPDX-License-Identifier: Apache-2.0 */
/* Checking an index file once, so that searching in it never has to. */
#include "config.h"

#include "catalog/index_int.h"

#include "catalog/index.h"

int cw_index_compare(struct cw_span a, struct cw_span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool inside(const struct cw_index_view *view, uint32_t at, uint32_t len)
{
    return le32toh(at) <= view->text_len && le32toh(len) <= view->text_len - le32toh(at);
}

static bool sources_good(const struct cw_index_view *view)
{
    for (uint32_t i = 0; i < view->source_count; i++) {
        const struct cw_index_source *source = &view->sources[i];
        if (!inside(view, source->name_at, source->name_len) || !inside(view, source->vendor_at, source->vendor_len)) {
            return false;
        }
    }
    return true;
}

/* Words strictly ascending, none empty, postings one word's after another's. */
static bool words_good(const struct cw_index_view *view)
{
    struct cw_span before = { 0 };
    uint32_t next = 0;
    for (uint32_t i = 0; i < view->word_count; i++) {
        const struct cw_index_word *word = &view->words[i];
        if (!inside(view, word->at, word->len)) {
            return false;
        }
        struct cw_span text = cw_index_text(view, word->at, word->len);
        uint32_t count = le32toh(word->count);
        if (text.len == 0 || text.len > CW_INDEX_WORD_MAX || cw_index_compare(before, text) >= 0 ||
            le32toh(word->first) != next || count > view->posting_count - next) {
            return false;
        }
        before = text;
        next += count;
    }
    return next == view->posting_count;
}

static bool postings_good(const struct cw_index_view *view)
{
    for (uint32_t i = 0; i < view->posting_count; i++) {
        if (le32toh(view->postings[i]) >> CW_INDEX_FIELD_BITS >= view->source_count) {
            return false;
        }
    }
    return true;
}

enum cw_code cw_index_open(struct cw_span bytes, struct cw_index_view *ret_view, struct cw_err *err)
{
    struct cw_index_header header;
    if (bytes.len < sizeof header + CW_HASH_LEN || bytes.len > CW_INDEX_BYTES_MAX) {
        return cw_err_set(err, CW_E_CONFIG, "index", "not an index file by its size");
    }
    memcpy(&header, bytes.ptr, sizeof header);
    struct cw_index_view view = {
        .source_count = le32toh(header.sources),
        .word_count = le32toh(header.words),
        .posting_count = le32toh(header.postings),
        .text_len = le32toh(header.text),
    };
    uint64_t size = sizeof header + (uint64_t)view.source_count * sizeof *view.sources +
                    (uint64_t)view.word_count * sizeof *view.words +
                    (uint64_t)view.posting_count * sizeof *view.postings + view.text_len + CW_HASH_LEN;
    if (memcmp(header.magic, CW_INDEX_MAGIC, sizeof header.magic) != 0 || size != bytes.len) {
        return cw_err_set(err, CW_E_CONFIG, "index", "of another version, or cut");
    }
    uint8_t hash[CW_HASH_LEN];
    size_t body = bytes.len - CW_HASH_LEN;
    cw_sha256(cw_span_upto(bytes, body), hash);
    if (memcmp(hash, bytes.ptr + body, sizeof hash) != 0) {
        return cw_err_set(err, CW_E_CONFIG, "index", "damaged");
    }
    view.sources = (const void *)(bytes.ptr + sizeof header);
    view.words = (const void *)(view.sources + view.source_count);
    view.postings = (const void *)(view.words + view.word_count);
    view.text = (const char *)(view.postings + view.posting_count);
    if (!sources_good(&view) || !words_good(&view) || !postings_good(&view)) {
        return cw_err_set(err, CW_E_CONFIG, "index", "its tables do not agree");
    }
    *ret_view = view;
    return CW_OK;
}

struct cw_span cw_index_host(struct cw_span url)
{
    size_t at = cw_span_find_span(url, CW_SPAN("://"));
    struct cw_span host = at == url.len ? url : cw_span_from(url, at + 3);
    host = cw_span_upto(host, cw_span_find(host, '/'));
    host = cw_span_upto(host, cw_span_find(host, ':'));
    size_t last_dot = host.len;
    for (size_t i = 0; i < host.len; i++) {
        last_dot = host.ptr[i] == '.' ? i : last_dot;
    }
    return cw_span_upto(host, last_dot);
}
