/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the index. Words are numbered as they come, by a hash table; postings are gathered source by source and then dealt out to
 * their words by counting, so that 200,000 sources take less than a second and nothing but the vocabulary is sorted.
 */
#include "config.h"

#include "catalog/index.h"

#include <unistd.h>

#include "base/text.h"
#include "catalog/index_int.h"
#include "os/sys.h"

#define FOLDED_MAX 65536u       /* of one field of one source */
#define SOURCE_WORDS_MAX 400u   /* of one source; aliases of health systems run to hundreds */
#define INITIALS_MIN 3u
#define INITIALS_MAX 8u
#define TEXT_MAX ((size_t)256u << 20)

struct word {
    uint32_t at, len; /* in texts */
    uint32_t count;   /* postings */
};
struct posting {
    uint32_t word;
    uint32_t value;
};

struct cw_indexer {
    struct cw_index_source *sources;
    size_t source_count, source_room;
    struct word *words;
    size_t word_count, word_room;
    struct posting *postings;
    size_t posting_count, posting_room;
    uint32_t *table;        /* word number + 1; 0: free; a power of two of them, at most half full */
    size_t table_size;
    struct cw_str texts;
    struct cw_str folded;   /* scratch */
};

void cw_indexer_free(struct cw_indexer *indexer)
{
    if (indexer == NULL) {
        return;
    }
    free(indexer->sources);
    free(indexer->words);
    free(indexer->postings);
    free(indexer->table);
    cw_str_release(&indexer->texts);
    cw_str_release(&indexer->folded);
    free(indexer);
}

struct cw_indexer *cw_indexer_new(void)
{
    struct cw_indexer *indexer = calloc(1, sizeof *indexer);
    if (indexer == NULL) {
        return NULL;
    }
    cw_str_init(&indexer->texts, TEXT_MAX);
    cw_str_init(&indexer->folded, FOLDED_MAX);
    indexer->table_size = 1024;
    indexer->table = calloc(indexer->table_size, sizeof *indexer->table);
    if (indexer->table == NULL) {
        free(indexer); /* holds nothing yet */
        return NULL;
    }
    return indexer;
}

/* Room for one more element; the pointer may move. */
static bool make_room(void **items, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return true;
    }
    size_t wanted = *room == 0 ? 256 : *room * 2;
    void *moved = reallocarray(*items, wanted, size);
    if (moved == NULL) {
        return false;
    }
    *items = moved;
    *room = wanted;
    return true;
}

static struct cw_span word_text(const struct cw_indexer *indexer, const struct word *word)
{
    return cw_span_of(indexer->texts.buf + word->at, word->len);
}

/* FNV-1a: the words are our own operator's data, and a slow table would only slow the build. */
static size_t slot_of(const struct cw_indexer *indexer, struct cw_span text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    }
    size_t slot = (size_t)(hash ^ hash >> 32) & (indexer->table_size - 1);
    while (indexer->table[slot] != 0 &&
           !cw_span_eq(word_text(indexer, &indexer->words[indexer->table[slot] - 1]), text)) {
        slot = (slot + 1) & (indexer->table_size - 1);
    }
    return slot;
}

static bool grow_table(struct cw_indexer *indexer)
{
    uint32_t *table = calloc(indexer->table_size * 2, sizeof *table);
    if (table == NULL) {
        return false;
    }
    free(indexer->table);
    indexer->table = table;
    indexer->table_size *= 2;
    for (size_t i = 0; i < indexer->word_count; i++) {
        indexer->table[slot_of(indexer, word_text(indexer, &indexer->words[i]))] = (uint32_t)i + 1;
    }
    return true;
}

static enum cw_code text_add(struct cw_indexer *indexer, struct cw_span text, uint32_t *ret_at)
{
    *ret_at = (uint32_t)indexer->texts.len;
    return cw_str_add_span(&indexer->texts, text);
}

