/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matching and ranking. A source's score for a word is the quality of the match times where the word stands; a source counts when it
 * matches every word, or, when none does, most of them. Classes come first (whole name, beginning of the name, all words, all words with
 * an error, part of the words), then the sum of scores, then the shorter name.
 */
#include "config.h"

#include "catalog/match.h"

#include "base/text.h"

#define ENOUGH 10u          /* found without errors: no look for typing errors */
#define ERRORS_FROM 4u      /* letters that a word must have for one error, and twice that for two */
#define TYPED_MAX 32u       /* letters that are compared with errors */
#define NAME_LEN_MAX 1023u

/* Quality of a match, in the order that they are tried. */
enum { WHOLE = 100, BEGINNING = 80, ONE_ERROR = 50, TWO_ERRORS = 35 };

struct words {
    struct cw_span at[CW_SEARCH_WORDS_MAX];
    size_t count;
};

/* What a source has got so far. */
struct tally {
    uint16_t total;
    uint16_t best;      /* for the word in hand */
    bool sure;          /* the word in hand matched without an error */
    uint8_t matched;    /* words */
    uint8_t errors;     /* words that matched with an error alone */
};

struct run {
    const struct cw_index_view *view;
    struct words words;
    struct cw_span folded;
    struct tally *tallies;
    uint32_t *touched;   /* sources with a best for the word in hand */
    size_t touched_count;
};

/* --- distances --- */

unsigned cw_match_errors(struct cw_span typed, struct cw_span word, unsigned most)
{
    if (typed.len > TYPED_MAX) {
        return most + 1;
    }
    /* rows[k % 3][i]: edits from the first i letters typed to the first k of the word */
    unsigned rows[3][TYPED_MAX + 1];
    for (size_t i = 0; i <= typed.len; i++) {
        rows[0][i] = (unsigned)i;
    }
    unsigned found = rows[0][typed.len];
    size_t columns = word.len < typed.len + most ? word.len : typed.len + most;
    for (size_t k = 1; k <= columns; k++) {
        unsigned *now = rows[k % 3];
        const unsigned *before = rows[(k - 1) % 3];
        const unsigned *twice = rows[(k + 1) % 3];
        now[0] = (unsigned)k;
        unsigned lowest = now[0];
        for (size_t i = 1; i <= typed.len; i++) {
            unsigned cost = typed.ptr[i - 1] == word.ptr[k - 1] ? 0 : 1;
            unsigned value = before[i - 1] + cost;
            value = before[i] + 1 < value ? before[i] + 1 : value;
            value = now[i - 1] + 1 < value ? now[i - 1] + 1 : value;
            if (i > 1 && k > 1 && typed.ptr[i - 1] == word.ptr[k - 2] && typed.ptr[i - 2] == word.ptr[k - 1] &&
                twice[i - 2] + 1 < value) {
                value = twice[i - 2] + 1;
            }
            now[i] = value;
            lowest = value < lowest ? value : lowest;
        }
        found = now[typed.len] < found ? now[typed.len] : found;
        if (lowest > most) {
            break;
        }
    }
    return found;
}

/* --- one word --- */

static unsigned weight_of(uint32_t fields)
{
    if ((fields & CW_INDEX_NAME) != 0) {
        return 10;
    }
    if ((fields & CW_INDEX_OTHER_NAME) != 0) {
        return 9;
    }
    return (fields & CW_INDEX_PLACE) != 0 ? 7 : 5;
}

static void credit(struct run *run, const struct cw_index_word *word, unsigned quality)
{
    uint32_t first = le32toh(word->first);
    uint32_t count = le32toh(word->count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t posting = le32toh(run->view->postings[first + i]);
        uint32_t source = posting >> CW_INDEX_FIELD_BITS;
        struct tally *tally = &run->tallies[source];
        uint16_t score = (uint16_t)(quality * weight_of(posting & CW_INDEX_FIELDS));
        if (tally->best == 0) {
            run->touched[run->touched_count++] = source;
        }
        tally->best = score > tally->best ? score : tally->best;
        tally->sure = tally->sure || quality >= BEGINNING;
    }
}

