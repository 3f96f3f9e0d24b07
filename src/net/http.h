/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every outgoing request. One policy for all: https with TLS 1.2 or newer and verification; addresses that are
 * loopback, private, link-local, CGNAT, ULA, multicast, v4-mapped or NAT64 refused after name resolution and again at
 * connect; no proxy, netrc, trust or cookie of the environment or of an answer; sizes and times bounded before and after
 * decompression, and their ratio; redirects never followed by libcurl. `host:port` pairs of [net] allow may be http, private or on
 * another port; where [net] only names hosts, there are no others.
 */
#ifndef CW_NET_HTTP_H
#define CW_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "os/config.h"

enum cw_http_method { CW_HTTP_GET, CW_HTTP_POST, CW_HTTP_HEAD, CW_HTTP_PUT, CW_HTTP_DELETE };

struct cw_http_header {
    const char *name;          /* a literal */
    struct cw_span value;      /* CR, LF and NUL are refused (CW_E_RANGE) */
};

struct cw_http_request {
    enum cw_http_method method;
    const char *url;
    const struct cw_http_header *headers;
    size_t header_count;
    struct cw_span body;       /* absent: none */
    const char *content_type;  /* of the body */
    const char *accept;        /* NULL: application/json */
    struct cw_span bearer;     /* absent: no Authorization header */
    struct cw_span basic;      /* "user:password" in the form to be base64-coded; absent: none */
    size_t body_max;           /* of the answer, after decompression; required */
    unsigned total_ms;         /* 0: [net] total_timeout_ms */
    unsigned most_ms;          /* and never more than this; 0: whatever total_ms says */
    unsigned redirects;        /* GET only: how many to follow, same scheme or better, never with credentials or `headers`; at most CW_REDIRECTS_MAX */
    bool want_certificate;     /* fill certificate_until_us; goes on a connection of its own */
    bool fresh_connection;     /* token refresh: no kept connection, so that "sent or not" is never in doubt */
};

struct cw_http_response {
    long status;               /* 0 when there was none */
    struct cw_str body;
    struct cw_str headers;     /* raw lines of the last answer, for cw_http_header_get */
    struct cw_str final_url;   /* after redirects */
    bool request_sent;         /* something of the request may have reached the peer */
    int64_t took_us;
    int64_t certificate_until_us; /* end of the peer's certificate, where it was asked for; 0: not told, or plain http */
    long retry_after_s;        /* seconds from Retry-After in either form, capped to a day; -1 when absent */
};

void cw_http_response_init(struct cw_http_response *response) CW_NONNULL(1);
void cw_http_response_release(struct cw_http_response *response) CW_NONNULL(1);
/* First header of that name, or the absent span. Borrowed. */
struct cw_span cw_http_header_get(const struct cw_http_response *response, const char *name) CW_NONNULL(1, 2);

struct cw_http; /* policy and a handle; one a thread */
void cw_http_free(struct cw_http *http);
enum cw_code cw_http_new(const struct cw_config *config, struct cw_http **ret_http, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;

/* One exchange. CW_OK whenever an answer arrived whole, whatever its status. CW_E_BLOCKED (policy), CW_E_TIMEOUT, CW_E_TOO_BIG,
 * CW_E_UNAVAILABLE (name, connect, TLS, reset, cut body), CW_E_UPSTREAM (not HTTP, broken compression), CW_E_SYNTAX (bad URL), CW_E_RANGE (header value),
 * CW_E_STOPPED, CW_E_OOM. A redirect over the count asked for is an answer like any other. A gzip body that ends too early though its length is right is not told
 * from a whole one: its reader must. err names the host, never path or query. */
enum cw_code cw_http_perform(struct cw_http *http, const struct cw_http_request *request,
                             struct cw_http_response *response, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* True when [net] allow names the URL's host and port: a place where the guard against internal addresses does not watch. */
bool cw_http_is_exception(const struct cw_http *http, const char *url) CW_NONNULL(1, 2) CW_MUST_USE;

/* Many exchanges from one thread (the pull fetcher): curl multi. */
struct cw_http_multi;
struct cw_http_transfer; /* one exchange in flight */
typedef void cw_http_done_fn(void *arg, enum cw_code code, struct cw_http_response *response, const struct cw_err *err);
/* Called as body bytes arrive (after decompression); return false to stop the transfer (CW_E_STOPPED). May be NULL: bytes gather in response->body. */
typedef bool cw_http_chunk_fn(void *arg, struct cw_span bytes);

void cw_http_multi_free(struct cw_http_multi *multi); /* running transfers end with CW_E_STOPPED */
enum cw_code cw_http_multi_new(const struct cw_config *config, struct cw_http_multi **ret_multi, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* Copies what it needs of request. `done` is called exactly once, from cw_http_multi_run, with a response that it may take parts of by cw_str_take. */
enum cw_code cw_http_multi_add(struct cw_http_multi *multi, const struct cw_http_request *request, cw_http_chunk_fn *chunk,
                               cw_http_done_fn *done, void *arg, struct cw_err *err) CW_NONNULL(1, 2, 4) CW_MUST_USE;
/* Runs transfers and calls `done`s until a `done` was called, wait_ms passed or cw_http_multi_wake was called. Returns how many are still running. */
unsigned cw_http_multi_run(struct cw_http_multi *multi, unsigned wait_ms) CW_NONNULL(1);
/* From any thread. */
void cw_http_multi_wake(struct cw_http_multi *multi) CW_NONNULL(1);

#endif
