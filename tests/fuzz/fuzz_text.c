/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders of text, times and ids: what was decoded encodes to the same, and what was refused left nothing behind. */
#include "base/id.h"
#include "base/text.h"
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_time(struct cw_span in)
{
    int64_t time_us = 0;
    int64_t back = 0;
    char text[CW_TIME_TEXT];
    if (cw_time_parse(in, true, &time_us)) {
        cw_time_emit(time_us, text);
        if (!cw_time_parse(cw_span_cstr(text), false, &back) || time_us - back < 0 || time_us - back >= 1000) {
            cw_bug("a time that does not go round");
        }
    }
    (void)!cw_time_parse_http(in, &time_us);
}

static void check_id(struct cw_span in)
{
    struct cw_ulid id;
    char text[CW_ID_TEXT_MAX];
    if (cw_id_parse(CW_PREFIX_SESSION, in, &id)) {
        cw_id_emit(CW_PREFIX_SESSION, id, text);
        if (!cw_span_eq_cstr(in, text)) {
            cw_bug("an id with two texts");
        }
    }
}

static void check_base64(struct cw_span in)
{
    struct cw_str plain;
    struct cw_str text;
    cw_str_init(&plain, 1 << 20);
    cw_str_init(&text, 1 << 20);
    if (cw_base64_decode(in, &plain) == CW_OK) {
        (void)cw_base64_encode(cw_str_span(&plain), &text);
        if (!cw_span_eq(in, cw_str_span(&text))) {
            cw_bug("a base64 text with two forms");
        }
    } else if (plain.len != 0) {
        cw_bug("a refused text left bytes behind");
    }
    cw_str_release(&plain);
    cw_str_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span in = cw_span_of(data, size);
    struct cw_str out;
    cw_str_init(&out, 1 << 20);
    check_time(in);
    check_id(in);
    check_base64(in);
    bool good = cw_utf8_valid(in);
    (void)cw_utf8_repair(in, &out);
    if (!cw_utf8_valid(cw_str_span(&out)) || (good && !cw_span_eq(in, cw_str_span(&out)))) {
        cw_bug("repair spoils or leaves broken");
    }
    cw_str_clear(&out);
    if ((cw_text_fold(in, &out) == CW_OK) != good || !cw_utf8_valid(cw_str_span(&out))) {
        cw_bug("folding and validity disagree");
    }
    cw_str_clear(&out);
    (void)!cw_text_lower_nfc(in, &out);
    cw_str_clear(&out);
    (void)!cw_percent_decode(in, true, &out);
    cw_str_clear(&out);
    (void)!cw_base64url_decode(in, &out);
    cw_str_clear(&out);
    (void)!cw_hex_decode(in, &out);
    cw_str_release(&out);
    return 0;
}
