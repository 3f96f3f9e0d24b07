/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-callback from outside: the real routes behind FastCGI on a socket, over a real MariaDB, with a scripted portal. Each test starts
 * attempts through the model, as the picker would, and then comes back from the portal in good and bad ways.
 */
#include "config.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/text.h"
#include "base/time.h"
#include "model/lesson.h"
#include "os/log.h"
#include "os/sys.h"
#include "smart/jwks.h"
#include "smart/pinned.h"
#include "test_callback.h"
#include "tests/lib/check_main.h"
#include "vault/token.h"

struct cw_test_db test;
struct cw_callback app;
static struct cw_config *net_config;
static char socket_path[128];
struct cw_org_id org;
struct cw_source source;
struct cw_registration_id registration;
struct cw_arena *arena;

const struct cw_actor operator= { .kind = CW_ACTOR_OPERATOR, .name = "test" };

void must(enum cw_code rc, const struct cw_err *err, const char *what)
{
    if (rc != CW_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, err->where, err->text);
        abort();
    }
}

/* --- the portal: one script for all tests, by path --- */

#define ECHO "refused for Nora (Whitfield), verifier " VERIFIER ", patient pat-1, code canary-code"

static char minted[16384];
const char *portal_keys;
const char *portal_patients;
const char *portal_register;

void mint(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(minted, sizeof minted, format, args), (int)sizeof minted);
    va_end(args);
}

/* The text that `arg` points to now. */
static char *current(void *arg, const struct script_request *request, int *ret_status)
{
    (void)request;
    const char *text = *(const char *const *)arg;
    *ret_status = text == NULL ? 404 : 200;
    return strdup(text == NULL ? "" : text);
}
static const char *mint_text = minted;

static const struct script_answer portal_script[] = {
    { .path = "/token", .keep = true,
      .body = "{\"access_token\":\"acc-canary\",\"refresh_token\":\"ref-canary\",\"token_type\":\"Bearer\",\"expires_in\":3600,"
              "\"scope\":\"" ASKED "\",\"patient\":\"upstream-1\"}" },
    { .path = "/once", .keep = true, .body = "{\"access_token\":\"a\",\"scope\":\"patient/*.read\",\"patient\":\"upstream-2\"}" },
    { .path = "/html", .keep = true, .body = "<html>sign in</html>", .type = "text/html" },
    { .path = "/client", .keep = true, .status = 401, .body = "{\"error\":\"invalid_client\",\"error_description\":\"no\"}" },
    { .path = "/grant", .keep = true, .status = 400, .body = "{\"error\":\"invalid_grant\"}" },
    { .path = "/nobody", .keep = true, .body = "{\"access_token\":\"a\",\"refresh_token\":\"r\"}" },
    { .path = "/noscope", .keep = true, .body = "{\"access_token\":\"a\",\"scope\":\"openid\",\"patient\":\"p\"}" },
    /* {"alg":"RS256"}.{"aud":"somebody-else"}.sig */
    { .path = "/injected", .keep = true,
      .body = "{\"access_token\":\"a\",\"patient\":\"p\",\"id_token\":\"eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJzb21lYm9keS1lbHNlIn0.c2ln\"}" },
    { .path = "/echo", .keep = true, .status = 400,
      .body = "{\"error\":\"invalid_grant\",\"error_description\":\"" ECHO "\",\"error_uri\":\"https://elsewhere.test/\",\"canary-key\":{}}" },
    { .path = "/mint", .keep = true, .make = current, .arg = &mint_text },
    { .path = "/keys", .keep = true, .make = current, .arg = &portal_keys },
    { .path = "/register", .keep = true, .make = current, .arg = &portal_register },
    { .path = "/fhir/Patient", .keep = true, .make = current, .arg = &portal_patients },
    { .path = "/hold", .keep = true, .hold = true },
    { .path = "/broken", .keep = true, .status = 503, .body = "" },
    { .path = "/revoke", .keep = true, .body = "" },
};
struct script_server *portal;

/* --- starting, as the picker does --- */

