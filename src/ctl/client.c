/* SPDX-License-Identifier: Apache-2.0 */
/* client add | list: our registrations at vendors and single sources. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "fhir/examine.h"
#include "model/probe.h"
#include "model/registration.h"
#include "model/source.h"
#include "net/http.h"
#include "net/url.h"
#include "os/sys.h"
#include "smart/discovery.h"

#define HOSTS_MAX 64u
#define SECRET_FILE_MAX 4096u

struct hosts {
    struct cw_span list[HOSTS_MAX];
    size_t count;
};

static void add_host(struct ctl *ctl, struct hosts *hosts, const char *url_text)
{
    struct cw_url *url = NULL;
    struct cw_err ignored = { 0 };
    if (url_text[0] == '\0' || hosts->count == HOSTS_MAX ||
        cw_url_parse(cw_span_cstr(url_text), &url, &ignored) != CW_OK) {
        return;
    }
    struct cw_span host = cw_arena_span(ctl->arena, cw_span_cstr(cw_url_host(url)));
    cw_url_free(url);
    for (size_t i = 0; i < hosts->count; i++) {
        if (cw_span_eq(hosts->list[i], host)) {
            return;
        }
    }
    if (host.ptr != NULL) {
        hosts->list[hosts->count++] = host;
    }
}

/* The hosts of a source: its base's, and those that it sends patients and codes to. */
static void source_hosts(struct ctl *ctl, const struct cw_source *source, struct hosts *hosts)
{
    struct cw_http *http = NULL;
    struct cw_discovery found;
    struct cw_err err = { 0 };
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    char *url = cw_arena_text(ctl->arena, source->base_url);
    if (url == NULL) {
        return;
    }
    add_host(ctl, hosts, url);
    enum cw_code rc = cw_url_normal_base(source->base_url, &base, &err);
    if (rc == CW_OK) {
        rc = cw_http_new(ctl->config, &http, &err);
    }
    if (rc == CW_OK) {
        rc = cw_smart_discover(http, cw_str_cstr(&base), ctl->arena, &found, &err);
    }
    if (rc == CW_OK) {
        add_host(ctl, hosts, found.authorization_endpoint);
        add_host(ctl, hosts, found.token_endpoint);
    } else {
        (void)fprintf(stderr, "warning: its discovery could not be read (%s); only the host of its base is allowed. "
                              "Name others by --host.\n", cw_code_name(rc));
    }
    cw_http_free(http);
}

static enum cw_code read_secret(const struct ctl *ctl, struct cw_str *out, struct cw_span *ret, struct cw_err *err)
{
    const char *path = ctl_option(ctl, "--secret-file");
    *ret = (struct cw_span){ NULL, 0 };
    if (path == NULL) {
        return CW_OK;
    }
    enum cw_code rc = cw_file_read(path, true, out, err);
    if (rc == CW_OK) {
        *ret = cw_span_trim(cw_str_span(out));
    }
    return rc;
}

/* Who it is for, and where it may be used. */
static enum cw_code read_target(struct ctl *ctl, struct cw_registration *wanted, struct hosts *hosts,
                                struct cw_err *err)
{
    const char *id = ctl_option(ctl, "--source"), *vendor = ctl_option(ctl, "--vendor");
    if ((id == NULL) == (vendor == NULL)) {
        return ctl_usage(err, "name a --source or a --vendor, one of the two");
    }
    _Static_assert(HOSTS_MAX >= CTL_ARGS_MAX, "each option can be a host");
    for (size_t i = 0; i < ctl->option_count; i++) {
        if (strcmp(ctl->options[i].name, "--host") == 0) {
            hosts->list[hosts->count++] = cw_span_cstr(ctl->options[i].value);
        }
    }
    if (vendor != NULL) {
        wanted->vendor = cw_span_cstr(vendor);
        return hosts->count > 0 ? ctl_environment(ctl, CW_ENV_SANDBOX, &wanted->environment, err)
                                : ctl_usage(err, "a --vendor needs its hosts: --host PATTERN, repeatable");
    }
    struct cw_source source;
    enum cw_code rc = ctl_source(ctl, id, &source, err);
    if (rc == CW_OK) {
        wanted->source = source.id;
        wanted->environment = source.environment;
        if (hosts->count == 0) {
            source_hosts(ctl, &source, hosts);
        }
    }
    return rc;
}

