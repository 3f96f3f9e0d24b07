/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the page. Since members come in any order (athenahealth puts resourceType last), `entry` and `link` are read as a
 * Bundle's whenever they are arrays, and what was found is dropped when the root turns out to be something else.
 */
#include "config.h"

#include "fhir/slice.h"

#include "base/limits.h"
#include "base/scan.h"

#define WHERE "slice"

struct reader {
    struct cw_scan scan;
    struct cw_arena *arena;
    struct cw_slice *slice;
    size_t room;             /* of slice->entries */
    bool too_many;
    struct cw_slice_entry root;
};

static const char *const fault_names[] = {
    [CW_SLICE_GOOD] = "good",         [CW_SLICE_NO_RESOURCE] = "no_resource", [CW_SLICE_NOT_OBJECT] = "not_object",
    [CW_SLICE_NO_TYPE] = "no_type",   [CW_SLICE_BAD_TYPE] = "bad_type",       [CW_SLICE_NO_ID] = "no_id",
    [CW_SLICE_BAD_ID] = "bad_id",     [CW_SLICE_TOO_BIG] = "too_big",         [CW_SLICE_AMBIGUOUS] = "ambiguous",
};

const char *cw_slice_fault_name(enum cw_slice_fault fault)
{
    return (size_t)fault < CW_ARRAY_LEN(fault_names) ? fault_names[fault] : "unknown";
}

/* A member that may stand once: notes that it was seen. */
static bool once(struct cw_scan *scan, unsigned *seen, unsigned bit)
{
    if ((*seen & bit) != 0) {
        cw_scan_fail(scan, CW_E_CONFLICT, "a member stands twice");
        return false;
    }
    *seen |= bit;
    return true;
}

/* The same inside a resource: a second one is passed over and spoils that entry alone. *ret_first false: it was, unless the scan has failed. */
static bool once_in(struct cw_scan *scan, struct cw_slice_entry *entry, unsigned *seen, unsigned bit, bool *ret_first)
{
    *ret_first = (*seen & bit) == 0;
    *seen |= bit;
    if (*ret_first) {
        return true;
    }
    entry->fault = CW_SLICE_AMBIGUOUS;
    return cw_scan_skip_value(scan, NULL);
}

/* The next value as text; absent (and skipped) when it is of another kind. False on a fault. */
static bool text_value(struct reader *r, struct cw_span *ret_text)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_STRING) {
        *ret_text = (struct cw_span){ NULL, 0 };
        return cw_scan_skip(&r->scan, token, NULL);
    }
    return cw_scan_text(&r->scan, r->arena, ret_text);
}

bool cw_fhir_type_good(struct cw_span type)
{
    if (type.len == 0 || type.len > CW_FHIR_TYPE_MAX || type.ptr[0] < 'A' || type.ptr[0] > 'Z') {
        return false;
    }
    for (size_t i = 1; i < type.len; i++) {
        char c = (char)(type.ptr[i] | 0x20);
        if (c < 'a' || c > 'z') {
            return false;
        }
    }
    return true;
}

bool cw_fhir_id_good(struct cw_span id)
{
    if (id.len == 0 || id.len > CW_FHIR_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (c <= ' ' || c > '~' || c == '/' || c == '?' || c == '#') {
            return false;
        }
    }
    return true;
}

/* The token just read opens `meta`; notes the two members of it that servers change without a change of content. */
static bool read_meta(struct reader *r, struct cw_slice_entry *entry)
{
    unsigned seen = 0;
    const char *begin = r->scan.token;
    while (cw_scan_member(&r->scan)) {
        bool version = cw_scan_is(&r->scan, CW_SPAN("versionId")), first = true;
        bool good;
        if (version || cw_scan_is(&r->scan, CW_SPAN("lastUpdated"))) {
            good = once_in(&r->scan, entry, &seen, version ? 1 : 2, &first) &&
                   (!first || text_value(r, version ? &entry->version_id : &entry->last_updated));
        } else {
            good = cw_scan_skip_value(&r->scan, NULL);
        }
        if (!good) {
            return false;
        }
    }
    entry->meta = cw_span_of(begin, (size_t)(r->scan.at - begin));
    return r->scan.code == CW_OK;
}

