/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the patients of an endpoint sign in, and what runs there. What is stored is used while it is fresh, asked for again when it is
 * not, and used all the same when the server is down: a document of a week ago is better than no connection. Its failures are remembered,
 * so that not every patient waits for the same time-out.
 */
#include "config.h"

#include "picker/picker.h"

#include "base/limits.h"
#include "base/time.h"
#include "fhir/capability.h"
#include "net/url.h"
#include "os/log.h"
#include "os/sys.h"

#define START_FRESH_US CW_HOUR_US            /* an authorization starts from a copy that is younger */
#define STALE_MAX_US (30 * CW_DAY_US)        /* and never from an older one */
#define LACK_US (10 * CW_MINUTE_US)          /* a failure holds so long */
#define CAPABILITY_MS 5000u                  /* a patient waits */

struct search {
    struct cw_visit *visit;
    struct cw_http *http;
    struct cw_arena *arena;
    struct cw_known *known;
    struct cw_discovery stored;
    bool has_stored;
};

/* ---- what is stored */

static const char *text_or_empty(struct cw_arena *arena, struct cw_span text)
{
    const char *copy = text.len == 0 ? "" : cw_arena_text(arena, text);
    return copy == NULL ? "" : copy;
}

/* Rows of before the document was kept have the endpoints alone. */
static struct cw_discovery from_columns(struct search *s)
{
    const struct cw_endpoint *e = &s->known->endpoint;
    return (struct cw_discovery){
        .found = CW_FOUND_WELL_KNOWN,
        .issuer = "",
        .authorization_endpoint = text_or_empty(s->arena, e->authorization_url),
        .token_endpoint = text_or_empty(s->arena, e->token_url),
        .revocation_endpoint = text_or_empty(s->arena, e->revocation_url),
        .introspection_endpoint = "",
        .registration_endpoint = "",
        .management_endpoint = "",
        .jwks_uri = "",
        .userinfo_endpoint = "",
    };
}

/* An issuer and keys once told stay told (model/endpoint.c): an answer without them must not take the checks away that hang on them. */
static void keep_told(struct search *s, struct cw_discovery *d)
{
    if (d->issuer[0] == '\0') {
        d->issuer = text_or_empty(s->arena, s->known->endpoint.issuer);
    }
    if (d->jwks_uri[0] == '\0') {
        d->jwks_uri = text_or_empty(s->arena, s->known->endpoint.jwks_url);
    }
}

static void read_stored(struct search *s)
{
    const struct cw_endpoint *e = &s->known->endpoint;
    if (e->authorization_url.len == 0 || e->token_url.len == 0) {
        return;
    }
    if (e->discovery.len == 0 || cw_discovery_stored(e->discovery, s->known->base, s->arena, &s->stored, NULL) != CW_OK) {
        s->stored = from_columns(s);
    }
    keep_told(s, &s->stored);
    s->has_stored = s->stored.authorization_endpoint[0] != '\0' && s->stored.token_endpoint[0] != '\0';
}

static bool is_fresh(const struct search *s, int64_t now_us)
{
    const struct cw_endpoint *e = &s->known->endpoint;
    return s->has_stored && !e->held && e->discovery.len > 0 && now_us < e->discovery_until_us &&
           now_us - e->discovered_us < START_FRESH_US;
}

/* ---- asking */

/* An empty text is not told: NULL in its column. */
static struct cw_span told(const char *text)
{
    return cw_span_cstr(text[0] == '\0' ? NULL : text);
}

static bool same_endpoints(const struct cw_discovery *a, const struct cw_discovery *b)
{
    return strcmp(a->authorization_endpoint, b->authorization_endpoint) == 0 && strcmp(a->token_endpoint, b->token_endpoint) == 0;
}

