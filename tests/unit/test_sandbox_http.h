/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox hospital for a suite: in this process, behind FastCGI, with its state in memory. */
#ifndef CW_TESTS_UNIT_TEST_SANDBOX_HTTP_H
#define CW_TESTS_UNIT_TEST_SANDBOX_HTTP_H

#include <jansson.h>

#include "sandbox/hospital.h"
#include "tests/lib/fcgi_peer.h"

#define ORIGIN "http://127.0.0.1:8480"
#define OPERATOR "the-operator"

extern struct hospital hospital;

void hospital_open(void);
void hospital_close(void);
/* form: an urlencoded form, or JSON when it starts with a brace; NULL: no body. */
struct fcgi_answer ask(const char *method, const char *uri, const char *bearer, const char *form);
/* The caller owns it; the test fails when the body is no JSON. */
json_t *json_of(const struct fcgi_answer *answer);
int status_of(const char *method, const char *uri, const char *bearer, const char *form);
/* Where it listens, for requests of another shape. */
const char *hospital_socket(void);
/* A text member, or "". */
const char *text(const json_t *root, const char *name);

#endif