enum { SEEN_TYPE = 1, SEEN_ID = 2, SEEN_META = 4 };

static bool read_type(struct reader *r, struct cw_slice_entry *entry)
{
    if (!text_value(r, &entry->type)) {
        return false;
    }
    if (!cw_fhir_type_good(entry->type)) {
        entry->type = (struct cw_span){ NULL, 0 };
        entry->fault = CW_SLICE_BAD_TYPE;
    }
    return true;
}

static bool read_id(struct reader *r, struct cw_slice_entry *entry)
{
    if (!text_value(r, &entry->id)) {
        return false;
    }
    if (!cw_fhir_id_good(entry->id)) {
        entry->id = (struct cw_span){ NULL, 0 };
        entry->fault = entry->fault == CW_SLICE_GOOD ? CW_SLICE_BAD_ID : entry->fault;
    }
    return true;
}

/* The member just named, when it is one of those that every resource has; *ret_known false leaves its value unread. A Bundle with two of them is
 * two Bundles, and no page. */
static bool read_common(struct reader *r, struct cw_slice_entry *entry, unsigned *seen, bool *ret_known)
{
    struct cw_scan *scan = &r->scan;
    unsigned bit = cw_scan_is(scan, CW_SPAN("resourceType")) ? SEEN_TYPE
                   : cw_scan_is(scan, CW_SPAN("id"))         ? SEEN_ID
                   : cw_scan_is(scan, CW_SPAN("meta"))       ? SEEN_META
                                                             : 0;
    *ret_known = bit != 0;
    if (bit == 0) {
        return true;
    }
    bool first = true;
    if (entry == &r->root ? !once(scan, seen, bit) : !once_in(scan, entry, seen, bit, &first)) {
        return false;
    }
    if (!first) {
        return true;
    }
    if (bit != SEEN_META) {
        return bit == SEEN_TYPE ? read_type(r, entry) : read_id(r, entry);
    }
    enum cw_token token = cw_scan_next(scan);
    return token == CW_T_OBJECT ? read_meta(r, entry) : cw_scan_skip(scan, token, NULL);
}

/* What is missing, once all members are read. A fault of the type goes before one of the id. */
static void judge(struct cw_slice_entry *entry, unsigned seen)
{
    if (entry->resource.len > CW_FHIR_RESOURCE_MAX) {
        entry->fault = CW_SLICE_TOO_BIG;
    } else if ((seen & SEEN_TYPE) == 0) {
        entry->fault = CW_SLICE_NO_TYPE;
    } else if (entry->fault == CW_SLICE_GOOD && (seen & SEEN_ID) == 0) {
        entry->fault = CW_SLICE_NO_ID;
    }
}

static bool read_resource(struct reader *r, struct cw_slice_entry *entry)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_OBJECT) {
        entry->fault = CW_SLICE_NOT_OBJECT;
        return cw_scan_skip(&r->scan, token, NULL);
    }
    const char *begin = r->scan.token;
    unsigned seen = 0;
    entry->fault = CW_SLICE_GOOD;
    while (cw_scan_member(&r->scan)) {
        bool known = false;
        if (!read_common(r, entry, &seen, &known) || (!known && !cw_scan_skip_value(&r->scan, NULL))) {
            return false;
        }
    }
    entry->resource = cw_span_of(begin, (size_t)(r->scan.at - begin));
    judge(entry, seen);
    return r->scan.code == CW_OK;
}

