/* SPDX-License-Identifier: Apache-2.0 */
/* The pen: chance, ids, templates, and the order of the chapters. */
#include "config.h"
#include "sandbox/gen.h"

#include <stdio.h>

#include "base/time.h"
#include "sandbox/gen_int.h"
#include "sandbox/walk.h"

#define RESOURCE_MAX (4u * 1024u * 1024u)
#define SEED UINT64_C(0x6368617274776179) /* "chartway" */

/* --- chance --- */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t gen_next(struct gen *g)
{
    return splitmix(&g->rng);
}

unsigned gen_below(struct gen *g, unsigned below)
{
    return (unsigned)(gen_next(g) % below);
}

bool gen_chance(struct gen *g, unsigned n, unsigned of)
{
    return gen_below(g, of) < n;
}

const char *gen_decimal(struct gen *g, double low, double high, int decimals, char buf[24])
{
    /* Whole steps in integers: the digits do not depend on how a machine rounds. */
    int64_t scale = 1;
    for (int i = 0; i < decimals; i++) {
        scale *= 10;
    }
    int64_t from = (int64_t)(low * (double)scale), to = (int64_t)(high * (double)scale);
    int64_t value = from + (int64_t)(gen_next(g) % (uint64_t)(to - from + 1));
    if (decimals == 0) {
        snprintf(buf, 24, "%lld", (long long)value);
    } else {
        snprintf(buf, 24, "%lld.%0*lld", (long long)(value / scale), decimals, (long long)(value % scale));
    }
    return buf;
}

/* --- ids --- */

static void uuid_text(uint64_t *state, char out[CW_SBX_ID_TEXT_MAX])
{
    uint64_t a = splitmix(state), b = splitmix(state);
    snprintf(out, CW_SBX_ID_TEXT_MAX, "%08x-%04x-4%03x-%x%03x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
             (unsigned)(a & 0xfff), 8u + (unsigned)(b >> 62), (unsigned)(b >> 48 & 0xfff),
             (unsigned long long)(b & UINT64_C(0xffffffffffff)));
}

static void opaque_text(uint64_t *state, size_t len, char out[CW_SBX_ID_TEXT_MAX])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
    out[0] = 'e';
    for (size_t i = 1; i < len - 1; i++) {
        out[i] = letters[splitmix(state) % (sizeof(letters) - 1)];
    }
    out[len - 1] = '3';
    out[len] = '\0';
}

void gen_new_id(struct gen *g, const struct cw_sbx_type *type, char ret_id[CW_SBX_ID_TEXT_MAX])
{
    bool document = strcmp(type->name, "DocumentReference") == 0 || strcmp(type->name, "Binary") == 0;
    if (g->who->ids == CW_SBX_ID_UUID) {
        uuid_text(&g->rng, ret_id);
    } else {
        opaque_text(&g->rng, g->who->ids == CW_SBX_ID_LONG && document ? 88 : 45, ret_id);
    }
}

void gen_shared_id(enum gen_shared kind, unsigned at, char ret_id[CW_SBX_ID_TEXT_MAX])
{
    uint64_t state = SEED ^ ((uint64_t)kind + 1) << 40 ^ at;
    uuid_text(&state, ret_id);
}

static uint64_t seed_of(size_t persona)
{
    return SEED + (uint64_t)persona * UINT64_C(0x5851f42d4c957f2d);
}

void cw_sbx_patient_id(size_t persona, char ret_id[CW_SBX_ID_TEXT_MAX])
{
    uint64_t state = ~seed_of(persona);
    if (cw_sbx_persona_at(persona)->ids == CW_SBX_ID_UUID) {
        uuid_text(&state, ret_id);
    } else {
        opaque_text(&state, 45, ret_id);
    }
}

/* --- the pen --- */

