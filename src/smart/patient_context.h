/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose records a token opens, from the most direct place to the least: the token answer's `patient`; the id_token's fhirUser when it is a
 * Patient under our base; claims of a JWT access token (a hint: used only as a value in our own queries with that same token); the
 * userinfo endpoint, where discovery or the profile names one; GET {base}/Patient with exactly one Patient; the one person that Coverage or
 * ExplanationOfBenefit are about. A fhirUser that is a RelatedPerson, Person or Practitioner is never the patient (proxy access). Ids are
 * opaque: nothing is expected of their characters.
 */
#ifndef CW_SMART_PATIENT_CONTEXT_H
#define CW_SMART_PATIENT_CONTEXT_H

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "net/http.h"
#include "smart/place.h"
#include "smart/profile.h"
#include "smart/token.h"

#define CW_TENANT_MAX 255u /* bytes of a tenant context: its column */

enum cw_patient_from {
    CW_PATIENT_TOKEN, CW_PATIENT_FHIR_USER, CW_PATIENT_CLAIM, CW_PATIENT_USERINFO, CW_PATIENT_SEARCH, CW_PATIENT_COVERAGE,
    CW_PATIENT__COUNT
};
const char *cw_patient_from_name(enum cw_patient_from from) CW_RETURNS_NONNULL; /* "token" …, for the log */

/* Appends the id of a Patient that a fhirUser or a reference names, relative or under `base`, percent-decoded once; false otherwise (out of memory: the
 * string's fault). */
bool cw_patient_from_fhir_user(struct cw_span fhir_user, const char *base, struct cw_str *out) CW_NONNULL(2, 3) CW_MUST_USE;
/* From the claims of a JWT access token; appends. False when it is no JWT or names none. */
bool cw_patient_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* The profile's tenant claim of a JWT access token (athenahealth's practice behind a base that all practices share); appends. False when there is none. */
bool cw_tenant_from_claims(struct cw_span access_token, const struct cw_profile *profile, struct cw_str *out)
    CW_NONNULL(2, 3) CW_MUST_USE;
/* From a userinfo answer: `patient`, or fhirUser or profile as above. With a `subject` (of a good id_token) another `sub` counts for
 * nothing (OIDC Core 5.3.2). CW_E_NOT_FOUND, CW_E_SYNTAX, CW_E_OOM. */
enum cw_code cw_patient_from_userinfo(struct cw_span body, const char *base, struct cw_span subject, struct cw_str *out)
    CW_NONNULL(2, 4) CW_MUST_USE;
/* The only Patient of a search Bundle; appends. CW_E_NOT_FOUND (none), CW_E_CONFLICT (several, here or on further pages), CW_E_SYNTAX. */
enum cw_code cw_patient_from_bundle(struct cw_span body, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;
/* The only person that the Coverages or ExplanationOfBenefits of a Bundle are about; codes as above. */
enum cw_code cw_patient_from_claims_bundle(struct cw_span body, const char *base, struct cw_str *out)
    CW_NONNULL(2, 3) CW_MUST_USE;

struct cw_patient_ask {
    const struct cw_profile *profile;
    const char *base;
    const char *userinfo_endpoint;        /* as discovered; "": none */
    struct cw_place_hosts hosts;          /* of the registration: a token goes nowhere else */
    const struct cw_smart_grant *grant;
    struct cw_span scopes;                /* in effect */
    struct cw_span fhir_user, subject;    /* absent unless the id_token was good */
    struct cw_span tenant;                /* for the profile's extra query */
};
/* In the order above, appended to *out, within 15 s. CW_E_NOT_FOUND: no patient context; CW_E_CONFLICT: several people are to be seen. */
enum cw_code cw_smart_patient(struct cw_http *http, const struct cw_patient_ask *ask, struct cw_str *out,
                              enum cw_patient_from *ret_from, struct cw_err *err) CW_NONNULL(1, 2, 3, 4) CW_MUST_USE;

#endif
