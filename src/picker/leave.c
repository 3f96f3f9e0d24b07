/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a chosen source to the request of its sign-in: read what we know of it, ask its server where patients sign in now, choose our
 * registration, build scopes, state and request; then write the attempt with all of it pinned. Whatever stands in the way becomes the attempt's
 * failure code, so that nothing ends silently.
 */
#include "config.h"

#include "picker/picker.h"

#include "base/limits.h"
#include "base/time.h"
#include "fhir/plan.h"
#include "net/url.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/pinned.h"
#include "smart/scope.h"
#include "vault/token.h"

struct plan {
    struct cw_visit *visit;
    struct cw_arena *arena;
    struct cw_leave *leave;
    struct cw_known known;
    struct cw_registration registration;
    struct cw_endpoint_try steps; /* what this endpoint has taught about the request */
    struct cw_profile_choice choice;
    const struct cw_profile *profile; /* the one chosen */
    struct cw_str scopes, redirect_uri, pinned, state;
    struct cw_secret verifier, nonce;
    struct cw_state_token token;
};

void cw_leave_release(struct cw_leave *leave)
{
    cw_authorize_form_release(&leave->form);
}

static void plan_init(struct plan *plan, struct cw_visit *visit, struct cw_arena *arena, struct cw_leave *leave)
{
    *plan = (struct plan){ .visit = visit, .arena = arena, .leave = leave };
    cw_str_init(&plan->scopes, CW_SCOPE_MAX);
    cw_str_init(&plan->redirect_uri, CW_URL_MAX);
    cw_str_init(&plan->pinned, CW_PINNED_MAX);
    cw_str_init_secret(&plan->state, 512);
    cw_authorize_form_init(&leave->form);
}

static void plan_release(struct plan *plan)
{
    cw_str_release(&plan->scopes);
    cw_str_release(&plan->redirect_uri);
    cw_str_release(&plan->pinned);
    cw_str_release(&plan->state);
    cw_secret_release(&plan->verifier);
    cw_secret_release(&plan->nonce);
}

/* --- hosts --- */

/* "host" or "host:port" of a URL, as registrations name them; absent when it is none. */
static struct cw_span host_of(struct cw_arena *arena, const char *text)
{
    struct cw_url *url = NULL;
    struct cw_span host = { NULL, 0 };
    if (cw_url_parse(cw_span_cstr(text), &url, NULL) == CW_OK) {
        bool usual = strcmp(cw_url_scheme(url), "https") == 0 && cw_url_port(url) == 443;
        const char *written = usual ? cw_url_host(url)
                                    : cw_arena_printf(arena, "%s:%u", cw_url_host(url), cw_url_port(url));
        host = written == NULL ? host : cw_arena_span(arena, cw_span_cstr(written));
    }
    cw_url_free(url);
    return host;
}

static struct cw_span host_alone(struct cw_span host_port)
{
    return cw_span_upto(host_port, cw_span_find(host_port, ':'));
}

/* --- where patients sign in --- */

static enum cw_code discover(struct plan *plan, struct cw_http *http, struct cw_err *err)
{
    struct cw_known *known = &plan->known;
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    struct cw_err why = { .code = CW_OK };
    known->source = &plan->leave->source;
    known->vendor = known->endpoint.vendor.len > 0 ? known->endpoint.vendor : known->source->vendor;
    enum cw_code rc = cw_url_normal_base(known->endpoint.url, &base, &why);
    if (rc == CW_OK) {
        known->base = cw_arena_text(plan->arena, cw_str_span(&base));
        known->host = known->base == NULL ? known->host : host_alone(host_of(plan->arena, known->base));
        rc = known->base == NULL ? CW_E_OOM : cw_leave_discover(plan->visit, http, plan->arena, known, err);
        plan->leave->failure = known->failure;
        return rc;
    }
    if (rc == CW_E_OOM) {
        return cw_err_set(err, rc, "picker.discover", "out of memory");
    }
    cw_log(CW_LOG_WARNING, "picker.bad_base", CW_ID("source", CW_PREFIX_SOURCE, plan->leave->source.id), CW_ERR(&why));
    plan->leave->failure = CW_FAIL_DISCOVERY;
    return CW_OK;
}

/* --- who we are there --- */

