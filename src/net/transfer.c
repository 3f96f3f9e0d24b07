/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange on one easy handle. Every option is set anew on a reset handle, so that nothing of an earlier request stays;
 * connections, TLS sessions and the parsed CA bundle survive the reset (a new handle costs 22 ms for the bundle). Bytes are
 * counted in the callbacks, since CURLOPT_MAXFILESIZE does nothing for chunked or decompressed data.
 */
#include "config.h"

#include "net/transfer.h"

#include <pthread.h>

#include "base/limits.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/time.h"
#include "net/certificate.h"
#include "os/sys.h"

#define RETRY_AFTER_MAX_S 86400
#define KEPT_CONNECTION_S 300L
#define WIRE_SLACK 4096 /* what a compressed body that does not shrink may have over its content */

static void init_once(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        cw_bug("libcurl cannot start");
    }
}

void cw_net_library_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
}

/* True when the body grows by unpacking as no document does. The bytes in libcurl's hands may not be counted yet. */
static bool is_bomb(const struct cw_transfer *t)
{
    curl_off_t wire = 0;
    return t->codings > 0 && curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &wire) == CURLE_OK &&
           t->received / CW_HTTP_RATIO_MAX > (size_t)wire + CURL_MAX_WRITE_SIZE;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    struct cw_transfer *t = arg;
    if (len > t->body_max - t->received) {
        t->too_big = true;
        return CURL_WRITEFUNC_ERROR;
    }
    t->received += len;
    if (is_bomb(t)) {
        t->too_big = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (t->chunk != NULL) {
        t->stopped = !t->chunk(t->chunk_arg, cw_span_of(bytes, len));
        return t->stopped ? CURL_WRITEFUNC_ERROR : len;
    }
    if (cw_str_add(&t->response->body, bytes, len) != CW_OK) {
        t->oom = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* Called all the time, with the bytes of the body as they came: a compressed one can be endless and unpack to nothing. */
static int on_progress(void *arg, curl_off_t total, curl_off_t wire, curl_off_t up_total, curl_off_t up)
{
    (void)total;
    (void)up_total;
    (void)up;
    struct cw_transfer *t = arg;
    if (wire > 0 && (uint64_t)wire > t->body_max + t->body_max / 64 + WIRE_SLACK) {
        t->too_big = true;
        return 1;
    }
    return 0;
}

/* False for what libcurl would unpack though we have not asked for it: brotli, zstd (which takes memory as the sender likes), or one
 * coding inside another. */
static bool coding_taken(struct cw_transfer *t, struct cw_span line)
{
    static const char *const taken[] = { "gzip", "x-gzip", "deflate" };
    struct cw_span name;
    if (!cw_span_cut(&line, ':', &name) || !cw_span_eq_nocase(name, CW_SPAN("Content-Encoding"))) {
        return true;
    }
    struct cw_span value = cw_span_trim(line);
    if (value.len == 0 || cw_span_eq_nocase(value, CW_SPAN("identity"))) {
        return true;
    }
    t->codings++;
    for (size_t i = 0; i < CW_ARRAY_LEN(taken); i++) {
        if (cw_span_eq_nocase(value, cw_span_cstr(taken[i]))) {
            return t->codings == 1;
        }
    }
    return false;
}

static size_t on_header(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    struct cw_transfer *t = arg;
    if (len > CW_HTTP_HEADERS_MAX - t->header_bytes) {
        t->too_big = true;
        return CURL_WRITEFUNC_ERROR;
    }
    t->header_bytes += len;
    if (cw_span_starts(cw_span_of(bytes, len), CW_SPAN("HTTP/"))) {
        cw_str_clear(&t->response->headers); /* after 100 or 103 comes the real one */
        t->codings = 0;
        t->head_ended = false;
    }
    t->head_ended = t->head_ended || bytes[0] == '\r' || bytes[0] == '\n';
    if (!coding_taken(t, cw_span_of(bytes, len))) {
        t->bad_coding = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (cw_str_add(&t->response->headers, bytes, len) != CW_OK) {
        t->oom = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* Called for every resolved address before any packet leaves. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct cw_transfer *t = arg;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        (!t->allowed && !cw_address_is_public(&address->addr, (socklen_t)address->addrlen))) {
        t->blocked = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Called when the connection (new or kept) is ready and the request is about to go: the second look at the peer. */
static int on_ready(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    (void)own;
    (void)peer_port;
    (void)own_port;
    struct cw_transfer *t = arg;
    if (!t->allowed && !cw_address_text_is_public(peer)) {
        t->blocked = true;
        return CURL_PREREQFUNC_ABORT;
    }
    t->response->request_sent = true;
    return CURL_PREREQFUNC_OK;
}

static bool header_safe(struct cw_span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == '\r' || c == '\n' || c == '\0') {
            return false;
        }
    }
    return true;
}

static enum cw_code add_header(struct cw_transfer *t, const char *name, struct cw_span value, struct cw_err *err)
{
    if (!header_safe(value)) {
        return cw_err_set(err, CW_E_RANGE, "http", "a line break or NUL in header %s", name);
    }
    CW_AUTO_STR line;
    cw_str_init_secret(&line, CW_HTTP_HEADERS_MAX);
    (void)cw_str_add_cstr(&line, name);
    (void)cw_str_add_cstr(&line, value.len == 0 ? ":" : ": "); /* libcurl: "name:" leaves its own header out */
    (void)cw_str_add_span(&line, value);
    enum cw_code rc = cw_str_code(&line);
    struct curl_slist *longer = rc == CW_OK ? curl_slist_append(t->headers, cw_str_cstr(&line)) : NULL;
    if (longer == NULL) {
        rc = rc == CW_OK ? CW_E_OOM : rc;
        return cw_err_set(err, rc, "http", "cannot build header %s", name);
    }
    t->headers = longer;
    return CW_OK;
}

static enum cw_code add_credentials(struct cw_transfer *t, const struct cw_http_request *request, struct cw_err *err)
{
    CW_AUTO_STR value;
    cw_str_init_secret(&value, CW_HTTP_HEADERS_MAX);
    if (request->bearer.ptr != NULL) {
        (void)cw_str_add_cstr(&value, "Bearer ");
        (void)cw_str_add_span(&value, request->bearer);
    } else if (request->basic.ptr != NULL) {
        (void)cw_str_add_cstr(&value, "Basic ");
        (void)cw_base64_encode(request->basic, &value);
    } else {
        return CW_OK;
    }
    enum cw_code rc = cw_str_code(&value);
    return rc == CW_OK ? add_header(t, "Authorization", cw_str_span(&value), err)
                       : cw_err_set(err, rc, "http", "cannot build Authorization");
}

static enum cw_code add_headers(struct cw_transfer *t, const struct cw_http_request *request, bool with_credentials,
                                struct cw_err *err)
{
    const char *accept = request->accept == NULL ? "application/json" : request->accept;
    enum cw_code rc = add_header(t, "Accept", cw_span_cstr(accept), err);
    if (rc == CW_OK) {
        rc = add_header(t, "Expect", CW_SPAN(""), err); /* no 100-continue: some servers wait for ever */
    }
    if (rc == CW_OK && request->body.ptr != NULL) {
        rc = add_header(t, "Content-Type", cw_span_cstr(request->content_type), err);
    }
    if (rc == CW_OK && with_credentials) {
        rc = add_credentials(t, request, err);
    }
    for (size_t i = 0; rc == CW_OK && with_credentials && i < request->header_count; i++) {
        rc = add_header(t, request->headers[i].name, request->headers[i].value, err);
    }
    return rc;
}

static void set_policy(struct cw_transfer *t)
{
    CURL *easy = t->easy;
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* else a name server that is silent holds up this thread beyond the time */
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, t->allowed ? "http,https" : "https");
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* the *_proxy variables are not ours */
    (void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, KEPT_CONNECTION_S);
    (void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "Chartway/" PACKAGE_VERSION);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, t);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
}

static bool set_method(CURL *easy, const struct cw_http_request *request, bool copy_body)
{
    static const char *const names[] = { "GET", "POST", "HEAD", "PUT", "DELETE" };
    CURLcode rc = CURLE_OK;
    if (request->body.ptr != NULL || request->method == CW_HTTP_POST) {
        const char *body = request->body.ptr == NULL ? "" : request->body.ptr;
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        rc = curl_easy_setopt(easy, copy_body ? CURLOPT_COPYPOSTFIELDS : CURLOPT_POSTFIELDS, body);
    }
    if (request->method == CW_HTTP_HEAD) {
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (request->method != CW_HTTP_GET && request->method != CW_HTTP_POST) {
        (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, names[request->method]);
    }
    return rc == CURLE_OK;
}

/* Where libcurl was built with a bundle, its folder of single certificates says the same again: with it no parsed bundle is kept (20 ms for
 * each connection), and beside a file of the operator's it would trust the system's as well. */
static bool has_system_bundle(void)
{
    return curl_version_info(CURLVERSION_NOW)->cainfo != NULL;
}

/* The options that copy text, which can fail. */
static enum cw_code set_target(struct cw_transfer *t, const struct cw_http_request *request, bool copy_body,
                               struct cw_err *err)
{
    const char *ca_file = cw_net_policy_ca_file(t->policy);
    int64_t left_ms = (t->deadline_us - cw_monotonic_us()) / 1000;
    if (left_ms <= 0) {
        return cw_err_set(err, CW_E_TIMEOUT, "http", "%s: no time left", cw_url_host(t->url));
    }
    (void)curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)cw_net_policy_connect_ms(t->policy));
    bool fresh = request->fresh_connection || request->want_certificate; /* a kept connection tells no certificate */
    (void)curl_easy_setopt(t->easy, CURLOPT_CERTINFO, request->want_certificate ? 1L : 0L);
    (void)curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    (void)curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
    (void)curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    bool ok = curl_easy_setopt(t->easy, CURLOPT_URL, cw_url_text(t->url)) == CURLE_OK;
    ok = ok && (ca_file[0] == '\0' || curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca_file) == CURLE_OK);
    if (ca_file[0] != '\0' || has_system_bundle()) {
        ok = ok && curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    ok = ok && set_method(t->easy, request, copy_body);
    return ok ? CW_OK : cw_err_set(err, CW_E_OOM, "http", "out of memory");
}

