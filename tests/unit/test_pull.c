/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs, pulls, pages and records against a real MariaDB: what commits together, what the fence refuses, what is stored once. */
#include "config.h"

#include "test_pull.h"

#include <check.h>
#include <stdio.h>

#include "base/jsonw.h"
#include "base/time.h"
#include "model/api_key.h"
#include "model/connection_int.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/pull.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

struct cw_test_db test;
struct cw_model m;
struct cw_arena *arena;
const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node/1" };

/* One connected patient, fresh for each test. */
static struct cw_org_id org;
struct cw_patient_row patient;
struct cw_connection connection;
struct cw_data_key key;
struct cw_pull_id pull;
struct cw_job job;

void must(enum cw_code rc, const struct cw_err *err)
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
    struct grant_put grant = { .access_token = CW_SPAN("access-1"),
                               .refresh_token = CW_SPAN("refresh-1"),
                               .obtained_us = cw_now_us(),
                               .expires_us = cw_now_us() + CW_HOUR_US };
    if (rc == CW_OK) {
        rc = grant_put(db, &key, connection.id, &grant, arena, err);
    }
    return rc == CW_OK ? cw_pull_start_in(&m, db, &connection, CW_PULL_CONNECTED, &pull, err) : rc;
}

static void claim_one(const char *owner)
{
    struct cw_err err = { 0 };
    size_t count = 0;
    must(cw_job_claim(&m, owner, 15 * CW_SECOND_US, 1, &job, &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    ck_assert(cw_ulid_eq(job.subject, pull.ulid));
}

void setup(void)
{
    static unsigned n;
    char name[32];
    struct cw_err err = { 0 };
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    cw_test_db_sql(&test, "DELETE FROM job");
    arena = cw_arena_new((size_t)32 * 1024 * 1024);
    must(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    must(cw_tx_pool(m.pool, connect_tx, NULL, &err), &err);
    claim_one("node/1");
}

void teardown(void)
{
    cw_data_key_wipe(&key);
    cw_arena_free(arena);
}

static struct cw_task_new searches[] = {
    { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .ordinal = 0, .url = CW_SPAN("https://h.test/fhir/Observation?patient=up-1") },
    { .kind = CW_TASK_SEARCH, .resource_type = "Goal", .ordinal = 1, .skip_code = "no_scope" },
};

void plan(void)
{
    struct cw_err err = { 0 };
    must(cw_pull_plan(&m, "node/1", &job, pull, CW_SPAN("[]"), searches, CW_ARRAY_LEN(searches), &err), &err);
}

struct cw_waiting waiting(void)
{
    struct cw_err err = { 0 };
    struct cw_pull full;
    struct cw_waiting ret;
    must(cw_pull_get(&m, pull, arena, &full, &err), &err);
    must(cw_pull_waiting(&m, &full, 100, arena, &ret, &err), &err);
    return ret;
}

struct cw_record_batch *batch_of(const char *const *bodies_of, const char *const *ids_of, size_t count)
{
    struct cw_err err = { 0 };
    struct cw_record_batch *batch;
    struct cw_record_target target = { .patient = patient,
                                       .endpoint = connection.endpoint,
                                       .connection = connection.id,
                                       .source = connection.source,
                                       .pull = pull };
    must(cw_record_batch_new(&target, &key, &batch, &err), &err);
    for (size_t i = 0; i < count; i++) {
        struct cw_record_in in = { .type = CW_SPAN("Observation"),
                                   .upstream_id = cw_span_cstr(ids_of[i]),
                                   .body = cw_span_cstr(bodies_of[i]) };
        must(cw_record_batch_add(batch, &in, &in.body, 1, &err), &err);
    }
    return batch;
}

enum cw_code commit(struct cw_record_batch *batch, const char *url, const char *next, const char *owner,
                           struct cw_page_result *ret)
{
    struct cw_err err = { 0 };
    struct cw_waiting tasks = waiting();
    ck_assert_uint_ge(tasks.count, 1);
    struct cw_page_commit page = { .owner = owner,
                                   .job = &job,
                                   .pull = pull,
                                   .task = tasks.tasks[0].id,
                                   .records = batch,
                                   .page_url = cw_span_cstr(url),
                                   .next_url = cw_span_cstr(next),
                                   .total = 3,
                                   .received = (unsigned)cw_record_batch_count(batch),
                                   .bytes = 100 };
    return cw_pull_commit_page(&m, &page, ret, &err);
}

const char *const bodies[] = { "{\"resourceType\":\"Observation\",\"id\":\"a\",\"v\":1.10}",
                                      "{\"resourceType\":\"Observation\",\"id\":\"b\"}",
                                      "{\"resourceType\":\"Observation\",\"id\":\"c\"}" };
const char *const ids[] = { "a", "b", "c" };

static size_t list(struct cw_record_filter filter, struct cw_record **ret, bool *ret_more)
{
    struct cw_err err = { 0 };
    size_t count;
    must(cw_record_list(&m, &actor, org, patient, &filter, arena, ret, &count, ret_more, &err), &err);
    return count;
}

START_TEST(a_page_is_stored_once)
{
    plan();
    struct cw_page_result result;
    struct cw_record_batch *batch = batch_of(bodies, ids, 3);
    ck_assert_int_eq(commit(batch, "https://h.test/1", "https://h.test/2", "node/1", &result), CW_OK);
    ck_assert_uint_eq(result.stored, 3);
    cw_record_batch_free(batch);

    /* The next page repeats one, changes one and brings a new one: only the last two are written. */
    static const char *const again[] = { "{\"resourceType\":\"Observation\",\"id\":\"a\",\"v\":1.10}",
                                         "{\"resourceType\":\"Observation\",\"id\":\"b\",\"changed\":true}",
                                         "{\"resourceType\":\"Observation\",\"id\":\"d\"}" };
    static const char *const again_ids[] = { "a", "b", "d" };
    batch = batch_of(again, again_ids, 3);
    ck_assert_int_eq(commit(batch, "https://h.test/2", NULL, "node/1", &result), CW_OK);
    ck_assert_uint_eq(result.stored, 2);
    ck_assert_uint_eq(result.unchanged, 1);
    cw_record_batch_free(batch);

    struct cw_record *records;
    bool more;
    ck_assert_uint_eq(list((struct cw_record_filter){ .limit = 10 }, &records, &more), 4);
    ck_assert(!more);
    static const char *const order[] = { "a", "c", "d", "b" }; /* new ones before changed ones */
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(cw_span_eq_cstr(records[i].upstream_id, order[i]), "row %zu", i);
    }
    ck_assert(cw_span_eq_cstr(records[0].body, bodies[0])); /* 1.10 stays 1.10 */
    ck_assert(cw_span_eq_cstr(records[3].body, again[1]));
    ck_assert_uint_eq(waiting().left, 0);
}
END_TEST

START_TEST(pages_walk_both_ways)
{
    plan();
    struct cw_page_result result;
    struct cw_record_batch *batch = batch_of(bodies, ids, 3);
    ck_assert_int_eq(commit(batch, "https://h.test/1", NULL, "node/1", &result), CW_OK);
    cw_record_batch_free(batch);
    struct cw_record *records;
    bool more;
    ck_assert_uint_eq(list((struct cw_record_filter){ .limit = 2 }, &records, &more), 2);
    ck_assert(more);
    uint64_t second = records[1].change_seq;
    ck_assert_uint_eq(list((struct cw_record_filter){ .limit = 2, .after_seq = second }, &records, &more), 1);
    ck_assert(!more);
    uint64_t third = records[0].change_seq;
    ck_assert_uint_eq(list((struct cw_record_filter){ .limit = 1, .before_seq = third }, &records, &more), 1);
    ck_assert(more);
    ck_assert_uint_eq(records[0].change_seq, second);
    struct cw_record_filter typed = { .limit = 5, .types = { CW_SPAN("Goal") }, .type_count = 1 };
    ck_assert_uint_eq(list(typed, &records, &more), 0);
    typed.types[1] = CW_SPAN("Observation");
    typed.type_count = 2;
    ck_assert_uint_eq(list(typed, &records, &more), 3);
    struct cw_record_filter later = { .limit = 5, .since_us = cw_now_us() + CW_MINUTE_US };
    ck_assert_uint_eq(list(later, &records, &more), 0);
    ck_assert_int_ge(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'records.read'"), 6);
}
END_TEST

START_TEST(a_lost_lease_changes_nothing)
{
    plan();
    struct cw_err err = { 0 };
    unsigned freed;
    must(cw_job_take_back(&m, "node/2", &freed, &err), &err);
    ck_assert_uint_eq(freed, 1);
    struct cw_job old = job;
    claim_one("other");
    struct cw_job now = job;
    ck_assert_uint_gt(now.fence, old.fence);
    job = old;
    struct cw_record_batch *batch = batch_of(bodies, ids, 3);
    struct cw_page_result result;
    ck_assert_int_eq(commit(batch, "https://h.test/1", NULL, "node/1", &result), CW_E_CONFLICT);
    ck_assert_int_eq(cw_job_renew(&m, "node/1", &old, CW_SECOND_US, &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_pull_end(&m, "node/1", &old, pull, &(struct cw_pull_ending){ .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{}") }, &err), CW_E_CONFLICT);
    struct cw_record *records;
    bool more;
    ck_assert_uint_eq(list((struct cw_record_filter){ .limit = 10 }, &records, &more), 0);
    job = now;
    ck_assert_int_eq(commit(batch, "https://h.test/1", NULL, "other", &result), CW_OK);
    ck_assert_uint_eq(result.stored, 3);
    cw_record_batch_free(batch);
}
END_TEST

START_TEST(a_next_that_comes_back_ends_the_search)
{
    plan();
    struct cw_page_result result;
    struct cw_record_batch *batch = batch_of(bodies, ids, 1);
    ck_assert_int_eq(commit(batch, "https://h.test/1", "https://h.test/2", "node/1", &result), CW_OK);
    ck_assert(!result.loop);
    ck_assert_int_eq(commit(batch, "https://h.test/2", "https://h.test/1", "node/1", &result), CW_OK);
    ck_assert(result.loop);
    cw_record_batch_free(batch);
    struct cw_err err = { 0 };
    struct cw_task *tasks;
    size_t count;
    must(cw_pull_tasks(&m, pull, arena, &tasks, &count, &err), &err);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(tasks[0].status, CW_TASK_FAILED);
    ck_assert(cw_span_eq_cstr(tasks[0].failure_code, "paging_loop"));
    ck_assert_int_eq(tasks[1].status, CW_TASK_SKIPPED);
    ck_assert(cw_span_eq_cstr(tasks[1].failure_code, "no_scope"));
}
END_TEST

START_TEST(failures_wait_restart_and_end)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_page_result result;
    struct cw_record_batch *batch = batch_of(bodies, ids, 1);
    ck_assert_int_eq(commit(batch, "https://h.test/1", "https://h.test/2", "node/1", &result), CW_OK);
    cw_record_batch_free(batch);
    struct cw_waiting tasks = waiting();
    ck_assert(cw_span_eq_cstr(tasks.tasks[0].url, "https://h.test/2"));
    ck_assert(!tasks.tasks[0].first_page);
    struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = tasks.tasks[0].id,
                                       .code = "rate_limited", .http_status = 429,
                                       .retry_at_us = cw_now_us() + CW_HOUR_US };
    must(cw_pull_task_failed(&m, &failure, &err), &err);
    tasks = waiting();
    ck_assert_uint_eq(tasks.count, 0);
    ck_assert_uint_eq(tasks.left, 1);
    ck_assert_int_gt(tasks.next_us, cw_now_us());
    failure.retry_at_us = cw_now_us() - CW_SECOND_US;
    failure.restart = true;
    must(cw_pull_task_failed(&m, &failure, &err), &err);
    tasks = waiting();
    ck_assert_uint_eq(tasks.count, 1);
    ck_assert(tasks.tasks[0].first_page);
    ck_assert_uint_eq(tasks.tasks[0].tries, 2);
    failure.retry_at_us = 0;
    must(cw_pull_task_failed(&m, &failure, &err), &err);
    ck_assert_uint_eq(waiting().left, 0);
}
END_TEST

/* Another task's answer said enough: no request is counted. */
START_TEST(what_is_not_asked_costs_no_request)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_task_failure failure = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id,
                                       .code = "access_withheld", .not_asked = true };
    must(cw_pull_task_failed(&m, &failure, &err), &err);
    struct cw_pull ended;
    struct cw_task *tasks;
    size_t count;
    must(cw_pull_get(&m, pull, arena, &ended, &err), &err);
    must(cw_pull_tasks(&m, pull, arena, &tasks, &count, &err), &err);
    ck_assert_uint_eq(ended.requests, 0);
    ck_assert_uint_eq(ended.errors, 1);
    ck_assert_uint_eq(tasks[0].tries, 0);
    ck_assert_int_eq(tasks[0].status, CW_TASK_FAILED);
}
END_TEST

static struct cw_record_batch *version_of(const char *body, int64_t updated_us, int64_t since_us)
{
    struct cw_err err = { 0 };
    struct cw_record_batch *batch;
    struct cw_record_target target = { .patient = patient, .endpoint = connection.endpoint, .connection = connection.id,
                                       .source = connection.source, .pull = pull, .since_us = since_us };
    must(cw_record_batch_new(&target, &key, &batch, &err), &err);
    struct cw_record_in in = { .type = CW_SPAN("Observation"), .upstream_id = CW_SPAN("v"), .body = cw_span_cstr(body),
                               .upstream_updated_us = updated_us };
    must(cw_record_batch_add(batch, &in, &in.body, 1, &err), &err);
    return batch;
}

/* Oracle shows the same resource on several pages, not always in the same version. */
START_TEST(an_older_version_on_a_later_page_is_passed_over)
{
    static const struct {
        const char *body;
        int64_t updated_s;
        bool this_pull;
        unsigned stored;
    } rows[] = {
        { "{\"v\":2}", 200, true, 1 },  { "{\"v\":1}", 100, true, 0 }, { "{\"v\":3}", 200, true, 1 }, { "{\"v\":4}", 300, true, 1 },
        { "{\"v\":5}", 0, true, 1 },    { "{\"v\":6}", 250, true, 1 }, { "{\"v\":7}", 100, false, 1 },
    };
    plan();
    int64_t began_us = cw_now_us() - CW_SECOND_US;
    char url[40], next[40];
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_page_result result;
        int64_t since_us = rows[i].this_pull ? began_us : cw_now_us() + CW_HOUR_US; /* what is there came long before */
        struct cw_record_batch *batch = version_of(rows[i].body, rows[i].updated_s * CW_SECOND_US, since_us);
        (void)snprintf(url, sizeof url, "https://h.test/%zu", i);
        (void)snprintf(next, sizeof next, "https://h.test/%zu", i + 1);
        ck_assert_int_eq(commit(batch, url, next, "node/1", &result), CW_OK);
        ck_assert_msg(result.stored == rows[i].stored, "row %zu", i);
        cw_record_batch_free(batch);
    }
}
END_TEST

/* Finds two documents in a page that names them from Observation "a": how many of them are to be fetched. */
static unsigned documents_wanted(const char *body, const char *url)
{
    struct cw_err err = { 0 };
    struct cw_page_result result;
    struct cw_waiting before = waiting();
    struct cw_record_batch *batch = batch_of(&body, ids, 1);
    const struct cw_task_new found[] = {
        { .kind = CW_TASK_DOCUMENT, .resource_type = "Binary", .ordinal = 100000, .url = CW_SPAN("https://h.test/fhir/Binary/b1"),
          .parent_type = CW_SPAN("Observation"), .parent_id = CW_SPAN("a"), .binary_id = CW_SPAN("b1") },
        { .kind = CW_TASK_DOCUMENT, .resource_type = "Binary", .ordinal = 100000, .url = CW_SPAN("https://h.test/file/2"),
          .parent_type = CW_SPAN("Observation"), .parent_id = CW_SPAN("a") },
    };
    struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = before.tasks[0].id, .records = batch,
                                   .page_url = cw_span_cstr(url), .next_url = CW_SPAN("https://h.test/next"), .total = -1,
                                   .endpoint = connection.endpoint, .found = found, .found_count = 2 };
    must(cw_pull_commit_page(&m, &page, &result, &err), &err);
    cw_record_batch_free(batch);
    unsigned wanted = waiting().left - before.left;
    cw_test_db_sql(&test, "DELETE FROM pull_task WHERE kind = 4");
    return wanted;
}

static enum cw_code store_document_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    (void)arg;
    struct cw_document_in in = { .endpoint = connection.endpoint, .url = CW_SPAN("https://h.test/file/2"), .bytes = CW_SPAN("%PDF") };
    return cw_document_store(db, &key, patient, &in, arena, err);
}

