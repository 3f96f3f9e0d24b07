/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An access token that is good to use, with a refresh where it needs one. One refresher per connection over all processes and
 * nodes: lease and write-ahead intent are committed before the request leaves, the new tokens are committed before anybody
 * uses them, and only a well-formed invalid_grant ends a connection. Pulls and the keep-alive both come here.
 */
#ifndef CW_SMART_RENEWAL_H
#define CW_SMART_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/connection.h"
#include "net/http.h"
#include "smart/profile.h"
#include "smart/token.h"

/* What happened on the way, for the program's log. */
enum cw_renewal_event {
    CW_RENEWAL_ASKED,                    /* one request was made: outcome and status */
    CW_RENEWAL_NOT_WRITTEN,              /* what came of it could not be written down: fault; new tokens are tried again */
    CW_RENEWAL_CLIENT_REJECTED,          /* the registration's breaker has opened */
    CW_RENEWAL_CLIENT_ACCEPTED,          /* and closed */
    CW_RENEWAL_ENDED,                    /* the grant is dead */
    CW_RENEWAL_NOT_OFFERED               /* the connection is one-time from now on */
};
struct cw_renewal_note {
    enum cw_renewal_event event;
    struct cw_connection_id connection;
    struct cw_registration_id registration;
    enum cw_token_outcome outcome;
    int status;                          /* of HTTP; 0: no answer */
    const struct cw_err *fault;
};
typedef void cw_renewal_note_fn(const struct cw_renewal_note *note);

/* What every renewal of a process needs. Borrowed. */
struct cw_renewer {
    struct cw_model *model;
    const struct cw_profiles *profiles;
    const struct cw_actor *actor;
    const char *owner;                   /* in leases, see model/refresh.h */
    cw_renewal_note_fn *note;
    const char *origin;                  /* ours: some servers want the redirect URI again */
};

struct cw_renewal {
    struct cw_connection_id connection;
    uint32_t refused_version;            /* a 401 came with this version's access token; 0: none did */
    uint32_t aging_version;              /* the keep-alive: refresh this version although its access token is good; 0: a pull */
    int64_t held_until_us;               /* the token endpoint's host wants quiet until then: CW_E_LIMITED where a request would be needed; 0: it does not */
    bool no_wait;                        /* for nobody, neither another refresher nor a lost answer's pause */
    int64_t retry_us;                    /* out: after a failure, and after success with an old token: when asking again makes sense; 0: not told */
    int64_t quiet_us;                    /* out: the server asked for quiet until then; 0: it did not */
};

/* A tenth of an access token's life before its end, at least 30 s and at most 300 s, it is time for a new one. */
bool cw_token_is_due(int64_t obtained_us, int64_t expires_us, int64_t now_us);

/* Makes sure that the access token is good for a request, and gives the grant (release it). Waits for another refresher of the same
 * connection up to 30 s, and 2 to 5 s before the one repeat of a lost answer; a stop ends the wait. When a refresh does not succeed and
 * the old access token still lives, that is given; so is a refused one that lives and that nothing can renew. CW_E_AUTH: the grant has ended; CW_E_EXPIRED: one-time access has ended; CW_E_STATE:
 * the connection is not active; CW_E_CONFIG: our client was rejected; CW_E_LIMITED: after a failure nobody asks yet; CW_E_CONFLICT: somebody
 * else is at it; others: later. */
enum cw_code cw_renew(const struct cw_renewer *renewer, struct cw_http *http, struct cw_renewal *renewal,
                      struct cw_grant *ret_grant, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

#endif
