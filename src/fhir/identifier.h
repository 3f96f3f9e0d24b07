/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app's id in a served Patient (design 13): our identifier exactly once, upstream elements with our system gone, every other byte as
 * the source sent it. The resource is edited as bytes, since a tree would rewrite its decimals.
 */
#ifndef CW_FHIR_IDENTIFIER_H
#define CW_FHIR_IDENTIFIER_H

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

/* Appends the Patient with {"system":…,"value":…} as the last of its identifiers to *out. Identifiers inside contained resources are not
 * touched. An `identifier` that is one object counts as a list of it, null as none.
 * CW_E_SYNTAX, CW_E_TOO_BIG (depth, or out->max); CW_E_CONFLICT: two members "identifier"; CW_E_KIND: not an object, or an
 * identifier that is text or a number; CW_E_OOM. Nothing useful stands in *out after a failure. */
enum cw_code cw_identifier_put(struct cw_span patient, struct cw_span system, struct cw_span value, struct cw_str *out,
                               struct cw_err *err) CW_NONNULL(4) CW_MUST_USE;

#endif
