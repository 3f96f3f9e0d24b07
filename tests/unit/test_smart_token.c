/* SPDX-License-Identifier: Apache-2.0 */
/* The token endpoint: what is sent for each way to show who we are, and what each answer, good, odd or missing, comes to. */
#include "config.h"

#include "smart/token.h"

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "net_fixture.h"
#include "os/sys.h"
#include "smart/revoke.h"
#include "smart/scope.h"
#include "test_smart.h"

#define SENT_US (1700000000 * CW_SECOND_US)

static const struct cw_profile plain = { .pkce = true, .patient_claim = "" };

START_TEST(answers)
{
    static const struct {
        long status;
        const char *body;
        enum cw_token_outcome outcome;
        int64_t lifetime_s; /* 0: not looked at */
        bool assumed;
    } rows[] = {
        { 200, "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":3600}", CW_TOKEN_OK, 3600, false },
        { 201, " \n{\"access_token\":\" a \",\"token_type\":\"bEaReR\",\"expires_in\":16768.523842}", CW_TOKEN_OK, 16768, false },
        { 200, "{\"access_token\":\"a\",\"expires_in\":\"570\"}", CW_TOKEN_OK, 570, false },
        { 200, "{\"access_token\":\"a\",\"expires_in\":\"12.9\"}", CW_TOKEN_OK, 12, false },
        { 200, "{\"access_token\":\"a\",\"expires_in\":0}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\",\"expires_in\":-5}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\",\"expires_in\":\"soon\"}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\"}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\",\"expires_in\":1e300}", CW_TOKEN_OK, 315360000, false },
        /* exp in a JWT access token: 1700000900 */
        { 200, "{\"access_token\":\"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3MDAwMDA5MDB9.c2ln\"}", CW_TOKEN_OK, 900, false },
        { 200, "{\"access_token\":\"a\",\"token_type\":\"DPoP\"}", CW_TOKEN_UNSUPPORTED, 0, false },
        { 200, "{}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "{\"access_token\":\"\"}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "{\"access_token\":7}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "{\"access_token\":\"a\\r\\nX: y\"}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "<html>login</html>", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "[]", CW_TOKEN_BAD_ANSWER, 0, false },
        { 302, "{\"access_token\":\"a\"}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 400, "", CW_TOKEN_BAD_ANSWER, 0, false },
        { 403, "<html>WAF</html>", CW_TOKEN_BAD_ANSWER, 0, false },
        { 500, "{\"access_token\":\"a\"}", CW_TOKEN_BUSY, 0, false },
        { 503, "<html>", CW_TOKEN_BUSY, 0, false },
        { 429, "", CW_TOKEN_BUSY, 0, false },
        { 408, "", CW_TOKEN_BUSY, 0, false },
        { 400, "{\"error\":\"invalid_grant\"}", CW_TOKEN_INVALID_GRANT, 0, false },
        { 200, "{\"error\":\"invalid_grant\"}", CW_TOKEN_INVALID_GRANT, 0, false },
        { 200, "{\"error\":{\"code\":400},\"access_token\":\"a\"}", CW_TOKEN_REFUSED, 0, false },
        { 500, "{\"error\":{\"code\":500}}", CW_TOKEN_BUSY, 0, false },
        { 200, "{\"error\":\"\",\"access_token\":\"a\",\"expires_in\":60}", CW_TOKEN_OK, 60, false },
        { 200, "{\"error\":null,\"access_token\":\"a\",\"expires_in\":60}", CW_TOKEN_OK, 60, false },
        { 200, "{\"access_token\":\"\\n a\\t\",\"token_type\":\" bearer \",\"expires_in\":60.9}", CW_TOKEN_OK, 60, false },
        { 200, "{\"access_token\":\"a b\"}", CW_TOKEN_BAD_ANSWER, 0, false },
        { 200, "{\"access_token\":\"a\",\"expires_in\":true}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\",\"expires_in\":0.4}", CW_TOKEN_OK, 300, true },
        { 200, "{\"access_token\":\"a\",\"need_patient_banner\":false,\"smart_style_url\":7,\"fhirContext\":[\"x\",{}],\"tenant\":{},"
               "\"expires_in\":60}", CW_TOKEN_OK, 60, false },
        { 500, "{\"error\":\"invalid_grant\",\"expires_in\":0}", CW_TOKEN_INVALID_GRANT, 0, false },
        { 400, "{\"error\":\"invalid_grant\"", CW_TOKEN_BAD_ANSWER, 0, false },
        { 400, "error=invalid_grant", CW_TOKEN_BAD_ANSWER, 0, false },
        { 401, "{\"error\":\"invalid_client\"}", CW_TOKEN_INVALID_CLIENT, 0, false },
        { 400, "{\"error\":\"unauthorized_client\"}", CW_TOKEN_UNAUTHORIZED, 0, false },
        { 400, "{\"error\":\"unsupported_grant_type\"}", CW_TOKEN_UNAUTHORIZED, 0, false },
        { 400, "{\"error\":\"invalid_scope\"}", CW_TOKEN_INVALID_SCOPE, 0, false },
        { 400, "{\"error\":\"temporarily_unavailable\"}", CW_TOKEN_BUSY, 0, false },
        { 400, "{\"error\":\"invalid_request\"}", CW_TOKEN_REFUSED, 0, false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        enum cw_token_outcome outcome = cw_smart_token_parse(rows[i].status, cw_span_cstr(rows[i].body), SENT_US, &grant);
        ck_assert_msg(outcome == rows[i].outcome, "row %zu: %s", i, cw_token_outcome_name(outcome));
        ck_assert_int_eq(grant.status, rows[i].status);
        if (rows[i].lifetime_s != 0) {
            ck_assert_msg(grant.expires_us == SENT_US + rows[i].lifetime_s * CW_SECOND_US, "row %zu", i);
            ck_assert_msg(grant.expires_assumed == rows[i].assumed, "row %zu", i);
            ck_assert_uint_ge(grant.access_token.len, 1);
        } else {
            ck_assert_msg(grant.access_token.ptr == NULL, "row %zu", i);
        }
    }
}
END_TEST

START_TEST(members_of_an_answer)
{
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    ck_assert_int_eq(cw_smart_token_parse(200, CW_SPAN("{\"access_token\":\"a\",\"refresh_token\":\" r \",\"id_token\":\"i\","
                                                       "\"scope\":\" patient/*.read  openid \",\"patient\":\"-20140000000001\"}"),
                                          SENT_US, &grant),
                     CW_TOKEN_OK);
    ck_assert_str_eq(grant.refresh_token.ptr, "r");
    ck_assert_str_eq(grant.id_token.ptr, "i");
    ck_assert_str_eq(cw_str_cstr(&grant.scope), "patient/*.read openid");
    ck_assert(grant.scope_told && grant.type_assumed);
    ck_assert_str_eq(cw_str_cstr(&grant.patient), "-20140000000001");

    CW_AUTO_GRANT odd;
    cw_smart_grant_init(&odd);
    ck_assert_int_eq(cw_smart_token_parse(200, CW_SPAN("{\"access_token\":\"a\",\"refresh_token\":null,\"patient\":42,\"scope\":7}"),
                                          SENT_US, &odd),
                     CW_TOKEN_OK);
    ck_assert_ptr_null(odd.refresh_token.ptr);
    ck_assert(!odd.scope_told);
    ck_assert_str_eq(cw_str_cstr(&odd.patient), "42");

    /* An empty scope says nothing; an absent one says "as asked". Both leave room for a probe, so neither is a refusal. */
    CW_AUTO_GRANT empty;
    cw_smart_grant_init(&empty);
    ck_assert_int_eq(cw_smart_token_parse(200, CW_SPAN("{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"scope\":\"\"}"), SENT_US, &empty),
                     CW_TOKEN_OK);
    ck_assert(empty.scope_told && empty.scope.len == 0 && !empty.type_assumed);
    ck_assert(cw_scope_compare(CW_SPAN("patient/*.rs"), cw_str_span(&empty.scope)).any_resource);

    CW_AUTO_GRANT bad;
    cw_smart_grant_init(&bad);
    ck_assert_int_eq(cw_smart_token_parse(400, CW_SPAN("{\"error\":\"a\\u0001b\",\"error_uri\":\"urn:x\"}"), SENT_US, &bad),
                     CW_TOKEN_REFUSED);
    ck_assert_str_eq(bad.error, "");
    ck_assert_str_eq(cw_str_cstr(&bad.error_text), "urn:x");
}
END_TEST

START_TEST(limits_of_an_answer)
{
    for (size_t len = CW_TOKEN_MAX - 1; len <= CW_TOKEN_MAX + 1; len++) {
        CW_AUTO_STR body;
        cw_str_init(&body, CW_TOKEN_MAX + 100);
        (void)cw_str_add_cstr(&body, "{\"access_token\":\"");
        for (size_t i = 0; i < len; i++) {
            (void)cw_str_add_char(&body, 't');
        }
        (void)cw_str_add_cstr(&body, "\"}");
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        ck_assert_int_eq(cw_smart_token_parse(200, cw_str_span(&body), SENT_US, &grant),
                         len > CW_TOKEN_MAX ? CW_TOKEN_BAD_ANSWER : CW_TOKEN_OK);
    }
    /* More scopes than a row keeps: the ones that only write go first, and no scope is cut in two. */
    CW_AUTO_STR body;
    cw_str_init(&body, CW_TOKEN_ANSWER_MAX);
    (void)cw_str_add_cstr(&body, "{\"access_token\":\"a\",\"scope\":\"patient/Goal.write");
    for (int i = 0; i < 500; i++) {
        (void)cw_str_addf(&body, " patient/Type%c%c.read", 'a' + i / 26 % 26, 'a' + i % 26);
    }
    (void)cw_str_add_cstr(&body, "\"}");
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    ck_assert_int_eq(cw_smart_token_parse(200, cw_str_span(&body), SENT_US, &grant), CW_TOKEN_OK);
    ck_assert_uint_le(grant.scope.len, CW_SCOPE_MAX);
    ck_assert_uint_ge(grant.scope.len, CW_SCOPE_MAX - 30);
    ck_assert(cw_span_starts(cw_str_span(&grant.scope), CW_SPAN("patient/Typeaa.read")));
    ck_assert(cw_span_ends(cw_str_span(&grant.scope), CW_SPAN(".read")));
}
END_TEST

/* --- on the wire --- */

static struct script_server *server;
static struct cw_http *http;

static void serve(const struct script_answer *script, size_t count, const char *more)
{
    server = script_server_start(script, count);
    http = net_fixture_http(server, more);
}

static void stop(void)
{
    cw_http_free(http);
    script_server_stop(server);
}

static enum cw_token_outcome exchange(const struct cw_smart_client *client, struct cw_smart_grant *grant)
{
    struct cw_err err = { 0 };
    struct cw_smart_exchange wanted = { script_server_url(server, "/token"), CW_SPAN("c+/=&"), CW_SPAN("https://cw/callback/x"),
                                        CW_SPAN("verifier") };
    return cw_smart_exchange(http, client, &wanted, grant, &err);
}

#define FORM "grant_type=authorization_code&code=c%2B%2F%3D%26&redirect_uri=https%3A%2F%2Fcw%2Fcallback%2Fx&code_verifier=verifier"

START_TEST(ways_to_show_who_we_are)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{\"access_token\":\"a\"}", .type = "text/html" } };
    static const struct cw_profile encoded = { .pkce = true, .basic_encoded = true, .client_id_always = true, .patient_claim = "" };
    static const struct cw_profile no_pkce = { .pkce = false, .patient_claim = "" };
    static const struct {
        const struct cw_profile *profile;
        enum cw_auth_method auth;
        const char *body, *authorization; /* NULL: none */
    } rows[] = {
        { &plain, CW_AUTH_NONE, FORM "&client_id=id%3A1", NULL },
        { &plain, CW_AUTH_BASIC, FORM, "Basic aWQ6MTpzIHQ=" },
        { &encoded, CW_AUTH_BASIC, FORM "&client_id=id%3A1", "Basic aWQlM0ExOnMlMjB0" },
        { &plain, CW_AUTH_POST, FORM "&client_secret=s%20t&client_id=id%3A1", NULL },
        { &no_pkce, CW_AUTH_NONE,
          "grant_type=authorization_code&code=c%2B%2F%3D%26&redirect_uri=https%3A%2F%2Fcw%2Fcallback%2Fx&client_id=id%3A1", NULL },
    };
    serve(script, 1, "");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_smart_client client = { .profile = rows[i].profile, .auth = rows[i].auth, .client_id = CW_SPAN("id:1"),
                                          .secret = CW_SPAN("s t") };
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        ck_assert_msg(exchange(&client, &grant) == CW_TOKEN_OK, "row %zu", i);
        const struct script_request *got = script_server_request(server, i);
        const char *authorization = script_request_header(got, "Authorization");
        ck_assert_str_eq(got->body, rows[i].body);
        ck_assert_msg(rows[i].authorization == NULL ? authorization == NULL : strcmp(authorization, rows[i].authorization) == 0,
                      "row %zu", i);
        ck_assert_uint_eq(got->connection, i + 1); /* a fresh connection each */
    }
    stop();
}
END_TEST

START_TEST(assertions_are_never_the_same)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{\"access_token\":\"a\"}" } };
    struct cw_signing_key *key = NULL;
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &key, NULL), CW_OK);
    serve(script, 1, "");
    struct cw_smart_client client = { .profile = &plain, .auth = CW_AUTH_KEY_JWT, .client_id = CW_SPAN("me"), .key = key };
    for (unsigned i = 0; i < 2; i++) {
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        ck_assert_int_eq(exchange(&client, &grant), CW_TOKEN_OK);
    }
    const char *first = strstr(script_server_request(server, 0)->body, "client_assertion=");
    const char *second = strstr(script_server_request(server, 1)->body, "client_assertion=");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
    ck_assert_str_ne(first, second);
    ck_assert_ptr_nonnull(strstr(script_server_request(server, 0)->body,
                                 "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&"));
    ck_assert_ptr_null(strstr(script_server_request(server, 0)->body, "client_id="));
    CW_AUTO_JSON *claims = NULL;
    ck_assert_int_eq(cw_jws_peek(cw_span_cstr(first + strlen("client_assertion=")), &claims, NULL), CW_OK);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(claims, "iss"), "me"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(claims, "aud"), script_server_url(server, "/token")));
    ck_assert_ptr_null(json_object_get(claims, "nbf"));
    cw_signing_key_free(key);
    client.key = NULL;
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    ck_assert_int_eq(exchange(&client, &grant), CW_TOKEN_BLOCKED);
    stop();
}
END_TEST

