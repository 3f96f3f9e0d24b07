/* SPDX-License-Identifier: Apache-2.0 */
/* From a draft to a row: cleaned texts, a checked and normalised base, an identity; or a reject with its reason. */
#include "config.h"

#include "catalog/import_int.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/text.h"
#include "net/url.h"
#include "vault/vault.h"

#define WHERE "import"

/* Widths of the columns (sql/0001_core.sql). */
#define CITY_MAX 128u
#define STATE_MAX 64u
#define POSTAL_CODE_MAX 32u
#define COUNTRY_MAX 64u
#define VERSION_MAX 16u
#define ALIASES_MAX 8192u

static bool no_memory(struct importer *im)
{
    (void)cw_err_set(im->err, CW_E_OOM, WHERE, "no memory for rows");
    return false;
}

/* Doubles an array of the arena. The largest file's rows are some hundred MB; the arena has a limit of its own. */
static void *grow(struct importer *im, const void *old, size_t count, size_t *room, size_t size)
{
    size_t more = *room == 0 ? 256 : 2 * *room;
    void *fresh = cw_arena_array(im->arena, more, size);
    if (fresh != NULL && count > 0) {
        memcpy(fresh, old, count * size);
    }
    *room = fresh == NULL ? *room : more;
    return fresh;
}

/* Foreign text for keeping: controls become blanks, the ends are trimmed, as is the ": " that some lists begin with. Absent when nothing is
 * left or it is longer than max. False: out of memory. */
static bool clean(struct importer *im, struct cw_span text, size_t max, struct cw_span *ret)
{
    *ret = (struct cw_span){ NULL, 0 };
    text = cw_span_trim(text);
    while (text.len > 0 && text.ptr[0] == ':') {
        text = cw_span_trim(cw_span_from(text, 1));
    }
    if (text.len == 0 || text.len > max) {
        return true;
    }
    char *copy = cw_arena_text(im->arena, text);
    if (copy == NULL) {
        return no_memory(im);
    }
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f) {
            copy[i] = max == ALIASES_MAX && copy[i] == '\n' ? '\n' : ' ';
        }
    }
    *ret = cw_span_of(copy, text.len);
    return true;
}

bool cw_importer_reject(struct importer *im, size_t position, const char *reason, struct cw_span name, struct cw_span url)
{
    struct cw_catalog *catalog = im->catalog;
    if (catalog->reject_count == im->reject_room) {
        void *fresh = grow(im, catalog->rejects, catalog->reject_count, &im->reject_room, sizeof(*catalog->rejects));
        if (fresh == NULL) {
            return no_memory(im);
        }
        catalog->rejects = fresh;
    }
    struct cw_catalog_reject reject = { .position = position, .reason = reason };
    if (!clean(im, cw_span_upto(name, CW_SOURCE_NAME_MAX), CW_SOURCE_NAME_MAX, &reject.name) ||
        !clean(im, cw_span_upto(url, CW_URL_MAX), CW_URL_MAX, &reject.url)) {
        return false;
    }
    catalog->rejects[catalog->reject_count++] = reject;
    return true;
}

/* --- names --- */

static const char *judge_name(struct cw_span name, struct cw_str *folded)
{
    if (name.len > CW_SOURCE_NAME_MAX) {
        return CW_REJECT_BAD_NAME;
    }
    if (cw_text_fold(name, folded) != CW_OK) {
        return CW_REJECT_BAD_NAME;
    }
    if (folded->len == 0) {
        return CW_REJECT_NO_NAME;
    }
    if (cw_span_find_span(cw_str_span(folded), CW_SPAN("do not use")) < folded->len) {
        return CW_REJECT_BAD_NAME; /* how athenahealth's customers mark practices that have ended */
    }
    for (size_t i = 0; i < folded->len; i++) {
        if (folded->buf[i] != ' ' && (folded->buf[i] < '0' || folded->buf[i] > '9')) {
            return NULL;
        }
    }
    return CW_REJECT_NUMERIC_NAME;
}

/* --- bases --- */

static bool internal_name(struct cw_span host)
{
    static const char *const suffixes[] = {
        ".local", ".localhost", ".localdomain", ".lan", ".internal", ".intranet", ".corp", ".home", ".home.arpa", ".private",
    };
    bool numeric = true;
    host.len -= cw_span_ends(host, CW_SPAN(".")) ? 1 : 0; /* the same name, written as an absolute one */
    for (size_t i = 0; i < host.len; i++) {
        numeric = numeric && ((host.ptr[i] >= '0' && host.ptr[i] <= '9') || host.ptr[i] == '.');
    }
    if (numeric || cw_span_find(host, '.') == host.len || cw_span_find(host, ':') < host.len) {
        return true;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(suffixes); i++) {
        if (cw_span_ends(host, cw_span_cstr(suffixes[i]))) {
            return true;
        }
    }
    return false;
}

