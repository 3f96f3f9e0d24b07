/* SPDX-License-Identifier: Apache-2.0 */
/* Records over HTTP: served as sent, walked both ways, filtered; stored here as a pull stores them. And Sessions that reconnect. */
#include "config.h"

#include "test_api_http.h"

#include "model/keys.h"
#include "model/record.h"
#include "os/sys.h"

struct store {
    struct cw_record_batch *batch;
};

static enum cw_code store_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    unsigned stored;
    unsigned unchanged;
    return cw_record_store(db, ((struct store *)arg)->batch, &stored, &unchanged, err);
}

/* Stores resources as a pull would; each body is `{"resourceType":T,"id":I,…}`. */
static void store_records(const char *patient_id, const char *const (*records)[3], size_t count)
{
    struct cw_err err = { 0 };
    struct cw_arena *arena = cw_arena_new(1u << 20);
    struct cw_patient patient;
    must(cw_patient_get(&api.model, api_orgs[0], cw_span_cstr(patient_id), arena, &patient, &err), &err, "patient");
    struct cw_db *db = NULL;
    CW_AUTO_DATA_KEY data_key = { 0 };
    must(cw_db_get(api.model.pool, 1000, &db, &err), &err, "db");
    must(cw_patient_key(&api.model, db, patient.row, 0, &data_key, &err), &err, "key");
    cw_db_put(db);
    const struct cw_record_target target = {
        .patient = patient.row,
        .endpoint = api_sandbox_endpoint,
        .source = api_sandbox_source,
        .connection = { cw_ulid_new() },
        .pull = { cw_ulid_new() },
        .tenant_context = CW_SPAN(""),
    };
    struct store store = { NULL };
    must(cw_record_batch_new(&target, &data_key, &store.batch, &err), &err, "batch");
    for (size_t i = 0; i < count; i++) {
        struct cw_record_in in = {
            .type = cw_span_cstr(records[i][0]),
            .upstream_id = cw_span_cstr(records[i][1]),
            .body = cw_span_cstr(records[i][2]),
        };
        must(cw_record_batch_add(store.batch, &in, &in.body, 1, &err), &err, "add");
    }
    must(cw_tx_pool(api.model.pool, store_tx, &store, &err), &err, "store");
    cw_record_batch_free(store.batch);
    cw_arena_free(arena);
}

static const char *const five[][3] = {
    { "Patient", "p1",
      "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"identifier\":[{\"system\":\"urn:chartway:patient-id\",\"value\":\"someone else\"},"
      "{\"system\":\"urn:mrn\",\"value\":\"7\"}],\"multipleBirthInteger\":1.10}" },
    { "Observation", "o1", "{\"resourceType\":\"Observation\",\"id\":\"o1\", \"valueQuantity\":{\"value\":98.60}}" },
    { "Observation", "o2", "{\"resourceType\":\"Observation\",\"id\":\"o2\"}" },
    { "Condition", "c1", "{\"resourceType\":\"Condition\",\"id\":\"c1\"}" },
    { "Observation", "o3", "{\"resourceType\":\"Observation\",\"id\":\"o3\"}" },
};

