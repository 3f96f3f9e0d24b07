/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table: which quirk refuses which request, and with what words. What counts requests (a day's documents, a minute's budget, the first time
 * of something) counts in the diary.
 */
#include "config.h"
#include "sandbox/fhir_quirk.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "base/time.h"
#include "os/sys.h"
#include "sandbox/diary.h"

#define DOCUMENTS_A_DAY 2u
#define BROKEN_AT 2u /* place of the record that cannot be shown */

void reply_issue(struct cw_reply *reply, int status, const struct fhir_issue *issue)
{
    struct cw_jsonw w;
    cw_str_clear(cw_reply_body(reply));
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resourceType", "OperationOutcome");
    cw_jsonw_key(&w, "issue");
    cw_jsonw_open_array(&w);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "severity", issue->severity);
    cw_jsonw_key_cstr(&w, "code", issue->code);
    cw_jsonw_key(&w, "details");
    cw_jsonw_open_object(&w);
    if (issue->detail != NULL) {
        cw_jsonw_key(&w, "coding");
        cw_jsonw_open_array(&w);
        cw_jsonw_open_object(&w);
        cw_jsonw_key_cstr(&w, "system", "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369");
        cw_jsonw_key_cstr(&w, "code", issue->detail);
        cw_jsonw_close_object(&w);
        cw_jsonw_close_array(&w);
    }
    cw_jsonw_key_cstr(&w, "text", issue->text);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, status);
    cw_reply_header(reply, "Content-Type", "application/fhir+json; charset=utf-8");
}

/* ---------------------------------------------------------------------------------------------- what is asked */

static bool is_type(const struct fhir_ask *ask, const char *type)
{
    return strcmp(ask->type->name, type) == 0;
}

static bool is_search(const struct fhir_ask *ask, const char *type)
{
    return ask->params != NULL && is_type(ask, type);
}

static struct cw_span param(const struct fhir_ask *ask, const char *name)
{
    return cw_sbx_param(ask->params, name);
}

/* The value without its system. */
static struct cw_span code_of(struct cw_span value)
{
    size_t bar = cw_span_find(value, '|');
    return bar < value.len ? cw_span_from(value, bar + 1) : value;
}

static bool is_one_of(struct cw_span value, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (cw_span_eq_cstr(code_of(value), *names)) {
            return true;
        }
    }
    return false;
}

static bool lacks(const struct fhir_ask *ask, const char *type, const char *name)
{
    return is_search(ask, type) && param(ask, "_id").ptr == NULL && param(ask, name).ptr == NULL;
}

static bool accepts(const struct fhir_ask *ask, const char *form)
{
    struct cw_span accept = cw_request_header(ask->request, "Accept");
    return accept.ptr == NULL || cw_span_find_span(accept, cw_span_cstr(form)) < accept.len ||
           cw_span_find_span(accept, CW_SPAN("*/*")) < accept.len;
}

/* How often this patient asked for what begins so, with this status. */
static size_t times(const struct fhir_ask *ask, const char *target, int status)
{
    struct cw_sbx_wanted wanted = { .site = ask->site->as.name, .patient = ask->patient, .target = target, .status = status };
    return cw_sbx_diary_count(ask->site->hospital->diary, &wanted);
}

static int64_t minute_us(void)
{
    return cw_now_us() / CW_MINUTE_US * CW_MINUTE_US;
}

static size_t this_minute(const struct fhir_ask *ask)
{
    struct cw_sbx_wanted wanted = { .site = ask->site->as.name, .target = "", .since_us = minute_us() };
    return cw_sbx_diary_count(ask->site->hospital->diary, &wanted);
}

/* ---------------------------------------------------------------------------------------------- the quirks */

static bool observation_without_category(const struct fhir_ask *ask)
{
    return lacks(ask, "Observation", "category") && param(ask, "code").ptr == NULL;
}

static bool observation_category_unknown(const struct fhir_ask *ask)
{
    static const char *const known[] = { "laboratory", "vital-signs", "social-history", "core-characteristics", "LDA", "LDA-property",
                                         "LDA-assessment", "functional-mental-status", "periodontal", "labor-delivery",
                                         "newborn-delivery", "obstetrics-gynecology", "survey", "sdoh", "imaging", "smartdata", NULL };
    struct cw_span category = ask->params == NULL ? (struct cw_span){ NULL, 0 } : param(ask, "category");
    return is_search(ask, "Observation") && category.ptr != NULL && !is_one_of(category, known);
}

