/* SPDX-License-Identifier: Apache-2.0 */
/* API keys and the audit queue against a real MariaDB: every answer of the hot path, and that no row of a read is lost. */
#include "config.h"

#include <check.h>
#include <stdio.h>

#include "base/time.h"
#include "model/api_key.h"
#include "model/audit.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static struct cw_err err;
static struct cw_org_id org;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

static void setup(void)
{
    char name[64];
    static unsigned number;
    arena = cw_arena_new(8 << 20);
    (void)snprintf(name, sizeof name, "Organization %u", ++number);
    ck_assert_int_eq(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err), CW_OK);
}

static void teardown(void)
{
    cw_clock_shift_us(0);
    cw_arena_free(arena);
}

static struct cw_api_key_id make_key(int64_t expires_us, struct cw_api_token *ret_token)
{
    struct cw_api_key wanted = { .scopes = CW_SCOPE_RECORDS_READ | CW_SCOPE_WEBHOOKS, .expires_us = expires_us };
    struct cw_api_key_id id;
    CW_AUTO_STR text;
    cw_str_init_secret(&text, 2048);
    ck_assert_int_eq(cw_api_key_create(&m, &actor, org, &wanted, &text, &id, &err), CW_OK);
    ck_assert_int_eq(cw_api_token_read(m.vault, cw_str_span(&text), ret_token, &err), CW_OK);
    return id;
}

START_TEST(a_key_is_what_its_row_says_now)
{
    struct cw_api_token token;
    struct cw_api_key key;
    struct cw_api_key_id id = make_key(cw_now_us() + CW_HOUR_US, &token);
    ck_assert_int_eq(cw_api_key_authenticate(&m, &token, arena, &key, &err), CW_OK);
    ck_assert(cw_ulid_eq(key.id.ulid, id.ulid));
    ck_assert(cw_ulid_eq(key.org.ulid, org.ulid));
    ck_assert_int_eq(key.environment, CW_ENV_SANDBOX);
    ck_assert_uint_eq(key.scopes, CW_SCOPE_RECORDS_READ | CW_SCOPE_WEBHOOKS);
    ck_assert(cw_span_eq_cstr(key.identifier_system, "urn:chartway:patient-id"));

    struct cw_api_token other = token;
    other.jti_hash[0] ^= 1;
    ck_assert_int_eq(cw_api_key_authenticate(&m, &other, arena, &key, &err), CW_E_AUTH);
    other = token;
    other.production = true;
    ck_assert_int_eq(cw_api_key_authenticate(&m, &other, arena, &key, &err), CW_E_AUTH);
    other = token;
    other.key.ulid.bytes[15] ^= 1;
    ck_assert_int_eq(cw_api_key_authenticate(&m, &other, arena, &key, &err), CW_E_AUTH);

    cw_clock_shift_us(CW_HOUR_US - CW_MINUTE_US);
    ck_assert_int_eq(cw_api_key_authenticate(&m, &token, arena, &key, &err), CW_OK);
    cw_clock_shift_us(CW_HOUR_US + CW_SECOND_US);
    ck_assert_int_eq(cw_api_key_authenticate(&m, &token, arena, &key, &err), CW_E_EXPIRED);
    cw_clock_shift_us(0);
    ck_assert_int_eq(cw_api_key_revoke(&m, &actor, id, &err), CW_OK);
    ck_assert_int_eq(cw_api_key_authenticate(&m, &token, arena, &key, &err), CW_E_AUTH);
}
END_TEST

