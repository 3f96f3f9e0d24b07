/* SPDX-License-Identifier: Apache-2.0 */
/* Pulls and documents over HTTP: started, watched, their receipt read, bytes downloaded; what lies in the tables was put there as a scheduler would. */
#include "config.h"

#include "test_api_http.h"

#include "base/limits.h"
#include "base/time.h"
#include "model/connection_int.h"
#include "model/document.h"
#include "model/keys.h"
#include "model/pull_receipt.h"
#include "os/sys.h"

/* One patient with one active connection. */
struct made {
    const char *patient_id;
    struct cw_arena *arena;
    struct cw_patient_row patient;
    struct cw_connection connection;
    struct cw_data_key key;
};

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct made *made = arg;
    struct cw_patient wanted = { .patient_id = cw_span_cstr(made->patient_id) };
    enum cw_code rc = cw_patient_upsert(&api.model, db, api_orgs[0], &wanted, made->arena, &made->patient, &made->key, err);
    struct connection_put put = { .id = { cw_ulid_new() }, .org = api_orgs[0], .patient = made->patient, .endpoint = api_sandbox_endpoint,
                                  .source = api_sandbox_source, .registration = { cw_ulid_new() }, .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"), .scopes = CW_SPAN("patient/*.rs"), .pinned = CW_SPAN("{}") };
    made->connection = (struct cw_connection){ .org = api_orgs[0], .patient = made->patient, .endpoint = put.endpoint, .source = put.source };
    return rc == CW_OK ? connection_put(db, &made->key, &put, made->arena, &made->connection.id, err) : rc;
}

static struct made connected(const char *patient_id)
{
    struct cw_err err = { 0 };
    struct made made = { .patient_id = patient_id, .arena = cw_arena_new((size_t)32 * 1024 * 1024) };
    must(cw_tx_pool(api.model.pool, connect_tx, &made, &err), &err, "connect");
    return made;
}

static void done(struct made *made)
{
    cw_data_key_wipe(&made->key);
    cw_arena_free(made->arena);
}

static json_t *first_of(const json_t *list)
{
    return json_array_get(json_object_get(list, "data"), 0);
}

/* Takes the pull's job, plans it, and commits a page of one task, as a scheduler does. */
static void begin(const char *pull_id, struct cw_job *ret_job, struct cw_pull_id *ret_pull)
{
    struct cw_err err = { 0 };
    size_t count = 0;
    ck_assert(cw_id_parse(CW_PREFIX_PULL, cw_span_cstr(pull_id), &ret_pull->ulid));
    do {
        must(cw_job_claim(&api.model, "node/1", 15 * CW_SECOND_US, 1, ret_job, &count, &err), &err, "claim");
        ck_assert_uint_eq(count, 1);
    } while (!cw_ulid_eq(ret_job->subject, ret_pull->ulid)); /* other tests' pulls wait as well */
    static struct cw_task_new tasks[] = {
        { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .url = CW_SPAN("https://h.test/fhir/Observation?patient=up-1") },
        { .kind = CW_TASK_SEARCH, .resource_type = "Goal", .ordinal = 1, .skip_code = "no_scope" },
    };
    must(cw_pull_plan(&api.model, "node/1", ret_job, *ret_pull,
                      CW_SPAN("[{\"kind\":\"search\",\"type\":\"Observation\",\"variant\":\"base\",\"query\":\"\"},"
                              "{\"kind\":\"search\",\"type\":\"Goal\",\"variant\":\"base\",\"query\":\"\",\"skip\":\"no_scope\"}]"),
                      tasks, CW_ARRAY_LEN(tasks), &err), &err, "plan");
}

static void end(const struct cw_job *job, struct cw_pull_id pull)
{
    struct cw_err err = { 0 };
    static const char receipt[] = "{\"version\":1,\"status\":\"complete\"}";
    CW_AUTO_STR jws;
    cw_str_init(&jws, CW_TOKEN_MAX);
    must(cw_pull_receipt_sign(&api.model, pull, cw_span_cstr(receipt), &jws, &err), &err, "sign");
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = cw_span_cstr(receipt), .receipt_jws = cw_str_span(&jws) };
    must(cw_pull_end(&api.model, "node/1", job, pull, &ending, &err), &err, "end");
}

