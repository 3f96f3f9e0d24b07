/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client registrations. A row comes once for each of its host patterns and is folded, as Sessions are. Choosing one
 * looks at hosts alone; what a source says of its vendor only says where to look.
 */
#include "config.h"

#include "model/registration.h"

#include "base/limits.h"
#include "base/text.h"
#include "model/audit.h"
#include "model/keys.h"
#include "os/sys.h"

#define SLUG_MAX 32u
#define CLIENT_ID_MAX 512u
#define HOSTS_MAX 50u
#define HOST_MAX 255u
#define SECRET_MAX 4000u
#define SCOPES_MAX 4096u
#define WORD_MAX 64u

#define COLUMNS \
    "SELECT r.id, r.environment, r.slug, r.vendor, r.source, r.client_id, r.auth_method, r.scopes, r.profile," \
    " r.created_at, h.pattern, b.opened_at, b.probe_at FROM client_registration AS r" \
    " LEFT JOIN registration_breaker AS b ON b.registration = r.id" \
    " LEFT JOIN client_registration_host AS h ON h.registration = r.id"
#define COLUMN_KINDS "bibbbbibbtbtt"
enum { C_ID, C_ENVIRONMENT, C_SLUG, C_VENDOR, C_SOURCE, C_CLIENT, C_METHOD, C_SCOPES, C_PROFILE, C_CREATED, C_PATTERN, C_REJECTED, C_PROBE };

static const struct cw_query q_list = {
    .name = "registration.list",
    .sql = COLUMNS " WHERE r.disabled_at IS NULL ORDER BY r.id, h.pattern LIMIT 10000",
    .params = "",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_slug = {
    .name = "registration.by_slug",
    .sql = COLUMNS " WHERE r.slug = ? ORDER BY h.pattern LIMIT 100",
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_id = {
    .name = "registration.by_id",
    .sql = COLUMNS " WHERE r.id = ? ORDER BY h.pattern LIMIT 100",
    .params = "b",
    .columns = COLUMN_KINDS,
};
/* A source's own first, then its vendor's; the newest first. */
static const struct cw_query q_candidates = {
    .name = "registration.candidates",
    .sql = COLUMNS " WHERE r.environment = ? AND r.disabled_at IS NULL AND (r.source = ? OR r.vendor = ?)"
                   " ORDER BY r.source IS NULL, r.id DESC, h.pattern LIMIT 5000",
    .params = "ibb",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_insert = {
    .name = "registration.insert",
    .sql = "INSERT INTO client_registration (id, slug, environment, vendor, source, client_id, auth_method,"
           " secret_sealed, key_version, scopes, profile, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bbibbbibibbt",
    .columns = "",
};
static const struct cw_query q_insert_host = {
    .name = "registration.insert_host",
    .sql = "INSERT IGNORE INTO client_registration_host (registration, pattern) VALUES (?, ?)",
    .params = "bb",
    .columns = "",
};
static const struct cw_query q_secret = {
    .name = "registration.secret",
    .sql = "SELECT secret_sealed, key_version FROM client_registration WHERE id = ?",
    .params = "b",
    .columns = "bi",
};

static const char *const METHODS[] = {
    [CW_AUTH_NONE] = "none",
    [CW_AUTH_BASIC] = "client_secret_basic",
    [CW_AUTH_POST] = "client_secret_post",
    [CW_AUTH_KEY_JWT] = "private_key_jwt",
};

const char *cw_auth_method_name(enum cw_auth_method method)
{
    return METHODS[method];
}

bool cw_auth_method_parse(struct cw_span name, enum cw_auth_method *ret)
{
    for (size_t i = CW_AUTH_NONE; i < CW_ARRAY_LEN(METHODS); i++) {
        if (cw_span_eq_cstr(name, METHODS[i])) {
            *ret = (enum cw_auth_method)i;
            return true;
        }
    }
    return false;
}

/* ---- hosts */

/* Cuts ":port" off; a port that is not there is absent. */
static struct cw_span cut_port(struct cw_span *host_port)
{
    size_t colon = host_port->len;
    for (size_t i = host_port->len; i > 0 && host_port->ptr[i - 1] != ']'; i--) {
        if (host_port->ptr[i - 1] == ':') {
            colon = i - 1;
            break;
        }
    }
    struct cw_span port = cw_span_of(NULL, 0);
    if (colon < host_port->len) {
        port = cw_span_from(*host_port, colon + 1);
        *host_port = cw_span_upto(*host_port, colon);
    }
    return port;
}

static bool host_matches(struct cw_span host, struct cw_span pattern)
{
    if (!cw_span_starts(pattern, CW_SPAN("*."))) {
        return cw_span_eq_nocase(host, pattern);
    }
    struct cw_span suffix = cw_span_from(pattern, 1); /* with its dot: at least one label stands before it */
    return host.len > suffix.len && cw_span_eq_nocase(cw_span_from(host, host.len - suffix.len), suffix);
}

/* A pattern without a port says nothing about ports: net/ lets out only 443 and what the operator's allow-list names. */
bool cw_host_matches(struct cw_span host_port, const struct cw_span *patterns, size_t count)
{
    struct cw_span host = host_port;
    struct cw_span port = cut_port(&host);
    for (size_t i = 0; i < count; i++) {
        struct cw_span pattern = patterns[i];
        struct cw_span wanted = cut_port(&pattern);
        bool port_fits = wanted.ptr == NULL || cw_span_eq(wanted, port.ptr == NULL ? CW_SPAN("443") : port);
        if (port_fits && host.len != 0 && host_matches(host, pattern)) {
            return true;
        }
    }
    return false;
}

static bool pattern_is_good(struct cw_span pattern)
{
    if (pattern.len == 0 || pattern.len > HOST_MAX) {
        return false;
    }
    struct cw_span host = pattern;
    struct cw_span port = cut_port(&host);
    uint64_t number = 0;
    if (port.ptr != NULL && (!cw_span_u64(port, 65535, &number) || number == 0)) {
        return false;
    }
    if (cw_span_starts(host, CW_SPAN("*."))) {
        host = cw_span_from(host, 2);
        /* "*.com" would hand our secret to half the world. */
        if (cw_span_find(host, '.') == host.len) {
            return false;
        }
    }
    bool address = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '.' && c != '-' && !(address && (c == ':' || c == '[' || c == ']'))) {
            return false;
        }
    }
    return host.len != 0;
}

/* ---- checks of a new one */

static bool is_word(struct cw_span text, size_t max)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (max != SLUG_MAX && (c == '_' || c == '.')))) {
            return false;
        }
    }
    return text.len != 0 && text.len <= max;
}

