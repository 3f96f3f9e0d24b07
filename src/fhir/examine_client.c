/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are there: which registration fits, and whether the token endpoint knows it. The probe is a refresh with random bytes: a server
 * that accepts our client says invalid_grant, one that does not says invalid_client, and neither learns or loses anything.
 */
#include "config.h"

#include "fhir/examine_int.h"

#include "base/limits.h"
#include "base/text.h"
#include "fhir/plan.h"
#include "os/sys.h"
#include "smart/client.h"
#include "smart/scope.h"
#include "smart/token.h"

#define MISSING_MAX 40u /* scopes that are named in the finding */

/* ---- hosts and registration */

enum { HOSTS = 3 };

/* Each once, in the order base, authorization, token. */
static size_t hosts_of(struct examined *x, struct cw_span hosts[HOSTS])
{
    const char *const urls[HOSTS] = { x->base, x->discovery.authorization_endpoint,
                                      x->discovery.token_endpoint };
    size_t count = 0;
    for (size_t i = 0; i < HOSTS; i++) {
        struct cw_span host = examine_host(x->e->arena, urls[i]);
        bool known = host.ptr == NULL;
        for (size_t j = 0; j < count; j++) {
            known |= cw_span_eq(hosts[j], host);
        }
        if (!known) {
            hosts[count++] = host;
        }
    }
    return count;
}

static const char *join(struct cw_arena *arena, const struct cw_span *words, size_t count)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 4096);
    for (size_t i = 0; i < count; i++) {
        (void)cw_str_add_cstr(&out, i == 0 ? "" : " ");
        (void)cw_str_add_span(&out, words[i]);
    }
    return cw_arena_text(arena, cw_str_span(&out));
}

static bool is_for(const struct examined *x, const struct cw_registration *r)
{
    return r->environment == x->e->source->environment &&
           ((!cw_ulid_is_zero(r->source.ulid) &&
             cw_ulid_eq(r->source.ulid, x->e->source->id.ulid)) ||
            (r->vendor.len > 0 && cw_span_eq(r->vendor, x->vendor)));
}

/* Which registration would fit but for a host, and for which. */
static enum cw_code tell_unfit(struct examined *x, const struct cw_span *hosts, size_t count,
                               struct cw_err *err)
{
    struct cw_registration *all = NULL;
    size_t registrations = 0;
    bool any = false;
    enum cw_code rc = cw_registration_list(x->e->model, x->e->arena, &all, &registrations, err);
    for (size_t i = 0; rc == CW_OK && i < registrations; i++) {
        struct cw_span missing[HOSTS];
        size_t lacks = 0;
        for (size_t h = 0; is_for(x, &all[i]) && h < count; h++) {
            if (!cw_host_matches(hosts[h], all[i].hosts, all[i].host_count)) {
                missing[lacks++] = hosts[h];
            }
        }
        if (lacks > 0) {
            any = true;
            examine_tell(x->e, "client_registration", CW_OF_ENDPOINT, CAUSE_HOST_NOT_LISTED,
                         cw_arena_printf(x->e->arena, "%.*s does not list: %s",
                                         (int)all[i].slug.len, all[i].slug.ptr,
                                         join(x->e->arena, missing, lacks)));
        }
    }
    if (rc == CW_OK && !any) {
        const char *vendor =
            x->vendor.len == 0
                ? ""
                : cw_arena_printf(
                      x->e->arena, "; for vendor %.*s: chartwayctl client add --vendor %.*s",
                      (int)x->vendor.len, x->vendor.ptr, (int)x->vendor.len, x->vendor.ptr);
        examine_tell(x->e, "client_registration", CW_OF_ENDPOINT, CAUSE_NO_REGISTRATION,
                     cw_arena_printf(x->e->arena, "hosts to list: %s%s",
                                     join(x->e->arena, hosts, count), vendor));
    }
    return rc;
}

static void choose_profile(struct examined *x)
{
    struct cw_span place = examine_host(x->e->arena, x->base);
    const struct cw_profile_facts facts = {
        .operator_choice = x->e->source->profile,
        .registration = x->registration.profile,
        .vendor = x->vendor,
        .host = cw_span_upto(place, cw_span_find(place, ':')),
        .software = x->software,
        .publisher = x->publisher,
    };
    struct cw_profile_choice choice = cw_profiles_choose(x->e->profiles, &facts);
    x->profile = choice.profile;
    examine_tell(x->e, "vendor_profile", CW_OF_ENDPOINT,
                 choice.why == CW_PROFILE_BY_DEFAULT ? CAUSE_PROFILE_DEFAULT : CAUSE_NONE,
                 cw_arena_printf(x->e->arena, "%s, by %s", choice.profile->name,
                                 cw_profile_why_name(choice.why)));
}

