/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /patients/{id}/records: stored resources as their sources sent them, in the order of their change. The only edit is
 * our identifier in Patient, put in as bytes. Both directions give ascending pages; has_more speaks of the direction walked.
 */
#include "config.h"

#include "api/api.h"

#include "api/cursor.h"
#include "api/record_filter.h"
#include "base/limits.h"
#include "base/time.h"
#include "fhir/identifier.h"
#include "model/record.h"
#include "model/wire.h"
#include "os/log.h"

/* Reads cursors into the filter; both at once is no question that has an answer. */
static bool read_cursors(struct cw_request *request, struct cw_reply *reply, struct cw_patient_row patient,
                         struct cw_record_filter *filter)
{
    static const char *const names[] = { "starting_after", "ending_before" };
    uint64_t *const places[] = { &filter->after_seq, &filter->before_seq };
    struct cw_span texts[] = { cw_query_text(request, names[0]), cw_query_text(request, names[1]) };
    if (texts[0].len > 0 && texts[1].len > 0) {
        cw_reply_fault(reply, "bad_request", names[1], "Send either starting_after or ending_before, not both.");
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        /* 0 in before_seq means "forwards", and nothing lies before the first */
        if (texts[i].len > 0 &&
            (!cw_record_cursor_parse(patient, filter, texts[i], places[i]) || (i == 1 && *places[i] == 0))) {
            cw_api_invalid(reply, names[i], "This cursor is not one of this list with these filters.");
            return false;
        }
    }
    return true;
}

static bool read_filter(struct cw_request *request, struct cw_reply *reply, struct cw_patient_row patient,
                        struct cw_record_filter *filter)
{
    struct cw_span since = cw_query_text(request, "since");
    filter->limit = (unsigned)cw_query_int(request, "count", CW_LIST_LIMIT_MAX);
    if (!cw_record_types_parse(cw_query_text(request, "type"), filter)) {
        cw_api_invalid(reply, "type", "This must be a comma-separated list of at most 32 FHIR resource types.");
        return false;
    }
    if (since.len > 0 && !cw_time_parse(since, true, &filter->since_us)) {
        cw_api_invalid(reply, "since", "This must be a date or an RFC 3339 date-time; write '+' as %2B.");
        return false;
    }
    return read_cursors(request, reply, patient, filter);
}

/* A Patient that cannot carry our identifier is no valid FHIR; served as sent it could carry another patient's. It is left
 * out and told to the operator. False on a fault of ours. */
static bool write_record(struct cw_jsonw *w, const struct cw_call *call, const struct cw_patient *patient,
                         const struct cw_record *record, struct cw_err *err)
{
    struct cw_span body = record->body;
    CW_AUTO_STR edited;
    cw_str_init(&edited, CW_FHIR_RESOURCE_MAX + 4096);
    if (cw_span_eq_cstr(record->type, "Patient")) {
        enum cw_code rc = cw_identifier_put(body, call->key.identifier_system, patient->patient_id, &edited, err);
        if (rc == CW_E_OOM) {
            return false;
        }
        if (rc != CW_OK) {
            cw_log(CW_LOG_ERR, "record.not_served", CW_ID("record", "", record->id), CW_ERR(err));
            return true;
        }
        body = cw_str_span(&edited);
    }
    cw_jsonw_open_object(w);
    cw_jsonw_key(w, "source");
    if (cw_ulid_is_zero(record->source.ulid)) {
        cw_jsonw_null(w);
    } else {
        char source[CW_ID_TEXT_MAX];
        cw_id_emit(CW_PREFIX_SOURCE, record->source.ulid, source);
        cw_jsonw_cstr(w, source);
    }
    cw_jsonw_key(w, "resource");
    cw_jsonw_raw(w, body);
    cw_jsonw_close_object(w);
    return true;
}

static void write_cursor(struct cw_jsonw *w, const char *name, struct cw_patient_row patient,
                         const struct cw_record_filter *filter, uint64_t sequence, bool there)
{
    char cursor[CW_CURSOR_TEXT_MAX];
    cw_record_cursor_emit(patient, filter, sequence, cursor);
    cw_jsonw_key_cstr(w, name, there ? cursor : NULL);
}

/* Where the walk goes on, both ways. An empty page stands at its own cursor. */
static void write_cursors(struct cw_jsonw *w, struct cw_patient_row patient, const struct cw_record_filter *filter,
                          const struct cw_record *records, size_t count, bool more)
{
    bool backwards = filter->before_seq != 0;
    uint64_t first = count > 0 ? records[0].change_seq : filter->after_seq + 1;
    uint64_t last = count > 0 ? records[count - 1].change_seq : filter->before_seq - (backwards ? 1 : 0);
    cw_jsonw_key_bool(w, "has_more", more);
    write_cursor(w, "next_cursor", patient, filter, last, backwards || more);
    write_cursor(w, "previous_cursor", patient, filter, first, backwards ? more : filter->after_seq != 0);
}

void cw_api_records(struct cw_request *request, struct cw_reply *reply)
{
    struct cw_call *call = cw_call_of(request);
    struct cw_patient patient;
    struct cw_record_filter filter = { 0 };
    if (!cw_api_patient(request, reply, &patient) || !read_filter(request, reply, patient.row, &filter)) {
        return;
    }
    struct cw_record *records = NULL;
    size_t count = 0;
    bool more = false;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_record_list(&call->api->model, &call->actor, call->key.org, patient.row, &filter,
                                     cw_request_arena(request), &records, &count, &more, &err);
    if (rc != CW_OK) {
        cw_reply_fault_code(reply, rc, &err);
        return;
    }
    struct cw_jsonw w;
    cw_jsonw_init(&w, cw_reply_body(reply));
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "resource_type", "list");
    cw_jsonw_key_text(&w, "patient_id", patient.patient_id);
    cw_jsonw_key(&w, "data");
    cw_jsonw_open_array(&w);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = write_record(&w, call, &patient, &records[i], &err);
    }
    cw_jsonw_close_array(&w);
    write_cursors(&w, patient.row, &filter, records, count, more);
    cw_jsonw_close_object(&w);
    cw_api_finish(reply, &w);
    if (!ok) {
        cw_reply_fault_code(reply, CW_E_OOM, &err);
    }
}
