/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of chartway-picker share: the program over its database, the hospital, and one browser. */
#ifndef CW_TESTS_TEST_PICKER_H
#define CW_TESTS_TEST_PICKER_H

#include <check.h>

#include "picker/picker.h"
#include "tests/lib/database.h"
#include "tests/lib/fcgi_peer.h"
#include "tests/lib/script_server.h"

enum { GOOD, DOWN, KEPT, OLD, SOFT, LONG, UNREGISTERED, PRODUCTION, SOURCES }; /* up to LONG with a registration */

extern struct cw_test_db test;
extern struct cw_picker app;
extern struct script_server *hospital;
extern struct cw_arena *arena;
extern struct cw_source_id sources[SOURCES];
extern char ids[SOURCES][CW_ID_TEXT_MAX];
extern char base[64];  /* "/c/{secret}" of the Session of the running test */
extern char token[64]; /* of its last form */
extern const struct cw_actor operator;

/* Aborts with err's text. */
void must(enum cw_code rc, const struct cw_err *err, const char *what);
/* Opens a Session; its browser holds nothing yet. */
void new_session(struct cw_session_new input);
struct fcgi_answer ask(const char *method, const char *path, const char *body);
/* One answer of this status that holds a piece (NULL: any). */
void expect(int status, const char *method, const char *path, const char *body, const char *piece);
/* Presses a button: the answer's Location, which lives until the next call. */
const char *press(const char *path, const char *source);

Suite *leave_suite(void);

#endif
