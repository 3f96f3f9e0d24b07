/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a URL that a server named may be asked. What carries a token or a credential goes only to hosts that the client registration
 * lists; what carries nothing may go to any public host, but an exception of [net] allow opens a place inside the operator's network, and
 * there only servers that the registration or the authorization itself names are asked.
 */
#ifndef CW_SMART_PLACE_H
#define CW_SMART_PLACE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/span.h"
#include "base/str.h"
#include "net/http.h"

/* Patterns of a registration, see cw_host_matches. */
struct cw_place_hosts {
    const struct cw_span *patterns;
    size_t count;
};
/* Appends "host", or "host:port" where it is not https on 443: as registrations name places. CW_E_SYNTAX, CW_E_OOM. */
enum cw_code cw_place_of(const char *url, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;
/* True when a pattern names the URL's host and port. */
bool cw_place_listed(const char *url, struct cw_place_hosts hosts) CW_NONNULL(1) CW_MUST_USE;
/* True when a request without any credential may go there. `known` are `count` URLs of the same authorization; "" ones are skipped. */
bool cw_place_may_read(const struct cw_http *http, const char *url, struct cw_place_hosts hosts,
                       const char *const *known, size_t count) CW_NONNULL(1, 2) CW_MUST_USE;

#endif