/* The number of a word, new or known. */
static enum cw_code word_number(struct cw_indexer *indexer, struct cw_span text, uint32_t *ret_number)
{
    size_t slot = slot_of(indexer, text);
    if (indexer->table[slot] != 0) {
        *ret_number = indexer->table[slot] - 1;
        return CW_OK;
    }
    if (indexer->word_count * 2 >= indexer->table_size) {
        if (!grow_table(indexer)) {
            return CW_E_OOM;
        }
        slot = slot_of(indexer, text);
    }
    if (!make_room((void **)&indexer->words, indexer->word_count, &indexer->word_room, sizeof *indexer->words)) {
        return CW_E_OOM;
    }
    struct word *word = &indexer->words[indexer->word_count];
    *word = (struct word){ .len = (uint32_t)text.len };
    enum cw_code rc = text_add(indexer, text, &word->at);
    if (rc != CW_OK) {
        return rc;
    }
    indexer->table[slot] = (uint32_t)++indexer->word_count;
    *ret_number = (uint32_t)indexer->word_count - 1;
    return CW_OK;
}

/* One word of the source being added, whose postings begin at `start`: once in the list, with all fields that hold it. */
static enum cw_code posting_add(struct cw_indexer *indexer, size_t start, struct cw_span text, unsigned field)
{
    uint32_t number;
    enum cw_code rc = word_number(indexer, cw_span_upto(text, CW_INDEX_WORD_MAX), &number);
    if (rc != CW_OK) {
        return rc;
    }
    for (size_t i = start; i < indexer->posting_count; i++) {
        if (indexer->postings[i].word == number) {
            indexer->postings[i].value |= field;
            return CW_OK;
        }
    }
    if (indexer->posting_count - start >= SOURCE_WORDS_MAX) {
        return CW_OK;
    }
    if (!make_room((void **)&indexer->postings, indexer->posting_count, &indexer->posting_room,
                   sizeof *indexer->postings)) {
        return CW_E_OOM;
    }
    indexer->postings[indexer->posting_count++] =
        (struct posting){ number, (uint32_t)indexer->source_count << CW_INDEX_FIELD_BITS | field };
    indexer->words[number].count++;
    return CW_OK;
}

/* Written and spoken forms of the words that names and places are made of: a source with one is found by the other too. Only such as are not
 * the beginning of the whole word ("hosp" needs no help). */
static const char *const forms[][2] = {
    { "st", "saint" },         { "ste", "sainte" },        { "mt", "mount" },         { "ft", "fort" },
    { "dr", "doctor" },        { "ctr", "center" },        { "cntr", "center" },      { "centre", "center" },
    { "hlth", "health" },      { "hlthcare", "healthcare" }, { "svc", "service" },    { "svc", "services" },
    { "svcs", "services" },    { "grp", "group" },         { "regl", "regional" },    { "rgnl", "regional" },
    { "cty", "county" },       { "natl", "national" },     { "intl", "international" }, { "phys", "physicians" },
    { "peds", "pediatrics" },  { "pediatrics", "paediatrics" }, { "pediatric", "paediatric" }, { "ortho", "orthopedic" },
    { "orthopedic", "orthopaedic" }, { "orthopedics", "orthopaedics" }, { "obgyn", "gynecology" }, { "va", "veterans" },
};
/* States of the US: lists write the code or the name. */
static const char *const states[][2] = {
    { "al", "alabama" },     { "ak", "alaska" },        { "az", "arizona" },     { "ar", "arkansas" },    { "ca", "california" },
    { "co", "colorado" },    { "ct", "connecticut" },   { "de", "delaware" },    { "fl", "florida" },     { "ga", "georgia" },
    { "hi", "hawaii" },      { "id", "idaho" },         { "il", "illinois" },    { "in", "indiana" },     { "ia", "iowa" },
    { "ks", "kansas" },      { "ky", "kentucky" },      { "la", "louisiana" },   { "me", "maine" },       { "md", "maryland" },
    { "ma", "massachusetts" }, { "mi", "michigan" },    { "mn", "minnesota" },   { "ms", "mississippi" }, { "mo", "missouri" },
    { "mt", "montana" },     { "ne", "nebraska" },      { "nv", "nevada" },      { "nh", "new hampshire" }, { "nj", "new jersey" },
    { "nm", "new mexico" },  { "ny", "new york" },      { "nc", "north carolina" }, { "nd", "north dakota" }, { "oh", "ohio" },
    { "ok", "oklahoma" },    { "or", "oregon" },        { "pa", "pennsylvania" }, { "ri", "rhode island" }, { "sc", "south carolina" },
    { "sd", "south dakota" }, { "tn", "tennessee" },    { "tx", "texas" },       { "ut", "utah" },        { "vt", "vermont" },
    { "va", "virginia" },    { "wa", "washington" },    { "wv", "west virginia" }, { "wi", "wisconsin" }, { "wy", "wyoming" },
    { "dc", "district of columbia" }, { "pr", "puerto rico" },
};

