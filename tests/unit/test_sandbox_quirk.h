/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of single quirks, run by test_sandbox_personality, and what they share. */
#ifndef CW_TESTS_UNIT_TEST_SANDBOX_QUIRK_H
#define CW_TESTS_UNIT_TEST_SANDBOX_QUIRK_H

#include <check.h>

#include "base/str.h"
#include "tests/unit/test_sandbox_http.h"

#define REDIRECT ORIGIN "/callback/r1"
#define SCOPE "openid fhirUser launch/patient offline_access patient/Patient.rs"

/* One parameter of an otherwise good request; value NULL: left out. A name that the request does not have is added. */
struct quirk_change {
    const char *name, *value;
};

/* An authorization request to a personality, as a query. *out is made here. */
void quirk_request(const char *as, struct quirk_change change, struct cw_str *out);
/* The consent to one, with everything ticked that is in `scope`. */
struct fcgi_answer quirk_consent(const char *as, struct quirk_change change, const char *scope);

TCase *sandbox_quirk_case(void);
TCase *sandbox_quirk_token_case(void);

#endif
