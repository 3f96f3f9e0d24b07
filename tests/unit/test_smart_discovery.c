/* SPDX-License-Identifier: Apache-2.0 */
/* Discovery: documents good and bad, the order of asking, and what stops it. */
#include "config.h"

#include "smart/discovery.h"

#include "base/limits.h"
#include "model/registration.h"
#include "net_fixture.h"
#include "smart/pinned.h"
#include "test_smart.h"
#include "vault/jose.h"

#define GOOD "\"authorization_endpoint\":\"https://a/auth?x=1\",\"token_endpoint\":\"https://T.example:443/Token\""

static struct cw_arena *arena;

static void set_up(void)
{
    arena = cw_arena_new(1 << 20);
    ck_assert_ptr_nonnull(arena);
}

static void tear_down(void)
{
    cw_arena_free(arena);
    arena = NULL;
}

START_TEST(whole_document)
{
    static const char text[] = "\n {" GOOD ",\"issuer\":\"https://Issuer/x\",\"jwks_uri\":\"/keys\","
        "\"revocation_endpoint\":\"revoke\",\"introspection_endpoint\":7,\"management_endpoint\":\"http://insecure/\","
        "\"registration_endpoint\":\"javascript:alert(1)\",\"scopes_supported\":[\"openid\",7,\"\",\"a b\",\"patient/*.rs\"],"
        "\"capabilities\":[\"launch-standalone\",\"permission-v2\",\"sso-openid-connect\",\"odd\"],"
        "\"token_endpoint_auth_methods_supported\":[\"private_key_jwt\",\"client_secret_post\",\"tls_client_auth\"],"
        "\"token_endpoint_auth_signing_alg_values_supported\":[\"RS384\",\"none\"],"
        "\"code_challenge_methods_supported\":[\"plain\",\"S256\"],"
        "\"authorization_response_iss_parameter_supported\":true,\"issuer\":\"https://Issuer\"}";
    struct cw_discovery d;
    struct cw_err err;
    ck_assert_msg(cw_discovery_parse(cw_span_cstr(text), "https://h/fhir/R4", arena, &d, &err) == CW_OK, "%s", err.text);
    ck_assert_str_eq(d.issuer, "https://Issuer"); /* last of two wins, kept letter by letter */
    ck_assert_str_eq(d.authorization_endpoint, "https://a/auth?x=1");
    ck_assert_str_eq(d.token_endpoint, "https://T.example:443/Token"); /* the audience of assertions: not normalised */
    ck_assert_str_eq(d.jwks_uri, "https://h/keys");
    ck_assert_str_eq(d.revocation_endpoint, "https://h/fhir/R4/revoke");
    ck_assert_str_eq(d.introspection_endpoint, "");
    ck_assert_str_eq(d.management_endpoint, "");
    ck_assert_str_eq(d.registration_endpoint, "");
    ck_assert_uint_eq(d.scope_count, 2);
    ck_assert(cw_span_eq_cstr(d.scopes[1], "patient/*.rs"));
    ck_assert_uint_eq(d.capabilities, CW_CAP_LAUNCH_STANDALONE | CW_CAP_PERMISSION_V2 | CW_CAP_OPENID);
    ck_assert_uint_eq(d.auth_methods, 1u << CW_AUTH_KEY_JWT | 1u << CW_AUTH_POST);
    ck_assert_uint_eq(d.auth_algs, 1u << CW_ALG_RS384);
    ck_assert(d.pkce_told && d.pkce_s256 && d.iss_parameter);
    ck_assert(d.duplicates); /* rules 1.3: the last one counts, and it is told */
    ck_assert_int_eq(d.found, CW_FOUND_WELL_KNOWN);
}
END_TEST

