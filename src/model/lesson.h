/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an endpoint has taught us about the authorization request that it takes. After a refusal the next attempt climbs one step; what
 * has worked is kept for the endpoint and the client. The steps themselves are smart/scope's and smart/authorize's; here they are numbers
 * that grow one by one, from a step that was really tried, to an end: a server that refuses for ever reaches the end and no further, and
 * nothing here chooses credentials.
 */
#ifndef CW_MODEL_LESSON_H
#define CW_MODEL_LESSON_H

#include "base/time.h"
#include "model/source.h"

/* For so long after a success no refusal teaches anything: it comes from a browser, which may bring what it likes. An endpoint that has
 * really changed shows another software version, and its lessons are dropped; one that does not is learnt anew after this time. */
#define CW_LESSON_TRUST_US (3 * CW_DAY_US)

#define CW_SCOPE_STEP_DIALECT 2u
#define CW_SCOPE_STEP_LAST 4u /* 1 wild card or not, 2 the other dialect, 3 no fhirUser, 4 no offline_access either */

/* One request: whom it went to, and with which steps. Pinned with its attempt. */
struct cw_endpoint_try {
    struct cw_endpoint_id endpoint;
    struct cw_registration_id registration;
    unsigned scope_step;   /* 0 to CW_SCOPE_STEP_LAST */
    bool aud_toggled;
    bool worked_lately;    /* within the hour, with these very steps: a success is no news then */
};

enum cw_lesson {
    CW_LESSON_SCOPE_REFUSED,  /* invalid_scope */
    CW_LESSON_AUD_REFUSED,    /* invalid_request that speaks of aud */
    CW_LESSON_NOTHING_GRANTED, /* signed in, but every resource scope was dropped in silence: Oracle does that to the other SMART version's scopes */
    CW_LESSON_WORKED          /* connected */
};

/* From the answer to `tried` alone: a repeated or late answer teaches nothing twice. One statement, no event. CW_E_UNAVAILABLE. */
enum cw_code cw_endpoint_learn(struct cw_model *m, const struct cw_endpoint_try *tried, enum cw_lesson lesson,
                               struct cw_err *err) CW_MUST_USE;
/* The steps for the next request to an endpoint with a registration, as usual where nothing is known. */
enum cw_code cw_endpoint_next_try(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_registration_id registration,
                                  struct cw_endpoint_try *ret, struct cw_err *err) CW_MUST_USE;

/* For the operator. */
struct cw_lesson_row {
    struct cw_registration_id registration;
    unsigned scope_step, aud_step;   /* as in the table */
    int64_t worked_us, learnt_us;    /* worked 0: not yet */
    struct cw_span software;
};
#define CW_LESSONS_MAX 100u /* registrations that meet at one endpoint */
enum cw_code cw_endpoint_lessons(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_arena *arena,
                                 struct cw_lesson_row **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* Forgets all lessons of an endpoint and makes its discovery be asked again; with the audit row. */
enum cw_code cw_endpoint_forget(struct cw_model *m, const struct cw_actor *actor, struct cw_endpoint_id endpoint,
                                struct cw_err *err) CW_MUST_USE;

#endif
