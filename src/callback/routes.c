/* SPDX-License-Identifier: Apache-2.0 */
/* The two things that are served: the redirect URI of each registration, and our public keys. */
#include "config.h"

#include "callback/callback.h"

#include "base/limits.h"
#include "model/signing.h"
#include "os/log.h"
#include "web/browser.h"

#define LIMITED 1u          /* route flag: counts against the address */
#define ERROR_CHARS_MAX 4096
#define TEXT_OF(number) TEXT_OF_VALUE(number)
#define TEXT_OF_VALUE(number) #number
#define JWKS_CACHE "public, max-age=" TEXT_OF(CW_JWKS_MAX_AGE_S)
#define STATE_CHARS_MAX 512 /* design 13 */

/* Portals add parameters of their own (session_state …), so unknown ones are let be; known ones may come once. */
static const struct cw_input answer_inputs[] = {
    { .name = "state", .kind = CW_IN_TEXT, .min = 0, .max = STATE_CHARS_MAX },
    { .name = "code", .kind = CW_IN_TEXT, .min = 0, .max = CW_CODE_MAX },
    { .name = "iss", .kind = CW_IN_TEXT, .min = 0, .max = CW_URL_MAX },
    { .name = "error", .kind = CW_IN_TEXT, .min = 0, .max = ERROR_CHARS_MAX },
    { .name = "error_description", .kind = CW_IN_TEXT, .min = 0, .max = ERROR_CHARS_MAX },
    { .name = "error_uri", .kind = CW_IN_TEXT, .min = 0, .max = ERROR_CHARS_MAX },
    { .name = NULL },
};

typedef struct cw_span text_fn(const struct cw_request *request, const char *name);

/* A '+' that a portal did not code has become a blank; no code holds one. */
static struct cw_span restore_plus(struct cw_request *request, struct cw_span code)
{
    char *copy = code.ptr == NULL ? NULL : cw_arena_text(cw_request_arena(request), code);
    for (size_t i = 0; copy != NULL && i < code.len; i++) {
        copy[i] = copy[i] == ' ' ? '+' : copy[i];
    }
    return cw_span_of(copy, copy == NULL ? 0 : code.len);
}

static struct cw_callback_input read_input(struct cw_request *request, text_fn *text)
{
    struct cw_callback *app = cw_request_context(request);
    struct cw_callback_input input = {
        .slug = cw_request_path_var(request, "registration"),
        .state = text(request, "state"),
        .code = restore_plus(request, text(request, "code")),
        .iss = text(request, "iss"),
        .error = text(request, "error"),
        .error_text = text(request, "error_description"),
        .error_uri = text(request, "error_uri"),
        .browser = cw_browser_cookie(request, app->secure),
    };
    if (input.error_text.len == 0) {
        input.error_text = input.error_uri; /* Oracle tells no description */
    }
    return input;
}

static void get_callback(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_callback *app = cw_request_context(request);
    struct cw_callback_input input = read_input(request, cw_query_text);
    struct cw_callback_outcome outcome;
    struct cw_err err = { .code = CW_OK };
    cw_callback_finish(app, &input, cw_request_id(request), cw_request_arena(request), &outcome, &err);
    switch (outcome.end) {
    case CW_CALLBACK_CONNECTED:
    case CW_CALLBACK_FAILED:
        cw_callback_go_on(app, request, reply, &outcome);
        break;
    case CW_CALLBACK_FOREIGN_BROWSER:
        cw_callback_message(request, reply, 403, "callback.browser_title", "callback.browser_text");
        break;
    case CW_CALLBACK_NO_STATE:
        cw_callback_message(request, reply, 400, "callback.state_title", "callback.state_text");
        break;
    case CW_CALLBACK_FAULT:
        cw_reply_fault_code(reply, err.code == CW_OK ? CW_E_UNAVAILABLE : err.code, &err);
        break;
    }
}

/* response_mode=form_post: another site's POST brings no Lax cookie. Our own page asks again as a GET, which does. */
static void post_callback(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_callback_input input = read_input(request, cw_form_text);
    cw_callback_resubmit(request, reply, &input);
}

static void get_jwks(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_callback *app = cw_request_context(request);
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_signing_jwks(&app->model, cw_reply_body(reply), &err);
    if (rc != CW_OK) {
        cw_str_clear(cw_reply_body(reply));
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    cw_reply_json(reply, 200);
    cw_reply_header(reply, "Cache-Control", JWKS_CACHE);
}

const struct cw_route cw_callback_routes[] = {
    { .name = "callback.get", .method = CW_GET, .path = "/callback/{registration}", .handler = get_callback,
      .query = answer_inputs, .unknown_query_ok = true, .flags = LIMITED, .doc = "The portal's answer." },
    { .name = "callback.post", .method = CW_POST, .path = "/callback/{registration}", .handler = post_callback,
      .form = answer_inputs, .body = CW_BODY_FORM, .unknown_query_ok = true, .unknown_form_ok = true, .flags = LIMITED,
      .doc = "The portal's answer as a form (response_mode=form_post)." },
    { .name = "jwks.get", .method = CW_GET, .path = "/.well-known/jwks.json", .handler = get_jwks,
      .unknown_query_ok = true, .doc = "Our public keys: current, next and previous." },
};
const size_t cw_callback_route_count = CW_ARRAY_LEN(cw_callback_routes);

bool cw_callback_admit(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_callback *app = cw_request_context(request);
    unsigned wait_s = 0;
    unsigned most = (unsigned)cw_config_int(app->config, CW_CONF_LIMIT_CALLBACK_PER_ADDRESS);
    if ((cw_request_route(request)->flags & LIMITED) == 0 ||
        cw_limiter_take(app->limiter, "callback", cw_span_cstr(cw_request_address(request)), most, &wait_s)) {
        return true;
    }
    char text[16];
    (void)snprintf(text, sizeof text, "%u", wait_s);
    cw_reply_header(reply, "Retry-After", text);
    cw_callback_fault_page(request, reply, 429, "rate_limited");
    return false;
}
