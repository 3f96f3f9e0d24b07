/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange on one easy handle: what cw_http (one after the other) and cw_http_multi (many at once) have in common.
 * Private to net/.
 */
#ifndef CW_NET_TRANSFER_H
#define CW_NET_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>

#include "net/http.h"
#include "net/policy.h"
#include "net/url.h"

struct cw_transfer {
    const struct cw_net_policy *policy;
    CURL *easy;
    struct cw_url *url;
    struct curl_slist *headers;
    struct cw_http_response *response;
    cw_http_chunk_fn *chunk;
    void *chunk_arg;
    size_t body_max;
    size_t received;
    size_t header_bytes;     /* of all answers to this request: a flood of 1xx has no end either */
    unsigned codings;        /* how often the body says that it is compressed */
    unsigned redirects_left;
    int64_t started_us;      /* monotonic */
    int64_t deadline_us;
    bool allowed;            /* the URL is on the operator's list */
    bool is_get;
    bool head_ended;         /* the blank line after the headers came */
    bool blocked, too_big, stopped, oom, bad_coding;
};

/* libcurl wants this once before any handle. */
void cw_net_library_init(void);
/* Sets the handle up for request at `url` (taken, also on failure). `with_credentials` false after a redirect: neither bearer nor basic nor the caller's
 * headers. The request's body must live until the transfer ends, unless `copy_body`. CW_E_RANGE, CW_E_BLOCKED, CW_E_OOM, CW_E_TIMEOUT. */
enum cw_code cw_transfer_prepare(struct cw_transfer *t, const struct cw_http_request *request, struct cw_url *url,
                                 bool with_credentials, bool copy_body, struct cw_err *err)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* What the end of a transfer means. */
enum cw_code cw_transfer_finish(struct cw_transfer *t, CURLcode result, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;
/* The URL to go on at, when the answer is a redirect that may be followed; NULL in *ret_url otherwise. CW_E_BLOCKED (http after https, or a host of [net] allow
 * that is not the one that answered), CW_E_SYNTAX, CW_E_OOM. */
enum cw_code cw_transfer_redirect(struct cw_transfer *t, struct cw_url **ret_url, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Frees what prepare made; the easy handle stays. */
void cw_transfer_release(struct cw_transfer *t) CW_NONNULL(1);

#endif
