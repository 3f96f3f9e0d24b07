/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections and their pool. A connection is opened when one is first wanted, kept for the next caller, and replaced
 * when it was lost. After one loss every idle connection is pinged before it is lent again: a restarted server costs
 * one caller an error, not each of them.
 */
#include "config.h"

#include "db/db_int.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <poll.h>
#include <time.h>

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

/* Numbers that the client headers of one version or the other lack. */
enum { ER_CONNECTION_KILLED_ = 1927, ER_STATEMENT_TIMEOUT_ = 1969, ER_CHECKREAD_ = 1020 };

static const char SESSION_SETUP[] =
    "SET time_zone='+00:00', tx_isolation='READ-COMMITTED', autocommit=1,"
    " sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'";

static enum cw_code code_of(unsigned number)
{
    switch (number) {
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_CHECKREAD_: /* innodb_snapshot_isolation of MariaDB 11: the row changed under the snapshot */
        return CW_E_RETRY;
    case ER_DUP_ENTRY:
    case ER_DUP_ENTRY_WITH_KEY_NAME:
        return CW_E_CONFLICT;
    case ER_STATEMENT_TIMEOUT_:
        return CW_E_TIMEOUT;
    case ER_NET_PACKET_TOO_LARGE:
    case CR_NET_PACKET_TOO_LARGE:
        return CW_E_TOO_BIG;
    case CR_OUT_OF_MEMORY:
        return CW_E_OOM;
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_UNKNOWN_HOST:
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_LOST_EXTENDED:
    case ER_CON_COUNT_ERROR:
    case ER_TOO_MANY_USER_CONNECTIONS:
    case ER_SERVER_SHUTDOWN:
    case ER_QUERY_INTERRUPTED:
    case ER_CONNECTION_KILLED_:
    case ER_UNKNOWN_COM_ERROR:       /* 1047: a Galera node without a majority */
    case ER_ERROR_DURING_COMMIT:     /* 1180: the same, met by a write in flight */
    case ER_OPTION_PREVENTS_STATEMENT: /* 1290: read-only while a replica takes over */
        return CW_E_UNAVAILABLE;
    default:
        return CW_E_IO;
    }
}

static bool ends_connection(unsigned number)
{
    return number == CR_SERVER_GONE_ERROR || number == CR_SERVER_LOST || number == CR_SERVER_LOST_EXTENDED ||
           number == CR_COMMANDS_OUT_OF_SYNC || number == CR_MALFORMED_PACKET || number == ER_SERVER_SHUTDOWN ||
           number == ER_CONNECTION_KILLED_ || number == ER_NET_PACKET_TOO_LARGE || number == CR_NET_PACKET_TOO_LARGE;
}

enum cw_code db_fail(struct cw_db *db, unsigned number, const char *where, struct cw_err *err)
{
    struct cw_err local;
    if (err == NULL) {
        err = &local;
    }
    enum cw_code code = cw_err_sys(err, code_of(number), (int)number, where, "MariaDB refused");
    if (ends_connection(number)) {
        db->broken = true;
        pthread_mutex_lock(&db->pool->lock);
        db->pool->era++;
        pthread_mutex_unlock(&db->pool->lock);
    }
    /* A duplicate is a definite answer: InnoDB undoes that statement alone, and the caller may go on. */
    if (db->in_tx && db->doom.code == CW_OK && code != CW_E_CONFLICT) {
        db->doom = *err;
    }
    return code;
}

enum cw_code db_ready(struct cw_db *db, const char *where, struct cw_err *err)
{
    if (db->walking) {
        cw_bug("a statement inside cw_db_each on the same connection");
    }
    if (db->in_tx && db->doom.code != CW_OK) {
        if (err != NULL) {
            *err = db->doom;
        }
        return db->doom.code;
    }
    if (db->broken) {
        return cw_err_sys(err, CW_E_UNAVAILABLE, CR_SERVER_GONE_ERROR, where, "the connection was lost before");
    }
    return CW_OK;
}

enum cw_code db_text(struct cw_db *db, const char *where, struct cw_span sql, struct cw_err *err)
{
    if (mysql_real_query(db->mysql, sql.ptr, sql.len) != 0) {
        return db_fail(db, mysql_errno(db->mysql), where, err);
    }
    /* A result that nobody asked for would put the connection out of step. */
    MYSQL_RES *result = mysql_use_result(db->mysql);
    if (result != NULL) {
        mysql_free_result(result);
    }
    return CW_OK;
}

/* ---- one connection */