static enum cw_code print_added(struct ctl *ctl, struct cw_registration_id id, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "id", CTL_TEXT }, { "redirect_uri", CTL_TEXT }, { "jwks_url", CTL_TEXT }, { "hosts", CTL_LIST },
    };
    struct cw_registration added;
    enum cw_code rc = cw_registration_get(&ctl->model, id, ctl->arena, &added, err);
    if (rc != CW_OK) {
        return rc;
    }
    const char *origin = cw_config_text(ctl->config, CW_CONF_ORIGIN);
    char *redirect = cw_arena_printf(ctl->arena, "%s/callback/%.*s", origin, (int)added.slug.len, added.slug.ptr);
    char *jwks = cw_arena_printf(ctl->arena, "%s/.well-known/jwks.json", origin);
    CW_AUTO_STR hosts;
    cw_str_init(&hosts, 32 * 1024);
    for (size_t i = 0; i < added.host_count; i++) {
        cw_str_addf(&hosts, "%s%.*s", i == 0 ? "" : " ", (int)added.hosts[i].len, added.hosts[i].ptr);
    }
    struct ctl_cell row[] = {
        CTL_T(ctl_id(ctl, CW_PREFIX_REGISTRATION, id.ulid)),
        CTL_T(cw_span_cstr(redirect)),
        CTL_T(cw_span_cstr(added.method == CW_AUTH_KEY_JWT ? jwks : NULL)),
        CTL_T(cw_arena_span(ctl->arena, cw_str_span(&hosts))),
    };
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), row, 1 };
    return ctl_switch(ctl, "--json") ? ctl_made_print(ctl, &table, err) : ctl_table_print(ctl, &table, err);
}

static enum cw_code add(struct ctl *ctl, struct cw_err *err)
{
    struct hosts hosts = { .count = 0 };
    const char *method = ctl_option(ctl, "--auth"), *client_id = ctl_option(ctl, "--client-id");
    struct cw_registration wanted = {
        .client_id = cw_span_cstr(client_id),
        .slug = cw_span_cstr(ctl_option(ctl, "--slug")),
        .scopes = cw_span_cstr(ctl_option(ctl, "--scopes")),
        .profile = cw_span_cstr(ctl_option(ctl, "--profile")),
    };
    if (client_id == NULL || method == NULL || !cw_auth_method_parse(cw_span_cstr(method), &wanted.method)) {
        return ctl_usage(err, "--client-id, and --auth none|client_secret_basic|client_secret_post|private_key_jwt, are required");
    }
    CW_AUTO_STR file;
    cw_str_init_secret(&file, SECRET_FILE_MAX);
    struct cw_span secret;
    struct cw_registration_id id;
    enum cw_code rc = read_secret(ctl, &file, &secret, err);
    if (rc == CW_OK) {
        rc = read_target(ctl, &wanted, &hosts, err);
    }
    if (rc == CW_OK) {
        wanted.hosts = hosts.list;
        wanted.host_count = hosts.count;
        rc = cw_registration_add(&ctl->model, &ctl->actor, &wanted, secret, &id, err);
    }
    return rc == CW_OK ? print_added(ctl, id, err) : rc;
}

static const struct ctl_column list_columns[] = {
    { "id", CTL_TEXT },         { "environment", CTL_TEXT }, { "slug", CTL_TEXT },  { "vendor", CTL_TEXT },
    { "source", CTL_TEXT },     { "client_id", CTL_TEXT },   { "auth", CTL_TEXT },  { "scopes", CTL_LIST },
    { "created_at", CTL_TIME }, { "probe", CTL_TEXT },       { "cause", CTL_TEXT }, { "probed_at", CTL_TIME },
    { "rejected_since", CTL_TIME }, { "next_try", CTL_TIME },
};
enum { LIST_WIDTH = CW_ARRAY_LEN(list_columns) };

