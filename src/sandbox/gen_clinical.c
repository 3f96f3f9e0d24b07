/* SPDX-License-Identifier: Apache-2.0 */
/* What happened: visits with their vital signs, laboratory results, problems, medications, procedures, vaccinations and bills. */
#include "config.h"
#include "sandbox/gen_int.h"

#include <stdio.h>

#include "base/time.h"

struct concept {
    const char *code, *name, *other; /* `other`: a second code, or a unit */
};

static const struct concept problems[] = {
    { "38341003", "Hypertension", "I10" },           { "44054006", "Type 2 diabetes", "E11.9" },
    { "55822004", "Hyperlipidemia", "E78.5" },       { "195967001", "Asthma", "J45.909" },
    { "40055000", "Chronic sinusitis", "J32.9" },    { "10509002", "Acute bronchitis", "J20.9" },
    { "271737000", "Anemia", "D64.9" },              { "396275006", "Osteoarthritis", "M19.90" },
    { "235595009", "Gastroesophageal reflux", "K21.9" }, { "40930008", "Hypothyroidism", "E03.9" },
    { "197480006", "Anxiety disorder", "F41.9" },    { "195662009", "Acute viral pharyngitis", "J02.9" },
};

static const struct concept drugs[] = {
    { "314076", "lisinopril 10 MG Oral Tablet", "tablet" },  { "860975", "metformin 500 MG Extended Release Tablet", "tablet" },
    { "617311", "atorvastatin 40 MG Oral Tablet", "tablet" }, { "197361", "amlodipine 5 MG Oral Tablet", "tablet" },
    { "310798", "hydrochlorothiazide 25 MG Oral Tablet", "tablet" }, { "313782", "acetaminophen 325 MG Oral Tablet", "tablet" },
    { "310965", "ibuprofen 200 MG Oral Tablet", "tablet" },  { "312961", "simvastatin 20 MG Oral Tablet", "tablet" },
};

static const struct concept vaccines[] = {
    { "140", "Influenza, seasonal, injectable, preservative free", NULL }, { "115", "Tdap", NULL },
    { "33", "Pneumococcal polysaccharide", NULL }, { "208", "COVID-19, mRNA, 30 mcg", NULL },
    { "187", "Zoster recombinant", NULL }, { "08", "Hepatitis B, pediatric", NULL },
};

static const struct concept procedures[] = {
    { "73761001", "Colonoscopy", NULL }, { "430193006", "Medication reconciliation", NULL },
    { "171207006", "Depression screening", NULL }, { "117015009", "Throat culture", NULL },
    { "710824005", "Assessment of health and social care needs", NULL },
};

#define PICK(g, table) (&(table)[gen_below((g), CW_ARRAY_LEN(table))])

static void encounter(struct gen *g)
{
    const struct concept *reason = PICK(g, problems);
    bool urgent = gen_chance(g, 1, 9);
    gen_begin(g, "Encounter", "us-core-encounter");
    snprintf(g->encounter, sizeof(g->encounter), "%s", g->id);
    gen_put(g,
            ",'status':'finished','class':{'system':'http://terminology.hl7.org/CodeSystem/v3-ActCode','code':'@1'},'type':"
            "[{'coding':[{'system':'http://snomed.info/sct','code':'@2'}],'text':'@3'}],'subject':@p,'participant':"
            "[{'individual':@r}],'period':{'start':'@t'",
            urgent ? GEN_ARGS("EMER", "50849002", "Emergency room admission") : GEN_ARGS("AMB", "185349003", "Check-up"));
    g->at_us += 25 * CW_MINUTE_US;
    gen_put(g, ",'end':'@t'},'reasonCode':[{'text':'@1'}],'location':[{'location':@l}],'serviceProvider':@o", GEN_ARGS(reason->name));
    g->at_us -= 20 * CW_MINUTE_US;
    gen_end(g);
}

static void condition(struct gen *g)
{
    const struct concept *c = PICK(g, problems);
    bool listed = gen_chance(g, 1, 3), over = gen_chance(g, 1, 2);
    gen_begin(g, "Condition", listed ? "us-core-condition-problems-health-concerns" : "us-core-condition-encounter-diagnosis");
    gen_narrative(g, c->name, over ? "Resolved." : "Under observation.");
    gen_put(g,
            ",'clinicalStatus':{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/condition-clinical','code':'@1'}]},"
            "'verificationStatus':{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/condition-ver-status','code':"
            "'confirmed'}]},'category':[{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/condition-category','code':"
            "'@2'}]}],'code':{'coding':[{'system':'http://snomed.info/sct','code':'@3','display':'@4'},{'system':"
            "'http://hl7.org/fhir/sid/icd-10-cm','code':'@5'}],'text':'@4'},'subject':@p,'encounter':@e,'onsetDateTime':'@t',"
            "'recordedDate':'@d'",
            GEN_ARGS(over ? "resolved" : "active", listed ? "problem-list-item" : "encounter-diagnosis", c->code, c->name, c->other));
    gen_end(g);
}

/* The drug as a code, as a contained Medication, or as a Medication of its own, in turn. */
static void drug(struct gen *g, const struct concept *c, unsigned way)
{
    char id[CW_SBX_ID_TEXT_MAX];
    if (way == 0) {
        gen_put(g,
                ",'contained':[{'resourceType':'Medication','id':'med1','code':{'coding':[{'system':"
                "'http://www.nlm.nih.gov/research/umls/rxnorm','code':'@1','display':'@2'}]}}],'medicationReference':"
                "{'reference':'#med1','display':'@2'}",
                GEN_ARGS(c->code, c->name));
    } else if (way == 1) {
        gen_shared_id(GEN_MEDICATION, (unsigned)(c - drugs), id);
        gen_put(g, ",'medicationReference':{'reference':'Medication/@1','display':'@2'}", GEN_ARGS(id, c->name));
    } else {
        gen_put(g,
                ",'medicationCodeableConcept':{'coding':[{'system':'http://www.nlm.nih.gov/research/umls/rxnorm','code':'@1',"
                "'display':'@2'}],'text':'@2'}",
                GEN_ARGS(c->code, c->name));
    }
}

