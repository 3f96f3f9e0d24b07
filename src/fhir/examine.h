/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Could a patient connect here? Everything that can be known without one: discovery, certificate, clock, FHIR version, registration,
 * and whether the token endpoint knows our client. Nothing of a patient is sent; the one POST is a refresh with a random token.
 * chartwayctl doctor shows all findings of one source; the scheduler's daily probes keep those that change.
 */
#ifndef CW_FHIR_EXAMINE_H
#define CW_FHIR_EXAMINE_H

#include "model/registration.h"
#include "model/source.h"
#include "net/http.h"
#include "smart/profile.h"

enum cw_finding_result { CW_FINDING_OK = 1, CW_FINDING_NOTE = 2, CW_FINDING_WARN = 3, CW_FINDING_FAIL = 4 };
const char *cw_finding_result_name(enum cw_finding_result result) CW_RETURNS_NONNULL; /* "ok", "note", "warn", "fail" */

/* What a finding is about, for who keeps it. */
enum cw_finding_of { CW_OF_REGISTRATION = 1, CW_OF_ENDPOINT = 2, CW_OF_INSTALLATION = 3 };

struct cw_finding {
    const char *check;                 /* a literal: "discovery" … */
    enum cw_finding_result result;
    enum cw_finding_of of;
    const char *cause;                 /* a literal of the table in examine.c; "" where all is well */
    const char *detail;                /* hosts, methods, times; nothing secret */
    const char *next;                  /* a literal; "" */
};
typedef void cw_finding_fn(void *arg, const struct cw_finding *finding);

struct cw_examination {
    struct cw_model *model;
    const struct cw_profiles *profiles;
    struct cw_http *http;
    struct cw_arena *arena;            /* of everything that is found */
    const char *origin;                /* our own */
    const struct cw_source *source;    /* id zero: not in the catalogue; its base_url and environment are there */
    cw_finding_fn *found;
    bool (*pause)(void *arg);          /* between two requests; false: the program stops (CW_E_STOPPED); NULL: none */
    void *arg;
    struct cw_registration_id registration; /* filled: the one that fits; zero: none */
};
/* CW_OK whatever is found. CW_E_OOM, CW_E_STOPPED, and the codes of the database end it. */
enum cw_code cw_examine(struct cw_examination *e, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

/* Our own key set, as hospitals see it: asked for at our public address and compared with what we would publish. One finding. */
enum cw_code cw_examine_key_set(struct cw_examination *e, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

#endif
