/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of searches: what is asked of a server of which nothing more is known, in the order of asking (US Core's and CARIN's patient
 * types; the categories are those that US Core obliges servers to search by). Private to fhir/plan.c.
 */
#ifndef CW_FHIR_PLAN_TABLE_H
#define CW_FHIR_PLAN_TABLE_H

#include <stddef.h>

enum {
    ROW_ADVERTISED = 1u << 0, /* only where the CapabilityStatement lists type, search and patient: few servers have it */
    ROW_FALLBACK = 1u << 1,   /* second way of the last row of its type that has not this flag */
    ROW_MEDICATION = 1u << 2  /* with _include=MedicationRequest:medication where that is offered */
};

struct search_row {
    const char *type;
    const char *query;
    const char *param; /* NULL: patient */
    unsigned flags;
};

extern const struct search_row cw_plan_rows[];
extern const size_t cw_plan_row_count;

#endif