/* The words of a folded text, all into one field. */
static enum cw_code words_add(struct cw_indexer *indexer, size_t start, struct cw_span folded, unsigned field)
{
    struct cw_span word;
    enum cw_code rc = CW_OK;
    while (rc == CW_OK && cw_span_word(&folded, &word)) {
        rc = posting_add(indexer, start, word, field);
    }
    return rc;
}

/* The other forms of a word or a state, from one table. */
static enum cw_code forms_add(struct cw_indexer *indexer, size_t start, const char *const (*table)[2], size_t rows,
                              struct cw_span text, unsigned field)
{
    enum cw_code rc = CW_OK;
    for (size_t i = 0; i < rows && rc == CW_OK; i++) {
        for (int k = 0; k < 2 && rc == CW_OK; k++) {
            if (cw_span_eq_cstr(text, table[i][k])) {
                rc = words_add(indexer, start, cw_span_cstr(table[i][1 - k]), field);
            }
        }
    }
    return rc;
}

/* Folds a text into indexer->folded; one that is not UTF-8 or too long is not searched. */
static enum cw_code fold(struct cw_indexer *indexer, struct cw_span text)
{
    cw_str_clear(&indexer->folded);
    if (text.ptr == NULL) {
        return CW_OK;
    }
    enum cw_code rc = cw_text_fold(text, &indexer->folded);
    if (rc == CW_E_SYNTAX || rc == CW_E_TOO_BIG) {
        cw_str_clear(&indexer->folded);
        return CW_OK;
    }
    return rc;
}

static enum cw_code field_add(struct cw_indexer *indexer, size_t start, struct cw_span text, unsigned field)
{
    enum cw_code rc = fold(indexer, text);
    struct cw_span left = cw_str_span(&indexer->folded);
    struct cw_span word;
    while (rc == CW_OK && cw_span_word(&left, &word)) {
        rc = posting_add(indexer, start, word, field);
        if (rc == CW_OK) {
            rc = forms_add(indexer, start, forms, CW_ARRAY_LEN(forms), word, field);
        }
    }
    return rc;
}

static enum cw_code state_add(struct cw_indexer *indexer, size_t start, struct cw_span state)
{
    enum cw_code rc = fold(indexer, state);
    struct cw_span folded = cw_span_trim(cw_str_span(&indexer->folded));
    return rc == CW_OK ? forms_add(indexer, start, states, CW_ARRAY_LEN(states), folded, CW_INDEX_PLACE) : rc;
}

/* "Quorvex General Hospital" is also QGH. Small words have no letter in it. */
static enum cw_code initials_add(struct cw_indexer *indexer, size_t start, struct cw_span name)
{
    enum cw_code rc = fold(indexer, name);
    struct cw_span left = cw_str_span(&indexer->folded);
    struct cw_span word;
    char initials[INITIALS_MAX];
    size_t count = 0;
    while (count < INITIALS_MAX && cw_span_word(&left, &word)) {
        bool small = cw_span_eq_cstr(word, "of") || cw_span_eq_cstr(word, "the") || cw_span_eq_cstr(word, "and");
        if (!small && (unsigned char)word.ptr[0] < 0x80) {
            initials[count++] = word.ptr[0];
        }
    }
    return rc == CW_OK && count >= INITIALS_MIN ? posting_add(indexer, start, cw_span_of(initials, count), CW_INDEX_OTHER_NAME) : rc;
}

static enum cw_code fields_add(struct cw_indexer *indexer, const struct cw_source *source)
{
    const struct {
        struct cw_span text;
        unsigned field;
    } fields[] = {
        { source->name, CW_INDEX_NAME },
        { source->brand, CW_INDEX_OTHER_NAME },
        { source->portal_name, CW_INDEX_OTHER_NAME },
        { source->aliases, CW_INDEX_OTHER_NAME },
        { source->city, CW_INDEX_PLACE },
        { source->state, CW_INDEX_PLACE },
        { source->postal_code, CW_INDEX_PLACE },
        { cw_index_host(source->base_url), CW_INDEX_HOST },
    };
    size_t start = indexer->posting_count;
    enum cw_code rc = CW_OK;
    for (size_t i = 0; i < CW_ARRAY_LEN(fields) && rc == CW_OK; i++) {
        rc = field_add(indexer, start, fields[i].text, fields[i].field);
    }
    if (rc == CW_OK) {
        rc = state_add(indexer, start, source->state);
    }
    return rc == CW_OK ? initials_add(indexer, start, source->name) : rc;
}

