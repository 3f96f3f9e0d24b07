/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator's folder of real input: FHIR Bundles (*.json) and NDJSON (*.ndjson). Files are mapped and indexed once; each resource
 * is a slice of its file. Whose it is follows from its references (subject, patient, beneficiary …); what belongs to nobody is
 * the hospital's and goes into the chart of every patient who refers to it.
 *
 * Bytes are served as they are, but for two things that a transaction leaves open: references to urn:uuid fullUrls become Type/id, and
 * a resource without id gets the one of its fullUrl.
 */
#ifndef CW_SANDBOX_FOLDER_H
#define CW_SANDBOX_FOLDER_H

#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "sandbox/chart.h"

#define CW_SBX_FILES_MAX 10000u
#define CW_SBX_FOLDER_DEPTH_MAX 6u

struct cw_sbx_folder;

void cw_sbx_folder_free(struct cw_sbx_folder *folder);
/* CW_E_IO; CW_E_SYNTAX: a Bundle or line that cannot be read (err names the file's number in order of names); CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_sbx_folder_open(const char *path, struct cw_sbx_folder **ret_folder, struct cw_err *err) CW_NONNULL(1, 2) CW_MUST_USE;
size_t cw_sbx_folder_patients(const struct cw_sbx_folder *folder) CW_NONNULL(1);
/* The id of the nth patient, and its Patient's bytes. */
struct cw_span cw_sbx_folder_patient(const struct cw_sbx_folder *folder, size_t at, struct cw_span *ret_bytes) CW_NONNULL(1, 3);
/* Adds all that belongs to the nth patient, and what it refers to, to a chart that is not sealed. */
enum cw_code cw_sbx_folder_fill(const struct cw_sbx_folder *folder, size_t at, struct cw_sbx_chart *chart, struct cw_err *err)
    CW_NONNULL(1, 3) CW_MUST_USE;

#endif