START_TEST(refresh_knobs)
{
    static const struct script_answer script[] = { { .keep = true, .body = "{\"access_token\":\"a\"}" } };
    static const struct cw_profile both = { .refresh_scope = true, .refresh_redirect_uri = true, .patient_claim = "" };
    serve(script, 1, "");
    const struct cw_profile *const profiles[] = { &plain, &both };
    static const char *const bodies[] = { "grant_type=refresh_token&refresh_token=r%2B&client_id=me",
                                          "grant_type=refresh_token&refresh_token=r%2B&scope=a%20b&redirect_uri=https%3A%2F%2Fx&client_id=me" };
    for (unsigned i = 0; i < 2; i++) {
        struct cw_smart_client client = { .profile = profiles[i], .auth = CW_AUTH_NONE, .client_id = CW_SPAN("me") };
        struct cw_smart_refresh wanted = { script_server_url(server, "/token"), CW_SPAN("r+"), CW_SPAN("a b"), CW_SPAN("https://x") };
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        ck_assert_int_eq(cw_smart_refresh(http, &client, &wanted, &grant, NULL), CW_TOKEN_OK);
        ck_assert_str_eq(script_server_request(server, i)->body, bodies[i]);
    }
    stop();
}
END_TEST

START_TEST(answers_that_do_not_come)
{
    static const struct script_answer script[] = {
        { .path = "/hold", .keep = true, .hold = true },
        { .path = "/cut", .keep = true, .body = "{\"access_token\":\"a\"}", .cut_at = 5 },
        { .path = "/big", .keep = true, .body = "xxxxxxxxxxxxxxxx", .repeat = 20000 },
        { .path = "/moved", .keep = true, .status = 302, .headers = "Location: /elsewhere\r\n" },
        { .path = "/busy", .keep = true, .status = 503, .headers = "Retry-After: 9\r\n" },
    };
    static const struct {
        const char *path;
        enum cw_token_outcome outcome;
    } rows[] = { { "/hold", CW_TOKEN_LOST },
                 { "/cut", CW_TOKEN_LOST },
                 { "/big", CW_TOKEN_BAD_ANSWER },
                 { "/moved", CW_TOKEN_BAD_ANSWER },
                 { "/busy", CW_TOKEN_BUSY } };
    struct cw_smart_client client = { .profile = &plain, .auth = CW_AUTH_NONE, .client_id = CW_SPAN("me") };
    serve(script, CW_ARRAY_LEN(script), "total_timeout_ms = 1000\n");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        size_t before = script_server_count(server);
        struct cw_smart_refresh wanted = { .token_endpoint = script_server_url(server, rows[i].path), .refresh_token = CW_SPAN("r") };
        CW_AUTO_GRANT grant;
        cw_smart_grant_init(&grant);
        enum cw_token_outcome outcome = cw_smart_refresh(http, &client, &wanted, &grant, NULL);
        ck_assert_msg(outcome == rows[i].outcome, "row %zu: %s", i, cw_token_outcome_name(outcome));
        ck_assert_msg(script_server_count(server) == before + 1, "row %zu was repeated", i);
        ck_assert_msg(grant.retry_after_s == (i == 4 ? 9 : -1), "row %zu", i);
    }
    struct cw_smart_refresh inside = { .token_endpoint = "https://10.0.0.1/token", .refresh_token = CW_SPAN("r") };
    struct cw_smart_refresh gone = { .token_endpoint = script_server_url(server, "/x"), .refresh_token = CW_SPAN("r") };
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    ck_assert_int_eq(cw_smart_refresh(http, &client, &inside, &grant, NULL), CW_TOKEN_BLOCKED);
    script_server_stop(server);
    ck_assert_int_eq(cw_smart_refresh(http, &client, &gone, &grant, NULL), CW_TOKEN_NOT_SENT);
    cw_http_free(http);
}
END_TEST

