/* SPDX-License-Identifier: Apache-2.0 */
/* Deletion and disconnect: what is gone at once, what leaves later, what stays, and what cannot come back. */
#include "config.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "model/attempt.h"
#include "model/deletion.h"
#include "model/disconnect.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/revocation.h"
#include "os/sys.h"
#include "tests/unit/test_letting_go.h"

static struct cw_deletion delete(const char *patient_id)
{
    struct cw_deletion deletion;
    OK(cw_patient_delete(&lg_model, &lg_actor, lg_org, cw_span_cstr(patient_id), &deletion, &lg_err));
    return deletion;
}

static void sweep_all(void)
{
    for (int i = 0; i < 50 && NUMBER("SELECT (SELECT COUNT(*) FROM tombstone WHERE purged_at IS NULL)"
                                     " + (SELECT COUNT(*) FROM disconnection)") > 0; i++) {
        unsigned count;
        OK(cw_deletion_sweep(&lg_model, &lg_actor, 200, &count, &lg_err));
        OK(cw_disconnection_sweep(&lg_model, &lg_actor, 200, &count, &lg_err));
    }
}

static struct cw_revocation revocation(void)
{
    struct cw_job job;
    struct cw_revocation tokens;
    OK(cw_job_claim_one(&lg_model, "node/1", CW_JOB_REVOKE, CW_HOUR_US, &job, &lg_err));
    OK(cw_revocation_get(&lg_model, (struct cw_revocation_id){ job.subject }, lg_arena, &tokens, &lg_err));
    return tokens;
}

static void journal(struct cw_str *out)
{
    OK(cw_file_read(cw_config_text(lg_test.config, CW_CONF_TOMBSTONE_JOURNAL), true, out, &lg_err));
}

START_TEST(from_the_commit_on_nothing_can_be_read)
{
    struct lg_connection connected = lg_connect("p", "up-1");
    struct cw_session session = lg_session("p");
    struct cw_patient before = lg_patient("p"), got;
    struct cw_deletion deletion = delete("p");
    ck_assert(!deletion.repeated && deletion.journaled);
    ck_assert(cw_ulid_eq(deletion.tombstone.patient.ulid, before.row.ulid));
    ck_assert_int_eq(deletion.tombstone.final_us - deletion.tombstone.deleted_us, 30 * CW_DAY_US);
    ck_assert_int_eq(cw_patient_get(&lg_model, lg_org, CW_SPAN("p"), lg_arena, &got, &lg_err), CW_E_NOT_FOUND);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key"), 0);
    struct cw_session_page page;
    ck_assert_int_eq(cw_session_open_page(&lg_model, session.secret, lg_arena, &page, &lg_err), CW_E_NOT_FOUND);
    struct cw_grant grant;
    ck_assert_int_eq(cw_grant_get(&lg_model, connected.connection.id, &grant, &lg_err), CW_E_NOT_FOUND);
    /* the contract's tombstone is told, and the tokens are on their way back */
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event WHERE kind = 11 AND patient IS NULL"), 1);
    struct cw_revocation tokens = revocation();
    ck_assert(cw_span_eq(tokens.refresh, CW_SPAN("refresh-canary")) && cw_span_eq(tokens.access, CW_SPAN("access-canary")));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM audit WHERE action = 'patient.delete'"), 1);
}
END_TEST

/* A page, an attempt and a Session that were under way when the patient was deleted. */
START_TEST(what_was_under_way_brings_nothing_back)
{
    struct lg_connection connected = lg_connect("p", "up-1");
    struct cw_session session = lg_session("p");
    (void)session;
    struct cw_attempt attempt;
    struct cw_attempt_return answer = { .redirect_uri = CW_SPAN("https://cw.test/callback/x"), .browser = CW_SPAN("cookie") };
    cw_sha256(cw_span_of(&session.id, sizeof session.id), answer.state_hash);
    answer.state_hash[0] = 2;
    OK(cw_attempt_consume(&lg_model, &answer, lg_arena, &attempt, &lg_err)); /* the browser is back, the code is exchanged */
    (void)delete("p");
    ck_assert_int_eq(lg_page(&connected, "late"), CW_E_CONFLICT);
    const struct cw_attempt_success success = { .attempt = attempt.id, .upstream_patient = CW_SPAN("up-9"),
                                                .tenant_context = CW_SPAN(""), .scopes_granted = CW_SPAN("patient/*.rs"),
                                                .access_token = CW_SPAN("a"), .refresh_token = CW_SPAN("r"),
                                                .token_type = CW_SPAN("Bearer"), .obtained_us = cw_now_us(),
                                                .expires_us = cw_now_us() + CW_HOUR_US };
    struct cw_connection_id made;
    ck_assert_int_eq(cw_attempt_connect(&lg_model, &lg_actor, &success, &made, &lg_err), CW_E_NOT_FOUND);
    unsigned swept = 0;
    OK(cw_attempt_sweep(&lg_model, &lg_actor, 100, &swept, &lg_err));
    OK(cw_session_expire_due(&lg_model, &lg_actor, 100, &swept, &lg_err));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM token_grant"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM job WHERE kind = 1"), 0);
}
END_TEST

