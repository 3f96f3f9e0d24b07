/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An import: all rows in one transaction, by bulk statements, since a national directory has 200,000 of them. The row of
 * catalog_generation is locked first, so that two imports come one after the other.
 */
#include "config.h"

#include "model/source.h"

#include "model/audit.h"
#include "os/sys.h"

#define IMPORT_ARENA_MAX (512u * 1024u * 1024u)
#define TEN "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define MANY 50u
#define FIELDS 12u

static const struct cw_query q_lock = {
    .name = "import.lock",
    .sql = "SELECT generation FROM catalog_generation WHERE environment = ? FOR UPDATE",
    .params = "i",
    .columns = "i",
};
static const struct cw_query q_known = {
    .name = "import.known",
    .sql = "SELECT identity_hash, id, name, brand, portal_name, portal_url, logo_url, vendor, address_line, city, state,"
           " postal_code, country, aliases FROM source WHERE environment = ?"
           " AND identity_hash IN (" TEN ", " TEN ", " TEN ", " TEN ", " TEN ") LIMIT 50",
    .params = "ibbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    .columns = "bbbbbbbbbbbbbb",
};
static const struct cw_query q_endpoints = {
    .name = "import.endpoints",
    .sql = "INSERT INTO endpoint (id, environment, url, url_hash, vendor, fhir_version, created_at)"
           " VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE vendor = COALESCE(vendor, VALUES(vendor)),"
           " fhir_version = COALESCE(fhir_version, VALUES(fhir_version))",
    .params = "bibbbbt",
    .columns = "",
};
static const struct cw_query q_endpoint_ids = {
    .name = "import.endpoint_ids",
    .sql = "SELECT url_hash, id FROM endpoint WHERE environment = ?"
           " AND url_hash IN (" TEN ", " TEN ", " TEN ", " TEN ", " TEN ") LIMIT 50",
    .params = "ibbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    .columns = "bb",
};
/* The endpoint's id comes as a value: MariaDB 10.11 evaluates a sub-select once for a whole array of parameters, and would give every source of
 * the array the first one's endpoint. */
static const struct cw_query q_sources = {
    .name = "import.sources",
    .sql = "INSERT INTO source (id, environment, endpoint, tenant_context, identity_hash, name, brand, portal_name,"
           " portal_url, logo_url, vendor, address_line, city, state, postal_code, country, aliases, imported_from,"
           " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bib" "bb" "bbbbbbbbbbbb" "btt",
    .columns = "",
};
static const struct cw_query q_primaries = {
    .name = "import.primaries",
    .sql = "UPDATE endpoint SET primary_source = ? WHERE environment = ? AND url_hash = ? AND primary_source IS NULL",
    .params = "bib",
    .columns = "",
};
static const struct cw_query q_change = {
    .name = "import.change",
    .sql = "UPDATE source SET name = ?, brand = ?, portal_name = ?, portal_url = ?, logo_url = ?, vendor = ?,"
           " address_line = ?, city = ?, state = ?, postal_code = ?, country = ?, aliases = ?, imported_from = ?,"
           " updated_at = ? WHERE id = ?",
    .params = "bbbbbbbbbbbb" "btb",
    .columns = "",
};
static const struct cw_query q_import = {
    .name = "import.record",
    .sql = "INSERT INTO catalog_import (id, environment, format, content_hash, rows_read, rows_created, rows_changed,"
           " rows_quarantined, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    .params = "bibbiiiit",
    .columns = "",
};
static const struct cw_query q_advance = {
    .name = "import.advance",
    .sql = "UPDATE catalog_generation SET generation = generation + 1 WHERE environment = ?",
    .params = "i",
    .columns = "",
};

/* What the import means to do with a row. */
enum fate { FATE_CREATE, FATE_CHANGE, FATE_KEEP };

struct item {
    const struct cw_source_row *row;
    enum fate fate;
    struct cw_ulid id;
    struct cw_ulid endpoint;
    uint8_t url_hash[CW_HASH_LEN];
};

struct import {
    struct cw_model *m;
    const struct cw_actor *actor;
    enum cw_environment environment;
    const char *format;
    const uint8_t *content_hash;
    const struct cw_source_row *rows;
    size_t count;
    unsigned quarantined;
    struct cw_arena *arena;
    struct cw_ulid id;
    int64_t now_us;
    struct item *items;   /* without repeated identities */
    size_t item_count;
    struct cw_import_counts counts;
};

