/* SPDX-License-Identifier: Apache-2.0 */
/* The URLs of a recording: which FHIR base they have in common, whom they name, and by what an answer is found. */
#ifndef CW_SANDBOX_RECORDING_URL_H
#define CW_SANDBOX_RECORDING_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

/* http or https, a host, and nothing that a URL must not have. */
bool cw_sbx_url_good(struct cw_span url) CW_MUST_USE;
/* What the URL's FHIR base may be: what stands before the last resource type in its path (or /metadata), and before the first one where there are several, without
 * slash at their ends. Returns how many. */
#define CW_SBX_URL_BASES 2u
size_t cw_sbx_url_bases(struct cw_span url, struct cw_span ret_bases[CW_SBX_URL_BASES]) CW_NONNULL(2);
/* "://host/path?query" of it. */
struct cw_span cw_sbx_url_behind_scheme(struct cw_span url);
/* True when `url` is `base` or below, by http or https; *ret_path is then what is behind it, coded, and *ret_query. */
bool cw_sbx_url_split(struct cw_span url, struct cw_span base, struct cw_span *ret_path, struct cw_span *ret_query)
    CW_NONNULL(3, 4) CW_MUST_USE;
/* Appends "METHOD path?query" in the one form in which keys are compared: parameters decoded, sorted, coded again. `path` is decoded. Without _count when `loose`.
 * CW_E_SYNTAX, CW_E_TOO_BIG. */
struct cw_sbx_wish;
enum cw_code cw_sbx_url_key(const struct cw_sbx_wish *wish, bool loose, struct cw_str *out) CW_NONNULL(1, 3) CW_MUST_USE;
/* Appends the id of the patient whom a path or query names; nothing when there is none. */
void cw_sbx_url_patient(struct cw_span path, struct cw_span query, struct cw_str *out) CW_NONNULL(3);

/* Appends `text` with `base` in place of the recorded one, in both ways in which JSON may write slashes, and in links that begin at the root of the host. */
enum cw_code cw_sbx_url_put(struct cw_span text, struct cw_span recorded, struct cw_span base, struct cw_str *out) CW_NONNULL(4) CW_MUST_USE;

#endif
