/* SPDX-License-Identifier: Apache-2.0 */
/* The order of an examination, and the table of what can be wrong, with one next step each. */
#include "config.h"

#include "fhir/examine_int.h"

#include "base/limits.h"
#include "model/failure.h"
#include "net/url.h"
#include "smart/place.h"

static const struct {
    const char *name;
    enum cw_finding_result result;
    const char *next;
} causes[CAUSE__COUNT] = {
    [CAUSE_NONE] = { "", CW_FINDING_OK, "" },
    [CAUSE_BASE_MALFORMED] = { "base_malformed", CW_FINDING_FAIL,
                               "Correct the URL in its list and import it again." },
    [CAUSE_HOST_BLOCKED] = { "host_blocked", CW_FINDING_FAIL,
                             "Only public https is asked. A host of your own goes into [net] allow "
                             "as host:port." },
    [CAUSE_HOST_UNREACHABLE] = { "host_unreachable", CW_FINDING_FAIL,
                                 "Check the name, the way there, and that the certificate is valid "
                                 "for the name." },
    [CAUSE_HOST_SLOW] = { "host_slow", CW_FINDING_FAIL,
                          "Try again later; if it lasts, tell the vendor." },
    [CAUSE_NO_DISCOVERY] = { "no_discovery", CW_FINDING_FAIL,
                             "Ask the vendor for the patients' base URL; a provider's base has "
                             "another sign-in or none." },
    [CAUSE_PLACE_USELESS] = { "not_there", CW_FINDING_NOTE, "" },
    [CAUSE_PLAIN_HTTP] = { "plain_http", CW_FINDING_NOTE,
                           "For development only: [net] allow lets it through." },
    [CAUSE_CERTIFICATE_ENDS] = { "certificate_ends", CW_FINDING_WARN,
                                 "Tell the organization; nobody connects once it has ended." },
    [CAUSE_CLOCK_OFF] = { "clock_off", CW_FINDING_WARN,
                          "Check this machine's time service first: assertions and id_tokens live "
                          "for minutes." },
    [CAUSE_CAPABILITY_UNREADABLE] = { "capability_unreadable", CW_FINDING_WARN,
                                      "Pulls use the table of searches instead; tell the vendor." },
    [CAUSE_FHIR_VERSION] = { CW_FAIL_FHIR_VERSION, CW_FINDING_FAIL,
                             "Ask the vendor for its R4 base URL." },
    [CAUSE_PROFILE_DEFAULT] = { "profile_default", CW_FINDING_NOTE,
                                "Where the vendor is known, name its profile: client add --profile "
                                "NAME." },
    [CAUSE_NOT_IN_CATALOGUE] = { "not_in_catalogue", CW_FINDING_NOTE,
                                 "Patients see it after chartwayctl source import." },
    [CAUSE_NO_REGISTRATION] = { "no_registration", CW_FINDING_FAIL,
                                "Register an app at the vendor, then: chartwayctl client add "
                                "--source ID --client-id ID --auth METHOD" },
    [CAUSE_HOST_NOT_LISTED] = { "host_not_listed", CW_FINDING_FAIL,
                                "Only if the host is the vendor's: add a registration that lists "
                                "it too (client add --host, repeated)." },
    [CAUSE_CHANGE_HELD] = { "change_held", CW_FINDING_FAIL,
                            "Check the changed host with the vendor, then: chartwayctl source "
                            "approve ID" },
    [CAUSE_IDENTITY_UNREADABLE] = { "identity_unreadable", CW_FINDING_FAIL,
                                    "The secret or key cannot be unsealed: check the key ring with "
                                    "chartwayctl keyring verify." },
    [CAUSE_METHOD_NOT_ADVERTISED] = { "method_not_advertised", CW_FINDING_NOTE,
                                      "Servers under-report; the probe of the token endpoint "
                                      "counts." },
    [CAUSE_METHOD_NOT_TOLD] = { "method_not_told", CW_FINDING_NOTE, "" },
    [CAUSE_SECRET_REJECTED] = { "secret_rejected", CW_FINDING_FAIL,
                                "The secret is wrong or has expired, or is sent in a way that this "
                                "server does not take: get a new one at the vendor, then client "
                                "add." },
    [CAUSE_KEY_REJECTED] = { "key_rejected", CW_FINDING_FAIL,
                             "The server does not accept our key: give it the address of our key "
                             "set, have the address allow-listed, and wait until its copy has run "
                             "out." },
    [CAUSE_CLIENT_UNKNOWN] = { "client_unknown", CW_FINDING_FAIL,
                               "Compare the client id with the vendor's page, sandbox and "
                               "production apart." },
    [CAUSE_NOT_ENABLED] = { "not_enabled", CW_FINDING_WARN,
                            "Wait two days after a registration; then ask the vendor or the "
                            "organization to enable the client id." },
    [CAUSE_REFRESH_NOT_OFFERED] = { "refresh_not_offered", CW_FINDING_NOTE,
                                    "Connections end with their first token; have the app "
                                    "registered for offline access." },
    [CAUSE_PROBE_INCONCLUSIVE] = { "probe_inconclusive", CW_FINDING_NOTE,
                                   "The server does not say whether it knows us; a patient's "
                                   "attempt will." },
    [CAUSE_PROBE_GRANTED] = { "probe_granted", CW_FINDING_WARN,
                              "The server gave a token for a random text. Tell the vendor." },
    [CAUSE_TOKEN_ENDPOINT_AWAY] = { "token_endpoint_away", CW_FINDING_FAIL,
                                    "Check the way there; tell the vendor if it lasts." },
    [CAUSE_TOKEN_ENDPOINT_BUSY] = { "token_endpoint_busy", CW_FINDING_WARN, "Try again later." },
    [CAUSE_PKCE_NOT_TOLD] = { "pkce_not_told", CW_FINDING_NOTE, "S256 is sent all the same." },
    [CAUSE_PKCE_WITHOUT_S256] = { "pkce_without_s256", CW_FINDING_NOTE,
                                  "S256 is sent all the same; if it is refused, a profile can say "
                                  "so." },
    [CAUSE_STANDALONE_NOT_ADVERTISED] = { "standalone_not_advertised", CW_FINDING_NOTE,
                                          "Servers under-report." },
    [CAUSE_OFFLINE_NOT_ADVERTISED] = { "offline_not_advertised", CW_FINDING_NOTE,
                                       "The connection may end with its first token." },
    [CAUSE_SCOPES_NOT_ADVERTISED] = { "scopes_not_advertised", CW_FINDING_NOTE,
                                      "Lists are rarely complete. Where the server answers "
                                      "invalid_scope, name the scopes: client add --scopes." },
    [CAUSE_NO_REVOCATION] = { "no_revocation", CW_FINDING_NOTE,
                              "A patient takes access back at the portal." },
    [CAUSE_ISSUER_NOT_TOLD] = { "issuer_not_told", CW_FINDING_NOTE, "" },
    [CAUSE_KEY_SET_UNREACHABLE] = { "key_set_unreachable", CW_FINDING_FAIL,
                                    "Hospitals cannot check our assertions: see that the web "
                                    "server passes /.well-known/jwks.json to chartway-callback." },
    [CAUSE_KEY_SET_DIFFERS] = { "key_set_differs", CW_FINDING_FAIL,
                                "Something in between keeps an old copy, or another installation "
                                "answers at [server] origin." },
    [CAUSE_KEY_SET_NOT_JUDGED] = { "key_set_not_judged", CW_FINDING_NOTE,
                                   "[server] origin is not public as seen from here: ask for the "
                                   "address from outside." },
};

