/* SPDX-License-Identifier: Apache-2.0 */
/* doctor SOURCE: can a patient connect here? TLS, discovery, capabilities and registration, each finding by name. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "model/registration.h"
#include "model/source.h"
#include "net/http.h"
#include "net/url.h"
#include "smart/discovery.h"

#define FINDINGS_MAX 24u

struct doctor {
    struct ctl *ctl;
    struct ctl_cell cells[FINDINGS_MAX * 3];
    size_t count;
    bool ill;
};

static const struct ctl_column columns[] = { { "check", CTL_TEXT }, { "result", CTL_TEXT }, { "detail", CTL_TEXT } };

static void find(struct doctor *doctor, const char *check, const char *result, const char *detail)
{
    if (doctor->count == FINDINGS_MAX) {
        return;
    }
    struct ctl_cell *row = doctor->cells + doctor->count++ * 3;
    row[0] = CTL_T(cw_span_cstr(check));
    row[1] = CTL_T(cw_span_cstr(result));
    row[2] = CTL_T(cw_arena_span(doctor->ctl->arena, cw_span_cstr(detail == NULL ? "" : detail)));
    doctor->ill |= strcmp(result, "fail") == 0;
}

static struct cw_span host_of(struct ctl *ctl, const char *text)
{
    struct cw_url *url = NULL;
    struct cw_err ignored = { 0 };
    struct cw_span host = { NULL, 0 };
    if (cw_url_parse(cw_span_cstr(text), &url, &ignored) == CW_OK) {
        char *name = cw_arena_printf(ctl->arena, "%s:%u", cw_url_host(url), cw_url_port(url));
        host = cw_span_cstr(name);
    }
    cw_url_free(url);
    return host;
}

static void examine_discovery(struct doctor *doctor, const struct cw_discovery *found)
{
    find(doctor, "discovery", "ok", cw_discovery_found_name(found->found));
    find(doctor, "authorization_endpoint", "ok", found->authorization_endpoint);
    find(doctor, "token_endpoint", "ok", found->token_endpoint);
    find(doctor, "issuer", found->issuer[0] == '\0' ? "note" : "ok", found->issuer[0] == '\0' ? "not told" : found->issuer);
    find(doctor, "pkce", found->pkce_s256 ? "ok" : "note",
         found->pkce_s256 ? "S256" : found->pkce_told ? "S256 is not among its methods" : "not told; S256 is sent");
    find(doctor, "standalone_launch", (found->capabilities & CW_CAP_LAUNCH_STANDALONE) != 0 ? "ok" : "note",
         (found->capabilities & CW_CAP_LAUNCH_STANDALONE) != 0 ? "advertised" : "not advertised; servers under-report");
    find(doctor, "offline_access", (found->capabilities & CW_CAP_PERMISSION_OFFLINE) != 0 ? "ok" : "note",
         (found->capabilities & CW_CAP_PERMISSION_OFFLINE) != 0 ? "advertised" : "not advertised: the connection may end with its first token");
    find(doctor, "revocation_endpoint", found->revocation_endpoint[0] == '\0' ? "note" : "ok",
         found->revocation_endpoint[0] == '\0' ? "none: a patient must take access back at the portal" : found->revocation_endpoint);
}

static void examine_registration(struct doctor *doctor, const struct cw_source *source, const char *base,
                                 const struct cw_discovery *found)
{
    struct ctl *ctl = doctor->ctl;
    struct cw_span hosts[] = { host_of(ctl, base), host_of(ctl, found->authorization_endpoint),
                               host_of(ctl, found->token_endpoint) };
    struct cw_registration registration;
    struct cw_err err = { 0 };
    find(doctor, "hosts", "ok", cw_arena_printf(ctl->arena, "%.*s %.*s %.*s", (int)hosts[0].len, hosts[0].ptr,
                                                (int)hosts[1].len, hosts[1].ptr, (int)hosts[2].len, hosts[2].ptr));
    enum cw_code rc = cw_registration_choose(&ctl->model, source->environment, source->id, source->vendor, hosts,
                                             CW_ARRAY_LEN(hosts), ctl->arena, &registration, &err);
    if (rc != CW_OK) {
        find(doctor, "client_registration", "fail",
             rc == CW_E_NOT_FOUND ? "none fits this source and its hosts: chartwayctl client add" : cw_code_name(rc));
        return;
    }
    find(doctor, "client_registration", "ok", cw_auth_method_name(registration.method));
    char *redirect = cw_arena_printf(ctl->arena, "%s/callback/%.*s", cw_config_text(ctl->config, CW_CONF_ORIGIN),
                                     (int)registration.slug.len, registration.slug.ptr);
    find(doctor, "redirect_uri", "ok", redirect);
    bool told = found->auth_methods != 0;
    bool offered = (found->auth_methods & 1u << registration.method) != 0;
    find(doctor, "auth_method", !told || offered ? "ok" : "note",
         !told ? "not told by the server" : offered ? "advertised" : "not among those that the server advertises");
}

static void examine_stored(struct doctor *doctor, const struct cw_source *source)
{
    struct cw_endpoint endpoint;
    struct cw_err err = { 0 };
    if (cw_endpoint_get(&doctor->ctl->model, source->endpoint, doctor->ctl->arena, &endpoint, &err) == CW_OK) {
        find(doctor, "held_change", endpoint.held ? "fail" : "ok",
             endpoint.held ? "a changed host waits: chartwayctl source approve" : "none");
    }
}

static enum cw_code examine(struct doctor *doctor, const struct cw_source *source, struct cw_err *err)
{
    struct ctl *ctl = doctor->ctl;
    struct cw_http *http = NULL;
    struct cw_discovery found;
    struct cw_err why = { 0 };
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    enum cw_code rc = cw_url_normal_base(source->base_url, &base, err);
    if (rc == CW_OK) {
        rc = cw_http_new(ctl->config, &http, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    bool tls = cw_span_starts(cw_str_span(&base), CW_SPAN("https://"));
    find(doctor, "fhir_base_url", "ok", cw_str_cstr(&base));
    rc = cw_smart_discover(http, cw_str_cstr(&base), ctl->arena, &found, &why);
    cw_http_free(http);
    if (rc == CW_OK || rc == CW_E_UPSTREAM) {
        find(doctor, "tls", tls ? "ok" : "note", tls ? "verified" : "plain http, by the allow-list");
    }
    if (rc == CW_OK) {
        examine_discovery(doctor, &found);
        examine_registration(doctor, source, cw_str_cstr(&base), &found);
    } else {
        find(doctor, rc == CW_E_UPSTREAM ? "discovery" : "reach", "fail", why.text[0] != '\0' ? why.text : cw_code_name(rc));
    }
    examine_stored(doctor, source);
    return CW_OK;
}

static enum cw_code run(struct ctl *ctl, struct cw_err *err)
{
    struct doctor doctor = { .ctl = ctl };
    struct cw_source source;
    enum cw_code rc = ctl_source(ctl, ctl_arg(ctl, 0), &source, err);
    if (rc == CW_OK) {
        rc = examine(&doctor, &source, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), doctor.cells, doctor.count };
    rc = ctl_table_print(ctl, &table, err);
    if (rc == CW_OK && doctor.ill) {
        rc = cw_err_set(err, CW_E_UPSTREAM, "doctor", "a patient cannot connect here as it is");
    }
    return rc;
}

static const struct ctl_option options[] = {
    { "--env", "sandbox|production", false, "where to look; both when left out" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_doctor_commands[] = {
    { "doctor", "SOURCE", 1, 1, CTL_NEED_MODEL, "doctor", "Checks whether a patient could connect to a source.", options, run },
    { 0 },
};