START_TEST(records_as_sent)
{
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"rec\"}"));
    json_t *none = expect(200, "GET", "/patients/rec/records", NULL);
    ck_assert_str_eq(text_at(none, "patient_id"), "rec");
    ck_assert_uint_eq(json_array_size(json_object_get(none, "data")), 0);
    ck_assert(json_is_null(json_object_get(none, "next_cursor")) && json_is_null(json_object_get(none, "previous_cursor")));
    json_decref(none);
    store_records("rec", five, CW_ARRAY_LEN(five));
    int64_t audited = cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'records.read'");
    struct fcgi_answer raw = ask("GET", "/patients/rec/records", NULL, key(SANDBOX));
    ck_assert_int_eq(raw.status, 200);
    ck_assert_ptr_nonnull(strstr(raw.body, "{\"resourceType\":\"Observation\",\"id\":\"o1\", \"valueQuantity\":{\"value\":98.60}}"));
    ck_assert_ptr_nonnull(strstr(raw.body, "\"multipleBirthInteger\":1.10"));
    ck_assert_ptr_null(strstr(raw.body, "someone else"));
    json_t *list = json_loads(raw.body, 0, NULL);
    fcgi_answer_free(&raw);
    const json_t *data = json_object_get(list, "data");
    ck_assert_uint_eq(json_array_size(data), 5);
    ck_assert_str_eq(text_at(json_array_get(data, 0), "source"), api_source_ids[0]);
    for (size_t i = 0; i < 5; i++) {
        const json_t *identifiers = json_object_get(json_object_get(json_array_get(data, i), "resource"), "identifier");
        unsigned ours = 0;
        for (size_t k = 0; k < json_array_size(identifiers); k++) {
            const json_t *item = json_array_get(identifiers, k);
            ours += strcmp(text_at(item, "system"), "urn:chartway:patient-id") == 0 && strcmp(text_at(item, "value"), "rec") == 0;
        }
        bool patient = strcmp(text_at(json_object_get(json_array_get(data, i), "resource"), "resourceType"), "Patient") == 0;
        ck_assert_uint_eq(ours, patient ? 1 : 0);
        ck_assert(!patient || json_array_size(identifiers) == 2);
    }
    json_decref(list);
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM audit WHERE action = 'records.read'"), audited + 1);
}
END_TEST

static json_t *page_of(const char *base, const char *name, const char *cursor)
{
    char uri[512];
    snprintf(uri, sizeof uri, "%s&%s=%s", base, name, cursor);
    return expect(200, "GET", uri, NULL);
}

static const char *id_in(const json_t *list, size_t at)
{
    return text_at(json_object_get(json_array_get(json_object_get(list, "data"), at), "resource"), "id");
}

START_TEST(records_walk_both_ways)
{
    static const char base[] = "/patients/walk/records?count=2";
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"walk\"}"));
    store_records("walk", five, CW_ARRAY_LEN(five));
    json_t *one = expect(200, "GET", base, NULL);
    ck_assert(json_is_true(json_object_get(one, "has_more")));
    ck_assert(json_is_null(json_object_get(one, "previous_cursor")));
    ck_assert_uint_eq(strlen(text_at(one, "next_cursor")), 12);
    json_t *two = page_of(base, "starting_after", text_at(one, "next_cursor"));
    json_t *three = page_of(base, "starting_after", text_at(two, "next_cursor"));
    ck_assert_uint_eq(json_array_size(json_object_get(three, "data")), 1);
    ck_assert(json_is_false(json_object_get(three, "has_more")));
    ck_assert(json_is_null(json_object_get(three, "next_cursor")));
    json_t *back = page_of(base, "ending_before", text_at(three, "previous_cursor"));
    ck_assert(json_equal(json_object_get(back, "data"), json_object_get(two, "data")));
    ck_assert(json_is_true(json_object_get(back, "has_more")));
    json_t *first = page_of(base, "ending_before", text_at(back, "previous_cursor"));
    ck_assert(json_equal(json_object_get(first, "data"), json_object_get(one, "data")));
    ck_assert(json_is_false(json_object_get(first, "has_more")));
    ck_assert(json_is_null(json_object_get(first, "previous_cursor")));
    json_t *again = page_of(base, "starting_after", text_at(first, "next_cursor"));
    ck_assert(json_equal(json_object_get(again, "data"), json_object_get(two, "data")));

    char uri[256];
    snprintf(uri, sizeof uri, "%s&type=Observation&starting_after=%s", base, text_at(one, "next_cursor"));
    struct fcgi_answer answer = ask("GET", uri, NULL, key(SANDBOX)); /* 8 bits of check: one filter in 256 passes */
    ck_assert(answer.status == 400 || answer.status == 200);
    fcgi_answer_free(&answer);
    snprintf(uri, sizeof uri, "%s&ending_before=%s&starting_after=%s", base, text_at(one, "next_cursor"),
             text_at(one, "next_cursor"));
    expect_fault(400, "bad_request", "ending_before", "GET", uri, NULL, key(SANDBOX));
    expect_fault(400, "invalid_data", "starting_after", "GET", "/patients/walk/records?starting_after=short", NULL, key(SANDBOX));
    json_t *all[] = { one, two, three, back, first, again };
    for (size_t i = 0; i < CW_ARRAY_LEN(all); i++) {
        json_decref(all[i]);
    }
}
END_TEST