/* Keeps what was found; a changed host is held for the operator and stops this attempt (design 13). */
static enum cw_code store(struct search *s, const struct cw_discovery_facts *facts, struct cw_err *err)
{
    const struct cw_discovery *d = &s->known->discovery;
    const struct cw_endpoint *e = &s->known->endpoint;
    CW_AUTO_STR document;
    cw_str_init(&document, CW_DISCOVERY_MAX);
    if (cw_discovery_emit(d, &document) != CW_OK) {
        return cw_err_set(err, cw_str_code(&document), "picker.discover", "the discovery cannot be kept");
    }
    int64_t now_us = cw_now_us();
    bool held = false;
    const struct cw_endpoint found = {
        .id = e->id, .environment = e->environment, .url = e->url, .vendor = e->vendor, .issuer = told(d->issuer),
        .authorization_url = told(d->authorization_endpoint), .token_url = told(d->token_endpoint),
        .revocation_url = told(d->revocation_endpoint), .jwks_url = told(d->jwks_uri), .discovery = cw_str_span(&document),
        .discovered_us = now_us, .discovery_etag = told(facts->etag),
        .discovery_until_us = now_us + facts->good_for_s * CW_SECOND_US,
    };
    enum cw_code rc = cw_endpoint_store_discovery(&s->visit->app->model, &s->visit->actor, &found, &held, err);
    if (rc == CW_OK && held) {
        s->known->failure = CW_FAIL_SOURCE_HELD;
    }
    return rc;
}

/* What came. A CapabilityStatement knows the endpoints alone: where they are the stored ones, the stored document says more. */
static enum cw_code take(struct search *s, const struct cw_discovery_facts *facts, struct cw_err *err)
{
    struct cw_discovery *d = &s->known->discovery;
    if (facts->unchanged) {
        *d = s->stored;
        return cw_endpoint_keep_discovery(&s->visit->app->model, s->known->endpoint.id,
                                          cw_now_us() + facts->good_for_s * CW_SECOND_US, err);
    }
    if (d->found == CW_FOUND_CAPABILITY && s->has_stored && same_endpoints(d, &s->stored)) {
        *d = s->stored;
    }
    keep_told(s, d);
    if (d->duplicates) {
        cw_log(CW_LOG_WARNING, "picker.discovery_duplicates", CW_ID("source", CW_PREFIX_SOURCE, s->known->source->id));
    }
    return store(s, facts, err);
}

/* The server's failure, or ours a moment ago: the last good document while it is not too old. */
static void do_without(struct search *s, bool blocked)
{
    int64_t age_us = cw_now_us() - s->known->endpoint.discovered_us;
    if (blocked || !s->has_stored || age_us > STALE_MAX_US) {
        s->known->failure = CW_FAIL_DISCOVERY;
    } else {
        s->known->discovery = s->stored;
    }
}

/* Before a registration is known: only what the profile says of discovery counts. */
static const char *metadata_url(const struct search *s)
{
    struct cw_profile_facts facts = { .operator_choice = s->known->source->profile, .vendor = s->known->vendor, .host = s->known->host };
    return cw_profiles_choose(s->visit->app->profiles, &facts).profile->metadata_url;
}

static enum cw_code ask(struct search *s, struct cw_err *err)
{
    struct cw_err why = { .code = CW_OK };
    struct cw_discovery_facts facts;
    const struct cw_discovery_ask question = {
        .base = s->known->base,
        .metadata_url = metadata_url(s),
        .etag = s->has_stored && s->stored.found == CW_FOUND_WELL_KNOWN && s->known->endpoint.discovery.len > 0
                    ? s->known->endpoint.discovery_etag
                    : (struct cw_span){ NULL, 0 },
    };
    enum cw_code rc = cw_smart_discover_again(s->http, &question, s->arena, &s->known->discovery, &facts, &why);
    if (rc == CW_OK) {
        return take(s, &facts, err);
    }
    if (rc == CW_E_OOM) {
        return cw_err_set(err, rc, "picker.discover", "out of memory");
    }
    cw_log(CW_LOG_WARNING, "picker.discovery_failed", CW_ID("source", CW_PREFIX_SOURCE, s->known->source->id), CW_ERR(&why));
    do_without(s, rc == CW_E_BLOCKED);
    return cw_endpoint_note_lack(&s->visit->app->model, s->known->endpoint.id, CW_LACKS_DISCOVERY, err);
}

/* ---- what runs there */

/* A version that the catalogue has wrong is asked for, too, before a patient is turned away for it. */
static bool is_r4(struct cw_span version)
{
    return cw_span_starts(version, CW_SPAN("4.0")) || cw_span_starts(version, CW_SPAN("4.3"));
}

