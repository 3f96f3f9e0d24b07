/* SPDX-License-Identifier: Apache-2.0 */
/* Where this process may connect to. Private to net/. */
#ifndef CW_NET_POLICY_H
#define CW_NET_POLICY_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "net/url.h"
#include "os/config.h"

struct cw_net_policy;
void cw_net_policy_free(struct cw_net_policy *policy);
/* CW_E_CONFIG when [net] allow is not a list of host:port. */
enum cw_code cw_net_policy_new(const struct cw_config *config, struct cw_net_policy **ret_policy, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* True for exactly a host:port of the list. */
bool cw_net_policy_allows(const struct cw_net_policy *policy, const struct cw_url *url) CW_NONNULL(1, 2);
/* https on port 443 and, where there is such a list, to a host of [net] only; or on the list of [net] allow. CW_E_BLOCKED. */
enum cw_code cw_net_policy_check(const struct cw_net_policy *policy, const struct cw_url *url, struct cw_err *err)
    CW_NONNULL(1, 2) CW_MUST_USE;
/* True for addresses of the public internet alone. */
bool cw_address_is_public(const struct sockaddr *address, socklen_t len) CW_NONNULL(1);
/* The same for a numeric text, as libcurl tells the peer. */
bool cw_address_text_is_public(const char *text) CW_NONNULL(1);

const char *cw_net_policy_ca_file(const struct cw_net_policy *policy) CW_RETURNS_NONNULL; /* "": the system's */
unsigned cw_net_policy_connect_ms(const struct cw_net_policy *policy);
unsigned cw_net_policy_total_ms(const struct cw_net_policy *policy);

#endif
