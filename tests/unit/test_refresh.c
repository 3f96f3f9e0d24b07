/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of the refresh stand on; see test_refresh.h. */
#include "config.h"

#include "tests/unit/test_refresh.h"

#include <stdio.h>
#include <stdlib.h>

#include "model/keys.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/registration.h"
#include "tests/lib/check_main.h"

struct cw_test_db refresh_test;
struct cw_model refresh_model;
struct cw_connection_id refresh_connection;
struct cw_registration_id refresh_registration;
const struct cw_actor refresh_actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node" };
struct cw_profiles *refresh_profiles;
unsigned refresh_notes[CW_RENEWAL_NOT_OFFERED + 1];

static struct cw_arena *arena;
static struct cw_org_id org;

void refresh_must(enum cw_code rc, const struct cw_err *err)
{
    ck_assert_msg(rc == CW_OK, "%s: %s: %s", cw_code_name(rc), err->where, err->text);
}

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct refresh_start *start = arg;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_patient_row patient;
    enum cw_code rc = cw_patient_upsert(&refresh_model, db, org, &wanted, arena, &patient, &key, err);
    char *pinned = cw_arena_printf(arena, "{\"base\":\"https://h.test/fhir\",\"token_endpoint\":\"%s\",\"profile\":\"%s\"}",
                                   start->token_endpoint == NULL ? "https://h.test/token" : start->token_endpoint,
                                   start->profile == NULL ? "default" : start->profile);
    struct connection_put put = { .id = { cw_ulid_new() }, .org = org, .patient = patient,
                                  .endpoint = { cw_ulid_new() }, .source = { cw_ulid_new() },
                                  .registration = refresh_registration, .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"), .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = cw_span_cstr(pinned), .one_time = start->one_time };
    if (rc == CW_OK) {
        rc = connection_put(db, &key, &put, arena, &refresh_connection, err);
    }
    int64_t now_us = cw_now_us();
    struct grant_put grant = { .access_token = CW_SPAN("access-1"), .refresh_token = CW_SPAN("refresh-1"),
                               .obtained_us = now_us,
                               .expires_us = now_us + (start->expires_in_us == 0 ? CW_HOUR_US : start->expires_in_us),
                               .ends_us = start->ends_in_us == 0 ? 0 : now_us + start->ends_in_us,
                               .ends_fixed = start->ends_fixed };
    if (start->one_time || start->dynamic != NULL) {
        grant.refresh_token = (struct cw_span){ NULL, 0 };
    }
    grant.dynamic = start->dynamic != NULL;
    if (rc == CW_OK) {
        rc = grant_put(db, &key, refresh_connection, &grant, arena, err);
    }
    return rc == CW_OK ? dynamic_client_put(db, &key, patient, refresh_connection, start->dynamic, err) : rc;
}

void refresh_connect(struct refresh_start start)
{
    struct cw_err err = { 0 };
    refresh_must(cw_tx_pool(refresh_model.pool, connect_tx, &start, &err), &err);
}

void refresh_setup(void)
{
    static unsigned n;
    char name[32];
    struct cw_err err = { 0 };
    (void)snprintf(name, sizeof name, "Clinic %u", ++n);
    arena = cw_arena_new((size_t)4 * 1024 * 1024);
    cw_test_db_sql(&refresh_test, "DELETE FROM event");
    cw_test_db_sql(&refresh_test, "DELETE FROM token_grant");
    cw_test_db_sql(&refresh_test, "DELETE FROM registration_breaker");
    memset(refresh_notes, 0, sizeof refresh_notes);
    refresh_must(cw_org_create(&refresh_model, &refresh_actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), &err);
    static const struct cw_span hosts[] = { CW_SPAN("127.0.0.1") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("default"),
                                      .client_id = CW_SPAN("app"), .method = CW_AUTH_NONE, .hosts = hosts, .host_count = 1 };
    refresh_must(cw_registration_add(&refresh_model, &refresh_actor, &wanted, (struct cw_span){ NULL, 0 },
                                     &refresh_registration, &err), &err);
}

void refresh_teardown(void)
{
    cw_clock_shift_us(0);
    cw_arena_free(arena);
}

int64_t refresh_number(const char *what)
{
    char hex[33], sql[600];
    for (unsigned i = 0; i < 16; i++) {
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", refresh_connection.ulid.bytes[i]);
    }
    (void)snprintf(sql, sizeof sql,
                   "SELECT CAST(COALESCE(%s, -1) AS SIGNED) FROM connection c LEFT JOIN token_grant g ON g.connection = c.id"
                   " WHERE c.id = x'%s'", what, hex);
    return cw_test_db_number(&refresh_test, sql);
}

int64_t refresh_events(enum cw_event_kind kind)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM event WHERE kind = %u", (unsigned)kind);
    return cw_test_db_number(&refresh_test, sql);
}

void refresh_forget_events(void)
{
    cw_test_db_sql(&refresh_test, "DELETE FROM event");
}

enum cw_code refresh_begin(const char *owner, uint32_t seen, struct cw_refresh_lease *ret)
{
    struct cw_err err = { 0 };
    struct cw_grant grant = { 0 };
    struct cw_refresh_ask ask = { .owner = owner, .connection = refresh_connection, .seen_version = seen };
    enum cw_code rc = cw_refresh_begin(&refresh_model, &ask, ret, &grant, &err);
    cw_grant_release(&grant);
    return rc;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&refresh_test, true);
    struct cw_err err = { 0 };
    refresh_model = (struct cw_model){ .pool = refresh_test.pool, .config = refresh_test.config };
    if (cw_vault_new(refresh_test.config, &refresh_model.vault, &err) != CW_OK ||
        cw_profiles_load(CW_TEST_SRCDIR "/conf/vendors", &refresh_profiles, &err) != CW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { refresh_state_suite(), refresh_answer_suite(), NULL };
    int rc = cw_check_main(suites);
    cw_profiles_free(refresh_profiles);
    cw_vault_free(refresh_model.vault);
    cw_test_db_release(&refresh_test);
    return rc;
}