START_TEST(a_document_that_is_there_is_not_fetched_again)
{
    plan();
    struct cw_err err = { 0 };
    ck_assert_uint_eq(documents_wanted(bodies[0], "https://h.test/1"), 2); /* new */
    ck_assert_uint_eq(documents_wanted(bodies[0], "https://h.test/2"), 2); /* unchanged, but never got */
    must(cw_tx_pool(m.pool, store_document_tx, NULL, &err), &err);
    ck_assert_uint_eq(documents_wanted(bodies[0], "https://h.test/3"), 1);
    char sql[400];
    (void)snprintf(sql, sizeof sql, "INSERT INTO record SELECT UNHEX(MD5(id)), patient, endpoint, tenant_context, source, 'Binary', 'b1', 999,"
                   " content_hash, body_sealed, body_length, dictionary, key_version, upstream_updated_at, created_at, stored_at, vanished_at"
                   " FROM record ORDER BY created_at DESC LIMIT 1");
    cw_test_db_sql(&test, sql);
    ck_assert_uint_eq(documents_wanted(bodies[0], "https://h.test/4"), 0);
    ck_assert_uint_eq(documents_wanted("{\"resourceType\":\"Observation\",\"id\":\"a\",\"v\":2}", "https://h.test/5"), 2); /* changed */
    cw_test_db_sql(&test, "DELETE FROM record WHERE upstream_id = 'b1'");
}
END_TEST

