/* SPDX-License-Identifier: Apache-2.0 */
/* The server itself: its /metadata tells FHIR version and software, and the same answer brings certificate and clock. */
#include "config.h"

#include "fhir/examine_int.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/time.h"
#include "fhir/capability.h"
#include "model/signing.h"
#include "os/sys.h"

#define CERTIFICATE_WARN_US (21 * CW_DAY_US)
#define CLOCK_WARN_US (60 * CW_SECOND_US)

static void tell_certificate(struct examined *x, const struct cw_http_response *response)
{
    char until[CW_TIME_TEXT];
    if (!cw_span_starts(cw_span_cstr(x->base), CW_SPAN("https://"))) {
        examine_tell(x->e, "certificate", CW_OF_ENDPOINT, CAUSE_PLAIN_HTTP, NULL);
        return;
    }
    if (response->certificate_until_us == 0) {
        examine_tell(x->e, "certificate", CW_OF_ENDPOINT, CAUSE_NONE, "verified");
        return;
    }
    cw_time_emit(response->certificate_until_us, until);
    bool soon = response->certificate_until_us - cw_now_us() < CERTIFICATE_WARN_US;
    examine_tell(x->e, "certificate", CW_OF_ENDPOINT, soon ? CAUSE_CERTIFICATE_ENDS : CAUSE_NONE,
                 cw_arena_printf(x->e->arena, "verified; until %s", until));
}

/* Date is told to the second, and was written some time between asking and reading. */
static void tell_clock(struct examined *x, const struct cw_http_response *response)
{
    int64_t theirs_us = 0;
    struct cw_span date = cw_http_header_get(response, "Date");
    if (date.ptr == NULL || !cw_time_parse_http(date, &theirs_us)) {
        return;
    }
    int64_t off_us = theirs_us + CW_SECOND_US / 2 - (cw_now_us() - response->took_us / 2);
    bool is_far = off_us > CLOCK_WARN_US || off_us < -CLOCK_WARN_US;
    examine_tell(x->e, "clock", CW_OF_ENDPOINT, is_far ? CAUSE_CLOCK_OFF : CAUSE_NONE,
                 cw_arena_printf(x->e->arena, "theirs is %lld s from ours",
                                 (long long)(off_us / CW_SECOND_US)));
}

static void tell_capability(struct examined *x, const struct cw_http_response *response)
{
    struct cw_capability capability = { .count = 0 };
    enum cw_code rc = response->status != 200 ? CW_E_UPSTREAM
                                              : cw_capability_read(cw_str_span(&response->body),
                                                                   x->e->arena, &capability, NULL);
    if (rc != CW_OK) {
        examine_tell(
            x->e, "capability", CW_OF_ENDPOINT, CAUSE_CAPABILITY_UNREADABLE,
            cw_arena_printf(x->e->arena, "/metadata answered with status %ld", response->status));
        return;
    }
    x->software = capability.software_name;
    x->publisher = capability.publisher;
    struct cw_span version = capability.fhir_version;
    bool good = cw_span_starts(version, CW_SPAN("4.0")) || cw_span_starts(version, CW_SPAN("4.3"));
    examine_tell(x->e, "fhir_version", CW_OF_ENDPOINT, good ? CAUSE_NONE : CAUSE_FHIR_VERSION,
                 version.len == 0 ? "not told"
                                  : cw_arena_text(x->e->arena, cw_span_upto(version, 40)));
    examine_tell(x->e, "capability", CW_OF_ENDPOINT, CAUSE_NONE,
                 cw_arena_printf(x->e->arena, "%zu types; software %.*s", capability.count,
                                 (int)(x->software.len < 80 ? x->software.len : 80),
                                 x->software.len == 0 ? "" : x->software.ptr));
}

static bool is_fatal(enum cw_code rc)
{
    return rc == CW_E_OOM || rc == CW_E_STOPPED;
}