START_TEST(the_rows_leave_and_a_neighbour_keeps_his)
{
    (void)lg_connect("neighbour", "up-9");
    (void)lg_session("neighbour");
    static const char rows[] = "SELECT (SELECT COUNT(*) FROM record) + (SELECT COUNT(*) FROM record_connection)"
                               " + (SELECT COUNT(*) FROM document) + (SELECT COUNT(*) FROM document_chunk) + (SELECT COUNT(*) FROM pull)"
                               " + (SELECT COUNT(*) FROM pull_task) + (SELECT COUNT(*) FROM pull_page) + (SELECT COUNT(*) FROM attempt)"
                               " + (SELECT COUNT(*) FROM consent_receipt) + (SELECT COUNT(*) FROM patient_session)"
                               " + (SELECT COUNT(*) FROM connection) + (SELECT COUNT(*) FROM exchange) + (SELECT COUNT(*) FROM patient)";
    int64_t his = NUMBER(rows);
    (void)lg_connect("p", "up-1");
    (void)lg_connect("p", "up-2");
    (void)lg_session("p");
    ck_assert_int_gt(NUMBER(rows), his);
    (void)delete("p");
    sweep_all();
    ck_assert_int_eq(NUMBER(rows), his);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM tombstone WHERE purged_at IS NOT NULL"), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event e JOIN tombstone t ON t.patient = e.patient WHERE e.payload_sealed IS NOT NULL"), 0);
}
END_TEST

/* A table that gets a column `patient` and is not purged would keep rows of deleted patients for ever. */
START_TEST(every_table_about_patients_is_purged)
{
    (void)lg_connect("p", "up-1");
    (void)lg_session("p");
    (void)delete("p");
    sweep_all();
    struct cw_db *db = NULL;
    struct cw_rows rows;
    static const struct cw_query q_tables = {
        .name = "test.tables.walk",
        .sql = "SELECT table_name FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'patient'"
               " AND table_name NOT IN ('tombstone', 'audit', 'event') ORDER BY table_name LIMIT 100",
        .params = "",
        .columns = "b",
    };
    OK(cw_db_get(lg_model.pool, 1000, &db, &lg_err));
    OK(cw_db_select(db, &q_tables, NULL, lg_arena, &rows, &lg_err));
    cw_db_put(db);
    ck_assert_uint_ge(rows.count, 9);
    for (size_t i = 0; i < rows.count; i++) {
        char insert[200], count[200];
        const struct cw_span table = cw_row(&rows, i)[0].bytes;
        (void)snprintf(count, sizeof count, "SELECT COUNT(*) FROM %.*s AS x JOIN tombstone AS t ON t.patient = x.patient",
                       (int)table.len, table.ptr);
        ck_assert_msg(NUMBER(count) == 0, "%.*s", (int)table.len, table.ptr);
        /* a bare row, so that a table that was empty is purged as well */
        if (cw_span_eq_cstr(table, "patient_key")) {
            continue;
        }
        SQL("SET GLOBAL sql_mode = ''");
        (void)snprintf(insert, sizeof insert, "INSERT IGNORE INTO %.*s SET patient = (SELECT patient FROM tombstone LIMIT 1)",
                       (int)table.len, table.ptr);
        SQL(insert);
        SQL("UPDATE tombstone SET purged_at = NULL");
        sweep_all();
        ck_assert_msg(NUMBER(count) == 0, "%.*s is not purged", (int)table.len, table.ptr);
    }
}
END_TEST

