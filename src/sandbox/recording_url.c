/* SPDX-License-Identifier: Apache-2.0 */
/* Bases, keys and patients from URLs. What a segment is, is told by its look alone: types of FHIR are written as FHIR writes them. */
#include "config.h"
#include "sandbox/recording_url.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/text.h"
#include "sandbox/params.h"
#include "sandbox/recording.h"

#define URL_ARENA_MAX (64u * 1024u)

bool cw_sbx_url_good(struct cw_span url)
{
    size_t scheme = cw_span_starts(url, CW_SPAN("https://")) ? 8 : cw_span_starts(url, CW_SPAN("http://")) ? 7 : 0;
    if (scheme == 0 || url.len == scheme || url.len > CW_SBX_RECORDING_URL_MAX || url.ptr[scheme] == '/') {
        return false;
    }
    size_t query = cw_span_find(url, '?');
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.ptr[i];
        bool never = c < 0x20 || c == 0x7f || c == '#';
        if (never || (i < query && (c == ' ' || c == '"' || c == '\\'))) { /* some clients do not code their queries */
            return false;
        }
    }
    return true;
}

struct cw_span cw_sbx_url_behind_scheme(struct cw_span url)
{
    return cw_span_from(url, cw_span_find_span(url, CW_SPAN("://")));
}

/* Cuts the last segment, and the slash before it, off a URL without query. False when there is none left behind the host. */
static bool cut_last(struct cw_span *url, struct cw_span *ret_segment)
{
    size_t at = url->len;
    while (at > 0 && url->ptr[at - 1] != '/') {
        at--;
    }
    if (at <= cw_span_find_span(*url, CW_SPAN("://")) + 3) {
        return false;
    }
    *ret_segment = cw_span_from(*url, at);
    *url = cw_span_upto(*url, at - 1);
    return true;
}

/* The resource types of FHIR R4. One that is missing only does not help to find the base. */
static const char *const types[] = {
    "Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary",
    "BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem",
    "ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest",
    "CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest",
    "CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement",
    "DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest",
    "EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit",
    "FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization",
    "ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List",
    "Location Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge",
    "MedicationRequest MedicationStatement MedicinalProduct MessageDefinition MessageHeader MolecularSequence",
    "NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition OperationOutcome Organization",
    "OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition Practitioner",
    "PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson RequestGroup",
    "ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis",
    "Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition StructureMap",
    "Subscription Substance SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport TestScript ValueSet",
    "VerificationResult VisionPrescription",
};

static bool is_type(struct cw_span segment)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(types); i++) {
        struct cw_span rest = cw_span_cstr(types[i]), word;
        while (cw_span_word(&rest, &word)) {
            if (cw_span_eq(word, segment)) {
                return true;
            }
        }
    }
    return false;
}

size_t cw_sbx_url_bases(struct cw_span url, struct cw_span ret_bases[CW_SBX_URL_BASES])
{
    struct cw_span rest = cw_span_upto(url, cw_span_find(url, '?')), segment;
    size_t count = 0;
    for (unsigned behind = 0; cut_last(&rest, &segment); behind++) {
        if (is_type(segment) || (behind == 0 && cw_span_eq_cstr(segment, "metadata"))) {
            ret_bases[count == 0 ? 0 : 1] = rest; /* the last of them and the first */
            count = count == 0 ? 1 : 2;
        }
    }
    return count;
}

bool cw_sbx_url_split(struct cw_span url, struct cw_span base, struct cw_span *ret_path, struct cw_span *ret_query)
{
    url = cw_sbx_url_behind_scheme(url);
    base = cw_sbx_url_behind_scheme(base);
    struct cw_span rest = cw_span_from(url, base.len);
    if (!cw_span_starts(url, base) || (rest.len > 0 && *rest.ptr != '/' && *rest.ptr != '?')) {
        return false;
    }
    size_t mark = cw_span_find(rest, '?');
    *ret_path = cw_span_upto(rest, mark);
    *ret_query = cw_span_from(rest, mark < rest.len ? mark + 1 : mark);
    return true;
}

