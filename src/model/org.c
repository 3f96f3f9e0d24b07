/* SPDX-License-Identifier: Apache-2.0 */
/* Organizations and the addresses that their patients may be sent back to. */
#include "config.h"
#include "model/org.h"

#include "base/text.h"
#include "model/audit.h"
#include "os/sys.h"

#define NAME_CHARS_MAX 200u
#define RETURN_TARGET_MAX 255u

static const struct cw_query q_org_add = {
    .name = "org.add",
    .sql = "INSERT INTO organization (id, name, environment, created_at) VALUES (?, ?, ?, ?)",
    .params = "bbit",
    .columns = "",
};
#define ORG_COLUMNS "id, name, environment, identifier_system, direct_press, created_at"
#define ORG_KINDS "bbibit"
static const struct cw_query q_org_get = {
    .name = "org.get",
    .sql = "SELECT " ORG_COLUMNS " FROM organization WHERE id = ?",
    .params = "b",
    .columns = ORG_KINDS,
};
static const struct cw_query q_org_named = {
    .name = "org.named",
    .sql = "SELECT " ORG_COLUMNS " FROM organization WHERE name = ? LIMIT 2",
    .params = "b",
    .columns = ORG_KINDS,
};
static const struct cw_query q_org_list = {
    .name = "org.list",
    .sql = "SELECT " ORG_COLUMNS " FROM organization ORDER BY name, environment LIMIT 10000",
    .params = "",
    .columns = ORG_KINDS,
};
static const struct cw_query q_org_return_add = {
    .name = "org.return_add",
    .sql = "INSERT INTO organization_return (organization, target, created_at) VALUES (?, ?, ?)",
    .params = "bbt",
    .columns = "",
};
static const struct cw_query q_org_return_has = {
    .name = "org.return_has",
    .sql = "SELECT target FROM organization_return WHERE organization = ? AND target = ?",
    .params = "bb",
    .columns = "b",
};
static const struct cw_query q_org_return_list = {
    .name = "org.return_list",
    .sql = "SELECT target FROM organization_return WHERE organization = ? ORDER BY target LIMIT 1000",
    .params = "b",
    .columns = "b",
};

static void read_org(const struct cw_model *m, const struct cw_value *row, struct cw_org *ret)
{
    struct cw_span configured = cw_span_cstr(cw_config_text(m->config, CW_CONF_IDENTIFIER_SYSTEM));
    *ret = (struct cw_org){
        .id = { cw_value_id(&row[0]) },
        .name = row[1].bytes,
        .environment = (enum cw_environment)row[2].number,
        .identifier_system = row[3].kind == CW_V_NULL ? configured : row[3].bytes,
        .direct_press = row[4].number != 0,
        .created_us = row[5].number,
    };
}

static enum cw_code check_name(struct cw_span name, struct cw_err *err)
{
    if (!cw_utf8_valid(name) || cw_utf8_has_control(name)) {
        return cw_err_set(err, CW_E_RANGE, "org", "the name is not UTF-8 or holds control characters");
    }
    size_t length = cw_utf8_length(name);
    if (cw_span_trim(name).len != name.len || length == 0 || length > NAME_CHARS_MAX) {
        return cw_err_set(err, CW_E_RANGE, "org", "the name must have 1 to %u characters, no blank at its ends",
                          NAME_CHARS_MAX);
    }
    return CW_OK;
}

struct create {
    const struct cw_actor *actor;
    struct cw_org_id id;
    struct cw_span name;
    enum cw_environment environment;
};

static enum cw_code create_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct create *create = arg;
    struct cw_value params[] = { cw_v_id(&create->id.ulid), cw_v_bytes(create->name), cw_v_int(create->environment),
                                 cw_v_time(cw_now_us()) };
    enum cw_code rc = cw_db_exec(db, &q_org_add, params, NULL, err);
    if (rc == CW_E_CONFLICT) {
        return cw_err_set(err, rc, "org", "an organization of this name is in this environment already");
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row row = { .org = create->id, .action = "org.create", .object = create->id.ulid,
                                      .detail = cw_environment_name(create->environment) };
    return cw_audit_write(db, create->actor, &row, err);
}

enum cw_code cw_org_create(struct cw_model *m, const struct cw_actor *actor, struct cw_span name,
                           enum cw_environment environment, struct cw_org_id *ret, struct cw_err *err)
{
    enum cw_code rc = check_name(name, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct create create = { .actor = actor, .id = { cw_ulid_new() }, .name = name, .environment = environment };
    rc = cw_tx_pool(m->pool, create_tx, &create, err);
    if (rc == CW_OK) {
        *ret = create.id;
    }
    return rc;
}

enum cw_code cw_org_get(struct cw_model *m, struct cw_org_id id, struct cw_arena *arena, struct cw_org *ret,
                        struct cw_err *err)
{
    struct cw_db *db = NULL;
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_org_get, (struct cw_value[]){ cw_v_id(&id.ulid) }, arena, &row, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        read_org(m, row, ret);
    } else if (rc == CW_E_NOT_FOUND) {
        (void)cw_err_set(err, rc, "org", "no such organization");
    }
    return rc;
}

