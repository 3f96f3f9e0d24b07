/* SPDX-License-Identifier: Apache-2.0 */
/* What a patient does at the portal where a vendor offers no revocation: without it the grant lives on there after a disconnect. */
#ifndef CW_SMART_REMOVAL_H
#define CW_SMART_REMOVAL_H

#include "base/arena.h"
#include "base/span.h"
#include "smart/pinned.h"

/* One plain English sentence, in the arena; absent where the server revokes, and when the arena is full. `discovery` is the endpoint's document (absent: none),
 * `portal` what the patient knows the place as. */
struct cw_span cw_removal_way(const struct cw_pinned *pinned, struct cw_span discovery, struct cw_span portal,
                              struct cw_arena *arena) CW_NONNULL(1, 4);

#endif
