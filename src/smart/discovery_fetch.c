/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for discovery documents: the places in their order, and what the answers say of how long they are good. A status is not believed
 * without its body, and a document that cannot be had at one place is looked for at the next, unless the whole host is out of reach.
 */
#include "config.h"

#include "smart/discovery.h"

#include "base/limits.h"
#include "net/url.h"

#define TRIES 4u

struct try {
    const char *url; /* "": none */
    const char *accept;
    size_t body_max;
    enum cw_discovery_found found;
};

struct asking {
    struct cw_http *http;
    const struct cw_discovery_ask *ask;
    struct cw_arena *arena;
    struct cw_str text[3];
    struct try tries[TRIES];
    struct cw_discovery_facts facts;
};

/* ---- how long an answer is good */

int64_t cw_discovery_good_for_s(struct cw_span cache_control)
{
    int64_t seconds = CW_DISCOVERY_GOOD_MAX_S;
    struct cw_span directive;
    bool more = cache_control.len > 0;
    while (more) {
        more = cw_span_cut(&cache_control, ',', &directive);
        struct cw_span value = directive;
        struct cw_span name;
        bool has_value = cw_span_cut(&value, '=', &name);
        uint64_t told = 0;
        name = cw_span_trim(name);
        if (cw_span_eq_nocase(name, CW_SPAN("no-store")) || cw_span_eq_nocase(name, CW_SPAN("no-cache"))) {
            return CW_DISCOVERY_GOOD_MIN_S;
        }
        if (has_value && cw_span_eq_nocase(name, CW_SPAN("max-age")) && cw_span_u64(cw_span_trim(value), INT32_MAX, &told)) {
            seconds = (int64_t)told;
        }
    }
    return seconds < CW_DISCOVERY_GOOD_MIN_S   ? CW_DISCOVERY_GOOD_MIN_S
           : seconds > CW_DISCOVERY_GOOD_MAX_S ? CW_DISCOVERY_GOOD_MAX_S
                                               : seconds;
}

/* NULL: out of memory. One that is too long or not printable is as good as none. */
static const char *etag_of(struct asking *a, const struct try *try, const struct cw_http_response *response)
{
    struct cw_span etag = cw_http_header_get(response, "ETag");
    if (try->found != CW_FOUND_WELL_KNOWN || etag.len == 0 || etag.len > CW_ETAG_MAX) {
        return "";
    }
    for (size_t i = 0; i < etag.len; i++) {
        if (etag.ptr[i] < ' ' || etag.ptr[i] > '~') {
            return "";
        }
    }
    return cw_arena_text(a->arena, etag);
}

/* ---- one place */

static enum cw_code read_answer(struct asking *a, const struct try *try, const struct cw_http_response *response,
                                struct cw_discovery *ret, struct cw_err *err)
{
    struct cw_span body = cw_str_span(&response->body);
    if (response->status != 200) {
        return cw_err_sys(err, CW_E_UPSTREAM, (int)response->status, "discovery", "answered with status %ld", response->status);
    }
    enum cw_code rc = try->found == CW_FOUND_CAPABILITY
                          ? cw_discovery_parse_capability(body, a->ask->base, a->arena, ret, err)
                          : cw_discovery_parse(body, a->ask->base, a->arena, ret, err);
    if (rc != CW_OK) {
        return rc;
    }
    ret->found = try->found;
    a->facts.good_for_s = cw_discovery_good_for_s(cw_http_header_get(response, "Cache-Control"));
    a->facts.etag = etag_of(a, try, response);
    return a->facts.etag == NULL ? cw_err_set(err, CW_E_OOM, "discovery", "out of memory") : CW_OK;
}

