/* SPDX-License-Identifier: Apache-2.0 */
/* A client registered for one grant: where, with what, and what becomes of each answer. */
#include "config.h"

#include "base/json.h"
#include "base/limits.h"
#include "net_fixture.h"
#include "smart/register.h"
#include "test_smart.h"

START_TEST(where_to_register)
{
    static const struct {
        const char *token, *told, *url;
        enum cw_code code;
    } rows[] = {
        { "https://h.example/interconnect/oauth2/token", "", "https://h.example/interconnect/oauth2/register", CW_OK },
        { "https://h.example/oauth2/token/?tenant=1", "", "https://h.example/oauth2/register", CW_OK },
        { "https://h.example/oauth2/token", "https://h.example/clients", "https://h.example/clients", CW_OK },
        { "https://h.example/oauth2/token", "https://evil.example/clients", NULL, CW_E_BLOCKED },
        { "https://evil.example/oauth2/token", "", NULL, CW_E_BLOCKED },
    };
    struct cw_span pattern = CW_SPAN("h.example");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_pinned pinned = { .token_endpoint = rows[i].token, .registration_endpoint = rows[i].told };
        CW_AUTO_STR url;
        cw_str_init(&url, CW_URL_MAX);
        ck_assert_msg(cw_register_url(&pinned, (struct cw_place_hosts){ &pattern, 1 }, &url, NULL) == rows[i].code, "row %zu", i);
        ck_assert_msg(rows[i].url == NULL || strcmp(cw_str_cstr(&url), rows[i].url) == 0, "row %zu: %s", i, cw_str_cstr(&url));
    }
}
END_TEST

START_TEST(what_is_answered)
{
    static const struct {
        long status;
        const char *body;
        enum cw_code code;
    } rows[] = {
        { 201, "{\"client_id\":\"dyn\",\"redirect_uris\":[]}", CW_OK },
        { 200, " {\"client_id\":\"dyn\"}\n", CW_OK },
        { 404, "<html>", CW_E_UNSUPPORTED },
        { 403, "{\"client_id\":\"dyn\"}", CW_E_UNSUPPORTED },
        { 405, "", CW_E_UNSUPPORTED },
        { 500, "{\"client_id\":\"dyn\"}", CW_E_UNAVAILABLE },
        { 429, "", CW_E_UNAVAILABLE },
        { 400, "{\"error\":\"invalid_request\"}", CW_E_UPSTREAM },
        { 400, "{\"client_id\":\"dyn\"}", CW_E_UPSTREAM },
        { 302, "{\"client_id\":\"dyn\"}", CW_E_UPSTREAM },
        { 201, "{\"client_id\":\"\"}", CW_E_UPSTREAM },
        { 201, "{\"client_id\":7}", CW_E_UPSTREAM },
        { 201, "{\"client_id\":\"a\\u0000b\"}", CW_E_UPSTREAM },
        { 201, "<html>", CW_E_UPSTREAM },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR id;
        cw_str_init(&id, 512);
        enum cw_code rc = cw_register_answer(rows[i].status, cw_span_cstr(rows[i].body), &id, NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_str_eq(cw_str_cstr(&id), rows[i].code == CW_OK ? "dyn" : "");
    }
}
END_TEST

/* What is sent: our public id and a public key, with the access token; a busy server is asked once more with the same key. */
START_TEST(registering)
{
    static const struct script_answer script[] = {
        { .path = "/oauth2/register", .method = "POST", .status = 503, .body = "" },
        { .path = "/oauth2/register", .method = "POST", .status = 201, .body = "{\"client_id\":\"dyn\"}" },
        { .path = "/oauth2/register", .method = "POST", .status = 404, .body = "" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    char host[64];
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", script_server_port(server));
    struct cw_span pattern = cw_span_cstr(host);
    const struct cw_pinned pinned = { .token_endpoint = script_server_url(server, "/oauth2/token"), .registration_endpoint = "" };
    const struct cw_register_ask ask = { .pinned = &pinned, .hosts = { &pattern, 1 }, .software_id = CW_SPAN("our-app"),
                                         .access_token = CW_SPAN("the-token") };
    struct cw_registered made;
    struct cw_err err = { 0 };
    cw_registered_init(&made);
    ck_assert_msg(cw_smart_register(http, &ask, &made, &err) == CW_OK, "%s", err.text);
    ck_assert_str_eq(cw_str_cstr(&made.client_id), "dyn");
    ck_assert_uint_eq(script_server_count(server), 2);
    const struct script_request *request = script_server_request(server, 1);
    ck_assert_str_eq(request->body, script_server_request(server, 0)->body);
    ck_assert_str_eq(script_request_header(request, "Authorization"), "Bearer the-token");
    ck_assert_str_eq(script_request_header(request, "Content-Type"), "application/json");
    CW_AUTO_JSON *body = NULL;
    struct cw_json_limits limits = { .max_bytes = 16384, .max_depth = 8 };
    ck_assert_int_eq(cw_json_parse(cw_span_cstr(request->body), limits, &body, NULL), CW_OK);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(body, "software_id"), "our-app"));
    const json_t *key = json_array_get(json_object_get(json_object_get(body, "jwks"), "keys"), 0);
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(key, "kty"), "RSA"));
    ck_assert(cw_span_eq_cstr(cw_json_peek_text(key, "kid"), cw_signing_key_kid(made.key)));
    static const char *const secret[] = { "d", "p", "q", "dp", "dq", "qi" };
    for (size_t i = 0; i < CW_ARRAY_LEN(secret); i++) {
        ck_assert_ptr_null(json_object_get(key, secret[i]));
    }
    cw_registered_release(&made);

    cw_registered_init(&made);
    ck_assert_int_eq(cw_smart_register(http, &ask, &made, &err), CW_E_UNSUPPORTED);
    ck_assert_ptr_null(made.key);
    ck_assert_uint_eq(script_server_count(server), 3);
    struct cw_register_ask elsewhere = ask;
    elsewhere.hosts.count = 0;
    ck_assert_int_eq(cw_smart_register(http, &elsewhere, &made, &err), CW_E_BLOCKED);
    ck_assert_uint_eq(script_server_count(server), 3);
    cw_registered_release(&made);
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

Suite *register_suite(void)
{
    Suite *suite = suite_create("register");
    TCase *tcase = tcase_create("register");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, where_to_register);
    tcase_add_test(tcase, what_is_answered);
    tcase_add_test(tcase, registering);
    suite_add_tcase(suite, tcase);
    return suite;
}
