/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction, and the keeping of redacted exchanges. What a hospital writes into an error is foreign text: it may repeat what we sent, or name a person. */
#include "config.h"

#include "model/exchange.h"

#include "base/jsonw.h"
#include "base/time.h"
#include "os/sys.h"

#define TAKEN_OUT "[...]"
#define KNOWN_MIN 3u
#define TOKEN_MIN 16u /* with letters and digits */
#define LONG_MIN 40u  /* of anything */
#define DIGITS_MIN                                                                                 \
    6u /* a record number, a date of birth; error codes of hospitals have five at most */
#define NAME_WORDS_MAX 16u
#define ARENA_MAX 65536u

/* ---- redaction */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What tokens are made of; '.', '=', '/' and ':' stand between words of URLs and URNs as well. */
static bool is_token_character(char c)
{
    return is_letter(c) || is_digit(c) || c == '_' || c == '~' || c == '+' || c == '-';
}

static size_t run_length(struct cw_span text)
{
    size_t len = 0;
    while (len < text.len && is_token_character(text.ptr[len])) {
        len++;
    }
    return len;
}

static bool looks_secret(struct cw_span run)
{
    size_t letters = 0;
    size_t digits = 0;
    for (size_t i = 0; i < run.len; i++) {
        letters += is_letter(run.ptr[i]);
        digits += is_digit(run.ptr[i]);
    }
    return digits >= DIGITS_MIN || run.len >= LONG_MIN ||
           (run.len >= TOKEN_MIN && letters > 0 && digits > 0);
}

/* The longest known text that begins here. */
static size_t known_length(struct cw_span text, const struct cw_span *known, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = known[i].len;
        if (len >= KNOWN_MIN && len > longest && len <= text.len &&
            cw_span_eq_nocase(cw_span_upto(text, len), known[i])) {
            longest = len;
        }
    }
    return longest;
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* "%2F" stands between words, as '/' does. */
static bool is_coded(struct cw_span text)
{
    return text.len >= 3 && text.ptr[0] == '%' && is_hex(text.ptr[1]) && is_hex(text.ptr[2]);
}

/* A known text may begin with a code's own digits. */
static bool known_inside(struct cw_span coded, const struct cw_span *known, size_t count)
{
    return known_length(cw_span_from(coded, 1), known, count) > 0 ||
           known_length(cw_span_from(coded, 2), known, count) > 0;
}

static size_t character_length(struct cw_span text)
{
    size_t len = 1;
    while (len < text.len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
        len++;
    }
    return len;
}

bool cw_exchange_redact(struct cw_span text, const struct cw_span *known, size_t count, char *out,
                        size_t room)
{
    size_t used = 0;
    bool taken = false;
    bool in_run = false;
    while (text.len > 0) {
        size_t step = known_length(text, known, count);
        size_t run = in_run ? 0 : run_length(text);
        bool secret = step > 0;
        if (!secret && run > 0 && looks_secret(cw_span_upto(text, run))) {
            secret = true;
            step = run;
        }
        step = secret                                                ? step
               : is_coded(text) && !known_inside(text, known, count) ? 3
                                                                     : character_length(text);
        struct cw_span piece = secret ? CW_SPAN(TAKEN_OUT) : cw_span_upto(text, step);
        if (used + piece.len >= room) {
            break;
        }
        memcpy(out + used, piece.ptr, piece.len);
        if (step == 1 && ((unsigned char)out[used] < 0x20 || out[used] == 0x7f)) {
            out[used] = ' ';
        }
        used += piece.len;
        taken |= secret;
        in_run = !secret && step == 1 && is_token_character(text.ptr[0]);
        text = cw_span_from(text, step);
    }
    out[used] = '\0';
    return taken;
}

/* ---- what we know of the patient */

struct person {
    struct cw_span known[NAME_WORDS_MAX + 2];
    size_t count;
    struct cw_data_key key;
};

static const struct cw_query q_person = {
    .name = "exchange.person",
    .sql =
        "SELECT p.patient_id, p.name_sealed, k.version, k.wrapped, k.master_key_id FROM patient p"
        " JOIN patient_key k ON k.patient = p.id AND k.version = p.key_version WHERE p.id = ?",
    .params = "b",
    .columns = "bbibb",
};

