/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a server that says "later" takes the next request: Retry-After in either form, the reset of a RateLimit header (the drafts' and those that
 * vendors made up before them), or words in the body ("Try again in 53 seconds"). One reader for pages, metadata and tokens. Foreign bytes: nothing in them is
 * required, and no wait is over a day.
 */
#ifndef CW_NET_WAIT_H
#define CW_NET_WAIT_H

#include "net/http.h"

#define CW_WAIT_MAX_S 86400L
#define CW_WAIT_TEXT_MAX 4096u /* how much of a body is looked through */

/* Seconds from now_us; -1: not told. Resets are read where the status (429, 503) says that a limit was met. */
long cw_http_wait_s(const struct cw_http_response *response, int64_t now_us) CW_NONNULL(1);
/* The words alone. */
long cw_wait_of_words(struct cw_span text) CW_PURE;
/* The value of a reset header: seconds, or a point in time in seconds or milliseconds since 1970. */
long cw_wait_of_reset(struct cw_span value, int64_t now_us) CW_PURE;

#endif
