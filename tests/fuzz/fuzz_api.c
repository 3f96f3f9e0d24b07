/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller of the API may write where we parse it ourselves: bodies, cursors, type lists, return addresses. */
#include "config.h"

#include "api/body.h"
#include "api/cursor.h"
#include "api/record_filter.h"
#include "api/return_url.h"
#include "base/limits.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_body(struct cw_span text)
{
    static const struct cw_field table[] = {
        { .name = "patient_id", .kind = CW_FIELD_TEXT, .min = 1, .max = 200, .required = true },
        { .name = "patient_email", .kind = CW_FIELD_EMAIL, .nullable = true },
        { .name = "recommended_connection_ids", .kind = CW_FIELD_TEXTS, .max = 50 },
        { .name = "expires_in", .kind = CW_FIELD_INT, .min = 60, .max = 86400 },
        { .name = "metadata", .kind = CW_FIELD_METADATA },
        { .name = NULL },
    };
    struct cw_json_limits limits = { .max_bytes = CW_API_BODY_MAX, .max_depth = CW_JSON_DEPTH_MAX };
    CW_AUTO_JSON *json = NULL;
    if (cw_json_parse(text, limits, &json, NULL) != CW_OK) {
        return;
    }
    struct cw_arena *arena = cw_arena_new(1u << 16);
    struct cw_body body;
    struct cw_body_fault fault;
    if (arena != NULL && cw_body_check(json, text, table, true, arena, &body, &fault)) {
        struct cw_span id = cw_body_text(&body, "patient_id");
        struct cw_span metadata = cw_body_text(&body, "metadata");
        if (id.len == 0 || cw_utf8_length(id) > 200 || metadata.len > CW_METADATA_MAX) {
            cw_bug("a value over its limit was taken");
        }
    }
    cw_arena_free(arena);
}

static void try_return_url(struct cw_span text)
{
    CW_AUTO_STR target;
    cw_str_init(&target, CW_RETURN_URL_MAX);
    enum cw_return_kind kind;
    if (cw_return_target(text, &kind, &target, NULL) == CW_OK &&
        (cw_str_span(&target).len == 0 || cw_span_starts(cw_str_span(&target), CW_SPAN("javascript:")))) {
        cw_bug("not a return address");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct cw_span text = cw_span_of(data + 1, size - 1);
    struct cw_record_filter filter = { 0 };
    struct cw_patient_row patient = { 0 };
    uint64_t sequence;
    struct cw_ulid place;
    switch (data[0] % 4) {
    case 0:
        try_body(text);
        break;
    case 1:
        try_return_url(text);
        break;
    case 2:
        if (cw_record_types_parse(text, &filter) && filter.type_count > CW_RECORD_TYPES_MAX) {
            cw_bug("too many types");
        }
        break;
    default: {
        const struct cw_cursor_scope scope = { .list = "fuzz" };
        bool list_ok = cw_cursor_parse(&scope, text, &place);
        bool record_ok = cw_record_cursor_parse(patient, &filter, text, &sequence);
        char again[CW_CURSOR_TEXT_MAX];
        if (record_ok) {
            cw_record_cursor_emit(patient, &filter, sequence, again);
        } else if (list_ok) {
            cw_cursor_emit(&scope, place, again);
        }
        if ((list_ok || record_ok) && !cw_span_eq_cstr(text, again)) {
            cw_bug("two texts for one cursor");
        }
        break;
    }
    }
    return 0;
}
