/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-picker from outside: the real routes behind FastCGI on a socket, over a real MariaDB, with a hospital on loopback that only
 * tells where patients sign in. Each test has a Session of its own.
 */
#include "config.h"

#include <pthread.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/time.h"
#include "catalog/index.h"
#include "fhir/plan.h"
#include "model/org.h"
#include "os/log.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "test_picker.h"

#define COOKIE "__Host-cw_browser="
#define FORM "application/x-www-form-urlencoded"


struct cw_test_db test;
struct cw_picker app;
struct script_server *hospital;
static struct cw_config *config; /* the picker's own: [net] and [limits] */
struct cw_arena *arena;
static const char *const *types; /* that we ask for */
static size_t type_count;
static char socket_path[128];
static struct cw_org_id org;
struct cw_source_id sources[SOURCES];
char ids[SOURCES][CW_ID_TEXT_MAX];

/* The Session of the running test, and what its browser holds. */
static struct cw_session session;
char base[64];
static char cookie[128];
char token[64];

const struct cw_actor operator= { .kind = CW_ACTOR_OPERATOR, .name = "test" };

void must(enum cw_code rc, const struct cw_err *err, const char *what)
{
    if (rc != CW_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, err->where, err->text);
        abort();
    }
}

static void *serve(void *arg)
{
    struct cw_err err = { .code = CW_OK };
    const struct cw_web_app web = {
        .program = "test-picker",
        .mount = "",
        .routes = cw_picker_routes,
        .route_count = cw_picker_route_count,
        .faults = CW_FAULT_PAGE,
        .threads = 2,
        .context = &app,
        .listen_fd = *(int *)arg,
        .thread_new = cw_picker_thread_new,
        .thread_free = cw_picker_thread_free,
        .before = cw_picker_admit,
        .fault_page = cw_picker_fault_page,
    };
    must(cw_web_run(&web, &err), &err, "web");
    return NULL;
}

/* --- what the tables hold --- */

static void import(int at, enum cw_environment environment, const char *name, const char *url)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_source_row row = {
        .source = { .environment = environment, .name = cw_span_cstr(name), .base_url = cw_span_cstr(url),
                    .city = CW_SPAN("Madison"), .state = CW_SPAN("WI"), .portal_url = CW_SPAN("https://portal.example/x"),
                    .tenant_context = CW_SPAN("") },
        .normal_base = cw_span_cstr(url),
    };
    uint8_t content[CW_HASH_LEN];
    struct cw_import_counts counts;
    struct cw_source source;
    cw_sha256(cw_span_cstr(name), row.identity_hash);
    cw_sha256(cw_span_cstr(url), content);
    must(cw_source_import(&app.model, &operator, environment, "test", content, &row, 1, 0, &counts, &err), &err, "import");
    must(cw_source_resolve(&app.model, environment, cw_span_cstr(url), cw_span_cstr(url), arena, &source, &err), &err, "resolve");
    sources[at] = source.id;
    cw_id_emit(CW_PREFIX_SOURCE, source.id.ulid, ids[at]);
}

static void registration(struct cw_span host)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_registration_id id;
    for (int at = GOOD; at <= LONG; at++) {
        const struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .source = sources[at],
                                                .client_id = CW_SPAN("our-client"), .method = CW_AUTH_NONE,
                                                .hosts = &host, .host_count = 1 };
        must(cw_registration_add(&app.model, &operator, &wanted, (struct cw_span){ NULL, 0 }, &id, &err), &err, "registration");
    }
}

static char *smart_configuration(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    (void)request;
    char *text = NULL;
    *ret_status = 200;
    const char *authorize = script_server_url(hospital, "/authorize");
    const char *at = script_server_url(hospital, "/token");
    if (asprintf(&text, "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s\",\"token_endpoint\":\"%s\","
                 "\"revocation_endpoint\":\"https://stranger.test/revoke\","
                 "\"capabilities\":[\"launch-standalone\",\"permission-v2\"],\"code_challenge_methods_supported\":[\"S256\"]}",
                 script_server_url(hospital, ""), authorize, at) < 0) {
        abort();
    }
    return text;
}

