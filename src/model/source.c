/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the catalogue. A source's row comes with its endpoint's URL; ids live for ever, so a retired source leads to
 * its successor.
 */
#include "config.h"

#include "model/source.h"

#include "model/audit.h"
#include "os/sys.h"

#define SUCCESSORS_MAX 8u
#define WALK_PAGE 2000
#define WALK_ARENA_MAX (32u * 1024u * 1024u)

#define COLUMNS \
    "SELECT s.id, s.endpoint, s.environment, s.tenant_context, s.name, s.brand, s.portal_name, s.portal_url, s.logo_url," \
    " s.vendor, s.address_line, s.city, s.state, s.postal_code, s.country, s.aliases, e.url, s.retired_at, s.successor," \
    " s.updated_at, s.profile FROM source AS s JOIN endpoint AS e ON e.id = s.endpoint"
#define COLUMN_KINDS "bbib" "bbbbb" "b" "bbbbb" "bb" "tbtb"
enum {
    C_ID, C_ENDPOINT, C_ENVIRONMENT, C_TENANT, C_NAME, C_BRAND, C_PORTAL, C_PORTAL_URL, C_LOGO, C_VENDOR, C_ADDRESS,
    C_CITY, C_STATE, C_POSTAL, C_COUNTRY, C_ALIASES, C_URL, C_RETIRED, C_SUCCESSOR, C_UPDATED,
    C_PROFILE
};
#define TEN "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define MANY 50u

static const struct cw_query q_get = {
    .name = "source.get",
    .sql = COLUMNS " WHERE s.id = ?",
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_many = {
    .name = "source.many",
    .sql = COLUMNS " WHERE s.id IN (" TEN ", " TEN ", " TEN ", " TEN ", " TEN ") LIMIT 50",
    .params = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_primary = {
    .name = "source.primary",
    .sql = "SELECT primary_source FROM endpoint WHERE environment = ? AND url_hash = ?",
    .params = "ib",
    .columns = "b",
};
static const struct cw_query q_list = {
    .name = "source.list",
    .sql = COLUMNS " WHERE s.environment = ? AND s.id > ? AND s.retired_at IS NULL ORDER BY s.id LIMIT ?",
    .params = "ibi",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_list_vendor = {
    .name = "source.list_vendor",
    .sql = COLUMNS " WHERE s.environment = ? AND s.vendor = ? AND s.id > ? AND s.retired_at IS NULL ORDER BY s.id LIMIT ?",
    .params = "ibbi",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_generation = {
    .name = "source.generation",
    .sql = "SELECT generation FROM catalog_generation WHERE environment = ?",
    .params = "i",
    .columns = "i",
};

static const struct cw_query q_profile = {
    .name = "source.profile",
    .sql = "UPDATE source SET profile = ? WHERE id = ?",
    .params = "bb",
    .columns = "",
};

static void read_row(const struct cw_value *row, struct cw_source *ret)
{
    *ret = (struct cw_source){
        .id = { cw_value_id(&row[C_ID]) },
        .endpoint = { cw_value_id(&row[C_ENDPOINT]) },
        .environment = (enum cw_environment)row[C_ENVIRONMENT].number,
        .tenant_context = row[C_TENANT].bytes,
        .name = row[C_NAME].bytes,
        .brand = row[C_BRAND].bytes,
        .portal_name = row[C_PORTAL].bytes,
        .portal_url = row[C_PORTAL_URL].bytes,
        .logo_url = row[C_LOGO].bytes,
        .vendor = row[C_VENDOR].bytes,
        .address_line = row[C_ADDRESS].bytes,
        .city = row[C_CITY].bytes,
        .state = row[C_STATE].bytes,
        .postal_code = row[C_POSTAL].bytes,
        .country = row[C_COUNTRY].bytes,
        .aliases = row[C_ALIASES].bytes,
        .base_url = row[C_URL].bytes,
        .profile = row[C_PROFILE].bytes,
        .retired = row[C_RETIRED].kind != CW_V_NULL,
        .updated_us = row[C_UPDATED].number,
    };
}

static enum cw_code get(struct cw_db *db, enum cw_environment environment, struct cw_source_id id, struct cw_arena *arena,
                        struct cw_source *ret, struct cw_err *err)
{
    for (unsigned step = 0; step <= SUCCESSORS_MAX; step++) {
        const struct cw_value *row = NULL;
        enum cw_code rc = cw_db_one(db, &q_get, (const struct cw_value[]){ cw_v_id(&id.ulid) }, arena, &row, err);
        if (rc != CW_OK) {
            return rc;
        }
        if (row[C_ENVIRONMENT].number != (int64_t)environment) {
            return cw_err_set(err, CW_E_NOT_FOUND, "source", "no such source in this environment");
        }
        if (row[C_RETIRED].kind == CW_V_NULL || row[C_SUCCESSOR].kind == CW_V_NULL) {
            read_row(row, ret);
            return CW_OK;
        }
        id = (struct cw_source_id){ cw_value_id(&row[C_SUCCESSOR]) };
    }
    return cw_err_set(err, CW_E_NOT_FOUND, "source", "the chain of successors is too long");
}

static enum cw_code borrow(struct cw_model *m, struct cw_db **ret, struct cw_err *err)
{
    return cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, ret, err);
}

enum cw_code cw_source_get(struct cw_model *m, enum cw_environment environment, struct cw_source_id id,
                           struct cw_arena *arena, struct cw_source *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = borrow(m, &db, err);
    if (rc == CW_OK) {
        rc = get(db, environment, id, arena, ret, err);
    }
    cw_db_put(db);
    return rc;
}

static enum cw_code resolve_url(struct cw_db *db, enum cw_environment environment, struct cw_span normal_base,
                                struct cw_arena *arena, struct cw_source *ret, struct cw_err *err)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(normal_base, hash);
    const struct cw_value params[] = { cw_v_int(environment), cw_v_bytes(cw_span_of(hash, sizeof hash)) };
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_primary, params, arena, &row, err);
    if (rc == CW_OK && row[0].kind == CW_V_NULL) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "source", "an endpoint without a source");
    }
    return rc == CW_OK ? get(db, environment, (struct cw_source_id){ cw_value_id(&row[0]) }, arena, ret, err) : rc;
}