static void release_headers(struct cw_transfer *t)
{
    for (struct curl_slist *at = t->headers; at != NULL; at = at->next) {
        cw_wipe(at->data, strlen(at->data)); /* one of them is the bearer token */
    }
    curl_slist_free_all(t->headers);
    t->headers = NULL;
}

enum cw_code cw_transfer_prepare(struct cw_transfer *t, const struct cw_http_request *request, struct cw_url *url,
                                 bool with_credentials, bool copy_body, struct cw_err *err)
{
    release_headers(t);
    cw_url_free(t->url);
    t->url = url;
    t->body_max = request->body_max;
    t->is_get = request->method == CW_HTTP_GET;
    t->received = 0;
    t->header_bytes = 0;
    t->codings = 0;
    t->head_ended = false;
    t->blocked = t->too_big = t->stopped = t->oom = t->bad_coding = false;
    t->response->status = 0;
    cw_str_clear(&t->response->body);
    cw_str_clear(&t->response->headers);
    t->response->body.max = request->body_max;
    enum cw_code rc = cw_net_policy_check(t->policy, url, err);
    if (rc != CW_OK) {
        return rc;
    }
    t->allowed = cw_net_policy_allows(t->policy, url);
    rc = add_headers(t, request, with_credentials, err);
    if (rc != CW_OK) {
        return rc;
    }
    curl_easy_reset(t->easy);
    set_policy(t);
    return set_target(t, request, copy_body, err);
}