#define ISS "\"authorization_response_iss_parameter_supported\":true"
/* Says everything, once. */
static char *whole_configuration(void *arg, const struct script_request *request, int *ret_status)
{
    char *text = smart_configuration(arg, request, ret_status);
    char *more = NULL;
    if (asprintf(&more, "{" ISS ",\"scopes_supported\":[\"patient/Patient.r\",\"patient/Observation.s\"],"
                 "\"token_endpoint_auth_methods_supported\":[\"none\"],%s", text + 1) < 0) {
        abort();
    }
    free(text);
    return more;
}

/* Scopes of all our types in two halves each, and an authorization endpoint with a query of its own. */
static char *long_configuration(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    (void)request;
    char *text = NULL;
    CW_AUTO_STR scopes;
    cw_str_init(&scopes, 8192);
    for (size_t i = 0; i < type_count; i++) {
        (void)cw_str_addf(&scopes, "\"patient/%s.s\",\"patient/%s.r\",", types[i], types[i]);
    }
    *ret_status = 200;
    if (asprintf(&text, "{\"authorization_endpoint\":\"%s\",\"token_endpoint\":\"%s\",\"capabilities\":[\"authorize-post\"],"
                 "\"scopes_supported\":[%s\"openid\"]}",
                 script_server_url(hospital, "/authorize?acr=1"), script_server_url(hospital, "/token"), cw_str_cstr(&scopes)) < 0) {
        abort();
    }
    return text;
}

static const struct script_answer script[] = {
    { .path = "/long/.well-known/smart-configuration", .keep = true, .make = long_configuration },
    { .path = "/kept/.well-known/smart-configuration", .make = whole_configuration, .headers = "ETag: \"v1\"\r\n" },
    { .path = "/kept/.well-known/smart-configuration", .status = 304, .body = "" },
    { .path = "/kept/.well-known/smart-configuration", .keep = true, .status = 503, .body = "away" },
    { .path = "/old/.well-known/smart-configuration", .keep = true, .make = smart_configuration },
    { .path = "/old/metadata", .keep = true, .body = "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"3.0.2\"}" },
    { .path = "/soft/.well-known/smart-configuration", .keep = true, .make = smart_configuration },
    { .path = "/soft/metadata", .keep = true,
      .body = "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"4.0.1\",\"software\":{\"name\":\"Epic\",\"version\":\"1\"}}" },
    { .path = "/good/.well-known/smart-configuration", .keep = true, .make = smart_configuration },
    { .path = "/unreg/.well-known/smart-configuration", .keep = true, .make = smart_configuration },
    { .keep = true, .status = 503, .body = "away" },
};

static void fill(void)
{
    struct cw_err err = { .code = CW_OK };
    char host[32];
    size_t count;
    types = cw_plan_types(&type_count);
    snprintf(host, sizeof host, "127.0.0.1:%u", script_server_port(hospital));
    must(cw_org_create(&app.model, &operator, CW_SPAN("Care <Compass>"), CW_ENV_SANDBOX, &org, &err), &err, "org");
    import(GOOD, CW_ENV_SANDBOX, "Lakeside & Sons Hospital", script_server_url(hospital, "/good"));
    import(DOWN, CW_ENV_SANDBOX, "Lakeside Clinic", script_server_url(hospital, "/down"));
    import(KEPT, CW_ENV_SANDBOX, "Keeper", script_server_url(hospital, "/kept"));
    import(OLD, CW_ENV_SANDBOX, "Elder", script_server_url(hospital, "/old"));
    import(SOFT, CW_ENV_SANDBOX, "Softie", script_server_url(hospital, "/soft"));
    import(LONG, CW_ENV_SANDBOX, "Longwood", script_server_url(hospital, "/long"));
    import(UNREGISTERED, CW_ENV_SANDBOX, "Unregistered House", script_server_url(hospital, "/unreg"));
    import(PRODUCTION, CW_ENV_PRODUCTION, "Lakeside Production", "https://real.example/fhir");
    registration(cw_span_cstr(host));
    must(cw_index_refresh(&app.model, CW_ENV_SANDBOX, &count, &err), &err, "index");
}