enum cw_code examine_site(struct examined *x, struct cw_err *err)
{
    struct cw_http_response response;
    struct cw_err why = { .code = CW_OK };
    const char *url = cw_arena_printf(x->e->arena, "%s/metadata", x->base);
    if (url == NULL) {
        return cw_err_set(err, CW_E_OOM, "examine", "out of memory");
    }
    const struct cw_http_request request = { .url = url,
                                             .accept = "application/fhir+json",
                                             .body_max = CW_CAPABILITY_MAX,
                                             .redirects = CW_REDIRECTS_MAX,
                                             .want_certificate = true };
    cw_http_response_init(&response);
    enum cw_code rc = cw_http_perform(x->e->http, &request, &response, &why);
    if (rc == CW_OK) {
        tell_certificate(x, &response);
        tell_clock(x, &response);
        tell_capability(x, &response);
    } else if (!is_fatal(rc)) {
        examine_tell(x->e, "capability", CW_OF_ENDPOINT, CAUSE_CAPABILITY_UNREADABLE, why.text);
    }
    cw_http_response_release(&response);
    return is_fatal(rc) ? cw_err_set(err, rc, "examine", "the examination was cut short") : CW_OK;
}

/* ---- our own key set */

static bool holds_all(const json_t *set, const json_t *wanted)
{
    size_t at, other;
    json_t *key, *candidate;
    json_array_foreach(json_object_get(wanted, "keys"), at, key)
    {
        bool found = false;
        json_array_foreach(json_object_get(set, "keys"), other, candidate)
        {
            found |= json_equal(key, candidate) == 1;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static enum cause compare(struct cw_span published, struct cw_span ours)
{
    CW_AUTO_JSON *theirs_root = NULL;
    CW_AUTO_JSON *ours_root = NULL;
    const struct cw_json_limits limits = { CW_JWKS_MAX, 8, CW_JSON_DUPLICATES_TOO };
    if (cw_json_parse(published, limits, &theirs_root, NULL) != CW_OK ||
        cw_json_parse(ours, limits, &ours_root, NULL) != CW_OK) {
        return CAUSE_KEY_SET_DIFFERS;
    }
    bool same = json_array_size(json_object_get(ours_root, "keys")) > 0 &&
                holds_all(theirs_root, ours_root) && holds_all(ours_root, theirs_root);
    return same ? CAUSE_NONE : CAUSE_KEY_SET_DIFFERS;
}

enum cw_code cw_examine_key_set(struct cw_examination *e, struct cw_err *err)
{
    CW_AUTO_STR ours;
    struct cw_http_response response;
    struct cw_err why = { .code = CW_OK };
    cw_str_init(&ours, CW_JWKS_MAX);
    const char *url = cw_arena_printf(e->arena, "%s/.well-known/jwks.json", e->origin);
    enum cw_code rc = url == NULL ? cw_err_set(err, CW_E_OOM, "examine", "out of memory")
                                  : cw_signing_jwks(e->model, &ours, err);
    if (rc != CW_OK) {
        return rc;
    }
    cw_http_response_init(&response);
    const struct cw_http_request request = { .url = url, .body_max = CW_JWKS_MAX };
    rc = cw_http_perform(e->http, &request, &response, &why);
    enum cause cause = rc == CW_E_BLOCKED ? CAUSE_KEY_SET_NOT_JUDGED : CAUSE_KEY_SET_UNREACHABLE;
    const char *detail = cw_arena_printf(e->arena, "%s: %s", url, rc == CW_OK ? "" : why.text);
    if (rc == CW_OK) {
        cause = response.status == 200 ? compare(cw_str_span(&response.body), cw_str_span(&ours))
                                       : CAUSE_KEY_SET_UNREACHABLE;
        detail = cw_arena_printf(e->arena, "%s: status %ld", url, response.status);
    }
    cw_http_response_release(&response);
    if (is_fatal(rc)) {
        return cw_err_set(err, rc, "examine", "the examination was cut short");
    }
    examine_tell(e, "key_set", CW_OF_INSTALLATION, cause, detail);
    return CW_OK;
}