static void set_options(const struct cw_db_pool *pool, MYSQL *mysql, bool limits)
{
    unsigned connect_s = 5;
    unsigned io_s = 40; /* above max_statement_time, so that the server gives up first and says so */
    unsigned off = 0;
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    if (limits) {
        mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &io_s);
        mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
        mysql_options(mysql, MYSQL_INIT_COMMAND, "SET max_statement_time=30, innodb_lock_wait_timeout=10");
    }
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(mysql, MYSQL_INIT_COMMAND, SESSION_SETUP);
    if (pool->tls_ca != NULL) {
        /* SSL_ENFORCE alone connects in clear when the server offers no TLS; only VERIFY refuses (Connector/C 3.3). */
        my_bool on = 1;
        mysql_options(mysql, MYSQL_OPT_SSL_CA, pool->tls_ca);
        mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
    }
}

enum cw_code db_connect(struct cw_db *db, bool limits, struct cw_err *err)
{
    struct cw_db_pool *pool = db->pool;
    db->mysql = mysql_init(NULL);
    if (db->mysql == NULL) {
        return cw_err_set(err, CW_E_OOM, "db", "no memory for a connection");
    }
    set_options(pool, db->mysql, limits);
    /* FOUND_ROWS: an UPDATE reports the rows that its WHERE met, so that "nothing to change" and "no such row" differ. */
    if (mysql_real_connect(db->mysql, pool->host, pool->user, pool->password.ptr, pool->name, pool->port, pool->socket,
                           CLIENT_FOUND_ROWS) == NULL) {
        unsigned number = mysql_errno(db->mysql);
        db_disconnect(db);
        enum cw_code code = code_of(number);
        return cw_err_sys(err, code == CW_E_IO ? CW_E_CONFIG : code, (int)number, "db", "cannot connect");
    }
    if (pool->tls_ca != NULL && mysql_get_ssl_cipher(db->mysql) == NULL) {
        db_disconnect(db);
        return cw_err_set(err, CW_E_CONFIG, "db", "the server offered no TLS");
    }
    db->broken = false;
    return CW_OK;
}

void db_disconnect(struct cw_db *db)
{
    db_statements_close(db);
    if (db->mysql != NULL) {
        mysql_close(db->mysql);
        db->mysql = NULL;
    }
    db->in_tx = false;
    db->doom = (struct cw_err){ .code = CW_OK };
}

/* ---- the pool */

static void library_init(void)
{
    if (mysql_library_init(0, NULL, NULL) != 0) {
        cw_bug("mysql_library_init failed");
    }
}

static bool copy_text(const struct cw_config *config, enum cw_config_key key, char **ret_text)
{
    const char *text = cw_config_text(config, key);
    *ret_text = NULL;
    if (text[0] == '\0') {
        return true;
    }
    *ret_text = strdup(text);
    return *ret_text != NULL;
}

static enum cw_code read_password(struct cw_db_pool *pool, const char *path, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init_secret(&text, 1024);
    enum cw_code rc = cw_file_read(path, true, &text, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_secret_set(&pool->password, cw_span_trim(cw_str_span(&text)));
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "db", "no memory");
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

static enum cw_code read_settings(struct cw_db_pool *pool, const struct cw_config *config, struct cw_err *err)
{
    if (!copy_text(config, CW_CONF_DB_SOCKET, &pool->socket) || !copy_text(config, CW_CONF_DB_HOST, &pool->host) ||
        !copy_text(config, CW_CONF_DB_NAME, &pool->name) || !copy_text(config, CW_CONF_DB_USER, &pool->user) ||
        !copy_text(config, CW_CONF_DB_TLS_CA, &pool->tls_ca)) {
        return cw_err_set(err, CW_E_OOM, "db", "no memory for settings");
    }
    pool->port = (unsigned)cw_config_int(config, CW_CONF_DB_PORT);
    if (pool->socket != NULL) {
        free(pool->host);
        free(pool->tls_ca);
        pool->host = NULL;
        pool->tls_ca = NULL;
    } else if (pool->host == NULL) {
        return cw_err_set(err, CW_E_CONFIG, "db", "[database] needs socket or host");
    } else if (pool->tls_ca == NULL && !is_loopback(pool->host)) {
        return cw_err_set(err, CW_E_CONFIG, "db", "[database] tls_ca is required for another host");
    }
    const char *password_file = cw_config_text(config, CW_CONF_DB_PASSWORD_FILE);
    return password_file[0] == '\0' ? CW_OK : read_password(pool, password_file, err);
}

enum cw_code cw_db_pool_new(const struct cw_config *config, unsigned size, struct cw_db_pool **ret_pool,
                            struct cw_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* the library's own state: mysql_library_init must not run twice */
    pthread_once(&once, library_init);
    struct cw_db_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return cw_err_set(err, CW_E_OOM, "db", "no memory for a pool");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&pool->lock, NULL);
    pool->size = size != 0 ? size : (unsigned)cw_config_int(config, CW_CONF_DB_POOL);
    enum cw_code rc = read_settings(pool, config, err);
    if (rc != CW_OK) {
        cw_db_pool_free(pool);
        return rc;
    }
    *ret_pool = pool;
    return CW_OK;
}