static struct cw_span pinned_for(const struct start *start)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_PINNED_MAX);
    struct cw_pinned pinned = {
        .base = script_server_url(portal, "/fhir"),
        .issuer = start->issuer == NULL ? "" : start->issuer,
        .authorization_endpoint = script_server_url(portal, "/auth"),
        .token_endpoint = script_server_url(portal, start->token_path == NULL ? "/token" : start->token_path),
        .revocation_endpoint = script_server_url(portal, start->no_way_back ? "/broken" : "/revoke"),
        .jwks_uri = start->keys ? script_server_url(portal, "/keys") : "",
        .profile = start->profile == NULL ? "default" : start->profile,
        .iss_parameter = start->iss_parameter,
        .scope_step = start->scope_step,
    };
    ck_assert_int_eq(cw_pinned_emit(&pinned, &text), CW_OK);
    return cw_arena_span(arena, cw_str_span(&text));
}

struct started begin(struct start start)
{
    struct cw_err err = { 0 };
    struct started s = { .state = "" };
    struct cw_session_new wanted = {
        .patient = { .patient_id = cw_span_cstr(start.patient == NULL ? "pat-1" : start.patient), .name = CW_SPAN("Nora Whitfield") },
        .return_url = CW_SPAN("https://app.example/back?keep=1#here"),
        .expires_in_s = 1800,
    };
    if (start.direct || !cw_ulid_is_zero(start.reconnect.ulid)) {
        wanted.direct_source = source.id;
        wanted.reconnect = start.reconnect;
    }
    must(cw_session_create(&app.model, &operator, org, &wanted, arena, &s.session, &err), &err, "session");
    CW_AUTO_STR state;
    cw_str_init(&state, 1000);
    struct cw_state_token token;
    int64_t expires_us = cw_now_us() + (start.expired ? -1 : 900) * CW_SECOND_US;
    must(start.opaque ? cw_state_make_opaque(&token, &state, &err)
                      : cw_state_make(app.model.vault, SLUG, expires_us, &token, &state, &err),
         &err, "state");
    struct cw_attempt_new attempt = {
        .session = s.session.id, .source = source.id, .endpoint = source.endpoint, .registration = registration,
        .browser = CW_SPAN(COOKIE), .verifier = CW_SPAN(VERIFIER), .nonce = CW_SPAN("nonce"), .redirect_uri = CW_SPAN(REDIRECT),
        .scopes_asked = cw_span_cstr(start.asked == NULL ? ASKED : start.asked), .pinned = pinned_for(&start), .language = CW_SPAN("en"), .state_expires_us = expires_us,
    };
    memcpy(attempt.state_hash, token.jti_hash, CW_HASH_LEN);
    must(cw_attempt_start(&app.model, &operator, &attempt, &s.id, &err), &err, "attempt");
    cw_id_emit(CW_PREFIX_ATTEMPT, s.id.ulid, s.id_text);
    snprintf(s.state, sizeof s.state, "%s", cw_str_cstr(&state));
    return s;
}

/* --- coming back --- */

struct fcgi_answer ask(const char *method, const char *uri, const char *cookie, const char *body)
{
    char header[256];
    static unsigned visitors;
    char address[32];
    snprintf(header, sizeof header, "__Host-cw_browser=%s", cookie == NULL ? "" : cookie);
    visitors++; /* each from an address of its own: the limit is tested apart */
    snprintf(address, sizeof address, "10.1.%u.%u", visitors / 200, visitors % 200);
    const char *const params[] = { cookie == NULL ? "X_NONE" : "HTTP_COOKIE", header, "TEST_ADDRESS", address, NULL };
    const struct fcgi_request request = { .method = method, .uri = uri, .more = params, .body = body,
                                          .type = body == NULL ? NULL : "application/x-www-form-urlencoded" };
    return fcgi_ask(socket_path, -1, &request);
}

struct fcgi_answer back(const struct started *s, const char *cookie, const char *more)
{
    char uri[4096];
    snprintf(uri, sizeof uri, "/callback/" SLUG "?state=%s%s", s->state, more);
    return ask("GET", uri, cookie, NULL);
}

