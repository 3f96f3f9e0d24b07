/* SPDX-License-Identifier: Apache-2.0 */
/* A ciphertext belongs to its row and its column: for every sealed column of the schema, one that is moved does not open. */
#include "config.h"

#include <stdio.h>

#include "model/deletion.h"
#include "model/dynamic_client.h"
#include "model/keys.h"
#include "model/sealed.h"
#include "model/signing.h"
#include "tests/unit/test_letting_go.h"

/* The column that the AAD's row id comes from. */
static const char *id_of(const char *table)
{
    static const char *const others[][2] = {
        { "token_grant", "connection" }, { "document_chunk", "document" }, { "exchange", "object" },
        { "dynamic_client", "connection" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(others); i++) {
        if (strcmp(table, others[i][0]) == 0) {
            return others[i][1];
        }
    }
    return "id";
}

static void sql_of(char *out, size_t size, const char *format, const struct cw_sealed_column *column)
{
    const char *id = id_of(column->table);
    const char *const words[] = { column->table, column->column, id };
    size_t at = 0;
    for (const char *c = format; *c != '\0' && at + 1 < size; c++) {
        if (*c >= '1' && *c <= '3' && c > format && c[-1] == '%') {
            at += (size_t)snprintf(out + at - 1, size - at + 1, "%s", words[*c - '1']) - 1;
        } else {
            out[at++] = *c;
        }
    }
    out[at] = '\0';
}

static struct cw_sealed_walk verify(void)
{
    struct cw_sealed_walk walk = { .most = 0 };
    OK(cw_sealed_verify(&lg_model, &walk, &lg_err));
    return walk;
}

static enum cw_code receipt_of(const struct lg_connection *c)
{
    const struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = CW_SPAN("{\"receipt\":1}") };
    return cw_pull_end(&lg_model, "node/1", &c->job, c->pull, &ending, &lg_err);
}

struct own_client {
    const struct lg_connection *of;
    struct cw_signing_key *key;
};

static enum cw_code client_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct own_client *own = arg;
    const struct cw_dynamic_new client = { CW_SPAN("own"), own->key };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_patient_key(&lg_model, db, own->of->connection.patient, 0, &key, err);
    return rc == CW_OK ? dynamic_client_put(db, &key, own->of->connection.patient, own->of->connection.id, &client, err) : rc;
}

/* One patient has two of everything, so that key and version are the same and the AAD alone tells them apart. */
static void fill(void)
{
    struct lg_connection a = lg_connect("p", "up-1"), b = lg_connect("p", "up-2"), c = lg_connect("q", "up-3"),
                         d = lg_connect("q", "up-4");
    OK(receipt_of(&a));
    OK(receipt_of(&b));
    (void)lg_session("p");
    (void)lg_session("p");
    (void)c;
    (void)d;
    struct cw_signing_key *key = NULL;
    OK(cw_signing_key_current(&lg_model, CW_ALG_ES384, &key, &lg_err));
    struct own_client own[] = { { &a, key }, { &b, key } };
    OK(cw_tx_pool(lg_model.pool, client_tx, &own[0], &lg_err));
    OK(cw_tx_pool(lg_model.pool, client_tx, &own[1], &lg_err));
    cw_signing_key_free(key);
    struct lg_connection third = lg_connect("r", "up-5");
    (void)third;
    struct cw_deletion deletion;
    OK(cw_patient_delete(&lg_model, &lg_actor, lg_org, CW_SPAN("q"), &deletion, &lg_err)); /* revocations */
}

START_TEST(the_table_names_every_sealed_column)
{
    char sql[400];
    for (size_t i = 0; i < cw_sealed_column_count; i++) {
        (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
                       " AND table_name = '%s' AND column_name = '%s'", cw_sealed_columns[i].table, cw_sealed_columns[i].column);
        ck_assert_msg(NUMBER(sql) == 1, "%s", cw_sealed_columns[i].cell);
    }
    ck_assert_uint_eq((size_t)NUMBER("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
                                     " AND column_name LIKE '%sealed%'"), cw_sealed_column_count);
}
END_TEST

START_TEST(a_cell_that_moved_does_not_open)
{
    fill();
    struct cw_sealed_walk before = verify();
    ck_assert_uint_eq(before.faults, 0);
    ck_assert_uint_gt(before.shredded, 0);
    size_t moved = 0;
    for (size_t i = 0; i < cw_sealed_column_count; i++) {
        char sql[900];
        const struct cw_sealed_column *column = &cw_sealed_columns[i];
        /* of rows whose key is there: the first gets the last one's */
        sql_of(sql, sizeof sql, "SELECT COUNT(*) FROM %1 WHERE %2 IS NOT NULL", column);
        ck_assert_msg(NUMBER(sql) >= 2, "%s has no two rows", column->cell);
        sql_of(sql, sizeof sql, "UPDATE %1 AS x JOIN (SELECT MIN(%3) AS lo, MAX(%3) AS hi FROM %1 WHERE %2 IS NOT NULL) AS p"
               " ON x.%3 = p.lo JOIN %1 AS y ON y.%3 = p.hi SET x.%2 = y.%2", column);
        if (strcmp(column->table, "record") == 0 || strcmp(column->table, "document_chunk") == 0 ||
            strcmp(column->table, "pull_task") == 0 || strcmp(column->table, "event") == 0 ||
            strcmp(column->table, "exchange") == 0 || strcmp(column->table, "connection") == 0) {
            /* rows of the deleted patient come last */
            sql_of(sql, sizeof sql, "UPDATE %1 AS x JOIN (SELECT MIN(%3) AS lo FROM %1 WHERE %2 IS NOT NULL) AS p ON x.%3 = p.lo"
                   " JOIN (SELECT MIN(z.%3) AS hi FROM %1 AS z JOIN (SELECT MIN(%3) AS lo FROM %1 WHERE %2 IS NOT NULL) AS o"
                   " ON z.%3 > o.lo WHERE z.%2 IS NOT NULL) AS q JOIN %1 AS y ON y.%3 = q.hi SET x.%2 = y.%2", column);
        }
        SQL(sql);
        struct cw_sealed_walk after = verify();
        moved++;
        ck_assert_msg(after.faults == moved, "%s: %llu cells do not open, not %zu", column->cell,
                      (unsigned long long)after.faults, moved);
    }
}
END_TEST

START_TEST(a_cell_of_another_column_does_not_open)
{
    (void)lg_connect("p", "up-1");
    SQL("UPDATE patient SET name_sealed = email_sealed");
    SQL("UPDATE token_grant SET access_sealed = refresh_sealed");
    ck_assert_uint_eq(verify().faults, 2);
}
END_TEST

Suite *lg_sealed_suite(void)
{
    Suite *suite = suite_create("sealed cells");
    TCase *tcase = tcase_create("sealed cells");
    tcase_add_checked_fixture(tcase, lg_setup, lg_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_table_names_every_sealed_column);
    tcase_add_test(tcase, a_cell_that_moved_does_not_open);
    tcase_add_test(tcase, a_cell_of_another_column_does_not_open);
    suite_add_tcase(suite, tcase);
    return suite;
}
