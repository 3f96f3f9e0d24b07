/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a list goes on. A cursor is a place and a check of the filters it was made under, so that a walk cannot change
 * its filters half-way. It is not a secret and grants nothing: every query is bound to the key's organization anyway.
 */
#ifndef CW_API_CURSOR_H
#define CW_API_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/span.h"
#include "model/record.h"

#define CW_CURSOR_TEXT_MAX 32

/* What a walk is over: the list's name and its filters, each part of one place. */
struct cw_cursor_scope {
    const char *list;
    struct cw_org_id org;
    struct cw_span filters[3];
};
/* Lists: 24 characters, which hold an own id that is not readable from them. */
void cw_cursor_emit(const struct cw_cursor_scope *scope, struct cw_ulid place, char out[CW_CURSOR_TEXT_MAX])
    CW_NONNULL(1, 3);
bool cw_cursor_parse(const struct cw_cursor_scope *scope, struct cw_span text, struct cw_ulid *ret_place)
    CW_NONNULL(1, 3) CW_MUST_USE;

/* Records: 12 characters, the 64-bit sequence and 8 bits of check (design 13). The filter's types are sorted and unique. */
void cw_record_cursor_emit(struct cw_patient_row patient, const struct cw_record_filter *filter, uint64_t sequence,
                           char out[CW_CURSOR_TEXT_MAX]) CW_NONNULL(2, 4);
bool cw_record_cursor_parse(struct cw_patient_row patient, const struct cw_record_filter *filter, struct cw_span text,
                            uint64_t *ret_sequence) CW_NONNULL(2, 4) CW_MUST_USE;

#endif
