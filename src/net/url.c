/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs by libcurl's own parser. The text is checked before it gets there for what the parser is generous about (user
 * names, backslashes, one slash or three, coded host names), and what comes out is the text that the transfer gets, so
 * that the check and the request cannot see two different hosts.
 */
#include "config.h"

#include "net/url.h"

#include <curl/curl.h>

#include "base/limits.h"

struct cw_url {
    char *text;
    char *host;
    char *path;
    char *query; /* NULL when there is none */
    const char *scheme;
    unsigned port;
};

void cw_url_free(struct cw_url *url)
{
    if (url == NULL) {
        return;
    }
    free(url->text);
    free(url->host);
    free(url->path);
    free(url->query);
    free(url);
}

static void curlu_release(CURLU **handle)
{
    curl_url_cleanup(*handle);
}
#define AUTO_CURLU CW_CLEANUP(curlu_release) CURLU

static enum cw_code bad(struct cw_err *err, const char *why)
{
    return cw_err_set(err, CW_E_SYNTAX, "url", "%s", why);
}

/* What a whole URL may look like before libcurl sees it. */
static const char *text_fault(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '\\') {
            return "a character that a URL cannot hold";
        }
    }
    size_t colon = cw_span_find(text, ':');
    struct cw_span scheme = cw_span_upto(text, colon);
    if (!cw_span_eq_nocase(scheme, CW_SPAN("https")) && !cw_span_eq_nocase(scheme, CW_SPAN("http"))) {
        return "not an absolute http or https URL";
    }
    struct cw_span rest = cw_span_from(text, colon);
    if (!cw_span_starts(rest, CW_SPAN("://"))) {
        return "not an absolute http or https URL";
    }
    rest = cw_span_from(rest, 3);
    size_t end = 0;
    while (end < rest.len && strchr("/?#", rest.ptr[end]) == NULL) {
        end++;
    }
    struct cw_span authority = cw_span_upto(rest, end);
    if (authority.len == 0) {
        return "no host";
    }
    /* A coded host or a zone id would be decoded by the parser; a user name hides the host from the reader. */
    if (cw_span_find(authority, '@') < authority.len || cw_span_find(authority, '%') < authority.len) {
        return "user name or coded host";
    }
    return NULL;
}

static enum cw_code from_curlue(CURLUcode rc, struct cw_err *err)
{
    if (rc == CURLUE_OUT_OF_MEMORY) {
        return cw_err_set(err, CW_E_OOM, "url", "out of memory");
    }
    return cw_err_sys(err, CW_E_SYNTAX, (int)rc, "url", "%s", curl_url_strerror(rc));
}

/* A part as our own string (libcurl's allocator may be another); NULL for an absent one. */
static enum cw_code part(CURLU *handle, CURLUPart what, CURLUcode absent, char **ret, struct cw_err *err)
{
    char *value = NULL;
    *ret = NULL;
    CURLUcode rc = curl_url_get(handle, what, &value, 0);
    if (rc == absent && rc != CURLUE_OK) {
        return CW_OK;
    }
    if (rc != CURLUE_OK) {
        return from_curlue(rc, err);
    }
    *ret = strdup(value);
    curl_free(value);
    return *ret != NULL ? CW_OK : cw_err_set(err, CW_E_OOM, "url", "out of memory");
}

static void lower(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'A' && *text <= 'Z') {
            *text = (char)(*text - 'A' + 'a');
        }
    }
}

static enum cw_code compose(struct cw_url *url, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_LINK_MAX);
    (void)cw_url_origin(url, &text);
    (void)cw_str_add_cstr(&text, url->path);
    if (url->query != NULL) {
        (void)cw_str_add_char(&text, '?');
        (void)cw_str_add_cstr(&text, url->query);
    }
    enum cw_code rc = cw_str_code(&text);
    if (rc == CW_OK && (url->text = cw_str_take(&text)) == NULL) {
        rc = CW_E_OOM;
    }
    return rc == CW_OK ? rc : cw_err_set(err, rc, "url", "cannot keep the URL");
}

