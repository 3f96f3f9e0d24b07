/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints and what was discovered about them. A discovery that moves the issuer, an endpoint or the keys to another
 * host could send our client's secret to a stranger: it is held until an operator approves it, and the last good one
 * stays in use (design 13). An issuer and keys once told stay known when a later answer leaves them out, or that
 * answer would open the door to the next one.
 */
#include "config.h"

#include "model/source.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/limits.h"
#include "model/audit.h"
#include "os/sys.h"

#define HELD_MAX (2u * CW_DISCOVERY_MAX + 65536u) /* the document as a JSON string may double */
#define SOFTWARE_MAX 512u /* their columns */
#define FHIR_VERSION_MAX 16u
#define TX_ARENA_MAX (16u * 1024u * 1024u)

#define COLUMNS \
    "SELECT id, environment, url, vendor, issuer, authorization_url, token_url, revocation_url, jwks_url, discovery," \
    " discovered_at, capability, capability_at, held_discovery, retry_after, discovery_etag, discovery_until," \
    " discovery_failed_at, capability_failed_at, fhir_version, software FROM endpoint WHERE id = ?"
#define COLUMN_KINDS "bibbbbbbbb" "tbtbt" "bttt" "bb"
enum {
    C_ID, C_ENVIRONMENT, C_URL, C_VENDOR, C_ISSUER, C_AUTHORIZE, C_TOKEN, C_REVOKE, C_JWKS, C_DISCOVERY, C_DISCOVERED,
    C_CAPABILITY, C_CAPABILITY_AT, C_HELD, C_RETRY_AFTER, C_ETAG, C_UNTIL, C_FAILED, C_CAPABILITY_FAILED, C_FHIR_VERSION,
    C_SOFTWARE
};

static const struct cw_query q_get = {
    .name = "endpoint.get",
    .sql = COLUMNS,
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_lock = {
    .name = "endpoint.lock",
    .sql = COLUMNS " FOR UPDATE",
    .params = "b",
    .columns = COLUMN_KINDS,
};
static const struct cw_query q_store = {
    .name = "endpoint.store",
    .sql = "UPDATE endpoint SET issuer = COALESCE(?, issuer), authorization_url = ?, token_url = ?, revocation_url = ?,"
           " jwks_url = COALESCE(?, jwks_url),"
           " discovery = ?, discovered_at = ?, discovery_etag = ?, discovery_until = ?, discovery_failed_at = NULL,"
           " held_discovery = NULL, held_at = NULL WHERE id = ?",
    .params = "bbbbbbtbtb",
    .columns = "",
};
static const struct cw_query q_hold = {
    .name = "endpoint.hold",
    .sql = "UPDATE endpoint SET held_discovery = ?, held_at = ? WHERE id = ?",
    .params = "btb",
    .columns = "",
};
static const struct cw_query q_keep = {
    .name = "endpoint.keep",
    .sql = "UPDATE endpoint SET discovered_at = ?, discovery_until = ?, discovery_failed_at = NULL WHERE id = ?",
    .params = "ttb",
    .columns = "",
};
static const struct cw_query q_distrust = {
    .name = "endpoint.distrust",
    .sql = "UPDATE endpoint SET discovery_until = NULL, discovery_etag = NULL WHERE id = ?",
    .params = "b",
    .columns = "",
};
static const struct cw_query q_lacks_discovery = {
    .name = "endpoint.lacks_discovery",
    .sql = "UPDATE endpoint SET discovery_failed_at = ? WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_lacks_capability = {
    .name = "endpoint.lacks_capability",
    .sql = "UPDATE endpoint SET capability_failed_at = ? WHERE id = ?",
    .params = "tb",
    .columns = "",
};
static const struct cw_query q_capability = {
    .name = "endpoint.capability",
    .sql = "UPDATE endpoint SET capability = ?, vendor = COALESCE(?, vendor), fhir_version = COALESCE(?, fhir_version),"
           " software = COALESCE(?, software), capability_at = ?, capability_failed_at = NULL WHERE id = ?",
    .params = "bbbbtb",
    .columns = "",
};
static const struct cw_query q_outdate = {
    .name = "endpoint.outdate",
    .sql = "DELETE FROM endpoint_lesson WHERE endpoint = ? AND software IS NOT NULL AND software <> ?",
    .params = "bb",
    .columns = "",
};
static const struct cw_query q_quiet = {
    .name = "endpoint.quiet",
    .sql = "UPDATE endpoint SET retry_after = GREATEST(COALESCE(retry_after, ?), ?) WHERE id = ?",
    .params = "ttb",
    .columns = "",
};

static void read_row(const struct cw_value *row, struct cw_endpoint *ret)
{
    *ret = (struct cw_endpoint){
        .id = { cw_value_id(&row[C_ID]) },
        .environment = (enum cw_environment)row[C_ENVIRONMENT].number,
        .url = row[C_URL].bytes,
        .vendor = row[C_VENDOR].bytes,
        .issuer = row[C_ISSUER].bytes,
        .authorization_url = row[C_AUTHORIZE].bytes,
        .token_url = row[C_TOKEN].bytes,
        .revocation_url = row[C_REVOKE].bytes,
        .jwks_url = row[C_JWKS].bytes,
        .discovery = row[C_DISCOVERY].bytes,
        .discovered_us = row[C_DISCOVERED].number,
        .capability = row[C_CAPABILITY].bytes,
        .capability_us = row[C_CAPABILITY_AT].number,
        .held = row[C_HELD].kind != CW_V_NULL,
        .discovery_etag = row[C_ETAG].bytes,
        .discovery_until_us = row[C_UNTIL].number,
        .discovery_failed_us = row[C_FAILED].number,
        .capability_failed_us = row[C_CAPABILITY_FAILED].number,
        .fhir_version = row[C_FHIR_VERSION].bytes,
        .software = row[C_SOFTWARE].bytes,
        .retry_after_us = row[C_RETRY_AFTER].number,
    };
}

enum cw_code cw_endpoint_get(struct cw_model *m, struct cw_endpoint_id id, struct cw_arena *arena,
                             struct cw_endpoint *ret, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_value *row = NULL;
    rc = cw_db_one(db, &q_get, (const struct cw_value[]){ cw_v_id(&id.ulid) }, arena, &row, err);
    cw_db_put(db);
    if (rc == CW_OK) {
        read_row(row, ret);
    }
    return rc;
}

/* ---- hosts */

/* "host" or "host:port" of an absolute URL, without the scheme's own port. */
static struct cw_span host_of(struct cw_span url)
{
    size_t at = cw_span_find_span(url, CW_SPAN("://"));
    struct cw_span scheme = cw_span_upto(url, at);
    struct cw_span host = cw_span_from(url, at + 3);
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == '/' || host.ptr[i] == '?' || host.ptr[i] == '#') {
            host = cw_span_upto(host, i);
        }
    }
    struct cw_span own = cw_span_eq_nocase(scheme, CW_SPAN("http")) ? CW_SPAN(":80") : CW_SPAN(":443");
    return cw_span_ends(host, own) ? cw_span_upto(host, host.len - own.len) : host;
}

