/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-api from outside: the real routes and handlers behind FastCGI on a socket, over a real MariaDB. What lies in the tables was
 * put there through the model, as the other programs would.
 */
#include "config.h"

#include "test_api_http.h"

#include <pthread.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "catalog/index.h"
#include "model/org.h"
#include "os/log.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"

struct cw_test_db api_test;
struct cw_api api;
struct cw_org_id api_orgs[2];
char api_source_ids[3][CW_ID_TEXT_MAX];
struct cw_source_id api_sandbox_source;
struct cw_endpoint_id api_sandbox_endpoint;
static char socket_path[128];
static pthread_t server;
static struct cw_str tokens[KEYS];

void must(enum cw_code rc, const struct cw_err *err, const char *what)
{
    if (rc != CW_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, err->where, err->text);
        abort();
    }
}

/* --- the responder --- */

static void *serve(void *arg)
{
    struct cw_err err = { 0 };
    struct cw_web_app app = {
        .program = "test-api",
        .mount = "/api",
        .routes = cw_api_routes,
        .route_count = cw_api_route_count,
        .faults = CW_FAULT_JSON,
        .threads = 2,
        .context = &api,
        .listen_fd = *(int *)arg,
        .doc_url = "https://cw.test/api/errors",
        .before = cw_api_admit,
        .after = cw_api_after,
    };
    must(cw_web_run(&app, &err), &err, "web");
    return NULL;
}

/* --- what the tables hold --- */

static const struct cw_actor operator = { .kind = CW_ACTOR_OPERATOR, .name = "test" };

static void import_source(enum cw_environment environment, const char *name, const char *base, const char *vendor,
                          char ret_id[CW_ID_TEXT_MAX])
{
    struct cw_err err = { 0 };
    struct cw_arena *arena = cw_arena_new(1u << 20);
    struct cw_source_row row = {
        .source = { .environment = environment, .name = cw_span_cstr(name), .vendor = cw_span_cstr(vendor),
                    .base_url = cw_span_cstr(base), .tenant_context = CW_SPAN("") },
        .normal_base = cw_span_cstr(base),
    };
    uint8_t content[CW_HASH_LEN];
    cw_sha256(cw_span_cstr(name), row.identity_hash);
    cw_sha256(cw_span_cstr(base), content);
    struct cw_import_counts counts;
    must(cw_source_import(&api.model, &operator, environment, "test", content, &row, 1, 0, &counts, &err), &err, "import");
    struct cw_source source;
    must(cw_source_resolve(&api.model, environment, cw_span_cstr(base), cw_span_cstr(base), arena, &source, &err), &err,
         "resolve");
    cw_id_emit(CW_PREFIX_SOURCE, source.id.ulid, ret_id);
    if (environment == CW_ENV_SANDBOX) {
        api_sandbox_source = source.id;
        api_sandbox_endpoint = source.endpoint;
    }
    cw_arena_free(arena);
}

static void make_key(int at, struct cw_org_id org, unsigned scopes)
{
    struct cw_err err = { 0 };
    struct cw_api_key wanted = { .name = CW_SPAN("test"), .scopes = scopes };
    struct cw_api_key_id id;
    cw_str_init_secret(&tokens[at], CW_API_KEY_MAX);
    must(cw_api_key_create(&api.model, &operator, org, &wanted, &tokens[at], &id, &err), &err, "key");
}

static void read_www(const char *name, struct cw_str *out)
{
    char path[1024];
    struct cw_err err = { 0 };
    snprintf(path, sizeof path, "%s/www/%s", CW_TEST_SRCDIR, name);
    cw_str_init(out, 1u << 20);
    must(cw_file_read(path, false, out, &err), &err, path);
}

static void fill(void)
{
    struct cw_err err = { 0 };
    must(cw_org_create(&api.model, &operator, CW_SPAN("Sand"), CW_ENV_SANDBOX, &api_orgs[0], &err), &err, "org");
    must(cw_org_create(&api.model, &operator, CW_SPAN("Prod"), CW_ENV_PRODUCTION, &api_orgs[1], &err), &err, "org");
    must(cw_org_return_add(&api.model, &operator, api_orgs[1], CW_SPAN("https://app.example"), &err), &err, "return");
    make_key(SANDBOX, api_orgs[0], CW_SCOPES_ALL);
    make_key(PRODUCTION, api_orgs[1], CW_SCOPES_ALL);
    make_key(LIMITED, api_orgs[0], CW_SCOPE_PATIENTS_READ);
    import_source(CW_ENV_SANDBOX, "Other Clinic", "https://other.example/fhir", "cerner", api_source_ids[1]);
    import_source(CW_ENV_SANDBOX, "Test Clinic", "https://clinic.example/fhir", "epic", api_source_ids[0]);
    import_source(CW_ENV_PRODUCTION, "Real Clinic", "https://real.example/fhir", "epic", api_source_ids[2]);
}

