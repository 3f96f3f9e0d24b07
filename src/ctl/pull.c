/* SPDX-License-Identifier: Apache-2.0 */
/* pull start | status: a patient's records fetched now, and how that went. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "model/patient.h"
#include "model/pull.h"

#define SHOWN_MAX 100u

static enum cw_code need_patient(struct ctl *ctl, struct cw_org *ret_org, struct cw_span *ret_patient,
                                 struct cw_err *err)
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
    enum cw_code rc = need_patient(ctl, &org, &patient, err);
    if (rc == CW_OK) {
        rc = cw_pull_start_patient(&ctl->model, &ctl->actor, org.id, patient, &count, err);
    }
    if (rc == CW_OK) {
        (void)printf("%u pull%s started\n", count, count == 1 ? "" : "s");
    }
    return rc;
}

static const struct ctl_column status_columns[] = {
    { "id", CTL_TEXT },       { "connection_id", CTL_TEXT }, { "status", CTL_TEXT },     { "failure_code", CTL_TEXT },
    { "requests", CTL_INT },  { "received", CTL_INT },       { "stored", CTL_INT },      { "unchanged", CTL_INT },
    { "errors", CTL_INT },    { "created_at", CTL_TIME },    { "started_at", CTL_TIME }, { "ended_at", CTL_TIME },
};
#define STATUS_WIDTH CW_ARRAY_LEN(status_columns)

static void status_row(const struct ctl *ctl, const struct cw_pull *pull, struct ctl_cell *row)
{
    const struct ctl_cell cells[STATUS_WIDTH] = {
        CTL_T(ctl_id(ctl, CW_PREFIX_PULL, pull->id.ulid)),
        CTL_T(ctl_id(ctl, CW_PREFIX_CONNECTION, pull->connection.ulid)),
        CTL_T(cw_span_cstr(cw_pull_status_name(pull->status))),
        CTL_T(pull->failure_code),
        CTL_N(pull->requests),
        CTL_N(pull->received),
        CTL_N(pull->stored),
        CTL_N(pull->unchanged),
        CTL_N(pull->errors),
        CTL_N(pull->created_us),
        CTL_N(pull->started_us),
        CTL_N(pull->ended_us),
    };
    memcpy(row, cells, sizeof cells);
}

static enum cw_code print_pulls(const struct ctl *ctl, const struct cw_pull *pulls, size_t count, struct cw_err *err)
{
    struct ctl_cell *cells = ctl_cells(ctl, count, STATUS_WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        status_row(ctl, &pulls[i], cells + i * STATUS_WIDTH);
    }
    struct ctl_table table = { status_columns, STATUS_WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

static const char *task_kind_name(enum cw_task_kind kind)
{
    static const char *const names[] = { "", "read", "search", "reference", "document" };
    return names[kind];
}

static const char *task_status_name(enum cw_task_status status)
{
    static const char *const names[] = { "", "waiting", "done", "failed", "skipped" };
    return names[status];
}

static enum cw_code print_tasks(struct ctl *ctl, struct cw_pull_id id, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "kind", CTL_TEXT },  { "type", CTL_TEXT },    { "status", CTL_TEXT }, { "failure_code", CTL_TEXT },
        { "pages", CTL_INT },  { "received", CTL_INT }, { "stored", CTL_INT },  { "unchanged", CTL_INT },
        { "bytes", CTL_INT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_task *tasks = NULL;
    size_t count = 0;
    enum cw_code rc = cw_pull_tasks(&ctl->model, id, ctl->arena, &tasks, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cw_task *t = &tasks[i];
        const struct ctl_cell row[WIDTH] = {
            CTL_T(cw_span_cstr(task_kind_name(t->kind))), CTL_T(t->resource_type),
            CTL_T(cw_span_cstr(task_status_name(t->status))), CTL_T(t->failure_code), CTL_N(t->pages),
            CTL_N(t->received), CTL_N(t->stored), CTL_N(t->unchanged), CTL_N(t->bytes),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

static enum cw_code status(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_span patient_id;
    struct cw_patient patient;
    struct cw_pull *pulls = NULL;
    size_t count = 0;
    enum cw_code rc = need_patient(ctl, &org, &patient_id, err);
    if (rc == CW_OK) {
        rc = cw_patient_get(&ctl->model, org.id, patient_id, ctl->arena, &patient, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_list(&ctl->model, patient.row, SHOWN_MAX, ctl->arena, &pulls, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (!ctl_switch(ctl, "--tasks")) {
        return print_pulls(ctl, pulls, count, err);
    }
    return count == 0 ? cw_err_set(err, CW_E_NOT_FOUND, "pull", "there is no pull yet")
                      : print_tasks(ctl, pulls[0].id, err);
}

static const struct ctl_option start_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { 0 },
};
static const struct ctl_option status_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { "--tasks", NULL, false, "the tasks of the newest pull instead" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_pull_commands[] = {
    { "pull start", "", 0, 0, CTL_NEED_MODEL, NULL, "Starts a pull of each active connection of a patient.",
      start_options, start },
    { "pull status", "", 0, 0, CTL_NEED_MODEL, "pull.status", "Lists a patient's pulls, newest first.", status_options,
      status },
    { 0 },
};
