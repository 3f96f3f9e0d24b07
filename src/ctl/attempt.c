/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attempt list | show: what happened to a patient who says "it does not work". The card is the failure's row of model/failure.h with
 * its texts, and the redacted exchange with the hospital.
 */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "model/attempt.h"
#include "model/connection.h"
#include "model/session.h"
#include "web/template.h"

#define LIST_DEFAULT 50u
#define LIST_MAX 1000u
#define CARD_MAX 65536u
#define LINES_MAX 64u

/* ---------------------------------------------------------------------------------------------- list */

static enum cw_code read_filter(struct ctl *ctl, struct cw_attempt_filter *ret, struct cw_err *err)
{
    const char *source_id = ctl_option(ctl, "--source"), *limit = ctl_option(ctl, "--limit");
    uint64_t most = LIST_DEFAULT;
    struct cw_org org;
    if (limit != NULL && (!cw_span_u64(cw_span_cstr(limit), LIST_MAX, &most) || most == 0)) {
        return ctl_usage(err, "--limit is a number from 1 to 1000");
    }
    enum cw_code rc = ctl_org(ctl, &org, err);
    *ret =
        (struct cw_attempt_filter){ .org = rc == CW_OK ? org.id : (struct cw_org_id){ { { 0 } } },
                                    .patient_id = cw_span_cstr(ctl_option(ctl, "--patient")),
                                    .failed = ctl_switch(ctl, "--failed"),
                                    .limit = (unsigned)most };
    if (rc == CW_OK && source_id != NULL) {
        struct cw_source source;
        rc = ctl_source(ctl, source_id, &source, err);
        ret->source = rc == CW_OK ? source.id : ret->source;
    }
    return rc;
}

