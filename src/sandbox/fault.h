/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can go wrong, on purpose. A rule says at which point, for which patient and type, which fault, how often. Rules are set by the
 * operator, or come with a patient by nature. A request collects all that hit it and acts on them; a new kind of fault is a row in the
 * table here and the place that acts on it.
 */
#ifndef CW_SANDBOX_FAULT_H
#define CW_SANDBOX_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/span.h"
#include "sandbox/personality.h"
#include "sandbox/types.h"

enum cw_sbx_point {
    CW_SBX_AT_AUTHORIZE,
    CW_SBX_AT_TOKEN,    /* code exchange */
    CW_SBX_AT_REFRESH,
    CW_SBX_AT_SEARCH,
    CW_SBX_AT_READ,
    CW_SBX_AT_BINARY,
    CW_SBX_AT_METADATA,
    CW_SBX_AT_DISCOVERY,
    CW_SBX_AT__COUNT
};

enum cw_sbx_fault_kind {
    CW_SBX_REFUSE,      /* access_denied back to the app */
    CW_SBX_SLOW,        /* waits `seconds` before answering */
    CW_SBX_THROTTLE,    /* 429, Retry-After: seconds */
    CW_SBX_ERROR,       /* 500 */
    CW_SBX_UNAVAILABLE, /* 503, Retry-After: seconds */
    CW_SBX_FORBIDDEN,   /* 403 */
    CW_SBX_MISSING,     /* 404 */
    CW_SBX_EXPIRED,     /* 401 with a token that is good */
    CW_SBX_SHORT_TOKEN, /* the access token lives `seconds` */
    CW_SBX_DEAD_GRANT,  /* invalid_grant */
    CW_SBX_NO_REFRESH,  /* no refresh token, whatever was granted */
    CW_SBX_ENDLESS,     /* each page has a next, with the same entries */
    CW_SBX_LOOP,        /* next is the page itself */
    CW_SBX_GONE,        /* 410 for every page but the first: the paging session has expired */
    CW_SBX_BROKEN_JSON,
    CW_SBX_WRONG_TYPE,  /* 200 and an HTML page */
    CW_SBX_OFF_ORIGIN,  /* next on another host */
    CW_SBX_DUPLICATES,  /* entries twice, and again on the next page */
    CW_SBX_EMPTY_PAGE,  /* the first page is empty but has a next */
    CW_SBX_BARE,        /* 400 without a word */
    CW_SBX_TRUNCATED,   /* the body ends before its Content-Length */
    CW_SBX_WRONG_PATIENT, /* one entry more, which names another patient; a read of the Patient answers with another id */
    CW_SBX_FAULT__COUNT
};

#define CW_SBX_PATIENT_TEXT_MAX 128
#define CW_SBX_RULES_MAX 256u
#define CW_SBX_FAULT_SECONDS_MAX 600
#define CW_SBX_NATURES_MAX 16u

/* One rule of the operator's. */
struct cw_sbx_rule {
    unsigned number;
    char personality[CW_SBX_PERSONALITY_NAME_MAX + 1]; /* "" for all of them */
    char patient[CW_SBX_PATIENT_TEXT_MAX]; /* FHIR id; "" for every patient */
    const struct cw_sbx_type *type;        /* NULL for every type */
    enum cw_sbx_point point;
    enum cw_sbx_fault_kind kind;
    int64_t left;      /* how many times yet; -1 for ever */
    unsigned seconds;
};

/* What hits one request. */
struct cw_sbx_faults {
    uint32_t kinds; /* bit per kind */
    unsigned seconds[CW_SBX_FAULT__COUNT];
};
static inline bool cw_sbx_hit(const struct cw_sbx_faults *faults, enum cw_sbx_fault_kind kind)
{
    return (faults->kinds >> kind & 1u) != 0;
}

const char *cw_sbx_point_name(enum cw_sbx_point point) CW_RETURNS_NONNULL;
const char *cw_sbx_fault_name(enum cw_sbx_fault_kind kind) CW_RETURNS_NONNULL;
/* A one-line description, for the operator's list. */
const char *cw_sbx_fault_doc(enum cw_sbx_fault_kind kind) CW_RETURNS_NONNULL;

/* From {personality?, patient?, type?, point, fault, count?, seconds?}. CW_E_MISSING, CW_E_KIND, CW_E_RANGE (unknown point, fault or type; a fault that
 * cannot happen at that point; a number out of range). `number` is left 0. */
enum cw_code cw_sbx_rule_parse(const json_t *object, struct cw_sbx_rule *ret_rule, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* The same members, as an object. */
void cw_sbx_rule_emit(const struct cw_sbx_rule *rule, struct cw_jsonw *w) CW_NONNULL(1, 2);
/* Who asks for what, where. */
struct cw_sbx_occasion {
    enum cw_sbx_point point;
    const char *site;                /* name of the personality; NULL: the plain hospital */
    struct cw_span patient;          /* FHIR id; absent when not known */
    const struct cw_sbx_type *type;  /* NULL when there is none */
    int persona;                     /* -1: not a generated patient */
    const char *grant;               /* NULL when not known */
};
bool cw_sbx_rule_fits(const struct cw_sbx_rule *rule, const struct cw_sbx_occasion *occasion) CW_NONNULL(1, 2) CW_MUST_USE;
void cw_sbx_faults_add(struct cw_sbx_faults *faults, enum cw_sbx_fault_kind kind, unsigned seconds) CW_NONNULL(1);

/* Adds the faults that a generated patient carries by nature. `hits` counts, in the grant, how often each came (NULL: not counted). */
void cw_sbx_nature(size_t persona, enum cw_sbx_point point, const struct cw_sbx_type *type, uint8_t hits[CW_SBX_NATURES_MAX],
                   struct cw_sbx_faults *faults) CW_NONNULL(5);

#endif