START_TEST(a_pull_is_started_watched_and_proved)
{
    struct made made = connected("puller");
    json_t *none = expect(200, "GET", "/patients/puller/pulls", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(none, "data")), 0);
    json_decref(none);
    json_t *started = expect(200, "POST", "/patients/puller/pulls", "{}");
    char id[64], uri[200];
    (void)snprintf(id, sizeof id, "%s", text_at(first_of(started), "id"));
    ck_assert_str_eq(text_at(first_of(started), "status"), "waiting");
    ck_assert_str_eq(text_at(first_of(started), "trigger"), "manual");
    ck_assert_str_eq(text_at(first_of(started), "connection_id"), api_source_ids[0]);
    ck_assert_ptr_nonnull(strstr(text_at(first_of(started), "patient_connection_id"), "conn_"));
    json_decref(started);
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'pull.start' AND actor LIKE 'key_%'"), 1);
    expect_fault(409, "pull_in_progress", NULL, "POST", "/patients/puller/pulls", "{}", key(SANDBOX));

    struct cw_job job;
    struct cw_pull_id pull;
    begin(id, &job, &pull);
    (void)snprintf(uri, sizeof uri, "/patients/puller/pulls/%s", id);
    json_t *running = expect(200, "GET", uri, NULL);
    ck_assert_str_eq(text_at(running, "status"), "running");
    ck_assert_int_le(json_integer_value(json_object_get(json_object_get(running, "progress"), "percent")), 99);
    ck_assert_uint_eq(json_array_size(json_object_get(running, "types")), 2);
    ck_assert_str_eq(text_at(json_array_get(json_object_get(running, "plan"), 1), "skip"), "no_scope");
    json_decref(running);
    (void)snprintf(uri, sizeof uri, "/patients/puller/pulls/%s/receipt", id);
    expect_fault(404, "resource_not_found", "pull_id", "GET", uri, NULL, key(SANDBOX));

    end(&job, pull);
    json_t *receipt = expect(200, "GET", uri, NULL);
    ck_assert_str_eq(text_at(json_object_get(receipt, "receipt"), "status"), "complete");
    ck_assert_uint_eq(strlen(text_at(receipt, "receipt_sha256")), 64);
    ck_assert_ptr_nonnull(strchr(text_at(receipt, "signature"), '.'));
    json_decref(receipt);
    (void)snprintf(uri, sizeof uri, "/patients/puller/pulls/%s", id);
    json_t *ended = expect(200, "GET", uri, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(ended, "progress"), "percent")), 100);
    json_decref(ended);
    done(&made);
}
END_TEST