static bool wants_capability(const struct search *s, int64_t now_us)
{
    const struct cw_endpoint *e = &s->known->endpoint;
    bool vendor_known = cw_profiles_find(s->visit->app->profiles, s->known->vendor) != NULL;
    if (e->capability.ptr != NULL || now_us - e->capability_failed_us < LACK_US) {
        return false;
    }
    return !vendor_known || !is_r4(e->fhir_version);
}

static enum cw_code fetch_capability(struct search *s, struct cw_capability *ret, struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    const char *url = cw_arena_printf(s->arena, "%s/metadata", s->known->base);
    struct cw_http_request request = { .url = url, .accept = "application/fhir+json", .body_max = CW_CAPABILITY_MAX,
                                       .redirects = CW_REDIRECTS_MAX, .total_ms = CAPABILITY_MS };
    enum cw_code rc = url == NULL ? cw_err_set(err, CW_E_OOM, "picker.capability", "out of memory")
                                  : cw_http_perform(s->http, &request, &response, err);
    if (rc == CW_OK && response.status != 200) {
        rc = cw_err_sys(err, CW_E_UPSTREAM, (int)response.status, "picker.capability", "answered with status %ld", response.status);
    }
    if (rc == CW_OK) {
        rc = cw_capability_read(cw_str_span(&response.body), s->arena, ret, err);
    }
    cw_http_response_release(&response);
    return rc;
}

static enum cw_code keep_capability(struct search *s, const struct cw_capability *capability, struct cw_err *err)
{
    CW_AUTO_STR summary;
    cw_str_init(&summary, CW_CAPABILITY_SUMMARY_MAX);
    enum cw_code rc = cw_capability_emit(capability, &summary);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "picker.capability", "the summary is too big");
    }
    return cw_endpoint_store_capability(&s->visit->app->model, s->known->endpoint.id, cw_str_span(&summary),
                                        (struct cw_span){ NULL, 0 }, capability->fhir_version, err);
}

/* Never stops the patient: without it the profile is chosen by what else is known, and the pull asks again with a token. */
static void look_at_capability(struct search *s)
{
    struct cw_known *known = s->known;
    struct cw_capability capability = { .count = 0 };
    struct cw_err why = { .code = CW_OK };
    enum cw_code rc = CW_E_NOT_FOUND;
    if (wants_capability(s, cw_now_us())) {
        rc = fetch_capability(s, &capability, &why);
        enum cw_code kept = rc == CW_OK ? keep_capability(s, &capability, &why)
                                        : cw_endpoint_note_lack(&s->visit->app->model, known->endpoint.id, CW_LACKS_CAPABILITY, NULL);
        if (rc != CW_OK || kept != CW_OK) {
            cw_log(CW_LOG_INFO, "picker.capability_unknown", CW_ID("source", CW_PREFIX_SOURCE, known->source->id), CW_ERR(&why));
        }
    } else if (known->endpoint.capability.ptr != NULL) {
        rc = cw_capability_read(known->endpoint.capability, s->arena, &capability, &why);
    }
    if (rc != CW_OK) {
        return;
    }
    known->software = capability.software_name;
    known->publisher = capability.publisher;
    if (capability.fhir_version.len > 0) {
        known->endpoint.fhir_version = capability.fhir_version;
    }
}

static bool is_refused_version(struct cw_span version)
{
    bool told = version.len > 0 && version.ptr[0] >= '0' && version.ptr[0] <= '9';
    return told && !is_r4(version);
}

enum cw_code cw_leave_discover(struct cw_visit *visit, struct cw_http *http, struct cw_arena *arena, struct cw_known *known,
                               struct cw_err *err)
{
    struct search s = { .visit = visit, .http = http, .arena = arena, .known = known };
    read_stored(&s);
    int64_t now_us = cw_now_us();
    enum cw_code rc = CW_OK;
    if (is_fresh(&s, now_us)) {
        known->discovery = s.stored;
    } else if (now_us - known->endpoint.discovery_failed_us < LACK_US && !known->endpoint.held) {
        do_without(&s, false);
    } else {
        rc = ask(&s, err);
    }
    if (rc == CW_OK && known->failure == NULL) {
        look_at_capability(&s);
        known->failure = is_refused_version(known->endpoint.fhir_version) ? CW_FAIL_FHIR_VERSION : NULL;
    }
    return rc;
}