static bool read_search(struct reader *r, struct cw_slice_entry *entry)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_OBJECT) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    unsigned seen = 0;
    while (cw_scan_member(&r->scan)) {
        if (!cw_scan_is(&r->scan, CW_SPAN("mode"))) {
            if (!cw_scan_skip_value(&r->scan, NULL)) {
                return false;
            }
            continue;
        }
        struct cw_span mode;
        if (!once(&r->scan, &seen, 1) || !text_value(r, &mode)) {
            return false;
        }
        entry->mode = cw_span_eq_cstr(mode, "match")     ? CW_SLICE_MODE_MATCH
                      : cw_span_eq_cstr(mode, "include") ? CW_SLICE_MODE_INCLUDE
                      : cw_span_eq_cstr(mode, "outcome") ? CW_SLICE_MODE_OUTCOME
                                                         : CW_SLICE_MODE_NONE;
    }
    return r->scan.code == CW_OK;
}

static bool read_entry_members(struct reader *r, struct cw_slice_entry *entry)
{
    unsigned seen = 0;
    while (cw_scan_member(&r->scan)) {
        bool good;
        if (cw_scan_is(&r->scan, CW_SPAN("resource"))) {
            good = once(&r->scan, &seen, 1) && read_resource(r, entry);
        } else if (cw_scan_is(&r->scan, CW_SPAN("fullUrl"))) {
            good = once(&r->scan, &seen, 2) && text_value(r, &entry->full_url);
        } else if (cw_scan_is(&r->scan, CW_SPAN("search"))) {
            good = once(&r->scan, &seen, 4) && read_search(r, entry);
        } else {
            good = cw_scan_skip_value(&r->scan, NULL);
        }
        if (!good) {
            return false;
        }
    }
    return r->scan.code == CW_OK;
}

/* Room for one more entry; the arena keeps the smaller arrays until it is cleared, at most as much again. */
static struct cw_slice_entry *add_entry(struct reader *r)
{
    if (r->slice->count == r->room) {
        size_t room = r->room == 0 ? 64 : 2 * r->room;
        struct cw_slice_entry *more = cw_arena_array(r->arena, room, sizeof(*more));
        if (more == NULL) {
            cw_scan_fail(&r->scan, CW_E_OOM, "no memory for entries");
            return NULL;
        }
        if (r->slice->count > 0) {
            memcpy(more, r->slice->entries, r->slice->count * sizeof(*more));
        }
        r->slice->entries = more;
        r->room = room;
    }
    struct cw_slice_entry *entry = &r->slice->entries[r->slice->count++];
    *entry = (struct cw_slice_entry){ .fault = CW_SLICE_NO_RESOURCE };
    return entry;
}

/* The array of entries; whatever in it is no object is an entry without a resource. */
static bool read_entries(struct reader *r)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_ARRAY) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    while ((token = cw_scan_next(&r->scan)) != CW_T_CLOSE) {
        if (r->slice->count == CW_FHIR_ENTRIES_MAX || r->too_many) {
            r->too_many = true;
            if (!cw_scan_skip(&r->scan, token, NULL)) {
                return false;
            }
            continue;
        }
        struct cw_slice_entry *entry = token == CW_T_FAULT ? NULL : add_entry(r);
        if (entry == NULL) {
            return false;
        }
        if (!(token == CW_T_OBJECT ? read_entry_members(r, entry) : cw_scan_skip(&r->scan, token, NULL))) {
            return false;
        }
    }
    return true;
}

static bool read_link(struct reader *r)
{
    struct cw_span relation = { NULL, 0 };
    struct cw_span url = { NULL, 0 };
    unsigned seen = 0;
    while (cw_scan_member(&r->scan)) {
        bool good;
        if (cw_scan_is(&r->scan, CW_SPAN("relation"))) {
            good = once(&r->scan, &seen, 1) && text_value(r, &relation);
        } else if (cw_scan_is(&r->scan, CW_SPAN("url"))) {
            good = once(&r->scan, &seen, 2) && text_value(r, &url);
        } else {
            good = cw_scan_skip_value(&r->scan, NULL);
        }
        if (!good) {
            return false;
        }
    }
    struct cw_span *place = cw_span_eq_cstr(relation, "next")       ? &r->slice->next
                            : cw_span_eq_cstr(relation, "self")     ? &r->slice->self
                            : cw_span_eq_cstr(relation, "previous") ? &r->slice->previous
                            : cw_span_eq_cstr(relation, "prev")     ? &r->slice->previous
                                                                    : NULL;
    if (place != NULL && place->ptr == NULL) {
        *place = url;
    }
    return r->scan.code == CW_OK;
}