/* A revocation carries the client's secret and a refresh token: to a host that the registration does not name it is
 * never sent, as with the token endpoint. Nothing else needs it, so the visit goes on without. */
static void drop_foreign_revocation(struct plan *plan)
{
    struct cw_span host = host_of(plan->arena, plan->known.discovery.revocation_endpoint);
    if (host.ptr == NULL || !cw_host_matches(host, plan->registration.hosts, plan->registration.host_count)) {
        plan->known.discovery.revocation_endpoint = "";
    }
}

/* What bends the rules here. A profile chooses quirks alone: which credentials are sent was settled before, by hosts. */
static void choose_profile(struct plan *plan)
{
    const struct cw_profile_facts facts = {
        .operator_choice = plan->leave->source.profile,
        .registration = plan->registration.profile,
        .vendor = plan->known.vendor,
        .host = plan->known.host,
        .software = plan->known.software,
        .publisher = plan->known.publisher,
    };
    plan->choice = cw_profiles_choose(plan->visit->app->profiles, &facts);
    plan->profile = plan->choice.profile;
}

static enum cw_code choose_registration(struct plan *plan, struct cw_err *err)
{
    struct cw_span hosts[] = {
        host_of(plan->arena, plan->known.base),
        host_of(plan->arena, plan->known.discovery.authorization_endpoint),
        host_of(plan->arena, plan->known.discovery.token_endpoint),
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(hosts); i++) {
        if (hosts[i].ptr == NULL) {
            plan->leave->failure = CW_FAIL_DISCOVERY;
            return CW_OK;
        }
    }
    struct cw_err why = { .code = CW_OK };
    enum cw_code rc = cw_registration_choose(&plan->visit->app->model, plan->visit->page.org.environment,
                                             plan->leave->source.id, plan->known.vendor, hosts, CW_ARRAY_LEN(hosts), plan->arena,
                                             &plan->registration, &why);
    if (rc == CW_E_NOT_FOUND) {
        plan->leave->failure = CW_FAIL_NOT_REGISTERED;
        return CW_OK;
    }
    if (rc != CW_OK) {
        *err = why;
        return rc;
    }
    drop_foreign_revocation(plan);
    choose_profile(plan);
    return cw_endpoint_next_try(&plan->visit->app->model, plan->known.endpoint.id, plan->registration.id, &plan->steps, err);
}

/* --- the request --- */

static enum cw_code ask_scopes(struct plan *plan)
{
    size_t count = 0;
    const char *const *types = cw_plan_types(&count);
    if (plan->profile->types != NULL) {
        types = plan->profile->types;
        count = plan->profile->type_count;
    }
    const struct cw_scope_wish wish = { .profile = plan->profile, .discovery = &plan->known.discovery,
                                        .registered = plan->registration.scopes, .types = types, .type_count = count,
                                        .step = plan->steps.scope_step };
    unsigned known = plan->steps.scope_step;
    enum cw_code rc = cw_scope_climb(&wish, &plan->steps.scope_step, &plan->scopes);
    plan->steps.worked_lately = plan->steps.worked_lately && plan->steps.scope_step == known;
    return rc;
}

static enum cw_code make_state(struct plan *plan, struct cw_err *err)
{
    struct cw_vault *vault = plan->visit->app->model.vault;
    int64_t expires_us = cw_now_us() + CW_STATE_SECONDS * CW_SECOND_US;
    enum cw_code rc;
    if (plan->profile->state_opaque43) {
        rc = cw_state_make_opaque(&plan->token, &plan->state, err);
    } else {
        const char *slug = cw_arena_text(plan->arena, plan->registration.slug);
        rc = slug == NULL ? CW_E_OOM : cw_state_make(vault, slug, expires_us, &plan->token, &plan->state, err);
    }
    plan->token.expires_us = expires_us;
    return rc;
}

static enum cw_code pin(struct plan *plan)
{
    struct cw_pinned pinned = cw_pinned_of(&plan->known.discovery, plan->known.base, plan->profile->name);
    pinned.profile_why = cw_profile_why_name(plan->choice.why);
    pinned.scope_step = plan->steps.scope_step;
    pinned.aud_toggled = plan->steps.aud_toggled;
    pinned.worked_lately = plan->steps.worked_lately;
    return cw_pinned_emit(&pinned, &plan->pinned);
}

