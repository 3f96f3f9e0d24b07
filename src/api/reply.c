/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and look-ups that several resources share. */
#include "config.h"

#include "api/api.h"

#include "base/limits.h"
#include "net/url.h"

void cw_api_finish(struct cw_reply *reply, struct cw_jsonw *w)
{
    cw_reply_json(reply, 200);
    enum cw_code rc = cw_jsonw_end(w);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, NULL);
    }
}

void cw_api_not_found(struct cw_reply *reply, const char *param, const char *message)
{
    cw_reply_fault(reply, "resource_not_found", param, message);
}

void cw_api_invalid(struct cw_reply *reply, const char *param, const char *message)
{
    cw_reply_fault(reply, "invalid_data", param, message);
}

void cw_api_list_open(struct cw_jsonw *w, struct cw_reply *reply)
{
    cw_jsonw_init(w, cw_reply_body(reply));
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "resource_type", "list");
    cw_jsonw_key(w, "data");
    cw_jsonw_open_array(w);
}

void cw_api_list_close(struct cw_jsonw *w, struct cw_reply *reply, struct cw_span next)
{
    cw_jsonw_close_array(w);
    cw_jsonw_key_bool(w, "has_more", next.ptr != NULL);
    cw_jsonw_key_text(w, "next_cursor", next);
    cw_jsonw_close_object(w);
    cw_api_finish(reply, w);
}

bool cw_api_patient(struct cw_request *request, struct cw_reply *reply, struct cw_patient *ret_patient)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_err err = { 0 };
    enum cw_code rc = cw_patient_get(&call->api->model, call->key.org, cw_request_path_var(request, "id"),
                                     cw_request_arena(request), ret_patient, &err);
    if (rc == CW_E_NOT_FOUND || rc == CW_E_RANGE) {
        cw_api_not_found(reply, "id", "There is no patient with this id.");
        return false;
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return false;
    }
    call->patient = ret_patient->row;
    return true;
}

bool cw_api_source(struct cw_request *request, struct cw_reply *reply, struct cw_span id_or_url, const char *param,
                   struct cw_source *ret_source)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_err err = { 0 };
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    bool is_url = !cw_span_starts(id_or_url, CW_SPAN(CW_PREFIX_SOURCE));
    enum cw_code rc = is_url ? cw_url_normal_base(id_or_url, &base, &err) : CW_OK;
    if (rc == CW_OK) {
        rc = cw_source_resolve(&call->api->model, call->key.environment, id_or_url,
                               is_url ? cw_str_span(&base) : (struct cw_span){ 0 }, cw_request_arena(request),
                               ret_source, &err);
    } else if (rc == CW_E_SYNTAX || rc == CW_E_TOO_BIG) {
        rc = CW_E_NOT_FOUND; /* neither an id nor a URL names nothing */
    }
    if (rc == CW_E_NOT_FOUND) {
        cw_api_not_found(reply, param, "There is no such source in this environment.");
    } else if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
    }
    return rc == CW_OK;
}
