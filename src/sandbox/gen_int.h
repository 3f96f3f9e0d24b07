/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generator's files share: the pen. Resources are written from templates in which ' stands for the JSON quote and
 * @x for a value (see gen_put), so that a template reads like the resource that it makes.
 */
#ifndef CW_SANDBOX_GEN_INT_H
#define CW_SANDBOX_GEN_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "sandbox/gen.h"

#define GEN_ARGS_MAX 9

struct gen {
    const struct cw_sbx_persona *who;
    struct cw_sbx_chart *chart;
    struct cw_err *err;
    enum cw_code rc;   /* sticky: the first fault ends all writing */
    uint64_t rng;
    struct cw_str out; /* the resource being written */
    const struct cw_sbx_type *type;
    const char *profile;
    int64_t at_us;     /* when the thing being written happened */
    unsigned doctor;   /* place of the practitioner at hand */
    unsigned visit;    /* number of the encounter at hand */
    char id[CW_SBX_ID_TEXT_MAX];
    char patient[CW_SBX_ID_TEXT_MAX];
    char encounter[CW_SBX_ID_TEXT_MAX];
};

enum gen_shared { GEN_PRACTITIONER, GEN_ROLE, GEN_ORGANIZATION, GEN_LOCATION, GEN_MEDICATION };
#define GEN_DOCTORS 12u
#define GEN_TODAY "2026-01-15T00:00:00Z" /* no record knows anything later */

/* --- chance (splitmix64) --- */
uint64_t gen_next(struct gen *g);
unsigned gen_below(struct gen *g, unsigned below);
/* true `n` times in `of`. */
bool gen_chance(struct gen *g, unsigned n, unsigned of);
/* A number with exactly `decimals` digits after the point, trailing zeros included, between low and high. */
const char *gen_decimal(struct gen *g, double low, double high, int decimals, char buf[24]);

/* --- ids --- */
void gen_new_id(struct gen *g, const struct cw_sbx_type *type, char ret_id[CW_SBX_ID_TEXT_MAX]);
void gen_shared_id(enum gen_shared kind, unsigned at, char ret_id[CW_SBX_ID_TEXT_MAX]);

/* --- the pen --- */
/* Starts a resource: a new id in g->id, and `{"resourceType":…,"id":…,meta`. profile NULL: no meta.profile. */
void gen_begin(struct gen *g, const char *type, const char *profile);
/* The same for a resource whose id is known. */
void gen_begin_as(struct gen *g, const char *type, const char *profile, const char *id);
/* Appends a template: ' is ", and
 *   @p @e @r @o @l   a Reference object to patient, encounter, practitioner, organization, location
 *   @i               this resource's id         @P the patient's id
 *   @t @d @z         time with offset, date, UTC instant of g->at_us
 *   @1 … @9          args[0] … args[8], escaped for a JSON string      @@ is @ */
void gen_put(struct gen *g, const char *template, const char *const *args);
/* `,"text":{…}` with one paragraph a line of text. */
void gen_narrative(struct gen *g, const char *title, const char *body);
/* Closes the resource and adds it to the chart. */
void gen_end(struct gen *g);
#define GEN_ARGS(...) ((const char *const[GEN_ARGS_MAX]){ __VA_ARGS__ })

/* --- the chapters of a record --- */
void gen_hospital(struct gen *g);
void gen_person(struct gen *g);
void gen_background(struct gen *g);
void gen_visit(struct gen *g);
void gen_labs(struct gen *g);
void gen_vitals(struct gen *g);
void gen_note(struct gen *g);
void gen_big_documents(struct gen *g);

#endif
