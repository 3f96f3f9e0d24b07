/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daily probes: the examination of fhir/examine.h for each registration once a day, for some sources in turn, and for our own key set,
 * so that a secret that has run out is told before a patient meets it. One node has the duty; it asks a host once a second
 * at most. What changes is logged once, in either direction; what stands is in the table, for `chartwayctl status`.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <poll.h>

#include "base/time.h"
#include "fhir/examine.h"
#include "model/probe.h"
#include "model/registration.h"
#include "model/signing.h"
#include "os/log.h"
#include "os/sys.h"

#define DUTY_LEASE_US                                                                              \
    (5 * CW_MINUTE_US) /* an examination of a server that hangs at every request */
#define PAUSE_MS 1000
#define IDLE_MS 5000
#define ARENA_MAX ((size_t)64 * 1024 * 1024)
#define CANDIDATES_MAX 200u /* sources of a vendor that stand for its registration, one a day */
#define KEY_OLD_US (400 * CW_DAY_US) /* a year, and time for upkeep or an operator to act */

static bool nap(int ms)
{
    struct pollfd stop = { .fd = cw_stop_fd(), .events = POLLIN };
    return poll(&stop, 1, ms) == 0 && !cw_stop_asked();
}

/* One examination under way. */
struct probing {
    struct scheduler *s;
    struct cw_examination examination;
    struct cw_source source;
    int pause_ms;
    enum cw_code code; /* of storing */
};

static bool pause_between(void *arg)
{
    const struct probing *p = arg;
    return nap(p->pause_ms);
}