static enum cw_code read_person(struct cw_model *m, struct cw_db *db, struct cw_patient_row patient,
                                struct cw_arena *arena, struct person *ret, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&patient.ulid) };
    const struct cw_value *row = NULL;
    struct cw_span name = { NULL, 0 };
    struct cw_span word;
    enum cw_code rc = cw_db_one(db, &q_person, params, arena, &row, err);
    if (rc == CW_OK) {
        rc = cw_key_open(m, patient.ulid, &row[2], &ret->key, err);
    }
    if (rc == CW_OK) {
        rc = cw_cell_unseal(&ret->key, CW_AAD("patient.name", patient), &row[1], arena, &name, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    ret->known[ret->count++] = row[0].bytes;
    ret->known[ret->count++] = name;
    while (ret->count < CW_ARRAY_LEN(ret->known) && cw_span_word(&name, &word)) {
        ret->known[ret->count++] = word;
    }
    return CW_OK;
}

/* ---- storing */

static const struct cw_query q_put = {
    .name = "exchange.put",
    .sql =
        "INSERT INTO exchange (object, kind, organization, patient, recorded_at, key_version, "
        "sealed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE recorded_at = VALUES(recorded_at),"
        " key_version = VALUES(key_version), sealed = VALUES(sealed)",
    .params = "bibbtib",
    .columns = "",
};
static const struct cw_query q_get = {
    .name = "exchange.get",
    .sql = "SELECT e.sealed, e.patient, k.version, k.wrapped, k.master_key_id FROM exchange e"
           " JOIN patient_key k ON k.patient = e.patient AND k.version = e.key_version WHERE "
           "e.object = ?",
    .params = "b",
    .columns = "bbibb",
};
static const struct cw_query q_connection = {
    .name = "exchange.connection",
    .sql = "SELECT organization, patient FROM connection WHERE id = ?",
    .params = "b",
    .columns = "bb",
};

static void write_words(struct cw_jsonw *w, struct cw_span words)
{
    struct cw_span word;
    cw_jsonw_open_array(w);
    while (cw_span_word(&words, &word)) {
        cw_jsonw_text(w, word);
    }
    cw_jsonw_close_array(w);
}

/* A text that is told and holds nothing of the person. */
static void write_redacted(struct cw_jsonw *w, const char *key, const char *text,
                           const struct person *person)
{
    char clean[CW_EXCHANGE_STRUCTURE_MAX + 1];
    if (text[0] != '\0') {
        (void)cw_exchange_redact(cw_span_cstr(text), person->known, person->count, clean,
                                 sizeof clean);
        cw_jsonw_key_cstr(w, key, clean);
    }
}

static bool names_person(const char *text, const struct person *person)
{
    struct cw_span rest = cw_span_cstr(text);
    while (rest.len > 0 && known_length(rest, person->known, person->count) == 0) {
        rest = cw_span_from(rest, 1);
    }
    return rest.len > 0;
}

static void write_request(struct cw_jsonw *w, const struct cw_exchange *x)
{
    cw_jsonw_key_cstr(w, "kind", x->kind);
    cw_jsonw_key_time(w, "sent_at", x->sent_us);
    cw_jsonw_key_cstr(w, "method", x->method);
    cw_jsonw_key_cstr(w, "host", x->host);
    cw_jsonw_key_cstr(w, "path", x->path);
    cw_jsonw_key(w, "parameters");
    write_words(w, cw_span_cstr(x->parameters));
    if (x->authentication != NULL) {
        cw_jsonw_key_cstr(w, "client_authentication", x->authentication);
    }
    if (x->request_id[0] != '\0') {
        cw_jsonw_key_cstr(w, "request_id", x->request_id);
    }
}

static enum cw_code write_exchange(const struct cw_exchange *x, const struct person *person,
                                   struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    write_request(&w, x);
    cw_jsonw_key_int(&w, "status", x->status);
    cw_jsonw_key_int(&w, "milliseconds", x->took_us / 1000);
    cw_jsonw_key_cstr(&w, "outcome", x->outcome);
    if (x->content_type[0] != '\0') {
        cw_jsonw_key_cstr(&w, "content_type", x->content_type);
    }
    if (x->scope[0] != '\0') {
        cw_jsonw_key_cstr(&w, "scope_granted", x->scope);
    }
    write_redacted(&w, "error", x->error, person);
    write_redacted(&w, "error_description", x->description, person);
    write_redacted(&w, "error_uri", x->uri, person);
    write_redacted(&w, "answer", x->structure, person);
    if (x->more[0] != '\0' && !names_person(x->more, person)) {
        cw_jsonw_key_cstr(&w, "more_uri", x->more);
    }
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

/* Texts of nothing but quotes are twice as long in JSON: then the longest are left out, so that no answer keeps an attempt from its end. */
static enum cw_code write_to_fit(const struct cw_exchange *x, const struct person *person,
                                 struct cw_str *out)
{
    enum cw_code rc = write_exchange(x, person, out);
    if (rc != CW_E_TOO_BIG) {
        return rc;
    }
    struct cw_exchange less = *x;
    less.structure[0] = less.uri[0] = less.scope[0] = '\0';
    cw_str_clear(out);
    return write_exchange(&less, person, out);
}

static enum cw_code put_in(struct cw_model *m, struct cw_db *db,
                           const struct cw_exchange_owner *owner,
                           const struct cw_exchange *exchange, struct cw_arena *arena,
                           struct cw_err *err)
{
    struct person person = { .count = 0 };
    struct cw_connection_id object = { owner->object }; /* any id struct names the row in the AAD */
    struct cw_value sealed = cw_v_null();
    CW_AUTO_STR json;
    cw_str_init(&json, CW_EXCHANGE_MAX);
    enum cw_code rc = read_person(m, db, owner->patient, arena, &person, err);
    if (rc == CW_OK && write_to_fit(exchange, &person, &json) != CW_OK) {
        rc = cw_err_set(err, CW_E_TOO_BIG, "exchange", "the exchange does not fit");
    }
    if (rc == CW_OK) {
        rc = cw_cell_seal(&person.key, CW_AAD("exchange.sealed", object), cw_str_span(&json), arena,
                          &sealed, err);
    }
    const struct cw_value values[] = {
        cw_v_id(&owner->object),
        cw_v_int(owner->kind),
        cw_v_id(&owner->org.ulid),
        cw_v_id(&owner->patient.ulid),
        cw_v_time(exchange->sent_us),
        cw_v_int(person.key.version),
        sealed,
    };
    cw_data_key_wipe(&person.key);
    return rc == CW_OK ? cw_db_exec(db, &q_put, values, NULL, err) : rc;
}

enum cw_code cw_exchange_put(struct cw_model *m, struct cw_db *db,
                             const struct cw_exchange_owner *owner,
                             const struct cw_exchange *exchange, struct cw_err *err)
{
    if (exchange->kind == NULL) {
        return CW_OK;
    }
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "exchange", "out of memory");
    }
    enum cw_code rc = put_in(m, db, owner, exchange, arena, err);
    cw_arena_free(arena);
    return rc;
}

