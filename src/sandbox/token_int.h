/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of the token endpoint, for oauth_token.c (who asks, and what for), token_answer.c (what it gets) and register.c (apps that
 * register themselves). */
#ifndef CW_SANDBOX_TOKEN_INT_H
#define CW_SANDBOX_TOKEN_INT_H

#include "sandbox/hospital.h"

#define CW_SBX_GRANT_HOURS 10 /* where grants end */

struct call {
    struct hospital *hospital;
    const struct site *site;
    struct cw_request *request;
    struct cw_reply *reply;
    struct cw_sbx_params form;
    const struct cw_sbx_client *client;
    struct cw_sbx_view view;
    struct cw_sbx_faults faults;
};

/* RFC 6749 5.2, as far as the personality keeps to it. */
void token_error(struct call *call, int status, const char *error, const char *text);
/* Issues tokens and writes the answer. `first`: to a code, with patient and id_token. */
enum token_occasion { TOKEN_FIRST, TOKEN_AGAIN, TOKEN_ASSERTED };
void token_answer(struct call *call, struct cw_sbx_tokens *tokens, enum token_occasion occasion);
/* True when app and personality let a refresh token be. */
bool token_may_refresh(const struct call *call);

/* Into the view: the token of the Authorization header. False when it has answered. */
bool token_bearer(struct call *call);
/* grant_type urn:ietf:params:oauth:grant-type:jwt-bearer */
void token_jwt_bearer(struct call *call);
/* jwks.c: the caller owns the set. */
enum cw_code hospital_fetch_jwks(const struct hospital *hospital, const char *uri, json_t **ret_jwks, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* Faults that hit this grant. False when it has answered. */
bool token_pass_faults(struct call *call, enum cw_sbx_point point);

#endif