/* What stands for a day; the rest is for a person who looks right now. */
static bool is_kept(const char *check)
{
    static const char *const kept[] = { "reach",        "discovery",  "certificate", "clock",
                                        "fhir_version", "capability", "held_change", "token_probe",
                                        "key_set",      "signing_key" };
    for (size_t i = 0; i < CW_ARRAY_LEN(kept); i++) {
        if (strcmp(check, kept[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void tell(const struct cw_probe *probe, const struct cw_finding *finding, int before)
{
    struct cw_registration_id id = { probe->subject };
    const char *prefix =
        probe->kind == CW_PROBE_REGISTRATION ? CW_PREFIX_REGISTRATION : CW_PREFIX_ENDPOINT;
    if (finding->result >= CW_FINDING_WARN) {
        cw_log(CW_LOG_WARNING, "probe.found", CW_ID("subject", prefix, id),
               CW_LIT("check", finding->check),
               CW_LIT("result", cw_finding_result_name(finding->result)),
               CW_LIT("cause", finding->cause));
    } else if (before >= CW_PROBE_WARN) {
        cw_log(CW_LOG_INFO, "probe.recovered", CW_ID("subject", prefix, id),
               CW_LIT("check", finding->check));
    }
}

static void found(void *arg, const struct cw_finding *finding)
{
    struct probing *p = arg;
    struct cw_err err = { 0 };
    int before = 0;
    bool changed = false;
    struct cw_probe probe = {
        .kind = (enum cw_probe_kind)finding->of,
        .name = cw_span_cstr(finding->check),
        .result = (int)finding->result,
        .cause = cw_span_cstr(finding->cause),
        .detail = cw_span_cstr(finding->detail),
    };
    if (finding->of == CW_OF_REGISTRATION) {
        probe.subject = p->examination.registration.ulid;
    } else if (finding->of == CW_OF_ENDPOINT) {
        probe.subject = p->source.endpoint.ulid;
    }
    if (!is_kept(finding->check) || p->code != CW_OK) {
        return;
    }
    p->code = cw_probe_keep(&p->s->model, &probe, &before, &changed, &err);
    if (p->code != CW_OK) {
        cw_log(CW_LOG_WARNING, "probe.not_kept", CW_ERR(&err));
    } else if (changed) {
        tell(&probe, finding, before);
    }
}

/* ---- what a turn looks at */

/* A registration of a vendor is tried at one of its sources, another one each day. */
static enum cw_code examine_vendor(struct probing *p, const struct cw_registration *r,
                                   struct cw_err *err)
{
    struct cw_source *list = NULL;
    size_t count = 0;
    struct cw_ulid zero = { { 0 } };
    enum cw_code rc = cw_source_list(&p->s->model, r->environment, r->vendor, zero, CANDIDATES_MAX,
                                     p->examination.arena, &list, &count, err);
    size_t day = (size_t)(cw_now_us() / CW_DAY_US);
    for (size_t tries = 0; rc == CW_OK && tries < 3 && tries < count; tries++) {
        p->source = list[(day + tries) % count];
        rc = cw_examine(&p->examination, err);
        if (cw_ulid_eq(p->examination.registration.ulid, r->id.ulid)) {
            break; /* this one speaks for it */
        }
    }
    return rc;
}

static enum cw_code examine_registration(struct probing *p, struct cw_ulid id, struct cw_err *err)
{
    struct cw_registration registration;
    struct cw_registration_id wanted = { id };
    enum cw_code rc =
        cw_registration_get(&p->s->model, wanted, p->examination.arena, &registration, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? CW_OK : rc;
    }
    if (cw_ulid_is_zero(registration.source.ulid)) {
        return examine_vendor(p, &registration, err);
    }
    rc = cw_source_get(&p->s->model, registration.environment, registration.source,
                       p->examination.arena, &p->source, err);
    return rc == CW_OK ? cw_examine(&p->examination, err) : rc == CW_E_NOT_FOUND ? CW_OK : rc;
}

/* The source behind the last one; from the first again when the end is reached. */
static enum cw_code examine_next(struct probing *p, enum cw_environment environment,
                                 struct cw_ulid *subject, struct cw_err *err)
{
    struct cw_source *list = NULL;
    size_t count = 0;
    struct cw_span any = { NULL, 0 };
    enum cw_code rc = cw_source_list(&p->s->model, environment, any, *subject, 1,
                                     p->examination.arena, &list, &count, err);
    if (rc != CW_OK || count == 0) {
        *subject = (struct cw_ulid){ { 0 } };
        subject->bytes[15] = environment == CW_ENV_SANDBOX ? CW_TURN_SANDBOX : CW_TURN_PRODUCTION;
        return rc;
    }
    p->source = list[0];
    *subject = p->source.id.ulid;
    return cw_examine(&p->examination, err);
}

/* Upkeep rotates in time; where it does not, or is told not to, somebody must. */
static enum cw_code examine_signing_keys(struct probing *p, struct cw_err *err)
{
    struct cw_signing_line *lines = NULL;
    size_t count = 0;
    int64_t oldest_us = 0;
    enum cw_code rc = cw_signing_list(&p->s->model, p->examination.arena, &lines, &count, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        if (lines[i].stage == CW_SIGNING_CURRENT &&
            (oldest_us == 0 || lines[i].since_us < oldest_us)) {
            oldest_us = lines[i].since_us;
        }
    }
    if (rc != CW_OK || oldest_us == 0) {
        return rc;
    }
    bool old = cw_now_us() - oldest_us > KEY_OLD_US;
    const struct cw_finding finding = {
        .check = "signing_key",
        .result = old ? CW_FINDING_WARN : CW_FINDING_OK,
        .of = CW_OF_INSTALLATION,
        .cause = old ? "signing_key_old" : "",
        .detail = "",
        .next = "",
    };
    found(p, &finding);
    return CW_OK;
}

static enum cw_code examine_installation(struct probing *p, struct cw_err *err)
{
    struct cw_registration *all = NULL;
    size_t count = 0;
    bool keys = false;
    enum cw_code rc = cw_registration_list(&p->s->model, p->examination.arena, &all, &count, err);
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        keys |= all[i].method == CW_AUTH_KEY_JWT;
    }
    if (rc == CW_OK && keys) {
        rc = cw_examine_key_set(&p->examination, err);
    }
    return rc == CW_OK ? examine_signing_keys(p, err) : rc;
}

static enum cw_code take_turn(struct probing *p, const struct cw_turn *turn,
                              struct cw_ulid *subject, struct cw_err *err)
{
    switch (turn->kind) {
    case CW_TURN_REGISTRATION:
        return examine_registration(p, turn->subject, err);
    case CW_TURN_SANDBOX:
        return examine_next(p, CW_ENV_SANDBOX, subject, err);
    case CW_TURN_PRODUCTION:
        return examine_next(p, CW_ENV_PRODUCTION, subject, err);
    case CW_TURN_INSTALLATION:
        break;
    }
    return examine_installation(p, err);
}

static int64_t next_time(struct scheduler *s, const struct cw_turn *turn)
{
    int64_t per_day = cw_config_int(s->config, CW_CONF_PROBES);
    bool walks = turn->kind == CW_TURN_SANDBOX || turn->kind == CW_TURN_PRODUCTION;
    return walks ? cw_now_us() + CW_DAY_US / (per_day < 1 ? 1 : per_day)
                 : cw_turn_next(turn->subject, cw_now_us() + CW_HOUR_US);
}

static enum cw_code run_turn(struct scheduler *s, struct cw_http *http, const struct cw_turn *turn,
                             int pause_ms, struct cw_err *err)
{
    struct probing p = { .s = s, .pause_ms = pause_ms };
    struct cw_ulid subject = turn->subject;
    struct cw_arena *arena = cw_arena_new(ARENA_MAX);
    if (arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "probe", "out of memory");
    }
    p.examination = (struct cw_examination){
        .model = &s->model,
        .profiles = s->profiles,
        .http = http,
        .arena = arena,
        .origin = cw_config_text(s->config, CW_CONF_ORIGIN),
        .source = &p.source,
        .found = found,
        .pause = pause_between,
        .arg = &p,
    };
    struct cw_err why = { 0 };
    enum cw_code rc = take_turn(&p, turn, &subject, &why);
    if (rc == CW_OK) {
        rc = p.code;
    }
    cw_arena_free(arena);
    if (rc == CW_E_STOPPED || rc == CW_E_UNAVAILABLE) {
        return cw_err_set(err, rc, "probe", "%s", why.text); /* had again, soon */
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_WARNING, "probe.failed", CW_ERR(&why)); /* and not again before its time */
    }
    return cw_turn_done(&s->model, turn, subject, next_time(s, turn), err);
}

enum cw_code probe_due(struct scheduler *s, struct cw_http *http, int pause_ms, bool *ret_did,
                       struct cw_err *err)
{
    struct cw_turn turn;
    bool mine = false;
    *ret_did = false;
    enum cw_code rc = cw_duty_take(&s->model, "probe", s->owner, DUTY_LEASE_US, &mine, err);
    if (rc != CW_OK || !mine) {
        return rc;
    }
    rc = cw_turn_due(&s->model, &turn, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? CW_OK : rc;
    }
    *ret_did = true;
    return run_turn(s, http, &turn, pause_ms, err);
}

void *prober_main(void *arg)
{
    struct scheduler *s = arg;
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    int64_t prepare_us = 0;
    if (cw_config_int(s->config, CW_CONF_PROBES) == 0) {
        return NULL;
    }
    if (cw_http_new(s->config, &http, &err) != CW_OK) {
        cw_log(CW_LOG_ERR, "http.not_ready", CW_ERR(&err));
        return NULL;
    }
    bool did = false;
    while (nap(did ? PAUSE_MS : IDLE_MS)) {
        enum cw_code rc = CW_OK;
        if (cw_monotonic_us() >= prepare_us) {
            rc = cw_turn_prepare(&s->model, &err);
            prepare_us = cw_monotonic_us() + 10 * CW_MINUTE_US;
        }
        if (rc == CW_OK) {
            rc = probe_due(s, http, PAUSE_MS, &did, &err);
        }
        if (rc != CW_OK && rc != CW_E_STOPPED && rc != CW_E_RETRY) {
            cw_log(CW_LOG_WARNING, "probe.not_now", CW_ERR(&err));
            did = false;
        }
    }
    cw_http_free(http);
    return NULL;
}