static bool read_links(struct reader *r)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token != CW_T_ARRAY) {
        return cw_scan_skip(&r->scan, token, NULL);
    }
    while ((token = cw_scan_next(&r->scan)) != CW_T_CLOSE) {
        if (!(token == CW_T_OBJECT ? read_link(r) : cw_scan_skip(&r->scan, token, NULL))) {
            return false;
        }
    }
    return true;
}

static bool read_total(struct reader *r)
{
    enum cw_token token = cw_scan_next(&r->scan);
    if (token == CW_T_NUMBER && !cw_span_i64(r->scan.text, 0, INT64_MAX, &r->slice->total)) {
        r->slice->total = -1;
    }
    return cw_scan_skip(&r->scan, token, NULL);
}

static bool read_bundle_type(struct reader *r)
{
    struct cw_span type;
    if (!text_value(r, &type)) {
        return false;
    }
    r->slice->type = cw_span_eq_cstr(type, "searchset")    ? CW_SLICE_TYPE_SEARCHSET
                     : cw_span_eq_cstr(type, "collection") ? CW_SLICE_TYPE_COLLECTION
                     : type.ptr == NULL                    ? CW_SLICE_TYPE_NONE
                                                           : CW_SLICE_TYPE_OTHER;
    return true;
}

enum { SEEN_ENTRY = 8, SEEN_LINK = 16, SEEN_TOTAL = 32, SEEN_KIND = 64 };

static bool read_root_member(struct reader *r, unsigned *seen)
{
    bool known = false;
    if (!read_common(r, &r->root, seen, &known) || known) {
        return known && r->scan.code == CW_OK;
    }
    if (cw_scan_is(&r->scan, CW_SPAN("entry"))) {
        return once(&r->scan, seen, SEEN_ENTRY) && read_entries(r);
    }
    if (cw_scan_is(&r->scan, CW_SPAN("link"))) {
        return once(&r->scan, seen, SEEN_LINK) && read_links(r);
    }
    if (cw_scan_is(&r->scan, CW_SPAN("total"))) {
        return once(&r->scan, seen, SEEN_TOTAL) && read_total(r);
    }
    if (cw_scan_is(&r->scan, CW_SPAN("type"))) {
        return once(&r->scan, seen, SEEN_KIND) && read_bundle_type(r);
    }
    return cw_scan_skip_value(&r->scan, NULL);
}

static bool read_root(struct reader *r)
{
    unsigned seen = 0;
    while (cw_scan_member(&r->scan)) {
        if (!read_root_member(r, &seen)) {
            return false;
        }
    }
    if (r->scan.code != CW_OK) {
        return false;
    }
    r->root.resource = cw_span_of(r->scan.start, (size_t)(r->scan.at - r->scan.start));
    if (cw_scan_next(&r->scan) != CW_T_END) {
        return false;
    }
    judge(&r->root, seen);
    return true;
}

/* Now that the type is known: a Bundle keeps its entries, anything else is itself the only one. */
static enum cw_code settle(struct reader *r, struct cw_err *err)
{
    struct cw_slice *slice = r->slice;
    if (r->root.type.ptr == NULL) {
        return cw_err_set(err, CW_E_MISSING, WHERE, "an object without a good resourceType");
    }
    if (cw_span_eq_cstr(r->root.type, "Bundle")) {
        slice->kind = CW_SLICE_BUNDLE;
        return r->too_many ? cw_err_set(err, CW_E_TOO_BIG, WHERE, "more than %u entries", CW_FHIR_ENTRIES_MAX) : CW_OK;
    }
    *slice = (struct cw_slice){
        .kind = cw_span_eq_cstr(r->root.type, "OperationOutcome") ? CW_SLICE_OUTCOME : CW_SLICE_RESOURCE,
        .total = -1,
        .entries = cw_arena_array(r->arena, 1, sizeof(r->root)),
        .count = 1,
    };
    if (slice->entries == NULL) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory for an entry");
    }
    slice->entries[0] = r->root;
    return CW_OK;
}

