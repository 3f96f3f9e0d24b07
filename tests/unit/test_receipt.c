/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a pull, against a real MariaDB: counts that add up, the receipt's signature checked by OpenSSL alone with nothing but our key set,
 * the terminal event, progress that never falls, and documents on their way out.
 */
#include "config.h"

#include <check.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "model/connection_int.h"
#include "model/document_out.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/pull_progress.h"
#include "model/pull_receipt.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node/1" };

/* One connected patient with a pull in hand, fresh for each test. */
static struct cw_org_id org;
static struct cw_patient_row patient;
static struct cw_connection connection;
static struct cw_data_key key;
static struct cw_pull_id pull;
static struct cw_job job;

static void must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    (void)arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },
                                  .org = org,
                                  .patient = patient,
                                  .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },
                                  .registration = { cw_ulid_new() },
                                  .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = CW_SPAN("{}") };
    connection = (struct cw_connection){ .org = org, .patient = patient, .endpoint = put.endpoint, .source = put.source };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &connection.id, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&m, db, &connection, CW_PULL_CONNECTED, &pull, err) : rc;
}

static void setup(void)
{
    static unsigned n;
    char name[32];
    struct cw_err err = { 0 };
    size_t count = 0;
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    cw_test_db_sql(&test, "DELETE FROM job");
    arena = cw_arena_new((size_t)64 * 1024 * 1024);
    must(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    must(cw_tx_pool(m.pool, connect_tx, NULL, &err), &err);
    must(cw_job_claim(&m, "node/1", 15 * CW_SECOND_US, 1, &job, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
}

static void teardown(void)
{
    cw_data_key_wipe(&key);
    cw_arena_free(arena);
}

static struct cw_task_new searches[] = {
    { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .ordinal = 0, .url = CW_SPAN("https://h.test/fhir/Observation?patient=up-1") },
    { .kind = CW_TASK_SEARCH, .resource_type = "Goal", .ordinal = 1, .skip_code = "no_scope" },
};

static void plan(void)
{
    struct cw_err err = { 0 };
    must(cw_pull_plan(&m, "node/1", &job, pull, CW_SPAN("[]"), searches, CW_ARRAY_LEN(searches), &err), &err);
}

static struct cw_pull now(void)
{
    struct cw_err err = { 0 };
    struct cw_pull ret;
    must(cw_pull_get(&m, pull, arena, &ret, &err), &err);
    return ret;
}

static const struct cw_task *tasks(void)
{
    struct cw_err err = { 0 };
    struct cw_task *ret;
    size_t count;
    must(cw_pull_tasks(&m, pull, arena, &ret, &count, &err), &err);
    return ret;
}

/* ---------------------------------------------------------------------------------------------- counts */

static void page(const char *const *bodies, const char *const *ids, size_t count, const char *next, unsigned requests)
{
    static unsigned n;
    struct cw_err err = { 0 };
    struct cw_record_batch *batch;
    struct cw_record_target target = { .patient = patient, .endpoint = connection.endpoint, .connection = connection.id,
                                       .source = connection.source, .pull = pull };
    must(cw_record_batch_new(&target, &key, &batch, &err), &err);
    for (size_t i = 0; i < count; i++) {
        struct cw_record_in in = { .type = CW_SPAN("Observation"), .upstream_id = cw_span_cstr(ids[i]), .body = cw_span_cstr(bodies[i]) };
        must(cw_record_batch_add(batch, &in, &in.body, 1, &err), &err);
    }
    char url[64];
    (void)snprintf(url, sizeof url, "https://h.test/%u", n++);
    struct cw_page_commit commit = { .owner = "node/1", .job = &job, .pull = pull, .task = tasks()[0].id, .records = batch,
                                     .page_url = cw_span_cstr(url), .next_url = cw_span_cstr(next), .total = 3,
                                     .received = (unsigned)count, .requests = requests, .bytes = 100 };
    struct cw_page_result result;
    must(cw_pull_commit_page(&m, &commit, &result, &err), &err);
    cw_record_batch_free(batch);
}

START_TEST(every_request_is_counted_once)
{
    static const char *const bodies[] = { "{\"resourceType\":\"Observation\",\"id\":\"a\"}", "{\"resourceType\":\"Observation\",\"id\":\"b\"}" };
    static const char *const ids[] = { "a", "b" };
    static const char *const changed[] = { "{\"resourceType\":\"Observation\",\"id\":\"a\"}", "{\"resourceType\":\"Observation\",\"id\":\"b\",\"v\":2}" };
    plan();
    struct cw_err err = { 0 };
    page(bodies, ids, 2, "https://h.test/next", 3); /* a stale token and a redirect before it */
    struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = tasks()[0].id, .code = "timeout",
                                       .requests = 2, .retry_at_us = cw_now_us() };
    must(cw_pull_task_failed(&m, &failure, &err), &err);
    page(changed, ids, 2, NULL, 1);
    const struct cw_task *task = tasks();
    ck_assert_uint_eq(task->requests, 6);
    ck_assert_uint_eq(task->pages, 2);
    ck_assert_uint_eq(task->tries, 0);
    ck_assert_uint_eq(task->stored, 3);
    ck_assert_uint_eq(task->created, 2);
    ck_assert_uint_eq(task->unchanged, 1);
    ck_assert_uint_eq(now().requests, 6);
}
END_TEST

static void insert_attempt(char id, int status, const char *asked)
{
    char sql[1000];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO attempt (id, session, organization, patient, source, endpoint, connection, status, state_expires_at, browser_hash,"
                   " scopes_asked, key_version, language, started_at) SELECT CONCAT(SUBSTR(id, 1, 15), '%c'), id, organization, patient, source,"
                   " endpoint, id, %d, NOW(3), RPAD('', 32, 'x'), '%s', 1, 'en', NOW(3) FROM connection ORDER BY created_at DESC, id DESC LIMIT 1",
                   id, status, asked);
    cw_test_db_sql(&test, sql);
}

START_TEST(what_was_asked_is_of_the_attempt_that_connected)
{
    struct cw_err err = { 0 };
    struct cw_span asked = CW_SPAN("untouched");
    must(cw_pull_scopes_asked(&m, patient, connection.id, arena, &asked, &err), &err);
    ck_assert_ptr_null(asked.ptr);
    insert_attempt('1', 3, "first");
    insert_attempt('2', 3, "second");
    insert_attempt('3', 4, "refused");
    must(cw_pull_scopes_asked(&m, patient, connection.id, arena, &asked, &err), &err);
    ck_assert(cw_span_eq_cstr(asked, "second"));
}
END_TEST

/* ---------------------------------------------------------------------------------------------- the signature */

#define RECEIPT "{\"version\":1,\"canary\":\"Tonsillectomy\"}"

static void end_with(const char *receipt)
{
    struct cw_err err = { 0 };
    CW_AUTO_STR jws;
    char sha256[CW_SHA256_TEXT];
    cw_str_init(&jws, CW_TOKEN_MAX);
    must(cw_pull_receipt_sign(&m, pull, cw_span_cstr(receipt), &jws, &err), &err);
    cw_pull_receipt_hash(cw_span_cstr(receipt), sha256);
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = cw_span_cstr(receipt), .receipt_jws = cw_str_span(&jws),
                                     .receipt_sha256 = sha256, .types_json = CW_SPAN("[{\"type\":\"Observation\",\"received\":2}]") };
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
}

static struct cw_span decoded(struct cw_span text)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 4096);
    ck_assert_int_eq(cw_base64url_decode(text, &out), CW_OK);
    return cw_arena_span(arena, cw_str_span(&out));
}

