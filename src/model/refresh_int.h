/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of refresh.h share: refresh.c begins and commits, refresh_fault.c is for all other ends. */
#ifndef CW_MODEL_REFRESH_INT_H
#define CW_MODEL_REFRESH_INT_H

#include "model/refresh.h"

/* What each call here needs, so that they share one arena and one shape. */
struct refresh_work {
    struct cw_model *m;
    const struct cw_actor *actor;
    const struct cw_refresh_ask *ask;
    const struct cw_refresh_lease *lease;
    const struct cw_refreshed *tokens;
    const struct cw_refresh_fault *fault;
    const char *failure_code;
    bool ended;
    bool gone;                         /* commit: there is no grant any more */
    enum cw_code held_up;              /* begin: why not now, committed all the same */
    struct cw_refresh_lease taken;
    struct cw_grant grant;
    struct cw_arena *arena;
};

/* Runs fn with an arena. */
enum cw_code refresh_run(struct refresh_work *work, cw_tx_fn *fn, struct cw_err *err) CW_MUST_USE;
enum cw_code refresh_lost(struct cw_err *err);
/* Locks the grant; refresh_hold checks too that version and fence are still ours. CW_E_CONFLICT: not. */
enum cw_code refresh_lock(struct refresh_work *work, struct cw_db *db, const struct cw_value **ret_row,
                          struct cw_err *err) CW_MUST_USE;
enum cw_code refresh_hold(struct refresh_work *work, struct cw_db *db, const struct cw_value **ret_row,
                          struct cw_err *err) CW_MUST_USE;

#endif
