/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of letting go stand on; see test_letting_go.h. */
#include "config.h"

#include "tests/unit/test_letting_go.h"

#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "model/attempt.h"
#include "model/exchange.h"
#include "model/failure.h"
#include "model/keys.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"

struct cw_test_db lg_test;
struct cw_model lg_model;
struct cw_org_id lg_org;
struct cw_arena *lg_arena;
struct cw_err lg_err;
const struct cw_actor lg_actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

static struct cw_endpoint_id endpoint;
static struct cw_source_id source;
static struct cw_registration_id registration;

struct connecting {
    const char *patient_id, *upstream;
    struct lg_connection *ret;
};

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct connecting *c = arg;
    const struct cw_patient wanted = { .patient_id = cw_span_cstr(c->patient_id), .name = CW_SPAN("Jane"),
                                       .email = CW_SPAN("jane@example.com"), .metadata = CW_SPAN("{\"k\":1}") };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient;
    enum cw_code rc = cw_patient_upsert(&lg_model, db, lg_org, &wanted, lg_arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() }, .org = lg_org, .patient = patient, .endpoint = endpoint,
                                  .source = source, .registration = registration, .session = { cw_ulid_new() },
                                  .upstream_patient = cw_span_cstr(c->upstream), .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = CW_SPAN("{\"base\":\"https://h.test/fhir\",\"token_endpoint\":\"https://h.test/t\"}") };
    struct grant_put grant = { .access_token = CW_SPAN("access-canary"), .refresh_token = CW_SPAN("refresh-canary"),
                               .obtained_us = cw_now_us(), .expires_us = cw_now_us() + CW_HOUR_US };
    c->ret->connection = (struct cw_connection){ .org = lg_org, .patient = patient, .endpoint = endpoint, .source = source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, lg_arena, &c->ret->connection.id, err);
    }
    if (rc == CW_OK) {
        rc = grant_put(db, &key, c->ret->connection.id, &grant, lg_arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&lg_model, db, &c->ret->connection, CW_PULL_CONNECTED, &c->ret->pull, err) : rc;
}

static enum cw_code key_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct cw_patient_row *row = arg;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    return cw_patient_key(&lg_model, db, *row, 0, &key, err);
}

static struct cw_data_key key_of(struct cw_patient_row row)
{
    struct cw_data_key key = { .version = 0 };
    struct cw_db *db = NULL;
    OK(cw_tx_pool(lg_model.pool, key_tx, &row, &lg_err));
    OK(cw_db_get(lg_model.pool, 1000, &db, &lg_err));
    OK(cw_patient_key(&lg_model, db, row, 0, &key, &lg_err));
    cw_db_put(db);
    return key;
}

static struct cw_record_batch *batch_of(const struct lg_connection *c, const struct cw_data_key *key, const char *record)
{
    const struct cw_record_target target = { .patient = c->connection.patient, .endpoint = endpoint,
                                             .connection = c->connection.id, .source = source, .pull = c->pull };
    struct cw_record_batch *batch;
    OK(cw_record_batch_new(&target, key, &batch, &lg_err));
    const char *const ids[] = { "shared", record };
    for (size_t i = 0; i < CW_ARRAY_LEN(ids); i++) {
        struct cw_record_in in = { .type = CW_SPAN("Observation"), .upstream_id = cw_span_cstr(ids[i]),
                                   .body = CW_SPAN("{\"resourceType\":\"Observation\",\"valueString\":\"record-canary\"}") };
        OK(cw_record_batch_add(batch, &in, &in.body, 1, &lg_err));
    }
    return batch;
}

static enum cw_code commit(const struct lg_connection *c, const struct cw_data_key *key, const char *record, const char *document)
{
    struct cw_page_result result;
    const struct cw_document_in bytes = { .endpoint = endpoint, .url = cw_span_cstr(document), .bytes = CW_SPAN("document-canary") };
    struct cw_record_batch *batch = batch_of(c, key, record);
    struct cw_page_commit page = { .owner = "node/1", .job = &c->job, .pull = c->pull, .task = c->task,
                                   .records = batch, .page_url = cw_span_cstr(document), .total = -1, .received = 2,
                                   .next_url = CW_SPAN("https://h.test/next"), .bytes = 100,
                                   .document = document == NULL ? NULL : &bytes };
    page.page_url = document == NULL ? CW_SPAN("https://h.test/again") : page.page_url;
    enum cw_code rc = cw_pull_commit_page(&lg_model, &page, &result, &lg_err);
    cw_record_batch_free(batch);
    return rc;
}

enum cw_code lg_page(const struct lg_connection *connected, const char *record)
{
    CW_AUTO_DATA_KEY key = { .version = 1 }; /* what a scheduler has in hand outlives the row */
    memset(key.seal, 7, sizeof key.seal);
    return commit(connected, &key, record, NULL);
}

