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

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_name_byte(char c)
{
    char l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Does the text hold the word, whatever its case? With `whole`, not as a part of a longer name. */
static bool speaks_of(struct cw_span text, struct cw_span word, bool whole)
{
    for (size_t at = 0; word.len > 0 && at + word.len <= text.len; at++) {
        size_t same = 0;
        while (same < word.len && lower(text.ptr[at + same]) == lower(word.ptr[same])) {
            same++;
        }
        bool before = at > 0 && is_name_byte(text.ptr[at - 1]);
        bool behind = at + word.len < text.len && is_name_byte(text.ptr[at + word.len]);
        if (same == word.len && (!whole || (!before && !behind))) {
            return true;
        }
    }
    return false;
}

static bool issue_speaks_of(const struct cw_outcome_issue *issue, struct cw_span word, bool whole)
{
    return speaks_of(issue->text, word, whole) || speaks_of(issue->diagnostics, word, whole) || speaks_of(issue->expression, word, whole);
}

/* "Observation search requires a category", "intent is required", "category must be assess-plan". */
static bool wants_parameter(const struct cw_outcome *outcome)
{
    static const char *const parameters[] = { "category", "intent" };
    static const char *const wants[] = { "requires", "required", "must " };
    for (size_t i = 0; i < outcome->count; i++) {
        for (size_t p = 0; p < CW_ARRAY_LEN(parameters); p++) {
            for (size_t w = 0; w < CW_ARRAY_LEN(wants); w++) {
                if (issue_speaks_of(&outcome->issues[i], cw_span_cstr(parameters[p]), true) &&
                    issue_speaks_of(&outcome->issues[i], cw_span_cstr(wants[w]), false)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* athena answers 403 with it, which is no denial. */
static bool says_combination(struct cw_span body)
{
    return speaks_of(cw_span_upto(body, CW_REFUSAL_TEXT_MAX), CW_SPAN("required parameter combination"), false);
}

struct cw_span cw_refusal_parameter(struct cw_span body, struct cw_span query, struct cw_arena *arena)
{
    static const char *const never[] = { "patient", "beneficiary", "subject", "category", "intent", "code" };
    struct cw_outcome outcome;
    struct cw_err err = { 0 };
    struct cw_span parameter, none = { NULL, 0 };
    bool more = cw_outcome_read(body, arena, &outcome, &err) == CW_OK && query.len > 0;
    while (more) {
        more = cw_span_cut(&query, '&', &parameter);
        struct cw_span name = cw_span_upto(parameter, cw_span_find(parameter, '='));
        bool may = name.len > 0;
        for (size_t i = 0; i < CW_ARRAY_LEN(never); i++) {
            may = may && !cw_span_eq_cstr(name, never[i]);
        }
        for (size_t i = 0; may && i < outcome.count; i++) {
            if (issue_speaks_of(&outcome.issues[i], name, true)) {
                return name;
            }
        }
    }
    return none;
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
        if (wants_parameter(&outcome)) {
            return CW_REFUSAL_QUERY;
        }
    }
    return says_moved(body) ? CW_REFUSAL_MOVED : says_combination(body) ? CW_REFUSAL_QUERY : CW_REFUSAL_NONE;
}
