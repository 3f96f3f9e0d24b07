/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull status: what an operator asks while a patient waits. Pulls, newest first; how far the newest is, type by type; and
 * what is stored by now. In JSON each pull carries its own types, so that a program needs one call a look.
 */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "model/patient.h"
#include "model/pull_progress.h"
#include "model/pull_schedule.h"

#define PULLS_MAX 20u
#define TYPES_JSON_MAX (256u * 1024u)

/* ---------------------------------------------------------------------------------------------- tasks, added up by type */

static const struct ctl_column tally_columns[] = {
    { "type", CTL_TEXT },    { "tasks", CTL_INT },    { "waiting", CTL_INT },  { "done", CTL_INT },  { "failed", CTL_INT },
    { "skipped", CTL_INT },  { "requests", CTL_INT }, { "pages", CTL_INT },    { "expected", CTL_INT }, { "received", CTL_INT },
    { "stored", CTL_INT },   { "unchanged", CTL_INT },
};
#define TALLY_WIDTH CW_ARRAY_LEN(tally_columns)

/* In the order in which the types are asked for. */
static enum cw_code tally_table(struct ctl *ctl, const struct cw_progress *progress, struct ctl_table *ret, struct cw_err *err)
{
    struct ctl_cell *cells = ctl_cells(ctl, progress->type_count, TALLY_WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < progress->type_count; i++) {
        const struct cw_progress_type *t = &progress->types[i];
        const struct ctl_cell row[] = {
            CTL_T(t->type),    CTL_N(t->tasks),    CTL_N(t->waiting), CTL_N(t->done),           CTL_N(t->failed),
            CTL_N(t->skipped), CTL_N(t->requests), CTL_N(t->pages),   CTL_N(t->pages_expected), CTL_N(t->received),
            CTL_N(t->stored),  CTL_N(t->unchanged),
        };
        memcpy(cells + i * TALLY_WIDTH, row, sizeof row);
    }
    *ret = (struct ctl_table){ tally_columns, TALLY_WIDTH, cells, progress->type_count };
    return CW_OK;
}