/* --- asking --- */

struct fcgi_answer ask(const char *method, const char *uri, const char *body, const char *token)
{
    char bearer[CW_API_KEY_MAX + 16];
    snprintf(bearer, sizeof bearer, "Bearer %s", token == NULL ? "" : token);
    const char *const params[] = { token == NULL ? "X_NONE" : "HTTP_AUTHORIZATION", bearer, NULL };
    char whole[4096];
    snprintf(whole, sizeof whole, "/api%s", uri);
    const struct fcgi_request request = {
        .method = method,
        .uri = whole,
        .type = body == NULL ? NULL : "application/json",
        .body = body,
        .more = params,
    };
    return fcgi_ask(socket_path, -1, &request);
}

const char *key(int at)
{
    return cw_str_cstr(&tokens[at]);
}

json_t *expect_with(int status, const char *method, const char *uri, const char *body, const char *token)
{
    struct fcgi_answer answer = ask(method, uri, body, token);
    ck_assert_msg(answer.status == status, "%s %s: %d, not %d: %s", method, uri, answer.status, status, answer.body);
    const char *id = fcgi_header(&answer, "X-Request-Id");
    ck_assert_ptr_nonnull(id);
    json_t *json = json_loads(answer.body, 0, NULL);
    ck_assert_msg(json != NULL, "%s %s: not JSON", method, uri);
    const char *told = json_string_value(json_object_get(json_object_get(json, "error"), "request_id"));
    ck_assert(status == 200 || (told != NULL && strcmp(told, id) == 0));
    fcgi_answer_free(&answer);
    return json;
}

json_t *expect(int status, const char *method, const char *uri, const char *body)
{
    return expect_with(status, method, uri, body, key(SANDBOX));
}

const char *text_at(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text == NULL ? "(none)" : text;
}

void expect_fault(int status, const char *code, const char *param, const char *method, const char *uri,
                         const char *body, const char *token)
{
    json_t *json = expect_with(status, method, uri, body, token);
    const json_t *error = json_object_get(json, "error");
    const json_t *told = json_object_get(error, "param");
    ck_assert_msg(strcmp(text_at(error, "code"), code) == 0, "%s %s %s: %s", method, uri, body, text_at(error, "code"));
    ck_assert_msg(param == NULL ? json_is_null(told) : json_is_string(told) && strcmp(json_string_value(told), param) == 0,
                  "%s %s %s: param %s", method, uri, body, json_is_string(told) ? json_string_value(told) : "null");
    json_decref(json);
}

/* --- tests --- */

START_TEST(open_routes)
{
    json_t *health = expect_with(200, "GET", "/health", NULL, NULL);
    ck_assert(json_is_true(json_object_get(health, "ok")));
    int64_t told;
    ck_assert(cw_time_parse(cw_span_cstr(text_at(health, "server_time")), false, &told));
    json_decref(health);
    json_t *document = expect_with(200, "GET", "/openapi.json", NULL, NULL);
    ck_assert_str_eq(text_at(document, "openapi"), "3.1.1");
    json_decref(document);
    struct fcgi_answer page = ask("GET", "/errors", NULL, NULL);
    ck_assert_int_eq(page.status, 200);
    ck_assert_ptr_nonnull(strstr(page.body, "id=\"resource_not_found\""));
    fcgi_answer_free(&page);
}
END_TEST

