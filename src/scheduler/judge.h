/* SPDX-License-Identifier: Apache-2.0 */
/* What one answer means for its task: good, once more, later, from the start, or the end. */
#ifndef CW_SCHEDULER_JUDGE_H
#define CW_SCHEDULER_JUDGE_H

#include "fhir/slice.h"
#include "scheduler/scheduler.h"

enum verdict {
    PAGE_GOOD,
    PAGE_AGAIN,   /* at once: a new token, a redirect, a query without what was refused */
    PAGE_RETRY,   /* later */
    PAGE_RESTART, /* from the first page: the paging session has expired */
    PAGE_FINAL    /* this task has ended */
};

/* What is known of one answer. */
struct page {
    struct scheduler *s;
    struct task_item *item;
    struct cw_arena *arena;
    struct cw_slice slice;    /* of a good page that is not raw */
    enum verdict verdict;
    const char *code;         /* why, unless good: a literal */
    int64_t retry_us;         /* at the earliest; 0: by the ladder */
    int64_t quiet_us;         /* nobody asks this host before; 0: no word of that */
    int64_t tenant_quiet_us;  /* the same of this base alone */
    bool throttled;           /* the server counts requests or has a time for the next: no fault, and no try of the task's */
    bool faulty;              /* it is the server that is in trouble, not this query */
    struct cw_span new_url;   /* with PAGE_RESTART: what the first page is asked with from now on; absent: as it was */
    bool repaired;            /* it had bytes that are no text, and has U+FFFD in their place */
    bool raw;                 /* a document's bytes, not FHIR */
    const char *end_code;     /* of a good page that is kept: why its search ends here unfinished; NULL */
};

/* Takes the scheduler's lock, like everything that notes something in a run. Judges page->item's answer. May change the item's URL and Accept for the next time, and note in its run what the answer says about others. */
void judge_page(struct page *page);

#endif
