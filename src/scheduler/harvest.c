/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry by entry: is it a record, is it our patient's, what does it name. What is not taken is counted in the page's transaction, so that the
 * receipt can tell it and nothing is lost in silence.
 */
#include "config.h"
#include "scheduler/harvest.h"

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "fhir/link.h"
#include "fhir/plan.h"
#include "fhir/references.h"
#include "os/sys.h"

#define YEAR_1000_US (INT64_C(-30610224000) * CW_SECOND_US) /* what DATETIME begins with */
#define NOTHING_FOUND 4101 /* Epic */

/* ---------------------------------------------------------------------------------------------- what is not taken */

static void skip(struct page *page, struct harvest *harvest, struct cw_span type, const char *reason)
{
    struct cw_span name = type.ptr == NULL ? cw_span_cstr(page->item->type) : type;
    for (size_t i = 0; i < harvest->skip_count; i++) {
        struct cw_pull_skip *old = &harvest->skips[i];
        if ((cw_span_eq(old->resource_type, name) && cw_span_eq_cstr(old->reason, reason)) || i == HARVEST_SKIPS_MAX - 1) {
            old->count++;
            return;
        }
    }
    harvest->skips[harvest->skip_count++] = (struct cw_pull_skip){ .resource_type = name, .reason = cw_span_cstr(reason), .count = 1 };
}

/* ---------------------------------------------------------------------------------------------- what is to be fetched */

static enum cw_code find_task(struct page *page, struct harvest *harvest, const struct cw_task_new *task, struct cw_span type,
                              struct cw_err *err)
{
    if (harvest->found_count == harvest->found_room) {
        size_t room = harvest->found_room == 0 ? 64 : harvest->found_room * 2;
        struct cw_task_new *found = cw_arena_array(page->arena, room, sizeof *found);
        if (found == NULL) {
            return cw_err_set(err, CW_E_OOM, "harvest.find", "out of memory");
        }
        if (harvest->found_count > 0) {
            memcpy(found, harvest->found, harvest->found_count * sizeof *found);
        }
        harvest->found = found;
        harvest->found_room = room;
    }
    char *name = cw_arena_text(page->arena, type);
    struct cw_span own = cw_arena_span(page->arena, task->url);
    if (name == NULL || own.ptr == NULL) {
        return cw_err_set(err, CW_E_OOM, "harvest.find", "out of memory");
    }
    unsigned level = page->item->ordinal / CW_LEVEL_ORDINAL + 1;
    struct cw_task_new *found = &harvest->found[harvest->found_count++];
    *found = *task;
    found->resource_type = name;
    found->ordinal = level * CW_LEVEL_ORDINAL;
    found->url = own;
    return CW_OK;
}

/* Who treated the patient, and where, is read with any grant; other types only where a scope covers them. */
static bool may_follow(const struct run *run, const struct cw_reference *reference)
{
    static const char *const always[] = { "Practitioner", "PractitionerRole", "Organization", "Location" };
    for (size_t i = 0; i < CW_ARRAY_LEN(always); i++) {
        if (cw_span_eq_cstr(reference->type, always[i])) {
            return true;
        }
    }
    return cw_plan_may_read(run->connection.scopes, reference->type);
}

static enum cw_code follow_reference(struct page *page, struct harvest *harvest, const struct cw_reference *reference,
                                     struct cw_err *err)
{
    if (!cw_reference_followed(reference) || !may_follow(page->item->run, reference)) {
        return CW_OK;
    }
    CW_AUTO_STR url;
    cw_str_init(&url, CW_URL_MAX);
    cw_str_addf(&url, "%s/%.*s/", page->item->run->pinned.base, (int)reference->type.len, reference->type.ptr);
    cw_percent_encode(reference->id, &url);
    if (cw_str_code(&url) != CW_OK) {
        skip(page, harvest, reference->type, CW_SKIP_BAD_ID);
        return CW_OK;
    }
    struct cw_task_new task = { .kind = CW_TASK_REFERENCE, .url = cw_str_span(&url), .target_id = reference->id };
    return find_task(page, harvest, &task, reference->type, err);
}

