/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refreshing a grant, as the database sees it. One refresher per connection over all nodes: begin commits lease and write-ahead
 * intent before the request leaves; each end below is one transaction that checks fence and version, so that of two refreshers
 * one wins and a late one changes nothing. Nothing but cw_refresh_refused and cw_refresh_dead ends a grant.
 */
#ifndef CW_MODEL_REFRESH_H
#define CW_MODEL_REFRESH_H

#include "model/revocation.h"

/* Owner names of leases are "family/process": the family is one node's installation, the last part one run of one process. */
#define CW_OWNER_MAX 64u

/* What one request of a refresh may take at the most. The lease outlasts two of them: a refused scope and a bare 400 are asked again within it. */
#define CW_REFRESH_REQUEST_MS 25000u

struct cw_refresh_lease {
    struct cw_connection_id connection;
    uint64_t fence;
    uint32_t version;
    bool probe;              /* the registration's breaker is open, and this request is its probe */
    int64_t wait_until_us;   /* after CW_E_LIMITED and CW_E_CONFIG alone: nobody asks before */
};
struct cw_refresh_ask {
    const char *owner;
    struct cw_connection_id connection;
    uint32_t seen_version;   /* what the caller knows: a grant that has moved on is no longer its business */
};
/* Takes the lease and writes the intent (refresh_started_at, tries + 1), and gives the grant. CW_E_CONFLICT: somebody holds the lease (wait and read
 * again); CW_E_STATE: the version is no longer the one seen, or the connection is not active; CW_E_LIMITED: after a failure nobody
 * asks before wait_until_us, also for the pause after a refresher died with its request out; CW_E_CONFIG: the registration's
 * breaker is open until then. */
enum cw_code cw_refresh_begin(struct cw_model *m, const struct cw_refresh_ask *ask, struct cw_refresh_lease *ret_lease,
                              struct cw_grant *ret_grant, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

/* Between lease and request, once it has been read whom to ask: what was read belongs to the lease's tokens, unless a sign-in or an end came between.
 * CW_E_CONFLICT: one did, the grant has another version or fence by now or is gone, or so much of the lease has passed that the requests may outlast it (a machine
 * that slept); nothing may be sent. */
enum cw_code cw_refresh_held(struct cw_model *m, const struct cw_refresh_lease *lease, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

struct cw_refreshed {
    struct cw_span access_token, refresh_token;  /* refresh absent: keep the old one (RFC 6749 section 6) */
    bool rotated;                                /* the refresh token is another than the one that was sent */
    struct cw_span scopes;                       /* absent: unchanged */
    int64_t obtained_us, expires_us;
    int64_t ends_us;                             /* as grant_put; 0: not told */
    bool ends_fixed;
    int64_t keep_us;
    const struct cw_revocation *if_gone;         /* these tokens as something to give back, where the grant has gone meanwhile; NULL: dropped */
};
/* Commits the new tokens before anybody uses them. They go in if the grant is still of the version that was asked with, also after the lease has
 * run out: they are its successor. Or if it is one ahead by the answer to an older request, which this answer overtakes. CW_OK too
 * when they are in already (a commit whose answer was lost). CW_E_CONFLICT: the grant has moved on, or it has gone (disconnected, deleted), and then
 * if_gone is kept in the same transaction: nobody else knows of these tokens. */
enum cw_code cw_refresh_commit(struct cw_model *m, const struct cw_refresh_lease *lease,
                               const struct cw_refreshed *tokens, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

struct cw_refresh_fault {
    bool maybe_lost;         /* the request may have reached the server: the intent stays */
    bool ours;               /* the registration's fault or our own: counts no failure of the grant */
    int64_t retry_us;        /* the server asked for quiet until then; 0: it did not */
};
/* Gives the lease back and says when the next may ask: 2 to 5 s after the first lost answer, else 1, 5, 15, 60 minutes give or take a fifth. After a day
 * of failures connection.refresh_delayed is told, once; the grant stays. */
enum cw_code cw_refresh_abandon(struct cw_model *m, const struct cw_refresh_lease *lease,
                                const struct cw_refresh_fault *fault, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* A well-formed invalid_grant. It ends the grant at once if the server is known to rotate, or an answer was lost and it may; otherwise the second one,
 * at least 10 minutes after the first. *ret_ended: the connection is refresh_failed now, tokens destroyed, told once. */
enum cw_code cw_refresh_refused(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                                bool *ret_ended, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;
/* active → refresh_failed for another reason (CW_FAIL_…), tokens destroyed, told once. */
enum cw_code cw_refresh_dead(struct cw_model *m, const struct cw_actor *actor, const struct cw_refresh_lease *lease,
                             const char *failure_code, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;
/* No refresh for clients of our kind: the connection is one-time from now on and ends with its access token. */
enum cw_code cw_refresh_not_offered(struct cw_model *m, const struct cw_actor *actor,
                                    const struct cw_refresh_lease *lease, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* At a process' start: leases of others of its family are those of dead processes (the caller holds the family's lock). Their
 * requests may have reached the server: asked again after the pause of a lost answer. */
enum cw_code cw_refresh_take_back(struct cw_model *m, const char *owner, unsigned *ret_count, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
