/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a recording: the file stays where it is mapped, and what is kept of an exchange is its key and where its answer stands. */
#include "config.h"
#include "sandbox/recording.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "sandbox/recording_url.h"
#include "sandbox/walk.h"

#define CANDIDATES_MAX 64u
#define METHOD_MAX 16u

struct exchange {
    char *key, *loose;      /* NULL: outside of the base */
    char *method, *url;     /* while the file is read */
    struct cw_sbx_recorded answer;
    size_t line;
    atomic_uint played;     /* of the first of equal keys: how often */
};

struct cw_sbx_recording {
    struct exchange *exchanges; /* sorted by key, then by line */
    size_t count, outside;
    char *base;
    struct cw_sbx_patient patient;
};

/* Texts that are counted: which base, which patient. */
struct ballot {
    struct {
        char *text;
        size_t votes;
    } rows[CANDIDATES_MAX];
    size_t count;
};

static enum cw_code oom(struct cw_err *err)
{
    return cw_err_set(err, CW_E_OOM, "sandbox.recording", "out of memory");
}

static enum cw_code wrong(struct cw_err *err, enum cw_code code, size_t line, const char *text)
{
    return cw_err_set(err, code, "sandbox.recording", "line %zu: %s", line, text);
}

/* --- ballots --- */

static void ballot_release(struct ballot *ballot)
{
    for (size_t i = 0; i < ballot->count; i++) {
        free(ballot->rows[i].text);
    }
}

/* What comes when all places are taken is not counted: it is not what most of the file says. */
static bool vote(struct ballot *ballot, struct cw_span text)
{
    for (size_t i = 0; i < ballot->count; i++) {
        if (cw_span_eq_cstr(text, ballot->rows[i].text)) {
            ballot->rows[i].votes++;
            return true;
        }
    }
    if (ballot->count == CANDIDATES_MAX) {
        return true;
    }
    ballot->rows[ballot->count].text = cw_span_dup(text);
    ballot->rows[ballot->count].votes = 1;
    return ballot->rows[ballot->count++].text != NULL;
}

/* The one with most votes; of equals the longest when `longest`, else the first. NULL when there was no vote. */
static const char *winner(const struct ballot *ballot, bool longest)
{
    size_t best = 0;
    for (size_t i = 1; i < ballot->count; i++) {
        size_t votes = ballot->rows[i].votes, most = ballot->rows[best].votes;
        bool longer = longest && strlen(ballot->rows[i].text) > strlen(ballot->rows[best].text);
        best = votes > most || (votes == most && longer) ? i : best;
    }
    return ballot->count == 0 ? NULL : ballot->rows[best].text;
}

/* --- one line --- */

static char *plain_text(struct cw_span raw, size_t max)
{
    CW_AUTO_STR text;
    cw_str_init(&text, max);
    if (raw.ptr == NULL || cw_walk_unescape(raw, &text) != CW_OK || !cw_utf8_valid(cw_str_span(&text)) ||
        memchr(cw_str_cstr(&text), '\0', text.len) != NULL) {
        return NULL;
    }
    return text.len == 0 ? cw_span_dup(CW_SPAN("")) : cw_str_take(&text);
}

static bool is_token(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *c) != NULL) {
            return false;
        }
    }
    return text[0] != '\0';
}