/* Visible ASCII, as RFC 6749 appendix A wants of client_id, client_secret and scope; `blank` too. */
static bool is_visible(struct cw_span text, size_t max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e) {
            return false;
        }
    }
    return text.len != 0 && text.len <= max;
}

static enum cw_code check_hosts(const struct cw_registration *wanted, struct cw_err *err)
{
    if (wanted->host_count == 0 || wanted->host_count > HOSTS_MAX) {
        return cw_err_set(err, CW_E_RANGE, "registration", "1 to %u host patterns are needed", HOSTS_MAX);
    }
    for (size_t i = 0; i < wanted->host_count; i++) {
        if (!pattern_is_good(wanted->hosts[i])) {
            return cw_err_set(err, CW_E_RANGE, "registration", "host pattern %zu is not host, host:port or *.suffix", i + 1);
        }
    }
    return CW_OK;
}

static enum cw_code check(const struct cw_registration *wanted, struct cw_span secret, struct cw_err *err)
{
    bool for_source = !cw_ulid_is_zero(wanted->source.ulid);
    bool for_vendor = wanted->vendor.ptr != NULL;
    bool with_secret = wanted->method == CW_AUTH_BASIC || wanted->method == CW_AUTH_POST;
    const char *wrong = NULL;
    if (for_source == for_vendor) {
        wrong = "either a source or a vendor is needed, and not both";
    } else if (for_vendor && !is_word(wanted->vendor, WORD_MAX)) {
        wrong = "the vendor's name may hold a-z, 0-9, '-', '_' and '.', at most 64";
    } else if (wanted->slug.ptr != NULL && !is_word(wanted->slug, SLUG_MAX)) {
        wrong = "the slug may hold a-z, 0-9 and '-', at most 32";
    } else if (!is_visible(wanted->client_id, CLIENT_ID_MAX)) {
        wrong = "the client id must be 1 to 512 visible ASCII characters";
    } else if (with_secret && !is_visible(secret, SECRET_MAX)) {
        wrong = "this method needs a client secret of 1 to 4000 visible ASCII characters";
    } else if (!with_secret && secret.ptr != NULL) {
        wrong = "this method takes no client secret";
    } else if (wanted->scopes.ptr != NULL && !is_visible(wanted->scopes, SCOPES_MAX)) {
        wrong = "the scopes must be visible ASCII, at most 4096";
    } else if (wanted->profile.ptr != NULL && !is_word(wanted->profile, WORD_MAX)) {
        wrong = "the profile's name may hold a-z, 0-9, '-', '_' and '.', at most 64";
    }
    return wrong != NULL ? cw_err_set(err, CW_E_RANGE, "registration", "%s", wrong) : check_hosts(wanted, err);
}

/* ---- adding */