START_TEST(records_filters)
{
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"filter\"}"));
    store_records("filter", five, CW_ARRAY_LEN(five));
    json_t *list = expect(200, "GET", "/patients/filter/records?type=Observation,Condition&count=3", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 3);
    char uri[256];
    snprintf(uri, sizeof uri, "/patients/filter/records?type=Condition,Observation&count=3&starting_after=%s",
             text_at(list, "next_cursor"));
    json_decref(list);
    list = expect(200, "GET", uri, NULL); /* the order of types does not matter */
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    ck_assert_str_ne(id_in(list, 0), "p1");
    json_decref(list);
    list = expect(200, "GET", "/patients/filter/records?since=2999-01-01", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 0);
    json_decref(list);
    list = expect(200, "GET", "/patients/filter/records?since=2020-01-01T00:00:00%2B02:00", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 5);
    json_decref(list);
    expect_fault(400, "invalid_data", "since", "GET", "/patients/filter/records?since=yesterday", NULL, key(SANDBOX));
    expect_fault(400, "invalid_data", "type", "GET", "/patients/filter/records?type=observation", NULL, key(SANDBOX));
    expect_fault(400, "invalid_data", "count", "GET", "/patients/filter/records?count=0", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/filter/records", NULL, key(PRODUCTION));
}
END_TEST

/* A Patient that cannot carry our identifier is left out; the others come. */
START_TEST(records_leave_out_a_broken_patient)
{
    static const char *const broken[][3] = {
        { "Patient", "p1", "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"identifier\":\"text\"}" },
        { "Observation", "o1", "{\"resourceType\":\"Observation\",\"id\":\"o1\"}" },
    };
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"broken\"}"));
    store_records("broken", broken, CW_ARRAY_LEN(broken));
    json_t *list = expect(200, "GET", "/patients/broken/records", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "data")), 1);
    ck_assert_str_eq(id_in(list, 0), "o1");
    json_decref(list);
}
END_TEST

/* A connection of one patient, as it stands in its table. */
static void insert_connection(const char *patient_id, const char *hex)
{
    char sql[1024];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO connection (id, organization, patient, endpoint, source, registration, upstream_hash,"
                   " upstream_sealed, status, scopes, pinned, key_version, created_at, updated_at) SELECT x'%s', p.organization,"
                   " p.id, s.endpoint, s.id, p.id, RPAD(x'%s', 32, 'x'), '', 4, '', '{}', 1, NOW(3), NOW(3) FROM patient p"
                   " JOIN source s WHERE p.patient_id = '%s' AND s.name = 'Test Clinic' AND s.environment = 1", hex, hex, patient_id);
    cw_test_db_sql(&api_test, sql);
}

