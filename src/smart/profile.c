/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vendor profiles from files. One table of knobs says name, kind and place of each; a file is walked against it, so a misspelt
 * knob stops the start instead of being ignored. Texts are borrowed from the parsed files, which the set keeps.
 */
#include "config.h"

#include "smart/profile.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>

#include "base/limits.h"
#include "os/sys.h"

#define PROFILE_FILE_MAX (64u * 1024u)
#define PROFILES_MAX 256u
#define PROFILE_DEPTH_MAX 8u

struct entry {
    struct cw_profile profile;
    char *name;
    json_t *root;
    const json_t *match;
};

struct cw_profiles {
    struct entry *entries; /* sorted by name */
    size_t count;
    size_t fallback;       /* index of "default" */
};

enum knob_kind { KNOB_TEXT, KNOB_BOOL, KNOB_INT, KNOB_DIALECT, KNOB_WILDCARD, KNOB_AUD, KNOB_STATE, KNOB_AUTH };

struct knob {
    const char *name;
    enum knob_kind kind;
    size_t at;
    int max; /* of an INT, least 0 */
};

#define AT(member) offsetof(struct cw_profile, member)
static const struct knob knobs[] = {
    { "scope_dialect", KNOB_DIALECT, AT(scope_dialect), 0 },
    { "scope_wildcard", KNOB_WILDCARD, AT(scope_wildcard), 0 },
    { "scope_literal", KNOB_TEXT, AT(scope_literal), 0 },
    { "scope_extra", KNOB_TEXT, AT(scope_extra), 0 },
    { "scope_drop", KNOB_TEXT, AT(scope_drop), 0 },
    { "send_aud", KNOB_BOOL, AT(send_aud), 0 },
    { "aud_slash", KNOB_AUD, AT(aud_slash), 0 },
    { "pkce", KNOB_BOOL, AT(pkce), 0 },
    { "send_nonce", KNOB_BOOL, AT(send_nonce), 0 },
    { "strip_authorize_slash", KNOB_BOOL, AT(strip_authorize_slash), 0 },
    { "state_format", KNOB_STATE, AT(state_opaque43), 0 },
    { "auth_method", KNOB_AUTH, AT(auth_method), 0 },
    { "basic_encoded", KNOB_BOOL, AT(basic_encoded), 0 },
    { "client_id_always", KNOB_BOOL, AT(client_id_always), 0 },
    { "refresh_scope", KNOB_BOOL, AT(refresh_scope), 0 },
    { "refresh_redirect_uri", KNOB_BOOL, AT(refresh_redirect_uri), 0 },
    { "patient_claim", KNOB_TEXT, AT(patient_claim), 0 },
    { "patient_search", KNOB_BOOL, AT(patient_search), 0 },
    { "accept", KNOB_TEXT, AT(accept), 0 },
    { "count", KNOB_INT, AT(count), 1000 },
    { "max_conn", KNOB_INT, AT(max_conn), 64 },
    { "rate_per_min", KNOB_INT, AT(rate_per_min), 100000 },
    { "everything", KNOB_BOOL, AT(everything), 0 },
};

/* What default.json leaves out; where it must say something, it does. */
static const struct cw_profile built_in = {
    .scope_wildcard = -1,
    .scope_literal = "",
    .scope_extra = "",
    .scope_drop = "",
    .send_aud = true,
    .pkce = true,
    .send_nonce = true,
    .patient_claim = "",
    .accept = "application/fhir+json",
    .count = 50,
};

/* The place of value among names, or -1. */
static int choice(const json_t *value, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool set_choice(const struct knob *knob, const json_t *value, struct cw_profile *profile)
{
    static const char *const dialects[] = { "negotiated", "v2", "v1", "fixed", "literal" };
    static const char *const wildcards[] = { "advertised", "no", "yes" };
    static const char *const slashes[] = { "as_published", "strip", "add" };
    static const char *const states[] = { "signed", "opaque43" };
    int at = -1;
    if (knob->kind == KNOB_DIALECT) {
        at = choice(value, dialects, (int)CW_ARRAY_LEN(dialects));
        profile->scope_dialect = at < 0 ? profile->scope_dialect : (enum cw_scope_dialect)at;
    } else if (knob->kind == KNOB_WILDCARD) {
        at = choice(value, wildcards, (int)CW_ARRAY_LEN(wildcards));
        profile->scope_wildcard = at - 1;
    } else if (knob->kind == KNOB_AUD) {
        at = choice(value, slashes, (int)CW_ARRAY_LEN(slashes));
        profile->aud_slash = at < 0 ? profile->aud_slash : (enum cw_aud_slash)at;
    } else {
        at = choice(value, states, (int)CW_ARRAY_LEN(states));
        profile->state_opaque43 = at == 1;
    }
    return at >= 0;
}

static bool set_knob(const struct knob *knob, const json_t *value, struct cw_profile *profile)
{
    char *place = (char *)profile + knob->at;
    switch (knob->kind) {
    case KNOB_TEXT: {
        const char *text = json_string_value(value);
        if (text != NULL) {
            memcpy(place, &text, sizeof text);
        }
        return text != NULL;
    }
    case KNOB_BOOL: {
        bool flag = json_is_true(value);
        memcpy(place, &flag, sizeof flag);
        return json_is_boolean(value);
    }
    case KNOB_INT: {
        json_int_t number = json_integer_value(value);
        int small = (int)number;
        if (!json_is_integer(value) || number < 0 || number > knob->max) {
            return false;
        }
        memcpy(place, &small, sizeof small);
        return true;
    }
    case KNOB_AUTH:
        profile->auth_given = true;
        return cw_auth_method_parse(cw_span_cstr(json_string_value(value)), &profile->auth_method);
    case KNOB_DIALECT:
    case KNOB_WILDCARD:
    case KNOB_AUD:
    case KNOB_STATE:
        return set_choice(knob, value, profile);
    }
    return false;
}

static const struct knob *find_knob(const char *name)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(knobs); i++) {
        if (strcmp(knobs[i].name, name) == 0) {
            return &knobs[i];
        }
    }
    return NULL;
}