/* A day's limit: the next pull waits for its day, and begins at once when an operator asks for it. */
START_TEST(the_next_pull_can_wait_for_another_day)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_pull_ending ending = { .status = CW_PULL_PARTIAL, .receipt_json = CW_SPAN("{}"), .again_us = cw_now_us() + CW_DAY_US };
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job WHERE ready_at > UTC_TIMESTAMP() + INTERVAL 23 HOUR"), 1);
    struct cw_pull *pulls;
    size_t count = 0;
    must(cw_pull_list(&m, patient, 10, arena, &pulls, &count, &err), &err);
    ck_assert_uint_eq(count, 1); /* what is planned is not listed before its time */
    ck_assert_int_eq(pulls[0].status, CW_PULL_PARTIAL);
    struct cw_job none;
    must(cw_job_claim(&m, "node/1", CW_SECOND_US, 1, &none, &count, &err), &err);
    ck_assert_uint_eq(count, 0);
    unsigned started = 0;
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &started, &err), &err);
    ck_assert_uint_eq(started, 1);
    must(cw_pull_list(&m, patient, 10, arena, &pulls, &count, &err), &err);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(pulls[0].trigger, CW_PULL_MANUAL);
    ck_assert_int_eq(pulls[0].mode, CW_PULL_FULL);
    ck_assert_int_eq(pulls[0].status, CW_PULL_WAITING);
    ck_assert(cw_ulid_eq(pulls[0].connection.ulid, connection.id.ulid) && cw_ulid_eq(pulls[0].endpoint.ulid, connection.endpoint.ulid));
    pull = pulls[0].id;
    claim_one("node/1");
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &started, &err), &err);
    ck_assert_uint_eq(started, 0); /* it runs */
}
END_TEST

