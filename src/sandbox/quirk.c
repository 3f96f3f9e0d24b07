/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences of the quirks. */
#include "config.h"
#include "sandbox/quirk.h"

static const struct {
    const char *name, *doc;
} quirks[CW_SBX_QUIRK__COUNT] = {
    [CW_SBX_QUIRK_NONE] = { "", "" },
    [CW_SBX_QUIRK_SCOPES_UNLISTED] = { "scopes-unlisted", "scopes_supported names no resource scope." },
    [CW_SBX_QUIRK_NO_REVOCATION] = { "no-revocation", "There is no revocation and no introspection endpoint." },
    [CW_SBX_QUIRK_HTML_FOR_UNKNOWN] = { "html-for-unknown", "Unknown paths are answered with 200 and a page." },
    [CW_SBX_QUIRK_OWN_CLIENTS] = { "own-clients", "Only apps are known whose registration names this personality." },
};

const char *cw_sbx_quirk_name(enum cw_sbx_quirk quirk)
{
    return quirks[quirk].name;
}

const char *cw_sbx_quirk_doc(enum cw_sbx_quirk quirk)
{
    return quirks[quirk].doc;
}

bool cw_sbx_quirk_find(struct cw_span name, enum cw_sbx_quirk *ret_quirk)
{
    for (unsigned i = CW_SBX_QUIRK_NONE + 1; i < CW_SBX_QUIRK__COUNT; i++) {
        if (cw_span_eq_cstr(name, quirks[i].name)) {
            *ret_quirk = (enum cw_sbx_quirk)i;
            return true;
        }
    }
    return false;
}
