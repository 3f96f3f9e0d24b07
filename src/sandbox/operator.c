/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's calls, behind a bearer token: faults, registrations, the census that tests compare with. */
#include "config.h"
#include "sandbox/hospital.h"

#include <stdlib.h>

#include "base/jsonw.h"
#include "base/secret.h"
#include "vault/vault.h"

static bool is_operator(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_span header = cw_request_header(request, "Authorization");
    uint8_t hash[CW_HASH_LEN];
    cw_sha256(cw_span_from(header, 7), hash);
    struct hospital *hospital = hospital_of(request);
    if (cw_span_starts(header, CW_SPAN("Bearer ")) &&
        cw_secret_eq(cw_span_of(hash, CW_HASH_LEN), cw_span_of(hospital->operator_hash, CW_HASH_LEN))) {
        return true;
    }
    cw_reply_fault(reply, "not_authenticated", NULL, "Send the operator's token of the sandbox as a bearer token.");
    return false;
}

static void refuse(struct cw_reply *reply, enum cw_code rc, const struct cw_err *err)
{
    if (rc == CW_E_OOM) {
        cw_reply_fault_code(reply, rc, err);
        return;
    }
    /* The texts of rule and registration readers are literals of ours and name the member that is wrong. */
    cw_reply_fault(reply, "invalid_data", NULL, err->text);
}