START_TEST(a_merged_patient_is_asked_for_by_the_new_id)
{
    struct cw_err err = { 0 };
    struct cw_span upstream;
    must(cw_connection_merged(&m, &actor, connection.id, CW_SPAN("up-2"), &err), &err);
    must(cw_connection_upstream(&m, connection.id, arena, &upstream, &err), &err);
    ck_assert(cw_span_eq_cstr(upstream, "up-2"));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'connection.patient_merged'"), 1);
    ck_assert_int_eq(cw_connection_merged(&m, &actor, connection.id, CW_SPAN(""), &err), CW_E_RANGE);
    ck_assert_int_eq(cw_connection_merged(&m, &actor, (struct cw_connection_id){ cw_ulid_new() }, CW_SPAN("x"), &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(found_tasks_are_made_once)
{
    plan();
    struct cw_err err = { 0 };
    struct cw_record_batch *batch = batch_of(bodies, ids, 1);
    static const struct cw_task_new found[] = {
        { .kind = CW_TASK_REFERENCE, .resource_type = "Medication", .ordinal = 100000, .url = CW_SPAN("https://h.test/fhir/Medication/1") },
        { .kind = CW_TASK_REFERENCE, .resource_type = "Medication", .ordinal = 100000, .url = CW_SPAN("https://h.test/fhir/Medication/1") },
    };
    struct cw_page_commit page = { .owner = "node/1", .job = &job, .pull = pull, .task = waiting().tasks[0].id,
                                   .records = batch, .page_url = CW_SPAN("https://h.test/1"), .total = -1,
                                   .found = found, .found_count = 2 };
    struct cw_page_result result;
    must(cw_pull_commit_page(&m, &page, &result, &err), &err);
    cw_record_batch_free(batch);
    struct cw_waiting tasks = waiting();
    ck_assert_uint_eq(tasks.left, 1);
    ck_assert_int_eq(tasks.tasks[0].kind, CW_TASK_REFERENCE);
    ck_assert_int_eq(cw_pull_commit_page(&m, &page, &result, &err), CW_E_CONFLICT); /* that task has ended */
}
END_TEST

START_TEST(the_end_is_told_once)
{
    plan();
    struct cw_err err = { 0 };
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM event WHERE kind = %d", CW_EVENT_SYNC_COMPLETED);
    int64_t before = cw_test_db_number(&test, sql);
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{\"secret\":1}") };
    must(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), &err);
    ck_assert_int_eq(cw_pull_end(&m, "node/1", &job, pull, &ending, &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_test_db_number(&test, sql), before + 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job WHERE ready_at IS NULL OR ready_at <= UTC_TIMESTAMP()"), 0);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM pull WHERE receipt_sealed LIKE '%secret%'"), 0);
    unsigned count = 0;
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    must(cw_pull_start_patient(&m, &actor, org, CW_SPAN("user_42"), &count, &err), &err);
    ck_assert_uint_eq(count, 0); /* one waits already */
    ck_assert_int_eq(cw_pull_start_patient(&m, &actor, org, CW_SPAN("nobody"), &count, &err), CW_E_NOT_FOUND);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("pull");
    TCase *t = tcase_create("pull");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_page_is_stored_once);
    tcase_add_test(t, pages_walk_both_ways);
    tcase_add_test(t, a_lost_lease_changes_nothing);
    tcase_add_test(t, a_next_that_comes_back_ends_the_search);
    tcase_add_test(t, failures_wait_restart_and_end);
    tcase_add_test(t, found_tasks_are_made_once);
    tcase_add_test(t, what_is_not_asked_costs_no_request);
    tcase_add_test(t, an_older_version_on_a_later_page_is_passed_over);
    tcase_add_test(t, a_document_that_is_there_is_not_fetched_again);
    tcase_add_test(t, the_next_pull_can_wait_for_another_day);
    tcase_add_test(t, a_merged_patient_is_asked_for_by_the_new_id);
    tcase_add_test(t, the_end_is_told_once);
    suite_add_tcase(s, t);
    suite_add_tcase(s, tcase_found());
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