/* The public key with this kid in our key set, made by OpenSSL from its two numbers. */
static EVP_PKEY *published(const char *kid)
{
    struct cw_err err = { 0 };
    CW_AUTO_STR text;
    cw_str_init(&text, CW_JWKS_MAX);
    must(cw_signing_jwks(&m, &text, &err), &err);
    json_t *set = json_loads(cw_str_cstr(&text), 0, NULL);
    const json_t *keys = json_object_get(set, "keys");
    EVP_PKEY *ret = NULL;
    for (size_t i = 0; i < json_array_size(keys) && ret == NULL; i++) {
        const json_t *jwk = json_array_get(keys, i);
        if (strcmp(json_string_value(json_object_get(jwk, "kid")), kid) != 0) {
            continue;
        }
        uint8_t point[97] = { 4 };
        struct cw_span x = decoded(cw_json_peek_text(jwk, "x")), y = decoded(cw_json_peek_text(jwk, "y"));
        ck_assert(x.len == 48 && y.len == 48);
        memcpy(point + 1, x.ptr, 48);
        memcpy(point + 49, y.ptr, 48);
        OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){ "P-384" }, 0),
                                OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point), OSSL_PARAM_construct_end() };
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        ck_assert(EVP_PKEY_fromdata_init(context) == 1 && EVP_PKEY_fromdata(context, &ret, EVP_PKEY_PUBLIC_KEY, params) == 1);
        EVP_PKEY_CTX_free(context);
    }
    json_decref(set);
    return ret;
}

