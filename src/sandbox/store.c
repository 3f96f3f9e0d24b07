/* SPDX-License-Identifier: Apache-2.0 */
/* The list of patients and the cache of their charts: the one used longest ago goes first. */
#include "config.h"
#include "sandbox/store.h"

#include <pthread.h>
#include <stdlib.h>

#include "sandbox/folder.h"
#include "sandbox/gen.h"
#include "sandbox/walk.h"

struct cw_sbx_store {
    struct cw_sbx_patient *patients; /* the invented ones first */
    size_t count;
    struct cw_sbx_folder *folder;    /* NULL */
    pthread_mutex_t lock;
    struct slot {
        struct cw_sbx_chart *chart;
        uint64_t used;
        bool edited;                 /* cannot be made again */
    } *slots;
    uint64_t clock;
    size_t bytes;
};

static void invented(struct cw_sbx_patient *patient, size_t at)
{
    const struct cw_sbx_persona *who = cw_sbx_persona_at(at);
    char id[CW_SBX_ID_TEXT_MAX];
    cw_sbx_patient_id(at, id);
    snprintf(patient->id, sizeof(patient->id), "%s", id);
    snprintf(patient->name, sizeof(patient->name), "%s %s", who->given, who->family);
    snprintf(patient->birth_date, sizeof(patient->birth_date), "%s", who->birth_date);
    patient->note = who->note;
    patient->persona = (int)at;
}

static void add_raw(struct cw_str *out, struct cw_span raw)
{
    if (raw.len > 0) {
        if (out->len > 0) {
            cw_str_add_char(out, ' ');
        }
        (void)!cw_walk_unescape(raw, out);
    }
}

/* Patient.name[0]: its text, or given names and family. */
static void name_of(struct cw_span resource, char *out, size_t size)
{
    CW_AUTO_STR text;
    struct cw_walk names, given;
    struct cw_span key, name, one;
    cw_str_init(&text, size - 1);
    if (cw_walk_open(&names, cw_walk_member(resource, "name")) && cw_walk_next(&names, &key, &name)) {
        struct cw_span whole = cw_walk_member_string(name, "text");
        if (whole.len > 0) {
            add_raw(&text, whole);
        } else {
            if (cw_walk_open(&given, cw_walk_member(name, "given"))) {
                while (cw_walk_next(&given, &key, &one)) {
                    add_raw(&text, cw_walk_string(one));
                }
            }
            add_raw(&text, cw_walk_member_string(name, "family"));
        }
    }
    snprintf(out, size, "%s", text.len > 0 ? cw_str_cstr(&text) : "(no name)");
}

void cw_sbx_patient_read(struct cw_span id, struct cw_span bytes, struct cw_sbx_patient *patient)
{
    struct cw_span birth = cw_span_upto(cw_walk_member_string(bytes, "birthDate"), sizeof(patient->birth_date) - 1);
    snprintf(patient->id, sizeof(patient->id), "%.*s", (int)id.len, id.ptr);
    snprintf(patient->birth_date, sizeof(patient->birth_date), "%.*s", (int)birth.len, birth.ptr == NULL ? "" : birth.ptr);
    name_of(bytes, patient->name, sizeof(patient->name));
    patient->note = "";
    patient->persona = -1;
}

enum cw_code cw_sbx_store_open(const char *folder, struct cw_sbx_store **ret_store, struct cw_err *err)
{
    struct cw_sbx_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.store", "out of memory");
    }
    pthread_mutex_init(&store->lock, NULL);
    enum cw_code rc = CW_OK;
    if (folder != NULL && folder[0] != '\0') {
        rc = cw_sbx_folder_open(folder, &store->folder, err);
    }
    size_t own = cw_sbx_persona_count(), more = store->folder == NULL ? 0 : cw_sbx_folder_patients(store->folder);
    if (rc == CW_OK && own + more > CW_SBX_PATIENTS_MAX) {
        rc = cw_err_set(err, CW_E_TOO_BIG, "sandbox.store", "too many patients");
    }
    if (rc == CW_OK) {
        store->patients = calloc(own + more, sizeof(*store->patients));
        store->slots = calloc(own + more, sizeof(*store->slots));
        rc = store->patients == NULL || store->slots == NULL ? cw_err_set(err, CW_E_OOM, "sandbox.store", "out of memory") : CW_OK;
    }
    if (rc != CW_OK) {
        cw_sbx_store_free(store);
        return rc;
    }
    for (size_t i = 0; i < own; i++) {
        invented(&store->patients[i], i);
    }
    for (size_t i = 0; i < more; i++) {
        struct cw_span bytes, id = cw_sbx_folder_patient(store->folder, i, &bytes);
        cw_sbx_patient_read(id, bytes, &store->patients[own + i]);
    }
    store->count = own + more;
    *ret_store = store;
    return CW_OK;
}

void cw_sbx_store_free(struct cw_sbx_store *store)
{
    if (store == NULL) {
        return;
    }
    for (size_t i = 0; i < store->count; i++) {
        cw_sbx_chart_drop(store->slots[i].chart);
    }
    cw_sbx_folder_free(store->folder);
    pthread_mutex_destroy(&store->lock);
    free(store->patients);
    free(store->slots);
    free(store);
}

size_t cw_sbx_patient_count(const struct cw_sbx_store *store)
{
    return store->count;
}

const struct cw_sbx_patient *cw_sbx_patient_at(const struct cw_sbx_store *store, size_t at)
{
    return &store->patients[at];
}