/* The only number of a statement about one attempt. */
int64_t number_of(const struct started *s, const char *format)
{
    char hex[33];
    char sql[512];
    for (unsigned i = 0; i < 16; i++) {
        snprintf(hex + 2 * i, 3, "%02x", s->id.ulid.bytes[i]);
    }
    snprintf(sql, sizeof sql, "%s WHERE id = x'%s'", format, hex);
    return cw_test_db_number(&test, sql);
}

bool failed_with(const struct started *s, const char *code)
{
    char select[200];
    snprintf(select, sizeof select, "SELECT CAST(status = 4 AND failure_code = '%s' AS INT) FROM attempt", code);
    return number_of(s, select) == 1;
}

void expect_redirect(struct fcgi_answer *answer, const char *location)
{
    const char *got = fcgi_header(answer, "Location");
    ck_assert_msg(answer->status == 303, "status %d: %s", answer->status, answer->body);
    ck_assert_msg(got != NULL && strcmp(got, location) == 0, "%s, not %s", got == NULL ? "(none)" : got, location);
    fcgi_answer_free(answer);
}

const char *result_page(const struct started *s)
{
    static char path[256];
    snprintf(path, sizeof path, "/c/%.*s/attempt/%s", (int)s->session.secret.len, s->session.secret.ptr, s->id_text);
    return path;
}

const char *return_to(const struct started *s, const char *more)
{
    static char url[1024];
    char session[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_SESSION, s->session.id.ulid, session);
    snprintf(url, sizeof url, "https://app.example/back?keep=1&patient_id=pat-1&patient_session_id=%s&%s#here", session, more);
    return url;
}

START_TEST(picker_mode)
{
    struct started s = begin((struct start){ .issuer = "https://issuer", .iss_parameter = true });
    size_t before = script_server_count(portal);
    struct fcgi_answer answer = back(&s, COOKIE, "&code=co+de%2B%2F%3D&iss=https%3A%2F%2Fissuer&session_state=x");
    const char *policy = fcgi_header(&answer, "Referrer-Policy");
    ck_assert_ptr_nonnull(policy);
    ck_assert_str_eq(policy, "no-referrer");
    expect_redirect(&answer, result_page(&s));
    ck_assert_uint_eq(script_server_count(portal), before + 1);
    ck_assert_str_eq(script_server_request(portal, before)->body,
                     "grant_type=authorization_code&code=co%2Bde%2B%2F%3D&redirect_uri=https%3A%2F%2Fcw.test%2Fcallback%2Fclinic"
                     "&code_verifier=" VERIFIER "&client_id=our-client");
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_CONNECTED);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE status = 1"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM token_grant WHERE refresh_sealed IS NOT NULL"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM token_grant WHERE access_sealed LIKE '%canary%'"), 0);

    /* The same state again, from the same browser: nothing is sent a second time. */
    answer = back(&s, COOKIE, "&code=again");
    ck_assert_int_eq(answer.status, 400);
    ck_assert_ptr_nonnull(strstr(answer.body, "This sign-in is over"));
    ck_assert_ptr_null(fcgi_header(&answer, "Location"));
    fcgi_answer_free(&answer);
    ck_assert_uint_eq(script_server_count(portal), before + 1);
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_CONNECTED);
}
END_TEST

START_TEST(direct_mode)
{
    char id[CW_ID_TEXT_MAX];
    char more[128];
    cw_id_emit(CW_PREFIX_SOURCE, source.id.ulid, id);
    snprintf(more, sizeof more, "success=true&connection_id=%s", id);
    struct started s = begin((struct start){ .direct = true, .opaque = true, .token_path = "/once" });
    struct fcgi_answer answer = back(&s, COOKIE, "&code=c");
    expect_redirect(&answer, return_to(&s, more));
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_CONNECTED);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE one_time"), 1);

    struct started refused = begin((struct start){ .direct = true });
    answer = back(&refused, COOKIE, "&error=access_denied&error_description=%3Cb%3Eno%3C%2Fb%3E");
    expect_redirect(&answer, return_to(&refused, "success=false&error=user_denied"));
    ck_assert(failed_with(&refused, "user_denied"));
    ck_assert_int_eq(number_of(&refused, "SELECT CAST(failure_sealed IS NOT NULL AS INT) FROM attempt"), 1);
}
END_TEST