static enum cw_code from_handle(CURLU *handle, struct cw_url *url, struct cw_err *err)
{
    char *scheme = NULL;
    char *port = NULL;
    enum cw_code rc = part(handle, CURLUPART_SCHEME, CURLUE_OK, &scheme, err);
    if (rc == CW_OK) {
        url->scheme = strcmp(scheme, "https") == 0 ? "https" : "http";
        url->port = url->scheme[4] == 's' ? 443 : 80;
        rc = part(handle, CURLUPART_HOST, CURLUE_OK, &url->host, err);
    }
    if (rc == CW_OK) {
        lower(url->host);
        rc = part(handle, CURLUPART_PATH, CURLUE_OK, &url->path, err);
    }
    if (rc == CW_OK) {
        rc = part(handle, CURLUPART_QUERY, CURLUE_NO_QUERY, &url->query, err);
    }
    if (rc == CW_OK) {
        rc = part(handle, CURLUPART_PORT, CURLUE_NO_PORT, &port, err);
    }
    uint64_t number = 0;
    if (rc == CW_OK && port != NULL) {
        if (!cw_span_u64(cw_span_cstr(port), 65535, &number) || number == 0) {
            rc = bad(err, "port out of range");
        } else {
            url->port = (unsigned)number;
        }
    }
    free(scheme);
    free(port);
    return rc == CW_OK ? compose(url, err) : rc;
}

enum cw_code cw_url_parse(struct cw_span text, struct cw_url **ret_url, struct cw_err *err)
{
    if (text.len > CW_LINK_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "url", "longer than %u bytes", CW_LINK_MAX);
    }
    const char *fault = text_fault(text);
    if (fault != NULL) {
        return bad(err, fault);
    }
    AUTO_CURLU *handle = curl_url();
    char *copy = cw_span_dup(text);
    struct cw_url *url = calloc(1, sizeof *url);
    enum cw_code rc = CW_E_OOM;
    if (handle == NULL || copy == NULL || url == NULL) {
        (void)cw_err_set(err, rc, "url", "out of memory");
    } else {
        CURLUcode set = curl_url_set(handle, CURLUPART_URL, copy, CURLU_DISALLOW_USER);
        rc = set == CURLUE_OK ? from_handle(handle, url, err) : from_curlue(set, err);
    }
    free(copy);
    if (rc != CW_OK) {
        cw_url_free(url);
        return rc;
    }
    *ret_url = url;
    return CW_OK;
}

/* Codes what links of real servers hold though they must not. */
static enum cw_code clean_reference(struct cw_span reference, struct cw_str *out)
{
    bool query = false;
    for (size_t i = 0; i < reference.len; i++) {
        char c = reference.ptr[i];
        if (c == '#') {
            break; /* a fragment is never sent */
        }
        query = query || c == '?';
        const char *coded = c == ' '             ? "%20"
                            : c == '|'           ? "%7C"
                            : c == '"'           ? "%22"
                            : c == '+' && query ? "%2B"
                                                 : NULL;
        if (coded != NULL) {
            (void)cw_str_add_cstr(out, coded);
        } else {
            (void)cw_str_add_char(out, c);
        }
    }
    return cw_str_code(out);
}

/* True for "scheme:" at the start. */
static bool has_scheme(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == ':') {
            return i > 0;
        }
        if (c == '/' || c == '?' || c == '#') {
            return false;
        }
    }
    return false;
}

enum cw_code cw_url_resolve(const struct cw_url *base, struct cw_span reference, struct cw_url **ret_url,
                            struct cw_err *err)
{
    CW_AUTO_STR clean;
    cw_str_init(&clean, CW_LINK_MAX);
    enum cw_code rc = clean_reference(cw_span_trim(reference), &clean);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "url", "reference too long");
    }
    struct cw_span text = cw_str_span(&clean);
    if (has_scheme(text)) {
        return cw_url_parse(text, ret_url, err);
    }
    if (text.len == 0) {
        return cw_url_parse(cw_span_cstr(base->text), ret_url, err);
    }
    CW_AUTO_STR whole;
    cw_str_init(&whole, CW_LINK_MAX);
    if (cw_span_starts(text, CW_SPAN("//"))) {
        (void)cw_str_add_cstr(&whole, base->scheme);
        (void)cw_str_add_char(&whole, ':');
    } else {
        /* RFC 3986 5.2.3: everything of the base's path up to its last slash; dot segments go when the whole is parsed. */
        (void)cw_url_origin(base, &whole);
        if (text.ptr[0] == '?') {
            (void)cw_str_add_cstr(&whole, base->path);
        } else if (text.ptr[0] != '/') {
            size_t keep = (size_t)(strrchr(base->path, '/') - base->path) + 1;
            (void)cw_str_add(&whole, base->path, keep);
        }
    }
    (void)cw_str_add_span(&whole, text);
    rc = cw_str_code(&whole);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "url", "reference too long");
    }
    return cw_url_parse(cw_str_span(&whole), ret_url, err);
}

