/* SPDX-License-Identifier: Apache-2.0 */
/* The table of failures. Its texts are in www/locales; what a row says here decides buttons, colours and who is told. */
#include "config.h"

#include "model/failure.h"

#include "os/sys.h"

#define A CW_FAILS_ATTEMPT
#define C CW_FAILS_CONNECTION
#define P CW_FAILS_PULL

static const struct cw_failure table[] = {
    { CW_FAIL_USER_DENIED, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_INFO, CW_WHO_NOBODY, true },
    { CW_FAIL_BROWSER_MISMATCH, A, CW_STEP_OTHER_BROWSER, CW_SEVERITY_INFO, CW_WHO_PATIENT, true },
    { CW_FAIL_STATE_EXPIRED, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_INFO, CW_WHO_PATIENT, true },
    { CW_FAIL_NOT_RETURNED, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_INFO, CW_WHO_PATIENT, true },
    { CW_FAIL_PORTAL_ERROR, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_OPERATOR, true },
    { CW_FAIL_PORTAL_UNAVAILABLE, A, CW_STEP_LATER, CW_SEVERITY_WARNING, CW_WHO_VENDOR, true },
    { CW_FAIL_NOT_ENABLED, A, CW_STEP_ASK, CW_SEVERITY_ERROR, CW_WHO_VENDOR, false },
    { CW_FAIL_ISSUER_MISMATCH, A, CW_STEP_LATER, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, true },
    { CW_FAIL_TOKEN_EXCHANGE, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_OPERATOR, true },
    { CW_FAIL_TOKEN_LOST, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_TOKEN_ANSWER, A, CW_STEP_LATER, CW_SEVERITY_WARNING, CW_WHO_VENDOR, true },
    { CW_FAIL_CLIENT_REJECTED, A, CW_STEP_LATER, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_ID_TOKEN, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, true },
    { CW_FAIL_NO_PATIENT, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_OPERATOR, true },
    { CW_FAIL_IDENTITY_MISMATCH, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_SCOPE, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_DISCOVERY, A, CW_STEP_LATER, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, true },
    { CW_FAIL_NOT_REGISTERED, A, CW_STEP_ASK, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_SOURCE_HELD, A, CW_STEP_LATER, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_INTERNAL, A, CW_STEP_TRY_AGAIN, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, true },
    { CW_FAIL_REFRESH_REFUSED, C, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_LOST_ROTATION, C, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_PATIENT_CHANGED, C, CW_STEP_TRY_AGAIN, CW_SEVERITY_ERROR, CW_WHO_VENDOR, false },
    { CW_FAIL_ACCESS_ENDED, C | P, CW_STEP_TRY_AGAIN, CW_SEVERITY_INFO, CW_WHO_PATIENT, true },
    { CW_FAIL_GRANT_ENDED, P, CW_STEP_TRY_AGAIN, CW_SEVERITY_WARNING, CW_WHO_PATIENT, true },
    { CW_FAIL_CONNECTION_NOT_ACTIVE, P, CW_STEP_NONE, CW_SEVERITY_INFO, CW_WHO_NOBODY, false },
    { CW_FAIL_CONNECTION_UNREADABLE, P, CW_STEP_LATER, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_GAVE_UP, P, CW_STEP_LATER, CW_SEVERITY_WARNING, CW_WHO_OPERATOR, true },
    { CW_FAIL_ENDPOINT_MOVED, P, CW_STEP_ASK, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_FHIR_VERSION, A | P, CW_STEP_ASK, CW_SEVERITY_ERROR, CW_WHO_OPERATOR, false },
    { CW_FAIL_NOTHING_ARRIVED, P, CW_STEP_ASK, CW_SEVERITY_WARNING, CW_WHO_VENDOR, true },
};

const struct cw_failure *cw_failure_table(size_t *ret_count)
{
    *ret_count = CW_ARRAY_LEN(table);
    return table;
}

const struct cw_failure *cw_failure_find(struct cw_span code)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(table); i++) {
        if (cw_span_eq_cstr(code, table[i].code)) {
            return &table[i];
        }
    }
    return NULL;
}

const char *cw_failure_known(const char *code, enum cw_failure_of of)
{
    const struct cw_failure *row = cw_failure_find(cw_span_cstr(code));
    if (row == NULL || (row->of & of) == 0) {
        cw_bug("a failure code that has no sentence");
    }
    return row->code;
}

const char *cw_failure_step_name(enum cw_failure_step step)
{
    static const char *const names[CW_STEP__COUNT] = { "try_again", "other_browser", "later", "ask_organization", "none" };
    return names[step];
}

const char *cw_failure_severity_name(enum cw_failure_severity severity)
{
    static const char *const names[CW_SEVERITY__COUNT] = { "info", "warning", "error" };
    return names[severity];
}

const char *cw_failure_who_name(enum cw_failure_who who)
{
    static const char *const names[CW_WHO__COUNT] = { "patient", "operator", "vendor", "nobody" };
    return names[who];
}
