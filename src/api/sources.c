/* SPDX-License-Identifier: Apache-2.0 */
/* /connections: the catalogue of the key's environment. With q the search index decides what is found and in which order. */
#include "config.h"

#include "api/api.h"

#include "api/cursor.h"
#include "base/limits.h"
#include "model/wire.h"
#include "os/log.h"

void cw_api_source_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_source source;
    if (!cw_api_source(request, reply, cw_request_path_var(request, "id"), "id", &source)) {
        return;
    }
    cw_call_of(request)->object = source.id.ulid;
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_wire_source(&w, &source);
    cw_api_finish(reply, &w);
}

/* One page of sources and, where there is more, the place to go on at. */
struct page {
    struct cw_source *sources;
    size_t count;
    bool more;
    struct cw_ulid next;
};

/* The index ranks once; a page is a piece of that ranking. The cursor holds how many were passed. */
static enum cw_code page_of_search(struct cw_request *request, struct cw_span text, struct cw_span vendor,
                                   struct cw_ulid place, unsigned limit, struct page *page, struct cw_err *err)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_arena *arena = cw_request_arena(request);
    struct cw_search_hit *hits = cw_arena_array(arena, CW_SEARCH_HITS_MAX, sizeof *hits);
    struct cw_source_id *ids = cw_arena_array(arena, limit, sizeof *ids);
    if (hits == NULL || ids == NULL) {
        return cw_err_set(err, CW_E_OOM, "api", "no memory for a search");
    }
    const struct cw_search_ask ask = { .text = text, .vendor = vendor };
    size_t found = 0;
    enum cw_code rc =
        cw_search_run(call->api->search[call->key.environment], &ask, hits, CW_SEARCH_HITS_MAX, &found, err);
    if (rc == CW_E_NOT_FOUND) {
        cw_log(CW_LOG_WARNING, "search.no_index"); /* before the first import there is nothing to find */
        return CW_OK;
    }
    if (rc != CW_OK) {
        return rc;
    }
    size_t passed = place.bytes[15];
    size_t wanted = 0;
    while (wanted < limit && passed + wanted < found) {
        ids[wanted] = hits[passed + wanted].id;
        wanted++;
    }
    page->more = passed + wanted < found;
    page->next.bytes[15] = (uint8_t)(passed + wanted);
    return cw_source_get_many(&call->api->model, call->key.environment, ids, wanted, arena, &page->sources,
                              &page->count, err);
}
_Static_assert(CW_SEARCH_HITS_MAX <= UINT8_MAX, "a place in the ranking fits one byte of the cursor");

static enum cw_code page_of_list(struct cw_request *request, struct cw_span vendor, struct cw_ulid place,
                                 unsigned limit, struct page *page, struct cw_err *err)
{
    struct cw_call *call = cw_call_of(request);
    enum cw_code rc = cw_source_list(&call->api->model, call->key.environment, vendor, place, limit,
                                     cw_request_arena(request), &page->sources, &page->count, err);
    if (rc == CW_OK && page->count > limit) {
        page->count = limit;
        page->more = true;
        page->next = page->sources[limit - 1].id.ulid;
    }
    return rc;
}

void cw_api_source_list(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_span text = cw_query_text(request, "q");
    struct cw_span vendor = cw_query_text(request, "type");
    struct cw_span after = cw_query_text(request, "starting_after");
    unsigned limit = (unsigned)cw_query_int(request, "limit", CW_LIST_LIMIT_DEFAULT);
    const struct cw_cursor_scope scope = { .list = "sources", .org = call->key.org, .filters = { text, vendor } };
    struct cw_ulid place = { 0 };
    if (after.len > 0 && !cw_cursor_parse(&scope, after, &place)) {
        cw_api_invalid(reply, "starting_after", "This cursor is not one of this list with these filters.");
        return;
    }
    struct page page = { 0 };
    struct cw_err err = { 0 };
    enum cw_code rc = text.len > 0 ? page_of_search(request, text, vendor, place, limit, &page, &err)
                                   : page_of_list(request, vendor, place, limit, &page, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    char next[CW_CURSOR_TEXT_MAX];
    cw_cursor_emit(&scope, page.next, next);
    struct cw_jsonw w;
    cw_api_list_open(&w, reply);
    for (size_t i = 0; i < page.count; i++) {
        cw_wire_source(&w, &page.sources[i]);
    }
    cw_api_list_close(&w, reply, page.more ? cw_span_cstr(next) : (struct cw_span){ 0 });
}