static enum cw_code tally_json(struct ctl *ctl, const struct cw_progress *progress, struct cw_span *ret, struct cw_err *err)
{
    struct ctl_table table;
    CW_AUTO_STR text;
    cw_str_init(&text, TYPES_JSON_MAX);
    enum cw_code rc = tally_table(ctl, progress, &table, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = ctl_table_emit(&table, true, &text);
    *ret = rc == CW_OK ? cw_arena_span(ctl->arena, cw_span_trim(cw_str_span(&text))) : (struct cw_span){ NULL, 0 };
    return ret->ptr != NULL ? CW_OK : cw_err_set(err, CW_E_TOO_BIG, "pull", "the list is too long to print");
}

/* ---------------------------------------------------------------------------------------------- pulls */

/* The last one is for JSON alone. */
static const struct ctl_column pull_columns[] = {
    { "id", CTL_TEXT },       { "connection_id", CTL_TEXT }, { "mode", CTL_TEXT },       { "status", CTL_TEXT },     { "failure_code", CTL_TEXT },
    { "percent", CTL_INT },   { "requests", CTL_INT },       { "received", CTL_INT },    { "stored", CTL_INT },
    { "created", CTL_INT },   { "changed", CTL_INT },        { "unchanged", CTL_INT },   { "vanished", CTL_INT },
    { "vanish_suspected", CTL_INT }, { "errors", CTL_INT },  { "created_at", CTL_TIME }, { "started_at", CTL_TIME },
    { "eta_at", CTL_TIME },   { "ended_at", CTL_TIME },      { "types", CTL_RAW },
};

static enum cw_code pull_row(struct ctl *ctl, const struct cw_pull *pull, size_t width, struct ctl_cell *row,
                             struct cw_err *err)
{
    struct cw_progress progress;
    enum cw_code rc = cw_pull_progress(&ctl->model, pull, ctl->arena, &progress, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct ctl_cell cells[] = {
        CTL_T(ctl_id(ctl, CW_PREFIX_PULL, pull->id.ulid)),
        CTL_T(ctl_id(ctl, CW_PREFIX_CONNECTION, pull->connection.ulid)),
        CTL_T(cw_span_cstr(cw_pull_mode_name(pull->mode))),
        CTL_T(cw_span_cstr(cw_pull_status_name(pull->status))),
        CTL_T(pull->failure_code),
        CTL_N(progress.percent),
        CTL_N(pull->requests),
        CTL_N(pull->received),
        CTL_N(pull->stored),
        CTL_N(pull->created),
        CTL_N(pull->ended_us == 0 ? 0 : pull->stored - pull->created), /* counted at the end */
        CTL_N(pull->unchanged),
        CTL_N(pull->vanished),
        CTL_N(pull->vanish_suspected),
        CTL_N(pull->errors),
        CTL_N(pull->created_us),
        CTL_N(pull->started_us),
        CTL_N(progress.eta_us),
        CTL_N(pull->ended_us),
    };
    memcpy(row, cells, sizeof cells);
    return width > CW_ARRAY_LEN(cells) ? tally_json(ctl, &progress, &row[width - 1].text, err) : CW_OK;
}

static enum cw_code print_pulls(struct ctl *ctl, const struct cw_pull *pulls, size_t count, struct cw_err *err)
{
    size_t width = CW_ARRAY_LEN(pull_columns) - (ctl_switch(ctl, "--json") ? 0 : 1);
    struct ctl_cell *cells = ctl_cells(ctl, count, width, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        rc = pull_row(ctl, &pulls[i], width, cells + i * width, err);
    }
    struct ctl_table table = { pull_columns, width, cells, count };
    return rc == CW_OK ? ctl_table_print(ctl, &table, err) : rc;
}

static enum cw_code print_tasks(struct ctl *ctl, struct cw_pull_id id, struct cw_err *err)
{
    static const char *const kinds[] = { "", "read", "search", "reference", "document" };
    static const char *const statuses[] = { "", "waiting", "done", "failed", "skipped" };
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
            CTL_T(cw_span_cstr(kinds[t->kind])), CTL_T(t->resource_type), CTL_T(cw_span_cstr(statuses[t->status])),
            CTL_T(t->failure_code), CTL_N(t->pages), CTL_N(t->received), CTL_N(t->stored), CTL_N(t->unchanged),
            CTL_N(t->bytes),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* ---------------------------------------------------------------------------------------------- records */

static enum cw_code print_records(struct ctl *ctl, struct cw_patient_row patient, struct cw_err *err)
{
    static const struct ctl_column columns[] = { { "type", CTL_TEXT }, { "records", CTL_INT } };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_record_count *census = NULL;
    size_t count = 0;
    enum cw_code rc = cw_record_census(&ctl->model, patient, ctl->arena, &census, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        cells[i * WIDTH] = CTL_T(census[i].type);
        cells[i * WIDTH + 1] = CTL_N(census[i].count);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* ---------------------------------------------------------------------------------------------- what is planned */

static enum cw_code print_next(struct ctl *ctl, struct cw_patient_row patient, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "connection_id", CTL_TEXT }, { "status", CTL_TEXT },  { "next_pull_at", CTL_TIME }, { "mode", CTL_TEXT },
        { "held", CTL_TEXT },          { "failures", CTL_INT }, { "full_pulled_at", CTL_TIME },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_pull_plan_row *list = NULL;
    size_t count = 0;
    enum cw_code rc = cw_pull_schedule_list(&ctl->model, patient, ctl->arena, &list, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cw_pull_plan_row *p = &list[i];
        const struct ctl_cell row[WIDTH] = {
            CTL_T(ctl_id(ctl, CW_PREFIX_CONNECTION, p->connection.ulid)),
            CTL_T(cw_span_cstr(cw_connection_status_name(p->status))),
            CTL_N(p->at_us),
            CTL_T(p->at_us == 0 ? CW_SPAN("") : cw_span_cstr(cw_pull_mode_name(p->mode))),
            CTL_T(p->hold),
            CTL_N(p->failures),
            CTL_N(p->full_us),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* For people: three tables, each only where there is something in it. */
static enum cw_code print_all(struct ctl *ctl, struct cw_patient_row patient, const struct cw_pull *pulls, size_t count,
                              struct cw_err *err)
{
    struct ctl_table types;
    struct cw_progress progress;
    enum cw_code rc = print_pulls(ctl, pulls, count, err);
    if (rc != CW_OK || count == 0) {
        return rc;
    }
    rc = cw_pull_progress(&ctl->model, &pulls[0], ctl->arena, &progress, err);
    if (rc == CW_OK) {
        rc = tally_table(ctl, &progress, &types, err);
    }
    if (rc == CW_OK && types.count != 0) {
        (void)putchar('\n');
        rc = ctl_table_print(ctl, &types, err);
    }
    if (rc == CW_OK) {
        (void)putchar('\n');
        rc = print_records(ctl, patient, err);
    }
    return rc;
}

enum cw_code ctl_pull_status(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_span patient_id;
    struct cw_patient patient;
    struct cw_pull *pulls = NULL;
    size_t count = 0;
    if (ctl_switch(ctl, "--tasks") + ctl_switch(ctl, "--records") + ctl_switch(ctl, "--next") > 1) {
        return ctl_usage(err, "--tasks, --records or --next, one of them");
    }
    enum cw_code rc = ctl_patient_of(ctl, &org, &patient_id, err);
    if (rc == CW_OK) {
        rc = cw_patient_get(&ctl->model, org.id, patient_id, ctl->arena, &patient, err);
    }
    if (rc == CW_OK && ctl_switch(ctl, "--records")) {
        return print_records(ctl, patient.row, err);
    }
    if (rc == CW_OK && ctl_switch(ctl, "--next")) {
        return print_next(ctl, patient.row, err);
    }
    if (rc == CW_OK) {
        rc = cw_pull_list(&ctl->model, patient.row, PULLS_MAX, ctl->arena, &pulls, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (ctl_switch(ctl, "--tasks")) {
        return count == 0 ? cw_err_set(err, CW_E_NOT_FOUND, "pull", "there is no pull yet")
                          : print_tasks(ctl, pulls[0].id, err);
    }
    return ctl_switch(ctl, "--json") ? print_pulls(ctl, pulls, count, err) : print_all(ctl, patient.row, pulls, count, err);
}
