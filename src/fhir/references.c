/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the tokens with one frame a level: the frame knows the member that its object or array hangs on, and the attachment that
 * its object is, if it is one.
 */
#include "config.h"

#include "fhir/references.h"

#include "base/limits.h"
#include "base/scan.h"
#include "fhir/slice.h"

#define WHERE "references"
#define NO_ATTACHMENT SIZE_MAX

struct frame {
    struct cw_span field; /* the member that this level hangs on, the array's for its elements */
    struct cw_span key;   /* in an object: the member being read */
    size_t attachment;    /* index, or NO_ATTACHMENT */
};

struct walk {
    struct cw_scan scan;
    struct cw_arena *arena;
    struct cw_span base;
    struct cw_references *out;
    size_t reference_room, attachment_room;
    struct frame frames[CW_JSON_DEPTH_MAX + 1];
};

/* --- texts --- */

/* Type/id[/_history/version] */
static bool parse_local(struct cw_span path, struct cw_reference *ref)
{
    struct cw_span type;
    if (!cw_span_cut(&path, '/', &type)) {
        return false;
    }
    struct cw_span id;
    bool more = cw_span_cut(&path, '/', &id);
    if (more && !cw_span_starts(path, CW_SPAN("_history/"))) {
        return false;
    }
    if (!cw_fhir_type_good(type) || !cw_fhir_id_good(id)) {
        return false;
    }
    ref->kind = CW_REF_LOCAL;
    ref->type = type;
    ref->id = id;
    return true;
}

static bool has_scheme(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)(text.ptr[i] | 0x20);
        if (text.ptr[i] == ':') {
            return i > 0;
        }
        if ((c < 'a' || c > 'z') && (text.ptr[i] < '0' || text.ptr[i] > '9') && strchr("+-.", text.ptr[i]) == NULL) {
            return false;
        }
    }
    return false;
}

struct cw_reference cw_reference_parse(struct cw_span text, struct cw_span base)
{
    struct cw_reference ref = { .kind = CW_REF_OTHER, .text = text };
    if (text.len == 0) {
        return ref;
    }
    if (text.ptr[0] == '#') {
        ref.kind = CW_REF_CONTAINED;
        return ref;
    }
    if (cw_span_starts(text, CW_SPAN("http://")) || cw_span_starts(text, CW_SPAN("https://"))) {
        ref.kind = CW_REF_ELSEWHERE;
        while (base.len > 0 && base.ptr[base.len - 1] == '/') {
            base.len--;
        }
        if (base.len > 0 && cw_span_starts(text, base) && text.len > base.len && text.ptr[base.len] == '/') {
            (void)parse_local(cw_span_from(text, base.len + 1), &ref);
        }
        return ref;
    }
    if (has_scheme(text)) {
        return ref;
    }
    size_t query = cw_span_find(text, '?');
    if (query < text.len) {
        ref.kind = cw_fhir_type_good(cw_span_upto(text, query)) ? CW_REF_CONDITIONAL : CW_REF_OTHER;
        return ref;
    }
    (void)parse_local(text, &ref);
    return ref;
}

bool cw_reference_followed(const struct cw_reference *reference)
{
    static const char *const followed[] = {
        "Device",       "DiagnosticReport", "Encounter",     "EpisodeOfCare", "Location", "Media", "Medication",
        "Observation",  "Organization",     "Practitioner",  "PractitionerRole", "RelatedPerson", "Specimen",
    };
    if (reference->kind != CW_REF_LOCAL) {
        return false;
    }
    for (size_t i = 0; i < CW_ARRAY_LEN(followed); i++) {
        if (cw_span_eq_cstr(reference->type, followed[i])) {
            return true;
        }
    }
    return false;
}

/* --- the walk --- */

/* Doubles an array in the arena; the smaller one stays there unused. */
static void *grow(struct walk *w, const void *old, size_t count, size_t *room, size_t size)
{
    size_t more = *room == 0 ? 16 : 2 * *room;
    void *fresh = cw_arena_array(w->arena, more, size);
    if (fresh == NULL) {
        cw_scan_fail(&w->scan, CW_E_OOM, "no memory for references");
        return NULL;
    }
    if (count > 0) {
        memcpy(fresh, old, count * size);
    }
    *room = more;
    return fresh;
}

static bool add_reference(struct walk *w, struct cw_span field)
{
    struct cw_references *out = w->out;
    if (out->reference_count == CW_REFERENCES_MAX) {
        out->more = true;
        return true;
    }
    if (out->reference_count == w->reference_room) {
        void *fresh = grow(w, out->references, out->reference_count, &w->reference_room, sizeof(*out->references));
        if (fresh == NULL) {
            return false;
        }
        out->references = fresh;
    }
    struct cw_span text;
    if (!cw_scan_text(&w->scan, w->arena, &text)) {
        return false;
    }
    struct cw_reference ref = cw_reference_parse(text, w->base);
    ref.field = field;
    ref.own = w->scan.depth == 2;
    out->references[out->reference_count++] = ref;
    return true;
}