/* What was not told before, or is not told now, is no change of host. */
static bool moved(struct cw_span stored, struct cw_span found)
{
    return stored.ptr != NULL && found.ptr != NULL && !cw_span_eq_nocase(host_of(stored), host_of(found));
}

/* ---- storing */

struct store {
    const struct cw_actor *actor;
    const struct cw_endpoint *found;
    struct cw_arena *arena;
    bool held;
};

static enum cw_code put_discovery(struct cw_db *db, const struct cw_endpoint *found, struct cw_err *err)
{
    const struct cw_value values[] = {
        cw_v_bytes(found->issuer),         cw_v_bytes(found->authorization_url), cw_v_bytes(found->token_url),
        cw_v_bytes(found->revocation_url), cw_v_bytes(found->jwks_url),          cw_v_bytes(found->discovery),
        cw_v_time(found->discovered_us),   cw_v_bytes(found->discovery_etag),    cw_v_time_opt(found->discovery_until_us),
        cw_v_id(&found->id.ulid),
    };
    return cw_db_exec(db, &q_store, values, NULL, err);
}

/* All that approval needs, as one JSON object. */
static enum cw_code emit_held(const struct cw_endpoint *found, struct cw_str *out, struct cw_err *err)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "issuer", found->issuer);
    cw_jsonw_key_text(&w, "authorization_url", found->authorization_url);
    cw_jsonw_key_text(&w, "token_url", found->token_url);
    cw_jsonw_key_text(&w, "revocation_url", found->revocation_url);
    cw_jsonw_key_text(&w, "jwks_url", found->jwks_url);
    cw_jsonw_key_text(&w, "discovery", found->discovery);
    cw_jsonw_close_object(&w);
    enum cw_code rc = cw_jsonw_end(&w);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "endpoint", "the discovery is too big to hold");
}