static void medication_itself(struct gen *g, const struct concept *c)
{
    char id[CW_SBX_ID_TEXT_MAX];
    uint64_t rng = g->rng;
    gen_shared_id(GEN_MEDICATION, (unsigned)(c - drugs), id);
    gen_begin_as(g, "Medication", "us-core-medication", id);
    gen_put(g,
            ",'code':{'coding':[{'system':'http://www.nlm.nih.gov/research/umls/rxnorm','code':'@1','display':'@2'}]},'form':"
            "{'text':'@3'}",
            GEN_ARGS(c->code, c->name, c->other));
    gen_end(g); /* the chart keeps the first of equal ids */
    g->rng = rng;
}

static void medication(struct gen *g)
{
    const struct concept *c = PICK(g, drugs);
    unsigned way = gen_below(g, 3);
    char dose[24], request[CW_SBX_ID_TEXT_MAX];
    if (way == 1) {
        medication_itself(g, c);
    }
    gen_begin(g, "MedicationRequest", "us-core-medicationrequest");
    snprintf(request, sizeof(request), "%s", g->id);
    drug(g, c, way);
    gen_put(g,
            ",'status':'@1','intent':'order','category':[{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/medicationrequest-category','code':'community'}]}],'subject':@p,"
            "'encounter':@e,'authoredOn':'@t','requester':@r,'dosageInstruction':[{'text':'Once a day','timing':{'repeat':"
            "{'frequency':1,'period':1.0,'periodUnit':'d'}},'doseAndRate':[{'doseQuantity':{'value':@2,'unit':'@3'}}]}],"
            "'dispenseRequest':{'numberOfRepeatsAllowed':3,'quantity':{'value':90.0,'unit':'@3'}}",
            GEN_ARGS(gen_chance(g, 1, 3) ? "active" : "stopped", gen_decimal(g, 0.5, 2.0, 1, dose), c->other));
    gen_end(g);
    if (gen_chance(g, 1, 2)) {
        gen_begin(g, "MedicationDispense", NULL);
        drug(g, c, way);
        gen_put(g,
                ",'status':'completed','subject':@p,'authorizingPrescription':[{'reference':'MedicationRequest/@1'}],'quantity':"
                "{'value':30.00,'unit':'@2'},'whenHandedOver':'@z'",
                GEN_ARGS(request, c->other));
        gen_end(g);
    }
}

static void vaccination(struct gen *g)
{
    const struct concept *c = PICK(g, vaccines);
    gen_begin(g, "Immunization", "us-core-immunization");
    gen_put(g,
            ",'status':'completed','vaccineCode':{'coding':[{'system':'http://hl7.org/fhir/sid/cvx','code':'@1','display':'@2'}],"
            "'text':'@2'},'patient':@p,'encounter':@e,'occurrenceDateTime':'@t','primarySource':true,'lotNumber':'SBX@1',"
            "'doseQuantity':{'value':0.50,'unit':'mL','system':'http://unitsofmeasure.org','code':'mL'},'performer':"
            "[{'actor':@r}]",
            GEN_ARGS(c->code, c->name));
    gen_end(g);
}

static void procedure(struct gen *g)
{
    const struct concept *c = PICK(g, procedures);
    gen_begin(g, "Procedure", "us-core-procedure");
    gen_put(g,
            ",'status':'completed','code':{'coding':[{'system':'http://snomed.info/sct','code':'@1','display':'@2'}],'text':'@2'},"
            "'subject':@p,'encounter':@e,'performedPeriod':{'start':'@t','end':'@z'},'performer':[{'actor':@r}]",
            GEN_ARGS(c->code, c->name));
    gen_end(g);
}

static void bill(struct gen *g)
{
    char total[24], paid[24];
    gen_begin(g, "ExplanationOfBenefit", NULL);
    gen_put(g,
            ",'identifier':[{'system':'urn:chartway:sandbox:claim','value':'@i'}],'status':'active','type':{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/claim-type','code':'professional'}]},'use':'claim','patient':@p,"
            "'billablePeriod':{'start':'@d','end':'@d'},'created':'@d','insurer':@o,'provider':@r,'outcome':'complete','item':"
            "[{'sequence':1,'productOrService':{'coding':[{'system':'http://snomed.info/sct','code':'185349003'}]},'encounter':"
            "[@e],'net':{'value':@1,'currency':'USD'}}],'total':[{'category':{'coding':[{'code':'submitted'}]},'amount':"
            "{'value':@1,'currency':'USD'}}],'payment':{'amount':{'value':@2,'currency':'USD'}}",
            GEN_ARGS(gen_decimal(g, 90, 900, 2, total), gen_decimal(g, 10, 80, 2, paid)));
    gen_end(g);
}

void gen_visit(struct gen *g)
{
    encounter(g);
    gen_vitals(g);
    if (g->visit % 2 == 0 || gen_chance(g, 1, 4)) {
        gen_labs(g);
    }
    if (gen_chance(g, 2, 3)) {
        condition(g);
    }
    if (gen_chance(g, 2, 3)) {
        medication(g);
    }
    if (g->visit % 3 == 0) {
        vaccination(g);
    }
    if (gen_chance(g, 1, 2)) {
        procedure(g);
    }
    gen_note(g);
    bill(g);
}