const struct cw_sbx_patient *cw_sbx_patient_find(const struct cw_sbx_store *store, struct cw_span id)
{
    for (size_t i = 0; i < store->count; i++) {
        if (cw_span_eq_cstr(id, store->patients[i].id)) {
            return &store->patients[i];
        }
    }
    return NULL;
}

const struct cw_sbx_patient *cw_sbx_patient_named(const struct cw_sbx_store *store, struct cw_span name)
{
    const struct cw_sbx_patient *found = NULL;
    name = cw_span_trim(name);
    for (size_t i = 0; i < store->count && name.len > 0; i++) {
        if (cw_span_eq_nocase(name, cw_span_cstr(store->patients[i].name))) {
            if (found != NULL) {
                return NULL;
            }
            found = &store->patients[i];
        }
    }
    return found;
}

/* --- charts --- */

static enum cw_code make_chart(const struct cw_sbx_store *store, const struct cw_sbx_patient *patient,
                               struct cw_sbx_chart **ret_chart, struct cw_err *err)
{
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    if (chart == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.store", "out of memory");
    }
    size_t folder_at = (size_t)(patient - store->patients) - (patient->persona < 0 ? cw_sbx_persona_count() : 0);
    enum cw_code rc = patient->persona >= 0 ? cw_sbx_generate((size_t)patient->persona, chart, err)
                                            : cw_sbx_folder_fill(store->folder, folder_at, chart, err);
    if (rc == CW_OK) {
        rc = cw_sbx_chart_seal(chart);
    }
    if (rc != CW_OK) {
        cw_sbx_chart_drop(chart);
        return rc;
    }
    *ret_chart = chart;
    return CW_OK;
}

/* Lets charts go, the one used longest ago first, until the cache fits; `keep` stays. */
static void shrink(struct cw_sbx_store *store, const struct slot *keep)
{
    while (store->bytes > CW_SBX_CACHE_MAX) {
        struct slot *oldest = NULL;
        for (size_t i = 0; i < store->count; i++) {
            struct slot *slot = &store->slots[i];
            if (slot->chart != NULL && slot != keep && !slot->edited && (oldest == NULL || slot->used < oldest->used)) {
                oldest = slot;
            }
        }
        if (oldest == NULL) {
            return;
        }
        store->bytes -= cw_sbx_chart_bytes(oldest->chart);
        cw_sbx_chart_drop(oldest->chart);
        oldest->chart = NULL;
    }
}

enum cw_code cw_sbx_store_chart(struct cw_sbx_store *store, const struct cw_sbx_patient *patient,
                                struct cw_sbx_chart **ret_chart, struct cw_err *err)
{
    enum cw_code rc = CW_OK;
    struct slot *slot = &store->slots[patient - store->patients];
    /* Made under the lock: two threads that ask for one patient at once must not both do the work. */
    pthread_mutex_lock(&store->lock);
    if (slot->chart == NULL) {
        rc = make_chart(store, patient, &slot->chart, err);
        if (rc == CW_OK) {
            store->bytes += cw_sbx_chart_bytes(slot->chart);
            shrink(store, slot);
        }
    }
    if (rc == CW_OK) {
        slot->used = ++store->clock;
        *ret_chart = cw_sbx_chart_hold(slot->chart);
    }
    pthread_mutex_unlock(&store->lock);
    return rc;
}

/* --- edits --- */

/* The chart as it will be, sealed. Of two with the same type and id the first stays, so what is new comes first. */
static enum cw_code edited(const struct cw_sbx_chart *old, const struct cw_sbx_edit *edit, struct cw_sbx_chart *chart, struct cw_err *err)
{
    bool found = edit->bytes.ptr != NULL;
    enum cw_code rc = found ? cw_sbx_chart_add(chart, edit->bytes, err) : CW_OK;
    for (size_t i = 0; rc == CW_OK && i < cw_sbx_chart_count(old); i++) {
        const struct cw_sbx_resource *resource = cw_sbx_chart_at(old, i);
        if (edit->bytes.ptr == NULL && cw_span_eq_cstr(edit->type, resource->type->name) && cw_span_eq(edit->id, resource->id)) {
            found = true;
            continue;
        }
        rc = cw_sbx_chart_add(chart, resource->bytes, err);
    }
    if (rc == CW_OK && !found) {
        rc = cw_err_set(err, CW_E_NOT_FOUND, "sandbox.store", "no such resource in the chart");
    }
    return rc == CW_OK ? cw_sbx_chart_seal(chart) : rc;
}

enum cw_code cw_sbx_store_edit(struct cw_sbx_store *store, const struct cw_sbx_patient *patient, const struct cw_sbx_edit *edit,
                               struct cw_err *err)
{
    struct cw_sbx_chart *old, *chart = cw_sbx_chart_new();
    if (chart == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.store", "out of memory");
    }
    enum cw_code rc = cw_sbx_store_chart(store, patient, &old, err);
    if (rc != CW_OK) {
        cw_sbx_chart_drop(chart);
        return rc;
    }
    rc = edited(old, edit, chart, err);
    cw_sbx_chart_drop(old);
    if (rc != CW_OK) {
        cw_sbx_chart_drop(chart);
        return rc;
    }
    struct slot *slot = &store->slots[patient - store->patients];
    pthread_mutex_lock(&store->lock);
    if (slot->chart != NULL) {
        store->bytes -= cw_sbx_chart_bytes(slot->chart);
        cw_sbx_chart_drop(slot->chart);
    }
    slot->chart = chart;
    slot->edited = true;
    store->bytes += cw_sbx_chart_bytes(chart);
    pthread_mutex_unlock(&store->lock);
    return CW_OK;
}