/* As somebody would who has never seen this program: header, key by kid, ECDSA over SHA-384, r and s side by side (RFC 7518 3.4). */
static bool good_elsewhere(struct cw_span jws)
{
    struct cw_span rest = jws, header, claims;
    ck_assert(cw_span_cut(&rest, '.', &header) && cw_span_cut(&rest, '.', &claims));
    struct cw_span raw = decoded(rest), text = decoded(header);
    json_t *json = json_loadb(text.ptr, text.len, 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json, "typ")), "pull-receipt+jws");
    ck_assert_str_eq(json_string_value(json_object_get(json, "alg")), "ES384");
    EVP_PKEY *public = published(json_string_value(json_object_get(json, "kid")));
    json_decref(json);
    if (public == NULL) {
        return false;
    }
    ck_assert_uint_eq(raw.len, 96);
    ECDSA_SIG *signature = ECDSA_SIG_new();
    const uint8_t *bytes = (const uint8_t *)raw.ptr;
    ECDSA_SIG_set0(signature, BN_bin2bn(bytes, 48, NULL), BN_bin2bn(bytes + 48, 48, NULL));
    unsigned char *der = NULL;
    int len = i2d_ECDSA_SIG(signature, &der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit(context, NULL, EVP_sha384(), NULL, public) == 1 &&
                EVP_DigestVerify(context, der, (size_t)len, (const uint8_t *)jws.ptr, header.len + 1 + claims.len) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ECDSA_SIG_free(signature);
    EVP_PKEY_free(public);
    return good;
}

static struct cw_pull_receipt read_receipt(void)
{
    struct cw_err err = { 0 };
    struct cw_pull_receipt receipt;
    must(cw_pull_receipt_get(&m, pull, arena, &receipt, &err), &err);
    return receipt;
}

START_TEST(a_receipt_is_checked_with_the_key_set_alone)
{
    struct cw_err err = { 0 };
    struct cw_pull_receipt receipt;
    plan();
    ck_assert_int_eq(cw_pull_receipt_get(&m, pull, arena, &receipt, &err), CW_E_NOT_FOUND); /* it runs */
    end_with(RECEIPT);
    receipt = read_receipt();
    ck_assert(cw_span_eq_cstr(receipt.json, RECEIPT));
    ck_assert(good_elsewhere(receipt.signature));
    struct cw_span rest = receipt.signature, header, claims;
    ck_assert(cw_span_cut(&rest, '.', &header) && cw_span_cut(&rest, '.', &claims));
    struct cw_span text = decoded(claims);
    ck_assert_uint_lt(cw_span_find_span(text, cw_span_cstr(receipt.sha256)), text.len);
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR hex;
    cw_str_init(&hex, 2 * sizeof hash);
    ck_assert_int_eq(EVP_Digest(RECEIPT, strlen(RECEIPT), hash, NULL, EVP_sha256(), NULL), 1);
    ck_assert_int_eq(cw_hex_encode(cw_span_of(hash, sizeof hash), &hex), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&hex), receipt.sha256);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM pull WHERE receipt_sealed LIKE '%Tonsillectomy%'"), 0);
    ck_assert_int_eq(cw_pull_receipt_get(&m, (struct cw_pull_id){ cw_ulid_new() }, arena, &receipt, &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(another_receipt_does_not_pass)
{
    struct cw_err err = { 0 };
    struct cw_receipt_check check;
    plan();
    end_with(RECEIPT);
    struct cw_pull_receipt receipt = read_receipt(), other = receipt;
    must(cw_pull_receipt_verify(&m, &receipt, arena, &check, &err), &err);
    ck_assert_int_eq(check.stage, CW_SIGNING_CURRENT);
    ck_assert_int_le(llabs(check.signed_us - cw_now_us()), CW_MINUTE_US);
    other.json = CW_SPAN("{\"version\":1}");
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_AUTH);
    other = receipt;
    other.id.ulid = cw_ulid_new();
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_AUTH);
    other = receipt;
    char *forged = cw_arena_text(arena, receipt.signature);
    forged[receipt.signature.len - 5] = forged[receipt.signature.len - 5] == 'A' ? 'B' : 'A';
    other.signature = cw_span_cstr(forged);
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_AUTH);
    /* The same claims by the same key, as another kind of token. */
    struct cw_span rest = receipt.signature, header, claims;
    ck_assert(cw_span_cut(&rest, '.', &header) && cw_span_cut(&rest, '.', &claims));
    struct cw_signing_key *signer = NULL;
    CW_AUTO_STR jwt;
    cw_str_init(&jwt, CW_TOKEN_MAX);
    must(cw_signing_key_current(&m, CW_ALG_ES384, &signer, &err), &err);
    must(cw_jws_sign(signer, decoded(claims), &jwt, &err), &err);
    cw_signing_key_free(signer);
    other.signature = cw_str_span(&jwt);
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_AUTH);
    other.signature = (struct cw_span){ NULL, 0 };
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_MISSING);
    other.signature = CW_SPAN("nonsense");
    ck_assert_int_eq(cw_pull_receipt_verify(&m, &other, arena, &check, &err), CW_E_AUTH);
}
END_TEST

