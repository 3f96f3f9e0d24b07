/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, by the parser that the transfer will use (libcurl's), so that the check and the request agree. */
#ifndef CW_NET_URL_H
#define CW_NET_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

struct cw_url;
void cw_url_free(struct cw_url *url);
/* Absolute http or https only; no userinfo, no coded host; at most CW_LINK_MAX bytes; no controls, blanks, backslashes or bytes over 0x7e. Dot
 * segments are removed and a fragment is dropped, as the transfer would. CW_E_SYNTAX, CW_E_TOO_BIG, CW_E_OOM. */
enum cw_code cw_url_parse(struct cw_span text, struct cw_url **ret_url, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;
/* Resolves a reference (absolute, root-relative, relative, query only) against `base` by RFC 3986; illegal bytes (blank, '|', '"', literal
 * '+' in the query) are percent-coded first, nothing else is decoded or re-encoded. Codes as cw_url_parse. */
enum cw_code cw_url_resolve(const struct cw_url *base, struct cw_span reference, struct cw_url **ret_url,
                            struct cw_err *err) CW_NONNULL(1, 3) CW_MUST_USE;
const char *cw_url_text(const struct cw_url *url) CW_RETURNS_NONNULL;     /* whole, normalised scheme and host */
const char *cw_url_scheme(const struct cw_url *url) CW_RETURNS_NONNULL;
const char *cw_url_host(const struct cw_url *url) CW_RETURNS_NONNULL;     /* lower case, no port; IPv6 in brackets */
unsigned cw_url_port(const struct cw_url *url);                           /* explicit or default */
const char *cw_url_path(const struct cw_url *url) CW_RETURNS_NONNULL;     /* at least "/" */
struct cw_span cw_url_query(const struct cw_url *url);                    /* without '?'; absent when there is none */
/* scheme://host[:port], default port left out; appended. */
enum cw_code cw_url_origin(const struct cw_url *url, struct cw_str *out) CW_NONNULL(1, 2);
/* True when `url` has the scheme, host and port of base, and its path is base's path or goes on after it with '/' (or a query):
 * the token-leak rule. A trailing slash of base does not matter; dot segments and %2f tricks do not pass. */
bool cw_url_is_under(const struct cw_url *url, const struct cw_url *base) CW_NONNULL(1, 2);
/* A FHIR base as the catalogue keys it: scheme and host lower case, default port, fragment and trailing slash dropped; path as given; appended.
 * CW_E_SYNTAX (also for a query), CW_E_TOO_BIG over CW_URL_MAX. */
enum cw_code cw_url_normal_base(struct cw_span text, struct cw_str *out, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;

#endif
