/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Personalities: the hospital as a certain vendor would be. One has a name, under which all of the hospital's paths exist once more
 * (/sandbox/as/{name}/fhir, …), what it says of itself in its CapabilityStatement, and a list of quirks. Some are built in, the
 * operator makes others, and each quirk alone is a personality by its own name.
 */
#ifndef CW_SANDBOX_PERSONALITY_H
#define CW_SANDBOX_PERSONALITY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/span.h"
#include "sandbox/quirk.h"

#define CW_SBX_PERSONALITY_QUIRKS_MAX 32u
#define CW_SBX_PERSONALITY_NAME_MAX 40u

/* Values; the texts live as long as the program or the state. The plain hospital has the name "" and no quirk. */
struct cw_sbx_personality {
    const char *name, *doc;
    const char *software, *publisher; /* of the CapabilityStatement */
    enum cw_sbx_quirk quirks[CW_SBX_PERSONALITY_QUIRKS_MAX + 1]; /* NONE ends it */
};

extern const struct cw_sbx_personality cw_sbx_plain;
size_t cw_sbx_personality_count(void);
const struct cw_sbx_personality *cw_sbx_personality_at(size_t at) CW_RETURNS_NONNULL;
/* Built in, or that of a single quirk. False for an unknown name. */
bool cw_sbx_personality_builtin(struct cw_span name, struct cw_sbx_personality *ret) CW_NONNULL(2) CW_MUST_USE;
bool cw_sbx_personality_has(const struct cw_sbx_personality *personality, enum cw_sbx_quirk quirk) CW_NONNULL(1) CW_PURE;

/* From {name, quirks: [], doc?, software?, publisher?}; what it borrows from the object lives as long as that. The name is of a-z, 0-9
 * and '-', and not that of a built-in one. CW_E_MISSING, CW_E_KIND, CW_E_RANGE; the text names the member. */
enum cw_code cw_sbx_personality_parse(const json_t *object, struct cw_sbx_personality *ret, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* The same members, as an object. */
void cw_sbx_personality_emit(const struct cw_sbx_personality *personality, struct cw_jsonw *w) CW_NONNULL(1, 2);

#endif
