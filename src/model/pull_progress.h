/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a pull is, for the API and the operator. Measured in pages: those taken against those expected. What is expected grows while a pull runs
 * (references and documents are found in pages), so the percentage that was told is kept with the pull and never falls.
 */
#ifndef CW_MODEL_PULL_PROGRESS_H
#define CW_MODEL_PULL_PROGRESS_H

#include "model/pull.h"

/* The tasks of one resource type, of every kind, added up. */
struct cw_progress_type {
    struct cw_span type;
    unsigned tasks, waiting, done, failed, skipped;
    uint64_t requests, pages, received, stored, created, unchanged, bytes;
    uint64_t pages_expected;      /* with those taken; `pages` or more while something waits */
    int64_t total;                /* what the server told, -1: nothing */
};

struct cw_progress {
    unsigned percent;             /* 0 before the plan, at most 99 while it runs, 100 when it has ended, however it ended */
    uint64_t pages, pages_expected;
    int64_t eta_us;               /* when it will have ended, by the rate of the last minute; 0: not known */
    struct cw_progress_type *types; /* in the order in which they are asked for */
    size_t type_count;
};

/* Pages of a type's searches in the pull before. */
struct cw_progress_past {
    struct cw_span type;
    uint64_t pages;
};

/* Adds tasks up into types and pages; percent as these tasks alone have it, without eta. For a task that waits: what the server promised, by the size
 * of its pages so far; else one page more. A type whose searches wait without a promise needs as many pages as the last time, at least. */
enum cw_code cw_progress_reckon(const struct cw_task *tasks, size_t count, const struct cw_progress_past *past, size_t past_count,
                                struct cw_arena *arena, struct cw_progress *ret, struct cw_err *err) CW_MUST_USE;

/* The same of a pull as it stands, with eta and the percentage that never falls. Writes that percentage, at most once a look. */
enum cw_code cw_pull_progress(struct cw_model *m, const struct cw_pull *pull, struct cw_arena *arena, struct cw_progress *ret,
                              struct cw_err *err) CW_MUST_USE;

#endif