static const char *judge_host(const struct importer *im, struct cw_span base)
{
    struct cw_url *url = NULL;
    if (cw_url_parse(base, &url, NULL) != CW_OK) {
        return CW_REJECT_BAD_URL;
    }
    bool allowed = im->options->allow != NULL && im->options->allow(im->options->allow_arg, cw_url_host(url), cw_url_port(url));
    const char *reason = NULL;
    if (!allowed && internal_name(cw_span_cstr(cw_url_host(url)))) {
        reason = CW_REJECT_INTERNAL_HOST;
    } else if (!allowed && strcmp(cw_url_scheme(url), "https") != 0) {
        reason = CW_REJECT_HTTP;
    }
    cw_url_free(url);
    return reason;
}

static bool path_names(struct cw_span base, const char *version)
{
    struct cw_span word = cw_span_cstr(version);
    for (size_t i = 0; i + word.len <= base.len; i++) {
        if (cw_span_eq_nocase(cw_span_upto(cw_span_from(base, i), word.len), word)) {
            return true;
        }
    }
    return false;
}

static bool starts_nocase(struct cw_span text, const char *prefix)
{
    struct cw_span wanted = cw_span_cstr(prefix);
    return text.len >= wanted.len && cw_span_eq_nocase(cw_span_upto(text, wanted.len), wanted);
}

/* The base as published (without a /metadata that some lists hang on it) and normalised; or the reason why not. */
static const char *judge_base(const struct importer *im, const struct draft *draft, struct cw_span *url, struct cw_str *normal)
{
    if (url->len == 0) {
        return draft->url.len > CW_URL_MAX ? CW_REJECT_BAD_URL : CW_REJECT_NO_URL;
    }
    if (!starts_nocase(*url, "https://") && !starts_nocase(*url, "http://")) {
        return cw_span_find_span(*url, CW_SPAN("://")) < url->len ? CW_REJECT_BAD_URL : CW_REJECT_RELATIVE_URL;
    }
    if (cw_span_ends(*url, CW_SPAN("/metadata"))) {
        url->len -= strlen("/metadata");
    }
    if (cw_url_normal_base(*url, normal, NULL) != CW_OK) {
        return CW_REJECT_BAD_URL;
    }
    const char *reason = judge_host(im, cw_str_span(normal));
    if (reason != NULL) {
        return reason;
    }
    struct cw_span version = cw_span_trim(draft->fhir_version);
    bool other = version.len > 0 ? version.ptr[0] != '4' && !starts_nocase(version, "r4")
                                 : path_names(*url, "/dstu2") || path_names(*url, "/stu3");
    return other ? CW_REJECT_NOT_R4 : NULL;
}

/* --- identity --- */

/* SHA-256 over base, folded name and folded place: the same clinic in next week's list is the same source, written in whatever case. */
static bool identify(struct importer *im, struct cw_source_row *row, struct cw_span folded_name)
{
    struct cw_str text;
    cw_str_init(&text, 2 * CW_URL_MAX + 4 * CW_SOURCE_NAME_MAX);
    const struct cw_span place[] = { row->source.city, row->source.state, row->source.postal_code };
    cw_str_add_span(&text, row->normal_base);
    cw_str_add_char(&text, '\n');
    cw_str_add_span(&text, folded_name);
    enum cw_code rc = CW_OK;
    for (size_t i = 0; i < CW_ARRAY_LEN(place) && rc == CW_OK; i++) {
        cw_str_add_char(&text, '\n');
        rc = cw_text_fold(place[i], &text);
    }
    rc = rc == CW_OK ? cw_str_code(&text) : rc;
    if (rc == CW_OK) {
        cw_sha256(cw_str_span(&text), row->identity_hash);
    } else {
        (void)cw_err_set(im->err, rc, WHERE, "a row without identity");
    }
    cw_str_release(&text);
    return rc == CW_OK;
}

static size_t slot_of(const struct importer *im, const uint8_t hash[CW_HASH_LEN])
{
    size_t at;
    memcpy(&at, hash, sizeof(at)); /* SHA-256: any part of it is evenly spread */
    for (at &= im->seen_room - 1; im->seen[at] != 0; at = (at + 1) & (im->seen_room - 1)) {
        if (memcmp(im->catalog->rows[im->seen[at] - 1].identity_hash, hash, CW_HASH_LEN) == 0) {
            break;
        }
    }
    return at;
}

