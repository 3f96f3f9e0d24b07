/* SPDX-License-Identifier: Apache-2.0 */
/* The CapabilityStatement. */
#include "config.h"
#include "sandbox/fhir_quirk.h"

#include "base/jsonw.h"

#define JSON_TYPE "application/fhir+json; charset=utf-8"

static void search_param(struct cw_jsonw *w, const char *name, const char *type)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "name", name);
    cw_jsonw_key_cstr(w, "type", type);
    cw_jsonw_close_object(w);
}

static void interaction(struct cw_jsonw *w, const char *code)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "code", code);
    cw_jsonw_close_object(w);
}

static void capability_type(struct cw_jsonw *w, const struct site *site, const struct cw_sbx_type *type)
{
    static const char *const kinds[] = { [CW_SBX_TOKEN] = "token", [CW_SBX_DATE] = "date", [CW_SBX_REFERENCE] = "reference" };
    bool searched = (type->flags & CW_SBX_BY_PATIENT) != 0;
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "type", type->name);
    cw_jsonw_key(w, "interaction");
    cw_jsonw_open_array(w);
    interaction(w, "read");
    if (searched) {
        interaction(w, "search-type");
    }
    cw_jsonw_close_array(w);
    if (searched && fhir_quirk_lists_params(site)) {
        cw_jsonw_key(w, "searchParam");
        cw_jsonw_open_array(w);
        search_param(w, "_id", "token");
        search_param(w, "patient", "reference");
        if ((type->flags & CW_SBX_LAST_UPDATED) != 0 && !site_plays(site, CW_SBX_QUIRK_NO_LAST_UPDATED)) {
            search_param(w, "_lastUpdated", "date");
        }
        for (size_t i = 0; type->params[i].name != NULL; i++) {
            search_param(w, type->params[i].name, kinds[type->params[i].kind]);
        }
        cw_jsonw_close_array(w);
    }
    cw_jsonw_close_object(w);
}

static void uri_extension(struct cw_jsonw *w, const char *name, const char *uri)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "url", name);
    cw_jsonw_key_cstr(w, "valueUri", uri);
    cw_jsonw_close_object(w);
}

/* Where SMART 1.0 told the endpoints. */
static void oauth_uris(struct cw_jsonw *w, const struct site *site)
{
    cw_jsonw_key(w, "security");
    cw_jsonw_open_object(w);
    cw_jsonw_key(w, "extension");
    cw_jsonw_open_array(w);
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "url", "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris");
    cw_jsonw_key(w, "extension");
    cw_jsonw_open_array(w);
    uri_extension(w, "authorize", site->authorize_url);
    uri_extension(w, "token", site->token_url);
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
}

void metadata_get(struct cw_request *request, struct cw_reply *reply)
{
    if (recording_answers(request, reply)) {
        return;
    }
    const struct site *site = site_of(request);
    struct cw_sbx_faults faults = { 0 };
    struct cw_sbx_occasion occasion = { .point = CW_SBX_AT_METADATA, .site = site->as.name, .persona = -1 };
    cw_sbx_faults_take(site->hospital->state, &occasion, &faults);
    if (fault_answers(reply, &faults)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resourceType", "CapabilityStatement");
    cw_jsonw_key_cstr(&w, "status", "active");
    cw_jsonw_key_cstr(&w, "kind", "instance");
    cw_jsonw_key_cstr(&w, "publisher", site->as.publisher);
    cw_jsonw_key(&w, "software");
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "name", site->as.software);
    cw_jsonw_key_cstr(&w, "version", PACKAGE_VERSION);
    cw_jsonw_close_object(&w);
    cw_jsonw_key_cstr(&w, "fhirVersion", fhir_quirk_version(site));
    cw_jsonw_key(&w, "format");
    cw_jsonw_open_array(&w);
    cw_jsonw_cstr(&w, "application/fhir+json");
    cw_jsonw_close_array(&w);
    cw_jsonw_key(&w, "rest");
    cw_jsonw_open_array(&w);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "mode", "server");
    if (site_plays(site, CW_SBX_QUIRK_OAUTH_URIS_ONLY)) {
        oauth_uris(&w, site);
    }
    cw_jsonw_key(&w, "resource");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < cw_sbx_type_count(); i++) {
        if (fhir_quirk_lists(site, &cw_sbx_types[i])) {
            capability_type(&w, site, &cw_sbx_types[i]);
        }
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    reply_fhir(reply, &faults, JSON_TYPE);
}
