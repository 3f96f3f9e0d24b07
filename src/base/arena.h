/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that lives as long as one request, one page or one command, and is freed whole.
 *
 * An arena has a maximum; going over it returns NULL (CW_E_TOO_BIG for the caller), an allocation that the system
 * refuses also returns NULL. Blocks are aligned for any type. What it held is wiped when it is cleared or freed; secrets
 * still belong in a cw_secret, which ends as soon as it is not needed.
 */
#ifndef CW_BASE_ARENA_H
#define CW_BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"
#include "base/span.h"

struct cw_arena;

void cw_arena_free(struct cw_arena *arena);
/* At most max_bytes in all. NULL when out of memory. */
struct cw_arena *cw_arena_new(size_t max_bytes) CW_MUST_USE CW_MALLOC(cw_arena_free);
/* Forgets everything handed out and wipes it, keeps the first block. */
void cw_arena_clear(struct cw_arena *arena) CW_NONNULL(1);

/* Zeroed memory, or NULL. */
void *cw_arena_alloc(struct cw_arena *arena, size_t size) CW_NONNULL(1) CW_MUST_USE;
/* NULL on overflow of count × size as well. */
void *cw_arena_array(struct cw_arena *arena, size_t count, size_t size) CW_NONNULL(1) CW_MUST_USE;
/* A NUL-terminated copy, or NULL. */
char *cw_arena_text(struct cw_arena *arena, struct cw_span text) CW_NONNULL(1) CW_MUST_USE;
/* The same as a span; an absent span (ptr NULL) for failure. An empty input gives a non-NULL empty span. */
struct cw_span cw_arena_span(struct cw_arena *arena, struct cw_span bytes) CW_NONNULL(1) CW_MUST_USE;
char *cw_arena_printf(struct cw_arena *arena, const char *format, ...) CW_NONNULL(1, 2) CW_PRINTF(2, 3) CW_MUST_USE;
/* Bytes handed out so far. */
size_t cw_arena_used(const struct cw_arena *arena) CW_NONNULL(1);

#endif