START_TEST(another_browser)
{
    static const char *const cookies[] = { NULL, OTHER_COOKIE, "short" };
    size_t before = script_server_count(portal);
    for (size_t i = 0; i < CW_ARRAY_LEN(cookies); i++) {
        struct started s = begin((struct start){ .direct = true });
        struct fcgi_answer answer = back(&s, cookies[i], "&code=c");
        ck_assert_msg(answer.status == 403, "row %zu: %d", i, answer.status);
        ck_assert_ptr_nonnull(strstr(answer.body, "start again in this browser"));
        ck_assert_ptr_null(strstr(answer.head, "Location"));
        fcgi_answer_free(&answer);
        ck_assert(failed_with(&s, "browser_mismatch"));
        answer = back(&s, COOKIE, "&code=c"); /* it has ended for the right browser too */
        ck_assert_int_eq(answer.status, 400);
        fcgi_answer_free(&answer);
    }
    ck_assert_uint_eq(script_server_count(portal), before);
}
END_TEST

START_TEST(states_that_are_none)
{
    struct started s = begin((struct start){ .direct = false });
    char uri[2048];
    size_t before = script_server_count(portal);
    static const char *const uris[] = {
        "/callback/" SLUG,
        "/callback/" SLUG "?code=c",
        "/callback/" SLUG "?state=&code=c",
        "/callback/" SLUG "?state=nonsense&code=c",
        "/callback/" SLUG "?error=access_denied",
        "/callback/" SLUG "?state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&code=c",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(uris); i++) {
        struct fcgi_answer answer = ask("GET", uris[i], COOKIE, NULL);
        ck_assert_msg(answer.status == 400, "row %zu: %d", i, answer.status);
        fcgi_answer_free(&answer);
    }
    snprintf(uri, sizeof uri, "/callback/other?state=%s&code=c", s.state); /* signed for another registration */
    struct fcgi_answer answer = ask("GET", uri, COOKIE, NULL);
    ck_assert_int_eq(answer.status, 400);
    fcgi_answer_free(&answer);
    struct started opaque = begin((struct start){ .opaque = true });
    snprintf(uri, sizeof uri, "/callback/other?state=%s&code=c", opaque.state);
    answer = ask("GET", uri, COOKIE, NULL);
    ck_assert_int_eq(answer.status, 400);
    fcgi_answer_free(&answer);
    char tampered[1024];
    snprintf(tampered, sizeof tampered, "%s", s.state);
    tampered[strlen(tampered) / 2] ^= 1;
    snprintf(uri, sizeof uri, "/callback/" SLUG "?state=%s&code=c", tampered);
    answer = ask("GET", uri, COOKIE, NULL);
    ck_assert_int_eq(answer.status, 400);
    fcgi_answer_free(&answer);
    answer = back(&s, COOKIE, "&code=a&code=b"); /* twice the same parameter */
    ck_assert_int_eq(answer.status, 400);
    fcgi_answer_free(&answer);
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_STARTED);
    ck_assert_int_eq(number_of(&opaque, "SELECT status FROM attempt"), CW_ATTEMPT_STARTED);
    ck_assert_uint_eq(script_server_count(portal), before);
}
END_TEST