static enum cw_code list(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "id", CTL_TEXT },           { "started_at", CTL_TIME },    { "status", CTL_TEXT },
        { "failure_code", CTL_TEXT }, { "patient_id", CTL_TEXT },    { "source_name", CTL_TEXT },
        { "source", CTL_TEXT },       { "connection_id", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_attempt_filter filter;
    struct cw_attempt_line *lines = NULL;
    size_t count = 0;
    if (ctl_option(ctl, "--patient") != NULL && ctl_option(ctl, "--source") != NULL) {
        return ctl_usage(err, "--patient or --source, one of the two");
    }
    enum cw_code rc = read_filter(ctl, &filter, err);
    if (rc == CW_OK) {
        rc = cw_attempt_list(&ctl->model, &filter, ctl->arena, &lines, &count, err);
    }
    struct ctl_cell *cells = rc == CW_OK ? ctl_cells(ctl, count, WIDTH, err) : NULL;
    if (cells == NULL) {
        return rc == CW_OK ? CW_E_TOO_BIG : rc;
    }
    for (size_t i = 0; i < count; i++) {
        const struct ctl_cell row[WIDTH] = {
            CTL_T(ctl_id(ctl, CW_PREFIX_ATTEMPT, lines[i].id.ulid)),
            CTL_N(lines[i].started_us),
            CTL_T(cw_span_cstr(cw_attempt_status_name(lines[i].status))),
            CTL_T(lines[i].failure_code),
            CTL_T(lines[i].patient_id),
            CTL_T(lines[i].source_name),
            CTL_T(ctl_id(ctl, CW_PREFIX_SOURCE, lines[i].source.ulid)),
            CTL_T(ctl_id(ctl, CW_PREFIX_CONNECTION, lines[i].connection.ulid)),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* ---------------------------------------------------------------------------------------------- the card */

struct card {
    struct ctl *ctl;
    struct cw_templates *texts;
    const char *status;
    struct cw_span id, failure_code, source_name, source, scopes_asked, patient_id, exchange;
    int64_t started_us, ended_us;
    struct cw_ulid object;
};

static enum cw_code find_attempt(struct card *card, struct cw_attempt_id id, struct cw_err *err)
{
    struct ctl *ctl = card->ctl;
    struct cw_attempt_line line;
    enum cw_code rc = cw_attempt_look(&ctl->model, id, ctl->arena, &line, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? cw_err_set(err, rc, "attempt", "there is no such attempt")
                                    : rc;
    }
    card->object = id.ulid;
    card->status = cw_attempt_status_name(line.status);
    card->failure_code = line.failure_code;
    card->source_name = line.source_name;
    card->source = ctl_id(ctl, CW_PREFIX_SOURCE, line.source.ulid);
    card->scopes_asked = line.scopes_asked;
    card->patient_id = line.patient_id;
    card->started_us = line.started_us;
    card->ended_us = line.ended_us;
    return CW_OK;
}

/* A connection's card is about the last refresh that failed. */
static enum cw_code find_connection(struct card *card, struct cw_connection_id id,
                                    struct cw_err *err)
{
    struct ctl *ctl = card->ctl;
    struct cw_connection connection;
    enum cw_code rc = cw_connection_get(&ctl->model, id, ctl->arena, &connection, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? cw_err_set(err, rc, "attempt", "there is no such connection")
                                    : rc;
    }
    card->object = id.ulid;
    card->status = cw_connection_status_name(connection.status);
    card->failure_code = connection.failure_code;
    card->source = ctl_id(ctl, CW_PREFIX_SOURCE, connection.source.ulid);
    card->scopes_asked = connection.scopes;
    card->started_us = connection.created_us;
    card->ended_us = connection.failure_us;
    return CW_OK;
}

static enum cw_code find(struct card *card, struct cw_err *err)
{
    struct cw_attempt_id attempt;
    struct cw_connection_id connection;
    enum cw_code rc = CW_E_NOT_FOUND;
    card->id = cw_span_cstr(ctl_arg(card->ctl, 0));
    if (cw_id_parse(CW_PREFIX_ATTEMPT, card->id, &attempt.ulid)) {
        rc = find_attempt(card, attempt, err);
    } else if (cw_id_parse(CW_PREFIX_CONNECTION, card->id, &connection.ulid)) {
        rc = find_connection(card, connection, err);
    } else {
        return ctl_usage(err, "an attempt's id (att_…) or a connection's (conn_…) is required");
    }
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_exchange_get(&card->ctl->model, card->object, card->ctl->arena, &card->exchange, err);
    return rc == CW_E_NOT_FOUND ? CW_OK : rc;
}

/* One of the card's texts, in English, as this command speaks. */
static struct cw_span text(const struct card *card, const char *prefix, const char *code,
                           const char *suffix)
{
    char key[128];
    CW_AUTO_STR out;
    cw_str_init(&out, 2048);
    (void)snprintf(key, sizeof key, "%s.%s%s", prefix, code, suffix);
    if (!cw_locale_has(card->texts, key) ||
        cw_locale_text(card->texts, "en", key, NULL, &out) != CW_OK) {
        return (struct cw_span){ NULL, 0 };
    }
    return cw_arena_span(card->ctl->arena, cw_str_span(&out));
}

static void write_failure(const struct card *card, struct cw_jsonw *w)
{
    const struct cw_failure *failure = cw_failure_find(card->failure_code);
    cw_jsonw_key_text(w, "failure_code", card->failure_code);
    if (failure != NULL) {
        cw_jsonw_key_text(w, "title", text(card, "operator", failure->code, ".title"));
        cw_jsonw_key_text(w, "cause", text(card, "operator", failure->code, ".cause"));
        cw_jsonw_key_text(w, "next", text(card, "operator", failure->code, ".next"));
        cw_jsonw_key_cstr(w, "severity", cw_failure_severity_name(failure->severity));
        cw_jsonw_key_cstr(w, "who_must_act", cw_failure_who_name(failure->who));
        cw_jsonw_key_bool(w, "retry", failure->retry);
        cw_jsonw_key_cstr(w, "patient_step", cw_failure_step_name(failure->step));
        cw_jsonw_key_text(w, "patient_sentence", text(card, "failure", failure->code, ""));
    }
}

static enum cw_code write_card(const struct card *card, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "id", card->id);
    cw_jsonw_key_cstr(&w, "status", card->status);
    write_failure(card, &w);
    cw_jsonw_key_text(&w, "source", card->source);
    cw_jsonw_key_text(&w, "source_name", card->source_name);
    cw_jsonw_key_text(&w, "patient_id", card->patient_id);
    cw_jsonw_key_time(&w, "started_at", card->started_us);
    if (card->ended_us != 0) {
        cw_jsonw_key_time(&w, "ended_at", card->ended_us);
    }
    cw_jsonw_key_text(&w, "scopes_asked", card->scopes_asked);
    cw_jsonw_key(&w, "exchange");
    if (card->exchange.ptr == NULL) {
        cw_jsonw_null(&w);
    } else {
        cw_jsonw_raw(&w, card->exchange);
    }
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

/* ---- the same as lines for people: what the JSON says, member by member */

struct lines {
    struct ctl *ctl;
    struct ctl_cell cells[LINES_MAX * 2];
    size_t count;
};

static struct cw_span plain(struct ctl *ctl, const json_t *value)
{
    CW_AUTO_STR out;
    cw_str_init(&out, CARD_MAX);
    if (json_is_string(value)) {
        return cw_arena_span(ctl->arena,
                             cw_span_of(json_string_value(value), json_string_length(value)));
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? CW_SPAN("yes") : CW_SPAN("no");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        (void)cw_str_addf(&out, "%s%s", i == 0 ? "" : " ",
                          json_is_string(item) ? json_string_value(item) : "?");
    }
    if (json_is_integer(value)) {
        (void)cw_str_add_int(&out, json_integer_value(value));
    }
    return cw_arena_span(ctl->arena, cw_str_span(&out));
}

static void add_members(struct lines *lines, const char *prefix, json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (json_is_null(value) || json_is_object(value) || lines->count == LINES_MAX) {
            continue;
        }
        struct ctl_cell *cell = lines->cells + lines->count++ * 2;
        cell[0] = CTL_T(cw_span_cstr(cw_arena_printf(lines->ctl->arena, "%s%s", prefix, name)));
        cell[1] = CTL_T(plain(lines->ctl, value));
    }
}

static enum cw_code print_lines(struct ctl *ctl, struct cw_span card, struct cw_err *err)
{
    static const struct ctl_column columns[] = { { "field", CTL_TEXT }, { "value", CTL_TEXT } };
    struct lines *lines = cw_arena_alloc(ctl->arena, sizeof *lines);
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { .max_bytes = CARD_MAX, .max_depth = 4 };
    enum cw_code rc = cw_json_parse(card, limits, &root, err);
    if (rc != CW_OK || lines == NULL) {
        return rc == CW_OK ? cw_err_set(err, CW_E_OOM, "attempt", "out of memory") : rc;
    }
    lines->ctl = ctl;
    lines->count = 0;
    add_members(lines, "", root);
    add_members(lines, "exchange.", json_object_get(root, "exchange"));
    struct ctl_table table = { columns, CW_ARRAY_LEN(columns), lines->cells, lines->count };
    return ctl_table_print(ctl, &table, err);
}

static enum cw_code show(struct ctl *ctl, struct cw_err *err)
{
    struct card card = { .ctl = ctl };
    CW_AUTO_STR out;
    cw_str_init(&out, CARD_MAX);
    enum cw_code rc =
        cw_templates_load(cw_config_text(ctl->config, CW_CONF_WWW_DIR), &card.texts, err);
    if (rc == CW_OK) {
        rc = find(&card, err);
    }
    if (rc == CW_OK && write_card(&card, &out) != CW_OK) {
        rc = cw_err_set(err, CW_E_TOO_BIG, "attempt", "the card is too big");
    }
    if (rc == CW_OK && ctl_switch(ctl, "--json")) {
        (void)printf("%s\n", cw_str_cstr(&out));
    } else if (rc == CW_OK) {
        rc = print_lines(ctl, cw_str_span(&out), err);
    }
    cw_templates_free(card.texts);
    return rc;
}

static const struct ctl_option list_options[] = {
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { "--patient", "ID", false, "this patient's alone (the id that the app chose)" },
    { "--source", "ID", false, "or this source's alone (id or FHIR base URL)" },
    { "--env", "sandbox|production", false, "where to look for the source; both when left out" },
    { "--failed", NULL, false, "failed ones alone" },
    { "--limit", "COUNT", false, "at most so many; 50 when left out" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};
static const struct ctl_option show_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };

const struct ctl_command ctl_attempt_commands[] = {
    { "attempt list", "", 0, 0, CTL_NEED_MODEL, "attempt.list",
      "Lists attempts to connect, newest first.", list_options, list },
    { "attempt show", "ATTEMPT", 1, 1, CTL_NEED_MODEL, "attempt.show",
      "Shows why an attempt failed (or a connection's refresh): cause, next step, and the redacted "
      "exchange.",
      show_options, show },
    { 0 },
};
