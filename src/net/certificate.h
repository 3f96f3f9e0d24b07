/* SPDX-License-Identifier: Apache-2.0 */
/* What we want to know of a peer's certificate beside that it is valid, which libcurl checks. */
#ifndef CW_NET_CERTIFICATE_H
#define CW_NET_CERTIFICATE_H

#include <stdint.h>

#include "base/span.h"

/* notAfter of a PEM certificate as wall clock; 0 when it cannot be read. */
int64_t cw_certificate_end(struct cw_span pem);

#endif
