/* SPDX-License-Identifier: Apache-2.0 */
/* A table of codes, and two sentences that stand for what has no code. */
#include "config.h"

#include "fhir/refusal.h"

#include "base/text.h"
#include "fhir/slice.h"

static const struct {
    const char *code;
    enum cw_refusal refusal;
} codes[] = {
    { "4113", CW_REFUSAL_PAGING_EXPIRED }, { "4135", CW_REFUSAL_DAILY_LIMIT }, { "4118", CW_REFUSAL_WITHHELD },
    { "4130", CW_REFUSAL_WITHHELD },       { "4131", CW_REFUSAL_WITHHELD },    { "4134", CW_REFUSAL_WITHHELD },
    { "4107", CW_REFUSAL_MERGED },         { "4112", CW_REFUSAL_QUERY },       { "59108", CW_REFUSAL_QUERY },
    { "59111", CW_REFUSAL_QUERY },
};

static bool is_defect(const struct cw_outcome *outcome)
{
    for (size_t i = 0; i < outcome->count; i++) {
        if (cw_span_eq_cstr(outcome->issues[i].severity, "fatal") && cw_span_eq_cstr(outcome->issues[i].code, "required")) {
            return true;
        }
    }
    return false;
}

static bool says_moved(struct cw_span body)
{
    struct cw_span head = cw_span_upto(body, CW_REFUSAL_TEXT_MAX);
    return cw_span_find_span(head, CW_SPAN("INVALID-MAP-TARGET")) < head.len ||
           cw_span_find_span(head, CW_SPAN("Tenant not valid or accessible")) < head.len;
}

enum cw_refusal cw_refusal_of(struct cw_span body, struct cw_arena *arena)
{
    struct cw_outcome outcome;
    struct cw_err err = { 0 };
    if (cw_outcome_read(body, arena, &outcome, &err) == CW_OK) {
        for (size_t i = 0; i < CW_ARRAY_LEN(codes); i++) {
            if (cw_outcome_has(&outcome, codes[i].code)) {
                return codes[i].refusal;
            }
        }
        if (is_defect(&outcome)) {
            return CW_REFUSAL_DEFECT;
        }
    }
    return says_moved(body) ? CW_REFUSAL_MOVED : CW_REFUSAL_NONE;
}
