/* SPDX-License-Identifier: Apache-2.0 */
/* The cast. Order is part of the data: the seed of a patient is its place here, so new ones go at the end. */
#include "config.h"
#include "sandbox/persona.h"

#include "base/err.h"

static const struct cw_sbx_persona cast[] = {
    { .given = "Amara", .family = "Okonjo", .birth_date = "1984-03-09", .gender = "female", .encounters = 18, .years = 9,
      .note = "A usual record: some hundred resources." },
    { .given = "Walter", .family = "Brandvold", .birth_date = "1941-11-27", .gender = "male", .encounters = 190, .years = 24,
      .big_documents = true, .note = "A long life: more than 3,000 resources and large documents." },
    { .given = "Zoë", .family = "Núñez-Łukasik", .birth_date = "1996-07-30", .gender = "female", .encounters = 6, .years = 4,
      .pretty = true, .note = "A small record; letters beyond ASCII, JSON with blanks." },
    { .given = "Jun", .family = "Itō", .birth_date = "2025-10-02", .gender = "male", .encounters = 1, .years = 1,
      .note = "A newborn with one visit." },
    { .given = "雯", .family = "李", .birth_date = "1972-01-18", .gender = "female", .encounters = 24, .years = 12,
      .ids = CW_SBX_ID_LONG, .big_documents = true, .note = "Long resource ids." },
    { .given = "Tomasz", .family = "Wierzba", .birth_date = "1959-05-04", .gender = "male", .encounters = 45, .years = 15,
      .ids = CW_SBX_ID_OPAQUE, .note = "Chronic illness, opaque ids." },
    { .given = "Ida", .family = "Leer", .birth_date = "2001-12-24", .gender = "female",
      .note = "Nothing on file but the Patient." },
    { .given = "Rhea", .family = "Fuse", .birth_date = "1978-02-11", .gender = "female", .encounters = 4, .years = 3,
      .note = "The portal refuses this login: access_denied." },
    { .given = "Sloan", .family = "Tardy", .birth_date = "1966-08-19", .gender = "male", .encounters = 8, .years = 5,
      .note = "Every search takes two seconds." },
    { .given = "Theo", .family = "Rottle", .birth_date = "1990-04-01", .gender = "male", .encounters = 12, .years = 6,
      .note = "The first searches are answered 429 with Retry-After." },
    { .given = "Eve", .family = "Fivehund", .birth_date = "1987-09-13", .gender = "female", .encounters = 10, .years = 5,
      .note = "Condition always answers 500; Observation recovers after two." },
    { .given = "Max", .family = "Pirelli-Sands", .birth_date = "1975-06-06", .gender = "male", .encounters = 20, .years = 8,
      .note = "Access tokens live for 20 seconds." },
    { .given = "Lupe", .family = "Endless", .birth_date = "1953-10-31", .gender = "female", .encounters = 10, .years = 6,
      .note = "The search for Observation never runs out of next links." },
    { .given = "Bram", .family = "Kaputt", .birth_date = "1969-01-25", .gender = "male", .encounters = 9, .years = 4,
      .note = "DiagnosticReport answers broken JSON, Goal an HTML page." },
    { .given = "Ophelia", .family = "Elsewhere", .birth_date = "1993-03-17", .gender = "female", .encounters = 14, .years = 5,
      .note = "The next link of Observation leads to another host." },
    { .given = "Dora", .family = "Twice", .birth_date = "1982-12-05", .gender = "female", .encounters = 11, .years = 7,
      .note = "Pages repeat resources of the page before." },
    { .given = "Trudy", .family = "Kurtz", .birth_date = "1948-04-22", .gender = "female", .encounters = 9, .years = 9,
      .note = "Immunization answers are cut off in the middle." },
};

size_t cw_sbx_persona_count(void)
{
    return CW_ARRAY_LEN(cast);
}

const struct cw_sbx_persona *cw_sbx_persona_at(size_t at)
{
    if (at >= CW_ARRAY_LEN(cast)) {
        cw_bug("no such persona");
    }
    return &cast[at];
}