void new_session(struct cw_session_new input)
{
    struct cw_err err = { .code = CW_OK };
    input.patient.patient_id = CW_SPAN("user/1");
    input.patient.name = CW_SPAN("Ana \xc3\x81lvarez");
    if (input.return_url.ptr == NULL) {
        input.return_url = CW_SPAN("https://app.example/back?keep=1&patient_id=old#part");
    }
    if (input.expires_in_s == 0) {
        input.expires_in_s = 1800;
    }
    must(cw_session_create(&app.model, &operator, org, &input, arena, &session, &err), &err, "session");
    snprintf(base, sizeof base, "/c/%.*s", (int)session.secret.len, session.secret.ptr);
    cookie[0] = '\0';
    token[0] = '\0';
}

/* --- the browser --- */

struct fcgi_answer ask(const char *method, const char *path, const char *body)
{
    char uri[4096];
    const char *const params[] = { cookie[0] == '\0' ? "X_NONE" : "HTTP_COOKIE", cookie, NULL };
    snprintf(uri, sizeof uri, "%s%s", base, path);
    const struct fcgi_request request = { .method = method, .uri = uri, .type = body == NULL ? NULL : FORM, .body = body,
                                          .more = params };
    return fcgi_ask(socket_path, -1, &request);
}

/* Keeps the browser's cookie and the form token that the answer brings. */
static void keep(const struct fcgi_answer *answer)
{
    const char *set = strstr(answer->head, COOKIE);
    const char *input = strstr(answer->body, "name=\"token\" value=\"");
    if (set != NULL) {
        snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(set, ";"), set);
    }
    if (input != NULL) {
        snprintf(token, sizeof token, "%.43s", input + strlen("name=\"token\" value=\""));
    }
}

/* One answer of this status that holds a piece (NULL: any). */
void expect(int status, const char *method, const char *path, const char *body, const char *piece)
{
    struct fcgi_answer answer = ask(method, path, body);
    ck_assert_msg(answer.status == status, "%s %s: %d, not %d: %s", method, path, answer.status, status, answer.body);
    ck_assert_msg(piece == NULL || strstr(answer.body, piece) != NULL, "%s %s: no '%s' in %s", method, path, piece, answer.body);
    if (answer.status == 200) {
        keep(&answer);
    }
    fcgi_answer_free(&answer);
}

/* Presses a button: the answer's Location, which lives until the next call. */
const char *press(const char *path, const char *source)
{
    char body[256];
    snprintf(body, sizeof body, "token=%s%s%s", token, source == NULL ? "" : "&source=", source == NULL ? "" : source);
    struct fcgi_answer answer = ask("POST", path, body);
    ck_assert_msg(answer.status == 303, "POST %s: %d: %s", path, answer.status, answer.body);
    const char *location = fcgi_header(&answer, "Location");
    ck_assert_ptr_nonnull(location);
    fcgi_answer_free(&answer);
    return location;
}

static int64_t attempts(void)
{
    return cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt");
}

/* --- tests --- */

