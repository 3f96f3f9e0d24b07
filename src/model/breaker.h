/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The breaker of a registration: a client that a server rejected (invalid_client) concerns every connection of the
 * registration and none of the patients. While it is open no node asks with that registration, but for one probe at a time
 * with growing pauses; the connections stay active.
 */
#ifndef CW_MODEL_BREAKER_H
#define CW_MODEL_BREAKER_H

#include "model/model.h"
#include "model/refresh.h"

/* In the caller's transaction, before a lease is taken. Closed: nothing is changed. Open: lease->wait_until_us says until when; or its time has
 * come, then this refresh is the probe (lease->probe) and nobody else is until the next time. */
enum cw_code breaker_pass(struct cw_db *db, struct cw_registration_id registration, int64_t now_us,
                          struct cw_arena *arena, struct cw_refresh_lease *lease, struct cw_err *err) CW_MUST_USE;

/* The server rejected our client: opens the breaker; the probe's rejection makes the next pause longer, that of a request which was under way
 * when it opened changes nothing. *ret_edge: it was closed. */
enum cw_code cw_breaker_open(struct cw_model *m, struct cw_registration_id registration, bool probe, bool *ret_edge,
                             struct cw_err *err) CW_NONNULL(1, 4) CW_MUST_USE;
/* An answer showed that our client is known. *ret_edge: it was open. */
enum cw_code cw_breaker_close(struct cw_model *m, struct cw_registration_id registration, bool *ret_edge,
                              struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;

#endif
