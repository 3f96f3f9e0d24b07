/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. A line is built on the stack and leaves by one write(2), so that lines of threads and processes never mix.
 * What cannot be shown safely is shown as '?': a host with foreign characters, a literal with a control character.
 */
#include "os/log.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "os/sys.h"

#define LINE_MAX_BYTES 1024u
#define CONTEXT_MAX 40u

static const char *program_name = "chartway";
static _Atomic int most_level = CW_LOG_INFO;
static uint8_t log_key[32];
static atomic_bool have_key;
static cw_log_sink *sink;
static void *sink_arg;
static _Thread_local char context[CONTEXT_MAX + 1];

struct line {
    char text[LINE_MAX_BYTES];
    size_t len; /* at most LINE_MAX_BYTES - 2: room for newline and NUL */
};

static void put(struct line *line, const char *text, size_t len)
{
    size_t room = LINE_MAX_BYTES - 2 - line->len;
    size_t n = len < room ? len : room;
    memcpy(line->text + line->len, text, n);
    line->len += n;
}

static void put_cstr(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* A value; quoted when a blank, quote or '=' would end it early. Nothing that could start a line or colour a terminal. */
static void put_value(struct line *line, const char *text)
{
    bool quote = text[0] == '\0' || strpbrk(text, " \"=") != NULL;
    put(line, "\"", quote ? 1 : 0);
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        put(line, c < 0x20 || c == 0x7f ? "?" : c == '"' ? "'" : p, 1);
    }
    put(line, "\"", quote ? 1 : 0);
}

static void put_host(struct line *line, const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_";
    size_t len = strlen(text);
    put_cstr(line, len > 0 && len <= 260 && strspn(text, allowed) == len ? text : "?");
}

/* First 8 bytes of HMAC-SHA-256: enough to follow one person through a log, nothing to find who it is. */
static void put_ref(struct line *line, struct cw_span bytes)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!atomic_load(&have_key)
        || HMAC(EVP_sha256(), log_key, sizeof log_key, (const unsigned char *)(bytes.len == 0 ? "" : bytes.ptr),
                bytes.len, digest, &len) == NULL) {
        put_cstr(line, "-");
        return;
    }
    for (size_t i = 0; i < 8; i++) {
        char hex[3];
        (void)snprintf(hex, sizeof hex, "%02x", digest[i]);
        put(line, hex, 2);
    }
}

static void put_number(struct line *line, int64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%lld", (long long)number);
    put_cstr(line, digits);
}

static void put_err(struct line *line, const struct cw_err *err)
{
    if (err == NULL) {
        put_cstr(line, "none");
        return;
    }
    put_cstr(line, cw_code_name(err->code));
    if (err->sys != 0) {
        put_cstr(line, " sys=");
        put_number(line, err->sys);
    }
    put_cstr(line, " where=");
    put_value(line, err->where);
    put_cstr(line, " text=");
    put_value(line, err->text);
}

static void put_field(struct line *line, const struct cw_log_field *field)
{
    put(line, " ", 1);
    put_cstr(line, field->name);
    put(line, "=", 1);
    switch (field->kind) {
    case CW_LOG_F_INT:
        put_number(line, field->number);
        break;
    case CW_LOG_F_US:
        put_number(line, field->number);
        put_cstr(line, "us");
        break;
    case CW_LOG_F_LIT:
        put_value(line, field->text == NULL ? "" : field->text);
        break;
    case CW_LOG_F_HOST:
        put_host(line, field->text == NULL ? "" : field->text);
        break;
    case CW_LOG_F_ID: {
        char id[CW_ID_TEXT_MAX];
        cw_id_emit(field->text, field->id, id);
        put_cstr(line, id);
        break;
    }
    case CW_LOG_F_REF:
        put_ref(line, field->bytes);
        break;
    case CW_LOG_F_ERR:
        put_err(line, field->err);
        break;
    }
}

static const char *const levels[] = { "err", "warning", "info", "debug" };

void cw_log_fields(enum cw_log_level level, const char *event, const struct cw_log_field *fields)
{
    if ((int)level > atomic_load(&most_level)) {
        return;
    }
    struct line line = { .len = 0 };
    char time_text[CW_TIME_TEXT];
    cw_time_emit(cw_now_us(), time_text);
    put_cstr(&line, "time=");
    put_cstr(&line, time_text);
    put_cstr(&line, " level=");
    put_cstr(&line, levels[level]);
    put_cstr(&line, " program=");
    put_cstr(&line, program_name);
    put_cstr(&line, " event=");
    put_value(&line, event);
    if (context[0] != '\0') {
        put_cstr(&line, " request=");
        put_value(&line, context);
    }
    for (const struct cw_log_field *field = fields; field->name != NULL; field++) {
        put_field(&line, field);
    }
    if (sink != NULL) {
        line.text[line.len] = '\0';
        sink(sink_arg, line.text);
        return;
    }
    line.text[line.len] = '\n';
    (void)!write(STDERR_FILENO, line.text, line.len + 1); /* nowhere to tell that telling failed */
}

void cw_log_init(const char *program, enum cw_log_level most)
{
    program_name = program;
    atomic_store(&most_level, (int)most);
}

void cw_log_set_level(const char *name)
{
    int level = CW_LOG_ERR;
    while (strcmp(levels[level], name) != 0) {
        if (level++ == CW_LOG_DEBUG) {
            cw_bug("no such log level");
        }
    }
    atomic_store(&most_level, level);
}

void cw_log_set_key(const uint8_t key[32])
{
    memcpy(log_key, key, sizeof log_key);
    atomic_store(&have_key, true);
}

void cw_log_context(const char *request_id)
{
    size_t len = request_id == NULL ? 0 : strnlen(request_id, CONTEXT_MAX);
    if (len > 0) {
        memcpy(context, request_id, len);
    }
    context[len] = '\0';
}

void cw_log_set_sink(cw_log_sink *fn, void *arg)
{
    sink = fn;
    sink_arg = arg;
}