START_TEST(the_page_says_who_asks_and_changes_nothing)
{
    const struct cw_source_id recommended[] = { sources[DOWN], sources[GOOD] };
    new_session((struct cw_session_new){ .recommended = recommended, .recommended_count = 2,
                                         .return_label = CW_SPAN("Care & Co") });
    for (int i = 0; i < 50; i++) { /* a mail scanner */
        cookie[0] = '\0';
        struct fcgi_answer answer = ask(i % 2 == 0 ? "HEAD" : "GET", "", NULL);
        ck_assert_int_eq(answer.status, 200);
        fcgi_answer_free(&answer);
    }
    struct fcgi_answer page = ask("GET", "", NULL);
    keep(&page);
    ck_assert_ptr_nonnull(strstr(page.body, "Care &lt;Compass&gt; asks you"));
    ck_assert_ptr_nonnull(strstr(page.body, "A\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2 \xc3\x81\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2"));
    ck_assert_ptr_null(strstr(page.body, "lvarez"));
    const char *first = strstr(page.body, "Lakeside Clinic");
    const char *second = strstr(page.body, "Lakeside &amp; Sons Hospital");
    ck_assert(first != NULL && second != NULL && first < second);
    ck_assert_ptr_nonnull(strstr(page.body, "return to Care &amp; Co"));
    ck_assert_ptr_nonnull(strstr(fcgi_header(&page, "Content-Security-Policy"), "form-action 'self' https: https://app.example;"));
    ck_assert_ptr_nonnull(strstr(page.head, "HttpOnly; SameSite=Lax; Secure"));
    ck_assert_uint_eq(strlen(cookie), strlen(COOKIE) + CW_BROWSER_COOKIE_TEXT);
    fcgi_answer_free(&page);
    ck_assert_int_eq(attempts(), 0);
}
END_TEST

START_TEST(the_search_finds_within_the_environment)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "?q=lakeside", NULL, "2 results");
    expect(200, "GET", "?q=lakeside+sons&lang=es", NULL, "1 resultado");
    expect(200, "GET", "?q=zzzzqqqq", NULL, "We found nothing");
    expect(200, "GET", "?q=%3Cscript%3E", NULL, "\xe2\x80\x9c&lt;script&gt;\xe2\x80\x9d");
    expect(200, "GET", "?utm=1&q=", NULL, "What happens");
    expect(400, "GET", "?q=%ff", NULL, "do not understand");
    struct fcgi_answer answer = ask("GET", "/search?q=lakeside", NULL);
    ck_assert_str_eq(fcgi_header(&answer, "Content-Type"), "application/json");
    json_t *json = json_loads(answer.body, 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "results")), 2);
    const json_t *hit = json_array_get(json_object_get(json, "results"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(hit, "place")), "Madison, WI");
    ck_assert_str_eq(json_string_value(json_object_get(hit, "host")), "Signs in at portal.example");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(hit, "go_on")), "Continue to sign in at Lakeside"));
    json_decref(json);
    fcgi_answer_free(&answer);
}
END_TEST