START_TEST(a_retired_key_is_still_known_here)
{
    struct cw_err err = { 0 };
    struct cw_signing_walked walked;
    struct cw_receipt_check check;
    plan();
    end_with(RECEIPT);
    struct cw_pull_receipt receipt = read_receipt();
    must(cw_signing_rotate(&m, &actor, CW_ALG_ES384, true, &walked, &err), &err);
    ck_assert_int_eq(walked.step, CW_SIGNING_REPLACED);
    must(cw_pull_receipt_verify(&m, &receipt, arena, &check, &err), &err);
    ck_assert_int_eq(check.stage, CW_SIGNING_RETIRED);
    ck_assert(!good_elsewhere(receipt.signature)); /* the key set does not show it any more */
}
END_TEST

START_TEST(a_receipt_from_before_is_read_unsigned)
{
    struct cw_err err = { 0 };
    plan();
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{\"status\":\"complete\"}") };
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
    struct cw_pull_receipt receipt = read_receipt();
    ck_assert(cw_span_eq_cstr(receipt.json, "{\"status\":\"complete\"}"));
    ck_assert_ptr_null(receipt.signature.ptr);
}
END_TEST

START_TEST(the_event_tells_types_and_hash)
{
    struct cw_err err = { 0 };
    static const struct cw_query q = { .name = "test.event", .params = "b", .columns = "bb",
                                       .sql = "SELECT id, payload_sealed FROM event WHERE patient = ? AND kind IN (3, 4) LIMIT 10" };
    plan();
    end_with(RECEIPT);
    struct cw_db *db;
    struct cw_rows rows;
    struct cw_value params[] = { cw_v_id(&patient.ulid) };
    must(cw_db_get(m.pool, 1000, &db, &err), &err);
    must(cw_db_select(db, &q, params, arena, &rows, &err), &err);
    cw_db_put(db);
    ck_assert_uint_eq(rows.count, 1);
    struct cw_event_id id = { cw_value_id(&cw_row(&rows, 0)[0]) };
    struct cw_span payload;
    must(cw_cell_unseal(&key, CW_AAD("event.payload", id), &cw_row(&rows, 0)[1], arena, &payload, &err), &err);
    json_t *json = json_loadb(payload.ptr, payload.len, 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json, "receipt_sha256")), read_receipt().sha256);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "types")), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json, "status")), "complete");
    json_decref(json);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- progress */

static unsigned percent_of(const struct cw_task *some, size_t count, const struct cw_progress_past *past, size_t past_count,
                           uint64_t *ret_expected)
{
    struct cw_err err = { 0 };
    struct cw_progress progress;
    must(cw_progress_reckon(some, count, past, past_count, arena, &progress, &err), &err);
    *ret_expected = progress.pages_expected;
    return progress.percent;
}

