/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web server's side of FastCGI over a unix socket, for tests: whole requests by fcgi_ask, and the pieces, so that a test can send
 * what nginx never would (a body that is cut, an abort, a peer that does not read). Failures of the test's own side abort.
 */
#ifndef CW_TESTS_FCGI_PEER_H
#define CW_TESTS_FCGI_PEER_H

#include <stdbool.h>
#include <stddef.h>

/* Name, value, name, value, …, NULL. */
typedef const char *const *fcgi_params;

struct fcgi_answer {
    bool ended;      /* END_REQUEST came */
    int status;      /* 0: no head came */
    char *head;      /* header lines, NUL-terminated */
    char *body;      /* NUL-terminated */
    size_t body_len;
};

struct fcgi_request {
    const char *method;      /* NULL: GET */
    const char *uri;         /* REQUEST_URI; the query is cut off for QUERY_STRING */
    const char *type;        /* CONTENT_TYPE, or NULL */
    const char *body;        /* or NULL */
    size_t body_len;         /* 0: strlen(body) */
    fcgi_params more;        /* further parameters, or NULL */
    bool keep;               /* ask to keep the connection */
};

/* A listening socket at `path`, close-on-exec. */
int fcgi_listen(const char *path);
int fcgi_connect(const char *path);
void fcgi_begin(int fd, bool keep);
/* The parameters of a request and their end mark. `announced` is CONTENT_LENGTH. */
void fcgi_send_params(int fd, const struct fcgi_request *request, size_t announced);
/* A piece of the body; length 0 is the end mark. False when the other side has gone. */
bool fcgi_send_body(int fd, const char *bytes, size_t len);
void fcgi_send_abort(int fd);
/* Reads until END_REQUEST or the end of the connection. Free with fcgi_answer_free. */
struct fcgi_answer fcgi_read_answer(int fd);
void fcgi_answer_free(struct fcgi_answer *answer);
/* One whole request on its own connection, or on `fd` when it is not negative (then it stays open). */
struct fcgi_answer fcgi_ask(const char *path, int fd, const struct fcgi_request *request);
/* The value of a header line, up to its end, in a static buffer; NULL when there is none. */
const char *fcgi_header(const struct fcgi_answer *answer, const char *name);

#endif
