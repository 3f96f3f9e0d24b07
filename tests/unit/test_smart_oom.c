/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of smart/ with the nth allocation failing, for every n: a clean CW_E_OOM (or its outcome), nothing leaked,
 * nothing half-filled. jansson keeps its heap here: it tells of a refused allocation as a syntax error in places.
 */
#include "config.h"

#include "base/limits.h"
#include "base/text.h"
#include "faulty_alloc.h"
#include "model/dynamic_client.h"
#include "smart/authorize.h"
#include "smart/discovery.h"
#include "smart/patient_context.h"
#include "smart/pinned.h"
#include "smart/register.h"
#include "smart/scope.h"
#include "smart/token.h"
#include "test_smart.h"

static struct cw_arena *arena;

typedef enum cw_code trial(void);

/* Runs fn until no allocation is left to fail. */
static void walk(trial *fn, const char *name)
{
    for (unsigned n = 1; n < 10000; n++) {
        cw_arena_clear(arena);
        faulty_alloc_arm(n);
        enum cw_code rc = fn();
        if (!faulty_alloc_disarm()) {
            ck_assert_msg(rc == CW_OK, "%s: %d in a sound heap", name, (int)rc);
            return;
        }
        ck_assert_msg(rc == CW_E_OOM, "%s: allocation %u gave %d", name, n, (int)rc);
    }
    ck_abort_msg("%s has no end", name);
}

static enum cw_code discovery(void)
{
    struct cw_discovery d;
    return cw_discovery_parse(CW_SPAN("{\"authorization_endpoint\":\"https://a/\",\"token_endpoint\":\"t\",\"jwks_uri\":\"https://k/\","
                                      "\"scopes_supported\":[\"openid\"]}"),
                              "https://h/fhir", arena, &d, NULL);
}

static enum cw_code kept(void)
{
    static const struct cw_span scopes[] = { CW_SPAN("openid") };
    static const char *const others[] = { "https://b/" };
    const struct cw_discovery d = { .issuer = "i", .authorization_endpoint = "https://a/", .token_endpoint = "https://t/",
                                    .revocation_endpoint = "", .introspection_endpoint = "", .registration_endpoint = "",
                                    .management_endpoint = "", .jwks_uri = "https://k/", .userinfo_endpoint = "",
                                    .associated = others, .associated_count = 1, .scopes = scopes, .scope_count = 1 };
    struct cw_discovery again;
    CW_AUTO_STR text;
    cw_str_init(&text, CW_DISCOVERY_MAX);
    enum cw_code rc = cw_discovery_emit(&d, &text);
    return rc == CW_OK ? cw_discovery_stored(cw_str_span(&text), "https://h/fhir", arena, &again, NULL) : rc;
}

static enum cw_code token(void)
{
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    enum cw_token_outcome outcome = cw_smart_token_parse(
        200, CW_SPAN("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"id_token\":\"i\",\"scope\":\"a b\",\"patient\":\"p\",\"expires_in\":9}"), 0,
        &grant);
    return outcome == CW_TOKEN_OK ? CW_OK : outcome == CW_TOKEN_LOST ? CW_E_OOM : CW_E_STATE;
}

static enum cw_code pinned(void)
{
    struct cw_pinned p;
    return cw_pinned_parse(CW_SPAN("{\"base\":\"https://h\",\"token_endpoint\":\"https://t\",\"issuer\":\"i\"}"), arena, &p, NULL);
}

static enum cw_code scopes(void)
{
    static const char *const types[] = { "Patient", "Observation" };
    static const struct cw_profile profile = { .scope_wildcard = -1, .scope_literal = "", .scope_extra = "x", .scope_drop = "" };
    static const struct cw_discovery none = { .scopes = NULL };
    struct cw_scope_wish wish = { &profile, &none, { NULL, 0 }, types, 2 };
    CW_AUTO_STR out;
    cw_str_init(&out, CW_SCOPE_MAX);
    return cw_scope_request(&wish, &out);
}

static enum cw_code authorize(void)
{
    static const struct cw_profile profile = { .send_aud = true, .pkce = true };
    struct cw_authorize a = { .profile = &profile, .authorization_endpoint = "https://a/auth?x=1", .client_id = CW_SPAN("c"),
                              .redirect_uri = CW_SPAN("https://r"), .scope = CW_SPAN("s"), .state = CW_SPAN("st"),
                              .aud = CW_SPAN("https://h"), .verifier = CW_SPAN("v"), .nonce = CW_SPAN("n") };
    CW_AUTO_STR out;
    cw_str_init(&out, CW_AUTHORIZE_URL_MAX);
    return cw_smart_authorize_url(&a, &out, NULL);
}

static enum cw_code bundle(void)
{
    CW_AUTO_STR out;
    cw_str_init(&out, CW_FHIR_ID_MAX);
    return cw_patient_from_bundle(
        CW_SPAN("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"1\"}}]}"), &out);
}

static enum cw_code userinfo(void)
{
    CW_AUTO_STR out;
    cw_str_init(&out, CW_FHIR_ID_MAX);
    return cw_patient_from_userinfo(CW_SPAN("{\"sub\":\"s\",\"patient\":\"1\"}"), "https://h/fhir", CW_SPAN("s"), &out);
}

static enum cw_code insured(void)
{
    CW_AUTO_STR out;
    cw_str_init(&out, CW_FHIR_ID_MAX);
    return cw_patient_from_claims_bundle(
        CW_SPAN("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Coverage\",\"beneficiary\":{\"reference\":\"Patient/1\"}}}]}"),
        "https://h/fhir", &out);
}

static enum cw_code registered(void)
{
    CW_AUTO_STR out;
    cw_str_init(&out, CW_CLIENT_ID_MAX);
    return cw_register_answer(201, CW_SPAN("{\"client_id\":\"dyn\"}"), &out, NULL);
}

static enum cw_code lost_types(void)
{
    static const char *const types[] = { "Observation", "Goal" };
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    return cw_scope_lost_types(CW_SPAN("patient/*.rs"), CW_SPAN("openid"), types, 2, &out);
}

START_TEST(every_allocation)
{
    arena = cw_arena_new(1u << 20);
    ck_assert_ptr_nonnull(arena);
    ck_assert_ptr_nonnull(cw_arena_alloc(arena, 1)); /* the first block stays through every clear */
    walk(discovery, "discovery");
    walk(kept, "kept");
    walk(token, "token");
    walk(pinned, "pinned");
    walk(scopes, "scopes");
    walk(authorize, "authorize");
    walk(bundle, "bundle");
    walk(userinfo, "userinfo");
    walk(insured, "insured");
    walk(registered, "registered");
    walk(lost_types, "lost types");
    cw_arena_free(arena);
}
END_TEST

Suite *smart_oom_suite(void)
{
    Suite *suite = suite_create("smart_oom");
    TCase *tcase = tcase_create("smart_oom");
    tcase_add_test(tcase, every_allocation);
    suite_add_tcase(suite, tcase);
    return suite;
}