START_TEST(pages_to_come_are_reckoned)
{
    const struct cw_progress_past past[] = { { CW_SPAN("Observation"), 40 }, { CW_SPAN("Goal"), 1 } };
    static const struct {
        struct cw_task task;
        uint64_t expected, with_past;
    } rows[] = {
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_WAITING, .total = -1 }, 1, 40 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_WAITING, .total = -1, .pages = 3, .received = 60 }, 4, 40 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_WAITING, .total = 101, .pages = 1, .received = 20 }, 6, 6 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_WAITING, .total = 101 }, 3, 3 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_WAITING, .total = 10, .pages = 5, .received = 50 }, 6, 6 }, /* a total that is wrong */
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_DONE, .total = 100, .pages = 2, .received = 100 }, 2, 2 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_FAILED, .total = 100, .pages = 1 }, 1, 1 },
        { { .kind = CW_TASK_SEARCH, .status = CW_TASK_SKIPPED, .total = -1 }, 0, 0 },
        { { .kind = CW_TASK_DOCUMENT, .status = CW_TASK_WAITING, .total = -1 }, 1, 1 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_task task = rows[i].task;
        task.resource_type = CW_SPAN("Observation");
        uint64_t expected;
        (void)percent_of(&task, 1, NULL, 0, &expected);
        ck_assert_msg(expected == rows[i].expected, "row %zu: %llu", i, (unsigned long long)expected);
        (void)percent_of(&task, 1, past, CW_ARRAY_LEN(past), &expected);
        ck_assert_msg(expected == rows[i].with_past, "row %zu with the past: %llu", i, (unsigned long long)expected);
    }
    uint64_t expected;
    ck_assert_uint_eq(percent_of(NULL, 0, NULL, 0, &expected), 0);
}
END_TEST

static struct cw_progress look(void)
{
    struct cw_err err = { 0 };
    struct cw_pull full = now();
    struct cw_progress ret;
    must(cw_pull_progress(&m, &full, arena, &ret, &err), &err);
    return ret;
}

/* Random pages, ends, and tasks found on the way: what is told goes up only, whatever is reckoned. */
START_TEST(progress_never_falls)
{
    unsigned told = 0, fell = 0;
    ck_assert_uint_eq(look().percent, 0);
    plan();
    srandom(4711); /* the same walk each time */
    for (int step = 0; step < 150; step++) {
        char sql[600];
        long what = random() % 4;
        if (what == 0) {
            (void)snprintf(sql, sizeof sql, "INSERT INTO pull_task (id, pull, kind, status, resource_type, ordinal, target_hash, url_sealed, key_version,"
                           " ready_at, updated_at) SELECT UNHEX(MD5('%d')), pull, %d, 1, '%s', 9, RPAD('%d', 32, 'x'), '', 1, NOW(3), NOW(3) FROM pull_task"
                           " ORDER BY id DESC LIMIT 1", step, step % 2 == 0 ? 2 : 3, step % 3 == 0 ? "Medication" : "Condition", step);
        } else {
            (void)snprintf(sql, sizeof sql, "UPDATE pull_task SET pages = pages + 1, received = received + 9, total = %s, status = %d WHERE status = 1"
                           " ORDER BY id LIMIT %ld", what == 1 ? "500" : "total", what == 3 ? 2 : 1, what);
        }
        cw_test_db_sql(&test, sql);
        struct cw_progress progress = look();
        uint64_t expected;
        struct cw_err err = { 0 };
        struct cw_task *all;
        size_t count;
        must(cw_pull_tasks(&m, pull, arena, &all, &count, &err), &err);
        fell += percent_of(all, count, NULL, 0, &expected) < told;
        ck_assert_msg(progress.percent >= told && progress.percent <= 99, "step %d: %u after %u", step, progress.percent, told);
        ck_assert_uint_ge(progress.pages_expected, progress.pages);
        told = progress.percent;
    }
    ck_assert_uint_gt(told, 0);
    ck_assert_uint_gt(fell, 0); /* the walk did try */
    end_with(RECEIPT);
    ck_assert_uint_eq(look().percent, 100);
}
END_TEST

START_TEST(the_end_is_foreseen_by_the_rate)
{
    plan();
    ck_assert_int_eq(look().eta_us, 0); /* no page yet */
    cw_test_db_sql(&test, "UPDATE pull_task SET pages = 10, received = 100, total = 300 WHERE status = 1");
    cw_test_db_sql(&test, "UPDATE pull SET progress_at = UTC_TIMESTAMP(3) - INTERVAL 10 SECOND WHERE progress_at IS NOT NULL");
    int64_t left_us = look().eta_us - cw_now_us(); /* a page a second, twenty to go */
    ck_assert_int_ge(left_us, 15 * CW_SECOND_US);
    ck_assert_int_le(left_us, 25 * CW_SECOND_US);
    cw_test_db_sql(&test, "UPDATE pull_task SET ready_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR WHERE status = 1");
    ck_assert_int_ge(look().eta_us - cw_now_us(), 59 * CW_MINUTE_US); /* the server said when to come again */
    cw_test_db_sql(&test, "UPDATE pull SET progress_at = UTC_TIMESTAMP(3) - INTERVAL 2 MINUTE WHERE progress_at IS NOT NULL");
    (void)look();
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM pull WHERE progress_pages = 10 AND progress_at > UTC_TIMESTAMP() - INTERVAL 1 MINUTE"), 1);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- documents */

static struct cw_str content;

static enum cw_code store_document_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const char *url = arg;
    struct cw_document_in in = { .endpoint = connection.endpoint, .url = cw_span_cstr(url), .content_type = CW_SPAN("application/pdf"),
                                 .bytes = cw_str_span(&content) };
    return cw_document_store(db, &key, patient, &in, arena, err);
}

