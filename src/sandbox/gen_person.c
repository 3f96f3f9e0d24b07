/* SPDX-License-Identifier: Apache-2.0 */
/* Who: the patient, those around the patient, the hospital and its staff, insurance, and what is known from before. */
#include "config.h"
#include "sandbox/gen_int.h"

#include <stdio.h>

#include "base/time.h"

static const char *const doctor_names[GEN_DOCTORS][2] = {
    { "Mirela", "Castellan" }, { "Odd", "Fjeldsøe" },   { "Priya", "Raghunathan" }, { "Joel", "Whitlock" },
    { "Femi", "Adebowale" },   { "Carmen", "Izquierdo" }, { "Noor", "Haddad" },     { "Stefan", "Krähenbühl" },
    { "Lucille", "Bonham" },   { "Kenji", "Morimoto" }, { "Agnes", "Tamm" },        { "Roman", "Halvorsen" },
};

static void practitioner(struct gen *g, unsigned at)
{
    char id[CW_SBX_ID_TEXT_MAX], role[CW_SBX_ID_TEXT_MAX], npi[16];
    gen_shared_id(GEN_PRACTITIONER, at, id);
    gen_shared_id(GEN_ROLE, at, role);
    snprintf(npi, sizeof(npi), "99%08u", 10301u + 77u * at);
    g->doctor = at;
    gen_begin_as(g, "Practitioner", "us-core-practitioner", id);
    gen_put(g,
            ",'identifier':[{'system':'http://hl7.org/fhir/sid/us-npi','value':'@1'}],'active':true,'name':[{'use':'official',"
            "'family':'@2','given':['@3'],'prefix':['Dr.']}],'telecom':[{'system':'phone','value':'+1-555-0100','use':'work'}]",
            GEN_ARGS(npi, doctor_names[at][1], doctor_names[at][0]));
    gen_end(g);
    gen_begin_as(g, "PractitionerRole", "us-core-practitionerrole", role);
    gen_put(g,
            ",'active':true,'practitioner':@r,'organization':@o,'code':[{'coding':[{'system':"
            "'http://nucc.org/provider-taxonomy','code':'207Q00000X','display':'Family medicine'}],'text':'Family medicine'}],"
            "'location':[@l]",
            NULL);
    gen_end(g);
}

void gen_hospital(struct gen *g)
{
    char id[CW_SBX_ID_TEXT_MAX];
    uint64_t rng = g->rng; /* the hospital is the same in every record */
    g->rng = 1;
    gen_shared_id(GEN_ORGANIZATION, 0, id);
    gen_begin_as(g, "Organization", "us-core-organization", id);
    gen_put(g,
            ",'identifier':[{'system':'http://hl7.org/fhir/sid/us-npi','value':'9900000019'}],'active':true,'type':[{'coding':"
            "[{'system':'http://terminology.hl7.org/CodeSystem/organization-type','code':'prov'}]}],'name':"
            "'Chartway Sandbox Hospital','address':[{'line':['1 Invented Way'],'city':'Nowhere','state':'ZZ',"
            "'postalCode':'00000','country':'US'}]",
            NULL);
    gen_end(g);
    gen_shared_id(GEN_LOCATION, 0, id);
    gen_begin_as(g, "Location", NULL, id);
    gen_put(g,
            ",'status':'active','name':'Main building','address':{'line':['1 Invented Way'],'city':'Nowhere'},"
            "'position':{'longitude':-71.0650,'latitude':42.3500},'managingOrganization':@o",
            NULL);
    gen_end(g);
    for (unsigned i = 0; i < GEN_DOCTORS; i++) {
        practitioner(g, i);
    }
    g->rng = rng;
    g->doctor = 0;
}

static void related_person(struct gen *g)
{
    gen_begin(g, "RelatedPerson", NULL);
    gen_put(g,
            ",'active':true,'patient':@p,'relationship':[{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/v3-RoleCode','code':'SIB','display':'sibling'}]}],'name':[{'family':'@1',"
            "'given':['Robin']}]",
            GEN_ARGS(g->who->family));
    gen_end(g);
}

void gen_person(struct gen *g)
{
    char mrn[32], title[128];
    snprintf(mrn, sizeof(mrn), "SBX-%06u", gen_below(g, 1000000));
    snprintf(title, sizeof(title), "%s %s", g->who->given, g->who->family);
    gen_begin_as(g, "Patient", "us-core-patient", g->patient);
    gen_narrative(g, title, "A person who was never born.");
    gen_put(g,
            ",'extension':[{'url':'http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex','valueCode':'@5'}],"
            "'identifier':[{'use':'usual','type':{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/v2-0203',"
            "'code':'MR'}]},'system':'urn:oid:2.16.840.1.113883.4.349.99.1','value':'@1'}],'active':true,'name':[{'use':"
            "'official','text':'@2','family':'@3','given':['@4']}],'telecom':[{'system':'phone','value':'+1-555-0142',"
            "'use':'home'},{'system':'email','value':'someone@@example.org'}],'gender':'@6','birthDate':'@7'",
            GEN_ARGS(mrn, title, g->who->family, g->who->given, strcmp(g->who->gender, "male") == 0 ? "M" : "F", g->who->gender,
                     g->who->birth_date));
    gen_put(g,
            ",'address':[{'use':'home','line':['27 Made-Up Street','Apt. 4'],'city':'Nowhere','state':'ZZ','postalCode':"
            "'00000','country':'US','period':{'start':'2010-01-01'}}],'communication':[{'language':{'coding':[{'system':"
            "'urn:ietf:bcp:47','code':'en-US'}]},'preferred':true}]",
            NULL);
    if (g->who->encounters > 0) {
        gen_put(g, ",'generalPractitioner':[@r],'managingOrganization':@o", NULL);
    }
    gen_end(g);
    if (g->who->encounters > 0) {
        related_person(g);
    }
}

