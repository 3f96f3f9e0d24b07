/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hospital a request is for: the plain one, or one with a personality. Its URLs are made once for each request, and all that
 * handlers say of themselves comes from here.
 */
#include "config.h"
#include "sandbox/hospital.h"

#include "base/jsonw.h"

#define MOUNT "/sandbox"

static bool is_under(const struct cw_request *request)
{
    return (cw_request_route(request)->flags & HOSPITAL_PERSONAL) != 0;
}

static const char *url(struct cw_arena *arena, const char *head, const char *tail)
{
    return head == NULL ? NULL : cw_arena_printf(arena, "%s%s", head, tail);
}

/* Its FHIR base is on the second host. */
static bool is_elsewhere(const struct cw_sbx_personality *personality)
{
    return cw_sbx_personality_has(personality, CW_SBX_QUIRK_DISCOVERY_AT_ROOT) ||
           cw_sbx_personality_has(personality, CW_SBX_QUIRK_OTHER_HOST);
}

static bool needs_other(const struct cw_sbx_personality *personality)
{
    return is_elsewhere(personality) || cw_sbx_personality_has(personality, CW_SBX_QUIRK_ISSUER_ELSEWHERE) ||
           cw_sbx_personality_has(personality, CW_SBX_QUIRK_OAUTH_ELSEWHERE);
}

/* What stands behind the path of the authorization endpoint when it is told. */
static const char *authorize_tail(const struct site *site)
{
    if (site_plays(site, CW_SBX_QUIRK_TRAILING_SLASH) || site_plays(site, CW_SBX_QUIRK_AUTHORIZE_SLASH)) {
        return "/oauth/authorize/";
    }
    return site_plays(site, CW_SBX_QUIRK_AUTHORIZE_QUERY) ? "/oauth/authorize?acr_values=portal" : "/oauth/authorize";
}

/* All URLs of the site. False when out of memory. */
static bool name_places(struct site *site, struct cw_arena *arena)
{
    const char *name = site->as.name, *here = site->hospital->origin, *there = site->hospital->other_origin;
    site->path = name[0] == '\0' ? MOUNT : url(arena, MOUNT "/as/", name);
    if (site->path == NULL) {
        return false;
    }
    site->root = url(arena, is_elsewhere(&site->as) ? there : here, site->path);
    site->oauth = site_plays(site, CW_SBX_QUIRK_OAUTH_ELSEWHERE) ? url(arena, there, site->path) : site->root;
    site->base = url(arena, site->root, "/fhir");
    site->authorize_url = url(arena, site->oauth, authorize_tail(site));
    site->token_url = url(arena, site->oauth, site_plays(site, CW_SBX_QUIRK_TRAILING_SLASH) ? "/oauth/token/" : "/oauth/token");
    bool elsewhere = site_plays(site, CW_SBX_QUIRK_ISSUER_ELSEWHERE);
    const char *issuing = elsewhere ? url(arena, there, site->path) : site->oauth;
    site->issuer = elsewhere ? url(arena, issuing, "/oauth/issuer") : site->base;
    site->jwks_url = url(arena, issuing, "/oauth/jwks");
    return site->base != NULL && site->authorize_url != NULL && site->token_url != NULL && site->issuer != NULL &&
           site->jwks_url != NULL;
}

/* A recording or a personality of that name. */
static bool find_site(struct site *site, struct cw_span name)
{
    struct hospital *hospital = site->hospital;
    site->recording = hospital->recordings == NULL ? NULL : cw_sbx_recordings_find(hospital->recordings, name, &site->as);
    return site->recording != NULL || cw_sbx_personality_find(hospital->state, name, &site->as);
}

bool site_enter(struct cw_request *request, struct cw_reply *reply)
{
    struct hospital *hospital = cw_request_context(request);
    struct cw_arena *arena = cw_request_arena(request);
    struct site *site = cw_arena_alloc(arena, sizeof *site);
    if (site == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return false;
    }
    *site = (struct site){ .hospital = hospital, .as = cw_sbx_plain };
    if (is_under(request) && !find_site(site, cw_request_path_var(request, "personality"))) {
        cw_reply_fault(reply, "resource_not_found", "personality", "The sandbox has no such personality.");
        return false;
    }
    if (needs_other(&site->as) && hospital->other_origin[0] == '\0') {
        cw_reply_fault(reply, "resource_not_found", "personality", "This personality needs [sandbox] other_origin.");
        return false;
    }
    if (!name_places(site, arena)) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return false;
    }
    cw_request_set_state(request, site);
    return true;
}

