/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors: base64url of place and check. */
#include "config.h"

#include "api/cursor.h"

#include "base/limits.h"
#include "base/str.h"
#include "base/text.h"
#include "vault/vault.h"

#define LIST_CHECK 2
#define LIST_BYTES (16 + LIST_CHECK)
#define RECORD_BYTES 9

/* Hashes the parts with their lengths, so that no two different lists of parts give the same bytes. */
static void hash_parts(const struct cw_span *parts, size_t count, uint8_t out[CW_HASH_LEN])
{
    uint8_t chain[CW_HASH_LEN + CW_HASH_LEN] = { 0 };
    for (size_t i = 0; i < count; i++) {
        cw_sha256(parts[i], chain + CW_HASH_LEN);
        cw_sha256(cw_span_of(chain, sizeof chain), chain);
    }
    memcpy(out, chain, CW_HASH_LEN);
}

static void emit(const uint8_t *bytes, size_t len, char out[CW_CURSOR_TEXT_MAX])
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_CURSOR_TEXT_MAX - 1);
    if (cw_base64url_encode(cw_span_of(bytes, len), &text) != CW_OK) {
        cw_bug("a cursor has a fixed size");
    }
    memcpy(out, cw_str_cstr(&text), text.len + 1);
}

static bool parse(struct cw_span text, size_t len, uint8_t *ret_bytes)
{
    CW_AUTO_STR bytes;
    cw_str_init(&bytes, len);
    if (text.len != len / 3 * 4 || cw_base64url_decode(text, &bytes) != CW_OK || bytes.len != len) {
        return false;
    }
    memcpy(ret_bytes, bytes.buf, len);
    return true;
}

/* The pad hides ids that the contract never shows; the check is over list, organization and filters. */
static void list_hashes(const struct cw_cursor_scope *scope, uint8_t pad[CW_HASH_LEN], uint8_t check[CW_HASH_LEN])
{
    const struct cw_span parts[] = {
        cw_span_cstr(scope->list),
        cw_span_of(scope->org.ulid.bytes, sizeof scope->org.ulid.bytes),
        scope->filters[0],
        scope->filters[1],
        scope->filters[2],
    };
    hash_parts(parts, 2, pad);
    hash_parts(parts, CW_ARRAY_LEN(parts), check);
}

void cw_cursor_emit(const struct cw_cursor_scope *scope, struct cw_ulid place, char out[CW_CURSOR_TEXT_MAX])
{
    uint8_t pad[CW_HASH_LEN];
    uint8_t check[CW_HASH_LEN];
    list_hashes(scope, pad, check);
    uint8_t bytes[LIST_BYTES];
    for (size_t i = 0; i < sizeof place.bytes; i++) {
        bytes[i] = place.bytes[i] ^ pad[i];
    }
    memcpy(bytes + sizeof place.bytes, check, LIST_CHECK);
    emit(bytes, sizeof bytes, out);
}

bool cw_cursor_parse(const struct cw_cursor_scope *scope, struct cw_span text, struct cw_ulid *ret_place)
{
    uint8_t bytes[LIST_BYTES];
    uint8_t pad[CW_HASH_LEN];
    uint8_t check[CW_HASH_LEN];
    list_hashes(scope, pad, check);
    if (!parse(text, sizeof bytes, bytes) || memcmp(bytes + sizeof ret_place->bytes, check, LIST_CHECK) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof ret_place->bytes; i++) {
        ret_place->bytes[i] = bytes[i] ^ pad[i];
    }
    return true;
}

static uint8_t record_check(struct cw_patient_row patient, const struct cw_record_filter *filter)
{
    struct cw_span parts[2 + CW_RECORD_TYPES_MAX];
    size_t count = 0;
    parts[count++] = cw_span_of(patient.ulid.bytes, sizeof patient.ulid.bytes);
    parts[count++] = cw_span_of(&filter->since_us, sizeof filter->since_us);
    for (size_t i = 0; i < filter->type_count; i++) {
        parts[count++] = filter->types[i];
    }
    uint8_t hash[CW_HASH_LEN];
    hash_parts(parts, count, hash);
    return hash[0];
}

void cw_record_cursor_emit(struct cw_patient_row patient, const struct cw_record_filter *filter, uint64_t sequence,
                           char out[CW_CURSOR_TEXT_MAX])
{
    uint8_t bytes[RECORD_BYTES];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(sequence >> (56 - 8 * i));
    }
    bytes[8] = record_check(patient, filter);
    emit(bytes, sizeof bytes, out);
}

bool cw_record_cursor_parse(struct cw_patient_row patient, const struct cw_record_filter *filter, struct cw_span text,
                            uint64_t *ret_sequence)
{
    uint8_t bytes[RECORD_BYTES];
    if (!parse(text, sizeof bytes, bytes) || bytes[8] != record_check(patient, filter)) {
        return false;
    }
    uint64_t sequence = 0;
    for (int i = 0; i < 8; i++) {
        sequence = sequence << 8 | bytes[i];
    }
    *ret_sequence = sequence;
    return true;
}
