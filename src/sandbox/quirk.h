/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How real servers depart from the rules, each by name. A quirk changes what the hospital says or demands under a personality that has
 * it (sandbox/personality.h), for as long as it stands, unlike a fault, which hits single requests. A new one is a row in the table
 * and the place that acts on it: `site_plays`.
 */
#ifndef CW_SANDBOX_QUIRK_H
#define CW_SANDBOX_QUIRK_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/span.h"

enum cw_sbx_quirk {
    CW_SBX_QUIRK_NONE, /* ends a list */
    /* --- discovery --- */
    CW_SBX_QUIRK_SCOPES_UNLISTED,
    CW_SBX_QUIRK_NO_REVOCATION,
    CW_SBX_QUIRK_HTML_FOR_UNKNOWN,
    /* --- clients --- */
    CW_SBX_QUIRK_OWN_CLIENTS,
    CW_SBX_QUIRK__COUNT
};

/* "scopes-unlisted"; "" for NONE. Also good as the name of a personality that has this quirk alone. */
const char *cw_sbx_quirk_name(enum cw_sbx_quirk quirk) CW_RETURNS_NONNULL;
/* One sentence, for the operator's list. */
const char *cw_sbx_quirk_doc(enum cw_sbx_quirk quirk) CW_RETURNS_NONNULL;
/* False for an unknown name. */
bool cw_sbx_quirk_find(struct cw_span name, enum cw_sbx_quirk *ret_quirk) CW_NONNULL(2) CW_MUST_USE;

#endif
