/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between the files of the examination: causes, and what is known so far. */
#ifndef CW_FHIR_EXAMINE_INT_H
#define CW_FHIR_EXAMINE_INT_H

#include "fhir/examine.h"
#include "smart/discovery.h"

enum cause {
    CAUSE_NONE, /* all is well */
    CAUSE_BASE_MALFORMED,
    CAUSE_HOST_BLOCKED,
    CAUSE_HOST_UNREACHABLE,
    CAUSE_HOST_SLOW,
    CAUSE_NO_DISCOVERY,
    CAUSE_PLACE_USELESS,
    CAUSE_PLAIN_HTTP,
    CAUSE_CERTIFICATE_ENDS,
    CAUSE_CLOCK_OFF,
    CAUSE_CAPABILITY_UNREADABLE,
    CAUSE_FHIR_VERSION,
    CAUSE_PROFILE_DEFAULT,
    CAUSE_NOT_IN_CATALOGUE,
    CAUSE_NO_REGISTRATION,
    CAUSE_HOST_NOT_LISTED,
    CAUSE_CHANGE_HELD,
    CAUSE_IDENTITY_UNREADABLE,
    CAUSE_METHOD_NOT_ADVERTISED,
    CAUSE_METHOD_NOT_TOLD,
    CAUSE_SECRET_REJECTED,
    CAUSE_KEY_REJECTED,
    CAUSE_CLIENT_UNKNOWN,
    CAUSE_NOT_ENABLED,
    CAUSE_REFRESH_NOT_OFFERED,
    CAUSE_PROBE_INCONCLUSIVE,
    CAUSE_PROBE_GRANTED,
    CAUSE_TOKEN_ENDPOINT_AWAY,
    CAUSE_TOKEN_ENDPOINT_BUSY,
    CAUSE_PKCE_NOT_TOLD,
    CAUSE_PKCE_WITHOUT_S256,
    CAUSE_STANDALONE_NOT_ADVERTISED,
    CAUSE_OFFLINE_NOT_ADVERTISED,
    CAUSE_SCOPES_NOT_ADVERTISED,
    CAUSE_NO_REVOCATION,
    CAUSE_ISSUER_NOT_TOLD,
    CAUSE_KEY_SET_UNREACHABLE,
    CAUSE_KEY_SET_DIFFERS,
    CAUSE_KEY_SET_NOT_JUDGED,
    CAUSE__COUNT
};

struct examined { /* what the steps hand on */
    struct cw_examination *e;
    const char *base;                  /* normal form */
    struct cw_discovery discovery;
    struct cw_span software, publisher;
    struct cw_registration registration;
    struct cw_span vendor;
    const struct cw_profile *profile;
};

/* Tells one finding; detail NULL: none. */
void examine_tell(struct cw_examination *e, const char *check, enum cw_finding_of of, enum cause cause, const char *detail);
/* CW_E_STOPPED when the program is to stop. */
enum cw_code examine_pause(const struct cw_examination *e, struct cw_err *err) CW_MUST_USE;
/* "host", or "host:port" where the port is not https's own, as registrations name hosts; absent when it is no URL. */
struct cw_span examine_host(struct cw_arena *arena, const char *url);

/* examine_site.c: metadata, certificate, clock. */
enum cw_code examine_site(struct examined *room, struct cw_err *err) CW_MUST_USE;
/* examine_client.c: hosts, registration, profile; then method, token endpoint, scopes. */
enum cw_code examine_registration(struct examined *room, struct cw_err *err) CW_MUST_USE;
enum cw_code examine_client(struct examined *room, struct cw_err *err) CW_MUST_USE;

#endif