static bool is_value(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

struct heads {
    cw_sbx_header_fn *fn; /* NULL: they are looked at only */
    void *arg;
    size_t count, bytes;
};

static enum cw_code head(struct heads *heads, const char *name, const char *value)
{
    heads->count++;
    heads->bytes += strlen(name) + strlen(value);
    if (!is_value(value) || heads->count > CW_SBX_RECORDED_HEADERS_MAX || heads->bytes > CW_SBX_RECORDED_HEADER_MAX) {
        return CW_E_RANGE;
    }
    if (heads->fn != NULL) {
        heads->fn(name, value, heads->arg);
    }
    return CW_OK;
}

/* A text; or an array of texts, which is one field by RFC 9110 5.3, but for cookies. */
static enum cw_code each_value(struct heads *heads, const char *name, struct cw_span value)
{
    struct cw_walk list = { .bad = false };
    struct cw_span key, one = value;
    bool array = cw_walk_open(&list, value) && !list.object;
    bool cookies = cw_span_eq_nocase(cw_span_cstr(name), CW_SPAN("set-cookie"));
    enum cw_code rc = CW_OK;
    CW_AUTO_STR field;
    cw_str_init(&field, CW_SBX_RECORDED_HEADER_MAX);
    for (bool more = !array || cw_walk_next(&list, &key, &one); more && rc == CW_OK; more = array && cw_walk_next(&list, &key, &one)) {
        char *text = plain_text(cw_walk_string(one), CW_SBX_RECORDED_HEADER_MAX);
        rc = text == NULL ? CW_E_RANGE : cookies ? head(heads, name, text) : cw_str_addf(&field, "%s%s", field.len > 0 ? ", " : "", text);
        free(text);
    }
    if (rc != CW_OK || list.bad) {
        return CW_E_RANGE;
    }
    return cookies ? CW_OK : head(heads, name, cw_str_cstr(&field));
}

/* Calls `fn` for each header as recorded. CW_E_RANGE for one that cannot be sent. */
static enum cw_code each_header(struct cw_span headers, cw_sbx_header_fn *fn, void *arg)
{
    struct cw_walk walk;
    struct cw_span key, value;
    struct heads heads = { .fn = fn, .arg = arg };
    if (headers.ptr == NULL || cw_span_eq_cstr(headers, "null")) {
        return CW_OK;
    }
    if (!cw_walk_open(&walk, headers) || !walk.object) {
        return CW_E_RANGE;
    }
    enum cw_code rc = CW_OK;
    while (rc == CW_OK && cw_walk_next(&walk, &key, &value)) {
        char *name = plain_text(key, CW_SBX_RECORDED_HEADER_MAX);
        rc = name == NULL || !is_token(name) ? CW_E_RANGE : each_value(&heads, name, value);
        free(name);
    }
    return walk.bad ? CW_E_RANGE : rc;
}

/* Decoded once, so that playing cannot fail of what the file holds. */
static bool is_body_good(const struct cw_sbx_recorded *answer)
{
    CW_AUTO_STR text, bytes;
    cw_str_init(&text, CW_SBX_RECORDING_LINE_MAX);
    cw_str_init(&bytes, CW_SBX_RECORDING_LINE_MAX);
    struct cw_span raw = cw_walk_string(answer->body);
    if (raw.ptr == NULL) { /* JSON as it stands, or nothing */
        return !answer->base64;
    }
    if (cw_walk_unescape(raw, &text) != CW_OK) {
        return false;
    }
    return !answer->base64 || cw_base64_decode(cw_str_span(&text), &bytes) == CW_OK;
}

static enum cw_code take_answer(struct cw_span line, struct exchange *exchange, struct cw_err *err)
{
    struct cw_sbx_recorded *answer = &exchange->answer;
    struct cw_span base64 = cw_walk_member(line, "body_base64");
    int64_t status = 0;
    answer->base64 = base64.ptr != NULL && !cw_span_eq_cstr(base64, "null");
    answer->body = answer->base64 ? base64 : cw_walk_member(line, "body");
    answer->headers = cw_walk_member(line, "headers");
    if (cw_span_eq_cstr(answer->body, "null")) {
        answer->body = (struct cw_span){ NULL, 0 };
    }
    if (!cw_span_i64(cw_walk_member(line, "status"), 200, 599, &status)) {
        return wrong(err, CW_E_RANGE, exchange->line, "status is not a number from 200 to 599");
    }
    answer->status = (int)status;
    if (each_header(answer->headers, NULL, NULL) != CW_OK) {
        return wrong(err, CW_E_RANGE, exchange->line, "headers are not an object of few texts that HTTP can carry");
    }
    return is_body_good(answer) ? CW_OK : wrong(err, CW_E_SYNTAX, exchange->line, "the body is broken, or too big");
}

static enum cw_code take_line(struct cw_span line, struct exchange *exchange, struct cw_err *err)
{
    struct cw_span rest = line, value;
    if (line.len > CW_SBX_RECORDING_LINE_MAX) {
        return wrong(err, CW_E_TOO_BIG, exchange->line, "too long");
    }
    if (!cw_utf8_valid(line) || !cw_walk_value(&rest, &value) || *value.ptr != '{' || cw_span_trim(rest).len > 0) {
        return wrong(err, CW_E_SYNTAX, exchange->line, "not a JSON object");
    }
    struct cw_span method = cw_walk_member(value, "method");
    exchange->method = method.ptr == NULL ? cw_span_dup(CW_SPAN("GET")) : plain_text(cw_walk_string(method), METHOD_MAX);
    exchange->url = plain_text(cw_walk_member_string(value, "url"), CW_SBX_RECORDING_URL_MAX);
    if (exchange->method == NULL || !is_token(exchange->method)) {
        return wrong(err, CW_E_RANGE, exchange->line, "method is not one of HTTP");
    }
    if (exchange->url == NULL || !cw_sbx_url_good(cw_span_cstr(exchange->url))) {
        return wrong(err, CW_E_RANGE, exchange->line, "url is not an absolute http or https URL");
    }
    return take_answer(value, exchange, err);
}

static enum cw_code count_lines(struct cw_span bytes, size_t *ret_count, struct cw_err *err)
{
    struct cw_span line;
    *ret_count = 0;
    for (bool more = bytes.len > 0; more;) {
        more = cw_span_cut(&bytes, '\n', &line);
        *ret_count += cw_span_trim(line).len > 0 ? 1 : 0;
    }
    return *ret_count <= CW_SBX_RECORDING_LINES_MAX ? CW_OK
                                                    : cw_err_set(err, CW_E_TOO_BIG, "sandbox.recording", "too many lines");
}

static enum cw_code take_lines(struct cw_sbx_recording *recording, struct cw_span bytes, struct cw_err *err)
{
    struct cw_span line;
    size_t number = 0, count = 0;
    enum cw_code rc = count_lines(bytes, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    recording->exchanges = calloc(count + 1, sizeof(*recording->exchanges));
    if (recording->exchanges == NULL) {
        return oom(err);
    }
    for (bool more = bytes.len > 0; more && rc == CW_OK;) {
        more = cw_span_cut(&bytes, '\n', &line);
        number++;
        line = cw_span_trim(line);
        if (line.len > 0) {
            struct exchange *exchange = &recording->exchanges[recording->count++];
            exchange->line = number;
            rc = take_line(line, exchange, err);
        }
    }
    return rc;
}

/* --- the whole --- */

static enum cw_code find_base(struct cw_sbx_recording *recording, struct cw_err *err)
{
    struct ballot ballot = { .count = 0 };
    struct cw_span bases[CW_SBX_URL_BASES];
    bool good = true;
    for (size_t i = 0; i < recording->count && good; i++) {
        size_t count = cw_sbx_url_bases(cw_span_cstr(recording->exchanges[i].url), bases);
        for (size_t k = 0; k < count && good; k++) {
            good = vote(&ballot, bases[k]);
        }
    }
    const char *best = winner(&ballot, true);
    recording->base = best == NULL ? NULL : cw_span_dup(cw_span_cstr(best));
    ballot_release(&ballot);
    if (best == NULL && good) {
        return cw_err_set(err, CW_E_MISSING, "sandbox.recording", "no URL in it is one of FHIR");
    }
    return good && recording->base != NULL ? CW_OK : oom(err);
}

/* The key in both forms, and a vote for the patient whom the URL names. */
static enum cw_code key_one(struct cw_sbx_recording *recording, struct exchange *exchange, struct ballot *patients, struct cw_err *err)
{
    CW_AUTO_STR path, exact, loose, who;
    struct cw_span coded, query;
    cw_str_init(&path, CW_SBX_RECORDING_URL_MAX);
    cw_str_init(&exact, 4 * CW_SBX_RECORDING_URL_MAX);
    cw_str_init(&loose, 4 * CW_SBX_RECORDING_URL_MAX);
    cw_str_init(&who, CW_SBX_RECORDING_URL_MAX);
    if (!cw_sbx_url_split(cw_span_cstr(exchange->url), cw_span_cstr(recording->base), &coded, &query)) {
        recording->outside++;
        return CW_OK;
    }
    if (cw_percent_decode(coded, false, &path) != CW_OK) {
        return wrong(err, CW_E_RANGE, exchange->line, "the path of url is badly coded");
    }
    struct cw_sbx_wish wish = { cw_span_cstr(exchange->method), cw_str_span(&path), query };
    if (cw_sbx_url_key(&wish, false, &exact) != CW_OK || cw_sbx_url_key(&wish, true, &loose) != CW_OK) {
        return wrong(err, CW_E_RANGE, exchange->line, "the query of url is badly coded, or too long");
    }
    exchange->key = cw_str_take(&exact);
    exchange->loose = cw_str_take(&loose);
    cw_sbx_url_patient(wish.path, query, &who);
    if (cw_str_code(&who) == CW_OK && who.len > 0 && !vote(patients, cw_str_span(&who))) {
        return oom(err);
    }
    return exchange->key != NULL && exchange->loose != NULL ? CW_OK : oom(err);
}

/* Name and date of birth, from the answer that has the Patient itself. */
static void describe_patient(struct cw_sbx_recording *recording, const char *id)
{
    CW_AUTO_STR url;
    cw_str_init(&url, 2 * CW_SBX_RECORDING_URL_MAX);
    cw_str_addf(&url, "%s/Patient/%s", recording->base, id);
    cw_sbx_patient_read(cw_span_cstr(id), CW_SPAN("{}"), &recording->patient);
    for (size_t i = 0; i < recording->count; i++) {
        const struct exchange *exchange = &recording->exchanges[i];
        CW_AUTO_STR body;
        cw_str_init(&body, CW_RESPONSE_MAX);
        if (exchange->answer.status == 200 && strcmp(exchange->url, cw_str_cstr(&url)) == 0 &&
            cw_sbx_recorded_body(recording, &exchange->answer, cw_span_cstr(recording->base), &body) == CW_OK &&
            cw_span_eq_cstr(cw_walk_member_string(cw_str_span(&body), "resourceType"), "Patient")) {
            cw_sbx_patient_read(cw_span_cstr(id), cw_str_span(&body), &recording->patient);
            return;
        }
    }
}

static int by_key(const void *a, const void *b)
{
    const struct exchange *x = a, *y = b;
    if (x->key == NULL || y->key == NULL) {
        return (x->key == NULL) - (y->key == NULL); /* what is not played stands at the end */
    }
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static enum cw_code make_index(struct cw_sbx_recording *recording, struct cw_err *err)
{
    struct ballot patients = { .count = 0 };
    enum cw_code rc = CW_OK;
    for (size_t i = 0; i < recording->count && rc == CW_OK; i++) {
        rc = key_one(recording, &recording->exchanges[i], &patients, err);
    }
    const char *id = winner(&patients, false);
    if (rc == CW_OK && (id == NULL || strlen(id) >= sizeof(recording->patient.id))) {
        rc = cw_err_set(err, CW_E_MISSING, "sandbox.recording", "no URL in it names a patient");
    }
    if (rc == CW_OK && id != NULL) {
        describe_patient(recording, id);
        qsort(recording->exchanges, recording->count, sizeof(*recording->exchanges), by_key);
    }
    ballot_release(&patients);
    return rc;
}

enum cw_code cw_sbx_recording_read(struct cw_span bytes, struct cw_sbx_recording **ret_recording, struct cw_err *err)
{
    struct cw_sbx_recording *recording = calloc(1, sizeof(*recording));
    if (recording == NULL) {
        return oom(err);
    }
    enum cw_code rc = take_lines(recording, bytes, err);
    if (rc == CW_OK) {
        rc = find_base(recording, err);
    }
    if (rc == CW_OK) {
        rc = make_index(recording, err);
    }
    if (rc != CW_OK) {
        cw_sbx_recording_free(recording);
        return rc;
    }
    *ret_recording = recording;
    return CW_OK;
}

void cw_sbx_recording_free(struct cw_sbx_recording *recording)
{
    if (recording == NULL) {
        return;
    }
    for (size_t i = 0; i < recording->count; i++) {
        free(recording->exchanges[i].key);
        free(recording->exchanges[i].loose);
        free(recording->exchanges[i].method);
        free(recording->exchanges[i].url);
    }
    free(recording->exchanges);
    free(recording->base);
    free(recording);
}

struct cw_span cw_sbx_recording_base(const struct cw_sbx_recording *recording)
{
    return cw_span_cstr(recording->base);
}

const struct cw_sbx_patient *cw_sbx_recording_patient(const struct cw_sbx_recording *recording)
{
    return &recording->patient;
}

size_t cw_sbx_recording_exchanges(const struct cw_sbx_recording *recording)
{
    return recording->count;
}

size_t cw_sbx_recording_outside(const struct cw_sbx_recording *recording)
{
    return recording->outside;
}

/* --- playing --- */

/* The first exchange with that key. Without _count the keys are in no order, and a miss is rare. */
static struct exchange *find(struct cw_sbx_recording *recording, const char *key, bool loose)
{
    size_t low = 0, high = recording->count - recording->outside;
    if (loose) {
        while (low < high && strcmp(recording->exchanges[low].loose, key) != 0) {
            low++;
        }
    }
    while (!loose && low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(recording->exchanges[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct exchange *at = &recording->exchanges[low];
    return low < recording->count - recording->outside && strcmp(loose ? at->loose : at->key, key) == 0 ? at : NULL;
}

bool cw_sbx_recording_play(struct cw_sbx_recording *recording, const struct cw_sbx_wish *wish, struct cw_sbx_recorded *ret)
{
    struct exchange *first = NULL;
    for (int loose = 0; loose <= 1 && first == NULL; loose++) {
        CW_AUTO_STR key;
        cw_str_init(&key, 4 * CW_SBX_RECORDING_URL_MAX);
        if (cw_sbx_url_key(wish, loose == 1, &key) != CW_OK) {
            return false;
        }
        first = find(recording, cw_str_cstr(&key), loose == 1);
    }
    if (first == NULL) {
        return false;
    }
    size_t left = recording->count - recording->outside - (size_t)(first - recording->exchanges), same = 1;
    while (same < left && strcmp(first[same].key, first->key) == 0) {
        same++;
    }
    size_t turn = atomic_fetch_add(&first->played, 1u);
    *ret = first[turn < same ? turn : same - 1].answer;
    return true;
}

void cw_sbx_recording_rewind(struct cw_sbx_recording *recording)
{
    for (size_t i = 0; i < recording->count; i++) {
        atomic_store(&recording->exchanges[i].played, 0u);
    }
}

/* --- as it is played --- */

struct played {
    const struct cw_sbx_recording *recording;
    struct cw_span base;
    cw_sbx_header_fn *fn;
    void *arg;
    enum cw_code rc;
};

/* Of one connection or coding, or an order to the web server between us and who asks. */
static bool is_kept(const char *name)
{
    static const char *const dropped[] = { "content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "te",
                                           "trailer", "upgrade", "proxy-authenticate", "proxy-authorization", "proxy-connection",
                                           "proxy-authentication-info", "status", "alt-svc", "http2-settings" };
    struct cw_span text = cw_span_cstr(name);
    for (size_t i = 0; i < CW_ARRAY_LEN(dropped); i++) {
        if (cw_span_eq_nocase(text, cw_span_cstr(dropped[i]))) {
            return false;
        }
    }
    return !cw_span_eq_nocase(cw_span_upto(text, 8), CW_SPAN("x-accel-"));
}

static void play_header(const char *name, const char *value, void *arg)
{
    struct played *played = arg;
    CW_AUTO_STR text;
    cw_str_init(&text, 2 * CW_SBX_RECORDED_HEADER_MAX);
    if (!is_kept(name) || played->rc != CW_OK) {
        return;
    }
    played->rc = cw_sbx_url_put(cw_span_cstr(value), cw_span_cstr(played->recording->base), played->base, &text);
    if (played->rc == CW_OK) {
        played->fn(name, cw_str_cstr(&text), played->arg);
    }
}

enum cw_code cw_sbx_recorded_headers(const struct cw_sbx_recording *recording, const struct cw_sbx_recorded *recorded, struct cw_span base,
                                     cw_sbx_header_fn *fn, void *arg)
{
    struct played played = { recording, base, fn, arg, CW_OK };
    enum cw_code rc = each_header(recorded->headers, play_header, &played);
    return rc == CW_OK ? played.rc : rc;
}

static bool looks_like_json(struct cw_span text)
{
    text = cw_span_trim(cw_span_starts(text, CW_SPAN("\xef\xbb\xbf")) ? cw_span_from(text, 3) : text);
    return text.len > 0 && (*text.ptr == '{' || *text.ptr == '[');
}

enum cw_code cw_sbx_recorded_body(const struct cw_sbx_recording *recording, const struct cw_sbx_recorded *recorded, struct cw_span base,
                                  struct cw_str *out)
{
    CW_AUTO_STR text, bytes;
    cw_str_init(&text, CW_SBX_RECORDING_LINE_MAX);
    cw_str_init(&bytes, CW_SBX_RECORDING_LINE_MAX);
    struct cw_span raw = cw_walk_string(recorded->body);
    if (raw.ptr == NULL) {
        return recorded->body.ptr == NULL ? CW_OK : cw_sbx_url_put(recorded->body, cw_span_cstr(recording->base), base, out);
    }
    enum cw_code rc = cw_walk_unescape(raw, &text);
    if (rc == CW_OK && recorded->base64) {
        rc = cw_base64_decode(cw_str_span(&text), &bytes);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span plain = cw_str_span(recorded->base64 ? &bytes : &text);
    return looks_like_json(plain) ? cw_sbx_url_put(plain, cw_span_cstr(recording->base), base, out) : cw_str_add_span(out, plain);
}
