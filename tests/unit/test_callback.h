/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of the callback share: the program behind its socket, a scripted portal, and attempts on their way. */
#ifndef CW_TESTS_TEST_CALLBACK_H
#define CW_TESTS_TEST_CALLBACK_H

#include <check.h>

#include "callback/callback.h"
#include "tests/lib/database.h"
#include "tests/lib/fcgi_peer.h"
#include "tests/lib/script_server.h"

#define SLUG "clinic"
#define REDIRECT "https://cw.test/callback/" SLUG
#define COOKIE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER_COOKIE "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"
#define VERIFIER "verifier-verifier-verifier-verifier-verifie"
#define ASKED "openid fhirUser launch/patient patient/*.rs"

extern struct cw_test_db test;
extern struct cw_callback app;
extern struct cw_org_id org;
extern struct cw_source source;
extern struct cw_registration_id registration;
extern struct cw_arena *arena;
extern struct script_server *portal;
extern const struct cw_actor operator;

void must(enum cw_code rc, const struct cw_err *err, const char *what);

struct start {
    const char *token_path;  /* NULL: /token */
    const char *issuer;      /* NULL: not told */
    const char *profile;     /* NULL: default */
    const char *patient;     /* the app's id; NULL: pat-1 */
    const char *asked;       /* scopes; NULL: ASKED */
    struct cw_connection_id reconnect;
    bool no_way_back;        /* its revocation endpoint is out of order */
    bool keys;               /* the issuer publishes its keys at /keys */
    bool iss_parameter;
    bool direct;
    bool opaque;
    unsigned scope_step;
    bool expired;
};

struct started {
    struct cw_session session;
    struct cw_attempt_id id;
    char id_text[CW_ID_TEXT_MAX];
    char state[1024];
};

/* What the portal's /mint answers from here on; a copy is kept. */
void mint(const char *format, ...) CW_PRINTF(1, 2);
/* What its /keys and /fhir/Patient answer; NULL: 404. Not copied. */
extern const char *portal_keys, *portal_patients;
extern const char *portal_register; /* the same, beside /mint */

/* Starts an attempt, as the picker does. */
struct started begin(struct start start);
/* One request of a browser, from an address of its own. */
struct fcgi_answer ask(const char *method, const char *uri, const char *cookie, const char *body);
/* The browser comes back from the portal with the attempt's state and `more` of the query. */
struct fcgi_answer back(const struct started *s, const char *cookie, const char *more);
/* The only number of a SELECT about one attempt. */
int64_t number_of(const struct started *s, const char *format);
bool failed_with(const struct started *s, const char *code);
void expect_redirect(struct fcgi_answer *answer, const char *location);
const char *result_page(const struct started *s);
const char *return_to(const struct started *s, const char *more);

Suite *callback_grant_suite(void);

#endif
