/* SPDX-License-Identifier: Apache-2.0 */
/* Writes down an exchange with an authorization server for the operator's card (model/exchange.h): names and kinds, never values. */
#ifndef CW_SMART_TRACE_H
#define CW_SMART_TRACE_H

#include "model/exchange.h"
#include "net/http.h"

/* What there was. All borrowed. */
struct cw_trace {
    const char *kind;                 /* a literal: "token", "refresh" … */
    const char *authentication;       /* a literal, or NULL */
    const char *outcome;              /* a literal */
    const char *endpoint;
    struct cw_span form;              /* as sent; values of all but a few harmless parameters are kept out of every text */
    struct cw_span secret;            /* another text to keep out; absent: none */
    struct cw_span scope;             /* as granted; absent: none */
    const struct cw_http_response *response;
    int64_t sent_us;
};
/* The request and its answer; an answer that never came has status 0. Cannot fail: what does not fit is left out. */
void cw_trace_post(const struct cw_trace *trace, struct cw_exchange *ret) CW_NONNULL(1, 2);

/* A redirect that came back with an error: what the portal said in its query. */
struct cw_trace_redirect {
    const char *authorization_endpoint;
    struct cw_span error, description, uri;
    struct cw_span secret;            /* the state, say */
    bool has_code, has_state, has_iss;
    const char *outcome;              /* a literal: the failure code */
    int64_t at_us;
};
void cw_trace_redirect(const struct cw_trace_redirect *trace, struct cw_exchange *ret) CW_NONNULL(1, 2);

#endif