START_TEST(keys_are_checked)
{
    expect_fault(401, "missing_api_key", NULL, "GET", "/patients", NULL, NULL);
    expect_fault(401, "invalid_api_key", NULL, "GET", "/patients", NULL, "cw_sk_sbx_x");
    expect_fault(401, "invalid_api_key", NULL, "GET", "/patients", NULL, "two words");
    CW_AUTO_STR bent;
    cw_str_init(&bent, 2048);
    cw_str_add_cstr(&bent, key(SANDBOX));
    bent.buf[bent.len - 3] = bent.buf[bent.len - 3] == 'A' ? 'B' : 'A';
    expect_fault(401, "invalid_api_key", NULL, "GET", "/patients", NULL, cw_str_cstr(&bent));
    cw_str_clear(&bent); /* a sandbox key under the other prefix */
    cw_str_addf(&bent, "cw_sk_live_%s", key(SANDBOX) + strlen("cw_sk_sbx_"));
    expect_fault(401, "invalid_api_key", NULL, "GET", "/patients", NULL, cw_str_cstr(&bent));
    expect_fault(403, "insufficient_scope", NULL, "POST", "/patients", "{}", key(LIMITED));
    expect_fault(403, "insufficient_scope", NULL, "GET", "/patients/x/records", NULL, key(LIMITED));
    json_decref(expect_with(200, "GET", "/patients", NULL, key(LIMITED)));

    const char *const params[] = { "HTTP_AUTHORIZATION", "Basic dXNlcjpwdw==", NULL };
    const struct fcgi_request basic = { .uri = "/api/patients", .more = params };
    struct fcgi_answer answer = fcgi_ask(socket_path, -1, &basic);
    ck_assert_int_eq(answer.status, 401);
    ck_assert_str_eq(fcgi_header(&answer, "WWW-Authenticate"), "Bearer");
    fcgi_answer_free(&answer);
}
END_TEST

START_TEST(keys_end)
{
    struct cw_err err = { 0 };
    struct cw_api_key wanted = { .name = CW_SPAN("old"), .scopes = CW_SCOPES_ALL, .expires_us = cw_now_us() + CW_HOUR_US };
    struct cw_api_key_id id;
    CW_AUTO_STR token;
    cw_str_init_secret(&token, CW_API_KEY_MAX);
    must(cw_api_key_create(&api.model, &operator, api_orgs[0], &wanted, &token, &id, &err), &err, "key");
    json_decref(expect_with(200, "GET", "/patients", NULL, cw_str_cstr(&token)));
    cw_clock_shift_us(2 * CW_HOUR_US);
    expect_fault(401, "expired_api_key", NULL, "GET", "/patients", NULL, cw_str_cstr(&token));
    cw_clock_shift_us(0);
    must(cw_api_key_revoke(&api.model, &operator, id, &err), &err, "revoke");
    expect_fault(401, "invalid_api_key", NULL, "GET", "/patients", NULL, cw_str_cstr(&token));
}
END_TEST