struct add {
    struct cw_model *m;
    const struct cw_actor *actor;
    const struct cw_registration *wanted;
    struct cw_span secret;
    struct cw_arena *arena;
    struct cw_registration_id id;
};

/* Without a wish: 16 random letters of base32, lower case. */
static struct cw_span slug_of(const struct cw_registration *wanted, char made[17])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    if (wanted->slug.ptr != NULL) {
        return wanted->slug;
    }
    uint8_t random[16];
    cw_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        made[i] = letters[random[i] % 32];
    }
    return cw_span_of(made, 16);
}

static enum cw_code insert_hosts(struct cw_db *db, const struct add *add, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < add->wanted->host_count; i++) {
        const struct cw_value values[] = { cw_v_id(&add->id.ulid), cw_v_bytes(add->wanted->hosts[i]) };
        rc = cw_db_exec(db, &q_insert_host, values, NULL, err);
    }
    return rc;
}

static enum cw_code add_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct add *add = arg;
    const struct cw_registration *wanted = add->wanted;
    cw_arena_clear(add->arena);
    add->id = (struct cw_registration_id){ cw_ulid_new() };
    CW_AUTO_DATA_KEY key = { .version = 0 };
    struct cw_value sealed;
    enum cw_code rc = cw_org_key_current(add->m, db, cw_installation(), &key, err);
    if (rc == CW_OK) {
        rc = cw_cell_seal(&key, CW_AAD("client_registration.secret", add->id), add->secret, add->arena, &sealed, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    char made[17];
    bool for_source = !cw_ulid_is_zero(wanted->source.ulid);
    const struct cw_value values[] = {
        cw_v_id(&add->id.ulid),
        cw_v_bytes(slug_of(wanted, made)),
        cw_v_int(wanted->environment),
        cw_v_bytes(wanted->vendor),
        for_source ? cw_v_id(&wanted->source.ulid) : cw_v_null(),
        cw_v_bytes(wanted->client_id),
        cw_v_int(wanted->method),
        sealed,
        cw_v_int(key.version),
        cw_v_bytes(wanted->scopes),
        cw_v_bytes(wanted->profile),
        cw_v_time(cw_now_us()),
    };
    rc = cw_db_exec(db, &q_insert, values, NULL, err);
    if (rc == CW_OK) {
        rc = insert_hosts(db, add, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row audit = { .action = "registration.add", .object = add->id.ulid,
                                        .detail = cw_auth_method_name(wanted->method) };
    return cw_audit_write(db, add->actor, &audit, err);
}

enum cw_code cw_registration_add(struct cw_model *m, const struct cw_actor *actor, const struct cw_registration *wanted,
                                 struct cw_span secret, struct cw_registration_id *ret, struct cw_err *err)
{
    enum cw_code rc = check(wanted, secret, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct add add = { .m = m, .actor = actor, .wanted = wanted, .secret = secret, .arena = cw_arena_new(65536) };
    if (add.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "registration", "no memory");
    }
    rc = cw_tx_pool(m->pool, add_tx, &add, err);
    cw_arena_free(add.arena);
    if (rc == CW_OK) {
        *ret = add.id;
    }
    return rc;
}

/* ---- reading */

/* Folds the rows [first, end) of one registration. */
static enum cw_code fold(const struct cw_rows *rows, size_t first, size_t end, struct cw_arena *arena,
                         struct cw_registration *ret, struct cw_err *err)
{
    const struct cw_value *row = cw_row(rows, first);
    struct cw_span *hosts = cw_arena_array(arena, end - first, sizeof *hosts);
    if (hosts == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "registration", "the arena is full");
    }
    *ret = (struct cw_registration){
        .id = { cw_value_id(&row[C_ID]) },
        .environment = (enum cw_environment)row[C_ENVIRONMENT].number,
        .slug = row[C_SLUG].bytes,
        .vendor = row[C_VENDOR].bytes,
        .client_id = row[C_CLIENT].bytes,
        .method = (enum cw_auth_method)row[C_METHOD].number,
        .scopes = row[C_SCOPES].bytes,
        .profile = row[C_PROFILE].bytes,
        .hosts = hosts,
        .created_us = row[C_CREATED].number,
        .rejected_us = row[C_REJECTED].number,
        .probe_us = row[C_PROBE].number,
    };
    if (row[C_SOURCE].kind != CW_V_NULL) {
        ret->source = (struct cw_source_id){ cw_value_id(&row[C_SOURCE]) };
    }
    for (size_t i = first; i < end; i++) {
        const struct cw_value *pattern = &cw_row(rows, i)[C_PATTERN];
        if (pattern->kind != CW_V_NULL) {
            hosts[ret->host_count++] = pattern->bytes;
        }
    }
    return CW_OK;
}

static enum cw_code fold_all(const struct cw_rows *rows, struct cw_arena *arena, struct cw_registration **ret,
                             size_t *ret_count, struct cw_err *err)
{
    struct cw_registration *list = cw_arena_array(arena, rows->count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "registration", "the arena is full");
    }
    size_t count = 0;
    enum cw_code rc = CW_OK;
    for (size_t first = 0, end = 0; rc == CW_OK && first < rows->count; first = end) {
        struct cw_span id = cw_row(rows, first)[C_ID].bytes;
        for (end = first; end < rows->count && cw_span_eq(cw_row(rows, end)[C_ID].bytes, id);) {
            end++;
        }
        rc = fold(rows, first, end, arena, &list[count++], err);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = count;
    }
    return rc;
}

static enum cw_code select_all(struct cw_model *m, const struct cw_query *query, const struct cw_value *params,
                               struct cw_arena *arena, struct cw_registration **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_rows rows;
    rc = cw_db_select(db, query, params, arena, &rows, err);
    cw_db_put(db);
    return rc == CW_OK ? fold_all(&rows, arena, ret, ret_count, err) : rc;
}

static enum cw_code select_one(struct cw_model *m, const struct cw_query *query, struct cw_value key,
                               struct cw_arena *arena, struct cw_registration *ret, struct cw_err *err)
{
    struct cw_registration *list = NULL;
    size_t count = 0;
    enum cw_code rc = select_all(m, query, &key, arena, &list, &count, err);
    if (rc == CW_OK && count == 0) {
        return cw_err_set(err, CW_E_NOT_FOUND, "registration", "no such registration");
    }
    if (rc == CW_OK) {
        *ret = list[0];
    }
    return rc;
}

enum cw_code cw_registration_list(struct cw_model *m, struct cw_arena *arena, struct cw_registration **ret,
                                  size_t *ret_count, struct cw_err *err)
{
    return select_all(m, &q_list, NULL, arena, ret, ret_count, err);
}

enum cw_code cw_registration_by_slug(struct cw_model *m, struct cw_span slug, struct cw_arena *arena,
                                     struct cw_registration *ret, struct cw_err *err)
{
    return select_one(m, &q_slug, cw_v_bytes(slug), arena, ret, err);
}

enum cw_code cw_registration_get(struct cw_model *m, struct cw_registration_id id, struct cw_arena *arena,
                                 struct cw_registration *ret, struct cw_err *err)
{
    return select_one(m, &q_id, cw_v_id(&id.ulid), arena, ret, err);
}

static bool all_match(const struct cw_registration *registration, const struct cw_span *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!cw_host_matches(hosts[i], registration->hosts, registration->host_count)) {
            return false;
        }
    }
    return count != 0;
}

