/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for what is new. A search is filtered by _lastUpdated only where that was seen to work: servers that do not know the parameter
 * mostly ignore it, which is harmless, but some answer an empty page to what they cannot read, which would look like "nothing new" for
 * ever.
 */
#ifndef CW_SCHEDULER_INCREMENTAL_H
#define CW_SCHEDULER_INCREMENTAL_H

#include "fhir/plan.h"
#include "scheduler/scheduler.h"

/* For an incremental pull: adds the filter to the plan's searches of each type that has a watermark and a filter that is real. What was not
 * tested with this software is tested first, a few types a pull, within the server's budget: the search without a filter brings something,
 * with a time of next year nothing, with one of long ago something again. */
enum cw_code incremental_apply(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_plan *plan, struct cw_arena *arena,
                               struct cw_err *err) CW_NONNULL(1, 2, 3, 4, 5) CW_MUST_USE;
/* An answer's Date: how far the server's clock is behind ours (run->skew_us, never above 0: a clock that is ahead loses nothing). */
void incremental_note_clock(struct scheduler *s, struct run *run, const struct cw_http_response *response) CW_NONNULL(1, 2, 3);

#endif