START_TEST(a_repeated_call_gets_the_same_answer)
{
    (void)lg_connect("p", "up-1");
    struct cw_deletion first = delete("p"), again = delete("p"), other;
    ck_assert(again.repeated && again.tombstone.final_us == first.tombstone.final_us);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event WHERE kind = 11"), 1);
    ck_assert_int_eq(cw_patient_delete(&lg_model, &lg_actor, lg_org, CW_SPAN("nobody"), &other, &lg_err), CW_E_NOT_FOUND);
    struct cw_org_id elsewhere;
    OK(cw_org_create(&lg_model, &lg_actor, CW_SPAN("Other"), CW_ENV_SANDBOX, &elsewhere, &lg_err));
    ck_assert_int_eq(cw_patient_delete(&lg_model, &lg_actor, elsewhere, CW_SPAN("p"), &other, &lg_err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(the_same_id_anew_shares_nothing)
{
    struct lg_connection old = lg_connect("p", "up-1");
    struct cw_patient before = lg_patient("p");
    (void)delete("p");
    struct lg_connection fresh = lg_connect("p", "up-1");
    struct cw_patient after = lg_patient("p");
    ck_assert(!cw_ulid_eq(before.row.ulid, after.row.ulid));
    ck_assert(!cw_ulid_eq(old.connection.id.ulid, fresh.connection.id.ulid));
    sweep_all();
    struct cw_connection *list;
    size_t count = 0;
    OK(cw_connection_list(&lg_model, after.row, lg_arena, &list, &count, &lg_err));
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record"), 2);
    struct cw_deletion again = delete("p");
    ck_assert(!again.repeated);
}
END_TEST

/* ---- the journal, and a restore */

START_TEST(a_journal_line_is_whole_or_nothing)
{
    const struct cw_tombstone made = { .patient = { cw_ulid_new() }, .org = { cw_ulid_new() },
                                       .deleted_us = INT64_C(1790000000000000), .final_us = INT64_C(1792592000000000) };
    struct cw_tombstone read;
    CW_AUTO_STR line;
    cw_str_init(&line, CW_TOMBSTONE_LINE_MAX);
    OK(cw_tombstone_emit(&made, &line));
    OK(cw_tombstone_parse(cw_str_span(&line), &read));
    ck_assert(cw_ulid_eq(read.patient.ulid, made.patient.ulid) && cw_ulid_eq(read.org.ulid, made.org.ulid));
    ck_assert(read.deleted_us == made.deleted_us && read.final_us == made.final_us);
    for (size_t cut = 0; cut < line.len; cut++) {
        ck_assert_int_eq(cw_tombstone_parse(cw_span_upto(cw_str_span(&line), cut), &read), CW_E_SYNTAX);
        char was = line.buf[cut];
        line.buf[cut] = (char)(was ^ 1);
        ck_assert_msg(cw_tombstone_parse(cw_str_span(&line), &read) == CW_E_SYNTAX, "byte %zu", cut);
        line.buf[cut] = was;
    }
}
END_TEST

START_TEST(a_deletion_is_journaled_even_if_later)
{
    (void)lg_connect("p", "up-1");
    const char *path = cw_config_text(lg_test.config, CW_CONF_TOMBSTONE_JOURNAL);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* nothing can be written there */
    struct cw_deletion deletion = delete("p");
    ck_assert(!deletion.journaled);
    ck_assert_int_eq(rmdir(path), 0);
    unsigned count;
    OK(cw_deletion_sweep(&lg_model, &lg_actor, 200, &count, &lg_err));
    OK(cw_deletion_sweep(&lg_model, &lg_actor, 200, &count, &lg_err));
    CW_AUTO_STR text;
    cw_str_init(&text, 65536);
    journal(&text);
    struct cw_span rest = cw_str_span(&text), line;
    struct cw_tombstone read;
    ck_assert(cw_span_cut(&rest, '\n', &line) && rest.len == 0); /* once */
    OK(cw_tombstone_parse(line, &read));
    ck_assert(cw_ulid_eq(read.patient.ulid, deletion.tombstone.patient.ulid));
}
END_TEST

START_TEST(a_restore_deletes_again)
{
    (void)lg_connect("p", "up-1");
    (void)lg_connect("q", "up-2");
    SQL("CREATE TABLE backup_patient AS SELECT * FROM patient");
    SQL("CREATE TABLE backup_key AS SELECT * FROM patient_key");
    SQL("CREATE TABLE backup_connection AS SELECT * FROM connection");
    SQL("CREATE TABLE backup_grant AS SELECT * FROM token_grant");
    struct cw_deletion deletion = delete("p");
    /* the whole database as it was before */
    SQL("DELETE FROM tombstone");
    SQL("DELETE FROM revocation");
    SQL("DELETE FROM job");
    SQL("REPLACE INTO patient SELECT * FROM backup_patient");
    SQL("REPLACE INTO patient_key SELECT * FROM backup_key");
    SQL("REPLACE INTO connection SELECT * FROM backup_connection");
    SQL("REPLACE INTO token_grant SELECT * FROM backup_grant");
    (void)lg_patient("p");
    bool was_back = false;
    OK(cw_patient_delete_again(&lg_model, &lg_actor, &deletion.tombstone, &was_back, &lg_err));
    ck_assert(was_back);
    struct cw_patient got;
    ck_assert_int_eq(cw_patient_get(&lg_model, lg_org, CW_SPAN("p"), lg_arena, &got, &lg_err), CW_E_NOT_FOUND);
    (void)lg_patient("q");
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM patient_key"), 1);
    OK(cw_patient_delete_again(&lg_model, &lg_actor, &deletion.tombstone, &was_back, &lg_err));
    ck_assert(!was_back);
    struct cw_deletion once_more = delete("p");
    ck_assert(once_more.repeated && once_more.tombstone.final_us == deletion.tombstone.final_us);
    /* the keys alone, from their own backup */
    unsigned destroyed = 0;
    SQL("REPLACE INTO patient_key SELECT * FROM backup_key");
    OK(cw_deleted_keys_destroy(&lg_model, &destroyed, &lg_err));
    ck_assert_uint_eq(destroyed, 1);
}
END_TEST

/* ---- disconnect */

static struct cw_disconnected disconnect(const struct lg_connection *c, const char *patient_id)
{
    struct cw_disconnected done;
    OK(cw_connection_disconnect(&lg_model, &lg_actor, lg_org, cw_span_cstr(patient_id), c->connection.id, lg_arena, &done, &lg_err));
    return done;
}

START_TEST(a_disconnect_ends_what_runs_and_gives_tokens_back)
{
    struct lg_connection a = lg_connect("p", "up-1");
    struct cw_disconnected done;
    ck_assert_int_eq(cw_connection_disconnect(&lg_model, &lg_actor, lg_org, CW_SPAN("x"), a.connection.id, lg_arena, &done, &lg_err),
                     CW_E_NOT_FOUND);
    done = disconnect(&a, "p");
    ck_assert(!done.repeated && cw_ulid_eq(done.connection.id.ulid, a.connection.id.ulid));
    ck_assert_int_eq(lg_page(&a, "late"), CW_E_CONFLICT);
    ck_assert_int_eq(NUMBER("SELECT status FROM connection"), CW_CONNECTION_DISCONNECTED);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM token_grant"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM pull WHERE status = 5 AND failure_code = 'connection_not_active'"), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event WHERE kind = 4"), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event WHERE kind = 10"), 1);
    struct cw_revocation tokens = revocation();
    ck_assert(cw_span_eq(tokens.refresh, CW_SPAN("refresh-canary")));
    ck_assert(cw_ulid_eq(tokens.connection.ulid, a.connection.id.ulid));
    ck_assert(disconnect(&a, "p").repeated);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM event WHERE kind = 10"), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation"), 1);
}
END_TEST