START_TEST(version_header)
{
    char bearer[CW_API_KEY_MAX + 16];
    snprintf(bearer, sizeof bearer, "Bearer %s", key(SANDBOX));
    static const struct {
        const char *version;
        int status;
    } rows[] = { { "2026-04-25", 200 }, { "2026-04-26", 400 }, { "1", 400 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const char *const params[] = { "HTTP_AUTHORIZATION", bearer, "HTTP_VERSION", rows[i].version, NULL };
        const struct fcgi_request request = { .uri = "/api/patients", .more = params };
        struct fcgi_answer answer = fcgi_ask(socket_path, -1, &request);
        ck_assert_int_eq(answer.status, rows[i].status);
        ck_assert((strstr(answer.body, "unsupported_api_version") != NULL) == (rows[i].status == 400));
        fcgi_answer_free(&answer);
    }
}
END_TEST

START_TEST(what_is_not_there)
{
    expect_fault(404, "resource_not_found", NULL, "GET", "/launch-contexts/0b8f7c1e-7f0b-4b0e-9d57-0f1d7b6a2c33", NULL,
                 key(SANDBOX));
    expect_fault(404, "resource_not_found", NULL, "GET", "/patients/", NULL, key(SANDBOX));
    expect_fault(405, "method_not_allowed", NULL, "DELETE", "/connections", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/nobody", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patient-sessions/ps_01J9YQ8M2X4VZ6P2K5RH7M3KQT", NULL,
                 key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patient-sessions/nonsense", NULL, key(SANDBOX));
}
END_TEST

START_TEST(session_start_and_read)
{
    char body[1024];
    snprintf(body, sizeof body,
             "{\"patient_id\":\"user_42\",\"patient_email\":\"jane@example.com\",\"patient_name\":\"Jane Doe\","
             "\"recommended_connection_ids\":[\"%s\",\"https://other.example/fhir/\",\"%s\"],"
             "\"return_url\":\"https://app.example.com/connected\",\"return_button_label\":\"Acme\",\"expires_in\":600,"
             "\"metadata\":{\"v\":98.60}}",
             api_source_ids[0], api_source_ids[0]);
    int64_t before = cw_now_us();
    struct fcgi_answer raw = ask("POST", "/patient-sessions", body, key(SANDBOX));
    ck_assert_msg(raw.status == 200, "%d: %s", raw.status, raw.body);
    ck_assert_ptr_nonnull(strstr(raw.body, "\"metadata\":{\"v\":98.60}")); /* byte for byte */
    json_t *made = json_loads(raw.body, 0, NULL);
    fcgi_answer_free(&raw);
    ck_assert_str_eq(text_at(made, "resource_type"), "patient_session");
    ck_assert_str_eq(text_at(made, "status"), "open");
    ck_assert_str_eq(text_at(made, "patient_id"), "user_42");
    ck_assert(strncmp(text_at(made, "id"), "ps_", 3) == 0);
    ck_assert(strncmp(text_at(made, "url"), "https://cw.test/c/", 18) == 0);
    ck_assert(json_is_null(json_object_get(made, "connection_id")));
    const json_t *recommended = json_object_get(made, "recommended_connection_ids");
    ck_assert_uint_eq(json_array_size(recommended), 2);
    ck_assert_str_eq(json_string_value(json_array_get(recommended, 0)), api_source_ids[0]);
    ck_assert_str_eq(json_string_value(json_array_get(recommended, 1)), api_source_ids[1]);
    int64_t expires;
    ck_assert(cw_time_parse(cw_span_cstr(text_at(made, "expires_at")), false, &expires));
    ck_assert_int_ge(expires, before + 599 * CW_SECOND_US);
    ck_assert_int_le(expires, cw_now_us() + 600 * CW_SECOND_US);

    char uri[128];
    snprintf(uri, sizeof uri, "/patient-sessions/%s", text_at(made, "id"));
    json_t *read = expect(200, "GET", uri, NULL);
    ck_assert(json_equal(made, read));
    json_decref(read);
    expect_fault(404, "resource_not_found", "id", "GET", uri, NULL, key(PRODUCTION));
    json_decref(made);

    json_t *patient = expect(200, "GET", "/patients/user_42", NULL);
    ck_assert_str_eq(text_at(patient, "name"), "Jane Doe");
    ck_assert_str_eq(text_at(patient, "email"), "jane@example.com");
    ck_assert_uint_eq(json_array_size(json_object_get(patient, "connections")), 0);
    json_decref(patient);
    /* Leaving name and e-mail out keeps them. */
    json_decref(expect(200, "POST", "/patient-sessions", "{\"patient_id\":\"user_42\",\"return_url\":\"https://a.example/\"}"));
    patient = expect(200, "GET", "/patients/user_42", NULL);
    ck_assert_str_eq(text_at(patient, "name"), "Jane Doe");
    json_decref(patient);
}
END_TEST

START_TEST(session_direct)
{
    char body[512];
    snprintf(body, sizeof body, "{\"patient_id\":\"d\",\"connection_id\":\"%s\",\"return_url\":\"http://localhost:3000/\"}",
             api_source_ids[0]);
    json_t *made = expect(200, "POST", "/patient-sessions", body);
    ck_assert_str_eq(text_at(made, "connection_id"), api_source_ids[0]);
    ck_assert(json_is_null(json_object_get(made, "recommended_connection_ids")));
    ck_assert(json_is_null(json_object_get(made, "return_button_label")));
    json_decref(made);
    made = expect(200, "POST", "/patient-sessions",
                  "{\"patient_id\":\"d\",\"connection_id\":\"HTTPS://Clinic.example/fhir/\",\"return_url\":\"https://a.example/\"}");
    ck_assert_str_eq(text_at(made, "connection_id"), api_source_ids[0]);
    json_decref(made);
}
END_TEST

#define START(members) "{\"patient_id\":\"u\",\"return_url\":\"https://a.example/\"," members "}"

START_TEST(session_refusals)
{
    static const struct {
        int status;
        const char *code, *param, *body;
    } rows[] = {
        { 400, "bad_request", NULL, "" },
        { 400, "bad_request", NULL, "[]" },
        { 400, "bad_request", NULL, "{\"patient_id\":\"u\"" },
        { 400, "bad_request", NULL, "{\"patient_id\":\"u\",\"patient_id\":\"u\",\"return_url\":\"https://a.example/\"}" },
        { 400, "bad_request", "patient_id", "{\"return_url\":\"https://a.example/\"}" },
        { 400, "bad_request", "return_url", "{\"patient_id\":\"u\"}" },
        { 400, "invalid_data", "colour", START("\"colour\":1") },
        { 400, "invalid_data", "patient_id", "{\"patient_id\":\"ps_1\",\"return_url\":\"https://a.example/\"}" },
        { 400, "invalid_data", "patient_id", "{\"patient_id\":\"conn_x\",\"return_url\":\"https://a.example/\"}" },
        { 400, "invalid_data", "patient_id", "{\"patient_id\":\"a\\u0007\",\"return_url\":\"https://a.example/\"}" },
        { 400, "invalid_data", "patient_id", "{\"patient_id\":\"\",\"return_url\":\"https://a.example/\"}" },
        { 400, "invalid_data", "return_url", "{\"patient_id\":\"u\",\"return_url\":\"http://a.example/\"}" },
        { 400, "invalid_data", "return_url", "{\"patient_id\":\"u\",\"return_url\":\"javascript:alert(1)\"}" },
        { 400, "invalid_data", "return_url", "{\"patient_id\":\"u\",\"return_url\":\"https://u:p@a.example/\"}" },
        { 400, "invalid_data", "patient_email", START("\"patient_email\":\"no\"") },
        { 400, "invalid_data", "patient_email", START("\"patient_email\":null") },
        { 400, "invalid_data", "return_button_label", START("\"return_button_label\":\"\"") },
        { 400, "invalid_data", "expires_in", START("\"expires_in\":59") },
        { 400, "invalid_data", "metadata", START("\"metadata\":[]") },
        { 400, "bad_request", "recommended_connection_ids",
          START("\"connection_id\":\"x\",\"recommended_connection_ids\":[]") },
        { 404, "resource_not_found", "connection_id", START("\"connection_id\":\"fhirsrc_01J9YQ8M2X4VZ6P2K5RH7M3KQT\"") },
        { 404, "resource_not_found", "connection_id", START("\"connection_id\":\"nonsense\"") },
        { 404, "resource_not_found", "connection_id", START("\"connection_id\":\"https://nowhere.example/fhir\"") },
        { 404, "resource_not_found", "recommended_connection_ids[0]",
          START("\"recommended_connection_ids\":[\"https://real.example/fhir\"]") }, /* production's */
    };
    int64_t sessions = cw_test_db_number(&api_test, "SELECT COUNT(*) FROM patient_session");
    int64_t patients = cw_test_db_number(&api_test, "SELECT COUNT(*) FROM patient");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        expect_fault(rows[i].status, rows[i].code, rows[i].param, "POST", "/patient-sessions", rows[i].body, key(SANDBOX));
    }
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM patient_session"), sessions);
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM patient"), patients);
}
END_TEST

START_TEST(session_return_list_of_production)
{
    json_decref(expect_with(200, "POST", "/patient-sessions",
                            "{\"patient_id\":\"p\",\"return_url\":\"https://app.example/x?y=1#z\"}", key(PRODUCTION)));
    static const char *const refused[] = { "https://other.example/", "http://localhost/", "https://app.example:8443/",
                                           "com.example.app:/done" };
    for (size_t i = 0; i < CW_ARRAY_LEN(refused); i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"patient_id\":\"p\",\"return_url\":\"%s\"}", refused[i]);
        expect_fault(400, "invalid_data", "return_url", "POST", "/patient-sessions", body, key(PRODUCTION));
    }
}
END_TEST

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