const char *cw_url_text(const struct cw_url *url)
{
    return url->text;
}

const char *cw_url_scheme(const struct cw_url *url)
{
    return url->scheme;
}

const char *cw_url_host(const struct cw_url *url)
{
    return url->host;
}

unsigned cw_url_port(const struct cw_url *url)
{
    return url->port;
}

const char *cw_url_path(const struct cw_url *url)
{
    return url->path;
}

struct cw_span cw_url_query(const struct cw_url *url)
{
    return cw_span_cstr(url->query);
}

enum cw_code cw_url_origin(const struct cw_url *url, struct cw_str *out)
{
    bool standard = url->port == (url->scheme[4] == 's' ? 443u : 80u);
    (void)cw_str_add_cstr(out, url->scheme);
    (void)cw_str_add_cstr(out, "://");
    (void)cw_str_add_cstr(out, url->host);
    return standard ? cw_str_code(out) : cw_str_addf(out, ":%u", url->port);
}

/* Decodes %2e alone, since that is how a dot is hidden. */
static bool is_dot_segment(struct cw_span segment)
{
    struct cw_span name;
    (void)cw_span_cut(&segment, ';', &name); /* "..;x" is ".." to servlet containers */
    unsigned dots = 0;
    while (name.len > 0) {
        if (name.ptr[0] == '.') {
            name = cw_span_from(name, 1);
        } else if (name.len >= 3 && cw_span_eq_nocase(cw_span_upto(name, 3), CW_SPAN("%2e"))) {
            name = cw_span_from(name, 3);
        } else {
            return false;
        }
        dots++;
    }
    return dots == 1 || dots == 2;
}

/* Anything that some server on the way may read as a step upwards. */
static bool climbs(struct cw_span path)
{
    static const struct cw_span tricks[] = { { "%2f", 3 }, { "%5c", 3 }, { "%252", 4 }, { "%255", 4 }, { "%00", 3 } };
    for (size_t i = 0; i < path.len; i++) {
        for (size_t t = 0; t < CW_ARRAY_LEN(tricks); t++) {
            struct cw_span here = cw_span_upto(cw_span_from(path, i), tricks[t].len);
            if (path.ptr[i] == '\\' || cw_span_eq_nocase(here, tricks[t])) {
                return true;
            }
        }
    }
    struct cw_span segment;
    bool more = true;
    while (more) {
        more = cw_span_cut(&path, '/', &segment);
        if (is_dot_segment(segment)) {
            return true;
        }
    }
    return false;
}

bool cw_url_is_under(const struct cw_url *url, const struct cw_url *base)
{
    if (strcmp(url->scheme, base->scheme) != 0 || strcmp(url->host, base->host) != 0 || url->port != base->port) {
        return false;
    }
    struct cw_span prefix = cw_span_cstr(base->path);
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    struct cw_span path = cw_span_cstr(url->path);
    if (!cw_span_starts(path, prefix)) {
        return false;
    }
    struct cw_span rest = cw_span_from(path, prefix.len);
    return (rest.len == 0 || rest.ptr[0] == '/') && !climbs(rest);
}

enum cw_code cw_url_normal_base(struct cw_span text, struct cw_str *out, struct cw_err *err)
{
    struct cw_url *url = NULL;
    enum cw_code rc = cw_url_parse(cw_span_trim(text), &url, err);
    if (rc != CW_OK) {
        return rc;
    }
    CW_AUTO_STR base;
    cw_str_init(&base, CW_URL_MAX);
    struct cw_span path = cw_span_cstr(url->path);
    while (path.len > 0 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    (void)cw_url_origin(url, &base);
    rc = cw_str_add_span(&base, path);
    if (rc != CW_OK) {
        (void)cw_err_set(err, rc, "url", "longer than %u bytes", CW_URL_MAX);
    } else if (url->query != NULL) {
        rc = bad(err, "a FHIR base with a query");
    } else if ((rc = cw_str_add_span(out, cw_str_span(&base))) != CW_OK) {
        (void)cw_err_set(err, rc, "url", "cannot keep the URL");
    }
    cw_url_free(url);
    return rc;
}