static void add_time(struct gen *g, char form)
{
    char text[CW_TIME_TEXT];
    cw_time_emit(form == 't' ? g->at_us - 5 * CW_HOUR_US : g->at_us, text);
    switch (form) {
    case 'd':
        cw_str_add(&g->out, text, 10);
        break;
    case 't':
        cw_str_add(&g->out, text, 19);
        cw_str_add_cstr(&g->out, "-05:00");
        break;
    default:
        cw_str_add_cstr(&g->out, text);
    }
}

static void add_reference(struct gen *g, char which)
{
    static const struct {
        char letter;
        const char *type, *display;
        enum gen_shared kind;
    } shared[] = {
        { 'r', "Practitioner", NULL, GEN_PRACTITIONER },
        { 'o', "Organization", "Chartway Sandbox Hospital", GEN_ORGANIZATION },
        { 'l', "Location", "Main building", GEN_LOCATION },
    };
    if (which == 'p') {
        cw_str_addf(&g->out, "{\"reference\":\"Patient/%s\"}", g->patient);
        return;
    }
    if (which == 'e') {
        cw_str_addf(&g->out, "{\"reference\":\"Encounter/%s\"}", g->encounter);
        return;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(shared); i++) {
        if (shared[i].letter == which) {
            char id[CW_SBX_ID_TEXT_MAX];
            gen_shared_id(shared[i].kind, which == 'r' ? g->doctor : 0, id);
            cw_str_addf(&g->out, "{\"reference\":\"%s/%s\"", shared[i].type, id);
            if (shared[i].display != NULL) {
                cw_str_addf(&g->out, ",\"display\":\"%s\"", shared[i].display);
            }
            cw_str_add_char(&g->out, '}');
            return;
        }
    }
    cw_bug("a template names an unknown value");
}

static void add_value(struct gen *g, char which, const char *const *args)
{
    if (which >= '1' && which <= '9') {
        const char *text = args[which - '1'];
        if (text == NULL) {
            cw_bug("a template names an argument that is not there");
        }
        cw_walk_escape(cw_span_cstr(text), &g->out);
    } else if (which == 't' || which == 'd' || which == 'z') {
        add_time(g, which);
    } else if (which == '@') {
        cw_str_add_char(&g->out, '@');
    } else if (which == 'i') {
        cw_str_add_cstr(&g->out, g->id);
    } else if (which == 'P') {
        cw_str_add_cstr(&g->out, g->patient);
    } else {
        add_reference(g, which);
    }
}

void gen_put(struct gen *g, const char *template, const char *const *args)
{
    bool inside = false;
    for (const char *c = template; *c != '\0'; c++) {
        if (*c == '\'') {
            inside = !inside;
            cw_str_add_char(&g->out, '"');
        } else if (*c == '@') {
            add_value(g, *++c, args);
        } else if (g->who->pretty && !inside && (*c == ':' || *c == ',')) {
            cw_str_add_char(&g->out, *c);
            cw_str_add_char(&g->out, *c == ':' ? ' ' : '\n');
        } else {
            cw_str_add_char(&g->out, *c);
        }
    }
}

void gen_begin_as(struct gen *g, const char *type, const char *profile, const char *id)
{
    g->type = cw_sbx_type_find(cw_span_cstr(type));
    if (g->type == NULL) {
        cw_bug("the generator writes a type that is not served");
    }
    g->profile = profile;
    if (id != g->id) {
        snprintf(g->id, sizeof(g->id), "%s", id);
    }
    cw_str_clear(&g->out);
    gen_put(g, "{'resourceType':'@1','id':'@i'", GEN_ARGS(type));
    bool dated = (g->type->flags & CW_SBX_LAST_UPDATED) != 0;
    if (dated) {
        char version[16];
        int64_t then = g->at_us;
        snprintf(version, sizeof(version), "%u", 1 + gen_below(g, 4));
        g->at_us += (int64_t)gen_below(g, 5 * 86400) * CW_SECOND_US + (int64_t)gen_below(g, 1000) * 1000;
        gen_put(g, ",'meta':{'versionId':'@1','lastUpdated':'@z'", GEN_ARGS(version));
        g->at_us = then;
    } else if (profile != NULL) {
        gen_put(g, ",'meta':{", NULL);
    }
    if (profile != NULL) {
        gen_put(g, dated ? ",'profile':['http://hl7.org/fhir/us/core/StructureDefinition/@1']"
                         : "'profile':['http://hl7.org/fhir/us/core/StructureDefinition/@1']", GEN_ARGS(profile));
    }
    if (dated || profile != NULL) {
        gen_put(g, "}", NULL);
    }
}