START_TEST(a_start_leaves_for_the_portal)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(405, "GET", "/start", NULL, NULL);
    expect(200, "GET", "", NULL, NULL);
    int64_t before = attempts();
    const char *location = press("/start", ids[GOOD]);
    ck_assert(strncmp(location, script_server_url(hospital, "/authorize?"), strlen(script_server_url(hospital, "/authorize?"))) == 0);
    static const char *const parts[] = { "response_type=code", "client_id=our-client", "code_challenge_method=S256", "state=",
                                         "code_challenge=", "redirect_uri=https%3A%2F%2Fcw.test%2Fcallback%2F", "aud=" };
    for (size_t i = 0; i < CW_ARRAY_LEN(parts); i++) {
        ck_assert_msg(strstr(location, parts[i]) != NULL, "no %s in %s", parts[i], location);
    }
    ck_assert_int_eq(attempts(), before + 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM consent_receipt"), attempts());
    /* A host that the registration does not name gets neither our secret nor a token. */
    ck_assert_int_gt(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%/token%'"), 0);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE pinned LIKE '%stranger%'"), 0);
}
END_TEST

START_TEST(forms_belong_to_session_and_browser)
{
    char body[256];
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    int64_t before = attempts();
    snprintf(body, sizeof body, "token=%s&source=%s", token, ids[GOOD]);
    char kept[sizeof cookie];
    memcpy(kept, cookie, sizeof kept);
    cookie[0] = '\0';
    expect(403, "POST", "/start", body, "Please start again"); /* no cookie */
    snprintf(cookie, sizeof cookie, COOKIE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect(403, "POST", "/start", body, NULL); /* another browser */
    expect(403, "POST", "/done", "token=x", NULL);
    memcpy(cookie, kept, sizeof kept);
    expect(400, "POST", "/start", "source=x", NULL);
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    memcpy(cookie, kept, sizeof kept);
    expect(403, "POST", "/start", body, NULL); /* another Session */
    ck_assert_int_eq(attempts(), before);
}
END_TEST

/* As the callback does when the portal explains its error at its own address. */
static enum cw_code explain_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct cw_exchange exchange = { .kind = "authorization", .method = "GET", .outcome = "x", .sent_us = cw_now_us(),
                                          .more = "https://as.test/why?x=1&y=2" };
    return cw_exchange_put(&app.model, db, arg, &exchange, err);
}

static void expect_link(const char *result)
{
    struct cw_exchange_owner owner = { .kind = CW_EXCHANGE_ATTEMPT, .org = org };
    struct cw_attempt_id id;
    struct cw_attempt attempt;
    struct cw_err err = { .code = CW_OK };
    struct fcgi_answer answer = ask("GET", result, NULL);
    ck_assert_ptr_null(strstr(answer.body, "noopener"));
    fcgi_answer_free(&answer);
    ck_assert(cw_id_parse(CW_PREFIX_ATTEMPT, cw_span_cstr(strstr(result, "att_")), &id.ulid));
    must(cw_attempt_get(&app.model, session.id, id, arena, &attempt, &err), &err, "attempt");
    owner.object = id.ulid;
    owner.patient = attempt.patient;
    must(cw_tx_pool(app.model.pool, explain_tx, &owner, &err), &err, "exchange");
    expect(200, "GET", result, NULL,
           "<a href=\"https://as.test/why?x=1&amp;y=2\" target=\"_blank\" rel=\"noreferrer noopener\">More information");
}

START_TEST(what_cannot_start_says_why)
{
    static const struct {
        int source;
        const char *sentence;
    } rows[] = { { DOWN, "cannot be reached" }, { UNREGISTERED, "not set up yet" } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        new_session((struct cw_session_new){ .expires_in_s = 1800 });
        expect(200, "GET", "", NULL, NULL);
        char result[512];
        snprintf(result, sizeof result, "%s", press("/start", ids[rows[i].source]));
        ck_assert(strncmp(result, base, strlen(base)) == 0);
        expect(200, "GET", result + strlen(base), NULL, rows[i].sentence);
        expect_link(result + strlen(base));
        expect(404, "GET", "/attempt/att_01ARZ3NDEKTSV4RRFFQ69G5FAV", NULL, NULL); /* not one of this Session */
    }
}
END_TEST

START_TEST(unknown_sources_are_refused)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    const char *const wrong[] = { ids[PRODUCTION], "fhirsrc_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense" };
    for (size_t i = 0; i < CW_ARRAY_LEN(wrong); i++) {
        char body[256];
        snprintf(body, sizeof body, "token=%s&source=%s", token, wrong[i]);
        expect(404, "POST", "/start", body, "no longer listed");
    }
}
END_TEST

START_TEST(at_most_ten_attempts_are_open)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    for (int i = 0; i < CW_SESSION_OPEN_ATTEMPTS_MAX; i++) {
        press("/start", ids[GOOD]);
    }
    char body[256];
    snprintf(body, sizeof body, "token=%s&source=%s", token, ids[GOOD]);
    expect(429, "POST", "/start", body, "Too many sign-ins are open");
}
END_TEST