const char *cw_finding_result_name(enum cw_finding_result result)
{
    static const char *const names[] = { "", "ok", "note", "warn", "fail" };
    return names[result];
}

void examine_tell(struct cw_examination *e, const char *check, enum cw_finding_of of,
                  enum cause cause, const char *detail)
{
    const struct cw_finding finding = {
        .check = check,
        .result = causes[cause].result,
        .of = of,
        .cause = causes[cause].name,
        .detail = detail == NULL ? "" : detail,
        .next = causes[cause].next,
    };
    e->found(e->arg, &finding);
}

enum cw_code examine_pause(const struct cw_examination *e, struct cw_err *err)
{
    return e->pause == NULL || e->pause(e->arg)
               ? CW_OK
               : cw_err_set(err, CW_E_STOPPED, "examine", "the program stops");
}

struct cw_span examine_host(struct cw_arena *arena, const char *url)
{
    CW_AUTO_STR place;
    cw_str_init(&place, CW_URL_MAX);
    return cw_place_of(url, &place) == CW_OK ? cw_arena_span(arena, cw_str_span(&place))
                                             : (struct cw_span){ NULL, 0 };
}

/* ---- discovery */

static void told(void *arg, const char *url, enum cw_code rc, const struct cw_err *err)
{
    struct examined *x = arg;
    const char *said = rc == CW_OK ? "usable" : err->text[0] != '\0' ? err->text : cw_code_name(rc);
    examine_tell(x->e, "place", CW_OF_ENDPOINT, rc == CW_OK ? CAUSE_NONE : CAUSE_PLACE_USELESS,
                 cw_arena_printf(x->e->arena, "%s: %s", url, said));
    (void)!examine_pause(x->e, NULL); /* a stop is seen at the next one */
}