START_TEST(an_organization_has_so_many_live_keys)
{
    struct cw_api_token token;
    struct cw_api_key_id last = { 0 };
    for (int i = 0; i < CW_API_KEYS_LIVE_MAX; i++) {
        last = make_key(0, &token);
    }
    struct cw_api_key wanted = { .scopes = CW_SCOPES_ALL };
    struct cw_api_key_id id;
    CW_AUTO_STR text;
    cw_str_init_secret(&text, 2048);
    ck_assert_int_eq(cw_api_key_create(&m, &actor, org, &wanted, &text, &id, &err), CW_E_LIMITED);
    ck_assert_uint_eq(text.len, 0);
    ck_assert_int_eq(cw_api_key_revoke(&m, &actor, last, &err), CW_OK);
    ck_assert_int_eq(cw_api_key_create(&m, &actor, org, &wanted, &text, &id, &err), CW_OK);
    wanted.scopes = 0;
    ck_assert_int_eq(cw_api_key_create(&m, &actor, org, &wanted, &text, &id, &err), CW_E_RANGE);
    wanted = (struct cw_api_key){ .scopes = CW_SCOPES_ALL, .expires_us = cw_now_us() - 1 };
    ck_assert_int_eq(cw_api_key_create(&m, &actor, org, &wanted, &text, &id, &err), CW_E_RANGE);
    struct cw_org_id nobody = { cw_ulid_new() };
    wanted.expires_us = 0;
    ck_assert_int_eq(cw_api_key_create(&m, &actor, nobody, &wanted, &text, &id, &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(scopes_go_to_text_and_back)
{
    unsigned scopes = 0;
    CW_AUTO_STR text;
    cw_str_init(&text, 1024);
    ck_assert_int_eq(cw_key_scopes_parse(CW_SPAN("all"), &scopes, &err), CW_OK);
    ck_assert_uint_eq(scopes, CW_SCOPES_ALL);
    ck_assert_int_eq(cw_key_scopes_emit(scopes, &text), CW_OK);
    ck_assert_int_eq(cw_key_scopes_parse(cw_str_span(&text), &scopes, &err), CW_OK);
    ck_assert_uint_eq(scopes, CW_SCOPES_ALL);
    ck_assert_int_eq(cw_key_scopes_parse(CW_SPAN(" "), &scopes, &err), CW_E_RANGE);
    ck_assert_int_eq(cw_key_scopes_parse(CW_SPAN("records:read records:write"), &scopes, &err), CW_E_RANGE);
    ck_assert_ptr_nonnull(strstr(err.text, "records:write"));
}
END_TEST

START_TEST(the_queue_writes_what_it_was_given)
{
    enum { ROWS = 3000 }; /* over its bound: what does not fit is written at once */
    struct cw_api_token token;
    struct cw_api_key_id id = make_key(0, &token);
    char name[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_API_KEY, id.ulid, name);
    struct cw_audit_queue *queue = NULL;
    ck_assert_int_eq(cw_audit_queue_new(&m, &queue, &err), CW_OK);
    const struct cw_actor reader = { .kind = CW_ACTOR_API_KEY, .name = name, .request_id = "req_test" };
    const struct cw_audit_row row = { .org = org, .action = "test.read", .object = cw_ulid_new(), .detail = "count=1" };
    for (int i = 0; i < ROWS; i++) {
        ck_assert_int_eq(cw_audit_queue_add(queue, &reader, &row, &err), CW_OK);
    }
    cw_audit_queue_free(queue);
    cw_audit_queue_free(NULL);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'test.read'"), ROWS);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'test.read' AND patient IS NULL"
                                              " AND detail = 'count=1' AND request_id = 'req_test' AND actor_kind = 1"),
                     ROWS);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM api_key WHERE last_used_at IS NOT NULL"
                                              " AND SECOND(last_used_at) = 0"),
                     1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("model: access");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_key_is_what_its_row_says_now);
    tcase_add_test(tc, an_organization_has_so_many_live_keys);
    tcase_add_test(tc, scopes_go_to_text_and_back);
    tcase_add_test(tc, the_queue_writes_what_it_was_given);
    suite_add_tcase(s, tc);
    return s;
}

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    m = (struct cw_model){ .pool = test.pool, .config = test.config };
    if (cw_vault_new(test.config, &m.vault, &err) != CW_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    Suite *const suites[] = { suite(), NULL };
    int rc = cw_check_main(suites);
    cw_vault_free(m.vault);
    cw_test_db_release(&test);
    return rc;
}
