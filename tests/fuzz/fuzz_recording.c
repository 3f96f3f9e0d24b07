/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's reader of recordings: the first line is a path and query to ask for, the rest the file. What is read must play, and its spans lie in what was
 * given. */
#include "config.h"

#include "sandbox/recording.h"

#define BODY_MAX (4u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(const char *name, const char *value, void *arg)
{
    *(size_t *)arg += strlen(name) + strlen(value);
}

static void play(struct cw_sbx_recording *recording, struct cw_span bytes, struct cw_span path, struct cw_span query)
{
    struct cw_sbx_wish wish = { CW_SPAN("GET"), path, query };
    struct cw_sbx_recorded recorded;
    size_t heads = 0;
    CW_AUTO_STR body;
    cw_str_init(&body, BODY_MAX);
    if (!cw_sbx_recording_play(recording, &wish, &recorded)) {
        return;
    }
    if (recorded.body.len > 0 && (recorded.body.ptr < bytes.ptr || recorded.body.ptr + recorded.body.len > bytes.ptr + bytes.len)) {
        __builtin_trap();
    }
    if (cw_sbx_recorded_headers(recording, &recorded, CW_SPAN("http://h/fhir"), count, &heads) != CW_OK ||
        cw_sbx_recorded_body(recording, &recorded, CW_SPAN("http://h/fhir"), &body) == CW_E_SYNTAX) {
        __builtin_trap(); /* it was looked at when it was read */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span bytes = cw_span_of(data, size), rest = bytes, query, path;
    struct cw_sbx_recording *recording = NULL;
    cw_span_cut(&rest, '\n', &query);
    cw_span_cut(&query, '?', &path);
    if (cw_sbx_recording_read(rest, &recording, NULL) == CW_OK) {
        if (cw_sbx_recording_outside(recording) > cw_sbx_recording_exchanges(recording) ||
            cw_sbx_recording_patient(recording)->id[0] == '\0') {
            __builtin_trap();
        }
        play(recording, bytes, path, query);
        cw_sbx_recording_rewind(recording);
        cw_sbx_recording_free(recording);
    }
    return 0;
}
