/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of notes under one lock. */
#include "config.h"
#include "sandbox/diary.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "sandbox/personality.h"

#define ACCEPT_MAX 200u
#define PATIENT_MAX 128u

struct note {
    int64_t at_us;
    char site[CW_SBX_PERSONALITY_NAME_MAX + 1];
    char *text;            /* patient, target and accept, one after the other */
    size_t patient, target, accept; /* their lengths */
    int status;
    bool bearer, missed, forgotten;
};

struct cw_sbx_diary {
    pthread_mutex_t lock;
    struct note notes[CW_SBX_DIARY_MAX];
    size_t next, count;    /* where the next one goes, how many there are */
};

struct cw_sbx_diary *cw_sbx_diary_new(void)
{
    struct cw_sbx_diary *diary = calloc(1, sizeof *diary);
    if (diary != NULL) {
        pthread_mutex_init(&diary->lock, NULL);
    }
    return diary;
}

void cw_sbx_diary_free(struct cw_sbx_diary *diary)
{
    if (diary != NULL) {
        for (size_t i = 0; i < CW_SBX_DIARY_MAX; i++) {
            free(diary->notes[i].text);
        }
        pthread_mutex_destroy(&diary->lock);
        free(diary);
    }
}

void cw_sbx_diary_note(struct cw_sbx_diary *diary, const struct cw_sbx_visit *visit)
{
    struct cw_span patient = cw_span_upto(visit->patient, PATIENT_MAX), accept = cw_span_upto(visit->accept, ACCEPT_MAX);
    struct cw_span target = cw_span_upto(visit->target, CW_SBX_DIARY_TARGET_MAX);
    struct note note = { .at_us = visit->at_us, .status = visit->status, .bearer = visit->bearer, .missed = visit->missed,
                         .patient = patient.len, .target = target.len, .accept = accept.len };
    CW_AUTO_STR text;
    cw_str_init(&text, PATIENT_MAX + ACCEPT_MAX + CW_SBX_DIARY_TARGET_MAX);
    cw_str_add_span(&text, patient);
    cw_str_add_span(&text, target);
    cw_str_add_span(&text, accept);
    (void)snprintf(note.site, sizeof note.site, "%s", visit->site);
    if (cw_str_code(&text) != CW_OK || (note.text = cw_str_take(&text)) == NULL) {
        return;
    }
    pthread_mutex_lock(&diary->lock);
    free(diary->notes[diary->next].text);
    diary->notes[diary->next] = note;
    diary->next = (diary->next + 1) % CW_SBX_DIARY_MAX;
    diary->count += diary->count < CW_SBX_DIARY_MAX;
    pthread_mutex_unlock(&diary->lock);
}

/* Oldest first. */
static const struct note *note_at(const struct cw_sbx_diary *diary, size_t at)
{
    return &diary->notes[(diary->next + CW_SBX_DIARY_MAX - diary->count + at) % CW_SBX_DIARY_MAX];
}

static struct cw_span patient_of(const struct note *note)
{
    return cw_span_of(note->text, note->patient);
}

static struct cw_span target_of(const struct note *note)
{
    return cw_span_of(note->text + note->patient, note->target);
}

static bool is_like(const struct note *note, const struct cw_sbx_wanted *wanted)
{
    return !note->forgotten && note->at_us >= wanted->since_us && strcmp(note->site, wanted->site) == 0 &&
           (wanted->status == 0 || note->status == wanted->status) &&
           (wanted->patient.ptr == NULL || cw_span_eq(patient_of(note), wanted->patient)) &&
           cw_span_starts(target_of(note), cw_span_cstr(wanted->target));
}

/* What is forgotten keeps its place in the ring and is like nothing any more. */
void cw_sbx_diary_forget(struct cw_sbx_diary *diary, struct cw_span site)
{
    pthread_mutex_lock(&diary->lock);
    for (size_t i = 0; i < diary->count; i++) {
        struct note *note = &diary->notes[(diary->next + CW_SBX_DIARY_MAX - diary->count + i) % CW_SBX_DIARY_MAX];
        if (cw_span_eq_cstr(site, note->site)) {
            note->at_us = 0;
            note->forgotten = true;
        }
    }
    pthread_mutex_unlock(&diary->lock);
}

size_t cw_sbx_diary_count(struct cw_sbx_diary *diary, const struct cw_sbx_wanted *wanted)
{
    size_t found = 0;
    pthread_mutex_lock(&diary->lock);
    for (size_t i = 0; i < diary->count; i++) {
        found += is_like(note_at(diary, i), wanted);
    }
    pthread_mutex_unlock(&diary->lock);
    return found;
}

static void emit_note(const struct note *note, struct cw_jsonw *w)
{
    char at[CW_TIME_TEXT];
    cw_time_emit(note->at_us, at);
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "at", at);
    if (note->patient > 0) {
        cw_jsonw_key_text(w, "patient", patient_of(note));
    }
    cw_jsonw_key_text(w, "target", target_of(note));
    cw_jsonw_key_text(w, "accept", cw_span_of(note->text + note->patient + note->target, note->accept));
    cw_jsonw_key_int(w, "status", note->status);
    cw_jsonw_key_bool(w, "bearer", note->bearer);
    if (note->missed) {
        cw_jsonw_key_bool(w, "missed", true);
    }
    cw_jsonw_close_object(w);
}

void cw_sbx_diary_emit(struct cw_sbx_diary *diary, struct cw_span site, struct cw_span patient, struct cw_jsonw *w)
{
    cw_jsonw_open_array(w);
    pthread_mutex_lock(&diary->lock);
    for (size_t i = 0; i < diary->count; i++) {
        const struct note *note = note_at(diary, i);
        if (!note->forgotten && cw_span_eq_cstr(site, note->site) && (patient.ptr == NULL || cw_span_eq(patient_of(note), patient))) {
            emit_note(note, w);
        }
    }
    pthread_mutex_unlock(&diary->lock);
    cw_jsonw_close_array(w);
}