START_TEST(records_of_another_connection_stay)
{
    struct lg_connection a = lg_connect("p", "up-1");
    struct lg_connection b = lg_connect("p", "up-2");
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record"), 3); /* shared, up-1, up-2 */
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM document"), 2);
    (void)disconnect(&a, "p");
    sweep_all();
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record"), 2);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record WHERE upstream_id IN ('shared', 'up-2')"), 2);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM document"), 2); /* the place is still connected */
    (void)disconnect(&b, "p");
    sweep_all();
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record_connection"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM document"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM document_chunk"), 0);
}
END_TEST

START_TEST(who_connects_again_keeps_what_is_left)
{
    struct lg_connection a = lg_connect("p", "up-1");
    (void)disconnect(&a, "p");
    struct lg_connection again = lg_connect("p", "up-1");
    ck_assert(cw_ulid_eq(again.connection.id.ulid, a.connection.id.ulid));
    sweep_all();
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM record"), 2);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM token_grant"), 1);
}
END_TEST

/* ---- revocations */

START_TEST(tokens_are_kept_until_answered_only)
{
    struct lg_connection a = lg_connect("p", "up-1");
    struct cw_job job;
    struct cw_revocation tokens;
    (void)disconnect(&a, "p");
    OK(cw_job_claim_one(&lg_model, "node/1", CW_JOB_REVOKE, CW_HOUR_US, &job, &lg_err));
    struct cw_revocation_id id = { job.subject };
    ck_assert_int_eq(cw_job_claim_one(&lg_model, "node/2", CW_JOB_REVOKE, CW_HOUR_US, &job, &lg_err), CW_E_NOT_FOUND);
    OK(cw_revocation_note(&lg_model, id, "timeout", true, &lg_err));
    OK(cw_revocation_get(&lg_model, id, lg_arena, &tokens, &lg_err));
    ck_assert(tokens.refresh.ptr == NULL && tokens.access.ptr != NULL && cw_span_eq_cstr(tokens.failure_code, "timeout"));
    ck_assert_int_eq(tokens.give_up_us - tokens.created_us, CW_DAY_US);
    OK(cw_revocation_end(&lg_model, &lg_actor, "node/1", &job, CW_REVOCATION_DONE, NULL, &lg_err));
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation WHERE status = 2 AND refresh_sealed IS NULL AND access_sealed IS NULL"), 1);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM job"), 0);
    ck_assert_int_eq(cw_revocation_get(&lg_model, id, lg_arena, &tokens, &lg_err), CW_E_STATE);
    struct cw_revocation *list;
    size_t count;
    OK(cw_revocation_list(&lg_model, lg_org, 10, lg_arena, &list, &count, &lg_err));
    ck_assert(count == 1 && list[0].status == CW_REVOCATION_DONE && list[0].refresh.ptr == NULL);
    unsigned swept;
    OK(cw_revocation_sweep(&lg_model, &lg_actor, 10, &swept, &lg_err));
    ck_assert_uint_eq(swept, 0);
    cw_clock_shift_us(31 * CW_DAY_US);
    OK(cw_revocation_sweep(&lg_model, &lg_actor, 10, &swept, &lg_err));
    ck_assert_uint_eq(swept, 1);
}
END_TEST

