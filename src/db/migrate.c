/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations: sql/NNNN_name.sql, run in order, forward only, recorded in schema_migration.
 *
 * MariaDB commits at each DDL statement, so a file cannot be one transaction. The row is written first and counts the
 * statements that are done; a run that was killed goes on behind the last one. The statement in flight may have been
 * applied without being counted: migrations say IF NOT EXISTS and the like wherever they can.
 */
#include "config.h"

#include "db/db_int.h"

#include <dirent.h>
#include <openssl/evp.h>

#include "base/limits.h"
#include "os/sys.h"

#define FILE_MAX_BYTES (4u * 1024u * 1024u)
#define FILES_MAX 1000u
#define NAME_MAX_BYTES 100u
#define LOCK_WAIT_S 60

static const struct cw_span CREATE_TABLE =
    CW_SPAN("CREATE TABLE IF NOT EXISTS schema_migration ("
            " version INT NOT NULL PRIMARY KEY,"
            " name VARBINARY(100) NOT NULL,"
            " sha256 BINARY(32) NOT NULL,"
            " statements_done INT NOT NULL,"
            " started_at DATETIME(3) NOT NULL,"
            " finished_at DATETIME(3) NULL"
            ") ENGINE=InnoDB");

static const struct cw_query q_lock = {
    .name = "migrate.lock",
    .sql = "SELECT GET_LOCK(CONCAT('chartway.migrate.', DATABASE()), ?)",
    .params = "i",
    .columns = "i",
};
static const struct cw_query q_unlock = {
    .name = "migrate.unlock",
    .sql = "SELECT RELEASE_LOCK(CONCAT('chartway.migrate.', DATABASE()))",
    .params = "",
    .columns = "i",
};
static const struct cw_query q_has_table = {
    .name = "migrate.has_table",
    .sql = "SELECT COUNT(*) FROM information_schema.tables"
           " WHERE table_schema = DATABASE() AND table_name = 'schema_migration'",
    .params = "",
    .columns = "i",
};
static const struct cw_query q_list = {
    .name = "migrate.list",
    .sql = "SELECT version, name, sha256, statements_done, finished_at FROM schema_migration ORDER BY version LIMIT 1000",
    .params = "",
    .columns = "ibbit",
};
static const struct cw_query q_start = {
    .name = "migrate.start",
    .sql = "INSERT INTO schema_migration (version, name, sha256, statements_done, started_at) VALUES (?, ?, ?, 0, ?)",
    .params = "ibbt",
    .columns = "",
};
static const struct cw_query q_step = {
    .name = "migrate.step",
    .sql = "UPDATE schema_migration SET statements_done = ? WHERE version = ?",
    .params = "ii",
    .columns = "",
};
static const struct cw_query q_finish = {
    .name = "migrate.finish",
    .sql = "UPDATE schema_migration SET finished_at = ? WHERE version = ?",
    .params = "ti",
    .columns = "",
};

/* One file of the folder beside what the database knows of it. */
struct migration {
    int64_t version;
    char *name;
    struct cw_span text;
    uint8_t sha256[32];
    bool known;
    bool finished;
    int64_t done;
};

struct plan {
    struct cw_arena *arena;
    struct migration *files;
    size_t count;
};

/* ---- reading the folder */

/* NNNN_name.sql */
static bool parse_name(const char *name, int64_t *ret_version)
{
    struct cw_span left = cw_span_cstr(name);
    struct cw_span digits;
    if (left.len > NAME_MAX_BYTES || !cw_span_ends(left, CW_SPAN(".sql")) || !cw_span_cut(&left, '_', &digits)) {
        return false;
    }
    return digits.len == 4 && cw_span_i64(digits, 1, 9999, ret_version);
}

static enum cw_code read_file(struct plan *plan, const char *dir, const char *name, struct cw_err *err)
{
    struct migration *file = &plan->files[plan->count];
    if (!parse_name(name, &file->version)) {
        return CW_OK; /* README and editors' leftovers */
    }
    const char *path = cw_arena_printf(plan->arena, "%s/%s", dir, name);
    file->name = cw_arena_text(plan->arena, cw_span_cstr(name));
    if (path == NULL || file->name == NULL) {
        return cw_err_set(err, CW_E_OOM, "migrate", "no memory for a file name");
    }
    CW_AUTO_STR text;
    cw_str_init(&text, FILE_MAX_BYTES);
    enum cw_code rc = cw_file_read(path, false, &text, err);
    if (rc != CW_OK) {
        return rc;
    }
    file->text = cw_arena_span(plan->arena, cw_str_span(&text));
    if (file->text.ptr == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "migrate", "the folder's files are too big together");
    }
    if (EVP_Digest(file->text.ptr, file->text.len, file->sha256, NULL, EVP_sha256(), NULL) != 1) {
        return cw_err_set(err, CW_E_OOM, "migrate", "SHA-256 failed");
    }
    plan->count++;
    return CW_OK;
}

