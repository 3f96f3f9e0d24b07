/* SPDX-License-Identifier: Apache-2.0 */
/* attempt list and show: what an operator sees of a failure, and what nobody may see. */
#include "config.h"

#include <stdio.h>

#include "base/time.h"
#include "model/attempt.h"
#include "model/org.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/ctl_run.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_arena *arena;
static struct cw_org_id org;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node" };
#define ctl(...) ctl_run(&test, (const char *const[]){ __VA_ARGS__, NULL })
#define OK(call) ck_assert_msg((call) == CW_OK, "%s: %s", err.where, err.text)

static void setup(void)
{
    struct cw_err err = { 0 };
    cw_test_db_init(&test, true);
    ctl_configure(&test, NULL, 9, "");
    arena = cw_arena_new((size_t)8 * 1024 * 1024);
    OK(cw_model_init(&m, test.config, 2, &err));
    OK(cw_org_create(&m, &actor, CW_SPAN("Clinic"), CW_ENV_SANDBOX, &org, &err));
}

static void teardown(void)
{
    cw_arena_free(arena);
    cw_model_release(&m);
    cw_test_db_release(&test);
}

static struct cw_source add_source(void)
{
    struct cw_err err = { 0 };
    uint8_t content[CW_HASH_LEN] = { 1 };
    struct cw_import_counts counts;
    struct cw_source source;
    struct cw_source_row row = {
        .source = { .environment = CW_ENV_SANDBOX,
                    .name = CW_SPAN("Lakeside"),
                    .vendor = CW_SPAN("default"),
                    .base_url = CW_SPAN("https://fhir.test/r4"),
                    .tenant_context = CW_SPAN("") },
        .normal_base = CW_SPAN("https://fhir.test/r4"),
    };
    cw_sha256(CW_SPAN("Lakeside"), row.identity_hash);
    OK(cw_source_import(&m, &actor, CW_ENV_SANDBOX, "test", content, &row, 1, 0, &counts, &err));
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, row.normal_base, row.normal_base, arena, &source,
                         &err));
    return source;
}

static void start(const struct cw_source *source, const char *patient, uint8_t state,
                  char ret[CW_ID_TEXT_MAX])
{
    struct cw_err err = { 0 };
    struct cw_session session;
    struct cw_attempt_id id;
    const struct cw_session_new wanted = {
        .patient = { .patient_id = cw_span_cstr(patient), .name = CW_SPAN("Nora Whitfield") },
        .return_url = CW_SPAN("https://app.test/back"),
        .expires_in_s = 600,
    };
    OK(cw_session_create(&m, &actor, org, &wanted, arena, &session, &err));
    struct cw_attempt_new input = {
        .session = session.id,
        .source = source->id,
        .endpoint = source->endpoint,
        .registration = { cw_ulid_new() },
        .browser = CW_SPAN("cookie"),
        .redirect_uri = CW_SPAN("https://cw.test/callback/x"),
        .scopes_asked = CW_SPAN("patient/*.rs"),
        .pinned = CW_SPAN("{}"),
        .language = CW_SPAN("en"),
        .state_expires_us = cw_now_us() + 900 * CW_SECOND_US,
        .consent_version = CW_SPAN("v1"),
    };
    memset(input.state_hash, state, sizeof input.state_hash);
    OK(cw_attempt_start(&m, &actor, &input, &id, &err));
    cw_id_emit(CW_PREFIX_ATTEMPT, id.ulid, ret);
}

static void reject(const char *id_text)
{
    struct cw_err err = { 0 };
    struct cw_attempt_id id;
    struct cw_exchange exchange = {
        .kind = "token",
        .method = "POST",
        .authentication = "client_secret_basic",
        .outcome = "invalid_client",
        .host = "as.test:443",
        .path = "/token",
        .parameters = "grant_type code",
        .content_type = "application/json",
        .error = "invalid_client",
        .description = "no client for Nora Whitfield of user_1",
        .uri = "https://as.test/why",
        .more = "https://as.test/why?who=user_1",
        .structure = "{error: text}",
        .status = 401,
        .sent_us = cw_now_us(),
        .took_us = 250000,
    };
    const struct cw_attempt_failure failure = { .code = CW_FAIL_CLIENT_REJECTED,
                                                .exchange = &exchange };
    ck_assert(cw_id_parse(CW_PREFIX_ATTEMPT, cw_span_cstr(id_text), &id.ulid));
    OK(cw_attempt_fail_with(&m, &actor, id, &failure, &err));
}

/* As long as each text can be, of what is longest in JSON. */
START_TEST(the_longest_answer_ends_an_attempt)
{
    struct cw_err err = { 0 };
    struct cw_source source = add_source();
    struct cw_attempt_id id;
    char text[CW_ID_TEXT_MAX];
    struct cw_exchange x = {
        .kind = "token", .method = "POST", .outcome = "refused", .sent_us = 1
    };
    const struct cw_attempt_failure failure = { .code = CW_FAIL_TOKEN_EXCHANGE, .exchange = &x };
    memset(x.host, '"', sizeof x.host - 1);
    memset(x.path, '"', sizeof x.path - 1);
    memset(x.parameters, '"', sizeof x.parameters - 1);
    memset(x.content_type, '"', sizeof x.content_type - 1);
    memset(x.error, '"', sizeof x.error - 1);
    memset(x.description, '"', sizeof x.description - 1);
    memset(x.uri, '"', sizeof x.uri - 1);
    memset(x.more, '"', sizeof x.more - 1);
    memset(x.scope, '"', sizeof x.scope - 1);
    memset(x.structure, '"', sizeof x.structure - 1);
    start(&source, "user_1", 1, text);
    ck_assert(cw_id_parse(CW_PREFIX_ATTEMPT, cw_span_cstr(text), &id.ulid));
    OK(cw_attempt_fail_with(&m, &actor, id, &failure, &err));
    ck_assert_int_eq(ctl("attempt", "show", text, "--json"), CTL_DONE);
    json_t *card = ctl_json();
    ck_assert(
        json_is_string(json_object_get(json_object_get(card, "exchange"), "error_description")));
    json_decref(card);
}
END_TEST