/* The columns that an import may change, in the order of q_known and q_change. */
static void fields_of(const struct cw_source *s, struct cw_value out[FIELDS])
{
    const struct cw_span spans[FIELDS] = { s->name, s->brand, s->portal_name, s->portal_url, s->logo_url, s->vendor,
                                           s->address_line, s->city, s->state, s->postal_code, s->country, s->aliases };
    for (size_t i = 0; i < FIELDS; i++) {
        out[i] = cw_v_bytes(spans[i]);
    }
}

static bool same_fields(const struct cw_value *stored, const struct cw_value wanted[FIELDS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (stored[i].kind != wanted[i].kind || !cw_span_eq(stored[i].bytes, wanted[i].bytes)) {
            return false;
        }
    }
    return true;
}

static int by_identity(const void *a, const void *b)
{
    const struct cw_source_row *x = *(const struct cw_source_row *const *)a;
    const struct cw_source_row *y = *(const struct cw_source_row *const *)b;
    int order = memcmp(x->identity_hash, y->identity_hash, CW_HASH_LEN);
    return order != 0 ? order : (x > y) - (x < y);
}

/* Of rows with one identity the first counts. The others are found by sorting. */
static enum cw_code make_items(struct import *im, struct cw_err *err)
{
    const struct cw_source_row **sorted = cw_arena_array(im->arena, im->count + 1, sizeof *sorted);
    bool *repeated = cw_arena_array(im->arena, im->count + 1, sizeof *repeated);
    im->items = cw_arena_array(im->arena, im->count + 1, sizeof *im->items);
    if (sorted == NULL || repeated == NULL || im->items == NULL) {
        return cw_err_set(err, CW_E_TOO_BIG, "import", "too many rows");
    }
    for (size_t i = 0; i < im->count; i++) {
        sorted[i] = &im->rows[i];
    }
    qsort(sorted, im->count, sizeof *sorted, by_identity);
    for (size_t i = 1; i < im->count; i++) {
        if (memcmp(sorted[i]->identity_hash, sorted[i - 1]->identity_hash, CW_HASH_LEN) == 0) {
            repeated[sorted[i] - im->rows] = true;
        }
    }
    im->item_count = 0;
    for (size_t i = 0; i < im->count; i++) {
        if (!repeated[i]) {
            struct item *item = &im->items[im->item_count++];
            *item = (struct item){ .row = &im->rows[i] };
            cw_sha256(im->rows[i].normal_base, item->url_hash);
        }
    }
    return CW_OK;
}

/* ---- what is there already */

static enum cw_code compare_chunk(struct cw_db *db, struct import *im, struct item *items, size_t count,
                                  struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value params[MANY + 1] = { cw_v_int(im->environment) };
    for (size_t i = 0; i < MANY; i++) {
        params[i + 1] = cw_v_bytes(cw_span_of(items[i < count ? i : 0].row->identity_hash, CW_HASH_LEN));
    }
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_known, params, arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        struct cw_value wanted[FIELDS];
        fields_of(&items[i].row->source, wanted);
        items[i].fate = FATE_CREATE;
        for (size_t r = 0; r < rows.count; r++) {
            const struct cw_value *row = cw_row(&rows, r);
            if (memcmp(row[0].bytes.ptr, items[i].row->identity_hash, CW_HASH_LEN) == 0) {
                items[i].id = cw_value_id(&row[1]);
                items[i].fate = same_fields(row + 2, wanted) ? FATE_KEEP : FATE_CHANGE;
            }
        }
    }
    return rc;
}

static enum cw_code compare(struct cw_db *db, struct import *im, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(8u * 1024u * 1024u);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "import", "no memory");
    }
    enum cw_code rc = CW_OK;
    for (size_t done = 0; rc == CW_OK && done < im->item_count; done += MANY) {
        size_t chunk = im->item_count - done < MANY ? im->item_count - done : MANY;
        cw_arena_clear(arena);
        rc = compare_chunk(db, im, im->items + done, chunk, arena, err);
    }
    cw_arena_free(arena);
    im->counts = (struct cw_import_counts){ 0 };
    for (size_t i = 0; i < im->item_count; i++) {
        im->counts.created += im->items[i].fate == FATE_CREATE;
        im->counts.changed += im->items[i].fate == FATE_CHANGE;
        im->counts.unchanged += im->items[i].fate == FATE_KEEP;
    }
    return rc;
}

