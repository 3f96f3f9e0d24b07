/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints of one authorization as a small JSON text. */
#include "config.h"

#include "smart/pinned.h"

#include "base/json.h"
#include "base/jsonw.h"

struct cw_pinned cw_pinned_of(const struct cw_discovery *discovery, const char *base, const char *profile)
{
    return (struct cw_pinned){
        .base = base,
        .issuer = discovery->issuer,
        .authorization_endpoint = discovery->authorization_endpoint,
        .token_endpoint = discovery->token_endpoint,
        .revocation_endpoint = discovery->revocation_endpoint,
        .jwks_uri = discovery->jwks_uri,
        .registration_endpoint = discovery->registration_endpoint,
        .userinfo_endpoint = discovery->userinfo_endpoint,
        .management_endpoint = discovery->management_endpoint,
        .profile = profile,
        .profile_why = "",
        .auth_methods = discovery->auth_methods,
        .auth_algs = discovery->auth_algs,
        .iss_parameter = discovery->iss_parameter,
    };
}

/* Members that came later are left out by those who make one by hand. */
static const char *some(const char *text)
{
    return text == NULL ? "" : text;
}

enum cw_code cw_pinned_emit(const struct cw_pinned *pinned, struct cw_str *out)
{
    struct cw_span base = cw_span_cstr(pinned->base);
    while (cw_span_ends(base, CW_SPAN("/"))) {
        base.len--;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_text(&w, "base", base);
    cw_jsonw_key_cstr(&w, "issuer", pinned->issuer);
    cw_jsonw_key_cstr(&w, "authorization_endpoint", pinned->authorization_endpoint);
    cw_jsonw_key_cstr(&w, "token_endpoint", pinned->token_endpoint);
    cw_jsonw_key_cstr(&w, "revocation_endpoint", pinned->revocation_endpoint);
    cw_jsonw_key_cstr(&w, "jwks_uri", pinned->jwks_uri);
    cw_jsonw_key_cstr(&w, "userinfo_endpoint", some(pinned->userinfo_endpoint));
    cw_jsonw_key_cstr(&w, "registration_endpoint", some(pinned->registration_endpoint));
    cw_jsonw_key_cstr(&w, "management_endpoint", some(pinned->management_endpoint));
    cw_jsonw_key_cstr(&w, "profile", pinned->profile);
    cw_jsonw_key_cstr(&w, "profile_why", some(pinned->profile_why));
    cw_jsonw_key_int(&w, "auth_methods", pinned->auth_methods);
    cw_jsonw_key_int(&w, "auth_algs", pinned->auth_algs);
    cw_jsonw_key_bool(&w, "iss_parameter", pinned->iss_parameter);
    cw_jsonw_key_int(&w, "scope_step", pinned->scope_step);
    cw_jsonw_key_bool(&w, "aud_toggled", pinned->aud_toggled);
    cw_jsonw_key_bool(&w, "worked_lately", pinned->worked_lately);
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

static const char *member(const json_t *root, const char *name, struct cw_arena *arena)
{
    struct cw_span text = cw_json_peek_text(root, name);
    return text.len == 0 ? "" : cw_arena_text(arena, text);
}

enum cw_code cw_pinned_parse(struct cw_span text, struct cw_arena *arena, struct cw_pinned *ret_pinned, struct cw_err *err)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { .max_bytes = CW_PINNED_MAX, .max_depth = 4 };
    enum cw_code rc = cw_json_parse(text, limits, &root, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_pinned pinned = {
        .base = member(root, "base", arena),
        .issuer = member(root, "issuer", arena),
        .authorization_endpoint = member(root, "authorization_endpoint", arena),
        .token_endpoint = member(root, "token_endpoint", arena),
        .revocation_endpoint = member(root, "revocation_endpoint", arena),
        .jwks_uri = member(root, "jwks_uri", arena),
        .userinfo_endpoint = member(root, "userinfo_endpoint", arena),
        .registration_endpoint = member(root, "registration_endpoint", arena),
        .management_endpoint = member(root, "management_endpoint", arena),
        .profile = member(root, "profile", arena),
        .profile_why = member(root, "profile_why", arena),
        .auth_methods = (unsigned)json_integer_value(json_object_get(root, "auth_methods")),
        .auth_algs = (unsigned)json_integer_value(json_object_get(root, "auth_algs")),
        .iss_parameter = json_is_true(json_object_get(root, "iss_parameter")),
        .scope_step = (unsigned)json_integer_value(json_object_get(root, "scope_step")),
        .aud_toggled = json_is_true(json_object_get(root, "aud_toggled")),
        .worked_lately = json_is_true(json_object_get(root, "worked_lately")),
    };
    if (pinned.base == NULL || pinned.issuer == NULL || pinned.authorization_endpoint == NULL ||
        pinned.token_endpoint == NULL || pinned.revocation_endpoint == NULL || pinned.jwks_uri == NULL ||
        pinned.userinfo_endpoint == NULL || pinned.registration_endpoint == NULL || pinned.management_endpoint == NULL || pinned.profile == NULL || pinned.profile_why == NULL) {
        return cw_err_set(err, CW_E_OOM, "pinned", "out of memory");
    }
    if (pinned.base[0] == '\0' || pinned.token_endpoint[0] == '\0') {
        return cw_err_set(err, CW_E_MISSING, "pinned", "no base or token endpoint");
    }
    *ret_pinned = pinned;
    return CW_OK;
}