enum cw_code cw_registration_choose(struct cw_model *m, enum cw_environment environment, struct cw_source_id source,
                                    struct cw_span vendor, const struct cw_span *hosts, size_t host_count,
                                    struct cw_arena *arena, struct cw_registration *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_int(environment), cw_v_id(&source.ulid), cw_v_bytes(vendor) };
    struct cw_registration *list = NULL;
    size_t count = 0;
    enum cw_code rc = select_all(m, &q_candidates, params, arena, &list, &count, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        if (all_match(&list[i], hosts, host_count)) {
            *ret = list[i];
            return CW_OK;
        }
    }
    return rc != CW_OK ? rc : cw_err_set(err, CW_E_NOT_FOUND, "registration", "no registration fits this source's hosts");
}

/* ---- the secret */

static enum cw_code open_secret(struct cw_model *m, struct cw_db *db, struct cw_registration_id id, struct cw_arena *arena,
                                struct cw_secret *ret, struct cw_err *err)
{
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_secret, (const struct cw_value[]){ cw_v_id(&id.ulid) }, arena, &row, err);
    if (rc != CW_OK || row[0].kind == CW_V_NULL) {
        return rc;
    }
    CW_AUTO_DATA_KEY key = { .version = 0 };
    CW_AUTO_STR plain;
    cw_str_init_secret(&plain, row[0].bytes.len);
    rc = cw_org_key_version(m, db, cw_installation(), (uint32_t)row[1].number, &key, err);
    if (rc == CW_OK) {
        rc = cw_unseal(&key, CW_AAD("client_registration.secret", id), row[0].bytes, &plain, err);
    }
    if (rc == CW_OK && cw_secret_set(ret, cw_str_span(&plain)) != CW_OK) {
        rc = cw_err_set(err, CW_E_OOM, "registration", "no memory for a secret");
    }
    return rc;
}

enum cw_code cw_registration_secret(struct cw_model *m, struct cw_registration_id id, struct cw_secret *ret,
                                    struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(65536);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "registration", "no memory");
    }
    cw_secret_release(ret);
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = open_secret(m, db, id, arena, ret, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    return rc;
}
