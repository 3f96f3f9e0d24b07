/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox hospital as a responder: what its handlers share. Everything that a handler changes is in the state (one lock,
 * journal); the rest is constant after the start.
 */
#ifndef CW_SANDBOX_HOSPITAL_H
#define CW_SANDBOX_HOSPITAL_H

#include <pthread.h>

#include "os/config.h"
#include "sandbox/diary.h"
#include "sandbox/params.h"
#include "sandbox/personality.h"
#include "sandbox/recordings.h"
#include "sandbox/state.h"
#include "sandbox/store.h"
#include "vault/jose.h"
#include "web/template.h"
#include "web/web.h"

struct hospital {
    const struct cw_config *config;
    struct cw_sbx_store *store;
    struct cw_sbx_recordings *recordings;
    struct cw_sbx_state *state;
    struct cw_sbx_diary *diary;
    struct cw_templates *templates;
    struct cw_signing_key *id_key;      /* RS256, of this installation */
    char operator_hash[32];             /* SHA-256 of the operator's token */
    char origin[512];
    char other_origin[512];             /* a second host of ours; "" when there is none */
    pthread_mutex_t counter;            /* where documents are counted: one is served and noted before the next is judged. All zero: unlocked */
};

/* What a request is for: the hospital under one personality. Lives as long as the request. */
struct site {
    struct hospital *hospital;
    struct cw_sbx_personality as;       /* cw_sbx_plain for the paths without a personality */
    struct cw_sbx_recording *recording; /* what its FHIR side plays; NULL: the charts */
    const char *path;                   /* "/sandbox" or "/sandbox/as/{name}" */
    const char *root;                   /* the same with the origin */
    const char *base;                   /* FHIR base, without slash at its end */
    const char *oauth;                  /* what the OAuth endpoints are under */
    const char *issuer;
    const char *jwks_url;
    const char *authorize_url;          /* as it is told: with query or slash where the personality has one */
    const char *token_url;              /* same; also the audience of client assertions */
};

enum hospital_route_flag {
    HOSPITAL_OWN = 1u << 0,       /* there is only one, whatever the personality */
    HOSPITAL_PERSONAL = 1u << 1   /* set by hospital_doors: the path has a {personality} */
};

/* All routes: each of the table's, and once more under /as/{personality}. Made once, before there are threads; the program's own for ever. NULL
 * when out of memory. */
const struct cw_route *hospital_doors(size_t *ret_count);

static inline struct hospital *hospital_of(const struct cw_request *request)
{
    return cw_request_context(request);
}
static inline struct site *site_of(const struct cw_request *request)
{
    return cw_request_state(request);
}
static inline bool site_plays(const struct site *site, enum cw_sbx_quirk quirk)
{
    return cw_sbx_personality_has(&site->as, quirk);
}
/* Only scopes of single types are told and taken. */
static inline bool site_lists_scopes(const struct site *site)
{
    return site_plays(site, CW_SBX_QUIRK_WILDCARD_REFUSED) || site_plays(site, CW_SBX_QUIRK_UNLISTED_REFUSED) ||
           site_plays(site, CW_SBX_QUIRK_SCOPES_BY_PERMISSION);
}
/* The app is registered under this personality. */
static inline bool site_knows(const struct site *site, const struct cw_sbx_client *client)
{
    return cw_sbx_client_known_to(client, site->as.name, site_plays(site, CW_SBX_QUIRK_OWN_CLIENTS));
}

/* site.c: the `before` of the responder, and what belongs to no other room. */
bool site_enter(struct cw_request *request, struct cw_reply *reply);
/* To the path with a slash behind it, by GET. */
void site_redirect_slash(const struct site *site, const char *path, struct cw_reply *reply);
void unknown_any(struct cw_request *request, struct cw_reply *reply);
/* A patient of this hospital, by id or by name as cw_sbx_patient_named; a recorded one has one patient. NULL when there is none. */
const struct cw_sbx_patient *site_patient(const struct site *site, struct cw_span id);
const struct cw_sbx_patient *site_patient_named(const struct site *site, struct cw_span name);
/* The FHIR base of a personality as lists of sources have it. NULL when out of memory. */
const char *site_base_of(const struct hospital *hospital, const struct cw_sbx_personality *personality, struct cw_arena *arena);
void sources_get(struct cw_request *request, struct cw_reply *reply);

/* Waits, answers or cuts off as the faults say. True when the request has been answered. */
bool fault_answers(struct cw_reply *reply, const struct cw_sbx_faults *faults);
/* An OperationOutcome of one issue. `code` and `text` are literals. */
void reply_outcome(struct cw_reply *reply, int status, const char *code, const char *text);
/* {"error": …} of RFC 6749 5.2. */
void reply_oauth_error(struct cw_reply *reply, int status, const char *error, const char *text);
/* Writes what the body holds as the answer, cut off in its middle where the faults say so. */
void reply_fhir(struct cw_reply *reply, const struct cw_sbx_faults *faults, const char *type);

/* oauth_pages.c */
void authorize_get(struct cw_request *request, struct cw_reply *reply);
void authorize_post(struct cw_request *request, struct cw_reply *reply);
void authorize_slash(struct cw_request *request, struct cw_reply *reply);
void login_post(struct cw_request *request, struct cw_reply *reply);
void consent_post(struct cw_request *request, struct cw_reply *reply);
void home_get(struct cw_request *request, struct cw_reply *reply);
void page_fault(struct cw_request *request, struct cw_reply *reply, int status, const char *code);

/* oauth_token.c */
void token_post(struct cw_request *request, struct cw_reply *reply);
void token_slash(struct cw_request *request, struct cw_reply *reply);
void revoke_post(struct cw_request *request, struct cw_reply *reply);
void introspect_post(struct cw_request *request, struct cw_reply *reply);
void register_post(struct cw_request *request, struct cw_reply *reply);
void userinfo_get(struct cw_request *request, struct cw_reply *reply);
void jwks_get(struct cw_request *request, struct cw_reply *reply);

/* discovery.c */
void discovery_get(struct cw_request *request, struct cw_reply *reply);
void discovery_root_get(struct cw_request *request, struct cw_reply *reply);

/* metadata.c */
void metadata_get(struct cw_request *request, struct cw_reply *reply);

/* fhir.c */
void type_get(struct cw_request *request, struct cw_reply *reply);
void base_get(struct cw_request *request, struct cw_reply *reply);
void instance_get(struct cw_request *request, struct cw_reply *reply);

/* recording_http.c: answers what a recorded hospital is asked on its FHIR side; the handlers of that side begin with it. False when the hospital is no recorded
 * one, or the request is for another door. */
bool recording_answers(struct cw_request *request, struct cw_reply *reply);

/* operator.c */
void faults_post(struct cw_request *request, struct cw_reply *reply);
void faults_get(struct cw_request *request, struct cw_reply *reply);
void faults_delete(struct cw_request *request, struct cw_reply *reply);
void personalities_post(struct cw_request *request, struct cw_reply *reply);
void personalities_get(struct cw_request *request, struct cw_reply *reply);
void clients_post(struct cw_request *request, struct cw_reply *reply);
void census_get(struct cw_request *request, struct cw_reply *reply);
void requests_get(struct cw_request *request, struct cw_reply *reply);
void requests_delete(struct cw_request *request, struct cw_reply *reply);
void revocations_post(struct cw_request *request, struct cw_reply *reply);
void chart_post(struct cw_request *request, struct cw_reply *reply);
void chart_delete(struct cw_request *request, struct cw_reply *reply);

#endif
