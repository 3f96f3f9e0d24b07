/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key sets that sign id_tokens, fetched and kept for a while: one cache a process, shared by its threads, of a fixed number of places. How
 * long a set is good is the server's word (Cache-Control) within 5 minutes and 24 hours, an hour where it says nothing; a server that cannot
 * be reached is not asked again for a minute, and a key that the set does not hold makes it be fetched anew at most every 5 minutes.
 */
#ifndef CW_SMART_JWKS_H
#define CW_SMART_JWKS_H

#include "base/err.h"
#include "base/json.h"
#include "base/span.h"
#include "net/http.h"

#define CW_JWKS_CACHED_MAX 64u /* places; the one that was used longest ago makes room */

struct cw_jwks_cache;
void cw_jwks_cache_free(struct cw_jwks_cache *cache);
/* NULL: out of memory. `now` is the monotonic clock; NULL: the system's. */
struct cw_jwks_cache *cw_jwks_cache_new(int64_t (*now)(void)) CW_MUST_USE CW_MALLOC(cw_jwks_cache_free);

enum cw_jwks_wish { CW_JWKS_ANY, CW_JWKS_NEWER /* the set at hand lacks a key */ };
/* The set of a place; the caller owns *ret_jwks. CW_E_LIMITED: asked too lately; CW_E_UPSTREAM: no JWK Set; else as cw_http_perform. */
enum cw_code cw_jwks_get(struct cw_jwks_cache *cache, struct cw_http *http, const char *uri, enum cw_jwks_wish wish,
                         json_t **ret_jwks, struct cw_err *err) CW_NONNULL(1, 2, 3, 5) CW_MUST_USE;

/* Pure: seconds that an answer with this Cache-Control is good. */
int64_t cw_jwks_good_for_s(struct cw_span cache_control);

#endif
