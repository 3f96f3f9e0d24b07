/* SPDX-License-Identifier: Apache-2.0 */
/* source profile: which vendor profile a source has, why, and what its endpoint has taught; to set, to clear, to forget. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/time.h"
#include "fhir/capability.h"
#include "model/lesson.h"
#include "model/registration.h"
#include "net/url.h"
#include "smart/scope.h"

#define FACTS_MAX (16u + CW_LESSONS_MAX)

struct facts {
    struct ctl *ctl;
    struct ctl_cell cells[FACTS_MAX * 3];
    size_t count;
};

static void add(struct facts *facts, const char *fact, struct cw_span value, const char *detail)
{
    if (facts->count < FACTS_MAX) {
        struct ctl_cell *row = facts->cells + facts->count++ * 3;
        row[0] = CTL_T(cw_span_cstr(fact));
        row[1] = CTL_T(value.ptr == NULL ? CW_SPAN("") : value);
        row[2] = CTL_T(cw_span_cstr(detail));
    }
}

static struct cw_span host_of(struct ctl *ctl, struct cw_span text, bool with_port)
{
    struct cw_url *url = NULL;
    struct cw_span host = { NULL, 0 };
    if (cw_url_parse(text, &url, NULL) == CW_OK) {
        host = cw_span_cstr(with_port ? cw_arena_printf(ctl->arena, "%s:%u", cw_url_host(url), cw_url_port(url))
                                      : cw_arena_text(ctl->arena, cw_span_cstr(cw_url_host(url))));
    }
    cw_url_free(url);
    return host;
}

/* The profile that the source's registration names; absent where none fits, or where nothing is discovered yet. */
static struct cw_span registered_profile(struct ctl *ctl, const struct cw_source *source, const struct cw_endpoint *endpoint)
{
    struct cw_registration registration;
    const struct cw_span hosts[] = { host_of(ctl, endpoint->url, true), host_of(ctl, endpoint->authorization_url, true),
                                     host_of(ctl, endpoint->token_url, true) };
    struct cw_span vendor = endpoint->vendor.len > 0 ? endpoint->vendor : source->vendor;
    for (size_t i = 0; i < CW_ARRAY_LEN(hosts); i++) {
        if (hosts[i].ptr == NULL) {
            return (struct cw_span){ NULL, 0 };
        }
    }
    enum cw_code rc = cw_registration_choose(&ctl->model, source->environment, source->id, vendor, hosts, CW_ARRAY_LEN(hosts),
                                             ctl->arena, &registration, NULL);
    return rc == CW_OK ? registration.profile : (struct cw_span){ NULL, 0 };
}