static bool careplan_without_category(const struct fhir_ask *ask)
{
    return lacks(ask, "CarePlan", "category");
}

static bool careplan_other_category(const struct fhir_ask *ask)
{
    static const char *const known[] = { "assess-plan", NULL };
    return is_search(ask, "CarePlan") && !is_one_of(param(ask, "category"), known);
}

static bool careteam_not_active(const struct fhir_ask *ask)
{
    return is_search(ask, "CareTeam") && !cw_span_eq_cstr(param(ask, "status"), "active");
}

static bool condition_without_category(const struct fhir_ask *ask)
{
    return lacks(ask, "Condition", "category");
}

static bool medication_without_intent(const struct fhir_ask *ask)
{
    return lacks(ask, "MedicationRequest", "intent");
}

static bool not_laboratory(const struct fhir_ask *ask)
{
    static const char *const laboratory[] = { "laboratory", NULL }, *const lab[] = { "LAB", NULL };
    return (is_search(ask, "Observation") && !is_one_of(param(ask, "category"), laboratory)) ||
           (is_search(ask, "DiagnosticReport") && !is_one_of(param(ask, "category"), lab));
}

static bool patient_searched(const struct fhir_ask *ask)
{
    return is_search(ask, "Patient");
}

static bool episode_without_type(const struct fhir_ask *ask)
{
    return lacks(ask, "EpisodeOfCare", "type");
}

static bool has_last_updated(const struct fhir_ask *ask)
{
    return ask->params != NULL && param(ask, "_lastUpdated").ptr != NULL;
}

/* An open range: a prefix that stands alone. */
static bool date_is_open(const struct fhir_ask *ask)
{
    static const char *const names[] = { "date", "_lastUpdated", "issued", "authoredon" };
    for (size_t i = 0; ask->params != NULL && i < CW_ARRAY_LEN(names); i++) {
        struct cw_span value = param(ask, names[i]);
        if (value.len > 2 && value.ptr[0] >= 'a' && cw_sbx_param_times(ask->params, names[i]) == 1) {
            return true;
        }
    }
    return false;
}

static bool practice_missing(const struct fhir_ask *ask)
{
    return ask->params != NULL && ask->first_page &&
           !cw_span_starts(param(ask, "ah-practice"), CW_SPAN("Organization/a-1.Practice-"));
}

static bool family_history(const struct fhir_ask *ask)
{
    return is_search(ask, "FamilyMemberHistory");
}

static bool service_request(const struct fhir_ask *ask)
{
    return is_type(ask, "ServiceRequest");
}

static bool documents_over(const struct fhir_ask *ask)
{
    return is_type(ask, "Binary") && times(ask, "/Binary/", 200) >= DOCUMENTS_A_DAY;
}

static bool paging_over(const struct fhir_ask *ask)
{
    return ask->params != NULL && !ask->first_page && times(ask, "?_getpages=", 400) == 0;
}

static bool conditions_behind_glass(const struct fhir_ask *ask)
{
    return is_search(ask, "Condition");
}

static bool anything(const struct fhir_ask *ask)
{
    (void)ask;
    return true;
}

static bool patient_too_early(const struct fhir_ask *ask)
{
    return is_type(ask, "Patient") && times(ask, "/Patient/", 403) == 0;
}

static bool patient_read(const struct fhir_ask *ask)
{
    return is_type(ask, "Patient") && ask->id.ptr != NULL;
}

static bool wants_no_json(const struct fhir_ask *ask)
{
    return !accepts(ask, "json");
}

static bool wants_fhir_json(const struct fhir_ask *ask)
{
    return !accepts(ask, "application/json");
}

static bool wants_binary_as_json(const struct fhir_ask *ask)
{
    struct cw_span accept = cw_request_header(ask->request, "Accept");
    return is_type(ask, "Binary") && cw_span_find_span(accept, CW_SPAN("json")) < accept.len;
}

static bool xr_document(const struct fhir_ask *ask)
{
    return is_type(ask, "Binary") && cw_span_starts(ask->id, CW_SPAN("XR-"));
}

static bool over_sixty(const struct fhir_ask *ask)
{
    return this_minute(ask) >= 60;
}

static bool over_thirty(const struct fhir_ask *ask)
{
    return this_minute(ask) >= 30;
}

