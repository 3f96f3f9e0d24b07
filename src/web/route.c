/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the route of a path. A path is matched as the browser sent it (REQUEST_URI), segment by segment, each decoded once: the web
 * server's own decoding would turn "%2F" inside an id into a separator, and its normalising must not be done twice.
 */
#include "config.h"

#include "web/web_int.h"

#include "base/text.h"

#define SEGMENT_MAX 4096u

static const struct {
    unsigned bit;
    const char *name;
} methods[CW_METHODS] = {
    { CW_GET, "GET" }, { CW_POST, "POST" }, { CW_PUT, "PUT" }, { CW_PATCH, "PATCH" }, { CW_DELETE, "DELETE" },
};

const char *cw_method_name(unsigned method)
{
    for (size_t i = 0; i < CW_METHODS; i++) {
        if (methods[i].bit == method) {
            return methods[i].name;
        }
    }
    return "other";
}

/* "{id}" → "id", "{rest...}" → "rest" with *ret_rest. False for a literal segment. */
static bool variable(struct cw_span segment, struct cw_span *ret_name, bool *ret_rest)
{
    if (segment.len < 3 || segment.ptr[0] != '{' || segment.ptr[segment.len - 1] != '}') {
        return false;
    }
    struct cw_span name = { segment.ptr + 1, segment.len - 2 };
    *ret_rest = cw_span_ends(name, CW_SPAN("..."));
    *ret_name = *ret_rest ? cw_span_upto(name, name.len - 3) : name;
    return true;
}

/* Decodes one segment into the arena; absent span when it is not one (broken %, bad UTF-8, controls, empty, too long). */
static enum cw_code decode(struct cw_arena *arena, struct cw_span raw, struct cw_span *ret_value)
{
    *ret_value = (struct cw_span){ NULL, 0 };
    CW_AUTO_STR text;
    cw_str_init(&text, SEGMENT_MAX);
    enum cw_code rc = cw_percent_decode(raw, false, &text);
    if (rc == CW_E_OOM) {
        return rc;
    }
    struct cw_span value = cw_str_span(&text);
    if (rc != CW_OK || value.len == 0 || !cw_utf8_valid(value) || cw_utf8_has_control(value)) {
        return CW_OK;
    }
    *ret_value = cw_arena_span(arena, value);
    return ret_value->ptr == NULL ? CW_E_OOM : CW_OK;
}

/* Takes the value of a path variable; *ret_fits is false when it is not clean text. */
static enum cw_code bind(struct cw_match *match, struct cw_arena *arena, struct cw_span name, struct cw_span raw,
                         bool *ret_fits)
{
    struct cw_span value;
    enum cw_code rc = decode(arena, raw, &value);
    *ret_fits = rc == CW_OK && value.ptr != NULL;
    if (*ret_fits) {
        match->names[match->count] = name;
        match->values[match->count++] = value;
    }
    return rc;
}

/* Compares one route's path. *ret_fits is false for another path. */
static enum cw_code match_one(const struct cw_route *route, struct cw_arena *arena, struct cw_span path,
                              struct cw_match *match, bool *ret_fits)
{
    struct cw_span pattern = cw_span_cstr(route->path);
    bool more = true;
    while (more) {
        struct cw_span want;
        struct cw_span have;
        struct cw_span name;
        bool rest = false;
        bool more_pattern = cw_span_cut(&pattern, '/', &want);
        bool is_variable = variable(want, &name, &rest);
        if (rest) {
            return bind(match, arena, name, path, ret_fits);
        }
        more = cw_span_cut(&path, '/', &have);
        *ret_fits = more == more_pattern && (is_variable || cw_span_eq(want, have));
        enum cw_code rc = *ret_fits && is_variable ? bind(match, arena, name, have, ret_fits) : CW_OK;
        if (rc != CW_OK || !*ret_fits) {
            return rc;
        }
    }
    return CW_OK;
}

enum cw_code cw_route_find(const struct cw_web_app *app, struct cw_arena *arena, struct cw_span path, unsigned method,
                           struct cw_match *ret_match)
{
    *ret_match = (struct cw_match){ .route = NULL };
    struct cw_span mount = cw_span_cstr(app->mount);
    if (!cw_span_starts(path, mount)) {
        return CW_OK;
    }
    path = cw_span_from(path, mount.len);
    if (path.len == 0) {
        path = CW_SPAN("/");
    }
    for (size_t i = 0; i < app->route_count; i++) {
        struct cw_match match = { .route = &app->routes[i] };
        bool fits = false;
        enum cw_code rc = match_one(match.route, arena, path, &match, &fits);
        if (rc != CW_OK) {
            return rc;
        }
        if (!fits) {
            continue;
        }
        unsigned allowed = ret_match->allowed | match.route->method;
        if ((match.route->method & method) != 0) {
            *ret_match = match;
            ret_match->allowed = allowed;
            return CW_OK;
        }
        ret_match->allowed = allowed;
    }
    return CW_OK;
}

void cw_routes_check(const struct cw_web_app *app)
{
    for (size_t i = 0; i < app->route_count; i++) {
        const struct cw_route *route = &app->routes[i];
        struct cw_span pattern = cw_span_cstr(route->path);
        struct cw_span segment;
        size_t variables = 0;
        bool more = true;
        if (pattern.len == 0 || pattern.ptr[0] != '/') {
            cw_bug("a route's path must start with a slash");
        }
        while (more) {
            struct cw_span name;
            bool rest = false;
            more = cw_span_cut(&pattern, '/', &segment);
            variables += variable(segment, &name, &rest);
            if (rest && more) {
                cw_bug("a {rest...} must be the last segment");
            }
        }
        if (variables > CW_PATH_VARS_MAX || cw_method_name(route->method)[0] == 'o' || route->handler == NULL ||
            (route->form != NULL && route->body != CW_BODY_FORM)) {
            cw_bug(route->name);
        }
    }
}
