/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE of a patient and of a connection, from outside. */
#include "config.h"

#include "test_api_http.h"

#include "base/time.h"
#include "model/connection_int.h"
#include "model/keys.h"
#include "os/sys.h"

struct connecting {
    const char *patient_id, *pinned;
    struct cw_connection_id id;
    struct cw_arena *arena;
};

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct connecting *c = arg;
    struct cw_patient wanted = { .patient_id = cw_span_cstr(c->patient_id), .name = CW_SPAN("Jo") };
    struct cw_patient_row patient;
    CW_AUTO_DATA_KEY patient_key = { .version = 0 };
    struct connection_put put = { .id = { cw_ulid_new() }, .org = api_orgs[SANDBOX], .endpoint = api_sandbox_endpoint,
                                  .source = api_sandbox_source, .registration = { cw_ulid_new() }, .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up"), .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = cw_span_cstr(c->pinned) };
    struct grant_put grant = { .access_token = CW_SPAN("a"), .refresh_token = CW_SPAN("r"), .obtained_us = cw_now_us(),
                               .expires_us = cw_now_us() + CW_HOUR_US };
    enum cw_code rc = cw_patient_upsert(&api.model, db, api_orgs[SANDBOX], &wanted, c->arena, &patient, &patient_key, err);
    put.patient = patient;
    if (rc == CW_OK) {
        rc = connection_put(db, &patient_key, &put, c->arena, &c->id, err);
    }
    return rc == CW_OK ? grant_put(db, &patient_key, c->id, &grant, c->arena, err) : rc;
}

/* Connects a patient; the path of the connection is *ret_path. */
static void connect_patient(const char *patient_id, const char *pinned, char ret_path[160])
{
    struct cw_err err = { 0 };
    struct connecting c = { .patient_id = patient_id, .pinned = pinned, .arena = cw_arena_new(1u << 20) };
    char id[CW_ID_TEXT_MAX];
    must(cw_tx_pool(api.model.pool, connect_tx, &c, &err), &err, "connect");
    cw_id_emit(CW_PREFIX_CONNECTION, c.id.ulid, id);
    (void)snprintf(ret_path, 160, "/patients/%s/connections/%s", patient_id, id);
    cw_arena_free(c.arena);
}

static const char revoking[] = "{\"base\":\"https://h.test\",\"token_endpoint\":\"https://h.test/t\",\"revocation_endpoint\":\"https://h.test/r\"}";
static const char epic[] = "{\"base\":\"https://h.test\",\"token_endpoint\":\"https://h.test/t\",\"profile\":\"epic\"}";

START_TEST(a_patient_is_deleted)
{
    char path[160];
    connect_patient("going", revoking, path);
    expect_fault(403, "insufficient_scope", NULL, "DELETE", "/patients/going", NULL, key(LIMITED));
    expect_fault(404, "resource_not_found", "id", "DELETE", "/patients/going", NULL, key(PRODUCTION)); /* another organization */
    json_decref(expect(200, "GET", "/patients/going", NULL));
    json_t *gone = expect(200, "DELETE", "/patients/going", NULL);
    ck_assert_str_eq(text_at(gone, "id"), "going");
    ck_assert_str_eq(text_at(gone, "resource_type"), "patient");
    ck_assert(json_is_true(json_object_get(gone, "deleted")));
    json_t *again = expect(200, "DELETE", "/patients/going", NULL); /* whoever lost the answer asks again */
    ck_assert(json_equal(gone, again));
    json_decref(gone);
    json_decref(again);
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/going", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "id", "GET", "/patients/going/records", NULL, key(SANDBOX));
    expect_fault(404, "resource_not_found", "connection_id", "DELETE", path, NULL, key(SANDBOX));
    json_t *anew = expect(200, "POST", "/patients", "{\"patient_id\":\"going\"}");
    ck_assert(json_is_null(json_object_get(anew, "name")));
    json_decref(anew);
    expect_fault(404, "resource_not_found", "id", "DELETE", "/patients/never", NULL, key(SANDBOX));
}
END_TEST

START_TEST(a_connection_is_let_go)
{
    char path[160];
    connect_patient("leaving", revoking, path);
    expect_fault(404, "resource_not_found", "connection_id", "DELETE", path, NULL, key(PRODUCTION));
    json_t *gone = expect(200, "DELETE", path, NULL);
    ck_assert_ptr_nonnull(strstr(path, text_at(gone, "id")));
    ck_assert_str_eq(text_at(gone, "resource_type"), "connection");
    ck_assert(json_is_true(json_object_get(gone, "disconnected")));
    ck_assert_str_eq(text_at(gone, "revocation"), "requested");
    ck_assert(json_is_null(json_object_get(gone, "message")));
    json_t *again = expect(200, "DELETE", path, NULL);
    ck_assert(json_equal(gone, again));
    json_decref(gone);
    json_decref(again);
    json_t *patient = expect(200, "GET", "/patients/leaving", NULL);
    ck_assert_str_eq(text_at(json_array_get(json_object_get(patient, "connections"), 0), "status"), "disconnected");
    json_decref(patient);
    expect_fault(404, "resource_not_found", "connection_id", "DELETE", "/patients/leaving/connections/fhirsrc_x", NULL, key(SANDBOX));
}
END_TEST

/* Epic offers no revocation: the patient is told where to end it. */
START_TEST(a_source_without_revocation_is_told)
{
    char path[160];
    connect_patient("stuck", epic, path);
    json_t *gone = expect(200, "DELETE", path, NULL);
    ck_assert_str_eq(text_at(gone, "revocation"), "not_offered");
    ck_assert_ptr_nonnull(strstr(text_at(gone, "message"), "Linked Apps and Devices"));
    json_decref(gone);
}
END_TEST

TCase *api_letting_go_case(void)
{
    TCase *tc = tcase_create("letting go");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_patient_is_deleted);
    tcase_add_test(tc, a_connection_is_let_go);
    tcase_add_test(tc, a_source_without_revocation_is_told);
    return tc;
}
