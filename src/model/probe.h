/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daily probes know: for each check of each subject how it stands, since when, and when it was looked at last; and whose turn
 * is when. A subject's turn is at a time of day of its own, so that a thousand registrations are spread over the day.
 */
#ifndef CW_MODEL_PROBE_H
#define CW_MODEL_PROBE_H

#include "model/registration.h"
#include "model/source.h"

enum cw_probe_kind { CW_PROBE_REGISTRATION = 1, CW_PROBE_ENDPOINT = 2, CW_PROBE_INSTALLATION = 3 };
/* 1 ok, 2 note, 3 warn, 4 fail, as the examination counts. */
#define CW_PROBE_WARN 3

struct cw_probe {
    struct cw_ulid subject;          /* registration or endpoint; zero: the installation */
    enum cw_probe_kind kind;
    struct cw_span name;             /* of the check */
    int result;
    struct cw_span cause, detail;
    int64_t since_us, checked_us;
};
/* Keeps one; detail is cut to 512 bytes. *ret_before: the result it had, 0: none. *ret_changed: result or cause is another than before (edge). */
enum cw_code cw_probe_keep(struct cw_model *m, const struct cw_probe *probe, int *ret_before, bool *ret_changed,
                           struct cw_err *err) CW_MUST_USE;
/* The worst first, then the oldest; with at least that result. At most 500. */
enum cw_code cw_probe_list(struct cw_model *m, int least, struct cw_arena *arena, struct cw_probe **ret, size_t *ret_count,
                           struct cw_err *err) CW_MUST_USE;

/* The worst of one subject. CW_E_NOT_FOUND: it was not its turn yet. */
enum cw_code cw_probe_worst(struct cw_model *m, struct cw_ulid subject, struct cw_arena *arena, struct cw_probe *ret,
                            struct cw_err *err) CW_MUST_USE;

/* ---- turns */

enum cw_turn_kind {
    CW_TURN_REGISTRATION = 1,        /* subject: the registration */
    CW_TURN_SANDBOX = 2,             /* subject: the source that was looked at last, of that environment */
    CW_TURN_INSTALLATION = 3,
    CW_TURN_PRODUCTION = 4
};
struct cw_turn {
    struct cw_ulid subject;
    enum cw_turn_kind kind;
};
/* Makes the turns that are missing, none of them due within an hour; drops those of registrations that are gone, and what was looked at last 90 days ago. */
enum cw_code cw_turn_prepare(struct cw_model *m, struct cw_err *err) CW_MUST_USE;
/* The one due longest. CW_E_NOT_FOUND: none is due. */
enum cw_code cw_turn_due(struct cw_model *m, struct cw_turn *ret, struct cw_err *err) CW_MUST_USE;
/* It was had; the next at due_us. `subject` is what its row holds from now on: the turn's own, or the next place of a walk. */
enum cw_code cw_turn_done(struct cw_model *m, const struct cw_turn *turn, struct cw_ulid subject, int64_t due_us,
                          struct cw_err *err) CW_MUST_USE;
/* The subject's time of day: the first such time at least an hour after now_us. */
int64_t cw_turn_next(struct cw_ulid subject, int64_t now_us);

#endif
