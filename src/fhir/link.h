/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a search goes on, and to where a redirect may lead: always under the source's own base, since the token goes along. Servers
 * behind a proxy that do not know their own name put http, or an inside host, into their links; such a link is set upon the
 * base where it plainly means the same place.
 */
#ifndef CW_FHIR_LINK_H
#define CW_FHIR_LINK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "net/url.h"

/* Resolves `link` against `page` (the URL just fetched, which is under `base`) by RFC 3986 and gives a URL under `base`:
 *   - the link itself when it is there;
 *   - the same with the base's scheme when only https became http;
 *   - with the base in front when the link names another place, but ends in the same path as `page` does behind the base
 *     (…/Observation), or, for a page at the base itself (?_getpages=), in the same last segment as the base.
 * CW_E_SYNTAX, CW_E_TOO_BIG: not readable; CW_E_DENIED: elsewhere, not to be followed; CW_E_OOM. */
enum cw_code cw_link_follow(const struct cw_url *page, struct cw_span link, const struct cw_url *base, struct cw_url **ret_url,
                            struct cw_err *err) CW_NONNULL(1, 3, 4) CW_MUST_USE;

#endif