static enum cw_code hold(struct cw_db *db, struct store *store, const struct cw_value *row, struct cw_err *err)
{
    CW_AUTO_STR held;
    cw_str_init(&held, HELD_MAX);
    enum cw_code rc = emit_held(store->found, &held, err);
    if (rc != CW_OK) {
        return rc;
    }
    store->held = true;
    if (row[C_HELD].kind != CW_V_NULL && cw_span_eq(row[C_HELD].bytes, cw_str_span(&held))) {
        return CW_OK; /* the same waits already */
    }
    const struct cw_value values[] = { cw_v_bytes(cw_str_span(&held)), cw_v_time(cw_now_us()), cw_v_id(&store->found->id.ulid) };
    rc = cw_db_exec(db, &q_hold, values, NULL, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row audit = { .action = "endpoint.held", .object = store->found->id.ulid };
    return cw_audit_write(db, store->actor, &audit, err);
}

static enum cw_code store_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct store *store = arg;
    cw_arena_clear(store->arena);
    store->held = false;
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_lock, (const struct cw_value[]){ cw_v_id(&store->found->id.ulid) }, store->arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_endpoint *found = store->found;
    if (moved(row[C_ISSUER].bytes, found->issuer) || moved(row[C_AUTHORIZE].bytes, found->authorization_url) ||
        moved(row[C_TOKEN].bytes, found->token_url) || moved(row[C_REVOKE].bytes, found->revocation_url) ||
        moved(row[C_JWKS].bytes, found->jwks_url)) {
        return hold(db, store, row, err);
    }
    return put_discovery(db, found, err);
}

enum cw_code cw_endpoint_store_discovery(struct cw_model *m, const struct cw_actor *actor,
                                         const struct cw_endpoint *found, bool *ret_held, struct cw_err *err)
{
    struct store store = { .actor = actor, .found = found, .arena = cw_arena_new(TX_ARENA_MAX) };
    if (store.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "endpoint", "no memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, store_tx, &store, err);
    cw_arena_free(store.arena);
    if (rc == CW_OK) {
        *ret_held = store.held;
    }
    return rc;
}

/* ---- approval */

struct approve {
    const struct cw_actor *actor;
    struct cw_endpoint_id id;
    struct cw_arena *arena;
};

static enum cw_code parse_held(struct cw_span text, json_t **ret_root, struct cw_endpoint *ret, struct cw_err *err)
{
    const struct cw_json_limits limits = { .max_bytes = HELD_MAX, .max_depth = 2 };
    enum cw_code rc = cw_json_parse(text, limits, ret_root, err);
    if (rc != CW_OK) {
        return rc;
    }
    const json_t *root = *ret_root;
    ret->issuer = cw_json_peek_text(root, "issuer");
    ret->authorization_url = cw_json_peek_text(root, "authorization_url");
    ret->token_url = cw_json_peek_text(root, "token_url");
    ret->revocation_url = cw_json_peek_text(root, "revocation_url");
    ret->jwks_url = cw_json_peek_text(root, "jwks_url");
    ret->discovery = cw_json_peek_text(root, "discovery");
    return CW_OK;
}

static enum cw_code approve_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct approve *approve = arg;
    cw_arena_clear(approve->arena);
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_lock, (const struct cw_value[]){ cw_v_id(&approve->id.ulid) }, approve->arena, &row, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (row[C_HELD].kind == CW_V_NULL) {
        return cw_err_set(err, CW_E_STATE, "endpoint", "no discovery waits for approval");
    }
    CW_AUTO_JSON *root = NULL;
    struct cw_endpoint found = { .id = approve->id, .discovered_us = cw_now_us() };
    rc = parse_held(row[C_HELD].bytes, &root, &found, err);
    if (rc == CW_OK) {
        rc = put_discovery(db, &found, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    const struct cw_audit_row audit = { .action = "endpoint.approve", .object = approve->id.ulid };
    return cw_audit_write(db, approve->actor, &audit, err);
}

enum cw_code cw_endpoint_approve(struct cw_model *m, const struct cw_actor *actor, struct cw_endpoint_id id,
                                 struct cw_err *err)
{
    struct approve approve = { .actor = actor, .id = id, .arena = cw_arena_new(TX_ARENA_MAX) };
    if (approve.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "endpoint", "no memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, approve_tx, &approve, err);
    cw_arena_free(approve.arena);
    return rc;
}

/* ---- small facts */

static enum cw_code update(struct cw_model *m, const struct cw_query *query, const struct cw_value *values, struct cw_err *err)
{
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc != CW_OK) {
        return rc;
    }
    uint64_t affected = 0;
    rc = cw_db_exec(db, query, values, &affected, err);
    cw_db_put(db);
    return rc == CW_OK && affected == 0 ? cw_err_set(err, CW_E_NOT_FOUND, "endpoint", "no such endpoint") : rc;
}

enum cw_code cw_endpoint_keep_discovery(struct cw_model *m, struct cw_endpoint_id id, int64_t until_us, struct cw_err *err)
{
    const struct cw_value values[] = { cw_v_time(cw_now_us()), cw_v_time(until_us), cw_v_id(&id.ulid) };
    return update(m, &q_keep, values, err);
}

enum cw_code cw_endpoint_note_lack(struct cw_model *m, struct cw_endpoint_id id, enum cw_endpoint_lack lack, struct cw_err *err)
{
    const struct cw_value values[] = { cw_v_time(cw_now_us()), cw_v_id(&id.ulid) };
    return update(m, lack == CW_LACKS_DISCOVERY ? &q_lacks_discovery : &q_lacks_capability, values, err);
}

enum cw_code cw_endpoint_distrust(struct cw_model *m, struct cw_endpoint_id id, struct cw_err *err)
{
    return update(m, &q_distrust, (const struct cw_value[]){ cw_v_id(&id.ulid) }, err);
}

struct capability {
    struct cw_endpoint_id id;
    struct cw_span summary, vendor, fhir_version, software;
};

static enum cw_code capability_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct capability *c = arg;
    uint64_t met = 0;
    const struct cw_value values[] = { cw_v_bytes(c->summary),  cw_v_bytes(c->vendor),  cw_v_bytes(c->fhir_version),
                                       cw_v_bytes(c->software), cw_v_time(cw_now_us()), cw_v_id(&c->id.ulid) };
    enum cw_code rc = cw_db_exec(db, &q_capability, values, &met, err);
    if (rc == CW_OK && met == 0) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "endpoint", "no such endpoint");
    }
    if (rc == CW_OK && c->software.len > 0) {
        rc = cw_db_exec(db, &q_outdate, (const struct cw_value[]){ cw_v_id(&c->id.ulid), cw_v_bytes(c->software) }, NULL, err);
    }
    return rc;
}

