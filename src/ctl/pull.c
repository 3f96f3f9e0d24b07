/* SPDX-License-Identifier: Apache-2.0 */
/* pull start: a patient's records fetched now. How that went is pull_status.c. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "model/pull.h"

enum cw_code ctl_patient_of(struct ctl *ctl, struct cw_org *ret_org, struct cw_span *ret_patient, struct cw_err *err)
{
    *ret_patient = cw_span_cstr(ctl_option(ctl, "--patient"));
    if (ret_patient->ptr == NULL) {
        return ctl_usage(err, "--patient is required");
    }
    return ctl_org(ctl, ret_org, err);
}

static enum cw_code start(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_span patient;
    unsigned count = 0;
    enum cw_code rc = ctl_patient_of(ctl, &org, &patient, err);
    if (rc == CW_OK) {
        rc = cw_pull_start_patient(&ctl->model, &ctl->actor, org.id, patient, &count, err);
    }
    if (rc == CW_OK) {
        (void)printf("%u pull%s started\n", count, count == 1 ? "" : "s");
    }
    return rc;
}

static const struct ctl_option start_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { 0 },
};
static const struct ctl_option status_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { "--tasks", NULL, false, "only the tasks of the newest pull, one by one" },
    { "--records", NULL, false, "only the stored records, counted by type" },
    { "--next", NULL, false, "only when each connection is pulled next, or why it is not" },
    { "--json", NULL, false, "the pulls as JSON, each with its tasks by type" },
    { 0 },
};

static const struct ctl_option policy_options[] = {
    { "--source", "ID|URL", false, "for this source alone" },
    { "--env", "sandbox|production", false, "of the source, where both have it" },
    { "--incremental", "TIME", false, "between two pulls: 15m to 365d; 24h unless set" },
    { "--full", "TIME", false, "between two that ask for everything; 7d unless set" },
    { "--window", "FROM-TO", false, "hours of the hospital's clock; 20-6 unless set; 0-0 is all day" },
    { "--off", NULL, false, "none by schedule" },
    { "--on", NULL, false, "by schedule again" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_pull_commands[] = {
    { "pull start", "", 0, 0, CTL_NEED_MODEL, NULL, "Starts a pull of each active connection of a patient.",
      start_options, start },
    { "pull status", "", 0, 0, CTL_NEED_MODEL, "pull.status",
      "Shows a patient's pulls, newest first, the newest one's tasks by type, and the records stored by type.",
      status_options, ctl_pull_status },
    { "pull policy", "[ORG]", 0, 1, CTL_NEED_MODEL, "pull.policy",
      "Shows how often the records of an organization's patients are fetched anew, or sets it.", policy_options, ctl_pull_policy },
    { 0 },
};
