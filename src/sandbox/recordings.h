/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's folder of recordings (*.ndjson): each file is a hospital of its own beside the personalities, under the name "recorded-" and the file's name,
 * in small letters, with '-' for what is neither letter nor digit. Files are mapped, not read.
 */
#ifndef CW_SANDBOX_RECORDINGS_H
#define CW_SANDBOX_RECORDINGS_H

#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "sandbox/personality.h"
#include "sandbox/recording.h"

#define CW_SBX_RECORDINGS_MAX 64u
#define CW_SBX_RECORDING_FILE_MAX (1024u * 1024u * 1024u)

struct cw_sbx_recordings;

void cw_sbx_recordings_free(struct cw_sbx_recordings *recordings);
/* NULL or "" is an empty folder. CW_E_IO, CW_E_CONFLICT (two files with one name), CW_E_TOO_BIG, CW_E_OOM, and codes of cw_sbx_recording_read: a file that cannot be
 * played is an error, told with its name. */
enum cw_code cw_sbx_recordings_open(const char *folder, struct cw_sbx_recordings **ret_recordings, struct cw_err *err)
    CW_NONNULL(2) CW_MUST_USE;
size_t cw_sbx_recordings_count(const struct cw_sbx_recordings *recordings) CW_NONNULL(1);
/* The recording and the hospital's name and doc, which live as long as the recordings. */
struct cw_sbx_recording *cw_sbx_recordings_at(const struct cw_sbx_recordings *recordings, size_t at, struct cw_sbx_personality *ret_as)
    CW_NONNULL(1, 3) CW_RETURNS_NONNULL;
/* By the hospital's name; NULL when there is none. */
struct cw_sbx_recording *cw_sbx_recordings_find(const struct cw_sbx_recordings *recordings, struct cw_span name,
                                                struct cw_sbx_personality *ret_as) CW_NONNULL(1, 3);

#endif