enum cw_code examine_registration(struct examined *x, struct cw_err *err)
{
    struct cw_span hosts[HOSTS];
    size_t count = hosts_of(x, hosts);
    struct cw_err why = { .code = CW_OK };
    examine_tell(x->e, "hosts", CW_OF_ENDPOINT, CAUSE_NONE, join(x->e->arena, hosts, count));
    /* As the picker chooses: by the catalogue's vendor. What a server says of itself chooses quirks, never credentials. */
    enum cw_code rc =
        cw_registration_choose(x->e->model, x->e->source->environment, x->e->source->id, x->vendor,
                               hosts, count, x->e->arena, &x->registration, &why);
    if (rc == CW_E_NOT_FOUND) {
        x->registration = (struct cw_registration){ .host_count = 0 };
        rc = tell_unfit(x, hosts, count, err);
    } else if (rc == CW_OK) {
        x->e->registration = x->registration.id;
        examine_tell(x->e, "client_registration", CW_OF_REGISTRATION, CAUSE_NONE,
                     cw_arena_printf(x->e->arena, "%.*s, %s", (int)x->registration.slug.len,
                                     x->registration.slug.ptr,
                                     cw_auth_method_name(x->registration.method)));
    } else {
        return cw_err_set(err, rc, "examine", "%s", why.text);
    }
    if (rc == CW_OK) {
        choose_profile(x);
    }
    return rc;
}

/* ---- the token endpoint */

static enum cause of_rejected(enum cw_auth_method method)
{
    return method == CW_AUTH_KEY_JWT ? CAUSE_KEY_REJECTED
           : method == CW_AUTH_NONE  ? CAUSE_CLIENT_UNKNOWN
                                     : CAUSE_SECRET_REJECTED;
}

static enum cause of_outcome(enum cw_token_outcome outcome, const char *error,
                             enum cw_auth_method method)
{
    switch (outcome) {
    case CW_TOKEN_INVALID_GRANT:
    case CW_TOKEN_INVALID_SCOPE:
        return CAUSE_NONE;
    case CW_TOKEN_INVALID_CLIENT:
        return of_rejected(method);
    case CW_TOKEN_UNAUTHORIZED:
        return strcmp(error, "unsupported_grant_type") == 0 ? CAUSE_REFRESH_NOT_OFFERED
                                                            : CAUSE_NOT_ENABLED;
    case CW_TOKEN_OK:
    case CW_TOKEN_UNSUPPORTED:
        return CAUSE_PROBE_GRANTED;
    case CW_TOKEN_BUSY:
        return CAUSE_TOKEN_ENDPOINT_BUSY;
    case CW_TOKEN_LOST:
    case CW_TOKEN_NOT_SENT:
    case CW_TOKEN_BLOCKED:
        return CAUSE_TOKEN_ENDPOINT_AWAY;
    case CW_TOKEN_REFUSED:
    case CW_TOKEN_BAD_ANSWER:
    case CW_TOKEN__COUNT:
        break;
    }
    return CAUSE_PROBE_INCONCLUSIVE;
}

static enum cw_code probe(struct examined *x, const struct cw_smart_client *client,
                          struct cw_err *err)
{
    uint8_t bytes[32];
    CW_AUTO_GRANT answer;
    CW_AUTO_STR token;
    struct cw_err why = { .code = CW_OK };
    cw_smart_grant_init(&answer);
    cw_str_init(&token, 64);
    cw_random(bytes, sizeof bytes);
    if (cw_base64url_encode(cw_span_of(bytes, sizeof bytes), &token) != CW_OK) {
        return cw_err_set(err, CW_E_OOM, "examine", "out of memory");
    }
    const struct cw_smart_refresh request = { .token_endpoint = x->discovery.token_endpoint,
                                              .refresh_token = cw_str_span(&token) };
    enum cw_token_outcome outcome = cw_smart_refresh(x->e->http, client, &request, &answer, &why);
    if (why.code == CW_E_STOPPED || why.code == CW_E_OOM) {
        return cw_err_set(err, why.code, "examine", "the examination was cut short");
    }
    const char *said =
        answer.error[0] != '\0' ? answer.exchange.error : cw_token_outcome_name(outcome);
    examine_tell(x->e, "token_probe", CW_OF_REGISTRATION,
                 of_outcome(outcome, answer.error, client->auth),
                 cw_arena_printf(x->e->arena, "%s: status %d, %s",
                                 cw_auth_method_name(client->auth), answer.status, said));
    return CW_OK;
}