START_TEST(bad_documents)
{
    static const struct {
        const char *text;
        enum cw_code code;
    } rows[] = {
        { "", CW_E_SYNTAX },
        { "<html></html>", CW_E_SYNTAX },
        { "[]", CW_E_SYNTAX },
        { "{\"a\":", CW_E_SYNTAX },
        { "{}", CW_E_MISSING },
        { "{\"authorization_endpoint\":\"https://a/\"}", CW_E_MISSING },
        { "{\"token_endpoint\":\"https://a/\"}", CW_E_MISSING },
        { "{\"authorization_endpoint\":\"http://a/\",\"token_endpoint\":\"https://a/\"}", CW_E_MISSING },
        { "{\"authorization_endpoint\":\"https://u@a/\",\"token_endpoint\":\"https://a/\"}", CW_E_MISSING },
        { "{\"authorization_endpoint\":[],\"token_endpoint\":{}}", CW_E_MISSING },
    };
    struct cw_discovery d;
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_code rc = cw_discovery_parse(cw_span_cstr(rows[i].text), "https://h", arena, &d, NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
    }
    CW_AUTO_STR big;
    cw_str_init(&big, CW_DISCOVERY_MAX + 64);
    (void)cw_str_add_cstr(&big, "{" GOOD ",\"x\":\"");
    while (big.len < CW_DISCOVERY_MAX - 2) {
        (void)cw_str_add_char(&big, 'x');
    }
    (void)cw_str_add_cstr(&big, "\"}");
    ck_assert_uint_eq(big.len, CW_DISCOVERY_MAX);
    ck_assert_int_eq(cw_discovery_parse(cw_str_span(&big), "https://h", arena, &d, NULL), CW_OK);
    big.buf[big.len - 1] = ' ';
    (void)cw_str_add_cstr(&big, "}");
    big.buf[big.len - 3] = 'x';
    big.buf[big.len - 2] = '"';
    ck_assert_int_eq(cw_discovery_parse(cw_str_span(&big), "https://h", arena, &d, NULL), CW_E_TOO_BIG);
    struct cw_arena *tiny = cw_arena_new(8);
    ck_assert_int_eq(cw_discovery_parse(CW_SPAN("{" GOOD "}"), "https://h", tiny, &d, NULL), CW_E_OOM);
    cw_arena_free(tiny);
}
END_TEST

#define CAPABILITY "{\"resourceType\":\"CapabilityStatement\",\"rest\":[{\"mode\":\"client\"},{\"mode\":\"server\",\"security\":" \
    "{\"extension\":[{\"url\":\"other\"},{\"url\":\"http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris\"," \
    "\"extension\":[{\"url\":\"token\",\"valueUri\":\"https://t/token\"},{\"url\":\"authorize\",\"valueUri\":\"https://t/auth\"}]}]}}]}"

START_TEST(capability)
{
    struct cw_discovery d;
    ck_assert_int_eq(cw_discovery_parse_capability(CW_SPAN(CAPABILITY), "https://h", arena, &d, NULL), CW_OK);
    ck_assert_str_eq(d.authorization_endpoint, "https://t/auth");
    ck_assert_str_eq(d.token_endpoint, "https://t/token");
    ck_assert_str_eq(d.issuer, "");
    ck_assert_int_eq(d.found, CW_FOUND_CAPABILITY);
    ck_assert_uint_eq(d.scope_count, 0);
    ck_assert_int_eq(cw_discovery_parse_capability(CW_SPAN("{\"rest\":[{\"mode\":\"server\"}]}"), "https://h", arena, &d, NULL),
                     CW_E_MISSING);
    ck_assert_int_eq(cw_discovery_parse_capability(CW_SPAN("{\"rest\":7}"), "https://h", arena, &d, NULL), CW_E_MISSING);
    ck_assert_int_eq(cw_discovery_parse_capability(CW_SPAN("<html>"), "https://h", arena, &d, NULL), CW_E_SYNTAX);
}
END_TEST

