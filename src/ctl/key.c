/* SPDX-License-Identifier: Apache-2.0 */
/* key create | list | revoke */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/time.h"
#include "model/api_key.h"
#include "os/sys.h"

#define EXPIRES_DAYS_MAX 36500

/* "90d", "12h", "30m" or "60s", from now. */
static enum cw_code read_expiry(const struct ctl *ctl, int64_t *ret_us, struct cw_err *err)
{
    static const struct {
        char suffix;
        int64_t unit_us;
    } units[] = { { 'd', CW_DAY_US }, { 'h', CW_HOUR_US }, { 'm', CW_MINUTE_US }, { 's', CW_SECOND_US } };
    struct cw_span text = cw_span_cstr(ctl_option(ctl, "--expires-in"));
    *ret_us = 0;
    if (text.ptr == NULL) {
        return CW_OK;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(units) && text.len > 1; i++) {
        uint64_t count = 0;
        uint64_t most = (uint64_t)(EXPIRES_DAYS_MAX * CW_DAY_US / units[i].unit_us);
        if (text.ptr[text.len - 1] == units[i].suffix && cw_span_u64(cw_span_upto(text, text.len - 1), most, &count)
            && count > 0) {
            *ret_us = cw_now_us() + (int64_t)count * units[i].unit_us;
            return CW_OK;
        }
    }
    return ctl_usage(err, "--expires-in must be like 90d, 12h, 30m or 60s");
}

static enum cw_code read_wanted(const struct ctl *ctl, struct cw_api_key *ret, struct cw_err *err)
{
    const char *scopes = ctl_option(ctl, "--scopes");
    const char *name = ctl_option(ctl, "--name");
    if (name != NULL && ctl_arg(ctl, 1) != NULL) {
        return ctl_usage(err, "the name is given twice");
    }
    ret->name = cw_span_cstr(name != NULL ? name : ctl_arg(ctl, 1));
    enum cw_code rc = cw_key_scopes_parse(cw_span_cstr(scopes == NULL ? "all" : scopes), &ret->scopes, err);
    return rc == CW_OK ? read_expiry(ctl, &ret->expires_us, err) : rc;
}

static enum cw_code create(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_api_key wanted = { 0 };
    enum cw_code rc = read_wanted(ctl, &wanted, err);
    if (rc == CW_OK) {
        rc = cw_org_find(&ctl->model, cw_span_cstr(ctl_arg(ctl, 0)), ctl->arena, &org, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_STR token;
    cw_str_init_secret(&token, CW_API_KEY_MAX);
    struct cw_api_key_id id;
    rc = cw_api_key_create(&ctl->model, &ctl->actor, org.id, &wanted, &token, &id, err);
    if (rc != CW_OK) {
        return rc;
    }
    static const struct ctl_column columns[] = { { "key", CTL_TEXT }, { "id", CTL_TEXT }, { "expires_at", CTL_TIME } };
    struct ctl_cell row[] = {
        CTL_T(cw_str_span(&token)),
        CTL_T(ctl_id(ctl, CW_PREFIX_API_KEY, id.ulid)),
        CTL_N(wanted.expires_us),
    };
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), row, 1 };
    (void)fprintf(stderr, "%.*s: this is the only time that the key is shown\n", (int)row[1].text.len, row[1].text.ptr);
    return ctl_made_print(ctl, &table, err);
}

static const char *state_of(const struct cw_api_key *key)
{
    if (key->revoked_us != 0) {
        return "revoked";
    }
    return key->expires_us != 0 && key->expires_us <= cw_now_us() ? "expired" : "active";
}

static enum cw_code fill_rows(const struct ctl *ctl, const struct cw_api_key *keys, size_t count,
                              struct ctl_cell *cells, size_t width, struct cw_err *err)
{
    for (size_t i = 0; i < count; i++) {
        CW_AUTO_STR scopes;
        cw_str_init(&scopes, 1024);
        if (cw_key_scopes_emit(keys[i].scopes, &scopes) != CW_OK) {
            return cw_err_set(err, CW_E_OOM, "key", "out of memory");
        }
        struct ctl_cell *row = cells + i * width;
        row[0] = CTL_T(ctl_id(ctl, CW_PREFIX_API_KEY, keys[i].id.ulid));
        row[1] = CTL_T(cw_span_cstr(state_of(&keys[i])));
        row[2] = CTL_T(keys[i].name);
        row[3] = CTL_N(keys[i].created_us);
        row[4] = CTL_N(keys[i].expires_us);
        row[5] = CTL_N(keys[i].revoked_us);
        row[6] = CTL_N(keys[i].last_used_us);
        row[7] = CTL_T(cw_arena_span(ctl->arena, cw_str_span(&scopes)));
    }
    return CW_OK;
}

static enum cw_code list(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "id", CTL_TEXT },         { "status", CTL_TEXT },     { "name", CTL_TEXT },         { "created_at", CTL_TIME },
        { "expires_at", CTL_TIME }, { "revoked_at", CTL_TIME }, { "last_used_at", CTL_TIME }, { "scopes", CTL_LIST },
    };
    struct cw_org org;
    struct cw_api_key *keys = NULL;
    size_t count = 0;
    enum cw_code rc = cw_org_find(&ctl->model, cw_span_cstr(ctl_arg(ctl, 0)), ctl->arena, &org, err);
    if (rc == CW_OK) {
        rc = cw_api_key_list(&ctl->model, org.id, ctl->arena, &keys, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, CW_ARRAY_LEN(columns), err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    rc = fill_rows(ctl, keys, count, cells, CW_ARRAY_LEN(columns), err);
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), cells, count };
    return rc == CW_OK ? ctl_table_print(ctl, &table, err) : rc;
}

static enum cw_code revoke(struct ctl *ctl, struct cw_err *err)
{
    struct cw_api_key_id id;
    if (!cw_id_parse(CW_PREFIX_API_KEY, cw_span_cstr(ctl_arg(ctl, 0)), &id.ulid)) {
        return ctl_usage(err, "KEY is the key_ id that `key list` shows");
    }
    return cw_api_key_revoke(&ctl->model, &ctl->actor, id, err);
}

static const struct ctl_option create_options[] = {
    { "--name", "TEXT", false, "a name for people" },
    { "--scopes", "\"…\"", false, "what it may do, names separated by blanks; all by default" },
    { "--expires-in", "90d|12h|30m|60s", false, "when it ends; never by default" },
    { "--json", NULL, false, "key and id as JSON instead of the key alone" },
    { 0 },
};
static const struct ctl_option list_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };

const struct ctl_command ctl_key_commands[] = {
    { "key create", "ORG [NAME]", 1, 2, CTL_NEED_MODEL, NULL, "Makes an API key and prints it, this once.",
      create_options, create },
    { "key list", "ORG", 1, 1, CTL_NEED_MODEL, "api_key.list", "Lists an organization's API keys.", list_options, list },
    { "key revoke", "KEY", 1, 1, CTL_NEED_MODEL, NULL, "Ends an API key at once.", NULL, revoke },
    { 0 },
};
