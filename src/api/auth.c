/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who calls: the key in the Authorization header. Its signature is a cheap first filter; the row decides organization,
 * environment, scopes and end. Then the version asked for, then the route's scope. A wrong key learns nothing but that.
 */
#include "config.h"

#include "api/api.h"

#include "os/log.h"
#include "vault/token.h"

struct cw_call *cw_call_of(struct cw_request *request)
{
    struct cw_call *call = cw_request_state(request);
    if (call == NULL) {
        cw_bug("a handler of an open route asks for the caller");
    }
    return call;
}

static bool refuse(struct cw_reply *reply, const char *code, const char *message)
{
    cw_reply_fault(reply, code, NULL, message);
    if (cw_reply_get_status(reply) == 401) {
        cw_reply_header(reply, "WWW-Authenticate", "Bearer");
    }
    return false;
}

/* The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110 11.1). */
static bool bearer(struct cw_span header, struct cw_span *ret_token)
{
    struct cw_span scheme;
    return cw_span_word(&header, &scheme) && cw_span_eq_nocase(scheme, CW_SPAN("Bearer")) &&
           cw_span_word(&header, ret_token) && cw_span_trim(header).len == 0;
}

static bool authenticate(struct cw_request *request, struct cw_reply *reply, struct cw_call *call)
{
    struct cw_span header = cw_request_header(request, "Authorization");
    if (header.len == 0) {
        return refuse(reply, "missing_api_key", "Send the API key as `Authorization: Bearer <key>`.");
    }
    struct cw_err err = { 0 };
    struct cw_span text = { 0 };
    struct cw_api_token token;
    if (!bearer(header, &text) || cw_api_token_read(call->api->model.vault, text, &token, &err) != CW_OK) {
        return refuse(reply, "invalid_api_key", "The API key is not valid.");
    }
    enum cw_code rc =
        cw_api_key_authenticate(&call->api->model, &token, cw_request_arena(request), &call->key, &err);
    if (rc == CW_E_AUTH) {
        return refuse(reply, "invalid_api_key", "The API key is not valid.");
    }
    if (rc == CW_E_EXPIRED) {
        return refuse(reply, "expired_api_key", "The API key has expired.");
    }
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return false;
    }
    cw_id_emit(CW_PREFIX_API_KEY, call->key.id.ulid, call->actor_name);
    call->actor = (struct cw_actor){
        .kind = CW_ACTOR_API_KEY,
        .name = call->actor_name,
        .request_id = cw_request_id(request),
    };
    return true;
}

static bool version_known(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span version = cw_request_header(request, "Version");
    if (version.len == 0 || cw_span_eq_cstr(version, CW_API_VERSION)) {
        return true;
    }
    cw_reply_fault(reply, "unsupported_api_version", "Version", "The only version is " CW_API_VERSION ".");
    return false;
}

static bool scope_held(const struct cw_route *route, struct cw_reply *reply, const struct cw_call *call)
{
    unsigned needed = route->flags & CW_API_SCOPES;
    if ((call->key.scopes & needed) == needed) {
        return true;
    }
    CW_AUTO_STR names;
    CW_AUTO_STR message;
    cw_str_init(&names, 256);
    cw_str_init(&message, 512);
    cw_key_scopes_emit(needed, &names);
    cw_str_addf(&message, "This API key lacks the scope %s.", cw_str_cstr(&names));
    cw_reply_fault(reply, "insufficient_scope", NULL, cw_str_cstr(&message));
    return false;
}

bool cw_api_admit(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_route *route = cw_request_route(request);
    if ((route->flags & CW_API_OPEN) != 0) {
        return true;
    }
    struct cw_call *call = cw_arena_alloc(cw_request_arena(request), sizeof *call);
    if (call == NULL) {
        cw_reply_fault_code(reply, CW_E_OOM, NULL);
        return false;
    }
    call->api = cw_request_context(request);
    if (!authenticate(request, reply, call)) {
        return false;
    }
    cw_request_set_state(request, call);
    return version_known(request, reply) && scope_held(route, reply, call);
}

/* Every use of a key leaves a row: the model writes those of acts and record reads, this one all others, refused ones too. */
void cw_api_after(struct cw_request *request, struct cw_reply *reply)
{
    const struct cw_call *call = cw_request_state(request);
    const struct cw_route *route = cw_request_route(request);
    int status = cw_reply_get_status(reply);
    if (call == NULL || route == NULL || ((route->flags & CW_API_MODEL_AUDITS) != 0 && status < 400)) {
        return;
    }
    char detail[16];
    snprintf(detail, sizeof detail, "%d", status);
    const struct cw_audit_row row = {
        .org = call->key.org,
        .action = route->name,
        .patient = call->patient,
        .object = call->object,
        .detail = detail,
    };
    struct cw_err err = { 0 };
    if (cw_audit_queue_add(call->api->audit, &call->actor, &row, &err) != CW_OK) {
        cw_log(CW_LOG_ERR, "audit.lost", CW_ERR(&err));
    }
}