START_TEST(ends_without_a_request)
{
    static const struct {
        struct start start;
        const char *more, *failure;
    } rows[] = {
        { { .iss_parameter = true, .issuer = "https://i" }, "&code=c", "issuer_mismatch" },
        { { .iss_parameter = true, .issuer = "https://i" }, "&code=c&iss=https%3A%2F%2Fj", "issuer_mismatch" },
        { { .iss_parameter = true, .issuer = "https://i" }, "&error=access_denied", "issuer_mismatch" },
        { { .issuer = "https://i" }, "&code=c&iss=https%3A%2F%2Fi%2F", "issuer_mismatch" },
        { { .expired = true }, "&code=c", "oauth_state_expired" },
        { { .direct = false }, "&error=access_denied", "user_denied" },
        { { .direct = false }, "&error=unauthorized_client", "organization_not_enabled" },
        { { .direct = false }, "&error=temporarily_unavailable", "portal_unavailable" },
        { { .direct = false }, "&error=server_error", "portal_unavailable" },
        { { .direct = false }, "&error=invalid_scope&code=c", "oauth_callback_failed" },
        { { .direct = false }, "&error=", "oauth_callback_failed" },
        { { .direct = false }, "", "oauth_callback_failed" },
        { { .direct = false }, "&code=", "oauth_callback_failed" },
    };
    size_t before = script_server_count(portal);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct started s = begin(rows[i].start);
        struct fcgi_answer answer = back(&s, COOKIE, rows[i].more);
        ck_assert_msg(answer.status == 303, "row %zu: %d", i, answer.status);
        expect_redirect(&answer, result_page(&s));
        ck_assert_msg(failed_with(&s, rows[i].failure), "row %zu", i);
    }
    ck_assert_uint_eq(script_server_count(portal), before);
}
END_TEST

