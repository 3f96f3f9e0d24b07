/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error envelope. One table gives type and HTTP status of each code, as the contract's error page lists them; what the contract has
 * no word for stands at the end and is ours. The text in a cw_err is for the log and never reaches a client.
 */
#include "config.h"

#include "web/web_int.h"

#include "base/jsonw.h"
#include "os/log.h"

static const struct {
    const char *code;
    const char *type;
    int status;
} faults[] = {
    { "not_authenticated", "authentication_error", 401 },
    { "invalid_credentials", "authentication_error", 401 },
    { "session_expired", "authentication_error", 401 },
    { "missing_api_key", "authentication_error", 401 },
    { "invalid_api_key", "authentication_error", 401 },
    { "expired_api_key", "authentication_error", 401 },
    { "forbidden", "permission_error", 403 },
    { "org_access_denied", "permission_error", 403 },
    { "role_insufficient", "permission_error", 403 },
    { "patient_access_denied", "permission_error", 403 },
    { "scope_violation", "permission_error", 403 },
    { "insufficient_scope", "permission_error", 403 },
    { "bad_request", "invalid_request_error", 400 },
    { "invalid_data", "invalid_request_error", 400 },
    { "payload_too_large", "invalid_request_error", 413 },
    { "invalid_image", "invalid_request_error", 400 },
    { "unsupported_api_version", "invalid_request_error", 400 },
    { "oauth_state_expired", "invalid_request_error", 400 },
    { "resource_not_found", "not_found_error", 404 },
    { "resource_conflict", "conflict_error", 409 },
    { "already_linked", "conflict_error", 409 },
    { "external_id_already_exists", "conflict_error", 409 },
    { "throttled", "rate_limit_error", 429 },
    { "quota_exceeded", "rate_limit_error", 429 },
    { "api_key_limit_exceeded", "rate_limit_error", 429 },
    { "feature_not_enabled", "billing_error", 402 },
    { "fhir_error", "ehr_error", 502 },
    { "oauth_error", "ehr_error", 502 },
    { "email_error", "ehr_error", 502 },
    { "token_exchange_failed", "ehr_error", 502 },
    { "token_unavailable", "ehr_error", 502 },
    { "storage_error", "ehr_error", 502 },
    { "internal_error", "api_error", 500 },
    { "db_error", "api_error", 500 },
    { "config_missing", "api_error", 500 },
    /* ours */
    { "pull_in_progress", "conflict_error", 409 },
    { "no_active_connection", "conflict_error", 409 },
    { "method_not_allowed", "invalid_request_error", 405 },
    { "unsupported_media_type", "invalid_request_error", 415 },
    { "service_unavailable", "api_error", 503 },
};

/* How a code of ours looks from outside, where the handler did not say it better. */
static const struct {
    enum cw_code from;
    const char *code;
    const char *message;
} mapping[] = {
    { CW_E_UNAVAILABLE, "service_unavailable", "The service is unavailable at the moment. Try again shortly." },
    { CW_E_RETRY, "service_unavailable", "The service is busy. Try again shortly." },
    { CW_E_TIMEOUT, "service_unavailable", "The service did not get an answer in time. Try again shortly." },
    { CW_E_STOPPED, "service_unavailable", "The service is restarting. Try again shortly." },
    /* The installation is at fault (a master key that is missing, for one): nothing is served until it is mended. */
    { CW_E_CONFIG, "service_unavailable", "The service is not ready. Try again shortly." },
    { CW_E_NOT_FOUND, "resource_not_found", "No such resource." },
    { CW_E_CONFLICT, "resource_conflict", "The request conflicts with what is stored." },
    { CW_E_STATE, "resource_conflict", "The resource is not in a state that allows this." },
    { CW_E_EXPIRED, "resource_conflict", "The resource has expired." },
    { CW_E_DENIED, "forbidden", "This is not allowed." },
    { CW_E_LIMITED, "throttled", "Too many requests. Try again later." },
    { CW_E_SYNTAX, "invalid_data", "A value is not of its format." },
    { CW_E_RANGE, "invalid_data", "A value is outside its allowed range." },
    { CW_E_KIND, "invalid_data", "A value has the wrong type." },
    { CW_E_MISSING, "bad_request", "A required value is missing." },
    { CW_E_UPSTREAM, "fhir_error", "The source answered, but not as it must." },
    { CW_E_BLOCKED, "fhir_error", "The source's address is not allowed here." },
};

static size_t find(const char *code)
{
    size_t i = 0;
    while (i < CW_ARRAY_LEN(faults) && strcmp(faults[i].code, code) != 0) {
        i++;
    }
    return i;
}

int cw_fault_status(const char *code)
{
    size_t at = find(code);
    return at == CW_ARRAY_LEN(faults) ? 0 : faults[at].status;
}

static void write_envelope(struct cw_reply *reply, size_t at, const char *param, const char *message)
{
    const struct cw_request *request = reply->request;
    const char *page = request->app->doc_url;
    CW_AUTO_STR doc_url;
    cw_str_init(&doc_url, 2048);
    cw_str_addf(&doc_url, "%s#%s", page == NULL ? "" : page, faults[at].code);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &reply->body);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "error");
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "type", faults[at].type);
    cw_jsonw_key_cstr(&w, "code", faults[at].code);
    cw_jsonw_key_cstr(&w, "message", message);
    cw_jsonw_key_cstr(&w, "param", param);
    cw_jsonw_key_cstr(&w, "doc_url", cw_str_cstr(&doc_url));
    cw_jsonw_key_cstr(&w, "request_id", request->id);
    cw_jsonw_close_object(&w);
    cw_jsonw_close_object(&w);
    if (cw_jsonw_end(&w) != CW_OK) {
        cw_log(CW_LOG_ERR, "reply.envelope_lost"); /* the body keeps the fault; it is answered when it is sent */
    }
}

/* For when even the page about the fault cannot be made. */
static void write_plain(struct cw_reply *reply, int status)
{
    cw_str_clear(&reply->body);
    cw_reply_status(reply, status);
    cw_reply_header(reply, "Content-Type", "text/plain; charset=utf-8");
    cw_str_add_cstr(&reply->body, "Something went wrong. Please try again later.\n");
}

void cw_reply_fault(struct cw_reply *reply, const char *code, const char *param, const char *message)
{
    size_t at = find(code);
    if (at == CW_ARRAY_LEN(faults)) {
        cw_bug("a fault with a code that the table does not have");
    }
    const struct cw_web_app *app = reply->request->app;
    cw_str_clear(&reply->body);
    if (app->faults == CW_FAULT_PAGE && app->fault_page != NULL) {
        app->fault_page(reply->request, reply, faults[at].status, code);
        if (reply->status == 0 || cw_str_code(&reply->body) != CW_OK) {
            write_plain(reply, faults[at].status);
        }
        return;
    }
    cw_reply_json(reply, faults[at].status);
    write_envelope(reply, at, param, message);
}

void cw_reply_fault_code(struct cw_reply *reply, enum cw_code code, const struct cw_err *err)
{
    if (err != NULL && code != CW_E_NOT_FOUND) {
        cw_log(code == CW_E_OOM || code == CW_E_CONFIG ? CW_LOG_ERR : CW_LOG_WARNING, "request.fault", CW_ERR(err));
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(mapping); i++) {
        if (mapping[i].from == code) {
            cw_reply_fault(reply, mapping[i].code, NULL, mapping[i].message);
            return;
        }
    }
    cw_reply_fault(reply, "internal_error", NULL, "Something went wrong here. The request id helps the operator to find it.");
}