START_TEST(session_list_pages)
{
    char ids[5][64];
    for (int i = 0; i < 5; i++) {
        json_t *made = expect(200, "POST", "/patient-sessions", "{\"patient_id\":\"many\",\"return_url\":\"https://a.example/\"}");
        snprintf(ids[i], sizeof ids[i], "%s", text_at(made, "id"));
        json_decref(made);
    }
    qsort(ids, 5, sizeof ids[0], by_text); /* to the millisecond: within one the order is that of the ids, as everywhere */
    char uri[256] = "/patients/many/patient-sessions?limit=2";
    size_t seen = 0;
    for (int page = 0; page < 3; page++) {
        json_t *list = expect(200, "GET", uri, NULL);
        const json_t *data = json_object_get(list, "data");
        for (size_t i = 0; i < json_array_size(data); i++, seen++) {
            ck_assert_str_eq(text_at(json_array_get(data, i), "id"), ids[4 - seen]); /* newest first */
        }
        ck_assert_int_eq(json_is_true(json_object_get(list, "has_more")), page < 2);
        ck_assert_int_eq(json_is_null(json_object_get(list, "next_cursor")), page == 2);
        snprintf(uri, sizeof uri, "/patients/many/patient-sessions?limit=2&starting_after=%s", text_at(list, "next_cursor"));
        if (page == 0) {
            char other[512];
            snprintf(other, sizeof other, "%s&status=open", uri);
            expect_fault(400, "invalid_data", "starting_after", "GET", other, NULL, key(SANDBOX));
        }
        json_decref(list);
    }
    ck_assert_uint_eq(seen, 5);
    json_t *none = expect(200, "GET", "/patients/many/patient-sessions?status=complete", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(none, "data")), 0);
    json_decref(none);
    expect_fault(400, "invalid_data", "limit", "GET", "/patients/many/patient-sessions?limit=101", NULL, key(SANDBOX));
    expect_fault(400, "invalid_data", "status", "GET", "/patients/many/patient-sessions?status=odd", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/nobody/patient-sessions", NULL, key(SANDBOX));
}
END_TEST