/* What is plainly no FHIR in JSON gets a code of its own: behind it stands a proxy or a login page, not a wrong query. */
static enum cw_code check_body(struct cw_span *body, struct cw_err *err)
{
    if (body->len > CW_FHIR_PAGE_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, WHERE, "the page has %zu bytes", body->len);
    }
    if (cw_span_starts(*body, CW_SPAN("\xef\xbb\xbf"))) {
        *body = cw_span_from(*body, 3);
    }
    *body = cw_span_trim(*body);
    if (body->len == 0) {
        return cw_err_set(err, CW_E_UPSTREAM, WHERE, "an empty body");
    }
    if (body->ptr[0] == '<') {
        return cw_err_set(err, CW_E_UPSTREAM, WHERE, "HTML or XML instead of JSON");
    }
    return CW_OK;
}

enum cw_code cw_slice_read(struct cw_span body, struct cw_arena *arena, struct cw_slice *ret_slice, struct cw_err *err)
{
    enum cw_code rc = check_body(&body, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_slice slice = { .total = -1 };
    struct reader r = { .arena = arena, .slice = &slice };
    cw_scan_init(&r.scan, body);
    enum cw_token token = cw_scan_next(&r.scan);
    if (token != CW_T_OBJECT && token != CW_T_FAULT) {
        return cw_err_set(err, CW_E_KIND, WHERE, "JSON, but not an object");
    }
    if (token == CW_T_FAULT || !read_root(&r)) {
        return cw_scan_err(&r.scan, err, WHERE);
    }
    rc = settle(&r, err);
    if (rc == CW_OK) {
        *ret_slice = slice;
    }
    return rc;
}

/* --- the content hash's input --- */

struct range {
    const char *from;
    const char *to;
};

/* The ranges of meta that are left out: a volatile member goes with the comma after it, the last one with the comma before it. */
static size_t volatile_ranges(struct cw_span meta, struct range ret_ranges[2])
{
    struct cw_scan scan;
    cw_scan_init(&scan, meta);
    size_t count = 0;
    if (cw_scan_next(&scan) != CW_T_OBJECT) {
        return 0;
    }
    const char *kept = scan.at; /* end of the last member that stays */
    bool open = false;          /* the last range reaches to the member that comes next */
    while (cw_scan_member(&scan)) {
        const char *begin = scan.token;
        bool cut = cw_scan_is(&scan, CW_SPAN("versionId")) || cw_scan_is(&scan, CW_SPAN("lastUpdated"));
        if (open && !cut) {
            ret_ranges[count - 1].to = begin;
        }
        if (!cw_scan_skip_value(&scan, NULL)) {
            return 0;
        }
        if (cut && !open) {
            ret_ranges[count++] = (struct range){ begin, scan.at };
        } else if (cut) {
            ret_ranges[count - 1].to = scan.at;
        } else {
            kept = scan.at;
        }
        open = cut;
    }
    if (open) {
        ret_ranges[count - 1].from = kept;
    }
    return count;
}

size_t cw_slice_stable(const struct cw_slice_entry *entry, struct cw_span ret_spans[CW_SLICE_STABLE_MAX])
{
    struct range ranges[2];
    size_t cuts = entry->meta.ptr == NULL ? 0 : volatile_ranges(entry->meta, ranges);
    const char *at = entry->resource.ptr;
    for (size_t i = 0; i < cuts; i++) {
        ret_spans[i] = cw_span_of(at, (size_t)(ranges[i].from - at));
        at = ranges[i].to;
    }
    ret_spans[cuts] = cw_span_of(at, (size_t)(entry->resource.ptr + entry->resource.len - at));
    return cuts + 1;
}