struct lg_connection lg_connect(const char *patient_id, const char *upstream)
{
    struct lg_connection ret = { .job = { .fence = 0 } };
    struct connecting c = { patient_id, upstream, &ret };
    size_t count = 0;
    char document[80];
    OK(cw_tx_pool(lg_model.pool, connect_tx, &c, &lg_err));
    OK(cw_job_claim(&lg_model, "node/1", CW_HOUR_US, 1, &ret.job, &count, &lg_err));
    ck_assert_uint_eq(count, 1);
    struct cw_task_new search = { .kind = CW_TASK_SEARCH, .resource_type = "Observation",
                                  .url = CW_SPAN("https://h.test/fhir/Observation") };
    OK(cw_pull_plan(&lg_model, "node/1", &ret.job, ret.pull, CW_SPAN("[]"), &search, 1, &lg_err));
    struct cw_pull pull;
    struct cw_waiting waiting;
    OK(cw_pull_get(&lg_model, ret.pull, lg_arena, &pull, &lg_err));
    OK(cw_pull_waiting(&lg_model, &pull, 10, lg_arena, &waiting, &lg_err));
    ck_assert_uint_eq(waiting.count, 1);
    ret.task = waiting.tasks[0].id;
    CW_AUTO_DATA_KEY key = key_of(ret.connection.patient);
    (void)snprintf(document, sizeof document, "https://h.test/fhir/Binary/%s", upstream);
    OK(commit(&ret, &key, upstream, document));
    const struct cw_exchange exchange = { .kind = "refresh", .method = "POST", .outcome = "busy", .status = 503, .host = "h.test" };
    OK(cw_exchange_of_connection(&lg_model, ret.connection.id, &exchange, &lg_err));
    return ret;
}

static struct cw_attempt_new attempt_of(const struct cw_session *session, uint8_t state)
{
    struct cw_attempt_new input = {
        .session = session->id, .source = source, .endpoint = endpoint, .registration = registration,
        .browser = CW_SPAN("cookie"), .verifier = CW_SPAN("verifier"), .nonce = CW_SPAN("nonce"),
        .redirect_uri = CW_SPAN("https://cw.test/callback/x"), .scopes_asked = CW_SPAN("patient/*.read"),
        .pinned = CW_SPAN("{}"), .language = CW_SPAN("en"), .state_expires_us = cw_now_us() + 900 * CW_SECOND_US,
        .consent_version = CW_SPAN("v1"),
    };
    cw_sha256(cw_span_of(&session->id, sizeof session->id), input.state_hash);
    input.state_hash[0] = state;
    return input;
}

struct cw_session lg_session(const char *patient_id)
{
    const struct cw_session_new input = { .patient = { .patient_id = cw_span_cstr(patient_id) },
                                          .return_url = CW_SPAN("https://app.test/back"),
                                          .metadata = CW_SPAN("{\"k\":1}"), .expires_in_s = 600 };
    struct cw_session session;
    struct cw_attempt_id id;
    OK(cw_session_create(&lg_model, &lg_actor, lg_org, &input, lg_arena, &session, &lg_err));
    struct cw_attempt_new failed = attempt_of(&session, 1), open = attempt_of(&session, 2);
    OK(cw_attempt_start(&lg_model, &lg_actor, &failed, &id, &lg_err));
    OK(cw_attempt_fail(&lg_model, &lg_actor, id, CW_FAIL_TOKEN_EXCHANGE, CW_SPAN("their words"), &lg_err));
    OK(cw_attempt_start(&lg_model, &lg_actor, &open, &id, &lg_err));
    return session;
}

struct cw_patient lg_patient(const char *patient_id)
{
    struct cw_patient patient;
    OK(cw_patient_get(&lg_model, lg_org, cw_span_cstr(patient_id), lg_arena, &patient, &lg_err));
    return patient;
}

void lg_setup(void)
{
    cw_test_db_init(&lg_test, true);
    lg_arena = cw_arena_new((size_t)256 * 1024 * 1024);
    OK(cw_model_init(&lg_model, lg_test.config, 6, &lg_err));
    OK(cw_org_create(&lg_model, &lg_actor, CW_SPAN("Clinic"), CW_ENV_SANDBOX, &lg_org, &lg_err));
    endpoint.ulid = cw_ulid_new();
    static const struct cw_span hosts[] = { CW_SPAN("h.test") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"), .client_id = CW_SPAN("app"),
                                      .method = CW_AUTH_BASIC, .hosts = hosts, .host_count = 1 };
    OK(cw_registration_add(&lg_model, &lg_actor, &wanted, CW_SPAN("client-canary"), &registration, &lg_err));
    OK(cw_registration_add(&lg_model, &lg_actor, &wanted, CW_SPAN("client-canary-2"), &registration, &lg_err));
    struct cw_source_row row = {
        .source = { .name = CW_SPAN("Hospital"), .vendor = CW_SPAN("default"), .base_url = CW_SPAN("https://h.test/fhir") },
        .normal_base = CW_SPAN("https://h.test/fhir"),
        .fhir_version = CW_SPAN("4.0.1"),
    };
    static const uint8_t hash[CW_HASH_LEN] = { 1 };
    struct cw_import_counts counts;
    OK(cw_source_import(&lg_model, &lg_actor, CW_ENV_SANDBOX, "test", hash, &row, 1, 1, &counts, &lg_err));
    struct cw_source found;
    OK(cw_source_resolve(&lg_model, CW_ENV_SANDBOX, CW_SPAN("https://h.test/fhir"), CW_SPAN("https://h.test/fhir"), lg_arena,
                         &found, &lg_err));
    source = found.id;
    endpoint = found.endpoint;
}

void lg_teardown(void)
{
    cw_clock_shift_us(0);
    cw_db_pool_free(lg_test.pool); /* what the model prepared is what shall be EXPLAINed */
    lg_test.pool = lg_model.pool;
    lg_model.pool = NULL;
    cw_model_release(&lg_model);
    cw_arena_free(lg_arena);
    cw_test_db_release(&lg_test);
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    return cw_check_main((Suite *[]){ lg_deletion_suite(), lg_sealed_suite(), lg_wiped_suite(), NULL });
}
