/* SPDX-License-Identifier: Apache-2.0 */
/* The hospital's doors, and what every answer of it may suffer. */
#include "config.h"
#include "sandbox/hospital.h"

#include <poll.h>
#include <stdio.h>

#include "base/jsonw.h"
#include "os/sys.h"

#define FORM_MAX (64u * 1024u)
#define ANY .unknown_query_ok = true

static const struct cw_route routes[] = {
    { .name = "home", .method = CW_GET, .path = "/", .handler = home_get, ANY, .doc = "Who is here, and what they carry." },
    { .name = "fhir.discovery", .method = CW_GET, .path = "/fhir/.well-known/smart-configuration", .handler = discovery_get, ANY,
      .doc = "SMART configuration." },
    { .name = "discovery_root", .method = CW_GET, .path = "/.well-known/smart-configuration", .handler = discovery_root_get, ANY,
      .doc = "The same at the host's root." },
    { .name = "fhir.metadata", .method = CW_GET, .path = "/fhir/metadata", .handler = metadata_get, ANY,
      .doc = "CapabilityStatement." },
    { .name = "fhir.page", .method = CW_GET, .path = "/fhir", .handler = base_get, ANY, .doc = "A next link." },
    { .name = "fhir.search", .method = CW_GET, .path = "/fhir/{type}", .handler = type_get, ANY, .doc = "Search by type." },
    { .name = "fhir.read", .method = CW_GET, .path = "/fhir/{type}/{id}", .handler = instance_get, ANY, .doc = "Read." },
    { .name = "oauth.authorize", .method = CW_GET, .path = "/oauth/authorize", .handler = authorize_get, ANY,
      .doc = "The login page." },
    { .name = "oauth.authorize_post", .method = CW_POST, .path = "/oauth/authorize", .handler = authorize_post,
      .body = CW_BODY_RAW_FORM, .body_max = FORM_MAX, ANY, .doc = "The same by POST." },
    { .name = "oauth.authorize_slash", .method = CW_GET, .path = "/oauth/authorize/", .handler = authorize_slash, ANY,
      .doc = "The same, where it has a slash." },
    { .name = "oauth.login", .method = CW_POST, .path = "/oauth/login", .handler = login_post, .body = CW_BODY_RAW_FORM,
      .body_max = FORM_MAX, .doc = "A patient signs in: the consent page." },
    { .name = "oauth.consent", .method = CW_POST, .path = "/oauth/consent", .handler = consent_post,
      .body = CW_BODY_RAW_FORM, .body_max = FORM_MAX, .doc = "Allowed or refused: back to the app." },
    { .name = "oauth.token", .method = CW_POST, .path = "/oauth/token", .handler = token_post, .body = CW_BODY_RAW_FORM,
      .body_max = FORM_MAX, ANY, .doc = "Code exchange and refresh." },
    { .name = "oauth.token_slash", .method = CW_POST, .path = "/oauth/token/", .handler = token_slash, .body = CW_BODY_RAW_FORM,
      .body_max = FORM_MAX, ANY, .doc = "The same, where it has a slash." },
    { .name = "oauth.revoke", .method = CW_POST, .path = "/oauth/revoke", .handler = revoke_post,
      .body = CW_BODY_RAW_FORM, .body_max = FORM_MAX, ANY, .doc = "RFC 7009." },
    { .name = "oauth.introspect", .method = CW_POST, .path = "/oauth/introspect", .handler = introspect_post,
      .body = CW_BODY_RAW_FORM, .body_max = FORM_MAX, ANY, .doc = "RFC 7662." },
    { .name = "oauth.register", .method = CW_POST, .path = "/oauth/register", .handler = register_post, .body = CW_BODY_JSON, ANY,
      .doc = "An app registers itself, where the personality lets it." },
    { .name = "oauth.userinfo", .method = CW_GET, .path = "/oauth/userinfo", .handler = userinfo_get, ANY,
      .doc = "Who signed in, where the personality tells." },
    { .name = "oauth.jwks", .method = CW_GET, .path = "/oauth/jwks", .handler = jwks_get, ANY, .doc = "Keys of id_tokens." },
    { .name = "operator.fault", .flags = HOSPITAL_OWN, .method = CW_POST, .path = "/operator/faults", .handler = faults_post,
      .body = CW_BODY_JSON, .doc = "Makes something go wrong." },
    { .name = "operator.faults", .flags = HOSPITAL_OWN, .method = CW_GET, .path = "/operator/faults", .handler = faults_get,
      .doc = "What is set to go wrong." },
    { .name = "operator.faults_clear", .flags = HOSPITAL_OWN, .method = CW_DELETE, .path = "/operator/faults", .handler = faults_delete,
      .doc = "All well again." },
    { .name = "operator.personality", .flags = HOSPITAL_OWN, .method = CW_POST, .path = "/operator/personalities",
      .handler = personalities_post, .body = CW_BODY_JSON, .doc = "Makes a personality of quirks." },
    { .name = "operator.personalities", .flags = HOSPITAL_OWN, .method = CW_GET, .path = "/operator/personalities",
      .handler = personalities_get, .doc = "All personalities and quirks." },
    { .name = "sources", .flags = HOSPITAL_OWN, .method = CW_GET, .path = "/sources.json", .handler = sources_get, ANY,
      .doc = "All personalities as a list for a catalogue." },
    { .name = "operator.client", .flags = HOSPITAL_OWN, .method = CW_POST, .path = "/operator/clients", .handler = clients_post,
      .body = CW_BODY_JSON, .doc = "Registers an app." },
    { .name = "operator.revoke", .flags = HOSPITAL_OWN, .method = CW_POST, .path = "/operator/patients/{id}/revoke", .handler = revocations_post,
      .doc = "The patient takes all grants back." },
    { .name = "operator.chart", .flags = HOSPITAL_OWN, .method = CW_POST, .path = "/operator/patients/{id}/chart", .handler = chart_post,
      .body = CW_BODY_JSON, .doc = "Puts a resource into a patient's chart." },
    { .name = "operator.chart_remove", .flags = HOSPITAL_OWN, .method = CW_DELETE, .path = "/operator/patients/{id}/chart/{type}/{resource}",
      .handler = chart_delete, .doc = "Takes one out." },
    { .name = "operator.requests", .flags = HOSPITAL_OWN, .method = CW_GET, .path = "/operator/requests", .handler = requests_get, ANY,
      .doc = "What the FHIR side of a personality was asked." },
    { .name = "operator.requests_forget", .flags = HOSPITAL_OWN, .method = CW_DELETE, .path = "/operator/requests",
      .handler = requests_delete, ANY, .doc = "Forgets it: another day for what counts by the day." },
    { .name = "operator.census", .flags = HOSPITAL_OWN, .method = CW_GET, .path = "/operator/census", .handler = census_get, ANY,
      .doc = "Each patient's resources by type." },
};