START_TEST(reconnect_sessions)
{
    static const struct cw_ulid mine = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
    static const struct cw_ulid hers = { { 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
    char id[CW_ID_TEXT_MAX], other[CW_ID_TEXT_MAX], body[512];
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"re\"}"));
    json_decref(expect(200, "POST", "/patients", "{\"patient_id\":\"re2\"}"));
    insert_connection("re", "0102030405060708090a0b0c0d0e0f10");
    insert_connection("re2", "0202030405060708090a0b0c0d0e0f10");
    cw_id_emit(CW_PREFIX_CONNECTION, mine, id);
    cw_id_emit(CW_PREFIX_CONNECTION, hers, other);
    (void)snprintf(body, sizeof body, "{\"patient_id\":\"re\",\"return_url\":\"https://a.example/\",\"reconnect_connection_id\":\"%s\"}", id);
    json_t *made = expect(200, "POST", "/patient-sessions", body);
    ck_assert_str_eq(text_at(made, "reconnect_connection_id"), id);
    ck_assert_str_eq(text_at(made, "connection_id"), api_source_ids[0]);
    ck_assert(json_is_null(json_object_get(made, "recommended_connection_ids")));
    char path[128];
    (void)snprintf(path, sizeof path, "/patient-sessions/%s", text_at(made, "id"));
    json_t *read = expect(200, "GET", path, NULL);
    ck_assert(json_equal(made, read));
    json_decref(read);
    json_decref(made);
    json_t *plain = expect(200, "POST", "/patient-sessions", "{\"patient_id\":\"re\",\"return_url\":\"https://a.example/\"}");
    ck_assert_ptr_null(json_object_get(plain, "reconnect_connection_id"));
    json_decref(plain);

    static const struct {
        int status;
        const char *code, *more;
    } rows[] = { { 404, "resource_not_found", "\"reconnect_connection_id\":\"conn_01J9YQ8M2X4VZ6P2K5RH7M3KQT\"" },
                 { 404, "resource_not_found", "\"reconnect_connection_id\":\"nonsense\"" },
                 { 404, "resource_not_found", "\"reconnect_connection_id\":\"OTHER\"" },
                 { 400, "invalid_data", "\"reconnect_connection_id\":7" },
                 { 400, "invalid_data", "\"reconnect_connection_id\":\"\"" },
                 { 400, "bad_request", "\"reconnect_connection_id\":\"MINE\",\"connection_id\":\"https://clinic.example/fhir\"" },
                 { 400, "bad_request", "\"reconnect_connection_id\":\"MINE\",\"recommended_connection_ids\":[]" } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const char *at = strstr(rows[i].more, "OTHER");
        const char *name = at != NULL ? other : id;
        at = at != NULL ? at : strstr(rows[i].more, "MINE");
        size_t head = at == NULL ? strlen(rows[i].more) : (size_t)(at - rows[i].more);
        size_t skip = at == NULL ? 0 : strncmp(at, "OTHER", 5) == 0 ? 5 : 4;
        (void)snprintf(body, sizeof body, "{\"patient_id\":\"re\",\"return_url\":\"https://a.example/\",%.*s%s%s}", (int)head, rows[i].more,
                       at == NULL ? "" : name, at == NULL ? "" : at + skip);
        expect_fault(rows[i].status, rows[i].code, "reconnect_connection_id", "POST", "/patient-sessions", body, key(SANDBOX));
    }
    /* A patient that does not exist yet has no connection; the other environment knows none of this. */
    (void)snprintf(body, sizeof body, "{\"patient_id\":\"re-new\",\"return_url\":\"https://app.example/\",\"reconnect_connection_id\":\"%s\"}", id);
    expect_fault(404, "resource_not_found", "reconnect_connection_id", "POST", "/patient-sessions", body, key(SANDBOX));
    expect_fault(404, "resource_not_found", "reconnect_connection_id", "POST", "/patient-sessions", body, key(PRODUCTION));
    ck_assert_int_eq(cw_test_db_number(&api_test, "SELECT COUNT(*) FROM patient WHERE patient_id = 're-new'"), 0);
}
END_TEST

TCase *api_records_case(void)
{
    TCase *tc = tcase_create("records");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, reconnect_sessions);
    tcase_add_test(tc, records_as_sent);
    tcase_add_test(tc, records_walk_both_ways);
    tcase_add_test(tc, records_filters);
    tcase_add_test(tc, records_leave_out_a_broken_patient);
    return tc;
}