static int compare_span(struct cw_span a, struct cw_span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

struct pair {
    struct cw_span name, value;
};

static int by_name(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = compare_span(x->name, y->name);
    return order != 0 ? order : compare_span(x->value, y->value);
}

static enum cw_code add_query(struct cw_span query, bool loose, struct cw_arena *arena, struct cw_str *out)
{
    struct cw_sbx_params params;
    struct pair pairs[CW_SBX_PARAMS_PAIRS_MAX];
    enum cw_code rc = cw_sbx_params_parse(query, arena, &params);
    if (rc != CW_OK) {
        return rc;
    }
    for (size_t i = 0; i < params.count; i++) {
        pairs[i] = (struct pair){ params.pairs[i].name, params.pairs[i].value };
    }
    qsort(pairs, params.count, sizeof(pairs[0]), by_name);
    for (size_t i = 0; i < params.count; i++) {
        if (!loose || !cw_span_eq_cstr(pairs[i].name, "_count")) {
            cw_str_add_char(out, '&');
            (void)cw_percent_encode(pairs[i].name, out);
            cw_str_add_char(out, '=');
            (void)cw_percent_encode(pairs[i].value, out);
        }
    }
    return cw_str_code(out);
}

enum cw_code cw_sbx_url_key(const struct cw_sbx_wish *wish, bool loose, struct cw_str *out)
{
    struct cw_arena *arena = cw_arena_new(URL_ARENA_MAX);
    if (arena == NULL) {
        return CW_E_OOM;
    }
    cw_str_add_span(out, wish->method);
    cw_str_add_char(out, ' ');
    (void)cw_percent_encode(wish->path, out);
    enum cw_code rc = add_query(wish->query, loose, arena, out);
    cw_arena_free(arena);
    return rc;
}

/* "Patient/1" and "https://…/Patient/1" are 1. */
static struct cw_span behind_slash(struct cw_span text)
{
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != '/') {
        at--;
    }
    return cw_span_from(text, at);
}

void cw_sbx_url_patient(struct cw_span path, struct cw_span query, struct cw_str *out)
{
    static const char *const names[] = { "patient", "subject", "beneficiary", "patient._id", "patient:Patient", "subject:Patient" };
    static const struct cw_span read = { "/Patient/", 9 };
    struct cw_sbx_params params = { .count = 0 };
    struct cw_arena *arena = cw_arena_new(URL_ARENA_MAX);
    struct cw_span id = { NULL, 0 };
    if (arena != NULL && cw_sbx_params_parse(query, arena, &params) == CW_OK) {
        for (size_t i = 0; i < CW_ARRAY_LEN(names) && id.len == 0; i++) {
            id = behind_slash(cw_sbx_param(&params, names[i]));
        }
        if (id.len == 0 && cw_span_starts(path, read)) {
            id = cw_span_from(path, read.len);
            id = cw_span_upto(id, cw_span_find(id, '/'));
        } else if (id.len == 0 && cw_span_eq_cstr(path, "/Patient")) {
            id = cw_sbx_param(&params, "_id");
        }
        cw_str_add_span(out, id);
    }
    cw_arena_free(arena);
}

/* --- the base where it is played --- */

/* What stands at the end of the copied text, "http" or "https"; 0 when it is neither. */
static size_t scheme_length(const struct cw_str *out)
{
    return cw_span_ends(cw_str_span(out), CW_SPAN("https")) ? 5 : cw_span_ends(cw_str_span(out), CW_SPAN("http")) ? 4 : 0;
}

/* Copies `text` with `with` in place of `what`, a base without its scheme, where that is a whole base: behind http or https, since a proxy may have
 * taken the one for the other, and not a part of a longer name. */
static enum cw_code put_base(struct cw_span text, struct cw_span what, struct cw_span with, struct cw_str *out)
{
    for (;;) {
        size_t at = cw_span_find_span(text, what);
        cw_str_add_span(out, cw_span_upto(text, at));
        if (at == text.len) {
            return cw_str_code(out);
        }
        char next = at + what.len < text.len ? text.ptr[at + what.len] : '\0';
        size_t scheme = scheme_length(out);
        bool whole = scheme > 0 && strchr("/?#\"'\\ \t\r\n<>,;|&", next) != NULL; /* the end of the text is one of them */
        if (whole && cw_str_code(out) == CW_OK) {
            cw_str_cut(out, out->len - scheme);
        }
        cw_str_add_span(out, whole ? with : what);
        text = cw_span_from(text, at + what.len);
    }
}