/* Seconds from Retry-After: a number, or a date as seen from our clock. */
static long retry_after(const struct cw_http_response *response)
{
    struct cw_span value = cw_http_header_get(response, "Retry-After");
    uint64_t seconds = 0;
    int64_t date_us = 0;
    if (value.ptr == NULL) {
        return -1;
    }
    if (cw_span_u64(value, UINT64_MAX, &seconds)) {
        return seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (long)seconds;
    }
    if (!cw_time_parse_http(value, &date_us)) {
        return -1;
    }
    int64_t wait = (date_us - cw_now_us() + CW_SECOND_US - 1) / CW_SECOND_US;
    return wait < 0 ? 0 : wait > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (long)wait;
}

static const struct {
    CURLcode curl;
    enum cw_code code;
} meanings[] = {
    { CURLE_OUT_OF_MEMORY, CW_E_OOM },
    { CURLE_OPERATION_TIMEDOUT, CW_E_TIMEOUT },
    { CURLE_URL_MALFORMAT, CW_E_SYNTAX },
    { CURLE_BAD_CONTENT_ENCODING, CW_E_UPSTREAM },
    { CURLE_WEIRD_SERVER_REPLY, CW_E_UPSTREAM },
    { CURLE_UNSUPPORTED_PROTOCOL, CW_E_UPSTREAM }, /* an answer of HTTP/0.9, that is, none */
};

