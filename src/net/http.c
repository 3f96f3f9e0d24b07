/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request after the other, on one easy handle that is kept: it holds the connections, the TLS sessions and the parsed
 * CA bundle. Redirects are followed here, each hop checked by the policy like the first.
 */
#include "config.h"

#include "net/http.h"

#include "base/limits.h"
#include "base/time.h"
#include "net/transfer.h"
#include "os/sys.h"

struct cw_http {
    struct cw_net_policy *policy;
    CURL *easy;
};

void cw_http_response_init(struct cw_http_response *response)
{
    *response = (struct cw_http_response){ .retry_after_s = -1 };
    cw_str_init(&response->body, 0); /* the maximum comes with the request */
    cw_str_init(&response->headers, CW_HTTP_HEADERS_MAX);
    cw_str_init(&response->final_url, CW_LINK_MAX);
}

void cw_http_response_release(struct cw_http_response *response)
{
    cw_str_release(&response->body);
    cw_str_release(&response->headers);
    cw_str_release(&response->final_url);
}

struct cw_span cw_http_header_get(const struct cw_http_response *response, const char *name)
{
    struct cw_span rest = cw_str_span(&response->headers);
    struct cw_span line;
    bool more = rest.len > 0;
    while (more) {
        more = cw_span_cut(&rest, '\n', &line);
        struct cw_span field;
        if (cw_span_cut(&line, ':', &field) && cw_span_eq_nocase(field, cw_span_cstr(name))) {
            return cw_span_trim(line);
        }
    }
    return (struct cw_span){ NULL, 0 };
}

void cw_http_free(struct cw_http *http)
{
    if (http == NULL) {
        return;
    }
    curl_easy_cleanup(http->easy);
    cw_net_policy_free(http->policy);
    free(http);
}

enum cw_code cw_http_new(const struct cw_config *config, struct cw_http **ret_http, struct cw_err *err)
{
    cw_net_library_init();
    struct cw_http *http = calloc(1, sizeof *http);
    if (http == NULL || (http->easy = curl_easy_init()) == NULL) {
        cw_http_free(http);
        return cw_err_set(err, CW_E_OOM, "http", "out of memory");
    }
    enum cw_code rc = cw_net_policy_new(config, &http->policy, err);
    if (rc != CW_OK) {
        cw_http_free(http);
        return rc;
    }
    *ret_http = http;
    return CW_OK;
}

bool cw_http_is_exception(const struct cw_http *http, const char *text)
{
    struct cw_url *url = NULL;
    bool exception = cw_url_parse(cw_span_cstr(text), &url, NULL) == CW_OK && cw_net_policy_allows(http->policy, url);
    cw_url_free(url);
    return exception;
}

static enum cw_code one_hop(struct cw_transfer *t, const struct cw_http_request *request, struct cw_url *url,
                            bool first, struct cw_err *err)
{
    enum cw_code rc = cw_transfer_prepare(t, request, url, first, false, err);
    return rc == CW_OK ? cw_transfer_finish(t, curl_easy_perform(t->easy), err) : rc;
}

enum cw_code cw_http_perform(struct cw_http *http, const struct cw_http_request *request,
                             struct cw_http_response *response, struct cw_err *err)
{
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_parse(cw_span_cstr(request->url), &url, err);
    if (rc != CW_OK) {
        return rc == CW_E_TOO_BIG ? CW_E_SYNTAX : rc;
    }
    unsigned total_ms = request->total_ms != 0 ? request->total_ms : cw_net_policy_total_ms(http->policy);
    total_ms = request->most_ms != 0 && request->most_ms < total_ms ? request->most_ms : total_ms;
    int64_t now_us = cw_monotonic_us();
    struct cw_transfer transfer = {
        .policy = http->policy,
        .easy = http->easy,
        .response = response,
        .redirects_left = request->redirects > CW_REDIRECTS_MAX ? CW_REDIRECTS_MAX : request->redirects,
        .started_us = now_us,
        .deadline_us = now_us + (int64_t)total_ms * 1000,
    };
    bool first = true;
    response->request_sent = false;
    response->status = 0;
    while (rc == CW_OK && url != NULL) {
        rc = one_hop(&transfer, request, url, first, err);
        first = false;
        url = NULL;
        if (rc == CW_OK) {
            rc = cw_transfer_redirect(&transfer, &url, err);
        }
    }
    curl_easy_reset(http->easy); /* nothing of this request stays reachable from the handle */
    cw_transfer_release(&transfer);
    return rc;
}
