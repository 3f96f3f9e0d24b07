/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The languages. Each is one flat JSON object of texts; en.json says which keys there are and which {places} each text has, and a
 * language that differs in either stops the start: a patient never sees a key or a hole where a sentence should be.
 */
#include "config.h"

#include "web/template_int.h"

#include <dirent.h>
#include <errno.h>

#include "base/json.h"
#include "os/sys.h"

#define LOCALE_FILE_MAX (1024u * 1024u)
#define LOCALES_MAX 64u
#define TAG_MAX 35u
#define PATH_SIZE 1024u

struct locale {
    char tag[TAG_MAX + 1];
    json_t *root;
    struct cw_span *texts; /* by key */
};

struct cw_locales {
    struct locale items[LOCALES_MAX];
    size_t count;
    const char **keys; /* borrowed from en's document */
    size_t key_count;
};

void cw_locales_free(struct cw_locales *locales)
{
    if (locales == NULL) {
        return;
    }
    for (size_t i = 0; i < locales->count; i++) {
        json_decref(locales->items[i].root);
        free(locales->items[i].texts);
    }
    free(locales->keys);
    free(locales);
}

/* Cuts "…{name}…" up to its next place. False when there is none left. */
static bool next_place(struct cw_span *text, struct cw_span *ret_before, struct cw_span *ret_name)
{
    size_t open = cw_span_find(*text, '{');
    struct cw_span rest = cw_span_from(*text, open);
    size_t close = cw_span_find(rest, '}');
    if (rest.len == 0 || close == rest.len) {
        return false;
    }
    *ret_before = cw_span_upto(*text, open);
    *ret_name = cw_span_from(cw_span_upto(rest, close), 1);
    *text = cw_span_from(rest, close + 1);
    return true;
}

static bool has_place(struct cw_span text, struct cw_span wanted)
{
    struct cw_span before;
    struct cw_span name;
    while (next_place(&text, &before, &name)) {
        if (cw_span_eq(name, wanted)) {
            return true;
        }
    }
    return false;
}

