/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's policy of when pulls are repeated: one for an organization, and where wanted one for a source of it. */
#ifndef CW_MODEL_PULL_POLICY_H
#define CW_MODEL_PULL_POLICY_H

#include "model/model.h"
#include "model/schedule.h"

struct cw_pull_policy {
    struct cw_source_id source;      /* zero: all sources without a policy of their own */
    struct cw_schedule_policy policy;
    int64_t updated_us;              /* 0: the default, nobody has set it */
};
/* The organization's first (the default where none is set), then those of its sources; at most 1,000. */
enum cw_code cw_pull_policy_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena,
                                 struct cw_pull_policy **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* Sets it, with the audit row "pull.policy_set"; then everything that waited by the old one, or was held for any reason, is planned anew by
 * the janitor: in batches, so that the same call again completes what was cut off. CW_E_RANGE: an interval or an hour is out of bounds, or
 * full pulls would be more frequent than incremental ones. */
enum cw_code cw_pull_policy_set(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                const struct cw_pull_policy *policy, struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;

#endif
