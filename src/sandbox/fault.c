/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of points, faults and natures, and a rule's way from and to JSON. */
#include "config.h"
#include "sandbox/fault.h"

#include <stdio.h>

#include "sandbox/persona.h"

#define AT(point) (1u << CW_SBX_AT_##point)
#define EVERYWHERE ((1u << CW_SBX_AT__COUNT) - 1)
#define DATA (AT(SEARCH) | AT(READ) | AT(BINARY))
#define DOCUMENTS (DATA | AT(METADATA) | AT(DISCOVERY))

static const char *const points[CW_SBX_AT__COUNT] = {
    [CW_SBX_AT_AUTHORIZE] = "authorize", [CW_SBX_AT_TOKEN] = "token",   [CW_SBX_AT_REFRESH] = "refresh",
    [CW_SBX_AT_SEARCH] = "search",       [CW_SBX_AT_READ] = "read",     [CW_SBX_AT_BINARY] = "binary",
    [CW_SBX_AT_METADATA] = "metadata",   [CW_SBX_AT_DISCOVERY] = "discovery",
};

static const struct {
    const char *name;
    unsigned at;      /* points where it can happen */
    unsigned seconds; /* when the rule does not say */
    const char *doc;
} kinds[CW_SBX_FAULT__COUNT] = {
    [CW_SBX_REFUSE] = { "refuse", AT(AUTHORIZE), 0, "the login ends in access_denied" },
    [CW_SBX_SLOW] = { "slow", EVERYWHERE, 2, "waits `seconds` before it answers" },
    [CW_SBX_THROTTLE] = { "throttle", EVERYWHERE & ~AT(AUTHORIZE), 1, "429 with Retry-After: `seconds`" },
    [CW_SBX_ERROR] = { "error", EVERYWHERE & ~AT(AUTHORIZE), 0, "500" },
    [CW_SBX_UNAVAILABLE] = { "unavailable", EVERYWHERE & ~AT(AUTHORIZE), 1, "503 with Retry-After: `seconds`" },
    [CW_SBX_FORBIDDEN] = { "forbidden", DATA, 0, "403" },
    [CW_SBX_MISSING] = { "missing", DOCUMENTS, 0, "404" },
    [CW_SBX_EXPIRED] = { "expired", DATA, 0, "401 for a token that is good" },
    [CW_SBX_SHORT_TOKEN] = { "short_token", AT(TOKEN) | AT(REFRESH), 10, "access tokens live `seconds`" },
    [CW_SBX_DEAD_GRANT] = { "dead_grant", AT(TOKEN) | AT(REFRESH), 0, "invalid_grant" },
    [CW_SBX_NO_REFRESH] = { "no_refresh", AT(TOKEN), 0, "no refresh token" },
    [CW_SBX_ENDLESS] = { "endless", AT(SEARCH), 0, "every page has a next, with the same entries" },
    [CW_SBX_LOOP] = { "loop", AT(SEARCH), 0, "next leads to the page itself" },
    [CW_SBX_GONE] = { "gone", AT(SEARCH), 0, "410 for every page but the first" },
    [CW_SBX_BROKEN_JSON] = { "broken_json", DOCUMENTS | AT(TOKEN) | AT(REFRESH), 0, "JSON with a fault in the middle" },
    [CW_SBX_WRONG_TYPE] = { "wrong_type", DOCUMENTS | AT(TOKEN) | AT(REFRESH), 0, "200 and an HTML page" },
    [CW_SBX_OFF_ORIGIN] = { "off_origin", AT(SEARCH), 0, "next leads to another host" },
    [CW_SBX_DUPLICATES] = { "duplicates", AT(SEARCH), 0, "entries twice, and again on the next page" },
    [CW_SBX_EMPTY_PAGE] = { "empty_page", AT(SEARCH), 0, "the first page is empty but has a next" },
    [CW_SBX_BARE] = { "bare", AT(TOKEN) | AT(REFRESH), 0, "400 with an empty body" },
    [CW_SBX_TRUNCATED] = { "truncated", DOCUMENTS, 0, "the body ends before its Content-Length" },
    [CW_SBX_WRONG_PATIENT] = { "wrong_patient", AT(SEARCH) | AT(READ), 0, "an entry of another patient; another Patient than the one that was read" },
};