/* One registration, with how its daily probe ended; blank where it was not its turn yet. */
static enum cw_code fill_row(struct ctl *ctl, const struct cw_registration *r, struct ctl_cell *cells, struct cw_err *err)
{
    struct cw_span source = { NULL, 0 };
    struct cw_probe probe = { .result = 0 };
    enum cw_code rc = cw_probe_worst(&ctl->model, r->id.ulid, ctl->arena, &probe, err);
    if (rc != CW_OK && rc != CW_E_NOT_FOUND) {
        return rc;
    }
    if (!cw_ulid_is_zero(r->source.ulid)) {
        source = ctl_id(ctl, CW_PREFIX_SOURCE, r->source.ulid);
    }
    const struct ctl_cell row[LIST_WIDTH] = {
        CTL_T(ctl_id(ctl, CW_PREFIX_REGISTRATION, r->id.ulid)),
        CTL_T(cw_span_cstr(cw_environment_name(r->environment))),
        CTL_T(r->slug),
        CTL_T(r->vendor),
        CTL_T(source),
        CTL_T(r->client_id),
        CTL_T(cw_span_cstr(cw_auth_method_name(r->method))),
        CTL_T(r->scopes),
        CTL_N(r->created_us),
        CTL_T(cw_span_cstr(cw_finding_result_name((enum cw_finding_result)probe.result))),
        CTL_T(probe.cause),
        CTL_N(probe.checked_us),
        CTL_N(r->rejected_us),
        CTL_N(r->probe_us),
    };
    memcpy(cells, row, sizeof row);
    return CW_OK;
}

static enum cw_code list(struct ctl *ctl, struct cw_err *err)
{
    struct cw_registration *all = NULL;
    size_t count = 0;
    enum cw_code rc = cw_registration_list(&ctl->model, ctl->arena, &all, &count, err);
    struct ctl_cell *cells = rc == CW_OK ? ctl_cells(ctl, count, LIST_WIDTH, err) : NULL;
    if (cells == NULL) {
        return rc == CW_OK ? CW_E_TOO_BIG : rc;
    }
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        rc = fill_row(ctl, &all[i], cells + i * LIST_WIDTH, err);
    }
    struct ctl_table table = { list_columns, LIST_WIDTH, cells, count };
    return rc == CW_OK ? ctl_table_print(ctl, &table, err) : rc;
}

static const struct ctl_option add_options[] = {
    { "--source", "ID", false, "the one source that it is for (id or FHIR base URL)" },
    { "--vendor", "NAME", false, "or the vendor that it is for" },
    { "--host", "PATTERN", true, "host, host:port or *.domain where it may be used; with --source: its own hosts" },
    { "--client-id", "ID", false, "as the vendor gave it; required" },
    { "--auth", "METHOD", false, "none, client_secret_basic, client_secret_post or private_key_jwt; required" },
    { "--secret-file", "FILE", false, "the client secret" },
    { "--scopes", "TEXT", false, "to ask for, or v1 or v2 alone for the SMART version that the app is registered for; by profile and discovery when left out" },
    { "--profile", "NAME", false, "vendor profile to use instead of the detected one" },
    { "--slug", "TEXT", false, "last part of the redirect URI; made up when left out" },
    { "--env", "sandbox|production", false, "with --vendor; sandbox when left out" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};
static const struct ctl_option list_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };

const struct ctl_command ctl_client_commands[] = {
    { "client add", "", 0, 0, CTL_NEED_MODEL, NULL, "Adds a client registration and prints its redirect URI.",
      add_options, add },
    { "client list", "", 0, 0, CTL_NEED_MODEL, "client.list", "Lists the client registrations, and which of them a server rejects.", list_options, list },
    { 0 },
};
