/* SPDX-License-Identifier: Apache-2.0 */
/* status: what the daily probes found wrong, the worst first. For a person in the morning, and for a monitor by its exit status. */
#include "config.h"
#include "ctl/ctl.h"

#include "fhir/examine.h"
#include "model/probe.h"

static struct cw_span subject_of(const struct ctl *ctl, const struct cw_probe *probe)
{
    switch (probe->kind) {
    case CW_PROBE_REGISTRATION:
        return ctl_id(ctl, CW_PREFIX_REGISTRATION, probe->subject);
    case CW_PROBE_ENDPOINT:
        return ctl_id(ctl, CW_PREFIX_ENDPOINT, probe->subject);
    case CW_PROBE_INSTALLATION:
        break;
    }
    return CW_SPAN("installation");
}

static enum cw_code status(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "result", CTL_TEXT },  { "check", CTL_TEXT }, { "cause", CTL_TEXT },
        { "subject", CTL_TEXT }, { "since", CTL_TIME }, { "checked", CTL_TIME },
        { "detail", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_probe *probes = NULL;
    size_t count = 0;
    int least = ctl_switch(ctl, "--all") ? CW_FINDING_OK : CW_FINDING_WARN;
    enum cw_code rc = cw_probe_list(&ctl->model, least, ctl->arena, &probes, &count, err);
    struct ctl_cell *cells = rc == CW_OK ? ctl_cells(ctl, count, WIDTH, err) : NULL;
    if (cells == NULL) {
        return rc == CW_OK ? CW_E_TOO_BIG : rc;
    }
    bool ill = false;
    for (size_t i = 0; i < count; i++) {
        const struct ctl_cell row[WIDTH] = {
            CTL_T(cw_span_cstr(cw_finding_result_name((enum cw_finding_result)probes[i].result))),
            CTL_T(probes[i].name),
            CTL_T(probes[i].cause),
            CTL_T(subject_of(ctl, &probes[i])),
            CTL_N(probes[i].since_us),
            CTL_N(probes[i].checked_us),
            CTL_T(probes[i].detail),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
        ill |= probes[i].result == CW_FINDING_FAIL;
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    rc = ctl_table_print(ctl, &table, err);
    return rc == CW_OK && ill
               ? cw_err_set(err, CW_E_STATE, "status", "something keeps patients from connecting")
               : rc;
}

static const struct ctl_option options[] = {
    { "--all", NULL, false, "what is well too" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_status_commands[] = {
    { "status", "", 0, 0, CTL_NEED_MODEL, "status", "Shows what the daily probes found wrong.",
      options, status },
    { 0 },
};
