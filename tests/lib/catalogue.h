/* SPDX-License-Identifier: Apache-2.0 */
/* An invented catalogue of any size, and what patients would type for one entry of it. The same seed gives the same, everywhere. */
#ifndef CW_TESTS_CATALOGUE_H
#define CW_TESTS_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

struct catalogue_entry {
    char name[96];  /* "Talvenbrook Memorial Hospital" */
    char city[32];
    char state[3];
    char zip[6];
    char host[64];
    char alias[48]; /* "" for most */
};

enum catalogue_query {
    CATALOGUE_PREFIX,       /* every word begun */
    CATALOGUE_TYPO,         /* the name with one letter wrong, missing, doubled or swapped */
    CATALOGUE_ABBREVIATION, /* st, hosp, ctr, med, univ … */
    CATALOGUE_CITY,         /* one word of the name and the town */
    CATALOGUE__COUNT
};

/* Entry number `at` of the catalogue. */
void catalogue_entry(uint32_t at, struct catalogue_entry *ret);
/* A query of that kind for it. */
void catalogue_query(const struct catalogue_entry *entry, enum catalogue_query kind, uint32_t seed, char *out, size_t size);

#endif
