/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loopback HTTP/1.1 server that plays a script and remembers what it was asked. Each request takes the first answer of the
 * script whose path fits and that is not used up. Answers can be cut, held back until the server stops, compressed, or
 * bytes that are not HTTP at all. One thread a connection, so slow clients hold up nobody.
 */
#ifndef CW_TESTS_SCRIPT_SERVER_H
#define CW_TESTS_SCRIPT_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/str.h"

struct script_request {
    char method[16];
    char *target;            /* path and query as sent */
    char *headers;           /* raw lines */
    char *body;
    size_t body_len;
    unsigned connection;     /* which TCP connection, from 1 */
};

struct script_answer {
    const char *path;        /* of the request, without query; NULL: any */
    const char *method;      /* NULL: any */
    bool keep;               /* stays in the script after use */
    int status;              /* 0: 200 */
    const char *type;        /* Content-Type; NULL: application/json */
    const char *headers;     /* more raw lines, each with CRLF */
    const char *body;
    size_t body_len;         /* 0: strlen(body) */
    bool gzip;               /* compress the body and say so */
    bool chunked;            /* instead of Content-Length */
    size_t repeat;           /* send the body this many times more (chunked or not) */
    long cut_at;             /* > 0: close after so many body bytes; -1: before any header */
    bool hold;               /* say nothing until the server stops */
    const char *raw;         /* sent instead of an HTTP answer */
    size_t raw_len;          /* 0: strlen(raw) */
    const char *endless;     /* sent after raw, again and again until the peer has gone */
    size_t endless_len;      /* 0: strlen(endless) */
    unsigned drip_ms;        /* pause before each byte of endless */
    /* Makes body and status at the time of the request; the strings it returns are freed by the server. */
    char *(*make)(void *arg, const struct script_request *request, int *ret_status);
    void *arg;
};

struct script_server;
/* Listens on 127.0.0.1 at a free port. Aborts the test on failure. `answers` must outlive the server. */
struct script_server *script_server_start(const struct script_answer *answers, size_t count);
void script_server_stop(struct script_server *server);
unsigned script_server_port(const struct script_server *server);
/* Requests so far; the pointer lives until the server stops. */
size_t script_server_count(struct script_server *server);
const struct script_request *script_server_request(struct script_server *server, size_t at);
/* "http://127.0.0.1:port" + path, in a static ring of buffers. */
const char *script_server_url(const struct script_server *server, const char *path);
/* The value of a header of a request, or NULL; in a static buffer. */
const char *script_request_header(const struct script_request *request, const char *name);

#endif