static enum cw_code tell_method(struct examined *x, struct cw_err *err)
{
    unsigned told = x->discovery.auth_methods;
    bool offered = (told & 1u << x->registration.method) != 0;
    examine_tell(x->e, "auth_method", CW_OF_REGISTRATION,
                 told == 0 ? CAUSE_METHOD_NOT_TOLD
                 : offered ? CAUSE_NONE
                           : CAUSE_METHOD_NOT_ADVERTISED,
                 cw_auth_method_name(x->registration.method));
    CW_AUTO_IDENTITY identity = { .key = NULL };
    struct cw_err why = { .code = CW_OK };
    const struct cw_identity_wish wish = { x->registration.id, cw_span_cstr(x->profile->name),
                                           x->discovery.auth_algs };
    enum cw_code rc =
        cw_smart_identity_open(x->e->model, x->e->profiles, &wish, x->e->arena, &identity, &why);
    if (rc == CW_E_AUTH) {
        examine_tell(x->e, "token_probe", CW_OF_REGISTRATION, CAUSE_IDENTITY_UNREADABLE, NULL);
        return CW_OK;
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "examine", "%s", why.text);
    }
    rc = examine_pause(x->e, err);
    return rc == CW_OK ? probe(x, &identity.client, err) : rc;
}

/* ---- what would be asked */

static bool is_advertised(const struct cw_discovery *d, struct cw_span scope)
{
    for (size_t i = 0; i < d->scope_count; i++) {
        if (cw_span_eq(d->scopes[i], scope)) {
            return true;
        }
    }
    return false;
}

static enum cw_code tell_scopes(struct examined *x, struct cw_err *err)
{
    size_t count = 0, missing = 0;
    const char *const *types =
        x->profile->types != NULL ? x->profile->types : cw_plan_types(&count);
    count = x->profile->types != NULL ? x->profile->type_count : count;
    const struct cw_scope_wish wish = { .profile = x->profile,
                                        .discovery = &x->discovery,
                                        .registered = x->registration.scopes,
                                        .types = types,
                                        .type_count = count };
    struct cw_span list[MISSING_MAX];
    CW_AUTO_STR scopes;
    cw_str_init(&scopes, CW_SCOPE_MAX);
    enum cw_code rc = cw_scope_request(&wish, &scopes);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "examine", "the scopes cannot be built");
    }
    struct cw_span rest = cw_str_span(&scopes), word;
    while (x->discovery.scope_count > 0 && missing < MISSING_MAX && cw_span_word(&rest, &word)) {
        if (!is_advertised(&x->discovery, word)) {
            list[missing++] = word;
        }
    }
    examine_tell(x->e, "scopes", CW_OF_REGISTRATION, CAUSE_NONE,
                 cw_arena_text(x->e->arena, cw_str_span(&scopes)));
    if (missing > 0) {
        examine_tell(x->e, "scopes_advertised", CW_OF_ENDPOINT, CAUSE_SCOPES_NOT_ADVERTISED,
                     join(x->e->arena, list, missing));
    }
    return CW_OK;
}

static void tell_capabilities(struct examined *x)
{
    const struct cw_discovery *d = &x->discovery;
    examine_tell(x->e, "pkce", CW_OF_ENDPOINT,
                 d->pkce_s256   ? CAUSE_NONE
                 : d->pkce_told ? CAUSE_PKCE_WITHOUT_S256
                                : CAUSE_PKCE_NOT_TOLD,
                 x->profile->pkce ? "S256" : "off by profile");
    examine_tell(x->e, "standalone_launch", CW_OF_ENDPOINT,
                 (d->capabilities & CW_CAP_LAUNCH_STANDALONE) != 0
                     ? CAUSE_NONE
                     : CAUSE_STANDALONE_NOT_ADVERTISED,
                 NULL);
    examine_tell(x->e, "offline_access", CW_OF_ENDPOINT,
                 (d->capabilities & CW_CAP_PERMISSION_OFFLINE) != 0 ? CAUSE_NONE
                                                                    : CAUSE_OFFLINE_NOT_ADVERTISED,
                 NULL);
}

enum cw_code examine_client(struct examined *x, struct cw_err *err)
{
    examine_tell(x->e, "redirect_uri", CW_OF_REGISTRATION, CAUSE_NONE,
                 cw_arena_printf(x->e->arena, "%s/callback/%.*s", x->e->origin,
                                 (int)x->registration.slug.len, x->registration.slug.ptr));
    tell_capabilities(x);
    enum cw_code rc = tell_method(x, err);
    if (rc == CW_OK) {
        rc = tell_scopes(x, err);
    }
    return rc == CW_OK && x->registration.method == CW_AUTH_KEY_JWT ? cw_examine_key_set(x->e, err)
                                                                    : rc;
}