/* Faults by nature: the patient's family name in the cast. `times` 0: always; else so often in one grant. */
static const struct {
    const char *family;
    enum cw_sbx_point point;
    const char *type;
    enum cw_sbx_fault_kind kind;
    unsigned times, seconds;
} natures[] = {
    { "Fuse", CW_SBX_AT_AUTHORIZE, NULL, CW_SBX_REFUSE, 0, 0 },
    { "Tardy", CW_SBX_AT_SEARCH, NULL, CW_SBX_SLOW, 0, 2 },
    { "Rottle", CW_SBX_AT_SEARCH, NULL, CW_SBX_THROTTLE, 3, 1 },
    { "Fivehund", CW_SBX_AT_SEARCH, "Condition", CW_SBX_ERROR, 0, 0 },
    { "Fivehund", CW_SBX_AT_SEARCH, "Observation", CW_SBX_ERROR, 2, 0 },
    { "Pirelli-Sands", CW_SBX_AT_TOKEN, NULL, CW_SBX_SHORT_TOKEN, 0, 20 },
    { "Pirelli-Sands", CW_SBX_AT_REFRESH, NULL, CW_SBX_SHORT_TOKEN, 0, 20 },
    { "Endless", CW_SBX_AT_SEARCH, "Observation", CW_SBX_ENDLESS, 0, 0 },
    { "Kaputt", CW_SBX_AT_SEARCH, "DiagnosticReport", CW_SBX_BROKEN_JSON, 0, 0 },
    { "Kaputt", CW_SBX_AT_SEARCH, "Goal", CW_SBX_WRONG_TYPE, 0, 0 },
    { "Elsewhere", CW_SBX_AT_SEARCH, "Observation", CW_SBX_OFF_ORIGIN, 0, 0 },
    { "Twice", CW_SBX_AT_SEARCH, NULL, CW_SBX_DUPLICATES, 0, 0 },
    { "Kurtz", CW_SBX_AT_SEARCH, "Immunization", CW_SBX_TRUNCATED, 0, 0 },
};
_Static_assert(CW_ARRAY_LEN(natures) <= CW_SBX_NATURES_MAX, "grants have too few counters");
_Static_assert(CW_SBX_FAULT__COUNT <= 32, "faults are bits of a uint32_t");

const char *cw_sbx_point_name(enum cw_sbx_point point)
{
    return points[point];
}

const char *cw_sbx_fault_name(enum cw_sbx_fault_kind kind)
{
    return kinds[kind].name;
}

const char *cw_sbx_fault_doc(enum cw_sbx_fault_kind kind)
{
    return kinds[kind].doc;
}

static enum cw_code wrong(struct cw_err *err, const char *text)
{
    return cw_err_set(err, CW_E_RANGE, "sandbox.fault", "%s", text);
}