START_TEST(patients_made_listed_replaced)
{
    json_t *made = expect(200, "POST", "/patients",
                          "{\"patient_id\":\"p/1 ä\",\"email\":\"Ann@Example.com\",\"name\":\"Ann\",\"metadata\":{\"k\":[1.50]},\"x\":1}");
    ck_assert_str_eq(text_at(made, "resource_type"), "patient");
    json_decref(made);
    expect_fault(409, "external_id_already_exists", "patient_id", "POST", "/patients", "{\"patient_id\":\"p/1 ä\"}", key(SANDBOX));
    expect_fault(400, "invalid_data", "patient_id", "POST", "/patients", "{\"patient_id\":\"fhirsrc_1\"}", key(SANDBOX));
    expect_fault(400, "invalid_data", "email", "POST", "/patients", "{\"patient_id\":\"q\",\"email\":null}", key(SANDBOX));
    json_t *read = expect(200, "GET", "/patients/p%2F1%20%C3%A4", NULL);
    ck_assert_str_eq(text_at(read, "id"), "p/1 ä");
    json_decref(read);
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/p%2F1%20%C3%A4", NULL, key(PRODUCTION));

    json_t *found = expect(200, "GET", "/patients?email=ann%40example.com", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(found, "data")), 1);
    ck_assert_ptr_null(json_object_get(json_array_get(json_object_get(found, "data"), 0), "connections"));
    json_decref(found);
    found = expect(200, "GET", "/patients?patient_id=P%2F1%20%C3%A4", NULL); /* bytewise: another case is another id */
    ck_assert_uint_eq(json_array_size(json_object_get(found, "data")), 0);
    json_decref(found);

    json_t *replaced = expect(200, "PUT", "/patients/p%2F1%20%C3%A4", "{\"patient_id\":\"p/1 ä\",\"name\":null}");
    ck_assert(json_is_null(json_object_get(replaced, "name")));
    ck_assert(json_is_null(json_object_get(replaced, "email")));
    ck_assert_uint_eq(json_object_size(json_object_get(replaced, "metadata")), 0);
    json_decref(replaced);
    expect_fault(400, "invalid_data", "patient_id", "PUT", "/patients/p%2F1%20%C3%A4", "{\"patient_id\":\"p1\"}", key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "PUT", "/patients/new", "{\"patient_id\":\"new\"}", key(SANDBOX));
    expect_fault(400, "bad_request", "patient_id", "PUT", "/patients/new", "{}", key(SANDBOX));
}
END_TEST

START_TEST(patient_id_limits)
{
    CW_AUTO_STR body;
    cw_str_init(&body, 4096);
    for (size_t chars = CW_PATIENT_ID_CHARS_MAX - 1; chars <= CW_PATIENT_ID_CHARS_MAX + 1; chars++) {
        cw_str_clear(&body);
        cw_str_add_cstr(&body, "{\"patient_id\":\"");
        for (size_t i = 0; i < chars; i++) {
            cw_str_add_cstr(&body, "\xF0\x9F\x98\x80"); /* four bytes each */
        }
        cw_str_add_cstr(&body, "\"}");
        json_decref(expect(chars <= CW_PATIENT_ID_CHARS_MAX ? 200 : 400, "POST", "/patients", cw_str_cstr(&body)));
    }
}
END_TEST