struct keeping {
    struct cw_model *m;
    struct cw_connection_id id;
    const struct cw_exchange *exchange;
};

static enum cw_code keep_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    struct keeping *keeping = arg;
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "exchange", "out of memory");
    }
    const struct cw_value params[] = { cw_v_id(&keeping->id.ulid) };
    const struct cw_value *row = NULL;
    enum cw_code rc = cw_db_one(db, &q_connection, params, arena, &row, err);
    if (rc == CW_OK) {
        struct cw_exchange_owner owner = { .kind = CW_EXCHANGE_CONNECTION,
                                           .object = keeping->id.ulid,
                                           .org = { cw_value_id(&row[0]) },
                                           .patient = { cw_value_id(&row[1]) } };
        rc = put_in(keeping->m, db, &owner, keeping->exchange, arena, err);
    }
    cw_arena_free(arena);
    return rc;
}

enum cw_code cw_exchange_of_connection(struct cw_model *m, struct cw_connection_id id,
                                       const struct cw_exchange *exchange, struct cw_err *err)
{
    struct keeping keeping = { .m = m, .id = id, .exchange = exchange };
    return exchange->kind == NULL ? CW_OK : cw_tx_pool(m->pool, keep_tx, &keeping, err);
}

enum cw_code cw_exchange_get(struct cw_model *m, struct cw_ulid object, struct cw_arena *arena,
                             struct cw_span *ret_json, struct cw_err *err)
{
    const struct cw_value params[] = { cw_v_id(&object) };
    const struct cw_value *row = NULL;
    struct cw_db *db = NULL;
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_db_get(m->pool, CW_DB_WAIT_DEFAULT_MS, &db, err);
    if (rc == CW_OK) {
        rc = cw_db_one(db, &q_get, params, arena, &row, err);
    }
    cw_db_put(db);
    if (rc == CW_OK) {
        rc = cw_key_open(m, cw_value_id(&row[1]), &row[2], &key, err);
    }
    struct cw_connection_id id = { object };
    return rc == CW_OK
               ? cw_cell_unseal(&key, CW_AAD("exchange.sealed", id), &row[0], arena, ret_json, err)
               : rc;
}
