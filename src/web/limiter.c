/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets in a fixed table. A key's keyed hash (SipHash-2-4, a fresh key per process, so that nobody can aim at a bucket) names a
 * row of WAYS slots; a new key takes the row's slot that was not used for the longest time. Memory never grows, whatever is thrown at it.
 */
#include "config.h"

#include "web/web.h"

#include <pthread.h>

#include "base/time.h"
#include "os/sys.h"

#define WAYS 8u

struct slot {
    uint64_t tag;        /* 0: free */
    int64_t at_us;       /* when `tokens` was true */
    double tokens;
};

struct cw_limiter {
    pthread_mutex_t lock;
    uint64_t key[2];
    size_t rows;
    struct slot slots[];
};

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned by)
{
    return (x << by) | (x >> (64 - by));
}

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

static void sip_bytes(struct sip *s, struct cw_span bytes)
{
    uint64_t last = (uint64_t)bytes.len << 56;
    size_t whole = bytes.len / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.ptr + i, sizeof word);
        sip_word(s, word);
    }
    for (size_t i = whole; i < bytes.len; i++) {
        last |= (uint64_t)(unsigned char)bytes.ptr[i] << (8 * (i - whole));
    }
    sip_word(s, last);
}

/* `kind` and `key` each end by a word that holds their length, so ("ab","c") and ("a","bc") differ. Never 0. */
static uint64_t hash(const struct cw_limiter *limiter, const char *kind, struct cw_span key)
{
    struct sip s = { limiter->key[0] ^ UINT64_C(0x736f6d6570736575), limiter->key[1] ^ UINT64_C(0x646f72616e646f6d),
                     limiter->key[0] ^ UINT64_C(0x6c7967656e657261), limiter->key[1] ^ UINT64_C(0x7465646279746573) };
    sip_bytes(&s, cw_span_cstr(kind));
    sip_bytes(&s, key);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(&s);
    }
    uint64_t result = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return result == 0 ? 1 : result;
}

void cw_limiter_free(struct cw_limiter *limiter)
{
    if (limiter != NULL) {
        pthread_mutex_destroy(&limiter->lock);
        free(limiter);
    }
}

struct cw_limiter *cw_limiter_new(size_t slots)
{
    size_t rows = (slots + WAYS - 1) / WAYS;
    if (rows == 0) {
        rows = 1;
    }
    struct cw_limiter *limiter = calloc(1, sizeof *limiter + rows * WAYS * sizeof(struct slot));
    if (limiter == NULL) {
        return NULL;
    }
    pthread_mutex_init(&limiter->lock, NULL);
    cw_random(limiter->key, sizeof limiter->key);
    limiter->rows = rows;
    return limiter;
}

static struct slot *find_slot(struct cw_limiter *limiter, uint64_t tag, unsigned per_minute, int64_t now_us)
{
    struct slot *row = &limiter->slots[tag % limiter->rows * WAYS];
    struct slot *oldest = &row[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (row[i].tag == tag) {
            return &row[i];
        }
        if (row[i].at_us < oldest->at_us) {
            oldest = &row[i];
        }
    }
    *oldest = (struct slot){ tag, now_us, (double)per_minute };
    return oldest;
}

bool cw_limiter_take(struct cw_limiter *limiter, const char *kind, struct cw_span key, unsigned per_minute,
                     unsigned *ret_wait_s)
{
    if (per_minute == 0) {
        *ret_wait_s = 60;
        return false;
    }
    int64_t now_us = cw_monotonic_us();
    double per_us = (double)per_minute / (double)CW_MINUTE_US;
    pthread_mutex_lock(&limiter->lock);
    struct slot *slot = find_slot(limiter, hash(limiter, kind, key), per_minute, now_us);
    slot->tokens += (double)(now_us - slot->at_us) * per_us;
    if (slot->tokens > (double)per_minute) {
        slot->tokens = (double)per_minute;
    }
    slot->at_us = now_us;
    bool taken = slot->tokens >= 1.0;
    if (taken) {
        slot->tokens -= 1.0;
    } else {
        *ret_wait_s = 1 + (unsigned)((1.0 - slot->tokens) / per_us / (double)CW_SECOND_US);
    }
    pthread_mutex_unlock(&limiter->lock);
    return taken;
}