START_TEST(order_of_asking)
{
    static const char html[] = "<!DOCTYPE html><title>MyChart</title>";
    static const char good[] = "{" GOOD "}";
    static const char local[] = "{\"authorization_endpoint\":\"http://127.0.0.1:1/a\",\"token_endpoint\":\"token\"}";
    static const struct {
        const char *well_known, *origin, *metadata; /* NULL: 404 */
        enum cw_code code;
        enum cw_discovery_found found;
        size_t requests;
    } rows[] = {
        { good, NULL, NULL, CW_OK, CW_FOUND_WELL_KNOWN, 1 },
        { local, NULL, NULL, CW_OK, CW_FOUND_WELL_KNOWN, 1 },
        { html, good, NULL, CW_OK, CW_FOUND_ORIGIN, 2 },
        { NULL, html, CAPABILITY, CW_OK, CW_FOUND_CAPABILITY, 3 },
        { "{}", "{\"token_endpoint\":\"https://t/\"}", html, CW_E_UPSTREAM, CW_FOUND_WELL_KNOWN, 3 },
        { NULL, NULL, NULL, CW_E_UPSTREAM, CW_FOUND_WELL_KNOWN, 3 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct script_answer script[] = {
            { .path = "/fhir/R4/.well-known/smart-configuration", .body = rows[i].well_known, .type = "text/plain",
              .status = rows[i].well_known == NULL ? 404 : 200 },
            { .path = "/.well-known/smart-configuration", .body = rows[i].origin, .status = rows[i].origin == NULL ? 404 : 200 },
            { .path = "/fhir/R4/metadata", .body = rows[i].metadata, .status = rows[i].metadata == NULL ? 500 : 200 },
        };
        struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
        struct cw_http *http = net_fixture_http(server, "");
        struct cw_discovery d = { .found = CW_FOUND_WELL_KNOWN };
        struct cw_err err = { 0 };
        const char *base = script_server_url(server, "/fhir/R4/");
        ck_assert_msg(cw_smart_discover(http, base, arena, &d, &err) == rows[i].code, "row %zu: %s", i, err.text);
        ck_assert_msg(d.found == rows[i].found, "row %zu", i);
        ck_assert_msg(script_server_count(server) == rows[i].requests, "row %zu: %zu", i, script_server_count(server));
        for (size_t r = 0; r < script_server_count(server); r++) {
            ck_assert_ptr_null(script_request_header(script_server_request(server, r), "Authorization"));
        }
        cw_http_free(http);
        script_server_stop(server);
    }
}
END_TEST

START_TEST(what_stops_it)
{
    static const struct script_answer script[] = { { .keep = true, .hold = true } };
    struct script_server *server = script_server_start(script, 1);
    struct cw_http *http = net_fixture_http(server, "total_timeout_ms = 1000\n");
    struct cw_discovery d;
    ck_assert_int_eq(cw_smart_discover(http, script_server_url(server, "/fhir"), arena, &d, NULL), CW_E_TIMEOUT);
    ck_assert_uint_eq(script_server_count(server), 1);
    ck_assert_int_eq(cw_smart_discover(http, "https://127.0.0.1/fhir", arena, &d, NULL), CW_E_BLOCKED);
    ck_assert_int_eq(cw_smart_discover(http, "nonsense", arena, &d, NULL), CW_E_SYNTAX);
    const char *gone = script_server_url(server, "/fhir");
    script_server_stop(server);
    ck_assert_int_eq(cw_smart_discover(http, gone, arena, &d, NULL), CW_E_UNAVAILABLE);
    cw_http_free(http);
}
END_TEST

/* Rules 1.1.5: a server that is away is not asked for a poorer document, one that has lost its way is. */
START_TEST(rules_1_1_5_away_is_not_absent)
{
    static const struct {
        int status;
        enum cw_code code;
        size_t requests;
    } rows[] = {
        { 404, CW_OK, 3 }, { 405, CW_OK, 3 }, { 406, CW_OK, 3 }, { 500, CW_OK, 3 }, { 403, CW_OK, 3 },
        { 429, CW_E_UNAVAILABLE, 1 }, { 502, CW_E_UNAVAILABLE, 1 }, { 503, CW_E_UNAVAILABLE, 1 }, { 504, CW_E_UNAVAILABLE, 1 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct script_answer script[] = {
            { .path = "/fhir/.well-known/smart-configuration", .body = "x", .status = rows[i].status },
            { .path = "/fhir/metadata", .body = CAPABILITY },
            { .keep = true, .status = 404, .body = "" },
        };
        struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
        struct cw_http *http = net_fixture_http(server, "");
        struct cw_discovery d;
        enum cw_code rc = cw_smart_discover(http, script_server_url(server, "/fhir"), arena, &d, NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_msg(script_server_count(server) == rows[i].requests, "row %zu: %zu", i, script_server_count(server));
        cw_http_free(http);
        script_server_stop(server);
    }
}
END_TEST

/* Rules 1.1.5c: a document of the authorization server, only where a profile names it, and last. */
START_TEST(rules_1_1_5c_metadata_url)
{
    static const struct script_answer script[] = {
        { .path = "/as/.well-known/oauth-authorization-server", .body = "{" GOOD "}" },
        { .keep = true, .status = 404, .body = "" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_discovery d;
    struct cw_discovery_facts facts;
    struct cw_discovery_ask ask = { .base = script_server_url(server, "/fhir") };
    ck_assert_int_eq(cw_smart_discover_again(http, &ask, arena, &d, &facts, NULL), CW_E_UPSTREAM);
    ck_assert_uint_eq(script_server_count(server), 3);
    ask.metadata_url = script_server_url(server, "/as/.well-known/oauth-authorization-server");
    ck_assert_int_eq(cw_smart_discover_again(http, &ask, arena, &d, &facts, NULL), CW_OK);
    ck_assert_uint_eq(script_server_count(server), 7);
    ck_assert_int_eq(d.found, CW_FOUND_METADATA);
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

/* Rules 1.4: Cache-Control within 5 minutes and 24 hours. */
START_TEST(rules_1_4_how_long_it_is_good)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        { NULL, 86400 }, { "", 86400 }, { "public", 86400 }, { "max-age=7200", 7200 }, { "Public, Max-Age = 7200", 7200 },
        { "max-age=1", 300 }, { "max-age=300", 300 }, { "max-age=86400", 86400 }, { "max-age=86401", 86400 },
        { "no-store", 300 }, { "max-age=7200, no-cache", 300 }, { "max-age=-5", 86400 }, { "max-age=x", 86400 },
        { "max-age=99999999999999999999", 86400 }, { ",,=,max-age", 86400 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_discovery_good_for_s(cw_span_cstr(rows[i].text)) == rows[i].seconds, "row %zu", i);
    }
}
END_TEST

/* Rules 1.4: the ETag goes back, and 304 leaves what is at hand. */
START_TEST(rules_1_4_etag)
{
    static const struct script_answer script[] = {
        { .path = "/fhir/.well-known/smart-configuration", .body = "{" GOOD "}", .headers = "ETag: W/\"v1\"\r\nCache-Control: max-age=600\r\n" },
        { .path = "/fhir/.well-known/smart-configuration", .status = 304, .body = "", .headers = "Cache-Control: max-age=900\r\n" },
        { .path = "/fhir/.well-known/smart-configuration", .status = 304, .body = "" },
        { .path = "/fhir/metadata", .body = CAPABILITY, .headers = "ETag: \"other\"\r\n" },
        { .keep = true, .status = 404, .body = "" },
    };
    struct script_server *server = script_server_start(script, CW_ARRAY_LEN(script));
    struct cw_http *http = net_fixture_http(server, "");
    struct cw_discovery d = { .found = CW_FOUND_ORIGIN };
    struct cw_discovery_facts facts;
    struct cw_discovery_ask ask = { .base = script_server_url(server, "/fhir") };
    ck_assert_int_eq(cw_smart_discover_again(http, &ask, arena, &d, &facts, NULL), CW_OK);
    ck_assert(!facts.unchanged);
    ck_assert_str_eq(facts.etag, "W/\"v1\"");
    ck_assert_int_eq(facts.good_for_s, 600);
    ck_assert_ptr_null(script_request_header(script_server_request(server, 0), "If-None-Match"));
    ask.etag = cw_span_cstr(facts.etag);
    d.found = CW_FOUND_ORIGIN;
    ck_assert_int_eq(cw_smart_discover_again(http, &ask, arena, &d, &facts, NULL), CW_OK);
    ck_assert(facts.unchanged && d.found == CW_FOUND_ORIGIN);
    ck_assert_int_eq(facts.good_for_s, 900);
    ck_assert_str_eq(script_request_header(script_server_request(server, 1), "If-None-Match"), "W/\"v1\"");
    ask.etag = (struct cw_span){ NULL, 0 }; /* 304 to a question without condition is no answer */
    ck_assert_int_eq(cw_smart_discover_again(http, &ask, arena, &d, &facts, NULL), CW_OK);
    ck_assert(!facts.unchanged && d.found == CW_FOUND_CAPABILITY);
    ck_assert_str_eq(facts.etag, ""); /* of another place */
    cw_http_free(http);
    script_server_stop(server);
}
END_TEST

/* What a server said is all there when it is down: RFC 9207's flag, scopes and methods too. */
START_TEST(nothing_is_lost_by_keeping)
{
    static const char text[] = "{" GOOD ",\"issuer\":\"https://i/x\",\"jwks_uri\":\"https://k/\",\"userinfo_endpoint\":\"https://u/\","
        "\"revocation_endpoint\":\"https://r/\",\"introspection_endpoint\":\"https://n/\",\"registration_endpoint\":\"https://g/\","
        "\"management_endpoint\":\"https://m/\",\"scopes_supported\":[\"openid\",\"patient/Observation.s?category=\\u00fc\"],"
        "\"capabilities\":[\"launch-standalone\",\"permission-v2\",\"authorize-post\"],"
        "\"associated_endpoints\":[{\"url\":\"https://b/fhir\",\"capabilities\":[]},{\"url\":\"http://no/\"},7,{\"url\":\"other\"}],"
        "\"token_endpoint_auth_methods_supported\":[\"none\",\"client_secret_basic\",\"private_key_jwt\"],"
        "\"token_endpoint_auth_signing_alg_values_supported\":[\"ES384\"],\"code_challenge_methods_supported\":[\"S256\"],"
        "\"authorization_response_iss_parameter_supported\":true}";
    struct cw_discovery in;
    struct cw_discovery out;
    CW_AUTO_STR kept;
    cw_str_init(&kept, CW_DISCOVERY_MAX);
    ck_assert_int_eq(cw_discovery_parse(cw_span_cstr(text), "https://h/fhir", arena, &in, NULL), CW_OK);
    ck_assert(!in.duplicates);
    in.found = CW_FOUND_ORIGIN;
    ck_assert_int_eq(cw_discovery_emit(&in, &kept), CW_OK);
    ck_assert_int_eq(cw_discovery_stored(cw_str_span(&kept), "https://h/fhir", arena, &out, NULL), CW_OK);
    ck_assert_int_eq(out.found, CW_FOUND_ORIGIN);
    const char *const pairs[][2] = {
        { in.issuer, out.issuer }, { in.authorization_endpoint, out.authorization_endpoint }, { in.token_endpoint, out.token_endpoint },
        { in.revocation_endpoint, out.revocation_endpoint }, { in.introspection_endpoint, out.introspection_endpoint },
        { in.registration_endpoint, out.registration_endpoint }, { in.management_endpoint, out.management_endpoint },
        { in.jwks_uri, out.jwks_uri }, { in.userinfo_endpoint, out.userinfo_endpoint },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(pairs); i++) {
        ck_assert_msg(pairs[i][0][0] != '\0' && strcmp(pairs[i][0], pairs[i][1]) == 0, "row %zu: %s", i, pairs[i][1]);
    }
    ck_assert(out.iss_parameter && out.pkce_told && out.pkce_s256);
    ck_assert_uint_eq(out.capabilities, in.capabilities);
    ck_assert_uint_eq(out.auth_methods, 1u << CW_AUTH_NONE | 1u << CW_AUTH_BASIC | 1u << CW_AUTH_KEY_JWT);
    ck_assert_uint_eq(out.auth_algs, 1u << CW_ALG_ES384);
    ck_assert_uint_eq(out.associated_count, 2);
    ck_assert_str_eq(out.associated[0], "https://b/fhir");
    ck_assert_str_eq(out.associated[1], "https://h/fhir/other");
    ck_assert_uint_eq(out.scope_count, 2);
    ck_assert(cw_span_eq(out.scopes[1], in.scopes[1]));
    /* A server cannot say by itself where its document was found. */
    ck_assert_int_eq(cw_discovery_parse(cw_str_span(&kept), "https://h/fhir", arena, &out, NULL), CW_OK);
    ck_assert_int_eq(out.found, CW_FOUND_WELL_KNOWN);
}
END_TEST

START_TEST(hosts_that_change)
{
    struct cw_discovery pinned = { .issuer = "https://i", .authorization_endpoint = "https://a/1", .token_endpoint = "https://t/1" };
    struct cw_discovery now = pinned;
    now.authorization_endpoint = "https://A:443/other";
    ck_assert(cw_discovery_same_hosts(&pinned, &now));
    now.token_endpoint = "https://t:8443/1";
    ck_assert(!cw_discovery_same_hosts(&pinned, &now));
    now = pinned;
    now.issuer = "https://j";
    ck_assert(!cw_discovery_same_hosts(&pinned, &now));
    now = pinned;
    now.authorization_endpoint = "https://evil/1";
    ck_assert(!cw_discovery_same_hosts(&pinned, &now));
}
END_TEST

START_TEST(pinned_text)
{
    struct cw_discovery d = { .issuer = "https://i", .authorization_endpoint = "https://a/", .token_endpoint = "https://t/",
                              .revocation_endpoint = "", .jwks_uri = "https://k", .auth_methods = 6, .iss_parameter = true };
    d.userinfo_endpoint = "https://u/";
    d.management_endpoint = "https://m/";
    struct cw_pinned in = cw_pinned_of(&d, "https://h/fhir//", "epic");
    in.profile_why = "host";
    struct cw_pinned out;
    CW_AUTO_STR text;
    cw_str_init(&text, CW_PINNED_MAX);
    ck_assert_int_eq(cw_pinned_emit(&in, &text), CW_OK);
    ck_assert_int_eq(cw_pinned_parse(cw_str_span(&text), arena, &out, NULL), CW_OK);
    ck_assert_str_eq(out.base, "https://h/fhir");
    ck_assert_str_eq(out.issuer, "https://i");
    ck_assert_str_eq(out.token_endpoint, "https://t/");
    ck_assert_str_eq(out.revocation_endpoint, "");
    ck_assert_str_eq(out.profile, "epic");
    ck_assert_str_eq(out.profile_why, "host");
    ck_assert_str_eq(out.userinfo_endpoint, "https://u/");
    ck_assert_str_eq(out.management_endpoint, "https://m/");
    ck_assert_uint_eq(out.auth_methods, 6);
    ck_assert(out.iss_parameter);
    ck_assert_int_eq(cw_pinned_parse(CW_SPAN("{\"base\":\"https://h\"}"), arena, &out, NULL), CW_E_MISSING);
    ck_assert_int_eq(cw_pinned_parse(CW_SPAN("nonsense"), arena, &out, NULL), CW_E_SYNTAX);
}
END_TEST

Suite *discovery_suite(void)
{
    Suite *suite = suite_create("discovery");
    TCase *tcase = tcase_create("discovery");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, whole_document);
    tcase_add_test(tcase, bad_documents);
    tcase_add_test(tcase, capability);
    tcase_add_test(tcase, order_of_asking);
    tcase_add_test(tcase, what_stops_it);
    tcase_add_test(tcase, rules_1_1_5_away_is_not_absent);
    tcase_add_test(tcase, rules_1_1_5c_metadata_url);
    tcase_add_test(tcase, rules_1_4_how_long_it_is_good);
    tcase_add_test(tcase, rules_1_4_etag);
    tcase_add_test(tcase, nothing_is_lost_by_keeping);
    tcase_add_test(tcase, hosts_that_change);
    tcase_add_test(tcase, pinned_text);
    suite_add_tcase(suite, tcase);
    return suite;
}