/* What a callback does whose patient was deleted while the hospital answered, and which could not give the tokens back itself. */
START_TEST(tokens_without_an_attempt_are_kept)
{
    const struct cw_revocation tokens = { .org = lg_org, .registration = { cw_ulid_new() }, .connection = { cw_ulid_new() },
                                          .source = { cw_ulid_new() }, .pinned = CW_SPAN("{}"), .refresh = CW_SPAN("late-refresh"),
                                          .access_until_us = cw_now_us() + CW_HOUR_US };
    OK(cw_revocation_keep(&lg_model, &tokens, &lg_err));
    struct cw_revocation kept = revocation();
    ck_assert(cw_span_eq(kept.refresh, CW_SPAN("late-refresh")) && kept.access.ptr == NULL);
}
END_TEST

START_TEST(a_broken_token_does_not_hold_a_deletion_up)
{
    (void)lg_connect("p", "up-1");
    SQL("UPDATE token_grant SET refresh_sealed = REVERSE(refresh_sealed), access_sealed = REVERSE(access_sealed)");
    (void)delete("p");
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM revocation"), 0);
    ck_assert_int_eq(NUMBER("SELECT COUNT(*) FROM token_grant"), 0);
}
END_TEST

Suite *lg_deletion_suite(void)
{
    Suite *suite = suite_create("letting go");
    TCase *tcase = tcase_create("letting go");
    tcase_add_checked_fixture(tcase, lg_setup, lg_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, from_the_commit_on_nothing_can_be_read);
    tcase_add_test(tcase, what_was_under_way_brings_nothing_back);
    tcase_add_test(tcase, the_rows_leave_and_a_neighbour_keeps_his);
    tcase_add_test(tcase, every_table_about_patients_is_purged);
    tcase_add_test(tcase, a_repeated_call_gets_the_same_answer);
    tcase_add_test(tcase, the_same_id_anew_shares_nothing);
    tcase_add_test(tcase, a_journal_line_is_whole_or_nothing);
    tcase_add_test(tcase, a_deletion_is_journaled_even_if_later);
    tcase_add_test(tcase, a_restore_deletes_again);
    tcase_add_test(tcase, a_disconnect_ends_what_runs_and_gives_tokens_back);
    tcase_add_test(tcase, records_of_another_connection_stay);
    tcase_add_test(tcase, who_connects_again_keeps_what_is_left);
    tcase_add_test(tcase, tokens_are_kept_until_answered_only);
    tcase_add_test(tcase, tokens_without_an_attempt_are_kept);
    tcase_add_test(tcase, a_broken_token_does_not_hold_a_deletion_up);
    suite_add_tcase(suite, tcase);
    return suite;
}