/* "type/subtype" of a content type that can go into a header as it is; absent when it cannot. */
static struct cw_span media_type(struct cw_span content_type)
{
    struct cw_span type = cw_span_trim(cw_span_upto(content_type, cw_span_find(content_type, ';')));
    size_t slash = cw_span_find(type, '/');
    bool good = type.len <= CW_ACCEPT_MAX && slash > 0 && slash + 1 < type.len;
    for (size_t i = 0; good && i < type.len; i++) {
        char c = (char)(type.ptr[i] | 0x20);
        good = (c >= 'a' && c <= 'z') || (type.ptr[i] >= '0' && type.ptr[i] <= '9') || strchr("/+.-_", type.ptr[i]) != NULL;
    }
    return good ? type : (struct cw_span){ NULL, 0 };
}

static enum cw_code follow_attachment(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry,
                                      const struct cw_attachment *attachment, struct cw_err *err)
{
    if (attachment->url.ptr == NULL || attachment->url.len == 0) {
        return CW_OK;
    }
    /* Relative to the base with its slash, as FHIR references are; the token goes nowhere else. */
    CW_AUTO_STR with_slash;
    cw_str_init(&with_slash, CW_URL_MAX);
    cw_str_addf(&with_slash, "%s/", page->item->run->pinned.base);
    struct cw_url *base = NULL, *url = NULL;
    struct cw_err ignored = { 0 };
    struct cw_task_new task = { .kind = CW_TASK_DOCUMENT, .parent_type = entry->type, .parent_id = entry->id,
                                .accept = media_type(attachment->content_type), .sha1 = attachment->hash,
                                .size = attachment->size > 0 ? attachment->size : 0 };
    bool readable = cw_str_code(&with_slash) == CW_OK && cw_url_parse(cw_str_span(&with_slash), &base, &ignored) == CW_OK &&
                    cw_url_resolve(base, attachment->url, &url, &ignored) == CW_OK;
    if (readable && cw_url_is_under(url, page->item->run->base)) {
        struct cw_reference place = cw_reference_parse(attachment->url, cw_span_cstr(page->item->run->pinned.base));
        task.url = cw_span_cstr(cw_url_text(url));
        if (place.kind == CW_REF_LOCAL && cw_span_eq_cstr(place.type, "Binary")) {
            task.binary_id = place.id;
        }
    } else {
        /* Not asked, but told: each place once in the receipt. */
        task.url = readable ? cw_span_cstr(cw_url_text(url)) : cw_span_upto(attachment->url, CW_LINK_MAX);
        task.skip_code = readable ? "off_origin" : "url_refused";
    }
    enum cw_code rc = find_task(page, harvest, &task, CW_SPAN("Binary"), err);
    cw_url_free(url);
    cw_url_free(base);
    return rc;
}

