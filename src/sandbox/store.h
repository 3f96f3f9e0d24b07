/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All patients of the hospital: the invented ones, and those of an operator's folder. Charts are made when asked for and kept
 * in a cache of bounded size; a folder's files are mapped, not read, so that memory follows use.
 */
#ifndef CW_SANDBOX_STORE_H
#define CW_SANDBOX_STORE_H

#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "sandbox/chart.h"
#include "sandbox/fault.h"

#define CW_SBX_CACHE_MAX (192u * 1024u * 1024u)
#define CW_SBX_PATIENTS_MAX 5000u

struct cw_sbx_patient {
    char id[CW_SBX_PATIENT_TEXT_MAX];
    char name[160];
    char birth_date[16];
    const char *note;  /* a literal; "" */
    int persona;       /* -1: from the folder, or a recording */
};

struct cw_sbx_store;

/* Fills in what stands in a Patient's bytes, for one without persona. */
void cw_sbx_patient_read(struct cw_span id, struct cw_span bytes, struct cw_sbx_patient *ret_patient) CW_NONNULL(3);

void cw_sbx_store_free(struct cw_sbx_store *store);
/* `folder` NULL or "": the invented patients alone. CW_E_IO, CW_E_SYNTAX (a file that is not what its name says), CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_sbx_store_open(const char *folder, struct cw_sbx_store **ret_store, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;

size_t cw_sbx_patient_count(const struct cw_sbx_store *store) CW_NONNULL(1);
const struct cw_sbx_patient *cw_sbx_patient_at(const struct cw_sbx_store *store, size_t at) CW_NONNULL(1);
/* By FHIR id. NULL when there is none. */
const struct cw_sbx_patient *cw_sbx_patient_find(const struct cw_sbx_store *store, struct cw_span id) CW_NONNULL(1);
/* By name as it was typed: case and blanks at the ends do not matter. NULL when none or more than one has it. */
const struct cw_sbx_patient *cw_sbx_patient_named(const struct cw_sbx_store *store, struct cw_span name) CW_NONNULL(1);
/* Puts a resource into the patient's chart, in place of the one with its type and id; or with `bytes` absent takes that one out. It lasts as long as the store. Codes as
 * cw_sbx_chart_add; CW_E_NOT_FOUND: none to take out. */
struct cw_sbx_edit {
    struct cw_span bytes;
    struct cw_span type, id; /* of the one to take out */
};
enum cw_code cw_sbx_store_edit(struct cw_sbx_store *store, const struct cw_sbx_patient *patient, const struct cw_sbx_edit *edit,
                               struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;
/* The patient's chart, held for the caller (cw_sbx_chart_drop). */
enum cw_code cw_sbx_store_chart(struct cw_sbx_store *store, const struct cw_sbx_patient *patient,
                                struct cw_sbx_chart **ret_chart, struct cw_err *err) CW_NONNULL(1, 2, 3) CW_MUST_USE;

#endif