static bool of_other_types(const struct fhir_ask *ask)
{
    return !fhir_quirk_lists(ask->site, ask->type);
}

static bool first_immunizations(const struct fhir_ask *ask)
{
    return is_search(ask, "Immunization") && times(ask, "/Immunization", 403) == 0;
}

/* With NULL as its text an answer has no body. */
static const struct {
    enum cw_sbx_quirk quirk;
    bool (*hits)(const struct fhir_ask *);
    int status;
    struct fhir_issue issue;
} refusals[] = {
    { CW_SBX_QUIRK_RATE_60, over_sixty, 429, { "error", "throttled", NULL, "Too many requests." } },
    { CW_SBX_QUIRK_RATE_SILENT, over_thirty, 429, { .text = NULL } },
    { CW_SBX_QUIRK_BASE_MOVED, anything, 400, { "fatal", "processing", NULL, "INVALID-MAP-TARGET" } },
    { CW_SBX_QUIRK_TENANT_GONE, anything, 403, { "error", "security", NULL, "Tenant not valid or accessible" } },
    { CW_SBX_QUIRK_TEN_TYPES, of_other_types, 404, { "error", "not-supported", NULL, "This type is not served here." } },
    { CW_SBX_QUIRK_JSON_ONLY, wants_no_json, 406, { .text = NULL } },
    { CW_SBX_QUIRK_PLAIN_JSON_ONLY, wants_fhir_json, 406, { .text = NULL } },
    { CW_SBX_QUIRK_BINARY_RAW, wants_binary_as_json, 406, { .text = NULL } },
    { CW_SBX_QUIRK_XR_MISSING, xr_document, 404, { "error", "not-found", NULL, "The document is not here." } },
    { CW_SBX_QUIRK_DOCUMENTS_A_DAY, documents_over, 200, { "fatal", "processing", "4135", "Please try again tomorrow." } },
    { CW_SBX_QUIRK_DOCUMENTS_403, documents_over, 403, { "fatal", "processing", "4135", "Please try again tomorrow." } },
    { CW_SBX_QUIRK_PATIENT_LATE, patient_too_early, 403, { .text = NULL } },
    { CW_SBX_QUIRK_WITHHELD_401, patient_read, 401, { "error", "login", NULL, "Not for this token." } },
    { CW_SBX_QUIRK_WITHHELD_403, patient_read, 403, { "error", "forbidden", NULL, "Not for this token." } },
    { CW_SBX_QUIRK_PATIENT_READ_ONLY, patient_searched, 400, { "fatal", "required", "59108", "A required parameter is missing." } },
    { CW_SBX_QUIRK_BREAK_THE_GLASS, conditions_behind_glass, 403, { "fatal", "suppressed", "4130", "Break-the-glass security." } },
    { CW_SBX_QUIRK_SEARCH_405, family_history, 405, { .text = NULL } },
    { CW_SBX_QUIRK_EMPTY_403, service_request, 403, { .text = NULL } },
    { CW_SBX_QUIRK_FIREWALL, first_immunizations, 403, { "html", NULL, NULL, "Blocked." } },
    { CW_SBX_QUIRK_PAGING_EXPIRES, paging_over, 400, { "fatal", "processing", "4113", "Session ID for cached search results has expired." } },
    { CW_SBX_QUIRK_OBSERVATION_CATEGORY, observation_without_category, 400,
      { "fatal", "required", "59108", "Either category or code is required." } },
    { CW_SBX_QUIRK_OBSERVATION_CATEGORY, observation_category_unknown, 400, { "fatal", "value", "59111", "An unknown category." } },
    { CW_SBX_QUIRK_CAREPLAN_CATEGORY, careplan_without_category, 400, { "fatal", "required", "59108", "category is required." } },
    { CW_SBX_QUIRK_ASSESS_PLAN, careplan_other_category, 400, { "error", "required", NULL, "category must be assess-plan." } },
    { CW_SBX_QUIRK_CARETEAM_ACTIVE, careteam_not_active, 400, { "fatal", "value", "59111", "Only active ones can be searched." } },
    { CW_SBX_QUIRK_CONDITION_CATEGORY, condition_without_category, 400, { "error", "required", NULL, "category is required." } },
    { CW_SBX_QUIRK_INTENT_NEEDED, medication_without_intent, 400, { "error", "required", NULL, "intent is required." } },
    { CW_SBX_QUIRK_LABORATORY_ONLY, not_laboratory, 400, { "error", "value", NULL, "Only laboratory." } },
    { CW_SBX_QUIRK_EPISODE_TYPE, episode_without_type, 400, { "fatal", "required", "59108", "type is required." } },
    { CW_SBX_QUIRK_NO_LAST_UPDATED, has_last_updated, 400, { "fatal", "not-supported", "4122", "_lastUpdated is not a parameter." } },
    { CW_SBX_QUIRK_DATES_CLOSED, date_is_open, 400, { "error", "invalid", NULL, "Dates come alone or as closed pairs." } },
    { CW_SBX_QUIRK_PRACTICE_WANTED, practice_missing, 400, { "error", "required", NULL, "ah-practice is required." } },
};