/* Every place of a is one of b. */
static bool places_within(struct cw_span a, struct cw_span b)
{
    struct cw_span before;
    struct cw_span name;
    while (next_place(&a, &before, &name)) {
        if (!has_place(b, name)) {
            return false;
        }
    }
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Takes the keys of en, sorted. */
static enum cw_code take_keys(struct cw_locales *locales, json_t *root)
{
    const char *key;
    json_t *value;
    locales->keys = calloc(json_object_size(root) + 1, sizeof *locales->keys);
    if (locales->keys == NULL) {
        return CW_E_OOM;
    }
    json_object_foreach(root, key, value)
    {
        locales->keys[locales->key_count++] = key;
    }
    qsort(locales->keys, locales->key_count, sizeof *locales->keys, compare_keys);
    return CW_OK;
}

static enum cw_code take_texts(const struct cw_locales *locales, struct locale *locale, struct cw_err *err)
{
    locale->texts = calloc(locales->key_count + 1, sizeof *locale->texts);
    if (locale->texts == NULL) {
        return cw_err_set(err, CW_E_OOM, "locale", "out of memory");
    }
    if (json_object_size(locale->root) != locales->key_count) {
        return cw_err_set(err, CW_E_CONFIG, "locale", "%s.json has other keys than en.json (%zu, not %zu)", locale->tag,
                          json_object_size(locale->root), locales->key_count);
    }
    for (size_t i = 0; i < locales->key_count; i++) {
        enum cw_code rc = cw_json_text(locale->root, locales->keys[i], &locale->texts[i], NULL);
        if (rc != CW_OK) {
            return cw_err_set(err, CW_E_CONFIG, "locale", "%s.json: no text \"%s\"", locale->tag, locales->keys[i]);
        }
        struct cw_span model = locales->items[0].texts[i];
        if (!places_within(model, locale->texts[i]) || !places_within(locale->texts[i], model)) {
            return cw_err_set(err, CW_E_CONFIG, "locale", "%s.json: \"%s\" has other {places} than en.json",
                              locale->tag, locales->keys[i]);
        }
    }
    return CW_OK;
}

static enum cw_code load_one(struct cw_locales *locales, const char *dir, const char *tag, struct cw_err *err)
{
    char path[PATH_SIZE];
    CW_AUTO_STR text;
    cw_str_init(&text, LOCALE_FILE_MAX);
    struct locale *locale = &locales->items[locales->count];
    snprintf(locale->tag, sizeof locale->tag, "%s", tag);
    snprintf(path, sizeof path, "%s/%s.json", dir, tag);
    enum cw_code rc = cw_file_read(path, false, &text, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_json_limits limits = { .max_bytes = LOCALE_FILE_MAX, .max_depth = 2 };
    rc = cw_json_parse(cw_str_span(&text), limits, &locale->root, err);
    if (rc != CW_OK) {
        return cw_err_set(err, CW_E_CONFIG, "locale", "%s.json is not a JSON object of texts", locale->tag);
    }
    locales->count++;
    if (locales->keys == NULL && take_keys(locales, locale->root) != CW_OK) {
        return cw_err_set(err, CW_E_OOM, "locale", "out of memory");
    }
    return take_texts(locales, locale, err);
}

/* "xx.json" → "xx", for tags that can be in a URL or an attribute. */
static bool tag_of(const char *file, char out[TAG_MAX + 1])
{
    struct cw_span name = cw_span_cstr(file);
    if (!cw_span_ends(name, CW_SPAN(".json")) || name.len - 5 > TAG_MAX || name.len == 5) {
        return false;
    }
    memcpy(out, name.ptr, name.len - 5);
    out[name.len - 5] = '\0';
    return strspn(out, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == name.len - 5;
}

static int compare_tags(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The tags beside "en", sorted, so that the switch has a fixed order. */
static enum cw_code list_tags(const char *dir, char tags[LOCALES_MAX][TAG_MAX + 1], size_t *ret_count,
                              struct cw_err *err)
{
    DIR *folder = opendir(dir);
    if (folder == NULL) {
        return cw_err_sys(err, CW_E_CONFIG, errno, "locale", "the folder of locales cannot be read");
    }
    size_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL && count < LOCALES_MAX - 1) {
        count += tag_of(entry->d_name, tags[count]) && strcmp(tags[count], "en") != 0;
    }
    closedir(folder);
    qsort(tags, count, sizeof tags[0], compare_tags);
    *ret_count = count;
    return CW_OK;
}

enum cw_code cw_locales_load(const char *dir, struct cw_locales **ret_locales, struct cw_err *err)
{
    char tags[LOCALES_MAX][TAG_MAX + 1];
    size_t count = 0;
    struct cw_locales *locales = calloc(1, sizeof *locales);
    if (locales == NULL) {
        return cw_err_set(err, CW_E_OOM, "locale", "out of memory");
    }
    enum cw_code rc = list_tags(dir, tags, &count, err);
    if (rc == CW_OK) {
        rc = load_one(locales, dir, "en", err);
    }
    for (size_t i = 0; i < count && rc == CW_OK; i++) {
        rc = load_one(locales, dir, tags[i], err);
    }
    for (size_t i = 0; i < 2 && rc == CW_OK; i++) {
        static const struct cw_span own[] = { { "_name", 5 }, { "_dir", 4 } };
        size_t key;
        if (!cw_locales_key(locales, own[i], &key)) {
            rc = cw_err_set(err, CW_E_CONFIG, "locale", "en.json lacks %s", own[i].ptr);
        }
    }
    if (rc != CW_OK) {
        cw_locales_free(locales);
        return rc;
    }
    *ret_locales = locales;
    return CW_OK;
}

size_t cw_locales_count(const struct cw_locales *locales)
{
    return locales->count;
}

const char *cw_locales_tag(const struct cw_locales *locales, size_t at)
{
    return locales->items[at].tag;
}

static const char *own_text(const struct cw_locales *locales, size_t at, struct cw_span key)
{
    size_t index = 0;
    (void)cw_locales_key(locales, key, &index); /* load made sure of it */
    return locales->items[at].texts[index].ptr;
}

const char *cw_locales_name(const struct cw_locales *locales, size_t at)
{
    return own_text(locales, at, CW_SPAN("_name"));
}

const char *cw_locales_dir(const struct cw_locales *locales, size_t at)
{
    return own_text(locales, at, CW_SPAN("_dir"));
}

size_t cw_locales_find(const struct cw_locales *locales, const char *tag)
{
    for (size_t i = 0; i < locales->count; i++) {
        if (strcmp(locales->items[i].tag, tag) == 0) {
            return i;
        }
    }
    return 0;
}

bool cw_locales_key(const struct cw_locales *locales, struct cw_span key, size_t *ret_index)
{
    size_t low = 0;
    size_t high = locales->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t length = strlen(locales->keys[middle]);
        int order = memcmp(locales->keys[middle], key.ptr, length < key.len ? length : key.len);
        if (order == 0) {
            order = (length > key.len) - (length < key.len);
        }
        if (order == 0) {
            *ret_index = middle;
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

enum cw_code cw_locales_fill(const struct cw_locales *locales, size_t language, size_t key, const struct cw_page *values,
                             struct cw_str *out)
{
    struct cw_span text = locales->items[language].texts[key];
    struct cw_span before;
    struct cw_span name;
    while (next_place(&text, &before, &name)) {
        const struct cw_page_value *value = cw_page_find(values, name);
        cw_str_add_span(out, before);
#ifdef CW_SANITIZED
        if (value == NULL) {
            cw_bug(locales->keys[key]); /* a place of this text that the page does not fill */
        }
#endif
        if (value != NULL) {
            cw_str_add_span(out, value->text);
        }
    }
    return cw_str_add_span(out, text);
}