START_TEST(pulls_of_others_are_not_there)
{
    struct made made = connected("mine"), other = connected("hers");
    json_t *started = expect(200, "POST", "/patients/mine/pulls", "{}");
    char uri[200];
    (void)snprintf(uri, sizeof uri, "/patients/hers/pulls/%s", text_at(first_of(started), "id"));
    expect_fault(404, "resource_not_found", "pull_id", "GET", uri, NULL, key(SANDBOX));
    (void)snprintf(uri, sizeof uri, "/patients/hers/pulls/%s/receipt", text_at(first_of(started), "id"));
    expect_fault(404, "resource_not_found", "pull_id", "GET", uri, NULL, key(SANDBOX));
    (void)snprintf(uri, sizeof uri, "/patients/mine/pulls/%s", text_at(first_of(started), "id"));
    expect_fault(404, "resource_not_found", "id", "GET", uri, NULL, key(PRODUCTION));
    expect_fault(403, "insufficient_scope", NULL, "GET", uri, NULL, key(LIMITED));
    expect_fault(403, "insufficient_scope", NULL, "POST", "/patients/mine/pulls", "{}", key(LIMITED));
    expect_fault(404, "resource_not_found", "pull_id", "GET", "/patients/mine/pulls/nonsense", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/nobody/pulls", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "POST", "/patients/nobody/pulls", "{}", key(SANDBOX));
    json_decref(started);
    done(&other);
    done(&made);
}
END_TEST

START_TEST(a_pull_can_be_of_one_connection)
{
    struct made made = connected("one");
    char body[120], id[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_CONNECTION, made.connection.id.ulid, id);
    expect_fault(404, "resource_not_found", "connection_id", "POST", "/patients/one/pulls",
                 "{\"connection_id\":\"conn_01J9YQ8M2X4VZ6P2K5RH7M3KQT\"}", key(SANDBOX));
    expect_fault(404, "resource_not_found", "connection_id", "POST", "/patients/one/pulls", "{\"connection_id\":\"nonsense\"}", key(SANDBOX));
    (void)snprintf(body, sizeof body, "{\"connection_id\":\"%s\"}", id);
    json_t *started = expect(200, "POST", "/patients/one/pulls", body);
    ck_assert_str_eq(text_at(first_of(started), "patient_connection_id"), id);
    json_decref(started);
    (void)snprintf(body, sizeof body, "{\"connection_id\":\"%s\"}", api_source_ids[0]);
    expect_fault(409, "pull_in_progress", NULL, "POST", "/patients/one/pulls", body, key(SANDBOX)); /* the same by its source */
    cw_test_db_sql(&api_test, "UPDATE connection SET status = 4 WHERE patient = (SELECT id FROM patient WHERE patient_id = 'one')");
    expect_fault(409, "no_active_connection", NULL, "POST", "/patients/one/pulls", body, key(SANDBOX));
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"fresh\"}"));
    expect_fault(409, "no_active_connection", NULL, "POST", "/patients/fresh/pulls", "{}", key(SANDBOX));
    done(&made);
}
END_TEST

START_TEST(pulls_are_listed_newest_first)
{
    struct made made = connected("many");
    char last[64] = "", uri[200];
    for (int i = 0; i < 3; i++) {
        json_t *started = expect(200, "POST", "/patients/many/pulls", "{}");
        struct cw_job job;
        struct cw_pull_id pull;
        (void)snprintf(last, sizeof last, "%s", text_at(first_of(started), "id"));
        begin(last, &job, &pull);
        end(&job, pull);
        json_decref(started);
    }
    json_t *one = expect(200, "GET", "/patients/many/pulls?limit=2", NULL);
    ck_assert_str_eq(text_at(first_of(one), "id"), last);
    ck_assert(json_is_true(json_object_get(one, "has_more")));
    (void)snprintf(uri, sizeof uri, "/patients/many/pulls?limit=2&starting_after=%s", text_at(one, "next_cursor"));
    json_t *two = expect(200, "GET", uri, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(two, "data")), 1);
    ck_assert(json_is_null(json_object_get(two, "next_cursor")));
    ck_assert_str_ne(text_at(first_of(two), "id"), last);
    (void)snprintf(uri, sizeof uri, "/patients/many/documents?starting_after=%s", text_at(one, "next_cursor"));
    expect_fault(400, "invalid_data", "starting_after", "GET", uri, NULL, key(SANDBOX)); /* another list's */
    json_decref(one);
    json_decref(two);
    done(&made);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- documents */

struct storing {
    const struct made *made;
    const char *url;
    struct cw_span bytes;
};

static enum cw_code store_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct storing *storing = arg;
    struct cw_document_in in = { .endpoint = api_sandbox_endpoint, .url = cw_span_cstr(storing->url), .content_type = CW_SPAN("text/html"),
                                 .bytes = storing->bytes };
    return cw_document_store(db, &storing->made->key, storing->made->patient, &in, storing->made->arena, err);
}