/* ---- which endpoint each source belongs to, once all of them are there */

static enum cw_code resolve_chunk(struct cw_db *db, struct import *im, struct item *items, size_t count,
                                  struct cw_arena *arena, struct cw_err *err)
{
    struct cw_value params[MANY + 1] = { cw_v_int(im->environment) };
    for (size_t i = 0; i < MANY; i++) {
        params[i + 1] = cw_v_bytes(cw_span_of(items[i < count ? i : 0].url_hash, CW_HASH_LEN));
    }
    struct cw_rows rows;
    enum cw_code rc = cw_db_select(db, &q_endpoint_ids, params, arena, &rows, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        for (size_t r = 0; r < rows.count; r++) {
            const struct cw_value *row = cw_row(&rows, r);
            if (memcmp(row[0].bytes.ptr, items[i].url_hash, CW_HASH_LEN) == 0) {
                items[i].endpoint = cw_value_id(&row[1]);
            }
        }
        if (cw_ulid_is_zero(items[i].endpoint)) {
            rc = cw_err_set(err, CW_E_NOT_FOUND, "import", "an endpoint is missing that was just written");
        }
    }
    return rc;
}

static enum cw_code resolve(struct cw_db *db, struct import *im, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new(1024u * 1024u);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "import", "no memory");
    }
    enum cw_code rc = CW_OK;
    for (size_t done = 0; rc == CW_OK && im->counts.created > 0 && done < im->item_count; done += MANY) {
        size_t chunk = im->item_count - done < MANY ? im->item_count - done : MANY;
        cw_arena_clear(arena);
        rc = resolve_chunk(db, im, im->items + done, chunk, arena, err);
    }
    cw_arena_free(arena);
    return rc;
}

/* ---- bulk statements over the rows of one fate */

typedef void fill_fn(const struct import *im, const struct item *item, struct cw_value *out);

static void fill_endpoint(const struct import *im, const struct item *item, struct cw_value *out)
{
    /* The endpoint's id is its first source's id: unique as well, and a retried transaction makes the same. */
    out[0] = cw_v_id(&item->id);
    out[1] = cw_v_int(im->environment);
    out[2] = cw_v_bytes(item->row->source.base_url);
    out[3] = cw_v_bytes(cw_span_of(item->url_hash, CW_HASH_LEN));
    out[4] = cw_v_bytes(item->row->source.vendor);
    out[5] = cw_v_bytes(item->row->fhir_version);
    out[6] = cw_v_time(im->now_us);
}

static void fill_source(const struct import *im, const struct item *item, struct cw_value *out)
{
    struct cw_span tenant = item->row->source.tenant_context;
    out[0] = cw_v_id(&item->id);
    out[1] = cw_v_int(im->environment);
    out[2] = cw_v_id(&item->endpoint);
    out[3] = cw_v_bytes(tenant.ptr == NULL ? CW_SPAN("") : tenant);
    out[4] = cw_v_bytes(cw_span_of(item->row->identity_hash, CW_HASH_LEN));
    fields_of(&item->row->source, out + 5);
    out[5 + FIELDS] = cw_v_id(&im->id);
    out[6 + FIELDS] = cw_v_time(im->now_us);
    out[7 + FIELDS] = cw_v_time(im->now_us);
}

static void fill_primary(const struct import *im, const struct item *item, struct cw_value *out)
{
    out[0] = cw_v_id(&item->id);
    out[1] = cw_v_int(im->environment);
    out[2] = cw_v_bytes(cw_span_of(item->url_hash, CW_HASH_LEN));
}

static void fill_change(const struct import *im, const struct item *item, struct cw_value *out)
{
    fields_of(&item->row->source, out);
    out[FIELDS] = cw_v_id(&im->id);
    out[FIELDS + 1] = cw_v_time(im->now_us);
    out[FIELDS + 2] = cw_v_id(&item->id);
}

