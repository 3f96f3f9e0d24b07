/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes of SMART v1 (patient/Observation.read) and v2 (patient/Observation.rs?category=laboratory): reading one, building the
 * set to ask for, and comparing what was granted. Servers answer in the other dialect, narrower or broader than asked; only
 * the permission that results per type counts.
 */
#ifndef CW_SMART_SCOPE_H
#define CW_SMART_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "smart/discovery.h"
#include "smart/profile.h"

#define CW_SCOPE_MAX 8192u   /* bytes of a whole scope text; Oracle's explicit list has 1.6 KB */
#define CW_SCOPES_MAX 1024u  /* scopes in one text */

enum cw_scope_permission {
    CW_PERM_CREATE = 1u << 0,
    CW_PERM_READ = 1u << 1,
    CW_PERM_UPDATE = 1u << 2,
    CW_PERM_DELETE = 1u << 3,
    CW_PERM_SEARCH = 1u << 4
};

enum cw_scope_context { CW_SCOPE_PATIENT, CW_SCOPE_USER, CW_SCOPE_SYSTEM };

/* One resource scope. Spans borrow from the text. */
struct cw_scope {
    enum cw_scope_context context;
    struct cw_span type;      /* "Observation" or "*" */
    unsigned permissions;
    struct cw_span query;     /* "category=laboratory"; absent when none */
    bool v2;                  /* by its spelling */
};
/* False for everything that is not a resource scope (openid, launch/patient, malformed). */
bool cw_scope_parse(struct cw_span text, struct cw_scope *ret_scope) CW_NONNULL(2) CW_MUST_USE;

/* Appends the scopes to ask for. `registered` (from the client registration) wins over everything when not empty ("v1" or "v2" alone: over the
 * dialect, since a vendor drops the other one's scopes in silence); then the profile's dialect; then what `discovery` shows. `types` are the types that we pull. CW_E_TOO_BIG, CW_E_OOM. */
struct cw_scope_wish {
    const struct cw_profile *profile;
    const struct cw_discovery *discovery;
    struct cw_span registered;
    const char *const *types;
    size_t type_count;
    unsigned step;            /* of enum cw_scope_step */
};
enum cw_code cw_scope_request(const struct cw_scope_wish *wish, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

/* What is asked after the server has refused a set with invalid_scope, one change at a time. Scopes that a registration or a literal profile gives
 * are never changed, and a profile that fixes them only loses what is not a type's. */
enum cw_scope_step {
    CW_SCOPE_AS_USUAL,
    CW_SCOPE_OTHER_FORM,      /* explicit instead of a wild card, a wild card instead of explicit */
    CW_SCOPE_OTHER_DIALECT,   /* v1 instead of v2, and the other way round */
    CW_SCOPE_NO_FHIR_USER,
    CW_SCOPE_NO_OFFLINE,      /* nor fhirUser */
    CW_SCOPE_STEP__COUNT
};
/* Appends the request of wish->step, or of the next step that asks for something that no step before it has asked for; the usual one when there is none.
 * *ret_step: which one it is. */
enum cw_code cw_scope_climb(const struct cw_scope_wish *wish, unsigned *ret_step, struct cw_str *out) CW_NONNULL(1, 2, 3) CW_MUST_USE;

/* What one scope text permits for a type, patient/ and user/ together: bits of cw_scope_permission. A granular scope
 * (?category=…) counts when `granular_too`. */
unsigned cw_scope_permits(struct cw_span granted, struct cw_span type, bool granular_too);
/* True when the text holds this exact scope, such as "openid". */
bool cw_scope_has(struct cw_span scopes, struct cw_span scope) CW_PURE;

/* Granted against asked. */
struct cw_scope_verdict {
    bool assumed;         /* no scope in the answer: taken as asked (RFC 6749 5.1) */
    bool any_resource;    /* something can be read or searched; false: connected without data */
    bool narrower;        /* some type asked for lacks read or search */
    bool offline;         /* offline_access is there (informative: Epic gives refresh tokens without it) */
};
/* `granted` absent: not in the answer. */
struct cw_scope_verdict cw_scope_compare(struct cw_span asked, struct cw_span granted);

/* What of a type was asked for and did not come. */
enum cw_scope_loss {
    CW_SCOPE_KEPT,        /* all of it, or it was not asked for */
    CW_SCOPE_PART,        /* only under conditions (?category=…) that were not asked for */
    CW_SCOPE_LOST         /* it cannot be searched (a Patient: not read) */
};
/* `granted` absent or empty: not told, so nothing is known to be lost. */
enum cw_scope_loss cw_scope_loss(struct cw_span asked, struct cw_span granted, struct cw_span type);
/* Appends those of the types that are lost, blank separated. */
enum cw_code cw_scope_lost_types(struct cw_span asked, struct cw_span granted, const char *const *types, size_t count,
                                 struct cw_str *out) CW_NONNULL(3, 5) CW_MUST_USE;

#endif
