/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vendor profiles from files, and which of them is meant. Texts are borrowed from the parsed files, which the set keeps. No two profiles
 * may claim the same server by the same word: then the order of files would decide, and nobody would know.
 */
#include "config.h"

#include "smart/profile.h"

#include <dirent.h>
#include <errno.h>

#include "base/limits.h"
#include "base/text.h"
#include "os/sys.h"
#include "smart/profile_int.h"

#define PROFILE_FILE_MAX (64u * 1024u)
#define PROFILES_MAX 256u
#define PROFILE_DEPTH_MAX 8u

struct cw_profiles {
    struct cw_profile_entry *entries; /* sorted by name */
    size_t count;
    size_t fallback;                  /* index of "default" */
};

static enum cw_code read_file(const char *dir, const char *file, struct cw_profile_entry *entry, struct cw_err *err)
{
    CW_AUTO_STR path;
    CW_AUTO_STR text;
    cw_str_init(&path, 4096);
    cw_str_init(&text, PROFILE_FILE_MAX);
    entry->name = cw_span_dup(cw_span_of(file, strlen(file) - strlen(".json")));
    enum cw_code rc = cw_str_addf(&path, "%s/%s", dir, file);
    if (rc != CW_OK || entry->name == NULL) {
        return cw_err_set(err, rc != CW_OK ? rc : CW_E_OOM, "profiles", "cannot name a profile");
    }
    rc = cw_file_read(cw_str_cstr(&path), false, &text, err);
    if (rc == CW_OK) {
        struct cw_json_limits limits = { .max_bytes = PROFILE_FILE_MAX, .max_depth = PROFILE_DEPTH_MAX };
        rc = cw_json_parse(cw_str_span(&text), limits, &entry->root, err);
    }
    if (rc == CW_E_SYNTAX || rc == CW_E_TOO_BIG) {
        rc = cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profile %s is not a small JSON object", entry->name);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct cw_profile_entry *left = a;
    const struct cw_profile_entry *right = b;
    return strcmp(left->name, right->name);
}

static enum cw_code read_all(struct cw_profiles *profiles, DIR *folder, const char *dir, struct cw_err *err)
{
    const struct dirent *file;
    while ((file = readdir(folder)) != NULL) {
        struct cw_span name = cw_span_cstr(file->d_name);
        if (name.len <= strlen(".json") || !cw_span_ends(name, CW_SPAN(".json")) || name.ptr[0] == '.') {
            continue;
        }
        if (profiles->count == PROFILES_MAX) {
            return cw_err_set(err, CW_E_CONFIG, "profiles", "more than %u vendor profiles", PROFILES_MAX);
        }
        enum cw_code rc = read_file(dir, file->d_name, &profiles->entries[profiles->count++], err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

static bool lists(const json_t *list, struct cw_span value)
{
    size_t at;
    const json_t *item;
    json_array_foreach(list, at, item)
    {
        if (cw_span_eq_nocase(value, cw_span_of(json_string_value(item), json_string_length(item)))) {
            return true;
        }
    }
    return false;
}

static const char *const claims[] = { "host_suffix", "software", "publisher" };

/* The kind of claim that both make with the same word; NULL: none. */
static const char *quarrel(const struct cw_profile_entry *a, const struct cw_profile_entry *b)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(claims); i++) {
        size_t at;
        const json_t *item;
        json_array_foreach(json_object_get(a->match, claims[i]), at, item)
        {
            if (lists(json_object_get(b->match, claims[i]), cw_span_of(json_string_value(item), json_string_length(item)))) {
                return claims[i];
            }
        }
    }
    return NULL;
}

static enum cw_code check_claims(const struct cw_profiles *profiles, struct cw_err *err)
{
    for (size_t i = 0; i < profiles->count; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct cw_profile_entry *a = &profiles->entries[k];
            const struct cw_profile_entry *b = &profiles->entries[i];
            const char *claim = quarrel(a, b);
            if (claim != NULL) {
                return cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profiles %.40s and %.40s: member match claims the same %s",
                                  a->name, b->name, claim);
            }
        }
    }
    return CW_OK;
}

/* Default first, since the others start from it. */
static enum cw_code settle(struct cw_profiles *profiles, struct cw_err *err)
{
    qsort(profiles->entries, profiles->count, sizeof *profiles->entries, by_name);
    struct cw_profile_entry *entries = profiles->entries;
    for (profiles->fallback = 0; profiles->fallback < profiles->count; profiles->fallback++) {
        if (strcmp(entries[profiles->fallback].name, "default") == 0) {
            break;
        }
    }
    if (profiles->fallback == profiles->count) {
        return cw_err_set(err, CW_E_CONFIG, "profiles", "no default.json among the vendor profiles");
    }
    enum cw_code rc = cw_profile_read(&entries[profiles->fallback], NULL, err);
    for (size_t i = 0; rc == CW_OK && i < profiles->count; i++) {
        if (i != profiles->fallback) {
            rc = cw_profile_read(&entries[i], &entries[profiles->fallback].profile, err);
        }
    }
    return rc;
}

void cw_profiles_free(struct cw_profiles *profiles)
{
    if (profiles == NULL) {
        return;
    }
    for (size_t i = 0; i < profiles->count; i++) {
        free(profiles->entries[i].name);
        json_decref(profiles->entries[i].root);
    }
    free(profiles->entries);
    free(profiles);
}

