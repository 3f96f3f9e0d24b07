/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of test_api_http share: the responder's state and ways to ask it. */
#ifndef CW_TESTS_API_HTTP_H
#define CW_TESTS_API_HTTP_H

#include <check.h>
#include <jansson.h>

#include "api/api.h"
#include "tests/lib/database.h"
#include "tests/lib/fcgi_peer.h"

enum { SANDBOX, PRODUCTION, LIMITED, KEYS };

extern struct cw_test_db api_test;
extern struct cw_api api;
extern struct cw_org_id api_orgs[2];
extern char api_source_ids[3][CW_ID_TEXT_MAX]; /* two of the sandbox, one of production */
extern struct cw_source_id api_sandbox_source;
extern struct cw_endpoint_id api_sandbox_endpoint;

/* Aborts the program on another code than CW_OK. */
void must(enum cw_code rc, const struct cw_err *err, const char *what);
/* The token of SANDBOX, PRODUCTION or LIMITED. */
const char *key(int at);
struct fcgi_answer ask(const char *method, const char *uri, const char *body, const char *token);
/* The answer as JSON; fails the test on another status. Every answer names its request. */
json_t *expect_with(int status, const char *method, const char *uri, const char *body, const char *token);
/* The same with the sandbox key. */
json_t *expect(int status, const char *method, const char *uri, const char *body);
/* A fault of this code and param (NULL: null). */
void expect_fault(int status, const char *code, const char *param, const char *method, const char *uri,
                  const char *body, const char *token);
/* A text member, or "(none)". */
const char *text_at(const json_t *json, const char *name);

TCase *api_records_case(void);
TCase *api_letting_go_case(void);
TCase *api_pulls_case(void);

#endif