/* Keeps the table at most half full. */
static bool make_seen_room(struct importer *im)
{
    if (im->seen != NULL && im->catalog->count * 2 < im->seen_room) {
        return true;
    }
    free(im->seen);
    im->seen_room = im->seen_room == 0 ? 1024 : 4 * im->seen_room;
    im->seen = calloc(im->seen_room, sizeof(*im->seen));
    if (im->seen == NULL) {
        return no_memory(im);
    }
    for (size_t i = 0; i < im->catalog->count; i++) {
        im->seen[slot_of(im, im->catalog->rows[i].identity_hash)] = (uint32_t)i + 1;
    }
    return true;
}

/* --- putting it together --- */

/* A link that browsers get: https alone, whatever else is left out. */
static bool clean_link(struct importer *im, struct cw_span link, struct cw_span *ret)
{
    *ret = (struct cw_span){ NULL, 0 };
    return !starts_nocase(cw_span_trim(link), "https://") || clean(im, link, CW_URL_MAX, ret);
}

static bool fill_row(struct importer *im, const struct draft *draft, struct cw_span url, struct cw_span normal,
                     struct cw_source_row *row)
{
    struct cw_source *s = &row->source;
    s->environment = im->options->environment;
    row->normal_base = cw_arena_span(im->arena, normal);
    s->base_url = cw_arena_span(im->arena, url);
    if (row->normal_base.ptr == NULL || s->base_url.ptr == NULL) {
        return no_memory(im);
    }
    s->vendor = im->options->vendor.ptr != NULL ? im->options->vendor : cw_catalog_guess_vendor(row->normal_base);
    return clean(im, draft->name, CW_SOURCE_NAME_MAX, &s->name) && clean(im, draft->brand, CW_SOURCE_NAME_MAX, &s->brand) &&
           clean(im, draft->aliases, ALIASES_MAX, &s->aliases) &&
           clean(im, draft->portal_name, CW_SOURCE_NAME_MAX, &s->portal_name) &&
           clean_link(im, draft->portal_url, &s->portal_url) && clean_link(im, draft->logo_url, &s->logo_url) &&
           clean(im, draft->line, CW_SOURCE_NAME_MAX, &s->address_line) && clean(im, draft->city, CITY_MAX, &s->city) &&
           clean(im, draft->state, STATE_MAX, &s->state) && clean(im, draft->postal_code, POSTAL_CODE_MAX, &s->postal_code) &&
           clean(im, draft->country, COUNTRY_MAX, &s->country) && clean(im, draft->fhir_version, VERSION_MAX, &row->fhir_version);
}

static bool keep_row(struct importer *im, const struct draft *draft, const struct cw_source_row *row)
{
    struct cw_catalog *catalog = im->catalog;
    if (!make_seen_room(im)) {
        return false;
    }
    size_t slot = slot_of(im, row->identity_hash);
    if (im->seen[slot] != 0) {
        return cw_importer_reject(im, draft->position, CW_REJECT_DUPLICATE, draft->name, draft->url);
    }
    if (catalog->count == CW_CATALOG_ROWS_MAX) {
        (void)cw_err_set(im->err, CW_E_TOO_BIG, WHERE, "more than %u rows", CW_CATALOG_ROWS_MAX);
        return false;
    }
    if (catalog->count == im->row_room) {
        void *fresh = grow(im, catalog->rows, catalog->count, &im->row_room, sizeof(*catalog->rows));
        if (fresh == NULL) {
            return no_memory(im);
        }
        catalog->rows = fresh;
    }
    catalog->rows[catalog->count++] = *row;
    im->seen[slot] = (uint32_t)catalog->count;
    return true;
}

bool cw_importer_add(struct importer *im, const struct draft *draft)
{
    struct cw_source_row row = { .source = { .retired = false } };
    struct cw_str folded, normal;
    struct cw_span url, name;
    cw_str_init(&folded, 8 * CW_SOURCE_NAME_MAX);
    cw_str_init(&normal, CW_URL_MAX);
    bool good = clean(im, draft->url, CW_URL_MAX, &url) && clean(im, draft->name, 2 * CW_SOURCE_NAME_MAX, &name);
    if (good) {
        const char *reason = judge_base(im, draft, &url, &normal);
        if (reason == NULL) {
            reason = name.len == 0 && draft->name.len > CW_SOURCE_NAME_MAX ? CW_REJECT_BAD_NAME : judge_name(name, &folded);
        }
        if (reason != NULL) {
            good = cw_importer_reject(im, draft->position, reason, draft->name, draft->url);
        } else {
            good = fill_row(im, draft, url, cw_str_span(&normal), &row) && identify(im, &row, cw_str_span(&folded)) &&
                   keep_row(im, draft, &row);
        }
    }
    cw_str_release(&folded);
    cw_str_release(&normal);
    return good;
}