void gen_begin(struct gen *g, const char *type, const char *profile)
{
    const struct cw_sbx_type *found = cw_sbx_type_find(cw_span_cstr(type));
    if (found == NULL) {
        cw_bug("the generator writes a type that is not served");
    }
    gen_new_id(g, found, g->id);
    gen_begin_as(g, type, profile, g->id);
}

void gen_narrative(struct gen *g, const char *title, const char *body)
{
    gen_put(g, ",'text':{'status':'generated','div':'", NULL);
    cw_str_add_cstr(&g->out, "<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\"><p><b>");
    cw_walk_escape(cw_span_cstr(title), &g->out);
    cw_str_add_cstr(&g->out, "</b></p><p>");
    cw_walk_escape(cw_span_cstr(body), &g->out);
    /* An escape where a letter would do: readers that keep the bytes keep this too. */
    cw_str_add_cstr(&g->out, " \\u2014 synthetic<\\/p></div>");
    gen_put(g, "'}", NULL);
}

void gen_end(struct gen *g)
{
    cw_str_add_char(&g->out, '}');
    if (g->rc != CW_OK) {
        return;
    }
    g->rc = cw_str_code(&g->out);
    if (g->rc != CW_OK) {
        cw_err_set(g->err, g->rc, "sandbox.gen", "a resource could not be written");
        return;
    }
    g->rc = cw_sbx_chart_add(g->chart, cw_str_span(&g->out), g->err);
}

/* --- the order of the chapters --- */

static void write_visits(struct gen *g, int64_t today_us)
{
    int64_t span_us = (int64_t)g->who->years * 365 * CW_DAY_US;
    int64_t step_us = span_us / (g->who->encounters + 1);
    for (unsigned i = 0; i < g->who->encounters && g->rc == CW_OK; i++) {
        int64_t day_us = today_us - span_us + (int64_t)i * step_us + (int64_t)gen_below(g, 3) * CW_DAY_US;
        g->at_us = day_us - day_us % CW_DAY_US + 13 * CW_HOUR_US + (int64_t)gen_below(g, 8 * 60) * CW_MINUTE_US;
        g->visit = i;
        g->doctor = gen_below(g, GEN_DOCTORS);
        gen_visit(g);
    }
}

enum cw_code cw_sbx_generate(size_t persona, struct cw_sbx_chart *chart, struct cw_err *err)
{
    int64_t today_us = 0;
    if (!cw_time_parse(CW_SPAN(GEN_TODAY), false, &today_us)) {
        cw_bug("GEN_TODAY is not a time");
    }
    struct gen g = { .who = cw_sbx_persona_at(persona), .chart = chart, .err = err, .rng = seed_of(persona) };
    cw_str_init(&g.out, RESOURCE_MAX);
    cw_sbx_patient_id(persona, g.patient);
    g.at_us = today_us - (int64_t)(g.who->years + 1) * 300 * CW_DAY_US;
    gen_person(&g);
    if (g.who->encounters > 0) {
        gen_hospital(&g);
        gen_background(&g);
        write_visits(&g, today_us);
        if (g.who->big_documents) {
            gen_big_documents(&g);
        }
    }
    cw_str_release(&g.out);
    return g.rc;
}