enum cw_code cw_org_find(struct cw_model *m, struct cw_span id_or_name, struct cw_arena *arena, struct cw_org *ret,
                         struct cw_err *err)
{
    struct cw_org_id id;
    if (cw_id_parse(CW_PREFIX_ORGANIZATION, id_or_name, &id.ulid)) {
        return cw_org_get(m, id, arena, ret, err);
    }
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        struct cw_span name = id_or_name.ptr == NULL ? CW_SPAN("") : id_or_name;
        rc = cw_db_select(db, &q_org_named, (struct cw_value[]){ cw_v_bytes(name) }, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    if (rows.count == 0) {
        return cw_err_set(err, CW_E_NOT_FOUND, "org", "no such organization");
    }
    if (rows.count > 1) {
        return cw_err_set(err, CW_E_CONFLICT, "org", "two organizations have this name: use the org_ id");
    }
    read_org(m, cw_row(&rows, 0), ret);
    return CW_OK;
}

enum cw_code cw_org_list(struct cw_model *m, struct cw_arena *arena, struct cw_org **ret, size_t *ret_count,
                         struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_org_list, NULL, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_org *orgs = cw_arena_array(arena, rows.count, sizeof *orgs);
    if (orgs == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "org", "too many organizations for the arena");
    }
    for (size_t i = 0; i < rows.count; i++) {
        read_org(m, cw_row(&rows, i), &orgs[i]);
    }
    *ret = orgs;
    *ret_count = rows.count;
    return CW_OK;
}

/* ---- where patients may be sent back to */

static bool all_of(struct cw_span text, const char *allowed)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr(allowed, text.ptr[i]) == NULL) {
            return false;
        }
    }
    return text.len > 0;
}

/* As a browser writes it, since targets are compared as text: lower case, no path, no port of the scheme's own. */
static bool is_origin(struct cw_span target)
{
    if (!cw_span_starts(target, CW_SPAN("https://"))) {
        return false;
    }
    struct cw_span rest = cw_span_from(target, 8);
    struct cw_span host;
    bool has_port = cw_span_cut(&rest, ':', &host);
    uint64_t port = 0;
    return all_of(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") && host.ptr[0] != '.' && host.ptr[0] != '-'
        && (!has_port || (rest.ptr[0] != '0' && cw_span_u64(rest, 65535, &port) && port != 443));
}

/* A private-use scheme is a domain name turned round (RFC 8252 7.1): its dot keeps javascript:, data: and the like out. */
static bool is_scheme(struct cw_span target)
{
    struct cw_span name = cw_span_upto(target, target.len == 0 ? 0 : target.len - 1);
    return cw_span_ends(target, CW_SPAN(":")) && all_of(name, "abcdefghijklmnopqrstuvwxyz0123456789.-+")
        && name.ptr[0] >= 'a' && name.ptr[0] <= 'z' && cw_span_find(name, '.') < name.len;
}

struct return_add {
    const struct cw_actor *actor;
    struct cw_org_id org;
    struct cw_span target;
};

static enum cw_code return_add_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct return_add *add = arg;
    struct cw_value params[] = { cw_v_id(&add->org.ulid), cw_v_bytes(add->target), cw_v_time(cw_now_us()) };
    enum cw_code rc = cw_db_exec(db, &q_org_return_add, params, NULL, err);
    if (rc == CW_E_CONFLICT) {
        return CW_OK; /* it is there: nothing was changed, nothing is to be told */
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row row = { .org = add->org, .action = "org.return_add" };
    return cw_audit_write(db, add->actor, &row, err);
}

enum cw_code cw_org_return_add(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               struct cw_span target, struct cw_err *err)
{
    if (target.len > RETURN_TARGET_MAX || (!is_origin(target) && !is_scheme(target))) {
        return cw_err_set(err, CW_E_RANGE, "org",
                          "a return target is an origin (https://app.example) or a scheme with a dot (com.example.app:)");
    }
    struct return_add add = { actor, org, target };
    return cw_tx_pool(m->pool, return_add_tx, &add, err);
}

enum cw_code cw_org_return_allowed(struct cw_model *m, struct cw_org_id org, struct cw_span target, bool *ret,
                                   struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(4096);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "org", "out of memory");
    }
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        struct cw_value params[] = { cw_v_id(&org.ulid), cw_v_bytes(target.ptr == NULL ? CW_SPAN("") : target) };
        rc = cw_db_select(db, &q_org_return_has, params, arena, &rows, err);
    }
    cw_db_put(db);
    cw_arena_free(arena);
    if (rc == CW_OK) {
        *ret = rows.count > 0;
    }
    return rc;
}

enum cw_code cw_org_return_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena, struct cw_span **ret,
                                size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    struct cw_rows rows = { 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_org_return_list, (struct cw_value[]){ cw_v_id(&org.ulid) }, arena, &rows, err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span *targets = cw_arena_array(arena, rows.count, sizeof *targets);
    if (targets == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "org", "too many return targets for the arena");
    }
    for (size_t i = 0; i < rows.count; i++) {
        targets[i] = cw_row(&rows, i)[0].bytes;
    }
    *ret = targets;
    *ret_count = rows.count;
    return CW_OK;
}