START_TEST(token_answers)
{
    static const struct {
        const char *path, *failure;
        size_t requests; /* with the three searches for a patient, and the revocation of what nobody will use */
    } rows[] = {
        { "/html", "token_answer_invalid", 1 },   { "/client", "client_rejected", 1 },
        { "/grant", "token_exchange_failed", 1 }, { "/nobody", "no_patient_context", 6 },
        { "/noscope", "scope_insufficient", 2 },  { "/injected", "id_token_invalid", 2 },
        { "/hold", "token_exchange_failed", 1 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        size_t before = script_server_count(portal);
        struct started s = begin((struct start){ .token_path = rows[i].path });
        struct fcgi_answer answer = back(&s, COOKIE, "&code=c");
        expect_redirect(&answer, result_page(&s));
        ck_assert_msg(failed_with(&s, rows[i].failure), "row %zu", i);
        ck_assert_msg(script_server_count(portal) == before + rows[i].requests, "row %zu", i);
        /* a rejected client is everybody's trouble, which no other fault of a sign-in ends, and the next tokens do (/nobody) */
        bool rejected = i == 1 || i == 2;
        ck_assert_msg(cw_test_db_number(&test, "SELECT COUNT(*) FROM registration_breaker") == rejected, "row %zu", i);
    }
}
END_TEST

/* What the hospital's words may repeat: all that we sent, and whom we sent it for. */
START_TEST(the_card_tells_no_secret)
{
    static const char *const secret[] = { "canary-code", VERIFIER, "pat-1", "Whitfield", "Nora", COOKIE, "elsewhere.test/\",\"more" };
    static const char *const wanted[] = {
        "\"kind\":\"token\"", "\"path\":\"/echo\"", "\"status\":400", "\"error\":\"invalid_grant\"", "\"outcome\":\"invalid_grant\"",
        "\"parameters\":[\"grant_type\",\"code\",\"redirect_uri\",\"code_verifier\",\"client_id\"]",
        "refused for [...] ([...]), verifier [...], patient [...]", "error: text", "\"request_id\":",
    };
    struct cw_err err = { 0 };
    struct cw_span card = { NULL, 0 };
    struct started s = begin((struct start){ .token_path = "/echo" });
    struct fcgi_answer answer = back(&s, COOKIE, "&code=canary-code");
    expect_redirect(&answer, result_page(&s));
    must(cw_exchange_get(&app.model, s.id.ulid, arena, &card, &err), &err, "card");
    const char *text = cw_arena_text(arena, card);
    for (size_t i = 0; i < CW_ARRAY_LEN(secret); i++) {
        ck_assert_msg(strstr(text, secret[i]) == NULL, "%s in %s", secret[i], text);
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(wanted); i++) {
        ck_assert_msg(strstr(text, wanted[i]) != NULL, "%s not in %s", wanted[i], text);
    }
    struct started refused = begin((struct start){ .token_path = NULL });
    answer = back(&refused, COOKIE, "&error=server_error&error_description=for%20pat-1&error_uri=https%3A%2F%2Fevil.test%2F");
    expect_redirect(&answer, result_page(&refused));
    must(cw_exchange_get(&app.model, refused.id.ulid, arena, &card, &err), &err, "card");
    text = cw_arena_text(arena, card);
    ck_assert_msg(strstr(text, "\"kind\":\"authorization\"") != NULL && strstr(text, "for [...]") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "pat-1") == NULL && strstr(text, "more_uri") == NULL, "%s", text);
    struct started fine = begin((struct start){ .token_path = NULL });
    answer = back(&fine, COOKIE, "&code=c");
    expect_redirect(&answer, result_page(&fine));
    ck_assert_int_eq(cw_exchange_get(&app.model, fine.id.ulid, arena, &card, &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(form_post)
{
    struct started s = begin((struct start){ .direct = true });
    char body[2048];
    char expected[2048];
    snprintf(body, sizeof body, "state=%s&code=a%%2Bb&extra=1", s.state);
    snprintf(expected, sizeof expected, "0; url=/callback/" SLUG "?state=%s&code=a%%2Bb", s.state);
    struct fcgi_answer answer = ask("POST", "/callback/" SLUG, NULL, body);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(fcgi_header(&answer, "Refresh"), expected);
    ck_assert_ptr_nonnull(strstr(answer.body, "href=\"/callback/" SLUG "?state="));
    fcgi_answer_free(&answer);
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_STARTED);
    answer = ask("GET", expected + strlen("0; url="), COOKIE, NULL);
    ck_assert_int_eq(answer.status, 303);
    fcgi_answer_free(&answer);
    ck_assert_int_eq(number_of(&s, "SELECT status FROM attempt"), CW_ATTEMPT_CONNECTED);
}
END_TEST

START_TEST(keys_limits_and_strays)
{
    struct fcgi_answer answer = ask("GET", "/.well-known/jwks.json", NULL, NULL);
    ck_assert_int_eq(answer.status, 200);
    CW_AUTO_JSON *set = json_loads(answer.body, 0, NULL);
    ck_assert(json_is_array(json_object_get(set, "keys")));
    ck_assert_ptr_null(strstr(answer.body, "\"d\""));
    ck_assert_str_eq(fcgi_header(&answer, "Cache-Control"), "public, max-age=3600");
    fcgi_answer_free(&answer);
    static const struct {
        const char *method, *uri;
        int status;
    } strays[] = { { "GET", "/callback/", 404 }, { "GET", "/callback/a/b", 404 }, { "PUT", "/callback/a", 405 }, { "GET", "/", 404 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(strays); i++) {
        answer = ask(strays[i].method, strays[i].uri, NULL, NULL);
        ck_assert_msg(answer.status == strays[i].status, "row %zu: %d", i, answer.status);
        fcgi_answer_free(&answer);
    }
    const char *const params[] = { "TEST_ADDRESS", "10.9.9.9", NULL };
    const struct fcgi_request request = { .uri = "/callback/" SLUG "?state=x", .more = params };
    unsigned limited = 0;
    for (unsigned i = 0; i < 70; i++) { /* callback_per_address: 60 a minute */
        answer = fcgi_ask(socket_path, -1, &request);
        ck_assert(answer.status == 400 || answer.status == 429);
        ck_assert(answer.status == 400 || fcgi_header(&answer, "Retry-After") != NULL);
        limited += answer.status == 429 ? 1 : 0;
        fcgi_answer_free(&answer);
    }
    ck_assert_uint_ge(limited, 5);
    ck_assert_uint_le(limited, 10);
}
END_TEST

/* --- the program --- */

static void fill(void)
{
    struct cw_err err = { 0 };
    char host[64];
    must(cw_org_create(&app.model, &operator, CW_SPAN("Org"), CW_ENV_SANDBOX, &org, &err), &err, "org");
    const char *base = script_server_url(portal, "/fhir");
    struct cw_source_row row = {
        .source = { .environment = CW_ENV_SANDBOX, .name = CW_SPAN("Clinic"), .vendor = CW_SPAN("default"),
                    .base_url = cw_span_cstr(base), .tenant_context = CW_SPAN("") },
        .normal_base = cw_span_cstr(base),
    };
    uint8_t content[CW_HASH_LEN] = { 1 };
    struct cw_import_counts counts;
    cw_sha256(CW_SPAN("Clinic"), row.identity_hash);
    must(cw_source_import(&app.model, &operator, CW_ENV_SANDBOX, "test", content, &row, 1, 0, &counts, &err), &err, "import");
    must(cw_source_resolve(&app.model, CW_ENV_SANDBOX, cw_span_cstr(base), cw_span_cstr(base), arena, &source, &err), &err, "source");
    snprintf(host, sizeof host, "127.0.0.1:%u", script_server_port(portal));
    struct cw_span hosts[] = { cw_span_cstr(host) };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .slug = CW_SPAN(SLUG), .source = source.id,
                                      .client_id = CW_SPAN("our-client"), .method = CW_AUTH_NONE, .hosts = hosts, .host_count = 1 };
    must(cw_registration_add(&app.model, &operator, &wanted, (struct cw_span){ NULL, 0 }, &registration, &err), &err, "registration");
}

static void *serve(void *arg)
{
    struct cw_err err = { 0 };
    struct cw_web_app web = {
        .program = "test-callback",
        .mount = "",
        .routes = cw_callback_routes,
        .route_count = cw_callback_route_count,
        .faults = CW_FAULT_PAGE,
        .threads = 3,
        .context = &app,
        .listen_fd = *(int *)arg,
        .address_param = "TEST_ADDRESS",
        .before = cw_callback_admit,
        .fault_page = cw_callback_fault_page,
        .busy = cw_callback_busy,
    };
    must(cw_web_run(&web, &err), &err, "web");
    return NULL;
}

/* Every log line of the run: no token, code, state or words of the portal. */
static void watch(void *arg, const char *line)
{
    (void)arg;
    static const char *const secret[] = { "canary", "upstream-", VERIFIER, "pat-1", "Whitfield", "<b>", COOKIE };
    for (size_t i = 0; i < CW_ARRAY_LEN(secret); i++) {
        if (strstr(line, secret[i]) != NULL) {
            fprintf(stderr, "logged: %s\n", line);
            abort();
        }
    }
}

static void open_app(void)
{
    struct cw_err err = { 0 };
    app = (struct cw_callback){ .config = test.config, .origin = "https://cw.test", .secure = true,
                                .model = { .pool = test.pool, .config = test.config } };
    char text[512];
    snprintf(text, sizeof text, "[server]\norigin = https://cw.test\n[vault]\nmaster_keys = a=/x\n[net]\n"
             "total_timeout_ms = 1000\nallow = 127.0.0.1:%u\n", script_server_port(portal));
    must(cw_config_parse(cw_span_cstr(text), &net_config, &err), &err, "configuration");
    app.limiter = cw_limiter_new(1024);
    app.https = cw_http_pool_new(net_config, 4);
    app.jwks = cw_jwks_cache_new(NULL);
    must(cw_vault_new(test.config, &app.model.vault, &err), &err, "vault");
    must(cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &app.profiles, &err), &err, "profiles");
    must(cw_templates_load(CW_TEST_SRCDIR "/www", &app.templates, &err), &err, "templates");
}

static int64_t lesson(const char *column)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT COALESCE(MAX(%s), -1) FROM endpoint_lesson", column);
    return cw_test_db_number(&test, sql);
}

