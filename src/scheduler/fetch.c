/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetcher: one thread that runs every page's transfer on one curl multi, until the queue is closed. It decides nothing: what may start was
 * decided by the dispatcher, what an answer means is the digesters' business.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <stdlib.h>

#include "base/limits.h"
#include "os/log.h"
#include "os/sys.h"

#define PAGE_MS 120000u /* eCW and HAPI take long over big pages; the host's cap bounds what that can hold */
#define METADATA_MS 30000u

struct transfer {
    struct scheduler *s;
    struct task_item *item;
};

/* To who takes it from here. */
static void pass_on(struct scheduler *s, struct task_item *item)
{
    cw_secret_release(&item->bearer);
    if (item->then != NULL) {
        queue_put(&s->prepare, &item->then->node);
    } else {
        queue_put(&s->digest, &item->node);
    }
}

static void arrived(void *arg, enum cw_code code, struct cw_http_response *response, const struct cw_err *err)
{
    (void)err;
    struct transfer *transfer = arg;
    struct task_item *item = transfer->item;
    item->code = code;
    cw_http_response_release(&item->response);
    item->response = *response;
    cw_http_response_init(response); /* taken */
    pass_on(transfer->s, item);
    free(transfer);
}

static void refuse(struct scheduler *s, struct task_item *item, enum cw_code code)
{
    item->code = code;
    pass_on(s, item);
}

static void begin(struct scheduler *s, struct task_item *item)
{
    struct transfer *transfer = malloc(sizeof *transfer);
    if (transfer == NULL) {
        refuse(s, item, CW_E_OOM);
        return;
    }
    *transfer = (struct transfer){ s, item };
    struct cw_http_request request = {
        .method = CW_HTTP_GET,
        .url = item->url,
        .accept = item->accept,
        .headers = item->run->headers,
        .header_count = item->run->header_count,
        .bearer = cw_secret_span(&item->bearer),
        .body_max = item->kind == CW_TASK_DOCUMENT ? CW_DOCUMENT_MAX : CW_FHIR_PAGE_MAX,
        .total_ms = PAGE_MS,
    };
    if (item->then != NULL) {
        request.headers = NULL;
        request.header_count = 0;
        request.body_max = CW_CAPABILITY_MAX;
        request.total_ms = METADATA_MS;
        request.redirects = request.bearer.len > 0 ? 0 : CW_REDIRECTS_MAX;
    }
    struct cw_err err = { 0 };
    item->asked++; /* before: once it is added, it may be in other hands */
    enum cw_code rc = cw_http_multi_add(s->multi, &request, NULL, arrived, transfer, &err);
    if (rc != CW_OK) {
        item->asked--;
        free(transfer);
        refuse(s, item, rc);
    }
}

void *fetcher_main(void *arg)
{
    struct scheduler *s = arg;
    bool closed = false;
    while (!closed) {
        struct queue_node *node;
        while ((node = queue_try(&s->fetch)) != NULL) {
            begin(s, (struct task_item *)node);
        }
        (void)cw_http_multi_run(s->multi, 1000);
        pthread_mutex_lock(&s->fetch.lock);
        closed = s->fetch.closed && s->fetch.first == NULL;
        pthread_mutex_unlock(&s->fetch.lock);
    }
    return NULL;
}