enum cw_code cw_indexer_add(struct cw_indexer *indexer, const struct cw_source *source, struct cw_err *err)
{
    if (indexer->source_count >= CW_INDEX_SOURCES_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "index", "more than %u sources", CW_INDEX_SOURCES_MAX);
    }
    if (!make_room((void **)&indexer->sources, indexer->source_count, &indexer->source_room,
                   sizeof *indexer->sources)) {
        return cw_err_set(err, CW_E_OOM, "index", "no memory for a source");
    }
    struct cw_index_source entry = { .name_len = 0 };
    memcpy(entry.id, source->id.ulid.bytes, sizeof entry.id);
    enum cw_code rc = fold(indexer, source->name);
    if (rc == CW_OK) {
        entry.name_len = (uint32_t)indexer->folded.len;
        rc = text_add(indexer, cw_str_span(&indexer->folded), &entry.name_at);
    }
    if (rc == CW_OK) {
        entry.vendor_len = (uint32_t)source->vendor.len;
        rc = text_add(indexer, source->vendor, &entry.vendor_at);
    }
    if (rc == CW_OK) {
        rc = fields_add(indexer, source);
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "index", "no room for the words of a source");
    }
    indexer->sources[indexer->source_count++] = entry;
    return CW_OK;
}

/* --- the file --- */

static int compare_ranked(const void *a, const void *b, void *arg)
{
    const struct cw_indexer *indexer = arg;
    return cw_index_compare(word_text(indexer, &indexer->words[*(const uint32_t *)a]),
                            word_text(indexer, &indexer->words[*(const uint32_t *)b]));
}

static void emit_header(const struct cw_indexer *indexer, size_t text_len, struct cw_str *out)
{
    struct cw_index_header header = {
        .sources = htole32((uint32_t)indexer->source_count),
        .words = htole32((uint32_t)indexer->word_count),
        .postings = htole32((uint32_t)indexer->posting_count),
        .text = htole32((uint32_t)text_len),
    };
    memcpy(header.magic, CW_INDEX_MAGIC, sizeof header.magic);
    cw_str_add(out, &header, sizeof header);
    for (size_t i = 0; i < indexer->source_count; i++) {
        struct cw_index_source source = indexer->sources[i];
        source.name_at = htole32(source.name_at);
        source.name_len = htole32(source.name_len);
        source.vendor_at = htole32(source.vendor_at);
        source.vendor_len = htole32(source.vendor_len);
        cw_str_add(out, &source, sizeof source);
    }
}

/* Words in their order; `starts` tells by number where the postings of a word begin. */
static void emit_words(const struct cw_indexer *indexer, const uint32_t *ranked, uint32_t *starts, struct cw_str *out)
{
    uint32_t next = 0;
    for (size_t i = 0; i < indexer->word_count; i++) {
        const struct word *word = &indexer->words[ranked[i]];
        const struct cw_index_word entry = {
            .at = htole32(word->at),
            .len = htole32(word->len),
            .letters = htole32(cw_index_letters(word_text(indexer, word))),
            .first = htole32(next),
            .count = htole32(word->count),
        };
        starts[ranked[i]] = next;
        next += word->count;
        cw_str_add(out, &entry, sizeof entry);
    }
}

static enum cw_code emit_tables(struct cw_indexer *indexer, uint32_t *ranked, uint32_t *starts, struct cw_str *out)
{
    for (uint32_t i = 0; i < indexer->word_count; i++) {
        ranked[i] = i;
    }
    qsort_r(ranked, indexer->word_count, sizeof *ranked, compare_ranked, indexer);
    size_t text_len = (indexer->texts.len + 3) / 4 * 4;
    emit_header(indexer, text_len, out);
    emit_words(indexer, ranked, starts, out);
    size_t size = indexer->posting_count * sizeof(uint32_t);
    char *at = cw_str_reserve(out, size);
    if (at == NULL) {
        return cw_str_code(out);
    }
    for (size_t i = 0; i < indexer->posting_count; i++) {
        uint32_t value = htole32(indexer->postings[i].value);
        memcpy(at + sizeof value * starts[indexer->postings[i].word]++, &value, sizeof value);
    }
    cw_str_grow_by(out, size);
    cw_str_add_span(out, cw_str_span(&indexer->texts));
    cw_str_add(out, "\0\0\0", text_len - indexer->texts.len);
    return cw_str_code(out);
}

