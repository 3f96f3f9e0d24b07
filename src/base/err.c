/* SPDX-License-Identifier: Apache-2.0 */
/* The error record: filled once where a fault is seen, prefixed on its way out, printed by the log. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts rather than fails: an error about an error helps nobody. */
static void copy_cut(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

CW_PRINTF(5, 0)
static void fill(struct cw_err *err, enum cw_code code, int sys, const char *where, const char *format, va_list args)
{
    if (err == NULL) {
        return;
    }
    /* The arguments may point into *err itself (a cause being rephrased), so format aside first. */
    char text[CW_ERR_TEXT_MAX];
    if (vsnprintf(text, sizeof text, format, args) < 0) {
        text[0] = '\0';
    }
    err->code = code;
    err->sys = sys;
    copy_cut(err->where, sizeof err->where, where == NULL ? "" : where);
    copy_cut(err->text, sizeof err->text, text);
}

enum cw_code cw_err_set(struct cw_err *err, enum cw_code code, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, code, 0, where, format, args);
    va_end(args);
    return code;
}

enum cw_code cw_err_sys(struct cw_err *err, enum cw_code code, int sys, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, code, sys, where, format, args);
    va_end(args);
    return code;
}

enum cw_code cw_err_wrap(struct cw_err *err, const char *prefix)
{
    if (err == NULL) {
        return CW_E_STATE;
    }
    /* Room for both and ": "; the record keeps what fits. */
    char text[2 * CW_ERR_TEXT_MAX + 2];
    char head[CW_ERR_TEXT_MAX];
    copy_cut(head, sizeof head, prefix == NULL ? "" : prefix);
    (void)snprintf(text, sizeof text, "%s: %s", head, err->text);
    copy_cut(err->text, sizeof err->text, text);
    return err->code;
}

const char *cw_code_name(enum cw_code code)
{
    static const char *const names[] = {
        "ok",          "oom",       "too_big", "syntax",  "missing", "kind",    "range",       "not_found",
        "conflict",    "state",     "denied",  "expired", "auth",    "io",      "timeout",     "unavailable",
        "retry",       "peer_gone", "stopped", "config",  "upstream", "blocked", "unsupported", "limited",
    };
    _Static_assert(CW_ARRAY_LEN(names) == -CW_E__LAST, "one name for each code");

    int at = -(int)code;
    return at >= 0 && at < (int)CW_ARRAY_LEN(names) ? names[at] : "unknown";
}

void cw_bug_at(const char *file, int line, const char *text)
{
    (void)fprintf(stderr, "bug: %s:%d: %s\n", file, line, text);
    abort();
}
