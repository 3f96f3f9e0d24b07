/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic patients. Every one is invented here; size says how long a life the generator writes, and some of them carry a
 * fault by nature (sandbox/fault.h), so that a demo or a test needs no operator call to meet it.
 */
#ifndef CW_SANDBOX_PERSONA_H
#define CW_SANDBOX_PERSONA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum cw_sbx_id_style {
    CW_SBX_ID_UUID, /* 36 characters */
    CW_SBX_ID_OPAQUE, /* 45 letters and digits, as one big vendor has them */
    CW_SBX_ID_LONG  /* the same; documents have 88, more than FHIR's 64 */
};

struct cw_sbx_persona {
    const char *given, *family;
    const char *birth_date;
    const char *gender;
    const char *note;     /* for the login page */
    unsigned encounters;  /* about 20 resources each; 0: the Patient alone */
    unsigned years;       /* over which they are spread */
    bool pretty;          /* JSON with blanks between its parts */
    bool big_documents;   /* a CDA document and a PDF of some 100 KiB */
    enum cw_sbx_id_style ids;
};

size_t cw_sbx_persona_count(void);
const struct cw_sbx_persona *cw_sbx_persona_at(size_t at) CW_RETURNS_NONNULL;

#endif