static enum cw_code bulk(struct cw_db *db, struct import *im, const struct cw_query *query, enum fate fate, fill_fn *fill,
                         struct cw_err *err)
{
    size_t width = strlen(query->params);
    size_t most = fate == FATE_CREATE ? im->counts.created : im->counts.changed;
    if (most == 0) {
        return CW_OK;
    }
    struct cw_value *values = calloc(most * width, sizeof *values);
    if (values == NULL) {
        return cw_err_set(err, CW_E_OOM, "import", "no memory for the rows");
    }
    size_t count = 0;
    for (size_t i = 0; i < im->item_count; i++) {
        if (im->items[i].fate == fate) {
            fill(im, &im->items[i], values + count++ * width);
        }
    }
    enum cw_code rc = cw_db_bulk(db, query, values, count, NULL, err);
    free(values);
    return rc;
}

/* ---- the whole */

static enum cw_code record(struct cw_db *db, const struct import *im, struct cw_err *err)
{
    const struct cw_value row[] = {
        cw_v_id(&im->id),
        cw_v_int(im->environment),
        cw_v_bytes(cw_span_cstr(im->format)),
        cw_v_bytes(cw_span_of(im->content_hash, CW_HASH_LEN)),
        cw_v_int((int64_t)im->count + im->quarantined),
        cw_v_int(im->counts.created),
        cw_v_int(im->counts.changed),
        cw_v_int(im->quarantined),
        cw_v_time(im->now_us),
    };
    enum cw_code rc = cw_db_exec(db, &q_import, row, NULL, err);
    if (rc == CW_OK && im->counts.created + im->counts.changed != 0) {
        rc = cw_db_exec(db, &q_advance, (const struct cw_value[]){ cw_v_int(im->environment) }, NULL, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    char detail[96];
    snprintf(detail, sizeof detail, "created=%u changed=%u unchanged=%u quarantined=%u", im->counts.created,
             im->counts.changed, im->counts.unchanged, im->quarantined);
    const struct cw_audit_row audit = { .action = "source.import", .object = im->id, .detail = detail };
    return cw_audit_write(db, im->actor, &audit, err);
}

static enum cw_code import_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct import *im = arg;
    cw_arena_clear(im->arena);
    im->id = cw_ulid_new();
    im->now_us = cw_now_us();
    const struct cw_value *lock = NULL;
    enum cw_code rc = cw_db_one(db, &q_lock, (const struct cw_value[]){ cw_v_int(im->environment) }, im->arena, &lock, err);
    if (rc == CW_OK) {
        rc = make_items(im, err);
    }
    if (rc == CW_OK) {
        rc = compare(db, im, err);
    }
    for (size_t i = 0; i < im->item_count; i++) {
        if (im->items[i].fate == FATE_CREATE) {
            im->items[i].id = cw_ulid_new();
        }
    }
    if (rc == CW_OK) {
        rc = bulk(db, im, &q_endpoints, FATE_CREATE, fill_endpoint, err);
    }
    if (rc == CW_OK) {
        rc = resolve(db, im, err);
    }
    static const struct { const struct cw_query *query; enum fate fate; fill_fn *fill; } steps[] = {
        { &q_sources, FATE_CREATE, fill_source },
        { &q_primaries, FATE_CREATE, fill_primary },
        { &q_change, FATE_CHANGE, fill_change },
    };
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(steps); i++) {
        rc = bulk(db, im, steps[i].query, steps[i].fate, steps[i].fill, err);
    }
    return rc == CW_OK ? record(db, im, err) : rc;
}

enum cw_code cw_source_import(struct cw_model *m, const struct cw_actor *actor, enum cw_environment environment,
                              const char *format, const uint8_t content_hash[CW_HASH_LEN],
                              const struct cw_source_row *rows, size_t count, unsigned quarantined,
                              struct cw_import_counts *ret, struct cw_err *err)
{
    struct import im = {
        .m = m, .actor = actor, .environment = environment, .format = format, .content_hash = content_hash,
        .rows = rows, .count = count, .quarantined = quarantined, .arena = cw_arena_new(IMPORT_ARENA_MAX),
    };
    if (im.arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "import", "no memory");
    }
    enum cw_code rc = cw_tx_pool(m->pool, import_tx, &im, err);
    cw_arena_free(im.arena);
    if (rc == CW_OK) {
        *ret = im.counts;
    }
    return rc;
}
