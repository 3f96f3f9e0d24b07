/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error codes and the error record.
 *
 * A function with one way to fail returns bool; one with more returns enum cw_code. The record says where
 * and why, for the log; its text never reaches a client. It holds literals, codes and our own ids only:
 * never foreign bytes, names, tokens, or URLs with a query.
 */
#ifndef CW_BASE_ERR_H
#define CW_BASE_ERR_H

#include "base/attr.h"

enum cw_code {
    CW_OK = 0,
    CW_E_OOM = -1,         /* an allocation failed */
    CW_E_TOO_BIG = -2,     /* outside data went over a named limit */
    CW_E_SYNTAX = -3,      /* outside data is not of its format */
    CW_E_MISSING = -4,     /* a required member or parameter is absent */
    CW_E_KIND = -5,        /* a member has another type than asked for */
    CW_E_RANGE = -6,       /* a value is outside its allowed range or set */
    CW_E_NOT_FOUND = -7,   /* no such row, file or key */
    CW_E_CONFLICT = -8,    /* a unique key or a version check said no */
    CW_E_STATE = -9,       /* the thing is not in a state that allows this */
    CW_E_DENIED = -10,     /* the caller may not do this */
    CW_E_EXPIRED = -11,    /* was good once */
    CW_E_AUTH = -12,       /* a signature, tag or secret did not match */
    CW_E_IO = -13,         /* the operating system refused; err->sys has errno */
    CW_E_TIMEOUT = -14,    /* a deadline passed */
    CW_E_UNAVAILABLE = -15, /* the database or a peer is away; later may work */
    CW_E_RETRY = -16,      /* deadlock or lock wait: rerun the whole transaction */
    CW_E_PEER_GONE = -17,  /* the other end of a stream has hung up */
    CW_E_STOPPED = -18,    /* we were asked to stop */
    CW_E_CONFIG = -19,     /* configuration or installation is wrong */
    CW_E_UPSTREAM = -20,   /* a hospital's server answered, but not as it must */
    CW_E_BLOCKED = -21,    /* our own policy refuses (SSRF guard, allow-list) */
    CW_E_UNSUPPORTED = -22, /* understood, but not offered */
    CW_E_LIMITED = -23,    /* a rate limit; later works */
    CW_E__LAST = -24
};

#define CW_ERR_TEXT_MAX 192

struct cw_err {
    enum cw_code code;
    int sys;             /* errno, MariaDB or CURL error number; 0 when none */
    char where[32];      /* function or thing, a literal */
    char text[CW_ERR_TEXT_MAX];
};

/* Fills *err (NULL allowed) and returns code, so that `return cw_err_set(err, CW_E_SYNTAX, "json", "…")` reads well.
 * A record that is already filled is overwritten: it is set once, where the fault is seen. */
enum cw_code cw_err_set(struct cw_err *err, enum cw_code code, const char *where, const char *format, ...)
    CW_PRINTF(4, 5) CW_COLD;

/* The same with a system error number. */
enum cw_code cw_err_sys(struct cw_err *err, enum cw_code code, int sys, const char *where, const char *format, ...)
    CW_PRINTF(5, 6) CW_COLD;

/* Puts `prefix: ` before the text (cut at the end when it does not fit) and returns err->code; CW_E_STATE when err is NULL. */
enum cw_code cw_err_wrap(struct cw_err *err, const char *prefix) CW_COLD;

/* The name of a code, such as "too_big"; never NULL. */
const char *cw_code_name(enum cw_code code) CW_RETURNS_NONNULL;

/* A broken invariant: writes file, line and text to stderr and aborts, in every build. */
#define cw_bug(text) cw_bug_at(__FILE__, __LINE__, (text))
_Noreturn void cw_bug_at(const char *file, int line, const char *text) CW_COLD;

#endif