START_TEST(catalogue)
{
    char uri[256];
    snprintf(uri, sizeof uri, "/connections/%s", api_source_ids[0]);
    json_t *source = expect(200, "GET", uri, NULL);
    ck_assert_str_eq(text_at(source, "resource_type"), "fhir_source");
    ck_assert_str_eq(text_at(source, "name"), "Test Clinic");
    ck_assert_str_eq(text_at(source, "type"), "epic");
    ck_assert_str_eq(text_at(source, "fhir_base_url"), "https://clinic.example/fhir");
    json_t *by_url = expect(200, "GET", "/connections/https%3A%2F%2Fclinic.example%2Ffhir%2F", NULL);
    ck_assert(json_equal(source, by_url));
    json_decref(source);
    json_decref(by_url);
    expect_fault(404, "resource_not_found", "id", "GET", uri, NULL, key(PRODUCTION));
    expect_fault(404, "resource_not_found", "id", "GET", "/connections/x", NULL, key(SANDBOX));

    json_t *list = expect(200, "GET", "/connections?limit=1", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    ck_assert(json_is_true(json_object_get(list, "has_more")));
    snprintf(uri, sizeof uri, "/connections?limit=1&starting_after=%s", text_at(list, "next_cursor"));
    json_decref(list);
    list = expect(200, "GET", uri, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    ck_assert(json_is_false(json_object_get(list, "has_more")));
    json_decref(list);
    list = expect(200, "GET", "/connections?type=epic", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    json_decref(list);
    expect_fault(400, "invalid_data", "starting_after", "GET", "/connections?starting_after=AAAA", NULL, key(SANDBOX));
}
END_TEST

START_TEST(catalogue_search)
{
    json_t *list = expect(200, "GET", "/connections?q=clinic&limit=1", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    ck_assert(json_is_true(json_object_get(list, "has_more")));
    char uri[256];
    snprintf(uri, sizeof uri, "/connections?q=clinic&limit=1&starting_after=%s", text_at(list, "next_cursor"));
    json_t *rest = expect(200, "GET", uri, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(rest, "data")), 1);
    ck_assert(json_is_false(json_object_get(rest, "has_more")));
    ck_assert(!json_equal(json_object_get(rest, "data"), json_object_get(list, "data")));
    json_decref(rest);
    snprintf(uri, sizeof uri, "/connections?q=other&starting_after=%s", text_at(list, "next_cursor"));
    expect_fault(400, "invalid_data", "starting_after", "GET", uri, NULL, key(SANDBOX));
    json_decref(list);
    list = expect(200, "GET", "/connections?q=tset%20clinic", NULL); /* a typing error */
    ck_assert_str_eq(text_at(json_array_get(json_object_get(list, "data"), 0), "id"), api_source_ids[0]);
    json_decref(list);
    list = expect(200, "GET", "/connections?q=clinic&type=cerner", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    json_decref(list);
    list = expect(200, "GET", "/connections?q=nothing-of-this-kind", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 0);
    json_decref(list);
    list = expect_with(200, "GET", "/connections?q=clinic", NULL, key(PRODUCTION)); /* no index there yet */
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 0);
    json_decref(list);
}
END_TEST

/* --- the whole --- */

/* Each operation of the document is a route and each route an operation. */
START_TEST(document_is_the_table)
{
    CW_AUTO_JSON *document = json_loads(cw_str_cstr(&api.document), 0, NULL);
    ck_assert_ptr_nonnull(document);
    const json_t *paths = json_object_get(document, "paths");
    size_t operations = 0;
    const char *path;
    json_t *methods;
    json_object_foreach((json_t *)(uintptr_t)paths, path, methods) {
        operations += json_object_size(methods);
    }
    ck_assert_uint_eq(operations, cw_api_route_count);
    for (size_t i = 0; i < cw_api_route_count; i++) {
        const struct cw_route *route = &cw_api_routes[i];
        const char *method = route->method == CW_GET ? "get" : route->method == CW_POST ? "post" : route->method == CW_PUT ? "put" : "delete";
        const json_t *operation = json_object_get(json_object_get(paths, route->path), method);
        ck_assert_msg(strcmp(text_at(operation, "operationId"), route->name) == 0, "%s", route->name);
        size_t declared = 0;
        for (size_t k = 0; route->query != NULL && route->query[k].name != NULL; k++) {
            declared++;
        }
        size_t told = 0;
        const json_t *parameters = json_object_get(operation, "parameters");
        for (size_t k = 0; k < json_array_size(parameters); k++) {
            const json_t *parameter = json_array_get(parameters, k);
            const char *ref = json_string_value(json_object_get(parameter, "$ref"));
            told += strcmp(text_at(parameter, "in"), "query") == 0 || (ref != NULL && strstr(ref, "Version") == NULL);
        }
        ck_assert_msg(told == declared, "%s: %zu inputs, %zu told", route->name, declared, told);
    }
}
END_TEST

START_TEST(key_uses_are_audited)
{
    json_decref(expect(200, "GET", "/connections", NULL));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/nobody", NULL, key(SANDBOX));
    int64_t deadline = cw_monotonic_us() + 5 * CW_SECOND_US;
    while (cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'source.list' AND detail = '200'") == 0 ||
           cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'patient.get' AND detail = '404'") == 0) {
        ck_assert_msg(cw_monotonic_us() < deadline, "no audit row after five seconds");
        usleep(20000);
    }
}
END_TEST

static Suite *api_http_suite(void)
{
    Suite *suite = suite_create("api over HTTP");
    TCase *tc = tcase_create("http");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, open_routes);
    tcase_add_test(tc, keys_are_checked);
    tcase_add_test(tc, keys_end);
    tcase_add_test(tc, version_header);
    tcase_add_test(tc, what_is_not_there);
    tcase_add_test(tc, session_start_and_read);
    tcase_add_test(tc, session_direct);
    tcase_add_test(tc, session_refusals);
    tcase_add_test(tc, session_return_list_of_production);
    tcase_add_test(tc, session_list_pages);
    tcase_add_test(tc, patients_made_listed_replaced);
    tcase_add_test(tc, patient_id_limits);
    tcase_add_test(tc, catalogue);
    tcase_add_test(tc, catalogue_search);
    tcase_add_test(tc, document_is_the_table);
    tcase_add_test(tc, key_uses_are_audited);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, api_records_case());
    suite_add_tcase(suite, api_letting_go_case());
    suite_add_tcase(suite, api_pulls_case());
    return suite;
}

static void quiet(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_stop_init();
    cw_log_init("test-api", CW_LOG_INFO);
    cw_log_set_sink(quiet, NULL);
    cw_test_db_init(&api_test, true);
    struct cw_err err = { 0 };
    api = (struct cw_api){ .origin = "https://cw.test", .model = { .pool = api_test.pool, .config = api_test.config } };
    must(cw_vault_new(api_test.config, &api.model.vault, &err), &err, "vault");
    must(cw_audit_queue_new(&api.model, &api.audit, &err), &err, "audit");
    read_www("openapi.json", &api.document);
    read_www("errors.html", &api.errors);
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        CW_AUTO_STR path;
        cw_str_init(&path, 4096);
        must(cw_index_path(api_test.config, (enum cw_environment)env, &path), &err, "index path");
        api.search[env] = cw_search_new(cw_str_cstr(&path));
    }
    fill();
    size_t indexed;
    must(cw_index_refresh(&api.model, CW_ENV_SANDBOX, &indexed, &err), &err, "index");
    snprintf(socket_path, sizeof socket_path, "%s/api.sock", api_test.folder);
    int listener = fcgi_listen(socket_path);
    if (pthread_create(&server, NULL, serve, &listener) != 0) {
        abort();
    }
    Suite *suites[] = { api_http_suite(), NULL };
    int rc = cw_check_main(suites);
    cw_stop_ask();
    pthread_join(server, NULL);
    close(listener);
    cw_audit_queue_free(api.audit);
    for (int i = 0; i < KEYS; i++) {
        cw_str_release(&tokens[i]);
    }
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        cw_search_free(api.search[env]);
    }
    cw_str_release(&api.document);
    cw_str_release(&api.errors);
    cw_vault_free(api.model.vault);
    cw_test_db_release(&api_test);
    return rc;
}
