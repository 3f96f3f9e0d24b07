/* SPDX-License-Identifier: Apache-2.0 */
/* source import | list | approve: the catalogue. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "catalog/import.h"
#include "catalog/search.h"
#include "catalog/index.h"
#include "model/source.h"
#include "net/url.h"
#include "os/sys.h"

#define LIST_DEFAULT 50u
#define LIST_MAX 1000u

/* ---------------------------------------------------------------------------------------------- import */

/* "host:port" stands in [net] allow. */
static bool is_allowed(void *arg, const char *host, unsigned port)
{
    const struct cw_config *config = arg;
    struct cw_span rest = cw_span_cstr(cw_config_text(config, CW_CONF_NET_ALLOW)), word;
    char wanted[300];
    (void)snprintf(wanted, sizeof wanted, "%s:%u", host, port);
    while (cw_span_word(&rest, &word)) {
        if (cw_span_eq_nocase(word, cw_span_cstr(wanted))) {
            return true;
        }
    }
    return false;
}

static enum cw_code read_catalog(struct ctl *ctl, struct cw_str *file, enum cw_environment environment,
                                 struct cw_catalog *ret, struct cw_err *err)
{
    const char *path = ctl_arg(ctl, 0);
    bool is_url = cw_span_starts(cw_span_cstr(path), CW_SPAN("https://")) ||
                  cw_span_starts(cw_span_cstr(path), CW_SPAN("http://"));
    enum cw_code rc = is_url ? cw_str_add_cstr(file, path) : cw_file_read(path, false, file, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_catalog_options options = {
        .environment = environment,
        .allow = is_allowed,
        .allow_arg = ctl->config,
        .name = cw_span_cstr(ctl_option(ctl, "--name")),
        .vendor = cw_span_cstr(ctl_option(ctl, "--vendor")),
    };
    return cw_catalog_read(cw_str_span(file), &options, ctl->arena, ret, err);
}

static enum cw_code print_rejects(const struct ctl *ctl, const struct cw_catalog *catalog, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "position", CTL_INT }, { "reason", CTL_TEXT }, { "name", CTL_TEXT }, { "url", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct ctl_cell *cells = ctl_cells(ctl, catalog->reject_count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < catalog->reject_count; i++) {
        const struct cw_catalog_reject *reject = &catalog->rejects[i];
        const struct ctl_cell row[WIDTH] = { CTL_N(reject->position), CTL_T(cw_span_cstr(reject->reason)),
                                             CTL_T(reject->name), CTL_T(reject->url) };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, catalog->reject_count };
    return ctl_table_print(ctl, &table, err);
}

static enum cw_code import_rows(struct ctl *ctl, enum cw_environment environment, struct cw_str *file,
                                const struct cw_catalog *catalog, struct cw_err *err)
{
    struct cw_import_counts counts = { 0 };
    enum cw_code rc = cw_catalog_import(&ctl->model, &ctl->actor, environment, cw_str_span(file), catalog, &counts, err);
    if (rc == CW_OK) {
        (void)printf("%s: %zu sources read, %u created, %u changed, %u unchanged, %zu not taken\n", catalog->format,
                     catalog->count, counts.created, counts.changed, counts.unchanged, catalog->reject_count);
    }
    return rc;
}

static enum cw_code import(struct ctl *ctl, struct cw_err *err)
{
    enum cw_environment environment;
    struct cw_catalog catalog;
    CW_AUTO_STR file;
    cw_str_init(&file, CW_CATALOG_FILE_MAX);
    enum cw_code rc = ctl_environment(ctl, CW_ENV_SANDBOX, &environment, err);
    if (rc == CW_OK) {
        rc = read_catalog(ctl, &file, environment, &catalog, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (ctl_switch(ctl, "--rejects")) {
        return print_rejects(ctl, &catalog, err);
    }
    if (ctl_switch(ctl, "--dry-run")) {
        (void)printf("%s: %zu sources read, %zu not taken; nothing was changed\n", catalog.format, catalog.count,
                     catalog.reject_count);
        return CW_OK;
    }
    return import_rows(ctl, environment, &file, &catalog, err);
}

/* ---------------------------------------------------------------------------------------------- list */

static enum cw_code print_sources(const struct ctl *ctl, const struct cw_source *sources, size_t count,
                                  struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "id", CTL_TEXT },   { "name", CTL_TEXT },   { "type", CTL_TEXT },
        { "city", CTL_TEXT }, { "state", CTL_TEXT },  { "postal_code", CTL_TEXT },
        { "fhir_base_url", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct ctl_cell *cells = ctl_cells(ctl, count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cw_source *source = &sources[i];
        const struct ctl_cell row[WIDTH] = {
            CTL_T(ctl_id(ctl, CW_PREFIX_SOURCE, source->id.ulid)), CTL_T(source->name), CTL_T(source->vendor),
            CTL_T(source->city), CTL_T(source->state), CTL_T(source->postal_code), CTL_T(source->base_url),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

static enum cw_code search(struct ctl *ctl, enum cw_environment environment, const char *text, unsigned limit,
                           struct cw_source **ret, size_t *ret_count, struct cw_err *err)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 1024);
    enum cw_code rc = cw_index_path(ctl->config, environment, &path);
    struct cw_search *index = rc == CW_OK ? cw_search_new(cw_str_cstr(&path)) : NULL;
    if (index == NULL) {
        return cw_err_set(err, CW_E_OOM, "source", "out of memory");
    }
    struct cw_search_hit hits[CW_SEARCH_HITS_MAX];
    struct cw_source_id ids[CW_SEARCH_HITS_MAX];
    struct cw_search_ask ask = { .text = cw_span_cstr(text), .vendor = cw_span_cstr(ctl_option(ctl, "--vendor")) };
    size_t count = 0;
    rc = cw_search_run(index, &ask, hits, limit < CW_SEARCH_HITS_MAX ? limit : CW_SEARCH_HITS_MAX, &count, err);
    if (rc == CW_E_NOT_FOUND) {
        size_t sources;
        rc = cw_index_refresh(&ctl->model, environment, &sources, err);
        rc = rc == CW_OK ? cw_search_run(index, &ask, hits, CW_SEARCH_HITS_MAX, &count, err) : rc;
    }
    cw_search_free(index);
    for (size_t i = 0; i < count; i++) {
        ids[i] = hits[i].id;
    }
    return rc == CW_OK ? cw_source_get_many(&ctl->model, environment, ids, count, ctl->arena, ret, ret_count, err) : rc;
}

static enum cw_code list(struct ctl *ctl, struct cw_err *err)
{
    enum cw_environment environment;
    uint64_t limit = LIST_DEFAULT;
    struct cw_source *sources = NULL;
    size_t count = 0;
    const char *wanted = ctl_option(ctl, "--limit"), *text = ctl_option(ctl, "--query");
    enum cw_code rc = ctl_environment(ctl, CW_ENV_SANDBOX, &environment, err);
    if (rc == CW_OK && wanted != NULL && (!cw_span_u64(cw_span_cstr(wanted), LIST_MAX, &limit) || limit == 0)) {
        rc = ctl_usage(err, "--limit is a number from 1 to 1000");
    }
    if (rc == CW_OK && text != NULL) {
        rc = search(ctl, environment, text, (unsigned)limit, &sources, &count, err);
    } else if (rc == CW_OK) {
        rc = cw_source_list(&ctl->model, environment, cw_span_cstr(ctl_option(ctl, "--vendor")),
                            (struct cw_ulid){ { 0 } }, (unsigned)limit, ctl->arena, &sources, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    return print_sources(ctl, sources, count < limit ? count : (size_t)limit, err);
}

/* ---------------------------------------------------------------------------------------------- one source */

enum cw_code ctl_source(struct ctl *ctl, const char *id_or_url, struct cw_source *ret, struct cw_err *err)
{
    const char *env = ctl_option(ctl, "--env");
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    struct cw_err ignored = { 0 };
    struct cw_span text = cw_span_cstr(id_or_url), normal = { NULL, 0 };
    if (!cw_span_starts(text, CW_SPAN(CW_PREFIX_SOURCE)) && cw_url_normal_base(text, &base, &ignored) == CW_OK) {
        normal = cw_str_span(&base);
    }
    enum cw_environment only = CW_ENV_SANDBOX;
    if (env != NULL && !cw_environment_parse(cw_span_cstr(env), &only)) {
        return ctl_usage(err, "--env must be sandbox or production");
    }
    enum cw_code rc = CW_E_NOT_FOUND;
    for (enum cw_environment e = CW_ENV_SANDBOX; e <= CW_ENV_PRODUCTION && rc == CW_E_NOT_FOUND; e++) {
        if (env == NULL || e == only) {
            rc = cw_source_resolve(&ctl->model, e, text, normal, ctl->arena, ret, err);
        }
    }
    return rc == CW_E_NOT_FOUND ? cw_err_set(err, rc, "source", "there is no such source") : rc;
}

static enum cw_code approve(struct ctl *ctl, struct cw_err *err)
{
    struct cw_source source;
    enum cw_code rc = ctl_source(ctl, ctl_arg(ctl, 0), &source, err);
    if (rc == CW_OK) {
        rc = cw_endpoint_approve(&ctl->model, &ctl->actor, source.endpoint, err);
    }
    if (rc == CW_OK) {
        (void)puts("approved");
    }
    return rc;
}

static const struct ctl_option import_options[] = {
    { "--env", "sandbox|production", false, "whose catalogue; sandbox when left out" },
    { "--dry-run", NULL, false, "read and count, change nothing" },
    { "--rejects", NULL, false, "list what would not be taken, and why; change nothing" },
    { "--name", "TEXT", false, "of a bare URL" },
    { "--vendor", "NAME", false, "of all rows; guessed from each base when left out" },
    { "--json", NULL, false, "with --rejects: as JSON" },
    { 0 },
};
static const struct ctl_option list_options[] = {
    { "--query", "TEXT", false, "search as a patient would" },
    { "--env", "sandbox|production", false, "whose catalogue; sandbox when left out" },
    { "--vendor", "NAME", false, "only sources of this vendor" },
    { "--limit", "N", false, "at most so many; 50" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};
static const struct ctl_option approve_options[] = {
    { "--env", "sandbox|production", false, "where to look; both when left out" },
    { 0 },
};

const struct ctl_command ctl_source_commands[] = {
    { "source import", "FILE|URL", 1, 1, CTL_NEED_MODEL, NULL,
      "Imports a list of sources (SMART Brands, Endpoint Bundle, Lantern; told by content) or one FHIR base URL.",
      import_options, import },
    { "source list", "", 0, 0, CTL_NEED_MODEL, "source.list", "Lists or searches the catalogue.", list_options, list },
    { "source approve", "SOURCE", 1, 1, CTL_NEED_MODEL, NULL,
      "Takes over a discovery that was held because a host in it changed.", approve_options, approve },
    { 0 },
};