START_TEST(revocation)
{
    static const struct {
        int status;
        const char *body;
        enum cw_code code;
    } rows[] = {
        { 200, "", CW_OK },
        { 204, "", CW_OK },
        { 400, "{\"error\":\"unsupported_token_type\"}", CW_E_UNSUPPORTED },
        { 404, "<html>", CW_E_UNSUPPORTED },
        { 405, "", CW_E_UNSUPPORTED },
        { 401, "{\"error\":\"invalid_client\"}", CW_E_AUTH },
        { 503, "", CW_E_UNAVAILABLE },
        { 429, "", CW_E_LIMITED },
        { 400, "{\"error\":\"invalid_request\"}", CW_E_UPSTREAM },
    };
    struct cw_smart_client client = { .profile = &plain, .auth = CW_AUTH_BASIC, .client_id = CW_SPAN("id"), .secret = CW_SPAN("s") };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct script_answer script[] = { { .status = rows[i].status, .body = rows[i].body } };
        serve(script, 1, "");
        enum cw_code rc = cw_smart_revoke(http, &client, script_server_url(server, "/revoke"), CW_SPAN("t+k"), CW_REVOKE_REFRESH_TOKEN,
                                          NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_str_eq(script_server_request(server, 0)->body, "token=t%2Bk&token_type_hint=refresh_token");
        ck_assert_str_eq(script_request_header(script_server_request(server, 0), "Authorization"), "Basic aWQ6cw==");
        stop();
    }
}
END_TEST

