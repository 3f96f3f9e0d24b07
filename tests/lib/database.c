/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database fixture. Its EXPLAIN check needs no list of queries: it asks the pooled connections what they prepared
 * during the test, so every statement that any test reaches is checked. The optimizer would scan tiny tables for good
 * reasons, so it is told that each table has a million rows.
 */
#include "config.h"

#include "tests/lib/database.h"

#include <dirent.h>
#include <unistd.h>

#include "db/db_int.h"
#include "os/sys.h"

static void die(const char *what, const struct cw_err *err)
{
    fprintf(stderr, "database fixture: %s: %s: %s (%d)\n", what, err != NULL ? err->where : "", err != NULL ? err->text : "",
            err != NULL ? err->sys : 0);
    abort();
}

void cw_test_db_need(char **argv)
{
    const char *socket = getenv("CW_TEST_DB_SOCKET");
    if (socket != NULL && socket[0] != '\0') {
        return;
    }
    static char wrapper[] = CW_TEST_SRCDIR "/tests/lib/with-mariadb";
    char *arguments[64] = { wrapper };
    for (size_t i = 0; argv[i] != NULL && i < CW_ARRAY_LEN(arguments) - 2; i++) {
        arguments[i + 1] = argv[i];
    }
    execv(wrapper, arguments);
    die("cannot run with-mariadb", NULL);
}

static void write_file(const struct cw_test_db *test, const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", test->folder, name);
    struct cw_err err;
    if (cw_file_replace(path, 0600, cw_span_cstr(content), &err) != CW_OK) {
        die("cannot write a file", &err);
    }
}

static struct cw_config *make_config(const struct cw_test_db *test, const char *database)
{
    char text[2048];
    snprintf(text, sizeof text,
             "[server]\norigin = https://cw.test\nsql_dir = " CW_TEST_SRCDIR "/sql\nstate_dir = %s\n"
             "[database]\nsocket = %s\nname = %s\nuser = root\npool = 8\n"
             "[vault]\nmaster_keys = test=%s/master.key\n",
             test->folder, getenv("CW_TEST_DB_SOCKET"), database, test->folder);
    struct cw_config *config = NULL;
    struct cw_err err;
    if (cw_config_parse(cw_span_cstr(text), &config, &err) != CW_OK) {
        die("configuration", &err);
    }
    return config;
}

/* Runs fn with a connection of a pool of its own to the system database. */
static void administer(const struct cw_test_db *test, const char *sql)
{
    struct cw_test_db admin = { .config = make_config(test, "mysql") };
    struct cw_err err;
    if (cw_db_pool_new(admin.config, 1, &admin.pool, &err) != CW_OK) {
        die("pool", &err);
    }
    cw_test_db_sql(&admin, sql);
    cw_db_pool_free(admin.pool);
    cw_config_free(admin.config);
}

void cw_test_db_init(struct cw_test_db *test, bool migrated)
{
    *test = (struct cw_test_db){ .config = NULL };
    snprintf(test->name, sizeof test->name, "cw_test_%ld_%u", (long)getpid(), (unsigned)cw_random_below(1u << 30));
    snprintf(test->folder, sizeof test->folder, "/tmp/cw-test.XXXXXX");
    if (mkdtemp(test->folder) == NULL) {
        die("no folder", NULL);
    }
    write_file(test, "master.key", "5b1f0d6c3e8a4f7290c1d2e3f4a5968778695a4b3c2d1e0f10213243546576a7\n");
    char sql[128];
    snprintf(sql, sizeof sql, "CREATE DATABASE %s CHARACTER SET utf8mb4", test->name);
    administer(test, sql);
    test->config = make_config(test, test->name);
    struct cw_err err;
    if (cw_db_pool_new(test->config, 0, &test->pool, &err) != CW_OK) {
        die("pool", &err);
    }
    if (migrated) {
        struct cw_db *db = NULL;
        unsigned ran = 0;
        if (cw_db_get(test->pool, 1000, &db, &err) != CW_OK ||
            cw_db_migrate(db, cw_config_text(test->config, CW_CONF_SQL_DIR), false, &ran, &err) != CW_OK) {
            die("migrations", &err);
        }
        cw_db_put(db);
    }
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    rmdir(folder);
}

void cw_test_db_release(struct cw_test_db *test)
{
    if (cw_test_db_full_scans(test) != 0) {
        die("a statement scans a whole table", NULL);
    }
    cw_db_pool_free(test->pool);
    char sql[128];
    snprintf(sql, sizeof sql, "DROP DATABASE %s", test->name);
    administer(test, sql);
    cw_config_free(test->config);
    remove_folder(test->folder);
}

static struct cw_db *borrow(struct cw_test_db *test)
{
    struct cw_db *db = NULL;
    struct cw_err err;
    if (cw_db_get(test->pool, 5000, &db, &err) != CW_OK) {
        die("no connection", &err);
    }
    return db;
}

void cw_test_db_sql(struct cw_test_db *test, const char *sql)
{
    struct cw_db *db = borrow(test);
    struct cw_err err;
    if (db_text(db, "test", cw_span_cstr(sql), &err) != CW_OK) {
        fprintf(stderr, "%s\n%s\n", sql, mysql_error(db->mysql));
        die("statement", &err);
    }
    cw_db_put(db);
}

