/* SPDX-License-Identifier: Apache-2.0 */
/* pull policy: how often, and when; to see and to set. What is not named stays as it is. */
#include "config.h"
#include "ctl/ctl.h"

#include "model/pull_policy.h"

/* "90m", "24h", "7d" to seconds. */
static bool read_span(const char *text, uint32_t *ret_s)
{
    static const struct {
        char unit;
        uint32_t s;
    } units[] = { { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    struct cw_span all = cw_span_cstr(text);
    uint64_t n = 0;
    if (all.len < 2 || !cw_span_u64(cw_span_upto(all, all.len - 1), 1000000, &n)) {
        return false;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(units); i++) {
        if (all.ptr[all.len - 1] == units[i].unit && n * units[i].s <= CW_SCHEDULE_MOST_S) {
            *ret_s = (uint32_t)n * units[i].s;
            return true;
        }
    }
    return false;
}

static bool read_window(const char *text, struct cw_schedule_policy *p)
{
    struct cw_span to = cw_span_cstr(text), from;
    uint64_t from_h = 0, to_h = 0;
    if (!cw_span_cut(&to, '-', &from) || !cw_span_u64(from, 24, &from_h) || !cw_span_u64(to, 24, &to_h)) {
        return false;
    }
    p->window_from = (unsigned)from_h % 24;
    p->window_to = (unsigned)to_h % 24;
    return true;
}

/* *ret_any: something is to be set. */
static enum cw_code read_changes(struct ctl *ctl, struct cw_schedule_policy *p, bool *ret_any, struct cw_err *err)
{
    const char *incremental = ctl_option(ctl, "--incremental"), *full = ctl_option(ctl, "--full"), *window = ctl_option(ctl, "--window");
    bool off = ctl_switch(ctl, "--off"), on = ctl_switch(ctl, "--on");
    if (off && on) {
        return ctl_usage(err, "--on or --off, one of the two");
    }
    if ((incremental != NULL && !read_span(incremental, &p->incremental_s)) || (full != NULL && !read_span(full, &p->full_s))) {
        return ctl_usage(err, "a time is a number and m, h or d: 24h");
    }
    if (window != NULL && !read_window(window, p)) {
        return ctl_usage(err, "the window is two hours: 20-6");
    }
    p->enabled = on || (p->enabled && !off);
    *ret_any = off || on || incremental != NULL || full != NULL || window != NULL;
    return CW_OK;
}

static struct cw_span span_text(struct ctl *ctl, uint32_t s)
{
    char *text = s % 86400 == 0  ? cw_arena_printf(ctl->arena, "%ud", s / 86400)
                 : s % 3600 == 0 ? cw_arena_printf(ctl->arena, "%uh", s / 3600)
                                 : cw_arena_printf(ctl->arena, "%um", s / 60);
    return cw_span_cstr(text);
}

static enum cw_code print(struct ctl *ctl, struct cw_org_id org, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "source_id", CTL_TEXT }, { "incremental", CTL_TEXT }, { "full", CTL_TEXT }, { "window", CTL_TEXT },
        { "enabled", CTL_BOOL },   { "set_at", CTL_TIME },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_pull_policy *list = NULL;
    size_t count = 0;
    enum cw_code rc = cw_pull_policy_list(&ctl->model, org, ctl->arena, &list, &count, err);
    struct ctl_cell *cells = rc == CW_OK ? ctl_cells(ctl, count, WIDTH, err) : NULL;
    if (cells == NULL) {
        return rc == CW_OK ? CW_E_TOO_BIG : rc;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cw_schedule_policy *p = &list[i].policy;
        const struct ctl_cell row[WIDTH] = {
            CTL_T(i == 0 ? CW_SPAN("all") : ctl_id(ctl, CW_PREFIX_SOURCE, list[i].source.ulid)),
            CTL_T(span_text(ctl, p->incremental_s)),
            CTL_T(span_text(ctl, p->full_s)),
            CTL_T(cw_span_cstr(cw_arena_printf(ctl->arena, "%u-%u", p->window_from, p->window_to))),
            CTL_N(p->enabled),
            CTL_N(list[i].updated_us),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* What holds for the source by now: its own policy, else the organization's. */
static enum cw_code now_of(struct ctl *ctl, struct cw_org_id org, struct cw_pull_policy *policy, struct cw_err *err)
{
    struct cw_pull_policy *list = NULL;
    size_t count = 0;
    enum cw_code rc = cw_pull_policy_list(&ctl->model, org, ctl->arena, &list, &count, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        if (i == 0 || cw_ulid_eq(list[i].source.ulid, policy->source.ulid)) {
            policy->policy = list[i].policy;
        }
    }
    return rc;
}

enum cw_code ctl_pull_policy(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_pull_policy policy = { .updated_us = 0 };
    const char *name = ctl_arg(ctl, 0), *source_name = ctl_option(ctl, "--source");
    bool any = false;
    enum cw_code rc = name != NULL ? cw_org_find(&ctl->model, cw_span_cstr(name), ctl->arena, &org, err) : ctl_org(ctl, &org, err);
    if (rc == CW_OK && source_name != NULL) {
        struct cw_source source;
        rc = ctl_source(ctl, source_name, &source, err);
        policy.source = rc == CW_OK ? source.id : policy.source;
    }
    if (rc == CW_OK) {
        rc = now_of(ctl, org.id, &policy, err);
    }
    if (rc == CW_OK) {
        rc = read_changes(ctl, &policy.policy, &any, err);
    }
    if (rc == CW_OK && any) {
        rc = cw_pull_policy_set(&ctl->model, &ctl->actor, org.id, &policy, err);
    }
    return rc == CW_OK ? print(ctl, org.id, err) : rc;
}
