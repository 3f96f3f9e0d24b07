/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many exchanges from one thread. The multi handle keeps connections and the parsed CA bundle for all of them. Transfers are owned by
 * the multi, in a list; an ended one is taken off the list before its `done` runs, so `done` may add new ones.
 */
#include "config.h"

#include "net/http.h"

#include <stdatomic.h>

#include "base/limits.h"
#include "base/time.h"
#include "net/transfer.h"
#include "os/sys.h"

struct cw_http_transfer {
    struct cw_transfer base; /* first: CURLOPT_PRIVATE points here */
    struct cw_http_transfer *next, *prev;
    struct cw_http_response response;
    cw_http_done_fn *done;
    void *arg;
    char *accept;            /* for the hops after a redirect */
};

struct cw_http_multi {
    struct cw_net_policy *policy;
    CURLM *handle;
    struct cw_http_transfer *first;
    unsigned running;
    atomic_bool woken;
};

static void free_transfer(struct cw_http_transfer *transfer)
{
    if (transfer == NULL) {
        return;
    }
    curl_easy_cleanup(transfer->base.easy); /* before what its options point to */
    cw_transfer_release(&transfer->base);
    cw_http_response_release(&transfer->response);
    free(transfer->accept);
    free(transfer);
}

static void link_transfer(struct cw_http_multi *multi, struct cw_http_transfer *transfer)
{
    transfer->next = multi->first;
    if (multi->first != NULL) {
        multi->first->prev = transfer;
    }
    multi->first = transfer;
    multi->running++;
}

static void unlink_transfer(struct cw_http_multi *multi, struct cw_http_transfer *transfer)
{
    if (transfer->prev != NULL) {
        transfer->prev->next = transfer->next;
    } else {
        multi->first = transfer->next;
    }
    if (transfer->next != NULL) {
        transfer->next->prev = transfer->prev;
    }
    transfer->next = transfer->prev = NULL;
    multi->running--;
}

static void end_transfer(struct cw_http_multi *multi, struct cw_http_transfer *transfer, enum cw_code code,
                         const struct cw_err *err)
{
    (void)curl_multi_remove_handle(multi->handle, transfer->base.easy);
    unlink_transfer(multi, transfer);
    transfer->done(transfer->arg, code, &transfer->response, err);
    free_transfer(transfer);
}

void cw_http_multi_free(struct cw_http_multi *multi)
{
    if (multi == NULL) {
        return;
    }
    while (multi->first != NULL) {
        struct cw_err err;
        enum cw_code rc = cw_err_set(&err, CW_E_STOPPED, "http", "the fetcher ends");
        end_transfer(multi, multi->first, rc, &err);
    }
    (void)curl_multi_cleanup(multi->handle);
    cw_net_policy_free(multi->policy);
    free(multi);
}

enum cw_code cw_http_multi_new(const struct cw_config *config, struct cw_http_multi **ret_multi, struct cw_err *err)
{
    cw_net_library_init();
    struct cw_http_multi *multi = calloc(1, sizeof *multi);
    if (multi == NULL || (multi->handle = curl_multi_init()) == NULL) {
        cw_http_multi_free(multi);
        return cw_err_set(err, CW_E_OOM, "http", "out of memory");
    }
    enum cw_code rc = cw_net_policy_new(config, &multi->policy, err);
    if (rc != CW_OK) {
        cw_http_multi_free(multi);
        return rc;
    }
    *ret_multi = multi;
    return CW_OK;
}

static struct cw_http_transfer *new_transfer(const struct cw_http_multi *multi, const struct cw_http_request *request)
{
    struct cw_http_transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL) {
        return NULL;
    }
    cw_http_response_init(&transfer->response);
    unsigned total_ms = request->total_ms != 0 ? request->total_ms : cw_net_policy_total_ms(multi->policy);
    transfer->base.policy = multi->policy;
    transfer->base.response = &transfer->response;
    transfer->base.redirects_left = request->redirects > CW_REDIRECTS_MAX ? CW_REDIRECTS_MAX : request->redirects;
    transfer->base.started_us = cw_monotonic_us();
    transfer->base.deadline_us = transfer->base.started_us + (int64_t)total_ms * 1000;
    transfer->base.easy = curl_easy_init();
    transfer->accept = strdup(request->accept == NULL ? "application/json" : request->accept);
    if (transfer->base.easy == NULL || transfer->accept == NULL) {
        free_transfer(transfer);
        return NULL;
    }
    return transfer;
}

