/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox hospital as a responder: what its handlers share. Everything that a handler changes is in the state (one lock,
 * journal); the rest is constant after the start.
 */
#ifndef CW_SANDBOX_HOSPITAL_H
#define CW_SANDBOX_HOSPITAL_H

#include "os/config.h"
#include "sandbox/params.h"
#include "sandbox/state.h"
#include "sandbox/store.h"
#include "vault/jose.h"
#include "web/template.h"
#include "web/web.h"

struct hospital {
    const struct cw_config *config;
    struct cw_sbx_store *store;
    struct cw_sbx_state *state;
    struct cw_templates *templates;
    struct cw_signing_key *id_key;      /* RS256, of this installation */
    char operator_hash[32];             /* SHA-256 of the operator's token */
    char origin[512];
    char base[600];                     /* FHIR base, without slash at its end: also the issuer */
    char token_url[600];
};

extern const struct cw_route hospital_routes[];
extern const size_t hospital_route_count;

static inline struct hospital *hospital_of(const struct cw_request *request)
{
    return cw_request_context(request);
}

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
void login_post(struct cw_request *request, struct cw_reply *reply);
void consent_post(struct cw_request *request, struct cw_reply *reply);
void home_get(struct cw_request *request, struct cw_reply *reply);
void page_fault(struct cw_request *request, struct cw_reply *reply, int status, const char *code);

/* oauth_token.c */
void token_post(struct cw_request *request, struct cw_reply *reply);
void revoke_post(struct cw_request *request, struct cw_reply *reply);
void introspect_post(struct cw_request *request, struct cw_reply *reply);
void jwks_get(struct cw_request *request, struct cw_reply *reply);

/* fhir.c */
void discovery_get(struct cw_request *request, struct cw_reply *reply);
void metadata_get(struct cw_request *request, struct cw_reply *reply);
void type_get(struct cw_request *request, struct cw_reply *reply);
void base_get(struct cw_request *request, struct cw_reply *reply);
void instance_get(struct cw_request *request, struct cw_reply *reply);

/* operator.c */
void faults_post(struct cw_request *request, struct cw_reply *reply);
void faults_get(struct cw_request *request, struct cw_reply *reply);
void faults_delete(struct cw_request *request, struct cw_reply *reply);
void clients_post(struct cw_request *request, struct cw_reply *reply);
void census_get(struct cw_request *request, struct cw_reply *reply);
void revocations_post(struct cw_request *request, struct cw_reply *reply);

#endif