/* Rules 2.3.7 and 2.2: a refusal teaches the next request; one that is not the pinned issuer's does not; success proves. */
START_TEST(rules_2_3_7_refusals_teach)
{
    static const struct {
        struct start start;
        const char *answer;
        int64_t scope_step, aud_step;
    } rows[] = {
        { { .iss_parameter = true, .issuer = "https://i" }, "&error=invalid_scope", -1, -1 },
        { { .direct = false }, "&error=invalid_request&error_description=no%20scope", -1, -1 },
        { { .direct = false }, "&error=invalid_scope", 1, 0 },
        { { .direct = false }, "&error=invalid_scope", 1, 0 }, /* it was the usual request again */
        { { .scope_step = 1 }, "&error=invalid_scope", 2, 0 },
        { { .scope_step = 2 }, "&error=invalid_request&error_description=bad%20aud", 2, 1 },
    };
    cw_test_db_sql(&test, "DELETE FROM endpoint_lesson");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct started s = begin(rows[i].start);
        struct fcgi_answer answer = back(&s, COOKIE, rows[i].answer);
        fcgi_answer_free(&answer);
        ck_assert_msg(lesson("scope_step") == rows[i].scope_step && lesson("aud_step") == rows[i].aud_step, "row %zu: %d %d", i,
                      (int)lesson("scope_step"), (int)lesson("aud_step"));
    }
    ck_assert_int_eq(lesson("worked_at IS NOT NULL"), 0);
    cw_test_db_sql(&test, "DELETE FROM endpoint_lesson");
    struct started empty = begin((struct start){ .token_path = "/noscope" });
    struct fcgi_answer dropped = back(&empty, COOKIE, "&code=good");
    fcgi_answer_free(&dropped);
    ck_assert_int_eq(lesson("scope_step"), CW_SCOPE_STEP_DIALECT); /* quirk 28 */
    struct started good = begin((struct start){ .scope_step = 2 });
    struct fcgi_answer answer = back(&good, COOKIE, "&code=good");
    fcgi_answer_free(&answer);
    ck_assert_int_eq(lesson("worked_at IS NOT NULL"), 1);
    ck_assert_int_eq(lesson("scope_step"), 2);
    cw_test_db_sql(&test, "DELETE FROM endpoint_lesson");
}
END_TEST