static int by_version(const void *a, const void *b)
{
    const struct migration *x = a;
    const struct migration *y = b;
    return (x->version > y->version) - (x->version < y->version);
}

static enum cw_code read_dir(struct plan *plan, const char *dir, struct cw_err *err)
{
    plan->files = cw_arena_array(plan->arena, FILES_MAX, sizeof *plan->files);
    DIR *open_dir = opendir(dir);
    if (open_dir == NULL || plan->files == NULL) {
        if (open_dir != NULL) {
            closedir(open_dir);
        }
        return cw_err_set(err, CW_E_CONFIG, "migrate", "cannot read the folder of migrations (sql_dir)");
    }
    enum cw_code rc = CW_OK;
    for (const struct dirent *entry = readdir(open_dir); entry != NULL && rc == CW_OK; entry = readdir(open_dir)) {
        rc = plan->count < FILES_MAX ? read_file(plan, dir, entry->d_name, err)
                                     : cw_err_set(err, CW_E_TOO_BIG, "migrate", "too many migrations");
    }
    closedir(open_dir);
    if (rc != CW_OK) {
        return rc;
    }
    qsort(plan->files, plan->count, sizeof *plan->files, by_version);
    for (size_t i = 1; i < plan->count; i++) {
        if (plan->files[i].version == plan->files[i - 1].version) {
            return cw_err_set(err, CW_E_CONFIG, "migrate", "two files have the version %04d", (int)plan->files[i].version);
        }
    }
    return plan->count != 0 ? CW_OK : cw_err_set(err, CW_E_CONFIG, "migrate", "the folder holds no migrations");
}

/* ---- comparing with the database */

static enum cw_code match_row(struct plan *plan, const struct cw_value *row, struct cw_err *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct migration *file = &plan->files[i];
        if (file->version != row[0].number) {
            continue;
        }
        if (!cw_span_eq(row[2].bytes, cw_span_of(file->sha256, sizeof file->sha256))) {
            return cw_err_set(err, CW_E_CONFIG, "migrate", "migration %04d was changed after it ran", (int)file->version);
        }
        file->known = true;
        file->finished = row[4].kind != CW_V_NULL;
        file->done = row[3].number;
        return CW_OK;
    }
    return cw_err_set(err, CW_E_CONFIG, "migrate", "the database has migration %04d, which this build lacks: install the newer build",
                      (int)row[0].number);
}

static enum cw_code match_database(struct cw_db *db, struct plan *plan, struct cw_err *err)
{
    const struct cw_value *there = NULL;
    enum cw_code rc = cw_db_one(db, &q_has_table, NULL, plan->arena, &there, err);
    if (rc != CW_OK || there->number == 0) {
        return rc;
    }
    struct cw_rows rows;
    rc = cw_db_select(db, &q_list, NULL, plan->arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        rc = match_row(plan, cw_row(&rows, i), err);
    }
    return rc;
}

/* The folder, with what the database knows of each file. plan->arena is the caller's to free. */
static enum cw_code plan_make(struct cw_db *db, const char *dir, struct plan *plan, struct cw_err *err)
{
    *plan = (struct plan){ .arena = cw_arena_new(64u * 1024u * 1024u) };
    if (plan->arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "migrate", "no memory");
    }
    enum cw_code rc = read_dir(plan, dir, err);
    return rc == CW_OK ? match_database(db, plan, err) : rc;
}

/* ---- running */

/* Cuts the next statement: it ends with ';' at the end of a line. Lines that are blank or comments (`--`) between
 * statements are dropped. False at the end. */
static bool next_statement(struct cw_span *text, struct cw_span *ret_statement)
{
    const char *start = NULL;
    while (text->len != 0) {
        struct cw_span line;
        cw_span_cut(text, '\n', &line);
        struct cw_span trimmed = cw_span_trim(line);
        if (start == NULL && (trimmed.len == 0 || cw_span_starts(trimmed, CW_SPAN("--")))) {
            continue;
        }
        if (start == NULL) {
            start = trimmed.ptr;
        }
        if (cw_span_ends(trimmed, CW_SPAN(";")) && !cw_span_starts(trimmed, CW_SPAN("--"))) {
            *ret_statement = cw_span_of(start, (size_t)(trimmed.ptr + trimmed.len - 1 - start));
            return true;
        }
    }
    *ret_statement = cw_span_of(start, 0);
    return false;
}

