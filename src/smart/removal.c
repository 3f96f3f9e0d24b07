/* SPDX-License-Identifier: Apache-2.0 */
/* See removal.h: a management page that the server names, else what is known of the vendor, else where to look. */
#include "config.h"

#include "smart/removal.h"

#include "base/json.h"
#include "base/limits.h"

#define REFUSES "This source takes no revocation from us, so access stays open there until the patient ends it: "

static const struct {
    const char *profile;
    const char *way;
} ways[] = {
    { "epic", "in MyChart, open the menu, then Linked Apps and Devices, and remove this app." },
    { "ecw", "in the healow app or patient portal, open the settings, then the connected apps, and remove this app." },
};

/* The page for managing apps, where the document names one on https. */
static struct cw_span management_of(struct cw_span discovery, struct cw_arena *arena)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_err err = { 0 };
    struct cw_span none = { NULL, 0 };
    const struct cw_json_limits limits = { .max_bytes = CW_DISCOVERY_MAX, .max_depth = 64 };
    if (discovery.ptr == NULL || cw_json_parse(discovery, limits, &root, &err) != CW_OK) {
        return none;
    }
    struct cw_span url = cw_json_peek_text(root, "management_endpoint");
    bool good = url.ptr != NULL && url.len <= CW_URL_MAX && cw_span_starts(url, CW_SPAN("https://")) &&
                cw_span_find(url, '@') == url.len;
    return good ? cw_arena_span(arena, url) : none;
}

struct cw_span cw_removal_way(const struct cw_pinned *pinned, struct cw_span discovery, struct cw_span portal,
                              struct cw_arena *arena)
{
    if (pinned->revocation_endpoint[0] != '\0') {
        return (struct cw_span){ NULL, 0 };
    }
    struct cw_span page = management_of(discovery, arena);
    if (page.ptr != NULL) {
        return cw_span_cstr(cw_arena_printf(arena, REFUSES "at %.*s, remove this app.", (int)page.len, page.ptr));
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(ways); i++) {
        if (strcmp(pinned->profile, ways[i].profile) == 0) {
            return cw_span_cstr(cw_arena_printf(arena, REFUSES "%s", ways[i].way));
        }
    }
    bool named = portal.ptr != NULL && portal.len > 0;
    return cw_span_cstr(cw_arena_printf(arena, REFUSES "sign in at the portal of %.*s, and remove this app from the connected apps.",
                                        named ? (int)portal.len : 10, named ? portal.ptr : "the source"));
}