static enum cw_code follow(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry,
                           const struct cw_references *references, struct cw_err *err)
{
    bool deep = page->item->ordinal / CW_LEVEL_ORDINAL >= CW_REFERENCE_LEVELS;
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < references->reference_count && !deep; i++) {
        rc = follow_reference(page, harvest, &references->references[i], err);
    }
    for (size_t i = 0; rc == CW_OK && i < references->attachment_count; i++) {
        rc = follow_attachment(page, harvest, entry, &references->attachments[i], err);
    }
    if (references->more) {
        skip(page, harvest, entry->type, CW_SKIP_OVER_LIMIT);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- whose it is */

bool harvest_is_merged_patient(const struct task_item *item, const struct cw_slice_entry *entry)
{
    CW_AUTO_STR id;
    cw_str_init(&id, CW_URL_MAX);
    cw_str_add_cstr(&id, "/Patient/");
    cw_percent_encode(entry->id, &id);
    return item->merged && item->kind == CW_TASK_READ && cw_str_code(&id) == CW_OK &&
           cw_span_ends(cw_span_cstr(item->url), cw_str_span(&id));
}

/* An id that is not the one that we know may be one that the source merged ours into, or out of. */
static enum cw_code is_ours(struct page *page, struct harvest *harvest, struct cw_span id, bool *ret_ours, struct cw_err *err)
{
    struct task_item *item = page->item;
    bool sure = true;
    *ret_ours = cw_span_eq(id, item->run->upstream_patient);
    if (*ret_ours) {
        return CW_OK;
    }
    enum cw_code rc = cw_pull_is_patient(&page->s->model, &item->run->pull, &item->run->key, id, ret_ours, &sure, err);
    if (rc == CW_OK && !*ret_ours && !sure && item->tries + 1 < CW_TASK_TRIES) {
        harvest->retry = "patient_unread";
    }
    return rc;
}

/* Does the resource itself, not what it contains, say that another local Patient is its subject? Groups, logical and other servers' references say nothing. */
static enum cw_code names_another(struct page *page, struct harvest *harvest, const struct cw_references *references,
                                  bool *ret_another, struct cw_err *err)
{
    static const char *const fields[] = { "subject", "patient", "beneficiary" };
    *ret_another = false;
    for (size_t i = 0; i < references->reference_count && !*ret_another; i++) {
        const struct cw_reference *reference = &references->references[i];
        bool names = false;
        for (size_t f = 0; f < CW_ARRAY_LEN(fields); f++) {
            names |= reference->own && cw_span_eq_cstr(reference->field, fields[f]);
        }
        if (!names || reference->kind != CW_REF_LOCAL || !cw_span_eq_cstr(reference->type, "Patient")) {
            continue;
        }
        bool ours = true;
        enum cw_code rc = is_ours(page, harvest, reference->id, &ours, err);
        if (rc != CW_OK) {
            return rc;
        }
        *ret_another = !ours;
    }
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- an entry */

/* The id in a URL that asks for one resource of the entry's type; absent when it is none. */
static struct cw_span asked_id(const struct task_item *item, const struct cw_slice_entry *entry)
{
    struct cw_reference asked = cw_reference_parse(cw_span_cstr(item->url), cw_span_cstr(item->run->pinned.base));
    bool same = item->kind != CW_TASK_SEARCH && asked.kind == CW_REF_LOCAL && cw_span_eq(asked.type, entry->type) &&
                cw_span_find(asked.id, '%') == asked.id.len;
    return same ? asked.id : (struct cw_span){ NULL, 0 };
}

/* A resource without an id is kept under the one that it was asked by, or one that is made of what it says. */
static enum cw_code give_id(struct page *page, struct cw_slice_entry *entry, struct cw_err *err)
{
    struct cw_span stable[CW_SLICE_STABLE_MAX];
    char made[CW_RECORD_HASH_ID_MAX];
    entry->id = asked_id(page->item, entry);
    if (entry->id.ptr == NULL) {
        size_t count = cw_slice_stable(entry, stable);
        enum cw_code rc = cw_record_hash_id(&page->item->run->key, stable, count, made, err);
        if (rc != CW_OK) {
            return rc;
        }
        entry->id = cw_arena_span(page->arena, cw_span_cstr(made));
    }
    entry->fault = CW_SLICE_GOOD;
    return entry->id.ptr == NULL ? cw_err_set(err, CW_E_OOM, "harvest.id", "out of memory") : CW_OK;
}

static enum cw_code take(struct harvest *harvest, const struct cw_slice_entry *entry, struct cw_err *err)
{
    struct cw_record_in in = { .type = entry->type, .upstream_id = entry->id, .body = entry->resource };
    if (entry->last_updated.ptr == NULL || !cw_time_parse(entry->last_updated, true, &in.upstream_updated_us) ||
        in.upstream_updated_us < YEAR_1000_US) {
        in.upstream_updated_us = 0; /* "0001-01-01" is how some servers say that they do not know */
    }
    struct cw_span stable[CW_SLICE_STABLE_MAX];
    size_t count = cw_slice_stable(entry, stable);
    harvest->received++;
    return cw_record_batch_add(harvest->records, &in, stable, count, err);
}

/* A resource that stands on its own: ours, or counted. */
static enum cw_code judge_entry(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry, struct cw_err *err)
{
    if (cw_span_eq_cstr(entry->type, "Patient") && !cw_span_eq(entry->id, page->item->run->upstream_patient) &&
        !harvest_is_merged_patient(page->item, entry)) {
        skip(page, harvest, entry->type, CW_SKIP_WRONG_PATIENT);
        harvest->end = page->item->kind == CW_TASK_READ ? CW_SKIP_WRONG_PATIENT : NULL;
        return CW_OK;
    }
    struct cw_references references;
    bool another = false;
    enum cw_code rc =
        cw_references_read(entry->resource, cw_span_cstr(page->item->run->pinned.base), page->arena, &references, err);
    if (rc == CW_OK) {
        rc = names_another(page, harvest, &references, &another, err);
    }
    if (rc != CW_OK || harvest->retry != NULL) {
        return rc;
    }
    if (another) {
        skip(page, harvest, entry->type, CW_SKIP_WRONG_PATIENT);
        return CW_OK;
    }
    rc = take(harvest, entry, err);
    return rc == CW_OK ? follow(page, harvest, entry, &references, err) : rc;
}

/* What the server says beside its entries, by its own codes: Epic's 59204 (a part is not authorized), 4119 (there may be more). Words are not kept; "nothing
 * found" is no news. */
static void note_message(struct page *page, struct harvest *harvest, const struct cw_slice_entry *entry)
{
    struct cw_outcome outcome;
    struct cw_err ignored = { 0 };
    if (entry->resource.ptr == NULL || cw_outcome_read(entry->resource, page->arena, &outcome, &ignored) != CW_OK) {
        return;
    }
    for (size_t i = 0; i < outcome.count; i++) {
        for (size_t d = 0; d < outcome.issues[i].details_count; d++) {
            uint64_t code;
            if (!cw_span_u64(outcome.issues[i].details[d], 999999, &code) || code == NOTHING_FOUND) {
                continue;
            }
            char *reason = cw_arena_printf(page->arena, "said_%u", (unsigned)code);
            if (reason != NULL) {
                skip(page, harvest, cw_span_cstr(page->item->type), reason);
            }
        }
    }
}

static enum cw_code read_entry(struct page *page, struct harvest *harvest, struct cw_slice_entry *entry, struct cw_err *err)
{
    if (entry->mode == CW_SLICE_MODE_OUTCOME || cw_span_eq_cstr(entry->type, "OperationOutcome")) {
        note_message(page, harvest, entry);
        return CW_OK;
    }
    enum cw_code rc = entry->fault == CW_SLICE_NO_ID ? give_id(page, entry, err) : CW_OK;
    if (rc != CW_OK) {
        return rc;
    }
    cw_str_addf(&harvest->ids, "%.*s/", (int)entry->type.len, entry->type.ptr == NULL ? "" : entry->type.ptr);
    cw_str_add_span(&harvest->ids, entry->id);
    cw_str_add_char(&harvest->ids, '\n');
    if (entry->fault != CW_SLICE_GOOD) {
        skip(page, harvest, entry->type, cw_slice_fault_name(entry->fault));
        return CW_OK;
    }
    return judge_entry(page, harvest, entry, err);
}

enum cw_code harvest_gather(struct page *page, struct harvest *ret, struct cw_err *err)
{
    *ret = (struct harvest){ .records = NULL };
    cw_str_init(&ret->ids, CW_FHIR_PAGE_MAX);
    struct cw_record_target target = page->item->run->target;
    target.named = page->item->kind == CW_TASK_REFERENCE;
    enum cw_code rc = cw_record_batch_new(&target, &page->item->run->key, &ret->records, err);
    if (page->repaired) {
        skip(page, ret, cw_span_cstr(page->item->type), "text_repaired");
    }
    for (size_t i = 0; rc == CW_OK && ret->retry == NULL && !page->raw && i < page->slice.count; i++) {
        rc = read_entry(page, ret, &page->slice.entries[i], err);
    }
    return rc == CW_OK && cw_str_code(&ret->ids) != CW_OK ? cw_err_set(err, cw_str_code(&ret->ids), "harvest", "a page's ids do not fit") : rc;
}

void harvest_release(struct harvest *harvest)
{
    cw_record_batch_free(harvest->records);
    harvest->records = NULL;
    cw_str_release(&harvest->ids);
}
