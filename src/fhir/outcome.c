/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OperationOutcome: what a server says about a refusal or adds to an answer. Servers fill it freely, so nothing here is required; the
 * codes steer retries and receipts, the texts go to the operator, encrypted.
 */
#include "config.h"

#include "fhir/slice.h"

#include "base/limits.h"
#include "base/scan.h"

#define WHERE "outcome"

struct reader {
    struct cw_scan scan;
    struct cw_arena *arena;
    struct cw_outcome *outcome;
};

/* The first of several values of one name stays. */
static bool text_value(struct reader *r, struct cw_span *text)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token == CW_T_STRING && text->ptr == NULL) {
        return cw_scan_text(&r->scan, r->arena, text);
    }
    return cw_scan_skip(&r->scan, token, NULL);
}

static bool read_coding(struct reader *r, struct cw_outcome_issue *issue)
{
    struct cw_span code = { NULL, 0 };
    while (cw_scan_member(&r->scan)) {
        if (!(cw_scan_is(&r->scan, CW_SPAN("code")) ? text_value(r, &code) : cw_scan_skip_value(&r->scan, NULL))) {
            return false;
        }
    }
    if (code.ptr != NULL && issue->details_count < CW_OUTCOME_CODES_MAX) {
        issue->details[issue->details_count++] = code;
    }
    return r->scan.code == CW_OK;
}

typedef bool element_fn(struct reader *r, struct cw_outcome_issue *issue);

/* Calls fn in each object of an array; everything else is passed over. */
static bool each_object(struct reader *r, element_fn *fn, struct cw_outcome_issue *issue)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_ARRAY) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    while ((token = cw_scan_next(&r->scan)) != CW_T_CLOSE) {
        if (!(token == CW_T_OBJECT ? fn(r, issue) : cw_scan_skip(&r->scan, token, NULL))) {
            return false;
        }
    }
    return true;
}

static bool read_details(struct reader *r, struct cw_outcome_issue *issue)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_OBJECT) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    while (cw_scan_member(&r->scan)) {
        bool good;
        if (cw_scan_is(&r->scan, CW_SPAN("coding"))) {
            good = each_object(r, read_coding, issue);
        } else if (cw_scan_is(&r->scan, CW_SPAN("text"))) {
            good = text_value(r, &issue->text);
        } else {
            good = cw_scan_skip_value(&r->scan, NULL);
        }
        if (!good) {
            return false;
        }
    }
    return r->scan.code == CW_OK;
}

/* The first text of an array. */
static bool first_text(struct reader *r, struct cw_span *text)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_ARRAY) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    while ((token = cw_scan_next(&r->scan)) != CW_T_CLOSE) {
        bool take = token == CW_T_STRING && text->ptr == NULL;
        if (!(take ? cw_scan_text(&r->scan, r->arena, text) : cw_scan_skip(&r->scan, token, NULL))) {
            return false;
        }
    }
    return true;
}

static bool read_issue(struct reader *r, struct cw_outcome_issue *unused)
{
    (void)unused;
    struct cw_outcome_issue issue = { .details_count = 0 };
    while (cw_scan_member(&r->scan)) {
        bool good;
        if (cw_scan_is(&r->scan, CW_SPAN("severity"))) {
            good = text_value(r, &issue.severity);
        } else if (cw_scan_is(&r->scan, CW_SPAN("code"))) {
            good = text_value(r, &issue.code);
        } else if (cw_scan_is(&r->scan, CW_SPAN("details"))) {
            good = read_details(r, &issue);
        } else if (cw_scan_is(&r->scan, CW_SPAN("diagnostics"))) {
            good = text_value(r, &issue.diagnostics);
        } else if (cw_scan_is(&r->scan, CW_SPAN("expression")) || cw_scan_is(&r->scan, CW_SPAN("location"))) {
            good = first_text(r, &issue.expression);
        } else {
            good = cw_scan_skip_value(&r->scan, NULL);
        }
        if (!good) {
            return false;
        }
    }
    if (r->outcome->count < CW_OUTCOME_ISSUES_MAX) {
        r->outcome->issues[r->outcome->count++] = issue;
    }
    return r->scan.code == CW_OK;
}

enum cw_code cw_outcome_read(struct cw_span resource, struct cw_arena *arena, struct cw_outcome *ret_outcome,
                             struct cw_err *err)
{
    struct cw_slice slice;
    enum cw_code rc = cw_slice_read(resource, arena, &slice, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (slice.kind != CW_SLICE_OUTCOME) {
        return cw_err_set(err, CW_E_KIND, WHERE, "another resource");
    }
    struct cw_outcome *outcome = cw_arena_alloc(arena, sizeof(*outcome));
    if (outcome == NULL) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory");
    }
    struct reader r = { .arena = arena, .outcome = outcome };
    cw_scan_init(&r.scan, slice.entries[0].resource);
    if (cw_scan_next(&r.scan) != CW_T_OBJECT) {
        return cw_scan_err(&r.scan, err, WHERE);
    }
    while (cw_scan_member(&r.scan)) {
        if (!(cw_scan_is(&r.scan, CW_SPAN("issue")) ? each_object(&r, read_issue, NULL)
                                                    : cw_scan_skip_value(&r.scan, NULL))) {
            return cw_scan_err(&r.scan, err, WHERE);
        }
    }
    if (r.scan.code != CW_OK) {
        return cw_scan_err(&r.scan, err, WHERE);
    }
    *ret_outcome = *outcome;
    return CW_OK;
}

bool cw_outcome_has(const struct cw_outcome *outcome, const char *code)
{
    for (size_t i = 0; i < outcome->count; i++) {
        const struct cw_outcome_issue *issue = &outcome->issues[i];
        if (cw_span_eq_cstr(issue->code, code)) {
            return true;
        }
        for (size_t d = 0; d < issue->details_count; d++) {
            if (cw_span_eq_cstr(issue->details[d], code)) {
                return true;
            }
        }
    }
    return false;
}
