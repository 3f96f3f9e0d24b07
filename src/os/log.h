/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event, logfmt on stderr: time, level, event, then typed fields. There is no field for free data: text is
 * a literal, a host name, a code, our own id, or a keyed reference (CW_REF) to a person or record. A unit test scans
 * captured logs for planted canaries. Only programs log above debug; libraries return errors.
 *
 *   cw_log(CW_LOG_INFO, "request.done", CW_LIT("route", route->name), CW_INT("status", 200), CW_US("took", took_us));
 */
#ifndef CW_OS_LOG_H
#define CW_OS_LOG_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

enum cw_log_level { CW_LOG_ERR, CW_LOG_WARNING, CW_LOG_INFO, CW_LOG_DEBUG };

enum cw_log_kind { CW_LOG_F_INT, CW_LOG_F_US, CW_LOG_F_LIT, CW_LOG_F_HOST, CW_LOG_F_ID, CW_LOG_F_REF, CW_LOG_F_ERR };

struct cw_log_field {
    const char *name;
    enum cw_log_kind kind;
    int64_t number;
    const char *text;        /* LIT: a literal; HOST: checked to be host characters; ID: the prefix */
    struct cw_span bytes;    /* REF: hashed with the log key, first 8 bytes shown */
    struct cw_ulid id;
    const struct cw_err *err;
};

#define CW_INT(n, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_INT, .number = (v) })
#define CW_US(n, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_US, .number = (v) })
#define CW_LIT(n, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_LIT, .text = (v) })
#define CW_HOST(n, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_HOST, .text = (v) })
#define CW_ID(n, prefix, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_ID, .text = (prefix), .id = (v).ulid })
#define CW_REF(n, v) ((struct cw_log_field){ .name = (n), .kind = CW_LOG_F_REF, .bytes = (v) })
/* code, where and text of an error record, as three values */
#define CW_ERR(v) ((struct cw_log_field){ .name = "error", .kind = CW_LOG_F_ERR, .err = (v) })

#define cw_log(level, event, ...) \
    cw_log_fields((level), "" event, (const struct cw_log_field[]){ __VA_ARGS__ __VA_OPT__(, ) { .name = NULL } })
void cw_log_fields(enum cw_log_level level, const char *event, const struct cw_log_field *fields) CW_NONNULL(2, 3);

/* Called once in main. `program` is a literal. Until the key is given, references print as "-". */
void cw_log_init(const char *program, enum cw_log_level most) CW_NONNULL(1);
/* The level as [server] log_level names it, once the configuration has been read (its table knows no other names). */
void cw_log_set_level(const char *name) CW_NONNULL(1);
void cw_log_set_key(const uint8_t key[32]) CW_NONNULL(1);
/* A request id that every line of this thread carries until it is cleared by NULL; at most 40 characters, copied. */
void cw_log_context(const char *request_id);
/* For tests: lines go to fn instead of stderr. */
typedef void cw_log_sink(void *arg, const char *line);
void cw_log_set_sink(cw_log_sink *fn, void *arg);

#endif
