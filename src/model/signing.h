/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys behind private_key_jwt, and how they change without one refused assertion. A key is published before it signs, for
 * longer than any hospital may keep our key set, and stays published after it, until the last assertion that it signed has run out:
 *
 *   next ──(max-age + 24 h)──► current ──rotate──► previous ──(24 h)──► retired: no longer published, private half destroyed
 *
 * There is always a next key, so that a rotation can begin at any time; it ends what it began even when a process dies between two stages,
 * since each stage is one transaction and the row says since when.
 */
#ifndef CW_MODEL_SIGNING_H
#define CW_MODEL_SIGNING_H

#include "base/time.h"
#include "model/model.h"
#include "vault/jose.h"

#define CW_JWKS_MAX_AGE_S 3600  /* Cache-Control of the key set */
#define CW_SIGNING_NEXT_US (CW_JWKS_MAX_AGE_S * CW_SECOND_US + 24 * CW_HOUR_US)
#define CW_SIGNING_PREVIOUS_US (24 * CW_HOUR_US)

enum cw_signing_stage { CW_SIGNING_NEXT = 1, CW_SIGNING_CURRENT = 2, CW_SIGNING_PREVIOUS = 3, CW_SIGNING_RETIRED = 4 };
const char *cw_signing_stage_name(enum cw_signing_stage stage) CW_RETURNS_NONNULL;

/* The current signing key of an algorithm, made (current and next) on first need under a lock that two nodes respect. Caller frees. */
enum cw_code cw_signing_key_current(struct cw_model *m, enum cw_jose_alg alg, struct cw_signing_key **ret,
                                    struct cw_err *err) CW_MUST_USE;
/* Appends {"keys":[…]}: current, next and previous of both algorithms, public halves. */
enum cw_code cw_signing_jwks(struct cw_model *m, struct cw_str *out, struct cw_err *err) CW_MUST_USE;

/* One key as an operator sees it. */
struct cw_signing_line {
    enum cw_jose_alg alg;
    enum cw_signing_stage stage;
    struct cw_span kid;
    int64_t since_us;
    int64_t until_us;               /* next: from when it may sign; previous: until when it is published; 0: no such time */
    bool has_private;
};
/* Published ones first, by algorithm; the newest 50 retired behind. */
enum cw_code cw_signing_list(struct cw_model *m, struct cw_arena *arena, struct cw_signing_line **ret, size_t *ret_count,
                             struct cw_err *err) CW_MUST_USE;

enum cw_signing_step {
    CW_SIGNING_NOTHING,             /* upkeep alone: nothing is due */
    CW_SIGNING_PUBLISHED,           /* there was no next key: one is published now; it may sign from until_us */
    CW_SIGNING_PROMOTED,            /* next signs, a new next is published; the old one is published until until_us */
    CW_SIGNING_REPLACED,            /* the same at once, and what was published before has gone */
    CW_SIGNING_WAITS_NEXT,          /* until_us: hospitals may not know the next key yet */
    CW_SIGNING_WAITS_PREVIOUS       /* until_us: the rotation before this one is not over */
};
struct cw_signing_walked {
    enum cw_signing_step step;
    int64_t until_us;
    unsigned retired;               /* keys whose private half was destroyed in this step */
};
/* One step of one algorithm's walk, if it is due; refuses to skip a wait, by its step. With `emergency` (a key got out) next signs at once and every other
 * key is retired: assertions fail at hospitals that have not fetched our set since next was published. Two callers at once make one step. */
enum cw_code cw_signing_rotate(struct cw_model *m, const struct cw_actor *actor, enum cw_jose_alg alg, bool emergency,
                               struct cw_signing_walked *ret, struct cw_err *err) CW_MUST_USE;
/* What is due by the clock: retires previous keys, publishes a missing next one, and rotates a key that has signed for [vault] signing_key_days (0:
 * never). Keys that nobody has asked for yet are not made. *ret_count: steps taken; `limit` is not looked at. */
enum cw_code cw_signing_sweep(struct cw_model *m, const struct cw_actor *actor, unsigned limit, unsigned *ret_count,
                              struct cw_err *err) CW_MUST_USE;

#endif