enum cw_code cw_indexer_emit(struct cw_indexer *indexer, struct cw_str *out, struct cw_err *err)
{
    size_t start = out->len;
    uint32_t *ranked = reallocarray(NULL, indexer->word_count + 1, sizeof *ranked);
    uint32_t *starts = reallocarray(NULL, indexer->word_count + 1, sizeof *starts);
    enum cw_code rc = ranked == NULL || starts == NULL ? CW_E_OOM : emit_tables(indexer, ranked, starts, out);
    free(ranked);
    free(starts);
    if (rc == CW_OK) {
        uint8_t hash[CW_HASH_LEN];
        cw_sha256(cw_span_from(cw_str_span(out), start), hash);
        rc = cw_str_add(out, hash, sizeof hash);
    }
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "index", "no room for the index");
}

/* --- from the database --- */

enum cw_code cw_index_path(const struct cw_config *config, enum cw_environment environment, struct cw_str *out)
{
    return cw_str_addf(out, "%s/search-%s.index", cw_config_text(config, CW_CONF_STATE_DIR),
                       cw_environment_name(environment));
}

static enum cw_code add_source(void *arg, const struct cw_source *source, struct cw_err *err)
{
    return cw_indexer_add(arg, source, err);
}

static enum cw_code refresh(struct cw_model *model, enum cw_environment environment, struct cw_indexer *indexer,
                            struct cw_err *err)
{
    CW_AUTO_STR path;
    CW_AUTO_STR file;
    cw_str_init(&path, 4096);
    cw_str_init(&file, CW_INDEX_BYTES_MAX);
    uint64_t generation;
    enum cw_code rc = cw_source_each(model, environment, add_source, indexer, &generation, err);
    if (rc == CW_OK) {
        rc = cw_indexer_emit(indexer, &file, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (cw_index_path(model->config, environment, &path) != CW_OK) {
        return cw_err_set(err, CW_E_CONFIG, "index", "the path of state_dir is too long");
    }
    return cw_file_replace(cw_str_cstr(&path), 0640, cw_str_span(&file), err);
}

enum cw_code cw_index_refresh(struct cw_model *model, enum cw_environment environment, size_t *ret_count,
                              struct cw_err *err)
{
    struct cw_indexer *indexer = cw_indexer_new();
    if (indexer == NULL) {
        return cw_err_set(err, CW_E_OOM, "index", "no memory for an index");
    }
    enum cw_code rc = refresh(model, environment, indexer, err);
    if (rc == CW_OK) {
        *ret_count = indexer->source_count;
    }
    cw_indexer_free(indexer);
    return rc;
}

static bool file_is_there(const struct cw_model *model, enum cw_environment environment)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    return cw_index_path(model->config, environment, &path) == CW_OK && access(cw_str_cstr(&path), R_OK) == 0;
}

enum cw_code cw_index_keep(struct cw_model *model, struct cw_index_keeper *keeper, unsigned *ret_written, struct cw_err *err)
{
    static const enum cw_environment environments[] = { CW_ENV_SANDBOX, CW_ENV_PRODUCTION };
    unsigned written = 0;
    for (size_t i = 0; i < CW_ARRAY_LEN(environments); i++) {
        enum cw_environment environment = environments[i];
        uint64_t generation; /* read first: a change while we build is seen at the next call */
        enum cw_code rc = cw_catalog_generation(model, environment, &generation, err);
        bool fresh = rc == CW_OK && keeper->at[environment].known && keeper->at[environment].generation == generation &&
                     file_is_there(model, environment);
        size_t count;
        if (rc == CW_OK && !fresh) {
            rc = cw_index_refresh(model, environment, &count, err);
            written++;
        }
        if (rc != CW_OK) {
            return rc;
        }
        keeper->at[environment].known = true;
        keeper->at[environment].generation = generation;
    }
    *ret_written = written;
    return CW_OK;
}
