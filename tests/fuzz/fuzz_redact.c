/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hospital writes into an error before an operator sees it: the first two lines are texts that we know and it must not hold, the
 * rest is the error. Nothing that is known comes through, in whatever case, nor anything that is made like a token.
 */
#include "config.h"

#include "model/exchange.h"
#include "os/sys.h"

#define ROOM 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of letters and digits alone, so that it cannot arise from a mark and what stands beside it. */
static bool is_word(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9')) {
            return false;
        }
    }
    return text.len >= 3;
}

static bool holds(struct cw_span text, struct cw_span word)
{
    for (; text.len >= word.len; text = cw_span_from(text, 1)) {
        if (cw_span_eq_nocase(cw_span_upto(text, word.len), word)) {
            return true;
        }
    }
    return false;
}

static size_t longest_run(struct cw_span text)
{
    size_t longest = 0;
    size_t run = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool token = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9');
        run = token ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span text = cw_span_of(data, size);
    struct cw_span known[2] = { 0 };
    for (size_t i = 0; i < CW_ARRAY_LEN(known); i++) {
        (void)cw_span_cut(&text, '\n', &known[i]);
    }
    char out[ROOM];
    size_t room = 1 + size % ROOM;
    (void)cw_exchange_redact(text, known, CW_ARRAY_LEN(known), out, room);
    struct cw_span clean = cw_span_cstr(out);
    if (clean.len >= room || longest_run(clean) >= 40 + 2) { /* "%2F" stands between words: its digits may come before one */
        cw_bug("over its room, or a token came through");
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(known); i++) {
        if (is_word(known[i]) && holds(clean, known[i])) {
            cw_bug("a known text came through");
        }
    }
    return 0;
}
