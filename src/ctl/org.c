/* SPDX-License-Identifier: Apache-2.0 */
/* org create | list | return add | return list */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

static enum cw_code create(struct ctl *ctl, struct cw_err *err)
{
    enum cw_environment environment = CW_ENV_SANDBOX;
    enum cw_code rc = ctl_environment(ctl, (enum cw_environment)0, &environment, err);
    struct cw_org_id id;
    if (rc == CW_OK) {
        rc = cw_org_create(&ctl->model, &ctl->actor, cw_span_cstr(ctl_arg(ctl, 0)), environment, &id, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    static const struct ctl_column columns[] = { { "id", CTL_TEXT }, { "environment", CTL_TEXT }, { "name", CTL_TEXT } };
    struct ctl_cell row[] = {
        CTL_T(ctl_id(ctl, CW_PREFIX_ORGANIZATION, id.ulid)),
        CTL_T(cw_span_cstr(cw_environment_name(environment))),
        CTL_T(cw_span_cstr(ctl_arg(ctl, 0))),
    };
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), row, 1 };
    return ctl_made_print(ctl, &table, err);
}

static enum cw_code list(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "id", CTL_TEXT }, { "environment", CTL_TEXT }, { "name", CTL_TEXT }, { "created_at", CTL_TIME },
    };
    struct cw_org *orgs = NULL;
    size_t count = 0;
    enum cw_code rc = cw_org_list(&ctl->model, ctl->arena, &orgs, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, CW_ARRAY_LEN(columns), err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        struct ctl_cell *row = cells + i * CW_ARRAY_LEN(columns);
        row[0] = CTL_T(ctl_id(ctl, CW_PREFIX_ORGANIZATION, orgs[i].id.ulid));
        row[1] = CTL_T(cw_span_cstr(cw_environment_name(orgs[i].environment)));
        row[2] = CTL_T(orgs[i].name);
        row[3] = CTL_N(orgs[i].created_us);
    }
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), cells, count };
    return ctl_table_print(ctl, &table, err);
}

static enum cw_code return_add(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    enum cw_code rc = cw_org_find(&ctl->model, cw_span_cstr(ctl_arg(ctl, 0)), ctl->arena, &org, err);
    if (rc != CW_OK) {
        return rc;
    }
    return cw_org_return_add(&ctl->model, &ctl->actor, org.id, cw_span_cstr(ctl_arg(ctl, 1)), err);
}

static enum cw_code return_list(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = { { "target", CTL_TEXT } };
    struct cw_org org;
    struct cw_span *targets = NULL;
    size_t count = 0;
    enum cw_code rc = cw_org_find(&ctl->model, cw_span_cstr(ctl_arg(ctl, 0)), ctl->arena, &org, err);
    if (rc == CW_OK) {
        rc = cw_org_return_list(&ctl->model, org.id, ctl->arena, &targets, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, 1, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        cells[i] = CTL_T(targets[i]);
    }
    struct ctl_table table = { columns, 1, cells, count };
    return ctl_table_print(ctl, &table, err);
}

enum cw_code ctl_org(struct ctl *ctl, struct cw_org *ret, struct cw_err *err)
{
    const char *wanted = ctl_option(ctl, "--org");
    if (wanted != NULL) {
        return cw_org_find(&ctl->model, cw_span_cstr(wanted), ctl->arena, ret, err);
    }
    struct cw_org *orgs = NULL;
    size_t count = 0;
    enum cw_code rc = cw_org_list(&ctl->model, ctl->arena, &orgs, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (count != 1) {
        return count == 0 ? cw_err_set(err, CW_E_NOT_FOUND, "org", "there is no organization yet")
                          : ctl_usage(err, "there are several organizations: name one by --org");
    }
    *ret = orgs[0];
    return CW_OK;
}

static const struct ctl_option create_options[] = {
    { "--env", "sandbox|production", false, "its environment; required, and for ever" },
    { "--json", NULL, false, "the new organization as JSON instead of its id" },
    { 0 },
};
static const struct ctl_option list_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };

const struct ctl_command ctl_org_commands[] = {
    { "org create", "NAME", 1, 1, CTL_NEED_MODEL, NULL, "Makes an organization and prints its id.", create_options,
      create },
    { "org list", "", 0, 0, CTL_NEED_MODEL, "org.list", "Lists the organizations.", list_options, list },
    { "org return add", "ORG ORIGIN|SCHEME", 2, 2, CTL_NEED_MODEL, NULL,
      "Allows patients of an organization to be sent back to an origin or to an app's scheme.", NULL, return_add },
    { "org return list", "ORG", 1, 1, CTL_NEED_MODEL, "org.return_list", "Lists where its patients may be sent back to.",
      list_options, return_list },
    { 0 },
};
