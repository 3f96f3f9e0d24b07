/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-picker: the patient's pages of a Session, under /c/{secret}. A GET changes nothing and burns nothing (mail scanners fetch
 * links); every step is a POST that carries a token bound to the Session and the browser's cookie. Private to this program.
 */
#ifndef CW_PICKER_PICKER_H
#define CW_PICKER_PICKER_H

#include "catalog/search.h"
#include "model/attempt.h"
#include "net/http.h"
#include "os/config.h"
#include "smart/authorize.h"
#include "smart/discovery.h"
#include "smart/profile.h"
#include "web/browser.h"
#include "web/template.h"
#include "web/web.h"

struct cw_picker {
    const struct cw_config *config;
    const char *origin;
    bool secure;                                        /* the site is on https */
    struct cw_model model;
    struct cw_profiles *profiles;
    struct cw_templates *templates;
    struct cw_search *search[CW_ENV_PRODUCTION + 1];    /* by environment */
    struct cw_limiter *limiter;
};

/* One request on a Session: made by admission, found again by cw_visit_of. */
struct cw_visit {
    struct cw_picker *app;
    struct cw_session_page page;
    const char *base;       /* "/c/{secret}" */
    struct cw_actor actor;  /* the browser, by the Session's id */
};
struct cw_visit *cw_visit_of(const struct cw_request *request) CW_NONNULL(1);

/* --- routes.c --- */
extern const struct cw_route cw_picker_routes[];
extern const size_t cw_picker_route_count;
bool cw_picker_admit(struct cw_request *request, struct cw_reply *reply);
void cw_picker_fault_page(struct cw_request *request, struct cw_reply *reply, int status, const char *code);
void cw_picker_busy(struct cw_request *request, struct cw_reply *reply);

/* --- page.c: what all pages share --- */
/* The language of this request; also keeps one that the query asks for (routes with an input `lang` only). */
const char *cw_picker_language(struct cw_request *request, struct cw_reply *reply) CW_RETURNS_NONNULL;
/* Values of a page with head and language switch; NULL (and the fault answered) when memory has run out. */
struct cw_page *cw_picker_page(struct cw_request *request, struct cw_reply *reply, const char *language);
/* A text of the locale filled from `values`, in the request's arena; "" when memory has run out. */
const char *cw_picker_text(struct cw_request *request, const char *language, const char *key,
                           const struct cw_page *values) CW_RETURNS_NONNULL;
/* Renders and sets status and policy. */
void cw_picker_render(struct cw_request *request, struct cw_reply *reply, int status, const char *template,
                      const char *language, const struct cw_page *page);
/* After cw_picker_render, for a page whose only form goes to `action`, an absolute URL: its origin, and https for where the portal redirects on. */
void cw_picker_forms_to(struct cw_request *request, struct cw_reply *reply, const char *action);
/* A plain page of "<key>_title" and "<key>_text" with an optional next step. */
struct cw_notice {
    int status;
    const char *title_key, *text_key;
    const char *link;       /* NULL: none */
    const char *link_key;
    bool refresh;
};
void cw_picker_notice(struct cw_request *request, struct cw_reply *reply, const struct cw_notice *notice);
/* The page of a Session that is over. False when it is open. */
bool cw_picker_ended(struct cw_request *request, struct cw_reply *reply);
/* The form token for this Session and browser; the browser gets its cookie where it has none. NULL when memory has run out. */
const char *cw_picker_token(struct cw_request *request, struct cw_reply *reply);
/* Checks the form's token against the cookie; answers by a plain page when it does not fit. *ret_browser: the cookie. */
bool cw_picker_check(struct cw_request *request, struct cw_reply *reply, struct cw_span *ret_browser);
/* "Ana María López" → "A••• M••• L•••": enough to see that the link is one's own, not enough to learn a name. Absent without a name. */
struct cw_span cw_picker_mask(struct cw_arena *arena, struct cw_span name);
/* Sets label and class of the way back to the app. */
void cw_picker_done_values(struct cw_request *request, struct cw_page *page, const char *language, bool connected);
/* Fills id, name, place and host of a source. */
void cw_picker_source_values(struct cw_request *request, struct cw_page *page, const struct cw_source *source);
/* 303 to return_url; `failure` and `connected` only in Direct mode. */
void cw_picker_return(struct cw_request *request, struct cw_reply *reply, const char *failure);

/* --- choose.c, start.c, result.c: the handlers --- */
void cw_picker_get(struct cw_request *request, struct cw_reply *reply);
void cw_picker_search(struct cw_request *request, struct cw_reply *reply);
void cw_picker_start(struct cw_request *request, struct cw_reply *reply);
void cw_picker_result(struct cw_request *request, struct cw_reply *reply);
void cw_picker_done(struct cw_request *request, struct cw_reply *reply);

/* --- discover.c: where the patients of an endpoint sign in, and what runs there --- */
struct cw_known {
    struct cw_endpoint endpoint;      /* as stored; given */
    const struct cw_source *source;   /* given, as all up to here: */
    struct cw_span vendor;            /* by the catalogue; absent: not known */
    struct cw_span host;              /* of the base, without a port */
    const char *base;                 /* normalised */
    struct cw_discovery discovery;    /* with a failure: not set */
    struct cw_span software, publisher; /* of the CapabilityStatement; absent: not known */
    const char *failure;              /* NULL, or why nobody can be sent there */
};
/* From the database while it is fresh, else from the server, and stored. CW_E_UNAVAILABLE, CW_E_OOM. */
enum cw_code cw_leave_discover(struct cw_visit *visit, struct cw_http *http, struct cw_arena *arena, struct cw_known *known,
                               struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

/* --- leave.c: from a source to the request of its sign-in. Asks the network, so no database connection is held meanwhile. --- */
struct cw_leave {
    struct cw_source source;
    struct cw_span browser;
    struct cw_span language;
    const char *failure;    /* NULL: `form` leads to the portal */
    struct cw_authorize_form form;
    struct cw_attempt_id attempt;
};
void cw_leave_release(struct cw_leave *leave) CW_NONNULL(1);
/* Discovery, registration, scopes, state and request; then the attempt, in one transaction, whether it can leave or not. CW_E_STATE, CW_E_LIMITED as
 * cw_attempt_start; CW_E_UNAVAILABLE, CW_E_OOM. */
enum cw_code cw_leave_prepare(struct cw_visit *visit, struct cw_http *http, struct cw_span consent_version,
                              struct cw_arena *arena, struct cw_leave *leave, struct cw_err *err)
    CW_NONNULL(1, 2, 4, 5, 6) CW_MUST_USE;

/* The HTTP handle of a thread, made when it first leaves for a portal (about 1 MB of CA bundle). */
struct cw_picker_thread {
    const struct cw_config *config;
    struct cw_http *http;
};
void *cw_picker_thread_new(void *context);
void cw_picker_thread_free(void *thread);

#endif
