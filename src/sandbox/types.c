/* SPDX-License-Identifier: Apache-2.0 */
/* The table of types. Search parameters are those that US Core asks of a server, as far as they are of use to a patient's app. */
#include "config.h"
#include "sandbox/types.h"

#define PATIENT CW_SBX_BY_PATIENT
#define PATIENT_LU (CW_SBX_BY_PATIENT | CW_SBX_LAST_UPDATED)

#define TOKEN(n, p) { (n), CW_SBX_TOKEN, (p) }
#define DATE(n, p) { (n), CW_SBX_DATE, (p) }
#define REFERENCE(n, p) { (n), CW_SBX_REFERENCE, (p) }

/* In the order in which a chart keeps them. */
const struct cw_sbx_type cw_sbx_types[] = {
    { "Patient", PATIENT_LU, { TOKEN("identifier", "identifier"), TOKEN("gender", "gender"), DATE("birthdate", "birthDate") } },
    { "RelatedPerson", PATIENT, { TOKEN("relationship", "relationship") } },
    { "Coverage", PATIENT_LU, { TOKEN("status", "status") } },
    { "AllergyIntolerance", PATIENT_LU,
      { TOKEN("clinical-status", "clinicalStatus"), DATE("date", "recordedDate"), TOKEN("code", "code") } },
    { "Condition", PATIENT_LU,
      { TOKEN("category", "category"), TOKEN("code", "code"), TOKEN("clinical-status", "clinicalStatus"),
        DATE("onset-date", "onsetDateTime|onsetPeriod"), DATE("recorded-date", "recordedDate"),
        REFERENCE("encounter", "encounter") } },
    { "Encounter", PATIENT_LU,
      { DATE("date", "period"), TOKEN("class", "class"), TOKEN("status", "status"), TOKEN("type", "type") } },
    { "Observation", PATIENT_LU,
      { TOKEN("category", "category"), TOKEN("code", "code"), TOKEN("status", "status"),
        DATE("date", "effectiveDateTime|effectivePeriod|effectiveInstant"), DATE("issued", "issued"),
        REFERENCE("encounter", "encounter") } },
    { "DiagnosticReport", PATIENT_LU,
      { TOKEN("category", "category"), TOKEN("code", "code"), TOKEN("status", "status"),
        DATE("date", "effectiveDateTime|effectivePeriod"), DATE("issued", "issued") } },
    { "ServiceRequest", PATIENT_LU,
      { TOKEN("category", "category"), TOKEN("code", "code"), TOKEN("status", "status"), DATE("authored", "authoredOn") } },
    { "MedicationRequest", PATIENT_LU,
      { TOKEN("status", "status"), TOKEN("intent", "intent"), DATE("authoredon", "authoredOn"),
        REFERENCE("encounter", "encounter") } },
    { "MedicationDispense", PATIENT_LU, { TOKEN("status", "status"), DATE("whenhandedover", "whenHandedOver") } },
    { "MedicationStatement", PATIENT, { TOKEN("status", "status"), DATE("effective", "effectiveDateTime|effectivePeriod") } },
    { "MedicationAdministration", PATIENT,
      { TOKEN("status", "status"), DATE("effective-time", "effectiveDateTime|effectivePeriod") } },
    { "Immunization", PATIENT_LU, { DATE("date", "occurrenceDateTime"), TOKEN("status", "status"), TOKEN("vaccine-code", "vaccineCode") } },
    { "Procedure", PATIENT_LU, { DATE("date", "performedDateTime|performedPeriod"), TOKEN("code", "code"), TOKEN("status", "status") } },
    { "CarePlan", PATIENT, { TOKEN("category", "category"), TOKEN("status", "status"), DATE("date", "period") } },
    { "CareTeam", PATIENT, { TOKEN("status", "status"), TOKEN("category", "category") } },
    { "Goal", PATIENT, { TOKEN("lifecycle-status", "lifecycleStatus"), DATE("target-date", "target.dueDate") } },
    { "Device", PATIENT, { TOKEN("type", "type") } },
    { "DocumentReference", PATIENT_LU,
      { TOKEN("category", "category"), TOKEN("type", "type"), TOKEN("status", "status"), DATE("date", "date"),
        DATE("period", "context.period") } },
    { "FamilyMemberHistory", PATIENT, { TOKEN("code", "condition.code") } },
    { "QuestionnaireResponse", PATIENT, { TOKEN("status", "status"), DATE("authored", "authored") } },
    { "ExplanationOfBenefit", PATIENT_LU,
      { TOKEN("type", "type"), TOKEN("identifier", "identifier"), DATE("service-date", "billablePeriod") } },
    { "Claim", PATIENT, { TOKEN("use", "use"), TOKEN("status", "status") } },
    { "ImagingStudy", PATIENT, { DATE("started", "started"), TOKEN("status", "status") } },
    { "EpisodeOfCare", PATIENT, { TOKEN("status", "status"), DATE("date", "period") } },
    { "Specimen", PATIENT, { TOKEN("type", "type") } },
    { "Provenance", PATIENT, { REFERENCE("target", "target"), DATE("recorded", "recorded") } },
    { "SupplyDelivery", PATIENT, { TOKEN("status", "status") } },
    { "Media", 0, { { NULL, CW_SBX_TOKEN, NULL } } },
    { "Binary", 0, { { NULL, CW_SBX_TOKEN, NULL } } },
    { "Medication", CW_SBX_SHARED, { TOKEN("code", "code") } },
    { "Practitioner", CW_SBX_SHARED, { TOKEN("identifier", "identifier") } },
    { "PractitionerRole", CW_SBX_SHARED, { REFERENCE("practitioner", "practitioner") } },
    { "Organization", CW_SBX_SHARED, { TOKEN("identifier", "identifier") } },
    { "Location", CW_SBX_SHARED, { TOKEN("identifier", "identifier") } },
};

size_t cw_sbx_type_count(void)
{
    return CW_ARRAY_LEN(cw_sbx_types);
}

const struct cw_sbx_type *cw_sbx_type_find(struct cw_span name)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(cw_sbx_types); i++) {
        if (cw_span_eq_cstr(name, cw_sbx_types[i].name)) {
            return &cw_sbx_types[i];
        }
    }
    return NULL;
}

size_t cw_sbx_type_index(const struct cw_sbx_type *type)
{
    return (size_t)(type - cw_sbx_types);
}

const struct cw_sbx_param *cw_sbx_param_find(const struct cw_sbx_type *type, struct cw_span name)
{
    for (size_t i = 0; i < CW_SBX_PARAMS_MAX && type->params[i].name != NULL; i++) {
        if (cw_span_eq_cstr(name, type->params[i].name)) {
            return &type->params[i];
        }
    }
    return NULL;
}
