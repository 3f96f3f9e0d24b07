/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the FHIR side was asked, for tests that count requests and for quirks that do (so many a minute, so many documents a day). In memory, the last
 * CW_SBX_DIARY_MAX of all personalities; a restart forgets. Tokens are not kept, only whether one came.
 */
#ifndef CW_SANDBOX_DIARY_H
#define CW_SANDBOX_DIARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/jsonw.h"
#include "base/span.h"

#define CW_SBX_DIARY_MAX 16384u
#define CW_SBX_DIARY_TARGET_MAX 1000u /* longer ones are cut */

struct cw_sbx_visit {
    int64_t at_us;
    const char *site;           /* name of the personality */
    struct cw_span patient;     /* FHIR id of the token's; absent when there was no good one */
    struct cw_span target;      /* path behind the FHIR base, and query */
    struct cw_span accept;
    int status;
    bool bearer;
    bool missed;                /* the recording that plays here had no answer to it */
};

struct cw_sbx_diary;
void cw_sbx_diary_free(struct cw_sbx_diary *diary);
struct cw_sbx_diary *cw_sbx_diary_new(void) CW_MUST_USE;
/* Copies the visit in. Out of memory it is left out. */
void cw_sbx_diary_note(struct cw_sbx_diary *diary, const struct cw_sbx_visit *visit) CW_NONNULL(1, 2);
/* How many visits to the site since then are like this: of this patient (absent: any), with this target's beginning ("": any), with this status
 * (0: any). */
struct cw_sbx_wanted {
    const char *site;
    struct cw_span patient;
    const char *target;
    int status;
    int64_t since_us;
};
size_t cw_sbx_diary_count(struct cw_sbx_diary *diary, const struct cw_sbx_wanted *wanted) CW_NONNULL(1, 2);
/* The site's visits, oldest first, as an array of {"at","patient"?,"target","accept","status","bearer","missed"?}; of one patient when given. */
void cw_sbx_diary_emit(struct cw_sbx_diary *diary, struct cw_span site, struct cw_span patient, struct cw_jsonw *w) CW_NONNULL(1, 4);
/* Forgets the visits to a site: "another day" for its quirks. */
void cw_sbx_diary_forget(struct cw_sbx_diary *diary, struct cw_span site) CW_NONNULL(1);

#endif