/* Index of the first word that is not before `text`. */
static uint32_t lower_bound(const struct cw_index_view *view, struct cw_span text)
{
    uint32_t low = 0;
    uint32_t high = view->word_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct cw_index_word *word = &view->words[middle];
        if (cw_index_compare(cw_index_text(view, word->at, word->len), text) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The word itself and all that begin with it: they stand together. */
static void match_beginnings(struct run *run, struct cw_span typed)
{
    const struct cw_index_view *view = run->view;
    for (uint32_t i = lower_bound(view, typed); i < view->word_count; i++) {
        struct cw_span text = cw_index_text(view, view->words[i].at, view->words[i].len);
        if (!cw_span_starts(text, typed)) {
            return;
        }
        credit(run, &view->words[i], text.len == typed.len ? WHOLE : BEGINNING);
    }
}

/* Of the first most + 1 letters typed, `most` errors leave one whole and move it by no more than `most` places. Compared as sets, which
 * lets some through that cw_match_errors then refuses. */
static inline bool same_start(uint32_t typed_start, struct cw_span word, unsigned most)
{
    return (typed_start & cw_index_letters(cw_span_of(word.ptr, word.len < 2 * most + 1 ? word.len : 2 * most + 1))) != 0;
}

/* More than `most` of the letters typed do not occur in the word. Each step drops one; __builtin_popcount is a call without SSE4. */
static inline bool misses_more(uint32_t typed, uint32_t word, unsigned most)
{
    uint32_t missing = typed & ~word;
    for (unsigned i = 0; i < most; i++) {
        missing &= missing - 1;
    }
    return missing != 0;
}

/* Walks the vocabulary; nearly all of it falls out by its letters. */
static void match_errors(struct run *run, struct cw_span typed)
{
    unsigned most = typed.len >= 2 * ERRORS_FROM ? 2 : 1;
    if (typed.len < ERRORS_FROM || typed.len > TYPED_MAX) {
        return;
    }
    for (size_t i = 0; i < typed.len; i++) {
        if ((unsigned char)typed.ptr[i] >= 0x80 || typed.ptr[i] <= '9') {
            return; /* an error of one byte is not an error of one letter; a number with an error is another number */
        }
    }
    uint32_t letters = cw_index_letters(typed);
    uint32_t start = cw_index_letters(cw_span_upto(typed, most + 1));
    /* ':' follows '9': numbers, which ZIP codes make many of, stand before all other words */
    for (uint32_t i = lower_bound(run->view, CW_SPAN(":")); i < run->view->word_count; i++) {
        const struct cw_index_word *word = &run->view->words[i];
        if (misses_more(letters, le32toh(word->letters), most) || le32toh(word->len) + most < typed.len) {
            continue;
        }
        struct cw_span text = cw_index_text(run->view, word->at, word->len);
        if (!same_start(start, text, most)) {
            continue;
        }
        unsigned errors = cw_match_errors(typed, text, most);
        if (errors > 0 && errors <= most) {
            credit(run, word, errors == 1 ? ONE_ERROR : TWO_ERRORS);
        }
    }
}

/* Closes the word in hand. */
static void settle(struct run *run)
{
    for (size_t i = 0; i < run->touched_count; i++) {
        struct tally *tally = &run->tallies[run->touched[i]];
        tally->total = (uint16_t)(tally->total + tally->best); /* 12 words of at most 1000 */
        tally->matched++;
        tally->errors = (uint8_t)(tally->errors + (tally->sure ? 0 : 1));
        tally->best = 0;
        tally->sure = false;
    }
    run->touched_count = 0;
}

/* --- ranking --- */

static unsigned class_of(const struct run *run, const struct cw_index_source *source, const struct tally *tally)
{
    struct cw_span name = cw_index_text(run->view, source->name_at, source->name_len);
    if (cw_span_eq(name, run->folded)) {
        return 5;
    }
    if (cw_span_starts(name, run->folded)) {
        return 4;
    }
    if (tally->matched < run->words.count) {
        return 1;
    }
    return tally->errors == 0 ? 3 : 2;
}

static uint32_t score_of(const struct run *run, const struct cw_index_source *source, const struct tally *tally)
{
    uint32_t len = le32toh(source->name_len);
    uint32_t shortness = len > NAME_LEN_MAX ? 0 : NAME_LEN_MAX - len;
    return class_of(run, source, tally) << 29 | (uint32_t)tally->total << 10 | shortness;
}

/* Keeps hits sorted, best first; the earlier source wins a tie. */
static void insert(struct cw_search_hit *hits, size_t max, size_t *count, const struct cw_search_hit *hit)
{
    if (*count == max && hits[max - 1].score >= hit->score) {
        return;
    }
    size_t at = *count < max ? (*count)++ : max - 1;
    while (at > 0 && hits[at - 1].score < hit->score) {
        hits[at] = hits[at - 1];
        at--;
    }
    hits[at] = *hit;
}

static size_t rank(const struct run *run, struct cw_span vendor, unsigned needed, struct cw_search_hit *hits, size_t max)
{
    size_t count = 0;
    for (uint32_t i = 0; i < run->view->source_count; i++) {
        const struct tally *tally = &run->tallies[i];
        const struct cw_index_source *source = &run->view->sources[i];
        if (tally->matched < needed ||
            (vendor.len > 0 && !cw_span_eq(cw_index_text(run->view, source->vendor_at, source->vendor_len), vendor))) {
            continue;
        }
        struct cw_search_hit hit = { .score = score_of(run, source, tally) };
        memcpy(hit.id.ulid.bytes, source->id, sizeof source->id);
        insert(hits, max, &count, &hit);
    }
    return count;
}

static void match_all(struct run *run, bool with_errors)
{
    memset(run->tallies, 0, run->view->source_count * sizeof *run->tallies);
    for (size_t i = 0; i < run->words.count; i++) {
        match_beginnings(run, run->words.at[i]);
        if (with_errors) {
            match_errors(run, run->words.at[i]);
        }
        settle(run);
    }
}

static size_t run_passes(struct run *run, struct cw_span vendor, struct cw_search_hit *hits, size_t max)
{
    unsigned all = (unsigned)run->words.count;
    match_all(run, false);
    size_t count = rank(run, vendor, all, hits, max);
    if (count >= ENOUGH || count >= max) {
        return count;
    }
    match_all(run, true);
    count = rank(run, vendor, all, hits, max);
    /* nothing holds all words: what holds at least half of them, and more than one word is needed for that to say anything */
    return count > 0 || all < 2 ? count : rank(run, vendor, (all + 1) / 2, hits, max);
}

/* The words of the folded text; a text of blanks has none. */
static void split(struct cw_span folded, struct words *words)
{
    struct cw_span word;
    while (words->count < CW_SEARCH_WORDS_MAX && cw_span_word(&folded, &word)) {
        words->at[words->count++] = cw_span_upto(word, CW_INDEX_WORD_MAX);
    }
}

/* A pasted address counts by its host: "https://fhir.clinic.example/r4", "www.clinic.example". One dot alone is a name ("St.Hilda"). */
static struct cw_span searched_part(struct cw_span typed)
{
    typed = cw_span_trim(typed);
    bool blank = cw_span_find(typed, ' ') < typed.len;
    size_t dot = cw_span_find(typed, '.');
    bool two_dots = dot < typed.len && cw_span_find(cw_span_from(typed, dot + 1), '.') + dot + 1 < typed.len;
    bool address = !blank && (two_dots || cw_span_find_span(typed, CW_SPAN("://")) < typed.len);
    return address ? cw_index_host(typed) : typed;
}

enum cw_code cw_match_run(const struct cw_index_view *view, const struct cw_search_ask *ask, struct cw_search_hit *hits,
                          size_t max, size_t *ret_count, struct cw_err *err)
{
    CW_AUTO_STR whole;
    CW_AUTO_STR folded;
    cw_str_init(&whole, 4 * CW_SEARCH_TEXT_MAX);
    cw_str_init(&folded, 64 * CW_SEARCH_TEXT_MAX); /* one code point decomposes into 18 at most */
    enum cw_code rc = cw_utf8_repair(searched_part(cw_span_upto(ask->text, CW_SEARCH_TEXT_MAX)), &whole);
    if (rc == CW_OK) {
        rc = cw_text_fold(cw_str_span(&whole), &folded);
    }
    if (rc != CW_OK) {
        return cw_err_set(err, rc == CW_E_SYNTAX ? CW_E_OOM : rc, "search", "the text cannot be folded");
    }
    struct run run = { .view = view, .folded = cw_span_trim(cw_str_span(&folded)) };
    split(run.folded, &run.words);
    *ret_count = 0;
    if (run.words.count == 0 || view->source_count == 0 || max == 0) {
        return CW_OK;
    }
    run.tallies = calloc(view->source_count, sizeof *run.tallies);
    run.touched = reallocarray(NULL, view->source_count, sizeof *run.touched);
    if (run.tallies == NULL || run.touched == NULL) {
        rc = cw_err_set(err, CW_E_OOM, "search", "no memory for a search");
    } else {
        *ret_count = run_passes(&run, ask->vendor, hits, max);
    }
    free(run.tallies);
    free(run.touched);
    return rc;
}