static void store_document(const char *url, size_t len, char fill)
{
    struct cw_err err = { 0 };
    cw_str_init(&content, CW_DOCUMENT_MAX);
    for (size_t i = 0; i < len; i++) {
        ck_assert_int_eq(cw_str_add_char(&content, (char)(fill + (char)(i % 7))), CW_OK);
    }
    must(cw_tx_pool(m.pool, store_document_tx, (void *)(uintptr_t)url, &err), &err);
}

START_TEST(a_document_comes_out_in_pieces)
{
    struct cw_err err = { 0 };
    struct cw_document *list, document;
    size_t count;
    store_document("https://h.test/1", CW_DOCUMENT_CHUNK + 10, 'a');
    struct cw_str first = content;
    store_document("https://h.test/2", 0, 'a');
    cw_str_release(&content);
    must(cw_document_list(&m, patient, (struct cw_ulid){ 0 }, 10, arena, &list, &count, &err), &err);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(list[0].length, 0);
    ck_assert_uint_eq(list[1].length, CW_DOCUMENT_CHUNK + 10);
    ck_assert(cw_span_eq_cstr(list[1].content_type, "application/pdf"));
    ck_assert(cw_ulid_eq(list[1].source.ulid, connection.source.ulid));
    struct cw_document_id id = list[1].id;
    must(cw_document_list(&m, patient, list[0].id.ulid, 10, arena, &list, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    must(cw_document_open(&m, &actor, org, patient, id, arena, &document, &err), &err);
    CW_AUTO_STR out;
    cw_str_init(&out, CW_DOCUMENT_MAX);
    must(cw_document_piece(&m, patient, &document, 0, &out, &err), &err);
    ck_assert_uint_eq(out.len, CW_DOCUMENT_CHUNK);
    must(cw_document_piece(&m, patient, &document, 1, &out, &err), &err);
    ck_assert(cw_span_eq(cw_str_span(&out), cw_str_span(&first)));
    cw_str_release(&first);
    ck_assert_int_eq(cw_document_piece(&m, patient, &document, 2, &out, &err), CW_E_AUTH);
    ck_assert_int_eq(cw_document_open(&m, &actor, org, (struct cw_patient_row){ cw_ulid_new() }, id, arena, &document, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'documents.read'"), 1);
    /* Replaced while somebody reads: no mixture of two documents. */
    store_document("https://h.test/1", CW_DOCUMENT_CHUNK + 10, 'b');
    cw_str_release(&content);
    ck_assert_int_eq(cw_document_piece(&m, patient, &document, 1, &out, &err), CW_E_CONFLICT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("receipt");
    TCase *t = tcase_create("receipt");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_request_is_counted_once);
    tcase_add_test(t, what_was_asked_is_of_the_attempt_that_connected);
    tcase_add_test(t, a_receipt_is_checked_with_the_key_set_alone);
    tcase_add_test(t, another_receipt_does_not_pass);
    tcase_add_test(t, a_retired_key_is_still_known_here);
    tcase_add_test(t, a_receipt_from_before_is_read_unsigned);
    tcase_add_test(t, the_event_tells_types_and_hash);
    tcase_add_test(t, pages_to_come_are_reckoned);
    tcase_add_test(t, progress_never_falls);
    tcase_add_test(t, the_end_is_foreseen_by_the_rate);
    tcase_add_test(t, a_document_comes_out_in_pieces);
    suite_add_tcase(s, t);
    return s;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    struct cw_err err = { 0 };
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    if (cw_vault_new(test.config, &m.vault, &err) != CW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { suite(), NULL };
    int rc = cw_check_main(suites);
    cw_vault_free(m.vault);
    cw_test_db_release(&test);
    return rc;
}