void faults_post(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_sbx_rule rule;
    struct cw_err err = { 0 };
    unsigned number = 0;
    if (!is_operator(request, reply)) {
        return;
    }
    enum cw_code rc = cw_sbx_rule_parse(cw_request_json(request), &rule, &err);
    if (rc == CW_OK) {
        rc = cw_sbx_rule_put(hospital_of(request)->state, &rule, &number, &err);
    }
    if (rc != CW_OK) {
        refuse(reply, rc, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_int(&w, "number", number);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

void faults_get(struct cw_request *request, struct cw_reply *reply)
{
    if (!is_operator(request, reply)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "faults");
    cw_sbx_rules_emit(hospital_of(request)->state, &w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

static void reply_count(struct cw_reply *reply, const char *key, size_t count)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_int(&w, key, (int64_t)count);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

void faults_delete(struct cw_request *request, struct cw_reply *reply)
{
    if (is_operator(request, reply)) {
        reply_count(reply, "cleared", cw_sbx_rules_clear(hospital_of(request)->state, 0));
    }
}

void revocations_post(struct cw_request *request, struct cw_reply *reply)
{
    if (is_operator(request, reply)) {
        reply_count(reply, "revoked", cw_sbx_patient_revoke(hospital_of(request)->state, cw_request_path_var(request, "id")));
    }
}

void clients_post(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_err err = { 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    enum cw_code rc = cw_sbx_client_put(hospital_of(request)->state, cw_request_json(request), &err);
    if (rc != CW_OK) {
        refuse(reply, rc, &err);
        return;
    }
    reply_count(reply, "registered", 1);
}

/* ---------------------------------------------------------------------------------------------- personalities */

void personalities_post(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_err err = { 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    enum cw_code rc = cw_sbx_personality_put(hospital_of(request)->state, cw_request_json(request), &err);
    if (rc != CW_OK) {
        refuse(reply, rc, &err);
        return;
    }
    reply_count(reply, "made", 1);
}

static void each_personality(const struct cw_sbx_personality *personality, void *arg)
{
    cw_sbx_personality_emit(personality, arg);
}

void personalities_get(struct cw_request *request, struct cw_reply *reply)
{
    if (!is_operator(request, reply)) {
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "personalities");
    cw_jsonw_open_array(&w);
    cw_sbx_personalities_each(hospital_of(request)->state, each_personality, &w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

/* ---------------------------------------------------------------------------------------------- requests */

/* ?personality=NAME&patient=ID, both optional. */
void requests_get(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_sbx_params params = { .count = 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    if (cw_sbx_params_parse(cw_request_query_string(request), cw_request_arena(request), &params) != CW_OK) {
        cw_reply_fault(reply, "invalid_data", NULL, "The query cannot be read.");
        return;
    }
    struct cw_span site = cw_sbx_param(&params, "personality");
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "requests");
    cw_sbx_diary_emit(hospital_of(request)->diary, site.ptr == NULL ? CW_SPAN("") : site, cw_sbx_param(&params, "patient"), &w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}

void requests_delete(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_sbx_params params = { .count = 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    if (cw_sbx_params_parse(cw_request_query_string(request), cw_request_arena(request), &params) != CW_OK) {
        cw_reply_fault(reply, "invalid_data", NULL, "The query cannot be read.");
        return;
    }
    struct cw_span site = cw_sbx_param(&params, "personality");
    struct hospital *hospital = hospital_of(request);
    struct cw_sbx_personality as;
    struct cw_sbx_recording *recording = hospital->recordings == NULL ? NULL : cw_sbx_recordings_find(hospital->recordings, site, &as);
    cw_sbx_diary_forget(hospital->diary, site.ptr == NULL ? CW_SPAN("") : site);
    if (recording != NULL) {
        cw_sbx_recording_rewind(recording);
    }
    reply_count(reply, "forgotten", 1);
}

/* ---------------------------------------------------------------------------------------------- charts */

static void edit_chart(struct cw_request *request, struct cw_reply *reply, const struct cw_sbx_edit *edit)
{
    struct hospital *hospital = hospital_of(request);
    struct cw_err err = { 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    const struct cw_sbx_patient *patient = cw_sbx_patient_find(hospital->store, cw_request_path_var(request, "id"));
    enum cw_code rc = patient == NULL ? CW_E_NOT_FOUND : cw_sbx_store_edit(hospital->store, patient, edit, &err);
    if (rc == CW_E_NOT_FOUND) {
        cw_reply_fault(reply, "resource_not_found", NULL, "There is no such patient in the sandbox, or no such resource of it.");
    } else if (rc != CW_OK) {
        refuse(reply, rc, &err);
    } else {
        reply_count(reply, "edited", 1);
    }
}

/* The bytes as they are sent are served: the sender sets meta.lastUpdated. */
void chart_post(struct cw_request *request, struct cw_reply *reply)
{
    edit_chart(request, reply, &(struct cw_sbx_edit){ .bytes = cw_request_body(request) });
}

void chart_delete(struct cw_request *request, struct cw_reply *reply)
{
    edit_chart(request, reply, &(struct cw_sbx_edit){ .type = cw_request_path_var(request, "type"), .id = cw_request_path_var(request, "resource") });
}

/* ---------------------------------------------------------------------------------------------- the census */

static void census_counts(struct cw_jsonw *w, const struct cw_sbx_chart *chart)
{
    cw_jsonw_key(w, "types");
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < cw_sbx_type_count(); i++) {
        size_t count;
        (void)cw_sbx_chart_of_type(chart, &cw_sbx_types[i], &count);
        if (count > 0) {
            cw_jsonw_open_object(w);
            cw_jsonw_key_cstr(w, "type", cw_sbx_types[i].name);
            cw_jsonw_key_int(w, "count", (int64_t)count);
            cw_jsonw_close_object(w);
        }
    }
    cw_jsonw_close_array(w);
}

static void census_patient(struct cw_jsonw *w, struct hospital *hospital, const struct cw_sbx_patient *patient)
{
    struct cw_sbx_chart *chart;
    struct cw_err err = { 0 };
    if (cw_sbx_store_chart(hospital->store, patient, &chart, &err) != CW_OK) {
        return;
    }
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "id", patient->id);
    cw_jsonw_key_cstr(w, "name", patient->name);
    cw_jsonw_key_cstr(w, "note", patient->note);
    cw_jsonw_key_int(w, "total", (int64_t)cw_sbx_chart_count(chart));
    census_counts(w, chart);
    cw_jsonw_close_object(w);
    cw_sbx_chart_drop(chart);
}

/* One resource a line as the hospital would send it, for byte-by-byte comparison: ?patient=ID. */
static void census_resources(struct cw_request *request, struct cw_reply *reply, const struct cw_sbx_patient *patient)
{
    struct cw_sbx_chart *chart;
    struct cw_err err = { 0 };
    if (cw_sbx_store_chart(hospital_of(request)->store, patient, &chart, &err) != CW_OK) {
        cw_reply_fault_code(reply, CW_E_OOM, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < cw_sbx_chart_count(chart); i++) {
        cw_jsonw_text(&w, cw_sbx_chart_at(chart, i)->bytes);
    }
    cw_jsonw_close_array(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
    cw_sbx_chart_drop(chart);
}

void census_get(struct cw_request *request, struct cw_reply *reply)
{
    struct hospital *hospital = hospital_of(request);
    struct cw_sbx_params params = { .count = 0 };
    if (!is_operator(request, reply)) {
        return;
    }
    if (cw_sbx_params_parse(cw_request_query_string(request), cw_request_arena(request), &params) != CW_OK) {
        cw_reply_fault(reply, "invalid_data", NULL, "The query cannot be read.");
        return;
    }
    struct cw_span id = cw_sbx_param(&params, "patient");
    const struct cw_sbx_patient *one = id.ptr == NULL ? NULL : cw_sbx_patient_find(hospital->store, id);
    if (id.ptr != NULL && one == NULL) {
        cw_reply_fault(reply, "resource_not_found", "patient", "There is no such patient in the sandbox.");
        return;
    }
    if (one != NULL) {
        census_resources(request, reply, one);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "patients");
    cw_jsonw_open_array(&w);
    for (size_t i = 0; i < cw_sbx_patient_count(hospital->store); i++) {
        census_patient(&w, hospital, cw_sbx_patient_at(hospital->store, i));
    }
    cw_jsonw_close_array(&w);
    cw_jsonw_key(&w, "personalities");
    cw_jsonw_open_array(&w);
    cw_sbx_personalities_each(hospital->state, each_personality, &w);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
    cw_reply_json(reply, 200);
}