static void coverage(struct gen *g)
{
    gen_begin(g, "Coverage", NULL);
    gen_put(g,
            ",'status':'active','type':{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/v3-ActCode','code':'HIP'}]},"
            "'subscriberId':'SBX99-@1','beneficiary':@p,'relationship':{'coding':[{'code':'self'}]},'period':{'start':"
            "'2020-01-01'},'payor':[@o],'costToBeneficiary':[{'type':{'text':'copay'},'valueMoney':{'value':25.00,"
            "'currency':'USD'}}]",
            GEN_ARGS("0042"));
    gen_end(g);
}

static void allergy(struct gen *g, const char *code, const char *name, const char *reaction)
{
    gen_begin(g, "AllergyIntolerance", "us-core-allergyintolerance");
    gen_narrative(g, name, reaction);
    gen_put(g,
            ",'clinicalStatus':{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical','code':"
            "'active'}]},'verificationStatus':{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/allergyintolerance-verification','code':'confirmed'}]},'criticality':'low',"
            "'code':{'coding':[{'system':'http://snomed.info/sct','code':'@1','display':'@2'}],'text':'@2'},'patient':@p,"
            "'recordedDate':'@d','reaction':[{'manifestation':[{'text':'@3'}]}]",
            GEN_ARGS(code, name, reaction));
    gen_end(g);
}

static void family_history(struct gen *g)
{
    gen_begin(g, "FamilyMemberHistory", NULL);
    gen_put(g,
            ",'status':'completed','patient':@p,'relationship':{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/v3-RoleCode','code':'MTH','display':'mother'}]},'condition':[{'code':"
            "{'coding':[{'system':'http://snomed.info/sct','code':'38341003','display':'Hypertension'}]},'onsetAge':{'value':"
            "52.0,'unit':'years','system':'http://unitsofmeasure.org','code':'a'}}]",
            NULL);
    gen_end(g);
}

static void care(struct gen *g)
{
    char team[CW_SBX_ID_TEXT_MAX];
    gen_begin(g, "CareTeam", "us-core-careteam");
    snprintf(team, sizeof(team), "%s", g->id);
    gen_put(g,
            ",'status':'active','name':'Primary care','subject':@p,'participant':[{'role':[{'text':'Physician'}],'member':@r},"
            "{'role':[{'text':'Patient'}],'member':@p}]",
            NULL);
    gen_end(g);
    gen_begin(g, "Goal", "us-core-goal");
    gen_put(g,
            ",'lifecycleStatus':'active','description':{'text':'Blood pressure under 140/90'},'subject':@p,'startDate':'@d',"
            "'target':[{'measure':{'coding':[{'system':'http://loinc.org','code':'8480-6'}]},'detailQuantity':{'value':140.0,"
            "'unit':'mmHg'},'dueDate':'2026-12-31'}]",
            NULL);
    gen_end(g);
    gen_begin(g, "CarePlan", "us-core-careplan");
    gen_narrative(g, "Plan of care", "More walking, less salt, a check twice a year.");
    gen_put(g,
            ",'status':'active','intent':'plan','category':[{'coding':[{'system':"
            "'http://hl7.org/fhir/us/core/CodeSystem/careplan-category','code':'assess-plan'}]}],'subject':@p,'period':"
            "{'start':'@d'},'careTeam':[{'reference':'CareTeam/@1'}]",
            GEN_ARGS(team));
    gen_end(g);
}

static void device(struct gen *g)
{
    gen_begin(g, "Device", "us-core-implantable-device");
    gen_put(g,
            ",'udiCarrier':[{'deviceIdentifier':'00000000000017','carrierHRF':'(01)00000000000017(11)200101(21)SBX-@1'}],"
            "'status':'active','distinctIdentifier':'SBX-@1','manufactureDate':'2020-01-01','type':{'coding':[{'system':"
            "'http://snomed.info/sct','code':'14106009','display':'Cardiac pacemaker'}]},'patient':@p",
            GEN_ARGS("7731"));
    gen_end(g);
}

static void questionnaire(struct gen *g)
{
    gen_begin(g, "QuestionnaireResponse", NULL);
    gen_put(g,
            ",'questionnaire':'http://example.org/Questionnaire/sleep','status':'completed','subject':@p,'authored':'@t',"
            "'item':[{'linkId':'1','text':'Hours of sleep','answer':[{'valueDecimal':6.50}]},{'linkId':'2','text':'Rested?',"
            "'answer':[{'valueBoolean':false}],'item':[{'linkId':'2.1','text':'Why not','answer':[{'valueString':"
            "'Noise \\u2013 the upstairs neighbour'}]}]}]",
            NULL);
    gen_end(g);
}

void gen_background(struct gen *g)
{
    coverage(g);
    allergy(g, "91936005", "Allergy to penicillin", "Hives");
    if (gen_chance(g, 1, 2)) {
        allergy(g, "418689008", "Allergy to grass pollen", "Sneezing, \"itchy\" eyes");
    }
    family_history(g);
    care(g);
    if (g->who->years >= 8) {
        device(g);
    }
    questionnaire(g);
}