START_TEST(choice_of_auth)
{
    static const struct cw_profile says_post = { .auth_given = true, .auth_method = CW_AUTH_POST };
    const unsigned jwt = 1u << CW_AUTH_KEY_JWT;
    const unsigned post = 1u << CW_AUTH_POST;
    const unsigned basic = 1u << CW_AUTH_BASIC;
    ck_assert_int_eq(cw_smart_choose_auth(&says_post, jwt, true, true), CW_AUTH_POST);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, jwt | basic, true, true), CW_AUTH_KEY_JWT);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, basic | post, true, true), CW_AUTH_BASIC);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, post, false, true), CW_AUTH_POST);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, 0, false, true), CW_AUTH_BASIC);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, 0, true, false), CW_AUTH_KEY_JWT);
    ck_assert_int_eq(cw_smart_choose_auth(&plain, 0, false, false), CW_AUTH_NONE);
}
END_TEST

Suite *token_suite(void)
{
    Suite *suite = suite_create("token");
    TCase *tcase = tcase_create("token");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, answers);
    tcase_add_test(tcase, members_of_an_answer);
    tcase_add_test(tcase, limits_of_an_answer);
    tcase_add_test(tcase, ways_to_show_who_we_are);
    tcase_add_test(tcase, assertions_are_never_the_same);
    tcase_add_test(tcase, refresh_knobs);
    tcase_add_test(tcase, answers_that_do_not_come);
    tcase_add_test(tcase, revocation);
    tcase_add_test(tcase, choice_of_auth);
    suite_add_tcase(suite, tcase);
    return suite;
}