/* What is under a personality and is none of the above: some answer anything. */
static const struct cw_route others[] = {
    { .name = "unknown", .method = CW_GET, .path = "/{rest...}", .handler = unknown_any, ANY, .doc = "Nothing." },
    { .name = "unknown_post", .method = CW_POST, .path = "/{rest...}", .handler = unknown_any, .body = CW_BODY_RAW_FORM,
      .body_max = FORM_MAX, ANY, .doc = "Nothing." },
};

/* The same route under a personality. False when out of memory. */
static bool under_personality(const struct cw_route *route, struct cw_route *out)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 256);
    cw_str_add_cstr(&path, "/as/{personality}");
    cw_str_add_cstr(&path, route->path);
    *out = *route;
    out->flags |= HOSPITAL_PERSONAL;
    out->path = cw_str_code(&path) == CW_OK ? cw_str_take(&path) : NULL;
    return out->path != NULL;
}

const struct cw_route *hospital_doors(size_t *ret_count)
{
    static struct cw_route all[2 * CW_ARRAY_LEN(routes) + CW_ARRAY_LEN(others)];
    size_t count = CW_ARRAY_LEN(routes);
    memcpy(all, routes, sizeof(routes));
    for (size_t i = 0; i < CW_ARRAY_LEN(routes); i++) {
        if ((routes[i].flags & HOSPITAL_OWN) == 0 && !under_personality(&routes[i], &all[count++])) {
            return NULL;
        }
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(others); i++) {
        if (!under_personality(&others[i], &all[count++])) {
            return NULL;
        }
    }
    *ret_count = count;
    return all;
}