static void refuse(const struct fhir_ask *ask, size_t row)
{
    struct cw_reply *reply = ask->reply;
    const struct fhir_issue *issue = &refusals[row].issue;
    if (issue->text == NULL) {
        cw_reply_status(reply, refusals[row].status);
        cw_reply_header(reply, "Retry-After", ""); /* nor the one that our own answers have */
    } else if (issue->code == NULL) {
        (void)cw_str_add_cstr(cw_reply_body(reply), "<!doctype html><title>Blocked</title><p>This request looks like an attack.");
        cw_reply_html(reply, refusals[row].status);
    } else {
        reply_issue(reply, refusals[row].status, issue);
    }
    if (refusals[row].quirk == CW_SBX_QUIRK_RATE_60) {
        char seconds[24];
        (void)snprintf(seconds, sizeof seconds, "%lld", (long long)((minute_us() + CW_MINUTE_US - cw_now_us()) / CW_SECOND_US + 1));
        cw_reply_header(reply, "x-ratelimit-reset", seconds);
    }
}

/* 301 to the same under the new id, with Epic's word for it. */
static bool redirect_merged(const struct fhir_ask *ask)
{
    static const struct fhir_issue merged = { "information", "processing", "4107", "The patient was merged into another." };
    CW_AUTO_STR place;
    cw_str_init(&place, 2048);
    cw_str_add_span(&place, cw_span_cstr(ask->site->base));
    if (patient_read(ask) && cw_span_eq(ask->id, ask->patient)) {
        cw_str_add_cstr(&place, "/Patient/");
        cw_str_add_span(&place, ask->patient);
        cw_str_add_cstr(&place, CW_SBX_MERGED_TAIL);
    } else {
        return false;
    }
    reply_issue(ask->reply, 301, &merged);
    cw_reply_header(ask->reply, "Location", cw_str_cstr(&place));
    return true;
}

bool fhir_quirk_answers(const struct fhir_ask *ask)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(refusals); i++) {
        if (site_plays(ask->site, refusals[i].quirk) && refusals[i].hits(ask)) {
            refuse(ask, i);
            return true;
        }
    }
    return site_plays(ask->site, CW_SBX_QUIRK_MERGED) && redirect_merged(ask);
}

bool fhir_quirk_breaks_page(const struct fhir_ask *ask, size_t from, size_t past)
{
    static const struct fhir_issue defect = { "fatal", "required", NULL, "A required element is missing." };
    if (!site_plays(ask->site, CW_SBX_QUIRK_DATA_DEFECT) || !is_search(ask, "Observation") || from > BROKEN_AT || past <= BROKEN_AT) {
        return false;
    }
    reply_issue(ask->reply, 500, &defect);
    return true;
}

/* ---------------------------------------------------------------------------------------------- what is listed */

bool fhir_quirk_lists(const struct site *site, const struct cw_sbx_type *type)
{
    static const char *const ten[] = { "Condition", "Coverage", "Encounter", "ExplanationOfBenefit", "Immunization", "MedicationDispense",
                                       "MedicationRequest", "Observation", "Patient", "Procedure", NULL };
    if (site_plays(site, CW_SBX_QUIRK_METADATA_EMPTY)) {
        return false;
    }
    return !site_plays(site, CW_SBX_QUIRK_TEN_TYPES) || is_one_of(cw_span_cstr(type->name), ten);
}

bool fhir_quirk_lists_params(const struct site *site)
{
    return !site_plays(site, CW_SBX_QUIRK_METADATA_NO_PARAMS);
}

const char *fhir_quirk_version(const struct site *site)
{
    return site_plays(site, CW_SBX_QUIRK_DSTU2) ? "1.0.2" : "4.0.1";
}
