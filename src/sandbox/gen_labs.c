/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured: vital signs, social history and a score, and laboratory panels with their order, specimen and report. */
#include "config.h"
#include "sandbox/gen_int.h"

#include <stdio.h>

#include "base/time.h"

struct measure {
    const char *code, *name, *unit, *ucum;
    double low, high;
    int decimals;
};

static const struct measure vitals[] = {
    { "8867-4", "Heart rate", "beats/min", "/min", 56, 98, 0 },
    { "9279-1", "Respiratory rate", "breaths/min", "/min", 12, 20, 0 },
    { "8310-5", "Body temperature", "C", "Cel", 36.1, 38.2, 1 },
    { "29463-7", "Body weight", "kg", "kg", 52, 104, 2 },
    { "8302-2", "Body height", "cm", "cm", 151, 190, 1 },
    { "39156-5", "Body mass index", "kg/m2", "kg/m2", 19, 33, 2 },
    { "2708-6", "Oxygen saturation", "%", "%", 93, 100, 0 },
};

#define PANEL_MAX 8
struct panel {
    const char *code, *name;
    struct measure rows[PANEL_MAX];
    unsigned count;
};

static const struct panel panels[] = {
    { "51990-0", "Basic metabolic panel",
      { { "2345-7", "Glucose", "mg/dL", "mg/dL", 70, 160, 0 }, { "3094-0", "Urea nitrogen", "mg/dL", "mg/dL", 7, 25, 0 },
        { "2160-0", "Creatinine", "mg/dL", "mg/dL", 0.5, 1.4, 2 }, { "2951-2", "Sodium", "mmol/L", "mmol/L", 134, 146, 0 },
        { "2823-3", "Potassium", "mmol/L", "mmol/L", 3.4, 5.2, 1 }, { "2075-0", "Chloride", "mmol/L", "mmol/L", 96, 108, 0 },
        { "2028-9", "Carbon dioxide", "mmol/L", "mmol/L", 21, 31, 0 }, { "17861-6", "Calcium", "mg/dL", "mg/dL", 8.4, 10.4, 1 } }, 8 },
    { "58410-2", "Complete blood count",
      { { "6690-2", "Leukocytes", "10*3/uL", "10*3/uL", 3.8, 11.2, 1 }, { "789-8", "Erythrocytes", "10*6/uL", "10*6/uL", 4, 5.8, 2 },
        { "718-7", "Hemoglobin", "g/dL", "g/dL", 11.8, 17.2, 1 }, { "4544-3", "Hematocrit", "%", "%", 35, 51, 1 },
        { "787-2", "Mean cell volume", "fL", "fL", 79, 99, 1 }, { "777-3", "Platelets", "10*3/uL", "10*3/uL", 145, 420, 0 } }, 6 },
    { "57698-3", "Lipid panel",
      { { "2093-3", "Cholesterol", "mg/dL", "mg/dL", 128, 262, 0 }, { "2571-8", "Triglycerides", "mg/dL", "mg/dL", 54, 240, 0 },
        { "2085-9", "HDL cholesterol", "mg/dL", "mg/dL", 32, 80, 0 }, { "13457-7", "LDL cholesterol", "mg/dL", "mg/dL", 58, 180, 1 } }, 4 },
    { "4548-4", "Hemoglobin A1c and thyroid",
      { { "4548-4", "Hemoglobin A1c", "%", "%", 4.6, 8.9, 1 }, { "3016-3", "Thyrotropin", "m[IU]/L", "m[IU]/L", 0.4, 4.5, 3 } }, 2 },
};

static void observation_head(struct gen *g, const char *profile, const char *category, const char *code, const char *name)
{
    gen_begin(g, "Observation", profile);
    gen_put(g,
            ",'status':'final','category':[{'coding':[{'system':'http://terminology.hl7.org/CodeSystem/observation-category',"
            "'code':'@1'}]}],'code':{'coding':[{'system':'http://loinc.org','code':'@2','display':'@3'}],'text':'@3'},"
            "'subject':@p,'encounter':@e,'effectiveDateTime':'@t','issued':'@z'",
            GEN_ARGS(category, code, name));
}

static void quantity(struct gen *g, const struct measure *m)
{
    char value[24];
    gen_put(g, ",'valueQuantity':{'value':@1,'unit':'@2','system':'http://unitsofmeasure.org','code':'@3'}",
            GEN_ARGS(gen_decimal(g, m->low, m->high, m->decimals, value), m->unit, m->ucum));
}

static void blood_pressure(struct gen *g)
{
    char systolic[24], diastolic[24];
    observation_head(g, "us-core-blood-pressure", "vital-signs", "85354-9", "Blood pressure");
    gen_put(g,
            ",'component':[{'code':{'coding':[{'system':'http://loinc.org','code':'8480-6','display':'Systolic'}]},"
            "'valueQuantity':{'value':@1,'unit':'mmHg','system':'http://unitsofmeasure.org','code':'mm[Hg]'}},{'code':"
            "{'coding':[{'system':'http://loinc.org','code':'8462-4','display':'Diastolic'}]},'valueQuantity':{'value':@2,"
            "'unit':'mmHg','system':'http://unitsofmeasure.org','code':'mm[Hg]'}}]",
            GEN_ARGS(gen_decimal(g, 102, 158, 1, systolic), gen_decimal(g, 61, 97, 1, diastolic)));
    gen_end(g);
}

