/* SPDX-License-Identifier: Apache-2.0 */
/* ULIDs and their text form: 26 Crockford digits hold 130 bits, so the first digit is at most 7. */
#include "base/id.h"

#include <string.h>

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

bool cw_ulid_eq(struct cw_ulid a, struct cw_ulid b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

bool cw_ulid_is_zero(struct cw_ulid a)
{
    return cw_ulid_eq(a, (struct cw_ulid){ { 0 } });
}

struct cw_ulid cw_ulid_make(int64_t time_us, const uint8_t random[10])
{
    struct cw_ulid id;
    uint64_t ms = time_us < 0 ? 0 : (uint64_t)time_us / 1000;
    for (size_t i = 0; i < 6; i++) {
        id.bytes[i] = (uint8_t)(ms >> (8 * (5 - i)));
    }
    memcpy(id.bytes + 6, random, 10);
    return id;
}

int64_t cw_ulid_time_us(struct cw_ulid id)
{
    uint64_t ms = 0;
    for (size_t i = 0; i < 6; i++) {
        ms = ms << 8 | id.bytes[i];
    }
    return (int64_t)ms * 1000;
}

void cw_id_emit(const char *prefix, struct cw_ulid id, char out[CW_ID_TEXT_MAX])
{
    size_t len = strlen(prefix);
    if (len + CW_ULID_TEXT + 1 > CW_ID_TEXT_MAX) {
        cw_bug("id prefix too long");
    }
    memcpy(out, prefix, len);
    char *text = out + len;
    /* Two zero bits, then 128: each digit takes the 5 bits that end at bit 5 * (i + 1) - 2. */
    unsigned window = 0;
    unsigned bits = 2;
    size_t at = 0;
    for (size_t i = 0; i < CW_ULID_TEXT; i++) {
        while (bits < 5) {
            window = (window << 8) | id.bytes[at++];
            bits += 8;
        }
        bits -= 5;
        text[i] = digits[(window >> bits) & 31u];
    }
    text[CW_ULID_TEXT] = '\0';
}

bool cw_id_parse(const char *prefix, struct cw_span text, struct cw_ulid *ret_id)
{
    struct cw_span head = cw_span_cstr(prefix);
    if (!cw_span_starts(text, head) || text.len != head.len + CW_ULID_TEXT) {
        return false;
    }
    struct cw_span body = cw_span_from(text, head.len);
    if (body.ptr[0] > '7') {
        return false;
    }
    struct cw_ulid id;
    unsigned window = 0;
    unsigned bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < CW_ULID_TEXT; i++) {
        const char *digit = body.ptr[i] == '\0' ? NULL : strchr(digits, body.ptr[i]);
        if (digit == NULL) {
            return false;
        }
        window = (window << 5) | (unsigned)(digit - digits);
        bits += i == 0 ? 3 : 5;
        if (bits >= 8) {
            bits -= 8;
            id.bytes[at++] = (uint8_t)(window >> bits);
        }
    }
    *ret_id = id;
    return true;
}
