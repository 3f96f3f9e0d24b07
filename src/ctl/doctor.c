/* SPDX-License-Identifier: Apache-2.0 */
/* doctor SOURCE: can a patient connect here? Each finding with its cause by name and the next step. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "fhir/examine.h"
#include "net/http.h"
#include "net/url.h"

#define FINDINGS_MAX 64u

static const struct ctl_column columns[] = {
    { "check", CTL_TEXT },  { "result", CTL_TEXT }, { "cause", CTL_TEXT },
    { "detail", CTL_TEXT }, { "next", CTL_TEXT },
};
enum { WIDTH = CW_ARRAY_LEN(columns) };

struct doctor {
    struct ctl *ctl;
    struct ctl_cell *cells;
    size_t count;
    bool ill;
};

static void found(void *arg, const struct cw_finding *finding)
{
    struct doctor *doctor = arg;
    if (doctor->count == FINDINGS_MAX) {
        return;
    }
    const struct ctl_cell row[WIDTH] = {
        CTL_T(cw_span_cstr(finding->check)),
        CTL_T(cw_span_cstr(cw_finding_result_name(finding->result))),
        CTL_T(cw_span_cstr(finding->cause)),
        CTL_T(cw_arena_span(doctor->ctl->arena, cw_span_cstr(finding->detail))),
        CTL_T(cw_span_cstr(finding->next)),
    };
    memcpy(doctor->cells + doctor->count++ * WIDTH, row, sizeof row);
    doctor->ill |= finding->result == CW_FINDING_FAIL;
}

/* A row per finding is for programs and wide screens; people read one below the other. */
static enum cw_code print(struct doctor *doctor, struct cw_err *err)
{
    struct ctl_table table = { columns, WIDTH, doctor->cells, doctor->count };
    if (ctl_switch(doctor->ctl, "--json")) {
        return ctl_table_print(doctor->ctl, &table, err);
    }
    struct ctl_cell *lines = ctl_cells(doctor->ctl, doctor->count * 2, 3, err);
    if (lines == NULL) {
        return CW_E_TOO_BIG;
    }
    static const struct ctl_column narrow[] = { { "result", CTL_TEXT },
                                                { "check", CTL_TEXT },
                                                { "detail", CTL_TEXT } };
    size_t count = 0;
    for (size_t i = 0; i < doctor->count; i++) {
        const struct ctl_cell *row = doctor->cells + i * WIDTH;
        struct ctl_cell *line = lines + count++ * 3;
        line[0] = row[1];
        line[1] = row[0];
        line[2] = row[3];
        if (row[2].text.len > 0) {
            line = lines + count++ * 3;
            line[0] = CTL_T(CW_SPAN(" "));
            line[1] = CTL_T(CW_SPAN(" "));
            line[2] = CTL_T(cw_span_cstr(cw_arena_printf(
                doctor->ctl->arena, "%.*s. %.*s", (int)row[2].text.len, row[2].text.ptr,
                (int)row[4].text.len, row[4].text.len == 0 ? "" : row[4].text.ptr)));
        }
    }
    table = (struct ctl_table){ narrow, CW_ARRAY_LEN(narrow), lines, count };
    return ctl_table_print(doctor->ctl, &table, err);
}

static bool is_url(const char *text)
{
    return cw_span_starts(cw_span_cstr(text), CW_SPAN("https://")) ||
           cw_span_starts(cw_span_cstr(text), CW_SPAN("http://"));
}

/* One of the catalogue, or a URL that is not in it yet. */
static enum cw_code choose_source(struct ctl *ctl, struct cw_source *ret, struct cw_err *err)
{
    const char *wanted = ctl_arg(ctl, 0);
    enum cw_code rc = ctl_source(ctl, wanted, ret, err);
    if (rc != CW_E_NOT_FOUND || !is_url(wanted)) {
        return rc;
    }
    *ret = (struct cw_source){ .base_url = cw_span_cstr(wanted) };
    return ctl_environment(ctl, CW_ENV_SANDBOX, &ret->environment, err);
}

static enum cw_code examine(struct doctor *doctor, const struct cw_source *source,
                            struct cw_err *err)
{
    struct ctl *ctl = doctor->ctl;
    struct cw_http *http = NULL;
    struct cw_profiles *profiles = NULL;
    enum cw_code rc =
        cw_profiles_load(cw_config_text(ctl->config, CW_CONF_VENDORS_DIR), &profiles, err);
    if (rc == CW_OK) {
        rc = cw_http_new(ctl->config, &http, err);
    }
    struct cw_examination examination = {
        .model = &ctl->model,
        .profiles = profiles,
        .http = http,
        .arena = ctl->arena,
        .origin = cw_config_text(ctl->config, CW_CONF_ORIGIN),
        .source = source,
        .found = found,
        .arg = doctor,
    };
    if (rc == CW_OK) {
        rc = cw_examine(&examination, err);
    }
    cw_http_free(http);
    cw_profiles_free(profiles);
    return rc;
}

static enum cw_code run(struct ctl *ctl, struct cw_err *err)
{
    struct doctor doctor = { .ctl = ctl, .cells = ctl_cells(ctl, FINDINGS_MAX, WIDTH, err) };
    struct cw_source source;
    enum cw_code rc = doctor.cells == NULL ? CW_E_TOO_BIG : choose_source(ctl, &source, err);
    if (rc == CW_OK) {
        rc = examine(&doctor, &source, err);
    }
    if (rc == CW_OK) {
        rc = print(&doctor, err);
    }
    if (rc == CW_OK && doctor.ill) {
        rc = cw_err_set(err, CW_E_UPSTREAM, "doctor", "a patient cannot connect here as it is");
    }
    return rc;
}

static const struct ctl_option options[] = {
    { "--env", "sandbox|production", false,
      "where to look; both when left out (sandbox for a URL that is not in the catalogue)" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_doctor_commands[] = {
    { "doctor", "SOURCE", 1, 1, CTL_NEED_MODEL, "doctor",
      "Checks whether a patient could connect to a source.", options, run },
    { 0 },
};