static void history_and_score(struct gen *g)
{
    char score[24];
    observation_head(g, "us-core-smokingstatus", "social-history", "72166-2", "Tobacco smoking status");
    gen_put(g, ",'valueCodeableConcept':{'coding':[{'system':'http://snomed.info/sct','code':'266919005'}],'text':'Never smoked'}",
            NULL);
    gen_end(g);
    observation_head(g, NULL, "survey", "55758-7", "PHQ-2 total score");
    gen_put(g, ",'valueInteger':@1", GEN_ARGS(gen_decimal(g, 0, 6, 0, score)));
    gen_end(g);
}

void gen_vitals(struct gen *g)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(vitals); i++) {
        observation_head(g, "us-core-vital-signs", "vital-signs", vitals[i].code, vitals[i].name);
        quantity(g, &vitals[i]);
        gen_end(g);
    }
    blood_pressure(g);
    if (g->visit % 4 == 0) {
        history_and_score(g);
    }
}

static void result(struct gen *g, const struct measure *m, const char *specimen)
{
    char low[24], high[24];
    observation_head(g, "us-core-observation-lab", "laboratory", m->code, m->name);
    quantity(g, m);
    snprintf(low, sizeof(low), "%.*f", m->decimals, m->low);
    snprintf(high, sizeof(high), "%.*f", m->decimals, m->high);
    gen_put(g,
            ",'specimen':{'reference':'Specimen/@1'},'referenceRange':[{'low':{'value':@2,'unit':'@4'},'high':{'value':@3,"
            "'unit':'@4'},'text':'@2 - @3'}]",
            GEN_ARGS(specimen, low, high, m->unit));
    gen_end(g);
}

static void order_and_specimen(struct gen *g, const struct panel *panel, char order[CW_SBX_ID_TEXT_MAX],
                               char specimen[CW_SBX_ID_TEXT_MAX])
{
    gen_begin(g, "ServiceRequest", NULL);
    snprintf(order, CW_SBX_ID_TEXT_MAX, "%s", g->id);
    gen_put(g,
            ",'status':'completed','intent':'order','category':[{'coding':[{'system':'http://snomed.info/sct','code':'108252007',"
            "'display':'Laboratory procedure'}]}],'code':{'coding':[{'system':'http://loinc.org','code':'@1'}],'text':'@2'},"
            "'subject':@p,'encounter':@e,'authoredOn':'@t','requester':@r",
            GEN_ARGS(panel->code, panel->name));
    gen_end(g);
    gen_begin(g, "Specimen", NULL);
    snprintf(specimen, CW_SBX_ID_TEXT_MAX, "%s", g->id);
    gen_put(g,
            ",'status':'available','type':{'coding':[{'system':'http://snomed.info/sct','code':'119297000','display':"
            "'Blood specimen'}]},'subject':@p,'receivedTime':'@t','collection':{'collectedDateTime':'@t'}",
            NULL);
    gen_end(g);
}

void gen_labs(struct gen *g)
{
    const struct panel *panel = &panels[gen_below(g, CW_ARRAY_LEN(panels))];
    char order[CW_SBX_ID_TEXT_MAX], specimen[CW_SBX_ID_TEXT_MAX], results[PANEL_MAX][CW_SBX_ID_TEXT_MAX];
    order_and_specimen(g, panel, order, specimen);
    g->at_us += 3 * CW_HOUR_US;
    for (unsigned i = 0; i < panel->count; i++) {
        result(g, &panel->rows[i], specimen);
        snprintf(results[i], sizeof(results[i]), "%s", g->id);
    }
    gen_begin(g, "DiagnosticReport", "us-core-diagnosticreport-lab");
    gen_narrative(g, panel->name, "All values were read twice.");
    gen_put(g,
            ",'basedOn':[{'reference':'ServiceRequest/@1'}],'status':'final','category':[{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/v2-0074','code':'LAB'}]}],'code':{'coding':[{'system':'http://loinc.org',"
            "'code':'@2','display':'@3'}],'text':'@3'},'subject':@p,'encounter':@e,'effectiveDateTime':'@t','issued':'@z',"
            "'performer':[@o],'specimen':[{'reference':'Specimen/@4'}],'result':[",
            GEN_ARGS(order, panel->code, panel->name, specimen));
    for (unsigned i = 0; i < panel->count; i++) {
        gen_put(g, i == 0 ? "{'reference':'Observation/@1'}" : ",{'reference':'Observation/@1'}", GEN_ARGS(results[i]));
    }
    gen_put(g, "]", NULL);
    gen_end(g);
    g->at_us -= 3 * CW_HOUR_US;
}