enum cw_code cw_source_resolve(struct cw_model *m, enum cw_environment environment, struct cw_span id_or_url,
                               struct cw_span normal_base, struct cw_arena *arena, struct cw_source *ret,
                               struct cw_err *err)
{
    struct cw_source_id id;
    bool is_id = cw_id_parse(CW_PREFIX_SOURCE, id_or_url, &id.ulid);
    if (!is_id && normal_base.ptr == NULL) {
        return cw_err_set(err, CW_E_NOT_FOUND, "source", "neither an id of a source nor a base URL");
    }
    struct cw_db *db = NULL;
    enum cw_code rc = borrow(m, &db, err);
    if (rc == CW_OK) {
        rc = is_id ? get(db, environment, id, arena, ret, err)
                   : resolve_url(db, environment, normal_base, arena, ret, err);
    }
    cw_db_put(db);
    return rc;
}

/* At most MANY ids by one query; those that are retired go their own way. */
static enum cw_code get_chunk(struct cw_db *db, enum cw_environment environment, const struct cw_source_id *ids,
                              size_t count, struct cw_arena *arena, struct cw_source *list, size_t *ret_count,
                              struct cw_err *err)
{
    static const struct cw_ulid zero;
    struct cw_value params[MANY];
    for (size_t i = 0; i < MANY; i++) {
        params[i] = cw_v_id(i < count ? &ids[i].ulid : &zero);
    }
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_many, params, arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        const struct cw_value *found = NULL;
        for (size_t r = 0; r < rows.count && found == NULL; r++) {
            const struct cw_value *row = cw_row(&rows, r);
            found = cw_ulid_eq(cw_value_id(&row[C_ID]), ids[i].ulid) ? row : NULL;
        }
        if (found == NULL || found[C_ENVIRONMENT].number != (int64_t)environment) {
            continue;
        }
        if (found[C_RETIRED].kind == CW_V_NULL) {
            read_row(found, &list[(*ret_count)++]);
            continue;
        }
        rc = get(db, environment, ids[i], arena, &list[*ret_count], err);
        *ret_count += rc == CW_OK;
        rc = rc == CW_E_NOT_FOUND ? CW_OK : rc;
    }
    return rc;
}

enum cw_code cw_source_get_many(struct cw_model *m, enum cw_environment environment, const struct cw_source_id *ids,
                                size_t count, struct cw_arena *arena, struct cw_source **ret, size_t *ret_count,
                                struct cw_err *err)
{
    struct cw_source *list = cw_arena_array(arena, count + 1, sizeof *list);
    if (list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "source", "the arena is full");
    }
    struct cw_db *db = NULL;
    size_t found = 0;
    enum cw_code rc = count == 0 ? CW_OK : borrow(m, &db, err);
    for (size_t done = 0; rc == CW_OK && done < count; done += MANY) {
        size_t chunk = count - done < MANY ? count - done : MANY;
        rc = get_chunk(db, environment, ids + done, chunk, arena, list, &found, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = found;
    }
    return rc;
}