static enum cw_code build_request(struct plan *plan, struct cw_err *err)
{
    bool nonce = plan->profile->send_nonce && cw_scope_has(cw_str_span(&plan->scopes), CW_SPAN("openid"));
    enum cw_code rc = cw_pkce_verifier(&plan->verifier);
    if (rc == CW_OK && nonce) {
        rc = cw_pkce_verifier(&plan->nonce);
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "picker.leave", "no verifier");
    }
    const struct cw_authorize authorize = {
        .profile = plan->profile,
        .authorization_endpoint = plan->known.discovery.authorization_endpoint,
        .client_id = plan->registration.client_id,
        .redirect_uri = cw_str_span(&plan->redirect_uri),
        .scope = cw_str_span(&plan->scopes),
        .state = cw_str_span(&plan->state),
        .aud = plan->known.endpoint.url,
        .aud_toggled = plan->steps.aud_toggled,
        .verifier = cw_secret_span(&plan->verifier),
        .nonce = cw_secret_span(&plan->nonce),
    };
    bool post = (plan->known.discovery.capabilities & CW_CAP_AUTHORIZE_POST) != 0;
    return cw_smart_authorize_form(&authorize, post, &plan->leave->form, err);
}

static enum cw_code build(struct plan *plan, struct cw_err *err)
{
    cw_str_addf(&plan->redirect_uri, "%s/callback/", plan->visit->app->origin);
    cw_str_add_span(&plan->redirect_uri, plan->registration.slug);
    enum cw_code rc = cw_str_code(&plan->redirect_uri);
    if (rc == CW_OK) {
        rc = ask_scopes(plan);
    }
    if (rc == CW_OK) {
        rc = pin(plan);
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "picker.leave", "scopes or pinned endpoints could not be written");
    }
    rc = make_state(plan, err);
    return rc == CW_OK ? build_request(plan, err) : rc;
}

/* --- the attempt --- */

static enum cw_code record(struct plan *plan, struct cw_span consent_version, struct cw_err *err)
{
    struct cw_leave *leave = plan->leave;
    bool leaves = leave->failure == NULL;
    struct cw_attempt_new input = {
        .session = plan->visit->page.session.id,
        .source = leave->source.id,
        .endpoint = leave->source.endpoint,
        .registration = plan->registration.id,
        .browser = leave->browser,
        .language = leave->language,
        .failure_code = leave->failure,
        .consent_version = consent_version,
    };
    if (leaves) {
        input.verifier = cw_secret_span(&plan->verifier);
        input.nonce = cw_secret_span(&plan->nonce);
        input.redirect_uri = cw_str_span(&plan->redirect_uri);
        input.scopes_asked = cw_str_span(&plan->scopes);
        input.pinned = cw_str_span(&plan->pinned);
        input.state_expires_us = plan->token.expires_us;
        memcpy(input.state_hash, plan->token.jti_hash, sizeof input.state_hash);
    }
    return cw_attempt_start(&plan->visit->app->model, &plan->visit->actor, &input, &leave->attempt, err);
}

enum cw_code cw_leave_prepare(struct cw_visit *visit, struct cw_http *http, struct cw_span consent_version,
                              struct cw_arena *arena, struct cw_leave *leave, struct cw_err *err)
{
    struct plan plan;
    plan_init(&plan, visit, arena, leave);
    enum cw_code rc = cw_endpoint_get(&visit->app->model, leave->source.endpoint, arena, &plan.known.endpoint, err);
    if (rc == CW_OK) {
        rc = discover(&plan, http, err);
    }
    if (rc == CW_OK && leave->failure == NULL) {
        rc = choose_registration(&plan, err);
    }
    if (rc == CW_OK && leave->failure == NULL) {
        struct cw_err why = { .code = CW_OK };
        enum cw_code built = build(&plan, &why);
        if (built != CW_OK) {
            cw_log(CW_LOG_ERR, "picker.leave_failed", CW_ERR(&why));
            leave->failure = built == CW_E_SYNTAX ? CW_FAIL_DISCOVERY : CW_FAIL_INTERNAL;
        }
    }
    if (rc == CW_OK) {
        rc = record(&plan, consent_version, err);
    }
    plan_release(&plan);
    return rc;
}