static void wait_seconds(unsigned seconds)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    (void)poll(&stop, 1, (int)seconds * 1000);
}

void reply_outcome(struct cw_reply *reply, int status, const char *code, const char *text)
{
    struct cw_jsonw w;
    cw_str_clear(cw_reply_body(reply));
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resourceType", "OperationOutcome");
    cw_jsonw_key(&w, "issue");
    cw_jsonw_open_array(&w);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "severity", "error");
    cw_jsonw_key_cstr(&w, "code", code);
    cw_jsonw_key_cstr(&w, "diagnostics", text);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, status);
    cw_reply_header(reply, "Content-Type", "application/fhir+json; charset=utf-8");
}

void reply_oauth_error(struct cw_reply *reply, int status, const char *error, const char *text)
{
    struct cw_jsonw w;
    cw_str_clear(cw_reply_body(reply));
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "error", error);
    cw_jsonw_key_cstr(&w, "error_description", text);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, status);
}

static void retry_after(struct cw_reply *reply, unsigned seconds)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u", seconds);
    cw_reply_header(reply, "Retry-After", text);
}

bool fault_answers(struct cw_reply *reply, const struct cw_sbx_faults *faults)
{
    static const struct {
        enum cw_sbx_fault_kind kind;
        int status;
        const char *code, *text;
    } answers[] = {
        { CW_SBX_THROTTLE, 429, "throttled", "Too many requests." },
        { CW_SBX_UNAVAILABLE, 503, "transient", "Down for maintenance." },
        { CW_SBX_ERROR, 500, "exception", "Something broke." },
        { CW_SBX_FORBIDDEN, 403, "forbidden", "Not for you." },
        { CW_SBX_MISSING, 404, "not-found", "Not here." },
        { CW_SBX_EXPIRED, 401, "login", "The token is not valid any more." },
    };
    if (cw_sbx_hit(faults, CW_SBX_SLOW)) {
        wait_seconds(faults->seconds[CW_SBX_SLOW]);
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(answers); i++) {
        if (cw_sbx_hit(faults, answers[i].kind)) {
            reply_outcome(reply, answers[i].status, answers[i].code, answers[i].text);
            if (answers[i].kind == CW_SBX_THROTTLE || answers[i].kind == CW_SBX_UNAVAILABLE) {
                retry_after(reply, faults->seconds[answers[i].kind]);
            }
            return true;
        }
    }
    if (cw_sbx_hit(faults, CW_SBX_WRONG_TYPE)) {
        (void)cw_str_add_cstr(cw_reply_body(reply), "<!doctype html><title>Welcome</title><p>Please sign in.");
        cw_reply_html(reply, 200);
        return true;
    }
    return false;
}

void reply_fhir(struct cw_reply *reply, const struct cw_sbx_faults *faults, const char *type)
{
    struct cw_str *body = cw_reply_body(reply);
    cw_reply_status(reply, 200);
    cw_reply_header(reply, "Content-Type", type);
    if (cw_sbx_hit(faults, CW_SBX_BROKEN_JSON) && body->len > 2) {
        body->len--; /* the last bracket */
        body->buf[body->len] = '\0';
    }
    if (cw_sbx_hit(faults, CW_SBX_TRUNCATED) && body->len > 2) {
        /* Promises all of it and hangs up half-way. */
        char length[24];
        (void)snprintf(length, sizeof length, "%zu", body->len);
        cw_reply_header(reply, "Content-Length", length);
        body->len /= 2;
        body->buf[body->len] = '\0';
        (void)cw_reply_stream_start(reply); /* sends what the body holds and no length of its own */
    }
}