static enum cw_code run_statements(struct cw_db *db, const struct migration *file, struct cw_err *err)
{
    struct cw_span text = file->text;
    struct cw_span statement;
    int64_t at = 0;
    for (; next_statement(&text, &statement); at++) {
        if (at < file->done) {
            continue;
        }
        enum cw_code rc = db_text(db, "migrate.run", statement, err);
        if (rc != CW_OK) {
            return cw_err_sys(err, rc, err != NULL ? err->sys : 0, "migrate.run", "migration %04d, statement %d: MariaDB refused",
                              (int)file->version, (int)at + 1);
        }
        rc = cw_db_exec(db, &q_step, (const struct cw_value[]){ cw_v_int(at + 1), cw_v_int(file->version) }, NULL, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    if (statement.ptr != NULL) {
        return cw_err_set(err, CW_E_CONFIG, "migrate", "migration %04d ends without ';'", (int)file->version);
    }
    return CW_OK;
}

static enum cw_code run_file(struct cw_db *db, const struct migration *file, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    if (!file->known) {
        const struct cw_value row[] = { cw_v_int(file->version), cw_v_bytes(cw_span_cstr(file->name)),
                                        cw_v_bytes(cw_span_of(file->sha256, sizeof file->sha256)), cw_v_time(cw_now_us()) };
        rc = cw_db_exec(db, &q_start, row, NULL, err);
    }
    if (rc == CW_OK) {
        rc = run_statements(db, file, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_exec(db, &q_finish, (const struct cw_value[]){ cw_v_time(cw_now_us()), cw_v_int(file->version) }, NULL, err);
    }
    return rc;
}

static enum cw_code run_all(struct cw_db *db, const struct plan *plan, bool dry_run, unsigned *ret_ran, struct cw_err *err)
{
    unsigned ran = 0;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->files[i].finished) {
            continue;
        }
        enum cw_code rc = dry_run ? CW_OK : run_file(db, &plan->files[i], err);
        if (rc != CW_OK) {
            return rc;
        }
        ran++;
    }
    *ret_ran = ran;
    return CW_OK;
}

static enum cw_code lock(struct cw_db *db, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(4096);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "migrate", "no memory");
    }
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_lock, (const struct cw_value[]){ cw_v_int(LOCK_WAIT_S) }, arena, &row, err);
    if (rc == CW_OK && (row[0].kind == CW_V_NULL || row[0].number != 1)) {
        rc = cw_err_set(err, CW_E_TIMEOUT, "migrate", "another process is migrating this database");
    }
    cw_arena_free(arena);
    return rc;
}

static enum cw_code unlock_row(void *arg, const struct cw_value *row, struct cw_err *err)
{
    (void)arg;
    (void)row;
    (void)err;
    return CW_OK;
}

static enum cw_code migrate_locked(struct cw_db *db, const char *dir, unsigned *ret_ran, struct cw_err *err)
{
    struct plan plan = { .arena = NULL };
    enum cw_code rc = db_text(db, "migrate.table", CREATE_TABLE, err);
    if (rc == CW_OK) {
        rc = plan_make(db, dir, &plan, err);
    }
    if (rc == CW_OK) {
        rc = run_all(db, &plan, false, ret_ran, err);
    }
    cw_arena_free(plan.arena);
    return rc;
}

/* On a connection of its own, since an ALTER of a large table takes longer than any statement otherwise may. */
static enum cw_code migrate(struct cw_db *db, const char *dir, unsigned *ret_ran, struct cw_err *err)
{
    struct cw_db *own = calloc(1, sizeof *own);
    if (own == NULL) {
        return cw_err_set(err, CW_E_OOM, "migrate", "no memory");
    }
    own->pool = db->pool;
    enum cw_code rc = db_connect(own, false, err);
    if (rc == CW_OK) {
        rc = lock(own, err);
    }
    if (rc == CW_OK) {
        rc = migrate_locked(own, dir, ret_ran, err);
        /* The lock ends with the connection in any case. */
        enum cw_code ignored = cw_db_each(own, &q_unlock, NULL, unlock_row, NULL, NULL);
        (void)ignored;
    }
    db_disconnect(own);
    free(own);
    return rc;
}

enum cw_code cw_db_migrate(struct cw_db *db, const char *dir, bool dry_run, unsigned *ret_ran, struct cw_err *err)
{
    if (!dry_run) {
        return migrate(db, dir, ret_ran, err);
    }
    struct plan plan;
    enum cw_code rc = plan_make(db, dir, &plan, err);
    if (rc == CW_OK) {
        rc = run_all(db, &plan, true, ret_ran, err);
    }
    cw_arena_free(plan.arena);
    return rc;
}

enum cw_code cw_db_check_schema(struct cw_db *db, const char *dir, struct cw_err *err)
{
    struct plan plan;
    enum cw_code rc = plan_make(db, dir, &plan, err);
    unsigned missing = 0;
    if (rc == CW_OK) {
        rc = run_all(db, &plan, true, &missing, err);
    }
    cw_arena_free(plan.arena);
    if (rc == CW_OK && missing != 0) {
        return cw_err_set(err, CW_E_CONFIG, "migrate", "%u migrations have not run: run chartwayctl migrate", missing);
    }
    return rc;
}