static void tell_endpoints(struct examined *x)
{
    const struct cw_discovery *d = &x->discovery;
    examine_tell(x->e, "discovery", CW_OF_ENDPOINT, CAUSE_NONE, cw_discovery_found_name(d->found));
    examine_tell(x->e, "authorization_endpoint", CW_OF_ENDPOINT, CAUSE_NONE,
                 d->authorization_endpoint);
    examine_tell(x->e, "token_endpoint", CW_OF_ENDPOINT, CAUSE_NONE, d->token_endpoint);
    examine_tell(x->e, "issuer", CW_OF_ENDPOINT,
                 d->issuer[0] == '\0' ? CAUSE_ISSUER_NOT_TOLD : CAUSE_NONE, d->issuer);
    examine_tell(x->e, "revocation_endpoint", CW_OF_ENDPOINT,
                 d->revocation_endpoint[0] == '\0' ? CAUSE_NO_REVOCATION : CAUSE_NONE,
                 d->revocation_endpoint);
}

static enum cause cause_of(enum cw_code rc)
{
    switch ((int)rc) {
    case CW_E_BLOCKED:
        return CAUSE_HOST_BLOCKED;
    case CW_E_UNAVAILABLE:
        return CAUSE_HOST_UNREACHABLE;
    case CW_E_TIMEOUT:
        return CAUSE_HOST_SLOW;
    case CW_E_SYNTAX:
        return CAUSE_BASE_MALFORMED;
    default:
        return CAUSE_NO_DISCOVERY;
    }
}

/* *ret_found: it is worth going on. */
static enum cw_code discover(struct examined *x, bool *ret_found, struct cw_err *err)
{
    struct cw_err why = { .code = CW_OK };
    const struct cw_discovery_search search = {
        .http = x->e->http, .base = x->base, .arena = x->e->arena, .told = told, .arg = x
    };
    enum cw_code rc = cw_smart_discover_told(&search, &x->discovery, &why);
    *ret_found = rc == CW_OK;
    if (rc == CW_E_OOM || rc == CW_E_STOPPED) {
        return cw_err_set(err, rc, "examine", "the examination was cut short");
    }
    enum cause cause = rc == CW_OK ? CAUSE_NONE : cause_of(rc);
    bool answered = cause == CAUSE_NONE || cause == CAUSE_NO_DISCOVERY;
    examine_tell(x->e, "reach", CW_OF_ENDPOINT, answered ? CAUSE_NONE : cause,
                 answered ? NULL : why.text);
    if (cause == CAUSE_NO_DISCOVERY) {
        examine_tell(x->e, "discovery", CW_OF_ENDPOINT, cause, why.text);
    } else if (cause == CAUSE_NONE) {
        tell_endpoints(x);
    }
    return CW_OK;
}

static enum cw_code held_change(struct examined *x, struct cw_err *err)
{
    struct cw_endpoint endpoint;
    if (cw_ulid_is_zero(x->e->source->id.ulid)) {
        examine_tell(x->e, "catalogue", CW_OF_ENDPOINT, CAUSE_NOT_IN_CATALOGUE, NULL);
        return CW_OK;
    }
    enum cw_code rc =
        cw_endpoint_get(x->e->model, x->e->source->endpoint, x->e->arena, &endpoint, err);
    if (rc == CW_OK) {
        x->vendor = endpoint.vendor.len > 0 ? endpoint.vendor : x->vendor;
        examine_tell(x->e, "held_change", CW_OF_ENDPOINT,
                     endpoint.held ? CAUSE_CHANGE_HELD : CAUSE_NONE, NULL);
    }
    return rc;
}

static enum cw_code examine_all(struct examined *x, struct cw_err *err)
{
    bool found = false;
    examine_tell(x->e, "fhir_base_url", CW_OF_ENDPOINT, CAUSE_NONE, x->base);
    enum cw_code rc = held_change(x, err);
    if (rc == CW_OK) {
        rc = discover(x, &found, err);
    }
    if (rc == CW_OK && found) {
        rc = examine_site(x, err);
    }
    if (rc == CW_OK && found) {
        rc = examine_registration(x, err);
    }
    if (rc == CW_OK && found && !cw_ulid_is_zero(x->e->registration.ulid)) {
        rc = examine_client(x, err);
    }
    return rc;
}

enum cw_code cw_examine(struct cw_examination *e, struct cw_err *err)
{
    struct examined x = { .e = e, .vendor = e->source->vendor };
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    e->registration = (struct cw_registration_id){ { { 0 } } };
    enum cw_code rc = cw_url_normal_base(e->source->base_url, &base, err);
    if (rc == CW_E_OOM) {
        return rc;
    }
    if (rc != CW_OK) {
        examine_tell(e, "fhir_base_url", CW_OF_ENDPOINT, CAUSE_BASE_MALFORMED, NULL);
        return CW_OK;
    }
    x.base = cw_arena_text(e->arena, cw_str_span(&base));
    return x.base == NULL ? cw_err_set(err, CW_E_OOM, "examine", "out of memory")
                          : examine_all(&x, err);
}