const struct cw_sbx_patient *site_patient(const struct site *site, struct cw_span id)
{
    if (site->recording == NULL) {
        return cw_sbx_patient_find(site->hospital->store, id);
    }
    const struct cw_sbx_patient *patient = cw_sbx_recording_patient(site->recording);
    return cw_span_eq_cstr(id, patient->id) ? patient : NULL;
}

const struct cw_sbx_patient *site_patient_named(const struct site *site, struct cw_span name)
{
    if (site->recording == NULL) {
        return cw_sbx_patient_named(site->hospital->store, name);
    }
    const struct cw_sbx_patient *patient = cw_sbx_recording_patient(site->recording);
    return cw_span_eq_nocase(cw_span_trim(name), cw_span_cstr(patient->name)) ? patient : NULL;
}

void unknown_any(struct cw_request *request, struct cw_reply *reply)
{
    if (recording_answers(request, reply)) {
        return;
    }
    if (site_plays(site_of(request), CW_SBX_QUIRK_HTML_FOR_UNKNOWN)) {
        (void)cw_str_add_cstr(cw_reply_body(reply), "<!doctype html><title>Welcome</title><p>Nothing is wrong here.");
        cw_reply_html(reply, 200);
        return;
    }
    cw_reply_fault(reply, "resource_not_found", NULL, "There is nothing here.");
}

void site_redirect_slash(const struct site *site, const char *path, struct cw_reply *reply)
{
    CW_AUTO_STR target;
    cw_str_init(&target, 1024);
    cw_str_addf(&target, "%s%s/", site->path, path);
    if (cw_str_code(&target) != CW_OK) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return;
    }
    cw_reply_status(reply, 301);
    cw_reply_header(reply, "Location", cw_str_cstr(&target));
}

/* --- the catalogue of all personalities --- */

const char *site_base_of(const struct hospital *hospital, const struct cw_sbx_personality *personality, struct cw_arena *arena)
{
    return cw_arena_printf(arena, "%s" MOUNT "/as/%s/fhir%s", is_elsewhere(personality) ? hospital->other_origin : hospital->origin,
                           personality->name, cw_sbx_personality_has(personality, CW_SBX_QUIRK_PUBLISHED_WITH_SLASH) ? "/" : "");
}

static void source_row(struct cw_jsonw *w, const char *base, const struct cw_sbx_personality *personality)
{
    CW_AUTO_STR name;
    cw_str_init(&name, 256);
    cw_str_addf(&name, "Sandbox as %s", personality->name);
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "URL", base);
    cw_jsonw_key_text(w, "OrganizationName", cw_str_span(&name));
    cw_jsonw_key_cstr(w, "NPIID", "");
    cw_jsonw_key_cstr(w, "OrganizationZipCode", "");
    cw_jsonw_close_object(w);
}

struct rows {
    struct cw_jsonw *w;
    const struct hospital *hospital;
    struct cw_arena *arena;
};

static void each_source(const struct cw_sbx_personality *personality, void *arg)
{
    struct rows *rows = arg;
    const char *base = site_base_of(rows->hospital, personality, rows->arena);
    if (base != NULL && (rows->hospital->other_origin[0] != '\0' || !needs_other(personality))) {
        source_row(rows->w, base, personality);
    }
}

static void each_recording(const struct hospital *hospital, cw_sbx_personality_fn *fn, void *arg)
{
    size_t count = hospital->recordings == NULL ? 0 : cw_sbx_recordings_count(hospital->recordings);
    for (size_t i = 0; i < count; i++) {
        struct cw_sbx_personality as;
        (void)cw_sbx_recordings_at(hospital->recordings, i, &as);
        fn(&as, arg);
    }
}

void sources_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_jsonw w;
    struct rows rows = { &w, hospital_of(request), cw_request_arena(request) };
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "Endpoints");
    cw_jsonw_open_array(&w);
    cw_sbx_personalities_each(rows.hospital->state, each_source, &rows);
    each_recording(rows.hospital, each_source, &rows);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}
