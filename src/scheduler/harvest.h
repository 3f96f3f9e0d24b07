/* SPDX-License-Identifier: Apache-2.0 */
/* What one good page gives: records, what they name that is still to be fetched, and what was not taken and why. */
#ifndef CW_SCHEDULER_HARVEST_H
#define CW_SCHEDULER_HARVEST_H

#include "scheduler/judge.h"

#define HARVEST_SKIPS_MAX 64 /* kinds of skips in one page; more share the last */

struct harvest {
    struct cw_record_batch *records;
    struct cw_task_new *found;
    size_t found_count, found_room;
    struct cw_pull_skip skips[HARVEST_SKIPS_MAX];
    size_t skip_count;
    struct cw_str ids;    /* types and ids of the entries, in order: what makes two pages the same */
    unsigned received;
    const char *end;      /* what came is not what was asked for, and why: the task ends as failed; NULL */
    const char *retry;    /* the page cannot be told yet, and why: it is to be asked again; NULL */
};

/* Reads the page's entries. May give the page's entries ids (those that came without one). The harvest is to be released whatever came. */
enum cw_code harvest_gather(struct page *page, struct harvest *ret, struct cw_err *err);
void harvest_release(struct harvest *harvest);

/* The server read our Patient under another id, said that the two were merged, and this is the one that its redirect led to. */
bool harvest_is_merged_patient(const struct task_item *item, const struct cw_slice_entry *entry);

#endif