enum cw_code cw_http_multi_add(struct cw_http_multi *multi, const struct cw_http_request *request, cw_http_chunk_fn *chunk,
                               cw_http_done_fn *done, void *arg, struct cw_err *err)
{
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_parse(cw_span_cstr(request->url), &url, err);
    if (rc != CW_OK) {
        return rc == CW_E_TOO_BIG ? CW_E_SYNTAX : rc;
    }
    struct cw_http_transfer *transfer = new_transfer(multi, request);
    if (transfer == NULL) {
        cw_url_free(url);
        return cw_err_set(err, CW_E_OOM, "http", "out of memory");
    }
    transfer->base.chunk = chunk;
    transfer->base.chunk_arg = arg;
    transfer->done = done;
    transfer->arg = arg;
    rc = cw_transfer_prepare(&transfer->base, request, url, true, true, err);
    if (rc == CW_OK && curl_multi_add_handle(multi->handle, transfer->base.easy) != CURLM_OK) {
        rc = cw_err_set(err, CW_E_OOM, "http", "the transfer cannot be added");
    }
    if (rc != CW_OK) {
        free_transfer(transfer);
        return rc;
    }
    link_transfer(multi, transfer);
    return CW_OK;
}

/* Goes on at another URL, without credentials, in what is left of the time. */
static enum cw_code restart(struct cw_http_multi *multi, struct cw_http_transfer *transfer, struct cw_url *url,
                            struct cw_err *err)
{
    (void)curl_multi_remove_handle(multi->handle, transfer->base.easy);
    struct cw_http_request request = {
        .method = CW_HTTP_GET,
        .accept = transfer->accept,
        .body_max = transfer->base.body_max,
    };
    enum cw_code rc = cw_transfer_prepare(&transfer->base, &request, url, false, true, err);
    if (rc == CW_OK && curl_multi_add_handle(multi->handle, transfer->base.easy) != CURLM_OK) {
        rc = cw_err_set(err, CW_E_OOM, "http", "the transfer cannot be added");
    }
    return rc;
}

/* True when `done` was called. */
static bool settle(struct cw_http_multi *multi, struct cw_http_transfer *transfer, CURLcode result)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_url *next = NULL;
    enum cw_code rc = cw_transfer_finish(&transfer->base, result, &err);
    if (rc == CW_OK) {
        rc = cw_transfer_redirect(&transfer->base, &next, &err);
    }
    if (next != NULL) {
        rc = restart(multi, transfer, next, &err);
        if (rc == CW_OK) {
            return false;
        }
    }
    end_transfer(multi, transfer, rc, &err);
    return true;
}

/* One round; returns how many `done`s were called. */
static unsigned turn(struct cw_http_multi *multi)
{
    int still = 0;
    int queued = 0;
    unsigned ended = 0;
    CURLMcode rc = curl_multi_perform(multi->handle, &still);
    if (rc != CURLM_OK) {
        /* libcurl: every transfer is in doubt after an error of the multi itself. */
        for (unsigned all = multi->running; all > 0; all--) {
            struct cw_err err;
            enum cw_code code = cw_err_sys(&err, CW_E_UNAVAILABLE, (int)rc, "http", "%s", curl_multi_strerror(rc));
            end_transfer(multi, multi->first, code, &err);
            ended++;
        }
        return ended;
    }
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi->handle, &queued)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            CURLcode result = message->data.result; /* the message dies with the handle's removal */
            char *transfer = NULL;
            (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
            ended += settle(multi, (struct cw_http_transfer *)(void *)transfer, result) ? 1 : 0;
        }
    }
    return ended;
}

unsigned cw_http_multi_run(struct cw_http_multi *multi, unsigned wait_ms)
{
    int64_t deadline_us = cw_monotonic_us() + (int64_t)wait_ms * 1000;
    for (;;) {
        unsigned ended = turn(multi);
        int64_t left_ms = (deadline_us - cw_monotonic_us()) / 1000;
        if (atomic_exchange(&multi->woken, false) || ended > 0 || left_ms <= 0) {
            return multi->running;
        }
        (void)curl_multi_poll(multi->handle, NULL, 0, (int)left_ms, NULL);
    }
}

void cw_http_multi_wake(struct cw_http_multi *multi)
{
    atomic_store(&multi->woken, true);
    (void)curl_multi_wakeup(multi->handle);
}