enum cw_code ctl_profile_of(struct ctl *ctl, const struct cw_source *source, struct cw_profiles **ret_profiles,
                            struct cw_profile_choice *ret_choice, struct cw_err *err)
{
    struct cw_endpoint endpoint;
    struct cw_profiles *profiles = NULL;
    enum cw_code rc = cw_endpoint_get(&ctl->model, source->endpoint, ctl->arena, &endpoint, err);
    if (rc == CW_OK) {
        rc = cw_profiles_load(cw_config_text(ctl->config, CW_CONF_VENDORS_DIR), &profiles, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_capability capability = { .count = 0 };
    if (endpoint.capability.ptr != NULL && cw_capability_read(endpoint.capability, ctl->arena, &capability, NULL) != CW_OK) {
        capability = (struct cw_capability){ .count = 0 };
    }
    const struct cw_profile_facts facts = {
        .operator_choice = source->profile,
        .registration = registered_profile(ctl, source, &endpoint),
        .vendor = endpoint.vendor.len > 0 ? endpoint.vendor : source->vendor,
        .host = host_of(ctl, endpoint.url, false),
        .software = capability.software_name,
        .publisher = capability.publisher,
    };
    *ret_choice = cw_profiles_choose(profiles, &facts);
    *ret_profiles = profiles;
    return CW_OK;
}

/* ---- show */

static struct cw_span time_text(struct ctl *ctl, int64_t us)
{
    char text[CW_TIME_TEXT];
    if (us == 0) {
        return (struct cw_span){ NULL, 0 };
    }
    cw_time_emit(us, text);
    return cw_arena_span(ctl->arena, cw_span_cstr(text));
}

static enum cw_code add_lessons(struct facts *facts, const struct cw_source *source, struct cw_err *err)
{
    static const char *const scope_steps[] = { "as usual", "wild card or explicit, the other way", "the other SMART version",
                                               "without fhirUser", "without fhirUser and offline_access", "every way was refused" };
    static const char *const aud_steps[] = { "", "; the slash of aud the other way", "; aud refused with and without its slash" };
    struct cw_lesson_row *rows = NULL;
    size_t count = 0;
    enum cw_code rc = cw_endpoint_lessons(&facts->ctl->model, source->endpoint, facts->ctl->arena, &rows, &count, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        const char *scope = scope_steps[rows[i].scope_step < CW_ARRAY_LEN(scope_steps) ? rows[i].scope_step : 0];
        const char *aud = aud_steps[rows[i].aud_step < CW_ARRAY_LEN(aud_steps) ? rows[i].aud_step : 0];
        char *what = cw_arena_printf(facts->ctl->arena, "%s%s", scope, aud);
        if (what == NULL) {
            return cw_err_set(err, CW_E_OOM, "source", "out of memory");
        }
        add(facts, "learnt", cw_span_cstr(what), rows[i].worked_us != 0 ? "worked" : "for the next attempt");
    }
    return rc;
}

static enum cw_code show(struct ctl *ctl, const struct cw_source *source, struct cw_err *err)
{
    static const struct ctl_column columns[] = { { "fact", CTL_TEXT }, { "value", CTL_TEXT }, { "detail", CTL_TEXT } };
    struct facts facts = { .ctl = ctl };
    struct cw_profiles *profiles = NULL;
    struct cw_profile_choice choice;
    struct cw_endpoint endpoint;
    enum cw_code rc = ctl_profile_of(ctl, source, &profiles, &choice, err);
    if (rc == CW_OK) {
        rc = cw_endpoint_get(&ctl->model, source->endpoint, ctl->arena, &endpoint, err);
    }
    if (rc == CW_OK) {
        add(&facts, "profile", cw_span_cstr(choice.profile->name), cw_profile_why_name(choice.why));
        add(&facts, "operator", source->profile, "");
        add(&facts, "catalogue", endpoint.vendor.len > 0 ? endpoint.vendor : source->vendor, "");
        add(&facts, "software", endpoint.software, "");
        add(&facts, "fhir_version", endpoint.fhir_version, "");
        add(&facts, "discovered", time_text(ctl, endpoint.discovered_us), endpoint.discovery_failed_us != 0 ? "the last try failed" : "");
        rc = add_lessons(&facts, source, err);
    }
    if (rc == CW_OK) {
        const struct ctl_table table = { columns, CW_ARRAY_LEN(columns), facts.cells, facts.count };
        rc = ctl_table_print(ctl, &table, err);
    }
    cw_profiles_free(profiles);
    return rc;
}

/* ---- change */

static enum cw_code set(struct ctl *ctl, const struct cw_source *source, const char *name, struct cw_err *err)
{
    struct cw_profiles *profiles = NULL;
    enum cw_code rc = cw_profiles_load(cw_config_text(ctl->config, CW_CONF_VENDORS_DIR), &profiles, err);
    if (rc == CW_OK && cw_profiles_find(profiles, cw_span_cstr(name)) == NULL) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "source", "there is no such vendor profile");
    }
    cw_profiles_free(profiles);
    return rc == CW_OK ? cw_source_set_profile(&ctl->model, &ctl->actor, source->id, cw_span_cstr(name), err) : rc;
}

static enum cw_code run(struct ctl *ctl, struct cw_err *err)
{
    struct cw_source source;
    const char *name = ctl_arg(ctl, 1);
    bool clear = ctl_switch(ctl, "--clear");
    bool forget = ctl_switch(ctl, "--forget");
    if (name != NULL && clear) {
        return ctl_usage(err, "a profile's name or --clear, not both");
    }
    enum cw_code rc = ctl_source(ctl, ctl_arg(ctl, 0), &source, err);
    if (rc == CW_OK && name != NULL) {
        rc = set(ctl, &source, name, err);
    }
    if (rc == CW_OK && clear) {
        rc = cw_source_set_profile(&ctl->model, &ctl->actor, source.id, (struct cw_span){ NULL, 0 }, err);
    }
    if (rc == CW_OK && forget) {
        rc = cw_endpoint_forget(&ctl->model, &ctl->actor, source.endpoint, err);
    }
    if (rc == CW_OK && (name != NULL || clear)) {
        rc = ctl_source(ctl, ctl_arg(ctl, 0), &source, err);
    }
    return rc == CW_OK ? show(ctl, &source, err) : rc;
}

static const struct ctl_option options[] = {
    { "--clear", NULL, false, "takes the operator's choice back" },
    { "--forget", NULL, false, "forgets what its endpoint has taught, and asks it anew" },
    { "--env", "sandbox|production", false, "where to look; both when left out" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_source_profile_commands[] = {
    { "source profile", "SOURCE [NAME]", 1, 2, CTL_NEED_MODEL, "source.profile_show",
      "Shows which vendor profile a source has and why, and what its endpoint has taught; sets it by NAME.", options, run },
    { 0 },
};