enum cw_code cw_profiles_load(const char *dir, struct cw_profiles **ret_profiles, struct cw_err *err)
{
    DIR *folder = opendir(dir);
    if (folder == NULL) {
        return cw_err_sys(err, CW_E_IO, errno, "profiles", "cannot open the folder of vendor profiles");
    }
    struct cw_profiles *profiles = calloc(1, sizeof *profiles);
    enum cw_code rc = CW_OK;
    if (profiles == NULL || (profiles->entries = calloc(PROFILES_MAX, sizeof *profiles->entries)) == NULL) {
        rc = cw_err_set(err, CW_E_OOM, "profiles", "out of memory");
    }
    if (rc == CW_OK) {
        rc = read_all(profiles, folder, dir, err);
    }
    if (rc == CW_OK) {
        rc = settle(profiles, err);
    }
    if (rc == CW_OK) {
        rc = check_claims(profiles, err);
    }
    (void)closedir(folder);
    if (rc != CW_OK) {
        cw_profiles_free(profiles);
        return rc;
    }
    *ret_profiles = profiles;
    return CW_OK;
}

const struct cw_profile *cw_profiles_find(const struct cw_profiles *profiles, struct cw_span name)
{
    for (size_t i = 0; i < profiles->count; i++) {
        if (cw_span_eq_cstr(name, profiles->entries[i].name)) {
            return &profiles->entries[i].profile;
        }
    }
    return NULL;
}

const struct cw_profile *cw_profiles_get(const struct cw_profiles *profiles, struct cw_span name)
{
    const struct cw_profile *found = cw_profiles_find(profiles, name);
    return found == NULL ? &profiles->entries[profiles->fallback].profile : found;
}

/* ---- choice */

const char *cw_profile_why_name(enum cw_profile_why why)
{
    static const char *const names[CW_PROFILE_WHY__COUNT] = { "operator", "registration", "catalogue", "host",
                                                              "software", "publisher",    "default" };
    return names[why];
}

/* The profile with the longest suffix of the host; NULL: none. */
static const struct cw_profile *by_host(const struct cw_profiles *profiles, struct cw_span host)
{
    const struct cw_profile *best = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < profiles->count; i++) {
        size_t at;
        const json_t *item;
        json_array_foreach(json_object_get(profiles->entries[i].match, "host_suffix"), at, item)
        {
            struct cw_span suffix = cw_span_of(json_string_value(item), json_string_length(item));
            /* A suffix begins with a dot or is the whole host: "evilcerner.com" ends in "cerner.com", too. */
            bool fits = cw_span_eq(host, suffix) || (cw_span_starts(suffix, CW_SPAN(".")) && cw_span_ends(host, suffix));
            if (fits && suffix.len > longest) {
                longest = suffix.len;
                best = &profiles->entries[i].profile;
            }
        }
    }
    return best;
}

static const struct cw_profile *by_word(const struct cw_profiles *profiles, const char *claim, struct cw_span word)
{
    for (size_t i = 0; word.len > 0 && i < profiles->count; i++) {
        if (lists(json_object_get(profiles->entries[i].match, claim), word)) {
            return &profiles->entries[i].profile;
        }
    }
    return NULL;
}

struct cw_profile_choice cw_profiles_choose(const struct cw_profiles *profiles, const struct cw_profile_facts *facts)
{
    const struct cw_profile *const found[] = {
        [CW_PROFILE_BY_OPERATOR] = cw_profiles_find(profiles, facts->operator_choice),
        [CW_PROFILE_BY_REGISTRATION] = cw_profiles_find(profiles, facts->registration),
        [CW_PROFILE_BY_CATALOGUE] = cw_profiles_find(profiles, facts->vendor),
        [CW_PROFILE_BY_HOST] = by_host(profiles, facts->host),
        [CW_PROFILE_BY_SOFTWARE] = by_word(profiles, "software", facts->software),
        [CW_PROFILE_BY_PUBLISHER] = by_word(profiles, "publisher", facts->publisher),
        [CW_PROFILE_BY_DEFAULT] = &profiles->entries[profiles->fallback].profile,
    };
    int why = 0;
    while (found[why] == NULL) {
        why++;
    }
    return (struct cw_profile_choice){ found[why], (enum cw_profile_why)why };
}

/* ---- the extra query */

enum cw_code cw_profile_query(const struct cw_profile *profile, struct cw_span tenant, struct cw_str *out)
{
    static const struct cw_span place = { "{tenant}", sizeof "{tenant}" - 1 };
    struct cw_span text = cw_span_cstr(profile->extra_query);
    size_t at = cw_span_find_span(text, place);
    if (at == text.len) {
        return cw_str_add_span(out, text);
    }
    if (tenant.len == 0) {
        return CW_OK;
    }
    struct cw_span before = cw_span_upto(text, at);
    size_t said = before.len < tenant.len ? before.len : tenant.len;
    while (said > 0 && !cw_span_eq(cw_span_from(before, before.len - said), cw_span_upto(tenant, said))) {
        said--;
    }
    (void)cw_str_add_span(out, before);
    (void)cw_percent_encode(cw_span_from(tenant, said), out);
    return cw_str_add_span(out, cw_span_from(text, at + place.len));
}