static size_t listed(void)
{
    json_t *list = ctl_json();
    size_t count = json_array_size(list);
    json_decref(list);
    return count;
}

START_TEST(attempts_are_found_by_patient_source_and_end)
{
    struct cw_source source = add_source();
    char first[CW_ID_TEXT_MAX], second[CW_ID_TEXT_MAX], source_id[CW_ID_TEXT_MAX];
    start(&source, "user_1", 1, first);
    start(&source, "user_2", 2, second);
    reject(first);
    cw_id_emit(CW_PREFIX_SOURCE, source.id.ulid, source_id);
    ck_assert_int_eq(ctl("attempt", "list", "--json"), CTL_DONE);
    ck_assert_uint_eq(listed(), 2);
    ck_assert_ptr_nonnull(strstr(ctl_out, second));
    ck_assert(strstr(ctl_out, second) < strstr(ctl_out, first)); /* newest first */
    ck_assert_int_eq(ctl("attempt", "list", "--json", "--failed", "--source", source_id), CTL_DONE);
    ck_assert_uint_eq(listed(), 1);
    ck_assert_ptr_nonnull(strstr(ctl_out, "client_rejected"));
    ck_assert_int_eq(ctl("attempt", "list", "--json", "--patient", "user_2"), CTL_DONE);
    ck_assert_uint_eq(listed(), 1);
    ck_assert_int_eq(ctl("attempt", "list", "--json", "--patient", "user_2", "--failed"), CTL_DONE);
    ck_assert_uint_eq(listed(), 0);
    ck_assert_int_eq(ctl("attempt", "list", "--limit", "1", "--json"), CTL_DONE);
    ck_assert_uint_eq(listed(), 1);
    ck_assert_int_eq(ctl("attempt", "list", "--limit", "0"), CTL_USAGE);
    ck_assert_int_eq(ctl("attempt", "list", "--patient", "user_2", "--source", source_id),
                     CTL_USAGE);
    ck_assert_int_ge(
        cw_test_db_number(&test, "SELECT COUNT(*) FROM audit WHERE action = 'attempt.list'"), 5);
}
END_TEST

START_TEST(a_card_says_cause_step_and_exchange)
{
    static const char *const wanted[] = { "Our client was rejected",
                                          "invalid_client: wrong client id",
                                          "chartwayctl doctor SOURCE",
                                          "who_must_act",
                                          "operator",
                                          "The portal does not accept this service",
                                          "as.test:443",
                                          "client_secret_basic",
                                          "401",
                                          "250",
                                          "{error: text}" };
    struct cw_source source = add_source();
    char id[CW_ID_TEXT_MAX];
    start(&source, "user_1", 1, id);
    ck_assert_int_eq(ctl("attempt", "show", id, "--json"), CTL_DONE);
    json_t *card = ctl_json();
    ck_assert_str_eq(json_string_value(json_object_get(card, "status")), "started");
    ck_assert(json_is_null(json_object_get(card, "exchange")) &&
              json_is_null(json_object_get(card, "failure_code")));
    json_decref(card);
    reject(id);
    ck_assert_int_eq(ctl("attempt", "show", id), CTL_DONE);
    for (size_t i = 0; i < CW_ARRAY_LEN(wanted); i++) {
        ck_assert_msg(strstr(ctl_out, wanted[i]) != NULL, "no \"%s\" in %s", wanted[i], ctl_out);
    }
    ck_assert_int_eq(ctl("attempt", "show", id, "--json"), CTL_DONE);
    card = ctl_json();
    const json_t *exchange = json_object_get(card, "exchange");
    ck_assert_str_eq(json_string_value(json_object_get(exchange, "error_description")),
                     "no client for [...] of [...]");
    ck_assert_ptr_null(json_object_get(exchange, "more_uri")); /* it named the patient */
    ck_assert_str_eq(json_string_value(json_object_get(card, "severity")), "error");
    ck_assert(json_is_false(json_object_get(card, "retry")));
    json_decref(card);
    ck_assert_ptr_null(strstr(ctl_out, "Whitfield"));
    ck_assert_int_eq(ctl("attempt", "show", "att_00000000000000000000000000"), CTL_FAILED);
    ck_assert_int_eq(ctl("attempt", "show", "x"), CTL_USAGE);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM exchange WHERE sealed LIKE "
                                              "'%invalid%' OR sealed LIKE '%as.test%'"),
                     0);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("ctl attempt");
    TCase *tcase = tcase_create("attempt");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, attempts_are_found_by_patient_source_and_end);
    tcase_add_test(tcase, a_card_says_cause_step_and_exchange);
    tcase_add_test(tcase, the_longest_answer_ends_an_attempt);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