/* A server that says that it is overloaded or away has not said that there is no document: the next place would bring a poorer one. */
static bool is_away(long status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static enum cw_code one_try(struct asking *a, const struct try *try, struct cw_discovery *ret, struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    const struct cw_http_header if_none_match = { "If-None-Match", a->ask->etag };
    bool conditional = try->found == CW_FOUND_WELL_KNOWN && a->ask->etag.len > 0;
    struct cw_http_request request = { .url = try->url, .accept = try->accept, .body_max = try->body_max,
                                       .redirects = CW_REDIRECTS_MAX, .headers = &if_none_match, .header_count = conditional ? 1 : 0 };
    enum cw_code rc = cw_http_perform(a->http, &request, &response, err);
    if (rc == CW_OK && conditional && response.status == 304) {
        a->facts = (struct cw_discovery_facts){ .unchanged = true, .etag = "" };
        a->facts.good_for_s = cw_discovery_good_for_s(cw_http_header_get(&response, "Cache-Control"));
    } else if (rc == CW_OK) {
        rc = read_answer(a, try, &response, ret, err);
    }
    if (rc == CW_E_UPSTREAM && is_away(response.status)) {
        rc = CW_E_UNAVAILABLE;
    }
    cw_http_response_release(&response);
    return rc;
}

/* Another document of the same host cannot be had either. */
static bool is_hopeless(enum cw_code rc)
{
    return rc == CW_E_BLOCKED || rc == CW_E_UNAVAILABLE || rc == CW_E_TIMEOUT || rc == CW_E_OOM;
}

/* ---- all places */

static enum cw_code make_tries(struct asking *a, const struct cw_url *base, struct cw_err *err)
{
    static const char well_known[] = ".well-known/smart-configuration";
    struct cw_span slashed = cw_span_cstr(cw_url_text(base));
    const char *slash = cw_span_ends(slashed, CW_SPAN("/")) ? "" : "/";
    (void)cw_str_addf(&a->text[0], "%s%s%s", cw_url_text(base), slash, well_known);
    (void)cw_url_origin(base, &a->text[1]);
    (void)cw_str_addf(&a->text[1], "/%s", well_known);
    (void)cw_str_addf(&a->text[2], "%s%smetadata", cw_url_text(base), slash);
    for (unsigned i = 0; i < CW_ARRAY_LEN(a->text); i++) {
        enum cw_code rc = cw_str_code(&a->text[i]);
        if (rc != CW_OK) {
            return cw_err_set(err, rc == CW_E_OOM ? rc : CW_E_SYNTAX, "discovery", "the base is too long");
        }
    }
    bool at_root = strcmp(cw_str_cstr(&a->text[0]), cw_str_cstr(&a->text[1])) == 0;
    const char *last = a->ask->metadata_url == NULL ? "" : a->ask->metadata_url;
    a->tries[0] = (struct try){ cw_str_cstr(&a->text[0]), NULL, CW_DISCOVERY_MAX, CW_FOUND_WELL_KNOWN };
    a->tries[1] = (struct try){ at_root ? "" : cw_str_cstr(&a->text[1]), NULL, CW_DISCOVERY_MAX, CW_FOUND_ORIGIN };
    a->tries[2] = (struct try){ cw_str_cstr(&a->text[2]), "application/fhir+json", CW_CAPABILITY_MAX, CW_FOUND_CAPABILITY };
    a->tries[3] = (struct try){ last, NULL, CW_DISCOVERY_MAX, CW_FOUND_METADATA };
    return CW_OK;
}

static enum cw_code try_all(struct asking *a, struct cw_discovery *ret, struct cw_err *err)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (a->tries[i].url[0] == '\0') {
            continue;
        }
        struct cw_err why = { .code = CW_OK };
        enum cw_code rc = one_try(a, &a->tries[i], ret, &why);
        if (a->ask->told != NULL) {
            a->ask->told(a->ask->arg, a->tries[i].url, rc, &why);
        }
        if (is_hopeless(rc) && err != NULL) {
            *err = why;
        }
        if (rc == CW_OK || is_hopeless(rc)) {
            return rc;
        }
    }
    return cw_err_set(err, CW_E_UPSTREAM, "discovery", "no SMART configuration at the base, its origin or in /metadata");
}

enum cw_code cw_smart_discover_again(struct cw_http *http, const struct cw_discovery_ask *ask, struct cw_arena *arena,
                                     struct cw_discovery *ret_discovery, struct cw_discovery_facts *ret_facts, struct cw_err *err)
{
    struct asking a = { .http = http, .ask = ask, .arena = arena };
    struct cw_url *url = NULL;
    struct cw_discovery found;
    for (unsigned i = 0; i < CW_ARRAY_LEN(a.text); i++) {
        cw_str_init(&a.text[i], CW_LINK_MAX);
    }
    enum cw_code rc = cw_url_parse(cw_span_cstr(ask->base), &url, err);
    if (rc == CW_OK) {
        rc = make_tries(&a, url, err);
    }
    if (rc == CW_OK) {
        rc = try_all(&a, &found, err);
    }
    for (unsigned i = 0; i < CW_ARRAY_LEN(a.text); i++) {
        cw_str_release(&a.text[i]);
    }
    cw_url_free(url);
    if (rc != CW_OK) {
        return rc;
    }
    if (!a.facts.unchanged) {
        *ret_discovery = found;
    }
    *ret_facts = a.facts;
    return CW_OK;
}

enum cw_code cw_smart_discover(struct cw_http *http, const char *base, struct cw_arena *arena,
                               struct cw_discovery *ret_discovery, struct cw_err *err)
{
    struct cw_discovery_facts ignored;
    return cw_smart_discover_again(http, &(struct cw_discovery_ask){ .base = base }, arena, ret_discovery, &ignored, err);
}

enum cw_code cw_smart_discover_told(const struct cw_discovery_search *search, struct cw_discovery *ret_discovery,
                                    struct cw_err *err)
{
    const struct cw_discovery_ask ask = { .base = search->base, .told = search->told, .arg = search->arg };
    struct cw_discovery_facts ignored;
    return cw_smart_discover_again(search->http, &ask, search->arena, ret_discovery, &ignored, err);
}
