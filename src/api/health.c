/* SPDX-License-Identifier: Apache-2.0 */
/* What is served without a key: that we live, and what we are. */
#include "config.h"

#include "api/api.h"

#include "os/sys.h"

void cw_api_health(struct cw_request *request, struct cw_reply *reply)
{
    (void)request;
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_bool(&w, "ok", true);
    cw_jsonw_key_time(&w, "server_time", cw_now_us());
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
}

void cw_api_document(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_api *api = cw_request_context(request);
    cw_reply_json(reply, 200);
    cw_str_add_span(cw_reply_body(reply), cw_str_span(&api->document));
}

void cw_api_errors(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_api *api = cw_request_context(request);
    cw_reply_html(reply, 200);
    cw_str_add_span(cw_reply_body(reply), cw_str_span(&api->errors));
}
