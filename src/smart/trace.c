/* SPDX-License-Identifier: Apache-2.0 */
/* The redacted record of an exchange. Everything in it that came from outside goes through cw_exchange_redact. */
#include "config.h"

#include "smart/trace.h"

#include <stdio.h>

#include "base/json.h"
#include "base/text.h"
#include "net/url.h"

#define KNOWN_MAX 24u
#define MEMBERS_MAX 40u

/* What must not be in a text: values that were sent, decoded, one behind the other in `text`. */
struct known {
    struct cw_span list[KNOWN_MAX];
    size_t count;
    struct cw_str text;
    bool
        lost; /* something that was sent could not be remembered: nothing of the answer may be kept */
};

static void set(char *out, size_t room, struct cw_span text)
{
    size_t len = text.len < room ? text.len : room - 1;
    while (len > 0 && len < text.len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    if (len > 0) {
        memcpy(out, text.ptr, len);
    }
    out[len] = '\0';
}

static void append_word(char *out, size_t room, struct cw_span word)
{
    size_t used = strlen(out);
    if (word.len > 0 && used + word.len + 2 < room) {
        if (used > 0) {
            out[used++] = ' ';
        }
        set(out + used, room - used, word);
    }
}

static void set_where(const char *endpoint, struct cw_exchange *x)
{
    struct cw_url *url = NULL;
    if (cw_url_parse(cw_span_cstr(endpoint), &url, NULL) == CW_OK) {
        (void)snprintf(x->host, sizeof x->host, "%s:%u", cw_url_host(url), cw_url_port(url));
        set(x->path, sizeof x->path, cw_span_cstr(cw_url_path(url)));
    }
    cw_url_free(url);
}

static bool is_harmless(struct cw_span name)
{
    static const char *const names[] = { "grant_type", "redirect_uri", "scope", "client_id",
                                         "client_assertion_type" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        if (cw_span_eq_cstr(name, names[i])) {
            return true;
        }
    }
    return false;
}

static void remember(struct known *known, struct cw_span value)
{
    if (value.len == 0) {
        return;
    }
    if (known->count == KNOWN_MAX) {
        known->lost = true;
        return;
    }
    known->list[known->count++] = value;
}

/* Names into the record, values into what is known. The buffer is as long as the form from the start, so that spans into it stay good. */
static void read_form(struct cw_span form, struct cw_exchange *x, struct known *known)
{
    struct cw_span pair;
    if (cw_str_reserve(&known->text, form.len + 1) == NULL) {
        known->lost = true;
        return;
    }
    while (form.len > 0) {
        struct cw_span name;
        (void)cw_span_cut(&form, '&', &pair);
        if (!cw_span_cut(&pair, '=', &name)) {
            continue;
        }
        append_word(x->parameters, sizeof x->parameters, name);
        size_t at = known->text.len;
        if (!is_harmless(name)) {
            known->lost |= cw_percent_decode(pair, true, &known->text) != CW_OK;
            remember(known, cw_span_of(known->text.buf + at, known->text.len - at));
            remember(known, pair);
        }
    }
}

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return json_string_length(value) == 0 ? "empty text" : "text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static void describe_object(const json_t *root, const struct known *known, char *out, size_t room)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_TOKEN_ANSWER_MAX);
    const char *name;
    json_t *value;
    size_t count = 0;
    cw_str_add_char(&text, '{');
    json_object_foreach((json_t *)(uintptr_t)root, name, value)
    {
        if (count++ < MEMBERS_MAX) {
            char clean[64];
            (void)cw_exchange_redact(cw_span_cstr(name), known->list, known->count, clean,
                                     sizeof clean);
            cw_str_addf(&text, "%s%s: %s", count == 1 ? "" : ", ", clean, kind_of(value));
        }
    }
    cw_str_add_cstr(&text, count > MEMBERS_MAX ? ", ...}" : "}");
    set(out, room, cw_str_span(&text));
}

static void describe_other(struct cw_span body, char *out, size_t room)
{
    struct cw_span text = cw_span_trim(body);
    const char *kind = text.len == 0        ? "empty"
                       : text.ptr[0] == '<' ? "markup"
                       : text.ptr[0] == '[' ? "array or text"
                                            : "text";
    (void)snprintf(out, room, text.len == 0 ? "%s" : "%s, %zu bytes", kind, body.len);
}