/* "name version" of a CapabilityStatement, cut to its column; empty when not told. */
static void software_of(struct cw_span summary, struct cw_str *out)
{
    CW_AUTO_JSON *root = NULL;
    const struct cw_json_limits limits = { .max_bytes = CW_CAPABILITY_MAX, .max_depth = CW_JSON_DEPTH_MAX };
    if (cw_json_parse(summary, limits, &root, NULL) != CW_OK) {
        return;
    }
    const json_t *software = json_object_get(root, "software");
    struct cw_span name = cw_span_upto(cw_json_peek_text(software, "name"), SOFTWARE_MAX / 2);
    struct cw_span version = cw_span_upto(cw_json_peek_text(software, "version"), SOFTWARE_MAX / 2 - 1);
    (void)cw_str_add_span(out, name);
    (void)cw_str_add_cstr(out, name.len > 0 && version.len > 0 ? " " : "");
    (void)cw_str_add_span(out, version);
}

enum cw_code cw_endpoint_store_capability(struct cw_model *m, struct cw_endpoint_id id, struct cw_span summary,
                                          struct cw_span vendor, struct cw_span fhir_version, struct cw_err *err)
{
    CW_AUTO_STR software;
    cw_str_init(&software, SOFTWARE_MAX);
    software_of(summary, &software);
    struct capability c = { .id = id, .summary = summary, .vendor = vendor };
    c.fhir_version = cw_span_upto(fhir_version, FHIR_VERSION_MAX); /* a longer one is none that we know */
    c.software = software.len > 0 ? cw_str_span(&software) : c.software;
    return cw_tx_pool(m->pool, capability_tx, &c, err);
}

/* Of two answers that ask for quiet the longer holds. */
enum cw_code cw_endpoint_set_quiet(struct cw_model *m, struct cw_endpoint_id id, int64_t until_us, struct cw_err *err)
{
    struct cw_value until = cw_v_time(until_us);
    return update(m, &q_quiet, (const struct cw_value[]){ until, until, cw_v_id(&id.ulid) }, err);
}
