/* SPDX-License-Identifier: Apache-2.0 */
/* Names from syllables, so that none is anybody's; kinds of places as they are, so that the common words are as common as in real lists. */
#include "config.h"

#include "catalogue.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const heads[] = { "Tal", "Bren", "Cor", "Dell", "Esk", "Fair", "Glen", "Har", "Ives", "Jor", "Kel", "Lor", "Mar", "Nor", "Oak", "Pem", "Quil", "Ros", "Sel", "Tren", "Ul", "Ver", "Wes", "Yar", "Zel", "Ash", "Birch", "Cal", "Dun", "Elm" };
static const char *const middles[] = { "ven", "do", "ran", "mi", "ster", "la", "win", "ber", "ga", "then", "ri", "mon", "vi", "ner", "sha", "to", "ker", "lin", "da", "por" };
static const char *const tails[] = { "brook", "field", "ton", "ville", "wood", "mont", "dale", "port", "ridge", "ford", "haven", "view" };
static const char *const kinds[] = {
    "Memorial Hospital", "Community Hospital", "Regional Medical Center", "Family Medicine", "Pediatrics", "Orthopedic Associates",
    "Women's Health", "Cardiology Group", "University Hospital", "Health System", "Internal Medicine", "Dermatology", "Eye Clinic",
    "Urgent Care", "Children's Hospital", "Cancer Center", "Behavioral Health", "Physical Therapy", "Surgery Center", "Health Services",
};
static const char *const states[] = { "WI", "IA", "TX", "CA", "NY", "OH", "GA", "WA", "MN", "FL" };
static const char *const saints[] = { "Anselm", "Brigid", "Columba", "Dunstan", "Edith", "Finbar", "Gertrude", "Hilda" };

static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

static void invent_word(uint32_t n, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s", heads[n % COUNT(heads)], middles[n / COUNT(heads) % COUNT(middles)],
                   tails[n / COUNT(heads) / COUNT(middles) % COUNT(tails)]);
}

void catalogue_entry(uint32_t at, struct catalogue_entry *ret)
{
    char lead[24];
    /* 7,200 words and 20 kinds: each pair once up to 144,000 entries. */
    invent_word(mix(at / 20) % 7200, lead, sizeof(lead));
    const char *kind = kinds[at % 20];
    if (at % 11 == 0) {
        (void)snprintf(ret->name, sizeof(ret->name), "Saint %s %s %s", saints[at / 11 % COUNT(saints)], lead, kind);
    } else {
        (void)snprintf(ret->name, sizeof(ret->name), "%s %s", lead, kind);
    }
    invent_word(mix(at ^ 0x5bd1e995u) % 7200, ret->city, sizeof(ret->city));
    (void)snprintf(ret->state, sizeof(ret->state), "%s", states[mix(at) % COUNT(states)]);
    (void)snprintf(ret->zip, sizeof(ret->zip), "%05u", (unsigned)(mix(at + 7) % 100000u));
    (void)snprintf(ret->host, sizeof(ret->host), "fhir.%s-%c%u.example", lead, kind[0], (unsigned)(at % 20));
    for (char *p = ret->host; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    ret->alias[0] = '\0';
    if (at % 7 == 0) {
        invent_word(mix(at + 99) % 7200, ret->alias, sizeof(ret->alias));
        (void)snprintf(ret->alias + strlen(ret->alias), sizeof(ret->alias) - strlen(ret->alias), " Infirmary %u", (unsigned)(at % 97));
    }
}

/* Each word cut to its beginning: long ones to two thirds, at least four letters. */
static void cut_words(const char *name, char *out, size_t size)
{
    size_t len = 0;
    for (const char *p = name; *p != '\0' && len + 1 < size;) {
        size_t word = strcspn(p, " ");
        size_t keep = word <= 4 ? word : word * 2 / 3 < 4 ? 4 : word * 2 / 3;
        keep = keep > size - len - 1 ? size - len - 1 : keep;
        memcpy(out + len, p, keep);
        len += keep;
        p += word + (p[word] == ' ');
        if (*p != '\0' && len + 1 < size) {
            out[len++] = ' ';
        }
    }
    out[len] = '\0';
}

/* One slip in the first long word, never in its first letter. */
static void slip(const char *name, uint32_t seed, char *out, size_t size)
{
    size_t begin = strncmp(name, "Saint ", 6) == 0 ? 6 + strcspn(name + 6, " ") + 1 : 0;
    size_t word = strcspn(name + begin, " ");
    size_t at = begin + 1 + mix(seed) % (word - 2);
    static const char letters[] = "aeionrst";
    char wrong = letters[mix(seed + 1) % (sizeof(letters) - 1)];
    switch (mix(seed + 2) % 4) {
    case 0:
        (void)snprintf(out, size, "%.*s%c%s", (int)at, name, wrong, name + at + 1);
        break;
    case 1:
        (void)snprintf(out, size, "%.*s%s", (int)at, name, name + at + 1);
        break;
    case 2:
        (void)snprintf(out, size, "%.*s%c%s", (int)at, name, name[at], name + at);
        break;
    default:
        (void)snprintf(out, size, "%.*s%c%c%s", (int)at, name, name[at + 1], name[at], name + at + 2);
        break;
    }
}

static void abbreviate(const char *name, char *out, size_t size)
{
    static const char *const pairs[][2] = {
        { "Saint", "St" }, { "Hospital", "Hosp" }, { "Center", "Ctr" }, { "Medical", "Med" }, { "University", "Univ" }, { "Memorial", "Mem" },
        { "Regional", "Reg" }, { "Associates", "Assoc" }, { "Health", "Hlth" }, { "Services", "Svcs" }, { "Group", "Grp" }, { "Community", "Comm" },
    };
    size_t len = 0;
    for (const char *p = name; *p != '\0' && len + 1 < size;) {
        size_t word = strcspn(p, " ");
        const char *text = p;
        size_t keep = word;
        for (size_t i = 0; i < COUNT(pairs); i++) {
            if (strlen(pairs[i][0]) == word && strncmp(p, pairs[i][0], word) == 0) {
                text = pairs[i][1];
                keep = strlen(text);
            }
        }
        keep = keep > size - len - 1 ? size - len - 1 : keep;
        memcpy(out + len, text, keep);
        len += keep;
        p += word + (p[word] == ' ');
        if (*p != '\0' && len + 1 < size) {
            out[len++] = ' ';
        }
    }
    out[len] = '\0';
}

void catalogue_query(const struct catalogue_entry *entry, enum catalogue_query kind, uint32_t seed, char *out, size_t size)
{
    const char *last = strrchr(entry->name, ' ') + 1;
    switch (kind) {
    case CATALOGUE_PREFIX:
        cut_words(entry->name, out, size);
        break;
    case CATALOGUE_TYPO:
        slip(entry->name, seed, out, size);
        break;
    case CATALOGUE_ABBREVIATION:
        abbreviate(entry->name, out, size);
        break;
    case CATALOGUE_CITY:
        (void)snprintf(out, size, "%s %s", last, entry->city);
        break;
    case CATALOGUE__COUNT:
        out[0] = '\0';
        break;
    }
}