static enum cw_code parse_place(const json_t *object, struct cw_sbx_rule *rule, struct cw_err *err)
{
    struct cw_span point, fault;
    enum cw_code rc = cw_json_text(object, "point", &point, err);
    if (rc == CW_OK) {
        rc = cw_json_text(object, "fault", &fault, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    unsigned at = 0, kind = 0;
    while (at < CW_SBX_AT__COUNT && !cw_span_eq_cstr(point, points[at])) {
        at++;
    }
    while (kind < CW_SBX_FAULT__COUNT && !cw_span_eq_cstr(fault, kinds[kind].name)) {
        kind++;
    }
    if (at == CW_SBX_AT__COUNT || kind == CW_SBX_FAULT__COUNT) {
        return wrong(err, "no such point or fault");
    }
    if ((kinds[kind].at >> at & 1u) == 0) {
        return wrong(err, "this fault does not happen at this point");
    }
    rule->point = (enum cw_sbx_point)at;
    rule->kind = (enum cw_sbx_fault_kind)kind;
    return CW_OK;
}

static enum cw_code parse_whom(const json_t *object, struct cw_sbx_rule *rule, struct cw_err *err)
{
    struct cw_span patient, type, personality;
    enum cw_code rc = cw_json_text_opt(object, "patient", &patient, err);
    if (rc == CW_OK) {
        rc = cw_json_text_opt(object, "type", &type, err);
    }
    if (rc == CW_OK) {
        rc = cw_json_text_opt(object, "personality", &personality, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (patient.len >= sizeof(rule->patient)) {
        return wrong(err, "the patient's id is too long");
    }
    if (personality.len >= sizeof(rule->personality)) {
        return wrong(err, "the personality's name is too long");
    }
    if (personality.len > 0) {
        memcpy(rule->personality, personality.ptr, personality.len);
    }
    if (patient.len > 0) {
        memcpy(rule->patient, patient.ptr, patient.len);
    }
    rule->patient[patient.len] = '\0';
    rule->type = type.ptr == NULL ? NULL : cw_sbx_type_find(type);
    return type.ptr != NULL && rule->type == NULL ? wrong(err, "no such resource type") : CW_OK;
}

/* An optional number within [0, max]. */
static enum cw_code parse_number(const json_t *object, const char *name, int64_t max, int64_t fallback, int64_t *ret,
                                 struct cw_err *err)
{
    *ret = fallback;
    if (json_object_get(object, name) == NULL) {
        return CW_OK;
    }
    enum cw_code rc = cw_json_int(object, name, ret, err);
    if (rc == CW_OK && (*ret < -1 || *ret > max)) {
        return wrong(err, "a number is out of range");
    }
    return rc;
}

enum cw_code cw_sbx_rule_parse(const json_t *object, struct cw_sbx_rule *ret_rule, struct cw_err *err)
{
    struct cw_sbx_rule rule = { .left = -1 };
    int64_t seconds = 0;
    enum cw_code rc = parse_place(object, &rule, err);
    if (rc == CW_OK) {
        rc = parse_whom(object, &rule, err);
    }
    if (rc == CW_OK) {
        rc = parse_number(object, "count", 1000000, -1, &rule.left, err);
    }
    if (rc == CW_OK) {
        rc = parse_number(object, "seconds", CW_SBX_FAULT_SECONDS_MAX, kinds[rule.kind].seconds, &seconds, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (seconds < 0) {
        return wrong(err, "seconds cannot be negative");
    }
    rule.seconds = (unsigned)seconds;
    *ret_rule = rule;
    return CW_OK;
}

void cw_sbx_rule_emit(const struct cw_sbx_rule *rule, struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_int(w, "number", rule->number);
    if (rule->personality[0] != '\0') {
        cw_jsonw_key_cstr(w, "personality", rule->personality);
    }
    if (rule->patient[0] != '\0') {
        cw_jsonw_key_cstr(w, "patient", rule->patient);
    }
    if (rule->type != NULL) {
        cw_jsonw_key_cstr(w, "type", rule->type->name);
    }
    cw_jsonw_key_cstr(w, "point", points[rule->point]);
    cw_jsonw_key_cstr(w, "fault", kinds[rule->kind].name);
    cw_jsonw_key_int(w, "count", rule->left);
    cw_jsonw_key_int(w, "seconds", rule->seconds);
    cw_jsonw_close_object(w);
}

bool cw_sbx_rule_fits(const struct cw_sbx_rule *rule, const struct cw_sbx_occasion *occasion)
{
    const char *site = occasion->site == NULL ? "" : occasion->site;
    return rule->point == occasion->point && rule->left != 0 && (rule->type == NULL || rule->type == occasion->type) &&
           (rule->personality[0] == '\0' || strcmp(rule->personality, site) == 0) &&
           (rule->patient[0] == '\0' || cw_span_eq_cstr(occasion->patient, rule->patient));
}

void cw_sbx_faults_add(struct cw_sbx_faults *faults, enum cw_sbx_fault_kind kind, unsigned seconds)
{
    faults->kinds |= UINT32_C(1) << kind;
    faults->seconds[kind] = seconds;
}

void cw_sbx_nature(size_t persona, enum cw_sbx_point point, const struct cw_sbx_type *type, uint8_t hits[CW_SBX_NATURES_MAX],
                   struct cw_sbx_faults *faults)
{
    const char *family = cw_sbx_persona_at(persona)->family;
    for (size_t i = 0; i < CW_ARRAY_LEN(natures); i++) {
        if (natures[i].point != point || strcmp(natures[i].family, family) != 0 ||
            (natures[i].type != NULL && (type == NULL || strcmp(natures[i].type, type->name) != 0))) {
            continue;
        }
        if (natures[i].times > 0 && hits != NULL) {
            if (hits[i] >= natures[i].times) {
                continue;
            }
            hits[i]++;
        }
        cw_sbx_faults_add(faults, natures[i].kind, natures[i].seconds);
    }
}