/* An attempt of the running Session that has come back with these scopes; refresh NULL: one-time access for 90 minutes. */
static const char *connected(const char *asked, const char *granted, const char *refresh)
{
    static char path[128];
    struct cw_err err = { .code = CW_OK };
    struct cw_registration *registrations;
    struct cw_state_token state;
    struct cw_attempt_id id;
    struct cw_attempt attempt;
    struct cw_connection_id connection;
    struct cw_source source;
    size_t count;
    CW_AUTO_STR text;
    cw_str_init(&text, 100);
    must(cw_registration_list(&app.model, arena, &registrations, &count, &err), &err, "registrations");
    must(cw_state_make_opaque(&state, &text, &err), &err, "state");
    must(cw_source_get(&app.model, CW_ENV_SANDBOX, sources[GOOD], arena, &source, &err), &err, "source");
    int64_t now_us = cw_now_us();
    struct cw_attempt_new start = { .session = session.id, .source = source.id, .endpoint = source.endpoint,
                                    .registration = registrations[0].id, .browser = CW_SPAN("browser"), .verifier = CW_SPAN("v"),
                                    .redirect_uri = CW_SPAN("https://cw.test/callback/x"), .scopes_asked = cw_span_cstr(asked),
                                    .pinned = CW_SPAN("{}"), .state_expires_us = now_us + CW_MINUTE_US };
    memcpy(start.state_hash, state.jti_hash, CW_HASH_LEN);
    must(cw_attempt_start(&app.model, &operator, &start, &id, &err), &err, "start");
    struct cw_attempt_return answer = { .redirect_uri = start.redirect_uri, .browser = start.browser };
    memcpy(answer.state_hash, state.jti_hash, CW_HASH_LEN);
    must(cw_attempt_consume(&app.model, &answer, arena, &attempt, &err), &err, "consume");
    struct cw_attempt_success success = { .attempt = id, .upstream_patient = CW_SPAN("p"), .scopes_granted = cw_span_cstr(granted),
                                          .access_token = CW_SPAN("a"), .refresh_token = cw_span_cstr(refresh),
                                          .obtained_us = now_us, .expires_us = now_us + 90 * CW_MINUTE_US };
    must(cw_attempt_connect(&app.model, &operator, &success, &connection, &err), &err, "connect");
    char id_text[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_ATTEMPT, id.ulid, id_text);
    snprintf(path, sizeof path, "/attempt/%s", id_text);
    return path;
}

START_TEST(a_connection_says_what_it_lacks)
{
#define ASKS "openid launch/patient patient/Patient.rs patient/AllergyIntolerance.rs patient/Condition.rs patient/Observation.rs"
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    expect(200, "GET", "", NULL, NULL);
    const char *path = connected(ASKS, "openid patient/Patient.r patient/Condition.read patient/Observation.rs?category=laboratory", "r");
    struct fcgi_answer page = ask("GET", path, NULL);
    ck_assert_int_eq(page.status, 200);
    ck_assert_ptr_nonnull(strstr(page.body, "What was not shared"));
    ck_assert_ptr_nonnull(strstr(page.body, "<li>Allergies</li>"));
    ck_assert_ptr_nonnull(strstr(page.body, "<li>Test results and vital signs (only some of them)</li>"));
    ck_assert_ptr_null(strstr(page.body, "Health problems"));
    ck_assert_ptr_null(strstr(page.body, "Your details"));
    ck_assert_ptr_null(strstr(page.body, "short time only"));
    keep(&page);
    fcgi_answer_free(&page);
    /* The button starts a new attempt at the same source at once. */
    int64_t before = attempts();
    ck_assert_ptr_nonnull(strstr(press("/start", ids[GOOD]), "/authorize?"));
    ck_assert_int_eq(attempts(), before + 1);

    page = ask("GET", connected(ASKS, ASKS, "r"), NULL);
    ck_assert_int_eq(page.status, 200);
    ck_assert_ptr_null(strstr(page.body, "What was not shared"));
    fcgi_answer_free(&page);

    page = ask("GET", connected("patient/*.rs", "patient/*.rs", NULL), NULL);
    ck_assert_ptr_nonnull(strstr(page.body, "about 90 minutes from now"));
    ck_assert_ptr_null(strstr(page.body, "What was not shared"));
    fcgi_answer_free(&page);
}
END_TEST