static Suite *callback_suite(void)
{
    Suite *suite = suite_create("callback");
    TCase *tcase = tcase_create("callback");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, picker_mode);
    tcase_add_test(tcase, direct_mode);
    tcase_add_test(tcase, another_browser);
    tcase_add_test(tcase, states_that_are_none);
    tcase_add_test(tcase, ends_without_a_request);
    tcase_add_test(tcase, token_answers);
    tcase_add_test(tcase, the_card_tells_no_secret);
    tcase_add_test(tcase, rules_2_3_7_refusals_teach);
    tcase_add_test(tcase, form_post);
    tcase_add_test(tcase, keys_limits_and_strays);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_stop_init();
    cw_log_init("test-callback", CW_LOG_INFO);
    cw_log_set_sink(watch, NULL);
    cw_test_db_init(&test, true);
    arena = cw_arena_new(16u << 20);
    portal = script_server_start(portal_script, CW_ARRAY_LEN(portal_script));
    open_app();
    fill();
    snprintf(socket_path, sizeof socket_path, "%s/callback.sock", test.folder);
    int listener = fcgi_listen(socket_path);
    pthread_t server;
    if (pthread_create(&server, NULL, serve, &listener) != 0) {
        abort();
    }
    int rc = cw_check_main((Suite *const[]){ callback_suite(), callback_grant_suite(), NULL });
    cw_stop_ask();
    (void)pthread_join(server, NULL);
    (void)close(listener);
    cw_http_pool_free(app.https);
    cw_jwks_cache_free(app.jwks);
    cw_config_free(net_config);
    cw_limiter_free(app.limiter);
    cw_templates_free(app.templates);
    cw_profiles_free(app.profiles);
    cw_vault_free(app.model.vault);
    script_server_stop(portal);
    cw_arena_free(arena);
    cw_test_db_release(&test);
    return rc;
}
