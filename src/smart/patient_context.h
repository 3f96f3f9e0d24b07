/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose records a token opens. The token answer's `patient`, then the id_token's fhirUser when it is a Patient under our base, then
 * claims of a JWT access token (a hint: used only as a value in our own queries with that same token), then, where the
 * profile says so, GET {base}/Patient with exactly one entry. A fhirUser that is a RelatedPerson, Person or Practitioner is
 * never the patient (proxy access).
 */
#ifndef CW_SMART_PATIENT_CONTEXT_H
#define CW_SMART_PATIENT_CONTEXT_H

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "net/http.h"
#include "smart/profile.h"
#include "smart/token.h"

enum cw_patient_from { CW_PATIENT_TOKEN, CW_PATIENT_FHIR_USER, CW_PATIENT_CLAIM, CW_PATIENT_SEARCH };

/* The id of a Patient named by a fhirUser value, relative or under `base`; false otherwise. */
bool cw_patient_from_fhir_user(struct cw_span fhir_user, const char *base, struct cw_span *ret_id)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* From the claims of a JWT access token; appends. False when it is no JWT or names none. */
bool cw_patient_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* The only Patient of a search Bundle; appends. CW_E_NOT_FOUND (none), CW_E_CONFLICT (several), CW_E_SYNTAX. */
enum cw_code cw_patient_from_bundle(struct cw_span body, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* In the order above, appended to *out. `fhir_user` is absent unless the id_token was good. CW_E_NOT_FOUND: no patient
 * context; CW_E_CONFLICT: the search names several. */
enum cw_code cw_smart_patient(struct cw_http *http, const struct cw_profile *profile, const char *base,
                              const struct cw_smart_grant *grant, struct cw_span fhir_user, struct cw_str *out,
                              enum cw_patient_from *ret_from, struct cw_err *err)
    CW_NONNULL(1, 2, 3, 4, 6, 7) CW_MUST_USE;

#endif