int64_t cw_test_db_number(struct cw_test_db *test, const char *sql)
{
    struct cw_db *db = borrow(test);
    MYSQL_RES *result = NULL;
    if (mysql_real_query(db->mysql, sql, strlen(sql)) != 0 || (result = mysql_store_result(db->mysql)) == NULL) {
        fprintf(stderr, "%s\n%s\n", sql, mysql_error(db->mysql));
        die("query", NULL);
    }
    MYSQL_ROW row = mysql_fetch_row(result);
    int64_t number = -1;
    if (row == NULL || row[0] == NULL || !cw_span_i64(cw_span_cstr(row[0]), INT64_MIN, INT64_MAX, &number)) {
        die("no number", NULL);
    }
    mysql_free_result(result);
    cw_db_put(db);
    return number;
}

/* ---- EXPLAIN */

/* Tables that stay small, and whole ones that are read on purpose. */
static const char *const SMALL_TABLES[] = { "organization", "organization_return", "client_registration",
                                            "client_registration_host", "signing_key", "catalog_generation", "duty",
                                            "event_counter", "schema_migration", "tables" };
/* Walks of everything, by their purpose: the query's name ends so. */
#define WALK_SUFFIX ".walk"

static bool is_small(const char *table)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(SMALL_TABLES); i++) {
        if (strcmp(table, SMALL_TABLES[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A table by its alias ("FROM patient AS p"): the text is ours, so a plain look behind the alias is enough. */
static bool alias_is_small(const char *sql, const char *alias)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(SMALL_TABLES); i++) {
        char with_as[128];
        char without[128];
        snprintf(with_as, sizeof with_as, "%s AS %s", SMALL_TABLES[i], alias);
        snprintf(without, sizeof without, "%s %s", SMALL_TABLES[i], alias);
        if (strstr(sql, with_as) != NULL || strstr(sql, without) != NULL) {
            return true;
        }
    }
    return is_small(alias);
}

/* EXPLAIN with NULL for every parameter would be answered "impossible"; literals of each kind are put in. */
static void explain_text(const struct cw_query *query, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "EXPLAIN ");
    const char *kind = query->params;
    for (const char *c = query->sql; *c != '\0' && at + 40 < size; c++) {
        if (*c != '?') {
            out[at++] = *c;
            continue;
        }
        const char *literal = *kind == 'i' ? "1" : *kind == 't' ? "TIMESTAMP'2026-01-01 00:00:00'" : "x'41424344454647484142434445464748'";
        kind++;
        at += (size_t)snprintf(out + at, size - at, "%s", literal);
    }
    out[at] = '\0';
}

static bool scans(struct cw_db *db, const struct cw_query *query)
{
    char sql[16384];
    explain_text(query, sql, sizeof sql);
    if (mysql_real_query(db->mysql, sql, strlen(sql)) != 0) {
        return false; /* SET, GET_LOCK and the like cannot be explained */
    }
    bool found = false;
    MYSQL_RES *result = mysql_store_result(db->mysql);
    for (MYSQL_ROW row = mysql_fetch_row(result); row != NULL; row = mysql_fetch_row(result)) {
        const char *table = row[2];
        const char *type = row[3];
        bool derived = table != NULL && (table[0] == '<' || strstr(query->sql, "VALUES") != NULL);
        if (table != NULL && type != NULL && strcmp(type, "ALL") == 0 && !derived && !alias_is_small(query->sql, table)) {
            fprintf(stderr, "full scan: %s: table %s\n", query->name, table);
            found = true;
        }
    }
    mysql_free_result(result);
    return found;
}

static bool is_walk(const char *name)
{
    return cw_span_ends(cw_span_cstr(name), CW_SPAN(WALK_SUFFIX));
}

unsigned cw_test_db_full_scans(struct cw_test_db *test)
{
    /* The server's own statistics tables: InnoDB's persistent ones are not read again before the table leaves its cache. */
    cw_test_db_sql(test, "REPLACE INTO mysql.table_stats (db_name, table_name, cardinality)"
                         " SELECT table_schema, table_name, 1000000 FROM information_schema.tables"
                         " WHERE table_schema = DATABASE()");
    cw_test_db_sql(test, "REPLACE INTO mysql.index_stats (db_name, table_name, index_name, prefix_arity, avg_frequency)"
                         " SELECT table_schema, table_name, index_name, seq_in_index, 2 FROM information_schema.statistics"
                         " WHERE table_schema = DATABASE()");
    cw_test_db_sql(test, "FLUSH TABLES");
    struct cw_db *db = borrow(test);
    unsigned found = 0;
    for (struct cw_db *each = db; each != NULL; each = each == db ? test->pool->idle : each->next) {
        for (size_t i = 0; i < CW_DB_SETS * CW_DB_WAYS; i++) {
            const struct cw_query *query = each->statements[i / CW_DB_WAYS][i % CW_DB_WAYS].query;
            if (query != NULL && !is_walk(query->name) && scans(db, query)) {
                found++;
            }
        }
    }
    cw_db_put(db);
    return found;
}
