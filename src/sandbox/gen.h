/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a synthetic record. Deterministic: the same persona gives the same bytes on every machine and at any time,
 * since nothing but its place in the cast and a fixed "today" goes in. A patient is written when first asked for.
 */
#ifndef CW_SANDBOX_GEN_H
#define CW_SANDBOX_GEN_H

#include "base/err.h"
#include "sandbox/chart.h"
#include "sandbox/persona.h"

#define CW_SBX_ID_TEXT_MAX 96 /* 88 characters and NUL, rounded up */

/* The FHIR id of a persona's Patient. */
void cw_sbx_patient_id(size_t persona, char ret_id[CW_SBX_ID_TEXT_MAX]) CW_NONNULL(2);
/* Adds the persona's whole record to a chart that is not yet sealed. CW_E_OOM, CW_E_TOO_BIG. */
enum cw_code cw_sbx_generate(size_t persona, struct cw_sbx_chart *chart, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;

#endif
