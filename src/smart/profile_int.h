/* SPDX-License-Identifier: Apache-2.0 */
/* Between profile.c (files and choice) and profile_knobs.c (what a file may say). Private to smart/. */
#ifndef CW_SMART_PROFILE_INT_H
#define CW_SMART_PROFILE_INT_H

#include "smart/profile.h"

struct cw_profile_entry {
    struct cw_profile profile;
    char *name;
    json_t *root;
    const json_t *match;  /* borrowed from root; NULL: none */
    struct cw_profile_header headers[CW_PROFILE_HEADERS_MAX];
    const char *types[CW_PROFILE_TYPES_MAX];
};

/* Reads entry->root into entry->profile, starting from `base` (NULL: what is built in). CW_E_CONFIG names file and member. */
enum cw_code cw_profile_read(struct cw_profile_entry *entry, const struct cw_profile *base, struct cw_err *err)
    CW_NONNULL(1) CW_MUST_USE;

#endif