/* error_uri as a link for the patient: https, and at the server that we asked. */
static void set_more(struct cw_span uri, const char *endpoint, const struct known *known,
                     struct cw_exchange *x)
{
    struct cw_url *there = NULL;
    struct cw_url *ours = NULL;
    bool fits = uri.len < sizeof x->more && cw_url_parse(uri, &there, NULL) == CW_OK &&
                cw_url_parse(cw_span_cstr(endpoint), &ours, NULL) == CW_OK;
    fits = fits && strcmp(cw_url_scheme(there), "https") == 0 &&
           strcmp(cw_url_host(there), cw_url_host(ours)) == 0 &&
           cw_url_port(there) == cw_url_port(ours);
    for (size_t i = 0; fits && i < known->count; i++) {
        fits = known->list[i].len < 3 || cw_span_find_span(uri, known->list[i]) == uri.len;
    }
    if (fits) {
        set(x->more, sizeof x->more, cw_span_cstr(cw_url_text(there)));
    }
    cw_url_free(there);
    cw_url_free(ours);
}

static void set_error(struct cw_span error, struct cw_span description, struct cw_span uri,
                      const struct known *known, struct cw_exchange *x)
{
    (void)cw_exchange_redact(error, known->list, known->count, x->error, sizeof x->error);
    (void)cw_exchange_redact(description, known->list, known->count, x->description,
                             sizeof x->description);
    (void)cw_exchange_redact(uri, known->list, known->count, x->uri, sizeof x->uri);
}

static void read_answer(const struct cw_trace *trace, const struct known *known,
                        struct cw_exchange *x)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_span body = cw_str_span(&trace->response->body);
    struct cw_json_limits limits = { CW_TOKEN_ANSWER_MAX, CW_JSON_DEPTH_MAX,
                                     CW_JSON_DUPLICATES_TOO };
    if (cw_json_parse(cw_span_trim(body), limits, &root, NULL) != CW_OK) {
        describe_other(body, x->structure, sizeof x->structure);
        return;
    }
    describe_object(root, known, x->structure, sizeof x->structure);
    struct cw_span uri = cw_json_peek_text(root, "error_uri");
    set_error(cw_json_peek_text(root, "error"), cw_json_peek_text(root, "error_description"), uri,
              known, x);
    set_more(uri, trace->endpoint, known, x);
}

static void read_scope(struct cw_span scope, struct cw_exchange *x)
{
    struct cw_span word;
    while (cw_span_word(&scope, &word)) {
        append_word(x->scope, sizeof x->scope, word);
    }
}

void cw_trace_post(const struct cw_trace *trace, struct cw_exchange *ret)
{
    struct known known = { .count = 0 };
    *ret = (struct cw_exchange){
        .kind = trace->kind,
        .method = "POST",
        .authentication = trace->authentication,
        .outcome = trace->outcome,
        .status = trace->response->status,
        .sent_us = trace->sent_us,
        .took_us = trace->response->took_us,
    };
    cw_str_init_secret(&known.text, trace->form.len + 1);
    set_where(trace->endpoint, ret);
    read_form(trace->form, ret, &known);
    remember(&known, trace->secret);
    if (trace->response->status != 0 && !known.lost) {
        (void)cw_exchange_redact(cw_http_header_get(trace->response, "content-type"), known.list,
                                 known.count, ret->content_type, sizeof ret->content_type);
        read_answer(trace, &known, ret);
        read_scope(trace->scope, ret);
    }
    cw_str_release(&known.text);
}

void cw_trace_redirect(const struct cw_trace_redirect *trace, struct cw_exchange *ret)
{
    struct known known = { .count = 0 };
    *ret = (struct cw_exchange){
        .kind = "authorization", .method = "GET", .outcome = trace->outcome, .sent_us = trace->at_us
    };
    set_where(trace->authorization_endpoint, ret);
    remember(&known, trace->secret);
    append_word(ret->parameters, sizeof ret->parameters,
                trace->has_code ? CW_SPAN("code") : CW_SPAN(""));
    append_word(ret->parameters, sizeof ret->parameters,
                trace->has_state ? CW_SPAN("state") : CW_SPAN(""));
    append_word(ret->parameters, sizeof ret->parameters,
                trace->has_iss ? CW_SPAN("iss") : CW_SPAN(""));
    append_word(ret->parameters, sizeof ret->parameters,
                trace->error.len > 0 ? CW_SPAN("error") : CW_SPAN(""));
    append_word(ret->parameters, sizeof ret->parameters,
                trace->description.len > 0 ? CW_SPAN("error_description") : CW_SPAN(""));
    append_word(ret->parameters, sizeof ret->parameters,
                trace->uri.len > 0 ? CW_SPAN("error_uri") : CW_SPAN(""));
    set_error(trace->error, trace->description, trace->uri, &known, ret);
    set_more(trace->uri, trace->authorization_endpoint, &known, ret);
}