/* `text` with its slashes escaped. */
static void add_slashed(struct cw_span text, struct cw_str *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '/') {
            cw_str_add_char(out, '\\');
        }
        cw_str_add_char(out, text.ptr[i]);
    }
}

/* The path of a base; "" for a host alone. */
static struct cw_span path_of(struct cw_span base)
{
    struct cw_span rest = cw_span_from(cw_sbx_url_behind_scheme(base), 3);
    return cw_span_from(rest, cw_span_find(rest, '/'));
}

/* What stands in `text` at its front begins with the recorded path, or where that is "", is a path as the value of a member "url". */
static bool is_rooted(struct cw_span before, struct cw_span text, struct cw_span path, bool slashed)
{
    struct cw_span slash = slashed ? CW_SPAN("\\/") : CW_SPAN("/");
    if (!cw_span_starts(text, path)) {
        return false;
    }
    struct cw_span rest = cw_span_from(text, path.len);
    if (path.len > 0) {
        return rest.len > 0 && (cw_span_starts(rest, slash) || *rest.ptr == '?' || *rest.ptr == '"');
    }
    bool url = cw_span_ends(before, CW_SPAN("\"url\":")) || cw_span_ends(before, CW_SPAN("\"url\": "));
    return url && cw_span_starts(rest, slash) && !cw_span_starts(cw_span_from(rest, slash.len), slash);
}

/* Links that begin at the root of the host: strings that begin with the recorded path get the one where it is played. */
static enum cw_code put_paths(struct cw_span text, struct cw_span path, struct cw_span with, struct cw_str *out)
{
    CW_AUTO_STR path_slashed, with_slashed;
    cw_str_init(&path_slashed, 2 * CW_SBX_RECORDING_URL_MAX);
    cw_str_init(&with_slashed, 2 * CW_SBX_RECORDING_URL_MAX);
    add_slashed(path, &path_slashed);
    add_slashed(with, &with_slashed);
    for (struct cw_span rest = text; text.len > 0;) {
        size_t at = cw_span_find(rest, '"');
        struct cw_span before = cw_span_upto(text, (size_t)(rest.ptr - text.ptr) + at);
        cw_str_add_span(out, cw_span_upto(rest, at + 1));
        if (at == rest.len) {
            return cw_str_code(out);
        }
        rest = cw_span_from(rest, at + 1);
        if (is_rooted(before, rest, path, false)) {
            cw_str_add_span(out, with);
            rest = cw_span_from(rest, path.len);
        } else if (is_rooted(before, rest, cw_str_span(&path_slashed), true)) {
            cw_str_add_span(out, cw_str_span(&with_slashed));
            rest = cw_span_from(rest, path_slashed.len);
        }
    }
    return cw_str_code(out);
}

enum cw_code cw_sbx_url_put(struct cw_span text, struct cw_span recorded, struct cw_span base, struct cw_str *out)
{
    CW_AUTO_STR plain, both, from, to;
    cw_str_init(&plain, CW_RESPONSE_MAX);
    cw_str_init(&both, CW_RESPONSE_MAX);
    cw_str_init(&from, 2 * CW_SBX_RECORDING_URL_MAX);
    cw_str_init(&to, 2 * CW_SBX_RECORDING_URL_MAX);
    struct cw_span tail = cw_sbx_url_behind_scheme(recorded);
    add_slashed(tail, &from);
    add_slashed(base, &to);
    enum cw_code rc = put_base(text, tail, base, &plain);
    if (rc == CW_OK) {
        rc = put_base(cw_str_span(&plain), cw_str_span(&from), cw_str_span(&to), &both);
    }
    return rc == CW_OK ? put_paths(cw_str_span(&both), path_of(recorded), path_of(base), out) : rc;
}
