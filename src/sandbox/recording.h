/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording: what some vendor's test system answered to one patient's app, one HTTP exchange a line, {method, url, status, headers?, body? or
 * body_base64?}. A body is a text, or JSON as it stands; body_base64 holds bytes. headers is an object of texts or arrays of texts. Other members are
 * passed over. Nothing is known of vendors here: the FHIR base is what most of the recorded URLs have in common, the patient is whom most
 * of them name.
 *
 * An answer is found by method, path behind the base and query, whose parameters may come in any order and coding; where none is, by
 * the same without _count. What was answered several times plays in that order, and the last answer stays.
 */
#ifndef CW_SANDBOX_RECORDING_H
#define CW_SANDBOX_RECORDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "sandbox/store.h"

#define CW_SBX_RECORDING_LINE_MAX (48u * 1024u * 1024u) /* what it decodes to fits one answer */
#define CW_SBX_RECORDING_LINES_MAX 100000u
#define CW_SBX_RECORDING_URL_MAX 8192u
#define CW_SBX_RECORDED_HEADERS_MAX 20u  /* of one answer */
#define CW_SBX_RECORDED_HEADER_MAX 8192u /* names and values of one answer */

struct cw_sbx_recording;

void cw_sbx_recording_free(struct cw_sbx_recording *recording);
/* Reads a file's `bytes`, which must outlive the recording. CW_E_SYNTAX (a line that is not as said above), CW_E_RANGE (a URL, status or header that
 * cannot be played), CW_E_TOO_BIG, CW_E_MISSING (no FHIR base, or no patient), CW_E_OOM; the text names the line. */
enum cw_code cw_sbx_recording_read(struct cw_span bytes, struct cw_sbx_recording **ret_recording, struct cw_err *err)
    CW_NONNULL(2) CW_MUST_USE;

/* The recorded FHIR base, without slash at its end. */
struct cw_span cw_sbx_recording_base(const struct cw_sbx_recording *recording) CW_NONNULL(1);
const struct cw_sbx_patient *cw_sbx_recording_patient(const struct cw_sbx_recording *recording) CW_NONNULL(1) CW_RETURNS_NONNULL;
size_t cw_sbx_recording_exchanges(const struct cw_sbx_recording *recording) CW_NONNULL(1);
/* How many of them are outside of the base, and are not played. */
size_t cw_sbx_recording_outside(const struct cw_sbx_recording *recording) CW_NONNULL(1);

/* One answer; its spans lie in the file. */
struct cw_sbx_recorded {
    int status;
    struct cw_span headers; /* the object as it stands; absent when there is none */
    struct cw_span body;    /* the JSON value; absent: no body */
    bool base64;
};
struct cw_sbx_wish {
    struct cw_span method, path, query; /* path behind the base, decoded, "/…" or ""; query as sent */
};
/* The next answer to that. Any thread may ask. False when nothing was recorded. */
bool cw_sbx_recording_play(struct cw_sbx_recording *recording, const struct cw_sbx_wish *wish, struct cw_sbx_recorded *ret)
    CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* All answers from the first again. */
void cw_sbx_recording_rewind(struct cw_sbx_recording *recording) CW_NONNULL(1);

/* Calls for each header as it is played: without those of one connection or coding, and those that a web server takes as orders; `base` in place of
 * the recorded one. */
typedef void cw_sbx_header_fn(const char *name, const char *value, void *arg);
enum cw_code cw_sbx_recorded_headers(const struct cw_sbx_recording *recording, const struct cw_sbx_recorded *recorded, struct cw_span base,
                                     cw_sbx_header_fn *fn, void *arg) CW_NONNULL(1, 2, 4) CW_MUST_USE;
/* Appends the body, with `base` in place of the recorded one, in both ways in which JSON may write its slashes. What is not JSON is left as it is. */
enum cw_code cw_sbx_recorded_body(const struct cw_sbx_recording *recording, const struct cw_sbx_recorded *recorded, struct cw_span base,
                                  struct cw_str *out) CW_NONNULL(1, 2, 4) CW_MUST_USE;

#endif
