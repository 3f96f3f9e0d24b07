/* SPDX-License-Identifier: Apache-2.0 */
/* "tombstone 1 PATIENT ORGANIZATION DELETED_AT FINAL_AT SUM", one a line; SUM is of what stands before it. */
#include "config.h"
#include "model/tombstone.h"

#include <stdio.h>

#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"

#define HEAD "tombstone 1 "
#define SUM_BYTES 8

static const struct cw_query q_missing = {
    .name = "tombstone.missing",
    .sql = "SELECT patient, organization, deleted_at, final_at FROM tombstone WHERE journaled_at IS NULL"
           " ORDER BY deleted_at LIMIT ?",
    .params = "i",
    .columns = "bbtt",
};
static const struct cw_query q_journaled = {
    .name = "tombstone.journaled",
    .sql = "UPDATE tombstone SET journaled_at = ? WHERE patient = ?",
    .params = "tb",
    .columns = "",
};

static void add_sum(struct cw_span text, struct cw_str *out)
{
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(text, hash);
    for (size_t i = 0; i < SUM_BYTES; i++) {
        (void)cw_str_addf(out, "%02x", hash[i]);
    }
}

enum cw_code cw_tombstone_emit(const struct cw_tombstone *tombstone, struct cw_str *out)
{
    char patient[CW_ID_TEXT_MAX], org[CW_ID_TEXT_MAX], deleted[CW_TIME_TEXT], final[CW_TIME_TEXT];
    cw_id_emit("", tombstone->patient.ulid, patient);
    cw_id_emit("", tombstone->org.ulid, org);
    cw_time_emit(tombstone->deleted_us, deleted);
    cw_time_emit(tombstone->final_us, final);
    CW_AUTO_STR text;
    cw_str_init(&text, CW_TOMBSTONE_LINE_MAX);
    (void)cw_str_addf(&text, HEAD "%s %s %s %s ", patient, org, deleted, final);
    (void)cw_str_add_span(out, cw_str_span(&text));
    add_sum(cw_str_span(&text), out);
    return cw_str_code(&text) == CW_OK ? cw_str_code(out) : cw_str_code(&text);
}

static bool read_fields(struct cw_span rest, struct cw_tombstone *ret)
{
    struct cw_span patient, org, deleted, final;
    return cw_span_cut(&rest, ' ', &patient) && cw_span_cut(&rest, ' ', &org) && cw_span_cut(&rest, ' ', &deleted) &&
           cw_span_cut(&rest, ' ', &final) && cw_id_parse("", patient, &ret->patient.ulid) &&
           cw_id_parse("", org, &ret->org.ulid) && cw_time_parse(deleted, false, &ret->deleted_us) &&
           cw_time_parse(final, false, &ret->final_us);
}

enum cw_code cw_tombstone_parse(struct cw_span line, struct cw_tombstone *ret)
{
    struct cw_tombstone read = { .deleted_us = 0 };
    if (line.len <= 2 * SUM_BYTES || line.len > CW_TOMBSTONE_LINE_MAX || !cw_span_starts(line, CW_SPAN(HEAD))) {
        return CW_E_SYNTAX;
    }
    struct cw_span text = cw_span_upto(line, line.len - 2 * SUM_BYTES);
    CW_AUTO_STR sum;
    cw_str_init(&sum, 2 * SUM_BYTES);
    add_sum(text, &sum);
    bool whole = cw_str_code(&sum) == CW_OK && cw_span_eq(cw_str_span(&sum), cw_span_from(line, text.len)) &&
                 read_fields(cw_span_from(text, sizeof HEAD - 1), &read);
    if (!whole) {
        return CW_E_SYNTAX;
    }
    *ret = read;
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- the journal */

static enum cw_code append(struct cw_model *m, const struct cw_value *row, struct cw_err *err)
{
    const struct cw_tombstone tombstone = {
        .patient = { cw_value_id(&row[0]) },
        .org = { cw_value_id(&row[1]) },
        .deleted_us = row[2].number,
        .final_us = row[3].number,
    };
    CW_AUTO_STR line;
    cw_str_init(&line, CW_TOMBSTONE_LINE_MAX);
    enum cw_code rc = cw_tombstone_emit(&tombstone, &line);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "tombstone", "the line could not be made");
    }
    rc = cw_file_append_line(cw_config_text(m->config, CW_CONF_TOMBSTONE_JOURNAL), cw_str_span(&line), err);
    if (rc != CW_OK) {
        cw_err_wrap(err, "tombstone journal");
    }
    return rc;
}

enum cw_code cw_tombstone_journal(struct cw_model *m, unsigned limit, unsigned *ret_count, struct cw_err *err)
{
    struct cw_arena *arena = cw_arena_new((size_t)64 * 1024);
    struct cw_db *db = NULL;
    struct cw_rows rows = { .count = 0 };
    const struct cw_value most[] = { cw_v_int(limit < 200 ? limit : 200) };
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "tombstone", "out of memory");
    }
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_select(db, &q_missing, most, arena, &rows, err);
    }
    for (size_t i = 0; rc == CW_OK && i < rows.count; i++) {
        rc = append(m, cw_row(&rows, i), err);
        if (rc == CW_OK) {
            const struct cw_value params[] = { cw_v_time(cw_now_us()), cw_row(&rows, i)[0] };
            rc = cw_db_exec(db, &q_journaled, params, NULL, err);
        }
    }
    cw_db_put(db);
    cw_arena_free(arena);
    if (rc == CW_OK) {
        *ret_count = (unsigned)rows.count;
    }
    return rc;
}