START_TEST(done_completes_once_and_returns)
{
    char want[512];
    char id[CW_ID_TEXT_MAX];
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    cw_id_emit(CW_PREFIX_SESSION, session.id.ulid, id);
    snprintf(want, sizeof want, "https://app.example/back?keep=1&patient_id=user%%2F1&patient_session_id=%s#part", id);
    expect(200, "GET", "", NULL, NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(press("/done", NULL), want);
    }
    expect(410, "GET", "", NULL, "You are done here");
    expect(410, "GET", "/search?q=lakeside", NULL, NULL);
    char body[256];
    snprintf(body, sizeof body, "token=%s&source=%s", token, ids[GOOD]);
    expect(410, "POST", "/start", body, NULL);
}
END_TEST

START_TEST(direct_mode_has_one_page)
{
    new_session((struct cw_session_new){ .direct_source = sources[GOOD] });
    struct fcgi_answer page = ask("GET", "", NULL);
    ck_assert_int_eq(page.status, 200);
    ck_assert_ptr_nonnull(strstr(page.body, "data-go"));
    ck_assert_ptr_nonnull(strstr(page.body, "Lakeside &amp; Sons Hospital"));
    ck_assert_ptr_null(strstr(page.body, "type=\"search\""));
    keep(&page);
    fcgi_answer_free(&page);
    ck_assert_ptr_nonnull(strstr(press("/start", ids[DOWN]), "/authorize?")); /* the form cannot choose another */
    new_session((struct cw_session_new){ .direct_source = sources[DOWN] });
    expect(200, "GET", "", NULL, NULL);
    const char *location = press("/start", NULL);
    ck_assert_ptr_nonnull(strstr(location, "&success=false&error=discovery_failed#part"));
    expect(410, "GET", "", NULL, "You are done here");
}
END_TEST

START_TEST(links_that_are_none_tell_nothing)
{
    static const char *const wrong[] = { "/c/AAAAAAAAAAAAAAAAAAAAAA", "/c/x", "/c/AAAAAAAAAAAAAAAAAAAAAA/attempt/x",
                                         "/c/AAAAAAAAAAAAAAAAAAAAAA/search?q=x", "/c/%2e%2e" };
    cookie[0] = '\0';
    for (size_t i = 0; i < CW_ARRAY_LEN(wrong); i++) {
        snprintf(base, sizeof base, "%s", wrong[i]);
        expect(404, "GET", "", NULL, "This link does not work");
    }
    new_session((struct cw_session_new){ .expires_in_s = 60 });
    base[strlen(base) - 1] = base[strlen(base) - 1] == 'A' ? 'Q' : 'A'; /* tampered */
    expect(404, "GET", "", NULL, "This link does not work");
    new_session((struct cw_session_new){ .expires_in_s = 60 });
    cw_clock_shift_us(2 * CW_MINUTE_US);
    expect(410, "GET", "", NULL, "This link has run out");
    cw_clock_shift_us(0);
}
END_TEST

START_TEST(a_session_takes_so_many_pages_a_minute)
{
    new_session((struct cw_session_new){ .expires_in_s = 1800 });
    int status = 200;
    for (int i = 0; i < 200 && status == 200; i++) {
        struct fcgi_answer answer = ask("GET", "", NULL);
        status = answer.status;
        ck_assert(status == 200 || fcgi_header(&answer, "Retry-After") != NULL);
        fcgi_answer_free(&answer);
    }
    ck_assert_int_eq(status, 429);
}
END_TEST

START_TEST(names_are_masked)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        { "Ana", "A\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2" },
        { "\xe7\x8e\x8b\xe5\xb0\x8f", "\xe7\x8e\x8b\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2" },
        { "a b c d", "a\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2 b\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2 c\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2" },
        { "", NULL },
        { NULL, NULL },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_span masked = cw_picker_mask(arena, cw_span_cstr(rows[i].name));
        ck_assert(rows[i].want == NULL ? masked.ptr == NULL : cw_span_eq_cstr(masked, rows[i].want));
    }
}
END_TEST