static bool match_is_good(const json_t *match)
{
    static const char *const names[] = { "software", "publisher", "host_suffix" };
    size_t known = 0;
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        const json_t *list = json_object_get(match, names[i]);
        size_t at;
        json_t *item;
        known += list != NULL ? 1 : 0;
        if (list != NULL && !json_is_array(list)) {
            return false;
        }
        json_array_foreach(list, at, item) {
            if (!json_is_string(item)) {
                return false;
            }
        }
    }
    return json_is_object(match) && known == json_object_size(match);
}

static enum cw_code read_members(struct entry *entry, const struct cw_profile *base, struct cw_err *err)
{
    const char *name;
    json_t *value;
    entry->profile = *base;
    entry->profile.name = entry->name;
    json_object_foreach(entry->root, name, value) {
        const struct knob *knob = find_knob(name);
        bool good;
        if (strcmp(name, "doc") == 0) {
            good = json_is_string(value);
        } else if (strcmp(name, "match") == 0) {
            entry->match = value;
            good = match_is_good(value);
        } else if (strcmp(name, "pull") == 0) {
            entry->profile.pull = value;
            good = json_is_object(value);
        } else {
            good = knob != NULL && set_knob(knob, value, &entry->profile);
        }
        if (!good) {
            return cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profile %s: member %.40s is unknown or wrong",
                              entry->name, name);
        }
    }
    bool literal = entry->profile.scope_dialect == CW_SCOPE_LITERAL;
    if (literal != (entry->profile.scope_literal[0] != '\0')) {
        return cw_err_set(err, CW_E_CONFIG, "profiles", "vendor profile %s: scope_literal goes with dialect literal",
                          entry->name);
    }
    return CW_OK;
}

static enum cw_code read_file(const char *dir, const char *file, struct entry *entry, struct cw_err *err)
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
    const struct entry *left = a;
    const struct entry *right = b;
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

/* Default first, since the others start from it. */
static enum cw_code settle(struct cw_profiles *profiles, struct cw_err *err)
{
    qsort(profiles->entries, profiles->count, sizeof *profiles->entries, by_name);
    struct entry *entries = profiles->entries;
    for (profiles->fallback = 0; profiles->fallback < profiles->count; profiles->fallback++) {
        if (strcmp(entries[profiles->fallback].name, "default") == 0) {
            break;
        }
    }
    if (profiles->fallback == profiles->count) {
        return cw_err_set(err, CW_E_CONFIG, "profiles", "no default.json among the vendor profiles");
    }
    enum cw_code rc = read_members(&entries[profiles->fallback], &built_in, err);
    for (size_t i = 0; rc == CW_OK && i < profiles->count; i++) {
        if (i != profiles->fallback) {
            rc = read_members(&entries[i], &entries[profiles->fallback].profile, err);
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
    (void)closedir(folder);
    if (rc != CW_OK) {
        cw_profiles_free(profiles);
        return rc;
    }
    *ret_profiles = profiles;
    return CW_OK;
}

const struct cw_profile *cw_profiles_get(const struct cw_profiles *profiles, struct cw_span name)
{
    for (size_t i = 0; i < profiles->count; i++) {
        if (cw_span_eq_cstr(name, profiles->entries[i].name)) {
            return &profiles->entries[i].profile;
        }
    }
    return &profiles->entries[profiles->fallback].profile;
}

static bool listed(const json_t *list, struct cw_span value, bool suffix)
{
    size_t at;
    json_t *item;
    json_array_foreach(list, at, item) {
        struct cw_span text = cw_span_of(json_string_value(item), json_string_length(item));
        if (value.ptr != NULL && (suffix ? cw_span_ends(value, text) : cw_span_eq_nocase(value, text))) {
            return true;
        }
    }
    return false;
}

const struct cw_profile *cw_profiles_detect(const struct cw_profiles *profiles, struct cw_span software,
                                            struct cw_span publisher, struct cw_span host)
{
    for (size_t i = 0; i < profiles->count; i++) {
        const json_t *match = profiles->entries[i].match;
        if (listed(json_object_get(match, "software"), software, false) ||
            listed(json_object_get(match, "publisher"), publisher, false) ||
            listed(json_object_get(match, "host_suffix"), host, true)) {
            return &profiles->entries[i].profile;
        }
    }
    return &profiles->entries[profiles->fallback].profile;
}