void cw_db_pool_free(struct cw_db_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (pool->idle != NULL) {
        struct cw_db *db = pool->idle;
        pool->idle = db->next;
        pool->open--;
        db_disconnect(db);
        free(db);
    }
    if (pool->open != 0) {
        cw_bug("cw_db_pool_free with a connection still borrowed");
    }
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->socket);
    free(pool->host);
    free(pool->name);
    free(pool->user);
    free(pool->tls_ca);
    cw_secret_release(&pool->password);
    free(pool);
}

/* Gives back the right to one connection. */
static void release_slot(struct cw_db_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->open--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

/* Takes an idle connection (*ret_db) or the right to open one (*ret_db NULL). */
static enum cw_code take_slot(struct cw_db_pool *pool, int64_t deadline_us, struct cw_db **ret_db, unsigned *ret_era,
                              struct cw_err *err)
{
    struct timespec deadline = { .tv_sec = (time_t)(deadline_us / CW_SECOND_US),
                                 .tv_nsec = (long)(deadline_us % CW_SECOND_US) * 1000 };
    int wait = 0;
    pthread_mutex_lock(&pool->lock);
    while (pool->idle == NULL && pool->open >= pool->size && wait == 0) {
        wait = pthread_cond_timedwait(&pool->freed, &pool->lock, &deadline);
    }
    struct cw_db *db = pool->idle;
    bool granted = db != NULL || pool->open < pool->size;
    if (db != NULL) {
        pool->idle = db->next;
    } else if (granted) {
        pool->open++;
    }
    *ret_era = pool->era;
    pthread_mutex_unlock(&pool->lock);
    if (!granted) {
        return cw_err_set(err, CW_E_UNAVAILABLE, "db.pool", "no connection became free in time");
    }
    *ret_db = db;
    return CW_OK;
}

static void pause_ms(uint64_t ms)
{
    struct timespec pause = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
    nanosleep(&pause, NULL);
}

/* Opens db, once more after a short random pause when the server is away and the caller has time. */
static enum cw_code open_patiently(struct cw_db *db, int64_t deadline_us, struct cw_err *err)
{
    enum cw_code rc = db_connect(db, true, err);
    uint64_t jitter_ms = 50 + cw_random_below(100);
    if (rc == CW_E_UNAVAILABLE && cw_monotonic_us() + (int64_t)jitter_ms * 1000 < deadline_us) {
        pause_ms(jitter_ms);
        rc = db_connect(db, true, err);
    }
    return rc;
}

/* Something lies on the socket of a connection that asked nothing: the server's good-bye, or the end. */
static bool has_word(const struct cw_db *db)
{
    struct pollfd socket = { .fd = mysql_get_socket(db->mysql), .events = POLLIN };
    return poll(&socket, 1, 0) != 0;
}

/* A round trip only where there is reason to doubt: a server that was started anew a moment ago must cost nobody a request. */
static bool still_works(struct cw_db *db, unsigned era)
{
    bool doubt = db->era != era || cw_monotonic_us() - db->idle_since_us >= CW_DB_IDLE_CHECK_US || has_word(db);
    return !doubt || mysql_ping(db->mysql) == 0;
}

enum cw_code cw_db_get(struct cw_db_pool *pool, unsigned wait_ms, struct cw_db **ret_db, struct cw_err *err)
{
    /* Free to repeat: Connector/C keeps no state a thread, other client libraries with this interface do. */
    mysql_thread_init();
    int64_t deadline_us = cw_monotonic_us() + (int64_t)wait_ms * 1000;
    struct cw_db *db = NULL;
    unsigned era = 0;
    enum cw_code rc = take_slot(pool, deadline_us, &db, &era, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (db == NULL) {
        db = calloc(1, sizeof *db);
        if (db == NULL) {
            release_slot(pool);
            return cw_err_set(err, CW_E_OOM, "db", "no memory for a connection");
        }
        db->pool = pool;
    } else if (!still_works(db, era)) {
        db_disconnect(db);
    }
    if (db->mysql == NULL) {
        rc = open_patiently(db, deadline_us, err);
        if (rc != CW_OK) {
            free(db);
            release_slot(pool);
            return rc;
        }
    }
    db->era = era;
    db->next = NULL;
    *ret_db = db;
    return CW_OK;
}

void cw_db_put(struct cw_db *db)
{
    if (db == NULL) {
        return;
    }
    struct cw_db_pool *pool = db->pool;
    if (db->in_tx || db->walking) {
        cw_bug("a connection given back inside a transaction or a result");
    }
    if (db->broken) {
        db_disconnect(db);
        free(db);
        release_slot(pool);
        return;
    }
    db->idle_since_us = cw_monotonic_us();
    pthread_mutex_lock(&pool->lock);
    db->next = pool->idle;
    pool->idle = db;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}