static enum cw_code meaning_of(const struct cw_transfer *t, CURLcode result)
{
    if (t->too_big) {
        return CW_E_TOO_BIG;
    }
    if (t->stopped) {
        return CW_E_STOPPED;
    }
    if (t->bad_coding) {
        return CW_E_UPSTREAM;
    }
    if (t->oom) {
        return CW_E_OOM;
    }
    if (result == CURLE_OUT_OF_MEMORY && t->response->request_sent && !t->head_ended) {
        return CW_E_TOO_BIG; /* libcurl's word for a header line over its limit of 100 KiB */
    }
    if (t->blocked) {
        return CW_E_BLOCKED;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(meanings); i++) {
        if (meanings[i].curl == result) {
            return meanings[i].code;
        }
    }
    return CW_E_UNAVAILABLE; /* name, connect, TLS, reset, cut */
}

/* The end of the first certificate of the chain, read from its own bytes: libcurl's text of the date differs from build to build. */
static int64_t certificate_end(CURL *easy)
{
    struct curl_certinfo *chain = NULL;
    int64_t end_us = 0;
    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == NULL || chain->num_of_certs < 1) {
        return 0;
    }
    for (const struct curl_slist *at = chain->certinfo[0]; at != NULL && end_us == 0; at = at->next) {
        if (strncmp(at->data, "Cert:", 5) == 0) {
            end_us = cw_certificate_end(cw_span_cstr(at->data + 5));
        }
    }
    return end_us;
}

enum cw_code cw_transfer_finish(struct cw_transfer *t, CURLcode result, struct cw_err *err)
{
    struct cw_http_response *response = t->response;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &response->status);
    response->took_us = cw_monotonic_us() - t->started_us;
    response->retry_after_s = retry_after(response);
    response->certificate_until_us = certificate_end(t->easy);
    if (result == CURLE_OK) {
        cw_str_clear(&response->final_url);
        return cw_str_add_cstr(&response->final_url, cw_url_text(t->url)) == CW_OK
                   ? CW_OK
                   : cw_err_set(err, CW_E_OOM, "http", "out of memory");
    }
    enum cw_code rc = meaning_of(t, result);
    const char *why = rc == CW_E_BLOCKED   ? "an address that is not public"
                      : rc == CW_E_TOO_BIG ? "the answer is over its limit"
                      : rc == CW_E_STOPPED ? "stopped by the reader"
                      : t->bad_coding      ? "a content coding that was not asked for"
                                           : curl_easy_strerror(result);
    return cw_err_sys(err, rc, (int)result, "http", "%s: %s", cw_url_host(t->url), why);
}

enum cw_code cw_transfer_redirect(struct cw_transfer *t, struct cw_url **ret_url, struct cw_err *err)
{
    long status = t->response->status;
    bool redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    struct cw_span location = cw_http_header_get(t->response, "Location");
    *ret_url = NULL;
    if (!redirect || !t->is_get || t->redirects_left == 0 || location.ptr == NULL) {
        return CW_OK;
    }
    struct cw_url *next = NULL;
    enum cw_code rc = cw_url_resolve(t->url, location, &next, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (strcmp(cw_url_scheme(t->url), "https") == 0 && strcmp(cw_url_scheme(next), "https") != 0) {
        cw_url_free(next);
        return cw_err_set(err, CW_E_BLOCKED, "http", "%s: redirects from https to http", cw_url_host(t->url));
    }
    /* What the operator allows beyond the public internet was allowed for its own sake: no other server's answer leads there. */
    if (cw_net_policy_allows(t->policy, next) && strcmp(cw_url_host(next), cw_url_host(t->url)) != 0) {
        cw_url_free(next);
        return cw_err_set(err, CW_E_BLOCKED, "http", "%s: redirects to an internal place", cw_url_host(t->url));
    }
    t->redirects_left--;
    *ret_url = next;
    return CW_OK;
}

void cw_transfer_release(struct cw_transfer *t)
{
    release_headers(t);
    cw_url_free(t->url);
    t->url = NULL;
}
