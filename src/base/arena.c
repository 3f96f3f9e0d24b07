/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: a list of blocks, newest first, handed out from the front of the newest. Under AddressSanitizer what is
 * not handed out is poisoned, so that an overrun inside a block is seen as it would be with malloc.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
/* gcc 12 takes a pointer to const for a read of what is not written yet; nothing is read here. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define POISON(ptr, len) __asan_poison_memory_region((ptr), (len))
#define UNPOISON(ptr, len) __asan_unpoison_memory_region((ptr), (len))
#else
#define POISON(ptr, len) ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#endif

#define ALIGNMENT (_Alignof(max_align_t))
#define FIRST_BLOCK 4096u
#define LARGEST_BLOCK (256u * 1024u) /* larger wishes get a block of their own size */

struct block {
    struct block *older;
    size_t size;
    size_t used;
    max_align_t data[];
};

struct cw_arena {
    size_t max;
    size_t used;
    struct block *newest;
};

static struct block *block_new(size_t size, struct block *older)
{
    struct block *block = malloc(offsetof(struct block, data) + size);
    if (block == NULL) {
        return NULL;
    }
    block->older = older;
    block->size = size;
    block->used = 0;
    POISON(block->data, size);
    return block;
}

/* Bodies, tokens and names have lain here: the next owner of this memory, or a core dump, shall not find them. */
static void block_wipe(struct block *block)
{
    UNPOISON(block->data, block->size);
    cw_wipe(block->data, block->used);
    block->used = 0;
}

static void block_free(struct block *block)
{
    block_wipe(block);
    free(block);
}

struct cw_arena *cw_arena_new(size_t max_bytes)
{
    struct cw_arena *arena = malloc(sizeof *arena);
    if (arena == NULL) {
        return NULL;
    }
    *arena = (struct cw_arena){ .max = max_bytes, .newest = block_new(FIRST_BLOCK, NULL) };
    if (arena->newest == NULL) {
        free(arena);
        return NULL;
    }
    return arena;
}

void cw_arena_clear(struct cw_arena *arena)
{
    while (arena->newest->older != NULL) {
        struct block *older = arena->newest->older;
        block_free(arena->newest);
        arena->newest = older;
    }
    block_wipe(arena->newest);
    arena->used = 0;
    POISON(arena->newest->data, arena->newest->size);
}

void cw_arena_free(struct cw_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    cw_arena_clear(arena);
    block_free(arena->newest);
    free(arena);
}

/* A block with room for `size` more bytes, in front of the list; NULL when the system refuses. */
static struct block *block_for(struct cw_arena *arena, size_t size)
{
    struct block *newest = arena->newest;
    if (size <= newest->size - newest->used) {
        return newest;
    }
    size_t next = newest->size < LARGEST_BLOCK ? newest->size * 2 : LARGEST_BLOCK;
    struct block *block = block_new(size > next ? size : next, newest);
    if (block != NULL) {
        arena->newest = block;
    }
    return block;
}

void *cw_arena_alloc(struct cw_arena *arena, size_t size)
{
    if (size > arena->max - arena->used) {
        return NULL;
    }
    /* Something to point at even for nothing; `size <= max` and the slack below cannot wrap for any real maximum. */
    size_t wanted = size == 0 ? 1 : size;
    if (wanted > SIZE_MAX / 2) {
        return NULL;
    }
    size_t rounded = (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *block = block_for(arena, rounded);
    if (block == NULL) {
        return NULL;
    }
    char *at = (char *)block->data + block->used;
    block->used += rounded;
    arena->used += size;
    UNPOISON(at, wanted);
    memset(at, 0, wanted);
    return at;
}

void *cw_arena_array(struct cw_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    return cw_arena_alloc(arena, bytes);
}

char *cw_arena_text(struct cw_arena *arena, struct cw_span text)
{
    if (text.len == SIZE_MAX) {
        return NULL;
    }
    char *copy = cw_arena_alloc(arena, text.len + 1);
    if (copy != NULL && text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    return copy;
}

struct cw_span cw_arena_span(struct cw_arena *arena, struct cw_span bytes)
{
    char *copy = cw_arena_text(arena, bytes);
    return cw_span_of(copy, copy == NULL ? 0 : bytes.len);
}

char *cw_arena_printf(struct cw_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : cw_arena_alloc(arena, (size_t)len + 1);
    if (text == NULL) {
        return NULL;
    }
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

size_t cw_arena_used(const struct cw_arena *arena)
{
    return arena->used;
}