/* `content` is an Attachment in Media alone; elsewhere it has neither url nor data and is dropped at the end. */
static bool is_attachment_field(struct cw_span field)
{
    return cw_span_eq_cstr(field, "attachment") || cw_span_eq_cstr(field, "presentedForm") ||
           cw_span_eq_cstr(field, "photo") || cw_span_ends(field, CW_SPAN("Attachment")) ||
           cw_span_eq_cstr(field, "content");
}

/* An object opens: is it an attachment? Its index, or NO_ATTACHMENT. False on a fault. */
static bool open_attachment(struct walk *w, struct cw_span field, size_t *ret_index)
{
    struct cw_references *out = w->out;
    *ret_index = NO_ATTACHMENT;
    if (!is_attachment_field(field)) {
        return true;
    }
    if (out->attachment_count == CW_ATTACHMENTS_MAX) {
        out->more = true;
        return true;
    }
    if (out->attachment_count == w->attachment_room) {
        void *fresh = grow(w, out->attachments, out->attachment_count, &w->attachment_room, sizeof(*out->attachments));
        if (fresh == NULL) {
            return false;
        }
        out->attachments = fresh;
    }
    out->attachments[out->attachment_count] = (struct cw_attachment){ .field = field, .size = -1 };
    *ret_index = out->attachment_count++;
    return true;
}

/* A text or number that is a member of an attachment. The first of several of one name stays. */
static bool attachment_value(struct walk *w, struct cw_attachment *attachment, struct cw_span key, enum cw_token token)
{
    if (token == CW_T_NUMBER) {
        if (cw_span_eq_cstr(key, "size") && !cw_span_i64(w->scan.text, 0, INT64_MAX, &attachment->size)) {
            attachment->size = -1;
        }
        return true;
    }
    struct cw_span *place = cw_span_eq_cstr(key, "contentType") ? &attachment->content_type
                            : cw_span_eq_cstr(key, "url")       ? &attachment->url
                            : cw_span_eq_cstr(key, "hash")      ? &attachment->hash
                            : cw_span_eq_cstr(key, "data")      ? &attachment->data
                                                                : NULL;
    return place == NULL || place->ptr != NULL || cw_scan_text(&w->scan, w->arena, place);
}

static bool in_object(const struct cw_scan *scan)
{
    return scan->depth > 0 && ((scan->objects >> (scan->depth - 1)) & 1u) != 0;
}

static bool open_level(struct walk *w, enum cw_token token)
{
    const struct frame *outer = &w->frames[w->scan.depth - 1];
    struct frame *frame = &w->frames[w->scan.depth];
    /* An object in an array hangs on the array's member. */
    bool outer_object = w->scan.depth >= 2 && ((w->scan.objects >> (w->scan.depth - 2)) & 1u) != 0;
    *frame = (struct frame){ .field = outer_object ? outer->key : outer->field, .attachment = NO_ATTACHMENT };
    return token != CW_T_OBJECT || open_attachment(w, frame->field, &frame->attachment);
}

static bool value(struct walk *w, enum cw_token token)
{
    if (!in_object(&w->scan)) {
        return true;
    }
    const struct frame *frame = &w->frames[w->scan.depth];
    if (token == CW_T_STRING && cw_span_eq_cstr(frame->key, "reference")) {
        return add_reference(w, frame->field);
    }
    if (frame->attachment != NO_ATTACHMENT && (token == CW_T_STRING || token == CW_T_NUMBER)) {
        return attachment_value(w, &w->out->attachments[frame->attachment], frame->key, token);
    }
    return true;
}

static bool step(struct walk *w, enum cw_token token)
{
    switch (token) {
    case CW_T_FAULT:
        return false;
    case CW_T_OBJECT:
    case CW_T_ARRAY:
        return open_level(w, token);
    case CW_T_KEY:
        w->frames[w->scan.depth].key = w->scan.text;
        return true;
    case CW_T_STRING:
    case CW_T_NUMBER:
        return value(w, token);
    case CW_T_END:
    case CW_T_CLOSE:
    case CW_T_TRUE:
    case CW_T_FALSE:
    case CW_T_NULL:
        return true;
    }
    return true;
}

/* An attachment with neither a place nor bytes gives nothing to fetch. */
static void drop_hollow(struct cw_references *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found->attachment_count; i++) {
        if (found->attachments[i].url.len > 0 || found->attachments[i].data.len > 0) {
            found->attachments[kept++] = found->attachments[i];
        }
    }
    found->attachment_count = kept;
}

enum cw_code cw_references_read(struct cw_span resource, struct cw_span base, struct cw_arena *arena,
                                struct cw_references *ret, struct cw_err *err)
{
    struct cw_references found = { .references = NULL };
    struct walk w = { .arena = arena, .base = base, .out = &found };
    cw_scan_init(&w.scan, resource);
    enum cw_token token;
    do {
        token = cw_scan_next(&w.scan);
        if (!step(&w, token)) {
            return cw_scan_err(&w.scan, err, WHERE);
        }
    } while (token != CW_T_END);
    drop_hollow(&found);
    *ret = found;
    return CW_OK;
}
