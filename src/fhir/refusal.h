/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server's words add to its status. Epic answers a daily limit with 200 or 403, an ended paging session with 400, Oracle a broken
 * record with 500: the OperationOutcome's codes tell, not the number. Read from foreign bytes; nothing in them is required.
 */
#ifndef CW_FHIR_REFUSAL_H
#define CW_FHIR_REFUSAL_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/span.h"

enum cw_refusal {
    CW_REFUSAL_NONE,           /* nothing that we know: the status speaks */
    CW_REFUSAL_PAGING_EXPIRED, /* the search must begin anew (Epic 4113) */
    CW_REFUSAL_DAILY_LIMIT,    /* no more of these today (Epic 4135) */
    CW_REFUSAL_WITHHELD,       /* break-the-glass and the like: final, and not to be gone around (Epic 4118, 4130, 4131, 4134) */
    CW_REFUSAL_MERGED,         /* the patient has another id now (Epic 4107) */
    CW_REFUSAL_QUERY,          /* a parameter is missing or has a value that is unknown here: leaving others out does not help (Epic 4112, 59108, 59111; "requires a category"; athena's "required parameter combinations") */
    CW_REFUSAL_MOVED,          /* there is no such hospital at this base any more */
    CW_REFUSAL_DEFECT          /* a record cannot be shown as it lacks what it must have (Oracle: fatal, required) */
};

#define CW_REFUSAL_TEXT_MAX 4096u /* how much of an answer that is no OperationOutcome is looked through */

/* The name of the first parameter of a query that an OperationOutcome's words speak of; points into `query`; absent when there is none. What tells one search
 * from others of its type (patient, category, intent, code) is never meant. */
struct cw_span cw_refusal_parameter(struct cw_span body, struct cw_span query, struct cw_arena *arena) CW_NONNULL(3);

/* Of a whole body, whatever it is. Out of memory counts as CW_REFUSAL_NONE. */
enum cw_refusal cw_refusal_of(struct cw_span body, struct cw_arena *arena) CW_NONNULL(2);

#endif