static void store(const struct made *made, const char *url, struct cw_span bytes)
{
    struct cw_err err = { 0 };
    struct storing storing = { made, url, bytes };
    must(cw_tx_pool(api.model.pool, store_tx, &storing, &err), &err, "document");
}

START_TEST(documents_are_downloads)
{
    struct made made = connected("docs");
    size_t len = CW_DOCUMENT_CHUNK + 77;
    char *bytes = cw_arena_alloc(made.arena, len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)('!' + (i * 7 + i / 1000) % 90);
    }
    store(&made, "https://h.test/empty", CW_SPAN(""));
    store(&made, "https://h.test/big", cw_span_of(bytes, len));
    json_t *list = expect(200, "GET", "/patients/docs/documents?limit=1", NULL);
    ck_assert_str_eq(text_at(first_of(list), "content_type"), "text/html");
    ck_assert_str_eq(text_at(first_of(list), "connection_id"), api_source_ids[0]);
    ck_assert_int_eq(json_integer_value(json_object_get(first_of(list), "length")), (json_int_t)len);
    char uri[200];
    (void)snprintf(uri, sizeof uri, "/patients/docs/documents/%s", text_at(first_of(list), "id"));
    struct fcgi_answer answer = ask("GET", uri, NULL, key(SANDBOX));
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_nonnull(strstr(answer.head, "Content-Type: application/octet-stream"));
    ck_assert_ptr_nonnull(strstr(answer.head, "Content-Disposition: attachment; filename=\"doc_"));
    ck_assert_ptr_nonnull(strstr(answer.head, "X-Content-Type-Options: nosniff"));
    ck_assert_ptr_nonnull(strstr(answer.head, "Cache-Control: no-store"));
    ck_assert_uint_eq(answer.body_len, len);
    ck_assert_int_eq(memcmp(answer.body, bytes, len), 0);
    fcgi_answer_free(&answer);
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'documents.read' AND object IS NOT NULL"), 1);
    expect_fault(403, "insufficient_scope", NULL, "GET", uri, NULL, key(LIMITED));
    expect_fault(404, "resource_not_found", "id", "GET", uri, NULL, key(PRODUCTION));
    char next[300];
    (void)snprintf(next, sizeof next, "/patients/docs/documents?limit=1&starting_after=%s", text_at(list, "next_cursor"));
    json_t *rest = expect(200, "GET", next, NULL);
    (void)snprintf(uri, sizeof uri, "/patients/docs/documents/%s", text_at(first_of(rest), "id"));
    answer = ask("GET", uri, NULL, key(SANDBOX));
    ck_assert_int_eq(answer.status, 200);
    ck_assert_uint_eq(answer.body_len, 0);
    fcgi_answer_free(&answer);
    struct made other = connected("undocumented");
    (void)snprintf(next, sizeof next, "/patients/undocumented/documents/%s", text_at(first_of(rest), "id"));
    expect_fault(404, "resource_not_found", "document_id", "GET", next, NULL, key(SANDBOX));
    cw_test_db_sql(&api_test, "DELETE FROM document_chunk WHERE ordinal = 0"); /* what is damaged is never handed out */
    (void)snprintf(uri, sizeof uri, "/patients/docs/documents/%s", text_at(first_of(list), "id"));
    answer = ask("GET", uri, NULL, key(SANDBOX));
    ck_assert_int_eq(answer.status, 500);
    fcgi_answer_free(&answer);
    json_decref(list);
    json_decref(rest);
    done(&other);
    done(&made);
}
END_TEST

TCase *api_pulls_case(void)
{
    TCase *tc = tcase_create("pulls");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_pull_is_started_watched_and_proved);
    tcase_add_test(tc, pulls_of_others_are_not_there);
    tcase_add_test(tc, a_pull_can_be_of_one_connection);
    tcase_add_test(tc, pulls_are_listed_newest_first);
    tcase_add_test(tc, documents_are_downloads);
    return tc;
}