static enum cw_code list_page(struct cw_model *m, enum cw_environment environment, struct cw_span vendor,
                              struct cw_ulid after, int64_t most, struct cw_arena *arena, struct cw_source **ret,
                              size_t *ret_count, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = borrow(m, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_rows rows = { .count = 0 };
    if (vendor.ptr == NULL) {
        const struct cw_value params[] = { cw_v_int(environment), cw_v_id(&after), cw_v_int(most) };
        rc = cw_db_select(db, &q_list, params, arena, &rows, err);
    } else {
        const struct cw_value params[] = { cw_v_int(environment), cw_v_bytes(vendor), cw_v_id(&after), cw_v_int(most) };
        rc = cw_db_select(db, &q_list_vendor, params, arena, &rows, err);
    }
    cw_db_put(db);
    struct cw_source *list = rc == CW_OK ? cw_arena_array(arena, rows.count + 1, sizeof *list) : NULL;
    if (rc == CW_OK && list == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "source", "the arena is full");
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        read_row(cw_row(&rows, i), &list[i]);
    }
    if (rc == CW_OK) {
        *ret = list;
        *ret_count = rows.count;
    }
    return rc;
}

enum cw_code cw_source_list(struct cw_model *m, enum cw_environment environment, struct cw_span vendor,
                            struct cw_ulid after, unsigned limit, struct cw_arena *arena, struct cw_source **ret,
                            size_t *ret_count, struct cw_err *err)
{
    return list_page(m, environment, vendor, after, (int64_t)limit + 1, arena, ret, ret_count, err);
}

static enum cw_code walk(struct cw_model *m, enum cw_environment environment, struct cw_arena *arena, cw_source_fn *fn,
                         void *arg, struct cw_err *err)
{
    struct cw_ulid after = { { 0 } };
    for (size_t count = WALK_PAGE; count == WALK_PAGE;) {
        struct cw_source *page = NULL;
        cw_arena_clear(arena);
        enum cw_code rc = list_page(m, environment, cw_span_of(NULL, 0), after, WALK_PAGE, arena, &page, &count, err);
        for (size_t i = 0; rc == CW_OK && i < count; i++) {
            after = page[i].id.ulid;
            rc = fn(arg, &page[i], err);
        }
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

/* By pages, and the generation first: what changes meanwhile makes it newer, and the index is built again. */
enum cw_code cw_source_each(struct cw_model *m, enum cw_environment environment, cw_source_fn *fn, void *arg,
                            uint64_t *ret_generation, struct cw_err *err)
{
    uint64_t generation = 0;
    enum cw_code rc = cw_catalog_generation(m, environment, &generation, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_arena *arena = cw_arena_new(WALK_ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "source", "no memory");
    }
    rc = walk(m, environment, arena, fn, arg, err);
    cw_arena_free(arena);
    if (rc == CW_OK) {
        *ret_generation = generation;
    }
    return rc;
}

static enum cw_code take_number(void *arg, const struct cw_value *row, struct cw_err *err)
{
    (void)err;
    uint64_t *number = arg;
    *number = (uint64_t)row[0].number;
    return CW_OK;
}

enum cw_code cw_catalog_generation(struct cw_model *m, enum cw_environment environment, uint64_t *ret,
                                   struct cw_err *err)
{
    struct cw_db *db = NULL;
    uint64_t generation = 0;
    enum cw_code rc = borrow(m, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_each(db, &q_generation, (const struct cw_value[]){ cw_v_int(environment) }, take_number, &generation, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        *ret = generation;
    }
    return rc;
}

struct set_profile {
    const struct cw_actor *actor;
    struct cw_source_id id;
    struct cw_span profile;
};

static enum cw_code set_profile_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct set_profile *set = arg;
    uint64_t met = 0;
    const struct cw_value values[] = { cw_v_bytes(set->profile), cw_v_id(&set->id.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_profile, values, &met, err);
    if (rc == CW_OK && met == 0) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "source", "no such source");
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row audit = { .action = set->profile.len > 0 ? "source.profile" : "source.profile_clear",
                                        .object = set->id.ulid };
    return cw_audit_write(db, set->actor, &audit, err);
}

enum cw_code cw_source_set_profile(struct cw_model *m, const struct cw_actor *actor, struct cw_source_id id,
                                   struct cw_span profile, struct cw_err *err)
{
    struct set_profile set = { .actor = actor, .id = id, .profile = profile };
    return cw_tx_pool(m->pool, set_profile_tx, &set, err);
}