static Suite *picker_suite(void)
{
    Suite *suite = suite_create("picker");
    TCase *tcase = tcase_create("picker");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_page_says_who_asks_and_changes_nothing);
    tcase_add_test(tcase, the_search_finds_within_the_environment);
    tcase_add_test(tcase, a_start_leaves_for_the_portal);
    tcase_add_test(tcase, forms_belong_to_session_and_browser);
    tcase_add_test(tcase, what_cannot_start_says_why);
    tcase_add_test(tcase, unknown_sources_are_refused);
    tcase_add_test(tcase, at_most_ten_attempts_are_open);
    tcase_add_test(tcase, a_connection_says_what_it_lacks);
    tcase_add_test(tcase, done_completes_once_and_returns);
    tcase_add_test(tcase, direct_mode_has_one_page);
    tcase_add_test(tcase, links_that_are_none_tell_nothing);
    tcase_add_test(tcase, a_session_takes_so_many_pages_a_minute);
    tcase_add_test(tcase, names_are_masked);
    suite_add_tcase(suite, tcase);
    return suite;
}

static void quiet(void *arg, const char *line)
{
    (void)arg;
    if (getenv("CW_TEST_LOG") != NULL) {
        fprintf(stderr, "%s\n", line);
    }
}

/* Lets the hospital on loopback be reached, and so many pages a Session that only the test of the limit meets it. */
static struct cw_config *make_config(void)
{
    char text[512];
    struct cw_config *made = NULL;
    struct cw_err err = { .code = CW_OK };
    snprintf(text, sizeof text,
             "[server]\norigin = https://cw.test\n[vault]\nmaster_keys = a=/x\n[net]\nallow = 127.0.0.1:%u\n"
             "[limits]\npages_per_session = 120\npages_per_address = 6000\n",
             script_server_port(hospital));
    must(cw_config_parse(cw_span_cstr(text), &made, &err), &err, "config");
    return made;
}

static void start(void)
{
    struct cw_err err = { .code = CW_OK };
    hospital = script_server_start(script, CW_ARRAY_LEN(script));
    arena = cw_arena_new(16u << 20);
    config = make_config();
    app = (struct cw_picker){
        .config = config,
        .origin = "https://cw.test",
        .secure = true,
        .model = { .pool = test.pool, .config = test.config },
        .limiter = cw_limiter_new(1024),
    };
    must(cw_vault_new(test.config, &app.model.vault, &err), &err, "vault");
    must(cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &app.profiles, &err), &err, "profiles");
    must(cw_templates_load(CW_TEST_SRCDIR "/www", &app.templates, &err), &err, "templates");
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        CW_AUTO_STR path;
        cw_str_init(&path, 1024);
        must(cw_index_path(test.config, (enum cw_environment)env, &path), &err, "index path");
        app.search[env] = cw_search_new(cw_str_cstr(&path));
    }
    fill();
}

static void release(void)
{
    cw_templates_free(app.templates);
    cw_profiles_free(app.profiles);
    cw_limiter_free(app.limiter);
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        cw_search_free(app.search[env]);
    }
    cw_vault_free(app.model.vault);
    cw_arena_free(arena);
    script_server_stop(hospital);
    cw_config_free(config);
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_stop_init();
    cw_log_init("test-picker", CW_LOG_INFO);
    cw_log_set_sink(quiet, NULL);
    cw_test_db_init(&test, true);
    start();
    snprintf(socket_path, sizeof socket_path, "%s/picker.sock", test.folder);
    int listener = fcgi_listen(socket_path);
    pthread_t server;
    if (pthread_create(&server, NULL, serve, &listener) != 0) {
        abort();
    }
    Suite *suites[] = { picker_suite(), leave_suite(), NULL };
    int rc = cw_check_main(suites);
    cw_stop_ask();
    pthread_join(server, NULL);
    close(listener);
    release();
    cw_test_db_release(&test);
    return rc;
}
